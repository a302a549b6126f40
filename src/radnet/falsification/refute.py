"""What a run does to refute itself: controls, permuted outcomes, random signatures; and what is written of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pandas as pd

from radnet.cohort import Cohort, Endpoint, FeatureTable
from radnet.evaluation.outcomes import Outcomes
from radnet.falsification.baselines import (
    IMAGE_CONTROLS,
    Control,
    clinical_control,
    image_control,
    random_features_control,
    random_signature,
    volume_control,
)
from radnet.falsification.judging import ControlScores, Design, judge_control
from radnet.falsification.permutation import permutation_test
from radnet.falsification.ridge import ridge_discrimination
from radnet.falsification.settings import FalsificationSettings
from radnet.models.pooling import Aggregate
from radnet.predictors.base import lesion_features, measured_lesions

ModelDiscrimination = Callable[[Cohort, int], float]
"""Out-of-fold AUC or C-index of the configured model on a cohort: as it was for number 0, refitted for any other."""

_STATISTICS = {"auc": "mean within-fold AUC", "c_index": "mean within-fold C-index"}
_RIDGES = {"auc": "logistic", "c_index": "cox"}


@dataclass(frozen=True)
class Inputs:
    """What the model under trial reads.

    Attributes:
        cohort: Everybody, with the model's features if it reads any.
        regions: Regions whose features enter.
        aggregate: Rule that pools lesions.
        clinical: Columns of clinical.csv that enter.
        images: Measures lesions on changed images, one feature table by each control's name; None where there are none.
        reads_patches: Whether it sees lesions by patches, with features or without.
    """

    cohort: Cohort
    regions: tuple[str, ...]
    aggregate: Aggregate
    clinical: tuple[str, ...]
    images: Callable[[], Mapping[str, FeatureTable]] | None = None
    reads_patches: bool = False

    def measured(self) -> Cohort:
        """Return the patients with a measured lesion: a model that reads images too takes others as well."""
        if self.cohort.features is None:
            return self.cohort
        regions = self.regions or self.cohort.features.regions
        there = set(measured_lesions(self.cohort, regions).index.get_level_values("patient_id"))
        return self.cohort.where(lambda patient: patient.id in there)

    def features(self) -> pd.DataFrame | None:
        """Return the model's features, one row per patient with a measured lesion, or None if there are none."""
        there = self.measured()
        return lesion_features(there, self.regions, self.aggregate).patients if self.regions and len(there) else None


@dataclass
class Refutation:
    """What the trial found.

    Attributes:
        scores: Predictions of each control, by its name.
        record: What falsification.json says.
    """

    scores: list[tuple[str, ControlScores]] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=lambda: {"permutation": None, "controls": [], "not_run": []})

    def lacks(self, name: str, why: object) -> None:
        """Say that something could not be run."""
        self.record["not_run"].append({"model": name, "why": str(why)})


def refute(
    settings: FalsificationSettings,
    design: Design,
    inputs: Inputs,
    of_model: ModelDiscrimination,
    seed: int,
    progress: Callable[[str], AbstractContextManager[Callable[..., None]]],
) -> Refutation:
    """Run the controls that the settings ask for; one that cannot be run is told of and stops nothing.

    What reads features leaves out patients without a measured lesion and keeps the folds of all; the record counts
    them.

    Args:
        settings: Which controls.
        design: Who is learned from and who is judged.
        inputs: What the model reads.
        of_model: The model's own AUC or C-index, for ``permute: model``.
        seed: Seed of all draws.
        progress: Opens a bar with a title.
    """
    found = Refutation()
    features = inputs.features()
    found.record["unmeasured"] = len(inputs.cohort) - len(inputs.measured())
    for name, make in _wanted(settings, design.reading.endpoint, inputs, features, seed):
        try:
            control = make()
            scores = [(name, one) for one in judge_control(control, design)]
        except ValueError as error:
            found.lacks(name, error)
            continue
        found.scores += scores
        about = {"model": name, "what": control.what + _left_out(control, inputs)}
        found.record["controls"].append({**about, "patients": len(control.cohort), "lesions": control.lesions})
    try:
        if settings.permutations:
            with progress("Permuting outcomes") as show:
                found.record["permutation"] = _permutation(settings, design, inputs, features, of_model, seed, show)
    except ValueError as error:
        found.lacks("permutation", error)
    try:
        if features is not None and settings.random_signatures:
            found.record["random_signatures"] = _random_signatures(settings, design, features, seed)
    except ValueError as error:
        found.lacks("random signatures", error)
    return found


