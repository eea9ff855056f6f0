"""What always holds between the columns of a table: found, stated, explained. numpy and pandas only.

One small class a kind and one row in `RELATIONS`. A relation is found where rows keep it far more often than chance would
have them, were the columns independent; what a table of so few rows could not tell from chance is no relation.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from scipy.special import ndtr

from skvae.containers import shown
from skvae.persistence import Saved

# nats by which rows must speak against chance, and how many more for each e-fold of columns: none of 300 tables of 13
# independent columns showed a relation
LEAST_EVIDENCE, EVIDENCE_A_COLUMN = 14.0, 3.0
N_SKETCH, N_SAMPLED = 500, 2000  # rows by which candidates are picked, before all rows judge them; unmeasured
MAX_COLUMNS = 200  # that candidates are looked for among, of each kind; unmeasured
MAX_TERMS, MAX_OFFSETS, LEAST_OFFSET = 5, 6, 0.03  # of a sum; constants beside it, and the least share of one; unmeasured
MOST_OFFSETS = 0.75  # share of rows that several constants account for; unmeasured
NEARLY = 0.02  # share of rows by which a longer sum must be kept more often than a part of it; unmeasured
OUTSTANDING = 4  # times as many rows as beside it an offset must have, for a sum that some rows break; unmeasured
MAX_ADDED = 60  # columns of which all pairs are added up
N_CONCENTRATIONS = 4  # of a trimmed regression; unmeasured
TERM_PRICE = 0.2  # nats a row that one more term must save, for a sum to be preferred; unmeasured
# nats a row that a sum must save which some rows break, and the share of rows that keep it; unmeasured
LEAST_GAIN, LEAST_SHARE = 0.5, 0.05
MOST_BREAKS = 0.005  # share of rows that may break an order of dates; unmeasured
NEAREST = 0.1  # how near, beside the larger, two numbers come that are ordered: else the one is merely small; unmeasured
NARROW = 0.5  # spread of a gap beside that of a number that is drawn by it, at most
LEAST_CORRELATION = 0.3  # of numbers in an order: else no more is said than that one is small; unmeasured
MAX_LEVELS, MAX_SOURCE_LEVELS, MAX_PAIRS = 64, 10_000, 4_000_000  # values of a coded column, of what determines it; of both
MAX_COMBINATIONS = 30  # pairs of columns some of whose values never meet; unmeasured
MIN_ROWS_A_VALUE = 3  # of a number or date that others follow from: of fewer, most that are drawn were not seen; unmeasured
HEAVY = 0.05  # share of rows from which a number is left out of the evidence for a partial sum; unmeasured


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
    ends : bool
        Whether decimals end.
    codes : (n,), int, -1 where missing; None of a column of too many values.
    values : (k,), what codes stand for.
    unit : str
        That the amounts of dates and durations count, else "".
    discrete : bool
        Whether codes are the column's own: those of categories, booleans, and integers of few values.
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

    def take(self, rows: np.ndarray) -> "Field":
        """Some rows, by index."""
        amounts, codes = (None if part is None else part[rows] for part in (self.amounts, self.codes))
        parts = amounts, self.decimals, codes, self.values, self.discrete, self.unit, self.ends
        return Field(self.name, self.kind, self.missing[rows], *parts)

    @property
    def is_flag(self) -> bool:
        """Whether it holds a yes or no."""
        return self.values is not None and len(self.values) == 2 and set(self.values) == {False, True}


Fields = Mapping[Any, Field]


class AbstractRelation(ABC, Saved):
    """Something that rows keep.

    Attributes
    ----------
    kind : str
        A key of RELATIONS.
    columns : tuple
        Names of the columns that it is about.
    share : float
        Of the training rows that it is about, how many keep it.
    """

    kind: ClassVar[str]
    columns: tuple
    share: float = 1.0
    _stated = ""  # how a user stated it

    @abstractmethod
    def __str__(self) -> str:
        """The relation, in the words in which `relations` takes it."""

    @abstractmethod
    def kept(self, fields: Fields) -> tuple[np.ndarray, np.ndarray]:
        """Which rows keep it, and which it is about: none whose cells are missing. (n,) bool each."""

    @classmethod
    @abstractmethod
    def find(cls, fields: Sequence[Field], evidence: float) -> "Iterable[AbstractRelation]":
        """Those that all rows of the fields show; evidence : nats that must speak against chance."""

    @classmethod
    @abstractmethod
    def parse(cls, text: str, names: Mapping[str, Any]) -> "AbstractRelation | None":
        """The relation that a text states, its columns by names; None where it states none of the kind."""

    def learn(self, fields: Fields) -> None:
        """Take from fields what a text does not say, and the share."""
        kept, about = self.kept(fields)
        self.share = float(kept.sum() / max(1, about.sum()))

    @property
    def exact(self) -> bool:
        """Whether every row keeps it."""
        return self.share == 1.0

    @property
    def key(self) -> tuple:
        """Equal where two relations say the same."""
        return self.kind, str(self)


# --- numbers ---------------------------------------------------------------------------------------------------------


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
    def plain(self) -> bool:
        """Whether no factor stands before a source: with factors, many numbers come near a sum by chance."""
        return True

    @property
    def targets(self) -> tuple:
        """Columns that follow from all others, the best first."""
        return self.columns[:1]

    def solved_for(self, name: Any) -> "Equation":
        """The same equation, with one of `targets` for its target."""
        return self

    @abstractmethod
    def predict(self, amounts: Mapping[Any, np.ndarray]) -> np.ndarray:
        """f of the sources, (n,)."""

    def solve(self, name: Any, amounts: Mapping[Any, np.ndarray], offset: np.ndarray) -> np.ndarray | None:
        """The amount of a column (n,), given those of the others and the offset (n,); None where it does not follow."""
        return self._rounded(self.predict(amounts) + offset) if name == self.target else None

    def _rounded(self, amounts: np.ndarray) -> np.ndarray:
        return amounts if amounts.dtype.kind in "iu" or not self.ends else amounts.round(self.digits) + 0.0

    def about(self, fields: Fields) -> np.ndarray:
        """Which rows it is about, (n,), bool."""
        return _are_there(fields, self.columns)

    def codes(self, fields: Fields) -> np.ndarray:
        """Which offset every row has, (n,), int: as many as there are offsets where none fits, -1 where one is missing."""
        rest = self._rest(fields)
        codes = np.full(len(rest), len(self.offsets))
        for code, offset in reversed(list(enumerate(self.offsets))):
            codes[np.abs(rest - offset) <= self._tolerance(fields)] = code
        return np.where(self.about(fields), codes, -1)

    def _rest(self, fields: Fields) -> np.ndarray:
        """What the target has beyond f, (n,)."""
        amounts = {name: fields[name].amounts for name in self.columns}
        rest = amounts[self.target] - self.predict(amounts)
        return rest if rest.dtype.kind in "iu" else rest.round(max(fields[name].decimals for name in self.columns))

    def _tolerance(self, fields: Fields) -> float:
        finest = max(fields[name].decimals for name in self.columns)
        rounds = self.digits < finest
        return 0.5 * 10.0 ** -float(self.digits if rounds else finest) * (1 + 1e-6)

    def kept(self, fields):
        codes = self.codes(fields)
        return (codes >= 0) & (codes < len(self.offsets)), codes >= 0

    def learn(self, fields):
        self._take_form(fields[self.target])
        if self.unit:  # a text says durations
            self.offsets = tuple(
                one if isinstance(one, int) else int(one / pd.Timedelta(1, self.unit)) for one in self.offsets
            )
        super().learn(fields)

    def _take_form(self, target: Field) -> None:
        self.digits, self.unit, self.ends = target.decimals, target.unit, target.ends

    def find_offsets(self, fields: Fields) -> None:
        """Set the offsets to the frequent ones of the rows of fields."""
        self._take_form(fields[self.target])
        rest = self._rest(fields)[self.about(fields)]
        if rest.dtype.kind == "f":
            rest = rest.round(self.digits) + 0.0
        found, counts = np.unique(rest, return_counts=True)
        order = counts.argsort(kind="stable")[::-1]
        frequent = [at for at in order[:MAX_OFFSETS] if counts[at] >= max(2, LEAST_OFFSET * len(rest))]
        self.offsets = tuple(found[frequent or order[:1]].tolist())
        few = counts[order[: len(self.offsets)]].sum() >= MOST_OFFSETS * len(rest)
        if len(self.offsets) > 1 and not (few and _are_apart(np.sort(self.offsets), found)):
            self.offsets = self.offsets[:1]  # a count that varies is no constant


class Sum(Equation):
    """target = a + b - ..., with whole coefficients: also copies, differences, and constants apart.

    Attributes
    ----------
    coefficients : tuple of int
        Of the sources.
    """

    kind = "sum"

    def __init__(self, target: Any, terms: Iterable[tuple[Any, int]], offsets: tuple = (0,)):
        terms = list(terms)
        self.columns = (target, *(name for name, _ in terms))
        self.coefficients, self.offsets = tuple(coefficient for _, coefficient in terms), offsets

    @property
    def targets(self):
        return self.target, *(name for name, coefficient in self.terms if abs(coefficient) == 1)

    def solved_for(self, name):
        if name == self.target:
            return self
        own = dict(self.terms)[name]
        rest = [(other, -own * value) for other, value in self.terms if other != name]
        offsets = tuple(-own * offset for offset in self.offsets)
        one = Sum(name, [(self.target, own), *rest], offsets)
        one.unit, one.share = self.unit, self.share
        return one

    @property
    def plain(self):
        return max(map(abs, self.coefficients)) == 1

    @property
    def terms(self) -> list[tuple[Any, int]]:
        return list(zip(self.columns[1:], self.coefficients, strict=True))

    def __str__(self):
        out = ""
        for name, coefficient in self.terms:
            sign = (" - " if coefficient < 0 else " + ") if out else ("-" if coefficient < 0 else "")
            factor = "" if abs(coefficient) == 1 else f"{abs(coefficient)} * "
            out += f"{sign}{factor}{quoted(name)}"
        if len(self.offsets) > 1:
            out += f" + one of {', '.join(map(self._text, self.offsets))}"
        elif self.offsets[0]:
            out += f" {'-' if self.offsets[0] < 0 else '+'} {self._text(abs(self.offsets[0]))}"
        return f"{quoted(self.target)} = {out}"

    def _text(self, offset: float) -> str:
        """An offset: a number, or a duration such as '2 days 03:00:00'."""
        return f"{offset:.12g}" if not self.unit else str(pd.Timedelta(int(offset), unit=self.unit))

    @property
    def key(self):
        vector = dict(self.terms) | {self.target: -1}
        first = max(vector, key=str)
        return self.kind, tuple(
            sorted((str(name), value * (1 if vector[first] > 0 else -1)) for name, value in vector.items())
        )

    def predict(self, amounts):
        return sum(coefficient * amounts[name] for name, coefficient in self.terms)

    def solve(self, name, amounts, offset):
        if name == self.target:
            return super().solve(name, amounts, offset)
        own = dict(self.terms)[name]
        rest = sum(coefficient * amounts[other] for other, coefficient in self.terms if other != name)
        left = amounts[self.target] - rest - offset
        if own in (1, -1):
            return own * left
        # whole numbers are not divided into parts of one
        return left / own if left.dtype.kind == "f" else np.where(left % own == 0, left / own, np.nan)

    @classmethod
    def find(cls, fields, evidence):
        for kinds in (("number",), ("date", "duration")):
            group = [field for field in fields if field.kind in kinds and field.amounts is not None][:MAX_COLUMNS]
            if len(group) > 1:
                yield from _independent(_sums_of(group, evidence), group)

    @classmethod
    def parse(cls, text, names):
        if not (match := re.fullmatch(r"(.+?)\s=\s(.+)", text)) or (target := names.get(match[1])) is None:
            return None
        right, offsets = match[2], (0,)
        if found := re.fullmatch(r"(.+?) \+ one of (.+)", right):
            right, offsets = found[1], tuple(_number(part) for part in found[2].split(","))
        terms, constant = [], 0
        for sign, part in re.findall(r"(?:(^-?|\s[+-]\s))((?:`[^`]*`|[^\s]|\s(?![+-]\s))+)", right):
            times = re.fullmatch(r"(\d+) \* (.+)", part)
            factor, name = (int(times[1]), times[2]) if times else (1, part)
            negative = "-" in sign
            if (column := names.get(name)) is not None:
                terms.append((column, -factor if negative else factor))
            elif (number := _number(part)) is not None and not constant:
                constant = -factor * number if negative else factor * number
            else:
                return None
        return cls(target, terms, (constant,) if constant else offsets) if terms and None not in offsets else None


class Product(Equation):
    """target = a * b, within the rounding of the target."""

    kind = "product"

    def __init__(self, target: Any, first: Any, second: Any):
        self.columns = target, first, second

    def __str__(self):
        target, first, second = map(quoted, self.columns)
        return f"{target} = {first} * {second}"

    @property
    def key(self):
        return self.kind, str(self.target), frozenset(map(str, self.columns[1:]))

    def predict(self, amounts):
        first, second = (np.asarray(amounts[name], dtype=float) for name in self.columns[1:])
        return first * second

    def _tolerance(self, fields):
        return 0.5 * 10.0**-self.digits * (1 + 1e-6)

    def _rest(self, fields):
        amounts = {name: fields[name].amounts for name in self.columns}
        return amounts[self.target] - self.predict(amounts)

    def _holds_in(self, fields: Fields, evidence: float) -> bool:
        """Whether rows keep it, and not by chance."""
        self.learn(fields)
        return self.share > 1 - 10 * MOST_BREAKS and _shows(self, fields, evidence)

    @classmethod
    def find(cls, fields, evidence):
        numbers = [field for field in fields if field.kind == "number" and field.amounts is not None]
        numbers = [field for field in numbers if len(np.unique(field.amounts[:N_SAMPLED])) > 2][: MAX_COLUMNS // 4]
        if len(numbers) < 3:
            return
        rows = _some_rows(len(numbers[0].missing), N_SKETCH // 4)
        x = np.array([np.where(f.missing[rows], np.nan, f.amounts[rows].astype(float)) for f in numbers])
        by_name = {field.name: field for field in numbers}
        wider = _some_rows(len(numbers[0].missing), N_SAMPLED)
        some = {name: field.take(wider) for name, field in by_name.items()}
        for first, second in combinations(range(len(numbers)), 2):
            product = x[first] * x[second]
            half = np.array([[0.5 * 10.0**-f.decimals * (1 + 1e-6)] for f in numbers])
            with np.errstate(invalid="ignore"):
                fits = (np.abs(x - product) <= half).mean(1)
            for target in np.flatnonzero(fits > 0.9):
                one = cls(*(numbers[j].name for j in (target, first, second)))
                if target in (first, second) or not one._holds_in(some, evidence):
                    continue
                if one._holds_in(by_name, evidence):
                    yield one

    @classmethod
    def parse(cls, text, names):
        if not (match := re.fullmatch(r"(.+?)\s=\s(.+?) \* (.+)", text)):
            return None
        columns = _named(names, match.groups())
        return None if columns is None else cls(*columns)


class Order(AbstractRelation):
    """upper >= lower, of numbers, of dates, or of durations."""

    kind = "order"

    def __init__(self, upper: Any, lower: Any):
        self.columns = upper, lower

    def __str__(self):
        return " >= ".join(map(quoted, self.columns))

    def kept(self, fields):
        upper, lower = (fields[name] for name in self.columns)
        about = _are_there(fields, self.columns)
        with np.errstate(invalid="ignore"):
            return about & (upper.amounts >= lower.amounts), about

    @classmethod
    def find(cls, fields, evidence):
        by_name = {field.name: field for field in fields}
        found = []
        for kind in ("number", "date", "duration"):
            group = [f for f in fields if f.kind == kind and not f.is_flag and len(_there(f)) and np.ptp(_there(f)) > 0]
            for upper, lower in _ordered_pairs(group[:MAX_COLUMNS]):
                one = cls(upper, lower)
                one.learn(by_name)
                if one.share >= (1.0 if kind == "number" else 1 - MOST_BREAKS) and _order_shows(one, by_name, evidence):
                    found.append(one)
        pairs = {one.columns for one in found}
        for one in found:  # those that do not follow from two others
            upper, lower = one.columns
            if not any((upper, other) in pairs and (other, lower) in pairs for other in by_name):
                yield one

    @classmethod
    def parse(cls, text, names):
        if not (match := re.fullmatch(r"(.+?) (>=|<=) (.+)", text)):
            return None
        columns = _named(names, (match[1], match[3]))
        if columns is None:
            return None
        return cls(*columns) if match[2] == ">=" else cls(*columns[::-1])


# --- categories ------------------------------------------------------------------------------------------------------


class Aspect(Saved):
    """What is said of a column: its value, or whether it is missing, or whether it is above zero."""

    def __init__(self, name: Any, form: str = "value"):
        self.name, self.form = name, form

    def __str__(self):
        return quoted(self.name) + {"value": "", "missing": " missing", "positive": " > 0"}[self.form]

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

    @staticmethod
    def of(name: Any) -> "Aspect":
        """What the name of a field stands for: an aspect, or the value of the column."""
        return name if isinstance(name, Aspect) else Aspect(name)

    @staticmethod
    def parse(text: str, names: Mapping[str, Any]) -> "Aspect | None":
        for ending, form in ((" missing", "missing"), (" > 0", "positive")):
            if text.endswith(ending) and text.removesuffix(ending) in names:
                return Aspect(names[text.removesuffix(ending)], form)
        return Aspect(names[text]) if text in names else None


class Pair(AbstractRelation):
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
        self.allowed = self._allowed(_counts(first, second))
        super().learn(fields)

    @abstractmethod
    def _allowed(self, counts: np.ndarray) -> np.ndarray:
        """Which pairs may occur, of how many rows have each: (k, m) both."""


class Determines(Pair):
    """first -> second: to every value of one column belongs one of the other; one to one, where both determine another."""

    kind = "determines"
    one_to_one = False

    def __str__(self):
        return (" <-> " if self.one_to_one else " -> ").join(map(str, self.aspects))

    def _allowed(self, counts):
        best = counts == counts.max(1, keepdims=True)
        most = best & (best.cumsum(1) == 1)
        return most & (counts.max(0, keepdims=True) == counts) if self.one_to_one else most

    @classmethod
    def find(cls, fields, evidence):
        coded = _coded(fields, MAX_SOURCE_LEVELS, own=True)[:MAX_COLUMNS]
        found = dict.fromkeys(_determined(coded, [*coded, *_yes_or_no_aspects(fields)], evidence))
        yield from cls._reduced(found, {field.name: field for field in fields})

    @classmethod
    def _reduced(cls, found, fields):
        """Those that do not follow from two others, and both directions of a pair as one."""
        done = set()
        for first, second in found:
            twin = (second, first) in found
            value = second.name if isinstance(second, Aspect) else None
            if (
                (first, second) in done
                or (first, value) in found
                or any(
                    other not in (first, second)
                    and (first, other) in found
                    and (other, second) in found
                    and (other, first) not in found
                    and (second, other) not in found
                    for _, other in found
                )
            ):
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
    part = ""
    found: np.ndarray
    given: np.ndarray

    def __init__(self, source: Any, target: Any):
        self.columns = target, source

    def __str__(self):
        return f"{quoted(self.columns[1])} -> {quoted(self.target)}"

    def predict(self, amounts):
        return self.given[self._place(amounts[self.columns[1]])]

    def _place(self, source: np.ndarray) -> np.ndarray:
        """Places (n,) of cells of the source among those that fit saw, -1 of others."""
        return pd.Index(self.found).get_indexer(pd.Index(_part_of_date(source, self.part, self.unit)))

    def solve(self, name, amounts, offset):
        return self.predict(amounts) if name == self.target else None

    def about(self, fields):
        return super().about(fields) & (self._place(fields[self.columns[1]].entries) >= 0)

    def codes(self, fields):
        target, source = (fields[name] for name in self.columns)
        fits = self.predict({source.name: source.entries}) == target.entries
        return np.where(self.about(fields), ~fits, -1).astype(int)

    def learn(self, fields):
        self.unit = fields[self.columns[1]].unit
        for part in (*(CALENDAR if fields[self.columns[1]].kind == "date" else ()), ""):
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
        whole = [f for f in _coded(fields, MAX_SOURCE_LEVELS) if not f.discrete and f.amounts.dtype.kind == "i"]
        dense = [f for f in whole if len(f.missing) >= MIN_ROWS_A_VALUE * len(f.values)][:MAX_COLUMNS]
        sources = [part for f in fields if f.kind == "date" for part in _parts_of(f)][:MAX_COLUMNS] + dense
        targets = _coded(fields, MAX_LEVELS, own=True)[:MAX_COLUMNS]
        categories = [f for f in _coded(fields, MAX_SOURCE_LEVELS, own=True) if f.amounts is None][:MAX_COLUMNS]
        numbers = [f for f in _coded(fields, MAX_SOURCE_LEVELS) if not f.discrete and f.kind == "number"][:MAX_COLUMNS]
        found = [*_determined(sources, targets, evidence), *_determined(categories, numbers, evidence)]
        for source, target in dict.fromkeys(found):
            one = cls(source, target)
            one.learn(by_name)
            yield one

    @classmethod
    def parse(cls, text, names):
        return None  # what `Determines` reads becomes one where the source is a number


class Combinations(Pair):
    """Some values of two columns never occur together, although each is frequent."""

    kind = "combinations"
    least_expected = 0.0

    def __str__(self):
        return "combinations of {} and {}".format(*map(str, self.aspects))

    def _allowed(self, counts):
        expected = counts.sum(1, keepdims=True) * counts.sum(0, keepdims=True) / max(1, counts.sum())
        return (counts > 0) | (expected <= self.least_expected)

    @classmethod
    def find(cls, fields, evidence):
        coded = [f for f in _coded(fields, MAX_LEVELS, own=True) if f.is_flag or f.kind == "category"][:MAX_COLUMNS]
        coded += _yes_or_no_aspects(fields)
        by_name, found = {field.name: field for field in fields}, []
        some = [field.take(_some_rows(len(field.codes), 10 * N_SAMPLED)) for field in coded]
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
        holed = [field for field in fields if 0 < field.missing.sum() < len(field.missing)][:MAX_COLUMNS]
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
        columns = _named(names, (match[1], match[3]))
        if columns is None:
            return None
        one = cls(*(Aspect(name, "missing") for name in columns))
        one.both_ways = match[2] == "where"
        return one


class Flags(AbstractRelation):
    """Of yes-or-no columns exactly one, or at most one, is yes."""

    kind = "flags"

    def __init__(self, columns: Iterable, exactly: bool):
        self.columns, self.exactly = tuple(columns), exactly

    def __str__(self):
        return f"{'exactly' if self.exactly else 'at most'} one of {', '.join(map(quoted, self.columns))}"

    @property
    def key(self):
        return self.kind, self.exactly, frozenset(map(str, self.columns))

    def kept(self, fields):
        flags = [fields[name] for name in self.columns]
        about = _are_there(fields, self.columns)
        n_yes = np.sum([_yes(flag) for flag in flags], axis=0)
        return about & ((n_yes == 1) if self.exactly else (n_yes <= 1)), about

    @classmethod
    def find(cls, fields, evidence):
        flags = [field for field in fields if field.is_flag and not field.missing.any()][:MAX_COLUMNS]
        if len(flags) < 3:
            return
        yes = np.array([_yes(flag) for flag in flags], dtype=np.float32)
        apart, share = yes @ yes.T == 0, yes.mean(1)
        left = [at for at in share.argsort(kind="stable")[::-1].tolist() if share[at] > 0]
        while left:
            group: list[int] = []
            for at in left:
                if all(apart[at, other] for other in group):
                    group.append(at)
            left = [at for at in left if at not in group]
            if len(group) > 2 and _group_shows(share[group], yes[group].sum(0), evidence):
                yield cls([flags[at].name for at in sorted(group)], bool((yes[group].sum(0) == 1).all()))

    @classmethod
    def parse(cls, text, names):
        if not (match := re.fullmatch(r"(exactly|at most) one of (.+)", text)):
            return None
        columns = _named(names, match[2].split(","))
        return None if columns is None or len(columns) < 2 else cls(columns, match[1] == "exactly")


# by kind, in the order in which they are looked for
RELATIONS: dict[str, type[AbstractRelation]] = {
    cls.kind: cls for cls in (Sum, Product, Function, Order, Missing, Flags, Determines, Combinations)
}


def find(fields: Sequence[Field]) -> list[AbstractRelation]:
    """All relations that the rows of fields show, but for those that follow from others."""
    if not fields or len(fields[0].missing) < 2:
        return []
    evidence = LEAST_EVIDENCE + EVIDENCE_A_COLUMN * np.log(len(fields))
    with np.errstate(all="ignore"):  # products and squares of huge numbers overflow, which tells nothing of small ones
        found = [one for cls in RELATIONS.values() for one in cls.find(fields, evidence)]
    sources: dict = {}
    for one in found:
        if isinstance(one, Function):
            sources.setdefault(one.target, set()).add(one.columns[1])
    found = [one for one in found if not any(_follows(one, other, fields) for other in found)]
    return [one for one in found if not (len(one.columns) == 2 and _share_a_source(one, sources))]


def _share_a_source(one: AbstractRelation, sources: Mapping[Any, set]) -> bool:
    """Whether both columns of a relation follow from the same third one."""
    return bool(set.intersection(*(sources.get(name, set()) for name in one.columns)))


def _follows(one: AbstractRelation, other: AbstractRelation, fields: Sequence[Field]) -> bool:
    """Whether a relation says nothing beside another."""
    if one is other or not set(one.columns) <= set(other.columns):
        return False
    if isinstance(one, Sum):
        return isinstance(other, Sum) and not one.exact and (other.exact or other.share >= one.share + NEARLY)
    if isinstance(one, Combinations | Function):
        return isinstance(other, Determines | Flags | Sum)
    if isinstance(one, Order):
        if isinstance(other, Sum) and len(other.columns) > 2 and other.target == one.columns[0]:
            least = [_there(field).min() >= 0 for field in fields if field.name in other.columns[1:]]
            return all(least) and min(other.coefficients) > 0 and min(other.offsets) >= 0
        if isinstance(other, Product) and other.target == one.columns[0]:
            return True
        return isinstance(other, Sum) and len(other.columns) == 2 and other.exact
    return isinstance(one, Determines) and isinstance(other, Flags)


# --- which column follows from which ---------------------------------------------------------------------------------


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
        return _are_there(fields, self.columns)

    def _bound(self, amounts: Mapping[Any, np.ndarray]) -> np.ndarray:
        return (np.maximum if self.above else np.minimum).reduce([amounts[name] for name in self.columns[1:]])

    def solve(self, name: Any, amounts: Mapping[Any, np.ndarray], gap: np.ndarray) -> np.ndarray | None:
        """As `Equation.solve`, given the gap (n,); of several bounds, none follows."""
        gap = gap if self.above else -gap
        if name == self.target:
            return self._bound(amounts) + gap
        return amounts[self.target] - gap if len(self.columns) == 2 else None


def gaps_and_equations(relations: Iterable[AbstractRelation], fields: Fields) -> tuple[list, list[AbstractRelation]]:
    """Gaps and equations, each with a column that follows from the others, and the relations that are kept.

    No column follows twice, and none from itself; relations that would need that are left out. The column that follows
    comes first in `columns`.
    """
    found: list = []
    sources: dict[Any, set] = {}  # of each column that follows
    relations = list(relations)
    equations = sorted((one for one in relations if isinstance(one, Equation)), key=lambda one: len(one.targets))
    orders = [one for one in relations if isinstance(one, Order)]
    left_out = _add_equations([one for one in equations if one.exact], sources, found, fields)
    left_out += _add_gaps(orders, sources, found, fields)
    pairs = [set(one.columns) for one in orders if one not in left_out]
    # the gap between two columns that are often equal is often zero, which says the same
    partial = [one for one in equations if not one.exact and set(one.columns) not in pairs]
    partial.sort(key=lambda one: -one.share)
    left_out += _add_equations(partial, sources, found, fields)
    return _sources_first(found), [one for one in relations if one not in left_out]


def _add_equations(equations: Iterable[Equation], sources: dict, found: list, fields: Fields) -> list[AbstractRelation]:
    """Add equations to what was found, each solved for a column that follows from no other; returns those left out."""
    left_out: list[AbstractRelation] = []
    for one in equations:
        # any target but the first by how many values it has: a few are better drawn by themselves
        first, *others = one.targets
        for target in (first, *sorted(others, key=lambda name: -_n_values(fields[name]))):
            solved, members = one.solved_for(target), set(one.columns) - {target}
            if target in sources or not _may_follow(target, members, sources):
                continue
            solved.learn(fields)
            if solved.share >= one.share:  # rounding may not go both ways
                sources[target] = members
                found.append(solved)
                break
        else:
            left_out.append(one)
    return left_out


def _add_gaps(orders: Iterable[Order], sources: dict, found: list, fields: Fields) -> list[AbstractRelation]:
    """Add gaps to what was found; returns the orders left out."""
    left_out: list[AbstractRelation] = []
    bounds: dict[Any, tuple[bool, list]] = {}
    for one in orders:
        upper, lower = one.columns
        for above, target, bound in ((True, upper, lower), (False, lower, upper)):
            if not one._stated and not _may_be_a_gap_away(above, fields[target], fields[bound]):
                continue
            so_far = bounds.get(target, (above, []))
            free = target not in sources or (target in bounds and so_far[0] == above)
            if free and _may_follow(target, {bound, *so_far[1]}, sources):
                bounds[target] = (above, [*so_far[1], bound])
                sources[target] = set(bounds[target][1])
                break
        else:
            left_out.append(one)
    found += [Gap(target, names, above) for target, (above, names) in bounds.items()]
    return left_out


def _may_be_a_gap_away(above: bool, target: Field, bound: Field) -> bool:
    """Whether a column is well drawn as a bound plus, or less, a gap.

    It must not get values that it never has, and the gap must say more than the column: numbers that only keep their order
    are drawn worse by it (MAGIC, benchmarks/tables.py). Dates do well by it.
    """
    if _n_values(target) <= MAX_LEVELS:
        return False
    there = ~(target.missing | bound.missing)
    gap = np.abs(bound.amounts[there] - target.amounts[there]).astype(float)
    if above and (target.kind == "date" or (gap == 0).mean() > HEAVY):
        return True
    spreads = [np.subtract(*np.quantile(part, (0.75, 0.25))) for part in (gap, target.amounts[there].astype(float))]
    return spreads[0] < NARROW * spreads[1]


def _n_values(field: Field) -> int:
    return pd.Series(field.entries).nunique()


def _may_follow(target: Any, from_: set, sources: Mapping[Any, set]) -> bool:
    """Whether a column may follow from others, where each of `sources` follows from those."""
    seen, left = set(), list(from_)
    while left:
        name = left.pop()
        if name not in seen:
            seen.add(name)
            left += sources.get(name, ())
    return target not in seen


def _sources_first(found: list) -> list:
    """The same, each after those that it builds on."""
    out: list = []
    while found:
        targets = {one.target for one in found}
        ready = [one for one in found if not targets & set(one.columns[1:])]
        out += ready
        found = [one for one in found if one not in ready]
    return out


@dataclass(frozen=True)
class Identity(Saved):
    """What torch must know of a gap or an equation.

    Attributes
    ----------
    members : tuple of int
        Variables: the one that follows, its sources, and the gap if there is one.
    solvable : tuple of int
        Those that follow from all others.
    gate : int
        The variable that says which offset a row has; -1 where there is a gap.
    n_offsets : int
        Codes of the gate; the one after them says that a row does not keep the equation.
    exact : bool
        Whether all rows kept it.
    discrete : tuple of bool
        Of each member, whether its cells have probabilities rather than densities.
    pivot : int
        The source that is best drawn after all others, as it has the most values: where the target is known, it follows
        from the rest, and can be anything; -1 where no source follows.
    log_widths : tuple of float
        Of each member, the log of the width of its last digit, over which the probability of what follows is spread.
    leads : bool
        Whether the source is best drawn before all else: of a date, much follows.
    """

    members: tuple[int, ...]
    solvable: tuple[int, ...]
    gate: int
    n_offsets: int
    exact: bool
    discrete: tuple[bool, ...]
    log_widths: tuple[float, ...] = ()
    pivot: int = -1
    leads: bool = False


@dataclass(frozen=True)
class Support(Saved):
    """Which codes of two variables never occur together.

    first, second : int; forbidden : (n_codes, n_codes), bool, of either.
    """

    first: int
    second: int
    forbidden: np.ndarray


@dataclass(frozen=True)
class Exclusion(Saved):
    """Of yes-or-no variables exactly one, or at most one, is yes."""

    members: tuple[int, ...]
    exactly: bool


# --- texts -----------------------------------------------------------------------------------------------------------


def quoted(name: Any) -> str:
    """A name of a column as relations write it: between backticks, unless it is plain."""
    return str(name) if re.fullmatch(r"[^\W\d][\w.\-]*", str(name)) else f"`{name}`"


def parse(text: str, columns: Iterable) -> AbstractRelation:
    """The relation that a text states of columns."""
    names = {form: name for name in columns for form in (quoted(name), str(name), f"`{name}`")}
    for cls in RELATIONS.values():
        if (one := cls.parse(text.strip(), names)) is not None:
            return one
    words = re.findall(r"`([^`]*)`|([^\W\d][\w.\-]*)", text)
    known = {"one", "of", "exactly", "at", "most", "missing", "only", "where", "combinations", "and"}
    unknown = [a or b for a, b in words if (a or b) not in names and (a or b) not in known]
    where = f": {unknown[0]!r} is no column of X" if unknown else ""
    raise ValueError(
        f"relations has {text!r}, which cannot be read{where}. Write such as 'total = fare + tip', 'end >= start', "
        "'zone -> borough', 'exactly one of a, b, c', 'a missing only where b missing', with names of columns that are not "
        "plain between backticks."
    )


def _named(names: Mapping[str, Any], texts: Iterable[str]) -> list | None:
    """The columns that texts name; None where one names none."""
    columns = [names.get(text.strip()) for text in texts]
    return None if None in columns else columns


def wanted(relations: Any, fields: Fields) -> list[AbstractRelation]:
    """The relations that a user asks for: those that are found ("auto"), none (None), or a list of changes to what is found.

    A text of the list adds a relation; "not " before it removes one; "mostly " before it lets some rows break it.
    """
    if relations is None:
        return []
    found = find(list(fields.values()))
    for text in [] if isinstance(relations, str) else relations:
        if not isinstance(text, str):
            raise TypeError(f"relations must be 'auto', None or a list of str. Got {text!r} in the list.")
        removes, mostly = text.startswith("not "), text.startswith("mostly ")
        one = _learned(text.removeprefix("not ").removeprefix("mostly "), fields)
        found = [other for other in found if other.key != one.key]
        if not removes:
            _check_stated(one, text, fields, mostly)
            one._stated = text
            found.append(one)
    return found


def check_placed(wanted: Iterable[AbstractRelation], kept: Sequence[AbstractRelation]) -> None:
    """Refuse relations that a user stated, but that cannot be kept beside the others."""
    for one in wanted:
        if one._stated and one not in kept:
            others = [str(other) for other in kept if other is not one and set(other.columns) & set(one.columns)]
            beside = f" beside {', '.join(map(repr, others))}" if others else ""
            raise ValueError(
                f"relations has {one._stated!r}, which cannot be kept{beside}: no column may follow from others twice, or "
                "from itself, and of columns of many values single ones cannot be told apart. Leave it out, or remove "
                "another: 'not ' and its text."
            )


def as_table(relations: Iterable[AbstractRelation]) -> pd.DataFrame:
    """Relations, their kinds, the share of rows that keep them, and their columns."""
    rows = [(str(one), one.kind, one.share, list(dict.fromkeys(one.columns))) for one in relations]
    return pd.DataFrame(rows, columns=["relation", "kind", "share", "columns"])


def _learned(text: str, fields: Fields) -> AbstractRelation:
    """The relation that a text states, learned from fields."""
    one = parse(text, fields)
    if isinstance(one, Determines) and not all(fields[name].discrete for name in one.columns):
        one = Function(*one.columns)
    for name in one.columns:
        field = fields[name]
        if field.amounts is None and isinstance(one, Sum | Product | Order):
            raise ValueError(f"relations has {text!r}, but column {name!r} holds categories, not numbers or dates.")
        if field.codes is None and isinstance(one, Function | Flags | Determines):
            raise ValueError(f"relations has {text!r}, but column {name!r} holds too many different values for that.")
    if isinstance(one, Sum | Order) and not _units_agree(one, fields):
        raise ValueError(f"relations has {text!r}, whose columns are not of one unit: dates, durations and numbers differ.")
    one.learn(fields)
    return one


def _units_agree(one: "Sum | Order", fields: Fields) -> bool:
    is_time = {fields[name].kind != "number" for name in one.columns}
    if isinstance(one, Order):
        return len({fields[name].kind for name in one.columns}) == 1
    return len(is_time) == 1 and _is_of_one_kind(one, fields)


def _check_stated(one: AbstractRelation, text: str, fields: Fields, mostly: bool) -> None:
    """Refuse a stated relation that rows break, or, where some may, that none keeps."""
    if not one.exact and not mostly:
        raise ValueError(
            f"relations has {text!r}, which {1 - one.share:.2%} of the rows break: {first_breaks(one, fields)}. Write "
            f"'mostly {text}' for draws to keep it as often as the data do."
        )
    if one.share == 0.0:
        raise ValueError(f"relations has {text!r}, which no row keeps: {first_breaks(one, fields)}.")


def _number(text: str) -> Any:
    """A number, or a duration, that a text writes; None of another."""
    text = text.strip()
    for kind in (int, float, pd.Timedelta):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def first_breaks(relation: AbstractRelation, fields: Fields, n_rows: int = 3) -> str:
    """The first rows that break a relation, in words."""
    kept, about = relation.kept(fields)
    rows = np.flatnonzero(about & ~kept)[:n_rows]
    cells = []
    for row in rows:
        parts = (f"{quoted(name)} = {_cell(fields[name], row)}" for name in dict.fromkeys(relation.columns))
        cells.append(f"row {row} ({', '.join(parts)})")
    return ", ".join(cells)


def _cell(field: Field, row: int) -> str:
    if field.missing[row]:
        return "missing"
    if field.codes is not None and field.amounts is None:
        return shown(field.values[field.codes[row]])
    amount = field.amounts[row]
    if field.unit:
        kind = pd.Timedelta if field.kind == "duration" else pd.Timestamp
        return str(kind(int(amount), unit=field.unit))
    return f"{amount:g}" if isinstance(amount, float) else str(amount)


# --- chance ----------------------------------------------------------------------------------------------------------


def _some_rows(n: int, most: int) -> np.ndarray:
    """Rows drawn at random, the same at every call."""
    return np.arange(n) if n <= most else np.sort(np.random.RandomState(0).choice(n, most, replace=False))


def _against_chance(n: int, share: float, chance: float) -> float:
    """Nats by which a share of n rows speaks against a chance: n times the divergence (Chernoff)."""
    chance = min(max(chance, 1.0 / (n + 2)), 1 - 1e-12)
    if share <= chance:
        return 0.0
    rest = (1 - share) * np.log((1 - share) / (1 - chance)) if share < 1 else 0.0
    return n * (share * np.log(share / chance) + rest)


def _shows(one: Equation, fields: Fields, evidence: float) -> bool:
    """Whether rows keep an equation more often than chance, and it tells more than it takes to say which rows keep it.

    Of a partial one, rows in which the target has one of its frequent numbers count for nothing: two columns that are often
    zero are often equal.
    """
    target, n = fields[one.target], len(fields[one.target].missing)
    rows = _some_rows(n, N_SAMPLED)
    some = {name: fields[name].take(rows) for name in one.columns}
    codes = one.codes(some)
    there = np.flatnonzero(codes >= 0)
    if not one.exact:
        amounts = target.amounts[rows]
        found, inverse, counts = np.unique(amounts[there], return_inverse=True, return_counts=True)
        there = there[(counts < HEAVY * max(1, len(there)))[inverse]]
        if not len(found) or (len(found) <= MAX_LEVELS and one.share < 1 - MOST_BREAKS):
            return False
    if len(there) < 5:
        return False
    kept = codes[there] < len(one.offsets)
    if not one.exact and not _stands_out(one, {name: field.take(there) for name, field in some.items()}):
        return False
    shuffled = dict(some) | {one.target: target.take(rows)}
    order = np.random.RandomState(0).permutation(there)
    mixed = shuffled[one.target]
    for part in (mixed.amounts, mixed.missing):
        part[there] = part[order]
    chance = (one.codes(shuffled)[there] < len(one.offsets)).mean()
    if _against_chance(len(there), kept.mean(), chance) <= evidence:
        return False
    gate = np.bincount(codes[there]) / len(there)
    gain = kept.mean() * _entropy(target.amounts[rows][there]) + (gate[gate > 0] * np.log(gate[gate > 0])).sum()
    one._gain = float(gain)
    if one.exact and len(one.offsets) == 1:
        return True
    return kept.mean() >= (LEAST_SHARE if one.plain else 1 - MOST_BREAKS) and gain > LEAST_GAIN


def _are_apart(offsets: np.ndarray, found: np.ndarray) -> bool:
    """Whether no two offsets, ascending, are neighbours on the grid of all that is found (k,)."""
    return bool(np.diff(offsets).min() > 1.5 * np.diff(found).min())


def _stands_out(one: Equation, fields: Fields) -> bool:
    """Whether the first offset is far more frequent than what rows have next to it."""
    found, counts = np.unique(one._rest(fields), return_counts=True)
    at, others = int(np.abs(found - one.offsets[0]).argmin()), ~np.isin(found, one.offsets)
    beside = [counts[near] for near in (at - 1, at + 1) if 0 <= near < len(found) and others[near]]
    return counts[at] >= OUTSTANDING * max(beside, default=0)


def _entropy(values: np.ndarray) -> float:
    """Of the values (n,) that occur, in nats."""
    share = np.unique(values, return_counts=True)[1] / max(1, len(values))
    return float(-(share * np.log(share)).sum())


def _order_shows(one: Order, fields: Fields, evidence: float) -> bool:
    """Whether independent columns, and a normal distribution of the difference, would break an order that rows keep."""
    _, about = one.kept(fields)
    below = fields[one.columns[1]]
    # rows in which the lower has its least number, which nothing is below, count for nothing
    rows = np.flatnonzero(about & (below.amounts > _there(below).min()))
    if len(rows) < 5:
        return False
    some = rows[_some_rows(len(rows), N_SAMPLED)]
    upper, lower = (fields[name].amounts[some].astype(float) for name in one.columns)
    if below.kind == "number":
        gap = (upper - lower) / np.maximum(np.abs(upper), np.abs(lower)).clip(1e-300)
        if gap.min() > NEAREST or not (_correlation(upper, lower) > LEAST_CORRELATION or (gap == 0).mean() > LEAST_OFFSET):
            return False
    independent = (np.searchsorted(np.sort(upper), lower, side="left") / len(upper)).mean()
    difference = upper - lower
    normal = ndtr(-difference.mean() / max(difference.std(), 1e-300))
    return all(_against_chance(len(rows), one.share, 1 - chance) > evidence for chance in (independent, normal))


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Of ranks (Spearman's), as outliers say little."""
    ranks = [pd.Series(values).rank().to_numpy() for values in (one, other)]
    return float(np.corrcoef(*ranks)[0, 1]) if min(np.ptp(part) for part in ranks) > 0 else 0.0


