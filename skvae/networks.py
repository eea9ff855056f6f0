"""The networks between cells, latents and theta. They know no likelihood and no column kind, only widths.

Every layer is drawn from the caller's generator, so that building a network leaves torch's global stream alone.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

ACTIVATIONS = {
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}
MANY_CODES = 256  # beyond which looking up their rows is faster than a product with one-hot codes


def side_by_side(parts: list[Tensor]) -> Tensor:
    """Parts (..., k) as one tensor; of one part, itself."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, -1)


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x @ weight.T + bias, in the type of the weight.

    x : (..., n_in), or (n, n_in) where that is bfloat16; weight : (n_out, n_in); bias : (n_out,).
    """
    if weight.dtype == torch.bfloat16:
        return _Bfloat16Affine.apply(x.bfloat16(), weight, bias)
    return F.linear(x.to(weight.dtype), weight, bias)


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

    def __init__(self, n_in: int, n_out: int, generator: Generator, gain: float = 1.0):
        super().__init__()
        std = gain / math.sqrt(max(n_in, 1))
        self.weight = nn.Parameter(torch.empty(n_out, n_in).normal_(std=std, generator=generator))
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

    def __init__(self, n_numbers: int, sizes: Sequence[int], n_out: int, generator: Generator):
        super().__init__()
        self.n_numbers, self.n_codes = n_numbers, sum(sizes)
        std = 1 / math.sqrt(n_numbers + len(sizes))
        self.numbers = nn.Parameter(torch.empty(n_out, self.n_numbers).normal_(std=std, generator=generator))
        self.bias = nn.Parameter(torch.zeros(n_out))
        self.categories = None
        if sizes:
            # EmbeddingBag: many codes are never made one-hot; the last row stands for a missing category and stays zero
            table = torch.empty(self.n_codes + 1, n_out).normal_(std=std, generator=generator)
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
                layers += [Linear(n_in, n_hidden, generator, math.sqrt(2)), ACTIVATIONS[activation]()]
            self.rest = nn.Sequential(*layers, Linear(hidden_layer_sizes[-1], n_out, generator, 0.1))

    def forward(self, x: Tensor, *others: Tensor | None) -> Tensor:
        """x, others : what `path` and `first` take; returns (n, n_out)."""
        out = self.path(x, *others)
        if self.rest is not None and self.first is not None:
            out = out + self.rest(self.first(x, *others))
        return out.to(x.dtype)  # layers may train in bfloat16


class _CellLayers(torch.autograd.Function):
    """The hidden layers of `CellPerceptrons`, differentiated by hand: a third of the passes over memory.

    table, slopes, biases, hidden, hidden_biases : the parameters; rows : (n_cells, n), int, of the table; numbers : (k, n),
    of the first k cells; before : (n_cells, n_cells), one where the cell of the row sees that of the column; observed :
    (n_cells, n), one or zero, or None; dropped : (n, width). Returns (n_cells, n, width).
    """

    @staticmethod
    def told(table, slopes, rows, numbers, observed):
        """What cells tell, (n_cells, n, width)."""
        told = F.embedding(rows, table)
        told[: len(numbers)].addcmul_(numbers.unsqueeze(-1), slopes)
        return told if observed is None else told.mul_(observed.unsqueeze(-1))

    @staticmethod
    def forward(ctx, table, slopes, biases, hidden, hidden_biases, rows, numbers, before, observed, dropped):
        told = _CellLayers.told(table, slopes, rows, numbers, observed)
        first = (before @ told.flatten(1)).view_as(told).add_(biases)
        seen = F.silu(first).mul_(dropped)
        second = torch.baddbmm(hidden_biases, seen, hidden)
        ctx.save_for_backward(hidden, rows, numbers, before, observed, dropped, first, seen, second)
        ctx.n_codes = len(table)
        return F.silu(second).mul_(dropped).add_(seen)

    @staticmethod
    def backward(ctx, gradient):
        hidden, rows, numbers, before, observed, dropped, first, seen, second = ctx.saved_tensors
        of_second = torch.ops.aten.silu_backward(gradient * dropped, second)
        of_seen = torch.baddbmm(gradient, of_second, hidden.mT).mul_(dropped)
        of_first = torch.ops.aten.silu_backward(of_seen, first)
        of_told = (before.T @ of_first.flatten(1)).view_as(first)
        if observed is not None:
            of_told.mul_(observed.unsqueeze(-1))
        of_table = torch.ops.aten.embedding_dense_backward(of_told, rows, ctx.n_codes, -1, False)
        of_slopes = numbers.unsqueeze(1) @ of_told[: len(numbers)]
        of_biases, of_hidden_biases = of_first.sum(1, keepdim=True), of_second.sum(1, keepdim=True)
        return of_table, of_slopes, of_biases, seen.mT @ of_second, of_hidden_biases, *[None] * 5


class Basis(nn.Module):
    """Numbers of k cells mixed of functions, and of one by itself for each number.

    Parameters
    ----------
    functions : Tensor (k, n_functions, numbers)
    alone : Tensor (k, numbers)
        How much each number by itself counts.
    """

    functions: Tensor
    alone: Tensor

    def __init__(self, functions: Tensor, alone: Tensor):
        super().__init__()
        self.register_buffer("functions", functions, persistent=False)
        self.register_buffer("alone", alone[:, None], persistent=False)
        self.n_inner = sum(functions.shape[1:])

    def forward(self, weight: Tensor, row: int | slice = slice(None)) -> Tensor:
        """weight : (k, m, n_inner), or of one cell (m, n_inner); returns (k, m, numbers), or (m, numbers)."""
        functions, alone = self.functions[row], self.alone[row]
        shared, own = weight.split([functions.shape[-2], alone.shape[-1]], -1)
        return shared @ functions + own * alone


class _Output(nn.Module):
    """What k cells of `CellPerceptrons` put out: rectangles, (k, numbers) each.

    Parameters
    ----------
    cells : list of int
    rectangles : sequence of (int, Basis or None)
        How many numbers, and what they are mixed of.
    """

    def __init__(self, cells: list[int], rectangles: Sequence[tuple], width: int, generator: Generator):
        super().__init__()
        self.cells, self.widths = cells, [n for n, _ in rectangles]
        self.bases = nn.ModuleList([nn.Identity() if basis is None else basis for _, basis in rectangles])
        self.inner = [n if basis is None else basis.n_inner for n, basis in rectangles]
        shape = len(cells), width, sum(self.inner)
        self.weight = nn.Parameter(torch.empty(shape).normal_(std=0.01 / math.sqrt(width), generator=generator))
        self.bias = nn.Parameter(torch.zeros(len(cells), 1, sum(self.widths)))

    def mixed(self, row: int | slice = slice(None)) -> Tensor:
        """Weights of all cells, or of one: (..., width, numbers)."""
        parts = zip(self.bases, self.weight[row].split(self.inner, -1), strict=True)
        mixed = [basis(part, row) if isinstance(basis, Basis) else part for basis, part in parts]
        return side_by_side(mixed)

    def forward(self, hidden: Tensor) -> list[Tensor]:
        """hidden : (k, n, width); returns a (n, k * numbers) of each rectangle."""
        out = torch.baddbmm(self.bias, hidden, self.mixed())
        return [part.transpose(0, 1).flatten(1) for part in out.split(self.widths, -1)]


class CellPerceptrons(nn.Module):
    """For every cell of a row a perceptron of the cells that it may see: NADE (Larochelle & Murray, 2011).

    What a cell tells is a vector, its code's and its number's; a cell sees the sum over others, so any mask of who sees whom
    is possible. Each cell has weights of its own, as batched products.

    Parameters
    ----------
    n_codes : sequence of int
        How many codes each cell may have.
    n_numbers : int
        How many of the cells are numbers; they come first.
    outputs : sequence of (list of int, int, Basis or None)
        Rectangles of the output: k cells, how many numbers each of them puts out, and the basis that these are mixed of;
        None where they are free. Cells with a basis put out a number a code, and what their codes tell is mixed of the same
        functions: neighbours tell alike. Every cell is in one rectangle, or in several that stand side by side and have the
        same cells.
    width : int
        Length of the vectors.
    """

    offsets: Tensor
    places: Tensor

    def __init__(self, n_codes: Sequence[int], n_numbers: int, outputs: Sequence[tuple], width: int, generator: Generator):
        super().__init__()
        n_cells, self.n_numbers, self.width = len(n_codes), n_numbers, width

        def normal(*shape, std):
            return nn.Parameter(torch.empty(shape).normal_(std=std, generator=generator))

        # rows of the table of codes: the free ones, then those of each basis
        mixed = [output for output in outputs if output[2] is not None]
        n_free = [0 if any(j in cells for cells, *_ in mixed) else n for j, n in enumerate(n_codes)]
        offsets, start = torch.tensor([0, *n_free[:-1]]).cumsum(0), sum(n_free)
        for cells, n, _ in mixed:
            offsets[cells] = start + n * torch.arange(len(cells))
            start += n * len(cells)
        self.register_buffer("offsets", offsets[:, None], persistent=False)
        self.codes = normal(sum(n_free), width, std=0.3)
        self.bases = nn.ModuleList([basis for *_, basis in mixed])
        self.mixes = nn.ParameterList([normal(len(cells), width, basis.n_inner, std=0.3) for cells, _, basis in mixed])
        self.slopes = normal(n_numbers, 1, width, std=0.3)
        self.biases = normal(n_cells, 1, width, std=0.1)
        self.hidden = normal(n_cells, width, width, std=1 / math.sqrt(width))
        self.hidden_biases = nn.Parameter(torch.zeros(n_cells, 1, width))
        groups = [(cells, [tuple(rest) for _, *rest in group]) for cells, group in groupby(outputs, lambda part: part[0])]
        self.outputs = nn.ModuleList([_Output(cells, parts, width, generator) for cells, parts in groups])
        self.register_buffer("places", torch.tensor([j for cells, _ in groups for j in cells]), persistent=False)
        self.in_order = self.places.tolist() == list(range(n_cells))

    def table(self) -> Tensor:
        """What every code tells: (n, width)."""
        mixed = [basis(mix).mT.flatten(0, 1) for basis, mix in zip(self.bases, self.mixes, strict=True)]
        return torch.cat([self.codes, *mixed])

    @torch.no_grad()
    def told(self, table: Tensor, codes: Tensor, numbers: Tensor, observed: Tensor) -> Tensor:
        """What cells tell, (n_cells, n, width). table : `table()`; the others as in `forward`."""
        return _CellLayers.told(table, self.slopes, codes + self.offsets, numbers, observed)

    def tell(self, j: int, table: Tensor, codes: Tensor, numbers: Tensor) -> Tensor:
        """What cell j tells, (n, width). table : `table()`; codes, int, and numbers, of a number only : (n,)."""
        told = F.embedding(codes + self.offsets[j], table)
        return told if j >= self.n_numbers else told + numbers[:, None] * self.slopes[j]

    def biases_of_outputs(self) -> list[Tensor]:
        """Those of each rectangle, (k, numbers), to be set."""
        outputs = cast(Iterable[_Output], self.outputs)
        return [part.detach() for output in outputs for part in output.bias[:, 0].split(output.widths, -1)]

    def forward(
        self, codes: Tensor, numbers: Tensor, before: Tensor, observed: Tensor | None = None, dropped: Tensor | None = None
    ) -> Tensor:
        """Outputs of all cells.

        codes : (n_cells, n), int; numbers : (n_numbers, n); before : (n_cells, n_cells), one where the cell of the row sees
        that of the column, else zero; observed : (n_cells, n), bool, or None; dropped : (n, width), factors of the hidden
        units, for dropout. Returns (n, n_outputs).
        """
        dropped = numbers.new_ones(1, self.width) if dropped is None else dropped
        observed = None if observed is None else observed.to(before)
        parameters = self.table(), self.slopes, self.biases, self.hidden, self.hidden_biases
        hidden = _CellLayers.apply(*parameters, codes + self.offsets, numbers, before, observed, dropped)
        hidden = hidden if self.in_order else hidden[self.places]
        outputs = cast(Iterable[_Output], self.outputs)
        parts = zip(outputs, hidden.split([len(output.cells) for output in outputs]), strict=True)
        return torch.cat([out for output, part in parts for out in output(part)], 1)

    def of(self, j: int, seen: Tensor, widths: Sequence[int]) -> Tensor:
        """Outputs of cell j, (n, sum(widths)).

        seen : (n, width), the sum of what it sees; widths : of each rectangle with the cell, how many numbers to keep.
        """
        hidden = F.silu(seen + self.biases[j])
        hidden = hidden + F.silu(torch.addmm(self.hidden_biases[j], hidden, self.hidden[j]))
        output, row = self._output(j)
        parts = torch.addmm(output.bias[row], hidden, output.mixed(row)).split(output.widths, -1)
        return torch.cat([part[:, :width] for part, width in zip(parts, widths, strict=True)], 1)

    @torch.no_grad()
    def shift(self, j: int, by: Tensor, widths: Sequence[int]) -> None:
        """Add to the outputs of cell j, for every row. by : (sum(widths),); widths : as in `of`."""
        output, row = self._output(j)
        for bias, part in zip(output.bias[row, 0].split(output.widths), by.split(list(widths)), strict=True):
            bias[: len(part)] += part

    def _output(self, j: int) -> tuple[_Output, int]:
        """The output with cell j, and its row there."""
        for output in cast(Iterable[_Output], self.outputs):
            if j in output.cells:
                return output, output.cells.index(j)
        raise IndexError(j)
