"""The pictures of a quality report. Knows plain data only; matplotlib is imported inside functions only."""

import math
from typing import NamedTuple

import numpy as np

from skvae.binned_distributions import Joint, Marginal
from skvae.projections import RowMap
from skvae.texts import short, short_names

REAL, SYNTHETIC = {"color": "#b8b8b8"}, {"color": "#c1440e"}
N_BARS = 30  # shape errors drawn
N_MAPPED = 50  # columns of the map of pairs: as many as have room for their names across a page
PHONE_INCHES = 3.4  # a picture that is no wider is not shrunk by a phone
N_LARGE = 20  # columns of a map whose names are drawn in larger letters
N_CHARACTERS = 30  # of all names below a map that stand beside each other; more are turned
UPRIGHT = {"rotation": 90, "va": "center", "ha": "right"}
N_DISTRIBUTIONS = 12  # drawn, unless more are wanted


class PlotData(NamedTuple):
    """What the pictures of a report show: each column, the worst pairs, and rows, if they have more than one dimension."""

    marginals: list[Marginal]
    joints: list[Joint]
    rows: RowMap | None


# --- pictures --------------------------------------------------------------------------------------------------------


def draw_report(figure, marginals, pair_scores, max_columns=N_DISTRIBUTIONS) -> np.ndarray:
    """Draw on an empty figure shape by column, trend by pair, and the distributions of the columns of the worst shape.

    marginals : list of Marginal, one a column; pair_scores : (k * (k - 1) / 2,), in the order of combinations of columns.
    Returns the axes (2 + number of distributions,).
    """
    worst = worst_first(marginals)
    n_drawn = min(len(worst), max_columns)
    n_wide = min(4, max(n_drawn, 1))
    n_high = math.ceil(n_drawn / n_wide)
    sizes = [_shape_inches(len(worst)), _map_inches(len(worst))]
    heights = [max(height for _, height in sizes), 0.4 + 2.2 * n_high]
    ratios = heights if n_drawn else heights[:1]
    figure.set_size_inches(sum(width for width, _ in sizes), sum(ratios))
    top, *bottom = figure.subfigures(len(ratios), 1, height_ratios=ratios, squeeze=False, hspace=0.03)[:, 0]
    axes = list(top.subplots(1, 2, width_ratios=[width for width, _ in sizes]))
    names = [marginal.name for marginal in marginals]
    _draw_shape(axes[0], worst)
    _draw_trend(axes[1], names, pair_scores)
    for ax, title in zip(axes, (shape_title(worst), trend_title(names, pair_scores)), strict=True):
        ax.set_title(title.replace(", on average", "\non average"), loc="left", fontsize="medium")  # axes may be narrow
    if n_drawn:
        axes += _draw_marginals(bottom[0], worst[:n_drawn], (n_high, n_wide))
    return np.array(axes, dtype=object)


def worst_first(marginals) -> list[Marginal]:
    return sorted(marginals, key=lambda marginal: marginal.score)


def draw_shape(figure, marginals) -> None:
    """Draw on an empty figure, as wide as a phone, the shape errors of columns."""
    figure.set_size_inches(PHONE_INCHES, _shape_inches(len(marginals))[1])
    _draw_shape(figure.subplots(), worst_first(marginals))


def draw_trend(figure, names, pair_scores) -> None:
    """Draw on an empty figure the trend errors of pairs; pair_scores : (k * (k - 1) / 2,), as combinations of names."""
    figure.set_size_inches(_map_inches(len(names)))
    _draw_trend(figure.subplots(), names, pair_scores)


def draw_marginal(figure, marginal) -> None:
    """Draw on an empty figure the distribution of a column."""
    figure.set_size_inches(3.2, 2.3)
    _draw_marginal(figure.subplots(), marginal)


def draw_dependence(figure, names, real, synthetic) -> None:
    """Draw on an empty figure how much pairs depend on one another, in the real table above the diagonal.

    real, synthetic : (k * (k - 1) / 2,), from 0 to 1 or NaN, as combinations of names.
    """
    figure.set_size_inches(_map_inches(len(names)))
    strengths = _both_halves(len(names), real, synthetic)
    ax = figure.subplots()
    _draw_map(ax, strengths, names, _most_wrong(np.abs(strengths - strengths.T)), 1.0)
    ax.axline((-0.5, -0.5), slope=1, color="0.5", linewidth=0.8)


def dependence_title(names):
    """What a map of the dependence of pairs shows."""
    text = "Dependence of each pair of columns, in real rows above the diagonal and in synthetic ones below"
    return text + _worst_of(min(len(names), N_MAPPED), len(names))


