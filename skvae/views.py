"""The parts of rows for torch: what the encoder makes of each, its distribution given latents, and where both start.

One class a modality and one row in `VIEWS`, by the keys of `skvae.schema.MODALITIES`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from skvae.constraints import Identities
from skvae.count_likelihoods import COUNT_LIKELIHOODS, RootShares
from skvae.counts import CountsSpec
from skvae.decoders import TABLE_BUDGET, AbstractDecoder, FactorisedDecoder
from skvae.images import ImageSpec
from skvae.likelihoods import LIKELIHOODS
from skvae.networks import NETWORKS, SMALL_IMAGE, CellEmbedding, Layout, side_by_side
from skvae.pixels import WIDTH, PixelDecoder
from skvae.rows import Budget, Part
from skvae.scalings import Variable
from skvae.tables import TableSpec

MAX_CHAIN = 192  # a chain's time grows with the square of its variables; unmeasured beyond
MAX_ONE_HOT = 100  # categories of a column that the linear start looks at; unmeasured

# how many rows (and cells) the autoencoder of images trains on, by network: three million (MNIST), or what takes about as
# long of residual convolutions
IMAGE_BUDGETS = {"mlp": Budget(3e6, least=10), "residual": Budget(4.5e5, 4e8, least=5)}
COUNTS_BUDGET = Budget(5e5, 4e8, least=10)  # benchmarks/counts.py


class Features(NamedTuple):
    """What a linear model of a part is fitted to.

    values : (n, k), numbers and one-hot codes; observed : the same, bool, or None; places : (k,), of these among all
    features of the part.
    """

    values: Tensor
    observed: Tensor | None
    places: Tensor


class AbstractView(ABC):
    """One part of rows: how it is read, embedded and decoded.

    Parameters
    ----------
    spec : object
        That of the part's modality.
    network : str
        "auto", or a key of `skvae.networks.NETWORKS` where a part has a choice.

    Attributes
    ----------
    variables : sequence of Variable
        What each packed column of the part is.
    budget : Budget
        How long an autoencoder of the part is trained.
    chain_up_to : int
        With generator="auto", a chain over the variables generates the part if there are at most so many; 0 if a chain
        cannot.
    in_chain : bool
        Whether, in rows of several parts, the variables are cells of the chain that generates these.
    by_pixel : bool
        Whether `own_decoder` draws images pixel by pixel.
    """

    budget: Budget
    chain_up_to = 0
    in_chain = False
    by_pixel = False
    variables: Sequence[Variable]

    def __init__(self, spec: Any, network: str = "auto"):
        self.spec, self.network = spec, network

    @abstractmethod
    def read(self, part: Part, dtype: torch.dtype) -> Part:
        """A part as it is kept in memory, as what networks and likelihoods take: floats of a type."""

    @abstractmethod
    def embedding(self, latent_dim: int, width: int | None, activation: str, rng: Generator) -> "PartEmbedding":
        """The encoder's side; width : of the first hidden layer, None without one."""

    @abstractmethod
    def decoder(self, latent_dim: int, sizes: Sequence[int], activation: str, rng: Generator) -> FactorisedDecoder:
        """The decoder's side; sizes : of the hidden layers."""

    def own_decoder(self, latent_dim: int, activation: str, rng: Generator) -> AbstractDecoder:
        """The decoder of a generator that is an autoencoder by itself; the autoencoder of `transform` has `decoder`."""
        return self.decoder(latent_dim, (WIDTH,) * 2, activation, rng)


class TableView(AbstractView):
    """Columns of numbers and codes."""

    budget = TABLE_BUDGET
    chain_up_to = MAX_CHAIN
    in_chain = True
    spec: TableSpec

    @property
    def variables(self) -> Sequence[Variable]:  # type: ignore[override]
        return self.spec.variables

    def read(self, part, dtype):
        return part if part.x.dtype == dtype else Part(part.x.to(dtype), part.observed, part.unseen)

    def embedding(self, latent_dim, width, activation, rng):
        return PartEmbedding(self.variables, latent_dim, width, rng)

    def decoder(self, latent_dim, sizes, activation, rng):
        return FactorisedDecoder(self.variables, latent_dim, sizes, activation, rng, self.identities)

    @property
    def identities(self) -> Identities:
        """Which cells follow from others."""
        spec = self.spec
        return Identities(spec.identities, [v.indicator for v in spec.variables], spec.n_rows, spec.dependents)


class VectorView(TableView):
    """A vector, whose numbers are modelled as the columns of a table, but which is not part of a chain."""

    in_chain = False


