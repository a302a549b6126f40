"""Questions on how well the model does, and against what it was held."""

from collections.abc import Iterable

import pandas as pd

from radnet.report.checklist.items import Finding
from radnet.report.checklist.record import Record, judged, needs_run, of_centres, part, run_file, told

_CALIBRATION = ("calibration_slope", "calibration_intercept", "ici", "hosmer_lemeshow")
_AT_CUTOFF = ("sensitivity", "specificity", "ppv", "npv")


def enough_patients(record: Record) -> Finding:
    """Whether the patients suffice by Riley's criteria."""
    size = record.tables.get("sample_size")
    if size is None:
        return Finding("not met", "no sample size was calculated")
    short = size[size["met"].astype(str).str.lower().isin(["false", "0", "0.0"])]
    if short.empty:
        return Finding("met", "every criterion of Riley is satisfied", "#sample-size")
    worst = short.sort_values("needed").iloc[-1]
    return Finding("not met", f"{worst['told']}; {len(short)} of {len(size)} criteria are missed", "#sample-size")


def size_calculated(record: Record) -> Finding:
    """Whether the sample size was judged, before or after the study."""
    if record.tables.get("sample_size") is None:
        return Finding("not met", "no sample size was calculated")
    return Finding("met", "judged afterwards by events per variable and Riley's criteria", "#sample-size")


def dimension(record: Record) -> Finding:
    """Whether the features are few enough for the patients."""
    size = record.tables.get("sample_size")
    rows = pd.DataFrame() if size is None else size[size["criterion"] == "parameters_allowed"]
    if rows.empty:
        return Finding("not met", "how many parameters the patients allow was not calculated")
    row = rows.iloc[0]
    satisfied = str(row["met"]).lower() in ("true", "1", "1.0")
    return Finding("met" if satisfied else "not met", str(row["told"]), "#sample-size")


def centres_compared(record: Record) -> Finding:
    """Performance by centre."""
    rows = of_centres(record)
    if rows["centre"].nunique() < 2:
        centres = {name for one in ("development", "held_out") for name in part(record, one).get("centres", [])}
        if len(centres) == 1:
            return Finding("not applicable", f"one centre: {centres.pop()}")
        return Finding("not met", "no performance by centre on patients the model did not learn from")
    return Finding("met", "; ".join(told(row) for row in rows.head(3).itertuples()), "#centres")


def measures(record: Record) -> Finding:
    """Discrimination, calibration and clinical utility."""
    parts = {
        "discrimination": not judged(record).empty,
        "calibration": bool(_has(record, _CALIBRATION)),
        "clinical utility": bool(_has(record, ["net_benefit"])),
    }
    missing = [name for name, there in parts.items() if not there]
    if missing:
        return Finding(
            "not met", f"missing: {', '.join(missing)}{_without_probability(record, missing)}", "metrics.csv"
        )
    return Finding("met", ", ".join(parts), "metrics.csv")


def measures_named(record: Record) -> Finding:
    """Which measures; why these only the authors know."""
    return Finding("for the authors", f"in metrics.csv: {', '.join(record.metrics['metric'].unique())}", "metrics.csv")


def measures_suitable(record: Record) -> Finding:
    """Discrimination, and for a binary endpoint the four rates from which the confusion matrix follows."""
    rows = judged(record)
    if rows.empty:
        return Finding("not met", "no AUC or C-index on patients the model did not learn from")
    if (rows["metric"] == "auc").any():
        missing = [name for name in _AT_CUTOFF if name not in _has(record, _AT_CUTOFF)]
        if missing:
            return Finding("not met", f"missing: {', '.join(missing)}", "metrics.csv")
        network = isinstance((record.config.get("model") or {}).get("network"), dict)
        losses = f"; losses per epoch in {run_file(record, 'train_log.csv')}" if network else ""
        return Finding("met", f"AUC, {', '.join(_AT_CUTOFF)} at the cut-off{losses}", "#performance")
    return Finding("met", "C-index", "#performance")


