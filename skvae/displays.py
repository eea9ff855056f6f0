"""Pictures of a fitted `VAETransformer`, one class each, after scikit-learn's displays.

`from_estimator` computes, `__init__` stores plain data, `plot` draws. matplotlib is imported inside functions only.
"""

import math
from numbers import Integral
from operator import itemgetter
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing, check_consistent_length
from sklearn.utils.validation import check_is_fitted

from skvae.artists import (
    COLOURS,
    SHADES,
    draw_cells,
    draw_density,
    draw_density_1d,
    draw_losses,
    draw_pairs,
    draw_shares_right,
    limits_of,
    paint_rows,
    place_axes,
    set_title,
    style_of,
    tick_some,
)
from skvae.estimator import VAETransformer
from skvae.mosaics import coloured, gap_between, in_rows, lay_out, notes_on, pixel_range_of
from skvae.plotted_columns import changes_from, read_columns, read_y, share_explained, share_right
from skvae.plotting import short

N_DRAWS = 20_000  # of latents, by which a picture knows the prior; unmeasured
MAX_LATENTS, MAX_COLUMNS = 8, 12  # that a traversal shows unless it is told
QUANTILE = "quantile of the latent under the prior"
FARTHEST = 2.5  # standard deviations that have a colour of their own; another category counts as much
LEAST_INFORMATION = 0.05  # nats, below which a latent moves nothing that is seen
MAX_ROWS = 10  # of a table that is drawn
INCHES_A_CHARACTER, INCHES_A_LINE = 0.085, 0.26  # of a drawn table


