"""The contract of likelihoods, p(x | theta), and what those of categories and of bins share."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
N_DRAWS_P_VALUE = 200  # of a likelihood that has no closed form of p-values


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
    relative : bool
        Whether theta is relative to a base normal (`on_base`): it then holds an offset and a log-scale of every variable, in
        units of that normal. Only likelihoods of real numbers make a difference.

    Attributes
    ----------
    rectangles : list of Rectangle
        The layout of theta, one after the other.
    n_codes : list of int
        How many `codes` each variable has.
    code_places : list of list of int
        Of each variable, where in theta the log-odds of its codes stand, also relative to a base; one place of a boolean.
    log_odds_at : list of list of int
        Of each variable, where in theta the log-odds of its codes stand, which a linear function of others may move; empty
        where there are none, or where they are relative to a base.
    log_scales_at : list of int
        Where in a theta that is relative to a base the log-scales stand.
    features : nn.Module
        What networks see of cells, (..., n_variables) to the same: numbers of scale one, or codes.
    takes_base : bool
        Whether `relative` makes a difference.
    takes_mixture : bool
        Whether the base may be a mixture of normals, as cells have few other ways to be far from normal.
    chain_rank : int
        Cells of a higher rank come later in a chain: a family of a parameter or two may be far from the distribution of a
        cell of whose row nothing is known.
    continuous : bool
        Whether cells have a density, with noise around a mean, so that no cell can be told exactly.
    """

    continuous = False
    takes_base = False
    takes_mixture = False
    chain_rank = 0

    def __init__(self, variables, relative=False):
        super().__init__()
        self.variables, self.relative, self.n_variables = list(variables), relative, len(variables)
        self.rectangles = [Rectangle(list(range(self.n_variables)), 1)]
        self.n_codes = [1] * self.n_variables
        self.code_places: list[list[int]] = [[]] * self.n_variables
        self.log_odds_at: list[list[int]] = [[]] * self.n_variables
        self.log_scales_at: list[int] = []
        self.features = self.features_of(self.variables)

    @classmethod
    def of(cls, variables: Sequence, relative: bool) -> "AbstractLikelihood":
        """That of a block of variables; by default, of this class."""
        return cls(variables, relative)

    @staticmethod
    def features_of(variables: Sequence) -> nn.Module:
        """`features` of a block of variables: by default the cells themselves."""
        return nn.Identity()

    @property
    def n_params(self) -> int:
        """Numbers that a decoder or the generator puts out for the block: the last axis of every theta."""
        return sum(len(columns) * width for columns, width, _ in self.rectangles)

    @torch.no_grad()
    def single(self, j: int) -> "AbstractLikelihood":
        """The likelihood of variable j by itself, with what was learned of it."""
        alone = type(self)([self.variables[j]], self.relative)
        for own, shared in zip(alone.parameters(), self.parameters(), strict=True):
            own.copy_(shared[j : j + 1][tuple(slice(size) for size in own.shape)])
        return alone

    def _buffers_of(self, variables, *names: str, suffix: str = "", persistent: bool = True) -> None:
        """Buffers (n_variables,) of fields of the variables, under the fields' names and a suffix."""
        for name in names:
            fields = torch.tensor([float(getattr(v, name)) for v in variables])
            self.register_buffer(name + suffix, fields, persistent)

    @abstractmethod
    def log_prob(self, x: Tensor, theta: Tensor) -> Tensor:
        """Log-probability (or log-density) of each cell, in nats.

        x : (..., n_variables); theta : (..., n_params), broadcast to each other; returns (..., n_variables).
        """

    @abstractmethod
    def sample(self, theta: Tensor, rng: Generator) -> Tensor:
        """One draw a cell. theta : (..., n_params); returns (..., n_variables)."""

    @abstractmethod
    def centre(self, theta: Tensor) -> Tensor:
        """The mean of numbers, the most probable of categories. theta : (..., n_params); returns (..., n_variables)."""

    def log_prob_of_unseen(self, theta: Tensor) -> Tensor:
        """Log-probability of a category that fit did not see: no more than that of any it saw, and of one more row.

        theta : (..., n_params); returns (..., n_variables).
        """
        raise NotImplementedError(f"{type(self).__name__} has no unseen categories")

    def log_p_value(self, x: Tensor, theta: Tensor) -> Tensor:
        """Log-probability of a cell at least as unlikely as x, in nats; p-values of draws are uniform, or larger.

        x : (..., n_variables); theta : (..., n_params), broadcast to each other; returns (..., n_variables).
        """
        theta = theta.expand(*x.shape[:-1], -1).unsqueeze(0)
        return self.log_p_value_of_mixture(x, theta, theta.new_zeros([1] * theta.dim()))

    def log_p_value_of_mixture(self, x: Tensor, theta: Tensor, log_share: Tensor) -> Tensor:
        """As `log_p_value`, of a mixture of k distributions.

        By default the mean of their p-values, from draws: log of P(log p(x') <= log p(x)). A cell that is less likely than
        all of them counts as rarer than they are by as much as its density is lower, as in an exponential tail.

        x : (n, n_variables); theta : (k, n, n_params); log_share : (k, n, 1), logarithms of shares; returns
        (n, n_variables).
        """
        rng = Generator(theta.device).manual_seed(0)
        own = self.log_prob(x, theta)
        rarer, least = torch.ones_like(own), torch.full_like(own, math.inf)
        for _ in range(N_DRAWS_P_VALUE):
            drawn = self.log_prob(self.sample(theta, rng), theta)
            rarer, least = rarer + (drawn <= own), torch.minimum(least, drawn)
        log_p = (rarer / (N_DRAWS_P_VALUE + 1)).log() + (own - least).clamp(max=0.0)
        return (log_share + log_p).logsumexp(0).clamp(max=0.0)

    def codes(self, x: Tensor) -> Tensor:
        """Which of `n_codes` codes a cell has: the only one, for numbers. x : (..., n_variables); returns the same."""
        return torch.zeros_like(x, dtype=torch.long)

    def on_base(self, theta: Tensor, location: Tensor, scale: Tensor) -> Tensor:
        """Theta as the other methods take it, of one that is relative to a normal in units of the features.

        theta : (..., n_params); location, scale : (..., n_variables).
        """
        return theta

    def start_on_base(self, deviations: Tensor, weight: Tensor) -> None:
        """Begin with cells that are so many standard deviations from the mean of their base, NaN where missing.

        deviations : (n, n_variables); weight : (n,). Called without gradients; by default, nothing is learned of it.
        """
        return

    def calibration(self, theta: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """Of a single variable: what to add to theta for codes to be as probable, on average, as they are frequent in x.

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


class Softmax(AbstractLikelihood):
    """What categories and bins share: a softmax over the `size` codes of each variable.

    Variables of like size share a rectangle of theta, padded to the widest of them: so one variable of thousands of codes
    does not widen the rest, few rectangles cost little more than one, and no gather stands between decoder and softmax (its
    backward would cost more than both).
    """

    def __init__(self, variables, relative=False):
        super().__init__(variables, relative)
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
        self.code_places = [part.tolist() for part in places]
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

    def log_p_value_of_mixture(self, x, theta, log_share):
        """Of the codes that are no likelier than that of x."""
        codes = self.codes(x)

        def summed(log_probs, columns):
            return log_of_no_likelier(codes[..., columns], mixed(log_probs, log_share))

        return self._by_bucket(theta, summed)

    def calibration(self, theta, x, weight):
        shares = torch.bincount(self.codes(x)[:, 0], weight, minlength=self.n_logits)
        shift = match_shares(self._logits(theta).log_softmax(-1), shares / shares.sum().clamp(min=1e-12))
        return F.pad(shift, (0, self.n_params - self.n_logits))

    def _draw_codes(self, theta: Tensor, rng: Generator) -> Tensor:
        def draw(log_probs, columns):
            return draw_index(log_probs.exp(), rng)

        return self._by_bucket(theta, draw).to(theta.dtype)


class WithTails(AbstractLikelihood):
    """Likelihoods with tail probabilities: the p-value is that of the nearer tail, doubled."""

    @abstractmethod
    def log_tails(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """log P(x' <= x) and log P(x' >= x), both (..., n_variables). x, theta : as in `log_prob`."""

    def log_p_value_of_mixture(self, x, theta, log_share):
        """Tails are mixed before they are doubled: in the tail of every component, a value can be central in the mixture."""
        return log_two_sided(*((log_share + tail).logsumexp(0) for tail in self.log_tails(x, theta)))


def mixed(log_probs: Tensor, log_share: Tensor) -> Tensor:
    """Log-probabilities of codes under a mixture. log_probs : (k, n, m, n_codes); log_share : (k, n, 1); (n, m, n_codes)."""
    return (log_share.unsqueeze(-1) + log_probs).logsumexp(0)


def log_of_no_likelier(codes: Tensor, log_probs: Tensor) -> Tensor:
    """Log-probability of all codes no likelier than one. codes : (...), int; log_probs : (..., n); returns (...)."""
    own = log_probs.gather(-1, codes.unsqueeze(-1))
    return log_probs.masked_fill(log_probs > own + 1e-6, -math.inf).logsumexp(-1).clamp(max=0.0)


def log_two_sided(below: Tensor, above: Tensor) -> Tensor:
    """Log-p-value of the nearer tail, of log P(x' <= x) and log P(x' >= x): min(1, 2 min(both)), at least uniform."""
    return (math.log(2) + torch.minimum(below, above)).clamp(max=0.0)


def match_shares(log_probs: Tensor, shares: Tensor) -> Tensor:
    """What to add to log-probabilities (m, n) for their means to be shares (n,), nearly: (n,). Rare codes move less."""
    shift, few = torch.zeros_like(shares), 10 / len(log_probs)
    for _ in range(3):
        means = (log_probs + shift).softmax(-1).mean(0)
        shift = shift + ((shares + few) / (means + few)).log().clamp(-1, 1)
    return shift


def log_mass_of_logistic(left: Tensor, right: Tensor) -> Tensor:
    """Of the standard logistic distribution between two points: log(sigmoid(right) - sigmoid(left))."""
    return F.logsigmoid(right) + F.logsigmoid(-left) + torch.log(-torch.expm1((left - right).clamp(max=-1e-7)))


def draw_index(probs: Tensor, rng: Generator) -> Tensor:
    """An index of the last axis for each of the others, as often as probs (..., n) say: int, (...)."""
    cumulated = probs.cumsum(-1)
    u = torch.rand(cumulated.shape[:-1], generator=rng, dtype=cumulated.dtype, device=cumulated.device)
    return (cumulated <= u.unsqueeze(-1) * cumulated[..., -1:]).sum(-1).clamp(max=cumulated.shape[-1] - 1)


def normal_like(like: Tensor, rng: Generator) -> Tensor:
    return torch.randn(like.shape, generator=rng, dtype=like.dtype, device=like.device)
