from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy.ndimage import center_of_mass, map_coordinates
from scipy.spatial import KDTree

pytest.importorskip("monai", reason='the transforms need the extra "train"')

import torch
from monai.transforms import Spacingd
from omegaconf import OmegaConf

from dicoms import segmentation, slices, write, write_series
from radnet.config import build, target_faults
from radnet.data.simulate import simulate, simulation_settings
from radnet.imaging import transforms
from radnet.imaging.patch import (
    DistanceChannel,
    LesionChannel,
    LesionWindowChannel,
    PatchSettings,
    RingChannel,
    WindowChannel,
    ZScoreChannel,
    lesion_patch,
)
from radnet.imaging.preprocess import crop, read_image, read_mask, resample, unit_range, z_score
from radnet.imaging.region import air_mask, ring_mask
from radnet.radiomics.scan import PAD_VOXELS, region_on_grid
from radnet.radiomics.settings import ExtractionSettings

CONF = Path(__file__).parents[2] / "conf" / "imaging"
ORIGIN = (-117.3, 42.9, 801.25)
OBLIQUE = tuple(
    (
        np.array([[np.cos(0.3), -np.sin(0.3), 0], [np.sin(0.3), np.cos(0.3), 0], [0, 0, 1]])
        @ np.array([[1, 0, 0], [0, np.cos(0.2), -np.sin(0.2)], [0, np.sin(0.2), np.cos(0.2)]])
    ).ravel()
)
FORMATS = [".nii.gz", ".nrrd", ".mha"]
STEPS = {"read": transforms.ReadLesiond(), "resample": transforms.Resampled((1.0, 1.0, 1.0), pad_voxels=5)}


@pytest.fixture(params=FORMATS)
def files(request, tmp_path) -> dict[str, object]:
    """One scan in a format, oblique and off the origin: a bright blob at voxel (z, y, x) = (11, 20, 27), label 3."""
    z, y, x = np.meshgrid(np.arange(24) - 11, np.arange(44) - 20, np.arange(52) - 27, indexing="ij")
    squared_mm = (z * 2.0) ** 2 + (y * 0.8) ** 2 + (x * 0.9) ** 2
    array = np.rint(2000 * np.exp(-squared_mm / (2 * 3.0**2)) - 1000).astype(np.int16)
    labels = np.where(squared_mm < 5.0**2, 3, 0).astype(np.uint8)
    labels[0, 0, 0] = 1
    paths = {}
    for name, values in (("image", array), ("mask", labels)):
        volume = sitk.GetImageFromArray(values)
        volume.SetSpacing((0.9, 0.8, 2.0))
        volume.SetOrigin(ORIGIN)
        volume.SetDirection(OBLIQUE)
        paths[name] = tmp_path / f"{name}{request.param}"
        sitk.WriteImage(volume, str(paths[name]))
    return {**paths, "label": 3}


def world_of_blob() -> np.ndarray:
    """Return where the middle of the blob lies in LPS mm: origin + direction · spacing · index, worked by hand."""
    return np.array(ORIGIN) + np.array(OBLIQUE).reshape(3, 3) @ (np.array([0.9, 0.8, 2.0]) * [27, 20, 11])


def world_of_weight(tensor) -> np.ndarray:
    """Return the centre of the tensor's weight in LPS mm, by the affine it carries (RAS)."""
    weight = tensor.as_tensor()[0].numpy().astype(float)
    weight = np.clip(weight - weight.min() - 0.2 * np.ptp(weight), 0, None)
    ras = np.asarray(tensor.affine) @ [*center_of_mass(weight), 1.0]
    return ras[:3] * [-1, -1, 1]


