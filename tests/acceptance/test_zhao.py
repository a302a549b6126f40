"""Zhao 2023 as its specification accepts it, line by line, from what a user types to what is written."""

import json
from dataclasses import replace
from math import sqrt

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter, KaplanMeierFitter
from lifelines.statistics import logrank_test
from lifelines.utils import concordance_index
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

torch = pytest.importorskip("torch", reason="training needs the extra train")

from assessing import joined, table  # noqa: E402
from cohorts import STUDY_FEATURES, write_cohort  # noqa: E402
from radnet.cli import main  # noqa: E402
from radnet.cohort import FEATURE_KEYS, Cohort, FeatureTable, Lesion, Outcome, Patient  # noqa: E402
from radnet.config import build, load_config  # noqa: E402
from radnet.data.manifest import read_manifest  # noqa: E402
from radnet.data.targets import select_targets  # noqa: E402
from radnet.evaluation.survival.maxstat import maxstat  # noqa: E402
from radnet.models.networks import RadiomicsMLP  # noqa: E402
from radnet.predictors.folder import load_model  # noqa: E402
from radnet.tables import write_table  # noqa: E402

FAST = [
    "trainer.max_epochs=10",
    "trainer.learning_rate=0.01",
    "model.network.hidden=[16,8,4]",
    "split.folds.n_folds=2",
    "split.inner.n_folds=2",
]
VISCERAL = {"liver", "lung"}
# Table 2 and Table S3: responders called so, non-responders called so, and what is printed of them
PRINTED = {
    "clinical apparent": ("34/61", "79/110", [".557", ".718", ".661", ".523", ".745"]),
    "radiomics apparent": ("58/61", "108/110", [".951", ".982", ".971", ".967", ".973"]),
    "combined apparent": ("60/61", "107/110", [".984", ".973", ".977", ".952", ".991"]),
    "clinical held_out": ("12/24", "36/45", [".500", ".800", ".696", ".571", ".750"]),
    "radiomics held_out": ("21/24", "45/45", [".875", "1.000", ".957", "1.000", ".938"]),
    "combined held_out": ("23/24", "45/45", [".958", "1.000", ".986", "1.000", ".978"]),
    "cps apparent": ("23/37", "36/66", [".622", ".545", ".573", ".434", ".720"]),
    "cps held_out": ("3/4", "7/7", [".750", "1.0", ".909", "1.0", ".875"]),
    "cps_ge10 apparent": ("14/37", "45/66", [".378", ".682", ".573", ".400", ".662"]),
    "cps_ge10 held_out": ("3/4", "4/7", [".750", ".571", ".636", ".500", ".800"]),
}
SHARES = ["sensitivity", "specificity", "accuracy", "ppv", "npv"]
# Table 1 and Table S3: patients with the variable, of the non-responders and responders of training, then of validation
GROUPS = {("train", 0): 110, ("train", 1): 61, ("held_out", 0): 45, ("held_out", 1): 24}
MARGINS = {
    "lines_ge2": (79, 33, 34, 12),
    "sites_ge3": (64, 20, 24, 10),
    "visceral": (68, 26, 28, 14),
    "antiangiogenic": (54, 33, 20, 6),
}
SUBTYPES = {"TNBC": (84, 49, 31, 18), "HR+/HER2-": (18, 10, 10, 5), "HER2+": (8, 2, 4, 1)}
CPS_GE10, CPS_BELOW = (21, 14, 3, 3), (45, 23, 4, 1)  # the others' is not known
PROGRESSED = {"train": 119, "held_out": 50}  # of 171 and 69


def may_be_printed(value, printed):
    return abs(value - float(printed)) <= 0.5 * 10.0 ** -len(printed.partition(".")[2]) + 1e-9


def counts_of(cell):
    return tuple(int(one) for one in cell.split("/"))


def dealt(rng, values, size):
    """As many of each value as told, in any order; the rest is None."""
    every = [value for value, count in values.items() for _ in range(count)]
    return rng.permutation(np.array(every + [None] * (size - len(every)), dtype=object)).tolist()


