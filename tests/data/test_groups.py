import doctest
import re

import numpy as np
import pytest

from radnet.cohort import Cohort, Patient
from radnet.data import groups
from radnet.data.groups import Group, complete_cases, group_table
from radnet.evaluation.assessment.found import Found
from radnet.evaluation.assessment.settings import EvaluationSettings
from radnet.evaluation.assessment.subgroups import with_levels

CLINICAL = {  # cps, subtype, lines_ge2, age
    "P1": (10.0, "TNBC", 1.0, 50.0),
    "P2": (9.99, "HER2+", 0.0, 61.5),
    "P3": (None, "TNBC", 1.0, 44.0),
    "P4": (100.0, None, None, np.nan),
    "P5": (0.0, "HR+/HER2-", 0.0, 70.0),
}


def clinical_cohort(**changes):
    names = ("cps", "subtype", "lines_ge2", "age")
    return Cohort(
        tuple(
            Patient(patient, "A", clinical=dict(zip(names, changes.get(patient, values), strict=True)))
            for patient, values in CLINICAL.items()
        )
    )


def test_each_rule_gives_the_groups_counted_by_hand():
    table = group_table(
        clinical_cohort(),
        {
            "cps_ge10": Group("cps", at_least=10),
            "tnbc": Group("subtype", equals="TNBC"),
            "lines_ge2": Group("lines_ge2"),
            "many_lines": Group("lines_ge2", equals=1),
            "subtype": Group("subtype"),
            "old": Group("age", at_least=61.5),
        },
    )

    assert table.index.name == "patient_id"
    assert list(table.index) == ["P1", "P2", "P3", "P4", "P5"]
    assert {name: list(column) for name, column in table.items()} == {
        "cps_ge10": [">=10", "<10", None, ">=10", "<10"],
        "tnbc": ["TNBC", "other", "TNBC", None, "other"],
        "lines_ge2": ["1", "0", "1", None, "0"],
        "many_lines": ["1", "other", "1", None, "other"],
        "subtype": ["TNBC", "HER2+", "TNBC", None, "HR+/HER2-"],
        "old": ["<61.5", ">=61.5", "<61.5", None, ">=61.5"],
    }


@pytest.mark.parametrize("equals", [1, 1.0, "1"])
def test_a_number_is_the_same_however_the_configuration_writes_it(equals):
    table = group_table(clinical_cohort(), {"lines": Group("lines_ge2", equals=equals)})

    assert list(table["lines"]) == ["1", "other", "1", None, "other"]


def test_an_evaluation_judges_by_the_groups_with_their_names_and_counts_them_all():
    table = group_table(
        clinical_cohort(), {"cps_ge10": Group("cps", at_least=10), "tnbc": Group("subtype", equals="TNBC")}
    )
    rows = table.reset_index().assign(endpoint="response")

    levels = with_levels(rows, EvaluationSettings(subgroups=["cps_ge10", "tnbc"]), Found())

    assert levels["level of cps_ge10"].value_counts().to_dict() == {"<10": 2, ">=10": 2, "missing": 1}
    assert levels["level of tnbc"].value_counts().to_dict() == {"TNBC": 2, "other": 2, "missing": 1}


def test_no_groups_give_a_row_for_each_patient_and_no_column():
    assert group_table(clinical_cohort(), {}).shape == (5, 0)


def test_absent_columns_are_all_named():
    with pytest.raises(ValueError, match=r"clinical.csv has no column pdl1, tmb; it has age, cps"):
        group_table(clinical_cohort(), {"a": Group("pdl1"), "b": Group("cps"), "c": Group("tmb", at_least=10)})


def test_every_column_that_holds_no_numbers_is_named_with_a_patient():
    cohort = clinical_cohort(P2=("<1", "TNBC", 1.0, "old"), P5=("high", "TNBC", 1.0, 5.0))

    with pytest.raises(ValueError) as fault:
        group_table(cohort, {"cps_ge10": Group("cps", at_least=10), "old": Group("age", at_least=65)})

    assert str(fault.value) == (
        "group cps_ge10 divides cps at 10, but it is no number of 2 patients, such as P2 ('<1'): correct it in "
        "clinical.csv, or leave it empty if not known; "
        "group old divides age at 65, but it is no number of 1 patient, such as P2 ('old'): correct it in "
        "clinical.csv, or leave it empty if not known"
    )


@pytest.mark.parametrize("name", ["event", "centre", "probability_12"])
def test_a_group_may_not_take_the_name_of_a_column_of_predictions(name):
    with pytest.raises(ValueError, match=f"a prediction table has columns {name} of its own"):
        group_table(clinical_cohort(), {name: Group("cps"), "fine": Group("age")})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"column": ""}, "column must name a column of clinical.csv, got ''"),
        ({"column": "cps", "at_least": 10, "equals": "x"}, "at_least and equals are two rules: give one of them"),
        ({"column": "cps", "at_least": "ten"}, "at_least must be a number, got 'ten'"),
        ({"column": "cps", "at_least": np.nan}, "at_least must be a number, got nan"),
        ({"column": "cps", "at_least": True}, "at_least must be a number, got True"),
        ({"column": "pdl1", "equals": True}, "equals must be a text or a number (quote yes, no, true and false)"),
        ({"column": "subtype", "equals": "other"}, "equals=other is the name of all the others"),
    ],
)
def test_a_group_that_cannot_be_formed_is_refused(given, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Group(**given)


def test_complete_cases_are_those_of_whom_every_column_is_known_and_the_others_have_a_reason():
    complete, reasons = complete_cases(clinical_cohort(), ["cps", "subtype", "age"])

    assert complete.ids == ["P1", "P2", "P5"]
    assert reasons == {"P3": "cps is not known", "P4": "subtype, age are not known"}


def test_without_columns_every_patient_is_complete():
    complete, reasons = complete_cases(clinical_cohort(), [])

    assert (complete.ids, reasons) == (["P1", "P2", "P3", "P4", "P5"], {})


def test_absent_columns_of_complete_cases_are_all_named():
    with pytest.raises(ValueError, match="clinical.csv has no column pdl1, tmb"):
        complete_cases(clinical_cohort(), ["pdl1", "cps", "tmb"])


def test_the_examples_run():
    assert doctest.testmod(groups).failed == 0
