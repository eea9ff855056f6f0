"""Rows without a table: images, drawn pixel after pixel, and other parts, given latents that only the generator has."""

from collections.abc import Callable, Sequence
from dataclasses import astuple

import torch
from torch import Generator, Tensor

from skvae.abstract_generator import AbstractGenerator, draw_one, free_bits, known_cells, resampled
from skvae.autoencoder import Autoencoder, normal_noise
from skvae.pixels import WIDTH
from skvae.rows import Budget, Part
from skvae.views import AbstractView

N_LATENTS = 32  # of the generator
HIDDEN_SHARE = 0.25  # of rows whose part the encoder does not see in training, where others are there; unmeasured
# candidates that rows with known cells are chosen from, and how often that is done for their centre; both documented in the
# estimator
N_PARTICLES, N_FILTERS = 16, 8


class OwnAutoencoder(Autoencoder):
    """An autoencoder for the sake of drawing: of images, the decoder sees pixels near the one that it draws.

    Parameters
    ----------
    views : sequence of AbstractView
    rng : torch.Generator
        Draws the initial weights.
    decoded : sequence of AbstractView or None
        Those of the parts that have a decoder; None for all.
    n_given : int
        Numbers that decoders take beside the latents.
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
        self.budget = Budget(*(min(one) for one in zip(*(astuple(one.budget) for one in decoders), strict=True)))
        self.widest = max(self.widest, *(decoder.widest for decoder in decoders))
        self.widest_drawn = max(decoder.widest_drawn for decoder in decoders)

    def decoded(self, parts: Sequence) -> list:
        """Those parts that have a decoder."""
        return list(parts)

    def decoder_inputs(self, parts: Sequence[Part], z: Tensor) -> Tensor:
        """Latents (..., n, N_LATENTS), and what else decoders take of n rows beside them."""
        return z

    def log_cells(self, parts, z):
        z = self.decoder_inputs(parts, z)
        return [decoder.log_prob(part, z) for decoder, part in zip(self.decoders, self.decoded(parts), strict=True)]

    @torch.no_grad()
    def start_at(self, means: Sequence[Tensor]) -> None:
        """Begin where latents tell nothing. means : of every part's features."""
        for embedding, mean in zip(self.encoder.embeddings, means, strict=True):
            embedding.centre.copy_(mean[: len(embedding.centre)])
        for decoder, mean in zip(self.decoders, self.decoded(means), strict=True):
            decoder.start_at(mean)


class PartsGenerator(AbstractGenerator):
    """A variational autoencoder of all parts with an encoder and latents of its own, whose decoders draw pixel by pixel.

    Its latents hold what pixels far from each other, and parts, have in common, and its decoders what is near: so it depends
    on no parameter of the autoencoder, whose latents hold all that they can.
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
        seen = rows.parts if rng is None else self.hidden_at_random(rows.parts, rng)
        log_likelihood, kl = (part @ rows.weight / len(rows) for part in self.model.elbo(rows.parts, noise.to(like), seen))
        return free_bits(log_likelihood, kl)

    def hidden_at_random(self, parts: Sequence[Part], rng: Generator) -> Sequence[Part]:
        """Parts of which the encoder does not see some, where there are several: it gets to know such rows."""
        several = self.model.decoded(parts)
        if len(several) < 2:
            return parts
        like = several[0].x
        draws = torch.rand(len(several), len(like), generator=rng, device=like.device)
        hidden = (draws < HIDDEN_SHARE) & (draws > draws.amin(0))  # one is always seen
        pairs = zip(several, hidden, strict=True)
        seen = {id(part): Part(part.x, known_cells(part) & ~absent[:, None]) for part, absent in pairs}
        return [seen.get(id(part), part) for part in parts]

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
        """N_PARTICLES latents of each of n rows, as decoders know them, and log-weights, as `Autoencoder.candidates`."""
        z, log_weights = self.model.candidates(parts, N_PARTICLES, rng)
        return self.model.unorder(z), log_weights

    @torch.no_grad()
    def completed(self, parts: Sequence[Part], candidates: Callable, rng: Generator) -> list[Tensor]:
        """As `complete`; candidates : as `_candidates`."""
        particles, log_weights = self._particles(parts, candidates, rng)
        n_variables = [one.shape[-1] for one in particles]
        return list(draw_one(torch.cat(particles, -1), log_weights, rng).split(n_variables, -1))

    @torch.no_grad()
    def mean_of(self, parts: Sequence[Part], candidates: Callable) -> list[Tensor]:
        """As `centre`; candidates : as `_candidates`."""
        # the same draws at every call, so that their mean is the same; particles that were resampled are much alike, which
        # those of another filter are not
        rng = Generator(parts[0].x.device).manual_seed(0)
        total = [torch.zeros_like(part.x) for part in self.model.decoded(parts)]
        for _ in range(N_FILTERS):
            particles, log_weights = self._particles(parts, candidates, rng)
            share = log_weights.softmax(0).unsqueeze(-1)
            for whole, one in zip(total, particles, strict=True):
                whole += (share * one).sum(0) / N_FILTERS
        return total

    def _particles(self, parts: Sequence[Part], candidates: Callable, rng: Generator) -> tuple[list[Tensor], Tensor]:
        """Parts with their observed cells, the others drawn, (N_PARTICLES, n, n_variables) each, and their log-weights.

        A particle filter (Gordon, Salmond & Smith, 1993): after each row of pixels, and each part, rows so far under which
        the known cells are unlikely give way to others. Exact as the number of particles grows.
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
            several = Part(part.x.repeat(N_PARTICLES, 1), known_cells(part).repeat(N_PARTICLES, 1))
            done.append(decoder.complete(several, inputs, choose, rng))
        return [one.view(N_PARTICLES, n, -1) for one in done], log_weights