class ImageView(AbstractView):
    """Pixels, all of one kind. Bytes become floats here, a batch at a time."""

    spec: ImageSpec

    @property
    def budget(self) -> Budget:  # type: ignore[override]
        return IMAGE_BUDGETS[self._network_name]

    @property
    def variables(self) -> Sequence[Variable]:  # type: ignore[override]
        return (self.spec.variable,) * self.spec.n_variables

    def read(self, part, dtype):
        if part.x.dtype != torch.uint8:
            return part if part.x.dtype == dtype else Part(part.x.to(dtype), part.observed)
        x = part.x.to(dtype)
        centred = x.sub_(self.spec.centre) if self.spec.centre else x
        return Part(centred.mul_(1 / self.spec.scale), part.observed)

    @property
    def by_pixel(self) -> bool:  # type: ignore[override]
        return self.spec.has_density

    @property
    def layout(self) -> Layout:
        """How a row of pixels makes an image."""
        return Layout(*self.spec.layout)

    @property
    def _network_name(self) -> str:
        """A key of NETWORKS: perceptrons where they were asked for, or the image is small."""
        by_size = "mlp" if self.spec.n_variables <= SMALL_IMAGE else "residual"
        return by_size if self.network == "auto" else self.network

    def embedding(self, latent_dim, width, activation, rng):
        first = None if width is None else NETWORKS[self._network_name].embedding(self.layout, width, activation, rng)
        return PartEmbedding(self.variables, latent_dim, width, rng, first)

    def decoder(self, latent_dim, sizes, activation, rng):
        n_maps = LIKELIHOODS[self.spec.variable.likelihood]([self.spec.variable]).n_params
        hidden = NETWORKS[self._network_name].hidden(self.layout, n_maps, sizes, activation, rng) if sizes else None
        return FactorisedDecoder(self.variables, latent_dim, sizes, activation, rng, hidden=hidden)

    def own_decoder(self, latent_dim, activation, rng):
        if not self.by_pixel:
            return super().own_decoder(latent_dim, activation, rng)
        return PixelDecoder(self.spec.variable, self.layout, latent_dim, activation, rng)


class CountsView(AbstractView):
    """Rows of counts. They become dense here, a batch at a time."""

    budget = COUNTS_BUDGET
    spec: CountsSpec

    @property
    def variables(self) -> Sequence[Variable]:  # type: ignore[override]
        return (Variable(self.spec.likelihood),) * self.spec.n_variables

    def read(self, part, dtype):
        x, has_counts = part.x.to(dtype), part.x.has_entries
        # in a row of zeros nothing counts as observed, so that its posterior is the prior
        observed = None if has_counts.all() else has_counts[:, None].expand(x.shape)
        return Part(x.dense(), observed)

    def embedding(self, latent_dim, width, activation, rng):
        return PartEmbedding(self.variables, latent_dim, width, rng, features=RootShares())

    def decoder(self, latent_dim, sizes, activation, rng):
        likelihood = COUNT_LIKELIHOODS[self.spec.likelihood](self.spec)
        return FactorisedDecoder(self.variables, latent_dim, sizes, activation, rng, likelihoods=[likelihood])


VIEWS: dict[str, type[AbstractView]] = {
    "counts": CountsView,
    "image": ImageView,
    "image column": ImageView,
    "vector": VectorView,
    "table": TableView,
}


