"""Given latents, cells are independent, each scored and drawn by its own likelihood."""

import pytest
import torch
from torch.testing import assert_close

from skvae.decoders import FactorisedDecoder
from skvae.rows import Part
from skvae.scalings import Variable

VARIABLES = (
    [Variable("bernoulli")] * 2
    + [Variable("gaussian")] * 3
    + [Variable("categorical", 3, coded=True), Variable("categorical", 4, coded=True)]
)


@pytest.fixture
def decoder():
    return FactorisedDecoder(VARIABLES, 2, (8,), "tanh", torch.Generator().manual_seed(0))


@pytest.fixture
def z():
    return torch.randn(50, 2, generator=torch.Generator().manual_seed(1))


def test_cells_are_scored_each_by_its_own_likelihood(decoder, z):
    x = decoder.sample(z, torch.Generator().manual_seed(2))
    log_prob = decoder.log_prob(Part(x), z)
    assert log_prob.shape == x.shape == (50, len(VARIABLES))
    theta = decoder.theta(z)
    assert_close(log_prob[:, 0], torch.distributions.Bernoulli(logits=theta[:, 0]).log_prob(x[:, 0]))
    assert_close(log_prob[:, 5], theta[:, 5:8].log_softmax(-1).gather(1, x[:, 5:6].long())[:, 0])


def test_many_latents_a_row(decoder, z):
    x = decoder.sample(z, torch.Generator().manual_seed(2))
    many = decoder.log_prob(Part(x), torch.stack([z, z.flip(0)]))
    assert_close(many[0], decoder.log_prob(Part(x), z))
    assert_close(many[1], decoder.log_prob(Part(x), z.flip(0)))


def test_mode_of_categories_is_the_most_probable_code(decoder, z):
    theta = decoder.theta(z)
    assert torch.equal(decoder.centre(z)[:, 5].long(), theta[:, 5:8].argmax(-1))


def test_start_sets_the_marginals_of_every_block(decoder):
    mean = torch.tensor([0.2, 0.9, 1.0, -1.0, 0.0, 0.5, 0.3, 0.2, 0.1, 0.1, 0.4, 0.4])
    decoder.start(mean, torch.zeros(12, 2), torch.tensor(0.5))
    theta = decoder.path(torch.zeros(1, 2))[0]
    assert_close(theta[:2].sigmoid(), mean[:2])
    assert_close(theta[2:5], mean[2:5])
    assert_close(theta[5:8].softmax(0), mean[5:8])
    assert_close(theta[9:].softmax(0), mean[8:])  # both categories have room for the larger


def test_an_unseen_category_is_no_likelier_than_any_that_was_seen_and_a_missing_one_counts_nothing(decoder, z):
    x = decoder.sample(z, torch.Generator().manual_seed(2))
    observed, unseen = torch.ones_like(x, dtype=torch.bool), torch.zeros_like(x, dtype=torch.bool)
    observed[:, [0, 5]], unseen[:, 5] = False, True
    counted = decoder.log_prob(Part(x, observed, unseen), z)
    seen = torch.stack([decoder.log_prob(Part(x.index_fill(1, torch.tensor(5), k)), z)[:, 5] for k in range(3)])
    assert (counted[:, 0] == 0).all()
    assert (counted[:, 5] <= seen.amin(0)).all()
    assert_close(counted[:, 1:5], decoder.log_prob(Part(x), z)[:, 1:5])
