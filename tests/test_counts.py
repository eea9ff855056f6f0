"""Counts: the mathematics of their likelihoods, what goes in and comes out, memory, and what is refused."""

import math
import pickle
import tracemalloc
from itertools import product

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from scipy.sparse import coo_matrix, csc_array, csr_array, csr_matrix, issparse
from scipy.sparse import random as random_sparse
from scipy.special import gammaln
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skvae import VAETransformer
from skvae.count_likelihoods import COUNT_LIKELIHOODS, RootShares, divide, draw_words
from skvae.counts import LIKELIHOODS_OF_COUNTS, Counts, CountsSpec, Totals
from skvae.modalities import Packed
from skvae.rows import Part, Rows, to_part
from skvae.sparse import SparseRows
from skvae.sparse_tensors import SparseTensor

LIKELIHOODS = sorted(COUNT_LIKELIHOODS)


def topics(n_rows=300, n_words=60, n_topics=3, mean_total=40, seed=0):
    """Rows of words of topics, and the shares of topics in each row."""
    rng = np.random.default_rng(seed)
    words = rng.dirichlet(np.full(n_words, 0.1), n_topics)
    mixed = rng.dirichlet(np.full(n_topics, 0.3), n_rows)
    totals = 1 + rng.poisson(mean_total * rng.gamma(4, 1 / 4, n_rows))
    return csr_matrix(np.stack([rng.multinomial(*row) for row in zip(totals, mixed @ words, strict=True)])), mixed


@pytest.fixture(scope="module")
def X():
    return topics()[0]


@pytest.fixture(scope="module")
def fitted(X):
    return VAETransformer(3, likelihood="multinomial", random_state=0).fit(X)


def quick(likelihood="multinomial", **parameters):
    return VAETransformer(2, likelihood=likelihood, max_iter=2, random_state=0, **parameters)


def spec(n_variables, likelihood="multinomial"):
    """Of counts whose rows have totals of about 5."""
    totals = Totals.of(np.array([4.0, 5.0, 6.0, 5.0]), np.ones(4))
    return CountsSpec(likelihood, (1 / n_variables,) * n_variables, totals, 4)


def rng():
    return torch.Generator().manual_seed(0)


# --- likelihoods -----------------------------------------------------------------------------------------------------


def test_names_without_and_with_torch_are_the_same():
    assert set(LIKELIHOODS_OF_COUNTS) == set(COUNT_LIKELIHOODS)


def test_multinomial_adds_up_to_one_over_all_rows_of_a_total():
    every = torch.tensor([row for row in product(range(6), repeat=3) if sum(row) == 5], dtype=torch.float64)
    theta = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    nats = COUNT_LIKELIHOODS["multinomial"](spec(3)).log_prob(every, theta).sum(-1)
    assert nats.exp().sum().item() == pytest.approx(1, abs=1e-12)
    assert_allclose(nats, stats.multinomial(5, theta.softmax(0).numpy()).logpmf(every.numpy()), atol=1e-5)


COUNTED = torch.tensor([[0.0, 3.0, 1.0, 0.0], [12.0, 0.0, 0.0, 7.0]], dtype=torch.float64)
THETA = torch.tensor([[0.2, 1.0, -0.5, 0.0], [1.5, -2.0, 0.1, 0.9]], dtype=torch.float64)
MEANS = (COUNTED.sum(1, keepdim=True) * THETA.softmax(1)).numpy()


def negative_binomial(shape, mean, x):
    return stats.nbinom(shape, shape / (shape + mean)).pmf(x)


