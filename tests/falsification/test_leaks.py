"""Leaks put into cohorts by hand, or by the simulator, are found; where there is none, hardly any is."""

import shutil

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy.stats import binom

from cohorts import make_cohort
from dicoms import slices, write
from radnet.cohort import Cohort, Delineation, Endpoint, FeatureTable, Lesion, Outcome, Patient
from radnet.data.manifest import read_manifest
from radnet.data.simulate import simulate, simulation_settings
from radnet.falsification.leaks import leak_checks

CAUSES = [
    *("duplicate_images", "duplicate_features", "id_order", "row_order", "centre", "acquisition_order"),
    *("missing_values", "image_geometry"),
]


def people(events, centres="A", ids=None, images=None, clinical=None):
    """Patients in order: event, centre, id, image and clinical values of each."""
    made = []
    for place, event in enumerate(events):
        image = images[place] if images else None
        one = () if image is None else (Lesion("L1", delineations=(Delineation(image=image, mask=image),)),)
        made.append(
            Patient(
                id=ids[place] if ids else f"P{place}",
                centre=centres[place % len(centres)],
                outcomes={"response": Outcome(bool(event))},
                lesions=one,
                clinical=clinical[place] if clinical else {},
            )
        )
    return Cohort(tuple(made))


def check(cohort, root, cause, held_out=()):
    development = cohort.where(lambda patient: patient.id not in held_out)
    found = leak_checks(cohort, "response", development, cohort.select(held_out), root)
    assert [one["cause"] for one in found] == CAUSES
    return next(one for one in found if one["cause"] == cause)


def write_scan(path, size=(6, 6, 4), spacing=(1.0, 1.0, 2.0), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(np.random.default_rng(seed).integers(-100, 100, size[::-1]).astype(np.int16))
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path))
    return path


SORTED = np.arange(40) >= 25
SHUFFLED = np.random.default_rng(0).permutation(SORTED)


def test_an_image_under_two_patients_is_found_though_its_file_was_copied(tmp_path):
    images = [write_scan(tmp_path / f"{n}.nii", seed=n) for n in range(40)]
    shutil.copy(images[3], images[30])
    images[5] = images[4]

    one = check(people(SHUFFLED, images=images), tmp_path, "duplicate_images", held_out=["P30"])

    assert (one["value"], one["p_value"], one["suspicious"]) == (4, None, True)
    assert one["told"] in (
        "4 patients share an image with another, such as P3 and P30; 1 of 2 times across development and held-out "
        "patients.",
        "4 patients share an image with another, such as P4 and P5; 1 of 2 times across development and held-out "
        "patients.",
    )


def test_images_of_one_size_and_other_content_are_no_duplicates(tmp_path):
    images = [write_scan(tmp_path / f"{n}.nii", seed=n) for n in range(40)]
    one = check(people(SHUFFLED, images=images), tmp_path, "duplicate_images")
    assert (one["value"], one["suspicious"], one["told"]) == (0, False, "No two patients share an image.")


def test_lesions_of_equal_features_under_two_patients_are_found(tmp_path):
    cohort = make_cohort(30, seed=3)
    rows = cohort.features.rows.copy()
    assert not check(cohort, tmp_path, "duplicate_features")["suspicious"]
    twice = [rows.index[rows["patient_id"] == one][0] for one in ("P004", "P020")]
    rows.loc[twice[1], cohort.features.names] = rows.loc[twice[0], cohort.features.names]

    one = check(cohort.with_features(FeatureTable(rows)), tmp_path, "duplicate_features", held_out=["P020"])

    assert (one["value"], one["suspicious"]) == (2, True)
    assert "such as P004 and P020; 1 of 1 times across development and held-out patients." in one["told"]


def test_the_order_of_rows_is_found_with_its_auc(tmp_path):
    one = check(people(SORTED), tmp_path, "row_order")
    assert one["value"] == 1.0
    assert one["suspicious"]
    assert one["told"] == "The order of rows in clinical.csv sorts patients by outcome (AUC 1.00, p < 0.001)."


def test_the_order_of_ids_counts_numbers_as_numbers(tmp_path):
    order = np.random.default_rng(1).permutation(40)
    cohort = people(SORTED[order], ids=[f"P{n}" for n in order])
    assert check(cohort, tmp_path, "id_order")["value"] == 1.0  # by letters P4 would stand after P39
    assert not check(cohort, tmp_path, "row_order")["suspicious"]


