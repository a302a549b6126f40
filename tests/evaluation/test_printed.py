"""Tables printed by Zhao 2023 and Ligero 2021, from the specs of both papers: what follows, and what does not."""

from math import sqrt

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from assessing import joined, row_of, table
from radnet.evaluation.assess import assess
from radnet.evaluation.assessment.settings import EvaluationSettings
from radnet.evaluation.baseline.printed import (
    Printed,
    baseline_faults,
    p_values_of_counts,
    performance_faults,
    subgroup_faults,
)
from radnet.evaluation.confusion import Confusion
from radnet.evaluation.discrimination import delong

MEASURES = ["auc", "sensitivity", "specificity", "accuracy", "ppv", "npv"]
ZHAO_TABLE_2 = pd.DataFrame(
    [
        [".672 (.588-.756)", ".557 34/61", ".718 79/110", ".661 113/171", ".523 34/65", ".745 79/106"],
        [".994 (.988-1)", ".951 58/61", ".982 108/110", ".971 166/171", ".967 58/60", ".973 108/111"],
        [".997 (.993-1)", ".984 60/61", ".973 107/110", ".977 167/171", ".952 60/63", ".991 107/108"],
        [".634 (.495-.772)", ".500 12/24", ".800 36/45", ".696 48/69", ".571 12/21", ".750 36/48"],
        [".920 (.824-1)", ".875 21/24", "1.000 45/45", ".957 66/69", "1.000 21/21", ".938 45/48"],
        [".961 (.885-1)", ".958 23/24", "1.000 45/45", ".986 68/69", "1.000 23/23", ".978 45/46"],
    ],
    columns=MEASURES,
    index=["train clinical", "train radiomics", "train combined", "val clinical", "val radiomics", "val combined"],
)
ZHAO_PD_L1 = pd.DataFrame(
    [
        [".555 (.442-.669)", ".622 23/37", ".545 36/66", ".573", ".434", ".720"],
        [".839 (.512-1)", ".750 3/4", "1.0 7/7", ".909", "1.0", ".875"],
        [".530 (.433-.628)", ".378 14/37", ".682 45/66", ".573", ".400", ".662"],
        [".661 (.346-.976)", ".750 3/4", ".571 4/7", ".636", ".500", ".800"],
    ],
    columns=MEASURES,
    index=["CPS train", "CPS val", "CPS>=10 train", "CPS>=10 val"],
)
# spec 7.4: sensitivity and specificity of radiomics and combined model, training and validation
ZHAO_SUBGROUPS = pd.DataFrame(
    [
        ["12/12", "25/26", "6/6", "13/14", "11/12", "26/26", "6/6", "14/14"],
        ["48/49", "83/84", "16/18", "31/31", "49/49", "82/84", "17/18", "31/31"],
        ["27/28", "30/31", "12/12", "11/11", "27/28", "31/31", "12/12", "11/11"],
        ["31/33", "78/79", "9/12", "34/34", "33/33", "77/79", "11/12", "34/34"],
        ["41/41", "45/46", "11/14", "21/21", "41/41", "46/46", "13/14", "21/21"],
        ["20/20", "57/64", "10/10", "24/24", "19/20", "61/64", "10/10", "24/24"],
        ["34/35", "42/42", "8/10", "17/17", "34/35", "42/42", "9/10", "17/17"],
        ["24/26", "68/68", "13/14", "28/28", "26/26", "65/68", "14/14", "28/28"],
        ["27/28", "55/56", "17/18", "25/25", "27/28", "56/56", "18/18", "25/25"],
        ["31/33", "53/54", "4/6", "20/20", "33/33", "52/54", "5/6", "20/20"],
    ],
    columns=[
        f"{model} {cohort} {measure}"
        for model in ("rad", "comb")
        for cohort in ("train", "val")
        for measure in ("sens", "spec")
    ],
    index=[
        *("tnbc=no", "tnbc=yes", "lines=1", "lines=2+", "sites=1-2", "sites=3+"),
        *("visceral=no", "visceral=yes", "regimen=chemo", "regimen=antiangiogenic"),
    ],
)
# CPS was known in 103 of 171 and 11 of 69 patients
ZHAO_CPS_SUBGROUPS = pd.DataFrame(
    [
        ["22/23", "44/45", "1/1", "4/4", "23/23", "43/45", "1/1", "4/4"],
        ["14/14", "21/21", "2/3", "3/3", "14/14", "21/21", "3/3", "3/3"],
    ],
    columns=ZHAO_SUBGROUPS.columns,
    index=["CPS<10", "CPS>=10"],
)
LIGERO_COLUMNS = ["auc", "sensitivity", "specificity", "npv", "ppv", "lr_positive", "lr_negative"]
LIGERO_TABLE_3 = pd.DataFrame(
    [
        [".70 (.64-.77)", "80/107 75", "68/129 53", "68/95 72", "80/141 57", "1.58", ".48"],
        [".67 (.58-.76)", "53/73 73", "37/67 55", "37/57 65", "53/83 64", "1.62", ".50"],
        [".67 (.56-.77)", "37/51 73", "30/53 57", "30/44 68", "37/60 62", "1.67", ".48"],
        [".74 (.63-.84)", "33/43 77", "25/42 59", "25/35 71", "33/50 66", "1.87", ".38"],
        [".74 (.59-.89)", "21/25 84", "14/21 67", "14/18 78", "21/28 75", "2.52", ".24"],
        [".73 (.59-.88)", "17/25 68", "12/22 55", "12/20 60", "17/27 63", "1.50", ".59"],
        [".64 (.52-.76)", "30/43 70", "23/42 55", "23/35 66", "30/49 61", "1.50", ".55"],
        [".67 (.50-.84)", "21/25 84", "10/21 48", "10/14 71", "21/32 66", "1.60", ".34"],
        [".65 (.49-.81)", "19/25 76", "11/22 50", "11/17 65", "19/30 63", "1.52", ".48"],
    ],
    columns=LIGERO_COLUMNS,
    index=[f"{model} C{cohort}" for model in ("radiomics", "rad-clin", "clinical") for cohort in (1, 2, 3)],
)
# spec 7.6: variable, level, NR and R of training, NR and R of validation, all, p of training and of validation
ZHAO_TABLE_1 = """
age|<40|27|13|9|4|53|.398|.713
age|40-50|37|16|17|7|77||
age|>=50|46|32|19|13|110||
bmi|<18.5|10|7|4|1|22|.788|.569
bmi|18.5-24|59|34|24|16|133||
bmi|>24|41|20|17|7|85||
ecog|0-1|98|58|40|22|218|.185|1.000
ecog|>=2|12|3|5|2|22||
menopause|pre|32|21|21|8|82|.470|.285
menopause|post|78|40|24|16|158||
surgery|yes|93|44|34|12|183|.051|.032
surgery|no|17|17|11|12|57||
lines|1|31|28|11|12|82|.020|.032
lines|>=2|79|33|34|12|158||
er|neg|88|54|40|20|202|.155|.781
er|pos|22|7|5|4|38||
pr|neg|103|53|38|21|215|.135|1.000
pr|pos|7|8|7|3|25||
her2|neg|102|59|41|23|225|.468|.652
her2|pos|8|2|4|1|15||
subtype|HR+|18|10|10|5|43|.665|.915
subtype|HER2+|8|2|4|1|15||
subtype|TNBC|84|49|31|18|182||
tnbc|no|26|12|14|6|58|.550|.594
tnbc|yes|84|49|31|18|182||
ki67|<=20|6|5|5|2|18|.708|1.000
ki67|>20|104|56|40|22|222||
dnlr|<2.38|44|31|19|10|104|.172|.964
dnlr|>=2.38|66|30|26|14|136||
ldh|<=250|61|40|25|15|141|.197|.578
ldh|>250|49|21|20|9|99||
albumin|<40|54|24|12|6|96|.220|.881
albumin|>=40|56|37|33|18|144||
regimen|chemo|56|28|25|18|127|.530|.112
regimen|antiangiogenic|54|33|20|6|113||
visceral|no|42|35|17|10|104|.016|.753
visceral|yes|68|26|28|14|136||
sites|1-2|46|41|21|14|122|.001|.356
sites|>=3|64|20|24|10|118||
"""
SIZES = {"nr_train": 110, "r_train": 61, "nr_val": 45, "r_val": 24}
COMPARED = {"p_train": ["nr_train", "r_train"], "p_val": ["nr_val", "r_val"]}


