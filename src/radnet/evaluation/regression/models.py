"""Models of the same patients side by side: log-likelihoods and Akaike's information criterion."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import isclose, nan

import pandas as pd

from radnet.evaluation.regression.fit import Fit
from radnet.evaluation.regression.table import complete_cases, fitted

COLUMNS = (
    *("model", "variables", "n", "n_event", "coefficients"),
    *("log_likelihood", "aic", "difference", "note"),
)
"""Columns of a table of models; ``difference`` is how far the AIC is above the least."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model at the maximum of its likelihood, and whom it was fitted to.

    Attributes:
        variables: Columns it was made of.
        patients: Their names in the index of the table, each once.
        fit: The model.
    """

    variables: tuple[str, ...]
    patients: tuple[Hashable, ...]
    fit: Fit

    def __post_init__(self) -> None:
        if len(set(self.patients)) < len(self.patients):
            raise ValueError("a model needs patients by name: the index of the table names one more than once")


def fit_model(table: pd.DataFrame, variables: Sequence[str], *, event: str, time: str | None = None) -> Model:
    """Fit a logistic model (Cox's, with a time) to the patients who have its variables, named by the table's index."""
    patients = complete_cases(table, variables, event=event, time=time).index
    fit, _ = fitted(table, variables, event=event, time=time)
    return Model(tuple(variables), tuple(patients), fit)


def compare_aic(models: Mapping[str, Model]) -> pd.DataFrame:
    """Set the AIC of models of the same patients side by side.

    A criterion adds up over the patients it was made of, so that a model of fewer has a smaller one for that reason
    alone.

    Args:
        models: Name to model.

    Returns:
        ``COLUMNS``, a row per model in the order given.

    Raises:
        ValueError: If there is no model, two are of other patients (how many, and the first of them), or of another
            outcome.

    References:
        Akaike. IEEE Trans Automat Contr 1974;19:716-723. Burnham, Anderson 2002, Springer, section 2.11.1.
    """
    if not models:
        raise ValueError("an AIC is compared between models, and there is none")
    first, *others = models
    for other in others:
        _refuse_other_patients(first, models[first], other, models[other])
    least = min(one.fit.aic for one in models.values())
    rows = [
        {
            "model": name,
            "variables": " + ".join(one.variables),
            "n": one.fit.n,
            "n_event": one.fit.n_event,
            "coefficients": one.fit.coefficient.size,
            "log_likelihood": one.fit.log_likelihood,
            "aic": one.fit.aic,
            "difference": one.fit.aic - least,
            "note": "",
        }
        for name, one in models.items()
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def models_table(
    table: pd.DataFrame, models: Mapping[str, Sequence[str]], *, event: str, time: str | None = None
) -> pd.DataFrame:
    """Fit models to the patients who have every variable of all of them, and set them side by side.

    Args:
        table: One row per patient.
        models: Name to variables.
        event: Column of 0 and 1.
        time: Column of follow-up; given, the models are Cox's.

    Returns:
        ``COLUMNS``, a row per model in the order given. A model without a maximum, as where a variable separates the
        patients, has no numbers, and ``note`` says why.

    Raises:
        ValueError: If a column is unknown, or no patient has every variable.
    """
    every = list(dict.fromkeys(variable for variables in models.values() for variable in variables))
    whole = complete_cases(table, every, event=event, time=time)
    found: dict[str, Model] = {}
    untold: dict[str, str] = {}
    for name, variables in models.items():
        try:
            found[name] = fit_model(whole, variables, event=event, time=time)
        except ValueError as fault:
            untold[name] = str(fault)
    shared = {"n": len(whole), "n_event": int(whole[event].sum())}
    numbers = dict.fromkeys(("coefficients", "log_likelihood", "aic", "difference"), nan)
    rows = compare_aic(found).set_index("model").to_dict("index") if found else {}
    rows |= {
        name: {"variables": " + ".join(models[name]), **shared, **numbers, "note": why} for name, why in untold.items()
    }
    return pd.DataFrame([{"model": name, **rows[name]} for name in models], columns=list(COLUMNS))


def _refuse_other_patients(name: str, one: Model, other_name: str, other: Model) -> None:
    mine, theirs = set(one.patients), set(other.patients)
    differing = [patient for patient in (*one.patients, *other.patients) if patient not in mine & theirs]
    if differing:
        told = ", ".join(map(str, differing[:5])) + (", …" if len(differing) > 5 else "")
        raise ValueError(
            f"an AIC is compared between models of the same patients, but {name} and {other_name} differ in "
            f"{len(differing)} ({told}): fit both to the patients who have the variables of either"
        )
    if not isclose(one.fit.log_likelihood_null, other.fit.log_likelihood_null, rel_tol=1e-9):
        raise ValueError(f"an AIC is compared between models of one outcome, but {name} and {other_name} differ in it")
