import csv
import hashlib
import logging
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy.ndimage import gaussian_filter
from scipy.spatial import KDTree

from radnet.cohort import FEATURE_KEYS, Cohort, Delineation, Lesion, Patient
from radnet.radiomics.engines import ENGINES, Engine
from radnet.radiomics.extract import extract_cohort, extract_lesion
from radnet.radiomics.settings import ExtractionSettings, feature_names, read_settings

ZHAO = Path(__file__).parents[2] / "conf" / "radiomics" / "zhao.yaml"
FAST = ExtractionSettings("fast", log_sigma_mm=(), wavelet=False)
OBLIQUE = (0.9553364891256060, -0.2955202066613396, 0.0, 0.2955202066613396, 0.9553364891256060, 0.0, 0.0, 0.0, 1.0)
STRAIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def phantom(
    shape=(24, 32, 32), spacing_mm=(1.5, 0.8, 0.8), direction=STRAIGHT, dtype=np.int16, at=0.5, radius_mm=6.0, seed=0
):
    """A textured image and a lumpy lesion of label 1, with another one of label 4 in a corner; (Z, Y, X)."""
    rng = np.random.default_rng(seed)
    texture = gaussian_filter(rng.standard_normal(shape), 1.0)
    array = (250 * texture + 100 + rng.normal(0, 10, shape)).clip(*((0, 200) if dtype is np.uint8 else (-1000, 1000)))
    steps = [np.arange(size) * step for size, step in zip(shape, spacing_mm, strict=True)]
    grid = np.meshgrid(*[places - at * places[-1] for places in steps], indexing="ij")
    labels = (np.sqrt(sum(axis**2 for axis in grid)) + 3 * texture < radius_mm).astype(np.uint8)
    labels[:3, :3, :3] = 4
    pair = sitk.GetImageFromArray(array.astype(dtype)), sitk.GetImageFromArray(labels)
    for one in pair:
        one.SetSpacing([float(step) for step in spacing_mm[::-1]])
        one.SetOrigin((-81.25, 33.3, 410.7))
        one.SetDirection(direction)
    return pair


def stock(image, mask, label=1, images=None, **settings) -> dict[str, float]:
    """Features by pyradiomics itself, as a user of it would call it."""
    extractors = pytest.importorskip("radiomics.featureextractor", reason="compares with pyradiomics itself")
    logging.getLogger("radiomics").setLevel(logging.CRITICAL)
    extractor = extractors.RadiomicsFeatureExtractor(additionalInfo=False, label=label, **settings)
    extractor.enableImageTypes(**(images or {"Original": {}}))
    extractor.enableAllFeatures()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # it divides by zero where a matrix is empty
        return {name: float(value) for name, value in extractor.execute(image, mask).items()}


def assert_equal_features(found, wanted):
    assert list(found) == list(wanted)
    # Equal voxels give equal features to the last bit; 1e-9 leaves room for eigenvalues of another BLAS.
    pd.testing.assert_series_equal(pd.Series(found), pd.Series(wanted), rtol=1e-9, atol=1e-12)


PHANTOMS = {
    "thick slices": {"shape": (12, 40, 40), "spacing_mm": (5.0, 0.78, 0.78)},
    "oblique": {"direction": OBLIQUE},
    "real numbers": {"dtype": np.float32},
    "8 bits": {"dtype": np.uint8},
    "1 mm already": {"spacing_mm": (1.0, 1.0, 1.0), "direction": OBLIQUE},
    "finer than 1 mm": {"shape": (36, 36, 36), "spacing_mm": (0.7, 0.7, 0.7)},
    "at the border": {"at": 0.1},
}


@pytest.mark.parametrize("given", PHANTOMS.values(), ids=PHANTOMS.keys())
def test_the_1130_features_of_zhao_are_those_of_pyradiomics_with_its_own_resampling(given):
    image, mask = phantom(**given)
    images = {"Original": {}, "LoG": {"sigma": [1.0, 2.0, 3.0]}, "Wavelet": {}}

    found = extract_lesion(image, mask, read_settings(ZHAO))

    assert len(found) == 1130
    wanted = stock(image, mask, images=images, binWidth=25, resampledPixelSpacing=[1, 1, 1], interpolator="sitkBSpline")
    assert_equal_features(found, wanted)


