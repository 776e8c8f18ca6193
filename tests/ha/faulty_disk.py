"""A disk in memory that does what disks do at their worst, from a seed.

What was not synced is lost by the sector, or kept, as chance wants it; files end
anywhere between their old and their new end; new names come back or not, in their
order. Bits flip, the disk is full, a sync fails.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from dtf_dask.errors import LedgerFolderError

SECTOR = 512


@dataclass
class Content:
    """A file: what programs see, what is on the disk, which sectors differ."""

    cached: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    dirty: set[int] = field(default_factory=set)


class FaultyFile:
    """A file of a `FaultyDisk`."""

    def __init__(self, disk: FaultyDisk, content: Content) -> None:
        self._disk = disk
        self._content = content

    def write_at(self, offset: int, data: bytes) -> int:
        disk, content = self._disk, self._content
        disk.count("write")
        grows = max(0, offset + len(data) - len(content.cached))
        if grows > disk.room():
            data = data[: max(0, len(data) - grows + disk.room())]
            if not data:
                raise OSError(errno.ENOSPC, "No space left on device")
        if disk.writes_short:
            data = data[: max(1, len(data) // 2)]
        if offset > len(content.cached):
            content.cached.extend(bytes(offset - len(content.cached)))
        content.cached[offset : offset + len(data)] = data
        content.dirty.update(
            range(offset // SECTOR, (offset + len(data) - 1) // SECTOR + 1)
        )
        return len(data)

    def sync(self) -> None:
        self._disk.count("sync")
        self._content.durable = bytearray(self._content.cached)
        self._content.dirty.clear()

    def truncate(self, size: int) -> None:
        self._disk.count("truncate")
        del self._content.cached[size:]
        # Blocks that were freed come back as zeros.
        self._content.durable[size:] = bytes(max(0, len(self._content.durable) - size))

    def close(self) -> None:
        pass


class FaultyDisk:
    """`Files` in memory. ``fails`` names an operation and after how many it fails."""

    def __init__(self) -> None:
        self.names_now: dict[str, Content] = {}
        self._names_durable: dict[str, Content] = {}
        self._pending: list[tuple[str, ...] | tuple[str, str, Content]] = []
        self._locked: set[str] = set()
        self.bytes_max = 2**62
        self.writes_short = False
        self.fails: dict[str, int] = {}

    def room(self, folder: str = "") -> int:
        return self.bytes_max - sum(len(c.cached) for c in [*self.names_now.values()])

    def fill(self, left: int = 0) -> None:
        """There is so much room from now on."""
        self.bytes_max = 2**62
        self.bytes_max -= self.room() - left

    def count(self, operation: str) -> None:
        if operation in self.fails:
            self.fails[operation] -= 1
            if self.fails[operation] < 0:
                raise OSError(errno.EIO, "Input/output error")

    def create(self, path: str) -> FaultyFile:
        self.count("create")
        content = Content()
        self.names_now[path] = content
        self._pending.append(("name", path, content))
        return FaultyFile(self, content)

    def open(self, path: str) -> FaultyFile:
        return FaultyFile(self, self._content(path))

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        end = None if length is None else offset + length
        return bytes(self._content(path).cached[offset:end])

    def size(self, path: str) -> int:
        return len(self._content(path).cached)

    def rename(self, path: str, new: str) -> None:
        self.count("rename")
        content = self.names_now.pop(path)
        self.names_now[new] = content
        self._pending += [("rename", path, new)]

    def remove(self, path: str) -> None:
        self._content(path)
        del self.names_now[path]
        self._pending.append(("remove", path))

    def names(self, folder: str) -> list[str]:
        paths = [*self.names_now]
        return sorted(
            os.path.basename(p) for p in paths if os.path.dirname(p) == folder
        )

    def make_folder(self, folder: str) -> None:
        pass

    def sync_folder(self, folder: str) -> None:
        self.count("sync_folder")
        self._names_durable = dict(self.names_now)
        self._pending.clear()

    def lock(self, path: str) -> Callable[[], None]:
        if path in self._locked:
            raise LedgerFolderError(f"{path} is in use")
        self._locked.add(path)
        return lambda: self._locked.discard(path)

    def crash(self, random: Random) -> None:
        """The machine goes down: the disk is what had come to it."""
        names = dict(self._names_durable)
        for step in self._pending[: random.randint(0, len(self._pending))]:
            if step[0] == "name":
                names[str(step[1])] = step[2]  # type: ignore[index]
            elif step[0] == "rename":
                names[str(step[2])] = names.pop(str(step[1]))  # type: ignore[index]
            else:
                names.pop(str(step[1]), None)
        for content in set(map(id, names.values())):
            one = next(c for c in names.values() if id(c) == content)
            one.cached = _after_crash(one, random)
            one.durable = bytearray(one.cached)
            one.dirty.clear()
        self.names_now = names
        self._names_durable = dict(names)
        self._pending.clear()
        self._locked.clear()
        self.bytes_max = 2**62
        self.fails.clear()

    def flip(self, random: Random, suffix: str = "") -> str:
        """One bit of one file, and where."""
        files = sorted(
            path
            for path, content in self.names_now.items()
            if content.cached and path.endswith(suffix)
        )
        path = random.choice(files)
        content = self.names_now[path]
        at = random.randrange(len(content.cached))
        content.cached[at] ^= 1 << random.randrange(8)
        content.durable = bytearray(content.cached)
        return f"{path}, byte {at}"

    def _content(self, path: str) -> Content:
        if path not in self.names_now:
            raise FileNotFoundError(errno.ENOENT, "No such file", path)
        return self.names_now[path]


def _after_crash(content: Content, random: Random) -> bytearray:
    low, high = sorted((len(content.durable), len(content.cached)))
    # A cut that was not synced may come back, and so may only a part of what was added.
    size = random.choice((len(content.cached), low, high, random.randint(low, high)))
    kept = random.choice((0.0, 0.5, 0.9, 1.0))
    after = bytearray(content.durable[:size].ljust(size, b"\0"))
    for sector in sorted(content.dirty):
        start, end = sector * SECTOR, min((sector + 1) * SECTOR, size)
        if start < end and random.random() < kept:
            new = bytes(content.cached[start:end]).ljust(end - start, b"\0")
            after[start:end] = new
    return after