def test_a_landmark_keeps_its_place_in_the_world_through_every_step(files):
    steps = {
        **STEPS,
        "crop": transforms.CropLesiond(margin_mm=4.0),
        "window": transforms.Windowd(low=-1000, high=1000),
        "patch": transforms.Patchd(size_voxels=(40, 36, 38), fills={"image": 0.0}),
    }
    data = dict(files)
    for name, step in steps.items():
        data = step(data)
        # The blob is symmetric about its middle; 1 mm voxels and whole numbers blur it by hundredths of a mm.
        np.testing.assert_allclose(world_of_weight(data["image"]), world_of_blob(), atol=0.05, err_msg=name)


def test_the_voxels_of_a_nifti_lie_where_nibabel_says(tmp_path):
    array = np.random.default_rng(0).integers(0, 100, (5, 6, 7)).astype(np.int16)
    volume = sitk.GetImageFromArray(array)
    volume.SetSpacing((0.9, 0.8, 2.0))
    volume.SetOrigin(ORIGIN)
    volume.SetDirection(OBLIQUE)
    sitk.WriteImage(volume, str(tmp_path / "image.nii.gz"))
    theirs = nibabel.load(tmp_path / "image.nii.gz")

    ours = transforms.to_tensor(read_image(tmp_path / "image.nii.gz"))

    np.testing.assert_array_equal(ours.as_tensor()[0].numpy(), np.asarray(theirs.dataobj).transpose(2, 1, 0))
    affine = np.asarray(ours.affine)
    for x, y, z in [(0, 0, 0), (6, 0, 0), (0, 5, 0), (3, 2, 4)]:
        # NIfTI stores its affine in single precision: 1e-4 mm in 800.
        np.testing.assert_allclose(affine @ [z, y, x, 1.0], theirs.affine @ [x, y, z, 1.0], atol=2e-4)


