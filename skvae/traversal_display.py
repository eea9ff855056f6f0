"""What each latent changes, of images or of a table. matplotlib is imported inside functions only."""

import narwhals.stable.v2 as nw
import numpy as np
from scipy.sparse import issparse

from skvae.artists import place_axes, set_title, tick_some
from skvae.display_inputs import (
    N_DRAWS,
    check_estimator,
    check_latents,
    check_matplotlib,
    latent_labels,
    pixel_range,
    prior_medians,
    quantile_levels,
    read_rows,
)
from skvae.mosaics import coloured, gap_between, lay_out, notes_on
from skvae.plotted_columns import changes_from
from skvae.texts import short

MAX_COLUMNS = 12  # of a table that are drawn: those that change most
FARTHEST = 2.5  # standard deviations that have a colour of their own; another category counts as much
N_TYPICAL = 1_000  # decoded draws by which the standard deviation of a column is known; unmeasured
QUANTILE = "quantile of the latent under the prior"


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
        check_estimator(cls, estimator, n)
        chosen = check_latents(latents, estimator)
        draws = estimator.sample_latents(N_DRAWS, random_state=random_state)
        start = prior_medians(estimator, draws) if X is None else np.asarray(estimator.transform(_one_row(estimator, X)))[0]
        steps = ["start"] * (X is not None) + [f"{100 * share:.0f} %" for share in quantile_levels(n)]
        Z = np.tile(start, (len(chosen), len(steps), 1))
        for moved, k in zip(Z, chosen, strict=True):
            moved[-n:, k] = np.quantile(draws[:, k], quantile_levels(n))
        decoded = estimator.inverse_transform(Z.reshape(-1, Z.shape[-1]))
        common = {"steps": steps, "labels": latent_labels(estimator, chosen)}
        rows = read_rows(estimator, decoded)
        if isinstance(rows, np.ndarray):
            images = rows.reshape(len(chosen), len(steps), *rows.shape[1:])
            display = cls(decoded=images, pixel_range=pixel_range(estimator), **common)
        else:
            display = cls(**cls._compare(estimator, rows, start, draws), **common)
        return display.plot(ax=ax, **kwargs)

    @staticmethod
    def _compare(estimator, columns, start, draws):
        """The columns that change most, and how far from the start."""
        latents = start[None], draws[:N_TYPICAL]
        starts, typical = (read_rows(estimator, estimator.inverse_transform(Z)) for Z in latents)
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
        check_matplotlib(type(self), "plot")
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


def _one_row(estimator, X):
    """X, or one image or row without an axis of rows, as rows of which there is one."""
    if nw.dependencies.is_into_series(X):
        raise ValueError("X must hold one row, such as X[:1]. Got a Series instead.")
    if not nw.dependencies.is_into_dataframe(X):
        X = X if issparse(X) else np.asarray(X)
        if X.ndim == 1 or X.shape == estimator._schema.row_shape:
            X = X[None]
    if X.shape[0] != 1:
        raise ValueError(f"X must hold one row, such as X[:1]. Got {X.shape[0]} rows instead.")
    return X
