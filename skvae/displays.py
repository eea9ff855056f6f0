"""Pictures of a fitted `VAETransformer`, one class each, after scikit-learn's displays.

`from_estimator` computes, `__init__` stores plain data, `plot` draws. matplotlib is imported inside functions only.
"""

import math
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import _safe_indexing, check_consistent_length
from sklearn.utils.validation import check_is_fitted

from skvae.containers import as_frame, plain, read_cells
from skvae.estimator import VAETransformer
from skvae.plotting import short

N_DRAWS = 20_000  # of latents, by which a picture knows the prior; unmeasured
MASSES = (0.99, 0.9, 0.5)  # of the prior, within its three shades
SHADES = ("0.94", "0.87", "0.78")
# ten colours that differ from each other and from the greys of missing cells and of the prior
COLOURS = ("#3f90da", "#ffa90e", "#bd1f01", "#2ca02c", "#832db6", "#a96b59", "#17becf", "#e377c2", "#b5bd22", "#1a1a1a")
OTHER, MISSING, MISSING_PIXEL = "0.45", "0.7", "#e05fa8"
CHANNELS = (1, 3, 4)  # grey, colour, and colour with opacity
MAX_LATENTS, MAX_COLUMNS = 8, 12  # that a traversal shows unless it is told
QUANTILE = "quantile of the latent under the prior"
FARTHEST = 2.5  # standard deviations that have a colour of their own; another category counts as much
LEAST_INFORMATION = 0.05  # nats, below which a latent moves nothing that is seen
MAX_ROWS = 10  # of a table that is drawn
INCHES_A_CHARACTER, INCHES_A_LINE = 0.085, 0.26  # of a drawn table
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
    levels: list

    def take(self, rows: Any) -> "Column":
        return self._replace(values=self.values[rows])

    def texts(self, missing: str = "missing", brief: bool = False) -> list[str]:
        """Its cells as a table shows them: (n,); brief : with fewer digits, and no time of day beside a date."""
        seen = self.values[~np.isnan(self.values)]
        if self.kind == "category":
            written = iter([self.levels[int(place)] for place in seen])
        else:
            written = iter(WRITERS[self.kind](seen, brief))
        return [missing if gone else next(written) for gone in np.isnan(self.values)]


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
        _check_matplotlib(f"{cls.__name__}.from_estimator")
        _check_estimator(estimator)
        chosen = _check_latents(latents, estimator, most=2)
        column = None if y is None else _read_y(y)
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
        _check_matplotlib(f"{type(self).__name__}.plot")
        self.figure_, [self.ax_] = _place_axes(ax, 1, (1, 1), (6.0, 4.4))
        self.density_: Any = None
        self.scatter_: Any = None
        self.colorbar_: Any = None
        self.bars_: list = []
        paint = _paint(self.y, len(self.latents), cmap)
        draw = self._draw_plane if self.latents.shape[1] == 2 else self._draw_line
        draw(paint, kwargs)
        self.ax_.set(xlabel=self.labels[0], ylabel=self.labels[1] if len(self.labels) == 2 else "density of rows")
        if paint.mappable is not None:
            self.colorbar_ = self.ax_.figure.colorbar(paint.mappable, ax=self.ax_, extend=paint.extend)
            self._label_colorbar()
        self.legend_ = self._draw_legend(paint.entries)
        return self

    def _draw_plane(self, paint, kwargs):
        from matplotlib.collections import Collection

        self.density_ = _draw_density(self.ax_, self.prior_draws)
        order = np.random.default_rng(_seed(self.random_state)).permutation(len(self.latents))
        order = order[np.argsort(~paint.missing[order], kind="stable")]  # rows without a value lie below
        size = float(np.clip(2e4 / max(len(order), 1), 3, 22))
        style = {"s": size, "linewidth": 0, "alpha": 0.85, "facecolor": paint.colours[order]}
        self.scatter_ = self.ax_.scatter(*self.latents[order].T, **_style(Collection, style, kwargs))
        nearly_all = np.quantile(self.prior_draws, [0.001, 0.999], axis=0)
        xlim, ylim = map(_limits, np.concatenate([self.latents, nearly_all]).T)
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
            style = _style(Patch, style, kwargs)
            self.bars_.append(self.ax_.bar(edges[:-1], heights, bottom=bottom, **style))
            bottom += heights
        self.density_ = _draw_density_1d(self.ax_, draws)

    def _draw_legend(self, entries):
        """The colours' names on the right, or above where there is nothing but the prior and missing values."""
        from matplotlib.patches import Patch

        prior = "prior" if self.latents.shape[1] == 1 else "prior (50, 90, 99 % of draws)"
        handles = [_legend_dot(colour, name) for name, colour in entries]
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
        _check_matplotlib(f"{cls.__name__}.from_estimator")
        _check_estimator(estimator)
        _check_count(n, "n")
        if estimator._schema.row_shape is None:
            raise ValueError(
                f"{cls.__name__} draws images, but {type(estimator).__name__} was fitted to a table. Use TraversalDisplay "
                "instead, or image_shape= if X holds flat images."
            )
        chosen = _check_latents(latents, estimator, most=2)
        draws = estimator.sample_latents(N_DRAWS, random_state=random_state)
        values = [_quantiles(draws[:, k], n) for k in chosen]
        Z = np.tile(_centre(estimator, draws), (n ** len(chosen), 1))
        for k, column in zip(chosen, np.meshgrid(values[0], *(one[::-1] for one in values[1:])), strict=True):
            Z[:, k] = column.ravel()
        images = _as_images(estimator, estimator.inverse_transform(Z)).reshape(-1, n, *estimator._schema.row_shape)
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
        _check_matplotlib(f"{type(self).__name__}.plot")
        shape = self.images.shape[2:]
        mosaic = _mosaic(_coloured(self.images, shape, self.pixel_range, cmap), 1)
        self.figure_, [self.ax_] = _place_axes(ax, 1, (1, 1), _mosaic_inches(mosaic))
        self.image_ = _show(self.ax_, mosaic, kwargs)
        self.ax_.set(xlabel=self.labels[0], ylabel=self.labels[1] if len(self.labels) == 2 else "")
        rows, columns = _tile_centres(mosaic, self.images.shape[:2], 1)
        _tick_some(self.ax_.xaxis, columns, _value_texts(self.values[0]))
        if len(self.values) == 2:
            _tick_some(self.ax_.yaxis, rows, _value_texts(self.values[1][::-1]))
        _set_title(self.ax_, "What latents decode to", _notes(self.images, shape))
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
        _check_matplotlib(f"{cls.__name__}.from_estimator")
        _check_estimator(estimator)
        _check_count(n, "n")
        chosen = _telling(estimator) if latents is None else _check_latents(latents, estimator)
        draws = estimator.sample_latents(N_DRAWS, random_state=random_state)
        start = _centre(estimator, draws) if X is None else np.asarray(estimator.transform(_one_row(estimator, X)))[0]
        steps = ["start"] * (X is not None) + [f"{100 * share:.0f} %" for share in _shares(n)]
        Z = np.tile(start, (len(chosen), len(steps), 1))
        for moved, k in zip(Z, chosen, strict=True):
            moved[-n:, k] = _quantiles(draws[:, k], n)
        decoded = estimator.inverse_transform(Z.reshape(-1, Z.shape[-1]))
        common = {"steps": steps, "labels": _latent_labels(estimator, chosen)}
        if estimator._schema.row_shape is not None:
            images = _as_images(estimator, decoded).reshape(len(chosen), len(steps), *estimator._schema.row_shape)
            display = cls(decoded=images, pixel_range=_pixel_range(estimator), **common)
        else:
            display = cls(**cls._compare(estimator, decoded, start, draws), **common)
        return display.plot(ax=ax, **kwargs)

    @staticmethod
    def _compare(estimator, decoded, start, draws):
        """The columns that change most, and how far from the start."""
        tables = decoded, estimator.inverse_transform(start[None]), estimator.inverse_transform(draws[:1000])
        columns, *others = (_read_columns(estimator, table, is_modelled=True) for table in tables)
        changes = np.array([_changes(*three) for three in zip(columns, *others, strict=True)])
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
        _check_matplotlib(f"{type(self).__name__}.plot")
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
        mosaic = _mosaic(_coloured(self.decoded, shape, self.pixel_range, cmap), gap := _gap(shape))
        self.figure_, self.axes_ = _place_axes(ax, 1, (1, 1), _mosaic_inches(mosaic, 2.2))
        [ax] = self.axes_
        self.images_ = [_show(ax, mosaic, kwargs)]
        rows, columns = _tile_centres(mosaic, self.decoded.shape[:2], gap)
        _tick_some(ax.xaxis, columns, self.steps, most=12)
        ax.set_yticks(rows, self.labels, fontsize="small")
        ax.tick_params(length=0)
        ax.set_xlabel(QUANTILE, fontsize="small")
        _set_title(ax, "Each row moves one latent, the others stay", _notes(self.decoded, shape))

    def _draw_tables(self, ax, cmap, kwargs):
        n_latents, n = len(self.labels), len(self.steps)
        texts = [[short(text, 12) for text in column.texts("–", brief=True)] for column in self.decoded]
        grid = np.array(texts, dtype=object).reshape(-1, n_latents, n)
        widest = max(map(len, grid.ravel()))
        size = 2.6 + n * max(0.45, 0.075 * widest), 0.7 + n_latents * (0.6 + 0.24 * len(grid))
        self.figure_, self.axes_ = _place_axes(ax, n_latents, (n_latents, 1), size)
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
        _check_matplotlib(f"{cls.__name__}.from_estimator")
        _check_estimator(estimator)
        _check_count(n, "n")
        back = estimator.inverse_transform(np.asarray(estimator.transform(X)))
        if estimator._schema.row_shape is None:
            data, back = (_read_columns(estimator, one, is_modelled=True) for one in (X, back))
            display = cls(data=data, reconstruction=back, n_rows=len(data[0].values), n_columns=n)
        else:
            data, back = _as_images(estimator, X), _as_images(estimator, back)
            rmse = math.sqrt(np.nanmean((data - back) ** 2))
            rows = _evenly(len(data), n)
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
        _check_matplotlib(f"{type(self).__name__}.plot")
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
        n_wide = min(n, 10)
        n_high, gap = math.ceil(n / n_wide), _gap(shape)
        both = [_grid(_coloured(one, shape, self.pixel_range, cmap), n_wide) for one in (self.data, self.reconstruction)]
        tiles = np.stack(both, axis=1).reshape(2 * n_high, n_wide, *both[0].shape[2:])
        mosaic = _mosaic(tiles, gap)
        self.figure_, self.axes_ = _place_axes(ax, 1, (1, 1), _mosaic_inches(mosaic, 1.4, 0.5))
        [ax] = self.axes_
        self.images_ = [_show(ax, mosaic, kwargs)]
        rows, _ = _tile_centres(mosaic, tiles.shape[:2], gap)
        ax.set_yticks(rows, ["data", "reconstruction"] * n_high, fontsize="small")
        ax.tick_params(length=0)
        _set_title(ax, f"RMSE of a pixel {self.rmse:#.3g}, over {self.n_rows:,} images", _notes(self.data, shape))

    def _draw_columns(self, ax, kwargs):
        pairs = list(zip(self.data, self.reconstruction, strict=True))
        scored = [(_share_explained(*pair), *pair) for pair in pairs if pair[0].kind != "category"]
        scored = [one for one in scored if not np.isnan(one[0])]
        numbers = _extremes(scored, self.n_columns)
        right = [(*_share_right(*pair), pair[0]) for pair in pairs if pair[0].kind == "category"]
        right = sorted((one for one in right if not np.isnan(one[0])), key=lambda one: one[0])[:MAX_COLUMNS]
        n_axes = max(len(numbers) + bool(right), 1)
        n_wide = n_axes if n_axes <= 4 else 3 if n_axes <= 6 else 4
        n_high = math.ceil(n_axes / n_wide)
        size = max(2.3 * n_wide, 4.5), max(2.7 * n_high, 1.2 + 0.25 * len(right)) + 0.3
        self.figure_, self.axes_ = _place_axes(ax, n_axes, (n_high, n_wide), size)
        for one_ax, (score, *pair) in zip(self.axes_, numbers, strict=False):
            self.scatters_.append(_draw_pairs(one_ax, score, pair, kwargs))
        if right:
            self.bars_ = _draw_right(self.axes_[-1], *zip(*right, strict=True))
        if ax is None:
            some = (
                f"the worst and the best of {len(scored)} columns of numbers"
                if len(numbers) < len(scored)
                else "worst first"
            )
            self.figure_.suptitle(f"Reconstructions of {self.n_rows:,} rows, {some}", fontsize="medium")


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
        _check_matplotlib(f"{cls.__name__}.from_estimator")
        _check_estimator(estimator)
        _check_count(n, "n")
        draws = estimator.sample(n, random_state=random_state)
        is_table = estimator._schema.row_shape is None
        read, pixel_range = (_read_columns if is_table else _as_images), None if is_table else _pixel_range(estimator)
        if X is None:
            return cls(draws=read(estimator, draws), pixel_range=pixel_range).plot(ax=ax, **kwargs)
        X = X if hasattr(X, "shape") else np.asarray(X, dtype=object)
        rows = read(estimator, _safe_indexing(X, _evenly(len(X), n)))
        return cls(draws=read(estimator, draws), data=rows, pixel_range=pixel_range, n_data=len(X)).plot(ax=ax, **kwargs)

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
        _check_matplotlib(f"{type(self).__name__}.plot")
        self.images_: list = []
        self.tables_: list = []
        if isinstance(self.draws, np.ndarray):
            self._draw_images(ax, cmap, kwargs)
        else:
            self._draw_tables(ax, kwargs)
        return self

    def _parts(self):
        """Data, if there are any, and draws; and what each is called."""
        draws, n = self.draws, _n_rows(self.draws)
        if self.data is None:
            return [(draws, n, "draws")]
        return [(self.data, self.n_data or _n_rows(self.data), "rows of data"), (draws, n, "draws")]

    def _draw_images(self, ax, cmap, kwargs):
        parts, shape = self._parts(), self.draws.shape[1:]
        n_wide = math.ceil(math.sqrt(max(len(images) for images, *_ in parts)))
        colours = [_grid(_coloured(images, shape, self.pixel_range, cmap), n_wide) for images, *_ in parts]
        mosaics = [_mosaic(one, _gap(shape)) for one in colours]
        width, height = _mosaic_inches(mosaics[-1], widest=4.5 if len(parts) == 2 else 5.5)
        self.figure_, self.axes_ = _place_axes(ax, len(parts), (1, len(parts)), (len(parts) * width, height))
        for ax, mosaic, (images, n, what) in zip(self.axes_, mosaics, parts, strict=True):
            self.images_.append(_show(ax, mosaic, kwargs))
            ax.set(xticks=[], yticks=[])
            _set_title(ax, _count_title(len(images), n, what), _notes(images, shape))

    def _draw_tables(self, ax, kwargs):
        parts = self._parts()
        widths = np.max([[max(map(len, cells)) + 2 for cells in _cell_texts(self._some(one))] for one, *_ in parts], axis=0)
        wanted = widths.cumsum() * INCHES_A_CHARACTER
        n_lines = 1 + min(MAX_ROWS, _n_rows(self.draws))
        size = min(max(wanted[-1], 2.0), 10.0), len(parts) * (INCHES_A_LINE * n_lines + 0.45)
        self.figure_, self.axes_ = _place_axes(ax, len(parts), (len(parts), 1), size)
        wide, high = size if ax is None else _inches(self.axes_[0])
        n_fit = max(int((wanted <= wide + 1e-6).sum()), 1)
        n_rows = max(int(high / 0.2) - 1, 1)
        more = len(widths) - n_fit
        for ax, (columns, n, what) in zip(self.axes_, parts, strict=True):
            shown = self._some(columns[:n_fit], n_rows)
            self.tables_.append(_draw_cells(ax, _cell_texts(shown), shown, widths[:n_fit], kwargs))
            notes = [f"{more} more columns are not shown"] if more else []
            _set_title(ax, _count_title(len(shown[0].values), n, what), notes)

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
        """
        _check_matplotlib(f"{cls.__name__}.from_estimator")
        _check_estimator(estimator)
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
        _check_matplotlib(f"{type(self).__name__}.plot")
        generator = [] if self.generator_loss_curve is None else self.generator_loss_curve
        n_axes = 2 if len(generator) else 1
        self.figure_, self.axes_ = _place_axes(ax, n_axes, (1, n_axes), (4.6 * n_axes, 3.4))
        self.lines_ = [_draw_losses(self.axes_[0], self.loss_curve, "training rows", "tab:blue", kwargs)]
        self.best_ = None
        if self.validation_scores is not None and len(self.validation_scores):
            losses = -np.asarray(self.validation_scores)
            self.lines_.append(_draw_losses(self.axes_[0], losses, "held-out rows", "tab:orange", kwargs))
            self.best_ = self._mark_best(losses)
        if n_axes == 2:
            self.lines_.append(_draw_losses(self.axes_[1], generator, "training rows", "tab:blue", kwargs))
        for ax, name in zip(self.axes_, ("Autoencoder", "Generator"), strict=False):
            _set_title(ax, name)
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


def _check_matplotlib(caller):
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(f'{caller} requires matplotlib. Install it with `pip install "skvae[plot]"`.') from error


def _check_estimator(estimator):
    if not isinstance(estimator, VAETransformer):
        raise TypeError(
            f"estimator must be a fitted VAETransformer. Got {type(estimator).__name__} instead: of a pipeline, give its "
            "last step, and X as the steps before transform it."
        )
    check_is_fitted(estimator)


def _check_count(value, name):
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be an int in the range [1, inf). Got {value!r} instead.")


def _check_latents(latents, estimator, most=None):
    """Places of latents as a list. most : how many a picture has room for."""
    latent_dim = estimator._n_features_out
    if latents is None:
        return list(range(min(latent_dim, most)))
    chosen: list[Any] = [latents] if isinstance(latents, Integral) else list(latents)
    wrong = [k for k in chosen if not isinstance(k, Integral) or isinstance(k, bool) or int(k) not in range(latent_dim)]
    if wrong or not chosen or len(set(chosen)) < len(chosen) or len(chosen) > (most or latent_dim):
        number = "one or two different ints" if most == 2 else "different ints"
        raise ValueError(f"latents must hold {number} in the range [0, {latent_dim}). Got {latents!r} instead.")
    return [int(k) for k in chosen]


def _telling(estimator):
    """The first latents that tell anything, at least one."""
    n_telling = int((estimator.explained_information_ > LEAST_INFORMATION).sum())
    return list(range(min(max(n_telling, 1), MAX_LATENTS)))


def _one_row(estimator, X):
    """X as a table of one row."""
    shape = estimator._schema.row_shape
    is_series = getattr(X, "ndim", 2) == 1 and hasattr(X, "index")
    if not hasattr(X, "columns") and not is_series:
        X = np.asarray(X)
        if X.ndim == 1 or X.shape == shape:
            X = X[None]
    if is_series or len(X) != 1:
        got = "a Series" if is_series else f"{len(X)} rows"
        raise ValueError(f"X must hold one row, such as X[:1]. Got {got} instead.")
    return X


def _seed(random_state):
    """What a generator of numpy takes, from what scikit-learn takes."""
    return random_state.randint(2**31) if isinstance(random_state, np.random.RandomState) else random_state


def _evenly(n_rows, n):
    """Places of at most n rows, evenly spaced."""
    return np.linspace(0, n_rows - 1, min(n, n_rows)).round().astype(int)


# --- latents ---------------------------------------------------------------------------------------------------------


def _latent_labels(estimator, chosen):
    return [f"latent {k} ({estimator.explained_information_[k]:.1f} nats)" for k in chosen]


def _shares(n):
    """The middles of n equal shares of a distribution: (n,)."""
    return (np.arange(n) + 0.5) / n


def _quantiles(draws, n):
    return np.quantile(draws, _shares(n))


def _centre(estimator, draws):
    """Where latents stay that are not moved: at the prior's median, (latent_dim,)."""
    return np.zeros(draws.shape[1]) if estimator.prior_ == "normal" else np.median(draws, axis=0)


