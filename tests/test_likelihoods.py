"""One body over LIKELIHOODS: every one is a normalised distribution with the support, draws and mode that it claims."""

import math
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch.testing import assert_close

from skvae.contexts import differentiated_by_torch
from skvae.histogram import TiltedScores
from skvae.likelihoods import LIKELIHOODS
from skvae.scalings import SCALINGS, Variable

INF = math.inf

COUNTS = torch.arange(0, 4000)
REALS = torch.arange(-40, 40, 0.01)
UNIT = torch.arange(0.0005, 1, 0.001)
GRID, EDGES, NAN = (-2.0, -0.5, 0.0, 0.7, 2.5), (-3.0, -1.0, -0.5, 2.0, 4.0), math.nan


def bins(size, grid=GRID, edges=EDGES, atoms=None):
    """A variable of evenly filled bins."""
    grid, edges = grid[: size + 1], edges[: size + 1]
    means = tuple((left + right) / 2 for left, right in pairwise(edges))
    knots = tuple((edge, float(code)) for code, edge in enumerate(edges))
    return Variable("histogram", size, edge_scores=grid, bin_means=means, atoms=atoms or (NAN,) * size, knots=knots)


# of each likelihood: the variables of a block, and the points that carry all mass of each, with their width
CASES = {
    "gaussian": ([Variable("gaussian"), Variable("gaussian", least_scale=0.3)], REALS, 0.01),
    "gaussian on a lattice": (
        [Variable("gaussian", spacing=0.5), Variable("gaussian", spacing=0.5, lower=-1.0, upper=2.0)],
        torch.arange(-60, 61) * 0.5,
        1.0,
    ),
    "log_normal": ([Variable("log_normal")] * 2, REALS, 0.01),
    "student_t": ([Variable("student_t"), Variable("student_t")], torch.arange(-20_000, 20_000, 0.05), 0.05),
    "normal_scores": ([Variable("normal_scores")] * 2, torch.arange(-2000, 2000, 0.05), 0.05),
    "bernoulli": ([Variable("bernoulli")] * 3, torch.tensor([0.0, 1.0]), 1.0),
    "continuous_bernoulli": ([Variable("continuous_bernoulli")] * 2, UNIT, 0.001),
    "poisson": ([Variable("poisson"), Variable("poisson", centre=1.0, scale=0.5)], COUNTS, 1.0),
    "negative_binomial": ([Variable("negative_binomial")] * 2, COUNTS, 1.0),
    "zero_inflated_negative_binomial": ([Variable("zero_inflated_negative_binomial")] * 2, COUNTS, 1.0),
    "ordinal": (
        [Variable("ordinal", 3), Variable("ordinal", 5, centre=2.0), Variable("ordinal", 2)],
        torch.arange(5.0),
        1.0,
    ),
    "histogram": ([bins(4), bins(3)], 4 * UNIT, 0.004),
    "categorical": (
        [
            Variable("categorical", 3, coded=True),
            Variable("categorical", 9, coded=True),
            Variable("categorical", 3, coded=True),
        ],
        torch.arange(9.0),
        1.0,
    ),
}


@pytest.fixture(params=CASES)
def case(request):
    """A likelihood, random parameters theta (7, n_params), its support (k,) and the width of a point of it."""
    variables, points, width = CASES[request.param]
    generator = torch.Generator().manual_seed(0)
    likelihood = LIKELIHOODS[request.param.split()[0]](variables).double()
    with torch.no_grad():
        for parameter in likelihood.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))
    theta = torch.randn(7, likelihood.n_params, generator=generator, dtype=torch.float64)
    return likelihood, theta, points.double(), width


def in_support(likelihood, points):
    """(k, n_variables): whether each point is a value of each variable."""
    inside = torch.ones(len(points), likelihood.n_variables, dtype=torch.bool)
    for name, compare in (("lower", torch.ge), ("upper", torch.le)):
        if hasattr(likelihood, name):
            inside &= compare(points[:, None], getattr(likelihood, name))
    if hasattr(likelihood, "last"):
        inside &= points[:, None] < likelihood.last + 1
    return inside & (points[:, None] < torch.tensor(getattr(likelihood, "sizes", [math.inf] * likelihood.n_variables)))


