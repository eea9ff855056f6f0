"""p-values of cells: uniform for draws of the model, of every likelihood; and the cell that is wrong is found by them."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import stats
from test_likelihoods import CASES, bins

from skvae.abstract_likelihood import AbstractLikelihood
from skvae.count_likelihoods import COUNT_LIKELIHOODS
from skvae.counts import CountsSpec, Totals
from skvae.likelihoods import LIKELIHOODS
from skvae.tails import log_p_value_of_t, log_tails_of_binomial, log_tails_of_negative_binomial, log_tails_of_poisson

N_DRAWS = 2000
CONTINUOUS = {"gaussian", "log_normal", "student_t", "normal_scores", "continuous_bernoulli"}
WITH_TAILS = {"histogram with tails": ([replace(bins(4), tails=(0.1, 0.02)), replace(bins(3), tails=(0.0, 0.3))],)}


def drawn(name):
    """A likelihood, thetas (3, n_params), and draws (N_DRAWS, 3, n_variables)."""
    variables, *_ = (CASES | WITH_TAILS)[name]
    rng = torch.Generator().manual_seed(1)
    likelihood = LIKELIHOODS[name.split()[0]](variables).double()
    with torch.no_grad():
        for parameter in likelihood.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=rng))
    theta = torch.randn(3, likelihood.n_params, generator=rng, dtype=torch.float64)
    x = likelihood.sample(theta.expand(N_DRAWS, -1, -1), rng)
    spacing = getattr(likelihood, "spacing", torch.zeros(1))
    if spacing.any():  # draws of a lattice are rounded and clipped by what unpacks them
        x = torch.minimum(torch.maximum((x / spacing).round() * spacing, likelihood.lower), likelihood.upper)
    return likelihood, theta, x


def log_p_value_by_draws(likelihood, x, theta):
    """What a likelihood without a formula returns. x : (n, k, n_variables); theta : (k, n_params)."""
    return AbstractLikelihood.log_p_value_of_mixture(likelihood, x, theta[None, None], torch.zeros(1, 1, 1, 1).double())


def check_at_least_uniform(p, exactly=False):
    """p : (n, k, n_variables). Kolmogorov's distance at a level that chance exceeds once in ten thousand columns."""
    assert ((p >= 0) & (p <= 1)).all()
    for column in p.reshape(len(p), -1).T:
        assert stats.kstest(column, "uniform", alternative="two-sided" if exactly else "greater").pvalue > 1e-4


@pytest.mark.parametrize("name", [*CASES, *WITH_TAILS])
def test_draws_have_uniform_p_values(name):
    likelihood, theta, x = drawn(name)
    with torch.no_grad():
        p = likelihood.log_p_value(x, theta).exp().numpy()
    check_at_least_uniform(p, exactly=name in CONTINUOUS)


def test_every_likelihood_is_tested():
    assert {name.split()[0] for name in CASES} == set(LIKELIHOODS)


@pytest.mark.parametrize("name", ["gaussian", "student_t", "bernoulli", "categorical", "poisson"])
def test_a_likelihood_without_a_formula_takes_draws(name):
    likelihood, theta, x = drawn(name)
    with torch.no_grad():
        own = likelihood.log_p_value(x[:200], theta).exp()
        by_draws = log_p_value_by_draws(likelihood, x[:200], theta).exp()
    assert_allclose(by_draws, own, atol=0.5 if name == "poisson" else 0.15)  # of counts, the nearer tail twice
    check_at_least_uniform(by_draws.numpy())


def test_p_values_far_from_all_draws_still_differ():
    likelihood, theta, _ = drawn("gaussian")
    far = torch.tensor([10.0, 100.0, 1000.0]).double()[:, None, None].expand(-1, 3, 2)
    with torch.no_grad():
        for method in (likelihood.log_p_value, partial(log_p_value_by_draws, likelihood)):
            logs = method(far, theta)
            assert (logs.diff(dim=0) < -1).all()
            assert torch.isfinite(logs).all()