def _smoothed(draws, n_bins):
    """The density of draws (n, d) on a grid: its values (n_bins,) * d, and the centres of bins of each axis."""
    from scipy.ndimage import gaussian_filter

    spread = np.maximum(draws.std(axis=0), 1e-9)
    bandwidth = 0.7 * spread * len(draws) ** (-1 / (4 + draws.shape[1]))  # below Scott's: parts of a mixture are narrow
    least, most = draws.min(axis=0) - 4 * bandwidth, draws.max(axis=0) + 4 * bandwidth
    density, edges = np.histogramdd(draws, n_bins, list(zip(least, most, strict=True)), density=True)
    density = gaussian_filter(density, bandwidth * n_bins / (most - least), mode="constant")
    return density, [(one[1:] + one[:-1]) / 2 for one in edges]


def _draw_density(ax, draws):
    """Shades within which shares of draws (n, 2) lie; nothing where the draws are all the same."""
    if not draws.std(axis=0).all():
        return None
    density, (x, y) = _smoothed(draws, 150)
    falling = np.sort(density, axis=None)[::-1]
    mass = falling.cumsum() / falling.sum()
    least = falling[np.searchsorted(mass, MASSES).clip(max=len(falling) - 1)]
    levels = np.unique([*least, falling[0] * (1 + 1e-9)])
    return ax.contourf(x, y, density.T, levels, colors=SHADES[-len(levels) + 1 :], zorder=0)


