"""What a trial of a search may see: how well a configuration does in folds of the patients that are not held out."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from omegaconf import DictConfig
from threadpoolctl import threadpool_limits

from radnet.cohort import Cohort, Endpoint
from radnet.config import ConfigFault, build
from radnet.data.manifest import read_manifest
from radnet.evaluation.outcomes import Outcomes
from radnet.experiment import shuffle_outcomes
from radnet.falsification.judging import mean_discrimination
from radnet.predictors.base import Predictor
from radnet.predictors.nested import NestedPredictor, Place, own_endpoints
from radnet.predictors.reading import Reading
from radnet.run_record import RunRecord
from radnet.study_cohort import with_complete_cases, with_features, with_outcome

METRICS = {"auc": "inner_auc", "c_index": "inner_c_index"}
"""What a trial is told by, for an endpoint without and with follow-up."""


@dataclass(frozen=True, slots=True)
class TrialScore:
    """How well a configuration does within the development patients.

    Attributes:
        metric: ``inner_auc`` or ``inner_c_index``.
        estimate: Mean over the folds.
        n: Development patients, all judged out of fold.
        held_out: Patients that were neither learned from, scored nor measured.
    """

    metric: str
    estimate: float
    n: int
    held_out: int


def inner_score(config: DictConfig) -> TrialScore:
    """Return the mean AUC, or C-index, within the folds over the development patients.

    Held-out patients are parted from the others before a lesion is measured, and not looked at again. The folds and
    fits are those of ``run_experiment``, so that the number is the out-of-fold one of the run; nothing else is fitted.

    Raises:
        ConfigFault: If the configuration selects features by everybody, those held out among them, or has no folds.
        ValueError: If the cohort cannot be learned from.
    """
    if config.before_split:
        raise ConfigFault("before_split learns from held-out patients too, whom no trial may see: leave it out", True)
    if config.split.folds is None:
        raise ConfigFault("a trial is judged by split.folds, and there are none: choose a split that has them", True)
    endpoint: Endpoint = build(config.endpoint)
    root: Path = build(config.data)
    record = RunRecord()
    untrained = _predictor(config, ())
    learned = own_endpoints(untrained)  # at once with it
    further = [build(one.endpoint) for one in (config.also or {}).values() if one.endpoint.name in learned]
    cohort = read_manifest(root, [endpoint, *further])
    cohort, held_out = with_outcome(cohort, endpoint, (), build(config.split.held_out), record)
    development = cohort.where(lambda patient: patient.id not in held_out)
    development = with_complete_cases(development, list(config.complete_cases or ()), record)
    untrained.check(development)
    if config.shuffle_labels:
        development = shuffle_outcomes(development, endpoint.name, config.seed, learned)
    with TemporaryDirectory() as folder:
        development, _ = with_features(development, untrained, config, record, Path(folder))
    return TrialScore(
        metric=METRICS[Outcomes.of(development, endpoint.name).metric],
        estimate=_judged(config, development, endpoint),
        n=len(development),
        held_out=len(held_out),
    )


def _judged(config: DictConfig, development: Cohort, endpoint: Endpoint) -> float:
    unread = Reading(endpoint, rule=None, calibrated=False)
    nested = NestedPredictor(lambda place, checkpoint: _predictor(config, place), [build(config.split.folds)], [unread])  # noqa: ARG005
    with threadpool_limits(1):
        return mean_discrimination(nested.judge(development), development)


def _predictor(config: DictConfig, place: Place) -> Predictor:
    """Build an untrained predictor with the seed that a run gives it at this place."""
    changes: dict[str, Any] = {"seed": config.seed + 1000 * sum(place)} if "seed" in config.model else {}
    predictor: Predictor = build(config.model, **changes)
    return predictor
