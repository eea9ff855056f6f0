"""Frames that people have: all cells of a column say what it is; it comes back as it went in, or is refused with advice."""

import warnings
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction

import dateutil.tz
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from skvae import VAETransformer, quality_report
from skvae.containers import as_frame, read_cells

N = 240
RNG = np.random.default_rng(0)
X = RNG.normal(size=N)


def objects(cells):
    series = pd.Series(index=range(N), dtype=object)
    series[:] = list(cells)
    return series


DAYS = [date(2020, 1, 1) + timedelta(days=k) for k in range(N)]
LATE = [None] * 150  # more cells than a look at the first hundred sees
OBJECTS = {
    "booleans": ("boolean", RNG.random(N) < 0.5, bool),
    "booleans after missing cells": ("boolean", [*LATE, *(RNG.random(N - 150) < 0.5)], bool),
    "floats after missing cells": ("float", [*LATE, *X[150:]], float),
    "integers": ("integer", RNG.integers(0, 9, N), int),
    "integers after strings": ("object", [*["a", "b"] * 60, *[1, 2] * 60], (str, int)),
    "numbers of all kinds": ("float", [True, 1, 2.5, Fraction(1, 4)] * 60, float),
    "numpy's scalars": ("float", X.astype(np.float32), float),
    "dates": ("date", DAYS, date),
    "dates after missing cells": ("date", [*LATE, *DAYS[150:]], date),
    "decimals": ("decimal", [Decimal(f"{value:.2f}") for value in X], Decimal),
    "decimals after missing cells": ("decimal", [*LATE, *(Decimal(f"{value:.3f}") for value in X[150:])], Decimal),
    "timestamps": ("datetime", [pd.Timestamp(day) + pd.Timedelta(hours=7) for day in DAYS], pd.Timestamp),
    "moments of Python": ("datetime", [datetime(2020, 1, 1, k % 24) for k in range(N)], pd.Timestamp),
    "NaT, then timestamps": ("datetime", [*[pd.NaT] * 150, *map(pd.Timestamp, DAYS[150:])], pd.Timestamp),
    "durations": ("duration", [timedelta(hours=k) for k in range(N)], pd.Timedelta),
    "strings": ("text", ["a", "b", None] * 80, str),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_a_column_of_objects_is_what_all_of_its_cells_are(name):
    kind, cells, types = OBJECTS[name]
    frame = pd.DataFrame({"x": X, "a": objects(cells)})
    found, _ = read_cells(as_frame(frame)["a"])
    assert found.kind == kind
    vae = VAETransformer(max_iter=1, random_state=0).fit(frame)
    drawn = vae.sample(N)
    assert drawn["a"].dtype == object
    there = drawn["a"].dropna()
    assert len(there) > 0
    assert all(isinstance(cell, types) for cell in there)
    if kind not in ("float", "datetime", "duration", "date"):
        assert set(there) <= (set(frame["a"].dropna()) if kind != "decimal" else set(there))
    if kind == "decimal":
        n_decimals = -next(cell for cell in cells if cell is not None).as_tuple().exponent
        assert all(cell.as_tuple().exponent == -n_decimals for cell in there)
    assert vae.transform(drawn).shape == (N, 2)
    pd.testing.assert_frame_equal(vae.impute(drawn.dropna()), drawn.dropna())
    assert np.isfinite(quality_report(frame, drawn, random_state=0).summary.loc["shape_error", "value"])


REFUSED = {
    "a time of day": (
        objects([time(3)] * N),
        r"'time' .*Convert it to a duration: pd.to_timedelta\(X\['a'\].astype\(str\)\)",
    ),
    "a period": (objects(pd.period_range("2020-01", periods=N)), r"Convert it to dates: pd.PeriodIndex\(X\['a'\]\)"),
    "periods": (
        pd.Series(pd.period_range("2020-01", periods=N)),
        r"dtype period\[D\] is not supported. Convert it to dates",
    ),
    "intervals": (pd.Series(pd.interval_range(0, N)), "Convert it to categories"),
    "a dict": (objects([{"a": 1}] * N), r"argument must be a string or a number, not 'dict' \(a cell holds {'a': 1}\)"),
    "dicts after strings": (objects(["a"] * 200 + [{"a": 1}] * 40), "not 'dict'"),
    "a list": (objects([[1, 2]] * N), "not 'list'"),
    "bytes": (objects([b"a"] * N), r"Convert it to strings: X\['a'\].str.decode"),
    "complex numbers": (pd.Series(X + 1j), "two columns of numbers"),
    "moments with a zone": (objects([pd.Timestamp("2020", tz="UTC")] * N), r"pd.to_datetime\(X\['a'\], utc=True\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_supported_is_refused_with_what_to_write(name):
    series, message = REFUSED[name]
    with pytest.raises(TypeError, match=f"Column 'a': .*{message}"):
        VAETransformer(max_iter=1).fit(pd.DataFrame({"x": X, "a": series}))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pl.Series([time(3)] * N), r"dtype Time is not supported. Convert it to a duration: X\['a'\].cast\(pl.Duration\)"),
        (pl.Series([[1, 2]] * N), r"dtype List\(Int64\) is not supported"),
        (pl.Series([b"a"] * N), r"Convert it to strings: X\['a'\].cast\(pl.String\)"),
    ],
)
def test_the_advice_is_of_the_frame_at_hand(column, message):
    with pytest.raises(TypeError, match=message):
        VAETransformer(max_iter=1).fit(pl.DataFrame({"x": X, "a": column}))


