"""A paper's first table as a terminal shows it."""

from string import ascii_lowercase

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from radnet.evaluation.regression.shown import p_text
from radnet.tables import printable

_OTHERS = ("variable", "level", "test", "p_value", "p_adjusted")


def shown_table_one(table: pd.DataFrame) -> Table:
    """Return the rows of ``table_one``, a variable's name above its levels; ``told_tests`` names the tests by letter.

    A variable of one row stands in one line.
    """
    groups = [name for name in table.columns if name not in _OTHERS]
    adjusted = "p_adjusted" in table.columns
    letters = _letters(table)
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    shown.add_column("", overflow="fold")
    for name in groups:
        shown.add_column(Text(printable(name)), justify="right", overflow="fold")
    for heading in ("p", *(["adjusted"] if adjusted else [])):
        shown.add_column(heading, justify="right", no_wrap=True)
    for variable, rows in table.groupby("variable", sort=False):
        name, first = printable(str(variable)), rows.iloc[0]
        told = [f"{p_text(first['p_value'])} {letters.get(first['test'], ' ')}".lstrip()]
        told += [p_text(first["p_adjusted"])] if adjusted else []
        levels = [printable(str(level)) for level in rows["level"]]
        cells = [
            [Text(printable(str(row[group])).replace(" %)", "%)")) for group in groups] for _, row in rows.iterrows()
        ]
        if len(levels) == 1:
            shown.add_row(Text(", ".join(filter(None, (name, levels[0])))), *cells[0], *told)
            continue
        shown.add_row(Text(name), *[""] * len(groups), *told)
        for level, here in zip(levels, cells, strict=True):
            shown.add_row(Text(f"  {level}"), *here)
    return shown


def told_tests(table: pd.DataFrame) -> str:
    """Return lines that name the test of each letter beside a p-value."""
    return "\n".join(f"{letter}: {printable(test)}" for test, letter in _letters(table).items())


def _letters(table: pd.DataFrame) -> dict[str, str]:
    tests = [test for test in dict.fromkeys(table["test"]) if test]
    return dict(zip(tests, ascii_lowercase, strict=False))
