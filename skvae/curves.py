"""Smooth rising curves between numbers and normal scores, and tails that end at a bound. numpy only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from skvae.moments import moments
from skvae.persistence import Saved

N_FOLDS = 5
N_KNOTS = 2, 3, 4, 6, 8, 12, 16, 24, 32, 48  # tried, beside none at all: a normal distribution
ROWS_A_KNOT = 8  # at least; unmeasured
MAX_ROWS_CURVE = 20_000  # rows that a curve is learned from, at most; unmeasured
LEAST_SLOPE = 1e-3  # of a curve, in standard deviations of the numbers; unmeasured
OUTSIDE = 2, 8, 30  # rows outside of the outermost knots: at least, at most of few rows, and of many; unmeasured
SMOOTHING = 0.6, 0.15  # bandwidth in knots' distances, and in normal scores at least; unmeasured
BEND_PENALTY = 0.25  # one row more, a unit of score past the knot, that wants a straight line; unmeasured
LEAST_GAIN = 1.0  # nats of all held-out numbers, that more knots must bring (small tables)
MANY_ROWS = 1000  # from which it is the logarithm of their number, as of a parameter more in BIC; unmeasured
FEW_ROWS = 64  # for which many curves at once are faster; unmeasured
NEARLY = 1 - 1e-12  # share of the way to a bound, from which numbers count as beyond it


def natural_bounds(values: np.ndarray) -> tuple[float, float]:
    """Bounds that numbers (n,) keep by their nature, as far as they can be seen: of shares 0 and 1, else a sign."""
    lower, upper = (values.min(), values.max()) if len(values) else (0.0, 0.0)
    if lower >= 0:
        return 0.0, 1.0 if upper <= 1 else math.inf
    return -math.inf, 0.0 if upper <= 0 else math.inf


def rooms(values: np.ndarray, bounds: tuple[float, float]) -> tuple[float, float]:
    """How far bounds lie from the least and from the greatest of numbers (n,).

    Infinite also where a number is at the bound: what is drawn beyond it is then the bound itself, as in the data.
    """
    lower, upper = bounds
    below, above = float(values.min()) - lower, upper - float(values.max())
    return below or math.inf, above or math.inf


def towards(distance: np.ndarray, room: float) -> np.ndarray:
    """How far it goes from an end towards a bound that is `room` away, which a straight line would overrun: (n,) to (n,)."""
    return distance if math.isinf(room) else -room * np.expm1(-distance / room)


def straight(distance: np.ndarray, room: float) -> np.ndarray:
    """The inverse of `towards`; beyond the bound the distance itself is added."""
    if math.isinf(room):
        return distance
    within = np.minimum(distance, NEARLY * room)
    return -room * np.log1p(-within / room) + (distance - within)


def log_bend(distance: np.ndarray, room: float) -> np.ndarray:
    """By how much `straight` stretches there, as a logarithm. distance : (n,), straight; returns the same."""
    return np.where(distance <= -room * math.log(1 - NEARLY), distance / room, 0.0)


@dataclass(frozen=True)
class NormalScoreCurve(Saved):
    """The rising curve x(z) from normal scores to numbers: a monotone rational quadratic spline (Gregory & Delbourgo, 1982).

    Beyond the outermost knots it is a line, as of a normal distribution, or a parabola, as of one with heavier tails (where
    the slope grows as the score does, they are exponential); towards a natural bound it bends, and never reaches it.

    Attributes
    ----------
    scores, values, slopes : (k,)
        Of the knots: z, x and dx/dz.
    bends : (float, float)
        By how much the slope grows, for each unit of z, below the first and above the last knot.
    rooms : (float, float)
        How far the natural bounds are from the first and from the last knot.
    """

    scores: np.ndarray
    values: np.ndarray
    slopes: np.ndarray
    bends: tuple[float, float]
    rooms: tuple[float, float]

    def to_scores(self, x: np.ndarray) -> np.ndarray:
        """x : (n,), NaN for missing; returns the same."""
        values, scores = self.values, self.scores
        out = np.where(x < values[0], self._below(x), self._above(x))
        inside = np.flatnonzero((x > values[0]) & (x < values[-1]))
        if len(inside):
            piece, *shape = self._pieces(values, x[inside])
            out[inside] = _inside(x[inside] - values[piece], scores[piece], *shape)
        return out

    def _below(self, x: np.ndarray) -> np.ndarray:
        """Scores of numbers (n,) below the first knot."""
        distance = straight(np.maximum(self.values[0] - x, 0), self.rooms[0])
        return self.scores[0] - _time(distance, self.slopes[0], self.bends[0])

    def _above(self, x: np.ndarray) -> np.ndarray:
        """Scores of numbers (n,) above the last knot."""
        distance = straight(np.maximum(x - self.values[-1], 0), self.rooms[1])
        return self.scores[-1] + _time(distance, self.slopes[-1], self.bends[1])

    def to_values(self, z: np.ndarray) -> np.ndarray:
        """z : (n,); returns the same."""
        values, scores, slopes = self.values, self.scores, self.slopes
        below = values[0] - towards(_distance(np.maximum(scores[0] - z, 0), slopes[0], self.bends[0]), self.rooms[0])
        above = values[-1] + towards(_distance(np.maximum(z - scores[-1], 0), slopes[-1], self.bends[1]), self.rooms[1])
        out = np.where(z < scores[0], below, above)
        inside = np.flatnonzero((z > scores[0]) & (z < scores[-1]))
        if len(inside):
            piece, height, width, first, last, steep = self._pieces(scores, z[inside])
            t = (z[inside] - scores[piece]) / width
            rise = steep * t * t + first * t * (1 - t)
            out[inside] = values[piece] + height * rise / (steep + (first + last - 2 * steep) * t * (1 - t))
        return out

    def log_slope(self, z: np.ndarray) -> np.ndarray:
        """log dx/dz. z : (n,); returns the same."""
        scores, slopes = self.scores, self.slopes
        below, above = np.maximum(scores[0] - z, 0), np.maximum(z - scores[-1], 0)
        slope = np.where(z < scores[0], slopes[0] + self.bends[0] * below, slopes[-1] + self.bends[1] * above)
        stretched = log_bend(_distance(below, slopes[0], self.bends[0]), self.rooms[0])
        stretched = stretched + log_bend(_distance(above, slopes[-1], self.bends[1]), self.rooms[1])
        out = np.log(slope) - stretched
        inside = np.flatnonzero((z > scores[0]) & (z < scores[-1]))
        if len(inside):
            piece, _, width, first, last, steep = self._pieces(scores, z[inside])
            t = (z[inside] - scores[piece]) / width
            rate = steep * steep * (last * t * t + 2 * steep * t * (1 - t) + first * (1 - t) ** 2)
            out[inside] = np.log(rate) - 2 * np.log(steep + (first + last - 2 * steep) * t * (1 - t))
        return out

    def _pieces(self, knots: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, ...]:
        """The piece of each number (n,) between knots (k,), and its height, width, slopes at both ends and on average."""
        piece = np.searchsorted(knots, at).clip(1, len(knots) - 1) - 1
        height, width = np.diff(self.values)[piece], np.diff(self.scores)[piece]
        return piece, height, width, self.slopes[piece], self.slopes[piece + 1], height / width

    def is_finite(self) -> bool:
        """Whether it is a curve: where a few rows outweigh all others, some knots may have none beside them."""
        return bool(np.isfinite([*self.scores, *self.values, *self.slopes, *self.bends]).all())

    def log_density(self, x: np.ndarray) -> np.ndarray:
        """Of numbers whose scores are normal. x : (n,); returns the same."""
        z = self.to_scores(x)
        return -0.5 * z * z - 0.5 * math.log(2 * math.pi) - self.log_slope(z)


def _inside(rise, score, height, width, first, last, steep):
    """Scores of numbers that lie `rise` above the left knot of their piece, all (n,); the others as `_pieces` has them."""
    bend = first + last - 2 * steep
    a, b, c = height * (steep - first) + rise * bend, height * first - rise * bend, -steep * rise
    return score + width * (2 * c / (-b - np.sqrt(np.maximum(b * b - 4 * a * c, 0))))


class Curves:
    """Several curves, by which few rows of many columns are taken to scores at once: one by one takes as long for each.

    curves : sequence of NormalScoreCurve, c of them
    """

    def __init__(self, curves: Sequence[NormalScoreCurve]):
        self.curves = list(curves)
        widest = max([2, *(len(curve.values) for curve in curves)])

        def padded(name: str, by: float) -> np.ndarray:
            rows = [getattr(curve, name) for curve in curves]
            padded_rows = [np.append(row, np.full(widest - len(row), by)) for row in rows]
            return np.array(padded_rows).reshape(len(rows), widest)

        self.values, self.scores, self.slopes = padded("values", np.inf), padded("scores", np.nan), padded("slopes", np.nan)
        self.first = np.array([curve.values[0] for curve in curves])
        self.last = np.array([curve.values[-1] for curve in curves])
        self.most = np.array([max(len(curve.values) - 2, 0) for curve in curves])

    def __len__(self) -> int:
        return len(self.curves)

    def to_scores(self, x: np.ndarray) -> np.ndarray:
        """x : (n, c), NaN for missing; returns the same, to the bit as each curve by itself."""
        if len(x) > FEW_ROWS:
            return np.column_stack([curve.to_scores(cells) for curve, cells in zip(self.curves, x.T, strict=True)])
        piece = np.minimum(((x[..., None] > self.values).sum(-1) - 1).clip(0), self.most)
        at = np.arange(len(self.curves)), piece
        left, right = self.values[at], self.values[at[0], piece + 1]
        scores, slopes = self.scores[at], self.slopes[at]
        height, width = right - left, self.scores[at[0], piece + 1] - scores
        with np.errstate(over="ignore", invalid="ignore"):
            out = _inside(x - left, scores, height, width, slopes, self.slopes[at[0], piece + 1], height / width)
        outside = ~((x > self.first) & (x < self.last))
        for j in np.flatnonzero(outside.any(0)):
            rows, curve = outside[:, j], self.curves[j]
            cells = x[rows, j]
            out[rows, j] = np.where(cells < curve.values[0], curve._below(cells), curve._above(cells))
        return out


def _distance(time: np.ndarray, speed: float, gain: float) -> np.ndarray:
    """How far it goes in a time (n,), from a speed that grows by a gain."""
    return speed * time + 0.5 * gain * time * time


def _time(distance: np.ndarray, speed: float, gain: float) -> np.ndarray:
    """The inverse of `_distance`."""
    return 2 * distance / (speed + np.sqrt(speed * speed + 2 * gain * distance))


def fit_curve(values: np.ndarray, weight: np.ndarray, bounds: tuple[float, float]) -> NormalScoreCurve:
    """The curve with as many knots as held-out numbers want, of five folds. values : (n,), within bounds; weight : (n,)."""
    if len(values) > MAX_ROWS_CURVE:
        some = np.random.RandomState(0).permutation(len(values))[:MAX_ROWS_CURVE]
        values, weight = values[some], weight[some]
    order = np.argsort(values, kind="stable")
    values, weight = values[order], weight[order] / weight.mean()
    fold = np.random.RandomState(0).permutation(len(values)) % N_FOLDS
    pairs = [(values[fold != k], weight[fold != k], values[fold == k], weight[fold == k]) for k in range(N_FOLDS)]

    def held_out(n_knots: int) -> float:
        with np.errstate(all="ignore"):
            told = sum(w_ @ _curve(x, w, n_knots, bounds).log_density(x_) for x, w, x_, w_ in pairs if len(x_) and len(x))
        return float(told) if math.isfinite(told) else -math.inf

    best, gained, least = 0, held_out(0), LEAST_GAIN if len(values) < MANY_ROWS else math.log(len(values))
    for n_knots in (k for k in N_KNOTS if k <= len(values) / ROWS_A_KNOT):
        if (told := held_out(n_knots)) > gained + least:
            best, gained = n_knots, told
    with np.errstate(all="ignore"):
        curve = _curve(values, weight, best, bounds)
    return curve if curve.is_finite() else _curve(values, weight, 0, bounds)


def _curve(x: np.ndarray, weight: np.ndarray, n_knots: int, bounds: tuple[float, float]) -> NormalScoreCurve:
    """A curve through n_knots; x : (n,), ascending, with weight (n,); bounds : the natural ones.

    Values and slopes at knots are those of a straight line, fitted to the numbers of about that score.
    """
    total, n = weight.sum(), len(x)
    mean, deviation = moments(x, weight)
    if n_knots == 0:
        return NormalScoreCurve(np.zeros(1), np.array([mean]), np.array([deviation]), (0.0, 0.0), (math.inf, math.inf))
    z = ndtri((weight.cumsum() - 0.5 * weight) / total)
    least, few, most = OUTSIDE
    outermost = -ndtri(max(least, min(few, n // 12), min(most, n // 200)) / n)
    knots = np.linspace(-outermost, outermost, n_knots)
    bandwidth = max(SMOOTHING[0] * (knots[1] - knots[0]), SMOOTHING[1])
    near = weight[:, None] * np.exp(-0.5 * ((z[:, None] - knots) / bandwidth) ** 2)
    away = z[:, None] - knots
    s0, s1, s2 = near.sum(0), (near * away).sum(0), (near * away**2).sum(0)
    t0, t1 = x @ near, x @ (near * away)
    determinant = s0 * s2 - s1**2
    values, slopes = (s2 * t0 - s1 * t1) / determinant, (s0 * t1 - s1 * t0) / determinant
    values = np.maximum.accumulate(values + LEAST_SLOPE**2 * deviation * np.arange(n_knots))
    values += LEAST_SLOPE**2 * deviation * np.arange(n_knots)
    slopes = np.maximum(slopes, LEAST_SLOPE * deviation)
    at_bound = x[0] <= bounds[0], x[-1] >= bounds[1]
    lower = values[0] - bounds[0] if not at_bound[0] and values[0] > bounds[0] else math.inf
    upper = bounds[1] - values[-1] if not at_bound[1] and values[-1] < bounds[1] else math.inf
    bends = (
        _bend(knots[0] - z[z < knots[0]], values[0] - x[z < knots[0]], slopes[0]),
        _bend(z[z > knots[-1]] - knots[-1], x[z > knots[-1]] - values[-1], slopes[-1]),
    )
    return NormalScoreCurve(knots, values, slopes, bends, (float(lower), float(upper)))


def _bend(time: np.ndarray, distance: np.ndarray, speed: float) -> float:
    """The gain of speed, not negative, by which rows (n,) of a tail lie where they do; shrunken as by one row more."""
    gain = (0.5 * time**2 @ (distance - speed * time)) / (0.25 * (time**4).sum() + BEND_PENALTY)
    return float(max(gain, 0.0))