def _draw_density_1d(ax, draws):
    density, [x] = _smoothed(draws[:, None], 300)
    return ax.fill_between(x, density, facecolor=SHADES[-1], edgecolor="0.4", linewidth=1.2, zorder=0)


# --- columns ---------------------------------------------------------------------------------------------------------


def _read_columns(estimator, X, is_modelled=False):
    """The columns of a table as a list of Column; is_modelled : only those that do not name rows."""
    [table] = estimator._schema.parts.values()
    X = X if hasattr(X, "shape") else np.asarray(X, dtype=object)
    ignored = set(estimator.ignored_features_) if is_modelled else ()
    kept = [series for series in as_frame(X).iter_columns() if series.name not in ignored]
    return [_read_column(series, series.name in table.categorical) for series in kept]


def _read_column(series, is_nominal=False):
    found, cells = read_cells(series)
    if found.kind not in KINDS or is_nominal:
        return _category(series.name, cells, found.levels)
    values = np.where(cells.missing, np.nan, cells.values).astype(float)
    kind = KINDS[found.kind]
    unit = SECONDS[found.unit] if found.is_time else 1.0
    return Column(series.name, kind, values * (unit / DAY if kind == "date" else unit), [])


def _category(name, cells, order=None):
    """A column of categories, those that occur, in the order of the dtype, else sorted."""
    there = list(set(cells.values[~cells.missing].tolist()))
    try:
        levels = [one for one in order if one in set(there)] if order is not None else sorted(there)
    except TypeError:  # strings beside numbers
        levels = sorted(there, key=str)
    places = {level: at for at, level in enumerate(levels)}
    values = [np.nan if gone else places[value] for value, gone in zip(cells.values.tolist(), cells.missing, strict=True)]
    return Column(name, "category", np.array(values, dtype=float), [_level_text(plain(level)) for level in levels])