def zhao_table_1():
    rows = [line.split("|") for line in ZHAO_TABLE_1.split()]
    table = pd.DataFrame(rows, columns=["variable", "level", *SIZES, "all", *COMPARED])
    return table.astype(dict.fromkeys([*SIZES, "all"], int))


def counts_of(row):
    (tp, positive), (tn, negative) = (Printed.read(row[name]).counts for name in ("sensitivity", "specificity"))
    return Confusion(tp, negative - tn, positive - tp, tn)


@pytest.mark.parametrize("table", [ZHAO_TABLE_2, ZHAO_PD_L1], ids=["table 2", "PD-L1"])
def test_zhaos_performance_follows_from_its_counts(table):
    for _, row in table.iterrows():
        for name, share in counts_of(row).shares.items():
            assert f"{share.value:.3f}".lstrip("0").startswith(Printed.read(row[name]).value.lstrip("0"))

    assert performance_faults(table) == []


def patients_of(counts, **columns):
    """As many patients of each kind, those with the event first, called at 0.5."""
    kinds = {(1, 1): counts.true_positive, (1, 0): counts.false_negative}
    kinds |= {(0, 1): counts.false_positive, (0, 0): counts.true_negative}
    event, score = np.array([kind for kind, n in kinds.items() for _ in range(int(n))]).T
    return table(event, score, cutoff=0.5, **columns)


