"""Shape against pyradiomics, closed forms, every pair of vertices, and laws."""

import logging
import math
from itertools import combinations, permutations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy.ndimage import gaussian_filter

from radnet.radiomics.engine.region import Region
from radnet.radiomics.engine.shape import shape

MM = (1.0, 1.0, 1.0)


def blob(seed, size=(17, 20, 23), share=0.3, smooth=2.0):
    noise = np.random.default_rng(seed).standard_normal(size)
    smoothed = gaussian_filter(noise, smooth) if smooth else noise
    return smoothed > np.quantile(smoothed, 1 - share)


def block(size, box=(8, 9, 10)):
    mask = np.zeros(box, dtype=bool)
    mask[tuple(slice(1, 1 + side) for side in size)] = True
    return mask


def at_voxels(*voxels):
    mask = np.zeros((6, 6, 6), dtype=bool)
    mask[tuple(np.transpose(voxels))] = True
    return mask


LESIONS = {
    "smooth": (blob(0), (1.0, 1.0, 1.0)),
    "thick slices": (blob(1), (5.0, 0.7, 0.7)),
    "three spacings": (blob(2, share=0.5), (1.3, 0.8, 2.1)),
    "noise, every case of a cube": (blob(3, share=0.5, smooth=0.0), (1.5, 1.1, 0.9)),
    "sparse noise": (blob(4, share=0.04, smooth=0.0), (1.0, 2.0, 3.0)),
    "one slice": (blob(5, size=(1, 30, 30)), (3.0, 0.8, 0.8)),
    "two slices": (blob(6, size=(2, 30, 30)), (3.0, 0.8, 0.7)),
    "one row": (block((1, 1, 6)), (3.0, 0.8, 0.7)),
    "two voxels": (at_voxels((1, 1, 1), (4, 3, 2)), (1.0, 0.7, 0.9)),
    "fills its grid": (np.ones((4, 5, 6), dtype=bool), (1.0, 2.0, 3.0)),
}


@pytest.fixture(scope="session")
def stock_shape():
    stock = pytest.importorskip("radiomics.shape", reason="compares with pyradiomics itself")
    logging.getLogger("radiomics").setLevel(logging.CRITICAL)

    def measured(region):
        mask = sitk.GetImageFromArray(region.inside.astype(np.uint8))
        mask.SetSpacing(region.spacing_mm[::-1])
        features = stock.RadiomicsShape(mask, mask, label=1)
        features.enableAllFeatures()
        return {name: float(value) for name, value in features.execute().items()}

    return measured


def assert_equal_features(found, wanted):
    assert list(found) == sorted(wanted, key=list(found).index)
    for name, value in found.items():
        # 1e-7: an axis of no extent is 0 here and √(rounding noise) in pyradiomics.
        assert value == pytest.approx(wanted[name], rel=1e-11, abs=1e-7), name


@pytest.mark.parametrize("lesion", LESIONS)
def test_shape_is_that_of_pyradiomics(lesion, stock_shape):
    region = Region.of(*LESIONS[lesion])
    assert_equal_features(shape(region), stock_shape(region))


def test_shape_of_a_real_lesion_is_that_of_pyradiomics(shared, stock_shape):
    label = sitk.ReadImage(str(shared / "data" / "pyradiomics_cases" / "brain1_label.nrrd"))
    region = Region.of(sitk.GetArrayFromImage(label) == 1, label.GetSpacing()[::-1])
    assert_equal_features(shape(region), stock_shape(region))


def test_every_case_of_a_cube_is_that_of_pyradiomics(stock_shape):
    for case in range(1, 256):
        corners = np.array([case >> bit & 1 for bit in range(8)], dtype=bool).reshape(2, 2, 2)
        region = Region.of(corners, (1.0, 1.3, 0.7))
        if region.voxels > 1:
            assert_equal_features(shape(region), stock_shape(region))


def test_a_voxel_is_an_octahedron():
    found = shape(Region.of(at_voxels((2, 3, 4)), MM))

    assert found["MeshVolume"] == pytest.approx(1 / 6)  # half a unit from centre to corner: 4/3 · (1/2)³
    assert found["SurfaceArea"] == pytest.approx(math.sqrt(3))  # eight triangles of side √½
    assert found["VoxelVolume"] == 1
    for name in ("Maximum3DDiameter", "Maximum2DDiameterSlice", "Maximum2DDiameterColumn", "Maximum2DDiameterRow"):
        assert found[name] == pytest.approx(1)
    assert found["MajorAxisLength"] == found["LeastAxisLength"] == 0
    assert math.isnan(found["Elongation"])
    assert math.isnan(found["Flatness"])


