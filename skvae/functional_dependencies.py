"""Functional dependencies: every value of one column gives one of another, be they categories, numbers or dates."""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from skvae.abstract_relation import AbstractRelation
from skvae.contingency import Aspect, Pair, counts_of_pairs, same_column, yes_or_no_aspects
from skvae.equations import Equation
from skvae.fields import (
    MAX_COLUMNS,
    MAX_LEVELS,
    MAX_SOURCE_LEVELS,
    N_SKETCH,
    Field,
    Fields,
    discrete,
    of_few_values,
    some_rows,
)
from skvae.notation import quoted
from skvae.significance import groups_against_chance

MAX_PAIRS = 4_000_000  # of values of two columns that are counted; unmeasured
MIN_ROWS_A_VALUE = 3  # of a number or date that others follow from: of fewer, most that are drawn were not seen; unmeasured


class Determines(Pair):
    """first -> second: to every value of one column belongs one of the other; one to one, where both determine another."""

    kind = "determines"
    implied_by = ("flags",)
    one_to_one = False

    def __str__(self):
        return (" <-> " if self.one_to_one else " -> ").join(map(str, self.aspects))

    def suited_to(self, fields):
        are_coded = all(fields[name].discrete for name in self.columns)
        return self if are_coded or self.aspects[1].form != "value" else Function(*self.columns)

    def _allowed(self, counts):
        best = counts == counts.max(1, keepdims=True)
        most = best & (best.cumsum(1) == 1)
        return most & (counts.max(0, keepdims=True) == counts) if self.one_to_one else most

    @classmethod
    def find(cls, fields, evidence):
        coded = discrete(fields, MAX_SOURCE_LEVELS)[:MAX_COLUMNS]
        found = dict.fromkeys(_determined(coded, [*coded, *yes_or_no_aspects(fields)], evidence))
        yield from cls._reduced(found, {field.name: field for field in fields})

    @classmethod
    def _reduced(cls, found, fields):
        """Those that do not follow from two others, and both directions of a pair as one."""
        done = set()
        for first, second in found:
            twin = (second, first) in found
            value = second.name if isinstance(second, Aspect) else None
            if (first, second) in done or (first, value) in found or _follows_from_two(first, second, found):
                continue
            done |= {(first, second), (second, first)} if twin else {(first, second)}
            one = cls(Aspect.of(first), Aspect.of(second))
            one.one_to_one = twin
            one.learn(fields)
            yield one

    @classmethod
    def parse(cls, text, names):
        if not (match := re.fullmatch(r"(.+?) (<->|->) (.+)", text)):
            return None
        source, second = names.get(match[1]), Aspect.parse(match[3], names)
        if source is None or second is None:
            return None
        one = cls(Aspect(source), second)
        one.one_to_one = match[2] == "<->"
        return one


# what may be looked at of a date, the coarsest first: of its ticks as a DatetimeIndex
CALENDAR: dict[str, Callable[[pd.DatetimeIndex], Any]] = {
    "year": lambda date: date.year,
    "weekday": lambda date: date.day_of_week,
    "month": lambda date: date.month,
    "hour": lambda date: date.hour,
    "day": lambda date: date.day,
    "minute": lambda date: date.minute,
    "day of the year": lambda date: 100 * date.month + date.day,
    "date": lambda date: date.normalize().to_numpy().astype(np.int64),
}


