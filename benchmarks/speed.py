"""How fast is a fit, beside others on the same work and beside the products of matrices that it cannot do without?

    OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/speed.py [--parts classic epoch ...] [--seeds 3] [--json speed.json]

One pinned core. Times are the processor's, of each question in a process of its own, so that neighbours on the machine
matter less; what counts are ratios within a run. Peers that are not installed have a row that says so
(`pip install ".[bench]"`). MNIST is read from the folder named by SKVAE_DATA, else fetched from OpenML.

classic: seconds until the classic example (grey MNIST, 784-512-2-512-784, relu, Bernoulli) reaches a bound of -151.1 nats
on the test images, or the bound where it stopped. epoch, table: one epoch over its products of matrices alone. transform:
rows a second over those of the products. one_row: milliseconds of one row. busy: a fit on two cores, alone and beside a
busy process (not to be pinned). small: fits of default constructors. import: after what it imports. rows: an
epoch of tables on disk of up to 10^7 rows, and the memory beside the table's own.
"""

import argparse
import gzip
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BOUND = -151.1
WIDTHS = [(784, 512), (512, 4), (2, 512), (512, 784)]


class Clock:
    """Processor seconds since the start, less those spent inside `with clock:`."""

    def __init__(self):
        self.start = time.process_time()

    def __enter__(self):
        self.paused = time.process_time()

    def __exit__(self, *_):
        self.start += time.process_time() - self.paused

    @property
    def seconds(self):
        return time.process_time() - self.start


def mnist():
    """Training and test images, uint8 (n, 28, 28)."""
    folder = Path(os.environ.get("SKVAE_DATA", Path(__file__).parents[2] / "shared" / "data")) / "mnist"
    if folder.is_dir():
        files = (folder / f"{name}-images-idx3-ubyte.gz" for name in ("train", "t10k"))
        return [np.frombuffer(gzip.open(file).read(), np.uint8, offset=16).reshape(-1, 28, 28) for file in files]
    from sklearn.datasets import fetch_openml

    X = fetch_openml("mnist_784", as_frame=False).data.astype(np.uint8).reshape(-1, 28, 28)
    return [X[:60_000], X[60_000:]]


def bound_of(layers, images):
    """The bound of the classic example, of (weight (in, out), bias) of its four layers; the same noise for everyone."""
    x = images.reshape(len(images), -1).astype(np.float32) / 255
    (w1, b1), (w2, b2), (w3, b3), (w4, b4) = layers
    mean, log_variance = np.split(np.maximum(x @ w1 + b1, 0) @ w2 + b2, 2, axis=1)
    noise = np.random.default_rng(0).normal(size=(2, *mean.shape)).astype(np.float32)
    total = 0.0
    for z in mean + np.exp(0.5 * log_variance) * noise:
        logits = np.maximum(z @ w3 + b3, 0) @ w4 + b4
        total += (x * logits - np.logaddexp(0, logits)).sum(1).mean() / len(noise)
    return float(total - 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(1).mean())


# --- the classic example: each yields layers after every epoch, and is timed between -----------------------------------


