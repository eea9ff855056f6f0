"""Pack then unpack is the identity, for every kind of column and of image; and what does not fit is refused by name."""

from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from polars.testing import assert_frame_equal as assert_polars_equal

from skvae.columns import KINDS, NumericColumn
from skvae.likelihoods import LIKELIHOODS
from skvae.modalities import Packed
from skvae.rows import to_part
from skvae.schema import Schema
from skvae.views import VIEWS

RNG = np.random.default_rng(0)
COLUMNS = {
    "float64": pd.Series([1.5, -2.25, 1e6, 0.0]),
    "float64 missing": pd.Series([0.1, None, 0.3, -0.7]),
    "float32": pd.Series([0.1, 0.25, -3.0, 7.5], dtype="float32"),
    "float16": pd.Series([0.5, 0.25, -3.0, 7.5], dtype="float16"),
    "constant": pd.Series([3.5, 3.5, 3.5, 3.5]),
    "all missing": pd.Series([None] * 4, dtype="float64"),
    "int8": pd.Series([-3, 0, 127, 5], dtype="int8"),
    "uint64": pd.Series([1, 2, 3, 1_000_000], dtype="uint64"),
    "huge int64": pd.Series([2**63 - 1, 2**63 - 2, 2**63 - 5, 2**63 - 2]),
    "least int64": pd.Series([-(2**63), 5 - 2**63, 7 - 2**63, -(2**63)]),
    "least and greatest int64": pd.Series([-(2**63), 2**63 - 1, -(2**63), 2**63 - 1]),
    "greatest int64": pd.Series([5, 2**63 - 1, 2**63 - 1, 5]),
    "halfway uint64": pd.Series([2**63, 2**63 - 1, 2**63 + 1, 2**63], dtype="uint64"),
    "zero to halfway": pd.Series([0, 2**63, 2**63, 0], dtype="uint64"),
    "zero to halfway UInt64": pd.Series([0, 2**63, None, 0], dtype="UInt64"),
    "zero to halfway uint64[pyarrow]": pd.Series([0, 2**63, None, 0], dtype="uint64[pyarrow]"),
    "huge uint64": pd.Series([2**64 - 1, 2**64 - 7, 2**64 - 2, 2**64 - 1], dtype="uint64"),
    "constant beyond 2**53": pd.Series([2**53 + 1] * 4),
    "huge floats": pd.Series([1e300, -1e300, 5e299, 0.0]),
    "tiny floats": pd.Series([1e-300, -1e-300, 5e-301, 0.0]),
    "datetime": pd.Series(pd.to_datetime(["2020-01-01", "2021-03-05", None, "1999-12-31"])),
    "datetime[ns]": pd.Series(np.array(["2020-01-01T00:00:00.000000001", "2020-02-01", "2020-01-05", "NaT"], "M8[ns]")),
    "dates at the limits": pd.Series(np.array(["1677-09-22", "2262-04-11", "2000-01-01", "NaT"], "M8[ns]")),
    "datetime[s] far out": pd.Series(np.array(["0001-01-01", "9999-12-31T23:59:59", "NaT", "2000-01-01"], "M8[s]")),
    "datetime with zone": pd.Series(
        pd.to_datetime(["2020-03-29 01:30", "2020-07-01 12:00", None, "2020-10-25 00:30"], utc=True)
    ).dt.tz_convert("Europe/Oslo"),
    "timedelta": pd.Series(pd.to_timedelta(["1h", "-3 days", None, "90s"])),
    "timestamp[pyarrow]": pd.Series(pd.to_datetime(["2020-01-01", "2021-03-05", None, "1999-12-31"])).astype(
        "timestamp[us][pyarrow]"
    ),
    "date32[pyarrow]": pd.Series([date(2020, 1, 1), None, date(1900, 2, 28), date(2020, 1, 1)]).astype("date32[pyarrow]"),
    "dates of days": pd.Series([date(2020, 1, 1), date(1, 1, 1), date(9999, 12, 31)] * 2).astype("date32[pyarrow]"),
    "all missing days": pd.Series([None] * 4, dtype="date32[pyarrow]"),
    "duration[pyarrow]": pd.Series(pd.to_timedelta(["1h", None, "-3 days", "90s"])).astype("duration[s][pyarrow]"),
    "all missing dates": pd.Series(np.array(["NaT"] * 4, "M8[us]")),
    "Int64": pd.Series([1, None, 3, 4], dtype="Int64"),
    "Float32": pd.Series([1.5, None, 3, 4], dtype="Float32"),
    "int64[pyarrow]": pd.Series([1, None, 3, 4], dtype="int64[pyarrow]"),
    "zero and one": pd.Series([0, 1, 1, 0] * 3),
    "bool": pd.Series([True, False, True, True]),
    "boolean": pd.Series([True, None, False, True], dtype="boolean"),
    "bool object": pd.Series([True, None, False, True], dtype=object),
    "decimal[pyarrow]": pd.Series(["1.25", None, "0.12345678", "-3"]).astype(pd.ArrowDtype(pa.decimal128(18, 8))),
    "dictionary[pyarrow]": pd.Series(["a", None, "c"]).astype(pd.ArrowDtype(pa.dictionary(pa.int8(), pa.string()))),
    "null[pyarrow]": pd.Series([None] * 4, dtype=pd.ArrowDtype(pa.null())),
    "str": pd.Series(["a", "b", "c", "a"]),
    "str missing": pd.Series(["a", None, "c", "a"]),
    "string[pyarrow]": pd.Series(["a", None, "c", "a"], dtype="string[pyarrow]"),
    "object": pd.Series(["a", None, "c", "a"], dtype=object),
    "mixed object": pd.Series(["a", 1, 2.5, None], dtype=object),
    "numeric object": pd.Series([1.5, 2.5, None, 4.0], dtype=object),
    "integer object": pd.Series([1, 2, 3, 4], dtype=object),
    "all missing object": pd.Series([None] * 4, dtype=object),
    "category": pd.Series(["b", "a", None, "b"], dtype=pd.CategoricalDtype(["b", "a", "unused"])),
    "ordered category": pd.Series(["low", "high", "low", "high"], dtype=pd.CategoricalDtype(["low", "high"], ordered=True)),
    "category of numbers": pd.Series([1.5, 2.5, None, 1.5], dtype="category"),
}


