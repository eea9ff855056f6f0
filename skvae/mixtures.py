"""Normal distributions of numbers whose conditionals are known in closed form: where a chain of cells begins."""

import math
import warnings

import numpy as np
import torch
from torch import Tensor, nn

from skvae.sizes import N_COVARIANCES_AT_ONCE

MAX_COMPONENTS = 5  # unmeasured
# rows at most, as of more a perceptron finds the clusters by itself; and rows of a component for each column; unmeasured
MAX_ROWS_CLUSTERED, MIN_ROWS_CLUSTERED = 2000, 3
LEAST_VARIANCE = 1e-2  # of a component, beside the variance of all rows; unmeasured
N_FOLDS, SHRINKAGES = 5, (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)  # rows of independent cells, tried
MAX_ROWS_SHRUNKEN = 5000  # rows at most for which that is tried: of more, a row or two of others change nothing; unmeasured
MOST_RIDGE = 5.0  # rows of independent cells, beside one of the data, from which numbers are taken to be independent


class NormalMixture(nn.Module):
    """A mixture of normal distributions of numbers, and its conditionals in any order.

    Small tables in clusters get several components, as many as BIC finds worth having (`sklearn.mixture.GaussianMixture`);
    others one.

    Parameters
    ----------
    k : int
        How many numbers.

    Attributes
    ----------
    log_weight : (m,), mean : (m, k), covariance : (m, k, k)
    """

    log_weight: Tensor
    mean: Tensor
    covariance: Tensor

    def __init__(self, k: int):
        super().__init__()
        self.register_buffer("log_weight", torch.zeros(1))
        self.register_buffer("mean", torch.zeros(1, k))
        self.register_buffer("covariance", torch.eye(k)[None])

    @torch.no_grad()
    def fit(self, u: Tensor, observed: Tensor | None, weight: Tensor, continuous: Tensor, explained: Tensor) -> None:
        """Moments of rows, by component.

        u : (n, k); observed : the same, bool, or None; weight : (n,); continuous : (k,), bool, the numbers in which clusters
        may show: those of few values are clusters by themselves; explained : (k,), variances that were taken out of u by
        regressions, and that one row more might bring back.
        """
        seen = torch.ones_like(u, dtype=torch.bool) if observed is None else observed
        shares = _responsibilities(u[:, continuous], seen[:, continuous])
        parts = [_moments(u, seen, weight * share, explained) for share in shares.T]
        mean, covariance = (torch.stack(part).to(u.dtype) for part in zip(*parts, strict=True))
        total = weight @ shares
        self.log_weight, self.mean, self.covariance = (total / total.sum()).log().to(u.dtype), mean, covariance

    def _load_from_state_dict(self, state_dict, prefix, *arguments):
        # how many components there are is known after `fit` only
        for name in ("log_weight", "mean", "covariance"):
            setattr(self, name, torch.empty_like(state_dict[prefix + name], device=self.mean.device, dtype=self.mean.dtype))
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    def in_order(self, u: Tensor, observed: Tensor | None, order: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of each number given the observed ones before it.

        u : (n, k); observed : the same, bool, or None; order : (k,), of numbers. Returns log-weights, means and standard
        deviations of the components, (m, n, k) each, or what broadcasts to it.
        """
        covariance, back = self.covariance[:, order][:, :, order], order.argsort()
        u = (u - self.mean[:, None])[..., order]
        observed = None if observed is None else observed[:, order]
        mean, scale = self._given_previous(u, observed, covariance)
        log_weight = self.log_weight[:, None, None]
        if len(self.log_weight) > 1:
            told = _log_normal(u, mean, scale)
            told = told if observed is None else told * observed
            log_weight = (log_weight + told.cumsum(2) - told).log_softmax(0)[..., back]
        return log_weight, mean[..., back] + self.mean[:, None], scale[..., back]

    @staticmethod
    def _given_previous(u: Tensor, observed: Tensor | None, covariance: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each number given the observed ones before it, two of (m, n, k).

        u : (m, n, k), of mean zero; observed : (n, k), bool, or None; covariance : (m, k, k).
        """
        if observed is None:
            return _innovate(u, torch.linalg.cholesky(covariance))
        patterns, of_row = _patterns(observed)
        # an unobserved number is cut loose from the others, and tells nothing
        both = (patterns[:, :, None] & patterns[:, None, :]) | torch.eye(u.shape[2], dtype=torch.bool, device=u.device)
        lower = torch.linalg.cholesky(covariance[:, None] * both)
        parts = []
        for rows in torch.arange(u.shape[1], device=u.device).split(max(1, N_COVARIANCES_AT_ONCE // lower[:, 0].numel())):
            mean, scale = _innovate((u[:, rows] * observed[rows])[:, :, None], lower[:, of_row[rows]])
            parts.append((mean[:, :, 0], scale[:, :, 0]))
        mean, scale = (torch.cat(part, 1) for part in zip(*parts, strict=True))
        return mean, scale

    def given(self, u: Tensor, known: Tensor, j: int) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of number j in each component, given the known ones of each row.

        u, and known, bool : (n, k). Returns two of (m, n).
        """
        use = known.any(0).nonzero()[:, 0]  # few, early in a chain
        if not len(use):
            shape = len(self.mean), len(u)
            return self.mean[:, j, None].expand(shape), self.covariance[:, j, j, None].sqrt().expand(shape)
        u, known = (u - self.mean[:, None])[..., use], known[:, use]
        patterns, of_row = _patterns(known)
        across = self.covariance[:, None, use, j] * patterns
        slopes = torch.linalg.solve(self._among(patterns, use), across)  # (m, patterns, k)
        variance = self.covariance[:, None, j, j] - (across * slopes).sum(-1)
        mean = (u * known * slopes[:, of_row]).sum(-1) + self.mean[:, j, None]
        return mean, variance.clamp(min=1e-12).sqrt()[:, of_row]

    def _among(self, patterns: Tensor, use: Tensor) -> Tensor:
        """Covariances among known numbers, else the identity: (m, patterns, k, k).

        patterns : (patterns, k), bool, which are known; use : (k,), which numbers they are.
        """
        both = patterns[:, :, None] & patterns[:, None, :]
        eye = torch.eye(len(use), dtype=self.mean.dtype, device=self.mean.device)
        return torch.where(both, self.covariance[:, None, use[:, None], use], eye)

    def weigh(self, u: Tensor, known: Tensor) -> Tensor:
        """Log-weights of the components given the known numbers of each row. u, and known, bool : (n, k); returns (m, n)."""
        log_weight = self.log_weight[:, None].expand(-1, len(u))
        if len(self.log_weight) == 1:
            return log_weight
        patterns, of_row = _patterns(known)
        inner = self._among(patterns, torch.arange(u.shape[1], device=u.device))
        lower = torch.linalg.cholesky(inner)[:, of_row]  # (m, n, k, k)
        rest = ((u - self.mean[:, None]) * known)[..., None]
        white = torch.linalg.solve_triangular(lower, rest, upper=False)[..., 0]
        told = -0.5 * white.square() - lower.diagonal(dim1=2, dim2=3).log() - 0.5 * math.log(2 * math.pi)
        return (log_weight + (told * known).sum(-1)).log_softmax(0)


def _patterns(known: Tensor) -> tuple[Tensor, Tensor]:
    """The unlike rows of known (n, k), and which of them each row is, (n,): most often all are alike, which is seen soon."""
    if bool((known == known[:1]).all()):
        return known[:1], torch.zeros(len(known), dtype=torch.long, device=known.device)
    return known.unique(dim=0, return_inverse=True)


def _innovate(u: Tensor, lower: Tensor) -> tuple[Tensor, Tensor]:
    """Means and standard deviations of numbers u (..., n, k) given those before them; lower : (..., k, k), Cholesky's."""
    scale = lower.diagonal(dim1=-2, dim2=-1).unsqueeze(-2)
    return u - scale * torch.linalg.solve_triangular(lower, u.mT, upper=False).mT, scale


def one_normal(log_weight: Tensor, mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of mixtures. All (m, ...); returns two of (...)."""
    share = log_weight.exp()
    centre = (share * mean).sum(0)
    return centre, (share * (scale.square() + (mean - centre).square())).sum(0).sqrt()


def log_odds(normals: tuple[Tensor, Tensor, Tensor], x: Tensor) -> Tensor:
    """Log-weights (m, n) after x (n,) was seen. normals : log-weights, means and standard deviations, (m, n) each."""
    log_weight, mean, scale = normals
    return (log_weight + _log_normal(x, mean, scale)).log_softmax(0)


def _log_normal(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    return -0.5 * ((x - mean) / scale).square() - scale.log() - 0.5 * math.log(2 * math.pi)


def _moments(u: Tensor, seen: Tensor, weight: Tensor, explained: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (k,) and covariance (k, k), as if one row more, of independent cells, were seen; or several, if that is likelier.

    u, and seen, bool : (n, k); weight : (n,); explained : (k,).
    """
    counted = seen.double() * weight[:, None].double()
    mean = (counted * u).sum(0) / counted.sum(0).clamp(min=1e-12)
    rows = (u - mean) * counted.sqrt()
    pairs = (counted.sqrt().T @ counted.sqrt()).clamp(min=1.0)
    covariance = rows.T @ rows / pairs
    variance = covariance.diagonal().clamp(min=1e-6) + explained
    # correlations of pairs seen in different rows may contradict each other: towards independence until they do not
    one_row = (weight.square().sum() / weight.sum().square().clamp(min=1e-12)).clamp(1e-9, 1.0).item()
    ridge = one_row * _best_shrinkage(rows, explained, one_row)
    while ridge < MOST_RIDGE:
        mixed = covariance / (1 + ridge) + torch.diag(variance) * ridge / (1 + ridge)
        if torch.linalg.cholesky_ex(mixed - 0.1 * ridge * torch.diag(variance)).info == 0:
            return mean, mixed
        ridge *= 2
    return mean, torch.diag(variance)


def _best_shrinkage(rows: Tensor, explained: Tensor, one_row: float) -> float:
    """How many rows of independent cells, beside those of the data, a covariance is to be shrunken by, for held-out rows to
    be likeliest, of five folds.

    rows : (n, k), of mean zero, zero where missing, times the square roots of their weight; explained : (k,); one_row : the
    share of a row.
    """
    n, k = rows.shape
    if k < 2 or n > MAX_ROWS_SHRUNKEN:
        return 1.0
    fold = torch.randperm(n, generator=torch.Generator().manual_seed(0)).to(rows.device) % N_FOLDS
    told = torch.zeros(len(SHRINKAGES), dtype=rows.dtype)
    for one in range(N_FOLDS):
        held_out, others = rows[fold == one], rows[fold != one]
        if not len(held_out) or not len(others):
            return 1.0
        covariance = others.T @ others / len(others)
        variance = covariance.diagonal().clamp(min=1e-6) + explained
        ridges = one_row * torch.tensor(SHRINKAGES, dtype=rows.dtype, device=rows.device)[:, None, None]
        mixed = (covariance + ridges * variance.diag()) / (1 + ridges)
        lower, _ = torch.linalg.cholesky_ex(mixed)
        white = torch.linalg.solve_triangular(lower, held_out.T.expand(len(lower), -1, -1), upper=False)
        told -= (0.5 * white.square().sum((1, 2)) + len(held_out) * lower.diagonal(dim1=1, dim2=2).log().sum(1)).cpu()
    return SHRINKAGES[int(told.nan_to_num(nan=-math.inf).argmax())]


def _responsibilities(u: Tensor, seen: Tensor) -> Tensor:
    """The share of each component in each row, (n, m), by the mixture of least BIC. u, and seen, bool : (n, k)."""
    n, k = u.shape
    most = min(MAX_COMPONENTS, n // (MIN_ROWS_CLUSTERED * max(k, 1)))
    if n > MAX_ROWS_CLUSTERED or most < 2 or k == 0 or not seen.all():
        return u.new_ones(n, 1)
    from sklearn.mixture import GaussianMixture  # not above: it takes longer to import than all of skvae

    rows = u.cpu().double().numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what did not converge is not chosen, or as good
        candidates = [
            GaussianMixture(m, reg_covar=LEAST_VARIANCE, random_state=np.random.RandomState(0)).fit(rows)
            for m in range(1, most + 1)
        ]
    best = min(candidates, key=lambda mixture: mixture.bic(rows))
    return torch.as_tensor(best.predict_proba(rows), dtype=u.dtype, device=u.device)