def test_images_come_back_from_tensors_as_they_were(files):
    image = read_image(files["image"])

    back = transforms.to_image(transforms.to_tensor(image))

    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(image))
    for what in ("GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(back, what)(), getattr(image, what)(), rtol=1e-14, atol=1e-14)


def test_the_transforms_return_what_the_functions_return(files):
    image, mask = resample(read_image(files["image"]), read_mask(files["mask"]), label=3, pad_voxels=5)
    cut = crop(image, mask, margin_mm=4.0)
    array, lesion = (sitk.GetArrayFromImage(one) for one in cut)
    lesion = lesion != 0
    ring = ring_mask(lesion, (1, 1, 1), 1.5, 2.0, air_mask(array, lesion, -500.0))

    data = transforms.compose(
        {
            **STEPS,
            "crop": transforms.CropLesiond(margin_mm=4.0),
            "ring": transforms.Ringd(inner_mm=1.5, outer_mm=2.0, exclude_below=-500.0),
            "z_score": transforms.ZScored(above=-900.0),
            "window": transforms.Windowd(low=-1.0, high=2.0),
            "patch": transforms.Patchd((16, 20, 40), {"image": 0.5, "ring": 0.0}),
        }
    )(files)

    scored = unit_range(z_score(array, array > -900.0), -1.0, 2.0)
    for key, values, fill in [("image", scored, 0.5), ("mask", lesion.astype(np.uint8), 0), ("ring", ring, 0)]:
        assert data[key].shape == (1, 16, 20, 40)
        np.testing.assert_array_equal(data[key][0].numpy(), lesion_patch(values, lesion, (16, 20, 40), fill))


def test_resampling_agrees_with_the_scan_interpolated_at_the_same_points_of_the_world(files):
    before = transforms.ReadLesiond()(files)
    after = transforms.Resampled((1.0, 1.0, 1.0), pad_voxels=3)(before)
    grid = np.indices(after["image"].shape[1:]).reshape(3, -1)
    homogeneous = np.vstack([grid, np.ones(grid.shape[1])])
    places = np.linalg.inv(np.asarray(before["image"].affine)) @ np.asarray(after["image"].affine) @ homogeneous

    wanted = map_coordinates(before["image"][0].numpy().astype(float), places[:3], order=3, mode="mirror")

    assert after["image"].dtype == torch.int16  # so that a fraction is cut off, towards zero
    np.testing.assert_allclose(after["image"].numpy().ravel(), wanted, atol=1.0)


def test_monai_spacing_puts_the_blob_at_the_same_place(files):
    before = transforms.ReadLesiond()(files)
    before["image"] = before["image"].to(torch.float32)

    theirs = Spacingd(["image"], pixdim=(1.0, 1.0, 1.0), mode="bilinear")(before)

    np.testing.assert_allclose(world_of_weight(theirs["image"]), world_of_blob(), atol=0.1)  # linear, not cubic


def test_only_the_wanted_label_is_the_lesion(files):
    data = transforms.ReadLesiond()(files)
    assert set(np.unique(data["mask"].numpy())) == {0, 1}
    assert data["mask"][0, 0, 0, 0] == 0
    assert data["mask"][0, 11, 20, 27] == 1


def test_a_label_that_is_absent_is_told_with_the_file(files):
    with pytest.raises(ValueError, match=r"mask\..*: the mask has no voxel of label 9"):
        transforms.ReadLesiond()({**files, "label": 9})


def test_a_mask_on_other_voxels_than_the_image_is_told(files, tmp_path):
    shifted = read_mask(files["mask"])
    shifted.SetOrigin((0.0, 0.0, 0.0))
    sitk.WriteImage(shifted, str(tmp_path / "shifted.nrrd"))
    with pytest.raises(ValueError, match="mm apart"):
        transforms.ReadLesiond()({**files, "mask": tmp_path / "shifted.nrrd"})


def test_an_image_of_unsigned_16_bits_becomes_a_tensor_that_torch_can_reckon_with():
    image = sitk.GetImageFromArray(np.full((2, 2, 2), 65_000, np.uint16))
    assert transforms.to_tensor(image).dtype == torch.int32
    assert int(transforms.to_tensor(image).max()) == 65_000


def test_a_step_switched_off_is_left_out(files):
    data = transforms.compose({**STEPS, "resample": None})(files)
    assert data["image"].shape == (1, 24, 44, 52)


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_gives_a_patch_of_finite_numbers(path, files):
    config = OmegaConf.load(path)
    settings = build(config)

    data = run(settings, {**files, "image:PET": files["image"]})

    assert not target_faults(config)
    assert data["patch"].shape == (len(config.channels), *config.size_voxels)
    assert torch.isfinite(data["patch"]).all()
    for channel, kind in zip(data["patch"], settings.kinds.values(), strict=True):
        assert channel.max() > channel.min()
        assert kind != "mask" or set(np.unique(channel)) == {0.0, 1.0}


def run(settings, data, first="CT"):
    for step in transforms.patch_steps(settings, first).transforms:
        data = step(data)
    return data


def patch_of(settings, data, first="CT") -> np.ndarray:
    return run(settings, data, first)["patch"].numpy()


def test_channels_stand_in_the_order_they_are_written_and_are_what_the_functions_return(files):
    channels = {
        "ring": RingChannel(1.5, 2.0, exclude_below=-500.0),
        "wide": WindowChannel(-1000, 1000),
        "distance": DistanceChannel(5.0),
        "narrow": WindowChannel(-900, -100),
        "lesion": LesionChannel(),
        "again": LesionChannel(),
        "about": LesionWindowChannel(300.0),
        "within": LesionWindowChannel(300.0, within=True),
    }
    size = (18, 26, 40)

    data = run(PatchSettings(size, (1.0, 1.0, 1.0), channels), files)

    pair = read_image(files["image"]), read_mask(files["mask"])
    image, _ = resample(*pair, label=3, pad_voxels=60)
    _, mask = resample(*pair, label=3, pad_voxels=5)  # as radiomics has it
    array = sitk.GetArrayFromImage(image)
    lesion = sitk.GetArrayFromImage(sitk.Resample(mask, image, sitk.Transform(), sitk.sitkNearestNeighbor)) != 0
    wanted = [
        (ring_mask(lesion, (1, 1, 1), 1.5, 2.0, air_mask(array, lesion, -500.0)), 0),
        (np.clip((array + 1000.0) / 2000, 0, 1), 0),
        (np.clip(slow_distance(lesion), -5, 5) / 5, 1),
        (np.clip((array + 900.0) / 800, 0, 1), 0),
        (lesion, 0),
        (lesion, 0),
        (np.clip((array - np.median(array[lesion])) / 150.0, -1, 1), 0),
        (np.where(lesion, np.clip((array - np.median(array[lesion])) / 150.0, -1, 1), 0), 0),
    ]
    for found, (values, fill) in zip(data["patch"].numpy(), wanted, strict=True):
        # Single precision holds 0 … 1 to 6e-8.
        np.testing.assert_allclose(found, lesion_patch(values.astype(float), lesion, size, fill), atol=1e-7)


def slow_distance(lesion) -> np.ndarray:
    """Return the signed distance in voxels between centres, by a tree of all lesion and all other voxels."""
    points = np.argwhere(np.ones_like(lesion))
    to_inside = KDTree(np.argwhere(lesion)).query(points)[0].reshape(lesion.shape)
    to_outside = KDTree(np.argwhere(~lesion)).query(points)[0].reshape(lesion.shape)
    return np.where(lesion, -to_outside, to_inside)


def ball(folder, radius_mm=9.0, centre_mm=(20.0, 20.0, 20.0), spacing_mm=(1.0, 1.0, 1.0), shape=(41, 41, 41)) -> dict:
    """A bright ball in noise, label 1, written as files; all (Z, Y, X)."""
    z, y, x = np.meshgrid(
        *[np.arange(size) * step for size, step in zip(shape, spacing_mm, strict=True)], indexing="ij"
    )
    squared_mm = sum((axis - at) ** 2 for axis, at in zip((z, y, x), centre_mm, strict=True))
    lesion = squared_mm <= radius_mm**2
    image = 100 * lesion + np.random.default_rng(0).integers(-60, 60, shape)
    files = {}
    for name, array in (("image", image.astype(np.int16)), ("mask", lesion.astype(np.uint8))):
        volume = sitk.GetImageFromArray(array)
        volume.SetSpacing(spacing_mm[::-1])
        files[name] = folder / f"{name}.nrrd"
        sitk.WriteImage(volume, str(files[name]))
    return files


@pytest.mark.parametrize("clip_mm", [4.0, 32.0])
def test_the_distance_map_of_a_ball_is_its_radius_less_than_the_distance_to_its_centre(tmp_path, clip_mm):
    channels = {"distance": DistanceChannel(clip_mm)}

    found = patch_of(PatchSettings((31, 31, 31), (1.0, 1.0, 1.0), channels), ball(tmp_path))[0]

    side = np.arange(-15, 16)
    centre_mm = np.sqrt(sum(axis**2 for axis in np.meshgrid(side, side, side)))
    wanted = np.clip(centre_mm - 9.0, -clip_mm, clip_mm)
    # The map runs between centres: up to the diagonal of a voxel, 1.74 mm, beyond the ball's own border.
    assert np.abs(found * clip_mm - wanted).max() < np.sqrt(3)
    np.testing.assert_array_equal(np.sign(found), np.where(centre_mm <= 9.0, -1, 1))


@pytest.mark.parametrize("at", [0.3, 0.5, 0.62])
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (3.0, 0.75, 0.75)], ids=["isotropic", "thick slices"])
def test_the_lesion_lies_in_the_middle_of_its_patch(tmp_path, spacing_mm, at):
    shape = tuple(int(60 / step) for step in spacing_mm)
    files = ball(tmp_path, 9.0, (60 * at, 30.0, 33.0), spacing_mm, shape)

    found = patch_of(PatchSettings((32, 32, 32), (1.0, 1.0, 1.0), {"lesion": LesionChannel()}), files)[0]

    places = np.argwhere(found)
    # Of a patch of 32 voxels the middle lies at 15.5; a box of an odd number of voxels lies half a voxel beside it.
    assert np.abs((places.min(axis=0) + places.max(axis=0)) / 2 - 15.5).max() <= 0.5


