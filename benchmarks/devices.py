"""Is a model that was fitted on a GPU the same on a CPU, and how much faster is the fit?

    python benchmarks/devices.py [--device cuda] [--cases table images counts rows]

For each kind of rows: seconds of a fit on the CPU (all threads that torch takes) and on the device; held-out scores of both;
and the greatest difference between what the fitted model returns on the device and, saved and loaded, on the CPU.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits

import skvae
from skvae import VAETransformer


def table(rng, n=20_000):
    group = rng.integers(0, 4, n)
    frame = pd.DataFrame(
        {
            "kind": np.array(["a", "b", "c", "d"], dtype=object)[group],
            "weight": np.exp(0.5 * group + rng.normal(0, 0.4, n)).round(2),
            "parts": rng.poisson(2.0 + 3 * group),
            "sold": rng.random(n) < 0.2 * (group + 0.5),
            "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 365, n), unit="D"),
        }
    )
    return frame.assign(total=frame["parts"] + group).mask(rng.random((n, 6)) < 0.05)


def images(rng):
    return load_digits().images


def counts(rng, n=4000):
    topics = rng.dirichlet(np.full(300, 0.1), 8)
    return np.stack([rng.multinomial(60, one) for one in rng.dirichlet(np.full(8, 0.3), n) @ topics])


def rows(rng):
    digits = load_digits()
    return pd.DataFrame({"label": digits.target.astype(str), "image": list(digits.images)})


CASES = {
    "table": (table, {"latent_dim": 4}),
    "images": (images, {"latent_dim": 10, "max_iter": 20}),
    "counts": (counts, {"latent_dim": 8, "likelihood": "multinomial", "max_iter": 20}),
    "rows": (rows, {"latent_dim": 10, "max_iter": 10}),
}


def wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


def fitted(X, device, parameters):
    start = time.perf_counter()
    vae = VAETransformer(random_state=0, device=device, **parameters).fit(X)
    wait(device)
    return vae, time.perf_counter() - start


def split(name):
    """Rows of a case to fit, and to score."""
    X = CASES[name][0](np.random.default_rng(0))
    return X[: len(X) * 4 // 5], X[len(X) * 4 // 5 :]


def figures(vae, X):
    """What a fitted model returns of rows, by name."""
    latents = np.asarray(vae.transform(X), dtype=float)
    return {"latents": latents, "scores": vae.score_samples(X), "density": vae.log_density(X[:50])}


def in_a_process_without_gpu(vae, name):
    """The figures of a model that is saved, and loaded by a process that sees no GPU."""
    with tempfile.TemporaryDirectory() as folder:
        skvae.save(vae, Path(folder) / "model.skvae")
        command = [sys.executable, __file__, "--figures-of", folder, "--cases", name]
        subprocess.run(command, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}, check=True)
        return dict(np.load(Path(folder) / "figures.npz"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--figures-of", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.figures_of:
        vae = skvae.load(arguments.figures_of / "model.skvae")
        np.savez(arguments.figures_of / "figures.npz", **figures(vae, split(arguments.cases[0])[1]))
        return
    for name in arguments.cases:
        (train, test), parameters = split(name), CASES[name][1]
        on_cpu, slow = fitted(train, "cpu", parameters)
        vae, fast = fitted(train, arguments.device, parameters)
        print(f"{name}: fit {slow:.1f} s on the CPU, {fast:.1f} s on {vae.device_}", end="; ")
        print(f"held-out score {on_cpu.score(test):.2f} and {vae.score(test):.2f} nats", end="; ")
        elsewhere = in_a_process_without_gpu(vae, name)
        differences = {what: np.abs(one - elsewhere[what]).max() for what, one in figures(vae, test).items()}
        print("differences", {what: f"{value:.1e}" for what, value in differences.items()}, flush=True)
        vae.sample(100)
        vae.inverse_transform(vae.transform(test))


if __name__ == "__main__":
    main()
