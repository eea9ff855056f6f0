"""Paths of files, and how these are written: replaced as a whole, while pipes and the like are written directly."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

PARQUET_ENDINGS = (".parquet", ".pq")
OPEN_FILES = {"/dev/stdout": 1, "/dev/stderr": 2}  # their descriptors; others have names of their number


def open_file(path: str | os.PathLike) -> int | None:
    """The descriptor that a path such as /dev/stdout stands for; None if it is an ordinary path."""
    name = os.path.abspath(path)
    number = re.fullmatch(r"/(?:dev|proc/self)/fd/([0-9]+)", name)
    return int(number[1]) if number else OPEN_FILES.get(name)


def is_replaced(path: str | os.PathLike) -> bool:
    """Whether what is at a path can be replaced: a file, or nothing; no pipe, no device, and nothing that is open."""
    return open_file(path) is None and (os.path.isfile(path) or not os.path.exists(path))


def check_writable(path: str | os.PathLike) -> None:
    """Raise an OSError now if `replacing` would raise one when all is computed."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "It is a folder. Name a file in it", os.fspath(path))
    if not is_replaced(path):
        return
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "No such folder", str(Path(path).parent))
    for one in (target.parent, target):
        if one.exists() and not os.access(one, os.W_OK):
            raise PermissionError(errno.EACCES, "Permission denied", str(one))


def is_parquet(path: str) -> bool:
    """Whether the extension of a path is one of Parquet."""
    return path.lower().endswith(PARQUET_ENDINGS)


def input_name(path: str, what: str = "table") -> str:
    """How a message names an input."""
    return f"The {what} from stdin" if path == "-" else path


def check_parquet() -> None:
    """Raise an ImportError if nothing is installed that reads and writes Parquet."""
    if not any(map(find_spec, ("pyarrow", "fastparquet"))):
        raise ImportError("Parquet files need pyarrow. Install it: pip install pyarrow. Or use CSV.")


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A binary file that takes the place of what is at a path once all is written, and leaves that alone otherwise.

    What is not a file, or is open under a name such as /dev/stdout, is written directly.
    """
    descriptor, target = open_file(path), Path(os.path.realpath(path))
    if not is_replaced(path):
        with open(path if descriptor is None else os.dup(descriptor), "wb") as file:  # of a folder, open says so
            yield file
        return
    beside = target.with_name(f".{target.name[:100]}.{os.urandom(4).hex()}.part")
    try:
        with open(beside, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            os.chmod(beside, target.stat().st_mode & 0o777)
        os.replace(beside, target)
    except FileNotFoundError:
        raise FileNotFoundError(2, "No such folder", str(target.parent)) from None
    finally:
        with suppress(FileNotFoundError):
            os.unlink(beside)
