"""The generator of rows with a table and other parts: a chain over the cells of the table, then the others given it."""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from skvae.abstract_generator import AbstractGenerator
from skvae.autoencoder import Encoder
from skvae.autoregressive import Chain
from skvae.chain_stages import AbstractChainStage
from skvae.parts import N_LATENTS, N_PARTICLES, OwnAutoencoder, PartsGenerator
from skvae.pixels import WIDTH
from skvae.priors import Posterior, normal_kl
from skvae.rows import Part, Rows, hidden_at_random
from skvae.scalings import Variable
from skvae.views import AbstractView, PartEmbedding

N_CONTEXT = 32  # size of the embedding of the table, given which the other parts are drawn; unmeasured
N_SUMMARY = 16  # latents by which the other parts tell the cells of the table; unmeasured
SUMMARY_BETA = 0.1  # nats of the table that a nat of these must tell (Alemi et al., 2017); unmeasured
HIDDEN = (64,)  # units between the summary and the table, in training only; unmeasured
N_ROWS_AT_ONCE = 512  # rows that are encoded at a time, which bounds memory


class RelationsBehind(NamedTuple):
    """The relations between the cells of a table, for a chain in which k other variables come before them.

    A view of a `TableSpec` and its `Dependents`, in which the places of variables are shifted by k.

    Attributes
    ----------
    spec : TableSpec
        Of the table alone.
    k : int
        How many variables come first.
    """

    spec: Any
    k: int

    @property
    def n_rows(self) -> int:
        return self.spec.n_rows

    @property
    def identities(self) -> tuple:
        k = self.k
        return tuple(
            replace(
                one,
                members=tuple(j + k for j in one.members),
                solvable=tuple(j + k for j in one.solvable),
                gate=one.gate + k if one.gate >= 0 else -1,
                pivot=one.pivot + k if one.pivot >= 0 else -1,
            )
            for one in self.spec.identities
        )

    @property
    def supports(self) -> tuple:
        return tuple(replace(one, first=one.first + self.k, second=one.second + self.k) for one in self.spec.supports)

    @property
    def exclusions(self) -> tuple:
        return tuple(replace(one, members=tuple(j + self.k for j in one.members)) for one in self.spec.exclusions)

    @property
    def dependents(self) -> "RelationsBehind":
        return self

    def solve(self, at: int, member: int, x: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `Dependents.solve`. x : (n, k + n_variables)."""
        return self.spec.dependents.solve(at, member - self.k, x[:, self.k :], codes)

    def repack(self, at: int, x: np.ndarray) -> np.ndarray:
        """As `Dependents.repack`. x : (n, k + n_variables)."""
        return self.spec.dependents.repack(at, x[:, self.k :])

    def log_jacobian(self, variable: int, packed: np.ndarray) -> np.ndarray:
        """As `Dependents.log_jacobian`."""
        return self.spec.dependents.log_jacobian(variable - self.k, packed)


class ConditionalAutoencoder(OwnAutoencoder):
    """A conditional variational autoencoder (Sohn, Lee & Yan, 2015) of all parts but the table, which is the condition.

    The model is p(z) p(other parts | z, table), with an encoder q(z | all parts).

    Parameters
    ----------
    views : sequence of AbstractView
        Of all parts.
    at : int
        Which of them is the table.
    rng : torch.Generator
        Draws the initial weights.
    """

    context: PartEmbedding

    def __init__(self, views: Sequence[AbstractView], at: int, rng: Generator):
        super().__init__(views, rng, without(at, views), N_CONTEXT)
        self.at = at
        self.context = views[at].embedding(N_CONTEXT // 2, None, "silu", rng)
        # none of the decoded variables is an indicator of a missing cell
        self.register_buffer("indicators", torch.zeros(0, dtype=torch.long), persistent=False)

    def decoded(self, parts):
        return without(self.at, parts)

    def decoder_inputs(self, parts, z):
        return self.beside(z, parts[self.at])

    def beside(self, z: Tensor, table: Part) -> Tensor:
        """Latents z (..., n, N_LATENTS) followed by the embedding of the table: (..., n, N_LATENTS + N_CONTEXT)."""
        context, _ = self.context(table.x, table.observed)
        return torch.cat([z, context.to(z).expand(*z.shape[:-1], -1)], -1)

    def start_at(self, means):
        super().start_at(means)
        self.context.centre_at(means[self.at])


class OtherParts(PartsGenerator):
    """All parts but the table, given the table; and a summary of them, that cells of the table are drawn given.

    Parameters
    ----------
    views, at, rng
        As `ConditionalAutoencoder` takes them.
    """

    model: ConditionalAutoencoder

    def __init__(self, views: Sequence[AbstractView], at: int, rng: Generator):
        super().__init__(views, rng, ConditionalAutoencoder(views, at, rng))
        self.at = at
        self.encoder = Encoder(without(at, views), N_SUMMARY, (WIDTH,) * 2, "silu", rng)
        self.table = views[at].decoder(N_SUMMARY, HIDDEN, "silu", rng)
        self.n_summary = N_SUMMARY + self.table.n_numbers

    def has_any(self, parts: Sequence[Part]) -> Tensor:
        """Mask of the rows in which anything but the table is observed: (n,), bool. parts : all, the table too."""
        others = without(self.at, parts)
        masks = [part.observed for part in others if part.observed is not None]
        if len(masks) < len(others):
            return torch.ones(len(others[0]), dtype=torch.bool, device=others[0].x.device)
        pairs = zip(self.encoder.embeddings, masks, strict=True)
        return torch.stack([one.has_cells(mask)[:, 0] for one, mask in pairs]).any(0)

    def summarise(self, parts: Sequence[Part], noise: Tensor | None = None) -> Tensor:
        """What all parts but the table tell of its cells: (n, n_summary). parts : all; noise : (n, N_SUMMARY), or None.

        Latents, in which categories are apart, and predictions of numbers.
        """
        posterior = self._told(parts)
        z = posterior.mean if noise is None else posterior.at(noise)
        return torch.cat([z, self.table.centres_of_numbers(z)], 1)

    def _told(self, parts: Sequence[Part]) -> Posterior:
        """Of the latents by which all parts but the table tell its cells: (n, N_SUMMARY) each. parts : all."""
        return Posterior(*self.encoder(*(one for part in without(self.at, parts) for one in (part.x, part.observed))))

    @torch.no_grad()
    def start(self, rows, means, read):
        super().start(rows, means, read)
        self.table.start_at(means[self.at])
        self.encoder.centre_at(without(self.at, means))

    def loss(self, rows, rng=None):
        loss = super().loss(rows, rng)
        if rng is None:
            return loss
        of_summary = self._loss_of_summary(rows, rng)
        return loss + of_summary - of_summary.detach()  # what is reported is the bound

    def seen(self, parts, rng):
        others = hidden_at_random(without(self.at, parts), rng)  # the table is given
        return [*others[: self.at], parts[self.at], *others[self.at :]]

    def _loss_of_summary(self, rows: Rows, rng: Generator) -> Tensor:
        """The loss of a variational information bottleneck (Alemi et al., 2017), a scalar, in nats.

        It is the negative log-likelihood of the table given the summary of the other parts, and SUMMARY_BETA times the KL
        divergence of the summary.
        """
        posterior = self._told(self.seen(rows.parts, rng))
        z = posterior.at(noise_like(posterior.mean, N_SUMMARY, rng))
        nats = self.table.log_prob(rows.parts[self.at], z).sum(-1)
        return (SUMMARY_BETA * normal_kl(*posterior).sum(-1) - nats) @ rows.weight / len(rows)


class AbstractBesideChain(AbstractChainStage):
    """A chain over the cells of the table, and then numbers that stand beside it.

    Parameters
    ----------
    others : OtherParts
    view : AbstractView
        That of the table.
    n_beside : int
        How many numbers there are.
    rng : torch.Generator
        Draws the initial weights.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, others: OtherParts, view: AbstractView, n_beside: int, rng: Generator):
        super().__init__()
        self._others = [others]  # in a list, as its weights are not those of this stage
        self.n_beside = k = n_beside
        behind = [replace(one, indicator=one.indicator + k) if one.indicator >= 0 else one for one in view.variables]
        self.chain = Chain([*[Variable("gaussian")] * k, *behind], rng, RelationsBehind(view.spec, k), last=k)
        self.widest = self.chain.width * self.chain.n_variables
        self.register_buffer("mean", torch.zeros(k))
        self.register_buffer("scale", torch.ones(k))

    @property
    def others(self) -> OtherParts:
        return self._others[0]

    @abstractmethod
    def numbers(self, parts: Sequence[Part], rng: Generator | None) -> Tensor:
        """What stands beside the table: (n, n_beside). rng : of what is random; without, always the same."""

    def cells(self, parts, rng=None):
        """The numbers, where there is anything that they tell, and the table."""
        return self.beside(parts[self.others.at], self.numbers(parts, rng), self.others.has_any(parts))

    def beside(self, table: Part, numbers: Tensor, known: Tensor) -> Part:
        """Numbers (n, n_beside), known of some rows, (n,), and the table."""
        known = known[:, None].expand(numbers.shape)
        unseen = None if table.unseen is None else torch.cat([torch.zeros_like(known), table.unseen], 1)
        observed = torch.cat([known, table.known], 1)
        standardised = (numbers - self.mean) / self.scale
        return Part(torch.cat([standardised, table.x], 1), None if observed.all() else observed, unseen)

    @torch.no_grad()
    def start(self, rows, means, read):
        rows = rows.some(self.chain.n_rows_start)
        self.mean.zero_()
        self.scale.fill_(1.0)
        cells = self.cells_of(rows, read)
        found = cells.x[:, : self.n_beside]
        self.mean.copy_(found.mean(0))
        self.scale.copy_(found.std(0).clamp(min=1e-3))
        found.sub_(self.mean).div_(self.scale)
        self.chain.start(cells, rows.weight, torch.cat([torch.zeros_like(self.mean), means[self.others.at]]))

    @torch.no_grad()
    def cells_of(self, rows, read):
        several = [self.cells(read(batch).parts) for batch in rows.batches(N_ROWS_AT_ONCE)]
        x, observed = torch.cat([one.x for one in several]), torch.cat([one.known for one in several])
        empty = (torch.zeros_like(one.x, dtype=torch.bool) for one in several)
        unseen = torch.cat([none if one.unseen is None else one.unseen for one, none in zip(several, empty, strict=True)])
        return Part(x, None if observed.all() else observed, unseen if unseen.any() else None)


