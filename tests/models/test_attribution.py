import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="networks need the extra train")
pytest.importorskip("monai", reason="images need the extra train")

from radnet.models.attribution import (  # noqa: E402
    ATTRIBUTION_COLUMNS,
    attribution_table,
    featureless,
    integrated_gradients,
    lesions_to_show,
)
from radnet.models.hybrid import ImageBranch  # noqa: E402

CHANNELS = {"soft": "image", "lesion": "mask", "distance": "distance"}


def draws(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def flat_sum(values):
    return values.flatten(start_dim=1).sum(dim=1)


def test_a_linear_score_gives_each_voxel_its_weight_times_its_change_at_any_number_of_steps():
    image, baseline, weight = draws(3, 2, 2, 3, 4), draws(3, 2, 2, 3, 4, seed=1), draws(2, 2, 3, 4, seed=2)

    for steps in (1, 7):
        found = integrated_gradients(lambda one: flat_sum(one * weight) + 5.0, image, baseline, steps)

        torch.testing.assert_close(found, weight * (image - baseline))


def test_a_product_of_two_voxels_is_shared_as_worked_by_hand():
    """Of f = x·y the path gives x the integral of (b_y + t(y - b_y))(x - b_x), which is (x - b_x)(y + b_y) / 2."""
    (x, y), (b_x, b_y) = (3.0, 5.0), (1.0, -2.0)
    image, baseline = (torch.tensor(pair).reshape(1, 1, 1, 1, 2) for pair in ((x, y), (b_x, b_y)))

    found = integrated_gradients(lambda one: one.flatten(start_dim=1).prod(dim=1), image, baseline, steps=1)

    assert found.flatten().tolist() == pytest.approx([(x - b_x) * (y + b_y) / 2, (y - b_y) * (x + b_x) / 2])


@pytest.mark.parametrize("steps", [2, 3, 32])
def test_a_polynomial_of_degree_four_is_exact_from_two_steps_on(steps):
    image, baseline = draws(2, 1, 2, 2, 2), draws(2, 1, 2, 2, 2, seed=1)

    found = integrated_gradients(lambda one: flat_sum(one**4), image, baseline, steps)

    torch.testing.assert_close(found, image**4 - baseline**4)


def test_a_logistic_score_is_shared_in_proportion_to_the_change_of_its_logit():
    """The path of a function of one linear form z splits σ(z) - σ(z₀) as z - z₀ itself is made up."""
    image, baseline, weight = draws(4, 1, 2, 2, 2), draws(4, 1, 2, 2, 2, seed=1), draws(1, 2, 2, 2, seed=2)
    change = weight * (image - baseline)
    whole = flat_sum(weight * image).sigmoid() - flat_sum(weight * baseline).sigmoid()

    found = integrated_gradients(lambda one: flat_sum(weight * one).sigmoid(), image, baseline)

    expected = change * (whole / flat_sum(change)).reshape(-1, 1, 1, 1, 1)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)  # 32 points of a function without a corner


def small_network():
    torch.manual_seed(0)
    plan = {"block": "basic", "layers": [1, 1, 1, 1], "block_inplanes": [4, 4, 8, 8], "conv1_t_stride": 2}
    branch = ImageBranch(3, 8, "monai.networks.nets.ResNet", plan, "group")
    return torch.nn.Sequential(branch, torch.nn.Linear(8, 1), torch.nn.Flatten(0)).eval()


def patches(n=3, size=16):
    """Noise, a ball off the middle, and its distance map."""
    grid = torch.meshgrid(*[torch.arange(float(size))] * 3, indexing="ij")
    distance = sum((axis - at) ** 2 for axis, at in zip(grid, (9, 7, 8), strict=True)).sqrt() - 4.5
    image = torch.rand(n, 1, size, size, size, generator=torch.Generator().manual_seed(3))
    rest = torch.stack([(distance <= 0).float(), distance.clamp(-4, 4) / 4]).expand(n, -1, -1, -1, -1)
    return torch.cat([image, rest], dim=1)


