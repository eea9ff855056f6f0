"""How good are the latents, densities and draws of images, beside peers, and what do they cost?

    OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/images.py [--parts density draws ...] [--seeds 3] [--rows N]
        [--epochs N] [--json images.json]

Defaults only, but for `latent_dim` and, where only the autoencoder is judged, generator="latent", which saves the
generator's part of the fit and changes no latent. Medians over seeds, with half the range; each run has a process of its
own, and seconds are the processor's. MNIST is read from the folder named by SKVAE_DATA, else fetched from OpenML. What is
missing (a data set, a peer) has a line that says so. `--rows` takes at most so many training and test images, every k-th:
test sets may be sorted, so that their first rows alone say nothing.

density: static binarised MNIST (SKVAE_DATA/binarized_mnist), 32 latents: mean log_density and score of every fifth test
image, and what the latents tell of a training image (the sum of explained_information_), all in nats.
neighbours: MNIST in 2 and 10 latents: accuracy of 15 nearest neighbours, of test images among training images; of skvae,
PCA, UMAP, and a convolutional variational autoencoder in plain torch (two strided layers, Bernoulli, N(0, I), Adam), which
trains for the processor time of skvae's fit, or for `--epochs`.
draws: 2,000 draws after a fit to grey MNIST. Laplacian: variance of the difference between a pixel and its four neighbours
over that in the test images; 1 where draws are as sharp, more where they are noisy. Certain: % to which a perceptron that
was trained on real images gives a class with p > .9. Shares: largest difference between a class's % of the draws and of the
training images, both as the perceptron sees them. Beside them the same of 2,000 test images.
reconstruction: root mean squared error of unseen images, of skvae over that of as many principal components; MNIST, and
Olivetti faces, of which two of each person's ten are unseen.
speed: the default fit of MNIST, 1,000 draws of 28 x 28 pixels after it, and 1,000 draws of 64 x 64 x 3 after one epoch on
2,000 random smooth images. Peak: memory of the whole process so far.
"""

import argparse
import gzip
import json
import math
import os
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np

FOLDER = Path(os.environ.get("SKVAE_DATA", Path(__file__).parents[2] / "shared" / "data"))
N_TEST = 2000  # images that are scored by 64 latents each
N_DRAWS = 2000
N_TIMED = 1000  # draws


class Missing(Exception):
    """Why a run does not take place."""


# --- data ------------------------------------------------------------------------------------------------------------------


def spread(X, n):
    """At most n rows: every k-th, from the first to the last part. Without n, all."""
    return X if n is None else X[:: math.ceil(len(X) / n)]


def mnist(n_rows=None):
    """Images (n, 28, 28) and labels (n,), of the training and of the test set."""
    if (folder := FOLDER / "mnist").is_dir():
        parts = []
        for name in ("train", "t10k"):
            for kind, offset, shape in (("images-idx3", 16, (-1, 28, 28)), ("labels-idx1", 8, (-1,))):
                with gzip.open(folder / f"{name}-{kind}-ubyte.gz") as file:
                    parts.append(np.frombuffer(file.read(), np.uint8, offset=offset).reshape(shape))
    else:
        from sklearn.datasets import fetch_openml

        try:
            X, y = fetch_openml("mnist_784", as_frame=False, return_X_y=True)
        except OSError as error:
            raise Missing(f"MNIST cannot be fetched: {error}") from error
        X, y = X.astype(np.uint8).reshape(-1, 28, 28), y.astype(np.uint8)
        parts = [X[:60_000], y[:60_000], X[60_000:], y[60_000:]]
    return [spread(part, n_rows) for part in parts]


def binarised_mnist(n_rows=None):
    """Training and test images of zeros and ones, (n, 28, 28)."""
    folder = FOLDER / "binarized_mnist"
    if not folder.is_dir():
        raise Missing("no folder binarized_mnist below SKVAE_DATA")
    from scipy.io import loadmat

    files = (folder / f"binarized_mnist_{name}.mat" for name in ("train", "test"))
    return [spread(loadmat(file)["X"].astype(np.uint8).reshape(-1, 28, 28), n_rows) for file in files]


def faces(n_rows, seed):
    """Training images, and unseen ones of the same persons, bytes (n, 64, 64)."""
    from sklearn.datasets import fetch_olivetti_faces
    from sklearn.model_selection import train_test_split

    try:
        data = fetch_olivetti_faces(n_retries=1)
    except OSError as error:
        raise Missing(f"Olivetti faces cannot be fetched: {error}") from error
    X = (255 * data.images).round().astype(np.uint8)
    parts = train_test_split(X, test_size=0.2, stratify=data.target, random_state=seed)
    return [spread(part, n_rows) for part in parts]


