import numpy as np
import pandas as pd
import pytest
from lifelines.utils import concordance_index

from radnet.data.simulation.reader import reader_auc, reader_c_index


def test_a_reader_is_judged_on_held_out_patients():
    patients = [f"P{number}" for number in range(200)]
    response = pd.Series(np.arange(200) % 2, index=patients)
    split = pd.Series(np.where(np.arange(200) < 100, "train", "held_out"), index=patients)
    noise = np.random.default_rng(0).normal(size=(200, 2))
    readings = pd.DataFrame({"told": response + 0.01 * noise[:, 0], "noise": noise[:, 1]}, index=patients)

    found = reader_auc(readings, response, split)

    assert found["auc"] == 1.0
    assert (found["fitted_on"], found["judged_on"]) == ("train", "held_out")


def test_a_reader_without_held_out_patients_is_judged_where_it_learned():
    patients = [f"P{number}" for number in range(20)]
    response = pd.Series(np.arange(20) % 2, index=patients)
    readings = pd.DataFrame({"told": response.astype(float)}, index=patients)

    found = reader_auc(readings, response, pd.Series("train", index=patients))

    assert found["judged_on"] == "train"


def followed(count, seed=0):
    """Patients whose exponential time has the log hazard of one of the two things measured, half of them held out."""
    rng = np.random.default_rng(seed)
    patients = [f"P{number}" for number in range(count)]
    readings = pd.DataFrame(rng.normal(size=(count, 2)), columns=["told", "noise"], index=patients)
    time = pd.Series(rng.exponential(size=count), index=patients) / np.exp(2 * readings["told"])
    split = pd.Series(np.where(np.arange(count) % 2, "train", "held_out"), index=patients)
    return readings, time, pd.Series(1, index=patients), split


def test_a_reader_of_times_ranks_held_out_patients_by_what_tells():
    readings, time, event, split = followed(800)

    found = reader_c_index(readings, time, event, split)

    held_out = split == "held_out"
    best = concordance_index(time[held_out], -readings.loc[held_out, "told"])
    assert found["c_index"] == pytest.approx(best, abs=0.005)
    assert (found["fitted_on"], found["judged_on"]) == ("train", "held_out")


def test_a_reader_of_times_means_over_the_lesions_of_a_patient():
    readings, time, event, split = followed(60)
    twice = pd.concat([readings + 1, readings - 1])

    assert reader_c_index(twice, time, event, split) == reader_c_index(readings, time, event, split)


def test_a_reader_of_times_needs_events_in_training():
    readings, time, event, split = followed(20)

    found = reader_c_index(readings, time, 0 * event, split)

    assert found["c_index"] is None
    assert found["formula"] == "not estimated: fewer than two events in training"
