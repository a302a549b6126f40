"""From a file of two models' predictions to idi and the net reclassification improvements in metrics.csv."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from assessing import joined, row_of, rows_of, table, told
from oracle import cases, close
from radnet.cli import main
from radnet.evaluation.assess import assess
from radnet.evaluation.assessment.settings import EvaluationSettings

FILE = "06_reclassification.json"
BINARY = ["pima_te_add_glu", "asah_add_s100b", "cohort69", "no_change", "p_on_cut", "tiny"]
SURVIVAL = ["lung_365_add_ecog", "veteran_120_add_karno"]
PARTS = {"": "total", "_event": "event", "_nonevent": "nonevent"}
OF_TWO = ("idi", "nri_continuous", "nri_categorical", "nri_event", "nri_nonevent")


of_r = partial(cases, FILE)


def evaluated(predictions, folder, *typed):
    """Exit code and metrics of the command on a file of these predictions, the model ``old`` the reference."""
    predictions.to_csv(folder / "predictions.csv", index=False, encoding="utf-8")
    given = [f"predictions={folder / 'predictions.csv'}", f"output={folder / 'judged'}", "evaluation.versus=old"]
    code = main(["evaluate", "report=false", *given, *typed])
    return code, pd.read_csv(folder / "judged" / "metrics.csv", encoding="utf-8", keep_default_na=False, na_values=[""])


def row(metrics, metric, method):
    found = metrics[(metrics["metric"] == metric) & (metrics["method"].fillna("") == method)]
    assert len(found) == 1, f"{metric} {method}: {len(found)} rows"
    one = found.iloc[0]
    assert (one["model"], one["versus"], one["partition"], one["level"]) == ("new", "old", "held_out", "patient")
    return one


def two_models(event, new, old, **columns):
    return joined(*(table(event, p, model=m, probability=p, **columns) for m, p in (("new", new), ("old", old))))


def censored(case):
    """Predictions of the patients of a case, by the risks that R's Cox models gave at its horizon."""
    given, theirs = case["inputs"], case["outputs"]
    followed = {"endpoint": "os", "time": np.asarray(given["time"], dtype=float), "time_unit": "days", "cutoff": np.nan}
    return joined(
        *(
            table(given["event"], risk, model=model, **followed).assign(**{f"probability_{given['t0']:g}": risk})
            for model, risk in {"new": theirs["risk_new_at_t0"], "old": theirs["risk_old_at_t0"]}.items()
        )
    )


def as_list(values):
    return "[" + ",".join(f"{value:g}" for value in values) + "]"


@of_r(*BINARY)
def test_reclassification_comes_out_of_the_command_as_out_of_hmisc(case, tmp_path):
    given = case["inputs"]
    kinds = {"continuous": "improveProb_category_free", "categorical": "improveProb_on_categories"}

    code, metrics = evaluated(
        two_models(given["y"], given["p_new"], given["p_old"], cutoff=np.nan),
        tmp_path,
        "evaluation=binary",
        f"evaluation.nri_cuts={as_list(given['cuts'])}",
        "evaluation.bootstrap=20",
    )

    assert code == 0

    def assert_equals(ours, value, error, z):
        close(ours[["estimate", "lower", "upper"]], [value, *(value + norm.ppf([0.025, 0.975]) * error)])
        close(ours["p_value"], 2 * norm.sf(abs(z)))
        assert (ours["n"], ours["n_event"]) == (len(given["y"]), sum(given["y"]))
        assert np.isnan(ours["horizon"])

    for kind, key in kinds.items():
        theirs = case["outputs"][key]
        for metric, suffix in {f"nri_{kind}": "", "nri_event": ".ev", "nri_nonevent": ".ne"}.items():
            ours = row(metrics, metric, kind)
            assert_equals(ours, *(theirs[f"{name}nri{suffix}"] for name in ("", "se.", "z.")))
    theirs = case["outputs"]["improveProb_category_free"]
    assert_equals(row(metrics, "idi", ""), theirs["idi"], theirs["se.idi"], theirs["z.idi"])
    close(row(metrics, "idi", "")["p_value"], case["outputs"]["idi_p"])


