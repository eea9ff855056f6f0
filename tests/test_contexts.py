"""Whatever state torch is in, a fit is the same, and leaves that state as it was."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.datasets import load_iris

import skvae.fitting
from skvae import VAETransformer
from skvae.contexts import threads_for


@pytest.fixture(scope="module")
def X():
    return load_iris().data


def everything(X):
    """What an estimator computes, in one array."""
    vae = VAETransformer(max_iter=3, prior="flow", random_state=0).fit(X)
    vae.partial_fit(X)
    parts = [vae.transform(X), vae.score_samples(X), vae.log_density(X), vae.score_cells(X), vae.sample(5)]
    parts += [vae.sample_latents(5), vae.inverse_transform(vae.transform(X)), vae.impute(X), vae.conditional_proba(X, "x3")]
    return np.concatenate([np.ravel(part) for part in parts])


@contextmanager
def default_device_set():
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def double_by_default():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


CONTEXTS = {
    "another default device": lambda: torch.device("meta"),
    "another default device, set": default_device_set,
    "another default type": double_by_default,
    "no gradients": torch.no_grad,
    "inference": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
}


@pytest.fixture(scope="module")
def expected():
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.normal(size=(60, 3)), rng.integers(0, 3, 60)])
    return rows, everything(rows)


@pytest.mark.parametrize("name", CONTEXTS)
def test_no_bit_depends_on_the_state_of_torch(expected, name):
    rows, computed = expected
    with CONTEXTS[name]():
        assert_array_equal(everything(rows), computed)


@pytest.fixture
def _two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_two_threads")
def test_small_layers_take_one_thread_and_the_callers_number_comes_back(X, monkeypatch):
    seen, train = [], skvae.fitting.train
    monkeypatch.setattr(skvae.fitting, "train", lambda *a, **k: seen.append(torch.get_num_threads()) or train(*a, **k))
    VAETransformer(max_iter=2, random_state=0).fit(X).transform(X)
    assert seen == [1, 1]
    assert torch.get_num_threads() == 2
    with pytest.raises(RuntimeError), threads_for(1):
        raise RuntimeError
    assert torch.get_num_threads() == 2
    with threads_for(2**40):
        assert torch.get_num_threads() == 2


@pytest.mark.parametrize("ratio", [1e-5, 1e-15, 1e-100, 1e-300])
@pytest.mark.parametrize("prior", ["auto", "mixture"])
def test_rows_of_almost_no_weight_break_nothing(X, ratio, prior):
    weight = np.where(np.arange(150) < 149, ratio, 1.0)
    vae = VAETransformer(prior=prior, max_iter=3, random_state=0).fit(X, sample_weight=weight)
    assert np.isfinite(vae.score_samples(X)).all()
    assert np.abs(vae.sample(50) - X[-1]).max() < 0.5  # as if it were alone


def test_the_tags_say_what_is_accepted():
    tags = VAETransformer().__sklearn_tags__().input_tags
    assert tags.string
    assert tags.categorical
    assert tags.allow_nan
    assert tags.three_d_array
    assert not tags.sparse


def test_the_package_has_public_names_only():
    assert set(dir(skvae)) == set(skvae.__all__)
    assert all(getattr(skvae, name) is not None for name in skvae.__all__)  # each is imported when it is asked for
    names = {name for name in vars(skvae) if not name.startswith("_") and name != "TYPE_CHECKING"}
    modules = {name for name in names if type(getattr(skvae, name)).__name__ == "module"}
    assert names - modules == set(skvae.__all__) - {"__version__"}
