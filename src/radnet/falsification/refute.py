"""What a run does to refute itself: controls, permuted outcomes, random signatures; and what is written of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pandas as pd

from radnet.cohort import Cohort, FeatureTable
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
from radnet.falsification.ridge import ridge_auc
from radnet.falsification.settings import FalsificationSettings
from radnet.models.pooling import Aggregate
from radnet.predictors.base import lesion_features

ModelAuc = Callable[[Cohort, int], float]
"""Out-of-fold AUC of the configured model on a cohort: as it was for number 0, refitted for any other."""


@dataclass(frozen=True)
class Inputs:
    """What the model under trial reads.

    Attributes:
        cohort: Everybody, with the model's features if it reads any.
        regions: Regions whose features enter.
        aggregate: Rule that pools lesions.
        clinical: Columns of clinical.csv that enter.
        images: Measures lesions on changed images, one feature table by each control's name; None where there are none.
    """

    cohort: Cohort
    regions: tuple[str, ...]
    aggregate: Aggregate
    clinical: tuple[str, ...]
    images: Callable[[], Mapping[str, FeatureTable]] | None = None

    def features(self) -> pd.DataFrame | None:
        """Return the model's features, one row per patient, or None if it reads none."""
        return lesion_features(self.cohort, self.regions, self.aggregate).patients if self.regions else None


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
    model_auc: ModelAuc,
    seed: int,
    progress: Callable[[str], AbstractContextManager[Callable[..., None]]],
) -> Refutation:
    """Run the controls that the settings ask for; one that cannot be run is told of and stops nothing.

    Args:
        settings: Which controls.
        design: Who is learned from and who is judged.
        inputs: What the model reads.
        model_auc: The model's own AUC, for ``permute: model``.
        seed: Seed of all draws.
        progress: Opens a bar with a title.
    """
    found = Refutation()
    features = inputs.features()
    for name, make in _wanted(settings, inputs, features, seed):
        try:
            control = make()
            scores = [(name, one) for one in judge_control(control, design)]
        except ValueError as error:
            found.lacks(name, error)
            continue
        found.scores += scores
        about = {"model": name, "what": control.what}
        found.record["controls"].append({**about, "patients": len(control.cohort), "lesions": control.lesions})
    try:
        if settings.permutations:
            with progress("Permuting outcomes") as show:
                found.record["permutation"] = _permutation(settings, design, inputs, features, model_auc, seed, show)
    except ValueError as error:
        found.lacks("permutation", error)
    if features is not None and settings.random_signatures:
        found.record["random_signatures"] = _random_signatures(settings, design, features, seed)
    return found


def _wanted(
    settings: FalsificationSettings, inputs: Inputs, features: pd.DataFrame | None, seed: int
) -> Iterator[tuple[str, Callable[[], Control]]]:
    yield "control_volume", lambda: volume_control(_read(inputs))
    columns = inputs.clinical if settings.clinical is None else settings.clinical
    yield "control_clinical", lambda: clinical_control(inputs.cohort, columns)
    if features is not None:
        yield (
            "control_random_features",
            lambda: random_features_control(inputs.cohort, features, settings.signature_size, seed),
        )
    if inputs.images is not None:
        measured = cache(inputs.images)
        for name in IMAGE_CONTROLS:
            yield (
                name,
                lambda name=name: image_control(  # type: ignore[misc]
                    name, inputs.cohort, measured()[name], inputs.regions, inputs.aggregate
                ),
            )


def _read(inputs: Inputs) -> Cohort:
    if not inputs.regions:
        raise ValueError("the model reads no image, so that no lesion was measured")
    return inputs.cohort


def _permutation(
    settings: FalsificationSettings,
    design: Design,
    inputs: Inputs,
    features: pd.DataFrame | None,
    model_auc: ModelAuc,
    seed: int,
    show: Callable[..., None],
) -> dict[str, Any]:
    def of_ridge(cohort: Cohort, number: int) -> float:  # noqa: ARG001 - draws nothing
        folds = design.levels[0](cohort, design.endpoint)
        return ridge_auc(features, inputs.clinical, cohort, design.endpoint, folds)

    of_model = settings.permute == "model"
    development = inputs.cohort.select(design.development.ids) if of_model else design.development
    test = permutation_test(
        development, design.endpoint, model_auc if of_model else of_ridge, settings.permutations, seed, show
    )
    return {
        "model": settings.permute,
        "statistic": "mean within-fold AUC",
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
    areas = []
    for number in range(1, settings.random_signatures + 1):
        names: Sequence[str] = random_signature(list(features.columns), settings.signature_size, seed, number)
        areas.append(ridge_auc(features[names], (), design.development, design.endpoint, folds))
    return {
        "features": min(settings.signature_size, features.shape[1]),
        "statistic": "mean within-fold AUC",
        "partition": "out_of_fold",
        "auc": areas,
    }
