"""Tables in files: CSV, gzipped CSV and Parquet. The type of a CSV column is inferred, and its text format is kept.

The format ("form") of a column is a dict of plain values, so that a model can store it. `kind` is a key of KINDS,
`missing` is the text that missing cells are written as, and `also_missing`, if it is there, lists texts that the user says
are missing.
"""

import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from skvae.targets import input_name, is_parquet, replacing
from skvae.terminal import output, source

# texts that pandas reads as missing, among them the empty one; but words are categories in columns of texts (NA: Namibia)
MISSING = {"", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "<NA>", "#N/A", "-nan", "-NaN"}
BOOLEANS = [("True", "False"), ("true", "false"), ("TRUE", "FALSE")]
WHOLE = r"-?[1-9][0-9]{0,18}|0"
DECIMAL = r"-?(?:0|[1-9][0-9]*)\.[0-9]+"
DURATION = r"-?[0-9]+ days \+?[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{6,9})?"  # as pandas writes it
FLOAT = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?[Ii]nf(?:inity)?"
CODE = r"[+-]?0[0-9]+.*|[0-9]{19,}"  # postal codes and other digits that are not numbers, or too long for an integer
DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
THOUSANDS = r"[+-]?[1-9][0-9]{0,2}(,[0-9]{3})+"
MOMENT = rf"({DATE})([T ])([0-9]{{2}}:[0-9]{{2}})(:[0-9]{{2}})?(\.[0-9]{{1,9}})?(Z|[+-][0-9]{{2}}:?[0-9]{{2}})?"
# what is not read as numbers or dates, but looks like them; and how they are read
NUMBER_LIKE = r"[+-]?[$€£]? ?[0-9]+(?:[ ,.'][0-9]{3})*(?:[.,][0-9]*)? ?[%$€£]?"
DATE_LIKE = r"(?:[0-9]{4}([./-])[0-9]{1,2}\1[0-9]{1,2}|[0-9]{1,2}([./-])[0-9]{1,2}\2[0-9]{2,4})(?:[T ].*)?"
LOOK_ALIKES = {
    "numbers": (
        NUMBER_LIKE,
        "Numbers are read like 1234.5, or 1234,5 throughout a column if commas do not separate columns",
    ),
    "dates": (DATE_LIKE, "Dates are read like 2024-12-31 or 2024-12-31 23:59:59"),
}
N_STRAY = 0.1  # share of distinct texts that may be other ones
DELIMITERS = ",;\t|"
HEADER = re.compile(r'(?:"[^"]*"|[^"\n])*')  # a line, unless its end is quoted


class TableFile(NamedTuple):
    """What a file holds.

    Attributes
    ----------
    frame : DataFrame
    forms : dict
        The text formats of CSV, with those of its columns by name; empty for Parquet.
    texts : DataFrame or None
        The cells of CSV as they stand.
    """

    frame: pd.DataFrame
    forms: dict
    texts: pd.DataFrame | None


def read_table(path: str, forms: dict | None = None, missing: Sequence[str] = ()) -> TableFile:
    """A table.

    path : a file, whose extension tells its type, or "-" for CSV from stdin. forms : the formats of a table that was read
    before, which columns of the same name must have. missing : further texts of missing cells in CSV.
    """
    if is_parquet(path):
        return TableFile(_read_parquet(path), {}, None)
    texts, style = _read_texts(path)
    known = (forms or {}).get("columns", {})
    columns, found, commas = {}, {}, style["delimiter"] != ","
    for name in texts.columns:
        columns[name], found[name] = read_column(texts[name], known.get(name), path, missing, commas)
    return TableFile(pd.DataFrame(columns, index=texts.index), style | {"columns": found}, texts)


def _read_parquet(path: str) -> pd.DataFrame:
    with open(path, "rb") as file:
        try:
            return pd.read_parquet(file)
        except (ValueError, OSError) as error:
            raise ValueError(f"{path} is not a Parquet file, or is damaged: {error}") from None


