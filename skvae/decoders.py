"""From latents to the distribution of a row: p(x | z)."""

from itertools import groupby
from typing import cast

import torch
from torch import nn

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

    def __init__(self, variables, latent_dim, hidden_layer_sizes, activation, generator):
        super().__init__()
        blocks = [(name, list(block)) for name, block in groupby(variables, lambda v: v.likelihood)]
        likelihoods = [LIKELIHOODS[name](block) for name, block in blocks]
        self.likelihoods = nn.ModuleList(likelihoods)
        self.widths = [len(block) for _, block in blocks]  # packed columns a block
        self.features = [sum(max(1, v.size) for v in block) for _, block in blocks]
        self.n_params = [likelihood.n_params for likelihood in likelihoods]
        total = sum(self.n_params)
        first = linear(latent_dim, hidden_layer_sizes[0], generator) if hidden_layer_sizes else None
        path = linear(latent_dim, total, generator)
        self.network = MLP(path, first, hidden_layer_sizes, total, activation, generator)

    def forward(self, z):
        """Z : (..., latent_dim); returns pairs (likelihood, theta of its block)."""
        return list(zip(self.likelihoods, self.network(z).split(self.n_params, -1), strict=True))

    def log_prob(self, x, z):
        """Nats of each cell. x : (n, n_variables), missing cells anything in the support; z : (..., n, latent_dim)."""
        blocks = zip(self(z), x.split(self.widths, -1), strict=True)
        return torch.cat([likelihood.log_prob(cells, theta) for (likelihood, theta), cells in blocks], -1)

    def sample(self, z, generator):
        """One draw of each row. z : (n, latent_dim); returns (n, n_variables)."""
        return torch.cat([likelihood.sample(theta, generator) for likelihood, theta in self(z)], -1)

    def mode(self, z):
        """The centre of each cell. z : (n, latent_dim); returns (n, n_variables)."""
        return torch.cat([likelihood.mode(theta) for likelihood, theta in self(z)], -1)

    @torch.no_grad()
    def start(self, mean, loadings, noise):
        """Set the linear path to a linear-Gaussian model: mean (n_features,), loadings (n_features, latent_dim), noise."""
        blocks = zip(self.likelihoods, mean.split(self.features), loadings.split(self.features), strict=True)
        parts = [cast(AbstractLikelihood, likelihood).start(m, slope, noise) for likelihood, m, slope in blocks]
        self.network.path.bias.copy_(torch.cat([bias for bias, _ in parts]))
        self.network.path.weight.copy_(torch.cat([weight for _, weight in parts]))