@of_r(*SURVIVAL)
def test_reclassification_by_a_horizon_comes_out_of_the_command_as_out_of_nricens(case, tmp_path):
    given, theirs = case["inputs"], case["outputs"]
    horizon = given["t0"]

    code, metrics = evaluated(
        censored(case),
        tmp_path,
        "evaluation=survival",
        f"evaluation.nri_cuts={as_list(given['cuts'])}",
        "evaluation.bootstrap=200",
    )

    assert code == 0
    gain = row(metrics, "idi", "ipcw")
    close(gain["estimate"], theirs["idi_ipcw_exact_no_grid"])
    for kind, key in {"continuous": "diff0", "categorical": "category"}.items():
        for method in ("km", "ipw"):
            of_r = theirs[f"nricens_{method}_{key}"]
            close(row(metrics, f"nri_{kind}", method)["estimate"], of_r["NRI"])
            close(row(metrics, "nri_event", f"{kind}_{method}")["estimate"], of_r["NRI_plus_events"])
            close(row(metrics, "nri_nonevent", f"{kind}_{method}")["estimate"], of_r["NRI_minus_nonevents"])
    of_two = metrics[metrics["metric"].isin(OF_TWO)]
    assert len(of_two) == 13
    assert set(of_two["horizon"]) == {horizon}
    assert of_two["at"].isna().all()
    assert of_two[["lower", "upper", "p_value"]].notna().all(axis=None)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("resamples", [20, 50, 200])
@of_r("lung_365_add_ecog")
def test_a_p_value_below_5_percent_is_an_interval_without_0_whatever_the_resamples(case, resamples, seed, tmp_path):
    code, metrics = evaluated(
        censored(case),
        tmp_path,
        "evaluation=survival",
        f"evaluation.nri_cuts={as_list(case['inputs']['cuts'])}",
        f"evaluation.bootstrap={resamples}",
        f"evaluation.seed={seed}",
    )

    assert code == 0
    of_two = metrics[metrics["metric"].isin(OF_TWO)]
    assert len(of_two) == 13
    outside = (of_two["lower"] > 0) | (of_two["upper"] < 0)
    assert ((of_two["p_value"] < 0.05) == outside).all()
    assert set(outside) == {True, False}
    assert (of_two["p_value"] >= 1 / (resamples + 1) - 1e-9).all()  # metrics.csv rounds


@pytest.fixture
def patients():
    rng = np.random.default_rng(8)
    risk = rng.uniform(0.1, 0.9, 90)
    time, censored = rng.exponential(10 * (1.2 - risk)), rng.exponential(15, 90)
    return pd.DataFrame(
        {
            "event": (time <= censored).astype(float),
            "time": np.minimum(time, censored),
            "new": risk,
            "old": np.clip(risk + rng.normal(0, 0.2, 90), 0, 1),
        }
    )


def by_survival(patients, model, **probabilities):
    return table(
        patients["event"], patients["new"], model=model, time=patients["time"], time_unit="months", cutoff=np.nan
    ).assign(**probabilities)


def settings(**asked):
    return EvaluationSettings(**({"bootstrap": 50, "versus": "old"} | asked))


def of_pairs(found):
    return found.metrics[found.metrics["metric"].isin(OF_TWO)]


def test_a_model_gains_nothing_over_itself(patients):
    same = [by_survival(patients, model, probability_4=patients["new"]) for model in ("new", "old")]

    found = assess(joined(*same), settings(nri_cuts=[0.3, 0.6]))

    of_two = of_pairs(found)
    assert set(of_two["metric"]) == set(OF_TWO)
    assert (of_two[["estimate", "lower", "upper"]] == 0).all(axis=None)
    assert (of_two["p_value"] == 1).all()


