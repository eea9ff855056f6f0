import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal
from torch.testing import assert_close

from skvae.mixtures import NormalMixture


def normals(m, k=3):
    """A mixture of m normals of k numbers, float64, and the same of torch's."""
    generator = torch.Generator().manual_seed(0)
    mixture = NormalMixture(k).double()
    mixture.log_weight = torch.randn(m, generator=generator, dtype=torch.float64).log_softmax(0)
    mixture.mean = 2 * torch.randn(m, k, generator=generator, dtype=torch.float64)
    roots = torch.randn(m, k, k, generator=generator, dtype=torch.float64)
    mixture.covariance = roots @ roots.transpose(1, 2) + 0.1 * torch.eye(k)
    return mixture, reference(mixture.log_weight, mixture.mean, mixture.covariance)


def reference(log_weight, mean, covariance):
    return MixtureSameFamily(Categorical(logits=log_weight), MultivariateNormal(mean, covariance))


def log_probs(parts, u):
    log_weight, mean, scale = parts
    return (log_weight + torch.distributions.Normal(mean, scale).log_prob(u)).logsumexp(0)


@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_a_chain_of_conditionals_is_the_density_in_any_order(m, order):
    mixture, truth = normals(m)
    u = truth.sample((20,))
    chain = log_probs(mixture.in_order(u, None, torch.tensor(order)), u)
    assert_close(chain.sum(-1), truth.log_prob(u))


@pytest.mark.parametrize("m", [1, 3])
def test_conditionals_given_some_numbers_are_those_of_the_chain(m):
    """Number 1 given numbers 0 and 2: the last link of an order that ends with it."""
    mixture, truth = normals(m)
    u = truth.sample((20,))
    known = torch.tensor([[True, False, True]]).expand(20, -1)
    normals_of_one = mixture.weigh(u, known), *mixture.given(u, known, 1)
    chain = log_probs(mixture.in_order(u, None, torch.tensor([0, 2, 1])), u)
    assert_close(log_probs(normals_of_one, u[:, 1]), chain[:, 1])


def test_an_unobserved_number_tells_nothing():
    mixture, truth = normals(2)
    u, observed = truth.sample((20,)), torch.tensor([[True, False, True]]).expand(20, -1)
    marginal = reference(mixture.log_weight, mixture.mean[:, [0]], mixture.covariance[:, :1, :1])
    parts = mixture.in_order(u, observed, torch.arange(3))
    other = mixture.in_order(u + torch.tensor([0.0, 5.0, 0.0]), observed, torch.arange(3))
    assert_close(log_probs(parts, u)[:, 0], marginal.log_prob(u[:, :1]))
    for part, same in zip(parts, other, strict=True):
        assert_close(part[..., [0, 2]], same[..., [0, 2]])


def test_clusters_of_a_small_table_are_found_and_one_normal_is_left_alone():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(300, 2, generator=generator)
    apart = rows + torch.where(torch.arange(300)[:, None] < 100, 8.0, 0.0)
    continuous, mixture = torch.tensor([True, True]), NormalMixture(2)
    for data, m in ((rows, 1), (apart, 2)):
        mixture.fit(data, None, torch.ones(300), continuous, torch.zeros(len(continuous)))
        assert mixture.log_weight.shape == (m,)
    assert_close(mixture.log_weight.exp().sort()[0], torch.tensor([1 / 3, 2 / 3]), atol=1e-3, rtol=0)
    other = NormalMixture(2)
    other.load_state_dict(mixture.state_dict())
    assert torch.equal(other.covariance, mixture.covariance)


def test_rows_of_other_weights_move_the_moments():
    x = torch.tensor([[0.0], [1.0], [2.0]])
    mixture = NormalMixture(1)
    mixture.fit(
        x, torch.tensor([[True], [True], [False]]), torch.tensor([1.0, 3.0, 9.0]), torch.tensor([True]), torch.zeros(1)
    )
    assert_close(mixture.mean, torch.tensor([[0.75]]))