@pytest.mark.parametrize("df", [1.5, 5.0, 51.0, 2000.0])
def test_tails_of_t_go_on_where_numbers_end(df):
    x = torch.logspace(-3, 8, 60, dtype=torch.float64)
    log_p = log_p_value_of_t(x, torch.tensor([df], dtype=torch.float64)).numpy()
    exact = 2 * stats.t.sf(x.numpy(), df)
    there = exact > 1e-300
    assert_allclose(log_p[there], np.log(exact[there]), rtol=1e-5, atol=1e-7)
    slopes = np.diff(log_p) / np.diff(np.log(x.numpy()))
    assert slopes[-1] == pytest.approx(-df, rel=1e-3)  # the power of the tail
    assert (slopes < 0).all()


@pytest.mark.parametrize("name", COUNT_LIKELIHOODS)
def test_counts_have_p_values_given_the_total_of_their_row(name):
    spec = CountsSpec(name, (0.4, 0.3, 0.2, 0.05, 0.05), Totals.of(np.arange(10.0, 60.0), np.ones(50)), 50)
    rng = torch.Generator().manual_seed(0)
    likelihood = COUNT_LIKELIHOODS[name](spec).double()
    theta = torch.randn(1, likelihood.n_params, generator=rng, dtype=torch.float64).expand(N_DRAWS, -1)
    total = torch.full((N_DRAWS, 1), 30.0, dtype=torch.float64)
    x = likelihood.sample_given(total, theta, rng)
    x = x.dense() if hasattr(x, "dense") else x
    with torch.no_grad():
        log_p = likelihood.log_p_value(x, theta)
        log_prob = likelihood.log_prob(x, theta)
    assert (log_p <= 0).all()
    if name == "multinomial":  # the others are drawn given a mean of the total, and scored given the row's own
        check_at_least_uniform(log_p.exp()[:, None].numpy())
    else:
        assert (log_p >= log_prob - 1e-9).all()


@pytest.mark.parametrize("x", [0.0, 1.0, 7.0, 40.0])
def test_tails_of_counts_are_those_of_scipy(x):
    rate = torch.tensor([0.3, 5.0, 30.0], dtype=torch.float64)
    shape = torch.tensor([0.5, 2.0, 9.0], dtype=torch.float64)
    total, at = torch.tensor([40.0], dtype=torch.float64), torch.full((3,), x, dtype=torch.float64)
    cases = [
        (stats.poisson(rate), log_tails_of_poisson, (rate,)),
        (stats.nbinom(shape, shape / (shape + rate)), log_tails_of_negative_binomial, (rate, shape)),
        (stats.binom(40, rate / 40), log_tails_of_binomial, (total, rate / 40)),
    ]
    for exact, log_tails, parameters in cases:
        below, above = log_tails(at, *parameters, torch.tensor(exact.logpmf(x)))
        assert_allclose(below, exact.logcdf(x), rtol=1e-6, atol=1e-9)
        assert_allclose(above, np.logaddexp(exact.logsf(x), exact.logpmf(x)), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", [*CASES, *WITH_TAILS])
def test_draws_of_a_mixture_have_uniform_p_values(name):
    """Where every part of the mixture is narrow beside the whole, no number is in the midst of many of them."""
    likelihood, theta, _ = drawn(name)
    k = 200
    rng = torch.Generator().manual_seed(2)
    spread = theta[:1] + 3 * torch.randn(k, likelihood.n_params, generator=rng, dtype=torch.float64)
    chosen = torch.randint(k, (N_DRAWS,), generator=rng)
    with torch.no_grad():
        x = likelihood.sample(spread[chosen], rng)
        thetas = spread[:, None].expand(-1, N_DRAWS, -1)
        log_p = likelihood.log_p_value_of_mixture(x, thetas, torch.full((k, N_DRAWS, 1), -np.log(k)).double())
    check_at_least_uniform(log_p.exp()[:, None].numpy(), exactly=name in ("student_t",))
