"""How a fit goes: streams, callbacks, parts of arrays on disk, precision."""

import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.callback import ProgressBar
from sklearn.datasets import load_digits, load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks

import skvae.fitting
import skvae.rows
import skvae.training
from skvae import VAETransformer
from skvae.autoencoder import Autoencoder
from skvae.rows import Part, Rows


@pytest.fixture(scope="module")
def X():
    return load_iris().data


@pytest.fixture(scope="module")
def tall():
    """30,000 rows of five columns that depend on two hidden ones."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30_000, 2)) @ rng.normal(size=(2, 5)) + 0.3 * rng.normal(size=(30_000, 5))
    return X.astype(np.float32)


# --- streams ---------------------------------------------------------------------------------------------------------


def bent(n, seed):
    """Rows on a noisy parabola, which no linear model explains."""
    rng = np.random.default_rng(seed)
    t = rng.normal(size=n)
    return np.column_stack([t, t**2, np.sin(2 * t)]) + 0.1 * rng.normal(size=(n, 3))


def test_halves_of_a_stream_improve_the_bound():
    test = bent(2000, 1)
    vae = VAETransformer(1, random_state=0).partial_fit(bent(20_000, 2))
    first = vae.score(test)
    for part in np.array_split(bent(60_000, 3), 3):
        vae.partial_fit(part)
    assert vae.score(test) > first + 0.1
    assert vae.n_iter_ == len(vae.loss_curve_) == 4


def test_a_stream_is_reproducible_and_goes_on_after_a_pickle(X):
    parts = np.array_split(X, 3)

    def stream(between):
        vae = VAETransformer(random_state=0)
        for part in parts:
            vae = between(vae.partial_fit(part))
        return vae.transform(X)

    assert_array_equal(stream(lambda vae: vae), stream(lambda vae: pickle.loads(pickle.dumps(vae))))


def test_a_stream_goes_on_from_a_fit_and_keeps_its_form(mixed_frame):
    vae = VAETransformer(max_iter=3, random_state=0).fit(mixed_frame)
    schema = vae._schema
    vae.partial_fit(mixed_frame[:100]).partial_fit(mixed_frame[100:101])
    assert vae.n_iter_ == 5
    assert vae._schema is schema
    assert (vae.sample(5).dtypes == mixed_frame.dtypes).all()


def test_a_stream_weighs_rows(X):
    weight = np.r_[np.ones(50), np.zeros(100)]
    weighted = VAETransformer(random_state=0).partial_fit(X, sample_weight=weight)
    assert_array_equal(weighted.transform(X), VAETransformer(random_state=0).partial_fit(X[:50]).transform(X))


def test_a_stream_remembers_its_steps(X):
    vae = VAETransformer(batch_size=50, random_state=0).partial_fit(X).partial_fit(X)
    assert len(vae._optimizer_state) == 2  # of the autoencoder, and of the generator
    for moments in vae._optimizer_state:
        assert moments["n_steps"] == 6
        assert any(np.abs(gradient).max() > 0 for gradient in moments["gradients"])
        assert np.abs(moments["mean"]).max() > 0
        assert moments["square"].max() > 0
        assert moments["rate_factor"] == 1.0


def test_a_part_that_fails_leaves_nothing_behind(X, monkeypatch):
    def diverge(*args, **kwargs):
        raise skvae.training.DivergedError

    vae = VAETransformer(random_state=0)
    before = dict(vars(vae))
    monkeypatch.setattr(skvae.fitting, "train_further", diverge)
    with pytest.raises(ValueError, match="became infinite or NaN"):
        vae.partial_fit(X)
    assert vars(vae) == before


def test_a_refused_part_leaves_the_model(X):
    vae = VAETransformer(random_state=0).partial_fit(X)
    before = vae.transform(X)
    with pytest.raises(ValueError, match="features"):
        vae.partial_fit(X[:, :3])
    assert_array_equal(vae.transform(X), before)


@pytest.mark.parametrize(
    "name",
    ["check_estimators_partial_fit_n_features", "check_n_features_in", "check_fit2d_1feature", "check_fit_check_is_fitted"],
)
def test_checks_of_streams(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        getattr(estimator_checks, name)("VAETransformer", VAETransformer(max_iter=2))


# --- callbacks -------------------------------------------------------------------------------------------------------


class Stopper:
    """Ends the fit after some epochs, and writes down what it was called with."""

    def __init__(self, after):
        self.after, self.events, self.scores = after, [], []

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context, *, X=None):
        self.events.append(f"begin {context.task_name}")
        self.rows = len(X)

    def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
        self.events.append(f"end {context.task_name}")
        self.scores.append(fitted_estimator.score(X))
        return context.task_name == "epoch" and context.task_id + 1 == self.after


def test_a_callback_sees_every_epoch_and_ends_the_fit(X):
    stopper = Stopper(after=3)
    vae = VAETransformer(generator="latent", max_iter=10, early_stopping=False, random_state=0)
    vae.set_callbacks(stopper).fit(X)
    assert vae.n_iter_ == 3
    assert stopper.events == ["setup", "begin fit", *["begin epoch", "end epoch"] * 3, "end fit", "teardown"]
    assert stopper.rows == len(X)
    assert stopper.scores[-1] == vae.score(X)  # the estimator that it was given is the one that the fit ends with
    assert len(set(stopper.scores)) >= 3


def test_every_task_that_began_ends_also_when_patience_does_first(X):
    stopper = Stopper(after=None)
    stopper.on_fit_task_end = lambda estimator, context: stopper.events.append(f"end {context.task_name}")
    vae = VAETransformer(generator="latent", n_iter_no_change=1, tol=100.0, random_state=0).set_callbacks(stopper).fit(X)
    assert vae.n_iter_ == 1
    assert stopper.events.count("begin epoch") == stopper.events.count("end epoch") == 2  # the second never ran
    assert stopper.events[-2:] == ["end fit", "teardown"]


def test_epochs_of_the_generator_are_tasks_too(X):
    stopper = Stopper(after=None)
    vae = VAETransformer(max_iter=4, early_stopping=False, random_state=0).set_callbacks(stopper).fit(X)
    assert stopper.events.count("end epoch") == len(vae.loss_curve_) + len(vae.generator_loss_curve_) == 8


def test_a_generator_whose_turn_had_not_come_is_trained_after_a_callback_stopped_the_fit():
    """Two columns that determine each other: the density knows it, and draws keep it."""
    codes = np.random.default_rng(0).integers(0, 4, 1000)
    frame = pd.DataFrame({"one": np.array(list("abcd"))[codes], "other": np.array(list("wxyz"))[codes]})
    stopper = Stopper(after=1)
    stopper.on_fit_task_end = lambda estimator, context: context.task_name == "epoch"
    vae = VAETransformer(random_state=0).set_callbacks(stopper).fit(frame)
    assert vae.n_iter_ == 1
    assert stopper.events.count("begin epoch") == 1  # callbacks are not asked again
    assert vae.log_density(frame).mean() == pytest.approx(np.log(1 / 4), abs=0.1)
    drawn = vae.sample(500, random_state=0)
    assert drawn.merge(frame.drop_duplicates(), how="inner").shape[0] > 480


def test_callbacks_are_ended_when_a_fit_fails(X):
    stopper = Stopper(after=1)
    stopper.on_fit_task_end = lambda estimator, context: 1 / 0
    vae = VAETransformer(random_state=0).set_callbacks(stopper)
    with pytest.raises(ZeroDivisionError):
        vae.fit(X)
    assert stopper.events[-1] == "teardown"
    assert not hasattr(vae, "module_")


def test_a_callback_changes_no_bit(X):
    plain = VAETransformer(max_iter=3, random_state=0).fit(X)
    watched = VAETransformer(max_iter=3, random_state=0).set_callbacks(Stopper(after=None)).fit(X)
    assert_array_equal(watched.transform(X), plain.transform(X))


@pytest.mark.parametrize("nest", ["alone", "pipeline", "search"])
def test_progress_bars(X, nest, capsys):
    vae = VAETransformer(max_iter=2, random_state=0)
    pipe = make_pipeline(StandardScaler(), vae)
    search = GridSearchCV(pipe, {"vaetransformer__latent_dim": [1, 2]}, cv=2, n_jobs=2)
    estimator = {"alone": vae, "pipeline": pipe, "search": search}[nest]
    estimator.set_callbacks(ProgressBar(max_propagation_depth=2)).fit(X)
    shown = capsys.readouterr().out
    assert "VAETransformer" in shown
    assert "100%" in shown
    pickle.loads(pickle.dumps(clone(estimator)))


@pytest.mark.parametrize(
    ("n_rows", "hidden_layer_sizes", "expected"),
    [(50, (64,), [50, 50]), (300, (64,), [128, 128]), (5000, (64,), [256, 128]), (5000, (512, 512), [128, 128])],
)
def test_rows_a_step_grow_with_the_rows_and_shrink_with_the_network(n_rows, hidden_layer_sizes, expected, monkeypatch):
    sizes, train = [], skvae.fitting.train
    monkeypatch.setattr(skvae.fitting, "train", lambda *a, **k: sizes.append(k["batch_size"]) or train(*a, **k))
    options = {"hidden_layer_sizes": hidden_layer_sizes, "max_iter": 1, "early_stopping": False, "random_state": 0}
    VAETransformer(**options).fit(np.random.default_rng(0).normal(size=(n_rows, 3)))
    assert sizes == expected


# --- parts -----------------------------------------------------------------------------------------------------------


def test_parts_of_an_array_change_no_bit_of_a_fit(tall, monkeypatch):
    missing = tall.copy()
    missing[5000:5010, 2] = np.nan  # in one part only
    whole = VAETransformer(max_iter=1, random_state=0).fit(missing)
    scores = whole.score_samples(missing[4990:5020])
    monkeypatch.setattr(skvae.rows, "N_CELLS_AT_ONCE", 7000)
    parts = VAETransformer(max_iter=1, random_state=0).fit(missing)
    assert_array_equal(
        *(vae.module_.autoencoder.encoder.embeddings[0].path.numbers.numpy(force=True) for vae in (parts, whole))
    )
    assert_allclose(whole.score_samples(missing)[4990:5020], scores, rtol=1e-4)
    assert_allclose(parts.transform(missing), whole.transform(missing), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["transform", "score_samples"])
def test_results_do_not_depend_on_the_working_memory(tall, method):
    vae = VAETransformer(max_iter=1, random_state=0).fit(tall[:2000])
    whole = getattr(vae, method)(tall[:300])
    with sklearn.config_context(working_memory=1e-3):
        assert_allclose(getattr(vae, method)(tall[:300]), whole, rtol=1e-4, atol=1e-5)


def test_rows_are_scored_as_many_at_a_time_as_cache_and_working_memory_hold(tall, monkeypatch):
    vae, sizes, encode = VAETransformer(max_iter=1, random_state=0).fit(tall[:2000]), [], Autoencoder.encode
    monkeypatch.setattr(Autoencoder, "encode", lambda self, parts: sizes.append(len(parts[0])) or encode(self, parts))

    def n_rows_at_once():
        sizes.clear()
        vae.transform(tall)
        assert sum(sizes) == len(tall)
        return max(sizes)

    width, bytes_of_a_number = 256, 8
    assert n_rows_at_once() * width <= skvae.rows.N_NUMBERS_IN_CACHE
    with sklearn.config_context(working_memory=2):
        assert n_rows_at_once() * width * bytes_of_a_number * skvae.rows.N_TENSORS <= 2 * 2**20


SCORE_IN_ANOTHER_PROCESS = """
import numpy as np, torch
torch.set_num_threads(1)
from skvae import VAETransformer

