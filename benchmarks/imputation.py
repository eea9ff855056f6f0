"""How close are filled cells to those that were taken away, beside scikit-learn's imputers?

    OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/imputation.py [--tables ames adult] [--models skvae ...] [--seeds 3]
        [--json imputation.json]

20 % of the cells that are there are taken away, completely at random. RMSE: of numbers in standard deviations of their
column, over all cells taken away. accuracy: share of categories that are filled in right. Medians over seeds, with half the
range. Ames is De Cock's table of 2,930 houses, Adult 8,000 of its rows, as a nearest-neighbour imputer compares all pairs.
The peers see standardised numbers, and one-hot categories less the most frequent (with all of them, regressions of each on
the others stay where they start; ordinal codes are worse). The greatest of a category's columns is what was filled in:
SimpleImputer so fills in means and the most frequent. Data are read from the folder named by SKVAE_DATA, else fetched from
OpenML.
"""

import argparse
import json
import os
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

from skvae import VAETransformer

COLUMNS = "RMSE", "accuracy", "seconds"
FOLDER = Path(os.environ.get("SKVAE_DATA", Path(__file__).parents[2] / "shared" / "data"))
SHARE = 0.2


def openml(name, version):
    from sklearn.datasets import fetch_openml

    return fetch_openml(name, version=version, parser="auto").frame


def ames():
    if not FOLDER.is_dir():
        return openml("house_prices", 1).drop(columns="Id")
    frame = pd.read_csv(FOLDER / "ames" / "AmesHousing.csv", keep_default_na=False, na_values=["NA", ""])
    return frame.drop(columns=["Id", "PID"])


def adult():
    frame = pd.read_csv(FOLDER / "adult" / "train.csv.gz") if FOLDER.is_dir() else openml("adult", 2)
    return frame.sample(8000, random_state=0, ignore_index=True)


def is_number(column):
    return pd.api.types.is_numeric_dtype(column)


def with_categories(frame):
    return frame.astype({c: float if is_number(frame[c]) else "category" for c in frame})


TABLES = {"ames": ames, "adult": adult}


def by_skvae(holed, seed):
    return VAETransformer(random_state=seed).fit(holed).impute(holed)


def coded(column):
    """A standardised number, or zeros and ones for all categories but the most frequent; missing where the cell is."""
    if is_number(column):
        return ((column - column.mean()) / column.std()).to_frame()
    return pd.get_dummies(column, dtype=float).drop(columns=column.mode()[0]).where(column.notna(), np.nan)


def decoded(part, column, block):
    """A column of what was filled in, of its part of the matrix."""
    if is_number(column):
        return part[:, 0] * column.std() + column.mean()
    categories = np.array([column.mode()[0], *block.columns], dtype=object)
    return categories[np.column_stack([1 - part.sum(1), part]).argmax(1)]


def by_peer(imputer):
    def filled(holed, seed):
        blocks = [coded(column) for _, column in holed.items()]
        matrix = imputer(seed).fit_transform(np.hstack(blocks))
        parts = np.split(matrix, np.cumsum([block.shape[1] for block in blocks])[:-1], axis=1)
        decode = zip(parts, holed, blocks, strict=True)
        return pd.DataFrame({name: decoded(part, holed[name], block) for part, name, block in decode})

    return filled


MODELS = {
    "skvae": by_skvae,
    # with all of the hundreds of columns as predictors, Ames takes minutes; on Adult numbers gain and categories lose
    "IterativeImputer": by_peer(lambda seed: IterativeImputer(n_nearest_features=30, random_state=seed)),
    "KNNImputer": by_peer(lambda seed: KNNImputer()),
    "SimpleImputer": by_peer(lambda seed: SimpleImputer()),
}


def measured(name, model, seed):
    """Figures by column."""
    frame = with_categories(TABLES[name]())
    taken = frame.notna() & (np.random.default_rng(seed).random(frame.shape) < SHARE)
    holed = frame.mask(taken)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ten rounds of IterativeImputer, its default, do not converge
        filled = MODELS[model](holed, seed)
    seconds = time.perf_counter() - start
    errors, hits = [], []
    for column, known in frame.items():
        there, guess = known[taken[column]], filled[column][taken[column]]
        if is_number(known):
            errors.append((guess - there) / known.std())
        else:
            hits.append(guess.astype(object) == there.astype(object))
    rmse = np.sqrt(np.mean(np.square(np.concatenate(errors))))
    return dict(zip(COLUMNS, map(float, (rmse, np.mean(np.concatenate(hits)), seconds)), strict=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=TABLES)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", help="write the figures here too")
    arguments = parser.parse_args()
    figures = {}
    print(f"{'':30s}" + "".join(f"{column:>20s}" for column in COLUMNS))
    for name in arguments.tables:
        for model in arguments.models:
            runs = figures[f"{name} {model}"] = [measured(name, model, seed) for seed in range(arguments.seeds)]
            values = np.array([[run[c] for c in COLUMNS] for run in runs])
            cells = zip(np.median(values, 0), np.ptp(values, 0) / 2, strict=True)
            print(f"{name + ' ' + model:30s}" + "".join(f"{m:12.3f} ±{s:6.3f}" for m, s in cells), flush=True)
            if arguments.json:
                Path(arguments.json).write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
