"""Columns of a table as pictures take them: numbers to draw, texts to show. Knows plain data only."""

import math
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np

from skvae.containers import as_frame, plain, read_cells

KINDS = {
    **dict.fromkeys(("integer", "float", "decimal"), "number"),
    **dict.fromkeys(("date", "datetime"), "date"),
    "duration": "duration",
}
DAY = 86_400.0
SECONDS = {"D": DAY, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


class Column(NamedTuple):
    """A column of a table, as pictures take it.

    name : object
    kind : {"number", "date", "duration", "category"}
    values : (n,) float64
        Numbers; days from 1970-01-01; seconds; or places among `levels`. NaN where missing.
    levels : list of str
        The categories.
    """

    name: Any
    kind: str
    values: np.ndarray
    levels: list[str]

    def take(self, rows: np.ndarray) -> "Column":
        """Few rows of it, by their places (k,)."""
        return self._replace(values=self.values[rows])

    def texts(self, missing: str = "missing", brief: bool = False) -> list[str]:
        """Its cells as a table shows them: (n,); brief : with fewer digits, and no time of day beside a date."""
        seen = self.values[~np.isnan(self.values)]
        if self.kind == "category":
            written = iter([self.levels[int(place)] for place in seen])
        else:
            written = iter(WRITERS[self.kind](seen, brief))
        return [missing if gone else next(written) for gone in np.isnan(self.values)]


# --- reading ---------------------------------------------------------------------------------------------------------


def read_columns(X: Any, categorical: Collection = (), ignored: Collection = ()) -> list[Column]:
    """The columns of a table (n, n_columns), an array or a frame.

    categorical : names of numbers that are categories; ignored : names of columns to leave out.
    """
    kept = [series for series in as_frame(X).iter_columns() if series.name not in ignored]
    return [_read_column(series, series.name in categorical) for series in kept]


def read_y(y: Any, max_levels: int) -> Column:
    """What colours rows, (n,) or (n, 1); at most so many different whole numbers are categories."""
    if hasattr(y, "to_frame"):
        y = y.to_frame("y" if y.name in (None, "") else y.name)
    elif not hasattr(y, "columns"):
        array = y if hasattr(y, "dtype") else np.fromiter(y, dtype=object, count=len(y))
        y = np.reshape(array, (len(array), -1))
    if y.shape[1] != 1:
        raise ValueError(f"y must have one column. Got an array of shape {tuple(y.shape)} instead.")
    name = "y" if isinstance(y, np.ndarray) else y.columns[0]
    [column] = read_columns(y)
    if np.isinf(column.values).any():
        raise ValueError("Input y contains infinity.")
    values = np.unique(column.values[~np.isnan(column.values)])
    if column.kind != "number" or len(values) > max_levels or (values != values.round()).any():
        return column._replace(name=name)
    codes = np.where(np.isnan(column.values), np.nan, np.searchsorted(values, column.values))
    return Column(name, "category", codes, [f"{value:.0f}" for value in values])


def _read_column(series, is_nominal):
    found, cells = read_cells(series)
    if found.kind not in KINDS or is_nominal:
        return _category(series.name, cells, found.levels)
    values = np.where(cells.missing, np.nan, cells.values).astype(float)
    kind = KINDS[found.kind]
    unit = SECONDS[found.unit] if found.is_time else 1.0
    return Column(series.name, kind, values * (unit / DAY if kind == "date" else unit), [])


def _category(name, cells, order):
    """A column of categories, those that occur, in the order of the dtype, else sorted."""
    there = list(set(cells.values[~cells.missing].tolist()))
    try:
        levels = [one for one in order if one in set(there)] if order is not None else sorted(there)
    except TypeError:  # strings beside numbers
        levels = sorted(there, key=str)
    places = {level: at for at, level in enumerate(levels)}
    values = [np.nan if gone else places[value] for value, gone in zip(cells.values.tolist(), cells.missing, strict=True)]
    texts = [str(int(one) if isinstance(one, float) and one.is_integer() else one) for one in map(plain, levels)]
    return Column(name, "category", np.array(values, dtype=float), texts)


# --- writing ---------------------------------------------------------------------------------------------------------


def write_numbers(values: np.ndarray, brief: bool) -> list[str]:
    """Numbers (n,) as texts, all with as many decimals as the one that needs most, up to 6 digits (4 if brief)."""
    largest = float(np.abs(values).max(initial=0.0))
    if largest and not 1e-3 <= largest < 1e12:
        return [f"{value:.3g}" for value in values]
    order = math.floor(math.log10(largest or 1.0))
    most = max(0, 3 - order) if brief else max(2, 5 - order)  # prices keep their cents
    needed = (k for k in range(most) if np.abs(values - values.round(k)).max(initial=0.0) <= 1e-7 * largest)
    decimals = next(needed, most)
    return [f"{value:.{decimals}f}" for value in values.round(decimals) + 0.0]


def write_dates(values: np.ndarray, brief: bool) -> list[str]:
    """Days from 1970-01-01 (n,) as texts, all to the day, the minute or the second."""
    texts = [str(np.datetime64(round(value * DAY), "s")).replace("T", " ") for value in values]
    if all(text.endswith("00:00:00") for text in texts) or (brief and np.ptp(values) > 2):
        return [text[:10] for text in texts]
    if brief:
        return [text[5:16] for text in texts]
    return [text[:-3] for text in texts] if all(text.endswith(":00") for text in texts) else texts


def write_durations(values: np.ndarray, brief: bool) -> list[str]:
    """Seconds (n,) as texts, all to the second."""
    texts = []
    for value in values:
        days, seconds = divmod(round(abs(value)), int(DAY))
        clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        texts.append(("-" if value < 0 else "") + (f"{days} d " if days else "") + clock)
    return texts


# how values of a kind are written: of those (k,) of a column, and whether briefly, texts
WRITERS = {"number": write_numbers, "date": write_dates, "duration": write_durations}


# --- comparing -------------------------------------------------------------------------------------------------------


def changes_from(start: Column, column: Column, typical: Column) -> np.ndarray:
    """How far the cells of a column are from that of the start, which has one row: (n,).

    In standard deviations of `typical`; of categories 0 where they are the start's, and NaN where they are not, or where one
    of the two cells is missing.
    """
    if column.kind == "category":
        [first] = start.texts()
        return np.array([0.0 if text == first else np.nan for text in column.texts()])
    if np.isnan(start.values[0]):
        return np.where(np.isnan(column.values), 0.0, np.nan)
    spread = 0.0 if np.isnan(typical.values).all() else np.nanstd(typical.values)
    return (column.values - start.values[0]) / (spread or 1.0)


def share_explained(true: Column, back: Column) -> float:
    """R² of numbers where both are there, NaN where they do not vary."""
    seen = ~np.isnan(true.values) & ~np.isnan(back.values)
    values, errors = true.values[seen], (true.values - back.values)[seen]
    return 1 - np.mean(errors**2) / np.var(values) if seen.any() and np.var(values) > 0 else np.nan


def share_right(true: Column, back: Column) -> tuple[float, float]:
    """The share of categories that come back right, and the one that the most frequent has; NaN where all are missing."""
    pairs = [(a, b) for a, b in zip(true.texts(""), back.texts(""), strict=True) if a]
    if not pairs:
        return np.nan, np.nan
    counts = np.unique([a for a, _ in pairs], return_counts=True)[1]
    return float(np.mean([a == b for a, b in pairs])), float(counts.max() / counts.sum())
