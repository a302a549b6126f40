"""A fitted network: weights, preparation and the scale of its score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from sklearn.pipeline import Pipeline
from skops.io import dump
from torch import nn

from radnet.cohort import Cohort
from radnet.files import write_atomically
from radnet.models.networks import RadiomicsMLP, noisy_or
from radnet.models.pipeline import ClinicalEncoder
from radnet.models.pooling import Aggregate
from radnet.predictors.base import Prediction, lesion_features, lesion_scores, refuse_other_columns
from radnet.predictors.frozen import load_steps
from radnet.predictors.selection import features_left

NETWORKS: Mapping[str, type[nn.Module]] = {"RadiomicsMLP": RadiomicsMLP}
"""Networks a model folder may name; nothing else is ever built from one."""


@dataclass(frozen=True)
class FrozenNetwork:
    """A network and the steps before it, fitted.

    The score is the network's output in standard deviations of the training patients' outputs. How far a network's
    outputs spread depends on the epoch it stopped at; without a common scale a cut-off fitted on the scores of one
    fold's network means nothing for another's.

    With ``aggregate=noisy_or`` the network scores each lesion, and the patient's output is ``noisy_or`` of these; the
    weight of a lesion is its share of -Σ log(1 - p).

    Attributes:
        network: In evaluation mode, on the CPU.
        arguments: What the network was made with.
        prepare: Transformers of the features.
        encoder: Makes numbers of the clinical columns, or None.
        columns: Features in order.
        clinical: Columns of clinical.csv that enter.
        regions: Regions whose features enter.
        aggregate: Rule that pools lesions.
        location: Mean of the training patients' outputs.
        spread: Their standard deviation.
    """

    network: nn.Module
    arguments: Mapping[str, Any]
    prepare: Pipeline
    encoder: ClinicalEncoder | None
    columns: list[str]
    clinical: tuple[str, ...]
    regions: tuple[str, ...]
    aggregate: Aggregate
    location: float = 0.0
    spread: float = 1.0

    @classmethod
    def load(cls, folder: Path, card: Mapping[str, Any]) -> Self:
        """Read what ``save`` wrote, given its description.

        Raises:
            ValueError: If the network is none of ``NETWORKS`` or the weights do not fit it.
        """
        if card["network"] not in NETWORKS:
            raise ValueError(f"{folder}: no network {card['network']}; known are {', '.join(NETWORKS)}")
        network = NETWORKS[card["network"]](**card["network_arguments"])
        try:
            network.load_state_dict(load_file(folder / "network.safetensors"))
        except Exception as error:
            raise ValueError(f"{folder / 'network.safetensors'}: not the weights of this network: {error}") from error
        return cls(
            network=network.eval(),
            arguments=card["network_arguments"],
            prepare=load_steps(folder / "prepare.skops"),
            encoder=load_steps(folder / "clinical.skops") if card["clinical"] else None,
            columns=list(card["inputs"]),
            clinical=tuple(card["clinical"]),
            regions=tuple(card["regions"]),
            aggregate=card["aggregate"],
            location=card["score_location"],
            spread=card["score_spread"],
        )

    def save(self, folder: Path) -> dict[str, Any]:
        """Write ``network.safetensors`` and ``prepare.skops`` (and ``clinical.skops``); return the description."""
        weights = {name: tensor.contiguous() for name, tensor in self.network.state_dict().items()}
        write_atomically(folder / "network.safetensors", lambda path: save_file(weights, path))
        write_atomically(folder / "prepare.skops", lambda path: dump(self.prepare, path))
        if self.encoder is not None:
            write_atomically(folder / "clinical.skops", lambda path: dump(self.encoder, path))
        return {
            "predictor": "deep",
            "network": type(self.network).__name__,
            "network_arguments": dict(self.arguments),
            "score_location": self.location,
            "score_spread": self.spread,
            "inputs": self.columns,
            "clinical": list(self.clinical),
            "regions": list(self.regions),
            "aggregate": self.aggregate,
            "calibrated": False,
        }

    def scaled_on(self, train: Cohort) -> Self:
        """Return the same network with its score on the scale of these patients."""
        output = replace(self, location=0.0, spread=1.0).predict(train).patients["score"]
        return replace(self, location=float(output.mean()), spread=float(output.std(ddof=0)) or 1.0)

    def selection(self) -> Mapping[str, Sequence[str]]:
        """Return the features left after each step that leaves some out, the first ``measured``; empty without such."""
        return features_left(self.prepare, self.columns)

    def inputs(self, cohort: Cohort) -> pd.DataFrame:
        """Return what the model reads of each patient: features, pooled over lesions, then encoded clinical columns.

        With noisy_or a row is a lesion, indexed by (patient_id, lesion_id), patients in the cohort's order.
        """
        features = network_rows(cohort, self.regions, self.aggregate)
        names = [] if self.encoder is None else self.encoder.get_feature_names_out()
        clinical = clinical_matrix(cohort, self.clinical, self.encoder)[places(cohort, features)]
        return pd.concat([features, pd.DataFrame(clinical, features.index, names)], axis=1)

    def score(self, inputs: pd.DataFrame) -> np.ndarray:
        """Score rows as ``inputs`` gives them: one score per patient, in order of first appearance."""
        output = self._output(inputs[self.columns], inputs.drop(columns=self.columns).to_numpy())
        if self.aggregate == "noisy_or":
            output = _of_any_lesion(output, pd.factorize(inputs.index.get_level_values("patient_id"))[0])
        return self._scaled(output)

    def predict(self, cohort: Cohort) -> Prediction:
        """Score every patient, and each lesion as if it were the patient's only one."""
        features = lesion_features(cohort, self.regions, self.aggregate)
        refuse_other_columns(list(features.patients.columns), self.columns)
        clinical = clinical_matrix(cohort, self.clinical, self.encoder)
        owner = places(cohort, features.lesions)
        alone = self._output(features.lesions, clinical[owner])
        if self.aggregate == "noisy_or":
            output = _of_any_lesion(alone, owner)
            features = replace(features, weight=_share_of_noisy_or(alone, features.lesions.index))
        else:
            output = self._output(features.patients, clinical)
        patients = pd.DataFrame({"score": self._scaled(output), "probability": np.nan}, index=features.patients.index)
        return Prediction(patients, lesion_scores(self._scaled(alone), features))

    def _scaled(self, output: np.ndarray) -> np.ndarray:
        return (output - self.location) / self.spread

    def _output(self, table: pd.DataFrame, clinical: np.ndarray) -> np.ndarray:
        features = torch.from_numpy(prepared(self.prepare, table))[:, None, :]
        present = torch.ones(features.shape[:2], dtype=torch.bool)
        with torch.no_grad():
            output = self.network(features, present, torch.from_numpy(clinical.astype(np.float32)))
        return output.numpy().astype(float)


