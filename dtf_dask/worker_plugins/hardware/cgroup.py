"""What a container or service may use: the limits of its control groups (Linux).

A limit holds for a group and all below it, so the least one on the way from the
process's own group to the root counts. Both versions of the interface are read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
_LEVELS_MAX = 32
# What version 1 says where there is no limit: a number of pages near 2**63.
_NO_LIMIT = 2**60


def memory_limit(root: Path = _ROOT, membership: Path = _MEMBERSHIP) -> int | None:
    """Bytes that the process's groups may use together; None for no limit."""
    limits = [
        int(text)
        for folder in _folders("memory", root, membership)
        for name in ("memory.max", "memory.limit_in_bytes")
        if (text := _read(folder / name)).isdecimal()
    ]
    return min((limit for limit in limits if 0 < limit < _NO_LIMIT), default=None)


def cpu_limit(root: Path = _ROOT, membership: Path = _MEMBERSHIP) -> float | None:
    """Processors' worth of time that the groups have; None for no limit."""
    limits = []
    for folder in _folders("cpu", root, membership):
        words = _read(folder / "cpu.max").split() or [
            _read(folder / "cpu.cfs_quota_us"),
            _read(folder / "cpu.cfs_period_us"),
        ]
        if len(words) == 2 and all(word.isdecimal() for word in words):
            quota, period = map(int, words)
            if quota > 0 and period > 0:
                limits.append(quota / period)
    return min(limits, default=None)


def _folders(controller: str, root: Path, membership: Path) -> Iterator[Path]:
    """The process's group and those above it, as far as they can be seen from here."""
    for line in _read(membership).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            base = root
        elif controller in controllers.split(","):
            base = (
                root / controllers
                if (root / controllers).is_dir()
                else (root / controller)
            )
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", "..", ".")]
        parts = parts[:_LEVELS_MAX]
        for depth in range(len(parts), -1, -1):
            # In a container the path may be the host's: what is not there says nothing.
            folder = base.joinpath(*parts[:depth])
            if folder.is_dir():
                yield folder


def _read(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return os.fsdecode(file.read(65536)).strip()
    except OSError:
        return ""