def test_a_ball_scanned_in_thick_slices_is_round_in_its_patch(tmp_path):
    files = ball(tmp_path, 9.0, (30.0, 30.0, 33.0), (3.0, 0.75, 0.75), (20, 80, 80))

    found = patch_of(PatchSettings((32, 32, 32), (1.0, 1.0, 1.0), {"lesion": LesionChannel()}), files)[0]

    extent = np.ptp(np.argwhere(found), axis=0) + 1
    # 18 mm; a mask of the nearest voxel is off by up to a slice of the scan.
    assert np.abs(extent - 18).max() <= 3
    assert found.sum() == pytest.approx(4 / 3 * np.pi * 9**3, rel=0.05)


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (2.0, 0.5, 0.5)], ids=["isotropic", "thick slices"])
def test_a_scan_moved_by_whole_voxels_gives_the_same_patch(tmp_path, spacing_mm):
    shape = tuple(int(72 / step) for step in spacing_mm)
    files = ball(tmp_path, 7.0, (30.0, 30.0, 33.0), spacing_mm, shape)
    channels = {"window": WindowChannel(-160, 240), "ring": RingChannel(2, 2), "distance": DistanceChannel(9.0)}
    settings = PatchSettings((24, 24, 24), (1.0, 1.0, 1.0), channels)
    before = patch_of(settings, files)

    for name in ("image", "mask"):
        volume = sitk.ReadImage(str(files[name]))
        moved = sitk.GetImageFromArray(np.roll(sitk.GetArrayFromImage(volume), (4, -8, 6), axis=(0, 1, 2)))
        moved.SetSpacing(volume.GetSpacing())
        moved.SetOrigin((-300.0, 12.5, 700.0))
        sitk.WriteImage(moved, str(files[name]))
    after = patch_of(settings, files)

    np.testing.assert_array_equal(after[1:], before[1:])
    # An interpolated value of a whole number may be cut off to the one below: 1 HU of 400.
    assert np.abs(after[0] - before[0]).max() <= (0 if spacing_mm == (1.0, 1.0, 1.0) else 1 / 400 + 1e-6)


