"""Columns of a real and a synthetic table, side by side, as quality is measured of them."""

import math
from typing import Any, NamedTuple

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from sklearn.utils import check_array

from skvae.arrays import count_axes
from skvae.columns import are_identifiers
from skvae.containers import Cells, as_frame, check_frame, read_cells, to_floats

MIN_ROWS = 3  # one for each fold of the two-sample test
NUMERIC = ("number", "date", "duration")
ARRAYS, IDENTIFIERS = "holds arrays", "is an identifier"  # why a column is not compared
# what a column is to the report, by what its cells are
KINDS = {
    **dict.fromkeys(("integer", "float", "decimal"), "number"),
    **dict.fromkeys(("date", "datetime"), "date"),
    **dict.fromkeys(("text", "category", "object"), "category"),
    "duration": "duration",
    "boolean": "boolean",
    "null": "empty",
}


class ComparedColumn(NamedTuple):
    """One column of all tables.

    name : object
    kind : str
        "number", "date", "duration", "category", "boolean", "identifier", or "empty": missing throughout.
    cells : dict of str to (n,) float64
        By table: numbers, seconds, or codes of categories that the tables share; NaN for missing.
    labels : list
        Categories by code.
    """

    name: object
    kind: str
    cells: dict[str, np.ndarray]
    labels: list

    @property
    def is_numeric(self):
        return self.kind in NUMERIC

    def codes(self, table: str) -> np.ndarray:
        """Categories as integers from 1, missing as 0, of shape (n,)."""
        return (np.nan_to_num(self.cells[table], nan=-1.0) + 1).astype(np.int64)

    def missing(self, table: str) -> float:
        """Share of missing cells."""
        return float(np.isnan(self.cells[table]).mean())


def by_name(columns: list[ComparedColumn]) -> list[ComparedColumn]:
    """Columns in an order that does not depend on the tables': ties between splits go to the first."""
    return sorted(columns, key=lambda column: str(column.name))


def some_rows(X: np.ndarray, size: int, seed: int) -> np.ndarray:
    """At most so many rows of X (n, ...), drawn without replacement."""
    return X if len(X) <= size else X[np.random.default_rng(seed).choice(len(X), size, replace=False)]


# --- reading ---------------------------------------------------------------------------------------------------------


def read_tables(tables: dict[str, Any]) -> tuple[list[ComparedColumn], dict]:
    """The columns of tables by their names, in the order of those of "real"; and by name, why a column is not compared.

    Columns of arrays are not among the columns; identifiers are.
    """
    series = _series(tables)
    arrays = [name for name, by_table in series.items() if _hold_arrays(by_table)]
    columns = {name: _column(by_table) for name, by_table in series.items() if name not in arrays}
    identifiers = [name for name, column in columns.items() if column.kind == "identifier"]
    reasons = dict.fromkeys(arrays, ARRAYS) | dict.fromkeys(identifiers, IDENTIFIERS)
    return list(columns.values()), {name: reasons[name] for name in series if name in reasons}


def _series(tables):
    """Narwhals series by column and table, in the order of the real table's columns."""
    frames = {name: _checked(X, name) for name, X in tables.items()}
    for name, frame in frames.items():
        _check_names(frame, frames["real"], name)
    # not frame[name]: a name that is an int would be taken for a row
    series = {name: {one.name: one for one in frame.iter_columns()} for name, frame in frames.items()}
    return {column: {name: series[name][column] for name in frames} for column in frames["real"].columns}


def _checked(X, name):
    """A narwhals frame of a pandas or polars frame, or of anything that makes an array (n, n_columns)."""
    consumer = f"quality_report, in {name}"
    if nw.dependencies.is_into_dataframe(X):
        check_frame(X, MIN_ROWS, consumer, name)
        return as_frame(X)
    X = check_array(X, dtype=None, ensure_all_finite=False, ensure_min_samples=MIN_ROWS, estimator=consumer, input_name=name)
    return as_frame(X.astype(object) if X.dtype.kind == "U" else X)