def draw_joint(figure, joint) -> None:
    """Draw on an empty figure, as wide as a phone, two columns together: in real rows, below in synthetic ones."""
    down, across = joint.axes
    figure.set_size_inches(PHONE_INCHES, 4.2)
    largest = max(float(shares.max()) for shares in joint.shares)
    axes = figure.subplots(2, 1, sharex=True, sharey=True)
    for ax, shares, table in zip(axes, joint.shares, ("real", "synthetic"), strict=True):
        # of square roots: most bins hold a share that is small beside the largest
        ax.imshow(np.sqrt(shares), cmap="magma_r", vmin=0, vmax=math.sqrt(largest), interpolation="none", aspect="auto")
        ax.set_title(table, fontsize="small")
        ax.tick_params(labelsize="x-small", length=2, pad=2)
    _tick_places(axes[1].xaxis, across)
    _tick_places(axes[1].yaxis, down)
    axes[1].set_xlabel(short(across.name, 40), fontsize="small", parse_math=False)
    figure.supylabel(short(down.name, 40), fontsize="small", parse_math=False)
    if down.edges is not None:
        axes[0].invert_yaxis()  # numbers grow upwards; both axes share it


def _tick_places(axis, along):
    """Ticks of bins and bars at their places along an axis of a map."""
    places, labels = _bin_ticks(along) if along.edges is not None else ([], [])
    bars = short_names(along.labels, 14) if along.labels else []
    is_crowded = axis.axis_name == "x" and len(bars) * max(map(len, bars), default=0) > 24
    turned = UPRIGHT | {"rotation_mode": "anchor"} if is_crowded else {}
    axis.set_ticks([*places, *(along.n_bins + np.arange(len(bars)))], [*labels, *bars], parse_math=False, **turned)