def _level_text(level):
    return str(int(level)) if isinstance(level, float) and level.is_integer() else str(level)


def _read_y(y):
    """What colours rows, as a Column; few whole numbers are categories."""
    if hasattr(y, "to_frame"):
        y = y.to_frame("y" if y.name in (None, "") else y.name)
    elif not hasattr(y, "columns"):
        array = y if hasattr(y, "dtype") else np.fromiter(y, dtype=object, count=len(y))
        y = np.reshape(array, (len(array), -1))
    if y.shape[1] != 1:
        raise ValueError(f"y must have one column. Got an array of shape {tuple(y.shape)} instead.")
    name = "y" if isinstance(y, np.ndarray) else y.columns[0]
    [series] = as_frame(y).iter_columns()
    column = _read_column(series)._replace(name=name)
    if np.isinf(column.values).any():
        raise ValueError("Input y contains infinity.")
    values = np.unique(column.values[~np.isnan(column.values)])
    if column.kind != "number" or len(values) > len(COLOURS) or (values != values.round()).any():
        return column
    codes = np.where(np.isnan(column.values), np.nan, np.searchsorted(values, column.values))
    return Column(name, "category", codes, [f"{value:.0f}" for value in values])


def _write_numbers(values, brief):
    """Numbers (n,) as texts, all with as many decimals as the one that needs most, up to 6 digits (4 if brief)."""
    largest = float(np.abs(values).max(initial=0.0))
    if largest and not 1e-3 <= largest < 1e12:
        return [f"{value:.3g}" for value in values]
    order = math.floor(math.log10(largest or 1.0))
    most = max(0, 3 - order) if brief else max(2, 5 - order)  # prices keep their cents
    needed = (k for k in range(most) if np.abs(values - values.round(k)).max(initial=0.0) <= 1e-7 * largest)
    decimals = next(needed, most)
    return [f"{value:.{decimals}f}" for value in values.round(decimals) + 0.0]


