import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch", reason="networks need the extra train")

from radnet.models.heads import (  # noqa: E402
    GatedAttentionPool,
    MeanPool,
    SetTransformerPool,
    max_pool,
    noisy_or_pool,
)
from radnet.models.networks import noisy_or  # noqa: E402
from radnet.models.pooling import pool_scores  # noqa: E402

PRESENT = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0]], dtype=torch.bool)
WIDTH = 8


def pool(name):
    torch.manual_seed(3)
    made = {
        "mean": MeanPool,
        "attention": lambda: GatedAttentionPool(WIDTH, hidden=5),
        "set_transformer": lambda: SetTransformerPool(WIDTH, blocks=2, induced=3, heads=2),
        "max": lambda: max_pool,
        "noisy_or": lambda: noisy_or_pool,
    }[name]()
    return made.double() if isinstance(made, torch.nn.Module) else made


EVERY = pytest.mark.parametrize("name", ["mean", "attention", "set_transformer", "max", "noisy_or"])


def lesions(spread=1.0):
    return spread * torch.randn(4, 4, WIDTH, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def same(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@EVERY
def test_what_stands_where_no_lesion_is_changes_nothing(name):
    given = lesions()
    pooled = pool(name)(given, PRESENT)
    padded = torch.cat([given.masked_fill(~PRESENT[..., None], torch.nan), torch.full((4, 2, WIDTH), 77.0)], dim=1)

    found = pool(name)(padded, torch.cat([PRESENT, torch.zeros(4, 2, dtype=torch.bool)], dim=1))

    same(found.patient, pooled.patient)
    same(found.weight, torch.cat([pooled.weight, torch.zeros(4, 2)], dim=1).double())


@EVERY
def test_the_order_of_lesions_moves_their_weights_and_changes_nothing_else(name):
    given, order = lesions(), torch.tensor([2, 0, 3, 1])

    before, after = pool(name)(given, PRESENT), pool(name)(given[:, order], PRESENT[:, order])

    same(after.patient, before.patient)
    same(after.weight, before.weight[:, order])


@EVERY
@pytest.mark.parametrize("spread", [1.0, 300.0], ids=["usual", "extreme"])
def test_weights_add_up_to_one_over_the_lesions_present_and_are_none_elsewhere(name, spread):
    weight = pool(name)(lesions(spread), PRESENT).weight

    same(weight.sum(dim=1), torch.ones(4, dtype=torch.float64))
    assert (weight[~PRESENT] == 0).all()
    assert (weight >= 0).all()


@pytest.mark.parametrize("name", ["mean", "attention", "max", "noisy_or"])
def test_a_patients_only_lesion_comes_back(name):
    given = lesions()

    same(pool(name)(given, PRESENT).patient[2], given[2, 0])


@EVERY
def test_gradients_are_those_of_finite_differences_and_none_reaches_a_place_without_lesion(name):
    given, chosen = lesions().requires_grad_(), pool(name)

    assert torch.autograd.gradcheck(lambda it: chosen(it, PRESENT).patient, given)
    chosen(given, PRESENT).patient.sum().backward()
    assert (given.grad[~PRESENT] == 0).all()


def test_the_mean_is_that_of_the_lesions_present():
    given = lesions()

    by_hand = np.stack([row[there].mean(axis=0) for row, there in zip(given.numpy(), PRESENT.numpy(), strict=True)])

    np.testing.assert_allclose(MeanPool()(given, PRESENT).patient.numpy(), by_hand)


def test_gated_attention_is_its_equation():
    given, chosen = lesions(), pool("attention")

    found = chosen(given, PRESENT)

    of = {name: value.numpy() for name, value in chosen.state_dict().items()}
    for row, there, patient, weight in zip(
        given.numpy(), PRESENT.numpy(), *map(np.array, found_of(found)), strict=True
    ):
        content = np.tanh(row[there] @ of["content.weight"].T + of["content.bias"])
        gate = 1 / (1 + np.exp(-(row[there] @ of["gate.weight"].T + of["gate.bias"])))
        share = np.exp((content * gate) @ of["attention.weight"][0])
        share /= share.sum()
        np.testing.assert_allclose(weight[there], share)
        np.testing.assert_allclose(patient, share @ row[there])


def found_of(pooled):
    return pooled.patient.detach().numpy(), pooled.weight.detach().numpy()


def normed(rows, of, name):
    centred = rows - rows.mean(axis=1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
    return scaled * of[f"{name}.weight"] + of[f"{name}.bias"]


def attention_block(of, name, asking, telling, heads):
    """MAB of Lee 2019, written slowly; returns the weights too."""
    maps = np.split(of[f"{name}.attention.in_proj_weight"], 3)
    shifts = np.split(of[f"{name}.attention.in_proj_bias"], 3)
    query, key, value = (rows @ m.T + s for rows, m, s in zip((asking, telling, telling), maps, shifts, strict=True))
    told, weights = [], []
    for q, k, v in zip(*(np.split(rows, heads, axis=1) for rows in (query, key, value)), strict=True):
        share = np.exp(q @ k.T / np.sqrt(q.shape[1]))
        weights.append(share / share.sum(axis=1, keepdims=True))
        told.append(weights[-1] @ v)
    out = np.hstack(told) @ of[f"{name}.attention.out_proj.weight"].T + of[f"{name}.attention.out_proj.bias"]
    hidden = normed(asking + out, of, f"{name}.after_attention")
    layer = np.maximum(hidden @ of[f"{name}.layer.0.weight"].T + of[f"{name}.layer.0.bias"], 0)
    return normed(hidden + layer, of, f"{name}.after_layer"), np.mean(weights, axis=0)


def test_the_set_transformer_is_its_equations():
    given, chosen = lesions(), pool("set_transformer")

    found = chosen(given, PRESENT)

    of = {name: value.numpy() for name, value in chosen.state_dict().items()}
    for row, there, patient, weight in zip(given.numpy(), PRESENT.numpy(), *found_of(found), strict=True):
        mixed = row[there]
        for block in ("blocks.0", "blocks.1"):
            gathered, _ = attention_block(of, f"{block}.gather", of[f"{block}.points"][0], mixed, heads=2)
            mixed, _ = attention_block(of, f"{block}.spread", mixed, gathered, heads=2)
        told = np.maximum(mixed @ of["before.0.weight"].T + of["before.0.bias"], 0)
        expected, share = attention_block(of, "look", of["seed"][0], told, heads=2)
        np.testing.assert_allclose(patient, expected[0], atol=1e-10)
        np.testing.assert_allclose(weight[there], share[0], atol=1e-10)


def test_without_blocks_the_seed_of_a_set_transformer_still_looks_at_every_lesion():
    torch.manual_seed(0)
    chosen = SetTransformerPool(WIDTH, blocks=0).double()

    weight = chosen(lesions(), PRESENT).weight

    assert (weight[PRESENT] > 0).all()


def test_heads_that_cannot_share_the_units_are_refused():
    with pytest.raises(ValueError, match="3 heads cannot share 8 units"):
        SetTransformerPool(WIDTH, heads=3)


def test_the_maximum_is_that_of_the_lesions_present_and_all_the_weight_is_on_it():
    output = torch.tensor([[[1.0], [3.0], [2.0], [9.0]]])

    pooled = max_pool(output, torch.tensor([[True, True, True, False]]))

    assert pooled.patient.tolist() == [[3.0]]
    assert pooled.weight.tolist() == [[0.0, 1.0, 0.0, 0.0]]


def test_of_several_outputs_a_lesion_weighs_the_share_of_those_it_decides():
    output = torch.tensor([[[1.0, 5.0, 0.0], [3.0, 4.0, -1.0]]])

    pooled = max_pool(output, torch.ones(1, 2, dtype=torch.bool))

    assert pooled.patient.tolist() == [[3.0, 5.0, 0.0]]
    torch.testing.assert_close(pooled.weight, torch.tensor([[2 / 3, 1 / 3]]))


def test_noisy_or_is_one_rule_with_the_networks_for_each_output_by_itself():
    output = lesions(3.0)

    pooled = noisy_or_pool(output, PRESENT)

    for column in range(WIDTH):
        assert torch.equal(pooled.patient[:, column], noisy_or(output[..., column], PRESENT))


def test_weights_of_noisy_or_are_shares_of_the_log_probability_of_none_as_for_every_other_model():
    output = lesions(2.0)[:2, :2, :1]
    names = pd.MultiIndex.from_product([["A", "B"], ["1", "2"]], names=["patient_id", "lesion_id"])
    chance = pd.Series(output.sigmoid().reshape(-1).numpy(), names)

    pooled = noisy_or_pool(output, torch.ones(2, 2, dtype=torch.bool))

    score, weight = pool_scores(chance, pd.DataFrame(index=names), "noisy_or", "probability")
    np.testing.assert_allclose(pooled.patient[:, 0].sigmoid(), score)
    np.testing.assert_allclose(pooled.weight.reshape(-1), weight)


@pytest.mark.parametrize(
    ("score", "expected"), [([-500.0, -500.0], [0.5, 0.5]), ([-500.0, -501.0], [0.731059, 0.268941])]
)
def test_lesions_that_hardly_bring_the_event_share_it_by_their_odds(score, expected):
    # -log(1 - p) is p where p is small, and p is exp z: the shares are those of exp z
    pooled = noisy_or_pool(torch.tensor(score)[None, :, None], torch.ones(1, 2, dtype=torch.bool))

    torch.testing.assert_close(pooled.weight, torch.tensor([expected]), rtol=1e-5, atol=1e-6)
