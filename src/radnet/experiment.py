"""One experiment: cohort, features, split, folds, frozen model, and the prediction table all of it ends in."""

import hashlib
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig, OmegaConf
from threadpoolctl import threadpool_limits

from radnet import __version__
from radnet.appraisal.appraise import Trained, appraise
from radnet.cohort import Cohort, Endpoint, FeatureTable, Lesion
from radnet.config import build, outcome_columns
from radnet.console import console, progress
from radnet.data.manifest import read_manifest
from radnet.data.split import shared_centre_fraction
from radnet.falsification.judging import Design, kept_under, mean_auc
from radnet.falsification.leaks import leak_checks
from radnet.falsification.refute import Inputs, Refutation, refute
from radnet.falsification.settings import FalsificationSettings
from radnet.falsification.voxels import sample_of_patients, voxel_controls
from radnet.files import file_hash, write_atomically, write_json
from radnet.predictors.base import History, Prediction, Predictor, measured_lesions
from radnet.predictors.folder import save_model
from radnet.predictors.nested import NestedPredictor, Place, fit_name
from radnet.predictors.rows import prediction_rows
from radnet.radiomics.extract import extract_cohort
from radnet.run_folder import RunFolder, new_folder
from radnet.tables import write_table

_LOG_COLUMNS = ["fold", "repeat", "epoch", "train_loss", "valid_loss", "valid_auroc"]
_LIBRARIES = (
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "SimpleITK",
    "pyradiomics",
    "torch",
    "pytorch-lightning",
    "monai",
)


@dataclass
class _Record:
    """What a run did, for run.json: seconds per stage, counts at each step, who was left out, what was not made."""

    seconds: dict[str, float] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)
    excluded: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 2)


def run_experiment(config: DictConfig) -> Path:
    """Train and predict as configured.

    Everything learned is learned from training patients: each fold's model and its cut-off from that fold's, the
    frozen model's cut-off from out-of-fold scores.

    A run that was interrupted goes on where it was, if ``config.output`` names its folder: fits that are done are not
    done again, and one that was under way goes on from its last checkpoint.

    Returns:
        The run folder: config.yaml, run.json, predictions.parquet, lesion_predictions.parquet, train_log.csv, model/.
    """
    run = RunFolder(config, {"versions": dict(versions()), "git_commit": _git_commit()})
    folder = run.path
    verb = "going on with" if run.resumed else "run:"
    console.print(f"{verb} {folder}; if interrupted, go on with output={folder}", markup=False, soft_wrap=True)
    record = _Record()
    endpoint: Endpoint = build(config.endpoint)
    controls: FalsificationSettings | None = build(config.falsification) if config.falsification else None
    with record.stage("cohort"):
        root: Path = build(config.data)
        run.agree("inputs", _input_hashes(root))
        cohort = _known(read_manifest(root, [endpoint]), endpoint, record)
        _predictor(config, (), None, folder).check(cohort)
        if config.shuffle_labels:
            cohort = shuffle_outcomes(cohort, endpoint.name, config.seed)
    with record.stage("features"):
        cohort = _with_features(cohort, config, record)
        run.agree("features", {"sha256": _features_hash(cohort)})
    with record.stage("split"):
        held_out = build(config.split.held_out)(cohort, endpoint.name)
        development = cohort.where(lambda patient: patient.id not in set(held_out))
        judged = cohort.select(held_out)
        _say_split(development, judged, endpoint.name, record)
    tables = _Tables(endpoint, config.name)
    with progress("Fitting folds") as show:
        model = _nested(config, run, show)
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
        if len(held_out):
            tables.add(judged, model.predict(judged), "held_out")
        tables.log(model.history, "", "")
        assert model.cutoff is not None
        cutoffs = {"score": {"value": model.cutoff.value, "rule": model.cutoff.rule, "fitted_on": "out_of_fold"}}
        save_model(folder / "model", model.frozen, development, endpoint, cutoffs, config.name)
    if controls is not None:
        with record.stage("falsification"), threadpool_limits(1):
            found = _falsify(config, controls, run, cohort, model, development, judged, root)
        for name, one in found.scores:
            tables.add(one.cohort, one.prediction, one.partition, one.fold, one.repeat, control=name)
        write_json(found.record, folder / "falsification.json")
    with record.stage("appraisal"), threadpool_limits(1):
        record.messages += _appraise(config, run, Trained(config.name, endpoint, model, development, judged))
    tables.write(folder)
    shutil.copytree(folder / "model", new_folder(Path("checkpoints") / config.name), dirs_exist_ok=True)
    _write_record(run, config, root, record)
    run.finish()
    return folder


