"""radnet's own predictor: radiomics, patches and clinical values of a patient, learned from at once."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pytorch_lightning.loggers import Logger
from sklearn.preprocessing import StandardScaler

from radnet.cohort import Cohort
from radnet.imaging.patch import PatchSettings
from radnet.learning.augment import Augmentation
from radnet.learning.batch import Bags
from radnet.learning.cohort_risk import CohortRisk
from radnet.learning.contrastive import Contrastive, pretrain
from radnet.learning.fit import TrainerSettings, fit_network
from radnet.learning.loggers import close
from radnet.learning.losses import Loss, MultiTaskLoss, Task, discrete_hazard
from radnet.models.hybrid import HybridNetwork, ImageBranch
from radnet.models.pipeline import ClinicalEncoder, pipeline
from radnet.models.pooling import Aggregate
from radnet.models.pretrained import LoadedWeights, load_weights
from radnet.predictors.base import Prediction, refuse_cohort
from radnet.predictors.deep import set_aside
from radnet.predictors.frozen_hybrid import (
    EndpointHead,
    FrozenHybrid,
    encoded_clinical,
    how_cut,
    network_inputs,
    patches_of,
    prepared_features,
    standardised,
)

MakeLoss = Callable[..., Any]
"""A loss of output and batch, or, of an endpoint with follow-up, what makes one of the training patients' outcomes."""

_OF_FOLLOW_UP: tuple[object, ...] = (CohortRisk, discrete_hazard)


