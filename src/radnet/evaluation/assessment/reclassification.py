"""What one model changes in the probabilities another gave: integrated discrimination and net reclassification."""

from math import isnan, nan
from typing import Any

import pandas as pd

from radnet.evaluation.assessment.sample import Sample
from radnet.evaluation.discrimination import Estimate
from radnet.evaluation.reclassification.at_horizon import idi_at, nri_categorical_at, nri_continuous_at
from radnet.evaluation.reclassification.binary import Reclassification, idi, nri_categorical, nri_continuous


def reclassify(one: Sample, other: Sample) -> None:
    """Note ``idi`` and the net reclassification of the patients both models have a probability for.

    ``nri_event`` and ``nri_nonevent`` are the parts of ``nri_continuous`` or, by their method, of ``nri_categorical``,
    which is left out unless the settings name ``nri_cuts``.

    Args:
        one: A frozen model.
        other: The model it is compared with, of the same partition.
    """
    horizons = tuple(sorted(set(one.horizons) & set(other.horizons))) if one.survival else (nan,)
    judged = False
    for horizon in horizons:
        both = _with_both_probabilities(one, other, horizon)
        if both is None:
            continue
        judged = True
        at = f" at {horizon:g}" if one.survival else ""
        with one.telling(f"reclassification versus {other.about.model}{at}: "):
            if one.survival:
                _reclassify_at(one, both, horizon, other.about.model)
            else:
                _reclassify_binary(one, both, other.about.model)
    if one.settings.nri_cuts and not judged:
        needed = "probability_<t> at a horizon" if one.survival else "probability"
        one.say(f"nri_categorical versus {other.about.model} needs a {needed} from both models")


def _reclassify_binary(one: Sample, both: pd.DataFrame, versus: str) -> None:
    given, level = (both["event"], both["probability"], both["probability_versus"]), one.settings.level
    gain = idi(*given, level).total
    if isnan(gain.lower):
        one.say(f"reclassification versus {versus}: a class has one patient: idi has no interval")
    _note(one, both, "idi", gain, versus=versus)
    _note_nri(one, both, "continuous", "", nri_continuous(*given, level), versus=versus)
    if cuts := one.settings.nri_cuts:
        _note_nri(one, both, "categorical", "", nri_categorical(*given, cuts, level), versus=versus)


def _reclassify_at(one: Sample, both: pd.DataFrame, horizon: float, versus: str) -> None:
    settings = one.settings
    given = both["time"], both["event"], both["probability"], both["probability_versus"]
    drawn: dict[str, Any] = {"resamples": settings.bootstrap, "seed": settings.seed, "level": settings.level}
    at = {"horizon": horizon, "versus": versus}
    _note(one, both, "idi", idi_at(*given, horizon, **drawn).total, method="ipcw", **at)
    for method in ("km", "ipw"):
        _note_nri(one, both, "continuous", method, nri_continuous_at(*given, horizon, method, **drawn), **at)
        if cuts := settings.nri_cuts:
            gain = nri_categorical_at(*given, cuts, horizon, method, **drawn)
            _note_nri(one, both, "categorical", method, gain, **at)


def _note_nri(
    one: Sample, both: pd.DataFrame, kind: str, method: str, gain: Reclassification, **columns: object
) -> None:
    of_kind = f"{kind}_{method}" if method else kind
    _note(one, both, f"nri_{kind}", gain.total, method=method or kind, **columns)
    _note(one, both, "nri_event", gain.event, method=of_kind, **columns)
    _note(one, both, "nri_nonevent", gain.nonevent, method=of_kind, **columns)


def _note(one: Sample, both: pd.DataFrame, metric: str, estimate: Estimate, **columns: object) -> None:
    bounds = {"lower": estimate.lower, "upper": estimate.upper, "p_value": estimate.p_value}
    one.metric(metric, estimate.value, both, **bounds, **columns)


def _with_both_probabilities(one: Sample, other: Sample, horizon: float) -> pd.DataFrame | None:
    """Return the patients of ``one`` with both probabilities; None where a model has none or no patient has both."""
    new, old = _probability(one, horizon), _probability(other, horizon)
    if new is None or old is None:
        return None
    old = old[["patient_id", "probability"]].rename(columns={"probability": "probability_versus"})
    both = new.drop(columns="probability_versus", errors="ignore").merge(old, on="patient_id")
    shared = len(set(one.patients["patient_id"]) & set(other.patients["patient_id"]))
    if len(both) < shared:
        at = f" at {horizon:g}" if one.survival else ""
        told = f"{len(both)} of {shared} shared patients have a probability{at} from both"
        one.say(f"reclassification versus {other.about.model}: {told}")
    return None if both.empty else both


def _probability(sample: Sample, horizon: float) -> pd.DataFrame | None:
    with sample.telling(severity="failed"):
        return sample.probability(horizon)
    return None
