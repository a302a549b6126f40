"""Ligero 2021 as its specification accepts it, lines 1, 6 and 8 to 10, from what a user types to what is written.

The patients are those of the simulated study without images: the clinical model, whose score promises benefit, and
overall survival by the same groups.
"""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from lifelines import CoxPHFitter
from lifelines.utils import concordance_index
from scipy.stats import mannwhitneyu, norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

pytest.importorskip("torch", reason="training needs the extra train")

from radnet.cli import main
from radnet.predictors.folder import load_model

SMALL = ["split.folds.n_folds=3", "split.inner.n_folds=2"]
# spec 7, the rows of the clinical model: sensitivity, specificity and NPV as counts, percents, LR+ and LR- as printed
CLINICAL = pd.DataFrame(
    [
        ["C1", "30/43", "23/42", "23/35", [70, 55, 66, 61], 1.50, 0.55],
        ["C2", "21/25", "10/21", "10/14", [84, 48, 71, 66], 1.60, 0.34],
        ["C3", "19/25", "11/22", "11/17", [76, 50, 65, 63], 1.52, 0.48],
    ],
    columns=["cohort", "sensitivity", "specificity", "npv", "percent", "lr_positive", "lr_negative"],
)


@pytest.fixture(scope="module")
def root(workplace):
    """The simulated study, four times as many patients as the paper had; blood tells twice as much of benefit."""
    knobs = ["images=false", "n=712", "seed=5", "clinical=2"]
    assert main(["simulate", str(workplace / "study"), "--preset", "ligero", "--set", *knobs]) == 0
    return workplace / "study"


@pytest.fixture(scope="module")
def clinical(root):
    return pd.read_csv(root / "clinical.csv").set_index("patient_id")


@pytest.fixture(scope="module")
def trained(train, root):
    """Albumin and lymphocytes, read on overall survival too."""
    return train("ligero_clinical", root, "clinical", *SMALL)


@pytest.fixture(scope="module")
def judged(evaluate, trained):
    """Its evaluation, survival after 24 months."""
    words = [f"run={trained}", "evaluation.horizons=[24]", "evaluation.bootstrap=40", "report=false"]
    return evaluate(trained / "evaluation", *words)


def predicted(run, endpoint, partition="held_out"):
    rows = pd.read_parquet(run / "predictions.parquet")
    return rows[(rows["partition"] == partition) & (rows["endpoint"] == endpoint)].set_index("patient_id")


def one_of(metrics, metric, **where):
    rows = metrics[metrics["metric"] == metric]
    wanted = {"level": "patient", "subgroup": "", "centre": "", "versus": "", "partition": "held_out", **where}
    for column, value in wanted.items():
        rows = rows[rows[column] == value]
    assert len(rows) == 1, f"{metric} {where}: {len(rows)} rows"
    return rows.iloc[0]


def test_ligero_1_benefit_is_derived_from_response_and_duration_and_short_censored_disease_is_not_known(
    train, root, clinical
):
    nothing_tells = "endpoint.derive.stable_ended=null"  # whether stable disease had ended
    run = train("ligero_clinical", root, "derived", "endpoint=clinical_benefit_recist", nothing_tells, *SMALL)

    rows = pd.concat([predicted(run, "clinical_benefit_recist", one) for one in ("apparent", "held_out")])
    known = rows["event"].dropna()
    assert known.tolist() == clinical.loc[known.index, "clinical_benefit"].tolist()  # as planted
    short = clinical.index[(clinical["best_response"] == "SD") & (clinical["sd_months"] <= 5)]
    assert set(clinical.index) - set(known.index) == set(short)
    learned_from = set(predicted(run, "clinical_benefit_recist", "apparent").index)
    assert learned_from.isdisjoint(short)
    left_out = json.loads((run / "run.json").read_text(encoding="utf-8"))["excluded"]
    assert set(left_out) >= set(short) & set(clinical.index[clinical["split"] == "train"])


def shares(cell):
    return tuple(int(one) for one in cell.split("/"))


