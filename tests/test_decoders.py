from itertools import product

import pytest
import torch
from torch.testing import assert_close

import skvae.decoders
from skvae.decoders import AutoregressiveDecoder, FactorisedDecoder, _Row
from skvae.scalings import Variable

VARIABLES = (
    [Variable("bernoulli")] * 2
    + [Variable("gaussian")] * 3
    + [Variable("categorical", 3, coded=True), Variable("categorical", 4, coded=True)]
)


@pytest.fixture
def decoder():
    return FactorisedDecoder(VARIABLES, 2, (8,), "tanh", torch.Generator().manual_seed(0))


@pytest.fixture
def z():
    return torch.randn(50, 2, generator=torch.Generator().manual_seed(1))


def test_cells_are_scored_each_by_its_own_likelihood(decoder, z):
    x = decoder.sample(z, torch.Generator().manual_seed(2))
    log_prob = decoder.log_prob(x, z)
    assert log_prob.shape == x.shape == (50, len(VARIABLES))
    theta = decoder.network(z)
    assert_close(log_prob[:, 0], torch.distributions.Bernoulli(logits=theta[:, 0]).log_prob(x[:, 0]))
    assert_close(log_prob[:, 5], theta[:, 5:8].log_softmax(-1).gather(1, x[:, 5:6].long())[:, 0])


def test_many_latents_a_row(decoder, z):
    x = decoder.sample(z, torch.Generator().manual_seed(2))
    many = decoder.log_prob(x, torch.stack([z, z.flip(0)]))
    assert_close(many[0], decoder.log_prob(x, z))
    assert_close(many[1], decoder.log_prob(x, z.flip(0)))


def test_mode_of_categories_is_the_most_probable_code(decoder, z):
    theta = decoder.network(z)
    assert torch.equal(decoder.centre(z)[:, 5].long(), theta[:, 5:8].argmax(-1))


def test_start_sets_the_marginals_of_every_block(decoder):
    mean = torch.tensor([0.2, 0.9, 1.0, -1.0, 0.0, 0.5, 0.3, 0.2, 0.1, 0.1, 0.4, 0.4])
    decoder.start(mean, torch.zeros(12, 2), torch.tensor(0.5))
    theta = decoder.network.path(torch.zeros(1, 2))[0]
    assert_close(theta[:2].sigmoid(), mean[:2])
    assert_close(theta[2:5], mean[2:5])
    assert_close(theta[5:8].softmax(0), mean[5:8])
    assert_close(theta[9:].softmax(0), mean[8:])  # both categories have room for the larger


@pytest.fixture
def cells():
    """An autoregressive decoder of a yes or no and two categories, with weights that matter."""
    variables = [Variable("bernoulli"), Variable("categorical", 3, coded=True), Variable("categorical", 4, coded=True)]
    decoder = AutoregressiveDecoder(variables, torch.Generator().manual_seed(0))
    for output in decoder.network.outputs:
        torch.nn.init.normal_(output.weight, std=0.5, generator=torch.Generator().manual_seed(1))
    return decoder.double()


ROWS = torch.tensor(list(product(range(2), range(3), range(4))), dtype=torch.float64)


@pytest.mark.parametrize("order", [None, [2, 0, 1], [1, 2, 0]])
def test_a_chain_of_cells_sums_to_one(cells, order):
    order = None if order is None else torch.tensor(order)
    with torch.no_grad():
        total = cells.log_prob(ROWS, order=order).sum(-1).exp().sum()
    assert_close(total, torch.tensor(1.0, dtype=torch.float64))


def test_a_cell_depends_on_those_before_it_only(cells):
    order = torch.tensor([2, 0, 1])
    other = ROWS.clone()
    other[:, 1] = (other[:, 1] + 1) % 3
    first, second = (cells.log_prob(x, order=order) for x in (ROWS, other))
    assert_close(first[:, [0, 2]], second[:, [0, 2]])
    assert (first[:, 1] != second[:, 1]).any()


