"""Contingency: which values of two columns occur together, whether they are missing together, and which never meet."""

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from skvae.abstract_relation import CategoricalRelation
from skvae.containers import Cells
from skvae.fields import MAX_COLUMNS, MAX_LEVELS, N_SAMPLED, Field, Fields, discrete, some_rows
from skvae.notation import columns_named, quoted
from skvae.persistence import Saved
from skvae.significance import expected_counts

# by what is said of a column: how texts write it, and what the column must have for it
FORMS = {"value": ("", "codes"), "missing": (" missing", ""), "positive": (" > 0", "amounts")}
MAX_COMBINATIONS = 30  # pairs of columns some of whose values never meet; unmeasured


class Aspect(Saved):
    """What is said of a column: its value, or whether it is missing, or whether it is above zero."""

    def __init__(self, name: Any, form: str = "value"):
        self.name, self.form = name, form

    def __str__(self):
        return quoted(self.name) + FORMS[self.form][0]

    def __eq__(self, other):
        return isinstance(other, Aspect) and (self.name, self.form) == (other.name, other.form)

    def __hash__(self):
        return hash((self.name, self.form))

    def field(self, fields: Fields) -> Field:
        """A field of codes of it."""
        field = fields[self.name]
        if self.form == "value":
            return field
        whole = self.form == "missing"
        codes = field.missing if whole else np.where(field.missing, -1, field.amounts > 0)
        nowhere = np.zeros(len(field.missing), bool) if whole else field.missing
        values = np.array([False, True])
        return Field(self, "category", nowhere, codes=codes.astype(int), values=values, discrete=True)

    def write(self, cells: Cells, rows: np.ndarray, values: np.ndarray) -> None:
        """Set it in rows, by index, of the cells of the column; above zero, numbers stay what they are."""
        if self.form == "missing":
            cells.missing[rows] = values
        elif self.form == "value":
            cells.values[rows] = values
        else:
            cells.values[rows[~values.astype(bool)]] = 0

    @staticmethod
    def of(name: Any) -> "Aspect":
        """What the name of a field stands for: an aspect, or the value of the column."""
        return name if isinstance(name, Aspect) else Aspect(name)

    @staticmethod
    def parse(text: str, names: Mapping[str, Any]) -> "Aspect | None":
        for form, (ending, _) in reversed(FORMS.items()):
            if text.endswith(ending) and text.removesuffix(ending) in names:
                return Aspect(names[text.removesuffix(ending)], form)
        return None


class Pair(CategoricalRelation):
    """Which values of two columns, or aspects of them, occur together.

    Attributes
    ----------
    aspects : (Aspect, Aspect)
    values : (ndarray (k,), ndarray (m,))
        Those of either that fit saw.
    allowed : (k, m), bool
    """

    aspects: tuple[Aspect, Aspect]
    values: tuple[np.ndarray, np.ndarray]
    allowed: np.ndarray

    def __init__(self, first: Aspect, second: Aspect):
        self.aspects = first, second
        self.columns = first.name, second.name

    @property
    def categories(self):
        return tuple(aspect.name for aspect in self.aspects if aspect.form == "value")

    @property
    def needed(self):
        return [(aspect.name, FORMS[aspect.form][1]) for aspect in self.aspects]

    @property
    def best(self) -> np.ndarray:
        """Of every value of the first, the place of one of the second that may occur with it: (k,)."""
        return self.allowed.argmax(1)

    def places(self, fields: Fields) -> list[np.ndarray]:
        """Places (n,) of both columns' cells among `values`, -1 of others."""
        found = []
        for aspect, values in zip(self.aspects, self.values, strict=True):
            field = aspect.field(fields)
            place = pd.Index(values).get_indexer(pd.Index(field.values)) if len(field.values) else np.zeros(0, int)
            found.append(np.where(field.codes < 0, -1, np.append(place, -1)[field.codes]))
        return found

    def kept(self, fields):
        first, second = self.places(fields)
        about = (first >= 0) & (second >= 0)
        return about & self.allowed[first, second], about

    def learn(self, fields):
        first, second = (aspect.field(fields) for aspect in self.aspects)
        self.values = first.values, second.values
        self.allowed = self._allowed(counts_of_pairs(first, second))
        super().learn(fields)

    def correct(self, cells, fields, rows, known):
        """The second column gives way to the first."""
        second = self.aspects[1]
        rows = rows[~known[second.name][rows]]
        second.write(cells[second.name], rows, self.values[1][self.best[self.places(fields)[0][rows]]])
        return bool(len(rows))

    @abstractmethod
    def _allowed(self, counts: np.ndarray) -> np.ndarray:
        """Which pairs may occur, of how many rows have each: (k, m) both."""


