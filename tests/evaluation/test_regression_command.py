"""R's tables, regressions and nomograms, through the command line: inputs written to a table, numbers read back."""

import numpy as np
import pandas as pd
import pytest

from oracle import cases, close
from radnet.cli import main

TABLE_ONE, NOMOGRAM, SURVIVAL = "10_table_one.json", "12_nomogram.json", "05_survival.json"
TWO_GROUPS = ["pima_te_glu", "asah_age", "asah_wfns_ties", "cohort69_no_ties", "tiny_3v3", "tiny_ties", "missing"]
K_GROUPS = ["iris_sepal", "veteran_karno_celltype", "asah_s100b_wfns"]
COUNTS = ["t2x2", "t2x2_zero", "t2x2_small", "t3x2", "t4x3_sparse", "t2x5", "veteran_celltype_prior"]
COX = ["cox_lung", "cox_veteran", "cox_sim69_tied", "cox_univariable_s69"]


def of_r(*names, file=TABLE_ONE):
    return cases(file, *names)


@pytest.fixture
def typed(tmp_path, monkeypatch):
    """Type a verb for a table, and read back what it wrote."""
    monkeypatch.chdir(tmp_path)

    def of(verb, table, *words, code=0, out="out.csv"):
        table.to_csv("clinical.csv", index=False)
        assert main([verb, "clinical.csv", *map(str, words), "--out", "out.csv"]) == code
        return pd.read_csv(out, keep_default_na=False, na_values=[""], dtype={"level": str}) if code == 0 else None

    return of


def row_of(table, **where):
    for column, value in where.items():
        table = table[table[column].fillna("") == value]
    assert len(table) == 1
    return table.iloc[0]


@of_r(*TWO_GROUPS)
@pytest.mark.parametrize(
    ("test", "theirs"),
    [("wilcoxon", "wilcoxon_default"), ("welch", "welch"), ("student", "student_equal_var")],
)
def test_two_groups_are_compared_as_r_compares_them(case, typed, test, theirs):
    table = pd.DataFrame({"group": case["inputs"]["group"], "x": case["inputs"]["x"]})

    ours = typed("table-one", table, "--by", "group", "--number-test", test, "--balance", "smd.csv")

    close(ours.loc[ours["variable"] == "x", "p_value"].iloc[0], case["outputs"][theirs]["p_value"])
    close(pd.read_csv("smd.csv")["smd"], [case["outputs"]["smd_tableone_avg_var"]])


@of_r("constant")
def test_a_constant_value_is_not_tested_where_r_raises(case, typed):
    assert "error" in case["outputs"]["welch"]
    table = pd.DataFrame({"group": case["inputs"]["group"], "x": case["inputs"]["x"]})

    ours = typed("table-one", table, "--by", "group", "--number-test", "welch")

    assert row_of(ours, variable="x")["test"].startswith("not tested")


@of_r(*K_GROUPS)
@pytest.mark.parametrize(("test", "theirs"), [("wilcoxon", "kruskal"), ("student", "anova"), ("welch", "welch_anova")])
def test_several_groups_are_compared_as_r_compares_them(case, typed, test, theirs):
    table = pd.DataFrame({"group": case["inputs"]["group"], "x": case["inputs"]["x"]})

    ours = typed("table-one", table, "--by", "group", "--number-test", test)

    close(row_of(ours, variable="x")["p_value"], case["outputs"][theirs]["p_value"])


@of_r(*COUNTS)
@pytest.mark.parametrize(
    ("test", "theirs"),
    [("chi_square", "chisq_no_correction"), ("yates", "chisq_default_yates_if_2x2"), ("fisher", "fisher")],
)
def test_shares_are_compared_as_r_compares_them(case, typed, test, theirs):
    counts = case["inputs"]["counts"]
    patients = [
        {"level": f"l{row}", "group": f"g{column}"}
        for row, of_row in enumerate(counts)
        for column, count in enumerate(of_row)
        for _ in range(count)
    ]

    ours = typed("table-one", pd.DataFrame(patients), "--by", "group", "--category-test", test)

    close(ours["p_value"].dropna(), [case["outputs"][theirs]["p_value"]])