def _wanted(
    settings: FalsificationSettings, endpoint: Endpoint, inputs: Inputs, features: pd.DataFrame | None, seed: int
) -> Iterator[tuple[str, Callable[[], Control]]]:
    measured = inputs.measured()
    yield "control_volume", lambda: volume_control(_read(inputs), endpoint)
    columns = inputs.clinical if settings.clinical is None else settings.clinical
    yield "control_clinical", lambda: clinical_control(inputs.cohort, endpoint, columns)
    if features is not None:
        yield (
            "control_random_features",
            lambda: random_features_control(measured, endpoint, features, settings.signature_size, seed),
        )
    if inputs.images is not None:
        changed = cache(inputs.images)
        for name in IMAGE_CONTROLS:
            yield (
                name,
                lambda name=name: image_control(  # type: ignore[misc]
                    name, inputs.cohort, endpoint, changed()[name], inputs.regions, inputs.aggregate
                ),
            )


def _left_out(control: Control, inputs: Inputs) -> str:
    """Say how many patients a control of features lacks; those of changed images are of some patients anyway."""
    absent = len(inputs.cohort) - len(control.cohort)
    if not absent or control.model in IMAGE_CONTROLS:
        return ""
    return f"; {absent} of {len(inputs.cohort)} patients have no measured lesion and are left out"


def _read(inputs: Inputs) -> Cohort:
    if inputs.cohort.features is None or not (inputs.regions or inputs.reads_patches):
        raise ValueError("the model reads no image, so that no lesion was measured")
    return inputs.measured()


def _permutation(
    settings: FalsificationSettings,
    design: Design,
    inputs: Inputs,
    features: pd.DataFrame | None,
    of_model: ModelDiscrimination,
    seed: int,
    show: Callable[..., None],
) -> dict[str, Any]:
    def of_ridge(cohort: Cohort, number: int) -> float:  # noqa: ARG001 - draws nothing
        folds = design.levels[0](cohort, design.endpoint)
        return ridge_discrimination(features, inputs.clinical, cohort, design.endpoint, folds)

    metric = Outcomes.of(design.development, design.endpoint).metric
    if settings.permute == "model":
        model, development, statistic = "model", inputs.cohort.select(design.development.ids), of_model
    else:
        model, development, statistic = _RIDGES[metric], design.development, of_ridge
    test = permutation_test(development, design.endpoint, statistic, settings.permutations, seed, show)
    return {
        "model": model,
        "statistic": _STATISTICS[metric],
        "partition": "out_of_fold",
        "permuted": "outcomes of development patients, within centres",
        "observed": test.observed,
        "null": list(test.null),
        "p_value": test.p_value,
    }


def _random_signatures(
    settings: FalsificationSettings, design: Design, features: pd.DataFrame, seed: int
) -> dict[str, Any]:
    folds = design.levels[0](design.development, design.endpoint)
    metric = Outcomes.of(design.development, design.endpoint).metric
    found = []
    for number in range(1, settings.random_signatures + 1):
        names: Sequence[str] = random_signature(list(features.columns), settings.signature_size, seed, number)
        found.append(ridge_discrimination(features[names], (), design.development, design.endpoint, folds))
    return {
        "features": min(settings.signature_size, features.shape[1]),
        "statistic": _STATISTICS[metric],
        "partition": "out_of_fold",
        metric: found,
    }
