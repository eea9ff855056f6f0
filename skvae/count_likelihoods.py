"""What rows of counts may be, given the totals of rows and parameters theta: p(x | total, theta).

One small class a likelihood and one row in `COUNT_LIKELIHOODS`. In all of them the shares of a row's things are a softmax of
theta, so that latents tell what a row is made of, and not how much of it there is.
"""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from skvae.abstract_likelihood import AbstractLikelihood, log_two_sided
from skvae.counts import CountsSpec, Totals
from skvae.scalings import Variable
from skvae.sparse_tensors import SparseTensor
from skvae.tails import log_tails_of_binomial, log_tails_of_negative_binomial, log_tails_of_poisson, with_more_zeros

N_WORDS_AT_ONCE = 2**22  # of all rows together, that are drawn at a time; a bound of memory
# Euclidean norm of what networks see of a row, that of a hundred columns of scale one, however many things there are: where
# it grows with their number, a step of the optimiser overshoots (benchmarks/counts.py)
ROW_NORM = 10.0
# rows of a thing that make its slope at the start half as steep as they say: those of rare things are chance; unmeasured
RARE = 10.0
LOG_SHAPE = 1.0  # of negative binomials at the start: nearer to a Poisson than most data, so that latents come first


class RootShares(nn.Module):
    """What networks see of counts: square roots of a row's shares, whose noise is alike for all things (Bartlett, 1936).

    Euclidean distances between them are Hellinger's. A row of zeros remains one, any other has the norm ROW_NORM.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x : (..., n_variables); returns the same."""
        return (x * (ROW_NORM**2 / x.sum(-1, keepdim=True).clamp(min=1.0))).sqrt()


