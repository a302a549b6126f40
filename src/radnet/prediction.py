"""Scores of new patients by a frozen model: who can be scored, who is far from training, and what has drifted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from radnet.cohort import Cohort, Endpoint
from radnet.console import console, progress
from radnet.data.groups import complete_cases
from radnet.data.manifest import read_manifest
from radnet.data.targets import TargetRule, select_targets
from radnet.imaging.patch import PatchSettings
from radnet.models.pipeline import level_name
from radnet.predictors.base import lesions_seen, measured_lesions
from radnet.predictors.folder import ModelFolder, image_hashes, lesion_distance, load_model, patient_hash
from radnet.predictors.frozen_stack import unread_patients
from radnet.predictors.lesion_rows import lesion_sites, strange_sites
from radnet.predictors.nested import as_read
from radnet.predictors.rows import prediction_rows
from radnet.radiomics.engines import ENGINES
from radnet.radiomics.extract import extract_cohort
from radnet.radiomics.settings import ExtractionSettings
from radnet.tables import read_table, write_table

_NOTABLE = 0.5  # a standardised difference called medium since Cohen 1988
_FAR_SPREAD = 3.0  # times the training standard deviation


@dataclass(frozen=True)
class Scored:
    """What a frozen model says of a cohort.

    Attributes:
        model: The model as it was saved.
        predictions: Rows of predictions.parquet, with ``distance`` (see ``lesion_distance``; the farthest lesion of a
            patient), ``far_from_training`` (0 or 1, empty where his lesions cannot be compared with training's, as
            of a model of images alone) and ``outside_training`` (clinical columns with a value that training did not
            have).
        lesions: Rows of lesion_predictions.parquet.
        unscored: patient_id, centre, reason.
        unmeasured: patient_id, lesion_id, reason of each lesion that has no part in its patient's score.
        remarks: patient_id, lesion_id, remark of each patch that is not all it could be.
        drift: Per centre and feature the mean and SD in training and here, and their standardised difference.
        prevalence: Per centre the share with the event and its Clopper-Pearson interval, beside training's.
    """

    model: ModelFolder
    predictions: pd.DataFrame
    lesions: pd.DataFrame
    unscored: pd.DataFrame
    unmeasured: pd.DataFrame
    remarks: pd.DataFrame
    drift: pd.DataFrame
    prevalence: pd.DataFrame


def score(
    model_folder: Path,
    root: Path,
    cache: Path,
    workers: int = 1,
    centres: Sequence[str] | None = None,
    refuse_learned: bool = False,
) -> Scored:
    """Score the patients of a cohort folder with a model folder.

    Args:
        model_folder: ``model/`` of a run.
        root: Cohort folder; without the endpoint's columns its outcomes are unknown.
        cache: Folder of measured lesions; patches go to ``patches`` beside it.
        workers: Processes that measure lesions.
        centres: Only these, or every one.
        refuse_learned: Refuse the cohort if the model learned from any of its patients, images or centres: what is
            judged must be new.

    Raises:
        ValueError: If the model cannot be loaded, its extraction settings are not those the features were measured
            with, its patches are of another format or of a channel that is not here, a centre is unknown, nobody can be
            scored, or the model learned from somebody here.
    """
    model = load_model(model_folder)
    cohort = _of_centres(read_manifest(root, _endpoints(root, model)), centres, root)
    if refuse_learned:
        _refuse_learned(cohort, model)
    _refuse_other_patches(cohort, model)
    everybody = cohort
    cohort = _prepared(_measured(cohort, model, cache, workers), model)
    cohort = _with_patches(cohort, model, cache.with_name("patches"), workers)
    remarks = _remarks(cohort)
    cohort, unscored = _scorable(cohort, everybody, model)
    patients, lesions = _rows(cohort, model)
    return Scored(
        model=model,
        predictions=patients.join(_far(cohort, model), on="patient_id"),
        lesions=lesions,
        unscored=unscored,
        unmeasured=_unmeasured(cohort, model),
        remarks=remarks,
        drift=_drift(cohort, model),
        prevalence=_prevalence(cohort, model),
    )


def _endpoints(root: Path, model: ModelFolder) -> list[Endpoint]:
    """Return the endpoints of which the cohort has the columns: new patients have no outcome yet."""
    columns = set(read_table(root / "clinical.csv").columns if (root / "clinical.csv").is_file() else [])
    every = [one.endpoint for one in model.readings]
    return [one for one in every if set(one.columns) <= columns]


def _rows(cohort: Cohort, model: ModelFolder) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of the endpoint learned, and of further ones that the score is read on."""
    read, name = as_read(model.model.predict(cohort), model.readings), model.card["name"]
    first, *others = model.readings
    patients, lesions = prediction_rows(cohort, read, first.endpoint, name, "held_out")
    further = [
        prediction_rows(
            cohort, read.also[one.endpoint.name], one.endpoint, f"{name}_negated" if one.negate else name, "held_out"
        )[0]
        for one in others
    ]
    return pd.concat([patients, *further], ignore_index=True), lesions


