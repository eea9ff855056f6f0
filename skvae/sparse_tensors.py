"""Sparse rows for torch: compressed in memory, and made dense a batch at a time."""

from typing import Any

import torch
from scipy.sparse import csr_array
from torch import Tensor

from skvae.sparse import SparseRows


class SparseTensor:
    """Rows (n, n_columns) in compressed form, with an index of which stored rows they are.

    It has the methods of a tensor that `skvae.rows` and `skvae.training` call, so that these treat sparse and dense rows
    alike. Picking and swapping rows changes the index alone; entries are copied only when a batch is made dense.

    Parameters
    ----------
    starts : Tensor (m + 1,)
        Where the entries of each of the m stored rows begin, and where the last row ends; int64.
    columns : Tensor (n_entries,)
        The column of each entry, ascending within a row; int32 or int64.
    values : Tensor (n_entries,)
        The entries, none of them zero.
    rows : Tensor (n,)
        Which of the stored rows each row is; int64.
    n_columns : int
        How many columns the rows have.
    """

    def __init__(self, starts: Tensor, columns: Tensor, values: Tensor, rows: Tensor, n_columns: int):
        self.starts, self.columns, self.values, self.rows, self.n_columns = starts, columns, values, rows, n_columns

    @classmethod
    def of(cls, rows: SparseRows, device: str = "cpu") -> "SparseTensor":
        """A copy of compressed rows on a device."""
        csr = rows.csr
        # torch.tensor copies: the caller may change these arrays later, and arrays that are read-only torch may not share
        starts, columns, values = (torch.tensor(part, device=device) for part in (csr.indptr, csr.indices, csr.data))
        return cls(starts.long(), columns, values, torch.arange(len(rows), device=device), csr.shape[1])

    @classmethod
    def of_places(cls, places: Tensor, values: Tensor, shape: tuple[int, int]) -> "SparseTensor":
        """Rows with given entries.

        places : (n_entries,), of the entries in the flattened dense tensor, ascending; values : (n_entries,), the entries;
        shape : (n, n_columns), of the dense tensor.
        """
        n, n_columns = shape
        ends = torch.arange(n + 1, device=places.device) * n_columns
        starts, rows = torch.searchsorted(places, ends), torch.arange(n, device=places.device)
        return cls(starts, (places % n_columns).int(), values, rows, n_columns)

    @classmethod
    def of_dense(cls, x: Tensor) -> "SparseTensor":
        """Compress a dense tensor x (n, n_columns)."""
        places = x.reshape(-1).nonzero()[:, 0]
        return cls.of_places(places, x.reshape(-1)[places], (x.shape[0], x.shape[1]))

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rows), self.n_columns

    @property
    def dtype(self) -> torch.dtype:
        return self.values.dtype

    @property
    def device(self) -> torch.device:
        return self.values.device

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at: Any) -> "SparseTensor":
        return self._with_rows(self.rows[at])

    def index_select(self, dim: int, at: Tensor) -> "SparseTensor":
        """Some rows. at : (k,), their places; dim : must be 0, as picking columns would copy entries."""
        assert dim == 0, "only rows are picked"
        return self._with_rows(self.rows.index_select(0, at))

    def _with_rows(self, rows: Tensor) -> "SparseTensor":
        return SparseTensor(self.starts, self.columns, self.values, rows, self.n_columns)

    def __setitem__(self, at: Any, other: "SparseTensor") -> None:
        rows = other.rows
        if other.values is not self.values:
            rows = rows + len(self.starts) - 1
            self.starts = torch.cat([self.starts, other.starts[1:] + len(self.values)])
            self.columns, self.values = (
                torch.cat([own, new.to(own)]) for own, new in ((self.columns, other.columns), (self.values, other.values))
            )
        self.rows[at] = rows

    def new_full(self, shape: tuple[int, ...], fill_value: float, dtype: torch.dtype | None = None) -> "SparseTensor":
        """Rows (n, n_columns) of zeros; fill_value : must be 0."""
        starts, rows = self.starts.new_zeros(2), self.rows.new_zeros(shape[0])
        return SparseTensor(starts, self.columns[:0], self.values[:0].to(dtype or self.dtype), rows, shape[1])

    def to(self, *arguments: Any) -> "SparseTensor":
        """The rows in another dtype, or on another device, as `Tensor.to`."""
        moved = self.values.to(*arguments)
        starts, columns, rows = (part.to(moved.device) for part in (self.starts, self.columns, self.rows))
        return SparseTensor(starts, columns, moved, rows, self.n_columns)

    def cpu(self) -> "SparseTensor":
        return self.to("cpu")

    @property
    def has_entries(self) -> Tensor:
        """Mask of the rows that are not all zero: (n,), bool."""
        return self._lengths() > 0

    def _lengths(self) -> Tensor:
        return self.starts[self.rows + 1] - self.starts[self.rows]

    def _entries(self) -> tuple[Tensor, Tensor]:
        """The row of each entry, and its place in `columns` and `values`: (n_entries,) each, one row after the other."""
        lengths = self._lengths()
        row = torch.repeat_interleave(torch.arange(len(self), device=self.device), lengths)
        first = self.starts[self.rows] - (lengths.cumsum(0) - lengths)
        return row, torch.arange(len(row), device=self.device) + first[row]

    def dense(self) -> Tensor:
        """The rows as a tensor (n, n_columns)."""
        row, at = self._entries()
        out = self.values.new_zeros(len(self) * self.n_columns)
        out[row * self.n_columns + self.columns[at]] = self.values[at]
        return out.view(len(self), self.n_columns)

    def numpy(self) -> SparseRows:
        """The rows as compressed rows of scipy's."""
        _, at = self._entries()
        starts = torch.cat([self.starts.new_zeros(1), self._lengths().cumsum(0)])
        parts = (part.numpy() for part in (self.values[at], self.columns[at], starts))
        return SparseRows(csr_array(tuple(parts), shape=self.shape))
