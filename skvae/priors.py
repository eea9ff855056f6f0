"""Where latents come from: p(z). One small class a prior and one row in `PRIORS`."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn


class AbstractPrior(nn.Module, ABC):
    """p(z) over vectors of `latent_dim` numbers."""

    def __init__(self, latent_dim: int):
        super().__init__()
        self.latent_dim = latent_dim

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """z : (..., latent_dim); returns (...), in nats."""

    @abstractmethod
    def sample(self, n: int, generator: Generator) -> Tensor:
        """n draws, (n, latent_dim), in float32, on the generator's device."""

    @abstractmethod
    def kl(self, mean: Tensor, log_scale: Tensor, z: Tensor) -> Tensor:
        """KL(q || p) of each latent, for q = N(mean, exp(log_scale)²).

        mean, log_scale, and z drawn from q : (n, latent_dim); returns (n, latent_dim), in nats.
        """


class StandardNormal(AbstractPrior):
    """N(0, I), with its KL in closed form (Kingma & Welling, 2014, appendix B)."""

    def log_prob(self, z):
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)

    def sample(self, n, generator):
        shape = n, self.latent_dim
        return torch.randn(shape, generator=generator, dtype=torch.float32, device=generator.device)

    def kl(self, mean, log_scale, z):
        return 0.5 * (mean.square() + (2 * log_scale).exp() - 1) - log_scale


PRIORS: dict[str, Callable[[int], AbstractPrior]] = {"normal": StandardNormal}