def _ordered_pairs(group: Sequence[Field]) -> Iterator[tuple]:
    """Names of fields whose order few rows of a sample break, upper first."""
    if len(group) < 2:
        return
    rows = _some_rows(len(group[0].missing), N_SAMPLED)
    base = min(_there(field).min() for field in group)
    x = np.array([np.where(f.missing[rows], np.nan, (f.amounts[rows] - base).astype(float)) for f in group])
    for at, one in enumerate(x):
        with np.errstate(invalid="ignore"):
            both = ~np.isnan(x) & ~np.isnan(one)
            breaks = ((x > one) & both).sum(1) / both.sum(1).clip(1)
            varies = ((x != one) & both).sum(1) > 0
        for other in np.flatnonzero((breaks <= 2 * MOST_BREAKS) & varies & (both.sum(1) >= 5)).tolist():
            if other != at:
                yield group[at].name, group[other].name


def _group_shows(share: np.ndarray, n_yes: np.ndarray, evidence: float) -> bool:
    """Whether independent flags of these shares (k,) would be yes together in some of the rows, of n_yes (n,)."""
    none = np.prod(1 - share)
    one = none * (share / (1 - share).clip(1e-12)).sum()
    chance = one if (n_yes == 1).all() else none + one
    return -len(n_yes) * np.log(chance.clip(1e-300)) > evidence