class Function(Equation):
    """source -> target: every value of a column gives one of another, as a date gives its month, and a product its price.

    Either is a number or a date; of two columns of categories, `Determines` says more. Of values of the source that fit did
    not see, nothing follows.

    Attributes
    ----------
    part : str
        A key of CALENDAR: what of a date gives the target; "" for the value itself.
    found : (k,)
        Amounts (of parts), or categories, of the source that fit saw.
    given : (k,)
        Amounts, or categories, of the target that belong to them.
    """

    kind = "function"
    needs = "codes"
    implied_by = "determines", "flags", "sum"
    leads = True
    part = ""
    found: np.ndarray
    given: np.ndarray

    def __init__(self, source: Any, target: Any):
        self.columns = target, source

    def __str__(self):
        return f"{quoted(self.source)} -> {quoted(self.target)}"

    @property
    def source(self) -> Any:
        return self.columns[1]

    @property
    def numbers(self):
        return ()

    @property
    def categories(self):
        return (self.target,)

    def predict(self, amounts):
        return self.given[self._place(amounts[self.source])]

    def _place(self, source: np.ndarray) -> np.ndarray:
        """Places (n,) of cells of the source among those that fit saw, -1 of others."""
        return pd.Index(self.found).get_indexer(pd.Index(_part_of_date(source, self.part, self.unit)))

    def solve(self, name, amounts, offset):
        return self.predict(amounts)

    def about(self, fields):
        return super().about(fields) & (self._place(fields[self.source].entries) >= 0)

    def codes(self, fields):
        target, source = (fields[name] for name in self.columns)
        fits = self.predict({source.name: source.entries}) == target.entries
        return np.where(self.about(fields), ~fits, -1).astype(int)

    def learn(self, fields):
        self.unit = fields[self.source].unit
        for part in (*(CALENDAR if fields[self.source].kind == "date" else ()), ""):
            self.part = part
            self._learn_values(fields)
            AbstractRelation.learn(self, fields)
            if self.exact:
                return

    def _learn_values(self, fields: Fields) -> None:
        target, source = (fields[name] for name in self.columns)
        there = np.flatnonzero(~(target.missing | source.missing))
        codes, found = pd.factorize(_part_of_date(source.entries[there], self.part, self.unit))
        self.found, first = np.asarray(found), np.unique(codes, return_index=True)[1]
        self.given = target.entries[there][first]

    @classmethod
    def find(cls, fields, evidence):
        by_name = {field.name: field for field in fields}
        coded = [field for field in of_few_values(fields, MAX_SOURCE_LEVELS) if not field.discrete]
        whole = [f for f in coded if f.amounts.dtype.kind == "i" and len(f.missing) >= MIN_ROWS_A_VALUE * len(f.values)]
        parts = [part for field in fields if field.kind == "date" for part in _parts_of(field)]
        sources, targets = parts[:MAX_COLUMNS] + whole[:MAX_COLUMNS], discrete(fields, MAX_LEVELS)[:MAX_COLUMNS]
        categories = [field for field in discrete(fields, MAX_SOURCE_LEVELS) if field.amounts is None][:MAX_COLUMNS]
        numbers = [field for field in coded if field.kind == "number"][:MAX_COLUMNS]
        found = [*_determined(sources, targets, evidence), *_determined(categories, numbers, evidence)]
        for source, target in dict.fromkeys(found):
            one = cls(source, target)
            one.learn(by_name)
            yield one

    @classmethod
    def parse(cls, text, names):
        return None  # what `Determines` reads becomes one where the source is a number


def _determined(sources: Sequence[Field], targets: Sequence[Field], evidence: float) -> Iterator[tuple]:
    """Names of fields of which the one determines the other, by all rows."""
    if not sources or not targets:
        return
    rows = some_rows(len(sources[0].codes), N_SKETCH)
    sketch = np.array([field.codes[rows] for field in targets])
    for source in sources:
        _, first, group = np.unique(source.codes[rows], return_index=True, return_inverse=True)
        same = (sketch == sketch[:, first[group]]) | (sketch < 0) | (sketch[:, first[group]] < 0)
        for at in np.flatnonzero((same | (source.codes[rows] < 0)).all(1)).tolist():
            target = targets[at]
            if same_column(source, target) or len(source.values) * len(target.values) > MAX_PAIRS:
                continue
            counts = counts_of_pairs(source, target)
            if ((counts > 0).sum(1) <= 1).all() and groups_against_chance(counts) > evidence:
                yield source.name, target.name


def _follows_from_two(first: Any, second: Any, found: Collection[tuple]) -> bool:
    """Whether a column determines another by way of a third, which neither of them is one to one with."""
    return any(
        other not in (first, second)
        and (first, other) in found
        and (other, second) in found
        and (other, first) not in found
        and (second, other) not in found
        for _, other in found
    )


def _part_of_date(ticks: np.ndarray, part: str, unit: str) -> np.ndarray:
    """A part, a key of CALENDAR, of dates (n,) in ticks of a unit; of "", and of what is no date, the cells themselves."""
    return np.asarray(CALENDAR[part](pd.DatetimeIndex(ticks.astype(f"M8[{unit}]")))) if part else ticks


def _parts_of(field: Field) -> list[Field]:
    """Parts of a column of dates, those that vary and of which most have many rows."""
    if field.unit == "D":  # pandas' own dates count no days
        return []
    parts = []
    for part in CALENDAR:
        codes, values = pd.factorize(_part_of_date(field.amounts, part, field.unit))
        if 1 < len(values) <= len(codes) / MIN_ROWS_A_VALUE:
            codes = np.where(field.missing, -1, codes)
            parts.append(Field(field.name, "category", field.missing, codes=codes, values=values))
    return parts
