"""How tests read the cases that R computed, and compare numbers with them."""

import numpy as np
import pytest


def cases(file, *names):
    """Run a test on cases of a file of the reference values; its fixture ``case`` gives each."""
    return pytest.mark.parametrize("case", [(file, name) for name in names], ids=names, indirect=True)


def close(ours, theirs, rtol=1e-6, atol=1e-12):
    """Assert that numbers equal another program's: as many of them, NaN where it has NaN, and one at least."""
    ours, theirs = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    assert ours.size, "there is no number to compare"
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)
