"""The HTML page of a quality report, which is self-contained. matplotlib is imported inside functions."""

import html
import io
import math
import re
import warnings
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import pandas as pd

from skvae.binned_distributions import Joint
from skvae.measures import MEASURES
from skvae.report_plots import (
    N_DISTRIBUTIONS,
    N_LARGE,
    REAL,
    SYNTHETIC,
    PlotData,
    dependence_title,
    draw_dependence,
    draw_joint,
    draw_marginal,
    draw_shape,
    draw_trend,
    shape_title,
    trend_title,
    worst_first,
)
from skvae.report_verdict import are_broken
from skvae.texts import as_number

N_PAIRS_LISTED = 50
N_RELATIONS_OPEN = 12  # more that are kept are folded
PIXELS_PER_INCH = 110  # of a picture on a page
LEAST_SCALE = 0.75  # a picture that a narrow screen would shrink further scrolls instead: its words stay readable

REFERENCES = {"value": "synthetic rows", "real": "held-out real rows", "ideal": "best", "independent": "shuffled columns"}
PRIVACY = ("copies", "dcr_share")

# Tables and wide pictures scroll by themselves: a page that is wider than a phone is shown too small to read. Pictures are
# drawn for light paper, and stay on it where the page is dark.
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --ink: #222; --paper: #fff; --faint: #666; --line: #ddd;
--box: #f4f4f2; --bad: #a8380a; }}
@media (prefers-color-scheme: dark) {{
:root {{ --ink: #e4e4e0; --paper: #1b1b1a; --faint: #a5a5a0; --line: #444; --box: #272725; --bad: #ff9466; }} }}
body {{ font: 16px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper);
max-width: 76rem; margin: 1.5rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.6rem; margin-bottom: .2rem; }} h2 {{ font-size: 1.25rem; margin: 2.2rem 0 .5rem; }}
h3 {{ font-size: 1rem; margin: 1.2rem 0 .4rem; }} p {{ max-width: 50rem; overflow-wrap: anywhere; }}
header p, nav {{ color: var(--faint); }} nav a {{ color: inherit; margin-right: .9rem; white-space: nowrap; }}
ul.verdict {{ max-width: 50rem; padding: .8rem 1rem .8rem 2rem; background: var(--box); border-left: 4px solid #c1440e; }}
ul.verdict li {{ margin: .3rem 0; overflow-wrap: anywhere; }}
.scroll {{ overflow-x: auto; }}
.wrap {{ display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }}
figure {{ margin: 0; max-width: 100%; }}
figure img {{ display: block; box-sizing: border-box; max-width: 100%; height: auto; padding: 4px;
background: #fff; border-radius: 4px; }}
figcaption {{ font-size: .88rem; color: var(--faint); overflow-wrap: anywhere;
width: 0; min-width: 100%; margin-bottom: .2rem; }}
table {{ border-collapse: collapse; font-size: .94rem; }} caption {{ text-align: left; color: var(--faint); }}
th, td {{ padding: .25rem .5rem; text-align: left; vertical-align: bottom; border-bottom: 1px solid var(--line); }}
tr > :first-child {{ padding-left: 0; }} tr > :last-child {{ padding-right: 0; }}
td, th[scope=row] {{ vertical-align: top; max-width: 24rem; overflow-wrap: break-word; }}
th[scope=row] {{ font-weight: normal; }}
th.number, td.number {{ text-align: right; }}
td.number {{ font-variant-numeric: tabular-nums; white-space: nowrap; }}
table.noted {{ min-width: min(50rem, 100%); }}
table.noted td, table.noted th[scope=row] {{ border-bottom: none; padding-bottom: 0; }}
table.noted th[scope=row] {{ font-weight: 600; }}
table.noted td.note {{ border-bottom: 1px solid var(--line); max-width: none; padding: 0 0 .3rem;
color: var(--faint); font-size: .88rem; }}
td.note div {{ width: 0; min-width: min(100%, calc(100vw - 2rem)); position: sticky; left: 0; }}
.broken {{ color: var(--bad); }} summary {{ cursor: pointer; margin: .8rem 0 .4rem; }}
@media (max-width: 30rem) {{ body {{ padding: 0 .7rem; }} table {{ font-size: .84rem; }}
th, td {{ padding: .25rem .3rem; }} }}
</style></head><body>
{body}
</body></html>
"""


def html_page(title: str, sizes: str, sections: Mapping[str, Iterable[str]]) -> str:
    """A page that needs nothing else, of a title, sizes of tables, and sections of HTML by their headings."""
    filled = {heading: "\n".join(filter(None, parts)) for heading, parts in sections.items()}
    filled = {heading: text for heading, text in filled.items() if text}
    marks = {heading: heading.lower().replace(" ", "-") for heading in filled}
    links = "\n".join(f'<a href="#{marks[heading]}">{html.escape(heading)}</a>' for heading in filled)
    body = [
        f"<header><h1>{html.escape(title)}</h1>\n<p>{html.escape(sizes)}</p></header>\n<main>",
        *(
            f'<section id="{marks[heading]}"><h2>{html.escape(heading)}</h2>\n{text}</section>'
            for heading, text in filled.items()
        ),
        "</main>",
    ]
    body.insert(2, f'<nav aria-label="Sections">{links}</nav>')  # the verdict is read first
    return PAGE.format(title=html.escape(title), body="\n".join(body))


def html_verdict(sentences: Iterable[str], left_out: Mapping) -> list[str]:
    """Parts of a page: the verdict, and what it is not about. left_out : by name of a column, why it is not compared."""
    items = "".join(f"<li>{_escaped(sentence)}</li>" for sentence in sentences)
    note = f"<p>{html.escape(not_compared(left_out))}</p>" if left_out else ""
    return [f'<ul class="verdict">{items}</ul>', note]


def not_compared(left_out: Mapping) -> str:
    """A sentence on what is left out. left_out : by name of a column, why it is not compared; at least one."""
    return f"Not compared: {', '.join(f'{_clean(name)} ({reason})' for name, reason in left_out.items())}."


def html_measures(summary: pd.DataFrame, has_holdout: bool) -> list[str]:
    """Parts of a page: the measures beside their reference points."""
    real = "that of held-out real rows in their place" if has_holdout else "that of real rows, as far as known"
    return [
        f"<p>Next to the value of the synthetic rows: {real} (usefulness: that of a model trained on real rows), ",
        "the best possible value, and that of real rows after shuffling each column independently. –: unknown.</p>",
        _measures(summary, has_holdout),
    ]


def _measures(summary, has_holdout):
    names = REFERENCES if has_holdout else REFERENCES | {"real": "real rows"}
    figures = summary[list(REFERENCES)].rename(columns=names)
    named = pd.DataFrame({"measure": [MEASURES[name].title for name in summary.index]}, dtype=object)
    return _table(pd.concat([named, figures.reset_index(drop=True)], axis=1), list(summary["meaning"]))


def html_columns(data: PlotData, columns: pd.DataFrame) -> list[str]:
    """Parts of a page: the shape of all columns, the distributions of the worst, and figures of all."""
    worst = worst_first(data.marginals)
    shown = worst[:N_DISTRIBUTIONS]
    distributions = [
        _figure(
            f"{_clean(m.name)}: error {_percent(m.score)}",
            f"Distribution of {_clean(m.name)}",
            partial(draw_marginal, marginal=m),
        )
        for m in shown
    ]
    greatest = ", ".join(f"{_clean(marginal.name)} {_percent(marginal.score)}" for marginal in worst[:3])
    caption = f"{shape_title(worst)}. 0: real and synthetic cells have the same distribution."
    shape = _figure(caption, f"Bars of the shape errors, the greatest: {greatest}", partial(draw_shape, marginals=worst))
    of = f"The {len(shown)} worst of {len(worst)} columns" if len(shown) < len(worst) else "Distributions, worst first"
    return [
        _side_by_side([shape]),
        f"<h3>{of}</h3>",
        f"<p>Shares of the rows, {_real_and_synthetic()}.</p>",
        _side_by_side(distributions),
        _folded(
            f"All columns ({len(columns)})",
            "<p>A score of 1: real and synthetic cells have the same distribution. Missing: share of the cells.</p>",
            _table(columns.reset_index()),
        ),
    ]


def html_pairs(data: PlotData, pairs: pd.DataFrame) -> list[str]:
    """Parts of a page: dependence between columns as maps, the worst pairs as pictures, and figures of the worst or all."""
    if pairs.empty:
        return []
    names = [marginal.name for marginal in data.marginals]
    least_scale = LEAST_SCALE if len(names) <= N_LARGE else 1.0
    strengths = {"real": pairs["dependence_real"], "synthetic": pairs["dependence_synthetic"]}
    maps = [
        _figure(
            f"{dependence_title(names)}: the absolute correlation of two numbers, Cramér's V of other "
            "pairs. 0: none, 1: one determines the other. If both tables agree, the map is symmetric.",
            "Map of the dependence of each pair of columns, real above the diagonal and synthetic below",
            partial(draw_dependence, names=names, **strengths),
            least_scale,
        ),
        _figure(
            f"{trend_title(names, pairs['score'])}. 0: the dependence is the same in both tables.",
            "Map of the trend error of each pair of columns",
            partial(draw_trend, names=names, pair_scores=pairs["score"]),
            least_scale,
        ),
    ]
    return [_side_by_side(maps), *_worst_pairs(data.joints, len(pairs)), _listed_pairs(pairs)]


def _worst_pairs(joints, n_pairs):
    if not joints:
        return []
    pictures = [
        _figure(
            f"{_names(joint)}: error {_percent(joint.score)}",
            f"{_names(joint)}, real and synthetic",
            partial(draw_joint, joint=joint),
        )
        for joint in joints
    ]
    title = f"The {len(joints)} worst of {n_pairs:,} pairs, drawn" if len(joints) < n_pairs else "Pairs, drawn"
    text = "<p>Shares of the rows by both columns; darker is more. Top: real, bottom: synthetic.</p>"
    return [f"<h3>{title}</h3>", text, _side_by_side(pictures)]


def _listed_pairs(pairs):
    worst = pairs.sort_values("score", kind="stable").head(N_PAIRS_LISTED)
    title = f"The {len(worst)} worst pairs of {len(pairs):,}" if len(worst) < len(pairs) else f"All {len(pairs)} pairs"
    renamed = {"real": "real correlation", "synthetic": "synthetic correlation"}
    return _folded(
        title if len(pairs) > 1 else "The pair of columns",
        "<p>A score of 1: the dependence is the same in both tables. trend_error is 1 minus the mean score, in %, and "
        "trend_error_sdmetrics the same for sdmetrics, which scores pairs of a number and a category differently.</p>",
        _table(worst.rename(columns=renamed)),
    )


def html_relations(relations: pd.DataFrame) -> list[str]:
    """Parts of a page: what holds between columns of the real table and is broken, and what is kept."""
    if relations.empty:
        return []
    is_broken = are_broken(relations)
    tables = [table for table in ("real", "synthetic", "holdout") if table in relations]
    listed = relations[["relation", *tables, "kind"]].rename(columns={"holdout": "held-out"})
    broken, kept = listed[is_broken], listed[~is_broken]
    parts = ["<p>Relations that all or most real rows keep, and the shares of the rows that keep them.</p>"]
    if len(broken):
        parts += [f'<h3 class="broken">Broken: {len(broken)} of {len(relations)}</h3>', _table(broken)]
    if len(kept):
        title = f"Kept: {len(kept)} of {len(relations)}"
        parts += [f"<h3>{title}</h3>{_table(kept)}" if len(kept) <= N_RELATIONS_OPEN else _folded(title, "", _table(kept))]
    return parts


def html_rows(data: PlotData) -> list[str]:
    """Parts of a page: the rows of both tables on a map of two dimensions, or along one."""
    rows = data.rows
    if rows is None:
        return []
    how = "darker is more"
    if isinstance(rows.places, Joint):
        draw, alt = partial(draw_joint, joint=rows.places), "Map of the rows, real above and synthetic below"
    else:
        draw, alt = partial(draw_marginal, marginal=rows.places), "Distribution of the rows, real and synthetic"
        how = _real_and_synthetic()
    text = f"<p>Whole rows. Synthetic rows should lie where real rows lie, with the same density; {how}.</p>"
    return [text, _figure(rows.caption, alt, draw)]


def html_privacy(sentence: str, summary: pd.DataFrame, has_holdout: bool) -> list[str]:
    """Parts of a page: whether real rows were memorised, and what the page itself shows of them."""
    return [
        f"<p>{html.escape(sentence)}</p>",
        _measures(summary.loc[[name for name in PRIVACY if name in summary.index]], has_holdout),
        "<p>This page holds shares of rows in bins, and no rows. A bar of a rare category, or an isolated bin, ",
        "can still reveal that such a row exists.</p>",
    ]


# --- tables and pictures ---------------------------------------------------------------------------------------------


def _table(frame: pd.DataFrame, notes: Sequence[str] = ()) -> str:
    """A table of the frame's columns, under each row a note, if there are any; whatever they hold is escaped."""
    numeric = [dtype.kind == "f" for dtype in frame.dtypes]
    names = [str(name).replace("_", " ") for name in frame.columns]
    rows = []
    for k, row in enumerate(frame.itertuples(index=False, name=None)):
        texts = [as_number(value) if isinstance(value, float) else _clean(value) for value in row]
        first = f'<th scope="row">{_escaped(texts[0])}</th>'
        rows.append(f"<tr>{first}{_cells('td', texts[1:], numeric[1:])}</tr>")
        if notes:
            rows.append(f'<tr><td class="note" colspan="{len(texts)}"><div>{html.escape(notes[k])}</div></td></tr>')
    head = f"<thead><tr>{_cells('th', names, numeric)}</tr></thead>"
    body = "<tbody>" + "\n".join(rows) + "</tbody>"
    style = ' class="noted"' if notes else ""
    return f'<div class="scroll" tabindex="0"><table{style}>{head}\n{body}</table></div>'


def _cells(tag, texts, numeric):
    scope = ' scope="col"' if tag == "th" else ""
    styles = [' class="number"' if right else "" for right in numeric]
    return "".join(f"<{tag}{scope}{style}>{_escaped(text)}</{tag}>" for text, style in zip(texts, styles, strict=True))


def _percent(score):
    """What a score lacks of 1."""
    return "–" if math.isnan(score) else f"{100 * (1 - score):.1f}%"


def _names(joint):
    return " and ".join(_clean(axis.name) for axis in joint.axes)


def _clean(value):
    """A text as a page can hold it: half a surrogate pair is no character, and one that controls a terminal none to read."""
    return "".join(c if c.isprintable() or c.isspace() else "\ufffd" for c in str(value))


def _escaped(text):
    """A text in HTML. An arrow, which relations write, stays whole: a browser would break the line after its hyphen."""
    return re.sub("(?:&lt;)?-&gt;", r'<span style="white-space: nowrap">\g<0></span>', html.escape(text))


def _figure(caption: str, alt: str, draw: Callable, least_scale: float = LEAST_SCALE) -> str:
    """A picture with a caption; on a narrow screen it shrinks a little, and scrolls beyond.

    draw : what draws on an empty figure, and sets its size.
    """
    source, width, height = _svg(draw)
    image = (
        f'<img alt="{html.escape(alt)}" width="{width}" height="{height}" '
        f'style="min-width: {round(least_scale * width)}px" src="{source}">'
    )
    return f'<figure><figcaption>{html.escape(caption)}</figcaption><div class="scroll">{image}</div></figure>'


def _svg(draw):
    """A picture as an address that holds it, and its width and height in pixels."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure, buffer = Figure(layout="constrained"), io.StringIO()
    FigureCanvasSVG(figure)
    draw(figure)
    # words remain words, which a browser draws in any script; the same report is the same file
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "skvae"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = buffer.getvalue()
    text = text[text.index("<svg") :]  # what precedes it names a document type at an address on the web
    width, height = (round(PIXELS_PER_INCH * inches) for inches in figure.get_size_inches())
    return f"data:image/svg+xml;base64,{b64encode(text.encode()).decode('ascii')}", width, height


def _side_by_side(pictures):
    """As many as there is room for."""
    return '<div class="wrap">' + "\n".join(pictures) + "</div>"


def _folded(title, *parts):
    return f"<details><summary>{html.escape(title)}</summary>{''.join(parts)}</details>"


def _real_and_synthetic():
    """Both words, underlined in the colours of their bars."""
    colours = {"real": REAL["color"], "synthetic": SYNTHETIC["color"]}
    words = [f'<strong style="border-bottom: .3em solid {colour}">{text}</strong>' for text, colour in colours.items()]
    return " and ".join(words)
