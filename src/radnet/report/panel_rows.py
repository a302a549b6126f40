"""Which rows of a figure's table a panel shows, on paper and on screen."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from radnet.report.figures.hand import rows_of_panels
from radnet.report.look import in_order
from radnet.tables import is_control


class Place(NamedTuple):
    """What a panel is about; the model is empty where it shows several, the horizon NaN of a binary endpoint."""

    endpoint: str
    model: str
    partition: str
    horizon: float = np.nan

    @property
    def title(self) -> str:
        """The endpoint, with the horizon of a risk by some time."""
        return self.endpoint if np.isnan(self.horizon) else f"{self.endpoint} by {self.horizon:g}"


def whole(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out single centres and, where there are models besides, control models."""
    table = table[table["centre"] == ""] if "centre" in table else table
    controls = table["model"].map(is_control).astype(bool)
    return table if controls.all() else table[~controls]


def drawn(table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Choose what a printed figure has room for, and say in a sentence what is left out: see ``rows_of_panels``."""
    rows, note = rows_of_panels(table)
    return table[pd.MultiIndex.from_frame(table[["endpoint", "model"]]).isin(rows)], note


def grid(table: pd.DataFrame, by_model: bool = True) -> Iterator[tuple[int, int, Place, pd.DataFrame]]:
    """Yield row, column, place and rows of each panel: a row per endpoint, model and horizon, a column per partition.

    Args:
        table: Columns endpoint, model, partition and, where risks are by a time, horizon; typed.
        by_model: Whether each model has panels of its own.
    """
    horizon = table["horizon"] if "horizon" in table else pd.Series(np.nan, table.index)
    names = table.assign(model=table["model"] if by_model else "", horizon=horizon)[["endpoint", "model", "horizon"]]
    of_row, _ = pd.factorize(pd.MultiIndex.from_frame(names.fillna({"horizon": np.inf})))
    for row in range(of_row.max(initial=-1) + 1):
        rows = table[of_row == row]
        endpoint, model, at = names[of_row == row].iloc[0]
        for column, partition in enumerate(in_order(table["partition"])):
            panel = rows[rows["partition"] == partition]
            if not panel.empty:
                yield row, column, Place(endpoint, model, partition, at), panel


def size(table: pd.DataFrame, by_model: bool = True) -> tuple[int, int]:
    """Return how many rows and columns of panels ``grid`` fills."""
    return max((row + 1 for row, *_ in grid(table, by_model)), default=0), table["partition"].nunique()


def here(table: pd.DataFrame, place: Place) -> pd.DataFrame:
    """Keep the rows of a panel's model, endpoint and partition."""
    same = (table["endpoint"] == place.endpoint) & (table["model"] == place.model)
    return table[same & (table["partition"] == place.partition)]
