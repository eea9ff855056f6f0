"""What `VAETransformer` promises: the semantics of fit, transform, sample and score, and what it refuses."""

import pickle
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.neighbors import KNeighborsClassifier

from skvae import VAETransformer
from skvae.autoencoder import Autoencoder
from skvae.generators import ChainGenerator
from skvae.priors import PRIORS
from skvae.rows import to_rows


@pytest.fixture(scope="module")
def X():
    return load_iris(return_X_y=True)[0]


@pytest.fixture(scope="module")
def iris_vae(X):
    return VAETransformer(random_state=0).fit(X)


@pytest.fixture(scope="module")
def mixed_vae(mixed_frame):
    return VAETransformer(latent_dim=3, random_state=0).fit(mixed_frame)


def linear_gaussian(n, rng):
    """Rows of a linear-Gaussian model in odd units, and the function of its log-density."""
    loadings, scale = rng.normal(size=(2, 6)), np.array([1.0, 10, 0.1, 3, 100, 0.01])
    covariance = (loadings.T @ loadings + 0.3 * np.eye(6)) * np.outer(scale, scale)
    normal = torch.distributions.MultivariateNormal(torch.zeros(6).double(), torch.as_tensor(covariance))
    rows = rng.multivariate_normal(np.zeros(6), covariance, n)
    return rows, lambda X: normal.log_prob(torch.as_tensor(X)).numpy()


# --- score -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden_layer_sizes", [(), (256, 256)])
def test_score_of_known_density_is_within_a_twentieth_of_a_nat(hidden_layer_sizes):
    rows, log_density = linear_gaussian(12_000, np.random.default_rng(0))
    train, test = rows[:10_000], rows[10_000:]
    vae = VAETransformer(2, hidden_layer_sizes=hidden_layer_sizes, max_iter=20, random_state=0).fit(train)
    difference = vae.score_samples(test) - log_density(test)
    assert difference.mean() == pytest.approx(0, abs=0.05)
    assert difference.mean() < 2 * difference.std() / np.sqrt(len(test))


def test_rescaling_a_column_moves_the_score_by_the_log_jacobian(X):
    factor = np.array([1.0, 2.0, 1.0, 8.0])  # powers of two: nothing else changes
    other = VAETransformer(max_iter=5, random_state=0).fit(X * factor)
    one = VAETransformer(max_iter=5, random_state=0).fit(X)
    assert_allclose(other.score_samples(X * factor), one.score_samples(X) - np.log(factor).sum(), rtol=1e-9)


@pytest.mark.filterwarnings("ignore:The latents carry no information")  # of a large beta that is right
@pytest.mark.parametrize("beta", [0.1, 0.3, 1.0, 3.0])
def test_scores_integrate_to_one_whatever_beta(beta):
    """Over a grid of the plane, within the error of one block of noise: so scores of models can be compared."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 2)) @ [[1, 0.8], [0, 0.6]]
    vae = VAETransformer(beta=beta, hidden_layer_sizes=(32,), random_state=0).fit(X)
    axis = np.arange(-6, 6, 0.1)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    assert 0.9 < np.exp(vae.score_samples(grid)).sum() * 0.1**2 < 1.03


ONE_COLUMN = {
    "booleans": ([True, False, False] * 100, [True, False]),
    "categories": (["a", "b", "b"] * 100, ["a", "b"]),
    "zeros and ones": ([0.0, 1.0, 1.0] * 100, [0.0, 1.0]),
    "small integers": (list(range(6)) * 50, list(range(-5, 12))),
    "floats": (np.random.default_rng(0).normal(size=300), np.arange(-6, 6, 0.01)),
}


@pytest.mark.parametrize("name", ONE_COLUMN)
@pytest.mark.parametrize("latent_dim", [1, 3])
@pytest.mark.parametrize("missing", [False, True])
def test_one_column_has_the_probabilities_of_its_values(name, latent_dim, missing):
    """Also with more latents than there is to tell, which must not draw the model away from the marginal."""
    column, values = ONE_COLUMN[name]
    frame, grid = pd.DataFrame({"a": column}), pd.DataFrame({"a": values})
    if missing:
        frame["a"] = frame["a"].astype(object if name in ("booleans", "small integers") else None or frame["a"].dtype)
        frame.loc[::4, "a"] = None
        grid["a"] = grid["a"].astype(frame["a"].dtype)
        grid.loc[len(grid), "a"] = None
    vae = VAETransformer(latent_dim, max_iter=10, hidden_layer_sizes=(16,), random_state=0).fit(frame)
    width = np.where(grid["a"].isna(), 1, 0.01 if name == "floats" else 1)
    assert 0.93 < (np.exp(vae.score_samples(grid)) * width).sum() < 1.03  # a lower bound of each, so less than one


def test_discrete_columns_are_scored_as_probabilities():
    """Independent columns whose entropies are known: the score is minus their sum."""
    rng = np.random.default_rng(0)
    n, weights = 20_000, np.array([0.5, 0.3, 0.2])
    frame = pd.DataFrame(
        {"letter": rng.choice(["a", "b", "c"], n, p=weights), "flag": rng.random(n) < 0.2, "n": rng.poisson(400, n)}
    )
    entropy = -(weights @ np.log(weights)) - (0.2 * np.log(0.2) + 0.8 * np.log(0.8)) + 0.5 * np.log(2 * np.pi * np.e * 400)
    assert VAETransformer(max_iter=3, random_state=0).fit(frame).score(frame) == pytest.approx(-entropy, abs=0.03)


def test_missing_cells_are_scored_as_missing(mixed_vae, mixed_frame):
    """A missing cell's probability is in the score, its value is not: only-missing columns are a Bernoulli."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": np.where(rng.random(20_000) < 0.3, np.nan, rng.normal(size=20_000))})
    vae = VAETransformer(1, max_iter=5, random_state=0).fit(frame)
    score = vae.score_samples(frame)
    assert_allclose(score[frame["a"].isna()], np.log(0.3), atol=0.05)
    exact = np.log(0.7) - 0.5 * frame["a"] ** 2 - 0.5 * np.log(2 * np.pi)
    assert np.nanmean(score - exact) == pytest.approx(0, abs=0.05)


def test_score_is_the_mean_and_the_same_twice(iris_vae, X):
    assert iris_vae.score(X) == iris_vae.score_samples(X).mean()
    assert_array_equal(iris_vae.score_samples(X), iris_vae.score_samples(X))


def test_score_beats_pca_out_of_sample(X):
    train, test = train_test_split(X, random_state=0)
    assert VAETransformer(2, random_state=0).fit(train).score(test) > PCA(2).fit(train).score(test)


# --- transform -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rows_do_not_depend_on_each_other(X, dtype):
    X = X.astype(dtype)
    vae = VAETransformer(random_state=0).fit(X)
    for method in (vae.transform, vae.score_samples):
        whole = method(X)
        assert whole.dtype == dtype
        alone = np.concatenate([method(row[None]) for row in X])
        assert_allclose(
            alone, whole, **({"rtol": 1e-7, "atol": 1e-7} if dtype == np.float64 else {"rtol": 1e-4, "atol": 1e-4})
        )


