"""How the numbers of a column become what a likelihood takes, and back. numpy only.

One small class a way of packing and one row in `SCALINGS`, keyed by likelihood.
"""

import math
from abc import ABC, abstractmethod
from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.special import ndtri

from skvae.persistence import Saved

# in standard deviations, both unmeasured: the spacing of a lattice up to which it counts as a continuum, and the smallest
# scale of a density on one
FINE, LEAST_SCALE = 0.02, 0.01
LEAST_DEVIATION = 1e-6  # of a column beside half its range: rows of equal weight never have less


@dataclass(frozen=True)
class Variable(Saved):
    """What the model must know of one packed column.

    Attributes
    ----------
    likelihood : str
        A key of LIKELIHOODS.
    size : int
        Number of categories or bins; 0 for other numbers.
    coded : bool
        Whether cells are codes without an order, which the encoder embeds.
    centre, scale : float
        Mean and standard deviation of what the encoder sees, where that is not standardised already.
    edge_scores : tuple of float (size + 1,)
        Of bins: the normal scores of their edges.
    bin_means : tuple of float (size,)
        Of bins: the mean of the numbers in each, standardised.
    atoms : tuple of float (size,)
        Of bins: the place in each, from 0 to 1, that every draw takes; NaN where draws fill the whole bin.
    knots : tuple of (float, float)
        Of bins: the piecewise linear map between standardised numbers and packed ones.
    spikes : tuple of bool
        Of bins: whether all numbers between a knot and the next stand for one value.
    tails : (float, float)
        Of bins: shares of the first and of the last bin that lie beyond the data.
    spacing : float
        Distance between neighbours on the lattice of discrete numbers, in packed units; 0 for a continuum.
    lower, upper : float
        Ends of that lattice, in packed units.
    least_scale : float
        The smallest scale of a density, in packed units: it keeps repeated values from drawing the density to infinity.
    indicator : int
        Place of the variable that says whether this one is missing; -1 where there is none.
    unseen : float
        Probability of a category that fit did not see: that of one more row.
    """

    likelihood: str
    size: int = 0
    coded: bool = False
    centre: float = 0.0
    scale: float = 1.0
    edge_scores: tuple[float, ...] = ()
    bin_means: tuple[float, ...] = ()
    atoms: tuple[float, ...] = ()
    knots: tuple[tuple[float, float], ...] = ()
    spikes: tuple[bool, ...] = ()
    tails: tuple[float, float] = (0.0, 0.0)
    spacing: float = 0.0
    lower: float = -math.inf
    upper: float = math.inf
    least_scale: float = LEAST_SCALE
    indicator: int = -1
    unseen: float = 1.0


@dataclass(frozen=True)
class Affine(Saved):
    """Packing that is no more than (number - centre) / scale, of numbers within bounds; others are packed one by one."""

    centre: float = 0.0
    scale: float = 1.0
    lower: float = -math.inf
    upper: float = math.inf


class AbstractScaling(ABC, Saved):
    """How the numbers (n,) of a column become what a likelihood takes.

    Parameters
    ----------
    name : str
        The column's, for errors.
    likelihood : str
        The key of LIKELIHOODS.
    spacing : float
        Distance between neighbours on the lattice that the numbers lie on; 0 for a continuum.
    discrete : bool
        Whether a cell has a probability (integers) or a density.
    """

    variable: Variable
    bounded = True  # whether unpacked numbers are to stay within the bounds that `fit` saw

    def __init__(self, name, likelihood: str, spacing: float, discrete: bool):
        self.name, self.likelihood, self.spacing, self.discrete = name, likelihood, spacing, discrete

    @abstractmethod
    def fit(self, values: np.ndarray, weight: np.ndarray) -> None:
        """Learn from numbers (n,), none missing, with weight (n,); set `variable`."""

    @abstractmethod
    def pack(self, values: np.ndarray) -> np.ndarray:
        """Numbers (n,), NaN for missing, to packed numbers (n,)."""

    @abstractmethod
    def unpack(self, packed: np.ndarray) -> np.ndarray:
        """Packed numbers (n,) to numbers (n,)."""

    @property
    def affine(self) -> Affine | None:
        """What `pack` does, if it is as simple as that: many columns are then packed at once."""
        return None

    def log_jacobian(self, packed: np.ndarray) -> np.ndarray | float:
        """As in `AbstractSchema`, for one column (n,)."""
        return 0.0

    def check(self, values: np.ndarray, wrong: np.ndarray, takes: str) -> None:
        """Refuse numbers (n,) where wrong (n,)."""
        if wrong.any():
            raise ValueError(
                f"The {self.likelihood} likelihood of column {self.name!r} takes {takes}, got {values[wrong][0]:g}. "
                "Transform the column, or give it another likelihood."
            )