def the_240(seed=3, signal=1.2):
    """171 patients to learn from and 69 to judge, with the counts of Tables 1 and S3, one to seven lesions each."""
    rng = np.random.default_rng(seed)
    patients, rows = [], []
    for place, ((split, response), size) in enumerate(GROUPS.items()):
        clinical = {name: dealt(rng, {1.0: n[place], 0.0: size - n[place]}, size) for name, n in MARGINS.items()}
        clinical["subtype"] = dealt(rng, {name: n[place] for name, n in SUBTYPES.items()}, size)
        high = dealt(rng, {True: CPS_GE10[place], False: CPS_BELOW[place]}, size)
        clinical["cps"] = [
            None if one is None else float(rng.integers(10, 60) if one else rng.integers(10)) for one in high
        ]
        for number in range(size):
            identity = f"{split[0]}{response}{number:03d}"
            sites = rng.choice(["liver", "lung", "node", "breast", "chest_wall"], size=rng.integers(1, 8))
            lesions = tuple(Lesion(f"L{one}", site=str(site)) for one, site in enumerate(sites, start=1))
            own = {name: values[number] for name, values in clinical.items()}
            patients.append(
                Patient(identity, "AB"[number % 2], split, {"response": Outcome(bool(response))}, lesions, own)
            )
            shift = signal * response + 0.5 * rng.normal()
            for lesion in lesions:
                values = rng.normal(size=len(STUDY_FEATURES))
                values[3:9] += shift
                values[:2] = rng.uniform(100, 5000), rng.uniform(8, 60)
                rows.append((identity, lesion.id, "lesion", "image", "1", "1", "ok", *values))
    patients = [followed(one, rng) for one in patients]
    for split, events in PROGRESSED.items():
        there = [place for place, one in enumerate(patients) if one.split == split]
        for place in rng.choice(there, len(there) - events, replace=False):
            outcomes = patients[place].outcomes
            outcomes = {**outcomes, "pfs": replace(outcomes["pfs"], event=False)}
            patients[place] = replace(patients[place], outcomes=outcomes)
    columns = [*FEATURE_KEYS, "status", *STUDY_FEATURES]
    return Cohort(tuple(patients), FeatureTable(pd.DataFrame(rows, columns=columns), {"engine": "made by a test"}))


def followed(patient, rng):
    """Responders progress half as fast: a median of 7.6 months against 3.8."""
    months = rng.exponential(11.0 if patient.outcomes["response"].event else 5.5) + 0.1
    return replace(patient, outcomes={**patient.outcomes, "pfs": Outcome(True, float(months))})


@pytest.fixture(scope="module")
def root(workplace):
    return write_cohort(the_240(), workplace / "the 240")


@pytest.fixture(scope="module")
def combined(train, root):
    """The clinical-radiomics network: targets chosen, folds, cut-offs, progression read too."""
    return train("zhao_combined", root, "combined", *FAST)


@pytest.fixture(scope="module")
def clinical(train, root):
    """The clinical baseline."""
    return train("zhao_clinical", root, "clinical", "split.folds.n_folds=3")


@pytest.fixture(scope="module")
def judged(evaluate, combined):
    """Its evaluation; the report has a test of its own."""
    return evaluate(combined / "evaluation", f"run={combined}", "evaluation.bootstrap=30", "report=false")


def one_of(metrics, metric, **where):
    rows = metrics[(metrics["metric"] == metric) & (metrics["centre"] == "") & (metrics["level"] == "patient")]
    for column, value in {"subgroup": "", "group": "", "versus": "", **where}.items():
        rows = rows[rows[column] == value]
    assert len(rows) == 1, f"{metric} {where}: {len(rows)} rows"
    return rows.iloc[0]


def predicted(run, endpoint="response", partition="held_out"):
    rows = pd.read_parquet(run / "predictions.parquet")
    return rows[(rows["endpoint"] == endpoint) & (rows["partition"] == partition)]


