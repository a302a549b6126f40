import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy.ndimage import gaussian_filter

from radnet.cli import main
from radnet.cohort import Cohort, Delineation, Lesion, Patient
from radnet.config import build, config_folder
from radnet.data.features import read_features
from radnet.data.manifest import read_manifest
from radnet.evaluation.agreement.intraclass import icc
from radnet.evaluation.agreement.reproducible import Reproducible
from radnet.radiomics.engines import ENGINES, Engine
from radnet.radiomics.extract import extract_cohort
from radnet.radiomics.perturbation import DEFAULT
from radnet.radiomics.robustness import PerturbationSettings, extract_perturbed, perturbed_features, with_perturbed
from radnet.radiomics.settings import ExtractionSettings, feature_names

FAST = ExtractionSettings("fast", log_sigma_mm=(), wavelet=False, classes=("shape", "firstorder"))
NAMES = ["rotate_5deg", "noise_1", "grow_15pct"]
VOLUME, MEAN = "original_shape_VoxelVolume", "original_firstorder_Mean"


def write_scan(folder, name, seed):
    """A scan with texture and a lesion of 5 to 8 mm radius; returns the paths of both."""
    rng = np.random.default_rng(seed)
    shape, spacing_mm = (14, 36, 36), (2.0, 1.0, 1.0)
    array = 300 * gaussian_filter(rng.standard_normal(shape), 2.0) + 40 * seed + rng.normal(0, 10, shape)
    steps = [(np.arange(size) - (size - 1) / 2) * step for size, step in zip(shape, spacing_mm, strict=True)]
    lesion = sum(axis**2 for axis in np.meshgrid(*steps, indexing="ij")) <= (5 + 3 * rng.random()) ** 2
    paths = folder / f"{name}.mha", folder / f"{name}_mask.mha"
    for one, path in zip((array.astype(np.int16), lesion.astype(np.uint8)), paths, strict=True):
        image = sitk.GetImageFromArray(one)
        image.SetSpacing(spacing_mm[::-1])
        sitk.WriteImage(image, str(path))
    return paths


def patient(identity, *delineations):
    return Patient(identity, "A", lesions=(Lesion("L1", "liver", delineations),))


@pytest.fixture
def cohort(tmp_path):
    pairs = {f"P{seed}": write_scan(tmp_path, f"P{seed}", seed) for seed in range(4)}
    return Cohort(tuple(patient(identity, Delineation(image=i, mask=m)) for identity, (i, m) in pairs.items()))


def perturb(cohort, tmp_path, names=NAMES, seed=0, engine="native", settings=FAST):
    return extract_perturbed(
        cohort, settings, names, engine=engine, limit_s=None, cache=tmp_path / "cache", seed=seed
    )  # in this process


def test_each_perturbation_of_each_lesion_is_a_row_that_names_it(cohort, tmp_path):
    features = perturb(cohort, tmp_path)

    keys = features.rows[["patient_id", "reader", "repeat"]].to_numpy().tolist()
    assert keys == [[f"P{seed}", "1", name] for seed in range(4) for name in NAMES]
    assert (features.rows["status"] == "ok").all()
    assert features.provenance["change"] == {"kind": "perturbed", "seed": 0}


def test_growth_changes_the_volume_by_its_percent_and_noise_neither_volume_nor_mean(cohort, tmp_path):
    original = extract_cohort(cohort, FAST, limit_s=None, cache=tmp_path / "cache").lesion_matrix()

    rows = perturb(cohort, tmp_path).rows.set_index(["repeat", "patient_id"])

    for at, identity in enumerate(cohort.ids):
        before = original.iloc[at]
        grown = rows.loc[("grow_15pct", identity)]
        assert grown[VOLUME] / before[VOLUME] == pytest.approx(1.15, abs=0.02)  # resampled to 1 mm by nearest voxel
        noisy = rows.loc[("noise_1", identity)]
        assert noisy[VOLUME] == before[VOLUME]
        # The mean of some 250 voxels with noise of SD 11 errs by 0.7; three of that and of rounding.
        assert noisy[MEAN] == pytest.approx(before[MEAN], abs=2.5)


class Counting:
    """An engine that counts how often it measures."""

    def __init__(self):
        self.calls = 0

    def measure(self, image, mask, settings):
        self.calls += 1
        return {name: float(sitk.GetArrayViewFromImage(image).sum()) for name in feature_names(settings)}


