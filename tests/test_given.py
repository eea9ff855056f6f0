"""Cells given to `sample`: missing ones in any form, kept ones, and those that are refused by column and value."""

from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest

from skvae import VAETransformer


@pytest.fixture(scope="module")
def visits():
    """Columns of every kind; cells are missing in some."""
    rng, n = np.random.default_rng(0), 200
    frame = pd.DataFrame(
        {
            "town": rng.choice(["Lima", "Oslo"], n),
            "sex": pd.Categorical(rng.choice(["F", "M"], n)),
            "age": rng.integers(18, 80, n),
            "income": rng.normal(size=n).round(2),
            "member": rng.random(n) < 0.5,
            "children": pd.array(rng.poisson(2, n), dtype="Int64"),
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 700, n), unit="D"),
            "stay": pd.to_timedelta(rng.integers(0, 90, n), unit="s"),
            "code": [f"r{k}" for k in range(n)],
            "constant": 7,
            "nothing": np.nan,
        }
    )
    for column in ("town", "income", "children", "day", "stay"):
        frame.loc[rng.random(n) < 0.2, column] = None
    return frame


@pytest.fixture(scope="module", params=[pd.DataFrame, pl.from_pandas], ids=["pandas", "polars"])
def vae(request, visits):
    return VAETransformer(2, generator="latent", max_iter=1, random_state=0).fit(request.param(visits))


MISSING = [None, np.nan, pd.NA, pd.NaT, np.datetime64("NaT"), np.float32("nan"), Decimal("NaN")]


@pytest.mark.parametrize("cell", MISSING, ids=lambda cell: type(cell).__name__)
@pytest.mark.parametrize("column", ["town", "income", "children", "day", "stay", "nothing"])
def test_a_missing_cell_is_known_to_be_missing(vae, column, cell):
    assert pd.isna(vae.sample(2, given={column: cell})[column].to_list()[0])
    with pytest.raises(ValueError, match="missing value in column 'age', in which fit saw none"):
        vae.sample(2, given={"age": cell})


@pytest.mark.parametrize(
    ("column", "cell", "kept"),
    [
        ("age", np.int8(40), 40),
        ("income", Decimal("0.5"), 0.5),
        ("income", 1, 1.0),
        ("day", date(2020, 5, 1), pd.Timestamp("2020-05-01")),
        ("day", "2020-05-01", pd.Timestamp("2020-05-01")),
        ("stay", pd.Timedelta("5s"), pd.Timedelta("5s")),
        ("constant", 7, 7),
        ("sex", np.str_("F"), "F"),
    ],
)
def test_a_cell_of_another_type_is_kept_where_it_says_the_same(vae, column, cell, kept):
    assert vae.sample(1, given={column: cell})[column].to_list() == [kept]


REFUSED = {
    "an unknown column": ({"height": 1}, "column 'height' that fit did not see"),
    "an unknown category": ({"town": "Rome"}, "'Rome' in column 'town', which fit did not see there. It saw 'Lima', 'Oslo'"),
    "a number for a category": ({"sex": 0}, "0 in column 'sex', which is not a value of it"),
    "text for an integer": ({"age": "40"}, "'40' in column 'age', which is not a value of it"),
    "half an integer": ({"age": 40.5}, "40.5 in column 'age', which is not a value of it"),
    "too large an integer": ({"age": 2**70}, f"{2**70} in column 'age'"),
    "text for a number": ({"income": "much"}, "'much' in column 'income', which is not a value of it"),
    "infinity": ({"income": np.inf}, "inf in column 'income'"),
    "a list for a number": ({"income": [1, 2]}, r"\[1, 2\] in column 'income', which is not a value of it"),
    "text for a boolean": ({"member": "no"}, "'no' in column 'member', which is not a value of it"),
    "a number for a boolean": ({"member": 2}, "2 in column 'member', which is not a value of it"),
    "no date": ({"day": "tomorrow"}, "'tomorrow' in column 'day', which is not a value of it"),
    "a number for a date": ({"day": 5}, "5 in column 'day', which is not a value of it: a number is not a date"),
    "below the least": ({"age": -1}, "given has -1 in column 'age', beyond the 18 to 79 that fit saw"),
    "before the earliest": ({"day": pd.Timestamp("1999-12-31")}, "1999-12-31 .* in column 'day', beyond the 2020-01-0"),
    "longer than the longest": (
        {"stay": pd.Timedelta("1D")},
        "1 days .* in column 'stay', beyond the 0 days .* 0 days 00:01",
    ),
    "another constant": ({"constant": 8}, "8 in column 'constant', beyond the 7 to 7"),
    "a column never seen": ({"nothing": 1.0}, "1.0 in column 'nothing', of which fit saw no cell"),
    "an identifier": ({"code": "r1"}, "column 'code', which is an identifier and is not modelled. Leave it out"),
    "no column": ({}, "must name at least one column"),
    "a frame without rows": (pd.DataFrame({"age": []}), r"0 sample\(s\) .*a minimum of 1 is required by sample, in given"),
    "a frame without columns": (pd.DataFrame(index=[0]), r"0 feature\(s\) .* by sample, in given"),
    "duplicate names": (pd.DataFrame([[40, 41]], columns=["age"] * 2), r"given has duplicate column names: \['age'\]"),
    "one wrong cell of many": (pd.DataFrame({"age": [40, 41, 99]}), "99 in column 'age', beyond the 18 to 79"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_column_and_value(vae, name):
    given, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        vae.sample(2, given=given)


@pytest.mark.parametrize("given", [3, "age", [("age", 40)], np.array([[40]]), pd.Series({"age": 40})], ids=type)
def test_what_is_no_dict_and_no_frame_is_a_type_error(vae, given):
    with pytest.raises(TypeError, match="given must be a dict or a DataFrame"):
        vae.sample(2, given=given)


def test_columns_may_be_named_by_numbers():
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 3)).round(1))
    vae = VAETransformer(2, generator="latent", max_iter=1, random_state=0).fit(frame)
    given = pd.DataFrame({2: [0.5, -0.5]})
    assert vae.sample(1, given=given)[2].tolist() == [0.5, -0.5]
