"""What a cell may be, given parameters theta, from a decoder or the generator: p(x | theta).

One small class a likelihood and one row in `LIKELIHOODS`. A likelihood serves a block of like variables at once; it is
normalised in packed units, so that log-probabilities of different likelihoods add up to nats per row.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from skvae.abstract_likelihood import (
    HALF_LOG_2PI,
    AbstractLikelihood,
    Softmax,
    WithTails,
    draw_index,
    log_mass_of_logistic,
    log_of_no_likelier,
    match_shares,
    mixed,
    normal_like,
)
from skvae.contexts import plain_derivatives
from skvae.histogram import Histogram, TiltedScores
from skvae.tails import (
    log_p_value_of_t,
    log_prob_with_more_zeros,
    log_tails_of_negative_binomial,
    log_tails_of_poisson,
    with_more_zeros,
)

NEAREST_TO_END = 1e-3  # where a number on an interval counts as its end, which by itself has a probability of 0
DF_AT_START, DF_TRIED = 50.0, (2.0, 3.0, 5.0, 8.0, 15.0, 30.0, 100.0)  # degrees of freedom, less one; unmeasured
N_REDRAWS = 4  # of a normal score that is out of reach, before it is set to the end of it


class _LocationScale(WithTails):
    """What a location and a scale share. Without `relative`, theta is the location, and scales are parameters."""

    takes_base = takes_mixture = True
    least_scale: Tensor

    def __init__(self, variables, relative=False):
        super().__init__(variables, relative)
        self.rectangles *= 1 + relative
        self.log_scales_at = list(range(self.n_variables, 2 * self.n_variables)) if relative else []
        self._buffers_of(variables, "least_scale")
        # one scale a column, not one a cell: a scale that follows z spends the latents on noise, not on the data
        self.log_scale = nn.Parameter(torch.zeros(self.n_variables))

    def _loc_scale(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Both (..., n_variables)."""
        loc, log_scale = theta.chunk(2, -1) if self.relative else (theta, 0.0)
        # the floor keeps repeated values from drawing the density to infinity
        return loc, self.least_scale + (self.log_scale + log_scale).clamp(max=30).exp()

    def on_base(self, theta, location, scale):
        offset, log_scale = theta.chunk(2, -1)
        return torch.cat([location + scale * offset, log_scale + scale.log()], -1)

    def centre(self, theta):
        return self._loc_scale(theta)[0]


class Standardised(nn.Module):
    """Cells of a transform, less its mean, over its standard deviation.

    variables : sequence of Variable, with the mean (`centre`) and the standard deviation (`scale`); transform : callable
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, variables: Sequence, transform: Callable[[Tensor], Tensor] | None = None):
        super().__init__()
        self.transform = transform
        self.register_buffer("centre", torch.tensor([float(v.centre) for v in variables]), persistent=False)
        self.register_buffer("scale", torch.tensor([float(v.scale) for v in variables]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x : (..., n_variables); returns the same."""
        return ((x if self.transform is None else self.transform(x)) - self.centre) / self.scale