@of_r("pima_te", "asah")
@pytest.mark.parametrize("adjust", ["BH", "holm", "bonferroni"])
def test_odds_ratios_equal_glms(case, typed, adjust):
    table = pd.DataFrame(case["inputs"]["data"])
    event, terms = case["inputs"]["formula"].split(" ~ ")
    model, alone = terms.split(" + "), case["inputs"]["screen_variables"]
    theirs, screen = case["outputs"]["multivariable"], case["outputs"]["univariable"]

    typed("regression", table, "--event", event, "--variables", *model)
    together = pd.read_csv("out.csv").query("analysis == 'multivariable'").set_index("variable")
    univariable = typed("regression", table, "--event", event, "--variables", *alone, "--adjust", adjust)
    univariable = univariable[univariable["analysis"] == "univariable"]

    for column, name in [("estimate", "OR"), ("lower", "OR_wald_lower"), ("upper", "OR_wald_upper")]:
        close(together[column], [theirs[name][one] for one in together.index])
    close(together["p_value"], [theirs["p_wald"][one] for one in together.index])
    for side in ("lower", "upper"):
        profile = theirs["OR_profile_tight_own_uniroot"][side]
        close(together[f"profile_{side}"], [profile[one] for one in together.index])
    assert (together["n"] == theirs["n"]).all()
    # glm takes standard errors from the step before its last, which leaves a p-value 2.3e-6 off
    for column, name in [("estimate", "OR"), ("lower", "wald_lower"), ("upper", "wald_upper"), ("p_value", "p_wald")]:
        close(univariable[column], [one[name] for one in screen["screen"]], rtol=1e-5)
    close(univariable["p_adjusted"], screen[f"p_{adjust}"], rtol=1e-5)


@of_r("pima_te", "asah")
@pytest.mark.parametrize("bound", [0.05, 0.1])
def test_the_model_is_entered_by_those_r_selects(case, typed, bound):
    event = case["inputs"]["formula"].split(" ~ ")[0]
    words = ["--event", event, "--variables", *case["inputs"]["screen_variables"], "--enter-below", bound]

    ours = typed("regression", pd.DataFrame(case["inputs"]["data"]), *words)

    entered = ours.loc[ours["analysis"] == "multivariable", "variable"]
    assert list(entered) == case["outputs"]["univariable"][f"selected_p_lt_{bound}"]


@of_r("separation")
def test_separation_is_noted_where_glm_warns(case, typed, capsys):
    ours = typed("regression", pd.DataFrame(case["inputs"]["data"]), "--event", "y")

    assert list(ours["analysis"]) == ["univariable", "multivariable"]
    assert set(ours["note"]) == {"separation: the odds ratio of x has no finite estimate"}
    assert ours[["estimate", "p_value"]].isna().all(axis=None)
    assert "univariable, x: separation" in capsys.readouterr().out


@of_r(*COX, file=SURVIVAL)
def test_hazard_ratios_equal_coxphs(case, typed):
    variables = case["inputs"]["formula"].split(" ~ ")[1].split(" + ")
    theirs = case["outputs"]["efron"]

    table = pd.DataFrame(case["inputs"]["data"])
    ours = typed("regression", table, "--event", "event", "--time", "time", "--variables", *variables)

    ours = ours[ours["analysis"] == "multivariable"].set_index("variable")
    names = {"estimate": "hr", "lower": "hr_lower95", "upper": "hr_upper95", "p_value": "p"}
    for column, name in names.items():
        close(ours[column], [theirs[name][one] for one in variables])
    assert (ours["n_event"] == theirs["nevent"]).all()
    close(ours["p_proportional"], [row[2] for row in theirs["cox_zph_survival3"]["km"]["rows"][: len(variables)]])


@of_r("pima_te_logistic", "asah_logistic_factor", "lung_cox", file=NOMOGRAM)
def test_points_equal_rms(case, typed):
    given, theirs = case["inputs"], case["outputs"]
    outcome, terms = given["formula"].split(" ~ ")
    cox = given["kind"] == "nomogram_cox"
    words = ["--event", "event", "--time", "time", "--times", given["horizon"]] if cox else ["--event", outcome]
    if given["factor_levels"]:
        words += ["--reference", *(f"{name}={levels[0]}" for name, levels in given["factor_levels"].items())]
    words += ["--variables", *terms.split(" + "), "--nomogram", "points.csv"]

    drawn = typed("regression", pd.DataFrame(given["data"]), *words, out="points.csv")

    for name, expected in theirs["points_by_variable"].items():
        axis = drawn[(drawn["axis"] == "variable") & (drawn["variable"] == name)]
        if name in given["factor_levels"]:
            assert list(axis["value"]) == expected["values"]
        else:
            close(axis["value"], expected["values"])
        close(axis["points"], expected["points"])
        close(axis["linear_predictor"], expected["Xbeta"])
    totals, scale = drawn[drawn["axis"] == "total_points"], theirs["scale"]
    close(totals["points"], scale["total_points_axis"])
    close(np.diff(totals["linear_predictor"]) / np.diff(totals["points"]), scale["info_sc_lp_per_point"])
    predictors = drawn[drawn["axis"] == "linear_predictor"]
    close(predictors["linear_predictor"], scale["lp_ticks"]["lp"], rtol=1e-6)
    close(predictors["points"], scale["lp_ticks"]["points"])
    chances = drawn[drawn["axis"] == ("survival" if cox else "probability")]
    asked = chances[chances["value"].astype(float).isin(given["fun_at"])]
    close(asked["value"], scale["prob_ticks"]["lp"])
    # rms inverts the probability by straight lines between 1000 points of its axis, which is good to some 1e-5
    close(asked["points"], scale["prob_ticks"]["points"], rtol=1e-5)
    if cox:
        close(chances["probability"], 1 - chances["survival"])
        assert set(chances["time"]) == {given["horizon"]}


