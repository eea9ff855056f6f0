"""The generator of rows without a table: an autoencoder of its own, whose decoders draw images pixel by pixel."""

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

from skvae.abstract_generator import AbstractGenerator, draw_one, free_bits, resampled
from skvae.autoencoder import Autoencoder, normal_noise
from skvae.pixels import WIDTH
from skvae.rows import Budget, Part, hidden_at_random
from skvae.views import AbstractView

N_LATENTS = 32  # size of the generator's own latents
# particles by which a row with known cells is completed, and particle filters whose mean is its centre; the estimator's
# docstring states both
N_PARTICLES, N_FILTERS = 16, 8


class OwnAutoencoder(Autoencoder):
    """The autoencoder of a generator. Its decoder of images sees the pixels near the one that it draws.

    Parameters
    ----------
    views : sequence of AbstractView
    rng : torch.Generator
        Draws the initial weights.
    decoded : sequence of AbstractView or None
        The views of the parts that have a decoder; None if all have one.
    n_given : int
        How many numbers decoders take in addition to the latents.
    """

    def __init__(
        self,
        views: Sequence[AbstractView],
        rng: Generator,
        decoded: Sequence[AbstractView] | None = None,
        n_given: int = 0,
    ):
        views_decoded = views if decoded is None else decoded
        decoders = [view.own_decoder(N_LATENTS + n_given, "silu", rng) for view in views_decoded]
        super().__init__(views, N_LATENTS, (WIDTH,) * 2, "silu", "auto", 1.0, rng, decoders)
        self.budget = Budget.shortest(decoder.budget for decoder in decoders)
        self.widest = max(self.widest, *(decoder.widest for decoder in decoders))
        self.widest_drawn = max(decoder.widest_drawn for decoder in decoders)

    def decoded(self, parts: Sequence) -> list:
        """The items of those parts that have a decoder. parts : one item for each part."""
        return list(parts)

    def decoder_inputs(self, parts: Sequence[Part], z: Tensor) -> Tensor:
        """What decoders take: latents z (..., n, N_LATENTS), followed by `n_given` further numbers of the rows."""
        return z

    def log_cells(self, parts, z):
        z = self.decoder_inputs(parts, z)
        return [decoder.log_prob(part, z) for decoder, part in zip(self.decoders, self.decoded(parts), strict=True)]

    @torch.no_grad()
    def start_at(self, means: Sequence[Tensor]) -> None:
        """Start at means, where decoders ignore the latents. means : (n_features,) of every part, those of its features."""
        self.encoder.centre_at(means)
        for decoder, mean in zip(self.decoders, self.decoded(means), strict=True):
            decoder.start_at(mean)