def _check_names(frame, real, name):
    """Refuse a table whose columns are not those of real; their order is free."""
    unseen = [str(c) for c in frame.columns if c not in real.columns]
    lost = [str(c) for c in real.columns if c not in frame.columns]
    if unseen or lost:
        parts = [f"The column names of {name} should match those of real."]
        parts += ["Column names unseen in real:", *(f"- {c}" for c in unseen[:5])] if unseen else []
        parts += ["Column names of real, yet missing:", *(f"- {c}" for c in lost[:5])] if lost else []
        raise ValueError("\n".join(parts))


def _hold_arrays(series):
    """Whether a column, as series by table, holds arrays (images, vectors) in any table."""
    return any(count_axes(one) > 0 for one in series.values())


def _column(series) -> ComparedColumn:
    """One column of narwhals series by table."""
    read = {table: _read(one, table) for table, one in series.items()}
    name, kind = series["real"].name, _common_kind(series, read)
    cells, labels = {table: values for table, (_, values) in read.items()}, []
    real = cells["real"][~pd.isna(cells["real"])]
    names_rows = kind == "category" and all(isinstance(value, str) for value in real) and are_identifiers(real)
    if kind in NUMERIC:
        cells = {table: values.astype(float) for table, values in cells.items()}
        if any(one.dtype == nw.Float32 for one in series.values()):  # 0.1 in float32 is 0.1 to float32 only
            cells = {table: _single(values) for table, values in cells.items()}
    else:
        cells, labels = _coded(cells)
    return ComparedColumn(name, "identifier" if names_rows else kind, cells, labels)


def _common_kind(series, read):
    """The kind of a column in all tables, where it is not missing throughout."""
    kinds = {kind: table for table, (kind, _) in reversed(read.items()) if kind != "empty"}
    if len(kinds) > 1:
        first = next(kind for kind, _ in read.values() if kind != "empty")
        kind, table = next(item for item in kinds.items() if item[0] != first)
        raise ValueError(
            f"Column {series['real'].name!r} holds a {first} in {kinds[first]} ({series[kinds[first]].to_native().dtype}), "
            f"but a {kind} in {table} ({series[table].to_native().dtype}). Convert it to the dtype that it has in "
            f"{kinds[first]}."
        )
    return next(iter(kinds), "empty").removesuffix(" with a time zone")


def _read(series, table) -> tuple[str, np.ndarray]:
    """Kind, and values (n,): floats, NaN where missing, of a number or a time; else objects, None where missing."""
    try:
        found, (cells, missing) = read_cells(series)
    except (TypeError, ValueError) as error:
        raise type(error)(f"In {table}: {error}") from None
    kind = KINDS[found.kind]
    if missing.all():
        return "empty", np.full(len(series), None)
    if kind not in NUMERIC:
        values = cells.astype(object)
        values[missing] = None
        return kind, values
    if found.is_time:
        zone = " with a time zone" if found.time_zone else ""
        return kind + zone, np.where(missing, math.nan, _seconds(cells, found.unit))
    return kind, to_floats(Cells(cells, missing), series.name, table)


def _single(values):
    largest = np.finfo(np.float32).max
    return values.clip(-largest, largest).astype(np.float32).astype(float)


def _seconds(ticks, unit):
    """Ticks (n,) of dates or durations as seconds, the same floats whatever their unit."""
    if unit == "D":
        return 86_400.0 * ticks
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    return ticks // per_second + (ticks % per_second) / per_second


def _coded(values):
    """Objects by table as codes by table, NaN where missing, and the categories by code."""
    codes, labels = pd.factorize(np.concatenate(list(values.values())), sort=True)
    codes = np.where(codes < 0, math.nan, codes)
    ends = np.cumsum([len(one) for one in values.values()])[:-1]
    return dict(zip(values, np.split(codes, ends), strict=True)), list(labels)
