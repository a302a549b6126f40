"""A network trained by Lightning on radiomics features, with clinical values where the network takes them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from pytorch_lightning.loggers import Logger
from sklearn.model_selection import train_test_split
from torch import nn

from radnet.cohort import Cohort
from radnet.learning.batch import Bags
from radnet.learning.fit import TrainerSettings, fit_network
from radnet.learning.loggers import close
from radnet.learning.losses import Loss
from radnet.models.networks import NoisyOr
from radnet.models.pipeline import ClinicalEncoder, pipeline
from radnet.models.pooling import Aggregate
from radnet.predictors.base import Prediction, check_aggregate, refuse_cohort
from radnet.predictors.frozen_network import FrozenNetwork, clinical_matrix, network_rows, places, prepared


class DeepPredictor:
    """Prepare features by scikit-learn steps, then train a network on them.

    Args:
        endpoint: Endpoint learned.
        network: Makes the network from ``n_features`` and ``n_clinical``.
        loss: What training makes small.
        prepare: Transformers of the features by name, learned from training patients; null leaves one out.
        trainer: How the network is fitted.
        seed: First weights, order of patients, dropout and the inner validation patients.
        regions: Regions whose features enter.
        aggregate: Rule that pools the lesions of a patient. ``noisy_or`` pools no feature: the network scores each
            lesion, learns from the event of the patient, any of whose lesions may bring it, and what ``prepare`` learns
            is of lesions.
        clinical: Columns of clinical.csv the network takes.
        logger: Receives each epoch's numbers.
        checkpoint: File in which a fit keeps its last epoch, and from which it goes on after an interruption.
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
        checkpoint: Path | None = None,
    ) -> None:
        check_aggregate(aggregate)
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
        self.checkpoint = checkpoint
        self.history: list[dict[str, float]] = []

    def check(self, cohort: Cohort) -> None:
        """Raise a ValueError if it could not learn from this cohort, before any lesion is measured."""
        refuse_cohort(cohort, self.endpoint, self.clinical)

    def fit(self, train: Cohort, valid: Cohort | None = None) -> Self:
        """Learn from the patients of known outcome.

        Without ``valid``, a share of the training patients (``trainer.valid_share``), stratified by the event, decides
        when to stop; scaling and weights are then learned from the others.
        """
        self.check(train)
        everybody = train = train.evaluable(self.endpoint)
        if valid is None:
            train, valid = self.set_aside(train)
        rows = network_rows(train, self.regions, self.aggregate)
        self.prepare.fit(rows)
        encoder = ClinicalEncoder().fit(train.clinical(self.clinical)) if self.clinical else None
        bags = self._bags(train, encoder)
        sizes = {"n_features": bags.features[0].shape[1], "n_clinical": bags.clinical.shape[1]}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = self.make_network(**sizes)
        checked = None if valid is None else self._bags(valid.evaluable(self.endpoint), encoder)
        self.history = fit_network(
            NoisyOr(network) if self.aggregate == "noisy_or" else network,
            self.loss,
            bags,
            checked,
            self.trainer,
            self.seed,
            self.logger,
            self.checkpoint,
        )
        if self.logger is not None:
            close(self.logger)
        self.frozen = FrozenNetwork(
            network=network,
            arguments={**getattr(self.make_network, "keywords", {}), **sizes},
            prepare=self.prepare,
            encoder=encoder,
            columns=list(rows.columns),
            clinical=self.clinical,
            regions=self.regions,
            aggregate=self.aggregate,
        ).scaled_on(everybody)
        return self

    def predict(self, cohort: Cohort) -> Prediction:
        """Score every patient, and each lesion as if it were the patient's only one."""
        return self.frozen.predict(cohort)

    def set_aside(self, train: Cohort) -> tuple[Cohort, Cohort | None]:
        """Part training patients into those learned from and those who decide when to stop, None without such."""
        return set_aside(train, self.endpoint, self.trainer.valid_share, self.seed)

    def _bags(self, cohort: Cohort, encoder: ClinicalEncoder | None) -> Bags:
        rows = network_rows(cohort, self.regions, self.aggregate)
        values, owner = prepared(self.prepare, rows), places(cohort, rows)
        return Bags(
            features=[values[owner == place] for place in range(len(cohort))],
            clinical=clinical_matrix(cohort, self.clinical, encoder),
            event=cohort.events(self.endpoint),
            time=cohort.times(self.endpoint),
        )


def set_aside(train: Cohort, endpoint: str, share: float, seed: int) -> tuple[Cohort, Cohort | None]:
    """Part training patients into those learned from and a share who decide when to stop, stratified by the event.

    Returns:
        Both; None in place of the second where the share is 0.

    Raises:
        ValueError: If they are too few to be parted.
    """
    if share == 0:
        return train, None
    event = train.events(endpoint)
    followed = bool(np.isfinite(train.times(endpoint)).any())  # where nobody need be without the event
    fewest = int(event.sum() if followed else min(event.sum(), (~event).sum()))
    if fewest < 2 or len(train) * share < 2 or (followed and fewest * share < 1):
        raise ValueError(
            f"endpoint {endpoint}: {len(train)} training patients, {int(event.sum())} with the event, are too "
            f"few to set {share:.0%} aside for early stopping; use trainer.valid_share=0"
        )
    stratum = event if min(event.sum(), (~event).sum()) > 1 else None
    learn, check = train_test_split(train.ids, test_size=share, stratify=stratum, random_state=seed)
    return train.select(learn), train.select(check)
