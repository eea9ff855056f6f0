"""Likelihoods of rows of counts given their totals: p(x | total, theta).

Each is one small class and one row in `COUNT_LIKELIHOODS`. In all of them the expected shares of the columns are a softmax
of theta, so that latents describe what a row is made of, and not how much of it there is.
"""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from skvae.abstract_likelihood import WithTails
from skvae.counts import MOST, CountsSpec, Totals
from skvae.scalings import Variable
from skvae.sparse_tensors import SparseTensor
from skvae.tails import (
    log_prob_with_more_zeros,
    log_tails_of_binomial,
    log_tails_of_negative_binomial,
    log_tails_of_poisson,
    with_more_zeros,
)

TINY = torch.finfo(torch.float64).tiny
# Euclidean norm of the features of a row, as of a hundred columns of scale one. It does not grow with the number of columns,
# since steps of the optimiser would then overshoot (benchmarks/counts.py).
ROW_NORM = 10.0
# Expected count of a column, over all rows, at which its slope at the start is halved: slopes of rarer columns are mostly
# chance; unmeasured.
RARE = 10.0
# Log-shape of negative binomials at the start: closer to a Poisson distribution than most data are, so that latents explain
# the spread before the shape does.
LOG_SHAPE = 1.0


class RootShares(nn.Module):
    """Features of counts: square roots of a row's shares, whose variance hardly depends on their mean (Bartlett, 1936).

    Euclidean distances between them are Hellinger distances. A row of zeros remains zero; any other has norm ROW_NORM.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x : (..., n_variables); returns the same."""
        return (x * (ROW_NORM**2 / x.sum(-1, keepdim=True).clamp(min=1.0))).sqrt()


class AbstractCounts(WithTails):
    """What likelihoods of rows of counts share.

    Parameters
    ----------
    spec : CountsSpec
        The shares of the columns, and the distribution of the totals of rows.
    """

    continuous = True  # counts scatter around their means, so that the start may treat shares as continuous numbers
    log_shares: Tensor

    def __init__(self, spec: CountsSpec):
        super().__init__([Variable(spec.likelihood)] * spec.n_variables)
        self.spec, self.totals = spec, spec.totals
        self.register_buffer("log_shares", torch.tensor(spec.shares, dtype=torch.float64).log().float(), persistent=False)

    def log_means(self, x: Tensor, theta: Tensor) -> Tensor:
        """Logarithms of expected counts, given the totals of x. x : (n, n_variables); theta : (..., n, n_variables)."""
        return theta.log_softmax(-1) + _total(x).clamp(min=1e-30).log()

    def centre(self, theta):
        """Expected counts in a row whose total is the mean."""
        return self.totals.mean * theta[..., : self.n_variables].softmax(-1)

    def sample(self, theta, rng):
        total = draw_totals(self.totals, theta[:, 0], rng)
        return self.sample_given(total, theta, rng)

    def sample_given(self, total: Tensor, theta: Tensor, rng: Generator) -> SparseTensor:
        """Draw rows given their total, or where cells are independent its mean.

        total : (n, 1); theta : (n, n_params); returns (n, n_variables).
        """
        log_mean = theta[:, : self.n_variables].log_softmax(-1) + total.log()
        return SparseTensor.of_dense(self.sample_cells(log_mean, theta, rng))

    def sample_cells(self, log_mean: Tensor, theta: Tensor, rng: Generator) -> Tensor:
        """Draw cells that are independent. log_mean : (n, n_variables); theta : (n, n_params); returns (n, n_variables)."""
        raise NotImplementedError(f"{type(self).__name__} draws whole rows")

    def start(self, mean, loadings, noise):
        """Start at the shares of the columns, and at slopes from a linear model of the features.

        The slope of a column is that of its feature relative to the feature's mean. It is shrunken if the column is rare in
        the rows that fit saw, where the estimate is mostly noise.
        """
        relative = loadings / mean.clamp(min=1e-6)[:, None]
        expected = self.spec.n_rows * self.spec.totals.mean * self.log_shares.exp()
        return self.log_shares, relative * (expected / (expected + RARE))[:, None]


