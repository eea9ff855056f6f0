"""VAEOutlierDetector: scikit-learn's contract, rows that do not belong, and the cells that are why."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone, is_outlier_detector
from sklearn.datasets import load_iris
from sklearn.metrics import average_precision_score
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from skvae import VAEOutlierDetector, VAETransformer

FAST = VAETransformer(2, generator="latent", max_iter=2)
TINY = VAETransformer(1, hidden_layer_sizes=(8,), generator="latent", relations=None, early_stopping=False, max_iter=1)
EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": "the noise and the batches of stochastic training follow rows",
}


@parametrize_with_checks(
    [VAEOutlierDetector(TINY)],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
    xfail_strict=True,
)
def test_check_estimator(estimator, check):
    check(estimator)


@pytest.mark.parametrize("name", ["check_dataframe_column_names_consistency", "check_param_validation"])
@pytest.mark.filterwarnings("ignore:X .* feature names")
def test_further_checks(name):
    getattr(estimator_checks, name)("VAEOutlierDetector", VAEOutlierDetector(TINY))


def mixed(n=600):
    """Numbers and categories that follow one hidden group, on scales that are far apart."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, 3, n)
    return pd.DataFrame(
        {
            "grams": rng.normal([2000.0, 3000.0, 4000.0], 150.0, (n, 3))[np.arange(n), group].round(),
            "metres": rng.normal([0.1, 0.2, 0.3], 0.01, (n, 3))[np.arange(n), group],
            "kind": np.array(["a", "b", "c"], dtype=object)[group],
            "parts": rng.poisson(np.array([3, 6, 12])[group]) + 1,
            "sold": rng.random(n) < np.array([0.1, 0.5, 0.9])[group],
            "rate": rng.lognormal(group, 0.3),
        },
        index=np.arange(n) * 2 + 10,
    )


@pytest.fixture(scope="module")
def planted():
    """A table, its rows with one number that is ten times too large, and where in the row it is."""
    frame = mixed()
    rng = np.random.default_rng(1)
    rows = np.sort(rng.choice(len(frame), 50, replace=False))
    columns = rng.choice([0, 1, 3, 5], len(rows))
    for row, column in zip(rows, columns, strict=True):
        frame.iat[row, column] = frame.iat[row, column] * 10
    return frame, rows, columns


@pytest.fixture(scope="module")
def detector(planted):
    return VAEOutlierDetector(random_state=0).fit(planted[0])


def test_the_wrong_cell_is_the_least_likely_of_its_row(planted, detector):
    frame, rows, columns = planted
    log_p = detector.estimator_.score_cells(frame, kind="log_p_value")
    assert (log_p <= 0).all(axis=None)
    assert_array_equal(log_p.index, frame.index)
    assert (log_p.to_numpy()[rows].argmin(axis=1) == columns).mean() >= 0.75


def test_rows_with_a_wrong_cell_are_found(planted, detector):
    frame, rows, _ = planted
    wrong = np.isin(np.arange(len(frame)), rows)
    assert average_precision_score(wrong, -detector.score_samples(frame)) > 0.75
    found = detector.predict(frame) == -1
    assert found[wrong].mean() > 0.6
    assert found[~wrong].mean() < 0.1


def test_the_detector_says_what_was_expected(planted, detector):
    frame, rows, columns = planted
    some = frame.iloc[rows]
    cells = detector.explain(some, n_cells=2)
    assert list(cells.columns) == ["row", "column", "value", "expected", "low", "high", "p_value"]
    assert_array_equal(cells["row"], np.repeat(some.index, 2))
    worst = cells.iloc[::2]
    right = (worst["column"].to_numpy() == frame.columns[columns]) & (worst["column"] != "kind").to_numpy()
    numbers = worst[right]
    assert (numbers["value"] > numbers["expected"]).mean() > 0.95
    assert (numbers["low"] <= numbers["high"]).all()
    assert numbers["p_value"].max() < 0.2
    assert (cells["p_value"].to_numpy()[::2] <= cells["p_value"].to_numpy()[1::2]).all()


def test_a_wrong_category_is_expected_to_be_that_of_its_group(detector):
    frame = mixed()
    row = frame[frame["kind"] == "a"].iloc[:20].assign(kind="c")
    cells = detector.explain(row, n_cells=6).query("column == 'kind'")
    assert (cells["expected"] == "a").mean() > 0.8
    assert cells["low"].isna().all()