@pytest.mark.parametrize("cells", [[10**30] * N, [2**63] * N])
def test_integers_beyond_64_bits_are_refused_by_name(cells):
    with pytest.raises(ValueError, match="Column 'a' holds Python ints beyond 64 bits"):
        VAETransformer(max_iter=1).fit(pd.DataFrame({"x": X, "a": objects(cells)}))
    with pytest.raises(ValueError, match="Column 'a' holds integers beyond 64 bits"):
        VAETransformer(max_iter=1).fit(pl.DataFrame({"x": X, "a": pl.Series(cells, dtype=pl.Int128)}))


DTYPES = {
    "categories that are tuples": pd.Series(pd.Categorical([(1, 2), (3, 4), (5, 6)] * 80)),
    "categories that are intervals": pd.cut(pd.Series(X), 4),
    "a zone of dateutil": pd.Series(pd.date_range("2020-01-01", periods=N, tz=dateutil.tz.tzoffset("Here", 5400))),
    "decimals of 256 bits": pd.Series([Decimal("1.25"), Decimal("2.50")] * 120).astype(pd.ArrowDtype(pa.decimal256(50, 2))),
    "half precision": pd.Series(X.astype(np.float16)),
}


@pytest.mark.parametrize("name", DTYPES)
def test_rare_dtypes_come_back(name):
    frame = pd.DataFrame({"x": X, "a": DTYPES[name]})
    vae = VAETransformer(max_iter=1, random_state=0).fit(frame)
    for out in (vae.sample(20), vae.inverse_transform(vae.transform(frame)), vae.impute(frame)):
        assert (out.dtypes == frame.dtypes).all()
        assert out["a"].notna().all()
    pd.testing.assert_frame_equal(vae.impute(frame), frame)


@pytest.mark.parametrize("dtype", [pl.Int128, pl.Int8, pl.Object])
def test_dtypes_of_polars_come_back(dtype):
    frame = pl.DataFrame({"": X, "a": pl.Series(RNG.integers(0, 3, N).tolist(), dtype=dtype)})
    vae = VAETransformer(max_iter=1, random_state=0).fit(frame)
    drawn = vae.sample(20)
    assert drawn.schema == frame.schema
    assert vae.transform(drawn).shape == (20, 2)  # a column without a name keeps none


def test_a_list_of_lists_keeps_its_numbers():
    """numpy alone would make texts of them."""
    rows = [[0.5, 3, "a"], [0.7, 4, "b"], [None, 2, "a"]] * 30
    drawn = VAETransformer(max_iter=1, random_state=0).fit(rows).sample(50)
    assert drawn.dtype == object
    assert {type(cell) for cell in drawn[:, 0]} == {float, type(None)}
    assert {type(cell) for cell in drawn[:, 1]} == {int}
    assert set(drawn[:, 2]) <= {"a", "b"}


def test_a_zero_that_is_drawn_has_no_sign():
    drawn = VAETransformer(max_iter=1, random_state=0).fit(RNG.normal(0, 0.3, (500, 2)).round(1)).sample(500)
    assert (drawn == 0).any()
    assert not np.signbit(drawn[drawn == 0]).any()


