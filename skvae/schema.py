"""What the data look like: frames, arrays and images to packed arrays and back. No torch.

A schema is fitted once. It then packs any rows of the same form into one float array with a mask of what was observed,
says what each packed column is (`Variable`), and unpacks such an array into the container, the columns, the dtypes, the
categories, the grids and the bounds of the fit.
"""

import math
import numbers
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd


class Variable(NamedTuple):
    """What the model must know of one packed column."""

    likelihood: str  # a key of LIKELIHOODS
    size: int = 0  # number of categories, whose codes the cells are; 0: the cells are numbers
    step: float = 0.0  # spacing of the lattice that discrete numbers lie on, in packed units; 0: a continuum
    lower: float = -math.inf  # bounds of that lattice, in packed units
    upper: float = math.inf
    floor: float = 0.01  # the smallest scale of a density, in packed units


class Packed(NamedTuple):
    """Rows as numbers: values (n, n_variables), float64, zero where missing; observed the same, bool, or None for all."""

    values: np.ndarray
    observed: np.ndarray | None


def _packed(values):
    """`Packed` of values (n, n_variables) with NaN for missing; written in place."""
    missing = np.isnan(values)
    if not missing.any():
        return Packed(values, None)
    values[missing] = 0.0
    return Packed(values, ~missing)


class AbstractSchema(ABC):
    """The form of a table or of images.

    Attributes, after `fit`
    -----------------------
    variables : list of Variable
        Packed columns; numbers before codes, and variables of one likelihood side by side.
    log_jacobian : ndarray of shape (n_variables,)
        log |d packed / d original|: added to a density in packed units, it gives the density in the data's own.
    dtype : dtype
        float32 where the data have no more than its precision, else float64: what scores and latents come in.
    """

    variables: list[Variable]
    log_jacobian: np.ndarray
    dtype: np.dtype

    @abstractmethod
    def fit(self, X, weight):
        """Learn the form of X. X : (n, ...); weight : (n,), all positive. Returns self."""

    @abstractmethod
    def pack(self, X):
        """Rows of the fitted form to `Packed`."""

    @abstractmethod
    def unpack(self, values, index=None):
        """Back to the fitted container. values : (n, n_variables); index : the pandas index of the rows, if any."""


# --- columns ---------------------------------------------------------------------------------------------------------


class AbstractColumn(ABC):
    """One column of a table: cells (n,) to numbers and back.

    Cells are float64 with NaN for missing where the column's dtype is a number or a boolean, else objects with None.
    """

    likelihoods: tuple[str, ...]  # that the kind can take; the first is its own
    variable: Variable
    log_jacobian = 0.0

    def __init__(self, name, dtype):
        self.name, self.dtype = name, dtype  # the dtype as narwhals names it

    @abstractmethod
    def matches(self, cells):
        """Whether the kind fits the column's dtype and its cells (n,), none missing."""

    @abstractmethod
    def fit(self, cells, weight, likelihood):
        """Learn from cells (n,), none missing, with weight (n,); set `variable`."""

    @abstractmethod
    def pack(self, cells):
        """Cells (n,) to numbers (n,), NaN where missing."""

    @abstractmethod
    def unpack(self, values):
        """Numbers (n,) to cells (n,)."""

    def refuse(self, fitted_with, cell):
        return ValueError(f"Column {self.name!r} was fitted with {fitted_with}, got {_plain(cell)!r}.")


class BooleanColumn(AbstractColumn):
    likelihoods = ("bernoulli",)

    def matches(self, cells):
        return self.dtype == nw.Boolean or _all_are((bool, np.bool_), self.dtype, cells)

    def fit(self, cells, weight, likelihood):
        self.variable = Variable("bernoulli")

    def pack(self, cells):
        known = ~pd.isna(cells)
        if (wrong := known & ~np.isin(cells.astype(object), (False, True))).any():
            raise self.refuse("booleans", cells[wrong][0])
        return np.where(known, cells, np.nan).astype(float)

    def unpack(self, values):
        return values > 0.5