class LatentSpaceDisplay:
    """Rows in the plane of two latents, coloured by what is known of them, over the prior.

    It is recommended to use `from_estimator` to make one. All parameters are stored as attributes.

    Parameters
    ----------
    latents : ndarray of shape (n_samples, 1) or (n_samples, 2)
        Coordinates of the rows. With one latent, its distribution is drawn.

    prior_draws : ndarray of shape (n_draws, 1) or (n_draws, 2)
        Draws from the prior, by which its density is drawn.

    labels : list of str
        Of the axes.

    y : Column, default=None
        What the rows are coloured by: `name`, `kind`, `values` and `levels`.

    random_state : int, RandomState instance or None, default=0
        Order in which points are drawn, lest the last category covers the others.

    Attributes
    ----------
    density_ : matplotlib QuadContourSet, or of one latent PolyCollection
        The prior's density; None if it is a single point.

    scatter_ : matplotlib PathCollection or None
        The rows, with two latents.

    bars_ : list of BarContainer
        The rows, with one latent.

    legend_ : matplotlib Legend
        Names of the colours.

    colorbar_ : matplotlib Colorbar or None
        If `y` holds numbers.

    ax_ : matplotlib Axes
        What is drawn on.

    figure_ : matplotlib Figure
        Its figure.

    See Also
    --------
    LatentSpaceDisplay.from_estimator : Make one of a fitted estimator and rows.
    ManifoldDisplay : What images the latents stand for.
    TraversalDisplay : What each latent changes.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import LatentSpaceDisplay, VAETransformer
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> vae = VAETransformer(max_iter=5, generator="latent", random_state=0).fit(X)
    >>> display = LatentSpaceDisplay.from_estimator(vae, X, y)
    >>> [text.get_text() for text in display.legend_.get_texts()][:3]
    ['0', '1', '2']
    """

    def __init__(self, *, latents, prior_draws, labels, y=None, random_state=0):
        self.latents = latents
        self.prior_draws = prior_draws
        self.labels = labels
        self.y = y
        self.random_state = random_state

    @classmethod
    def from_estimator(cls, estimator, X, y=None, *, latents=None, ax=None, random_state=0, **kwargs):
        """Draw rows in the plane of two latents.

        Parameters
        ----------
        estimator : VAETransformer
            Fitted.

        X : {array-like, DataFrame} of shape (n_samples, n_features), or images as in `fit`
            Rows, of which the posterior means are drawn (`transform`).

        y : array-like of shape (n_samples,), default=None
            What colours them: strings, categories, booleans or at most 10 different whole numbers, which are named in a
            legend (of more than 10 categories the 9 most frequent, and the others together); or other numbers, dates or
            durations, with a colour bar. Rows without a value are grey.

        latents : int or tuple of int, default=None
            One latent or two. None takes the first two, which tell most, or the only one.

        ax : matplotlib Axes, default=None
            Where to draw. None makes a figure.

        random_state : int, RandomState instance or None, default=0
            Of the draws from the prior, and of the order of points.

        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        display : LatentSpaceDisplay

        Raises
        ------
        ValueError
            If `latents` names one that is not there, or y has another length than X.
        """
        _check(cls, estimator)
        chosen = _check_latents(latents, estimator, most=2)
        column = None if y is None else read_y(y, max_levels=len(COLOURS))
        if column is not None:
            check_consistent_length(X, column.values)
        display = cls(
            latents=np.asarray(estimator.transform(X))[:, chosen],
            prior_draws=estimator.sample_latents(N_DRAWS, random_state=random_state)[:, chosen],
            labels=_latent_labels(estimator, chosen),
            y=column,
            random_state=random_state,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax=None, *, cmap="viridis", **kwargs):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None makes a figure.

        cmap : str or matplotlib Colormap, default="viridis"
            Colours of numbers.

        **kwargs : dict
            Passed to matplotlib's `scatter`, or with one latent to `bar`: how all points or bars look.

        Returns
        -------
        display : LatentSpaceDisplay
            Itself.
        """
        _check_matplotlib(type(self), "plot")
        self.figure_, [self.ax_] = place_axes(ax, (6.0, 4.4))
        self.density_: Any = None
        self.scatter_: Any = None
        self.colorbar_: Any = None
        self.bars_: list = []
        paint = paint_rows(self.y, len(self.latents), cmap)
        draw = self._draw_plane if self.latents.shape[1] == 2 else self._draw_line
        draw(paint, kwargs)
        xlabel, ylabel = [*self.labels, "density of rows"][:2]
        self.ax_.set(xlabel=xlabel, ylabel=ylabel)
        if paint.mappable is not None:
            self.colorbar_ = self.ax_.figure.colorbar(paint.mappable, ax=self.ax_, extend=paint.extend)
            self._label_colorbar()
        self.legend_ = self._draw_legend(paint.entries)
        return self

    def _draw_plane(self, paint, kwargs):
        from matplotlib.collections import Collection

        self.density_ = draw_density(self.ax_, self.prior_draws)
        seed = self.random_state
        if isinstance(seed, np.random.RandomState):
            seed = seed.randint(2**31)
        order = np.random.default_rng(seed).permutation(len(self.latents))
        order = order[np.argsort(~paint.missing[order], kind="stable")]  # rows without a value lie below
        size = float(np.clip(2e4 / max(len(order), 1), 3, 22))
        style = {"s": size, "linewidth": 0, "alpha": 0.85, "facecolor": paint.colours[order]}
        self.scatter_ = self.ax_.scatter(*self.latents[order].T, **style_of(Collection, style, kwargs))
        nearly_all = np.quantile(self.prior_draws, [0.001, 0.999], axis=0)
        xlim, ylim = map(limits_of, np.concatenate([self.latents, nearly_all]).T)
        self.ax_.set(xlim=xlim, ylim=ylim)

    def _draw_line(self, paint, kwargs):
        """The distribution of one latent: bars, which categories share, or which have the colour of the mean number."""
        from matplotlib.patches import Patch

        z, draws = self.latents[:, 0], self.prior_draws[:, 0]
        edges = np.histogram_bin_edges(np.concatenate([z, np.quantile(draws, [0.001, 0.999])]), min(40, 10 + len(z) // 10))
        widths = np.diff(edges)
        bottom = np.zeros(len(widths))
        for rows, colours in paint.layers(np.digitize(z, edges[1:-1]), len(widths)):
            heights = np.histogram(z[rows], edges)[0] / len(z) / widths
            style = {"width": widths, "align": "edge", "color": colours, "edgecolor": "white", "linewidth": 0.3}
            self.bars_.append(self.ax_.bar(edges[:-1], heights, bottom=bottom, **style_of(Patch, style, kwargs)))
            bottom += heights
        self.density_ = draw_density_1d(self.ax_, draws)

    def _draw_legend(self, entries):
        """The colours' names on the right, or above where there is nothing but the prior and missing values."""
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        prior = "prior" if self.latents.shape[1] == 1 else "prior (50, 90, 99 % of draws)"
        dot: dict = {"linestyle": "none", "marker": "o", "markersize": 5}
        handles: list = [Line2D([], [], **dot, color=colour, label=name) for name, colour in entries]
        handles.append(Patch(facecolor=SHADES[-1], edgecolor="0.4" if self.latents.shape[1] == 1 else "none", label=prior))
        if self.y is not None and self.y.kind == "category":
            handles[-1].set_label(prior.replace(" (", "\n("))
            where = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "title": short(self.y.name), "alignment": "left"}
        else:
            where = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "ncols": len(handles)}
        return self.ax_.legend(handles=handles, frameon=False, fontsize="small", borderaxespad=0.3, **where)

    def _label_colorbar(self):
        name, kind = short(self.y.name), self.y.kind
        means = "" if self.latents.shape[1] == 2 else ", mean of the bar's rows"
        self.colorbar_.set_label(name + (" (seconds)" if kind == "duration" else "") + means)
        if kind == "date":
            self.colorbar_.ax.yaxis.set_major_formatter(lambda day, _: str(np.datetime64(round(day), "D")))


