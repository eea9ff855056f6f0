"""Cells of pandas, polars and numpy tables: read into numpy arrays, and put back into what they came in."""

import decimal
import math
import numbers
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from scipy.sparse import csr_array, csr_matrix

from skvae.persistence import Saved
from skvae.sparse import SparseRows, is_sparse_frame

N_SHOWN = 10  # categories that a message lists
TIMES = ("date", "datetime", "duration")

# what columns of Python objects may hold, by the name that pandas gives to their cells
OBJECTS = {
    "boolean": "boolean",
    "integer": "integer",
    "floating": "float",
    "mixed-integer-float": "float",
    "decimal": "decimal",
    "date": "date",
    "datetime": "datetime",
    "datetime64": "datetime",
    "timedelta": "duration",
    "timedelta64": "duration",
    "string": "text",
    "empty": "null",
}
# what to write for a column that is refused, in pandas and in polars, by the same names or by how its dtype's name begins
ADVICE = {
    "time": (
        "Convert it to a duration: pd.to_timedelta({x}.astype(str)).",
        "Convert it to a duration: {x}.cast(pl.Duration).",
    ),
    "period": ("Convert it to dates: pd.PeriodIndex({x}).to_timestamp().",) * 2,
    "interval": ("Convert it to categories: {x}.astype('category').",) * 2,
    "complex": ("Convert it to two columns of numbers: its real and its imaginary part.",) * 2,
    "bytes": ("Convert it to strings: {x}.str.decode('utf-8').",) * 2,
    "binary": ("Convert it to strings: {x}.str.decode('utf-8').", "Convert it to strings: {x}.cast(pl.String)."),
    "decimal": ("Convert it to floats: {x}.astype(float).", "Convert it to floats: {x}.cast(pl.Float64)."),
    "list": (
        "Convert its lists, all of one length, to arrays: {x}.map(np.asarray).",
        "Convert its lists, all of one length, to arrays: {x}.list.to_array(width).",
    ),
    "sparse": ("Convert it to a dense dtype: {x}.sparse.to_dense().",) * 2,
    "zoned": ("Convert it to a dtype with a time zone: pd.to_datetime({x}, utc=True).",) * 2,
}
ANY_ADVICE = ("Convert it to numbers, strings or dates, or drop it.",) * 2


def greatest_number(dtype: Any) -> float:
    """The greatest number that a dtype of numpy, pandas, arrow or polars holds; infinity where it holds any."""
    name = str(dtype).lower().removeprefix("sparse[")
    if whole := re.match(r"(u?)int(\d+)", name):
        return float(2 ** (int(whole[2]) - (not whole[1])) - 1)
    if name.startswith("bool"):
        return 1.0
    return 65504.0 if name.startswith(("float16", "halffloat")) else math.inf


class Cells(NamedTuple):
    """A column as numpy holds it: values (n,), anything where missing (n,) is true; of arrays, (n, ...).

    Numbers keep their type, decimals become floats; dates and durations are ticks of their unit (int64); booleans are
    bool; the rest are Python objects.
    """

    values: np.ndarray
    missing: np.ndarray

    def repeat(self, n: int) -> "Cells":
        """Each cell n times, one after the other."""
        return Cells(self.values.repeat(n, axis=0), self.missing.repeat(n))


@dataclass(frozen=True)
class CellType(Saved):
    """What the cells of a column are, whatever holds them.

    Attributes
    ----------
    kind : {"boolean", "integer", "float", "decimal", "date", "datetime", "duration", "text", "category", "object", "null", \
            "array"}
        "object" stands for strings and numbers side by side, "null" for missing cells and nothing else, "array" for arrays
        of numbers, all of one shape.
    unit : str
        Of dates and durations: "D", "s", "ms", "us" or "ns".
    time_zone : str
        Of dates, where they have one.
    unsigned : bool
        Whether integers have no sign.
    bits : int
        Of integers, at most 64.
    levels : tuple, optional
        All categories that the dtype has a place for, in its order.
    objects : bool
        Whether the cells are Python objects, and are given back as such.
    decimals : int
        Of Python's decimals: how many of them are written.
    """

    kind: str
    unit: str = ""
    time_zone: str = ""
    unsigned: bool = False
    bits: int = 64
    levels: tuple | None = None
    objects: bool = False
    decimals: int = 0

    @property
    def is_time(self) -> bool:
        return self.kind in TIMES