@pytest.fixture
def counting(monkeypatch):
    engine = Counting()
    monkeypatch.setitem(ENGINES, "counting", Engine(lambda: "1.0", engine.measure))
    return engine


def test_what_was_measured_perturbed_is_not_measured_again(cohort, tmp_path, counting):
    first = perturb(cohort, tmp_path, engine="counting")
    assert counting.calls == 12

    second = perturb(cohort, tmp_path, engine="counting")
    extract_cohort(cohort, FAST, engine="counting", limit_s=None, cache=tmp_path / "cache")

    assert counting.calls == 16  # the lesions as they are have no part in it
    pd.testing.assert_frame_equal(first.rows, second.rows)


def test_another_seed_draws_other_noise_and_leaves_what_is_not_drawn_in_the_cache(cohort, tmp_path, counting):
    first = perturb(cohort, tmp_path, engine="counting").rows.set_index("repeat")[MEAN]

    second = perturb(cohort, tmp_path, seed=1, engine="counting").rows.set_index("repeat")[MEAN]

    assert counting.calls == 16
    assert (first["noise_1"] != second["noise_1"]).all()
    assert (first["grow_15pct"] == second["grow_15pct"]).all()


def test_two_draws_of_a_kind_differ_and_each_comes_again(cohort, tmp_path):
    names = ["noise_1", "noise_2", "randomise_1", "randomise_2"]

    rows = perturb(cohort, tmp_path, names).rows
    again = perturb(cohort, tmp_path / "another cache", names[::-1]).rows

    rows, again = (one.set_index(["patient_id", "repeat"]).sort_index() for one in (rows, again))
    pd.testing.assert_frame_equal(rows, again)
    assert (rows.xs("noise_1", level=1)[MEAN] != rows.xs("noise_2", level=1)[MEAN]).all()
    assert (rows.xs("randomise_1", level=1)[MEAN] != rows.xs("randomise_2", level=1)[MEAN]).all()


def test_worker_processes_measure_the_same(cohort, tmp_path):
    here = perturb(cohort, tmp_path)

    there = extract_perturbed(cohort, FAST, NAMES, cache=tmp_path / "another cache", seed=0)

    pd.testing.assert_frame_equal(here.rows, there.rows)


def test_the_first_delineation_of_each_channel_is_perturbed_and_its_reader_named(tmp_path):
    (image, mask), (_, other) = write_scan(tmp_path, "one", 1), write_scan(tmp_path, "two", 2)
    delineations = (
        Delineation(reader="B", image=image, mask=other),
        Delineation(reader="1", repeat="2", image=image, mask=other),
        Delineation(reader="1", image=image, mask=mask),
        Delineation(channel="PET", reader="B", repeat="later", image=image, mask=mask),
    )

    rows = perturb(Cohort((patient("P1", *delineations),)), tmp_path, ["grow_15pct"]).rows

    assert rows[["channel", "reader", "repeat"]].to_numpy().tolist() == [
        ["image", "1", "grow_15pct"],
        ["PET", "B", "grow_15pct"],
    ]
    assert rows[VOLUME][0] == rows[VOLUME][1]


def test_a_lesion_that_cannot_be_measured_perturbed_is_a_row_with_its_reason(cohort, tmp_path):
    rows = perturb(cohort, tmp_path, ["shrink_99.9pct", "grow_15pct"]).rows.set_index("repeat")

    assert rows.loc["shrink_99.9pct", "status"].str.contains("_mask.mha: the lesion is a single voxel or a line").all()
    assert rows.loc["shrink_99.9pct", MEAN].isna().all()
    assert (rows.loc["grow_15pct", "status"] == "ok").all()


def test_perturbed_rows_leave_the_matrix_of_lesions_as_it_was(cohort, tmp_path):
    original = extract_cohort(cohort, FAST, limit_s=None, cache=tmp_path / "cache")

    both = with_perturbed(original, perturb(cohort, tmp_path))

    pd.testing.assert_frame_equal(both.lesion_matrix(), original.lesion_matrix())
    assert len(both.delineation_matrix()) == 16
    assert both.provenance["perturbed"] == {"names": NAMES, "change": {"kind": "perturbed", "seed": 0}}


def test_perturbed_rows_of_other_settings_are_refused(cohort, tmp_path):
    original = extract_cohort(cohort, FAST, limit_s=None, cache=tmp_path / "cache")
    other = ExtractionSettings("other", bin_width=10.0, log_sigma_mm=(), wavelet=False, classes=("firstorder",))
    with pytest.raises(ValueError, match="the perturbed lesions were measured by other settings"):
        with_perturbed(original, perturb(cohort, tmp_path, settings=other))


