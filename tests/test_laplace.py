"""Laplace's approximation: exact where posteriors are normal, and at the mode where they are not."""

import math

import torch
from torch.testing import assert_close

from skvae.laplace import WIDENED, laplace

RNG = torch.Generator().manual_seed(0)


def test_a_normal_posterior_is_found_exactly():
    n, d = 5, 3
    root = torch.randn(n, d, d, generator=RNG, dtype=torch.float64)
    precision, mean = root @ root.mT + 100 * torch.eye(d), torch.randn(n, d, generator=RNG, dtype=torch.float64)

    def log_density(z):
        away = z - mean
        return -0.5 * (away.unsqueeze(-2) @ precision @ away.unsqueeze(-1))[..., 0, 0]

    found = laplace(log_density, torch.zeros(n, d, dtype=torch.float64))
    assert_close(found.mean, mean)
    factor = found.vectors * found.scale.unsqueeze(-2)
    assert_close(factor @ factor.mT, WIDENED**2 * torch.linalg.inv(precision))
    noise = torch.randn(4, 1, d, generator=RNG, dtype=torch.float64)
    z = found.at(noise)
    wide = torch.distributions.MultivariateNormal(mean, WIDENED**2 * torch.linalg.inv(precision))
    assert_close(found.log_prob(z), wide.log_prob(z))


def test_the_mode_is_found_from_afar_though_the_density_is_not_concave():
    """Two Student's t distributions of few degrees of freedom, whose tails curve the other way."""

    def log_density(z):
        return -2 * torch.log1p((z - 2).square() / 0.2).sum(-1) - 0.5 * z.square().sum(-1)

    found = laplace(log_density, torch.full((1, 2), -3.0, dtype=torch.float64))
    gradient = torch.func.grad(lambda z: log_density(z).sum())(found.mean)
    assert torch.isfinite(found.scale).all()
    assert (log_density(found.mean) >= log_density(torch.full((1, 2), -3.0, dtype=torch.float64))).all()
    assert gradient.abs().max() < 1e-3


def test_a_density_with_a_derivative_written_by_hand_is_differentiated_twice():
    from skvae.likelihoods import LIKELIHOODS
    from skvae.scalings import Variable

    bernoulli = LIKELIHOODS["bernoulli"]([Variable("bernoulli")])
    x = torch.tensor([[1.0]])
    found = laplace(lambda z: bernoulli.log_prob(x, 4 * z)[:, 0] - 0.5 * z.square()[:, 0], torch.zeros(1, 1))
    share = torch.sigmoid(4 * found.mean)
    assert_close(4 * (1 - share), found.mean, atol=1e-4, rtol=0)  # where the gradient vanishes
    assert_close(found.scale.item(), WIDENED / math.sqrt(16 * float(share * (1 - share)) + 1), atol=1e-3, rtol=0)
