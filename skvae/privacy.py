"""Whether a synthetic table remembers real rows: copies of them, and rows nearer to them than to held-out ones."""

import numpy as np
import pandas as pd

from skvae.compared_columns import ComparedColumn, by_name, some_rows

N_QUERIES = 2_000  # synthetic rows whose nearest record is searched, at most
N_SEARCHED = 50_000  # rows of a table that it is searched among, at most


def copy_shares(columns: list[ComparedColumn]) -> dict[str, float]:
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


# --- nearest records -------------------------------------------------------------------------------------------------


def nearer_share(columns: list[ComparedColumn], seed: int) -> tuple[float, float]:
    """Share of synthetic rows that are nearer to a real row than to a held-out one, of ties half; and its standard error."""
    places = _ranks_and_codes(by_name(columns))
    size = min(len(places["real"]), len(places["holdout"]), N_SEARCHED)
    queries = some_rows(places["synthetic"], N_QUERIES, seed)
    searched = [some_rows(places[name], size, seed + at) for at, name in enumerate(("real", "holdout"))]
    (real, nearest_real), (holdout, nearest_holdout) = (_nearest(queries, rows) for rows in searched)
    share = (real < holdout).mean() + (real == holdout).mean() / 2
    # without memory it is chance which of the rows searched are the real ones; a row that is nearest to many synthetic ones
    # then decides for all of them, so that a thousand synthetic rows around one row tell no more than one does
    nearest = np.concatenate([nearest_real[real < holdout], size + nearest_holdout[holdout < real]])
    weights = np.bincount(nearest, minlength=2 * size) / len(queries)
    return float(share), float(np.sqrt(weights.var() * size**2 / (2 * size - 1)))


def _ranks_and_codes(columns):
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
    """Distances (m,) of queries (m, k) to the nearest of rows (n, k), and places (m,) of these; both `_ranks_and_codes`."""
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
    """Of queries (m, k) and rows (k, n), both in `_ranks_and_codes`: (m, n)."""
    total = np.zeros((len(queries), rows.shape[1]), dtype=np.float32)
    step = np.empty_like(total)
    for query, row in zip(queries.T, rows, strict=True):
        np.subtract(query[:, None], row, out=step)
        np.abs(step, out=step)
        np.minimum(step, 1, out=step)
        total += step
    return total