def test_normalised_images_bin_counts_and_pointwise_images_are_those_of_pyradiomics():
    image, mask = phantom()
    pointwise = ("square", "squareroot", "logarithm", "exponential")
    settings = ExtractionSettings(
        "mri", bin_width=None, bin_count=32, normalize=True, normalize_scale=100, pointwise=pointwise,
        spacing_mm=(2.0, 1.0, 1.5), interpolator="linear", log_sigma_mm=(), wavelet=False,
    )  # fmt: skip

    found = extract_lesion(image, mask, settings)

    images = {name: {} for name in ("Original", "Square", "SquareRoot", "Logarithm", "Exponential")}
    spacing = {"resampledPixelSpacing": [1.5, 1.0, 2.0], "interpolator": "sitkLinear"}
    wanted = stock(image, mask, images=images, binCount=32, normalize=True, normalizeScale=100, **spacing)
    assert len(found) == 479
    assert_equal_features(found, wanted)


def test_a_lesion_in_one_slice_and_one_of_few_scattered_voxels_are_those_of_pyradiomics():
    image, mask = phantom((12, 40, 40), (5.0, 0.78, 0.78))
    array = sitk.GetArrayFromImage(mask)
    slice_, scattered = array * 0, array * 0
    slice_[6] = array[6]
    scattered[3:10:3, 10:30:6, 12:32:6] = 1
    for lesion in (slice_, scattered):
        one = sitk.GetImageFromArray(lesion)
        one.CopyInformation(mask)
        wanted = stock(image, one, resampledPixelSpacing=[1, 1, 1])
        assert_equal_features(extract_lesion(image, one, FAST), wanted)


def test_another_label_of_the_mask_is_another_lesion():
    image, mask = phantom((24, 32, 32), (2.0, 2.0, 2.0))
    wanted = stock(image, mask, label=4, resampledPixelSpacing=[1, 1, 1])
    assert_equal_features(extract_lesion(image, mask, FAST, label=4), wanted)


@pytest.mark.parametrize(
    ("column", "settings"),
    [
        ("brain1_resampling", {"spacing_mm": (2.0, 2.0, 2.0)}),
        ("brain1_normalization", {"spacing_mm": (0, 0, 0), "normalize": True, "normalize_scale": 100, "bin_width": 5}),
    ],
)
def test_the_values_published_with_pyradiomics_for_a_brain_tumour_come_back(column, settings, shared):
    folder = shared / "data" / "pyradiomics_cases"
    image, mask = (sitk.ReadImage(str(folder / f"brain1_{noun}.nrrd")) for noun in ("image", "label"))
    published = {}
    for path in (folder / "baseline").glob("*.csv"):
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        published |= {row["featureName"]: row[column] for row in rows if column in row}
    settings = ExtractionSettings("brain1", log_sigma_mm=(), wavelet=False, **settings)

    found = extract_lesion(image, mask, settings)

    wanted = {name: float(published[name]) for name in found if published.get(name)}
    assert len(wanted) == (107 if column == "brain1_resampling" else 93)  # no shape is printed for the second
    # They were made in 2018 with another ITK and BLAS; the worst of them is off by 9e-13.
    np.testing.assert_allclose([found[name] for name in wanted], list(wanted.values()), rtol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (3.0, 2.0, 1.5)])
def test_the_1130_features_of_a_brain_tumour_are_those_of_pyradiomics(spacing_mm, shared):
    folder = shared / "data" / "pyradiomics_cases"
    image, mask = (sitk.ReadImage(str(folder / f"brain1_{noun}.nrrd")) for noun in ("image", "label"))
    images = {"Original": {}, "LoG": {"sigma": [1.0, 2.0, 3.0]}, "Wavelet": {}}
    wanted = stock(image, mask, images=images, resampledPixelSpacing=list(spacing_mm)[::-1])
    assert_equal_features(extract_lesion(image, mask, ExtractionSettings("zhao", spacing_mm=spacing_mm)), wanted)


def ring_on_1_mm(lesion, inner_mm, outer_mm):
    """Return the ring by a search for the nearest voxel among all, on a grid of 1 mm."""
    distance = np.empty(lesion.shape)
    distance[lesion] = -KDTree(np.argwhere(~lesion)).query(np.argwhere(lesion))[0]
    distance[~lesion] = KDTree(np.argwhere(lesion)).query(np.argwhere(~lesion))[0]
    return (-inner_mm < distance) & (distance <= outer_mm)


