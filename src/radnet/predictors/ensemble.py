"""The same predictor fitted several times by other chance, scoring by the mean."""

from collections.abc import Callable
from copy import deepcopy
from inspect import signature
from pathlib import Path
from typing import Any, Self

import numpy as np
from pytorch_lightning.loggers import Logger

from radnet.cohort import Cohort
from radnet.imaging.patch import PatchSettings
from radnet.models.pooling import Aggregate
from radnet.predictors.base import History, Prediction, Predictor
from radnet.predictors.frozen_ensemble import FrozenEnsemble


class EnsemblePredictor:
    """Fit the same predictor with several seeds, and score by the mean of its scores.

    With few patients a network's score depends on its first weights, on the order of patients and on who was set aside
    to decide when to stop. Members differ in all three, so that a patient set aside by one teaches others.

    Args:
        endpoint: Endpoint learned.
        member: Makes an untrained predictor of a ``seed``.
        seeds: How many are fitted; one is the predictor itself.
        seed: Of the first member; those of the others follow from it.
        logger: Receives the epochs of the first member.
        checkpoint: Beside this file each member keeps its last epoch in one of its own, from which it goes on after an
            interruption.

    References:
        Lakshminarayanan, Pritzel, Blundell. Simple and scalable predictive uncertainty estimation using deep ensembles.
        NeurIPS 2017, section 2.4.
    """

    def __init__(
        self,
        endpoint: str,
        member: Callable[..., Predictor],
        seeds: int,
        seed: int,
        logger: Logger | None = None,
        checkpoint: Path | None = None,
    ) -> None:
        if seeds < 1:
            raise ValueError(f"seeds must be 1 or more, got {seeds}")
        if "seed" not in signature(member).parameters:
            raise ValueError("the member of an ensemble takes no seed: choose one that draws, such as a network")
        self.endpoint = endpoint
        self.member = member
        self.seeds = member_seeds(seed, seeds)
        self.logger = logger
        self.checkpoint = checkpoint
        self.members = [self._made(seed)]
        self._first: Any = self.members[0]
        if self._first.endpoint != endpoint:
            raise ValueError(f"endpoint {endpoint}, and the members of the ensemble learn {self._first.endpoint}")
        if hasattr(self._first, "members"):
            raise ValueError("the member of an ensemble holds models itself: let a stack hold ensembles instead")

    @property
    def regions(self) -> tuple[str, ...]:
        """Regions whose features it reads."""
        return self.members[0].regions

    @property
    def imaging(self) -> PatchSettings | None:
        """What the patches are that it reads, None for a model without."""
        return getattr(self._first, "imaging", None)

    @property
    def clinical(self) -> tuple[str, ...]:
        """Columns of clinical.csv that it reads."""
        return self.members[0].clinical

    @property
    def aggregate(self) -> Aggregate:
        """Rule that pools the lesions of a patient."""
        return self.members[0].aggregate

    @property
    def reads_repeats(self) -> bool:
        """Whether a step asks how stable features are between readers and repeats."""
        return getattr(self._first, "reads_repeats", False)

    @property
    def own_endpoints(self) -> tuple[str, ...]:
        """Further endpoints of which it has a score of its own."""
        return getattr(self._first, "own_endpoints", ())

    @property
    def notes(self) -> tuple[str, ...]:
        """What members tell of themselves, each thing once."""
        return tuple(dict.fromkeys(note for one in self.members for note in getattr(one, "notes", ())))

    @property
    def history(self) -> History:
        """Epochs of the first member; empty for one without epochs."""
        return getattr(self._first, "history", [])

    def check(self, cohort: Cohort) -> None:
        """Raise a ValueError if it could not learn from this cohort, before any lesion is measured."""
        self.members[0].check(cohort)

    def fit(self, train: Cohort, valid: Cohort | None = None) -> Self:
        """Learn from the patients of known outcome; without ``valid`` each member sets patients of its own aside."""
        self.members = [self._made(one) for one in self.seeds]
        self._first = self.members[0]
        if self.logger is not None and hasattr(self._first, "logger"):
            self._first.logger = self.logger
        for number, one in enumerate(self.members, start=1):
            if self.checkpoint is not None and hasattr(one, "checkpoint"):
                one.checkpoint = self.checkpoint.with_stem(f"{self.checkpoint.stem}_{number}")
            one.fit(train, valid)
        self.frozen = FrozenEnsemble({str(number): one.frozen for number, one in enumerate(self.members, start=1)})
        return self

    def predict(self, cohort: Cohort) -> Prediction:
        """Score every patient, and each lesion, by the mean over members."""
        return self.frozen.predict(cohort)

    def set_aside(self, train: Cohort) -> tuple[Cohort, Cohort | None]:
        """Part training patients into those learned from and those who tell all members when to stop, None without."""
        if not hasattr(self._first, "set_aside"):
            return train, None
        parted: tuple[Cohort, Cohort | None] = self._first.set_aside(train)
        return parted

    def _made(self, seed: int) -> Predictor:
        """Build a member that shares nothing with one built before: a partial keeps the steps it was given."""
        return deepcopy(self.member)(seed=seed)


def member_seeds(seed: int, count: int) -> list[int]:
    """Return the seed of each member: the first is the one given, and the n-th the same however many there are.

    Example:
        >>> member_seeds(7, 2)[0], member_seeds(7, 3)[:2] == member_seeds(7, 2)
        (7, True)
    """
    return [seed, *(int(one) for one in np.random.SeedSequence(seed).generate_state(count)[1:])]