class PartsGenerator(AbstractGenerator):
    """A second variational autoencoder of all parts, whose decoders draw images pixel by pixel.

    Its latents hold what distant pixels, and different parts, have in common; what neighbouring pixels have in common is
    left to its decoders. The latents of `transform` are to hold as much as they can instead, so the two autoencoders share
    no weights, and the parameters of the first do not change what is drawn.
    """

    exact = False
    latent_dim = N_LATENTS
    n_candidates = N_PARTICLES

    def __init__(self, views: Sequence[AbstractView], rng: Generator, model: OwnAutoencoder | None = None):
        super().__init__()
        self.model = OwnAutoencoder(views, rng) if model is None else model
        self.budget, self.widest, self.widest_drawn = self.model.budget, self.model.widest, self.model.widest_drawn

    @staticmethod
    def can(views):
        return not any(view.in_chain for view in views) and (len(views) > 1 or views[0].by_pixel)

    def start(self, rows, means, read):
        self.model.start_at(means)

    def log_prob(self, parts, autoencoder, noise):
        return self.model.log_likelihood(parts, noise)

    def loss(self, rows, rng=None):
        shape, like = (len(rows), self.latent_dim), rows.weight
        noise = normal_noise(*shape) if rng is None else torch.randn(shape, generator=rng, device=like.device)
        seen = rows.parts if rng is None else self.seen(rows.parts, rng)
        log_likelihood, kl = (part @ rows.weight / len(rows) for part in self.model.elbo(rows.parts, noise.to(like), seen))
        return free_bits(log_likelihood, kl)

    def seen(self, parts: Sequence[Part], rng: Generator) -> Sequence[Part]:
        """Parts as the encoder sees them in training, some hidden at random."""
        return hidden_at_random(parts, rng)

    def finalise(self, rows, read, rng):
        self.model.finalise(rows, read)
        self.model.fit_prior(rows, None, read, rng)

    def sample(self, n, autoencoder, rng):
        return self.model.sample(self.model.sample_latents(n, rng), rng)

    def complete(self, parts, autoencoder, rng):
        return self.completed(parts, self._candidates, rng)

    def centre(self, parts, autoencoder):
        return self.mean_of(parts, self._candidates)

    def _candidates(self, parts: Sequence[Part], rng: Generator) -> tuple[Tensor, Tensor]:
        """Latents (N_PARTICLES, n, N_LATENTS) in the decoders' order, and log-weights, as `Autoencoder.candidates`."""
        z, log_weights = self.model.candidates(parts, N_PARTICLES, rng)
        return self.model.unorder(z), log_weights

    @torch.no_grad()
    def completed(self, parts: Sequence[Part], candidates: Callable, rng: Generator) -> list[Tensor]:
        """As `complete`. candidates : a function like `_candidates`, which proposes latents."""
        particles, log_weights = self._particles(parts, candidates, rng)
        n_variables = [one.shape[-1] for one in particles]
        return list(draw_one(torch.cat(particles, -1), log_weights, rng).split(n_variables, -1))

    @torch.no_grad()
    def mean_of(self, parts: Sequence[Part], candidates: Callable) -> list[Tensor]:
        """As `centre`. candidates : a function like `_candidates`, which proposes latents."""
        # A fixed seed makes the centre the same at every call. Several filters are averaged, since the particles of one are
        # much alike once they have been resampled.
        rng = Generator(parts[0].x.device).manual_seed(0)
        total = [torch.zeros_like(part.x) for part in self.model.decoded(parts)]
        for _ in range(N_FILTERS):
            particles, log_weights = self._particles(parts, candidates, rng)
            share = log_weights.softmax(0).unsqueeze(-1)
            for whole, one in zip(total, particles, strict=True):
                whole += (share * one).sum(0) / N_FILTERS
        return total

    def _particles(self, parts: Sequence[Part], candidates: Callable, rng: Generator) -> tuple[list[Tensor], Tensor]:
        """Completed parts, (N_PARTICLES, n, n_variables) each, and their log-weights, (N_PARTICLES, n).

        A particle filter (Gordon, Salmond & Smith, 1993): after each row of pixels, and after each part, particles under
        which the observed cells are unlikely are replaced by others. It becomes exact as the number of particles grows.
        """
        n, model = len(parts[0]), self.model
        z, log_weights = candidates(parts, rng)
        inputs = model.decoder_inputs(parts, z).flatten(0, 1)
        done: list[Tensor] = []

        def choose(log_prob: Tensor) -> Tensor | None:
            nonlocal log_weights, inputs
            chosen, log_weights = resampled(log_weights + log_prob.view(N_PARTICLES, n), rng)
            if chosen is not None:
                inputs = inputs[chosen]
                done[:] = [one[chosen] for one in done]
            return chosen

        for part, decoder in zip(model.decoded(parts), model.decoders, strict=True):
            several = Part(part.x.repeat(N_PARTICLES, 1), part.known.repeat(N_PARTICLES, 1))
            done.append(decoder.complete(several, inputs, choose, rng))
        return [one.view(N_PARTICLES, n, -1) for one in done], log_weights
