"""Rows of several tables in two dimensions: principal components of encoded columns, or what an estimator makes of rows."""

import math
from typing import Any, NamedTuple

import narwhals.stable.v2 as nw
import numpy as np
from scipy.special import ndtri

from skvae.binned_distributions import Joint, Marginal, joint_of, marginal_of
from skvae.compared_columns import ComparedColumn, some_rows
from skvae.fidelity import shape_score

N_PROJECTED = 10_000  # rows of each table at most that are mapped
N_CATEGORIES = 30  # one-hot columns of a category at most, of the most frequent; the others share none


class RowMap(NamedTuple):
    """Whole rows of two tables, real and synthetic, by one or two coordinates, and what these are, in words."""

    places: Marginal | Joint
    caption: str


def map_rows(columns: list[ComparedColumn], tables: dict, estimator: Any, seed: int) -> RowMap | None:
    """Rows by what the estimator makes of them, or by principal components; None of a column that is a number alone."""
    tables = {table: tables[table] for table in ("real", "synthetic")}
    if estimator is None:
        rows, what = encoded(_some_cells(columns, tables, seed)), "the columns"
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
        ComparedColumn(f"{name} {k + 1}", "number", {table: X[:, k] for table, X in rows.items()}, [])
        for k in range(rows["real"].shape[1])
    ]
    if len(axes) == 1:
        return RowMap(marginal_of(axes[0], shape_score(axes[0])), caption)
    return RowMap(joint_of(axes[0], axes[1], math.nan), caption)


def _some_cells(columns, tables, seed):
    """The columns with at most N_PROJECTED rows of some tables."""
    return [c._replace(cells={t: some_rows(c.cells[t], N_PROJECTED, seed) for t in tables}) for c in columns]


def _transformed(estimator, X, real, seed):
    """What an estimator makes of at most N_PROJECTED rows of a table, its columns in the order of real: (n, k)."""
    if not hasattr(estimator, "transform"):
        raise TypeError(f"estimator must have a method transform. Got {type(estimator).__name__}.")
    if nw.dependencies.is_into_dataframe(X):
        X = X if list(X.columns) == list(real.columns) else X[list(real.columns)]
        rows = some_rows(np.arange(len(X)), N_PROJECTED, seed)
        X = nw.from_native(X, eager_only=True)[rows].to_native()
    else:
        X = some_rows(np.asarray(X), N_PROJECTED, seed)
    Z = np.asarray(estimator.transform(X), dtype=float)
    if Z.ndim != 2 or not np.isfinite(Z).all():
        raise ValueError(f"estimator.transform should give finite numbers (n_samples, k). Got an array of shape {Z.shape}.")
    return Z


# --- coordinates of rows ---------------------------------------------------------------------------------------------


def encoded(columns: list[ComparedColumn]) -> dict[str, np.ndarray]:
    """By table, rows (n, k) of columns as numbers of like weight.

    Numbers become normal scores of the real table, which a few extremes do not stretch, and categories one-hot columns,
    which together vary no more than a number does.
    """
    tables = list(columns[0].cells)
    parts = [_normal_scores(c) if c.is_numeric else _one_hot(c) for c in columns]
    return {table: np.column_stack([part[table] for part in parts]) for table in tables}


def _normal_scores(column):
    """By table, (n, 1); a missing cell is at 0, the middle."""
    real = column.cells["real"]
    known = np.sort(real[~np.isnan(real)])
    out = {}
    for table, cells in column.cells.items():
        places = sum(np.searchsorted(known, cells, side=side) for side in ("left", "right")) / 2
        scores = ndtri((places + 0.5) / (len(known) + 1))
        out[table] = np.where(np.isnan(cells), 0.0, scores)[:, None]
    return out


def _one_hot(column):
    """By table, (n, k): of the most frequent categories of the real table, missing cells among them."""
    codes = {table: column.codes(table) for table in column.cells}
    counts = np.bincount(codes["real"], minlength=len(column.labels) + 1)
    kept = np.argsort(-counts, kind="stable")[:N_CATEGORIES]
    kept = kept[counts[kept] > 0]
    return {table: (code[:, None] == kept).astype(float) for table, code in codes.items()}


def principal_components(rows: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Rows (n, k) by table along the directions, at most two, in which those of the real table vary most.

    Returns coordinates (n, 1 or 2) by table, and the shares of the variance that the directions explain.
    """
    real = rows["real"]
    mean = real.mean(axis=0)
    covariance = np.atleast_2d(np.cov(real, rowvar=False, ddof=0))
    variances, directions = np.linalg.eigh(covariance)
    variances, directions = variances[::-1][:2].clip(0), directions[:, ::-1][:, :2]
    # eigenvectors have no sign of their own: the greatest weight is positive, wherever this is computed
    directions = directions * np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])])
    total = max(float(np.trace(covariance)), np.finfo(float).tiny)
    return {table: (X - mean) @ directions for table, X in rows.items()}, variances / total
