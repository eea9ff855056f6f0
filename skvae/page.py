"""What is found of a synthetic table, as a page that needs nothing else. Knows plain data; matplotlib inside functions."""

import html
import io
import math
import warnings
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import pandas as pd

from skvae.plotting import N_DISTRIBUTIONS, REAL, SYNTHETIC, Marginal, draw_marginal, draw_shape, draw_trend, worst_first

N_PAIRS_LISTED = 50
PIXELS_PER_INCH = 110  # of a picture on a page; the file has twice as many, for screens of double density

# tables and wide pictures scroll by themselves: a page that is wider than a phone is shown too small to read
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.45 system-ui, sans-serif; color: #222; max-width: 74rem; margin: 1.5rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.6rem; }} h2 {{ font-size: 1.2rem; margin: 2rem 0 .5rem; }} p {{ max-width: 50rem; }}
ul.verdict {{ max-width: 50rem; padding: .8rem 1rem .8rem 2rem; background: #f4f4f2; border-left: 4px solid #c1440e; }}
ul.verdict li {{ margin: .3rem 0; overflow-wrap: anywhere; }}
.scroll {{ overflow-x: auto; }}
.wrap {{ display: flex; flex-wrap: wrap; gap: .5rem; align-items: flex-start; }}
.wrap > .scroll {{ max-width: 100%; }}
.wrap > img {{ max-width: 100%; height: auto; }}
table {{ border-collapse: collapse; font-size: .94rem; }}
th, td {{ padding: .25rem .6rem .25rem 0; text-align: left; vertical-align: bottom; border-bottom: 1px solid #ddd; }}
td {{ vertical-align: top; max-width: 18rem; overflow-wrap: break-word; }}
th.number, td.number {{ text-align: right; }}
td.number {{ font-variant-numeric: tabular-nums; white-space: nowrap; }}
table.noted {{ min-width: min(50rem, 100%); }}
table.noted td {{ border-bottom: none; padding-bottom: 0; }}
table.noted td.note {{ border-bottom: 1px solid #ddd; max-width: none; padding: 0 0 .3rem; color: #666; font-size: .88rem; }}
td.note div {{ width: 0; min-width: min(100%, calc(100vw - 2rem)); position: sticky; left: 0; }}
@media (max-width: 30rem) {{ body {{ padding: 0 .7rem; }} table {{ font-size: .8rem; }} th, td {{ padding-right: .4rem; }} }}
</style></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""


def html_page(title: str, parts: Iterable[str]) -> str:
    """A page that needs nothing else, of a title and parts that are HTML."""
    return PAGE.format(title=html.escape(title), body="\n".join(part for part in parts if part))


def html_summary(sizes: str, sentences: Iterable[str], summary: pd.DataFrame) -> str:
    """The head of a page, or all that a notebook shows: sizes of the tables, verdict, and measures."""
    verdict = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences)
    table = _table(summary.drop(columns="meaning").reset_index(), list(summary["meaning"]))
    return f'<p>{html.escape(sizes)}</p><ul class="verdict">{verdict}</ul>{table}'


def html_pictures(marginals: list[Marginal], pairs: pd.DataFrame) -> list[str]:
    """Parts of a page: shape, trend, and the distributions of the columns of the worst shape."""
    names, worst = [marginal.name for marginal in marginals], worst_first(marginals)
    shape = _picture("Shape error of each column", partial(draw_shape, marginals=marginals))
    draw = partial(draw_trend, names=names, pair_scores=pairs["score"])
    trend = [_picture("Trend error of each pair of columns", draw, scrolls=True)] if len(names) > 1 else []
    shown = worst[:N_DISTRIBUTIONS]
    of = f" of the {len(shown)} worst of {len(worst)} columns" if len(shown) < len(worst) else ""
    distributions = [_picture(f"Distribution of {m.name}", partial(draw_marginal, marginal=m)) for m in shown]
    return [
        "<h2>Shape and trend</h2>",
        _side_by_side([shape, *trend]),
        f"<h2>Distributions{of}</h2>",
        f"<p>Shares of the rows, {_coloured('real', REAL['color'])} and {_coloured('synthetic', SYNTHETIC['color'])}. ",
        "Beside the name of a column: its shape error, in %.</p>",
        _side_by_side(distributions),
    ]


def html_tables(columns: pd.DataFrame, pairs: pd.DataFrame, relations: pd.DataFrame) -> list[str]:
    """Parts of a page: what holds between columns, every column, and the worst pairs or all."""
    parts = []
    if not relations.empty:
        parts += [
            "<h2>Relations</h2>",
            "<p>What always, or mostly, holds between real columns, and the shares of rows that keep it.</p>",
            _table(relations.drop(columns="columns")),
        ]
    parts += [
        "<h2>Columns</h2>",
        "<p>A score of 1: real and synthetic cells are distributed alike. Missing: shares of the cells.</p>",
        _table(columns.reset_index()),
    ]
    if pairs.empty:
        return parts
    worst = pairs.sort_values("score", kind="stable").head(N_PAIRS_LISTED)
    title = f"The {len(worst)} worst pairs of {len(pairs):,}" if len(worst) < len(pairs) else f"All {len(pairs)} pairs"
    return [
        *parts,
        f"<h2>{title if len(pairs) > 1 else 'The pair of columns'}</h2>",
        "<p>A score of 1: the dependence is the same in both tables. trend_error is what the mean score lacks of 1, in %, ",
        "trend_error_sdmetrics what that of sdmetrics lacks, which differs for a number beside a category.</p>",
        _table(worst.rename(columns={"real": "real correlation", "synthetic": "synthetic correlation"})),
    ]


def _table(frame: pd.DataFrame, notes: Sequence[str] = ()) -> str:
    """A table of the frame's columns, under each row a note, if there are any; whatever they hold is escaped."""
    numeric = [dtype.kind == "f" for dtype in frame.dtypes]
    names = [str(name).replace("_", " ") for name in frame.columns]
    rows = [f"<tr>{_cells('th', names, numeric)}</tr>"]
    for k, row in enumerate(frame.itertuples(index=False, name=None)):
        texts = [as_number(value) if isinstance(value, float) else str(value) for value in row]
        rows.append(f"<tr>{_cells('td', texts, numeric)}</tr>")
        if notes:
            rows.append(f'<tr><td class="note" colspan="{len(texts)}"><div>{html.escape(notes[k])}</div></td></tr>')
    body = "\n".join(rows)
    style = ' class="noted"' if notes else ""
    return f'<div class="scroll"><table{style}>{body}</table></div>'


def _cells(tag, texts, numeric):
    styles = [' class="number"' if right else "" for right in numeric]
    return "".join(f"<{tag}{style}>{html.escape(text)}</{tag}>" for text, style in zip(texts, styles, strict=True))


def as_number(value: float) -> str:
    """A number as people write it: three decimals, more if it is small, commas instead if it is large."""
    size = abs(value)
    if math.isnan(value) or size >= 1e15:
        return "–" if math.isnan(value) else f"{value:.3g}"
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{1 - math.floor(math.log10(size))}f}" if 1e-9 < size < 1e-3 else f"{value:.3f}"


def _picture(alt: str, draw: Callable, *, scrolls: bool = False) -> str:
    """A picture in a page, by no global state of matplotlib.

    draw : what draws on an empty figure, and sets its size; scrolls : whether it keeps its size on a narrow screen.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure, buffer = Figure(layout="constrained"), io.BytesIO()
    FigureCanvasAgg(figure)
    draw(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(buffer, format="png", dpi=2 * PIXELS_PER_INCH)
    width, height = (round(PIXELS_PER_INCH * inches) for inches in figure.get_size_inches())
    source = f"data:image/png;base64,{b64encode(buffer.getvalue()).decode('ascii')}"
    picture = f'<img alt="{html.escape(alt)}" width="{width}" height="{height}" src="{source}">'
    return f'<div class="scroll">{picture}</div>' if scrolls else picture


def _side_by_side(pictures):
    """As many as there is room for."""
    return '<div class="wrap">' + "\n".join(pictures) + "</div>"


def _coloured(text, colour):
    return f'<b style="border-bottom: .3em solid {colour}">{text}</b>'