class ManifoldDisplay:
    """The images that a grid of latents decodes to, as one mosaic.

    It is recommended to use `from_estimator` to make one. All parameters are stored as attributes.

    Parameters
    ----------
    images : ndarray of shape (n_rows, n_columns) + image shape
        What the grid decodes to; the second latent grows from the last row to the first.

    values : list of ndarray of shape (n_columns,) or (n_rows,)
        Values of the latent along the x axis, and of the one along the y axis, if there is one.

    labels : list of str
        Of the axes.

    pixel_range : tuple of float
        The values that are drawn black and white.

    Attributes
    ----------
    image_ : matplotlib AxesImage
        The mosaic.

    ax_ : matplotlib Axes
        What is drawn on.

    figure_ : matplotlib Figure
        Its figure.

    See Also
    --------
    ManifoldDisplay.from_estimator : Make one of a fitted estimator.
    TraversalDisplay : Moves one latent at a time, from a row of your choice.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skvae import ManifoldDisplay, VAETransformer
    >>> vae = VAETransformer(max_iter=5, random_state=0).fit(load_digits().images)
    >>> display = ManifoldDisplay.from_estimator(vae, n=10)
    >>> display.images.shape
    (10, 10, 8, 8)
    """

    def __init__(self, *, images, values, labels, pixel_range):
        self.images = images
        self.values = values
        self.labels = labels
        self.pixel_range = pixel_range

    @classmethod
    def from_estimator(cls, estimator, *, n=15, latents=None, ax=None, random_state=0, **kwargs):
        """Draw the images that a grid of latents decodes to.

        Parameters
        ----------
        estimator : VAETransformer
            Fitted to images.

        n : int, default=15
            Images a side. Their latents are quantiles of the prior: equal shares of its draws lie between neighbours.

        latents : int or tuple of int, default=None
            One latent or two; the others stay at the prior's median. None takes the first two, which tell most, or the only
            one.

        ax : matplotlib Axes, default=None
            Where to draw. None makes a figure.

        random_state : int, RandomState instance or None, default=0
            Of the draws from the prior, whose quantiles are taken.

        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        display : ManifoldDisplay

        Raises
        ------
        ValueError
            If the estimator was fitted to a table, `latents` names one that is not there, or `n` is not an int in the range
            [1, inf).
        """
        _check(cls, estimator, n)
        if estimator._schema.images is None:
            raise ValueError(
                f"{cls.__name__} draws images, but {type(estimator).__name__} was fitted to a table. Use TraversalDisplay "
                "instead, or image_shape= if X holds flat images."
            )
        chosen = _check_latents(latents, estimator, most=2)
        draws = estimator.sample_latents(N_DRAWS, random_state=random_state)
        values = list(np.quantile(draws[:, chosen], _shares(n), axis=0).T)
        Z = np.tile(_centre(estimator, draws), (n ** len(chosen), 1))
        for k, column in zip(chosen, np.meshgrid(values[0], *(one[::-1] for one in values[1:])), strict=True):
            Z[:, k] = column.ravel()
        images = _read_images(estimator, estimator.inverse_transform(Z)).reshape(-1, n, *estimator._schema.images.row_shape)
        labels, pixel_range = _latent_labels(estimator, chosen), _pixel_range(estimator)
        return cls(images=images, values=values, labels=labels, pixel_range=pixel_range).plot(ax=ax, **kwargs)

    def plot(self, ax=None, *, cmap="gray", **kwargs):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None makes a figure.

        cmap : str or matplotlib Colormap, default="gray"
            Colours of images of one channel.

        **kwargs : dict
            Passed to matplotlib's `imshow`.

        Returns
        -------
        display : ManifoldDisplay
            Itself.
        """
        _check_matplotlib(type(self), "plot")
        shape = self.images.shape[2:]
        mosaic = lay_out(coloured(self.images, shape, self.pixel_range, cmap), gap=1)
        self.figure_, [self.ax_] = place_axes(ax, mosaic.inches())
        self.image_ = mosaic.draw(self.ax_, kwargs)
        xlabel, ylabel = [*self.labels, ""][:2]
        self.ax_.set(xlabel=xlabel, ylabel=ylabel)
        tick_some(self.ax_.xaxis, mosaic.columns, _value_texts(self.values[0]))
        if len(self.values) == 2:
            tick_some(self.ax_.yaxis, mosaic.rows, _value_texts(self.values[1][::-1]))
        set_title(self.ax_, "What latents decode to", notes_on(self.images, shape))
        return self


class TraversalDisplay:
    """What each latent changes: one moves through its range, and the others stay where they are.

    Images are a mosaic with a row for each latent. Of a table, each latent has a table of its own: decoded cells as text,
    and in colour how far they are from the start.

    It is recommended to use `from_estimator` to make one. All parameters are stored as attributes.

    Parameters
    ----------
    decoded : ndarray of shape (n_latents, n_steps) + image shape, or list of Column
        What is decoded. Columns hold the n_latents * n_steps decoded rows one after the other.

    steps : list of str of length n_steps
        What the steps are called.

    labels : list of str
        Of the latents.

    pixel_range : tuple of float, default=None
        The values that are drawn black and white.

    changes : ndarray of shape (n_columns, n_latents * n_steps), default=None
        Of a table: how far cells are from the start, in standard deviations of decoded draws; 0 for the start's category,
        and NaN for another, or where one of the two cells is missing.

    n_columns : int, default=None
        Of a table: how many columns it has, of which `decoded` holds those that change most.

    Attributes
    ----------
    images_ : list of matplotlib AxesImage
        The mosaic, or the coloured cells of each latent.

    texts_ : list of matplotlib Text
        The cells of tables.

    colorbar_ : matplotlib Colorbar or None
        Of a table that holds numbers.

    axes_ : ndarray of matplotlib Axes of shape (1,) or (n_latents,)
        What is drawn on: one for images, else one a latent.

    figure_ : matplotlib Figure
        Their figure.

    See Also
    --------
    TraversalDisplay.from_estimator : Make one of a fitted estimator.
    ManifoldDisplay : Moves two latents together.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import TraversalDisplay, VAETransformer
    >>> X = load_iris(as_frame=True).data
    >>> vae = VAETransformer(max_iter=5, generator="latent", random_state=0).fit(X)
    >>> display = TraversalDisplay.from_estimator(vae, X[:1], latents=[0, 1], n=5)
    >>> [ax.get_title(loc="left") for ax in display.axes_][1].split(" (")[0]
    'latent 1'
    """

    def __init__(self, *, decoded, steps, labels, pixel_range=None, changes=None, n_columns=None):
        self.decoded = decoded
        self.steps = steps
        self.labels = labels
        self.pixel_range = pixel_range
        self.changes = changes
        self.n_columns = n_columns

    @classmethod
    def from_estimator(cls, estimator, X=None, *, latents=None, n=9, ax=None, random_state=0, **kwargs):
        """Draw what each latent changes.

        Parameters
        ----------
        estimator : VAETransformer
            Fitted.

        X : array-like or DataFrame of one row, or one image, default=None
            Where to start: its latents stay as they are, but for the one that moves. What they decode to is shown before the
            steps. None starts from the prior's medians.

        latents : int or sequence of int, default=None
            The latents that are moved. None takes the first 8, less those that tell next to nothing.

        n : int, default=9
            Steps of each: quantiles of the latent under the prior.

        ax : matplotlib Axes or array-like of Axes, default=None
            Where to draw: one, which is divided if several are needed, or, of a table, one a latent. None makes a figure.

        random_state : int, RandomState instance or None, default=0
            Of the draws from the prior, whose quantiles are taken.

        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        display : TraversalDisplay

        Raises
        ------
        ValueError
            If X holds more than one row, `latents` names one that is not there, or `n` is not an int in the range [1, inf).
        """
        _check(cls, estimator, n)
        chosen = _check_latents(latents, estimator)
        draws = estimator.sample_latents(N_DRAWS, random_state=random_state)
        start = _centre(estimator, draws) if X is None else np.asarray(estimator.transform(_one_row(estimator, X)))[0]
        steps = ["start"] * (X is not None) + [f"{100 * share:.0f} %" for share in _shares(n)]
        Z = np.tile(start, (len(chosen), len(steps), 1))
        for moved, k in zip(Z, chosen, strict=True):
            moved[-n:, k] = np.quantile(draws[:, k], _shares(n))
        decoded = estimator.inverse_transform(Z.reshape(-1, Z.shape[-1]))
        common = {"steps": steps, "labels": _latent_labels(estimator, chosen)}
        if estimator._schema.images is not None:
            images = _read_images(estimator, decoded).reshape(len(chosen), len(steps), *estimator._schema.images.row_shape)
            display = cls(decoded=images, pixel_range=_pixel_range(estimator), **common)
        else:
            display = cls(**cls._compare(estimator, decoded, start, draws), **common)
        return display.plot(ax=ax, **kwargs)

    @staticmethod
    def _compare(estimator, decoded, start, draws):
        """The columns that change most, and how far from the start."""
        tables = decoded, estimator.inverse_transform(start[None]), estimator.inverse_transform(draws[:1000])
        columns, starts, typical = (_read_table(estimator, table, is_modelled=True) for table in tables)
        changes = np.array([changes_from(*three) for three in zip(starts, columns, typical, strict=True)])
        moved = np.nan_to_num(np.abs(changes), nan=FARTHEST).max(axis=1)
        kept = np.sort(np.argsort(-moved, kind="stable")[:MAX_COLUMNS])
        return {"decoded": [columns[j] for j in kept], "changes": changes[kept], "n_columns": len(columns)}

    def plot(self, ax=None, *, cmap=None, **kwargs):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of Axes, default=None
            Where to draw. None makes a figure.

        cmap : str or matplotlib Colormap, default=None
            Colours of images of one channel, "gray" by default, or of changes, "RdBu_r" by default.

        **kwargs : dict
            Passed to matplotlib's `imshow`.

        Returns
        -------
        display : TraversalDisplay
            Itself.
        """
        _check_matplotlib(type(self), "plot")
        self.images_: list = []
        self.texts_: list = []
        self.colorbar_ = None
        if isinstance(self.decoded, np.ndarray):
            self._draw_images(ax, cmap or "gray", kwargs)
        else:
            self._draw_tables(ax, cmap or "RdBu_r", kwargs)
        return self

    def _draw_images(self, ax, cmap, kwargs):
        shape = self.decoded.shape[2:]
        mosaic = lay_out(coloured(self.decoded, shape, self.pixel_range, cmap), gap_between(shape))
        self.figure_, self.axes_ = place_axes(ax, mosaic.inches(beside=2.2))
        [ax] = self.axes_
        self.images_ = [mosaic.draw(ax, kwargs)]
        tick_some(ax.xaxis, mosaic.columns, self.steps, most=12)
        ax.set_yticks(mosaic.rows, self.labels, fontsize="small")
        ax.tick_params(length=0)
        ax.set_xlabel(QUANTILE, fontsize="small")
        set_title(ax, "Each row moves one latent, the others stay", notes_on(self.decoded, shape))

    def _draw_tables(self, ax, cmap, kwargs):
        n_latents, n = len(self.labels), len(self.steps)
        texts = [[short(text, 12) for text in column.texts("–", brief=True)] for column in self.decoded]
        grid = np.array(texts, dtype=object).reshape(-1, n_latents, n)
        widest = max(map(len, grid.ravel()))
        size = 2.6 + n * max(0.45, 0.075 * widest), 0.7 + n_latents * (0.6 + 0.24 * len(grid))
        self.figure_, self.axes_ = place_axes(ax, size, (n_latents, 1))
        changes = self.changes.reshape(-1, n_latents, n)
        for at, (ax, label) in enumerate(zip(self.axes_, self.labels, strict=True)):
            self._draw_table(ax, grid[:, at], changes[:, at], cmap, kwargs)
            ax.set_title(label, loc="left", fontsize="medium")
        self._explain(changes)

    def _draw_table(self, ax, texts, changes, cmap, kwargs):
        """One latent's cells; texts, changes : (n_columns, n_steps)."""
        from matplotlib import colormaps

        cmap = colormaps[cmap] if isinstance(cmap, str) else cmap
        style = {"cmap": cmap.with_extremes(bad="#f4e4a1"), "vmin": -FARTHEST, "vmax": FARTHEST, "aspect": "auto"} | kwargs
        self.images_.append(ax.imshow(changes, **style))
        for (row, step), text in np.ndenumerate(texts):
            is_dark = abs(changes[row, step]) > 1.6
            style = {"ha": "center", "va": "center", "fontsize": "x-small", "color": "white" if is_dark else "black"}
            self.texts_.append(ax.text(step, row, text, parse_math=False, **style))
        names = [short(column.name) for column in self.decoded]
        ax.set_yticks(range(len(names)), names, fontsize="small", parse_math=False)
        ax.set_xticks(range(len(self.steps)), self.steps, fontsize="x-small")
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)

    def _explain(self, changes):
        """What the axes and colours of the tables mean."""
        some = f"; the {len(self.decoded)} of {self.n_columns} columns that change most"
        lines = [QUANTILE + (some if len(self.decoded) < self.n_columns else "")]
        if any(column.kind != "category" for column in self.decoded):
            lines.append("colour bar: change from the start, in standard deviations of decoded draws")
            # within the axes' own place, lest the tables of other latents become wider than this one
            place = self.axes_[0].inset_axes((1.015, 0, 0.02, 1))
            self.colorbar_ = self.axes_[0].figure.colorbar(self.images_[0], cax=place, ticks=[-2, -1, 0, 1, 2])
            place.tick_params(labelsize="x-small")
        if np.isnan(changes).any():
            lines.append("yellow: another category than at the start, or one of the two is missing")
        self.axes_[-1].set_xlabel("\n".join(lines), fontsize="small")


