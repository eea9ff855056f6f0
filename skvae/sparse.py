"""Sparse rows, without torch: scipy's compressed rows behind the length and the indexing of an array."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csc_array, csr_array


@dataclass(frozen=True, eq=False)
class SparseRows:
    """Compressed sparse rows with the length and the indexing of an array (n, k).

    Scipy's sparse matrices have no length.

    Attributes
    ----------
    csr : csr_matrix or csr_array of shape (n, k)
        Rows that are drawn come back in the same class.
    """

    csr: Any

    def __len__(self) -> int:
        return self.csr.shape[0]

    def __getitem__(self, rows: Any) -> "SparseRows":
        return SparseRows(self.csr[rows])

    @property
    def shape(self) -> tuple[int, int]:
        return self.csr.shape

    @property
    def dtype(self) -> np.dtype:
        return self.csr.dtype

    @property
    def kind(self) -> str:
        """The name of scipy's class."""
        return "csr_array" if isinstance(self.csr, csr_array) else "csr_matrix"


# types of X that are not frames: one part takes the whole of X, and not some of its columns
ARRAYS = np.ndarray, SparseRows


def is_sparse_frame(X: Any) -> bool:
    """Whether X is a frame of pandas whose columns all have a Sparse dtype."""
    return isinstance(X, pd.DataFrame) and all(isinstance(dtype, pd.SparseDtype) for dtype in X.dtypes)


def rows_of(X: Any) -> SparseRows:
    """An array (n, k) of numbers, or a frame whose columns are all Sparse, as compressed rows."""
    if isinstance(X, SparseRows):
        return X
    if isinstance(X, np.ndarray):
        return SparseRows(csr_array(X.astype(np.float32) if X.dtype == np.float16 else X))
    wrong = [name for name, dtype in X.dtypes.items() if dtype.kind not in "biuf"]
    if wrong:
        raise TypeError(f"Column {wrong[0]!r} has dtype {X.dtypes[wrong[0]]}. Convert the column to counts, or drop it.")
    filled = [name for name, dtype in X.dtypes.items() if dtype.fill_value != 0]
    if filled:
        raise ValueError(
            f"Column {filled[0]!r} has dtype {X.dtypes[filled[0]]}, but counts are 0 where nothing is stored. Convert the "
            "frame: X.fillna(0).astype(pd.SparseDtype(int, 0))."
        )
    columns = [column.array for _, column in X.items()]
    # pandas itself finds no dtype for numbers beside booleans, and scipy takes no float16
    dtype = np.result_type(*{one.dtype.subtype for one in columns})
    values = np.concatenate([one.sp_values for one in columns], dtype=np.float32 if dtype == np.float16 else dtype)
    rows = np.concatenate([one.sp_index.indices for one in columns])
    ends = np.cumsum([0, *(len(one.sp_values) for one in columns)])
    return SparseRows(csc_array((values, rows, ends), shape=X.shape).tocsr())
