"""Python values as JSON and arrays, exactly: what JSON has no form for is an object of one key, the name of its kind."""

import datetime
import decimal
import math
import re
import zoneinfo
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from skvae import dtypes
from skvae.persistence import stream_from, stream_state

LONGEST_RANGE = 2**24  # numbers that a stored range may stand for


class Kind(NamedTuple):
    """How values of a type are taken apart, into what is itself encoded, and put together."""

    type: type
    apart: Callable[[Any], Any]
    together: Callable[[Any], Any]


def _checked_range(value: list) -> range:
    made = range(*value)
    if len(made) > LONGEST_RANGE:
        raise ValueError("a range is too long")
    return made


def _zone_words(zone: datetime.tzinfo | None) -> str | None:
    """A time zone by its name."""
    if zone is None:
        return None
    try:
        return _known_zone(str(zone))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise TypeError(f"the time zone {zone!r} cannot be saved") from None


def _known_zone(name: str) -> str:
    """The name of a time zone, which pandas makes a class of its own of; other names may stand for files."""
    _zone(name)
    return name


def _zone(name: str | None) -> datetime.tzinfo | None:
    """A time zone of the standard library: by its name, or by its distance from UTC."""
    if name is None:
        return None
    offset = re.fullmatch(r"UTC(?:([+-])(\d\d):(\d\d))?", name)
    if offset is None:
        return zoneinfo.ZoneInfo(name)
    sign, hours, minutes = offset.groups(default="0")
    ahead = datetime.timedelta(hours=int(hours), minutes=int(minutes))
    return datetime.timezone(-ahead if sign == "-" else ahead)


def _datetime_apart(value: datetime.datetime) -> list:
    return [value.replace(tzinfo=None).isoformat(), value.fold, _zone_words(value.tzinfo)]


def _datetime(parts: list) -> datetime.datetime:
    text, fold, zone = parts
    return datetime.datetime.fromisoformat(text).replace(fold=fold, tzinfo=_zone(zone))


def _timestamp_apart(value: pd.Timestamp) -> list:
    return [value.asm8.astype(np.int64).item(), value.unit, _zone_words(value.tz)]


def _timestamp(parts: list) -> pd.Timestamp:
    ticks, unit, zone = parts
    value = pd.Timestamp(np.datetime64(ticks, unit))
    return value if zone is None else value.tz_localize("UTC").tz_convert(_known_zone(zone))


def _index_apart(index: pd.Index) -> list:
    return [index.tolist(), index.dtype, index.name]


def _index(parts: list) -> pd.Index:
    values, dtype, name = parts
    return pd.Index(values, dtype=dtype, name=name)


def _range_index(parts: list) -> pd.RangeIndex:
    return pd.RangeIndex(_checked_range(parts[:3]), name=parts[3])


def _objects_apart(array: np.ndarray) -> list:
    return [list(array.shape), array.ravel().tolist()]


def _objects(parts: list) -> np.ndarray:
    shape, values = parts
    if math.prod(shape) != len(values):
        raise ValueError("an array of objects has another number of them than is declared")
    array = np.empty(len(values), object)
    array[:] = values
    return array.reshape(shape)


def _by_attributes(cls: type, *names: str) -> Kind:
    """Of a class that is made of some of its attributes, in the order in which it takes them."""
    return Kind(cls, lambda one: [getattr(one, name) for name in names], lambda parts: cls(*parts))


KINDS = {
    "tuple": Kind(tuple, list, tuple),
    "set": Kind(set, list, set),
    "frozenset": Kind(frozenset, list, frozenset),
    "range": Kind(range, lambda one: [one.start, one.stop, one.step], _checked_range),
    "complex": _by_attributes(complex, "real", "imag"),
    "Decimal": Kind(decimal.Decimal, str, decimal.Decimal),
    "date": Kind(datetime.date, datetime.date.isoformat, datetime.date.fromisoformat),
    "datetime": Kind(datetime.datetime, _datetime_apart, _datetime),
    "time": Kind(datetime.time, datetime.time.isoformat, datetime.time.fromisoformat),
    "timedelta": _by_attributes(datetime.timedelta, "days", "seconds", "microseconds"),
    "Timestamp": Kind(pd.Timestamp, _timestamp_apart, _timestamp),
    "Timedelta": Kind(
        pd.Timedelta,
        lambda one: [one.asm8.astype(np.int64).item(), one.unit],
        lambda parts: pd.Timedelta(np.timedelta64(*parts)),
    ),
    "Period": Kind(
        pd.Period,
        lambda one: [one.ordinal, one.freqstr],
        lambda parts: pd.Period(ordinal=parts[0], freq=parts[1]),
    ),
    "Interval": _by_attributes(pd.Interval, "left", "right", "closed"),
    "RandomState": Kind(np.random.RandomState, stream_state, stream_from),
    "RangeIndex": Kind(pd.RangeIndex, lambda one: [one.start, one.stop, one.step, one.name], _range_index),
    "MultiIndex": Kind(
        pd.MultiIndex,
        lambda one: [one.tolist(), list(one.names)],
        lambda parts: pd.MultiIndex.from_tuples(parts[0], names=parts[1]),
    ),
    "StringDtype": Kind(pd.StringDtype, dtypes.string_words, dtypes.string_dtype),
    "CategoricalDtype": _by_attributes(pd.CategoricalDtype, "categories", "ordered"),
    "DatetimeTZDtype": Kind(
        pd.DatetimeTZDtype,
        lambda one: [one.unit, _zone_words(one.tz)],
        lambda parts: pd.DatetimeTZDtype(parts[0], _known_zone(parts[1])),
    ),
    "PeriodDtype": Kind(pd.PeriodDtype, lambda one: one.freq.freqstr, pd.PeriodDtype),
    "IntervalDtype": _by_attributes(pd.IntervalDtype, "subtype", "closed"),
    "SparseDtype": _by_attributes(pd.SparseDtype, "subtype", "fill_value"),
    "ArrowDtype": Kind(
        pd.ArrowDtype,
        lambda one: dtypes.arrow_words(one.pyarrow_dtype),
        lambda words: pd.ArrowDtype(dtypes.arrow_type(words)),
    ),
}


