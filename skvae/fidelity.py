"""How alike single columns, and pairs of columns, are distributed in two tables."""

import math
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from skvae.compared_columns import ComparedColumn


def percent_error(scores: ArrayLike) -> float:
    """Percents that the mean of scores lacks; NaN of none."""
    scores = np.asarray(scores, dtype=float)
    return 100 * (1 - float(scores[~np.isnan(scores)].mean())) if not np.isnan(scores).all() else math.nan


# --- single columns --------------------------------------------------------------------------------------------------


def column_scores(columns: list[ComparedColumn]) -> pd.DataFrame:
    """One row a column, by name: its kind, how alike its distribution is in both tables, and shares of missing cells."""
    rows = [
        {
            "kind": column.kind,
            "metric": "" if column.kind == "identifier" else "ks" if column.is_numeric else "tv",
            "score": math.nan if column.kind == "identifier" else shape_score(column),
            "missing_real": column.missing("real"),
            "missing_synthetic": column.missing("synthetic"),
        }
        for column in columns
    ]
    names = pd.Index([column.name for column in columns], name="column", tupleize_cols=False)
    return pd.DataFrame(rows, index=names)


def shape_score(column: ComparedColumn, real: str = "real", other: str = "synthetic") -> float:
    """One minus the distance of the distributions of a column in two tables."""
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


# --- pairs of columns ------------------------------------------------------------------------------------------------


def pair_scores(columns: list[ComparedColumn], real: str = "real", other: str = "synthetic") -> pd.DataFrame:
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


def with_shuffled(columns: list[ComparedColumn], seed: int) -> list[ComparedColumn]:
    """The columns with another table, "independent": the real one, every column shuffled by itself."""
    rng = np.random.default_rng(seed)
    order = sorted(range(len(columns)), key=lambda j: str(columns[j].name))  # the same draws whatever the order
    shuffled = {j: rng.permutation(columns[j].cells["real"]) for j in order}
    return [c._replace(cells=c.cells | {"independent": shuffled[j]}) for j, c in enumerate(columns)]


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


def _correlation_similarity(a, b):
    """One minus half the difference of two correlations; one that is undefined is 0, if the other is not."""
    if math.isnan(a) and math.isnan(b):
        return math.nan
    return 1.0 - abs(np.nan_to_num(a) - np.nan_to_num(b)) / 2


def _contingency_similarity(one, two):
    """One minus the distance of the joint frequencies of two columns, each as codes in two tables and how many codes."""
    (a, b, n), (c, d, m) = one, two
    return 1.0 - _total_variation(a * m + c, b * m + d, n * m)


def _codes(column, real="real", other="synthetic"):
    return column.codes(real), column.codes(other), len(column.labels) + 1


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


# --- how much two columns depend on one another ----------------------------------------------------------------------


def with_dependence(pairs: pd.DataFrame, columns: list[ComparedColumn]) -> pd.DataFrame:
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
