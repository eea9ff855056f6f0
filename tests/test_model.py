"""The bounds against an exact density: a linear VAE is a Gaussian whose log p(x) is known."""

import math
from itertools import pairwise

import pytest
import torch
from sklearn.decomposition import PCA
from torch.testing import assert_close

from skvae.autoencoder import normal_noise, probabilistic_pca
from skvae.model import VAE
from skvae.rows import Part, Rows
from skvae.scalings import Variable
from skvae.tables import TableSpec

N_COLUMNS, LATENT_DIM = 5, 2


def draw_rows(n=500):
    generator = torch.Generator().manual_seed(0)
    loadings = torch.randn(LATENT_DIM, N_COLUMNS, generator=generator)
    return torch.randn(n, LATENT_DIM, generator=generator) @ loadings + 0.5 * torch.randn(n, N_COLUMNS, generator=generator)


def linear_vae(hidden=()):
    """An autoencoder of normal columns, at its start."""
    spec = TableSpec((Variable("gaussian", least_scale=1e-3),) * N_COLUMNS)
    module = VAE([("table", spec)], LATENT_DIM, hidden, "tanh", "normal", 1.0, "latent", torch.Generator().manual_seed(1))
    module.start(Rows((Part(draw_rows()),), torch.ones(500)))
    return module.double().autoencoder


def parts(x, observed=None):
    return (Part(x, observed),)


def as_they_are(rows):
    return rows


def exact_log_prob(vae, x):
    """Log p(x) of a VAE without hidden layers: z and the noise are normal, so x is."""
    with torch.no_grad():
        [decoder] = vae.decoders
        weight, bias = decoder.path.weight, decoder.path.bias
        likelihood = decoder.blocks.likelihoods[0]
        noise = likelihood.least_scale + likelihood.log_scale.exp()
        return torch.distributions.MultivariateNormal(bias, weight @ weight.T + noise.square().diag()).log_prob(x)


@pytest.fixture(params=["optimal encoder", "perturbed encoder"])
def vae(request):
    vae = linear_vae()
    if request.param == "perturbed encoder":
        with torch.no_grad():
            for parameter in vae.encoder.parameters():
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    return vae


def test_elbo_below_importance_weighted_below_exact(vae):
    x = draw_rows().double()
    with torch.no_grad():
        log_likelihood, kl = vae.elbo(parts(x), normal_noise(256, LATENT_DIM)[:, None])
        elbo = log_likelihood.mean(0) - kl
        bounds = [vae.log_likelihood(parts(x), normal_noise(k, LATENT_DIM)).mean() for k in (1, 4, 16, 64, 1024)]
    exact = exact_log_prob(vae, x)
    assert (elbo <= exact + 1e-2).all()
    assert elbo.mean() <= bounds[-1] + 2e-3  # two blocks of noise
    assert all(bound <= exact.mean() + 0.02 for bound in bounds[1:])  # one block of noise: its error is common to all rows
    assert bounds[-1] == pytest.approx(exact.mean().item(), abs=0.02)
    assert all(more >= fewer - 0.02 for fewer, more in pairwise(bounds[1:]))


def test_the_start_is_probabilistic_pca():
    """Before the first step, bound, latents and reconstruction are those of scikit-learn's PCA."""
    x = draw_rows()
    vae, pca = linear_vae(), PCA(LATENT_DIM).fit(x.numpy())
    with torch.no_grad():
        score = vae.log_likelihood(parts(x.double()), normal_noise(16, LATENT_DIM)).numpy()
        vae.finalise(Rows(parts(x.double()), torch.ones(500)), as_they_are)
        mean = vae.encode(parts(x.double())).mean
        rebuilt = vae.reconstruct(mean)[0].numpy()
    assert score == pytest.approx(pca.score_samples(x.numpy()), abs=0.05)  # PCA divides by n - 1
    shrunk = pca.transform(x.numpy()) / pca.explained_variance_ * (pca.explained_variance_ - pca.noise_variance_) ** 0.5
    for j in range(LATENT_DIM):
        assert abs(mean[:, j].numpy()) == pytest.approx(abs(shrunk[:, j]), abs=0.02)
    assert rebuilt == pytest.approx(pca.inverse_transform(pca.transform(x.numpy())), abs=1e-3)


