"""Images as pictures: their pixels as colours, and many beside each other as one mosaic. Knows plain data only."""

import math
from typing import Any, NamedTuple

import numpy as np

from skvae.artists import rgba
from skvae.images import CHANNELS, layout_of

MISSING_PIXEL = "#e05fa8"
IN_COLOUR = CHANNELS[1:]
TALLEST = 7.5  # inches


class Mosaic(NamedTuple):
    """Images beside each other.

    colours : (height, width, 4) uint8
        Its pixels, transparent between images.
    rows, columns : (n_high,) and (n_wide,) float64
        Where the middles of images lie, in pixels from the top and from the left.
    """

    colours: np.ndarray
    rows: np.ndarray
    columns: np.ndarray

    def inches(self, beside: float = 0.9, above: float = 0.8, widest: float = 5.5) -> tuple[float, float]:
        """Width and height of a figure for it, with room beside it and above and below it for texts."""
        height, width, _ = self.colours.shape
        scale = min(widest / width, TALLEST / height)
        return max(scale * width, 2.0) + beside, scale * height + above

    def draw(self, ax: Any, kwargs: dict) -> Any:
        """Draw it on axes without ticks; kwargs : of `imshow`. Returns the AxesImage."""
        image = ax.imshow(self.colours, **kwargs)
        ax.spines[:].set_visible(False)
        ax.set(xticks=[], yticks=[])
        return image


def lay_out(tiles: np.ndarray, gap: int) -> Mosaic:
    """Tiles (n_high, n_wide, H, W, 4) as a mosaic with so many pixels between them."""
    padded = np.pad(tiles, ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)))
    n_high, n_wide, height, width, depth = padded.shape
    whole = padded.swapaxes(1, 2).reshape(n_high * height, n_wide * width, depth)
    rows, columns = np.arange(n_high) * height, np.arange(n_wide) * width
    return Mosaic(whole[:-gap, :-gap], rows + (height - gap - 1) / 2, columns + (width - gap - 1) / 2)


def in_rows(tiles: np.ndarray, n_wide: int) -> np.ndarray:
    """Tiles (n, H, W, 4) in rows: (n_high, n_wide, H, W, 4), the last filled up with nothing."""
    n_high = math.ceil(len(tiles) / n_wide)
    filled = np.zeros((n_high * n_wide, *tiles.shape[1:]), tiles.dtype)
    filled[: len(tiles)] = tiles
    return filled.reshape(n_high, n_wide, *tiles.shape[1:])


def gap_between(shape: tuple[int, ...]) -> int:
    """Pixels between images of a shape: enough to be seen."""
    _, height, width, _ = layout_of(shape)
    return max(1, round(min(height, width) / 12))


def pixel_range_of(shape: tuple[int, ...], lower: float, upper: float) -> tuple[float, float]:
    """The values that are drawn black and white, of images of a shape with values in [lower, upper].

    These two; of colours the range that they are usually written in.
    """
    if layout_of(shape)[0] in IN_COLOUR:
        for least, most in ((0.0, 1.0), (0.0, 255.0)):
            if least <= lower and most / 2 < upper <= most:
                return least, most
    return lower, upper


def coloured(images: np.ndarray, shape: tuple[int, ...], pixel_range: tuple[float, float], cmap: Any) -> np.ndarray:
    """Images (..., *shape) as colours (..., H, W, 4), bytes; missing pixels (NaN) have a colour of their own."""
    from matplotlib import colormaps

    channels, height, width, first = layout_of(shape)
    leading = images.shape[: images.ndim - len(shape)]
    if first:
        planes = np.moveaxis(images.reshape(*leading, channels, height, width), -3, -1)
    else:
        planes = images.reshape(*leading, height, width, channels)
    missing = np.isnan(planes).any(axis=-1)
    lower, upper = pixel_range
    planes = np.nan_to_num(((planes - lower) / ((upper - lower) or 1.0)).clip(0, 1))
    if channels in IN_COLOUR:
        colours = np.ones((*planes.shape[:-1], 4))
        colours[..., :channels] = planes
    else:
        cmap = colormaps[cmap] if isinstance(cmap, str) else cmap
        colours = cmap(planes.mean(axis=-1))
    colours[missing] = rgba(MISSING_PIXEL)
    return (255 * colours).round().astype(np.uint8)


def notes_on(images: np.ndarray, shape: tuple[int, ...]) -> list[str]:
    """What a title must say of images (..., *shape)."""
    channels = layout_of(shape)[0]
    notes = [] if channels in CHANNELS else [f"mean of {channels} channels"]
    return notes + ["pink: missing"] * bool(np.isnan(images).any())
