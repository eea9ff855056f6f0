"""The networks between cells, latents and theta. They know no likelihood and no column kind, only widths.

Every layer is drawn from the caller's random generator, so that building a network leaves torch's global stream alone.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

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


# patches a side of the smallest grid of a residual network, and the features of a patch there; values of an image up to
# which a perceptron is better (benchmarks/images.py)
MAX_GRID, N_FEATURES, SMALL_IMAGE = 8, 64, 256


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


# --- images ----------------------------------------------------------------------------------------------------------


class Layout(NamedTuple):
    """How the pixels of a row make an image: its size, and whether channels are its first axis or its last."""

    channels: int
    height: int
    width: int
    channels_first: bool

    def planes(self, x: Tensor) -> Tensor:
        """Rows of pixels (..., n_pixels) as (..., channels, height, width)."""
        if self.channels_first or self.channels == 1:
            return x.unflatten(-1, (self.channels, self.height, self.width))
        return x.unflatten(-1, (self.height, self.width, self.channels)).movedim(-1, -3)

    def flat(self, planes: Tensor) -> Tensor:
        """The inverse of `planes`."""
        if self.channels_first or self.channels == 1:
            return planes.flatten(-3)
        return planes.movedim(-3, -1).flatten(-3)


class Convolution(nn.Module):
    """A convolution of planes (n, n_in, H, W), padded with zeros: all pixels share the weights.

    Parameters
    ----------
    n_in, n_out : int
    kernel : tuple of int
        Height and width.
    padding : tuple of int
        Rows of zeros above and below, and columns on the left and on the right.
    rng : torch.Generator
        Draws the weights.
    gain : float
        As in `Linear`.
    """

    def __init__(self, n_in: int, n_out: int, kernel: tuple, rng: Generator, padding: tuple = (0, 0), gain: float = 1.0):
        super().__init__()
        std = gain / math.sqrt(n_in * math.prod(kernel))
        self.weight = nn.Parameter(torch.empty(n_out, n_in, *kernel).normal_(std=std, generator=rng))
        self.bias = nn.Parameter(torch.zeros(n_out))
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        """x : (n, n_in, H, W); returns (n, n_out, H, W), where the padding keeps the size."""
        return F.conv2d(x, self.weight, self.bias, padding=self.padding)


class ResidualBlock(nn.Module):
    """x + small(act(local(act(x)))), a convolution of 3 x 3 pixels and one of single pixels (He et al., 2016)."""

    def __init__(self, n_maps: int, activation: str, rng: Generator):
        super().__init__()
        self.local = Convolution(n_maps, n_maps, (3, 3), rng, (1, 1), math.sqrt(2))
        self.small = Convolution(n_maps, n_maps, (1, 1), rng, gain=0.3)
        self.act = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        """x : (n, n_maps, H, W); returns the same."""
        return x + self.small(self.act(self.local(self.act(x))))


class Patches(NamedTuple):
    """How a residual network sees an image: patches, a grid of which is halved until it is small.

    sizes : of the patches of each stage, (height, width), in pixels or cells of the stage before.
    grids : of each stage, (height, width), in patches.
    n_maps : features of a patch, by stage.
    """

    sizes: list[tuple[int, int]]
    grids: list[tuple[int, int]]
    n_maps: list[int]

    @classmethod
    def of(cls, height: int, width: int) -> "Patches":
        longest = max(height, width)
        first = 2 if longest <= 16 else 4 if longest <= 64 else 8
        sizes: list[tuple[int, int]] = []
        grids: list[tuple[int, int]] = []
        while not grids or max(height, width) > MAX_GRID:
            side = 2 if grids else first
            sizes.append((min(height, side), min(width, side)))
            height, width = math.ceil(height / sizes[-1][0]), math.ceil(width / sizes[-1][1])
            grids.append((height, width))
        return cls(sizes, grids, [N_FEATURES // 2] * (len(sizes) - 1) + [N_FEATURES])


def to_patches(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Space to depth: planes (n, k, H, W), patches of size (h, w): (n, h * w * k, ceil(H / h), ceil(W / w)).

    In channels_last memory format, where convolutions take less time.
    """
    height, width = (-(-side // one) * one for side, one in zip(x.shape[-2:], size, strict=True))
    x = F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]))
    n, k = x.shape[:2]
    x = x.reshape(n, k, height // size[0], size[0], width // size[1], size[1])
    return x.permute(0, 2, 4, 3, 5, 1).reshape(n, height // size[0], width // size[1], -1).permute(0, 3, 1, 2)


def from_patches(x: Tensor, size: tuple[int, int], shape: tuple[int, int]) -> Tensor:
    """The inverse: to planes (n, k, *shape), the padding cut off. size : (h, w); shape : (H, W)."""
    n, _, height, width = x.shape
    x = x.permute(0, 2, 3, 1).reshape(n, height, width, *size, -1).transpose(2, 3)
    planes = x.reshape(n, height * size[0], width * size[1], -1)[:, : shape[0], : shape[1]]
    return planes.permute(0, 3, 1, 2)


class ResidualEncoder(nn.Module):
    """From an image to features: patches, residual blocks on ever smaller grids, and a linear layer over the last.

    Parameters
    ----------
    shape : tuple of int
        Channels, height and width.
    n_out : int
    activation : str
        A key of `ACTIVATIONS`.
    rng : torch.Generator
        Draws the weights.
    """

    def __init__(self, shape: tuple[int, int, int], n_out: int, activation: str, rng: Generator):
        super().__init__()
        self.patches = Patches.of(*shape[1:])
        stages, n_in = [], shape[0]
        for size, n_maps in zip(self.patches.sizes, self.patches.n_maps, strict=True):
            enter = Convolution(n_in * math.prod(size), n_maps, (1, 1), rng)
            stages.append(nn.Sequential(enter, ResidualBlock(n_maps, activation, rng)))
            n_in = n_maps
        self.stages, self.act = nn.ModuleList(stages), ACTIVATIONS[activation]()
        self.last = Linear(n_in * math.prod(self.patches.grids[-1]), n_out, rng)

    def forward(self, x: Tensor) -> Tensor:
        """x : (n, channels, height, width); returns (n, n_out)."""
        for stage, size in zip(self.stages, self.patches.sizes, strict=True):
            x = stage(to_patches(x, size))
        return self.last(self.act(x).flatten(1))


class ResidualDecoder(nn.Module):
    """From features to maps of the size of an image: the stages of `ResidualEncoder` in reverse.

    Parameters
    ----------
    n_in : int
    shape : tuple of int
        Maps, height and width.
    activation, rng
        As in `ResidualEncoder`.
    gain : float
        Of the last layer: how large maps are at the start.
    """

    def __init__(self, n_in: int, shape: tuple[int, int, int], activation: str, rng: Generator, gain: float = 1.0):
        super().__init__()
        self.patches, self.size = Patches.of(*shape[1:]), shape[1:]
        n_maps = self.patches.n_maps
        self.first = Linear(n_in, n_maps[-1] * math.prod(self.patches.grids[-1]), rng)
        stages = []
        for stage in reversed(range(len(n_maps))):
            n_out = n_maps[stage - 1] if stage else shape[0]
            n_out *= math.prod(self.patches.sizes[stage])
            leave = Convolution(n_maps[stage], n_out, (1, 1), rng, gain=1.0 if stage else gain)
            stages.append(nn.Sequential(ResidualBlock(n_maps[stage], activation, rng), ACTIVATIONS[activation](), leave))
        self.stages = nn.ModuleList(stages)

    def forward(self, h: Tensor) -> Tensor:
        """h : (n, n_in); returns (n, maps, height, width)."""
        sizes, grids, n_maps = self.patches
        x = self.first(h).to(h.dtype).view(-1, *grids[-1], n_maps[-1]).permute(0, 3, 1, 2)
        for stage, size, shape in zip(self.stages, reversed(sizes), [*reversed(grids[:-1]), self.size], strict=True):
            x = from_patches(stage(x), size, shape)
        return x


class Perceptrons:
    """Images as rows of pixels: embedded by one matrix, decoded by a perceptron."""

    @staticmethod
    def embedding(layout: Layout, width: int, activation: str, rng: Generator) -> nn.Module:
        return CellEmbedding(math.prod(layout[:3]), (), width, rng)

    @staticmethod
    def hidden(layout: Layout, n_maps: int, sizes: Sequence[int], activation: str, rng: Generator) -> nn.Module:
        return MLP(sizes, n_maps * math.prod(layout[:3]), activation, rng)


class ImageEmbedding(nn.Module):
    """A residual network in the place of `CellEmbedding`."""

    def __init__(self, layout: Layout, width: int, activation: str, rng: Generator):
        super().__init__()
        self.layout, self.encode = layout, ResidualEncoder(layout[:3], width, activation, rng)

    def forward(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """x : (n, n_pixels), missing ones anything finite; observed : the same, bool, or None for all; (n, width)."""
        return self.encode(self.layout.planes(x if observed is None else x * observed))


class ImageHidden(nn.Module):
    """A residual network in the place of `MLP`: straight + what the first hidden layer decodes to."""

    def __init__(self, layout: Layout, n_maps: int, width: int, activation: str, rng: Generator):
        super().__init__()
        self.layout, self.n_maps, self.act = layout, n_maps, ACTIVATIONS[activation]()
        shape = n_maps * layout.channels, layout.height, layout.width
        self.decode = ResidualDecoder(width, shape, activation, rng, 0.1)

    def forward(self, straight: Tensor, first: Tensor) -> Tensor:
        """straight : (..., n_out); first : (..., width), before the activation; returns (..., n_out)."""
        planes = self.decode(self.act(first).to(straight.dtype).flatten(0, -2)).unflatten(1, (self.n_maps, -1))
        return straight + self.layout.flat(planes).view(straight.shape)


class Residuals:
    """Images as planes, by residual convolutions over patches."""

    @staticmethod
    def embedding(layout: Layout, width: int, activation: str, rng: Generator) -> nn.Module:
        return ImageEmbedding(layout, width, activation, rng)

    @staticmethod
    def hidden(layout: Layout, n_maps: int, sizes: Sequence[int], activation: str, rng: Generator) -> nn.Module:
        return ImageHidden(layout, n_maps, sizes[0], activation, rng)


# how images reach the first hidden layer, and how that reaches theta of n_maps numbers a pixel
NETWORKS: dict[str, Any] = {"mlp": Perceptrons, "residual": Residuals}
