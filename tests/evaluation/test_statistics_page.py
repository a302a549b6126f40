"""docs/statistics.md names every metric of the vocabulary, functions that exist, and options that exist."""

import re
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest

from radnet.evaluation.assessment.settings import EvaluationSettings

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "statistics.md").read_text(encoding="utf-8")
TABLE = [
    [cell.strip() for cell in line.split("|")[1:-1]]
    for line in PAGE.partition("## Conventions")[0].splitlines()
    if line.startswith("| ") and not line.startswith("| metric ")
]
VOCABULARY = [
    "auc",
    "average_precision",
    "auc_difference",
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "accuracy",
    "lr_positive",
    "lr_negative",
    "cutoff",
    "brier",
    "brier_scaled",
    "calibration_intercept",
    "calibration_slope",
    "ici",
    "emax",
    "e90",
    "hosmer_lemeshow",
    "net_benefit",
    "net_benefit_all",
    "net_benefit_standardized",
    "impact_high_risk",
    "impact_true_positive",
    "c_index",
    "c_index_difference",
    "hazard_ratio",
    "logrank",
    "logrank_trend",
    "km_survival",
    "km_median",
    "rmst",
    "schoenfeld",
    "auc_time",
    "brier_time",
    "ibs",
    "idi",
    "nri_continuous",
    "nri_categorical",
    "nri_event",
    "nri_nonevent",
    "interaction",
]


def test_every_metric_stands_on_the_page():
    told = [name for row in TABLE for name in re.findall(r"`(\w+)`", row[0])]

    assert sorted(told) == sorted(VOCABULARY)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?:\w+\.)+\w+)`", "".join(row[4] for row in TABLE)))))
def test_every_function_on_the_page_exists(name):
    module, _, function = name.rpartition(".")

    assert callable(getattr(import_module(f"radnet.evaluation.{module}"), function))


def test_every_option_on_the_page_exists():
    options = {name for row in TABLE for name in re.findall(r"`(\w+)`", row[5])}

    assert options <= {field.name for field in fields(EvaluationSettings)}
    assert options >= {"bootstrap", "versus", "horizons", "nri_cuts", "subgroups", "thresholds", "cutoff"}
