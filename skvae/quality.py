"""How good a synthetic table is: shape, trend, two-sample test, utility and privacy. Knows no model; no torch."""

import math
import numbers
import os
import textwrap
from collections.abc import Hashable
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from narwhals.stable.v2.typing import IntoDataFrame
from numpy.typing import ArrayLike
from sklearn.utils import check_array, check_random_state

from skvae.arrays import count_axes
from skvae.columns import MAX_WHOLE, are_identifiers, new_column
from skvae.containers import Cells, CellType, as_frame, check_frame, read_cells, to_floats
from skvae.fields import Field
from skvae.marginals import joint_of, marginal_of
from skvae.page import (
    as_number,
    html_columns,
    html_measures,
    html_page,
    html_pairs,
    html_privacy,
    html_relations,
    html_rows,
    html_verdict,
    not_compared,
)
from skvae.plotting import N_DISTRIBUTIONS, Drawn, RowMap, draw_report
from skvae.projections import encoded, principal_components
from skvae.relations import find as find_relations
from skvae.verdict import memory_sentence, verdict_sentences

MIN_ROWS = 3  # one for each fold of the two-sample test
MAX_CLASSES = 100
# rows at most: of each table for a classifier; of queries and of each table searched for nearest records
N_MODEL_ROWS, N_QUERIES, N_SEARCHED = 50_000, 2_000, 50_000
N_PROJECTED = 10_000  # rows of each table at most that are mapped
N_PAIRS_DRAWN = 6
N_LEVELS = 255  # categories that scikit-learn's gradient boosting takes natively
NUMERIC = ("number", "date", "duration")
ARRAYS, IDENTIFIERS = "holds arrays", "names rows"  # why a column is not compared
# what a column is to the report, by what its cells are
KINDS = {
    **dict.fromkeys(("integer", "float", "decimal"), "number"),
    **dict.fromkeys(("date", "datetime"), "date"),
    **dict.fromkeys(("text", "category", "object"), "category"),
    "duration": "duration",
    "boolean": "boolean",
    "null": "empty",
}

# measure: the best value it can have, and what it says
MEASURES = {
    "shape_error": (0.0, "How far single columns are from the real ones, in %. Independent columns have none."),
    "trend_error": (
        0.0,
        "How far the dependence between pairs of columns is from the real one, in %. A number beside a category is cut at "
        "the deciles of the real table.",
    ),
    "trend_error_sdmetrics": (
        0.0,
        "The same as sdmetrics computes it, to be compared with published figures. A number beside a category is cut over "
        "the range of each table: a few extremes can decide, and held-out real rows can score worse than synthetic ones.",
    ),
    "relations": (
        1.0,
        "How much of what always, or mostly, holds between real columns holds as often in synthetic rows: sums, orders, and "
        "what determines what. Boosted trees do not see sums.",
    ),
    "c2st": (1.0, "1: boosted trees cannot tell synthetic rows from real ones. 0: they always can."),
    "utility_auc": (
        math.nan,
        "AUC on real rows of a classifier of the target that was trained on synthetic rows. Chance is 0.5.",
    ),
    "utility_r2": (math.nan, "R² on real rows of a regression of the target that was trained on synthetic rows."),
    "utility_rmse": (math.nan, "Root mean squared error of that regression, in the target's unit (times: seconds)."),
    "dcr_share": (
        0.5,
        "Share of synthetic rows nearer to a real row than to a held-out row. Above 0.5: real rows are remembered.",
    ),
    "copies": (
        math.nan,
        "Share of synthetic rows that equal a real row. More than among held-out rows, or than real rows equal one another: "
        "real rows are remembered.",
    ),
}


# --- tables, side by side --------------------------------------------------------------------------------------------


class Column(NamedTuple):
    """One column of all tables.

    name : object
    kind : str
        "number", "date", "duration", "category", "boolean", "identifier", or "empty": missing throughout.
    cells : dict of str to (n,) float64
        By table: numbers, seconds, or codes of categories that the tables share; NaN for missing.
    labels : list
        Categories by code.
    """

    name: object
    kind: str
    cells: dict[str, np.ndarray]
    labels: list

    @property
    def is_numeric(self):
        return self.kind in NUMERIC

    def codes(self, table: str) -> np.ndarray:
        """Categories as integers from 1, missing as 0, of shape (n,)."""
        return (np.nan_to_num(self.cells[table], nan=-1.0) + 1).astype(np.int64)

    def missing(self, table: str) -> float:
        """Share of missing cells."""
        return float(np.isnan(self.cells[table]).mean())


def _checked(X, name):
    """A narwhals frame of a pandas or polars frame, or of anything that makes an array (n, n_columns)."""
    consumer = f"quality_report, in {name}"
    if nw.dependencies.is_into_dataframe(X):
        check_frame(X, MIN_ROWS, consumer, name)
        return as_frame(X)
    X = check_array(X, dtype=None, ensure_all_finite=False, ensure_min_samples=MIN_ROWS, estimator=consumer, input_name=name)
    return as_frame(X.astype(object) if X.dtype.kind == "U" else X)


def _check_names(frame, real, name):
    """Refuse a table whose columns are not those of real; their order is free."""
    unseen = [str(c) for c in frame.columns if c not in real.columns]
    lost = [str(c) for c in real.columns if c not in frame.columns]
    if unseen or lost:
        parts = [f"The column names of {name} should match those of real."]
        parts += ["Column names unseen in real:", *(f"- {c}" for c in unseen[:5])] if unseen else []
        parts += ["Column names of real, yet missing:", *(f"- {c}" for c in lost[:5])] if lost else []
        raise ValueError("\n".join(parts))


def _columns(tables) -> tuple[list[Column], dict]:
    """`Column`s of tables, in the order of the real one; and by name, why others, and identifiers, are not compared."""
    series = _series(tables)
    arrays = [name for name, by_table in series.items() if _hold_arrays(by_table)]
    columns = {name: _column(by_table) for name, by_table in series.items() if name not in arrays}
    identifiers = [name for name, column in columns.items() if column.kind == "identifier"]
    reasons = dict.fromkeys(arrays, ARRAYS) | dict.fromkeys(identifiers, IDENTIFIERS)
    return list(columns.values()), {name: reasons[name] for name in series if name in reasons}