def clinical(seed=0, n=60):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {"patient_id": [f"P{one}" for one in range(n)], "centre": "A", "relapse": rng.integers(0, 2, n)}
    )
    return table.assign(months=rng.exponential(20, n).round(2), age=rng.normal(60, 9, n), stage=rng.integers(1, 4, n))


def test_names_split_and_known_outcomes_are_no_variables_by_default(typed):
    table = clinical().assign(split="train", pfs_event=1, pfs_months=3.0, response=0)

    ours = typed("regression", table, "--event", "relapse", "--time", "months")

    assert list(dict.fromkeys(ours["variable"])) == ["age", "stage"]


def test_a_coded_stage_is_a_category_where_asked_against_the_reference_chosen(typed):
    ours = typed("regression", clinical(), "--event", "relapse", "--variables", "stage", "--reference", "stage=2")

    alone = ours[ours["analysis"] == "univariable"]
    assert list(alone["level"]) == ["2", "1", "3"]
    assert alone["note"].fillna("").tolist() == ["reference", "", ""]
    coded = typed("regression", clinical(), "--event", "relapse", "--variables", "stage", "--categorical", "stage")
    back = 1 / row_of(coded, analysis="univariable", level="2")["estimate"]
    close(row_of(alone, level="1")["estimate"], back)


def test_each_model_is_of_the_patients_who_have_its_variables(typed):
    table = clinical()
    table.loc[:9, "age"] = np.nan
    table.loc[5:14, "relapse"] = np.nan

    ours = typed("regression", table, "--event", "relapse", "--variables", "age", "stage").set_index(
        ["analysis", "variable"]
    )

    assert ours["n"].to_dict() == {
        ("univariable", "age"): 45,
        ("univariable", "stage"): 50,
        ("multivariable", "age"): 45,
        ("multivariable", "stage"): 45,
    }
    assert ours.loc[("univariable", "stage"), "n_event"] == table["relapse"].sum()


def test_variables_without_an_estimate_keep_their_rows_and_say_why(typed, capsys):
    table = clinical().assign(same=1, site="liver", unknown=np.nan, remark=[f"text {one}" for one in range(60)])
    table["double"] = 2 * table["age"] + 1

    ours = typed("regression", table, "--event", "relapse", "--variables", "age", "same", "site", "remark")

    alone = ours[ours["analysis"] == "univariable"].set_index("variable")
    assert "differ between patients; these do not: same" in alone.loc["same", "note"]
    assert "differ between patients; these do not: site" in alone.loc["site", "note"]
    assert alone.loc["remark", "note"] == "remark: a text with 60 different values is no category"
    for words, note in [
        (["age", "double"], "covariates follow from each other: age, double"),
        (["age", "unknown"], "no patient has all 2 variables"),
    ]:
        ours = typed("regression", table, "--event", "relapse", "--variables", *words)
        model = ours[ours["analysis"] == "multivariable"]
        assert set(model["note"]) == {note}
        assert model["estimate"].isna().all()
        assert f"multivariable, {words[0]}, {words[1]}: {note}" in capsys.readouterr().out


def test_a_variable_that_is_the_same_in_all_is_left_out_of_the_model_only(typed):
    table = clinical().assign(same=1)

    ours = typed("regression", table, "--event", "relapse", "--variables", "age", "same", "stage")
    alone = typed("regression", table, "--event", "relapse", "--variables", "age", "stage")

    columns = ["estimate", "lower", "upper", "p_value"]
    model = {"analysis": "multivariable", "variable": "age"}
    close(row_of(ours, **model)[columns], row_of(alone, **model)[columns].to_numpy(dtype=float))
    assert row_of(ours, analysis="multivariable", variable="same")["note"] == (
        "left out: the same in all 60 patients who have every variable"
    )


