"""What is found of a synthetic table, as a picture and as a page. Knows plain data only; matplotlib inside functions."""

import html
import io
import math
import warnings
from base64 import b64encode
from typing import NamedTuple

import numpy as np

REAL, SYNTHETIC = {"color": "0.72"}, {"color": "#c1440e"}
N_NAMES = 30  # that can be read on an axis
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


def draw_report(figure, marginals, pair_scores, max_columns=N_DISTRIBUTIONS):
    """Draw on an empty figure shape by column, trend by pair, and the distributions of the columns of the worst shape.

    marginals : list of Marginal, one a column; pair_scores : (k * (k - 1) / 2,), in the order of combinations of columns.
    Returns the axes (2 + number of distributions,).
    """
    worst = sorted(marginals, key=lambda marginal: marginal.score)
    n_drawn = min(len(worst), max_columns)
    n_wide = min(4, max(n_drawn, 1))
    n_high = math.ceil(n_drawn / n_wide)
    heights = [1.9 + 0.24 * max(min(len(marginals), N_NAMES), 8), 0.4 + 2.2 * n_high]
    figure.set_size_inches(13, sum(heights[: 2 if n_drawn else 1]))
    ratios = heights if n_drawn else heights[:1]
    top, *bottom = figure.subfigures(len(ratios), 1, height_ratios=ratios, squeeze=False, hspace=0.03)[:, 0]
    axes = list(top.subplots(1, 2))
    _draw_shape(axes[0], worst)
    _draw_trend(axes[1], [marginal.name for marginal in marginals], pair_scores)
    if n_drawn:
        axes += _draw_marginals(bottom[0], worst[:n_drawn], (n_high, n_wide))
    return np.array(axes, dtype=object)


def _draw_shape(ax, worst):
    """Bars of the shape errors, the worst on top. worst : list of Marginal by score."""
    shown = worst[:N_NAMES]
    errors = _percents([marginal.score for marginal in worst])
    bars = ax.barh(range(len(shown)), errors[: len(shown)], height=0.7, **SYNTHETIC)
    ax.bar_label(bars, fmt="%.1f", padding=3, fontsize="small")
    ax.set_yticks(range(len(shown)), _short_names([m.name for m in shown]), parse_math=False, fontsize="small")
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.set_xlim(0, 1.1 * max(errors.max(), 1.0))
    ax.spines[["top", "right"]].set_visible(False)
    which = f", the {len(shown)} worst of {len(worst)} columns" if len(shown) < len(worst) else ""
    ax.set_title(f"Shape error, %{which} (mean {errors.mean():.1f})", fontsize="medium")


def _draw_trend(ax, names, scores):
    """A map of the trend errors of all pairs; scores : (k * (k - 1) / 2,), NaN where there is none."""
    errors = np.full((len(names), len(names)), np.nan)
    above = np.triu_indices(len(names), 1)
    errors[above] = _percents(scores)
    known = errors[~np.isnan(errors)]
    mean = f"{known.mean():.1f}" if len(known) else "–"
    errors.T[above] = errors[above]
    largest = known.max(initial=1.0)
    ax.set_facecolor("0.92")
    image = ax.imshow(errors, cmap="magma_r", vmin=0, vmax=largest, interpolation="nearest", aspect="auto")
    ax.figure.colorbar(image, ax=ax, pad=0.02)
    if len(names) <= N_NAMES:
        labels = _short_names(names)
        ax.set_xticks(range(len(names)), labels, rotation=45, ha="right", rotation_mode="anchor", fontsize="small")
        ax.set_yticks(range(len(names)), labels, fontsize="small")
        for label in [*ax.get_xticklabels(), *ax.get_yticklabels()]:
            label.set_parse_math(False)
    else:
        ax.set(xticks=[], yticks=[], xlabel=f"{len(names)} columns", ylabel=f"{len(names)} columns")
    ax.set_title(f"Trend error of each pair of columns, % (mean {mean})", fontsize="medium")


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
    ax.set_title(f"{_short(marginal.name)}: {_percents(marginal.score):.1f}", fontsize="small", parse_math=False)


def _draw_bins(ax, marginal):
    edges = marginal.edges
    if marginal.kind == "date":
        edges = (edges * 1e6).astype(np.int64).astype("M8[us]")
    ax.stairs(marginal.shares[0], edges, fill=True, label="real", **REAL)
    ax.stairs(marginal.shares[1], edges, label="synthetic", linewidth=1.6, **SYNTHETIC)
    if marginal.kind == "date":
        _tick_dates(ax.xaxis)
    notes = ["seconds"] if marginal.kind == "duration" else []
    notes += ["missing: {:.1%} real, {:.1%} synthetic".format(*marginal.missing)] if any(marginal.missing) else []
    ax.set_xlabel("; ".join(notes), fontsize="x-small")


def _draw_bars(ax, marginal):
    places = np.arange(len(marginal.labels))
    ax.bar(places - 0.2, marginal.shares[0], 0.4, label="real", **REAL)
    ax.bar(places + 0.2, marginal.shares[1], 0.4, label="synthetic", **SYNTHETIC)
    turned = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if len(places) > 3 else {}
    ax.set_xticks(places, _short_names(marginal.labels, 16), **turned)
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


def _percents(scores):
    """What scores lack of 1, in %."""
    return 100 * (1 - np.asarray(scores, dtype=float))


def _short(name, length=24):
    text = " ".join(str(name).split())
    tail = length // 3  # names often differ in how they end
    return text if len(text) <= length else f"{text[: length - tail - 1]}…{text[-tail:]}"


def _short_names(names, length=24):
    """Names short, yet as many different ones as before."""
    for most in (length, 2 * length, 4 * length):
        texts = [_short(name, most) for name in names]
        if len(set(texts)) == len(set(map(str, names))):
            break
    return texts


# --- pages -----------------------------------------------------------------------------------------------------------

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; margin: 1rem 0; }}
th, td {{ padding: .25rem .7rem; text-align: left; vertical-align: top; border-bottom: 1px solid #ddd; }}
th.number, td.number {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }}
img {{ max-width: 100%; }}
</style></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""


def html_page(title, parts):
    """A page that needs nothing else, of a title and parts that are HTML."""
    return PAGE.format(title=html.escape(title), body="\n".join(parts))


def html_picture(alt, draw):
    """A picture in a page, by no global state of matplotlib. draw : what draws on an empty figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure, buffer = Figure(layout="constrained"), io.BytesIO()
    FigureCanvasAgg(figure)
    draw(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(buffer, format="png", dpi=110)
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{b64encode(buffer.getvalue()).decode("ascii")}">'


def html_table(frame):
    """A table of the frame's columns; whatever they hold is escaped."""
    numeric = [dtype.kind == "f" for dtype in frame.dtypes]
    rows = ["".join(_html_cell("th", str(name), right) for name, right in zip(frame.columns, numeric, strict=True))]
    for row in frame.itertuples(index=False, name=None):
        texts = [as_number(value) if isinstance(value, float) else str(value) for value in row]
        rows.append("".join(_html_cell("td", text, right) for text, right in zip(texts, numeric, strict=True)))
    return "<table>" + "\n".join(f"<tr>{row}</tr>" for row in rows) + "</table>"


def _html_cell(tag, text, right):
    style = ' class="number"' if right else ""
    return f"<{tag}{style}>{html.escape(text)}</{tag}>"


def as_number(value):
    """A number as text of four digits or so."""
    return "–" if math.isnan(value) else f"{value:.3f}" if abs(value) < 1000 else f"{value:.4g}"