@pytest.mark.parametrize(
    ("region", "inner_mm", "outer_mm"), [("ring", 1.5, 2.0), ("inner", 1.5, 0.0), ("outer", 0.0, 2.0)]
)
def test_rings_are_drawn_on_the_resampled_grid_and_measured_there(region, inner_mm, outer_mm, tmp_path):
    image, mask = phantom()
    operations = pytest.importorskip("radiomics.imageoperations", reason="compares with pyradiomics itself")
    grid = operations.resampleImage(image, mask, resampledPixelSpacing=[1, 1, 1], padDistance=5 + 2, label=1)
    array = ring_on_1_mm(sitk.GetArrayFromImage(grid[1]) == 1, inner_mm, outer_mm)
    ring = sitk.GetImageFromArray(array.astype(np.uint8))
    ring.CopyInformation(grid[1])
    settings = ExtractionSettings("ring", regions=(region,), ring_inner_mm=1.5, log_sigma_mm=(1.0,), wavelet=False)

    table = extract_cohort(cohort_of(tmp_path, {"P1": (image, mask)}), settings, limit_s=None, cache=tmp_path / "cache")

    assert table.rows["region"].tolist() == [region]
    wanted = stock(grid[0], ring, images={"Original": {}, "LoG": {"sigma": [1.0]}})
    assert_equal_features(table.rows[table.names].iloc[0].to_dict(), wanted)


def test_air_is_kept_out_of_the_ring(tmp_path):
    image, mask = phantom(spacing_mm=(1.0, 1.0, 1.0))
    array = sitk.GetArrayFromImage(image)
    array[:, :16] = np.where(sitk.GetArrayFromImage(mask)[:, :16] == 1, array[:, :16], -1000)
    with_air = sitk.GetImageFromArray(array)
    with_air.CopyInformation(image)
    settings = {"regions": ("outer",), "log_sigma_mm": (), "wavelet": False, "ring_outer_mm": 3.0}
    cohort = cohort_of(tmp_path, {"P1": (with_air, mask)})

    all_ = extract_cohort(cohort, ExtractionSettings("all", **settings), limit_s=None, cache=tmp_path / "cache").rows
    tissue = ExtractionSettings("tissue", ring_exclude_below=-300.0, **settings)
    kept = extract_cohort(cohort, tissue, limit_s=None, cache=tmp_path / "cache").rows

    assert all_["original_firstorder_Minimum"].item() == -1000
    assert kept["original_firstorder_Minimum"].item() >= -300
    assert kept["original_shape_VoxelVolume"].item() < all_["original_shape_VoxelVolume"].item()


def cohort_of(folder: Path, pairs) -> Cohort:
    """Write each patient's image and mask, and return the cohort: one lesion each, of label 1."""
    patients = []
    for identity, (image, mask) in pairs.items():
        paths = folder / f"{identity}.mha", folder / f"{identity}_mask.nrrd"
        for volume, path in zip((image, mask), paths, strict=True):
            sitk.WriteImage(volume, str(path))
        patients.append(patient(identity, Delineation(image=paths[0], mask=paths[1])))
    return Cohort(tuple(patients))


def patient(identity, *delineations) -> Patient:
    return Patient(identity, "A", lesions=(Lesion("L1", "liver", tuple(delineations)),))


def with_delineation(cohort: Cohort, identity: str, delineation: Delineation) -> Cohort:
    return Cohort((*cohort.patients, patient(identity, delineation)))