# --- reading ---------------------------------------------------------------------------------------------------------


def check_frame(X: Any, min_rows: int, consumer: str, name: str = "X") -> None:
    """Refuse what is no frame of pandas or polars, or one with duplicate names or too few rows, in scikit-learn's words.

    consumer : who needs that many rows.
    """
    if not (nw.dependencies.is_pandas_dataframe(X) or nw.dependencies.is_polars_dataframe(X)):
        raise TypeError(f"{name} must be a pandas or polars DataFrame or an array, got {type(X).__name__}.")
    columns = list(X.columns)
    if len(set(columns)) < len(columns):
        raise ValueError(
            f"{name} has duplicate column names: {sorted({str(c) for c in columns if columns.count(c) > 1})}. Rename them."
        )
    for size, what, least in ((len(X), "sample(s)", min_rows), (len(columns), "feature(s)", 1)):
        if size < least:
            raise ValueError(
                f"Found array with {size} {what} (shape={X.shape}) while a minimum of {least} is required by {consumer}."
            )


def as_frame(X: Any) -> Any:
    """A narwhals frame of a frame, or of an array (n, n_columns)."""
    if isinstance(X, np.ndarray):
        X = pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])], copy=False)
    return nw.from_native(X, eager_only=True)


def read_cells(series: nw.Series, unit: str | None = None) -> tuple[CellType, Cells]:
    """What a narwhals series holds, and its cells; unit : of the ticks of times, by default the series' own.

    A column of Python objects is judged by all of its cells that are there.
    """
    native = series.to_native()
    if series.dtype == nw.Object or (isinstance(native, pd.Series) and native.dtype == object):
        return _read_objects(series, unit)
    found = _native_type(series)
    return found, _read_native(series, found, unit or found.unit)


def _native_type(series: nw.Series) -> CellType:
    dtype = series.dtype
    if isinstance(dtype, nw.Date):
        return CellType("date", "D")
    if isinstance(dtype, nw.Datetime | nw.Duration):
        zone = str(getattr(dtype, "time_zone", None) or "")
        return CellType("duration" if isinstance(dtype, nw.Duration) else "datetime", dtype.time_unit, zone)
    native = series.to_native()
    if isinstance(native.dtype, pd.DatetimeTZDtype):  # of a zone that narwhals has no name for
        return CellType("datetime", native.dtype.unit, str(native.dtype.tz))
    if dtype.is_integer():
        bits = min(64, int(re.sub(r"\D", "", str(dtype))))
        return CellType("integer", unsigned=dtype.is_unsigned_integer(), bits=bits)
    if dtype in (nw.Categorical, nw.Enum):
        return CellType("category", levels=_levels(series))
    kinds = {nw.Boolean: "boolean", nw.String: "text", nw.Decimal: "decimal", nw.Float32: "float", nw.Float64: "float"}
    for one, kind in kinds.items():
        if dtype == one:
            return CellType(kind)
    if str(native.dtype).startswith("decimal256"):  # nor for decimals of so many bits
        return CellType("decimal")
    if getattr(native.dtype, "kind", "") == "f":  # half precision, which narwhals has no name for
        return CellType("float")
    if series.is_null().all():
        return CellType("null")
    raise refusal(series, f"dtype {native.dtype} is not supported.", _family(native.dtype))


def _levels(series: nw.Series) -> tuple | None:
    native = series.to_native()
    if isinstance(native, pd.Series):
        return None if isinstance(native.dtype, pd.ArrowDtype) else tuple(native.cat.categories)
    return tuple(series.cat.get_categories().to_list())


def _family(dtype: Any) -> str:
    """The key of `ADVICE` that a dtype goes by."""
    return next((key for key in ADVICE if str(dtype).lower().startswith(key)), "")


