"""Relations between the columns of a table: the kinds, the search for all of them, and those that a user states.

A kind is one class, in a file of its own, and one row in `RELATIONS`. A relation is found where rows keep it far more often
than chance would have them, were the columns independent; what a table of so few rows could not tell from chance is no
relation.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from skvae.abstract_relation import AbstractRelation
from skvae.contingency import Combinations, Missing
from skvae.fields import Field, Fields
from skvae.flags import Flags
from skvae.functional_dependencies import Determines, Function
from skvae.inequalities import Order
from skvae.notation import spellings
from skvae.products import Product
from skvae.significance import required_evidence
from skvae.sums import Sum

# by kind, in the order in which they are looked for
RELATIONS: dict[str, type[AbstractRelation]] = {
    cls.kind: cls for cls in (Sum, Product, Function, Order, Missing, Flags, Determines, Combinations)
}


def find(fields: Sequence[Field]) -> list[AbstractRelation]:
    """All relations that the rows of fields show, but for those that follow from others."""
    if not fields or len(fields[0].missing) < 2:
        return []
    evidence = required_evidence(len(fields))
    with np.errstate(all="ignore"):  # products and squares of huge numbers overflow, which tells nothing of small ones
        found = [one for cls in RELATIONS.values() for one in cls.find(fields, evidence)]
    sources: dict[Any, set] = {}
    for one in found:
        if isinstance(one, Function):
            sources.setdefault(one.target, set()).add(one.source)
    by_name = {field.name: field for field in fields}
    found = [one for one in found if not any(_is_implied(one, other, by_name) for other in found)]
    return [one for one in found if not (len(one.columns) == 2 and _share_a_source(one, sources))]


def _is_implied(one: AbstractRelation, other: AbstractRelation, fields: Fields) -> bool:
    return one is not other and set(one.columns) <= set(other.columns) and one.is_implied_by(other, fields)


def _share_a_source(one: AbstractRelation, sources: Mapping[Any, set]) -> bool:
    """Whether both columns of a relation follow from the same third one."""
    return bool(set.intersection(*(sources.get(name, set()) for name in one.columns)))


def parse(text: str, columns: Iterable) -> AbstractRelation:
    """The relation that a text states of columns."""
    names = spellings(columns)
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


def requested(relations: Any, fields: Fields) -> list[AbstractRelation]:
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


def check_all_kept(requested: Iterable[AbstractRelation], kept: Sequence[AbstractRelation]) -> None:
    """Refuse relations that a user stated, but that cannot be kept beside the others."""
    for one in requested:
        if one.stated and one not in kept:
            others = [str(other) for other in kept if other is not one and set(other.columns) & set(one.columns)]
            beside = f" beside {', '.join(map(repr, others))}" if others else ""
            raise ValueError(
                f"relations has {one.stated!r}, which cannot be kept{beside}: no column may follow from others twice, or "
                "from itself, and of columns of many values single ones cannot be told apart. Leave it out, or remove "
                "another: 'not ' and its text."
            )


def as_table(relations: Iterable[AbstractRelation]) -> pd.DataFrame:
    """Relations, their kinds, the share of rows that keep them, and their columns."""
    rows = [(str(one), one.kind, one.share, list(dict.fromkeys(one.columns))) for one in relations]
    return pd.DataFrame(rows, columns=["relation", "kind", "share", "columns"])


def _learned(text: str, fields: Fields) -> AbstractRelation:
    """The relation that a text states, learned from fields."""
    one = parse(text, fields).suited_to(fields)
    if refusal := one.refusal(fields):
        raise ValueError(f"relations has {text!r}, {refusal}")
    one.learn(fields)
    return one


def _check_stated(one: AbstractRelation, text: str, fields: Fields, mostly: bool) -> None:
    """Refuse a stated relation that rows break, or, where some may, that none keeps."""
    if not one.exact and not mostly:
        raise ValueError(
            f"relations has {text!r}, which {1 - one.share:.2%} of the rows break: {one.first_breaks(fields)}. Write "
            f"'mostly {text}' for draws to keep it as often as the data do."
        )
    if one.share == 0.0:
        raise ValueError(f"relations has {text!r}, which no row keeps: {one.first_breaks(fields)}.")
