"""The most GPU memory that processes have had, with all that they started.

NVML tells who has how much now, so it is asked again and again by a thread, while there
is somebody to ask for. What ends between two looks is not seen. Where there is no GPU
that is found out once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Container

import psutil

from dtf_dask.worker_plugins.hardware.gpu import GpuProbe
from dtf_dask.worker_plugins.hardware.gpu_use import GpuUse

logger = logging.getLogger(__name__)

PERIOD_S = 0.5
_PROBED_S = 30.0
_ANCESTORS_MAX = 100


class GpuMemory:
    """Of the processes that are watched.

    Parameters
    ----------
    probe
        Makes one, for a thread to look with.
    """

    def __init__(self, probe: Callable[[], GpuProbe] = GpuProbe) -> None:
        self._make_probe = probe
        self._mutex = threading.Lock()
        self._most: dict[int, int] = {}
        self._thread: threading.Thread | None = None
        self._none_here = False

    def watch(self, pid: int) -> None:
        """Look after a process, if it is known, until it is left."""
        if not pid or self._none_here:
            return
        with self._mutex:
            self._most[pid] = 0
            if self._thread is None:
                thread = threading.Thread(
                    target=self._work, name="dtf-gpu-memory", daemon=True
                )
                try:
                    thread.start()
                except RuntimeError:  # there are no more threads: not seen, then
                    return
                self._thread = thread

    def leave(self, pid: int) -> None:
        """Look after it no more."""
        with self._mutex:
            self._most.pop(pid, None)

    def taken(self, pid: int) -> int:
        """The most bytes since it was asked last; 0 if none were seen."""
        with self._mutex:
            most = self._most.get(pid, 0)
            if most:
                self._most[pid] = 0
        return most

    def _work(self) -> None:
        probe, probed_at = self._make_probe(), float("-inf")
        use = GpuUse(probe)
        try:
            while self._watched():
                if time.monotonic() - probed_at > _PROBED_S:
                    probe.facts()
                    probed_at = time.monotonic()
                if not use.there:
                    self._none_here = True
                    return
                self._look(use)
                time.sleep(PERIOD_S)
        except Exception:
            self._none_here = True
            logger.exception("GPU memory of tests is no longer measured here")
        finally:
            probe.close()

    def _watched(self) -> frozenset[int]:
        """Those that are watched; if there are none, the thread is over."""
        with self._mutex:
            if not self._most:
                self._thread = None
            return frozenset(self._most)

    def _look(self, use: GpuUse) -> None:
        found: Counter[int] = Counter()
        with self._mutex:
            watched = frozenset(self._most)
        for pid, size in use.memory_by_process().items():
            root = _ancestor(pid, watched)
            if root:
                found[root] += size
        with self._mutex:
            for root, size in found.items():
                if root in self._most:
                    self._most[root] = max(self._most[root], size)


def _ancestor(pid: int, wanted: Container[int]) -> int:
    """The nearest of some processes from which this one comes, or itself; 0 if none."""
    for _ in range(_ANCESTORS_MAX):
        if pid in wanted:
            return pid
        try:
            pid = psutil.Process(pid).ppid()
        except psutil.Error:
            return 0
        if not pid:
            break
    return 0
