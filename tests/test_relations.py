"""Relations: found, stated, kept in every draw, and part of an exact density."""

import itertools
import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from skvae import VAETransformer, quality_report
from skvae.relations import RELATIONS

N = 1200


def fit(frame, **parameters):
    return VAETransformer(2, hidden_layer_sizes=(16,), max_iter=4, random_state=0, **parameters).fit(frame)


def trips(n=N, seed=0):
    """Rides with times, parts of a fare, zones and payments."""
    rng = np.random.default_rng(seed)
    start = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 20 * 86_400, n), unit="s")
    seconds = np.maximum(30, rng.lognormal(6.5, 0.7, n)).astype(int)
    fare = np.round(3 + seconds / 60 + rng.exponential(2, n), 1)
    tip = np.where(rng.random(n) < 0.6, np.round(fare * rng.choice([0.1, 0.2, 0.3], n), 2), 0.0)
    total = np.round(fare + tip + rng.choice([0.5, 1.5], n), 2)
    total = np.where(rng.random(n) < 0.1, np.round(total + rng.exponential(3, n), 2), total)
    zone = rng.integers(0, 20, n)
    columns = {
        "start": start,
        "end": start + pd.to_timedelta(seconds, unit="s"),
        "fare": fare,
        "tip": tip,
        "total": total,
        "zone": np.array([f"z{k}" for k in range(20)], dtype=object)[zone],
        "borough": np.array(list("ABCD"), dtype=object)[zone % 4],
        "paid": np.where(tip > 0, "card", rng.choice(["card", "cash"], n)),
    }
    return pd.DataFrame(columns)


def orders(n=N, seed=0):
    """Goods with prices, an amount, a way of ordering, dates, and a column that holds only where another does."""
    rng = np.random.default_rng(seed)
    good, quantity = rng.integers(0, 8, n), rng.integers(1, 20, n)
    price = np.array([3.5, 4.99, 7.25, 12.0, 18.4, 2.1, 9.99, 33.0])[good]
    day = rng.integers(0, 300, n)
    week, sent = day // 7, pd.Timestamp("2023-01-01") + pd.to_timedelta(day, unit="D")
    way, back = rng.choice(3, n, p=[0.5, 0.3, 0.2]), rng.random(n) < 0.3
    columns = {
        "good": np.array([f"g{k}" for k in range(8)], dtype=object)[good],
        "price": price,
        "quantity": quantity,
        "amount": np.round(quantity * price, 2),
        "sent": sent,
        "quarter": week // 13,
        "by_mail": way == 0,
        "by_phone": way == 1,
        "in_shop": way == 2,
        "reason": np.where(back, rng.choice(["broken", "late"], n), None),
        "refund": np.where(back, rng.exponential(10, n).round(2), np.nan),
    }
    return pd.DataFrame(columns)


# by kind, a table and a relation of it that all rows keep
EXACT = {
    "sum": (lambda: trips().assign(net=lambda t: (t["total"] - t["tip"]).round(2)), "total = tip + net"),
    "product": (orders, "amount = price * quantity"),
    "function": (orders, "sent -> quarter"),
    "order": (trips, "end >= start"),
    "missing": (orders, "reason missing where refund missing"),
    "flags": (orders, "exactly one of by_mail, by_phone, in_shop"),
    "determines": (trips, "zone -> borough"),
    "combinations": (trips, "combinations of paid and tip > 0"),
}


@pytest.fixture(scope="module")
def fitted():
    """Models of both tables."""
    return {make.__name__: fit(make()) for make in (trips, orders)}


def shares(frame, relations, made):
    """The share of a frame's rows that keep each of the relations of a fitted model, by text."""
    found = quality_report(made, frame, random_state=0).relations.set_index("relation")
    return {text: found.loc[text, "synthetic"] for text in relations}


def test_every_kind_has_a_row_here():
    assert set(EXACT) == set(RELATIONS)


@pytest.mark.parametrize("kind", EXACT)
def test_what_all_rows_keep_is_found_and_all_draws_keep_it(kind, fitted):
    make, text = EXACT[kind]
    made = make()
    vae = fitted[make.__name__] if make.__name__ in fitted else fit(made)
    row = vae.relations_.set_index("relation").loc[text]
    assert row["kind"] == kind
    assert row["share"] == 1.0
    assert set(row["columns"]) <= set(made.columns)
    for frame in (vae.sample(3000, random_state=1), vae.inverse_transform(vae.transform(made[:300]))):
        assert shares(frame, [text], made)[text] == 1.0


