"""The images that a grid of latents decodes to. matplotlib is imported inside functions only."""

import math

import numpy as np

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
from skvae.mosaics import coloured, lay_out, notes_on


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
        check_estimator(cls, estimator, n)
        if estimator._schema.images is None:
            raise ValueError(
                f"{cls.__name__} draws images, but {type(estimator).__name__} was fitted to a table. Use TraversalDisplay "
                "instead, or image_shape= if X holds flat images."
            )
        chosen = check_latents(latents, estimator, most=2)
        draws = estimator.sample_latents(N_DRAWS, random_state=random_state)
        values = list(np.quantile(draws[:, chosen], quantile_levels(n), axis=0).T)
        Z = np.tile(prior_medians(estimator, draws), (n ** len(chosen), 1))
        for k, column in zip(chosen, np.meshgrid(values[0], *(one[::-1] for one in values[1:])), strict=True):
            Z[:, k] = column.ravel()
        images = read_rows(estimator, estimator.inverse_transform(Z))
        display = cls(
            images=images.reshape(-1, n, *images.shape[1:]),
            values=values,
            labels=latent_labels(estimator, chosen),
            pixel_range=pixel_range(estimator),
        )
        return display.plot(ax=ax, **kwargs)

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
        check_matplotlib(type(self), "plot")
        shape = self.images.shape[2:]
        mosaic = lay_out(coloured(self.images, shape, self.pixel_range, cmap), gap=1)
        self.figure_, [self.ax_] = place_axes(ax, mosaic.inches())
        self.image_ = mosaic.draw(self.ax_, kwargs)
        xlabel, ylabel = [*self.labels, ""][:2]
        self.ax_.set(xlabel=xlabel, ylabel=ylabel)
        tick_some(self.ax_.xaxis, mosaic.columns, _written(self.values[0]))
        if len(self.values) == 2:
            tick_some(self.ax_.yaxis, mosaic.rows, _written(self.values[1][::-1]))
        set_title(self.ax_, "What latents decode to", notes_on(self.images, shape))
        return self


def _written(values):
    """Values of a latent (n,), with the digits that tell neighbours apart."""
    digits = max(1, math.ceil(-math.log10(max(np.abs(values).max(), 1e-6)) + 1))
    return [f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}") for value in values.round(digits) + 0.0]
