"""Clinical benefit from best response and stable disease: each edge case by the definition, and the simulated study."""

import doctest
import json

import pandas as pd
import pytest

from radnet.check.cohort_folder import check_cohort, present_endpoints, reference_endpoints
from radnet.cli import main
from radnet.cohort import BenefitColumns, Endpoint
from radnet.config import build, load_config
from radnet.data import clinical_benefit as module
from radnet.data.clinical_benefit import clinical_benefit
from radnet.data.manifest import read_manifest
from radnet.data.simulate import simulate, simulation_settings
from radnet.tables import TableFault

BY_RECIST = Endpoint(
    "benefit", "best_response", derive=BenefitColumns("sd_months", "sd_ended", response_months="response_months")
)
HEADER = "patient_id,centre,best_response,sd_months,sd_ended,response_months,age\n"


def benefit(response, stable_months=None, stable_ended=None, response_months=None, months=5.0):
    return clinical_benefit(
        response,
        stable_months=stable_months,
        stable_ended=stable_ended,
        response_months=response_months,
        months=months,
    )


# the definition of Ligero 2021: a response within 5 months, or stable disease still after them
@pytest.mark.parametrize(
    ("course", "expected"),
    [
        (("CR",), True),
        (("PR", None, None, 2.0), True),
        (("PR", None, None, 5.0), True),
        (("CR", None, None, 9.0), True),
        (("SD", 5.01, True), True),
        (("SD", 5.01, False), True),
        (("SD", 5.01), True),
        (("SD", 5.0, True), False),
        (("SD", 3.0, True), False),
        (("SD", 5.0, False), None),
        (("SD", 3.0, False), None),
        (("SD", 3.0), None),
        (("SD",), None),
        (("SD", None, True), None),
        (("PD",), False),
        (("NE",), None),
        ((None,), None),
        ((None, 8.0, True), None),
    ],
)
def test_each_course_is_benefit_none_or_not_known(course, expected):
    assert benefit(*course) is expected


def test_more_months_make_benefit_of_stable_disease_rarer_and_of_responses_as_often():
    stable = [benefit("SD", 6.0, True, months=months) for months in (3, 5, 6, 8)]

    assert stable == [True, True, False, False]
    assert all(benefit("PR", months=months) for months in (3, 5, 6, 8))


@pytest.mark.parametrize(
    ("course", "told"),
    [
        (("SDD",), "best response is 'SDD', expected CR, PR, SD, PD or NE"),
        (("PD", 3.0), "best response is PD, and 3 months of stable disease are given"),
        (("PR", 3.0), "best response is PR, and 3 months of stable disease are given"),
        (("NE", 3.0), "best response is NE, and 3 months of stable disease are given"),
        (("SD", 6.0, None, 2.0), "best response is SD, and a response after 2 months is given"),
        (("PD", None, None, 2.5), "best response is PD, and a response after 2.5 months is given"),
    ],
)
def test_what_contradicts_best_response_is_refused(course, told):
    with pytest.raises(ValueError, match=told):
        benefit(*course)


def test_the_example_runs():
    assert doctest.testmod(module).failed == 0


def cohort_of(folder, rows, header=HEADER):
    (folder / "clinical.csv").write_text(header + rows, encoding="utf-8")
    return folder


def test_a_cohort_has_the_outcomes_derived_and_no_column_of_them_among_its_clinical_values(tmp_path):
    root = cohort_of(
        tmp_path,
        "P1,A,CR,,,2.5,61\nP2,A,SD,7,0,,55\nP3,A,SD,3,1,,70\nP4,A,SD,3,0,,48\nP5,B,SD,NA,1,,66\nP6,B,PD,,,,59\nP7,B,,,,,60\n",
    )

    cohort = read_manifest(root, [BY_RECIST])

    known = cohort.evaluable("benefit")
    assert known.ids == ["P1", "P2", "P3", "P6"]
    assert known.events("benefit").tolist() == [True, True, False, False]
    assert set(cohort.patients[0].clinical) == {"age"}
    warned = [str(one) for one in check_cohort(root, [BY_RECIST]).warnings]
    assert any("benefit is not known of 3 patients (P4, P5, P7), 7 in all" in one for one in warned)
    assert any("benefit: 2 with the event and 2 without" in one for one in warned)


def test_every_fault_is_named_with_its_row_and_patient(tmp_path):
    root = cohort_of(
        tmp_path,
        "P1,A,CR,4,,,61\nP2,A,SD,7,yes,,55\nP3,A,SD,-3,1,,70\nP4,A,SD,3,0,2,48\nP5,B,pr,,,,66\nP6,B,PD,2,1,x,59\n",
    )

    with pytest.raises(TableFault) as fault:
        read_manifest(root, [BY_RECIST])

    told = "\n".join(fault.value.faults)
    for expected in (
        "row 2 (patient P1): best_response: best response is CR, and 4 months of stable disease are given; correct the",
        "row 3 (patient P2): sd_ended is 'yes', expected 0 or 1; write 1 where stable disease ended",
        "row 4 (patient P3): sd_months is '-3', expected months longer than 0",
        "row 5 (patient P4): best_response: best response is SD, and a response after 2 months is given",
        "row 6 (patient P5): best_response: best response is 'pr', expected CR, PR, SD, PD or NE",
        "row 7 (patient P6): response_months is 'x', expected months longer than 0",
    ):
        assert f"clinical.csv {expected}" in told
    assert len(fault.value.faults) == 6
    assert len(check_cohort(root, [BY_RECIST]).faults) == 6


