"""How the texts of relations write names, numbers and durations, and how they are read."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd


def quoted(name: Any) -> str:
    """A name of a column as relations write it: between backticks, unless it is plain."""
    return str(name) if re.fullmatch(r"[^\W\d][\w.\-]*", str(name)) else f"`{name}`"


def spellings(columns: Iterable) -> dict[str, Any]:
    """Names of columns, by every text that means one."""
    return {form: name for name in columns for form in (quoted(name), str(name), f"`{name}`")}


def columns_named(names: Mapping[str, Any], texts: Iterable[str]) -> list | None:
    """The columns that texts name; None where one names none."""
    columns = [names.get(text.strip()) for text in texts]
    return None if None in columns else columns


def number(text: str) -> Any:
    """A number, or a duration, that a text writes; None of another."""
    text = text.strip()
    for kind in (int, float, pd.Timedelta):
        try:
            return kind(text)
        except ValueError:
            continue
    return None
