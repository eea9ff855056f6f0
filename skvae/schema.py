"""What the data look like: frames, arrays and images to packed arrays and back. No torch.

A schema is fitted once. It then packs any rows of the same form into one float array with a mask of what was observed,
says what each packed column is (`Variable`), and unpacks such an array into the container, the columns, the dtypes, the
categories, the grids and the bounds of the fit.
"""

import math
import numbers
import re
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterator
from typing import NamedTuple

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from scipy.special import ndtr

from skvae.scalings import SCALINGS, Line, Variable, moments, value_range

MAX_CATEGORIES = 10_000
N_SHOWN = 10  # categories in a message
FARTHEST = 1e15  # standard deviations, beyond which float32 has no squares
MIN_ROWS_BINS, MIN_ROWS_SMOOTH = 200, 1000
MIN_IDENTIFIERS = 50  # fewer different texts may be categories
TIMES = nw.Datetime, nw.Date, nw.Duration


class Packed(NamedTuple):
    """Rows as numbers: values (n, n_variables), float64, zero where missing; observed the same, bool, or None for all."""

    values: np.ndarray
    observed: np.ndarray | None


def _packed(values: np.ndarray) -> Packed:
    """`Packed` of values (n, n_variables) with NaN for missing; written in place."""
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.isnan(values.sum()):
            return Packed(values, None)
    missing = np.isnan(values)
    values[missing] = 0.0
    return Packed(values, ~missing)


class AbstractSchema(ABC):
    """The form of a table or of images.

    Attributes, after `fit`
    -----------------------
    variables : list of Variable
        Packed columns; numbers before codes, and variables of one likelihood side by side.
    """

    variables: list[Variable]

    @abstractmethod
    def fit(self, X, weight: np.ndarray) -> "AbstractSchema":
        """Learn the form of X. X : (n, ...); weight : (n,), all positive. Returns self."""

    @abstractmethod
    def pack(self, X) -> Packed:
        """Rows of the fitted form to `Packed`."""

    def packs_at_once(self, X) -> bool:
        """Whether `pack` takes all columns at once, so that many parts of few rows take no longer than one of many."""
        return True

    @abstractmethod
    def unpack(self, values: np.ndarray, index=None):
        """Back to the fitted container. values : (n, n_variables); index : the pandas index of the rows, if any."""

    @staticmethod
    def precision(X) -> str:
        """The type that latents and scores of X come in: "float32" where X has no more than that, else "float64"."""
        dtypes = [X.dtype] if isinstance(X, np.ndarray) else nw.from_native(X).schema.values()
        return "float32" if all(str(dtype).lower() in ("float32", "float16") for dtype in dtypes) else "float64"

    @abstractmethod
    def fill(self, X, values: np.ndarray, index=None):
        """X in the fitted container, its missing cells from values (n, n_variables), the others as they are."""

    @abstractmethod
    def by_column(self, cells: np.ndarray, X):
        """Sums of figures (n, n_variables) of the variables of each column, in a table of the form of X."""

    @abstractmethod
    def log_jacobian(self, values: np.ndarray) -> np.ndarray:
        """Nats to add to the log-probability of each packed cell for that in the data's own units.

        values : (n, n_variables); returns an array that broadcasts to it. log |d packed / d original| for a density;
        zero for a probability.
        """


# --- columns ---------------------------------------------------------------------------------------------------------


class Cells(NamedTuple):
    """A column as numpy holds it: values (n,), anything where missing (n,) is true.

    Numbers keep their type; dates and durations are ticks of their unit (int64); the rest are Python objects.
    """

    values: np.ndarray
    missing: np.ndarray


class AbstractColumn(ABC):
    """One column of a table: cells to packed numbers and back.

    Parameters
    ----------
    name : object
    dtype : narwhals dtype
    """

    likelihoods: tuple[str, ...] = ()  # that the kind can take, beside "auto"
    variable: Variable | None = None  # none: the column is not modelled
    empty = False  # whether `fit` saw missing cells only
    line: Line | None = None  # what packing is, if it is as simple as that
    levels: list | None = None  # all that the dtype has a place for, in its order, if it says so

    def __init__(self, name, dtype):
        self.name, self.dtype = name, dtype

    @abstractmethod
    def matches(self, values: np.ndarray) -> bool:
        """Whether the kind fits the column's dtype and its values (n,), none missing."""

    @abstractmethod
    def fit(self, values: np.ndarray, weight: np.ndarray, likelihood: str) -> None:
        """Learn from values (n,), none missing, with weight (n,); set `variable`."""

    @abstractmethod
    def unpack(self, packed: np.ndarray) -> np.ndarray:
        """Packed numbers (n,) to values (n,)."""

    def pack(self, cells: Cells) -> np.ndarray:
        """Cells to packed numbers (n,), NaN where missing."""
        raise NotImplementedError

    def log_jacobian(self, packed: np.ndarray) -> np.ndarray | float:
        """As in `AbstractSchema`, for one column (n,)."""
        return 0.0

    def cells(self, series) -> Cells:
        """Cells of a narwhals series, which must hold dates or durations where the fitted one did, and only there."""
        alike = series.dtype in (self.dtype.base_type(),) if self.dtype in TIMES else series.dtype not in TIMES
        if not alike and not series.is_null().all():
            raise ValueError(f"Column {self.name!r} was fitted with dtype {self.dtype}, got {series.dtype}.")
        if not alike:
            return Cells(np.zeros(len(series), dtype=np.int64), np.ones(len(series), bool))
        return read_cells(series, getattr(self.dtype, "time_unit", None))

    def check_range(self, cells: Cells) -> None:
        """Refuse cells beyond what `fit` saw; by default, there is no beyond."""
        return

    def refuse(self, fitted_with, value):
        return ValueError(f"Column {self.name!r} was fitted with {fitted_with}, got {_plain(value)!r}.")