def refusal(series: nw.Series, what: str, family: str = "") -> TypeError:
    """The error for a column that holds what is not supported, with what to write instead."""
    of_pandas, of_polars = ADVICE.get(family, ANY_ADVICE)
    advice = of_pandas if isinstance(series.to_native(), pd.Series) else of_polars
    return TypeError(f"Column {series.name!r}: {what} {advice.format(x=f'X[{series.name!r}]')}")


def _read_native(series: nw.Series, found: CellType, unit: str) -> Cells:
    missing = series.is_null().to_numpy()
    if found.is_time:
        return Cells(_ticks(series.to_native(), found, unit), missing)
    if found.kind in ("integer", "boolean"):
        filled = series.fill_null(0 if found.kind == "integer" else False) if missing.any() else series
        return Cells(_whole_numbers(filled), missing)
    if found.kind in ("float", "decimal"):
        values = _as_float64(series, found)
        return Cells(values, missing | np.isnan(values))
    values = np.fromiter(series.to_list(), dtype=object, count=len(series))
    return Cells(values, pd.isna(values))


def _whole_numbers(series: nw.Series) -> np.ndarray:
    """Integers or booleans (n,), none missing."""
    if "128" not in str(series.dtype):
        return series.to_numpy()
    values = series.to_list()
    if any(abs(value) >= 2**63 for value in values):
        raise ValueError(f"Column {series.name!r} holds integers beyond 64 bits. Convert it to floats, or to strings.")
    return np.array(values, dtype=np.int64)


def _as_float64(series: nw.Series, found: CellType) -> np.ndarray:
    native = series.to_native()
    if found.kind == "decimal" and isinstance(native, pd.Series):
        # arrow casts no decimal of 256 bits to a float
        return np.array([np.nan if pd.isna(value) else float(value) for value in native], dtype=float)
    if isinstance(native, pd.Series) and not isinstance(native.dtype, pd.api.extensions.ExtensionDtype):
        return native.to_numpy().astype(float)
    return series.cast(nw.Float64).to_numpy()


def _read_objects(series: nw.Series, unit: str | None) -> tuple[CellType, Cells]:
    values = np.fromiter(series.to_list(), dtype=object, count=len(series))
    missing = pd.isna(values)
    values[missing] = None
    there = values[~missing]
    family = pd.api.types.infer_dtype(there, skipna=False)
    if family in OBJECTS:
        kind = OBJECTS[family]
    elif all(isinstance(value, numbers.Real | np.bool_) for value in there):
        kind = "float"
    elif all(isinstance(value, str | numbers.Real | np.bool_) for value in there):
        kind = "object"
    else:
        wrong = next(value for value in there if not isinstance(value, str | numbers.Real | np.bool_))
        what = f"argument must be a string or a number, not {type(wrong).__name__!r} (a cell holds {shown(wrong)})."
        raise refusal(series, what, "list" if isinstance(wrong, list | tuple) else family)
    if any(getattr(value, "tzinfo", None) is not None for value in there[:1]):
        raise refusal(series, "dates with a time zone in a column of Python objects are not supported.", "zoned")
    if kind not in CONVERSIONS:
        return CellType(kind, objects=True), Cells(values, missing)
    out, unit = CONVERSIONS[kind](there, series.name, unit)
    full = np.zeros(len(values), dtype=out.dtype)
    full[~missing] = out
    decimals = max((_n_decimals(value) for value in there), default=0) if kind == "decimal" else 0
    return CellType(kind, unit, objects=True, decimals=decimals), Cells(full, missing | _is_nan(full))


def _n_decimals(value: decimal.Decimal) -> int:
    """How many decimals a number is written with."""
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def shown(value: Any, most: int = 60) -> str:
    """A cell as a message shows it."""
    text = repr(plain(value))
    return text if len(text) <= most else text[: most - 3] + "..."


def plain(cell: Any) -> Any:
    """A cell as Python's own number where numpy wraps one."""
    return cell.item() if isinstance(cell, np.generic) and not isinstance(cell, np.datetime64 | np.timedelta64) else cell