def test_zhao_1_the_extractor_measures_1130_features_of_twelve_images(workplace):
    knobs = ["n=2", "size_voxels=32", "radius_mm=[5,6]", "max_lesions=1"]
    assert main(["simulate", "two", "--preset", "small", "--workers", "1", "--set", *knobs]) == 0

    assert main(["extract", "two", "--settings", "zhao", "--out", "zhao.parquet", "--workers", "1"]) == 0

    features = pd.read_parquet("zhao.parquet")
    names = features.columns.drop([*FEATURE_KEYS, "status"])
    image, kind, _ = zip(*(name.split("_") for name in names), strict=True)
    assert len(names) == len(set(names)) == 1130
    assert (features["status"] == "ok").all()
    assert features[names].notna().all(axis=None)
    assert pd.Series(image).value_counts().to_dict() == {
        "original": 14 + 93,
        **{f"log-sigma-{sigma}-0-mm-3D": 93 for sigma in (1, 2, 3)},
        **{f"wavelet-{band}": 93 for band in ("LLL", "LLH", "LHL", "LHH", "HLL", "HLH", "HHL", "HHH")},
    }
    assert pd.Series(kind).value_counts().to_dict() == {
        "shape": 14, "firstorder": 216, "glcm": 288, "glrlm": 192, "glszm": 192, "gldm": 168, "ngtdm": 60,
    }  # fmt: skip


def test_zhao_2_shares_of_three_centres_give_171_and_69_patients_and_928_per_mille_from_a_centre_learned_from(
    workplace, train
):
    cohort = Cohort(the_240().patients)
    centres = ["SYSMH"] * 107 + ["SYSUCC"] * 128 + ["FAHSYSU"] * 5
    order = np.random.default_rng(1).permutation(len(cohort))
    moved = tuple(
        replace(one, centre=centres[place], split=None) for one, place in zip(cohort.patients, order, strict=True)
    )
    shares = ["split=zhao", "~split.held_out.train", "~split.held_out.held_out"]
    shares += ["+split.held_out.train={SYSMH:1.0,SYSUCC:0.5}", "+split.held_out.held_out={SYSUCC:0.5,FAHSYSU:1.0}"]

    run = train("zhao_clinical", write_cohort(Cohort(moved), workplace / "centres"), "shares", *shares)

    counts = json.loads((run / "run.json").read_text(encoding="utf-8"))["counts"]
    assert (counts["development"]["patients"], counts["held_out"]["patients"]) == (171, 69)
    assert counts["held_out_share_from_training_centres"] == 0.928  # 64 of 69
    rows = pd.read_parquet(run / "predictions.parquet")
    centre = rows.drop_duplicates("patient_id").groupby(rows["partition"] == "held_out")["centre"].value_counts()
    assert centre[False].to_dict() == {"SYSMH": 107, "SYSUCC": 64}
    assert centre[True].to_dict() == {"SYSUCC": 64, "FAHSYSU": 5}
    assert rows["patient_id"].nunique() == 240  # and so nobody on both sides


def test_zhao_3_two_lesions_of_an_organ_at_most_visceral_first_new_sites_before_second_lesions(combined):
    targets = pd.read_csv(combined / "tables" / "targets.csv", keep_default_na=False)
    taken = targets[targets["target"]].sort_values(["patient_id", "rank"])
    lesions = pd.read_parquet(combined / "lesion_predictions.parquet")

    assert taken.groupby(["patient_id", "site"]).size().max() == 2
    assert taken.groupby("patient_id").size().max() == 5
    second = taken.duplicated(["patient_id", "site"]).to_numpy()
    other = ~taken["site"].isin(VISCERAL).to_numpy()
    for _, places in taken.reset_index(drop=True).groupby("patient_id").groups.items():
        assert (np.diff(second[places].astype(int)) >= 0).all()
        assert (np.diff(other[places][~second[places]].astype(int)) >= 0).all()
    able = targets.groupby("patient_id")["site"].agg(set)
    with_second = set(taken.loc[second, "patient_id"])
    assert all(able[one] == set(taken.loc[taken["patient_id"] == one, "site"]) for one in with_second)
    assert set(zip(lesions["patient_id"], lesions["lesion_id"], strict=True)) == set(
        zip(taken["patient_id"], taken["lesion_id"], strict=True)
    )