def test_what_some_rows_break_is_broken_as_often(fitted):
    vae = fitted["trips"]
    text = "total = fare + tip + one of 0.5, 1.5"
    options = [text, "total = fare + tip + one of 1.5, 0.5"]
    [row] = [row for row in vae.relations_.itertuples() if row.relation in options]
    assert row.share == pytest.approx(0.9, abs=0.03)
    draws = vae.sample(5000, random_state=1)
    rest = (draws["total"] - draws["fare"] - draws["tip"]).round(2)
    assert rest.isin([0.5, 1.5]).mean() == pytest.approx(row.share, abs=0.03)


@pytest.mark.parametrize("make", [trips, orders])
def test_texts_are_read_as_they_are_written(make, fitted):
    vae = fitted[make.__name__]
    texts = list(vae.relations_["relation"])
    mostly = [text if share == 1 else f"mostly {text}" for text, share in zip(texts, vae.relations_["share"], strict=True)]
    again = fit(make(), relations=mostly)
    assert set(again.relations_["relation"]) == set(texts)
    without = fit(make(), relations=[f"not {text}" for text in texts])
    assert not set(without.relations_["relation"]) & set(texts)
    assert len(fit(make(), relations=None).relations_) == 0


def test_independent_columns_have_no_relations():
    found = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        n = rng.choice([50, 200, 1000])
        frame = pd.DataFrame(
            {
                "few": rng.integers(0, 10, n),
                "two": rng.random(n) < 0.3,
                "rare": rng.random(n) < 0.05,
                "letters": rng.choice(list("abcde"), n, p=[0.5, 0.3, 0.1, 0.07, 0.03]),
                "rounded": rng.normal(size=n).round(2),
                "zeros": np.where(rng.random(n) < 0.6, 0.0, rng.exponential(10, n).round(1)),
                "holes": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)),
                "gaps": np.where(rng.random(n) < 0.5, np.nan, rng.lognormal(3, 1, n).round(0)),
                "many": rng.integers(0, 500, n),
                "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 90, n), unit="D"),
            }
        )
        found += len(fit_relations(frame)) > 0
    assert found == 0


def fit_relations(frame):
    """Relations of a frame, without a model."""
    from skvae.schema import Schema

    parameters = {"likelihood": "auto", "categorical_features": None, "image_shape": None, "relations": "auto"}
    return Schema().fit(frame, np.ones(len(frame)), parameters).relations


def small_table(broken):
    rng = np.random.default_rng(0)
    n = 1000
    a, b, way = rng.integers(0, 3, n), rng.integers(0, 3, n), rng.integers(0, 3, n)
    place = rng.choice(list("pqr"), n)
    c = np.where(rng.random(n) < broken, rng.integers(0, 5, n), a + b)
    frame = pd.DataFrame({"a": a, "b": b, "c": c, "place": place, "side": np.where(place == "p", "x", "y")})
    return frame.assign(f0=way == 0, f1=way == 1, f2=way == 2)


@pytest.mark.parametrize("broken", [0.0, 0.2])
def test_probabilities_of_all_rows_add_up_to_one(broken):
    frame = small_table(broken)
    vae = fit(frame, relations="auto" if broken == 0 else ["mostly c = a + b"])
    assert {"c = a + b", "place -> side", "exactly one of f0, f1, f2"} <= set(vae.relations_["relation"])
    numbers = itertools.product(range(-3, 7), range(-3, 7), range(-4, 10))
    codes = itertools.product("pqr", "xy", *[[False, True]] * 3)
    rows = [(*some, *others) for some, others in itertools.product(numbers, codes)]
    every = pd.DataFrame(rows, columns=frame.columns).astype(frame.dtypes)
    log_density = vae.log_density(every)
    assert np.isfinite(log_density).all()
    assert np.exp(log_density).sum() == pytest.approx(1.0, abs=1e-4)


def test_a_density_with_an_atom_integrates_to_one():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 4, 800)
    y = np.where(rng.random(800) < 0.5, 2.0 * x, rng.normal(3, 1, 800).round(2))
    frame = pd.DataFrame({"x": x, "y": y})
    vae = fit(frame, relations=["mostly y = 2 * x"])
    fine = np.arange(-6, 12, 0.01).round(2)
    for value in range(4):
        log_density = vae.log_density(pd.DataFrame({"x": value, "y": fine}))
        assert np.exp(log_density).sum() * 0.01 == pytest.approx((x == value).mean(), abs=0.05)


