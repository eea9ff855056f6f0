"""The networks between cells, latents and theta. They know no likelihood and no column kind, only widths.

Every layer is drawn from the caller's generator, so that building a network leaves torch's global stream alone.
"""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import skip_init

ACTIVATIONS = {
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}


def linear(n_in, n_out, generator, gain=1.0):
    """A linear layer, weights normal with variance gain² / n_in (LeCun et al., 1998), biases zero."""
    layer = skip_init(nn.Linear, n_in, n_out)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(max(n_in, 1)), generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


class CellEmbedding(nn.Module):
    """A linear map of a row of cells, categories as if one-hot; a missing cell adds nothing.

    Parameters
    ----------
    sizes : sequence of int
        Per variable: 0 for a number, else how many categories. Variables with categories come last.
    n_out : int
        Width of the output.
    """

    def __init__(self, sizes, n_out, generator, gain=1.0):
        super().__init__()
        codes = [size for size in sizes if size > 0]
        self.n_numbers = len(sizes) - len(codes)
        std = gain / math.sqrt(len(sizes))
        self.numbers = nn.Parameter(torch.empty(n_out, self.n_numbers).normal_(std=std, generator=generator))
        self.bias = nn.Parameter(torch.zeros(n_out))
        self.categories = None
        if codes:
            # EmbeddingBag: the table is never made dense; its last row stands for a missing category and stays zero
            total = sum(codes)
            self.categories = skip_init(nn.EmbeddingBag, total + 1, n_out, mode="sum", padding_idx=total)
            nn.init.normal_(self.categories.weight, std=std, generator=generator)
            nn.init.zeros_(self.categories.weight[total])
            self.register_buffer("offsets", torch.tensor([0, *codes[:-1]]).cumsum(0))

    def forward(self, x, observed=None):
        """X : (n, n_variables), missing cells anything finite; observed : (n, n_variables), bool, or None for all."""
        numbers = x[:, : self.n_numbers]
        if observed is not None:
            numbers = numbers * observed[:, : self.n_numbers]
        out = F.linear(numbers, self.numbers, self.bias)
        if self.categories is None:
            return out
        rows = x[:, self.n_numbers :].long() + self.offsets
        if observed is not None:
            rows = torch.where(observed[:, self.n_numbers :], rows, self.categories.padding_idx)
        return out + self.categories(rows)


class MLP(nn.Module):
    """A multilayer perceptron beside a straight linear path: out = path(x) + perceptron(x).

    The perceptron's last layer starts small, so that the linear path rules the first steps and can be set to a
    closed-form solution.

    Parameters
    ----------
    path, first : nn.Module
        Maps of the input to the output's width, and to the first hidden layer's (None without hidden layers).
    hidden_layer_sizes : tuple of int
        May be empty: a linear model.
    n_out : int
        Width of the output.
    activation : str
        A key of `ACTIVATIONS`.
    """

    def __init__(self, path, first, hidden_layer_sizes, n_out, activation, generator):
        super().__init__()
        self.path, self.first, self.rest = path, first, None
        if hidden_layer_sizes:
            layers = [ACTIVATIONS[activation]()]
            for n_in, n_hidden in pairwise(hidden_layer_sizes):
                layers += [linear(n_in, n_hidden, generator, math.sqrt(2)), ACTIVATIONS[activation]()]
            self.rest = nn.Sequential(*layers, linear(hidden_layer_sizes[-1], n_out, generator, 0.1))

    def forward(self, *inputs):
        """Inputs : what `path` and `first` take; returns (n, n_out)."""
        out = self.path(*inputs)
        return out if self.rest is None else out + self.rest(self.first(*inputs))