# --- codes -----------------------------------------------------------------------------------------------------------


def _are_there(fields: Fields, names: Iterable) -> np.ndarray:
    """Which rows have a cell in every one of some columns, (n,), bool."""
    return ~np.any([fields[name].missing for name in names], axis=0)


def _there(field: Field) -> np.ndarray:
    """The amounts that are there."""
    return field.amounts[~field.missing] if field.missing.any() else field.amounts


def _yes(field: Field) -> np.ndarray:
    """Which cells of a flag are yes, (n,)."""
    yes = np.append(np.asarray(field.values, dtype=bool), False)
    return yes[field.codes]


def _is_inflated(field: Field) -> bool:
    """Whether it holds many zeros, and nothing below."""
    if field.amounts is None or field.kind != "number" or field.is_flag:
        return False
    there = _there(field)
    return len(there) > 0 and there.min() == 0 and HEAVY < (there == 0).mean() < 1 - HEAVY / 10


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


def _yes_or_no_aspects(fields: Sequence[Field]) -> list[Field]:
    """Whether cells are missing, of columns that are missing in different rows, and whether they are above zero."""
    holed = {f.missing.tobytes(): f for f in reversed(fields) if 0 < f.missing.sum() < len(f.missing)}
    aspects = [Aspect(f.name, "missing") for f in holed.values()]
    aspects += [Aspect(f.name, "positive") for f in fields if _is_inflated(f)]
    by_name = {field.name: field for field in fields}
    return [aspect.field(by_name) for aspect in aspects[:MAX_COLUMNS]]


