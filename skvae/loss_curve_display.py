"""Losses by epoch. matplotlib is imported inside functions only."""

import numpy as np

from skvae.artists import draw_losses, place_axes, set_title
from skvae.display_inputs import check_estimator, check_matplotlib


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
        check_estimator(cls, estimator)
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
        check_matplotlib(type(self), "plot")
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
