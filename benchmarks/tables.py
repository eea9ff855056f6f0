"""How good are synthetic tables, beside peers, and what do they cost?

    OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/tables.py [--tables adult ...] [--models skvae ...] [--seeds 3]
        [--rows N] [--json tables.json]
    OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/tables.py --scale [--seeds 3]

Defaults only: one constructor for every table. Medians over seeds, with half the range. Data are read from the folder named
by SKVAE_DATA, else fetched from OpenML, and split 9:1 unless the literature has a split. Peers that are not installed have
a row that says so (`pip install ".[bench]"`). "real" is one half of the training rows judged as if it were made from the
other, less its rows of categories that the other lacks, which sdmetrics cannot encode. `--scale` measures time and memory
alone: of KDD Cup 99 with 500,000 sampled rows, and of a table with and without a column of 10,000 categories.

shape, trend: 100 (1 - score) of the quality report of sdmetrics 0.24, later versions leave out weak pairs; trend is what
skvae's own report calls trend_error_sdmetrics, not its trend_error. c2st: 1 - mean(2 max(1/2, AUC) - 1) of XGBoost telling
synthetic from real in sdmetrics' detection metric, 1 where it cannot. utility: XGBoost trained on the synthetic rows,
tested on held-out real ones; AUC, or RMSE of the log target of a regression. copies, test copies: % of synthetic and of
held-out rows that equal a training row. nearer: % of rows, made by a model of one half of the training rows, whose nearest
real row (city-block distance, numbers over their range, categories one-hot) lies in that half; 50 where nothing was
remembered. MB: peak of the whole process that fits and samples.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

COLUMNS = "shape", "trend", "c2st", "utility", "copies", "test copies", "nearer", "fit s", "sample s", "MB"
FOLDER = Path(os.environ.get("SKVAE_DATA", Path(__file__).parents[2] / "shared" / "data"))
N_NEAREST = 5000  # synthetic rows whose neighbours are looked for: the share's standard error is 0.7 %


class Table(NamedTuple):
    """Training and held-out rows, categories of dtype category, and the column to predict."""

    train: pd.DataFrame
    test: pd.DataFrame
    target: str


# --- tables ----------------------------------------------------------------------------------------------------------------


def with_categories(frame, names):
    return frame.astype(dict.fromkeys(names, "category"))


def texts(frame):
    return frame.select_dtypes(exclude=["number", "bool", "datetime", "category"]).columns


def split(frame, target):
    """Nine of ten rows to train on, the others held out."""
    frame = with_categories(frame, texts(frame)).sample(frac=1, random_state=0, ignore_index=True)
    n = len(frame) * 9 // 10
    return Table(frame[:n], frame[n:].reset_index(drop=True), target)


def openml(name, version, drop=()):
    from sklearn.datasets import fetch_openml

    data = fetch_openml(name, version=version, parser="auto")
    return split(data.frame.drop(columns=list(drop)), data.target.name)


def published_split(name):
    """As the literature splits it."""
    info = json.loads((FOLDER / name / "info.json").read_text())
    cols = info["cols"]
    names = [cols[i] for i in info["cat"] + (info["tgt"] if info["task"] == "binclass" else [])]
    train, test = (pd.read_csv(FOLDER / name / f"{part}.csv.gz") for part in ("train", "test"))
    return Table(with_categories(train, names), with_categories(test, names), cols[info["tgt"][0]])


def adult():
    return published_split("adult") if FOLDER.is_dir() else openml("adult", 2)


def magic():
    return published_split("magic") if FOLDER.is_dir() else openml("MagicTelescope", 1)


def bike():
    """Hours of bike sharing: counts, of which two add up to the third."""
    if not FOLDER.is_dir():
        return openml("Bike_Sharing_Demand", 2)
    frame = pd.read_csv(FOLDER / "datetime" / "bike_sharing_hour.csv", parse_dates=["dteday"])
    return split(frame.drop(columns="instant"), "cnt")


def flights():
    """Ten thousand flights: dates, times that are sums of others, thousands of tail numbers, missing cells."""
    frame = pd.read_csv(FOLDER / "datetime" / "nycflights13_flights.csv.gz")
    frame["time_hour"] = pd.to_datetime(frame["time_hour"]).dt.tz_localize(None)
    return split(frame.sample(10_000, random_state=0), "air_time")


def ames():
    """Houses: 80 mixed columns, much missing."""
    if not FOLDER.is_dir():
        return openml("house_prices", 1, drop=["Id"])
    frame = pd.read_csv(FOLDER / "ames" / "AmesHousing.csv", keep_default_na=False, na_values=["NA", ""])
    return split(frame.drop(columns=["Id", "PID"]), "SalePrice")


def kddcup99():
    if not FOLDER.is_dir():
        from sklearn.datasets import fetch_kddcup99

        frame = fetch_kddcup99(percent10=True, as_frame=True).frame.infer_objects()
    else:
        names = (FOLDER / "kddcup99" / "columns.txt").read_text().split()
        frame = pd.read_csv(FOLDER / "kddcup99" / "kddcup.data_10_percent.gz", names=names)
    return Table(with_categories(frame, texts(frame)), frame[:0], frame.columns[-1])


def numbers(n=100_000):
    """Eight correlated numbers."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 3)) @ rng.normal(size=(3, 8)) + 0.3 * rng.normal(size=(n, 8))
    frame = pd.DataFrame(X).add_prefix("x")
    return Table(frame, frame[:0], "x0")