def test_draws_are_as_frequent_as_they_are_probable(cells):
    with torch.no_grad():
        probability = cells.log_prob(ROWS).sum(-1).exp()
        x = torch.zeros(40_000, 3, dtype=torch.float64)
        drawn = cells.sample(x, torch.zeros_like(x, dtype=torch.bool), torch.Generator().manual_seed(2))
    share = (drawn[:, None] == ROWS).all(-1).double().mean(0)
    assert_close(share, probability, atol=0.01, rtol=0)


@pytest.mark.parametrize(("j", "code", "n_candidates"), [(0, 1, 1), (2, 3, 64)], ids=["first", "last"])
def test_known_cells_stay_and_the_others_follow_them_as_in_the_first_order(cells, monkeypatch, j, code, n_candidates):
    """One that comes first is followed whatever the candidates; one that comes last, as there are more of them."""
    monkeypatch.setattr(skvae.decoders, "N_CANDIDATES", n_candidates)
    x = torch.zeros(6000, 3, dtype=torch.float64)
    x[:, j] = code
    known = torch.zeros_like(x, dtype=torch.bool)
    known[:, j] = True
    given = ROWS[:, j] == code
    with torch.no_grad():
        drawn = cells.sample(x, known, torch.Generator().manual_seed(3))
        probability = cells.log_prob(ROWS[given]).sum(-1).softmax(0)
    share = (drawn[:, None] == ROWS[given]).all(-1).double().mean(0)
    assert (drawn[:, j] == code).all()
    assert_close(share, probability, atol=0.02, rtol=0)