@pytest.mark.parametrize("size", [(2, 3, 4), (6, 6, 6), (1, 5, 2)])
def test_a_block_is_a_block_with_bevelled_edges(size):
    found = shape(Region.of(block(size), MM))

    n, m, k = size
    edges = 4 * (n - 1 + m - 1 + k - 1)
    # The block loses a prism of ½·½·½ along each edge, and at each of 8 corners a (½)³ cube but for its 6th.
    assert found["MeshVolume"] == pytest.approx(n * m * k - edges / 8 - 8 * (1 / 8 - 1 / 48))
    faces = 2 * ((n - 1) * (m - 1) + (m - 1) * (k - 1) + (k - 1) * (n - 1))
    assert found["SurfaceArea"] == pytest.approx(faces + edges * math.sqrt(1 / 2) + math.sqrt(3))
    assert found["VoxelVolume"] == n * m * k
    axes = sorted(4 * math.sqrt((side**2 - 1) / 12) for side in size)  # variance of 1, 2, … side
    names = ("LeastAxisLength", "MinorAxisLength", "MajorAxisLength")
    assert [found[name] for name in names] == pytest.approx(axes)


def test_a_ball_is_nearly_a_sphere():
    z, y, x = np.ogrid[-22:23, -22:23, -22:23]
    found = shape(Region.of(z**2 + y**2 + x**2 <= 20**2, MM))

    assert found["MeshVolume"] == pytest.approx(4 / 3 * math.pi * 20**3, rel=0.01)
    assert found["Sphericity"] == pytest.approx(1, abs=0.1)  # steps of voxels add area that does not go away
    assert found["Maximum3DDiameter"] == pytest.approx(41, abs=0.2)
    assert found["MajorAxisLength"] == pytest.approx(4 * 20 / math.sqrt(5), rel=0.01)
    assert found["Elongation"] == pytest.approx(1)
    assert found["Flatness"] == pytest.approx(1)


def widest_mm(vertices_mm):
    return math.sqrt(max(((one - other) ** 2).sum() for one, other in combinations(vertices_mm, 2)))


@pytest.mark.parametrize("lesion", ["sparse noise", "two voxels", "one row", "clusters"])
def test_diameters_are_those_of_every_pair_of_vertices(lesion):
    mask, spacing_mm = LESIONS.get(lesion, (blob(7, size=(5, 6, 7), smooth=0.7), (2.0, 0.9, 1.1)))
    if lesion == "sparse noise":
        mask = mask[:9, :9, :9]
    padded = np.pad(mask, 1)
    vertices = []
    for axis in range(3):
        between = np.argwhere(np.diff(padded, axis=axis)).astype(float)
        between[:, axis] += 0.5
        vertices.append(between)
    vertices_mm = np.concatenate(vertices) * spacing_mm

    found = shape(Region.of(mask, spacing_mm))

    assert found["Maximum3DDiameter"] == pytest.approx(widest_mm(vertices_mm))
    for axis, name in enumerate(("Slice", "Column", "Row")):
        planes = [vertices_mm[vertices_mm[:, axis] == at] for at in np.unique(vertices_mm[:, axis])]
        widest = max(widest_mm(plane) for plane in planes if len(plane) > 1)
        assert found[f"Maximum2DDiameter{name}"] == pytest.approx(widest)


@pytest.mark.parametrize("lesion", ["smooth", "three spacings", "sparse noise"])
def test_shape_is_the_same_wherever_the_lesion_lies(lesion):
    mask, spacing_mm = LESIONS[lesion]
    elsewhere = np.pad(mask, ((3, 0), (1, 2), (0, 5)))
    assert shape(Region.of(elsewhere, spacing_mm)) == shape(Region.of(mask, spacing_mm))


@pytest.mark.parametrize("axes", list(permutations(range(3))))
def test_turning_the_grid_turns_the_planes_alone(axes):
    mask, spacing_mm = LESIONS["three spacings"]
    found = shape(Region.of(mask, spacing_mm))
    planes = [f"Maximum2DDiameter{name}" for name in ("Slice", "Column", "Row")]
    wanted = found | {planes[to]: found[planes[axis]] for to, axis in enumerate(axes)}

    turned = shape(Region.of(mask.transpose(axes), tuple(spacing_mm[axis] for axis in axes)))

    # Ambiguous cubes are cut by a table that is not the same along every axis.
    exact = [name for name in wanted if name not in ("MeshVolume", "SurfaceArea", "SurfaceVolumeRatio", "Sphericity")]
    assert {name: turned[name] for name in exact} == pytest.approx({name: wanted[name] for name in exact})
    assert turned == pytest.approx(wanted, rel=0.02)


def test_lengths_areas_and_volumes_grow_with_the_spacing():
    mask, spacing_mm = LESIONS["three spacings"]
    found = shape(Region.of(mask, spacing_mm))
    power = {"MeshVolume": 3, "VoxelVolume": 3, "SurfaceArea": 2, "SurfaceVolumeRatio": -1}
    power |= dict.fromkeys(("Sphericity", "Elongation", "Flatness"), 0)

    larger = shape(Region.of(mask, tuple(2.5 * step for step in spacing_mm)))

    assert larger == pytest.approx({name: value * 2.5 ** power.get(name, 1) for name, value in found.items()})


def test_axes_without_extent_are_exactly_0():
    z, y = np.mgrid[:6, :6]
    plane = np.zeros((6, 6, 12), dtype=bool)
    plane[z, y, z + y] = True  # oblique, so that no coordinate is constant

    found = shape(Region.of(plane, (1.7, 0.9, 0.3)))

    assert found["LeastAxisLength"] == found["Flatness"] == 0
    assert found["MinorAxisLength"] > 1
