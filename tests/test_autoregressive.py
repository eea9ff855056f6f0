"""The chain over cells: its density, its draws and its conditionals agree; its layers are those of the book."""

from itertools import product

import pytest
import torch
from torch.testing import assert_close

import skvae.autoregressive
from skvae.autoregressive import Basis, CellPerceptrons, Chain, _PartialRows
from skvae.contexts import differentiated_by_torch
from skvae.rows import Part
from skvae.scalings import Variable


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def chain():
    """A chain over a yes or no and two categories, with weights that matter."""
    variables = [Variable("bernoulli"), Variable("categorical", 3, coded=True), Variable("categorical", 4, coded=True)]
    chain = Chain(variables, torch.Generator().manual_seed(0))
    for output in chain.network.outputs:
        torch.nn.init.normal_(output.weight, std=0.5, generator=torch.Generator().manual_seed(1))
    return chain.double()


ROWS = torch.tensor(list(product(range(2), range(3), range(4))), dtype=torch.float64)


@pytest.mark.parametrize("order", [None, [2, 0, 1], [1, 2, 0]])
def test_a_chain_of_cells_sums_to_one(chain, order):
    order = None if order is None else torch.tensor(order)
    with torch.no_grad():
        total = chain.log_prob(Part(ROWS), order).sum(-1).exp().sum()
    assert_close(total, torch.tensor(1.0, dtype=torch.float64))


def test_a_cell_depends_on_those_before_it_only(chain):
    order = torch.tensor([2, 0, 1])
    other = ROWS.clone()
    other[:, 1] = (other[:, 1] + 1) % 3
    first, second = (chain.log_prob(Part(x), order) for x in (ROWS, other))
    assert_close(first[:, [0, 2]], second[:, [0, 2]])
    assert (first[:, 1] != second[:, 1]).any()


def test_draws_are_as_frequent_as_they_are_probable(chain):
    with torch.no_grad():
        probability = chain.log_prob(Part(ROWS)).sum(-1).exp()
        x = torch.zeros(40_000, 3, dtype=torch.float64)
        drawn = chain.sample(x, torch.zeros_like(x, dtype=torch.bool), torch.Generator().manual_seed(2))
    share = (drawn[:, None] == ROWS).all(-1).double().mean(0)
    assert_close(share, probability, atol=0.01, rtol=0)


@pytest.mark.parametrize(("j", "code", "n_candidates"), [(0, 1, 1), (2, 3, 64)], ids=["first", "last"])
def test_known_cells_stay_and_the_others_follow_them_as_in_the_fixed_order(chain, monkeypatch, j, code, n_candidates):
    """One that comes first is followed whatever the candidates; one that comes last, as there are more of them."""
    monkeypatch.setattr(skvae.autoregressive, "CANDIDATES", (n_candidates,))
    x = torch.zeros(6000, 3, dtype=torch.float64)
    x[:, j] = code
    known = torch.zeros_like(x, dtype=torch.bool)
    known[:, j] = True
    given = ROWS[:, j] == code
    with torch.no_grad():
        drawn = chain.sample(x, known, torch.Generator().manual_seed(3))
        probability = chain.log_prob(Part(ROWS[given])).sum(-1).softmax(0)
    share = (drawn[:, None] == ROWS[given]).all(-1).double().mean(0)
    assert (drawn[:, j] == code).all()
    assert_close(share, probability, atol=0.02, rtol=0)