def test_a_row_that_breaks_what_none_broke_is_improbable_not_impossible(fitted):
    made = trips()
    broken = made.assign(borough=np.roll(made["borough"], 1))
    broken = broken[broken["borough"] != made["borough"]][:100]
    whole = made.loc[broken.index]
    log_density = fitted["trips"].log_density(broken)
    assert np.isfinite(log_density).all()
    assert (fitted["trips"].log_density(whole) - log_density > 3).all()


@pytest.mark.parametrize(
    "given",
    [{"total": 20.0}, {"end": pd.Timestamp("2024-01-10 12:00:00")}, {"borough": "C"}, {"zone": "z3"}, {"tip": 0.0}],
    ids=lambda given: next(iter(given)),
)
def test_relations_hold_in_every_direction(given, fitted):
    draws = fitted["trips"].sample(200, given=given, random_state=0)
    [(name, value)] = given.items()
    assert (draws[name] == value).all()
    exact = ["end >= start", "zone -> borough", "combinations of paid and tip > 0"]
    assert set(shares(draws, exact, trips()).values()) == {1.0}
    assert (draws[["fare", "tip"]] >= 0).all(axis=None)


def test_given_a_total_is_free_draws_filtered():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 6, 2000), rng.integers(0, 6, 2000)
    vae = fit(pd.DataFrame({"a": a, "b": b, "c": a + b}))
    assert list(vae.relations_["relation"]) == ["c = a + b"]
    free = vae.sample(40_000, random_state=0).query("c == 4")["a"].value_counts(normalize=True).sort_index()
    told = vae.sample(4000, given={"c": 4}, random_state=0)
    assert (told["a"] + told["b"] == 4).all()
    assert_allclose(told["a"].value_counts(normalize=True).sort_index(), free, atol=0.05)


def test_imputed_cells_keep_relations(fitted):
    made = trips()
    rng = np.random.default_rng(0)
    holed = made[:200].copy()
    for name in ("end", "total", "borough"):
        holed.loc[rng.random(200) < 0.4, name] = None
    exact = ["end >= start", "zone -> borough"]
    for filled in (fitted["trips"].impute(holed), *fitted["trips"].impute(holed, n_draws=1, random_state=0)):
        assert filled.notna().all(axis=None)
        assert set(shares(filled, exact, made).values()) == {1.0}


def test_conditional_probabilities_know_what_determines_what(fitted):
    made = trips()[:50]
    proba = fitted["trips"].conditional_proba(made, "borough")
    assert_allclose(proba.sum(axis=1), 1.0)
    assert (proba.idxmax(axis=1) == made["borough"]).all()
    assert (proba.max(axis=1) > 0.9).all()


@pytest.mark.parametrize(
    ("given", "relation"),
    [
        ({"start": pd.Timestamp("2024-01-05"), "end": pd.Timestamp("2024-01-04")}, "end >= start"),
        ({"zone": "z3", "borough": "A"}, "zone -> borough"),
    ],
)
def test_given_that_contradicts_a_relation(given, relation, fitted):
    with pytest.raises(ValueError, match=f"given contradicts '{relation}', which every row of the data keeps: row 0"):
        fitted["trips"].sample(3, given=given)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("total = fare + tipp", "cannot be read: 'tipp' is no column of X"),
        ("total == fare", "cannot be read"),
        ("nonsense", "cannot be read: 'nonsense' is no column of X"),
        ("total = fare + zone", "column 'zone' holds categories, not numbers or dates"),
        ("end = start + fare", "not of one unit"),
        ("end >= fare", "not of one unit"),
        ("combinations of zone and end", "column 'end' holds too many different values"),
        ("combinations of paid and zone > 0", "column 'zone' holds categories, not numbers or dates"),
        ("total = fare + tip", r"of the rows break: row 0 \(total = .*\).*mostly total = fare"),
        ("mostly fare = total + 1000", "which no row keeps: row 0"),
        ("start >= end", r"100.00% of the rows break: row 0 \(start = 2024"),
        ("end = start + 00:10:00", r"of the rows break: row 0 \(end = 2024"),
        (3, r"relations must be 'auto', None or a list of str. Got 3"),
    ],
)
def test_a_stated_relation_that_is_refused(text, message):
    with pytest.raises((ValueError, TypeError), match=message):
        fit(trips(200), relations=[text])


