"""Logs of tail probabilities of distributions whose cumulative functions are scipy's, and distributions with more zeros."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import betainc, gammaln, pdtr, pdtrc
from torch import Tensor

UNDERFLOW = 1e-250  # below, a probability is nearer to the least number than to its own digits


def log_p_value_of_t(deviation: Tensor, df: Tensor) -> Tensor:
    """log P(|t| >= |deviation|) of Student's t distribution.

    The regularised incomplete beta function I_y(df / 2, 1 / 2) at y = df / (df + deviation²) (Abramowitz & Stegun, 1964,
    26.7.1); where that is too small for a number, the first terms of its series in y (26.5.4).

    deviation : (..., n_variables); df : (n_variables,); returns the former's shape.
    """

    def log_tail(deviation, df):
        a, y = 0.5 * df, df / (df + np.square(deviation))
        tail = betainc(a, 0.5, y)
        log_beta = gammaln(a) + gammaln(0.5) - gammaln(a + 0.5)
        series = a * np.log(y) + 0.5 * np.log1p(-np.minimum(y, 0.999)) - np.log(a) - log_beta
        series -= np.log1p(-np.minimum(y * (a + 0.5) / (a + 1), 0.999))
        return np.where(tail > UNDERFLOW, np.log(np.maximum(tail, UNDERFLOW)), series)

    return _by_numpy(log_tail, deviation, df)


def log_tails_of_poisson(x: Tensor, rate: Tensor, log_prob: Tensor) -> tuple[Tensor, Tensor]:
    """log P(x' <= x) and log P(x' >= x), all (..., n_variables); log_prob : of x, which neither is less than."""
    below = _by_numpy(lambda x, rate: _log(pdtr(x, rate)), x, rate)
    above = _by_numpy(lambda x, rate: np.where(x > 0, _log(pdtrc(np.maximum(x - 1, 0), rate)), 0.0), x, rate)
    return torch.maximum(below, log_prob), torch.maximum(above, log_prob)


def log_tails_of_negative_binomial(x: Tensor, rate: Tensor, shape: Tensor, log_prob: Tensor) -> tuple[Tensor, Tensor]:
    """As `log_tails_of_poisson`, of mean `rate` (..., n_variables) and variance rate + rate² / shape."""
    below = _by_numpy(lambda x, rate, r: _log(betainc(r, x + 1, r / (r + rate))), x, rate, shape)
    above = _by_numpy(
        lambda x, rate, r: np.where(x > 0, _log(betainc(np.maximum(x, 1), r, rate / (r + rate))), 0.0), x, rate, shape
    )
    return torch.maximum(below, log_prob), torch.maximum(above, log_prob)


def log_tails_of_binomial(x: Tensor, total: Tensor, probability: Tensor, log_prob: Tensor) -> tuple[Tensor, Tensor]:
    """As `log_tails_of_poisson`, of x things among `total` (..., 1), each with a probability."""
    below = _by_numpy(
        lambda x, n, p: np.where(x < n, _log(betainc(np.maximum(n - x, 1), x + 1, 1 - p)), 0.0), x, total, probability
    )
    above = _by_numpy(
        lambda x, n, p: np.where(x > 0, _log(betainc(np.maximum(x, 1), np.maximum(n - x, 0) + 1, p)), 0.0),
        *(x, total, probability),
    )
    return torch.maximum(below, log_prob), torch.maximum(above, log_prob)


def log_prob_with_more_zeros(x: Tensor, zero: Tensor, log_prob: Tensor) -> Tensor:
    """log P(x' = x) where a zero is drawn with probability sigmoid(zero), and otherwise from a distribution of counts.

    x, zero, log_prob : (..., n_variables); log_prob : of x under that distribution.
    """
    counted = log_prob + F.logsigmoid(-zero)
    return torch.where(x == 0, torch.logaddexp(F.logsigmoid(zero), counted), counted)


def with_more_zeros(x: Tensor, zero: Tensor, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
    """Log-tails of counts x which, with the log-odds `zero`, are 0 instead. All (..., n_variables)."""
    counted = F.logsigmoid(-zero)
    return torch.logaddexp(F.logsigmoid(zero), counted + below), torch.where(x > 0, counted + above, 0.0)


def _log(probability: np.ndarray) -> np.ndarray:
    """Of one that is too small for a number, minus infinity."""
    with np.errstate(divide="ignore"):
        return np.log(probability)


def _by_numpy(function: Callable[..., np.ndarray], *tensors: Tensor) -> Tensor:
    """A function of arrays, in float64, of tensors that broadcast to each other: in the type and place of the first."""
    out = function(*np.broadcast_arrays(*(tensor.detach().double().cpu().numpy() for tensor in tensors)))
    return torch.as_tensor(np.ascontiguousarray(out)).to(tensors[0]).clamp(max=0.0)
