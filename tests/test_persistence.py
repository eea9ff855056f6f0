"""Pickles hold named fields and the version that wrote them; those of this version are opened for ever."""

import pickle
from dataclasses import is_dataclass
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits

import skvae
from skvae import VAETransformer
from skvae.persistence import CLASSES, FORMAT, from_fields, to_fields

GOLDEN = Path(__file__).parent / "golden"


def golden_frame():
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, 240)
    frame = pd.DataFrame(
        {
            "kind": pd.Categorical.from_codes(kind, ["a", "b", "c"]),
            "x": rng.normal(kind, 1).round(2),
            "n": rng.poisson(kind + 1),
            "flag": rng.random(240) < 0.4,
            "when": pd.to_datetime("2020-01-01") + pd.to_timedelta(rng.integers(0, 500, 240), unit="D"),
            "name": [f"N{k:03d}" for k in range(240)],
        }
    )
    frame.loc[::5, "x"] = np.nan
    return frame


def write_golden():
    """Write the file of this version, once it is released: it is not to be changed afterwards."""
    frame = golden_frame()
    vae = VAETransformer(hidden_layer_sizes=(16,), max_iter=20, random_state=0).fit(frame)
    computed = {name: getattr(vae, name)(frame) for name in ("transform", "score_samples", "log_density")}
    GOLDEN.mkdir(exist_ok=True)
    path = GOLDEN / f"vae-{skvae.__version__}.pickle"
    path.write_bytes(pickle.dumps({"pandas": pd.__version__, "estimator": pickle.dumps(vae), **computed}, protocol=5))


def test_a_pickle_of_every_version_opens_for_ever():
    """Each file holds an estimator that its version fitted, and what that version computed with it."""
    files = sorted(GOLDEN.glob("*.pickle"))
    assert files
    for file in files:
        held, frame = pickle.loads(file.read_bytes()), golden_frame()
        if int(held["pandas"].split(".")[0]) > int(pd.__version__.split(".")[0]):
            pytest.skip(f"pandas {held['pandas']} wrote the dtypes in {file.name}, which an older one does not know")
        vae = pickle.loads(held["estimator"])
        assert_allclose(vae.transform(frame), held["transform"], atol=1e-5)
        assert_allclose(vae.score_samples(frame), held["score_samples"], atol=1e-4)
        assert_allclose(vae.log_density(frame), held["log_density"], atol=1e-4)
        drawn = vae.sample(20)
        assert (drawn.dtypes == frame.dtypes).all()
        assert drawn["name"].iloc[0] == "N240"
        assert vae.partial_fit(frame).n_iter_ > 1


@pytest.fixture(scope="module")
def fitted():
    return VAETransformer(max_iter=1, random_state=0).fit(golden_frame())


def plain(value):
    """Whether a value is made of named fields, plain values and arrays: no object of ours, and no tuple of unlike things."""
    if isinstance(value, dict):
        return all(map(plain, value.values()))
    if type(value) in (list, tuple):
        alike = len({type(item) for item in value if item is not None}) <= 1
        return all(map(plain, value)) and (alike or isinstance(value, list))
    return type(value).__module__.split(".")[0] not in ("skvae", "torch") and not is_dataclass(value)


def test_the_state_is_named_fields_of_plain_values(fitted):
    state = fitted.partial_fit(golden_frame()).__getstate__()
    assert (state["format"], state["version"]) == (FORMAT, skvae.__version__)
    for name, value in state.items():
        assert plain(value), name
    file = pickle.dumps(fitted)
    assert set(modules_of(file)) == {"skvae.estimator"}


def modules_of(file):
    """Modules of ours that a pickle refers to."""
    import pickletools

    texts = [argument for _, argument, _ in pickletools.genops(file) if isinstance(argument, str)]
    return [text for text in texts if text.split(".")[0] == "skvae" and "." in text and " " not in text]


def test_every_saved_object_comes_back(fitted):
    schema = fitted._schema
    again = from_fields(pickle.loads(pickle.dumps(to_fields(schema))))
    frame = golden_frame()
    for one, other in zip(schema.pack(frame), again.pack(frame), strict=True):
        assert_array_equal(one.values, other.values)
        assert_array_equal(one.observed, other.observed)
    assert repr(again.specs) == repr(schema.specs)
    assert {type(part).__name__ for part in schema.parts} <= set(CLASSES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": FORMAT + 1, "version": "9.0"}, r"pickled by skvae 9.0, in format .*Install skvae 9.0 or newer"),
        ({"format": 0, "version": "0.0.1"}, "pickled by skvae 0.0.1, whose pickles this version cannot read. Fit it again"),
        ({"format": None, "version": "0.1"}, "pickled by skvae 0.1, whose pickles this version cannot read"),
    ],
)
def test_pickles_of_other_formats_are_refused_plainly(fitted, change, message):
    state = fitted.__getstate__() | change
    with pytest.raises(ValueError, match=message):
        VAETransformer().__setstate__(state)


def test_a_model_opens_from_a_mapped_file_without_a_word(tmp_path):
    """joblib maps large arrays read-only, also for its workers; torch would warn of them."""
    X = load_digits().data
    vae = VAETransformer(hidden_layer_sizes=(512, 512), max_iter=1, random_state=0, image_shape=(8, 8)).fit(X)
    joblib.dump(vae, tmp_path / "model.joblib")
    assert (tmp_path / "model.joblib").stat().st_size > 2**20
    mapped = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    assert_array_equal(mapped.transform(X), vae.transform(X))
    scores = joblib.Parallel(n_jobs=2, max_nbytes="1K")(joblib.delayed(vae.score)(X[:50]) for _ in range(2))
    assert scores == pytest.approx([vae.score(X[:50])] * 2)


if __name__ == "__main__":
    write_golden()
