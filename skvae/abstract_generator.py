"""What rows are drawn from, as a contract: stages that train one after the other, and draws from all conditionals."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from skvae.rows import Budget, Part, Rows
from skvae.views import AbstractView

# nats that latents may tell at no cost while they train, at most, and as a share of an image's (free bits: Kingma et al.,
# 2016; they gain 0.3 nats on binarised MNIST)
FREE_NATS, FREE_SHARE = 12.0, 0.15


class AbstractStage(nn.Module, ABC):
    """Something of a generator that is trained by itself. Parts of rows are floats here.

    Attributes
    ----------
    budget : Budget or None
        How long it is trained; None where it has nothing to train.
    widest : int
        Numbers of a row in its widest layer.
    """

    budget: Budget | None = None
    widest = 1

    @abstractmethod
    def log_prob(self, parts: Sequence[Part], autoencoder: Any, noise: Tensor) -> Tensor:
        """log p(x), or a bound on it, in nats: (n,). noise : (n_samples, latent_dim), standard normal, for the bound."""

    def start(self, rows: Rows, means: Sequence[Tensor], read: Callable[[Rows], Rows]) -> None:
        """Set what has a closed form before training. means : of every part's features; read : to rows of floats."""
        return

    def loss(self, rows: Rows, rng: Generator | None = None) -> Tensor:
        """What training minimises: mean over rows of weight times negative log-likelihood, in nats, a scalar.

        rng : of the randomness of training; without, the loss is the one that held-out rows are scored by.
        """
        raise NotImplementedError(f"{type(self).__name__} has nothing to train")

    def sharpen(self, held_out: Rows) -> None:
        """Calibrate on rows that training did not see. held_out : rows of floats."""
        return

    def expect_rows(self, n_rows: int) -> None:
        """Told before training how many rows there are."""
        return


class AbstractGenerator(AbstractStage):
    """The distribution that rows are drawn from, and all of its conditionals.

    The autoencoder beside it is an argument, as only some generators use it.

    Parameters
    ----------
    views : sequence of AbstractView
    rng : torch.Generator
        Draws the initial weights.

    Attributes
    ----------
    widest_drawn : int
        Numbers of a row in the widest layer while rows are drawn, 0 where that is `widest`, or the autoencoder's.
    exact : bool
        Whether `log_prob` is exact, or a bound.
    latent_dim : int or None
        Of its own latents; None where it has none, or takes the autoencoder's.
    n_candidates : int
        How many rows are computed for each that is completed.
    """

    widest_drawn = 0
    exact = True
    latent_dim: int | None = None
    n_candidates = 1

    @staticmethod
    @abstractmethod
    def can(views: Sequence[AbstractView]) -> bool:
        """Whether it can generate rows of these parts."""

    @classmethod
    def suits(cls, views: Sequence[AbstractView]) -> bool:
        """Whether "auto" may choose it for rows of these parts."""
        return cls.can(views)

    @property
    def stages(self) -> Sequence[AbstractStage]:
        """What is trained, one after the other, each begun when those before it have ended."""
        return [self]

    @abstractmethod
    def sample(self, n: int, autoencoder: Any, rng: Generator) -> list[Tensor]:
        """n rows: (n, n_variables) of each part."""

    @abstractmethod
    def complete(self, parts: Sequence[Part], autoencoder: Any, rng: Generator) -> list[Tensor]:
        """Rows whose cells that are not observed are drawn given the others: (n, n_variables) of each part.

        A cell that is known to be missing is not observed, but its indicator is; it stays as it is.
        """

    def impute(self, parts: Sequence[Part], autoencoder: Any, rng: Generator) -> list[Tensor]:
        """As `complete`, but cells that are known to be missing are drawn too, as if they were not.

        By default the same: given latents, a cell does not depend on being missing.
        """
        return self.complete(parts, autoencoder, rng)

    @abstractmethod
    def centre(self, parts: Sequence[Part], autoencoder: Any) -> list[Tensor]:
        """As `impute`, with the centre of each cell's distribution given the observed ones, instead of a draw."""

    def log_prob_of_table(self, parts: Sequence[Part], autoencoder: Any, noise: Tensor) -> Tensor:
        """As `log_prob`, but for what does not depend on the cells of the table, which may be left out."""
        return self.log_prob(parts, autoencoder, noise)

    def finalise(self, rows: Rows, read: Callable[[Rows], Rows], rng: Generator) -> None:
        """What follows training."""
        return


def free_bits(log_likelihood: Tensor, kl: Tensor) -> Tensor:
    """The negative bound as a loss, of which some nats of KL divergence cost nothing; both scalars, means over rows.

    Against posterior collapse: a decoder that sees neighbours would leave the latents unused. The value is that of the
    bound, as reported; the gradient that of what is minimised.
    """
    free = torch.maximum(kl, (-FREE_SHARE * log_likelihood.detach()).clamp(max=FREE_NATS))
    return free - log_likelihood + (kl - free).detach()


def resampled(log_weights: Tensor, rng: Generator) -> tuple[Tensor | None, Tensor]:
    """Particles to go on with, by systematic resampling where few of them count (Kitagawa, 1996).

    log_weights : (k, n), k particles of n rows. Returns places (k * n,) among all particles, None for all as they are; and
    the log-weights that they have then.
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
    """One of k candidates (k, n, m) for each of n rows, as often as log-weights (k, n) say: (n, m)."""
    chosen = torch.multinomial(log_weights.softmax(0).T, 1, generator=rng)[:, 0]
    return candidates[chosen, torch.arange(len(chosen), device=chosen.device)]


def known_cells(part: Part) -> Tensor:
    """Which cells of a part are observed, (n, n_variables), bool."""
    return torch.ones_like(part.x, dtype=torch.bool) if part.observed is None else part.observed


def filled(parts: Sequence[Part], drawn: Sequence[Tensor]) -> list[Tensor]:
    """The observed cells of parts, and elsewhere what is drawn."""
    pairs = zip(parts, drawn, strict=True)
    return [part.x if part.observed is None else torch.where(part.observed, part.x, cells) for part, cells in pairs]