def smooth_images(n, shape):
    """Random colours that change slowly, bytes (n, *shape)."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(0).normal(size=(n, *shape)), (0, 8, 8, 0), mode="wrap")
    return (128 + 50 * noise / noise.std()).clip(0, 255).astype(np.uint8)


# --- a peer ----------------------------------------------------------------------------------------------------------------


def plain_autoencoder(X, latent_dim, seed, seconds, n_epochs):
    """A convolutional variational autoencoder of images (n, 28, 28), as tutorials write it; returns the encoder's means.

    It is trained for n_epochs, else for so many seconds of the processor.
    """
    import torch
    import torch.nn.functional as F
    from torch import nn

    torch.manual_seed(seed)
    encoder = nn.Sequential(
        nn.Conv2d(1, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 7 * 7, 2 * latent_dim),
    )
    decoder = nn.Sequential(
        nn.Linear(latent_dim, 64 * 7 * 7),
        nn.ReLU(),
        nn.Unflatten(1, (64, 7, 7)),
        nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1),
    )
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 1e-3)
    images = torch.tensor(X)[:, None]
    start, epoch = time.process_time(), 0
    while epoch < n_epochs if n_epochs else time.process_time() < start + seconds:
        for rows in torch.randperm(len(images)).split(128):
            x = images[rows].float() / 255
            mean, log_variance = encoder(x).chunk(2, 1)
            z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
            loss = F.binary_cross_entropy_with_logits(decoder(z), x, reduction="sum") / len(x)
            loss = loss + 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if not n_epochs and time.process_time() > start + seconds:
                break
        epoch += 1

    @torch.inference_mode()
    def transform(X):
        batches = torch.tensor(X)[:, None].split(1000)
        return torch.cat([encoder(x.float() / 255)[:, :latent_dim] for x in batches]).numpy()

    return transform, epoch


# --- parts: of a seed, a number of rows and more, figures by name ----------------------------------------------------------


def fitted(X, seed, latent_dim=2, **options):
    """A fitted model, and the processor's seconds."""
    from skvae import VAETransformer

    model = VAETransformer(latent_dim, random_state=seed, **options)
    start = time.process_time()
    model.fit(X)
    return model, time.process_time() - start


def flat(X):
    return X.reshape(len(X), -1).astype(np.float32)


def density(seed, n_rows):
    train, test = binarised_mnist(n_rows)
    test = spread(test, N_TEST)
    model, seconds = fitted(train, seed, 32)
    return {
        "log_density of the generator, nats": model.log_density(test).mean(),
        "score of the autoencoder, nats": model.score(test),
        "explained information, nats": model.explained_information_.sum(),
        "seconds of the fit": seconds,
    }


def neighbours(seed, n_rows, latent_dim, n_epochs):
    from sklearn.decomposition import PCA
    from sklearn.neighbors import KNeighborsClassifier

    X, y, X_test, y_test = mnist(n_rows)

    def accuracy(transform, X, X_test):
        return KNeighborsClassifier(15).fit(transform(X), y).score(transform(X_test), y_test)

    model, seconds = fitted(X, seed, latent_dim, generator="latent")
    plain, n_passes = plain_autoencoder(X, latent_dim, seed, seconds, n_epochs)
    return {
        "skvae": accuracy(model.transform, X, X_test),
        "PCA": accuracy(PCA(latent_dim, random_state=seed).fit(flat(X)).transform, flat(X), flat(X_test)),
        "UMAP": umap_accuracy(accuracy, latent_dim, seed, flat(X), flat(X_test)),
        "plain torch": accuracy(plain, X, X_test),
        "plain torch, epochs begun": n_passes,
        "skvae, epochs": model.n_iter_,
        "skvae, seconds of the fit": seconds,
    }


def umap_accuracy(accuracy, latent_dim, seed, X, X_test):
    """Of training images as they were laid out, and test images among them."""
    try:
        from umap import UMAP
    except ImportError:
        return 'not installed (pip install "umap-learn")'
    model = UMAP(n_components=latent_dim, random_state=seed).fit(X)
    return accuracy(lambda images: model.embedding_ if images is X else model.transform(images), X, X_test)


def draws(seed, n_rows):
    from sklearn.neural_network import MLPClassifier

    X, y, X_test, _ = mnist(n_rows)
    model, seconds = fitted(X, seed)
    start = time.process_time()
    drawn = model.sample(min(N_DRAWS, len(X_test)), random_state=seed)
    drawing = time.process_time() - start
    judge = MLPClassifier(256, early_stopping=True, random_state=0).fit(flat(X) / 255, y)
    whole = class_shares(judge.predict_proba(flat(X) / 255))
    figures = {}
    for name, images in (("draws", drawn), ("test images", spread(X_test, N_DRAWS))):
        proba = judge.predict_proba(flat(images) / 255)
        figures |= {
            f"Laplacian, {name}": laplacian(images) / laplacian(X_test),
            f"certain, {name}, %": 100 * (proba.max(1) > 0.9).mean(),
            f"shares, {name}, points": np.abs(class_shares(proba) - whole).max(),
        }
    return figures | {"seconds of the fit": seconds, "seconds of the draws": drawing}