def clinical_matrix(cohort: Cohort, columns: tuple[str, ...], encoder: ClinicalEncoder | None) -> np.ndarray:
    """Return clinical values as numbers, shape (patients, K); K is 0 without an encoder."""
    return np.zeros((len(cohort), 0)) if encoder is None else encoder.transform(cohort.clinical(columns))


def network_rows(cohort: Cohort, regions: Sequence[str], aggregate: Aggregate) -> pd.DataFrame:
    """Return the features that a network reads, patients in the cohort's order.

    Returns:
        One row per patient, pooled over lesions; with noisy_or one per lesion, indexed by (patient_id, lesion_id).
    """
    features = lesion_features(cohort, regions, aggregate)
    if aggregate != "noisy_or":
        return features.patients
    return features.lesions.iloc[np.argsort(places(cohort, features.lesions), kind="stable")]


def places(cohort: Cohort, rows: pd.DataFrame) -> np.ndarray:
    """Return the place in a cohort of the patient of each row, shape (rows,)."""
    return pd.Index(cohort.ids).get_indexer(rows.index.get_level_values("patient_id"))


def prepared(steps: Pipeline, table: pd.DataFrame) -> np.ndarray:
    """Return features as the network takes them, float32, shape (rows, F)."""
    return np.asarray(steps.transform(table), dtype=np.float32)


def _of_any_lesion(output: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Pool outputs of lesions by ``noisy_or``, given each one's patient as a number from 0; shape (patients,)."""
    within = pd.Series(owner).groupby(owner).cumcount()
    score = np.zeros((owner.max() + 1, within.max() + 1))
    present = np.zeros(score.shape, dtype=bool)
    score[owner, within], present[owner, within] = output, True
    return noisy_or(torch.from_numpy(score), torch.from_numpy(present)).numpy()


def _share_of_noisy_or(output: np.ndarray, lesions: pd.MultiIndex) -> pd.Series:
    part = pd.Series(np.logaddexp(0.0, output), lesions, name="weight")  # -log(1 - p)
    return part / part.groupby(level="patient_id", sort=False).transform("sum")
