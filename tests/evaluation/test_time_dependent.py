import tracemalloc

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from oracle import close
from radnet.evaluation.survival.concordance import uno
from radnet.evaluation.survival.time_dependent import compare_auc_at_time, ipcw_auc, ipcw_roc, km_roc, nne_roc
from survival_oracle import MARKERS, arrays, of_r

CONVENTION = pytest.mark.parametrize("as_in", ["timeROC", "riskRegression"])


def simulated(seed, size=80):
    rng = np.random.default_rng(seed)
    score = rng.normal(size=size)
    life, stay = rng.exponential(5 * np.exp(-score)), rng.exponential(8, size=size)
    return np.minimum(life, stay), life <= stay, score


def all_seen(seed):
    time, _, score = simulated(seed)
    return time, np.ones(80), score


@of_r(*MARKERS)
def test_ipcw_auc_and_its_error_equal_timeroc(case):
    data = arrays(case, "time", "event", "marker")
    theirs = case["outputs"]["timeROC_ipcw"]
    percent = dict(zip(theirs["ci95_percent"]["rownames"], theirs["ci95_percent"]["rows"], strict=True))
    told = zip(*(theirs[name] for name in ("times", "AUC", "se", "cases", "survivors", "censored")), strict=True)
    for horizon, auc, error, *counts in told:
        if horizon == 0:  # timeROC adds it where one time is asked for
            continue

        ours = ipcw_auc(*data, horizon, as_in="timeROC")

        close([ours.value, ours.standard_error], [auc, error])
        assert [ours.cases, ours.controls, ours.left] == counts
        assert (ours.horizon.time, ours.horizon.note) == (horizon, "")
        interval = ours.interval(0.95)
        # R rounds per cent to two decimals and lets an AUC exceed 1
        theirs_cut = np.clip(percent[f"t={horizon:g}"], 0, 100)
        np.testing.assert_allclose([100 * interval.lower, 100 * interval.upper], theirs_cut, atol=0.005 + 1e-9)


@of_r(*MARKERS)
def test_ipcw_roc_equals_timeroc_at_every_point(case):
    data = arrays(case, "time", "event", "marker")
    theirs = case["outputs"]["timeROC_ipcw"]

    curve = ipcw_roc(*data, theirs["times"][-1], as_in="timeROC")

    close(curve.tpr[::-1], theirs["TP_last"])
    close(curve.fpr[::-1], theirs["FP_last"])
    close(curve.area, theirs["AUC"][-1])


@of_r("brier_auc_lung")
def test_ipcw_auc_and_its_error_equal_riskregression(case):
    given, theirs = case["inputs"], case["outputs"]["AUC"]
    for place, horizon in enumerate(given["times"]):
        risk = [row[place] for row in given["risk"]["rows"]]

        ours = ipcw_auc(given["time"], given["event"], risk, horizon, as_in="riskRegression")

        interval = ours.interval(0.95)
        close([ours.value, ours.standard_error], [theirs["AUC"][place], theirs["se"][place]])
        close([interval.lower, interval.upper], [theirs["lower"][place], theirs["upper"][place]])


@pytest.mark.parametrize("method", ["KM", "NNE"])
@of_r(*MARKERS)
def test_km_and_nne_roc_equal_survivalroc(case, method):
    """Its survivalROC.C is left out: it moves the lowest score's neighbours to the middle of the ranks."""
    data = arrays(case, "time", "event", "marker")
    for told in case["outputs"]["survivalROC"]["by_time"]:
        theirs = told["KM" if method == "KM" else "NNE_span_0.25n_pow_minus0.2"]

        curve = km_roc(*data, told["time"]) if method == "KM" else nne_roc(*data, told["time"], theirs["span"])

        close(curve.threshold, theirs["cut_values"])
        close(curve.tpr, theirs["TP"])
        close(curve.fpr, theirs["FP"])
        close([curve.area, curve.survival], [theirs["AUC"], theirs["survival"]])
        close(curve.youden, [theirs["youden_cut"], theirs["youden_J"]])