def test_a_column_of_integers_is_imputed_where_it_came_without_holes():
    frame = pd.DataFrame({"year": np.arange(1950, 2020), "x": RNG.normal(size=70)})
    holed = frame.astype({"year": float})
    holed.loc[3, "year"] = np.nan
    modelled = VAETransformer(max_iter=2, random_state=0).fit(frame)
    for filled in (modelled.impute(holed), *modelled.impute(holed, n_draws=2)):
        assert filled["year"].dtype == np.int64
        assert 1950 <= filled["year"][3] <= 2019
        assert (filled["year"].drop(3) == frame["year"].drop(3)).all()
    named = VAETransformer(max_iter=2, likelihood={"year": "identifier"}, random_state=0).fit(frame)
    assert named.ignored_features_ == ["year"]
    filled = named.impute(holed)["year"]  # there is nothing to fill in, and a dtype with room for that
    assert filled.isna().tolist() == holed["year"].isna().tolist()
    assert (filled.dropna() == holed["year"].dropna()).all()


def test_names_of_rows_are_never_given_twice():
    frame = pd.DataFrame({"id": np.arange(100, 170), "code": [f"N{k:03d}" for k in range(70)], "x": RNG.normal(size=70)})
    vae = VAETransformer(max_iter=2, likelihood={"id": "identifier"}, random_state=0).fit(frame)
    drawn = pd.concat([frame, vae.sample(3), vae.sample(3, random_state=0), vae.sample(3, random_state=0)])
    assert drawn["id"].is_unique
    assert drawn["code"].is_unique
    assert drawn["code"].iloc[-1] == "N078"


def test_folds_of_one_table_have_one_schema():
    """A column of consecutive integers is a number in each of them."""
    rng = np.random.default_rng(0)
    year = np.arange(1950, 2020)
    frame = pd.DataFrame({"year": year, "x": 0.1 * (year - 1985) + rng.normal(size=70)})
    for fold in (frame, frame[frame.index % 3 != 0], frame.iloc[:50]):
        vae = VAETransformer(max_iter=2, random_state=0).fit(fold)
        assert vae.ignored_features_ == []
        assert vae._schema.n_variables == 2


@pytest.mark.parametrize("value", [(5, 8), [5, 8], {5, 8}, np.array([5, 8])])
def test_a_condition_of_several_values_is_refused_plainly(value):
    frame = pd.DataFrame({"a": np.arange(100.0), "b": np.arange(100) * 0.5})
    with pytest.raises(ValueError, match=r"in column 'a', .*a condition is one value; give a DataFrame with a row for each"):
        VAETransformer(max_iter=1, random_state=0).fit(frame).sample(2, given={"a": value})


def test_a_category_that_is_a_tuple_may_be_given():
    frame = pd.DataFrame({"x": X, "a": DTYPES["categories that are tuples"]})
    drawn = VAETransformer(max_iter=1, random_state=0).fit(frame).sample(3, given={"a": (3, 4)})
    assert drawn["a"].tolist() == [(3, 4)] * 3


# --- categories that fit did not see -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kinds():
    """Rows of three kinds; the name of the kind, two numbers that tell it, letters that do not, and a yes or no."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, 600)
    return pd.DataFrame(
        {
            "kind": np.array(list("abc"))[kind],
            "x": rng.normal(3 * kind, 1),
            "y": rng.normal(-kind, 1),
            "letter": rng.choice(list("uvwz"), 600, p=[0.6, 0.3, 0.09, 0.01]),
            "bit": rng.integers(0, 2, 600),
        }
    )


@pytest.mark.parametrize("generator", ["autoregressive", "latent"])
@pytest.mark.parametrize(("column", "unseen"), [("kind", "Q"), ("letter", "Q"), ("bit", 7)])
def test_a_category_never_seen_is_never_more_normal_than_one_that_was(kinds, generator, column, unseen):
    vae = VAETransformer(3, generator=generator, max_iter=30, random_state=0).fit(kinds)
    other = kinds.assign(**{column: unseen})
    with pytest.warns(UserWarning, match=f"Column '{column}' holds {unseen!r}, which fit did not see"):
        scores = vae.score_samples(other)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # once a column, not at every call
        density, cells = vae.log_density(other), vae.score_cells(other)[column]
    assert (scores < vae.score_samples(kinds)).all()
    assert (density < vae.log_density(kinds)).all()
    rarest = min(vae.score_cells(kinds.assign(**{column: level}))[column].mean() for level in kinds[column].unique())
    assert cells.mean() < rarest
    assert (cells <= -np.log(601) + 1e-4).all()