class BooleanColumn(AbstractColumn):
    likelihoods = ("bernoulli",)

    def matches(self, values):
        return self.dtype == nw.Boolean or _all_are((bool, np.bool_), self.dtype, values)

    def fit(self, values, weight, likelihood):
        self.variable = Variable("bernoulli")

    def pack(self, cells):
        wrong = ~cells.missing & ~np.isin(cells.values.astype(object), (False, True))
        if wrong.any():
            raise self.refuse("booleans", cells.values[wrong][0])
        return np.where(cells.missing, np.nan, cells.values).astype(float)

    def unpack(self, packed):
        return packed > 0.5


class NumericColumn(AbstractColumn):
    """Real numbers, dates and durations, on the grid and within the bounds that `fit` saw.

    Integers are discrete. So are dates and durations: whole numbers of the coarsest unit that writes them all, counted
    from the earliest.
    """

    likelihoods = tuple(SCALINGS)

    def matches(self, values):
        return self.dtype.is_numeric() or self._is_time or _all_are(numbers.Real, self.dtype, values)

    @property
    def _is_time(self):
        return self.dtype in TIMES

    def fit(self, values, weight, likelihood):
        self.integer = values.dtype.kind in "iu" or _all_are(numbers.Integral, self.dtype, values)
        if self.integer and values.dtype.kind == "O" and any(abs(value) >= 2**53 for value in values):
            raise ValueError(f"Column {self.name!r} holds Python ints beyond 2**53. Convert it to int64, or to strings.")
        self.origin, self.unit = _lattice(values, self._is_time) if self.integer else (0, 1)
        numbers_ = self._numbers(Cells(values, np.zeros(len(values), bool)))
        self.lower, self.upper = value_range(numbers_)
        self.decimals = 0 if self.integer else _decimals(numbers_)
        self.binary = likelihood == "auto" and _is_binary(numbers_)
        if likelihood == "auto" or len(values) == 0:
            likelihood = "bernoulli" if self.binary else "histogram" if _wants_bins(numbers_, self.integer) else "gaussian"
        step = 0.0 if self.decimals is None else 10.0**-self.decimals
        self.scaling = SCALINGS[likelihood](self.name, likelihood, step, self.integer)
        self.scaling.fit(numbers_, weight)
        self.variable = self.scaling.variable
        if self.scaling.line is not None and not self.integer and not self.binary:
            centre, scale, lower, upper = self.scaling.line
            far, most = FARTHEST * scale, sys.float_info.max
            self.line = Line(centre, scale, max(lower, centre - far, -most), min(upper, centre + far, most))

    def _numbers(self, cells):
        """Cells to float64 (n,), NaN where missing, counted from the origin."""
        values, missing = cells
        if values.dtype.kind == "O":
            for value in values[~missing]:
                if not isinstance(value, numbers.Real):
                    raise self.refuse("numbers", value)
        if values.dtype.kind in "iu" and self.origin:
            return np.where(missing, np.nan, _difference(values, self.origin) / self.unit)
        return (to_floats(cells, self.name) - self.origin) / self.unit

    def pack(self, cells):
        values = self._numbers(cells)
        if self.binary:
            unseen = (values != 0) & (values != 1) & ~np.isnan(values)
            _warn_unseen(self.name, values, unseen)
            values = np.where(unseen, np.nan, values)
        packed = self.scaling.pack(values)
        if (far := np.abs(packed) > FARTHEST).any():
            shown, lower, upper = self._with_range(values[far][0])
            raise ValueError(f"Column {self.name!r} holds {shown}, too far from the {lower} to {upper} that fit saw.")
        return packed

    def check_range(self, cells):
        values = self._numbers(cells)
        beyond = (values < self.lower) | (values > self.upper)
        if beyond.any():
            shown, lower, upper = self._with_range(values[beyond][0])
            raise ValueError(f"given has {shown} in column {self.name!r}, beyond the {lower} to {upper} that fit saw.")

    def _with_range(self, value):
        """A number that is counted from the origin, and the bounds that `fit` saw, as texts in the column's own units."""
        return map(_text, self._from_origin(np.array([value, self.lower, self.upper])))

    def unpack(self, packed):
        values = self.scaling.unpack(packed)
        if self.decimals is not None:
            values = values.round(self.decimals)
        if self.scaling.bounded:
            values = values.clip(self.lower, self.upper)
        return self._from_origin(values)

    def _from_origin(self, values):
        """Numbers (n,) counted from the origin to values (n,)."""
        if not self.integer:
            return values
        ticks = _sum(values, self.origin, self.unit, unsigned=self.dtype.is_unsigned_integer())
        if not self._is_time:
            return ticks
        unit = "D" if self.dtype == nw.Date else self.dtype.time_unit
        return ticks.astype(np.int64).view(f"{'m' if self.dtype == nw.Duration else 'M'}8[{unit}]")

    def log_jacobian(self, packed):
        return self.scaling.log_jacobian(packed)