def laplacian(images):
    """Variance of what the Laplacian leaves of images (n, height, width)."""
    x = images.astype(float)
    around = x[:, :-2, 1:-1] + x[:, 2:, 1:-1] + x[:, 1:-1, :-2] + x[:, 1:-1, 2:]
    return (around - 4 * x[:, 1:-1, 1:-1]).var()


def class_shares(proba):
    """% of rows that are likeliest of each class."""
    return 100 * np.bincount(proba.argmax(1), minlength=proba.shape[1]) / len(proba)


def reconstruction(seed, n_rows, data, latent_dim):
    from sklearn.decomposition import PCA

    X, X_test = faces(n_rows, seed) if data == "faces" else mnist(n_rows)[::2]
    if latent_dim > min(len(X), len(X_test)):
        raise Missing("fewer images than latents")
    model, _ = fitted(X, seed, latent_dim, generator="latent")
    pca = PCA(latent_dim, random_state=seed).fit(flat(X))
    back = model.inverse_transform(model.transform(X_test))
    errors = [rmse(back, X_test), rmse(pca.inverse_transform(pca.transform(flat(X_test))), X_test)]
    return {"skvae over PCA": errors[0] / errors[1], "skvae, grey levels": errors[0], "PCA, grey levels": errors[1]}


def rmse(images, truth):
    return np.sqrt(np.square(flat(images) - flat(truth)).mean())


def speed(seed, n_rows, data):
    if data == "MNIST":
        X, options = mnist(n_rows)[0], {}
    else:
        X, options = smooth_images(min(n_rows or 2000, 2000), (64, 64, 3)), {"max_iter": 1}
    model, seconds = fitted(X, seed, **options)
    peak, n, start = peak_memory(), min(N_TIMED, n_rows or N_TIMED), time.process_time()
    model.sample(n, random_state=seed)
    return {
        f"fit of {len(X)} images, seconds": seconds,
        "peak after it, MB": peak,
        f"{n} draws, seconds": time.process_time() - start,
        "peak after them, MB": peak_memory(),
    }


def peak_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# what each part is run with, beside a seed and a number of rows
PARTS = {
    "density": [{}],
    "neighbours": [{"latent_dim": latent_dim} for latent_dim in (2, 10)],
    "draws": [{}],
    "reconstruction": [{"data": data, "latent_dim": k} for data in ("MNIST", "faces") for k in (2, 16, 64)],
    "speed": [{"data": "MNIST"}, {"data": "64 x 64 x 3"}],
}


# --- the table -------------------------------------------------------------------------------------------------------------


def alone(name, **options):
    """A part's figures by name, measured in a process of its own; or why there are none."""
    command = [sys.executable, __file__, "--alone", json.dumps([name, options])]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def run(name, options):
    """What `alone` prints."""
    warnings.simplefilter("ignore")
    try:
        figures = globals()[name](**options)
    except Missing as error:
        return str(error)
    return {what: value if isinstance(value, str) else float(value) for what, value in figures.items()}


def printed(label, runs):
    """Lines of medians, and half the range; or why there are none."""
    if isinstance(runs[0], str):
        print(f"{label:76s} skipped: {runs[0]}", flush=True)
        return
    for what in runs[0]:
        values = [figures[what] for figures in runs]
        if isinstance(values[0], str):
            print(f"{label + ': ' + what:76s} {values[0]}", flush=True)
        else:
            print(f"{label + ': ' + what:76s}{np.median(values):12.3f} ±{np.ptp(values) / 2:8.3f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, help="at most so many training and test images, evenly spaced")
    parser.add_argument("--epochs", type=int, help="of the autoencoder in plain torch; else the seconds of skvae's fit")
    parser.add_argument("--json", help="write the figures here too")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        print(json.dumps(run(*json.loads(arguments.alone))))
        return
    figures = {}
    for name in arguments.parts:
        for setting in PARTS[name]:
            label = ", ".join([name, *(f"{key} {value}" for key, value in setting.items())])
            options = setting | {"n_rows": arguments.rows}
            if name == "neighbours":
                options["n_epochs"] = arguments.epochs
            figures[label] = [alone(name, seed=seed, **options) for seed in range(arguments.seeds)]
            printed(label, figures[label])
            if arguments.json:  # after every setting: a run takes hours, and may be cut off
                Path(arguments.json).write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