def _say_the_same(one: Field, other: Field) -> bool:
    """Whether two fields are of one column, or are both of missing cells, of which `Missing` says more."""
    forms = [Aspect.of(field.name).form for field in (one, other)]
    return _same_column(one, other) or forms == ["missing", "missing"]


def _same_column(one: Field, other: Field) -> bool:
    return Aspect.of(one.name).name == Aspect.of(other.name).name


def _coded(fields: Sequence[Field], most: int, own: bool = False) -> list[Field]:
    """Fields of at most so many values; own : whether only those that are coded as such."""
    return [f for f in fields if f.codes is not None and 1 < len(f.values) <= most and (f.discrete or not own)]


def _counts(first: Field, second: Field) -> np.ndarray:
    """How many rows have each pair of values: (k, m)."""
    there = (first.codes >= 0) & (second.codes >= 0)
    k, m = len(first.values), len(second.values)
    return np.bincount(first.codes[there] * m + second.codes[there], minlength=k * m).reshape(k, m)


def _forbidden(first: Field, second: Field, evidence: float) -> np.ndarray:
    """Rows that chance would have of each pair that no row has, (k, m), where that is as many as evidence asks for."""
    counts = _counts(first, second)
    expected = counts.sum(1, keepdims=True) * counts.sum(0, keepdims=True) / max(1, counts.sum())
    return np.where((counts == 0) & (expected > evidence), expected, 0.0)


