"""Two models on the same patients: differences of AUC and of concordance, reclassification."""

from collections.abc import Callable, Sequence
from functools import partial
from math import nan

import pandas as pd

from radnet.evaluation.assessment.discrimination import resampling
from radnet.evaluation.assessment.reclassification import reclassify
from radnet.evaluation.assessment.sample import Sample
from radnet.evaluation.assessment.settings import EvaluationSettings
from radnet.evaluation.discrimination import (
    Difference,
    Estimate,
    auc_difference_bootstrap,
    compare_over_folds,
    compare_paired,
    compare_unpaired,
    delong,
)
from radnet.evaluation.namesakes import judges, own_name, stand_together
from radnet.evaluation.survival.concordance import Concordance, compare_concordance, harrell, uno
from radnet.tables import is_ablation, is_control, standing, stands_aside

_OF_VERSUS = "_versus"
_UNCHANGED, _CHANGED = "control_same_patients", ("control_shuffled_voxels", "control_random_region")


def compare_models(samples: dict[str, Sample], settings: EvaluationSettings) -> None:
    """Compare every pair of one partition's models, or each with ``settings.versus`` and with its controls.

    Controls and ablations are compared with models and not with each other. Controls of changed images judge some of
    the patients only: they are compared with ``control_same_patients`` alone, which reads the unchanged images of the
    same. What is named after its file is compared with the models of that file.

    Differences are those of a model minus ``versus``: between frozen models on the patients both judge or, where they
    share none, on those of each; between models of folds within the folds they share.

    Args:
        samples: Model to its patients, all of one endpoint and partition.
        settings: What is asked.
    """
    names = sorted(samples, key=standing)  # a stable sort: differences are of a model minus its control
    pairs = [
        (name, other)
        for place, name in enumerate(names)
        for other in names[place + 1 :]
        if _are_compared(name, other, names)
    ]
    if (versus := settings.versus) is not None:
        others = [name for name in names if versus in samples and name != versus]
        own = [(name, other) for name, other in pairs if stands_aside(other) and versus not in (name, other)]
        pairs = [(name, versus) for name in others if _is_compared_with(versus, name, names)] + own
        for name in names if versus not in samples else []:
            samples[name].say(f"{versus} has no scores to compare with here")
    for name, other in pairs:
        _compare(samples[name], samples[other])


def _is_compared_with(versus: str, name: str, names: Sequence[str]) -> bool:
    """Whether a model is compared with the one that was asked for."""
    if not stands_aside(name):
        return True
    two_aside = stands_aside(versus) and (is_ablation(name) or is_ablation(versus))
    return not two_aside and judges(name, versus, names)


def _are_compared(name: str, versus: str, names: Sequence[str]) -> bool:
    """Whether a pair tells something; names are in order: models, ablations, controls."""
    if is_ablation(name):
        return False
    if is_control(name):
        changed = own_name(name) == _UNCHANGED and own_name(versus) in _CHANGED
        return changed and stand_together(name, versus)
    if is_ablation(versus):
        return judges(versus, name, names)
    if is_control(versus):
        return own_name(versus) not in (_UNCHANGED, *_CHANGED) and judges(versus, name, names)
    return True


def _compare(one: Sample, other: Sample) -> None:
    versus = other.about.model
    if one.folded != other.folded:
        one.say(f"not compared with {versus}: one is a frozen model, the other is of folds")
        return
    if one.folded and one.about.partition != "out_of_fold":
        one.say(f"not compared with {versus}: models of folds are compared on the patients out of their fold")
        return
    both = _shared(one.rows, other.rows, ["repeat", "patient_id"])
    if both.empty and not one.folded:
        _compare_strangers(one, other)
    elif (both["event"] != both["event" + _OF_VERSUS]).any():
        one.say(f"cannot be compared with {versus}: the two disagree on who had the event", "failed")
    elif one.survival and (both["time"] != both["time" + _OF_VERSUS]).any():
        one.say(f"cannot be compared with {versus}: the two disagree on how long patients were followed", "failed")
    elif one.folded and (both["fold"] != both["fold" + _OF_VERSUS]).any():
        one.say(f"not compared with {versus}: the two judge a patient in different folds; split both alike")
    else:
        _compare_on(both, one, other)