def test_some_patients_are_drawn_and_the_same_ones_by_the_same_seed(cohort, tmp_path):
    settings = PerturbationSettings(2, ["grow_15pct", "shrink_15pct"])
    unimaged = Cohort((*cohort.patients, patient("P9", Delineation())))

    def drawn(seed):
        table = perturbed_features(unimaged, settings, FAST, "native", 1, tmp_path / "cache", seed)
        return table.rows["patient_id"].unique().tolist()

    assert len(drawn(0)) == 2
    assert drawn(0) == drawn(0)
    assert len({tuple(drawn(seed)) for seed in range(6)}) > 1
    with pytest.raises(ValueError, match="no lesion of the cohort has an image"):
        perturbed_features(Cohort(unimaged.patients[4:]), settings, FAST, "native", 1, tmp_path / "cache", 0)


def test_every_fault_of_the_settings_is_told_at_once():
    with pytest.raises(ValueError, match="patients must be 1 or more, got 0; there is no perturbation 'turn'"):
        PerturbationSettings(0, ["turn"])


def test_the_configured_perturbations_are_the_default_ones():
    from omegaconf import OmegaConf

    settings = build(OmegaConf.load(config_folder() / "robustness" / "perturbations.yaml"))

    assert settings == PerturbationSettings(20, DEFAULT)
    assert OmegaConf.load(config_folder() / "robustness" / "none.yaml") == {}


@pytest.fixture
def folder(cohort, tmp_path):
    lines = [f"{one.id},L1,{one.id}.mha,{one.id}_mask.mha" for one in cohort.patients]
    (tmp_path / "lesions.csv").write_text("\n".join(["patient_id,lesion_id,image,mask", *lines]), encoding="utf-8")
    lines = [f"{one.id},A" for one in cohort.patients]
    (tmp_path / "clinical.csv").write_text("\n".join(["patient_id,centre", *lines]), encoding="utf-8")
    (tmp_path / "fast.yaml").write_text(
        "_target_: radnet.radiomics.settings.ExtractionSettings\nname: fast\nlog_sigma_mm: []\nwavelet: false\n"
        "classes: [shape, firstorder]\n",
        encoding="utf-8",
    )
    return tmp_path


def extract_command(folder, *more):
    words = ["extract", str(folder), "--settings", str(folder / "fast.yaml"), "--out", str(folder / "f.parquet")]
    return main([*words, "--cache", str(folder / "cache"), "--workers", "1", *more])


def test_the_command_appends_perturbed_rows_whose_agreement_is_that_of_original_and_perturbed(folder, capsys):
    assert extract_command(folder, "--perturb", ",".join(NAMES)) == 0
    assert main(["agreement", str(folder / "f.parquet"), "--out", str(folder / "icc.csv")]) == 0

    rows = read_features(folder / "f.parquet").rows
    assert rows["repeat"].tolist() == ["1"] * 4 + NAMES * 4
    wide = rows.pivot_table(index="patient_id", columns="repeat", values=MEAN)
    table = pd.read_csv(folder / "icc.csv").set_index(["feature", "form"])
    assert table.loc[(MEAN, "ICC(2,1)"), "n"] == 4
    assert table.loc[(MEAN, "ICC(2,1)"), "icc"] == pytest.approx(icc(wide, "ICC(2,1)", 0.95).icc[0], rel=1e-9)


def test_the_features_that_bear_perturbation_are_learned_from_the_table(folder):
    assert extract_command(folder, "--perturb", ",".join(NAMES)) == 0
    features = read_manifest(folder).with_features(read_features(folder / "f.parquet")).features

    learned = Reproducible(0.75).learn(features.delineation_matrix()).fit(features.lesion_matrix())

    assert list(learned.icc_) == ["perturbation"]
    kept = learned.get_feature_names_out()
    assert MEAN in kept  # patients differ by 40, noise hardly changes a mean
    assert "original_firstorder_Minimum" in learned.names_


@pytest.mark.parametrize("names", ["turn_5deg", "", "noise_1,noise_1"])
def test_wrong_names_are_wrong_usage(folder, names, capsys):
    assert extract_command(folder, "--perturb", names) == 2
    assert "error: --perturb: " in capsys.readouterr().err
