"""Bytes of a file: a plain description and arrays, with a checksum and every size declared. Runs nothing; needs no torch.

The parts of a file, one after the other:

- MAGIC (8 bytes), the format of the layout (4 bytes), SHA-256 of all that follows (32 bytes);
- the length of the description as it is stored, and when it is inflated (8 bytes each); whole numbers begin with the least
  byte;
- the description: deflated JSON, {"arrays": [...], "content": ...}; each array has "dtype", "shape" and "stored", its length
  in the file;
- the arrays, in that order: their bytes by place (the first byte of every number, then the second, ...), deflated; or as
  they are in memory, where that is no longer.
"""

import hashlib
import json
import math
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

MAGIC = b"\x93skvae\r\n"  # no text begins like this, and what changes the ends of lines changes it
LAYOUT = 1  # raised when an older version could not read what is written
HEADER = struct.Struct("<8sI32sQQ")
SEALED = 44  # the checksum covers what follows it, the lengths included
MOST_INFLATED = 1032  # bytes that one deflated byte can stand for, at most
KINDS_OF_ARRAYS = "biufcmMSU"


class Unreadable(Exception):
    """Why bytes are not a file of `skvae.save`. The message continues a sentence that starts with the file name."""


def pack_archive(content: Any, arrays: Sequence[np.ndarray]) -> bytes:
    """One file: content is what JSON can hold."""
    stored = [_deflated(array) for array in arrays]
    entries = [
        {"dtype": array.dtype.str, "shape": list(array.shape), "stored": len(data)}
        for array, data in zip(arrays, stored, strict=True)
    ]
    description = {"arrays": entries, "content": content}
    text = json.dumps(description, allow_nan=False, separators=(",", ":")).encode("ascii")
    deflated = zlib.compress(text, 6)
    body = struct.pack("<QQ", len(deflated), len(text)) + deflated + b"".join(stored)
    return HEADER.pack(MAGIC, LAYOUT, hashlib.sha256(body).digest(), 0, 0)[:SEALED] + body


def unpack_archive(data: bytes) -> tuple[Any, list[np.ndarray]]:
    """What `pack_archive` was given. Raises Unreadable for anything else, before memory is taken for what is declared."""
    n_deflated, n_inflated = _checked_header(data)
    deflated = memoryview(data)[HEADER.size : HEADER.size + n_deflated]
    if len(deflated) != n_deflated:
        raise Unreadable("is damaged: its description is cut off")
    try:
        description = json.loads(_inflated(deflated, n_inflated))
        entries, content = description["arrays"], description["content"]
        sizes = [_checked_entry(entry) for entry in entries]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Unreadable(f"is damaged: its description cannot be read ({_words_of(error)})") from None
    if HEADER.size + n_deflated + sum(stored for *_, stored in sizes) != len(data):
        raise Unreadable("is damaged: the lengths of its arrays differ from the declared ones")
    arrays, at = [], HEADER.size + n_deflated
    for dtype, shape, stored in sizes:
        arrays.append(_array(memoryview(data)[at : at + stored], dtype, shape))
        at += stored
    return content, arrays


def _checked_header(data: bytes) -> tuple[int, int]:
    """The lengths of the description, after what comes first was found in order."""
    if data[: len(MAGIC)] != MAGIC[: len(data)] or not data:
        pickled = ": it looks like a pickle. Load it with joblib.load or pickle.load if you trust its author"
        reason = pickled if data[:1] == b"\x80" else "" if data else ": it is empty"
        raise Unreadable(f"was not written by skvae.save{reason}")
    if len(data) < HEADER.size:
        raise Unreadable("is damaged: it ends within its header")
    _, layout, checksum, n_deflated, n_inflated = HEADER.unpack_from(data)
    if layout != LAYOUT:
        raise Unreadable(
            f"has file layout {layout}, but this version of skvae reads layout {LAYOUT}. Install a newer version"
        )
    if hashlib.sha256(memoryview(data)[SEALED:]).digest() != checksum:
        raise Unreadable("is damaged: its checksum does not match its content")
    return n_deflated, n_inflated


def _checked_entry(entry: dict) -> tuple[np.dtype, tuple[int, ...], int]:
    """Dtype, shape and stored length of an array, of which no length is beyond what it may be."""
    name, shape, stored = entry["dtype"], entry["shape"], entry["stored"]
    if not isinstance(name, str) or not all(type(size) is int and size >= 0 for size in [*shape, stored]):
        raise ValueError("an array has no sizes")
    dtype = np.dtype(name)
    if dtype.kind not in KINDS_OF_ARRAYS or dtype.itemsize == 0 or len(shape) > 32:
        raise ValueError(f"an array has dtype {name[:20]}")
    if math.prod(shape) * dtype.itemsize > MOST_INFLATED * stored:
        raise ValueError("the declared size of an array is larger than its bytes can hold")
    return dtype, tuple(shape), stored


def _deflated(array: np.ndarray) -> bytes:
    raw = array.tobytes()
    by_place = np.frombuffer(raw, np.uint8).reshape(-1, array.dtype.itemsize).T.tobytes()
    deflated = zlib.compress(by_place, 6)
    return deflated if len(deflated) < len(raw) else raw


def _inflated(data: memoryview, size: int) -> bytes:
    """Deflated bytes, which must be of a size."""
    if size > MOST_INFLATED * len(data):
        raise ValueError("its declared size is larger than its bytes can hold")
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(data, size + 1)
    except zlib.error:
        raise ValueError("it cannot be inflated") from None
    if len(inflated) != size or not inflater.eof or inflater.unused_data:
        raise ValueError("its length differs from the declared one")
    return inflated


def _array(data: memoryview, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """An array that may be written to."""
    size = math.prod(shape) * dtype.itemsize
    if len(data) == size:
        return np.frombuffer(bytearray(data), dtype).reshape(shape)
    try:
        by_place = _inflated(data, size)
    except ValueError as error:
        raise Unreadable(f"is damaged: one of its arrays is wrong ({error})") from None
    raw = np.frombuffer(by_place, np.uint8).reshape(dtype.itemsize, -1).T.copy()
    return raw.reshape(-1).view(dtype).reshape(shape)


def _words_of(error: BaseException) -> str:
    """An error in one short line."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:100]