def test_results_do_not_depend_on_the_chunk(mixed_vae, mixed_frame):
    with sklearn.config_context(working_memory=1):
        chunked = mixed_vae.transform(mixed_frame), mixed_vae.score_samples(mixed_frame)
    assert_allclose(chunked[0], mixed_vae.transform(mixed_frame), rtol=1e-9, atol=1e-9)
    assert_allclose(chunked[1], mixed_vae.score_samples(mixed_frame), rtol=1e-9)


def test_latents_are_ordered_by_information():
    """The figures are those of the latents as they come out, whatever order training left them in."""
    X = load_digits().images
    vae = VAETransformer(8, max_iter=10, random_state=1).fit(X)
    information = vae.explained_information_
    assert (np.diff(information) <= 0).all()
    assert information[0] > 0.5
    with torch.inference_mode():
        rows = to_rows(vae._schema, X, np.ones(len(X)), "cpu")
        recomputed = vae.module_.autoencoder._means_over(rows, vae.module_.read)[0]
    assert_allclose(recomputed, information, rtol=1e-4)
    assert vae.module_.autoencoder.encoder.order.tolist() != list(range(8))  # they did change places


def test_rows_without_a_cell_are_at_the_prior_mean(mixed_frame):
    vae = VAETransformer(3, max_iter=5, random_state=0).fit(mixed_frame)
    seen = np.arange(5) < 2
    Z = vae.transform(mixed_frame[:5].where(np.repeat(seen[:, None], mixed_frame.shape[1], 1)))
    assert_array_equal(Z[2:], 0)
    assert (Z[:2] != 0).all()


def test_more_latents_than_columns(X):
    vae = VAETransformer(10, random_state=0).fit(X)
    assert vae.transform(X).shape == (150, 10)
    assert vae.explained_information_[-1] < 0.05
    assert np.isfinite(vae.score(X))


def test_digits_are_told_apart_better_than_by_pca():
    X, y = load_digits(return_X_y=True)
    train, test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

    def accuracy(reduce):
        return KNeighborsClassifier().fit(reduce.fit_transform(train), y_train).score(reduce.transform(test), y_test)

    assert accuracy(VAETransformer(2, image_shape=(8, 8), random_state=0)) > accuracy(PCA(2)) + 0.15


def test_a_row_of_missing_cells_only(mixed_vae, mixed_frame):
    empty = mixed_frame.iloc[:1].copy()
    for column in mixed_frame.columns[mixed_frame.isna().any()]:
        empty[column] = empty[column].where(empty[column].isna() & False)
    assert np.isfinite(mixed_vae.transform(empty)).all()


# --- sample and inverse_transform ------------------------------------------------------------------------------------


def test_sample_comes_in_the_form_of_the_fit(mixed_vae, mixed_frame):
    sample = mixed_vae.sample(300)
    assert (sample.dtypes == mixed_frame.dtypes).all()
    assert_array_equal(sample.columns, mixed_frame.columns)
    assert set(sample["colour"].dropna()) == {"red", "green", "blue"}
    assert list(sample["size"].cat.categories) == ["S", "M", "L", "XL"]
    assert sample["age"].between(0, mixed_frame["age"].max() + 20).all()  # ages have a sign, and no greatest value
    assert_array_equal(sample["income"], sample["income"].round(2))


def test_sample_has_the_distribution_of_the_data(mixed_vae, mixed_frame):
    sample = mixed_vae.sample(4000, random_state=0)
    assert_allclose(sample.isna().mean(), mixed_frame.isna().mean(), atol=0.03)
    assert_allclose(
        sample["colour"].value_counts(normalize=True).sort_index(),
        mixed_frame["colour"].value_counts(normalize=True).sort_index(),
        atol=0.06,
    )
    # dependence between columns of different kinds
    by_group = [f.groupby("colour")["member"].mean() for f in (sample, mixed_frame)]
    assert_allclose(*by_group, atol=0.12)
    assert sample["income"].std() == pytest.approx(mixed_frame["income"].std(), rel=0.15)


