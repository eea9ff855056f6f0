"""The distribution of a part of a row given latents, its cells independent."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import cast

import torch
from torch import Generator, Tensor, nn

from skvae.abstract_likelihood import AbstractLikelihood
from skvae.constraints import Identities
from skvae.likelihoods import LIKELIHOODS
from skvae.networks import MLP, Linear, side_by_side
from skvae.rows import Budget, Part
from skvae.scalings import Variable

# how many rows (and cells) the autoencoder of a table trains on: more gains little on held-out score (Adult, Magic, KDD Cup
# 99)
TABLE_BUDGET = Budget(5e5, 12e6, least=3)


class Blocks(nn.Module):
    """A likelihood for each block of like variables.

    Parameters
    ----------
    variables : sequence of Variable
        In packed order: variables of one likelihood side by side.
    relative : bool
        As likelihoods take it.
    likelihoods : sequence of AbstractLikelihood or None
        The likelihoods of the blocks; None for those that the variables name.
    """

    def __init__(
        self, variables: Sequence[Variable], relative: bool, likelihoods: Sequence[AbstractLikelihood] | None = None
    ):
        super().__init__()
        if likelihoods is None:
            # of one likelihood, variables in bins are a block apart
            blocks = [(name, list(block)) for (name, _), block in groupby(variables, lambda v: (v.likelihood, v.size > 0))]
            likelihoods = [LIKELIHOODS[name].of(block, relative) for name, block in blocks]
        self.likelihoods = nn.ModuleList(likelihoods)
        self.widths = [likelihood.n_variables for likelihood in likelihoods]  # packed columns a block
        self.n_params = [likelihood.n_params for likelihood in likelihoods]
        self.n_features = [sum(v.size if v.coded else 1 for v in likelihood.variables) for likelihood in likelihoods]

    def __iter__(self) -> Iterator[AbstractLikelihood]:
        return iter(cast(Iterable[AbstractLikelihood], self.likelihoods))

    def split(self, *tensors_and_widths: tuple[Tensor, list[int]]) -> Iterator[tuple]:
        """Each likelihood with its part of every tensor (..., k), given with the blocks' widths of its last axis."""
        parts = [tensor.split(widths, -1) for tensor, widths in tensors_and_widths]
        return zip(self, *parts, strict=True)

    def features(self, x: Tensor) -> Tensor:
        """What networks see of cells. x : (..., n_variables); returns the same."""
        return side_by_side([likelihood.features(cells) for likelihood, cells in self.split((x, self.widths))])

    def count(self, log_probs: Tensor, part: Part, theta: Tensor) -> Tensor:
        """Nats of cells as scores count them: none of a missing cell, and of an unseen category its own.

        log_probs : (..., n, n_variables); theta : (..., n, n_params), which they were computed from; returns the former.
        """
        if part.observed is not None:
            log_probs = log_probs * part.observed
        if part.unseen is None:
            return log_probs
        blocks = self.split((theta, self.n_params), (log_probs, self.widths), (part.unseen, self.widths))
        return side_by_side(
            [
                torch.where(unseen, likelihood.log_prob_of_unseen(theta), cells) if unseen.any() else cells
                for likelihood, theta, cells, unseen in blocks
            ]
        )


class AbstractDecoder(nn.Module, ABC):
    """p(x | z) of a part of a row.

    Attributes
    ----------
    budget : Budget
        How long a generator with this decoder is trained.
    widest, widest_drawn : int
        How many numbers the widest layer holds for a row, in scoring and in drawing.
    """

    budget = TABLE_BUDGET
    widest = widest_drawn = 1

    @abstractmethod
    def log_prob(self, part: Part, z: Tensor) -> Tensor:
        """Log-probability of each cell, zero where it is missing.

        part : n rows; z : (..., n, latent_dim); returns (..., n, n_variables).
        """

    @abstractmethod
    def sample(self, z: Tensor, rng: Generator) -> Tensor:
        """One draw of each row. z : (n, latent_dim); returns (n, n_variables)."""

    @abstractmethod
    def complete(self, part: Part, z: Tensor, choose: Callable[[Tensor], Tensor | None], rng: Generator) -> Tensor:
        """Draw the cells that are not observed, in a particle filter: (n, n_variables).

        part : n rows, `observed` not None; z : (n, latent_dim); choose : the resampling step, called after each group of
        cells. It takes their log-probability (n,), over observed cells, and returns indices (n,) of the rows that replace
        the present ones, or None if all stay. A row is replaced only by one with the same observed cells.
        """

    @abstractmethod
    def start_at(self, means: Tensor) -> None:
        """Start at means, where latents are ignored. means : (n_features,), of the features of the part."""


