"""Rows beside their reconstructions, of images or of a table. matplotlib is imported inside functions only."""

import math
from operator import itemgetter

import numpy as np

from skvae.artists import draw_pairs, draw_shares_right, place_axes, set_title
from skvae.display_inputs import check_estimator, check_matplotlib, count_rows, evenly_spaced, pixel_range, read_rows
from skvae.mosaics import coloured, gap_between, in_rows, lay_out, notes_on
from skvae.plotted_columns import share_explained, share_right

MAX_CATEGORIES = 12  # columns of categories that are drawn: those that come back worst


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
        check_estimator(cls, estimator, n)
        back = estimator.inverse_transform(np.asarray(estimator.transform(X)))
        data, back = read_rows(estimator, estimator._validate(X)), read_rows(estimator, back)
        n_rows = count_rows(data)
        if isinstance(data, np.ndarray):
            rows, rmse = evenly_spaced(n_rows, n), math.sqrt(np.nanmean((data - back) ** 2))
            common = {"n_rows": n_rows, "pixel_range": pixel_range(estimator), "rmse": rmse}
            display = cls(data=data[rows], reconstruction=back[rows], **common)
        else:
            display = cls(data=data, reconstruction=back, n_rows=n_rows, n_columns=n)
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
        check_matplotlib(type(self), "plot")
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
        right = _ranked((*share_right(*pair), pair[0].name) for pair in pairs if pair[0].kind == "category")[:MAX_CATEGORIES]
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


def _ranked(scored):
    """Tuples by their first place, from the least on, without those that have NaN there."""
    return sorted((one for one in scored if not np.isnan(one[0])), key=itemgetter(0))
