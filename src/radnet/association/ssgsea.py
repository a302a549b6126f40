"""Gene sets scored in each patient by the ranks of all genes: single-sample gene set enrichment."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from radnet.association.side_by_side import listed, numbers
from radnet.tables import TableFault

Floats = NDArray[np.float64]


def ssgsea(
    expression: pd.DataFrame, gene_sets: Mapping[str, Sequence[str]], alpha: float = 0.25, normalise: bool = True
) -> pd.DataFrame:
    """Return how high the genes of each set rank in each patient, equal to GSVA's ssGSEA.

    Walking a patient's genes from the highest down, the score sums the distance of two distribution functions: that of
    the set's genes, each weighing rank to the power of ``alpha``, and that of the others. Equal expression takes the
    mean rank, cut to a whole number, and the order of the table, as in GSVA 1.46; gseapy differs there. Genes of a set
    that the table lacks are left out: ``coverage`` tells how many.

    Args:
        expression: A row per gene, a column per patient; complete, in any unit, since only order counts.
        gene_sets: Genes of each set, by the names of the table's rows; a gene named twice counts once.
        alpha: Weight of the ranks; 0.25 is that of the method's authors.
        normalise: Divide every score by the range of all scores of the table. Scores then depend on which patients and
            sets were scored together: leave it off to score new patients one by one.

    Returns:
        A row per patient, a column per set.

    Raises:
        TableFault: If a gene or patient stands twice, a value is missing or no finite number, or a set has none of its
            genes in the table, or all genes of the table.
        ValueError: If ``alpha`` is below 0, or scores to normalise are all equal.

    References:
        Barbie et al. Nature 2009;462:108-112, supplement. Hänzelmann, Castelo, Guinney. BMC Bioinformatics 2013;14:7.

    Example:
        >>> expression = pd.DataFrame({"P1": [9.0, 8.0, 1.0, 2.0], "P2": [1.0, 2.0, 9.0, 8.0]}, index=list("ABCD"))
        >>> ssgsea(expression, {"hot": ["A", "B"]}, alpha=0.0, normalise=False)["hot"].tolist()
        [2.0, -2.0]
    """
    if alpha < 0:
        raise ValueError(f"alpha must be 0 or more, got {alpha}")
    table = numbers(expression, "expression")
    member = _members(table, gene_sets)
    rank = rankdata(table.to_numpy(), axis=0).astype(np.int64)  # a mean rank is cut to a whole number, as in GSVA
    order = np.argsort(-rank, axis=0, kind="stable")
    genes = len(table)
    left = np.empty_like(rank)  # genes from each one to the end of the walk: how often its step is summed
    np.put_along_axis(left, order, np.arange(genes, 0, -1)[:, None], axis=0)
    weight = rank.astype(float) ** alpha
    within = (member.T @ (weight * left)) / (member.T @ weight)
    outside = (genes * (genes + 1) / 2 - member.T @ left) / (genes - member.sum(axis=0))[:, None]
    score = within - outside
    if normalise:
        if (spread := float(np.ptp(score))) == 0:
            raise ValueError(f"scores are normalised by their range, but all {score.size} are equal: normalise=False")
        score = score / spread
    return pd.DataFrame(score.T, index=table.columns, columns=list(gene_sets))


def coverage(expression: pd.DataFrame, gene_sets: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Return how many genes of each set a table has, and which it lacks.

    Args:
        expression: A row per gene.
        gene_sets: Genes of each set; a gene named twice counts once.

    Returns:
        A row per set: ``genes`` asked for, ``found``, ``missing``, and ``absent``, the names of the latter.
    """
    rows = {}
    for name, asked in gene_sets.items():
        genes = pd.Index(dict.fromkeys(asked))
        absent = genes[~genes.isin(expression.index)]
        rows[name] = (len(genes), len(genes) - len(absent), len(absent), ", ".join(map(str, absent)))
    return pd.DataFrame.from_dict(rows, orient="index", columns=["genes", "found", "missing", "absent"])


def _members(table: pd.DataFrame, gene_sets: Mapping[str, Sequence[str]]) -> Floats:
    """Return which genes belong to which sets, shape (genes, sets)."""
    faults = [] if gene_sets else ["no gene set is given: nothing to score"]
    if (lacking := table.isna().any(axis=1)).any():
        faults.append(f"gene {listed(table.index[lacking])} has missing values: drop it, or impute it beforehand")
    for name, found in coverage(table, gene_sets)["found"].items():
        if found == 0:
            faults.append(f"gene set {name} has none of its genes in the table: are names symbols in both?")
        elif found == len(table):
            faults.append(f"gene set {name} holds every gene of the table: a set is scored against the others")
    if faults:
        raise TableFault("expression", faults)
    return np.column_stack([table.index.isin(list(genes)) for genes in gene_sets.values()]).astype(float)
