"""Standard input, output and error as commands find them: closed, of a reader that has gone, or of a few letters only.

A search of days does not end because nobody reads its lines any more: what cannot be written is dropped, and said at
the end (`Lines.failed`) unless it is only that the reader has gone (`| head`).
"""

import codecs
import errno
import io
import os
import sys
from typing import Any

__all__ = ["Lines", "output_lost", "settle_streams"]

PLAIN = {"–": "-", "—": "-", "…": "...", "×": "x", "±": "+-", "→": "->", "≠": "!=", "·": ".", "²": "2"}
"""Signs of ours in ASCII."""


class Lines(io.FileIO):
    """The file under a text stream, which goes on when nothing can be written to it any more."""

    failed: OSError | None = None
    """Why; None also where the reader has gone, as `head` does when it has seen enough."""

    def write(self, data: Any, /) -> int:
        """All of it, or from the first trouble on nothing."""
        try:
            return super().write(data) or 0
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EINVAL):  # Windows says EINVAL of a pipe
                self.failed = error
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return len(data)


def settle_streams() -> None:
    """Open what is closed, so that no file of ours gets its number; let the rest go on whatever becomes of it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    codecs.register_error("plain", _plain)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, _lines(number, sys.getfilesystemencoding()))
        elif type(stream) is io.TextIOWrapper and isinstance(getattr(stream.buffer, "raw", stream.buffer), io.FileIO):
            stream.flush()
            setattr(sys, name, _lines(stream.fileno(), stream.encoding))


def output_lost() -> OSError | None:
    """What went wrong with standard output, once all of it is written."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.failed if isinstance(raw, Lines) else None


def _lines(number: int, encoding: str) -> io.TextIOWrapper:
    buffer = io.BufferedWriter(Lines(number, "w", closefd=False))
    return io.TextIOWrapper(buffer, encoding=encoding, errors="plain", line_buffering=True)


def _plain(error: UnicodeError) -> tuple[str, int]:
    """What an encoding lacks, in signs that every one has."""
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    return "".join(PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lacking), error.end