def _series(tables):
    """Narwhals series by column and table, in the order of the real table's columns."""
    frames = {name: _checked(X, name) for name, X in tables.items()}
    for name, frame in frames.items():
        _check_names(frame, frames["real"], name)
    # not frame[name]: a name that is an int would be taken for a row
    series = {name: {one.name: one for one in frame.iter_columns()} for name, frame in frames.items()}
    return {column: {name: series[name][column] for name in frames} for column in frames["real"].columns}


def _hold_arrays(series):
    """Whether a column, as series by table, holds arrays (images, vectors) in any table."""
    return any(count_axes(one) > 0 for one in series.values())


def _column(series) -> Column:
    """One `Column` of narwhals series by table."""
    read = {table: _read(one, table) for table, one in series.items()}
    name, kind = series["real"].name, _common_kind(series, read)
    cells, labels = {table: values for table, (_, values) in read.items()}, []
    real = cells["real"][~pd.isna(cells["real"])]
    names_rows = kind == "category" and all(isinstance(value, str) for value in real) and are_identifiers(real)
    if kind in NUMERIC:
        cells = {table: values.astype(float) for table, values in cells.items()}
        if any(one.dtype == nw.Float32 for one in series.values()):  # 0.1 in float32 is 0.1 to float32 only
            cells = {table: _single(values) for table, values in cells.items()}
    else:
        cells, labels = _coded(cells)
    return Column(name, "identifier" if names_rows else kind, cells, labels)


def _common_kind(series, read):
    """The kind of a column in all tables, where it is not missing throughout."""
    kinds = {kind: table for table, (kind, _) in reversed(read.items()) if kind != "empty"}
    if len(kinds) > 1:
        first = next(kind for kind, _ in read.values() if kind != "empty")
        kind, table = next(item for item in kinds.items() if item[0] != first)
        raise ValueError(
            f"Column {series['real'].name!r} holds a {first} in {kinds[first]} ({series[kinds[first]].to_native().dtype}), "
            f"but a {kind} in {table} ({series[table].to_native().dtype}). Convert it to the dtype that it has in "
            f"{kinds[first]}."
        )
    return next(iter(kinds), "empty").removesuffix(" with a time zone")


def _read(series, table) -> tuple[str, np.ndarray]:
    """Kind, and values (n,): floats, NaN where missing, of a number or a time; else objects, None where missing."""
    try:
        found, (cells, missing) = read_cells(series)
    except (TypeError, ValueError) as error:
        raise type(error)(f"In {table}: {error}") from None
    kind = KINDS[found.kind]
    if missing.all():
        return "empty", np.full(len(series), None)
    if kind not in NUMERIC:
        values = cells.astype(object)
        values[missing] = None
        return kind, values
    if found.is_time:
        zone = " with a time zone" if found.time_zone else ""
        return kind + zone, np.where(missing, math.nan, _seconds(cells, found.unit))
    return kind, to_floats(Cells(cells, missing), series.name, table)


def _single(values):
    largest = np.finfo(np.float32).max
    return values.clip(-largest, largest).astype(np.float32).astype(float)


def _seconds(ticks, unit):
    """Ticks (n,) of dates or durations as seconds, the same floats whatever their unit."""
    if unit == "D":
        return 86_400.0 * ticks
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    return ticks // per_second + (ticks % per_second) / per_second


def _coded(values):
    """Objects by table as codes by table, NaN where missing, and the categories by code."""
    codes, labels = pd.factorize(np.concatenate(list(values.values())), sort=True)
    codes = np.where(codes < 0, math.nan, codes)
    ends = np.cumsum([len(one) for one in values.values()])[:-1]
    return dict(zip(values, np.split(codes, ends), strict=True)), list(labels)


# --- shape and trend -------------------------------------------------------------------------------------------------


def _shape(column, real="real", other="synthetic"):
    """One minus a distance of the distributions of a column in two tables."""
    if column.is_numeric:
        a, b = (column.cells[table][~np.isnan(column.cells[table])] for table in (real, other))
        distance = abs(column.missing(real) - column.missing(other))
        return 1.0 - max(distance, _kolmogorov_smirnov(a, b) if len(a) and len(b) else 0.0)
    a, b = (column.codes(table) for table in (real, other))
    return 1.0 - _total_variation(a, b, len(column.labels) + 1)


def _kolmogorov_smirnov(a, b):
    """Greatest distance of the distribution functions of samples (n,) and (m,)."""
    a, b = np.sort(a), np.sort(b)
    steps = np.concatenate([a, b])
    below = [np.searchsorted(sample, steps, side="right") / len(sample) for sample in (a, b)]
    return float(np.abs(below[0] - below[1]).max())


def _total_variation(a, b, size):
    """Half the sum of the differences of the frequencies of codes (n,) and (m,) below size."""
    if size > 4 * (len(a) + len(b)):  # a table of mostly empty cells: count what occurs
        codes = np.unique(np.concatenate([a, b]), return_inverse=True)[1]
        a, b, size = codes[: len(a)], codes[len(a) :], int(codes.max()) + 1
    frequencies = [np.bincount(codes, minlength=size) / len(codes) for codes in (a, b)]
    return float(np.abs(frequencies[0] - frequencies[1]).sum() / 2)


