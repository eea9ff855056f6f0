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


NARROW = 64


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x @ weight.T + bias, in bfloat16 under autocast where it is wide.

    Latents and few columns want all their digits, and a narrow product costs next to nothing.
    """
    if not torch.is_autocast_enabled(x.device.type):
        return F.linear(x, weight, bias)
    if min(weight.shape) >= NARROW:
        return _Bfloat16Affine.apply(x, weight, bias)
    with torch.autocast(x.device.type, enabled=False):
        return F.linear(x, weight, bias)


class _Bfloat16Affine(torch.autograd.Function):
    """Products in bfloat16, all else as it came. Autocast's gradient of a weight is transposed, and slow to cast back."""

    @staticmethod
    def forward(ctx, x, weight, bias):
        x, weight = x.bfloat16(), weight.bfloat16()
        ctx.save_for_backward(x, weight)
        return torch.addmm(bias.bfloat16(), x, weight.T).to(bias.dtype)

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        half = gradient.bfloat16()
        of_x = (half @ weight).to(gradient.dtype) if ctx.needs_input_grad[0] else None
        return of_x, (half.T @ x).to(gradient.dtype), gradient.sum(0)


class Linear(nn.Linear):
    """`nn.Linear`, in full precision where it is narrow."""

    def forward(self, x: Tensor) -> Tensor:
        return affine(x, self.weight, self.bias)


def linear(n_in: int, n_out: int, generator: Generator, gain: float = 1.0) -> nn.Linear:
    """A linear layer, weights normal with variance gain² / n_in (LeCun et al., 1998), biases zero."""
    layer = skip_init(Linear, n_in, n_out)
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
        out = affine(numbers, self.numbers, self.bias)
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


class CellPerceptrons(nn.Module):
    """For every cell of a row a perceptron of the cells that it may see: NADE (Larochelle & Murray, 2011).

    What a cell tells is a vector, its code's and its number's; a cell sees the sum over others, so any mask of who sees whom
    is possible. Each cell has weights of its own, as batched products.

    Parameters
    ----------
    n_codes : sequence of int
        How many codes each cell may have.
    outputs : sequence of (list of int, int, Tensor or None)
        Rectangles of the output: k cells, how many numbers each of them puts out, and the basis (k, n_functions, numbers)
        that these are mixed of; None where they are free. Cells with a basis put out a number a code, and what their codes
        tell is mixed of the same functions: neighbours tell alike.
    width : int
        Length of the vectors.
    """

    offsets: Tensor

    def __init__(self, n_codes: Sequence[int], outputs: Sequence[tuple], width: int, generator: Generator):
        super().__init__()
        n_cells, self.cells = len(n_codes), [cells for cells, *_ in outputs]

        def normal(*shape, std):
            return nn.Parameter(torch.empty(shape).normal_(std=std, generator=generator))

        self.bases = [f"basis{at}" if basis is not None else None for at, (*_, basis) in enumerate(outputs)]
        for name, (*_, basis) in zip(self.bases, outputs, strict=True):
            if name is not None:
                self.register_buffer(name, basis, persistent=False)
        # rows of the table of codes: the free ones, then those of each basis
        mixed = [(cells, *basis.shape[1:]) for cells, _, basis in outputs if basis is not None]
        n_free = [0 if any(j in cells for cells, *_ in mixed) else n for j, n in enumerate(n_codes)]
        offsets, start = torch.tensor([0, *n_free[:-1]]).cumsum(0), sum(n_free)
        for cells, _, n in mixed:
            offsets[cells] = start + n * torch.arange(len(cells))
            start += n * len(cells)
        self.register_buffer("offsets", offsets, persistent=False)
        self.codes = normal(sum(n_free), width, std=0.3)
        self.mixes = nn.ParameterList([normal(len(cells), n, width, std=0.3) for cells, n, _ in mixed])
        self.slopes = normal(n_cells, 1, width, std=0.3)
        self.biases = normal(n_cells, 1, width, std=0.1)
        self.hidden = normal(n_cells, width, width, std=1 / math.sqrt(width))
        self.hidden_biases = nn.Parameter(torch.zeros(n_cells, 1, width))
        inner = [(len(cells), width, n if basis is None else basis.shape[1]) for cells, n, basis in outputs]
        self.heads = nn.ParameterList([normal(*shape, std=0.01 / math.sqrt(width)) for shape in inner])
        self.head_biases = nn.ParameterList([nn.Parameter(torch.zeros(len(cells), 1, n)) for cells, n, _ in outputs])

    def table(self) -> Tensor:
        """What every code tells: (n, width)."""
        bases = [self.get_buffer(name) for name in self.bases if name is not None]
        mixed = [(basis.transpose(1, 2) @ mix).flatten(0, 1) for basis, mix in zip(bases, self.mixes, strict=True)]
        return torch.cat([self.codes, *mixed])

    def tell(self, table: Tensor, codes: Tensor, numbers: Tensor, cells: slice = slice(None)) -> Tensor:
        """What some cells tell.

        table : `table()`; codes, int, and numbers : (n_cells, n). Returns (n_cells, n, width).
        """
        return F.embedding(codes + self.offsets[cells, None], table) + numbers.unsqueeze(-1) * self.slopes[cells]

    def forward(self, seen: Tensor, dropped: Tensor | float = 1.0) -> Tensor:
        """Outputs of all cells. seen : (n_cells, n, width), sums of what cells tell; dropped : (n, width), factors of the
        hidden units, for dropout. Returns (n, n_outputs).
        """
        hidden = dropped * F.silu(seen + self.biases)
        hidden = hidden + dropped * F.silu(torch.baddbmm(self.hidden_biases, hidden, self.hidden))
        parts = [
            torch.baddbmm(bias, hidden[_as_slice(cells)], self._head(at)).transpose(0, 1).flatten(1)
            for at, (cells, bias) in enumerate(zip(self.cells, self.head_biases, strict=True))
        ]
        return torch.cat(parts, 1)

    def _head(self, at: int, row: int | slice = slice(None)) -> Tensor:
        """Weights of a rectangle, or of one of its cells: (..., width, n_outputs)."""
        weight, name = self.heads[at][row], self.bases[at]
        return weight if name is None else weight @ self.get_buffer(name)[row]

    def of(self, j: int, seen: Tensor, widths: Sequence[int]) -> Tensor:
        """Outputs of cell j, (n, sum(widths)).

        seen : (n, width); widths : of each rectangle with the cell, how many to keep.
        """
        hidden = F.silu(seen + self.biases[j])
        hidden = hidden + F.silu(torch.addmm(self.hidden_biases[j], hidden, self.hidden[j]))
        parts = [
            torch.addmm(self.head_biases[at][row, :, :width], hidden, self._head(at, row)[:, :width])
            for (at, row), width in zip(self._places(j), widths, strict=True)
        ]
        return torch.cat(parts, 1)

    @torch.no_grad()
    def shift(self, j: int, by: Tensor, widths: Sequence[int]) -> None:
        """Add to the outputs of cell j, for every row. by : (sum(widths),); widths : as in `of`."""
        for (at, row), part in zip(self._places(j), by.split(list(widths)), strict=True):
            self.head_biases[at][row, 0, : len(part)] += part

    def _places(self, j: int) -> list[tuple[int, int]]:
        """The rectangles with cell j, and its row there."""
        return [(at, cells.index(j)) for at, cells in enumerate(self.cells) if j in cells]


def _as_slice(places: list[int]) -> slice | list[int]:
    """Consecutive places as a slice, which needs no copy."""
    return slice(places[0], places[-1] + 1) if places[-1] - places[0] == len(places) - 1 else places