def test_what_determines_whether_a_number_is_zero_or_missing():
    frame = trips().assign(note=lambda t: t["fare"].where(t["zone"] > "z3"))
    texts = ["mostly paid -> tip > 0", "zone -> note missing"]
    found = fit(frame, relations=texts).relations_.set_index("relation")
    assert 0.5 < found.loc["paid -> tip > 0", "share"] < 1
    assert found.loc["zone -> note missing", "share"] == 1


def test_a_number_may_add_up_and_have_single_values_that_matter():
    rng = np.random.default_rng(0)
    part, other = rng.integers(0, 60, 900), rng.integers(0, 500, 900)
    name = np.array(list("abcdefgh"))[part % 8]
    frame = pd.DataFrame({"part": part, "other": other, "whole": part + other, "name": name})
    draws = fit(frame).sample(500, random_state=0)
    assert (draws["whole"] == draws["part"] + draws["other"]).all()


def test_circular_relations_are_refused():
    frame = pd.DataFrame({"a": np.arange(200.0), "b": np.arange(200.0)})
    with pytest.raises(ValueError, match="'a >= b', which cannot be kept beside 'a = b'"):
        fit(frame, relations=["a >= b", "b >= a"])


def test_names_that_are_not_plain_stand_between_backticks():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"1st floor": rng.integers(0, 900, 300), "2nd = floor": rng.integers(0, 900, 300)})
    frame["all floors"] = frame.sum(axis=1)
    text = "`all floors` = `1st floor` + `2nd = floor`"
    assert list(fit(frame).relations_["relation"]) == [text]
    assert list(fit(frame, relations=[text]).relations_["relation"]) == [text]


def test_times_of_day_as_integers_are_times_of_day():
    rng = np.random.default_rng(0)
    minutes = rng.integers(0, 1440, 600)
    late = rng.integers(0, 90, 600)
    clock = [100 * (m // 60) + m % 60 for m in (minutes, (minutes + late) % 1440)]
    vae = fit(pd.DataFrame({"planned": clock[0], "left": clock[1], "delay": late}))
    draws = vae.sample(2000, random_state=0)
    assert (draws[["planned", "left"]] % 100 < 60).all(axis=None)
    assert draws[["planned", "left"]].max(axis=None) <= 2400
    passed = draws["left"] // 100 * 60 + draws["left"] % 100 - draws["planned"] // 100 * 60 - draws["planned"] % 100
    assert ((passed % 1440) == draws["delay"] % 1440).mean() > 0.8


def test_relations_survive_a_pickle(fitted):
    again = pickle.loads(pickle.dumps(fitted["trips"]))
    pd.testing.assert_frame_equal(again.relations_, fitted["trips"].relations_)
    pd.testing.assert_frame_equal(again.sample(50, random_state=0), fitted["trips"].sample(50, random_state=0))


def test_arrays_have_relations_too():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 3)).round(3)
    X = np.column_stack([x, (x[:, 0] + x[:, 1]).round(3)])
    vae = fit(X)
    assert list(vae.relations_["relation"]) == ["x3 = x0 + x1"]
    draws = vae.sample(1000, random_state=0)
    assert_allclose(draws[:, 3], draws[:, 0] + draws[:, 1], atol=1e-9)


def test_a_report_says_which_relations_rows_break(fitted):
    made, held_out = trips(), trips(seed=1)
    draws = fitted["trips"].sample(N, random_state=0)
    broken = draws.assign(borough=np.roll(draws["borough"], 1))
    report = quality_report(made, broken, held_out, random_state=0)
    assert report.relations.loc[0, "relation"] == "zone -> borough"
    assert report.relations.loc[0, ["real", "holdout"]].tolist() == [1.0, 1.0]
    assert report.relations.loc[0, "synthetic"] < 0.5
    assert "'zone -> borough' holds in" in report.verdict
    assert report.summary.loc["relations", "value"] < report.summary.loc["relations", "real"]
    kept = quality_report(made, draws, held_out, random_state=0)
    assert kept.summary.loc["relations", "value"] > 0.97
