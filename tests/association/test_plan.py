import hashlib

import pytest

from radnet.association.plan import read_plan
from radnet.association.steps import Column, Correlate, Source
from radnet.tables import TableFault

WHOLE = """\
output: results
seed: 1
tables:
  scores: {file: scores.csv, patients: rows, id: patient_id}
  biology: {file: data/biology.csv, patients: rows, id: patient_id}
gene_sets:
  cells: {file: cells.gmt}
steps:
  thirds: {do: tertiles, score: {from: scores, column: score}}
  map: {do: correlate, x: scores, y: {from: biology, columns: [cell_*]}, method: spearman, family: cells}
"""


def written(tmp_path, text):
    path = tmp_path / "plan.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def faults_of(tmp_path, text):
    with pytest.raises(TableFault) as caught:
        read_plan(written(tmp_path, text))
    return caught.value.faults


def with_step(text):
    return f"{WHOLE}  {text}\n"


def test_a_plan_is_read_with_its_hash_and_its_paths_relative_to_it(tmp_path):
    path = written(tmp_path, WHOLE)

    plan = read_plan(path)

    assert plan.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert plan.output == tmp_path / "results"
    assert plan.found(plan.tables["biology"].file) == tmp_path / "data" / "biology.csv"
    assert plan.steps["thirds"].score == Column("scores", "score")
    assert plan.steps["map"] == Correlate(
        x=Source("scores"), y=Source("biology", ("cell_*",)), method="spearman", family="cells"
    )


def test_every_fault_of_a_plan_is_told_at_once_with_its_key_and_its_cure(tmp_path):
    faults = faults_of(
        tmp_path,
        """\
outputs: results
seed: one
tables:
  scores: {file: scores.csv, patients: row, id: patient_id}
gene_sets:
  cells: {file: cells.csv}
steps:
  a: {do: corelate}
  b: {do: tertiles, scores: scores}
  c: {do: cluster, variables: scores, scaling: rows, k: 2.5}
  d: {do: compare, variables: scors, group: scores, groups: [yes, no], test: welch, family: f}
""",
    )

    told = "\n".join(faults)
    for expected in (
        "outputs: there is no such key, did you mean output?",
        "output is missing: write it",
        "seed: expected a whole number, got 'one'",
        "tables.scores.patients: expected one of rows, columns, got 'row'",
        "gene_sets.cells: needs set and gene",
        "steps.a.do: expected one of ssgsea, mean_score, cluster",
        "steps.b.scores: there is no such key, did you mean score?",
        "steps.b.score is missing: write it",
        "steps.c.k: expected a whole number, got 2.5",
        "steps.d.groups: expected a text or a whole number, got True: quote it",
    ):
        assert expected in told


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        (
            "more: {do: correlate, x: score, y: biology, method: spearman, family: f}",
            "steps.more: there is no table or step above named score, did you mean scores?",
        ),
        (
            "more: {do: tertiles, score: late}\n  late: {do: tertiles, score: scores}",
            "steps.more: step late does not stand above this one: move it there",
        ),
        (
            "more: {do: tertiles, score: map}",
            "steps.more: step map does correlate and gives no table to read",
        ),
        (
            "more: {do: prerank, ranking: thirds, by: effect, gene_sets: cells, family: f}",
            "steps.more: step thirds does tertiles and gives no ranking to read",
        ),
        (
            "more: {do: ssgsea, expression: biology, gene_sets: cell}",
            "steps.more: there are no gene sets named cell, did you mean cells?",
        ),
        (
            "more: {do: deg, expression: biology, group: thirds, groups: [high, low], test: welch, family: cells}",
            "steps.more.family: cells is another step's too",
        ),
        (
            "more: {do: cluster, variables: biology, scaling: rows, k: 2, candidates: [2, 3]}",
            "steps.more: needs k, a number, or candidates",
        ),
        (
            "more: {do: survival, group: thirds, outcome: {from: scores, event: e, time: t, endpoint: os}, family: f}",
            "steps.more: needs variables, or group with groups",
        ),
        ("biology: {do: tertiles, score: scores}", "steps.biology: a table has this name too"),
        ("a/b: {do: tertiles, score: scores}", "steps.a/b: a step's name becomes that of a file"),
    ],
)
def test_a_step_that_cannot_be_is_refused(tmp_path, step, fault):
    assert any(one.startswith(fault) for one in faults_of(tmp_path, with_step(step)))


def test_the_statistic_of_a_rank_test_ranks_no_genes(tmp_path):
    steps = (
        "genes: {do: deg, expression: biology, group: thirds, groups: [high, low], test: wilcoxon, family: g}\n"
        "  sets: {do: prerank, ranking: genes, by: statistic, gene_sets: cells, family: s}"
    )

    (fault,) = faults_of(tmp_path, with_step(steps))

    assert fault.startswith("steps.sets: U of a wilcoxon test has no sign to rank genes by: write by: effect")


def test_a_key_written_twice_is_refused_since_the_last_would_win_silently(tmp_path):
    (fault,) = faults_of(tmp_path, with_step("map: {do: tertiles, score: scores}"))

    assert "key map twice" in fault
    assert "line 9" in fault  # where the steps begin


def test_a_plan_that_is_no_plan_is_refused(tmp_path):
    assert faults_of(tmp_path, "[1, 2")[0].startswith("cannot be read as YAML")
    assert faults_of(tmp_path, "- output")[0].startswith("the plan: expected names with what they hold")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.yaml: no such file"):
        read_plan(tmp_path / "nowhere.yaml")