def write_table(frame: pd.DataFrame, path: str, forms: dict | None = None, kept: pd.DataFrame | None = None) -> None:
    """Write a table; the extension of the path tells the type, and "-" is CSV to stdout. Files are replaced atomically.

    kept : texts that cells of CSV have, whatever the frame holds; missing where the frame says.
    """
    if is_parquet(path):
        with replacing(path) as file:
            frame.to_parquet(file, index=False)
        return
    forms = forms or {}
    columns = forms.get("columns", {})
    texts = pd.DataFrame({at: write_column(frame.iloc[:, at], columns.get(name)) for at, name in enumerate(frame.columns)})
    texts.columns = [str(name) for name in frame.columns]
    if kept is not None:
        texts = texts.assign(**{name: kept[name].where(kept[name].notna(), texts[name]) for name in kept.columns})
    is_tsv = path.lower().removesuffix(".gz").endswith(".tsv")
    style = {"sep": "\t" if is_tsv else forms.get("delimiter", ","), "lineterminator": forms.get("line_end", "\n")}
    if path == "-":
        texts.to_csv(output(), index=False, **style)
        output().flush()
        return
    with replacing(path) as file:
        # without the time of writing, so that the same rows give the same bytes
        packed = gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) if path.lower().endswith(".gz") else file
        packed.write(texts.to_csv(index=False, **style).encode("utf-8"))
        if packed is not file:
            packed.close()


def _read_texts(path: str) -> tuple[pd.DataFrame, dict]:
    """The cells of a CSV file as texts, and its delimiter and line ends."""
    content = _content(path)
    first = HEADER.match(content)[0]  # type: ignore[index]  # it matches the empty text
    style = {"delimiter": ",", "line_end": "\r\n" if first.endswith("\r") else "\n"}
    first = first.rstrip("\r")
    if not first.strip():
        raise ValueError(f"{input_name(path)} has no header line with column names.")
    unquoted = re.sub('"[^"]*"', "", first)
    style["delimiter"] = max(DELIMITERS, key=lambda one: (unquoted.count(one), one == ","))
    options = {"header": None, "dtype": str, "keep_default_na": False, "sep": style["delimiter"]}
    options["skip_blank_lines"] = style["delimiter"] in unquoted  # in a file of one column they are missing cells
    try:
        table = pd.read_csv(io.StringIO(content), **options)
    except pd.errors.ParserError as error:
        raise ValueError(
            f"{input_name(path)} is not a table: {str(error).removeprefix('Error tokenizing data. C error: ')}"
        ) from None
    names = list(table.iloc[0])
    doubles = sorted(name for name, n in Counter(names).items() if n > 1)
    if doubles:
        raise ValueError(f"{input_name(path)} has two columns named {doubles[0]!r}. Rename one.")
    return table.iloc[1:].set_axis(names, axis=1).reset_index(drop=True), style


def _content(path: str) -> str:
    if path == "-":
        return source().read().removeprefix("\ufeff")
    opened: Callable = gzip.open if path.lower().endswith(".gz") else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
            return file.read()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is not a gzip file, or is damaged: {error}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not encoded in UTF-8. Save it as CSV in UTF-8, or as Parquet.") from None


# --- columns ---------------------------------------------------------------------------------------------------------


class Kind(NamedTuple):
    """How columns of a type are recognised, read and written.

    Attributes
    ----------
    form : callable
        From distinct texts, none of them missing, to a format, or to None if some have another type.
    read : callable
        From texts, a mask of missing ones, and a format, to cells. Raises ValueError if some have another type.
    write : callable
        From cells, none of them missing, and a format, to texts.
    missing : set of str
        The texts that are missing cells in columns of the type.
    """

    form: Callable[[Sequence[str]], dict | None]
    read: Callable[[np.ndarray, np.ndarray, dict], Any]
    write: Callable[[pd.Series, dict], Any]
    missing: Collection[str] = MISSING


def read_column(
    texts: pd.Series, form: dict | None, path: str = "-", missing: Sequence[str] = (), commas: bool = False
) -> tuple[pd.Series, dict]:
    """The cells of a column of texts and their format, which is `form` if that is given.

    path : names the file in messages. missing : further texts of missing cells. commas : whether numbers may have decimal
    commas.
    """
    if form is not None:
        form = _with_missing(form, missing)
        try:
            return _read_as(form, texts)
        except (ValueError, OverflowError):
            raise ValueError(
                f"{input_name(path)} has {_odd_one(texts, form)!r} in column {texts.name!r}, which held values of type "
                f"{type_of(form)} when the model was fitted."
            ) from None
    distinct = texts.unique()
    for name, kind in KINDS.items():
        if name == "comma" and not commas:
            continue
        form = _with_missing({"kind": name, "missing": ""}, missing)
        known = [text for text in distinct if text not in _missing_texts(form)]
        found = kind.form(known) if known or name == "text" else None
        if found is not None:
            with suppress(ValueError, OverflowError):
                return _read_as(form | found, texts)
    raise AssertionError("every column can be read as text")


