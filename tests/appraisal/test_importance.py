from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import pytest
from lifelines.utils import concordance_index
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from cohorts import make_cohort, make_study
from radnet.appraisal.importance import coefficients, feature_group, importance, input_groups
from radnet.data.split import stratified_folds
from radnet.falsification.ridge import RidgeCox
from radnet.models.cox import CoxRegression
from radnet.models.elastic_net_cox import ElasticNetCox
from radnet.models.pipeline import ClinicalEncoder
from radnet.predictors.stacked import StackedPredictor
from radnet.predictors.tabular import TabularPredictor


def trained(cohort, clinical=("age", "subtype")):
    steps = {"scale": StandardScaler(), "classify": LogisticRegression(C=0.1)}
    return TabularPredictor("response", steps, clinical=clinical, regions=["lesion"]).fit(cohort)


@pytest.fixture(scope="module")
def cohorts():
    whole = make_cohort(90, seed=2, signal=2.5)
    return whole.select(whole.ids[:60]), whole.select(whole.ids[60:])


@pytest.fixture(scope="module")
def table(cohorts):
    development, held_out = cohorts
    return importance(trained(development).frozen, held_out, development, "response", "held_out", repeats=6, seed=9)


@pytest.mark.parametrize("variable", ["age", "subtype"])
def test_the_loss_of_a_clinical_variable_agrees_with_permuting_its_column_of_the_cohort(variable, cohorts, table):
    development, held_out = cohorts
    model, event = trained(development), held_out.events("response")
    base = roc_auc_score(event, model.predict(held_out).patients["score"])
    lost = []
    for repeat in range(6):
        order = np.random.default_rng([9, repeat]).permutation(len(held_out))
        values = [held_out.patients[place].clinical[variable] for place in order]
        patients = tuple(
            type(one)(one.id, one.centre, one.split, one.outcomes, one.lesions, {**one.clinical, variable: value})
            for one, value in zip(held_out.patients, values, strict=True)
        )
        changed = type(held_out)(patients, held_out.features)
        lost.append(base - roc_auc_score(event, model.predict(changed).patients["score"]))

    (ours,) = table.loc[(table["name"] == variable) & (table["method"] == "permutation"), "importance"]

    assert ours == pytest.approx(np.mean(lost), abs=1e-11)


def test_what_carries_the_signal_matters_and_what_carries_none_does_not(table):
    groups = table[table["kind"] == "group"].set_index("name")

    assert groups.index.tolist() == ["original firstorder", "original shape"]
    assert groups.loc["original firstorder", "lower"] > 0.1
    assert groups.loc["original shape", "lower"] <= 0.02
    branches = table[table["kind"] == "branch"].set_index("name")["importance"]
    assert branches["features"] > 0.2 > branches["clinical"]


def test_coefficients_are_those_of_the_standardised_inputs(cohorts, table):
    development, _ = cohorts
    model = trained(development)
    expected = dict(zip(model.frozen.columns, model.frozen.steps[-1].coef_[0], strict=True))

    rows = table[table["method"] == "coefficient_per_sd"]

    assert set(rows["partition"]) == {"development"}
    assert dict(zip(rows["name"], rows["importance"], strict=True)) == pytest.approx(expected)  # the SD is 1 by then
    assert rows["importance"].abs().is_monotonic_decreasing


def test_a_category_of_one_level_is_passed_over(cohorts):
    development, held_out = (
        type(part)(
            tuple(
                type(one)(one.id, one.centre, one.split, one.outcomes, one.lesions, {**one.clinical, "sex": "F"})
                for one in part.patients
            ),
            part.features,
        )
        for part in cohorts
    )

    table = importance(
        trained(development, ("age", "sex")).frozen, held_out, development, "response", "held_out", repeats=2, seed=1
    )

    assert "sex" not in set(table["name"])


def test_patients_who_share_an_outcome_are_refused(cohorts):
    development, held_out = cohorts
    alike = held_out.where(lambda one: not one.outcomes["response"].event)

    with pytest.raises(ValueError, match="importance needs patients with and without the event, got 0 of 20"):
        importance(trained(development).frozen, alike, development, "response", "held_out", repeats=2, seed=1)


def test_with_follow_up_it_is_the_c_index_that_is_lost():
    cohort = make_study(90, seed=2)
    development, held_out = cohort.select(cohort.ids[:60]), cohort.select(cohort.ids[60:])
    steps = {"scale": StandardScaler(), "lasso": ElasticNetCox(alpha=1.0, penalty=0.05)}
    model = TabularPredictor("dfs", steps, clinical=["age"], regions=["lesion"]).fit(development)
    event, time = held_out.events("dfs"), held_out.times("dfs")
    inputs = model.frozen.inputs(held_out)
    glcm = [name for name in inputs.columns if name.startswith("log-sigma-1-0-mm-3D_glcm")]
    base = concordance_index(time, -model.frozen.score(inputs), event)
    lost = []
    for repeat in range(6):
        order = np.random.default_rng([9, repeat]).permutation(len(held_out))
        changed = inputs.copy()
        changed[glcm] = inputs[glcm].to_numpy()[order]
        lost.append(base - concordance_index(time, -model.frozen.score(changed), event))

    table = importance(model.frozen, held_out, development, "dfs", "held_out", repeats=6, seed=9)

    row = table[table["name"] == "log glcm"].iloc[0]
    assert row["importance"] == pytest.approx(np.mean(lost), abs=1e-11)
    assert row["lower"] < row["importance"] < row["upper"]
    assert set(table["method"]) == {"permutation_c_index", "log_hazard_per_sd"}
    weights = dict(zip(model.frozen.columns, model.frozen.steps[-1].coef_, strict=True))  # the SD is 1 by then
    rows = table[table["method"] == "log_hazard_per_sd"]
    expected = {name: weight for name, weight in weights.items() if weight != 0}
    assert dict(zip(rows["name"], rows["importance"], strict=True)) == pytest.approx(expected)