@pytest.mark.parametrize(("steps", "tolerance"), [(32, 1e-2), (512, 5e-4)])
def test_attributions_of_a_network_add_up_to_what_the_score_departs_from_the_featureless_patch(steps, tolerance):
    """ReLU bends the path at places that no rule knows, so that the gap falls as 1 / steps only."""
    network, image = small_network(), patches()
    image[:, :1] = 5 * (image[:, :1] + image[:, 1:2])
    baseline = featureless(image, list(CHANNELS.values()))

    found = integrated_gradients(network, image, baseline, steps)

    with torch.no_grad():
        departure = network(image) - network(baseline)
    assert ((flat_sum(found) - departure).abs() < tolerance * flat_sum(found.abs())).all()
    assert departure.abs().max() > 0.02 * flat_sum(found.abs()).max()  # of another order than what is tolerated
    assert found[:, 1:].abs().max() == 0  # mask and distance do not move


def test_the_gradients_of_weights_stay_as_they_were_and_so_does_a_callers_no_grad():
    network, image = small_network(), patches(1)

    with torch.no_grad():
        found = integrated_gradients(network, image, torch.zeros_like(image), steps=2)

    assert found.abs().max() > 0
    assert not found.requires_grad
    assert all(weight.grad is None for weight in network.parameters())


def test_an_output_that_torch_cannot_follow_or_of_another_shape_is_refused():
    image = torch.ones(2, 1, 1, 1, 2)

    with pytest.raises(ValueError, match=r"got shape \(2,\) without a gradient"):
        integrated_gradients(lambda one: flat_sum(one).detach(), image, image)
    with pytest.raises(ValueError, match=r"one number for each of 2 images, shape \(2,\).*got shape \(2, 1\)"):
        integrated_gradients(lambda one: flat_sum(one)[:, None], image, image)
    with pytest.raises(ValueError, match="differ in shape"):
        integrated_gradients(flat_sum, image, image[:1])
    with pytest.raises(ValueError, match="1 step or more, got 0"):
        integrated_gradients(flat_sum, image, image, steps=0)


