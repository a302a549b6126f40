"""Sentences on sample size for the page."""

from dataclasses import dataclass
from pathlib import Path

from radnet.tables import read_table


@dataclass(frozen=True, slots=True)
class SizeTold:
    """A criterion of sample size as a sentence, with whether it is satisfied."""

    verdict: str
    told: str


def sample_size_told(folder: Path) -> list[SizeTold]:
    """Return the sentences of an evaluation's ``tables/sample_size.csv``; none where it has no such file."""
    path = folder / "tables" / "sample_size.csv"
    if not path.is_file():
        return []
    table = read_table(path)
    several = table["endpoint"].nunique() > 1
    words = {"development": "Development", "held_out": "Evaluation"}
    return [
        SizeTold(
            verdict=f"{words.get(row.partition, row.partition)}, {'enough' if _true(row.met) else 'too few'}:",
            told=f"{row.endpoint}: {row.told}" if several else str(row.told),
        )
        for row in table.itertuples()
    ]


def _true(value: object) -> bool:
    return str(value).lower() in ("true", "1", "1.0")