class ReconstructionDisplay:
    """Rows beside what is left of them after `transform` and `inverse_transform`.

    Images stand above their reconstructions. Of a table, numbers are drawn against their reconstructions, a column each, and
    of categories the share that comes back right.

    It is recommended to use `from_estimator` to make one. All parameters are stored as attributes.

    Parameters
    ----------
    data : ndarray of shape (n,) + image shape, or list of Column
        Rows.

    reconstruction : like data
        Their reconstructions.

    n_rows : int
        Number of rows that figures are computed of.

    pixel_range : tuple of float, default=None
        Of images: the values that are drawn black and white.

    rmse : float, default=None
        Of images: the root mean squared error of a pixel, over all rows.

    n_columns : int, default=10
        Of a table: number of columns of numbers to draw at most: those that come back worst, and as many of the best.

    Attributes
    ----------
    images_ : list of matplotlib AxesImage
        The mosaic.

    scatters_ : list of matplotlib PathCollection
        One a column of numbers.

    bars_ : matplotlib BarContainer or None
        Shares of categories that come back right.

    axes_ : ndarray of matplotlib Axes of shape (n_axes,)
        One for images; of a table one a column of numbers, and one for all columns of categories.

    figure_ : matplotlib Figure
        Their figure.

    See Also
    --------
    ReconstructionDisplay.from_estimator : Make one of a fitted estimator and rows.
    VAETransformer.score_cells : Log-likelihood of each cell.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import ReconstructionDisplay, VAETransformer
    >>> X = load_iris(as_frame=True).frame.astype({"target": "category"})
    >>> vae = VAETransformer(max_iter=5, generator="latent", random_state=0).fit(X)
    >>> display = ReconstructionDisplay.from_estimator(vae, X)
    >>> len(display.scatters_), len(display.bars_)
    (4, 1)
    """

    def __init__(self, *, data, reconstruction, n_rows, pixel_range=None, rmse=None, n_columns=10):
        self.data = data
        self.reconstruction = reconstruction
        self.n_rows = n_rows
        self.pixel_range = pixel_range
        self.rmse = rmse
        self.n_columns = n_columns

    @classmethod
    def from_estimator(cls, estimator, X, *, n=10, ax=None, **kwargs):
        """Draw rows beside their reconstructions.

        Parameters
        ----------
        estimator : VAETransformer
            Fitted.

        X : {array-like, DataFrame} of shape (n_samples, n_features), or images as in `fit`
            Rows, preferably such as `fit` did not see.

        n : int, default=10
            Number of images, evenly spaced through X; of a table, number of columns of numbers at most, half of them those
            that come back worst, half the best. Figures are of all rows.

        ax : matplotlib Axes or array-like of Axes, default=None
            Where to draw: one, which is divided if several are needed, or as many as are needed. None makes a figure.

        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        display : ReconstructionDisplay

        Raises
        ------
        ValueError
            If `n` is not an int in the range [1, inf).
        """
        _check(cls, estimator, n)
        back = estimator.inverse_transform(np.asarray(estimator.transform(X)))
        if estimator._schema.images is None:
            data, back = (_read_table(estimator, one, is_modelled=True) for one in (X, back))
            display = cls(data=data, reconstruction=back, n_rows=len(data[0].values), n_columns=n)
        else:
            data, back = _read_images(estimator, X), _read_images(estimator, back)
            rows, rmse = _evenly(len(data), n), math.sqrt(np.nanmean((data - back) ** 2))
            common = {"n_rows": len(data), "pixel_range": _pixel_range(estimator), "rmse": rmse}
            display = cls(data=data[rows], reconstruction=back[rows], **common)
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax=None, *, cmap="gray", **kwargs):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of Axes, default=None
            Where to draw. None makes a figure.

        cmap : str or matplotlib Colormap, default="gray"
            Colours of images of one channel.

        **kwargs : dict
            Passed to matplotlib's `imshow` of images, and `scatter` of numbers.

        Returns
        -------
        display : ReconstructionDisplay
            Itself.
        """
        _check_matplotlib(type(self), "plot")
        self.images_: list = []
        self.scatters_: list = []
        self.bars_ = None
        if isinstance(self.data, np.ndarray):
            self._draw_images(ax, cmap, kwargs)
        else:
            self._draw_columns(ax, kwargs)
        return self

    def _draw_images(self, ax, cmap, kwargs):
        shape, n = self.data.shape[1:], len(self.data)
        both = [coloured(one, shape, self.pixel_range, cmap) for one in (self.data, self.reconstruction)]
        tiles = np.stack([in_rows(one, min(n, 10)) for one in both], axis=1)
        mosaic = lay_out(tiles.reshape(-1, *tiles.shape[2:]), gap_between(shape))
        self.figure_, self.axes_ = place_axes(ax, mosaic.inches(beside=1.4, above=0.5))
        [ax] = self.axes_
        self.images_ = [mosaic.draw(ax, kwargs)]
        ax.set_yticks(mosaic.rows, ["data", "reconstruction"] * len(tiles), fontsize="small")
        ax.tick_params(length=0)
        set_title(ax, f"RMSE of a pixel {self.rmse:#.3g}, over {self.n_rows:,} images", notes_on(self.data, shape))

    def _draw_columns(self, ax, kwargs):
        pairs = list(zip(self.data, self.reconstruction, strict=True))
        scored = _ranked((share_explained(*pair), *pair) for pair in pairs if pair[0].kind != "category")
        n_drawn = min(len(scored), self.n_columns)
        numbers = scored[: n_drawn - n_drawn // 2] + scored[len(scored) - n_drawn // 2 :]
        right = _ranked((*share_right(*pair), pair[0].name) for pair in pairs if pair[0].kind == "category")[:MAX_COLUMNS]
        n_axes = max(len(numbers) + bool(right), 1)
        n_wide = n_axes if n_axes <= 4 else 3 if n_axes <= 6 else 4
        n_high = math.ceil(n_axes / n_wide)
        size = max(2.3 * n_wide, 4.5), max(2.7 * n_high, 1.2 + 0.25 * len(right)) + 0.3
        self.figure_, self.axes_ = place_axes(ax, size, (n_high, n_wide), n_axes)
        for one_ax, (score, true, back) in zip(self.axes_, numbers, strict=False):
            self.scatters_.append(draw_pairs(one_ax, true, back, score, kwargs))
        if right:
            self.bars_ = draw_shares_right(self.axes_[-1], *zip(*right, strict=True))
        if ax is None:
            all_of_them = n_drawn == len(scored)
            which = "worst first" if all_of_them else f"the worst and the best of {len(scored)} columns of numbers"
            self.figure_.suptitle(f"Reconstructions of {self.n_rows:,} rows, {which}", fontsize="medium")


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
        _check(cls, estimator, n)
        read = _read_table if estimator._schema.images is None else _read_images
        common = {"draws": read(estimator, estimator.sample(n, random_state=random_state))}
        if X is not None:
            if read is _read_images:
                X = estimator._validate(X)
            X = X if hasattr(X, "shape") else np.asarray(X, dtype=object)
            common |= {"data": read(estimator, _safe_indexing(X, _evenly(len(X), n))), "n_data": len(X)}
        return cls(**common, pixel_range=_pixel_range(estimator)).plot(ax=ax, **kwargs)

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
        _check_matplotlib(type(self), "plot")
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
        return [(rows, n or _n_rows(rows), what) for rows, n, what in parts]

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
        n_lines = 1 + min(MAX_ROWS, _n_rows(self.draws))
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
            set_title(ax, _count_title(_n_rows(shown), n, what), notes)

    @staticmethod
    def _some(columns, n_rows=MAX_ROWS):
        """Few rows of columns."""
        return [column.take(_evenly(len(column.values), min(n_rows, MAX_ROWS))) for column in columns]


class LossCurveDisplay:
    """Losses by epoch: of the autoencoder, on training and held-out rows, and of the generator.

    It is recommended to use `from_estimator` to make one. All parameters are stored as attributes.

    Parameters
    ----------
    loss_curve : array-like of shape (n_epochs,)
        The autoencoder's negative bound on training rows, in nats per row.

    validation_scores : array-like of shape (n_epochs,), default=None
        Its bound on held-out rows, in nats per row.

    best_score : float, default=None
        The bound of the weights that were kept: one of `validation_scores`, or that of the start.

    generator_loss_curve : array-like of shape (n_generator_epochs,), default=None
        The generator's negative log-likelihood on training rows, in nats per row. None or empty: it has no picture.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        The losses: on training rows, on held-out rows if there are any, and of the generator if it has any.

    best_ : matplotlib Line2D or None
        The epoch whose weights were kept.

    axes_ : ndarray of matplotlib Axes of shape (1,) or (2,)
        Of the autoencoder, and of the generator if it has losses.

    figure_ : matplotlib Figure
        Their figure.

    See Also
    --------
    LossCurveDisplay.from_estimator : Make one of a fitted estimator.
    sklearn.model_selection.LearningCurveDisplay : Scores by number of training rows.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skvae import LossCurveDisplay, VAETransformer
    >>> vae = VAETransformer(max_iter=5, random_state=0).fit(load_digits().images)
    >>> LossCurveDisplay.from_estimator(vae).axes_[0].get_ylabel()
    'loss (nats per row)'
    """

    def __init__(self, *, loss_curve, validation_scores=None, best_score=None, generator_loss_curve=None):
        self.loss_curve = loss_curve
        self.validation_scores = validation_scores
        self.best_score = best_score
        self.generator_loss_curve = generator_loss_curve

    @classmethod
    def from_estimator(cls, estimator, *, ax=None, **kwargs):
        """Draw the losses of a fit.

        Parameters
        ----------
        estimator : VAETransformer
            Fitted.

        ax : matplotlib Axes or array-like of Axes, default=None
            Where to draw: one, which is divided if the generator has losses, or as many as are needed. None makes a figure.

        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        display : LossCurveDisplay

        Raises
        ------
        TypeError
            If `estimator` is no VAETransformer.
        """
        _check(cls, estimator)
        display = cls(
            loss_curve=estimator.loss_curve_,
            validation_scores=estimator.validation_scores_,
            best_score=estimator.best_validation_score_,
            generator_loss_curve=estimator.generator_loss_curve_,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of Axes, default=None
            Where to draw. None makes a figure.

        **kwargs : dict
            Passed to matplotlib's `plot`.

        Returns
        -------
        display : LossCurveDisplay
            Itself.
        """
        _check_matplotlib(type(self), "plot")
        generator = [] if self.generator_loss_curve is None else self.generator_loss_curve
        n_axes = 2 if len(generator) else 1
        self.figure_, self.axes_ = place_axes(ax, (4.6 * n_axes, 3.4), (1, n_axes))
        self.lines_ = [draw_losses(self.axes_[0], self.loss_curve, "training rows", "tab:blue", kwargs)]
        self.best_ = None
        if self.validation_scores is not None and len(self.validation_scores):
            losses = -np.asarray(self.validation_scores)
            self.lines_.append(draw_losses(self.axes_[0], losses, "held-out rows", "tab:orange", kwargs))
            self.best_ = self._mark_best(losses)
        if n_axes == 2:
            self.lines_.append(draw_losses(self.axes_[1], generator, "training rows", "tab:blue", kwargs))
        for ax, name in zip(self.axes_, ("Autoencoder", "Generator"), strict=False):
            set_title(ax, name)
            ax.set(xlabel="epoch", ylabel="loss (nats per row)")
            ax.xaxis.get_major_locator().set_params(integer=True)
            ax.legend(frameon=False, fontsize="small")
        return self

    def _mark_best(self, losses):
        """A dot at the epoch whose weights were kept: 0 where training made none better than the start."""
        epoch, loss = int(np.argmin(losses)) + 1, float(losses.min())
        if self.best_score is not None and -self.best_score < loss - 1e-9 * abs(loss):
            epoch, loss = 0, -self.best_score
        label = f"kept: epoch {epoch} ({loss:.2f})" if epoch else f"kept: the start ({loss:.2f})"
        [dot] = self.axes_[0].plot(epoch, loss, "o", color="black", markersize=5, label=label, zorder=3)
        return dot


