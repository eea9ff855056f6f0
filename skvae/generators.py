"""What rows are drawn from: latents alone, a chain over cells, or pixel after pixel. One class each, and `GENERATORS`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn

from skvae.autoencoder import Autoencoder, normal_noise
from skvae.autoregressive import Chain
from skvae.pixels import WIDTH, PixelDecoder
from skvae.rows import Budget, Part, Rows
from skvae.views import AbstractView

# latents of the pixel generator; nats that they may tell at no cost while it trains, at most, and as a share of an image's
# (free bits: Kingma et al., 2016; they gain 0.3 nats on binarised MNIST)
N_LATENTS, FREE_NATS, FREE_SHARE = 32, 12.0, 0.15
# its training budget: at most so many images, and decoder outputs (ten minutes of one core), but at least so many epochs
PIXEL_ROWS, PIXEL_NUMBERS, PIXEL_EPOCHS = 4.5e5, 2.2e9, 3
# images so far, that those with known pixels are chosen from, row by row, and how often that is done for their centre; both
# documented in the estimator
N_PARTICLES, N_FILTERS = 16, 8
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
    widest, widest_drawn : int
        Numbers of a row in its widest layer; and while rows are drawn, 0 where that is the same, or the autoencoder's.
    exact : bool
        Whether `log_prob` is exact, or a bound.
    latent_dim : int or None
        Of its own latents; None where it has none, or takes the autoencoder's.
    n_candidates : int
        How many rows are computed for each that is completed.
    """

    budget: Budget | None = None
    widest = 1
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

    @abstractmethod
    def log_prob(self, parts: Sequence[Part], autoencoder: Any, noise: Tensor) -> Tensor:
        """log p(x), or a bound on it, in nats: (n,). noise : (n_samples, latent_dim), standard normal, for the bound."""

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

    def finalise(self, rows: Rows, read: Callable[[Rows], Rows], rng: Generator) -> None:
        """What follows training."""
        return

    def expect_rows(self, n_rows: int) -> None:
        """Told before training how many rows there are."""
        return


class LatentGenerator(AbstractGenerator):
    """The autoencoder itself: latents of the prior, given which cells are independent."""

    exact = False
    n_candidates = N_CANDIDATES

    def __init__(self, views: Sequence[AbstractView], rng: Generator):
        super().__init__()

    @staticmethod
    def can(views):
        return True

    def log_prob(self, parts, autoencoder, noise):
        return autoencoder.log_likelihood(parts, noise)

    def sample(self, n, autoencoder, rng):
        return autoencoder.sample(autoencoder.sample_latents(n, rng), rng)

    def complete(self, parts, autoencoder, rng):
        """Latents are drawn from the posterior by sampling-importance-resampling (Rubin, 1988), among candidates of encoder
        and prior: exact as their number grows.
        """
        z, log_weights = autoencoder.candidates(parts, N_CANDIDATES, rng)
        log_weights += sum(cells.sum(-1) for cells in autoencoder.log_cells(parts, autoencoder.unorder(z)))
        return _fill(parts, autoencoder.sample(_draw_one(z, log_weights, rng), rng))

    def centre(self, parts, autoencoder):
        return autoencoder.centre(autoencoder.encode(parts).mean)


class ChainGenerator(AbstractGenerator):
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
    def can(views):
        return len(views) == 1 and views[0].chain_up_to > 0

    @classmethod
    def suits(cls, views):
        return cls.can(views) and len(views[0].variables) <= views[0].chain_up_to

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


