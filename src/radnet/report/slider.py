"""What the page's threshold slider moves: scores, outcomes and cut-offs, a selection per endpoint, model and partition.

The page counts anew whom a threshold calls positive. It begins at the cut-offs of the evaluation, where its numbers are
those of ``metrics.csv``. Endpoints judged by their follow-up have no such counts and no slider.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from radnet.report.look import PARTITION_LABELS, in_order
from radnet.report.reading import Evaluation, over_all_follow_up, overall, without_ablations
from radnet.tables import is_control

_KEYS = ["endpoint", "model", "partition"]


def slider(evaluation: Evaluation) -> dict[str, Any]:
    """Return the decision rule and the selections that the page embeds; no selection where there is nothing to move."""
    rule = (evaluation.about.get("evaluation") or {}).get("decision_rule") or "ge"
    return {"rule": rule, "selections": list(_selections(evaluation))}


def _selections(evaluation: Evaluation) -> Iterator[Mapping[str, Any]]:
    scores = without_ablations(evaluation.scores).dropna(subset=["event", "score"])
    judged = over_all_follow_up(overall(evaluation.metrics))
    judged = judged[judged["metric"].isin(["auc", "sensitivity"])]
    by_class = set(judged[_KEYS].itertuples(index=False, name=None))
    for endpoint, of_endpoint in scores.groupby("endpoint", sort=False):
        models = sorted(dict.fromkeys(of_endpoint["model"]), key=is_control)
        for model in models:
            of_model = of_endpoint[of_endpoint["model"] == model]
            for partition in in_order(of_model["partition"]):
                if (endpoint, model, partition) in by_class:
                    rows = of_model[of_model["partition"] == partition]
                    named = {"endpoint": endpoint, "model": model}
                    yield named | {"partition": PARTITION_LABELS.get(partition, partition)} | _selection(rows)


def _selection(rows: pd.DataFrame) -> dict[str, Any]:
    """Embed the rows of one selection in the order of their scores, so that no order of patients is told."""
    rows = rows.assign(patient=rows["patient"] if "patient" in rows else np.arange(len(rows)))
    by_score = rows.dropna(subset=["cutoff"]) if rows["cutoff"].notna().any() else rows
    by_score = by_score.sort_values(["score", "event"], kind="stable")
    cutoffs = by_score["cutoff"].dropna().unique()
    times = by_score.groupby("patient")["patient"].transform("size")
    found: dict[str, Any] = {
        "score": _plain(by_score["score"]),
        "event": by_score["event"].astype(int).tolist(),
        "cutoff": _plain(cutoffs)[0] if len(cutoffs) == 1 else _plain(by_score["cutoff"]) if len(cutoffs) else None,
        "rows": None if (times == 1).all() else times.tolist(),  # of his patient, who counts once
        "patients": int(by_score["patient"].nunique()),
        "probability": None,
        "same": False,
    }
    if "probability" in rows and rows["probability"].notna().any():
        known = rows.groupby("patient").agg({"event": "first", "probability": "mean"}).dropna()
        known = known.sort_values(["probability", "event"], kind="stable")
        if known["probability"].between(0, 1).all():
            found["probability"] = {"value": _plain(known["probability"]), "event": known["event"].astype(int).tolist()}
            found["same"] = bool(len(cutoffs) < 2 and rows["probability"].equals(rows["score"]))
    return found


def _plain(values: Any) -> list[float | str]:
    """Write what JSON has no number for as text that JavaScript's ``Number`` reads."""
    known = [float(value) for value in values]
    return [value if np.isfinite(value) else "Infinity" if value > 0 else "-Infinity" for value in known]
