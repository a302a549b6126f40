import pytest
import SimpleITK


@pytest.fixture
def volume_of():
    """Read the voxels of an image."""
    return lambda path: SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