def test_zhao_4_clinical_values_reach_the_fourth_layer_of_the_trained_network_alone(combined):
    frozen = load_model(combined / "model").model
    network, width = frozen.network, frozen.arguments["hidden"][-1]
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(6, 1, frozen.arguments["n_features"], generator=generator)
    clinical = torch.randn(6, frozen.arguments["n_clinical"], generator=generator).requires_grad_()
    present = torch.ones(6, 1, dtype=torch.bool)
    seen = []
    network.trunk.register_forward_hook(lambda _, __, output: seen.append(output))

    logits = network(features, present, clinical)

    (gradient,) = torch.autograd.grad(logits.sum(), clinical, retain_graph=True)
    (of_trunk,) = torch.autograd.grad(seen[0].sum(), clinical, allow_unused=True)
    weight = network.fourth.weight[0, width:]
    assert (weight.abs() > 0).all()
    torch.testing.assert_close(gradient, weight.expand_as(gradient))
    assert of_trunk is None  # nothing before the fourth layer has seen it


def test_zhao_4_without_clinical_weights_the_trained_network_is_the_radiomics_network_of_its_trunk(combined):
    frozen = load_model(combined / "model").model
    network, width = frozen.network, frozen.arguments["hidden"][-1]
    alone = RadiomicsMLP(**{**frozen.arguments, "n_clinical": 0}).eval()
    alone.trunk.load_state_dict(network.trunk.state_dict())
    features = torch.randn(6, 1, frozen.arguments["n_features"], generator=torch.Generator().manual_seed(2))
    present, clinical = torch.ones(6, 1, dtype=torch.bool), torch.randn(6, frozen.arguments["n_clinical"])
    with torch.no_grad():
        alone.fourth.weight.copy_(network.fourth.weight[:, :width])
        alone.fourth.bias.copy_(network.fourth.bias)
        network.fourth.weight[0, width:] = 0

    torch.testing.assert_close(network(features, present, clinical), alone(features, present, clinical[:, :0]))


def test_zhao_4_a_clinical_value_shifts_every_patients_score_alike_by_its_weight(combined, root):
    model = load_model(combined / "model")
    cohort, _ = select_targets(
        read_manifest(root, [model.endpoint]), build(load_config("train", ["experiment=zhao_combined"]).targets)
    )
    scores = {}
    for value in (0.0, 1.0):
        changed = tuple(replace(one, clinical={**one.clinical, "sites_ge3": value}) for one in cohort.patients)
        scores[value] = model.model.predict(Cohort(changed, cohort.features)).patients["score"]

    shift = scores[1.0] - scores[0.0]

    assert shift.abs().min() > 0
    np.testing.assert_allclose(shift, shift.iloc[0], atol=1e-5)  # of float32 outputs


@pytest.fixture(scope="module")
def printed_counts(workplace, evaluate):
    """As many patients of each kind as Tables 2 and S3 count, called at 0.5, judged from a file on disk."""
    tables = []
    for name, (responders, others, _) in PRINTED.items():
        model, partition = name.split()
        (tp, positive), (tn, negative) = counts_of(responders), counts_of(others)
        event, score = np.repeat([[1, 1], [1, 0], [0, 0], [0, 1]], [tp, positive - tp, tn, negative - tn], axis=0).T
        who = [f"{name} {number}" for number in range(len(event))]
        tables.append(table(event, score, model=model, partition=partition, cutoff=0.5, patient_id=who))
    write_table(joined(*tables), workplace / "published.csv")
    typed = ["evaluation.bootstrap=400", "evaluation.thresholds=[0.5]", "report=false"]
    return evaluate(workplace / "published", f"predictions={workplace / 'published.csv'}", *typed)


@pytest.mark.parametrize("name", PRINTED)
def test_zhao_5_counts_give_tables_2_and_s3_to_three_decimals(name, printed_counts):
    model, partition = name.split()
    *_, printed = PRINTED[name]

    for metric, cell in zip(SHARES, printed, strict=True):
        row = one_of(printed_counts, metric, model=model, partition=partition, method="clopper_pearson")
        assert may_be_printed(row["estimate"], cell), f"{metric}: {row['estimate']:.4f}, printed {cell}"