@pytest.mark.parametrize("larger", ["crop", "fit"])
def test_a_lesion_larger_than_the_patch_is_cut_or_made_to_fit_and_told(tmp_path, larger):
    files = ball(tmp_path, 15.0)
    channels = {"lesion": LesionChannel()}
    settings = PatchSettings((20, 20, 20), (1.0, 1.0, 1.0), channels, larger=larger, margin_mm=2.0)

    data = run(settings, files)

    found, spacing_mm = data["patch"][0].numpy(), transforms.spacing_mm(data["patch"])
    if larger == "crop":
        assert spacing_mm == (1.0, 1.0, 1.0)
        side = np.arange(-10, 10)  # of 20 voxels the middle one is the eleventh
        cut = sum(axis**2 for axis in np.meshgrid(side, side, side)) <= 15**2
        np.testing.assert_array_equal(found, cut)
        lost = 100 * (1 - cut.sum() / sitk.GetArrayFromImage(sitk.ReadImage(str(files["mask"]))).sum())
        assert data["remarks"] == (f"larger than the patch: {lost:.2g} % of the lesion cut off",)
    else:
        assert spacing_mm == pytest.approx((35 / 20,) * 3)  # a box of 31 mm and 2 mm on either side, by 20 voxels
        assert found.sum() * (35 / 20) ** 3 == pytest.approx(4 / 3 * np.pi * 15**3, rel=0.05)
        assert not any(found[edge].any() for edge in (0, -1))
        assert data["remarks"] == ("larger than the patch at 1 × 1 × 1 mm: made to fit",)


