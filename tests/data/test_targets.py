import doctest
import re

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from radnet.cohort import FEATURE_KEYS, Cohort, FeatureTable, Lesion, Patient
from radnet.config import build, config_folder, options, target_faults
from radnet.data import targets
from radnet.data.simulate import simulation_settings
from radnet.data.simulation.lesions import VISCERAL_SITES
from radnet.data.simulation.planted import plant
from radnet.data.targets import DIAMETER, SIZE_COLUMNS, TargetRule, select_targets, target_lesions

RECIST = TargetRule(per_site=2, total=5, first=["liver", "lung"])
NOT_MEASURED = np.nan


def sizes_of(*lesions, patient="P1"):
    """Lesions as (id, site, diameter in mm)."""
    return pd.DataFrame([(patient, *lesion) for lesion in lesions], columns=list(SIZE_COLUMNS))


def random_sizes(seed, n_patients=80):
    """One to nine lesions a patient in five sites, some not known, some not measured, many alike in diameter."""
    rng = np.random.default_rng(seed)
    sites = ["liver", "lung", "node", "bone", "breast", ""]
    rows = [
        (f"P{patient}", f"L{lesion}", str(rng.choice(sites)), float(rng.integers(10, 30)))
        for patient in range(n_patients)
        for lesion in range(rng.integers(1, 10))
    ]
    sizes = pd.DataFrame(rows, columns=list(SIZE_COLUMNS))
    return sizes.assign(diameter_mm=sizes["diameter_mm"].where(rng.random(len(sizes)) < 0.9))


def taken_one_by_one(lesions, rule):
    """The rule as the specification tells it, over the measured lesions (id, site, diameter) of one patient."""
    by_site = {}
    for lesion, site, diameter in sorted(lesions, key=lambda one: (-one[2], one[0])):
        by_site.setdefault(site, []).append((lesion, diameter))
    in_row = sorted(by_site, key=lambda site: (0 if site in rule.first else 1, -by_site[site][0][1], site))
    taken = []
    for turn in range(rule.per_site):
        for site in in_row:
            if turn < len(by_site[site]) and len(taken) < rule.total:
                taken.append(by_site[site][turn][0])
    return taken


def in_order(table):
    return list(table.sort_values("rank")["lesion_id"])


def chosen(table):
    return in_order(table[table["target"]])


@pytest.mark.parametrize(
    ("lesions", "rule", "ranked", "n_targets"),
    [
        pytest.param(
            [("a", "liver", 20), ("b", "liver", 50), ("c", "liver", 40), ("d", "lung", 30), ("e", "node", 60)],
            RECIST,
            ["b", "d", "e", "c", "a"],
            4,
            id="the third lesion of a site is no target",
        ),
        pytest.param(
            [("a", "node", 90), ("b", "node", 80), ("c", "lung", 12), ("d", "liver", 11)],
            RECIST,
            ["c", "d", "a", "b"],
            4,
            id="small visceral lesions come before large nodes",
        ),
        pytest.param(
            [
                ("a", "bone", 1),
                ("b", "node", 2),
                ("c", "skin", 3),
                ("d", "lung", 4),
                ("e", "breast", 5),
                ("f", "liver", 6),
            ],
            RECIST,
            ["f", "d", "e", "c", "b", "a"],
            5,
            id="of six sites the smallest that is not visceral has no target",
        ),
        pytest.param(
            [("a", "liver", 50), ("b", "liver", 12), ("c", "node", 40), ("d", "node", 38)],
            TargetRule(per_site=2, total=3, first=["liver"]),
            ["a", "c", "b", "d"],
            3,
            id="the second pass begins with the visceral site again",
        ),
        pytest.param(
            [("a", "lung", 60), ("b", "lung", 10), ("c", "liver", 30), ("d", "liver", 25)],
            TargetRule(per_site=2, total=3, first=["liver", "lung"]),
            ["a", "c", "b", "d"],
            3,
            id="sites keep their place in the second pass, whichever second lesion is larger",
        ),
        pytest.param(
            [("b", "node", 20), ("a", "node", 20), ("d", "breast", 20), ("c", "skin", 20)],
            TargetRule(per_site=1, total=2, first=[]),
            ["d", "a", "c", "b"],
            2,
            id="alike in diameter, the smaller name of site and lesion goes first",
        ),
        pytest.param(
            [("a", "", 50), ("b", "", 40), ("c", "", 30), ("d", "node", 10)],
            RECIST,
            ["a", "d", "b", "c"],
            3,
            id="lesions of unknown sites count as of one site",
        ),
        pytest.param(
            [("a", "liver", NOT_MEASURED), ("b", "node", 10), ("c", "node", 9), ("d", "node", 8)],
            RECIST,
            ["b", "c", "d", "a"],
            2,
            id="a lesion without a diameter is no target beside measured ones",
        ),
        pytest.param(
            [("a", "node", NOT_MEASURED), ("b", "liver", NOT_MEASURED), ("c", "liver", NOT_MEASURED)],
            TargetRule(per_site=1, total=5, first=["liver"]),
            ["b", "a", "c"],
            2,
            id="where no lesion has a diameter the sites decide",
        ),
        pytest.param([("a", "", NOT_MEASURED)], RECIST, ["a"], 1, id="an only lesion is a target whatever it lacks"),
    ],
)
def test_a_patient_worked_by_hand(lesions, rule, ranked, n_targets):
    table = target_lesions(sizes_of(*lesions), rule)

    assert in_order(table) == ranked
    assert sorted(table["rank"]) == list(range(1, len(lesions) + 1))
    assert chosen(table) == ranked[:n_targets]