class SummaryChain(AbstractBesideChain):
    """The table, and the summary of the other parts.

    So p(table) is that of the table alone, and cells can be drawn given the summary as they can given any other cells.
    """

    def numbers(self, parts, rng):
        # with the noise of the bottleneck: of rows that it was trained on, a summary knows more than it will of others
        return self.others.summarise(parts, noise_like(parts[0].x, N_SUMMARY, rng))

    def known_cells(self, parts: Sequence[Part]) -> Part:
        """As `cells`, of the summary without noise."""
        return self.beside(parts[self.others.at], self.others.summarise(parts), self.others.has_any(parts))

    def without_predictions(self, known: Tensor) -> Tensor:
        """A mask of what is known of rows of the chain, (n, n_variables), but for the predictions of numbers."""
        known = known.clone()
        known[:, N_SUMMARY : self.n_beside] = False
        return known

    def filled(self, parts: Sequence[Part], fill: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Rows of the chain, (n, n_variables), of which nothing is unknown; fill : of rows and what is known of them.

        Categories are told by the latents of the summary alone: predictions of numbers are functions of these, and how far
        they are from linear ones would count as evidence for a category.
        """
        cells = self.known_cells(parts)
        x, known = cells.x, cells.known.clone()
        codes = [j for j in range(self.chain.n_variables) if self.chain.log_odds_at[j]]
        if codes and not known[:, codes].all() and known[:, N_SUMMARY : self.n_beside].any():
            drawn = fill(x, self.without_predictions(known))
            indicators = self.chain.indicators[codes]
            is_missing = (drawn[:, indicators] > 0.5) & (indicators >= 0)
            x = x.clone()
            x[:, codes] = torch.where(known[:, codes], x[:, codes], drawn[:, codes].round())
            known[:, codes] |= ~is_missing
        return fill(x, known)

    def without_summary(self, x: Tensor) -> Part:
        """The table of rows of the chain, x (n, n_variables); its indicators say which cells are missing."""
        places = (self.chain.indicators >= 0).nonzero()[:, 0]
        observed = torch.ones_like(x, dtype=torch.bool)
        observed[:, places] = x[:, self.chain.indicators[places]] < 0.5
        return Part(x[:, self.n_beside :], observed[:, self.n_beside :])

    def all_there(self, x: Tensor) -> Part:
        """As `without_summary`, but with every cell observed."""
        indicators = self.chain.indicators
        return Part(x.index_fill(1, indicators[indicators >= 0], 0.0)[:, self.n_beside :])


class LatentChain(AbstractBesideChain):
    """The table, and the latents of the other parts: their prior given the table."""

    def numbers(self, parts, rng):
        return self.others.model.encode(parts).at(noise_like(parts[0].x, N_LATENTS, rng))

    def log_prior(self, parts: Sequence[Part], z: Tensor) -> Tensor:
        """log p(z | table), in nats: (k, n). z : (k, n, N_LATENTS), k latents of each of n rows."""
        table = parts[self.others.at].map(lambda tensor: tensor.repeat(len(z), 1))
        everywhere = torch.ones(len(table), dtype=torch.bool, device=z.device)
        nats = self.chain.log_prob(self.beside(table, z.flatten(0, 1), everywhere))
        return (nats[:, :N_LATENTS].sum(-1) - self.scale.log().sum()).view(z.shape[:2])

    def sample(self, table: Part, rng: Generator) -> Tensor:
        """Draw latents given n rows of the table, whose cells are all known: (n, N_LATENTS)."""
        numbers = table.x.new_zeros(len(table), N_LATENTS)
        cells = self.beside(table, numbers, torch.zeros_like(numbers[:, 0], dtype=torch.bool))
        drawn = self.chain.sample(cells.x, cells.known, rng)[:, :N_LATENTS]
        return drawn * self.scale + self.mean


class JointGenerator(AbstractGenerator):
    """The table by a chain over its cells, and all other parts given the table by a conditional autoencoder.

    Where other parts are known, cells of the table are drawn given a summary of them.
    """

    exact = False
    latent_dim = N_LATENTS
    n_candidates = N_PARTICLES

    def __init__(self, views: Sequence[AbstractView], rng: Generator):
        super().__init__()
        [self.at] = [at for at, view in enumerate(views) if view.in_chain]
        self.others = OtherParts(views, self.at, rng)
        self.table = SummaryChain(self.others, views[self.at], self.others.n_summary, rng)
        self.latents = LatentChain(self.others, views[self.at], N_LATENTS, rng)
        self.widest, self.widest_drawn = max(stage.widest for stage in self.stages), self.others.widest_drawn

    @staticmethod
    def can(views):
        return len(views) > 1 and sum(view.in_chain for view in views) == 1

    @classmethod
    def suits(cls, views):
        return cls.can(views) and all(len(view.variables) <= view.chain_up_to for view in views if view.in_chain)

    @property
    def stages(self):
        return [self.others, self.table, self.latents]

    def finalise(self, rows, read, rng):
        chain = self.table.chain
        some = rows.some(chain.n_rows_start)
        chain.calibrate(self.table.cells_of(some, read), some.weight, rng)

    def log_prob(self, parts, autoencoder, noise):
        """log p(table), and the importance-weighted bound on log p(other parts | table)."""
        table = parts[self.at]
        nothing = torch.zeros(len(table), dtype=torch.bool, device=table.x.device)
        of_table = self.table.chain.log_prob(self.table.beside(table, self.table.mean.expand(len(table), -1), nothing))
        posterior = self.others.model.encode(parts)
        z = posterior.at(noise[:, None])
        of_others = sum((one.sum(-1) for one in self.others.model.log_cells(parts, z)), torch.zeros_like(z[..., 0]))
        log_weights = of_others + self.latents.log_prior(parts, z) - posterior.log_prob(z)
        bound = log_weights.logsumexp(0) - math.log(len(noise))
        return of_table.sum(-1) + bound * self.others.has_any(parts)

    def log_prob_of_table(self, parts, autoencoder, noise):
        """log p(table, latents of the summary): by these, cells depend on the other parts where they are known."""
        cells = self.table.known_cells(parts)
        known = self.table.without_predictions(cells.known)
        return self.table.chain.log_prob(replace(cells, observed=known)).sum(-1)

    def sample(self, n, autoencoder, rng):
        x = self.others.model.shrinkage.new_zeros(n, self.table.chain.n_variables)
        x = self.table.chain.sample(x, torch.zeros_like(x, dtype=torch.bool), rng)
        table = self.table.without_summary(x)
        return self._together(self._others_given(table, rng), table.x)

    def _others_given(self, table: Part, rng: Generator) -> list[Tensor]:
        """Draw all parts but the table, given nothing but the table: (n, n_variables) each."""
        inputs = self.others.model.beside(self.latents.sample(table, rng), table)
        return [decoder.sample(inputs, rng) for decoder in self.others.model.decoders]

    def _candidates(self, parts: Sequence[Part], rng: Generator) -> tuple[Tensor, Tensor]:
        """Proposed latents, (N_PARTICLES, n, N_LATENTS), and their log-weights, (N_PARTICLES, n).

        Half are drawn from the encoder and half from the prior given the table. The log-weights are those of the prior
        relative to this mixture, up to a constant.
        """
        posterior, half = self.others.model.encode(parts), N_PARTICLES // 2
        like = posterior.mean.expand(half, -1, -1)
        noise = torch.randn(like.shape, generator=rng, dtype=like.dtype, device=like.device)
        table = parts[self.at].map(lambda tensor: tensor.repeat(half, 1))
        z = torch.cat([posterior.at(noise), self.latents.sample(table, rng).view(like.shape)])
        prior = self.latents.log_prior(parts, z)
        return z, prior - torch.logaddexp(posterior.log_prob(z), prior)

    def _together(self, others: list[Tensor], table: Tensor) -> list[Tensor]:
        """All parts in their order: the table is put in its place among the others."""
        return [*others[: self.at], table, *others[self.at :]]

    @torch.no_grad()
    def complete(self, parts, autoencoder, rng):
        table = self.table.without_summary(self.table.filled(parts, lambda x, known: self.table.chain.sample(x, known, rng)))
        return self._together(self._completed(parts, table, rng), table.x)

    @torch.no_grad()
    def impute(self, parts, autoencoder, rng):
        table = self.table.all_there(self.table.filled(parts, lambda x, known: self.table.chain.impute(x, known, rng)))
        return self._together(self._completed(parts, table, rng), table.x)

    def _completed(self, parts: Sequence[Part], table: Part, rng: Generator) -> list[Tensor]:
        """All parts but the table, with the cells drawn that are not observed. table : the completed table."""
        parts = self._with_table(parts, table)
        out, has_any = [part.x.clone() for part in without(self.at, parts)], self.others.has_any(parts)
        holed = self._holed(parts)
        _replace_rows(out, parts, holed & ~has_any, lambda some: self._others_given(some[self.at], rng))
        _replace_rows(out, parts, holed & has_any, lambda some: self.others.completed(some, self._candidates, rng))
        return out

    @torch.no_grad()
    def centre(self, parts, autoencoder):
        table = self.table.all_there(self.table.filled(parts, self.table.chain.centre))
        parts = self._with_table(parts, table)
        out = [part.x.clone() for part in without(self.at, parts)]
        _replace_rows(out, parts, self._holed(parts), lambda some: self.others.mean_of(some, self._candidates))
        return self._together(out, table.x)

    def _with_table(self, parts: Sequence[Part], table: Part) -> list[Part]:
        """All parts, with another table."""
        return [table if at == self.at else part for at, part in enumerate(parts)]

    def _holed(self, parts: Sequence[Part]) -> Tensor:
        """Mask of the rows of which something but the table is not observed: (n,), bool."""
        return torch.stack([~part.known.all(1) for part in without(self.at, parts)]).any(0)


def _replace_rows(
    out: list[Tensor], parts: Sequence[Part], rows: Tensor, fill: Callable[[list[Part]], list[Tensor]]
) -> None:
    """Replace some rows (n,), bool, of each of `out` by what `fill` makes of these rows of all parts."""
    if rows.any():
        some = [part.map(lambda tensor: tensor[rows]) for part in parts]
        for whole, cells in zip(out, fill(some), strict=True):
            whole[rows] = cells


def noise_like(x: Tensor, k: int, rng: Generator | None) -> Tensor:
    """Standard normal noise (n, k) for rows x (n, ...); without rng always the same."""
    rng = Generator(x.device).manual_seed(0) if rng is None else rng
    return torch.randn(len(x), k, generator=rng, dtype=x.dtype, device=x.device)


def without(at: int, items: Sequence) -> list:
    """The items without that at place `at`."""
    return [one for j, one in enumerate(items) if j != at]
