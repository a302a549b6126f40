import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from highdicom.legacy import LegacyConvertedEnhancedCTImage
from pydicom.dataset import Dataset

from dicoms import CORONAL, OBLIQUE, STRAIGHT, segmentation, slices, structures, uid, write, write_series
from radnet.data.dicom import read_series


def noise(shape=(6, 8, 9), dtype=np.int16, low=-1000, high=1000):
    return np.random.default_rng(0).integers(low, high, shape).astype(dtype)


def by_itk(folder) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def assert_same_volume(found, wanted, rtol=0.0):
    np.testing.assert_allclose(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(wanted), rtol=rtol)
    np.testing.assert_allclose(found.GetOrigin(), wanted.GetOrigin(), atol=1e-6)
    np.testing.assert_allclose(found.GetSpacing(), wanted.GetSpacing(), atol=1e-6)
    np.testing.assert_allclose(found.GetDirection(), wanted.GetDirection(), atol=1e-6)


@pytest.mark.parametrize("orientation", [STRAIGHT, OBLIQUE, CORONAL], ids=["axial", "oblique", "coronal"])
@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.uint8], ids=str)
def test_a_series_comes_as_itk_reads_it_whatever_its_files_are_called(orientation, dtype, tmp_path):
    array = noise(dtype=dtype, low=0, high=200)
    write_series(tmp_path, slices(array, orientation=orientation))

    found = read_series(tmp_path)

    assert_same_volume(found, by_itk(tmp_path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), array)
    assert sitk.GetArrayViewFromImage(found).dtype == dtype


def test_whole_slopes_keep_whole_numbers_and_others_make_real_ones(tmp_path):
    array = noise(dtype=np.uint16, low=0, high=4000)
    pet = slices(array, modality="PT")
    for number, one in enumerate(pet):
        one.RescaleSlope = 0.5 + number

    ct = read_series(write_series(tmp_path / "ct", slices(array, intercept=-1024)))
    spect = read_series(write_series(tmp_path / "spect", slices(array, slope=100)))
    found = read_series(write_series(tmp_path / "pet", pet))

    assert ct.GetPixelID() == sitk.sitkInt16
    np.testing.assert_array_equal(sitk.GetArrayFromImage(ct), array.astype(int) - 1024)
    assert spect.GetPixelID() == sitk.sitkInt32
    np.testing.assert_array_equal(sitk.GetArrayFromImage(spect), array.astype(int) * 100)
    assert found.GetPixelID() == sitk.sitkFloat32
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), array * (0.5 + np.arange(6))[:, None, None])


def test_an_enhanced_file_is_the_series_it_was_made_of(tmp_path):
    single = slices(noise(), orientation=OBLIQUE, intercept=-1000)
    enhanced = LegacyConvertedEnhancedCTImage(single, uid("enhanced"), 3, uid("enhanced", 1), 1)

    found = read_series(write(enhanced, tmp_path / "enhanced.dcm"))

    assert_same_volume(found, read_series(write_series(tmp_path / "single", single)))


@pytest.mark.parametrize("step", [2.5, -2.5], ids=["behind the first", "in front of the first"])
def test_a_reconstructed_nuclear_image_is_stacked_to_the_side_its_spacing_tells(step, tmp_path):
    array = noise(low=0, dtype=np.uint16)
    one = slices(array[:1], modality="NM")[0]
    detector = Dataset()
    detector.ImagePositionPatient, detector.ImageOrientationPatient = one.ImagePositionPatient, list(STRAIGHT)
    del one.ImagePositionPatient, one.ImageOrientationPatient
    one.DetectorInformationSequence, one.NumberOfFrames, one.SpacingBetweenSlices = [detector], len(array), step
    one.PixelData = array.tobytes()

    found = read_series(write(one, tmp_path / "nm.dcm"))

    assert found.GetSpacing() == (0.8, 0.7, 2.5)
    first = found.TransformPhysicalPointToIndex((-20.0, 5.0, 100.0))
    assert first == (0, 0, 0 if step > 0 else 5)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), array if step > 0 else array[::-1])