class IdentifierColumn(AbstractColumn):
    """Texts that are all different, or consecutive numbers: names of rows. Not modelled; new ones are made in kind.

    Texts of a prefix and a number continue to count; other texts become the column's name and a number.
    """

    def matches(self, values):
        if len(values) < MIN_IDENTIFIERS:
            return False
        if self.dtype.is_integer():
            # a difference of unsigned 64-bit numbers may not fit: floats are near enough to see that it is too large
            return float(values.max()) - float(values.min()) == len(values) - 1 and len(np.unique(values)) == len(values)
        texts = self.dtype == nw.String or _all_are(str, self.dtype, values)
        return texts and len(pd.unique(values)) == len(values)

    def fit(self, values, weight, likelihood):
        self.next, self.prefix, self.digits = 1, None, 0
        if self.dtype.is_integer():
            self.next = int(values.max()) + 1
            return
        parts = [re.fullmatch(r"(.*?)(\d{1,18})", value, re.DOTALL) for value in values]
        found = [part.groups() for part in parts if part]
        if len(found) == len(values) and len({prefix for prefix, _ in found}) == 1:
            self.prefix, self.digits = found[0][0], min(len(number) for _, number in found)
            self.next = max(int(number) for _, number in found) + 1

    def pack(self, cells):
        return np.zeros(len(cells.values))

    def unpack(self, packed):
        count = np.arange(self.next, self.next + len(packed))
        if self.dtype.is_integer():
            return count
        prefix = f"{self.name}-" if self.prefix is None else self.prefix
        return np.array([f"{prefix}{number:0{self.digits}d}" for number in count], dtype=object)


class CategoricalColumn(AbstractColumn):
    """One of the values that `fit` saw: strings, numbers, booleans. A value that it did not see packs as missing."""

    likelihoods = ("categorical", "ordinal")

    def matches(self, values):
        strings = self.dtype in (nw.String, nw.Categorical, nw.Enum)
        # a column of nothing but missing cells may have a dtype that says just that
        return strings or len(values) == 0 or _all_are((str, numbers.Real, np.bool_), self.dtype, values)

    def fit(self, values, weight, likelihood):
        found = pd.unique(values)
        if len(found) > MAX_CATEGORIES:
            raise ValueError(
                f"Column {self.name!r} holds {len(found)} different values, more than the {MAX_CATEGORIES} that are "
                f"modelled as categories. Drop it (X.drop(columns=[{self.name!r}])), or group its rare values."
            )
        self.categories = np.array(self._in_order(found), dtype=values.dtype)
        size = max(1, len(self.categories))
        if likelihood == "ordinal" and size > 1:
            centre, scale = moments(self._codes(values), weight)
            self.variable = Variable("ordinal", size, centre=centre, scale=scale)
        else:
            self.variable = Variable("categorical", size, coded=True)

    def _in_order(self, found):
        """Values (k,) in the order of the levels, else sorted, numbers before texts."""
        if self.levels is not None:
            seen = set(found)
            return [level for level in self.levels if level in seen]
        return sorted(found, key=lambda value: (isinstance(value, str), value))

    def _codes(self, values):
        index = pd.Index(self.categories, dtype=self.categories.dtype)
        try:
            return index.get_indexer(pd.Index(values, dtype=self.categories.dtype)).astype(float)
        except TypeError:  # what has no hash is no category
            wrong = next(value for value in values if not isinstance(value, Hashable))
            raise self.refuse("categories", wrong) from None

    def pack(self, cells):
        codes = np.where(cells.missing, -1, self._codes(cells.values))
        _warn_unseen(self.name, cells.values, (codes < 0) & ~cells.missing)
        return np.where(codes < 0, np.nan, codes)

    def check_range(self, cells):
        unseen = (self._codes(cells.values) < 0) & ~cells.missing
        if unseen.any():
            shown = ", ".join(map(repr, map(_plain, self.categories[:N_SHOWN])))
            raise ValueError(
                f"given has {_plain(cells.values[unseen][0])!r} in column {self.name!r}, which fit did not see there. "
                f"It saw {shown}{', ...' if len(self.categories) > N_SHOWN else ''}."
            )

    def unpack(self, packed):
        if len(self.categories) == 0:
            return np.full(len(packed), None)
        return self.categories[packed.astype(int)]


# the first that matches takes the column
KINDS: dict[str, Callable[..., AbstractColumn]] = {
    "boolean": BooleanColumn,
    "identifier": IdentifierColumn,
    "number": NumericColumn,
    "category": CategoricalColumn,
}


def find_kind(series, values: np.ndarray, kinds=tuple(KINDS)) -> str:
    """The first of some kinds that matches a narwhals series; values (n,) : its cells that are not missing."""
    for kind in kinds:
        if KINDS[kind](series.name, series.dtype).matches(values):
            return kind
    if series.dtype == nw.Object:
        wrong = next(c for c in values if not isinstance(c, str | numbers.Real | np.bool_))
        what = f"argument must be a string or a number, not {type(wrong).__name__!r}."
    else:
        what = f"dtype {series.to_native().dtype} is not supported."
    raise TypeError(f"Column {series.name!r}: {what} Convert it to numbers, strings or dates, or drop it.")