# --- what is asked for -----------------------------------------------------------------------------------------------


def _check(cls, estimator, n=1):
    """Refuse what no display is made of; n : of rows, steps or images."""
    _check_matplotlib(cls, "from_estimator")
    if not isinstance(estimator, VAETransformer):
        raise TypeError(
            f"estimator must be a fitted VAETransformer. Got {type(estimator).__name__} instead: of a pipeline, give its "
            "last step, and X as the steps before transform it."
        )
    check_is_fitted(estimator)
    if not isinstance(n, Integral) or isinstance(n, bool) or n < 1:
        raise ValueError(f"n must be an int in the range [1, inf). Got {n!r} instead.")


def _check_matplotlib(cls, method):
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        message = f'{cls.__name__}.{method} requires matplotlib. Install it with `pip install "skvae[plot]"`.'
        raise ImportError(message) from error


def _check_latents(latents, estimator, most=None):
    """Places of latents as a list, by default of the first.

    most : how many a picture has room for. None: for all of them, of which the default are those that tell anything.
    """
    latent_dim = estimator._n_features_out
    if latents is None:
        n_telling = int((estimator.explained_information_ > LEAST_INFORMATION).sum())
        return list(range(min(max(n_telling, 1), MAX_LATENTS) if most is None else min(latent_dim, most)))
    chosen: list[Any] = [latents] if isinstance(latents, Integral) else list(latents)
    wrong = [k for k in chosen if not isinstance(k, Integral) or isinstance(k, bool) or int(k) not in range(latent_dim)]
    if wrong or not chosen or len(set(chosen)) < len(chosen) or len(chosen) > (most or latent_dim):
        number = "one or two different ints" if most == 2 else "different ints"
        raise ValueError(f"latents must hold {number} in the range [0, {latent_dim}). Got {latents!r} instead.")
    return [int(k) for k in chosen]


