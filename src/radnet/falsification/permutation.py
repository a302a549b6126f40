"""Is there anything to be found? Outcomes permuted between patients, and what is then found all the same."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from radnet.cohort import Cohort


@dataclass(frozen=True)
class PermutationTest:
    """A statistic, and the same statistic under permuted outcomes."""

    observed: float
    null: tuple[float, ...]

    @property
    def p_value(self) -> float:
        """(1 + permutations that reach the observed) / (1 + permutations); never 0 (Phipson and Smyth 2010)."""
        reached = sum(value >= self.observed for value in self.null)
        return (1 + reached) / (1 + len(self.null))


def permuted_outcomes(cohort: Cohort, endpoint: str, seed: int, number: int) -> Cohort:
    """Return the cohort with the outcomes of an endpoint permuted between the patients of each centre.

    Within centres, since a model that only knows the centre of a scan has found nothing in the lesion: each centre
    keeps its share of events, and what is tested is what the features say beyond it.

    Args:
        cohort: Patients of known outcome.
        endpoint: Endpoint whose outcomes move.
        seed: Seed of all permutations.
        number: Which permutation; the n-th is the same however many there are.
    """
    rng = np.random.default_rng([seed, number])
    centres = np.array(cohort.centres)
    order = np.arange(len(cohort))
    for centre in sorted(set(centres)):
        here = np.flatnonzero(centres == centre)
        order[here] = rng.permutation(here)
    outcomes = [cohort.patients[place].outcomes[endpoint] for place in order]
    patients = tuple(
        replace(one, outcomes={**one.outcomes, endpoint: outcome})
        for one, outcome in zip(cohort.patients, outcomes, strict=True)
    )
    return replace(cohort, patients=patients)


def permutation_test(
    cohort: Cohort,
    endpoint: str,
    statistic: Callable[[Cohort, int], float],
    permutations: int,
    seed: int,
    progress: Callable[[int, int, str], None] | None = None,
) -> PermutationTest:
    """Compare a statistic with what it is when outcomes are permuted within centres.

    The folds belong to the statistic and are drawn anew for each permutation, by the same rule and seed: folds that are
    stratified by the outcome depend on it, and the test is exact only if all that depends on the outcome is repeated.

    Args:
        cohort: Patients of known outcome.
        endpoint: Endpoint whose outcomes are permuted.
        statistic: Larger = more is found; called with a cohort and the number of its permutation, 0 for the true one.
        permutations: How many.
        seed: Seed of the permutations.
        progress: Called with permutations done, permutations in all and a word on the next.
    """
    observed = statistic(cohort, 0)
    null = []
    for number in range(1, permutations + 1):
        if progress is not None:
            progress(number - 1, permutations, f"permutation {number}")
        null.append(statistic(permuted_outcomes(cohort, endpoint, seed, number), number))
    if progress is not None:
        progress(permutations, permutations, "")
    return PermutationTest(observed, tuple(null))