class Fitted:
    """A schema of one part, with the methods of that part but for the container."""

    def __init__(self, X, weight, likelihood, image_shape=None, categorical=None):
        parameters = {"likelihood": likelihood, "image_shape": image_shape, "categorical_features": categorical}
        parameters["relations"] = "auto"
        self.schema = Schema().fit(X, np.ones(len(X)) if weight is None else weight, parameters)
        [self.part] = self.schema.parts
        [view] = [VIEWS[kind](spec) for kind, spec in self.schema.specs]
        self.variables = view.variables

    def __getattr__(self, name):
        return getattr(self.part, name)

    def unpack(self, values, index=None):
        return self.schema.unpack([values], index)

    def log_jacobian(self, values):
        return self.part.log_jacobian(Packed(values))


def table(X, likelihood="auto", categorical=None, weight=None):
    return Fitted(X, weight, likelihood, categorical=categorical)


def images(X, likelihood="auto", image_shape=None):
    return Fitted(X, None, likelihood, image_shape=X.shape[1:] if image_shape is None else image_shape)


def round_trip(schema, X):
    """Through the packed array, whose values must be finite."""
    values, observed, unseen = schema.pack(X)
    assert unseen is None
    assert np.isfinite(values).all()
    assert values.shape == (len(X), len(schema.variables))
    assert observed is None or (values[~observed] == 0).all()
    return schema.unpack(values, getattr(X, "index", None))


@pytest.mark.parametrize("name", COLUMNS)
def test_pandas_column_comes_back(name):
    frame = pd.DataFrame({name: COLUMNS[name]})
    frame.index = frame.index * 3 + 1
    pd.testing.assert_frame_equal(round_trip(table(frame), frame), frame)


def test_pandas_frame_comes_back_in_order():
    frame = pd.DataFrame({name: column.iloc[:4] for name, column in COLUMNS.items()})
    pd.testing.assert_frame_equal(round_trip(table(frame), frame), frame)