def test_counts_given_totals_are_those_of_scipy():
    shape = np.array([0.5, 1.0, 3.0, 20.0])
    likelihood = COUNT_LIKELIHOODS["poisson"](spec(4))
    assert_allclose(likelihood.log_prob(COUNTED, THETA), stats.poisson(MEANS).logpmf(COUNTED.numpy()))
    likelihood = COUNT_LIKELIHOODS["negative_binomial"](spec(4)).double()
    likelihood.log_shape.data = torch.tensor(shape).log()
    expected = negative_binomial(shape, MEANS, COUNTED.numpy())
    assert_allclose(likelihood.log_prob(COUNTED, THETA).exp().detach(), expected)
    likelihood = COUNT_LIKELIHOODS["zero_inflated_negative_binomial"](spec(4)).double()
    likelihood.counts.log_shape.data = torch.tensor(shape).log()
    log_odds = torch.tensor([[-1.0, 0.0, 1.0, 2.0]], dtype=torch.float64).expand(2, -1)
    zero = log_odds.sigmoid().numpy()
    inflated = (1 - zero) * expected + zero * (COUNTED.numpy() == 0)
    assert_allclose(likelihood.log_prob(COUNTED, torch.cat([THETA, log_odds], 1)).exp().detach(), inflated)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_draws_have_the_means_that_are_expected(name):
    likelihood = COUNT_LIKELIHOODS[name](spec(4, name))
    theta = torch.linspace(-1, 1, likelihood.n_params).expand(20_000, -1)
    total = torch.full((20_000, 1), 9.0)
    drawn = likelihood.sample_given(total, theta, rng()).dense().detach()
    mean = likelihood.centre(theta[:1])[0] * 9 / likelihood.totals.mean
    assert_allclose(drawn.mean(0), mean.detach(), rtol=0.1)
    if name == "multinomial":
        assert_array_equal(drawn.sum(1), 9)
        share = theta[0].softmax(0)
        assert_allclose(drawn.var(0), 9 * share * (1 - share), rtol=0.1)


@pytest.mark.parametrize("draw", [draw_words, divide])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_multinomials_are_drawn_word_by_word_or_by_halves(draw, d):
    shares = torch.linspace(-2, 2, d, dtype=torch.float64).softmax(0)
    total = torch.tensor([[0.0], [9.0]]).repeat(20_000, 1)
    drawn = draw(total, shares.expand(40_000, -1), rng()).dense()
    assert_array_equal(drawn.sum(1, keepdim=True), total)
    cov = 9 * (shares.diag() - shares[:, None] * shares)
    assert_allclose(drawn[1::2].mean(0), 9 * shares, atol=0.05)
    assert_allclose(drawn[1::2].T.cov(), cov, atol=0.08)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_large_totals_are_drawn_at_once_and_exactly(name):
    likelihood = COUNT_LIKELIHOODS[name](spec(3, name))
    theta, total = torch.zeros(200, likelihood.n_params), torch.full((200, 1), 3e15 + 1, dtype=torch.float64)
    draws = [likelihood.sample_given(total, theta, rng()).dense().detach() for _ in range(2)]
    assert_array_equal(*draws)
    assert_array_equal(draws[0], draws[0].round())
    assert_allclose(draws[0].mean(), 1e15, rtol=0.5)
    if name == "multinomial":
        assert_array_equal(draws[0].sum(1), 3e15 + 1)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_gradients_are_those_of_differences(name):
    likelihood = COUNT_LIKELIHOODS[name](spec(4, name)).double()
    theta = torch.linspace(-1, 1, 2 * likelihood.n_params, dtype=torch.float64).view(2, -1).requires_grad_()
    torch.autograd.gradcheck(lambda theta, *_: likelihood.log_prob(COUNTED, theta), (theta, *likelihood.parameters()))


def test_features_do_not_know_the_total():
    features = RootShares()
    assert_allclose(features(COUNTED), features(5 * COUNTED))
    assert_allclose(features(COUNTED).norm(dim=1), 10)
    assert_array_equal(features(torch.zeros(1, 4)), 0)


# --- totals ----------------------------------------------------------------------------------------------------------


