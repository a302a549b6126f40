"""Maximal correlation coefficient of a co-occurrence matrix: a second eigenvalue, found without the others.

With P the symmetric matrix of probabilities and D that of its row sums on the diagonal, pyradiomics takes the second
largest eigenvalue of Q = D⁻¹ P D⁻¹ P. The same values belong to the square of A = D^-½ P D^-½, which is symmetric and
whose first eigenvector, √(row sums) at eigenvalue 1, is known. A Lanczos recursion kept orthogonal to that one finds
the next, by magnitude, in O(n²) a step.

References:
    Golub GH, Van Loan CF. Matrix Computations. 4th ed. 2013: Lanczos, §10.1; eigenvalues of tridiagonals, §8.4.
    Wilkinson JH. The Algebraic Eigenvalue Problem. 1965: Laguerre's iteration, §7.
"""

import math

import numpy as np
from numpy.typing import NDArray

from radnet.kernels import kernel

EPSILON = float(np.spacing(1.0))
"""What pyradiomics adds to denominators and logarithms."""

_RESIDUAL = 1e-7  # of a vector of length 1; its eigenvalue is known to about the square of that
_FIRST_LOOK = 16  # steps before the first test of convergence: a test costs as much as some steps
_BROKEN = 1e-13  # a next vector shorter than this is rounding: the recursion has seen all there is


