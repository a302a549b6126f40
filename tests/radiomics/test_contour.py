import numpy as np
import pytest

from radnet.radiomics.contour import displaced, resized, smooth_field


def ball(radius_mm, spacing_mm, margin_mm=6.0):
    half = [int((radius_mm + margin_mm) / step) for step in spacing_mm]
    axes = [np.arange(-size, size + 1) * step for size, step in zip(half, spacing_mm, strict=True)]
    grid = np.meshgrid(*axes, indexing="ij")
    return sum(axis**2 for axis in grid) <= radius_mm**2


def gyration_mm(lesion, spacing_mm):
    """Root mean square distance of the voxels from their centre."""
    points = np.argwhere(lesion) * spacing_mm
    return np.sqrt(((points - points.mean(axis=0)) ** 2).sum(axis=1).mean())


@pytest.mark.parametrize("spacing_mm", [(0.8, 0.8, 0.8), (5.0, 0.7, 0.7)], ids=["isotropic", "thick slices"])
@pytest.mark.parametrize("ratio", [0.8, 0.9, 1.1, 1.2])
def test_a_lesion_is_resized_to_the_volume_asked_for_and_holds_or_is_held_by_what_it_was(ratio, spacing_mm):
    lesion = ball(9.0, spacing_mm) & (np.random.default_rng(0).random(ball(9.0, spacing_mm).shape) < 0.98)

    new = resized(lesion, spacing_mm, ratio)

    assert abs(new.sum() - ratio * lesion.sum()) <= 0.5
    assert ((new & lesion) == (lesion if ratio > 1 else new)).all()


@pytest.mark.parametrize("ratio", [0.8, 1.2])
def test_a_resized_ball_is_a_ball(ratio):
    spacing_mm = (0.8, 0.8, 0.8)

    new = resized(ball(10.0, spacing_mm), spacing_mm, ratio)

    # A ball of radius r has a radius of gyration of √(3/5) r; no body of its volume has a smaller one. 1 % is a tenth
    # of a voxel.
    assert gyration_mm(new, spacing_mm) == pytest.approx(np.sqrt(3 / 5) * 10.0 * ratio ** (1 / 3), rel=0.01)


def test_growing_and_then_shrinking_by_the_inverse_gives_the_volume_back():
    lesion = ball(8.0, (1.0, 1.0, 1.0))

    back = resized(resized(lesion, (1, 1, 1), 1.15), (1, 1, 1), 1 / 1.15)

    assert abs(int(back.sum()) - int(lesion.sum())) <= 1
    assert (back & lesion).sum() > 0.98 * lesion.sum()


def test_a_lesion_without_room_to_grow_is_told():
    lesion = np.ones((3, 4, 4), dtype=bool)
    lesion[0] = False
    with pytest.raises(ValueError, match="a lesion of 32 voxels cannot grow to 64: the image has 48"):
        resized(lesion, (1.0, 1.0, 1.0), 2.0)


def test_a_smooth_field_has_the_spread_and_the_correlation_asked_for():
    spacing_mm, correlation_mm = (3.0, 1.0, 1.0), 5.0
    rng = np.random.default_rng(3)

    fields = np.array([smooth_field((16, 40, 40), spacing_mm, 1.5, correlation_mm, rng) for _ in range(100)])

    # 100 draws of some 500 independent places each: the SD errs by 0.3 %, a correlation by less than 0.01.
    assert fields.std() == pytest.approx(1.5, rel=0.02)
    for axis, apart in ((1, 1), (1, 2), (2, 5), (3, 5), (3, 8)):
        r_mm = apart * spacing_mm[axis - 1]
        found = (fields * np.roll(fields, apart, axis=axis)).mean() / fields.var()
        assert found == pytest.approx(np.exp(-(r_mm**2) / (2 * correlation_mm**2)), abs=0.02)


@pytest.mark.parametrize("outward_mm", [-2.0, -1.0, 1.0, 2.0])
def test_a_ball_displaced_by_the_same_everywhere_is_a_ball_of_that_much_more_radius(outward_mm):
    spacing_mm, radius_mm = (0.5, 0.5, 0.5), 10.0
    lesion = ball(radius_mm, spacing_mm)

    new = displaced(lesion, spacing_mm, np.full(lesion.shape, outward_mm))

    volume_mm3 = new.sum() * np.prod(spacing_mm)
    radius_found_mm = (volume_mm3 * 3 / (4 * np.pi)) ** (1 / 3)
    assert radius_found_mm == pytest.approx(radius_mm + outward_mm, abs=0.25)  # half a voxel


def test_a_contour_that_is_not_displaced_is_the_same():
    lesion = np.random.default_rng(1).random((6, 9, 9)) < 0.4
    np.testing.assert_array_equal(displaced(lesion, (2.0, 1.0, 0.7), np.zeros(lesion.shape)), lesion)


def test_a_lesion_displaced_to_nothing_is_told():
    lesion = ball(3.0, (1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="nothing is left of a lesion of 123 voxels"):
        displaced(lesion, (1.0, 1.0, 1.0), np.full(lesion.shape, -9.0))
