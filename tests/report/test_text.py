import doctest

import numpy as np
import pytest

from radnet.report import text
from radnet.report.text import MISSING, count, decimal, interval_text, p_text, percent, with_interval


def test_the_examples_in_the_docstrings_run():
    assert doctest.testmod(text).failed == 0


@pytest.mark.parametrize(
    ("number", "written"),
    [(0.0625, "0.062"), (-0.5, "−0.500"), (-0.0001, "0.000"), (np.inf, "∞"), (-np.inf, "−∞"), (np.nan, MISSING)],
)
def test_a_number_has_a_true_minus_sign_and_no_negative_zero(number, written):
    assert decimal(number) == written


@pytest.mark.parametrize(
    ("lower", "upper", "written"),
    [(0.1, 0.2, "0.1–0.2"), (-0.1, 0.2, "−0.1 to 0.2"), (4.2, np.inf, "4.2 to ∞"), (np.nan, np.nan, "")],
)
def test_an_interval_that_a_dash_would_blur_is_written_with_to(lower, upper, written):
    assert interval_text(lower, upper, 1) == written


@pytest.mark.parametrize("write", [count, decimal, p_text, lambda number: percent(number, 0, 1)])
def test_what_is_missing_is_a_dash(write):
    assert write(np.nan) == MISSING
    assert with_interval(np.nan, 0.1, 0.2) == MISSING
