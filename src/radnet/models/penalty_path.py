"""Elastic-net models along a falling penalty, as R's glmnet fits them: the solver that every likelihood shares."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from radnet.kernels import kernel

Floats = NDArray[np.float64]

_CLOSE = 1e-11  # of the steepest slope of the model without features: coefficients then hold to about 8 digits
_NEWTON_STEPS = 200
_SWEEPS = 20_000
_EXPLAINED = 0.999  # glmnet's devmax: beyond it nothing is left to explain
_FEWEST = 5  # glmnet's mnlam: a path is no shorter
_SMALLEST_ALPHA = 1e-3  # a ridge has no finite λ_max; glmnet takes that of this mixture


class Loss(Protocol):
    """A convex loss of each row's linear score: half a deviance, per unit of weight.

    Attributes:
        intercept: Whether a constant is learned beside the coefficients.
        unit: What the outcome was divided by; λ and the coefficients given and returned are in the outcome's own.
    """

    intercept: bool
    unit: float

    def value(self, score: Floats) -> float:
        """Return the loss, 0 for a model that explains everything."""

    def slope(self, score: Floats) -> Floats:
        """Return the derivative by each row's score, shape (n,)."""

    def curve(self, score: Floats, columns: Floats) -> Floats:
        """Return the second derivative, shape (n, n), times columns of shape (n, m)."""

    def settled(self, explained: Sequence[float]) -> bool:
        """Return whether a smaller λ hardly explains more, given the share of deviance explained at each λ so far."""


@dataclass(frozen=True, slots=True)
class Path:
    """One model for each of k penalties, on the features' own scale.

    Attributes:
        lambdas: Penalties, falling, shape (k,).
        intercept: Constants, shape (k,); 0 where the model has none.
        coef: Coefficients, shape (k, p).
        explained: Share of the null deviance that each model explains, shape (k,).
    """

    lambdas: Floats
    intercept: Floats
    coef: Floats
    explained: Floats

    def at(self, lambdas: Floats) -> Self:
        """Return models between those fitted, linear in λ; beyond either end the last one holds, as in glmnet."""

        def between(values: Floats) -> Floats:
            return np.array([np.interp(lambdas, self.lambdas[::-1], one[::-1]) for one in values.T]).T

        return type(self)(
            lambdas=lambdas,
            intercept=between(self.intercept[:, None])[:, 0],
            coef=between(self.coef).reshape(len(lambdas), self.coef.shape[1]),
            explained=between(self.explained[:, None])[:, 0],
        )

    def scores(self, X: Floats) -> Floats:
        """Return the linear score of each row by each model, shape (n, k)."""
        return X @ self.coef.T + self.intercept


def fit_path(
    X: Floats,
    loss: Loss,
    weight: Floats,
    *,
    alpha: float,
    lambdas: Floats | None = None,
    count: int = 100,
    ratio: float | None = None,
    standardise: bool = True,
) -> Path:
    """Minimise ``loss(X b) + λ (α |b|₁ + (1 - α)/2 |b|₂²)`` for a falling λ, each model started from the one before.

    Without ``lambdas``, λ falls evenly in logarithm from the smallest at which no feature enters, whose model is that
    without features whatever α is, and stops early where the deviance has settled.

    Args:
        X: Features, shape (n, p).
        loss: Loss of the rows' scores.
        weight: Weight of each row, shape (n,); only their ratios matter.
        alpha: Share of the penalty on absolute values: 1 is the lasso, 0 the ridge.
        lambdas: Penalties to use instead, falling; all of them are.
        count: How many penalties otherwise.
        ratio: The last λ over the first; by default 0.01 where rows are fewer than features, 1e-4 elsewhere.
        standardise: Whether the penalty is on features of standard deviation 1 (over n, not n - 1).

    References:
        Friedman, Hastie, Tibshirani. J Stat Softw 2010;33(1). Simon et al. J Stat Softw 2011;39(5).
        Lee, Sun, Saunders. SIAM J Optim 2014;24:1420 (the steps: Newton's, each solved with its penalty).
    """
    rows, features = X.shape
    share = weight / weight.sum()
    centre = share @ X
    varies = np.ptp(X, axis=0) > 0
    spread = np.sqrt(share @ (X - centre) ** 2) if standardise else np.ones(features)
    spread = np.where(varies & (spread > 0), spread, 1.0)
    ones = int(loss.intercept)
    Z = np.empty((rows, ones + features), order="F")
    Z[:, :ones] = 1.0
    Z[:, ones:] = np.where(varies, (X - centre) / spread, 0.0)
    penalised = np.arange(ones + features) >= ones

    coef = np.zeros(ones + features)
    _solve(Z, loss, coef, np.where(penalised, np.inf, 0.0), np.zeros(len(coef)), close=_CLOSE)
    slope = np.abs(Z[:, ones:].T @ loss.slope(Z @ coef)).max(initial=0.0)
    null = loss.value(Z @ coef)
    given = lambdas is not None
    if lambdas is None:
        ratio = ratio or (0.01 if rows < features else 1e-4)
        lambdas = loss.unit * slope / max(alpha, _SMALLEST_ALPHA) * ratio ** (np.arange(count) / max(count - 1, 1))

    models: list[Floats] = []
    explained: list[float] = []
    for penalty in lambdas / loss.unit:
        if models or given:  # else the model without features
            l1, l2 = (np.where(penalised, penalty * part, 0.0) for part in (alpha, 1.0 - alpha))
            if not _solve(Z, loss, coef, l1, l2, close=_CLOSE * slope):
                warnings.warn(
                    f"the elastic net did not converge at λ = {penalty * loss.unit:g}: the path ends at the λ before",
                    ConvergenceWarning,
                    stacklevel=2,
                )
                break
        models.append(coef.copy())
        explained.append(1.0 - loss.value(Z @ coef) / null if null > 0 else 0.0)
        if not given and len(models) >= _FEWEST and (explained[-1] > _EXPLAINED or loss.settled(explained)):
            break
    if not models:
        raise ValueError(f"the elastic net did not converge at its first λ, {lambdas[0]:g}: begin with a larger one")
    fitted = np.array(models) * loss.unit
    slopes = fitted[:, ones:] / spread
    intercept = fitted[:, 0] - slopes @ centre if ones else np.zeros(len(fitted))
    return Path(np.array(lambdas[: len(models)]), intercept, slopes, np.array(explained))


