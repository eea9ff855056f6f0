"""What rows are drawn from: the autoencoder's latents, or a chain over the cells. One class each, and `GENERATORS`."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from skvae.autoregressive import Chain
from skvae.rows import Budget, Part, Rows
from skvae.views import AbstractView

N_CANDIDATES = 64  # latents that those of a row with known cells are chosen from; documented in the estimator


class AbstractGenerator(nn.Module, ABC):
    """The distribution that rows are drawn from, and all of its conditionals.

    Parts of rows are floats here. The autoencoder beside it is an argument, as only some generators use it.

    Parameters
    ----------
    views : sequence of AbstractView
    rng : torch.Generator
        Draws the initial weights.

    Attributes
    ----------
    budget : Budget or None
        How long it is trained; None where it has nothing to train.
    widest : int
        Numbers of a row in its widest layer.
    exact : bool
        Whether `log_prob` is exact, or a bound.
    """

    budget: Budget | None = None
    widest = 1
    exact = True

    @staticmethod
    @abstractmethod
    def suits(views: Sequence[AbstractView]) -> bool:
        """Whether "auto" may choose it for rows of these parts."""

    @abstractmethod
    def log_prob(self, parts: Sequence[Part], autoencoder: Any, noise: Tensor) -> Tensor:
        """log p(x), or a bound on it, in nats: (n,). noise : (n_samples, latent_dim), for a bound."""

    @abstractmethod
    def sample(self, n: int, autoencoder: Any, rng: Generator) -> list[Tensor]:
        """n rows: (n, n_variables) of each part."""

    @abstractmethod
    def complete(self, parts: Sequence[Part], autoencoder: Any, rng: Generator) -> list[Tensor]:
        """Rows whose cells that are not observed are drawn given the others: (n, n_variables) of each part.

        A cell that is known to be missing is not observed, but its indicator is; it stays as it is.
        """

    @abstractmethod
    def impute(self, parts: Sequence[Part], autoencoder: Any, rng: Generator) -> list[Tensor]:
        """As `complete`, but cells that are known to be missing are drawn too, as if they were not."""

    @abstractmethod
    def centre(self, parts: Sequence[Part], autoencoder: Any) -> list[Tensor]:
        """As `impute`, with the centre of each cell's distribution given the observed ones, instead of a draw."""

    def start(self, rows: Rows, means: Sequence[Tensor], read: Callable[[Rows], Rows]) -> None:
        """Begin where a linear model ends. means : of every part's features; read : to rows of floats."""
        return

    def loss(self, rows: Rows, rng: Generator | None = None) -> Tensor:
        """What training minimises: mean over rows of weight times negative log-likelihood, in nats, a scalar.

        rng : of the randomness of training; without, the loss is the one that held-out rows are scored by.
        """
        raise NotImplementedError(f"{type(self).__name__} has nothing to train")

    def sharpen(self, held_out: Rows) -> None:
        """What rows that it was not trained on say after training. held_out : of floats."""
        return

    def finalise(self, rows: Rows, read: Callable[[Rows], Rows], rng: Generator) -> None:
        """What follows training."""
        return

    def expect_rows(self, n_rows: int) -> None:
        """Told before training how many rows there are."""
        return