class Combinations(Pair):
    """Some values of two columns never occur together, although each is frequent."""

    kind = "combinations"
    implied_by = "determines", "flags", "sum"
    least_expected = 0.0

    def __str__(self):
        return "combinations of {} and {}".format(*map(str, self.aspects))

    def _allowed(self, counts):
        return (counts > 0) | (expected_counts(counts) <= self.least_expected)

    @classmethod
    def find(cls, fields, evidence):
        coded = [f for f in discrete(fields, MAX_LEVELS) if f.is_flag or f.kind == "category"][:MAX_COLUMNS]
        coded += yes_or_no_aspects(fields)
        by_name, found = {field.name: field for field in fields}, []
        some = [field.take(some_rows(len(field.codes), 10 * N_SAMPLED)) for field in coded]
        for at, other in combinations(range(len(coded)), 2):
            if _say_the_same(coded[at], coded[other]) or not (_forbidden(some[at], some[other], evidence) > 0).any():
                continue
            share = _forbidden(coded[at], coded[other], 2 * evidence).sum() / len(coded[at].codes)
            if share > 0:
                found.append((share, at, other))
        for _, at, other in sorted(found, reverse=True)[:MAX_COMBINATIONS]:
            one = cls(Aspect.of(coded[at].name), Aspect.of(coded[other].name))
            one.least_expected = 2 * evidence
            one.learn(by_name)
            yield one

    @classmethod
    def parse(cls, text, names):
        if not (match := re.fullmatch(r"combinations of (.+?) and (.+)", text)):
            return None
        first, second = (Aspect.parse(match[at], names) for at in (1, 2))
        return None if first is None or second is None else cls(first, second)


class Missing(Pair):
    """Cells of one column are missing only where those of another are."""

    kind = "missing"
    both_ways = False

    def __str__(self):
        first, second = self.aspects
        return f"{first} {'where' if self.both_ways else 'only where'} {second}"

    def _allowed(self, counts):
        allowed = np.ones((2, 2), bool)
        allowed[1, 0] = False
        allowed[0, 1] = not self.both_ways
        return allowed

    @classmethod
    def find(cls, fields, evidence):
        holed = [field for field in fields if field.has_holes][:MAX_COLUMNS]
        if len(holed) < 2:
            return
        missing = np.array([field.missing for field in holed], dtype=np.float32)
        together, alone = missing @ missing.T, missing.sum(1)
        share = alone / missing.shape[1]
        only = (together == alone[:, None]) & (-alone[:, None] * np.log(share)[None] > evidence)
        np.fill_diagonal(only, False)
        by_name, twins = {field.name: field for field in fields}, only & only.T
        for at, other in zip(*np.nonzero(only), strict=True):
            twin = twins[at, other]
            through = (only[at] & only[:, other] & ~twins[at] & ~twins[other]).any()
            # said already, by the first of equal columns, or follows from two others
            if twins[at, :at].any() or (twins[other, :other].any() and not twin) or (through and not twin):
                continue
            one = cls(Aspect(holed[at].name, "missing"), Aspect(holed[other].name, "missing"))
            one.both_ways = bool(twin)
            one.learn(by_name)
            yield one

    @classmethod
    def parse(cls, text, names):
        if not (match := re.fullmatch(r"(.+?) missing (only where|where) (.+?) missing", text)):
            return None
        columns = columns_named(names, (match[1], match[3]))
        if columns is None:
            return None
        one = cls(*(Aspect(name, "missing") for name in columns))
        one.both_ways = match[2] == "where"
        return one


def yes_or_no_aspects(fields: Sequence[Field]) -> list[Field]:
    """Whether cells are missing, of columns that are missing in different rows, and whether they are above zero."""
    holed = {f.missing.tobytes(): f for f in reversed(fields) if f.has_holes}
    aspects = [Aspect(f.name, "missing") for f in holed.values()]
    aspects += [Aspect(f.name, "positive") for f in fields if f.is_zero_inflated]
    by_name = {field.name: field for field in fields}
    return [aspect.field(by_name) for aspect in aspects[:MAX_COLUMNS]]


def _say_the_same(one: Field, other: Field) -> bool:
    """Whether two fields are of one column, or are both of missing cells, of which `Missing` says more."""
    forms = [Aspect.of(field.name).form for field in (one, other)]
    return same_column(one, other) or forms == ["missing", "missing"]


def same_column(one: Field, other: Field) -> bool:
    return Aspect.of(one.name).name == Aspect.of(other.name).name


def counts_of_pairs(first: Field, second: Field) -> np.ndarray:
    """How many rows have each pair of values: (k, m)."""
    there = (first.codes >= 0) & (second.codes >= 0)
    k, m = len(first.values), len(second.values)
    return np.bincount(first.codes[there] * m + second.codes[there], minlength=k * m).reshape(k, m)


def _forbidden(first: Field, second: Field, evidence: float) -> np.ndarray:
    """Rows that chance would have of each pair that no row has, (k, m), where that is as many as evidence asks for."""
    counts = counts_of_pairs(first, second)
    expected = expected_counts(counts)
    return np.where((counts == 0) & (expected > evidence), expected, 0.0)