def _is_nan(values: np.ndarray) -> np.ndarray:
    return np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), bool)


def _dates(values, name, unit):
    return values.astype("M8[D]").astype(np.int64), "D"


def _moments_in_time(values, name, unit, read=pd.to_datetime):
    try:
        moments = read(pd.Series(list(values)))
    except (TypeError, ValueError) as error:
        raise ValueError(f"Column {name!r} holds dates that do not go together: {error}") from None
    unit = unit or moments.dt.unit
    return moments.dt.as_unit(unit).to_numpy().astype(np.int64), unit


def _spans_of_time(values, name, unit):
    return _moments_in_time(values, name, unit, pd.to_timedelta)


def _integers(values, name, unit):
    if any(abs(value) >= 2**63 for value in values):
        raise ValueError(f"Column {name!r} holds Python ints beyond 64 bits. Convert it to floats, or to strings.")
    return values.astype(np.int64), ""


def _floats(values, name, unit):
    try:
        return values.astype(float), ""
    except OverflowError:
        raise ValueError(f"Column {name!r} holds Python ints too large for float64. Convert it to strings.") from None


def _booleans(values, name, unit):
    return values.astype(bool), ""


# Python objects (k,), none missing, to numpy's own numbers: of values, the column's name and the unit of times that is
# wanted, numbers (k,) and their unit
CONVERSIONS: dict[str, Callable] = {
    "boolean": _booleans,
    "integer": _integers,
    "float": _floats,
    "decimal": _floats,
    "date": _dates,
    "datetime": _moments_in_time,
    "duration": _spans_of_time,
}


def to_floats(cells: Cells, name: Any, table: str = "X") -> np.ndarray:
    """Numbers as float64 (n,), NaN where missing; refused if they are infinite."""
    values = np.where(cells.missing, np.nan, cells.values).astype(float)
    if np.isinf(values).any():
        raise ValueError(f"Input {table} contains infinity or a value too large for float64, in column {name!r}.")
    return values


def _ticks(native: Any, found: CellType, unit: str) -> np.ndarray:
    """Dates or durations as int64 counts of a unit, in UTC, anything where missing."""
    is_date = found.kind == "date"
    if not isinstance(native, pd.Series):
        native = native if is_date else native.dt.cast_time_unit(unit)
        return native.to_physical().fill_null(0).to_numpy().astype(np.int64)
    if found.time_zone:
        native = native.dt.tz_convert("UTC").dt.tz_localize(None)
    native = native.astype("M8[s]") if is_date else native  # arrow's dates become objects beside missing ones
    dtype = np.dtype(f"{'m' if found.kind == 'duration' else 'M'}8[{unit}]")
    return native.to_numpy(dtype=dtype, na_value=dtype.type("NaT", unit)).view(np.int64)


# --- putting back ----------------------------------------------------------------------------------------------------


def _as_times(values: np.ndarray, found: CellType) -> np.ndarray:
    """Ticks (n,) as numpy's dates or durations."""
    return values.astype(np.int64).view(f"{'m' if found.kind == 'duration' else 'M'}8[{found.unit}]")


def _as_objects(values: np.ndarray, found: CellType) -> np.ndarray:
    """Values (n,) as the Python objects that they were."""
    if found.kind == "date":
        return _as_times(values, found).astype(object)
    if found.is_time:
        times = pd.Series(_as_times(values, found))
        return np.fromiter(times, dtype=object, count=len(times))
    if found.kind == "decimal":
        written = (decimal.Decimal(f"{value:.{found.decimals}f}") for value in values)
        return np.fromiter(written, dtype=object, count=len(values))
    return values.astype(object)


def _pandas_frame(types, dtypes, cells, index, names):
    built = {}
    for at, (found, dtype, (values, missing)) in enumerate(zip(types, dtypes, cells, strict=True)):
        built[at] = _pandas_column(found, dtype, values, missing, index)
    frame = pd.DataFrame(built, index=index)
    frame.columns = names
    return frame