def calibration(record: Record) -> Finding:
    """Calibration of the final model."""
    found = _has(record, _CALIBRATION)
    if not found:
        return Finding("not met", f"no measure of calibration{_without_probability(record, ['calibration'])}")
    return Finding("met", ", ".join(found), "metrics.csv")


def uncertainty(record: Record) -> Finding:
    """Confidence intervals on patients the model did not learn from."""
    rows = judged(record)
    with_limits = rows[rows["lower"].notna() & rows["upper"].notna()]
    if with_limits.empty:
        return Finding("not met", "no confidence interval of AUC or C-index")
    row = next(with_limits.itertuples())
    return Finding("met", f"{100 * record.level:g}% intervals, for one {told(row)}, by {row.method}", "#headline")


def performance(record: Record) -> Finding:
    """Performance on patients the model did not learn from."""
    rows = judged(record)
    if rows.empty:
        return Finding("not met", "no AUC or C-index on patients the model did not learn from")
    return Finding("met", "; ".join(told(row) for row in rows.head(2).itertuples()), "#headline")


def performance_by_group(record: Record) -> Finding:
    """Performance with intervals, and in subgroups."""
    found = performance(record)
    if found.answer != "met":
        return found
    groups = subgroups(record)
    if groups.answer != "met":
        return Finding("not met", f"overall: {found.evidence}; but {groups.evidence}", "#headline")
    return Finding("met", f"{found.evidence}; {groups.evidence}", "metrics.csv")


def subgroups(record: Record) -> Finding:
    """Performance in subgroups."""
    rows = record.metrics[record.metrics["subgroup"].str.contains("=")]
    if rows.empty:
        return Finding("not met", "no subgroup was asked for (evaluation.subgroups)")
    return Finding("met", f"subgroups: {', '.join(rows['subgroup'].unique()[:6])}", "metrics.csv")


def comparison(record: Record) -> Finding:
    """Statistical comparison of models."""
    rows = _differences(pd.concat([record.metrics, record.controls]))
    if rows.empty:
        return Finding("not met", "no two models were compared")
    return Finding("met", "; ".join(_versus(row) for row in rows.head(2).itertuples()), "#comparisons")


def non_radiomic(record: Record) -> Finding:
    """Comparison with volume or clinical variables alone."""
    return _against(record, ("control_clinical", "control_volume"), "a model of volume or of clinical variables alone")


def simple_model(record: Record) -> Finding:
    """Comparison with a simple model."""
    simple = ("control_clinical", "control_volume", "control_random_features")
    return _against(record, simple, "a simple model")


def combined(record: Record) -> Finding:
    """Comparison with non-radiomic and with combined models."""
    found = non_radiomic(record)
    if found.answer != "met":
        return found
    together = _in_combined_model(record)
    if len(together) < 2:
        return Finding("not met", f"{found.evidence}; but no model of score and clinical variables together")
    return Finding("met", f"{found.evidence}; together in tables/regression.csv: {', '.join(together)}", found.link)


def importance(record: Record) -> Finding:
    """What the model relies on."""
    table = record.tables.get("importance")
    if table is None:
        return Finding("not met", "no importance of features, groups or branches was calculated")
    several = {"feature": "features", "group": "groups", "branch": "branches"}
    counted = table["kind"].value_counts(sort=False).items()
    kinds = ", ".join(f"{count} {kind if count == 1 else several.get(str(kind), kind)}" for kind, count in counted)
    return Finding("met", f"importance of {kinds}", "tables/importance.csv")


def feature_statistics(record: Record) -> Finding:
    """Statistics of single features."""
    table = record.tables.get("importance")
    if table is not None and (table["kind"] == "feature").any():
        return Finding("met", f"{(table['kind'] == 'feature').sum()} features", "tables/importance.csv")
    kept = record.model.get("n_features")
    counted = f"{record.counts.get('features')} → {kept} features; " if kept and record.counts.get("features") else ""
    return Finding("not met", f"{counted}no statistics of single features")