def test_column_names_may_be_anything():
    frame = pd.DataFrame(np.eye(4), columns=[3, "b", (1, 2), None])
    pd.testing.assert_frame_equal(round_trip(table(frame), frame), frame)
    frame.columns = pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["letter", "digit"])
    pd.testing.assert_frame_equal(round_trip(table(frame), frame), frame)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_numbers_come_back_through_every_likelihood(likelihood):
    """Positive whole numbers, or shares, as the likelihood takes; identity up to the last digits of float64."""
    rng = np.random.default_rng(0)
    values = rng.random(300) if "bernoulli" in likelihood else 1.0 + rng.poisson(5, 300)
    frame = pd.DataFrame({"a": values, "b": values[::-1].copy()})
    schema = table(frame, likelihood)
    pd.testing.assert_frame_equal(round_trip(schema, frame), frame)
    assert {v.likelihood for v in schema.variables} == {
        likelihood if likelihood in NumericColumn.likelihoods() else "histogram"
    }


@pytest.mark.parametrize(
    "column",
    {
        "floats": RNG.normal(size=2000),
        "decimals": RNG.normal(size=2000).round(1),
        "zero-inflated": np.where(RNG.random(2000) < 0.6, 0, RNG.exponential(10, 2000)),
        "integers": RNG.poisson(300, 2000),
        "few integers": RNG.choice([1, 3, 4, 9], 2000),
        "one value": np.full(2000, 3),
    }.items(),
    ids=lambda item: item[0],
)
def test_bins_are_a_distribution_in_the_units_of_the_data(column):
    """With even bins, the density of the histogram integrates (sums) to one over the line, and is high where data are."""
    _, values = column
    schema = table(pd.DataFrame({"a": values}), "histogram")
    size = schema.variables[0].size
    knots, tail = schema.columns[0].scaling.knots, 30 * values.std() + 5

    def density(grid):
        packed, *_ = schema.pack(pd.DataFrame({"a": grid.astype(values.dtype)}))
        return np.exp(schema.log_jacobian(packed)[:, 0]) / size

    if values.dtype.kind == "i":
        total = density(np.arange(int(knots[0] - tail), int(knots[-1] + tail))).sum()
    else:
        ends = knots[0] - np.geomspace(1e-9, tail, 10_001)[::-1], knots[-1] + np.geomspace(1e-9, tail, 10_001)
        inside = density((knots[1:] + knots[:-1]) / 2) @ np.diff(knots)
        total = inside + sum(np.trapezoid(density(grid), grid) for grid in ends)
    assert total == pytest.approx(1, abs=0.01)


def test_repeated_values_are_drawn_as_they_are():
    """Amounts that repeat are as frequent in draws of even bins as in the data, and nothing lies between them."""
    amounts = np.array([7688.0, 15024.0, 99999.0, 3103.5, 5178.0])
    values = np.where(RNG.random(5000) < 0.9, 0.0, RNG.choice(amounts, 5000, p=[0.4, 0.3, 0.15, 0.1, 0.05]))
    schema = table(pd.DataFrame({"a": values}), "histogram")
    scaling = schema.columns[0].scaling
    packed, *_ = schema.pack(pd.DataFrame({"a": values}))
    assert_array_equal(schema.unpack(packed)["a"], values)
    share = np.bincount(packed[:, 0].astype(int)) / 5000
    draws = RNG.choice(len(share), 20_000, p=share) + RNG.random(20_000) * (1 - 1e-6)
    drawn = scaling.unpack(draws)
    assert np.isin(drawn, [0, *amounts]).mean() > 0.995
    for amount in (0, *amounts):
        assert (drawn == amount).mean() == pytest.approx((values == amount).mean(), abs=0.01)


def test_values_that_differ_by_rounding_are_one():
    values = RNG.normal(size=6000).round(1) * 3  # 0.3 and 0.1 * 3, as sums and differences of decimals are
    values[::2] += 2 * np.spacing(values[::2])
    frame = pd.DataFrame({"a": values})
    schema = table(frame, "histogram")
    back = schema.unpack(schema.pack(frame).values)
    np.testing.assert_allclose(back["a"], values, rtol=1e-14, atol=1e-14)
    assert schema.variables[0].size <= 64


@pytest.mark.parametrize("container", [pd.DataFrame, pl.DataFrame])
def test_ordinal_codes_follow_the_order_of_the_dtype(container):
    levels = ["low", "middle", "high"]
    dtype = pd.CategoricalDtype(levels, ordered=True) if container is pd.DataFrame else pl.Enum(levels)
    series = pd.Series if container is pd.DataFrame else pl.Series
    frame = container({"a": series(["high", "low", "middle", "low"], dtype=dtype)})
    values, *_ = table(frame, "ordinal").pack(frame)
    assert_array_equal(values[:, 0], [2, 0, 1, 0])


