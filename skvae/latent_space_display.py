"""Rows in the plane of two latents. matplotlib is imported inside functions only."""

from typing import Any

import numpy as np
from sklearn.utils import check_consistent_length

from skvae.artists import COLOURS, SHADES, draw_density, draw_density_1d, limits_of, paint_rows, place_axes, style_of
from skvae.display_inputs import N_DRAWS, check_estimator, check_latents, check_matplotlib, latent_labels
from skvae.plotted_columns import read_y
from skvae.texts import short


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
        check_estimator(cls, estimator)
        chosen = check_latents(latents, estimator, most=2)
        column = None if y is None else read_y(y, max_levels=len(COLOURS))
        if column is not None:
            check_consistent_length(X, column.values)
        display = cls(
            latents=np.asarray(estimator.transform(X))[:, chosen],
            prior_draws=estimator.sample_latents(N_DRAWS, random_state=random_state)[:, chosen],
            labels=latent_labels(estimator, chosen),
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
        check_matplotlib(type(self), "plot")
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
            where: dict = {
                "loc": "upper left",
                "bbox_to_anchor": (1.0, 1.0),
                "title": short(self.y.name),
                "alignment": "left",
            }
        else:
            where = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "ncols": len(handles)}
        return self.ax_.legend(handles=handles, frameon=False, fontsize="small", borderaxespad=0.3, **where)

    def _label_colorbar(self):
        name, kind = short(self.y.name), self.y.kind
        means = "" if self.latents.shape[1] == 2 else ", mean of the bar's rows"
        self.colorbar_.set_label(name + (" (seconds)" if kind == "duration" else "") + means)
        if kind == "date":
            self.colorbar_.ax.yaxis.set_major_formatter(lambda day, _: str(np.datetime64(round(day), "D")))
