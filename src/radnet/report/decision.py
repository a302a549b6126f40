"""What the panels of decision curves and of clinical impact share, on paper and on screen."""

import numpy as np
import pandas as pd

from radnet.report.panel_rows import Place, here
from radnet.report.reading import overall

IMPACT_LABELS = {"high_risk": "called high risk", "true_positive": "called high risk, with the event"}


def net_benefit_range(panel: pd.DataFrame) -> tuple[float, float]:
    """Span net benefits from a little below nothing to above the best; what harms more falls out of sight."""
    best = float(np.nanmax(panel[["net_benefit", "net_benefit_all"]].to_numpy(), initial=0.01))
    return -0.2 * best, 1.15 * best


def impact_bands(metrics: pd.DataFrame, place: Place, name: str) -> pd.DataFrame:
    """Return threshold, lower and upper of a count of clinical impact, where typed metrics have its interval."""
    rows = here(overall(metrics), place)
    rows = rows[rows["metric"] == f"impact_{name}"]
    at = rows["horizon"].isna() if np.isnan(place.horizon) else rows["horizon"] == place.horizon
    return rows.loc[at, ["at", "lower", "upper"]].dropna().sort_values("at")


def impact_table(decision: pd.DataFrame) -> pd.DataFrame:
    """Keep what the figure of clinical impact draws of the points of decision curves."""
    of_curve = [name for name in decision.columns if name not in ("net_benefit", "lower", "upper", "net_benefit_all")]
    return decision[of_curve]
