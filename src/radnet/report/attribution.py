"""What the figures of attribution show, on paper and on screen: slices of lesions, and what moves the score in them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radnet.report.look import COLOURS

RAISES, LOWERS = COLOURS[1], COLOURS[0]
"""Colours of voxels that raise the score and of those that lower it."""
STRONGEST = 0.9  # how opaque a colour gets, so that the image shows through
_TEXTS = ("role", "channel", "view")
_NUMBERS = (
    *("lesion_number", "score", "baseline_score", "in_lesion"),
    *("slice", "y", "x", "intensity", "lesion", "attribution"),
)
_OF_PICTURE = ["lesion_number", "channel"]


@dataclass(frozen=True, slots=True)
class Picture:
    """A slice of a channel of a lesion, with the attribution of each voxel; arrays of shape (Y, X).

    Attributes:
        lesion_number: Running number.
        role: Why this lesion is shown.
        score: Of its patch.
        baseline_score: Of the featureless patch.
        in_lesion: Share of the whole patch's attributions, signs aside, that lies in the lesion; NaN if all are 0.
        channel: Whose intensities.
        where: View and number of the slice.
        intensity: Of each voxel.
        lesion: Voxels of the lesion.
        attribution: How much each voxel adds to the score.
    """

    lesion_number: int
    role: str
    score: float
    baseline_score: float
    in_lesion: float
    channel: str
    where: str
    intensity: NDArray[np.float64]
    lesion: NDArray[np.bool_]
    attribution: NDArray[np.float64]

    @property
    def name(self) -> str:
        """Number and role of the lesion."""
        return f"Lesion {self.lesion_number} · {self.role}"

    @property
    def told(self) -> list[str]:
        """What the score is, what it would be without features, how much of the difference is in the lesion; where."""
        share = [] if np.isnan(self.in_lesion) else [f"{self.in_lesion:.0%} of attribution in the lesion"]
        return [f"score {_signed(self.score)}", f"featureless {_signed(self.baseline_score)}", *share, self.where]


def shown_attribution(table: pd.DataFrame | None) -> pd.DataFrame:
    """Return the table ``attribution.csv`` with numbers as numbers; None has no rows.

    Args:
        table: Columns as ``Picture`` has them, a row per voxel with its ``y`` and ``x``.

    Raises:
        ValueError: If a column is missing, or a number is none.
    """
    if table is None:
        return pd.DataFrame(columns=[*_TEXTS, *_NUMBERS])
    if missing := [name for name in (*_TEXTS, *_NUMBERS) if name not in table]:
        raise ValueError(f"attribution.csv lacks the columns {', '.join(missing)}: train again with this version")
    try:
        numbers = {name: pd.to_numeric(table[name].replace("", None)).astype(float) for name in _NUMBERS}
    except (TypeError, ValueError) as error:
        raise ValueError(f"attribution.csv should hold numbers: {error}") from error
    return table.assign(**numbers)


def pictures(table: pd.DataFrame) -> list[list[Picture]]:
    """Return the pictures of a typed table, a list of channels per lesion.

    Raises:
        ValueError: If the voxels of a picture are not those of a rectangle, each once.
    """
    of_lesion: dict[float, list[Picture]] = {}
    for (number, _), rows in table.groupby(_OF_PICTURE, sort=False):
        of_lesion.setdefault(number, []).append(_picture(rows))
    return list(of_lesion.values())


def strongest(shown: Sequence[Sequence[Picture]]) -> float:
    """Return the attribution at which colours end, the same either way and for all pictures.

    It is the 99.5th percentile of all voxels shown, signs aside: single voxels would else pale all others.
    """
    every = np.concatenate([np.abs(picture.attribution).ravel() for row in shown for picture in row])
    return float(np.quantile(every, 0.995)) or float(every.max()) or 1.0


def grey_range(shown: Sequence[Sequence[Picture]], channel: str) -> tuple[float, float]:
    """Return the intensities of a channel that are black and white in all lesions: all but 0.5% at either end."""
    every = [picture.intensity.ravel() for row in shown for picture in row if picture.channel == channel]
    low, high = np.quantile(np.concatenate(every), [0.005, 0.995])
    return float(low), float(high) if high > low else float(low) + 1.0


def paler(grey: tuple[float, float]) -> tuple[float, float]:
    """Return the ends of a scale of grey on which black becomes a light grey: else it would darken colours over it."""
    low, high = grey
    return low - (high - low), high


def outline(lesion: NDArray[np.bool_]) -> tuple[list[float], list[float]]:
    """Return x and y of a line along the sides of voxels between lesion and surroundings, NaN between its pieces.

    Voxel (y, x) reaches from x - ½ to x + ½.
    """
    inside = np.pad(lesion, 1)
    x: list[float] = []
    y: list[float] = []
    for row, column in np.argwhere(inside[:, 1:] != inside[:, :-1]):  # an upright side, right of the column
        x += [column - 0.5, column - 0.5, np.nan]
        y += [row - 1.5, row - 0.5, np.nan]
    for row, column in np.argwhere(inside[1:] != inside[:-1]):  # a level side, below the row
        x += [column - 1.5, column - 0.5, np.nan]
        y += [row - 0.5, row - 0.5, np.nan]
    return x, y


def _picture(rows: pd.DataFrame) -> Picture:
    first = rows.iloc[0]
    y, x = (rows[name].to_numpy().astype(int) for name in ("y", "x"))
    shape = int(np.ptp(y)) + 1, int(np.ptp(x)) + 1
    at = (y - y.min(), x - x.min())
    filled = np.zeros(shape, dtype=int)
    np.add.at(filled, at, 1)
    if not (filled == 1).all():
        raise ValueError(
            f"attribution.csv: lesion {first['lesion_number']:.0f}, channel {first['channel']}: a picture of "
            f"{shape[0]} × {shape[1]} voxels needs each once, got {len(rows)} rows"
        )

    def laid_out(name: str) -> NDArray[np.float64]:
        array = np.zeros(shape)
        array[at] = rows[name].to_numpy()
        return array

    return Picture(
        lesion_number=int(first["lesion_number"]),
        role=str(first["role"]),
        score=float(first["score"]),
        baseline_score=float(first["baseline_score"]),
        in_lesion=float(first["in_lesion"]),
        channel=str(first["channel"]),
        where=f"{first['view']} slice {first['slice']:.0f}",
        intensity=laid_out("intensity"),
        lesion=laid_out("lesion") > 0.5,
        attribution=laid_out("attribution"),
    )


def _signed(number: float) -> str:
    return f"{number:.2f}".replace("-", "−")