def lean_torch(seed, *, batch_size, rate, n_epochs, half=False):
    """A plain loop; half: in bfloat16, its output started at the data's mean, its step decaying."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.manual_seed(seed)
    X = torch.tensor(mnist()[0].reshape(-1, 784)).float() / 255
    layers = [nn.Linear(*width) for width in WIDTHS]
    if half:
        layers[-1].bias.data = X.mean(0).clamp(1e-3, 1 - 1e-3).logit()
    optimiser = torch.optim.Adam([p for layer in layers for p in layer.parameters()], rate, fused=True)
    n_steps = n_epochs * math.ceil(len(X) / batch_size)
    decay = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda at: 1 - at / n_steps if half else 1.0)
    yield
    for _ in range(n_epochs):
        for rows in torch.randperm(len(X)).split(batch_size):
            x = X[rows]
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                mean, log_variance = layers[1](layers[0](x).relu()).float().chunk(2, -1)
                z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
                logits = layers[3](layers[2](z).relu()).float()
            loss = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
            loss = (loss + 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()) / len(x)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            decay.step()
        yield [(layer.weight.detach().numpy().T, layer.bias.detach().numpy()) for layer in layers]


def keras_(seed, backend):
    """As its VAE example is trained (Adam 1e-3, batches of 128), with dense layers."""
    os.environ["KERAS_BACKEND"] = backend
    import keras
    from keras import layers, ops

    class Sampling(layers.Layer):
        def __init__(self):
            super().__init__()
            self.stream = keras.random.SeedGenerator(seed)

        def call(self, theta):
            mean, log_variance = ops.split(theta, 2, axis=-1)
            kl = 0.5 * (ops.square(mean) + ops.exp(log_variance) - 1 - log_variance)
            self.add_loss(ops.mean(ops.sum(kl, -1)))
            return mean + ops.exp(0.5 * log_variance) * keras.random.normal(ops.shape(mean), seed=self.stream)

    def loss(x, logits):
        return ops.sum(ops.softplus(logits) - x * logits, -1)

    keras.utils.set_random_seed(seed)
    X = mnist()[0].reshape(-1, 784).astype("float32") / 255
    dense = [layers.Dense(512, "relu"), layers.Dense(4), layers.Dense(512, "relu"), layers.Dense(784)]
    inputs = keras.Input((784,))
    model = keras.Model(inputs, dense[3](dense[2](Sampling()(dense[1](dense[0](inputs))))))
    model.compile(keras.optimizers.Adam(1e-3), loss=loss)
    yield
    while True:
        model.fit(X, X, batch_size=128, epochs=1, verbose=0)
        yield [[np.asarray(keras.ops.convert_to_numpy(w)) for w in layer.weights] for layer in dense]


def pythae_(seed):
    """Its own trainer for an epoch at a time, Adam 1e-3, batches of 128."""
    import torch
    from pythae.models import VAE, VAEConfig
    from pythae.pipelines import TrainingPipeline
    from pythae.trainers import BaseTrainerConfig

    torch.manual_seed(seed)
    X = torch.tensor(mnist()[0].reshape(-1, 1, 28, 28)).float() / 255
    model = VAE(VAEConfig(input_dim=(1, 28, 28), latent_dim=2, reconstruction_loss="bce"))
    config = BaseTrainerConfig(
        output_dir=tempfile.mkdtemp(),
        num_epochs=1,
        learning_rate=1e-3,
        per_device_train_batch_size=128,
        no_cuda=True,
        seed=seed,
    )
    yield
    while True:
        TrainingPipeline(model, config)(X)
        encoder, decoder = model.encoder, model.decoder
        linear = [m for part in (encoder.layers, decoder.layers) for m in part.modules() if isinstance(m, torch.nn.Linear)]
        arrays = [
            (m.weight.detach().numpy().T, m.bias.detach().numpy()) for m in (*linear, encoder.embedding, encoder.log_var)
        ]
        first, third, fourth, mean, log_variance = arrays
        yield [first, tuple(np.concatenate(pair, -1) for pair in zip(mean, log_variance, strict=True)), third, fourth]


CLASSIC = {
    "Keras on JAX": lambda seed: keras_(seed, "jax"),
    "Keras on torch": lambda seed: keras_(seed, "torch"),
    "pythae": pythae_,
    "plain torch loop": lambda seed: lean_torch(seed, batch_size=128, rate=1e-3, n_epochs=40),
    "lean bfloat16 loop": lambda seed: lean_torch(seed, batch_size=512, rate=8e-3, n_epochs=12, half=True),
}
SKVAE_EPOCHS = 6


def classic_peer(name, seed, limit=400.0):
    """Seconds and bound at the first epoch that reaches the bound, or at the last within the limit."""
    images = mnist()[1]
    run = CLASSIC[name](seed)
    next(run)
    clock = Clock()
    for layers in run:
        with clock:
            bound = bound_of(layers, images)
        if bound >= BOUND or clock.seconds > limit:
            break
    return clock.seconds, bound


def classic_skvae(seed, **changes):
    """The whole of `fit`, and the bound of what it returns."""
    import torch

    from skvae import VAETransformer
    from skvae.rows import Part

    X, test = mnist()
    options = {"hidden_layer_sizes": (512,), "activation": "relu", "likelihood": "bernoulli", "early_stopping": False}
    options |= {"max_iter": SKVAE_EPOCHS, "batch_size": 384, "learning_rate_init": 0.023, "prior": "normal"}
    options |= {"random_state": seed} | changes
    clock = Clock()
    vae = VAETransformer(2, **options).fit(X)
    seconds = clock.seconds
    parts, rng = (Part(torch.tensor(test.reshape(-1, 784)) / 255),), torch.Generator().manual_seed(seed)
    with torch.inference_mode():
        terms = [vae.module_.autoencoder.elbo(parts, torch.randn(len(test), 2, generator=rng)) for _ in range(2)]
    return seconds, float(np.mean([(log_likelihood - kl).mean().item() for log_likelihood, kl in terms]))


def part_classic(seeds):
    for seed in range(seeds):
        for name in CLASSIC:
            yield name, alone("classic_peer", name, seed), "s, bound"
        yield f"skvae, {SKVAE_EPOCHS} epochs planned", alone("classic_skvae", seed), "s, bound"


# --- beside the products of matrices alone -------------------------------------------------------------------------------


def products(widths, n_rows, batch_size, half, *, backward=True):
    """Processor seconds of the products that one pass over the rows cannot do without; x itself wants no gradient."""
    import torch

    dtype = torch.bfloat16 if half else torch.float32
    parts = [
        (torch.randn(batch_size, a).to(dtype), torch.randn(b, a).to(dtype), torch.randn(batch_size, b).to(dtype))
        for a, b in widths
    ]
    seconds = []
    for _ in range(25):
        clock = Clock()
        for at, (x, weight, gradient) in enumerate(parts):
            x @ weight.T
            if backward:
                gradient.T @ x
            if backward and at:
                gradient @ weight
        seconds.append(clock.seconds)
    return float(np.median(seconds[5:])) * n_rows / batch_size


def epoch_seconds(X, half, **options):
    """Seconds of an epoch within a fit, the median of some; and rows a step. To be run alone: what it patches remains."""
    import skvae.fitting
    import skvae.training
    from skvae import VAETransformer

    if not half:
        skvae.training._multiplies_bfloat16 = lambda device: False
    stamps, sizes, train = [], [], skvae.fitting.train
    skvae.fitting.train = lambda *given, **named: sizes.append(named["batch_size"]) or train(*given, **named)

    class Stamps:
        def setup(self, estimator, context):
            pass

        teardown = on_fit_task_begin = setup

        def on_fit_task_end(self, estimator, context):
            stamps.append(time.process_time())

    VAETransformer(max_iter=5, early_stopping=False, random_state=0, **options).set_callbacks(Stamps()).fit(X)
    return float(np.median(np.diff(stamps[:5]))), sizes[0]


def epoch_ratio(half):
    X = mnist()[0]
    seconds, size = epoch_seconds(X, half, hidden_layer_sizes=(512,), activation="relu", likelihood="bernoulli")
    alone_ = products(WIDTHS, len(X), size, half)
    return seconds, seconds / alone_


def adult_like(n=32_561, seed=0):
    """Six numbers and eight categories, of as many levels as Adult's."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=n)
    frame = pd.DataFrame({f"n{j}": hidden * j + rng.normal(size=n) for j in range(6)})
    for j, levels in enumerate((9, 16, 7, 15, 6, 5, 2, 42)):
        frame[f"c{j}"] = pd.Categorical((hidden + rng.normal(size=n)).argsort().argsort() * levels // n)
    return frame


def table_ratio():
    from skvae import VAETransformer

    X = adult_like()
    seconds, size = epoch_seconds(X, True, latent_dim=16)
    module = VAETransformer(16, max_iter=1, random_state=0).fit(X[:5000]).module_
    [decoder] = module.autoencoder.decoders
    n_out = len(decoder.path.bias)
    widths = [(X.shape[1], 256), (256, 256), (256, 32), (16, 256), (256, 256), (256, n_out)]
    return seconds, seconds / products(widths, len(X), size, False)


def part_epoch(seeds):
    for half in (False, True):
        for _ in range(seeds):
            yield f"one epoch of it, {'bfloat16' if half else 'float32'}", alone("epoch_ratio", half), "s, over its products"


def part_table(seeds):
    for _ in range(seeds):
        yield "one epoch of a table like Adult, 256-wide", alone("table_ratio"), "s, over its products"


def transform_ratio():
    from skvae import VAETransformer

    X = mnist()[0].astype(np.float32) / 255
    vae = VAETransformer(2, hidden_layer_sizes=(512,), activation="relu", likelihood="bernoulli", max_iter=1, random_state=0)
    vae.fit(X[:1000].reshape(-1, 784))
    flat, seconds = X.reshape(-1, 784), []
    for _ in range(3):
        clock = Clock()
        vae.transform(flat)
        seconds.append(clock.seconds)
    bound = products(WIDTHS[:2], len(X), 1024, False, backward=False)
    return len(X) / min(seconds), bound / min(seconds)


def part_transform(seeds):
    for _ in range(seeds):
        yield "transform of grey MNIST, float32", alone("transform_ratio"), "rows a s, over the bound's"


def one_row_milliseconds(dtype):
    """Of `transform` of one row of thirty columns, and of the products of matrices that it takes."""
    from sklearn.datasets import load_breast_cancer

    from skvae import VAETransformer

    X = load_breast_cancer(as_frame=dtype == "frame").data
    X = X if dtype == "frame" else X.astype(dtype)
    vae = VAETransformer(max_iter=1, random_state=0).fit(X)
    vae.transform(X[:1])
    seconds = []
    for _ in range(500):
        start = time.perf_counter()
        vae.transform(X[:1])
        seconds.append(time.perf_counter() - start)
    alone_ = products([(30, 256), (256, 256), (256, 4)], 1, 1, False, backward=False)
    return 1e3 * float(np.median(seconds)), 1e3 * alone_


def part_one_row(seeds):
    for dtype in ("float64", "float32", "frame"):
        for _ in range(seeds):
            yield f"transform of one row, {dtype}", alone("one_row_milliseconds", dtype), "ms, ms of its products"


def busy_seconds(is_busy):
    """Of a fit of 1,000 rows like Adult's on two threads, by itself or beside a process that computes on both cores."""
    import torch

    from skvae import VAETransformer

    os.sched_setaffinity(0, os.sched_getaffinity(os.getppid()))
    torch.set_num_threads(2)
    X = adult_like(1000)
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(is_busy)]
    try:
        start = time.perf_counter()
        VAETransformer(random_state=0).fit(X)
        return (time.perf_counter() - start,)
    finally:
        for process in busy:
            process.kill()


