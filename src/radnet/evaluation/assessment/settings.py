"""What is asked of a prediction table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from math import isfinite
from numbers import Integral, Real
from typing import Literal

from radnet.evaluation.cutoff import RULES

_WHOLE, _NUMBER = ("bootstrap", "seed"), ("level", "min_specificity", "cutoff_value", "minprop")
_NUMBERS, _TEXTS = ("thresholds", "horizons", "nri_cuts"), ("subgroups",)
_SORTED = ("thresholds", "horizons")
_ASKED_RULES = ("youden", "max_sensitivity", "fixed", "median", "maxstat", "time_youden")


@dataclass(frozen=True)
class EvaluationSettings:
    """What is asked of a prediction table.

    Attributes:
        kind: ``binary`` or ``survival``; None lets each endpoint decide: one with times is survival.
        bootstrap: Bootstrap resamples of patients.
        seed: Seed of the bootstrap; every model meets the same draws.
        level: Coverage of every interval.
        versus: Model the others are compared with, each also with its controls; None compares every pair. On an
            endpoint where its score counts the other way it is ``<versus>_negated``.
        thresholds: Threshold probabilities of net benefit and clinical impact, each from 0 to below 1; in any order.
        decision_rule: Whether a score or a probability equal to its threshold is positive: ``ge`` or ``gt``.
        horizons: Times, in the endpoint's unit, at which survival is judged, in any order; None takes those of the
            table's ``probability_<t>`` columns.
        nri_cuts: Probabilities that part the risk groups of the categorical NRI; empty leaves it out.
        subgroups: Columns of the table to judge models, but not controls, within; None leaves it to the run that the
            table is of, and judges within none where none is known.
        cutoff: ``frozen`` judges by the cut-offs in the table; another rule fits a new one on the scores that the
            model did not learn from in training (out of fold).
        min_specificity: What ``max_sensitivity`` must keep.
        cutoff_value: The cut-off of ``fixed``.
        minprop: The smallest share of patients that ``maxstat`` may leave in a risk group.
        allow_refit_cutoff: Fit a cut-off on the very patients it then judges, held out or not.
    """

    kind: Literal["binary", "survival"] | None = None
    bootstrap: int = 2000
    seed: int = 7
    level: float = 0.95
    versus: str | None = None
    thresholds: Sequence[float] = tuple(step / 20 for step in range(1, 20))
    decision_rule: Literal["ge", "gt"] = "ge"
    horizons: Sequence[float] | None = None
    nri_cuts: Sequence[float] = ()
    subgroups: Sequence[str] | None = None
    cutoff: str = "frozen"
    min_specificity: float = 0.5
    cutoff_value: float | None = None
    minprop: float = 0.1
    allow_refit_cutoff: bool = False

    def __post_init__(self) -> None:
        if self.kind not in (None, "binary", "survival"):
            raise ValueError(f"evaluation must be binary or survival, got {self.kind!r}")
        self._refuse_other_types()
        if self.bootstrap < 1:
            raise ValueError(f"bootstrap must be at least 1 resample, got {self.bootstrap}")
        if not 0 < self.level < 1:
            raise ValueError(f"level must lie between 0 and 1, got {self.level}")
        for field in fields(self):  # a configuration gives lists
            value = getattr(self, field.name)
            if field.name in (*_NUMBERS, *_TEXTS) and value is not None:
                once = dict.fromkeys(sorted(value) if field.name in _SORTED else value)
                object.__setattr__(self, field.name, tuple(value if field.name == "nri_cuts" else once))
        if self.decision_rule not in ("ge", "gt"):
            raise ValueError(f"decision_rule must be ge or gt, got {self.decision_rule!r}")
        _refuse_outside("thresholds", self.thresholds, lambda value: 0 <= value < 1, "from 0 to below 1")
        _refuse_outside("nri_cuts", self.nri_cuts, lambda value: 0 < value < 1, "between 0 and 1")
        _refuse_outside("horizons", self.horizons or (), lambda value: value > 0 and isfinite(value), "above 0")
        if list(self.nri_cuts) != sorted(set(self.nri_cuts)):
            raise ValueError(f"nri_cuts must rise, got {list(self.nri_cuts)}")
        if self.cutoff != "frozen" and self.cutoff not in _ASKED_RULES:
            raise ValueError(f"cutoff must be one of frozen, {', '.join(_ASKED_RULES)}, got {self.cutoff!r}")
        assert set(_ASKED_RULES) <= set(RULES)
        if (self.cutoff == "fixed") != (self.cutoff_value is not None):
            raise ValueError("cutoff=fixed and cutoff_value=NUMBER go together: give both or neither")
        if not 0 < self.minprop < 0.5:
            raise ValueError(f"minprop must lie between 0 and 0.5, got {self.minprop}")
        if not 0 <= self.min_specificity <= 1:
            raise ValueError(f"min_specificity must lie between 0 and 1, got {self.min_specificity}")

    def _refuse_other_types(self) -> None:
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            if value is None and field.default is None:
                continue
            if name in _WHOLE and (isinstance(value, bool) or not isinstance(value, Integral)):
                raise ValueError(f"{name} must be a whole number, got {value!r}")
            if name in _NUMBER and not _is_number(value):
                raise ValueError(f"{name} must be a number, got {value!r}")
            if name in _NUMBERS:
                _refuse_others(name, value, _is_number, "numbers, such as [0.1, 0.2]")
            if name in _TEXTS:
                _refuse_others(name, value, lambda one: isinstance(one, str), "names of columns, such as [sex, site]")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _refuse_others(name: str, values: object, allowed: Callable[[object], bool], what: str) -> None:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise ValueError(f"{name} must be a list of {what}, got {values!r}")
    if wrong := [value for value in values if not allowed(value)]:
        raise ValueError(f"{name} must be a list of {what}, got {', '.join(map(repr, wrong))} in it")


def _refuse_outside(name: str, values: Sequence[float], allowed: Callable[[float], bool], where: str) -> None:
    if wrong := [value for value in values if not allowed(value)]:
        raise ValueError(f"{name} must lie {where}, got {', '.join(f'{value:g}' for value in wrong)}")
