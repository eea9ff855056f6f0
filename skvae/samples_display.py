"""Draws of the generator, of images or of a table. matplotlib is imported inside functions only."""

import math

import numpy as np
from sklearn.utils import _safe_indexing

from skvae.artists import draw_cells, place_axes, set_title
from skvae.display_inputs import check_estimator, check_matplotlib, count_rows, evenly_spaced, pixel_range, read_rows
from skvae.mosaics import coloured, gap_between, in_rows, lay_out, notes_on
from skvae.texts import short

MAX_ROWS = 10  # of a table that is drawn
INCHES_A_CHARACTER, INCHES_A_LINE = 0.085, 0.26  # of a drawn table


class SamplesDisplay:
    """Draws of `sample`: a mosaic of images, or a table.

    It is recommended to use `from_estimator` to make one. All parameters are stored as attributes.

    Parameters
    ----------
    draws : ndarray of shape (n,) + image shape, or list of Column
        What was drawn.

    data : like draws, default=None
        Rows to draw beside.

    pixel_range : tuple of float, default=None
        Of images: the values that are drawn black and white.

    n_data : int, default=None
        Number of rows that `data` was taken from.

    Attributes
    ----------
    images_ : list of matplotlib AxesImage
        The mosaics.

    tables_ : list of matplotlib Table
        The tables.

    axes_ : ndarray of matplotlib Axes of shape (1,) or (2,)
        Data, if there are any, and draws.

    figure_ : matplotlib Figure
        Their figure.

    See Also
    --------
    SamplesDisplay.from_estimator : Make one of a fitted estimator.
    quality_report : How far drawn rows of a table are from real ones.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skvae import SamplesDisplay, VAETransformer
    >>> X = load_digits().images
    >>> vae = VAETransformer(max_iter=5, random_state=0).fit(X)
    >>> display = SamplesDisplay.from_estimator(vae, 36, X=X, random_state=0)
    >>> [ax.get_title(loc="left") for ax in display.axes_]
    ['36 of 1,797 rows of data', '36 draws']
    """

    def __init__(self, *, draws, data=None, pixel_range=None, n_data=None):
        self.draws = draws
        self.data = data
        self.pixel_range = pixel_range
        self.n_data = n_data

    @classmethod
    def from_estimator(cls, estimator, n=100, *, X=None, ax=None, random_state=None, **kwargs):
        """Draw rows of the generator.

        Parameters
        ----------
        estimator : VAETransformer
            Fitted.

        n : int, default=100
            Number of draws. Of a table, 10 are shown.

        X : {array-like, DataFrame} of shape (n_samples, n_features), or images as in `fit`, default=None
            Rows to show beside them: as many, evenly spaced through X.

        ax : matplotlib Axes or array-like of Axes, default=None
            Where to draw: one, which is divided if there are data beside the draws, or two. None makes a figure.

        random_state : int, RandomState instance or None, default=None
            As in `sample`.

        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        display : SamplesDisplay

        Raises
        ------
        ValueError
            If `n` is not an int in the range [1, inf).
        """
        check_estimator(cls, estimator, n)
        draws = read_rows(estimator, estimator.sample(n, random_state=random_state), only_modelled=False)
        data = n_data = None
        if X is not None:
            X, n_data = estimator._validate(X), len(X)
            data = read_rows(estimator, _safe_indexing(X, evenly_spaced(n_data, n)), only_modelled=False)
        return cls(draws=draws, data=data, n_data=n_data, pixel_range=pixel_range(estimator)).plot(ax=ax, **kwargs)

    def plot(self, ax=None, *, cmap="gray", **kwargs):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of Axes, default=None
            Where to draw. None makes a figure.

        cmap : str or matplotlib Colormap, default="gray"
            Colours of images of one channel.

        **kwargs : dict
            Passed to matplotlib's `imshow` of images, and `table` of a table.

        Returns
        -------
        display : SamplesDisplay
            Itself.
        """
        check_matplotlib(type(self), "plot")
        self.images_: list = []
        self.tables_: list = []
        if isinstance(self.draws, np.ndarray):
            self._draw_images(ax, cmap, kwargs)
        else:
            self._draw_tables(ax, kwargs)
        return self

    def _parts(self):
        """Data, if there are any, and draws; how many rows they were taken from, and what they are called."""
        parts = [(self.draws, None, "draws")]
        if self.data is not None:
            parts.insert(0, (self.data, self.n_data, "rows of data"))
        return [(rows, n or count_rows(rows), what) for rows, n, what in parts]

    def _draw_images(self, ax, cmap, kwargs):
        parts, shape = self._parts(), self.draws.shape[1:]
        n_wide = math.ceil(math.sqrt(max(len(images) for images, *_ in parts)))
        colours = [in_rows(coloured(images, shape, self.pixel_range, cmap), n_wide) for images, *_ in parts]
        mosaics = [lay_out(one, gap_between(shape)) for one in colours]
        width, height = mosaics[-1].inches(widest=4.5 if len(parts) == 2 else 5.5)
        self.figure_, self.axes_ = place_axes(ax, (len(parts) * width, height), (1, len(parts)))
        for ax, mosaic, (images, n, what) in zip(self.axes_, mosaics, parts, strict=True):
            self.images_.append(mosaic.draw(ax, kwargs))
            set_title(ax, _count_title(len(images), n, what), notes_on(images, shape))

    def _draw_tables(self, ax, kwargs):
        parts = self._parts()
        texts = [_cell_texts(self._some(columns)) for columns, *_ in parts]
        widths = np.max([[max(map(len, cells)) + 2 for cells in one] for one in texts], axis=0)
        wanted = widths.cumsum() * INCHES_A_CHARACTER
        n_lines = 1 + min(MAX_ROWS, count_rows(self.draws))
        size = min(max(wanted[-1], 2.0), 10.0), len(parts) * (INCHES_A_LINE * n_lines + 0.45)
        self.figure_, self.axes_ = place_axes(ax, size, (len(parts), 1))
        wide, high = size if ax is None else self.axes_[0].get_window_extent().size / self.figure_.dpi
        n_fit = max(int((wanted <= wide + 1e-6).sum()), 1)
        n_rows = max(int(high / 0.2) - 1, 1)
        notes = [f"{len(widths) - n_fit} more columns are not shown"] * (n_fit < len(widths))
        for ax, (columns, n, what) in zip(self.axes_, parts, strict=True):
            shown = self._some(columns[:n_fit], n_rows)
            kinds = [column.kind for column in shown]
            self.tables_.append(draw_cells(ax, _cell_texts(shown), kinds, widths[:n_fit], kwargs))
            set_title(ax, _count_title(count_rows(shown), n, what), notes)

    @staticmethod
    def _some(columns, n_rows=MAX_ROWS):
        """Few rows of columns."""
        return [column.take(evenly_spaced(len(column.values), min(n_rows, MAX_ROWS))) for column in columns]


def _cell_texts(columns):
    """The name and the cells of each Column, short enough to stand beside each other."""
    return [[short(column.name, 18), *(short(text, 22) for text in column.texts())] for column in columns]


def _count_title(n_shown, n, what):
    return f"{n_shown:,} {what}" if n_shown == n else f"{n_shown:,} of {n:,} {what}"
