"""One experiment: cohort, features, split, folds, frozen model, and the prediction table all of it ends in."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig, OmegaConf
from threadpoolctl import threadpool_limits

from radnet.ablation import ablations, run_ablations
from radnet.appraisal.appraise import Trained, appraise
from radnet.cohort import Cohort, Endpoint, FeatureTable
from radnet.config import build, outcome_columns
from radnet.console import console, progress
from radnet.data.groups import Group, group_table
from radnet.data.manifest import read_manifest
from radnet.data.split import shared_centre_fraction
from radnet.falsification.judging import ControlScores, Design, kept_under, mean_discrimination
from radnet.falsification.leaks import leak_checks
from radnet.falsification.refute import Inputs, Refutation, refute
from radnet.falsification.settings import FalsificationSettings
from radnet.falsification.voxels import sample_of_patients, voxel_controls
from radnet.files import file_hash, write_atomically, write_json
from radnet.prediction import score_drift
from radnet.predictors.base import History, Prediction, Predictor
from radnet.predictors.folder import save_model
from radnet.predictors.lesion_rows import site_columns
from radnet.predictors.nested import NestedPredictor, Place, fit_name, own_endpoints
from radnet.predictors.reading import Reading
from radnet.predictors.rows import prediction_rows
from radnet.predictors.selection import step_notes
from radnet.predictors.within import model_paths
from radnet.run_folder import RunFolder, new_folder
from radnet.run_record import RunRecord, git_commit, versions
from radnet.study_cohort import selected_by_everybody, with_complete_cases, with_features, with_outcome
from radnet.tables import read_table, write_table

_LOG_COLUMNS = ["fold", "repeat", "epoch", "train_loss", "valid_loss", "valid_auroc"]
_FEW_EVENTS = 5  # a feature, below which its weight is mostly chance


def run_experiment(config: DictConfig) -> Path:
    """Train and predict as configured.

    Everything learned is learned from training patients: each fold's model and its cut-off from that fold's, the
    frozen model's cut-off from out-of-fold scores (from apparent ones where ``read_on`` says so, as many papers did).

    A run that was interrupted goes on where it was, if ``config.output`` names its folder: fits that are done are not
    done again, and one that was under way goes on from its last checkpoint.

    Returns:
        The run folder: config.yaml, run.json, predictions.parquet, lesion_predictions.parquet, train_log.csv, model/.
    """
    run = RunFolder(config, {"versions": dict(versions()), "git_commit": git_commit()})
    folder = run.path
    verb = "going on with" if run.resumed else "run:"
    console.print(f"{verb} {folder}; if interrupted, go on with output={folder}", markup=False, soft_wrap=True)
    record = RunRecord()
    controls: FalsificationSettings | None = build(config.falsification) if config.falsification else None
    with record.stage("cohort"):
        root: Path = build(config.data)
        run.agree("inputs", _input_hashes(root))
        readings = _readings(config, root, record)
        endpoint = readings[0].endpoint
        cohort = read_manifest(root, [one.endpoint for one in readings])
        further = [one.endpoint.name for one in readings[1:]]  # and the split is drawn before anybody else is left out
        cohort, held_out = with_outcome(cohort, endpoint, further, build(config.split.held_out), record)
        cohort = with_complete_cases(cohort, list(config.complete_cases or ()), record)
        untrained = _predictor(config, (), None, folder)
        untrained.check(cohort)
        if config.ablation and not config.split.folds:
            raise ValueError("ablation=true judges in folds, and split.folds has none: choose a split that has them")
        ablated = ablations(_plain(config.model), endpoint.time is not None) if config.ablation else {}
        groups = _groups(cohort, config, record)
        if config.shuffle_labels:
            cohort = shuffle_outcomes(cohort, endpoint.name, config.seed, own_endpoints(untrained))
    with record.stage("features"):
        cohort, before = with_features(cohort, untrained, config, record, folder)
        chosen = selected_by_everybody(cohort, untrained, config, record) if config.before_split else None
        given, config = config, _of_chosen(config, chosen)
        run.agree("features", {"sha256": _features_hash(cohort)})
    with record.stage("split"):
        development = cohort.where(lambda patient: patient.id not in held_out)
        judged = cohort.where(lambda patient: patient.id in held_out)
        _say_split(development, judged, endpoint.name, record)
    tables = _Tables(readings, config.name, groups)
    with progress("Fitting folds") as show:
        model = _nested(config, readings, run, show)
        with record.stage("folds"), threadpool_limits(1):  # threaded sums change the last bits from run to run
            model.judge(development)
    for judged_fold in model.out_of_fold:
        fold = judged_fold.fold
        test = development.select(fold.test)
        tables.add(test, judged_fold.prediction, "out_of_fold", fold.name, fold.repeat)
        tables.log(judged_fold.history, fold.name, fold.repeat)
    with record.stage("model"), threadpool_limits(1):
        model.freeze(development, checkpoint=run.checkpoint(fit_name(())))
        tables.add(development, model.predict(development), "apparent")
        if len(judged):
            tables.add(judged, model.predict(judged), "held_out")
        tables.log(model.history, "", "")
        of_search = getattr(model.model, "notes", ())
        for note in [*of_search, *step_notes(model.frozen), *(note for one in model.fitted for note in one.notes)]:
            record.say(note)
        before = {**before, "complete_cases": list(config.complete_cases or ())}
        if chosen_settings := getattr(model.model, "chosen", None):
            before = {**before, "tuned": dict(chosen_settings)}
        save_model(folder / "model", model.frozen, development, model.fitted, config.name, before)
        _say_selection(model, development, judged, record)
        if getattr(model.frozen, "imaging", None) is not None and hasattr(model.frozen, "attribution"):
            _write_attribution(model, judged if len(judged) else development, folder, record)
    if controls is not None:
        with record.stage("falsification"), threadpool_limits(1):
            found = _falsify(config, controls, run, cohort, model, development, judged, root)
        for name, one in found.scores:
            tables.add(one.cohort, one.prediction, one.partition, one.fold, one.repeat, control=name)
        write_json(found.record, folder / "falsification.json")
    if ablated:
        nodes = ablations(_plain(config.model), endpoint.time is not None)  # of features chosen beforehand too
        with record.stage("ablation"), threadpool_limits(1), progress("Ablations") as show:
            for name, one in _ablated(nodes, config, run, model, development, judged, record, show):
                tables.add(one.cohort, one.prediction, one.partition, one.fold, one.repeat, control=name)
    with record.stage("appraisal"), threadpool_limits(1):
        trained = Trained(config.name, endpoint, model, development, judged.evaluable(endpoint.name))
        _appraise(config, run, trained, record)
    tables.write(folder)
    shutil.copytree(folder / "model", new_folder(Path("checkpoints") / config.name), dirs_exist_ok=True)
    _write_record(run, given, root, record)
    run.finish()
    if str(config.logger.get("_target_")).endswith(".wandb_logger"):
        from radnet.tracking import send_run  # W&B, which every other run does without

        send_run(folder)
    return folder


def shuffle_outcomes(cohort: Cohort, endpoint: str, seed: int, further: Sequence[str] = ()) -> Cohort:
    """Return the cohort with the known outcomes of an endpoint permuted: nothing is left to be learned.

    Further endpoints that are learned at once go with it from patient to patient.
    """
    known = cohort.evaluable(endpoint)
    order = np.random.default_rng([seed, 0]).permutation(len(known))
    learned = (endpoint, *further)
    drawn = {
        one: {name: known.patients[place].outcomes.get(name) for name in learned}
        for one, place in zip(known.ids, order, strict=True)
    }
    patients = tuple(replace(one, outcomes={**one.outcomes, **drawn.get(one.id, {})}) for one in cohort.patients)
    return replace(cohort, patients=patients)


class _Tables:
    """The prediction tables of a run, growing by one model's predictions at a time."""

    def __init__(self, readings: Sequence[Reading], model: str, groups: pd.DataFrame) -> None:
        self.readings = readings
        self.model = model
        self.groups = groups
        self.patients: list[pd.DataFrame] = []
        self.lesions: list[pd.DataFrame] = []
        self.epochs: list[dict[str, object]] = []

    def add(
        self,
        cohort: Cohort,
        prediction: Prediction,
        partition: str,
        fold: str = "",
        repeat: str = "",
        control: str = "",
    ) -> None:
        first, *others = self.readings
        known = {name for patient in cohort.patients for name, one in patient.outcomes.items() if one is not None}
        read = [(first, prediction)] + [
            (one, prediction.also[one.endpoint.name])
            for one in others
            if one.endpoint.name in known and one.endpoint.name in prediction.also
        ]
        for reading, as_read in read:
            name = (control or self.model) + ("_negated" if reading.risk == "negate" else "")
            rows = prediction_rows(cohort, as_read, reading.endpoint, name, partition, fold, repeat)
            self.patients.append(rows[0].join(self.groups, on="patient_id"))
            if not control:  # a control is of the patient
                self.lesions.append(rows[1])

    def log(self, history: History, fold: str, repeat: str) -> None:
        self.epochs += [{"fold": fold, "repeat": repeat, **epoch} for epoch in history]

    def write(self, folder: Path) -> None:
        order = ["held_out", "out_of_fold", "apparent"]
        for tables, name in ((self.patients, "predictions"), (self.lesions, "lesion_predictions")):
            whole = pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)
            whole = whole.sort_values("partition", key=lambda column: column.map(order.index), kind="stable")
            write_table(whole, folder / f"{name}.parquet")
        write_table(pd.DataFrame(self.epochs, columns=_LOG_COLUMNS), folder / "train_log.csv")