def _text(value):
    if isinstance(value, np.datetime64 | np.timedelta64):
        return str(pd.Timestamp(value) if isinstance(value, np.datetime64) else pd.Timedelta(value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _plain(cell):
    return cell.item() if isinstance(cell, np.generic) else cell


def _all_are(types, dtype, values) -> bool:
    """Whether a column of Python objects holds nothing but these types."""
    return dtype == nw.Object and all(isinstance(value, types) for value in values)


def _warn_unseen(name, values: np.ndarray, unseen: np.ndarray) -> None:
    """values, unseen : (n,)."""
    if unseen.any():
        warnings.warn(
            f"Column {name!r} holds {_plain(values[unseen][0])!r}, which fit did not see: "
            "such cells are treated as missing.",
            UserWarning,
            stacklevel=2,
        )


def _is_binary(values: np.ndarray) -> bool:
    """Whether numbers (n,) are a yes or no under another name: 0 and 1, neither so rare that a third value may follow."""
    found, counts = np.unique(values, return_counts=True)
    return np.array_equal(found, (0, 1)) and counts.min() >= max(3, 0.01 * len(values))


def _wants_bins(values: np.ndarray, integer: bool) -> bool:
    """Whether numbers (n,) are better off in bins: integers, few values, or one much heavier than those beside it.

    So it is on held-out score (Adult, Ames, bike sharing, Titanic), while a smooth column of few rows is better off with a
    normal: bins want rows to be counted from. With many, they follow a shape that is not normal.
    """
    if len(values) < MIN_ROWS_BINS:
        return False
    if integer or (len(values) >= MIN_ROWS_SMOOTH and _distance_from_normal(values) > 1.5 / math.sqrt(len(values))):
        return True
    counts = np.unique(values, return_counts=True)[1]
    beside = np.maximum(np.append(counts[1:], 0), np.append(0, counts[:-1]))
    heavy = (counts >= 0.05 * len(values)) & (counts >= 4 * beside)
    return len(counts) <= max(20, len(values) // 20) or bool(heavy.any())


def _distance_from_normal(values: np.ndarray) -> float:
    """Kolmogorov-Smirnov distance of numbers (n,) from a normal of their mean and deviation."""
    centre, scale = moments(values, np.ones(len(values)))
    ranks = (np.arange(len(values)) + 0.5) / len(values)
    return float(np.abs(ndtr((np.sort(values) - centre) / scale) - ranks).max())


def _decimals(values: np.ndarray) -> int | None:
    """The fewest decimals, up to 6, that write every value (n,) exactly; None where they do not suffice."""
    with np.errstate(over="ignore", invalid="ignore"):
        single = values.astype(np.float32)
        values = single if np.array_equal(single, values) else values  # 0.1 in float32 is 0.1 to float32 only
        return next((d for d in range(7) if np.array_equal(values.round(d), values)), None)


def _lattice(values: np.ndarray, is_time: bool) -> tuple[int, int]:
    """Origin and unit to count whole numbers (n,) from, so that float64 holds the counts."""
    if values.dtype.kind == "O" or len(values) == 0:
        return 0, 1
    lower, upper = int(values.min()), int(values.max())
    if not is_time:
        return (0, 1) if max(-lower, upper) < 2**53 else (lower, 1)
    return lower, int(np.gcd.reduce((values - lower).astype(np.uint64))) or 1


def _difference(values: np.ndarray, origin: int) -> np.ndarray:
    """values (n,), 64-bit integers, less the origin, as float64: exact up to 2^53 whatever the size of either."""
    unsigned, zero = values.astype(np.uint64), np.uint64(origin % 2**64)  # wraps around, which is what we want
    return np.where(values >= origin, (unsigned - zero).astype(float), -(zero - unsigned).astype(float))


def _sum(counts: np.ndarray, origin: int, unit: int, unsigned: bool) -> np.ndarray:
    """origin + unit * counts (n,) in 64-bit integers: the nearest within their range."""
    least, greatest = (0, 2**64 - 1) if unsigned else (-(2**63), 2**63 - 1)
    beyond = np.abs(counts) >= 2.0**64
    size = np.where(beyond, 0.0, np.abs(counts)).astype(np.uint64)
    size[beyond] = 2**64 - 1
    up = np.minimum(size, np.uint64((greatest - origin) // unit)) * np.uint64(unit)
    down = np.minimum(size, np.uint64((origin - least) // unit)) * np.uint64(unit)
    zero = np.uint64(origin % 2**64)  # wraps around, which is what we want
    total = np.where(counts < 0, zero - down, zero + up)
    return total if unsigned else total.view(np.int64)


# --- tables ----------------------------------------------------------------------------------------------------------


class TableSchema(AbstractSchema):
    """A frame of pandas or polars, or a two-dimensional array.

    A column in which `fit` saw missing cells gets a second variable, which says whether the cell is missing: so
    missingness is modelled and generated. A missing cell itself is not observed.

    Parameters
    ----------
    likelihood : str or dict
        "auto", a name for every column that can take it, or names by column.
    categorical : collection of str
        Columns to take as categories, whatever their dtype.
    """

    def __init__(self, likelihood: str | dict = "auto", categorical: Collection = ()):
        self.likelihood, self.categorical = likelihood, categorical

    def fit(self, X, weight):
        frame = as_frame(X)
        self.container = "numpy" if isinstance(X, np.ndarray) else str(frame.implementation)
        names, native = frame.columns, frame.to_native()
        self.names = native.columns
        self.dtypes = [X.dtype] if self.container == "numpy" else [native[name].dtype for name in names]
        if isinstance(self.likelihood, dict) and (unknown := set(self.likelihood) - set(names)):
            raise ValueError(f"likelihood has a key {unknown.pop()!r} which is not a column of X. Columns: {names}.")
        self.columns, indicated = [], []
        for series in frame.iter_columns():
            cells = read_cells(series)
            self.columns.append(self._fit_column(series, cells.values[~cells.missing], weight[~cells.missing]))
            indicated.append(bool(cells.missing.any()))
        self._lay_out(indicated)
        if not self.variables:
            raise ValueError(
                f"X has no column to model: {list(names)} hold texts that are all different, or consecutive numbers, which "
                "name rows. List them in categorical_features, if they mean something."
            )
        return self

    def _fit_column(self, series, values, weight):
        column = self._new_column(series, values)
        wanted = self.likelihood.get(series.name, "auto") if isinstance(self.likelihood, dict) else self.likelihood
        if wanted != "auto" and wanted not in column.likelihoods:
            if isinstance(self.likelihood, dict):
                raise ValueError(
                    f"The likelihood of column {series.name!r} must be a str among "
                    f"{{{', '.join(map(repr, ('auto', *column.likelihoods)))}}}. Got {wanted!r} instead."
                )
            wanted = "auto"
        if series.dtype in (nw.Categorical, nw.Enum) and not isinstance(series.to_native().dtype, pd.ArrowDtype):
            column.levels = series.cat.get_categories().to_list()
        column.fit(values, weight, wanted)
        column.empty = len(values) == 0
        return column

    def _new_column(self, series, values):
        """An unfitted column of the first kind that matches; values (n,) : its cells that are not missing."""
        if series.name in self.categorical:
            return CategoricalColumn(series.name, series.dtype)
        return KINDS[find_kind(series, values)](series.name, series.dtype)

    def _lay_out(self, indicated: list[bool]) -> None:
        """Order the packed columns; indicated : of each column, whether its missing cells are modelled."""
        slots = [(c.variable, j, False) for j, c in enumerate(self.columns) if c.variable is not None]
        slots += [(Variable("bernoulli"), j, True) for j, missing in enumerate(indicated) if missing]
        slots.sort(key=lambda slot: (slot[0].coded, slot[0].likelihood, slot[0].size.bit_length(), not slot[2]))
        place = {(j, indicator): at for at, (_, j, indicator) in enumerate(slots)}
        self.variables = [
            variable._replace(missing_at=-1 if indicator else place.get((j, True), -1)) for variable, j, indicator in slots
        ]
        self.value_at = [place.get((j, False)) for j in range(len(self.columns))]
        self.indicator_at = [place.get((j, True)) for j in range(len(self.columns))]
        # what `pack` does all at once: columns and places of indicators, columns and places along lines, and these lines
        lined = [j for j, indicator in place if not indicator and self.columns[j].line is not None]
        with_missing = [j for j, indicator in place if indicator]
        self.indicated = _as_slice(with_missing), _as_slice([place[j, True] for j in with_missing])
        self.lined = _as_slice(lined), _as_slice([place[j, False] for j in lined])
        self.lines = np.array([self.columns[j].line for j in lined]).reshape(-1, 4).T
        self.all_floats = all(column.dtype.is_float() for column in self.columns)
        self._lay_out_jacobian()

    def _lay_out_jacobian(self) -> None:
        """Tell columns whose `log_jacobian` depends on their cells from those of which it is a constant."""
        self.varying, self.constant_jacobian = [], np.zeros(len(self.variables))
        modelled = [(column, at) for column, at in zip(self.columns, self.value_at, strict=True) if at is not None]
        for column, at in modelled:
            jacobian = column.log_jacobian(np.zeros(0))
            if np.ndim(jacobian):
                self.varying.append((column, at))
            else:
                self.constant_jacobian[at] = jacobian

    def packs_at_once(self, X):
        return isinstance(X, np.ndarray) and X.dtype.kind == "f" and self.all_floats

    def pack(self, X):
        values = np.empty((len(X), len(self.variables)))
        for j, cells in self._cells(X, values):
            if self.value_at[j] is not None:
                values[:, self.value_at[j]] = self.columns[j].pack(cells)
            if self.indicator_at[j] is not None:
                values[:, self.indicator_at[j]] = cells.missing
        return _packed(values)

    def _cells(self, X, values: np.ndarray) -> Iterator[tuple[int, Cells]]:
        """Place and `Cells` of the columns that are not packed to values (n, n_variables) all at once."""
        if self.packs_at_once(X):
            # of an array of many columns, a series of each would take longer than all that follows
            return ((j, _float_cells(X[:, j])) for j in self._pack_lines(X, values))
        return enumerate(map(_column_cells, self.columns, as_frame(X).iter_columns()))

    def _pack_lines(self, X: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Pack columns of floats that have a `line`, all at once, to values (n, n_variables); returns which are left."""
        columns, places = self.lined
        numbers, (centre, scale, lower, upper) = X[:, columns], self.lines
        within = np.fmin.reduce(numbers, 0, initial=np.inf) >= lower
        within &= np.fmax.reduce(numbers, 0, initial=-np.inf) <= upper
        packed = values[:, places] if isinstance(places, slice) else np.empty(numbers.shape)
        packed[:] = numbers
        if centre.any():
            packed -= centre
        if (scale != 1).any():
            packed /= scale
        if not isinstance(places, slice):
            values[:, places] = packed
        indicated, indicators = self.indicated
        values[:, indicators] = np.isnan(X[:, indicated])
        left = np.ones(len(self.columns), bool)
        left[columns] = ~within
        return np.flatnonzero(left)

    def pack_given(self, given: dict) -> Packed:
        """Values of some columns, {name: sequence (n,)}, as packed rows; `observed` : what is known, not None.

        A value that is missing (None, NaN, NaT, NA) is known to be so.
        """
        n_rows = len(next(iter(given.values())))
        values, known = np.zeros((n_rows, len(self.variables))), np.zeros((n_rows, len(self.variables)), bool)
        for name, cells in given.items():
            at = next((j for j, column in enumerate(self.columns) if column.name == name), None)
            if at is None:
                raise ValueError(
                    f"given has a column {name!r} that fit did not see. Columns: {[c.name for c in self.columns]}."
                )
            place, missing_at = self.value_at[at], self.indicator_at[at]
            if place is None:
                raise ValueError(f"given has column {name!r}, which names rows and is not modelled. Leave it out.")
            packed = self._pack_given(self.columns[at], self.dtypes[0 if self.container == "numpy" else at], cells)
            missing = np.isnan(packed)
            if missing_at is not None:
                values[:, missing_at], known[:, missing_at] = missing, True
            elif missing.any():
                raise ValueError(f"given has a missing value in column {name!r}, in which fit saw none.")
            values[:, place], known[:, place] = np.where(missing, 0.0, packed), ~missing
        return Packed(values, known)

    def _pack_given(self, column, dtype, cells) -> np.ndarray:
        """Values (n,) of one column as packed numbers (n,), NaN where missing; refused unless fit saw the like."""
        missing = pd.Series(cells, dtype=object).isna().to_numpy()
        out = np.full(len(missing), np.nan)
        if missing.all():
            return out
        present = [cell for cell, absent in zip(cells, missing, strict=True) if not absent]
        if column.empty:
            raise ValueError(f"given has {_plain(present[0])!r} in column {column.name!r}, of which fit saw no cell.")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a category that is not seen is refused below
                found = column.cells(self._series_of(column, dtype, present))
                packed = column.pack(found)
        except (TypeError, ValueError, OverflowError) as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(
                f"given has {_plain(present[0])!r} in column {column.name!r}, which is not a value of it: {reason}"
            ) from None
        column.check_range(found)
        lost = found.missing | np.isnan(packed)
        if lost.any():
            raise ValueError(
                f"given has {_plain(present[lost.argmax()])!r} in column {column.name!r}, which fit did not see there."
            )
        out[~missing] = packed
        return out

    def _series_of(self, column, dtype, values):
        """A narwhals series of the fitted dtype of plain values, none missing."""
        if column.dtype in TIMES and any(isinstance(value, int | float) for value in values):
            raise TypeError("a number is no date and no duration.")
        return CONTAINERS[self.container].series(values, dtype, column.name)

    def unpack(self, values, index=None):
        table, missing = [], []
        for column, at, missing_at in zip(self.columns, self.value_at, self.indicator_at, strict=True):
            table.append(column.unpack(values[:, at] if at is not None else np.zeros(len(values))))
            missing.append(values[:, missing_at] > 0.5 if missing_at is not None else np.zeros(len(values), bool))
        cells = [Cells(*pair) for pair in zip(table, missing, strict=True)]
        return CONTAINERS[self.container].table(self.columns, self.dtypes, cells, index, self.names)

    def fill(self, X, values, index=None):
        filled = []
        for column, series, at in zip(self.columns, as_frame(X).iter_columns(), self.value_at, strict=True):
            given, missing = column.cells(series)
            cells = column.unpack(values[:, at] if at is not None else np.zeros(len(values)))
            if given.dtype.kind == "i" and cells.dtype.kind in "mM":
                given = given.view(cells.dtype)
            if given.dtype.kind == "f" and cells.dtype.kind in "iu" and (cut := ~missing & (given % 1 != 0)).any():
                raise column.refuse("integers", given[cut][0])
            if column.levels is not None:
                missing = missing | ~pd.Series(given).isin(column.levels).to_numpy()
            cells = np.where(missing, cells, given)
            # an identifier, or a column that was missing throughout, has nothing to fill in
            filled.append(Cells(cells, missing & (at is None or column.empty)))
        return CONTAINERS[self.container].table(self.columns, self.dtypes, filled, index, self.names)

    def by_column(self, cells, X):
        out = np.zeros((len(cells), len(self.columns)))
        for j, places in enumerate(zip(self.value_at, self.indicator_at, strict=True)):
            for at in places:
                out[:, j] += 0.0 if at is None else cells[:, at]
        if isinstance(X, np.ndarray):
            return out
        native = nw.from_native(X, eager_only=True)
        frame = nw.from_numpy(out, [str(j) for j in range(out.shape[1])], backend=native.implementation).to_native()
        frame.columns = X.columns
        if isinstance(X, pd.DataFrame):
            frame.index = X.index
        return frame

    def log_jacobian(self, values):
        if not self.varying:
            return self.constant_jacobian[None]
        out = np.repeat(self.constant_jacobian[None], len(values), axis=0)
        for column, at in self.varying:
            out[:, at] = column.log_jacobian(values[:, at].astype(float))
        return out


def _as_slice(indices: list[int]) -> slice | list[int]:
    """Consecutive indices as a slice, by which no copy is taken."""
    run = range(indices[0], indices[0] + len(indices)) if indices else range(0)
    return slice(run.start, run.stop) if indices == list(run) else indices


def check_frame(X, min_rows, consumer, name="X"):
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


def as_frame(X):
    """A narwhals frame of a frame, or of an array (n, n_columns)."""
    if isinstance(X, np.ndarray):
        X = pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])], copy=False)
    return nw.from_native(X, eager_only=True)


def read_cells(series, unit: str | None = None) -> Cells:
    """`Cells` of a narwhals series; unit : of the ticks of dates or durations, by default the series' own."""
    missing = series.is_null().to_numpy()
    if series.dtype in TIMES:
        return Cells(_ticks(series.to_native(), series.dtype, unit), missing)
    if series.dtype.is_integer() or series.dtype == nw.Boolean:
        return Cells(
            (series.fill_null(0 if series.dtype.is_integer() else False) if missing.any() else series).to_numpy(), missing
        )
    if series.dtype.is_numeric():  # floats and decimals
        values = series.cast(nw.Float64).to_numpy()
        return Cells(values, missing | np.isnan(values))
    values = np.empty(len(series), dtype=object)
    values[:] = series.to_list()
    missing = pd.isna(values)
    values[missing] = None
    return Cells(values, missing)


def to_floats(cells: Cells, name, table="X") -> np.ndarray:
    """Numbers as float64 (n,), NaN where missing; refused if they are infinite."""
    try:
        values = np.where(cells.missing, np.nan, cells.values).astype(float)
    except OverflowError:  # of Python ints
        values = np.array([np.inf])
    if np.isinf(values).any():
        raise ValueError(f"Input {table} contains infinity or a value too large for float64, in column {name!r}.")
    return values


def _float_cells(values: np.ndarray) -> Cells:
    """`Cells` of floats (n,)."""
    return Cells(values.astype(float), np.isnan(values))


def _column_cells(column: AbstractColumn, series) -> Cells:
    return column.cells(series)


def _ticks(native, dtype, unit: str | None) -> np.ndarray:
    """Dates or durations as int64 counts of a unit (their own by default), in UTC, anything where missing."""
    unit = "D" if dtype == nw.Date else unit or dtype.time_unit
    if not isinstance(native, pd.Series):
        native = native if dtype == nw.Date else native.dt.cast_time_unit(unit)
        return native.to_physical().fill_null(0).to_numpy().astype(np.int64)
    if getattr(dtype, "time_zone", None):
        native = native.dt.tz_convert("UTC").dt.tz_localize(None)
    native = native.astype("M8[s]") if dtype == nw.Date else native  # arrow's dates become objects beside missing ones
    values = native.to_numpy(dtype=f"{'m' if dtype == nw.Duration else 'M'}8[{unit}]", na_value=np.datetime64("NaT"))
    return values.view(np.int64)


def _pandas_frame(columns, dtypes, cells, index, names):
    built = {}
    for at, (column, dtype, (values, missing)) in enumerate(zip(columns, dtypes, cells, strict=True)):
        if missing.any():
            values = values.astype(object) if values.dtype.kind not in "mM" else values.copy()
            values[missing] = None
        values = values.astype("M8[s]") if values.dtype == "M8[D]" else values  # pandas' own dates count no days
        series = pd.Series(values, index=index, dtype=values.dtype)
        if getattr(column.dtype, "time_zone", None):
            series = series.dt.tz_localize("UTC").dt.tz_convert(column.dtype.time_zone)
        built[at] = series.astype(dtype)
    frame = pd.DataFrame(built, index=index)
    frame.columns = names
    return frame


def _polars_frame(columns, dtypes, cells, index, names):
    import polars as pl

    built = []
    for column, dtype, (values, missing) in zip(columns, dtypes, cells, strict=True):
        if values.dtype.kind in "mM":
            series = pl.Series(column.name, values.view(np.int64)).cast(dtype)
        else:
            series = pl.Series(column.name, values.tolist(), dtype=dtype, strict=False)
        built.append(series.set(pl.Series(missing), None) if missing.any() else series)
    return pl.DataFrame(built)


def _array(columns, dtypes, cells, index, names):
    out = np.empty((len(cells[0].values), len(cells)), dtype=dtypes[0])
    for j, (values, missing) in enumerate(cells):
        out[:, j] = values
        if missing.any():
            out[missing, j] = None if out.dtype == object else np.nan
    return out


def _is_kept(value, number):
    """Whether a plain value is a number that a dtype holds; floats may be rounded."""
    return not isinstance(value, str) and (isinstance(number, float) or value == number)


def _pandas_series(values, dtype, name):
    if isinstance(dtype, pd.CategoricalDtype) and not set(values) <= set(dtype.categories):
        raise ValueError(f"its categories are {list(dtype.categories[:N_SHOWN])}.")
    series = pd.Series(values, dtype=object, name=name).astype(dtype)
    # pandas takes any text for True, and cuts decimals off
    if dtype.kind in "biuf" and not all(map(_is_kept, values, series)):
        raise ValueError(f"its dtype is {dtype}.")
    return nw.from_native(series, series_only=True)


def _polars_series(values, dtype, name):
    import polars as pl

    try:
        return nw.from_native(pl.Series(name, values, dtype=dtype), series_only=True)
    except pl.exceptions.PolarsError as error:
        raise ValueError(str(error)) from None


class Container(NamedTuple):
    """How tables are put together: of columns, native dtypes, cells of each, index, names; and a series of plain values."""

    table: Callable
    series: Callable


CONTAINERS = {
    "numpy": Container(_array, _pandas_series),
    "pandas": Container(_pandas_frame, _pandas_series),
    "polars": Container(_polars_frame, _polars_series),
}


# --- images ----------------------------------------------------------------------------------------------------------


class ImageSchema(AbstractSchema):
    """Images of one shape: (n, H, W), (n, H, W, C), (n, C, H, W), or flat (n, pixels).

    Every pixel shares one centre and scale. Images of two values are yes or no. Pixels on at most 256 evenly spaced levels
    are discrete: the range of a byte, or of the data, bounds them. A missing pixel is not observed.

    Parameters
    ----------
    likelihood : str
        "auto", "gaussian" or "bernoulli".
    image_shape : tuple of int, optional
        Shape of an image where X is flat.
    """

    likelihoods = ("auto", "gaussian", "bernoulli")

    def __init__(self, likelihood="auto", image_shape=None):
        self.likelihood, self.image_shape = likelihood, image_shape

    def fit(self, X, weight):
        if self.likelihood not in self.likelihoods:
            raise ValueError(
                f"The likelihood of images must be a str among {{{', '.join(map(repr, self.likelihoods))}}}. "
                f"Got {self.likelihood!r} instead."
            )
        self.shape, self.pixel_dtype = X.shape[1:], X.dtype
        self.image_shape = self.shape if self.image_shape is None else tuple(self.image_shape)
        levels = np.unique(X)
        levels = levels[~np.isnan(levels)].astype(float) if len(levels) else levels
        byte = X.dtype == np.uint8
        self.lower, self.upper = (0.0, 255.0) if byte else value_range(levels)
        self.step = 1.0 if byte else _spacing(levels)
        if X.dtype.kind in "iub" and not self.step and self.upper - self.lower < 256:
            self.step = 1.0
        self.bounded = bool(self.step)  # the lattice's end cells hold the tails: beyond them there is nothing
        binary = len(levels) == 2
        if self.likelihood == "bernoulli" or (self.likelihood == "auto" and binary):
            self._fit_bernoulli(levels if binary else (0.0, 255.0 if byte else 1.0))
        else:
            self._fit_gaussian(X.reshape(len(X), -1), weight)
        return self

    def fill(self, X, values, index=None):
        X = X.reshape(-1, *self.shape)
        return np.where(np.isnan(X), self.unpack(values), X).astype(self.pixel_dtype)

    def by_column(self, cells, X):
        return cells.reshape(X.shape)

    def log_jacobian(self, values):
        return np.float64(self._log_jacobian)

    def _fit_bernoulli(self, levels):
        self.centre, self.scale, self.bounded = levels[0], levels[1] - levels[0], True
        self.lower, self.upper = min(self.lower, levels[0]), max(self.upper, levels[1])
        if self.lower < levels[0] or self.upper > levels[1]:
            raise ValueError(
                "The bernoulli likelihood takes pixels that are bytes, have two values, or lie in [0, 1]; "
                f"X ranges from {self.lower:g} to {self.upper:g}. Scale X, or choose likelihood='gaussian'."
            )
        n_pixels = math.prod(self.shape)
        self.variables, self._log_jacobian = [Variable("bernoulli")] * n_pixels, 0.0

    def _fit_gaussian(self, X, weight):
        seen = ~np.isnan(X)
        self.centre, self.scale = moments(X[seen].astype(float), np.broadcast_to(weight[:, None], X.shape)[seen])
        lattice = {}
        if self.step:
            lower, upper = (self.lower - self.centre) / self.scale, (self.upper - self.centre) / self.scale
            lattice = {"step": self.step / self.scale, "lower": lower, "upper": upper}
        self.variables = [Variable("gaussian", **lattice)] * X.shape[1]
        # a float on a lattice is still a density: the probability of its cell, over the cell's width
        width = self.step if self.step else self.scale
        discrete = self.step and self.pixel_dtype.kind in "iub"
        self._log_jacobian = 0.0 if discrete else -math.log(width)

    def pack(self, X):
        if self.bounded:
            self._check_bounds(X)
        values = X.reshape(len(X), -1).astype(float)
        values -= self.centre
        values /= self.scale
        return _packed(values)

    def _check_bounds(self, X):
        least, greatest = float(np.fmin.reduce(X, axis=None)), float(np.fmax.reduce(X, axis=None))
        if least < self.lower or greatest > self.upper:
            outside = least if least < self.lower else greatest
            raise ValueError(
                f"Pixels were fitted within [{self.lower:g}, {self.upper:g}], got {outside:g}. "
                "Scale X as it was scaled for fit."
            )

    def unpack(self, values, index=None):
        pixels = values * self.scale + self.centre
        if self.step:
            pixels = self.lower + ((pixels - self.lower) / self.step).round() * self.step
        if self.pixel_dtype.kind in "iub":
            pixels = pixels.round()
        return pixels.clip(self.lower, self.upper).astype(self.pixel_dtype).reshape(-1, *self.shape)


def _spacing(levels):
    """Spacing of sorted levels (k,) if they lie on at most 256 evenly spaced ones, else 0."""
    if not 2 <= len(levels) <= 256:
        return 0.0
    step = np.diff(levels).min()
    places = (levels - levels[0]) / step
    even = np.abs(places - places.round()).max() < 1e-3 and places[-1] < 256
    return float((levels[-1] - levels[0]) / places[-1].round()) if even else 0.0
