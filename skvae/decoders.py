"""From latents to the distribution of a row: p(x | z)."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import cast

import torch
from torch import Generator, Tensor, nn

from skvae.likelihoods import LIKELIHOODS, AbstractLikelihood
from skvae.networks import MLP, linear


class FactorisedDecoder(nn.Module):
    """Given z, the cells are independent: log p(x | z) is a sum over cells.

    Parameters
    ----------
    variables : sequence of Variable
        In packed order: variables of one likelihood side by side.
    latent_dim : int
    hidden_layer_sizes : tuple of int
    activation : str
    generator : torch.Generator
    """

    def __init__(
        self,
        variables: Sequence,
        latent_dim: int,
        hidden_layer_sizes: Sequence[int],
        activation: str,
        generator: Generator,
    ):
        super().__init__()
        blocks = [(name, list(block)) for name, block in groupby(variables, lambda v: v.likelihood)]
        likelihoods = [LIKELIHOODS[name](block) for name, block in blocks]
        self.likelihoods = nn.ModuleList(likelihoods)
        self.widths = [len(block) for _, block in blocks]  # packed columns a block
        self.n_features = [sum(v.size if v.coded else 1 for v in block) for _, block in blocks]
        self.n_params = [likelihood.n_params for likelihood in likelihoods]
        total = sum(self.n_params)
        first = linear(latent_dim, hidden_layer_sizes[0], generator) if hidden_layer_sizes else None
        path = linear(latent_dim, total, generator)
        self.network = MLP(path, first, hidden_layer_sizes, total, activation, generator)

    def _blocks(self, *tensors_and_widths: tuple[Tensor, list[int]]) -> Iterator[tuple]:
        """Each likelihood with its part of every tensor (..., k), given with the blocks' widths of its last axis."""
        parts = [tensor.split(widths, -1) for tensor, widths in tensors_and_widths]
        return zip(cast(Iterable[AbstractLikelihood], self.likelihoods), *parts, strict=True)

    def features(self, x: Tensor) -> Tensor:
        """What the encoder sees of cells. x : (..., n_variables); returns the same."""
        return torch.cat([likelihood.features(cells) for likelihood, cells in self._blocks((x, self.widths))], -1)

    def log_prob(self, x: Tensor, z: Tensor) -> Tensor:
        """Nats of each cell. x : (n, n_variables), missing cells anything in the support; z : (..., n, latent_dim)."""
        blocks = self._blocks((self.network(z), self.n_params), (x, self.widths))
        return torch.cat([likelihood.log_prob(cells, theta) for likelihood, theta, cells in blocks], -1)

    def sample(self, z: Tensor, generator: Generator) -> Tensor:
        """One draw of each row. z : (n, latent_dim); returns (n, n_variables)."""
        blocks = self._blocks((self.network(z), self.n_params))
        return torch.cat([likelihood.sample(theta, generator) for likelihood, theta in blocks], -1)

    def centre(self, z: Tensor) -> Tensor:
        """The mean, or the most probable category, of each cell. z : (n, latent_dim); returns (n, n_variables)."""
        blocks = self._blocks((self.network(z), self.n_params))
        return torch.cat([likelihood.centre(theta) for likelihood, theta in blocks], -1)

    @torch.no_grad()
    def start(self, mean: Tensor, loadings: Tensor, noise: Tensor) -> None:
        """Set the linear path to a linear-Gaussian model of the features.

        mean : (n_features,); loadings : (n_features, latent_dim); noise : (), the residual standard deviation.
        """
        blocks = self._blocks((mean, self.n_features), (loadings.T, self.n_features))
        parts = [likelihood.start(m, slope.T, noise) for likelihood, m, slope in blocks]
        path = cast(nn.Linear, self.network.path)
        path.bias.copy_(torch.cat([bias for bias, _ in parts]))
        path.weight.copy_(torch.cat([weight for _, weight in parts]))
