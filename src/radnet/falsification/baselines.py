"""Models that a finding must beat: of volume alone, of clinical variables alone, of features drawn at random."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from radnet.cohort import Cohort, Endpoint, FeatureTable
from radnet.falsification.ridge import RidgeCox
from radnet.models.pooling import VOLUME, Aggregate
from radnet.predictors.base import lesion_features, measured_lesions
from radnet.predictors.tabular import TabularPredictor
from radnet.radiomics.select import NearConstant


@dataclass(frozen=True)
class Control:
    """A model that should not do well, or not better: what it learns from and on whom.

    Attributes:
        model: Its name in every table, ``control_…``.
        what: What it is, in a sentence.
        endpoint: Endpoint learned.
        cohort: Its patients, with the features it reads, if any.
        clinical: Columns of clinical.csv that it reads.
        lesions: How many lesions it reads.
    """

    model: str
    what: str
    endpoint: Endpoint
    cohort: Cohort
    clinical: tuple[str, ...] = ()
    lesions: int = 0

    def predictor(self) -> TabularPredictor:
        """Return the untrained model: logistic or, with follow-up, Cox regression of inputs standardised in the fold.

        Its ridge penalty is half the sum of squared weights times the number of features (1 for clinical columns).
        """
        size = 0 if self.cohort.features is None else len(self.cohort.features.names)
        strength = max(size, 1)
        steps = {
            "constant": NearConstant(),
            "impute": SimpleImputer(strategy="median"),
            "scale": StandardScaler(),
            "classify": LogisticRegression(C=1.0 / strength, solver="newton-cholesky" if size < 50 else "lbfgs"),
        }
        if self.endpoint.time is not None:
            steps = {**steps, "classify": None, "cox": RidgeCox(strength)}
        regions = ("lesion",) if size else ()
        return TabularPredictor(self.endpoint.name, steps, clinical=self.clinical, regions=regions)


def patient_features(table: pd.DataFrame) -> FeatureTable:
    """Return features of patients, one row each and indexed by patient_id, in the shape of a feature table."""
    keys = pd.DataFrame({"patient_id": table.index.astype(str), "lesion_id": "all", "region": "lesion"})
    keys = keys.assign(channel="image", reader="1", repeat="1", status="ok")
    return FeatureTable(pd.concat([keys, table.reset_index(drop=True)], axis=1))


def volume_control(cohort: Cohort, endpoint: Endpoint) -> Control:
    """Return regression on the logarithms of the total and of the mean volume of a patient's measured lesions.

    Both, since either alone is too weak a rival: where the size of each lesion tells the outcome, a total is blurred by
    the number of lesions, and any model that pools sizes otherwise would seem to beat volume.

    Raises:
        ValueError: If the features have no volume.
    """
    table = cohort.features
    if table is None or "lesion" not in table.regions or VOLUME not in table.names:
        raise ValueError(f"the features hold no volume ({VOLUME} of the lesion)")
    volume = measured_lesions(cohort, ("lesion",))[VOLUME].dropna()
    by_patient = volume.groupby(level="patient_id", sort=False)
    sizes = pd.DataFrame({"total": by_patient.sum(), "mean": by_patient.mean()})
    if absent := [one for one in cohort.ids if one not in sizes.index or not sizes["total"][one] > 0]:
        raise ValueError(f"no lesion of {len(absent)} patients has a volume, such as {absent[0]}")
    logarithms = np.log(sizes.loc[cohort.ids]).add_prefix("log_volume_")
    what = "on the total and the mean volume of a patient's lesions (logarithms), and nothing else"
    sized = cohort.with_features(patient_features(logarithms))
    return Control("control_volume", f"{_regression(endpoint)} {what}", endpoint, sized, lesions=len(volume))


def clinical_control(cohort: Cohort, endpoint: Endpoint, columns: Sequence[str]) -> Control:
    """Return regression on clinical variables, imputed and made numbers in the fold.

    Columns that the cohort does not have are left out, and ``what`` says so.

    Raises:
        ValueError: If no column is named, or the cohort has none of them.
    """
    if not columns:
        raise ValueError("no clinical columns are named: falsification.clinical=[…]")
    there = {column for one in cohort.patients for column, value in one.clinical.items() if value is not None}
    kept = tuple(column for column in columns if column in there)
    absent = [column for column in columns if column not in there]
    if not kept:
        raise ValueError(f"clinical.csv has none of {', '.join(columns)}: falsification.clinical=[…]")
    what = f"{_regression(endpoint)} on {', '.join(kept)}" + (
        f" (clinical.csv lacks {', '.join(absent)})" if absent else ""
    )
    return Control("control_clinical", what, endpoint, Cohort(cohort.patients), clinical=kept)


def random_signature(names: Sequence[str], size: int, seed: int, number: int = 0) -> list[str]:
    """Draw features for a signature: number 0 is that of ``control_random_features``, further ones are others."""
    rng = np.random.default_rng([seed, number])
    chosen = rng.choice(len(names), size=min(size, len(names)), replace=False)
    return [names[place] for place in sorted(chosen)]


def random_features_control(cohort: Cohort, endpoint: Endpoint, inputs: pd.DataFrame, size: int, seed: int) -> Control:
    """Return regression on features drawn at random, the same in every fold.

    Args:
        cohort: Its patients.
        endpoint: Endpoint learned.
        inputs: The model's features indexed by patient_id, lesions pooled.
        size: Features of the signature.
        seed: Seed of the draw.
    """
    names = random_signature(list(inputs.columns), size, seed)
    what = f"{_regression(endpoint)} on {len(names)} features drawn at random: {', '.join(names)}"
    drawn = cohort.with_features(patient_features(inputs.loc[cohort.ids, names]))
    return Control("control_random_features", what, endpoint, drawn, lesions=_lesions(cohort))


def image_control(
    name: str,
    cohort: Cohort,
    endpoint: Endpoint,
    measured: FeatureTable,
    regions: Sequence[str],
    aggregate: Aggregate,
) -> Control:
    """Return ridge regression on features measured on changed images.

    Args:
        name: The control's, of ``IMAGE_CONTROLS``.
        cohort: All patients.
        endpoint: Endpoint learned.
        measured: Features of the lesions of some; patients without a measured lesion are left out.
        regions: Regions whose features enter.
        aggregate: Rule that pools lesions.

    Raises:
        ValueError: If no lesion was measured.
    """
    lesions = measured_lesions(cohort.with_features(measured), regions)
    if lesions.empty:
        raise ValueError(f"no lesion could be measured: {', '.join(sorted(set(measured.rows['status']))[:3])}")
    sample = cohort.select(lesions.index.get_level_values("patient_id").unique()).with_features(measured)
    features = patient_features(lesion_features(sample, regions, aggregate).patients)
    what = IMAGE_CONTROLS[name].format(regression=_regression(endpoint))
    return Control(name, what, endpoint, sample.with_features(features), lesions=len(lesions))


IMAGE_CONTROLS = {
    "control_same_patients": "ridge {regression} on the true features of the patients of the image controls",
    "control_shuffled_voxels": "the same on features of the same lesions, their voxels shuffled within each region",
    "control_random_region": "the same on features of the lesions' shapes moved to random places in the image",
}


def _regression(endpoint: Endpoint) -> str:
    return "logistic regression" if endpoint.time is None else "Cox regression"


def _lesions(cohort: Cohort) -> int:
    assert cohort.features is not None
    return len(cohort.features.rows[["patient_id", "lesion_id"]].drop_duplicates())