def megabytes():
    status = dict(line.split(":") for line in open("/proc/self/status"))
    return int(status["RssAnon"].split()[0]) / 1024

X = np.random.default_rng(0).normal(size=(300_000, 10)).astype(np.float32)
vae = VAETransformer(max_iter=1, random_state=0).fit(X[:2000])
vae.score_samples(X[:2000])
before = megabytes()
vae.score_samples(X)
print(megabytes() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc, which Linux has")
def test_memory_is_whole_again_after_many_rows_were_scored():
    """200 MB were not, when small results were kept in a list while large ones came and went."""
    run = subprocess.run([sys.executable, "-c", SCORE_IN_ANOTHER_PROCESS], capture_output=True, check=True)
    assert float(run.stdout) < 100


def test_a_read_only_map_of_a_file_fits_as_an_array_does(tall, tmp_path):
    np.save(tmp_path / "rows.npy", tall)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    vae = VAETransformer(max_iter=1, random_state=0).fit(mapped)
    assert_array_equal(vae.transform(mapped), VAETransformer(max_iter=1, random_state=0).fit(tall).transform(tall))


def test_a_schema_of_some_rows_knows_the_extremes(tall, monkeypatch):
    monkeypatch.setattr(skvae.rows, "MIN_ROWS_SCHEMA", 1000)
    monkeypatch.setattr(skvae.rows, "N_CELLS_SCHEMA", 1000)
    vae = VAETransformer(max_iter=1, random_state=0).fit(tall)
    for column, values in zip(vae._schema.parts[0].columns, tall.T, strict=True):
        assert (column.lower, column.upper) == (values.min(), values.max())
    assert vae.score(tall) == pytest.approx(VAETransformer(max_iter=1, random_state=0).fit(tall).score(tall), abs=0.1)


def test_some_rows_are_of_every_kind_where_kinds_come_in_turns():
    x = torch.arange(30_000.0)[:, None]
    some = Rows((Part(x),), torch.ones(30_000)).some(10_000).parts[0].x
    assert len(some.unique()) == len(some) == 10_000
    for n_kinds in (2, 3):
        shares = torch.bincount(some[:, 0].long() % n_kinds) / len(some)
        assert_allclose(shares, 1 / n_kinds, atol=0.02)


def test_rows_held_out_are_moved_not_lost():
    x = torch.arange(40.0).reshape(20, 2)
    rows = Rows((Part(x.clone()),), torch.arange(20.0))
    chosen = np.array([3, 18, 0, 16])
    rows.move_to_end(chosen)
    assert sorted(rows.weight[-4:].tolist()) == sorted(chosen)
    assert sorted(rows.weight.tolist()) == list(range(20))
    assert_array_equal(rows.parts[0].x[:, 0], 2 * rows.weight)


# --- precision and quality -------------------------------------------------------------------------------------------


def test_a_fit_chooses_its_types_whatever_the_context(X):
    options = {"hidden_layer_sizes": (32,), "max_iter": 2, "random_state": 0}
    plain = VAETransformer(2, **options).fit(X)
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        inside = VAETransformer(2, **options).fit(X)
    assert_array_equal(inside.transform(X), plain.transform(X))


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_bfloat16_reaches_the_bound_of_float32(likelihood, monkeypatch):
    X = load_digits().data / 16

    def fit(least):
        monkeypatch.setattr(skvae.training, "MIN_PRODUCT_BFLOAT16", least)
        vae = VAETransformer(4, likelihood=likelihood, max_iter=30, random_state=0, image_shape=(8, 8)).fit(X)
        return np.array(vae.validation_scores_)

    half, full = fit(0), fit(2**62)
    if skvae.training._multiplies_bfloat16(torch.device("cpu")):
        assert (half != full).any()
    assert half[-1] == pytest.approx(full[-1], abs=0.02 * np.ptp(full) + 0.05)  # nats, of a bound that rises by much more


def test_latents_that_tell_nothing_are_said_so():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 1)) + 0.1 * rng.normal(size=(200, 6))
    with pytest.warns(UserWarning, match=r"latents carry no information .* Lower beta"):
        VAETransformer(1, beta=1e4, max_iter=100, generator="latent", early_stopping=False, random_state=0).fit(X)


def test_going_on_never_falls_back_to_where_a_first_fit_starts():
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 3, 1500)
    X = np.stack([x, np.sin(3 * x) + 0.05 * rng.normal(size=1500), np.cos(3 * x)], 1)
    vae = VAETransformer(1, warm_start=True, max_iter=30, random_state=0).fit(X)
    before = vae.log_density(X).mean(), vae.score(X)
    vae.set_params(max_iter=2, learning_rate_init=0.1).fit(X)  # steps so large that they gain nothing
    assert vae.log_density(X).mean() > before[0] - 0.01
    assert vae.score(X) > before[1] - 0.001