class FactorisedDecoder(AbstractDecoder):
    """Given z, the cells are independent: log p(x | z) is a sum over cells.

    Parameters
    ----------
    variables : sequence of Variable
        In packed order: variables of one likelihood side by side.
    latent_dim : int
    hidden_layer_sizes : tuple of int
    activation : str
    rng : torch.Generator
        Draws the weights.
    identities : Identities or None
        Which cells follow from others: these are not counted.
    hidden : nn.Module or None
        What stands between the first hidden layer and theta, in the place of a perceptron.
    likelihoods : sequence of AbstractLikelihood or None
        As `Blocks` takes them.
    """

    def __init__(
        self,
        variables: Sequence[Variable],
        latent_dim: int,
        hidden_layer_sizes: Sequence[int],
        activation: str,
        rng: Generator,
        identities: Identities | None = None,
        hidden: nn.Module | None = None,
        likelihoods: Sequence[AbstractLikelihood] | None = None,
    ):
        super().__init__()
        self.identities = identities
        self.blocks = Blocks(variables, relative=False, likelihoods=likelihoods)
        self.n_numbers = sum(not variable.coded for variable in variables)  # they come first
        total = sum(self.blocks.n_params)
        self.first = Linear(latent_dim, hidden_layer_sizes[0], rng) if hidden_layer_sizes else None
        self.path = Linear(latent_dim, total, rng)
        self.hidden = MLP(hidden_layer_sizes, total, activation, rng) if hidden is None else hidden

    def theta(self, z: Tensor) -> Tensor:
        """Parameters of all cells. z : (..., latent_dim); returns (..., n_params)."""
        first = None if self.first is None else self.first(z)
        return self.hidden(self.path(z), first).to(z.dtype)  # layers may train in bfloat16

    def log_prob(self, part: Part, z: Tensor) -> Tensor:
        """Nats of each cell, zero where it is missing. part : n rows; z : (..., n, latent_dim)."""
        return self._figures(part, self.theta(z), lambda likelihood, x, theta: likelihood.log_prob(x, theta))

    def log_p_value(self, part: Part, z: Tensor, log_share: Tensor) -> Tensor:
        """Log-probability of a cell at least as unlikely, zero where it is missing: (n, n_variables).

        part : n rows; z : (k, n, latent_dim), k latents of each row; log_share : (k, n, 1), their log-weights.
        """

        def log_p(one: AbstractLikelihood, x: Tensor, theta: Tensor) -> Tensor:
            return one.log_p_value_of_mixture(x, theta, log_share).expand(len(z), *x.shape)

        counted = self._figures(part, self.theta(z), log_p)  # of unseen categories for each z, mixed here
        return (log_share + counted).logsumexp(0).clamp(max=0.0)

    def _figures(self, part: Part, theta: Tensor, figure: Callable[[AbstractLikelihood, Tensor, Tensor], Tensor]) -> Tensor:
        """A figure of each cell, zero where it is missing or follows from others. theta : (..., n, n_params)."""
        blocks = self.blocks
        split = blocks.split((theta, blocks.n_params), (part.x, blocks.widths))
        counted = blocks.count(side_by_side([figure(one, cells, theta) for one, theta, cells in split]), part, theta)
        return self.identities.without_followers(counted, part.x, part.observed) if self.identities else counted

    def sample(self, z: Tensor, rng: Generator) -> Tensor:
        """One draw of each row. z : (n, latent_dim); returns (n, n_variables)."""
        split = self.blocks.split((self.theta(z), self.blocks.n_params))
        return side_by_side([likelihood.sample(theta, rng) for likelihood, theta in split])

    @torch.no_grad()
    def complete(self, part, z, choose, rng):
        chosen = choose(self.log_prob(part, z).sum(-1))
        drawn = self.sample(z if chosen is None else z[chosen], rng)
        return drawn if part.observed is None else torch.where(part.observed, part.x, drawn)

    def start_at(self, means):
        self.start(means, means.new_zeros(len(means), self.path.weight.shape[1]), means.new_ones(()))

    def centres_of_numbers(self, z: Tensor) -> Tensor:
        """The centre of each number, as networks see it: (n, n_numbers). z : (n, latent_dim)."""
        centres = self.blocks.features(self.centre(z))
        return centres[:, : self.n_numbers]

    def centre(self, z: Tensor) -> Tensor:
        """The mean, or the most probable category, of each cell. z : (n, latent_dim); returns (n, n_variables)."""
        split = self.blocks.split((self.theta(z), self.blocks.n_params))
        return side_by_side([likelihood.centre(theta) for likelihood, theta in split])

    @torch.no_grad()
    def start(self, mean: Tensor, loadings: Tensor, noise: Tensor) -> None:
        """Set the linear path to a linear-Gaussian model of the features.

        mean : (n_features,); loadings : (n_features, latent_dim); noise : (), the residual standard deviation.
        """
        blocks = self.blocks
        split = blocks.split((mean, blocks.n_features), (loadings.T, blocks.n_features))
        parts = [likelihood.start(m, slope.T, noise) for likelihood, m, slope in split]
        self.path.bias.copy_(torch.cat([bias for bias, _ in parts]))
        self.path.weight.copy_(torch.cat([weight for _, weight in parts]))
