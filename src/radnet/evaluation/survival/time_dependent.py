"""How well a score tells who has the event by a time from who is still event-free then: AUC and ROC curve at a time."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radnet.evaluation.bootstrap import Weighted, WithinFolds, mean_within_folds
from radnet.evaluation.discrimination import Estimate, Floats
from radnet.evaluation.normal import error_of_mean, normal_estimate
from radnet.evaluation.survival.follow_up import Horizon, checked_follow_up, reachable
from radnet.evaluation.survival.leaving import influence_of_leaving, staying

Convention = Literal["timeROC", "riskRegression"]


@dataclass(frozen=True, slots=True)
class AucAtTime:
    """The AUC at a time, weighted for those who left before it.

    Attributes:
        value: Probability that one with the event by the horizon scores higher than one without.
        influence: How each patient moves ``value``, in the order given, shape (n,).
        cases: Patients with the event by the horizon.
        controls: Patients followed beyond it without.
        left: All others; those with the weight of nobody.
        horizon: The time, and a note where it is not the one asked for.
    """

    value: float
    influence: Floats
    cases: int
    controls: int
    left: int
    horizon: Horizon

    @property
    def standard_error(self) -> float:
        """Standard error, from the spread of ``influence``; it counts that the weights are estimated."""
        return error_of_mean(self.influence)

    def interval(self, level: float) -> Estimate:
        """Return the AUC with its normal interval, cut at 0 and 1, and the two-sided p-value against 0.5."""
        return normal_estimate(self.value, self.standard_error, level, null=0.5, within=(0.0, 1.0))


@dataclass(frozen=True, slots=True)
class RocAtTime:
    """A ROC curve at a time; a patient is positive when his score is above the threshold; arrays of shape (K,).

    Attributes:
        threshold: Minus infinity, then every distinct score, rising.
        tpr: Share of those with the event by the horizon who are positive; by ``km_roc`` it may leave [0, 1].
        fpr: Share of those without who are positive; likewise.
        survival: Share of all patients without the event at the horizon.
        horizon: The time, and a note where it is not the one asked for.
    """

    threshold: Floats
    tpr: Floats
    fpr: Floats
    survival: float
    horizon: Horizon

    @property
    def area(self) -> float:
        """Area under the curve, by trapezoids."""
        return float(np.sum((self.fpr[:-1] - self.fpr[1:]) * (self.tpr[:-1] + self.tpr[1:]) / 2))

    @property
    def youden(self) -> tuple[float, float]:
        """The lowest threshold with the largest sensitivity + specificity - 1, and that largest value."""
        best = int(np.argmax(self.tpr - self.fpr))
        return float(self.threshold[best]), float(self.tpr[best] - self.fpr[best])


@dataclass(frozen=True, slots=True)
class _Weighted:
    """Patients with the event by a horizon, weighted for those who left, and patients event-free beyond it."""

    case: Floats  # 1 / G(t-) of a case, else 0; shape (n,)
    control: NDArray[np.bool_]
    score: Floats
    survival: float
    horizon: Horizon


def ipcw_auc(time: ArrayLike, event: ArrayLike, score: ArrayLike, horizon: float, *, as_in: Convention) -> AucAtTime:
    """Estimate the AUC at a time, weighting by the inverse probability of not having left.

    Args:
        time: Follow-up of each patient, shape (n,).
        event: Whether it ended with the event, shape (n,).
        score: Higher = event sooner, shape (n,); complete and finite.
        horizon: The time; cut to the last one beyond which somebody is followed.
        as_in: ``timeROC`` leaves out who has the event at the horizon exactly; for ``riskRegression`` he is a case.
            Their standard errors also differ a little where times tie, see ``influence_of_leaving``.

    Raises:
        ValueError: If nobody has the event by the horizon.

    References:
        Uno, Cai, Tian, Wei. J Am Stat Assoc 2007;102:527-537. Hung, Chiang. Can J Stat 2010;38:8-26. Blanche,
        Dartigues, Jacqmin-Gadda. Stat Med 2013;32:5381-5397 (variance). R packages timeROC, riskRegression.
    """
    times, happened, scores = checked_follow_up(time, event, score)
    told = _weigh(times, happened, scores, horizon, as_in)
    cases, controls = np.flatnonzero(told.case), np.flatnonzero(told.control)
    weight = told.case[cases]
    beaten = _share_below(scores[cases], scores[controls], np.ones(controls.size))
    value = float(weight @ beaten / weight.sum())
    surplus = np.zeros(times.size)
    surplus[cases] = weight * (beaten - value) * times.size / weight.sum()
    influence = surplus.copy()
    beating = 1 - _share_below(scores[controls], scores[cases], weight)
    influence[controls] += (beating - value) * times.size / controls.size
    influence += influence_of_leaving(
        times, happened, surplus / times.size, told.horizon.time, row_by_row=as_in == "timeROC"
    )
    rest = times.size - cases.size - controls.size
    return AucAtTime(value, influence, cases.size, controls.size, rest, told.horizon)


def ipcw_auc_within_folds(
    time: ArrayLike,
    event: ArrayLike,
    score: ArrayLike,
    horizon: float,
    fold: ArrayLike,
    patient: ArrayLike,
    *,
    resamples: int,
    seed: int,
    level: float,
) -> WithinFolds:
    """Average the AUC at a time over folds, with percentiles over patients drawn within their fold.

    Each fold is weighted by its own estimate of who stays, anew in every resample. Folds without a patient with the
    event before the horizon, or without one followed beyond it, are skipped.

    Args:
        time: Follow-up of each row's patient, shape (n,).
        event: Whether it ended with the event, shape (n,).
        score: Higher = event sooner, shape (n,); complete and finite.
        horizon: The time; somebody must be followed beyond it, see ``reachable``.
        fold: Fold of each row, shape (n,); name the repeat in it too.
        patient: Patient of each row, shape (n,); one who stands in several folds is drawn once for all.
        resamples: Bootstrap resamples.
        seed: Seed of the draws.
        level: Coverage of the interval.

    Raises:
        ValueError: If no fold has a patient on either side of the horizon.

    References:
        As ``ipcw_auc`` by the convention of R's timeROC.
    """
    times, happened, scores = checked_follow_up(time, event, score)

    def in_fold(rows: NDArray[np.intp]) -> Weighted | None:
        statistic = _weighted_auc(times[rows], happened[rows], scores[rows], horizon)
        return None if np.isnan(statistic(np.ones((1, rows.size)))[0]) else statistic

    return mean_within_folds(
        in_fold,
        f"a patient with the event before {horizon:g} and one followed beyond it",
        np.zeros(times.size, dtype=int),
        fold,
        patient,
        resamples=resamples,
        seed=seed,
        level=level,
    )


def compare_auc_at_time(one: AucAtTime, versus: AucAtTime, level: float) -> Estimate:
    """Return the difference of two scores' AUC at a time on the same patients, its interval and p-value.

    References:
        Blanche, Dartigues, Jacqmin-Gadda. Stat Med 2013;32:5381-5397, section 3.3.
    """
    if one.influence.shape != versus.influence.shape or one.horizon.time != versus.horizon.time:
        raise ValueError("both AUC must be of the same patients at the same horizon")
    return normal_estimate(one.value - versus.value, error_of_mean(one.influence - versus.influence), level, null=0.0)


def ipcw_roc(time: ArrayLike, event: ArrayLike, score: ArrayLike, horizon: float, *, as_in: Convention) -> RocAtTime:
    """Return the ROC curve whose area ``ipcw_auc`` estimates; arguments, errors and references as there."""
    times, happened, scores = checked_follow_up(time, event, score)
    told = _weigh(times, happened, scores, horizon, as_in)
    ranked, threshold, up_to = _thresholds(scores)
    tpr, fpr = (_sums_from(weight[ranked])[up_to] for weight in (told.case, told.control))
    return RocAtTime(threshold, tpr / tpr[0], fpr / fpr[0], told.survival, told.horizon)


def km_roc(time: ArrayLike, event: ArrayLike, score: ArrayLike, horizon: float) -> RocAtTime:
    """Return the ROC curve from the survival of those above each threshold.

    The two shares are estimated apart, so the curve need not rise steadily and may leave [0, 1]; ``nne_roc`` does not.

    Args:
        time: Follow-up of each patient, shape (n,).
        event: Whether it ended with the event, shape (n,).
        score: Higher = event sooner, shape (n,); complete and finite.
        horizon: The time; cut to the last one beyond which somebody is followed.

    Raises:
        ValueError: If nobody has the event by the horizon.

    References:
        Heagerty, Lumley, Pepe. Biometrics 2000;56:337-344, section 2.1. R package survivalROC, method "KM".
    """
    times, happened, scores = checked_follow_up(time, event, score)
    until = reachable(times, horizon)
    ranked, threshold, up_to = _thresholds(scores)
    survival = _survival_between(up_to, np.full(up_to.size, scores.size), times[ranked], happened[ranked], until.time)
    everyone = float(survival[0])
    _refuse_none(everyone, until)
    positive = (scores.size - up_to) / scores.size
    tpr, fpr = (1 - survival) * positive / (1 - everyone), survival * positive / everyone
    return RocAtTime(threshold, tpr, fpr, everyone, until)


def nne_roc(time: ArrayLike, event: ArrayLike, score: ArrayLike, horizon: float, span: float) -> RocAtTime:
    """Return the ROC curve from survival smoothed over patients with neighbouring scores.

    A patient's neighbours are those whose score is as near to his, on either side, as that of the patient who stands
    ``span`` of all ranks above him.

    Args:
        time: Follow-up of each patient, shape (n,).
        event: Whether it ended with the event, shape (n,).
        score: Higher = event sooner, shape (n,); complete and finite.
        horizon: The time; cut to the last one beyond which somebody is followed.
        span: Share of all patients who are neighbours on one side; R's help page takes 0.25 n^-0.2.

    Raises:
        ValueError: If nobody has the event by the horizon, or ``span`` is not in (0, 1].

    References:
        Heagerty, Lumley, Pepe. Biometrics 2000;56:337-344, section 2.2. R package survivalROC, function survivalROC,
        method "NNE". Its survivalROC.C differs: it counts neighbours by rank, and misplaces those of the lowest score.
    """
    times, happened, scores = checked_follow_up(time, event, score)
    if not 0 < span <= 1:
        raise ValueError(f"the span is a share of the patients, above 0 and up to 1, got {span}")
    until = reachable(times, horizon)
    ranked, threshold, up_to = _thresholds(scores)
    first, end = _neighbours(scores[ranked], up_to[:-1], int(scores.size * span + 0.5))
    smoothed = _survival_between(first, end, times[ranked], happened[ranked], until.time)
    surviving = _sums_from(np.diff(up_to) * smoothed) / scores.size
    everyone = float(surviving[0])
    _refuse_none(everyone, until)
    positive = (scores.size - up_to) / scores.size
    pooled = _survival_between(np.zeros(1, int), np.full(1, scores.size), times[ranked], happened[ranked], until.time)
    return RocAtTime(
        threshold,
        (positive - surviving) / (1 - everyone),
        surviving / everyone,
        float(pooled[0]),
        until,
    )


def _weigh(time: Floats, event: NDArray[np.bool_], score: Floats, horizon: float, as_in: Convention) -> _Weighted:
    if as_in not in ("timeROC", "riskRegression"):
        raise ValueError(f"the AUC at a time is computed as in timeROC or riskRegression, got {as_in!r}")
    until = reachable(time, horizon)
    case = event & ((time < until.time) if as_in == "timeROC" else (time <= until.time))
    if not case.any():
        by_then = "before then" if (event & (time == until.time)).any() else "by then"
        raise ValueError(f"an AUC at {until.time:g} needs a patient with the event {by_then}, but there is none")
    stays = staying(time, event, events_leave_first=True)
    control = time > until.time
    survival = float(control.mean() / stays.at(until.time))
    return _Weighted(case / stays.before_own, control, score, survival, until)


def _weighted_auc(time: Floats, event: NDArray[np.bool_], score: Floats, horizon: float) -> Weighted:
    """Return the AUC by the convention of timeROC, as a statistic of resampled patients; NaN where there is none."""
    order = np.argsort(time, kind="stable")
    _, starts, place = np.unique(time[order], return_index=True, return_inverse=True)
    left = ~event[order]
    cases = np.flatnonzero(event[order] & (time[order] < horizon))
    controls = np.flatnonzero(time[order] > horizon)
    controls = controls[np.argsort(score[order][controls], kind="stable")]
    ranked, of_case = score[order][controls], score[order][cases]
    below, up_to = np.searchsorted(ranked, of_case, side="left"), np.searchsorted(ranked, of_case, side="right")

    def auc(weight: Floats) -> Floats:
        drawn = weight[:, order].astype(float)
        ending = np.add.reduceat(drawn, starts, axis=1)
        leaving = np.add.reduceat(drawn * left, starts, axis=1)
        there = ending[:, ::-1].cumsum(axis=1)[:, ::-1] - (ending - leaving)  # events leave first
        stay = 1 - np.divide(leaving, there, out=np.zeros(there.shape), where=there > 0)
        before = np.concatenate([np.ones((len(stay), 1)), np.cumprod(stay, axis=1)[:, :-1]], axis=1)[:, place[cases]]
        case = np.divide(drawn[:, cases], before, out=np.zeros(before.shape), where=before > 0)
        beaten = np.concatenate([np.zeros((len(drawn), 1)), np.cumsum(drawn[:, controls], axis=1)], axis=1)
        won = np.einsum("ij,ij->i", case, (beaten[:, below] + beaten[:, up_to]) / 2)
        pairs = case.sum(axis=1) * beaten[:, -1]
        return np.divide(won, pairs, out=np.full(won.shape, np.nan), where=pairs > 0)

    return auc


def _share_below(score: Floats, others: Floats, weight: Floats) -> Floats:
    """Return the share of the others' weight that lies below each score; equal scores count one half."""
    order = np.argsort(others)
    summed = np.concatenate([[0.0], np.cumsum(weight[order])])
    ranked = others[order]
    below, up_to = np.searchsorted(ranked, score, side="left"), np.searchsorted(ranked, score, side="right")
    return (summed[below] + summed[up_to]) / 2 / summed[-1]


