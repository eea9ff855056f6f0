"""Where latents come from: p(z). One small class a prior and one row in `PRIORS`."""

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from skvae.training import train

# a mixture: draws of posteriors that it is fitted to, components at most, rows for each at least, and latents up to which
# covariances are full (Adult; the docstring of `Mixture` has the figures)
N_DRAWS, MAX_COMPONENTS, MIN_ROWS_A_COMPONENT, MAX_FULL = 5000, 32, 20, 32
LEAST_VARIANCE = 1e-3  # of a component, beside the variance of all draws; unmeasured
# a flow: components of a conditional, hidden units; passes over the rows at most, rows seen, rows a step, learning rate
# (Adult; the docstring of `Flow` has the figures)
N_NORMALS, WIDTH = 8, 96
MAX_PASSES, N_ROWS_SEEN, N_ROWS_A_STEP, LEARNING_RATE = 40, 500_000, 256, 0.02
N_LEARNED = 50  # components of a prior that is learned with the bound; unmeasured
MIN_ROWS_FLOW = 5000  # from which "auto" tries a flow; unmeasured
MARGIN, N_ERRORS = 0.03, 2.0  # of a held-out gain that "auto" takes: nats, and standard errors beyond them; unmeasured


class Posterior(NamedTuple):
    """q(z | x) = N(mean, exp(log_scale)²), independent latents; both (n, latent_dim)."""

    mean: Tensor
    log_scale: Tensor

    def at(self, noise: Tensor) -> Tensor:
        """The latents that standard normal noise (..., n or 1, latent_dim) stands for."""
        return self.mean + self.log_scale.exp() * noise

    def at_beta_one(self, beta: float, centre: Tensor, scale: Tensor) -> "Posterior":
        """The posterior under N(centre, scale²), were the model linear and Gaussian, and trained under N(0, I) with beta.

        There, training adds the likelihood's precision over beta to the prior's 1; a posterior too narrow for the model
        would make importance weights explode. centre, scale : (latent_dim,).
        """
        precision = (-2 * self.log_scale).exp().clamp(min=1)
        variance = 1 / (beta * (precision - 1) + scale**-2)
        return Posterior((beta * precision * self.mean + centre / scale**2) * variance, 0.5 * variance.log())

    def log_prob(self, z: Tensor) -> Tensor:
        """Density of latents (..., n, latent_dim), in nats: (..., n)."""
        noise = (z - self.mean) * (-self.log_scale).exp()
        return (-0.5 * (noise.square() + math.log(2 * math.pi)) - self.log_scale).sum(-1)


class Latents(NamedTuple):
    """The posteriors of n rows, and weights (n,) of mean one."""

    posterior: Posterior
    weight: Tensor

    def draw(self, n: int, rng: Generator) -> Tensor:
        """n draws of the aggregate posterior, (n, latent_dim): rows as often as their weight says, to within one."""
        ends = self.weight.cpu().double().cumsum(0)  # not every device has float64
        places = (torch.arange(n, dtype=torch.float64) + 0.5) * ends[-1] / n
        rows = torch.searchsorted(ends, places).clamp(max=len(ends) - 1)
        mean, log_scale = (part[rows.to(part.device)] for part in self.posterior)
        noise = torch.randn(mean.shape, generator=rng, dtype=mean.dtype, device=mean.device)
        return Posterior(mean, log_scale).at(noise)


def normal_kl(mean: Tensor, log_scale: Tensor) -> Tensor:
    """KL(q || N(0, 1)) of each latent, in nats (Kingma & Welling, 2014, appendix B). All (..., latent_dim)."""
    return 0.5 * (mean.square() + (2 * log_scale).exp() - 1) - log_scale