def started_at_a_normal():
    """A chain at its start, its perceptrons silent, and the dependent rows (5000, 4) that it starts from."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5000, 4, generator=generator) @ torch.randn(4, 4, generator=generator)
    x = (x - x.mean(0)) / x.std(0)
    chain = Chain([Variable("gaussian", least_scale=1e-6)] * 4, generator)
    for parameter in chain.network.outputs.parameters():
        torch.nn.init.zeros_(parameter)
    chain.start(Part(x), torch.ones(5000), torch.zeros(4))
    return chain, x


def test_it_starts_at_the_normal_distribution_of_the_data():
    chain, x = started_at_a_normal()
    normal = torch.distributions.MultivariateNormal(x.mean(0), x.T.cov())
    for order in (None, torch.tensor([3, 1, 0, 2])):
        assert_close(chain.log_prob(Part(x), order).sum(-1), normal.log_prob(x), atol=0.05, rtol=0.01)


@pytest.mark.parametrize("n_clusters", [1, 2])
@pytest.mark.parametrize("n_missing", [0, 200])
def test_draws_are_scored_cell_by_cell_as_whole_rows_are(n_clusters, n_missing):
    """Whatever the weights of the perceptrons and of the linear path."""
    generator = torch.Generator().manual_seed(0)
    x = 0.5 * torch.randn(600, 4, generator=generator, dtype=torch.float64)
    x[:, 1:3] += torch.where(torch.arange(600)[:, None] < 200, 2.0, -1.0) * (n_clusters - 1) + x[:, 3:]
    x[:, 0] = 0.0
    x[:n_missing, 0] = 1.0
    observed = torch.ones(600, 4, dtype=torch.bool)
    observed[:n_missing, 3] = False
    variables = [Variable("bernoulli"), *[Variable("gaussian", least_scale=1e-6)] * 2, Variable("gaussian", indicator=0)]
    chain = Chain(variables, generator).double()
    chain.start(Part(x, observed if n_missing else None), torch.ones(600).double(), torch.zeros(4).double())
    assert len(chain.normal.log_weight) == (1 if n_missing else n_clusters)
    for parameter in (chain.regressions.slopes, *chain.network.outputs.parameters()):
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    with torch.no_grad():
        rows = chain._draw_in_order(
            _PartialRows(chain, torch.zeros_like(x), torch.zeros_like(observed), scored=True), generator
        )
        log_prob = chain.log_prob(Part(rows.x, rows.decided))
    assert_close(rows.log_prob, log_prob.sum(-1))


def test_training_disturbs_numbers_and_hidden_units_without_shifting_them():
    chain = Chain([Variable("gaussian")] * 2, torch.Generator().manual_seed(0))
    numbers = torch.randn(2, 5000, generator=torch.Generator().manual_seed(1))
    assert chain._disturbed(numbers, None) == (numbers, None)
    blurred, factors = chain._disturbed(numbers, torch.Generator().manual_seed(2))
    noise = blurred - numbers
    assert (noise.mean().item(), noise.std().item()) == pytest.approx((0.0, skvae.autoregressive.NOISE), abs=2e-3)
    assert factors.mean().item() == pytest.approx(1.0, abs=0.01)
    assert (factors == 0).float().mean().item() == pytest.approx(skvae.autoregressive.DROPOUT[0], abs=0.01)


def test_whether_a_cell_is_missing_comes_before_it_in_every_order():
    variables = [Variable("bernoulli"), Variable("gaussian", indicator=0), Variable("gaussian")]
    chain, generator = Chain(variables, torch.Generator()), torch.Generator().manual_seed(0)
    orders = [order.tolist() for order in (chain.order(generator) for _ in range(200)) if order is not None]
    assert len({tuple(order) for order in orders}) == 3
    assert all(order.index(0) < order.index(1) for order in orders)


def test_calibrated_draws_are_as_frequent_as_the_data(chain):
    generator = torch.Generator().manual_seed(0)
    x = ROWS[torch.multinomial(torch.rand(24, generator=generator), 5000, replacement=True, generator=generator)]
    chain.calibrate(Part(x), torch.ones(5000, dtype=torch.float64), generator)
    drawn = chain.sample(torch.zeros(40_000, 3).double(), torch.zeros(40_000, 3, dtype=torch.bool), generator)
    for j, size in enumerate((2, 3, 4)):
        shares = (torch.bincount(cell[:, j].long(), minlength=size) / len(cell) for cell in (drawn, x))
        assert_close(*shares, atol=0.01, rtol=0)


def test_clusters_are_drawn_and_followed():
    """Two clusters in two numbers: it starts at both, draws both, and given one number knows the cluster of the other."""
    generator = torch.Generator().manual_seed(0)
    x = 0.3 * torch.randn(600, 2, generator=generator) + torch.where(torch.arange(600)[:, None] < 200, 1.5, -0.75)
    chain = Chain([Variable("gaussian", least_scale=1e-6)] * 2, generator)
    chain.start(Part(x), torch.ones(600), torch.zeros(2))
    x = torch.tensor([[1.5, 0.0], [-0.75, 0.0]]).repeat(5000, 1)
    with torch.no_grad():
        free = chain.sample(x, torch.zeros_like(x, dtype=torch.bool), generator)
        given = chain.sample(x, torch.tensor([[True, False]]).expand(10_000, -1), generator)
        centre = chain.centre(x, torch.tensor([[True, False]]).expand(10_000, -1))
    assert (free > 0.4).double().mean(0).tolist() == pytest.approx([1 / 3, 1 / 3], abs=0.02)
    assert ((free > 0.4).sum(1) == 1).double().mean() < 0.01
    for filled in (given, centre):
        assert (filled[::2, 1].mean().item(), filled[1::2, 1].mean().item()) == pytest.approx((1.5, -0.75), abs=0.1)
    assert given[::2, 1].std().item() == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("order", [None, [3, 1, 0, 2]])
def test_missing_cells_are_integrated_out_of_the_normal_it_starts_at(order):
    chain, x = started_at_a_normal()
    observed = torch.ones(5000, 4, dtype=torch.bool)
    observed[::2, 1], observed[::3, 3] = False, False
    with torch.no_grad():
        log_prob = chain.log_prob(Part(x, observed), None if order is None else torch.tensor(order)).sum(-1)
    for row in range(6):
        seen = observed[row]
        normal = torch.distributions.MultivariateNormal(x.mean(0)[seen], x.T.cov()[seen][:, seen])
        assert_close(log_prob[row], normal.log_prob(x[row, seen]), atol=0.05, rtol=0.01)
    # however few rows are worked on at once
    assert_close(
        chain.normal.in_order(x, observed, torch.arange(4))[1][:, :7],
        chain.normal.in_order(x[:7], observed[:7], torch.arange(4))[1],
    )


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


def by_the_book(net, codes, numbers, before, observed=None, dropped=1.0):
    """What the perceptrons put out, by the book."""
    messages = [net.message(j, net.table(), codes[j], numbers[j] if j < 2 else None) for j in range(4)]
    messages = torch.stack(messages) if observed is None else torch.stack(messages) * observed[..., None]
    hidden = dropped * torch.nn.functional.silu(torch.einsum("ij,jnw->inw", before.to(messages), messages) + net.biases)
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
    expected = by_the_book(net, codes, numbers, before, seen, 1.0 if dropped is None else dropped)
    assert_close(out, expected)
    weight = torch.randn(out.shape, generator=generator)
    gradients = (torch.autograd.grad((o * weight).sum(), list(net.parameters())) for o in (out, expected))
    for own, wanted in zip(*gradients, strict=True):
        assert wanted.abs().max() > 0
        assert_close(own, wanted)


def test_a_single_cell_puts_out_what_it_does_among_all(perceptrons, generator):
    net, (codes, numbers, before, observed) = perceptrons, inputs(generator)
    out = net(codes, numbers, before, observed)
    seen = torch.einsum("ij,jnw->inw", before, net.messages(net.table(), codes, numbers, observed))
    each = {0: [0, 1, 2, 6], 1: [3, 4, 5, 7], 2: [10, 11, 12, 13], 3: [8, 9]}
    for j, columns in each.items():
        widths = [3, 1] if j < 2 else [len(columns)]
        assert_close(net.single(j, seen[j], widths), out[:, columns])
        net.shift(j, torch.arange(1.0, 1 + len(columns)), widths)
        shifted = net(codes, numbers, before, observed)
        assert_close((shifted - out)[:, columns], torch.arange(1.0, 1 + len(columns)).expand(5, -1))
        assert (shifted != out).any(0).sum() == len(columns)
        out = shifted
    assert_close(net.single(2, seen[2], [3]), out[:, 10:13])  # of a likelihood with fewer codes than others have room for


def test_messages_and_outputs_are_mixed_of_a_basis(perceptrons, generator):
    """Codes of equal rows of the basis cannot be messages apart, whatever the weights; the bias alone is a code's own."""
    net, (codes, numbers, before, observed) = perceptrons, inputs(generator)
    codes[0, :3] = torch.arange(3)
    messages = net.messages(net.table(), codes, torch.zeros_like(numbers), torch.ones_like(observed))
    assert torch.equal(messages[0, 0], messages[0, 1])
    assert not torch.equal(messages[0, 0], messages[0, 2])
    out = net(codes, numbers, before)
    assert_close(out[:, 0], out[:, 1])
    assert_close(out[:, 3], out[:, 4])


