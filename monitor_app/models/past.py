"""What was to be seen, for who looks back: as much as fits into some memory.

A change is kept packed, and every minute all there is: so a time is made again from the
last whole one before it and what changed since.
"""

from __future__ import annotations

import json
import queue
import threading
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from typing import Any, NamedTuple

from dtf_dask.view.records import Record
from monitor_app.models.picture import Picture

BYTES_MAX = 48 * 2**20
WHOLE_S = 60.0


class _Kept(NamedTuple):
    at: float
    whole: bool
    packed: bytes


class Past:
    """Keeps what it is told, and forgets the oldest."""

    def __init__(self, *, bytes_max: int = BYTES_MAX, whole_s: float = WHOLE_S) -> None:
        self._bytes_max, self._whole_s = bytes_max, whole_s
        self._mutex = threading.Lock()
        self._kept: list[_Kept] = []
        self._bytes = 0
        self._whole_at = 0.0
        self._last_at = 0.0
        # Packing takes a while, and whoever tells must not wait.
        self._told: queue.SimpleQueue[tuple[float, bool, Any] | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._run, name="past", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Keep no more."""
        self._told.put(None)

    def settle(self) -> None:
        """Wait until all that was told is kept: for tests."""
        done = threading.Event()
        self._told.put((0.0, False, done))
        done.wait(60)

    def tell(
        self,
        at: float,
        now: Picture,
        put: Mapping[str, Record],
        gone: frozenset[str],
        *,
        whole: bool,
    ) -> None:
        """At that time this changed; ``now`` is all there is after it."""
        if at < self._last_at:  # another leader's clock, or another cluster's
            whole = whole or at < self._last_at - self._whole_s
            if not whole:
                at = self._last_at
        self._last_at = at
        coordinators = dict(now.coordinators)
        if whole or at - self._whole_at >= self._whole_s:
            self._whole_at = at
            told: dict[str, Any] = {"records": now.records()}
        else:
            told = {"put": dict(put), "gone": [*gone]}
        told["coordinators"] = coordinators
        self._told.put((at, "records" in told, told))

    @property
    def start(self) -> float | None:
        """The oldest time that can be looked at."""
        with self._mutex:
            return self._kept[0].at if self._kept else None

    @property
    def end(self) -> float | None:
        """The newest one."""
        with self._mutex:
            return self._kept[-1].at if self._kept else None

    def step(self, at: float, by: int) -> float | None:
        """The time of the change so many before or after that time."""
        with self._mutex:
            if not self._kept:
                return None
            # Of several changes of one instant all are passed at once.
            if by < 0:
                place = bisect_left(self._kept, at, key=lambda one: one.at) + by
            else:
                place = bisect_right(self._kept, at, key=lambda one: one.at) + by - 1
            return self._kept[min(max(0, place), len(self._kept) - 1)].at

    def picture(self, at: float) -> Picture | None:
        """What was to be seen then; None if nothing of that time is kept."""
        with self._mutex:
            end = bisect_right(self._kept, at, key=lambda one: one.at)
            first = next((n for n in reversed(range(end)) if self._kept[n].whole), None)
            chosen = [] if first is None else self._kept[first:end]
        if not chosen:
            return None
        picture = Picture()
        for one in chosen:
            told = json.loads(zlib.decompress(one.packed))
            if one.whole:
                picture.replace(told["records"])
            else:
                picture.change(told["put"], set(told["gone"]))
            picture.coordinators = told["coordinators"]
            picture.at = one.at
        return picture

    def _run(self) -> None:
        while (told := self._told.get()) is not None:
            at, whole, said = told
            if isinstance(said, threading.Event):
                said.set()
                continue
            packed = zlib.compress(json.dumps(said).encode(), 1)
            with self._mutex:
                if self._kept and at < self._kept[-1].at:
                    self._kept.clear()
                    self._bytes = 0
                self._kept.append(_Kept(at, whole, packed))
                self._bytes += len(packed)
                self._forget()

    def _forget(self) -> None:
        """Forget the oldest, up to the next whole one, while there is too much."""
        while self._bytes > self._bytes_max:
            later = (n for n in range(1, len(self._kept)) if self._kept[n].whole)
            cut = next(later, None)
            if cut is None:
                return
            self._bytes -= sum(len(one.packed) for one in self._kept[:cut])
            del self._kept[:cut]
