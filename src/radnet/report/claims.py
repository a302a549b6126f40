"""What stands against the headline: simpler models, permuted outcomes, random signatures, optimism, possible leaks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from radnet.evaluation.namesakes import judges, own_name
from radnet.report.look import MEASURE_LABELS, PARTITION_LABELS
from radnet.report.reading import (
    Evaluation,
    comparisons,
    discrimination,
    over_all_follow_up,
    overall,
    preferred,
)
from radnet.report.text import MISSING, Table, decimal, interval_text, p_text, with_interval
from radnet.tables import is_ablation, standing, stands_aside

_RIVALS = {"control_volume": "volume alone", "control_clinical": "clinical variables alone"}
_PERMUTED = {"model": "the model itself", "cox": "Cox model"}
_SIDE_BY_SIDE = {
    ("apparent", ""): "Apparent (CI)",
    ("out_of_fold", ""): "Out-of-fold (CI)",
    ("optimism_corrected", "bootstrap"): "Bootstrap-corrected (CI)",
    ("optimism_corrected", "632plus"): ".632+ (CI)",
    ("held_out", ""): "Held-out (CI)",
}


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence on how the headline fares against a control; ``holds`` is None where nothing was tried."""

    text: str
    detail: str
    holds: bool | None


def claims(evaluation: Evaluation, endpoint: str) -> list[Claim]:
    """Say of each model of an endpoint whether it beats volume and clinical variables alone, then what chance gives."""
    metrics = discrimination(evaluation.metrics)
    metrics = metrics[metrics["endpoint"] == endpoint]
    models = [model for model in dict.fromkeys(metrics["model"]) if not stands_aside(model)]
    told = []
    names = list(dict.fromkeys(metrics["model"]))
    for rival, words in _RIVALS.items():
        rivals = [name for name in names if own_name(name).removesuffix("_negated") == rival]
        if not rivals:
            told.append(
                Claim(f"No control of {words} was run", "whether a simpler model does as well is unknown", None)
            )
            continue
        pairs = [(model, name) for model in models for name in rivals if judges(name, model, names)]
        told += [_against(evaluation, metrics, model, name, words) for model, name in pairs]
    return [*told, *_permutation(evaluation), *_random_signatures(evaluation, metrics, models)]


def side_by_side(evaluation: Evaluation, endpoint: str) -> Table | None:
    """Set apparent, out-of-fold, optimism-corrected and held-out discrimination side by side; None if there is none."""
    rows = over_all_follow_up(overall(evaluation.metrics))
    rows = rows[rows["endpoint"] == endpoint]
    metric = "c_index" if (rows["metric"] == "c_index").any() else "auc"
    rows = rows[rows["metric"] == metric]
    corrected = rows["partition"] == "optimism_corrected"
    rows = pd.concat([preferred(rows[~corrected]).assign(method=""), rows[corrected]])
    found = {(row.model, row.partition, row.method): row for row in list(rows.itertuples())[::-1]}
    shown = [place for place in _SIDE_BY_SIDE if any(key[1:] == place for key in found)]
    if not shown:
        return None
    models = sorted((one for one in dict.fromkeys(rows["model"]) if not is_ablation(one)), key=standing)
    lines = [[model, *(_number(found.get((model, *place))) for place in shown)] for model in models]
    note = "" if corrected.any() else "Optimism-corrected: not computed by the run."
    title = f"{MEASURE_LABELS[metric]}, from the most to the least flattering"
    return Table(title, ["Model", *(_SIDE_BY_SIDE[place] for place in shown)], lines, note=note)


def checked_causes(evaluation: Evaluation) -> list[Claim]:
    """Say of each way in which the outcome may have leaked whether it was found; empty where none was looked for."""
    checks = evaluation.falsification.get("leak_checks") or []
    told = [
        Claim(
            _words(one.get("cause")),
            str(one.get("told") or ""),
            False if one.get("suspicious") else None if one.get("value") is None else True,
        )
        for one in checks
    ]
    return sorted(told, key=lambda claim: [False, None, True].index(claim.holds))


