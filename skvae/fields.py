"""Columns as relations see them: amounts that are computed with, and codes that are counted. numpy and pandas only."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from skvae.containers import shown

MAX_LEVELS, MAX_SOURCE_LEVELS = 64, 10_000  # values of a column of few values, and of any that has codes
MAX_COLUMNS = 200  # among which relations of one kind are looked for; unmeasured
N_SKETCH, N_SAMPLED = 500, 2000  # rows by which candidates are picked, before all rows judge them; unmeasured
FREQUENT = 0.05  # share of rows from which one value of a column is a frequent one; unmeasured


@dataclass
class Field:
    """A column as relations see it.

    Attributes
    ----------
    name : object
    kind : {"number", "date", "duration", "category"}
    missing : (n,), bool.
    amounts : (n,), int64 or float64, anything where missing; None of a category. Dates and durations of one table count in
        one unit.
    decimals : int
        How many decimals write every amount; of those that do not end, how many mean something.
    codes : (n,), int, -1 where missing; None of a column of too many values.
    values : (k,), what codes stand for.
    discrete : bool
        Whether codes are the column's own: those of categories, booleans, and integers of few values.
    unit : str
        That the amounts of dates and durations count, else "".
    ends : bool
        Whether decimals end.
    """

    name: Any
    kind: str
    missing: np.ndarray
    amounts: Any = None
    decimals: int = 0
    codes: Any = None
    values: Any = None
    discrete: bool = False
    unit: str = ""
    ends: bool = True

    @property
    def entries(self) -> np.ndarray:
        """Amounts, or of a category its values: (n,)."""
        if self.amounts is not None:
            return self.amounts
        return np.append(np.asarray(self.values, dtype=object), [None])[self.codes]

    @property
    def n_values(self) -> int:
        """How many different entries it has."""
        return pd.Series(self.entries).nunique()

    @property
    def present(self) -> np.ndarray:
        """The amounts that are not missing."""
        return self.amounts[~self.missing] if self.missing.any() else self.amounts

    @property
    def has_holes(self) -> bool:
        """Whether some cells are missing, and some are not."""
        return bool(0 < self.missing.sum() < len(self.missing))

    @property
    def is_flag(self) -> bool:
        """Whether it holds a yes or no."""
        return self.values is not None and len(self.values) == 2 and set(self.values) == {False, True}

    @property
    def is_integer_of_few_values(self) -> bool:
        """Whether its codes stand for integers."""
        return self.amounts is not None and self.discrete and not self.is_flag

    @property
    def yes(self) -> np.ndarray:
        """Which cells of a flag are yes, (n,)."""
        return np.append(np.asarray(self.values, dtype=bool), False)[self.codes]

    @property
    def is_zero_inflated(self) -> bool:
        """Whether it holds many zeros, and nothing below."""
        if self.amounts is None or self.kind != "number" or self.is_flag:
            return False
        present = self.present
        return len(present) > 0 and present.min() == 0 and FREQUENT < (present == 0).mean() < 1 - FREQUENT / 10

    def take(self, rows: np.ndarray) -> "Field":
        """Some rows, by index."""
        amounts, codes = (None if part is None else part[rows] for part in (self.amounts, self.codes))
        return replace(self, missing=self.missing[rows], amounts=amounts, codes=codes)

    def shown(self, row: int) -> str:
        """A cell in words."""
        if self.missing[row]:
            return "missing"
        if self.codes is not None and self.amounts is None:
            return shown(self.values[self.codes[row]])
        amount = self.amounts[row]
        if self.unit:
            kind = pd.Timedelta if self.kind == "duration" else pd.Timestamp
            return str(kind(int(amount), unit=self.unit))
        return f"{amount:g}" if isinstance(amount, float) else str(amount)


Fields = Mapping[Any, Field]


def all_present(fields: Fields, names: Iterable) -> np.ndarray:
    """Which rows have a cell in every one of some columns, (n,), bool."""
    return ~np.any([fields[name].missing for name in names], axis=0)


def of_few_values(fields: Sequence[Field], most: int) -> list[Field]:
    """Fields that have codes, of at most so many values."""
    return [field for field in fields if field.codes is not None and 1 < len(field.values) <= most]


def discrete(fields: Sequence[Field], most: int) -> list[Field]:
    """Those of `of_few_values` that are coded as such."""
    return [field for field in of_few_values(fields, most) if field.discrete]


def some_rows(n: int, most: int) -> np.ndarray:
    """Rows drawn at random, the same at every call."""
    return np.arange(n) if n <= most else np.sort(np.random.RandomState(0).choice(n, most, replace=False))
