"""Rows of several parts: images and vectors in the columns of a frame, drawn and completed together with the rest."""

import itertools
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from skvae import VAETransformer
from skvae.rows import to_part


def stripes(n=400, seed=0):
    """Rows whose class says which two rows of a 6 x 6 image are bright, and the mean of a number and of a vector."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    images = np.zeros((n, 6, 6), np.uint8)
    for image, k in zip(images, y, strict=True):
        image[2 * k : 2 * k + 2] = rng.integers(100, 256, (2, 6))
    frame = pd.DataFrame({"kind": pd.Categorical.from_codes(y, list("abc")), "number": 3 * y + rng.normal(size=n)})
    frame.insert(1, "image", list(images))
    frame["vector"] = list((2 * y[:, None] + rng.normal(size=(n, 3))).astype(np.float32))
    return frame


def kind_of(images):
    """Which rows of images are bright."""
    bands = np.stack(list(images)).astype(float).reshape(len(images), 3, 12).mean(2)
    return np.array(list("abc"))[bands.argmax(1)]


def with_gaps(frame):
    """The frame without some of its images, vectors and kinds."""
    frame = frame.copy()
    frame.loc[:59, "image"] = None
    frame.loc[40:79, "vector"] = None
    frame.loc[100:119, "kind"] = None
    return frame


@pytest.fixture(scope="module")
def fitted():
    return VAETransformer(2, max_iter=25, random_state=0).fit(stripes())


@pytest.fixture(scope="module")
def fitted_with_gaps():
    return VAETransformer(2, max_iter=15, random_state=0).fit(with_gaps(stripes()))


# --- containers ------------------------------------------------------------------------------------------------------


def as_polars(frame):
    images = pl.Series([None if x is None else x.tolist() for x in frame["image"]], dtype=pl.Array(pl.UInt8, (6, 6)))
    vectors = [None if x is None else x.tolist() for x in frame["vector"]]
    return pl.DataFrame(
        {
            "kind": pl.Series([None if pd.isna(x) else x for x in frame["kind"]], dtype=pl.String),
            "image": images,
            "vector": pl.Series(vectors, dtype=pl.Array(pl.Float32, 3)),
        }
    )


def as_arrow(frame):
    vectors = pd.Series(frame["vector"].tolist(), dtype=pd.ArrowDtype(pa.list_(pa.float32(), 3)))
    return frame[["image"]].assign(vector=vectors)


FRAMES = {"pandas": lambda frame: frame, "polars": as_polars, "arrow": as_arrow}


@pytest.mark.parametrize("container", FRAMES)
def test_arrays_come_back_as_they_went_in(container):
    frame = FRAMES[container](with_gaps(stripes()))
    vae = VAETransformer(2, max_iter=1, random_state=0).fit(frame)
    schema = vae._schema
    back = schema.unpack([part.values for part in schema.pack(frame)], getattr(frame, "index", None))
    drawn = vae.sample(200)
    if container == "polars":
        assert back.equals(frame)
        assert drawn.schema == frame.schema
        return
    assert list(drawn.columns) == list(frame.columns)
    for name in ("image", "vector"):
        assert back[name].dtype == drawn[name].dtype == frame[name].dtype
        assert_array_equal(back[name].isna(), frame[name].isna())
        for one, other in zip(back[name].dropna(), frame[name].dropna(), strict=True):
            assert_array_equal(one, other)
            assert getattr(one, "dtype", None) == getattr(other, "dtype", None)


def test_arrays_are_missing_as_often_as_in_the_data(fitted_with_gaps):
    frame, drawn = with_gaps(stripes()), fitted_with_gaps.sample(4000, random_state=0)
    for name in ("image", "vector", "kind"):
        assert drawn[name].isna().mean() == pytest.approx(frame[name].isna().mean(), abs=0.03)
    both = (drawn["image"].isna() & drawn["vector"].isna()).mean()
    assert both == pytest.approx((frame["image"].isna() & frame["vector"].isna()).mean(), abs=0.03)


def test_a_pickle_computes_the_same(fitted):
    again, frame = pickle.loads(pickle.dumps(fitted)), stripes(20)
    assert_array_equal(again.transform(frame), fitted.transform(frame))
    assert_array_equal(again.log_density(frame), fitted.log_density(frame))
    pd.testing.assert_frame_equal(again.sample(3, random_state=0), fitted.sample(3, random_state=0))


def test_one_column_of_images_is_an_array_of_images():
    frame = stripes(100)[["image"]]
    images = np.stack(frame["image"])
    of_frame, of_array = (VAETransformer(2, max_iter=2, random_state=0).fit(X) for X in (frame, images))
    assert_allclose(of_frame.transform(frame), of_array.transform(images), atol=1e-6)
    assert_array_equal(np.stack(of_frame.sample(5, random_state=0)["image"]), of_array.sample(5, random_state=0))


# --- one distribution of all parts -----------------------------------------------------------------------------------


def test_the_density_of_a_label_and_an_image_is_a_bound():
    # four pixels that are the bits of the label with some noise: all rows can be listed
    rng = np.random.default_rng(0)
    label = rng.integers(0, 4, 1500)
    codes = np.array([[0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1]])
    pixels = codes[label] ^ (rng.random((1500, 4)) < 0.1)
    frame = pd.DataFrame({"label": pd.Categorical(label), "image": list(pixels.reshape(-1, 2, 2).astype(np.uint8))})
    vae = VAETransformer(1, max_iter=10, random_state=0).fit(frame)
    every = [(k, np.array(bits, np.uint8).reshape(2, 2)) for k in range(4) for bits in itertools.product([0, 1], repeat=4)]
    rows = pd.DataFrame({"label": pd.Categorical([k for k, _ in every]), "image": [image for _, image in every]})
    module = vae.module_
    parts = module.read_parts([to_part(one, torch.float32, "cpu") for one in vae._schema.pack(rows)])
    sums, bounds = [], []
    for seed in range(6):  # the bound holds on average over its noise
        noise = torch.randn(200, 32, generator=torch.Generator().manual_seed(seed))
        with torch.inference_mode():
            bounds.append(module.generator.log_prob(parts, module.autoencoder, noise).numpy())
        sums.append(np.exp(bounds[-1]).sum())
    assert 0.85 < np.median(sums) < 1.1
    density = np.median(bounds, axis=0)
    flips = (codes[rows["label"].astype(int)] != np.stack(rows["image"]).reshape(-1, 4)).sum(1)
    truth = np.log(0.25) + flips * np.log(0.1) + (4 - flips) * np.log(0.9)
    entropy, expected = np.exp(truth) @ truth, np.exp(truth) @ density
    assert entropy - 0.5 < expected < entropy + 0.1  # noise that rows share leaves that much
    assert_allclose(vae.log_density(rows), density, atol=2)


def test_draws_given_a_label_show_it(fitted):
    given = pd.DataFrame({"kind": np.repeat(list("abc"), 100)})
    drawn = fitted.sample(1, given=given, random_state=0)
    assert_array_equal(drawn["kind"].astype(str), given["kind"])
    assert (kind_of(drawn["image"]) == given["kind"]).mean() > 0.95
    assert np.stack(drawn["vector"])[200:].mean() - np.stack(drawn["vector"])[:100].mean() == pytest.approx(4, abs=0.6)


def test_draws_given_an_image_have_its_label(fitted):
    test = stripes(100, seed=1)
    drawn = fitted.sample(1, given=test[["image"]], random_state=0)
    assert (drawn["kind"].astype(str) == test["kind"].astype(str)).mean() > 0.95
    for one, other in zip(drawn["image"], test["image"], strict=True):
        assert_array_equal(one, other)
    assert drawn["number"].groupby(drawn["kind"], observed=True).mean().diff().dropna().between(2, 4).all()


def test_given_is_as_free_draws_filtered(fitted):
    free = fitted.sample(6000, random_state=0)
    kept, asked = free[free["kind"] == "b"], fitted.sample(2000, given={"kind": "b"}, random_state=1)
    assert asked["number"].mean() == pytest.approx(kept["number"].mean(), abs=0.12)
    assert asked["number"].std() == pytest.approx(kept["number"].std(), rel=0.1)
    for name in ("image", "vector"):
        one, other = (np.stack(rows[name]).astype(float) for rows in (kept, asked))
        assert_allclose(other.mean(0), one.mean(0), atol=0.2 * one.std(0).max())


def test_missing_parts_are_filled_in_given_the_others(fitted):
    test = stripes(150, seed=1)
    holed = test.copy()
    holed.loc[:49, "image"] = None
    holed.loc[50:99, "kind"] = None
    holed.loc[100:, "vector"] = None
    for filled in (fitted.impute(holed), *fitted.impute(holed, n_draws=2, random_state=0)):
        assert not filled.isna().any(axis=None)
        assert (kind_of(filled["image"][:50]) == test["kind"][:50].astype(str)).mean() > 0.9
        assert (filled["kind"][50:100].astype(str) == test["kind"][50:100].astype(str)).mean() > 0.9
        vectors = np.stack(filled["vector"][100:]).mean(1)
        assert np.corrcoef(vectors, test["kind"].cat.codes[100:])[0, 1] > 0.8
        for name in ("image", "vector"):
            for at in np.flatnonzero(holed[name].notna()):
                assert_array_equal(filled[name][at], test[name][at])


def test_missing_pixels_are_filled_in_given_the_label_and_the_other_pixels():
    frame = stripes()
    frame["image"] = [image.astype(np.float32) for image in frame["image"]]
    vae = VAETransformer(2, max_iter=25, random_state=0).fit(frame)
    test = stripes(60, seed=1)
    holed = test.copy()
    holed["image"] = [np.where(np.arange(6)[:, None] < 3, np.nan, image) for image in test["image"]]
    for filled in (vae.impute(holed), vae.impute(holed, n_draws=1, random_state=0)[0]):
        assert (kind_of(filled["image"]) == test["kind"].astype(str)).mean() > 0.9
        assert_array_equal(np.stack(filled["image"])[:, 3:], np.stack(holed["image"])[:, 3:])


def test_scores_are_told_by_column(fitted):
    test = stripes(50, seed=1)
    cells = fitted.score_cells(test)
    assert list(cells.columns) == list(test.columns)
    assert (cells.sum(axis=1) >= fitted.score_samples(test) - 1e-3).all()
    wrong = test.assign(image=[image[::-1] for image in test["image"]])
    rows = test["kind"] != "b"
    assert (fitted.score_cells(wrong)["image"] < cells["image"])[rows].all()


def test_probabilities_of_a_label_given_an_image(fitted):
    test = stripes(60, seed=1)
    proba = fitted.conditional_proba(test.assign(number=np.nan, vector=None), "kind")
    assert_allclose(proba.sum(axis=1), 1)
    assert (proba.to_numpy().argmax(1) == test["kind"].cat.codes).mean() > 0.95


def test_relations_hold_beside_images():
    frame = stripes()
    rng = np.random.default_rng(0)
    frame["fare"], frame["tip"] = (rng.gamma(3, 4, len(frame)).round(2) for _ in range(2))
    frame["total"] = (frame["fare"] + frame["tip"]).round(2)
    vae = VAETransformer(2, max_iter=2, random_state=0).fit(frame)
    assert "total = fare + tip" in set(vae.relations_["relation"])
    drawn = vae.sample(500, random_state=0)
    assert_allclose(drawn["fare"] + drawn["tip"], drawn["total"], atol=1e-9)
    known = vae.sample(1, given=frame[["image", "total"]][:20], random_state=0)
    assert_allclose(known["fare"] + known["tip"], frame["total"][:20], atol=1e-9)
    assert np.isfinite(vae.log_density(frame)).all()


PARTS = {
    "image and table": ["kind", "image"],
    "vector and table": ["kind", "vector"],
    "images": ["image", "mirrored"],
    "vectors": ["vector", "other"],
    "image and vector": ["image", "vector"],
    "all": ["kind", "number", "image", "mirrored", "vector"],
}


@pytest.mark.parametrize("generator", ["auto", "latent"])
@pytest.mark.parametrize("names", PARTS.values(), ids=PARTS.keys())
def test_any_parts_make_a_row(names, generator):
    frame = with_gaps(stripes(130))
    frame["mirrored"] = [None if image is None else image[::-1] for image in frame["image"]]
    frame["other"] = frame["vector"]
    frame = frame[names]
    vae = VAETransformer(2, max_iter=1, generator=generator, random_state=0).fit(frame)
    assert vae.generator_ == ("latent" if generator == "latent" else "autoregressive")
    assert vae.transform(frame).shape == (130, 2)
    assert np.isfinite(vae.log_density(frame)).all()
    assert np.isfinite(vae.score_samples(frame)).all()
    assert list(vae.sample(5).columns) == names
    filled = vae.impute(frame, n_draws=1, random_state=0)[0]
    assert not filled.isna().any(axis=None)
    again = VAETransformer(2, max_iter=1, generator=generator, random_state=0).fit(frame)
    assert_array_equal(again.transform(frame), vae.transform(frame))
    assert vae.inverse_transform(vae.transform(frame))[names[0]].dtype == frame[names[0]].dtype


def test_fitting_goes_on():
    frame = stripes(200)
    vae = VAETransformer(2, max_iter=1, warm_start=True, random_state=0).fit(frame).fit(frame)
    assert len(vae.generator_loss_curve_) <= 3
    stream = VAETransformer(2, random_state=0).partial_fit(frame).partial_fit(frame)
    assert stream.sample(3).shape == (3, 4)
    assert stream.n_iter_ == 2


def test_digits_with_their_label():
    digits = load_digits()
    frame = pd.DataFrame({"label": pd.Categorical(digits.target), "image": list(digits.images.astype(np.uint8))})
    train, test = frame[:1200], frame[1400:].reset_index(drop=True)
    vae = VAETransformer(10, max_iter=20, random_state=0).fit(train)
    judge = SVC(gamma=0.001).fit(digits.data, digits.target)
    given = pd.DataFrame({"label": pd.Categorical(np.repeat(range(10), 50))})
    drawn = np.stack(vae.sample(1, given=given, random_state=0)["image"]).reshape(500, -1)
    assert (judge.predict(drawn) == given["label"].astype(int)).mean() > 0.85
    empty = test.assign(label=pd.Categorical([None] * len(test), categories=range(10)))
    read = vae.impute(empty)["label"].astype(int)
    assert (read == digits.target[1400:]).mean() > 0.93


# --- series ----------------------------------------------------------------------------------------------------------


SERIES = {"one": ((24,), {"image_shape": (24,)}), "several": ((24, 2), {})}


@pytest.mark.parametrize(("shape", "parameters"), SERIES.values(), ids=SERIES.keys())
def test_series_are_drawn_along_time(shape, parameters):
    rng = np.random.default_rng(0)
    X = np.zeros((600, *shape))
    noise = rng.normal(size=X.shape)
    X[:, 0] = noise[:, 0]
    for t in range(1, 24):
        X[:, t] = 0.9 * X[:, t - 1] + np.sqrt(1 - 0.81) * noise[:, t]
    vae = VAETransformer(2, max_iter=20, random_state=0, **parameters).fit(X)
    drawn = vae.sample(600, random_state=0)
    assert drawn.shape == X.shape
    for lag in (1, 4):
        of_data, of_draws = ((Y[:, lag:] * Y[:, :-lag]).mean() / (Y**2).mean() for Y in (X, drawn))
        assert of_draws == pytest.approx(of_data, abs=0.08)
    holed = X[:50].copy()
    holed[:, 12:] = np.nan
    filled = vae.impute(holed, n_draws=1, random_state=0)[0]
    steps = np.abs(filled[:, 12] - X[:50, 11]).mean()
    assert steps == pytest.approx(np.abs(np.diff(X, axis=1)).mean(), rel=0.35)


# --- bad input -------------------------------------------------------------------------------------------------------


def changed(name, value, at=None):
    """Rows of which a cell, or all cells of a column, are something else."""

    def change():
        frame = stripes(20)
        column = list(frame[name])
        for row in range(20) if at is None else [at]:
            column[row] = value
        cells = np.empty(20, object)
        for row, cell in enumerate(column):
            cells[row] = cell
        return frame.assign(**{name: cells})

    return change


UNFITTABLE = {
    "ragged": (changed("image", np.zeros((5, 6), np.uint8), 7), "Column 'image'.* row 7 .*\\(5, 6\\)"),
    "text": (changed("image", "photo.png", 3), "Column 'image'.* row 3 a str"),
    "texts": (changed("vector", np.array(["a", "b"])), "Column 'vector' holds arrays of dtype <U1"),
    "lists": (changed("vector", [1.0, 2.0]), "map\\(np.asarray\\)"),
    "infinite": (changed("vector", np.array([1, np.inf, 2], np.float32), 4), "Column 'vector' holds infinity in row 4"),
    "empty": (changed("vector", np.zeros(0)), "hold nothing"),
    "beside": (lambda: (np.zeros((20, 4, 4)), stripes(20)), "frame.assign\\(image=list\\(images\\)\\)"),
}


@pytest.mark.parametrize(("rows", "message"), UNFITTABLE.values(), ids=UNFITTABLE.keys())
def test_what_fit_refuses(rows, message):
    with pytest.raises((TypeError, ValueError), match=message):
        VAETransformer(2, max_iter=1).fit(rows())


UNLIKE = {
    "shape": (changed("image", np.zeros((7, 7), np.uint8)), "fitted with arrays of shape \\(6, 6\\).* row 0 .*\\(7, 7\\)"),
    "range": (changed("image", np.full((6, 6), 300), 2), "Column 'image': Pixels were fitted within \\[0, 255\\]"),
    "length": (changed("vector", np.zeros(4)), "Column 'vector' was fitted with arrays of shape \\(3,\\)"),
}


@pytest.mark.parametrize(("rows", "message"), UNLIKE.values(), ids=UNLIKE.keys())
def test_what_transform_refuses(fitted, rows, message):
    with pytest.raises(ValueError, match=message):
        fitted.transform(rows())


CONDITIONS = {
    "shape": ({"image": np.zeros((3, 3))}, "no value of column 'image'.*\\(6, 6\\)"),
    "missing": ({"image": None}, "missing value in column 'image', in which fit saw none"),
    "column": ({"picture": np.zeros((6, 6))}, "'picture' that fit did not see"),
    "text": ({"vector": "a"}, "no value of column 'vector'"),
}


@pytest.mark.parametrize(("given", "message"), CONDITIONS.values(), ids=CONDITIONS.keys())
def test_what_conditions_are_refused(fitted, given, message):
    with pytest.raises((TypeError, ValueError), match=message):
        fitted.sample(2, given=given)


def test_a_known_missing_image_is_drawn_as_missing(fitted_with_gaps):
    assert fitted_with_gaps.sample(20, given={"image": None})["image"].isna().all()