@pytest.mark.parametrize("row", CLINICAL.to_dict("records"), ids=CLINICAL["cohort"])
def test_ligero_6_counts_give_the_printed_shares_and_ratios_but_for_the_denominator_and_the_ratio_flagged(
    row, evaluate, workplace
):
    (tp, positive), (tn, negative) = shares(row["sensitivity"]), shares(row["specificity"])
    called = [1] * tp + [0] * (positive - tp) + [0] * tn + [1] * (negative - tn)
    table = pd.DataFrame({"patient_id": [f"P{place}" for place in range(positive + negative)], "score": called})
    table["event"] = [1] * positive + [0] * negative
    table = table.assign(endpoint="clinical_benefit", model="clinical", partition="held_out", cutoff=0.5)
    table.to_csv(workplace / f"{row['cohort']}.csv", index=False)

    words = [f"predictions={workplace / row['cohort']}.csv", "evaluation.bootstrap=5", "report=false"]
    found = evaluate(workplace / f"judged {row['cohort']}", *words)

    for metric, percent in zip(("sensitivity", "specificity", "npv", "ppv"), row["percent"], strict=True):
        share = one_of(found, metric, method="clopper_pearson")
        if (row["cohort"], metric) == ("C1", "npv"):  # printed 23/35, which with 49 called positive makes 84 patients
            assert share["estimate"] == pytest.approx(23 / 36)
        else:
            assert 100 * share["estimate"] == pytest.approx(percent, abs=0.5)
    for metric in ("lr_positive", "lr_negative"):
        ratio = one_of(found, metric, method="simel")["estimate"]
        if (row["cohort"], metric) == ("C1", "lr_positive"):  # printed 1.50
            assert ratio == pytest.approx((30 / 43) / (19 / 42))
            assert f"{ratio:.2f}" == "1.54"
        else:
            assert ratio == pytest.approx(row[metric], abs=0.005)


@pytest.fixture(scope="module")
def scored(workplace, trained, clinical):
    """A clinical table of the held-out patients with the score of the model, a probability, some albumin not known."""
    held_out = predicted(trained, "clinical_benefit")
    table = clinical.loc[held_out.index].assign(score=held_out["probability"])
    table.loc[table.index[:7], "albumin"] = np.nan
    table.to_csv(workplace / "scored.csv")
    return table


def test_ligero_8_an_aic_is_compared_on_identical_patients_and_an_odds_ratio_is_per_tenth(scored, workplace):
    words = ["regression", str(workplace / "scored.csv"), "--event", "clinical_benefit", "--out", "odds.csv"]
    words += ["--variables", "score", "albumin", "lymphocytes", "--per", "score=0.1", "--models", "models.csv"]

    assert main([*words, "--model", "clinical=albumin,lymphocytes"]) == 0

    models = pd.read_csv("models.csv").set_index("model")
    whole = scored.dropna(subset=["score", "albumin", "lymphocytes"])
    assert set(models["n"]) == {len(whole)}
    assert len(whole) < len(scored)
    for name, columns in [("score", ["score"]), ("clinical", ["albumin", "lymphocytes"])]:
        fitted = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12)
        fitted.fit(whole[columns].to_numpy(), whole["clinical_benefit"])
        chance = fitted.predict_proba(whole[columns].to_numpy())
        deviance = 2 * log_loss(whole["clinical_benefit"], chance, normalize=False)
        assert models.loc[name, "aic"] == pytest.approx(deviance + 2 * (1 + len(columns)), rel=1e-9)
    table = pd.read_csv("odds.csv").query("analysis == 'univariable'").set_index("variable")
    alone = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12)
    per_one = alone.fit(scored[["score"]].to_numpy(), scored["clinical_benefit"]).coef_[0, 0]
    assert table.loc["score", "estimate"] == pytest.approx(np.exp(0.1 * per_one), rel=1e-6)
    assert table["n"].to_dict() == {"score": len(scored), "albumin": len(whole), "lymphocytes": len(scored)}