def test_every_horizon_both_have_probabilities_for_is_judged(patients):
    new = by_survival(patients, "new", probability_2=patients["new"] / 2, probability_4=patients["new"])
    old = by_survival(patients, "old", probability_4=patients["old"])

    found = assess(joined(new, old), settings())

    assert set(of_pairs(found)["horizon"]) == {4}
    assert rows_of(found, "nri_categorical").empty


def test_without_censoring_the_gain_by_a_horizon_is_the_binary_one(patients):
    patients = patients.assign(event=(patients["time"] <= 4).astype(float))
    by_horizon = [by_survival(patients, model, probability_4=patients[model]) for model in ("new", "old")]
    as_it_stands = [table(patients["event"], patients[m], model=m, probability=patients[m]) for m in ("new", "old")]
    cuts = [0.3, 0.6]

    found = assess(joined(*by_horizon), settings(nri_cuts=cuts))
    binary = assess(joined(*as_it_stands), settings(nri_cuts=cuts))

    close(row_of(found, "idi")["estimate"], row_of(binary, "idi")["estimate"])
    for kind in ("continuous", "categorical"):
        for method in ("km", "ipw"):
            close(
                row_of(found, f"nri_{kind}", method=method)["estimate"],
                row_of(binary, f"nri_{kind}", method=kind)["estimate"],
            )


def test_patients_without_both_probabilities_are_left_out_and_counted(patients):
    new = table(patients["event"], patients["new"], model="new", probability=patients["new"], cutoff=np.nan)
    old = new.assign(model="old", probability=patients["old"].where(np.arange(90) >= 7))

    found = assess(joined(new, old), settings())

    assert set(of_pairs(found)["n"]) == {83}
    assert "reclassification versus old: 83 of 90 shared patients have a probability from both" in told(found, "info")


@pytest.mark.parametrize("cuts", [[], [0.5]])
def test_models_without_probabilities_are_told_of_only_when_cuts_were_given(patients, cuts):
    new = table(patients["event"], patients["new"], model="new", cutoff=np.nan)
    old = table(patients["event"], patients["old"], model="old", cutoff=np.nan)

    found = assess(joined(new, old), settings(nri_cuts=cuts))

    assert of_pairs(found).empty
    message = "nri_categorical versus old needs a probability from both models"
    assert (message in told(found)) == bool(cuts)


def test_a_horizon_nobody_is_followed_beyond_is_told(patients):
    late = [by_survival(patients, model, probability_900=patients[model]) for model in ("new", "old")]

    found = assess(joined(*late), settings())

    assert of_pairs(found).empty
    assert any(
        message.startswith("reclassification versus old at 900: needs patients with the event by the horizon 900")
        for message in told(found, "info")
    )


def test_a_probability_outside_0_and_1_fails_the_model_that_gave_it(patients):
    new = by_survival(patients, "new", probability_4=patients["new"])
    old = by_survival(patients, "old", probability_4=patients["old"] + 1)

    found = assess(joined(new, old), settings())

    assert of_pairs(found).empty
    failed = [(one["model"], one["message"]) for one in found.messages if one["severity"] == "failed"]
    assert {model for model, _ in failed} == {"old"}
    assert any(message.startswith("probability_4 must lie within 0 and 1, got ") for _, message in failed)


def test_one_class_gains_nothing_and_it_is_told(patients):
    both = [table(np.ones(90), patients[m], model=m, probability=patients[m], cutoff=np.nan) for m in ("new", "old")]

    found = assess(joined(*both), settings())

    assert of_pairs(found).empty
    assert "reclassification versus old: event: both classes are needed: 90 of 90 had the event" in told(found, "info")


def test_a_single_patient_with_the_event_leaves_the_idi_without_an_interval_and_it_is_told():
    found = assess(two_models([1, 0, 0], [0.8, 0.1, 0.2], [0.5, 0.3, 0.3]), settings())

    gain = row_of(found, "idi")
    assert gain["estimate"] == pytest.approx(0.45)
    assert gain[["lower", "upper", "p_value"]].isna().all()
    assert "reclassification versus old: a class has one patient: idi has no interval" in told(found, "info")