def _thresholds(score: Floats) -> tuple[NDArray[np.intp], Floats, NDArray[np.intp]]:
    """Return the order by score, minus infinity with every distinct score, and how many scores each does not pass."""
    ranked = np.argsort(score, kind="stable")
    threshold = np.concatenate([[-np.inf], np.unique(score)])
    return ranked, threshold, np.searchsorted(score[ranked], threshold, side="right")


def _sums_from(value: ArrayLike) -> Floats:
    """Return the sum of a value and all after it, for each, and at last 0."""
    return np.append(np.cumsum(np.asarray(value, dtype=float)[::-1])[::-1], 0.0)


def _neighbours(ranked: Floats, place: NDArray[np.intp], many: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return first and end of the ranks whose score is as near to that at each place as the one ``many`` above."""
    halved = ranked / 2  # the difference of two numbers may be beyond any, that of their halves is not
    first, end = np.empty_like(place), np.empty_like(place)
    for one, rank in enumerate(place):
        reach = halved[min(rank + many, ranked.size - 1)] - halved[rank]
        near = np.abs(halved - halved[rank]) <= reach
        first[one] = near.argmax()
        end[one] = first[one] + near.sum()
    return first, end


def _survival_between(
    first: NDArray[np.intp], end: NDArray[np.intp], time: Floats, event: NDArray[np.bool_], horizon: float
) -> Floats:
    """Return Kaplan-Meier survival at the horizon of patients from each ``first`` to before its ``end``, shape (m,).

    It takes O(n) memory for n patients and m groups, not the O(nm) of a table of members. An empty group survives.
    """
    survival = np.ones(first.size)
    for at in np.unique(time[event & (time <= horizon)]):
        ending = event & (time == at)
        there, events = (np.concatenate([[0], np.cumsum(counted)]) for counted in (time >= at, ending))
        at_risk, lost = there[end] - there[first], events[end] - events[first]
        survival *= 1 - np.divide(lost, at_risk, out=np.zeros(first.size), where=at_risk > 0)
    return survival


def _refuse_none(survival: float, horizon: Horizon) -> None:
    if survival >= 1:
        raise ValueError(f"a ROC curve at {horizon.time:g} needs a patient with the event by then, but there is none")
    if survival <= 0:
        raise ValueError(f"a ROC curve at {horizon.time:g} needs survivors, but survival has come down to 0")