def test_totals_are_drawn_as_they_are_distributed():
    totals = np.random.default_rng(0).lognormal(4, 0.5, 5000).round()
    totals[:500] = 0
    fitted = Totals.of(totals, np.ones(5000))
    drawn = fitted.quantiles((np.arange(20_000) + 0.5) / 20_000)
    assert (drawn == 0).mean() == pytest.approx(0.1, abs=1e-3)
    assert_allclose(
        np.quantile(drawn[drawn > 0], [0.05, 0.5, 0.95]), np.quantile(totals[500:], [0.05, 0.5, 0.95]), rtol=0.05
    )
    assert_array_equal(drawn, drawn.round())
    assert fitted.mean == pytest.approx(totals[500:].mean())


def test_equal_totals_are_drawn_equal():
    assert set(Totals.of(np.full(50, 7.0), np.ones(50)).quantiles(np.linspace(0.001, 0.999, 99))) == {7.0}


# --- the container ---------------------------------------------------------------------------------------------------


@pytest.fixture
def sparse():
    return SparseTensor.of(SparseRows(random_sparse(9, 5, 0.4, "csr", np.float32, random_state=0)))


def test_sparse_rows_are_picked_as_those_of_a_tensor(sparse):
    dense = sparse.dense()
    assert sparse.shape == dense.shape
    mask = torch.arange(9) % 2 == 0
    for at in (slice(2, 6), torch.tensor([8, 0, 0]), mask, slice(0, 0)):
        assert_array_equal(sparse[at].dense(), dense[at])
        assert_array_equal(sparse[at].numpy().csr.toarray(), dense[at])
        assert len(sparse[at]) == len(dense[at])
    assert_array_equal(sparse.index_select(0, torch.tensor([3, 1])).dense(), dense[[3, 1]])
    assert_array_equal(sparse.has_entries, dense.any(1))
    assert_array_equal(SparseTensor.of_dense(dense).dense(), dense)
    assert sparse.to(torch.float64).dense().dtype == torch.float64


def test_sparse_rows_are_gathered_from_parts(sparse):
    whole = sparse.new_full((9, 5), 0)
    assert not whole.dense().any()
    whole[:4], whole[4:] = sparse[:4], SparseTensor.of_dense(sparse[4:].dense())
    assert_array_equal(whole.dense(), sparse.dense())


def test_rows_move_to_the_end_as_dense_ones_do(sparse):
    dense = Rows((Part(sparse.dense()),), torch.arange(9.0))
    rows = Rows((Part(sparse),), torch.arange(9.0))
    for one in (rows, dense):
        one.move_to_end(np.array([0, 7, 3]))
    assert_array_equal(rows.parts[0].x.dense(), dense.parts[0].x)
    assert_array_equal(rows.weight, dense.weight)
    assert_array_equal(rows.take(slice(6, 9)).parts[0].x.dense(), dense.take(slice(6, 9)).parts[0].x)


def test_packed_counts_are_unpacked_as_they_were(X):
    counts = Counts("multinomial").fit(SparseRows(X), np.ones(X.shape[0]))
    packed = counts.pack(SparseRows(X))
    part = to_part(packed, torch.float32, "cpu")
    [cells] = counts.unpack(part.x.numpy())
    assert (cells.values.csr != X).nnz == 0
    assert isinstance(packed, Packed)


def test_what_is_packed_is_not_the_callers_memory(X):
    unsorted = csr_array(([1.0, 2.0, 0.0, 3.0, 4.0], [2, 0, 1, 1, 1], [0, 3, 5]), shape=(2, 3))
    before = unsorted.data.copy(), unsorted.indices.copy(), unsorted.indptr.copy()
    packed = Counts("multinomial").fit(SparseRows(unsorted), np.ones(2)).pack(SparseRows(unsorted))
    assert_array_equal(packed.values.csr.toarray(), [[2, 0, 1], [0, 7, 0]])
    packed.values.csr.data[:] = 99
    for own, array in zip((unsorted.data, unsorted.indices, unsorted.indptr), before, strict=True):
        assert_array_equal(own, array)