def _of_centres(cohort: Cohort, centres: Sequence[str] | None, root: Path) -> Cohort:
    if centres is None:
        return cohort
    wanted = [str(centre) for centre in centres]
    if unknown := [centre for centre in wanted if centre not in cohort.centres]:
        raise ValueError(
            f"{root}: no patient of centre {', '.join(unknown)}; it has {', '.join(sorted(set(cohort.centres)))}"
        )
    return cohort.where(lambda patient: patient.centre in wanted)


def _refuse_learned(cohort: Cohort, model: ModelFolder) -> None:
    card = model.card
    faults = []
    if same := sorted(set(cohort.centres) & set(card["centres"])):
        faults.append(f"it learned from centre {', '.join(same)}: judge it on centres it has not seen (centres=[…])")
    known = set(card["patients_sha256"])
    if seen := [one.id for one in cohort.patients if patient_hash(one.centre, one.id) in known]:
        faults.append(f"it learned from {len(seen)} of these patients, such as {', '.join(seen[:5])}")
    if set(card["images_sha256"]) & image_hashes(cohort):
        images = set(card["images_sha256"])
        owners = [one.id for one in cohort.patients if image_hashes(Cohort((one,))) & images]
        faults.append(f"it learned from the images of {len(owners)} of these patients, such as {', '.join(owners[:5])}")
    if faults:
        raise ValueError("refused: this model was trained on what it would be judged on\n  - " + "\n  - ".join(faults))


def _measured(cohort: Cohort, model: ModelFolder, cache: Path, workers: int) -> Cohort:
    """Return the cohort with features measured exactly as the model's were, where it or its targets need any."""
    if not model.model.regions and "targets" not in model.card["before"]:
        return cohort
    extraction = model.card["extraction"]
    trained_with = extraction.get("fingerprint")
    if cohort.features is not None:
        found = cohort.features.provenance.get("fingerprint")
        engines = {extraction.get("engine"), cohort.features.provenance.get("engine")}
        alike = len(engines) == 1 or engines <= set(ENGINES)  # the engines of one name for a feature give one value
        if trained_with and found and not (found == trained_with and alike):
            raise ValueError(
                "features.parquet was measured with other settings or another engine than the model's "
                f"({extraction.get('engine')}, {extraction.get('settings')}): measure anew with the model's"
            )
        return cohort
    if not trained_with:
        raise ValueError(
            "the model learned from a table of features made elsewhere, so images cannot be measured alike: "
            "give the new patients' features.parquet, made in the same way"
        )
    settings = {
        key: tuple(value) if isinstance(value, list) else value for key, value in extraction["settings"].items()
    }
    with progress("Measuring lesions") as show:
        features = extract_cohort(
            cohort,
            ExtractionSettings(**settings),  # type: ignore[arg-type]
            engine=str(extraction["engine"]),
            workers=workers,
            cache=cache,
            progress=show,
        )
    if features.provenance["fingerprint"] != trained_with:
        raise ValueError("the model's extraction settings are not what its fingerprint says: train it anew")
    return cohort.with_features(features)


def _patch_settings(cohort: Cohort, model: ModelFolder) -> PatchSettings | None:
    """Return what patches are, None where none are cut.

    A model that reads features too scores patients without images by these.
    """
    settings: PatchSettings | None = getattr(model.model, "imaging", None)
    every = (one for patient in cohort.patients for lesion in patient.lesions for one in lesion.delineations)
    with_image = any(one.image is not None for one in every)
    return None if model.model.regions and not with_image else settings


