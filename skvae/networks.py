"""The networks between cells, latents and theta. They know no likelihood and no column kind, only widths.

Every layer is drawn from the caller's generator, so that building a network leaves torch's global stream alone.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.nn.utils import skip_init

ACTIVATIONS = {
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}


def linear(n_in: int, n_out: int, generator: Generator, gain: float = 1.0) -> nn.Linear:
    """A linear layer, weights normal with variance gain² / n_in (LeCun et al., 1998), biases zero."""
    layer = skip_init(nn.Linear, n_in, n_out)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(max(n_in, 1)), generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


class CellEmbedding(nn.Module):
    """A linear map of a row of cells, categories as if one-hot; a missing cell adds nothing.

    Parameters
    ----------
    n_numbers : int
        How many of the variables are numbers; they come first.
    sizes : sequence of int
        How many categories each of the others has.
    n_out : int
        Width of the output.
    """

    offsets: Tensor

    def __init__(self, n_numbers: int, sizes: Sequence[int], n_out: int, generator: Generator):
        super().__init__()
        self.n_numbers = n_numbers
        std = 1 / math.sqrt(n_numbers + len(sizes))
        self.numbers = nn.Parameter(torch.empty(n_out, self.n_numbers).normal_(std=std, generator=generator))
        self.bias = nn.Parameter(torch.zeros(n_out))
        self.categories = None
        if sizes:
            # EmbeddingBag: the table is never made dense; its last row stands for a missing category and stays zero
            total = sum(sizes)
            self.categories = skip_init(nn.EmbeddingBag, total + 1, n_out, mode="sum", padding_idx=total)
            nn.init.normal_(self.categories.weight, std=std, generator=generator)
            nn.init.zeros_(self.categories.weight[total])
            self.register_buffer("offsets", torch.tensor([0, *sizes[:-1]]).cumsum(0))

    @torch.no_grad()
    def set_(self, slope: Tensor, places: Tensor, bias: Tensor) -> None:
        """Become x @ slope + bias, with zeros elsewhere.

        slope : (k, n_out), of the numbers and then of some one-hot codes; places : (k,), of those among all features;
        bias : (n_out,).
        """
        self.numbers.copy_(slope[: self.n_numbers].T)
        self.bias.copy_(bias)
        if self.categories is not None:
            self.categories.weight.zero_()
            self.categories.weight[places[self.n_numbers :] - self.n_numbers] = slope[self.n_numbers :]

    def forward(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """x : (n, n_variables), missing cells anything finite; observed : (n, n_variables), bool, or None for all."""
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

    def __init__(
        self,
        path: nn.Module,
        first: nn.Module | None,
        hidden_layer_sizes: Sequence[int],
        n_out: int,
        activation: str,
        generator: Generator,
    ):
        super().__init__()
        self.path, self.first, self.rest = path, first, None
        if hidden_layer_sizes:
            layers = [ACTIVATIONS[activation]()]
            for n_in, n_hidden in pairwise(hidden_layer_sizes):
                layers += [linear(n_in, n_hidden, generator, math.sqrt(2)), ACTIVATIONS[activation]()]
            self.rest = nn.Sequential(*layers, linear(hidden_layer_sizes[-1], n_out, generator, 0.1))

    def forward(self, *inputs: Tensor | None) -> Tensor:
        """inputs : what `path` and `first` take; returns (n, n_out)."""
        out = self.path(*inputs)
        if self.rest is None or self.first is None:
            return out
        return out + self.rest(self.first(*inputs))