# --- the estimator ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_latents_tell_topics_and_not_totals(name):
    X, mixed = topics()
    vae = VAETransformer(2, likelihood=name, random_state=0).fit(X)
    Z = vae.transform(X)
    design = np.c_[np.ones(len(Z)), Z]
    residual = mixed - design @ np.linalg.lstsq(design, mixed, rcond=None)[0]
    assert 1 - residual.var() / mixed.var() > 0.7
    log_total = np.log(np.asarray(X.sum(1)).ravel())
    assert max(abs(np.corrcoef(z, log_total)[0, 1]) for z in Z.T) < 0.25
    assert vae.explained_information_.min() > 0.3


def test_score_beats_one_topic_and_is_below_the_truth():
    X, mixed = topics(n_rows=1000)
    rng = np.random.default_rng(0)
    words = rng.dirichlet(np.full(60, 0.1), 3)  # as `topics` draws them
    train, test = X[:800], X[800:]
    vae = VAETransformer(2, likelihood="multinomial", random_state=0).fit(train)
    totals = np.asarray(test.sum(1)).ravel()
    ways = gammaln(totals + 1) - gammaln(test.toarray() + 1).sum(1)
    share = (np.asarray(train.sum(0)).ravel() + 0.5) / (train.sum() + 30)
    one_topic = (ways + test @ np.log(share)).mean()
    # given the very shares of topics, that nobody knows
    truth = (ways + np.sum(test.toarray() * np.log(mixed[800:] @ words), 1)).mean()
    assert one_topic + 5 < vae.score(test) < truth


def test_score_samples_is_a_probability_given_the_total():
    """Over all rows of a total of 9, the scores of a fitted model add up to no more than 1, and nearly to that."""
    group = np.random.default_rng(0).integers(0, 2, 300)
    X = np.random.default_rng(1).poisson(np.array([[8.0, 1.0, 0.5], [1.0, 1.0, 8.0]])[group])
    vae = VAETransformer(1, likelihood="multinomial", random_state=0).fit(csr_array(X))
    assert vae.explained_information_[0] > 0.5
    every = np.array([row for row in product(range(10), repeat=3) if sum(row) == 9])
    assert np.exp(vae.score_samples(csr_array(every))).sum() == pytest.approx(1, abs=0.02)


def test_cells_add_up_to_the_score_and_what_latents_tell(fitted, X):
    cells = fitted.score_cells(X[:20])
    assert cells.shape == (20, 60)
    assert (cells.sum(1) >= fitted.score_samples(X[:20]) - 1e-6).all()
    assert_array_equal(cells[X[:20].toarray() == 0], 0)  # of a multinomial, a word that is not there tells nothing


def test_new_documents_are_reduced_whatever_the_other_rows(fitted, X):
    new = topics(seed=1)[0][:7]
    Z = fitted.transform(new)
    assert Z.shape == (7, 3)
    assert_allclose(fitted.transform(new[2:3]), Z[2:3], atol=1e-9)
    assert_array_equal(fitted.log_density(new), fitted.score_samples(new))


def test_expected_counts_are_of_the_mean_total(fitted, X):
    expected = fitted.inverse_transform(fitted.transform(X[:5]))
    assert isinstance(expected, np.ndarray)
    assert_allclose(expected.sum(1), X.sum(1).mean())
    assert ((expected > 0) & (expected % 1 > 0)).any()


def test_empty_rows_have_the_prior_as_posterior(fitted, X):
    empty = csr_matrix((2, 60), dtype=int)
    assert_array_equal(fitted.transform(empty), 0)
    assert_allclose(fitted.score_samples(empty), 0, atol=0.05)
    half = csr_matrix(np.where(np.arange(300)[:, None] % 2, X.toarray(), 0))
    vae = quick().fit(half)
    assert (np.asarray(vae.sample(2000, random_state=0).sum(1)) == 0).mean() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_draws_look_like_the_data(X, likelihood):
    vae = VAETransformer(3, likelihood=likelihood, random_state=0).fit(X)
    drawn = vae.sample(3000, random_state=0)
    assert drawn.sum(1).mean() == pytest.approx(X.sum(1).mean(), rel=0.1)
    means = np.asarray(X.mean(0)).ravel(), np.asarray(drawn.mean(0)).ravel()
    assert np.corrcoef(*means)[0, 1] > 0.98
    assert drawn.nnz / np.prod(drawn.shape) == pytest.approx(X.nnz / np.prod(X.shape), rel=0.15)


