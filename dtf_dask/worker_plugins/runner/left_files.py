"""The files that the tests of a run left on a worker, in pieces for its driver."""

from __future__ import annotations

import asyncio
import os
import re
import stat
from pathlib import Path

_PIECE_BYTES_MAX = 4 * 2**20
_NAME = re.compile(r"[0-9a-f]{32}(\.txt)?")
_REMEMBERED_MAX = 10_000  # files that were read to their end


class LeftFiles:
    """What is in a folder, each file until it was read.

    Parameters
    ----------
    folder
        Is made.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self._read_up: dict[str, None] = {}

    async def piece(self, name: str, offset: int) -> bytes:
        """What comes after a place; the file goes when its end was read.

        Who asks for the end again, having had no answer, has it again.

        Raises
        ------
        ValueError
            There is no such file, or place.
        OSError
            It cannot be read.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"no such file of this run: {name!r:.100}")
        if not isinstance(offset, int) or not 0 <= offset < 2**62:
            raise ValueError(f"no such place in a file: {offset!r:.100}")
        if name in self._read_up:
            return b""
        piece = await asyncio.to_thread(_read_piece, self.folder / name, offset)
        if not piece:
            self._read_up[name] = None
            while len(self._read_up) > _REMEMBERED_MAX:
                del self._read_up[next(iter(self._read_up))]
        return piece


def _read_piece(path: Path, offset: int) -> bytes:
    # A test can put anything into the folder: a link or a pipe is no file of ours.
    number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise ValueError(f"no such file of this run: {path.name!r}")
        piece = os.pread(number, _PIECE_BYTES_MAX, offset)
    finally:
        os.close(number)
    if not piece:
        path.unlink(missing_ok=True)
    return piece
