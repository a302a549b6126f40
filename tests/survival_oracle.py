"""How tests of survival read the cases that R computed."""

from functools import partial

import numpy as np

from oracle import cases

FILE = "05_survival.json"
MARKERS = [
    "marker_lung_age",
    "marker_sim69",
    "marker_sim69_tied",
    "marker_veteran_neg_karno",
    "marker_lung_missing",
    "marker_tiny8",
]
COX = ["cox_lung", "cox_veteran", "cox_sim69_tied", "cox_univariable_s69"]


of_r = partial(cases, FILE)


def arrays(case, *names):
    """R drops patients with a missing value; our functions want them dropped before."""
    given = case["inputs"]
    there = np.array([all(given[name][row] == given[name][row] for name in names) for row in range(len(given["time"]))])
    return [np.array(given[name])[there] for name in names]


def of_cox(case):
    """Time, event and the covariates of the formula, with the names of the latter."""
    names = case["inputs"]["formula"].split("~")[1].replace(" ", "").split("+")
    data = {name: np.array(values, dtype=float) for name, values in case["inputs"]["data"].items()}
    return data["time"], data["event"], np.column_stack([data[name] for name in names]), names