def _write_dates(values, brief):
    """Days from 1970-01-01 (n,) as texts, all to the day, the minute or the second."""
    texts = [str(np.datetime64(round(value * DAY), "s")).replace("T", " ") for value in values]
    if all(text.endswith("00:00:00") for text in texts) or (brief and np.ptp(values) > 2):
        return [text[:10] for text in texts]
    if brief:
        return [text[5:16] for text in texts]
    return [text[:-3] for text in texts] if all(text.endswith(":00") for text in texts) else texts


def _write_durations(values, brief):
    return [_write_duration(value) for value in values]


def _write_duration(value):
    days, seconds = divmod(round(abs(value)), int(DAY))
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return ("-" if value < 0 else "") + (f"{days} d " if days else "") + clock


# how values of a kind are written: of those (k,) of a column, and whether briefly, texts
WRITERS = {"number": _write_numbers, "date": _write_dates, "duration": _write_durations}


def _n_rows(rows):
    """Of images or of a list of Column."""
    return len(rows) if isinstance(rows, np.ndarray) else len(rows[0].values)


def _changes(column, start, typical):
    """How far cells are from the start's: (n,). column, start (of one row), typical : Column."""
    if column.kind == "category":
        [first] = start.texts()
        return np.array([0.0 if text == first else np.nan for text in column.texts()])
    spread = np.nanstd(typical.values) if (~np.isnan(typical.values)).any() else 0.0
    if np.isnan(start.values[0]):
        return np.where(np.isnan(column.values), 0.0, np.nan)
    return (column.values - start.values[0]) / (spread or 1.0)