def test_identifiers_are_not_modelled_but_made_in_kind():
    n = 60
    frame = pd.DataFrame(
        {
            "code": [f"ID-{k:04d}" for k in range(n)],
            "name": [f"{k} Smith, J." for k in range(n)],
            "x": RNG.normal(size=n),
        }
    )
    schema = table(frame)
    assert len(schema.variables) == 1
    out = schema.unpack(np.zeros((3, 1)))
    assert out["code"].tolist() == ["ID-0060", "ID-0061", "ID-0062"]
    assert out["name"].tolist() == ["name-1", "name-2", "name-3"]
    assert (out.dtypes == frame.dtypes).all()
    assert schema.unpack(np.zeros((1, 1)))["code"].tolist() == ["ID-0063"]  # never the same twice


def test_consecutive_integers_are_numbers_unless_the_user_says_that_they_name_rows():
    frame = pd.DataFrame({"year": np.arange(1950, 2020), "x": RNG.normal(size=70)})
    assert len(table(frame).variables) == 2
    assert table(frame).ignored == []
    schema = table(frame, {"year": "identifier"})
    assert schema.ignored == ["year"]
    assert schema.unpack(np.zeros((2, 1)))["year"].tolist() == [2020, 2021]
    assert schema.unpack(np.zeros((2, 1)))["year"].tolist() == [2022, 2023]


def test_the_kind_of_a_text_column_does_not_depend_on_which_rows_a_fold_got():
    names = np.array([f"{k} Smith" for k in range(200)], dtype=object)
    names[::40] = "0 Smith"
    frame = pd.DataFrame({"name": names, "x": RNG.normal(size=200)})
    with pytest.warns(
        UserWarning, match="Column 'name' holds 196 distinct strings in 200 rows, so it is taken as an identifier"
    ):
        assert table(frame).ignored == ["name"]
    assert table(frame.iloc[1:40]).ignored == []  # too few to tell
    assert table(frame.iloc[81:160]).ignored == ["name"]


def test_free_text_is_refused_with_advice():
    texts = [f"{k % 10_001} words" for k in range(20_100)]
    with pytest.raises(ValueError, match=r"Column 'essay' holds 10001 distinct values, .*X.drop\(columns=\['essay'\]\)"):
        table(pd.DataFrame({"essay": texts}))


POLARS = {
    "f64": pl.Series([1.5, None, 3.0, 4.25]),
    "f32": pl.Series([0.1, 0.2, 0.3, 0.4], dtype=pl.Float32),
    "i8": pl.Series([1, None, 3, 4], dtype=pl.Int8),
    "u32": pl.Series([1, 2, 3, 400], dtype=pl.UInt32),
    "decimal": pl.Series(["1.25", None, "-3", "2"]).cast(pl.Decimal(10, 2)),
    "null": pl.Series([None] * 4),
    "bool": pl.Series([True, None, False, True]),
    "str": pl.Series(["a", None, "c", "a"]),
    "cat": pl.Series(["a", None, "c", "a"], dtype=pl.Categorical),
    "date": pl.Series([date(2020, 1, 1), None, date(1900, 2, 28), date(2020, 1, 1)]),
    "datetime": pl.Series([datetime(2020, 1, 1, 3, 4, 5), None, datetime(1, 1, 1), datetime(9999, 12, 31)]),
    "datetime with zone": pl.Series(
        [datetime(2020, 1, 1), None, datetime(2020, 7, 1), datetime(2020, 8, 1)]
    ).dt.replace_time_zone("Europe/Oslo"),
    "duration": pl.Series([timedelta(hours=1), None, timedelta(days=-3), timedelta(seconds=90)]),
    "enum": pl.Series(["a", None, "c", "a"], dtype=pl.Enum(["c", "a", "unused"])),
}


@pytest.mark.parametrize("name", POLARS)
def test_polars_column_comes_back(name):
    frame = pl.DataFrame({name: POLARS[name]})
    assert_polars_equal(round_trip(table(frame), frame), frame)


