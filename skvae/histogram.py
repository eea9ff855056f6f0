"""Numbers in bins: p(x | theta) as a softmax over quantile bins, and as one that tilts logistic distributions."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from skvae.abstract_likelihood import HALF_LOG_2PI, Rectangle, Softmax, draw_index, log_mass_of_logistic, mixed
from skvae.contexts import plain_derivatives

LOGISTIC = math.sqrt(3) / math.pi  # the scale of a logistic distribution of standard deviation one
# the logistic distributions that bins begin with: log-weights, and offsets and log-scales beside those of the base normal,
# of which their mixture has the mean, the variance and the kurtosis
WEIGHTS, OFFSETS, SCALES = (0.0, 0.0), (-0.66, 0.66), (math.log(0.751),) * 2
NARROWEST = 1e-4  # scale of such a distribution, in normal scores; unmeasured
N_BUMPS, WIDEST_BUMP = 20, 3.0  # how many bumps mix a bin, between which normal scores; unmeasured
FLATTEST = 3.0  # log-scale of a logistic distribution beside that of the base: of flatter ones masses lose their digits
STEEPEST = 15.0  # largest log-odds of two bins, by which a softmax tilts; unmeasured
LEAST_TAIL = 1e-4  # share of an outermost bin that counts as beyond it, where a number is there all the same; unmeasured
SMALLEST = 2**-24  # random number in float32 above 0
FARTHEST = 2 * STEEPEST  # scales from the location, up to which mass is counted: no tilt makes up for more
APART = 0.1  # learning rate of a bin by itself beside that of a bump, so that it learns where rows are many; unmeasured


class NormalScores(nn.Module):
    """Packed numbers in bins as normal scores: those of the shares of rows below them, even in a bin.

    variables : sequence of Variable
    """

    scores: Tensor
    last: Tensor

    def __init__(self, variables: Sequence):
        super().__init__()
        self.register_buffer("scores", padded([v.edge_scores for v in variables]), persistent=False)
        self.register_buffer("last", torch.tensor([v.size - 1 for v in variables]), persistent=False)

    def codes(self, x: Tensor) -> Tensor:
        """Bins, int, of packed numbers x (..., n_variables)."""
        return torch.minimum(x.floor().long().clamp(min=0), self.last)

    def edges(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Normal scores of both ends of bins (..., n_variables)."""
        scores = self.scores.expand(*codes.shape, -1)
        left, right = (scores.gather(-1, (codes + end).unsqueeze(-1)).squeeze(-1) for end in (0, 1))
        return left, right

    def forward(self, x: Tensor) -> Tensor:
        """x : (..., n_variables); returns the same."""
        codes = self.codes(x)
        return score_of_place((x - codes).clamp(0, 1), *self.edges(codes))