def numbers_and_10000_categories():
    """The same beside 10,000 categories, of 5 to 1,000 rows each."""
    frame = numbers().train
    codes = 10_000 * (np.random.default_rng(1).permutation(len(frame)) / len(frame)) ** 2
    frame["code"] = pd.Categorical([f"c{code:.0f}" for code in np.floor(codes)])
    return Table(frame, frame[:0], "x0")


LOCAL = (flights,) if FOLDER.is_dir() else ()  # OpenML does not have it
TABLES = {function.__name__: function for function in (adult, magic, bike, ames, *LOCAL)}
SCALE = {function.__name__: function for function in (kddcup99, numbers, numbers_and_10000_categories)}


# --- models: of training rows and a seed, what draws n rows ----------------------------------------------------------------


def skvae(train, seed):
    from skvae import VAETransformer

    return VAETransformer(latent_dim=16, random_state=seed).fit(train).sample


def independent(train, seed):
    """Each column shuffled."""
    rng = np.random.default_rng(seed)

    def sample(n):
        columns = {c: train[c].sample(n, replace=n > len(train), random_state=rng, ignore_index=True) for c in train}
        return pd.DataFrame(columns)

    return sample


def copula(train, seed, n_components=20):
    """A Gaussian mixture of normal scores; ties, of categories and missing cells too, are broken at random."""
    from scipy.stats import norm
    from sklearn.mixture import GaussianMixture

    rng, n_train = np.random.default_rng(seed), len(train)
    orders = {}
    for name, column in train.items():
        values = column.cat.codes if isinstance(column.dtype, pd.CategoricalDtype) else column
        orders[name] = np.lexsort((rng.random(n_train), values))
    ranks = np.column_stack([order.argsort() for order in orders.values()])
    mixture = GaussianMixture(n_components, reg_covar=1e-3, random_state=seed).fit(norm.ppf((ranks + 0.5) / n_train))

    def sample(n):
        places = mixture.sample(n)[0].argsort(0).argsort(0) * n_train // n
        parts = zip(orders.items(), places.T, strict=True)
        return pd.DataFrame({name: train[name].iloc[order[at]].array for (name, order), at in parts})

    return sample


def tvae(train, seed):
    from ctgan import TVAE

    model = TVAE()
    model.set_random_state(seed)
    train = plain(train)
    model.fit(train.fillna(train.mean(numeric_only=True)), list(texts(train)))  # it takes no missing numbers
    return model.sample


MODELS = {function.__name__: function for function in (skvae, tvae, copula, independent)} | {"real": None}


# --- the judge -------------------------------------------------------------------------------------------------------------


def plain(frame):
    """Categories as texts, dates as days."""
    columns = {}
    for name, column in frame.items():
        if isinstance(column.dtype, pd.CategoricalDtype):
            column = column.astype(object)
        elif column.dtype.kind == "M":
            column = (column - pd.Timestamp(0)) / pd.Timedelta(days=1)
        columns[name] = column
    return pd.DataFrame(columns)