def _share_explained(true, back):
    """R² of numbers where both are there, NaN where they do not vary."""
    seen = ~np.isnan(true.values) & ~np.isnan(back.values)
    values, errors = true.values[seen], (true.values - back.values)[seen]
    return 1 - np.mean(errors**2) / np.var(values) if seen.any() and np.var(values) > 0 else np.nan


def _share_right(true, back):
    """The share of cells that come back right, and the one that the most frequent category has."""
    pairs = [(a, b) for a, b in zip(true.texts(""), back.texts(""), strict=True) if a]
    if not pairs:
        return np.nan, np.nan
    counts = np.unique([a for a, _ in pairs], return_counts=True)[1]
    return float(np.mean([a == b for a, b in pairs])), float(counts.max() / counts.sum())


def _extremes(scored, n):
    """At most n tuples, the worst and the best by their first place, in that order."""
    scored = sorted(scored, key=lambda one: one[0])
    return scored if len(scored) <= n else scored[: math.ceil(n / 2)] + scored[len(scored) - n // 2 :]


# --- colours of rows -------------------------------------------------------------------------------------------------


class Paint(NamedTuple):
    """Colours of rows.

    colours : (n, 4); missing : (n,) bool, rows without a value; groups : (n,) int, places among `entries`, or None of
    numbers; numbers : (n,); entries : list of (name, colour), of a legend; mappable : ScalarMappable of numbers, or None;
    extend : str, the ends of its colour bar beyond which there are numbers.
    """

    colours: np.ndarray
    missing: np.ndarray
    groups: np.ndarray | None
    numbers: np.ndarray
    entries: list
    mappable: Any = None
    extend: str = "neither"

    def layers(self, bins, n_bins):
        """Rows of each group and its colour; or all rows, and for each bin the colour of the mean number of its rows."""
        if self.groups is not None:
            return [(self.groups == at, colour) for at, (_, colour) in enumerate(self.entries)]
        seen = ~self.missing
        counts = np.bincount(bins[seen], minlength=n_bins)
        means = np.bincount(bins[seen], self.numbers[seen], n_bins) / np.maximum(counts, 1)
        colours = self.mappable.to_rgba(means)
        colours[counts == 0] = _rgba(MISSING)
        return [(np.ones(len(bins), bool), colours)]


def _rgba(colour):
    from matplotlib.colors import to_rgba

    return np.array(to_rgba(colour))


def _paint(y, n_rows, cmap):
    """How rows are coloured by a Column, or by nothing."""
    if y is None:
        entries = [("rows", COLOURS[0])]
        nothing = np.zeros(n_rows, int)
        return Paint(np.tile(_rgba(COLOURS[0]), (n_rows, 1)), nothing.astype(bool), nothing, nothing, entries)
    missing = np.isnan(y.values)
    if y.kind == "category":
        groups, entries = _groups(y, missing)
        return Paint(np.array([_rgba(colour) for _, colour in entries])[groups], missing, groups, y.values, entries)
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    seen = y.values[~missing]
    least, most = np.quantile(seen, [0.01, 0.99]) if len(seen) else (0.0, 1.0)
    if least == most:
        least, most = (seen.min(), seen.max()) if len(seen) else (0.0, 1.0)
    mappable = ScalarMappable(Normalize(least, most), cmap)
    colours = mappable.to_rgba(y.values)
    colours[missing] = _rgba(MISSING)
    below, above = (seen < least).any(), (seen > most).any()
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get((bool(below), bool(above)), "neither")
    return Paint(colours, missing, None, y.values, [("missing", MISSING)] if missing.any() else [], mappable, extend)


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


def _legend_dot(colour, name):
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="none", marker="o", markersize=5, color=colour, label=name)


# --- images ----------------------------------------------------------------------------------------------------------


def _as_images(estimator, X):
    """Images as floats (n, *image shape), NaN where a pixel is missing."""
    return np.asarray(X).astype(float).reshape(-1, *estimator._schema.row_shape)


