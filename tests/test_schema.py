"""Pack then unpack is the identity, for every kind of column and of image; and what does not fit is refused by name."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal
from polars.testing import assert_frame_equal as assert_polars_equal

from skvae.likelihoods import LIKELIHOODS
from skvae.schema import KINDS, ImageSchema, TableSchema

COLUMNS = {
    "float64": pd.Series([1.5, -2.25, 1e6, 0.0]),
    "float64 missing": pd.Series([0.1, None, 0.3, -0.7]),
    "float32": pd.Series([0.1, 0.25, -3.0, 7.5], dtype="float32"),
    "float16": pd.Series([0.5, 0.25, -3.0, 7.5], dtype="float16"),
    "constant": pd.Series([3.5, 3.5, 3.5, 3.5]),
    "all missing": pd.Series([None] * 4, dtype="float64"),
    "int8": pd.Series([-3, 0, 127, 5], dtype="int8"),
    "uint64": pd.Series([1, 2, 3, 1_000_000], dtype="uint64"),
    "Int64": pd.Series([1, None, 3, 4], dtype="Int64"),
    "Float32": pd.Series([1.5, None, 3, 4], dtype="Float32"),
    "int64[pyarrow]": pd.Series([1, None, 3, 4], dtype="int64[pyarrow]"),
    "zero and one": pd.Series([0, 1, 1, 0] * 3),
    "bool": pd.Series([True, False, True, True]),
    "boolean": pd.Series([True, None, False, True], dtype="boolean"),
    "bool object": pd.Series([True, None, False, True], dtype=object),
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


def round_trip(schema, X):
    """Through the packed array, whose values must be finite."""
    schema.fit(X, np.ones(len(X)))
    values, observed = schema.pack(X)
    assert np.isfinite(values).all()
    assert values.shape == (len(X), len(schema.variables)) == (len(X), len(schema.log_jacobian))
    assert observed is None or (values[~observed] == 0).all()
    return schema.unpack(values, getattr(X, "index", None))


@pytest.mark.parametrize("name", COLUMNS)
def test_pandas_column_comes_back(name):
    frame = pd.DataFrame({name: COLUMNS[name]})
    frame.index = frame.index * 3 + 1
    pd.testing.assert_frame_equal(round_trip(TableSchema(), frame), frame)


def test_pandas_frame_comes_back_in_order():
    frame = pd.DataFrame({name: column.iloc[:4] for name, column in COLUMNS.items()})
    pd.testing.assert_frame_equal(round_trip(TableSchema(), frame), frame)


def test_column_names_may_be_anything():
    frame = pd.DataFrame(np.eye(4), columns=[3, "b", (1, 2), None])
    pd.testing.assert_frame_equal(round_trip(TableSchema(), frame), frame)


POLARS = {
    "f64": pl.Series([1.5, None, 3.0, 4.25]),
    "f32": pl.Series([0.1, 0.2, 0.3, 0.4], dtype=pl.Float32),
    "i8": pl.Series([1, None, 3, 4], dtype=pl.Int8),
    "u32": pl.Series([1, 2, 3, 400], dtype=pl.UInt32),
    "bool": pl.Series([True, None, False, True]),
    "str": pl.Series(["a", None, "c", "a"]),
    "cat": pl.Series(["a", None, "c", "a"], dtype=pl.Categorical),
    "enum": pl.Series(["a", None, "c", "a"], dtype=pl.Enum(["c", "a", "unused"])),
}


@pytest.mark.parametrize("name", POLARS)
def test_polars_column_comes_back(name):
    frame = pl.DataFrame({name: POLARS[name]})
    assert_polars_equal(round_trip(TableSchema(), frame), frame)


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
    out = round_trip(TableSchema(), X)
    assert out.dtype == X.dtype
    assert_array_equal(out, X)


RNG = np.random.default_rng(0)
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
    out = round_trip(ImageSchema(), X)
    assert out.dtype == X.dtype
    assert out.shape == X.shape
    np.testing.assert_allclose(out, X, atol=1e-6 if X.dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("name", ["bytes", "sixteenths"])
def test_grey_images_as_shares_of_yes(name):
    X = IMAGES[name]
    schema = ImageSchema("bernoulli").fit(X, np.ones(6))
    values, _ = schema.pack(X)
    assert values.min() >= 0
    assert values.max() <= 1
    assert_array_equal(
        schema.unpack((values > 0.5).astype(float)),
        np.where(values.reshape(X.shape) > 0.5, X.dtype.type(255 if X.dtype == np.uint8 else 1), X.dtype.type(0)),
    )


def test_shares_of_yes_outside_their_range_are_refused():
    with pytest.raises(ValueError, match=r"lie in \[0, 1\]; X ranges from"):
        ImageSchema("bernoulli").fit(IMAGES["continuous"], np.ones(6))


def test_every_kind_names_likelihoods_that_exist():
    assert {name for kind in KINDS.values() for name in kind.likelihoods} <= set(LIKELIHOODS)


def test_packed_columns_are_in_the_order_that_the_model_expects(mixed_frame):
    schema = TableSchema().fit(mixed_frame, np.ones(len(mixed_frame)))
    keys = [(variable.size > 0, variable.likelihood) for variable in schema.variables]
    assert keys == sorted(keys)


def test_missingness_is_a_variable_where_fit_saw_it(mixed_frame):
    schema = TableSchema().fit(mixed_frame, np.ones(len(mixed_frame)))
    with_missing = mixed_frame.isna().any()
    assert len(schema.variables) == mixed_frame.shape[1] + with_missing.sum()
    for j, name in enumerate(mixed_frame):
        assert (schema.indicator_at[j] is not None) == with_missing[name]
    values, _ = schema.pack(mixed_frame)
    at = schema.indicator_at[list(mixed_frame).index("income")]
    assert_array_equal(values[:, at], mixed_frame["income"].isna())


def test_numbers_are_packed_standardised_and_the_jacobian_says_by_how_much():
    frame = pd.DataFrame(
        {"a": RNG.normal(5, 20, 1000), "n": RNG.integers(0, 50, 1000), "huge": RNG.integers(0, 10**6, 1000)}
    )
    schema = TableSchema().fit(frame, np.ones(1000))
    values, _ = schema.pack(frame)
    np.testing.assert_allclose(values.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(values.std(0), 1, atol=1e-12)
    # a density loses log(scale); an integer's probability does not, unless its lattice counts as a continuum
    np.testing.assert_allclose(schema.log_jacobian, [-np.log(frame["a"].std(ddof=0)), 0, -np.log(frame["huge"].std(ddof=0))])


def test_weights_count_rows():
    frame = pd.DataFrame({"a": RNG.normal(size=20)})
    weight = RNG.integers(1, 4, 20)
    weighted = TableSchema().fit(frame, weight).columns[0]
    repeated = TableSchema().fit(frame.loc[frame.index.repeat(weight)], np.ones(weight.sum())).columns[0]
    assert (weighted.centre, weighted.scale) == pytest.approx((repeated.centre, repeated.scale))


def test_unpacked_numbers_lie_on_the_grid_and_within_the_bounds():
    frame = pd.DataFrame({"price": np.round(RNG.normal(10, 3, 500), 2), "n": RNG.integers(0, 9, 500)})
    schema = TableSchema().fit(frame, np.ones(500))
    out = schema.unpack(RNG.normal(0, 3, (500, 2)))
    assert_array_equal(out["price"], out["price"].round(2))
    for name in frame:
        assert out[name].min() >= frame[name].min()
        assert out[name].max() <= frame[name].max()


@pytest.mark.parametrize("cell", ["purple", 3])
def test_unseen_category_packs_as_missing_with_a_warning(cell):
    frame = pd.DataFrame({"colour": ["red", "green", "red"]}, dtype=object)
    schema = TableSchema().fit(frame, np.ones(3))
    other = pd.DataFrame({"colour": ["red", cell, "green"]}, dtype=object)
    with pytest.warns(UserWarning, match=f"Column 'colour' holds {cell!r}, which fit did not see"):
        _, observed = schema.pack(other)
    assert_array_equal(observed[:, 0], [True, False, True])


def test_numbers_as_categories_by_name():
    frame = pd.DataFrame({"zip": [3, 1, 3, 2], "x": [1.0, 2.0, 3.0, 4.0]})
    schema = TableSchema(categorical=("zip",)).fit(frame, np.ones(4))
    assert [v.likelihood for v in schema.variables] == ["gaussian", "categorical"]
    pd.testing.assert_frame_equal(round_trip(schema, frame), frame)


REFUSED = {
    "a dict": (pd.Series([{"a": 1}, {}], dtype=object), TypeError, "Column 'a dict': argument must be a string or a number"),
    "a date": (pd.Series(pd.to_datetime(["2020-01-01", "2021-01-01"])), TypeError, "'a date' has dtype Datetime"),
    "infinity": (pd.Series([1.0, np.inf]), ValueError, "infinity .* in column 'infinity'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_number_boolean_or_category_is_refused_by_name(name):
    column, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        TableSchema().fit(pd.DataFrame({name: column}), np.ones(2))


@pytest.mark.parametrize(
    ("fitted", "given", "message"),
    [
        ([1.5, 2.5], ["a", 2.5], "Column 'c' was fitted with numbers, got 'a'"),
        ([True, False], ["a", True], "Column 'c' was fitted with booleans, got 'a'"),
        ([True, False], [3, 4], r"Column 'c' was fitted with booleans, got 3"),
    ],
)
def test_a_column_of_another_kind_is_refused(fitted, given, message):
    schema = TableSchema().fit(pd.DataFrame({"c": fitted}), np.ones(2))
    with pytest.raises(ValueError, match=message):
        schema.pack(pd.DataFrame({"c": given}))


def test_likelihood_by_column():
    frame = pd.DataFrame({"share": [0.1, 0.5, 0.9], "x": [1.0, 2.0, 4.0]})
    schema = TableSchema({"share": "bernoulli"}).fit(frame, np.ones(3))
    assert [v.likelihood for v in schema.variables] == ["bernoulli", "gaussian"]
    with pytest.raises(ValueError, match=r"likelihood of column 'x' must be a str among .* Got 'categorical'"):
        TableSchema({"x": "categorical"}).fit(frame, np.ones(3))
    with pytest.raises(ValueError, match=r"column 'x' takes values in \[0, 1\], got 2"):
        TableSchema({"x": "bernoulli"}).fit(frame, np.ones(3))