class HybridPredictor:
    """Train a ``HybridNetwork`` on the lesions of patients.

    Lesions are never pooled before the network: each enters with its features and its patch, and the network pools
    them by ``aggregate``. Whatever learns (features' preparation, clinical encoding, weights) learns from training
    patients. A lesion that could not be measured enters by its patch alone, and the other way round.

    Args:
        endpoint: Endpoint learned.
        network: Makes the network of ``n_features``, ``n_clinical``, ``n_channels``, ``aggregate`` and ``n_outputs``.
        loss: What training makes small: of a binary endpoint a loss; of one with follow-up ``CohortRisk`` or
            ``discrete_hazard``, which are made of the training patients' outcomes.
        prepare: Transformers of the features by name, learned from training lesions; null leaves one out.
        trainer: How the network is fitted.
        seed: First weights, order of patients, draws, dropout and the inner validation patients.
        regions: Regions whose features enter; none without a radiomics branch.
        aggregate: ``mean``, ``max``, ``noisy_or``, ``attention`` or ``set_transformer``.
        clinical: Columns of clinical.csv that enter at the last layer, standardised, each with an indicator of what is
            missing.
        imaging: What patches are; None without an image branch.
        augment: Varies patches in training.
        pretrained: ``file``, ``prefix``, ``rename`` and ``freeze`` of ``load_weights``, for the image branch's net.
        pretrain: Lets the image branch learn from the training patients' patches, without outcomes, beforehand.
        n_outputs: Outputs for the endpoint learned: 1, or the intervals of ``discrete_hazard``.
        tasks: Further endpoints learned at once, by name; a patient of whom one of these is unknown teaches the others.
        logger: Receives each epoch's numbers.
        checkpoint: File in which a fit keeps its last epoch, and from which it goes on after an interruption.
    """

    def __init__(
        self,
        endpoint: str,
        network: Callable[..., HybridNetwork],
        loss: MakeLoss,
        prepare: Mapping[str, Any],
        trainer: TrainerSettings,
        seed: int,
        regions: Sequence[str] = (),
        aggregate: Aggregate = "attention",
        clinical: Sequence[str] = (),
        imaging: PatchSettings | None = None,
        augment: Augmentation | None = None,
        pretrained: Mapping[str, Any] | None = None,
        pretrain: Contrastive | None = None,
        n_outputs: int = 1,
        tasks: Mapping[str, Task] | None = None,
        logger: Logger | None = None,
        checkpoint: Path | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.loss = loss
        self.tasks = {endpoint: Task(loss, 1.0, n_outputs), **(tasks or {})}
        if tasks and trainer.processes > 1:
            raise ValueError("several tasks are learned by one process: set trainer.processes=1")
        if tasks and endpoint in tasks:
            raise ValueError(f"tasks: {endpoint} is the endpoint learned; name further ones")
        self.make_network = network
        of_tasks = {"aggregate": aggregate, "n_outputs": sum(task.outputs for task in self.tasks.values())}
        self.arguments = {**getattr(network, "keywords", {}), **of_tasks}
        self.trainer = trainer
        self.seed = seed
        self.regions = tuple(regions)
        self.aggregate = aggregate
        self.clinical = tuple(clinical)
        self.imaging = imaging
        self.augment = augment
        self.pretrained = pretrained
        self.pretrain = pretrain or None  # an empty choice of the configuration
        self.logger = logger
        self.checkpoint = checkpoint
        self.history: list[dict[str, float]] = []
        self.notes: tuple[str, ...] = ()
        self._refuse_branches()
        self.prepare = pipeline(prepare) if self.regions else None
        self._refuse_network()

    def _refuse_branches(self) -> None:
        for branch, there, setting, reads in (
            ("radiomics", self.regions, "regions", "features"),
            ("cnn", self.imaging, "imaging", "patches"),
        ):
            if (self.arguments.get(branch) is None) == bool(there):
                has, lacks = ("no ", "") if there else ("a ", "no ")
                raise ValueError(
                    f"the network has {has}{branch} branch and {setting} asks for {lacks}{reads}: set both "
                    f"network.{branch} and {setting}, or both to nothing"
                )
        if self.imaging is None and (self.pretrain or self.pretrained or self.augment):
            raise ValueError("augment, pretrain and pretrained are for patches, and imaging asks for none")
        if self.pretrain and self.augment is None:
            raise ValueError("pretrain learns from patches varied at random: choose augment=moderate")

    def _refuse_network(self) -> None:
        """Name a setting that no network can have, or a patch too small for it, before a lesion is measured."""
        self._network(n_features=1, n_clinical=0)
        if self.imaging is None:
            return
        fault = ""
        with torch.device("meta"), torch.no_grad():  # shapes alone: nothing is computed
            branch = self.make_network(**self._arguments(n_features=1, n_clinical=0)).branches["image"].eval()
            try:
                branch(torch.empty(1, len(self.imaging.channels), *self.imaging.size_voxels))
            except (RuntimeError, ValueError) as error:
                fault = str(error).splitlines()[0]
        if fault:
            size = " × ".join(map(str, self.imaging.size_voxels))
            raise ValueError(f"network.cnn takes no patches of {size} voxels (imaging.size_voxels): {fault}")

    @property
    def own_endpoints(self) -> tuple[str, ...]:
        """Further endpoints of which it has a score of its own."""
        return tuple(self.tasks)[1:]

    def check(self, cohort: Cohort) -> None:
        """Raise a ValueError if it could not learn from this cohort, before any lesion is measured."""
        refuse_cohort(cohort, self.endpoint, self.clinical, follow_up=_learns_follow_up(self.loss))
        for name, task in list(self.tasks.items())[1:]:
            if not any(name in one.outcomes for one in cohort.patients):
                raise ValueError(f"tasks: the cohort was read without endpoint {name}: name it under also too")
            refuse_cohort(cohort, name, (), follow_up=_learns_follow_up(task.loss))

    def fit(self, train: Cohort, valid: Cohort | None = None) -> Self:
        """Learn from the patients of known outcome.

        Without ``valid``, a share of the training patients (``trainer.valid_share``), stratified by the event, decides
        when to stop; scaling and weights are then learned from the others.
        """
        self.check(train)
        everybody = train = train.evaluable(self.endpoint)
        if valid is None:
            train, valid = self.set_aside(train)
        if self.imaging is not None and train.patches is None:
            raise ValueError("this model learns from patches of images, and the cohort has none")
        rows = network_inputs(train, self.regions, self.imaging is not None)
        if self.prepare is not None:
            self.prepare.fit(rows[rows.notna().any(axis=1)])
        encoder, scale = self._encoder(train)
        bags = self._bags(train, encoder, scale)
        network = self._network(n_features=bags.features[0].shape[1], n_clinical=bags.clinical.shape[1])
        begun = self.checkpoint is not None and self.checkpoint.is_file()
        if self.pretrain is not None and bags.images is not None and not begun:
            assert self.augment is not None
            on_gpu = self.trainer.accelerator != "cpu" and torch.cuda.is_available()
            branch = cast(ImageBranch, network.branches["image"]).to("cuda" if on_gpu else "cpu")
            pretrain(branch, bags.images, self.augment, self.pretrain, self.seed, self.trainer.threads)
            branch.to("cpu")
        self.history = fit_network(
            network,
            self._loss(bags),
            bags,
            None if valid is None else self._bags(valid.evaluable(self.endpoint), encoder, scale),
            self.trainer,
            self.seed,
            self.logger,
            self.checkpoint,
            augment=self.augment,
        )
        if self.logger is not None:
            close(self.logger)
        heads = {name: EndpointHead(task.outputs, _head(task.loss)) for name, task in self.tasks.items()}
        self.frozen = FrozenHybrid(
            network=network,
            arguments=self._arguments(bags.features[0].shape[1], bags.clinical.shape[1]),
            heads=heads,
            prepare=self.prepare,
            encoder=encoder,
            scale=scale,
            columns=list(rows.columns),
            clinical=self.clinical,
            regions=self.regions,
            aggregate=self.aggregate,
            imaging=self.imaging,
            patches={} if self.imaging is None else how_cut(train),
        ).scaled_on(everybody)
        return self

    def predict(self, cohort: Cohort) -> Prediction:
        """Score every patient, and each lesion as if it were the patient's only one."""
        return self.frozen.predict(cohort)

    def set_aside(self, train: Cohort) -> tuple[Cohort, Cohort | None]:
        """Part training patients into those learned from and those who decide when to stop, None without such."""
        return set_aside(train, self.endpoint, self.trainer.valid_share, self.seed)

    def _arguments(self, n_features: int, n_clinical: int) -> dict[str, Any]:
        n_channels = 0 if self.imaging is None else len(self.imaging.channels)
        sizes = {"n_features": n_features, "n_clinical": n_clinical, "n_channels": n_channels}
        return {**self.arguments, **sizes}

    def _network(self, n_features: int, n_clinical: int) -> HybridNetwork:
        """Make the network with its first weights, those of a file where it is told one."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = self.make_network(**self._arguments(n_features, n_clinical))
        if self.pretrained is not None:
            given = {**self.pretrained, "file": Path(self.pretrained["file"])}
            loaded = load_weights(cast(ImageBranch, network.branches["image"]).net, **given)
            self.notes = (_told(loaded, given["file"]),)
        return network

    def _encoder(self, train: Cohort) -> tuple[ClinicalEncoder | None, StandardScaler | None]:
        if not self.clinical:
            return None, None
        encoder = ClinicalEncoder(missing_indicators=True).fit(train.clinical(self.clinical))
        return encoder, StandardScaler().fit(encoded_clinical(train, self.clinical, encoder).to_numpy())

    def _bags(self, cohort: Cohort, encoder: ClinicalEncoder | None, scale: StandardScaler | None) -> Bags:
        rows = network_inputs(cohort, self.regions, self.imaging is not None)
        values = prepared_features(self.prepare, rows)
        owner = pd.Index(cohort.ids).get_indexer(rows.index.get_level_values("patient_id"))
        clinical = np.zeros((len(cohort), 0), dtype=np.float32)
        if encoder is not None:
            clinical = standardised(encoded_clinical(cohort, self.clinical, encoder).to_numpy(), scale)
        event, time = self._outcomes(cohort)
        return Bags(
            features=[values[owner == place] for place in range(len(cohort))],
            clinical=clinical,
            event=event,
            time=time,
            centres=cohort.centres,
            images=None if self.imaging is None else patches_of(cohort, rows.index),
        )

    def _outcomes(self, cohort: Cohort) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return event and time, shape (patients,); with further tasks (patients, T), NaN where one is unknown."""
        event, time = np.full((2, len(cohort), len(self.tasks)), np.nan)
        for column, name in enumerate(self.tasks):
            for row, patient in enumerate(cohort.patients):
                if (outcome := patient.outcomes.get(name)) is not None:
                    event[row, column] = outcome.event
                    time[row, column] = np.nan if outcome.time is None else outcome.time
        return (event[:, 0], time[:, 0]) if len(self.tasks) == 1 else (event, time)

    def _loss(self, bags: Bags) -> Loss:
        if len(self.tasks) == 1:
            return _for_patients(self.loss, bags.event, bags.time)
        tasks = {
            name: Task(_for_patients(task.loss, bags.event[:, at], bags.time[:, at]), task.weight, task.outputs)
            for at, (name, task) in enumerate(self.tasks.items())
        }
        return MultiTaskLoss(tasks)


def _for_patients(loss: MakeLoss, event: NDArray, time: NDArray) -> Loss:
    """Return the loss of training patients: one of follow-up is made of their outcomes."""
    made: Loss = loss(event, time) if _learns_follow_up(loss) else loss
    return made


def _learns_follow_up(loss: MakeLoss) -> bool:
    return getattr(loss, "func", loss) in _OF_FOLLOW_UP


def _head(loss: MakeLoss) -> Any:
    return "log_cumulative_hazard" if getattr(loss, "func", loss) is discrete_hazard else "output"


def _told(loaded: LoadedWeights, file: Path) -> str:
    total = len(loaded.matched) + len(loaded.missing) + len(loaded.misshapen)
    parts = [f"pretrained weights of {file.name}: {len(loaded.matched)} of {total} tensors of the image branch filled"]
    for count, what, names in (
        (len(loaded.missing), "are not in the file", loaded.missing),
        (len(loaded.misshapen), "have another shape there", tuple(loaded.misshapen)),
        (len(loaded.unexpected), "of the file have no place", loaded.unexpected),
        (len(loaded.frozen), "are held", loaded.frozen),
    ):
        if count:
            parts.append(f"{count} {what} ({', '.join(names[:3])}{', …' if count > 3 else ''})")
    return "; ".join(parts)