@pytest.mark.parametrize("shape", [(50, 6), (6, 50)])
def test_probabilistic_pca_of_tall_and_of_wide_data_is_the_same_model(shape):
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    mean, loadings, noise, slope, log_scale = probabilistic_pca(x, None, torch.ones(len(x)), 3)
    pca = PCA(3).fit(x.numpy())
    covariance = loadings @ loadings.T
    expected = pca.components_.T * (pca.explained_variance_ * (1 - 1 / len(x)) - noise.item() ** 2) @ pca.components_
    assert_close(covariance, torch.as_tensor(expected), atol=1e-4, rtol=1e-4)
    assert_close(mean, x.mean(0))
    # the posterior of the model: slope = W M^-1, scale² = noise² M^-1 (Tipping & Bishop, eq. 9 of 1999)
    m = loadings.T @ loadings + noise**2 * torch.eye(3)
    assert_close(slope, loadings @ m.inverse(), atol=1e-4, rtol=1e-3)
    assert_close((2 * log_scale).exp(), noise**2 * m.inverse().diag(), atol=1e-5, rtol=1e-3)


def test_weights_of_the_start_count_rows():
    x = draw_rows(60)
    weight = torch.randint(1, 4, (60,), generator=torch.Generator().manual_seed(0))
    weighted = probabilistic_pca(x, None, weight.float(), 2)
    repeated = probabilistic_pca(x.repeat_interleave(weight, 0), None, torch.ones(int(weight.sum())), 2)
    assert_close(weighted[0], repeated[0])
    assert_close(weighted[1] @ weighted[1].T, repeated[1] @ repeated[1].T, atol=1e-4, rtol=1e-4)


def test_missing_cells_do_not_count():
    vae = linear_vae(hidden=(8,))
    x = draw_rows(20).double()
    observed = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) > 0.3
    other = torch.where(observed, x, 7.0)
    noise = normal_noise(8, LATENT_DIM)
    with torch.no_grad():
        assert torch.equal(vae.log_likelihood(parts(x, observed), noise), vae.log_likelihood(parts(other, observed), noise))
        nothing = torch.zeros_like(observed)
        assert_close(vae.log_cells(parts(x, nothing), noise[:1])[0], torch.zeros_like(x))


def test_kl_contributes_gradient():
    vae = linear_vae()
    posterior = vae.encode(parts(draw_rows(20).double()))
    vae.prior.kl(posterior, posterior.mean).sum().backward()
    assert vae.encoder.embeddings[0].path.numbers.grad.abs().sum() > 0


def test_permuting_the_latents_changes_nothing_but_their_order():
    vae, x = linear_vae(hidden=(8,)), draw_rows(20).double()
    with torch.no_grad():
        mean = vae.encode(parts(x)).mean
        [rebuilt] = vae.reconstruct(mean)
        vae.encoder.order.copy_(torch.tensor([1, 0]))
        assert torch.equal(vae.encode(parts(x)).mean, mean.flip(1))
        assert torch.equal(vae.reconstruct(mean.flip(1))[0], rebuilt)


def test_noise_is_standard_normal_fixed_and_finite():
    state = torch.get_rng_state()
    noise = normal_noise(4096, 3)
    assert torch.equal(noise, normal_noise(4096, 3))
    assert torch.equal(state, torch.get_rng_state())
    assert_close(noise.mean(0), torch.zeros(3).double(), atol=1e-3, rtol=0)
    assert_close(noise.T @ noise / 4096, torch.eye(3).double(), atol=1e-2, rtol=0)
    assert noise.abs().max() < 6


def test_posterior_density_is_that_of_the_normal():
    vae, x = linear_vae(), draw_rows(10).double()
    with torch.no_grad():
        posterior = vae.encode(parts(x))
    noise = normal_noise(4, LATENT_DIM)[:, None]
    z = posterior.at(noise)
    expected = torch.distributions.Normal(posterior.mean, posterior.log_scale.exp()).log_prob(z).sum(-1)
    assert_close(posterior.log_prob(z), expected)
    assert math.isfinite(expected.sum().item())
