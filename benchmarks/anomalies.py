"""How well are anomalous rows, and rows with a wrong cell, told from the others without labels, beside the known detectors?

    OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/anomalies.py [--sets wine adult ...] [--models skvae ...] [--seeds 3]
        [--json anomalies.json]

Average precision of the anomalous rows among those that the detector was fitted to, as all rows are; medians over seeds, of
which rows, and errors, are drawn, with half the range. At most 3,000 rows. "errors": in every tenth row one cell is wrong: a
number ten times as large, or a cell taken from another row. Elsewhere a class, made rare, is the anomaly. The peers see
standardised numbers, medians in the place of missing cells, and one-hot categories. PyOD's VAE takes part where it is
installed. Data are scikit-learn's, or are read from the folder named by SKVAE_DATA.
"""

import argparse
import gzip
import json
import os
import time
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.impute import SimpleImputer
from sklearn.metrics import average_precision_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import StandardScaler

from skvae import VAEOutlierDetector, VAETransformer

FOLDER = Path(os.environ.get("SKVAE_DATA", Path(__file__).parents[2] / "shared" / "data"))
N_ROWS, SHARE = 3000, 0.1

# --- sets: a frame, and which of its rows are anomalies --------------------------------------------------------------


def rare(frame, anomalous, rng, share=SHARE, n_rows=N_ROWS):
    """Rows of which a share is anomalous, drawn from a frame."""
    normal, odd = np.flatnonzero(~anomalous), np.flatnonzero(anomalous)
    n_normal = min(len(normal), int(n_rows * (1 - share)))
    n_odd = min(len(odd), max(5, int(n_normal * share / (1 - share))))
    rows = rng.permutation(np.concatenate([rng.choice(normal, n_normal, False), rng.choice(odd, n_odd, False)]))
    return frame.iloc[rows].reset_index(drop=True), anomalous[rows]


def with_errors(frame, rng, n_rows=1000):
    """Every tenth row with one wrong cell."""
    frame = frame.sample(min(len(frame), n_rows), random_state=int(rng.integers(2**31)), ignore_index=True)
    wrong = rng.random(len(frame)) < SHARE
    before = frame.copy()
    for row in np.flatnonzero(wrong):
        while True:  # until a cell changes
            name = frame.columns[rng.integers(frame.shape[1])]
            is_number = pd.api.types.is_numeric_dtype(frame[name]) and frame[name].nunique() > 2
            other = before.at[row, name] * 10 if is_number else before.at[int(rng.integers(len(frame))), name]
            if pd.notna(other) and other != before.at[row, name]:
                break
        frame.at[row, name] = other
    return frame, wrong


def bunch(load):
    loaded = load(as_frame=True)
    return loaded.data, loaded.target.to_numpy()


def cancer(rng):
    frame, target = bunch(datasets.load_breast_cancer)
    return rare(frame, target == 0, rng)


def wine(rng):
    frame, target = bunch(datasets.load_wine)
    return rare(frame, target == 0, rng)


def digits(rng):
    frame, target = bunch(datasets.load_digits)
    return rare(frame, target == 0, rng, n_rows=1000)


def mnist(rng):
    names = ("t10k-images-idx3-ubyte.gz", 16), ("t10k-labels-idx1-ubyte.gz", 8)
    read = (gzip.decompress((FOLDER / "mnist" / name).read_bytes())[header:] for name, header in names)
    pixels, labels = (np.frombuffer(numbers, np.uint8) for numbers in read)
    small = pixels.reshape(-1, 14, 2, 14, 2).mean((2, 4)).reshape(-1, 196)
    frame = pd.DataFrame(PCA(20, random_state=0).fit_transform(small))
    kept = np.isin(labels, (4, 0))  # zeros among fours
    return rare(frame.add_prefix("pc")[kept].reset_index(drop=True), labels[kept] == 0, rng, n_rows=1100)


def kddcup(rng):
    names = (FOLDER / "kddcup99" / "columns.txt").read_text().split()
    frame = pd.read_csv(FOLDER / "kddcup99" / "kddcup.data_10_percent.gz", header=None)
    label = frame.pop(41)
    frame.columns = names[:41]
    kept = ~label.isin(["smurf.", "neptune."]).to_numpy()  # the attacks that are most of the rows
    return rare(frame[kept].reset_index(drop=True), (label[kept] != "normal.").to_numpy(), rng, share=0.05, n_rows=1000)