@pytest.mark.parametrize("intercept", [0, -1024])
def test_lossless_jpeg_is_read(intercept, tmp_path):
    array = noise((1, 16, 16), low=0)
    writer = sitk.ImageFileWriter()
    writer.UseCompressionOn()
    writer.SetCompressor("JPEG")
    writer.SetFileName(str(tmp_path / "one.dcm"))
    image = sitk.GetImageFromArray(array + np.int16(intercept))
    for key, value in {"0028|1052": str(intercept), "0028|1053": "1", "0018|0050": "2.5", "0008|0060": "CT"}.items():
        image.SetMetaData(key, value)
    image.SetMetaData("0020|0032", "0\\0\\0")
    image.SetMetaData("0020|0037", "1\\0\\0\\0\\1\\0")
    writer.Execute(image)

    found = read_series(tmp_path)

    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), array + intercept)


def test_masks_and_other_files_beside_the_images_are_not_looked_at(tmp_path):
    images = slices(noise())
    write_series(tmp_path, images)
    write(segmentation(images, [noise() > 0]), tmp_path / "seg.dcm")
    write(structures(images, {"GTV": []}), tmp_path / "rs.dcm")
    (tmp_path / "LICENSE").write_text("CC BY")
    (tmp_path / "more").mkdir()

    assert read_series(tmp_path).GetSize() == (9, 8, 6)


def test_positions_rounded_to_a_decimal_are_even_enough(tmp_path):
    write_series(tmp_path, slices(noise((40, 4, 4)), positions=np.round(np.arange(40) * 1.25, 1)))
    assert read_series(tmp_path).GetSpacing()[2] == pytest.approx(1.25, abs=0.003)


def test_a_lone_slice_is_as_thick_as_it_tells(tmp_path):
    assert read_series(write_series(tmp_path, slices(noise((1, 4, 4))))).GetSpacing() == (0.8, 0.7, 2.5)


def told(datasets, folder) -> str:
    with pytest.raises(ValueError) as fault:
        read_series(write_series(folder, datasets))
    assert str(fault.value).startswith(f"{folder}: ")
    return str(fault.value)


@pytest.mark.parametrize("orientation", [STRAIGHT, OBLIQUE], ids=["axial", "oblique"])
def test_missing_slices_are_named_with_their_neighbours(orientation, tmp_path):
    images = slices(noise((8, 4, 4)), orientation=orientation, origin=(0.0, 0.0, -10.0))
    del images[2:4]
    message = told(images, tmp_path)
    assert (
        "slices are missing (spacing 2.5 mm): 2 between IM005.dcm (at -7.50 mm) and IM004.dcm (at 0.00 mm)" in message
    )
    assert "uneven" not in message


def test_of_three_slices_the_fourth_is_missed(tmp_path):
    assert "1 between IM002.dcm" in told(slices(noise((3, 4, 4)), positions=[0.0, 2.5, 7.5]), tmp_path)


def test_slices_of_one_position_are_named(tmp_path):
    images = slices(noise((5, 4, 4)), positions=[0.0, 2.5, 2.5, 5.0, 7.5])
    message = told(images, tmp_path)
    assert "slices of the same position" in message
    assert "IM003.dcm and IM004.dcm (at 102.50 mm)" in message
    assert "missing" not in message
    assert "uneven" not in message


def test_uneven_spacing_is_named(tmp_path):
    message = told(slices(noise((5, 4, 4)), positions=[0.0, 2.5, 5.0, 8.1, 10.6]), tmp_path)
    assert "the slices are unevenly spaced (tolerance 0.1 mm), 2.5 mm at the median" in message
    assert "3.1 mm from IM003.dcm (at 105.00 mm) to IM002.dcm (at 108.10 mm)" in message


def test_all_faults_of_a_stack_are_told_at_once(tmp_path):
    message = told(slices(noise((7, 4, 4)), positions=[0.0, 2.5, 2.5, 5.0, 10.0, 12.5, 15.9]), tmp_path)
    for fault in ("same position", "missing", "unevenly spaced"):
        assert fault in message


@pytest.mark.parametrize("angle", [2.0, 12.0, -20.0])
def test_gantry_tilt_is_told_with_its_angle(angle, tmp_path):
    images = slices(noise((8, 4, 4)))
    for number, one in enumerate(images):
        shift = number * 2.5 * np.tan(np.radians(angle))
        one.ImagePositionPatient = [-20.0, round(5.0 + shift, 6), 100.0 + number * 2.5]
    assert f"stacked at {abs(angle):.2f}° to their normal" in told(images, tmp_path)