def test_ligero_9_survival_is_that_of_the_groups_of_benefit_with_their_names_exchanged(trained):
    benefit, survival = predicted(trained, "clinical_benefit"), predicted(trained, "os")
    survival = survival.loc[benefit.index]
    saved = json.loads((trained / "model" / "cutoffs.json").read_text(encoding="utf-8"))

    promised = benefit["score"] >= benefit["cutoff"]
    high_risk = survival["score"] >= survival["cutoff"]

    assert set(survival["model"]) == {"ligero_clinical_negated"}  # the sign is on record
    assert survival["score"].tolist() == (-benefit["score"]).tolist()
    assert high_risk.tolist() == (~promised).tolist()
    assert 0 < high_risk.sum() < len(high_risk)
    assert (saved["score"]["of"], saved["os"]["of"]) == ("score", "-score")
    of_benefit, of_survival = load_model(trained / "model").readings
    assert of_survival.cutoff.value == np.nextafter(-of_benefit.cutoff.value, np.inf) == saved["os"]["value"]
    for _, fold in predicted(trained, "os", "out_of_fold").groupby("fold"):  # each by the cut-off of its own
        own = predicted(trained, "clinical_benefit", "out_of_fold").loc[fold.index]
        assert (fold["score"] >= fold["cutoff"]).tolist() == (own["score"] < own["cutoff"]).tolist()


@pytest.mark.parametrize("group", ["high", "low"])
def test_ligero_9_survival_after_24_months_has_greenwoods_interval_on_the_log_scale(group, trained, judged):
    rows = predicted(trained, "os")
    high_risk = rows["score"] >= rows["cutoff"]
    own = rows[high_risk if group == "high" else ~high_risk]
    survival, variance = 1.0, 0.0
    for time in np.unique(own["time"][(own["event"] == 1) & (own["time"] <= 24)]):
        at_risk, died = (own["time"] >= time).sum(), ((own["time"] == time) & (own["event"] == 1)).sum()
        survival *= 1 - died / at_risk
        variance += died / (at_risk * (at_risk - died))
    reach = norm.ppf(0.975) * np.sqrt(variance)

    found = one_of(judged, "km_survival", endpoint="os", group=group, at=24)

    assert found["n"] == len(own)
    assert found["estimate"] == pytest.approx(survival)
    bounds = survival * np.exp([-reach, reach])
    np.testing.assert_allclose([found["lower"], found["upper"]], np.minimum(bounds, 1), rtol=1e-9)


def test_ligero_9_who_is_promised_benefit_lives_longer(judged):
    # planted: death after a median of 18 months with benefit and of 7 without
    low, high = (one_of(judged, "km_survival", endpoint="os", group=group, at=24) for group in ("low", "high"))

    assert low["estimate"] > high["estimate"]
    assert one_of(judged, "hazard_ratio", endpoint="os", group="high_vs_low")["estimate"] > 1


def test_ligero_9_harrells_c_is_of_the_negated_score(trained, judged):
    rows, benefit = predicted(trained, "os"), predicted(trained, "clinical_benefit")
    found = one_of(judged, "c_index", endpoint="os", method="harrell")

    # lifelines takes what promises a longer life, which is the score of benefit itself
    expected = concordance_index(rows["time"], benefit.loc[rows.index, "score"], rows["event"])
    assert found["estimate"] == pytest.approx(expected)
    assert found["model"] == "ligero_clinical_negated"
    assert found["lower"] < found["estimate"] < found["upper"]
    assert found["estimate"] > 0.5


@pytest.mark.parametrize("variables", [["score"], ["score", "albumin", "lymphocytes"]], ids=["alone", "together"])
def test_ligero_9_cox_models_by_themselves_and_together_are_those_of_lifelines(variables, scored, workplace):
    words = ["regression", str(workplace / "scored.csv"), "--event", "os_event", "--time", "os_months"]

    assert main([*words, "--variables", *variables, "--out", "hazard.csv"]) == 0

    table = pd.read_csv("hazard.csv").query("analysis == 'multivariable'").set_index("variable")
    whole = scored[[*variables, "os_event", "os_months"]].dropna()
    expected = CoxPHFitter().fit(whole, "os_months", "os_event").summary
    for column, theirs in [("estimate", ""), ("lower", " lower 95%"), ("upper", " upper 95%")]:
        np.testing.assert_allclose(table[column], expected.loc[table.index, f"exp(coef){theirs}"], rtol=1e-3)
    np.testing.assert_allclose(table["p_value"], expected.loc[table.index, "p"], rtol=1e-2, atol=1e-8)
    if variables == ["score"]:
        assert table.loc["score", "estimate"] < 1  # a high score, a longer life