def score_of_place(place: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Normal scores of places in bins, from 0 to 1; left, right : scores of their edges. All (...)."""
    share = torch.lerp(torch.special.ndtr(left), torch.special.ndtr(right), place)
    return torch.minimum(torch.maximum(torch.special.ndtri(share), left), right)


def place_of_score(score: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """The inverse of `score_of_place`, less than 1."""
    lower = torch.special.ndtr(left)
    width = (torch.special.ndtr(right) - lower).clamp(min=1e-30)
    return ((torch.special.ndtr(score) - lower) / width).clamp(0, 1 - 2**-16)


class Histogram(Softmax):
    """A softmax over bins; a cell holds its bin's code plus its place in the bin, from 0 to 1.

    Inside a bin, places are uniform. Relative to a base normal, they and the masses of bins are those of a mixture of two
    logistic distributions of the normal scores (Salimans et al., 2017), before the softmax tilts it: so a column that
    follows others more closely than its bins are wide is told as closely. Codes past the ends are tails: what they are worth
    in the data's own units is the schema's to say.
    """

    takes_base = True
    features: NormalScores

    def __init__(self, variables, relative=False):
        super().__init__(variables, relative)
        self.register_buffer("means", padded([v.bin_means for v in variables]))
        self.register_buffer("atoms", padded([v.atoms for v in variables]))
        self.register_buffer("knots", padded([[x for x, _ in v.knots] for v in variables]))
        self.register_buffer("packed_knots", padded([[p for _, p in v.knots] for v in variables]))
        self.register_buffer("tails", torch.tensor([v.tails for v in variables]), persistent=False)
        if relative:
            self.register_buffer("spikes", padded([v.spikes for v in variables]) > 0, persistent=False)
            self.register_buffer("knot_scores", self.features(self.get_buffer("packed_knots").T).T, persistent=False)
            (_, width, _), *_ = self.rectangles
            self.rectangles = [Rectangle(list(range(self.n_variables)), n) for n in (width, *[len(WEIGHTS)] * 3)]
            self.rectangles[0] = self.rectangles[0]._replace(basis=self._basis(width))
            self.log_scales_at = list(range(self.n_params - self.n_variables * len(WEIGHTS), self.n_params))

    @staticmethod
    def features_of(variables):
        return NormalScores(variables)

    @staticmethod
    def _magnitude(size):
        return 0  # there are few bins

    def _basis(self, width: int) -> tuple[Tensor, Tensor]:
        """Bumps along the normal scores, as functions of the bin, (n_variables, n_functions, width), and by how much every
        bin moves apart from its neighbours by itself, (n_variables, width): one that is a single value as a category does.
        """
        scores = self.features.scores
        middle = 0.5 * (scores[:, :-1] + scores[:, 1:])[:, None]
        centres = torch.linspace(-WIDEST_BUMP, WIDEST_BUMP, N_BUMPS)[:, None]
        bumps = torch.exp(-0.5 * ((middle - centres) / (centres[1] - centres[0])).square())
        bumps[bumps < 1e-6] = 0.0  # subnormal numbers are multiplied by the hundredth of the speed
        there = torch.arange(width) <= self.features.last[:, None]
        return bumps * there[:, None], torch.where(self.get_buffer("atoms").isnan(), APART, 1.0) * there

    def codes(self, x):
        return self.features.codes(x)

    def _parts(self, theta: Tensor) -> tuple[Tensor, ...]:
        """Logits, and where theta is relative, log-weights, locations (or offsets) and scales (or their logarithms) of
        logistic distributions, (..., n_variables, n_logistics) each.
        """
        if not self.relative:
            return (theta,)
        shape = self.n_variables, len(WEIGHTS)
        logits, *logistics = theta.split([self.n_logits, *[math.prod(shape)] * 3], -1)
        return logits, *(part.unflatten(-1, shape) for part in logistics)

    def on_base(self, theta, location, scale):
        logits, log_weight, offset, log_scale = self._parts(theta)
        location, scale = location.unsqueeze(-1), scale.unsqueeze(-1)
        log_weight = (log_weight + log_weight.new_tensor(WEIGHTS)).log_softmax(-1)
        log_scale = (log_scale + log_scale.new_tensor(SCALES)).clamp(max=FLATTEST)
        offset = offset + offset.new_tensor(OFFSETS)
        logistics = log_weight, location + scale * offset, NARROWEST + scale * log_scale.exp() * LOGISTIC
        return torch.cat([logits, *(part.flatten(-2) for part in logistics)], -1)

    def _logits(self, theta):
        logits, *logistics = self._parts(theta)
        if not self.relative:
            return logits
        log_weight, location, scale = (part.unsqueeze(-1) for part in logistics)
        edges = (self.features.scores[:, None] - location) / scale
        masses = log_mass_of_logistic(edges[..., :-1], edges[..., 1:])
        tilt = self._rectangle(0, logits)
        tilt = torch.maximum(tilt, tilt.amax(-1, keepdim=True) - STEEPEST)
        return (tilt + (log_weight + masses).logsumexp(-2)).flatten(-2)

    def log_prob(self, x, theta):
        codes = self.codes(x)
        if not self.relative:
            return self._log_prob_of_codes(codes, theta)
        shape = torch.broadcast_shapes(codes.shape[:-1], theta.shape[:-1])
        codes, (logits, *logistics) = codes.expand(*shape, -1), self._parts(theta.expand(*shape, -1))
        function: Callable[..., Tensor] = _Tilt.plain if plain_derivatives() else _Tilt.apply
        tilt = function(self._rectangle(0, logits), *logistics, self.features.scores, codes)
        return tilt + self._log_logistics(x.expand_as(codes), codes, *logistics)

    def log_p_value_of_mixture(self, x, theta, log_share):
        """Of the bins that are no likelier than that of x, by shares of rows rather than by density: a bin holds as many.

        Beyond the ends, the probability of a number that is as far beyond counts as that of a bin.
        """
        log_probs = mixed(self._rectangle(0, self._logits(theta)).log_softmax(-1), log_share)
        last, tails = self.features.last, self.get_buffer("tails")
        first_and_last = torch.stack([log_probs[..., 0], log_probs.gather(-1, self._last_of(log_probs))[..., 0]], -1)
        log_beyond = (first_and_last + tails.clamp(min=LEAST_TAIL).log()).logsumexp(-1)
        distance = torch.maximum(-x, x - (last + 1)).clamp(min=0.0)
        own = log_probs.gather(-1, self.codes(x).unsqueeze(-1)).squeeze(-1)
        own = torch.where(distance > 0, log_beyond - distance, own)
        rare = log_probs.masked_fill(log_probs > own.unsqueeze(-1) + 1e-6, -math.inf).logsumexp(-1)
        return torch.logaddexp(rare, torch.minimum(own, log_beyond)).clamp(max=0.0)

    def _last_of(self, log_probs: Tensor) -> Tensor:
        """The last bin of each variable, (..., n_variables, 1), of log_probs (..., n_variables, n_bins)."""
        return self.features.last[:, None].expand(*log_probs.shape[:-1], 1)

    def _log_logistics(self, x: Tensor, codes: Tensor, log_weight: Tensor, location: Tensor, scale: Tensor) -> Tensor:
        """Log-density of places x, with codes, under mixtures of logistic distributions; in tails the mass of their bin.

        x, codes, and what is returned : (..., n_variables); the others as `_parts` has them.
        """
        knots, (left, right) = self.get_buffer("packed_knots"), self.features.edges(codes)
        rows = x.reshape(-1, self.n_variables).T.contiguous()
        piece = (torch.searchsorted(knots, rows, right=True) - 1).clamp(0, knots.shape[1] - 2)
        spike, *ends = (
            table.gather(1, piece + shift).T.reshape(x.shape)
            for table, shift in ((self.get_buffer("spikes"), 0), (knots, 0), (knots, 1))
        )
        at_ends = (self.get_buffer("knot_scores").gather(1, piece + shift).T.reshape(x.shape) for shift in (0, 1))
        scores = torch.stack([*at_ends, left, right, score_of_place((x - codes).clamp(0, 1), left, right)])
        at = (scores.unsqueeze(-1) - location) / scale
        density = F.logsigmoid(at[4]) + F.logsigmoid(-at[4]) - scale.log()
        mass, whole, density = (
            (log_weight + part).logsumexp(-1) for part in (*log_mass_of_logistic(at[[0, 2]], at[[1, 3]]), density)
        )
        inside = (x >= 0) & (x < self.features.last + 1)
        mass = mass - (ends[1] - ends[0]).clamp(min=1e-7).log()
        width = (torch.special.ndtr(right) - torch.special.ndtr(left)).clamp(min=1e-30)
        density = density + width.log() + 0.5 * scores[4].square() + HALF_LOG_2PI
        return torch.where(inside, torch.where(spike, mass, density), whole)

    def sample(self, theta, rng):
        codes = self._draw_codes(theta, rng)
        place = torch.rand(codes.shape, generator=rng, dtype=theta.dtype, device=theta.device)
        if self.relative:
            place = self._place(place, codes.long(), *self._component(codes.long(), theta, rng))
        atoms = self.get_buffer("atoms").expand(*codes.shape, -1).gather(-1, codes.long().unsqueeze(-1)).squeeze(-1)
        return self._with_tails(codes, codes + torch.where(atoms.isnan(), place, atoms), rng)

    def _with_tails(self, codes: Tensor, x: Tensor, rng: Generator) -> Tensor:
        """Draws x, of which some of the first and the last bin go past the ends. codes, x : (..., n_variables)."""
        tails, last = self.get_buffer("tails"), self.features.last
        share = tails[:, 0] * (codes == 0) + tails[:, 1] * (codes == last)
        u = torch.rand(x.shape, generator=rng, dtype=x.dtype, device=x.device)
        distance = (share / u.clamp(min=SMALLEST)).log()  # of an exponential distribution, where u is below the share
        return torch.where(u >= share, x, torch.where(codes == last, last + 1 + distance, -distance))

    def _component(self, codes: Tensor, theta: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
        """Locations and scales of the logistic distributions that codes (..., n_variables) are drawn from, like them."""
        _, log_weight, location, scale = self._parts(theta)
        left, right = ((edge.unsqueeze(-1) - location) / scale for edge in self.features.edges(codes))
        log_share = log_weight + log_mass_of_logistic(left, right)
        chosen = draw_index(log_share.softmax(-1), rng).unsqueeze(-1)
        return location.gather(-1, chosen).squeeze(-1), scale.gather(-1, chosen).squeeze(-1)

    def _place(self, share: Tensor, codes: Tensor, location: Tensor, scale: Tensor) -> Tensor:
        """Places in bins, of which a share of the mass is nearer to one end, all (..., n_variables)."""
        left, right = self.features.edges(codes)
        score = self._score(share, codes, location, scale)
        return place_of_score(score, left, right)

    def _score(self, share: Tensor, codes: Tensor, location: Tensor, scale: Tensor) -> Tensor:
        """As `_place`, the normal scores there."""
        left, right = self.features.edges(codes)
        ends = (left - location) / scale, (right - location) / scale
        flip = ends[0] + ends[1] > 0  # towards the left end, where the logarithm of the cdf keeps its digits
        lower, upper = torch.where(flip, -ends[1], ends[0]), torch.where(flip, -ends[0], ends[1])
        share = share.clamp(1e-7, 1 - 1e-7)
        log_cdf = torch.logaddexp(F.logsigmoid(lower) + torch.log1p(-share), F.logsigmoid(upper) + share.log())
        at = log_cdf - torch.log(-torch.expm1(log_cdf.clamp(max=-1e-7)))
        return torch.where(flip, -at, at) * scale + location

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
        return torch.minimum(out, self.features.last + (1 - 1e-6))

    def start(self, mean, loadings, noise):
        # a normal cut into bins at u has logits u (mean + loadings z) / noise² - u² / (2 noise²): linear in z
        scores = self.features.scores
        bias, slope = [], []
        for j, size in enumerate(self.sizes):
            u = 0.5 * (scores[j, :size] + scores[j, 1 : size + 1])
            width = (scores[j, 1 : size + 1] - scores[j, :size]).clamp(min=1e-3)
            bias.append(width.log() - 0.5 * ((u - mean[j]) / noise).square())
            slope.append(u[:, None] * loadings[j] / noise.square())
        return self._laid_out(torch.cat(bias), torch.cat(slope))


class ScoreBins(NormalScores):
    """Normal scores as they are; their bins are those that they fall in."""

    def codes(self, x):
        """Bins, int, of scores x (..., n_variables)."""
        rows = x.reshape(-1, x.shape[-1]).T.contiguous()
        codes = torch.searchsorted(self.scores, rows, right=True).T.reshape(x.shape) - 1
        return torch.minimum(codes.clamp(min=0), self.last)

    def forward(self, x):
        return x


class TiltedScores(Histogram):
    """Normal scores, relative to a base normal: a mixture of two logistic distributions, each bin of it raised or lowered.

    As `Histogram`, but that a cell holds the score itself: its density inside a bin is that of the mixture. The outermost
    bins have no end; in these it is that of a standard normal distribution, as logistic tails are longer than the data's.
    """

    continuous = True
    features: ScoreBins

    def __init__(self, variables, relative=True):
        inner = ((0.0, 0.0), (1.0, 1.0))
        whole = [replace(v, atoms=(math.nan,) * v.size, knots=inner, spikes=(False,)) for v in variables]
        super().__init__(whole, relative)

    @staticmethod
    def features_of(variables):
        return ScoreBins(variables)

    def _log_logistics(self, x, codes, log_weight, location, scale):
        at = (x.unsqueeze(-1) - location) / scale
        inside = (log_weight + F.logsigmoid(at) + F.logsigmoid(-at) - scale.log()).logsumexp(-1)
        first, last, is_first, is_last = self._ends(codes)
        edge = (torch.where(is_first, first, last).unsqueeze(-1) - location) / scale
        side = torch.where(is_first, 1.0, -1.0)
        mass = (log_weight + F.logsigmoid(side.unsqueeze(-1) * edge)).logsumexp(-1)
        tail = torch.special.log_ndtr(side * torch.where(is_first, first, last))
        return torch.where(is_first | is_last, mass - 0.5 * x.square() - HALF_LOG_2PI - tail, inside)

    def log_p_value_of_mixture(self, x, theta, log_share):
        return Softmax.log_p_value_of_mixture(self, x, theta, log_share)  # no bin has an end to be beyond

    def _ends(self, codes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Where the first bin ends and the last begins, (n_variables,), and which codes (..., n_variables) are theirs."""
        scores, last = self.features.scores, self.features.last
        begins = scores.gather(1, last[:, None])[:, 0]
        return scores[:, 1], begins, codes == 0, codes == last

    def sample(self, theta, rng):
        codes = self._draw_codes(theta, rng).long()
        share = torch.rand(codes.shape, generator=rng, dtype=theta.dtype, device=theta.device)
        inside = self._score(share, codes, *self._component(codes, theta, rng))
        first, last, is_first, is_last = self._ends(codes)
        share = share.clamp(min=1e-6)
        below = torch.special.ndtri(share * torch.special.ndtr(first))
        above = -torch.special.ndtri(share * torch.special.ndtr(-last))
        return torch.where(is_first, below, torch.where(is_last, above, inside))

    def centre(self, theta):
        """The mean of bins' means, those of a standard normal distribution."""
        means = self.get_buffer("means")
        return self._by_bucket(theta, lambda log_probs, j: (log_probs.exp() * means[j, : log_probs.shape[-1]]).sum(-1))


class _Tilt(torch.autograd.Function):
    """By how much logits raise the log-probability of a bin above that of mixtures of logistic distributions, cut into bins.

    That is logits[code] - log(sum of exp(logits) times the mass of each bin); by hand, with a fifth of the exponentials.
    Logits that are too far below the largest count as that far, and learn as if they did not.

    logits : (..., k, n_bins); log_weight, location, scale : (..., k, m); edges : (k, n_bins + 1); codes : (..., k). Returns
    (..., k).
    """

    @staticmethod
    def plain(logits, log_weight, location, scale, edges, codes):
        """The same by operations that torch differentiates."""
        edges = (edges.unsqueeze(-2) - location.unsqueeze(-1)) / scale.unsqueeze(-1)
        log_mass = log_mass_of_logistic(edges[..., :-1], edges[..., 1:])
        logits = logits - logits.detach().amax(-1, keepdim=True)
        logits = logits + (logits.clamp(min=-STEEPEST) - logits).detach()
        log_total = (log_weight + (logits.unsqueeze(-2) + log_mass).logsumexp(-1)).logsumexp(-1, keepdim=True)
        return (logits.gather(-1, codes.unsqueeze(-1)) - log_total).squeeze(-1)

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


def padded(rows: Sequence[Sequence[float]]) -> Tensor:
    """Rows of unlike length as one (n_rows, widest), the last number of each repeated."""
    widest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[row[-1]] * (widest - len(row))] for row in rows], dtype=torch.float32)