def shape_and_trend(train, synthetic, metadata):
    from sdmetrics.reports.single_table import QualityReport

    report = QualityReport()
    report.generate(train, synthetic, metadata, verbose=False)
    return 100 * (1 - report.get_properties()["Score"])


def c2st(train, synthetic, metadata):
    from sdmetrics.single_table.detection.sklearn import ScikitLearnClassifierDetectionMetric
    from xgboost import XGBClassifier

    class Detection(ScikitLearnClassifierDetectionMetric):
        @staticmethod
        def _get_classifier():
            return XGBClassifier(eval_metric="logloss", random_state=0)

    np.random.seed(0)  # noqa: NPY002 - the metric draws its folds from the global stream
    return Detection.compute(real_data=train, synthetic_data=synthetic, metadata=metadata)


def utility(synthetic, test, target):
    """AUC, or RMSE of the log target."""
    from sklearn.compose import make_column_transformer
    from sklearn.metrics import roc_auc_score, root_mean_squared_error
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder
    from xgboost import XGBClassifier, XGBRegressor

    synthetic, test = (frame.dropna(subset=target) for frame in (synthetic, test))
    names = texts(synthetic).drop(target, errors="ignore")
    encoder = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), names), remainder="passthrough", sparse_threshold=0
    )
    options = {"n_estimators": 100, "min_child_weight": 10, "tree_method": "hist", "random_state": 0}
    X, X_test = synthetic.drop(columns=target), test.drop(columns=target)
    if target in texts(synthetic):
        positive = sorted(test[target].unique())[1]
        model = make_pipeline(encoder, XGBClassifier(max_depth=5, **options)).fit(X, synthetic[target] == positive)
        return roc_auc_score(test[target] == positive, model.predict_proba(X_test)[:, 1])
    y, y_test = (np.log(frame[target].clip(lower=1)) for frame in (synthetic, test))
    model = make_pipeline(encoder, XGBRegressor(max_depth=10, **options)).fit(X, y)
    return root_mean_squared_error(y_test, model.predict(X_test))


def share_of_copies(rows, train):
    keys, known = (pd.util.hash_pandas_object(frame.astype(str), index=False) for frame in (rows, train))
    return 100 * keys.isin(known).mean()


def coordinates(frame, reference):
    """Numbers over their range, codes of categories, (n, n_columns), and how far two cells of a column can be apart."""
    columns, most = [], []
    for name, column in frame.items():
        known = reference[name]
        is_text = known.dtype == object
        if is_text:
            values = pd.Categorical(column, categories=pd.unique(known.dropna())).codes * 2.0
        else:
            values = ((column - known.min()) / max(known.max() - known.min(), 1e-9)).fillna(-1)
        columns.append(values)
        most.append(2 if is_text else 1)
    return np.column_stack(columns).astype(np.float32), np.array(most, np.float32)