def started_at_a_normal():
    """A decoder at its start, its perceptrons silent, and the dependent rows (5000, 4) that it starts from."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5000, 4, generator=generator) @ torch.randn(4, 4, generator=generator)
    x = (x - x.mean(0)) / x.std(0)
    decoder = AutoregressiveDecoder([Variable("gaussian", floor=1e-6)] * 4, generator)
    for parameter in decoder.network.outputs.parameters():
        torch.nn.init.zeros_(parameter)
    decoder.start(x, None, torch.ones(5000), torch.zeros(4))
    return decoder, x


def test_it_starts_at_the_normal_distribution_of_the_data():
    decoder, x = started_at_a_normal()
    normal = torch.distributions.MultivariateNormal(x.mean(0), x.T.cov())
    for order in (None, torch.tensor([3, 1, 0, 2])):
        assert_close(decoder.log_prob(x, order=order).sum(-1), normal.log_prob(x), atol=0.05, rtol=0.01)


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
    variables = [Variable("bernoulli"), *[Variable("gaussian", floor=1e-6)] * 2, Variable("gaussian", missing_at=0)]
    decoder = AutoregressiveDecoder(variables, generator).double()
    decoder.start(x, observed if n_missing else None, torch.ones(600).double(), torch.zeros(4).double())
    assert len(decoder.normal.log_weight) == (1 if n_missing else n_clusters)
    for parameter in (decoder.slopes, *decoder.network.outputs.parameters()):
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    with torch.no_grad():
        rows = decoder._chain(_Row(decoder, torch.zeros_like(x), torch.zeros_like(observed), scored=True), generator)
        log_prob = decoder.log_prob(rows.x, rows.decided)
    assert_close(rows.log_prob, log_prob.sum(-1))


def test_training_disturbs_numbers_and_hidden_units_without_shifting_them():
    decoder = AutoregressiveDecoder([Variable("gaussian")] * 2, torch.Generator().manual_seed(0))
    numbers = torch.randn(2, 5000, generator=torch.Generator().manual_seed(1))
    assert decoder._disturbed(numbers, None) == (numbers, None)
    blurred, factors = decoder._disturbed(numbers, torch.Generator().manual_seed(2))
    noise = blurred - numbers
    assert (noise.mean().item(), noise.std().item()) == pytest.approx((0.0, skvae.decoders.NOISE), abs=2e-3)
    assert factors.mean().item() == pytest.approx(1.0, abs=0.01)
    assert (factors == 0).float().mean().item() == pytest.approx(skvae.decoders.DROPOUT[0], abs=0.01)


def test_whether_a_cell_is_missing_comes_before_it_in_every_order():
    variables = [Variable("bernoulli"), Variable("gaussian", missing_at=0), Variable("gaussian")]
    decoder, generator = AutoregressiveDecoder(variables, torch.Generator()), torch.Generator().manual_seed(0)
    orders = [order.tolist() for order in (decoder.order(generator) for _ in range(200)) if order is not None]
    assert len({tuple(order) for order in orders}) == 3
    assert all(order.index(0) < order.index(1) for order in orders)


def test_calibrated_draws_are_as_frequent_as_the_data(cells):
    generator = torch.Generator().manual_seed(0)
    x = ROWS[torch.multinomial(torch.rand(24, generator=generator), 5000, replacement=True, generator=generator)]
    cells.calibrate(x, None, torch.ones(5000, dtype=torch.float64), generator)
    drawn = cells.sample(torch.zeros(40_000, 3).double(), torch.zeros(40_000, 3, dtype=torch.bool), generator)
    for j, size in enumerate((2, 3, 4)):
        shares = (torch.bincount(cell[:, j].long(), minlength=size) / len(cell) for cell in (drawn, x))
        assert_close(*shares, atol=0.01, rtol=0)


def test_clusters_are_drawn_and_followed():
    """Two clusters in two numbers: it starts at both, draws both, and given one number knows the cluster of the other."""
    generator = torch.Generator().manual_seed(0)
    x = 0.3 * torch.randn(600, 2, generator=generator) + torch.where(torch.arange(600)[:, None] < 200, 1.5, -0.75)
    decoder = AutoregressiveDecoder([Variable("gaussian", floor=1e-6)] * 2, generator)
    decoder.start(x, None, torch.ones(600), torch.zeros(2))
    x = torch.tensor([[1.5, 0.0], [-0.75, 0.0]]).repeat(5000, 1)
    with torch.no_grad():
        free = decoder.sample(x, torch.zeros_like(x, dtype=torch.bool), generator)
        given = decoder.sample(x, torch.tensor([[True, False]]).expand(10_000, -1), generator)
        centre = decoder.centre(x, torch.tensor([[True, False]]).expand(10_000, -1))
    assert (free > 0.4).double().mean(0).tolist() == pytest.approx([1 / 3, 1 / 3], abs=0.02)
    assert ((free > 0.4).sum(1) == 1).double().mean() < 0.01
    for filled in (given, centre):
        assert (filled[::2, 1].mean().item(), filled[1::2, 1].mean().item()) == pytest.approx((1.5, -0.75), abs=0.1)
    assert given[::2, 1].std().item() == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("order", [None, [3, 1, 0, 2]])
def test_missing_cells_are_integrated_out_of_the_normal_it_starts_at(order):
    decoder, x = started_at_a_normal()
    observed = torch.ones(5000, 4, dtype=torch.bool)
    observed[::2, 1], observed[::3, 3] = False, False
    with torch.no_grad():
        log_prob = decoder.log_prob(x, observed, None if order is None else torch.tensor(order)).sum(-1)
    for row in range(6):
        seen = observed[row]
        normal = torch.distributions.MultivariateNormal(x.mean(0)[seen], x.T.cov()[seen][:, seen])
        assert_close(log_prob[row], normal.log_prob(x[row, seen]), atol=0.05, rtol=0.01)
    # however few rows are worked on at once
    assert_close(
        decoder.normal.in_order(x, observed, torch.arange(4))[1][:, :7],
        decoder.normal.in_order(x[:7], observed[:7], torch.arange(4))[1],
    )
