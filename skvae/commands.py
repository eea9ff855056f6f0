"""The commands of `skvae.cli`: a function for each, which takes the parsed arguments."""

import warnings
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skvae.archive import unpack_archive
from skvae.table_files import TableFile, holds_texts, look_alikes, read_cell, read_table, type_of, write_table
from skvae.targets import input_name
from skvae.terminal import output, source, status, tell

FORMS = "_file_forms"  # the attribute of an estimator that stores the text format of each column of its table


def fit(arguments: Namespace) -> None:
    from skvae.estimator import VAETransformer

    if arguments.output == "-" and output().isatty():
        raise ValueError("--output - writes a model to stdout, which is a terminal. Name a file, or redirect stdout.")
    data = read_table(arguments.data, missing=arguments.missing)
    for message in look_alikes(data):
        warnings.warn(message, UserWarning, stacklevel=2)
    parameters = _parameters(arguments)
    _check_columns(
        [*parameters.get("categorical_features", []), *_keys(parameters.get("likelihood"))], data.frame, arguments.data
    )
    vae = VAETransformer(**parameters)
    if not arguments.quiet:
        vae.set_callbacks(ProgressLine())
    vae.fit(data.frame)
    _warn_of_placeholders(vae, data.frame)
    setattr(vae, FORMS, data.forms)
    _save(vae, arguments.output)


def _warn_of_placeholders(vae: Any, frame: pd.DataFrame) -> None:
    """Say which columns of texts that all differ are not drawn as such, and do not continue a count either."""
    columns = vae._schema.table.columns if vae.ignored_features_ else []
    made = [one for one in columns if one.name in vae.ignored_features_ and one.prefix == f"{one.name}-"]
    made = [one for one in made if not one.integer and frame[one.name].dropna().is_unique]
    if made:
        names = ", ".join(repr(one.name) for one in made)
        warnings.warn(
            f"{f'column {names} holds' if len(made) == 1 else f'columns {names} hold'} texts that all differ: not modelled, "
            f"and drawn as placeholders such as '{made[0].prefix}{made[0].next}'.",
            UserWarning,
            stacklevel=2,
        )


def sample(arguments: Namespace) -> None:
    vae, forms = _opened_fitted(arguments.model)
    given = _once([_condition(text, vae, forms) for text in arguments.given], "--given")
    drawn = vae.sample(arguments.rows, given=given or None, random_state=arguments.seed)
    write_table(_as_frame(drawn, vae), arguments.output, forms)


def transform(arguments: Namespace) -> None:
    vae, data = _opened_with_rows(arguments)
    frame = _in_order(data.frame, vae, arguments.data)
    latents = pd.DataFrame(np.asarray(vae.transform(frame)), columns=vae.get_feature_names_out())
    write_table(latents, arguments.output)


def impute(arguments: Namespace) -> None:
    vae, data = _opened_with_rows(arguments)
    rows = _in_order(data.frame, vae, arguments.data)
    kept = None if data.texts is None else data.texts.where(data.frame.notna())
    if arguments.draws is None:
        full = _filled(vae.impute(rows), vae, data)
    elif "draw" in data.frame:
        raise ValueError(f"--draws writes a column 'draw', which {arguments.data} already has. Rename it there.")
    else:
        tables = vae.impute(rows, n_draws=arguments.draws, random_state=arguments.seed)
        full = pd.concat([_filled(table, vae, data) for table in tables], ignore_index=True)
        full.insert(0, "draw", np.repeat(np.arange(1, len(tables) + 1), len(rows)))
        kept = None if kept is None else pd.concat([kept] * len(tables), ignore_index=True)
    write_table(full, arguments.output, data.forms, kept)


def _filled(rows: Any, vae: Any, data: TableFile) -> pd.DataFrame:
    """Completed rows as a frame with the columns of the data."""
    names = vae._schema.names
    return _as_frame(rows, vae).set_axis(data.frame.columns if names is None else names, axis=1)[list(data.frame.columns)]


def score(arguments: Namespace) -> None:
    vae, data = _opened_with_rows(arguments)
    frame = _in_order(data.frame, vae, arguments.data)
    scores = vae.score_samples(frame)
    log_p_values = pd.DataFrame(vae.score_cells(frame, kind="log_p_value"))
    table = pd.DataFrame({"row": np.arange(1, len(scores) + 1), "score": scores})
    nats = log_p_values.to_numpy(dtype=float)
    oddest = np.argsort(nats, axis=1, kind="stable")
    names = np.array([str(name) for name in frame.columns], dtype=object)
    for at in range(min(arguments.cells, nats.shape[1])):
        table[f"cell_{at + 1}"] = names[oddest[:, at]]
        table[f"p_value_{at + 1}"] = np.exp(np.take_along_axis(nats, oddest[:, [at]], axis=1)[:, 0])
    write_table(table, arguments.output)