def part_busy(seeds):
    """Not on one pinned core, but on two."""
    for _ in range(seeds):
        for is_busy in (0, 1):
            yield (
                f"a fit of 1,000 rows, {'beside a busy process' if is_busy else 'alone'}",
                alone("busy_seconds", is_busy),
                "s",
            )


# --- small fits, import, rows -------------------------------------------------------------------------------------------


def small_fit(name, seed):
    from sklearn import datasets

    from skvae import VAETransformer

    X = getattr(datasets, f"load_{name}")().data
    times = []
    for _ in range(2):
        clock = Clock()
        VAETransformer(random_state=seed).fit(X)
        times.append(clock.seconds)
    return tuple(times)


def part_small(seeds):
    for name in ("iris", "wine"):
        for seed in range(seeds):
            yield f"default fit on {name}", alone("small_fit", name, seed), "s first in a process, s again"


def import_seconds(*groups):
    """Of one group of modules after the other."""
    seconds = []
    for names in groups:
        clock = Clock()
        for name in names.split():
            __import__(name)
        seconds.append(clock.seconds)
    return tuple(seconds)


def part_import(seeds):
    imported = "torch sklearn.base sklearn.callback sklearn.utils pandas narwhals.stable.v2"
    for _ in range(seeds):
        yield "import skvae", alone("import_seconds", imported, "skvae"), "s of what it imports, s of its own then"