def test_one_bad_mask_is_a_row_with_its_reason_and_stops_no_other(tmp_path):
    image, mask = phantom()
    single = mask * 0
    single[10, 10, 10] = 1
    shifted = sitk.Image(mask)
    shifted.SetOrigin((0.0, 0.0, 0.0))
    array = sitk.GetArrayFromImage(image).astype(np.float32)
    array[12, 16, 16] = np.nan
    hollow = sitk.GetImageFromArray(array)
    hollow.CopyInformation(image)
    cohort = cohort_of(
        tmp_path,
        {
            "fine": (image, mask),
            "empty": (image, mask * 0),
            "single": (image, single),
            "cut": (image, mask[:, :, :20]),
            "shifted": (image, shifted),
            "nan": (hollow, mask),
        },
    )
    fine = cohort.patients[0].lesions[0].delineations[0]
    (tmp_path / "broken.nrrd").write_text("not a mask")
    bad = {
        "broken": {"mask": tmp_path / "broken.nrrd"},
        "missing": {"mask": tmp_path / "missing.nrrd"},
        "no image": {"image": tmp_path / "gone.nii.gz"},
        "label": {"label": 9},
        "dicom": {"roi_name": "GTV"},
    }
    for identity, change in bad.items():
        cohort = with_delineation(cohort, identity, Delineation(**{"image": fine.image, "mask": fine.mask, **change}))
    cohort = with_delineation(cohort, "also fine", Delineation(image=fine.image, mask=fine.mask))

    table = extract_cohort(cohort, FAST, limit_s=None, cache=tmp_path / "cache")

    status = table.rows.set_index("patient_id")["status"].to_dict()
    assert list(status) == cohort.ids
    assert status.pop("fine") == status.pop("also fine") == "ok"
    expected = {
        "empty": "empty_mask.nrrd: the mask is empty: no voxel is set",
        "single": "single_mask.nrrd: ",
        "cut": "cut_mask.nrrd: the image (24, 32, 32) and the mask (20, 32, 32) differ in size",
        "shifted": "shifted_mask.nrrd: the image and the mask lie up to ",
        "nan": "nan_mask.nrrd: the image has values around the lesion that are no numbers",
        "broken": "broken.nrrd: the mask cannot be read as NIfTI, NRRD or MHA",
        "missing": "missing.nrrd: no such mask file",
        "no image": "gone.nii.gz: no such image file",
        "label": "fine_mask.nrrd: the mask has no label 9; it has 1, 4",
        "dicom": "fine_mask.nrrd: roi_name GTV names a region of a DICOM file",
    }
    assert status.keys() == expected.keys()
    for identity, told in expected.items():
        assert status[identity].startswith(told), identity
        assert "\n" not in status[identity]
        assert str(tmp_path) not in status[identity]
    failed = table.rows["status"] != "ok"
    assert table.rows.loc[failed, table.names].isna().all(axis=None)
    assert table.rows.loc[~failed, table.names].notna().all(axis=None)
    assert table.names == feature_names(FAST)
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 1  # the two fine rows are one content; no failure is kept


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"minimum_voxels": 100_000}, "voxels at 1 × 1 × 1 mm, minimum_voxels is 100000"),
        ({"log_sigma_mm": (40.0,)}, "is too small for the Laplacian of Gaussian of 40 mm, which needs (41, 41, 41)"),
    ],
)
def test_a_lesion_too_small_for_the_settings_is_told(change, told):
    settings = ExtractionSettings("strict", wavelet=False, **{"log_sigma_mm": (), **change})
    with pytest.raises(ValueError, match=told.replace("(", r"\(").replace(")", r"\)")):
        extract_lesion(*phantom(), settings)


def test_a_lesion_that_fills_the_image_is_told():
    image = sitk.GetImageFromArray(np.random.default_rng(0).normal(0, 1, (8, 8, 8)))
    with pytest.raises(ValueError, match="the lesion fills the whole image"):
        extract_lesion(image, sitk.Cast(image * 0 + 1, sitk.sitkUInt8), FAST)


class Counting:
    """An engine that counts what it measures: the number of voxels, under every name."""

    def __init__(self) -> None:
        self.calls = 0
        self.stop_at: int | None = None

    def measure(self, image, mask, settings):
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        self.calls += 1
        voxels = float(sitk.GetArrayViewFromImage(mask).sum())
        return {name: voxels + place for place, name in enumerate(feature_names(settings))}


@pytest.fixture
def counting(monkeypatch) -> Counting:
    engine = Counting()
    monkeypatch.setitem(ENGINES, "counting", Engine(lambda: "1.0", engine.measure))
    return engine


@pytest.fixture
def three(tmp_path) -> Cohort:
    return cohort_of(tmp_path, {f"P{seed}": phantom(seed=seed) for seed in range(3)})


def extract(cohort, tmp_path, settings=FAST, engine="counting"):
    return extract_cohort(
        cohort, settings, engine=engine, limit_s=None, cache=tmp_path / "cache"
    )  # counts in this process


def test_what_was_measured_is_not_measured_again(counting, three, tmp_path):
    first = extract(three, tmp_path)
    assert counting.calls == 3

    second = extract(three, tmp_path)

    assert counting.calls == 3
    pd.testing.assert_frame_equal(first.rows, second.rows)
    assert first.provenance == second.provenance


def test_a_run_that_was_stopped_goes_on_where_it_was(counting, three, tmp_path):
    counting.stop_at = 2
    with pytest.raises(KeyboardInterrupt):
        extract(three, tmp_path)
    counting.stop_at = None

    resumed = extract(three, tmp_path)

    assert counting.calls == 3
    pd.testing.assert_frame_equal(resumed.rows, extract(three, tmp_path / "afresh").rows)


