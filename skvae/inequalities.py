"""Inequalities: a column that is never below another, and the gap between them."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import ndtr

from skvae.abstract_relation import AbstractRelation
from skvae.fields import FREQUENT, MAX_COLUMNS, MAX_LEVELS, N_SAMPLED, Field, Fields, all_present, some_rows
from skvae.notation import columns_named, quoted
from skvae.persistence import Saved
from skvae.significance import LEAST_OFFSET, MOST_BREAKS, against_chance, rank_correlation

NEAREST = 0.1  # how near, beside the larger, two numbers come that are ordered: else the one is merely small; unmeasured
LEAST_CORRELATION = 0.3  # of numbers in an order: else no more is said than that one is small; unmeasured
NARROW = 0.5  # spread of a gap beside that of a number that is drawn by it, at most


class Order(AbstractRelation):
    """upper >= lower, of numbers, of dates, or of durations."""

    kind = "order"
    needs = "amounts"

    def __init__(self, upper: Any, lower: Any):
        self.columns = upper, lower

    def __str__(self):
        return " >= ".join(map(quoted, self.columns))

    @property
    def numbers(self):
        return self.columns

    def is_implied_by(self, other, fields):
        return other.implies_order(*self.columns, fields)

    def units_agree(self, fields):
        return len({fields[name].kind for name in self.columns}) == 1

    def kept(self, fields):
        upper, lower = (fields[name] for name in self.columns)
        about = all_present(fields, self.columns)
        with np.errstate(invalid="ignore"):
            return about & (upper.amounts >= lower.amounts), about

    @classmethod
    def find(cls, fields, evidence):
        by_name = {field.name: field for field in fields}
        found = []
        for kind in ("number", "date", "duration"):
            group = [f for f in fields if f.kind == kind and not f.is_flag and len(f.present) and np.ptp(f.present) > 0]
            for upper, lower in _ordered_pairs(group[:MAX_COLUMNS]):
                one = cls(upper, lower)
                one.learn(by_name)
                least = 1.0 if kind == "number" else 1 - MOST_BREAKS
                if one.share >= least and one._is_significant(by_name, evidence):
                    found.append(one)
        pairs = {one.columns for one in found}
        for one in found:  # those that do not follow from two others
            upper, lower = one.columns
            if not any((upper, other) in pairs and (other, lower) in pairs for other in by_name):
                yield one

    def _is_significant(self, fields: Fields, evidence: float) -> bool:
        """Whether independent columns, and a normal distribution of the difference, would break an order that rows keep."""
        _, about = self.kept(fields)
        below = fields[self.columns[1]]
        # rows in which the lower has its least number, which nothing is below, count for nothing
        rows = np.flatnonzero(about & (below.amounts > below.present.min()))
        if len(rows) < 5:
            return False
        some = rows[some_rows(len(rows), N_SAMPLED)]
        upper, lower = (fields[name].amounts[some].astype(float) for name in self.columns)
        if below.kind == "number" and not _are_comparable(upper, lower):
            return False
        independent = (np.searchsorted(np.sort(upper), lower, side="left") / len(upper)).mean()
        difference = upper - lower
        normal = ndtr(-difference.mean() / max(difference.std(), 1e-300))
        return all(against_chance(len(rows), self.share, 1 - chance) > evidence for chance in (independent, normal))

    @classmethod
    def parse(cls, text, names):
        if not (match := re.fullmatch(r"(.+?) (>=|<=) (.+)", text)):
            return None
        columns = columns_named(names, (match[1], match[3]))
        if columns is None:
            return None
        return cls(*columns) if match[2] == ">=" else cls(*columns[::-1])


class Gap(Saved):
    """How far a column is from the greatest of its lower bounds, or from the least of its upper ones: what orders become.

    A number that is not negative, where the orders hold always; drawn as a column of its own, it keeps them.

    Attributes
    ----------
    columns : tuple
        The column that follows, and its bounds.
    above : bool
        Whether the bounds are lower ones.
    """

    exact = True

    def __init__(self, target: Any, bounds: Iterable, above: bool):
        self.columns, self.above = (target, *bounds), above

    @property
    def target(self) -> Any:
        return self.columns[0]

    def measure(self, fields: Fields) -> np.ndarray:
        """The gap of every row, (n,), anything where cells are missing."""
        amounts = {name: fields[name].amounts for name in self.columns}
        gap = (amounts[self.target] - self._bound(amounts)) * (1 if self.above else -1)
        if gap.dtype.kind in "iu" or not all(fields[name].ends for name in self.columns):
            return gap
        return gap.round(max(fields[name].decimals for name in self.columns)) + 0.0

    def about(self, fields: Fields) -> np.ndarray:
        """As `Equation.about`."""
        return all_present(fields, self.columns)

    def _bound(self, amounts: Mapping[Any, np.ndarray]) -> np.ndarray:
        return (np.maximum if self.above else np.minimum).reduce([amounts[name] for name in self.columns[1:]])

    @property
    def solvable(self) -> tuple:
        """As `Equation.solvable`; of several bounds, none follows."""
        return self.columns if len(self.columns) == 2 else self.columns[:1]

    def solve(self, name: Any, amounts: Mapping[Any, np.ndarray], gap: np.ndarray) -> np.ndarray:
        """As `Equation.solve`, given the gap (n,)."""
        gap = gap if self.above else -gap
        return self._bound(amounts) + gap if name == self.target else amounts[self.target] - gap


def is_drawn_better_by_gap(above: bool, target: Field, bound: Field) -> bool:
    """Whether a column is well drawn as a bound plus, or less, a gap.

    It must not get values that it never has, and the gap must say more than the column: numbers that only keep their order
    are drawn worse by it (MAGIC, benchmarks/tables.py). Dates do well by it.
    """
    if target.n_values <= MAX_LEVELS:
        return False
    there = ~(target.missing | bound.missing)
    gap = np.abs(bound.amounts[there] - target.amounts[there]).astype(float)
    if above and (target.kind == "date" or (gap == 0).mean() > FREQUENT):
        return True
    spreads = [np.subtract(*np.quantile(part, (0.75, 0.25))) for part in (gap, target.amounts[there].astype(float))]
    return spreads[0] < NARROW * spreads[1]


def _ordered_pairs(group: Sequence[Field]) -> Iterator[tuple]:
    """Names of fields whose order few rows of a sample break, upper first."""
    if len(group) < 2:
        return
    rows = some_rows(len(group[0].missing), N_SAMPLED)
    base = min(field.present.min() for field in group)
    x = np.array([np.where(f.missing[rows], np.nan, (f.amounts[rows] - base).astype(float)) for f in group])
    for at, one in enumerate(x):
        with np.errstate(invalid="ignore"):
            both = ~np.isnan(x) & ~np.isnan(one)
            breaks = ((x > one) & both).sum(1) / both.sum(1).clip(1)
            varies = ((x != one) & both).sum(1) > 0
        for other in np.flatnonzero((breaks <= 2 * MOST_BREAKS) & varies & (both.sum(1) >= 5)).tolist():
            if other != at:
                yield group[at].name, group[other].name


def _are_comparable(upper: np.ndarray, lower: np.ndarray) -> bool:
    """Whether numbers in an order (n,) come near one another, and are correlated or sometimes equal."""
    gap = (upper - lower) / np.maximum(np.abs(upper), np.abs(lower)).clip(1e-300)
    if gap.min() > NEAREST:
        return False
    return rank_correlation(upper, lower) > LEAST_CORRELATION or (gap == 0).mean() > LEAST_OFFSET