def _one_row(estimator, X):
    """X as a table of one row."""
    shape = estimator._schema.row_shape
    is_series = getattr(X, "ndim", 2) == 1 and hasattr(X, "index")
    if not hasattr(X, "columns") and not is_series:
        X = X if hasattr(X, "shape") else np.asarray(X)
        if X.ndim == 1 or X.shape == shape:
            X = X[None]
    n_rows = len(X) if is_series else X.shape[0]
    if is_series or n_rows != 1:
        got = "a Series" if is_series else f"{n_rows} rows"
        raise ValueError(f"X must hold one row, such as X[:1]. Got {got} instead.")
    return X


# --- latents ---------------------------------------------------------------------------------------------------------


def _latent_labels(estimator, chosen):
    return [f"latent {k} ({estimator.explained_information_[k]:.1f} nats)" for k in chosen]


def _shares(n):
    """The middles of n equal shares of a distribution: (n,)."""
    return (np.arange(n) + 0.5) / n


def _centre(estimator, draws):
    """Where latents stay that are not moved: at the prior's median, (latent_dim,)."""
    return np.zeros(draws.shape[1]) if estimator.prior_ == "normal" else np.median(draws, axis=0)


def _value_texts(values):
    """Values of a latent (n,), with the digits that tell neighbours apart."""
    digits = max(1, math.ceil(-math.log10(max(np.abs(values).max(), 1e-6)) + 1))
    return [f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}") for value in values.round(digits) + 0.0]


