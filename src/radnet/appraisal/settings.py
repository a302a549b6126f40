"""How closely a run looks at its own overfitting."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class OptimismSettings:
    """How often the configured model is fitted again to see what it owes to its own patients, and to their number.

    Attributes:
        resamples: Bootstrap samples of the development patients, a fit of each; 0 leaves the correction out.
        learning_shares: Shares of the development patients to learn from, more than 0 and at most 1.
        learning_draws: Nested draws of these shares where patients are held out, else folds that take part; a fit for
            each share, but for those that the run has made; 0 leaves the learning curve out.
    """

    resamples: int
    learning_shares: Sequence[float]
    learning_draws: int

    def __post_init__(self) -> None:
        faults = [
            f"{name} must be 0 or more, got {value}"
            for name, value in (("resamples", self.resamples), ("learning_draws", self.learning_draws))
            if value < 0
        ]
        if not self.learning_shares or not all(0 < share <= 1 for share in self.learning_shares):
            told = ", ".join(f"{share:g}" for share in self.learning_shares)
            faults.append(f"learning_shares must be more than 0 and at most 1, got {told or 'none'}")
        if faults:
            raise ValueError("; ".join(faults))
