from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy.ndimage import center_of_mass, map_coordinates

pytest.importorskip("monai", reason='the transforms need the extra "train"')

import torch
from hydra.utils import instantiate
from monai.transforms import Spacingd
from omegaconf import OmegaConf

from dicoms import segmentation, slices, write, write_series
from radnet.imaging import transforms
from radnet.imaging.patch import lesion_patch
from radnet.imaging.preprocess import crop, read_image, read_mask, resample, unit_range, z_score
from radnet.imaging.region import air_mask, ring_mask

CONF = Path(__file__).parents[2] / "conf" / "imaging"
ORIGIN = (-117.3, 42.9, 801.25)
OBLIQUE = tuple(
    (
        np.array([[np.cos(0.3), -np.sin(0.3), 0], [np.sin(0.3), np.cos(0.3), 0], [0, 0, 1]])
        @ np.array([[1, 0, 0], [0, np.cos(0.2), -np.sin(0.2)], [0, np.sin(0.2), np.cos(0.2)]])
    ).ravel()
)
FORMATS = [".nii.gz", ".nrrd", ".mha"]
STEPS = {"read": transforms.ReadLesiond(), "resample": transforms.Resampled((1.0, 1.0, 1.0), pad_voxels=8)}


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
        "crop": transforms.CropLesiond(margin_mm=7.0),
        "window": transforms.Windowd(low=-1000, high=1000),
        "patch": transforms.Patchd(size_voxels=(40, 36, 38), fill=0.0),
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
    image, mask = resample(read_image(files["image"]), read_mask(files["mask"]), label=3, pad_voxels=8)
    cut = crop(image, mask, margin_mm=7.0)
    array, lesion = (sitk.GetArrayFromImage(one) for one in cut)
    lesion = lesion != 0
    ring = ring_mask(lesion, (1, 1, 1), 1.5, 2.0, air_mask(array, lesion, -500.0))

    data = transforms.compose(
        {
            **STEPS,
            "crop": transforms.CropLesiond(margin_mm=7.0),
            "ring": transforms.Ringd(inner_mm=1.5, outer_mm=2.0, exclude_below=-500.0),
            "z_score": transforms.ZScored(above=-900.0),
            "window": transforms.Windowd(low=-1.0, high=2.0),
            "patch": transforms.Patchd((16, 20, 40), fill=0.5, other_mask_keys=("ring",)),
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
    data = instantiate(OmegaConf.load(path))(files)

    assert data["image"].shape == data["mask"].shape == (1, 64, 64, 64)
    assert torch.isfinite(data["image"]).all()
    assert data["image"].max() > data["image"].min()


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
