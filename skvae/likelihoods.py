"""What a cell may be, given the decoder's output: p(x | theta).

One small class a likelihood and one row in `LIKELIHOODS`. A likelihood serves a block of like variables at once; it is
normalised in packed units, so that log-probabilities of different likelihoods add up to nats per row.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn


class AbstractLikelihood(nn.Module, ABC):
    """p(x | theta) for a block of like variables.

    Parameters
    ----------
    variables : sequence of Variable
        The block's variables (`skvae.schema.Variable`): how many categories, which lattice, which bounds.

    Attributes
    ----------
    n_params : int
        Numbers that the decoder puts out for the block: the last axis of every theta.
    """

    n_params: int

    def __init__(self, variables):
        super().__init__()
        self.n_variables = len(variables)

    @abstractmethod
    def log_prob(self, x, theta):
        """Log-probability (or log-density) of each cell.

        x : (..., n_variables); theta : (..., n_params), broadcast to each other; returns (..., n_variables), in nats.
        """

    @abstractmethod
    def sample(self, theta, generator):
        """One draw a cell. theta : (..., n_params); returns (..., n_variables)."""

    @abstractmethod
    def mode(self, theta):
        """The most probable cell, or its mean where that is the better centre. theta : (..., n_params)."""

    def start(self, mean, loadings, noise):
        """Constant and slope of a theta that reproduces a linear-Gaussian model of the block's features.

        The features are the cells themselves, or their one-hot codes for a categorical block. For an exponential
        family, a natural parameter moves its mean by the variance: slopes divide by it (one Newton step).

        mean : (n_features,); loadings : (n_features, latent_dim); noise : float, the residual standard deviation.
        Returns (n_params,), (n_params, latent_dim). Called without gradients; by default, nothing to start from.
        """
        return mean.new_zeros(self.n_params), loadings.new_zeros(self.n_params, loadings.shape[1])


class Gaussian(AbstractLikelihood):
    """Normal with a learned scale for every variable; on a lattice, the probability of the lattice cell.

    Integers are discrete: their probability is the normal's mass within half a step, and the outermost cells of a
    bounded variable hold the whole tail (Salimans et al., 2017, eq. 2, with a normal for the logistic). Drawing a normal,
    rounding and clipping draws from exactly this.
    """

    step: torch.Tensor
    floor: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor

    def __init__(self, variables):
        super().__init__(variables)
        self.n_params = self.n_variables
        for name in ("step", "floor", "lower", "upper"):
            self.register_buffer(name, torch.tensor([getattr(v, name) for v in variables]))
        self.discrete = bool(self.step.any())
        # one scale a column, not one a cell: a scale that follows z spends the latents on noise, not on the data
        self.log_scale = nn.Parameter(torch.zeros(self.n_variables))

    @property
    def scale(self):
        # the floor keeps repeated values from drawing the density to infinity
        return self.floor + self.log_scale.exp()

    def log_prob(self, x, theta):
        scale = self.scale
        density = -0.5 * ((x - theta) / scale).square() - scale.log() - 0.5 * math.log(2 * math.pi)
        if not self.discrete:
            return density
        return torch.where(self.step > 0, self._log_mass(x, theta, scale), density)

    def _log_mass(self, x, loc, scale):
        half, far = 0.5 * self.step, 1e4  # beyond 1e4 standard deviations there is no mass to lose
        left = torch.where(x - half <= self.lower, -far, (x - half - loc) / scale)
        right = torch.where(x + half >= self.upper, far, (x + half - loc) / scale)
        # the log of a difference of tails is taken on the left side, where the normal's log-cdf keeps its digits
        flip = left > 0
        left, right = torch.where(flip, -right, left), torch.where(flip, -left, right)
        log_right = torch.special.log_ndtr(right.clamp(-far, far))
        gap = torch.special.log_ndtr(left.clamp(-far, far)) - log_right
        return log_right + torch.log(-torch.expm1(gap.clamp(max=-1e-7)))

    def sample(self, theta, generator):
        noise = torch.randn(theta.shape, generator=generator, dtype=theta.dtype, device=theta.device)
        return theta + self.scale * noise

    def mode(self, theta):
        return theta

    def start(self, mean, loadings, noise):
        nn.init.constant_(self.log_scale, math.log(noise))
        self.log_scale.sub_(self.floor / noise)  # to first order, scale = noise
        return mean, loadings


class Bernoulli(AbstractLikelihood):
    """A yes or no. A cell between 0 and 1 is the share of yes: its log-probability is the expected one."""

    def __init__(self, variables):
        super().__init__(variables)
        self.n_params = len(variables)

    def log_prob(self, x, theta):
        return x * theta - F.softplus(theta)

    def sample(self, theta, generator):
        return torch.bernoulli(theta.sigmoid(), generator=generator)

    def mode(self, theta):
        return (theta > 0).to(theta.dtype)

    def start(self, mean, loadings, noise):
        mean = mean.clamp(1e-4, 1 - 1e-4)
        return mean.logit(), loadings / (mean * (1 - mean))[:, None]


class Categorical(AbstractLikelihood):
    """One of `size` categories, drawn from a softmax; a cell holds the category's code."""

    index: torch.Tensor

    def __init__(self, variables):
        super().__init__(variables)
        self.sizes = sizes = [v.size for v in variables]
        self.n_params = sum(sizes)
        # all columns in one gather, padded to the largest cardinality; the pad points at a logit of minus infinity
        index = torch.full((len(sizes), max(sizes)), self.n_params)
        for column, (size, end) in enumerate(zip(sizes, torch.tensor(sizes).cumsum(0).tolist(), strict=True)):
            index[column, :size] = torch.arange(end - size, end)
        self.register_buffer("index", index)

    def _log_probs(self, theta):
        return F.pad(theta, (0, 1), value=-1e9)[..., self.index].log_softmax(-1)  # (..., n_variables, largest)

    def log_prob(self, x, theta):
        log_probs = self._log_probs(theta)
        shape = torch.broadcast_shapes(x.shape, log_probs.shape[:-1])
        codes = x.long().expand(shape).unsqueeze(-1)
        return log_probs.expand(*shape, -1).gather(-1, codes).squeeze(-1)

    def sample(self, theta, generator):
        log_probs = self._log_probs(theta)
        # the category that rings first among exponential clocks of rate p is a draw from p
        clocks = torch.empty_like(log_probs).exponential_(generator=generator)
        return (log_probs - clocks.log()).argmax(-1).to(theta.dtype)

    def mode(self, theta):
        return self._log_probs(theta).argmax(-1).to(theta.dtype)

    def start(self, mean, loadings, noise):
        mean = mean.clamp(min=1e-4)
        return mean.log(), loadings / mean[:, None]


LIKELIHOODS: dict[str, Callable[..., AbstractLikelihood]] = {
    "gaussian": Gaussian,
    "bernoulli": Bernoulli,
    "categorical": Categorical,
}