def _refuse_other_patches(cohort: Cohort, model: ModelFolder) -> None:
    """Raise a ValueError if no patches can be cut as the model's were, before lesions are measured."""
    if (settings := _patch_settings(cohort, model)) is None:
        return
    from radnet.learning.patches import PATCH_FORMAT, first_channel  # MONAI, which a model of features does without

    known = model.model.patches  # type: ignore[attr-defined]
    if known.get("format") != PATCH_FORMAT:
        raise ValueError(
            f"the model learned from patches of format {known.get('format', 'unknown')}, and this radnet cuts patches "
            f"of format {PATCH_FORMAT}, in which the same image looks otherwise: train the model anew"
        )
    first_channel(cohort, settings, known["first_channel"])


def _with_patches(cohort: Cohort, model: ModelFolder, cache: Path, workers: int) -> Cohort:
    """Return the cohort with patches cut exactly as the model's were, on the same channel, if it reads any."""
    if (settings := _patch_settings(cohort, model)) is None:
        return cohort
    from radnet.learning.patches import cohort_patches, remark_counts  # MONAI, which a model of features does without

    first = model.model.patches["first_channel"]  # type: ignore[attr-defined]
    with progress("Cutting patches") as show:
        patches = cohort_patches(cohort, settings, cache=cache, workers=workers, progress=show, first=first)
    for told in remark_counts(patches):
        console.print(told, markup=False)
    return cohort.with_patches(patches)


def _remarks(cohort: Cohort) -> pd.DataFrame:
    """Return the patches with a remark, such as a further image that is not there, or a lesion cut off."""
    columns = ["patient_id", "lesion_id", "remark"]
    if cohort.patches is None:
        return pd.DataFrame(columns=columns)
    rows = cohort.patches.rows
    return rows.loc[rows["remark"] != "", columns].reset_index(drop=True)


def _prepared(cohort: Cohort, model: ModelFolder) -> Cohort:
    """Return the cohort as the model's own went through before it learned: targets chosen, features left out."""
    before = model.card["before"]
    if "targets" in before:
        cohort, _ = select_targets(cohort, TargetRule(**before["targets"]))
    return cohort


def _scorable(cohort: Cohort, everybody: Cohort, model: ModelFolder) -> tuple[Cohort, pd.DataFrame]:
    reasons: dict[str, str] = {}
    if tables := _tables_read(cohort, model):
        status = _first_faults(tables)
        reasons = {one: str(status.get(one, why)) for one, why in unread_patients(model.model, cohort).items()}
    for (patient, lesion), site in strange_sites(lesion_sites(cohort), _sites(model)).items():
        reasons.setdefault(patient, f"site of lesion {lesion} is {site}: the model reads {', '.join(_sites(model))}")
    if needed := model.card["before"].get("complete_cases"):
        reasons = {**complete_cases(cohort, needed)[1], **reasons}
    for column, known in model.card["clinical_schema"].items():
        for one in cohort.patients:
            if known["kind"] == "number" and isinstance(value := one.clinical.get(column), str):
                reasons.setdefault(one.id, f"{column} is {value!r}, in training it was a number")
    table = [
        {"patient_id": one.id, "centre": one.centre, "reason": reasons[one.id]}
        for one in everybody.patients
        if one.id in reasons
    ]
    unscored = pd.DataFrame(table, columns=["patient_id", "centre", "reason"])
    left = cohort.where(lambda patient: patient.id not in reasons)
    if not len(left):
        told = "; ".join(f"{row.patient_id}: {row.reason}" for row in unscored.head(5).itertuples())
        raise ValueError(f"no patient can be scored ({told})")
    return left, unscored


def _first_faults(tables: list[pd.DataFrame]) -> pd.Series:
    """Return the first fault told of each patient, of a table in which nothing of his is ``ok`` before any other."""
    rows = pd.concat(
        [
            table[["patient_id", "status"]].assign(
                some_ok=(table["status"] == "ok").groupby(table["patient_id"]).transform("any")
            )
            for table in tables
        ]
    )
    faults = rows[rows["status"] != "ok"].sort_values("some_ok", kind="stable")
    return faults.groupby("patient_id")["status"].first()


def _sites(model: ModelFolder) -> tuple[str, ...]:
    """Return the sites of lesions that the model, or a member of it, reads."""
    members = getattr(model.model, "members", {}).values()
    return next((one.sites for one in (model.model, *members) if getattr(one, "sites", ())), ())