def test_ligero_9_schoenfelds_test_knows_neither_the_sign_nor_the_unit_of_a_score(trained, judged, workplace):
    rows = predicted(trained, "os")
    rows.assign(score=-10 * rows["score"]).reset_index()[["patient_id", "event", "time", "score"]].to_csv(
        workplace / "os.csv", index=False
    )
    words = ["regression", str(workplace / "os.csv"), "--event", "event", "--time", "time", "--variables", "score"]

    assert main([*words, "--out", "schoenfeld.csv"]) == 0

    found = one_of(judged, "schoenfeld", endpoint="os", method="score")
    table = pd.read_csv("schoenfeld.csv").query("analysis == 'univariable'")
    assert found["p_value"] == pytest.approx(table["p_proportional"].item(), rel=1e-6)
    assert 0 < found["p_value"] < 1


def test_ligero_9_hosmer_and_lemeshows_statistic_is_that_of_ten_groups_by_hand(trained, judged):
    rows = predicted(trained, "clinical_benefit")
    tenth = pd.qcut(rows["probability"], 10, labels=False)
    of_group = rows.groupby(tenth).agg(seen=("event", "sum"), expected=("probability", "sum"), n=("event", "size"))

    found = one_of(judged, "hosmer_lemeshow", endpoint="clinical_benefit", method="deciles")

    spread = of_group["expected"] * (1 - of_group["expected"] / of_group["n"])
    assert found["estimate"] == pytest.approx(((of_group["seen"] - of_group["expected"]) ** 2 / spread).sum())


def test_ligero_10_a_score_of_four_genes_is_that_by_hand_and_its_groups_are_compared_two_sided(workplace):
    genes = ["CD8A", "GZMA", "GZMB", "PRF1"]
    rng = np.random.default_rng(4)
    patients = [f"P{place:02d}" for place in range(20)]  # as many as had a biopsy
    expression = pd.DataFrame(rng.integers(2, 12, (20, 4)).astype(float), index=patients, columns=genes)
    # the patients z-scores refer to have an SD of 1 and a mean of 4, 5, 6 and 7
    reference = pd.DataFrame([[3, 4, 5, 6], [4, 5, 6, 7], [5, 6, 7, 8]], index=["R1", "R2", "R3"], columns=genes)
    high = pd.DataFrame({"high": [1] * 10 + [0] * 10}, index=patients)
    for name, table in {"expression": expression, "reference": reference, "groups": high}.items():
        table.rename_axis("patient_id").to_csv(workplace / f"{name}.csv")
    plan = {
        "output": "cytotoxic",
        "seed": 1,
        "tables": {
            name: {"file": f"{name}.csv", "patients": "rows", "id": "patient_id"}
            for name in ("expression", "reference", "groups")
        },
        "gene_sets": {"cytotoxic": {"sets": {"cytotoxic": genes}}},
        "steps": {
            "score": {
                "do": "mean_score",
                "expression": "expression",
                "gene_sets": "cytotoxic",
                "reference": "reference",
            },
            "by_group": {
                "do": "compare",
                "variables": "score",
                "group": {"from": "groups", "column": "high"},
                "groups": [1, 0],
                "test": "mann_whitney",
                "family": "cytotoxic",
            },
        },
    }
    (workplace / "cytotoxic.yaml").write_text(yaml.safe_dump(plan, sort_keys=False), encoding="utf-8")

    assert main(["associate", str(workplace / "cytotoxic.yaml")]) == 0

    by_hand = (expression["CD8A"] + expression["GZMA"] + expression["GZMB"] + expression["PRF1"] - 4 - 5 - 6 - 7) / 4
    scores = pd.read_csv(workplace / "cytotoxic" / "tables" / "score.csv", index_col=0)
    np.testing.assert_allclose(scores["cytotoxic"].loc[patients], by_hand, rtol=1e-12, atol=1e-12)
    (found,) = pd.read_parquet(workplace / "cytotoxic" / "associations.parquet").to_dict("records")
    two_sided = mannwhitneyu(by_hand[:10], by_hand[10:], alternative="two-sided")
    assert found["n"] == 20
    assert found["p_value"] == pytest.approx(two_sided.pvalue, rel=1e-6)