def test_sample_draws_where_inverse_transform_takes_the_centre():
    """A rare category of an independent column is drawn as often as it occurs, and is never the mode."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"rare": rng.choice(["yes", "no"], 2000, p=[0.1, 0.9]), "x": rng.normal(size=2000)})
    vae = VAETransformer(max_iter=10, random_state=0).fit(frame)
    assert (vae.sample(4000, random_state=0)["rare"] == "yes").mean() == pytest.approx(
        (frame["rare"] == "yes").mean(), abs=0.03
    )
    assert (vae.inverse_transform(np.zeros((5, 2)))["rare"] == "no").all()
    assert vae.sample(4000, random_state=0)["x"].std() == pytest.approx(1, abs=0.1)


def test_cells_are_missing_as_often_as_in_the_data(mixed_vae, mixed_frame):
    rates = mixed_frame.isna().mean()
    rebuilt = mixed_vae.inverse_transform(mixed_vae.transform(mixed_frame))
    assert_allclose(rebuilt.isna().mean(), rates, atol=0.005)
    assert_allclose(mixed_vae.sample(4000, random_state=0).isna().mean(), rates, atol=0.025)


def test_sample_streams():
    X = load_iris(return_X_y=True)[0]
    one, two = (VAETransformer(max_iter=2, random_state=0).fit(X) for _ in range(2))
    first = one.sample(4)
    assert_array_equal(first, two.sample(4))  # a script repeats
    assert (first != one.sample(4)).any()  # calls differ
    assert_array_equal(one.sample(4, random_state=1), one.sample(4, random_state=1))
    assert one.sample().shape == (1, 4)


@pytest.mark.parametrize("container", ["array", "pandas", "polars"])
def test_inverse_transform_reconstructs(X, container):
    data = {"array": X, "pandas": pd.DataFrame(X, columns=list("abcd")), "polars": pl.DataFrame(X, schema=list("abcd"))}[
        container
    ]
    vae = VAETransformer(2, random_state=0).fit(data)
    back = vae.inverse_transform(vae.transform(data))
    assert type(back) is type(data)
    error = ((np.asarray(back) - X) ** 2).sum() / ((X - X.mean(0)) ** 2).sum()
    assert error < 0.06


@pytest.mark.parametrize("shape", [(6, 6), (6, 6, 3), (3, 6, 6)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, bool])
def test_images_keep_shape_dtype_and_range(shape, dtype):
    rng = np.random.default_rng(0)
    level = rng.random((80, *[1] * len(shape)))
    X = {
        np.uint8: lambda: (255 * level * np.ones(shape)).astype(np.uint8),
        np.float32: lambda: (level + 0.1 * rng.random((80, *shape))).astype(np.float32),
        bool: lambda: rng.random((80, *shape)) < level,
    }[dtype]()
    vae = VAETransformer(1, max_iter=30, random_state=0).fit(X)
    assert vae.n_features_in_ == np.prod(shape)
    for out in (vae.sample(5), vae.inverse_transform(vae.transform(X))):
        assert out.dtype == dtype
        assert out.shape[1:] == shape
        assert out.min() >= X.min()
        assert out.max() <= max(X.max(), 255 if dtype == np.uint8 else 0)
    correlation = np.corrcoef(vae.transform(X)[:, 0], level.ravel())[0, 1]
    assert abs(correlation) > 0.9


def test_flat_images_with_their_shape_are_the_images():
    X = load_digits().images
    flat = VAETransformer(max_iter=2, image_shape=(8, 8), random_state=0).fit(X.reshape(len(X), -1))
    images = VAETransformer(max_iter=2, random_state=0).fit(X)
    assert_array_equal(flat.transform(X), images.transform(X))
    assert_array_equal(flat.transform(X.reshape(len(X), -1)), images.transform(X))
    assert flat.sample(2).shape == (2, 64)
    assert images.sample(2).shape == (2, 8, 8)


def test_frames_of_pixels_are_images():
    digits = load_digits(as_frame=True).data
    of_frame = VAETransformer(max_iter=2, image_shape=(8, 8), random_state=0).fit(digits)
    of_array = VAETransformer(max_iter=2, image_shape=[8, 8], random_state=0).fit(digits.to_numpy())
    assert of_frame.sample(2).shape == (2, 64)
    assert_array_equal(of_frame.feature_names_in_, digits.columns)
    assert_array_equal(of_frame.transform(digits), of_array.transform(digits.to_numpy()))


def test_a_level_beyond_the_greatest_that_fit_saw_is_a_pixel_too():
    """As far as the natural range: one bright pixel does not make a fold NaN, and is no likelier than the greatest seen."""
    rng = np.random.default_rng(0)
    for X, brighter, beyond in (
        (rng.integers(0, 16, (200, 6, 6)).astype(float), 16.0, 256.0),
        (rng.integers(0, 200, (200, 6, 6)) / 255, 1.0, 1.1),
        (rng.integers(0, 100, (200, 6, 6)), 255, 300),
    ):
        vae = VAETransformer(max_iter=2, random_state=0).fit(X)
        bright, own = X[:5].copy(), X[:5].copy()
        bright[:, 0, 0], own[:, 0, 0] = brighter, X.max()
        assert (vae.score_cells(bright)[:, 0, 0] <= vae.score_cells(own)[:, 0, 0]).all()
        assert np.isfinite(vae.transform(bright)).all()
        assert vae.sample(50).max() <= X.max()
        bright[0, 0, 0] = beyond
        with pytest.raises(ValueError, match=f"got {beyond:g}. Scale X"):
            vae.transform(bright)


def test_folds_of_bright_and_dark_images_have_scores():
    images = load_digits().images[:300] * (np.arange(300) < 299)[:, None, None] * 0.5
    images[-1] = load_digits().images[-1]
    images = images.round()
    scores = cross_val_score(VAETransformer(max_iter=2, random_state=0), images, cv=3, error_score="raise")
    assert np.isfinite(scores).all()


def test_the_start_looks_at_rows_of_every_kind_where_they_are_sorted():
    """Images of more than a thousand pixels, dark ones first: the encoder's centre is the mean of all."""
    rng = np.random.default_rng(0)
    X = (np.linspace(0, 200, 4000)[:, None] + rng.normal(20, 5, (4000, 1025))).clip(0, 255).astype(np.uint8)
    vae = VAETransformer(1, image_shape=(25, 41), hidden_layer_sizes=(), early_stopping=False, random_state=0)
    stream = np.random.RandomState(0)
    rows, _ = vae._prepare(X, None, False, 2)
    module = vae._new_module(rows, stream)
    spread = module.read(rows).parts[0].x.mean(1).std()
    assert module.autoencoder.encoder.embeddings[0].centre.abs().max() < 0.15 * spread
    bias = module.autoencoder.decoders[0].path.bias
    assert bias.abs().max() < 0.05 * spread


def test_the_encoder_is_a_module_by_itself(X):
    """From packed cells to latents, in the order of `transform`: it can be exported."""
    vae = VAETransformer(3, max_iter=5, random_state=0).fit(X)
    encoder = vae.module_.autoencoder.encoder
    packed = torch.tensor(vae._schema.pack(X)[0].values, dtype=torch.float32)
    exported = torch.export.export(encoder, (packed, None)).module()
    with torch.no_grad():
        mean, log_scale = exported(packed, None)
    assert_allclose(mean.numpy(), vae.transform(X), atol=1e-5)
    assert log_scale.shape == mean.shape
    holed = np.where(np.random.default_rng(0).random(X.shape) < 0.2, np.nan, X)
    vae = VAETransformer(3, max_iter=5, random_state=0).fit(holed)
    values, observed, _ = vae._schema.pack(holed)[0]
    inputs = torch.tensor(values, dtype=torch.float32), torch.tensor(observed)
    exported = torch.export.export(vae.module_.autoencoder.encoder, inputs).module()
    with torch.no_grad():
        assert_allclose(exported(*inputs)[0].numpy(), vae.transform(holed), atol=1e-5)


@pytest.mark.parametrize("X", [np.full((40, 3, 3), 7), np.zeros((40, 3, 3), bool), np.zeros((40, 3, 3), np.uint8)])
def test_constant_images_are_certain_not_more(X):
    score = VAETransformer(max_iter=5, random_state=0).fit(X).score(X)
    assert -0.5 < score <= 1e-6


def test_grey_images_as_shares_of_yes_reconstruct_to_grey():
    X = load_digits().images / 16
    vae = VAETransformer(2, likelihood="bernoulli", max_iter=30, random_state=0).fit(X)
    back = vae.inverse_transform(vae.transform(X))
    assert ((back > 0.2) & (back < 0.8)).mean() > 0.1
    assert set(np.unique(vae.sample(5))) == {0.0, 1.0}


# --- fit -------------------------------------------------------------------------------------------------------------

FIT_IN_ANOTHER_PROCESS = """
import numpy as np, torch
torch.set_num_threads(1)
from sklearn.datasets import load_iris
from skvae import VAETransformer
X = load_iris(return_X_y=True)[0]
vae = VAETransformer(max_iter=5, random_state=0).fit(X)
print(vae.transform(X).tobytes().hex(), vae.sample(3).tobytes().hex())
"""


def test_same_seed_same_bits_in_two_processes():
    runs = [
        subprocess.run([sys.executable, "-c", FIT_IN_ANOTHER_PROCESS], capture_output=True, check=True) for _ in range(2)
    ]
    assert runs[0].stdout == runs[1].stdout
    assert len(runs[0].stdout) > 1000


