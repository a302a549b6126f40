"""The way of features into a model: how many were left at each step, for how many events, and by which protocol."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from radnet.report.reading import Evaluation
from radnet.report.text import Table, plain, with_interval

FEW_EVENTS_PER_FEATURE = 5.0
"""In logistic and Cox models problems are common with fewer for each variable, and uncommon with 5 to 9.

References:
    Vittinghoff and McCulloch, Am J Epidemiol 2007;165:710-8.
"""

_PROTOCOLS = {
    "strict": "Strict protocol: whatever was learned, was learned from training patients alone.",
    "as_published": "As published: the steps of the paper, with the weaknesses they have.",
}


@dataclass(frozen=True, slots=True)
class Protocol:
    """By which protocol the run was made, as a sentence; ``strict`` is how it should be."""

    told: str
    strict: bool


@dataclass(frozen=True, slots=True)
class FeatureFlow:
    """How many features were left at each step of the model, and a warning where there are few events for them."""

    table: Table
    warning: str


def protocol(evaluation: Evaluation) -> Protocol | None:
    """Return the run's protocol; None where no run is known, or it tells none."""
    name = evaluation.run.get("protocol")
    return Protocol(_PROTOCOLS.get(str(name), f"Protocol: {name}."), name == "strict") if name else None


def feature_flow(evaluation: Evaluation) -> FeatureFlow | None:
    """Return the steps of the selection that ``run.json`` counts; None where the model selects nothing."""
    counts: Mapping[str, Any] = evaluation.run.get("counts") or {}
    left: Mapping[str, Any] = counts.get("selection") or {}
    if not left:
        return None
    names = ["Measured" if name == "measured" else f"After {name.replace('_', ' ')}" for name in left]
    rows = [[name, plain(number)] for name, number in zip(names, left.values(), strict=True)]
    if "features_before_split" in counts:
        chosen = ["Chosen before the split, by all patients", plain(counts["features_before_split"])]
        rows = [["Measured", plain(counts.get("features"))], chosen, *rows[1:]]
    told, warning = [], ""
    events = counts.get("events_per_feature")
    if events is not None and list(left.values())[-1]:
        told.append(f"{events:g} development patients with the event for each feature at the last step.")
        if events < FEW_EVENTS_PER_FEATURE:
            warning = (
                f"{events:g} events for each feature at the last step: below {FEW_EVENTS_PER_FEATURE:g}, what is "
                "learned of a single feature is mostly chance."
            )
    if stability := counts.get("selection_stability"):
        value, lower, upper = (float(stability[name]) for name in ("value", "lower", "upper"))
        estimate = with_interval(value, lower, upper, decimals=2)
        told.append(f"Stability over {stability['folds']} folds (Nogueira): {estimate}; 1: the same features in each.")
    return FeatureFlow(Table("Features left at each step", ["Step", "Features"], rows, note=" ".join(told)), warning)