def log_probs(likelihood, theta, points):
    """(k, 7, n_variables): of each point under each theta, minus infinity outside the support."""
    inside = in_support(likelihood, points)
    cells = torch.where(inside, points[:, None], 0.0)
    out = likelihood.log_prob(cells[:, None].expand(-1, len(theta), -1), theta)
    return torch.where(inside[:, None], out, -INF)


def test_every_likelihood_has_a_case():
    assert {name.split()[0] for name in CASES} == set(LIKELIHOODS)


def test_probabilities_sum_to_one(case):
    likelihood, theta, points, width = case
    total = log_probs(likelihood, theta, points).exp().sum(0) * width
    tail = 1e-3 if isinstance(likelihood, LIKELIHOODS["student_t"]) else 1e-6  # of a t, some lies beyond any grid
    assert_close(total, torch.ones_like(total), atol=tail, rtol=0)


def test_gradients_are_finite_and_reach_every_parameter(case):
    likelihood, theta, points, _ = case
    theta = theta.clone().requires_grad_()
    log_prob = log_probs(likelihood, theta, points)
    log_prob[log_prob > -1e4].sum().backward()
    # past a variable's last category there are thresholds, or pads, that nothing depends on
    unused = 6 if isinstance(likelihood, LIKELIHOODS["ordinal"]) else 0
    padded = likelihood.n_params - sum(likelihood.sizes) if hasattr(likelihood, "sizes") else 0
    assert (theta.grad == 0).sum() == padded * len(theta)
    for gradient in (theta.grad, *(parameter.grad for parameter in likelihood.parameters())):
        assert gradient.isfinite().all()
        assert (gradient == 0).sum() <= unused + padded * len(theta)