@pytest.mark.parametrize("is_whole", [True, False])
def test_perceptrons_are_differentiated_by_hand_as_by_torch(perceptrons, generator, is_whole):
    net, (codes, numbers, before, observed) = perceptrons, inputs(generator)
    dropped = torch.rand(5, 8, generator=generator)

    def run():
        out = net(codes, numbers, before, None if is_whole else observed, dropped)
        weight = torch.linspace(0.5, 1.5, out.numel()).view_as(out)
        return out, *torch.autograd.grad((out * weight).sum(), list(net.parameters()))

    by_hand = run()
    with differentiated_by_torch():
        by_torch = run()
    for own, wanted in zip(by_hand, by_torch, strict=True):
        assert_close(own, wanted, atol=1e-5, rtol=1e-4)


def test_gradients_of_every_row_of_a_chain_go_through_torch_func(chain):
    parameters = dict(chain.named_parameters())
    rows = ROWS[:6]

    def loss(parameters, row):
        return -torch.func.functional_call(chain, parameters, (row[None],)).sum()

    chain.forward = lambda x: chain.log_prob(Part(x))
    with differentiated_by_torch():
        each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, rows)
        whole = torch.func.grad(loss)(parameters, rows[3])
    for name, gradient in each.items():
        assert_close(gradient[3], whole[name])