def test_nothing_global_changes(mixed_frame):
    def state():
        return (
            torch.get_rng_state().numpy().tobytes(),
            np.random.get_state()[1].tobytes(),
            torch.get_num_threads(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(),
        )

    before = state()
    vae = VAETransformer(max_iter=2).fit(mixed_frame)
    vae.sample(3), vae.score(mixed_frame), vae.inverse_transform(vae.transform(mixed_frame))
    assert state() == before


IMPORT_IN_ANOTHER_PROCESS = """
import random, time, warnings
import narwhals.stable.v2, numpy, pandas, torch
import sklearn.base, sklearn.callback, sklearn.utils._param_validation, sklearn.utils.validation

def state():
    streams = torch.get_rng_state().sum(), numpy.random.get_state()[1].sum(), random.getstate()
    return streams, str(warnings.filters), torch.get_num_threads(), torch.get_default_dtype()

before, start = state(), time.process_time()
import skvae
print(time.process_time() - start)
assert state() == before
"""


def seconds_of_import():
    command = [sys.executable, "-c", IMPORT_IN_ANOTHER_PROCESS]
    return float(subprocess.run(command, capture_output=True, check=True).stdout)


def test_import_changes_nothing_global():
    seconds_of_import()


def traces(values):
    """Bytes that give away rows, columns, or sorted columns of values (n, k): cells in float64, pairs in float32."""
    orders = values, values.T, np.sort(values, axis=0).T
    pairs = [np.stack([order[:, :-1], order[:, 1:]], axis=-1).reshape(-1, 2) for order in orders]
    return {cell.tobytes() for cell in values.ravel()} | {
        pair.tobytes() for pair in np.concatenate(pairs).astype(np.float32)
    }


def n_traces(file, values):
    return sum(trace in file for trace in traces(values))


def test_pickle_holds_no_training_row():
    X = np.random.default_rng(0).normal(size=(200, 4))
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    vae = VAETransformer(max_iter=2, random_state=0).fit(frame)
    file = pickle.dumps(vae.partial_fit(frame))
    inner = X[~np.isin(X, [X.min(0), X.max(0)]).any(1)]  # the bounds of a column are kept
    for values in (inner, vae._schema.pack(pd.DataFrame(inner, columns=frame.columns))[0].values):
        assert n_traces(file, values) == 0
        for dtype in (np.float64, np.float32):
            for stored in (values[7:8], values[:, 1], np.sort(values[:, 2])):  # the search would find them
                assert n_traces(pickle.dumps(stored.astype(dtype)), values) > 0
    assert b"torch" not in file  # arrays only: no tensor to rebuild
    few = VAETransformer(max_iter=2, random_state=0).fit(frame[:20]).partial_fit(frame[:20])
    assert len(file) == pytest.approx(len(pickle.dumps(few)), rel=0.01)


def test_loss_curve_and_scores_are_bounds_in_the_units_of_the_data(X):
    vae = VAETransformer(generator="latent", random_state=0).fit(X)
    assert len(vae.loss_curve_) == len(vae.validation_scores_) == vae.n_iter_
    assert vae.best_validation_score_ >= max(vae.validation_scores_)
    assert vae.loss_curve_[-1] < vae.loss_curve_[0]
    assert vae.generator_loss_curve_ is None
    # the bound with one sample lies below the one with many, by less than half a nat here; and it is of the last weights
    assert -0.5 < -vae.loss_curve_[-1] - vae.score(X) < 0.25


def test_the_generator_stops_where_held_out_rows_gain_nothing():
    X = np.random.default_rng(0).normal(size=(4000, 2))
    vae = VAETransformer(1, hidden_layer_sizes=(), max_iter=40, n_iter_no_change=100, random_state=0).fit(X)
    assert vae.n_iter_ == 40
    assert len(vae.generator_loss_curve_) < 40


def test_the_generator_loss_curve_ends_at_its_density():
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 2000)
    X = np.column_stack([np.cos(angle), np.sin(angle)]) + 0.1 * rng.normal(size=(2000, 2))
    vae = VAETransformer(1, random_state=0).fit(X)
    assert vae.generator_loss_curve_[-1] < vae.generator_loss_curve_[0]
    # noise, dropout, and orders other than that of the density, cost a little
    assert -0.7 < -vae.generator_loss_curve_[-1] - vae.log_density(X).mean() < 0.1


def test_training_is_kept_only_where_held_out_rows_gain_by_it():
    """Of normal data, the start in closed form is the truth, and is then fitted to all rows."""
    X = np.random.default_rng(0).normal(size=(300, 2)) @ [[1, 0.8], [0, 0.6]]
    vae = VAETransformer(1, random_state=0).fit(X)
    assert vae.generator_loss_curve_ == []
    untrained = VAETransformer(1, max_iter=1, learning_rate_init=1e-9, early_stopping=False, random_state=0).fit(X)
    assert_allclose(vae.log_density(X), untrained.log_density(X), atol=0.05)


def test_best_weights_are_restored(X):
    train, test = X[::6], X[1::2]
    vae = VAETransformer(8, max_iter=300, batch_size=16, n_iter_no_change=300, learning_rate_init=0.01, random_state=0)
    vae.fit(train, X_val=test)
    assert vae.validation_scores_[-1] < vae.best_validation_score_ - 0.1  # it did overfit
    assert vae.best_validation_score_ == max(vae.validation_scores_)
    assert vae.score(test) > vae.best_validation_score_ - 0.05  # and the model in hand is not the overfitted one


def test_early_stopping_stops(X):
    vae = VAETransformer(max_iter=1000, n_iter_no_change=3, random_state=0).fit(X)
    assert vae.n_iter_ < 1000
    off = VAETransformer(max_iter=7, early_stopping=False, random_state=0).fit(X)
    assert off.n_iter_ == 7
    assert off.validation_scores_ is None
    assert off.best_validation_score_ is None


def test_weight_zero_equals_removed(mixed_frame):
    weight = np.tile([1.0, 0.0, 2.0], len(mixed_frame))[: len(mixed_frame)]
    kept = weight > 0
    zero = VAETransformer(max_iter=3, random_state=0).fit(mixed_frame, sample_weight=weight)
    removed = VAETransformer(max_iter=3, random_state=0).fit(mixed_frame[kept], sample_weight=weight[kept])
    assert_array_equal(zero.transform(mixed_frame), removed.transform(mixed_frame))


def test_weights_shift_what_is_sampled():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"group": rng.choice(["a", "b"], 1000), "x": rng.normal(size=1000)})
    weight = np.where(frame["group"] == "a", 9.0, 1.0)
    sample = VAETransformer(random_state=0).fit(frame, sample_weight=weight).sample(3000, random_state=0)
    assert (sample["group"] == "a").mean() == pytest.approx(0.9, abs=0.04)