@pytest.mark.parametrize("printed", [ZHAO_TABLE_2, ZHAO_PD_L1], ids=["table 2", "PD-L1"])
def test_zhaos_performance_comes_out_of_an_evaluation_of_as_many_patients(printed):
    rows = [patients_of(counts_of(row), model=name, partition="apparent") for name, row in printed.iterrows()]

    found = assess(joined(*rows), EvaluationSettings(kind="binary", bootstrap=5, thresholds=[0.5]))

    for name, row in printed.iterrows():
        for measure in MEASURES[1:]:
            share = row_of(found, measure, model=name, method="clopper_pearson")
            assert Printed.read(row[measure]).may_stand_for(share["estimate"])
            assert share["lower"] <= share["estimate"] <= share["upper"]


def test_ligeros_performance_comes_out_of_an_evaluation_but_for_the_numbers_flagged():
    rows = [patients_of(counts_of(row), model=name) for name, row in LIGERO_TABLE_3.iterrows()]

    found = assess(joined(*rows), EvaluationSettings(kind="binary", bootstrap=5, thresholds=[0.5]))

    differing = []
    for name, row in LIGERO_TABLE_3.iterrows():
        for measure in LIGERO_COLUMNS[1:]:
            ratio = measure.startswith("lr_")
            ours = row_of(found, measure, model=name, method="simel" if ratio else "clopper_pearson")["estimate"]
            if not Printed.read(row[measure]).may_stand_for(ours if ratio else 100 * ours):
                differing.append(f"{name}: {measure}")
    assert differing == [
        "rad-clin C1: specificity",
        "rad-clin C1: lr_positive",
        "rad-clin C1: lr_negative",
        "clinical C1: npv",
        "clinical C1: lr_positive",
    ]


