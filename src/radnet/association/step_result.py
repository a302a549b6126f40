"""What each step of a plan computes from the tables it reads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import singledispatch
from math import log

import pandas as pd

from radnet.association.cluster_number import choose_cluster_number
from radnet.association.clusters import Clusters, cluster
from radnet.association.comparison import compare
from radnet.association.correlation import correlate
from radnet.association.effect import Effect
from radnet.association.expression_comparison import compare_expression
from radnet.association.group_survival import group_hazard_ratios
from radnet.association.groups import tertiles
from radnet.association.max_t import max_t_p_values
from radnet.association.mean_score import GeneReference, mean_score, reference_of
from radnet.association.prerank import leading_edge, prerank
from radnet.association.side_by_side import listed, numbers
from radnet.association.signatures import AmongRandom, among_random_signatures
from radnet.association.sources import LESION, GeneSets, chosen_columns, one_row_each, patients_of, with_ids
from radnet.association.ssgsea import coverage, ssgsea
from radnet.association.steps import (
    AggregateTiles,
    Cluster,
    Column,
    Compare,
    Correlate,
    Deg,
    FollowUp,
    MeanScore,
    Prerank,
    RandomSignatures,
    Source,
    Ssgsea,
    Step,
    Survival,
    Tertiles,
)
from radnet.association.survival import above_and_below_median, hazard_ratios, kaplan_meier
from radnet.association.table import Association
from radnet.association.tiles import aggregate_tiles


@dataclass(frozen=True)
class StepResult:
    """What a step came to.

    Attributes:
        rows: Its associations.
        table: A row per patient, or per lesion, for steps below; None if it gives none.
        ranking: A row per gene, ``effect`` and ``statistic``, for steps below; None if it gives none. Its columns'
            name is that of what genes are ranked by.
        files: Tables to be written, by the end of their name.
        patients: In how many it was computed.
        lesions: Of how many lesions of theirs; 0 where patients are the rows.
        unmatched: Of each table read, the patients (or lesions, ``P1/L2``) whom another one lacks.
        told: What a reader must know besides.
    """

    rows: Sequence[Association] = ()
    table: pd.DataFrame | None = None
    ranking: pd.DataFrame | None = None
    files: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    patients: int = 0
    lesions: int = 0
    unmatched: Mapping[str, list[str]] = field(default_factory=dict)
    told: str = ""


@dataclass(frozen=True)
class Readable:
    """What a step may read.

    Attributes:
        name: Of the step.
        seed: Of its drawing.
        tables: Of the plan, and of the steps above: indexed by patient or by lesion, as the index's name says.
        gene_sets: By name.
        rankings: Of the steps above.
    """

    name: str
    seed: int
    tables: Mapping[str, pd.DataFrame]
    gene_sets: Mapping[str, GeneSets]
    rankings: Mapping[str, pd.DataFrame]

    def table(self, source: Source) -> pd.DataFrame:
        """Return the columns a source names, a row per patient."""
        return one_row_each(chosen_columns(self.tables[source.name], source.columns, source.name), source.name)

    def column(self, source: Column) -> pd.Series:
        """Return the column a source names, named by the step that gave it where it has but one."""
        if source.column:
            return self.table(Source(source.name, (source.column,))).iloc[:, 0]
        table = self.table(Source(source.name))
        if table.shape[1] != 1:
            raise ValueError(f"{source.name} has {table.shape[1]} columns: write {{from: {source.name}, column: …}}")
        return table.iloc[:, 0].rename(source.name)

    def outcome(self, source: FollowUp) -> pd.DataFrame:
        """Return event and time."""
        table = self.table(Source(source.name))
        event, time = (chosen_columns(table, (one,), source.name).iloc[:, 0] for one in (source.event, source.time))
        return numbers(pd.DataFrame({"event": event, "time": time}), source.name)


@dataclass(frozen=True)
class Joined:
    """Tables of the patients, or lesions, whom all of them have, in one order.

    Attributes:
        tables: In the order given.
        unmatched: Of each table, by name, those left out.
    """

    tables: Sequence[pd.DataFrame]
    unmatched: Mapping[str, list[str]]


def join(named: Sequence[tuple[str, pd.DataFrame]]) -> Joined:
    """Return tables joined by patient, or by patient and lesion, and by nothing else.

    Args:
        named: Role in the step, and table; a plan in which one has a row per lesion and another one per patient is
            refused when it is read.

    Raises:
        ValueError: If no patient is in all of them.
    """
    common = named[0][1].index
    for _, table in named[1:]:
        common = common[common.isin(table.index)]
    if common.empty:
        told = "; ".join(f"{name}: {listed(table.index)}" for name, table in named)
        noun = "lesion" if common.name == LESION else "patient"
        raise ValueError(f"no {noun} is in all tables: are ids written alike? ({told})")
    unmatched = {name: sorted(table.index[~table.index.isin(common)]) for name, table in named}
    return Joined([table.loc[common] for _, table in named], {name: who for name, who in unmatched.items() if who})


@singledispatch
def compute(step: Step, at: Readable) -> StepResult:
    """Return what a step comes to.

    Args:
        step: As the plan declares it.
        at: What it may read.

    Raises:
        ValueError: If what it reads cannot be used so.
    """
    raise TypeError(f"{at.name}: {type(step).__name__} is no step")


@compute.register
def _(step: Ssgsea, at: Readable) -> StepResult:
    genes = at.table(step.expression).T
    sets = at.gene_sets[step.gene_sets]
    score = ssgsea(genes, sets, step.alpha, step.normalise)
    return _scores(score, genes, coverage(genes, sets))


@compute.register
def _(step: MeanScore, at: Readable) -> StepResult:
    genes = at.table(step.expression).T
    reference: GeneReference | None = None
    if step.reference != "none":
        reference = reference_of(genes if step.reference == "own" else at.table(Source(step.reference)).T)
    found = coverage(genes, at.gene_sets[step.gene_sets])
    sets, left_out = _present(genes, at.gene_sets[step.gene_sets], step.absent)
    score = pd.DataFrame({name: mean_score(genes, asked, reference)["score"] for name, asked in sets.items()})
    return _scores(score, genes, found, left_out)


@compute.register
def _(step: Cluster, at: Readable) -> StepResult:
    values = at.table(step.variables)
    files, told = {}, ""
    if step.candidates is None:
        learned = cluster(values, step.k or 0, step.scaling, seed=at.seed)
    else:
        chosen = choose_cluster_number(
            values, step.candidates, step.scaling, least_stability=step.least_stability, seed=at.seed
        )
        learned, told = chosen.clusters, chosen.told
        files["_evidence"] = chosen.evidence.reset_index()
    number = learned.cluster
    if step.assign is not None:
        further = at.table(step.assign)
        number = pd.concat([number, learned.assign(further[~further.index.isin(values.index)])])
    table = number.to_frame(at.name).rename_axis(index=values.index.name)
    placed = with_ids(table.assign(learned_from=table.index.isin(values.index)))
    return _of_table(table, {"": placed, **_centroids(learned), **files}, told)


@compute.register
def _(step: Tertiles, at: Readable) -> StepResult:
    score = at.column(step.score)
    table = pd.DataFrame({at.name: tertiles(score)}, index=score.index)
    return _of_table(table, {"": with_ids(table)})


@compute.register
def _(step: AggregateTiles, at: Readable) -> StepResult:
    tiles = chosen_columns(at.tables[step.tiles.name], step.tiles.columns, step.tiles.name)
    table = aggregate_tiles(tiles.reset_index(), by=str(tiles.index.name))
    return _of_table(table, {"": with_ids(table)}, f"{len(tiles)} tiles")


@compute.register
def _(step: Correlate, at: Readable) -> StepResult:
    named = [("x", at.table(step.x)), ("y", at.table(step.y))]
    if step.covariates is not None:
        named.append(("covariates", at.table(step.covariates)))
    joined = join(named)
    x, y, *held = joined.tables
    rows = correlate(x, y, step.method, covariates=held[0] if held else None, p_value=step.p_value)
    files = {}
    if step.max_t:
        adjusted = max_t_p_values(x, y, step.method, permutations=step.max_t, seed=at.seed)
        files["_max_t"] = adjusted.rename_axis(index="x").reset_index().melt("x", var_name="y", value_name="p_value")
    ranking = _ranking(rows, str(x.columns[0])) if x.shape[1] == 1 else None
    return _of_joined(joined, StepResult(rows, ranking=ranking, files=files))


@compute.register
def _(step: Compare, at: Readable) -> StepResult:
    joined = join([("variables", at.table(step.variables)), ("group", at.column(step.group).to_frame())])
    values, group = joined.tables
    return _of_joined(joined, StepResult(compare(values, group.iloc[:, 0], step.groups, step.test, seed=at.seed)))


@compute.register
def _(step: Deg, at: Readable) -> StepResult:
    joined = join([("expression", at.table(step.expression)), ("group", at.column(step.group).to_frame())])
    genes, group = joined.tables[0].T, joined.tables[1].iloc[:, 0]
    first, second = step.groups
    found = compare_expression(
        genes,
        group,
        (first, second),
        step.test,
        least_log2_fold_change=step.least_log2_fold_change,
        highest_q=step.highest_q,
    )
    x = f"{group.name}: {first} vs {second}"
    method = "Welch" if step.test == "welch" else "Wilcoxon; interval of Welch"
    rows = [
        Association(x, str(gene), int(one["n"]), int(one["missing"]), _fold_change(one, method))
        for gene, one in found.iterrows()
    ]
    files = {"": found.rename_axis(index="gene").reset_index()}
    return _of_joined(joined, StepResult(rows, ranking=_ranking(rows, x), files=files))


@compute.register
def _(step: Prerank, at: Readable) -> StepResult:
    if step.ranking not in at.rankings:
        raise ValueError(f"step {step.ranking} ranks nothing: it must have one variable as x")
    ranked = at.rankings[step.ranking]
    scores = ranked[step.by].rename(ranked.columns.name)
    ranking = scores.dropna()
    sets = at.gene_sets[step.gene_sets]
    rows = prerank(
        ranking,
        sets,
        permutations=step.permutations,
        seed=at.seed,
        weight=step.weight,
        smallest=step.smallest,
        largest=step.largest,
    )
    leading = [
        (row.y, row.n, row.effect.value, gene)
        for row in rows
        if not pd.isna(row.effect.value)
        for gene in leading_edge(ranking, sets[row.y], step.weight)
    ]
    edges = pd.DataFrame(leading, columns=["set", "genes_ranked", "nes", "leading_gene"])
    return StepResult(rows, files={"_leading_edge": edges}, told=f"{len(ranking)} of {len(scores)} genes ranked")


@compute.register
def _(step: Survival, at: Readable) -> StepResult:
    if step.variables is not None:
        joined = join([("variables", at.table(step.variables)), ("outcome", at.outcome(step.outcome))])
        variables, outcome = joined.tables
        relate = hazard_ratios if step.by == "sd" else above_and_below_median
        return _of_joined(
            joined, StepResult(relate(variables, outcome["event"], outcome["time"], step.outcome.endpoint))
        )
    assert step.group is not None
    assert step.groups is not None
    joined = join([("group", at.column(step.group).to_frame()), ("outcome", at.outcome(step.outcome))])
    group, outcome = joined.tables[0].iloc[:, 0], joined.tables[1]
    named = group.where(group.isin(step.groups))
    rows = group_hazard_ratios(named, step.groups, outcome["event"], outcome["time"], step.outcome.endpoint)
    curves = kaplan_meier(named, outcome["event"], outcome["time"])
    return _of_joined(joined, StepResult(rows, files={"_curves": curves}))


@compute.register
def _(step: RandomSignatures, at: Readable) -> StepResult:
    beside = at.column(step.y).to_frame() if step.y else at.outcome(step.outcome) if step.outcome else pd.DataFrame()
    joined = join([("expression", at.table(step.expression)), ("y" if step.y else "outcome", beside)])
    genes, other = numbers(joined.tables[0].T, "expression"), joined.tables[1]
    level = genes.sub(genes.mean(axis=1), axis=0).div(genes.std(axis=1, ddof=1), axis=0) if step.score == "z" else genes
    sets, left_out = _present(genes, at.gene_sets[step.gene_sets], step.absent)

    def score(table: pd.DataFrame, names: Sequence[str]) -> pd.Series:
        return table.loc[list(names)].mean(axis=0)

    relate, strength = _relation(step, other)
    measure = "Spearman's correlation" if step.y else "log hazard ratio of one SD"
    rows, bands = [], []
    for name, asked in sets.items():
        stand = among_random_signatures(
            level, asked, score, lambda one: strength(relate(one)), draws=step.draws, seed=at.seed
        )
        row = relate(score(level, asked).rename(name))
        method = f"share of {step.draws} random signatures as strong; interval: {row.effect.method}"
        rows.append(replace(row, effect=replace(row.effect, p_value=stand.as_strong, method=method)))
        bands.append(_band(name, len(asked), step.draws, stand))
    columns = ["set", "genes", "draws", "asked", "random_lower", "random_upper", "as_strong"]
    told = "; ".join(filter(None, [f"{measure} of the set asked and of random ones", left_out]))
    return _of_joined(joined, StepResult(rows, files={"": pd.DataFrame(bands, columns=columns)}, told=told))


def _fold_change(gene: pd.Series, method: str) -> Effect:
    return Effect(
        "log2_fold_change",
        method,
        float(gene["log2_fold_change"]),
        float(gene["lower"]),
        float(gene["upper"]),
        float(gene["statistic"]),
        float(gene["p_value"]),
        str(gene["flag"]),
    )


def _relation(
    step: RandomSignatures, other: pd.DataFrame
) -> tuple[Callable[[pd.Series], Association], Callable[[Association], float]]:
    """Return what sets a score beside the column or the outcome, and what tells its signed strength."""
    if step.outcome is None:
        return lambda one: correlate(_table_of(one), other, "spearman")[0], lambda row: row.effect.value
    endpoint = step.outcome.endpoint
    return (
        lambda one: hazard_ratios(_table_of(one), other["event"], other["time"], endpoint)[0],
        lambda row: log(row.effect.value),
    )


def _table_of(score: pd.Series) -> pd.DataFrame:
    return score.to_frame(score.name or "score")


def _band(name: str, genes: int, draws: int, stand: AmongRandom) -> tuple[str, int, int, float, float, float, float]:
    return name, genes, draws, stand.asked, stand.lower, stand.upper, stand.as_strong


def _scores(score: pd.DataFrame, genes: pd.DataFrame, found: pd.DataFrame, told: str = "") -> StepResult:
    table = score.rename_axis(index=genes.columns.name, columns=None)
    files = {"": with_ids(table), "_coverage": found.rename_axis(index="set").reset_index()}
    return _of_table(table, files, told)


def _of_table(table: pd.DataFrame, files: Mapping[str, pd.DataFrame], told: str = "") -> StepResult:
    """Return the result of a step that gives steps below a row per patient or lesion."""
    patients, lesions = _sizes(table.index)
    return StepResult(table=table, files=files, told=told, patients=patients, lesions=lesions)


def _of_joined(joined: Joined, result: StepResult) -> StepResult:
    """Return a result with whom it is of; lesions of one patient are not independent, and every row says so."""
    index = joined.tables[0].index
    patients, lesions = _sizes(index)
    result = replace(result, unmatched=joined.unmatched, patients=patients, lesions=lesions)
    if index.name != LESION:
        return result
    if lesions == patients:
        return replace(result, rows=[replace(row, level="lesion") for row in result.rows])
    beware = f"{lesions} lesions of {patients} patients, taken as independent: p is too small"
    rows = [replace(row, level="lesion", effect=_flagged(row.effect, beware)) for row in result.rows]
    return replace(result, rows=rows, told="; ".join(filter(None, [result.told, beware])))


def _flagged(effect: Effect, beware: str) -> Effect:
    return replace(effect, flag="; ".join(filter(None, [effect.flag, beware])))


def _sizes(index: pd.Index) -> tuple[int, int]:
    """Return how many patients there are, and how many lesions; 0 where a row is a patient."""
    return patients_of(index).nunique(), len(index) if index.name == LESION else 0


def _centroids(learned: Clusters) -> dict[str, pd.DataFrame]:
    """Return what places a new patient: the centroids, and the scaling of values before their distance is taken."""
    scaling = pd.DataFrame({"mean": learned.scaling.mean, "sd": learned.scaling.sd}).rename_axis(index="variable")
    return {
        "_centroids": learned.centroids.reset_index(),
        "_scaling": scaling.reset_index().assign(by=learned.scaling.by),
    }


def _present(genes: pd.DataFrame, sets: GeneSets, absent: str) -> tuple[dict[str, list[str]], str]:
    """Return sets without the genes that a table lacks, if these may be left out, and the sets of which none is left.

    Raises:
        ValueError: If no set has a gene in the table.
    """
    if absent == "refuse":
        return {name: list(asked) for name, asked in sets.items()}, ""
    found = {name: [gene for gene in asked if gene in genes.index] for name, asked in sets.items()}
    if not any(found.values()):
        raise ValueError("no gene set has a gene in the table: are names symbols in both?")
    empty = ", ".join(name for name, asked in found.items() if not asked)
    return {
        name: asked for name, asked in found.items() if asked
    }, f"left out, none of its genes known: {empty}" if empty else ""


def _ranking(rows: Sequence[Association], ranked_by: str) -> pd.DataFrame:
    return pd.DataFrame(
        {"effect": [row.effect.value for row in rows], "statistic": [row.effect.statistic for row in rows]},
        index=[row.y for row in rows],
    ).rename_axis(columns=ranked_by)
