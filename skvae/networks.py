"""The networks between cells, latents and theta. They know no likelihood and no column kind, only widths.

Every layer is drawn from the caller's random generator, so that building a network leaves torch's global stream alone.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from skvae.contexts import plain_derivatives
from skvae.sizes import MANY_CODES

ACTIVATIONS = {
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}


def side_by_side(parts: list[Tensor]) -> Tensor:
    """Parts (..., k) as one tensor; of one part, itself."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, -1)


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x @ weight.T + bias, in the type of the weight.

    x : (..., n_in), or (n, n_in) where that is bfloat16; weight : (n_out, n_in); bias : (n_out,).
    """
    if weight.dtype == torch.bfloat16 and not plain_derivatives():
        return _Bfloat16Affine.apply(x.bfloat16(), weight, bias)
    return F.linear(x.to(weight.dtype), weight, bias.to(weight.dtype))


class _Bfloat16Affine(torch.autograd.Function):
    """A product in bfloat16. torch's own gradient of the weight comes transposed, and is slow to copy.

    x : (n, n_in) and weight : (n_out, n_in), both bfloat16; bias : (n_out,), float32. Returns (n, n_out), bfloat16.
    """

    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return torch.addmm(bias.bfloat16(), x, weight.T)

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        of_x = gradient @ weight if ctx.needs_input_grad[0] else None
        return of_x, gradient.T @ x, gradient.sum(0)


class Linear(nn.Module):
    """A linear layer.

    Weights begin normal with variance gain² / n_in (LeCun et al., 1998), biases zero. `nn.Linear` would draw them from the
    global stream first; building one that does not (`skip_init`) imports torch's compiler, which outlasts a small fit.
    """

    products = ("weight",)  # by name, what multiplies inputs, and may be bfloat16 while it trains

    def __init__(self, n_in: int, n_out: int, rng: Generator, gain: float = 1.0):
        super().__init__()
        std = gain / math.sqrt(max(n_in, 1))
        self.weight = nn.Parameter(torch.empty(n_out, n_in).normal_(std=std, generator=rng))
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x: Tensor) -> Tensor:
        """x : (..., n_in); returns (..., n_out)."""
        return affine(x, self.weight, self.bias)


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

    products = ("numbers",)  # as in `Linear`
    offsets: Tensor

    def __init__(self, n_numbers: int, sizes: Sequence[int], n_out: int, rng: Generator):
        super().__init__()
        self.n_numbers, self.n_codes = n_numbers, sum(sizes)
        std = 1 / math.sqrt(n_numbers + len(sizes))
        self.numbers = nn.Parameter(torch.empty(n_out, self.n_numbers).normal_(std=std, generator=rng))
        self.bias = nn.Parameter(torch.zeros(n_out))
        self.categories = None
        if sizes:
            # EmbeddingBag: many codes are never made one-hot; the last row stands for a missing category and stays zero
            table = torch.empty(self.n_codes + 1, n_out).normal_(std=std, generator=rng)
            table[self.n_codes] = 0.0
            self.categories = nn.EmbeddingBag.from_pretrained(table, freeze=False, mode="sum", padding_idx=self.n_codes)
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
        out = affine(numbers, self.numbers, self.bias)
        if self.categories is None:
            return out
        rows = x[:, self.n_numbers :].long() + self.offsets
        if observed is not None:
            rows = torch.where(observed[:, self.n_numbers :], rows, self.n_codes)
        if self.n_codes > MANY_CODES:
            return out + self.categories(rows)
        table = self.categories.weight
        hot = table.new_zeros(len(x), len(table)).scatter_(1, rows, 1.0)
        hot[:, self.n_codes] = 0.0
        return out + hot @ table


class MLP(nn.Module):
    """The hidden layers of a network beside a straight linear path: out = straight + perceptron(first).

    The perceptron's last layer starts small, so that the linear path rules the first steps and can be set to a
    closed-form solution.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int
        May be empty: a linear model.
    n_out : int
        Width of the output.
    activation : str
        A key of `ACTIVATIONS`.
    rng : torch.Generator
        Draws the weights.
    """

    def __init__(self, hidden_layer_sizes: Sequence[int], n_out: int, activation: str, rng: Generator):
        super().__init__()
        self.rest = None
        if hidden_layer_sizes:
            layers = [ACTIVATIONS[activation]()]
            for n_in, n_hidden in pairwise(hidden_layer_sizes):
                layers += [Linear(n_in, n_hidden, rng, math.sqrt(2)), ACTIVATIONS[activation]()]
            self.rest = nn.Sequential(*layers, Linear(hidden_layer_sizes[-1], n_out, rng, 0.1))

    def forward(self, straight: Tensor, first: Tensor | None) -> Tensor:
        """straight : (n, n_out); first : (n, hidden_layer_sizes[0]), before the activation, or None; returns (n, n_out)."""
        return straight if self.rest is None or first is None else straight + self.rest(first)