class PixelGenerator(AbstractGenerator):
    """A variational autoencoder of images whose decoder draws pixel by pixel, with an encoder and latents of its own.

    Its latents hold what pixels far from each other have in common, and its decoder what is near: so it depends on no
    parameter of the autoencoder, whose latents hold all that they can.
    """

    exact = False
    latent_dim = N_LATENTS
    n_candidates = N_PARTICLES

    def __init__(self, views: Sequence[AbstractView], rng: Generator):
        super().__init__()
        [view] = views
        decoder = view.pixel_decoder(N_LATENTS, "silu", rng)
        self.model = Autoencoder(views, N_LATENTS, (WIDTH,) * 2, "silu", "auto", 1.0, rng, [decoder])
        self.budget = Budget(min(PIXEL_ROWS, PIXEL_NUMBERS / decoder.n_params), least=PIXEL_EPOCHS)
        self.widest, self.widest_drawn = decoder.widest, decoder.widest_drawn

    @staticmethod
    def can(views):
        return len(views) == 1 and views[0].by_pixel

    @property
    def decoder(self) -> PixelDecoder:
        [decoder] = self.model.decoders
        return cast(PixelDecoder, decoder)

    @torch.no_grad()
    def start(self, rows, means, read):
        self.model.encoder.embeddings[0].centre.copy_(means[0])
        self.decoder.start(means[0].mean().item())

    def log_prob(self, parts, autoencoder, noise):
        return self.model.log_likelihood(parts, noise)

    def loss(self, rows, rng=None):
        shape, like = (len(rows), self.latent_dim), rows.weight
        noise = normal_noise(*shape) if rng is None else torch.randn(shape, generator=rng, device=like.device)
        log_likelihood, kl = (part @ rows.weight / len(rows) for part in self.model.elbo(rows.parts, noise.to(like)))
        # free bits against posterior collapse: a decoder that sees neighbours would leave the latents unused
        free = torch.maximum(kl, (-FREE_SHARE * log_likelihood.detach()).clamp(max=FREE_NATS))
        # the value is that of the bound, as reported; the gradient that of what is minimised
        return free - log_likelihood + (kl - free).detach()

    def finalise(self, rows, read, rng):
        self.model.finalise(rows, read)
        self.model.fit_prior(rows, None, read, rng)

    def sample(self, n, autoencoder, rng):
        return self.model.sample(self.model.sample_latents(n, rng), rng)

    @torch.no_grad()
    def complete(self, parts, autoencoder, rng):
        return [_draw_one(*self._completed(parts[0], rng), rng)]

    @torch.no_grad()
    def centre(self, parts, autoencoder):
        # the same draws at every call, so that their mean is the same; particles that were resampled are much alike, which
        # those of another filter are not
        rng = Generator(parts[0].x.device).manual_seed(0)
        filters = (self._completed(parts[0], rng) for _ in range(N_FILTERS))
        return [sum((log_weights.softmax(0).unsqueeze(-1) * x).sum(0) for x, log_weights in filters) / N_FILTERS]

    def _completed(self, part: Part, rng: Generator) -> tuple[Tensor, Tensor]:
        """Images with the observed pixels of a part, the others drawn, (N_PARTICLES, n, n_pixels), and their log-weights.

        A particle filter (Gordon, Salmond & Smith, 1993): after each row of pixels, images so far under which the known
        pixels are unlikely give way to others. Exact as the number of particles grows.
        """
        n, model = len(part), self.model
        z, log_weights = model.candidates([part], N_PARTICLES, rng)

        def choose(log_prob: Tensor) -> Tensor | None:
            nonlocal log_weights
            chosen, log_weights = resampled(log_weights + log_prob.view(N_PARTICLES, n), rng)
            return chosen

        several = Part(part.x.repeat(N_PARTICLES, 1), _known(part).repeat(N_PARTICLES, 1))
        x = self.decoder.complete(several, model.unorder(z).flatten(0, 1), choose, rng)
        return x.view(N_PARTICLES, n, -1), log_weights


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


def _draw_one(candidates: Tensor, log_weights: Tensor, rng: Generator) -> Tensor:
    """One of k candidates (k, n, m) for each of n rows, as often as log-weights (k, n) say: (n, m)."""
    chosen = torch.multinomial(log_weights.softmax(0).T, 1, generator=rng)[:, 0]
    return candidates[chosen, torch.arange(len(chosen), device=chosen.device)]


def _known(part: Part) -> Tensor:
    """Which cells of a part are observed, (n, n_variables), bool."""
    return torch.ones_like(part.x, dtype=torch.bool) if part.observed is None else part.observed


def _fill(parts: Sequence[Part], drawn: Sequence[Tensor]) -> list[Tensor]:
    """The observed cells of parts, and elsewhere what is drawn."""
    pairs = zip(parts, drawn, strict=True)
    return [part.x if part.observed is None else torch.where(part.observed, part.x, cells) for part, cells in pairs]


# by the name that the estimator's `generator` takes, the first that can generate the rows; "auto" is the first that suits
GENERATORS: dict[str, tuple[type[AbstractGenerator], ...]] = {
    "autoregressive": (ChainGenerator, PixelGenerator),
    "latent": (LatentGenerator,),
}


def choose(name: str, views: Sequence[AbstractView]) -> str:
    """The key of GENERATORS that a name stands for, which may be "auto"."""
    if name == "auto":
        return next(key for key, classes in GENERATORS.items() if any(cls.suits(views) for cls in classes))
    if not any(cls.can(views) for cls in GENERATORS[name]):
        raise ValueError(f"generator={name!r} cannot generate such rows. Choose 'latent', or 'auto'.")
    return name


def generator_of(name: str, views: Sequence[AbstractView], rng: Generator) -> AbstractGenerator:
    """A new generator of a name that `choose` returned."""
    return next(cls for cls in GENERATORS[name] if cls.can(views))(views, rng)