def shuffle_outcomes(cohort: Cohort, endpoint: str, seed: int) -> Cohort:
    """Return the cohort with the outcomes of an endpoint permuted between patients: nothing is left to be learned."""
    order = np.random.default_rng([seed, 0]).permutation(len(cohort))
    drawn = [cohort.patients[place].outcomes[endpoint] for place in order]
    patients = tuple(
        replace(one, outcomes={**one.outcomes, endpoint: outcome})
        for one, outcome in zip(cohort.patients, drawn, strict=True)
    )
    return Cohort(patients, cohort.features)


class _Tables:
    """The prediction tables of a run, growing by one model's predictions at a time."""

    def __init__(self, endpoint: Endpoint, model: str) -> None:
        self.endpoint = endpoint
        self.model = model
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
        name = control or self.model
        patients, lesions = prediction_rows(cohort, prediction, self.endpoint, name, partition, fold, repeat)
        self.patients.append(patients)
        if not control:  # a control is of the patient
            self.lesions.append(lesions)

    def log(self, history: History, fold: str, repeat: str) -> None:
        self.epochs += [{"fold": fold, "repeat": repeat, **epoch} for epoch in history]

    def write(self, folder: Path) -> None:
        order = ["held_out", "out_of_fold", "apparent"]
        for tables, name in ((self.patients, "predictions"), (self.lesions, "lesion_predictions")):
            whole = pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)
            whole = whole.sort_values("partition", key=lambda column: column.map(order.index), kind="stable")
            write_table(whole, folder / f"{name}.parquet")
        write_table(pd.DataFrame(self.epochs, columns=_LOG_COLUMNS), folder / "train_log.csv")


def _known(cohort: Cohort, endpoint: Endpoint, record: _Record) -> Cohort:
    known = cohort.evaluable(endpoint.name)
    record.counts["patients"] = len(cohort)
    record.counts["patients_with_outcome"] = len(known)
    unknown = sorted(set(cohort.ids) - set(known.ids))
    record.excluded |= dict.fromkeys(unknown, f"outcome {endpoint.name} unknown")
    if not len(known):
        raise ValueError(f"no patient has a known outcome for endpoint {endpoint.name} (column {endpoint.event})")
    if unknown:
        console.print(f"{len(unknown)} of {len(cohort)} patients have no known {endpoint.name} and are left out")
    return known


def _with_features(cohort: Cohort, config: DictConfig, record: _Record) -> Cohort:
    """Measure lesions where the model reads features, and leave out patients without a measured one."""
    regions = list(config.model.get("regions") or [])
    if not regions:
        return cohort
    if cohort.features is None:
        settings = build(config.radiomics)
        with progress("Measuring lesions") as show:
            features = extract_cohort(
                _first_delineations(cohort),
                settings,
                engine=config.engine,
                workers=config.workers or os.cpu_count() or 1,
                cache=Path(config.cache) / "features",
                progress=show,
            )
        cohort = cohort.with_features(features)
    assert cohort.features is not None
    failed = cohort.features.rows[cohort.features.rows["status"] != "ok"]
    record.counts["lesion_rows"] = len(cohort.features.rows)
    record.counts["lesion_rows_failed"] = len(failed)
    record.counts["features"] = len(cohort.features.names)
    for row in failed.itertuples():
        console.print(f"patient {row.patient_id}, lesion {row.lesion_id}: not measured: {row.status}", markup=False)
    measured = set(measured_lesions(cohort, regions).index.get_level_values("patient_id"))
    without = [patient for patient in cohort.ids if patient not in measured]
    record.excluded |= dict.fromkeys(without, "no measured lesion")
    record.counts["patients_measured"] = len(measured)
    if without:
        console.print(f"{len(without)} patients have no measured lesion and are left out: {', '.join(without[:5])}")
    if not measured:
        raise ValueError("no lesion of the cohort could be measured; the reasons stand above")
    return cohort.select(measured)


def _first_delineations(cohort: Cohort) -> Cohort:
    """Return the cohort with one delineation per lesion and channel: reader and repeat 1, or the first there is.

    Further readers and repeats serve studies of agreement.
    """

    def first(lesion: Lesion) -> Lesion:
        ordered = sorted(lesion.delineations, key=lambda one: (one.reader != "1", one.repeat != "1"))
        by_channel = {one.channel: one for one in reversed(ordered)}
        return replace(lesion, delineations=tuple(one for one in lesion.delineations if one is by_channel[one.channel]))

    patients = (replace(one, lesions=tuple(first(lesion) for lesion in one.lesions)) for one in cohort.patients)
    return Cohort(tuple(patients))