def _determined(sources: Sequence[Field], targets: Sequence[Field], evidence: float) -> Iterator[tuple]:
    """Names of fields of which the one determines the other, by all rows."""
    if not sources or not targets:
        return
    n = len(sources[0].codes)
    rows = _some_rows(n, N_SKETCH)
    sketch = np.array([field.codes[rows] for field in targets])
    for source in sources:
        _, first, group = np.unique(source.codes[rows], return_index=True, return_inverse=True)
        same = (sketch == sketch[:, first[group]]) | (sketch < 0) | (sketch[:, first[group]] < 0)
        for at in np.flatnonzero((same | (source.codes[rows] < 0)).all(1)).tolist():
            target = targets[at]
            if _same_column(source, target):
                continue
            if len(source.values) * len(target.values) > MAX_PAIRS:
                continue
            counts = _counts(source, target)
            if ((counts > 0).sum(1) <= 1).all() and _groups_show(counts, evidence):
                yield source.name, target.name


def _groups_show(counts: np.ndarray, evidence: float) -> bool:
    """Whether chance would not give all rows of every group the same value; counts : (groups, values)."""
    share = counts.sum(0) / max(1, counts.sum())
    sizes, times = np.unique(counts.sum(1), return_counts=True)
    against = 0.0
    for size, n_groups in zip(sizes, times, strict=True):
        if size > 1:  # of the first row of a group nothing follows
            against -= n_groups * np.log((share ** float(size)).sum().clip(1e-300))
    return against > evidence