def _layout(shape):
    """Channels, height, width, and whether channels are the first axis: where that is 1, 3 or 4, and the last is not.

    Axes before the last two stand one below the other where there are more than three.
    """
    if len(shape) == 3:
        first = shape[0] in CHANNELS and shape[2] not in CHANNELS
        return (*shape, True) if first else (shape[2], *shape[:2], False)
    return 1, math.prod(shape[:-1]), shape[-1], True


def _pixel_range(estimator):
    """The values that are black and white: those that fit saw; of colours the range that they are usually written in."""
    [images] = estimator._schema.parts.values()
    lower, upper = float(images.lower), float(images.upper)
    if _layout(estimator._schema.row_shape)[0] in (3, 4):
        for least, most in ((0.0, 1.0), (0.0, 255.0)):
            if least <= lower and most / 2 < upper <= most:
                return least, most
    return lower, upper


def _coloured(images, shape, pixel_range, cmap):
    """Images (..., *shape) as colours (..., H, W, 4), bytes; missing pixels have a colour of their own."""
    from matplotlib import colormaps

    channels, height, width, first = _layout(shape)
    leading = images.shape[: images.ndim - len(shape)]
    if first:
        planes = np.moveaxis(images.reshape(*leading, channels, height, width), -3, -1)
    else:
        planes = images.reshape(*leading, height, width, channels)
    missing = np.isnan(planes).any(axis=-1)
    lower, upper = pixel_range
    planes = np.nan_to_num(((planes - lower) / ((upper - lower) or 1.0)).clip(0, 1))
    if channels in (3, 4):
        colours = np.ones((*planes.shape[:-1], 4))
        colours[..., :channels] = planes
    else:
        cmap = colormaps[cmap] if isinstance(cmap, str) else cmap
        colours = cmap(planes.mean(axis=-1))
    colours[missing] = _rgba(MISSING_PIXEL)
    return (255 * colours).round().astype(np.uint8)


def _notes(images, shape):
    """What a title must say of images (..., *shape)."""
    channels = _layout(shape)[0]
    notes = [] if channels in CHANNELS else [f"mean of {channels} channels"]
    return notes + ["pink: missing"] * bool(np.isnan(images).any())


def _gap(shape):
    """Pixels between images: enough to be seen."""
    _, height, width, _ = _layout(shape)
    return max(1, round(min(height, width) / 12))


def _grid(tiles, n_wide):
    """Tiles (n, H, W, 4) in rows: (n_high, n_wide, H, W, 4), the last filled up with nothing."""
    n_high = math.ceil(len(tiles) / n_wide)
    filled = np.zeros((n_high * n_wide, *tiles.shape[1:]), tiles.dtype)
    filled[: len(tiles)] = tiles
    return filled.reshape(n_high, n_wide, *tiles.shape[1:])


def _mosaic(tiles, gap):
    """Tiles (n_high, n_wide, H, W, 4) beside each other, transparent between them: (height, width, 4)."""
    padded = np.pad(tiles, ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)))
    n_high, n_wide, height, width, depth = padded.shape
    whole = padded.swapaxes(1, 2).reshape(n_high * height, n_wide * width, depth)
    return whole[: n_high * height - gap, : n_wide * width - gap]


def _tile_centres(mosaic, shape, gap):
    """Where the middles of tiles of a mosaic lie, (n_high,) and (n_wide,); shape : (n_high, n_wide)."""
    for n, length in zip(shape, mosaic.shape, strict=False):
        size = (length + gap) / n
        yield np.arange(n) * size + (size - gap - 1) / 2


def _mosaic_inches(mosaic, beside=0.9, above=0.8, widest=5.5, tallest=7.5):
    """Size of a figure for a mosaic, with room beside it and above and below it for texts."""
    height, width = mosaic.shape[:2]
    scale = min(widest / width, tallest / height)
    return max(scale * width, 2.0) + beside, scale * height + above


def _show(ax, mosaic, kwargs):
    image = ax.imshow(mosaic, **kwargs)
    ax.spines[:].set_visible(False)
    ax.set(xticks=[], yticks=[])
    return image


# --- axes ------------------------------------------------------------------------------------------------------------


def _place_axes(ax, n_axes, shape, size):
    """A figure and n axes of it, as an array: those that are given, or parts of one that is given, or of a new figure.

    shape : of the grid that axes are laid out in, rows and columns; size : of a new figure, in inches.
    """
    from matplotlib.axes import Axes

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


def _style(artist, style, kwargs):
    """A style of ours, and what the user says instead, by whichever name an artist's class has for that."""
    from matplotlib.cbook import normalize_kwargs

    said = normalize_kwargs(kwargs, artist)
    ours = {name: value for name, value in style.items() if name != "facecolor" or not {"c", "color"} & said.keys()}
    return ours | said


def _inches(ax):
    """Width and height of axes."""
    extent, dpi = ax.get_window_extent(), ax.figure.figure.dpi
    return extent.width / dpi, extent.height / dpi


def _set_title(ax, title, notes=()):
    """A title on the left, and notes on a line below it."""
    ax.set_title("\n".join([title, "; ".join(notes)] if notes else [title]), loc="left", fontsize="medium")


