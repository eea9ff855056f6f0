"""The contract of generators, which rows are drawn from, and what several of them share: free bits, resampling."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from skvae.rows import Budget, Part, Rows
from skvae.views import AbstractView

# Free bits (Kingma et al., 2016): the KL divergence that costs nothing in training is this share of the negative
# log-likelihood of a row, and at most so many nats. They gain 0.3 nats on binarised MNIST.
FREE_NATS, FREE_SHARE = 12.0, 0.15


class AbstractStage(nn.Module, ABC):
    """A part of a generator that is trained by itself. Its rows have been through `AbstractView.read`: they are floats.

    Attributes
    ----------
    budget : Budget or None
        How long the stage is trained; None if it has nothing to train.
    widest : int
        How many numbers its widest layer holds for a row.
    """

    budget: Budget | None = None
    widest = 1

    @abstractmethod
    def log_prob(self, parts: Sequence[Part], autoencoder: Any, noise: Tensor) -> Tensor:
        """log p(x) of n rows, or a lower bound on it, in nats: (n,).

        noise : (n_samples, latent_dim), standard normal; only bounds need it.
        """

    def start(self, rows: Rows, means: Sequence[Tensor], read: Callable[[Rows], Rows]) -> None:
        """Set the weights that have a closed form, before training. By default there are none.

        means : (n_features,) of every part, the means of its features; read : turns rows as they are kept in memory into
        floats.
        """
        return

    def loss(self, rows: Rows, rng: Generator | None = None) -> Tensor:
        """What training minimises, a scalar: the mean over rows of weight times negative log-likelihood, in nats.

        rng : draws what is random in training; without it the loss is deterministic, as for the scores of held-out rows.
        """
        raise NotImplementedError(f"{type(self).__name__} has nothing to train")

    def sharpen(self, held_out: Rows) -> None:
        """Calibrate on rows that training did not see, by default nothing. held_out : rows of floats."""
        return

    def expect_rows(self, n_rows: int) -> None:
        """Take note, before training, of how many rows there are. By default nothing depends on it."""
        return


class AbstractGenerator(AbstractStage):
    """The distribution that rows are drawn from, and its conditional distributions given any cells.

    Methods take the autoencoder as an argument, and do not own it: it is trained by itself, and only some generators use it.

    Parameters
    ----------
    views : sequence of AbstractView
    rng : torch.Generator
        Draws the initial weights.

    Attributes
    ----------
    widest_drawn : int
        How many numbers the widest layer holds for a row while rows are drawn. 0 stands for the `widest` of the whole model.
    exact : bool
        Whether `log_prob` is exact; otherwise it is a lower bound.
    latent_dim : int or None
        Size of the generator's own latents; None if it has none, or takes the autoencoder's.
    n_candidates : int
        How many rows are computed for each row that is completed.
    """

    widest_drawn = 0
    exact = True
    latent_dim: int | None = None
    n_candidates = 1

    @staticmethod
    @abstractmethod
    def can(views: Sequence[AbstractView]) -> bool:
        """Whether this class can generate rows of these parts."""

    @classmethod
    def suits(cls, views: Sequence[AbstractView]) -> bool:
        """Whether "auto" may choose this class for rows of these parts."""
        return cls.can(views)

    @property
    def stages(self) -> Sequence[AbstractStage]:
        """The stages, in the order in which they are trained: a stage starts when those before it have ended."""
        return [self]

    @abstractmethod
    def sample(self, n: int, autoencoder: Any, rng: Generator) -> list[Tensor]:
        """Draw n rows: (n, n_variables) of each part."""

    @abstractmethod
    def complete(self, parts: Sequence[Part], autoencoder: Any, rng: Generator) -> list[Tensor]:
        """Draw the cells that are not observed, given the observed ones: (n, n_variables) of each part.

        A cell that is known to be missing stays missing: it is not observed itself, but its indicator is.
        """

    def impute(self, parts: Sequence[Part], autoencoder: Any, rng: Generator) -> list[Tensor]:
        """As `complete`, but cells that are known to be missing are drawn too, as if they had been observed.

        By default the two are the same, since a cell given latents does not depend on whether it is missing.
        """
        return self.complete(parts, autoencoder, rng)

    @abstractmethod
    def centre(self, parts: Sequence[Part], autoencoder: Any) -> list[Tensor]:
        """As `impute`, but with the centre of each cell's conditional distribution in the place of a draw."""

    def log_prob_of_table(self, parts: Sequence[Part], autoencoder: Any, noise: Tensor) -> Tensor:
        """`log_prob` up to terms that do not depend on the cells of the table; for comparing values of these cells."""
        return self.log_prob(parts, autoencoder, noise)

    def finalise(self, rows: Rows, read: Callable[[Rows], Rows], rng: Generator) -> None:
        """Do what follows training, such as fitting the prior to posteriors; by default nothing."""
        return


def free_bits(log_likelihood: Tensor, kl: Tensor) -> Tensor:
    """The negative evidence lower bound as a loss, in which the first nats of KL divergence cost nothing.

    Without these free bits the posterior collapses: a decoder that sees neighbouring pixels leaves the latents unused. The
    value of the loss is the negative bound, since losses are reported; only its gradient is that of free bits.

    log_likelihood, kl : scalars, means over rows.
    """
    free = torch.maximum(kl, (-FREE_SHARE * log_likelihood.detach()).clamp(max=FREE_NATS))
    return free - log_likelihood + (kl - free).detach()


def resampled(log_weights: Tensor, rng: Generator) -> tuple[Tensor | None, Tensor]:
    """Systematic resampling of particles (Kitagawa, 1996), in the rows whose effective number of particles is below half.

    log_weights : (k, n), of k particles for each of n rows. Returns the chosen particles as indices (k * n,) into all of
    them flattened, or None if no row is resampled; and the log-weights (k, n) of the chosen particles.
    """
    k, n = log_weights.shape
    share = log_weights.softmax(0)
    few = share.square().sum(0) > 2 / k  # the effective number of particles is below half of all
    if not few.any():
        return None, log_weights
    u = torch.rand(n, 1, generator=rng, dtype=share.dtype, device=share.device)
    places = (u + torch.arange(k, device=share.device)) / k
    drawn = torch.searchsorted(share.T.cumsum(1).contiguous(), places).clamp(max=k - 1).T
    chosen = torch.where(few, drawn, torch.arange(k, device=share.device)[:, None])
    return (chosen * n + torch.arange(n, device=share.device)).flatten(), log_weights.masked_fill(few, 0.0)


def draw_one(candidates: Tensor, log_weights: Tensor, rng: Generator) -> Tensor:
    """Draw one of k candidates for each of n rows: (n, m). candidates : (k, n, m); log_weights : (k, n)."""
    chosen = torch.multinomial(log_weights.softmax(0).T, 1, generator=rng)[:, 0]
    return candidates[chosen, torch.arange(len(chosen), device=chosen.device)]


def filled(parts: Sequence[Part], drawn: Sequence[Tensor]) -> list[Tensor]:
    """Drawn cells where parts have none, the observed ones elsewhere. drawn : (n, n_variables) of each part."""
    pairs = zip(parts, drawn, strict=True)
    return [part.x if part.observed is None else torch.where(part.observed, part.x, cells) for part, cells in pairs]
