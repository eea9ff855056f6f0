import pytest
import torch

import skvae.networks
from skvae.networks import ACTIVATIONS, MLP, CellEmbedding, Linear


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture(params=[0, 1000], ids=["looked up", "one-hot"])
def _both_ways(request, monkeypatch):
    """Codes are looked up, or multiplied with as one-hot vectors."""
    monkeypatch.setattr(skvae.networks, "MANY_CODES", request.param)


@pytest.mark.usefixtures("_both_ways")
def test_cell_embedding_is_the_linear_map_of_numbers_and_one_hot_codes(generator):
    embedding = CellEmbedding(2, [3, 2], 4, generator)
    x = torch.tensor([[0.5, -1.0, 2.0, 1.0], [2.0, 0.0, 0.0, 0.0]])
    hot = torch.cat([torch.nn.functional.one_hot(x[:, 2].long(), 3), torch.nn.functional.one_hot(x[:, 3].long(), 2)], 1)
    expected = x[:, :2] @ embedding.numbers.T + embedding.bias + hot.float() @ embedding.categories.weight[:-1]
    assert torch.allclose(embedding(x), expected, atol=1e-6)


@pytest.mark.usefixtures("_both_ways")
@pytest.mark.parametrize("column", range(3))
def test_a_missing_cell_adds_nothing_whatever_it_holds(generator, column):
    embedding = CellEmbedding(2, [3], 4, generator)
    x = torch.tensor([[0.5, -1.0, 1.0]])
    observed = torch.ones(1, 3, dtype=torch.bool)
    observed[0, column] = False
    other = x.clone()
    other[0, column] = 2.0
    assert torch.equal(embedding(x, observed), embedding(other, observed))
    assert not torch.equal(embedding(x), embedding(x, observed))


@pytest.mark.usefixtures("_both_ways")
def test_a_missing_category_moves_no_weight_of_the_table(generator):
    embedding = CellEmbedding(0, [3, 2], 4, generator)
    x, observed = torch.tensor([[1.0, 0.0], [2.0, 1.0]]), torch.tensor([[True, False], [True, True]])
    embedding(x, observed).sum().backward()
    assert embedding.categories.weight.grad[:, 0].tolist() == [0, 1, 1, 0, 1, 0]


@pytest.mark.usefixtures("_both_ways")
@pytest.mark.parametrize(("n_numbers", "sizes"), [(1, []), (0, [3]), (1, [4])])
def test_embedding_of_numbers_only_and_of_categories_only(generator, n_numbers, sizes):
    assert CellEmbedding(n_numbers, sizes, 2, generator)(torch.ones(5, n_numbers + len(sizes))).shape == (5, 2)


def test_embedding_becomes_a_given_linear_map(generator):
    """Of two numbers and the codes of the second of two categories; the first category counts for nothing."""
    embedding = CellEmbedding(2, [2, 3], 4, generator)
    slope, bias = torch.randn(5, 4, generator=generator), torch.randn(4, generator=generator)
    embedding.set_(slope, torch.tensor([0, 1, 4, 5, 6]), bias)
    x = torch.tensor([[0.5, -1.0, 1.0, 2.0], [2.0, 0.0, 0.0, 0.0]])
    features = torch.cat([x[:, :2], torch.nn.functional.one_hot(x[:, 3].long(), 3)], 1)
    assert torch.allclose(embedding(x), features @ slope + bias, atol=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", [(), (8,), (8, 6)])
def test_mlp_is_its_linear_path_plus_a_perceptron(generator, activation, hidden):
    mlp, straight = MLP(hidden, 2, activation, generator), torch.randn(5, 2, generator=generator)
    first = torch.randn(5, hidden[0], generator=generator) if hidden else None
    beside = mlp(straight, first) - straight
    assert (beside.abs().max() > 0) == bool(hidden)
    assert beside.abs().max() < straight.abs().max()  # it starts small


def test_building_leaves_the_global_stream_alone(generator):
    state = torch.get_rng_state()
    CellEmbedding(1, [2], 4, generator)
    MLP((8, 8), 4, "silu", generator)
    assert torch.equal(state, torch.get_rng_state())


def test_same_seed_same_weights():
    one, two = (Linear(3, 2, torch.Generator().manual_seed(5)).weight for _ in range(2))
    assert torch.equal(one, two)


def test_a_layer_with_weights_in_bfloat16_is_that_of_float32_but_for_rounding(generator):
    layer, last = Linear(256, 128, generator), Linear(128, 4, generator)
    x = torch.randn(32, 256, generator=generator, requires_grad=True)
    wanted = torch.randn(32, 4, generator=generator)

    def run():
        out = last(torch.tanh(layer(x)))
        return out, *torch.autograd.grad((out * wanted).sum(), [x, layer.weight, layer.bias, last.weight])

    full = run()
    layer.weight.data = layer.weight.data.bfloat16()
    assert layer(x).dtype == torch.bfloat16
    for half, whole in zip(run(), full, strict=True):
        assert 0 < (half.float() - whole).norm() / whole.norm() < 0.01
    assert run()[0].dtype == torch.float32