def _pandas_column(found, dtype, values, missing, index):
    if found.kind == "array":
        as_arrow = isinstance(dtype, pd.ArrowDtype)
        cells = _arrow_arrays(values, missing, dtype) if as_arrow else arrays_as_cells(values, missing)
        return pd.Series(cells, index=index, dtype=dtype)
    if found.objects:
        values = _as_objects(values, found)
        values[missing] = None
        return pd.Series(values, index=index, dtype=object)
    if found.is_time:
        values = _as_times(values, found).copy()
        values[missing] = np.array("NaT", values.dtype)
        values = values.astype("M8[s]") if found.unit == "D" else values  # pandas' own dates count no days
    elif missing.any():
        values = values.astype(object)
        values[missing] = None
        dtype = "Int64" if getattr(dtype, "kind", "") in "iu" and isinstance(dtype, np.dtype) else dtype
    series = pd.Series(values, index=index, dtype=values.dtype)
    if found.time_zone:
        series = series.dt.tz_localize("UTC")
        series = series.dt.tz_convert(found.time_zone) if isinstance(dtype, pd.ArrowDtype) else series
    return series.astype(dtype)


def _polars_frame(types, dtypes, cells, index, names):
    import polars as pl

    built = []
    for at, (found, dtype, (values, missing)) in enumerate(zip(types, dtypes, cells, strict=True)):
        if found.kind == "array":
            built.append(_polars_arrays(str(at), values, missing, dtype))
            continue
        ticks = found.is_time and not found.objects
        with_gaps: Any = np.where(missing, None, values) if missing.any() else values
        series = pl.Series(str(at), with_gaps.tolist(), dtype=pl.Int64 if ticks else dtype, strict=False)
        built.append(series.cast(dtype) if ticks else series)
    frame = pl.DataFrame(built)
    frame.columns = list(names)  # polars would give a column without a name one
    return frame


