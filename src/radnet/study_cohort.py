"""The patients of a run: outcomes known, lesions measured, targets chosen; who is left out, and why."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from radnet.cohort import Cohort, Endpoint
from radnet.config import build
from radnet.console import console, progress
from radnet.data.groups import complete_cases
from radnet.data.split import HeldOut
from radnet.data.targets import select_targets
from radnet.imaging.patch import PatchSettings
from radnet.predictors.base import (
    Predictor,
    lesion_features,
    measured_lesions,
    outcome_array,
    repeated_delineations,
)
from radnet.predictors.frozen_stack import unread_patients
from radnet.radiomics.extract import extract_cohort
from radnet.radiomics.robustness import perturbed_features, with_perturbed
from radnet.run_record import RunRecord
from radnet.tables import write_table


def with_outcome(
    cohort: Cohort, endpoint: Endpoint, further: Sequence[str], held_out: HeldOut, record: RunRecord
) -> tuple[Cohort, set[str]]:
    """Return the patients whose outcome is known, and who of them is held out.

    Nobody learns from a patient who is held out: if his outcome for the endpoint learned is unknown, one for a further
    endpoint lets him stay, to be judged on that.

    Args:
        cohort: Patients of known and of unknown outcome.
        endpoint: Endpoint learned.
        further: Names of the further endpoints that the score is read on.
        held_out: Names the patients that no model learns from.
        record: Grows by counts, exclusions and a message.

    Returns:
        The patients, and the ids of those held out.

    Raises:
        ValueError: If of nobody the outcome for the endpoint learned is known.
    """
    known = set(cohort.evaluable(endpoint.name).ids)
    if not known:
        raise ValueError(f"no patient has a known outcome for endpoint {endpoint.name} (column {endpoint.event})")
    of_further = {one for name in further for one in cohort.evaluable(name).ids} - known
    apart = set(held_out(cohort.select(known | of_further), endpoint.name))
    judged = of_further & apart
    kept = cohort.select(known | judged)
    record.counts["patients"] = len(cohort)
    record.counts["patients_with_outcome"] = len(kept)
    unknown = sorted(set(cohort.ids) - set(kept.ids))
    record.excluded |= dict.fromkeys(unknown, f"outcome {endpoint.name} unknown")
    if unknown:
        console.print(f"{len(unknown)} of {len(cohort)} patients have no known {endpoint.name} and are left out")
    if judged:
        record.say(
            f"{len(judged)} held-out patients have no known {endpoint.name} and are judged on {' and '.join(further)}"
        )
    return kept, apart


def with_complete_cases(cohort: Cohort, columns: Sequence[str], record: RunRecord) -> Cohort:
    """Return the patients of whom every one of some clinical columns is known.

    Raises:
        ValueError: If nobody is left.
    """
    if not columns:
        return cohort
    complete, reasons = complete_cases(cohort, columns)
    record.counts["patients_complete"] = len(complete)
    record.excluded |= reasons
    if not len(complete):
        raise ValueError(f"no patient has {', '.join(columns)}: the columns are empty")
    if reasons:
        record.say(f"{len(reasons)} of {len(cohort)} patients lack {', '.join(columns)} and are left out")
    return complete


def with_features(
    cohort: Cohort, untrained: Predictor, config: DictConfig, record: RunRecord, folder: Path
) -> tuple[Cohort, Mapping[str, Any]]:
    """Measure lesions and cut patches as the model reads them, choose targets, leave out patients without any.

    Of a model that reads patches alone lesions are measured too where targets are chosen by size, or volume is a
    control.

    Args:
        cohort: Patients of known outcome.
        untrained: The model; nothing is measured or cut for one that sees no lesion.
        config: Of the run.
        record: Grows by counts, exclusions and messages.
        folder: Of the run; ``tables/targets.csv`` goes there, and ``tables/patches.csv``: why a lesion has no patch,
            and what is remarked on one it has.

    Returns:
        The cohort, and what a new cohort must go through before the model sees it.

    Raises:
        ValueError: If ``before_split`` is to select features for a model that reads none, lesions.csv lacks a channel
            that the patches name, or nobody is left.
    """
    regions, imaging = untrained.regions, getattr(untrained, "imaging", None)
    if config.before_split and not regions:
        raise ValueError("before_split selects features, and this model reads none: leave it out (before_split=null)")
    if not regions and imaging is None:
        return cohort, {}
    if imaging is not None:
        _refuse_channels(cohort, imaging)
    before: dict[str, Any] = {}
    if regions or config.targets or config.falsification:
        cohort, before = _with_measured(cohort, untrained, config, record, folder)
    if imaging is not None:
        cohort = _with_patches(cohort, imaging, config, record, folder)
    return _with_a_lesion(cohort, untrained, record), before


def _refuse_channels(cohort: Cohort, settings: PatchSettings) -> None:
    """Raise a ValueError if no patches can be cut of the cohort's channels, before its lesions are measured."""
    from radnet.learning.patches import first_channel  # MONAI, which a model of features does without

    first_channel(cohort, settings)


