"""The autoencoder: p(x, z) = p(z) p(x | z) with an encoder q(z | x), its bounds, and where it starts."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from skvae.contexts import own_context
from skvae.decoders import FactorisedDecoder
from skvae.laplace import NormalPosterior, laplace
from skvae.networks import MLP
from skvae.priors import PRIORS, Latents, Posterior, normal_kl
from skvae.rows import Part, Rows
from skvae.sizes import N_NUMBERS_AT_ONCE, N_ROWS_IN_CACHE
from skvae.views import AbstractView, PartEmbedding

N_IMPORTANCE_SAMPLES = 64  # of `Autoencoder.log_likelihood` (benchmarks/density.py); documented in the estimator
# of p-values of cells: latents for each group of variables that are hidden, and how many groups. On four tables the cell
# that is wrong was the worst of its row as often with four groups as with one for each column
N_SAMPLES_P_VALUE, N_GROUPS_HIDDEN = 128, 8
# above these, the posterior of a row that lacks cells is the encoder's: Newton's steps would take long; unmeasured
MANY_VARIABLES, MANY_LATENTS = 192, 16
# the linear start looks at so many rows, and cells: its cost is rows times squared columns; unmeasured
N_ROWS_START, N_CELLS_START = 100_000, 5_000_000
# from so many features on, the start looks at so many rows: their spectrum is enough, and the cost stays below d³
MANY_FEATURES, N_ROWS_SPECTRUM = 1000, 2000  # unmeasured
N_CELLS_SPECTRUM = 2**24  # of these rows at most: a bound of memory, which sparse rows of many things would exceed
N_ROWS_FINALISED = 50_000  # looked at for the information of latents, and for the thresholds of missing cells; unmeasured
N_ROWS_THRESHOLDS = 512  # rows at a time for these thresholds; a bound of memory
LEAST_SHRINKAGE = 0.5  # of the encoder's means, that is undone: beyond, a latent tells little but noise; unmeasured
N_ROWS_PRIOR = 50_000  # at most, that a prior is fitted to; unmeasured


def normal_noise(n: int, latent_dim: int) -> Tensor:
    """A fixed block of standard normal noise, (n, latent_dim), float64: scrambled Sobol points through the inverse cdf.

    The same block for every model, so that scores can be compared; randomised quasi-Monte Carlo leaves the estimate
    unbiased and its error falls faster than with independent draws (Owen, 1997).
    """
    # of the first seeds, 0 has 64 points in the plane with which densities integrate to 1.02; and
    # a float32 engine rounds some points to exactly 0 or 1, where the inverse cdf is infinite
    with own_context():  # the engine scrambles in torch's default type
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


class Encoder(nn.Module):
    """q(z | x): the parts of rows embedded and added up, and hidden layers over the sum.

    Parameters
    ----------
    views : sequence of AbstractView
    latent_dim : int
    hidden_layer_sizes : tuple of int
    activation : str
        A key of `skvae.networks.ACTIVATIONS`.
    rng : torch.Generator
        Draws the weights.

    Attributes
    ----------
    order : Tensor (latent_dim,)
        Permutation from the weights' order of latents to descending information.
    """

    order: Tensor

    def __init__(
        self,
        views: Sequence[AbstractView],
        latent_dim: int,
        hidden_layer_sizes: Sequence[int],
        activation: str,
        rng: Generator,
    ):
        super().__init__()
        width = hidden_layer_sizes[0] if hidden_layer_sizes else None
        self._embeddings = nn.ModuleList([view.embedding(latent_dim, width, activation, rng) for view in views])
        self.hidden = MLP(hidden_layer_sizes, 2 * latent_dim, activation, rng)
        self.register_buffer("order", torch.arange(latent_dim))

    @property
    def embeddings(self) -> list[PartEmbedding]:
        """What is made of each part."""
        return list(cast(Iterable[PartEmbedding], self._embeddings))

    def centre_at(self, means: Sequence[Tensor]) -> None:
        """Take the means of numbers off before the linear maps. means : (n_features,) of every part."""
        for embedding, mean in zip(self.embeddings, means, strict=True):
            embedding.centre_at(mean)

    def forward(self, *tensors: Tensor | None) -> tuple[Tensor, Tensor]:
        """Means and log-scales of posteriors, (n, latent_dim) each, by what latents tell.

        tensors : of each part x (n, n_variables), floats, and observed, bool, or None for all.
        """
        mean, log_scale = self.unordered(*tensors)
        return mean[..., self.order], log_scale[..., self.order]

    def unordered(self, *tensors: Tensor | None) -> tuple[Tensor, Tensor]:
        """As `forward`, with latents in the order in which the weights know them."""
        parts = [(x, observed) for x, observed in zip(tensors[::2], tensors[1::2], strict=True) if x is not None]
        straights, firsts = zip(*(one(*part) for one, part in zip(self.embeddings, parts, strict=True)), strict=True)
        first = None if firsts[0] is None else sum(firsts[1:], firsts[0])
        out = self.hidden(sum(straights[1:], straights[0]), first).to(parts[0][0].dtype)  # layers may train in bfloat16
        masks = [observed for _, observed in parts if observed is not None]
        if len(masks) == len(parts):
            # of a row without a cell the posterior is the prior, although the row tells that its cells are missing
            has_cells = [one.has_cells(observed) for one, observed in zip(self.embeddings, masks, strict=True)]
            out = out * torch.stack(has_cells).any(0)
        mean, log_scale = out.chunk(2, -1)
        return mean, log_scale.clamp(-10, 5)


class Autoencoder(nn.Module):
    """p(x, z) = p(z) p(x | z) with an encoder q(z | x) (Kingma & Welling, 2014).

    Parts of rows are floats here (`AbstractView.read`).

    Parameters
    ----------
    views : sequence of AbstractView
    latent_dim : int
    hidden_layer_sizes : tuple of int
        Widths of the encoder's hidden layers; the decoders take them in reverse.
    activation : str
        A key of `skvae.networks.ACTIVATIONS`.
    prior : str
        A key of `skvae.priors.PRIORS`.
    beta : float
        Weight of the KL divergence in the objective.
    rng : torch.Generator
        Draws the initial weights.
    decoders : sequence of nn.Module or None
        Of the parts, in the place of the factorised ones of the views.
    """

    shrinkage: Tensor
    thresholds: Tensor
    indicators: Tensor
    indicated: Tensor

    def __init__(
        self,
        views: Sequence[AbstractView],
        latent_dim: int,
        hidden_layer_sizes: tuple[int, ...],
        activation: str,
        prior: str,
        beta: float,
        rng: Generator,
        decoders: Sequence[nn.Module] | None = None,
    ):
        super().__init__()
        self.latent_dim, self.beta = latent_dim, beta
        self.encoder = Encoder(views, latent_dim, hidden_layer_sizes, activation, rng)
        if decoders is None:
            decoders = [view.decoder(latent_dim, hidden_layer_sizes[::-1], activation, rng) for view in views]
        self._decoders = nn.ModuleList(decoders)
        self.prior = PRIORS[prior](latent_dim)
        self.register_buffer("shrinkage", torch.ones(latent_dim))
        # of indicators, among the variables of all parts: where they are, and from which probability on a cell is missing
        variables, at = [v for view in views for v in view.variables], 0
        indicators: dict[int, int] = {}  # and one of the variables that each tells of
        for view in views:
            indicators |= {at + v.indicator: at + j for j, v in enumerate(view.variables) if v.indicator >= 0}
            at += len(view.variables)
        self.widths = [len(view.variables) for view in views]
        # numbers of a row in the widest layer
        self.widest = max(*hidden_layer_sizes, 2 * sum(max(1, v.size) for v in variables), 1)
        pairs = torch.tensor(sorted(indicators.items()), dtype=torch.long).view(-1, 2)
        self.register_buffer("indicators", pairs[:, 0].contiguous(), persistent=False)
        self.register_buffer("indicated", pairs[:, 1].contiguous(), persistent=False)
        self.register_buffer("thresholds", torch.full((len(indicators),), 0.5))

    @property
    def decoders(self) -> list[FactorisedDecoder]:
        """One for each part."""
        return list(cast(Iterable[FactorisedDecoder], self._decoders))

    # --- the start ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def start(self, rows: Rows, read: Any) -> None:
        """Set both linear paths to the probabilistic-PCA optimum of the features (Tipping & Bishop, 1999, eqs. 7 to 9).

        Its posterior has independent latents, as the encoder's has: before the first step the bound equals the linear
        model's log-likelihood, where cells are Gaussian.

        read : rows as kept in memory to rows of floats.
        """
        embeddings = self.encoder.embeddings
        n_features = sum(one.n_features for one in embeddings)
        few = min(N_ROWS_SPECTRUM, max(2 * self.latent_dim, N_CELLS_SPECTRUM // n_features))
        n_rows = few if n_features > MANY_FEATURES else max(2000, N_CELLS_START // n_features)
        some = read(rows.some(min(N_ROWS_START, n_rows)))
        parts = [one.linear_features(part) for one, part in zip(embeddings, some.parts, strict=True)]
        observed = _side_by_side_masks([(part.values, part.observed) for part in parts])
        # cells that are not continuous may be told exactly by their features: a noise fitted to that would have the encoder
        # believe it knows every latent without error
        continuous = all(likelihood.continuous for decoder in self.decoders for likelihood in decoder.blocks)
        mean, loadings, noise, slope, log_scale = probabilistic_pca(
            torch.cat([part.values for part in parts], 1),
            observed,
            some.weight,
            self.latent_dim,
            1e-3 if continuous else 0.1,
        )
        means = self.feature_means(rows, read)
        widths = [part.values.shape[1] for part in parts]
        split = zip(*(tensor.split(widths) for tensor in (mean, loadings, slope)), strict=True)
        for at, (part_mean, part_loadings, part_slope) in enumerate(split):
            places = parts[at].places
            embeddings[at].start(part_mean, part_slope, places, log_scale if at == 0 else torch.zeros_like(log_scale))
            slopes = loadings.new_zeros(len(means[at]), self.latent_dim).index_copy(0, places, part_loadings)
            self.decoders[at].start(means[at], slopes, noise)

    def feature_means(self, rows: Rows, read: Any) -> list[Tensor]:
        """Of every part's features, (n_features,) each. read : rows as kept in memory to rows of floats."""
        return [self._feature_means(rows, read, at) for at in range(len(self.encoder.embeddings))]

    def _feature_means(self, rows: Rows, read: Any, at: int) -> Tensor:
        """Means of the features of a part, (n_features,)."""
        embedding = self.encoder.embeddings[at]
        n_features = embedding.n_features
        most = max(1, N_NUMBERS_AT_ONCE // n_features)  # rows that were sparse are dense here
        batches = map(read, rows.batches(min(max(N_ROWS_IN_CACHE, n_features), most)))
        return embedding.feature_means((batch.parts[at], batch.weight) for batch in batches)

    # --- the bounds --------------------------------------------------------------------------------------------------

    def encode(self, parts: Sequence[Part]) -> Posterior:
        """The posteriors of n rows, latents by what they tell."""
        return Posterior(*self.encoder(*_tensors(parts)))

    def _encode(self, parts: Sequence[Part]) -> Posterior:
        """As `encode`, with latents in the order in which the weights know them."""
        return Posterior(*self.encoder.unordered(*_tensors(parts)))

    def unorder(self, z: Tensor) -> Tensor:
        """z : (..., latent_dim), by what latents tell; returns them as the decoders' weights know them."""
        return z[..., self.encoder.order.argsort()]

    def log_cells(self, parts: Sequence[Part], z: Tensor) -> list[Tensor]:
        """log p(cell | z) of each cell, zero where it is missing: (..., n, n_variables) of each part.

        z : (..., n, latent_dim), as the decoders' weights know it.
        """
        return [decoder.log_prob(part, z) for decoder, part in zip(self.decoders, parts, strict=True)]

    def elbo(self, parts: Sequence[Part], noise: Tensor, seen: Sequence[Part] | None = None) -> tuple[Tensor, Tensor]:
        """The two terms of the evidence lower bound, in nats (Kingma & Welling, 2014, eq. 3).

        noise : (n or 1, latent_dim), or (n_samples, 1, latent_dim); seen : what the encoder sees of the parts, None for all.
        Returns E log p(x | z) and KL(q || p), (n,) or (n_samples, n) each, for the p that the bound is trained with.
        """
        posterior = self._encode(parts if seen is None else seen)
        z = posterior.at(noise)
        return _total(self.log_cells(parts, z)), self.prior.kl(posterior, z)

    def objective(self, rows: Rows, noise: Tensor, seen: Sequence[Part] | None = None) -> Tensor:
        """Mean over rows of weight times bound, its KL times beta (Higgins et al., 2017, eq. 4): a scalar.

        noise, seen : as in `elbo`.
        """
        log_likelihood, kl = self.elbo(rows.parts, noise, seen)
        return ((log_likelihood - self.beta * kl) * rows.weight).mean()

    def log_likelihood(self, parts: Sequence[Part], noise: Tensor) -> Tensor:
        """Importance-weighted bound on log p(x) (Burda et al., 2016, eq. 8): (n,), in nats.

        noise : (n_samples, latent_dim).
        """
        return self._importance(parts, noise)[1].logsumexp(0) - math.log(len(noise))

    def log_likelihood_of_cells(self, parts: Sequence[Part], noise: Tensor) -> list[Tensor]:
        """Mean of log p(cell | z) over the posterior, as importance weights have it: (n, n_variables) of each part, in nats.

        noise : as in `log_likelihood`. Summed over a row, it exceeds log p(x) by KL(p(z | x) || p(z)).
        """
        cells, log_weights = self._importance(parts, noise)
        share = log_weights.softmax(0).unsqueeze(-1)
        return [(share * of_part).sum(0) for of_part in cells]

    def log_p_value_of_cells(self, parts: Sequence[Part], noise: Tensor) -> list[Tensor]:
        """Log-p-values of cells under their distribution given the row's other cells, in nats.

        Variables are hidden in turn, a few at a time, from the encoder and from the importance weights: an odd cell that its
        own latents are inferred from vouches for itself.

        noise : as in `log_likelihood`; returns (n, n_variables) of each part.
        """
        out = [torch.zeros_like(part.x) for part in parts]
        half, rng = len(noise) // 2, Generator(noise.device).manual_seed(0)
        drawn = self.sample_latents(half, rng)[:, None].expand(-1, len(out[0]), -1)
        for group in self._groups():
            seen = [_without(part, hidden) for part, hidden in zip(parts, group, strict=True)]
            z, log_weights = self._from_posterior_and_prior(seen, noise[:half, None], drawn)
            z = self.unorder(z)
            log_share = (log_weights + _total(self.log_cells(seen, z))).log_softmax(0).unsqueeze(-1)
            for at, hidden in enumerate(group):
                log_p = self.decoders[at].log_p_value(parts[at], z, log_share)
                out[at] = torch.where(hidden, log_p, out[at])
        return out

    def _groups(self) -> Iterator[tuple[Tensor, ...]]:
        """Masks (n_variables,) of each part, of groups of variables that share none; a cell and its indicator are in one."""
        column = torch.arange(sum(self.widths), device=self.shrinkage.device)
        column[self.indicators] = self.indicated
        _, rank = column.unique(return_inverse=True)
        n_groups = min(N_GROUPS_HIDDEN, int(rank.max()) + 1)
        return ((rank % n_groups == group).split(self.widths) for group in range(n_groups))

    def _importance(self, parts: Sequence[Part], noise: Tensor) -> tuple[list[Tensor], Tensor]:
        """log p(cell | z), (n_samples, n, n_variables) of each part, and log p(x, z) / q(z | x), (n_samples, n).

        At draws of q, that noise (n_samples, latent_dim) stands for.
        """
        proposal = self.proposal(parts)
        z = proposal.at(noise[:, None])
        cells = self.log_cells(parts, self.unorder(z))
        return cells, _total(cells) + self.log_prior(z) - proposal.log_prob(z)

    def proposal(self, parts: Sequence[Part]) -> Posterior:
        """The encoder's posteriors, as they would be with beta = 1 under the fitted prior."""
        centre, scale = (part[self.encoder.order] for part in (self.prior.centre, self.prior.scale))
        return self.encode(parts).at_beta_one(self.beta, centre, scale)

    def posterior(self, parts: Sequence[Part]) -> Posterior | NormalPosterior:
        """As `proposal`, but closer to the posterior for rows that lack cells, which were rare in training.

        Where two columns nearly copy each other, and one is hidden, latents are strongly correlated given the other one:
        independent latents, or a mean that is a little off, miss the posterior.
        """
        proposal = self.proposal(parts)
        if sum(self.widths) > MANY_VARIABLES or self.latent_dim > MANY_LATENTS:
            return proposal
        return laplace(lambda z: _total(self.log_cells(parts, self.unorder(z))) + self.log_prior(z), proposal.mean)

    def candidates(self, parts: Sequence[Part], n: int, rng: Generator) -> tuple[Tensor, Tensor]:
        """n latents (n even) for each of m rows, (n, m, latent_dim), and log(p(z) / q(z)) up to a constant, (n, m).

        Half of them are from `posterior` and half from the prior.
        """
        x = parts[0].x
        shape = n // 2, len(x), self.latent_dim
        noise = torch.randn(shape, generator=rng, dtype=x.dtype, device=x.device)
        drawn = self.sample_latents(math.prod(shape[:2]), rng).view(shape)
        return self._from_posterior_and_prior(parts, noise, drawn)

    def _from_posterior_and_prior(self, parts: Sequence[Part], noise: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """As `candidates`: the latents that noise stands for in `posterior`, and those drawn from the prior.

        The prior's are a defence (Hesterberg, 1995) where the posterior has more than one mode.

        noise : (n / 2, m or 1, latent_dim); drawn : (n / 2, m, latent_dim).
        """
        proposal = self.posterior(parts)
        z = torch.cat([proposal.at(noise), drawn])
        prior = self.log_prior(z)
        return z, prior - torch.logaddexp(proposal.log_prob(z), prior)

    def log_prior(self, z: Tensor) -> Tensor:
        """log p(z). z : (..., latent_dim), by what latents tell; returns (...), in nats."""
        return self.prior.log_prob(self.unorder(z))

    # --- what latents stand for --------------------------------------------------------------------------------------

    def sample_latents(self, n: int, rng: Generator) -> Tensor:
        """Draws of p(z), latents by what they tell: (n, latent_dim)."""
        return self.prior.sample(n, rng)[:, self.encoder.order]

    def sample(self, z: Tensor, rng: Generator) -> list[Tensor]:
        """One row for each z (n, latent_dim), by what latents tell: (n, n_variables) of each part."""
        z = self.unorder(z)
        return [decoder.sample(z, rng) for decoder in self.decoders]

    def centre(self, z: Tensor) -> list[Tensor]:
        """The centres of rows, with the probability of being missing. z, and what is returned : as in `sample`."""
        z = self.unorder(z)
        return [decoder.centre(z) for decoder in self.decoders]

    def reconstruct(self, mean: Tensor) -> list[Tensor]:
        """The centre of rows whose posterior has this mean. mean : (n, latent_dim); returns as `sample`.

        The mean of a posterior is shrunk towards the prior's. Probabilistic PCA reconstructs rows as PCA does, if that is
        undone (Tipping & Bishop, 1999). The cells that are most probably missing are so, as many as in the data.
        """
        cells = torch.cat(self.centre(mean / self.shrinkage), -1)
        cells[:, self.indicators] = (cells[:, self.indicators] > self.thresholds).to(cells)
        return list(cells.split(self.widths, -1))

    # --- after training ----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def finalise(self, rows: Rows, read: Any) -> Tensor:
        """Order latents by what they tell of rows, and see how far the encoder's means are shrunk.

        read : as in `start`. Returns the mean KL(q || N(0, 1)) of each latent, (latent_dim,), float64, in nats, descending.
        """
        rows = rows.some(N_ROWS_FINALISED)
        information, variance = self._means_over(rows, read)
        order = information.argsort(descending=True, stable=True)
        self.encoder.order.copy_(self.encoder.order[order])
        # means and variances of posteriors add up to the prior's variance of 1
        self.shrinkage.copy_((1 - variance[order]).clamp(min=LEAST_SHRINKAGE))
        if len(self.indicators):
            self._find_thresholds(rows, read)
        return information[order]

    def _find_thresholds(self, rows: Rows, read: Any) -> None:
        """Find how probable it must be that a cell is missing for as many to be so in reconstructions as in rows."""
        probabilities, missing = [], []
        for batch in map(read, rows.batches(N_ROWS_THRESHOLDS)):
            centre = torch.cat(self.centre(self.encode(batch.parts).mean / self.shrinkage), -1)
            probabilities.append(centre[:, self.indicators])
            missing.append(torch.cat([part.x for part in batch.parts], -1)[:, self.indicators])
        share = rows.weight / rows.weight.sum()
        probability, order = torch.cat(probabilities).sort(0, descending=True)
        n_missing = (share[order].cumsum(0) <= share @ torch.cat(missing) + 1e-6).sum(0)
        # midway between the least probable that is and the most probable that is not, so that rounding decides nothing
        between = F.pad(probability, (0, 0, 1, 0), value=1.0) + F.pad(probability, (0, 0, 0, 1), value=0.0)
        self.thresholds.copy_(0.5 * between.gather(0, n_missing[None])[0])

    @torch.no_grad()
    def information(self, rows: Rows, read: Any) -> Tensor:
        """Mean KL(q || N(0, 1)) of each latent over rows, (latent_dim,), float64, in nats. read : as in `start`."""
        return self._means_over(rows, read)[0]

    def _means_over(self, rows: Rows, read: Any) -> Tensor:
        """Mean KL(q || N(0, 1)), in nats, and variance of q, of each latent: (2, latent_dim), float64."""
        total = torch.zeros(2, self.latent_dim, dtype=torch.float64, device=rows.weight.device)
        for batch in map(read, rows.batches(N_ROWS_IN_CACHE)):
            mean, log_scale = self.encode(batch.parts)
            figures = torch.stack([normal_kl(mean, log_scale), (2 * log_scale).exp()])
            total += batch.weight.double() @ figures.double()
        return total / rows.weight.double().sum()

    def fit_prior(self, rows: Rows, held_out: Rows | None, read: Any, rng: Generator) -> None:
        """p(z) comes closer to the posteriors of the rows; every tenth is held out, where none is."""
        if self.prior.fixed:
            return
        if held_out is None:
            last = torch.arange(len(rows), device=rows.weight.device) % 10 == 0
            rows, held_out = rows.take(~last), rows.take(last)
        test = self._latents(held_out, read)
        self.prior.fit(self._latents(rows, read), test.draw(len(test.weight), rng), rng)

    @torch.no_grad()
    def _latents(self, rows: Rows, read: Any) -> Latents:
        """Posteriors of some rows, in the order in which the weights know latents."""
        some = rows.some(N_ROWS_PRIOR)
        posteriors = [self._encode(batch.parts) for batch in map(read, some.batches(N_ROWS_IN_CACHE))]
        posterior = Posterior(*(torch.cat(part) for part in zip(*posteriors, strict=True)))
        return Latents(posterior, some.weight / some.weight.mean())


def _tensors(parts: Sequence[Part]) -> Iterator[Tensor | None]:
    """What the encoder takes of parts."""
    return (tensor for part in parts for tensor in (part.x, part.observed))


def _without(part: Part, hidden: Tensor) -> Part:
    """A part of which some variables, (n_variables,), bool, are not seen."""
    observed = (~hidden).expand(part.x.shape) if part.observed is None else part.observed & ~hidden
    return Part(part.x, observed, None if part.unseen is None else part.unseen & ~hidden)


def _total(cells: Sequence[Tensor]) -> Tensor:
    """Sums over the cells of a row, (..., n), of cells (..., n, n_variables) of each part."""
    first, *rest = (of_part.sum(-1) for of_part in cells)
    return sum(rest, first)


def _side_by_side_masks(parts: Sequence[tuple[Tensor, Tensor | None]]) -> Tensor | None:
    """Masks of values side by side, None where none of them has one."""
    if all(mask is None for _, mask in parts):
        return None
    return torch.cat([torch.ones_like(values, dtype=torch.bool) if mask is None else mask for values, mask in parts], 1)
