"""Questions on images, masks and radiomics features."""

from collections.abc import Mapping
from typing import Any

from radnet.report.checklist.items import Finding
from radnet.report.checklist.record import Record, class_name, needs_run, run_file, targets


def delineation(record: Record) -> Finding:
    """How lesions were delineated, which no mask tells."""
    if not record.run:
        return Finding("for the authors")
    rows = record.counts.get("lesion_rows")
    counted = f"{rows} rows of lesions measured; " if rows else ""
    return Finding("for the authors", f"{counted}one delineation of each lesion and channel was used", "#provenance")


def preparation(record: Record) -> Finding:
    """Preparation of images and features, the same for every patient."""
    found = images(record)
    if found.answer != "met":
        return found
    steps = ", ".join(
        key.rpartition(".")[2] for key, _ in targets(record, "") if ".prepare." in key or ".steps." in key
    )
    failed = record.counts.get("lesion_rows_failed")
    checked = f"; {failed} of {record.counts.get('lesion_rows')} lesions not measurable" if failed is not None else ""
    return Finding("met", f"the same for all patients: {found.evidence}; steps: {steps}{checked}", found.link)


def images(record: Record) -> Finding:
    """Resampling, normalisation and filters in one sentence."""
    if missing := _unless_radiomics(record):
        return missing
    settings = record.radiomics
    normalised = "intensities normalised" if settings.get("normalize") else "intensities as in the image"
    return Finding("met", f"{_resampled(settings)}; {normalised}; {_filters(settings)}", "config: radiomics")


def images_suitable(record: Record) -> Finding:
    """Preparation of images; whether it suits them only the authors can judge."""
    found = images(record)
    if found.answer != "met":
        return found
    return Finding(
        "for the authors", f"described: {found.evidence}; whether it suits slice thickness and scanner", found.link
    )


def resampling(record: Record) -> Finding:
    """Voxel size and interpolation."""
    return _unless_radiomics(record) or Finding("met", _resampled(record.radiomics), "config: radiomics.spacing_mm")


def discretisation(record: Record) -> Finding:
    """Bin width or count."""
    if missing := _unless_radiomics(record):
        return missing
    settings = record.radiomics
    if settings.get("bin_count"):
        return Finding("met", f"{settings['bin_count']} bins", "config: radiomics.bin_count")
    if settings.get("bin_width"):
        return Finding("met", f"bins {settings['bin_width']:g} wide", "config: radiomics.bin_width")
    return Finding("not met", "neither width nor number of bins is given")


def image_types(record: Record) -> Finding:
    """Original and filtered images."""
    return _unless_radiomics(record) or Finding("met", _filters(record.radiomics), "config: radiomics")


def engine(record: Record) -> Finding:
    """Software of the extraction and its version."""
    if missing := _unless_radiomics(record):
        return missing
    name = str(record.config.get("engine") or "")
    versions = record.run.get("versions") or {}
    package = "pyradiomics" if name == "pyradiomics" else "radnet"
    if not name or package not in versions:
        return Finding("not met", "engine or version is not known")
    rule = record.radiomics.get("definitions") or "pyradiomics"
    return Finding("met", f"{name} engine, {package} {versions[package]}, definitions of {rule}", "#provenance")


def classes(record: Record) -> Finding:
    """Feature classes with their counts."""
    if missing := _unless_radiomics(record):
        return missing
    counted = record.model.get("feature_classes") or {}
    if not counted:
        return Finding("not met", "the classes of the features are not known")
    listed = ", ".join(f"{name} {count}" for name, count in counted.items())
    return Finding("met", listed, run_file(record, "model/model.json"))


def feature_count(record: Record) -> Finding:
    """Features measured, per region and in all."""
    if missing := _unless_radiomics(record):
        return missing
    regions = (record.config.get("model") or {}).get("regions") or []
    count = record.counts.get("features")
    if not count:
        return Finding("not met", "the run does not count features")
    return Finding("met", f"{count} per region, {len(regions)} region(s): {', '.join(regions)}", "#provenance")


