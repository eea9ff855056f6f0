"""What the columns of a table are: cells to packed numbers and back. One class a kind of column, and `KINDS`."""

import math
import re
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from skvae.containers import N_SHOWN, Cells, CellType, plain, read_cells, shown, to_floats
from skvae.curves import LEAST_SLOPE, natural_bounds
from skvae.fields import MAX_LEVELS as MAX_LEVELS_RELATED
from skvae.fields import MAX_SOURCE_LEVELS, Field
from skvae.moments import moments, value_range
from skvae.persistence import Saved
from skvae.scalings import SCALINGS, AbstractScaling, Affine, DensityScaling, Variable, heavy_values

MAX_CATEGORIES = 10_000  # unmeasured: a softmax over more takes longer than all else
FARTHEST = 1e15  # standard deviations, beyond which float32 has no squares
# rows from which a heavy value can be told (unmeasured), and from which bins beat a curve on held-out score: of integers on
# a coarse lattice or of few values, and of any integers (Adult, Ames, bike sharing, Titanic)
MIN_ROWS_HEAVY, MIN_ROWS_BINS, MIN_ROWS_SMOOTH = 50, 200, 1000
COARSE = 0.2  # standard deviations between neighbours on a lattice, up to which it may count as a continuum; unmeasured
MIN_VALUES_GRID = 10  # different ones that show the step of a grid: so many share one by chance in one of 500 tables
# share of different values at most, and steps off a grid at most, for one to be seen; unmeasured
REPEATED, OFF_GRID = 0.9, 1e-3
LAST_DAYS = -354285, 2932896  # 1000-01-01 and 9999-12-31, from 1970
# different integers that show that they are times of day: of others, three in five would end in 00 to 59
MIN_VALUES_CLOCK, LAST_MINUTE = 50, 24 * 60
MIN_IDENTIFIERS = 50  # fewer different texts may be categories; unmeasured
NEARLY_ALL = 0.9  # share of texts that are different, above which they name rows; unmeasured
MAX_LEVELS = 20  # values of a number column that count as its levels; unmeasured
UNSEEN = -np.inf  # what a category that fit did not see packs to
TICKS = {"D": 86_400 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}  # of times, in nanoseconds
N_GLANCED = 1000  # cells by which it shows that a column has too many values to code them
MAX_WHOLE = 2**53  # up to which float64 holds every integer
DIGITS = 9  # of floats whose decimals do not end


