"""Files that a runner opens for its child, and reads when the child is dead."""

from __future__ import annotations

import os
import tempfile
from typing import IO, Any

_TAIL_BYTES = 64 * 1024
_NAMES = ("out", "err", "stacks")


class Leftovers:
    """Standard output, standard error, and the stacks of a child that hung."""

    def __init__(self) -> None:
        self._files: list[IO[bytes]] = []

    def open(self) -> None:
        self._files = [
            tempfile.TemporaryFile(prefix=f"dtf-{name}-")  # noqa: SIM115
            for name in _NAMES
        ]

    def numbers(self) -> list[int]:
        """File descriptors, in the order out, err, stacks."""
        return [file.fileno() for file in self._files]

    def read(self) -> dict[str, Any]:
        """The tail of each, as text."""
        return {
            name: tail(file.fileno())
            for name, file in zip(_NAMES, self._files, strict=True)
        }

    def close(self) -> None:
        for file in self._files:
            file.close()


def tail(number: int) -> str:
    """The last of a file, by its descriptor; the shared offset stays where it is."""
    size = os.fstat(number).st_size
    start = max(0, size - _TAIL_BYTES)
    text = os.pread(number, _TAIL_BYTES, start).decode("utf-8", "replace")
    return f"[... {start} bytes before ...]\n{text}" if start else text