def _bin_ticks(along):
    """Places of round numbers, or of dates, between the edges of bins, and what they are."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num, num2date
    from matplotlib.ticker import MaxNLocator

    edges = along.edges
    if along.kind == "date":
        ends = date2num((edges[[0, -1]] * 1e6).astype(np.int64).astype("M8[us]"))
        locator = AutoDateLocator(maxticks=6)
        ticks = np.asarray(locator.tick_values(*map(num2date, ends)))
        values = edges[0] + (ticks - ends[0]) / (ends[1] - ends[0]) * (edges[-1] - edges[0])
        labels = ConciseDateFormatter(locator).format_ticks(ticks)
    else:
        values = MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(edges[0], edges[-1])
        labels = [f"{value:,.12g}" if 1e-3 < np.abs(edges).max() < 1e15 else f"{value:.3g}" for value in values]
    inside = (values >= edges[0]) & (values <= edges[-1])
    places = np.interp(values, edges, np.arange(len(edges))) - 0.5
    return places[inside], [label for label, is_in in zip(labels, inside, strict=True) if is_in]


def _shape_inches(n_columns):
    return 5.1, 1.1 + 0.22 * max(min(n_columns, N_BARS), 8)


def _map_inches(n_columns):
    """Room for the names, and for each column a line of their height."""
    lines = 0.155 * min(n_columns, N_MAPPED)
    return max(5.1, 2.2 + lines), max(_shape_inches(n_columns)[1], 2.3 + lines)


def _draw_shape(ax, worst):
    """Bars of the shape errors, the worst on top. worst : list of Marginal by score."""
    shown = worst[:N_BARS]
    errors = _percents([marginal.score for marginal in worst])
    bars = ax.barh(range(len(shown)), errors[: len(shown)], height=0.7, **SYNTHETIC)
    ax.bar_label(bars, fmt="%.1f", padding=3, fontsize="small")
    ax.set_yticks(range(len(shown)), short_names([m.name for m in shown]), parse_math=False, fontsize="small")
    ax.tick_params(axis="x", labelsize="small")
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.set_xlim(0, 1.1 * max(errors.max(), 1.0))
    ax.spines[["top", "right"]].set_visible(False)


def shape_title(marginals):
    """What a picture of the shape errors of columns shows."""
    mean = np.mean(_percents([marginal.score for marginal in marginals]))
    return f"Shape error of each column, %, on average {mean:.1f}{_worst_of(min(len(marginals), N_BARS), len(marginals))}"


def _draw_trend(ax, names, scores):
    """A map of the trend errors of all pairs; scores : (k * (k - 1) / 2,), NaN where there is none."""
    errors = _both_halves(len(names), _percents(scores), _percents(scores))
    _draw_map(ax, errors, names, _most_wrong(errors), errors[~np.isnan(errors)].max(initial=1.0))


def trend_title(names, scores):
    """What a map of the trend errors of pairs shows."""
    errors = _percents(scores)
    known = errors[~np.isnan(errors)]
    mean = f"{known.mean():.1f}" if len(known) else "–"
    return f"Trend error of each pair of columns, %, on average {mean}{_worst_of(min(len(names), N_MAPPED), len(names))}"


def _worst_of(n_shown, n):
    return f" (the {n_shown} worst of {n} columns)" if n_shown < n else ""


def _both_halves(size, above, below):
    """A map (size, size) of figures of pairs above and below the diagonal, each (k,) as combinations of columns."""
    figures = np.full((size, size), np.nan)
    places = np.triu_indices(size, 1)
    figures[places], figures.T[places] = above, below
    return figures


def _draw_map(ax, figures, names, shown, largest):
    """A map of a figure of pairs, from 0, for the columns at some places. figures : (k, k), NaN where there is none."""
    ax.set_facecolor("0.92")
    some = figures[np.ix_(shown, shown)]
    image = ax.imshow(some, cmap="magma_r", vmin=0, vmax=largest, interpolation="none", aspect="auto")
    ax.figure.colorbar(image, ax=ax, pad=0.02).ax.tick_params(labelsize="small")
    _name_ticks(ax, [names[k] for k in shown])


def _most_wrong(errors):
    """Places of at most N_MAPPED columns, those of the greatest mean error, in order. errors : (k, k), NaN for none."""
    known = ~np.isnan(errors)
    means = np.where(known, errors, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.sort(np.argsort(-means, kind="stable")[:N_MAPPED])


def _name_ticks(ax, names):
    """A name beside each row and below each column of a map."""
    labels, size = short_names(names), "small" if len(names) <= N_LARGE else "x-small"
    turned: dict = {"rotation": 45, "ha": "right"} if len(names) <= N_LARGE else UPRIGHT
    turned = {} if len(labels) * max(map(len, labels)) <= N_CHARACTERS else turned
    ax.set_xticks(range(len(names)), labels, rotation_mode="anchor", fontsize=size, parse_math=False, **turned)
    ax.set_yticks(range(len(names)), labels, fontsize=size, parse_math=False)
    ax.tick_params(length=2, pad=2)


def _draw_marginals(figure, marginals, shape):
    """The distributions of columns, in a grid of a shape. Returns their axes."""
    grid = figure.subplots(*shape, squeeze=False)
    axes = list(grid.ravel())
    for ax, marginal in zip(axes, marginals, strict=False):
        _draw_marginal(ax, marginal)
        ax.set_title(f"{short(marginal.name)}: {_percents(marginal.score):.1f}", fontsize="small", parse_math=False)
    for ax in axes[len(marginals) :]:
        ax.remove()
    for ax in grid[:, 0]:
        ax.set_ylabel("share of rows", fontsize="small")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2, frameon=False, fontsize="small")
    figure.suptitle("Distributions, worst first (shape error, %)", fontsize="medium")
    return axes[: len(marginals)]


def _draw_marginal(ax, marginal):
    """The distribution of a column, real filled and synthetic as a line or a second bar."""
    draw = _draw_bars if marginal.edges is None else _draw_bins
    draw(ax, marginal)
    ax.yaxis.set_major_locator(_few_ticks())
    ax.tick_params(labelsize="x-small")
    ax.spines[["top", "right"]].set_visible(False)


def _draw_bins(ax, marginal):
    edges = marginal.edges
    if marginal.kind == "date":
        edges = (edges * 1e6).astype(np.int64).astype("M8[us]")
    ax.stairs(marginal.shares[0], edges, fill=True, label="real", **REAL)
    ax.stairs(marginal.shares[1], edges, label="synthetic", linewidth=1.6, **SYNTHETIC)
    if marginal.kind == "date":
        _tick_dates(ax.xaxis)
    else:
        _tick_numbers(ax.xaxis, np.abs(edges).max())
    notes = ["seconds"] if marginal.kind == "duration" else []
    notes += ["missing: {:.1%} real, {:.1%} synthetic".format(*marginal.missing)] if any(marginal.missing) else []
    ax.set_xlabel("; ".join(notes), fontsize="x-small")


def _draw_bars(ax, marginal):
    places = np.arange(len(marginal.labels))
    ax.bar(places - 0.2, marginal.shares[0], 0.4, label="real", **REAL)
    ax.bar(places + 0.2, marginal.shares[1], 0.4, label="synthetic", **SYNTHETIC)
    labels = short_names(marginal.labels, 16)
    is_crowded = len(labels) * max(map(len, labels)) > 36
    turned = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if is_crowded else {}
    ax.set_xticks(places, labels, **turned)
    for label in ax.get_xticklabels():
        label.set_parse_math(False)


def _few_ticks():
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(4, steps=[1, 2, 5, 10])


def _tick_dates(axis):
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(maxticks=6)
    axis.set_major_locator(locator)
    axis.set_major_formatter(ConciseDateFormatter(locator))


def _tick_numbers(axis, largest):
    """Ticks with all their digits, not with a power of ten beside the axis."""
    from matplotlib.ticker import MaxNLocator

    if 1e-3 < largest < 1e15:
        axis.set_major_locator(MaxNLocator(5 if largest < 1e5 else 3))
        axis.set_major_formatter(lambda tick, _: f"{tick:,.12g}")


def _percents(scores):
    """What scores lack of 1, in %."""
    return 100 * (1 - np.asarray(scores, dtype=float))
