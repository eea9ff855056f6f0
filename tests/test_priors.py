"""One body over PRIORS: a density that integrates to one, draws that follow it, a KL that is one; fresh and fitted."""

import math
from functools import cache

import pytest
import torch
from torch.testing import assert_close

from skvae.priors import PRIORS, Latents, Posterior, StandardNormal

FITTED = sorted(set(PRIORS) - {"normal", "vamp"})  # by `fit`; vamp is learned with the bound
STEP = 0.05
AXIS = torch.arange(-8, 8, STEP, dtype=torch.float64)
PLANE = torch.cartesian_prod(AXIS, AXIS)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def two_clusters(n=6000, seed=0):
    """Posteriors around (-2, -1) and (2, 1), and draws of others."""
    side = 2.0 * torch.randint(2, (n, 1), generator=generator(seed)) - 1
    mean = side * torch.tensor([2.0, 1.0]) + 0.3 * torch.randn(n, 2, generator=generator(seed + 1))
    latents = Latents(Posterior(mean, torch.full_like(mean, -1.0)), torch.ones(n))
    return latents, latents.draw(n // 4, generator(seed + 2))


def fitted(name, latents=None, held_out=None):
    if latents is None:
        return fitted_to_two_clusters(name)
    prior = PRIORS[name](2)
    prior.fit(latents, held_out, generator())
    return prior


@cache
def fitted_to_two_clusters(name):
    return fitted(name, *two_clusters())


@pytest.fixture(scope="module", params=[(name, is_fitted) for name in PRIORS for is_fitted in (False, True)])
def prior(request):
    name, is_fitted = request.param
    return fitted(name) if is_fitted else PRIORS[name](2)


def double(prior):
    other = type(prior)(2)
    other.load_state_dict(prior.state_dict())
    return other.double()


def log_density(prior):
    with torch.no_grad():
        return double(prior).log_prob(PLANE)


def test_density_integrates_to_one(prior):
    assert_close(log_density(prior).exp().sum() * STEP**2, torch.tensor(1.0).double(), atol=1e-4, rtol=0)


def test_draws_have_the_entropy_and_the_moments_of_the_density(prior):
    """Means over draws equal integrals over the plane, within four standard errors."""
    draws = prior.sample(20_000, generator())
    assert draws.shape == (20_000, 2)
    assert draws.dtype == torch.float32
    log_prob = log_density(prior)
    with torch.no_grad():
        found = torch.cat([-prior.log_prob(draws)[:, None], draws, draws.square(), draws.prod(1)[:, None]], 1).double()
    of_plane = torch.cat([-log_prob[:, None], PLANE, PLANE.square(), PLANE.prod(1)[:, None]], 1)
    expected = log_prob.exp() @ of_plane * STEP**2
    assert ((found.mean(0) - expected).abs() < 4 * found.std(0) / math.sqrt(20_000) + 1e-3).all()


def test_the_same_seed_draws_the_same(prior):
    state = torch.get_rng_state()
    assert torch.equal(prior.sample(50, generator(3)), prior.sample(50, generator(3)))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("name", PRIORS)
def test_kl_is_the_mean_log_ratio_under_the_posterior(name):
    """Of the prior that the bound is trained with: before `fit`."""
    prior = PRIORS[name](2)
    posterior = Posterior(torch.tensor([[0.7, -1.0]]), torch.tensor([[-0.5, 0.3]]))
    z = posterior.at(torch.randn(100_000, 2, generator=generator()))
    with torch.no_grad():
        ratio = posterior.log_prob(z) - prior.log_prob(z)
        kl = prior.kl(posterior, z).mean()
    assert abs(kl - ratio.mean()) < 4 * ratio.std() / math.sqrt(100_000)


def test_kl_is_zero_at_the_standard_normal_and_positive_elsewhere():
    prior, zero = StandardNormal(3), torch.zeros(1, 3)
    assert (prior.kl(Posterior(zero, zero), zero) == 0).all()
    assert (prior.kl(Posterior(zero + 0.1, zero), zero) > 0).all()
    assert (prior.kl(Posterior(zero, zero - 0.1), zero) > 0).all()


def test_gradient_is_that_of_the_density(prior):
    z = torch.randn(5, 2, generator=generator(), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(double(prior).log_prob, z)


@pytest.mark.parametrize("name", PRIORS)
def test_only_what_the_bound_trains_has_gradients(name):
    """Also after `fit`: a stream of steps remembers as many numbers."""
    prior = PRIORS[name](2)
    n_trained = sum(p.numel() for p in prior.parameters() if p.requires_grad)
    assert (n_trained > 0) == (name == "vamp")
    assert sum(p.numel() for p in fitted(name).parameters() if p.requires_grad) == n_trained


@pytest.mark.parametrize("name", FITTED)
def test_fitted_to_two_clusters_it_is_likelier_than_the_normal(name):
    prior, (_, fresh) = fitted(name), two_clusters(seed=10)
    side = (2 * math.pi * math.e) * (0.3**2 + math.exp(-2))  # of one cluster, whose entropy is log(side)
    with torch.no_grad():
        assert prior.log_prob(fresh).mean() > StandardNormal(2).log_prob(fresh).mean() + 1
        assert prior.log_prob(fresh).mean().item() == pytest.approx(-math.log(2 * side), abs=0.1)


@pytest.mark.parametrize("name", FITTED)
@pytest.mark.parametrize("latent_dim", [1, 5, 40])
def test_any_number_of_latents(name, latent_dim):
    mean = torch.randn(400, latent_dim, generator=generator()).abs()
    latents = Latents(Posterior(mean, torch.full_like(mean, -2.0)), torch.ones(400))
    prior = PRIORS[name](latent_dim)
    prior.fit(latents, latents.draw(200, generator(1)), generator())
    draws = prior.sample(4000, generator())
    assert_close(draws.mean(0), mean.mean(0), atol=0.1, rtol=0)
    assert_close(draws.std(0), mean.std(0), atol=0.1, rtol=0)


@pytest.mark.parametrize("name", PRIORS)
def test_a_state_opens_in_a_new_prior(name):
    prior, other = fitted(name), PRIORS[name](2)
    other.load_state_dict(prior.state_dict())
    assert torch.equal(other.log_prob(PLANE.float()), prior.log_prob(PLANE.float()))
    assert torch.equal(other.sample(10, generator()), prior.sample(10, generator()))


@pytest.mark.parametrize("name", PRIORS)
def test_the_same_seed_fits_the_same_bits(name):
    one, other = fitted(name).state_dict(), fitted(name, *two_clusters()).state_dict()
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", FITTED)
def test_weights_count_rows(name):
    """One cluster weighs nine times the other: so do its draws."""
    latents, _ = two_clusters()
    weight = torch.where(latents.posterior.mean[:, 0] > 0, 1.8, 0.2)
    weighted = Latents(latents.posterior, weight / weight.mean())
    draws = fitted(name, weighted, weighted.draw(1500, generator(5))).sample(20_000, generator())
    assert (draws[:, 0] > 0).float().mean().item() == pytest.approx(0.9, abs=0.02)


def test_draws_follow_weights_to_within_one_row():
    mean = torch.arange(4.0)[:, None]
    latents = Latents(Posterior(mean, torch.full_like(mean, -9.0)), torch.tensor([1.0, 0.5, 2.0, 0.5]))
    counts = latents.draw(40, generator()).round().long().flatten().bincount()
    assert counts.tolist() == [10, 5, 20, 5]


def test_auto_remains_normal_where_latents_are():
    mean = math.sqrt(0.75) * torch.randn(6000, 2, generator=generator())
    latents = Latents(Posterior(mean, torch.full_like(mean, math.log(0.5))), torch.ones(6000))
    prior = fitted("auto", latents, torch.randn(1500, 2, generator=generator(1)))
    assert torch.equal(prior.log_prob(PLANE), StandardNormal(2).log_prob(PLANE))


def test_auto_takes_a_likelier_prior_only_if_enough_rows_say_so():
    latents, held_out = two_clusters(200)
    with torch.no_grad():
        assert fitted("auto", latents, held_out).log_prob(held_out).mean() > StandardNormal(2).log_prob(held_out).mean() + 1
        alone = fitted("auto", latents, held_out[:1])
    assert torch.equal(alone.log_prob(PLANE), StandardNormal(2).log_prob(PLANE))


def test_the_posterior_of_a_linear_model_with_beta_is_put_right():
    """q with the likelihood's precision 8 over beta, about 1.5: under N(0.5, 2²) it becomes Bayes' posterior."""
    precision, seen, beta = 8.0, 1.5, 0.2
    q = precision / beta + 1
    trained = Posterior(torch.tensor([[precision / beta * seen / q]]), torch.tensor([[-0.5 * math.log(q)]]))
    found = trained.at_beta_one(beta, torch.tensor([0.5]), torch.tensor([2.0]))
    assert_close(found.log_scale.exp() ** -2, torch.tensor([[precision + 0.25]]), rtol=1e-4, atol=0)
    assert_close(found.mean, torch.tensor([[(precision * seen + 0.5 * 0.25) / (precision + 0.25)]]), rtol=1e-4, atol=0)
