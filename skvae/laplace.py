"""Laplace's approximation of posteriors: normal distributions at the modes of rows, a little wider than the curvature."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from skvae.contexts import differentiated_by_torch

N_STEPS = 20  # of Newton's method; on four tables all rows had converged then, and not all after 12
LEAST_CURVATURE = 0.1  # lower bound of that of the negative log-density in any direction; unmeasured
WIDENED = 1.3  # the scales, for the tails of the posterior to be drawn too; unmeasured
DAMPING, DAMPED_BY = 1e-2, 10.0  # of the first step, and by what it falls or rises after one that succeeds or fails


class NormalPosterior(NamedTuple):
    """Normal distributions of the latents of n rows, by the eigenvectors of their covariances.

    mean : (n, latent_dim); vectors : (n, latent_dim, latent_dim), in columns; scale : (n, latent_dim), standard deviations
    along them.
    """

    mean: Tensor
    vectors: Tensor
    scale: Tensor

    def at(self, noise: Tensor) -> Tensor:
        """The latents that standard normal noise (..., n or 1, latent_dim) stands for."""
        return self.mean + _product(self.vectors, self.scale * noise)

    def log_prob(self, z: Tensor) -> Tensor:
        """Density of latents (..., n, latent_dim), in nats: (..., n)."""
        noise = _product(self.vectors.mT, z - self.mean) / self.scale
        return (-0.5 * (noise.square() + math.log(2 * math.pi)) - self.scale.log()).sum(-1)


def laplace(log_density: Callable[[Tensor], Tensor], start: Tensor) -> NormalPosterior:
    """Laplace's approximation (Tierney & Kadane, 1986), a little wider, by damped Newton steps (Levenberg, 1944).

    log_density : from latents (n, latent_dim) to (n,), up to constants, rows are independent; start : (n, latent_dim).
    """
    z, here = start, _derivatives(log_density, start)
    damping = torch.full_like(start, DAMPING)
    for _ in range(N_STEPS):
        _, gradient, curvature, vectors = here
        moved = z + _product(vectors, _product(vectors.mT, gradient) / (curvature + damping))
        there = _derivatives(log_density, moved)
        better = there[0] >= here[0]  # false for NaN
        z = _where(better, moved, z)
        damping = _where(better, damping / DAMPED_BY, damping * DAMPED_BY)
        here = [_where(better, *pair) for pair in zip(there, here, strict=True)]
    _, _, curvature, vectors = here
    return NormalPosterior(z, vectors, WIDENED * curvature.rsqrt())


def _derivatives(log_density: Callable[[Tensor], Tensor], z: Tensor) -> list[Tensor]:
    """The log-density (n,), its gradient (n, latent_dim), and its negative curvature along eigenvectors, made positive.

    That is (n, latent_dim), and the eigenvectors (n, latent_dim, latent_dim).
    """
    with torch.enable_grad(), differentiated_by_torch():
        z = z.detach().requires_grad_()
        value = log_density(z)
        [gradient] = torch.autograd.grad(value.sum(), z, create_graph=True)
        rows = [torch.autograd.grad(one.sum(), z, retain_graph=True)[0] for one in gradient.unbind(-1)]
    curvature = -torch.stack(rows, -2).nan_to_num()
    values, vectors = torch.linalg.eigh(0.5 * (curvature + curvature.mT))
    return [value.detach(), gradient.detach().nan_to_num(), values.clamp(min=LEAST_CURVATURE), vectors]


def _product(matrices: Tensor, vectors: Tensor) -> Tensor:
    """matrices : (n, d, d); vectors : (..., n or 1, d); returns (..., n, d)."""
    return (matrices @ vectors.unsqueeze(-1)).squeeze(-1)


def _where(rows: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """One where rows (n,) say so, else the other: both (n, ...)."""
    return torch.where(rows.view(-1, *[1] * (one.dim() - 1)), one, other)