def _solve(Z: Floats, loss: Loss, coef: Floats, l1: Floats, l2: Floats, *, close: float) -> bool:
    """Move ``coef`` to the minimum, by Newton's steps over the features that are in or want in; tell whether it came.

    It is there when no slope leaves its bounds by more than ``close`` (the Karush-Kuhn-Tucker conditions).
    """
    score = Z @ coef
    penalties = l1 > 0
    goal = loss.value(score) + _penalty(coef, l1, l2)
    for _ in range(_NEWTON_STEPS):
        slope = Z.T @ loss.slope(score)
        excess = _excess(slope + l2 * coef, coef, l1)
        if excess.max(initial=0.0) <= close:
            return True
        active = np.flatnonzero((coef != 0) | (excess > 0) | ~penalties)
        columns = np.asfortranarray(Z[:, active])
        gram = columns.T @ loss.curve(score, columns)
        enough = max(0.1 * close, 1e-3 * float(excess.max()))
        before = coef[active].copy()
        step = _descend(gram, slope[active], before, l1[active], l2[active], enough) - before
        moved = columns @ step
        rounding = 1e-14 * abs(goal)
        for share in 0.5 ** np.arange(30):
            coef[active] = before + share * step
            tried = loss.value(score + share * moved) + _penalty(coef, l1, l2)
            if tried <= goal + rounding:
                break
        else:
            coef[active] = before
            return False
        goal = tried
        score = Z @ coef
    return False


def _excess(slope: Floats, coef: Floats, l1: Floats) -> Floats:
    return np.where(coef != 0, np.abs(slope + np.where(coef != 0, l1, 0.0) * np.sign(coef)), np.maximum(np.abs(slope) - l1, 0.0))


def _penalty(coef: Floats, l1: Floats, l2: Floats) -> float:
    held = coef != 0
    return float(np.sum(l1[held] * np.abs(coef[held])) + 0.5 * np.sum(l2[held] * coef[held] ** 2))


@kernel
def _sweep(gram, slope, coef, l1, l2, close, sweeps):  # type: ignore[no-untyped-def]  # compiled
    for _ in range(sweeps):
        largest = 0.0
        for j in range(len(coef)):
            bend = gram[j, j]
            if bend + l2[j] <= 0.0:
                continue
            old = coef[j]
            pull = bend * old - slope[j]
            size = abs(pull) - l1[j]
            new = (size if pull > 0 else -size) / (bend + l2[j]) if size > 0 else 0.0
            if new != old:
                coef[j] = new
                slope += (new - old) * gram[j]
                largest = max(largest, abs(new - old) * (bend + l2[j]))
        if largest <= close:
            break


def _descend(gram: Floats, slope: Floats, coef: Floats, l1: Floats, l2: Floats, close: float) -> Floats:
    """Minimise a quadratic with its penalty, one coefficient after the other, from its slope at ``coef``."""
    moving = coef.copy()
    _sweep(np.ascontiguousarray(gram), slope.copy(), moving, l1, l2, close, _SWEEPS)
    return moving
