"""Models that learn from lesions: their rows, what reaches each step, the pooled score, patients who stay whole."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from cohorts import VOLUME, make_cohort, make_study
from radnet.appraisal.importance import importance
from radnet.cohort import Cohort, Endpoint
from radnet.config import build, load_config
from radnet.data.split import stratified_folds
from radnet.evaluation.agreement.reproducible import Reproducible
from radnet.models.cox import CoxRegression
from radnet.models.elastic_net import ElasticNetLogistic
from radnet.models.pipeline import Chosen, LogShift
from radnet.models.pooling import pool_scores
from radnet.predictors.folder import load_model, save_model
from radnet.predictors.reading import FittedReading
from radnet.predictors.selection import linear_terms, step_notes
from radnet.predictors.stacked import StackedPredictor
from radnet.predictors.tabular import TabularPredictor

SITES = ["node", "liver", "lung", "other"]


def logistic(c=0.1):
    return LogisticRegression(C=c, solver="newton-cholesky", tol=1e-12, max_iter=500)


def of_lesions(steps=None, endpoint="response", **settings):
    steps = steps or {"impute": SimpleImputer(), "scale": StandardScaler(), "classify": logistic()}
    return TabularPredictor(endpoint, steps, regions=["lesion"], **{"unit": "lesion", **settings})


@pytest.fixture(scope="module")
def study():
    return make_study(70, seed=4)


def renamed(cohort):
    """The same patients under names that nobody learned from."""
    patients = tuple(replace(one, id=f"new {one.id}") for one in cohort.patients)
    rows = cohort.features.rows.assign(patient_id="new " + cohort.features.rows["patient_id"])
    return Cohort(patients, type(cohort.features)(rows, cohort.features.provenance))


class Shown(ClassifierMixin, BaseEstimator):
    """Keeps what it is shown."""

    def fit(self, X, y, sample_weight=None, groups=None, patients=None):
        self.rows, self.y, self.sample_weight, self.groups, self.patients = X, y, sample_weight, groups, patients
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return np.full((len(X), 2), 0.5)


def test_a_row_is_a_lesion_with_its_features_its_site_its_patients_columns_and_outcome(study):
    model = of_lesions({"shown": Shown()}, sites=SITES, clinical=["age", "subtype"]).fit(study)

    rows, shown = model.frozen.inputs(study), model.steps["shown"]
    matrix = study.features.lesion_matrix()
    pd.testing.assert_frame_equal(shown.rows, rows)
    pd.testing.assert_frame_equal(rows[study.features.names], matrix)
    by_id = {one.id: one for one in study.patients}
    for (patient, lesion), row, outcome in zip(rows.index, rows.to_dict("records"), shown.y, strict=True):
        (site,) = [one.site for one in by_id[patient].lesions if one.id == lesion]
        site = "other" if site == "breast" else site
        assert [row[f"site_{one}"] for one in SITES[1:]] == [float(site == one) for one in SITES[1:]]
        assert row["age"] == by_id[patient].clinical["age"]
        assert row["subtype_TNBC"] == float(by_id[patient].clinical["subtype"] == "TNBC")
        assert outcome == by_id[patient].outcomes["response"].event
    assert list(rows.columns[len(study.features.names) :]) == [
        *("site_liver", "site_lung", "site_other", "age", "subtype_HR+", "subtype_TNBC"),
    ]


def test_each_lesion_weighs_one_over_those_of_its_patient_and_its_patient_is_told(study):
    shown = of_lesions({"shown": Shown()}).fit(study).steps["shown"]

    count = {one.id: len(one.lesions) for one in study.patients}
    owner = [one for patient in study.patients for one in [patient.id] * count[patient.id]]
    assert shown.groups.tolist() == shown.patients.tolist() == owner
    np.testing.assert_allclose(shown.sample_weight, [1 / count[one] for one in owner])
    assert shown.sample_weight.sum() == pytest.approx(len(study))


def test_where_lesions_weigh_alike_neither_weights_nor_groups_are_given(study):
    shown = of_lesions({"shown": Shown()}, weigh="lesion").fit(study).steps["shown"]

    assert shown.sample_weight is None
    assert shown.groups is None
    assert len(set(shown.patients)) == len(study)


def test_weights_reach_every_step_that_takes_them(study):
    """A lesion written twice over, as two halves of itself, changes nothing that is learned."""
    found = of_lesions(sites=SITES).fit(study)
    matrix = study.features.lesion_matrix()
    owner = matrix.index.get_level_values("patient_id")
    weight = 1 / owner.to_series().groupby(level=0).transform("size").to_numpy()
    rows = found.frozen.inputs(study).to_numpy()
    event = pd.Series(study.events("response"), study.ids).loc[owner].astype(int)

    mean = np.average(rows, axis=0, weights=weight)
    sd = np.sqrt(np.average((rows - mean) ** 2, axis=0, weights=weight))
    by_hand = logistic().fit((rows - mean) / sd, event, weight)

    lesions = found.predict(study).lesions["score"]
    np.testing.assert_allclose(lesions, by_hand.predict_proba((rows - mean) / sd)[:, 1], rtol=1e-8)


def test_groups_reach_the_folds_of_the_elastic_net(study):
    steps = {"scale": StandardScaler(), "lasso": ElasticNetLogistic(1.0, "min", n_folds=5, seed=1)}
    found = of_lesions(steps).fit(study)

    rows = found.frozen.inputs(study)
    owner = rows.index.get_level_values("patient_id").to_numpy(dtype=str)
    weight = 1 / pd.Series(owner).groupby(owner).transform("size").to_numpy()
    event = pd.Series(study.events("response"), study.ids).loc[owner].astype(int).to_numpy()
    scaled = StandardScaler().fit(rows, sample_weight=weight).transform(rows)
    alone = ElasticNetLogistic(1.0, "min", n_folds=5, seed=1).fit(scaled, event, weight, groups=owner)
    np.testing.assert_array_equal(found.steps["lasso"].coef_, alone.coef_)
    ungrouped = ElasticNetLogistic(1.0, "min", n_folds=5, seed=1).fit(scaled, event, weight)
    assert alone.validation_["mean"].tolist() != ungrouped.validation_["mean"].tolist()


RULES = ["mean", "largest", "volume_mean", "volume_top3", "max", "min", "noisy_or"]


@pytest.mark.parametrize("aggregate", RULES)
def test_a_patient_has_the_pooled_probability_of_his_lesions(aggregate, study):
    found = of_lesions(aggregate=aggregate).fit(study).predict(study)

    assert found.lesions["score"].between(0, 1, inclusive="neither").all()
    volume = study.features.lesion_matrix()[VOLUME]
    for patient, lesions in found.lesions.groupby(level="patient_id"):
        p, size = lesions["score"].to_numpy(), volume.loc[patient].to_numpy()
        largest = np.argsort(-size)[:3]
        expected = {
            "mean": p.mean(),
            "largest": p[size.argmax()],
            "volume_mean": (p * size).sum() / size.sum(),
            "volume_top3": (p * size)[largest].sum() / size[largest].sum(),
            "max": p.max(),
            "min": p.min(),
            "noisy_or": 1 - np.prod(1 - p),
        }[aggregate]
        assert found.patients.loc[patient, "score"] == pytest.approx(expected, rel=1e-12)
    assert found.lesions["weight"].groupby(level="patient_id").sum().to_numpy() == pytest.approx(1.0)
    assert found.patients["probability"].isna().all()


@pytest.mark.parametrize("aggregate", ["mean", "noisy_or"])
def test_a_survival_model_of_lesions_pools_log_hazards(aggregate, study):
    steps = {"chosen": Chosen(["log-sigma-1-0-mm-3D_glcm_Contrast"]), "cox": CoxRegression()}
    model = of_lesions(steps, "dfs", aggregate=aggregate).fit(study)

    found = model.predict(study)

    by_patient = found.lesions["score"].groupby(level="patient_id", sort=False)
    expected = (
        by_patient.mean() if aggregate == "mean" else np.log(np.exp(found.lesions["score"]).groupby(level=0).sum())
    )
    pd.testing.assert_series_equal(found.patients["score"], expected.loc[study.ids], check_names=False)


def test_noisy_or_makes_a_model_that_reads_features_one_of_lesions_and_no_other():
    scale = {"scale": StandardScaler(), "classify": logistic()}

    assert TabularPredictor("response", scale, regions=["lesion"], aggregate="noisy_or").unit == "lesion"
    assert TabularPredictor("response", scale, clinical=["age"], aggregate="noisy_or").unit == "patient"
    assert TabularPredictor("response", scale, regions=["lesion"]).unit == "patient"


@pytest.mark.parametrize("weigh", ["patient", "lesion"])
def test_a_patient_learned_from_is_scored_as_under_any_other_name(weigh, study):
    """No intercept of his own enters: u = 0."""
    config = load_config("train", ["experiment=ligero_radiomics", f"model.weigh={weigh}"]).model
    config.endpoint, config.steps.elastic_net.elastic_net.alphas = "response", [1.0]
    model = build(config).fit(study)

    known, unknown = model.predict(study), model.predict(renamed(study))

    np.testing.assert_array_equal(known.patients["score"], unknown.patients["score"])
    np.testing.assert_array_equal(known.lesions["score"], unknown.lesions["score"])


def test_what_it_reads_has_a_row_a_lesion_and_its_score_one_a_patient_in_the_order_of_the_cohort(study):
    turned = Cohort(study.patients[::-1], study.features)
    frozen = of_lesions(sites=SITES, clinical=["age"]).fit(study).frozen

    rows = frozen.inputs(turned)

    assert rows.index.names == ["patient_id", "lesion_id"]
    assert list(dict.fromkeys(rows.index.get_level_values("patient_id"))) == turned.ids
    np.testing.assert_array_equal(frozen.score(rows), frozen.predict(turned).patients["score"])
    pd.testing.assert_series_equal(
        frozen.predict(turned).patients["score"], frozen.predict(study).patients["score"].loc[turned.ids]
    )


def test_it_is_read_back_with_its_unit_and_sites(study, tmp_path):
    model = of_lesions(sites=SITES, aggregate="volume_mean").fit(study)
    save_model(tmp_path, model.frozen, study, [FittedReading(Endpoint("response", "response"), None, None)])

    loaded = load_model(tmp_path)

    assert (loaded.card["unit"], loaded.card["sites"]) == ("lesion", SITES)
    pd.testing.assert_frame_equal(loaded.model.predict(study).patients, model.predict(study).patients)
    pd.testing.assert_frame_equal(loaded.model.predict(study).lesions, model.predict(study).lesions)


def with_sites(cohort, change):
    def lesion(patient, one):
        return replace(one, site=change.get((patient.id, one.id), one.site))

    patients = [replace(one, lesions=tuple(lesion(one, other) for other in one.lesions)) for one in cohort.patients]
    return Cohort(tuple(patients), cohort.features)


@pytest.mark.parametrize(
    ("sites", "change", "message"),
    [
        (
            SITES,
            {("S003", "L1"): ""},
            r"of 1 it cannot tell: patient S003, lesion L1: site empty. Fill in the column site of lesions.csv$",
        ),
        (["node", "liver", "lung"], {}, r"of \d+ it cannot tell: .*site breast.* or list other in model.sites"),
    ],
    ids=["empty", "not listed"],
)
def test_a_site_that_is_not_known_is_told_before_a_lesion_is_measured_and_when_one_is_scored(
    sites, change, message, study
):
    changed = with_sites(study, change)

    with pytest.raises(ValueError, match=message):
        of_lesions(sites=sites).check(Cohort(changed.patients))
    with pytest.raises(ValueError, match=message):
        of_lesions(sites=sites).fit(with_sites(study, dict.fromkeys(every_lesion(study), "liver"))).predict(changed)


def every_lesion(cohort):
    return [(one.id, lesion.id) for one in cohort.patients for lesion in one.lesions]


def test_a_patient_without_a_measured_lesion_is_told(study):
    rows = study.features.rows.copy()
    rows.loc[rows["patient_id"] == "S005", study.features.names] = np.nan

    with pytest.raises(ValueError, match="no measured lesion for 1 patients, such as S005"):
        of_lesions().fit(study.with_features(type(study.features)(rows)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"unit": "lesions"}, "unit must be patient or lesion, got 'lesions'"),
        ({"weigh": "both"}, "weigh must be patient or lesion, got 'both'"),
        ({"unit": "patient", "sites": SITES}, "sites are those of lesions, .* give unit=lesion"),
        ({"regions": [], "clinical": ["age"]}, r"a model of lesions \(unit=lesion\) needs regions with features"),
    ],
)
def test_a_model_of_lesions_that_makes_no_sense_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TabularPredictor("response", {"last": logistic()}, **{"unit": "lesion", "regions": ["lesion"], **settings})


def test_a_site_passes_by_what_asks_how_stable_features_are_and_is_no_feature_of_the_selection():
    study = make_study(60, seed=3, twice=20)
    steps = {"reproducible": Reproducible(0.7, strict=False), "scale": StandardScaler()}
    model = of_lesions({**steps, "lasso": ElasticNetLogistic(1.0, 1e-3)}, sites=SITES, clinical=["age"]).fit(study)

    left = model.frozen.selection()

    stable = [name for name in study.features.names if not name.startswith("wavelet")]  # wavelets do not agree
    assert left["measured"] == [*study.features.names, "age"]
    assert left["reproducible"] == [*stable, "age"]
    weights = dict(
        zip([*stable, "site_liver", "site_lung", "site_other", "age"], model.steps["lasso"].coef_, strict=True)
    )
    assert weights["site_liver"] != 0
    assert left["lasso"] == [name for name, weight in weights.items() if weight != 0 and not name.startswith("site")]


def test_the_terms_of_a_logged_model_give_a_lesions_log_odds_up_to_a_constant(study):
    steps = {"impute": SimpleImputer(), "log": LogShift(), "scale": StandardScaler(), "classify": logistic()}
    model = of_lesions(steps, sites=SITES).fit(study)
    terms = pd.DataFrame(linear_terms(model.steps, model.frozen.columns)).T

    rows = model.frozen.inputs(study)[terms.index]
    logged = np.log(rows - terms["logged_from"] + 1)
    by_hand = ((logged - terms["mean"]) / terms["sd"] * terms["beta"]).sum(axis=1)

    apart = logit(model.predict(study).lesions["score"]) - by_hand
    np.testing.assert_allclose(apart, apart.mean(), atol=1e-9)
    assert terms["logged_from"].loc[VOLUME] == rows[VOLUME].min()


def test_a_stack_reads_the_score_of_a_member_that_scores_lesions(study):
    folds = partial(stratified_folds, n_folds=4, repeats=1, seed=5)
    members = {"radiomics": partial(of_lesions, sites=SITES), "age": partial(of_patients, ["age"])}
    model = StackedPredictor("response", members, {"last": logistic(np.inf)}, folds, ["albumin"]).fit(study)

    inputs = model.frozen.inputs(study)

    own = of_lesions(sites=SITES).fit(study).predict(study)
    assert list(inputs.columns) == ["radiomics", "age", "albumin"]
    np.testing.assert_array_equal(inputs["radiomics"], own.patients["score"])
    np.testing.assert_array_equal(model.frozen.score(inputs), model.predict(study).patients["score"])
    last = model.steps[-1]
    owner = own.lesions.index.get_level_values("patient_id")
    age = of_patients(["age"]).fit(study).predict(study).patients["score"].loc[owner]
    albumin = study.clinical(["albumin"])["albumin"].astype(float).loc[owner]
    columns = np.column_stack([own.lesions["score"], age, albumin])
    np.testing.assert_allclose(
        model.predict(study).lesions["score"], columns @ last.coef_[0] + last.intercept_[0], rtol=1e-6
    )


def of_patients(clinical):
    return TabularPredictor("response", {"classify": logistic(np.inf)}, clinical=clinical)


def test_a_stack_with_a_member_of_lesions_is_read_back(study, tmp_path):
    folds = partial(stratified_folds, n_folds=4, repeats=1, seed=5)
    members = {"radiomics": partial(of_lesions, sites=SITES)}
    model = StackedPredictor("response", members, {"last": logistic(np.inf)}, folds, ["albumin"]).fit(study)
    save_model(tmp_path, model.frozen, study, [FittedReading(Endpoint("response", "response"), None, None)])

    loaded = load_model(tmp_path)

    pd.testing.assert_frame_equal(loaded.model.predict(study).patients, model.predict(study).patients)
    np.testing.assert_array_equal(
        loaded.model.score(loaded.model.inputs(study)), model.predict(study).patients["score"]
    )
    assert loaded.card["inputs"] == loaded.card["members"]["radiomics"]["inputs"]


@pytest.mark.parametrize("aggregate", ["mean", "volume_mean", "noisy_or"])
def test_importance_of_a_model_of_lesions_is_the_auc_of_patients_lost_by_permuting_lesions(aggregate):
    cohort = make_cohort(90, seed=2, signal=2.5)
    learned, judged = cohort.select(cohort.ids[:60]), cohort.select(cohort.ids[60:])
    model = of_lesions(sites=["liver", "other"], aggregate=aggregate).fit(learned)

    table = importance(model.frozen, judged, learned, "response", "held_out", repeats=4, seed=9)

    rows = model.frozen.inputs(judged)
    of_class = [name for name in rows.columns if "firstorder" in name]
    lost = []
    for repeat in range(4):
        order = np.random.default_rng([9, repeat]).permutation(len(rows))
        changed = rows.copy()
        changed[of_class] = rows[of_class].to_numpy()[order]
        p = pd.Series(model.steps.predict_proba(changed)[:, 1], rows.index)
        lost.append(
            auc(judged, model.predict(judged).patients["score"])
            - auc(judged, pool_scores(p, changed, aggregate, "probability")[0])
        )
    found = table[table["method"] == "permutation"].set_index("name")["importance"]
    assert found["original firstorder"] == pytest.approx(np.mean(lost), abs=1e-11)
    assert found["site"] == 0.0  # every lesion of this cohort lies in the liver


def auc(cohort, score):
    event = cohort.events("response")
    values = score.loc[cohort.ids].to_numpy()
    return np.mean([(one > values[~event]) + 0.5 * (one == values[~event]) for one in values[event]])


def test_what_a_model_and_the_members_of_a_stack_say_of_themselves_is_gathered(study):
    told = build(load_config("train", ["experiment=ligero_radiomics"]).model).fit(study)

    notes = step_notes(told.frozen)

    assert [one.split(":")[0] for one in notes if "mixed model" in one] == ["mixed model"]
    folds = partial(stratified_folds, n_folds=3, repeats=1, seed=5)
    stack = StackedPredictor("response", {"one": of_lesions}, {"last": logistic()}, folds).fit(study)
    assert step_notes(stack.frozen) == []