# --- sums ------------------------------------------------------------------------------------------------------------


def _sums_of(group: Sequence[Field], evidence: float) -> list[Sum]:
    """Sums among fields of one unit, by all rows, the most exact first."""
    by_name = {field.name: field for field in group}
    rows = _some_rows(len(group[0].missing), N_SAMPLED)
    some = {field.name: field.take(rows) for field in group}
    names = [field.name for field in group]
    found: dict[tuple, Sum] = {}
    for one in _sum_candidates(group, rows):
        if one.key in found or not _is_of_one_kind(one, by_name):
            continue
        one = _turned(one, by_name)
        one.find_offsets(some)
        one.learn(some)
        one = _improved(one, some, names)
        if one.share < LEAST_SHARE or one.key in found or not _shows(one, some, evidence):
            continue
        one = _turned(one, by_name)
        one.find_offsets(by_name)
        one.learn(by_name)
        if _is_of_one_kind(one, by_name) and _shows(one, by_name, evidence):
            found[one.key] = one
    return sorted(found.values(), key=lambda one: (not one.exact, -one._gain + TERM_PRICE * len(one.columns)))


def _sum_candidates(group: Sequence[Field], rows: np.ndarray) -> Iterator[Sum]:
    """Sums that a sample suggests: pairs that are often equal, and regressions with whole coefficients."""
    base = min((_there(f).min() for f in group if f.kind == "date" and len(_there(f))), default=0)
    x = np.array([(f.amounts[rows] - (base if f.kind == "date" else 0)).astype(float) for f in group])
    missing = np.array([f.missing[rows] for f in group])
    names = [field.name for field in group]
    for at, other in combinations(range(len(group)), 2):
        both = ~(missing[at] | missing[other])
        if (
            not (group[at].is_flag and group[other].is_flag)
            and both.any()
            and (x[at][both] == x[other][both]).mean() >= LEAST_SHARE
        ):
            yield Sum(names[at], [(names[other], 1)])
    for target, pair in _pairs_that_add_up(np.where(missing, np.nan, x)[:MAX_ADDED, :N_SKETCH]):
        yield Sum(names[target], [(names[j], 1) for j in pair])
    useful = (~missing).mean(1) > 0.5
    means = np.array([one[~gap].mean() if (~gap).any() else 0.0 for one, gap in zip(x, missing, strict=True)])
    centred = np.where(missing, 0.0, x - means[:, None])
    scale = np.sqrt((centred**2).mean(1))
    useful &= scale > 0
    for at in np.flatnonzero(useful).tolist():
        if group[at].is_flag:
            continue
        there = ~missing[at]
        for terms in _whole_coefficients(centred[:, there], scale, useful, at):
            yield Sum(names[at], [(names[j], value) for j, value in terms])


