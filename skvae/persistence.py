"""What files hold of fitted objects: their fields by name, as plain values and arrays. Knows no estimator; no torch."""

from typing import Any

import numpy as np

FORMAT = 1  # of what pickles hold; raised whenever a name or a meaning changes
CLASSES: dict[str, type] = {}


class Saved:
    """What a file holds by the name of its class and the names of its fields.

    So a pickle does not depend on the modules that classes live in, and says of every value what it is. Attributes that
    begin with an underscore are caches, and are left out.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        CLASSES[cls.__name__] = cls


def to_fields(value: Any) -> Any:
    """A `Saved` object, or lists, tuples and dicts of them, as dicts of named fields."""
    if isinstance(value, Saved):
        fields = {name: to_fields(field) for name, field in vars(value).items() if not name.startswith("_")}
        return {"class": type(value).__name__, "fields": fields}
    if isinstance(value, dict):
        inner = {key: to_fields(item) for key, item in value.items()}
        return {"class": "dict", "fields": inner} if set(inner) == {"class", "fields"} else inner  # columns of these names
    if type(value) in (list, tuple):
        return type(value)(map(to_fields, value))
    return value


def from_fields(value: Any) -> Any:
    """What `to_fields` was given."""
    if isinstance(value, dict) and set(value) == {"class", "fields"}:
        if value["class"] == "dict":
            return {name: from_fields(field) for name, field in value["fields"].items()}
        cls = CLASSES[value["class"]]
        restored: Any = object.__new__(cls)
        restored.__dict__.update({name: from_fields(field) for name, field in value["fields"].items()})
        return restored
    if isinstance(value, dict):
        return {key: from_fields(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(from_fields, value))
    return value


def stream_state(stream: np.random.RandomState) -> dict:
    """A random stream as plain values and an array."""
    return stream.get_state(legacy=False)


def stream_from(state: dict) -> np.random.RandomState:
    """The stream of a state, wherever it had come to. Refuses a place that numpy would read beyond its numbers at."""
    name, inner = state["bit_generator"], state["state"]
    if name not in ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"):
        raise ValueError(f"no random stream has the name {name!r}")
    if name == "MT19937" and not (type(inner["pos"]) is int and 0 <= inner["pos"] <= 624 and len(inner["key"]) == 624):
        raise ValueError("a random stream is at no place of it")
    if name == "Philox" and not 0 <= inner.get("buffer_pos", state.get("buffer_pos", 0)) <= 4:
        raise ValueError("a random stream is at no place of it")
    stream = np.random.RandomState(getattr(np.random, name)(0))
    stream.set_state(state)
    return stream


def check_format(state: dict) -> None:
    """Refuse the state of an estimator that another format wrote, and say what to do."""
    found, version = state.get("format"), state.get("version", "0.1")
    if found == FORMAT:
        return
    if found is None or found < FORMAT:
        raise ValueError(
            f"This VAETransformer was pickled by skvae {version}, whose pickles this version cannot read. "
            "Fit it again, or open it with the version that wrote it."
        )
    raise ValueError(
        f"This VAETransformer was pickled by skvae {version}, in format {found}, newer than the format {FORMAT} that this "
        f"version reads. Install skvae {version} or newer."
    )
