"""Gene sets scored by a mean: of expression itself, or of z-scores against patients named beforehand."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from radnet.association.side_by_side import listed, numbers


@dataclass(frozen=True)
class GeneReference:
    """Mean and standard deviation of genes among the patients that z-scores refer to.

    A mean z-score over the patients it is taken from is 0: whoever prints another used other patients, and must say
    which.

    Attributes:
        mean: Of each gene, indexed by gene.
        sd: Likewise, above 0.
    """

    mean: pd.Series
    sd: pd.Series

    def __post_init__(self) -> None:
        if not self.mean.index.equals(self.sd.index) or self.mean.index.has_duplicates:
            raise ValueError("a reference needs the mean and the SD of the same genes, in one order, each once")
        wrong = self.mean.index[~(np.isfinite(self.mean) & np.isfinite(self.sd) & (self.sd > 0))]
        if len(wrong):
            raise ValueError(f"gene {listed(wrong)}: a reference needs a mean, and an SD above 0; leave the gene out")


def reference_of(expression: pd.DataFrame) -> GeneReference:
    """Return the mean and the SD (n − 1) of every gene among the patients of a table, missing values left out.

    Args:
        expression: A row per gene, a column per patient of the reference.
    """
    table = numbers(expression, "reference")
    return GeneReference(table.mean(axis=1), table.std(axis=1, ddof=1))


def mean_score(expression: pd.DataFrame, genes: Sequence[str], reference: GeneReference | None) -> pd.DataFrame:
    """Return the mean of genes in each patient, as they stand or as z-scores of a reference.

    Without a reference this is how MCP-counter scores a population by its markers; with one, how a few genes of
    unequal level make one score. Expression is to be on a log scale. A gene missing in a patient is left out there.

    Args:
        expression: A row per gene, a column per patient; NaN where missing.
        genes: The set; a gene named twice counts once. Each must be in the table.
        reference: What z-scores refer to; None for the mean of expression itself.

    Returns:
        A row per patient: ``score``, NaN where no gene is known, and ``genes``, how many were.

    Raises:
        TableFault: If a gene or patient of the table stands twice, or a value is no finite number.
        ValueError: If the table, or the reference, lacks a gene.

    References:
        Becht et al. Genome Biol 2016;17:218. Ligero et al. 2023: CD8A, GZMA, GZMB and PRF1, mean of z-scores.

    Example:
        >>> expression = pd.DataFrame({"P1": [1.0, 5.0], "P2": [3.0, 9.0]}, index=["CD8A", "GZMA"])
        >>> mean_score(expression, ["CD8A", "GZMA"], None)["score"].tolist()
        [3.0, 6.0]
    """
    wanted = pd.Index(dict.fromkeys(genes))
    if not len(wanted):
        raise ValueError("a mean score needs a gene, but the set is empty")
    table = numbers(expression, "expression")
    _refuse_absent(wanted, table.index, "expression")
    if reference is not None:
        _refuse_absent(wanted, reference.mean.index, "reference")
    own = table.loc[wanted]
    if reference is not None:
        own = own.sub(reference.mean[wanted], axis=0).div(reference.sd[wanted], axis=0)
    return pd.DataFrame({"score": own.mean(axis=0), "genes": own.notna().sum(axis=0)})


def _refuse_absent(wanted: pd.Index, there: pd.Index, where: str) -> None:
    if len(absent := wanted[~wanted.isin(there)]):
        raise ValueError(f"gene {listed(absent)} is not in the {where}: leave it out of the set, or say its alias")
