"""Scores against the true log-density of rows whose distribution is known."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from skvae import VAETransformer


def normal_clusters(n, rng):
    """Two normal clusters in the plane."""
    centres, spreads = np.array([[-2.0, 0.0], [2.0, 1.0]]), np.array([0.5, 1.0])
    group = (rng.random(n) < 0.4).astype(int)
    X = centres[group] + spreads[group, None] * rng.normal(size=(n, 2))
    parts = [stats.multivariate_normal(m, s**2).logpdf(X) for m, s in zip(centres, spreads, strict=True)]
    return pd.DataFrame(X, columns=["x", "y"]), np.logaddexp(np.log(0.6) + parts[0], np.log(0.4) + parts[1])


def hidden_class(n, rng):
    """Three categories that are independent, given a class of three."""
    shares = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.05, 0.15, 0.8]])
    group = rng.integers(0, 3, n)
    codes = np.stack([(rng.random(n)[:, None] > shares[group].cumsum(1)).sum(1) for _ in range(3)], 1)
    frame = pd.DataFrame(np.array(["a", "b", "c"], dtype=object)[codes], columns=["u", "v", "w"])
    return frame, np.log(shares[:, codes].prod(2).mean(0))


def counts(distribution):
    """Makes a category, and a count that depends on it."""

    def make(n, rng):
        kind = rng.integers(0, 3, n)
        draws, log_probs = distribution(kind, rng)
        frame = pd.DataFrame({"kind": np.array(["few", "some", "many"], dtype=object)[kind], "count": draws})
        return frame, np.log(1 / 3) + log_probs

    return make


def poisson(kind, rng):
    rate = np.array([0.5, 3.0, 12.0])[kind]
    draws = rng.poisson(rate)
    return draws, stats.poisson(rate).logpmf(draws)


def zero_inflated(kind, rng):
    zero, (size, p) = np.array([0.7, 0.4, 0.1])[kind], (4.0, np.array([0.8, 0.5, 0.3])[kind])
    draws = np.where(rng.random(len(kind)) < zero, 0, rng.negative_binomial(size, p))
    return draws, np.log(zero * (draws == 0) + (1 - zero) * stats.nbinom(size, p).pmf(draws))


TRUTHS = {
    "normal clusters": (normal_clusters, "auto"),
    "hidden class": (hidden_class, "auto"),
    "poisson": (counts(poisson), {"count": "poisson"}),
    "poisson in bins": (counts(poisson), "auto"),
    "zero-inflated": (counts(zero_inflated), {"count": "zero_inflated_negative_binomial"}),
    "zero-inflated in bins": (counts(zero_inflated), "auto"),
}


@pytest.mark.parametrize("generator", ["autoregressive", "latent"])
@pytest.mark.parametrize("name", TRUTHS)
def test_the_density_is_near_the_true_density_and_not_above(name, generator):
    make, likelihood = TRUTHS[name]
    train, _ = make(4000, np.random.default_rng(0))
    test, truth = make(4000, np.random.default_rng(1))
    vae = VAETransformer(
        2, likelihood=likelihood, generator=generator, hidden_layer_sizes=64, max_iter=50, random_state=0
    ).fit(train)
    gap = vae.log_density(test) - truth
    error = gap.std() / np.sqrt(len(gap))

    assert gap.mean() < 3 * error
    assert gap.mean() > -0.16