def _readings(config: DictConfig, root: Path, record: RunRecord) -> list[Reading]:
    """Return how the score is read: on the endpoint learned, and on those further ones whose columns are there."""
    endpoint: Endpoint = build(config.endpoint)
    horizons = tuple(config.horizons or ())
    if horizons and config.horizon_unit not in (None, endpoint.time_unit):
        raise ValueError(
            f"horizons={list(horizons)} are {config.horizon_unit}, and endpoint {endpoint.name} is in "
            f"{endpoint.time_unit or 'no time at all'}: give horizons=[…] horizon_unit={endpoint.time_unit or 'null'}"
        )
    readings = [Reading(endpoint, build(config.cutoff), horizons=horizons)]
    columns = set(read_table(root / "clinical.csv").columns) if (root / "clinical.csv").is_file() else set()
    for reading in (build(one) for one in (config.also or {}).values()):
        if reading.endpoint.name == endpoint.name:  # endpoint=os, where the score is read on os anyway
            continue
        absent = set(reading.endpoint.columns) - columns
        if not absent:
            readings.append(reading)
        elif columns:
            name = reading.endpoint.name
            record.say(f"clinical.csv has no column {', '.join(sorted(absent))}: the score is not read on {name}")
    return readings


def _say_split(development: Cohort, judged: Cohort, endpoint: str, record: RunRecord) -> None:
    everybody, judged = judged, judged.evaluable(endpoint)
    for name, part in (("development", development), ("held_out", judged)):
        events = int(part.events(endpoint).sum()) if len(part) else 0
        record.counts[name] = {"patients": len(part), "events": events, "centres": sorted(set(part.centres))}
    if len(everybody) > len(judged):
        record.counts["held_out_for_further_endpoints"] = len(everybody) - len(judged)
    share = shared_centre_fraction(development, judged)
    if share > 0:
        record.counts["held_out_share_from_training_centres"] = round(share, 3)
        console.print(
            f"{share:.1%} of the held-out patients come from a centre that is also learned from: "
            "this judges new patients, not new hospitals"
        )


