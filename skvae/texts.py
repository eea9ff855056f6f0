"""Names and numbers as people read them."""

import math
from collections.abc import Sequence
from typing import Any


def short(name: Any, length: int = 24) -> str:
    """A name on one line, of at most so many characters."""
    text = " ".join(str(name).split())
    text = "".join(character if character.isprintable() else "\ufffd" for character in text)  # a picture is XML
    tail = length // 3  # names often differ in how they end
    return text if len(text) <= length else f"{text[: length - tail - 1]}…{text[-tail:]}"


def short_names(names: Sequence, length: int = 24) -> list[str]:
    """Names short, yet as many different ones as before."""
    for most in (length, 2 * length, 4 * length):
        texts = [short(name, most) for name in names]
        if len(set(texts)) == len(set(map(str, names))):
            break
    return texts


def as_number(value: float) -> str:
    """A number as people write it: three decimals, more if it is small, commas instead if it is large."""
    size = abs(value)
    if math.isnan(value) or size >= 1e15:
        return "–" if math.isnan(value) else f"{value:.3g}"
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{1 - math.floor(math.log10(size))}f}" if 1e-9 < size < 1e-3 else f"{value:.3f}"