class AbstractPrior(nn.Module, ABC):
    """p(z) over vectors of `latent_dim` numbers; before `fit`, the one that the bound is trained with.

    Attributes
    ----------
    centre, scale : Tensor (latent_dim,)
        Its mean and standard deviation, nearly.
    fixed : bool
        Whether there is nothing to `fit`.
    """

    fixed = False
    centre: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int):
        super().__init__()
        self.latent_dim = latent_dim
        self.register_buffer("centre", torch.zeros(latent_dim))
        self.register_buffer("scale", torch.ones(latent_dim))

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """z : (..., latent_dim); returns (...), in nats."""

    @abstractmethod
    def sample(self, n: int, rng: Generator) -> Tensor:
        """n draws, (n, latent_dim), in the type of the prior, of float32 noise on the rng's device."""

    @property
    def fitted(self) -> "AbstractPrior":
        """The prior that it stands for."""
        return self

    def kl(self, posterior: Posterior, z: Tensor) -> Tensor:
        """KL(q || p) for the p that the bound is trained with: the standard normal, unless the prior learns with the bound.

        z : (..., n, latent_dim), drawn from q; returns (n,) or (..., n), in nats.
        """
        return normal_kl(*posterior).sum(-1)

    def fit(self, latents: Latents, held_out: Tensor, rng: Generator) -> None:
        """After training: come closer to the aggregate posterior, the best p(z) that the bound can have.

        held_out : (m, latent_dim), draws of the posteriors of other rows. (Hoffman & Johnson, 2016.)
        """

    @torch.no_grad()
    def _standardise(self, z: Tensor) -> None:
        """Take centre and scale from draws (n, latent_dim)."""
        self.centre.copy_(z.mean(0))
        self.scale.copy_(z.std(0, correction=0).clamp(min=1e-6))


class StandardNormal(AbstractPrior):
    """N(0, I)."""

    fixed = True

    def log_prob(self, z):
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)

    def sample(self, n, rng):
        shape = n, self.latent_dim
        return torch.randn(shape, generator=rng, dtype=torch.float32, device=rng.device).to(self.centre.dtype)


def _mixture_log_prob(z: Tensor, log_weight: Tensor, mean: Tensor, lower: Tensor) -> Tensor:
    """Log-density of a mixture of m normals at z (..., k): (...).

    log_weight : (m,); mean : (m, k); lower : (m, k, k), Cholesky factors of the covariances.
    """
    eye = torch.eye(mean.shape[1], dtype=mean.dtype, device=mean.device)
    whiten = torch.linalg.solve_triangular(lower, eye, upper=False).mT
    white = (z.reshape(-1, z.shape[-1]) - mean[:, None]) @ whiten  # (m, n, k)
    density = -0.5 * (white.square() + math.log(2 * math.pi)).sum(-1)
    log_volume = lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return (density + (log_weight - log_volume)[:, None]).logsumexp(0).view(z.shape[:-1])


def _mixture_sample(n: int, log_weight: Tensor, mean: Tensor, lower: Tensor, rng: Generator) -> Tensor:
    """n draws, (n, k). Arguments as in `_mixture_log_prob`."""
    noise = torch.randn(n, mean.shape[1], generator=rng, dtype=torch.float32, device=rng.device).to(mean.dtype)
    component = torch.multinomial(log_weight.exp(), n, replacement=True, generator=rng)
    drawn = mean.new_empty(n, mean.shape[1])
    for at in range(len(mean)):
        rows = component == at
        drawn[rows] = mean[at] + noise[rows] @ lower[at].mT
    return drawn


