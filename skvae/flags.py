"""Flags: columns of yes or no of which exactly one, or at most one, is yes."""

import re
from collections.abc import Iterable

import numpy as np

from skvae.abstract_relation import CategoricalRelation
from skvae.fields import MAX_COLUMNS, all_present
from skvae.notation import columns_named, quoted
from skvae.significance import exclusion_against_chance


class Flags(CategoricalRelation):
    """Of yes-or-no columns exactly one, or at most one, is yes."""

    kind = "flags"
    needs = "codes"

    def __init__(self, columns: Iterable, exactly: bool):
        self.columns, self.exactly = tuple(columns), exactly

    def __str__(self):
        return f"{'exactly' if self.exactly else 'at most'} one of {', '.join(map(quoted, self.columns))}"

    @property
    def key(self):
        return self.kind, self.exactly, frozenset(map(str, self.columns))

    def kept(self, fields):
        flags = [fields[name] for name in self.columns]
        about = all_present(fields, self.columns)
        n_yes = np.sum([flag.yes for flag in flags], axis=0)
        return about & ((n_yes == 1) if self.exactly else (n_yes <= 1)), about

    def correct(self, cells, fields, rows, known):
        """Of flags, the first that is yes remains; of none, the last is."""
        taken = np.zeros(len(rows), bool)
        for name in self.columns:
            yes = cells[name].values[rows].astype(bool) & ~taken
            if name == self.columns[-1] and self.exactly:
                yes |= ~taken
            cells[name].values[rows] = yes
            taken |= yes
        return True

    @classmethod
    def find(cls, fields, evidence):
        flags = [field for field in fields if field.is_flag and not field.missing.any()][:MAX_COLUMNS]
        if len(flags) < 3:
            return
        yes = np.array([flag.yes for flag in flags], dtype=np.float32)
        apart, share = yes @ yes.T == 0, yes.mean(1)
        left = [at for at in share.argsort(kind="stable")[::-1].tolist() if share[at] > 0]
        while left:
            group: list[int] = []
            for at in left:
                if all(apart[at, other] for other in group):
                    group.append(at)
            left = [at for at in left if at not in group]
            if len(group) > 2 and exclusion_against_chance(share[group], yes[group].sum(0)) > evidence:
                yield cls([flags[at].name for at in sorted(group)], bool((yes[group].sum(0) == 1).all()))

    @classmethod
    def parse(cls, text, names):
        if not (match := re.fullmatch(r"(exactly|at most) one of (.+)", text)):
            return None
        columns = columns_named(names, match[2].split(","))
        return None if columns is None or len(columns) < 2 else cls(columns, match[1] == "exactly")
