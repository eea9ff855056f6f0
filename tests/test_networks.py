import pytest
import torch
from torch.testing import assert_close

from skvae.networks import ACTIVATIONS, MLP, CellEmbedding, CellPerceptrons, linear


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def test_cell_embedding_is_the_linear_map_of_numbers_and_one_hot_codes(generator):
    embedding = CellEmbedding(2, [3, 2], 4, generator)
    x = torch.tensor([[0.5, -1.0, 2.0, 1.0], [2.0, 0.0, 0.0, 0.0]])
    hot = torch.cat([torch.nn.functional.one_hot(x[:, 2].long(), 3), torch.nn.functional.one_hot(x[:, 3].long(), 2)], 1)
    expected = x[:, :2] @ embedding.numbers.T + embedding.bias + hot.float() @ embedding.categories.weight[:-1]
    assert torch.allclose(embedding(x), expected, atol=1e-6)


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
    first = linear(3, hidden[0], generator) if hidden else None
    mlp = MLP(linear(3, 2, generator), first, hidden, 2, activation, generator)
    x = torch.randn(5, 3, generator=generator)
    beside = mlp(x) - mlp.path(x)
    assert (beside.abs().max() > 0) == bool(hidden)
    assert beside.abs().max() < mlp.path(x).abs().max()  # it starts small


def test_building_leaves_the_global_stream_alone(generator):
    state = torch.get_rng_state()
    MLP(CellEmbedding(1, [2], 4, generator), CellEmbedding(1, [2], 8, generator), (8, 8), 4, "silu", generator)
    assert torch.equal(state, torch.get_rng_state())


def test_same_seed_same_weights():
    one, two = (linear(3, 2, torch.Generator().manual_seed(5)).weight for _ in range(2))
    assert torch.equal(one, two)


@pytest.mark.parametrize(("n_in", "n_out"), [(256, 128), (256, 4), (2, 128)])
def test_products_under_autocast_are_those_of_float32_and_narrow_ones_exactly(n_in, n_out):
    generator = torch.Generator().manual_seed(0)
    layer = linear(n_in, n_out, generator)
    x = torch.randn(32, n_in, generator=generator, requires_grad=True)
    wanted = torch.randn(32, n_out, generator=generator)

    def run(half):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            out = layer(x)
        return out, *torch.autograd.grad((out * wanted).sum(), [x, layer.weight, layer.bias])

    wide = min(n_in, n_out) >= 64
    for half, full in zip(run(True), run(False), strict=True):
        assert half.dtype == torch.float32
        error = (half - full).norm() / full.norm()
        assert error < (0.01 if wide else 1e-7)
    assert torch.equal(run(True)[0], run(False)[0]) != wide


def test_what_cells_tell_and_put_out_is_mixed_of_a_basis(generator):
    """Codes of equal rows of the basis cannot be told apart, whatever the weights; the bias alone is a code's own."""
    basis = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 2.0]]).expand(2, -1, -1)  # two functions of three codes, of two cells
    net = CellPerceptrons([3, 4, 3], [([1], 4, None), ([0, 2], 3, basis)], 8, generator)
    codes, numbers = torch.tensor([[0, 1, 2], [0, 1, 3], [0, 1, 2]]), torch.zeros(3, 3)
    told = net.tell(net.table(), codes, numbers)
    for j in (0, 2):
        assert torch.equal(told[j, 0], told[j, 1])
        assert not torch.equal(told[j, 0], told[j, 2])
    assert not torch.equal(told[0], told[2])
    assert not torch.equal(told[1, 0], told[1, 1])
    seen = torch.randn(3, 3, 8, generator=generator)
    out = net(seen)
    assert_close(out[:, 4], out[:, 5])
    assert_close(torch.cat([net.of(j, seen[j], [n]) for j, n in ((1, 4), (0, 3), (2, 3))], 1), out)
    net.shift(2, torch.arange(3.0), [3])
    assert_close(net(seen) - out, torch.tensor([[0.0] * 7 + [0.0, 1.0, 2.0]]).expand(3, -1))