def memory():
    """MB: the peak of what the process held, and what it holds of files that are mapped into memory."""
    status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return tuple(int(status[name].split()[0]) / 1024 for name in ("VmHWM", "RssFile"))


def rows_fit(n, path):
    from skvae import VAETransformer

    X = np.load(path, mmap_mode="r")
    VAETransformer(max_iter=1, random_state=0).fit(X[:1000])
    before = memory()
    clock = Clock()
    VAETransformer(max_iter=1, random_state=0).fit(X[:n])
    seconds, after = clock.seconds, memory()
    mapped = after[1] - before[1]  # pages of the file, which the system takes back when it needs them
    return seconds, after[0] - before[0] - mapped - 4 * X[:n].size / 2**20, mapped


def part_rows(seeds, most=10_000_000, n_columns=10):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        X = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(most, n_columns))
        rng = np.random.default_rng(0)
        loadings = rng.normal(size=(3, n_columns)).astype(np.float32)
        for at in range(0, most, 500_000):
            part = X[at : at + 500_000]
            part[:] = rng.normal(size=(len(part), 3)).astype(np.float32) @ loadings + 0.3 * rng.normal(size=part.shape)
        X.flush()
        del X
        for n in (10_000, 100_000, 1_000_000, most):
            yield (
                f"one epoch on {n} rows of 10 float32 columns, mapped",
                alone("rows_fit", n, str(path)),
                "s, MB beside one copy of the data, MB of the mapped file",
            )


PARTS = {name[5:]: part for name, part in globals().copy().items() if name.startswith("part_")}


def alone(function, *arguments):
    """What a function of this file returns, a tuple of floats, in a process of its own; of a peer, why it did not run."""
    command = [sys.executable, __file__, "--alone", json.dumps([function, *arguments])]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return tuple(json.loads(done.stdout.splitlines()[-1]))
    if function == "classic_peer":  # a peer is missing, or does not run with the libraries that are here
        return done.stderr.splitlines()[-1]
    raise RuntimeError(done.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", help="write the figures here too")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        function, *rest = json.loads(arguments.alone)
        print(json.dumps(globals()[function](*rest)))
        return
    figures, units = {}, {}
    for name in arguments.parts:
        for row, values, unit in PARTS[name](arguments.seeds):
            figures.setdefault(row, []).append(values)
            units[row] = unit
    for row, runs in figures.items():
        if isinstance(runs[0], str):
            print(f"{row:60s} {'not installed' if 'ModuleNotFound' in runs[0] else runs[0]}")
            continue
        middle, spread = np.median(runs, 0), np.ptp(runs, 0) / 2
        print(
            f"{row:60s}" + "".join(f"{m:14.2f} ±{s:8.2f}" for m, s in zip(middle, spread, strict=True)) + f"  {units[row]}"
        )
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
