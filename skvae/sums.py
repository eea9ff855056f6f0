"""Sums: whole multiples of columns that add up to another, and how they are found."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from skvae.equations import Equation
from skvae.fields import MAX_COLUMNS, N_SAMPLED, N_SKETCH, Field, Fields, some_rows
from skvae.notation import number, quoted
from skvae.significance import LEAST_SHARE

MAX_TERMS = 5  # of a sum; unmeasured
LEAST_IMPROVEMENT = 0.02  # share of rows by which more must keep a sum for it to be preferred; unmeasured
MAX_ADDED = 60  # columns of which all pairs are added up
N_CONCENTRATIONS = 4  # of a trimmed regression; unmeasured
TERM_PRICE = 0.2  # nats a row that one more term must save, for a sum to be preferred; unmeasured


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

    @property
    def linear_form(self) -> dict[Any, int]:
        """Coefficients, by column, of what is zero where the sum holds without an offset: the terms less the target."""
        return dict(self.terms) | {self.target: -1}

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
        form = self.linear_form
        sign = 1 if form[max(form, key=str)] > 0 else -1
        return self.kind, tuple(sorted((str(name), sign * value) for name, value in form.items()))

    def is_implied_by(self, other, fields):
        if not isinstance(other, Sum) or self.exact:
            return False
        return other.exact or other.share >= self.share + LEAST_IMPROVEMENT

    def implies_order(self, upper, lower, fields):
        if len(self.columns) == 2:
            return self.exact
        if upper != self.target:
            return False
        return (
            all(fields[name].present.min() >= 0 for name in self.columns[1:])
            and min(self.coefficients) > 0
            and min(self.offsets) >= 0
        )

    def units_agree(self, fields):
        """As many dates on both sides, and numbers beside numbers only."""
        kinds = {name: fields[name].kind for name in self.columns}
        n_dates = sum(coefficient for name, coefficient in self.terms if kinds[name] == "date")
        are_numbers = {kind == "number" for kind in kinds.values()}
        return len(are_numbers) == 1 and n_dates == (kinds[self.target] == "date")

    def predict(self, amounts):
        return sum(coefficient * amounts[name] for name, coefficient in self.terms)

    @property
    def solvable(self):
        return self.columns

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
            right, offsets = found[1], tuple(number(part) for part in found[2].split(","))
        terms, constant = [], 0
        for sign, part in re.findall(r"(?:(^-?|\s[+-]\s))((?:`[^`]*`|[^\s]|\s(?![+-]\s))+)", right):
            times = re.fullmatch(r"(\d+) \* (.+)", part)
            factor, name = (int(times[1]), times[2]) if times else (1, part)
            negative = "-" in sign
            if (column := names.get(name)) is not None:
                terms.append((column, -factor if negative else factor))
            elif (value := number(part)) is not None and not constant:
                constant = -factor * value if negative else factor * value
            else:
                return None
        return cls(target, terms, (constant,) if constant else offsets) if terms and None not in offsets else None


def _sums_of(group: Sequence[Field], evidence: float) -> list[Sum]:
    """Sums among fields of one unit, by all rows, the most exact first."""
    by_name = {field.name: field for field in group}
    rows = some_rows(len(group[0].missing), N_SAMPLED)
    some = {field.name: field.take(rows) for field in group}
    names = [field.name for field in group]
    found: dict[tuple, Sum] = {}
    for one in _sum_candidates(group, rows):
        if one.key in found or not one.units_agree(by_name):
            continue
        one = _solved_for_total(one, by_name)
        one.find_offsets(some)
        one.learn(some)
        one = _with_better_terms(one, some, names)
        if one.share < LEAST_SHARE or one.key in found or not one.is_significant(some, evidence):
            continue
        one = _solved_for_total(one, by_name)
        one.find_offsets(by_name)
        one.learn(by_name)
        if one.units_agree(by_name) and one.is_significant(by_name, evidence):
            found[one.key] = one
    return sorted(found.values(), key=lambda one: (not one.exact, -one._gain + TERM_PRICE * len(one.columns)))


def _sum_candidates(group: Sequence[Field], rows: np.ndarray) -> Iterator[Sum]:
    """Sums that a sample suggests: columns that are often equal, or often add up, and regressions."""
    base = min((f.present.min() for f in group if f.kind == "date" and len(f.present)), default=0)
    x = np.array([(f.amounts[rows] - (base if f.kind == "date" else 0)).astype(float) for f in group])
    missing = np.array([f.missing[rows] for f in group])
    names = [field.name for field in group]
    are_flags = [field.is_flag for field in group]
    for at, other in _often_equal(x, missing):
        if not (are_flags[at] and are_flags[other]):
            yield Sum(names[at], [(names[other], 1)])
    for target, pair in _pairs_that_add_up(np.where(missing, np.nan, x)[:MAX_ADDED, :N_SKETCH]):
        yield Sum(names[target], [(names[j], 1) for j in pair])
    for at, terms in _regressions(x, missing, are_flags):
        yield Sum(names[at], [(names[j], value) for j, value in terms])


def _often_equal(x: np.ndarray, missing: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs of variables that are equal in some rows; x, missing : (k, n)."""
    for first, second in combinations(range(len(x)), 2):
        both = ~(missing[first] | missing[second])
        if both.any() and (x[first][both] == x[second][both]).mean() >= LEAST_SHARE:
            yield first, second


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


