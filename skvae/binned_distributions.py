"""How the cells of one column, or of two together, are distributed in two tables: bins or bars that a picture shows."""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd

from skvae.compared_columns import ComparedColumn

TABLES = "real", "synthetic"
N_JOINT_BINS = 24  # along either axis at most
N_BARS = 8  # of categories, or of values of a number that has no more


class Marginal(NamedTuple):
    """The distribution of a column in two tables, real and synthetic.

    name : object
    kind : str
        "date", "duration", or another.
    score : float
        1 where the two are alike.
    missing : tuple of float
        Shares of missing cells.
    edges : (n_bins + 1,) float64 or None
        Of bins, in seconds for times; none for bars.
    labels : list of str
        Of bars.
    shares : list of (k,) float64
        Shares of the cells, by bin or bar.
    """

    name: object
    kind: str
    score: float
    missing: tuple[float, float]
    edges: np.ndarray | None
    labels: list[str]
    shares: list[np.ndarray]


class Axis(NamedTuple):
    """The cells of a column as places along an axis: bins, then bars.

    name : object
    kind : str
        "date", "duration", or another.
    edges : (n_bins + 1,) float64 or None
        Of bins, in seconds for times; none for bars alone.
    labels : list of str
        Of bars.
    """

    name: object
    kind: str
    edges: np.ndarray | None
    labels: list[str]

    @property
    def n_bins(self):
        return 0 if self.edges is None else len(self.edges) - 1

    @property
    def size(self):
        return self.n_bins + len(self.labels)


class Joint(NamedTuple):
    """The distribution of two columns together in two tables, real and synthetic.

    axes : tuple of Axis
    score : float
        1 where the two are alike.
    shares : list of (size, size) float32
        Shares of the rows of a table, by place along either axis.
    """

    axes: tuple[Axis, Axis]
    score: float
    shares: list[np.ndarray]


# --- one column ------------------------------------------------------------------------------------------------------


def marginal_of(column: ComparedColumn, score: float) -> Marginal:
    """How a column is distributed in either table: bins of a number, or bars of a few values or categories."""
    tables = [column.cells["real"], column.cells["synthetic"]]
    missing = column.missing("real"), column.missing("synthetic")
    levels = None if column.is_numeric and len(_different(tables)) > N_BARS else _levels(column)
    if levels is None:
        n_bins = min(30, math.ceil(2 * np.cbrt(min(map(len, tables)))))  # Rice's rule: few rows have no finer shape
        edges, labels = _edges(np.concatenate(tables), column.kind == "number", n_bins), []
        shares = [np.histogram(cells.clip(edges[0], edges[-1]), edges)[0] / len(cells) for cells in tables]
    else:
        edges, bars = None, _bars(levels, missing)
        labels, shares = list(bars["label"]), [bars[table].to_numpy() for table in ("real", "synthetic")]
    return Marginal(column.name, column.kind, score, missing, edges, labels, shares)


def _levels(column):
    """One row a category or value that occurs in the real or the synthetic table: its label, and its share of either.

    Shares are counted over the very codes that number the labels, and both are rows of one frame from then on: no bar can
    come to stand over the name of another.
    """
    codes, labels = _coded(column)
    shares = {table: np.bincount(code, minlength=len(labels) + 1)[1:] / len(code) for table, code in codes.items()}
    levels = pd.DataFrame({"label": pd.Series(labels, dtype=object)} | shares)
    return levels[levels["real"] + levels["synthetic"] > 0]


def _coded(column):
    """By table, codes (n,) of a column from 1, missing as 0; and the labels that they number."""
    if not column.is_numeric:
        return {table: column.codes(table) for table in TABLES}, [str(label) for label in column.labels]
    cells = {table: column.cells[table] for table in TABLES}
    values = _different(list(cells.values()))
    codes = {table: np.where(np.isnan(some), 0, np.searchsorted(values, some) + 1) for table, some in cells.items()}
    return codes, _labels(values, column.kind)


def _different(tables):
    """The different values of arrays, sorted, without NaN."""
    values = np.concatenate(tables)
    return np.unique(values[~np.isnan(values)])