def _unmeasured(cohort: Cohort, model: ModelFolder) -> pd.DataFrame:
    """Return the lesions of patients scored that could not be measured."""
    columns = ["patient_id", "lesion_id", "reason"]
    tables = _tables_read(cohort, model)
    if not tables:
        return pd.DataFrame(columns=columns)
    seen = set(lesions_seen(cohort, model.model.regions, cohort.patches is not None))
    rows = pd.concat([table[["patient_id", "lesion_id", "status"]] for table in tables])
    failed = rows[rows["status"] != "ok"].rename(columns={"status": "reason"})
    without = [key not in seen for key in zip(failed["patient_id"], failed["lesion_id"], strict=True)]
    return failed.loc[without, columns].drop_duplicates(["patient_id", "lesion_id"]).reset_index(drop=True)


def _tables_read(cohort: Cohort, model: ModelFolder) -> list[pd.DataFrame]:
    """Return the rows of features and of patches that the model reads; none for a model that sees no lesion."""
    features = [cohort.features.rows] if cohort.features is not None and model.model.regions else []
    return features + ([] if cohort.patches is None else [cohort.patches.rows])


def _far(cohort: Cohort, model: ModelFolder) -> pd.DataFrame:
    """Return ``distance``, ``far_from_training`` and ``outside_training``, indexed by patient_id."""
    distance = pd.Series(np.nan, index=cohort.ids)
    distribution = model.card["training_distribution"]
    if distribution:
        lesions = measured_lesions(cohort, model.model.regions)
        distance = lesion_distance(lesions, distribution).groupby(level="patient_id").max().reindex(cohort.ids)
    far = pd.array(distance > distribution.get("far_beyond", np.inf), dtype="Int64")
    if distribution or getattr(model.model, "imaging", None) is not None:
        far[distance.isna().to_numpy()] = pd.NA
    outside = _outside(cohort, model.card["clinical_schema"])
    far[np.array(outside, dtype=object) != ""] = 1
    return pd.DataFrame(
        {"distance": distance, "far_from_training": far, "outside_training": outside}, index=distance.index
    )


