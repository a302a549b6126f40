"""Models side by side: AIC as R and scikit-learn give it, of the same patients only; ratios per unit of one's own."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from oracle import cases, close
from radnet.cli import main
from radnet.evaluation.regression.both import regression_table
from radnet.evaluation.regression.models import compare_aic, fit_model, models_table

COX = ["cox_lung", "cox_veteran", "cox_sim69_tied", "cox_univariable_s69"]


def study(n=80, seed=2):
    """A score that promises benefit, two blood values, the type of tumour and follow-up; some values not known."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"score": rng.random(n), "albumin": rng.normal(3.9, 0.5, n)})
    table["lymphocytes"] = rng.normal(1.4, 0.6, n)
    table["tumour"] = rng.choice(["bladder", "lung"], n)
    table["benefit"] = (rng.random(n) < 1 / (1 + np.exp(1 - 2 * table["score"]))).astype(int)
    table["months"] = rng.exponential(12, n).round(1) + 0.1
    table.loc[:4, "albumin"] = np.nan
    return table.set_axis([f"P{place:02d}" for place in range(n)], axis=0)


def log_likelihood(event, X):
    """Of a logistic model without penalty, by scikit-learn."""
    X = np.asarray(X, dtype=float).reshape(len(event), -1)
    model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12).fit(X, event)
    return -log_loss(event, model.predict_proba(X), normalize=False)


@pytest.fixture
def typed(tmp_path, monkeypatch):
    """Type ``radnet regression`` for a table; returns the folder it wrote in."""
    monkeypatch.chdir(tmp_path)

    def of(table, *words, code=0):
        table.rename_axis("patient_id").to_csv("clinical.csv")
        assert main(["regression", "clinical.csv", *map(str, words), "--out", "out.csv"]) == code
        return tmp_path

    return of


@cases("10_table_one.json", "pima_te", "asah")
def test_the_criterion_of_a_logistic_model_is_glms(case, typed):
    event, terms = case["inputs"]["formula"].split(" ~ ")

    folder = typed(pd.DataFrame(case["inputs"]["data"]), "--event", event, "--variables", *terms.split(" + "))

    model = pd.read_csv(folder / "out.csv").query("analysis == 'multivariable'")
    close(model["aic"], [case["outputs"]["multivariable"]["aic"]] * len(model))
    close(model["aic"] + 2 * model["log_likelihood"], [2 * (len(model) + 1)] * len(model))


@cases("05_survival.json", *COX)
def test_the_criterion_of_a_cox_model_is_coxphs(case, typed):
    theirs = case["outputs"]["efron"]
    variables = case["inputs"]["formula"].split(" ~ ")[1].split(" + ")
    words = ["--event", "event", "--time", "time", "--variables", *variables, "--models", "models.csv"]

    folder = typed(pd.DataFrame(case["inputs"]["data"]), *words)

    model = pd.read_csv(folder / "out.csv").query("analysis == 'multivariable'")
    close(model["aic"], [theirs["aic"]] * len(model))
    beside = (
        pd.read_csv(folder / "models.csv")
        .set_index("model")
        .loc["multivariable" if len(variables) > 1 else variables[0]]
    )
    close(beside[["aic", "log_likelihood"]], [theirs["aic"], len(variables) - theirs["aic"] / 2])


@pytest.mark.parametrize("seed", range(3))
def test_models_by_themselves_have_the_likelihood_and_criterion_of_scikit_learn(seed):
    table = study(seed=seed)

    ours = regression_table(table, ["score", "albumin", "tumour"], event="benefit")

    for variable, column in [("score", table["score"]), ("albumin", table["albumin"])]:
        known = column.notna()
        theirs = log_likelihood(table["benefit"][known], column[known])
        row = ours[(ours["analysis"] == "univariable") & (ours["variable"] == variable)].iloc[0]
        close(row[["log_likelihood", "aic", "n"]], [theirs, 2 * 2 - 2 * theirs, known.sum()])
    together = ours[ours["analysis"] == "multivariable"]
    close(together["aic"], [together["aic"].iloc[0]] * 4)  # of the model as a whole
    assert together["n"].eq(75).all()


def test_models_are_set_side_by_side_on_the_patients_who_have_every_variable_of_all():
    table = study()
    variables = {"radiomics": ["score"], "clinical": ["albumin", "lymphocytes"]}
    variables["both"] = ["score", "albumin", "lymphocytes"]

    ours = models_table(table, variables, event="benefit").set_index("model")

    whole = table.dropna()
    for name, columns in variables.items():
        theirs, size = log_likelihood(whole["benefit"], whole[columns]), len(columns) + 1
        close(ours.loc[name, ["log_likelihood", "aic", "coefficients"]], [theirs, 2 * size - 2 * theirs, size])
    assert ours["n"].tolist() == [75, 75, 75]
    close(ours["difference"], ours["aic"] - ours["aic"].min())
    # a variable more raises the log-likelihood, and the criterion by 2 less twice that
    gain = ours.loc["both", "log_likelihood"] - ours.loc["radiomics", "log_likelihood"]
    close([ours.loc["both", "aic"] - ours.loc["radiomics", "aic"]], [4 - 2 * gain])