def test_other_settings_measure_anew_and_another_region_only_itself(counting, three, tmp_path):
    extract(three, tmp_path)
    extract(three, tmp_path, ExtractionSettings("fast", bin_width=10.0, log_sigma_mm=(), wavelet=False))
    assert counting.calls == 6

    ring = ExtractionSettings("ring", regions=("lesion", "ring"), log_sigma_mm=(), wavelet=False)
    extract(three, tmp_path, ring)

    assert counting.calls == 9


def test_another_version_of_the_engine_measures_anew(counting, three, tmp_path, monkeypatch):
    extract(three, tmp_path)
    monkeypatch.setitem(ENGINES, "counting", Engine(lambda: "1.1", counting.measure))
    extract(three, tmp_path)
    assert counting.calls == 6


def test_only_a_file_whose_content_changed_is_measured_anew(counting, three, tmp_path):
    extract(three, tmp_path)
    delineations = [one.lesions[0].delineations[0] for one in three.patients]
    delineations[0].image.rename(tmp_path / "renamed.mha")
    sitk.WriteImage(phantom(radius_mm=4.0, seed=1)[1], str(delineations[1].mask))
    renamed = patient("P0", Delineation(image=tmp_path / "renamed.mha", mask=delineations[0].mask))

    extract(Cohort((renamed, *three.patients[1:])), tmp_path)

    assert counting.calls == 4


def test_a_damaged_cache_file_is_measured_anew(counting, three, tmp_path):
    first = extract(three, tmp_path)
    damaged = sorted((tmp_path / "cache").rglob("*.npy"))
    damaged[0].write_bytes(damaged[0].read_bytes()[:200])
    damaged[1].write_bytes(b"")

    second = extract(three, tmp_path)

    assert counting.calls == 5
    pd.testing.assert_frame_equal(first.rows, second.rows)


def test_a_failure_is_tried_again(counting, three, tmp_path, monkeypatch):
    def fail(image, mask, settings):
        raise MemoryError

    monkeypatch.setitem(ENGINES, "counting", Engine(lambda: "1.0", fail))
    failed = extract(three, tmp_path)
    monkeypatch.setitem(ENGINES, "counting", Engine(lambda: "1.0", counting.measure))

    again = extract(three, tmp_path)

    assert failed.rows["status"].tolist() == [f"P{seed}_mask.nrrd: ran out of memory" for seed in range(3)]
    assert again.rows["status"].tolist() == ["ok"] * 3


def test_rows_follow_the_cohort_with_every_channel_reader_repeat_and_region(counting, three, tmp_path):
    files = three.patients[0].lesions[0].delineations[0]
    pair = {"image": files.image, "mask": files.mask}
    delineations = [
        Delineation(**pair, channel="PET"),
        Delineation(**pair, reader="2"),
        Delineation(**pair, repeat="shift"),
        Delineation(reader="3"),  # without an image: not measured
    ]
    cohort = Cohort((*three.patients[1:], patient("Z", *delineations)))
    settings = ExtractionSettings("two", regions=("ring", "lesion"), log_sigma_mm=(), wavelet=False)

    table = extract(cohort, tmp_path, settings)

    assert table.rows[list(FEATURE_KEYS)].to_numpy().tolist() == [
        [who, "L1", region, *what]
        for who, what in [
            ("P1", ("image", "1", "1")),
            ("P2", ("image", "1", "1")),
            ("Z", ("PET", "1", "1")),
            ("Z", ("image", "2", "1")),
            ("Z", ("image", "1", "shift")),
        ]
        for region in ("ring", "lesion")
    ]


def test_a_scan_with_several_delineations_is_read_once(counting, three, tmp_path, monkeypatch):
    files = three.patients[0].lesions[0].delineations[0]
    lesions = tuple(
        Lesion(f"L{label}", delineations=(Delineation(image=files.image, mask=files.mask, label=label),))
        for label in (1, 4)
    )
    read = []
    original = sitk.ReadImage
    monkeypatch.setattr(sitk, "ReadImage", lambda path: read.append(Path(path).name) or original(path))

    table = extract(Cohort((Patient("P", "A", lesions=lesions),)), tmp_path)

    assert table.rows["status"].tolist() == ["ok", "ok"]
    assert read == ["P0.mha", "P0_mask.nrrd"]


def test_progress_is_told_row_by_row(counting, three, tmp_path):
    told = []
    options = {"engine": "counting", "limit_s": None, "cache": tmp_path / "cache"}
    extract_cohort(three, FAST, **options, progress=lambda *one: told.append(one))
    assert told == [(place + 1, 3, f"P{place} L1 lesion image 1 1") for place in range(3)]