class NumericColumn(AbstractColumn):
    """Real numbers on the decimal grid and within the bounds that `fit` saw. Integers are discrete."""

    likelihoods = ("gaussian", "bernoulli")

    def matches(self, cells):
        return self.dtype.is_numeric() or _all_are(numbers.Real, self.dtype, cells)

    def fit(self, cells, weight, likelihood):
        self.integer = self.dtype.is_integer() or _all_are(numbers.Integral, self.dtype, cells)
        cells = self._numbers(cells)
        self.lower, self.upper = _range(cells)
        self.decimals = _decimals(cells)
        self.binary = likelihood == "auto" and _is_binary(cells)
        likelihood = "bernoulli" if self.binary else likelihood
        self.centre, self.scale = _moments(cells, weight) if likelihood != "bernoulli" else (0.0, 1.0)
        if likelihood == "bernoulli":
            self._check_shares(cells)
            self.variable = Variable("bernoulli")
            return
        step = 1 / self.scale if self.integer else 0.0
        # on a lattice much finer than the spread, the mass of a cell is its density times the step
        self.variable = Variable("gaussian", step=step if step > 0.02 else 0.0)
        self.log_jacobian = 0.0 if self.variable.step else -math.log(self.scale)

    def _numbers(self, cells):
        for cell in cells if cells.dtype == object else ():
            if not isinstance(cell, numbers.Real | None):
                raise self.refuse("numbers", cell)
        values = cells.astype(float)
        if np.isinf(values).any():
            raise ValueError(f"Input X contains infinity or a value too large for float64, in column {self.name!r}.")
        return values

    def _check_shares(self, values):
        if (wrong := (values < 0) | (values > 1)).any():
            raise ValueError(
                f"The bernoulli likelihood of column {self.name!r} takes values in [0, 1], got {values[wrong][0]:g}. "
                "Scale the column, or give it another likelihood."
            )

    def pack(self, cells):
        values = self._numbers(cells)
        if self.binary:
            unseen = (values != 0) & (values != 1) & ~np.isnan(values)
            _warn_unseen(self.name, values, unseen)
            values = np.where(unseen, np.nan, values)
        elif self.variable.likelihood == "bernoulli":
            self._check_shares(values)
        return (values - self.centre) / self.scale

    def unpack(self, values):
        values = values * self.scale + self.centre
        if self.decimals is not None:
            values = values.round(self.decimals)
        values = values.clip(self.lower, self.upper)
        return values.astype(np.int64) if self.integer else values


class CategoricalColumn(AbstractColumn):
    """One of the values that `fit` saw: strings, numbers, booleans. A value that it did not see packs as missing."""

    likelihoods = ("categorical",)

    def matches(self, cells):
        strings = self.dtype in (nw.String, nw.Categorical, nw.Enum)
        return strings or _all_are((str, numbers.Real, np.bool_), self.dtype, cells)

    def fit(self, cells, weight, likelihood):
        self.categories = np.array(sorted(pd.unique(cells), key=lambda c: (isinstance(c, str), c)), dtype=cells.dtype)
        self.variable = Variable("categorical", size=max(1, len(self.categories)))

    def pack(self, cells):
        index = pd.Index(self.categories, dtype=self.categories.dtype)
        codes = index.get_indexer(pd.Index(cells, dtype=self.categories.dtype)).astype(float)
        codes[codes < 0] = np.nan
        _warn_unseen(self.name, cells, np.isnan(codes) & ~pd.isna(cells))
        return codes

    def unpack(self, values):
        if len(self.categories) == 0:
            return np.full(len(values), None)
        return self.categories[values.astype(int)]


# the first that matches takes the column
KINDS: dict[str, Callable[..., AbstractColumn]] = {
    "boolean": BooleanColumn,
    "number": NumericColumn,
    "category": CategoricalColumn,
}


def _plain(cell):
    return cell.item() if isinstance(cell, np.generic) else cell


def _all_are(types, dtype, cells):
    """Whether a column of Python objects holds nothing but these types."""
    return dtype == nw.Object and all(isinstance(cell, types) for cell in cells)


def _warn_unseen(name, cells, unseen):
    """cells, unseen : (n,)."""
    if unseen.any():
        warnings.warn(
            f"Column {name!r} holds {_plain(cells[unseen][0])!r}, which fit did not see: such cells are treated as missing.",
            UserWarning,
            stacklevel=2,
        )


def _is_binary(values):
    """Whether numbers (n,) are a yes or no under another name: 0 and 1, neither so rare that a third value may follow."""
    found, counts = np.unique(values, return_counts=True)
    return np.array_equal(found, (0, 1)) and counts.min() >= max(3, 0.01 * len(values))


def _decimals(values):
    """The fewest decimals, up to 6, that write every value (n,) exactly; None where they do not suffice."""
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    values = single if np.array_equal(single, values) else values  # 0.1 in float32 is 0.1 to float32 only
    return next((d for d in range(7) if np.array_equal(values.round(d), values)), None)