def test_the_coefficients_of_a_stack_are_those_of_its_members_scores_and_the_columns_beside_them():
    cohort = make_study(90, seed=4)

    def score():
        steps = {"scale": StandardScaler(), "ridge": RidgeCox(strength=20.0)}
        return TabularPredictor("dfs", steps, regions=["lesion"])

    folds = partial(stratified_folds, n_folds=3, seed=1)
    model = StackedPredictor("dfs", {"score": score}, {"cox": CoxRegression()}, folds, clinical=["age", "ctnm"])
    frozen = model.fit(cohort).frozen
    spread = [
        frozen.members["score"].predict(cohort).patients["score"].std(ddof=0),
        cohort.clinical(["age"])["age"].std(ddof=0),
        *(np.std([one.clinical["ctnm"] == level for one in cohort.patients]) for level in ("IIIa-b", "IIIc")),
    ]

    found = coefficients(frozen, cohort)

    assert list(found) == ["score", "age", "ctnm_IIIa-b", "ctnm_IIIc"]
    assert list(found.values()) == pytest.approx(frozen.steps[-1].coef_ * spread)


@dataclass
class OfPatches:
    """Adds up what it reads of a patient: a feature, what an image branch made of his patch, his age."""

    encoder: ClinicalEncoder | None = None
    described: tuple[str, ...] = ("image_0", "image_1")
    features: tuple[str, ...] = ("original_firstorder_F0",)

    def inputs(self, cohort):
        rng = np.random.default_rng(3)
        values = rng.normal(size=(len(cohort), len(self.features) + len(self.described)))
        table = pd.DataFrame(values, index=pd.Index(cohort.ids, name="patient_id"), columns=self._read)
        for name in self.described:
            table[name] += cohort.events("response")
        if self.encoder is None:
            return table
        names = self.encoder.get_feature_names_out()
        encoded = self.encoder.transform(cohort.clinical(["age"])) / 10
        return table.join(pd.DataFrame(encoded, columns=names, index=table.index))

    @property
    def _read(self):
        return [*self.features, *self.described]

    def score(self, inputs):
        return inputs.to_numpy().sum(axis=1)


def age_of(cohort):
    table = cohort.clinical(["age"]).astype(float)
    table.iloc[::4] = np.nan
    return ClinicalEncoder(missing_indicators=True).fit(table)


def test_what_an_image_branch_made_of_a_patch_is_permuted_together_and_is_no_feature(cohorts):
    _, held_out = cohorts
    model, event = OfPatches(age_of(held_out)), held_out.events("response")
    inputs = model.inputs(held_out)
    base = roc_auc_score(event, model.score(inputs))
    lost = []
    for repeat in range(6):
        order = np.random.default_rng([9, repeat]).permutation(len(held_out))
        changed = inputs.copy()
        changed[["image_0", "image_1"]] = inputs[["image_0", "image_1"]].to_numpy()[order]
        lost.append(base - roc_auc_score(event, model.score(changed)))

    table = importance(model, held_out, held_out, "response", "held_out", repeats=6, seed=9)

    found = table.set_index(["kind", "name"])["importance"]
    assert set(found.index) == {
        *(("group", "image patch"), ("group", "original firstorder"), ("feature", "age")),
        *(("branch", "features"), ("branch", "image"), ("branch", "clinical")),
    }
    assert found["group", "image patch"] == found["branch", "image"] == pytest.approx(np.mean(lost), abs=1e-11)


def test_whether_a_variable_is_missing_is_permuted_with_it(cohorts):
    _, held_out = cohorts
    model = OfPatches(age_of(held_out))

    groups = {(kind, name): columns for kind, name, columns in input_groups(model, list(model.inputs(held_out)))}

    assert groups["feature", "age"] == ["age", "age_missing"]
    assert groups["branch", "clinical"] == ["age", "age_missing"]
    assert groups["branch", "features"] == ["original_firstorder_F0"]


@pytest.mark.parametrize(
    ("features", "branches"), [((), []), (("original_firstorder_F0",), ["features", "image"])], ids=["alone", "two"]
)
def test_an_image_branch_alone_is_no_branch_among_others(features, branches):
    model = OfPatches(features=features)

    groups = list(input_groups(model, [*features, "image_0", "image_1"]))

    assert ("group", "image patch", ["image_0", "image_1"]) in groups
    assert [name for kind, name, _ in groups if kind == "branch"] == branches


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("original_shape_Sphericity", "original shape"),
        ("log-sigma-3-0-mm-3D_glszm_ZoneEntropy", "log glszm"),
        ("wavelet-LLH_glcm_Idm", "wavelet glcm"),
        ("PET__ring__squareroot_firstorder_Mean", "PET ring squareroot firstorder"),
        ("SUVmax", "SUVmax"),
    ],
)
def test_features_are_grouped_by_filter_family_and_class(name, group):
    assert feature_group(name) == group