@kernel
def second_eigenvalue(counts: NDArray[np.float64], rows: NDArray[np.float64]) -> tuple[float, bool]:
    """Return the second largest eigenvalue of Q, and whether it is good to eight digits.

    Args:
        counts: Co-occurrences, shape (n, n), symmetric.
        rows: Sums of its rows, shape (n,).

    Returns:
        The eigenvalue, with pyradiomics' epsilon in its denominators, 0 where fewer than two levels are in use. Then
        False where that epsilon changes so much, because levels are very rare, that the value is in doubt.
    """
    size = 0
    for i in range(rows.size):
        size += rows[i] > 0
    if size < 2:
        return 0.0, True
    scaled, first = _scaled(counts, rows, size)
    parts = _parts(scaled)
    if (parts != parts[0]).any():
        return _second_of_parts(scaled, first, parts), True
    steps = size - 1
    basis = np.zeros((steps + 1, size))
    basis[0] = first
    _start(basis[1], first)
    diagonal, beside, weights = np.zeros(steps), np.zeros(steps), np.empty(steps)
    following = np.empty(size)
    look = min(steps, _FIRST_LOOK)
    done = 0
    while True:
        done = _extend(scaled, basis, diagonal, beside, done, look, following)
        if _greatest(diagonal[:done], beside[:done], weights[:done]):
            break
        look = min(steps, done + max(4, done // 4))
    vector = np.zeros(size)
    _add_rows(vector, weights[:done], basis[1:])
    residual = _times_q(scaled, first, vector)
    value = _dot(vector, residual)
    _add(residual, -value, vector)
    rarest = first.min() ** 2
    near_first = value > 0.999 and EPSILON / (rarest * rarest) > 1e-10  # the epsilon then mixes the two
    return value, _dot(residual, residual) <= 1e-12 * value and not near_first


@kernel
def _parts(scaled: NDArray[np.float64]) -> NDArray[np.int64]:
    """Part of each level: two levels with a common neighbour share one. Q couples no two parts, each has its own 1."""
    size = scaled.shape[0]
    parent = np.arange(size)
    parts = size
    for k in range(size):
        first = -1
        for i in range(size):
            if scaled[k, i] > 0.0:
                root = i
                while parent[root] != root:
                    parent[root] = parent[parent[root]]
                    root = parent[root]
                if first < 0:
                    first = root
                elif root != first:
                    parent[root] = first
                    parts -= 1
        if parts == 1:
            parent[:] = 0
            return parent
    for i in range(size):
        root = i
        while parent[root] != root:
            root = parent[root]
        parent[i] = root
    return parent


@kernel
def _second_of_parts(scaled: NDArray[np.float64], first: NDArray[np.float64], parts: NDArray[np.int64]) -> float:
    """Second largest of the parts' first eigenvalues, all of which the epsilon takes a little below 1."""
    largest, second = 0.0, 0.0
    vector = np.empty(first.size)
    for part in range(first.size):
        if parts[part] != part:
            continue
        for i in range(first.size):
            vector[i] = first[i] if parts[i] == part else 0.0
        value = _dot(vector, _times_q(scaled, first, vector)) / _dot(vector, vector)
        if value > largest:
            largest, second = value, largest
        elif value > second:
            second = value
    return second


@kernel
def _scaled(
    counts: NDArray[np.float64], rows: NDArray[np.float64], size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A over the levels in use, and its first eigenvector."""
    used = np.empty(size, dtype=np.int64)
    inverse = np.empty(size)
    first = np.empty(size)
    total = rows.sum()
    found = 0
    for i in range(rows.size):
        if rows[i] > 0:
            used[found] = i
            inverse[found] = 1.0 / math.sqrt(rows[i])
            first[found] = math.sqrt(rows[i] / total)
            found += 1
    scaled = np.empty((size, size))
    for i in range(size):
        source = counts[used[i]]
        for j in range(size):
            scaled[i, j] = source[used[j]] * inverse[i] * inverse[j]
    return scaled, first


@kernel
def _start(vector: NDArray[np.float64], first: NDArray[np.float64]) -> None:
    """A vector near the wanted one where neighbours are alike, and orthogonal to no eigenvector by symmetry."""
    for i in range(vector.size):
        scatter = (i * 0.6180339887498949) % 1.0 - 0.5
        vector[i] = first[i] * (i / vector.size - 0.5) + 0.05 * scatter
    for _ in range(2):
        _add(vector, -_dot(vector, first), first)
    _add(vector, 1.0 / math.sqrt(_dot(vector, vector)) - 1.0, vector)


@kernel
def _extend(
    scaled: NDArray[np.float64],
    basis: NDArray[np.float64],
    diagonal: NDArray[np.float64],
    beside: NDArray[np.float64],
    done: int,
    wanted: int,
    following: NDArray[np.float64],
) -> int:
    """Take the recursion from ``done`` to ``wanted`` steps; return how far it came.

    ``beside[k]`` couples steps k and k + 1, and is 0 where nothing is left to couple to. Row k + 1 of the basis belongs
    to step k, row 0 to the known eigenvector.
    """
    overlaps = np.empty(wanted + 1)
    for step in range(done, wanted):
        current = basis[step + 1]
        _times(scaled, current, following)
        diagonal[step] = _dot(following, current)
        _add(following, -diagonal[step], current)
        if step > 0:
            _add(following, -beside[step - 1], basis[step])
        for row in range(step + 2):
            overlaps[row] = -_dot(following, basis[row])
        _add_rows(following, overlaps[: step + 2], basis)
        length = math.sqrt(_dot(following, following))
        if length < _BROKEN or step + 2 == basis.shape[0]:
            beside[step] = 0.0
            return step + 1
        beside[step] = length
        _add(basis[step + 2], 1.0 / length, following)
    return wanted


@kernel
def _greatest(diagonal: NDArray[np.float64], beside: NDArray[np.float64], weights: NDArray[np.float64]) -> bool:
    """Write the tridiagonal's eigenvector of greatest |eigenvalue|; return whether more steps would change it.

    The eigenvalue at the other end must be known to be the lesser one, or be known as well.
    """
    high = _outermost(diagonal, beside, 1.0)
    low = _outermost(diagonal, beside, -1.0)
    sign = 1.0 if high >= low else -1.0
    left = beside[-1]
    if left > 0.0:
        _eigenvector(diagonal, beside, -sign, min(high, low), weights)
        slack = left * abs(weights[-1])
        if slack > _RESIDUAL and min(high, low) + slack > max(high, low):
            return False
    _eigenvector(diagonal, beside, sign, max(high, low), weights)
    return left * abs(weights[-1]) <= _RESIDUAL


@kernel
def _outermost(diagonal: NDArray[np.float64], beside: NDArray[np.float64], sign: float) -> float:
    """Largest eigenvalue of ``sign`` times the tridiagonal, by Laguerre's iteration from above: all lie in [-1, 1]."""
    size = diagonal.size
    at = 1.00001
    for _ in range(100):
        pivot, slope, bend = sign * diagonal[0] - at, -1.0, 0.0
        sum_first, sum_second = 0.0, 0.0
        for i in range(size):
            if pivot >= 0.0:  # no longer above: the last step reached it, to rounding
                return at
            inverse = 1.0 / pivot
            first, second = slope * inverse, bend * inverse
            sum_first += first
            sum_second += first * first - second
            if i + 1 < size:
                coupling = beside[i] * beside[i] * inverse
                pivot = sign * diagonal[i + 1] - at - coupling
                slope = coupling * first - 1.0
                bend = coupling * (second - 2.0 * first * first)
        spread = max(0.0, (size - 1) * (size * sum_second - sum_first * sum_first))
        step = size / (sum_first + math.sqrt(spread))
        at -= step
        if step < 1e-15:
            break
    return at


@kernel
def _eigenvector(
    diagonal: NDArray[np.float64], beside: NDArray[np.float64], sign: float, value: float, vector: NDArray[np.float64]
) -> None:
    """Eigenvector of ``sign`` times the tridiagonal for its largest eigenvalue, by two steps of inverse iteration."""
    size = diagonal.size
    pivots = np.empty(size)
    vector[:] = 1.0
    for i in range(size):
        pivots[i] = sign * diagonal[i] - value - 1e-15
        if i > 0:
            pivots[i] -= beside[i - 1] * beside[i - 1] / pivots[i - 1]
        pivots[i] = min(pivots[i], -1e-16)  # from above, all are negative but for rounding
    for _ in range(2):
        for i in range(1, size):
            vector[i] -= sign * beside[i - 1] / pivots[i - 1] * vector[i - 1]
        vector[size - 1] /= pivots[size - 1]
        for i in range(size - 2, -1, -1):
            vector[i] = (vector[i] - sign * beside[i] * vector[i + 1]) / pivots[i]
        length = math.sqrt(_dot(vector, vector))
        for i in range(size):
            vector[i] /= length


@kernel
def _times_q(
    scaled: NDArray[np.float64], first: NDArray[np.float64], vector: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Product of D^½ Q D^-½ with a vector, Q as pyradiomics builds it.

    With t = epsilon / (p_i p_k), p the row sums, 1 / (p_i p_k + epsilon) is (1 - t + t² ...) / (p_i p_k), so that each
    power of t is one more product with A.
    """
    once, twice, change = np.empty(vector.size), np.empty(vector.size), np.empty(vector.size)
    _times(scaled, vector, once)
    _times(scaled, once, twice)
    for power in range(1, 3):
        for i in range(vector.size):
            once[i] /= -first[i] * first[i]
        _times(scaled, once, change)
        for i in range(vector.size):
            twice[i] += change[i] * (EPSILON / (first[i] * first[i])) ** power
    return twice


@kernel
def _times(matrix: NDArray[np.float64], vector: NDArray[np.float64], product: NDArray[np.float64]) -> None:
    """Product with a symmetric matrix."""
    product[:] = 0.0
    _add_rows(product, vector, matrix)


@kernel
def _add_rows(target: NDArray[np.float64], factors: NDArray[np.float64], rows: NDArray[np.float64]) -> None:
    """Add each row times its factor; four rows at once, to pass over the target less often."""
    whole = factors.size // 4 * 4
    for k in range(0, whole, 4):
        f0, f1, f2, f3 = factors[k], factors[k + 1], factors[k + 2], factors[k + 3]
        r0, r1, r2, r3 = rows[k], rows[k + 1], rows[k + 2], rows[k + 3]
        for i in range(target.size):
            target[i] += (f0 * r0[i] + f1 * r1[i]) + (f2 * r2[i] + f3 * r3[i])
    for k in range(whole, factors.size):
        _add(target, factors[k], rows[k])


@kernel
def _add(target: NDArray[np.float64], factor: float, vector: NDArray[np.float64]) -> None:
    for i in range(target.size):
        target[i] += factor * vector[i]


@kernel
def _dot(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
    whole = a.size // 4 * 4
    for i in range(0, whole, 4):
        s0 += a[i] * b[i]
        s1 += a[i + 1] * b[i + 1]
        s2 += a[i + 2] * b[i + 2]
        s3 += a[i + 3] * b[i + 3]
    for i in range(whole, a.size):
        s0 += a[i] * b[i]
    return (s0 + s1) + (s2 + s3)