def _range(values: np.ndarray) -> tuple[float, float]:
    """Least and greatest of values (n,); zeros where there are none."""
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)


def _moments(values: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Weighted mean and standard deviation of values (n,); deviation 1 where they do not vary."""
    lower, upper = _range(values)
    if lower == upper:
        return lower, 1.0
    mean = np.average(values, weights=weight)
    return float(mean), math.sqrt(np.average((values - mean) ** 2, weights=weight))


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

    def __init__(self, likelihood="auto", categorical=()):
        self.likelihood, self.categorical = likelihood, categorical

    def fit(self, X, weight):
        frame = self._frame(X)
        self.container = "numpy" if isinstance(X, np.ndarray) else str(frame.implementation)
        self.names = frame.columns
        native = frame.to_native()
        self.dtypes = [X.dtype] if self.container == "numpy" else [native[name].dtype for name in self.names]
        single = all(str(dtype) in ("Float32", "Float16") for dtype in frame.schema.values())
        self.dtype = np.dtype(np.float32 if single else np.float64)
        if isinstance(self.likelihood, dict) and (unknown := set(self.likelihood) - set(self.names)):
            raise ValueError(f"likelihood has a key {unknown.pop()!r} which is not a column of X. Columns: {self.names}.")
        self.columns, indicators = [], []
        for series in frame.iter_columns():
            cells = _cells(series)
            missing = pd.isna(cells)
            self.columns.append(self._fit_column(series, cells[~missing], weight[~missing]))
            indicators.append(missing.any())
        self._lay_out(indicators)
        return self

    def _fit_column(self, series, cells, weight):
        kinds = [KINDS["category"]] if series.name in self.categorical else KINDS.values()
        column = _new_column(kinds, series, cells)
        wanted = self.likelihood.get(series.name, "auto") if isinstance(self.likelihood, dict) else self.likelihood
        if wanted not in column.likelihoods:
            if isinstance(self.likelihood, dict) and wanted != "auto":
                raise ValueError(
                    f"The likelihood of column {series.name!r} must be a str among {{'auto', "
                    f"{', '.join(map(repr, column.likelihoods))}}}. Got {wanted!r} instead."
                )
            wanted = "auto"
        column.fit(cells, weight, wanted)
        return column

    def _lay_out(self, indicators):
        """Order the packed columns; indicators : bool of each column, whether its missing cells are modelled."""
        slots = [(column.variable, column.log_jacobian, j, False) for j, column in enumerate(self.columns)]
        slots += [(Variable("bernoulli"), 0.0, j, True) for j, missing in enumerate(indicators) if missing]
        slots.sort(key=lambda slot: (slot[0].size > 0, slot[0].likelihood))
        self.variables = [variable for variable, *_ in slots]
        self.log_jacobian = np.array([jacobian for _, jacobian, *_ in slots])
        place = {(j, indicator): at for at, (_, _, j, indicator) in enumerate(slots)}
        self.value_at = [place[j, False] for j in range(len(self.columns))]
        self.indicator_at = [place.get((j, True)) for j in range(len(self.columns))]

    def pack(self, X):
        frame = self._frame(X)
        values = np.empty((len(frame), len(self.variables)))
        for j, (column, series) in enumerate(zip(self.columns, frame.iter_columns(), strict=True)):
            cells = _cells(series)
            values[:, self.value_at[j]] = column.pack(cells)
            if self.indicator_at[j] is not None:
                values[:, self.indicator_at[j]] = pd.isna(cells)
        return _packed(values)

    def unpack(self, values, index=None):
        cells = []
        for j, column in enumerate(self.columns):
            column_cells = column.unpack(values[:, self.value_at[j]])
            if self.indicator_at[j] is not None and (missing := values[:, self.indicator_at[j]] > 0.5).any():
                column_cells = column_cells.astype(object)
                column_cells[missing] = None
            cells.append(column_cells)
        return CONTAINERS[self.container](self.names, self.dtypes, cells, index)

    @staticmethod
    def _frame(X):
        if isinstance(X, np.ndarray):
            X = pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])], copy=False)
        return nw.from_native(X, eager_only=True)


def _cells(series):
    """Cells (n,) of a narwhals series: float64 with NaN for missing, or objects with None."""
    if series.dtype.is_numeric() or series.dtype == nw.Boolean:
        return series.cast(nw.Float64).to_numpy()
    cells = np.empty(len(series), dtype=object)
    cells[:] = series.to_list()
    cells[pd.isna(cells)] = None
    return cells


def _new_column(kinds, series, cells):
    """A column of the first kind that matches a narwhals series; cells (n,) : its cells that are not missing."""
    for kind in kinds:
        column = kind(series.name, series.dtype)
        if column.matches(cells) or len(kinds) == 1:
            return column
    wrong = next((c for c in cells if not isinstance(c, str | numbers.Real | np.bool_)), None)
    if series.dtype == nw.Object:
        raise TypeError(f"Column {series.name!r}: argument must be a string or a number, not {type(wrong).__name__!r}.")
    raise TypeError(
        f"Column {series.name!r} has dtype {series.dtype}, which is not supported. Convert it to numbers or strings, "
        "or drop it."
    )


def _pandas_frame(names, dtypes, cells, index):
    columns = {}
    for at, (dtype, column) in enumerate(zip(dtypes, cells, strict=True)):
        columns[at] = pd.Series(column, index=index, dtype=column.dtype).astype(dtype)
    frame = pd.DataFrame(columns, index=index)
    frame.columns = names
    return frame


def _polars_frame(names, dtypes, cells, index):
    import polars as pl

    columns = zip(names, cells, dtypes, strict=True)
    return pl.DataFrame([pl.Series(name, column.tolist(), dtype=dtype, strict=False) for name, column, dtype in columns])


def _array(names, dtypes, cells, index):
    columns = [np.where(pd.isna(c), np.nan, c) if c.dtype.kind == "O" and dtypes[0].kind != "O" else c for c in cells]
    out = np.empty((len(cells[0]), len(cells)), dtype=dtypes[0])
    for j, column in enumerate(columns):
        out[:, j] = column
    return out


# how a table is put together again: names, dtypes, cells of each column, index
CONTAINERS = {"numpy": _array, "pandas": _pandas_frame, "polars": _polars_frame}


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
        self.dtype = np.dtype(np.float32 if X.dtype in (np.float16, np.float32) else np.float64)
        levels = np.unique(X)
        levels = levels[~np.isnan(levels)].astype(float) if len(levels) else levels
        byte = X.dtype == np.uint8
        self.lower, self.upper = (0.0, 255.0) if byte else _range(levels)
        self.step = 1.0 if byte else _spacing(levels)
        binary = len(levels) == 2
        if self.likelihood == "bernoulli" or (self.likelihood == "auto" and binary):
            self._fit_bernoulli(levels if binary else (0.0, 255.0 if byte else 1.0))
        else:
            self._fit_gaussian(X.reshape(len(X), -1), weight)
        return self

    def _fit_bernoulli(self, levels):
        self.centre, self.scale = levels[0], levels[1] - levels[0]
        if self.lower < self.centre or self.upper > levels[1]:
            raise ValueError(
                "The bernoulli likelihood takes pixels that are bytes, have two values, or lie in [0, 1]; "
                f"X ranges from {self.lower:g} to {self.upper:g}. Scale X, or choose likelihood='gaussian'."
            )
        n_pixels = math.prod(self.shape)
        self.variables, self.log_jacobian = [Variable("bernoulli")] * n_pixels, np.zeros(n_pixels)

    def _fit_gaussian(self, X, weight):
        pixels = np.ma.masked_invalid(X)
        self.centre = float(np.ma.average(pixels.mean(1), weights=weight))
        variance = float(np.ma.average(((pixels - self.centre) ** 2).mean(1), weights=weight))
        self.scale = math.sqrt(variance) or 1.0
        lattice = {}
        if self.step:
            lower, upper = (self.lower - self.centre) / self.scale, (self.upper - self.centre) / self.scale
            lattice = {"step": self.step / self.scale, "lower": lower, "upper": upper}
        self.variables = [Variable("gaussian", **lattice)] * X.shape[1]
        # a float on a lattice is still a density: the probability of its cell, over the cell's width
        width = self.step if self.step else self.scale
        jacobian = 0.0 if self.step and self.pixel_dtype.kind in "iu" else -math.log(width)
        self.log_jacobian = np.full(X.shape[1], jacobian)

    def pack(self, X):
        values = X.reshape(len(X), -1).astype(float)
        if (outside := (values < self.lower) | (values > self.upper)).any() and self._bounded:
            raise ValueError(
                f"Pixels were fitted within [{self.lower:g}, {self.upper:g}], got {values[outside][0]:g}. "
                "Scale X as it was scaled for fit."
            )
        return _packed((values - self.centre) / self.scale)

    @property
    def _bounded(self):
        return self.variables[0].likelihood == "bernoulli"

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