class Mixture(AbstractPrior):
    """A mixture of normals (`sklearn.mixture.GaussianMixture`) fitted to draws of posteriors after training.

    The number of components is doubled for as long as held-out draws become likelier. Up to 32 latents, covariances are
    full, which gained more than their parameters cost (Adult, 16 latents: 0.14 nats with 8 components, diagonal 0.14 with
    32; at beta = 0.2, 1.8 against 1.3).

    Attributes
    ----------
    log_weight : (m,), mean : (m, latent_dim), lower : (m, latent_dim, latent_dim), Cholesky factors of the covariances
    """

    log_weight: Tensor
    mean: Tensor
    lower: Tensor

    def __init__(self, latent_dim):
        super().__init__(latent_dim)
        self.register_buffer("log_weight", torch.zeros(1))
        self.register_buffer("mean", torch.zeros(1, latent_dim))
        self.register_buffer("lower", torch.eye(latent_dim)[None])

    def log_prob(self, z):
        return _mixture_log_prob(z, self.log_weight, self.mean, self.lower)

    def sample(self, n, rng):
        return _mixture_sample(n, self.log_weight, self.mean, self.lower, rng)

    @torch.no_grad()
    def fit(self, latents, held_out, rng):
        z = latents.draw(N_DRAWS, rng)
        self._standardise(z)
        u, test = (((part - self.centre) / self.scale).cpu().double().numpy() for part in (z, held_out))
        most = min(MAX_COMPONENTS, max(1, len(latents.weight) // MIN_ROWS_A_COMPONENT))
        seed = int(torch.randint(2**31 - 1, (1,), generator=rng, device=rng.device))
        best = _likeliest_mixture(u, test, most, seed)
        is_full = best.covariance_type == "full"
        covariance = best.covariances_ if is_full else best.covariances_[:, None] * np.eye(self.latent_dim)
        arrays = np.log(best.weights_), best.means_, np.linalg.cholesky(covariance)
        parts = (torch.as_tensor(array).to(z) for array in arrays)
        self.log_weight, mean, lower = parts
        self.mean, self.lower = self.centre + self.scale * mean, self.scale[:, None] * lower

    def _load_from_state_dict(self, state_dict, prefix, *arguments):
        # how many components there are is known after `fit` only
        for name in ("log_weight", "mean", "lower"):
            setattr(self, name, torch.empty_like(state_dict[prefix + name], device=self.mean.device, dtype=self.mean.dtype))
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def _likeliest_mixture(rows, held_out, most, seed):
    """A `GaussianMixture` of rows (n, k), with the number of components that held-out rows (m, k) are likeliest under."""
    from sklearn.mixture import GaussianMixture  # not above: it takes longer to import than all of skvae

    covariance = "full" if rows.shape[1] <= MAX_FULL else "diag"
    best, best_score, n_components, n_worse = None, -math.inf, 1, 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what did not converge is not chosen, or as good
        while n_components <= most and n_worse < 2:
            form = {"covariance_type": covariance, "reg_covar": LEAST_VARIANCE, "tol": 1e-2, "max_iter": 50}
            mixture = GaussianMixture(n_components, random_state=np.random.RandomState(seed), **form).fit(rows)
            score = mixture.score(held_out)
            n_worse = 0 if score > best_score else n_worse + 1
            best, best_score = (mixture, score) if score > best_score else (best, best_score)
            n_components *= 2
    return best


class Flow(AbstractPrior):
    """An autoregressive flow, fitted to posteriors after training by maximum likelihood.

    Each latent given those before it is a mixture of normals, whose cdf is the flow's transformation; one masked perceptron
    puts out all parameters (MADE: Germain et al., 2015; flows: Papamakarios et al., 2021, section 3.1). Draws of the
    posteriors are new in every step: fitted to fixed ones it overfits (Adult, 16 latents: a gain over the standard normal of
    0.10 nats on held-out rows, against 0.21). Four affine couplings (Dinh et al., 2017) gained 0.04 in the same time.
    """

    def __init__(self, latent_dim):
        super().__init__(latent_dim)
        n_out = latent_dim * 3 * N_NORMALS
        shapes = {"first": (WIDTH, latent_dim), "second": (WIDTH, WIDTH), "last": (n_out, WIDTH)}
        # frozen but in `fit`: the bound does not train them. As they start, the flow is the standard normal
        self.weights = nn.ParameterDict({name: _frozen(*shape) for name, shape in shapes.items()})
        self.biases = nn.ParameterDict({name: _frozen(shape[0]) for name, shape in shapes.items()})
        unit, latent = torch.arange(WIDTH) % max(latent_dim - 1, 1), torch.arange(latent_dim)
        masks = {
            "first": unit[:, None] >= latent,
            "second": unit[:, None] >= unit,
            "last": (latent[:, None] > unit).repeat_interleave(3 * N_NORMALS, 0),
        }
        for name, mask in masks.items():
            self.register_buffer(f"mask_{name}", mask, persistent=False)

    def _conditionals(self, u: Tensor) -> tuple[Tensor, ...]:
        """Log-weights, means and log-scales of each standardised latent given those before it: (..., latent_dim, m) each."""

        def layer(name, x):
            return F.linear(x, self.weights[name] * self.get_buffer(f"mask_{name}"), self.biases[name])

        hidden = F.silu(layer("first", u))
        hidden = hidden + F.silu(layer("second", hidden))
        log_weight, mean, log_scale = layer("last", hidden).unflatten(-1, (self.latent_dim, 3, N_NORMALS)).unbind(-2)
        return log_weight.log_softmax(-1), mean, log_scale.clamp(-7, 7)

    def log_prob(self, z):
        u = (z - self.centre) / self.scale
        log_weight, mean, log_scale = self._conditionals(u)
        normal = -0.5 * ((u.unsqueeze(-1) - mean) * (-log_scale).exp()).square() - log_scale - 0.5 * math.log(2 * math.pi)
        return (log_weight + normal).logsumexp(-1).sum(-1) - self.scale.log().sum()

    @torch.no_grad()
    def sample(self, n, rng):
        noise = torch.randn(n, self.latent_dim, generator=rng, dtype=torch.float32, device=rng.device).to(self.centre.dtype)
        u = torch.zeros_like(noise)
        for j in range(self.latent_dim):
            log_weight, mean, log_scale = (part[:, j] for part in self._conditionals(u))
            chosen = torch.multinomial(log_weight.exp(), 1, generator=rng)
            u[:, j] = (mean.gather(1, chosen) + log_scale.exp().gather(1, chosen) * noise[:, j, None])[:, 0]
        return self.centre + self.scale * u

    def fit(self, latents, held_out, rng):
        self._standardise(latents.draw(N_DRAWS, rng))
        self._start(rng)
        n_rows = len(latents.weight)

        def loss(mean, log_scale, weight):
            noise = torch.randn(mean.shape, generator=rng, dtype=mean.dtype, device=mean.device)
            return -(self.log_prob(Posterior(mean, log_scale).at(noise)) * weight).mean()

        def score():
            with torch.no_grad():
                return self.log_prob(held_out).mean().item()

        self.requires_grad_(True)
        train(
            self,
            loss,
            (*latents.posterior, latents.weight),
            score=score,
            n_epochs=min(MAX_PASSES, math.ceil(N_ROWS_SEEN / n_rows)),
            batch_size=min(n_rows, N_ROWS_A_STEP),
            learning_rate=LEARNING_RATE,
            rng=rng,
        )
        self.requires_grad_(False)

    @torch.no_grad()
    def _start(self, rng: Generator) -> None:
        """Random weights, and components side by side: equal ones would stay equal."""
        for weight, gain in zip(self.weights.values(), (1.0, 1.0, 0.1), strict=True):
            weight.normal_(std=gain / math.sqrt(weight.shape[1]), generator=rng)
        for bias in self.biases.values():
            bias.zero_()
        parts = self.biases["last"].view(self.latent_dim, 3, N_NORMALS)
        parts[:, 1], parts[:, 2] = torch.linspace(-1.5, 1.5, N_NORMALS, device=parts.device), -0.7


def _frozen(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape), requires_grad=False)


class LearnedMixture(AbstractPrior):
    """A mixture of 50 normals learned with the bound, in place of the VampPrior (Tomczak & Welling, 2018).

    There, components are the posteriors of learned pseudo-inputs; here, their means and scales themselves are learned, which
    needs no inputs between categories. On digits, 8 latents, both came to the same: held-out scores of two seeds -82.3 and
    -83.0, with pseudo-inputs -82.6 and -82.7, or -82.7 and -83.2, as they are started; the standard normal -84.5.
    """

    def __init__(self, latent_dim):
        super().__init__(latent_dim)
        noise = torch.randn(N_LEARNED, latent_dim, generator=Generator().manual_seed(0), dtype=torch.float32)
        self.log_odds = nn.Parameter(torch.zeros(N_LEARNED))
        self.mean = nn.Parameter(math.sqrt(0.75) * noise)
        self.log_scale = nn.Parameter(torch.full_like(noise, math.log(0.5)))

    def log_prob(self, z):
        return _mixture_log_prob(z, *self._components())

    def _components(self):
        return self.log_odds.log_softmax(0), self.mean, torch.diag_embed(self.log_scale.exp())

    @torch.no_grad()
    def sample(self, n, rng):
        log_weight, mean, lower = self._components()
        return _mixture_sample(n, log_weight, mean, lower, rng)

    def kl(self, posterior, z):
        return posterior.log_prob(z) - self.log_prob(z)

    def fit(self, latents, held_out, rng):
        self._standardise(latents.draw(N_DRAWS, rng))


class Automatic(AbstractPrior):
    """The standard normal, unless a prior fitted after training is clearly likelier on held-out draws.

    Clearly: by more than 0.03 nats and two standard errors beyond.
    """

    def __init__(self, latent_dim):
        super().__init__(latent_dim)
        self.chosen = nn.ModuleDict({"normal": StandardNormal(latent_dim)})

    @property
    def fitted(self):
        return cast(AbstractPrior, next(iter(self.chosen.values())))

    def log_prob(self, z):
        return self.fitted.log_prob(z)

    def sample(self, n, rng):
        return self.fitted.sample(n, rng)

    def fit(self, latents, held_out, rng):
        chosen: dict[str, AbstractPrior] = {"normal": StandardNormal(self.latent_dim).to(held_out)}
        for name in ("mixture", "flow") if len(latents.weight) >= MIN_ROWS_FLOW else ("mixture",):
            prior = PRIORS[name](self.latent_dim).to(held_out)
            prior.fit(latents, held_out, rng)
            with torch.no_grad():
                gain = prior.log_prob(held_out) - next(iter(chosen.values())).log_prob(held_out)
            error = (gain.var(correction=0) / (len(gain) - 1)).sqrt()  # NaN of a single draw, and nothing exceeds that
            if gain.mean() > MARGIN + N_ERRORS * error:
                chosen = {name: prior}
        self.chosen = nn.ModuleDict(chosen)
        self.centre.copy_(self.fitted.centre)
        self.scale.copy_(self.fitted.scale)

    def _load_from_state_dict(self, state_dict, prefix, *arguments):
        # what was chosen is known after `fit` only
        start = f"{prefix}chosen."
        name = next(key.removeprefix(start).split(".")[0] for key in state_dict if key.startswith(start))
        self.chosen = nn.ModuleDict({name: PRIORS[name](self.latent_dim).to(self.centre)})
        super()._load_from_state_dict(state_dict, prefix, *arguments)


PRIORS: dict[str, Callable[[int], AbstractPrior]] = {
    "auto": Automatic,
    "normal": StandardNormal,
    "mixture": Mixture,
    "vamp": LearnedMixture,
    "flow": Flow,
}


def name_of(prior: AbstractPrior) -> str:
    """The key of `PRIORS` that a prior stands for, never "auto"."""
    return next(name for name, cls in PRIORS.items() if type(prior.fitted) is cls)
