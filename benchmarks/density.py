"""Is the score an honest density, and is the model never worse than a linear one?

    OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/density.py [--sets iris wine ...] [--seeds 3] [--json density.json]

Five small tables that scikit-learn ships, standardised, five folds. By `latent_dim`: held-out score of the autoencoder
beside PCA's; held-out density of the generator beside that of the Gaussian mixture chosen by BIC; held-out squared error of
the reconstruction over PCA's; held-out accuracy of a nearest-neighbour classifier on the latents beside the same on PCA's
components; seconds a fit. Medians over seeds, with half the range.
Then data from a known linear-Gaussian model: score and density less the true log-density.
"""

import argparse
import json
import time
import warnings

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import KFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from skvae import VAETransformer

SETS = {
    "iris": load_iris,
    "wine": load_wine,
    "breast_cancer": load_breast_cancer,
    "diabetes": load_diabetes,
    "digits": load_digits,
}
LATENT_DIMS = 2, 4, 8
COLUMNS = "score", "PCA score", "density", "GMM score", "error / PCA", "accuracy", "PCA accuracy", "seconds"


def gaussian_mixture(X):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # many components on few rows do not converge; BIC does not choose them
        return min((GaussianMixture(k, random_state=0).fit(X) for k in range(1, 9)), key=lambda mixture: mixture.bic(X))


def squared_error(model, X):
    return ((model.inverse_transform(model.transform(X)) - X) ** 2).sum()


def accuracy(model, train, y_train, test, y_test):
    return KNeighborsClassifier().fit(model.transform(train), y_train).score(model.transform(test), y_test)


def measure(name, latent_dim, seed, classify):
    """A row of figures, means over five folds."""
    X, y = SETS[name](return_X_y=True)
    rows = []
    for train, test in KFold(5, shuffle=True, random_state=seed).split(X):
        scaler = StandardScaler().fit(X[train])
        A, B = scaler.transform(X[train]), scaler.transform(X[test])
        pca, start = PCA(min(latent_dim, X.shape[1])).fit(A), time.perf_counter()
        vae = VAETransformer(latent_dim, random_state=seed).fit(A)
        seconds = time.perf_counter() - start
        accuracies = [accuracy(m, A, y[train], B, y[test]) if classify else np.nan for m in (vae, pca)]
        error = squared_error(vae, B) / max(squared_error(pca, B), 1e-9)
        scores = vae.score(B), pca.score(B), vae.log_density(B).mean(), gaussian_mixture(A).score(B)
        rows.append([*scores, error, *accuracies, seconds])
    return np.mean(rows, 0)


def known_density(seed):
    """Score and density less the true log-density on rows of a linear-Gaussian model, and the standard error of each."""
    rng = np.random.default_rng(seed)
    loadings, scale = rng.normal(size=(3, 8)), np.exp(rng.normal(size=8) * 2)
    covariance = (loadings.T @ loadings + 0.3 * np.eye(8)) * np.outer(scale, scale)
    X = rng.multivariate_normal(np.zeros(8), covariance, 12_000)
    truth = GaussianMixture(means_init=np.zeros((1, 8)))
    truth.means_, truth.covariances_, truth.weights_ = np.zeros((1, 8)), covariance[None], np.ones(1)
    truth.precisions_cholesky_ = np.linalg.cholesky(np.linalg.inv(covariance))[None]
    test = X[10_000:]
    vae = VAETransformer(3, random_state=seed).fit(X[:10_000])
    gaps = [log_prob(test) - truth.score_samples(test) for log_prob in (vae.score_samples, vae.log_density)]
    return [(gap.mean(), gap.std() / np.sqrt(len(test))) for gap in gaps]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--latent-dims", nargs="+", type=int, default=LATENT_DIMS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", help="write the figures here too")
    arguments = parser.parse_args()
    figures = {}
    print(f"{'':20s}" + "".join(f"{column:>16s}" for column in COLUMNS))
    for name in arguments.sets:
        for latent_dim in arguments.latent_dims:
            runs = np.array([measure(name, latent_dim, seed, name != "diabetes") for seed in range(arguments.seeds)])
            figures[f"{name} {latent_dim}"] = {c: runs[:, j].tolist() for j, c in enumerate(COLUMNS)}
            print(
                f"{name + ' ' + str(latent_dim):20s}" + "".join(f"{value:16.3f}" for value in np.median(runs, 0)), flush=True
            )
            spread = np.ptp(runs, 0) / 2
            print(f"{'':20s}" + "".join(f"{'±' + format(value, '.3f'):>16s}" for value in spread), flush=True)
    for seed in range(arguments.seeds):
        for name, (gap, error) in zip(("score", "density"), known_density(seed), strict=True):
            figures[f"known {name}, seed {seed}"] = {"gap": gap, "standard error": error}
            print(f"known linear-Gaussian density, seed {seed}: {name} less truth {gap:+.4f} ± {error:.4f} nats")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(figures, file, indent=1)


if __name__ == "__main__":
    main()