def _features_hash(cohort: Cohort) -> str:
    """Hash what the cohort's models read of its images, which may change while a run is interrupted."""
    rows = pd.DataFrame() if cohort.features is None else cohort.features.rows
    found = hashlib.sha256(pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes())
    if cohort.patches is not None:
        found.update(json.dumps(cohort.patches.provenance, default=str, sort_keys=True).encode())
    return found.hexdigest()


def _groups(cohort: Cohort, config: DictConfig, record: RunRecord) -> pd.DataFrame:
    """Return the group of each patient that the model is judged within, of those whose column the cohort has."""
    known = {column for one in cohort.patients for column in one.clinical}
    groups = {str(name): Group(**given) for name, given in (config.subgroups or {}).items()}
    if absent := [name for name, one in groups.items() if one.column not in known]:
        columns = ", ".join(groups[name].column for name in absent)
        record.say(f"clinical.csv has no column {columns}: not judged within {', '.join(absent)}")
    return group_table(cohort, {name: one for name, one in groups.items() if name not in absent})


def _nested(
    config: DictConfig, readings: Sequence[Reading], run: RunFolder, show: Callable[[int, int, str], None]
) -> NestedPredictor:
    """Build the configured predictor within the folds of the split, and within these the folds that fit cut-offs."""

    def make(place: Place, checkpoint: Path | None) -> Predictor:
        return _predictor(config, place, checkpoint, run.path)

    levels = [build(one) for one in (config.split.folds, config.split.inner) if one is not None]
    return NestedPredictor(make, levels, readings, run.once, progress=show, read_on=config.read_on)


