"""Rows of counts, without torch: how they are packed, and the distribution of their totals."""

import decimal
import math
import numbers
from dataclasses import dataclass
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.special import ndtri

from skvae.containers import Cells, CellType, greatest_number, shown
from skvae.curves import NormalScoreCurve, fit_curve
from skvae.modalities import AbstractModality, Packed
from skvae.persistence import Saved
from skvae.sparse import ARRAYS, SparseRows, is_sparse_frame, rows_of

# Likelihoods of whole rows of counts. With "multinomial" any rows are counts. With the others only sparse rows are, since
# these names also stand for likelihoods of single columns, which a dense table may have.
LIKELIHOODS_OF_COUNTS = "multinomial", "poisson", "negative_binomial", "zero_inflated_negative_binomial"
MOST = 2.0**53  # that counts of a row add up to: float64 holds no greater whole numbers one by one
UNSEEN = 0.5  # added to the count of each column, so that what fit never saw is not impossible (Jeffreys' prior)


@dataclass(frozen=True)
class Totals(Saved):
    """The distribution of the totals of rows: 0 with some probability, otherwise a smooth function of a normal variable.

    A monotone spline of few knots (`skvae.curves`) takes the logarithms of totals to normal scores; without knots the
    distribution is log-normal. No row's total is kept but the least and the greatest, which bound what is drawn.

    Attributes
    ----------
    empty : float
        Share of the rows whose total is 0.
    mean : float
        Mean total of the other rows.
    least, greatest : float
        Of the totals above 0.
    curve : NormalScoreCurve
        From logarithms of totals to normal scores, and back.
    """

    empty: float
    mean: float
    least: float
    greatest: float
    curve: NormalScoreCurve

    @classmethod
    def of(cls, totals: np.ndarray, weight: np.ndarray) -> "Totals":
        """The distribution fitted to totals (n,), not all zero, with weight (n,)."""
        there = totals > 0
        curve = fit_curve(np.log(totals[there]), weight[there], (-math.inf, math.inf))
        mean = float(weight @ totals / weight[there].sum())
        empty = float(weight[~there].sum() / weight.sum())
        return cls(empty, mean, float(totals[there].min()), float(totals.max()), curve)

    def quantiles(self, u: np.ndarray) -> np.ndarray:
        """Quantiles of the distribution, whole numbers: (n,). u : (n,), probabilities between 0 and 1."""
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
        One of LIKELIHOODS_OF_COUNTS.
    shares : tuple of float (n_variables,)
        The share of all counts that each column has.
    totals : Totals
        The distribution of the totals of rows.
    n_rows : int
        How many rows fit saw.
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

    Rows are sparse, or with "multinomial" also dense. Memory grows with the number of counts that are not zero. A row of
    zeros tells nothing of what rows are made of: its posterior is the prior, and fit learns from it only how frequent such
    rows are.

    Parameters
    ----------
    likelihood : str
        One of LIKELIHOODS_OF_COUNTS.
    """

    # the greatest number that the dtype of each column holds, or that of an array; some files of fitted counts lack it
    greatest: Any = (math.inf,)
    of_objects = False  # whether an array holds Python objects

    def __init__(self, likelihood: str):
        self.likelihood = likelihood

    @classmethod
    def find(cls, X: Any, parameters: dict, free: list[int]) -> list[tuple[list[int], dict]]:
        likelihood = parameters["likelihood"]
        is_sparse = isinstance(X, SparseRows) or is_sparse_frame(X)
        if likelihood != "multinomial" and not (is_sparse and likelihood in LIKELIHOODS_OF_COUNTS):
            return []
        if len(X.shape) != 2:
            raise ValueError(
                f"X has rows of shape {X.shape[1:]}, but likelihood={likelihood!r} takes rows of counts, which are flat: "
                "X.reshape(len(X), -1)."
            )
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
        totals = _totals(csr)
        if not totals.any():
            raise ValueError(f"Every count of the {len(totals)} rows is zero. At least one must be positive.")
        dtypes = [X.dtype] if isinstance(X, ARRAYS) else X.dtypes
        self.greatest = np.array([greatest_number(dtype) for dtype in dtypes])
        self.of_objects = [*dtypes] == [object]
        self.n_rows, self.totals = int(csr.shape[0]), Totals.of(totals, weight)
        counts = csr.T @ weight + UNSEEN
        self.shares = tuple((counts / counts.sum()).tolist())
        return self

    def pack(self, X: Any) -> Packed:
        return Packed(SparseRows(self._read(X)))  # type: ignore[arg-type]

    def _read(self, X: Any) -> csr_array:
        """X as compressed rows without stored zeros, or an error where X is not made of counts.

        Counts are float32, or float64 if one exceeds 2**24, up to which float32 holds all whole numbers.
        """
        if isinstance(X, np.ndarray) and X.dtype == object:
            rows = rows_of(_numbers(X))
        else:
            rows = rows_of(X if isinstance(X, ARRAYS) or is_sparse_frame(X) else _as_array(X))
        csr = csr_array(rows.csr, copy=False)
        if csr.dtype.kind not in "biuf":
            raise TypeError(f"X has dtype {csr.dtype}, but counts are non-negative integers. Convert X to numbers.")
        wrong = ~((csr.data >= 0) & (np.floor(csr.data) == csr.data) & (csr.data < np.inf))
        if wrong.any():
            _refuse(csr, int(wrong.argmax()), X, self.likelihood)
        totals = _totals(csr)
        if (totals > MOST).any():
            row = int((totals > MOST).argmax())
            raise ValueError(
                f"The counts of row {row} add up to {totals[row]:g}, beyond 2**53, up to which floats are exact. Scale them "
                "down."
            )
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
        """Drawn counts, which are sparse, in the form that fit saw; expected counts, which are dense, as floats."""
        complete = np.zeros(len(values), bool)
        values = self._bounded(values)
        if isinstance(values, SparseRows) and not self.is_sparse:
            values = values.csr.toarray()
            values = values.astype(np.int64).astype(object) if self.of_objects else values
        return [Cells(column, complete) for column in values.T] if self.in_columns else [Cells(values, complete)]

    def _bounded(self, values: Any) -> Any:
        """Counts, sparse or dense, of which none exceeds what the dtype of its column holds."""
        greatest = np.asarray(self.greatest)
        # doubles hold 2**63 and 2**64, but neither int64 nor uint64 does
        greatest = np.where(greatest >= 2**62, np.nextafter(greatest, 0), greatest)
        if not isinstance(values, SparseRows):
            return np.minimum(values, greatest)
        csr = values.csr
        most = greatest[0] if len(greatest) == 1 else greatest[csr.indices]
        return SparseRows(csr_array((np.minimum(csr.data, most), csr.indices, csr.indptr), shape=csr.shape))

    def native_dtypes(self, values: Any, dtypes: list) -> list:
        return dtypes if isinstance(values, SparseRows) else [float] * len(dtypes)

    def fill(self, X: Any, values: np.ndarray) -> list[Cells]:
        raise ValueError("counts have no missing cells to fill in")

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


def _totals(csr: csr_array) -> np.ndarray:
    """Sums of rows, (n,), as float64."""
    with np.errstate(over="ignore"):
        return csr @ np.ones(csr.shape[1])


def _as_array(X: Any) -> np.ndarray:
    """The columns of a frame as an array (n, k) of numbers."""
    frame = nw.from_native(X, eager_only=True)
    if wide := [series.name for series in frame.iter_columns() if "Int128" in str(series.dtype)]:  # which numpy lacks
        frame = frame.with_columns(nw.col(*wide).cast(nw.Float64))
    for series in frame.iter_columns():
        sparse = str(series.to_native().dtype).startswith("Sparse")
        if not (sparse or series.dtype.is_numeric() or series.dtype == nw.Boolean):
            raise TypeError(
                f"Column {series.name!r} has dtype {series.to_native().dtype}. Convert the column to counts, or drop it."
            )
    return np.asarray(frame.to_numpy(), dtype=float)


def _numbers(X: np.ndarray) -> np.ndarray:
    """An array of Python objects as floats, NaN where missing."""
    missing = pd.isna(X)
    kinds = numbers.Real, np.bool_, decimal.Decimal
    if not all(issubclass(kind, kinds) for kind in set(map(type, X[~missing]))):
        places = zip(*np.nonzero(~missing), strict=True)
        row, column = next(at for at in places if not isinstance(X[at], kinds))
        raise TypeError(
            f"X holds {shown(X[row, column])}, a {type(X[row, column]).__name__}, in row {row} of column {column}, but "
            "counts are non-negative integers. Convert X to numbers."
        )
    try:
        return np.where(missing, np.nan, X).astype(float)
    except OverflowError:  # whole numbers of any size, which are refused as too large
        return np.where(missing, np.nan, np.clip(X, -(2**1023), 2**1023)).astype(float)


def _refuse(csr: csr_array, at: int, X: Any, likelihood: str) -> None:
    """Raise an error that names the entry which is not a count, and says what to do. at : its place in `csr.data`."""
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
        f"Negative or fractional values in data passed to VAETransformer: likelihood={likelihood!r} takes non-negative "
        f"integers, got {value:g} in row {row} of column {name}. {advice}."
    )
