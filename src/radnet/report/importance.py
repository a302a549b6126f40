"""What the figures of importance show, on paper and on screen: the largest of each kind, and how many are left out."""

from collections.abc import Iterator

import pandas as pd

from radnet.report.look import in_order
from radnet.report.panel_rows import whole
from radnet.report.reading import typed

KIND_LABELS = {"branch": "Branches", "group": "Groups of features", "feature": "Features"}
MOST_OF_A_KIND = 15
_METHODS = {
    "permutation": "AUC lost when permuted",
    "permutation_c_index": "C-index lost when permuted",
    "coefficient_per_sd": "Log odds per SD",
    "log_hazard_per_sd": "Log hazard per SD",
}


def shown_importance(importance: pd.DataFrame) -> Iterator[tuple[tuple[str, str, str], list[tuple[str, pd.DataFrame]]]]:
    """Yield endpoint, model and partition of each panel (empty where unnamed), with its kinds and their largest rows.

    Args:
        importance: Columns kind (branch, group, feature), name, importance, lower, upper, partition; perhaps endpoint
            and model.
    """
    table = typed(importance)
    named = {name: table.get(name, "") for name in ("endpoint", "model", "partition")}
    table = whole(table.assign(**named).dropna(subset=["importance"]))
    for (endpoint, model), of_model in table.groupby(["endpoint", "model"], sort=False):
        for partition in in_order(of_model["partition"]):
            rows = of_model[of_model["partition"] == partition]
            known = [kind for kind in KIND_LABELS if kind in set(rows["kind"])]
            kinds = [*known, *(kind for kind in dict.fromkeys(rows["kind"]) if kind not in known)]
            yield (str(endpoint), str(model), str(partition)), [(kind, _largest(rows, kind)) for kind in kinds]


def kind_label(kind: str, shown: int, all_of_kind: int) -> str:
    """Name a kind, and say how many of it are shown where some are not."""
    label = KIND_LABELS.get(kind, kind)
    return label if shown == all_of_kind else f"{label} (largest {shown} of {all_of_kind})"


def method_words(importance: pd.DataFrame) -> str:
    """Name the axis by the one method of a table."""
    methods = set(importance.get("method", pd.Series(dtype=str))) - {""}
    return _METHODS.get(methods.pop(), "Importance") if len(methods) == 1 else "Importance"


def _largest(rows: pd.DataFrame, kind: str) -> pd.DataFrame:
    of_kind = rows[rows["kind"] == kind]
    size = of_kind["importance"]
    if not of_kind.get("method", pd.Series(dtype=str)).str.startswith("permutation").all():
        size = size.abs()  # a coefficient matters whatever its sign
    ordered = of_kind.loc[size.sort_values(ascending=False, kind="stable").index]
    return ordered.head(MOST_OF_A_KIND).assign(of_kind=len(of_kind))
