"""One body over LIKELIHOODS: every one is a normalised distribution with the support, draws and mode that it claims."""

import math

import pytest
import torch
from torch.testing import assert_close

from skvae.likelihoods import LIKELIHOODS
from skvae.schema import Variable

INF = math.inf

# of each likelihood: the variables of a block, and the points that carry all mass of each (a fine grid for densities)
CASES = {
    "gaussian": ([Variable("gaussian"), Variable("gaussian", floor=0.3)], torch.arange(-30, 30, 0.01), 0.01),
    "gaussian on a lattice": (
        [Variable("gaussian", step=0.5), Variable("gaussian", step=0.5, lower=-1.0, upper=2.0)],
        torch.arange(-60, 61) * 0.5,
        1.0,
    ),
    "bernoulli": ([Variable("bernoulli")] * 3, torch.tensor([0.0, 1.0]), 1.0),
    "categorical": ([Variable("categorical", 3), Variable("categorical", 5)], torch.arange(5.0), 1.0),
}


@pytest.fixture(params=CASES)
def case(request):
    """A likelihood, random parameters theta (7, n_params), its support (k,) and the width of a point of it."""
    variables, points, width = CASES[request.param]
    generator = torch.Generator().manual_seed(0)
    likelihood = LIKELIHOODS[request.param.split()[0]](variables).double()
    with torch.no_grad():
        for parameter in likelihood.parameters():
            parameter.normal_(generator=generator)
    theta = torch.randn(7, likelihood.n_params, generator=generator, dtype=torch.float64)
    return likelihood, theta, points.double(), width


def in_support(likelihood, points):
    """(k, n_variables): whether each point is a value of each variable."""
    inside = torch.ones(len(points), likelihood.n_variables, dtype=torch.bool)
    for name, compare in (("lower", torch.ge), ("upper", torch.le)):
        if hasattr(likelihood, name):
            inside &= compare(points[:, None], getattr(likelihood, name))
    if hasattr(likelihood, "sizes"):
        inside &= points[:, None] < torch.tensor(likelihood.sizes)
    return inside


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
    assert_close(total, torch.ones_like(total), atol=1e-6, rtol=0)


def test_gradients_are_finite_and_reach_every_parameter(case):
    likelihood, theta, points, _ = case
    theta = theta.clone().requires_grad_()
    log_prob = log_probs(likelihood, theta, points)
    log_prob[log_prob > -1e4].sum().backward()
    for gradient in (theta.grad, *(parameter.grad for parameter in likelihood.parameters())):
        assert gradient.isfinite().all()
        assert (gradient != 0).all()


def test_draws_follow_the_probabilities(case):
    """Kolmogorov's distance between 20,000 draws and the cumulated probabilities stays below its 0.1 % point."""
    likelihood, theta, points, width = case
    n = 20_000
    draws = likelihood.sample(theta[0].expand(n, -1), torch.Generator().manual_seed(1))
    draws = draws[:, :, None] if not getattr(likelihood, "discrete", False) else on_lattice(likelihood, draws)[:, :, None]
    # the right edge of a point's cell, so that densities compare too
    right = points + (width / 2 if width < 1 else 1e-6)
    cumulated = (log_probs(likelihood, theta[:1], points)[:, 0].exp() * width).cumsum(0)  # (k, n_variables)
    empirical = (draws <= right).double().mean(0).T
    assert (empirical - cumulated).abs().max() < 1.95 / math.sqrt(n)


def on_lattice(likelihood, draws):
    """What unpacking does: round to the lattice, clip to the bounds."""
    rounded = (draws / likelihood.step).round() * likelihood.step
    return torch.minimum(torch.maximum(rounded, likelihood.lower), likelihood.upper)


def test_mode_is_the_most_probable_point(case):
    likelihood, theta, points, width = case
    mode = likelihood.mode(theta)
    if getattr(likelihood, "discrete", False):
        mode = on_lattice(likelihood, mode)
    best = points[log_probs(likelihood, theta, points).argmax(0)]
    # where the tail outweighs the cell of the mean, the mode of a bounded lattice is its bound
    at_bound = torch.zeros_like(best, dtype=torch.bool)
    if hasattr(likelihood, "lower"):
        at_bound = (best == likelihood.lower) | (best == likelihood.upper)
    assert (((mode - best).abs() <= width / 2 + 1e-9) | at_bound).all()


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


def test_start_reproduces_the_mean_and_the_slope(case):
    """At z = 0 the mean is the given one; a small z moves it by the loadings (to first order)."""
    likelihood, _, points, width = case
    if getattr(likelihood, "discrete", False):
        pytest.skip("rounding moves the mean of a lattice")
    n_features = sum(getattr(likelihood, "sizes", [1] * likelihood.n_variables))
    mean = torch.full((n_features,), 0.3, dtype=torch.float64)
    for block in torch.arange(n_features).split(getattr(likelihood, "sizes", [n_features])):
        if hasattr(likelihood, "sizes"):
            mean[block] = 1 / len(block)
    loadings = torch.zeros(n_features, 1, dtype=torch.float64)
    loadings[0], loadings[1] = 0.02, -0.02  # probabilities of categories move by zero in sum
    with torch.no_grad():
        bias, weight = likelihood.start(mean, loadings, torch.tensor(1.0, dtype=torch.float64))
    for z in (0.0, 1.0):
        probabilities = log_probs(likelihood, (bias + weight[:, 0] * z)[None], points)[:, 0].exp() * width
        if hasattr(likelihood, "sizes"):
            reached = torch.cat([probabilities[:size, j] for j, size in enumerate(likelihood.sizes)])
        else:
            reached = points @ probabilities
        assert_close(reached, mean + loadings[:, 0] * z, atol=2e-3, rtol=0)


def test_lattice_mass_is_the_difference_of_the_normal_cdf():
    likelihood = LIKELIHOODS["gaussian"]([Variable("gaussian", step=1.0, floor=0.0)]).double()
    theta = torch.tensor([[0.3]], dtype=torch.float64)
    normal = torch.distributions.Normal(0.3, 1.0)
    for x in (-3.0, 0.0, 2.0):
        expected = (normal.cdf(torch.tensor(x + 0.5)) - normal.cdf(torch.tensor(x - 0.5))).log()
        assert likelihood.log_prob(torch.tensor([[x]]).double(), theta).item() == pytest.approx(expected.item(), rel=1e-5)