def _with_missing(form: dict, missing: Sequence[str]) -> dict:
    also = sorted({*form.get("also_missing", ()), *missing})
    return form | ({"also_missing": also} if also else {})


def _missing_texts(form: dict) -> set[str]:
    """The texts of missing cells in columns of a format."""
    return {*KINDS[form["kind"]].missing, *form.get("also_missing", ())}


def _read_as(form: dict, texts: pd.Series) -> tuple[pd.Series, dict]:
    """The cells of a column in a format, and the format with the most frequent text of its missing cells."""
    values = texts.to_numpy(dtype=object)
    missing = texts.isin(_missing_texts(form)).to_numpy()
    cells = pd.Series(KINDS[form["kind"]].read(values, missing, form), name=texts.name)
    word = Counter(values[missing]).most_common(1)[0][0] if missing.any() else form["missing"]
    return cells, form | {"missing": word}


def _odd_one(texts: pd.Series, form: dict) -> str:
    """The first text that has another type."""
    known = [text for text in texts.unique() if text not in _missing_texts(form)]
    for text in known:
        try:
            KINDS[form["kind"]].read(np.array([text], dtype=object), np.array([False]), form)
        except (ValueError, OverflowError):
            return text
    return known[0] if known else ""


def write_column(cells: pd.Series, form: dict | None) -> np.ndarray:
    """Cells as texts, in a format, or in the usual one of their dtype."""
    form = form or {"kind": _usual_kind(cells), "missing": ""}
    missing = cells.isna().to_numpy()
    out = np.full(len(cells), form["missing"], dtype=object)
    out[~missing] = KINDS[form["kind"]].write(cells[~missing], form)
    return out


def _usual_kind(cells: pd.Series) -> str:
    if pd.api.types.is_bool_dtype(cells.dtype):
        return "boolean"
    if pd.api.types.is_integer_dtype(cells.dtype):
        return "integer"
    if pd.api.types.is_timedelta64_dtype(cells.dtype):
        return "duration"
    return "float" if pd.api.types.is_float_dtype(cells.dtype) else "text"


def _all(pattern: str, texts: Sequence[str]) -> bool:
    matches = re.compile(pattern).fullmatch
    return all(map(matches, texts))


# booleans


def _boolean_form(texts: Sequence[str]) -> dict | None:
    for yes, no in BOOLEANS:
        if set(texts) <= {yes, no}:
            return {"yes": yes, "no": no}
    return None


def _read_booleans(texts: np.ndarray, missing: np.ndarray, form: dict) -> Any:
    yes = np.char.lower(texts.astype(str)) == form["yes"].lower()
    no = np.char.lower(texts.astype(str)) == form["no"].lower()
    if not (yes | no | missing).all():
        raise ValueError
    return pd.array(np.where(missing, None, yes), dtype="boolean") if missing.any() else yes


def _write_booleans(cells: pd.Series, form: dict) -> Any:
    return np.where(cells.astype(bool), form.get("yes", "True"), form.get("no", "False"))


# numbers


def _integer_form(texts: Sequence[str]) -> dict | None:
    return {} if _all(WHOLE, texts) else None


def _read_integers(texts: np.ndarray, missing: np.ndarray, form: dict) -> Any:
    whole = np.array([0 if out else int(text) for text, out in zip(texts, missing, strict=True)], dtype=np.int64)
    return pd.arrays.IntegerArray(whole, missing) if missing.any() else whole


def _write_integers(cells: pd.Series, form: dict) -> Any:
    return [str(int(value)) for value in cells]


def _float_form(texts: Sequence[str]) -> dict | None:
    if not _all(FLOAT, texts) or any(map(_is_code, texts)):
        return None
    decimals = {len(text.partition(".")[2]) for text in texts}
    fixed = len(decimals) == 1 and _all(DECIMAL, texts)
    return {"decimals": decimals.pop() if fixed else None, "point": any(text.endswith(".0") for text in texts)}


def _read_floats(texts: np.ndarray, missing: np.ndarray, form: dict) -> Any:
    return np.where(missing, "nan", texts).astype(np.float64)


def _write_floats(cells: pd.Series, form: dict) -> Any:
    values = cells.to_numpy(dtype=np.float32 if "float32" in str(cells.dtype).lower() else np.float64)
    decimals = form.get("decimals")
    if decimals is not None:
        return [f"{value:.{decimals}f}" for value in values]
    return [str(value) if form.get("point", True) else str(value).removesuffix(".0") for value in values]