class Encoder:
    """Takes values apart; `arrays` are those that were met, each once."""

    def __init__(self, more: dict[str, Kind] | None = None):
        self.arrays: list[np.ndarray] = []
        self._places: dict[int, int] = {}
        self._kinds = KINDS | (more or {})
        self._tags = {kind.type: tag for tag, kind in self._kinds.items()}

    def encode(self, value: Any) -> Any:
        """A value as JSON can hold it."""
        kind = type(value)
        if value is None or kind in (bool, int, str):
            return value
        if kind is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if kind is list:
            return [self.encode(item) for item in value]
        if kind is dict:
            return self._encode_dict(value)
        if isinstance(value, np.ndarray):
            return self._encode_array(value)
        if isinstance(value, np.generic):
            return {"numpy": [dtypes.numpy_words(value.dtype), value.tobytes().hex()]}
        return self._encode_object(value)

    def _encode_dict(self, value: dict) -> dict:
        if all(type(key) is str for key in value):
            return {"dict": {key: self.encode(item) for key, item in value.items()}}
        return {"items": [[self.encode(key), self.encode(item)] for key, item in value.items()]}

    def _encode_array(self, array: np.ndarray) -> dict:
        if array.dtype.kind == "O":
            return {"objects": self.encode(_objects_apart(array))}
        dtypes.numpy_words(array.dtype)  # refuses what cannot be saved
        if array.size == 0 or array.dtype.itemsize == 0:
            return {"empty": [array.dtype.str, list(array.shape)]}
        if id(array) not in self._places:
            self._places[id(array)] = len(self.arrays)
            self.arrays.append(array)
        return {"array": self._places[id(array)]}

    def _encode_object(self, value: Any) -> dict:
        if value is pd.NA or value is pd.NaT:
            return {"missing": "NA" if value is pd.NA else "NaT"}
        if isinstance(value, np.dtype):
            return {"dtype": dtypes.numpy_words(value)}
        if isinstance(value, pd.api.extensions.ExtensionDtype) and dtypes.MASKED.get(str(value)) == value:
            return {"masked": str(value)}
        if (type(value) if not isinstance(value, type) else value).__module__.startswith("polars."):
            return {"polars": dtypes.polars_words(value)}
        tag = self._tags.get(type(value))
        if tag is not None:
            return {tag: self.encode(self._kinds[tag].apart(value))}
        if isinstance(value, datetime.tzinfo):
            return {"zone": _zone_words(value)}
        if isinstance(value, pd.Index) and not isinstance(value, pd.MultiIndex):
            return {"Index": self.encode(_index_apart(value))}
        raise TypeError(f"a {type(value).__module__}.{type(value).__qualname__} cannot be saved")


def _numpy_scalar(parts: list) -> np.generic:
    dtype, text = np.dtype(parts[0]), bytes.fromhex(parts[1])
    if dtype.kind == "O" or len(text) != dtype.itemsize:
        raise ValueError("a number has another length than its dtype")
    return np.frombuffer(text, dtype)[0] if text else np.zeros(1, dtype)[0]


def _empty(parts: list) -> np.ndarray:
    name, shape = parts
    dtype = np.dtype(name)
    if dtype.kind == "O" or math.prod(shape) * dtype.itemsize:
        raise ValueError("an array is declared empty, and is not")
    return np.empty(shape, dtype)


# of kinds that are met by more than their type, or whose parts are plain
PLAIN: dict[str, Callable[[Any], Any]] = {
    "float": lambda text: {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[text],
    "numpy": _numpy_scalar,
    "empty": _empty,
    "missing": lambda name: {"NA": pd.NA, "NaT": pd.NaT}[name],
    "dtype": np.dtype,
    "masked": lambda name: dtypes.MASKED[name],
    "polars": dtypes.polars_dtype,
    "zone": _zone,
}


class Decoder:
    """Puts values together that `Encoder` took apart; only values of the kinds that are listed here are made."""

    def __init__(self, arrays: list[np.ndarray], more: dict[str, Kind] | None = None):
        self._arrays = arrays
        kinds = KINDS | (more or {})
        self._together = {tag: kind.together for tag, kind in kinds.items()} | {"objects": _objects, "Index": _index}

    def decode(self, content: Any) -> Any:
        if isinstance(content, list):
            return [self.decode(item) for item in content]
        if not isinstance(content, dict):
            return content
        ((tag, parts),) = content.items()
        if tag == "dict":
            return {key: self.decode(item) for key, item in parts.items()}
        if tag == "items":
            return {self.decode(key): self.decode(item) for key, item in parts}
        if tag == "array":
            return self._arrays[parts]
        if tag in PLAIN:
            return PLAIN[tag](parts)
        if tag not in self._together:
            raise ValueError(f"there is no kind of value {str(tag)[:40]!r}")
        return self._together[tag](self.decode(parts))
