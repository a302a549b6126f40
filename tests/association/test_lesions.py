"""Tables with a row per lesion: joined by patient and lesion, and never with a table of patients."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu, spearmanr

from oracle import close
from radnet.association.plan import read_plan
from radnet.association.run import run_plan
from radnet.cli import main
from radnet.tables import TableFault

GENES = ["CD8A", "GZMA", "GZMB", "PRF1"]
PLAN = """\
output: results
seed: 1
tables:
  ct: {file: ct.csv, patients: rows, id: patient_id, lesion: lesion_id}
  biopsy: {file: biopsy.csv, patients: rows, id: patient, lesion: site}
  clinical: {file: clinical.csv, patients: rows, id: patient_id}
gene_sets:
  sets: {sets: {cytotoxic: [CD8A, GZMA, GZMB, PRF1]}}
steps:
"""
SCORE = "  enrichment: {do: mean_score, expression: biopsy, gene_sets: sets, reference: none}\n"
BESIDE = "  beside: {do: correlate, x: ct, y: enrichment, method: spearman, family: biopsies}\n"
OF_PATIENT = "  of_patient: {do: correlate, x: ct, y: clinical, method: spearman, family: biopsies}\n"


@pytest.fixture
def plan(tmp_path):
    """Write a score and an expression of lesions, in unlike order, and a plan; return its path, score and genes."""

    def written(steps, lesions_each=1, patients=20):
        rng = np.random.default_rng(4)
        ids = [(f"P{who:02d}", f"L{one}") for who in range(patients) for one in range(1, lesions_each + 1)]
        index = pd.MultiIndex.from_tuples(ids, names=["patient_id", "lesion_id"])
        ct = pd.DataFrame({"score": rng.normal(size=len(ids))}, index=index)
        genes = pd.DataFrame(rng.normal(size=(len(ids), 4)) + ct[["score"]].to_numpy(), index=index, columns=GENES)
        ct.to_csv(tmp_path / "ct.csv")
        genes.sample(frac=1, random_state=1).rename_axis(["patient", "site"]).to_csv(tmp_path / "biopsy.csv")
        age = pd.DataFrame({"age": rng.normal(size=patients)}, index=[f"P{who:02d}" for who in range(patients)])
        age.rename_axis("patient_id").to_csv(tmp_path / "clinical.csv")
        (tmp_path / "plan.yaml").write_text(PLAN + steps, encoding="utf-8")
        return tmp_path / "plan.yaml", ct["score"], genes

    return written


def test_lesions_are_joined_by_patient_and_lesion_whatever_their_order(plan):
    path, score, genes = plan(SCORE + BESIDE)

    carried = run_plan(path)

    expected = spearmanr(score, genes.mean(axis=1))
    (row,) = carried.table.to_dict("records")
    close([row["effect"], row["p_value"]], [expected.statistic, expected.pvalue])
    assert (row["level"], row["n"], row["flag"]) == ("lesion", 20, "")
    written = pd.read_csv(carried.plan.output / "tables" / "enrichment.csv")
    assert list(written.columns) == ["patient_id", "lesion_id", "cytotoxic"]
    close(written.set_index(["patient_id", "lesion_id"]).loc[genes.index, "cytotoxic"], genes.mean(axis=1))
    record = json.loads((carried.plan.output / "associations.json").read_text(encoding="utf-8"))
    assert (record["steps"]["beside"]["patients"], record["steps"]["beside"]["lesions"]) == (20, 20)


def test_two_lesions_of_a_name_in_two_patients_are_not_one(plan):
    path, score, genes = plan(SCORE + BESIDE, lesions_each=2, patients=10)

    (row,) = run_plan(path).table.to_dict("records")

    assert row["n"] == 20
    close(row["effect"], spearmanr(score, genes.mean(axis=1)).statistic)


def test_lesions_of_one_patient_are_said_to_be_taken_as_independent(plan):
    path, _, _ = plan(SCORE + BESIDE, lesions_each=2, patients=10)

    carried = run_plan(path)

    beware = "20 lesions of 10 patients, taken as independent: p is too small"
    assert carried.table["flag"].tolist() == [beware]
    assert f"beside: {beware}" in carried.headline()


def test_a_lesion_that_one_table_lacks_is_named_with_its_patient(plan):
    path, _, _ = plan(SCORE + BESIDE, lesions_each=2, patients=10)
    table = pd.read_csv(path.parent / "ct.csv")
    table.iloc[1:].to_csv(path.parent / "ct.csv", index=False)

    assert run_plan(path).results["beside"].unmatched == {"y": ["P00/L1"]}


def test_groups_of_lesions_are_handed_on_to_the_steps_below(plan):
    thirds = "  thirds: {do: tertiles, score: ct}\n"
    compare = "  beside: {do: compare, variables: enrichment, group: thirds, groups: [high, low], test: mann_whitney, "
    path, score, genes = plan(SCORE + thirds + compare + "family: biopsies}\n", lesions_each=3, patients=6)

    (row,) = run_plan(path).table.to_dict("records")

    rising = score.sort_values().index
    high, low = (genes.mean(axis=1)[who] for who in (rising[-6:], rising[:6]))
    close(row["p_value"], mannwhitneyu(high, low, method="exact").pvalue)
    assert row["counts"] == "high 6, low 6"


def test_a_lesion_is_not_joined_with_a_patient_and_the_step_and_the_cure_are_named(plan, capsys):
    path, _, _ = plan(OF_PATIENT)

    code = main(["associate", str(path)])

    told = capsys.readouterr().err
    assert code == 1
    assert "steps.of_patient: ct (a row per lesion) and clinical (a row per patient) cannot be joined" in told
    assert "pool the lesions of each patient into one row beforehand" in told
    assert not (path.parent / "results").exists()


def test_scores_of_lesions_are_lesions_to_the_steps_below(plan):
    later = "  later: {do: compare, variables: enrichment, group: clinical, groups: [1, 0], test: welch, family: f}\n"
    path, _, _ = plan(SCORE + later)

    with pytest.raises(TableFault, match=r"steps\.later: enrichment \(a row per lesion\) and clinical \(a row per pat"):
        read_plan(path)


def test_a_lesion_without_a_name_twice_or_of_an_ambiguous_patient_is_refused(plan):
    path, _, _ = plan(SCORE + BESIDE)
    table = pd.read_csv(path.parent / "ct.csv")

    table.assign(lesion_id=["", *table["lesion_id"][1:]]).to_csv(path.parent / "ct.csv", index=False)
    with pytest.raises(TableFault, match="1 of 20 rows name no lesion in column lesion_id: fill it, or drop them"):
        run_plan(path)
    table.assign(patient_id=["P/0", *table["patient_id"][1:]]).to_csv(path.parent / "ct.csv", index=False)
    with pytest.raises(TableFault, match="patient P/0: the patient of a lesion has no / in its id: rename it"):
        run_plan(path)
    pd.concat([table, table.iloc[:1]]).to_csv(path.parent / "ct.csv", index=False)
    assert "lesion P00/L1 stands twice: keep one row" in run_plan(path).refused["beside"]


@pytest.mark.parametrize(
    "told", ["patients: columns, id: gene, lesion: site", "patients: rows, id: site, lesion: site"]
)
def test_lesions_need_a_column_of_their_own(plan, told):
    path, _, _ = plan(SCORE + BESIDE)
    text = path.read_text(encoding="utf-8").replace("patients: rows, id: patient, lesion: site", told)
    path.write_text(text, encoding="utf-8")

    with pytest.raises(TableFault, match=r"tables\.biopsy: lesion names a second column"):
        read_plan(path)