def test_a_missing_value_that_tells_the_outcome_is_found_with_its_column(tmp_path):
    clinical = [
        {"age": 50.0, "ldh": None if event else 200.0, "pfs_months": None if event else 3.0, "grade": "2"}
        for event in SHUFFLED
    ]
    clinical[0]["age"] = None

    one = check(people(SHUFFLED, clinical=clinical), tmp_path, "missing_values")

    assert one["suspicious"]
    assert one["told"].startswith("Whether ldh is missing, of 3 looked at, sorts patients by outcome (AUC 1.00, p < ")


def test_an_outcome_of_another_endpoint_is_no_covariate(tmp_path):
    clinical = [{"age": 50.0, "pfs_months": None if event else 3.0} for event in SHUFFLED]
    one = check(people(SHUFFLED, clinical=clinical), tmp_path, "missing_values")
    assert (one["value"], one["suspicious"]) == (None, False)
    assert one["told"] == "Nothing to look at: no clinical value is missing."


def test_an_image_size_or_spacing_that_tells_the_outcome_is_found(tmp_path):
    images = [
        write_scan(tmp_path / f"{n}.nii.gz", spacing=(1.0, 1.0, 5.0 if event else 2.0), seed=n)
        for n, event in enumerate(SHUFFLED)
    ]
    one = check(people(SHUFFLED, images=images), tmp_path, "image_geometry")
    assert (one["value"], one["suspicious"]) == (1.0, True)
    assert one["told"] == "The slice distance sorts patients by outcome (AUC 1.00, p < 0.001)."


@pytest.mark.parametrize("kind", ["text", "number"])
def test_a_date_column_is_the_order_of_acquisition_before_one_of_an_outcome(tmp_path, kind):
    days = pd.Timestamp("2019-12-20") + pd.to_timedelta(np.where(SORTED, 60, 0) + np.arange(40) % 7, unit="D")
    written = [f"{day:%Y-%m-%d}" if kind == "text" else float(f"{day:%Y%m%d}") for day in days]
    clinical = [
        {"death_date": f"2020-01-{1 + n % 28:02d}", "birth_date": "1950-01-01", "ct_date": one}
        for n, one in enumerate(written)
    ]
    order = np.random.default_rng(2).permutation(40)
    cohort = people(SORTED[order], clinical=[clinical[place] for place in order])

    one = check(cohort, tmp_path, "acquisition_order")

    assert (one["value"], one["suspicious"]) == (1.0, True)
    assert one["told"].startswith("The date of acquisition (ct_date) sorts patients by outcome")


def test_dates_of_dicom_files_are_the_order_of_acquisition(tmp_path):
    folders = []
    for number, event in enumerate(SHUFFLED[:20]):
        made = slices(np.full((2, 4, 4), number), series=str(number))
        for place, dataset in enumerate(made):
            dataset.StudyDate = f"202{int(event)}01{1 + number:02d}"
            write(dataset, tmp_path / f"scan{number}" / f"{place}.dcm")
        folders.append(tmp_path / f"scan{number}")

    one = check(people(SHUFFLED[:20], images=folders), tmp_path, "acquisition_order")

    assert (one["value"], one["suspicious"]) == (1.0, True)
    assert one["told"].startswith("The date of acquisition (DICOM) sorts patients by outcome (AUC 1.00")


def test_without_dates_the_order_of_files_stands_for_that_of_acquisition(tmp_path):
    cohort = people(SHUFFLED)
    ids = np.array(cohort.ids)[np.argsort(SHUFFLED, kind="stable")]
    pd.DataFrame({"patient_id": np.repeat(ids, 2), "lesion_id": ["L1", "L2"] * 40}).to_csv(
        tmp_path / "lesions.csv", index=False
    )
    one = check(cohort, tmp_path, "acquisition_order")
    assert (one["value"], one["suspicious"]) == (1.0, True)
    assert one["told"].startswith("The order of files in lesions.csv, which stands for that of acquisition since no ")


