"""Whether processes that live through a trial grow."""

from __future__ import annotations

import contextlib
import statistics
from dataclasses import dataclass, field
from typing import NamedTuple

import psutil

from dtf_dask.ha.ledger.history import CHANGES_BYTES_MAX
from dtf_dask.ha.node_storage import HOT_BYTES_MAX

SAMPLES_MIN = 24
"""Of a process that says anything: what has just begun still fills its caches."""
WARM = 0.2
"""That part of its life is not looked at, and what follows is compared to the end."""
MEMORY_MB_MAX, MEMORY_PART_MAX = 16.0, 0.10
"""A process may grow by the larger of these, whatever it lived through."""
NODE_KEEPS_MB = (CHANGES_BYTES_MAX + HOT_BYTES_MAX) / 2**20
"""A node keeps so much of what was written last at hand: that fills, and stays."""
FILES_MAX, THREADS_MAX = 16, 8


class Sample(NamedTuple):
    """Of one process, at one time: its own memory, in MB, open files and threads."""

    memory_mb: float
    files: float
    threads: float


@dataclass(slots=True)
class Growth:
    """Samples of processes, by name and id."""

    samples: dict[str, list[Sample]] = field(default_factory=dict)

    def note(self, name: str, pid: int) -> None:
        """Look at one, if it is there."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            found = Sample(
                process.memory_full_info().uss / 2**20,
                process.num_fds(),
                process.num_threads(),
            )
            self.samples.setdefault(f"{name} {pid}", []).append(found)

    def changes(self) -> dict[str, tuple[int, Sample, Sample]]:
        """By process that lived long enough: how many samples, and from what to what.

        The medians of the fifth that follows the first one, and of the last one.
        """
        return {
            name: (len(some), *_ends(some))
            for name, some in self.samples.items()
            if len(some) >= SAMPLES_MIN
        }

    def broken(self) -> list[str]:
        """What grew by more than it may, in words."""
        return [
            f"{name} grew from {before} to {after}"
            for name, (_, before, after) in self.changes().items()
            if after.memory_mb - before.memory_mb
            > max(MEMORY_MB_MAX, MEMORY_PART_MAX * before.memory_mb)
            + (NODE_KEEPS_MB if name.startswith("node ") else 0.0)
            or after.files - before.files > FILES_MAX
            or after.threads - before.threads > THREADS_MAX
        ]


def _ends(some: list[Sample]) -> tuple[Sample, Sample]:
    part = max(1, int(len(some) * WARM))
    return _median(some[part : 2 * part]), _median(some[-part:])


def _median(some: list[Sample]) -> Sample:
    return Sample(
        *(round(statistics.median(one), 1) for one in zip(*some, strict=True))
    )