def settings(record: Record) -> Finding:
    """Every setting of the extraction, defaults spelt out."""
    if missing := _unless_radiomics(record):
        return missing
    written = (record.model.get("extraction") or {}).get("settings") or {}
    if not written:
        return Finding("not met", "defaults of the extraction are not written out")
    evidence = f"settings “{written.get('name')}”: {len(written)} parameters written out, defaults included"
    return Finding("met", evidence, run_file(record, "model/model.json"))


def robustness(record: Record) -> Finding:
    """Whether features or predictions were checked against other delineations or images."""
    if missing := needs_run(record):
        return missing
    steps = [class_name(found) for _, found in targets(record, "Robust", "Agree", "Stable", "Icc", "ICC")]
    steps = [name for name in steps if not name.startswith("RobustScaler")]
    if steps:
        return Finding("met", ", ".join(steps), "config: model")
    return Finding("not met", "no step of the model asks for agreement between readers, repeats or perturbed masks")


def reduction(record: Record) -> Finding:
    """How many features were left, by which steps."""
    if missing := _unless_radiomics(record):
        return missing
    steps = targets(record, "Uncorrelated", "NearConstant", "Select", "VarianceThreshold", "PCA", "Lasso", "ElasticNet")
    if not steps:
        return Finding("not met", "no step of the model removes features")
    left = f": {record.counts.get('features')} → {kept}" if (kept := record.model.get("n_features")) else ""
    return Finding("met", f"{', '.join(class_name(found) for _, found in steps)}{left}", "config: model")


def predictors(record: Record) -> Finding:
    """What enters the model; why, and when it was measured, only the authors know."""
    if missing := needs_run(record):
        return missing
    model = record.config.get("model") or {}
    clinical = ", ".join(model.get("clinical") or []) or "none"
    features = (
        f"{record.counts['features']} radiomics features, " if record.radiomics and "features" in record.counts else ""
    )
    return Finding("for the authors", f"{features}clinical columns: {clinical}", "config: model")


def clinical_predictors(record: Record) -> Finding:
    """Clinical columns, if any enter."""
    if missing := needs_run(record):
        return missing
    clinical = (record.config.get("model") or {}).get("clinical") or []
    if not clinical:
        return Finding("not applicable", "the model reads no clinical column", "config: model.clinical")
    return Finding("for the authors", f"columns: {', '.join(clinical)}", "config: model.clinical")


def one_channel(record: Record) -> Finding:
    """Whether one kind of image was used."""
    if missing := needs_run(record):
        return missing
    channels = record.model.get("channels")
    if channels is None:
        return Finding("for the authors")
    if not channels:
        return Finding("met", "features of one image channel", run_file(record, "model/model.json"))
    return Finding("not met", f"further channels ({', '.join(channels)}) and no comparison with one alone")


def _unless_radiomics(record: Record) -> Finding | None:
    """Return the answer of a study without radiomics features, or of one whose training is unknown."""
    if missing := needs_run(record):
        return missing
    if not record.config:
        return Finding("not met", "the run's configuration is not known")
    return None if record.radiomics else Finding("not applicable", "the model reads no radiomics features")


def _resampled(found: Mapping[str, Any]) -> str:
    spacing = found.get("spacing_mm")
    if not spacing:
        return "not resampled"
    return f"resampled to {' × '.join(f'{size:g}' for size in spacing)} mm, {found.get('interpolator')}"


def _filters(found: Mapping[str, Any]) -> str:
    kinds = ["original"] if found.get("original", True) else []
    if found.get("log_sigma_mm"):
        kinds.append(f"Laplacian of Gaussian, σ {', '.join(f'{sigma:g}' for sigma in found['log_sigma_mm'])} mm")
    kinds += ["wavelet"] if found.get("wavelet") else []
    kinds += [name for name in ("gradient", "lbp_2d", "lbp_3d") if found.get(name)]
    return "image types: " + "; ".join([*kinds, *(found.get("pointwise") or [])])
