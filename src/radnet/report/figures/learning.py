"""Would more patients help: a model's AUC by how many it learned from."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from radnet.report.figures.hand import in_hand, need_rows, panels_of_one_size, title_of
from radnet.report.learning_curve import BAND, DRAWS, POINT, measure, measure_range, shown_learning_curve
from radnet.report.look import COLOURS, GREY, in_order


@in_hand
def learning_figure(learning_curve: pd.DataFrame) -> Figure:
    """Draw the metric of models learned from growing shares of the patients, a panel per partition judged.

    Args:
        learning_curve: Columns n, partition, metric, estimate, lower, upper; perhaps lowest, highest of the draws.

    Raises:
        ValueError: If there is no point to draw.
    """
    table = shown_learning_curve(learning_curve)
    need_rows(table, "point of a learning curve")
    partitions = in_order(table["partition"])
    figure, panels = panels_of_one_size(1, len(partitions), width=2.5, height=2.0, left=0.55, below=0.95, right=0.2)
    for (_, column), axes in np.ndenumerate(panels):
        partition = partitions[column]
        curve = table[table["partition"] == partition]
        axes.axhline(0.5, color=GREY, linewidth=0.7)
        shade = {"color": COLOURS[0], "alpha": 0.15, "linewidth": 0}
        axes.fill_between(curve["n"], curve["lower"], curve["upper"], label=BAND, **shade)
        drawn = curve.dropna(subset=["lowest", "highest"])
        if len(drawn):
            axes.vlines(drawn["n"], drawn["lowest"], drawn["highest"], color=COLOURS[1], linewidth=1, label=DRAWS)
        axes.plot(curve["n"], curve["estimate"], "o-", color=COLOURS[0], markersize=3.5, label=POINT)
        axes.set_xticks(curve["n"], [f"{n:.0f}" for n in curve["n"]])
        axes.set(ylim=measure_range(table), xlabel="Patients learned from", ylabel=measure(curve))
        axes.set_title(title_of(partition), loc="left")
        axes.legend(loc="upper left", bbox_to_anchor=(-0.05, -0.24), borderaxespad=0, borderpad=0, labelspacing=0.35)
    return figure