# --- what goes in comes out ------------------------------------------------------------------------------------------

KINDS = {
    "csr_matrix": csr_matrix,
    "csr_array": csr_array,
    "int32": lambda X: csr_array(X, dtype=np.int32),
    "float32": lambda X: csr_matrix(X, dtype=np.float32),
}


@pytest.mark.parametrize("kind", KINDS)
def test_draws_are_sparse_of_the_kind_that_fit_saw(kind, X):
    given = KINDS[kind](X)
    drawn = quick().fit(given).sample(4)
    assert type(drawn) is type(given)
    assert drawn.dtype == given.dtype
    assert drawn.shape == (4, 60)


@pytest.mark.parametrize("other", [coo_matrix, csc_array, lambda X: X.toarray()])
def test_other_forms_give_the_same_latents(other, X, fitted):
    assert_allclose(fitted.transform(other(X)), fitted.transform(X))
    assert_allclose(quick().fit(other(X)).transform(X), quick().fit(X).transform(X))


def test_sparse_frames_come_back(X):
    names = [f"w{j}" for j in range(60)]
    frame = pd.DataFrame.sparse.from_spmatrix(X.astype(np.int32), columns=names, index=np.arange(300) + 5)
    vae = quick().fit(frame)
    drawn = vae.sample(4)
    assert_array_equal(drawn.dtypes, frame.dtypes)
    assert_array_equal(drawn.columns, frame.columns)
    assert_allclose(vae.transform(frame), quick().fit(X).transform(X))
    expected = vae.inverse_transform(vae.transform(frame))
    assert list(expected.columns) == names
    assert set(expected.dtypes) == {np.dtype(float)}
    assert vae.score_cells(frame).shape == frame.shape
    assert_array_equal(vae.feature_names_in_, names)


@pytest.mark.parametrize("library", ["pandas", "polars", "numpy"])
def test_dense_rows_of_a_multinomial_come_back(X, library):
    make = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "numpy": np.asarray}[library]
    dense = make(X.toarray())
    if library != "numpy":
        dense.columns = [f"w{j}" for j in range(60)]
    vae = quick().fit(dense)
    drawn, expected = vae.sample(4), vae.inverse_transform(vae.transform(dense))
    assert type(drawn) is type(dense)
    assert type(expected) is type(dense)
    assert drawn.shape == (4, 60)
    assert np.asarray(drawn).dtype == np.asarray(dense).dtype
    assert_allclose(np.asarray(expected).sum(1), X.sum(1).mean())
    assert_allclose(vae.transform(dense), quick().fit(X).transform(X))


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_sparse_frames_of_several_dtypes_come_back(X, likelihood):
    dtypes = np.resize([bool, np.int8, np.int64, np.float16, np.float64], 60)
    frame = pd.DataFrame(X.toarray().clip(0, 1)).astype({j: pd.SparseDtype(dtype) for j, dtype in enumerate(dtypes)})
    frame = frame.astype({j: pd.SparseDtype(dtype, 0) for j, dtype in enumerate(dtypes) if dtype not in (bool, np.int8)})
    vae = quick(likelihood).fit(frame)
    assert_array_equal(vae.sample(4).dtypes, frame.dtypes)
    assert_array_equal(vae.transform(frame), quick(likelihood).fit(csr_matrix(frame.astype(float))).transform(frame))


def test_python_objects_and_wide_integers_are_read(X):
    objects = X.toarray().astype(object)
    vae = quick().fit(objects)
    drawn = vae.sample(4)
    assert drawn.dtype == object
    assert set(map(type, drawn.flat)) == {int}
    assert_array_equal(vae.transform(objects), quick().fit(X.toarray()).transform(X.toarray()))
    frame = pl.DataFrame(X.toarray()).cast(pl.Int128)
    assert quick().fit(frame).sample(4).dtypes == frame.dtypes