def _shared(rows: pd.DataFrame, versus: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Join the rows of the same patients; equal ids of two named centres are two patients."""
    given = versus[[*keys, "fold", "centre", "event", "time", "score"]]
    both = rows.merge(given, on=keys, suffixes=("", _OF_VERSUS))
    unnamed = (both["centre"] == "") | (both["centre" + _OF_VERSUS] == "")
    return both[unnamed | (both["centre"] == both["centre" + _OF_VERSUS])]


def _compare_on(both: pd.DataFrame, one: Sample, other: Sample) -> None:
    versus = other.about.model
    shared, *sizes = (rows["patient_id"].nunique() for rows in (both, one.rows, other.rows))
    if shared < max(sizes):
        one.say(f"compared with {versus} on the {shared} patients both judge, of {sizes[0]} and {sizes[1]}")
    with one.telling(f"cannot be compared with {versus}: "):
        if one.folded:
            _compare_folds(one, both, versus)
        elif one.survival:
            _compare_concordance(one, both, versus)
        else:
            _compare_aucs(one, both, versus)
    if not one.folded:
        reclassify(_only(one, both["patient_id"]), _only(other, both["patient_id"]))


def _only(sample: Sample, patients: pd.Series) -> Sample:
    return sample.among(sample.rows.set_index("patient_id").loc[patients].reset_index())


def _compare_aucs(one: Sample, both: pd.DataFrame, versus: str) -> None:
    if len(set(both["event"])) < 2:
        raise ValueError("they share one outcome")
    given = both["event"], both["score"], both["score" + _OF_VERSUS]
    _note(one, both, "auc_difference", versus, "delong_paired", compare_paired(*given, one.settings.level))
    drawn = auc_difference_bootstrap(*given, **resampling(one))
    _note(one, both, "auc_difference", versus, "bootstrap", drawn)


def _compare_concordance(one: Sample, both: pd.DataFrame, versus: str) -> None:
    follow_up = both["time"], both["event"]
    methods: dict[str, Callable[..., Concordance]] = {"harrell": harrell, "uno": partial(uno, as_in="survival")}
    for method, c_index in methods.items():
        mine, theirs = (c_index(*follow_up, both[score]) for score in ("score", "score" + _OF_VERSUS))
        test = compare_concordance(mine, theirs, one.settings.level)
        _note(one, both, "c_index_difference", versus, method, test)


def _compare_strangers(one: Sample, other: Sample) -> None:
    """Compare two frozen models that judge no patient in common."""
    versus = other.about.model
    if one.survival:
        one.say(f"not compared with {versus}: the two judge no patient in common")
        return
    with one.telling(f"cannot be compared with {versus}: "):
        mine, theirs = ((sample.rows["event"], sample.rows["score"]) for sample in (one, other))
        test = compare_unpaired(*mine, *theirs, one.settings.level)
        everyone = pd.concat([one.rows, other.rows], ignore_index=True)
        everyone["patient_id"] = everyone.index  # two centres may both have a patient 1
        _note(one, everyone, "auc_difference", versus, "delong_unpaired", test)


def _compare_folds(one: Sample, both: pd.DataFrame, versus: str) -> None:
    of_fold = both.groupby(["fold", "repeat"], sort=False)
    value = _c_index if one.survival else _auc
    differences = pd.Series(
        [value(rows, "score") - value(rows, "score" + _OF_VERSUS) for _, rows in of_fold], dtype=float
    )
    usable = differences.notna()
    if usable.sum() < 2:
        needed = "patients whose order is known" if one.survival else "both classes"
        raise ValueError(f"needs two folds of both models with {needed}, found {usable.sum()} of {len(usable)}")
    judged = both[of_fold.ngroup().map(usable)]
    tested = judged.groupby(["fold", "repeat"])["patient_id"].transform("size")
    learned = both.groupby("repeat")["patient_id"].transform("size").loc[judged.index] - tested
    if not learned.all():
        raise ValueError("a repeat has a single fold, so that nobody is left to have learned from")
    per_fold = ~judged.duplicated(["fold", "repeat"])
    test_share = float(tested[per_fold].sum() / learned[per_fold].sum())
    test = compare_over_folds(differences[usable], test_share, one.settings.level)
    if test.standard_error == 0 and test.difference != 0:
        one.say(f"every fold has the same difference from {versus}: its interval and p-value mislead")
    metric = "c_index_difference" if one.survival else "auc_difference"
    _note(one, judged, metric, versus, "corrected_t", test)


def _auc(rows: pd.DataFrame, score: str) -> float:
    return delong(rows["event"], rows[score]).auc if len(set(rows["event"])) == 2 else nan


def _c_index(rows: pd.DataFrame, score: str) -> float:
    try:
        return harrell(rows["time"], rows["event"], rows[score]).value
    except ValueError:  # no pair of patients whose order is known
        return nan


def _note(
    one: Sample, patients: pd.DataFrame, metric: str, versus: str, method: str, test: Difference | Estimate
) -> None:
    value = test.difference if isinstance(test, Difference) else test.value
    interval = {"lower": test.lower, "upper": test.upper, "p_value": test.p_value}
    one.metric(metric, value, patients, versus=versus, method=method, **interval)