@pytest.mark.parametrize("container", [np.asarray, pl.DataFrame, pd.DataFrame])
def test_containers(container):
    X = load_iris().data
    detector = VAEOutlierDetector(FAST, random_state=0).fit(container(X))
    cells = detector.explain(container(X[:4]), n_cells=2)
    assert cells.shape == (8, 7)
    assert np.isfinite(cells["expected"].astype(float)).all()
    assert set(detector.predict(container(X))) <= {-1, 1}


def test_the_second_fit_leaves_rows_out_that_are_unlikely():
    """Of which a first one makes a part of what is normal: every fifth row is of a kind of its own."""
    frame, rng = mixed(), np.random.default_rng(0)
    wrong = np.arange(len(frame)) % 5 == 0
    frame.loc[wrong, "metres"] = rng.normal(0.5, 0.02, wrong.sum())
    frame.loc[wrong, "rate"] = rng.lognormal(3.5, 0.3, wrong.sum())
    precision = {
        fraction: average_precision_score(
            wrong, -VAEOutlierDetector(support_fraction=fraction, random_state=0).fit(frame).score_samples(frame)
        )
        for fraction in (0.7, 1.0)
    }
    assert precision[0.7] > max(0.99, precision[1.0])


def test_all_rows_support_one_fit():
    X = load_iris().data
    once = VAEOutlierDetector(FAST, support_fraction=1, random_state=0).fit(X)
    plain = clone(FAST).set_params(random_state=0).fit(X)
    assert_array_equal(once.score_samples(X), plain.score_samples(X))


@pytest.mark.parametrize("container", [np.asarray, np.ndarray.tolist, pd.DataFrame])
def test_cells_of_integers_are_explained(container):
    X = (10 * load_iris().data).round().astype(int)
    detector = VAEOutlierDetector(FAST, random_state=0).fit(container(X))
    assert detector.explain(container(X[:3]), n_cells=4)["expected"].map(float).notna().all()


def test_no_row_has_no_cells(detector, planted):
    none, some = (detector.explain(planted[0].iloc[:n]) for n in (0, 1))
    assert list(none.columns) == list(some.columns)
    assert len(none) == 0


def test_a_column_of_vectors_is_left_out_of_explanations():
    frame = load_iris(as_frame=True).frame.astype({"target": "category"})
    frame["vector"] = list(np.random.default_rng(0).normal(size=(150, 3)))
    detector = VAEOutlierDetector(FAST, random_state=0).fit(frame)
    cells = detector.explain(frame.head(4), n_cells=9)
    assert len(cells) == 4 * 5
    assert "vector" not in set(cells["column"])
    category = cells["column"] == "target"
    assert set(cells["expected"][category]) <= {0, 1, 2}
    assert cells["low"][category].isna().all()


def test_contamination_is_the_share_of_outliers():
    X = load_iris().data
    detector = VAEOutlierDetector(FAST, contamination=0.2, random_state=0)
    assert (detector.fit_predict(X) == -1).mean() == pytest.approx(0.2, abs=0.01)
    assert is_outlier_detector(detector)


def test_parameters_of_the_estimator_are_reached_and_left_as_they_are():
    detector = VAEOutlierDetector(VAETransformer(3), random_state=1).set_params(estimator__max_iter=2)
    assert clone(detector).get_params()["estimator__max_iter"] == 2
    detector.fit(load_iris().data)
    assert detector.estimator.random_state is None
    assert detector.estimator_.latent_dim == 3


@pytest.mark.parametrize("n_cells", [0, 1.5, True])
def test_numbers_of_cells_are_checked(detector, planted, n_cells):
    with pytest.raises(ValueError, match="n_cells"):
        detector.explain(planted[0], n_cells=n_cells)


def test_images_have_no_columns_to_name():
    images = np.random.default_rng(0).random((20, 4, 4))
    with pytest.raises(ValueError, match="rows of a table"):
        VAEOutlierDetector(FAST).fit(images).explain(images)


def test_a_kind_of_cell_scores_that_is_not_there():
    vae = VAETransformer(1, generator="latent", max_iter=1).fit(load_iris().data)
    with pytest.raises(ValueError, match="kind"):
        vae.score_cells(load_iris().data, kind="z_score")


def test_missing_and_unseen_cells_have_p_values(mixed_frame):
    vae = VAETransformer(2, generator="latent", max_iter=5, random_state=0).fit(mixed_frame)
    some = mixed_frame.iloc[:60]
    log_p = vae.score_cells(some, kind="log_p_value")
    assert np.isfinite(log_p.to_numpy()).all()
    rare = some.assign(answer="perhaps")
    with pytest.warns(UserWarning, match="answer"):
        unseen = vae.score_cells(rare, kind="log_p_value")["answer"]
    assert (unseen <= log_p["answer"].min() + 1e-9).all()