def test_a_featureless_patch_is_level_at_its_own_mean_and_keeps_its_outline():
    image = patches(2)
    before = image.clone()

    level = featureless(image, list(CHANNELS.values()))

    np.testing.assert_allclose(level[:, 0].std(dim=(1, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(level[:, 0, 0, 0, 0], before[:, 0].double().mean(dim=(1, 2, 3)), rtol=1e-6)
    assert torch.equal(level[:, 1:], before[:, 1:])
    assert torch.equal(image, before)
    with pytest.raises(ValueError, match="3 channels, and kinds are told of 1"):
        featureless(image, ["image"])


@pytest.mark.parametrize(
    ("score", "roles"),
    [
        ([0.3], {0: "highest score"}),
        ([0.3, 0.5], {1: "highest score", 0: "lowest score"}),
        ([3, 1, 2, 5], {3: "highest score", 0: "middle", 1: "lowest score"}),
        (
            [7, 6, 5, 4, 3, 2, 1],
            {0: "highest score", 1: "highest score", 2: "middle", 3: "middle", 5: "lowest score", 6: "lowest score"},
        ),
        ([1, 1, 1], {0: "highest score", 1: "middle", 2: "lowest score"}),
    ],
    ids=["one", "two", "four", "seven", "all the same"],
)
def test_lesions_are_chosen_by_their_score(score, roles):
    assert list(lesions_to_show(score).items()) == list(roles.items())


def heterogeneity(image):
    """The variance of the intensities in the lesion, whose mask is the second channel."""
    inside = image[:, 1] > 0.5
    mean = (image[:, 0] * inside).sum(dim=(1, 2, 3)) / inside.sum(dim=(1, 2, 3))
    return ((image[:, 0] - mean[:, None, None, None]).square() * inside).sum(dim=(1, 2, 3)) / inside.sum(dim=(1, 2, 3))


def table(image=None, **changes):
    image = patches() if image is None else image
    given = {"output_of": heterogeneity, "image": image, "channels": CHANNELS, "lesion": image[:, 1] > 0.5}
    return attribution_table(**{**given, "roles": ["highest score", "middle", "lowest score"], **changes})


def test_the_table_holds_the_attributions_of_a_variance_as_worked_by_hand():
    """Of Σ(x - m)²/n the path from a level patch b gives voxel x of the lesion (x - b)(x - m)/n, and others nothing."""
    image = patches().double()
    inside = image[0, 1] > 0.5
    values = image[0, 0][inside]
    expected = torch.zeros(16, 16, 16, dtype=torch.float64)
    expected[inside] = (values - image[0, 0].mean()) * (values - values.mean()) / len(values)
    strongest = int(expected.abs().sum(dim=(1, 2)).argmax())

    rows = table(image).query("lesion_number == 1")

    assert set(rows["slice"]) == {strongest}
    at = (rows["slice"].to_numpy(), rows["y"].to_numpy(), rows["x"].to_numpy())
    np.testing.assert_allclose(rows["attribution"], expected[at], rtol=1e-3, atol=1e-12)  # 4 digits
    np.testing.assert_allclose(rows["intensity"], image[0, 0][at], rtol=1e-3)
    np.testing.assert_array_equal(rows["lesion"], inside[at])
    np.testing.assert_allclose(rows["score"], values.var(correction=0), rtol=1e-3)
    assert set(rows["baseline_score"]) == {0.0}
    assert set(rows["in_lesion"]) == {1.0}


def test_the_table_numbers_lesions_and_names_no_patient():
    rows = table()

    assert tuple(rows.columns) == ATTRIBUTION_COLUMNS
    assert not {"patient_id", "lesion_id", "centre"} & set(rows.columns)
    assert rows.groupby("lesion_number")["role"].first().tolist() == ["highest score", "middle", "lowest score"]
    assert set(rows["channel"]) == {"soft"}  # masks and distances have no attribution
    assert len(rows) == 3 * 16 * 16


def test_a_slice_is_shown_that_cuts_the_lesion_though_more_is_attributed_elsewhere():
    def background(image):
        return flat_sum(image[:, 0, :2] * 100.0) + heterogeneity(image)

    rows = table(output_of=background)

    touched = set((patches()[0, 1] > 0.5).flatten(start_dim=1).any(dim=1).nonzero()[:, 0].tolist())
    assert set(rows["slice"]) <= touched
    assert (rows["in_lesion"] < 0.1).all()


def test_of_a_wide_patch_the_middle_64_voxels_are_shown():
    image = torch.zeros(1, 3, 2, 70, 12)
    image[:, 0] = torch.rand(2, 70, 12, generator=torch.Generator().manual_seed(1))
    image[:, 1, :, 30:40, 3:8] = 1

    rows = table(image, roles=["highest score"])

    assert (rows["y"].min(), rows["y"].max()) == (3, 66)
    assert (rows["x"].min(), rows["x"].max()) == (0, 11)
    assert len(rows) == 64 * 12


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"roles": ["middle"]}, "each of 3 lesions has a role, got 1"),
        ({"lesion": torch.zeros(3, 16, 16, 16, dtype=torch.bool)}, "no voxel in its patch.*: 1, 2, 3"),
        ({"lesion": torch.ones(3, 8, 16, 16, dtype=torch.bool)}, "are not those of the patches"),
        ({"channels": {"a": "mask", "b": "mask", "c": "distance"}}, "no channel holds intensities.*a, b, c"),
        ({"image": torch.zeros(7, 3, 4, 4, 4)}, "1 to 6 lesions, got 7"),
    ],
    ids=["roles", "no lesion", "other shape", "no image", "too many"],
)
def test_what_cannot_be_shown_is_refused(changes, told):
    with pytest.raises(ValueError, match=told):
        table(**changes)