@pytest.mark.parametrize("name", [name for name in PRINTED if "held_out" in name])
def test_zhao_5_the_auc_has_intervals_by_delong_and_bootstrap(name, printed_counts):
    """Of a score of two values the AUC is (sensitivity + specificity) / 2, and DeLong's variance is closed."""
    model, partition = name.split()
    (tp, positive), (tn, negative) = (counts_of(cell) for cell in PRINTED[name][:2])
    found, rejected = tp / positive, tn / negative
    error = sqrt(found * (1 - found) / (positive - 1) + rejected * (1 - rejected) / (negative - 1)) / 2

    delong, drawn = (
        one_of(printed_counts, "auc", model=model, partition=partition, method=method)
        for method in ("delong", "bootstrap")
    )

    area = (found + rejected) / 2
    assert delong["estimate"] == drawn["estimate"] == pytest.approx(area)
    assert delong["lower"] == pytest.approx(max(0, area - norm.isf(0.025) * error))
    assert delong["upper"] == pytest.approx(min(1, area + norm.isf(0.025) * error))
    assert drawn["lower"] <= area <= drawn["upper"]
    if positive >= 20:  # 400 draws; with 4 responders the two differ as they must
        assert drawn["lower"] == pytest.approx(delong["lower"], abs=0.04)


def test_zhao_5_the_row_of_high_cps_comes_out_of_training_on_as_many_patients(train, evaluate, root):
    """Logistic regression on one yes or no has two scores; Table S3 then follows from 14/37 and 45/66 patients."""
    run = train("zhao_pdl1_ge10", root, "cps_ge10", "protocol=as_published", "split=column")

    metrics = evaluate(run / "evaluation", f"run={run}", "evaluation.bootstrap=20", "report=false")

    for partition, area, interval in (
        ("apparent", ".530", (".433", ".628")),
        ("held_out", ".661", (".346", ".976")),
    ):
        auc = one_of(metrics, "auc", partition=partition, method="delong")
        assert may_be_printed(auc["estimate"], area)
        assert auc["lower"] == pytest.approx(float(interval[0]), abs=1e-3)  # .6275 is printed as .628
        assert auc["upper"] == pytest.approx(float(interval[1]), abs=1e-3)
        for metric, cell in zip(SHARES, PRINTED[f"cps_ge10 {partition}"][2], strict=True):
            row = one_of(metrics, metric, partition=partition, method="clopper_pearson")
            assert may_be_printed(row["estimate"], cell)


def test_zhao_6_the_threshold_is_the_best_on_out_of_fold_scores_and_stays_for_everybody_else(combined):
    learned = predicted(combined, partition="out_of_fold")
    event, score = learned["event"].to_numpy() == 1, learned["score"].to_numpy()

    others = pd.concat([predicted(combined, partition=name) for name in ("apparent", "held_out")])

    (cutoff,) = set(others["cutoff"])
    gain = {at: (score[event] >= at).mean() + (score[~event] < at).mean() for at in [cutoff, *score]}
    assert gain[cutoff] == max(gain.values())
    assert json.loads((combined / "model" / "cutoffs.json").read_text())["score"] == {
        "value": cutoff, "rule": "youden", "of": "score",
    }  # fmt: skip


def test_zhao_6_outcomes_of_those_judged_do_not_move_the_threshold(train, clinical, workplace):
    cohort = Cohort(the_240().patients)
    flipped = tuple(
        one
        if one.split == "train"
        else replace(one, outcomes={**one.outcomes, "response": Outcome(not one.outcomes["response"].event)})
        for one in cohort.patients
    )
    other = write_cohort(Cohort(flipped), workplace / "flipped")

    again = train("zhao_clinical", other, "clinical flipped", "split.folds.n_folds=3")

    cutoffs = [json.loads((run / "model" / "cutoffs.json").read_text(encoding="utf-8")) for run in (clinical, again)]
    assert cutoffs[0] == cutoffs[1]


