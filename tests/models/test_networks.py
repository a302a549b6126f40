import math

import pytest

torch = pytest.importorskip("torch", reason="networks need the extra train")

from radnet.models.networks import NoisyOr, RadiomicsMLP, noisy_or  # noqa: E402


def network(n_clinical=3):
    torch.manual_seed(0)
    return RadiomicsMLP(n_features=7, n_clinical=n_clinical, hidden=[6, 5, 4], dropout=0.3).eval()


def batch(n_clinical=3):
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(5, 2, 7, generator=generator)
    present = torch.tensor([[True, True], [True, False], [True, True], [True, False], [True, True]])
    return features, present, torch.randn(5, n_clinical, generator=generator)


def test_there_are_three_hidden_layers_and_a_fourth():
    linear = [layer for layer in network().modules() if isinstance(layer, torch.nn.Linear)]

    assert [(layer.in_features, layer.out_features) for layer in linear] == [(7, 6), (6, 5), (5, 4), (4 + 3, 1)]


def test_clinical_values_reach_the_fourth_layer_alone():
    model = network()
    features, present, clinical = batch()
    clinical.requires_grad_()

    model(features, present, clinical).sum().backward()

    weight = model.fourth.weight[0, 4:]
    torch.testing.assert_close(clinical.grad, weight.expand(5, 3))


def test_a_clinical_weight_of_zero_gives_back_the_radiomics_score():
    model, alone = network(), network(n_clinical=0)
    features, present, clinical = batch()
    alone.trunk.load_state_dict(model.trunk.state_dict())
    with torch.no_grad():
        model.fourth.weight[0, 4:] = 0
        alone.fourth.weight.copy_(model.fourth.weight[:, :4])
        alone.fourth.bias.copy_(model.fourth.bias)

    torch.testing.assert_close(model(features, present, clinical), alone(features, present, clinical[:, :0]))


def test_a_lesion_that_is_not_there_changes_nothing():
    model = network()
    features, present, clinical = batch()
    changed = features.clone()
    changed[~present] = 99.0

    torch.testing.assert_close(model(features, present, clinical), model(changed, present, clinical))


def logits(rows, lesions, spread=3.0):
    generator = torch.Generator().manual_seed(4)
    return spread * torch.randn(rows, lesions, generator=generator, dtype=torch.float64)


def everywhere(score):
    return torch.ones_like(score, dtype=torch.bool)


def test_noisy_or_is_the_logit_of_the_chance_that_any_lesion_brings_the_event():
    score = logits(6, 4)

    found = noisy_or(score, everywhere(score))

    torch.testing.assert_close(found, (1 - (1 - score.sigmoid()).prod(dim=1)).logit(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        ([-300.0, -300.0], -300.0 + math.log(2)),  # p + p - p², and p² is nothing beside p
        ([-500.0, -30.0], -30.0),
        ([400.0, 400.0], 800.0),  # (1 - p)² = exp(-800)
        ([0.0, 0.0, 0.0], math.log(7)),  # 7 in 8
        ([900.0, -900.0], 900.0),
    ],
)
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_noisy_or_saturates_nowhere(score, expected, kind):
    given = torch.tensor([score], dtype=kind, requires_grad=True)

    found = noisy_or(given, everywhere(given))
    found.sum().backward()

    assert found.item() == pytest.approx(expected, rel=1e-6)
    assert given.grad.isfinite().all()
    assert given.grad.sum() > 0.5


def test_the_gradient_of_noisy_or_is_each_lesions_chance_over_the_patients():
    score = logits(6, 4).requires_grad_()

    noisy_or(score, everywhere(score)).sum().backward()

    # of log(1 / Π(1 - p) - 1) by z, with dp/dz = p(1 - p)
    chance = score.detach().sigmoid()
    torch.testing.assert_close(score.grad, chance / (1 - (1 - chance).prod(dim=1, keepdim=True)))


def test_the_order_of_lesions_and_places_without_one_change_no_noisy_or():
    score = logits(6, 4)
    expected = noisy_or(score, everywhere(score))

    turned = noisy_or(score.flip(1), everywhere(score))
    padded = torch.cat([torch.full((6, 2), 77.0), score, torch.full((6, 1), -77.0)], dim=1)
    present = torch.tensor([False, False, True, True, True, True, False]).expand(6, 7)

    torch.testing.assert_close(turned, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(noisy_or(padded, present), expected, rtol=1e-12, atol=1e-12)


def test_noisy_or_of_one_lesion_is_its_own_logit_to_the_bit():
    score = logits(50, 1, spread=30.0)

    assert torch.equal(noisy_or(score, everywhere(score)), score[:, 0])


def test_a_network_under_noisy_or_pools_what_it_gives_each_lesion_alone():
    model = network()
    features, present, clinical = batch()

    found = NoisyOr(model)(features, present, clinical)

    for patient in range(5):
        alone = [
            model(features[patient, place][None, None], present[patient, place][None, None], clinical[patient][None])
            for place in present[patient].nonzero()[:, 0]
        ]
        chance = torch.cat(alone).double().sigmoid()
        assert found[patient].item() == pytest.approx((1 - (1 - chance).prod()).logit().item(), rel=1e-5)


def test_a_lesion_that_is_not_there_changes_nothing_under_noisy_or():
    model = NoisyOr(network())
    features, present, clinical = batch()
    expected = model(features, present, clinical)
    changed = features.clone()
    changed[~present] = 99.0
    wider = torch.cat([changed, torch.full((5, 3, 7), 99.0)], dim=1)

    found = model(wider, torch.cat([present, torch.zeros(5, 3, dtype=torch.bool)], dim=1), clinical)

    assert torch.equal(model(changed, present, clinical), expected)
    torch.testing.assert_close(found, expected)


def test_patients_of_one_lesion_have_the_same_score_with_and_without_noisy_or():
    model = network()
    features, present, clinical = batch()

    expected = model(features[:, :1], present[:, :1], clinical)

    torch.testing.assert_close(NoisyOr(model)(features[:, :1], present[:, :1], clinical), expected, rtol=0, atol=0)