def _edges(values, is_number, n_bins):
    """Edges of bins for all but the half percent at each end of values (n,), between whole numbers if they are whole."""
    values = values[~np.isnan(values)]
    lower, upper = np.quantile(values, [0.005, 0.995])
    if lower == upper:
        lower, upper = values.min(), values.max()
    if is_number and upper - lower < 2**31 and (values == np.round(values)).all():
        lower, upper = np.floor(lower), np.ceil(upper)
        width = np.ceil((upper - lower + 1) / n_bins)
        return lower - 0.5 + width * np.arange(np.ceil((upper - lower + 1) / width) + 1)
    return lower * np.linspace(1, 0, n_bins + 1) + upper * np.linspace(0, 1, n_bins + 1)


def _bars(levels, missing):
    """Rows of the most frequent levels, of the others together, and of missing cells."""
    shares, rows = ["real", "synthetic"], [levels]
    if len(levels) > N_BARS:
        order = (-levels[shares].sum(axis=1)).argsort(kind="stable")
        others = levels.iloc[order[N_BARS:]]
        rows = [
            levels.iloc[order[:N_BARS]],
            pd.DataFrame([{"label": f"{len(others)} other{'s' * (len(others) > 1)}", **others[shares].sum()}]),
        ]
    if any(missing):
        rows.append(pd.DataFrame([{"label": "missing", "real": missing[0], "synthetic": missing[1]}]))
    return pd.concat(rows) if len(levels) else rows[-1]


def _labels(values, kind):
    """Values (n,) as texts, of the fewest digits that tell them apart."""
    for digits in (6, 15, 17):  # the last tells any two floats apart
        texts = [_label(value, kind, digits) for value in values]
        if len(set(texts)) == len(texts):
            break
    return texts


def _label(value, kind, digits):
    if kind == "date":
        text = str(np.datetime64(round(1e6 * value), "us"))
        text = text[: {6: -7, 15: -3, 17: None}[digits]]  # to the second, the millisecond, the microsecond
        return text.removesuffix(":00").removesuffix("T00:00")
    digits = max(digits, 15) if abs(value) >= 1e5 else digits  # fewer would be filled up by a power of ten
    return f"{value:.{digits}g}" + (" s" if kind == "duration" else "")


# --- two columns -----------------------------------------------------------------------------------------------------


def joint_of(one: ComparedColumn, two: ComparedColumn, score: float) -> Joint:
    """How the cells of two columns are distributed together in either table."""
    n_rows = min(len(one.cells[table]) for table in TABLES)
    n_bins = min(N_JOINT_BINS, math.ceil(2 * n_rows**0.25))  # two dimensions: fewer bins each than one has
    (axis_1, codes_1), (axis_2, codes_2) = (_binned(column, n_bins) for column in (one, two))
    shares = []
    for table in TABLES:
        places = codes_1[table] * axis_2.size + codes_2[table]
        counts = np.bincount(places, minlength=axis_1.size * axis_2.size)
        shares.append((counts / len(places)).reshape(axis_1.size, axis_2.size).astype(np.float32))
    return Joint((axis_1, axis_2), score, shares)


def _binned(column, n_bins):
    """An axis of bins, or of bars, and by table the places (n,) of the cells on it."""
    tables, missing = [column.cells[table] for table in TABLES], [column.missing(table) for table in TABLES]
    if column.is_numeric and len(_different(tables)) > N_BARS:
        edges = _edges(np.concatenate(tables), column.kind == "number", n_bins)
        labels = ["missing"] if any(missing) else []
        codes = {table: _places_between(edges, cells) for table, cells in zip(TABLES, tables, strict=True)}
        return Axis(column.name, column.kind, edges, labels), codes
    codes, labels = _coded(column)
    levels = _levels(column)
    bars = _bars(levels, missing)
    shown = bars.index[:N_BARS] if len(levels) > N_BARS else levels.index
    place = np.full(len(labels) + 1, N_BARS)  # the bar of the others, where there are others
    place[0] = len(bars) - 1  # that of missing cells, where there are any
    place[np.asarray(shown, dtype=int) + 1] = np.arange(len(shown))
    axis = Axis(column.name, column.kind, None, list(bars["label"]))
    return axis, {table: place[code] for table, code in codes.items()}


def _places_between(edges, cells):
    """Bins (n,) of cells (n,), those beyond the edges in the outermost, missing ones after the last."""
    inside = np.searchsorted(edges, cells, side="right") - 1
    return np.where(np.isnan(cells), len(edges) - 1, inside.clip(0, len(edges) - 2))