def test_draws_follow_the_probabilities(case):
    """Kolmogorov's distance between 20,000 draws and the cumulated probabilities stays below its 0.1 % point."""
    likelihood, theta, points, width = case
    n = 20_000
    with torch.no_grad():
        draws = likelihood.sample(theta[0].expand(n, -1), torch.Generator().manual_seed(1))
        draws = on_lattice(likelihood, draws)[:, :, None]
        cumulated = (log_probs(likelihood, theta[:1], points)[:, 0].exp() * width).cumsum(0)  # (k, n_variables)
    # the right edge of a point's cell, so that densities compare too
    places = torch.arange(0, len(points), max(1, len(points) // 4000))
    right = points[places] + (width / 2 if width < 1 else 1e-6)
    empirical = torch.cat([(draws <= edges).double().mean(0).T for edges in right.split(500)])
    assert (empirical - cumulated[places]).abs().max() < 1.95 / math.sqrt(n)


def on_lattice(likelihood, draws):
    """What unpacking does: round to the lattice, clip to the bounds; nothing for a continuum."""
    if not getattr(likelihood, "discrete", False):
        return draws
    rounded = (draws / likelihood.spacing).round() * likelihood.spacing
    return torch.minimum(torch.maximum(rounded, likelihood.lower), likelihood.upper)


CATEGORIES = "categorical", "ordinal"


def test_centre_is_the_mean_of_numbers_and_the_most_probable_category(case, request):
    likelihood, theta, points, width = case
    name = request.node.callspec.params["case"]
    with torch.no_grad():
        centre, log_prob = likelihood.centre(theta), log_probs(likelihood, theta, points)
    if name in CATEGORIES:
        assert torch.equal(centre, points[log_prob.argmax(0)])
    elif name == "histogram":  # the mean in the data's units, packed again
        for j, edges in enumerate((torch.tensor(EDGES), torch.tensor(EDGES[:4]))):
            code, width = centre[:, j].long(), edges.diff()
            mean = edges[code] + (centre[:, j] - code) * width[code]
            p = log_prob[:: len(points) // 4, :, j].exp()[: len(width)]
            assert_close(mean, (p.T @ (0.5 * (edges[1:] + edges[:-1])).double()), atol=1e-4, rtol=1e-4)
    elif name != "gaussian on a lattice":  # where the mean is that before rounding and clipping
        mean = (points[:, None, None] * log_prob.exp() * width).sum(0)
        assert_close(centre, mean, atol=2e-2, rtol=2e-2)


def test_features_are_finite_and_rise_with_numbers(case, request):
    likelihood, _, points, _ = case
    inside = in_support(likelihood, points)
    features = likelihood.features(torch.where(inside, points[:, None], 0.0))
    assert features.isfinite().all()
    for j in range(likelihood.n_variables):
        assert (features[inside[:, j], j].diff() >= 0).all()


def test_draws_repeat_with_the_generator_and_leave_the_global_stream(case):
    likelihood, theta, *_ = case
    state = torch.get_rng_state()
    one, two = (likelihood.sample(theta, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(state, torch.get_rng_state())


def test_float32_keeps_the_digits_of_float64(case):
    likelihood, theta, points, _ = case
    exact = log_probs(likelihood, theta, points)
    single = log_probs(likelihood.float(), theta.float(), points.float()).double()
    near = exact > -50
    assert torch.allclose(single[near], exact[near], rtol=1e-4, atol=1e-4)


# likelihoods whose parameters are one Newton step from the mean they are asked for
STARTING = "gaussian", "log_normal", "student_t", "normal_scores", "bernoulli", "continuous_bernoulli", "categorical"


@pytest.mark.parametrize("name", STARTING)
def test_start_reproduces_the_mean_and_the_slope(name):
    """At z = 0 the mean is the given one; a small z moves it by the loadings (to first order)."""
    variables, points, width = CASES[name]
    likelihood = LIKELIHOODS[name](variables).double()
    sizes = getattr(likelihood, "sizes", None)
    n_features = sum(sizes) if sizes else likelihood.n_variables
    mean = torch.full((n_features,), 0.45, dtype=torch.float64)
    if sizes:
        mean = torch.cat([torch.full((size,), 1 / size, dtype=torch.float64) for size in sizes])
    loadings = torch.zeros(n_features, 1, dtype=torch.float64)
    loadings[0], loadings[1] = 0.02, -0.02  # probabilities of categories move by zero in sum
    with torch.no_grad():
        bias, weight = likelihood.start(mean, loadings, torch.tensor(1.0, dtype=torch.float64))
        for z in (0.0, 1.0):
            theta = (bias + weight[:, 0] * z)[None]
            probabilities = log_probs(likelihood, theta, points.double())[:, 0].exp() * width
            reached = points.double() @ probabilities
            if sizes:
                reached = torch.cat([probabilities[:size, j] for j, size in enumerate(sizes)])
            assert_close(reached, mean + loadings[:, 0] * z, atol=4e-3, rtol=0)


def test_histogram_starts_as_a_normal_cut_into_bins():
    """Of many narrow bins: mean and spread are those of the linear model at every z."""
    scores = torch.linspace(-4, 4, 161)
    likelihood = LIKELIHOODS["histogram"]([bins(160, tuple(scores.tolist()), tuple(scores.tolist()))])
    bias, weight = likelihood.start(torch.tensor([0.2]), torch.tensor([[0.5]]), torch.tensor(0.6))
    middle = 0.5 * (scores[1:] + scores[:-1])
    for z in (-1.0, 0.0, 2.0):
        p = (bias + weight[:, 0] * z).softmax(0)
        assert p @ middle == pytest.approx(0.2 + 0.5 * z, abs=1e-3)
        assert (p @ (middle - 0.2 - 0.5 * z).square()).sqrt() == pytest.approx(0.6, abs=1e-3)


def test_lattice_mass_is_the_difference_of_the_normal_cdf():
    likelihood = LIKELIHOODS["gaussian"]([Variable("gaussian", spacing=1.0, least_scale=0.0)]).double()
    theta = torch.tensor([[0.3]], dtype=torch.float64)
    normal = torch.distributions.Normal(0.3, 1.0)
    for x in (-3.0, 0.0, 2.0):
        expected = (normal.cdf(torch.tensor(x + 0.5)) - normal.cdf(torch.tensor(x - 0.5))).log()
        assert likelihood.log_prob(torch.tensor([[x]]).double(), theta).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.fixture(params=[(0.6, -0.4, 0.02), (0.6, -0.4, 0.3), (0.6, -0.4, 3.0), (-6.0, 5.0, 0.1)], ids=str)
def relative(request):
    """Two histograms around logistic distributions, narrower or wider than their bins, or far away from them, with pieces
    that are one value.
    """
    # packed knots 0, .25, .5, 1, 2, 2.1, 3, 4: three pieces, a whole bin that is not split, two pieces, and another
    knots = tuple((x, p) for x, p in zip(range(8), (0.0, 0.25, 0.5, 1.0, 2.0, 2.1, 3.0, 4.0), strict=True))
    variable = replace(bins(4), knots=knots, spikes=(False, True, False, False, True, False, False))
    likelihood = LIKELIHOODS["histogram"]([variable, replace(bins(3), spikes=(False,) * 3)], relative=True).double()
    generator = torch.Generator().manual_seed(0)
    theta = torch.randn(1, likelihood.n_params, generator=generator, dtype=torch.float64)
    *location, scale = torch.tensor(request.param, dtype=torch.float64)
    return likelihood, likelihood.on_base(theta, torch.stack(location)[None], scale.expand(1, 2))


def test_a_histogram_on_a_base_is_a_density_in_every_bin(relative):
    likelihood, theta = relative
    step = 1e-4
    for j, size in enumerate((4, 3)):
        x = torch.zeros(int(size / step), 2, dtype=torch.float64)
        x[:, j] = torch.arange(len(x)) * step + step / 2
        p = likelihood.log_prob(x, theta)[:, j].exp().view(size, -1).sum(1) * step
        logits = likelihood._logits(theta)[0, likelihood.places].split([4, 3])[j]
        assert_close(p, logits.softmax(0), atol=2e-5, rtol=1e-3)


def test_draws_of_a_histogram_on_a_base_follow_it(relative):
    likelihood, theta = relative
    with torch.no_grad():
        draws = likelihood.sample(theta.expand(20_000, -1), torch.Generator().manual_seed(1))
    # cumulated at the ends of pieces: inside of one that is a single value, the density is that value's mass, spread
    ends = likelihood.packed_knots[0]
    x = torch.zeros(400_000, 2, dtype=torch.float64)
    x[:, 0] = torch.arange(400_000) * 1e-5 + 5e-6
    p = likelihood.log_prob(x, theta)[:, 0].exp() * 1e-5
    for end in ends:
        assert (draws[:, 0] < end).double().mean() == pytest.approx(p[x[:, 0] < end].sum().item(), abs=0.014)


def test_no_tilt_hides_where_a_narrow_distribution_is():
    """However small the mass of a bin and large its logit, the probabilities of all bins sum to one."""
    likelihood = LIKELIHOODS["histogram"]([replace(bins(4), spikes=(False,) * 4)], relative=True)
    theta = torch.zeros(5, likelihood.n_params)
    theta[:, 3] = torch.tensor([0.0, 20.0, 40.0, 60.0, 80.0])
    for scale in (0.01, 0.05, 0.2):
        based = likelihood.on_base(theta, torch.full((5, 1), -0.9), torch.full((5, 1), scale))
        x = torch.arange(0, 4, 1e-3)[:, None] + 5e-4
        p = torch.stack([likelihood.log_prob(x, row.expand(len(x), -1)).exp().sum() * 1e-3 for row in based])
        assert_close(p, torch.ones(5), atol=0.02, rtol=0)


def test_bins_of_a_flat_distribution_keep_their_digits():
    likelihood = LIKELIHOODS["histogram"]([replace(bins(n), spikes=(False,) * 4) for n in (1, 4)], relative=True)
    theta = torch.zeros(1, likelihood.n_params)
    likelihood._parts(theta)[-1].fill_(30.0)
    theta = likelihood.on_base(theta, torch.zeros(1, 2), torch.ones(1, 2))
    x = torch.arange(0, 4, 1e-3)[:, None] + 5e-4
    p = likelihood.log_prob(x.expand(-1, 2), theta).exp() * 1e-3
    assert_close(p[:1000, 0].sum(), torch.tensor(1.0), atol=2e-3, rtol=0)
    assert_close(p[:, 1].sum(), torch.tensor(1.0), atol=2e-3, rtol=0)


def test_gradients_of_a_histogram_on_a_base_are_those_of_differences(relative):
    likelihood, theta = relative
    x = torch.tensor([[0.2, 1.5], [0.4, -0.3], [2.05, 2.9], [3.9, 0.1]], dtype=torch.float64)
    theta = theta.expand(4, -1).clone().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda theta: likelihood.log_prob(x, theta), theta, eps=1e-7, atol=1e-4, rtol=1e-4)


def test_a_piece_that_is_one_value_is_as_dense_everywhere(relative):
    likelihood, theta = relative
    x = torch.tensor([[0.26, 0.0], [0.3, 0.0], [0.49, 0.0], [0.51, 0.0]], dtype=torch.float64)
    density = likelihood.log_prob(x, theta)[:, 0]
    assert_close(density[0].expand(2), density[1:3])
    assert density[0] != density[3]


def test_a_narrow_histogram_knows_places_inside_its_bins():
    likelihood = LIKELIHOODS["histogram"]([replace(bins(4), spikes=(False,) * 4)], relative=True).double()
    theta = torch.zeros(1, likelihood.n_params, dtype=torch.float64)
    theta = likelihood.on_base(theta, torch.tensor([[-0.2]]).double(), torch.tensor([[0.05]]).double())
    draws = likelihood.features(likelihood.sample(theta.expand(5000, -1), torch.Generator().manual_seed(0)))
    assert draws.mean().item() == pytest.approx(-0.2, abs=0.005)
    assert draws.std().item() == pytest.approx(0.05, rel=0.1)


def test_bins_are_mixed_of_functions_that_neighbours_share():
    grid = tuple(torch.linspace(-2, 2, 17).tolist())
    variables = [bins(16, grid, grid, atoms=(*[NAN] * 15, 0.5)), bins(4)]
    (_, width, basis), *_ = LIKELIHOODS["histogram"](
        [replace(v, spikes=(False,) * v.size) for v in variables[:1]], relative=True
    ).rectangles
    functions = torch.cat([basis[0][0], torch.diag(basis[1][0])])
    likeness = functions.T @ functions  # of what is learned of one bin, what another one learns too
    assert width == 16
    assert likeness[5, 6] > 0.5 * likeness[5, 5] > 10 * likeness[5, 15]
    assert likeness[15, 15] - likeness[14, 14] == pytest.approx(0.99, abs=0.2)  # an atom is nearly on its own


def test_draws_of_an_atom_are_the_atom():
    variables = [bins(3, atoms=(NAN, 0.25, NAN))]
    draws = LIKELIHOODS["histogram"](variables).sample(torch.zeros(3000, 3), torch.Generator().manual_seed(0))
    assert set(draws[(draws >= 1) & (draws < 2)].tolist()) == {1.25}
    assert len(set(draws[draws < 1].tolist())) > 900


@pytest.mark.parametrize("name", ["bernoulli", "categorical", "histogram"])
def test_calibration_makes_codes_as_probable_as_they_are_frequent(name):
    variable = {"bernoulli": Variable("bernoulli"), "categorical": Variable("categorical", 4, coded=True)}.get(name, bins(4))
    likelihood = LIKELIHOODS[name]([variable]).double()
    generator = torch.Generator().manual_seed(0)
    theta = torch.randn(4000, likelihood.n_params, generator=generator, dtype=torch.float64)
    x = torch.tensor([[0.0], [0.0], [1.0], [1.0]] if name == "bernoulli" else [[0.0], [1.0], [2.0], [3.0]]).double()
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    shift = likelihood.calibration(theta, x, weight)
    for cell, wanted in (
        ((0.0, 0.3), (1.0, 0.7)) if name == "bernoulli" else zip(range(4), (0.1, 0.2, 0.3, 0.4), strict=True)
    ):
        assert likelihood.log_prob(theta.new_full((1, 1), cell), theta + shift).exp().mean() == pytest.approx(
            wanted, abs=2e-3
        )


# --- derivatives written by hand -------------------------------------------------------------------------------------


def both_ways(function, *inputs):
    """Values and gradients of a function, by hand and by torch."""
    out = []
    for context in (nullcontext, differentiated_by_torch):
        with context():
            value = function(*inputs)
        weight = torch.linspace(0.5, 1.5, value.numel(), dtype=value.dtype).view_as(value)
        out.append((value, *torch.autograd.grad((value * weight).sum(), inputs)))
    return zip(*out, strict=True)


def test_bernoulli_is_differentiated_by_hand_as_by_torch():
    x = torch.rand(20, 3, generator=torch.Generator().manual_seed(0))
    theta = torch.randn(4, 20, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    likelihood = LIKELIHOODS["bernoulli"]([Variable("bernoulli")] * 3)
    for by_hand, by_torch in both_ways(lambda theta: likelihood.log_prob(x, theta), theta):
        assert_close(by_hand, by_torch)


def test_bins_are_differentiated_by_hand_as_by_torch(relative):
    likelihood, theta = relative
    x = torch.linspace(0.05, 2.95, 30).double()[:, None].expand(-1, 2)
    theta = theta.detach().expand(30, -1).clone().requires_grad_()
    for by_hand, by_torch in both_ways(lambda theta: likelihood.log_prob(x, theta), theta):
        assert_close(by_hand, by_torch, atol=2e-5, rtol=1e-4)


def test_gradients_of_every_row_go_through_torch_func():
    """As a private fit needs them: one gradient a row, all at once."""
    likelihood = LIKELIHOODS["bernoulli"]([Variable("bernoulli")] * 3)
    weight = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    z, x = torch.randn(10, 2, generator=torch.Generator().manual_seed(1)), torch.ones(10, 3)

    def loss(weight, z, x):
        return -likelihood.log_prob(x, weight @ z).sum()

    with differentiated_by_torch():
        rows = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(weight, z, x)
    for row in range(10):
        own = weight.clone().requires_grad_()
        assert_close(rows[row], torch.autograd.grad(loss(own, z[row], x[row]), own)[0])


def test_tilted_scores_integrate_to_one_and_are_drawn_as_often():
    """Of many rows, normal scores in bins: a density on the whole line, in the outermost bins a normal one."""
    scaling = SCALINGS["normal_scores"]("x", "normal_scores", 0.0, False)
    scaling.fit(np.random.default_rng(0).gamma(2, size=1500), np.ones(1500))
    likelihood = LIKELIHOODS["normal_scores"].of([scaling.variable] * 2, relative=True)
    assert isinstance(likelihood, TiltedScores)
    generator = torch.Generator().manual_seed(0)
    theta = 0.5 * torch.randn(1, likelihood.n_params, generator=generator)
    theta = likelihood.on_base(theta, torch.tensor([[0.3, -1.0]]), torch.tensor([[0.8, 0.2]]))
    x = torch.linspace(-8, 8, 160_001)
    density = likelihood.log_prob(x[:, None].expand(-1, 2), theta).exp()
    assert_allclose(torch.trapezoid(density, x, dim=0), 1, atol=1e-3)
    drawn = likelihood.sample(theta.expand(100_000, -1), generator)
    cdf = density.cumsum(0) * (x[1] - x[0])
    for j in range(2):
        for q in (0.005, 0.1, 0.5, 0.9, 0.995):
            at = x[torch.searchsorted(cdf[:, j].contiguous(), torch.tensor(q))]
            assert (drawn[:, j] < at).double().mean().item() == pytest.approx(q, abs=0.006)
    assert drawn.abs().max() < 6


def test_the_tails_of_bins_are_finite_whatever_is_drawn(monkeypatch):
    variable = Variable(
        "histogram",
        size=2,
        edge_scores=(-3.0, 0.0, 3.0),
        bin_means=(-0.8, 0.8),
        atoms=(float("nan"),) * 2,
        knots=((-1.0, 0.0), (1.0, 2.0)),
        spikes=(False,),
        tails=(0.1, 0.1),
    )
    likelihood = LIKELIHOODS["histogram"].of([variable], relative=False)
    rng = torch.Generator()
    monkeypatch.setattr(torch, "rand", lambda shape, **rest: torch.zeros(shape))  # zero is one of its draws
    assert torch.isfinite(likelihood.sample(torch.zeros(5, likelihood.n_params), rng)).all()


@torch.no_grad()
def test_no_normal_score_is_drawn_far_beyond_those_of_the_rows():
    """However few degrees of freedom a cell has given others, and wherever a network puts it."""
    scaling = SCALINGS["normal_scores"]("x", "normal_scores", 0.0, False)
    values = np.random.default_rng(0).gamma(2, size=500)
    scaling.fit(values, np.ones(500))
    likelihood = LIKELIHOODS["normal_scores"].of([scaling.variable], relative=True)
    likelihood.log_df.fill_(math.log(0.5))
    rng = torch.Generator().manual_seed(0)
    reach = scaling.pack(values).max()
    usual = likelihood.sample(torch.zeros(50_000, 2), rng)
    assert usual.max() < 1.3 * reach
    assert (usual > reach).any()
    astray = torch.tensor([[1e9, 0.0]]).expand(9, 2)
    assert_allclose(likelihood.sample(astray, rng), likelihood.upper.expand(9, 1))