def test_a_column_that_is_named_and_absent_is_a_fault(tmp_path):
    root = cohort_of(tmp_path, "P1,A,CR,\n", "patient_id,centre,best_response,sd_month\n")

    with pytest.raises(TableFault, match=r"no column sd_months; did you mean sd_month\?"):
        read_manifest(root, [reference_endpoints()["clinical_benefit_recist"]])
    assert present_endpoints(root) == []


def test_the_endpoint_of_the_configuration_takes_the_users_columns():
    typed = [
        "endpoint=clinical_benefit_recist",
        *("endpoint.event=recist", "endpoint.derive.stable_months=months_stable", "endpoint.derive.stable_ended=ended"),
        *("endpoint.derive.months=6", "experiment=zhao_clinical"),
    ]

    endpoint = build(load_config("train", typed).endpoint)

    assert endpoint.columns == ("recist", "months_stable", "ended")
    assert endpoint.derive.months == 6


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"months": 0.0}, "must be above 0, got 0"),
        ({"months": float("inf")}, "must be above 0, got inf"),
        ({"stable_months": ""}, "needs the column of months in stable disease"),
    ],
)
def test_columns_that_cannot_tell_benefit_are_refused(wrong, told):
    with pytest.raises(ValueError, match=told):
        BenefitColumns(**{"stable_months": "sd_months", **wrong})


def test_benefit_has_no_time():
    with pytest.raises(ValueError, match="benefit is yes or no, and has no time"):
        Endpoint("benefit", "best_response", "os_months", "months", derive=BenefitColumns("sd_months"))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """The study of Ligero 2021, 600 patients without images; benefit is planted, and responses follow from it."""
    root = tmp_path_factory.mktemp("ligero") / "cohort"
    simulate(simulation_settings("ligero", images=False, n=600, seed=3), root)
    return root, pd.read_csv(root / "clinical.csv").set_index("patient_id")


def test_of_a_simulated_study_derived_benefit_is_the_planted_one(simulated):
    root, table = simulated
    endpoint = reference_endpoints()["clinical_benefit_recist"]

    cohort = read_manifest(root, [endpoint])

    assert cohort.events(endpoint.name).tolist() == table["clinical_benefit"].astype(bool).tolist()


def test_without_a_column_that_tells_whether_it_ended_short_stable_disease_alone_is_not_known(simulated):
    root, table = simulated
    endpoint = Endpoint("b", "best_response", derive=BenefitColumns("sd_months"))

    known = read_manifest(root, [endpoint]).evaluable("b")

    assert known.events("b").tolist() == table.loc[known.ids, "clinical_benefit"].astype(bool).tolist()
    short = table.index[(table["best_response"] == "SD") & (table["sd_months"] <= 5)]
    assert set(table.index) - set(known.ids) == set(short)
    assert 0 < len(short) < len(table)


def test_radnet_check_and_train_and_evaluate_take_it(simulated, tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch", reason="training needs the extra train")
    root, table = simulated
    monkeypatch.chdir(tmp_path)
    held_out = tmp_path / "new"
    held_out.mkdir()
    split = table["split"]
    table[split == "train"].drop(columns="split").to_csv(tmp_path / "clinical.csv")
    table[split == "held_out"].drop(columns="split").to_csv(held_out / "clinical.csv")
    words = ["experiment=zhao_clinical", "data=manifest", f"data.root={tmp_path}", "output=run", "split=kfold"]
    words += ["endpoint=clinical_benefit_recist", "model.clinical=[albumin,lymphocytes]", "cutoff=max_sensitivity"]
    words += ["endpoint.derive.stable_ended=null", "falsification=false", "optimism=none"]

    assert main(["check", str(root), "--endpoint", "clinical_benefit_recist"]) == 0
    assert "outcomes looked at: clinical_benefit_recist" in capsys.readouterr().out
    assert main(["train", *words]) == 0
    assert main(["evaluate", "model=run/model", f"data.root={held_out}", "output=judged", "report=false"]) == 0

    card = json.loads((tmp_path / "run" / "model" / "model.json").read_text(encoding="utf-8"))
    assert card["endpoint"]["derive"]["stable_months"] == "sd_months"
    rows = pd.read_parquet(tmp_path / "judged" / "predictions.parquet").set_index("patient_id")
    assert set(rows["endpoint"]) == {"clinical_benefit_recist"}
    known = rows["event"].dropna()
    assert known.tolist() == table.loc[known.index, "clinical_benefit"].tolist()
    short = (table["best_response"] == "SD") & (table["sd_months"] <= 5) & (split == "held_out")
    assert rows["event"].isna().sum() == short.sum() > 0
