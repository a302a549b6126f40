"""Questions on the model, how it was trained and how it is shared."""

from radnet.report.checklist.items import Finding
from radnet.report.checklist.record import Record, class_name, needs_run, part, run_file, targets

_TUNING = ("Tuned", "GridSearch", "RandomizedSearch", "Optuna")


def scaling(record: Record) -> Finding:
    """How features enter: scaled, clipped, transformed."""
    if missing := needs_run(record):
        return missing
    steps = [class_name(found) for _, found in targets(record, "Scaler", "Normalizer", "Clip", "Transformer")]
    if not steps:
        return Finding("not met", "no step of the model scales; columns enter as they are", "config: model")
    return Finding("met", f"{', '.join(steps)}, learned from training patients", "config: model")


def algorithm(record: Record) -> Finding:
    """Type of the model, with its shape."""
    found = _kind(record)
    return Finding("met", found, "config: model") if found else needs_run(record) or Finding("not met", "not known")


def building(record: Record) -> Finding:
    """Type and building of the model; why this type only the authors know."""
    if missing := needs_run(record):
        return missing
    told = training(record)
    return Finding("for the authors", f"{_kind(record)}; {told.evidence}; validated by folds; not why", "config: model")


def training(record: Record) -> Finding:
    """Training and tuning."""
    if missing := needs_run(record):
        return missing
    if not record.config:
        return Finding("not met", "the run's configuration is not known")
    model = record.config.get("model") or {}
    tuned = targets(record, *_TUNING)
    tuning = f"tuned: {', '.join(key for key, _ in tuned)}" if tuned else "no hyperparameter was tuned in this run"
    fitted = class_name(model["trainer"]) if isinstance(model.get("trainer"), dict) else _classifier(record)
    return Finding("met", f"{fitted}; {tuning}; seed {record.run.get('seed')}", "config: model")


def choice(record: Record) -> Finding:
    """How the final model was chosen."""
    if missing := needs_run(record):
        return missing
    named = ", ".join(record.metrics["model"].unique())
    return Finding("for the authors", f"this run trained {named}; whether others were tried before is not known")


def output(record: Record) -> Finding:
    """What the model gives out and its cut-off."""
    if missing := needs_run(record):
        return missing
    cutoffs = record.metrics[record.metrics["metric"] == "cutoff"]
    if cutoffs.empty:
        return Finding("not met", "no cut-off stands in metrics.csv")
    row = cutoffs.sort_values("partition", key=lambda names: names == "out_of_fold", kind="stable").iloc[0]
    rule = class_name(record.config["cutoff"]) if record.config.get("cutoff") else row["method"]
    words = {True: " and a probability", False: ", no calibrated probability", None: ""}
    kind = f"a score{words[record.model.get('calibrated')]}"
    return Finding("met", f"{kind}; cut-off {row['estimate']:.3g} by {rule} on out-of-fold scores", "#performance")


def updating(record: Record) -> Finding:
    """Whether the model was updated; a run freezes it."""
    if missing := needs_run(record):
        return missing
    return Finding("not applicable", "the model was judged as it was frozen, without updating")


def scoring(record: Record) -> Finding:
    """How predictions were calculated."""
    if missing := needs_run(record):
        return missing
    if not record.model:
        return Finding("not met", "the frozen model's card is not known")
    judged = "held-out patients by the frozen model, " if part(record, "held_out") else ""
    evidence = f"{judged}development patients by models of the other folds"
    return Finding(
        "met",
        f"{evidence}; radnet {(record.run.get('versions') or {}).get('radnet')}",
        run_file(record, "predictions.parquet"),
    )


def shared_settings(record: Record) -> Finding:
    """Settings, ready to be shared."""
    if missing := needs_run(record):
        return missing
    return Finding(
        "for the authors", "every setting stands in config.yaml, to be shared", run_file(record, "config.yaml")
    )


def shared_code(record: Record) -> Finding:
    """Code, by its commit."""
    commit = record.run.get("git_commit")
    return Finding(
        "for the authors", f"radnet at commit {commit[:12]}" if commit else "", "#provenance" if commit else ""
    )


def shared_model(record: Record) -> Finding:
    """The frozen model, ready to be shared."""
    if not record.model:
        return needs_run(record) or Finding("not met", "the frozen model's card is not known")
    evidence = "the run's model folder scores new patients (`radnet predict`); whether others may have it is not known"
    return Finding("for the authors", evidence, run_file(record, "model/model.json"))


def poor_input(record: Record) -> Finding:
    """What the frozen model does with poor input."""
    if missing := needs_run(record):
        return missing
    imputed = ", ".join(class_name(found) for _, found in targets(record, "Imput")) or "no imputation"
    evidence = f"missing features: {imputed}; `radnet predict` reports drift and lesions that cannot be measured"
    return Finding("for the authors", evidence, "config: model")


def _kind(record: Record) -> str:
    model = record.config.get("model") or {}
    if isinstance(model.get("network"), dict):
        return class_name(model["network"])
    return _classifier(record) if model else ""


def _classifier(record: Record) -> str:
    """The last step of a pipeline is what predicts."""
    steps = [found for key, found in targets(record, "") if ".steps." in key]
    model = record.config.get("model") or {}
    return class_name(steps[-1]) if steps else str(model.get("_target_") or "").rpartition(".")[2]
