"""Completed tables: centres, and draws of what is missing given what is there."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from numpy.testing import assert_array_equal
from sklearn.datasets import load_digits, load_iris, load_wine

from skvae import VAETransformer


def known_conditionals(n, rng, holes):
    """y = 2 x + N(0, 0.5²); yes with probability .8 where x > 0, else .3; z a copy of yes that is right 9 times of 10."""
    frame = pd.DataFrame({"x": rng.normal(size=n)})
    frame["y"] = 2 * frame["x"] + rng.normal(0, 0.5, n)
    yes = rng.random(n) < np.where(frame["x"] > 0, 0.8, 0.3)
    frame["answer"] = np.where(yes, "yes", "no")
    frame["copy"] = np.where(yes ^ (rng.random(n) < 0.1), "yes", "no")
    return frame.mask(rng.random(frame.shape) < holes)


FILLED = ["a", "b", "c", "d", "flag", "size", "k"]


@pytest.fixture(scope="module")
def odd_vae():
    """Columns of many kinds, fitted in no time."""
    rng, n = np.random.default_rng(0), 60
    frame = pd.DataFrame({"a": rng.normal(size=n), "b": rng.integers(0, 9, n), "c": rng.choice(["x", "y"], n)})
    frame["d"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 700, n), unit="D")
    frame = frame.assign(flag=rng.random(n) < 0.5, size=pd.Categorical(rng.choice(["S", "M"], n)), k=7, nothing=np.nan)
    frame.loc[::5, "a"] = None
    return frame, VAETransformer(2, max_iter=1, random_state=0).fit(frame)


@pytest.mark.parametrize("n_draws", [None, 1])
@pytest.mark.parametrize("columns", [*([name] for name in FILLED), FILLED], ids=str)
def test_columns_and_rows_that_are_missing_throughout_are_filled(odd_vae, columns, n_draws):
    frame, vae = odd_vae
    holed = frame[:4].assign(**dict.fromkeys(columns))
    filled = vae.impute(holed, n_draws=n_draws, random_state=0)
    filled = filled if n_draws is None else filled[0]
    assert (filled.dtypes == frame.dtypes).all()
    assert filled.drop(columns="nothing").notna().all(axis=None)
    assert filled["nothing"].isna().all()  # as fit saw it
    assert filled["k"].eq(7).all()


IMPOSSIBLE = {
    "another order": (lambda X: X.iloc[:, ::-1], ValueError, "must be in the same order"),
    "another name": (lambda X: X.rename(columns={"a": "z"}), ValueError, "(?s)unseen at fit time:.*- z.*now missing:.*- a"),
    "fewer columns": (lambda X: X[["a", "b"]], ValueError, "(?s)now missing:.*- c"),
    "duplicate names": (lambda X: X.set_axis(list("aabcdefg"), axis=1), ValueError, r"duplicate column names: \['a'\]"),
    "no row": (lambda X: X[:0], ValueError, r"0 sample\(s\) .* a minimum of 1 is required by VAETransformer"),
    "text for numbers": (lambda X: X.assign(a="t"), ValueError, "Column 'a' was fitted with numbers, got 't'"),
    "halves for integers": (lambda X: X.assign(b=1.5), ValueError, "Column 'b' was fitted with integers, got 1.5"),
    "lists for categories": (
        lambda X: X.assign(c=[[1]] * 4),
        TypeError,
        r"Column 'c': argument must be a string or a number, not 'list' \(a cell holds \[1\]\)",
    ),
    "text for dates": (
        lambda X: X.assign(d="2020-01-01"),
        ValueError,
        "Column 'd' was fitted with datetimes, got dtype (str|object)",
    ),
    "text for booleans": (lambda X: X.assign(flag="no"), ValueError, "Column 'flag' was fitted with booleans, got 'no'"),
    "infinity": (lambda X: X.assign(a=-np.inf), ValueError, "Input X contains infinity .* in column 'a'"),
    "too far": (lambda X: X.assign(a=1e30), ValueError, r"Column 'a' holds 1e\+30, too far from the -.* that fit saw"),
    "images": (lambda X: np.ones((4, 2, 4)), ValueError, "rows of shape .* is expecting flat rows"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_refused_by_column_and_value(odd_vae, name):
    frame, vae = odd_vae
    change, error, message = IMPOSSIBLE[name]
    with pytest.raises(error, match=message):
        vae.impute(change(frame[:4]))


def test_a_category_that_the_dtype_lacks_is_filled_in(odd_vae):
    frame, vae = odd_vae
    other = frame[:4].assign(size=["S", "XXL", "M", None])
    with pytest.warns(UserWarning, match="Column 'size' holds 'XXL', which fit did not see"):
        filled = vae.impute(other)
    assert filled["size"].notna().all()
    assert filled["size"].tolist()[::2] == ["S", "M"]


@pytest.fixture(scope="module", params=[0.15, 0.0], ids=["holes in fit", "complete in fit"])
def toy_vae(request):
    frame = known_conditionals(4000, np.random.default_rng(0), request.param)
    return VAETransformer(random_state=0).fit(frame)


def test_draws_have_the_mean_spread_and_frequencies_of_the_conditional(toy_vae):
    rows = pd.DataFrame({"x": [1.0, -1.0] * 300, "y": np.nan, "answer": None, "copy": None})
    drawn = pd.concat(toy_vae.impute(rows, n_draws=10, random_state=0))
    for x, share in ((1.0, 0.8), (-1.0, 0.3)):
        some = drawn[drawn["x"] == x]
        assert some["y"].mean() == pytest.approx(2 * x, abs=0.1)
        assert some["y"].std() == pytest.approx(0.5, abs=0.05)
        assert (some["answer"] == "yes").mean() == pytest.approx(share, abs=0.06)
        # the missing cells of a row follow each other, although few rows of the fit have as many holes
        assert (some["answer"] == some["copy"]).mean() == pytest.approx(0.9, abs=0.07)


def test_missing_cells_of_a_row_are_as_correlated_as_in_the_data(toy_vae):
    rows = pd.DataFrame({"x": np.nan, "y": np.nan, "answer": ["yes", "no"] * 300})
    rows["copy"] = rows["answer"]
    drawn = pd.concat(toy_vae.impute(rows, n_draws=5, random_state=0))
    truth = known_conditionals(40_000, np.random.default_rng(1), 0).query("copy == answer")
    for answer in ("yes", "no"):
        some, real = (frame[frame["answer"] == answer] for frame in (drawn, truth))
        assert some["x"].mean() == pytest.approx(real["x"].mean(), abs=0.1)
        assert some[["x", "y"]].corr().iloc[0, 1] == pytest.approx(real[["x", "y"]].corr().iloc[0, 1], abs=0.03)


def test_the_centre_is_the_mean_of_the_draws(toy_vae):
    rows = known_conditionals(100, np.random.default_rng(2), 0)
    rows["y"] = np.nan
    draws = toy_vae.impute(rows, n_draws=200, random_state=0)
    centre = toy_vae.impute(rows)
    mean = np.mean([drawn["y"] for drawn in draws], axis=0)
    assert (mean - centre["y"]).abs().max() < 5 * 0.5 / np.sqrt(200)


def test_a_column_missing_where_others_of_its_rows_are_is_drawn_as_seen_rows_have_it():
    """A cell that is nearly always missing, with cells of its own when it is not, must not move the others."""
    rng = np.random.default_rng(0)
    n = 3000
    pool = rng.random(n) < 0.05
    frame = pd.DataFrame({"plot": rng.normal(np.where(pool, 30.0, 10.0), 1.0)})
    frame["pool"] = np.where(pool, "big", None)
    frame.loc[rng.random(n) < 0.1, "plot"] = np.nan
    vae = VAETransformer(max_iter=30, random_state=0).fit(frame)
    holed = frame.copy()
    holed["plot"] = np.nan
    drawn = pd.concat(vae.impute(holed, n_draws=2, random_state=0))
    assert drawn["pool"].eq("big").all()
    assert drawn["plot"][frame["pool"].isna()].median() == pytest.approx(10, abs=0.5)
    assert drawn["plot"][frame["pool"].notna()].median() == pytest.approx(30, abs=1.0)


def assert_only_missing_cells_differ(drawn, frame):
    assert (drawn.dtypes == frame.dtypes).all()
    assert_array_equal(drawn.index, frame.index)
    for column in frame:
        seen = frame[column].notna()
        pd.testing.assert_series_equal(drawn.loc[seen, column], frame.loc[seen, column], check_exact=True)


@pytest.fixture(scope="module")
def mixed_vae(mixed_frame):
    return VAETransformer(latent_dim=3, max_iter=5, random_state=0).fit(mixed_frame)


@pytest.mark.parametrize("generator", ["autoregressive", "latent"])
def test_observed_cells_stay_to_the_bit_and_all_others_are_filled(mixed_frame, generator):
    vae = VAETransformer(latent_dim=3, generator=generator, max_iter=5, random_state=0).fit(mixed_frame)
    before = mixed_frame.copy()
    draws = vae.impute(mixed_frame, n_draws=3, random_state=0)
    pd.testing.assert_frame_equal(mixed_frame, before)
    assert isinstance(draws, list)
    assert len(draws) == 3
    for drawn in draws:
        assert_only_missing_cells_differ(drawn, mixed_frame)
        assert not drawn.isna().any().any()
    gone = mixed_frame["income"].isna()
    assert (draws[0]["income"] != draws[1]["income"])[gone].mean() > 0.9


@pytest.mark.parametrize("container", [np.asarray, pl.DataFrame, pd.DataFrame])
def test_the_container_is_that_of_the_fit(container):
    X = load_iris().data.copy()
    X[::3, 1] = np.nan
    X = container(X)
    if isinstance(X, pl.DataFrame):
        X = X.fill_nan(None)
    vae = VAETransformer(max_iter=2, random_state=0).fit(X)
    for filled in (vae.impute(X), *vae.impute(X, n_draws=2)):
        assert type(filled) is type(X)
        assert filled.shape == X.shape
        assert np.isfinite(np.asarray(filled)).all()


def test_same_seed_same_draws_and_few_are_the_first_of_many(mixed_vae, mixed_frame):
    two, three, other = (mixed_vae.impute(mixed_frame, n_draws=n, random_state=seed) for n, seed in ((2, 0), (3, 0), (2, 1)))
    for one, same in zip(two, three, strict=False):
        pd.testing.assert_frame_equal(one, same)
    assert not two[0].equals(two[1])
    assert not two[0].equals(other[0])
    # none: the stream that fit seeded, so that calls differ
    assert not mixed_vae.impute(mixed_frame, n_draws=1)[0].equals(mixed_vae.impute(mixed_frame, n_draws=1)[0])


@pytest.mark.parametrize("generator", ["autoregressive", "latent"])
def test_draws_do_not_depend_on_the_memory_at_hand(mixed_frame, generator):
    vae = VAETransformer(generator=generator, max_iter=2, random_state=0).fit(mixed_frame)
    whole = vae.impute(mixed_frame, n_draws=1, random_state=0)[0]
    with sklearn.config_context(working_memory=0.1):
        pd.testing.assert_frame_equal(vae.impute(mixed_frame, n_draws=1, random_state=0)[0], whole)


def test_a_column_that_was_complete_in_fit_is_filled_too(mixed_vae, mixed_frame):
    holed = mixed_frame.copy()
    holed["age"] = holed["age"].astype(float).mask(np.arange(len(holed)) % 3 == 0)
    holed["answer"] = holed["answer"].mask(np.arange(len(holed)) % 3 == 1)
    for filled in (mixed_vae.impute(holed), *mixed_vae.impute(holed, n_draws=2, random_state=0)):
        assert (filled.dtypes == mixed_frame.dtypes).all()
        assert filled["age"].between(0, 120).all()
        seen = holed["age"].notna()
        assert_array_equal(filled["age"][seen], mixed_frame["age"][seen])
        assert filled["answer"].isin(["yes", "no"]).all()


def test_what_is_not_modelled_remains_missing():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"name": [f"row {i}" for i in range(100)], "x": rng.normal(size=100), "empty": np.nan})
    frame.loc[::4, "x"] = np.nan
    vae = VAETransformer(max_iter=2, random_state=0).fit(frame)
    frame.loc[::5, "name"] = None
    for filled in (vae.impute(frame), *vae.impute(frame, n_draws=2)):
        assert filled["x"].notna().all()
        assert filled["empty"].isna().all()
        assert_array_equal(filled["name"].isna(), frame["name"].isna())


def test_a_table_without_holes_comes_back_as_it_is(mixed_vae, mixed_frame):
    whole = mixed_frame.dropna()
    for filled in (mixed_vae.impute(whole), *mixed_vae.impute(whole, n_draws=2)):
        pd.testing.assert_frame_equal(filled, whole)


def test_images_are_drawn_pixel_by_pixel():
    images = load_digits().images[:300].copy()
    images[::2, 3:5, 3:5] = np.nan
    vae = VAETransformer(latent_dim=4, max_iter=5, random_state=0).fit(images)
    one, two = vae.impute(images, n_draws=2, random_state=0)
    assert one.shape == images.shape
    assert_array_equal(one[~np.isnan(images)], images[~np.isnan(images)])
    assert (one[::2, 3:5, 3:5] != two[::2, 3:5, 3:5]).mean() > 0.5
    assert np.isin(one, np.arange(17)).all()


@pytest.mark.parametrize("n_draws", [0, -1, 2.5, True, "3"])
def test_a_number_of_draws_that_cannot_be(mixed_vae, mixed_frame, n_draws):
    with pytest.raises(ValueError, match=r"n_draws must be None or an int in the range \[1, inf\)\. Got .* instead\."):
        mixed_vae.impute(mixed_frame, n_draws=n_draws)


@pytest.mark.parametrize("load", [load_iris, load_wine])
def test_the_best_guess_of_a_category_sees_the_numbers(load):
    # categories come before numbers in the chain: without Bayes' rule the guess would be the most frequent one
    frame = load(as_frame=True).frame.astype({"target": "category"}).sample(frac=1, random_state=0)
    train, test = frame[:100], frame[100:]
    vae = VAETransformer(2, random_state=0).fit(train)
    holed = test.assign(target=pd.Categorical([None] * len(test), categories=[0, 1, 2]))
    guessed = vae.impute(holed)["target"].astype(int)
    assert (guessed == test["target"].astype(int)).mean() > 0.9
    assert (guessed.to_numpy() == vae.conditional_proba(holed, "target").to_numpy().argmax(1)).all()