@pytest.mark.parametrize("partition", ["apparent", "held_out"])
def test_zhao_6_counts_of_subgroups_add_up_to_the_whole_at_the_one_threshold(partition, judged, combined):
    rows = predicted(combined, partition=partition)
    called = rows["score"] >= rows["cutoff"].iloc[0]
    shares = judged[(judged["endpoint"] == "response") & (judged["method"] == "clopper_pearson")]
    shares = shares[(shares["partition"] == partition) & (shares["level"] == "patient") & (shares["centre"] == "")]

    for metric, right, of in (
        ("sensitivity", called & (rows["event"] == 1), lambda row: row["n_event"]),
        ("specificity", ~called & (rows["event"] == 0), lambda row: row["n"] - row["n_event"]),
    ):
        of_metric = shares[shares["metric"] == metric]
        counts = {row["subgroup"]: row["estimate"] * of(row) for _, row in of_metric.iterrows()}
        assert counts.pop("") == pytest.approx(right.sum())
        by_column = pd.Series(counts, dtype=float).fillna(0).groupby(lambda name: name.split("=")[0]).sum()
        assert set(by_column.index) == {"cps_ge10", "tnbc", "lines_ge2", "sites_ge3", "visceral", "antiangiogenic"}
        np.testing.assert_allclose(by_column, right.sum())


def test_zhao_7_medians_log_rank_hazard_ratio_and_c_index_of_the_risk_groups_are_those_of_lifelines(judged, combined):
    rows = predicted(combined, "pfs")
    high = rows["score"] >= rows["cutoff"].iloc[0]
    assert (len(rows), rows["event"].sum()) == (69, 50)
    assert set(rows["model"]) == {"zhao_combined_negated"}  # a high score of response is a low risk

    def ours(metric, **where):
        return one_of(judged, metric, endpoint="pfs", partition="held_out", **where)

    for group, members in (("low", rows[~high]), ("high", rows[high])):
        curve = KaplanMeierFitter().fit(members["time"], members["event"])
        row = ours("km_median", group=group)
        assert row["estimate"] == pytest.approx(curve.median_survival_time_)
        assert (row["n"], row["n_event"]) == (len(members), members["event"].sum())
    test = logrank_test(rows["time"][high], rows["time"][~high], rows["event"][high], rows["event"][~high])
    assert ours("logrank")["estimate"] == pytest.approx(test.test_statistic, rel=1e-6)
    assert ours("logrank")["p_value"] == pytest.approx(test.p_value, rel=1e-6)
    cox = CoxPHFitter().fit(rows[["time", "event"]].assign(high=high.astype(float)), "time", "event")
    ratio = ours("hazard_ratio", group="high_vs_low")
    assert ratio["estimate"] == pytest.approx(cox.hazard_ratios_["high"], rel=1e-4)
    assert ratio["lower"] == pytest.approx(np.exp(cox.confidence_intervals_.iloc[0, 0]), rel=1e-3)
    c_index = ours("c_index", method="harrell")
    assert c_index["estimate"] == pytest.approx(concordance_index(rows["time"], -rows["score"], rows["event"]))
    assert c_index["lower"] < c_index["estimate"] < c_index["upper"]


def test_zhao_7_a_maximally_selected_cut_off_carries_a_p_value_for_the_cut_offs_tried(evaluate, combined, workplace):
    typed = ["evaluation.cutoff=maxstat", "evaluation.bootstrap=10", "report=false"]
    read = pd.read_parquet(combined / "predictions.parquet")
    write_table(read[read["endpoint"] == "pfs"], workplace / "pfs.parquet")

    metrics = evaluate(workplace / "maxstat", f"predictions={workplace / 'pfs.parquet'}", *typed)

    learned = predicted(combined, "pfs", "out_of_fold")
    rows = metrics[(metrics["metric"] == "cutoff") & (metrics["method"] == "maxstat") & (metrics["centre"] == "")]
    adjusted = rows.set_index("partition")["p_value"]["out_of_fold"]
    selected = maxstat(learned["time"], learned["event"], learned["score"], 0.1)
    high = learned["score"] >= selected.cutoff.value
    naive = logrank_test(
        learned["time"][high], learned["time"][~high], learned["event"][high], learned["event"][~high]
    ).p_value
    assert rows["estimate"].to_numpy() == pytest.approx(selected.cutoff.value)  # midway, but for the last digit
    assert json.loads((combined / "model" / "cutoffs.json").read_text())["pfs"]["rule"] == "maxstat"
    assert naive < adjusted <= 1