class AbstractCounts(AbstractLikelihood):
    """What likelihoods of rows of counts share.

    Parameters
    ----------
    spec : CountsSpec
    """

    continuous = True  # counts scatter around their means, so that no share of a row is told exactly
    log_shares: Tensor

    def __init__(self, spec: CountsSpec):
        super().__init__([Variable(spec.likelihood)] * spec.n_variables)
        self.spec, self.totals = spec, spec.totals
        self.register_buffer("log_shares", torch.tensor(spec.shares, dtype=torch.float64).log().float(), persistent=False)

    def log_means(self, x: Tensor, theta: Tensor) -> Tensor:
        """Logs of the means of counts in a row of the total of x. x : (n, n_variables); theta : (..., n, n_variables)."""
        return theta.log_softmax(-1) + _total(x).clamp(min=1e-30).log()

    def log_p_value(self, x, theta):
        """Of the nearer tail of a count, given the row's total."""
        return log_two_sided(*self.log_tails(x, theta))

    def log_tails(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """log P(x' <= x) and log P(x' >= x), (..., n, n_variables). x : (n, n_variables); theta : (..., n, n_params)."""
        raise NotImplementedError(f"{type(self).__name__} has no tails")

    def centre(self, theta):
        """Expected counts in a row of the mean total."""
        return self.totals.mean * theta[..., : self.n_variables].softmax(-1)

    def sample(self, theta, rng):
        total = draw_totals(self.totals, theta[:, 0], rng)
        return self.sample_given(total, theta, rng)

    def sample_given(self, total: Tensor, theta: Tensor, rng: Generator) -> SparseTensor:
        """Rows of totals (n, 1), or means of totals. theta : (n, n_params); returns (n, n_variables)."""
        log_mean = theta[:, : self.n_variables].log_softmax(-1) + total.log()
        return SparseTensor.of_dense(self.sample_cells(log_mean, theta, rng))

    def sample_cells(self, log_mean: Tensor, theta: Tensor, rng: Generator) -> Tensor:
        """One draw a cell. log_mean : (n, n_variables); theta : (n, n_params); returns (n, n_variables)."""
        raise NotImplementedError(f"{type(self).__name__} draws whole rows")

    def start(self, mean, loadings, noise):
        """A share changes by as much as the square root does, relative to its mean: by more of common things, of which the
        root is nearly linear, and by less of those that are rare in the rows that were seen.
        """
        relative = loadings / mean.clamp(min=1e-6)[:, None]
        expected = self.spec.n_rows * self.spec.totals.mean * self.log_shares.exp()
        return self.log_shares, relative * (expected / (expected + RARE))[:, None]


class Multinomial(AbstractCounts):
    r"""Counts of which the total N is given: p(x | N) = N! / prod x_j! prod p_j^x_j, with p = softmax(theta).

    With latents, the topic model of Miao et al. (2016, "Neural variational inference for text processing"), whose topics mix
    in log-odds, as in ProdLDA (Srivastava & Sutton, 2017). A row's log N! is shared among its cells as their counts are, so
    that a cell's log-probability says by how much it is more frequent than expected.
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
        n, d = theta.shape
        cdf = theta.double().softmax(-1).cumsum(-1)
        cdf = cdf / cdf[:, -1:] + torch.arange(n, device=theta.device)[:, None]
        row = torch.repeat_interleave(torch.arange(n, device=theta.device), total[:, 0].long())
        places = []
        for some in row.split(N_WORDS_AT_ONCE):
            u = torch.rand(len(some), generator=rng, dtype=torch.float64, device=theta.device)
            found = torch.searchsorted(cdf.flatten(), u + some)
            places.append(torch.minimum(torch.maximum(found, some * d), some * d + d - 1))  # rounding leaves the row
        at, counts = torch.cat(places).unique(return_counts=True)
        return SparseTensor.of_places(at, counts.to(theta.dtype), (n, d))


class Poisson(AbstractCounts):
    """Counts that are Poisson, of mean N p_j in a row of total N, with p = softmax(theta)."""

    def log_prob(self, x, theta):
        log_mean = self.log_means(x, theta)
        return x * log_mean - log_mean.exp() - log_factorial(x)

    def log_tails(self, x, theta):
        return log_tails_of_poisson(x, self.log_means(x, theta).exp(), self.log_prob(x, theta))

    def sample_cells(self, log_mean, theta, rng):
        return torch.poisson(log_mean.exp(), generator=rng)


class NegativeBinomial(AbstractCounts):
    """Counts of mean m = N p_j in a row of total N, with p = softmax(theta), and of variance m + m² / r_j.

    The shape r_j is learned for every thing. As in scVI (Lopez et al., 2018, "Deep generative modeling for single-cell
    transcriptomics"), with the observed total as the size of a cell's library.
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
        """x : (n, n_variables); log_mean : (..., n, n_variables); returns the latter's shape."""
        log_shape = self.log_shape
        log_all = torch.logaddexp(log_mean, log_shape)
        return self._log_ways(x) + log_shape.exp() * (log_shape - log_all) + x * (log_mean - log_all)

    def _log_ways(self, x: Tensor) -> Tensor:
        """Log of gamma(x + r) / gamma(r) / x!, which is 0 of a zero: most cells. x : (n, n_variables); returns the same."""
        at = x.reshape(-1).nonzero()[:, 0]
        counts, shape = x.reshape(-1)[at], self.log_shape.exp().index_select(0, at % self.n_variables)
        ways = torch.lgamma(counts + shape) - torch.lgamma(shape) - torch.lgamma(counts + 1)
        return x.new_zeros(x.numel()).index_put((at,), ways).view(x.shape)

    def sample_cells(self, log_mean, theta, rng):
        shape = self.log_shape.exp().expand_as(log_mean).contiguous()
        gamma = torch._standard_gamma(shape, generator=rng)
        return torch.poisson(log_mean.exp() / shape * gamma, generator=rng)


class ZeroInflatedNegativeBinomial(AbstractCounts):
    """A negative binomial as above, or a zero with probability sigmoid(theta'_j) (Lambert, 1992; Lopez et al., 2018)."""

    def __init__(self, spec):
        super().__init__(spec)
        self.counts = NegativeBinomial(spec)
        self.rectangles *= 2

    def log_prob(self, x, theta):
        rate, zero = theta.chunk(2, -1)
        counted = self.counts.log_prob(x, rate) + F.logsigmoid(-zero)
        return torch.where(x == 0, torch.logaddexp(F.logsigmoid(zero), counted), counted)

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
    """log x! of counts, most of them 0. x : (..., n_variables); returns the same."""
    flat = x.reshape(-1)
    at = (flat > 1).nonzero()[:, 0]
    return torch.zeros_like(flat).index_put((at,), torch.lgamma(flat[at] + 1)).view(x.shape)


def draw_totals(totals: Totals, like: Tensor, rng: Generator) -> Tensor:
    """Totals of n rows, (n, 1). like : (n,), whose type and device they take."""
    u = torch.rand(like.shape, generator=rng, dtype=torch.float64, device=like.device)
    return torch.as_tensor(totals.quantiles(u.cpu().numpy())).to(like)[:, None]


def _total(x: Tensor) -> Tensor:
    """x : (..., n_variables); returns (..., 1)."""
    return x.sum(-1, keepdim=True)