def _say_split(development: Cohort, judged: Cohort, endpoint: str, record: _Record) -> None:
    for name, part in (("development", development), ("held_out", judged)):
        events = int(part.events(endpoint).sum()) if len(part) else 0
        record.counts[name] = {"patients": len(part), "events": events, "centres": sorted(set(part.centres))}
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
    return hashlib.sha256(pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes()).hexdigest()


def _nested(config: DictConfig, run: RunFolder, show: Callable[[int, int, str], None]) -> NestedPredictor:
    """Build the configured predictor within the folds of the split, and within these the folds that fit cut-offs."""

    def make(place: Place, checkpoint: Path | None) -> Predictor:
        return _predictor(config, place, checkpoint, run.path)

    levels = [build(one) for one in (config.split.folds, config.split.inner) if one is not None]
    return NestedPredictor(make, levels, build(config.cutoff), run.once, progress=show)


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
    regions = tuple(config.model.get("regions") or ())
    endpoint = model.endpoint

    def model_auc(permuted: Cohort, number: int) -> float:
        if number == 0:
            return mean_auc(model, permuted)
        once = kept_under(run.once, f"permutation_{number}")
        folds = model.folds[:1]
        again = NestedPredictor(
            lambda place, checkpoint: _predictor(config, place or (0,), checkpoint, run.path), folds, model.rule, once
        )
        return mean_auc(again.judge(permuted), permuted)

    changed = None
    if regions and settings.voxels:
        wanted = settings.voxels["patients"]
        drawn = sample_of_patients(development, wanted, config.seed, endpoint)
        if len(judged):
            drawn += sample_of_patients(judged, max(wanted // 2, 1), config.seed, endpoint)
        changed = _changed_images(config, cohort.select(drawn), endpoint)
    inputs = Inputs(
        cohort,
        regions,
        config.model.get("aggregate") or "mean",
        tuple(config.model.get("clinical") or ()),
        changed,
    )
    design = Design(endpoint, Cohort(development.patients), tuple(judged.ids), model.folds, model.rule, run.once)
    found = refute(settings, design, inputs, model_auc, config.seed, progress)
    found.record["leak_checks"] = leak_checks(cohort, endpoint, development, judged, root)
    for one in found.record["not_run"]:
        console.print(f"{one['model']}: not run: {one['why']}", markup=False)
    return found


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


def _appraise(config: DictConfig, run: RunFolder, trained: Trained) -> list[str]:
    """Write the tables of the run; return what could not be made."""

    def make(place: Place, checkpoint: Path | None) -> Predictor:
        return _predictor(config, place, checkpoint, run.path)

    covariates = config.model.get("clinical") if config.covariates is None else config.covariates
    told = appraise(
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
    for message in told:
        console.print(message, markup=False)
    return told


def _predictor(config: DictConfig, place: Place, checkpoint: Path | None, folder: Path) -> Predictor:
    """Build an untrained predictor; only the one that learns from everybody reports to the logger."""
    seed = config.seed + sum(number * step for number, step in zip(place, (1000, 1), strict=False))
    changes: dict[str, Any] = {"seed": seed} if "seed" in config.model else {}
    predictor = build(config.model, **changes)
    if "trainer" in config.model:
        predictor.checkpoint = checkpoint
    if place == () and "logger" in config.model:
        predictor.logger = build(config.logger)(folder)
    return predictor


def _input_hashes(root: Path) -> dict[str, str]:
    names = ("clinical.csv", "lesions.csv", "features.parquet")
    return {name: file_hash(root / name) for name in names if (root / name).is_file()}


def _write_record(run: RunFolder, config: DictConfig, root: Path, record: _Record) -> None:
    text = OmegaConf.to_yaml(config, resolve=True)
    write_atomically(run.path / "config.yaml", lambda path: path.write_text(text, encoding="utf-8"))
    write_json(
        {
            "experiment": config.name,
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
            "git_commit": _git_commit(),
        },
        run.path / "run.json",
    )


def versions() -> Mapping[str, str]:
    """Return the versions of Python, radnet and the libraries that numbers depend on."""
    found = {"python": platform.python_version(), "radnet": __version__}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def _git_commit() -> str | None:
    """Return the commit of radnet's own checkout, or None where it was installed without one."""
    git = shutil.which("git")
    here = Path(__file__).parents[2]
    if git is None or not (here / ".git").exists():
        return None
    done = subprocess.run([git, "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)  # noqa: S603 - a fixed command
    return done.stdout.strip() or None