class Multinomial(AbstractCounts):
    r"""Counts of which the total N is given: p(x | N) = N! / prod x_j! prod p_j^x_j, with p = softmax(theta).

    With latents, the topic model of Miao et al. (2016, "Neural variational inference for text processing"), whose topics mix
    in log-odds, as in ProdLDA (Srivastava & Sutton, 2017). The term log N! is divided among the cells of a row in proportion
    to their counts, so that the log-probability of a cell says by how much it is more frequent than expected.
    """

    def log_prob(self, x, theta):
        total = _total(x).clamp(min=1.0)
        ways = x / total * torch.lgamma(total + 1) - log_factorial(x)
        return x * theta.log_softmax(-1) + ways

    def log_tails(self, x, theta):
        total, share = _total(x), theta.softmax(-1)
        others = torch.lgamma(total + 1) - torch.lgamma(x + 1) - torch.lgamma(total - x + 1)
        log_prob = others + x * theta.log_softmax(-1) + (total - x) * torch.log1p(-share.clamp(max=1 - 1e-7))
        return log_tails_of_binomial(x, total, share, log_prob)

    def sample_given(self, total, theta, rng):
        shares = theta.double().softmax(-1)
        # either takes about as long where there are as many words as cells, and neither needs memory for more than these
        draw = draw_words if total.sum() <= theta.numel() else divide
        return draw(total, shares, rng)


class Poisson(AbstractCounts):
    """Independent Poisson counts with means N p_j, where N is the total of the row and p = softmax(theta)."""

    def log_prob(self, x, theta):
        log_mean = self.log_means(x, theta)
        return x * log_mean - log_mean.exp() - log_factorial(x)

    def log_tails(self, x, theta):
        return log_tails_of_poisson(x, self.log_means(x, theta).exp(), self.log_prob(x, theta))

    def sample_cells(self, log_mean, theta, rng):
        return torch.poisson(log_mean.exp().clamp(max=MOST), generator=rng)


class NegativeBinomial(AbstractCounts):
    """Independent counts with means m = N p_j and variances m + m² / r_j, N the total of the row and p = softmax(theta).

    The shape r_j is learned for every column. This is the likelihood of scVI (Lopez et al., 2018, "Deep generative modeling
    for single-cell transcriptomics"), with the observed total in the place of the library size.
    """

    def __init__(self, spec):
        super().__init__(spec)
        self.log_shape = nn.Parameter(torch.full((self.n_variables,), LOG_SHAPE))

    def log_prob(self, x, theta):
        return self.log_prob_of(x, self.log_means(x, theta))

    def log_tails(self, x, theta):
        log_mean = self.log_means(x, theta)
        return log_tails_of_negative_binomial(x, log_mean.exp(), self.log_shape.exp(), self.log_prob_of(x, log_mean))

    def log_prob_of(self, x: Tensor, log_mean: Tensor) -> Tensor:
        """Log-probability of each cell. x : (n, n_variables); log_mean : (..., n, n_variables); returns the shape of it."""
        log_shape = self.log_shape
        log_all = torch.logaddexp(log_mean, log_shape)
        return self._log_ways(x) + log_shape.exp() * (log_shape - log_all) + x * (log_mean - log_all)

    def _log_ways(self, x: Tensor) -> Tensor:
        """log(gamma(x + r) / (gamma(r) x!)), computed only for counts above 0, as most are 0 and there the term vanishes.

        x : (n, n_variables); returns the same shape.
        """
        at = x.reshape(-1).nonzero()[:, 0]
        counts, shape = x.reshape(-1)[at], self.log_shape.exp().index_select(0, at % self.n_variables)
        ways = torch.lgamma(counts + shape) - torch.lgamma(shape) - torch.lgamma(counts + 1)
        return x.new_zeros(x.numel()).index_put((at,), ways).view(x.shape)

    def sample_cells(self, log_mean, theta, rng):
        shape = self.log_shape.exp().expand_as(log_mean).contiguous()
        gamma = torch._standard_gamma(shape, generator=rng)
        return torch.poisson((log_mean.exp() / shape * gamma).clamp(max=MOST), generator=rng)


