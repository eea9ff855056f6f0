"""Which column is derived from which: of every equation and order one column is taken, no column twice, none from itself."""

from collections.abc import Iterable
from typing import Any

from skvae.abstract_relation import AbstractRelation
from skvae.equations import Equation
from skvae.fields import Fields
from skvae.inequalities import Gap, Order, is_drawn_better_by_gap


def gaps_and_equations(relations: Iterable[AbstractRelation], fields: Fields) -> tuple[list, list[AbstractRelation]]:
    """Gaps and equations, each with a column that follows from the others, and the relations that are kept.

    No column follows twice, and none from itself; relations that would need that are left out. The column that follows
    comes first in `columns`.
    """
    relations = list(relations)
    equations = sorted((one for one in relations if isinstance(one, Equation)), key=lambda one: len(one.targets))
    orders = [one for one in relations if isinstance(one, Order)]
    derivation = _Derivation(fields)
    exact = [solved for one in equations if one.exact and (solved := derivation.solve(one))]
    derivation.bound(orders)
    # the gap between two columns that are often equal is often zero, which says the same
    said = [set(one.columns) for one in orders if one not in derivation.left_out]
    partial = [one for one in equations if not one.exact and set(one.columns) not in said]
    partial.sort(key=lambda one: -one.share)
    others = [solved for one in partial if (solved := derivation.solve(one))]
    rules = _sources_first([*exact, *derivation.gaps, *others])
    return rules, [one for one in relations if one not in derivation.left_out]


class _Derivation:
    """What is derived so far.

    Attributes
    ----------
    sources : dict of name to set of names
        Of each column that is derived, the columns that it follows from.
    bounds : dict of name to (bool, list of names)
        Of each column that is derived by a gap, whether its bounds are lower ones, and these.
    left_out : list of AbstractRelation
        Those by which no column could be derived.
    """

    def __init__(self, fields: Fields):
        self.fields = fields
        self.sources: dict[Any, set] = {}
        self.bounds: dict[Any, tuple[bool, list]] = {}
        self.left_out: list[AbstractRelation] = []

    @property
    def gaps(self) -> list[Gap]:
        return [Gap(target, names, above) for target, (above, names) in self.bounds.items()]

    def solve(self, one: Equation) -> Equation | None:
        """An equation solved for a column that follows from no other yet; None where there is none such."""
        # any target but the first by how many values it has: a few are better drawn by themselves
        first, *others = one.targets
        for target in (first, *sorted(others, key=lambda name: -self.fields[name].n_values)):
            solved, sources = one.solved_for(target), set(one.columns) - {target}
            if target in self.sources or not self._may_follow(target, sources):
                continue
            solved.learn(self.fields)
            if solved.share >= one.share:  # rounding may not go both ways
                self.sources[target] = sources
                return solved
        self.left_out.append(one)
        return None

    def bound(self, orders: Iterable[Order]) -> None:
        """Derive a column of each order by a gap, the upper one if that may be."""
        for one in orders:
            upper, lower = one.columns
            if not (self._add_bound(one, True, upper, lower) or self._add_bound(one, False, lower, upper)):
                self.left_out.append(one)

    def _add_bound(self, one: Order, above: bool, target: Any, bound: Any) -> bool:
        """Whether a column is derived from a bound, beside those that it has."""
        if not one.stated and not is_drawn_better_by_gap(above, self.fields[target], self.fields[bound]):
            return False
        is_above, names = self.bounds.get(target, (above, []))
        is_free = target not in self.sources or (target in self.bounds and is_above == above)
        if not is_free or not self._may_follow(target, {bound, *names}):
            return False
        self.bounds[target] = above, [*names, bound]
        self.sources[target] = {bound, *names}
        return True

    def _may_follow(self, target: Any, sources: set) -> bool:
        """Whether a column may follow from others, none of which follows from it."""
        seen, left = set(), list(sources)
        while left:
            name = left.pop()
            if name not in seen:
                seen.add(name)
                left += self.sources.get(name, ())
        return target not in seen


def _sources_first(rules: list) -> list:
    """The same, each after those that it builds on."""
    out: list = []
    while rules:
        targets = {one.target for one in rules}
        ready = [one for one in rules if not targets & set(one.columns[1:])]
        out += ready
        rules = [one for one in rules if one not in ready]
    return out