def testing(record: Record) -> Finding:
    """How the model was tested."""
    if missing := needs_run(record):
        return missing
    partitions = list(judged(record)["partition"].unique())
    if not partitions:
        return Finding("not met", "judged only on patients it learned from")
    share = record.counts.get("held_out_share_from_training_centres")
    shared = f"; {share:.0%} of held-out patients come from training centres" if share else ""
    return Finding("met", f"{' and '.join(name.replace('_', '-') for name in partitions)}{shared}", "#performance")


def internal_test(record: Record) -> Finding:
    """Patients set aside from the centres that were learned from."""
    if missing := needs_run(record):
        return missing
    shared = sorted({*part(record, "held_out").get("centres", [])} & {*part(record, "development").get("centres", [])})
    if not shared:
        return Finding("not met", "no held-out patient comes from a training centre; folds are no test set")
    share = record.counts.get("held_out_share_from_training_centres", 0)
    return Finding("met", f"{share:.0%} of held-out patients, from centres {', '.join(shared)}", "#performance")


def external_test(record: Record) -> Finding:
    """Patients of centres that were not learned from."""
    if missing := needs_run(record):
        return missing
    new = sorted({*part(record, "held_out").get("centres", [])} - {*part(record, "development").get("centres", [])})
    rows = of_centres(record)
    rows = rows[rows["centre"].isin(new) & (rows["partition"] == "held_out")]
    if not new:
        return Finding("not met", "no patient of another centre was held out")
    if record.simulated:
        return Finding("not met", f"centre {', '.join(new)} is new to the model, but simulated")
    evidence = "; ".join(told(row) for row in rows.head(3).itertuples()) or f"centres {', '.join(new)}"
    return Finding("met", evidence, "#centres")


def _in_combined_model(record: Record) -> list[str]:
    """Return the variables that the multivariable model kept; none where the score is not among them."""
    table = record.tables.get("regression")
    if table is None:
        return []
    kept = table[(table["analysis"] == "multivariable") & pd.to_numeric(table["estimate"], errors="coerce").notna()]
    names = list(dict.fromkeys(kept["variable"]))
    return names if "score" in names else []


def _has(record: Record, names: Iterable[str]) -> list[str]:
    """Return which measures stand in metrics.csv for patients the model did not learn from."""
    rows = record.metrics[record.metrics["partition"].isin(["held_out", "out_of_fold"])]
    there = set(rows.loc[rows["estimate"].notna(), "metric"])
    return [name for name in names if name in there]


def _without_probability(record: Record, missing: list[str]) -> str:
    needs = {"calibration", "clinical utility"} & set(missing)
    return " (the model gives no probability)" if needs and record.model.get("calibrated") is False else ""


def _against(record: Record, names: tuple[str, ...], words: str) -> Finding:
    rows = _differences(record.controls)
    rows = rows[rows["versus"].isin(names) | rows["model"].isin(names)]
    if rows.empty:
        return Finding("not met", f"no comparison with {words}")
    return Finding("met", "; ".join(_versus(row) for row in rows.head(2).itertuples()), "#comparisons")


def _differences(metrics: pd.DataFrame) -> pd.DataFrame:
    kept = metrics["metric"].isin(["auc_difference", "c_index_difference"]) & (metrics["versus"] != "")
    rows = metrics[kept & metrics["partition"].isin(["held_out", "out_of_fold"])]
    return rows[(rows["centre"] == "") & (rows["subgroup"] == "")].drop_duplicates(["model", "versus", "partition"])


def _versus(row) -> str:  # type: ignore[no-untyped-def]
    return told(row).replace(f"({row.model}", f"({row.model} − {row.versus}", 1)