def _regressions(x: np.ndarray, missing: np.ndarray, are_flags: Sequence[bool]) -> Iterator[tuple[int, list]]:
    """A variable, but for flags, and terms of others that it regresses on; x, missing : (k, n)."""
    means = np.array([one[~gap].mean() if (~gap).any() else 0.0 for one, gap in zip(x, missing, strict=True)])
    centred = np.where(missing, 0.0, x - means[:, None])
    scale = np.sqrt((centred**2).mean(1))
    useful = ((~missing).mean(1) > 0.5) & (scale > 0)
    for at in np.flatnonzero(useful).tolist():
        if not are_flags[at]:
            for terms in _whole_coefficients(centred[:, ~missing[at]], scale, useful, at):
                yield at, terms


def _whole_coefficients(x: np.ndarray, scale: np.ndarray, useful: np.ndarray, at: int) -> Iterator[list[tuple[int, int]]]:
    """Terms, with whole coefficients, of regressions of one variable on ever more of the others (matching pursuit).

    x : (k, m), centred; scale : (k,).
    """
    chosen: list[int] = []
    y = x[at]
    residual, last = y, None
    rows: Any = slice(None)  # that the regression goes by
    for _ in range(min(2 * MAX_TERMS, useful.sum() - 1)):
        gain = np.abs(x[:, rows] @ residual[rows]) / np.where(scale > 0, scale, np.inf)
        gain[[at, *chosen]] = -1.0
        gain[~useful] = -1.0
        chosen.append(int(gain.argmax()))
        if gain[chosen[-1]] <= 0:
            return
        # rows that break the sum are far off, so that the regression goes by the four fifths nearest to it (least trimmed
        # squares by concentration steps: Rousseeuw & Van Driessen, 2006)
        for _ in range(N_CONCENTRATIONS):
            slopes = np.asarray(np.linalg.lstsq(x[chosen][:, rows].T, y[rows], rcond=1e-9)[0])
            residual = y - slopes @ x[chosen]
            rows = np.flatnonzero(np.abs(residual) <= np.quantile(np.abs(residual), 0.8))
        whole = np.round(slopes)
        close = np.abs(slopes - whole) <= np.where(np.abs(whole) > 1, 0.005 * np.abs(whole), 0.3)
        terms = [(j, int(w)) for j, w, fits in zip(chosen, whole, close, strict=True) if fits and w]
        if terms and len(terms) <= MAX_TERMS and terms != last and max(abs(w) for _, w in terms) <= 1000:
            last = terms
            yield terms
        if (residual[rows] ** 2).mean() <= 1e-18 * scale[at] ** 2:
            return


def _with_better_terms(one: Sum, fields: Fields, names: Sequence) -> Sum:
    """A sum with a term more or less, while that makes more rows keep it."""
    for _ in range(MAX_TERMS):
        if one.share < 0.2 or (one.exact and len(one.offsets) == 1):
            return one
        terms = dict(one.terms)
        others = [{**terms, name: sign} for name in names if name not in one.columns for sign in (1, -1)]
        others = others if len(terms) < MAX_TERMS else []
        others += [{k: v for k, v in terms.items() if k != name} for name in terms if len(terms) > 1]
        best, best_share = one, _mode_share(one, fields)
        for other in others:
            candidate = Sum(one.target, other.items())
            share = _mode_share(candidate, fields)
            if share > best_share + LEAST_IMPROVEMENT:
                best, best_share = candidate, share
        if best is one:
            return one
        one = best
        one.find_offsets(fields)
        one.learn(fields)
    return one


def _mode_share(one: Sum, fields: Fields) -> float:
    """Share of rows with the most frequent offset."""
    rest = one.residuals(fields)[one.about(fields)]
    if len(rest) < 5:
        return 0.0
    rest = np.sort(rest.round(fields[one.target].decimals) if rest.dtype.kind == "f" else rest)
    ends = np.flatnonzero(np.append(np.diff(rest) != 0, True))
    return float(np.diff(np.append(-1, ends)).max() / len(rest))


def _solved_for_total(one: Sum, fields: Fields) -> Sum:
    """The same sum, solved for the column of which all others are parts, else for the one that varies the most."""
    form = one.linear_form

    def order(name: Any) -> tuple:
        minuses = sum(value * -form[name] < 0 for other, value in form.items() if other != name)
        return minuses, fields[name].is_flag, -float(np.std(fields[name].present.astype(float)))

    target = min(form, key=order) if one.plain else one.target
    columns = [name for name in fields if name in form and name != target]
    return Sum(target, [(name, form[name] * -form[target]) for name in columns])


def _independent(sums: Sequence[Sum], group: Sequence[Field]) -> list[Sum]:
    """Those sums that do not follow from former ones."""
    place = {field.name: j for j, field in enumerate(group)}
    kept: list[Sum] = []
    vectors: list[np.ndarray] = []
    for one in sums:
        shorter = [other for other in sums if set(other.columns) < set(one.columns)]
        if not one.exact and any(other.share >= one.share - LEAST_IMPROVEMENT for other in shorter):
            continue
        vector = np.zeros(len(place))
        for name, coefficient in one.linear_form.items():
            vector[place[name]] = coefficient
        if np.linalg.matrix_rank(np.array([*vectors, vector])) > len(vectors):
            kept.append(one)
            vectors.append(vector)
    return kept