def _pairs_that_add_up(x: np.ndarray) -> Iterator[tuple[int, tuple[int, int]]]:
    """Variables that are often the sum of two others, which regressions may miss; x : (k, m), NaN where missing."""
    varies = np.nanmin(x, 1, initial=np.inf) < np.nanmax(x, 1, initial=-np.inf)
    for first, second in combinations(np.flatnonzero(varies), 2):
        total = x[first] + x[second]
        both = (x[first] != 0) & (x[second] != 0) & ~np.isnan(total)  # what is added to zero tells nothing
        if both.sum() < 10:
            continue
        equal = (np.abs(x - total) <= 1e-9 * np.abs(total)) & both
        there = (~np.isnan(x) & both).sum(1).clip(1)
        for target in np.flatnonzero((equal.sum(1) >= 0.5 * there) & varies):
            if target not in (first, second):
                yield int(target), (int(first), int(second))


def _whole_coefficients(x: np.ndarray, scale: np.ndarray, useful: np.ndarray, at: int) -> Iterator[list[tuple[int, int]]]:
    """Terms, with whole coefficients, of regressions of one variable on ever more of the others (matching pursuit).

    x : (k, m), centred; scale : (k,).
    """
    chosen: list[int] = []
    y = x[at]
    rest, last = y, None
    rows: Any = slice(None)
    for _ in range(min(2 * MAX_TERMS, useful.sum() - 1)):
        gain = np.abs(x[:, rows] @ (rest if isinstance(rows, slice) else rest[rows])) / np.where(scale > 0, scale, np.inf)
        gain[[at, *chosen]] = -1.0
        gain[~useful] = -1.0
        chosen.append(int(gain.argmax()))
        if gain[chosen[-1]] <= 0:
            return
        # rows that do not keep the sum are far off: the nearest four fifths say what the others would (least trimmed
        # squares by concentration steps: Rousseeuw & Van Driessen, 2006)
        for _ in range(N_CONCENTRATIONS):
            slopes = np.asarray(np.linalg.lstsq(x[chosen][:, rows].T, y[rows], rcond=1e-9)[0])
            rest = y - slopes @ x[chosen]
            rows = near = np.flatnonzero(np.abs(rest) <= np.quantile(np.abs(rest), 0.8))
        whole = np.round(slopes)
        close = np.abs(slopes - whole) <= np.where(np.abs(whole) > 1, 0.005 * np.abs(whole), 0.3)
        terms = [(j, int(w)) for j, w, fits in zip(chosen, whole, close, strict=True) if fits and w]
        if terms and len(terms) <= MAX_TERMS and terms != last and max(abs(w) for _, w in terms) <= 1000:
            last = terms
            yield terms
        if (rest[near] ** 2).mean() <= 1e-18 * scale[at] ** 2:
            return