class _Standardised(AbstractScaling):
    """Mean zero, standard deviation one."""

    def fit(self, values, weight):
        self.centre, self.scale = moments(values, weight)
        self.variable = self._variable(self.spacing / self.scale if self.discrete else 0.0)

    @abstractmethod
    def _variable(self, spacing: float) -> Variable:
        """What the model must know; spacing : of discrete numbers, in packed units, 0 of others."""

    @property
    def affine(self):
        return Affine(self.centre, self.scale)

    def pack(self, values):
        return (values - self.centre) / self.scale

    def unpack(self, packed):
        return packed * self.scale + self.centre

    def log_jacobian(self, packed):
        if self.variable.spacing:
            return 0.0
        return (math.log(self.spacing) if self.discrete else 0.0) - math.log(self.scale)


class DensityScaling(_Standardised):
    """Standardised numbers with a density; that of a discrete one, times the spacing, is its probability."""

    def _variable(self, spacing):
        return Variable(self.likelihood, least_scale=max(LEAST_SCALE, min(spacing, 1.0)))


class LatticeScaling(_Standardised):
    """Standardised numbers; discrete ones have the probability of their cell of the lattice."""

    def _variable(self, spacing):
        # on a lattice much finer than the spread, the mass of a cell is its density times the spacing
        if spacing > FINE:
            return Variable(self.likelihood, spacing=spacing)
        return Variable(self.likelihood, least_scale=max(LEAST_SCALE, spacing))


class LogarithmScaling(AbstractScaling):
    """Standardised logarithm of positive numbers."""

    def fit(self, values, weight):
        self.check(values, values <= 0, "positive numbers")
        self.centre, self.scale = moments(np.log(values), weight)
        self.variable = Variable(self.likelihood)

    def pack(self, values):
        self.check(values, values <= 0, "positive numbers")
        return (np.log(values) - self.centre) / self.scale

    def unpack(self, packed):
        return np.exp(np.minimum(packed * self.scale + self.centre, 700.0))

    def log_jacobian(self, packed):
        lattice = math.log(self.spacing) if self.discrete else 0.0
        return lattice - math.log(self.scale) - (packed * self.scale + self.centre)


class ShareScaling(AbstractScaling):
    """Numbers from 0 to 1, as they are. What is drawn may be 0 or 1 where `fit` saw shares between them."""

    bounded = False

    def fit(self, values, weight):
        self.pack(values)
        self.variable = Variable(self.likelihood, unseen=1 / (len(values) + 1))

    @property
    def affine(self):
        return Affine(lower=0.0, upper=1.0)

    def pack(self, values):
        self.check(values, (values < 0) | (values > 1), "values in [0, 1]")
        return values

    def unpack(self, packed):
        return packed


class CountScaling(AbstractScaling):
    """Whole numbers from 0 up, as they are; the encoder sees log(1 + x), standardised."""

    def fit(self, values, weight):
        self.pack(values)
        centre, scale = moments(np.log1p(values), weight)
        self.variable = Variable(self.likelihood, centre=centre, scale=scale)

    def pack(self, values):
        self.check(values, (values < 0) | (values != np.round(values)) & ~np.isnan(values), "whole numbers from 0 up")
        return values

    def unpack(self, packed):
        return packed.round()