def test_zhao_8_net_benefit_stands_beside_treating_everybody_and_nobody(judged, combined):
    rows = predicted(combined)
    event, probability = rows["event"] == 1, rows["probability"]
    for at in (0.2, 0.35, 0.5):
        odds, called = at / (1 - at), probability >= at
        benefit = (called & event).mean() - (called & ~event).mean() * odds

        def ours(metric, at=at):
            return one_of(judged, metric, endpoint="response", partition="held_out", at=at)["estimate"]

        assert ours("net_benefit") == pytest.approx(benefit)
        assert ours("net_benefit_all") == pytest.approx(event.mean() - (1 - event.mean()) * odds)
        assert ours("impact_high_risk") == pytest.approx(called.mean() * 1000)
        assert ours("impact_true_positive") == pytest.approx((called & event).mean() * 1000)


def test_zhao_8_calibration_has_its_slope_intercept_and_brier_score(judged, combined):
    rows = predicted(combined)
    event, probability = rows["event"].to_numpy(), rows["probability"].to_numpy()
    logit = np.log(probability / (1 - probability))[:, None]
    slope = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logit, event).coef_.item()

    def ours(metric, **where):
        return one_of(judged, metric, endpoint="response", partition="held_out", **where)["estimate"]

    assert ours("brier") == pytest.approx(np.mean((probability - event) ** 2))
    assert ours("calibration_slope") == pytest.approx(slope, rel=1e-4)
    in_the_large = ours("calibration_intercept", method="in_the_large")
    expected = 1 / (1 + np.exp(-logit[:, 0] - in_the_large))
    assert expected.sum() == pytest.approx(event.sum())  # what the intercept alone, the slope held at 1, must mend


@pytest.mark.parametrize("partition", ["apparent", "held_out"])
def test_zhao_8_subgroups_have_their_patients_of_each_class_and_a_test_of_interaction(partition, judged):
    within = judged[(judged["subgroup"] != "") & (judged["endpoint"] == "response") & (judged["level"] == "patient")]
    within = within[within["partition"] == partition]
    size = within[within["metric"] == "auc"].set_index("subgroup")[["n_event", "n", "lower"]]
    place = 0 if partition == "apparent" else 2

    for name, counts in MARGINS.items():
        with_it = counts[place + 1], counts[place] + counts[place + 1]
        assert tuple(size.loc[f"{name}=1", ["n_event", "n"]]) == with_it
    tnbc = SUBTYPES["TNBC"]
    assert tuple(size.loc["tnbc=TNBC", ["n_event", "n"]]) == (tnbc[place + 1], tnbc[place] + tnbc[place + 1])
    high = CPS_GE10[place + 1], CPS_GE10[place] + CPS_GE10[place + 1]
    assert tuple(size.loc["cps_ge10=>=10", ["n_event", "n"]]) == high
    fewest = np.minimum(size["n_event"], size["n"] - size["n_event"])
    assert (size["lower"].notna() == (fewest >= 10)).all()  # of fewer no interval is given
    tested = within[within["metric"] == "interaction"]
    groups = {"cps_ge10", "tnbc", "lines_ge2", "sites_ge3", "visceral", "antiangiogenic"}
    assert groups - set(tested["subgroup"]) <= {"cps_ge10"}  # 6 and 5 validated patients: where separated, it is told
    assert tested["p_value"].between(0, 1).all()


