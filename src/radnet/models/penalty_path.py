"""Elastic-net models along a falling penalty, as R's glmnet fits them: the solver that every likelihood shares."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.linalg import LinAlgError
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from sklearn.exceptions import ConvergenceWarning

from radnet.kernels import kernel

Floats = NDArray[np.float64]

_CLOSE = 1e-10  # of the steepest slope of the model without features: coefficients then hold to about 7 digits
_NEWTON_STEPS = 200
_LET_IN = 10  # features at least that may enter at a step
_ROUNDS = 1000
_SWEEPS = 20
_IN_VAIN = 10  # rounds
_PENALTIES = 100
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
    standardise: bool = True,
    ratio: float | None = None,
) -> Path:
    """Minimise ``loss(X b) + λ (α |b|₁ + (1 - α)/2 |b|₂²)`` for a falling λ, each model started from the one before.

    Without ``lambdas``, 100 λ fall evenly in logarithm from the smallest at which no feature enters, whose model is
    that without features whatever α is, to ``ratio`` of it; they stop early where the deviance has settled.

    Args:
        X: Features, shape (n, p).
        loss: Loss of the rows' scores.
        weight: Weight of each row, shape (n,); only their ratios matter.
        alpha: Share of the penalty on absolute values: 1 is the lasso, 0 the ridge.
        lambdas: Penalties to use instead, falling; all of them are.
        standardise: Whether the penalty is on features of standard deviation 1 (over n, not n - 1).
        ratio: Of the last λ to the first; by default 1e-4, or 0.01 where rows are fewer than features.

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
    columns = np.where(varies, (X - centre) / spread, 0.0)

    ones = np.ones((rows, int(loss.intercept)))
    constant = np.zeros(ones.shape[1])
    _solve(ones, loss, constant, l1=np.zeros(len(constant)), l2=np.zeros(len(constant)), close=_CLOSE)
    null = loss.value(ones @ constant)
    steepest = np.abs(columns.T @ loss.slope(ones @ constant)).max(initial=0.0)
    given = lambdas is not None
    if lambdas is None:
        if steepest == 0:
            raise ValueError("no feature goes with the outcome at all: is each of them constant?")
        if ratio is None:
            ratio = 0.01 if rows < features else 1e-4
        largest = loss.unit * steepest / max(alpha, _SMALLEST_ALPHA)
        lambdas = largest * ratio ** np.linspace(0.0, 1.0, _PENALTIES)

    turn = np.eye(0)
    if alpha == 0 and features > rows:  # a ridge's coefficients lie in the span of the rows, and may be turned there
        left, size, turn = np.linalg.svd(columns, full_matrices=False)
        columns = left * size
    Z = np.asfortranarray(np.hstack([ones, columns]))
    coef = np.concatenate([constant, np.zeros(columns.shape[1])])
    penalised = np.arange(len(coef)) >= len(constant)

    models: list[Floats] = []
    explained: list[float] = []
    for penalty in lambdas / loss.unit:
        if models or given:  # else the model without features
            l1, l2 = (np.where(penalised, penalty * part, 0.0) for part in (alpha, 1.0 - alpha))
            if not _solve(Z, loss, coef, l1, l2, close=_CLOSE * steepest):
                warnings.warn(
                    f"the elastic net did not converge at λ = {penalty * loss.unit:g}: the path ends before it",
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
    constants, slopes = fitted[:, : len(constant)].sum(axis=1), fitted[:, len(constant) :]
    slopes = (slopes @ turn if turn.size else slopes) / spread
    if loss.intercept:
        constants = constants - slopes @ centre
    return Path(np.array(lambdas[: len(models)]), constants, slopes, np.array(explained))


def _solve(Z: Floats, loss: Loss, coef: Floats, l1: Floats, l2: Floats, *, close: float) -> bool:
    """Move ``coef`` to the minimum, by Newton's steps over the features that are in or want in; tell whether it came.

    It is there when no slope leaves its bounds by more than ``close`` (the Karush-Kuhn-Tucker conditions).
    """
    score = Z @ coef
    goal = loss.value(score) + _penalty(coef, l1, l2)
    for _ in range(_NEWTON_STEPS):
        slope = Z.T @ loss.slope(score)
        excess = _excess(slope + l2 * coef, coef, l1)
        if excess.max(initial=0.0) <= close:
            return True
        active = _let_in(coef != 0, excess)
        columns = np.asfortranarray(Z[:, active])
        gram = np.ascontiguousarray(columns.T @ loss.curve(score, columns))
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


def _let_in(held: NDArray[np.bool_], excess: Floats) -> NDArray[np.int64]:
    """Return the features that move: those in, and of those that want in no more than as many again.

    The most wanting come first. Where features repeat each other, as filters of one image do, all of them want in, and
    to let in all is to sort out afterwards which of them stays: the first in leave the others nothing to explain.

    References:
        Massias, Gramfort, Salmon. ICML 2018 (working sets that grow with the support).
    """
    wanting = np.flatnonzero(~held & (excess > 0))
    most = max(_LET_IN, int(held.sum()))
    if len(wanting) > most:
        wanting = wanting[np.argsort(-excess[wanting], kind="stable")[:most]]
    return np.union1d(np.flatnonzero(held), wanting)


def _excess(slope: Floats, coef: Floats, l1: Floats) -> Floats:
    """Return how far each slope is from where the penalty would hold its coefficient."""
    return np.where(coef != 0, np.abs(slope + l1 * np.sign(coef)), np.maximum(np.abs(slope) - l1, 0.0))


def _penalty(coef: Floats, l1: Floats, l2: Floats) -> float:
    return float(l1 @ np.abs(coef) + 0.5 * l2 @ coef**2)


def _descend(gram: Floats, slope: Floats, coef: Floats, l1: Floats, l2: Floats, close: float) -> Floats:
    """Return the minimum of a quadratic with its penalty, given its slope at ``coef``.

    Sweeps over single coefficients find which are in and their signs, but then come slowly to where these agree, as
    features do that go together: a linear system says at once where. Where features all but repeat each other, rounding
    holds the slopes off ``close``: it ends where rounds bring them no nearer.
    """
    moving, gradient = coef.copy(), slope.copy()
    bent = gram + np.diag(l2)
    nearest, in_vain = np.inf, 0
    for _ in range(_ROUNDS):
        if _sweep(gram, gradient, moving, l1, l2, close, _SWEEPS):
            break
        away = float(_excess(gradient + l2 * moving, moving, l1).max(initial=0.0))
        in_vain = 0 if away < 0.9 * nearest else in_vain + 1
        nearest = min(nearest, away)
        if in_vain == _IN_VAIN:
            break
        held = np.flatnonzero(moving)
        pull = gradient[held] + l2[held] * moving[held] + l1[held] * np.sign(moving[held])
        try:
            step = -cho_solve(cho_factor(bent[np.ix_(held, held)]), pull)
        except LinAlgError:  # features that repeat each other: sweeps alone come to one of the minima
            continue
        with np.errstate(divide="ignore"):
            crossing = np.where(l1[held] * moving[held] * step < 0, -moving[held] / step, np.inf)
        share = min(1.0, crossing.min(initial=np.inf))  # no further than where the first sign would change
        moved = moving[held] + share * step
        moved[crossing == share] = 0.0
        gradient += gram[:, held] @ (moved - moving[held])
        moving[held] = moved
    return moving


@kernel
def _sweep(gram, slope, coef, l1, l2, close, sweeps):  # type: ignore[no-untyped-def]  # compiled
    """Move one coefficient after the other to where it is best, ``slope`` with it; tell whether all were there."""
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
            return True
    return False