SMALL = {
    "csr_matrix": csr_matrix,
    "numpy": np.asarray,
    "pandas": pd.DataFrame,
    "nullable": lambda X: pd.DataFrame(X).convert_dtypes(),
    "polars": lambda X: pl.DataFrame(X, schema=["a", "b", "c", "d"]),
    "sparse frame": lambda X: pd.DataFrame(X).astype(pd.SparseDtype(X.dtype)),
}


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, bool])
@pytest.mark.parametrize("form", SMALL)
def test_draws_end_at_the_greatest_number_of_a_small_dtype(form, dtype):
    greatest = 1 if dtype is bool else np.iinfo(dtype).max
    counts = np.random.default_rng(0).poisson(greatest * 0.8, (100, 4)).clip(0, greatest).astype(dtype)
    X = SMALL[form](counts)
    vae = quick().fit(X)
    drawn, expected = vae.sample(300), np.asarray(vae.inverse_transform(vae.transform(X)))
    assert [*getattr(drawn, "dtypes", [])] == [*getattr(X, "dtypes", [])]
    values = drawn.toarray() if issparse(drawn) else np.asarray(drawn).astype(float)
    assert values.max() == greatest
    assert values.min() >= (0 if dtype is bool else greatest // 2)
    assert expected.max() <= greatest


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_draws_of_every_likelihood_do_not_wrap_around(name):
    X = csr_matrix(np.random.default_rng(0).poisson(100, (100, 4)).clip(0, 127).astype(np.int8))
    drawn = quick(name).fit(X).sample(300)
    assert drawn.dtype == np.int8
    assert 0 <= drawn.min() < drawn.max() == 127


def test_dense_counts_of_other_likelihoods_remain_columns(X):
    vae = VAETransformer(2, likelihood="poisson", max_iter=2, random_state=0).fit(X.toarray()[:, :5])
    assert vae.generator_ == "autoregressive"
    with pytest.raises(TypeError, match="Sparse data was passed for X"):
        vae.transform(X[:, :5])


def test_reproducible_and_pickled(X):
    vae, same = quick().fit(X), quick().fit(X)
    assert_array_equal(vae.transform(X), same.transform(X))
    again = pickle.loads(pickle.dumps(vae))
    assert_array_equal(again.transform(X), vae.transform(X))
    assert (again.sample(5, random_state=1) != vae.sample(5, random_state=1)).nnz == 0
    assert (again.sample(5) != vae.sample(5)).nnz == 0


def test_pickles_hold_no_training_rows():
    few, many = (len(pickle.dumps(quick().fit(topics(n)[0]))) for n in (200, 800))
    assert many < few + 10_000


def test_pipeline_names_and_search():
    texts = ["the cat sat on the mat", "a dog ran in the park", "cats and dogs", "parks and mats"] * 10
    pipe = make_pipeline(CountVectorizer(), quick(generator="latent"))
    search = GridSearchCV(pipe, {"vaetransformer__beta": [0.5, 1.0]}, cv=2).fit(texts)
    assert np.isfinite(search.best_score_)
    best = search.best_estimator_
    assert list(best.get_feature_names_out()) == ["vaetransformer0", "vaetransformer1"]
    best[-1].set_output(transform="pandas")
    assert list(best.transform(texts).columns) == ["vaetransformer0", "vaetransformer1"]


def test_stream_weights_held_out_rows_and_warm_start(X):
    vae = quick().partial_fit(X[:100]).partial_fit(X[100:])
    assert vae.n_iter_ == 2
    weight = np.r_[np.ones(200), np.zeros(100)]
    weighted = quick().fit(X, sample_weight=weight)
    assert_allclose(weighted.transform(X), quick().fit(X[:200]).transform(X), atol=1e-5)
    watched = quick().fit(X[:200], X_val=X[200:])
    assert len(watched.validation_scores_) == watched.n_iter_
    assert len(quick(early_stopping=False).fit(X).loss_curve_) == 2
    warm = quick(warm_start=True).fit(X)
    first = warm.score(X)
    assert warm.fit(X).score(X) > first


def test_weights_are_those_of_repeated_rows(X):
    part = Counts("multinomial")
    weighted = part.fit(SparseRows(X[:50]), np.r_[np.full(10, 3.0), np.ones(40)]).spec
    repeated = Counts("multinomial").fit(SparseRows(X[np.r_[:10, :10, :10, 10:50]]), np.ones(70)).spec
    assert_allclose(weighted.shares, repeated.shares)
    assert weighted.totals.mean == pytest.approx(repeated.totals.mean)


def test_tags_say_who_takes_sparse():
    for likelihood in ("auto", "gaussian", {"a": "poisson"}):
        assert not VAETransformer(likelihood=likelihood).__sklearn_tags__().input_tags.sparse
    for likelihood in LIKELIHOODS:
        assert VAETransformer(likelihood=likelihood).__sklearn_tags__().input_tags.sparse


# --- memory ----------------------------------------------------------------------------------------------------------


def test_memory_follows_the_counts_that_are_there():
    """Dense, these rows would take 160 MB as float32."""
    X = random_sparse(8000, 5000, 0.001, "csr", np.int64, random_state=0, data_rvs=lambda n: np.ones(n, int))
    schema_free = Counts("multinomial").fit(SparseRows(X), np.ones(8000))
    tracemalloc.start()
    packed = schema_free.pack(SparseRows(X))
    part = to_part(packed, torch.float32, "cpu")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    stored = sum(t.numel() * t.element_size() for t in (part.x.starts, part.x.columns, part.x.values, part.x.rows))
    assert peak < 3e6
    assert stored < 1e6


def test_a_fit_never_has_all_rows_dense(monkeypatch):
    X = random_sparse(8000, 1500, 0.003, "csr", np.int64, random_state=0, data_rvs=lambda n: np.ones(n, int))
    sizes, dense = [], SparseTensor.dense

    def counted(self):
        sizes.append(len(self))
        return dense(self)

    monkeypatch.setattr(SparseTensor, "dense", counted)
    vae = VAETransformer(2, likelihood="multinomial", hidden_layer_sizes=8, max_iter=1, random_state=0).fit(X)
    vae.transform(X)
    assert max(sizes) <= 2048
    assert sum(sizes) > 3 * 8000


# --- refused ---------------------------------------------------------------------------------------------------------


def with_cell(value):
    X = np.ones((6, 3))
    X[4, 1] = value
    return X


REFUSED = {
    "negative": (csr_matrix(with_cell(-1)), r"got -1 in row 4 of column 1\. Give the counts themselves"),
    "fractional": (csr_matrix(with_cell(0.5)), r"got 0\.5 in row 4 of column 1\. .*CountVectorizer, not TfidfVectorizer"),
    "missing": (csr_matrix(with_cell(np.nan)), r"got nan in row 4 of column 1\. Write 0"),
    "infinite": (csr_matrix(with_cell(np.inf)), r"got inf in row 4 of column 1"),
    "dense": (with_cell(-2), r"Negative .* got -2 in row 4 of column 1"),
    "frame": (pd.DataFrame(with_cell(0.5), columns=["a", "b", "c"]), r"got 0\.5 in row 4 of column 'b'"),
    "all empty": (csr_matrix((6, 3)), "Every count of the 6 rows is zero"),
    "no row": (csr_matrix((0, 3)), "0 sample"),
    "no column": (csr_matrix((6, 0)), "0 feature"),
    "filled": (pd.DataFrame(with_cell(np.nan)).astype(pd.SparseDtype(float)), r"Column 0 has .* nan\], .* X\.fillna"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_count_is_refused(name):
    X, message = REFUSED[name]
    vae = VAETransformer(likelihood="multinomial")
    with pytest.raises(ValueError, match=message):
        vae.fit(X)
    assert vars(vae) == vars(VAETransformer(likelihood="multinomial"))


def test_what_cannot_be_done_with_counts_is_refused(fitted, X):
    with pytest.raises(ValueError, match="X has 59 features, but VAETransformer is expecting 60 features"):
        fitted.transform(X[:, :59])
    with pytest.raises(ValueError, match="given must be None for counts"):
        fitted.sample(2, given={"x0": 3})
    with pytest.raises(ValueError, match="impute fills missing cells, and counts have none"):
        fitted.impute(X)
    with pytest.raises(ValueError, match="generator='autoregressive' cannot generate such rows"):
        quick(generator="autoregressive").fit(X)
    with pytest.raises(ValueError, match="image_shape must be None for counts"):
        quick(image_shape=(6, 10)).fit(X)
    with pytest.raises(TypeError, match="Column 'a' has dtype"):
        quick().fit(pd.DataFrame({"a": ["x", "y"], "b": [1, 2]}))


def test_cells_that_are_no_numbers_are_named():
    X = np.ones((6, 3), dtype=object)
    X[4, 1] = "a"
    with pytest.raises(TypeError, match=r"X holds 'a', a str, in row 4 of column 1, .* Convert X to numbers"):
        quick().fit(X)
    X[4, 1] = None
    with pytest.raises(ValueError, match=r"got nan in row 4 of column 1\. Write 0"):
        quick().fit(X)


@pytest.mark.parametrize("name", LIKELIHOODS)
@pytest.mark.parametrize("scale", [1e16, 1e300, 1e308])
def test_counts_beyond_whole_numbers_are_refused(name, scale):
    X = with_cell(1)
    X[3] *= scale
    with pytest.raises(ValueError, match=r"counts of row 3 add up to (3e\+16|3e\+300|inf), beyond .* Scale them down"):
        quick(name).fit(csr_matrix(X))


def test_large_counts_come_back():
    X = np.random.default_rng(0).poisson(100, (100, 3)) * 10**13
    drawn = quick().fit(X).sample(100)
    assert drawn.dtype == X.dtype
    assert X.sum(1).min() <= drawn.sum(1).min() < drawn.sum(1).max() <= X.sum(1).max()


def test_rows_that_are_not_flat_are_refused():
    with pytest.raises(ValueError, match=r"rows of shape \(3, 4\), but likelihood='multinomial' takes .* flat: X\.reshape"):
        quick().fit(np.ones((6, 3, 4)))


@pytest.mark.parametrize("likelihood", ["auto", "poisson"])
@pytest.mark.parametrize("other", [[1, 2, 3], [np.ones((4, 4))] * 3])
def test_sparse_columns_beside_others_are_refused(likelihood, other):
    X = pd.DataFrame({"a": pd.arrays.SparseArray([0, 1, 2]), "b": other})
    with pytest.raises(TypeError, match=r"Column 'a': .* X\['a'\]\.sparse\.to_dense\(\)"):
        VAETransformer(2, likelihood=likelihood).fit(X)


@pytest.mark.parametrize("likelihood", ["auto", "gaussian", {"x0": "poisson"}])
def test_sparse_rows_of_other_likelihoods_are_refused(likelihood, X):
    with pytest.raises(
        TypeError, match=r"Sparse data was passed for X.*fit with a likelihood among 'multinomial', 'poisson'"
    ):
        VAETransformer(likelihood=likelihood).fit(X)


def test_scores_are_finite_for_a_word_that_fit_never_saw(X):
    seen = X.toarray()
    seen[:, 7] = 0
    vae = quick().fit(csr_matrix(seen))
    new = csr_matrix(([1], ([0], [7])), shape=(1, 60))
    assert math.isfinite(vae.score(new))
    assert vae.score(new) < vae.score(csr_matrix(([1], ([0], [int(seen.sum(0).argmax())])), shape=(1, 60)))
    assert issparse(vae.sample(1))
