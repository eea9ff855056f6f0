"""Rows of several tables in two dimensions: principal components of encoded columns, or what an estimator makes of rows."""

import numpy as np
from scipy.special import ndtri

N_CATEGORIES = 30  # one-hot columns of a category at most, of the most frequent; the others share none


def encoded(columns) -> dict[str, np.ndarray]:
    """By table, rows (n, k) of `skvae.quality.Column`s as numbers of like weight.

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
