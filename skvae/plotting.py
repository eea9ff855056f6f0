"""What is found of a synthetic table, in pictures. Knows plain data only; matplotlib inside functions."""

import math
from typing import NamedTuple

import numpy as np

REAL, SYNTHETIC = {"color": "#b8b8b8"}, {"color": "#c1440e"}
N_BARS = 30  # shape errors drawn
N_MAPPED = 50  # columns of the map of pairs: as many as have room for their names across a page
N_DISTRIBUTIONS = 12  # drawn, unless more are wanted


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
    _draw_shape(axes[0], worst)
    _draw_trend(axes[1], [marginal.name for marginal in marginals], pair_scores)
    if n_drawn:
        axes += _draw_marginals(bottom[0], worst[:n_drawn], (n_high, n_wide))
    return np.array(axes, dtype=object)


def worst_first(marginals) -> list[Marginal]:
    return sorted(marginals, key=lambda marginal: marginal.score)


def draw_shape(figure, marginals) -> None:
    """Draw on an empty figure the shape errors of columns."""
    figure.set_size_inches(_shape_inches(len(marginals)))
    _draw_shape(figure.subplots(), worst_first(marginals))


def draw_trend(figure, names, pair_scores) -> None:
    """Draw on an empty figure the trend errors of pairs; pair_scores : (k * (k - 1) / 2,), as combinations of names."""
    figure.set_size_inches(_map_inches(len(names)))
    _draw_trend(figure.subplots(), names, pair_scores)


def draw_marginal(figure, marginal) -> None:
    """Draw on an empty figure the distribution of a column."""
    figure.set_size_inches(3.2, 2.3)
    _draw_marginal(figure.subplots(), marginal)


def _shape_inches(n_columns):
    return 5.1, 1.1 + 0.22 * max(min(n_columns, N_BARS), 8)


def _map_inches(n_columns):
    """Room for the names, and for each column a line of their height."""
    lines = 0.155 * min(n_columns, N_MAPPED)
    return max(5.1, 2.2 + lines), max(_shape_inches(n_columns)[1], 1.9 + lines)


def _draw_shape(ax, worst):
    """Bars of the shape errors, the worst on top. worst : list of Marginal by score."""
    shown = worst[:N_BARS]
    errors = _percents([marginal.score for marginal in worst])
    bars = ax.barh(range(len(shown)), errors[: len(shown)], height=0.7, **SYNTHETIC)
    ax.bar_label(bars, fmt="%.1f", padding=3, fontsize="small")
    ax.set_yticks(range(len(shown)), _short_names([m.name for m in shown]), parse_math=False, fontsize="small")
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.set_xlim(0, 1.1 * max(errors.max(), 1.0))
    ax.spines[["top", "right"]].set_visible(False)
    which = f"\nthe {len(shown)} worst of {len(worst)} columns" if len(shown) < len(worst) else ""
    ax.set_title(f"Shape error of each column, % (mean {errors.mean():.1f}){which}", loc="left", fontsize="medium")


def _draw_trend(ax, names, scores):
    """A map of the trend errors of all pairs; scores : (k * (k - 1) / 2,), NaN where there is none."""
    errors = np.full((len(names), len(names)), np.nan)
    above = np.triu_indices(len(names), 1)
    errors[above] = _percents(scores)
    known = errors[~np.isnan(errors)]
    mean = f"{known.mean():.1f}" if len(known) else "–"
    title = f"Trend error of each pair of columns, % (mean {mean})"
    errors.T[above] = errors[above]
    shown = _most_wrong(errors)
    title += f"\nthe {len(shown)} worst of {len(names)} columns" if len(shown) < len(names) else ""
    ax.set_facecolor("0.92")
    image = ax.imshow(
        errors[np.ix_(shown, shown)],
        cmap="magma_r",
        vmin=0,
        vmax=known.max(initial=1.0),
        interpolation="nearest",
        aspect="auto",
    )
    ax.figure.colorbar(image, ax=ax, pad=0.02)
    _name_ticks(ax, [names[k] for k in shown])
    ax.set_title(title, loc="left", fontsize="medium")  # where a narrow screen shows it


def _most_wrong(errors):
    """Places of at most N_MAPPED columns, those of the greatest mean error, in order. errors : (k, k), NaN for none."""
    known = ~np.isnan(errors)
    means = np.where(known, errors, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.sort(np.argsort(-means, kind="stable")[:N_MAPPED])


def _name_ticks(ax, names):
    """A name beside each row and below each column of a map."""
    labels, size = _short_names(names), "small" if len(names) <= 20 else "x-small"
    turned = {"rotation": 45, "ha": "right"} if len(names) <= 20 else {"rotation": 90, "va": "center", "ha": "right"}
    ax.set_xticks(range(len(names)), labels, rotation_mode="anchor", fontsize=size, parse_math=False, **turned)
    ax.set_yticks(range(len(names)), labels, fontsize=size, parse_math=False)
    ax.tick_params(length=2, pad=2)


def _draw_marginals(figure, marginals, shape):
    """The distributions of columns, in a grid of a shape. Returns their axes."""
    grid = figure.subplots(*shape, squeeze=False)
    axes = list(grid.ravel())
    for ax, marginal in zip(axes, marginals, strict=False):
        _draw_marginal(ax, marginal)
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
    ax.set_title(f"{short(marginal.name)}: {_percents(marginal.score):.1f}", fontsize="small", parse_math=False)


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
    labels = _short_names(marginal.labels, 16)
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


def short(name, length=24):
    """A name on one line, of at most so many characters."""
    text = " ".join(str(name).split())
    tail = length // 3  # names often differ in how they end
    return text if len(text) <= length else f"{text[: length - tail - 1]}…{text[-tail:]}"


def _short_names(names, length=24):
    """Names short, yet as many different ones as before."""
    for most in (length, 2 * length, 4 * length):
        texts = [short(name, most) for name in names]
        if len(set(texts)) == len(set(map(str, names))):
            break
    return texts