def test_a_slice_beside_the_others_is_named(tmp_path):
    images = slices(noise())
    images[3].ImagePositionPatient = [-18.0, 5.0, 107.5]
    assert "shifted sideways against IM006.dcm (tolerance 0.1 mm): IM003.dcm (at 107.50 mm) by 2.00 mm" in told(
        images, tmp_path
    )


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"ImageOrientationPatient": list(CORONAL)}, "differ in orientation, most have (1, 0, 0, 0, 1, 0): IM003.dcm"),
        ({"PixelSpacing": [0.7, 0.9]}, "differ in pixel spacing (mm), most have (0.7, 0.8): IM003.dcm"),
        ({"Rows": 4, "PixelData": bytes(72)}, "differ in size (rows, columns), most have (8, 9): IM003.dcm"),
        ({"FrameOfReferenceUID": "1.2.3"}, "the slices lie in 2 frames of reference"),
        ({"ImagePositionPatient": None}, "IM003.dcm: ImagePositionPatient is None, expected 3 numbers"),
        ({"SamplesPerPixel": 3}, "IM003.dcm: 3 values per pixel (colour), expected 1"),
        ({"ModalityLUTSequence": []}, "IM003.dcm: values are mapped by a table"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_slice_unlike_the_others_is_named(change, fault, tmp_path):
    images = slices(noise())
    for keyword, value in change.items():
        setattr(images[3], keyword, value)
    assert fault in told(images, tmp_path)


def test_two_series_in_a_folder_are_told_by_their_uids(tmp_path):
    message = told([*slices(noise()), *slices(noise((2, 4, 4)), series="b", modality="MR")], tmp_path)
    assert "2 image series, expected one" in message
    assert f"{uid('a')} (CT, 6 files)" in message
    assert f"{uid('b')} (MR, 2 files)" in message


def test_a_folder_without_dicom_is_told(tmp_path):
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(ValueError, match="holds no DICOM image"):
        read_series(tmp_path)


def test_a_file_that_only_is_called_dicom_is_named(tmp_path):
    write_series(tmp_path, slices(noise()))
    (tmp_path / "IM003.dcm").write_text("hello")
    with pytest.raises(ValueError, match=r"no DICOM files, though they are called so: IM003\.dcm"):
        read_series(tmp_path)


def test_half_a_file_is_named(tmp_path):
    write_series(tmp_path, slices(noise((6, 64, 64))))
    content = (tmp_path / "IM003.dcm").read_bytes()
    (tmp_path / "IM003.dcm").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"IM003\.dcm: the pixels cannot be read"):
        read_series(tmp_path)


def test_one_slice_of_a_series_is_not_taken_for_it(tmp_path):
    write_series(tmp_path, slices(noise()))
    with pytest.raises(ValueError, match="one slice of a series; name the folder"):
        read_series(tmp_path / "IM001.dcm")


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone: no such DICOM folder or file"):
        read_series(tmp_path / "gone")


SHARED_SERIES = {
    "CT": "dicom_seg/ct-3slice",
    "CT with RTSTRUCT": "sts_dicom_rtstruct/STS_003/CT/dicom/image",
    "MR": "sts_dicom_rtstruct/STS_003/MR_T1/dicom/image",
    "PET": "sts_dicom_rtstruct/STS_003/PET/dicom/image",
    "SPECT": "multilesion_spect_rtstruct/image",
}


@pytest.mark.parametrize("name", SHARED_SERIES.values(), ids=SHARED_SERIES.keys())
def test_a_series_of_a_scanner_comes_as_itk_reads_it(name, shared):
    folder = shared / "data" / name
    assert_same_volume(read_series(folder), by_itk(folder), rtol=1e-7)  # a PET's real numbers come in 32 bits


def test_the_ct_phantom_of_ibsi_is_its_nifti(shared):
    folder = shared / "data" / "ibsi1" / "ct_phantom"
    wanted = sitk.ReadImage(str(folder / "nifti" / "image" / "phantom.nii.gz"))
    assert_same_volume(read_series(folder / "dicom" / "image"), wanted)


@pytest.mark.parametrize("size", ["23x38x3", "24x38x3"])
def test_a_multi_frame_file_of_another_maker_is_its_series(size, shared):
    folder = shared / "data" / "dicom_seg" / size
    assert_same_volume(read_series(folder / "multiframe" / "mf.dcm"), read_series(folder / "image"))
