"""Laplace's approximation of the posteriors of rows: normal distributions at their modes, as wide as the curvature says."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from skvae.contexts import differentiated_by_torch

N_STEPS = 20  # of Newton's method; on four tables all rows had converged then, and not all after 12
LEAST_CURVATURE = 0.1  # of the log-density in any direction, where it is not concave; unmeasured
WIDENED = 1.3  # the scales, for the tails of the posterior to be drawn too; unmeasured
DAMPING, DAMPED_BY = 1e-2, 10.0  # of the first step, and by what it falls or rises after one that succeeds or fails


class NormalPosterior(NamedTuple):
    """Normal distributions of the latents of n rows.

    mean : (n, latent_dim); factor : (n, latent_dim, latent_dim), the lower Cholesky factor of the covariance.
    """

    mean: Tensor
    factor: Tensor

    def at(self, noise: Tensor) -> Tensor:
        """The latents that standard normal noise (..., n or 1, latent_dim) stands for."""
        return self.mean + (self.factor @ noise.unsqueeze(-1)).squeeze(-1)

    def log_prob(self, z: Tensor) -> Tensor:
        """Density of latents (..., n, latent_dim), in nats: (..., n)."""
        away = (z - self.mean).unsqueeze(-1)
        noise = torch.linalg.solve_triangular(self.factor.expand(*away.shape[:-1], -1), away, upper=False).squeeze(-1)
        log_scale = self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return -0.5 * (noise.square() + math.log(2 * math.pi)).sum(-1) - log_scale


def laplace(log_density: Callable[[Tensor], Tensor], start: Tensor) -> NormalPosterior:
    """Laplace's approximation (Tierney & Kadane, 1986), a little wider, by damped Newton steps (Levenberg, 1944).

    log_density : from latents (n, latent_dim) to (n,), up to constants, each row of its own; start : (n, latent_dim).
    """
    z, (value, gradient, precision) = start, _derivatives(log_density, start)
    damping = torch.full_like(value, DAMPING)
    for _ in range(N_STEPS):
        damped = precision + torch.diag_embed(damping[:, None].expand_as(z))
        moved = z + torch.linalg.solve(damped, gradient)
        found = _derivatives(log_density, moved)
        better = found[0] >= value  # not where it is no number
        z = torch.where(better[:, None], moved, z)
        value = torch.where(better, found[0], value)
        gradient = torch.where(better[:, None], found[1], gradient)
        precision = torch.where(better[:, None, None], found[2], precision)
        damping = torch.where(better, damping / DAMPED_BY, damping * DAMPED_BY)
    return NormalPosterior(z, WIDENED * torch.linalg.cholesky(torch.linalg.inv(precision)))


def _derivatives(log_density: Callable[[Tensor], Tensor], z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The log-density (n,), its gradient (n, latent_dim), and its negative curvature, made positive definite."""
    with torch.enable_grad(), differentiated_by_torch():
        z = z.detach().requires_grad_()
        value = log_density(z)
        [gradient] = torch.autograd.grad(value.sum(), z, create_graph=True)
        rows = [torch.autograd.grad(one.sum(), z, retain_graph=True)[0] for one in gradient.unbind(-1)]
    curvature = -torch.stack(rows, -2).nan_to_num()
    values, vectors = torch.linalg.eigh(0.5 * (curvature + curvature.mT))
    precision = vectors * values.clamp(min=LEAST_CURVATURE).unsqueeze(-2) @ vectors.mT
    return value.detach(), gradient.detach().nan_to_num(), precision
