"""Columns of frames whose cells are arrays of one shape: images and vectors, such as embeddings, beside other columns."""

from abc import abstractmethod
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd

from skvae.containers import Cells, CellType
from skvae.images import Images
from skvae.modalities import AbstractModality, Packed
from skvae.tables import Table


class AbstractArrayColumn(AbstractModality):
    """A column whose cells are arrays of one shape: a part by itself, packed by the modality of the stacked arrays.

    In the row of a missing array nothing is observed.

    Parameters
    ----------
    name : object
        The name of the column.
    likelihood : str
        Passed on to the modality of the stacked arrays.
    """

    def __init__(self, name: Any, likelihood: str = "auto"):
        self.name, self.likelihood = name, likelihood

    @staticmethod
    @abstractmethod
    def takes(n_axes: int) -> bool:
        """Whether arrays with `n_axes` axes belong to this modality."""

    @abstractmethod
    def inner(self) -> AbstractModality:
        """The modality of the stacked arrays (n, ...), not yet fitted."""

    @classmethod
    def find(cls, X, parameters, free):
        if isinstance(X, np.ndarray):
            return []
        likelihood = parameters["likelihood"]
        found = []
        for at, series in enumerate(nw.from_native(X, eager_only=True).iter_columns()):
            if at in free and (n_axes := count_axes(series)) and cls.takes(n_axes):
                of_column = likelihood.get(series.name, "auto") if isinstance(likelihood, dict) else "auto"
                found.append(([at], {"name": series.name, "likelihood": of_column}))
        return found

    @property
    def spec(self):
        return self.arrays.spec

    @property
    def precise(self) -> str:  # type: ignore[override]
        return self.arrays.precise

    @property
    def types(self) -> list[CellType]:  # type: ignore[override]
        return [CellType("array")]

    def fit(self, X, weight):
        values, missing = self._read(X)
        if missing.all():
            raise ValueError(f"Column {self.name!r} holds no array that fit can learn from: every cell is missing.")
        self.shape, self.dtype = values.shape[1:], values.dtype
        try:
            self.arrays = self.inner().fit(values, weight[~missing])
        except ValueError as error:
            raise ValueError(f"Column {self.name!r}: {error}") from None
        return self

    def _read(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """The k arrays that are not missing, (k, ...), and the mask of the missing ones, (n,), bool."""
        [series] = nw.from_native(X, eager_only=True).iter_columns()
        return read_arrays(series, getattr(self, "shape", None))

    def pack(self, X):
        return self._packed(*self._read(X))

    def _packed(self, values: np.ndarray, missing: np.ndarray) -> Packed:
        """Pack the arrays of n rows. values : (k, ...), of the rows that have one; missing : (n,), bool, the others."""
        if len(values):
            try:
                some = self.arrays.pack(values)
            except ValueError as error:
                raise ValueError(f"Column {self.name!r}: {error}") from None
        else:
            some = Packed(np.zeros((0, self.spec.n_variables)))
        if not missing.any():
            return some

        def spread(part: np.ndarray) -> np.ndarray:
            whole = np.zeros((len(missing), *part.shape[1:]), part.dtype)
            whole[~missing] = part
            return whole

        return Packed(spread(some.values), spread(some.known), None if some.unseen is None else spread(some.unseen))

    def pack_given(self, given, n_rows, dtypes, series):
        if self.name not in given:
            values = np.zeros((n_rows, self.spec.n_variables))
            return Packed(values, np.zeros(values.shape, bool)), {}
        cells = np.empty(n_rows, dtype=object)
        for at, value in enumerate(given[self.name]):
            cells[at] = None if value is None else _as_numbers(value)
        try:
            values, missing = stacked(cells, self.name, self.shape)
            packed = self._packed(values, missing)
        except (TypeError, ValueError) as error:
            raise type(error)(f"given has no value of column {self.name!r}: {error}") from None
        whole = np.zeros((n_rows, *self.shape), values.dtype)
        whole[~missing] = values
        return Packed(packed.values, packed.known), {0: Cells(whole, missing)}

    def unpack(self, values, told=None):
        out = self._unpacked(values)
        if told:
            exact = told[0].values
            out = np.where(np.isnan(exact), out, exact).astype(self.dtype)  # what is not known of an array is drawn
        return [Cells(out, np.zeros(len(values), bool))]

    def _unpacked(self, values: np.ndarray) -> np.ndarray:
        """Packed numbers (n, n_variables) as arrays (n, ...)."""
        return self.arrays.unpack(values)[0].values

    def fill(self, X, values):
        there, missing = self._read(X)
        out = self._unpacked(values)
        out[~missing] = self._filled(there, values[~missing])
        return [Cells(out, np.zeros(len(out), bool))]

    def _filled(self, there: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Arrays with their NaN filled. there : (n, ...), the arrays; values : (n, n_variables), packed, to fill from."""
        return self.arrays.fill(there, values)[0].values

    def by_column(self, figures):
        return figures.sum(1, keepdims=True)

    def log_jacobian(self, packed):
        return self.arrays.log_jacobian(packed)


class ImageColumn(AbstractArrayColumn):
    """A column of images."""

    @staticmethod
    def takes(n_axes):
        return n_axes > 1

    def inner(self):
        return Images(self.likelihood)

    @property
    def images(self):
        return self.arrays

    def dense_images(self, X):
        values, missing = self._read(X)
        out = np.full((len(missing), *self.shape), np.nan)
        out[~missing] = values
        return out


class Vectors(AbstractArrayColumn):
    """A column of vectors, such as embeddings. Their numbers are modelled as the columns of a table of their own."""

    @staticmethod
    def takes(n_axes):
        return n_axes == 1

    def inner(self):
        return Table(self.likelihood, relations=None)

    def _unpacked(self, values):
        columns = self.arrays.unpack(values)
        gaps = np.stack([one.missing for one in columns], 1)
        numbers = np.stack([one.values for one in columns], 1)
        return (np.where(gaps, np.nan, numbers) if gaps.any() else numbers).astype(self.dtype)

    def _filled(self, there, values):
        cells = self.arrays.fill(there, values)
        return np.stack([one.values for one in cells], 1).astype(self.dtype)


# --- reading ---------------------------------------------------------------------------------------------------------


def count_axes(series: nw.Series) -> int:
    """Number of axes of the arrays in a column; 0 if its cells are not arrays."""
    native = series.to_native()
    if isinstance(series.dtype, nw.Array):
        return len(series.dtype.shape)
    if series.dtype == nw.Object or (isinstance(native, pd.Series) and native.dtype == object):
        first = next((cell for cell in native if isinstance(cell, np.ndarray)), None)
        return 0 if first is None else first.ndim
    return 0


def is_missing(series: nw.Series) -> np.ndarray:
    """Mask of the missing arrays of a column: (n,), bool."""
    native = series.to_native()
    if isinstance(series.dtype, nw.Array):
        return series.is_null().to_numpy()
    return np.fromiter((_is_none(cell) for cell in native), dtype=bool, count=len(native))


def read_arrays(series: nw.Series, shape: tuple[int, ...] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The k arrays of a column that are not missing, (k, *shape), and the mask of the missing ones, (n,), bool.

    shape : that which fit saw; None in fit.
    """
    missing = is_missing(series)
    if not isinstance(series.dtype, nw.Array):
        cells = np.fromiter(series.to_native(), dtype=object, count=len(series))
        return stacked(cells, series.name, shape)
    found = tuple(series.dtype.shape)
    if 0 in found:
        raise ValueError(f"Column {series.name!r} holds arrays of shape {found}, which hold nothing. Drop the column.")
    if shape is not None and found != shape:
        raise ValueError(f"Column {series.name!r} was fitted with arrays of shape {shape}, got {found}.")
    native = series.to_native()
    if isinstance(native, pd.Series):
        flat = native[~missing].array._pa_array.combine_chunks()
        for _ in found:
            flat = flat.flatten()
        values = flat.to_numpy(zero_copy_only=False)
    else:
        values = native.drop_nulls().reshape((-1,)).to_numpy()
    return _check_numbers(values, series.name).reshape(-1, *found), missing


def stacked(cells: np.ndarray, name: Any, shape: tuple[int, ...] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Stack a column of Python objects: its k arrays, (k, *shape), and the mask of the missing ones, (n,), bool.

    cells : (n,), arrays or missing; name : of the column, for messages; shape : that which fit saw; None in fit.
    """
    missing = np.fromiter((_is_none(cell) for cell in cells), dtype=bool, count=len(cells))
    there, rows = [_plain(cell) for cell in cells[~missing]], np.flatnonzero(~missing)
    for row, cell in zip(rows, there, strict=True):
        if not isinstance(cell, np.ndarray):
            raise TypeError(
                f"Column {name!r} holds arrays, but in row {row} a {type(cell).__name__}. Convert every cell to an array, "
                "and write None where one is missing."
            )
    first = there[0].shape if there else ()
    wanted, what = (shape, "was fitted with") if shape is not None else (first, "holds")
    wrong = next((row for row, cell in zip(rows, there, strict=True) if cell.shape != wanted), None)
    if wrong is not None:
        raise ValueError(
            f"Column {name!r} {what} arrays of shape {wanted}, but in row {wrong} has one of shape {cells[wrong].shape}. "
            "Crop, resize or pad them to one shape."
        )
    if 0 in wanted:
        raise ValueError(f"Column {name!r} holds arrays of shape {wanted}, which hold nothing. Drop the column.")
    values = np.stack(there) if there else np.zeros((0, *wanted))
    return _check_numbers(values, name, rows), missing


def _check_numbers(values: np.ndarray, name: Any, rows: np.ndarray | None = None) -> np.ndarray:
    """Return arrays (k, ...) of finite numbers or NaN, refuse others. rows : (k,), their places in X, for messages."""
    if values.dtype.kind not in "biuf":
        raise TypeError(f"Column {name!r} holds arrays of dtype {values.dtype}. Convert them to numbers.")
    if values.dtype.kind == "f" and np.isinf(values).any():
        at = int(np.isinf(values).reshape(len(values), -1).any(1).argmax())
        where = "" if rows is None else f" in row {rows[at]}"
        raise ValueError(f"Column {name!r} holds infinity{where}. Arrays may hold NaN for missing numbers, and no infinity.")
    return values


def _as_numbers(value: Any) -> np.ndarray:
    """A value that is given for an array; of a list, None stands for a missing number."""
    array = np.asarray(value)
    if array.dtype == object:
        try:
            return array.astype(float)
        except (TypeError, ValueError):
            return array
    return array


def _plain(cell: Any) -> Any:
    """A masked array with NaN where it is masked, a matrix as an array; anything else as it is."""
    if isinstance(cell, np.ma.MaskedArray):
        return np.ma.filled(cell.astype(float), np.nan) if cell.mask.any() else cell.data
    return np.asarray(cell) if isinstance(cell, np.ndarray) else cell


def _is_none(cell: Any) -> bool:
    """Whether a cell stands for a missing array: None, NaN, NaT or NA."""
    return not isinstance(cell, np.ndarray) and np.ndim(cell) == 0 and bool(pd.isna(cell))