class Gaussian(_LocationScale):
    """Normal with a learned scale for every variable; on a lattice, the probability of the lattice cell.

    Integers are discrete: their probability is the normal's mass within half a step, and the outermost cells of a
    bounded variable hold the whole tail (Salimans et al., 2017, eq. 2, with a normal for the logistic). Drawing a normal,
    rounding and clipping draws from exactly this.
    """

    spacing: Tensor
    lower: Tensor
    upper: Tensor

    def __init__(self, variables, relative=False):
        super().__init__(variables, relative)
        self._buffers_of(variables, "spacing", "lower", "upper")
        self.discrete = bool(self.spacing.any())
        self.continuous = not self.discrete

    def log_prob(self, x, theta):
        loc, scale = self._loc_scale(theta)
        density = -0.5 * ((x - loc) / scale).square() - scale.log() - HALF_LOG_2PI
        return torch.where(self.spacing > 0, self._log_mass(x, loc, scale), density) if self.discrete else density

    def _log_mass(self, x: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        half, far = 0.5 * self.spacing, 1e4  # beyond 1e4 standard deviations there is no mass to lose
        left = torch.where(x - half <= self.lower, -far, (x - half - loc) / scale)
        right = torch.where(x + half >= self.upper, far, (x + half - loc) / scale)
        # the log of a difference of tails is taken on the left side, where the normal's log-cdf keeps its digits
        flip = left > 0
        left, right = torch.where(flip, -right, left), torch.where(flip, -left, right)
        log_right = torch.special.log_ndtr(right.clamp(-far, far))
        gap = torch.special.log_ndtr(left.clamp(-far, far)) - log_right
        return log_right + torch.log(-torch.expm1(gap.clamp(max=-1e-7)))

    def log_tails(self, x, theta):
        loc, scale = self._loc_scale(theta)
        half, far = 0.5 * self.spacing, math.inf
        # of a density, or on a lattice of cells up to their outer edges, the outermost of which are at the end of the line
        above = torch.special.log_ndtr(-torch.where((self.spacing > 0) & (x <= self.lower), -far, (x - half - loc) / scale))
        below = torch.special.log_ndtr(torch.where((self.spacing > 0) & (x >= self.upper), far, (x + half - loc) / scale))
        return below, above

    def sample(self, theta, rng):
        loc, scale = self._loc_scale(theta)
        return loc + scale * normal_like(loc, rng)

    def start(self, mean, loadings, noise):
        self.log_scale.copy_(noise.log() - self.least_scale / noise)  # to first order, scale = noise
        return mean, loadings


class StudentT(_LocationScale):
    """Student's t with a learned scale and learned degrees of freedom for every variable: robust to outliers."""

    continuous = True

    def __init__(self, variables, relative=False):
        super().__init__(variables, relative)
        self.log_df = nn.Parameter(torch.full((self.n_variables,), math.log(5.0)))

    def log_prob(self, x, theta):
        (loc, scale), df = self._loc_scale(theta), 1 + self.log_df.exp()  # above 1, the mean exists
        tail = 0.5 * (df + 1) * torch.log1p(((x - loc) / scale).square() / df)
        return torch.lgamma(0.5 * (df + 1)) - torch.lgamma(0.5 * df) - 0.5 * (math.pi * df).log() - scale.log() - tail

    def log_tails(self, x, theta):
        loc, scale = self._loc_scale(theta)
        deviation = (x - loc) / scale
        nearer = log_p_value_of_t(deviation, 1 + self.log_df.exp()) - math.log(2)
        farther = torch.log1p(-nearer.exp())
        return torch.where(deviation > 0, farther, nearer), torch.where(deviation > 0, nearer, farther)

    def sample(self, theta, rng):
        loc, scale = self._loc_scale(theta)
        df = (1 + self.log_df.exp()).expand_as(loc).contiguous()
        chi_square = 2 * torch._standard_gamma(0.5 * df, generator=rng)
        return loc + scale * normal_like(loc, rng) * (df / chi_square).sqrt()

    def start(self, mean, loadings, noise):
        # a t distribution of so few degrees of freedom is wider than its scale
        self.log_scale.copy_(noise.log() - self.least_scale / noise - 0.3)
        return mean, loadings


class RobustNormal(StudentT):
    """Nearly normal: Student's t whose degrees of freedom begin high, so that a cell far from all others costs a few nats.

    Beside a narrow normal it would cost thousands, and one such row would be the mean score of all.
    """

    @classmethod
    def of(cls, variables, relative):
        # rows that are many can tell any shape that a cell has given others
        return TiltedScores(variables) if relative and all(v.size for v in variables) else cls(variables, relative)

    lower: Tensor
    upper: Tensor

    def __init__(self, variables, relative=False):
        super().__init__(variables, relative)
        nn.init.constant_(self.log_df, math.log(DF_AT_START))
        self._buffers_of(variables, "lower", "upper", persistent=False)

    def sample(self, theta, rng):
        """As `AbstractLikelihood.sample`, of scores within reach: others, which are rare, are drawn again."""
        x = super().sample(theta, rng)
        for _ in range(N_REDRAWS):
            if not (beyond := (x < self.lower) | (x > self.upper)).any():
                return x
            x = torch.where(beyond, super().sample(theta, rng), x)
        return x.clamp(self.lower, self.upper)

    def start(self, mean, loadings, noise):
        self.log_scale.copy_(noise.log() - self.least_scale / noise)
        return mean, loadings

    def start_on_base(self, deviations, weight):
        best = deviations.new_full((self.n_variables,), -math.inf)
        for df in DF_TRIED:
            log_scale = 0.5 * math.log(1 - 2 / (1 + df))
            theta = torch.cat([torch.zeros_like(deviations)] * 2, -1)
            log_df, shift = self.log_df.clone(), self.log_scale.clone()
            self.log_df.fill_(math.log(df))
            self.log_scale.fill_(log_scale)
            told = weight @ self.log_prob(deviations, theta).nan_to_num()
            self.log_df.copy_(torch.where(told > best, self.log_df, log_df))
            self.log_scale.copy_(torch.where(told > best, self.log_scale, shift))
            best = torch.maximum(told, best)


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

    def __init__(self, variables, relative=False):
        super().__init__(variables, relative)
        self.code_places = self.log_odds_at = [[j] for j in range(self.n_variables)]

    def log_prob(self, x, theta):
        return x * theta - F.softplus(theta) if plain_derivatives() else _ExpectedLogProb.apply(x, theta)

    def log_p_value_of_mixture(self, x, theta, log_share):
        """Of the side on which a share lies: 0 for the likelier one."""
        log_prob = (log_share + F.logsigmoid(torch.where(x > 0.5, theta, -theta))).logsumexp(0)
        return torch.where(log_prob < -math.log(2), log_prob, 0.0)

    def log_prob_of_unseen(self, theta):
        unseen = theta.new_tensor([variable.unseen for variable in self.variables])
        return torch.minimum(F.logsigmoid(-theta.abs()), unseen.log())

    def sample(self, theta, rng):
        return torch.bernoulli(theta.sigmoid(), generator=rng)

    def centre(self, theta):
        return theta.sigmoid()

    def calibration(self, theta, x, weight):
        yes = (weight @ x / weight.sum().clamp(min=1e-12))[0]
        pair = torch.stack([torch.zeros_like(theta[:, 0]), theta[:, 0]], 1)
        shift = match_shares(pair.log_softmax(-1), torch.stack([1 - yes, yes]))
        return shift[1:] - shift[0]

    def start(self, mean, loadings, noise):
        mean = mean.clamp(1e-4, 1 - 1e-4)
        return mean.logit(), loadings / (mean * (1 - mean))[:, None]


class ContinuousBernoulli(WithTails):
    """A number between 0 and 1, of density C(p) p^x (1 - p)^(1 - x) (Loaiza-Ganem & Cunningham, 2019, eqs. 3 and 4)."""

    chain_rank = 1

    def log_prob(self, x, theta):
        return x * theta - F.softplus(theta) + self._log_normaliser(theta)

    def log_tails(self, x, theta):
        rises = theta > 0
        y, slope = torch.where(rises, x, 1 - x).clamp(min=NEAREST_TO_END), theta.abs().clamp(min=1e-4)
        lower = slope * (y - 1) + torch.log(torch.expm1(-slope * y) / torch.expm1(-slope))  # of all from the lower end on
        upper = torch.log1p(-lower.exp().clamp(max=1 - NEAREST_TO_END))
        return torch.where(rises, lower, upper), torch.where(rises, upper, lower)

    def log_p_value_of_mixture(self, x, theta, log_share):
        """Of all from the unlikelier end on: the density rises towards the other."""
        below, above = ((log_share + tail).logsumexp(0) for tail in self.log_tails(x, theta))
        rises = (log_share.exp() * self.centre(theta)).sum(0) > 0.5
        return torch.where(rises, below, above).clamp(max=0.0)

    @staticmethod
    def _log_normaliser(theta: Tensor) -> Tensor:
        # C = 2 atanh(1 - 2p) / (1 - 2p) with 1 - 2p = -tanh(theta / 2), so C = theta / tanh(theta / 2): 2 at theta = 0
        safe = torch.where(theta.abs() < 0.05, 1.0, theta)
        series = math.log(2) + theta.square() / 12 - theta.pow(4) / 1440
        return torch.where(theta.abs() < 0.05, series, (safe / torch.tanh(0.5 * safe)).log())

    def sample(self, theta, rng):
        u = torch.rand(theta.shape, generator=rng, dtype=theta.dtype, device=theta.device)
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


class _Count(WithTails):
    """What counts share: the rate is exp(theta), the encoder sees log(1 + x) standardised."""

    chain_rank = 1
    features: Standardised

    @staticmethod
    def features_of(variables):
        return Standardised(variables, torch.log1p)

    def _rate(self, theta: Tensor) -> Tensor:
        return theta.clamp(max=30).exp()

    def centre(self, theta):
        return self._rate(theta)

    def start(self, mean, loadings, noise):
        centre, scale = self.features.centre, self.features.scale
        return centre + scale * mean, scale[:, None] * loadings


class Poisson(_Count):
    """Counts whose variance is their mean."""

    def log_prob(self, x, theta):
        return x * theta.clamp(max=30) - self._rate(theta) - torch.lgamma(x + 1)

    def log_tails(self, x, theta):
        return log_tails_of_poisson(x, self._rate(theta), self.log_prob(x, theta))

    def sample(self, theta, rng):
        return torch.poisson(self._rate(theta), generator=rng)


class NegativeBinomial(_Count):
    """Counts with more variance than their mean: a Poisson whose rate is gamma, its shape learned for every variable."""

    def __init__(self, variables, relative=False):
        super().__init__(variables, relative)
        self.log_shape = nn.Parameter(torch.zeros(self.n_variables))

    def log_prob(self, x, theta):
        theta, shape = theta.clamp(max=30), self.log_shape.exp()
        log_total = torch.logaddexp(theta, self.log_shape)
        ways = torch.lgamma(x + shape) - torch.lgamma(shape) - torch.lgamma(x + 1)
        return ways + shape * (self.log_shape - log_total) + x * (theta - log_total)

    def log_tails(self, x, theta):
        return log_tails_of_negative_binomial(x, self._rate(theta), self.log_shape.exp(), self.log_prob(x, theta))

    def sample(self, theta, rng):
        shape = self.log_shape.exp().expand_as(theta).contiguous()
        rate = self._rate(theta) / shape * torch._standard_gamma(shape, generator=rng)
        return torch.poisson(rate, generator=rng)


class ZeroInflatedNegativeBinomial(_Count):
    """A negative binomial, or with some probability a zero (Lambert, 1992, for the negative binomial)."""

    def __init__(self, variables, relative=False):
        super().__init__(variables, relative)
        self.counts = NegativeBinomial(variables)
        self.rectangles *= 2

    def log_prob(self, x, theta):
        rate, zero = theta.chunk(2, -1)
        return log_prob_with_more_zeros(x, zero, self.counts.log_prob(x, rate))

    def log_tails(self, x, theta):
        rate, zero = theta.chunk(2, -1)
        return with_more_zeros(x, zero, *self.counts.log_tails(x, rate))

    def sample(self, theta, rng):
        rate, zero = theta.chunk(2, -1)
        return self.counts.sample(rate, rng) * torch.bernoulli((-zero).sigmoid(), generator=rng)

    def centre(self, theta):
        rate, zero = theta.chunk(2, -1)
        return self._rate(rate) * (-zero).sigmoid()

    def start(self, mean, loadings, noise):
        bias, slope = super().start(mean, loadings, noise)
        return torch.cat([bias, torch.full_like(bias, -2.0)]), torch.cat([slope, torch.zeros_like(slope)])


class Categorical(Softmax):
    """One of `size` categories; a cell holds the category's code."""

    unseen: Tensor

    def __init__(self, variables, relative=False):
        super().__init__(variables, relative)
        self._buffers_of(variables, "unseen")
        self.log_odds_at = self.code_places

    def log_prob_of_unseen(self, theta):
        def least(log_probs, columns):
            there = torch.arange(log_probs.shape[-1], device=theta.device) < log_probs.new_tensor(
                [[self.sizes[j]] for j in columns]
            )
            return torch.where(there, log_probs, math.inf).amin(-1)

        return torch.minimum(self._by_bucket(theta, least), self.unseen.log())

    def codes(self, x):
        return x.long()

    def log_prob(self, x, theta):
        return self._log_prob_of_codes(x.long(), theta)

    def sample(self, theta, rng):
        return self._draw_codes(theta, rng)

    def centre(self, theta):
        return self._by_bucket(theta, lambda log_probs, columns: log_probs.argmax(-1)).to(theta.dtype)

    def start(self, mean, loadings, noise):
        mean = mean.clamp(min=1e-4)
        return self._laid_out(mean.log(), loadings / mean[:, None])


class Ordinal(AbstractLikelihood):
    """One of `size` ordered categories: P(x <= k) = sigmoid(threshold_k - theta), thresholds learned (McCullagh, 1980)."""

    unseen: Tensor

    def __init__(self, variables, relative=False):
        super().__init__(variables, relative)
        self.largest = max(v.size for v in variables)
        self.register_buffer("last", torch.tensor([v.size - 1 for v in variables]), persistent=False)
        self._buffers_of(variables, "unseen")
        self.first = nn.Parameter(torch.full((self.n_variables, 1), -1.0))
        self.log_gaps = nn.Parameter(torch.zeros(self.n_variables, max(self.largest - 2, 0)))
        self.n_codes = [v.size for v in variables]

    def codes(self, x):
        return x.long()

    @staticmethod
    def features_of(variables):
        return Standardised(variables)

    def log_prob_of_unseen(self, theta):
        there = torch.arange(self.largest, device=theta.device) <= self.get_buffer("last")[:, None]
        least = torch.where(there, self._log_probs(theta), math.inf).amin(-1)
        return torch.minimum(least, self.unseen.log())

    def _log_probs(self, theta: Tensor) -> Tensor:
        """(..., n_variables, largest), minus infinity (nearly) past a variable's last category."""
        thresholds = torch.cat([self.first, self.first + F.softplus(self.log_gaps).cumsum(-1)], -1)
        levels = torch.arange(thresholds.shape[-1], device=theta.device)
        thresholds = torch.where(levels < self.get_buffer("last")[:, None], thresholds, 1e4)  # P(x <= last) = 1
        cumulated = thresholds - theta.unsqueeze(-1)
        ends = F.pad(cumulated, (1, 0), value=-1e4), F.pad(cumulated, (0, 1), value=1e4)
        return log_mass_of_logistic(*ends)[..., : self.largest]

    def log_prob(self, x, theta):
        log_probs = self._log_probs(theta)
        shape = torch.broadcast_shapes(x.shape, log_probs.shape[:-1])
        return log_probs.expand(*shape, -1).gather(-1, x.long().expand(shape).unsqueeze(-1)).squeeze(-1)

    def log_p_value_of_mixture(self, x, theta, log_share):
        return log_of_no_likelier(x.long(), mixed(self._log_probs(theta), log_share))

    def sample(self, theta, rng):
        return draw_index(self._log_probs(theta).exp(), rng).to(theta.dtype)

    def centre(self, theta):
        return self._log_probs(theta).argmax(-1).to(theta.dtype)

    def start(self, mean, loadings, noise):
        # the logistic that is cut by the thresholds has a scale of pi / sqrt(3) where the noise has its own
        slope = loadings * (math.pi / math.sqrt(3)) / noise
        return mean.new_zeros(self.n_variables), slope


LIKELIHOODS: dict[str, type[AbstractLikelihood]] = {
    "gaussian": Gaussian,
    "normal_scores": RobustNormal,  # its cells are normal scores
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
