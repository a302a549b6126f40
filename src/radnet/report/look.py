"""What all of a report shares: the words for partitions, groups and methods, their order, and the colours."""

from collections.abc import Iterable, Sequence
from typing import Literal

from radnet.tables import is_control

Dash = Literal["solid", "dashed", "dashdot", "dotted"]

PARTITION_LABELS = {
    "held_out": "Held-out",
    "out_of_fold": "Out-of-fold",
    "optimism_corrected": "Optimism-corrected",
    "apparent": "Apparent",
}
GROUP_LABELS = {"low": "Low risk", "high": "High risk", "": "All patients"}
OUTCOME_LABELS = ("No event", "Event")
CALL_LABELS = ("Low", "High")
MEASURE_LABELS = {"auc": "AUC", "c_index": "C-index"}
METHOD_LABELS = {
    "delong": "DeLong",
    "delong_logit": "DeLong on the logit scale",
    "delong_paired": "DeLong, paired",
    "delong_unpaired": "DeLong, unpaired",
    "bootstrap": "bootstrap over patients",
    "clopper_pearson": "Clopper–Pearson",
    "wilson": "Wilson",
    "harrell": "Harrell",
    "uno": "Uno",
    "cox_efron": "Cox model with Efron ties",
    "corrected_t": "corrected resampled t-test over folds",
    "km": "Kaplan–Meier",
    "youden": "Youden index",
    "max_sensitivity": "highest sensitivity at the specificity asked for",
    "median": "median score",
    "maxstat": "maximally selected log-rank statistic",
    "time_youden": "Youden index at the horizon",
    "fixed": "a value fixed beforehand",
}
# Okabe and Ito's palette, told apart by readers with any common colour blindness; dashes serve a grey print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES: tuple[Dash, ...] = ("solid", "dashed", "dashdot", "dotted")
GREY = "#767676"
FAINT = "#b4b4b4"
CONTROL_COLOURS = (GREY, "#3d3d3d")
MOST = 8  # more curves in a panel, or panels under one another, cannot be read

RATE_STYLES: dict[str, tuple[str, str, Dash]] = {  # what a cut-off gives: its words, colour and dash
    "sensitivity": ("Sensitivity", COLOURS[0], "solid"),
    "specificity": ("Specificity", COLOURS[1], "dashed"),
    "youden": ("Youden index", COLOURS[2], "dashdot"),
}


def in_order(partitions: Iterable[str]) -> list[str]:
    """Sort partitions as a reader should meet them: held-out, out-of-fold, apparent, then any other by name."""
    return _sorted_as(list(PARTITION_LABELS), partitions)


def curve_style(models: Sequence[str]) -> dict[str, tuple[str, Dash]]:
    """Give every model a colour and a dash of its own, the same in each panel; controls stand last, in grey."""
    names = list(dict.fromkeys(models))
    real, controls = [name for name in names if not is_control(name)], [name for name in names if is_control(name)]
    looks = {model: (COLOURS[place % len(COLOURS)], DASHES[place % len(DASHES)]) for place, model in enumerate(real)}
    return looks | {
        model: (CONTROL_COLOURS[place // len(DASHES) % 2], DASHES[place % len(DASHES)])
        for place, model in enumerate(controls)
    }


def group_colours(groups: Iterable[str]) -> dict[str, str]:
    """Give every risk group its colour, low risk first."""
    ordered = _sorted_as(list(GROUP_LABELS), groups)
    return {group: COLOURS[place % len(COLOURS)] for place, group in enumerate(ordered)}


def _sorted_as(known: Sequence[str], names: Iterable[str]) -> list[str]:
    return sorted(set(names), key=lambda name: (known.index(name) if name in known else len(known), name))
