"""A predictor whose settings are chosen within the patients it learns from."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from difflib import get_close_matches
from typing import Any, Self

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from radnet.cohort import Cohort, Endpoint
from radnet.imaging.patch import PatchSettings
from radnet.models.pooling import Aggregate
from radnet.predictors.base import Frozen, History, Prediction, Predictor
from radnet.predictors.nested import MakeFolds, NestedPredictor
from radnet.predictors.reading import Reading
from radnet.search import Tried, best, parameters_from, proposed

Make = Callable[[Mapping[str, Any]], Predictor]
"""Builds an untrained predictor in which dotted keys have these values."""

Measure = Callable[[NestedPredictor, Cohort], float]
"""Tells how well the folds of a cohort were judged; higher is better."""


class TunedPredictor:
    """Chooses settings of another predictor by folds of the training patients, then lets it learn from all of them.

    The search is a part of ``fit``: whoever judges this predictor in folds judges the search too. The best of several
    settings looks better in the folds that chose it than it is, and its number there is no estimate of anything.

    Args:
        endpoint: Endpoint learned.
        make: Builds the predictor that is tuned.
        parameters: What is searched, by dotted key of its configuration; see ``search.parameters_from``.
        folds: Divides the training patients; a patient is never on both sides.
        measure: What is made large: the mean AUC, or C-index, within these folds.
        trials: How many settings are tried.
        seed: Of the search. The tuned predictor's own seed is that of its configuration.
    """

    def __init__(
        self,
        endpoint: str,
        make: Make,
        parameters: Mapping[str, Any],
        folds: MakeFolds,
        measure: Measure,
        trials: int,
        seed: int,
    ) -> None:
        if trials < 1:
            raise ValueError(f"trials must be 1 or more, got {trials}")
        self.make = make
        self.parameters = parameters_from(parameters)
        self.endpoint = endpoint
        self.folds = folds
        self.measure = measure
        self.trials = trials
        self.seed = seed
        self.tried: list[Tried] = []
        self.notes: tuple[str, ...] = ()
        self.model = make(proposed(self.parameters, (), (seed, 0)))  # so that a mistyped key is named at once
        if self.model.endpoint != endpoint:
            raise ValueError(f"endpoint {endpoint}, and the model that is tuned learns {self.model.endpoint}")

    @property
    def regions(self) -> tuple[str, ...]:
        """Regions whose features it reads."""
        return self.model.regions

    @property
    def imaging(self) -> PatchSettings | None:
        """What the patches are that it reads, None for a model without."""
        return getattr(self.model, "imaging", None)

    @property
    def clinical(self) -> tuple[str, ...]:
        """Columns of clinical.csv that it reads."""
        return self.model.clinical

    @property
    def aggregate(self) -> Aggregate:
        """Rule that pools the lesions of a patient."""
        return self.model.aggregate

    @property
    def reads_repeats(self) -> bool:
        """Whether a step asks how stable features are between readers and repeats."""
        return getattr(self.model, "reads_repeats", False)

    @property
    def calibrated(self) -> bool:
        """Whether it foretells probabilities of its own."""
        return getattr(self.model, "calibrated", False)

    @property
    def own_endpoints(self) -> tuple[str, ...]:
        """Further endpoints of which it has a score of its own."""
        return getattr(self.model, "own_endpoints", ())

    @property
    def frozen(self) -> Frozen:
        """What the chosen model left behind."""
        return self.model.frozen

    @property
    def history(self) -> History:
        """Epochs of the chosen model; empty for one without epochs."""
        return getattr(self.model, "history", [])

    @property
    def chosen(self) -> Mapping[str, Any]:
        """The values chosen, by dotted key, of a predictor that has learned."""
        found = best(self.tried)
        assert found is not None
        return found.settings

    def check(self, cohort: Cohort) -> None:
        """Raise a ValueError if it could not learn from this cohort."""
        self.model.check(cohort)

    def fit(self, train: Cohort, valid: Cohort | None = None) -> Self:
        """Search on the patients of known outcome, then learn from them; ``valid`` may decide when that last fit stops.

        Settings under which a fold cannot be learned from are passed over.

        Raises:
            ValueError: If that holds for all of them.
        """
        self.check(train)
        train = train.evaluable(self.endpoint)
        self.tried, refused = [], []
        for number in range(self.trials):
            values = proposed(self.parameters, self.tried, (self.seed, number))
            try:
                score = self._score(values, train)
            except ValueError as error:
                refused.append(f"{_told(values)}: {error}")
                self.tried.append(Tried(values, None))
            else:
                self.tried.append(Tried(values, score))
        found = best(self.tried)
        if found is None:
            raise ValueError(f"none of {self.trials} settings could be learned from, such as {refused[0]}")
        self.notes = (f"{_told(found.settings)} was chosen of {self.trials} settings, within the training patients",)
        if refused:
            self.notes += (f"{len(refused)} of {self.trials} settings could not be learned from, such as {refused[0]}",)
        self.model = self.make(found.settings).fit(train, valid)
        return self

    def predict(self, cohort: Cohort) -> Prediction:
        """Score every patient with the model chosen."""
        return self.model.predict(cohort)

    def _score(self, values: Mapping[str, Any], train: Cohort) -> float:
        unread = Reading(Endpoint(self.endpoint, self.endpoint), rule=None, calibrated=False)
        judged = NestedPredictor(lambda place, checkpoint: self.make(values), [self.folds], [unread])  # noqa: ARG005
        return self.measure(judged.judge(train), train)


def configured(changes: Mapping[str, Any], model: Mapping[str, Any]) -> Predictor:
    """Build what a configuration describes, with other values at some of its dotted keys.

    Raises:
        ValueError: If there is no such key, or the target refuses a value.
    """
    node = deepcopy(dict(model))
    for key, value in changes.items():
        *path, last = key.split(".")
        inner: Any = node
        for part in path:
            inner = inner.get(part) if isinstance(inner, Mapping) else None
        if not isinstance(inner, dict) or last not in inner:
            near = get_close_matches(key, _keys(model), n=1, cutoff=0.5)
            raise ValueError(f"the tuned model has no {key}" + (f"; did you mean {near[0]}?" if near else ""))
        inner[last] = value
    try:
        built: Predictor = instantiate(node, _convert_="all")
    except InstantiationException as error:
        raise ValueError(f"{_told(changes)}: {error.__cause__ or error}") from error
    return built


def _keys(node: Mapping[str, Any], before: str = "") -> list[str]:
    return [
        one
        for key, value in node.items()
        for one in ([f"{before}{key}"] if not isinstance(value, Mapping) else _keys(value, f"{before}{key}."))
    ]


def _told(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in values.items()
    )