def arrays_as_cells(values: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Arrays (n, ...) as Python objects (n,), None where missing."""
    cells = np.empty(len(values), dtype=object)
    for at in np.flatnonzero(~missing):
        cells[at] = values[at]
    return cells


def _arrow_arrays(values, missing, dtype):
    """Arrays (n, ...) as lists of fixed size, which arrow nests."""
    import pyarrow as pa

    inner = dtype.pyarrow_dtype
    while pa.types.is_fixed_size_list(inner):
        inner = inner.value_type
    out = pa.array(values.ravel(), from_pandas=True).cast(inner)
    for size in values.shape[:0:-1]:
        at_outermost = len(out) == size * len(values)
        out = pa.FixedSizeListArray.from_arrays(out, size, mask=pa.array(missing) if at_outermost else None)
    return pd.arrays.ArrowExtensionArray(out)


def _polars_arrays(name, values, missing, dtype):
    """Arrays (n, ...) as a series; among whole numbers, NaN is null."""
    import polars as pl

    if dtype == pl.Object:
        return pl.Series(name, arrays_as_cells(values, missing).tolist(), dtype=dtype)
    inner = dtype
    while isinstance(inner, pl.Array):
        inner = inner.inner
    flat = pl.Series(name, values.ravel())
    if values.dtype.kind == "f" and not inner.is_float():
        flat = flat.fill_nan(None)
    series = flat.cast(inner).reshape(values.shape).cast(dtype)
    return series if not missing.any() else pl.select(pl.when(pl.Series(~missing)).then(series).alias(name)).to_series()


def _array(types, dtypes, cells, index, names):
    if cells[0].values.ndim > 1:  # one column of arrays
        return cells[0].values.astype(dtypes[0], copy=False)
    out = np.empty((len(cells[0].values), len(cells)), dtype=dtypes[0])
    for j, (found, (values, missing)) in enumerate(zip(types, cells, strict=True)):
        out[:, j] = _as_objects(values, found) if found.objects else values
        if missing.any():
            out[missing, j] = None if out.dtype == object else np.nan
    return out


def _is_kept(value: Any, number: Any) -> bool:
    """Whether a plain value is a number that a dtype holds; floats may be rounded."""
    return not isinstance(value, str) and (isinstance(number, float) or value == number)


def _pandas_series(values: list, dtype: Any, name: Any) -> nw.Series:
    if isinstance(dtype, pd.CategoricalDtype) and not set(values) <= set(dtype.categories):
        raise ValueError(f"its categories are {list(dtype.categories[:N_SHOWN])}.")
    cells = np.fromiter(values, dtype=object, count=len(values))
    series = pd.Series(cells, dtype=object, name=name).astype(dtype)
    # pandas takes any text for True, and cuts decimals off
    if dtype.kind in "biuf" and not all(map(_is_kept, values, series)):
        raise ValueError(f"its dtype is {dtype}.")
    return nw.from_native(series, series_only=True)


def _polars_series(values: list, dtype: Any, name: Any) -> nw.Series:
    import polars as pl

    try:
        return nw.from_native(pl.Series(name, values, dtype=dtype), series_only=True)
    except pl.exceptions.PolarsError as error:
        raise ValueError(str(error)) from None


def _pandas_select(X, places, presence):
    own = X.iloc[:, places]
    if not presence:
        return own
    there = pd.DataFrame({at: pd.array(cells, "boolean") for at, cells in enumerate(presence.values())}, index=X.index)
    out = pd.concat([own, there], axis=1)
    out.columns = [*own.columns, *presence]
    return out


def _polars_select(X, places, presence):
    import polars as pl

    there = [pl.Series(name, cells.tolist(), dtype=pl.Boolean) for name, cells in presence.items()]
    return pl.DataFrame([*(X[:, at] for at in places), *there])


def _csr_matrix(types, dtypes, cells, index, names):
    values = cells[0].values  # expected counts, which nowhere are zero, remain an array
    return csr_matrix(values.csr, dtype=dtypes[0]) if isinstance(values, SparseRows) else values


def _csr_array(types, dtypes, cells, index, names):
    values = cells[0].values
    return csr_array(values.csr, dtype=dtypes[0]) if isinstance(values, SparseRows) else values


def _sparse_frame(types, dtypes, cells, index, names):
    values = cells[0].values
    if isinstance(values, SparseRows):
        frame = pd.DataFrame.sparse.from_spmatrix(values.csr, index=index, columns=names)
        return frame.astype(dict(zip(names, dtypes, strict=True)))
    if values.ndim == 2:  # expected counts, which nowhere are zero
        return pd.DataFrame(values, index=index, columns=names)
    return _pandas_frame(types, dtypes, cells, index, names)


class Container(NamedTuple):
    """What differs between the libraries that rows come from.

    Attributes
    ----------
    table : callable
        Puts together the container, from cell types, native dtypes, cells, an index and names.
    series : callable
        Makes a narwhals series, from plain values, a dtype and a name.
    select : callable
        From a frame, places of columns, and {name: True or None (n,)}: these columns, and after them further ones that hold
        True and missing cells.
    boolean : callable
        Returns the dtype of the further columns.
    """

    table: Callable
    series: Callable
    select: Callable
    boolean: Callable


def _polars_boolean():
    import polars as pl

    return pl.Boolean


CONTAINERS = {
    "numpy": Container(_array, _pandas_series, lambda X, places, presence: X, pd.BooleanDtype),
    "pandas": Container(_pandas_frame, _pandas_series, _pandas_select, pd.BooleanDtype),
    "polars": Container(_polars_frame, _polars_series, _polars_select, _polars_boolean),
    "csr_matrix": Container(_csr_matrix, _pandas_series, lambda X, places, presence: X, pd.BooleanDtype),
    "csr_array": Container(_csr_array, _pandas_series, lambda X, places, presence: X, pd.BooleanDtype),
    "sparse frame": Container(_sparse_frame, _pandas_series, _pandas_select, pd.BooleanDtype),
}


def container_of(X: Any) -> str:
    """The key of CONTAINERS of rows X."""
    if isinstance(X, SparseRows):
        return X.kind
    if is_sparse_frame(X):
        return "sparse frame"
    return "numpy" if isinstance(X, np.ndarray) else str(as_frame(X).implementation)