def test_models_of_other_patients_are_not_compared_and_those_who_differ_are_named():
    table = study()
    models = {"radiomics": fit_model(table, ["score"], event="benefit")}
    models["clinical"] = fit_model(table, ["albumin"], event="benefit")

    with pytest.raises(ValueError, match=r"radiomics and clinical differ in 5 \(P00, P01, P02, P03, P04\): fit both"):
        compare_aic(models)
    models["clinical"] = fit_model(table.drop(index=["P70"]), ["albumin"], event="benefit")
    with pytest.raises(ValueError, match=r"differ in 6 \(P00, P01, P02, P03, P04, …\)"):
        compare_aic(models)


def test_as_many_patients_who_are_others_are_not_compared():
    table = study().drop(columns="albumin")
    models = {place: fit_model(table.drop(index=[f"P1{place}"]), ["score"], event="benefit") for place in "12"}

    with pytest.raises(ValueError, match=r"differ in 2 \(P12, P11\)"):
        compare_aic(models)


def test_models_of_another_outcome_are_not_compared():
    table = study()
    models = {"logistic": fit_model(table, ["score"], event="benefit")}
    models["cox"] = fit_model(table, ["score"], event="benefit", time="months")

    with pytest.raises(ValueError, match="models of one outcome, but logistic and cox differ in it"):
        compare_aic(models)


def test_a_comparison_needs_models_and_patients_by_name():
    with pytest.raises(ValueError, match="between models, and there is none"):
        compare_aic({})
    with pytest.raises(ValueError, match="names one more than once"):
        fit_model(study().set_axis(["P1"] * 80, axis=0), ["score"], event="benefit")


def test_a_model_that_separates_the_patients_says_so_and_the_others_are_compared(typed, capsys):
    table = study().assign(label=lambda found: found["benefit"])
    words = ["--event", "benefit", "--variables", "score", "label", "--models", "models.csv"]

    ours = pd.read_csv(typed(table, *words) / "models.csv").set_index("model")

    assert ours.loc[["label", "multivariable"], "aic"].isna().all()
    assert ours.loc["label", "note"] == "separation: the odds ratio of label has no finite estimate"
    assert ours.loc["score", "difference"] == 0
    assert "label: separation" in capsys.readouterr().out


@pytest.mark.parametrize("time", [None, "months"], ids=["logistic", "cox"])
def test_a_ratio_per_a_tenth_is_the_tenth_root_of_that_per_one(time):
    table, variables = study(), ["score", "albumin", "tumour"]

    per_one = regression_table(table, variables, event="benefit", time=time)
    per_tenth = regression_table(table, variables, event="benefit", time=time, per={"score": 0.1})

    of_score = per_one["variable"] == "score"
    for column in ("estimate", "lower", "upper", "profile_lower", "profile_upper"):
        close(per_tenth.loc[of_score, column], np.exp(0.1 * np.log(per_one.loc[of_score, column])))
        close(per_tenth.loc[~of_score, column], per_one.loc[~of_score, column])
    for column in ("p_value", "p_lrt", "p_proportional", "aic"):
        close(per_tenth[column], per_one[column])
    assert per_tenth["per"].fillna(-1).tolist() == [0.1, 1, -1, -1] * 2


def test_models_and_units_are_typed(typed, capsys):
    words = ["--event", "benefit", "--variables", "score", "albumin", "--per", "score=0.1", "--models", "models.csv"]

    folder = typed(study(), *words, "--model", "clinical=albumin,lymphocytes")

    told = capsys.readouterr().out
    assert "score (per 0.1)" in told
    assert "log-likelihood" in told
    assert "all models: of the 75 patients" in told
    models = pd.read_csv(folder / "models.csv")
    assert models["model"].tolist() == ["score", "albumin", "multivariable", "clinical"]
    assert models["variables"].tolist() == ["score", "albumin", "score + albumin", "albumin + lymphocytes"]
    assert models["n"].tolist() == [75] * 4
    # the criterion does not depend on the unit of a variable
    close(
        models["aic"].iloc[[2]], pd.read_csv(folder / "out.csv").query("analysis == 'multivariable'")["aic"].iloc[[0]]
    )
    assert max(map(len, told.splitlines())) <= 120


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (["--per", "score"], "--per takes COLUMN=UNITS, such as score=0.1, got score", 2),
        (["--per", "score=ten"], "--per takes COLUMN=UNITS, such as score=0.1, got score=ten", 2),
        (["--per", "score=0"], "score: a ratio is per a number above 0 of units, got 0", 1),
        (["--per", "tumour=2"], "tumour: a category has no unit", 1),
        (["--per", "months=2"], "months: a unit is given, but it is none of the variables score, tumour", 1),
        (["--model", "clinical=albumin"], "--model names further models of --models", 2),
        (["--models", "m.csv", "--model", "albumin"], "--model takes NAME=COLUMN,COLUMN, got albumin", 2),
        (["--models", "m.csv", "--model", "a=albumim"], "no column albumim; did you mean albumin?", 1),
    ],
)
def test_a_fault_is_one_message(words, message, code, typed, capsys):
    typed(study(), "--event", "benefit", "--variables", "score", "tumour", *words, code=code)

    assert message in capsys.readouterr().err