def test_zhao_8_decision_impact_calibration_violin_and_waterfall_are_drawn(evaluate, combined, workplace):
    write_table(
        predicted(combined)[["endpoint", *table([1], [1]).columns.drop("endpoint"), "tnbc"]], workplace / "judged.csv"
    )
    typed = ["evaluation.subgroups=[tnbc]", "evaluation.bootstrap=5"]

    evaluate(workplace / "drawn", f"predictions={workplace / 'judged.csv'}", *typed)

    drawn = {file.stem for file in (workplace / "drawn" / "figures").glob("*.pdf")}
    assert drawn >= {"decision", "impact", "calibration", "scores", "waterfall"}  # scores: violins
    page = (workplace / "drawn" / "report.html").read_text(encoding="utf-8")
    assert all(word in page for word in ("tnbc", "nteraction"))


def test_zhao_9_the_clinical_model_is_a_logistic_regression_on_four_variables_with_the_crude_odds_ratios_of_table_1(
    clinical,
):
    model = json.loads((clinical / "model" / "model.json").read_text(encoding="utf-8"))
    assert model["clinical"] == ["lines_ge2", "sites_ge3", "visceral", "subtype"]
    assert model["n"] == 171
    ratios = (
        pd.read_csv(clinical / "tables" / "regression.csv").query("analysis == 'univariable'").set_index("variable")
    )
    for name, printed in (("lines_ge2", ".462"), ("sites_ge3", ".351"), ("visceral", ".459")):
        assert may_be_printed(ratios.loc[name, "estimate"], printed)


def test_zhao_9_pd_l1_is_judged_in_the_patients_of_whom_it_is_known_and_says_how_many(train, evaluate, root, capsys):
    run = train("zhao_pdl1", root, "pdl1")

    metrics = evaluate(run / "evaluation", f"run={run}", "evaluation.bootstrap=20", "report=false")

    printed = capsys.readouterr().out
    assert "37 of 103 with the event" in printed
    assert "4 of 11 with the event" in printed

    for partition, n, responders in (("apparent", 103, 37), ("out_of_fold", 103, 37), ("held_out", 11, 4)):
        rows = metrics[(metrics["metric"] == "auc") & (metrics["partition"] == partition) & (metrics["centre"] == "")]
        assert set(zip(rows["n"], rows["n_event"], strict=True)) == {(n, responders)}
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert set(record["excluded"].values()) == {"cps is not known"}
    assert len(record["excluded"]) == 240 - 103 - 11
    assert "126 of 240 patients lack cps and are left out" in record["messages"]


def areas_of_noise(train, workplace, seed):
    """Mean AUC within folds, and AUC of those held out and of those learned from, where features tell nothing."""
    cohort = the_240(seed=seed, signal=0.0)
    run = train("zhao_mlp", write_cohort(cohort, workplace / f"noise {seed}"), f"noise_{seed}", f"seed={seed}", *FAST)
    folds = [one for _, one in predicted(run, partition="out_of_fold").groupby("fold")]
    return np.mean([auc(one) for one in folds]), auc(predicted(run)), auc(predicted(run, partition="apparent"))


def auc(rows):
    responders, others = (rows.loc[rows["event"] == event, "score"].to_numpy() for event in (1, 0))
    return (responders[:, None] > others).mean() + (responders[:, None] == others).mean() / 2


def error_of_chance(responders, others, runs):
    """Standard error of the mean AUC, over independent runs, of scores that mean nothing: Mann and Whitney's."""
    return sqrt((responders + others + 1) / (12 * responders * others) / runs)


@pytest.mark.parametrize("runs", [2, pytest.param(24, marks=pytest.mark.slow)])
def test_zhao_10_where_nothing_is_to_be_found_the_nested_auc_is_chance(runs, train, workplace):
    areas = [areas_of_noise(train, workplace, 5000 + seed) for seed in range(runs)]

    nested, held_out, apparent = np.mean(areas, axis=0)
    # two folds learn from each other's patients, so their mean is hardly more certain than one of them
    assert abs(nested - 0.5) < norm.isf(0.025) * error_of_chance(61 / 2, 110 / 2, runs)
    assert abs(held_out - 0.5) < norm.isf(0.025) * error_of_chance(24, 45, runs)
    assert apparent > 0.65  # of those it learned from the network knows more
