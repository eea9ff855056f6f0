import pytest
import torch
from torch.testing import assert_close

import skvae.networks
from skvae.networks import ACTIVATIONS, MLP, Basis, CellEmbedding, CellPerceptrons, Linear


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
    first = Linear(3, hidden[0], generator) if hidden else None
    mlp = MLP(Linear(3, 2, generator), first, hidden, 2, activation, generator)
    x = torch.randn(5, 3, generator=generator)
    beside = mlp(x) - mlp.path(x)
    assert (beside.abs().max() > 0) == bool(hidden)
    assert beside.abs().max() < mlp.path(x).abs().max()  # it starts small


def test_building_leaves_the_global_stream_alone(generator):
    state = torch.get_rng_state()
    MLP(CellEmbedding(1, [2], 4, generator), CellEmbedding(1, [2], 8, generator), (8, 8), 4, "silu", generator)
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


@pytest.fixture
def perceptrons(generator):
    """Of two numbers, in bins that are mixed of two functions, and two categories between which and that they alternate."""
    basis = Basis(torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 2.0]]).expand(2, -1, -1), torch.tensor([[0.0, 0.0, 0.5]] * 2))
    outputs = [([0, 1], 3, basis), ([0, 1], 1, None), ([3], 2, None), ([2], 4, None)]
    return CellPerceptrons([3, 3, 4, 2], 2, outputs, 8, generator)


def inputs(generator, n=5):
    """Codes (4, n), numbers (2, n), a chain in which the last cell comes first, what is observed (4, n)."""
    codes = torch.stack([torch.randint(size, (n,), generator=generator) for size in (3, 3, 4, 2)])
    before = torch.tensor([[0, 0, 0, 1], [1, 0, 0, 1], [1, 1, 0, 1], [0, 0, 0, 0]]).float()
    return codes, torch.randn(2, n, generator=generator), before, torch.rand(4, n, generator=generator) < 0.8


def plain(net, codes, numbers, before, observed=None, dropped=1.0):
    """What the perceptrons put out, by the book."""
    told = [net.tell(j, net.table(), codes[j], numbers[j] if j < 2 else None) for j in range(4)]
    told = torch.stack(told) if observed is None else torch.stack(told) * observed[..., None]
    hidden = dropped * torch.nn.functional.silu(torch.einsum("ij,jnw->inw", before.to(told), told) + net.biases)
    hidden = hidden + dropped * torch.nn.functional.silu(hidden @ net.hidden + net.hidden_biases)
    mixed = {cells: output for output in net.outputs for cells in [tuple(output.cells)]}
    numbers_, third, second = mixed[0, 1], mixed[(3,)], mixed[(2,)]
    shared, own, free = numbers_.weight.split([2, 3, 1], -1)
    weight = torch.cat([shared @ torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 2.0]]), free], -1)
    weight[..., 2] += 0.5 * own[..., 2]
    out = hidden[:2] @ weight + numbers_.bias
    parts = [out[..., :3].transpose(0, 1).flatten(1), out[..., 3].T]
    return torch.cat([*parts, (hidden[3] @ third.weight + third.bias)[0], (hidden[2] @ second.weight + second.bias)[0]], 1)


@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize("has_dropout", [True, False])
def test_perceptrons_and_their_gradients_are_those_of_the_book(perceptrons, generator, is_whole, has_dropout):
    net, (codes, numbers, before, observed) = perceptrons, inputs(generator)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    seen = None if is_whole else observed
    dropped = torch.rand(5, 8, generator=generator) if has_dropout else None
    out = net(codes, numbers, before, seen, dropped)
    expected = plain(net, codes, numbers, before, seen, 1.0 if dropped is None else dropped)
    assert_close(out, expected)
    weight = torch.randn(out.shape, generator=generator)
    gradients = (torch.autograd.grad((o * weight).sum(), list(net.parameters())) for o in (out, expected))
    for own, wanted in zip(*gradients, strict=True):
        assert wanted.abs().max() > 0
        assert_close(own, wanted)


def test_one_cell_alone_puts_out_what_it_does_among_all(perceptrons, generator):
    net, (codes, numbers, before, observed) = perceptrons, inputs(generator)
    out = net(codes, numbers, before, observed)
    seen = torch.einsum("ij,jnw->inw", before, net.told(net.table(), codes, numbers, observed))
    each = {0: [0, 1, 2, 6], 1: [3, 4, 5, 7], 2: [10, 11, 12, 13], 3: [8, 9]}
    for j, columns in each.items():
        widths = [3, 1] if j < 2 else [len(columns)]
        assert_close(net.of(j, seen[j], widths), out[:, columns])
        net.shift(j, torch.arange(1.0, 1 + len(columns)), widths)
        shifted = net(codes, numbers, before, observed)
        assert_close((shifted - out)[:, columns], torch.arange(1.0, 1 + len(columns)).expand(5, -1))
        assert (shifted != out).any(0).sum() == len(columns)
        out = shifted
    assert_close(net.of(2, seen[2], [3]), out[:, 10:13])  # of a likelihood with fewer codes than others have room for


def test_what_cells_tell_and_put_out_is_mixed_of_a_basis(perceptrons, generator):
    """Codes of equal rows of the basis cannot be told apart, whatever the weights; the bias alone is a code's own."""
    net, (codes, numbers, before, observed) = perceptrons, inputs(generator)
    codes[0, :3] = torch.arange(3)
    told = net.told(net.table(), codes, torch.zeros_like(numbers), torch.ones_like(observed))
    assert torch.equal(told[0, 0], told[0, 1])
    assert not torch.equal(told[0, 0], told[0, 2])
    out = net(codes, numbers, before)
    assert_close(out[:, 0], out[:, 1])
    assert_close(out[:, 3], out[:, 4])
