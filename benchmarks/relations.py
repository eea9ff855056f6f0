"""Relations: which are found, in what time, and how often draws keep them, of skvae and of itself without them.

    python benchmarks/relations.py [--tables bike,flights,ames,titanic,adult,kdd] [--rows 20000] [--seeds 1] [--json FILE]

Data: the folder that SKVAE_DATA names. One line a table and model: relations found, seconds that finding takes, share of
exact relations that all draws keep, the mean difference of shares, held-out density, and C2ST.
"""

import argparse
import json
import os
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from skvae import VAETransformer, quality_report
from skvae.schema import Schema

MISSING = {"keep_default_na": False, "na_values": ["NA", ""]}
MOST_ROWS = 40_000  # that a model is fitted to and judged by

TABLES = {
    "bike": lambda data: pd.read_csv(data / "datetime/bike_sharing_hour.csv", parse_dates=["dteday"]).drop(
        columns="instant"
    ),
    "flights": lambda data: pd.read_csv(data / "datetime/nycflights13_flights.csv.gz", parse_dates=["time_hour"]),
    "ames": lambda data: pd.read_csv(data / "ames/train.csv", **MISSING).drop(columns="Id"),
    "titanic": lambda data: pd.read_csv(data / "titanic/titanic_seaborn.csv"),
    "adult": lambda data: pd.read_csv(data / "adult/train.csv.gz"),
    "kdd": lambda data: pd.read_csv(next(path for path in data.glob("kddcup99/*.gz")), header=None),
}


def seconds_to_find(table):
    """Seconds of the schema with relations beyond those without, and how many are found."""
    parameters = {"likelihood": "auto", "categorical_features": None, "image_shape": None}
    spent = []
    for relations in (None, "auto"):
        begun = time.perf_counter()
        schema = Schema().fit(table, np.ones(len(table)), parameters | {"relations": relations})
        spent.append(time.perf_counter() - begun)
    return spent[1] - spent[0], len(schema.relations)


def judged(table, relations, n_rows, seed):
    """Figures of one model of a table, by name."""
    some = table.sample(min(MOST_ROWS, len(table)), random_state=0).reset_index(drop=True)
    real, holdout = some[len(some) // 5 :], some[: len(some) // 5]
    begun = time.perf_counter()
    vae = VAETransformer(latent_dim=16, relations=relations, random_state=seed).fit(real)
    fitted = time.perf_counter() - begun
    drawn = vae.sample(n_rows, random_state=seed)
    report = quality_report(real, drawn, holdout, random_state=seed)
    exact = report.relations[report.relations["real"] == 1.0]
    return {
        "fit": fitted,
        "exact kept": (exact["synthetic"] == 1.0).mean(),
        "difference": (report.relations["synthetic"] - report.relations["real"]).abs().mean(),
        "density": vae.log_density(holdout).mean(),
        "c2st": report.summary.loc["c2st", "value"],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    data, results = Path(os.environ["SKVAE_DATA"]), []
    for name in arguments.tables.split(","):
        table = TABLES[name](data)
        spent, n_found = seconds_to_find(table)
        for relations in ("auto", None):
            for seed in range(arguments.seeds):
                figures = judged(table, relations, arguments.rows, seed)
                results.append(
                    {"table": name, "relations": str(relations), "seed": seed, "found": n_found, "seconds": spent}
                )
                results[-1] |= figures
                print(pd.DataFrame(results[-1:]).round(3).to_string(index=False, header=len(results) == 1), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, default=float))


if __name__ == "__main__":
    main()
