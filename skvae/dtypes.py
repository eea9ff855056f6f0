"""Dtypes of numpy, pandas, polars and Arrow in plain words, and back. Arrow and polars are imported where they are met."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

MASKED = {
    str(dtype): dtype
    for dtype in (
        *(pd.Int8Dtype(), pd.Int16Dtype(), pd.Int32Dtype(), pd.Int64Dtype(), pd.UInt8Dtype(), pd.UInt16Dtype()),
        *(pd.UInt32Dtype(), pd.UInt64Dtype(), pd.Float32Dtype(), pd.Float64Dtype(), pd.BooleanDtype()),
    )
}


def numpy_words(dtype: np.dtype) -> str:
    if dtype.fields is not None or dtype.kind not in "biufcmMSUO":
        raise TypeError(f"{dtype!r} cannot be saved")
    return dtype.str


def string_words(dtype: pd.StringDtype) -> list:
    return [dtype.storage, dtype.na_value is pd.NA]


def string_dtype(words: list) -> Any:
    """With Python's strings where Arrow's are not installed, and as objects where pandas has no such dtype yet."""
    storage, nullable = words
    if storage not in ("python", "pyarrow"):
        raise ValueError(f"no strings are stored as {storage!r}")
    options = {} if nullable else {"na_value": np.nan}
    for tried in (storage, "python"):
        try:
            return pd.StringDtype(tried, **options)
        except ImportError:
            continue
        except TypeError:
            break
    return np.dtype(object)


# --- Arrow -----------------------------------------------------------------------------------------------------------

# names of pyarrow's functions that make a type, and the attributes that they take
ARROW_SIMPLE = {
    *("null", "bool_", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32"),
    *("float64", "string", "large_string", "string_view", "binary", "large_binary", "date32", "date64"),
}
ARROW_OF = {
    "timestamp": ("unit", "tz"),
    "time32": ("unit",),
    "time64": ("unit",),
    "duration": ("unit",),
    "decimal128": ("precision", "scale"),
    "decimal256": ("precision", "scale"),
    "dictionary": ("index_type", "value_type", "ordered"),
    "list": ("value_type",),
    "large_list": ("value_type",),
    "fixed_size_list": ("value_type", "list_size"),
}
ARROW_MAKERS = {"list": "list_", "fixed_size_list": "list_"}


def arrow_words(type_: Any) -> Any:
    """A type of Arrow: its name, or a list of its name and its attributes."""
    import pyarrow as pa

    for name in sorted(ARROW_SIMPLE):
        if hasattr(pa, name) and type_ == getattr(pa, name)():
            return name
    made = [name for name in ARROW_OF if getattr(pa.types, f"is_{name}")(type_)]
    if not made:
        raise TypeError(f"Arrow's {type_!r} cannot be saved")
    name = made[0]
    values = [getattr(type_, attribute) for attribute in ARROW_OF[name]]
    return [name, *(arrow_words(value) if isinstance(value, pa.DataType) else value for value in values)]


def arrow_type(words: Any) -> Any:
    import pyarrow as pa

    if isinstance(words, str):
        if words not in ARROW_SIMPLE:
            raise ValueError(f"no type of Arrow has the name {words!r}")
        return getattr(pa, words)()
    name, *values = words
    made = [
        arrow_type(value) if attribute.endswith("_type") else value
        for attribute, value in zip(ARROW_OF[name], values, strict=True)
    ]
    return getattr(pa, ARROW_MAKERS.get(name, name))(*made)


# --- polars ----------------------------------------------------------------------------------------------------------

POLARS_SIMPLE = {
    *("Int8", "Int16", "Int32", "Int64", "Int128", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64", "Boolean"),
    *("String", "Date", "Time", "Binary", "Null", "Object", "Categorical"),
}
POLARS_OF: dict[str, Callable[[Any], list]] = {
    "Datetime": lambda dtype: [dtype.time_unit, dtype.time_zone],
    "Duration": lambda dtype: [dtype.time_unit],
    "Decimal": lambda dtype: [dtype.precision, dtype.scale],
    "Enum": lambda dtype: [dtype.categories.to_list()],
    "Array": lambda dtype: [polars_words(dtype.inner), dtype.size],
    "List": lambda dtype: [polars_words(dtype.inner)],
}


def polars_words(dtype: Any) -> list:
    """A dtype of polars: its name, whether it is an instance, and what it is made of."""
    instance = not isinstance(dtype, type)
    name = (type(dtype) if instance else dtype).__name__
    if name in POLARS_SIMPLE:
        return [name, instance]
    if instance and name in POLARS_OF:
        return [name, instance, *POLARS_OF[name](dtype)]
    raise TypeError(f"polars' {dtype!r} cannot be saved")


def polars_dtype(words: list) -> Any:
    import polars as pl

    name, instance, *values = words
    if name not in POLARS_SIMPLE and name not in POLARS_OF:
        raise ValueError(f"no dtype of polars has the name {name!r}")
    made = [polars_dtype(value) if isinstance(value, list) and name != "Enum" else value for value in values]
    dtype = getattr(pl, name)
    return dtype(*made) if instance else dtype