def _improved(one: Sum, fields: Fields, names: Sequence) -> Sum:
    """A sum with a term more or less, while that makes more rows keep it."""
    for _ in range(MAX_TERMS):
        if one.share < 0.2 or (one.exact and len(one.offsets) == 1):
            return one
        terms = dict(one.terms)
        others = [{**terms, name: sign} for name in names if name not in one.columns for sign in (1, -1)]
        others = others if len(terms) < MAX_TERMS else []
        others += [{k: v for k, v in terms.items() if k != name} for name in terms if len(terms) > 1]
        best, best_gain = one, _mode_share(one, fields)
        for other in others:
            candidate = Sum(one.target, other.items())
            gain = _mode_share(candidate, fields)
            if gain > best_gain + 0.02:
                best, best_gain = candidate, gain
        if best is one:
            return one
        one = best
        one.find_offsets(fields)
        one.learn(fields)
    return one


def _mode_share(one: Sum, fields: Fields) -> float:
    """Share of rows with the most frequent offset."""
    rest = one._rest(fields)[one.about(fields)]
    if len(rest) < 5:
        return 0.0
    rest = np.sort(rest.round(fields[one.target].decimals) if rest.dtype.kind == "f" else rest)
    ends = np.flatnonzero(np.append(np.diff(rest) != 0, True))
    return float(np.diff(np.append(-1, ends)).max() / len(rest))


def _turned(one: Sum, fields: Fields) -> Sum:
    """The same sum, solved for the column of which all others are parts, else for the one that varies the most."""
    vector = dict(one.terms) | {one.target: -1}
    if any(abs(value) != 1 for value in vector.values()):
        large = [name for name, value in vector.items() if abs(value) == 1]
        targets = [one.target] if vector[one.target] == -1 else large
    else:
        targets = list(vector)

    def order(name: Any) -> tuple:
        sign = -vector[name]
        minuses = sum(value * sign < 0 for other, value in vector.items() if other != name)
        return minuses, fields[name].is_flag, -float(np.std(_there(fields[name]).astype(float)))

    target = min(targets, key=order)
    sign = -vector[target]
    columns = [name for name in fields if name in vector and name != target]
    return Sum(target, [(name, vector[name] * sign) for name in columns])


def _is_of_one_kind(one: Sum, fields: Fields) -> bool:
    """Whether units agree: as many dates on both sides."""
    n_dates = sum(coefficient for name, coefficient in one.terms if fields[name].kind == "date")
    return n_dates == (fields[one.target].kind == "date")


def _independent(sums: Iterable[Sum], group: Sequence[Field]) -> list[Sum]:
    """Those sums that do not follow from former ones."""
    place = {field.name: j for j, field in enumerate(group)}
    kept: list[Sum] = []
    vectors: list[np.ndarray] = []
    sums = list(sums)
    for one in sums:
        shorter = [other for other in sums if set(other.columns) < set(one.columns)]
        if not one.exact and any(other.share >= one.share - NEARLY for other in shorter):
            continue
        vector = np.zeros(len(place))
        for name, coefficient in [*one.terms, (one.target, -1)]:
            vector[place[name]] = coefficient
        if np.linalg.matrix_rank(np.array([*vectors, vector])) > len(vectors):
            kept.append(one)
            vectors.append(vector)
    return kept