def test_ligeros_radiomics_rows_count_lesions_and_the_others_patients():
    counted = {name: counts_of(row).shares["accuracy"].total for name, row in LIGERO_TABLE_3.iterrows()}

    assert [counted[f"radiomics C{cohort}"] for cohort in (1, 2, 3)] == [236, 140, 104]
    for model in ("rad-clin", "clinical"):
        assert [counted[f"{model} C{cohort}"] for cohort in (1, 2, 3)] == [85, 46, 47]


@pytest.mark.parametrize(("cohort", "p"), [(1, 0.01), (2, 0.02), (3, 0.04)])
def test_ligeros_p_values_of_the_clinical_model_are_one_sided(cohort, p):
    auc = Printed.read(LIGERO_TABLE_3.loc[f"clinical C{cohort}", "auc"])
    with_event, without = (
        Printed.read(LIGERO_TABLE_3.loc[f"clinical C{cohort}", name]).counts[1]
        for name in ("sensitivity", "specificity")
    )
    spread = sqrt((with_event + without + 1) / (12 * with_event * without))  # Mann-Whitney, under no difference

    one_sided = norm.sf((float(auc.value) - 0.5) / spread)

    assert Printed(f"{p:.2f}").may_stand_for(one_sided)
    assert not Printed(f"{p:.2f}").may_stand_for(2 * one_sided)


def test_zhaos_subgroups_of_cps_hold_the_patients_of_the_pd_l1_model():
    totals = {
        column: sum(Printed.read(cell).counts[1] for cell in ZHAO_CPS_SUBGROUPS[column])
        for column in ZHAO_CPS_SUBGROUPS
    }

    for cohort in ("train", "val"):
        for measure, short in (("sensitivity", "sens"), ("specificity", "spec")):
            expected = Printed.read(ZHAO_PD_L1.loc[f"CPS {cohort}", measure]).counts[1]
            assert totals[f"rad {cohort} {short}"] == totals[f"comb {cohort} {short}"] == expected


def test_zhaos_auc_of_seven_of_nine_pairs_stands_in_the_subgroup_of_high_cps():
    # 3 R and 3 NR; one response is called wrong, so 2 of 9 pairs are too: AUC .778
    assert f"{delong([1, 1, 1, 0, 0, 0], [9, 8, 3, 4, 5, 1]).auc:.3f}" == "0.778"


def test_zhaos_subgroups_do_not_add_up_where_the_spec_says_so():
    whole = dict(
        zip(
            ZHAO_SUBGROUPS.columns,
            ["58/61", "108/110", "21/24", "45/45", "60/61", "107/110", "23/24", "45/45"],
            strict=True,
        )
    )

    faults = subgroup_faults(ZHAO_SUBGROUPS, whole)

    assert [fault.partition(",")[0] for fault in faults] == [
        "tnbc: rad train sens adds up to 60/61",
        "tnbc: rad val sens adds up to 22/24",
        "tnbc: rad val spec adds up to 44/45",
        "tnbc: comb train spec adds up to 108/110",
        "lines: comb train spec adds up to 108/110",
        "sites: rad train sens adds up to 61/61",
        "sites: rad train spec adds up to 102/110",
        "visceral: rad train spec adds up to 110/110",
        "regimen: comb train spec adds up to 108/110",
    ]


def test_ligeros_table_3_follows_but_for_the_numbers_the_spec_flags():
    faults = performance_faults(LIGERO_TABLE_3)

    assert faults == [
        "rad-clin C1: specificity is 59, but 25/42 is 0.5952",
        "rad-clin C1: lr_positive is 1.87, but the counts give 1.896",
        "rad-clin C1: lr_negative is .38, but the counts give 0.391",
        "clinical C1: npv counts 23/35, but sensitivity and specificity give 23/36",
        "clinical C1: lr_positive is 1.50, but the counts give 1.542",
    ]


