"""The steps a plan of associations may declare: what each reads, what it must be told, and what it hands on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NewType

Group = str | int
"""A group as its column writes it."""

GeneSetsName = NewType("GeneSetsName", str)
"""Name of an entry of the plan's ``gene_sets``."""

RankedBy = NewType("RankedBy", str)
"""Name of a step that gives every gene a number: one of ``deg``, or of ``correlate`` with one variable as ``x``."""

Gives = Literal["table", "ranking", "nothing"]


@dataclass(frozen=True, slots=True)
class Source:
    """Columns of a table, or of a step that gives one.

    Attributes:
        name: Of the table or step (``from`` in a plan).
        columns: Their names; ``*`` stands for any text; empty for all.
    """

    name: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table, or of a step that gives one.

    Attributes:
        name: Of the table or step (``from`` in a plan).
        column: Its name; empty where there is but one.
    """

    name: str
    column: str = ""


@dataclass(frozen=True, slots=True)
class FollowUp:
    """An outcome with its time.

    Attributes:
        name: Of the table (``from`` in a plan).
        event: Column of 0 and 1.
        time: Column of times, above 0.
        endpoint: What the result calls it.
    """

    name: str
    event: str
    time: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class Ssgsea:
    """Scores of gene sets by rank; see ``ssgsea``."""

    gives: ClassVar[Gives] = "table"
    expression: Source
    gene_sets: GeneSetsName
    alpha: float = 0.25
    normalise: bool = True


@dataclass(frozen=True, slots=True)
class MeanScore:
    """Means of gene sets; see ``mean_score``.

    Attributes:
        expression: Log expression.
        gene_sets: The sets.
        reference: ``none``: expression as it stands. ``own``: z-scores among the patients scored. Else the name of a
            table: z-scores among its patients.
        absent: Whether a gene that the table lacks is refused, or left out and told.
    """

    gives: ClassVar[Gives] = "table"
    expression: Source
    gene_sets: GeneSetsName
    reference: str
    absent: Literal["refuse", "leave_out"] = "refuse"


@dataclass(frozen=True, slots=True)
class Cluster:
    """Patients in clusters by k-means; see ``cluster`` and ``choose_cluster_number``.

    Attributes:
        variables: What patients are clustered by.
        scaling: ``rows``, ``columns`` or ``none``.
        k: Number of clusters, if it is given; else
        candidates: among which to choose, each 2 or more.
        assign: Further patients, to be placed by the nearest centroid and not learned from.
        least_stability: Of a number that may be chosen.
    """

    gives: ClassVar[Gives] = "table"
    variables: Source
    scaling: Literal["rows", "columns", "none"]
    k: int | None = None
    candidates: tuple[int, ...] | None = None
    assign: Source | None = None
    least_stability: float = 0.75

    def __post_init__(self) -> None:
        if (self.k is None) == (self.candidates is None):
            raise ValueError("needs k, a number, or candidates, numbers to choose among: one of both")


@dataclass(frozen=True, slots=True)
class Tertiles:
    """Patients in three groups by a score; see ``tertiles``."""

    gives: ClassVar[Gives] = "table"
    score: Column


@dataclass(frozen=True, slots=True)
class AggregateTiles:
    """Quantiles of tiles by patient; see ``aggregate_tiles``. The table read may name a patient in many rows."""

    gives: ClassVar[Gives] = "table"
    tiles: Source


@dataclass(frozen=True, slots=True)
class Correlate:
    """Correlations of every variable of ``x`` with every one of ``y``; see ``correlate``.

    Attributes:
        x: The one table.
        y: The other.
        method: ``spearman`` or ``pearson``.
        family: Of the tests.
        covariates: What to hold still.
        p_value: ``t`` or ``exact``.
        max_t: Permutations of p-values adjusted by the largest of the family; 0 for none.
    """

    gives: ClassVar[Gives] = "ranking"
    x: Source
    y: Source
    method: Literal["spearman", "pearson"]
    family: str
    covariates: Source | None = None
    p_value: Literal["t", "exact"] = "t"
    max_t: int = 0

    def __post_init__(self) -> None:
        if self.max_t and self.covariates:
            raise ValueError("max_t shuffles patients, which covariates forbid: leave one of both out")


@dataclass(frozen=True, slots=True)
class Compare:
    """Groups compared in every variable; see ``compare``."""

    gives: ClassVar[Gives] = "nothing"
    variables: Source
    group: Column
    groups: tuple[Group, ...]
    test: Literal["mann_whitney", "welch", "student", "kruskal", "fisher", "chi_square"]
    family: str


@dataclass(frozen=True, slots=True)
class Deg:
    """Genes that two groups express differently; see ``compare_expression``. Its family is of this step alone."""

    gives: ClassVar[Gives] = "ranking"
    expression: Source
    group: Column
    groups: tuple[Group, ...]
    test: Literal["welch", "wilcoxon"]
    family: str
    least_log2_fold_change: float = 1.0
    highest_q: float = 0.05

    def __post_init__(self) -> None:
        if len(self.groups) != 2:
            raise ValueError(f"groups must name two, the first against the second, got {len(self.groups)}")


@dataclass(frozen=True, slots=True)
class Prerank:
    """Gene sets in a ranking; see ``prerank``.

    Attributes:
        ranking: The step that ranks genes.
        by: Its ``effect`` (log2 fold change, correlation) or its ``statistic`` (t).
        gene_sets: The sets.
        family: Of the tests.
        permutations: Sets drawn of each size.
        weight: Of a gene's score.
        smallest: Fewest genes of a set.
        largest: Most.
    """

    gives: ClassVar[Gives] = "nothing"
    ranking: RankedBy
    by: Literal["effect", "statistic"]
    gene_sets: GeneSetsName
    family: str
    permutations: int = 1000
    weight: float = 1.0
    smallest: int = 15
    largest: int = 500


@dataclass(frozen=True, slots=True)
class Survival:
    """Variables, or groups, beside an outcome; see ``hazard_ratios`` and ``group_hazard_ratios``.

    Attributes:
        outcome: The outcome.
        family: Of the tests.
        variables: Variables, each alone; or
        group: a grouping,
        groups: with the groups compared, each against the last.
        by: Of ``variables``: the hazard ratio of one ``sd``, or of those above the ``median``.
    """

    gives: ClassVar[Gives] = "nothing"
    outcome: FollowUp
    family: str
    variables: Source | None = None
    group: Column | None = None
    groups: tuple[Group, ...] | None = None
    by: Literal["sd", "median"] = "sd"

    def __post_init__(self) -> None:
        if (self.variables is None) == (self.group is None) or (self.group is None) != (self.groups is None):
            raise ValueError("needs variables, or group with groups: one of both")


@dataclass(frozen=True, slots=True)
class RandomSignatures:
    """Gene sets beside random ones of their size; see ``among_random_signatures``.

    Attributes:
        expression: Log expression.
        gene_sets: The sets.
        score: ``mean`` of expression, or ``z``: mean of z-scores among these patients.
        family: Of the tests.
        y: What the score is correlated with (Spearman); or
        outcome: an outcome (hazard ratio of one SD).
        draws: Random sets, 99 or more.
        absent: Whether a gene that the table lacks is refused, or left out and told.
    """

    gives: ClassVar[Gives] = "nothing"
    expression: Source
    gene_sets: GeneSetsName
    score: Literal["mean", "z"]
    family: str
    y: Column | None = None
    outcome: FollowUp | None = None
    draws: int = 999
    absent: Literal["refuse", "leave_out"] = "refuse"

    def __post_init__(self) -> None:
        if (self.y is None) == (self.outcome is None):
            raise ValueError("needs y, a column, or outcome: one of both")


Step = (
    Ssgsea
    | MeanScore
    | Cluster
    | Tertiles
    | AggregateTiles
    | Correlate
    | Compare
    | Deg
    | Prerank
    | Survival
    | RandomSignatures
)

STEPS: Mapping[str, type[Step]] = {
    "ssgsea": Ssgsea,
    "mean_score": MeanScore,
    "cluster": Cluster,
    "tertiles": Tertiles,
    "aggregate_tiles": AggregateTiles,
    "correlate": Correlate,
    "compare": Compare,
    "deg": Deg,
    "prerank": Prerank,
    "survival": Survival,
    "random_signatures": RandomSignatures,
}
"""What a step may ``do``."""
