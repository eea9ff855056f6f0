"""The generators that rows are drawn from, by name: GENERATORS."""

from collections.abc import Sequence

import torch
from torch import Generator

from skvae.abstract_generator import AbstractGenerator, draw_one, filled
from skvae.autoregressive import Chain
from skvae.chain_stages import AbstractChainStage
from skvae.joint import JointGenerator
from skvae.parts import PartsGenerator
from skvae.views import AbstractView

N_CANDIDATES = 64  # latents that those of a row with known cells are chosen from; documented in the estimator


class LatentGenerator(AbstractGenerator):
    """The autoencoder itself: latents are drawn from its prior, and cells, independent of each other, given the latents."""

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
        """Draw latents given the observed cells, then the other cells given the latents.

        Sampling-importance-resampling (Rubin, 1988) among candidates from the encoder and from the prior draws the latents;
        it becomes exact as the number of candidates grows.
        """
        z, log_weights = autoencoder.candidates(parts, N_CANDIDATES, rng)
        log_weights += sum(cells.sum(-1) for cells in autoencoder.log_cells(parts, autoencoder.unorder(z)))
        return filled(parts, autoencoder.sample(draw_one(z, log_weights, rng), rng))

    def centre(self, parts, autoencoder):
        return autoencoder.centre(autoencoder.encode(parts).mean)


class ChainGenerator(AbstractChainStage, AbstractGenerator):
    """A chain over the cells of a table. The autoencoder has no part in what is drawn.

    The chain does not see the latents. Fed with them, it scored worse on held-out rows (Adult: a bound of -28.4 nats
    against exactly -27.7), since what the latents tell is paid for twice where the prior does not match.
    """

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

    def cells(self, parts, rng=None):
        return parts[0]

    def sample(self, n, autoencoder, rng):
        x = self.chain.regressions.slopes.new_zeros(n, self.chain.n_variables)
        return [self.chain.sample(x, torch.zeros_like(x, dtype=torch.bool), rng)]

    def complete(self, parts, autoencoder, rng):
        return [self.chain.sample(parts[0].x, parts[0].known, rng)]

    def impute(self, parts, autoencoder, rng):
        return [self.chain.impute(parts[0].x, parts[0].known, rng)]

    def centre(self, parts, autoencoder):
        return [self.chain.centre(parts[0].x, parts[0].known)]

    @torch.no_grad()
    def start(self, rows, means, read):
        some = read(rows.some(self.chain.n_rows_start))
        self.chain.start(some.parts[0], some.weight, means[0])

    def finalise(self, rows, read, rng):
        whole = read(rows)
        self.chain.calibrate(whole.parts[0], whole.weight, rng)


# Under each value of the estimator's `generator` stand its classes, of which the first that can generate the rows is used.
# "auto" is the first name with a class that suits the rows.
GENERATORS: dict[str, tuple[type[AbstractGenerator], ...]] = {
    "autoregressive": (ChainGenerator, PartsGenerator, JointGenerator),
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