class ZeroInflatedNegativeBinomial(AbstractCounts):
    """A zero with probability sigmoid(theta'_j), otherwise `NegativeBinomial` (Lambert, 1992; Lopez et al., 2018).

    The first half of theta is that of the negative binomial, the second half is theta'.
    """

    def __init__(self, spec):
        super().__init__(spec)
        self.counts = NegativeBinomial(spec)
        self.rectangles *= 2

    def log_prob(self, x, theta):
        rate, zero = theta.chunk(2, -1)
        return log_prob_with_more_zeros(x, zero, self.counts.log_prob(x, rate))

    def log_tails(self, x, theta):
        rate, zero = theta.chunk(2, -1)
        return with_more_zeros(x, zero, *self.counts.log_tails(x, rate))

    def centre(self, theta):
        return super().centre(theta) * (-theta[..., self.n_variables :]).sigmoid()

    def sample_cells(self, log_mean, theta, rng):
        kept = torch.bernoulli((-theta[:, self.n_variables :]).sigmoid(), generator=rng)
        return self.counts.sample_cells(log_mean, theta, rng) * kept

    def start(self, mean, loadings, noise):
        bias, slope = super().start(mean, loadings, noise)
        return torch.cat([bias, torch.full_like(bias, -3.0)]), torch.cat([slope, torch.zeros_like(slope)])


COUNT_LIKELIHOODS: dict[str, type[AbstractCounts]] = {
    "multinomial": Multinomial,
    "poisson": Poisson,
    "negative_binomial": NegativeBinomial,
    "zero_inflated_negative_binomial": ZeroInflatedNegativeBinomial,
}


def log_factorial(x: Tensor) -> Tensor:
    """log x! of counts, computed only for those above 1, as most are 0. x : (..., n_variables); returns the same shape."""
    flat = x.reshape(-1)
    at = (flat > 1).nonzero()[:, 0]
    return torch.zeros_like(flat).index_put((at,), torch.lgamma(flat[at] + 1)).view(x.shape)


def draw_words(total: Tensor, shares: Tensor, rng: Generator) -> SparseTensor:
    """Draw multinomials word by word, which takes as long as there are words. Arguments as for `divide`."""
    n, d = shares.shape
    rows = torch.arange(n, device=shares.device)
    cdf = shares.cumsum(-1)
    cdf = cdf / cdf[:, -1:] + rows[:, None]
    row = torch.repeat_interleave(rows, total[:, 0].long())
    u = torch.rand(len(row), generator=rng, dtype=torch.float64, device=shares.device)
    # rounding may lead into a neighbouring row
    places = torch.searchsorted(cdf.flatten(), u + row).clamp(min=row * d, max=row * d + d - 1)
    at, counts = places.unique(return_counts=True)
    return SparseTensor.of_places(at, counts.to(total.dtype), (n, d))


def divide(total: Tensor, shares: Tensor, rng: Generator) -> SparseTensor:
    """Draw multinomials by dividing totals among halves of the columns, those among quarters, and so on, by binomials.

    The time that it takes does not depend on the totals. total : (n, 1), whole numbers; shares : (n, d), float64; returns
    (n, d), of the dtype of total.
    """
    n, d = shares.shape
    sums = [F.pad(shares, (0, 2 ** (d - 1).bit_length() - d))]
    while sums[-1].shape[1] > 1:
        sums.append(sums[-1].view(n, -1, 2).sum(-1))
    counts = total.to(shares.dtype)
    for both in sums[-2::-1]:
        left, right = both.view(n, -1, 2).unbind(-1)
        on_left = torch.binomial(counts, left / (left + right).clamp(min=TINY), generator=rng)
        counts = torch.stack([on_left, counts - on_left], -1).view(n, -1)
    return SparseTensor.of_dense(counts[:, :d].to(total.dtype))


def draw_totals(totals: Totals, like: Tensor, rng: Generator) -> Tensor:
    """Draw totals of n rows: (n, 1), in float64 if some are too large for the dtype of `like`.

    like : (n,), a tensor of the wanted dtype and device.
    """
    u = torch.rand(like.shape, generator=rng, dtype=torch.float64, device=like.device)
    drawn = torch.as_tensor(totals.quantiles(u.cpu().numpy())).to(like.device)[:, None]
    return drawn.to(like.dtype) if totals.greatest <= 2**24 else drawn


def _total(x: Tensor) -> Tensor:
    """Totals of rows x (..., n_variables): (..., 1)."""
    return x.sum(-1, keepdim=True)