def _say_selection(model: NestedPredictor, development: Cohort, judged: Cohort, record: RunRecord) -> None:
    """Count the features left at each step; tell of too many for the events there are, and of a score that drifted."""
    left = model.frozen.selection()
    if left:
        record.counts["selection"] = {step: len(names) for step, names in left.items()}
        *_, last = left
        record.counts["events_per_feature"] = _events_per(development.events(model.endpoint), len(left[last]))
        if not left[last]:
            record.say("no feature was selected: every patient has the same score")
        elif record.counts["events_per_feature"] < _FEW_EVENTS and _weighs_features(model):
            record.say(
                f"{record.counts['events_per_feature']:g} events for each of {len(left[last])} features selected: "
                f"below {_FEW_EVENTS} their weights are mostly chance"
            )
    if len(judged) > 1:
        training = model.frozen.predict(development).patients["score"]
        if told := score_drift(model.frozen.predict(judged).patients["score"], float(training.std(ddof=1))):
            record.say(told)


def _write_attribution(model: NestedPredictor, shown: Cohort, folder: Path, record: RunRecord) -> None:
    try:
        table = model.frozen.attribution(shown)  # type: ignore[attr-defined]
    except ValueError as fault:
        record.say(f"tables/attribution.csv: not made: {fault}")
    else:
        write_table(table, folder / "tables" / "attribution.csv")


def _weighs_features(model: NestedPredictor) -> bool:
    steps = getattr(model.frozen, "steps", None)
    of_scores = hasattr(model.frozen, "members")  # a stack weighs scores, of which there are few
    return steps is not None and hasattr(steps[-1], "coef_") and not of_scores


def _events_per(event: np.ndarray, features: int) -> float:
    return round(float(event.sum()) / max(features, 1), 2)


