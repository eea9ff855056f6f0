"""Two models in one estimator: what belongs to the autoencoder, what to the generator, and that both are right."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import GridSearchCV

from skvae import VAETransformer


@pytest.fixture(scope="module")
def planted():
    """500 rows of twelve columns, non-linear in three hidden factors."""
    rng = np.random.default_rng(0)
    factors, weight = rng.normal(size=(500, 3)), np.random.default_rng(1).normal(size=(3, 12))
    return np.tanh(factors @ weight) + 0.3 * rng.normal(size=(500, 12))


def test_a_grid_search_finds_the_dimension_of_planted_data_by_default(planted):
    """Three factors want four latents, of one, two, four and eight; eight are hardly worse, as they need not be used."""
    search = GridSearchCV(VAETransformer(random_state=1), {"latent_dim": [1, 2, 4, 8]}, cv=5, refit=False).fit(planted)
    assert search.best_params_ == {"latent_dim": 4}
    assert np.ptp(search.cv_results_["mean_test_score"]) > 1


def test_scores_depend_on_the_autoencoder_and_the_density_on_the_generator(planted):
    one, other = (VAETransformer(k, max_iter=10, random_state=0).fit(planted[:300]) for k in (1, 3))
    assert other.score(planted) > one.score(planted) + 0.5
    assert abs(other.log_density(planted).mean() - one.log_density(planted).mean()) < 0.3


def dependent(n, seed):
    """A class, whether it is rare, and two numbers and a count that follow it; log p(class | rest) is known."""
    rng = np.random.default_rng(seed)
    share, means = np.array([0.6, 0.3, 0.1]), np.array([-1.0, 0.5, 2.0])
    kind = rng.choice(3, n, p=share)
    x, y = rng.normal(means[kind], 1), rng.normal(-means[kind], 1)
    frame = pd.DataFrame({"kind": pd.Categorical.from_codes(kind, ["low", "middle", "high"], ordered=True), "x": x, "y": y})
    log_joint = np.log(share) - 0.5 * (x[:, None] - means) ** 2 - 0.5 * (y[:, None] + means) ** 2
    return frame, np.exp(log_joint - np.logaddexp.reduce(log_joint, axis=1, keepdims=True))


def test_conditional_probabilities_are_those_of_bayes_rule():
    vae = VAETransformer(2, random_state=0).fit(dependent(6000, 0)[0])
    test, truth = dependent(2000, 1)
    proba = vae.conditional_proba(test, "kind")
    assert proba.columns.tolist() == ["low", "middle", "high"]  # in the order of the dtype, not of the alphabet
    assert_array_equal(proba.index, test.index)
    assert_allclose(proba.sum(axis=1), 1)
    assert np.abs(proba - truth).to_numpy().mean() < 0.03
    joint = np.column_stack(
        [vae.log_density(test.assign(kind=pd.Categorical([k] * 2000, test["kind"].cat.categories))) for k in proba]
    )
    assert_allclose(proba, np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True)), atol=1e-6)


LEVELS = {
    "strings": (["b", "a", "b"], ["a", "b"]),
    "booleans": ([True, False, True], [False, True]),
    "zeros and ones": ([0, 1, 1], [0, 1]),
    "few integers": ([3, 7, 5], [3, 5, 7]),
    "few floats": ([0.5, 2.5, 1.5], [0.5, 1.5, 2.5]),
    "missing too": (["b", None, "a"], ["a", "b"]),
}


@pytest.mark.parametrize("generator", ["autoregressive", "latent"])
@pytest.mark.parametrize("name", LEVELS)
def test_conditional_probabilities_of_any_column_of_few_values(name, generator):
    cells, levels = LEVELS[name]
    rng = np.random.default_rng(0)
    at = rng.integers(0, 3, 400)
    frame = pd.DataFrame({"a": [cells[k] for k in at], "x": rng.normal(2.0 * at, 1)})
    vae = VAETransformer(2, generator=generator, max_iter=30, random_state=0).fit(frame)
    proba = vae.conditional_proba(frame, "a")
    assert proba.columns.tolist() == levels
    assert_allclose(proba.sum(axis=1), 1)
    true = frame["a"].notna()
    own = proba.to_numpy()[np.flatnonzero(true), [levels.index(cell) for cell in frame["a"][true]]]
    assert own.mean() > sum(frame["a"].value_counts(normalize=True) ** 2) + 0.05  # more than the shares tell
    hidden = frame.assign(a=frame["a"].mask(frame.index < 50)) if name == "missing too" else frame
    assert_allclose(vae.conditional_proba(hidden, "a"), proba)  # its own cells count for nothing


def test_conditional_probabilities_come_in_the_container_of_the_rows():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.integers(0, 3, 200), rng.normal(size=200)])
    proba = VAETransformer(max_iter=2, random_state=0).fit(X).conditional_proba(X[:5], "x0")
    assert isinstance(proba, np.ndarray)
    assert proba.shape == (5, 3)
    frame = pl.DataFrame({"a": X[:, 0].astype(int), "b": X[:, 1]})
    proba = VAETransformer(max_iter=2, random_state=0).fit(frame).conditional_proba(frame, "a")
    assert proba.columns == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("z", r"column is 'z' that fit did not see. Columns: \['a', 'x', 'id'\]"),
        ("x", "column is 'x', which holds more than 20 distinct numbers"),
        ("id", "column is 'id', which is an identifier"),
    ],
)
def test_columns_without_conditional_probabilities(column, message):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.choice(["u", "v"], 60), "x": rng.normal(size=60), "id": [f"N{k}" for k in range(60)]})
    vae = VAETransformer(max_iter=1, random_state=0).fit(frame)
    with pytest.raises(ValueError, match=message):
        vae.conditional_proba(frame, column)
    images = VAETransformer(max_iter=1, random_state=0).fit(rng.normal(size=(20, 4, 4)))
    with pytest.raises(ValueError, match=r"column must be one of a table\. Got 'a'"):
        images.conditional_proba(rng.normal(size=(20, 4, 4)), "a")


@pytest.mark.parametrize("n_samples", [0, 2.5, True])
def test_a_number_of_latents_that_cannot_be(planted, n_samples):
    vae = VAETransformer(max_iter=1, random_state=0).fit(planted)
    with pytest.raises(ValueError, match=r"n_samples must be an int in the range \[1, inf\)"):
        vae.sample_latents(n_samples)


def test_no_parameter_of_the_autoencoder_changes_the_generator(planted):
    one = VAETransformer(1, hidden_layer_sizes=(16,), max_iter=5, random_state=0).fit(planted[:300])
    other = VAETransformer(3, hidden_layer_sizes=(), beta=2.0, max_iter=5, random_state=0).fit(planted[:300])
    assert_array_equal(one.log_density(planted), other.log_density(planted))
    assert_array_equal(one.sample(20, random_state=0), other.sample(20, random_state=0))


def test_as_many_cells_are_missing_in_reconstructions_as_in_rows_that_repeat():
    """Rows that are alike have one probability of a missing cell, and rounding does not decide whether it is missing."""
    table = pd.DataFrame({"city": ["Oslo", "Lima", "Lima", None] * 50, "rooms": [1, 2, 3, 4] * 50})
    vae = VAETransformer(2, random_state=0).fit(table)
    assert vae.inverse_transform(vae.transform(table))["city"].isna().mean() == 0.25
    drawn = vae.inverse_transform(vae.sample_latents(4000, random_state=0))
    assert 0.15 < drawn["city"].isna().mean() < 0.35
