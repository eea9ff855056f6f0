"""Formulas as vector pictures by matplotlib's mathtext, so that pages show them without network and without LaTeX.

mathtext knows the most common part of LaTeX; what it does not know ends the build.
"""

from html import escape

from docutils.nodes import SkipNode
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextPath, TextToPath

EM = 90.0  # units of a picture in an em of the text around it; letters are drawn at 100, as mathtext's are small
MARGIN = 5.0
LETTERS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C", Path.CLOSEPOLY: "Z"}


def picture(latex):
    """SVG in the colour of the text, on the baseline of the text."""
    text, font = f"${' '.join(latex.split())}$", FontProperties(size=100, math_fontfamily="cm")
    width, height, depth = TextToPath().get_text_width_height_descent(text, font, ismath=True)
    segments = []
    for points, code in TextPath((0, 0), text, prop=font).iter_segments(simplify=False):
        places = [] if code == Path.CLOSEPOLY else (points.reshape(-1, 2) * [1, -1]).ravel()
        segments.append(LETTERS[code] + " ".join(f"{place:.0f}" for place in places))
    top, width, height = depth - height - MARGIN, width + MARGIN, height + 2 * MARGIN
    style = f"width: {width / EM:.2f}em; height: {height / EM:.2f}em; vertical-align: {-(depth + MARGIN) / EM:.2f}em"
    shape = f'viewBox="0 {top:.0f} {width:.0f} {height:.0f}" style="{style}; max-width: 100%"'
    return f'<svg role="img" aria-label="{escape(latex)}" {shape}><path fill="currentColor" d="{"".join(segments)}"/></svg>'


def visit_inline(translator, node):
    translator.body.append(picture(node.astext()))
    raise SkipNode


def visit_block(translator, node):
    translator.body.append(f'<p class="math" style="text-align: center">{picture(node.astext())}</p>')
    raise SkipNode


def setup(app):
    app.add_html_math_renderer("mathtext", inline_renderers=(visit_inline, None), block_renderers=(visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
