"""What pictures are made of: axes in their places, their ticks and titles, colours of rows, and plots.

Knows plain data only. matplotlib is imported inside functions only.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from skvae.plotted_columns import Column
from skvae.texts import short

MASSES = (0.99, 0.9, 0.5)  # of draws, within the three shades of their density
SHADES = ("0.94", "0.87", "0.78")
# ten colours that differ from each other and from the greys of missing cells and of densities
COLOURS = ("#3f90da", "#ffa90e", "#bd1f01", "#2ca02c", "#832db6", "#a96b59", "#17becf", "#e377c2", "#b5bd22", "#1a1a1a")
OTHER, MISSING = "0.45", "0.7"


# --- axes ------------------------------------------------------------------------------------------------------------


def place_axes(ax: Any, size: tuple[float, float], shape: tuple[int, int] = (1, 1), n_axes: int | None = None) -> tuple:
    """A figure and n axes of it, as an array: those that are given, or parts of one that is given, or of a new figure.

    size : of a new figure, in inches; shape : of the grid that axes are laid out in, rows and columns; n_axes : how many of
    the grid's places they fill, by default all.
    """
    from matplotlib.axes import Axes

    n_axes = n_axes or math.prod(shape)
    if ax is None:
        import matplotlib.pyplot as plt

        figure = plt.figure(figsize=size, layout="constrained")
        axes = figure.subplots(*shape, squeeze=False).ravel()
        for one in axes[n_axes:]:
            one.remove()
        return figure, axes[:n_axes]
    axes = np.array([ax] if isinstance(ax, Axes) else ax, dtype=object).ravel()
    wrong = [one for one in axes if not isinstance(one, Axes)]
    if wrong:
        raise TypeError(f"ax must be None, a matplotlib Axes or a sequence of them. Got {type(wrong[0]).__name__} instead.")
    if isinstance(ax, Axes) and n_axes > 1:
        axes = _divide(ax, n_axes, shape)
    if len(axes) != n_axes:
        raise ValueError(f"Expected ax to have {n_axes} axes, got {len(axes)}.")
    return axes[0].figure.figure, axes


def _divide(ax, n_axes, shape):
    """Axes in the place of one, as scikit-learn's PartialDependenceDisplay makes them."""
    from matplotlib.gridspec import GridSpecFromSubplotSpec

    if not ax.axison:
        raise ValueError("The ax was already used in another plot function. Set ax=display.axes_ instead.")
    if ax.get_subplotspec() is None:
        raise ValueError(f"ax has no place in a grid to be divided into {n_axes} axes. Make it by plt.subplots() instead.")
    ax.set_axis_off()
    n_high, n_wide = shape
    grid = GridSpecFromSubplotSpec(n_high, n_wide, subplot_spec=ax.get_subplotspec())
    return np.array([ax.figure.add_subplot(grid[at]) for at in range(n_axes)], dtype=object)


def set_title(ax: Any, title: str, notes: Sequence[str] = ()) -> None:
    """A title on the left, and notes on a line below it."""
    ax.set_title("\n".join([title, "; ".join(notes)] if notes else [title]), loc="left", fontsize="medium")


