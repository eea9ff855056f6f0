"""scikit-learn's contract, whole: its own checks, the further ones it runs on its own estimators, and its tools."""

import os
from copy import deepcopy

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from skvae import VAETransformer

EXPECTED_FAILURES = {
    # A row of weight two is one row in the loss, but a repeated row draws noise twice, may stand in two batches, and may be
    # held out once: the two fits agree in expectation, not to the bit. A weight of zero does equal removal (test_estimator).
    "check_sample_weight_equivalence_on_dense_data": "the noise and the batches of stochastic training follow rows",
}


@parametrize_with_checks(
    [VAETransformer(), VAETransformer(max_iter=5)],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
    xfail_strict=True,
)
def test_check_estimator(estimator, check):
    check(estimator)


# which scikit-learn runs on its own estimators only
FURTHER_CHECKS = [
    "check_dataframe_column_names_consistency",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
    "check_get_feature_names_out_error",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_global_output_transform_pandas",
    "check_global_set_output_transform_polars",
    "check_inplace_ensure_writeable",
    "check_param_validation",
]


@pytest.mark.filterwarnings("ignore:X .* feature names")  # they mix frames and arrays
@pytest.mark.parametrize("name", FURTHER_CHECKS)
def test_further_checks(name):
    getattr(estimator_checks, name)("VAETransformer", VAETransformer(max_iter=3))


@pytest.fixture(scope="module")
def X():
    return load_iris(return_X_y=True)[0]


@pytest.fixture(scope="module")
def fitted(X):
    return VAETransformer(max_iter=5, random_state=0).fit(X)


@pytest.mark.parametrize(
    "again",
    [deepcopy, lambda vae: joblib.load(dump_to_memory(vae))],
    ids=["deepcopy", "joblib"],
)
def test_copies_compute_the_same_bits(fitted, X, again):
    copy = again(fitted)
    assert_array_equal(copy.transform(X), fitted.transform(X))
    assert_array_equal(copy.score_samples(X), fitted.score_samples(X))
    assert_array_equal(copy.sample(5, random_state=1), fitted.sample(5, random_state=1))


def dump_to_memory(vae):
    from io import BytesIO

    file = BytesIO()
    joblib.dump(vae, file)
    file.seek(0)
    return file


def test_clone_is_unfitted_and_of_the_same_parameters(fitted):
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not hasattr(copy, "module_")


def test_pipeline_reduces_before_a_classifier(X):
    y = load_iris().target
    pipe = Pipeline([("vae", VAETransformer(latent_dim=2, random_state=0)), ("classify", LogisticRegression())])
    assert pipe.fit(X, y).score(X, y) > 0.85
    assert_array_equal(pipe[:-1].get_feature_names_out(), ["vaetransformer0", "vaetransformer1"])


def test_pipeline_memory_hits(tmp_path, X):
    pipe = Pipeline([("vae", VAETransformer(max_iter=2, random_state=0)), ("pca", PCA(1))], memory=str(tmp_path))
    first = pipe.fit_transform(X)
    stamp = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("output.pkl")}
    assert len(stamp) == 1
    assert_array_equal(pipe.fit_transform(X), first)
    assert stamp == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("output.pkl")}


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_grid_search_without_y_in_parallel(X, backend):
    grid = {"vae__latent_dim": [1, 2], "vae__beta": [0.5, 1.0]}
    pipe = Pipeline([("scale", StandardScaler()), ("vae", VAETransformer(max_iter=5, random_state=0))])
    search = GridSearchCV(pipe, grid, cv=2, n_jobs=2)
    with joblib.parallel_config(backend=backend):
        search.fit(X)
    alone = cross_val_score(search.best_estimator_, X, cv=2)
    assert search.best_score_ == pytest.approx(alone.mean(), abs=1e-4)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_set_output(X, container):
    Z = VAETransformer(max_iter=2, random_state=0).set_output(transform=container).fit_transform(X)
    assert list(Z.columns) == ["vaetransformer0", "vaetransformer1"]
    assert type(Z).__module__.startswith(container)


def test_latent_frame_keeps_the_index_and_decodes(mixed_frame):
    vae = VAETransformer(max_iter=2, random_state=0).set_output(transform="pandas").fit(mixed_frame)
    Z = vae.transform(mixed_frame)
    assert_array_equal(Z.index, mixed_frame.index)
    back = vae.inverse_transform(Z)
    assert_array_equal(back.index, mixed_frame.index)
    assert (back.dtypes == mixed_frame.dtypes).all()


def test_global_output_config_changes_no_numbers(X):
    with sklearn.config_context(transform_output="pandas"):
        vae = VAETransformer(max_iter=2, random_state=0).fit(X)
        Z = vae.transform(X)
    assert isinstance(Z, pd.DataFrame)
    assert_array_equal(Z, VAETransformer(max_iter=2, random_state=0).fit(X).transform(X))


def test_metadata_routing_of_weights_and_validation_rows(X):
    weight = np.linspace(0.5, 2, len(X))
    with sklearn.config_context(enable_metadata_routing=True):
        vae = VAETransformer(max_iter=2, random_state=0).set_fit_request(sample_weight=True, X_val=True)
        routed = make_pipeline(vae).fit(X, sample_weight=weight, X_val=X[:10])[-1]
    direct = VAETransformer(max_iter=2, random_state=0).fit(X, sample_weight=weight, X_val=X[:10])
    assert_allclose(routed.transform(X), direct.transform(X))
    assert routed.validation_scores_ == direct.validation_scores_


def test_html_representation_is_computed_for_fitted_and_unfitted(fitted):
    assert "VAETransformer" in VAETransformer()._repr_html_()
    assert "latent_dim" in fitted._repr_html_()


def test_repr_shows_what_differs_from_the_defaults():
    assert repr(VAETransformer(4, beta=0.5)) == "VAETransformer(beta=0.5, latent_dim=4)"


@pytest.mark.skipif(
    os.environ.get("SCIPY_ARRAY_API") != "1", reason="array API dispatch needs SCIPY_ARRAY_API=1 from the start"
)
def test_array_api_input_is_accepted_as_numpy(X):
    estimator_checks.check_array_api_input("VAETransformer", VAETransformer(max_iter=2), "numpy")