def test_files_in_the_order_of_patients_are_no_second_finding(tmp_path):
    cohort = people(SORTED)
    pd.DataFrame({"patient_id": cohort.ids, "lesion_id": "L1"}).to_csv(tmp_path / "lesions.csv", index=False)
    one = check(cohort, tmp_path, "acquisition_order")
    assert (one["value"], one["suspicious"]) == (None, False)
    assert one["told"].startswith("Not looked at: no date of acquisition is known")


def test_what_cannot_be_looked_at_is_told(tmp_path):
    cohort = people(SHUFFLED)
    told = {cause: check(cohort, tmp_path, cause) for cause in ("centre", "acquisition_order", "image_geometry")}
    assert {cause: one["value"] for cause, one in told.items()} == dict.fromkeys(told)
    assert told["centre"]["told"] == "Not looked at: there is one centre."
    assert told["image_geometry"]["told"].startswith("Nothing to look at: ")


def test_a_weak_relation_of_many_patients_is_not_suspicious(tmp_path):
    rng = np.random.default_rng(0)
    events = rng.random(4000) < 0.4 + 0.0001 * np.arange(4000) / 2
    one = check(people(events), tmp_path, "row_order")
    assert one["p_value"] < 0.001
    assert 0.5 < one["value"] < 0.6
    assert not one["suspicious"]
    assert "says little about the outcome" in one["told"]


def test_centres_of_equal_rates_say_nothing(tmp_path):
    one = check(people(np.arange(60) % 6 == 0, centres="AB" * 3 + "BA" * 3), tmp_path, "centre")
    assert (one["value"], one["suspicious"]) == (0.5, False)
    assert one["told"] == "The centre says nothing about the outcome (AUC 0.50, p = 1.000)."


def test_follow_up_is_judged_by_the_c_index(tmp_path):
    rng = np.random.default_rng(0)
    patients = tuple(
        Patient(f"P{n}", "AB"[n % 2], outcomes={"pfs": Outcome(bool(rng.random() < 0.7), 1.0 + abs(30 - n))})
        for n in range(60)
    )
    cohort = Cohort(patients)
    found = leak_checks(cohort, "pfs", cohort, cohort.select([]), tmp_path)
    assert "(C-index 0." in found[2]["told"]


def simulated(folder, preset, seed, **knobs):
    simulate(simulation_settings(preset, seed=seed, images=False, **knobs), folder)
    return read_manifest(folder, [Endpoint("response", "response")])


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_centre_effect_is_flagged_and_nothing_else(tmp_path, seed):
    cohort = simulated(tmp_path / "cohort", "multicentre", seed, centre_outcome=1.0)
    held_out = cohort.where(lambda patient: patient.split == "held_out")
    found = leak_checks(cohort, "response", cohort, held_out, tmp_path / "cohort")
    assert [one["cause"] for one in found if one["suspicious"]] == ["centre"]


@pytest.mark.parametrize("seed", range(3))
def test_a_signal_in_the_images_is_no_leak(tmp_path, seed):
    cohort = simulated(tmp_path / "cohort", "small", seed)
    found = leak_checks(cohort, "response", cohort, cohort.select([]), tmp_path / "cohort")
    assert [one["cause"] for one in found if one["suspicious"]] == []


def test_where_nothing_leaks_each_check_is_suspicious_no_more_often_than_chance(tmp_path):
    """200 cohorts of 60 patients in 4 centres, with dates, gaps and image sizes that say nothing of outcomes."""
    rng = np.random.default_rng(11)
    runs, n = 200, 60
    images = [write_scan(tmp_path / f"{k}.nii", (6 + k % 4, 6, 4 + k % 3), seed=k) for k in range(n)]
    suspicious = dict.fromkeys(CAUSES, 0)
    for _ in range(runs):
        clinical = [
            {name: None if rng.random() < 0.2 else 1.0 for name in "abc"} | {"scan_date": 20200101.0 + rng.integers(28)}
            for _ in range(n)
        ]
        ids = [f"P{number}" for number in rng.permutation(n)]
        cohort = people(rng.random(n) < 0.4, "ABCDDAAB", ids, images, clinical)
        for one in leak_checks(cohort, "response", cohort, cohort.select([]), tmp_path):
            suspicious[one["cause"]] += one["suspicious"]

    assert max(suspicious.values()) <= binom.ppf(0.9999, runs, 0.01), suspicious