@pytest.mark.parametrize(
    "X",
    [
        np.array([[1.5, 2.0], [np.nan, 3.0], [2.5, 4.0]]),
        np.array([[1.5, 2.0], [0.5, 3.0]], dtype=np.float32),
        np.array([[1, 2], [3, 4], [300, 5]]),
        np.array([[True, False], [False, False]]),
        np.array([["a", 1.5], ["b", 2.5]], dtype=object),
    ],
    ids=lambda X: str(X.dtype),
)
def test_array_comes_back(X):
    out = round_trip(table(X), X)
    assert out.dtype == X.dtype
    assert_array_equal(out, X)


IMAGES = {
    "bytes": RNG.integers(0, 256, (6, 4, 5), dtype=np.uint8),
    "colour, channels last": RNG.integers(0, 256, (6, 4, 5, 3), dtype=np.uint8),
    "colour, channels first": RNG.integers(0, 256, (6, 3, 4, 5), dtype=np.uint8),
    "booleans": RNG.random((6, 4, 5)) < 0.5,
    "two values": np.where(RNG.random((6, 4, 5)) < 0.5, -1.0, 3.0),
    "sixteenths": RNG.integers(0, 17, (6, 4, 5)) / 16,
    "continuous": RNG.normal(size=(6, 4, 5)),
    "float32": RNG.normal(size=(6, 20)).astype(np.float32),
    "two bytes": RNG.integers(0, 60_000, (6, 4, 5), dtype=np.uint16),
    "constant": np.full((6, 4, 5), 7.0),
}


