"""Regressions of cells on categories: penalised likelihoods at their maximum, and cells that are not seen."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.linear_model import LogisticRegression, RidgeCV

from skvae.autoregressive import Chain
from skvae.regressions import LOGISTIC_PENALTY, RIDGES, CodeRegressions, _logistic, _ridge
from skvae.rows import Part
from skvae.scalings import Variable

# cells: a number, a boolean, categories of 3 and of 4
N_CODES = [0, 1, 3, 4]


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 3, 400)
    flag = (rng.random(400) < np.array([0.1, 0.5, 0.9])[first]).astype(float)
    second = np.where(rng.random(400) < 0.7, first, 3)
    number = 2.0 * first - flag + (1 + first) * rng.normal(size=400) / 2
    x = torch.tensor(np.column_stack([number, flag, first, second]), dtype=torch.float32)
    codes = x.T.long()
    codes[:2] = 0  # numbers and booleans have one code
    return x, codes


def test_design_is_zero_on_average_and_where_not_known(rows):
    x, codes = rows
    regressions = CodeRegressions(N_CODES, 2)
    order = torch.tensor([1, 2, 3, 0])
    regressions.start(codes, x, x[:, :2], None, torch.ones(400), order)
    design = regressions.design(codes, x)
    assert design.shape == (400, 8)
    assert_allclose(design.mean(0), 0, atol=1e-6)
    known = torch.tensor([True, True, False, True]).expand(400, -1)
    assert (regressions.design(codes, x, known)[:, 1:4] == 0).all()
    for j in (1, 2, 3):  # cell by cell, it is the same
        columns = slice(*regressions.columns_of(j))
        assert_allclose(regressions.design_of(j, codes[j], x[:, j]), design[:, columns], atol=1e-6)


def test_cells_see_only_those_before_them(rows):
    x, codes = rows
    regressions = CodeRegressions(N_CODES, 2)
    with torch.no_grad():
        regressions.weight.normal_(generator=torch.Generator().manual_seed(0))
    before = torch.tensor([[0, 1, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0]]).float()
    logits, location, scale = regressions(regressions.design(codes, x), before)
    assert (logits[:, 0] == 0).all()  # the boolean comes first
    moved, other = x.clone(), codes.clone()
    moved[:, 3], other[3] = 3 - x[:, 3], 3 - codes[3]
    logits_, location_, _ = regressions(regressions.design(other, moved), before)
    assert_allclose(logits_.detach(), logits.detach())  # of none after it
    assert (location_[:, 0] != location[:, 0]).any()
    assert (scale > 0).all()


def test_logistic_regressions_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    y = np.array([0, 1, 2])[(x @ rng.normal(size=(3, 3)) + rng.gumbel(size=(300, 3))).argmax(1)]
    weight = rng.integers(1, 4, 300).astype(float)
    targets, mask = np.eye(3)[y], torch.ones(3, 3, dtype=torch.bool)
    slopes, constants = _logistic(torch.tensor(x), targets, mask, torch.tensor(weight), np.zeros(3))
    model = LogisticRegression(C=1 / LOGISTIC_PENALTY, max_iter=1000, tol=1e-8).fit(x, y, sample_weight=weight)
    eta = x @ slopes + constants
    probs = np.exp(eta - eta.max(1, keepdims=True))
    assert_allclose(probs / probs.sum(1, keepdims=True), model.predict_proba(x), atol=0.02)


def test_a_boolean_and_a_category_are_fitted_together_as_each_by_itself_and_missing_cells_count_for_nothing():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 2))
    flag = (x[:, :1] + rng.normal(size=(200, 1)) > 0).astype(float)
    codes = np.eye(3)[rng.integers(0, 3, 200)]
    flag[:50] = np.nan
    together = _logistic(
        torch.tensor(x),
        np.hstack([flag, codes]),
        torch.ones(2, 4, dtype=torch.bool),
        torch.ones(200),
        np.array([0, 1, 1, 1]),
    )
    alone = _logistic(torch.tensor(x[50:]), flag[50:], torch.ones(2, 1, dtype=torch.bool), torch.ones(150), np.array([0]))
    assert_allclose(together[0][:, :1], alone[0], atol=0.02)
    assert_allclose(together[1][:1], alone[1], atol=0.02)


def test_ridge_regressions_have_the_penalty_that_scikit_learn_chooses():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 8))
    x -= x.mean(0)
    y = x[:, :3] @ rng.normal(size=(3, 2)) + rng.normal(size=(120, 2))
    y -= y.mean(0)
    found = _ridge(torch.tensor(x), torch.tensor(y), None, torch.ones(120, dtype=torch.float64))
    for j in range(2):
        expected = RidgeCV(RIDGES, fit_intercept=False, scoring="neg_mean_squared_error").fit(x, y[:, j]).coef_
        assert_allclose(found[:, j], expected, atol=0.1)
    observed = torch.ones(120, 2, dtype=torch.bool)
    observed[:30, 1] = False
    apart = _ridge(torch.tensor(x), torch.tensor(y), observed, torch.ones(120, dtype=torch.float64))
    assert_allclose(apart[:, 0], found[:, 0])
    assert not np.allclose(apart[:, 1], found[:, 1])


def test_the_scale_of_a_number_follows_its_category(rows):
    x, codes = rows
    regressions = CodeRegressions(N_CODES, 2)
    regressions.start(codes, x, x[:, :2], None, torch.ones(400), torch.tensor([1, 2, 3, 0]))
    design = regressions.design(codes, x)
    location, _ = regressions.normals(design)
    residuals = x[:, :2] - location.detach()
    regressions.start_scales(design, residuals - residuals.mean(0), None, torch.ones(400))
    _, scale = regressions.normals(design)
    mean = [scale[codes[2] == k, 0].mean().item() for k in range(3)]
    assert mean[0] * 1.3 < mean[1]
    assert mean[1] * 1.1 < mean[2]
    assert_allclose(scale[:, 1].detach(), 1)  # a boolean has none


def test_a_number_is_as_uncertain_as_the_categories_that_it_does_not_see_leave_it():
    """A number that a category determines: before it, in an order of training, its density is the marginal one."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, 600)
    x = torch.tensor(np.column_stack([(kind - 1) / 0.82 + 0.01 * rng.normal(size=600), kind]), dtype=torch.float32)
    variables = [Variable("gaussian", least_scale=1e-6), Variable("categorical", 3, coded=True)]
    chain = Chain(variables, torch.Generator().manual_seed(0))
    for parameter in chain.network.outputs.parameters():
        torch.nn.init.zeros_(parameter)
    chain.start(Part(x), torch.ones(600), torch.tensor([0.0, 1 / 3, 1 / 3, 1 / 3]))
    with torch.no_grad():
        first, last = (chain.log_prob(Part(x), torch.tensor(order))[:, 0].mean().item() for order in ([0, 1], [1, 0]))
    assert first == pytest.approx(-1.42, abs=0.05)  # of a normal of standard deviation one
    assert last > 1