def test_the_table_says_what_it_was_made_of_and_how(counting, three, tmp_path):
    table = extract(three, tmp_path)

    provenance = table.provenance
    assert ExtractionSettings(**provenance["settings"]) == FAST
    assert provenance["fingerprint"] == FAST.fingerprint()
    assert (provenance["engine"], provenance["engine_version"]) == ("counting", "1.0")
    assert provenance["versions"].items() >= {"numpy": np.__version__, "SimpleITK": sitk.__version__}.items()
    for one, row in zip(three.patients, provenance["inputs"], strict=True):
        files = one.lesions[0].delineations[0]
        assert row["patient_id"] == one.id
        assert row["image"] == hashlib.sha256(files.image.read_bytes()).hexdigest()
        assert row["mask"] == hashlib.sha256(files.mask.read_bytes()).hexdigest()


def test_two_workers_return_what_one_returns_without_a_word(three, tmp_path, capfd):
    cohort = with_delineation(three, "lost", Delineation(image=tmp_path / "lost.nii", mask=tmp_path / "lost.nrrd"))
    settings = ExtractionSettings(
        "some", log_sigma_mm=(1.0,), wavelet=False, regions=("lesion", "ring"), normalize=True
    )

    one = extract_cohort(cohort, settings, cache=tmp_path / "one", workers=1)
    two = extract_cohort(cohort, settings, cache=tmp_path / "two", workers=2)

    pd.testing.assert_frame_equal(one.rows, two.rows, check_exact=True)
    assert one.rows["status"].tolist() == ["ok"] * 6 + ["lost.nii: no such image file"] * 2
    assert one.provenance == two.provenance
    assert capfd.readouterr() == ("", "")


def test_without_pyradiomics_the_extra_to_install_is_told_before_work_starts(three, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "radiomics", None)
    with pytest.raises(ImportError, match=r'the pyradiomics engine needs the extra "reference": pip install'):
        extract_cohort(three, FAST, engine="pyradiomics", cache=tmp_path / "cache")


def test_an_engine_that_does_not_exist_is_told_with_those_that_do(three, tmp_path):
    with pytest.raises(ValueError, match="there is no engine mirp; engines are native, pyradiomics"):
        extract(three, tmp_path, engine="mirp")


def test_a_cohort_without_images_has_nothing_to_measure(counting, tmp_path):
    with pytest.raises(ValueError, match="no lesion of the cohort has an image and a mask"):
        extract(Cohort((patient("P"),)), tmp_path)


def test_no_workers_are_refused(three, tmp_path):
    with pytest.raises(ValueError, match="at least 1 worker is needed, got 0"):
        extract_cohort(three, FAST, workers=0, cache=tmp_path / "cache")


def test_what_could_not_be_hashed_is_measured_and_never_taken_for_another(tmp_path, monkeypatch):
    values = {"P1": 0, "P2": 500}
    patients = []
    for name, offset in values.items():
        image, mask = phantom(seed=3)
        sitk.WriteImage(image + offset, str(tmp_path / f"{name}.nii"))
        sitk.WriteImage(mask, str(tmp_path / f"{name}_mask.nii"))
        one = Delineation(image=tmp_path / f"{name}.nii", mask=tmp_path / f"{name}_mask.nii")
        patients.append(Patient(name, "A", None, {}, (Lesion("L1", delineations=(one,)),), {}))

    def lost(path):
        if "mask" not in path.name:
            raise OSError("the share went away for a moment")
        return "the same"

    monkeypatch.setattr("radnet.radiomics.extract.content_hash", lost)
    for one in patients:
        table = extract_cohort(Cohort((one,)), FAST, cache=tmp_path / "cache", limit_s=None)
        mean = table.rows["original_firstorder_Mean"].item()
        assert mean == pytest.approx(values[one.id], abs=250)
    assert not list((tmp_path / "cache").rglob("*.npy"))


def test_a_mask_of_nothing_but_the_lesion_is_refused():
    image, mask = phantom()
    with pytest.raises(ValueError, match="the lesion fills the whole image .* no background is left"):
        extract_lesion(image, mask * 0 + 1, FAST)


def test_an_image_of_colours_is_refused_by_what_it_is():
    image, mask = phantom()
    with pytest.raises(ValueError, match="the image has 3 dimensions and 3 values per voxel, expected 3 and 1"):
        extract_lesion(sitk.Compose(image, image, image), mask, FAST)
