"""The streams of a command: one line of status and messages on stderr, and results on stdout."""

import errno
import os
import sys
from contextlib import suppress
from typing import TextIO

ERASE = "\r\x1b[K"


def on_a_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


class StatusLine:
    """A line on stderr that says what is being done; on a terminal only. Whatever else is written erases it."""

    shown = False

    def show(self, text: str) -> None:
        if on_a_terminal():
            sys.stderr.write(ERASE + text[: _width() - 1])
            sys.stderr.flush()
            self.shown = True

    def erase(self) -> None:
        if self.shown:
            sys.stderr.write(ERASE)
            sys.stderr.flush()
            self.shown = False


status = StatusLine()


def _width() -> int:
    with suppress(OSError):
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    return 80


def tell(message: str) -> None:
    """Write a message as one line on stderr."""
    status.erase()
    if sys.stderr is not None:  # it is None if it was closed before Python started, as stdout and stdin are
        print(f"skvae: {' '.join(message.split())}", file=sys.stderr)


def output() -> TextIO:
    """Where results are written if no file is named."""
    status.erase()
    return _opened(sys.stdout, "stdout")


def source() -> TextIO:
    """Where tables are read from if no file is named."""
    return _opened(sys.stdin, "stdin")


def _opened(stream: TextIO | None, name: str) -> TextIO:
    if stream is None:
        raise OSError(errno.EBADF, "It is closed", name)
    return stream