class AbstractColumn(ABC, Saved):
    """One column of a table.

    Parameters
    ----------
    name : object
    type : CellType
    """

    variable: Variable | None = None  # none: the column is not modelled
    empty = False  # whether `fit` saw missing cells only
    affine: Affine | None = None  # what packing is, if it is as simple as that

    def __init__(self, name: Any, type: CellType):
        self.name, self.type = name, type

    @staticmethod
    def likelihoods() -> tuple[str, ...]:
        """Those that the kind is known to take, beside "auto"."""
        return ()

    @classmethod
    def takes(cls, likelihood: str) -> bool:
        """Whether cells of the kind may have a likelihood."""
        return likelihood in cls.likelihoods()

    @abstractmethod
    def fit(self, values: np.ndarray, weight: np.ndarray, likelihood: str) -> None:
        """Learn from values (n,), none missing, with weight (n,); set `variable`."""

    @abstractmethod
    def unpack(self, packed: np.ndarray) -> np.ndarray:
        """Packed numbers (n,) to values (n,)."""

    def pack(self, cells: Cells) -> np.ndarray:
        """Cells to packed numbers (n,), NaN where missing, `UNSEEN` where they hold a category that fit did not see."""
        raise NotImplementedError

    def log_jacobian(self, packed: np.ndarray) -> np.ndarray | float:
        """As in `AbstractModality`, for one column (n,)."""
        return 0.0

    def field(self, cells: Cells, unit: str) -> Field | None:
        """The column as relations see it, before or after `fit`; None of one that has no part in any.

        unit : that the times of the table are counted in, a key of TICKS.
        """
        return None

    @property
    def tick(self) -> str:
        """The unit that times are counted in, a key of TICKS; "" of what is no time."""
        return ""

    def can_hold(self, amounts: np.ndarray, unit: str) -> np.ndarray:
        """Whether amounts (n,) may be those of cells: within bounds, and on a grid."""
        return np.ones(len(amounts), bool)

    def amounts(self, cells: Cells, unit: str) -> np.ndarray:
        """Cells as what relations compute with, (n,): numbers that add up, zero where missing; of categories the cells.

        unit : as in `field`.
        """
        return cells.values

    def from_amounts(self, amounts: np.ndarray, unit: str) -> np.ndarray:
        """The values (n,) of amounts, as `unpack` returns them."""
        return amounts

    def levels(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The few values that the column may hold, (k,), and the packed numbers of them, (k,); None of many."""
        return None

    def read(self, series) -> Cells:
        """Cells of a narwhals series, which must hold times where the fitted one did, and only there."""
        found, cells = read_cells(series, self.type.unit or None)
        if cells.missing.all():
            return Cells(np.zeros(len(cells.missing), dtype=np.int64), cells.missing)
        if (found.is_time or self.type.is_time) and found.kind != self.type.kind:
            raise ValueError(
                f"Column {self.name!r} was fitted with {self._fitted_with}, got dtype {series.to_native().dtype}."
            )
        return cells

    @property
    def _fitted_with(self) -> str:
        return f"{self.type.kind}s"

    def check_range(self, cells: Cells) -> None:
        """Refuse cells beyond what `fit` saw; by default, there is no beyond."""
        return

    def refuse(self, value: Any) -> ValueError:
        return ValueError(f"Column {self.name!r} was fitted with {self._fitted_with}, got {shown(value)}.")

    def _warn_unseen(self, values: np.ndarray, unseen: np.ndarray) -> None:
        """Say once that some of values (n,) are unseen (n,)."""
        if unseen.any() and not getattr(self, "_warned", False):
            self._warned = True
            warnings.warn(
                f"Column {self.name!r} holds {shown(values[unseen][0])}, which fit did not see: such cells are encoded as "
                "missing, and scored no higher than the rarest value that it saw. Further ones are not reported.",
                UserWarning,
                stacklevel=2,
            )


class BooleanColumn(AbstractColumn):
    @staticmethod
    def likelihoods():
        return ("bernoulli",)

    def fit(self, values, weight, likelihood):
        self.variable = Variable("bernoulli")

    def pack(self, cells):
        wrong = ~cells.missing & ~np.isin(cells.values.astype(object), (False, True))
        if wrong.any():
            raise self.refuse(cells.values[wrong][0])
        return np.where(cells.missing, np.nan, cells.values).astype(float)

    def unpack(self, packed):
        return packed > 0.5

    def field(self, cells, unit):
        amounts = self.amounts(cells, unit)
        codes, values = np.where(cells.missing, -1, amounts), np.array([False, True])
        return Field(self.name, "number", cells.missing, amounts, codes=codes, values=values, discrete=True)

    def amounts(self, cells, unit):
        return np.where(cells.missing, 0, cells.values).astype(np.int64)

    def from_amounts(self, amounts, unit):
        return amounts > 0

    def levels(self):
        return np.array([False, True]), np.array([0.0, 1.0])


class NumericColumn(AbstractColumn):
    """Real numbers, dates and durations, on the grid and within the bounds that `fit` saw.

    Integers are discrete. So are dates and durations: whole numbers of the coarsest unit that writes them all, counted
    from the earliest.
    """

    scaling: AbstractScaling

    @property
    def counts_time(self) -> bool:
        """Whether numbers count from a day that means nothing, so that their sign means nothing."""
        return self.type.is_time

    def counted(self, cells: Cells) -> Cells:
        """Cells as the numbers that are modelled."""
        return cells

    @staticmethod
    def likelihoods():
        return tuple(SCALINGS)

    @classmethod
    def takes(cls, likelihood):
        return likelihood not in CATEGORIES

    def fit(self, values, weight, likelihood):
        cells = self.counted(Cells(values, np.zeros(len(values), bool)))
        self.integer = cells.values.dtype.kind in "iu"
        self.origin, self.unit = _lattice(cells.values, self.counts_time) if self.integer else (0, 1)
        numbers = self._numbers(cells)
        self.lower, self.upper = value_range(numbers)
        lower, upper = (-math.inf, math.inf) if self.counts_time else natural_bounds(cells.values)
        self.bounds = (lower - self.origin) / self.unit, (upper - self.origin) / self.unit
        self.decimals = 0 if self.integer else _decimals(numbers)
        self.step, self.offset = _even_steps(numbers) if self.decimals is None else _grid(numbers, self.decimals)
        self.binary = likelihood == "auto" and _is_binary(numbers)
        if likelihood == "auto" or not len(values):
            likelihood = "bernoulli" if self.binary else _likelihood_of(numbers, self.step, self.integer)
        self.scaling = SCALINGS.get(likelihood, DensityScaling)(self.name, likelihood, self.step, self.integer, self.bounds)
        self.scaling.fit(numbers, weight)
        self.variable = self.scaling.variable
        found = np.unique(numbers)
        if self.step:  # the first and the last of the grid within the bounds
            first, last = ((bound - self.offset) / self.step for bound in self.bounds)
            lower, upper = np.ceil(first - OFF_GRID), np.floor(last + OFF_GRID)
            self.bounds = float(lower * self.step + self.offset), float(upper * self.step + self.offset)
        self.on_grid: np.ndarray | None = found if self.step and self.decimals is None else None
        self.few = found if len(found) <= MAX_LEVELS else None
        if self.scaling.affine is not None and not self.integer and not self.binary:
            self.affine = self._within_range(self.scaling.affine)

    @staticmethod
    def _within_range(affine: Affine) -> Affine:
        """The affine packing for those numbers that it neither refuses nor takes too far."""
        far, most = FARTHEST * affine.scale * (1.0 if affine.curve is None else LEAST_SLOPE), sys.float_info.max
        lower, upper = affine.centre - far, affine.centre + far
        return replace(affine, lower=max(affine.lower, lower, -most), upper=min(affine.upper, upper, most))

    @property
    def _fitted_with(self):
        return f"{self.type.kind}s" if self.type.is_time else "numbers"

    def _numbers(self, cells: Cells) -> np.ndarray:
        """Cells to float64 (n,), NaN where missing, counted from the origin."""
        values, missing = cells
        if values.dtype.kind == "O" and not missing.all():
            raise self.refuse(values[~missing][0])
        if values.dtype.kind in "iu" and self.origin:
            return np.where(missing, np.nan, _difference(values, self.origin) / self.unit)
        return (to_floats(cells, self.name) - self.origin) / self.unit

    def pack(self, cells):
        values = self._numbers(self.counted(cells))
        unseen = (values != 0) & (values != 1) & ~np.isnan(values) if self.binary else np.zeros(len(values), bool)
        self._warn_unseen(cells.values, unseen)
        packed = self.scaling.pack(np.where(unseen, np.nan, values))
        if (far := np.abs(packed) > FARTHEST).any():
            value, lower, upper = self._with_range(values[far][0])
            raise ValueError(f"Column {self.name!r} holds {value}, too far from the {lower} to {upper} that fit saw.")
        return np.where(unseen, UNSEEN, packed)

    def check_range(self, cells):
        values = self._numbers(self.counted(cells))
        beyond = (values < self.lower) | (values > self.upper)
        if beyond.any():
            value, lower, upper = self._with_range(values[beyond][0])
            raise ValueError(f"given has {value} in column {self.name!r}, beyond the {lower} to {upper} that fit saw.")

    def _with_range(self, value: float):
        """A number that is counted from the origin, and the bounds that `fit` saw, as texts in the column's own units."""
        return map(self._text, self._from_origin(np.array([value, self.lower, self.upper])))

    def _text(self, value: Any) -> str:
        if not self.type.is_time:
            return f"{value:g}" if isinstance(value, float) else str(value)
        moment = pd.Timedelta if self.type.kind == "duration" else pd.Timestamp
        return str(moment(int(value), unit=self.type.unit))

    def unpack(self, packed):
        values = self.scaling.unpack(packed)
        if self.step:
            values = np.round((values - self.offset) / self.step) * self.step + self.offset
        if self.decimals is not None:
            values = values.round(self.decimals) + 0.0  # not -0.0
        elif self.on_grid is not None:
            near = self.on_grid[_nearest(self.on_grid, values)]  # to the last digit as in the data
            values = np.where(np.abs(near - values) < 2 * OFF_GRID * self.step, near, values)
        return self._from_origin(values.clip(*self.bounds))

    def _from_origin(self, values: np.ndarray) -> np.ndarray:
        """Numbers (n,) counted from the origin to values (n,)."""
        return _sum(values, self.origin, self.unit, self.type.unsigned, self.type.bits) if self.integer else values

    def field(self, cells, unit):
        counted = np.where(cells.missing, 0, self.counted(cells).values)
        finest = TICKS[self.tick] // TICKS[unit] if self.counts_time else 1
        largest = 2**62 // finest if self.counts_time else MAX_WHOLE
        if counted.dtype.kind in "iu" and len(counted) and max(int(counted.max()), -int(counted.min())) > largest:
            return None  # sums of so large integers are not exact
        amounts = self.amounts(cells, unit)
        there = amounts[~cells.missing]
        digits, ends = (0, True) if amounts.dtype.kind in "iu" else _digits(there)
        if digits == 0 and cells.missing.any() and np.abs(amounts).max() < MAX_WHOLE:
            amounts = amounts.astype(np.int64)  # pandas holds integers as floats where some are missing
        whole, n_glanced = amounts.dtype.kind in "iu", min(N_GLANCED, len(amounts))
        field = Field(
            self.name, self.quantity, cells.missing, amounts, digits, ends=ends, unit=unit if self.counts_time else ""
        )
        if len(np.unique(amounts[:n_glanced])) < max((0.99 if whole else REPEATED) * n_glanced, 2):
            codes, values = pd.factorize(amounts, sort=True)
            if len(values) <= MAX_SOURCE_LEVELS + 1:
                field.codes, field.values = np.where(cells.missing, -1, codes), values
                field.discrete = whole and self.quantity == "number" and len(values) <= MAX_LEVELS_RELATED
        return field

    @property
    def quantity(self) -> str:
        """What amounts are of: "number", "date" or "duration"."""
        return "number" if not self.counts_time else "duration" if self.type.kind == "duration" else "date"

    def can_hold(self, amounts, unit):
        counted = amounts // (TICKS[self.tick] // TICKS[unit]) if self.counts_time else amounts
        numbers = (counted - self.origin) / self.unit
        slack = OFF_GRID * (self.step or max(1.0, abs(self.upper), abs(self.lower)) * 1e-6)
        within = (numbers >= self.bounds[0] - slack) & (numbers <= self.bounds[1] + slack)
        within &= np.abs(self.scaling.pack(np.where(within, numbers, np.nan))) <= FARTHEST
        if not self.step:
            return within
        steps = (numbers - self.offset) / self.step
        return within & (np.abs(steps - np.round(steps)) < OFF_GRID)

    def amounts(self, cells, unit):
        values, missing = self.counted(cells)
        values = np.where(missing, 0, values)
        if self.counts_time:
            return values.astype(np.int64) * (TICKS[self.tick] // TICKS[unit])
        if values.dtype.kind in "iu" and not (values.size and values.max() > 2**62):
            return values.astype(np.int64)
        return values.astype(float)

    @property
    def tick(self):
        return self.type.unit if self.counts_time else ""

    def from_amounts(self, amounts, unit):
        if self.counts_time:
            amounts = amounts // (TICKS[self.tick] // TICKS[unit])
        if self.integer:
            return self._from_origin((amounts - self.origin) / self.unit)
        return amounts.astype(float) if self.decimals is None else amounts.round(self.decimals) + 0.0

    def log_jacobian(self, packed):
        return self.scaling.log_jacobian(packed)

    def levels(self):
        if self.few is None or not len(self.few):
            return None
        return self._from_origin(self.few), self.scaling.pack(self.few)


class CalendarColumn(NumericColumn):
    """Integers that are dates, 20261125 for 25 November 2026: they are counted in days, so that every draw is a date."""

    counts_time = True

    @property
    def tick(self):
        return "D"

    @staticmethod
    def holds(values: np.ndarray) -> bool:
        """Whether integers (n,) are dates: all of them, and enough different ones for that to be no chance."""
        return len(np.unique(values)) >= MIN_VALUES_GRID and not np.isnat(_days(values)).any()

    @property
    def _fitted_with(self):
        return "dates as integers, such as 20261125"

    def counted(self, cells):
        values = to_floats(Cells(cells.values, cells.missing), self.name)
        days = _days(values)
        if (wrong := np.isnat(days) & ~cells.missing).any():
            raise self.refuse(cells.values[wrong][0])
        return Cells(np.where(cells.missing, 0, days.astype(np.int64)), cells.missing)

    def _from_origin(self, values):
        days = super()._from_origin(values).clip(*LAST_DAYS).astype("datetime64[D]")
        months = days.astype("datetime64[M]")
        year, month = np.divmod(months.astype(np.int64) + 12 * 1970, 12)
        return year * 10_000 + (month + 1) * 100 + (days - months).astype(np.int64) + 1


class ClockColumn(NumericColumn):
    """Integers that are times of day, 1745 for a quarter to six: they are counted in minutes, so that every draw is one."""

    @staticmethod
    def holds(values: np.ndarray) -> bool:
        """Whether integers (n,) are times of day: all of them, and enough different ones for that to be no chance."""
        found = np.unique(values)
        return len(found) >= MIN_VALUES_CLOCK and found[-1] >= 1000 and not _is_no_clock(found).any()

    @property
    def _fitted_with(self):
        return "times of day as integers, such as 1745"

    def fit(self, values, weight, likelihood):
        super().fit(values, weight, likelihood)
        self.bounds = max(self.bounds[0], 0.0), min(self.bounds[1], float(LAST_MINUTE))

    def counted(self, cells):
        values = to_floats(Cells(cells.values, cells.missing), self.name)
        wrong = _is_no_clock(values) & ~cells.missing
        if wrong.any():
            raise self.refuse(cells.values[wrong][0])
        hours, minutes = np.divmod(np.where(cells.missing, 0, values).astype(np.int64), 100)
        return Cells(60 * hours + minutes, cells.missing)

    def _from_origin(self, values):
        hours, minutes = np.divmod(super()._from_origin(values).clip(0, LAST_MINUTE), 60)
        return (100 * hours + minutes).astype(float if self.type.kind == "float" else np.int64)


class IdentifierColumn(AbstractColumn):
    """Names of rows. Not modelled; new ones are made in kind, and never the same twice.

    Integers continue to count. So do texts of one prefix and a number; other texts become the column's name and a number.
    """

    def fit(self, values, weight, likelihood):
        self.next, self.prefix, self.digits = 1, f"{self.name}-", 0
        self.integer = values.dtype.kind in "iu"
        if self.integer:
            self.next = int(values.max(initial=0)) + 1
            return
        parts = [re.fullmatch(r"(.*?)(\d{1,18})", str(value), re.DOTALL) for value in values]
        found = [part.groups() for part in parts if part]
        if found and len(found) == len(values) and len({prefix for prefix, _ in found}) == 1:
            self.prefix, self.digits = found[0][0], min(len(number) for _, number in found)
            self.next = max(int(number) for _, number in found) + 1

    def pack(self, cells):
        return np.zeros(len(cells.values))

    def unpack(self, packed):
        count = np.arange(self.next, self.next + len(packed))
        self.next += len(packed)
        if self.integer:
            return count
        return np.array([f"{self.prefix}{number:0{self.digits}d}" for number in count], dtype=object)


class CategoricalColumn(AbstractColumn):
    """One of the values that `fit` saw: strings, numbers, booleans, or whatever a categorical dtype holds."""

    @staticmethod
    def likelihoods():
        return tuple(CATEGORIES)

    def fit(self, values, weight, likelihood):
        found = pd.unique(values)
        if len(found) > MAX_CATEGORIES:
            raise ValueError(
                f"Column {self.name!r} holds {len(found)} distinct values, more than the {MAX_CATEGORIES} that can be "
                f"modelled as categories. Drop it (X.drop(columns=[{self.name!r}])), group its rare values, or, if it "
                f"identifies rows, set likelihood={{{self.name!r}: 'identifier'}}."
            )
        in_order = self._in_order(found)
        self.categories = np.fromiter(in_order, dtype=values.dtype, count=len(in_order))
        # the only category has no order
        likelihood = likelihood if likelihood in CATEGORIES and len(self.categories) > 1 else "categorical"
        self.variable = CATEGORIES[likelihood](self._codes(values), weight, max(1, len(self.categories)))

    def _in_order(self, found: np.ndarray) -> list:
        """Values (k,) in the order of the dtype's levels, else sorted, numbers before texts."""
        if self.type.levels is not None:
            seen = set(found)
            return [level for level in self.type.levels if level in seen]
        return sorted(found, key=lambda value: (isinstance(value, str), value))

    def _codes(self, values: np.ndarray) -> np.ndarray:
        """Places (n,) of values (n,) among the categories, -1 of the others."""
        index = pd.Index(self.categories, dtype=self.categories.dtype, tupleize_cols=False)
        try:
            found = pd.Index(values, dtype=self.categories.dtype, tupleize_cols=False)
            return index.get_indexer(found).astype(float)
        except TypeError:  # what has no hash is no category
            wrong = next(value for value in values if not isinstance(value, Hashable))
            raise self.refuse(wrong) from None
        except ValueError:  # texts are none of categories that are numbers
            return self._codes_one_by_one(values)

    def _codes_one_by_one(self, values: np.ndarray) -> np.ndarray:
        place = {plain(category): code for code, category in enumerate(self.categories)}
        return np.array([place.get(plain(value), -1) for value in values], dtype=float)

    @property
    def _fitted_with(self):
        return "categories"

    def pack(self, cells):
        codes = np.where(cells.missing, -1, self._codes(cells.values))
        unseen = (codes < 0) & ~cells.missing
        self._warn_unseen(cells.values, unseen)
        return np.where(unseen, UNSEEN, np.where(cells.missing, np.nan, codes))

    def check_range(self, cells):
        unseen = (self._codes(cells.values) < 0) & ~cells.missing
        if unseen.any():
            listed = ", ".join(shown(category) for category in self.categories[:N_SHOWN])
            raise ValueError(
                f"given has {shown(cells.values[unseen][0])} in column {self.name!r}, which fit did not see there. "
                f"It saw {listed}{', ...' if len(self.categories) > N_SHOWN else ''}."
            )

    def unpack(self, packed):
        if len(self.categories) == 0:
            return np.full(len(packed), None)
        return self.categories[packed.astype(int)]

    def field(self, cells, unit):
        known = ~cells.missing
        if not all(isinstance(value, Hashable) for value in cells.values[known][:N_GLANCED]):
            return None
        codes = np.full(len(known), -1)
        codes[known], values = pd.factorize(cells.values[known])
        if len(values) > MAX_SOURCE_LEVELS:
            return None
        return Field(self.name, "category", cells.missing, codes=codes, values=np.asarray(values), discrete=True)

    def levels(self):
        return self.categories, np.arange(float(len(self.categories)))


def _unordered(codes: np.ndarray, weight: np.ndarray, size: int) -> Variable:
    return Variable("categorical", size, coded=True, unseen=1 / (len(codes) + 1))


def _ordered(codes: np.ndarray, weight: np.ndarray, size: int) -> Variable:
    centre, scale = moments(codes, weight)
    return Variable("ordinal", size, centre=centre, scale=scale, unseen=1 / (len(codes) + 1))


# what the model must know of codes (n,) with weight (n,) below a size, by likelihood
CATEGORIES: dict[str, Callable] = {"categorical": _unordered, "ordinal": _ordered}

# by what the cells of a column are (`CellType.kind`)
KINDS: dict[str, type[AbstractColumn]] = {
    "boolean": BooleanColumn,
    "integer": NumericColumn,
    "float": NumericColumn,
    "decimal": NumericColumn,
    "date": NumericColumn,
    "datetime": NumericColumn,
    "duration": NumericColumn,
    "text": CategoricalColumn,
    "category": CategoricalColumn,
    "object": CategoricalColumn,
    "null": CategoricalColumn,
}


# what numbers may stand for, by what they are: pandas holds integers as floats where some are missing
READINGS: dict[str, tuple] = {"integer": (CalendarColumn, ClockColumn), "float": (ClockColumn,)}


def new_column(
    name: Any, found: CellType, values: np.ndarray, likelihood: str = "auto", category: bool = False
) -> AbstractColumn:
    """An unfitted column for values (n,), none missing; category : whether the user says that they are categories."""
    if likelihood == "identifier":
        if found.kind not in ("integer", "text"):
            raise ValueError(f"likelihood='identifier' of column {name!r} takes integers or strings, got {found.kind}s.")
        return IdentifierColumn(name, found)
    if category:
        return CategoricalColumn(name, found)
    if likelihood == "auto" and found.kind in READINGS:
        reading = next((kind for kind in READINGS[found.kind] if kind.holds(values)), None)
        if reading is not None:
            return reading(name, found)
    names_rows = likelihood == "auto" and found.kind == "text" and are_identifiers(values)
    return (IdentifierColumn if names_rows else KINDS[found.kind])(name, found)


def _is_no_clock(values: np.ndarray) -> np.ndarray:
    """Which numbers (n,) are no times of day such as 1745, from 0 to 2400."""
    return ~((values >= 0) & (values <= 2400) & (values % 100 < 60) & (values == np.floor(values)))


def _days(values: np.ndarray) -> np.ndarray:
    """Numbers (n,) such as 20261125 as days, datetime64; NaT where they are no date from 1000 to 9999."""
    eight_digits = (values >= 10_000_000) & (values < 100_000_000) & (values == np.floor(values))
    texts = pd.Series(np.where(eight_digits, values, 0).astype(np.int64)).astype(str)
    return pd.to_datetime(texts, format="%Y%m%d", errors="coerce").to_numpy().astype("datetime64[D]")


def are_identifiers(texts: np.ndarray) -> bool:
    """Whether texts (n,), none missing, name rows: nearly all of them are different."""
    return len(texts) >= MIN_IDENTIFIERS and len(pd.unique(texts)) > NEARLY_ALL * len(texts)


def _is_binary(values: np.ndarray) -> bool:
    """Whether numbers (n,) are a yes or no under another name: 0 and 1, neither so rare that a third value may follow."""
    found, counts = np.unique(values, return_counts=True)
    return np.array_equal(found, (0, 1)) and counts.min() >= max(3, 0.01 * len(values))


def _likelihood_of(values: np.ndarray, spacing: float, integer: bool) -> str:
    """The likelihood of numbers (n,) on a lattice of a spacing, 0 for none; integer : whether cells have a probability.

    A smooth column of few rows is best off with normal scores, by held-out score: bins want rows to be counted from. With
    many, they follow any shape.
    """
    if not len(values):
        return "gaussian"
    n, deviation = len(values), moments(values, np.ones(len(values)))[1]
    coarse = spacing > COARSE * deviation
    if integer and n >= MIN_ROWS_SMOOTH:
        return "histogram"
    if _has_heavy_values(values) or (integer and coarse and n >= MIN_ROWS_BINS):
        return "histogram"
    return "gaussian" if integer and coarse else "normal_scores"


def _has_heavy_values(values: np.ndarray) -> bool:
    """Whether numbers (n,) have few values, or one much heavier than those beside it (Adult, Ames, bikes, Titanic)."""
    if len(values) < MIN_ROWS_HEAVY:
        return False
    found, counts = np.unique(values, return_counts=True)
    heavy = heavy_values(found, counts, 4, 0.05)
    few = len(values) >= MIN_ROWS_BINS and len(counts) <= max(20, len(values) // 20)
    return few or bool(heavy.any())


def _digits(values: np.ndarray) -> tuple[int, bool]:
    """How many decimals numbers (n,) have, and whether they end; of those that do not, how many mean something."""
    if (decimals := _decimals(values)) is not None:
        return decimals, True
    with np.errstate(over="ignore"):
        greatest, single = np.abs(values).max(), np.array_equal(values.astype(np.float32), values)
    return (DIGITS // 2 if single else DIGITS) - int(np.ceil(np.log10(max(greatest, 1e-300)))), False


def _decimals(values: np.ndarray) -> int | None:
    """The fewest decimals, up to 6, that write every value (n,) exactly; None where they do not suffice."""
    with np.errstate(over="ignore", invalid="ignore"):
        single = values.astype(np.float32)
        values = single if np.array_equal(single, values) else values  # 0.1 in float32 is 0.1 to float32 only
        few = values[:N_GLANCED]
        least = next((d for d in range(7) if np.array_equal(few.round(d), few)), 7)
        return next((d for d in range(least, 7) if np.array_equal(values.round(d), values)), None)


def _grid(values: np.ndarray, decimals: int) -> tuple[float, float]:
    """The step and the offset of the coarsest grid that numbers (n,) of so many decimals lie on: prices end in .99."""
    unit = 10.0**-decimals
    counts = np.unique(np.round(values / unit)) if len(values) and np.abs(values).max() < 2**53 * unit else np.zeros(0)
    if len(counts) < MIN_VALUES_GRID:
        return unit, 0.0
    step = int(np.gcd.reduce(np.diff(counts).astype(np.int64)))
    return step * unit, float(counts[0] % step) * unit


def _even_steps(values: np.ndarray) -> tuple[float, float]:
    """The step and the offset of a grid that numbers (n,) lie on which repeat, but have too many decimals: ages that were
    standardised, say. Zeros where there is none.
    """
    found = np.unique(values)
    if not MIN_VALUES_GRID <= len(found) <= REPEATED * len(values):
        return 0.0, 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        gaps = np.diff(found)
        steps = np.round((found[-1] - found[0]) / gaps[gaps > 1e-9 * gaps.max()].min())
        step = (found[-1] - found[0]) / max(steps, 1.0)
        counts = (found - found[0]) / step
        return (step, found[0]) if np.abs(counts - np.round(counts)).max() < OFF_GRID else (0.0, 0.0)


def _nearest(found: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Which of found (k,), ascending, is nearest to each of values (n,): (n,)."""
    right = np.searchsorted(found, values).clip(1, len(found) - 1)
    return np.where(values - found[right - 1] < found[right] - values, right - 1, right)


def _lattice(values: np.ndarray, is_time: bool) -> tuple[int, int]:
    """Origin and unit to count whole numbers (n,) from, so that float64 holds the counts."""
    if len(values) == 0:
        return 0, 1
    lower, upper = int(values.min()), int(values.max())
    if not is_time:
        return (0, 1) if max(-lower, upper) < 2**53 else (lower, 1)
    return lower, int(np.gcd.reduce((values - lower).astype(np.uint64))) or 1


def _difference(values: np.ndarray, origin: int) -> np.ndarray:
    """values (n,), 64-bit integers, less the origin, as float64: exact up to 2^53 whatever the size of either."""
    unsigned, zero = values.astype(np.uint64), np.uint64(origin % 2**64)  # arithmetic modulo 2^64 is exact here
    return np.where(values >= origin, (unsigned - zero).astype(float), -(zero - unsigned).astype(float))


def _sum(counts: np.ndarray, origin: int, unit: int, unsigned: bool, bits: int) -> np.ndarray:
    """origin + unit * counts (n,) in 64-bit integers: the nearest within the range of those of so many bits."""
    least, greatest = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    beyond = np.abs(counts) >= 2.0**64
    size = np.where(beyond, 0.0, np.abs(counts)).astype(np.uint64)
    size[beyond] = 2**64 - 1
    up = np.minimum(size, np.uint64((greatest - origin) // unit)) * np.uint64(unit)
    down = np.minimum(size, np.uint64((origin - least) // unit)) * np.uint64(unit)
    zero = np.uint64(origin % 2**64)  # arithmetic modulo 2^64 is exact here
    total = np.where(counts < 0, zero - down, zero + up)
    return total if unsigned else total.view(np.int64)