@pytest.mark.parametrize("rule", [RECIST, TargetRule(1, 3, ["liver"]), TargetRule(3, 4, [])], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_targets_obey_the_laws_of_the_rule(seed, rule):
    table = target_lesions(random_sizes(seed), rule)

    assert table["target"].groupby(table["patient_id"]).any().all()
    for _, lesions in table.groupby("patient_id"):
        taken = lesions[lesions["target"]].sort_values("rank")
        assert len(taken) <= rule.total
        assert taken["site"].value_counts().max() <= rule.per_site
        able = lesions[lesions["diameter_mm"].notna()]
        if able.empty:
            continue
        assert taken["diameter_mm"].notna().all()
        second = taken.duplicated("site")
        if second.any():  # no second lesion of a site while one has none
            assert set(able["site"]) == set(taken["site"])
        once = taken[~second]
        assert once["site"].isin(rule.first).is_monotonic_decreasing  # visceral first
        largest = able.groupby("site")["diameter_mm"].max()
        assert (once["diameter_mm"].to_numpy() == largest[once["site"]].to_numpy()).all()
        left = able[~able["target"]]
        room = left["site"].map(taken["site"].value_counts()).fillna(0) < rule.per_site
        assert len(taken) == rule.total or not room.any()  # nothing that may be taken is left


@pytest.mark.parametrize("rule", [RECIST, TargetRule(1, 3, ["liver"]), TargetRule(3, 4, [])], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_targets_are_those_that_are_taken_one_by_one(seed, rule):
    sizes = random_sizes(seed).dropna(subset="diameter_mm")

    table = target_lesions(sizes, rule)

    for _, lesions in table.groupby("patient_id"):
        rows = lesions[["lesion_id", "site", "diameter_mm"]].itertuples(index=False, name=None)
        assert chosen(lesions) == taken_one_by_one(list(rows), rule)


def test_lesions_rank_as_in_simulated_cohorts_where_both_have_one_order():
    planted = plant(simulation_settings("paper", n=400, images=False)).lesions
    rule = TargetRule(per_site=2, total=5, first=VISCERAL_SITES)

    table = target_lesions(planted.rename(columns={"long_mm": "diameter_mm"}), rule)

    second = table["target_rank"] > table.groupby("patient_id")["site"].transform("nunique")
    # A simulated cohort orders second lesions by their own diameter, the rule by the largest of their site.
    seconds = second.groupby([table["patient_id"], table["visceral"]]).transform("sum")
    alike = ~second | (seconds < 2)
    assert alike.mean() > 0.9
    assert (second & alike).sum() > 100
    pd.testing.assert_series_equal(table["rank"][alike], table["target_rank"][alike], check_names=False)
    assert table["target"].all()  # five lesions at most, two of a site at most


@pytest.mark.parametrize("seed", range(3))
def test_targets_do_not_depend_on_the_order_of_rows(seed):
    sizes = random_sizes(seed)
    order = np.random.default_rng(seed).permutation(len(sizes))

    table, shuffled = target_lesions(sizes, RECIST), target_lesions(sizes.iloc[order], RECIST)

    pd.testing.assert_frame_equal(shuffled, table.iloc[order])


def test_a_site_that_is_nan_is_one_that_is_empty():
    sizes = sizes_of(("a", "", 50), ("b", "", 40), ("c", "liver", 30), ("d", "", 20))

    table = target_lesions(sizes, RECIST)

    without = target_lesions(sizes.replace({"site": {"": np.nan}}), RECIST)
    pd.testing.assert_frame_equal(without.drop(columns="site"), table.drop(columns="site"))
    nowhere = target_lesions(sizes.assign(site=np.nan), RECIST)
    assert chosen(nowhere) == ["a", "b"]


def test_every_fault_of_a_table_of_sizes_is_told():
    sizes = sizes_of(("a", "Liver", 50.0), ("a", "liver", 40.0), ("b", "lung", -3.0), ("c", "node", np.inf))

    with pytest.raises(ValueError) as fault:
        target_lesions(sizes, RECIST)

    for told in (
        "4 faults",
        "lesion P1/a stands twice",
        "lesion P1/b: the diameter is -3 mm, expected a length",
        "lesion P1/c: the diameter is inf mm, expected a length",
        "one site is spelt Liver and liver: write one name in lesions.csv and in targets.first",
    ):
        assert told in str(fault.value)


def test_a_site_spelt_otherwise_than_in_the_rule_is_told():
    with pytest.raises(ValueError, match="one site is spelt LUNG and lung"):
        target_lesions(sizes_of(("a", "LUNG", 50)), RECIST)


def test_absent_columns_of_sizes_are_all_told():
    with pytest.raises(ValueError, match=r"(?s)2 faults.*column site is missing.*column diameter_mm is missing"):
        target_lesions(pd.DataFrame({"patient_id": ["P1"], "lesion_id": ["a"]}), RECIST)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"per_site": 0}, "per_site must be a whole number of 1 or more, got 0"),
        ({"total": 2.5}, "total must be a whole number of 1 or more, got 2.5"),
        ({"total": True}, "total must be a whole number of 1 or more, got True"),
        ({"first": "liver"}, "first must be a list of sites, such as [liver, lung], got 'liver'"),
        ({"first": ["liver", ""]}, "first must be a list of sites, such as [liver, lung], got ['liver', '']"),
        ({"per_site": -1, "total": 0}, "per_site must be a whole number of 1 or more, got -1; total must be"),
    ],
)
def test_a_rule_that_takes_nothing_or_names_no_sites_is_refused(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        TargetRule(**{"per_site": 2, "total": 5, "first": ["liver"], **changes})


def measured_cohort():
    """P1: three lesions of the liver and a node that could not be measured; P2: one lesion of a table alone.

    Each lesion has a ring; the first of P1 a second reader and a second channel, on both of which it looks largest.
    """
    diameters = {("P1", "L1"): 20.0, ("P1", "L2"): 50.0, ("P1", "L3"): 40.0, ("P1", "L4"): np.nan, ("P2", "L1"): 5.0}
    rows = []
    for (patient, lesion), diameter in diameters.items():
        status = "mask is empty" if np.isnan(diameter) else "ok"
        for region in ("lesion", "ring"):
            rows.append((patient, lesion, region, "CT", "1", "1", status, diameter if region == "lesion" else 1.0, 7.0))
    rows.insert(0, ("P1", "L1", "lesion", "CT", "2", "1", "ok", 90.0, 7.0))
    rows.append(("P1", "L1", "lesion", "PET", "1", "1", "ok", 95.0, 7.0))
    table = pd.DataFrame(rows, columns=[*FEATURE_KEYS, "status", DIAMETER, "original_firstorder_Mean"])
    sites = {"L1": "liver", "L2": "liver", "L3": "liver", "L4": "node"}
    lesions = tuple(Lesion(lesion, site) for lesion, site in sites.items())
    patients = (Patient("P1", "A", lesions=lesions), Patient("P2", "A"))
    return Cohort(patients, FeatureTable(table, {"engine": "made by a test"}))


def test_a_cohort_keeps_the_target_lesions_and_all_their_rows():
    cohort = measured_cohort()

    selected, table = select_targets(cohort, RECIST)

    assert selected.ids == cohort.ids
    assert [[lesion.id for lesion in patient.lesions] for patient in selected.patients] == [["L2", "L3"], []]
    rows = selected.features.rows
    assert list(zip(rows["patient_id"], rows["lesion_id"], rows["region"], strict=True)) == [
        ("P1", "L2", "lesion"),
        ("P1", "L2", "ring"),
        ("P1", "L3", "lesion"),
        ("P1", "L3", "ring"),
        ("P2", "L1", "lesion"),
        ("P2", "L1", "ring"),
    ]
    assert selected.features.provenance == cohort.features.provenance
    assert selected.features.channels == ("CT", "PET")  # those of the whole table, though no PET row is left
    expected = pd.DataFrame(
        [
            ("P1", "L1", "liver", 20.0, 3, False),
            ("P1", "L2", "liver", 50.0, 1, True),
            ("P1", "L3", "liver", 40.0, 2, True),
            ("P1", "L4", "node", np.nan, 4, False),
            ("P2", "L1", "", 5.0, 1, True),
        ],
        columns=[*SIZE_COLUMNS, "rank", "target"],
    )
    pd.testing.assert_frame_equal(table, expected)


def test_a_lesion_without_a_row_of_features_is_one_without_a_diameter():
    cohort = measured_cohort()
    features = FeatureTable(cohort.features.rows[cohort.features.rows["lesion_id"] != "L2"])

    selected, table = select_targets(Cohort(cohort.patients, features), RECIST)

    assert [lesion.id for lesion in selected.patients[0].lesions] == ["L1", "L3"]
    assert np.isnan(table.loc[table["lesion_id"] == "L2", "diameter_mm"].item())


def test_selecting_again_changes_nothing():
    once, _ = select_targets(measured_cohort(), RECIST)

    again, table = select_targets(once, RECIST)

    assert table["target"].all()
    assert again.patients == once.patients
    pd.testing.assert_frame_equal(again.features.rows, once.features.rows)


def test_targets_need_a_measured_diameter():
    cohort = measured_cohort()
    rows = cohort.features.rows.drop(columns=DIAMETER)

    with pytest.raises(ValueError, match=r"the feature table has no original_shape_Maximum2DDiameterSlice: measure"):
        select_targets(Cohort(cohort.patients, FeatureTable(rows)), RECIST)
    with pytest.raises(ValueError, match="no lesion is measured: run `radnet extract` first"):
        select_targets(Cohort(cohort.patients), RECIST)


def test_the_configured_rule_is_that_of_the_paper_and_every_key_is_read():
    config = OmegaConf.load(config_folder() / "targets" / "recist.yaml")

    rule = build(config)

    assert target_faults(OmegaConf.create({"targets": config})) == []
    assert (rule.per_site, rule.total) == (2, 5)
    assert set(VISCERAL_SITES) <= set(rule.first)
    assert options("targets") == ["all", "recist"]
    assert not OmegaConf.load(config_folder() / "targets" / "all.yaml")


def test_the_examples_run():
    assert doctest.testmod(targets).failed == 0
