"""An effect with its interval and its test: what every comparison and every correlation comes to."""

from dataclasses import dataclass
from math import isnan, nan

_ROUNDING = 1e-9  # by which a bound may seem to pass the effect, of its size


@dataclass(frozen=True, slots=True)
class Effect:
    """How strongly two things go together; numbers that cannot be told are NaN, and ``flag`` says why.

    Attributes:
        measure: What ``value`` is: ``spearman``, ``auc``, ``hazard_ratio_per_sd``, …
        method: How value, interval and p-value were found, as a table's footnote would say.
        value: The effect.
        lower: Lower bound of its interval.
        upper: Upper bound.
        statistic: Of the test.
        p_value: Two-sided.
        flag: Why a number is missing, or what to beware of; empty if nothing.
    """

    measure: str
    method: str
    value: float
    lower: float = nan
    upper: float = nan
    statistic: float = nan
    p_value: float = nan
    flag: str = ""

    def __post_init__(self) -> None:
        named = f"{self.measure} ({self.method})"
        if (isnan(self.value) or isnan(self.p_value)) and not self.flag:
            raise ValueError(f"{named}: a number is missing, and the flag does not say why")
        if self.p_value < 0 or self.p_value > 1:
            raise ValueError(f"{named}: a p-value lies between 0 and 1, got {self.p_value}")
        allowance = _ROUNDING * max(1.0, abs(self.value))
        if self.lower > self.value + allowance or self.upper < self.value - allowance:
            raise ValueError(f"{named}: {self.value} lies outside its interval, {self.lower} to {self.upper}")


def untold(measure: str, method: str, why: str) -> Effect:
    """Return an effect that cannot be told, with the reason."""
    return Effect(measure, method, nan, flag=why)