class PartEmbedding(nn.Module):
    """What the encoder adds up of a part: its share of a straight linear path, and of the first hidden layer.

    Parameters
    ----------
    variables : sequence of Variable
        In packed order: numbers first.
    latent_dim : int
    width : int or None
        Of the first hidden layer.
    rng : torch.Generator
        Draws the weights.
    first : nn.Module or None
        In the place of a matrix, what makes the share of the first hidden layer.
    features : nn.Module or None
        Maps rows of cells to numbers of scale one; None for the features of each variable's likelihood.

    Attributes
    ----------
    centre : Tensor (n_variables,)
        Means of the numbers' features, which are taken off before the linear maps.
    """

    centre: Tensor
    cells: Tensor

    def __init__(
        self,
        variables: Sequence[Variable],
        latent_dim: int,
        width: int | None,
        rng: Generator,
        first: nn.Module | None = None,
        features: nn.Module | None = None,
    ):
        super().__init__()
        self.sizes, self.latent_dim = [v.size for v in variables if v.coded], latent_dim
        self.n_numbers = len(variables) - len(self.sizes)
        if features is None:
            blocks = [(name, list(block)) for name, block in groupby(variables, lambda v: v.likelihood)]
            self.widths = [len(block) for _, block in blocks]
            self.standardise = nn.ModuleList([LIKELIHOODS[name].features_of(block) for name, block in blocks])
        else:
            self.widths, self.standardise = [len(variables)], nn.ModuleList([features])
        self.first = first
        if first is None and width is not None:
            self.first = CellEmbedding(self.n_numbers, self.sizes, width, rng)
        self.path = CellEmbedding(self.n_numbers, self.sizes, 2 * latent_dim, rng)
        self.register_buffer("centre", torch.zeros(len(variables)))
        # the cells themselves, beside which indicators tell nothing of a row
        indicators = {v.indicator for v in variables} - {-1}
        cells = [j for j in range(len(variables)) if j not in indicators] or range(len(variables))
        self.register_buffer("cells", torch.tensor(cells), persistent=False)

    def features(self, x: Tensor) -> Tensor:
        """Numbers of scale one, and codes. x : (n, n_variables); returns the same."""
        parts = zip(self.standardise, x.split(self.widths, -1), strict=True)
        return side_by_side([standardise(cells) for standardise, cells in parts])

    def forward(self, x: Tensor, observed: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """x : (n, n_variables), missing cells anything finite; observed : the same, bool, or None for all.

        Returns (n, 2 * latent_dim), and (n, width) or None.
        """
        centred = self.features(x) - self.centre
        return self.path(centred, observed), None if self.first is None else self.first(centred, observed)

    def has_cells(self, observed: Tensor) -> Tensor:
        """Which rows hold a cell: (n, 1), bool. observed : (n, n_variables)."""
        return observed[:, self.cells].any(1, keepdim=True)

    def linear_features(self, part: Part) -> Features:
        """Numbers, and one-hot codes of categories but the widest: what the linear start is fitted to."""
        x, k = part.x, self.n_numbers
        narrow = [size <= MAX_ONE_HOT for size in self.sizes]
        columns = zip(range(k, x.shape[1]), self.sizes, narrow, strict=True)
        codes = [F.one_hot(x[:, j].long(), size) for j, size, is_narrow in columns if is_narrow]
        widths = torch.tensor([1] * k + self.sizes, device=x.device)
        kept = torch.tensor([True] * k + narrow, device=x.device)
        seen = None if part.observed is None else part.observed[:, kept].repeat_interleave(widths[kept], 1)
        values = torch.cat([self.features(x)[:, :k], *codes], 1)
        return Features(values, seen, kept.repeat_interleave(widths).nonzero()[:, 0])

    @torch.no_grad()
    def start(self, mean: Tensor, slope: Tensor, places: Tensor, log_scale: Tensor) -> None:
        """Set the linear path to means of posteriors (features - mean) @ slope, and their log-scales.

        mean : (k,) and slope : (k, latent_dim), of `linear_features`, at places (k,); log_scale : (latent_dim,).
        """
        k = self.n_numbers
        self.centre_at(mean)
        bias = torch.cat([-mean[k:] @ slope[k:], log_scale])
        self.path.set_(F.pad(slope, (0, self.latent_dim)), places, bias)

    @torch.no_grad()
    def centre_at(self, means: Tensor) -> None:
        """Take the means of numbers off before the linear maps. means : (n_features,)."""
        self.centre[: self.n_numbers] = means[: self.n_numbers]

    @property
    def n_features(self) -> int:
        return self.n_numbers + sum(self.sizes)

    def feature_means(self, batches: Iterator[tuple[Part, Tensor]]) -> Tensor:
        """Means of numbers as the encoder sees them, and shares of every category, over rows and their weights:
        (n_features,).
        """
        k, device = self.n_numbers, self.centre.device
        sums, totals = (torch.zeros(n, dtype=torch.float64, device=device) for n in (self.n_features, len(self.centre)))
        for part, weight in batches:
            of_features, of_weights = self._weighted_sums(part, weight)
            sums += of_features
            totals += of_weights
        parts = [sums[:k] / totals[:k].clamp(min=1e-12)]
        for share in sums[k:].split(self.sizes):
            parts.append((share + 1e-6) / (share + 1e-6).sum())
        return torch.cat(parts).to(self.centre.dtype)

    def _weighted_sums(self, part: Part, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Sums of features, (n_features,), and of the weights of observed cells, (n_variables,)."""
        x, observed, k = part.x, part.observed, self.n_numbers
        numbers, codes = self.features(x)[:, :k], x[:, k:].long()
        if observed is None:
            totals = weight.sum().expand(x.shape[1])
            counted = weight[:, None].expand_as(codes)
        else:
            totals = weight @ observed.to(weight)
            numbers, counted = numbers * observed[:, :k], weight[:, None] * observed[:, k:]
        sums = [weight @ numbers]
        for j, size in enumerate(self.sizes):
            sums.append(torch.bincount(codes[:, j], counted[:, j], minlength=size))
        return torch.cat(sums), totals