@pytest.mark.parametrize("batch_size", [1, 20])
def test_weights_count_within_and_between_batches(batch_size):
    """The loss is the weighted mean of the rows' losses, however rows fall into batches; its scale does not matter."""
    rng = np.random.default_rng(0)
    X, weight = rng.normal(size=(200, 2)), np.where(np.arange(200) < 100, 19.0, 1.0)
    X[:100] += 3
    options = {"batch_size": batch_size, "early_stopping": False, "max_iter": 20, "random_state": 0}
    vae = VAETransformer(1, **options).fit(X, sample_weight=weight)
    assert (vae.sample(2000, random_state=0).mean(axis=1) > 1.5).mean() == pytest.approx(0.95, abs=0.04)
    assert vae.loss_curve_[-1] == pytest.approx(-np.average(vae.score_samples(X), weights=weight), abs=0.3)
    tiny = VAETransformer(1, **options).fit(X, sample_weight=weight * 1e-30)
    assert_allclose(tiny.transform(X), vae.transform(X), atol=1e-3)


def test_curves_count_the_units_of_observed_cells_only():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 4)) * 1000
    X[rng.random(X.shape) < 0.5] = np.nan
    vae = VAETransformer(1, random_state=0).fit(X[:400], X_val=X[400:])
    assert vae.best_validation_score_ == pytest.approx(vae.score(X[400:]), abs=0.2)
    assert -vae.loss_curve_[-1] == pytest.approx(vae.score(X[:400]), abs=0.3)


@pytest.mark.filterwarnings("ignore:The latents carry no information")  # of a large beta that is right
def test_beta_moves_information(X):
    information = [
        VAETransformer(2, beta=beta, max_iter=60, early_stopping=False, random_state=0).fit(X).explained_information_.sum()
        for beta in (0.1, 1.0, 20.0)
    ]
    assert information[0] > information[1] + 0.5 > information[2] + 1


def test_warm_start_goes_on(X):
    vae = VAETransformer(max_iter=50, warm_start=True, early_stopping=False, random_state=0).fit(X)
    first = vae.loss_curve_[0]
    assert vae.fit(X).loss_curve_[0] < first - 0.2
    assert vae.set_params(warm_start=False).fit(X).loss_curve_[0] == first


@pytest.mark.parametrize("params", [{"latent_dim": 3}, {"hidden_layer_sizes": (4,)}, {"activation": "relu"}])
def test_warm_start_refuses_a_model_of_another_shape(X, params):
    vae = VAETransformer(max_iter=2, warm_start=True, random_state=0).fit(X).set_params(**params)
    with pytest.raises(ValueError, match=f"continues the fitted model, whose {next(iter(params))} is"):
        vae.fit(X)
    assert vae.transform(X).shape == (150, 2)


def test_warm_start_with_another_beta_survives_a_pickle(X):
    vae = VAETransformer(max_iter=5, warm_start=True, random_state=0).fit(X).set_params(beta=0.1).fit(X)
    assert_array_equal(pickle.loads(pickle.dumps(vae)).score_samples(X), vae.score_samples(X))


INTERRUPTED = {
    "the autoencoder": (Autoencoder, "objective", "The generator was not trained"),
    "the generator": (ChainGenerator, "loss", "best so far"),
    "calibration": (ChainGenerator, "finalise", "best so far"),
    "the prior": (Autoencoder, "fit_prior", "best so far"),
}


@pytest.mark.parametrize("where", INTERRUPTED)
def test_an_interrupt_goes_on_after_both_models_were_left_usable(X, monkeypatch, where):
    """Ctrl-C ends a search, or a loop over fits; the estimator that was being fitted is of the best epoch so far."""
    cls, name, message = INTERRUPTED[where]
    method, calls = getattr(cls, name), iter(range(1000))

    def interrupted(*args):
        if next(calls) == (20 if name in ("objective", "loss") else 0):
            raise KeyboardInterrupt
        return method(*args)

    monkeypatch.setattr(cls, name, interrupted)
    vae = VAETransformer(random_state=0, max_iter=30)
    with pytest.warns(UserWarning, match=f"Training interrupted.*{message}"), pytest.raises(KeyboardInterrupt):
        vae.fit(X)
    monkeypatch.undo()
    assert 1 <= vae.n_iter_ <= 30
    for scores in (vae.score_samples(X), vae.log_density(X)):
        assert np.isfinite(scores).all()
        assert scores.mean() > -6
    assert np.isfinite(vae.sample(5)).all()
    pickle.loads(pickle.dumps(vae)).transform(X)


def test_an_interrupt_ends_a_search(X, monkeypatch):
    calls, objective = iter(range(1000)), Autoencoder.objective

    def interrupted(*args):
        if next(calls) == 30:
            raise KeyboardInterrupt
        return objective(*args)

    monkeypatch.setattr(Autoencoder, "objective", interrupted)
    search = GridSearchCV(VAETransformer(max_iter=9, random_state=0), {"latent_dim": [1, 2, 3]}, cv=2)
    with pytest.warns(UserWarning, match="interrupted"), pytest.raises(KeyboardInterrupt):
        search.fit(X)
    assert next(calls) < 40  # no further candidate was fitted


