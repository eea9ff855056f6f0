"""What always holds between the columns of a real table, and how often rows of other tables keep it."""

import math

import numpy as np
import pandas as pd

from skvae.columns import MAX_WHOLE, new_column
from skvae.compared_columns import ComparedColumn
from skvae.containers import Cells, CellType
from skvae.fields import Field
from skvae.relations import find as find_relations


def relation_shares(columns: list[ComparedColumn]) -> pd.DataFrame:
    """Relations of the real table, and the share of rows of every table that keep each; the worst first."""
    made = [one for one in map(_fields, columns) if one is not None]
    tables = list(columns[0].cells)
    fields = {table: {one[table].name: one[table] for one in made} for table in tables}
    rows = []
    for relation in find_relations(list(fields["real"].values())):
        shares = {table: _share_kept(relation, fields[table]) for table in tables}
        names = [str(name) for name in dict.fromkeys(relation.columns)]
        rows.append({"relation": str(relation), "kind": relation.kind, **shares, "columns": ", ".join(names)})
    frame = pd.DataFrame(rows, columns=["relation", "kind", *tables, "columns"])
    worst = (frame["synthetic"] - frame["real"]).abs().to_numpy(float).argsort(kind="stable")[::-1]
    return frame.iloc[worst].reset_index(drop=True)


def _fields(column: ComparedColumn) -> dict[str, Field] | None:
    """A column of every table as relations see it; None of one that is no part of any."""
    if column.kind in ("identifier", "empty"):
        return None
    cells = {table: _relation_cells(column, table) for table in column.cells}
    found, real = cells["real"]
    whole = found.kind == "float" and all(_are_whole(one.values) for _, one in cells.values())
    try:
        if whole:
            found = CellType("integer")
            cells = {table: (found, Cells(one.values.astype(np.int64), one.missing)) for table, (_, one) in cells.items()}
            real = cells["real"][1]
        made = new_column(column.name, found, real.values[~real.missing], category=found.kind == "category")
        fields = {table: made.field(one, "us") for table, (_, one) in cells.items()}
    except (ValueError, OverflowError):  # of numbers that are dates or times of day in the real table, others are none
        return None
    known = {table: field for table, field in fields.items() if field is not None}
    return known if len(known) == len(fields) else None


def _relation_cells(column: ComparedColumn, table: str) -> tuple[CellType, Cells]:
    """Cells of a column of a table: floats, microseconds, or categories."""
    values = column.cells[table]
    missing = np.isnan(values)
    filled = np.where(missing, 0.0, values)
    if column.kind in ("date", "duration"):
        kind = CellType("datetime" if column.kind == "date" else "duration", "us")
        return kind, Cells(np.round(filled * 1e6).astype(np.int64), missing)
    if column.kind == "number":
        return CellType("float"), Cells(filled, missing)
    labels = np.array([*column.labels, None], dtype=object)
    categories = labels[np.where(missing, -1, filled).astype(int)]
    if column.kind == "boolean":
        return CellType("boolean"), Cells(np.where(missing, False, categories).astype(bool), missing)
    return CellType("category"), Cells(categories, missing)


def _are_whole(values):
    """Whether floats (n,) are integers that float64 holds to the last digit."""
    return bool((np.abs(values) < MAX_WHOLE).all() and (values % 1 == 0).all())


def _share_kept(relation, fields):
    """Share of the rows that a relation is about which keep it; NaN of none."""
    kept, about = relation.kept(fields)
    return float(kept.sum() / about.sum()) if about.any() else math.nan
