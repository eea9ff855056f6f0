"""One body over PRIORS: a density that integrates to one, draws that follow it, a KL that is one."""

import math

import pytest
import torch
from torch.testing import assert_close

from skvae.priors import PRIORS


@pytest.fixture(params=PRIORS)
def prior(request):
    return PRIORS[request.param](2)


def test_density_integrates_to_one(prior):
    axis = torch.arange(-9, 9, 0.05, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    assert_close(prior.double().log_prob(grid).exp().sum() * 0.05**2, torch.tensor(1.0).double(), atol=1e-6, rtol=0)


def test_draws_have_the_entropy_of_the_density(prior):
    """The mean of -log p over draws equals its integral over the plane, within four standard errors."""
    draws = prior.sample(20_000, torch.Generator().manual_seed(0))
    assert draws.shape == (20_000, 2)
    assert draws.dtype == torch.float32
    surprise = -prior.log_prob(draws)
    axis = torch.arange(-9, 9, 0.05)
    log_density = prior.log_prob(torch.cartesian_prod(axis, axis))
    entropy = -(log_density.exp() * log_density).sum() * 0.05**2
    assert abs(surprise.mean() - entropy) < 4 * surprise.std() / math.sqrt(20_000)


def test_kl_is_the_mean_log_ratio_under_the_posterior(prior):
    generator = torch.Generator().manual_seed(0)
    mean, log_scale = torch.tensor([[0.7, -1.0]]), torch.tensor([[-0.5, 0.3]])
    z = mean + log_scale.exp() * torch.randn(100_000, 2, generator=generator)
    log_q = torch.distributions.Normal(mean, log_scale.exp()).log_prob(z).sum(-1)
    ratio = log_q - prior.log_prob(z)
    kl = prior.kl(mean, log_scale, z).sum(-1).mean()
    assert abs(kl - ratio.mean()) < 4 * ratio.std() / math.sqrt(100_000)


def test_kl_is_zero_at_the_prior_and_positive_elsewhere():
    prior = PRIORS["normal"](3)
    zero = torch.zeros(1, 3)
    assert (prior.kl(zero, zero, zero) == 0).all()
    assert (prior.kl(zero + 0.1, zero, zero) > 0).all()
    assert (prior.kl(zero, zero - 0.1, zero) > 0).all()
