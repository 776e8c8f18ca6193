"""Writing a report to a file or to standard output."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from dtf_dask.errors import UsageError


def _encoded(pieces: Iterable[str]) -> Iterator[bytes]:
    # Lone surrogates have no UTF-8: they are shown as escapes.
    return (piece.encode("utf-8", "backslashreplace") for piece in pieces)


def write_out(pieces: Iterable[str]) -> None:
    """Write a report to standard output, as UTF-8 whatever the locale says."""
    stream = sys.stdout.buffer
    for piece in _encoded(pieces):
        stream.write(piece)
    stream.flush()


def write_file(path: Path, pieces: Iterable[str]) -> int:
    """Write all or nothing: a CI job must not pick up half a report."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    written = 0
    try:
        with open(partial, "wb") as file:
            for piece in _encoded(pieces):
                written += file.write(piece)
        os.replace(partial, path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        partial.unlink(missing_ok=True)
    return written
