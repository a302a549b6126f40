"""A small evaluation folder with numbers made up by hand: what a report prints must stand in these files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from radnet.files import write_json
from radnet.report.reading import Evaluation, typed
from radnet.tables import METRIC_COLUMNS

AREAS = {  # model, partition: AUC with its interval, patients, events
    ("plain", "apparent"): (0.931, 0.882, 0.967, 60, 24),
    ("plain", "out_of_fold"): (0.804, 0.711, 0.893, 60, 24),
    ("plain", "held_out"): (0.733, 0.624, 0.841, 40, 15),
    ("deep", "apparent"): (0.977, 0.951, 0.996, 60, 24),
    ("deep", "out_of_fold"): (0.826, 0.738, 0.904, 60, 24),
    ("deep", "held_out"): (0.761, 0.658, 0.863, 40, 15),
}


def metrics_table() -> pd.DataFrame:
    rows = []
    for (model, partition), (estimate, lower, upper, n, n_event) in AREAS.items():
        place = {"endpoint": "response", "model": model, "partition": partition, "n": n, "n_event": n_event}
        area = {**place, "metric": "auc", "estimate": estimate}
        rows += [{**area, "lower": lower - 0.01, "upper": upper, "method": "bootstrap"}]
        if partition != "out_of_fold":
            rows += [{**area, "lower": lower, "upper": upper, "method": "delong"}]
            rows += [{**area, "lower": lower + 0.01, "upper": upper, "method": "delong_logit"}]
        rate = {**place, "metric": "sensitivity", "at": 0.4, "estimate": 0.667, "lower": 0.384, "upper": 0.882}
        rows += [{**rate, "method": "wilson", "lower": 0.417}, {**rate, "method": "clopper_pearson"}]
        survival = {**place, "endpoint": "pfs"}
        concordance = {**survival, "metric": "c_index", "method": "harrell", "estimate": 0.642}
        rows += [{**concordance, "lower": 0.571, "upper": 0.713}]
        rows += [{**survival, "metric": "logrank", "estimate": 12.3, "p_value": 0.00045}]
        rows += [{**survival, "metric": "km_median", "group": "high", "estimate": 6.1, "lower": 4.2, "upper": 9.3}]
        rows += [{**survival, "metric": "km_median", "group": "low"}]
    centre = {"endpoint": "response", "partition": "held_out", "model": "deep", "metric": "auc", "method": "delong"}
    rows += [{**centre, "centre": name, "estimate": 0.7, "lower": 0.5, "upper": 0.9, "n": 20} for name in ("Z", "B")]
    difference = {**centre, "metric": "auc_difference", "versus": "plain", "method": "delong_paired"}
    rows += [{**difference, "estimate": -0.028, "lower": -0.091, "upper": 0.035, "p_value": 0.384, "n": 40}]
    return pd.DataFrame(rows).reindex(columns=list(METRIC_COLUMNS)).assign(level="patient")


def further_rows() -> pd.DataFrame:
    """Numbers of an evaluation that belong into no headline and no performance table; each estimate is -9."""
    rows = []
    for model, partition in AREAS:
        place = {"model": model, "partition": partition, "level": "patient", "n": 3, "n_event": 1, "lower": -9.5}
        area = {**place, "endpoint": "response", "metric": "auc"}
        rows += [{**area, "method": method, "subgroup": "sex=F"} for method in ("delong", "bootstrap")]
        rows += [{**area, "method": "bootstrap_cluster", "level": "lesion"}]
        response = {**place, "endpoint": "response"}
        rows += [{**response, "metric": "interaction", "subgroup": "sex", "method": "likelihood_ratio"}]
        rows += [{**response, "metric": "sensitivity", "method": "clopper_pearson", "subgroup": "sex=F", "at": 0.4}]
        rows += [{**response, "metric": "average_precision", "method": "bootstrap"}]
        rows += [{**response, "metric": "brier"}]
        rows += [{**response, "metric": "emax", "method": method} for method in ("loess", "lowess")]
        rows += [{**response, "metric": "net_benefit", "at": step / 20} for step in range(1, 20)]
        rows += [{**response, "metric": "idi", "versus": "plain"}]
        survival = {**place, "endpoint": "pfs"}
        concordance = {**survival, "metric": "c_index"}
        rows += [{**concordance, "method": "uno", "at": 12.0, "horizon": 12.0}, {**concordance, "method": "uno"}]
        rows += [{**concordance, "method": "harrell", "subgroup": "sex=F"}]
        rows += [{**survival, "metric": "logrank", "subgroup": "sex"}]
        rows += [{**survival, "metric": "km_median", "group": group, "subgroup": "sex=F"} for group in ("", "high")]
        rows += [{**survival, "metric": "km_survival", "group": "high", "at": t, "horizon": t} for t in (6.0, 12.0)]
        rows += [{**survival, "metric": "auc_time", "method": "ipcw", "at": 12.0, "horizon": 12.0}]
    return pd.DataFrame(rows).reindex(columns=list(METRIC_COLUMNS)).assign(estimate=-9.0, upper=-8.5)


def roc_table() -> pd.DataFrame:
    rows = []
    for model, partition in AREAS:
        place = {"endpoint": "response", "model": model, "partition": partition, "centre": "", "repeat": ""}
        folds = ["0", "1", "mean"] if partition == "out_of_fold" else [""]
        for fold in folds:
            thresholds = [np.nan] * 4 if fold == "mean" else [np.inf, 0.7, 0.4, 0.1]
            steps = zip(thresholds, [0, 0.1, 0.4, 1], [0, 0.5, 0.8, 1], strict=True)
            rows += [{**place, "fold": fold, "threshold": t, "fpr": fpr, "tpr": tpr} for t, fpr, tpr in steps]
    return pd.DataFrame(rows)


def score_table() -> pd.DataFrame:
    rows = []
    rng = np.random.default_rng(0)
    for place, (model, partition) in enumerate(AREAS):
        for patient in range(20):
            event = np.nan if patient == 19 else patient % 2
            row = {"endpoint": "response", "model": model, "partition": partition, "centre": "B", "repeat": ""}
            fold = str(patient % 2) if partition == "out_of_fold" else ""
            score = rng.normal(loc=place / 10)
            rows.append({**row, "fold": fold, "event": event, "score": score, "cutoff": 0.4 + 0.1 * (fold == "1")})
    return pd.DataFrame(rows)


def km_table() -> pd.DataFrame:
    """Five patients: events at 2 and 5, censored at 4, 8 and 8; once in each group, model and partition."""
    curve = pd.DataFrame(
        {
            "time": [2.0, 4.0, 5.0, 8.0],
            "survival": [0.8, 0.8, 0.8 * 2 / 3, 0.8 * 2 / 3],
            "lower": [0.2, 0.2, 0.07, 0.07],
            "upper": [0.97, 0.97, 0.86, 0.86],
            "at_risk": [5, 4, 3, 2],
            "events": [1, 0, 1, 0],
            "censored": [0, 1, 0, 2],
        }
    )
    return pd.concat(
        [
            curve.assign(endpoint="pfs", model=model, partition=partition, group=group)
            for model, partition in AREAS
            for group in ("high", "low")
        ],
        ignore_index=True,
    )


def about() -> dict:
    return {
        "radnet": "0.1.0",
        "created": "2026-01-05T10:00:00+00:00",
        "evaluation": {"bootstrap": 2000, "cutoff": "frozen"},
        "inputs": [{"path": "predictions.parquet", "sha256": "ab12" * 16, "rows": 200}],
        "truth": None,
        "messages": [],
        "run": {
            "experiment": "zhao_mlp",
            "seed": 7,
            "counts": {"patients": 100},
            "seconds": {"fit": 45.1},
            "versions": {"numpy": "2.4.6"},
            "git_commit": "ee63bcf",
        },
    }


@pytest.fixture(name="areas")
def _areas() -> dict[tuple[str, str], tuple[float, float, float, int, int]]:
    return AREAS


@pytest.fixture(name="metrics")
def _metrics() -> pd.DataFrame:
    return metrics_table()


@pytest.fixture(name="grown")
def _grown(evaluation: Evaluation) -> Evaluation:
    """The evaluation with the numbers that belong into none of its tables, before and after the others."""
    more = typed(further_rows())
    return replace(evaluation, metrics=pd.concat([more, evaluation.metrics, more], ignore_index=True))


@pytest.fixture(name="roc")
def _roc() -> pd.DataFrame:
    return roc_table()


@pytest.fixture(name="scores")
def _scores() -> pd.DataFrame:
    return score_table()


@pytest.fixture(name="km")
def _km() -> pd.DataFrame:
    return km_table()


@pytest.fixture(name="evaluation")
def _evaluation() -> Evaluation:
    """The evaluation as it is read from its folder; a test changes it with ``dataclasses.replace``."""
    tables = {"metrics": metrics_table(), "roc": roc_table(), "scores": score_table(), "km": km_table()}
    return Evaluation(about=about(), **{name: typed(table) for name, table in tables.items()})


@pytest.fixture(scope="session")
def write_evaluation(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write an evaluation folder: ``keep`` chooses rows, ``rename`` gives other names, the rest is evaluation.json."""

    def write(keep=lambda _: True, rename=None, figures=("roc", "scores", "km"), **changed) -> Path:
        folder = tmp_path_factory.mktemp("evaluation")
        (folder / "figures").mkdir()
        made = {"roc": roc_table(), "scores": score_table(), "km": km_table()}
        tables = {"metrics.csv": metrics_table()}
        for name, table in made.items():
            tables[f"figures/{name}.csv"] = table if name in figures else table.iloc[:0]
        for name, table in tables.items():
            kept = table[[keep(row) for row in table.to_dict("records")]] if len(table) else table
            for column in {"model", "versus", "centre"} & set(kept.columns):
                kept = kept.assign(**{column: kept[column].map(lambda name: (rename or {}).get(name, name))})
            kept.to_csv(folder / name, index=False)
        write_json(about() | changed, folder / "evaluation.json")
        return folder

    return write
