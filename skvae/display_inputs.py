"""What displays are made of: a fitted estimator, its latents, and its rows, as images or as the columns of a table."""

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skvae.estimator import VAETransformer
from skvae.mosaics import pixel_range_of
from skvae.plotted_columns import Column, read_columns

N_DRAWS = 20_000  # of latents, by which a picture knows the prior; unmeasured
MAX_LATENTS = 8  # that are moved by default
LEAST_INFORMATION = 0.05  # nats, below which a latent moves nothing that is seen


# --- what is asked for -----------------------------------------------------------------------------------------------


def check_estimator(cls: type, estimator: Any, n: Any = 1) -> None:
    """Refuse what no display is made of; cls : of the display; n : of rows, steps or images."""
    check_matplotlib(cls, "from_estimator")
    if not isinstance(estimator, VAETransformer):
        raise TypeError(
            f"estimator must be a fitted VAETransformer. Got {type(estimator).__name__} instead: of a pipeline, give its "
            "last step, and X as the steps before transform it."
        )
    check_is_fitted(estimator)
    if not isinstance(n, Integral) or isinstance(n, bool) or n < 1:
        raise ValueError(f"n must be an int in the range [1, inf). Got {n!r} instead.")


def check_matplotlib(cls: type, method: str) -> None:
    """Say how to get matplotlib where it is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        message = f'{cls.__name__}.{method} requires matplotlib. Install it with `pip install "skvae[plot]"`.'
        raise ImportError(message) from error


def check_latents(latents: Any, estimator: VAETransformer, most: int | None = None) -> list[int]:
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


# --- latents ---------------------------------------------------------------------------------------------------------


def latent_labels(estimator: VAETransformer, chosen: list[int]) -> list[str]:
    """The names of latents, with the information that each holds."""
    return [f"latent {k} ({estimator.explained_information_[k]:.1f} nats)" for k in chosen]


def quantile_levels(n: int) -> np.ndarray:
    """The middles of n equal shares of a distribution: (n,)."""
    return (np.arange(n) + 0.5) / n


def prior_medians(estimator: VAETransformer, draws: np.ndarray) -> np.ndarray:
    """Where latents stay that are not moved: (latent_dim,); draws : (n, latent_dim), of the prior."""
    return np.zeros(draws.shape[1]) if estimator.prior_ == "normal" else np.median(draws, axis=0)


# --- rows ------------------------------------------------------------------------------------------------------------


def read_rows(estimator: VAETransformer, X: Any, only_modelled: bool = True) -> Any:
    """Rows as displays keep them: images (n, ...), floats, NaN where a pixel is missing; of a table, a list of Column.

    X : as `_validate` or the estimator itself returns it; only_modelled : whether columns that name rows are left out.
    """
    schema = estimator._schema
    if schema.images is not None:
        return schema.dense_images(X)
    if schema.table is None:
        raise ValueError("X must hold images, or columns of a table. Got rows that hold neither.")
    table = schema.table
    return read_columns(schema.table_columns(X), table.categorical, table.ignored if only_modelled else ())


def count_rows(rows: np.ndarray | list[Column]) -> int:
    """How many rows `read_rows` returned."""
    return len(rows) if isinstance(rows, np.ndarray) else len(rows[0].values)


def pixel_range(estimator: VAETransformer) -> tuple[float, float] | None:
    """The values that are drawn black and white, by those that fit saw; None of a table."""
    images = estimator._schema.images
    return None if images is None else pixel_range_of(images.row_shape, float(images.lower), float(images.upper))


def evenly_spaced(n_rows: int, n: int) -> np.ndarray:
    """Places of at most n rows, evenly spaced."""
    return np.linspace(0, n_rows - 1, min(n, n_rows)).round().astype(int)
