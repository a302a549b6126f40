"""A network trained by Lightning on radiomics features, with clinical values where the network takes them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from pytorch_lightning.loggers import Logger
from safetensors.torch import save_file
from sklearn.model_selection import train_test_split
from skops.io import dump
from torch import nn

from radnet.cohort import Cohort
from radnet.learning.batch import Bags
from radnet.learning.fit import TrainerSettings, fit_network
from radnet.learning.loggers import close
from radnet.learning.module import Loss
from radnet.models.pipeline import ClinicalEncoder, pipeline
from radnet.models.pooling import Aggregate
from radnet.predictors.base import Prediction, lesion_features, lesion_scores, refuse_other_columns
from radnet.tables import write_atomically


class DeepPredictor:
    """Prepare features by scikit-learn steps, then train a network on them.

    The score is the network's output in standard deviations of the training patients' outputs. How far a network's
    outputs spread depends on the epoch it stopped at; without a common scale a cut-off fitted on the scores of one
    fold's network means nothing for another's.

    Args:
        endpoint: Endpoint learned.
        network: Makes the network from ``n_features`` and ``n_clinical``.
        loss: What training makes small.
        prepare: Transformers of the features by name, learned from training patients; null leaves one out.
        trainer: How the network is fitted.
        seed: First weights, order of patients, dropout and the inner validation patients.
        regions: Regions whose features enter.
        aggregate: Rule that pools the lesions of a patient.
        clinical: Columns of clinical.csv the network takes.
        logger: Receives each epoch's numbers.
    """

    def __init__(
        self,
        endpoint: str,
        network: Callable[..., nn.Module],
        loss: Loss,
        prepare: Mapping[str, Any],
        trainer: TrainerSettings,
        seed: int,
        regions: Sequence[str] = ("lesion",),
        aggregate: Aggregate = "mean",
        clinical: Sequence[str] = (),
        logger: Logger | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.make_network = network
        self.loss = loss
        self.prepare = pipeline(prepare)
        self.trainer = trainer
        self.seed = seed
        self.regions = tuple(regions)
        self.aggregate = aggregate
        self.clinical = tuple(clinical)
        self.logger = logger
        self.history: list[dict[str, float]] = []

    def fit(self, train: Cohort, valid: Cohort | None = None) -> Self:
        """Learn from the patients of known outcome.

        Without ``valid``, a share of the training patients (``trainer.valid_share``), stratified by the event, decides
        when to stop; scaling and weights are then learned from the others.
        """
        everybody = train = train.evaluable(self.endpoint)
        if valid is None:
            train, valid = self._set_aside(train)
        features = lesion_features(train, self.regions, self.aggregate).patients
        self.columns = list(features.columns)
        self.prepare.fit(features)
        self.encoder = ClinicalEncoder().fit(train.clinical(self.clinical)) if self.clinical else None
        bags = self._bags(train)
        self.sizes = {"n_features": bags.features[0].shape[1], "n_clinical": bags.clinical.shape[1]}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.network = self.make_network(**self.sizes)
        checked = None if valid is None else self._bags(valid.evaluable(self.endpoint))
        self.history = fit_network(self.network, self.loss, bags, checked, self.trainer, self.seed, self.logger)
        if self.logger is not None:
            close(self.logger)
        self.location, self.spread = 0.0, 1.0
        output = self.predict(everybody).patients["score"]
        self.location, self.spread = float(output.mean()), float(output.std(ddof=0)) or 1.0
        return self

    def predict(self, cohort: Cohort) -> Prediction:
        """Score every patient, and each lesion as if it were the patient's only one."""
        features = lesion_features(cohort, self.regions, self.aggregate)
        refuse_other_columns(list(features.patients.columns), self.columns)
        clinical = self._clinical(cohort)
        owner = pd.Index(cohort.ids).get_indexer(features.lesions.index.get_level_values("patient_id"))
        patients = pd.DataFrame(
            {"score": self._score(features.patients, clinical), "probability": np.nan}, index=features.patients.index
        )
        return Prediction(patients, lesion_scores(self._score(features.lesions, clinical[owner]), features))

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
            "score_location": self.location,
            "score_spread": self.spread,
            "network_arguments": {**getattr(self.make_network, "keywords", {}), **self.sizes},
            "inputs": self.columns,
            "clinical": list(self.clinical),
            "regions": list(self.regions),
            "aggregate": self.aggregate,
            "calibrated": False,
        }

    def _set_aside(self, train: Cohort) -> tuple[Cohort, Cohort | None]:
        if self.trainer.valid_share == 0:
            return train, None
        event = train.events(self.endpoint)
        fewest = int(min(event.sum(), (~event).sum()))
        if fewest < 2 or len(train) * self.trainer.valid_share < 2:
            raise ValueError(
                f"endpoint {self.endpoint}: {len(train)} training patients, {int(event.sum())} with the event, are too "
                f"few to set {self.trainer.valid_share:.0%} aside for early stopping; use trainer.valid_share=0"
            )
        learn, check = train_test_split(
            train.ids, test_size=self.trainer.valid_share, stratify=event, random_state=self.seed
        )
        return train.select(learn), train.select(check)

    def _bags(self, cohort: Cohort) -> Bags:
        pooled = lesion_features(cohort, self.regions, self.aggregate).patients
        rows = self._prepared(pooled)
        return Bags(
            features=[row[None, :] for row in rows],
            clinical=self._clinical(cohort),
            event=cohort.events(self.endpoint),
            time=cohort.times(self.endpoint),
        )

    def _clinical(self, cohort: Cohort) -> np.ndarray:
        if self.encoder is None:
            return np.zeros((len(cohort), 0))
        return self.encoder.transform(cohort.clinical(self.clinical))

    def _prepared(self, table: pd.DataFrame) -> np.ndarray:
        return np.asarray(self.prepare.transform(table), dtype=np.float32)

    def _score(self, table: pd.DataFrame, clinical: np.ndarray) -> np.ndarray:
        features = torch.from_numpy(self._prepared(table))[:, None, :]
        present = torch.ones(features.shape[:2], dtype=torch.bool)
        with torch.no_grad():
            score = self.network(features, present, torch.from_numpy(clinical.astype(np.float32)))
        return (score.numpy().astype(float) - self.location) / self.spread