class BinScaling(AbstractScaling):
    """The code of a quantile bin, plus the place in it from 0 to 1. A heavy value has a bin of its own, as an atom of it.

    Inside a bin, places are shares of its rows, read off knots; so the map from numbers to packed ones is one rising,
    piecewise linear function, and the density is honest. A value that repeats has a piece of its own, one lattice cell (or
    half the gap to the next value) wide: what is drawn there is that value. Other pieces hold some 80 rows; a thousandth of
    every bin is spread evenly over it, for values that `fit` did not see. Past each end lie as many draws as three rows,
    falling off exponentially: of as many draws as rows, 19 in 20 times some reach the bound, which they are clipped to.
    """

    repeats = 5  # rows that give a value a piece of its own
    elsewhere = 0.001
    past_ends, most_past_ends = 3, 0.5  # rows, and their share of a bin at most

    def fit(self, values, weight):
        found, at = _distinct(values)
        share = np.bincount(at, weight) / weight.sum()
        n = len(values)
        bounds = _quantile_groups(share, n_bins=int(np.clip(n // 50, 8, 64)), least=min(20 / n, 1.0))
        self._fit_pieces(found, share, bounds, np.bincount(at))
        self.edges = self.knots[np.searchsorted(self.packed_knots, np.arange(len(bounds)))]
        atoms = np.where(np.diff(bounds) == 1, found[bounds[:-1]], np.nan)
        self.centre, self.tail = moments(values, weight)
        mass = np.add.reduceat(share, bounds[:-1])
        self.tails = np.minimum(self.past_ends / n / mass[[0, -1]], self.most_past_ends)
        means = (np.add.reduceat(share * found, bounds[:-1]) / mass - self.centre) / self.tail
        least = 0.25 / len(values)
        scores = ndtri(np.clip(np.concatenate([[0], mass.cumsum()]), least, 1 - least))
        places = np.interp(atoms, self.knots, self.packed_knots) - np.arange(len(mass))
        knots = zip((self.knots - self.centre) / self.tail, self.packed_knots, strict=True)
        self.variable = Variable(
            self.likelihood,
            len(mass),
            edge_scores=_plain_tuple(scores),
            bin_means=_plain_tuple(means),
            atoms=_plain_tuple(places),
            knots=tuple((float(x), float(p)) for x, p in knots),
            spikes=tuple((~np.isnan(self.spikes)).tolist()),
            tails=(float(self.tails[0]), float(self.tails[1])),
        )

    def _fit_pieces(self, found, share, bounds, counts):
        """`knots` between pieces, their `packed_knots`, and the value `spikes` that a piece stands for, NaN for none.

        found : (k,), sorted, with share (k,) and counts (k,); bin b holds values bounds[b] to bounds[b + 1] - 1.
        """
        gaps = np.diff(found) if len(found) > 1 else np.array([self.spacing or 1.0])
        half = 0.5 * (self.spacing or gaps.min() / 2)
        repeated = counts >= self.repeats
        repeated[bounds[:-1][np.diff(bounds) == 1]] = True
        first = np.union1d(_light_starts(share, bounds, counts.sum()), np.flatnonzero(repeated))
        first = np.union1d(first, np.flatnonzero(repeated[:-1]) + 1)  # of each run of values that share a piece
        last, alone = np.append(first[1:], len(found)) - 1, repeated[first]
        # between two runs: the end of the left one, a place between, the start of the right one; where one of them is a
        # value by itself, it ends with its cell, and the other reaches up to there
        between = self._between(found[last[:-1]], found[first[1:]])
        ends = np.minimum(found[last[:-1]] + half, between), np.maximum(found[first[1:]] - half, between)
        right = np.where(alone[:-1], ends[0], np.where(alone[1:], ends[1], between))
        left = np.where(alone[1:], ends[1], right)
        inner = np.column_stack([right, between.clip(right, left), left]).ravel()
        outer = (self.spacing or gaps[0]) / 2, (self.spacing or gaps[-1]) / 2
        knots = np.concatenate([[found[0] - outer[0]], inner, [found[-1] + outer[1]]])
        runs = np.arange(len(first)).repeat(3)[1:-1]  # which of them each piece belongs to; every third one holds values
        mass, spikes = np.zeros(len(runs)), np.full(len(runs), np.nan)
        mass[::3], spikes[::3] = np.add.reduceat(share, first), np.where(alone, found[first], np.nan)
        bin_of = np.searchsorted(bounds, first, side="right")[runs] - 1
        width = np.diff(knots)
        parts = [v / np.bincount(bin_of, v)[bin_of] for v in (mass, width)]
        cumulated = ((1 - self.elsewhere) * parts[0] + self.elsewhere * parts[1]).cumsum()
        kept = width > 0
        self.spikes = spikes[kept]
        self.knots = np.append(knots[:-1][kept], knots[-1])
        self.packed_knots = np.append(0.0, cumulated)[np.append(kept, True)]
        ends_of_bins = np.append(0, np.flatnonzero(np.append(np.diff(bin_of[kept]), 1)) + 1)
        self.packed_knots[ends_of_bins] = np.arange(len(bounds))  # sums of shares, but for rounding

    def _between(self, left, right):
        """A knot between values (k,) and the next ones (k,)."""
        if not self.spacing:
            return left + (right - left) / 2
        return left + self.spacing * (np.floor((right - left) / self.spacing / 2 - 0.5 + 1e-9).clip(0) + 0.5)

    def pack(self, values):
        codes = np.searchsorted(self.edges[1:-1], values, side="right")
        # float32 must not round a place up into the next bin
        packed = codes + (np.interp(values, self.knots, self.packed_knots) - codes).clip(0, 1 - 2**-16)
        packed = np.where(values < self.edges[0], (values - self.edges[0]) / self.tail, packed)
        return np.where(values > self.edges[-1], self._n_bins + (values - self.edges[-1]) / self.tail, packed)

    @property
    def _n_bins(self):
        return len(self.edges) - 1

    def _pieces(self, packed):
        return (np.searchsorted(self.packed_knots, packed, side="right") - 1).clip(0, len(self.spikes) - 1)

    def unpack(self, packed):
        spikes = self.spikes[self._pieces(packed)]
        return np.where(np.isnan(spikes), np.interp(packed, self.packed_knots, self.knots), spikes)

    def log_jacobian(self, packed):
        piece = self._pieces(packed)
        density = np.log(np.diff(self.packed_knots)[piece]) - np.log(np.diff(self.knots)[piece])
        codes = np.floor(packed).astype(int).clip(0, self._n_bins - 1)
        below, above = self.tails
        density += np.log1p(-below * (codes == 0) - above * (codes == self._n_bins - 1))
        past, share = np.where(packed < 0, -packed, packed - self._n_bins), np.where(packed < 0, below, above)
        density = np.where(past > 0, np.log(share / self.tail) - past, density)
        return density + (math.log(self.spacing) if self.discrete else 0.0)


def _distinct(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values (n,) that differ by more than rounding, sorted (k,), and which of them each is (n,)."""
    found, at = np.unique(values, return_inverse=True)
    is_new = np.append(True, np.diff(found) > 8 * np.finfo(float).eps * np.abs(found[[0, -1]]).max())
    return found[is_new], (is_new.cumsum() - 1)[at]


def _light_starts(share: np.ndarray, bounds: np.ndarray, n_rows: int) -> np.ndarray:
    """Where bins start, and pieces in them: of values with shares (k,), bin b from bounds[b] to bounds[b + 1] - 1."""
    starts, last = [bounds[:-1]], len(bounds) - 2
    for k, (first, end) in enumerate(pairwise(bounds)):
        cumulated = share[first:end].cumsum()
        starts.append(first + _inner_knots(cumulated / cumulated[-1], cumulated[-1] * n_rows, k == 0, k == last))
    return np.unique(np.concatenate(starts))


def _plain_tuple(values: np.ndarray) -> tuple[float, ...]:
    return tuple(values.tolist())


def _inner_knots(cumulated: np.ndarray, n_rows: float, is_first: bool, is_last: bool) -> np.ndarray:
    """Where knots inside a bin stand: before which of its values, of cumulated shares (k,); at least 80 rows apart.

    Towards the ends of the data they stand ever closer, down to a row, so that draws have tails as long as the data's.
    """
    targets = np.linspace(0, 1, int(np.clip(n_rows // 80, 1, 16)) + 1)[1:-1]
    closer = 0.8 ** np.arange(1, math.log(max(n_rows, 2), 1.25) + 1)
    if is_last:
        targets = np.union1d(targets, 1 - closer)
    if is_first:
        targets = np.union1d(targets, closer)
    at = np.unique(np.searchsorted(cumulated, targets + 1e-12))
    return at[(at > 0) & (at < len(cumulated))]


def _quantile_groups(share: np.ndarray, n_bins: int, least: float) -> np.ndarray:
    """Where groups of consecutive values start, and the end: values of shares (k,) in at most n_bins groups of like share.

    No more values than bins are a group each. Else a value of more than a group's share is one by itself, and the groups of
    the others are as small as the number of bins and their `least` share let them be: beside a heavy zero, what is not zero
    is told apart as finely.
    """
    if len(share) <= n_bins:
        return np.arange(len(share) + 1)
    cumulated, sizes = share.cumsum(), np.geomspace(least, 1.0, 256)
    few_enough = bisect_left(sizes, True, key=lambda size: len(_groups_below(cumulated, size)) <= n_bins + 1)
    return _groups_below(cumulated, sizes[few_enough])


def _groups_below(cumulated: np.ndarray, size: float) -> np.ndarray:
    """Where groups of no more than a share start, and the end; cumulated : shares (k,) of values, added up."""
    bounds, before = [0], 0.0
    while bounds[-1] < len(cumulated):
        end = np.searchsorted(cumulated, before + size + 1e-12, side="right")
        bounds.append(max(int(end), bounds[-1] + 1))
        before = cumulated[bounds[-1] - 1]
    return np.array(bounds)


def value_range(values: np.ndarray) -> tuple[float, float]:
    """Least and greatest of values (n,); zeros where there are none."""
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)


def moments(values: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Weighted mean and standard deviation of values (n,); deviation 1 where they do not vary."""
    lower, upper = value_range(values)
    if lower == upper:
        return lower, 1.0
    size = max(-lower, upper)  # squares of numbers near 1e300, or 1e-300, leave the range of float64
    mean = np.average(values / size, weights=weight)
    deviation = math.sqrt(np.average((values / size - mean) ** 2, weights=weight)) * size
    # where one row outweighs all others, theirs are still numbers that can be squared
    return float(mean) * size, max(deviation, LEAST_DEVIATION * (upper / 2 - lower / 2)) or 1.0


# how the numbers of a column are packed for a likelihood; for one that is not listed, as `DensityScaling` does
SCALINGS: dict[str, type[AbstractScaling]] = {
    "gaussian": LatticeScaling,
    "student_t": DensityScaling,
    "log_normal": LogarithmScaling,
    "bernoulli": ShareScaling,
    "continuous_bernoulli": ShareScaling,
    "poisson": CountScaling,
    "negative_binomial": CountScaling,
    "zero_inflated_negative_binomial": CountScaling,
    "histogram": BinScaling,
}
