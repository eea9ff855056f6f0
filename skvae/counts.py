"""Counts without torch: how often each of many things occurs in a row, and what the totals of rows are."""

import math
from dataclasses import dataclass
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from scipy.sparse import csr_array
from scipy.special import ndtri

from skvae.containers import Cells, CellType
from skvae.curves import NormalScoreCurve, fit_curve
from skvae.modalities import AbstractModality, Packed
from skvae.persistence import Saved
from skvae.sparse import ARRAYS, SparseRows, is_sparse_frame, rows_of

# by which sparse rows are counts, and all but the first of which are likelihoods of columns where rows are dense
LIKELIHOODS_OF_COUNTS = "multinomial", "poisson", "negative_binomial", "zero_inflated_negative_binomial"
UNSEEN = 0.5  # counts that are added to each thing's, so that one that fit never saw is not impossible (Jeffreys' prior)


@dataclass(frozen=True)
class Totals(Saved):
    """The distribution of the totals of rows: 0 with some probability, else a smooth curve of a normal variable.

    The logarithms of totals are taken to normal scores by a monotone spline of few knots (`skvae.curves`): a log-normal
    distribution where it has none. It holds no row's total but the least and the greatest, which bound what is drawn.
    """

    empty: float
    mean: float
    least: float
    greatest: float
    curve: NormalScoreCurve

    @classmethod
    def of(cls, totals: np.ndarray, weight: np.ndarray) -> "Totals":
        """That of rows with totals (n,) and weight (n,), some of them above zero."""
        there = totals > 0
        curve = fit_curve(np.log(totals[there]), weight[there], (-math.inf, math.inf))
        mean = float(weight @ totals / weight[there].sum())
        empty = float(weight[~there].sum() / weight.sum())
        return cls(empty, mean, float(totals[there].min()), float(totals.max()), curve)

    def quantiles(self, u: np.ndarray) -> np.ndarray:
        """Totals at shares u (n,) between 0 and 1, whole numbers: (n,)."""
        share = ((u - self.empty) / (1 - self.empty)).clip(1e-12, 1 - 1e-12)
        with np.errstate(over="ignore"):
            totals = np.exp(self.curve.to_values(ndtri(share))).round().clip(self.least, self.greatest)
        return np.where(u < self.empty, 0.0, totals)


@dataclass(frozen=True)
class CountsSpec(Saved):
    """What torch must know of counts.

    Attributes
    ----------
    likelihood : str
        Among LIKELIHOODS_OF_COUNTS.
    shares : tuple of float (n_variables,)
        Of each thing, its share of all counts.
    totals : Totals
    n_rows : int
    """

    likelihood: str
    shares: tuple[float, ...]
    totals: Totals
    n_rows: int

    @property
    def n_variables(self) -> int:
        return len(self.shares)


