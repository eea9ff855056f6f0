"""Columns of a table that follow from others: what relations add to packed rows, and how cells follow in the data's units.

No torch. A gate is a code that says which offset of an equation a row has; a gap is a number, how far a column is from what
bounds it. Both are packed beside the cells, and a chain draws them as it draws cells.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from skvae.abstract_relation import AbstractRelation, CategoricalRelation
from skvae.columns import AbstractColumn, NumericColumn
from skvae.constraint_specs import Exclusion, Identity, Support
from skvae.containers import Cells, CellType
from skvae.contingency import Pair
from skvae.derivation import gaps_and_equations
from skvae.equations import Equation
from skvae.fields import Field
from skvae.flags import Flags
from skvae.inequalities import Gap
from skvae.modalities import Packed
from skvae.persistence import Saved
from skvae.scalings import Variable

N_PASSES = 4  # over pairs of columns of which one gives way to the other; unmeasured


class Dependents(Saved):
    """The relations of a table, as packed rows and chains over them need them.

    Parameters
    ----------
    columns : sequence of AbstractColumn
        Fitted.
    relations : sequence of AbstractRelation
        Learned.
    fields : dict of name to Field
        Of the rows that columns were fitted to.
    weight : (n,)
        Of these rows.
    unit : str
        That times are counted in.

    Attributes
    ----------
    relations : list of AbstractRelation
        Those that draws keep.
    rules : list of Gap or Equation
        Each after those that it builds on.
    """

    def __init__(
        self,
        columns: Sequence[AbstractColumn],
        relations: Sequence[AbstractRelation],
        fields: Mapping[Any, Field],
        weight: np.ndarray,
        unit: str,
    ):
        self.unit, self.n_rows = unit, len(weight)
        self.attach(columns)
        self.rules, self.relations = gaps_and_equations(relations, fields)
        self.place = {column.name: j for j, column in enumerate(columns)}
        self.decimals = {name: field.decimals for name, field in fields.items()}
        self.ends = {name: field.ends for name, field in fields.items()}
        self.n_values = {name: one.n_values for name, one in fields.items() if self._is_involved(name)}
        self.gaps = [self._gap_column(rule, fields, weight) if isinstance(rule, Gap) else None for rule in self.rules]

    def attach(self, columns: Sequence[AbstractColumn]) -> "Dependents":
        """Take the columns of the table, which files hold once."""
        self._columns = columns
        return self

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(map(str, self.relations))})"

    def _gap_column(self, rule: Gap, fields: Mapping[Any, Field], weight: np.ndarray) -> NumericColumn:
        """A fitted column of the gaps of a rule."""
        about, gap = rule.about(fields), rule.measure(fields)
        kind = CellType("integer" if gap.dtype.kind in "iu" else "float")
        column = NumericColumn(f"gap of {rule.target}", kind)
        column.fit(gap[about], weight[about], "auto")
        return column

    def _is_involved(self, name: Any) -> bool:
        return any(name in rule.columns for rule in self.rules)

    @property
    def involved(self) -> list[int]:
        """Places of the columns that gaps and gates are made of."""
        return sorted({self.place[name] for rule in self.rules for name in rule.columns})

    def variables(self) -> list[tuple[Variable, str, int]]:
        """The variables of gaps and gates, "gap" or "gate", and the place of their rule."""
        out: list[tuple[Variable, str, int]] = []
        for at, (rule, gap) in enumerate(zip(self.rules, self.gaps, strict=True)):
            if gap is not None:
                assert gap.variable is not None
                out.append((gap.variable, "gap", at))
            else:
                size = len(rule.offsets) + 1
                out.append((Variable("categorical", size, coded=True, unseen=1 / (self.n_rows + 1)), "gate", at))
        return out

    def lay_out(self, place: Mapping[tuple[int, str], int]) -> None:
        """Learn where variables are: of a column by ("value" or "missing"), of a rule by ("gap" or "gate")."""
        self.value_at: list[Any] = [place.get((j, "value")) for j in range(len(self._columns))]
        self.missing_at: list[Any] = [place.get((j, "missing")) for j in range(len(self._columns))]
        self.rule_at: list[Any] = [place[at, "gap" if gap is not None else "gate"] for at, gap in enumerate(self.gaps)]

        kept = [one for one in self.relations if not isinstance(one, Pair) or not one.exact or self._support(one)]
        self.relations = kept

    def followers(self) -> list[tuple[int, int]]:
        """The place of the column that follows from each rule, and that of its gap or gate."""
        return [(self.place[rule.target], at) for rule, at in zip(self.rules, self.rule_at, strict=True)]

    # --- what torch must know ----------------------------------------------------------------------------------------

    @property
    def identities(self) -> tuple[Identity, ...]:
        """One of each rule."""
        return tuple(self._identity(at) for at in range(len(self.rules)))

    def _identity(self, at: int) -> Identity:
        rule, gap, own = self.rules[at], self.gaps[at], self.rule_at[at]
        columns = [self._columns[self.place[name]] for name in rule.columns]
        members = [self.value_at[self.place[name]] for name in rule.columns]
        solvable = [member for member, name in zip(members, rule.columns, strict=True) if name in rule.solvable]
        discrete = [not isinstance(column, NumericColumn) or column.integer or column.binary for column in columns]
        if gap is not None:
            members, solvable, discrete = [*members, own], [*solvable, own], [*discrete, gap.integer]
            no_widths = (0.0,) * len(members)
            return Identity(tuple(members), tuple(solvable), -1, 0, True, tuple(discrete), no_widths, self._pivot(rule))
        widths = tuple(float(np.log(self._width(rule, column))) for column in columns)
        parts = tuple(discrete), widths, self._pivot(rule), rule.leads
        return Identity(tuple(members), tuple(solvable), own, len(rule.offsets), rule.exact, *parts)

    def _pivot(self, rule: Any) -> int:
        names = [name for name in rule.columns[1:] if name in rule.solvable]
        best = max(names, key=lambda name: self.n_values[name], default=None)
        return -1 if best is None else self.value_at[self.place[best]]

    @property
    def exclusions(self) -> tuple[Exclusion, ...]:
        flags = [one for one in self.relations if isinstance(one, Flags) and one.exact]
        places = ([self.value_at[self.place[name]] for name in one.columns] for one in flags)
        return tuple(Exclusion(tuple(at), one.exactly) for one, at in zip(flags, places, strict=True))

    @property
    def supports(self) -> tuple[Support, ...]:
        found = (self._support(one) for one in self.relations if isinstance(one, Pair) and one.exact)
        return tuple(one for one in found if one is not None)

    def _support(self, one: Pair) -> Support | None:
        """Which codes of variables a relation forbids; None where codes do not tell its values apart."""
        sides = [self._codes_of(aspect, values) for aspect, values in zip(one.aspects, one.values, strict=True)]
        if any(side is None for side in sides):
            return None
        (first, of_first), (second, of_second) = sides  # type: ignore[misc]
        allowed = np.pad(one.allowed, (0, 1), constant_values=True)  # codes of neither value may be anywhere
        return Support(first, second, ~allowed[of_first][:, of_second])

    def _codes_of(self, aspect: Any, values: np.ndarray) -> tuple[int, np.ndarray] | None:
        """The variable of an aspect, and of each of its codes the place among values (k,), -1 of others."""
        at = self.place[aspect.name]
        if aspect.form == "missing":
            return None if self.missing_at[at] is None else (self.missing_at[at], np.arange(2))
        column, variable = self._columns[at], self._columns[at].variable
        if variable is None:
            return None
        if aspect.form == "positive":
            return self._zero_code(at, variable)
        size = 2 if variable.likelihood == "bernoulli" else variable.size
        if not variable.coded and size != 2:
            return None
        out = np.full(size, -1)
        packed = column.pack(Cells(values, np.zeros(len(values), bool)))
        seen = np.isfinite(packed)
        out[packed[seen].astype(int)] = np.flatnonzero(seen)
        return self.value_at[at], out

    def _zero_code(self, at: int, variable: Variable) -> tuple[int, np.ndarray] | None:
        """Of a number in bins, which of them hold zero and nothing else."""
        if variable.likelihood == "bernoulli":
            return self.value_at[at], np.arange(2)
        column = self._columns[at]
        if not variable.size or variable.coded or not isinstance(column, NumericColumn):
            return None
        code = int(column.pack(Cells(np.zeros(1), np.zeros(1, bool)))[0])
        inside = np.arange(variable.size) + 0.5
        if np.isnan(variable.atoms[code]) and (column.unpack(code + np.linspace(0.01, 0.99, 9)) != 0).any():
            return None
        return self.value_at[at], (column.unpack(inside) != 0).astype(int)

    # --- rows --------------------------------------------------------------------------------------------------------

    def fields(self, cells: Mapping[int, Cells]) -> dict[Any, Field]:
        """Columns, by place, as rules see them, by name."""
        out = {}
        for j, (values, missing) in cells.items():
            column = self._columns[j]
            amounts = column.amounts(Cells(values, missing), self.unit)
            unit = self.unit if column.tick else ""
            decimals, ends = self.decimals[column.name], self.ends[column.name]
            out[column.name] = Field(column.name, "", missing, amounts, decimals, unit=unit, ends=ends)
        return out

    def pack(self, cells: Mapping[int, Cells], values: np.ndarray) -> None:
        """Pack gaps and gates of rows to values (n, n_variables), NaN where a cell is missing.

        cells : of the `involved` columns, by place; rules of which one is not there are left alone.
        """
        involved = self.involved
        fields = self.fields({j: one for j, one in cells.items() if j in involved})
        for at, rule in enumerate(self.rules):
            if all(name in fields for name in rule.columns):
                values[:, self.rule_at[at]] = self._packed(at, fields)

    def _packed(self, at: int, fields: Mapping[Any, Field]) -> np.ndarray:
        """The packed gap or gate of a rule, (n,), NaN where a cell is missing."""
        rule, gap = self.rules[at], self.gaps[at]
        about = rule.about(fields)
        if gap is None:
            codes = rule.codes(fields)
            return np.where(about & (codes >= 0), codes, np.nan)
        out = np.full(len(about), np.nan)
        if about.any():
            out[about] = gap.pack(Cells(rule.measure(fields)[about], np.zeros(about.sum(), bool)))
        return out

    def repack(self, at: int, x: np.ndarray) -> np.ndarray:
        """The packed gap or gate (n,) of a rule, of packed rows x (n, n_variables) whose cells are all there."""
        return self._packed(at, self.fields(self._cells_of(at, x)))

    def derive_again(self, packed: Packed) -> Packed:
        """As `AbstractModality.derive_again`."""
        values, known = packed.values.copy(), packed.known.copy()
        for at, (rule, own) in enumerate(zip(self.rules, self.rule_at, strict=True)):
            there = known[:, [self.value_at[self.place[name]] for name in rule.columns]].all(1)
            values[there, own] = self.repack(at, values[there])
            known[:, own] = there
        return Packed(values, None if known.all() else known, packed.unseen)

    def solve(self, at: int, member: int, x: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The packed cell (n,) of a member of a rule, that follows from the others, and whether a cell can be that.

        x : (n, n_variables), packed rows; codes : (n,), of the gate.
        """
        rule, gap = self.rules[at], self.gaps[at]
        fields = self.fields(self._cells_of(at, x))
        if gap is not None and member == self.rule_at[at]:
            packed = gap.pack(Cells(rule.measure(fields), np.zeros(len(x), bool)))
            return packed, gap.can_hold(rule.measure(fields), self.unit)
        name = next(name for name in rule.columns if self.value_at[self.place[name]] == member)
        column = self._columns[self.place[name]]
        amounts = {field.name: field.amounts for field in fields.values()}
        solved, follows = self._solved(at, name, amounts, x, codes)
        valid = follows & rule.about(fields) & column.can_hold(solved, self.unit)
        packed = np.zeros(len(x))
        if valid.any():
            values = column.from_amounts(solved[valid], self.unit)
            packed[valid] = column.pack(Cells(values, np.zeros(len(values), bool)))
            valid &= np.isfinite(packed)
            packed[~valid] = 0.0
            if isinstance(column, NumericColumn):  # next to zero, a cell may be packed as if it were zero
                valid[valid] = (solved[valid] == 0) == (column.unpack(packed[valid]) == 0)
        return packed, valid

    def _solved(
        self, at: int, name: Any, amounts: Mapping[Any, np.ndarray], x: np.ndarray, codes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Amounts (n,) of a column by a rule, and where they follow, (n,): not where a division does not go even."""
        solved = self.rules[at].solve(name, amounts, self._offset(at, x, codes))
        if solved.dtype.kind != "f":
            return solved, np.ones(len(solved), bool)
        follows = np.isfinite(solved)
        if amounts[name].dtype.kind in "iu":
            solved = np.where(follows, solved, 0.0).round().astype(np.int64)
        return solved, follows

    def _offset(self, at: int, x: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """What a rule adds, (n,): the gap, or the offset that a code (n,) stands for."""
        rule, gap = self.rules[at], self.gaps[at]
        if gap is not None:
            return gap.unpack(x[:, self.rule_at[at]])
        offsets = np.array(rule.offsets)
        return offsets[np.clip(codes.astype(int), 0, len(offsets) - 1)]

    def _cells_of(self, at: int, x: np.ndarray) -> dict[int, Cells]:
        """Cells of the columns of a rule, of packed rows."""
        places = [self.place[name] for name in self.rules[at].columns]
        nowhere = np.zeros(len(x), bool)
        return {j: Cells(self._columns[j].unpack(x[:, self.value_at[j]]), nowhere) for j in places}

    def log_jacobian(self, variable: int, packed: np.ndarray) -> np.ndarray:
        """As `AbstractColumn.log_jacobian`, of a variable's packed cells (n,)."""
        columns: list[tuple[int | None, Any]] = list(zip(self.value_at, self._columns, strict=True))
        columns += list(zip(self.rule_at, self.gaps, strict=True))
        column = next(one for place, one in columns if place == variable)
        return np.broadcast_to(column.log_jacobian(packed), packed.shape)

    def log_jacobian_of_followers(self, values: np.ndarray, observed: np.ndarray | None, out: np.ndarray) -> None:
        """Set the nats of cells that follow from others, in out (n, n_variables), as `AbstractModality.log_jacobian`.

        What follows by an equation is known to the last digit: its probability is spread over the width of that, as that of
        any number on a grid. What follows by a gap has none beside the gap's.
        """
        for rule, own in zip(self.rules, self.rule_at, strict=True):
            j = self.place[rule.target]
            kept = np.ones(len(values), bool) if observed is None else observed[:, own]
            if isinstance(rule, Equation):
                kept = kept & (values[:, own] < len(rule.offsets))
            out[kept, self.value_at[j]] = 0.0 if isinstance(rule, Gap) else -np.log(self._width(rule, self._columns[j]))

    @staticmethod
    def _width(rule: Equation, column: AbstractColumn) -> float:
        """The width of the last digit of a column, in its own units; one of what is discrete."""
        if not isinstance(column, NumericColumn) or column.integer or column.binary:
            return 1.0
        return column.step or 10.0 ** -float(rule.digits)

    # --- in the data's own units -------------------------------------------------------------------------------------

    def finalise(self, cells: list[Cells], values: np.ndarray, known: np.ndarray) -> list[Cells]:
        """Cells of drawn or decoded rows, to the last digit as relations have them.

        Packed cells are as precise as float32 is; those that follow from others follow here in the data's own units. Of
        rows whose cells are decoded each by itself, codes that may not stand beside others give way.

        cells : of every column; values : (n, n_variables), packed; known : (n, n_columns), cells that stay as they are.
        """
        if not self.relations:
            return cells
        cells = [Cells(one.values.copy(), one.missing.copy()) for one in cells]
        of_codes = [one for one in self.relations if isinstance(one, CategoricalRelation) and one.exact]
        for _ in range(N_PASSES):  # what one lets give way, another may be about
            gave_way = [self._correct(one, cells, known) for one in of_codes]
            if not any(gave_way):
                break
        if self.rules:
            self._follow(cells, values, known)
        return cells

    def _follow(self, cells: list[Cells], values: np.ndarray, known: np.ndarray) -> None:
        fields = self.fields({j: cells[j] for j in self.involved})
        amounts = {name: field.amounts for name, field in fields.items()}
        active = np.array([self._active(at, fields, values) for at in range(len(self.rules))]).T
        some = self.involved
        patterns, which = np.unique(np.concatenate([known[:, some], active], 1), axis=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            of_pattern = np.flatnonzero(which.ravel() == number)
            fixed = {self._columns[j].name for j, is_known in zip(some, pattern, strict=False) if is_known}
            for at, name in self._schedule(fixed, pattern[len(some) :]):
                rows = of_pattern
                part = {other: amounts[other][rows] for other in self.rules[at].columns}
                codes = values[rows, self.rule_at[at]]
                solved, follows = self._solved(at, name, part, values[rows], codes)
                solved, rows = solved[follows], rows[follows]
                if amounts[name].dtype.kind in "iu" and solved.dtype.kind == "f":
                    amounts[name] = amounts[name].astype(float)
                amounts[name][rows] = solved
                j = self.place[name]
                cells[j].values[rows] = self._columns[j].from_amounts(solved, self.unit)

    def _active(self, at: int, fields: Mapping[Any, Field], values: np.ndarray) -> np.ndarray:
        """Which rows a rule says something of, (n,)."""
        rule = self.rules[at]
        about = rule.about(fields)
        return about if rule.exact else about & (values[:, self.rule_at[at]] < len(rule.offsets))

    def _schedule(self, known: set, active: np.ndarray) -> Iterator[tuple[int, Any]]:
        """Which columns follow from which rule, one after the other, where some are known; the others were drawn."""
        decided = set(known)
        targets = {self.value_at[self.place[rule.target]] for rule in self.rules}
        pivots = {self._pivot(rule) for rule in self.rules}
        drawn = sorted(self.involved, key=lambda j: (self.value_at[j] in targets, self.value_at[j] in pivots))
        for name in [None, *(self._columns[j].name for j in drawn)]:
            decided |= {name}
            found = True
            while found:
                found = False
                for at, rule in enumerate(self.rules):
                    left = [one for one in rule.columns if one not in decided]
                    if active[at] and len(left) == 1 and left[0] in rule.solvable:
                        yield at, left[0]
                        decided.add(left[0])
                        found = True

    def _correct(self, relation: CategoricalRelation, cells: list[Cells], known: np.ndarray) -> bool:
        """Let cells give way that break a relation; returns whether any did."""
        places = {name: self.place[name] for name in relation.columns}
        fields = {name: self._coded(j, cells[j]) for name, j in places.items()}
        kept, about = relation.kept(fields)
        rows = np.flatnonzero(about & ~kept)
        if not len(rows):
            return False
        of_columns = {name: cells[j] for name, j in places.items()}
        return relation.correct(of_columns, fields, rows, {name: known[:, j] for name, j in places.items()})

    def _coded(self, j: int, cells: Cells) -> Field:
        """Cells as relations of codes see them."""
        column = self._columns[j]
        field = column.field(cells, self.unit)
        assert field is not None
        if field.codes is None:  # a number of which only its sign counts
            field.codes, field.values = np.zeros(len(cells.missing), int), np.zeros(1)
        return field

    def check_given(self, cells: Mapping[int, Cells]) -> None:
        """Refuse values of some columns, by place, that break a relation which every row keeps."""
        names = {self._columns[j].name for j in cells}
        for relation in self.relations:
            if not (relation.exact and set(relation.columns) <= names):
                continue
            fields = {name: self._coded(self.place[name], cells[self.place[name]]) for name in relation.columns}
            kept, about = relation.kept(fields)
            if (about & ~kept).any():
                breaks = relation.first_breaks(fields)
                raise ValueError(f"given contradicts {str(relation)!r}, which every row of the data keeps: {breaks}.")


def coded_names(relations: Sequence[AbstractRelation], fields: Mapping[Any, Field]) -> set:
    """Names of integer columns that are modelled as categories, as relations are about their single values."""
    numbers = {name for one in relations for name in one.numbers}
    names = {name for one in relations for name in one.categories} - numbers
    return {name for name in names if fields[name].is_integer_of_few_values}
