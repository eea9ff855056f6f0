"""Equations: a number, date or duration that others give, up to a few constants. Sums and the like are kinds of them."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from skvae.abstract_relation import AbstractRelation
from skvae.fields import FREQUENT, MAX_LEVELS, N_SAMPLED, Field, Fields, all_present, some_rows
from skvae.significance import LEAST_OFFSET, LEAST_SHARE, MOST_BREAKS, against_chance, entropy

MAX_OFFSETS = 6  # constants beside an equation; unmeasured
MOST_OFFSETS = 0.75  # share of rows that several constants account for; unmeasured
OUTSTANDING = 4  # times as many rows as beside it an offset must have, for a sum that some rows break; unmeasured
LEAST_GAIN = 0.5  # nats a row that an equation must save which some rows break; unmeasured


class Equation(AbstractRelation):
    """A number that others give: target = f(sources) + one of a few offsets, within the rounding of the target.

    Attributes
    ----------
    offsets : tuple of numbers
        The most frequent first.
    digits : int
        Decimals that the target is rounded to.
    unit : str
        Of offsets that are durations, else "".
    ends : bool
        Whether the decimals of the target end.
    """

    needs = "amounts"
    leads: ClassVar[bool] = False  # whether its source is best drawn before all else, as much follows from it
    columns: tuple  # the target first
    offsets: tuple = (0,)
    digits: int = 0
    unit: str = ""
    ends = True
    _gain = 0.0  # nats a row that it saves, as far as was looked at

    @property
    def target(self) -> Any:
        return self.columns[0]

    @property
    def numbers(self):
        return self.columns

    @property
    def plain(self) -> bool:
        """Whether no factor stands before a source: with factors, many numbers come near a sum by chance."""
        return True

    @property
    def targets(self) -> tuple:
        """Columns for which `solved_for` can write it, the best first."""
        return self.columns[:1]

    def solved_for(self, name: Any) -> "Equation":
        """The same equation, with one of `targets` for its target."""
        return self

    @abstractmethod
    def predict(self, amounts: Mapping[Any, np.ndarray]) -> np.ndarray:
        """f of the sources, (n,)."""

    @property
    def solvable(self) -> tuple:
        """Columns that follow from all others and the offset."""
        return self.columns[:1]

    def solve(self, name: Any, amounts: Mapping[Any, np.ndarray], offset: np.ndarray) -> np.ndarray:
        """The amount (n,) of one of `solvable`, given those of the others and the offset (n,)."""
        return self._rounded(self.predict(amounts) + offset)

    def _rounded(self, amounts: np.ndarray) -> np.ndarray:
        return amounts if amounts.dtype.kind in "iu" or not self.ends else amounts.round(self.digits) + 0.0

    def about(self, fields: Fields) -> np.ndarray:
        """Which rows it is about, (n,), bool."""
        return all_present(fields, self.columns)

    def codes(self, fields: Fields) -> np.ndarray:
        """Which offset every row has, (n,), int: as many as there are offsets where none fits, -1 where one is missing."""
        residuals = self.residuals(fields)
        codes = np.full(len(residuals), len(self.offsets))
        for code, offset in reversed(list(enumerate(self.offsets))):
            codes[np.abs(residuals - offset) <= self._tolerance(fields)] = code
        return np.where(self.about(fields), codes, -1)

    def residuals(self, fields: Fields) -> np.ndarray:
        """What the target has beyond f, (n,)."""
        amounts = {name: fields[name].amounts for name in self.columns}
        residuals = amounts[self.target] - self.predict(amounts)
        return residuals if residuals.dtype.kind in "iu" else residuals.round(self._most_decimals(fields))

    def _most_decimals(self, fields: Fields) -> int:
        return max(fields[name].decimals for name in self.columns)

    def _tolerance(self, fields: Fields) -> float:
        return 0.5 * 10.0 ** -float(min(self.digits, self._most_decimals(fields))) * (1 + 1e-6)

    def kept(self, fields):
        codes = self.codes(fields)
        return (codes >= 0) & (codes < len(self.offsets)), codes >= 0

    def learn(self, fields):
        self._take_form(fields[self.target])
        if self.unit:  # a text says durations
            tick = pd.Timedelta(1, self.unit)
            self.offsets = tuple(one if isinstance(one, int) else int(one / tick) for one in self.offsets)
        super().learn(fields)

    def _take_form(self, target: Field) -> None:
        self.digits, self.unit, self.ends = target.decimals, target.unit, target.ends

    def find_offsets(self, fields: Fields) -> None:
        """Set the offsets to the frequent ones of the rows of fields."""
        self._take_form(fields[self.target])
        residuals = self.residuals(fields)[self.about(fields)]
        if residuals.dtype.kind == "f":
            residuals = residuals.round(self.digits) + 0.0
        found, counts = np.unique(residuals, return_counts=True)
        order = counts.argsort(kind="stable")[::-1]
        frequent = [at for at in order[:MAX_OFFSETS] if counts[at] >= max(2, LEAST_OFFSET * len(residuals))]
        self.offsets = tuple(found[frequent or order[:1]].tolist())
        few = counts[order[: len(self.offsets)]].sum() >= MOST_OFFSETS * len(residuals)
        if len(self.offsets) > 1 and not (few and _are_apart(np.sort(self.offsets), found)):
            self.offsets = self.offsets[:1]  # a count that varies is no constant

    def is_significant(self, fields: Fields, evidence: float) -> bool:
        """Whether rows keep it more often than chance, and it tells more than it takes to say which rows keep it.

        Where only some rows keep it, those in which the target has one of its frequent numbers are not counted:
        two columns that are often zero are often equal.
        """
        rows = some_rows(len(fields[self.target].missing), N_SAMPLED)
        some = {name: fields[name].take(rows) for name in self.columns}
        codes, amounts = self.codes(some), some[self.target].amounts
        counted = np.flatnonzero(codes >= 0)
        if not self.exact:
            found, inverse, counts = np.unique(amounts[counted], return_inverse=True, return_counts=True)
            if not len(found) or (len(found) <= MAX_LEVELS and self.share < 1 - MOST_BREAKS):
                return False
            counted = counted[(counts < FREQUENT * len(counted))[inverse]]
        if len(counted) < 5:
            return False
        if not self.exact and not self._stands_out({name: field.take(counted) for name, field in some.items()}):
            return False
        kept = (codes[counted] < len(self.offsets)).mean()
        if against_chance(len(counted), kept, self._share_by_chance(some, counted)) <= evidence:
            return False
        shares = np.bincount(codes[counted]) / len(counted)
        shares = shares[shares > 0]
        self._gain = float(kept * entropy(amounts[counted]) + (shares * np.log(shares)).sum())
        if self.exact and len(self.offsets) == 1:
            return True
        return kept >= (LEAST_SHARE if self.plain else 1 - MOST_BREAKS) and self._gain > LEAST_GAIN

    def _share_by_chance(self, fields: Fields, counted: np.ndarray) -> float:
        """Share of counted rows, by index, that keep it once the target is shuffled among them."""
        target, order = fields[self.target], np.random.RandomState(0).permutation(counted)
        amounts, missing = target.amounts.copy(), target.missing.copy()
        amounts[counted], missing[counted] = amounts[order], missing[order]
        shuffled = dict(fields) | {self.target: replace(target, amounts=amounts, missing=missing)}
        return (self.codes(shuffled)[counted] < len(self.offsets)).mean()

    def _stands_out(self, fields: Fields) -> bool:
        """Whether the first offset is far more frequent than what rows have next to it."""
        found, counts = np.unique(self.residuals(fields), return_counts=True)
        at, others = int(np.abs(found - self.offsets[0]).argmin()), ~np.isin(found, self.offsets)
        beside = [counts[near] for near in (at - 1, at + 1) if 0 <= near < len(found) and others[near]]
        return counts[at] >= OUTSTANDING * max(beside, default=0)


def _are_apart(offsets: np.ndarray, found: np.ndarray) -> bool:
    """Whether no two offsets, ascending, are neighbours on the grid of all that is found (k,)."""
    return bool(np.diff(offsets).min() > 1.5 * np.diff(found).min())