def report(arguments: Namespace) -> None:
    from skvae.quality import quality_report

    real, forms, _ = read_table(arguments.real, missing=arguments.missing)
    synthetic = read_table(arguments.synthetic, forms, arguments.missing).frame
    holdout = None if arguments.holdout is None else read_table(arguments.holdout, forms, arguments.missing).frame
    found = quality_report(real, synthetic, holdout, target=arguments.target, random_state=arguments.seed)
    if arguments.output is not None:
        found.to_html(arguments.output)
    print(found, file=output())


def info(arguments: Namespace) -> None:
    data = _model_bytes(arguments.model)
    vae, forms = _opened(arguments.model, data)
    print(f"written by skvae {unpack_archive(data)[0]['version']}", vae, *_description(vae, forms), sep="\n", file=output())


def _description(vae: Any, forms: dict) -> Iterator[str]:
    """Lines about a model."""
    if not vae.__sklearn_is_fitted__():
        yield "not fitted"
        return
    yield f"{vae.n_features_in_} columns, {vae._n_features_out} latents, generator: {vae.generator_}, prior: {vae.prior_}"
    best = vae.best_validation_score_
    held_out = "" if best is None else f", held-out bound: {best:.4g}"
    yield f"epochs: {vae.n_iter_}, training bound: {-vae.loss_curve_[-1]:.4g} nats per row{held_out}"
    yield "information in each latent, in nats: " + ", ".join(f"{nats:.3g}" for nats in vae.explained_information_)
    columns = pd.DataFrame(list(_described(vae, forms)), columns=["column", "dtype", "likelihood"])
    yield "\n" + columns.to_string(index=False, justify="left")
    if len(vae.relations_):
        yield "\n" + _in_words(vae.relations_)


def relations(arguments: Namespace) -> None:
    from skvae.containers import check_frame
    from skvae.relations import as_table
    from skvae.schema import Schema

    frame = read_table(arguments.data, missing=arguments.missing).frame
    check_frame(frame, 2, "skvae relations", arguments.data)
    parameters = {"likelihood": "auto", "categorical_features": "from_dtype", "relations": "auto", "image_shape": None}
    found = as_table(Schema().fit(frame, np.broadcast_to(1.0, len(frame)), parameters).relations)
    if arguments.output:
        write_table(found.assign(columns=[", ".join(map(str, one)) for one in found["columns"]]), arguments.output)
        return
    print(_in_words(found) if len(found) else "no relations found", file=output())
    if not len(found):
        tell(
            "hint: a relation that chance could explain is not listed, although it holds in all rows. State it for the fit: "
            "skvae fit --relations 'total = a + b'"
        )


# --- arguments -------------------------------------------------------------------------------------------------------


def _parameters(arguments: Namespace) -> dict[str, Any]:
    """The parameters of the estimator that the arguments set."""
    names = ("latent_dim", "hidden_layer_sizes", "generator", "prior", "beta", "max_iter", "device")
    found = {name: getattr(arguments, name) for name in names}
    found["random_state"] = arguments.seed
    found["categorical_features"] = arguments.category
    wanted = arguments.relations
    for alone in ("none", "auto"):
        if alone in (wanted or ()) and len(wanted) > 1:
            raise ValueError(f"--relations {alone} must be the only one. Got {', '.join(map(repr, wanted))}.")
    if wanted not in (["none"], ["auto"]):
        found["relations"] = wanted
    given = {name: value for name, value in found.items() if value is not None}
    if wanted == ["none"]:
        given["relations"] = None
    if arguments.likelihood:
        given["likelihood"] = _likelihood(arguments.likelihood)
    return given


def _likelihood(texts: list[str]) -> str | dict:
    if len(texts) == 1 and "=" not in texts[0]:
        return texts[0]
    for text in texts:
        if "=" not in text:
            raise ValueError(
                f"--likelihood is one NAME for all columns, or COLUMN=NAME for each. Got {text!r} among several."
            )
    return _once([(text.rpartition("=")[0], text.rpartition("=")[2]) for text in texts], "--likelihood")


def _once(pairs: list[tuple], option: str) -> dict:
    """The values by column, of which none is said twice."""
    for column, n in Counter(column for column, _ in pairs).items():
        if n > 1:
            raise ValueError(f"{option} must name a column once. Got {n} values of {column!r}.")
    return dict(pairs)


def _keys(likelihood: Any) -> list:
    return list(likelihood) if isinstance(likelihood, dict) else []


def _check_columns(names: list, frame: pd.DataFrame, path: str) -> None:
    for name in names:
        if name not in frame.columns:
            raise ValueError(f"{input_name(path)} has no column {name!r}. It has {', '.join(map(str, frame.columns))}.")