def _falsify(
    config: DictConfig,
    settings: FalsificationSettings,
    run: RunFolder,
    cohort: Cohort,
    model: NestedPredictor,
    development: Cohort,
    judged: Cohort,
    root: Path,
) -> Refutation:
    """Run the controls, in the folds of the model and on its held-out patients, and look for traces of a leak."""
    regions = model.regions
    endpoint = model.endpoint
    cohort, judged = cohort.evaluable(endpoint), judged.evaluable(endpoint)

    def of_model(permuted: Cohort, number: int) -> float:
        if number == 0:
            return mean_discrimination(model, permuted)
        once = kept_under(run.once, f"permutation_{number}")
        folds = model.folds[:1]
        again = NestedPredictor(
            lambda place, checkpoint: _predictor(config, place or (0,), checkpoint, run.path),
            folds,
            model.readings[:1],
            once,
        )
        return mean_discrimination(again.judge(permuted), permuted)

    changed = None
    if regions and settings.voxels:
        wanted = settings.voxels["patients"]
        drawn = sample_of_patients(development, wanted, config.seed, endpoint)
        if len(judged):
            drawn = [*drawn, *sample_of_patients(judged, max(wanted // 2, 1), config.seed, endpoint)]
        changed = _changed_images(config, cohort.select(drawn), endpoint)
    inputs = Inputs(
        cohort,
        regions,
        model.aggregate,
        model.clinical,
        changed,
        reads_patches=getattr(model.model, "imaging", None) is not None,
    )
    design = Design(endpoint, Cohort(development.patients), tuple(judged.ids), model.folds, model.readings[0], run.once)
    found = refute(settings, design, inputs, of_model, config.seed, progress)
    found.record["leak_checks"] = leak_checks(cohort, endpoint, development, judged, root)
    for one in found.record["not_run"]:
        console.print(f"{one['model']}: not run: {one['why']}", markup=False)
    return found


def _ablated(
    nodes: Mapping[str, Mapping[str, Any]],
    config: DictConfig,
    run: RunFolder,
    model: NestedPredictor,
    development: Cohort,
    judged: Cohort,
    record: RunRecord,
    show: Callable[[int, int, str], None],
) -> Iterator[tuple[str, ControlScores]]:
    """Judge the model with branches taken out, in its own folds and on its held-out patients."""

    def make(node: Mapping[str, Any], place: Place, checkpoint: Path | None) -> Predictor:
        changed = config.copy()
        changed.model = node
        return _predictor(changed, place or (0,), checkpoint, run.path)  # the seed of (), and no logger

    yield from run_ablations(
        nodes, make, model.folds[0], model.readings, development, judged, run.once, record.say, show
    )


def _changed_images(config: DictConfig, cohort: Cohort, endpoint: str) -> Callable[[], Mapping[str, FeatureTable]]:
    """Return what measures the lesions of these patients again, on changed images."""

    def measured() -> Mapping[str, FeatureTable]:
        with progress("Measuring controls") as show:
            return voxel_controls(
                cohort,
                build(config.radiomics),
                engine=config.engine,
                workers=config.workers or os.cpu_count() or 1,
                cache=Path(config.cache) / "features",
                sample=len(cohort),
                seed=config.seed,
                endpoint=endpoint,
                progress=show,
            )

    return measured


def _appraise(config: DictConfig, run: RunFolder, trained: Trained, record: RunRecord) -> None:
    """Write the tables of the run; say what could not be made."""

    def make(place: Place, checkpoint: Path | None) -> Predictor:
        return _predictor(config, place, checkpoint, run.path)

    covariates = trained.model.clinical if config.covariates is None else config.covariates
    found = appraise(
        trained,
        run.path / "tables",
        build(config.optimism),
        tuple(covariates or ()),
        outcome_columns(),
        make,
        run.once,
        config.seed,
        progress,
    )
    for message in found.messages:
        record.say(message)
    if found.selection_stability is not None:
        record.counts["selection_stability"] = asdict(found.selection_stability)


def _of_chosen(config: DictConfig, chosen: Sequence[str] | None) -> DictConfig:
    """Return the configuration with features chosen beforehand as the first step of whatever reads features."""
    if chosen is None:
        return config

    changed = config.copy()
    for path in model_paths(config.model):
        node = OmegaConf.select(changed, path)
        names = [*chosen, *site_columns(node.get("sites") or ())]
        step = {"before_split": {"_target_": "radnet.models.pipeline.Chosen", "names": names}}
        for key in ("prepare", "steps") if node.get("regions") else ():
            if key in node:
                OmegaConf.update(changed, f"{path}.{key}", step | _plain(node[key]), merge=False)
    return changed


def _plain(node: DictConfig) -> dict[str, Any]:
    """Return a part of the configuration as plain values, what it refers to put in."""
    return OmegaConf.to_container(node, resolve=True)  # type: ignore[return-value]


def _predictor(config: DictConfig, place: Place, checkpoint: Path | None, folder: Path) -> Predictor:
    """Build an untrained predictor; only the one that learns from everybody reports to the logger."""
    seed = config.seed + sum(number * step for number, step in zip(place, (1000, 1), strict=False))
    changes: dict[str, Any] = {"seed": seed} if "seed" in config.model else {}
    predictor = build(config.model, **changes)
    if hasattr(predictor, "checkpoint"):
        predictor.checkpoint = checkpoint
    if place == () and hasattr(predictor, "logger"):
        predictor.logger = build(config.logger)(folder)
    return predictor


def _input_hashes(root: Path) -> dict[str, str]:
    names = ("clinical.csv", "lesions.csv", "features.parquet")
    return {name: file_hash(root / name) for name in names if (root / name).is_file()}


def _write_record(run: RunFolder, config: DictConfig, root: Path, record: RunRecord) -> None:
    text = OmegaConf.to_yaml(config, resolve=True)
    write_atomically(run.path / "config.yaml", lambda path: path.write_text(text, encoding="utf-8"))
    write_json(
        {
            "experiment": config.name,
            "protocol": config.protocol,
            "seed": config.seed,
            "shuffle_labels": config.shuffle_labels,
            "created": datetime.now().astimezone().isoformat(timespec="seconds"),
            "cohort": os.path.relpath(root, run.path),
            "input_sha256": _input_hashes(root),
            "counts": record.counts,
            "excluded": record.excluded,
            "messages": record.messages,
            "seconds": record.seconds,  # of the last start, where there was more than one
            "resumed": run.resumed,
            "versions": versions(),
            "git_commit": git_commit(),
        },
        run.path / "run.json",
    )
