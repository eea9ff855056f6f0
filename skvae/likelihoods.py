"""What a cell may be, given the decoder's output: p(x | theta).

One small class a likelihood and one row in `LIKELIHOODS`. A likelihood serves a block of like variables at once; it is
normalised in packed units, so that log-probabilities of different likelihoods add up to nats per row.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.autograd.function import once_differentiable

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
LOGISTIC = math.sqrt(3) / math.pi  # the scale of a logistic distribution of standard deviation one
# of the logistic distributions that bins begin with: log-weights, and log-scales beside that of the normal
WEIGHTS, SCALES = (0.0, -2.0), (0.0, -1.5)
NARROWEST = 1e-4  # scale of a located distribution inside a bin, in normal scores
N_BUMPS, WIDEST_BUMP = 20, 3.0  # of a histogram's basis: how many, and the normal scores that they reach from and to
FLATTEST = 3.0  # log-scale of a logistic distribution beside that of the normal, at most: masses of bins keep their digits
STEEPEST = 15.0  # of bins that tilt a logistic distribution, the largest log-odds of two
FARTHEST = 2 * STEEPEST  # scales from where a logistic distribution is, that it counts to: no tilt makes up for more
APART = 0.1  # of the step that a bump learns by, that of a bin by itself: so it learns where there are many rows


class Rectangle(NamedTuple):
    """A part of theta: k variables, and `width` numbers of each.

    A basis says what the numbers of a variable are mixed of, if not free: functions (k, n_functions, width) that change
    smoothly along bins, say, so that what is learned of a bin holds for its neighbours; and each number by itself, times a
    factor (k, width).
    """

    columns: list[int]
    width: int
    basis: tuple[Tensor, Tensor] | None = None


class AbstractLikelihood(nn.Module, ABC):
    """p(x | theta) for a block of like variables.

    Parameters
    ----------
    variables : sequence of Variable
        The block's variables (`skvae.scalings.Variable`): how many categories, which lattice, which bounds.
    located : bool
        Whether theta holds an offset and a log-scale of every variable, in units of the normal that `placed` is given; only
        likelihoods of real numbers do so.

    Attributes
    ----------
    rectangles : list of Rectangle
        The layout of theta, one after the other.
    n_codes : list of int
        How many `codes` each variable has.
    locates : bool
        Whether `located` makes a difference.
    mixes : bool
        Whether, located, it goes with a mixture of normals: its cells have few other ways to be far from normal.
    rigid : bool
        Whether a family of a parameter or two may be far from the distribution of a cell that nothing is known of.
    continuous : bool
        Whether cells have a density, with noise around a mean, so that no cell can be told exactly.
    """

    continuous = False
    locates = False
    mixes = False
    rigid = False

    def __init__(self, variables, located=False):
        super().__init__()
        self.variables, self.located, self.n_variables = list(variables), located, len(variables)
        self.rectangles = [Rectangle(list(range(self.n_variables)), 1)]
        self.n_codes = [1] * self.n_variables

    @property
    def n_params(self) -> int:
        """Numbers that the decoder puts out for the block: the last axis of every theta."""
        return sum(len(columns) * width for columns, width, _ in self.rectangles)

    @torch.no_grad()
    def of(self, j: int) -> "AbstractLikelihood":
        """The likelihood of variable j alone, with what was learned of it."""
        alone = type(self)([self.variables[j]], self.located)
        for own, shared in zip(alone.parameters(), self.parameters(), strict=True):
            own.copy_(shared[j : j + 1][tuple(slice(size) for size in own.shape)])
        return alone

    def _buffers_of(self, variables, *names: str, suffix: str = "") -> None:
        """Buffers (n_variables,) of fields of the variables, under the fields' names and a suffix."""
        for name in names:
            self.register_buffer(name + suffix, torch.tensor([float(getattr(v, name)) for v in variables]))

    @abstractmethod
    def log_prob(self, x: Tensor, theta: Tensor) -> Tensor:
        """Log-probability (or log-density) of each cell, in nats.

        x : (..., n_variables); theta : (..., n_params), broadcast to each other; returns (..., n_variables).
        """

    @abstractmethod
    def sample(self, theta: Tensor, generator: Generator) -> Tensor:
        """One draw a cell. theta : (..., n_params); returns (..., n_variables)."""

    @abstractmethod
    def centre(self, theta: Tensor) -> Tensor:
        """The mean of numbers, the most probable of categories. theta : (..., n_params); returns (..., n_variables)."""

    def features(self, x: Tensor) -> Tensor:
        """What the encoder sees of cells: numbers of scale one, or codes. x : (..., n_variables); returns the same."""
        return x

    def codes(self, x: Tensor) -> Tensor:
        """Which of `n_codes` codes a cell has: the only one, for numbers. x : (..., n_variables); returns the same."""
        return torch.zeros_like(x, dtype=torch.long)

    def placed(self, theta: Tensor, location: Tensor, scale: Tensor) -> Tensor:
        """Theta as the other methods take it, of a located one: around a normal in units of the features.

        theta : (..., n_params); location, scale : (..., n_variables).
        """
        return theta

    def calibration(self, theta: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """Of a variable alone: what to add to theta for codes to be as probable, on average, as they are frequent in x.

        theta : (m, n_params); x : (n, 1); weight : (n,). Returns (n_params,); by default zeros, as there are no codes.
        """
        return theta.new_zeros(self.n_params)

    def start(self, mean: Tensor, loadings: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Constant and slope of a theta that reproduces a linear-Gaussian model of the block's features.

        The features are `features(x)`, or one-hot codes for a categorical block. For an exponential family, a natural
        parameter moves its mean by the variance: slopes divide by it (one Newton step).

        mean : (n_features,); loadings : (n_features, latent_dim); noise : (), the residual standard deviation.
        Returns (n_params,), (n_params, latent_dim). Called without gradients; by default, nothing to start from.
        """
        return mean.new_zeros(self.n_params), loadings.new_zeros(self.n_params, loadings.shape[1])


class _Located(AbstractLikelihood):
    """What a location and a scale share. Without `located`, theta is the location, and scales are parameters."""

    locates = mixes = True
    floor: Tensor

    def __init__(self, variables, located=False):
        super().__init__(variables, located)
        self.rectangles *= 1 + located
        self._buffers_of(variables, "floor")
        # one scale a column, not one a cell: a scale that follows z spends the latents on noise, not on the data
        self.log_scale = nn.Parameter(torch.zeros(self.n_variables))

    def _loc_scale(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Both (..., n_variables)."""
        loc, log_scale = theta.chunk(2, -1) if self.located else (theta, 0.0)
        # the floor keeps repeated values from drawing the density to infinity
        return loc, self.floor + (self.log_scale + log_scale).clamp(max=30).exp()

    def placed(self, theta, location, scale):
        offset, log_scale = theta.chunk(2, -1)
        return torch.cat([location + scale * offset, log_scale + scale.log()], -1)

    def centre(self, theta):
        return self._loc_scale(theta)[0]


class Gaussian(_Located):
    """Normal with a learned scale for every variable; on a lattice, the probability of the lattice cell.

    Integers are discrete: their probability is the normal's mass within half a step, and the outermost cells of a
    bounded variable hold the whole tail (Salimans et al., 2017, eq. 2, with a normal for the logistic). Drawing a normal,
    rounding and clipping draws from exactly this.
    """

    step: Tensor
    lower: Tensor
    upper: Tensor

    def __init__(self, variables, located=False):
        super().__init__(variables, located)
        self._buffers_of(variables, "step", "lower", "upper")
        self.discrete = bool(self.step.any())
        self.continuous = not self.discrete

    def log_prob(self, x, theta):
        loc, scale = self._loc_scale(theta)
        density = -0.5 * ((x - loc) / scale).square() - scale.log() - HALF_LOG_2PI
        return torch.where(self.step > 0, self._log_mass(x, loc, scale), density) if self.discrete else density

    def _log_mass(self, x: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        half, far = 0.5 * self.step, 1e4  # beyond 1e4 standard deviations there is no mass to lose
        left = torch.where(x - half <= self.lower, -far, (x - half - loc) / scale)
        right = torch.where(x + half >= self.upper, far, (x + half - loc) / scale)
        # the log of a difference of tails is taken on the left side, where the normal's log-cdf keeps its digits
        flip = left > 0
        left, right = torch.where(flip, -right, left), torch.where(flip, -left, right)
        log_right = torch.special.log_ndtr(right.clamp(-far, far))
        gap = torch.special.log_ndtr(left.clamp(-far, far)) - log_right
        return log_right + torch.log(-torch.expm1(gap.clamp(max=-1e-7)))

    def sample(self, theta, generator):
        loc, scale = self._loc_scale(theta)
        return loc + scale * _normal(loc, generator)

    def start(self, mean, loadings, noise):
        self.log_scale.copy_(noise.log() - self.floor / noise)  # to first order, scale = noise
        return mean, loadings


class StudentT(_Located):
    """Student's t with a learned scale and learned degrees of freedom for every variable: robust to outliers."""

    continuous = True

    def __init__(self, variables, located=False):
        super().__init__(variables, located)
        self.log_df = nn.Parameter(torch.full((self.n_variables,), math.log(5.0)))

    def log_prob(self, x, theta):
        (loc, scale), df = self._loc_scale(theta), 1 + self.log_df.exp()  # above 1, the mean exists
        tail = 0.5 * (df + 1) * torch.log1p(((x - loc) / scale).square() / df)
        return torch.lgamma(0.5 * (df + 1)) - torch.lgamma(0.5 * df) - 0.5 * (math.pi * df).log() - scale.log() - tail

    def sample(self, theta, generator):
        loc, scale = self._loc_scale(theta)
        df = (1 + self.log_df.exp()).expand_as(loc).contiguous()
        chi_square = 2 * torch._standard_gamma(0.5 * df, generator=generator)
        return loc + scale * _normal(loc, generator) * (df / chi_square).sqrt()

    def start(self, mean, loadings, noise):
        self.log_scale.copy_(noise.log() - self.floor / noise - 0.3)  # a t of this many degrees is wider than its scale
        return mean, loadings


class _ExpectedLogProb(torch.autograd.Function):
    """x theta - log(1 + exp(theta)), differentiated by hand: half of the passes over memory, and one exponential of two.

    x, theta : (..., n_variables), broadcast to each other; no gradient of x.
    """

    @staticmethod
    def forward(ctx, x, theta):
        probability = theta.sigmoid()
        ctx.save_for_backward(x, probability)
        # log(1 + exp(theta)) = max(theta, 0) - log max(p, 1 - p)
        return (x * theta).sub_(theta.relu()).add_((probability - 0.5).abs_().add_(0.5).log_())

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        x, probability = ctx.saved_tensors
        return None, torch.sub(x, probability).mul_(gradient).sum_to_size(probability.shape)


class Bernoulli(AbstractLikelihood):
    """A yes or no. A cell between 0 and 1 is the share of yes: its log-probability is the expected one."""

    def log_prob(self, x, theta):
        return _ExpectedLogProb.apply(x, theta)

    def sample(self, theta, generator):
        return torch.bernoulli(theta.sigmoid(), generator=generator)

    def centre(self, theta):
        return theta.sigmoid()

    def calibration(self, theta, x, weight):
        yes = (weight @ x / weight.sum().clamp(min=1e-12))[0]
        pair = torch.stack([torch.zeros_like(theta[:, 0]), theta[:, 0]], 1)
        shift = _match_shares(pair.log_softmax(-1), torch.stack([1 - yes, yes]))
        return shift[1:] - shift[0]

    def start(self, mean, loadings, noise):
        mean = mean.clamp(1e-4, 1 - 1e-4)
        return mean.logit(), loadings / (mean * (1 - mean))[:, None]


class ContinuousBernoulli(AbstractLikelihood):
    """A number between 0 and 1, of density C(p) p^x (1 - p)^(1 - x) (Loaiza-Ganem & Cunningham, 2019, eqs. 3 and 4)."""

    rigid = True

    def log_prob(self, x, theta):
        return x * theta - F.softplus(theta) + self._log_normaliser(theta)

    @staticmethod
    def _log_normaliser(theta: Tensor) -> Tensor:
        # C = 2 atanh(1 - 2p) / (1 - 2p) with 1 - 2p = -tanh(theta / 2), so C = theta / tanh(theta / 2): 2 at theta = 0
        safe = torch.where(theta.abs() < 0.05, 1.0, theta)
        series = math.log(2) + theta.square() / 12 - theta.pow(4) / 1440
        return torch.where(theta.abs() < 0.05, series, (safe / torch.tanh(0.5 * safe)).log())

    def sample(self, theta, generator):
        u = torch.rand(theta.shape, generator=generator, dtype=theta.dtype, device=theta.device)
        safe = torch.where(theta.abs() < 1e-3, 1.0, theta)
        # inverse of the cdf (exp(theta x) - 1) / (exp(theta) - 1), from the side where exp does not overflow
        drawn = torch.where(
            safe > 0,
            1 + torch.log(u + (1 - u) * torch.exp(-safe.abs())) / safe,
            torch.log1p(u * torch.expm1(-safe.abs())) / safe,
        )
        return torch.where(theta.abs() < 1e-3, u, drawn).clamp(0, 1)

    def centre(self, theta):
        safe = torch.where(theta.abs() < 0.05, 1.0, theta)
        return torch.where(theta.abs() < 0.05, 0.5 + theta / 12, 1 / (-torch.expm1(-safe)) - 1 / safe)

    def start(self, mean, loadings, noise):
        # near 1/2 the mean is 1/2 + theta / 12; means near the ends are cut off
        return 12 * torch.atanh((mean - 0.5).clamp(-0.45, 0.45)), 12 * loadings


class _Count(AbstractLikelihood):
    """What counts share: the rate is exp(theta), the encoder sees log(1 + x) standardised."""

    rigid = True
    centre_: Tensor
    scale_: Tensor

    def __init__(self, variables, located=False):
        super().__init__(variables, located)
        self._buffers_of(variables, "centre", "scale", suffix="_")

    def features(self, x):
        return (torch.log1p(x) - self.centre_) / self.scale_

    def _rate(self, theta: Tensor) -> Tensor:
        return theta.clamp(max=30).exp()

    def centre(self, theta):
        return self._rate(theta)

    def start(self, mean, loadings, noise):
        return self.centre_ + self.scale_ * mean, self.scale_[:, None] * loadings


class Poisson(_Count):
    """Counts whose variance is their mean."""

    def log_prob(self, x, theta):
        return x * theta.clamp(max=30) - self._rate(theta) - torch.lgamma(x + 1)

    def sample(self, theta, generator):
        return torch.poisson(self._rate(theta), generator=generator)


class NegativeBinomial(_Count):
    """Counts with more variance than their mean: a Poisson whose rate is gamma, its shape learned for every variable."""

    def __init__(self, variables, located=False):
        super().__init__(variables, located)
        self.log_shape = nn.Parameter(torch.zeros(self.n_variables))

    def log_prob(self, x, theta):
        theta, shape = theta.clamp(max=30), self.log_shape.exp()
        log_total = torch.logaddexp(theta, self.log_shape)
        ways = torch.lgamma(x + shape) - torch.lgamma(shape) - torch.lgamma(x + 1)
        return ways + shape * (self.log_shape - log_total) + x * (theta - log_total)

    def sample(self, theta, generator):
        shape = self.log_shape.exp().expand_as(theta).contiguous()
        rate = self._rate(theta) / shape * torch._standard_gamma(shape, generator=generator)
        return torch.poisson(rate, generator=generator)


class ZeroInflatedNegativeBinomial(_Count):
    """A negative binomial, or with some probability a zero (Lambert, 1992, for the negative binomial)."""

    def __init__(self, variables, located=False):
        super().__init__(variables, located)
        self.counts = NegativeBinomial(variables)
        self.rectangles *= 2

    def log_prob(self, x, theta):
        rate, zero = theta.chunk(2, -1)
        counted = self.counts.log_prob(x, rate) + F.logsigmoid(-zero)
        return torch.where(x == 0, torch.logaddexp(F.logsigmoid(zero), counted), counted)

    def sample(self, theta, generator):
        rate, zero = theta.chunk(2, -1)
        return self.counts.sample(rate, generator) * torch.bernoulli((-zero).sigmoid(), generator=generator)

    def centre(self, theta):
        rate, zero = theta.chunk(2, -1)
        return self._rate(rate) * (-zero).sigmoid()

    def start(self, mean, loadings, noise):
        bias, slope = super().start(mean, loadings, noise)
        return torch.cat([bias, torch.full_like(bias, -2.0)]), torch.cat([slope, torch.zeros_like(slope)])


class _Softmax(AbstractLikelihood):
    """What categories and bins share: a softmax over the `size` codes of each variable.

    Variables of like size share a rectangle of theta, padded to the widest of them: so one variable of thousands of codes
    does not widen the rest, few rectangles cost little more than one, and no gather stands between decoder and softmax (its
    backward would cost more than both).
    """

    def __init__(self, variables, located=False):
        super().__init__(variables, located)
        self.sizes = sizes = [v.size for v in variables]
        self.buckets: list[tuple[list[int], int]] = []  # columns, and the width of their rectangle
        places: list[Tensor] = [torch.empty(0)] * len(sizes)  # of each variable's codes in theta
        start = 0
        for magnitude in sorted(set(map(self._magnitude, sizes))):
            columns = [j for j, size in enumerate(sizes) if self._magnitude(size) == magnitude]
            widest = max(sizes[j] for j in columns)
            pad = torch.zeros(len(columns), widest)
            for row, j in enumerate(columns):
                pad[row, sizes[j] :] = -1e9
                places[j] = torch.arange(sizes[j]) + start + row * widest
            self.register_buffer(f"pad{len(self.buckets)}", pad, persistent=False)
            self.buckets.append((columns, widest))
            start += len(columns) * widest
        self.rectangles, self.n_codes = [Rectangle(*bucket) for bucket in self.buckets], sizes
        self.n_logits = start
        self.register_buffer("places", torch.cat(places), persistent=False)
        order = torch.tensor([j for columns, _ in self.buckets for j in columns])
        self.register_buffer("order", order.argsort(), persistent=False)

    @staticmethod
    def _magnitude(size: int) -> int:
        """Variables of the same share a rectangle."""
        return 3 if size <= 8 else 6 if size <= 64 else size.bit_length()

    def _logits(self, theta: Tensor) -> Tensor:
        """Log-odds of all codes, (..., n_logits), of theta (..., n_params)."""
        return theta

    def _rectangle(self, bucket: int, logits: Tensor) -> Tensor:
        """Log-odds (..., k, widest) of a bucket, of those of all codes (..., n_logits); nothing past a variable's last."""
        start = sum(len(columns) * widest for columns, widest in self.buckets[:bucket])
        columns, widest = self.buckets[bucket]
        rectangle = logits[..., start : start + len(columns) * widest].unflatten(-1, (len(columns), widest))
        is_full = all(self.sizes[j] == widest for j in columns)
        return rectangle if is_full else rectangle + self.get_buffer(f"pad{bucket}")

    def _by_bucket(self, theta: Tensor, function: Callable[[Tensor, list[int]], Tensor]) -> Tensor:
        """Columns of `function(log-probabilities (..., k, widest), the k columns)` in their order: (..., n_variables)."""
        logits = self._logits(theta)
        outputs = [
            function(self._rectangle(bucket, logits).log_softmax(-1), columns)
            for bucket, (columns, _) in enumerate(self.buckets)
        ]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1).index_select(-1, self.get_buffer("order"))

    def _laid_out(self, bias: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        """bias (n_codes,) and slope (n_codes, latent_dim), variable after variable, as theta has them."""
        places = self.get_buffer("places")
        out = bias.new_zeros(self.n_logits), slope.new_zeros(self.n_logits, slope.shape[1])
        return out[0].index_copy(0, places, bias), out[1].index_copy(0, places, slope)

    def _log_prob_of_codes(self, codes: Tensor, theta: Tensor) -> Tensor:
        def pick(log_probs, columns):
            cells = codes[..., columns]
            shape = torch.broadcast_shapes(cells.shape, log_probs.shape[:-1])
            return log_probs.expand(*shape, -1).gather(-1, cells.expand(shape).unsqueeze(-1)).squeeze(-1)

        return self._by_bucket(theta, pick)

    def calibration(self, theta, x, weight):
        shares = torch.bincount(self.codes(x)[:, 0], weight, minlength=self.n_logits)
        shift = _match_shares(self._logits(theta).log_softmax(-1), shares / shares.sum().clamp(min=1e-12))
        return F.pad(shift, (0, self.n_params - self.n_logits))

    def _draw_codes(self, theta: Tensor, generator: Generator) -> Tensor:
        def draw(log_probs, columns):
            return _draw(log_probs.exp(), generator)

        return self._by_bucket(theta, draw).to(theta.dtype)


class Categorical(_Softmax):
    """One of `size` categories; a cell holds the category's code."""

    def codes(self, x):
        return x.long()

    def log_prob(self, x, theta):
        return self._log_prob_of_codes(x.long(), theta)

    def sample(self, theta, generator):
        return self._draw_codes(theta, generator)

    def centre(self, theta):
        return self._by_bucket(theta, lambda log_probs, columns: log_probs.argmax(-1)).to(theta.dtype)

    def start(self, mean, loadings, noise):
        mean = mean.clamp(min=1e-4)
        return self._laid_out(mean.log(), loadings / mean[:, None])


class Ordinal(AbstractLikelihood):
    """One of `size` ordered categories: P(x <= k) = sigmoid(threshold_k - theta), thresholds learned (McCullagh, 1980)."""

    thresholds_: Tensor
    centre_: Tensor
    scale_: Tensor

    def __init__(self, variables, located=False):
        super().__init__(variables, located)
        self.largest = max(v.size for v in variables)
        self.register_buffer("last", torch.tensor([v.size - 1 for v in variables]), persistent=False)
        self._buffers_of(variables, "centre", "scale", suffix="_")
        self.first = nn.Parameter(torch.full((self.n_variables, 1), -1.0))
        self.log_gaps = nn.Parameter(torch.zeros(self.n_variables, max(self.largest - 2, 0)))
        self.n_codes = [v.size for v in variables]

    def codes(self, x):
        return x.long()

    def features(self, x):
        return (x - self.centre_) / self.scale_

    def _log_probs(self, theta: Tensor) -> Tensor:
        """(..., n_variables, largest), minus infinity (nearly) past a variable's last category."""
        thresholds = torch.cat([self.first, self.first + F.softplus(self.log_gaps).cumsum(-1)], -1)
        levels = torch.arange(thresholds.shape[-1], device=theta.device)
        thresholds = torch.where(levels < self.get_buffer("last")[:, None], thresholds, 1e4)  # P(x <= last) = 1
        cumulated = thresholds - theta.unsqueeze(-1)
        ends = F.pad(cumulated, (1, 0), value=-1e4), F.pad(cumulated, (0, 1), value=1e4)
        return _log_mass_of_logistic(*ends)[..., : self.largest]

    def log_prob(self, x, theta):
        log_probs = self._log_probs(theta)
        shape = torch.broadcast_shapes(x.shape, log_probs.shape[:-1])
        return log_probs.expand(*shape, -1).gather(-1, x.long().expand(shape).unsqueeze(-1)).squeeze(-1)

    def sample(self, theta, generator):
        return _draw(self._log_probs(theta).exp(), generator).to(theta.dtype)

    def centre(self, theta):
        return self._log_probs(theta).argmax(-1).to(theta.dtype)

    def start(self, mean, loadings, noise):
        # the logistic that is cut by the thresholds has a scale of pi / sqrt(3) where the noise has its own
        slope = loadings * (math.pi / math.sqrt(3)) / noise
        return mean.new_zeros(self.n_variables), slope


class Histogram(_Softmax):
    """A softmax over bins; a cell holds its bin's code plus its place in the bin, from 0 to 1.

    Inside a bin, places are uniform; located, they and the masses of bins are those of a mixture of two logistic
    distributions of the normal scores (Salimans et al., 2017), before the softmax tilts it: so a column that follows others
    more closely than its bins are wide is told as closely. Codes past the ends are tails: what they are worth in the data's
    own units is the schema's to say.
    """

    locates = True

    def __init__(self, variables, located=False):
        super().__init__(variables, located)
        self.register_buffer("scores", _padded([v.grid for v in variables]))  # normal scores of the bins' edges
        self.register_buffer("means", _padded([v.means for v in variables]))
        self.register_buffer("atoms", _padded([v.atoms for v in variables]))
        self.register_buffer("knots", _padded([[x for x, _ in v.knots] for v in variables]))
        self.register_buffer("packed_knots", _padded([[p for _, p in v.knots] for v in variables]))
        self.register_buffer("last", torch.tensor([v.size - 1 for v in variables]), persistent=False)
        self.register_buffer("tails", torch.tensor([v.tails for v in variables]), persistent=False)
        if located:
            self.register_buffer("spikes", _padded([v.spikes for v in variables]) > 0, persistent=False)
            (_, width, _), *_ = self.rectangles
            self.rectangles = [Rectangle(list(range(self.n_variables)), n) for n in (width, *[len(WEIGHTS)] * 3)]
            self.rectangles[0] = self.rectangles[0]._replace(basis=self._basis(width))

    @staticmethod
    def _magnitude(size):
        return 0  # there are few bins

    def _basis(self, width: int) -> tuple[Tensor, Tensor]:
        """Bumps along the normal scores, as functions of the bin, (n_variables, n_functions, width), and by how much every
        bin moves apart from its neighbours by itself, (n_variables, width): one that is a single value as a category does.
        """
        scores = self.get_buffer("scores")
        middle = 0.5 * (scores[:, :-1] + scores[:, 1:])[:, None]
        centres = torch.linspace(-WIDEST_BUMP, WIDEST_BUMP, N_BUMPS)[:, None]
        bumps = torch.exp(-0.5 * ((middle - centres) / (centres[1] - centres[0])).square())
        bumps[bumps < 1e-6] = 0.0  # subnormal numbers are multiplied by the hundredth of the speed
        there = torch.arange(width) <= self.get_buffer("last")[:, None]
        return bumps * there[:, None], torch.where(self.get_buffer("atoms").isnan(), APART, 1.0) * there

    def codes(self, x):
        return torch.minimum(x.floor().long().clamp(min=0), self.get_buffer("last"))

    def features(self, x):
        codes = self.codes(x)
        left, right = self._edges(codes)
        return left + (x - codes).clamp(0, 1) * (right - left)

    def _edges(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Normal scores of both ends of bins (..., n_variables)."""
        scores = self.get_buffer("scores").expand(*codes.shape, -1)
        left, right = (scores.gather(-1, (codes + end).unsqueeze(-1)).squeeze(-1) for end in (0, 1))
        return left, right

    def _parts(self, theta: Tensor) -> tuple[Tensor, ...]:
        """Logits, and of a located one, log-weights, locations (or offsets) and scales (or their logarithms) of logistic
        distributions, (..., n_variables, n_logistics) each.
        """
        if not self.located:
            return (theta,)
        shape = self.n_variables, len(WEIGHTS)
        logits, *logistics = theta.split([self.n_logits, *[math.prod(shape)] * 3], -1)
        return logits, *(part.unflatten(-1, shape) for part in logistics)

    def placed(self, theta, location, scale):
        logits, log_weight, offset, log_scale = self._parts(theta)
        location, scale = location.unsqueeze(-1), scale.unsqueeze(-1)
        log_weight = (log_weight + log_weight.new_tensor(WEIGHTS)).log_softmax(-1)
        log_scale = (log_scale + log_scale.new_tensor(SCALES)).clamp(max=FLATTEST)
        logistics = log_weight, location + scale * offset, NARROWEST + scale * log_scale.exp() * LOGISTIC
        return torch.cat([logits, *(part.flatten(-2) for part in logistics)], -1)

    def _logits(self, theta):
        logits, *logistics = self._parts(theta)
        if not self.located:
            return logits
        log_weight, location, scale = (part.unsqueeze(-1) for part in logistics)
        edges = (self.get_buffer("scores")[:, None] - location) / scale
        masses = _log_mass_of_logistic(edges[..., :-1], edges[..., 1:])
        tilt = self._rectangle(0, logits)
        tilt = torch.maximum(tilt, tilt.amax(-1, keepdim=True) - STEEPEST)
        return (tilt + (log_weight + masses).logsumexp(-2)).flatten(-2)

    def log_prob(self, x, theta):
        codes = self.codes(x)
        if not self.located:
            return self._log_prob_of_codes(codes, theta)
        shape = torch.broadcast_shapes(codes.shape[:-1], theta.shape[:-1])
        codes, (logits, *logistics) = codes.expand(*shape, -1), self._parts(theta.expand(*shape, -1))
        tilt = _Tilt.apply(self._rectangle(0, logits), *logistics, self.get_buffer("scores"), codes)
        return tilt + self._log_logistics(x.expand_as(codes), codes, *logistics)

    def _log_logistics(self, x: Tensor, codes: Tensor, log_weight: Tensor, location: Tensor, scale: Tensor) -> Tensor:
        """Log-density of places x, with codes, under mixtures of logistic distributions; in tails the mass of their bin.

        x, codes, and what is returned : (..., n_variables); the others as `_parts` has them.
        """
        knots, (left, right) = self.get_buffer("packed_knots"), self._edges(codes)
        rows = x.reshape(-1, self.n_variables).T.contiguous()
        piece = (torch.searchsorted(knots, rows, right=True) - 1).clamp(0, knots.shape[1] - 2)
        spike, *ends = (
            table.gather(1, piece + shift).T.reshape(x.shape)
            for table, shift in ((self.get_buffer("spikes"), 0), (knots, 0), (knots, 1))
        )
        places = torch.stack([*ends, codes, codes + 1, x])
        scores = left + (places - codes).clamp(0, 1) * (right - left)
        at = (scores.unsqueeze(-1) - location) / scale
        density = F.logsigmoid(at[4]) + F.logsigmoid(-at[4]) - scale.log()
        mass, whole, density = (
            (log_weight + part).logsumexp(-1) for part in (*_log_mass_of_logistic(at[[0, 2]], at[[1, 3]]), density)
        )
        inside = (x >= 0) & (x < self.get_buffer("last") + 1)
        mass = mass - (ends[1] - ends[0]).clamp(min=1e-7).log()
        density = density + (right - left).clamp(min=1e-30).log()
        return torch.where(inside, torch.where(spike, mass, density), whole)

    def sample(self, theta, generator):
        codes = self._draw_codes(theta, generator)
        place = torch.rand(codes.shape, generator=generator, dtype=theta.dtype, device=theta.device)
        if self.located:
            place = self._place(place, codes.long(), *self._component(codes.long(), theta, generator))
        atoms = self.get_buffer("atoms").expand(*codes.shape, -1).gather(-1, codes.long().unsqueeze(-1)).squeeze(-1)
        return self._with_tails(codes, codes + torch.where(atoms.isnan(), place, atoms), generator)

    def _with_tails(self, codes: Tensor, x: Tensor, generator: Generator) -> Tensor:
        """Draws x, of which some of the first and the last bin go past the ends. codes, x : (..., n_variables)."""
        tails, last = self.get_buffer("tails"), self.get_buffer("last")
        share = tails[:, 0] * (codes == 0) + tails[:, 1] * (codes == last)
        u = torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        distance = (share / u).log()  # of an exponential distribution, where u is below the share
        return torch.where(u >= share, x, torch.where(codes == last, last + 1 + distance, -distance))

    def _component(self, codes: Tensor, theta: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Locations and scales of the logistic distributions that codes (..., n_variables) are drawn from, like them."""
        _, log_weight, location, scale = self._parts(theta)
        left, right = ((edge.unsqueeze(-1) - location) / scale for edge in self._edges(codes))
        log_share = log_weight + _log_mass_of_logistic(left, right)
        chosen = _draw(log_share.softmax(-1), generator).unsqueeze(-1)
        return location.gather(-1, chosen).squeeze(-1), scale.gather(-1, chosen).squeeze(-1)

    def _place(self, share: Tensor, codes: Tensor, location: Tensor, scale: Tensor) -> Tensor:
        """Places in bins, of which a share of the mass is nearer to one end, all (..., n_variables)."""
        left, right = self._edges(codes)
        ends = (left - location) / scale, (right - location) / scale
        flip = ends[0] + ends[1] > 0  # towards the left end, where the logarithm of the cdf keeps its digits
        lower, upper = torch.where(flip, -ends[1], ends[0]), torch.where(flip, -ends[0], ends[1])
        share = share.clamp(1e-7, 1 - 1e-7)
        log_cdf = torch.logaddexp(F.logsigmoid(lower) + torch.log1p(-share), F.logsigmoid(upper) + share.log())
        at = log_cdf - torch.log(-torch.expm1(log_cdf.clamp(max=-1e-7)))
        score = torch.where(flip, -at, at) * scale + location
        return ((score - left) / (right - left).clamp(min=1e-30)).clamp(0, 1 - 2**-16)

    def centre(self, theta):
        """The mean, which may lie between the data's values."""
        means, knots, packed = (self.get_buffer(name) for name in ("means", "knots", "packed_knots"))
        mean = self._by_bucket(theta, lambda log_probs, j: (log_probs.exp() * means[j, : log_probs.shape[-1]]).sum(-1))
        rows = mean.reshape(-1, self.n_variables).T.contiguous()  # (n_variables, n)
        right = torch.searchsorted(knots, rows).clamp(1, knots.shape[1] - 1)
        left_x, right_x = knots.gather(1, right - 1), knots.gather(1, right)
        left_p, right_p = packed.gather(1, right - 1), packed.gather(1, right)
        share = ((rows - left_x) / (right_x - left_x).clamp(min=1e-30)).clamp(0, 1)
        out = (left_p + share * (right_p - left_p)).T.reshape(mean.shape)
        return torch.minimum(out, self.get_buffer("last") + (1 - 1e-6))

    def start(self, mean, loadings, noise):
        # a normal cut into bins at u has logits u (mean + loadings z) / noise² - u² / (2 noise²): linear in z
        scores = self.get_buffer("scores")
        bias, slope = [], []
        for j, size in enumerate(self.sizes):
            u = 0.5 * (scores[j, :size] + scores[j, 1 : size + 1])
            width = (scores[j, 1 : size + 1] - scores[j, :size]).clamp(min=1e-3)
            bias.append(width.log() - 0.5 * ((u - mean[j]) / noise).square())
            slope.append(u[:, None] * loadings[j] / noise.square())
        return self._laid_out(torch.cat(bias), torch.cat(slope))


class _Tilt(torch.autograd.Function):
    """By how much logits raise the log-probability of a bin above that of mixtures of logistic distributions, cut into bins.

    That is logits[code] - log(sum of exp(logits) times the mass of each bin); by hand, with a fifth of the exponentials.
    Logits that are too far below the largest count as that far, and learn as if they did not.

    logits : (..., k, n_bins); log_weight, location, scale : (..., k, m); edges : (k, n_bins + 1); codes : (..., k). Returns
    (..., k).
    """

    @staticmethod
    def forward(ctx, logits, log_weight, location, scale, edges, codes):
        edges = (edges.unsqueeze(-2) - location.unsqueeze(-1)) / scale.unsqueeze(-1)
        # how far away all bins are, in scales: masses are reckoned beside that of what lies there
        away = (edges[..., :1].clamp(min=0) - edges[..., -1:].clamp(max=0)).contiguous()
        # a cdf by the mass of the nearer tail, which keeps its digits: so do differences, but for that across the middle
        tail, side = (away - edges.abs()).clamp_(min=-FARTHEST).exp_(), edges.sign()
        tail.div_(torch.addcmul(tail.new_ones(()), tail, away.neg().exp_()))
        mass = side.diff().mul_(0.5).sub_((side * tail).diff())
        logits = (logits - logits.amax(-1, keepdim=True)).clamp_(min=-STEEPEST)
        odds = logits.exp()
        totals = (mass * odds.unsqueeze(-2)).sum(-1).clamp(min=1e-30)
        away = away.squeeze(-1)
        log_shares = log_weight - away + totals.log()
        log_total = log_shares.logsumexp(-1, keepdim=True)
        ctx.save_for_backward(odds, scale, edges, tail, away, mass, totals, log_shares - log_total, codes)
        return (logits.gather(-1, codes.unsqueeze(-1)) - log_total).squeeze(-1)

    @staticmethod
    def backward(ctx, gradient):
        odds, scale, edges, tail, away, mass, totals, log_shares, codes = ctx.saved_tensors
        gradient = gradient.unsqueeze(-1)
        shares = gradient * log_shares.exp()
        by_mass = shares / totals
        of_logits = (mass * by_mass.unsqueeze(-1)).sum(-2).mul_(odds).neg_()
        of_logits.scatter_add_(-1, codes.unsqueeze(-1), gradient)
        # of an edge: the density there, times what the bin to its right loses and that to its left gains
        density = tail - (tail * tail).mul_(away.neg().exp_().unsqueeze(-1))
        of_edges = density.mul_(F.pad(odds, (1, 1)).diff().unsqueeze(-2))
        moved = by_mass / scale
        of_location, of_scale = (-moved * part.sum(-1) for part in (of_edges, of_edges * edges))
        return of_logits, -shares, of_location, of_scale, None, None


def _match_shares(log_probs: Tensor, shares: Tensor) -> Tensor:
    """What to add to log-probabilities (m, n) for their means to be shares (n,), nearly: (n,). Rare codes move less."""
    shift, few = torch.zeros_like(shares), 10 / len(log_probs)
    for _ in range(3):
        means = (log_probs + shift).softmax(-1).mean(0)
        shift = shift + ((shares + few) / (means + few)).log().clamp(-1, 1)
    return shift


def _log_mass_of_logistic(left: Tensor, right: Tensor) -> Tensor:
    """Of the standard logistic distribution between two points: log(sigmoid(right) - sigmoid(left))."""
    return F.logsigmoid(right) + F.logsigmoid(-left) + torch.log(-torch.expm1((left - right).clamp(max=-1e-7)))


def _draw(probs: Tensor, generator: Generator) -> Tensor:
    """An index of the last axis for each of the others, as often as probs (..., n) say: int, (...)."""
    cumulated = probs.cumsum(-1)
    u = torch.rand(cumulated.shape[:-1], generator=generator, dtype=cumulated.dtype, device=cumulated.device)
    return (cumulated <= u.unsqueeze(-1) * cumulated[..., -1:]).sum(-1).clamp(max=cumulated.shape[-1] - 1)


def _padded(rows: Sequence[Sequence[float]]) -> Tensor:
    """Rows of unlike length as one (n_rows, widest), the last number of each repeated."""
    widest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[row[-1]] * (widest - len(row))] for row in rows], dtype=torch.float32)


def _normal(like: Tensor, generator: Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)


LIKELIHOODS: dict[str, Callable[..., AbstractLikelihood]] = {
    "gaussian": Gaussian,
    "student_t": StudentT,
    "log_normal": Gaussian,  # its cells are logarithms
    "continuous_bernoulli": ContinuousBernoulli,
    "bernoulli": Bernoulli,
    "poisson": Poisson,
    "negative_binomial": NegativeBinomial,
    "zero_inflated_negative_binomial": ZeroInflatedNegativeBinomial,
    "histogram": Histogram,
    "ordinal": Ordinal,
    "categorical": Categorical,
}