def _with_measured(
    cohort: Cohort, untrained: Predictor, config: DictConfig, record: RunRecord, folder: Path
) -> tuple[Cohort, dict[str, Any]]:
    repeats = bool(config.before_split) or getattr(untrained, "reads_repeats", False)
    if cohort.features is None:
        cohort = _measured(cohort, repeats, config)
    assert cohort.features is not None
    primary = cohort.features.rows.drop_duplicates(["patient_id", "lesion_id", "region", "channel"])
    failed = primary[primary["status"] != "ok"]
    record.counts["lesion_rows"] = len(primary)
    record.counts["lesion_rows_failed"] = len(failed)
    record.counts["features"] = len(cohort.features.names)
    if len(cohort.features.rows) > len(primary):
        record.counts["further_delineations"] = len(cohort.features.rows) - len(primary)
    for row in failed.itertuples():
        console.print(f"patient {row.patient_id}, lesion {row.lesion_id}: not measured: {row.status}", markup=False)
    before: dict[str, Any] = {}
    if config.targets:
        rule = build(config.targets)
        cohort, table = select_targets(cohort, rule)
        write_table(table, folder / "tables" / "targets.csv")
        record.counts["lesions"] = len(table)
        record.counts["target_lesions"] = int(table["target"].sum())
        if record.counts["target_lesions"] < len(table):
            record.say(f"{record.counts['target_lesions']} of {len(table)} lesions are targets: tables/targets.csv")
        before["targets"] = {**asdict(rule), "first": list(rule.first)}
    return cohort, before


def _with_patches(
    cohort: Cohort, settings: PatchSettings, config: DictConfig, record: RunRecord, folder: Path
) -> Cohort:
    from radnet.learning.patches import cohort_patches, remark_counts  # MONAI, which a model of features does without

    with progress("Cutting patches") as show:
        patches = cohort_patches(
            cohort,
            settings,
            cache=Path(config.cache) / "patches",
            workers=config.workers or os.cpu_count() or 1,
            progress=show,
        )
    write_table(patches.rows[["patient_id", "lesion_id", "status", "remark"]], folder / "tables" / "patches.csv")
    failed = patches.rows[patches.rows["status"] != "ok"]
    record.counts["patches"] = len(patches.rows) - len(failed)
    record.counts["patches_failed"] = len(failed)
    for row in failed.itertuples():
        console.print(f"patient {row.patient_id}, lesion {row.lesion_id}: no patch: {row.status}", markup=False)
    for told in remark_counts(patches):
        record.say(told)
    return cohort.with_patches(patches)


def _measured(cohort: Cohort, repeats: bool, config: DictConfig) -> Cohort:
    settings = build(config.radiomics)
    how = {"engine": config.engine, "workers": config.workers or os.cpu_count() or 1}
    how["cache"] = Path(config.cache) / "features"
    first = cohort.first_delineations()
    several = repeats and cohort.patients != first.patients
    if repeats and not several and not config.robustness:
        raise ValueError(
            "the model asks how stable features are, and no lesion is delineated twice: give lesions.csv rows of a "
            "second reader or repeat, or robustness=perturbations to have some lesions measured perturbed"
        )
    with progress("Measuring lesions") as show:
        features = extract_cohort(cohort if several else first, settings, progress=show, **how)
    if repeats and config.robustness:
        with progress("Measuring perturbed lesions") as show:
            perturbed = perturbed_features(
                first, build(config.robustness), settings, seed=config.seed, progress=show, **how
            )
        features = with_perturbed(features, perturbed)
    return cohort.with_features(features)


def selected_by_everybody(cohort: Cohort, untrained: Predictor, config: DictConfig, record: RunRecord) -> list[str]:
    """Return the features that ``config.before_split`` selects from all patients, those judged among them.

    Raises:
        ValueError: If the model is a stack that reads more than the lesion in one channel, or no feature is selected.
    """
    assert cohort.features is not None
    if "members" in config.model and (list(untrained.regions) != ["lesion"] or len(cohort.features.channels) > 1):
        raise ValueError(
            "before_split selects for a stack features of the lesion in one channel; a member of this one reads more"
        )
    selector = build(config.before_split)
    if hasattr(selector, "learn"):
        selector.learn(repeated_delineations(cohort, untrained.regions))
    measured = cohort.select(measured_lesions(cohort, untrained.regions).index.get_level_values("patient_id"))
    known = measured.evaluable(untrained.endpoint)
    matrix = lesion_features(known, untrained.regions, untrained.aggregate).patients
    matrix = matrix.fillna(matrix.median())
    follow_up = bool(np.isfinite(known.times(untrained.endpoint)).any())
    selector.fit(matrix, outcome_array(known, untrained.endpoint, follow_up))
    kept = [str(name) for name in matrix.columns[selector.get_support()]]
    if not kept:
        raise ValueError(f"before_split selects none of {matrix.shape[1]} features: there is nothing to learn from")
    record.counts["features_before_split"] = len(kept)
    record.say(
        f"{len(kept)} of {matrix.shape[1]} features were selected before the split, from all patients: "
        "those judged had a say in it"
    )
    return kept


def _with_a_lesion(cohort: Cohort, untrained: Predictor, record: RunRecord) -> Cohort:
    unread = unread_patients(untrained, cohort)
    record.excluded |= unread
    record.counts["patients_measured"] = len(cohort) - len(unread)
    for reason in dict.fromkeys(unread.values()):
        without = [patient for patient in unread if unread[patient] == reason]
        console.print(f"{len(without)} patients have {reason} and are left out: {', '.join(without[:5])}")
    if len(unread) == len(cohort):
        raise ValueError("no lesion of the cohort could be measured; the reasons stand above")
    return cohort.where(lambda patient: patient.id not in unread)
