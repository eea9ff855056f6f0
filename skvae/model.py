"""The variational autoencoder over packed cells: encoder, decoder, prior, and the bounds that join them."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from skvae.decoders import AutoregressiveDecoder, FactorisedDecoder
from skvae.networks import MLP, CellEmbedding
from skvae.priors import PRIORS, Latents, Posterior, normal_kl

N_IMPORTANCE_SAMPLES = 64  # of `VAE.log_likelihood`; documented in the estimator
# what the linear start looks at: rows, cells (its cost is rows times squared columns), and categories of a column
N_ROWS_START, N_CELLS_START, MAX_ONE_HOT = 100_000, 5_000_000, 100
N_ROWS_SETTLED = 50_000  # looked at for what latents tell, and for the thresholds of missing cells
N_ROWS_IN_CACHE = 1024  # whose layers, of common widths, stay in the processor's cache
LEAST_SHRINKAGE = 0.5  # of the encoder's means, that is undone: beyond, a latent tells little but noise
N_ROWS_PRIOR = 50_000  # at most, that a prior is fitted to


class Rows(NamedTuple):
    """Packed rows as tensors: x (n, n_variables), observed the same, bool, or None for all, weight (n,) of mean one."""

    x: Tensor
    observed: Tensor | None
    weight: Tensor

    def take(self, rows) -> "Rows":
        """Some of them, by index or slice."""
        return Rows(self.x[rows], None if self.observed is None else self.observed[rows], self.weight[rows])

    def some(self, n: int) -> "Rows":
        """n of them at most, drawn at random, the same ones at every call: rows may be sorted, or come in turns."""
        if len(self.x) <= n:
            return self
        drawn = torch.randperm(len(self.x), generator=Generator().manual_seed(0), dtype=torch.int32)[:n]
        return self.take(drawn.sort().values.to(self.x.device))

    def batches(self, size: int) -> "Iterator[Rows]":
        """All of them, `size` at a time."""
        return (self.take(slice(at, at + size)) for at in range(0, len(self.x), size))


def normal_noise(n: int, latent_dim: int) -> Tensor:
    """A fixed block of standard normal noise, (n, latent_dim), float64: scrambled Sobol points through the inverse cdf.

    The same block for every model, so that scores can be compared; randomised quasi-Monte Carlo leaves the estimate
    unbiased and its error falls faster than with independent draws (Owen, 1997).
    """
    # of the first seeds, 0 has 64 points in the plane with which densities integrate to 1.02; and
    # a float32 engine rounds some points to exactly 0 or 1, where the inverse cdf is infinite
    points = torch.quasirandom.SobolEngine(latent_dim, scramble=True, seed=1).draw(n, dtype=torch.float64)
    return torch.special.ndtri(points.clamp(1e-6, 1 - 1e-6))


def probabilistic_pca(
    features: Tensor, seen: Tensor | None, weight: Tensor, latent_dim: int, least_noise: float = 1e-3
) -> tuple[Tensor, ...]:
    """The maximum-likelihood linear-Gaussian model of features (Tipping & Bishop, 1999), in closed form.

    features : (n, d); seen : the same, bool, or None; weight : (n,); least_noise : of the noise's variance.
    Returns mean (d,), loadings (d, latent_dim), the noise's standard deviation, and of the posterior of the latents its
    slope (d, latent_dim) and log-scale (latent_dim,).
    """
    if features.shape[1] > 1000:  # the spectrum of some rows is enough for a start, and keeps wide data from d³ operations
        features, weight, seen = features[:2000], weight[:2000], None if seen is None else seen[:2000]
    features, weight = features.double(), weight.double()
    if seen is None:
        mean = weight @ features / weight.sum()
        rows = features - mean
    else:
        mean = weight @ (features * seen) / (weight @ seen.double()).clamp(min=1e-12)
        rows = (features - mean) * seen
    rows *= (weight / weight.sum()).sqrt()[:, None]
    n, d = rows.shape
    values, vectors = torch.linalg.eigh(rows.T @ rows if d <= n else rows @ rows.T)
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    k = min(latent_dim, d - 1, n - 1)  # no more than leave a residual
    vectors = vectors[:, :k] if d <= n else F.normalize(rows.T @ vectors[:, :k], dim=0)
    noise = ((rows.square().sum() - values[:k].sum()) / max(d - k, 1)).clamp(min=max(least_noise, 1e-6 * values[0].item()))
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
        What each packed column is (`skvae.scalings.Variable`).
    latent_dim : int
    hidden_layer_sizes : tuple of int
        Widths of the encoder's hidden layers; the decoder takes them in reverse.
    activation : str
        A key of `skvae.networks.ACTIVATIONS`.
    prior : str
        A key of `skvae.priors.PRIORS`.
    beta : float
        Weight of the KL divergence in the objective.
    generator : torch.Generator
        Draws the initial weights.
    autoregressive : bool
        Whether a decoder of its own, cell by cell, stands for p(x): it then scores, samples and fills in.

    The autoregressive decoder does not see the latents. Fed with them, it scored worse on held-out rows (Adult: a bound of
    -28.4 nats against exactly -27.7), since what the latents tell is paid for twice where the prior does not match.
    """

    centre: Tensor
    order: Tensor
    shrinkage: Tensor
    thresholds: Tensor
    indicators: Tensor
    values: Tensor

    def __init__(
        self,
        variables: Sequence,
        latent_dim: int,
        hidden_layer_sizes: tuple[int, ...],
        activation: str,
        prior: str,
        beta: float,
        generator: Generator,
        autoregressive: bool = False,
    ):
        super().__init__()
        self.sizes, self.latent_dim = [v.size for v in variables if v.coded], latent_dim
        self.n_numbers = len(variables) - len(self.sizes)
        form = self.n_numbers, self.sizes
        first = CellEmbedding(*form, hidden_layer_sizes[0], generator) if hidden_layer_sizes else None
        path = CellEmbedding(*form, 2 * latent_dim, generator)
        self.encoder = MLP(path, first, hidden_layer_sizes, 2 * latent_dim, activation, generator)
        self.decoder = FactorisedDecoder(variables, latent_dim, hidden_layer_sizes[::-1], activation, generator)
        self.prior, self.beta = PRIORS[prior](latent_dim), beta
        self.cells = AutoregressiveDecoder(variables, generator) if autoregressive else None
        self.register_buffer("centre", torch.zeros(len(variables)))
        self.register_buffer("order", torch.arange(latent_dim))
        self.register_buffer("shrinkage", torch.ones(latent_dim))
        indicators = sorted({v.missing_at for v in variables} - {-1})
        self.register_buffer("indicators", torch.tensor(indicators, dtype=torch.long), persistent=False)
        self.register_buffer("thresholds", torch.full((len(indicators),), 0.5))
        values = [j for j in range(len(variables)) if j not in indicators] or range(len(variables))
        self.register_buffer("values", torch.tensor(values), persistent=False)

    @property
    def latent_part(self) -> nn.ModuleList:
        """What the bound trains: all but the autoregressive decoder."""
        return nn.ModuleList([self.encoder, self.decoder, self.prior])

    @torch.no_grad()
    def start(self, rows: Rows) -> None:
        """Set both linear paths to the probabilistic-PCA optimum of the features (Tipping & Bishop, 1999, eqs. 7 to 9).

        Its posterior has independent latents, as the encoder's has: before the first step the bound equals the linear
        model's log-likelihood, where cells are Gaussian.
        """
        width = self.n_numbers + sum(self.sizes)
        n_rows = min(N_ROWS_START, max(2000, N_CELLS_START // width))
        some = rows.some(n_rows)
        features, seen, places = self._features(some)
        # cells that are not continuous may be told exactly by their features: a noise fitted to that would have the encoder
        # believe it knows every latent without error
        least = 1e-3 if all(likelihood.continuous for likelihood in self.decoder.likelihoods) else 0.1
        mean, loadings, noise, recognition, log_scale = probabilistic_pca(
            features, seen, some.weight, self.latent_dim, least
        )
        self.centre[: self.n_numbers] = mean[: self.n_numbers]
        bias = torch.cat([-mean[self.n_numbers :] @ recognition[self.n_numbers :], log_scale])
        path = cast(CellEmbedding, self.encoder.path)
        path.set_(F.pad(recognition, (0, self.latent_dim)), places, bias)
        means = self._feature_means(rows)
        slopes = loadings.new_zeros(len(means), self.latent_dim).index_copy(0, places, loadings)
        self.decoder.start(means, slopes, noise)
        if self.cells is not None:
            self.cells.start(some.x, some.observed, some.weight, means)

    def _features(self, rows: Rows) -> tuple[Tensor, Tensor | None, Tensor]:
        """Numbers, and one-hot codes of categories but the widest: what the linear start is fitted to.

        Returns (n, k), which of it is observed, or None, and the places (k,) of these among all features.
        """
        x, observed, _ = rows
        numbers = self.decoder.features(x)[:, : self.n_numbers]
        narrow = [size <= MAX_ONE_HOT for size in self.sizes]
        codes = [
            F.one_hot(x[:, j].long(), size)
            for j, (size, keep) in enumerate(zip(self.sizes, narrow, strict=True), self.n_numbers)
            if keep
        ]
        widths = torch.tensor([1] * self.n_numbers + self.sizes, device=x.device)
        kept = torch.tensor([True] * self.n_numbers + narrow, device=x.device)
        seen = None if observed is None else observed[:, kept].repeat_interleave(widths[kept], 1)
        return torch.cat([numbers, *codes], 1), seen, kept.repeat_interleave(widths).nonzero()[:, 0]

    def _feature_means(self, rows: Rows) -> Tensor:
        """Means of numbers as the encoder sees them, and shares of every category: (n_features,)."""
        width = self.n_numbers + sum(self.sizes)
        sums, totals = (rows.x.new_zeros(n, dtype=torch.float64) for n in (width, rows.x.shape[1]))
        for batch in rows.batches(max(N_ROWS_IN_CACHE, width)):
            of_features, of_weights = self._weighted_sums(batch)
            sums += of_features
            totals += of_weights
        parts = [sums[: self.n_numbers] / totals[: self.n_numbers].clamp(min=1e-12)]
        for share in sums[self.n_numbers :].split(self.sizes):
            parts.append((share + 1e-6) / (share + 1e-6).sum())
        return torch.cat(parts).to(rows.x.dtype)

    def _weighted_sums(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Sums of features, (n_features,), and of the weights of observed cells, (n_variables,)."""
        x, observed, weight = rows
        numbers, codes = self.decoder.features(x)[:, : self.n_numbers], x[:, self.n_numbers :].long()
        if observed is None:
            totals = weight.sum().expand(x.shape[1])
            counted = weight[:, None].expand_as(codes)
        else:
            totals = weight @ observed.to(weight)
            numbers, counted = numbers * observed[:, : self.n_numbers], weight[:, None] * observed[:, self.n_numbers :]
        sums = [weight @ numbers]
        for j, size in enumerate(self.sizes):
            sums.append(torch.bincount(codes[:, j], counted[:, j], minlength=size))
        return torch.cat(sums), totals

    def encode(self, x: Tensor, observed: Tensor | None = None) -> Posterior:
        """x : (n, n_variables); observed : (n, n_variables), bool, or None for all. Returns a `Posterior`.

        That of a row without a cell is the standard normal, although it is told that its cells are missing.
        """
        return Posterior(*(part[..., self.order] for part in self._encode(x, observed)))

    def _encode(self, x: Tensor, observed: Tensor | None) -> Posterior:
        """As `encode`, with latents in the order in which the weights know them."""
        out = self.encoder(self.decoder.features(x) - self.centre, observed)
        if observed is not None:
            out = out * observed[:, self.values].any(1, keepdim=True)
        mean, log_scale = out.chunk(2, -1)
        return Posterior(mean, log_scale.clamp(-10, 5))

    def decode(self, z: Tensor) -> Tensor:
        """z : (..., latent_dim), ordered; returns the latents as the decoder's weights know them."""
        return z[..., self.order.argsort()]

    def log_cells(self, x: Tensor, observed: Tensor | None, z: Tensor) -> Tensor:
        """log p(cell | z) of each cell, zero where it is missing: (..., n, n_variables)."""
        return self._log_cells(x, observed, self.decode(z))

    def _log_cells(self, x: Tensor, observed: Tensor | None, z: Tensor) -> Tensor:
        """As `log_cells`, of latents as the decoder's weights know them."""
        cells = self.decoder.log_prob(x, z)
        return cells if observed is None else cells * observed

    def elbo(self, x: Tensor, observed: Tensor | None, noise: Tensor) -> tuple[Tensor, Tensor]:
        """The two terms of the evidence lower bound, in nats (Kingma & Welling, 2014, eq. 3).

        x : (n, n_variables); observed : the same, bool, or None; noise : (n or 1, latent_dim).
        Returns E log p(x | z) and KL(q || p), (n,) each, for the p that the bound is trained with.
        """
        posterior = self._encode(x, observed)
        z = posterior.at(noise)
        return self._log_cells(x, observed, z).sum(-1), self.prior.kl(posterior, z)

    def objective(self, rows: Rows, noise: Tensor) -> Tensor:
        """Mean over rows of weight times bound, its KL times beta (Higgins et al., 2017, eq. 4): a scalar.

        noise : (n or 1, latent_dim), or (n_samples, 1, latent_dim).
        """
        log_likelihood, kl = self.elbo(rows.x, rows.observed, noise)
        return ((log_likelihood - self.beta * kl) * rows.weight).mean()

    def negative_log_likelihood(self, rows: Rows, generator: Generator | None = None) -> Tensor:
        """Mean over rows of weight times that of the autoregressive decoder, in nats: a scalar.

        generator : of an order, noise and dropout, while training.
        """
        cells = cast(AutoregressiveDecoder, self.cells)
        order = None if generator is None else cells.order(generator)
        return -(cells.log_prob(rows.x, rows.observed, order, generator).sum(-1) * rows.weight).mean()

    def calibrate(self, rows: Rows, generator: Generator) -> None:
        """After training: draws of the autoregressive decoder get the marginals of the rows."""
        if self.cells is not None:
            self.cells.calibrate(*rows, generator)

    def fit_prior(self, rows: Rows, held_out: Rows | None, generator: Generator) -> None:
        """After training: p(z) comes closer to the posteriors of the rows; every tenth is held out, where none is."""
        if self.prior.fixed:
            return
        if held_out is None:
            last = torch.arange(len(rows.x), device=rows.x.device) % 10 == 0
            rows, held_out = rows.take(~last), rows.take(last)
        test = self._latents(held_out)
        self.prior.fit(self._latents(rows), test.draw(len(test.weight), generator), generator)

    @torch.no_grad()
    def _latents(self, rows: Rows) -> Latents:
        """Posteriors of some rows, in the order in which the weights know latents."""
        some = rows.some(N_ROWS_PRIOR)
        parts = [self._encode(batch.x, batch.observed) for batch in some.batches(N_ROWS_IN_CACHE)]
        posterior = Posterior(*(torch.cat(part) for part in zip(*parts, strict=True)))
        return Latents(posterior, some.weight / some.weight.mean())

    def settle(self, rows: Rows) -> Tensor:
        """Order latents by what they tell of rows, and see how far the encoder's means are shrunk.

        Returns the mean KL(q || N(0, 1)) of each latent, (latent_dim,), float64, in nats, descending.
        """
        rows = rows.some(N_ROWS_SETTLED)
        information, variance = self._means_over(rows)
        order = information.argsort(descending=True, stable=True)
        self.order.copy_(self.order[order])
        # means and variances of posteriors add up to the prior's variance of 1
        self.shrinkage.copy_((1 - variance[order]).clamp(min=LEAST_SHRINKAGE))
        if len(self.indicators):
            self._settle_thresholds(rows)
        return information[order]

    def _settle_thresholds(self, rows: Rows) -> None:
        """Find how probable it must be that a cell is missing for as many to be so in reconstructions as in rows."""
        centres = (self._centre(self.encode(batch.x, batch.observed).mean) for batch in rows.batches(512))
        probability = torch.cat([centre[:, self.indicators] for centre in centres])
        share = rows.weight / rows.weight.sum()
        probability, order = probability.sort(0, descending=True)
        n_missing = (share[order].cumsum(0) <= share @ rows.x[:, self.indicators] + 1e-6).sum(0)
        least = F.pad(probability, (0, 0, 0, 1), value=-1.0)
        self.thresholds.copy_(least.gather(0, n_missing[None])[0])

    def _means_over(self, rows: Rows) -> Tensor:
        """Mean KL(q || N(0, 1)), in nats, and variance of q, of each latent: (2, latent_dim), float64."""
        total = torch.zeros(2, self.latent_dim, dtype=torch.float64, device=rows.x.device)
        for batch in rows.batches(N_ROWS_IN_CACHE):
            mean, log_scale = self.encode(batch.x, batch.observed)
            figures = torch.stack([normal_kl(mean, log_scale), (2 * log_scale).exp()])
            total += batch.weight.double() @ figures.double()
        return total / rows.weight.double().sum()

    def log_likelihood(self, x: Tensor, observed: Tensor | None, noise: Tensor) -> Tensor:
        """Importance-weighted bound on log p(x) (Burda et al., 2016, eq. 8).

        Exact, where the decoder is autoregressive.

        x : (n, n_variables); observed : the same, bool, or None; noise : (n_samples, latent_dim). Returns (n,), nats.
        """
        if self.cells is not None:
            return self.cells.log_prob(x, observed).sum(-1)
        return self._importance(x, observed, noise)[1].logsumexp(0) - math.log(len(noise))

    def log_likelihood_of_cells(self, x: Tensor, observed: Tensor | None, noise: Tensor) -> Tensor:
        """Mean of log p(cell | z) over the posterior, as importance weights have it: (n, n_variables), in nats.

        Arguments as in `log_likelihood`. Summed over a row, it exceeds log p(x) by KL(p(z | x) || p(z)).
        """
        cells, log_weights = self._importance(x, observed, noise)
        return (log_weights.softmax(0).unsqueeze(-1) * cells).sum(0)

    def _importance(self, x: Tensor, observed: Tensor | None, noise: Tensor) -> tuple[Tensor, Tensor]:
        """log p(cell | z), (n_samples, n, n_variables), and log p(x, z) / q(z | x), (n_samples, n), at draws of q."""
        proposal = self._proposal(x, observed)
        z = proposal.at(noise[:, None])  # (n_samples, n, latent_dim)
        cells = self.log_cells(x, observed, z)
        return cells, cells.sum(-1) + self.log_prior(z) - proposal.log_prob(z)

    def _proposal(self, x: Tensor, observed: Tensor | None) -> Posterior:
        """The encoder's posterior, as it would be with beta = 1 under the fitted prior. Arguments as in `encode`."""
        centre, scale = (part[self.order] for part in (self.prior.centre, self.prior.scale))
        return self.encode(x, observed).at_beta_one(self.beta, centre, scale)

    def log_prior(self, z: Tensor) -> Tensor:
        """log p(z). z : (..., latent_dim), ordered; returns (...), in nats."""
        return self.prior.log_prob(self.decode(z))

    def sample(self, n: int, generator: Generator) -> Tensor:
        """N rows of the model: (n, n_variables)."""
        if self.cells is None:
            return self.decoder.sample(self.prior.sample(n, generator), generator)
        x = next(self.parameters()).new_zeros(n, len(self.centre))
        return self.cells.sample(x, torch.zeros_like(x, dtype=torch.bool), generator)

    def complete(self, x: Tensor, known: Tensor, generator: Generator) -> Tensor:
        """Rows whose unknown cells are drawn given the known ones.

        x : (n, n_variables), unknown cells anything in the support; known : the same, bool. Returns (n, n_variables).
        Without an autoregressive decoder, latents are drawn from the posterior by sampling-importance-resampling (Rubin,
        1988), among candidates of encoder and prior: exact as their number grows.
        """
        if self.cells is not None:
            return self.cells.sample(x, known, generator)
        shape = N_IMPORTANCE_SAMPLES // 2, len(x), self.latent_dim
        noise = torch.randn(shape, generator=generator, dtype=x.dtype, device=x.device)
        # half of the candidates are the prior's: an encoder that sees a cell or two is on strange ground
        drawn = self.prior.sample(math.prod(shape[:2]), generator).view(shape)[..., self.order]
        proposal = self._proposal(x, known)
        z = torch.cat([proposal.at(noise), drawn])
        prior = self.log_prior(z)
        log_weights = self.log_cells(x, known, z).sum(-1) + prior - torch.logaddexp(proposal.log_prob(z), prior)
        chosen = torch.multinomial(log_weights.softmax(0).T, 1, generator=generator)[:, 0]
        drawn = self.decoder.sample(self.decode(z[chosen, torch.arange(len(x), device=x.device)]), generator)
        return torch.where(known, x, drawn)

    def complete_with_values(self, x: Tensor, known: Tensor, generator: Generator) -> Tensor:
        """As `complete`, but cells that are known to be missing are drawn too, as if they were not."""
        # given the latents, a cell does not depend on being missing: there, drawing is the same
        return self.complete(x, known, generator) if self.cells is None else self.cells.impute(x, known, generator)

    def fill(self, x: Tensor, observed: Tensor | None) -> Tensor:
        """The centres of missing cells given the observed ones. Arguments as in `encode`; returns (n, n_variables)."""
        if self.cells is not None and observed is not None:
            return self.cells.centre(x, observed)
        return self.decoder.centre(self.decode(self.encode(x, observed).mean))

    def reconstruct(self, mean: Tensor) -> Tensor:
        """The centre of rows whose posterior has this mean. mean : (n, latent_dim); returns (n, n_variables).

        The mean of a posterior is shrunk towards the prior's. Probabilistic PCA reconstructs rows as PCA does, if that is
        undone (Tipping & Bishop, 1999). The cells that are most probably missing are so, as many as in the data.
        """
        cells = self._centre(mean)
        cells[:, self.indicators] = (cells[:, self.indicators] > self.thresholds).to(cells)
        return cells

    def _centre(self, mean: Tensor) -> Tensor:
        """As `reconstruct`, but with the probability of being missing. mean : (n, latent_dim)."""
        return self.decoder.centre(self.decode(mean / self.shrinkage))