class Counts(AbstractModality):
    """Rows of counts: words of documents, molecules of genes in cells, purchases of customers.

    Sparse rows, and for "multinomial" dense ones as well. A row of zeros tells nothing: it counts in the share of empty rows
    alone, and its posterior is the prior. Memory follows the counts that are not zero.

    Parameters
    ----------
    likelihood : str
        Among LIKELIHOODS_OF_COUNTS.
    """

    def __init__(self, likelihood: str):
        self.likelihood = likelihood

    @classmethod
    def find(cls, X: Any, parameters: dict, free: list[int]) -> list[tuple[list[int], dict]]:
        likelihood = parameters["likelihood"]
        is_sparse = isinstance(X, SparseRows) or is_sparse_frame(X)
        if likelihood != "multinomial" and not (is_sparse and likelihood in LIKELIHOODS_OF_COUNTS):
            return []
        if parameters["image_shape"] is not None:
            raise ValueError(f"image_shape must be None for counts, which likelihood={likelihood!r} takes.")
        if not (parameters["categorical_features"] is None or isinstance(parameters["categorical_features"], str)):
            raise ValueError("categorical_features must be None or 'from_dtype' for counts, which are numbers.")
        return [(free, {"likelihood": likelihood})]

    @property
    def spec(self) -> CountsSpec:
        return CountsSpec(self.likelihood, self.shares, self.totals, self.n_rows)

    @property
    def types(self) -> list[CellType]:  # type: ignore[override]
        return [CellType("counts")] * (len(self.shares) if self.in_columns else 1)

    def fit(self, X: Any, weight: np.ndarray) -> "Counts":
        csr = self._read(X)
        self.is_sparse = isinstance(X, SparseRows) or is_sparse_frame(X)
        self.in_columns = not self.is_sparse and not isinstance(X, np.ndarray)
        totals = csr.sum(1).astype(float)
        if not totals.any():
            raise ValueError(f"Every count of the {len(totals)} rows is zero. At least one must be above.")
        self.n_rows, self.totals = int(csr.shape[0]), Totals.of(totals, weight)
        counts = csr.T @ weight + UNSEEN
        self.shares = tuple((counts / counts.sum()).tolist())
        return self

    def pack(self, X: Any) -> Packed:
        return Packed(SparseRows(self._read(X)))  # type: ignore[arg-type]

    def _read(self, X: Any) -> csr_array:
        """Counts as compressed rows of float32 (of float64 beyond 2^24), none of them stored as zero; refused if they are no
        counts.
        """
        rows = rows_of(X if isinstance(X, ARRAYS) or is_sparse_frame(X) else _as_array(X))
        csr = csr_array(rows.csr, copy=False)
        if csr.dtype.kind not in "biuf":
            raise TypeError(f"X has dtype {csr.dtype}, and counts are whole numbers from 0 up. Convert it to numbers.")
        wrong = ~((csr.data >= 0) & (np.floor(csr.data) == csr.data) & (csr.data < np.inf))
        if wrong.any():
            _refuse(csr, int(wrong.argmax()), X, self.likelihood)
        exact = np.float32 if csr.nnz == 0 or csr.data.max() <= 2**24 else np.float64
        csr = csr_array((csr.data.astype(exact), csr.indices.copy(), csr.indptr.copy()), shape=csr.shape)
        csr.sum_duplicates()
        csr.eliminate_zeros()
        return csr

    def n_numbers(self, X: Any) -> int:
        if isinstance(X, SparseRows):
            return 1 + X.csr.nnz // max(1, len(X))
        return 1 + int(X.sparse.density * X.shape[1]) if is_sparse_frame(X) else len(self.shares)

    def unpack(self, values: Any, told: dict[int, Cells] | None = None) -> list[Cells]:
        """Counts that were drawn, sparse, as such; expected counts, dense, as floats."""
        complete = np.zeros(len(values), bool)
        if isinstance(values, SparseRows) and not self.is_sparse:
            values = values.csr.toarray()
        return [Cells(column, complete) for column in values.T] if self.in_columns else [Cells(values, complete)]

    def native_dtypes(self, values: Any, dtypes: list) -> list:
        return dtypes if isinstance(values, SparseRows) else [float] * len(dtypes)

    def fill(self, X: Any, values: np.ndarray) -> list[Cells]:
        raise ValueError("counts have no missing cells that could be filled")

    def check_gaps(self) -> None:
        raise ValueError("impute fills missing cells, and counts have none: a cell without an entry is a zero.")

    def pack_given(self, given: dict, n_rows: int, dtypes: list, series: Any) -> tuple[Packed, dict[int, Cells]]:
        raise ValueError(
            "given must be None for counts: a row's cells share its total. Filter the rows that sample returns."
        )

    def by_column(self, figures: np.ndarray) -> np.ndarray:
        return figures

    def log_jacobian(self, packed: Packed) -> np.ndarray:
        return np.zeros(())


def _as_array(X: Any) -> np.ndarray:
    """The columns of a frame as an array (n, k) of numbers."""
    frame = nw.from_native(X, eager_only=True)
    for series in frame.iter_columns():
        sparse = str(series.to_native().dtype).startswith("Sparse")
        if not (sparse or series.dtype.is_numeric() or series.dtype == nw.Boolean):
            raise TypeError(
                f"Column {series.name!r} has dtype {series.to_native().dtype}. Convert it to counts, or drop it."
            )
    return np.asarray(frame.to_numpy(), dtype=float)


def _refuse(csr: csr_array, at: int, X: Any, likelihood: str) -> None:
    """Say which entry is no count, and what to write. at : its place among the entries."""
    row, column = int(np.searchsorted(csr.indptr, at, side="right")) - 1, int(csr.indices[at])
    value = csr.data[at]
    name = column if isinstance(X, ARRAYS) else repr(list(X.columns)[column])
    if np.isnan(value):
        advice = "Write 0 where nothing was counted, or drop the row"
    elif value < 0 or np.isinf(value):
        advice = "Give the counts themselves, as they were before any scaling, centring or logarithm"
    else:
        advice = "Give the counts themselves (CountVectorizer, not TfidfVectorizer)"
    raise ValueError(
        f"Negative or fractional values in data passed to VAETransformer: likelihood={likelihood!r} takes whole numbers "
        f"from 0 up, got {value:g} in row {row} of column {name}. {advice}."
    )