def _count_title(n_shown, n, what):
    return f"{n_shown:,} {what}" if n_shown == n else f"{n_shown:,} of {n:,} {what}"


def _tick_some(axis, places, texts, most=10):
    """Ticks at so many places that texts have room, the middle one among them."""
    step = math.ceil(len(places) / most)
    some = slice((len(places) // 2) % step, None, step)
    axis.set_ticks(places[some], texts[some], fontsize="small")


def _tick_dates(axis):
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(maxticks=5)
    axis.set_major_locator(locator)
    axis.set_major_formatter(ConciseDateFormatter(locator))


def _value_texts(values):
    """Values of a latent, with the digits that tell neighbours apart."""
    digits = max(1, math.ceil(-math.log10(max(np.abs(values).max(), 1e-6)) + 1))
    return [f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}") for value in values.round(digits) + 0.0]


def _draw_pairs(ax, score, pair, kwargs):
    """Numbers against their reconstructions, and the line where they are equal."""
    from matplotlib.collections import Collection

    true, back = pair
    size = float(np.clip(4e3 / len(true.values), 2, 14))
    style = {"s": size, "linewidth": 0, "alpha": 0.6, "facecolor": COLOURS[0]}
    points = ax.scatter(true.values, back.values, **_style(Collection, style, kwargs))
    limits = _limits(np.concatenate([true.values, back.values]))
    ax.plot(limits, limits, color="0.4", linewidth=0.8, zorder=0)
    ax.set(xlim=limits, ylim=limits, box_aspect=1)
    unit = " (seconds)" if true.kind == "duration" else ""
    ax.set_title(f"{short(true.name, 20)}{unit}\nR² {score:.2f}", fontsize="small", parse_math=False)
    for axis in (ax.xaxis, ax.yaxis):
        if true.kind == "date":
            _tick_dates(axis)
        else:
            axis.set_major_locator(_few_ticks(2 if max(map(abs, limits)) >= 1e4 else 3))
    ax.tick_params(labelsize="x-small")
    ax.set_xlabel("true", fontsize="small")
    ax.set_ylabel("reconstructed", fontsize="small")
    ax.spines[["top", "right"]].set_visible(False)
    return points


def _limits(values):
    """The least and the greatest of values, and a margin."""
    least, most = np.nanmin(values), np.nanmax(values)
    margin = 0.05 * (most - least) or 0.5
    return least - margin, most + margin


def _few_ticks(n):
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(n, steps=[1, 2, 3, 4, 5, 10])


def _draw_right(ax, shares, frequent, columns):
    """Bars of the shares of categories that come back right, the worst on top, and ticks at the most frequent one's."""
    places = np.arange(len(columns))
    bars = ax.barh(places, shares, height=0.7, color=COLOURS[0])
    ax.bar_label(bars, [f"{100 * share:.0f} %" for share in shares], padding=3, fontsize="x-small")
    ticks = {"marker": "|", "markersize": 14, "markeredgewidth": 1.4, "linestyle": "none", "color": "black"}
    ax.plot(frequent, places, **ticks, label="share of the most frequent")
    ax.set_yticks(places, [short(column.name, 20) for column in columns], fontsize="x-small", parse_math=False)
    ax.set(xlim=(0, 1.3), ylim=(max(len(columns), 4) - 0.4, -0.6), xticks=[], box_aspect=1)
    ax.tick_params(left=False)
    ax.set_title("Categories that\ncome back right", fontsize="small")
    below = {"loc": "upper left", "bbox_to_anchor": (0, 0), "borderaxespad": 0.2}
    ax.legend(**below, markerscale=0.6, frameon=False, fontsize="x-small")
    ax.spines[["top", "right", "bottom"]].set_visible(False)
    return bars


def _cell_texts(columns):
    """The name and the cells of each column, short enough to stand beside each other."""
    return [[short(column.name, 18), *(short(text, 22) for text in column.texts())] for column in columns]


def _draw_cells(ax, cells, columns, widths, kwargs):
    """A table of columns of texts, the first of each its name; numbers on the right of their column, words on the left."""
    ax.set_axis_off()
    rows = list(zip(*cells, strict=True))
    table = ax.table(rows, **{"colWidths": widths / widths.sum(), "bbox": (0, 0, 1, 1), "edges": "open"} | kwargs)
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    for (row, at), cell in table.get_celld().items():
        text = cell.get_text()
        text.set(parse_math=False, ha="left" if columns[at].kind == "category" else "right")
        if row == 0:
            text.set_fontweight("bold")
        elif text.get_text() == "missing":
            text.set_color("0.6")
    ax.axhline(1 - 1 / len(rows), color="0.3", linewidth=0.8)
    ax.set(xlim=(0, 1), ylim=(0, 1))
    return table


def _draw_losses(ax, losses, label, colour, kwargs):
    from matplotlib.lines import Line2D

    style = _style(Line2D, {"color": colour, "label": label, "linewidth": 1.5}, kwargs)
    if len(losses) == 1:
        style = {"marker": "."} | style  # a line has two ends
    [line] = ax.plot(np.arange(1, len(losses) + 1), losses, **style)
    ax.spines[["top", "right"]].set_visible(False)
    return line
