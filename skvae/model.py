"""The variational autoencoder over packed cells: encoder, decoder, prior, and the bounds that join them."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from skvae.decoders import FactorisedDecoder
from skvae.networks import MLP, CellEmbedding
from skvae.priors import PRIORS

N_IMPORTANCE_SAMPLES = 64  # of `VAE.log_likelihood`; documented in the estimator


class Posterior(NamedTuple):
    """q(z | x) = N(mean, exp(log_scale)²), independent latents; both (n, latent_dim)."""

    mean: torch.Tensor
    log_scale: torch.Tensor

    def at(self, noise):
        """The latents that standard normal noise (..., n or 1, latent_dim) stands for."""
        return self.mean + self.log_scale.exp() * noise

    def log_prob(self, noise):
        """Density of `at(noise)`, in nats: (..., n)."""
        return (-0.5 * (noise.square() + math.log(2 * math.pi)) - self.log_scale).sum(-1)


def normal_noise(n, latent_dim):
    """A fixed block of standard normal noise, (n, latent_dim), float64: scrambled Sobol points through the inverse cdf.

    The same block for every model, so that scores can be compared; randomised quasi-Monte Carlo leaves the estimate
    unbiased and its error falls faster than with independent draws (Owen, 1997).
    """
    # a float32 engine rounds some points to exactly 0 or 1, where the inverse cdf is infinite
    points = torch.quasirandom.SobolEngine(latent_dim, scramble=True, seed=0).draw(n, dtype=torch.float64)
    return torch.special.ndtri(points.clamp(1e-6, 1 - 1e-6))


def probabilistic_pca(features, seen, weight, latent_dim, least_noise=1e-6):
    """The maximum-likelihood linear-Gaussian model of features (Tipping & Bishop, 1999), in closed form.

    features : (n, d); seen : the same, bool, or None; weight : (n,); least_noise : of the noise's variance.
    Returns mean (d,), loadings (d, latent_dim), the noise's standard deviation, and of the posterior of the latents its
    slope (d, latent_dim) and log-scale (latent_dim,).
    """
    # the spectrum of a sample is enough for a start, and keeps wide data from a d³ decomposition
    n_rows = 100_000 if features.shape[1] <= 1000 else 2000
    features, weight = features[:n_rows].double(), weight[:n_rows].double()
    seen = torch.ones_like(features) if seen is None else seen[:n_rows].double()
    mean = weight @ (features * seen) / (weight @ seen).clamp(min=1e-12)
    rows = (features - mean) * seen * (weight / weight.sum()).sqrt()[:, None]
    n, d = rows.shape
    values, vectors = torch.linalg.eigh(rows.T @ rows if d <= n else rows @ rows.T)
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    k = max(1, min(latent_dim, d - 1, n - 1))
    vectors = vectors[:, :k] if d <= n else F.normalize(rows.T @ vectors[:, :k], dim=0)
    noise = ((rows.square().sum() - values[:k].sum()) / max(d - k, 1)).clamp(min=max(least_noise, 1e-6 * values[0]))
    variance = noise.repeat(latent_dim)
    variance[:k] = values[:k].clamp(min=noise)
    loadings = F.pad(vectors, (0, latent_dim - k)) * (variance - noise).sqrt()
    parts = mean, loadings, noise.sqrt(), loadings / variance, 0.5 * (noise / variance).log()
    return tuple(part.float() for part in parts)


class VAE(nn.Module):
    """p(x, z) = p(z) p(x | z) with an encoder q(z | x) (Kingma & Welling, 2014).

    Parameters
    ----------
    variables : sequence of Variable
        What each packed column is (`skvae.schema.Variable`).
    latent_dim : int
    hidden_layer_sizes : tuple of int
        Widths of the encoder's hidden layers; the decoder takes them in reverse.
    activation : str
        A key of `skvae.networks.ACTIVATIONS`.
    prior : str
        A key of `skvae.priors.PRIORS`.
    generator : torch.Generator
        Draws the initial weights.
    """

    centre: torch.Tensor
    order: torch.Tensor

    def __init__(self, variables, latent_dim, hidden_layer_sizes, activation, prior, generator):
        super().__init__()
        sizes = [v.size for v in variables]
        self.sizes, self.latent_dim = sizes, latent_dim
        first = CellEmbedding(sizes, hidden_layer_sizes[0], generator) if hidden_layer_sizes else None
        path = CellEmbedding(sizes, 2 * latent_dim, generator)
        self.encoder = MLP(path, first, hidden_layer_sizes, 2 * latent_dim, activation, generator)
        self.decoder = FactorisedDecoder(variables, latent_dim, hidden_layer_sizes[::-1], activation, generator)
        self.prior = PRIORS[prior](latent_dim)
        self.register_buffer("centre", torch.zeros(len(sizes)))
        self.register_buffer("order", torch.arange(latent_dim))

    @torch.no_grad()
    def start(self, x, observed, weight):
        """Set both linear paths to the probabilistic-PCA optimum of the features (Tipping & Bishop, 1999, eqs. 7 to 9).

        Its posterior has independent latents, as the encoder's has: before the first step the bound equals the linear
        model's log-likelihood, where cells are Gaussian.

        x : (n, n_variables); observed : the same, bool, or None; weight : (n,).
        """
        features, seen = self._features(x, observed)
        # one-hot codes add up to one: a noise fitted to that would have the encoder believe it knows every latent exactly
        least = 0.1 if any(self.sizes) else 1e-6
        mean, loadings, noise, recognition, log_scale = probabilistic_pca(features, seen, weight, self.latent_dim, least)
        self.decoder.start(mean, loadings, noise)
        path, n_numbers = self.encoder.path, self.encoder.path.n_numbers
        self.centre[:n_numbers] = mean[:n_numbers]
        path.numbers.zero_()
        path.numbers[: self.latent_dim] = recognition[:n_numbers].T
        path.bias[: self.latent_dim] = -mean[n_numbers:] @ recognition[n_numbers:]
        path.bias[self.latent_dim :] = log_scale
        if path.categories is not None:
            path.categories.weight.zero_()
            path.categories.weight[:-1, : self.latent_dim] = recognition[n_numbers:]

    def _features(self, x, observed):
        """Numbers, and one-hot codes of categories: (n, n_features), and which of them are observed, or None."""
        n_numbers = self.encoder.path.n_numbers
        codes = [F.one_hot(x[:, j].long(), size) for j, size in enumerate(self.sizes) if size > 0]
        features = torch.cat([x[:, :n_numbers], *codes], 1)
        if observed is None:
            return features, None
        widths = torch.tensor([max(1, size) for size in self.sizes], device=x.device)
        return features, observed.repeat_interleave(widths, 1)

    def encode(self, x, observed=None):
        """X : (n, n_variables); observed : (n, n_variables), bool, or None for all. Returns a `Posterior`."""
        out = self.encoder(x - self.centre, observed)
        mean, log_scale = out.chunk(2, -1)
        return Posterior(mean[..., self.order], log_scale[..., self.order].clamp(-10, 5))

    def decode(self, z):
        """Z : (..., latent_dim), ordered; returns the latents as the decoder's weights know them."""
        return z[..., self.order.argsort()]

    def log_cells(self, x, observed, z):
        """Log p(cell | z) of each cell, zero where it is missing: (..., n, n_variables)."""
        cells = self.decoder.log_prob(x, self.decode(z))
        return cells if observed is None else cells * observed

    def elbo(self, x, observed, noise):
        """The two terms of the evidence lower bound, in nats (Kingma & Welling, 2014, eq. 3).

        x : (n, n_variables); observed : the same, bool, or None; noise : (n or 1, latent_dim).
        Returns E log p(x | z), (n,), and KL(q || p) of each latent, (n, latent_dim).
        """
        posterior = self.encode(x, observed)
        z = posterior.at(noise)
        return self.log_cells(x, observed, z).sum(-1), self.prior.kl(posterior.mean, posterior.log_scale, z)

    def log_likelihood(self, x, observed, noise):
        """Importance-weighted bound on log p(x) (Burda et al., 2016, eq. 8).

        x : (n, n_variables); observed : the same, bool, or None; noise : (n_samples, latent_dim). Returns (n,), nats.
        """
        posterior = self.encode(x, observed)
        noise = noise[:, None]
        z = posterior.at(noise)  # (n_samples, n, latent_dim)
        weights = self.log_cells(x, observed, z).sum(-1) + self.prior.log_prob(z) - posterior.log_prob(noise)
        return weights.logsumexp(0) - math.log(len(noise))

    def sample(self, n, generator):
        """N rows from the prior and the likelihood: (n, n_variables)."""
        return self.decoder.sample(self.decode(self.prior.sample(n, generator)), generator)

    def reconstruct(self, z):
        """The centre of p(x | z). z : (n, latent_dim); returns (n, n_variables)."""
        return self.decoder.mode(self.decode(z))