def test_an_interrupt_before_training_leaves_the_former_model(X, monkeypatch):
    vae = VAETransformer(random_state=0, max_iter=2).fit(X)
    before = vae.transform(X)

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(Autoencoder, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        vae.fit(X[:20])
    assert_array_equal(vae.transform(X), before)


def test_a_fit_that_diverges_says_what_to_do(X):
    with pytest.raises(ValueError, match=r"learning_rate_init=1e\+20. Lower it"):
        VAETransformer(learning_rate_init=1e20, early_stopping=False, random_state=0).fit(X)


def test_the_state_of_torch_does_not_matter(X):
    expected = VAETransformer(max_iter=3, random_state=0).fit(X).transform(X)
    with torch.inference_mode():
        assert_array_equal(VAETransformer(max_iter=3, random_state=0).fit(X).transform(X), expected)
    torch.set_default_dtype(torch.float64)
    try:
        vae = VAETransformer(max_iter=3, random_state=0).fit(X)
        assert vae.transform(X).shape == expected.shape
        assert next(vae.module_.parameters()).dtype == torch.float32
        assert vae.sample(2).shape == (2, 4)
    finally:
        torch.set_default_dtype(torch.float32)


def test_healthy_runs_are_silent(capsys, mixed_frame):
    VAETransformer(max_iter=2).fit(mixed_frame).sample(2)
    assert capsys.readouterr() == ("", "")
    VAETransformer(max_iter=2, verbose=1).fit(mixed_frame)
    first, *_ = capsys.readouterr().out.splitlines()
    line = r"Autoencoder, epoch 1 of at most 2: score in training (\S+) nats per row, held out (\S+); at most \d+ s left"
    assert re.fullmatch(line, first)


# --- what is refused -------------------------------------------------------------------------------------------------

FRAME = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": ["x", "y", "x"]})
REFUSED = {
    "empty array": (np.empty((0, 3)), ValueError, r"Found array with 0 sample\(s\)"),
    "empty frame": (FRAME[:0], ValueError, r"Found array with 0 sample\(s\)"),
    "no columns": (FRAME[[]], ValueError, r"Found array with 0 feature\(s\)"),
    "one row": (np.ones((1, 3)), ValueError, r"Found array with 1 sample\(s\)"),
    "one row of a frame": (FRAME[:1], ValueError, r"Found array with 1 sample\(s\)"),
    "one axis": (np.ones(3), ValueError, "Expected 2D array, got 1D array"),
    "duplicate names": (pd.DataFrame(np.ones((3, 2)), columns=["a", "a"]), ValueError, r"duplicate column names: \['a'\]"),
    "infinity": (np.array([[1.0], [np.inf]]), ValueError, "Input X contains infinity"),
    "infinity in a frame": (pd.DataFrame({"a": [1.0, -np.inf]}), ValueError, "infinity .* in column 'a'"),
    "complex": (np.ones((3, 2)) * 1j, ValueError, "Complex data not supported"),
    "dict cells": (np.array([[{"a": 1}], [2]], dtype=object), TypeError, "argument must be a string or a number"),
    "dates": (np.array([["2020-01-01"], ["2021-01-01"]], dtype="M8[D]"), TypeError, "dtype datetime64"),
    "a string": ("X", ValueError, "Expected 2D array, got scalar array"),
    "None": (None, ValueError, "Expected 2D array, got scalar array"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_data(name):
    X, error, message = REFUSED[name]
    vae = VAETransformer()
    with pytest.raises(error, match=message):
        vae.fit(X)
    assert vars(vae) == vars(VAETransformer())  # nothing half-fitted


def test_sparse_is_refused_by_name():
    from scipy.sparse import csr_matrix

    with pytest.raises(TypeError, match=r"[Ss]parse"):
        VAETransformer().fit(csr_matrix(np.eye(3)))


WRONG_PARAMETERS = [
    ({"latent_dim": 0}, "'latent_dim' parameter .* int in the range"),
    ({"latent_dim": 1.5}, "'latent_dim' parameter"),
    ({"hidden_layer_sizes": (8, -1)}, "hidden_layer_sizes must hold ints"),
    ({"hidden_layer_sizes": (8.5,)}, "hidden_layer_sizes must hold ints"),
    ({"hidden_layer_sizes": "big"}, "'hidden_layer_sizes' parameter"),
    ({"activation": "swish"}, "'activation' parameter .* must be a str among"),
    ({"likelihood": "normal"}, "'likelihood' parameter .* must be a str among"),
    ({"likelihood": {"nope": "gaussian"}}, "likelihood has a key 'nope' which is not a column"),
    (
        {"likelihood": {"x1": "bogus"}},
        "likelihood of column 'x1' must be a str among {'auto', .*'gaussian'.* Got 'bogus' instead",
    ),
    ({"likelihood": {"x1": 3}}, "likelihood of column 'x1' must be a str among .* Got 3 instead"),
    ({"prior": "uniform"}, "'prior' parameter"),
    ({"beta": -1}, "'beta' parameter"),
    ({"beta": np.nan}, "'beta' parameter"),
    ({"categorical_features": [7]}, "categorical_features set as integer indices must be in"),
    ({"categorical_features": [True]}, "boolean mask must have shape"),
    ({"categorical_features": ["a"]}, "fitted on data without feature names"),
    ({"image_shape": (2.0, 2.0)}, "image_shape must hold ints"),
    ({"image_shape": (-2, -2)}, "image_shape must hold ints"),
    ({"image_shape": (3, 3)}, r"rows of shape \(4,\), but VAETransformer is expecting images of shape \(3, 3\)"),
    ({"max_iter": 0}, "'max_iter' parameter"),
    ({"batch_size": "large"}, "'batch_size' parameter"),
    ({"learning_rate_init": 0}, "'learning_rate_init' parameter"),
    ({"validation_fraction": 1.0}, "'validation_fraction' parameter"),
    ({"n_iter_no_change": -1}, "'n_iter_no_change' parameter"),
    ({"tol": -1e-3}, "'tol' parameter"),
    ({"device": "gpu"}, "device must be 'auto' or a device that torch can use. Got 'gpu'"),
    ({"random_state": "seed"}, "'random_state' parameter"),
    ({"early_stopping": "yes"}, "'early_stopping' parameter"),
]


@pytest.mark.parametrize(("params", "message"), WRONG_PARAMETERS, ids=lambda p: str(p)[:40])
def test_refused_parameters(X, params, message):
    vae = VAETransformer(**params)
    with pytest.raises(ValueError, match=message):
        vae.fit(X)
    assert set(vars(vae)) == set(vars(VAETransformer()))


def test_a_refused_fit_leaves_the_former_one(iris_vae, X):
    vae = pickle.loads(pickle.dumps(iris_vae))
    with pytest.raises(ValueError, match="infinity"):
        vae.fit(np.full((5, 2), np.inf))
    assert_array_equal(vae.transform(X), iris_vae.transform(X))
    assert vae.n_features_in_ == 4


def test_refused_rows_after_fit(mixed_vae, mixed_frame, iris_vae, X):
    with pytest.raises(ValueError, match="X has 3 features, but VAETransformer is expecting 4"):
        iris_vae.transform(X[:, :3])
    with pytest.raises(ValueError, match="feature names should match"):
        mixed_vae.transform(mixed_frame.rename(columns={"age": "years"}))
    with pytest.raises(ValueError, match="same order"):
        mixed_vae.transform(mixed_frame[mixed_frame.columns[::-1]])
    with pytest.raises(ValueError, match="Z has 5 features, but VAETransformer is expecting 3 latents"):
        mixed_vae.inverse_transform(np.zeros((2, 5)))
    with pytest.raises(ValueError, match="Input Z contains NaN"):
        mixed_vae.inverse_transform(np.full((2, 3), np.nan))
    with pytest.raises(ValueError, match="n_samples must be an int"):
        mixed_vae.sample(0)
    with pytest.raises(ValueError, match="infinity"):
        iris_vae.score(np.full((2, 4), np.inf))
    with pytest.raises(ValueError, match=r"Column 'x0' holds 1e.300, too far from the 4.3 to 7.9 that fit saw"):
        iris_vae.score(np.full((2, 4), 1e300))


@pytest.mark.parametrize("method", ["transform", "inverse_transform", "score_samples", "score", "sample"])
def test_unfitted_use_is_refused(method, X):
    with pytest.raises(NotFittedError, match="This VAETransformer instance is not fitted yet"):
        getattr(VAETransformer(), method)(*([] if method == "sample" else [X]))


@pytest.mark.parametrize("weight", [np.zeros(150), -np.ones(150), np.ones(3), np.full(150, np.nan)])
def test_refused_weights(X, weight):
    with pytest.raises(ValueError, match=r"(?i)weight|zero"):
        VAETransformer().fit(X, sample_weight=weight)


@pytest.mark.parametrize("n", [2, 3, 31])
@pytest.mark.parametrize("n_columns", [1, 3])
def test_tiny_data(n, n_columns):
    X = np.random.default_rng(0).normal(size=(n, n_columns))
    vae = VAETransformer(max_iter=5, random_state=0).fit(X)
    assert np.isfinite(vae.score(X))
    assert vae.sample(3).shape == (3, n_columns)


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"constant": np.ones(20), "x": np.arange(20.0)}),
        pd.DataFrame({"missing": np.full(20, np.nan), "x": np.arange(20.0)}),
        pd.DataFrame({"only": ["one"] * 20}),
        pd.DataFrame({"letters": list("ab" * 10), "more": list("abcd" * 5)}),
        pd.DataFrame({"flag": [True, False] * 10}),
    ],
    ids=["constant", "all missing", "one category", "categories only", "booleans only"],
)
def test_odd_tables(frame):
    vae = VAETransformer(max_iter=5, random_state=0).fit(frame)
    sample = vae.sample(50)
    assert (sample.dtypes == frame.dtypes).all()
    assert np.isfinite(vae.score(frame))
    for column in frame:
        assert set(sample[column].dropna()) <= set(frame[column]) or frame[column].dtype.kind == "f"
    if "constant" in frame:
        assert (sample["constant"] == 1).all()
    if "missing" in frame:
        assert sample["missing"].isna().mean() > 0.9