@pytest.mark.parametrize(
    ("words", "messages", "code"),
    [
        (
            ["--event", "relaps", "--variables", "agee", "stage"],
            ["no column relaps; did you mean relapse?", "no column agee; did you mean age?"],
            1,
        ),
        (["--event", "relapse", "--reference", "stage=9"], ["stage has no level 9; it has 1, 2, 3"], 1),
        (["--event", "age"], ["age must be 0 or 1 (empty where not known), found"], 1),
        (["--event", "relapse", "--time", "centre"], ["centre must be a number of 0 or more, found 'A' (60 rows)"], 1),
        (["--event", "all"], ["all: a model needs both outcomes, but 60 of 60 patients had it"], 1),
        (["--event", "none", "--time", "months"], ["none: a model needs an event, but 0 of 60 patients had it"], 1),
        (["--event", "relapse", "--variables", "relapse"], ["an outcome cannot be a variable as well"], 1),
        (["--event", "relapse", "--reference", "stage"], ["--reference takes COLUMN=LEVEL, got stage"], 2),
        (["--event", "relapse", "--level", "95"], ["--level must lie between 0 and 1, got 95"], 2),
        (
            ["--event", "relapse", "--time", "months", "--nomogram", "p.csv"],
            ["--nomogram with --time needs --times"],
            2,
        ),
        (
            ["--event", "relapse", "--time", "months", "--variables", "age", "--nomogram", "p.csv", "--times", "9999"],
            ["the horizon must lie between the first event"],
            1,
        ),
        (
            ["--event", "relapse", "--variables", "age", "--enter-below", "1e-9", "--nomogram", "p.csv"],
            ["a nomogram needs a multivariable model, but there is none"],
            1,
        ),
    ],
)
def test_a_fault_is_one_message(words, messages, code, typed, capsys):
    table = clinical().assign(all=1, none=0)

    typed("regression", table, *words, code=code)

    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert all(message in told for message in messages)


def test_one_row_per_patient_and_commas_are_asked_for(typed, capsys, tmp_path):
    table = clinical()
    typed("regression", pd.concat([table, table.head(2)]), "--event", "relapse", code=1)
    assert "one row per patient is needed, but 2 stand twice, such as P0, P1" in capsys.readouterr().err

    table.to_csv("semicolon.csv", sep=";", index=False)
    assert main(["table-one", "semicolon.csv", "--by", "relapse", "--out", "t.csv"]) == 1
    assert "columns must be parted by commas, found semicolons" in capsys.readouterr().err


def test_a_cohort_folder_stands_for_its_clinical_table(typed, tmp_path):
    from_file = typed("regression", clinical(), "--event", "relapse")

    assert main(["regression", str(tmp_path), "--event", "relapse", "--out", "folder.csv"]) == 0

    pd.testing.assert_frame_equal(pd.read_csv("folder.csv"), pd.read_csv("out.csv"))
    assert len(from_file)


def test_printed_tables_fit_in_100_columns(typed, capsys):
    table = clinical().assign(a_rather_long_name_of_a_variable=1, site=["liver", "lung", "bone"] * 20)
    table["arm"] = np.repeat(["control", "treatment A", "treatment B", "treatment C"], 15)

    typed("table-one", table, "--by", "arm", "--overall", "--adjust", "holm")
    one = capsys.readouterr().out
    typed("regression", table, "--event", "relapse", "--time", "months")
    both = capsys.readouterr().out

    drawn = [*one.partition("\na: ")[0].splitlines(), *both.partition("\nmultivariable: ")[0].splitlines()]
    assert len(drawn) > 30
    assert max(map(len, drawn)) <= 100
    assert ": Kruskal-Wallis" in one
    assert "adjusted" in one
    assert "univariable" in both
    assert "HR (95 % CI)" in both
    assert "events per coefficient" in both


def test_table_one_describes_everybody_beside_the_groups(typed):
    ours = typed(
        "table-one", clinical(), "--by", "relapse", "--variables", "stage", "--categorical", "stage", "--overall"
    )

    parts = ours[["all", "0", "1"]].map(lambda cell: int(str(cell).split()[0]))
    assert list(ours["variable"]) == ["patients", "stage", "stage", "stage"]
    np.testing.assert_array_equal(parts["all"], parts["0"] + parts["1"])


def test_cells_with_spaces_around_them_are_one_level(typed):
    table = clinical().assign(sex=["F", "F ", " M", "M"] * 15)

    ours = typed("table-one", table, "--by", "relapse", "--variables", "sex")

    assert list(ours["level"]) == ["n", "F", "M"]