def _comma_form(texts: Sequence[str]) -> dict | None:
    """Of numbers with decimal commas, which some of them must have; they may not all be separators of thousands."""
    commas = [text for text in texts if "," in text]
    if any("." in text for text in texts) or _all(THOUSANDS, commas) or not commas:
        return None
    return _float_form([text.replace(",", ".") for text in texts])


def _read_commas(texts: np.ndarray, missing: np.ndarray, form: dict) -> Any:
    if any("." in text for text in texts[~missing]):
        raise ValueError
    return _read_floats(np.array([text.replace(",", ".") for text in texts], dtype=object), missing, form)


def _write_commas(cells: pd.Series, form: dict) -> Any:
    return [text.replace(".", ",") for text in _write_floats(cells, form)]


# dates


def _date_form(texts: Sequence[str]) -> dict | None:
    return {} if _all(DATE, texts) else None


def _read_dates(texts: np.ndarray, missing: np.ndarray, form: dict) -> Any:
    if not _all(DATE, texts[~missing]):
        raise ValueError
    return np.where(missing, "NaT", texts).astype(str).astype("datetime64[D]").astype("datetime64[s]")


def _write_dates(cells: pd.Series, form: dict) -> Any:
    return cells.to_numpy(dtype="datetime64[s]").astype("datetime64[D]").astype(str)


def _moment_form(texts: Sequence[str]) -> dict | None:
    """Of dates with a time: the separator, the precision, and the time zone if there is one."""
    parts = _moment_parts(texts)
    if parts is None:
        return None
    between, seconds = {one[1] for one in parts}, {bool(one[3]) for one in parts}
    zones = {one[5] for one in parts}
    digits = max(len(one[4] or ".") - 1 for one in parts)
    if len(between) > 1 or len(seconds) > 1 or (None in zones and len(zones) > 1):
        return None
    zone = zones.pop() if len(zones) == 1 else "Z"
    return {"between": between.pop(), "seconds": seconds.pop(), "digits": digits, "zone": zone}


def _moment_parts(texts: Sequence[str]) -> list[tuple] | None:
    """Date, separator, time, seconds, digits and zone of each text; None if some texts are not dates with a time."""
    matches = re.compile(MOMENT).fullmatch
    parts = []
    for match in map(matches, texts):
        if match is None:
            return None
        parts.append(match.groups())
    return parts


def _read_moments(texts: np.ndarray, missing: np.ndarray, form: dict) -> Any:
    parts = _moment_parts(texts[~missing])
    if parts is None or any((one[5] is None) != (form["zone"] is None) for one in parts):
        raise ValueError
    unit = "ns" if form["digits"] > 6 else "us" if form["digits"] else "s"
    ticks = np.full(len(texts), "NaT", dtype=f"datetime64[{unit}]")
    ticks[~missing] = np.array(
        [f"{day}T{time}{second or ''}{rest or ''}" for day, _, time, second, rest, _ in parts], ticks.dtype
    )
    if form["zone"] is None:
        return ticks
    ahead = {zone: _ahead(zone) for zone in {one[5] for one in parts}}
    ticks[~missing] -= np.array([ahead[one[5]] for one in parts], dtype="timedelta64[m]")
    return pd.Series(ticks).dt.tz_localize("UTC").dt.tz_convert(_zone_name(form["zone"]))


def _ahead(zone: str | None) -> np.timedelta64:
    """How far a zone is ahead of UTC."""
    if zone in (None, "Z"):
        return np.timedelta64(0, "m")
    digits = zone[1:].replace(":", "")
    minutes = 60 * int(digits[:2]) + int(digits[2:])
    return np.timedelta64(-minutes if zone[0] == "-" else minutes, "m")


def _zone_name(zone: str) -> str:
    return "UTC" if zone == "Z" else f"UTC{zone[:3]}:{zone[-2:]}"


def _write_moments(cells: pd.Series, form: dict) -> Any:
    if form["zone"] is not None:
        cells = cells.dt.tz_convert(_zone_name(form["zone"])).dt.tz_localize(None)
    unit = "ns" if form["digits"] > 6 else "us" if form["digits"] else "s"
    exact = cells.to_numpy(dtype=f"datetime64[{unit}]")
    length = 19 + (form["digits"] + 1 if form["digits"] else 0) if form["seconds"] else 16
    texts = np.datetime_as_string(exact).tolist()
    return [text[:length].replace("T", form["between"]) + (form["zone"] or "") for text in texts]


