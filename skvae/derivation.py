"""Which column is derived from which: of every equation and order one column is taken, no column twice, none from itself."""

from collections.abc import Iterable, Mapping
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
        for target in (first, *sorted(others, key=lambda name: -fields[name].n_values)):
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
            if not one.stated and not is_drawn_better_by_gap(above, fields[target], fields[bound]):
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