@pytest.mark.parametrize("settings", [{}, {"margin_mm": 2.0}])
def test_a_lesion_that_fits_keeps_its_spacing(tmp_path, settings):
    data = run(PatchSettings((32, 32, 32), (1.0, 1.0, 1.0), {"l": LesionChannel()}, "fit", **settings), ball(tmp_path))
    assert transforms.spacing_mm(data["patch"]) == (1.0, 1.0, 1.0)
    assert "remarks" not in data


def uptake(folder, direction=(1, 0, 0, 0, 1, 0, 0, 0, 1), origin=(2.0, 3.0, 4.0), spacing_mm=2.5, size=14):
    """A second image, on voxels of its own, whose value at a place (x, y, z) in mm is 100 + x + 2 y + 3 z."""
    volume = sitk.Image(size, size, size, sitk.sitkFloat32)
    volume.SetSpacing((spacing_mm,) * 3)
    volume.SetOrigin(origin)
    volume.SetDirection(direction)
    for place in np.ndindex(size, size, size):
        x, y, z = volume.TransformIndexToPhysicalPoint(place)
        volume[place] = 100 + x + 2 * y + 3 * z
    sitk.WriteImage(volume, str(folder / "pet.nrrd"))
    return folder / "pet.nrrd"


TURNED = (np.cos(0.2), -np.sin(0.2), 0.0, np.sin(0.2), np.cos(0.2), 0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize("direction", [(1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0), TURNED], ids=["straight", "turned"])
def test_a_second_image_is_brought_to_the_voxels_of_the_first(tmp_path, direction):
    files = ball(tmp_path)
    channels = {"uptake": WindowChannel(0.0, 400.0, image="PET"), "lesion": LesionChannel()}
    origin = (-10.0, -10.0, -10.0)
    files["image:PET"] = uptake(tmp_path, direction, origin, size=24)

    found = patch_of(PatchSettings((10, 10, 10), (1.0, 1.0, 1.0), channels), files)[0]

    z, y, x = np.meshgrid(*[np.arange(15, 25)] * 3, indexing="ij")  # the patch around the voxel 20, 20, 20
    # A spline gives back a plane but for the mirrored border, which fades as 0.268 per voxel: 7 voxels away, 1e-4.
    np.testing.assert_allclose(found * 400, 100 + x + 2 * y + 3 * z, atol=0.05)


def test_a_second_image_that_is_not_there_is_zero_and_told(tmp_path):
    channels = {"ct": WindowChannel(-160, 240), "uptake": WindowChannel(-9, 9, "PET"), "z": ZScoreChannel(0, "PET")}
    settings = PatchSettings((24, 24, 24), (1.0, 1.0, 1.0), channels)

    absent = run(settings, {**ball(tmp_path), "image:PET": None})
    elsewhere = run(settings, {**ball(tmp_path), "image:PET": uptake(tmp_path, origin=(900.0, 0.0, 0.0))})

    assert absent["remarks"] == ("no PET: its channels are 0",)
    assert elsewhere["remarks"][0] == "PET does not reach the lesion: its channels are 0"
    for data in (absent, elsewhere):
        assert data["patch"][0].any()
        assert not data["patch"][1:].any()


def test_a_second_image_holds_its_lowest_value_where_it_does_not_reach(tmp_path):
    files = ball(tmp_path)
    files["image:PET"] = uptake(tmp_path, origin=(20.0, 0.0, 0.0), size=20)

    found = patch_of(
        PatchSettings((10, 10, 10), (1.0, 1.0, 1.0), {"uptake": WindowChannel(0.0, 400.0, image="PET")}), files
    )[0]

    # It begins half a voxel of 2.5 mm before x = 20, so x = 15 … 18 lie beyond it; 120 is its value at its corner.
    np.testing.assert_allclose(found[..., :4] * 400, 120.0, atol=1e-4)
    assert found[..., 4:].min() * 400 > 120


def test_a_z_score_is_taken_over_the_whole_scan_before_resampling(tmp_path):
    files = ball(tmp_path)
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(files["image"]))).astype(float)
    above = array[array > 0]

    found = patch_of(PatchSettings((20, 20, 20), (1.0, 1.0, 1.0), {"z": ZScoreChannel(0.0)}), files)[0]

    wanted = ((array - above.mean()) / above.std())[10:30, 10:30, 10:30]
    np.testing.assert_allclose(found, wanted, atol=1e-5)  # single precision, through the spline's coefficients