# --- cells -----------------------------------------------------------------------------------------------------------


def test_cells_of_a_row_add_up_to_its_score_and_what_its_latents_tell(mixed_frame):
    mixed_vae = VAETransformer(2, generator="latent", random_state=0).fit(mixed_frame)
    cells = mixed_vae.score_cells(mixed_frame)
    assert list(cells.columns) == list(mixed_frame.columns)
    assert_array_equal(cells.index, mixed_frame.index)
    told = cells.to_numpy().sum(axis=1) - mixed_vae.score_samples(mixed_frame)
    assert (told > -1e-9).all()
    assert told.mean() == pytest.approx(mixed_vae.explained_information_.sum(), rel=0.3)


@pytest.mark.parametrize("container", [np.asarray, pl.DataFrame, pd.DataFrame])
def test_the_cell_that_is_odd_scores_least(X, container):
    vae = VAETransformer(2, random_state=0).fit(container(X))
    odd = X[:20].copy()
    odd[np.arange(20), np.arange(20) % 4] += 8 * X.std(axis=0)[np.arange(20) % 4]
    cells = np.asarray(vae.score_cells(container(odd)))
    assert cells.shape == (20, 4)
    assert (cells.argmin(axis=1) == np.arange(20) % 4).mean() > 0.7  # by chance a quarter


def test_impute_fills_the_missing_cells_and_leaves_the_others(mixed_vae, mixed_frame):
    before = mixed_frame.copy()
    filled = mixed_vae.impute(mixed_frame)
    pd.testing.assert_frame_equal(mixed_frame, before)
    assert (filled.dtypes == mixed_frame.dtypes).all()
    assert_array_equal(filled.index, mixed_frame.index)
    assert not filled.isna().any().any()
    for column in mixed_frame:
        seen = mixed_frame[column].notna()
        pd.testing.assert_series_equal(filled.loc[seen, column], mixed_frame.loc[seen, column])


def test_impute_is_better_than_the_mean_and_the_most_frequent(mixed_vae, mixed_frame):
    rng = np.random.default_rng(1)
    holes = mixed_frame.dropna(subset=["income", "colour"]).copy()
    truth = holes[["income", "colour"]].copy()
    gone = rng.random(len(holes)) < 0.5
    holes.loc[gone, "income"], holes.loc[~gone, "colour"] = None, None
    filled = mixed_vae.impute(holes)
    error = (filled["income"] - truth["income"])[gone].std()
    assert error < 0.7 * truth["income"][gone].std()
    right = (filled["colour"] == truth["colour"])[~gone].mean()
    assert right > truth["colour"].value_counts(normalize=True).max() + 0.2


def test_impute_of_dates_images_and_what_was_never_seen():
    rng = np.random.default_rng(0)
    when = pd.Series(pd.date_range("2020-01-01", periods=300)).sample(300, random_state=0, ignore_index=True)
    frame = pd.DataFrame({"when": when, "x": when.dt.day_of_year + rng.normal(size=300), "empty": np.nan})
    frame.loc[::5, "when"] = pd.NaT
    filled = VAETransformer(random_state=0).fit(frame).impute(frame)
    assert filled["when"].notna().all()
    assert filled["empty"].isna().all()
    assert abs(filled["when"] - when).mean() < pd.Timedelta(days=30)
    images = load_digits().images[:300].copy()
    images[:, 4, 4] = np.where(np.arange(300) % 2, np.nan, images[:, 4, 4])
    filled = VAETransformer(max_iter=5, random_state=0).fit(images).impute(images)
    assert np.isfinite(filled).all()
    assert_array_equal(filled[:, :4], images[:, :4])


@pytest.fixture(scope="module")
def people():
    rng = np.random.default_rng(0)
    n = 2000
    frame = pd.DataFrame({"sex": pd.Categorical(rng.choice(["F", "M"], n, p=[0.3, 0.7])), "age": rng.integers(18, 80, n)})
    frame["income"] = np.where(frame["sex"] == "F", 1.0, 2.0) * frame["age"] + rng.normal(0, 3, n)
    frame["rich"] = frame["income"] > 130
    frame.loc[rng.random(n) < 0.2, "income"] = np.nan
    return frame


@pytest.fixture(scope="module")
def people_vae(people):
    return VAETransformer(random_state=0).fit(people)


def test_given_cells_are_kept_and_the_others_follow_them(people, people_vae):
    drawn = people_vae.sample(1000, given={"sex": "F", "age": 40}, random_state=0)
    assert (drawn["sex"] == "F").all()
    assert (drawn["age"] == 40).all()
    assert drawn["income"].mean() == pytest.approx(40, abs=5)
    assert drawn["income"].isna().mean() == pytest.approx(0.2, abs=0.06)
    rich = people_vae.sample(1000, given={"rich": True}, random_state=0)
    assert (rich["sex"] == "M").mean() > 0.97  # the last column given, the first follows
    assert rich["age"].mean() == pytest.approx(people["age"][people["rich"]].mean(), abs=2)


def test_a_frame_of_conditions_gives_rows_for_each(people_vae):
    given = pd.DataFrame({"income": [60.5, None], "sex": ["M", "F"]})
    drawn = people_vae.sample(3, given=given, random_state=0)
    assert drawn["sex"].tolist() == ["M"] * 3 + ["F"] * 3
    assert drawn["income"].isna().tolist() == [False] * 3 + [True] * 3
    assert (drawn["income"][:3] == 60.5).all()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"sex": "X"}, ValueError, "'X' in column 'sex'"),
        ({"age": 200}, ValueError, "200 in column 'age', beyond the 18 to 79"),
        ({"age": "old"}, ValueError, "'old' in column 'age'"),
        ({"age": None}, ValueError, "missing value in column 'age'"),
        ({"height": 1}, ValueError, "column 'height' that fit did not see"),
        ({}, ValueError, "at least one column"),
        (3, TypeError, "dict or a DataFrame, got int"),
    ],
)
def test_conditions_that_cannot_be(people_vae, given, error, message):
    with pytest.raises(error, match=message):
        people_vae.sample(2, given=given)


