"""Rows in memory: their parts as tensors, how many of them are looked at together, and where random numbers come from."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from functools import singledispatch
from typing import Any

import numpy as np
import sklearn
import torch
from sklearn.utils import _safe_indexing, check_random_state, gen_batches
from torch import Generator, Tensor

from skvae.modalities import Packed
from skvae.sizes import (
    LEAST_SCORED,
    N_CELLS_AT_ONCE,
    N_CELLS_BY_COLUMN,
    N_NUMBERS_AT_ONCE,
    N_NUMBERS_IN_CACHE,
    N_ROWS_AT_ONCE,
    N_TENSORS,
)
from skvae.sparse import SparseRows
from skvae.sparse_tensors import SparseTensor

# of an array, rows and cells that its schema is learned from (KDD Cup 99: nothing changes beyond)
MIN_ROWS_SCHEMA, N_CELLS_SCHEMA = 100_000, 20_000_000


# epochs at most; and rows seen, where the least number of epochs would see more; unmeasured
MAX_EPOCHS, MOST_ROWS_SEEN = 100, 20_000_000
HIDDEN_SHARE = 0.25  # of rows of which encoders do not see a part in training, where there are several; unmeasured


@dataclass(frozen=True)
class Budget:
    """How long to train at most: until so many rows, and cells, were seen, but for a least number of epochs."""

    rows: float
    cells: float = math.inf
    least: int = 3

    @staticmethod
    def shortest(budgets: "Iterable[Budget]") -> "Budget":
        """The least of every number of some budgets."""
        return Budget(*(min(one) for one in zip(*map(astuple, budgets), strict=True)))

    def n_epochs(self, n_rows: int, n_variables: int) -> int:
        least = min(self.least, max(1, MOST_ROWS_SEEN // n_rows))
        return min(MAX_EPOCHS, max(least, int(min(self.rows, self.cells / n_variables)) // n_rows))


@dataclass(frozen=True)
class Part:
    """One part of n rows as tensors.

    x : (n, n_variables), missing cells anything in the support. Until `AbstractView.read`, bytes are uint8, and counts a
    `SparseTensor`.
    observed : the same, bool, or None where every cell is there.
    unseen : the same, bool, the cells of a category that fit did not see, or None where there are none.
    """

    x: Tensor
    observed: Tensor | None = None
    unseen: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def tensors(self) -> tuple[Tensor | None, ...]:
        return self.x, self.observed, self.unseen

    @property
    def known(self) -> Tensor:
        """Which cells are observed: (n, n_variables), bool."""
        return torch.ones(self.x.shape, dtype=torch.bool, device=self.x.device) if self.observed is None else self.observed

    def map(self, function: Callable[[Tensor], Tensor]) -> "Part":
        """A function of each of its tensors."""
        masks = (None if mask is None else function(mask) for mask in (self.observed, self.unseen))
        return Part(function(self.x), *masks)


def hidden_at_random(parts: Sequence[Part], rng: Generator) -> Sequence[Part]:
    """Parts of n rows, as an encoder sees them in training: some hidden where there are several, so that it knows such rows.

    Each is hidden in a quarter of the rows, but never all of a row.
    """
    if len(parts) < 2:
        return parts
    draws = torch.rand(len(parts), len(parts[0]), generator=rng, device=parts[0].x.device)
    hidden = (draws < HIDDEN_SHARE) & (draws > draws.amin(0))
    return [replace(part, observed=part.known & ~absent[:, None]) for part, absent in zip(parts, hidden, strict=True)]


@dataclass(frozen=True)
class Rows:
    """Rows to learn from: their parts, and weight (n,) of mean one."""

    parts: tuple[Part, ...]
    weight: Tensor

    def __len__(self) -> int:
        return len(self.weight)

    @property
    def n_variables(self) -> int:
        return sum(part.x.shape[1] for part in self.parts)

    @property
    def tensors(self) -> tuple[Tensor | None, ...]:
        """All tensors, to pick batches from; `with_tensors` puts a batch together again."""
        return *(tensor for part in self.parts for tensor in part.tensors), self.weight

    def with_tensors(self, tensors: Sequence[Tensor | None]) -> "Rows":
        """Rows of the same parts of other tensors, in the order of `tensors`."""
        *parts, weight = tensors
        triples = zip(*[iter(parts)] * 3, strict=True)
        return Rows(tuple(Part(*triple) for triple in triples), weight)  # type: ignore[arg-type]

    def take(self, rows: Any) -> "Rows":
        """Some of them, by index or slice."""
        return Rows(tuple(part.map(lambda tensor: tensor[rows]) for part in self.parts), self.weight[rows])

    def some(self, n: int) -> "Rows":
        """n of them at most, drawn at random, the same ones at every call: rows may be sorted, or come in turns."""
        if len(self) <= n:
            return self
        drawn = torch.randperm(len(self), generator=Generator().manual_seed(0), dtype=torch.int32)[:n]
        return self.take(drawn.sort().values.to(self.weight.device))

    def batches(self, size: int) -> "Iterator[Rows]":
        """All of them, `size` at a time."""
        return (self.take(slice(at, at + size)) for at in range(0, len(self), size))

    def move_to_end(self, chosen: np.ndarray) -> None:
        """Swap the chosen rows (k,) with the last k, in place: a part of the rows is then a view, not a copy."""
        first = len(self) - len(chosen)
        stay = np.isin(np.arange(first, len(self)), chosen)
        at = torch.as_tensor(chosen[chosen < first], device=self.weight.device)
        to = torch.as_tensor(first + np.flatnonzero(~stay), device=self.weight.device)
        for tensor in self.tensors:
            if tensor is not None:
                tensor[at], tensor[to] = tensor[to], tensor[at]


# --- from containers to tensors --------------------------------------------------------------------------------------


def packed_parts(schema: Any, X: Any) -> Iterator[tuple[slice, tuple[Packed, ...]]]:
    """Slices of rows and what they pack to, some rows of X at a time: X may lie on disk."""
    n_cells = N_CELLS_AT_ONCE if schema.packs_at_once(X) else N_CELLS_BY_COLUMN
    size = max(1, n_cells // schema.n_numbers(X))
    for rows in gen_batches(len(X), size):
        yield rows, schema.pack(X if len(X) <= size else _safe_indexing(X, rows))


def to_part(packed: Packed, dtype: torch.dtype, device: str, rows: slice = slice(None)) -> Part:
    """Some rows of a packed part as tensors: bytes as they are, other values in a type."""
    values = _tensor(packed.values[rows], device)
    masks = (None if mask is None else _tensor(mask[rows], device) for mask in packed[1:])
    return Part(values if values.dtype == torch.uint8 else values.to(dtype), *masks)


@singledispatch
def _tensor(array: Any, device: str) -> Any:
    """A tensor of an array, whose memory it shares if that may be written."""
    array = np.ascontiguousarray(array)  # torch takes no negative strides
    return torch.as_tensor(array if array.flags.writeable else array.copy(), device=device)


@_tensor.register
def _(array: SparseRows, device: str) -> SparseTensor:
    return SparseTensor.of(array, device)


def to_rows(schema: Any, X: Any, weight: np.ndarray, device: str) -> Rows:
    """X, with weight (n,), to train on, or to be held out: float32, and bytes as they are."""
    wholes: list[list[Tensor | None]] = [[None, None, None] for _ in schema.parts]
    for rows, parts in packed_parts(schema, X):
        for whole, packed in zip(wholes, parts, strict=True):
            some = to_part(packed, torch.float32, device)
            for at, (tensor, absent) in enumerate(zip(some.tensors, (0, True, False), strict=True)):
                if tensor is not None:
                    target = whole[at]
                    if target is None:
                        whole[at] = target = tensor.new_full((len(X), *tensor.shape[1:]), absent)
                    target[rows] = tensor
    # of mean one: the objective is a mean over rows, and no weight is too large or small for float32
    weight = weight / weight.mean()
    return Rows(
        tuple(Part(*whole) for whole in wholes),  # type: ignore[arg-type]
        torch.as_tensor(weight, dtype=torch.float32, device=device),
    )


def log_jacobian(schema: Any, parts: Sequence[Part]) -> list[Tensor]:
    """Nats from packed to original units of each cell, float64: (n, n_variables) of each part, as it is kept in memory."""
    packed = [_to_packed(part) for part in parts]
    figures = schema.log_jacobian(packed)
    return [torch.as_tensor(one).expand(part.x.shape) for one, part in zip(figures, parts, strict=True)]


def derived_again(schema: Any, parts: Sequence[Part]) -> list[Part]:
    """Parts of rows of which cells were changed, with what is packed of several cells as these have it now."""
    packed = schema.derive_again([_to_packed(part) for part in parts])
    return [to_part(one, part.x.dtype, str(part.x.device)) for one, part in zip(packed, parts, strict=True)]


def _to_packed(part: Part) -> Packed:
    """A part as it is kept in memory, as arrays."""
    masks = (None if mask is None else mask.cpu().numpy() for mask in (part.observed, part.unseen))
    return Packed(part.x.cpu().numpy(), *masks)


def whole_packed(several: Sequence[Packed]) -> Packed:
    """Packed rows one after the other; `observed` : not None."""
    return Packed(np.concatenate([one.values for one in several]), np.concatenate([one.known for one in several]))


def joined(several: Iterable[Sequence[Tensor]], n_rows: int, dtype: str = "float64") -> list[np.ndarray]:
    """Join batches of tensors (k, ...) of each part into arrays (n_rows, ...); sparse ones into compressed rows.

    The arrays are made with the first tensors: small results that are kept while large ones come and go take turns with
    them in memory, which can then not be used again (beside ten million rows, 800 MB).
    """
    wholes: list[Tensor] = []
    at = 0
    for parts in several:
        parts = [part.cpu() for part in parts]
        wholes = wholes or [part.new_full((n_rows, *part.shape[1:]), 0, dtype=getattr(torch, dtype)) for part in parts]
        for whole, part in zip(wholes, parts, strict=True):
            whole[at : at + len(part)] = part
        at += len(parts[0])
    return [whole.numpy() for whole in wholes]


# --- how many rows at once -------------------------------------------------------------------------------------------


def n_rows_scored(widest: int, device: str, copies: int = 1) -> int:
    """How many rows to score, of tensors that fit in scikit-learn's working memory; widest : numbers of a row's layer."""
    n_rows = int(sklearn.get_config()["working_memory"] * 2**20 // (N_TENSORS * 8 * widest * copies))
    return max(1, min(n_rows, n_rows_in_cache(widest, device, copies)))


def n_rows_in_cache(widest: int, device: str, copies: int = 1) -> int:
    """How many rows to score, of layers that stay in the processor's cache."""
    n_numbers = N_NUMBERS_IN_CACHE if device == "cpu" else N_NUMBERS_AT_ONCE
    return max(1, max(LEAST_SCORED, n_numbers // widest) // copies)


def n_rows_at_once(widest: int, copies: int = 1) -> int:
    """How many rows to draw; the model alone decides, so that results do not depend on the memory at hand."""
    return max(1, min(N_ROWS_AT_ONCE, N_NUMBERS_AT_ONCE // (widest * copies)))


# --- which rows a schema is learned from -----------------------------------------------------------------------------


def representative(X: Any, weight: np.ndarray, random_state: np.random.RandomState) -> tuple[Any, np.ndarray]:
    """Rows and weights (k,) to learn a schema from: all, but of a large array some, and those with a column's extremes."""
    n_rows = max(MIN_ROWS_SCHEMA, N_CELLS_SCHEMA // math.prod(X.shape[1:]))
    if not isinstance(X, np.ndarray) or X.dtype.kind == "O" or len(X) <= n_rows:
        return X, weight
    some = np.unique(np.concatenate([random_state.randint(len(X), size=n_rows), _extremes(X)]))
    return X[some], weight[some]


def _extremes(X: np.ndarray) -> np.ndarray:
    """Rows that hold the least and the greatest number of each column of an array."""
    found = []
    for sign in (1, -1):
        least = np.full(math.prod(X.shape[1:]), np.inf)
        rows = np.zeros(len(least), dtype=int)
        for part in gen_batches(len(X), max(1, N_CELLS_AT_ONCE // len(least))):
            values = sign * X[part].reshape(-1, len(least)).astype(float)
            values[np.isnan(values)] = np.inf
            at = values.argmin(0)
            lesser = values[at, np.arange(len(least))] < least
            least[lesser], rows[lesser] = values[at, np.arange(len(least))][lesser], part.start + at[lesser]
        found.append(rows)
    return np.concatenate(found)


# --- streams of random numbers ---------------------------------------------------------------------------------------


def local_stream(random_state: Any) -> np.random.RandomState:
    """What `check_random_state` gives, but for None a stream of its own rather than numpy's global one."""
    return np.random.RandomState() if random_state is None else check_random_state(random_state)


def new_stream(stream: np.random.RandomState) -> np.random.RandomState:
    """Another stream, seeded by one."""
    return np.random.RandomState(stream.randint(2**31 - 1))


def new_rng(stream: np.random.RandomState, device: str = "cpu") -> Generator:
    """A generator of torch's, seeded by a stream."""
    return Generator(device).manual_seed(int(stream.randint(2**31 - 1)))