class LatentGenerator(AbstractGenerator):
    """The autoencoder itself: latents of the prior, given which cells are independent."""

    exact = False

    def __init__(self, views: Sequence[AbstractView], rng: Generator):
        super().__init__()

    @staticmethod
    def suits(views):
        return True

    def log_prob(self, parts, autoencoder, noise):
        return autoencoder.log_likelihood(parts, noise)

    def sample(self, n, autoencoder, rng):
        return autoencoder.sample(autoencoder.sample_latents(n, rng), rng)

    def complete(self, parts, autoencoder, rng):
        """Latents are drawn from the posterior by sampling-importance-resampling (Rubin, 1988), among candidates of encoder
        and prior: exact as their number grows.
        """
        x = parts[0].x
        shape = N_CANDIDATES // 2, len(x), autoencoder.latent_dim
        noise = torch.randn(shape, generator=rng, dtype=x.dtype, device=x.device)
        # half of the candidates are the prior's: an encoder that sees a cell or two is on strange ground
        drawn = autoencoder.sample_latents(math.prod(shape[:2]), rng).view(shape)
        proposal = autoencoder.proposal(parts)
        z = torch.cat([proposal.at(noise), drawn])
        prior = autoencoder.log_prior(z)
        log_cells = sum(cells.sum(-1) for cells in autoencoder.log_cells(parts, autoencoder.unorder(z)))
        log_weights = log_cells + prior - torch.logaddexp(proposal.log_prob(z), prior)
        chosen = torch.multinomial(log_weights.softmax(0).T, 1, generator=rng)[:, 0]
        rows = autoencoder.sample(z[chosen, torch.arange(len(x), device=x.device)], rng)
        return _fill(parts, rows)

    def impute(self, parts, autoencoder, rng):
        # given the latents, a cell does not depend on being missing
        return self.complete(parts, autoencoder, rng)

    def centre(self, parts, autoencoder):
        return autoencoder.centre(autoencoder.encode(parts).mean)


class AutoregressiveGenerator(AbstractGenerator):
    """A chain over the cells of a table. Beside it, the autoencoder has no part in what is drawn.

    The chain does not see the latents. Fed with them, it scored worse on held-out rows (Adult: a bound of -28.4 nats
    against exactly -27.7), since what the latents tell is paid for twice where the prior does not match.
    """

    budget = Budget(7e5, 11e6)

    def __init__(self, views: Sequence[AbstractView], rng: Generator):
        super().__init__()
        [view] = views
        self.chain = Chain(view.variables, rng, view.spec)
        self.widest = self.chain.width * self.chain.n_variables

    @staticmethod
    def suits(views):
        return len(views) == 1 and len(views[0].variables) <= views[0].chain_up_to

    def log_prob(self, parts, autoencoder, noise):
        return self.chain.log_prob(parts[0]).sum(-1)

    def sample(self, n, autoencoder, rng):
        x = self.chain.regressions.slopes.new_zeros(n, self.chain.n_variables)
        return [self.chain.sample(x, torch.zeros_like(x, dtype=torch.bool), rng)]

    def complete(self, parts, autoencoder, rng):
        return [self.chain.sample(parts[0].x, _known(parts[0]), rng)]

    def impute(self, parts, autoencoder, rng):
        return [self.chain.impute(parts[0].x, _known(parts[0]), rng)]

    def centre(self, parts, autoencoder):
        return [self.chain.centre(parts[0].x, _known(parts[0]))]

    @torch.no_grad()
    def start(self, rows, means, read):
        some = read(rows.some(self.chain.n_rows_start))
        self.chain.start(some.parts[0], some.weight, means[0])

    def loss(self, rows, rng=None):
        order = None if rng is None else self.chain.order(rng)
        return -(self.chain.log_prob(rows.parts[0], order, rng).sum(-1) * rows.weight).mean()

    def sharpen(self, held_out):
        self.chain.calibrate_scales(held_out.parts[0], held_out.weight)

    def finalise(self, rows, read, rng):
        whole = read(rows)
        self.chain.calibrate(whole.parts[0], whole.weight, rng)

    def expect_rows(self, n_rows):
        self.chain.n_rows = n_rows


def _known(part: Part) -> Tensor:
    """Which cells of a part are observed, (n, n_variables), bool."""
    return torch.ones_like(part.x, dtype=torch.bool) if part.observed is None else part.observed


def _fill(parts: Sequence[Part], drawn: Sequence[Tensor]) -> list[Tensor]:
    """The observed cells of parts, and elsewhere what is drawn."""
    pairs = zip(parts, drawn, strict=True)
    return [part.x if part.observed is None else torch.where(part.observed, part.x, cells) for part, cells in pairs]


# by the name that the estimator's `generator` takes; "auto" is the first that suits
GENERATORS: dict[str, type[AbstractGenerator]] = {
    "autoregressive": AutoregressiveGenerator,
    "latent": LatentGenerator,
}


def choose(name: str, views: Sequence[AbstractView]) -> str:
    """The key of GENERATORS that a name stands for, which may be "auto"."""
    return name if name != "auto" else next(key for key, cls in GENERATORS.items() if cls.suits(views))