def _condition(text: str, vae: Any, forms: dict) -> tuple[Any, Any]:
    """The column and the value of COLUMN=VALUE; both may contain "="."""
    columns = vae._schema._column_names
    for at, letter in enumerate(text):
        for column in columns if letter == "=" else ():
            if str(column) == text[:at]:
                dtype = vae._schema.dtypes[columns.index(column)]
                return column, _value(text[at + 1 :], forms.get("columns", {}).get(column), dtype, text)
    raise ValueError(
        f"--given must be COLUMN=VALUE with a column of the model: {', '.join(map(str, columns))}. Got {text!r}."
    )


def _value(text: str, form: dict | None, dtype: Any, whole: str) -> Any:
    try:
        return read_cell(text, form, dtype)
    except (ValueError, KeyError):
        kind = type_of(form) if form else str(dtype)
        raise ValueError(
            f"--given {whole}: {text!r} is not a valid value for this column, which holds values of type {kind}."
        ) from None


# --- models and rows -------------------------------------------------------------------------------------------------


def _save(vae: Any, path: str) -> None:
    from skvae.files import save, to_bytes

    if path != "-":
        save(vae, path)
        return
    output().buffer.write(to_bytes(vae))
    output().flush()


def _model_bytes(path: str) -> bytes:
    return source().buffer.read() if path == "-" else Path(path).read_bytes()


def _opened(path: str, data: bytes | None = None) -> tuple[Any, dict]:
    """The estimator in a file, and the text formats of the table that it was fitted to. data : the content, if known."""
    from skvae.files import from_bytes

    vae = from_bytes(_model_bytes(path) if data is None else data, input_name(path, "model"))
    return vae, getattr(vae, FORMS, {})


def _opened_fitted(path: str) -> tuple[Any, dict]:
    """As `_opened`; a model of another table than CSV has formats of its texts."""
    vae, forms = _opened(path)
    if not vae.__sklearn_is_fitted__():
        raise ValueError(f"{input_name(path, 'model')} holds a model that is not fitted. Fit it before it is saved.")
    names = zip(vae._schema._column_names, vae._schema.dtypes, strict=True)
    return vae, forms or {"columns": {name: {"kind": "text", "missing": ""} for name, dtype in names if holds_texts(dtype)}}


def _opened_with_rows(arguments: Namespace) -> tuple[Any, TableFile]:
    """A model and a table; the latter with the formats of the former if it has none."""
    vae, forms = _opened_fitted(arguments.model)
    data = read_table(arguments.data, forms, arguments.missing)
    return vae, data._replace(forms=data.forms or forms)


def _in_order(frame: pd.DataFrame, vae: Any, path: str) -> pd.DataFrame:
    """The columns of a frame as the model has them; their names must be the same, unless the model is of an array."""
    if vae._schema.names is None:
        return frame
    names = list(vae._schema.names)
    further, lacking = [name for name in frame if name not in names], [name for name in names if name not in frame]
    if further or lacking:
        said = [f"has columns that the model does not have: {', '.join(map(str, further))}"] * bool(further)
        said += [f"lacks columns of the model: {', '.join(map(str, lacking))}"] * bool(lacking)
        raise ValueError(f"{input_name(path)} {', and '.join(said)}.")
    return frame[names]


def _as_frame(rows: Any, vae: Any) -> pd.DataFrame:
    """Rows in any container as a pandas DataFrame."""
    if isinstance(rows, pd.DataFrame):
        return rows
    if hasattr(rows, "to_pandas"):
        return rows.to_pandas()
    rows = rows.toarray() if hasattr(rows, "toarray") else np.asarray(rows)
    flat = rows.reshape(len(rows), -1)
    return pd.DataFrame(flat, columns=[f"x{at}" for at in range(flat.shape[1])])


def _described(vae: Any, forms: dict) -> Any:
    """Name, dtype and likelihood of each column."""
    likelihoods = {}
    for part in vae._schema.parts:
        for column in getattr(part, "columns", ()):
            variable = getattr(column, "variable", None)
            likelihoods[getattr(column, "name", None)] = getattr(variable, "likelihood", "identifier")
    for name, dtype in zip(vae._schema._column_names, vae._schema.dtypes, strict=True):
        form = forms.get("columns", {}).get(name)
        yield str(name), str(dtype) if form is None else f"{dtype} ({type_of(form)})", likelihoods.get(name, "")


def _in_words(relations: pd.DataFrame) -> str:
    shares = ["always" if share == 1 else f"{100 * share:.4g} % of rows" for share in relations["share"]]
    width = max(map(len, shares))
    return "\n".join(f"{share:<{width}}  {text}" for share, text in zip(shares, relations["relation"], strict=True))


class ProgressLine:
    """A scikit-learn callback that shows progress on the status line."""

    def setup(self, estimator: Any, context: Any) -> None: ...

    def teardown(self, estimator: Any, context: Any) -> None: ...

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None: ...

    def on_fit_task_end(self, estimator: Any, context: Any) -> bool:
        if hasattr(context, "progress"):
            status.show(context.progress.short)
        return False