def tick_some(axis: Any, places: np.ndarray, texts: Sequence[str], most: int = 10) -> None:
    """Ticks at so many of places (n,), with texts (n,), that these have room; the middle one is among them."""
    step = math.ceil(len(places) / most)
    some = slice((len(places) // 2) % step, None, step)
    axis.set_ticks(places[some], texts[some], fontsize="small")


def limits_of(values: np.ndarray) -> tuple[float, float]:
    """The least and the greatest of values (n,), and a margin."""
    least, most = np.nanmin(values), np.nanmax(values)
    margin = 0.05 * (most - least) or 0.5
    return least - margin, most + margin


def style_of(artist: Any, style: dict, kwargs: dict) -> dict:
    """A style of ours, and what the user says instead, by whichever name an artist's class has for that."""
    from matplotlib.cbook import normalize_kwargs

    said = normalize_kwargs(kwargs, artist)
    ours = {name: value for name, value in style.items() if name != "facecolor" or not {"c", "color"} & said.keys()}
    return ours | said


# --- colours of rows -------------------------------------------------------------------------------------------------


class Paint(NamedTuple):
    """Colours of rows.

    colours : (n, 4) float64
    missing : (n,) bool
        Rows without a value.
    groups : (n,) int64 or None
        Places among `entries`; None of numbers.
    numbers : (n,) float64
    entries : list of (name, colour)
        Of a legend.
    mappable : ScalarMappable or None
        Of numbers.
    extend : str
        The ends of its colour bar beyond which there are numbers.
    """

    colours: np.ndarray
    missing: np.ndarray
    groups: np.ndarray | None
    numbers: np.ndarray
    entries: list
    mappable: Any = None
    extend: str = "neither"

    def layers(self, bins: np.ndarray, n_bins: int) -> list[tuple]:
        """Rows (n,) bool of each group and its colour; or all rows, and colours (n_bins, 4) of the mean number in each bin.

        bins : (n,), in which each row lies.
        """
        if self.groups is not None:
            return [(self.groups == at, colour) for at, (_, colour) in enumerate(self.entries)]
        seen = ~self.missing
        counts = np.bincount(bins[seen], minlength=n_bins)
        means = np.bincount(bins[seen], self.numbers[seen], n_bins) / np.maximum(counts, 1)
        colours = self.mappable.to_rgba(means)
        colours[counts == 0] = rgba(MISSING)
        return [(np.ones(len(bins), bool), colours)]


def rgba(colour: Any) -> np.ndarray:
    """Red, green, blue and opacity of a colour: (4,)."""
    from matplotlib.colors import to_rgba

    return np.array(to_rgba(colour))


def paint_rows(y: Column | None, n_rows: int, cmap: Any) -> Paint:
    """How rows are coloured by a Column (n_rows,), or by nothing; cmap : of numbers."""
    if y is None:
        nothing, entries = np.zeros(n_rows, int), [("rows", COLOURS[0])]
        return Paint(np.tile(rgba(COLOURS[0]), (n_rows, 1)), nothing.astype(bool), nothing, nothing, entries)
    missing = np.isnan(y.values)
    if y.kind == "category":
        groups, entries = _groups(y, missing)
        return Paint(np.array([rgba(colour) for _, colour in entries])[groups], missing, groups, y.values, entries)
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    seen = y.values[~missing]
    least, most = np.quantile(seen, [0.01, 0.99]) if len(seen) else (0.0, 1.0)
    if least == most:
        least, most = seen.min(), seen.max()
    mappable = ScalarMappable(Normalize(least, most), cmap)
    colours = mappable.to_rgba(y.values)
    colours[missing] = rgba(MISSING)
    extend = ("neither", "min", "max", "both")[(seen < least).any() + 2 * (seen > most).any()]
    return Paint(colours, missing, None, y.values, [("missing", MISSING)] * bool(missing.any()), mappable, extend)


def _groups(y, missing):
    """Places (n,) of rows among a legend's entries, and these: the most frequent categories, others, and missing ones."""
    codes = np.where(missing, len(y.levels), y.values).astype(int)
    counts = np.bincount(codes, minlength=len(y.levels) + 1)
    kept = np.arange(len(y.levels))
    if len(kept) > len(COLOURS):
        kept = np.sort(np.argsort(-counts[:-1], kind="stable")[: len(COLOURS) - 1])
    entries = [(short(y.levels[code]), colour) for code, colour in zip(kept, COLOURS, strict=False)]
    place = np.full(len(y.levels) + 1, len(entries))
    place[kept] = np.arange(len(kept))
    if len(kept) < len(y.levels):
        entries.append((f"{len(y.levels) - len(kept)} others", OTHER))
    place[-1] = len(entries)
    return place[codes], entries + [("missing", MISSING)] * bool(counts[-1])


# --- plots -----------------------------------------------------------------------------------------------------------


def draw_density(ax: Any, draws: np.ndarray) -> Any:
    """Shades within which shares of draws (n, 2) lie, a QuadContourSet; None where draws do not vary."""
    if not draws.std(axis=0).all():
        return None
    density, (x, y) = _smoothed(draws, 150)
    falling = np.sort(density, axis=None)[::-1]
    mass = falling.cumsum() / falling.sum()
    least = falling[np.searchsorted(mass, MASSES).clip(max=len(falling) - 1)]
    levels = np.unique([*least, falling[0] * (1 + 1e-9)])
    return ax.contourf(x, y, density.T, levels, colors=SHADES[-len(levels) + 1 :], zorder=0)


def draw_density_1d(ax: Any, draws: np.ndarray) -> Any:
    """The density of draws (n,) as a shape with an outline, a PolyCollection."""
    density, [x] = _smoothed(draws[:, None], 300)
    return ax.fill_between(x, density, facecolor=SHADES[-1], edgecolor="0.4", linewidth=1.2, zorder=0)


def _smoothed(draws, n_bins):
    """The density of draws (n, d) on a grid: its values (n_bins,) * d, and the centres of bins of each axis."""
    from scipy.ndimage import gaussian_filter

    spread = np.maximum(draws.std(axis=0), 1e-9)
    bandwidth = 0.7 * spread * len(draws) ** (-1 / (4 + draws.shape[1]))  # below Scott's: parts of a mixture are narrow
    least, most = draws.min(axis=0) - 4 * bandwidth, draws.max(axis=0) + 4 * bandwidth
    density, edges = np.histogramdd(draws, n_bins, list(zip(least, most, strict=True)), density=True)
    density = gaussian_filter(density, bandwidth * n_bins / (most - least), mode="constant")
    return density, [(one[1:] + one[:-1]) / 2 for one in edges]


def draw_pairs(ax: Any, true: Column, back: Column, score: float, kwargs: dict) -> Any:
    """Numbers against their reconstructions, a PathCollection, and the line where they are equal; kwargs : of `scatter`."""
    from matplotlib.collections import Collection
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.ticker import MaxNLocator

    style = {"s": float(np.clip(4e3 / len(true.values), 2, 14)), "linewidth": 0, "alpha": 0.6, "facecolor": COLOURS[0]}
    points = ax.scatter(true.values, back.values, **style_of(Collection, style, kwargs))
    limits = limits_of(np.concatenate([true.values, back.values]))
    ax.plot(limits, limits, color="0.4", linewidth=0.8, zorder=0)
    ax.set(xlim=limits, ylim=limits, box_aspect=1)
    unit = " (seconds)" if true.kind == "duration" else ""
    ax.set_title(f"{short(true.name, 20)}{unit}\nR² {score:.2f}", fontsize="small", parse_math=False)
    for axis in (ax.xaxis, ax.yaxis):
        if true.kind == "date":
            axis.set_major_locator(locator := AutoDateLocator(maxticks=5))
            axis.set_major_formatter(ConciseDateFormatter(locator))
        else:
            axis.set_major_locator(MaxNLocator(2 if max(map(abs, limits)) >= 1e4 else 3, steps=[1, 2, 3, 4, 5, 10]))
    ax.tick_params(labelsize="x-small")
    ax.set_xlabel("true", fontsize="small")
    ax.set_ylabel("reconstructed", fontsize="small")
    ax.spines[["top", "right"]].set_visible(False)
    return points


def draw_shares_right(ax: Any, shares: Sequence[float], frequent: Sequence[float], names: Sequence) -> Any:
    """Bars of the shares (k,) of categories that come back right, a BarContainer, the first of k columns on top.

    frequent : (k,), the shares of the most frequent categories, which have ticks.
    """
    places = np.arange(len(names))
    bars = ax.barh(places, shares, height=0.7, color=COLOURS[0])
    ax.bar_label(bars, [f"{100 * share:.0f} %" for share in shares], padding=3, fontsize="x-small")
    ticks = {"marker": "|", "markersize": 14, "markeredgewidth": 1.4, "linestyle": "none", "color": "black"}
    ax.plot(frequent, places, **ticks, label="share of the most frequent")
    ax.set_yticks(places, [short(name, 20) for name in names], fontsize="x-small", parse_math=False)
    ax.set(xlim=(0, 1.3), ylim=(max(len(names), 4) - 0.4, -0.6), xticks=[], box_aspect=1)
    ax.tick_params(left=False)
    ax.set_title("Categories that\ncome back right", fontsize="small")
    below = {"loc": "upper left", "bbox_to_anchor": (0, 0), "borderaxespad": 0.2}
    ax.legend(**below, markerscale=0.6, frameon=False, fontsize="x-small")
    ax.spines[["top", "right", "bottom"]].set_visible(False)
    return bars


def draw_cells(ax: Any, cells: list[list[str]], kinds: Sequence[str], widths: np.ndarray, kwargs: dict) -> Any:
    """A matplotlib Table of k columns of texts, the first of each its name; kwargs : of `table`.

    kinds : (k,), of Column: numbers stand on the right of their column, words on the left; widths : (k,), in any unit.
    """
    ax.set_axis_off()
    rows = list(zip(*cells, strict=True))
    table = ax.table(rows, **{"colWidths": widths / widths.sum(), "bbox": (0, 0, 1, 1), "edges": "open"} | kwargs)
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    for (row, at), cell in table.get_celld().items():
        text = cell.get_text()
        text.set(parse_math=False, ha="left" if kinds[at] == "category" else "right")
        if row == 0:
            text.set_fontweight("bold")
        elif text.get_text() == "missing":
            text.set_color("0.6")
    ax.axhline(1 - 1 / len(rows), color="0.3", linewidth=0.8)
    ax.set(xlim=(0, 1), ylim=(0, 1))
    return table


def draw_losses(ax: Any, losses: Any, label: str, colour: Any, kwargs: dict) -> Any:
    """Losses (n_epochs,) by epoch, from 1 on, a Line2D; kwargs : of `plot`."""
    from matplotlib.lines import Line2D

    style = style_of(Line2D, {"color": colour, "label": label, "linewidth": 1.5}, kwargs)
    if len(losses) == 1:
        style = {"marker": "."} | style  # a line has two ends
    [line] = ax.plot(np.arange(1, len(losses) + 1), losses, **style)
    ax.spines[["top", "right"]].set_visible(False)
    return line
