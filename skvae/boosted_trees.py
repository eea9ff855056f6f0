"""What boosted trees learn of synthetic rows: to tell them from real ones, and to predict a column of real ones."""

from collections.abc import Hashable

import numpy as np

from skvae.compared_columns import MIN_ROWS, ComparedColumn, by_name, some_rows

N_MODEL_ROWS = 50_000  # of each table that a model learns from, at most
N_LEVELS = 255  # categories that scikit-learn's gradient boosting takes natively
MAX_CLASSES = 100  # of a target


def _model(kind, columns, seed):
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    model = {"classifier": HistGradientBoostingClassifier, "regressor": HistGradientBoostingRegressor}[kind]
    n_rows = min(len(columns[0].cells[table]) for table in ("real", "synthetic"))
    return model(
        categorical_features=[not c.is_numeric for c in columns],
        min_samples_leaf=min(20, max(2, n_rows // 20)),  # 20, the default, leaves a small table whole
        early_stopping=False,  # it would begin at 10,000 rows: a jump in what is measured
        random_state=seed,
    )


def _features(columns, table):
    """Columns as scikit-learn's gradient boosting takes them, (n, k): numbers, NaN where missing, and codes."""
    return np.column_stack([c.cells[table] if c.is_numeric else _frequent_codes(c, table) for c in columns])


def _frequent_codes(column, table):
    """Codes (n,) by frequency in all tables, missing a category of its own; the rare ones beyond N_LEVELS are one."""
    counts = np.bincount(np.concatenate([column.codes(name) for name in column.cells]), minlength=len(column.labels) + 1)
    rank = np.empty(len(counts))
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    return np.minimum(rank, N_LEVELS - 1)[column.codes(table)]


# --- two-sample test -------------------------------------------------------------------------------------------------


def two_sample_score(columns: list[ComparedColumn], seed: int, real: str = "real", other: str = "synthetic") -> float:
    """1 - mean(2 max(1/2, AUC) - 1) over three folds."""
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    columns = by_name(columns)
    a, b = (_features(columns, table) for table in (real, other))
    size = min(len(a), len(b), N_MODEL_ROWS)
    X = np.vstack([some_rows(a, size, seed), some_rows(b, size, seed + 1)])
    folds = StratifiedKFold(3, shuffle=True, random_state=seed)
    model = _model("classifier", columns, seed)
    auc = cross_val_score(model, X, np.repeat([0, 1], size), cv=folds, scoring="roc_auc", error_score="raise")
    return 1.0 - float(np.mean(2 * np.maximum(0.5, auc) - 1))


# --- utility ---------------------------------------------------------------------------------------------------------


def find_target(columns: list[ComparedColumn], target: Hashable) -> tuple[ComparedColumn, list[ComparedColumn], bool]:
    """The target, the columns that it is predicted from, which are no identifiers, and whether it is a class."""
    column = next((c for c in columns if c.name == target), None)
    if column is None:
        raise ValueError(f"target must be a column of real. Got {target!r}; columns: {[c.name for c in columns]}.")
    if column.kind in ("identifier", "empty"):
        raise ValueError(f"target {target!r} is {column.kind} in real: there is nothing to predict. Choose another column.")
    rest = [c for c in by_name(columns) if c is not column and c.kind != "identifier"]
    if not rest:
        raise ValueError(f"target {target!r} is the only column to learn from. Give tables with other columns.")
    n_values = len(np.unique(column.cells["real"][~np.isnan(column.cells["real"])]))
    is_class = not column.is_numeric or n_values <= 2
    if n_values < 2 or (is_class and n_values > MAX_CLASSES):
        raise ValueError(
            f"target {target!r} has {n_values} different value(s) in real; it needs 2, and at most {MAX_CLASSES} if it is a "
            "category. Choose another column."
        )
    return column, rest, is_class


def utility_scores(columns: list[ComparedColumn], target: Hashable, seed: int) -> dict[str, dict[str, float]]:
    """By score ("auc", or "r2" and "rmse"), that of a model trained on synthetic rows, "value", and on real ones, "real".

    Both are tested on rows that are real: those held out, or the real ones in three folds.
    """
    from sklearn.model_selection import KFold

    column, rest, is_class = find_target(columns, target)
    model, rows = _model("classifier" if is_class else "regressor", rest, seed), {}
    for table, y in column.cells.items():
        known = np.flatnonzero(~np.isnan(y))
        if len(known) < MIN_ROWS:
            raise ValueError(
                f"target {target!r} has {len(known)} cells that are not missing in {table}; it needs {MIN_ROWS}."
            )
        chosen = some_rows(known, N_MODEL_ROWS, seed)
        rows[table] = _features(rest, table)[chosen], y[chosen]
    X, y = rows.get("holdout", rows["real"])
    classes = np.unique(y) if is_class else None
    if classes is not None and len(classes) < 2:
        raise ValueError(f"target {target!r} has one class in holdout, and needs 2. Give more rows.")
    synthetic = _predict(model, *rows["synthetic"], X, classes)
    if "holdout" in rows:
        real = _predict(model, *rows["real"], X, classes)
    else:
        real = np.empty_like(synthetic)
        for train, test in KFold(3, shuffle=True, random_state=seed).split(X):
            real[test] = _predict(model, X[train], y[train], X[test], classes)
    by_table = {"value": _scores(y, synthetic, classes), "real": _scores(y, real, classes)}
    return {score: {table: by_table[table][score] for table in by_table} for score in by_table["value"]}


def _predict(model, X, y, X_test, classes):
    """Predictions (m,) of a regression, or probabilities (m, n_classes); 0 for a class that y (n,) lacks."""
    if classes is None:
        return model.fit(X, y).predict(X_test)
    out = np.zeros((len(X_test), len(classes)))
    if len(np.unique(y)) == 1:
        out[:, classes == y[0]] = 1.0
        return out
    probabilities = model.fit(X, y).predict_proba(X_test)
    for k, value in enumerate(model.classes_):
        out[:, classes == value] = probabilities[:, [k]]
    return out


def _scores(y, predicted, classes):
    """Scores of predictions for y (n,), by their names."""
    from sklearn.metrics import r2_score, roc_auc_score

    if classes is None:
        return {"r2": r2_score(y, predicted), "rmse": float(np.sqrt(np.mean((y - predicted) ** 2)))}
    auc = [roc_auc_score(y == value, predicted[:, k]) for k, value in enumerate(classes)]
    return {"auc": float(np.mean(auc))}