def _against(evaluation: Evaluation, metrics: pd.DataFrame, model: str, rival: str, words: str) -> Claim:
    partitions = set(metrics.loc[metrics["model"] == model, "partition"])
    partition = next((one for one in ("held_out", "out_of_fold") if one in partitions), "")
    place = PARTITION_LABELS.get(partition, partition).lower()
    rows = preferred(over_all_follow_up(comparisons(evaluation.metrics)))
    rows = rows[(rows["endpoint"] == metrics["endpoint"].iloc[0]) & (rows["partition"] == partition)]
    rows = rows[rows["metric"].isin(["auc_difference", "c_index_difference"])]
    for one, other, sign in ((model, rival, 1), (rival, model, -1)):
        found = rows[(rows["model"] == one) & (rows["versus"] == other)]
        if len(found):
            row = found.iloc[0]
            lower, upper = sorted([sign * row["lower"], sign * row["upper"]])
            measure = MEASURE_LABELS[row["metric"].removesuffix("_difference")]
            return _verdict(model, words, measure, place, sign * row["estimate"], lower, upper, row["p_value"])
    return Claim(f"{model} was not compared with {words}", "no difference between the two stands in metrics.csv", None)


def _verdict(
    model: str, words: str, measure: str, place: str, by: float, lower: float, upper: float, p_value: float
) -> Claim:
    interval = interval_text(lower, upper)
    tested = "" if np.isnan(p_value) else f", {p_text(p_value)}"
    number = f"{decimal(by)}{f' ({interval})' if interval else ''}"
    if lower > 0:
        return Claim(f"{model} beats {words} by {number}", f"difference in {measure}, {place}{tested}", True)
    reason = "the interval holds 0" if upper >= 0 else "it is worse"
    if np.isnan(lower):
        reason = "no interval can be given"
    return Claim(
        f"{model} does not beat {words}", f"difference in {measure} {number}, {place}{tested}: {reason}", False
    )


def _permutation(evaluation: Evaluation) -> Iterator[Claim]:
    found = evaluation.falsification.get("permutation")
    if not found or found.get("p_value") is None:
        yield Claim("Outcomes were not permuted", "what the same steps find in noise is unknown", None)
        return
    null, p_value = found.get("null") or [], float(found["p_value"])
    model = str(found.get("model"))
    what = _PERMUTED.get(model, f"{_words(model).lower()} model")
    place = PARTITION_LABELS.get(found.get("partition"), str(found.get("partition"))).lower()
    spread = f" reached {decimal(min(null))} to {decimal(max(null))}" if null else ""
    detail = (
        f"{what} on the same features, {place}: {decimal(float(found['observed']))}; {len(null)} permutations{spread}"
    )
    text = f"Permuted outcomes: {p_text(p_value)}"
    yield Claim(f"{text}{'' if p_value < 0.05 else ', as well as chance may do'}", detail, p_value < 0.05)


def _random_signatures(evaluation: Evaluation, metrics: pd.DataFrame, models: list[str]) -> Iterator[Claim]:
    found = evaluation.falsification.get("random_signatures") or {}
    metric = next((one for one in MEASURE_LABELS if found.get(one)), "")
    values = [float(value) for value in found.get(metric) or []]
    for model in models if values else []:
        own = metrics[
            (metrics["model"] == model) & (metrics["partition"] == "out_of_fold") & (metrics["metric"] == metric)
        ]
        if len(own):
            reached = sum(value >= own["estimate"].iloc[0] for value in values)
            what = f"signatures of {found.get('features')} features drawn at random do as well as {model}"
            detail = f"out of fold, {MEASURE_LABELS[metric]} {decimal(own['estimate'].iloc[0])}"
            yield Claim(f"{reached} of {len(values)} {what}", detail, 20 * reached < len(values))


def _number(row: Any) -> str:
    return MISSING if row is None else with_interval(row.estimate, row.lower, row.upper)


def _words(name: Any) -> str:
    text = str(name or "").replace("_", " ")
    return text[:1].upper() + text[1:]
