"""How the numbers of a column become what a likelihood takes, and back. numpy only.

One small class a way of packing and one row in `SCALINGS`, keyed by likelihood.
"""

import math
from abc import ABC, abstractmethod
from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.special import ndtri

from skvae.curves import NormalScoreCurve, fit_curve, log_bend, rooms, straight, towards
from skvae.moments import moments
from skvae.persistence import Saved

# in standard deviations, both unmeasured: the spacing of a lattice up to which it counts as a continuum, and the smallest
# scale of a density on one
FINE, LEAST_SCALE = 0.02, 0.01
APART, MIN_ROWS_CHANCE = 5, 200  # median gaps that a value is apart; rows from which heaviness is no chance; unmeasured
FARTHEST_SCORE = 100.0  # an edge that no normal score is beyond
BEYOND = 0.1  # expected number of rows of a normal distribution beyond the greatest score that is drawn


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
        Ends of that lattice, in packed units; of normal scores, the least and the greatest that are drawn.
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
    """Packing that is (number - centre) / scale, and then the score by a curve if there is one, of numbers within bounds;
    others are packed one by one.
    """

    centre: float = 0.0
    scale: float = 1.0
    lower: float = -math.inf
    upper: float = math.inf
    curve: NormalScoreCurve | None = None


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
    bounds : (float, float)
        That numbers keep by their nature.
    """

    variable: Variable

    def __init__(
        self,
        name: Any,
        likelihood: str,
        spacing: float,
        discrete: bool,
        bounds: tuple[float, float] = (-math.inf, math.inf),
    ):
        self.name, self.likelihood, self.spacing, self.discrete, self.bounds = name, likelihood, spacing, discrete, bounds

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


class NormalScoreScaling(AbstractScaling):
    """Normal scores by a smooth curve, which have a density (the nonparanormal of Liu et al., 2009, of one column).

    Where most numbers are among few, such as prices or ages of which some are in months, a draw whose score is among those
    of the rows of a number that repeats is that number.
    """

    # rows of a number that repeats; share of such rows; share of a grid that is taken; rows of all
    repeats, min_repeated, most_of_grid, min_rows_heaps = 3, 0.5, 0.5, 50
    # rows that suffice to learn by how much bins are likelier: of all, of a bin, and of the outermost; and bins at most
    min_rows_bins, rows_a_bin, least_rows_bin, max_bins = 1000, 50, 10, 64

    def fit(self, values, weight):
        self.centre, self.scale = moments(values, weight)
        lower, upper = ((bound - self.centre) / self.scale for bound in self.bounds)
        self.curve = fit_curve((values - self.centre) / self.scale, weight, (lower, upper))
        self.heaps, self.heap_scores = self._heaps(values, weight)
        n_bins = min(len(values) // self.rows_a_bin, self.max_bins)
        # a column that is normal may well be so given others
        in_bins = len(values) >= self.min_rows_bins and len(self.curve.values) > 1
        self.variable = self._in_bins(n_bins, len(values)) if in_bins else self._within_reach(self.pack(values))

    def _heaps(self, values, weight):
        """The numbers that repeat (m,), and the scores between which their rows are (m, 2), of values (n,)."""
        found, at, counts = np.unique(values, return_inverse=True, return_counts=True)
        repeated = counts >= self.repeats
        on_grid = (found[-1] - found[0]) / self.spacing if self.spacing else math.inf
        few = counts[repeated].sum() < self.min_repeated * len(values) or len(values) < self.min_rows_heaps
        if few or len(found) > self.most_of_grid * on_grid:
            repeated[:] = False
        upper = np.bincount(at, weight).cumsum() / weight.sum()
        scores = ndtri(np.column_stack([np.append(0.0, upper[:-1]), upper]).clip(0, 1))
        return found[repeated], scores[repeated]

    def _within_reach(self, scores: np.ndarray) -> Variable:
        """A variable whose draws do not lie far beyond the scores of the rows (n,).

        Student's t distribution of few degrees of freedom, which suits a cell that others nearly tell, would otherwise draw
        one at a hundred standard deviations where they tell nothing.
        """
        reach = -ndtri(min(BEYOND / len(scores), 0.5))
        return Variable(self.likelihood, lower=float(min(-reach, scores.min())), upper=float(max(reach, scores.max())))

    def _in_bins(self, n_bins: int, n_rows: int) -> Variable:
        """With bins of scores, which hold equal shares of a normal distribution; towards the ends ever smaller ones."""
        halvings = 0.5 ** np.arange(1, math.log2(max(n_rows / n_bins / self.least_rows_bin, 1)) + 1)[::-1] / n_bins
        shares = np.concatenate([halvings, np.arange(1, n_bins) / n_bins, 1 - halvings[::-1]])
        scores = np.concatenate([[-FARTHEST_SCORE], ndtri(shares), [FARTHEST_SCORE]])
        mass = np.diff(shares, prepend=0.0, append=1.0)
        means = -np.diff(np.exp(-0.5 * scores**2)) / math.sqrt(2 * math.pi) / mass
        return Variable(self.likelihood, len(mass), edge_scores=_plain_tuple(scores), bin_means=_plain_tuple(means))

    @property
    def affine(self):
        return None if len(self.heaps) else Affine(self.centre, self.scale, curve=self.curve)

    def pack(self, values):
        scores = self.curve.to_scores((values - self.centre) / self.scale)
        if len(self.heaps):  # a number that repeats stays among the scores of its rows
            heap = np.searchsorted(self.heaps, values).clip(0, len(self.heaps) - 1)
            lower, upper = self.heap_scores[heap].T
            scores = np.where(values == self.heaps[heap], scores.clip(lower, np.nextafter(upper, -np.inf)), scores)
        return scores

    def unpack(self, packed):
        values = self.curve.to_values(packed) * self.scale + self.centre
        if len(self.heaps):
            heap = (np.searchsorted(self.heap_scores[:, 0], packed, side="right") - 1).clip(0)
            values = np.where(
                (packed >= self.heap_scores[heap, 0]) & (packed < self.heap_scores[heap, 1]), self.heaps[heap], values
            )
        return values

    def log_jacobian(self, packed):
        lattice = math.log(self.spacing) if self.discrete else 0.0
        return lattice - math.log(self.scale) - self.curve.log_slope(packed)


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
    """Numbers from 0 to 1, as they are."""

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
    half the gap to the next value) wide: what is drawn there is that value. Other pieces hold some 80 rows, ever fewer
    towards the ends of the data and towards a gap beside a heavy value; a thousandth of every bin is spread evenly over it,
    for values that `fit` did not see. Past an end that does not repeat lies as much as one row of one more than there are,
    the expected share of draws beyond the greatest of n; it falls off exponentially, as the outermost rows do.
    """

    repeats = 5  # rows that give a value a piece of its own
    heavy_share = 0.02  # of a value, by itself among lighter ones, that has a bin of its own; unmeasured
    elsewhere = 0.001
    most_past_ends = 0.5  # share of a bin at most

    def fit(self, values, weight):
        self.n_rows = n = len(values)
        found, at = _distinct(values)
        share = np.bincount(at, weight) / weight.sum()
        bounds = _quantile_groups(share, n_bins=int(np.clip(n // 50, 8, 64)), least=min(20 / n, 1.0))
        heavy = np.flatnonzero(heavy_values(found, np.bincount(at), self.repeats, self.heavy_share))
        bounds = np.unique(np.concatenate([bounds, heavy, heavy + 1]))
        self._fit_pieces(found, share, bounds, np.bincount(at))
        self.edges = self.knots[np.searchsorted(self.packed_knots, np.arange(len(bounds)))]
        atoms = np.where(np.diff(bounds) == 1, found[bounds[:-1]], np.nan)
        self.centre, self.scale = moments(values, weight)
        mass = np.add.reduceat(share, bounds[:-1])
        self.tails = np.minimum(1 / (n + 1) / mass[[0, -1]], self.most_past_ends) * np.isnan(self.spikes[[0, -1]])
        means = (np.add.reduceat(share * found, bounds[:-1]) / mass - self.centre) / self.scale
        least = 0.25 / len(values)
        scores = ndtri(np.clip(np.concatenate([[0], mass.cumsum()]), least, 1 - least))
        places = np.interp(atoms, self.knots, self.packed_knots) - np.arange(len(mass))
        knots = zip((self.knots - self.centre) / self.scale, self.packed_knots, strict=True)
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
        self.reaches = np.array([_mean_excess(found, counts), _mean_excess(-found[::-1], counts[::-1])])
        # between two runs: the end of the left one, a place between, the start of the right one; a value by itself ends with
        # its cell, and a run beside it as far from its own outermost value as rows lie from each other there
        between = self._between(found[last[:-1]], found[first[1:]])
        ends = np.minimum(found[last[:-1]] + half, between), np.maximum(found[first[1:]] - half, between)
        to_left, to_right = _reaches(found, counts, first, last, alone)
        near = np.minimum(ends[1], (found[last] + to_right)[:-1]), np.maximum(ends[0], (found[first] - to_left)[1:])
        right = np.where(alone[:-1], ends[0], np.where(alone[1:], near[0], between))
        left = np.where(alone[1:], ends[1], np.where(alone[:-1], near[1], between))
        inner = np.column_stack([right, between.clip(right, left), left]).ravel()
        outer = self._outer(found, gaps, half * alone[[0, -1]])
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

    def _outer(self, found, gaps, cells):
        """How far the first and the last piece go beyond their outermost value; sets `rooms`, that are left from there.

        cells : (2,), half the width of the cell of a value that is by itself there, else 0.
        """
        below, above = rooms(found, self.bounds)
        half = [cell or (self.spacing or gap) / 2 for cell, gap in zip(cells, gaps[[0, -1]], strict=True)]
        outer = min(half[0], below / 2), min(half[1], above / 2)
        self.rooms = float(below - outer[0]), float(above - outer[1])
        return outer

    def _between(self, left, right):
        """A knot between values (k,) and the next ones (k,)."""
        if not self.spacing:
            return left + (right - left) / 2
        return left + self.spacing * (np.floor((right - left) / self.spacing / 2 - 0.5 + 1e-9).clip(0) + 0.5)

    def pack(self, values):
        codes = np.searchsorted(self.edges[1:-1], values, side="right")
        # float32 must not round a place up into the next bin
        packed = codes + (np.interp(values, self.knots, self.packed_knots) - codes).clip(0, 1 - 2**-16)
        first, last = self.edges[[0, -1]]
        below = straight(np.maximum(first - values, 0), self.rooms[0]) / self.reaches[0]
        above = straight(np.maximum(values - last, 0), self.rooms[1]) / self.reaches[1]
        packed = np.where(values < first, -below, packed)
        return np.where(values > last, self._n_bins + above, packed)

    @property
    def _n_bins(self):
        return len(self.edges) - 1

    def _pieces(self, packed):
        return (np.searchsorted(self.packed_knots, packed, side="right") - 1).clip(0, len(self.spikes) - 1)

    def unpack(self, packed):
        spikes, (below, above) = self.spikes[self._pieces(packed)], self._past(packed)
        values = np.where(np.isnan(spikes), np.interp(packed, self.packed_knots, self.knots), spikes)
        return values - towards(below, self.rooms[0]) + towards(above, self.rooms[1])

    def _past(self, packed):
        """How far packed numbers are past the first and past the last edge, in units of the values; without bounds."""
        return np.maximum(-packed, 0) * self.reaches[0], np.maximum(packed - self._n_bins, 0) * self.reaches[1]

    def log_jacobian(self, packed):
        piece = self._pieces(packed)
        density = np.log(np.diff(self.packed_knots)[piece]) - np.log(np.diff(self.knots)[piece])
        codes = np.floor(packed).astype(int).clip(0, self._n_bins - 1)
        below, above = self.tails
        density += np.log1p(-below * (codes == 0) - above * (codes == self._n_bins - 1))
        past = np.where(packed < 0, -packed, packed - self._n_bins)
        # past an end that repeats nothing is drawn: a number there is as likely as the least that may lie past an end
        share = np.maximum(self.tails, self.elsewhere / self.n_rows) / self.reaches
        bend = sum(log_bend(distance, room) for distance, room in zip(self._past(packed), self.rooms, strict=True))
        density = np.where(past > 0, np.log(np.where(packed < 0, *share)) - past + bend, density)
        return density + (math.log(self.spacing) if self.discrete else 0.0)


def _distinct(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values (n,) that differ by more than rounding, sorted (k,), and which of them each is (n,)."""
    found, at = np.unique(values, return_inverse=True)
    is_new = np.append(True, np.diff(found) > 8 * np.finfo(float).eps * np.abs(found[[0, -1]]).max())
    return found[is_new], (is_new.cumsum() - 1)[at]


def heavy_values(found: np.ndarray, counts: np.ndarray, least: float, share: float) -> np.ndarray:
    """Which values are much heavier than those beside them, (k,), bool.

    found : (k,), ascending, with counts (k,) of rows; least, share : rows that a value has at least, and share of them.
    """
    beside = np.maximum(np.append(counts[1:], 0), np.append(0, counts[:-1]))
    gaps = np.diff(found)
    gap = np.minimum(np.append(gaps, np.inf), np.append(np.inf, gaps))
    apart = gap > APART * (np.median(gaps) if len(gaps) else 0.0)
    # of few rows, a value of a coarse grid is soon four times as heavy as the next
    times = np.where(apart | (counts.sum() >= MIN_ROWS_CHANCE), 4, 8)
    return (counts >= max(least, share * counts.sum())) & (counts >= times * beside)


def _mean_excess(found: np.ndarray, counts: np.ndarray) -> float:
    """How far the outermost rows of the least values lie from the innermost of them, on average: the scale of an
    exponential tail (its maximum likelihood estimate). found : (k,), ascending, with counts (k,).
    """
    rows = min(max(counts.sum() // 50, 4), 20)
    end = int(np.searchsorted(counts.cumsum(), rows)) + 1
    distance = found[min(end, len(found)) - 1] - found[:end]
    n_inner = max(counts[: end - 1].sum(), 1)
    return float((distance * counts[:end]).sum() / n_inner) or float(np.diff(found).min(initial=1.0))


def _reaches(found: np.ndarray, counts: np.ndarray, first: np.ndarray, last: np.ndarray, alone: np.ndarray):
    """How far runs of values go on where a value by itself is beside them: below their first value, and above their last.

    found : (k,), ascending, with counts (k,); first, last : the places there of those of each run, (m,); alone : (m,), bool,
    which runs are a value by itself. Returns two of (m,), 0 where there is none beside.
    """
    below, above = np.zeros(len(first)), np.zeros(len(first))
    turns = np.flatnonzero(np.diff(np.concatenate([[True], alone, [True]]).astype(int)))
    for start, end in zip(turns[::2], turns[1::2] - 1, strict=True):  # the runs between two values by themselves
        inner = slice(first[start], last[end] + 1)
        below[start] = _mean_excess(found[inner], counts[inner])
        above[end] = _mean_excess(-found[inner][::-1], counts[inner][::-1])
    return below, above


def _light_starts(share: np.ndarray, bounds: np.ndarray, n_rows: int) -> np.ndarray:
    """Where bins start, and pieces in them: of values with shares (k,), bin b from bounds[b] to bounds[b + 1] - 1."""
    starts, alone = [bounds[:-1]], np.diff(bounds) == 1
    before, after = np.append(True, alone[:-1]), np.append(alone[1:], True)  # an end of the data, or a value by itself
    for k, (first, end) in enumerate(pairwise(bounds)):
        cumulated = share[first:end].cumsum()
        starts.append(first + _inner_knots(cumulated / cumulated[-1], cumulated[-1] * n_rows, before[k], after[k]))
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


# how the numbers of a column are packed for a likelihood; for one that is not listed, as `DensityScaling` does
SCALINGS: dict[str, type[AbstractScaling]] = {
    "gaussian": LatticeScaling,
    "normal_scores": NormalScoreScaling,
    "student_t": DensityScaling,
    "log_normal": LogarithmScaling,
    "bernoulli": ShareScaling,
    "continuous_bernoulli": ShareScaling,
    "poisson": CountScaling,
    "negative_binomial": CountScaling,
    "zero_inflated_negative_binomial": CountScaling,
    "histogram": BinScaling,
}