@CONVENTION
@pytest.mark.parametrize("seed", range(3))
def test_auc_of_patients_who_all_stayed_is_that_of_a_binary_outcome(seed, as_in):
    time, event, score = all_seen(seed)

    ours = ipcw_auc(time, event, score, 3, as_in=as_in)

    assert ours.value == pytest.approx(roc_auc_score(time < 3, score))


@pytest.mark.parametrize("seed", range(3))
def test_every_roc_of_patients_who_all_stayed_is_that_of_a_binary_outcome(seed):
    time, event, score = all_seen(seed)

    curves = [
        km_roc(time, event, score, 3),
        ipcw_roc(time, event, score, 3, as_in="timeROC"),
        nne_roc(time, event, score, 3, span=1e-9),  # nobody has a neighbour
    ]

    for curve in curves:
        assert curve.area == pytest.approx(roc_auc_score(time < 3, score))
        close(curve.survival, np.mean(time > 3))


@CONVENTION
def test_auc_knows_ranks_only_and_turns_with_the_score(as_in):
    time, event, score = simulated(4)

    ours = ipcw_auc(time, event, score, 3, as_in=as_in)

    close(ipcw_auc(time, event, np.exp(score), 3, as_in=as_in).value, ours.value)
    close(ipcw_auc(time, event, -score, 3, as_in=as_in).value, 1 - ours.value)
    close(ipcw_auc(time, event, -score, 3, as_in=as_in).standard_error, ours.standard_error)
    assert ipcw_auc(time, event, 0 * score, 3, as_in=as_in).value == 0.5
    close(ipcw_roc(time, event, score, 3, as_in=as_in).area, ours.value)


def test_both_conventions_agree_where_no_times_tie():
    time, event, score = simulated(5)

    one, other = (ipcw_auc(time, event, score, 3, as_in=as_in) for as_in in ("timeROC", "riskRegression"))

    close(one.value, other.value)
    close(one.standard_error, other.standard_error, rtol=1e-3)  # who leaves at t counts once for timeROC himself


def test_standard_error_is_the_spread_of_auc_over_cohorts():
    drawn = [ipcw_auc(*simulated(seed, size=150), 3, as_in="timeROC") for seed in range(300)]

    spread = np.std([auc.value for auc in drawn], ddof=1)

    # 300 cohorts tell a standard deviation to 4 %
    assert np.mean([auc.standard_error for auc in drawn]) == pytest.approx(spread, rel=0.12)


def test_difference_of_two_scores_counts_that_they_share_patients():
    time, event, score = simulated(6)
    near = score + np.random.default_rng(7).normal(size=80) * 0.05
    one, versus = (ipcw_auc(time, event, marker, 3, as_in="timeROC") for marker in (score, near))

    ours = compare_auc_at_time(one, versus, level=0.95)

    assert ours.value == pytest.approx(one.value - versus.value)
    assert ours.upper - ours.lower < 0.5 * np.hypot(one.standard_error, versus.standard_error) * 2 * 1.96
    assert compare_auc_at_time(one, one, level=0.95).p_value == 1
    with pytest.raises(ValueError, match="same patients at the same horizon"):
        compare_auc_at_time(one, ipcw_auc(time, event, near, 2, as_in="timeROC"), level=0.95)


@pytest.mark.parametrize(
    "estimate",
    [
        lambda *data: ipcw_auc(*data, as_in="timeROC"),
        lambda *data: ipcw_roc(*data, as_in="timeROC"),
        km_roc,
        lambda *data: nne_roc(*data, span=0.3),
    ],
    ids=["auc", "ipcw", "km", "nne"],
)
def test_horizon_beyond_follow_up_is_cut_and_told(estimate):
    time, event, score = [1, 2, 3, 4, 5, 6], [1, 0, 1, 1, 0, 0], [6, 4, 5, 1, 2, 3]

    ours = estimate(time, event, score, 60)

    assert ours.horizon.time == 5
    assert ours.horizon.note == "nobody is followed beyond 60: judged at 5, the last time beyond which somebody is"
    assert estimate(time, event, score, 6).horizon.time == 5
    assert estimate(time, event, score, 5).horizon.note == ""


