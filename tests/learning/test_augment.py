from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("monai", reason='augmentation needs the extra "train"')

import torch
from monai.transforms import (
    Compose,
    RandFlipd,
    RandGaussianNoised,
    RandRotate90d,
    RandRotated,
    RandScaleIntensityd,
    RandShiftIntensityd,
    RandZoomd,
    ScaleIntensityd,
)
from omegaconf import OmegaConf
from torch.utils.data import DataLoader, Dataset

from radnet.config import build, target_faults
from radnet.learning.augment import Augmentation, draw_seed

CONF = Path(__file__).parents[2] / "conf" / "augment"
KINDS = ("image", "mask", "distance", "image")
ALL = ["image", "distance", "mask"]
SIZE = 12
ALWAYS = {"prob": 1.0, "allow_missing_keys": True}


def patch(seed=0, size=SIZE) -> np.ndarray:
    """Noise, an off-centre ball, its signed distance over 5 voxels, and noise again; float16 as it is stored."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*[np.arange(size)] * 3, indexing="ij")
    distance = np.sqrt(sum((axis - at) ** 2 for axis, at in zip(axes, (5, 6, 7), strict=True))) - 3.5
    channels = [rng.random((size,) * 3), distance <= 0, np.clip(distance / 5, -1, 1), rng.random((size,) * 3)]
    return np.stack([np.asarray(one, dtype=float) for one in channels]).astype(np.float16)


def moderate() -> Augmentation:
    return build(OmegaConf.load(CONF / "moderate.yaml"))


class _Varied(Dataset):
    def __init__(self, epoch: int) -> None:
        self.augmentation = moderate()
        self.epoch = epoch

    def __len__(self) -> int:
        return 6

    def __getitem__(self, place: int) -> torch.Tensor:
        seed = draw_seed(7, self.epoch, f"P{place // 2}", f"L{place % 2}")
        return self.augmentation(patch(place), KINDS, seed)


def varied(order, workers=0, epoch=3) -> dict[int, np.ndarray]:
    loader = DataLoader(_Varied(epoch), batch_size=2, sampler=order, num_workers=workers)
    return dict(zip(order, torch.cat(list(loader)).numpy(), strict=True))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")  # torch's loader, from Python 3.12 on
def test_draws_depend_on_neither_order_nor_workers_nor_what_was_drawn_before():
    alone = varied([0, 1, 2, 3, 4, 5])
    np.random.default_rng(1).random(5)
    torch.manual_seed(99)
    for other in (varied([5, 3, 1, 0, 2, 4]), varied([4, 0, 5, 2, 1, 3], workers=2)):
        for place, values in alone.items():
            np.testing.assert_array_equal(other[place], values)


@pytest.mark.parametrize("seed", range(6))
def test_draws_are_those_of_monai_seeded_step_by_step(seed):
    steps = [
        RandFlipd(ALL, prob=0.5, spatial_axis=1, allow_missing_keys=True),
        RandRotate90d(ALL, prob=0.5, max_k=3, spatial_axes=(1, 2), allow_missing_keys=True),
    ]
    whole = torch.from_numpy(patch().astype(np.float32))
    expected = Compose(steps).set_random_state(seed=seed)({"image": whole})["image"]

    found = Augmentation(dict(zip("ab", steps, strict=True)))(patch(), ("image",) * 4, seed)

    np.testing.assert_array_equal(found, np.asarray(expected))


def test_draws_differ_by_seed_epoch_patient_and_lesion():
    seeds = [
        draw_seed(*one)
        for one in [(7, 0, "P1", "L1"), (8, 0, "P1", "L1"), (7, 1, "P1", "L1"), (7, 0, "P2", "L1"), (7, 0, "P1", "L2")]
    ]
    assert len(set(seeds)) == 5
    assert draw_seed(7, 0, "P1", "1L1") != draw_seed(7, 0, "P11", "L1")
    found = [moderate()(patch(), KINDS, seed).numpy() for seed in seeds]
    assert not any(np.array_equal(found[0], other) for other in found[1:])


def test_a_mask_stays_a_mask_and_distances_stay_within_their_clip():
    for seed in range(20):
        found = moderate()(patch(), KINDS, seed).numpy()
        assert set(np.unique(found[1])) <= {0.0, 1.0}
        assert found[1].any()
        assert np.abs(found[2]).max() <= 1.0 + 1e-6  # weights of single precision
        assert found.dtype == np.float32


def test_the_distance_map_goes_along_with_the_mask():
    for seed in range(20):
        found = moderate()(patch(), KINDS, seed).numpy()
        # Inside and outside part at 0. Two steps interpolate; from each, the nearest voxel is at most half a diagonal
        # away: √3 voxels, of the 5 at which distances are clipped.
        assert found[2][found[1] == 1].max() < np.sqrt(3) / 5
        assert found[2][found[1] == 0].min() > -np.sqrt(3) / 5


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_flip_is_that_of_numpy_in_every_channel(axis):
    flip = Augmentation({"flip": RandFlipd(ALL, spatial_axis=axis, **ALWAYS)})
    np.testing.assert_array_equal(flip(patch(), KINDS, 0).numpy(), np.flip(patch(), axis + 1))


def test_a_quarter_turn_is_one_of_the_three_of_numpy_in_every_channel():
    turn = Augmentation({"turn": RandRotate90d(ALL, max_k=3, spatial_axes=(1, 2), **ALWAYS)})
    wanted = [np.rot90(patch(), times, axes=(2, 3)) for times in (1, 2, 3)]
    found = [turn(patch(), KINDS, seed).numpy() for seed in range(12)]
    which = [[np.array_equal(one, other) for other in wanted] for one in found]
    assert all(sum(row) == 1 for row in which)
    assert np.any(which, axis=0).all()


@pytest.mark.parametrize(
    "step",
    [
        RandScaleIntensityd(["image"], factors=0.3, **ALWAYS),
        RandShiftIntensityd(["image"], offsets=0.3, **ALWAYS),
        RandGaussianNoised(["image"], std=0.3, **ALWAYS),
    ],
    ids=["scale", "shift", "noise"],
)
def test_a_change_of_values_leaves_masks_and_distances_alone(step):
    found = Augmentation({"values": step})(patch(), KINDS, 4).numpy()
    np.testing.assert_array_equal(found[[1, 2]], patch()[[1, 2]])
    assert (found[[0, 3]] != patch()[[0, 3]]).any(axis=(1, 2, 3)).all()


def test_shift_and_scale_are_one_number_for_all_voxels():
    before = patch()[[0, 3]].astype(np.float32)
    shifted = Augmentation({"s": RandShiftIntensityd(["image"], 0.3, **ALWAYS)})(patch(), KINDS, 4).numpy()[[0, 3]]
    scaled = Augmentation({"s": RandScaleIntensityd(["image"], 0.3, **ALWAYS)})(patch(), KINDS, 4).numpy()[[0, 3]]
    assert np.ptp(shifted - before) < 1e-6
    assert 0 < np.abs(shifted - before).max() <= 0.3
    factor = scaled.sum() / before.sum()
    assert 0.7 <= factor <= 1.3
    np.testing.assert_allclose(scaled, before * factor, rtol=1e-5)


def middle_ball(size, radius) -> np.ndarray:
    axes = np.meshgrid(*[np.arange(size) - (size - 1) / 2] * 3, indexing="ij")
    return (sum(axis**2 for axis in axes) <= radius**2).astype(np.float16)[None]


def test_a_zoom_by_a_known_factor_makes_a_ball_one_of_that_many_times_its_radius():
    zoom = Augmentation(
        {"zoom": RandZoomd(ALL, min_zoom=1.5, max_zoom=1.5, mode=["trilinear", "trilinear", "nearest-exact"],
                           padding_mode=["edge", "edge", "constant"], **ALWAYS)}
    )  # fmt: skip
    after = zoom(middle_ball(24, 6), ("mask",), 0).numpy()
    wanted = middle_ball(24, 9)
    assert after.sum() == pytest.approx(wanted.sum(), rel=0.05)
    assert (after != wanted).mean() < 0.05


def test_a_small_turn_by_a_known_angle_keeps_a_ball_about_the_middle():
    ball = middle_ball(15, 5)
    turn = Augmentation(
        {"turn": RandRotated(ALL, range_x=(0.3, 0.3), mode=["bilinear", "bilinear", "nearest"],
                             padding_mode=["border", "border", "zeros"], **ALWAYS)}
    )  # fmt: skip
    after = turn(ball, ("mask",), 0).numpy()
    assert after.sum() == pytest.approx(ball.sum(), rel=0.05)
    assert (after != ball).mean() < 0.05


def test_the_patch_itself_is_left_as_it_is(tmp_path):
    np.save(tmp_path / "patches.npy", patch()[None])
    stored = np.load(tmp_path / "patches.npy", mmap_mode="r")
    moderate()(stored[0], KINDS, 5)
    np.testing.assert_array_equal(stored[0], patch())


def test_without_steps_a_patch_comes_back_in_single_precision():
    found = Augmentation({"flip": None})(patch(), KINDS, 0)
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found.numpy(), patch().astype(np.float32))


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (RandFlipd(["image"], **ALWAYS), "s: a change of places is for image, distance, mask together"),
        (RandGaussianNoised(["image", "mask"], **ALWAYS), "s: a change of values is for image alone"),
        (RandFlipd(["images"], **ALWAYS), "s: there is no images; keys are out of image, distance, mask"),
        (RandRotated(ALL, mode="bilinear", **ALWAYS), "s: a mask is moved by the nearest voxel, not by bilinear"),
        (RandFlipd(ALL), "s: allow_missing_keys must be true"),
        (ScaleIntensityd(["image"]), "s: ScaleIntensityd is no random dictionary transform"),
    ],
)
def test_a_step_that_tears_channels_apart_is_refused(step, told):
    with pytest.raises(ValueError, match=told):
        Augmentation({"s": step})


def test_a_quarter_turn_of_a_plane_that_is_no_square_is_told():
    turn = Augmentation({"turn": RandRotate90d(ALL, max_k=1, spatial_axes=(0, 1), **ALWAYS)})
    with pytest.raises(ValueError, match=r"of \(12, 8, 12\) voxels out of one of \(8, 12, 12\)"):
        turn(np.zeros((1, 8, 12, 12)), ("mask",), 0)


def test_kinds_of_another_number_of_channels_are_refused():
    with pytest.raises(ValueError, match="the patch has 4 channels, and kinds are told of 1"):
        moderate()(patch(), ("mask",), 0)


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_names_what_is_there(path):
    config = OmegaConf.load(path)
    assert not target_faults(config)
    assert build(config)(patch(), KINDS, 0).shape == patch().shape
