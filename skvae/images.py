"""Images without torch: which values pixels take, and how they are packed."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from skvae.containers import Cells, CellType
from skvae.modalities import AbstractModality, Packed
from skvae.moments import LEAST_DEVIATION, value_range
from skvae.persistence import Saved
from skvae.scalings import Variable

CHANNELS = 1, 3, 4  # grey, colour, and colour with opacity
NATURAL_RANGES = (0.0, 1.0), (0.0, 255.0), (-1.0, 1.0), (-0.5, 0.5)  # that pixels are often scaled to
N_IMAGES_AT_ONCE = 1000  # whose pixels are counted together; a bound of memory
N_LEVELS = 256  # levels that pixels lie on, at most, to be discrete: those of a byte


@dataclass(frozen=True)
class ImageSpec(Saved):
    """What torch must know of images: their shape, what each pixel is, and what bytes, kept as they are, stand for."""

    shape: tuple[int, ...]
    variable: Variable
    centre: float
    scale: float
    has_density: bool  # False for a Bernoulli of pixels between 0 and 1, which is not normalised

    @property
    def n_variables(self) -> int:
        return math.prod(self.shape)

    @property
    def layout(self) -> tuple[int, int, int, bool]:
        """As `layout_of` has it."""
        return layout_of(self.shape)


def layout_of(shape: tuple[int, ...]) -> tuple[int, int, int, bool]:
    """Channels, height, width, and whether channels are the first axis: where that is 1, 3 or 4, and the last is not.

    Axes before the last two stand one below the other where there are more than three.
    """
    if len(shape) == 3:
        first = shape[0] in CHANNELS and shape[2] not in CHANNELS
        return (*shape, True) if first else (shape[2], *shape[:2], False)
    return 1, math.prod(shape[:-1]), shape[-1], True


class Images(AbstractModality):
    """Images of one shape: (n, H, W), (n, H, W, C), (n, C, H, W), or flat (n, pixels).

    Every pixel shares one centre and scale. Images of two values are yes or no. Pixels on at most 256 evenly spaced levels
    are discrete: the natural range of the dtype (0 to 255 of bytes and of floats that count them, 0 to 1 of bytes over
    255), or that of the data, bounds them. A missing pixel is not observed.

    Parameters
    ----------
    likelihood : str
        "auto", "gaussian" or "bernoulli".
    image_shape : tuple of int, optional
        Shape of an image where X is flat.
    """

    precise = "float32"  # of convolutions, which take ten times as long in float64

    def __init__(self, likelihood: str = "auto", image_shape: tuple[int, ...] | None = None):
        self.likelihood, self.image_shape = likelihood, image_shape

    @classmethod
    def find(cls, X: Any, parameters: dict, free: list[int]) -> list[tuple[list[int], dict]]:
        image_shape, likelihood = parameters["image_shape"], parameters["likelihood"]
        if image_shape is None and len(X.shape) == 2:
            return []
        if not isinstance(likelihood, str):
            raise ValueError("likelihood must be a str for images, as all pixels share one. Got a dict instead.")
        if parameters["categorical_features"] is not None and not isinstance(parameters["categorical_features"], str):
            raise ValueError("categorical_features must be None or 'from_dtype' for images, whose pixels are numbers.")
        return [(free, {"likelihood": likelihood, "image_shape": check_shape(image_shape)})]

    @property
    def row_shape(self) -> tuple[int, ...] | None:
        return self.image_shape

    @property
    def images(self) -> "Images":
        return self

    def dense_images(self, X):
        return X.astype(float).reshape(-1, *self._whole_shape)

    @property
    def _whole_shape(self) -> tuple[int, ...]:
        """The shape of an image, also where rows are flat."""
        return self.shape if self.image_shape is None else self.image_shape

    @property
    def spec(self) -> ImageSpec:
        return ImageSpec(self._whole_shape, self.variable, float(self.centre), float(self.scale), self.has_density)

    @property
    def types(self) -> list[CellType]:  # type: ignore[override]
        return [CellType("image")]

    def fit(self, X: np.ndarray, weight: np.ndarray) -> "Images":
        if self.likelihood not in ("auto", *PIXEL_FITS):
            raise ValueError(
                f"The likelihood of images must be a str among {{{', '.join(map(repr, ('auto', *PIXEL_FITS)))}}}. "
                f"Got {self.likelihood!r} instead."
            )
        self.shape, self.dtype = X.shape[1:], X.dtype
        self.image_shape = self._whole_shape
        levels = np.unique(X)
        levels = levels[~np.isnan(levels)].astype(float)
        if not len(levels):
            raise ValueError(f"Every pixel of the {len(X)} images is missing (NaN). At least one must be there.")
        self._find_lattice(levels)
        automatic = "bernoulli" if len(levels) == 2 else "gaussian"
        PIXEL_FITS[automatic if self.likelihood == "auto" else self.likelihood](self, X.reshape(len(X), -1), weight, levels)
        return self

    def _find_lattice(self, levels: np.ndarray) -> None:
        """Spacing and bounds of the levels (k,) that pixels lie on; a spacing of 0 where they lie on none."""
        self.lower, self.upper = (0.0, 255.0) if self.dtype == np.uint8 else value_range(levels)
        self.spacing = 1.0 if self.dtype == np.uint8 else _spacing(levels)
        if self.dtype.kind in "iub" and not self.spacing and self.upper - self.lower < N_LEVELS:
            self.spacing = 1.0
        self.widest = self._widest_range()

    def _widest_range(self) -> tuple[float, float]:
        """The range within which later pixels may lie, beyond the levels that fit saw.

        Of a lattice a natural range where it has one, else as many levels as a lattice has at most; of other integers that
        of their dtype.
        """
        if not self.spacing:
            limits = np.iinfo(self.dtype) if self.dtype.kind in "iu" else None
            return (-math.inf, math.inf) if limits is None else (float(limits.min), float(limits.max))
        for natural in NATURAL_RANGES:
            on_it = abs(math.remainder(natural[1] - self.lower, self.spacing)) < 1e-6 * natural[1]
            if natural[0] <= self.lower and self.upper <= natural[1] and on_it:
                return natural
        if self.dtype.kind == "b":
            return 0.0, 1.0
        beyond = (N_LEVELS - 1 - round((self.upper - self.lower) / self.spacing)) * self.spacing
        return self.lower - beyond, self.upper + beyond

    def _fit_bernoulli(self, X: np.ndarray, weight: np.ndarray, levels: np.ndarray) -> None:
        has_two = len(levels) == 2
        if has_two:
            self.lower, self.upper = levels
        else:
            levels = np.array([0.0, 255.0 if self.dtype == np.uint8 else 1.0])
            self.lower, self.upper = min(self.lower, levels[0]), max(self.upper, levels[1])
        self.centre, self.scale = levels[0], levels[1] - levels[0]
        self.widest = self.lower, self.upper
        if self.lower < levels[0] or self.upper > levels[1]:
            raise ValueError(
                "The bernoulli likelihood takes pixels that are bytes, have two values, or lie in [0, 1]; "
                f"X ranges from {self.lower:g} to {self.upper:g}. Scale X, or choose likelihood='gaussian'."
            )
        self.variable, self.jacobian = Variable("bernoulli"), 0.0
        self.has_density = has_two

    def _fit_gaussian(self, X: np.ndarray, weight: np.ndarray, levels: np.ndarray) -> None:
        self.has_density = True
        self.centre, self.scale = _pixel_moments(X, weight, levels)
        lattice = {}
        if self.spacing:
            lower, upper = (self.lower - self.centre) / self.scale, (self.upper - self.centre) / self.scale
            lattice = {"spacing": self.spacing / self.scale, "lower": lower, "upper": upper}
        self.variable = Variable("gaussian", **lattice)
        # a float on a lattice is still a density: the probability of its cell, over the cell's width
        width = self.spacing if self.spacing else self.scale
        discrete = self.spacing and self.dtype.kind in "iub"
        self.jacobian = 0.0 if discrete else -math.log(width)

    def pack(self, X: np.ndarray) -> Packed:
        self._check_bounds(X)
        pixels = X.reshape(len(X), -1)
        if pixels.dtype == np.uint8:
            return Packed(pixels)  # a byte a pixel, until it is in a batch
        values = pixels.astype(float)
        values -= self.centre
        values /= self.scale
        observed = ~np.isnan(values)
        if observed.all():
            return Packed(values)
        values[~observed] = 0.0
        return Packed(values, observed)

    def _check_bounds(self, X: np.ndarray) -> None:
        if math.isinf(self.widest[0]):  # of floats on no lattice, which may be any
            return
        least, greatest = float(np.fmin.reduce(X, axis=None)), float(np.fmax.reduce(X, axis=None))
        lower, upper = self.widest
        if least < lower or greatest > upper:
            outside = least if least < lower else greatest
            raise ValueError(
                f"Pixels were fitted within [{lower:g}, {upper:g}], got {outside:g}. Scale X as it was scaled for fit."
            )
        if self.dtype.kind in "iub" and X.dtype.kind == "f":
            broken = X[np.isfinite(X) & (np.round(X) != X)]
            if len(broken):
                raise ValueError(
                    f"Pixels were whole numbers within [{lower:g}, {upper:g}] in fit, got {broken[0]:g}. "
                    "Scale X as it was scaled for fit."
                )

    def unpack(self, values: np.ndarray, told: dict | None = None) -> list[Cells]:
        pixels = values.astype(float) if values.dtype == np.uint8 else values * self.scale + self.centre
        if self.spacing:
            # of the whole range where it is a multiple of the spacing: bytes over 255 come back to the last bit
            first, last = self.widest
            n_steps = round((last - first) / self.spacing)
            is_multiple = abs(n_steps * self.spacing - (last - first)) < 1e-6 * self.spacing * n_steps
            span, n_steps = (last - first, n_steps) if is_multiple else (self.spacing, 1)
            pixels = first + ((pixels - first) / self.spacing).round() * span / n_steps
        if self.dtype.kind in "iub":
            pixels = pixels.round()
        pixels = pixels.clip(self.lower, self.upper).astype(self.dtype).reshape(-1, *self.shape)
        return [Cells(pixels, np.zeros(len(pixels), bool))]

    def fill(self, X: np.ndarray, values: np.ndarray) -> list[Cells]:
        X = X.reshape(-1, *self.shape)
        [(drawn, missing)] = self.unpack(values)
        return [Cells(np.where(np.isnan(X), drawn, X).astype(self.dtype), missing)]

    def by_column(self, figures: np.ndarray) -> np.ndarray:
        return figures

    def log_jacobian(self, packed: Packed) -> np.ndarray:
        jacobian = np.array(self.jacobian)
        return jacobian if packed.observed is None else jacobian * packed.observed


# how pixels (n, n_pixels) with weight (n,) and sorted levels (k,) are fitted for a likelihood
PIXEL_FITS: dict[str, Callable] = {"gaussian": Images._fit_gaussian, "bernoulli": Images._fit_bernoulli}


def _spacing(levels: np.ndarray) -> float:
    """Spacing of sorted levels (k,) if they lie on at most 256 evenly spaced ones, else 0."""
    if len(levels) >= 2:  # levels that differ in their last digits are one
        apart = np.diff(levels) > 1e-6 * (levels[-1] - levels[0])
        levels = levels[np.concatenate([[True], apart])]
    if not 2 <= len(levels) <= N_LEVELS:
        return 0.0
    spacing = np.diff(levels).min()
    places = (levels - levels[0]) / spacing
    even = np.abs(places - places.round()).max() < 1e-3 and places[-1] < N_LEVELS
    return float((levels[-1] - levels[0]) / places[-1].round()) if even else 0.0


def _pixel_moments(X: np.ndarray, weight: np.ndarray, levels: np.ndarray) -> tuple[float, float]:
    """Weighted mean and standard deviation of the pixels that are there, some images at a time.

    X : (n, n_pixels); weight : (n,); levels : (k,), sorted, all values that pixels have.
    """
    lower, upper = levels[0], levels[-1]
    if lower == upper:
        return lower, 1.0
    middle, half = lower / 2 + upper / 2, upper / 2 - lower / 2  # squares of numbers within [-1, 1] keep their digits
    total = np.zeros(3)
    for at in range(0, len(X), N_IMAGES_AT_ONCE):
        some = (X[at : at + N_IMAGES_AT_ONCE].astype(float) - middle) / half
        sums = (~np.isnan(some)).sum(1), np.nansum(some, 1), np.nansum(some**2, 1)
        total += np.stack(sums) @ weight[at : at + N_IMAGES_AT_ONCE]
    mean, square = total[1:] / total[0]
    return float(middle + half * mean), float(half * max(math.sqrt(max(square - mean**2, 0.0)), LEAST_DEVIATION))


def check_shape(shape: Any) -> tuple[int, ...] | None:
    """`image_shape` as a tuple of ints; None stays None; anything else raises ValueError."""
    if shape is None:
        return None
    shape = tuple(np.atleast_1d(shape).tolist())
    if not shape or any(not isinstance(size, Integral) or isinstance(size, bool) or size < 1 for size in shape):
        raise ValueError(f"image_shape must hold ints in the range [1, inf). Got {shape!r} instead.")
    return shape
