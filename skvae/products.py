"""Products: a number that is two others multiplied, within its rounding."""

import re
from itertools import combinations
from typing import Any

import numpy as np

from skvae.equations import Equation
from skvae.fields import MAX_COLUMNS, N_SAMPLED, N_SKETCH, Fields, some_rows
from skvae.notation import columns_named, quoted
from skvae.significance import MOST_BREAKS


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

    def implies_order(self, upper, lower, fields):
        return upper == self.target

    def predict(self, amounts):
        first, second = (np.asarray(amounts[name], dtype=float) for name in self.columns[1:])
        return first * second

    def _tolerance(self, fields):
        return 0.5 * 10.0**-self.digits * (1 + 1e-6)

    def residuals(self, fields):
        amounts = {name: fields[name].amounts for name in self.columns}
        return amounts[self.target] - self.predict(amounts)

    def _holds_in(self, fields: Fields, evidence: float) -> bool:
        """Whether rows keep it, and not by chance."""
        self.learn(fields)
        return self.share > 1 - 10 * MOST_BREAKS and self.is_significant(fields, evidence)

    @classmethod
    def find(cls, fields, evidence):
        numbers = [field for field in fields if field.kind == "number" and field.amounts is not None]
        numbers = [field for field in numbers if len(np.unique(field.amounts[:N_SAMPLED])) > 2][: MAX_COLUMNS // 4]
        if len(numbers) < 3:
            return
        rows = some_rows(len(numbers[0].missing), N_SKETCH // 4)
        x = np.array([np.where(f.missing[rows], np.nan, f.amounts[rows].astype(float)) for f in numbers])
        by_name = {field.name: field for field in numbers}
        wider = some_rows(len(numbers[0].missing), N_SAMPLED)
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
        columns = columns_named(names, match.groups())
        return None if columns is None else cls(*columns)