def magic(rng):
    frame = pd.read_csv(FOLDER / "magic" / "train.csv.gz")
    target = frame.pop(frame.columns[-1]).astype(str)
    return rare(frame, target.isin(["h", "1"]).to_numpy(), rng, n_rows=1000)


def iris_errors(rng):
    return with_errors(datasets.load_iris(as_frame=True).frame.astype({"target": "category"}), rng)


def diabetes_errors(rng):
    return with_errors(datasets.load_diabetes(as_frame=True, scaled=False).frame, rng)


def adult_errors(rng):
    return with_errors(pd.read_csv(FOLDER / "adult" / "train.csv.gz"), rng)


def titanic_errors(rng):
    frame = pd.read_csv(FOLDER / "titanic" / "titanic_seaborn.csv")
    return with_errors(frame[["survived", "pclass", "sex", "age", "sibsp", "parch", "fare", "embarked"]], rng)


def ames_errors(rng):
    frame = pd.read_csv(FOLDER / "ames" / "AmesHousing.csv", keep_default_na=False, na_values=["NA", ""])
    some = [
        "Lot Area",
        "Overall Qual",
        "Year Built",
        "Neighborhood",
        "House Style",
        "Gr Liv Area",
        "Full Bath",
        "Garage Cars",
    ]
    known = {name.replace(" ", "").replace("/", ""): name for name in frame}
    columns = [known[name.replace(" ", "")] for name in [*some, "Total Bsmt SF", "Kitchen Qual", "SalePrice"]]
    return with_errors(frame[columns], rng)


SETS = {
    "cancer": cancer,
    "wine": wine,
    "digits": digits,
    "mnist": mnist,
    "kddcup": kddcup,
    "magic": magic,
    "iris, errors": iris_errors,
    "diabetes, errors": diabetes_errors,
    "adult, errors": adult_errors,
    "titanic, errors": titanic_errors,
    "ames, errors": ames_errors,
}

# --- detectors: greater is more anomalous ----------------------------------------------------------------------------


def as_matrix(frame):
    numbers = frame.select_dtypes(["number", "bool"]).astype(float)
    others = frame.drop(columns=numbers.columns)
    blocks = [SimpleImputer(strategy="median").fit_transform(numbers)] if numbers.shape[1] else []
    blocks = [StandardScaler().fit_transform(block) for block in blocks]
    return np.hstack([*blocks, *([pd.get_dummies(others.astype(object)).to_numpy(float)] if others.shape[1] else [])])


def by_skvae(**parameters):
    def scores(frame, seed):
        return -VAEOutlierDetector(random_state=seed, **parameters).fit(frame).score_samples(frame)

    return scores


def by_forest(frame, seed):
    matrix = as_matrix(frame)
    return -IsolationForest(random_state=seed).fit(matrix).score_samples(matrix)


def by_neighbours(frame, seed):
    return -LocalOutlierFactor(n_neighbors=20).fit(as_matrix(frame)).negative_outlier_factor_


def by_pyod(frame, seed):
    from pyod.models.vae import VAE

    return VAE(random_state=seed, verbose=0).fit(as_matrix(frame)).decision_scores_


MODELS = {
    "skvae": by_skvae(),
    "skvae, one fit": by_skvae(support_fraction=1.0),
    "skvae, layers": by_skvae(estimator=VAETransformer(8, generator="latent", likelihood="student_t")),
    "IsolationForest": by_forest,
    "LocalOutlierFactor": by_neighbours,
}
if find_spec("pyod"):
    MODELS["PyOD's VAE"] = by_pyod


def measured(name, model, seed):
    """Average precision, and seconds."""
    frame, anomalous = SETS[name](np.random.default_rng(seed))
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # repeated rows are more than the neighbours of LocalOutlierFactor
        scores = MODELS[model](frame, seed)
    return average_precision_score(anomalous, scores), time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if "PyOD's VAE" not in MODELS:
        print("PyOD is not installed: its VAE is left out.")
    print(f"{'':18s}" + "".join(f"{model:>22s}" for model in arguments.models))
    results = {}
    for name in arguments.sets:
        line = f"{name:18s}"
        for model in arguments.models:
            figures = [measured(name, model, seed) for seed in range(arguments.seeds)]
            precision = [one for one, _ in figures]
            results[f"{name} | {model}"] = figures
            spread = 0.5 * (max(precision) - min(precision))
            line += f"{np.median(precision):9.3f} ±{spread:.3f} {np.median([s for _, s in figures]):4.1f} s"
        print(line, flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