@pytest.mark.parametrize("name", IMAGES)
def test_images_come_back(name):
    X = IMAGES[name]
    out = round_trip(images(X), X)
    assert out.dtype == X.dtype
    assert out.shape == X.shape
    np.testing.assert_allclose(out, X, atol=1e-6 if X.dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("name", ["bytes", "sixteenths"])
def test_grey_images_as_shares_of_yes(name):
    X = IMAGES[name]
    schema = images(X, "bernoulli")
    [view] = [VIEWS["image"](spec) for _, spec in schema.schema.specs]
    values = view.read(to_part(schema.pack(X), torch.float64, "cpu"), torch.float64).x.numpy()
    assert values.min() >= 0
    assert values.max() <= 1
    assert_array_equal(
        schema.unpack((values > 0.5).astype(float)),
        np.where(values.reshape(X.shape) > 0.5, X.dtype.type(255 if X.dtype == np.uint8 else 1), X.dtype.type(0)),
    )


def test_shares_of_yes_outside_their_range_are_refused():
    with pytest.raises(ValueError, match=r"lie in \[0, 1\]; X ranges from"):
        images(IMAGES["continuous"], "bernoulli")


def test_every_kind_names_likelihoods_that_exist():
    assert {name for kind in KINDS.values() for name in kind.likelihoods()} <= set(LIKELIHOODS)


def test_packed_columns_are_in_the_order_that_the_model_expects(mixed_frame):
    schema = table(mixed_frame)
    keys = [(variable.coded, variable.likelihood) for variable in schema.variables]
    assert keys == sorted(keys)


def test_missingness_is_a_variable_where_fit_saw_it(mixed_frame):
    schema = table(mixed_frame)
    with_missing = mixed_frame.isna().any()
    assert len(schema.variables) == mixed_frame.shape[1] + with_missing.sum()
    for j, name in enumerate(mixed_frame):
        assert (schema.indicator_at[j] is not None) == with_missing[name]
    values, *_ = schema.pack(mixed_frame)
    at = schema.indicator_at[list(mixed_frame).index("income")]
    assert_array_equal(values[:, at], mixed_frame["income"].isna())


def test_numbers_are_packed_standardised_and_the_jacobian_says_by_how_much():
    frame = pd.DataFrame(
        {"a": RNG.normal(5, 20, 1000), "n": RNG.integers(0, 50, 1000), "huge": RNG.integers(0, 10**6, 1000)}
    )
    schema = table(frame, "gaussian")
    values, *_ = schema.pack(frame)
    np.testing.assert_allclose(values.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(values.std(0), 1, atol=1e-12)
    # a density loses log(scale); an integer's probability does not, unless its lattice counts as a continuum
    expected = [-np.log(frame["a"].std(ddof=0)), 0, -np.log(frame["huge"].std(ddof=0))]
    np.testing.assert_allclose(schema.log_jacobian(values)[0], expected)


def test_an_array_packs_as_a_frame_of_its_columns_does():
    """Columns of one line are packed at once, the others one by one."""
    X = np.column_stack([RNG.normal(5, 20, 300), RNG.random(300), RNG.normal(size=300), RNG.normal(size=300) ** 3]).round(6)
    X[::7, 1], X[::5, 2] = np.nan, np.nan
    X = np.column_stack([X, RNG.integers(0, 2, 300), np.full(300, np.nan)])
    names = [f"x{j}" for j in range(6)]
    likelihood = {"x0": "gaussian", "x1": "continuous_bernoulli", "x2": "student_t", "x3": "histogram"}
    array, frame = (table(data, likelihood) for data in (X, pd.DataFrame(X, columns=names)))
    assert array.packs_at_once(X)
    for one, other in zip(array.pack(X), frame.pack(pd.DataFrame(X, columns=names)), strict=True):
        assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("column", "value", "wrong"), [(0, np.inf, "infinity"), (0, 1e300, "too far"), (1, 1.5, "takes values")]
)
def test_a_cell_of_an_array_that_is_beyond_a_line_is_refused_as_that_of_a_column(column, value, wrong):
    X = RNG.random((50, 2))
    schema = table(X, {"x0": "gaussian", "x1": "bernoulli"})
    X[7, column] = value
    with pytest.raises(ValueError, match=wrong):
        schema.pack(X)


@pytest.mark.parametrize("likelihood", ["gaussian", "normal_scores", "student_t"])
def test_an_amount_that_could_not_be_packed_is_none_that_a_cell_can_hold(likelihood):
    (column,) = table(RNG.normal(size=(200, 1)), {"x0": likelihood}).columns
    assert_array_equal(column.can_hold(np.array([0.5, 1e30, -1e300]), ""), [True, False, False])


def test_a_pixel_beyond_the_bounds_is_refused_in_any_precision():
    X = np.where(RNG.random((20, 4)) < 0.5, 0.1, 0.7)
    schema = images(X, "bernoulli", (2, 2))
    with pytest.raises(ValueError, match=r"got 0.09997"):
        schema.pack(X.astype(np.float16))


def test_weights_count_rows():
    frame = pd.DataFrame({"a": RNG.normal(size=20)})
    weight = RNG.integers(1, 4, 20)
    weighted = table(frame, "gaussian", weight=weight).columns[0]
    repeated = table(frame.loc[frame.index.repeat(weight)], "gaussian").columns[0]
    assert (weighted.scaling.centre, weighted.scaling.scale) == pytest.approx(
        (repeated.scaling.centre, repeated.scaling.scale)
    )


def test_unpacked_numbers_lie_on_the_grid_and_keep_their_sign():
    frame = pd.DataFrame({"price": np.round(RNG.normal(10, 3, 500), 2), "n": RNG.integers(0, 9, 500)})
    schema = table(frame)
    out = schema.unpack(RNG.normal(0, 3, (500, 2)))
    assert_array_equal(out["price"], out["price"].round(2))
    assert (out >= 0).all(axis=None) == (frame >= 0).all(axis=None)


@pytest.mark.parametrize("cell", ["purple", 3])
def test_an_unseen_category_is_not_observed_but_told_from_a_missing_one(cell):
    frame = pd.DataFrame({"colour": ["red", "green", "red"]}, dtype=object)
    schema = table(frame)
    other = pd.DataFrame({"colour": ["red", cell, "green"]}, dtype=object)
    with pytest.warns(UserWarning, match=f"Column 'colour' holds {cell!r}, which fit did not see"):
        _, observed, unseen = schema.pack(other)
    assert_array_equal(observed[:, 0], [True, False, True])
    assert_array_equal(unseen[:, 0], [False, True, False])
    schema.pack(other)  # it warns once


def test_numbers_as_categories_by_name():
    frame = pd.DataFrame({"zip": [3, 1, 3, 2], "x": [1.0, 2.0, 3.0, 4.0]})
    schema = table(frame, categorical=("zip",))
    assert [v.likelihood for v in schema.variables] == ["normal_scores", "categorical"]
    pd.testing.assert_frame_equal(round_trip(schema, frame), frame)


CELLS = {
    "float64": st.floats(-1e6, 1e6) | st.sampled_from([0.0, 0.1, 1e300, -1e-300]),
    "float32": st.floats(-1e6, 1e6, width=32),
    "int64": st.integers(-(2**63), 2**63 - 1) | st.integers(-5, 5),
    "uint8": st.integers(0, 255),
    "uint64": st.integers(0, 2**64 - 1) | st.sampled_from([0, 2**53, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1]),
    "UInt64": st.none() | st.integers(0, 2**64 - 1),
    "Int64": st.none() | st.integers(-(2**40), 2**40),
    "boolean": st.none() | st.booleans(),
    "bool": st.booleans(),
    "str": st.none() | st.text(max_size=5),
    "category": st.none() | st.sampled_from(["a", "b", "c", ""]),
    "datetime64[us]": st.none() | st.datetimes().map(lambda when: when.replace(microsecond=0)),
    "timedelta64[s]": st.none() | st.integers(-(10**9), 10**9).map(lambda seconds: np.timedelta64(seconds, "s")),
}


@st.composite
def frames(draw):
    n = draw(st.integers(1, 12))
    dtypes = draw(st.lists(st.sampled_from(sorted(CELLS)), min_size=1, max_size=4))
    columns = [pd.Series(draw(st.lists(CELLS[dtype], min_size=n, max_size=n)), dtype=dtype) for dtype in dtypes]
    return pd.concat(columns, axis=1, keys=range(len(columns)))


@settings(deadline=None, max_examples=150, derandomize=True)
@given(frames())
def test_any_frame_comes_back(frame):
    """Exactly; but floats, and integers of a range beyond 2**50, to the digits that float64 holds of their range."""
    out = round_trip(table(frame), frame)
    assert (out.dtypes == frame.dtypes).all()
    assert out.isna().equals(frame.isna())
    for name in frame:
        if frame[name].dtype.kind in "fiu" and frame[name].notna().any():
            size = frame[name].astype(float).abs().max()
            error = np.abs(out[name].astype(float) - frame[name].astype(float)).max()
            assert error <= size * (1e-6 if frame[name].dtype == "float32" else 1e-14)
        else:
            pd.testing.assert_series_equal(out[name], frame[name])


REFUSED = {
    "a dict": (pd.Series([{"a": 1}, {}], dtype=object), TypeError, "Column 'a dict': argument must be a string or a number"),
    "infinity": (pd.Series([1.0, np.inf]), ValueError, "infinity .* in column 'infinity'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_number_boolean_or_category_is_refused_by_name(name):
    column, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        table(pd.DataFrame({name: column}))


@pytest.mark.parametrize(
    ("fitted", "given", "message"),
    [
        ([1.5, 2.5], ["a", 2.5], "Column 'c' was fitted with numbers, got 'a'"),
        ([True, False], ["a", True], "Column 'c' was fitted with booleans, got 'a'"),
        ([True, False], [3, 4], r"Column 'c' was fitted with booleans, got 3"),
    ],
)
def test_a_column_of_another_kind_is_refused(fitted, given, message):
    schema = table(pd.DataFrame({"c": fitted}))
    with pytest.raises(ValueError, match=message):
        schema.pack(pd.DataFrame({"c": given}))


@pytest.mark.parametrize("container", [pd.DataFrame, pl.DataFrame])
def test_dates_of_another_unit_or_zone_are_the_same_dates(container):
    when = pd.Series(pd.to_datetime(["2020-01-01", "2021-03-05", None, "1999-12-31"])).astype("M8[us]")
    frame, finer = (container({"when": when.astype(dtype)}) for dtype in ("M8[us]", "M8[ns]"))
    schema = table(frame)
    assert_array_equal(schema.pack(finer).values, schema.pack(frame).values)
    if container is pd.DataFrame:
        zoned = pd.DataFrame({"when": when.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")})
        assert_array_equal(schema.pack(zoned).values, schema.pack(frame).values)


@pytest.mark.parametrize(("fitted", "given"), [("M8[us]", float), (float, "M8[us]"), ("M8[us]", "m8[us]")])
def test_dates_for_numbers_and_numbers_for_dates_are_refused(fitted, given):
    one, two = (pd.DataFrame({"c": pd.Series([1, 2, 4]).astype(dtype)}) for dtype in (fitted, given))
    schema = table(one)
    with pytest.raises(ValueError, match=r"Column 'c' was fitted with .*s, got "):
        schema.pack(two)
    nothing = pd.DataFrame({"c": pd.Series([None] * 3, dtype=object)})
    assert not schema.pack(nothing).observed.any()


def test_a_table_of_identifiers_only_is_refused():
    with pytest.raises(ValueError, match=r"no column to model: the strings in \['id'\] are"):
        table(pd.DataFrame({"id": [f"{k} Smith" for k in range(100)]}))


def test_likelihood_by_column():
    frame = pd.DataFrame({"share": [0.1, 0.5, 0.9], "x": [1.0, 2.0, 4.0]})
    schema = table(frame, {"share": "bernoulli"})
    assert [v.likelihood for v in schema.variables] == ["bernoulli", "normal_scores"]
    with pytest.raises(ValueError, match=r"likelihood of column 'x' must be a str among .* Got 'categorical'"):
        table(frame, {"x": "categorical"})
    with pytest.raises(ValueError, match=r"column 'x' takes values in \[0, 1\], got 2"):
        table(frame, {"x": "bernoulli"})


def test_draws_inside_bins_have_the_tails_of_the_data():
    """A log-normal column of very long tail: places drawn evenly in the bins of the data give mean and spread back."""
    rng = np.random.default_rng(0)
    values = np.exp(rng.normal(0, 3, 20_000))
    schema = table(pd.DataFrame({"a": values}), "histogram")
    packed, *_ = schema.pack(pd.DataFrame({"a": values}))
    drawn = schema.unpack(np.tile(np.floor(packed), (40, 1)) + rng.random((800_000, 1)))["a"]
    assert drawn.median() == pytest.approx(np.median(values), rel=0.05)
    assert drawn.mean() == pytest.approx(values.mean(), rel=0.1)  # half of which is of fifty rows
    assert drawn.max() > values.max() / 2


def test_beside_a_heavy_value_the_others_are_told_apart_as_finely():
    rng = np.random.default_rng(0)
    rest = rng.exponential(size=10_000)
    alone, beside = (
        table(pd.DataFrame({"a": values}), "histogram").variables[0].size
        for values in (rest, np.append(np.zeros(90_000), rest))
    )
    assert 60 <= min(alone, beside) <= max(alone, beside) <= 64


@pytest.mark.parametrize("n_rows", [300, 5000])
def test_past_an_end_lies_the_share_of_one_row_and_it_falls_off_as_the_outermost_rows_do(n_rows):
    """Of n rows and one more, the last is beyond the greatest with probability 1 / (n + 1); scores know the same mass."""
    frame = pd.DataFrame({"a": np.random.default_rng(0).exponential(size=n_rows)})
    schema = table(frame, "histogram")
    likelihood, generator = LIKELIHOODS["histogram"](schema.variables), torch.Generator().manual_seed(0)
    packed, *_ = schema.pack(frame)
    logits = torch.tensor(np.bincount(packed[:, 0].astype(int)) / n_rows).log()
    drawn = likelihood.sample(logits.expand(100 * n_rows, -1), generator).numpy()
    values, knots = schema.unpack(drawn)["a"].to_numpy(), schema.columns[0].scaling.knots
    above = drawn[:, 0] > likelihood.n_logits
    assert (drawn < 0).mean() * n_rows == pytest.approx(1, abs=0.4)
    assert above.mean() * n_rows == pytest.approx(1, abs=0.4)
    assert values.min() >= 0  # a sign remains
    assert (values[above] > frame["a"].max()).all()
    excess = (values[above] - knots[-1]).mean()
    assert excess == pytest.approx(schema.columns[0].scaling.reaches[1], rel=0.3)
    assert 0.4 < excess < 2.5  # of an exponential distribution, 1
    at_the_edge = np.exp(schema.log_jacobian(np.array([[likelihood.n_logits + 1e-9]]))[0, 0] + logits[-1].item())
    assert excess * at_the_edge * n_rows == pytest.approx(1, rel=0.3)


@pytest.mark.parametrize("far", [-999.0, 999.0])
def test_a_value_that_is_heavy_for_its_place_has_a_bin_of_its_own(far):
    """However few its rows are beside a bin's: else what lies between it and the others would be drawn."""
    values = np.append(np.random.default_rng(0).normal(50, 5, 74), [far] * 6)
    [variable] = table(pd.DataFrame({"a": values}), "histogram").variables
    assert np.isfinite(variable.atoms[0 if far < 0 else -1])