def _cut_at_deciles(real, other):
    """Numbers (n,) and (m,) in bins from 1 that end at the deciles of the real ones, missing as 0; and how many codes."""
    known = np.sort(real[~np.isnan(real)])
    # a value of more than a tenth of the rows has a bin of its own: it would hide what is next to it
    values, counts = np.unique(known, return_counts=True)
    heavy = values[(counts > 1) & (10 * counts > len(known))]
    # places of the deciles by whole numbers: a tenth is no float, and no edge falls between two huge numbers
    deciles = known[-(-np.arange(1, 10) * len(known) // 10) - 1] if len(known) else known
    edges = np.unique(np.concatenate([deciles, heavy, np.nextafter(heavy, -np.inf)]))
    codes = [np.where(np.isnan(cells), 0, 1 + np.searchsorted(edges, cells)) for cells in (real, other)]
    return *codes, len(edges) + 2


def _cut_over_ranges(real, other):
    """As sdmetrics does: ten bins over the range of each table, from 1, missing as 0; and how many codes."""
    return _binned(real), _binned(other), 12


def _binned(values):
    """Numbers (n,) in ten bins of equal width over their own range, from 1, missing as 0; the greatest alone in bin 11."""
    known = ~np.isnan(values)
    # edges of huge numbers overflow; a power of two leaves integers on the edges where they are
    values = np.ldexp(values, -np.frexp(np.abs(values[known]).max(initial=0.0))[1])
    bins = np.digitize(values, np.histogram_bin_edges(values[known]))
    return np.where(known, bins, 0)


def _correlations(X):
    """Pearson correlations (k, k) of columns (n, k) over the rows where both are seen; NaN where one is constant."""
    seen = ~np.isnan(X)
    X = np.where(seen, X, 0.0)
    X /= np.maximum(np.abs(X).max(axis=0, initial=0.0), np.finfo(float).tiny)
    X -= X.sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    X[~seen] = 0.0
    width = np.abs(X).max(axis=0, initial=0.0)
    X /= np.where(width > 1e-14, width, np.inf)
    mask = seen.astype(float)
    n = np.maximum(mask.T @ mask, 1.0)
    mean, square = X.T @ mask / n, (X * X).T @ mask / n
    variance = square - mean**2
    variance[variance <= 1e-14 * square] = 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        return ((X.T @ X / n - mean * mean.T) / np.sqrt(variance * variance.T)).clip(-1, 1)


def _trend(columns, real="real", other="synthetic"):
    """One row a pair of columns: how alike its dependence is in two tables."""
    numeric = [column for column in columns if column.is_numeric]
    place = {id(column): j for j, column in enumerate(numeric)}
    cells = [[column.cells[table] for column in numeric] for table in (real, other)]
    matrices = [_correlations(np.column_stack(some)) if some else np.empty((0, 0)) for some in cells]
    at_deciles, over_ranges = (
        [cut(c.cells[real], c.cells[other]) if c.is_numeric else _codes(c, real, other) for c in columns]
        for cut in (_cut_at_deciles, _cut_over_ranges)
    )
    rows = []
    for i, j in combinations(range(len(columns)), 2):
        one, two = columns[i], columns[j]
        if one.is_numeric and two.is_numeric:
            a, b = (float(matrix[place[id(one)], place[id(two)]]) for matrix in matrices)
            score = _correlation_similarity(a, b)
            rows.append((one.name, two.name, "correlation", score, score, a, b))
        else:
            score = _contingency_similarity(at_deciles[i], at_deciles[j])
            is_mixed = one.is_numeric or two.is_numeric
            as_sdmetrics = _contingency_similarity(over_ranges[i], over_ranges[j]) if is_mixed else score
            rows.append((one.name, two.name, "contingency", score, as_sdmetrics, math.nan, math.nan))
    return pd.DataFrame(rows, columns=["column_1", "column_2", "metric", "score", "score_sdmetrics", "real", "synthetic"])


def _with_dependence(pairs, columns):
    """The pairs with how much their columns depend on one another, from 0 to 1, in the real and the synthetic table."""
    cut = [_cut_at_deciles(c.cells["real"], c.cells["synthetic"]) if c.is_numeric else _codes(c) for c in columns]
    rows = list(combinations(range(len(columns)), 2))
    strengths = {}
    for at, table in enumerate(("real", "synthetic")):
        strengths[f"dependence_{table}"] = [
            abs(r) if metric == "correlation" else _cramers_v(cut[i][at], cut[j][at], cut[i][2], cut[j][2])
            for (i, j), metric, r in zip(rows, pairs["metric"], pairs[table], strict=True)
        ]
    return pairs.assign(**{name: np.array(values, dtype=float) for name, values in strengths.items()})


def _cramers_v(a, b, n, m):
    """Cramér's V of codes (n_rows,) below n and below m, less what chance adds to it (Bergsma, 2013); NaN for a constant."""
    joint = a * m + b
    if n * m <= 4 * len(a):
        counts = np.bincount(joint)
        joint = np.flatnonzero(counts)
        counts = counts[joint]
    else:
        joint, counts = np.unique(joint, return_counts=True)
    of_a, of_b = np.bincount(a, minlength=n), np.bincount(b, minlength=m)
    k, r, rest = np.count_nonzero(of_a), np.count_nonzero(of_b), len(a) - 1
    if min(k, r) < 2:
        return math.nan
    excess = float((counts / of_a[joint // m] * (counts / of_b[joint % m])).sum()) - 1 - (k - 1) * (r - 1) / rest
    largest = min(k - (k - 1) ** 2 / rest, r - (r - 1) ** 2 / rest) - 1
    return math.sqrt(min(max(excess, 0.0) / largest, 1.0)) if largest > 1e-9 else 0.0


def _codes(column, real="real", other="synthetic"):
    return column.codes(real), column.codes(other), len(column.labels) + 1


def _contingency_similarity(one, two):
    """One minus the distance of the joint frequencies of two columns, each as codes in two tables and how many codes."""
    (a, b, n), (c, d, m) = one, two
    return 1.0 - _total_variation(a * m + c, b * m + d, n * m)


def _correlation_similarity(a, b):
    """One minus half the difference of two correlations; one that is undefined is 0, if the other is not."""
    if math.isnan(a) and math.isnan(b):
        return math.nan
    return 1.0 - abs(np.nan_to_num(a) - np.nan_to_num(b)) / 2


def _relations(columns: list[Column]) -> pd.DataFrame:
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


def _fields(column: Column) -> dict[str, Field] | None:
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


def _relation_cells(column: Column, table: str) -> tuple[CellType, Cells]:
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


def _error(scores):
    """Percents that the mean of scores lacks; NaN of none."""
    scores = np.asarray(scores, dtype=float)
    return 100 * (1 - float(scores[~np.isnan(scores)].mean())) if not np.isnan(scores).all() else math.nan


def _apart(columns, seed):
    """The columns with another table, "independent": the real one, every column shuffled by itself."""
    rng = np.random.default_rng(seed)
    order = sorted(range(len(columns)), key=lambda j: str(columns[j].name))  # the same draws whatever the order
    shuffled = {j: rng.permutation(columns[j].cells["real"]) for j in order}
    return [c._replace(cells=c.cells | {"independent": shuffled[j]}) for j, c in enumerate(columns)]


# --- two-sample test and utility -------------------------------------------------------------------------------------


def _features(columns, table):
    """Columns as scikit-learn's gradient boosting takes them, (n, k): numbers, NaN where missing, and codes."""
    return np.column_stack([c.cells[table] if c.is_numeric else _frequent_codes(c, table) for c in columns])


def _frequent_codes(column, table):
    """Codes (n,) by frequency in all tables, missing a category of its own; the rare ones beyond N_LEVELS are one."""
    counts = np.bincount(np.concatenate([column.codes(name) for name in column.cells]), minlength=len(column.labels) + 1)
    rank = np.empty(len(counts))
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    return np.minimum(rank, N_LEVELS - 1)[column.codes(table)]


def _by_name(columns):
    """Columns in an order that does not depend on the tables': ties between splits go to the first."""
    return sorted(columns, key=lambda column: str(column.name))


def _some(X, size, seed):
    """At most so many rows of X (n, ...), drawn without replacement."""
    return X if len(X) <= size else X[np.random.default_rng(seed).choice(len(X), size, replace=False)]


def _boosting(kind, columns, seed):
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    model = {"classifier": HistGradientBoostingClassifier, "regressor": HistGradientBoostingRegressor}[kind]
    n_rows = min(len(columns[0].cells[table]) for table in ("real", "synthetic"))
    return model(
        categorical_features=[not c.is_numeric for c in columns],
        min_samples_leaf=min(20, max(2, n_rows // 20)),  # 20, the default, leaves a small table whole
        early_stopping=False,  # it would begin at 10,000 rows: a jump in what is measured
        random_state=seed,
    )


def _two_sample_score(columns, seed, real="real", other="synthetic"):
    """1 - mean(2 max(1/2, AUC) - 1) over three folds."""
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    columns = _by_name(columns)
    a, b = (_features(columns, table) for table in (real, other))
    size = min(len(a), len(b), N_MODEL_ROWS)
    X = np.vstack([_some(a, size, seed), _some(b, size, seed + 1)])
    folds = StratifiedKFold(3, shuffle=True, random_state=seed)
    model = _boosting("classifier", columns, seed)
    auc = cross_val_score(model, X, np.repeat([0, 1], size), cv=folds, scoring="roc_auc", error_score="raise")
    return 1.0 - float(np.mean(2 * np.maximum(0.5, auc) - 1))


def _target_column(columns, target):
    """The target, and the other columns that are no identifiers."""
    column = next((c for c in columns if c.name == target), None)
    if column is None:
        raise ValueError(f"target must be a column of real. Got {target!r}; columns: {[c.name for c in columns]}.")
    if column.kind in ("identifier", "empty"):
        raise ValueError(f"target {target!r} is {column.kind} in real: there is nothing to predict. Choose another column.")
    rest = [c for c in _by_name(columns) if c is not column and c.kind != "identifier"]
    if not rest:
        raise ValueError(f"target {target!r} is the only column to learn from. Give tables with other columns.")
    n_values = len(np.unique(column.cells["real"][~np.isnan(column.cells["real"])]))
    is_class = not column.is_numeric or n_values <= 2
    if n_values < 2 or (is_class and n_values > MAX_CLASSES):
        raise ValueError(
            f"target {target!r} has {n_values} different value(s) in real; it needs 2, and at most {MAX_CLASSES} if it is a "
            "category. Choose another column."
        )
    return column, rest, is_class


def _utility(columns, target, seed):
    """Measures of a model trained on synthetic rows, and of one trained on real rows, tested on rows that are real."""
    from sklearn.model_selection import KFold

    column, rest, is_class = _target_column(columns, target)
    model, rows = _boosting("classifier" if is_class else "regressor", rest, seed), {}
    for table, y in column.cells.items():
        known = np.flatnonzero(~np.isnan(y))
        if len(known) < MIN_ROWS:
            raise ValueError(
                f"target {target!r} has {len(known)} cells that are not missing in {table}; it needs {MIN_ROWS}."
            )
        chosen = _some(known, N_MODEL_ROWS, seed)
        rows[table] = _features(rest, table)[chosen], y[chosen]
    X, y = rows.get("holdout", rows["real"])
    classes = np.unique(y) if is_class else None
    if classes is not None and len(classes) < 2:
        raise ValueError(f"target {target!r} has one class in holdout, and needs 2. Give more rows.")
    synthetic = _predict(model, *rows["synthetic"], X, classes)
    if "holdout" in rows:
        real = _predict(model, *rows["real"], X, classes)
    else:
        real = np.empty_like(synthetic)
        for train, test in KFold(3, shuffle=True, random_state=seed).split(X):
            real[test] = _predict(model, X[train], y[train], X[test], classes)
    return _scores(y, synthetic, classes), _scores(y, real, classes)


def _predict(model, X, y, X_test, classes):
    """Predictions (m,) of a regression, or probabilities (m, n_classes); 0 for a class that y (n,) lacks."""
    if classes is None:
        return model.fit(X, y).predict(X_test)
    out = np.zeros((len(X_test), len(classes)))
    if len(np.unique(y)) == 1:
        out[:, classes == y[0]] = 1.0
        return out
    probabilities = model.fit(X, y).predict_proba(X_test)
    for k, value in enumerate(model.classes_):
        out[:, classes == value] = probabilities[:, [k]]
    return out


def _scores(y, predicted, classes):
    """Measures of predictions for y (n,)."""
    from sklearn.metrics import r2_score, roc_auc_score

    if classes is None:
        return {"utility_r2": r2_score(y, predicted), "utility_rmse": float(np.sqrt(np.mean((y - predicted) ** 2)))}
    auc = [roc_auc_score(y == value, predicted[:, k]) for k, value in enumerate(classes)]
    return {"utility_auc": float(np.mean(auc))}


# --- privacy ---------------------------------------------------------------------------------------------------------


def _copies(columns):
    """By table, the share of rows that equal a real row; of the real rows, that equal another."""
    tables = list(columns[0].cells)
    sizes = [len(columns[0].cells[table]) for table in tables]
    key = np.zeros(sum(sizes), dtype=np.int64)
    for column in columns:
        codes, found = pd.factorize(np.concatenate([column.cells[table] for table in tables]), use_na_sentinel=False)
        key = pd.factorize(key * len(found) + codes)[0]
    keys = dict(zip(tables, np.split(key, np.cumsum(sizes)[:-1]), strict=True))
    times = np.bincount(keys["real"], minlength=key.max() + 1)
    return {table: float((times[keys[table]] > (table == "real")).mean()) for table in tables}


def _places(columns):
    """By table, rows (n, k): ranks and codes. Gower's distance of two rows a and b is the sum of min(|a - b|, 1)."""
    out: dict[str, list] = {table: [] for table in columns[0].cells}
    for column in columns:
        pool = np.concatenate([column.cells["real"], column.cells["holdout"]])
        pool = np.sort(pool[~np.isnan(pool)])
        for table, cells in column.cells.items():
            if column.is_numeric:
                below, upto = (np.searchsorted(pool, cells, side=side) for side in ("left", "right"))
                cells = (below + upto) / (2 * max(len(pool), 1))
                cells[np.isnan(column.cells[table])] = 2.0  # one away from any rank
            else:
                cells = column.codes(table)
            out[table].append(cells.astype(np.float32))
    return {table: np.column_stack(parts) for table, parts in out.items()}


def _nearest(queries, rows):
    """Distance (m,) of each query (m, k) to the nearest of rows (n, k), both in `_places`, and which row that is (m,)."""
    best, places = np.full(len(queries), np.inf, dtype=np.float32), np.zeros(len(queries), dtype=np.int64)
    rows = np.ascontiguousarray(rows.T)
    for first in range(0, len(queries), 16):
        block = slice(first, first + 16)
        for start in range(0, rows.shape[1], 8192):  # 16 x 8192 floats stay in a processor's cache
            total = _distances(queries[block], rows[:, start : start + 8192])
            place = total.argmin(axis=1)
            distance = np.take_along_axis(total, place[:, None], axis=1)[:, 0]
            places[block] = np.where(distance < best[block], start + place, places[block])
            best[block] = np.minimum(best[block], distance)
    return best, places


def _distances(queries, rows):
    """Of queries (m, k) and rows (k, n), both in `_places`: (m, n)."""
    total = np.zeros((len(queries), rows.shape[1]), dtype=np.float32)
    step = np.empty_like(total)
    for query, row in zip(queries.T, rows, strict=True):
        np.subtract(query[:, None], row, out=step)
        np.abs(step, out=step)
        np.minimum(step, 1, out=step)
        total += step
    return total


def _nearer_share(columns, seed):
    """Share of synthetic rows that are nearer to a real row than to a held-out one, of ties half; and its standard error."""
    places = _places(_by_name(columns))
    size = min(len(places["real"]), len(places["holdout"]), N_SEARCHED)
    queries = _some(places["synthetic"], N_QUERIES, seed)
    searched = [_some(places[name], size, seed + at) for at, name in enumerate(("real", "holdout"))]
    (real, nearest_real), (holdout, nearest_holdout) = (_nearest(queries, rows) for rows in searched)
    share = (real < holdout).mean() + (real == holdout).mean() / 2
    # without memory it is chance which of the rows searched are the real ones; a row that is nearest to many synthetic ones
    # then decides for all of them, so that a thousand synthetic rows around one row tell no more than one does
    nearest = np.concatenate([nearest_real[real < holdout], size + nearest_holdout[holdout < real]])
    weights = np.bincount(nearest, minlength=2 * size) / len(queries)
    return float(share), float(np.sqrt(weights.var() * size**2 / (2 * size - 1)))


# --- the report ------------------------------------------------------------------------------------------------------


def quality_report(
    real: IntoDataFrame | ArrayLike,
    synthetic: IntoDataFrame | ArrayLike,
    holdout: IntoDataFrame | ArrayLike | None = None,
    *,
    target: Hashable | None = None,
    estimator: Any = None,
    random_state: int | np.random.RandomState | None = None,
) -> "QualityReport":
    """Compare a synthetic table with the real one that it was made from.

    Parameters
    ----------
    real : {DataFrame, array-like} of shape (n_samples, n_features)
        The rows that the synthetic ones were made from, at least 3. Columns hold numbers, booleans, strings, categories,
        dates or durations; cells may be missing. Columns of arrays (images, vectors) are left out, and listed in `left_out`.

    synthetic : {DataFrame, array-like} of shape (n_synthetic, n_features)
        The rows to judge. Columns as in `real`, by name; their order is free. A column that holds another kind of cells
        than in `real` is refused; integers and floats, naive units of time, strings and categories are one kind each.

    holdout : {DataFrame, array-like} of shape (n_holdout, n_features), default=None
        Real rows that nothing was fitted to. With them the summary tells what real rows would score, utility is tested on
        rows that no model saw, and the nearest records are compared.

    target : object, default=None
        Name of a column to predict from the others ("x0", "x1", ... for an array), for utility. A category, a boolean or a
        number of two values is a class, another number or a time is regressed.

    estimator : object with `transform`, default=None
        Fitted to rows like `real`, such as a `VAETransformer`. On the page of `to_html` rows are then mapped by what it
        makes of them, otherwise by their principal components.

    random_state : int, RandomState instance or None, default=None
        Seeds the folds, the classifiers and the draws of rows. Pass an int for reproducible output across calls.

    Returns
    -------
    report : QualityReport
        With `verdict` (in words), `summary`, `columns` and `pairs` (DataFrames), `plot()` and `to_html(path)`. It holds no
        rows.

    Raises
    ------
    ValueError
        If a table has fewer than 3 rows, more than two axes, duplicate column names, infinite cells, identifiers and arrays
        only, other columns than `real` or another kind of cells in one, or if `target` is no column that can be predicted.
    TypeError
        If a column holds anything else than is listed above, or if `estimator` has no `transform`.

    See Also
    --------
    VAETransformer.sample : Draws synthetic rows.

    Notes
    -----
    Measures of the summary. Errors are in %, `utility_rmse` is in the unit of the target (seconds for times), the others are
    shares or scores without a unit:

    - **shape_error** : percents that the mean `score` of `columns` lacks of 1. The score of a column is one minus the
      Kolmogorov-Smirnov distance of its observed cells for a number, a date or a duration, and one minus the total
      variation distance for a category or a boolean [1]_, [6]_. Missing cells are a category of their own; the score of a
      number is no more than one minus the difference of the shares of missing cells, which sdmetrics does not count.
    - **trend_error** : percents that the mean `score` of `pairs` lacks of 1. For two numbers, one minus half the difference
      of their Pearson correlations, over rows where both are observed; for two categories, one minus the total variation
      distance of their joint frequencies; a number beside a category is first cut at the deciles of the real table, the same
      for both tables. A value of more than a tenth of the real rows is a bin of its own, and so are missing cells. A
      correlation with a constant column is taken as 0, unless it is undefined in both tables: then the pair has no score.
      Differences below 0.5 mean little.
    - **trend_error_sdmetrics** : the same of `score_sdmetrics`, as in the quality report of sdmetrics up to 0.26 [1]_, to be
      compared with published figures. It differs for a number beside a category, which is cut into ten bins over the range
      that it has in each table: a few extremes can decide, and held-out real rows can score worse than synthetic ones. All
      pairs count.
    - **relations** : one minus the mean difference, over the relations that the real table shows (`relations_` of the
      estimator), of the shares of real and of synthetic rows that keep them. Not listed where there are none.
    - **c2st** : a two-sample test [2]_. Gradient boosting learns to tell synthetic rows from real ones, in three folds; the
      score is 1 - mean(2 max(1/2, AUC) - 1). It sees categories and missing cells as such; categories beyond the 254 most
      frequent are one to it. It takes as many rows of each table as the smaller one has, and at most 50,000. With fewer
      than a few hundred rows it finds little, and it takes copies of real rows for real: see `copies`.
    - **utility** : with `target`. Gradient boosting is trained on the synthetic rows and tested on the real ones [3]_,
      on `holdout` if it is given. `real` beside it is the same trained on the real rows; without holdout, in three folds.
      Without holdout the synthetic rows were made from the rows that test them: the figure flatters. The
      AUC is one class against the rest, the mean over the classes. Rows without the target are left out.
    - **dcr_share** : with `holdout`. The distance to the closest record [4]_, in the real rows or in as many held-out ones
      (at most 50,000 of each, and 2,000 synthetic rows, for a standard error of about 0.01; the verdict tells three of them;
      a holdout much smaller than the real rows leaves most of them out of the search, and sees less), with Gower's distance
      [5]_: numbers by their rank among the real and held-out rows, categories equal or not, missing cells equal to one
      another only. Ties count half. It means something only if holdout and real rows come from the same source.
    - **copies** : the share of synthetic rows equal to a real row in every column; `real` is the same for the held-out rows,
      without holdout the share of real rows that equal another real row.

    `ideal` is the best value that there can be, `real` what held-out real rows score in place of the synthetic ones (for
    utility: what real rows to train on give), `independent` what the real rows score once every column is shuffled by
    itself, where that is known without training: a table that tells no dependence between columns.

    The verdict says what these measures say: of columns and pairs, beside held-out rows and shuffled columns; of the
    two-sample test and utility, beside real rows; of memory, what chance does not explain (three standard errors). Without
    holdout it says what that leaves open.

    Identifiers (from 50 rows on, texts that are nearly all different) are listed in `columns`, without a score, and
    otherwise ignored; columns of arrays are ignored. `left_out` names both. Dates are compared as moments, whatever their
    unit or time zone, and numbers as float64, or as float32 where one table holds them so. Shape, trend and copies use all
    rows; a map of the rows at most 10,000 of each table.

    References
    ----------
    .. [1] SDMetrics: KSComplement, TVComplement, CorrelationSimilarity, ContingencySimilarity.
       https://docs.sdv.dev/sdmetrics
    .. [2] Lopez-Paz, D., & Oquab, M. (2017). Revisiting classifier two-sample tests. ICLR. arXiv:1610.06545
    .. [3] Esteban, C., Hyland, S. L., & Rätsch, G. (2017). Real-valued (medical) time series generation with recurrent
       conditional GANs. arXiv:1706.02633 (train on synthetic, test on real)
    .. [4] Platzer, M., & Reutterer, T. (2021). Holdout-based empirical assessment of mixed-type synthetic data. Frontiers
       in Big Data, 4. arXiv:2104.00635
    .. [5] Gower, J. C. (1971). A general coefficient of similarity and some of its properties. Biometrics, 27(4).
    .. [6] Gibbs, A. L., & Su, F. E. (2002). On choosing and bounding probability metrics. International Statistical Review,
       70(3). arXiv:math/0209021

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from skvae import quality_report
    >>> X, _ = load_wine(return_X_y=True, as_frame=True)
    >>> report = quality_report(X, X.sample(frac=1, random_state=0), random_state=0)
    >>> float(report.summary.loc["shape_error", "value"])
    0.0
    >>> float(report.summary.loc["copies", "value"])
    1.0
    """
    seed = _seed(random_state)
    tables = {"real": real, "synthetic": synthetic} | ({} if holdout is None else {"holdout": holdout})
    columns, left_out = _columns(tables)
    modelled = [column for column in columns if column.name not in left_out]
    if not modelled:
        reasons = ", ".join(f"{name!r} {reason}" for name, reason in left_out.items())
        raise ValueError(f"real has no column to compare: {reasons}. Give tables that have another column.")
    if target is not None and left_out.get(target) == ARRAYS:
        raise ValueError(f"target {target!r} {ARRAYS} in real: it cannot be predicted. Choose another column.")
    utility = None if target is None else _utility(columns, target, seed)
    pairs = _with_dependence(_trend(modelled), modelled)
    shape = _column_frame(columns)
    relations = _relations(modelled)
    rows = _measures(modelled, shape, pairs, seed) | _measure_of_relations(relations)
    if utility is not None:
        rows |= {name: {"value": value, "real": utility[1][name]} for name, value in utility[0].items()}
    sizes = {table: len(cells) for table, cells in columns[0].cells.items()}
    marginals = [marginal_of(column, shape.at[column.name, "score"]) for column in modelled]
    drawn = Drawn(marginals, _worst_joints(modelled, pairs), _row_map(modelled, tables, estimator, seed))
    error = rows.get("dcr_share", {}).get("error")
    return QualityReport(_summary(rows), shape, pairs, relations, left_out, drawn, sizes, target, error)


def _summary(rows):
    """The measures that were taken, each with its reference points and its meaning."""
    names = [name for name in MEASURES if name in rows]
    return pd.DataFrame(
        [{"ideal": MEASURES[name][0], **rows[name], "meaning": MEASURES[name][1]} for name in names],
        index=pd.Index(names, name="measure"),
        columns=["value", "ideal", "real", "independent", "meaning"],
    )


def _worst_joints(columns, pairs):
    """The pairs of the worst scores, as `Joint`s."""
    worst = pairs["score"].dropna().sort_values(kind="stable").index[:N_PAIRS_DRAWN]
    ends = list(combinations(columns, 2))  # the order of pairs
    return [joint_of(ends[at][0], ends[at][1], float(pairs.at[at, "score"])) for at in worst]


def _row_map(columns, tables, estimator, seed):
    """Rows by what the estimator makes of them, or by principal components; None of a column that is a number alone."""
    tables = {table: tables[table] for table in ("real", "synthetic")}
    if estimator is None:
        rows, what = encoded(_some_rows(columns, tables, seed)), "the columns"
        if rows["real"].shape[1] == 1:
            return None
    else:
        rows = {table: _transformed(estimator, X, tables["real"], seed) for table, X in tables.items()}
        n = rows["real"].shape[1]
        what = f"the {n} coordinates" if n > 1 else "the coordinate"
        what += f" that {type(estimator).__name__} gives rows"
    name, caption = "coordinate", f"By {what}."
    if estimator is None or rows["real"].shape[1] > 2:
        rows, explained = principal_components(rows)
        name, caption = (
            "component",
            f"Principal components of {what}, which explain {explained.sum():.0%} of their variance.",
        )
    axes = [
        Column(f"{name} {k + 1}", "number", {table: X[:, k] for table, X in rows.items()}, [])
        for k in range(rows["real"].shape[1])
    ]
    return RowMap(joint_of(axes[0], axes[1], math.nan) if len(axes) > 1 else marginal_of(axes[0], _shape(axes[0])), caption)


def _some_rows(columns, tables, seed):
    """The columns with at most N_PROJECTED rows of some tables."""
    return [c._replace(cells={t: _some(c.cells[t], N_PROJECTED, seed) for t in tables}) for c in columns]


def _transformed(estimator, X, real, seed):
    """What an estimator makes of at most N_PROJECTED rows of a table, its columns in the order of real: (n, k)."""
    if not hasattr(estimator, "transform"):
        raise TypeError(f"estimator must have a method transform. Got {type(estimator).__name__}.")
    if nw.dependencies.is_into_dataframe(X):
        X = X if list(X.columns) == list(real.columns) else X[list(real.columns)]
        rows = _some(np.arange(len(X)), N_PROJECTED, seed)
        X = nw.from_native(X, eager_only=True)[rows].to_native()
    else:
        X = _some(np.asarray(X), N_PROJECTED, seed)
    Z = np.asarray(estimator.transform(X), dtype=float)
    if Z.ndim != 2 or not np.isfinite(Z).all():
        raise ValueError(f"estimator.transform should give finite numbers (n_samples, k). Got an array of shape {Z.shape}.")
    return Z


def _measure_of_relations(relations):
    """Value and reference points, by measure, if there are relations."""
    if relations.empty:
        return {}
    others = [table for table in ("synthetic", "holdout") if table in relations]
    alike = {table: 1 - (relations[table] - relations["real"]).abs().mean() for table in others}
    return {"relations": {"value": alike["synthetic"], "real": alike.get("holdout", math.nan)}}


def _seed(random_state):
    """A seed; None draws one without touching numpy's global stream."""
    stream = np.random.RandomState() if random_state is None else check_random_state(random_state)
    return int(stream.randint(2**31 - 2))


def _measures(columns, shape, pairs, seed):
    """Value and reference points, by measure."""
    held_out = "holdout" in columns[0].cells
    copies = _copies(columns)
    trends = {"value": pairs, "independent": _trend(_apart(columns, seed), other="independent")}
    trends |= {"real": _trend(columns, other="holdout")} if held_out else {}
    rows = {
        "shape_error": {"value": _error(shape["score"]), "independent": 0.0},
        "trend_error": {table: _error(trend["score"]) for table, trend in trends.items()},
        "trend_error_sdmetrics": {table: _error(trend["score_sdmetrics"]) for table, trend in trends.items()},
        "c2st": {"value": _two_sample_score(columns, seed)},
        "copies": {"value": copies["synthetic"], "real": copies["holdout" if held_out else "real"]},
    }
    if held_out:
        rows["shape_error"]["real"] = _error([_shape(c, other="holdout") for c in columns])
        rows["c2st"]["real"] = _two_sample_score(columns, seed, other="holdout")
        rows["dcr_share"] = dict(zip(("value", "error"), _nearer_share(columns, seed), strict=True))
    return rows


def _column_frame(columns):
    rows = [
        {
            "kind": column.kind,
            "metric": "" if column.kind == "identifier" else "ks" if column.is_numeric else "tv",
            "score": math.nan if column.kind == "identifier" else _shape(column),
            "missing_real": column.missing("real"),
            "missing_synthetic": column.missing("synthetic"),
        }
        for column in columns
    ]
    names = pd.Index([column.name for column in columns], name="column", tupleize_cols=False)
    return pd.DataFrame(rows, index=names)


class QualityReport:
    """What `quality_report` found. It holds figures and histograms, no rows.

    Attributes
    ----------
    verdict : str
        A few sentences: how close single columns and pairs of columns are, and which are worst; whether what always holds
        between columns is kept; whether a classifier
        can tell the rows apart; with a target, whether a model learns as much of the rows as of real ones; and whether real
        rows were remembered.

    summary : DataFrame
        One row a measure: `value`; beside it `ideal`, `real` and `independent`, the reference points (NaN where there is
        none); and `meaning`, in words. Errors are in %, RMSE in the target's unit, the others lie between 0 and 1 (R² at
        most 1).

    columns : DataFrame
        One row a column, by name: `kind`, `metric` ("ks", "tv", or "" for an identifier), `score`, and the shares of missing
        cells, `missing_real` and `missing_synthetic`.

    pairs : DataFrame
        One row a pair of columns: `column_1`, `column_2`, `metric` ("correlation" or "contingency"), `score`, of which
        `trend_error` is the mean, `score_sdmetrics`, the same as sdmetrics computes it (another one where a number is
        beside a category), the correlations, `real` and `synthetic`, and from 0 to 1 how much the columns depend on one
        another, `dependence_real` and `dependence_synthetic`: the correlation without its sign, for other pairs Cramér's V
        less what chance adds to it, numbers cut at the deciles of the real table; NaN beside a constant column.

    relations : DataFrame
        One row a relation that is found in the real table, as in `VAETransformer.relations_`: `relation`, `kind`, the shares
        of rows that keep it, `real`, `synthetic` and, with held-out rows, `holdout`, and `columns`; the worst first.

    left_out : dict of str
        Why a column is not compared, by its name: it "holds arrays", or it "names rows" (identifiers).

    n_rows : dict of str to int
        Rows of each table: "real", "synthetic" and "holdout".

    target : object
        Name of the column that utility is about, or None.

    figure_ : matplotlib Figure
        What `plot` drew.

    axes_ : ndarray of matplotlib Axes
        Its axes: shape, trend, then one a column.
    """

    def __init__(self, summary, columns, pairs, relations, left_out, drawn, n_rows, target=None, nearer_error=None):
        self.summary, self.columns, self.pairs, self.n_rows, self.target = summary, columns, pairs, n_rows, target
        self.relations, self.left_out = relations, left_out
        self._drawn, self._nearer_error = drawn, nearer_error

    @property
    def verdict(self) -> str:
        """What was found, in a few sentences."""
        return " ".join(self._sentences())

    def plot(self, *, max_columns: int = N_DISTRIBUTIONS) -> "QualityReport":
        """Draw shape by column, trend by pair (`trend_error`), and the distributions of the columns of the worst shape.

        Parameters
        ----------
        max_columns : int, default=12
            Number of distributions to draw at most.

        Returns
        -------
        self : QualityReport
            With `figure_` and `axes_`.

        Raises
        ------
        ValueError
            If `max_columns` is not an int in the range [0, inf).
        """
        import matplotlib.pyplot as plt

        figure = plt.figure(layout="constrained")
        self.axes_ = draw_report(figure, self._drawn.marginals, self.pairs["score"], _check_count(max_columns))
        self.figure_ = figure
        return self

    def to_html(self, path: str | os.PathLike) -> Path:
        """Write the report as one file that needs nothing else, for wide screens and narrow ones, light and dark.

        First the verdict, then the measures beside their reference points, the relations that are broken and kept, the
        distributions of the worst columns and of the worst pairs, the dependence of all pairs as a map, a map of the rows,
        and privacy.

        Parameters
        ----------
        path : str or path-like
            File to write; one that is there is replaced.

        Returns
        -------
        path : Path
            The file.
        """
        path = Path(path)
        has_holdout = "holdout" in self.n_rows
        memory = memory_sentence(self.summary, self.n_rows, self._nearer_error)
        sections = {
            "Verdict": html_verdict(self._sentences(), self.left_out),
            "Measures": html_measures(self.summary, has_holdout),
            "Relations": html_relations(self.relations),
            "Columns": html_columns(self._drawn, self.columns),
            "Pairs of columns": html_pairs(self._drawn, self.pairs),
            "Map of the rows": html_rows(self._drawn),
            "Privacy": html_privacy(memory, self.summary, has_holdout),
        }
        page = html_page("Quality of synthetic rows", self._sizes(), sections)
        path.write_text(page, encoding="utf-8")
        return path

    def _sizes(self):
        return ", ".join(f"{size:,} {table} rows" for table, size in self.n_rows.items()).replace("holdout", "held-out")

    def _sentences(self):
        tables = self.columns, self.pairs, self.relations
        return verdict_sentences(self.summary, *tables, self.n_rows, self.target, self._nearer_error)

    def __repr__(self):
        table = self.summary.drop(columns="meaning").map(as_number)
        words = "\n".join(textwrap.fill(sentence, 100, subsequent_indent="  ") for sentence in self._sentences())
        left_out = f"\n{not_compared(self.left_out)}\n" if self.left_out else ""
        return f"{type(self).__name__}: {self._sizes()}\n\n{words}\n{left_out}\n{table.to_string(index_names=False)}"

    def _repr_html_(self):
        parts = [*html_verdict(self._sentences(), self.left_out), *html_measures(self.summary, "holdout" in self.n_rows)]
        return "\n".join([f"<p>{self._sizes()}</p>", *parts])


def _check_count(value):
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < 0:
        raise ValueError(f"max_columns must be an int in the range [0, inf). Got {value!r} instead.")
    return int(value)