# durations


def _duration_form(texts: Sequence[str]) -> dict | None:
    return {} if _all(DURATION, texts) and all(str(pd.Timedelta(text)) == text for text in texts) else None


def _read_durations(texts: np.ndarray, missing: np.ndarray, form: dict) -> Any:
    if not _all(DURATION, texts[~missing]):
        raise ValueError
    return pd.to_timedelta(np.where(missing, "NaT", texts)).as_unit("ns")  # of any version of pandas


def _write_durations(cells: pd.Series, form: dict) -> Any:
    return [str(pd.Timedelta(value)) for value in cells]


# texts


def _read_words(texts: np.ndarray, missing: np.ndarray, form: dict) -> Any:
    words = texts.copy()
    words[missing] = None
    return pd.array(words, dtype=pd.Series(["a"]).dtype)


def _write_words(cells: pd.Series, form: dict) -> Any:
    return [str(value) for value in cells]


# a column has the first type, in this order, that all of its texts have
KINDS = {
    "boolean": Kind(_boolean_form, _read_booleans, _write_booleans),
    "integer": Kind(_integer_form, _read_integers, _write_integers),
    "float": Kind(_float_form, _read_floats, _write_floats),
    "comma": Kind(_comma_form, _read_commas, _write_commas),
    "date": Kind(_date_form, _read_dates, _write_dates),
    "moment": Kind(_moment_form, _read_moments, _write_moments),
    "duration": Kind(_duration_form, _read_durations, _write_durations),
    "text": Kind(lambda texts: {}, _read_words, _write_words, missing={""}),
}


def type_of(form: dict) -> str:
    """The type of a column in messages. Saved models hold the key of KINDS, which therefore stays."""
    return {"moment": "datetime", "comma": "float with decimal commas"}.get(form["kind"], form["kind"])


def look_alikes(data: TableFile) -> Iterator[str]:
    """Messages about columns of text that hold numbers or dates of a form that is not read, or also other texts."""
    columns = {} if data.texts is None else data.forms["columns"]
    known = {
        name: [text for text in data.texts[name].unique() if text not in _missing_texts(form)]  # type: ignore[index]
        for name, form in columns.items()
        if form["kind"] == "text"
    }
    for what, (pattern, advice) in LOOK_ALIKES.items():
        found = {name: _example(pattern, texts) for name, texts in known.items()}
        shown = [f"{name!r} ({example})" for name, example in found.items() if example]
        if shown:
            yield f"texts that look like {what} are not read as {what}: {', '.join(shown)}. {advice}."


def _example(pattern: str, texts: list[str]) -> str:
    """In words, one of texts that mostly have a pattern: another one, if there are some; empty if they do not have it."""
    stray = [text for text in texts if not re.fullmatch(pattern, text)]
    if not texts or len(stray) > N_STRAY * len(texts) or (pattern == NUMBER_LIKE and any(map(_is_code, texts))):
        return ""
    return f"--missing {stray[0]!r} if that means missing" if stray else f"such as {texts[0]!r}"


def _is_code(text: str) -> bool:
    return re.fullmatch(CODE, text) is not None


def read_cell(text: str, form: dict | None, dtype: Any = None) -> Any:
    """The value of one text, by the format of its column or else by its dtype; None if it is missing."""
    if form is not None:
        cell = read_column(pd.Series([text], dtype=object), form)[0].iloc[0]
        return None if pd.isna(cell) else cell
    if isinstance(dtype, pd.CategoricalDtype):
        return next((level for level in dtype.categories if str(level) == text), text or None)
    kind = KINDS["text" if holds_texts(dtype) else "float"]
    if text in kind.missing:
        return None
    if pd.api.types.is_bool_dtype(dtype):
        return {"true": True, "false": False}[text.lower()]
    if pd.api.types.is_numeric_dtype(dtype):
        return int(text) if pd.api.types.is_integer_dtype(dtype) else float(text)
    if pd.api.types.is_timedelta64_dtype(dtype):
        return pd.Timedelta(text)
    return pd.Timestamp(text) if pd.api.types.is_datetime64_any_dtype(dtype) else text


def holds_texts(dtype: Any) -> bool:
    """Whether cells of a dtype are texts, as categories may be."""
    levels = dtype.categories.dtype if isinstance(dtype, pd.CategoricalDtype) else dtype
    return pd.api.types.is_string_dtype(levels) or pd.api.types.is_object_dtype(levels)