def test_horizons_without_cases_and_scores_that_are_missing_are_refused():
    time, event, score = np.array([1, 2, 3, 4.0]), np.array([0, 1, 1, 0]), np.array([1, 2, 3, 4.0])
    with pytest.raises(ValueError, match=r"an AUC at 1.5 needs a patient with the event by then, but there is none"):
        ipcw_auc(time, event, score, 1.5, as_in="timeROC")
    with pytest.raises(ValueError, match=r"a ROC curve at 1.5 needs a patient with the event by then"):
        km_roc(time, event, score, 1.5)
    with pytest.raises(ValueError, match=r"a ROC curve at 1.5 needs a patient with the event by then"):
        nne_roc(time, event, score, 1.5, span=0.5)
    with pytest.raises(ValueError, match="a horizon must be a number above 0, got nan"):
        ipcw_auc(time, event, score, np.nan, as_in="timeROC")
    with pytest.raises(ValueError, match="1 of 4 scores are missing or infinite"):
        ipcw_auc(time, event, [1, np.nan, 2, 3], 3, as_in="timeROC")
    with pytest.raises(ValueError, match="as in timeROC or riskRegression, got 'sksurv'"):
        ipcw_auc(time, event, score, 3, as_in="sksurv")
    with pytest.raises(ValueError, match="the span is a share of the patients, above 0 and up to 1, got 2"):
        nne_roc(time, event, score, 3, span=2)
    with pytest.raises(ValueError, match="nobody is followed beyond the horizon 3: every follow-up ends at 2"):
        ipcw_auc([2, 2], [1, 0], [1, 2], 3, as_in="timeROC")


def test_auc_orders_patients_as_unos_c_does():
    time, event, score = simulated(8)

    assert ipcw_auc(time, event, score, 3, as_in="timeROC").value > 0.7
    assert uno(time, event, score, as_in="survival").value > 0.6


def slow_survival(member, time, event, horizon):
    """Kaplan-Meier survival at the horizon of the patients marked, by its definition."""
    survival = 1.0
    for at in np.unique(time[event & member & (time <= horizon)]):
        survival *= 1 - np.sum(event & member & (time == at)) / np.sum(member & (time >= at))
    return survival


@pytest.mark.parametrize("decimals", [0, 1, 9], ids=["many ties", "ties", "none"])
@pytest.mark.parametrize("span", [0.02, 0.3, 1.0])
def test_nne_and_km_roc_are_those_of_the_definition_written_slowly(span, decimals):
    time, event, score = simulated(9)
    time, score = np.ceil(2 * time), score.round(decimals) + 0.0
    ranked = np.sort(score)
    furthest = np.minimum(np.searchsorted(ranked, score) + int(80 * span + 0.5), 79)
    near = [np.abs(score - own) <= ranked[to] - own for own, to in zip(score, furthest, strict=True)]
    smoothed = np.array([slow_survival(member, time, event, 6) for member in near])

    nne, km = nne_roc(time, event, score, 6, span), km_roc(time, event, score, 6)

    for place, threshold in enumerate(nne.threshold):
        above = score > threshold
        close(nne.tpr[place], np.sum((1 - smoothed)[above]) / np.sum(1 - smoothed))
        close(nne.fpr[place], np.sum(smoothed[above]) / np.sum(smoothed))
        apart = slow_survival(above, time, event, 6)
        close(km.fpr[place], apart * above.mean() / km.survival)
        close(km.tpr[place], (1 - apart) * above.mean() / (1 - km.survival))


def test_curves_of_many_patients_take_no_table_of_all_pairs():
    time, event, score = simulated(10, size=4000)
    tracemalloc.start()

    for curve in (
        nne_roc(time, event, score, 3, span=0.05),
        km_roc(time, event, score, 3),
        ipcw_roc(time, event, score, 3, as_in="timeROC"),
    ):
        assert 0.5 < curve.area < 1

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4000**2 / 4  # a table of pairs takes a byte for each


@pytest.mark.parametrize("unit", [1e-300, 1e307])
def test_neighbours_are_the_same_whatever_the_unit_of_the_score(unit):
    time, event, score = simulated(11)

    close(nne_roc(time, event, score * unit, 3, span=0.2).tpr, nne_roc(time, event, score, 3, span=0.2).tpr)