def test_values_that_are_no_numbers_are_told_with_the_channel(tmp_path):
    files = ball(tmp_path)
    image = sitk.Cast(sitk.ReadImage(str(files["image"])), sitk.sitkFloat32)
    image[20, 20, 20] = np.nan
    sitk.WriteImage(image, str(files["image"]))
    settings = PatchSettings((20, 20, 20), (1.0, 1.0, 1.0), {"soft": WindowChannel(-160, 240), "l": LesionChannel()})
    with pytest.raises(ValueError, match=r"are no numbers \(NaN or infinite\): soft$"):
        patch_of(settings, files)


def test_a_lesion_without_background_is_refused(tmp_path):
    files = ball(tmp_path, radius_mm=99.0)
    with pytest.raises(ValueError, match="the lesion fills the whole image, no background is left"):
        transforms.ReadLesiond()(files)


def test_lesions_of_one_scan_read_it_once(tmp_path):
    files, read = ball(tmp_path), transforms.ReadLesiond()
    first = read(files)
    files["image"].unlink()
    np.testing.assert_array_equal(read(files)["image"].numpy(), first["image"].numpy())


def test_the_lesion_is_the_one_that_radiomics_measures_and_the_ring_the_one_along_it(scans):
    channels = {"lesion": LesionChannel(), "ring": RingChannel(2.0, 2.0, exclude_below=-300.0)}
    settings = PatchSettings((64, 64, 64), (1.0, 1.0, 1.0), channels)
    for files in scans:
        pair = read_image(files["image"]), read_mask(files["mask"])
        image, mask = region_on_grid(*pair, 1, "lesion", ExtractionSettings("as the patch"))
        array, lesion = sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(mask) != 0
        ring = ring_mask(lesion, (1, 1, 1), 2.0, 2.0, air_mask(array, lesion, -300.0))

        found = patch_of(settings, files)

        assert found[1].sum() == ring.sum() > 0
        for channel, region in zip(found, (lesion, ring), strict=True):
            np.testing.assert_array_equal(channel, lesion_patch(region, lesion, (64, 64, 64), 0))


def test_masks_are_resampled_with_the_pad_of_radiomics():
    assert transforms.MASK_PAD_VOXELS == PAD_VOXELS


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> list[dict]:
    """Lesions of a simulated CT."""
    folder = tmp_path_factory.mktemp("simulated")
    simulate(simulation_settings("small", n=2, covariates="pooled", max_lesions=2), folder)
    rows = pd.read_csv(folder / "lesions.csv")
    return [{"image": folder / one.image, "mask": folder / one.mask, "label": 1} for one in rows.itertuples()]


def test_a_dicom_series_with_a_named_region_is_read_as_other_files_are(tmp_path):
    images = slices(np.random.default_rng(0).integers(-50, 90, (6, 12, 14)).astype(np.int16), (2.5, 0.9, 0.8))
    lesion = np.zeros((6, 12, 14), bool)
    lesion[2:4, 3:8, 5:9] = True
    write_series(tmp_path / "ct", images)
    write(segmentation(images, lesion[None], labels=["metastasis"]), tmp_path / "seg.dcm")

    data = transforms.ReadLesiond()(
        {"image": tmp_path / "ct", "mask": tmp_path / "seg.dcm", "roi_name": "metastasis", "label": 1}
    )

    np.testing.assert_array_equal(data["mask"][0].numpy(), lesion)
    np.testing.assert_array_equal(data["image"][0].numpy(), np.stack([one.pixel_array for one in images]))