# --- rows ------------------------------------------------------------------------------------------------------------


def _read_table(estimator, X, is_modelled=False):
    """A list of Column; is_modelled : only of those that do not name rows."""
    table, places = estimator._schema.table
    if not places:
        raise ValueError("X must hold images, or columns of a table. Got rows that hold neither.")
    if not hasattr(X, "columns"):
        X = np.asarray(X) if not hasattr(X, "shape") else X
        return read_columns(X, table.categorical, estimator.ignored_features_ if is_modelled else ())
    own = X.iloc[:, places] if hasattr(X, "iloc") else X[:, places]
    return read_columns(own, table.categorical, estimator.ignored_features_ if is_modelled else ())


def _read_images(estimator, X):
    """Images as floats (n, *image shape), NaN where a pixel is missing."""
    return estimator._schema.dense_images(
        X if hasattr(X, "columns") and estimator._schema.names is not None else np.asarray(X)
    )


def _pixel_range(estimator):
    """The values that are drawn black and white, by those that fit saw; None of a table."""
    images = estimator._schema.images
    return None if images is None else pixel_range_of(images.row_shape, float(images.lower), float(images.upper))


def _n_rows(rows):
    """Of images or of a list of Column."""
    return len(rows) if isinstance(rows, np.ndarray) else len(rows[0].values)


def _evenly(n_rows, n):
    """Places of at most n rows, evenly spaced."""
    return np.linspace(0, n_rows - 1, min(n, n_rows)).round().astype(int)


def _ranked(scored):
    """Tuples by their first place, from the least on, without those that have NaN there."""
    return sorted((one for one in scored if not np.isnan(one[0])), key=itemgetter(0))


def _cell_texts(columns):
    """The name and the cells of each Column, short enough to stand beside each other."""
    return [[short(column.name, 18), *(short(text, 22) for text in column.texts())] for column in columns]


def _count_title(n_shown, n, what):
    return f"{n_shown:,} {what}" if n_shown == n else f"{n_shown:,} of {n:,} {what}"