def _outside(cohort: Cohort, schema: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Name the clinical columns in which a patient has a value that no training patient had."""

    def strange(value: object, known: Mapping[str, object]) -> bool:
        if value is None or value != value:
            return False
        if known["kind"] == "category":
            return level_name(value) not in known["levels"]  # type: ignore[operator]
        return not known["minimum"] <= float(value) <= known["maximum"]  # type: ignore[arg-type, operator]

    return [
        " ".join(column for column, known in schema.items() if strange(patient.clinical.get(column), known))
        for patient in cohort.patients
    ]


def _drift(cohort: Cohort, model: ModelFolder) -> pd.DataFrame:
    columns = [
        "centre",
        "feature",
        "mean_training",
        "sd_training",
        "mean",
        "sd",
        "standardised_difference",
        "n_lesions",
    ]
    distribution = model.card["training_distribution"]
    if not distribution:
        return pd.DataFrame(columns=columns)
    lesions = measured_lesions(cohort, model.model.regions)[distribution["features"]]
    centre_of = pd.Series(cohort.centres, index=cohort.ids)
    centre = centre_of.loc[lesions.index.get_level_values("patient_id")].to_numpy()
    mean, sd = (np.array(distribution[name], dtype=float) for name in ("mean", "sd"))
    several = len(set(cohort.centres)) > 1
    tables = []
    for name in [*(["all"] if several else []), *sorted(set(cohort.centres))]:
        here = lesions if name == "all" and several else lesions[centre == name]
        pooled = np.sqrt((sd**2 + here.var(ddof=0).to_numpy()) / 2)
        with np.errstate(invalid="ignore", divide="ignore"):
            difference = (here.mean().to_numpy() - mean) / pooled
        values = (
            name if name != "all" or not several else "",
            here.columns,
            mean,
            sd,
            here.mean(),
            here.std(),
            difference,
        )
        tables.append(pd.DataFrame(dict(zip(columns[:-1], values, strict=True))).assign(n_lesions=len(here)))
    return pd.concat(tables, ignore_index=True)


def _prevalence(cohort: Cohort, model: ModelFolder) -> pd.DataFrame:
    known = cohort.evaluable(model.endpoint.name)
    rows = [("training", model.card["n_event"], model.card["n"])]
    centres = sorted(set(known.centres))
    for name in [*([""] if len(centres) > 1 else []), *centres]:
        here = known.where(lambda patient, name=name: name in ("", patient.centre))  # type: ignore[misc]
        rows.append((name, int(here.events(model.endpoint.name).sum()), len(here)))
    intervals = [binomtest(events, n).proportion_ci(method="exact") if n else None for _, events, n in rows]
    return pd.DataFrame(
        [
            {"centre": name, "prevalence": events / n, "lower": ci.low, "upper": ci.high, "n": n, "n_event": events}
            for (name, events, n), ci in zip(rows, intervals, strict=True)
            if ci is not None
        ]
    )


def write_scored(scored: Scored, folder: Path) -> Path:
    """Write predictions, who and what is left out or remarked on, and drift; return the predictions' path."""
    write_table(scored.predictions, folder / "predictions.parquet")
    write_table(scored.lesions, folder / "lesion_predictions.parquet")
    write_table(scored.unscored, folder / "tables" / "unscored.csv")
    write_table(scored.unmeasured, folder / "tables" / "unmeasured_lesions.csv")
    write_table(scored.remarks, folder / "tables" / "patch_remarks.csv")
    write_table(scored.drift, folder / "tables" / "drift.csv")
    write_table(scored.prevalence, folder / "tables" / "prevalence.csv")
    return folder / "predictions.parquet"


def drift_summary(scored: Scored) -> dict[str, Any]:
    """Return what a report tells of drift: prevalence, features beyond half a standard deviation, patients far away.

    Of a centre of which no lesion was measured nothing is told of features. How many patients are far is ``not
    measured`` where that is known of nobody.
    """
    features = []
    for centre, table in scored.drift.groupby("centre", sort=False):
        size = table["standardised_difference"].abs()
        if size.isna().all():
            continue
        features.append(
            {
                "centre": centre,
                "features": len(table),
                "beyond_half": int((size > _NOTABLE).sum()),
                "largest": str(table.loc[size.idxmax(), "feature"]),
                "by": float(table.loc[size.idxmax(), "standardised_difference"]),
            }
        )
    one_each = scored.predictions.drop_duplicates("patient_id")
    unknown = int(one_each["far_from_training"].isna().sum())
    far = "not measured" if unknown == len(one_each) else int(one_each["far_from_training"].sum())
    counts = {"scored": len(one_each), "far": far, "unknown": unknown, "unscored": len(scored.unscored)}
    of_endpoint = scored.predictions[scored.predictions["endpoint"] == scored.model.endpoint.name]
    return {
        "prevalence": scored.prevalence.to_dict("records"),
        "features": features,
        "far": counts,
        "score": score_drift(of_endpoint["score"], float(scored.model.card["training_score"]["sd"])),
    }


def score_drift(score: pd.Series, training_sd: float) -> str:
    """Return a warning where a score spreads over three times as far as among training patients, else nothing.

    Wang 2022 prints a hazard ratio of 3.87 per unit of its score in training and 1.002 in validation: one score, on two
    scales.
    """
    sd = float(score.std(ddof=1))
    if not sd > _FAR_SPREAD * training_sd:
        return ""
    return (
        f"drift: the score's standard deviation is {sd:.3g} here and was {training_sd:.3g} in training: "
        "features lie on another scale; cut-off, probabilities and hazard ratio per unit do not carry over"
    )


def drift_lines(summary: Mapping[str, Any]) -> list[str]:
    """Return a drift summary as lines to print."""
    lines = []
    for one in summary["prevalence"]:
        share = f"{one['prevalence']:.3f} ({one['lower']:.3f} to {one['upper']:.3f})"
        lines.append(f"prevalence · {one['centre'] or 'all'}: {share}, {one['n_event']} of {one['n']}")
    for one in summary["features"]:
        lines.append(
            f"drift · {one['centre'] or 'all'}: {one['beyond_half']} of {one['features']} features lie over half a "
            f"standard deviation from training, most {one['largest']} ({one['by']:+.2f})"
        )
    far = summary["far"]
    if summary["score"]:
        lines.append(summary["score"])
    told = str(far["far"])
    if far["unknown"] < far["scored"]:
        told += f" of {far['scored']} patients" + (f", {far['unknown']} not measured" if far["unknown"] else "")
    return [*lines, f"far from training: {told}; not scored: {far['unscored']}"]