def test_a_latent_generator_is_given_cells_too(people):
    vae = VAETransformer(4, generator="latent", random_state=0).fit(people)
    drawn = vae.sample(500, given={"rich": True}, random_state=0)
    assert drawn["rich"].all()
    assert (drawn["sex"] == "M").mean() > 0.8


def test_generators_share_the_autoencoder_and_its_scores(people, people_vae):
    vae = VAETransformer(generator="latent", random_state=0).fit(people)
    assert_array_equal(vae.loss_curve_, people_vae.loss_curve_)
    assert vae.generator_loss_curve_ is None
    assert_array_equal(vae.transform(people), people_vae.transform(people))
    assert_array_equal(vae.score_samples(people), people_vae.score_samples(people))
    pd.testing.assert_frame_equal(vae.score_cells(people), people_vae.score_cells(people))
    assert_array_equal(vae.score_samples(people), vae.log_density(people))  # of what the latents draw
    assert people_vae.log_density(people).mean() > vae.log_density(people).mean()


# --- the prior of the latents -------------------------------------------------------------------------------------------

QUICK = {"hidden_layer_sizes": (32,), "batch_size": 32, "max_iter": 25, "random_state": 0}


@pytest.fixture(scope="module")
def clusters():
    """600 rows in three clusters of the plane."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(600, 2)) * 0.3 + np.array([[3, 0], [-2, 2], [-2, -2]])[rng.integers(3, size=600)]


# the smaller beta, the further are latents from the standard normal: at 0.1 they are in clusters too
@pytest.fixture(scope="module", params=[(prior, beta) for prior in PRIORS for beta in (0.1, 1.0)])
def generating(request, clusters):
    prior, beta = request.param
    return VAETransformer(2, generator="latent", prior=prior, beta=beta, **QUICK).fit(clusters)


@pytest.fixture(scope="module")
def scored(generating):
    """Points of a grid of the plane, and the scored probability of their cells."""
    axis = np.arange(-7.9, 8, 0.2)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    return grid, np.exp(generating.score_samples(grid)) * 0.2**2


def test_scores_integrate_to_one_under_every_prior(scored):
    assert 0.9 < scored[1].sum() < 1.05


def test_draws_are_where_the_density_is_under_every_prior(generating, clusters, scored):
    """Shares of draws in squares are integrals of the scored density, what lies beyond the data put on their bounds."""
    square = {"bins": 8, "range": [[-8, 8]] * 2}
    grid, share = scored
    density, *_ = np.histogram2d(*np.clip(grid, clusters.min(0), clusters.max(0)).T, weights=share / share.sum(), **square)
    drawn, *_ = np.histogram2d(*generating.sample(20_000, random_state=0).T, **square)
    assert abs(density - drawn / 20_000).sum() < 0.12


def test_a_pickle_keeps_the_prior(generating, clusters):
    other = pickle.loads(pickle.dumps(generating))
    assert_array_equal(other.sample(20, random_state=0), generating.sample(20, random_state=0))
    assert_array_equal(other.score_samples(clusters[:20]), generating.score_samples(clusters[:20]))


def test_auto_finds_clusters_and_leaves_the_normal_alone(clusters):
    X = np.random.default_rng(0).normal(size=(600, 2)) @ [[1, 0.8], [0, 0.6]]

    def gain(rows, beta):
        vae = VAETransformer(generator="latent", likelihood="gaussian", beta=beta, **QUICK)
        return vae.fit(rows).score(rows) - clone(vae).set_params(prior="normal").fit(rows).score(rows)

    assert gain(X, 1.0) == 0
    assert gain(clusters, 0.1) > 1


@pytest.mark.parametrize("prior", sorted(set(PRIORS) - {"normal"}))
def test_a_row_of_weight_zero_is_as_good_as_removed_under_every_prior(prior, clusters):
    vae = VAETransformer(generator="latent", prior=prior, hidden_layer_sizes=(16,), max_iter=5, random_state=0)
    weight = np.random.default_rng(1).integers(0, 3, len(clusters)).astype(float)
    one = vae.fit(clusters, sample_weight=weight).score_samples(clusters)
    other = clone(vae).fit(clusters[weight > 0], sample_weight=weight[weight > 0]).score_samples(clusters)
    assert_array_equal(one, other)


@pytest.mark.parametrize("prior", PRIORS)
def test_going_on_under_every_prior(prior, clusters):
    """`fit` fits the prior anew; a part of a stream leaves it as it was, unless it is learned with the bound."""
    vae = VAETransformer(generator="latent", prior=prior, hidden_layer_sizes=(16,), max_iter=20, random_state=0)
    vae.set_params(warm_start=True, early_stopping=False).fit(clusters).fit(clusters)
    pickle.loads(pickle.dumps(vae)).partial_fit(clusters)
    before = vae.score(clusters)
    for _ in range(3):
        vae.partial_fit(clusters)
    assert vae.score(clusters) > before - 0.3
    assert (np.diff(vae.explained_information_) <= 0).all()
    assert (vae.explained_information_ >= 0).all()


@pytest.mark.parametrize("prior", PRIORS)
def test_latents_are_drawn_from_the_prior_that_was_fitted(prior, clusters):
    """Their centres are where the rows are, whatever the prior; the prior is named."""
    vae = VAETransformer(2, prior=prior, beta=0.1, **QUICK).fit(clusters)
    assert vae.prior_ == prior or (prior == "auto" and vae.prior_ in ("mixture", "flow"))
    Z = vae.sample_latents(3000, random_state=0)
    assert Z.shape == (3000, 2)
    assert_array_equal(Z, vae.sample_latents(3000, random_state=0))
    assert (vae.sample_latents(5) != vae.sample_latents(5)).all()
    rows = vae.inverse_transform(Z)
    nearest = np.linalg.norm(rows[:, None] - np.array([[3, 0], [-2, 2], [-2, -2]]), axis=2)
    near = (nearest.min(1) < 1.2).mean()
    assert near > (0.78 if prior != "normal" else 0.3)
    if prior != "normal":
        assert_allclose(np.bincount(nearest.argmin(1)) / len(rows), 1 / 3, atol=0.08)


def test_rows_given_some_cells_follow_every_prior(generating, clusters):
    """Right of the plane there is one cluster, in the middle of the other axis."""
    drawn = generating.sample(500, given={"x0": 3.0}, random_state=0)
    assert abs(drawn[:, 1].mean()) < 0.25