def nearest(rows, others, most):
    """Distance of each row to the nearest of the others; block by block, as all pairs do not fit in memory."""
    found = []
    for block in np.array_split(rows, len(rows) // 200 + 1):
        distances = np.zeros((len(block), len(others)), np.float32)
        for j, limit in enumerate(most):
            distances += np.minimum(np.abs(block[:, None, j] - others[None, :, j]), limit)
        found.append(distances.min(1))
    return np.concatenate(found)


def share_nearer(rows, half, other):
    """% of rows nearer to one half of the data than to the other, ties as one half."""
    reference = pd.concat([half, other])
    (A, most), (B, _), (C, _) = (coordinates(frame, reference) for frame in (rows[:N_NEAREST], half, other))
    to_half, to_other = nearest(A, B, most), nearest(A, C, most)
    return 100 * ((to_half < to_other) + 0.5 * (to_half == to_other)).mean()


def judge(train, test, synthetic, target):
    train, test, synthetic = (plain(frame) for frame in (train, test, synthetic))
    kinds = {c: {"sdtype": "categorical" if train[c].dtype == object else "numerical"} for c in train}
    shape, trend = shape_and_trend(train, synthetic, {"columns": kinds})
    return {
        "shape": shape,
        "trend": trend,
        "c2st": c2st(train, synthetic, {"columns": kinds}),
        "utility": utility(synthetic, test, target),
        "copies": share_of_copies(synthetic, train),
        "test copies": share_of_copies(test, train),
    }


# --- one table, one model, one seed ----------------------------------------------------------------------------------------


def halves(frame, seed):
    order = np.random.default_rng(seed).permutation(len(frame))
    return [frame.iloc[part].reset_index(drop=True) for part in np.array_split(order, 2)]


def fitted_and_sampled(model, train, seed, n_rows):
    """New rows, and what they cost; the peak is that of the process so far."""
    start = time.perf_counter()
    sample = MODELS[model](train, seed)
    fitted = time.perf_counter()
    rows = sample(n_rows)
    seconds = fitted - start, time.perf_counter() - fitted
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return rows, dict(zip(("fit s", "sample s", "MB"), (*seconds, peak), strict=True))


def measured(name, model, seed, n_rows):
    """Figures by column."""
    table = TABLES[name]()
    train = table.train[:n_rows]
    half, other = halves(train, seed)
    if model == "real":
        nearer = share_nearer(*(plain(frame) for frame in (table.test, half, other)))
        known = pd.DataFrame({c: other[c].isin(half[c]) for c in texts(plain(half))}, index=other.index).all(axis=1)
        return judge(half, table.test, other[known].reset_index(drop=True), table.target) | {"nearer": nearer}
    synthetic, costs = fitted_and_sampled(model, train, seed, len(train))
    of_half, _ = fitted_and_sampled(model, half, seed, min(len(half), N_NEAREST))
    nearer = share_nearer(*(plain(frame) for frame in (of_half, half, other)))
    return judge(train, table.test, synthetic, table.target) | {"nearer": nearer} | costs


def scaled(name, model, seed, n_rows, n_sampled=500_000):
    """Time and memory alone."""
    train = SCALE[name]().train[:n_rows]
    return fitted_and_sampled(model, train, seed, min(n_sampled, n_rows or n_sampled))[1]


def alone(*arguments):
    """Figures by column, measured in a process of its own; of a peer, why it did not run."""
    done = subprocess.run([sys.executable, __file__, "--alone", json.dumps(arguments)], capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    if arguments[2] == "skvae":
        raise RuntimeError(done.stderr)
    return done.stderr.splitlines()[-1]


def line(label, values):
    return f"{label:40s}" + "".join(f"{value:>12s}" for value in values)


def printed(label, runs):
    """A row of medians, and one of half the range; or why there is none."""
    reasons = [run for run in runs if isinstance(run, str)]
    if reasons:
        print(f"{label:40s} {'not installed' if 'ModuleNotFound' in reasons[0] else reasons[0]}", flush=True)
        return
    figures = [[run[c] for run in runs] if c in runs[0] else None for c in COLUMNS]
    print(line(label, ["" if values is None else f"{np.median(values):.3f}" for values in figures]))
    print(line("", ["" if values is None else f"±{np.ptp(values) / 2:.3f}" for values in figures]), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", help=f"of {', '.join(TABLES)}; with --scale of {', '.join(SCALE)}")
    parser.add_argument("--models", nargs="+", choices=MODELS)
    parser.add_argument("--scale", action="store_true", help="time and memory of large tables")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, help="the first rows of each table only")
    parser.add_argument("--json", help="write the figures here too")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        function, *rest = json.loads(arguments.alone)
        warnings.simplefilter("ignore")
        print(json.dumps({c: float(value) for c, value in globals()[function](*rest).items()}))
        return
    function, tables, models = ("scaled", SCALE, ["skvae"]) if arguments.scale else ("measured", TABLES, list(MODELS))
    figures = {}
    print(line("", COLUMNS))
    for name in arguments.tables or tables:
        for model in arguments.models or models:
            runs = [alone(function, name, model, seed, arguments.rows) for seed in range(arguments.seeds)]
            figures[f"{name} {model}"] = runs
            printed(f"{name} {model}", runs)
            if arguments.json:  # after every row: a run takes hours, and may be cut off
                Path(arguments.json).write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
