"""What a linear model sees in few rows is in the draws; spikes, grids and ends are those of the data; given is filtered."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skvae import VAETransformer

# --- spikes ----------------------------------------------------------------------------------------------------------


def beside(spike, rest, n, rng):
    values = rest.copy()
    values[rng.random(n) < 0.1] = spike
    return values


def spiked(kind, rng, n=1000):
    """A column with a tenth of a value far away, that value, and where the gap is."""
    normal = rng.normal(50, 5, n)
    whole = normal.round().astype(np.int64)
    day = np.datetime64("2020-01-01", "s") + whole * np.timedelta64(86_400, "s")
    far = np.datetime64("9999-12-31", "s")
    return {
        "below": lambda: (beside(-999.0, normal, n, rng), -999.0, (-998.0, normal.min() - 10)),
        "above, integers": lambda: (beside(99_999, whole, n, rng), 99_999, (whole.max() + 15, 99_998)),
        "zero": lambda: (beside(0.0, normal, n, rng), 0.0, (0.5, normal.min() - 10)),
        "dates": lambda: (beside(far, day, n, rng), far, (day.max() + np.timedelta64(20 * 86_400, "s"), far - 86_400)),
    }[kind]()


@pytest.mark.parametrize("n", [80, 300, 1500])
@pytest.mark.parametrize("kind", ["below", "above, integers", "zero", "dates"])
def test_nothing_is_drawn_between_a_spike_and_the_others_and_their_tail_is_kept(kind, n):
    values, spike, (left, right) = spiked(kind, np.random.default_rng(0), n)
    frame = pd.DataFrame({"a": values, "b": np.random.default_rng(1).normal(size=n)})
    drawn = VAETransformer(2, max_iter=5, random_state=0).fit(frame).sample(20_000, random_state=0)["a"]
    assert ((drawn > left) & (drawn < right)).sum() < 20
    assert (drawn == spike).mean() == pytest.approx((frame["a"] == spike).mean(), abs=0.03)
    others, kept = frame["a"][frame["a"] != spike], drawn[drawn != spike]
    for q in (0.05, 0.5, 0.95):
        share = (kept <= others.quantile(q)).mean()
        assert share == pytest.approx((others <= others.quantile(q)).mean(), abs=0.03 + 1.5 * np.sqrt(q * (1 - q) / n))


# --- grids -----------------------------------------------------------------------------------------------------------

GRIDS = {
    "multiples of 25": (lambda rng: (rng.normal(4200, 800, 300) / 25).round().astype(int) * 25, lambda x: x % 25 == 0),
    "prices": (lambda rng: rng.integers(1, 60, 300) + 0.99, lambda x: (x * 100).round() % 100 == 99),
    "halves": (lambda rng: (rng.normal(170, 8, 300) * 2).round() / 2, lambda x: x * 2 % 1 == 0),
    "dates as integers": (
        lambda rng: pd.date_range("2015-01-05", periods=900)[rng.integers(0, 900, 300)].strftime("%Y%m%d").astype(int),
        lambda x: pd.to_datetime(x.astype(str), format="%Y%m%d", errors="coerce").notna(),
    ),
    "standardised ages": (
        lambda rng: (rng.integers(18, 80, 300) - 48.3) / 13.1,
        lambda x: np.abs(((x * 13.1 + 48.3) + 0.5) % 1 - 0.5) < 1e-6,
    ),
}


@pytest.mark.parametrize("kind", GRIDS)
def test_draws_lie_on_the_grid_of_the_data(kind):
    make, fits = GRIDS[kind]
    frame = pd.DataFrame({"a": make(np.random.default_rng(0)), "b": np.random.default_rng(1).normal(size=300)})
    vae = VAETransformer(2, max_iter=5, random_state=0).fit(frame)
    drawn = vae.sample(2000, random_state=0)["a"]
    assert fits(drawn).all()
    assert drawn.dtype == frame["a"].dtype
    assert drawn.nunique() > 20
    assert np.isfinite(vae.score_samples(frame)).all()


def test_integers_that_are_dates_are_refused_where_they_are_none():
    frame = pd.DataFrame({"day": [20200101 + k for k in range(28)], "x": np.arange(28.0)})
    vae = VAETransformer(1, max_iter=2, random_state=0).fit(frame)
    with pytest.raises(ValueError, match=r"Column 'day' was fitted with dates as integers, such as 20261125, got 20201341"):
        vae.transform(frame.assign(day=20201341))
    assert vae.sample(3, given={"day": 20200105})["day"].tolist() == [20200105] * 3


def test_numbers_that_repeat_off_any_grid_are_drawn_as_they_are():
    rng = np.random.default_rng(0)
    prices = np.array([7.25, 8.05, 13.0, 26.55, 7.8958, 10.5, 52.0, 7.775, 31.275, 16.1])
    fare = np.where(rng.random(400) < 0.8, rng.choice(prices, 400), rng.exponential(20, 400).round(4))
    frame = pd.DataFrame({"fare": fare, "x": rng.normal(size=400)})
    drawn = VAETransformer(2, max_iter=5, random_state=0).fit(frame).sample(4000, random_state=0)["fare"]
    assert drawn.isin(prices).mean() == pytest.approx(frame["fare"].isin(prices).mean(), abs=0.06)


# --- ends ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [100, 1500])
@pytest.mark.parametrize("integers", [False, True])
def test_the_extremes_of_the_data_are_drawn_no_more_often_than_held_out_rows_hold_them(n, integers):
    rng = np.random.default_rng(0)
    values = rng.gamma(3, 300, n)
    frame = pd.DataFrame({"a": values.round().astype(int) if integers else values, "b": rng.normal(size=n)})
    vae = VAETransformer(2, max_iter=5, random_state=0).fit(frame)
    drawn = vae.sample(20 * n, random_state=0)["a"]
    for extreme in (frame["a"].min(), frame["a"].max()):
        assert (drawn == extreme).sum() < 20 * 1.5  # it is in about one of two tables of as many rows
    assert 1 < (drawn > frame["a"].max()).sum() < 20 * 5
    assert drawn.min() >= 0


def test_integers_stay_within_their_dtype():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.integers(200, 256, 200).astype(np.uint8), "b": rng.normal(size=200)})
    drawn = VAETransformer(1, max_iter=2, random_state=0).fit(frame).sample(2000, random_state=0)["a"]
    assert drawn.min() > 100


# --- what a linear model sees -----------------------------------------------------------------------------------------


def test_classes_of_a_small_table_keep_their_means_and_spreads():
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, 90)
    frame = pd.DataFrame(rng.normal(size=(90, 6)) * (1 + kind[:, None]) + 4 * np.eye(3, 6)[kind], columns=list("abcdef"))
    frame["kind"] = np.array(["x", "y", "z"])[kind]
    drawn = VAETransformer(2, random_state=0).fit(frame).sample(6000, random_state=0)
    for name, real in frame.groupby("kind"):
        some = drawn[drawn["kind"] == name]
        assert len(some) / 6000 == pytest.approx(len(real) / 90, abs=0.06)
        assert_allclose(
            some.mean(numeric_only=True), real.mean(numeric_only=True), atol=0.5 * real.std(numeric_only=True).max()
        )
    spreads = drawn.groupby("kind")["f"].std()
    assert spreads["x"] < spreads["y"] < spreads["z"]


def test_categories_of_a_small_table_follow_each_other():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 3, 120)
    second = np.where(rng.random(120) < 0.85, first, rng.integers(0, 3, 120))
    frame = pd.DataFrame({"a": np.array(list("uvw"))[first], "b": np.array(list("xyz"))[second]})
    drawn = VAETransformer(2, random_state=0).fit(frame).sample(10_000, random_state=0)
    real, found = (pd.crosstab(one["a"], one["b"], normalize=True) for one in (frame, drawn))
    assert np.abs(found - real).sum().sum() / 2 < 0.06


def test_cells_of_a_small_table_are_missing_together():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(400, 3)), columns=list("abc"))
    gone = rng.random(400) < 0.3
    frame.loc[gone, "a"] = np.nan
    frame.loc[gone & (rng.random(400) < 0.5), "b"] = np.nan
    drawn = VAETransformer(2, random_state=0).fit(frame).sample(10_000, random_state=0)
    both = frame[["a", "b"]].isna().all(axis=1).mean()
    assert drawn[["a", "b"]].isna().all(axis=1).mean() == pytest.approx(both, abs=0.02)
    assert (drawn["b"].isna() & drawn["a"].notna()).mean() < 0.02


# --- given -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["text", "boolean"])
def fraud(request):
    """Six columns of noise, two of which are shifted by 3 for 2 % of the rows."""
    rng = np.random.default_rng(0)
    X, rare = rng.normal(size=(2000, 6)), rng.random(2000) < 0.02
    X[rare, :2] += 3
    frame = pd.DataFrame(X, columns=[f"v{j}" for j in range(6)])
    frame["kind"] = np.where(rare, "fraud", "fine") if request.param == "text" else rare
    vae = VAETransformer(2, max_iter=20, random_state=0).fit(frame)
    return frame, vae, vae.sample(200_000, random_state=0), "fraud" if request.param == "text" else True


def conditions(is_fraud):
    """Values of some columns, and which free draws have them, nearly."""
    return {
        "a rare class": ({"kind": is_fraud}, lambda rows: rows["kind"] == is_fraud),
        "a number": ({"v0": 2.5}, lambda rows: rows["v0"].between(2.4, 2.6)),
        "both": ({"kind": is_fraud, "v3": 0.5}, lambda rows: (rows["kind"] == is_fraud) & rows["v3"].between(0.3, 0.7)),
        "numbers": ({"v0": 2.0, "v1": 2.0}, lambda rows: rows["v0"].between(1.8, 2.2) & rows["v1"].between(1.8, 2.2)),
    }


@pytest.mark.parametrize("name", conditions(True))
def test_given_equals_filtering(fraud, name):
    _, vae, free, is_fraud = fraud
    given, filtered = conditions(is_fraud)[name]
    some = free[filtered(free)]
    drawn = vae.sample(3000, given=given, random_state=0)
    for column, value in given.items():
        assert_array_equal(drawn[column], value)
    for column in sorted(set(free) - set(given)):
        one, other = (
            (rows[column] == is_fraud if column == "kind" else rows[column]).astype(float) for rows in (drawn, some)
        )
        # draws of one pool of candidates repeat: an effective number of at least that of the rows
        error = np.sqrt(2 * one.var() / len(one) + other.var() / len(other))
        assert abs(one.mean() - other.mean()) < 3.5 * error + 0.02


def test_the_rare_class_is_as_in_the_data(fraud):
    frame, vae, _, is_fraud = fraud
    real = frame.loc[frame["kind"] == is_fraud, ["v0", "v1"]].mean()
    drawn = vae.sample(2000, given={"kind": is_fraud}, random_state=0)[["v0", "v1"]].mean()
    assert_allclose(drawn, real, atol=0.45)
    holed = frame[frame["kind"] == is_fraud].assign(v0=np.nan)
    assert vae.impute(holed)["v0"].mean() == pytest.approx(real["v0"], abs=0.6)
    draws = pd.concat(vae.impute(holed, n_draws=5, random_state=0))["v0"]
    assert draws.mean() == pytest.approx(real["v0"], abs=0.6)
