"""The way of patients through a study, as a drawn flow: who came, who was left out and why, who was judged."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from radnet.report.look import PARTITION_LABELS, in_order
from radnet.report.reading import Evaluation, discrimination
from radnet.report.text import count
from radnet.tables import stands_aside


@dataclass(frozen=True, slots=True)
class Box:
    """A box of the flow: what it counts, and what is said of it."""

    title: str
    lines: list[str]


@dataclass(frozen=True, slots=True)
class Flow:
    """The flow of a cohort.

    Attributes:
        steps: Boxes one above the other; beside each, who leaves after it (a box without lines where nobody does).
        ends: The parts that the last step is divided into.
        note: What is not known.
    """

    steps: list[tuple[Box, Box]]
    ends: list[Box] = field(default_factory=list)
    note: str = ""


_STEPS = {  # what each is called, and the word in the reasons of those who do not reach it
    "patients": ("Patients in the cohort", ""),
    "patients_with_outcome": ("With a known outcome", "unknown"),
    "patients_complete": ("With every variable that is asked for", "not known"),
    "patients_measured": ("With a measured lesion", "measured"),
}


def cohort_flow(evaluation: Evaluation) -> Flow:
    """Draw the flow from the counts and reasons of ``run.json``, or from the metrics where no run is known."""
    counts: Mapping[str, Any] = evaluation.run.get("counts") or {}
    if "patients" not in counts:
        note = "The predictions came without a run: who was left out before they were made is not recorded."
        return Flow([], _judged(evaluation), note)
    reasons = Counter(_reason(why) for why in (evaluation.run.get("excluded") or {}).values())
    known = [name for name in _STEPS if name in counts]
    steps = []
    for place, name in enumerate(known):
        following = known[place + 1] if place + 1 < len(known) else name
        after = counts[following]
        word = _STEPS[following][1] if following != name else ""
        why = {reason: n for reason, n in reasons.items() if word and word in reason}
        steps.append(
            (Box(_STEPS[name][0], [f"n = {counts[name]}", *_lesions(name, counts)]), _left(why, counts[name] - after))
        )
    parts = {"development": "Development", "held_out": "Held-out"}
    ends = [Box(title, _part(counts[name])) for name, title in parts.items() if isinstance(counts.get(name), Mapping)]
    return Flow(steps, ends or _judged(evaluation))


def _reason(why: Any) -> str:
    return str(why.get("reason", why)) if isinstance(why, Mapping) else str(why)


def _left(why: Mapping[str, int], left: int) -> Box:
    told = [f"{n}: {reason}" for reason, n in why.items()]
    if left > sum(why.values()):
        told.append(f"{left - sum(why.values())}: reason not recorded")
    return Box(f"Left out: {max(left, sum(why.values()))}", told) if told else Box("", [])


def _lesions(name: str, counts: Mapping[str, Any]) -> list[str]:
    if name != "patients_measured" or "lesion_rows" not in counts:
        return []
    failed = counts.get("lesion_rows_failed", 0)
    told = [f"{counts['lesion_rows']} measurements of lesions" + (f", {failed} failed" if failed else "")]
    if "target_lesions" in counts:
        told.append(f"{counts['target_lesions']} of {counts['lesions']} lesions are targets")
    return told + ([f"{counts['features']} features each"] if "features" in counts else [])


def _part(part: Mapping[str, Any]) -> list[str]:
    told = [f"n = {part.get('patients', '?')}"]
    told += [f"{part['events']} with the event"] if "events" in part else []
    centres = [str(centre) for centre in part.get("centres") or [] if str(centre)]
    shown = ", ".join(centres[:8]) + (" …" if len(centres) > 8 else "")
    return told + ([f"Centre{'s' if len(centres) > 1 else ''} {shown}"] if centres else [])


def _judged(evaluation: Evaluation) -> list[Box]:
    """Count who was judged, by the model of an endpoint and partition that judged most."""
    metrics = discrimination(evaluation.metrics)
    metrics = metrics[~metrics["model"].map(stands_aside).astype(bool)]
    boxes = []
    for endpoint, rows in metrics.groupby("endpoint", sort=False):
        for partition in in_order(set(rows["partition"]) - {"optimism_corrected"}):
            most = rows[rows["partition"] == partition].sort_values("n").iloc[-1]
            told = [f"n = {count(most['n'])}", f"{count(most['n_event'])} with the event"]
            boxes.append(Box(f"{endpoint} · {PARTITION_LABELS.get(partition, partition)}", told))
    return boxes