def test_zhaos_table_1_adds_up_and_its_p_values_come_from_a_test_of_counts():
    table = zhao_table_1()

    faults = baseline_faults(table, SIZES, total="all", p_values=COMPARED)

    assert faults == []


def test_zhaos_table_1_mixes_three_tests_in_two_by_two_tables():
    table = zhao_table_1().set_index("variable")
    for variable, column, name in [
        ("lines", "p_train", "χ²"),
        ("ki67", "p_train", "χ², Yates"),
        ("ecog", "p_val", "Fisher"),
    ]:
        rows = table.loc[variable]
        told = p_values_of_counts(rows[COMPARED[column]].to_numpy(dtype=float))

        assert Printed.read(rows[column].iloc[0]).may_stand_for(told[name])


def test_zhaos_cohorts_differ_where_the_spec_says_so():
    table = zhao_table_1()
    table = table.assign(train=table["nr_train"] + table["r_train"], val=table["nr_val"] + table["r_val"])
    p = {
        variable: p_values_of_counts(rows[["train", "val"]].to_numpy(dtype=float))["χ²"]
        for variable, rows in table.groupby("variable")
    }

    assert (round(p["albumin"], 3), round(p["surgery"], 3), round(p["regimen"], 3)) == (0.005, 0.027, 0.064)


@pytest.mark.parametrize(
    ("cells", "fault"),
    [
        ({"sensitivity": "58/61 .950"}, "row: sensitivity is .950, but 58/61 is 0.9508"),
        ({"sensitivity": "62/61"}, "row: sensitivity counts 62 of 61"),
        ({"auc": ".90 (.91-.95)"}, "row: auc is .90, outside its interval 0.91 to 0.95"),
        ({"sensitivity": "8/10", "specificity": "9/10", "ppv": "8/10"}, "row: ppv counts 8/10, but sensitivity"),
        (
            {"sensitivity": "8/10", "specificity": "9/10", "accuracy": ".90"},
            "row: accuracy is .90, but 17/20 is 0.8500",
        ),
    ],
    ids=["rounding", "too many", "interval", "counts", "no counts of its own"],
)
def test_each_kind_of_fault_is_told(cells, fault):
    (told,) = performance_faults(pd.DataFrame([cells], index=["row"]))

    assert told.startswith(fault)


def test_a_half_may_be_rounded_either_way_and_an_empty_cell_is_not_checked():
    assert performance_faults(pd.DataFrame({"npv": ["1/8 .12", "1/8 .13", "1/8 12", "", None]})) == []


def test_faults_of_a_first_table_are_told():
    table = zhao_table_1()
    table.loc[0, "nr_train"] += 1
    table.loc[3, "p_train"] = ".500"

    faults = baseline_faults(table, SIZES, total="all", p_values=COMPARED)

    assert faults[:2] == [
        "age: the levels of nr_train add up to 111, not 110",
        "age, <40: groups add up to 54, printed 53",
    ]
    assert faults[-1].startswith("bmi: no test gives p_train .500 (χ² 0.788, Fisher 0.")


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (".67 (.58-.76)", Printed(".67", None, (0.58, 0.76))),
        ("34/61 55.7 %", Printed("55.7", (34, 61))),
        ("0.5 [−0.1 to 1]".replace("−", "-"), Printed("0.5", None, (-0.1, 1.0))),
        ("<.001", Printed(".001", below=True)),
    ],
)
def test_cells_are_read_as_papers_print_them(cell, expected):
    assert Printed.read(cell) == expected


def test_cells_without_what_is_needed_are_refused():
    with pytest.raises(ValueError, match="no number in the printed cell 'NA'"):
        Printed.read("NA")
    with pytest.raises(ValueError, match="a subgroup's cell must be count/total, got '.95'"):
        subgroup_faults(pd.DataFrame({"s": [".95"]}, index=["a=1"]), {"s": "1/1"})
