import pytest

torch = pytest.importorskip("torch", reason="networks need the extra train")

from radnet.models.networks import RadiomicsMLP  # noqa: E402


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
