"""One run on one Dask worker: its runners by slot, its batches, its files."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from distributed import Worker

from dtf_dask.frames import pack
from dtf_dask.worker_plugins.hardware.gpu_memory import GpuMemory
from dtf_dask.worker_plugins.runner.checkpoint import VARIABLE as CHECKPOINTS
from dtf_dask.worker_plugins.runner.kept_events import KeptEvents
from dtf_dask.worker_plugins.runner.kept_reports import forget, kept
from dtf_dask.worker_plugins.runner.left_files import LeftFiles
from dtf_dask.worker_plugins.runner.process import (
    RunnerLink,
    RunnerLostError,
    obtain_runner,
)
from dtf_dask.worker_plugins.runner.slots import Slots
from dtf_dask.worker_plugins.runner.topics import topic
from dtf_dask.worker_plugins.runner.written import TOLD, Asking

_GPU_MEMORY = GpuMemory()  # of all runs in this process
_CRASH_LIMIT = 3  # where the client names none
_CRASH_LIMIT_MAX = 1000
_FRAME_BYTES_MAX = 64 * 2**20  # of one frame that goes on to the scheduler
_OVER_MAX = 10_000  # batches that are remembered as over
_PREEMPT_GRACE_S_MAX = 60.0


class WorkerRun:
    """Runs the batches of one run, one at a time a slot, each on any that is free.

    Parameters
    ----------
    worker
        Its event log carries the frames.
    spec
        For the runners; see `PytestSession` and `CaseSession`. ``crash_limit`` is ours:
        how often a runner may die in one batch with no test ended in between.
    release
        Gives back the run's code; None if that is not ours.
    """

    def __init__(
        self,
        worker: Worker,
        spec: dict[str, Any],
        release: Callable[[], None] | None,
    ) -> None:
        self._worker = worker
        self._release = release
        self._topic = topic(spec["run"])
        self._crash_limit = _crash_limit(spec)
        self._preempt_grace_s = _preempt_grace_s(spec)
        # Dask clears what the folder of a dead worker held.
        parent = worker.local_directory
        self._folder = Path(tempfile.mkdtemp(prefix="dtf-run-", dir=parent))
        self._files = LeftFiles(self._folder / "files")
        # Where an event cannot be lost (one process is the cluster) none is kept.
        self._events = KeptEvents(self._folder) if spec.get("keep_events") else None
        self._spec = spec | {"home": str(self._folder)}
        self._env = {CHECKPOINTS: _checkpoints(spec, self._folder)}
        self._runners: dict[str, RunnerLink] = {}
        self._slots = Slots()
        self._left: dict[int, list[Any]] = {}  # of batches that have begun
        self._conversing: dict[int, RunnerLink] = {}
        self._over: dict[int, None] = {}
        self._asked: dict[int, asyncio.Future[list[int]]] = {}
        self._asking = Asking()
        self._revoked: dict[int, set[int]] = {}
        self._given: dict[int, set[int]] = {}  # what was taken back, for who asks again
        self._unwanted: set[int] = set()
        self._ended = False
        self._used()
        self._batches = 0  # running, or waiting for their turn

    @property
    def said(self) -> dict[str, Any]:
        """What a driver is told that opens it: the stream of its events, if any."""
        return {} if self._events is None else {"stream": self._events.stream}

    def idle_s(self) -> float:
        """How long nobody has asked for anything; 0 while a batch is here."""
        return 0.0 if self._batches else time.monotonic() - self._used_at

    def unasked_s(self, passed_s: float) -> float:
        """For how long its driver, who could, has not asked what there is to hear.

        Such time is counted here as it passes. Where no event is lost nobody asks.
        """
        if self._events is None or self._batches:
            self._unasked_s = 0.0
        else:
            self._unasked_s += passed_s
        return self._unasked_s

    def _used(self) -> None:
        self._used_at, self._unasked_s = time.monotonic(), 0.0

    # -- batches ------------------------------------

    async def run_batch(
        self,
        slot: str,
        batch: int,
        entries: list[Any],
        env: dict[str, str],
        only_there: bool = False,
    ) -> None:
        """Run a batch on its slot, or on another one that is free before it is.

        ``env`` is what its processes get; ``only_there``: no other slot will do.
        One that was here already, and was given up, is not run again: its driver
        plans anew what was not run of it.
        """
        if batch in self._over:
            return
        self._batches += 1
        try:
            slot = await self._slot(slot, batch, only_there)
            try:
                await self._run_in_turn(slot, batch, entries, env)
            finally:
                self._slots.leave(slot)
        finally:
            self._batches -= 1
            self._used()
            self._over[batch] = None
            while len(self._over) > _OVER_MAX:
                oldest = next(iter(self._over))
                del self._over[oldest]
                self._given.pop(oldest, None)
            self._left.pop(batch, None)
            self._revoked.pop(batch, None)
            self._unwanted.discard(batch)
        self._forward(slot, batch, pack({"op": "batch_over"}))

    async def _slot(self, own: str, batch: int, only_own: bool) -> str:
        """The slot that it may have; its runner is the one that is there then."""
        got = asyncio.get_running_loop().create_future()
        self._slots.ask(batch, own, got.set_result, only_own=only_own)
        try:
            return str(await asyncio.shield(got))
        except BaseException:
            self._slots.give_up(batch)
            if got.done():  # it was given just before
                self._slots.leave(got.result())
            raise

    async def _run_in_turn(
        self, slot: str, batch: int, entries: list[Any], env: dict[str, str]
    ) -> None:
        deaths = 0
        left = self._left[batch] = list(entries)
        while not self._ended and batch not in self._unwanted:
            gone = self._revoked.pop(batch, set())
            left[:] = [entry for entry in left if entry[0] not in gone]
            if not left:
                return
            before = len(left)
            try:
                link = self._conversing[batch] = await self._link(slot)
                _GPU_MEMORY.watch(link.pid)
                try:
                    await self._converse(link, slot, batch, left, env)
                finally:
                    _GPU_MEMORY.leave(link.pid)
                return
            except RunnerLostError as error:
                await self._drop_runner(slot)
                await self._tell_kept(slot, batch, left)
                if self._ended or not left:
                    return
                deaths = 1 if len(left) < before else deaths + 1
                frame = {"op": "crash", "i": left[0][0], "lost": True}
                self._forward(slot, batch, pack(frame | {"cause": str(error)}))
                if deaths >= self._crash_limit:
                    return
                del left[0]
            except BaseException:
                # In the middle of a batch: the next would read what is left of it.
                await self._drop_runner(slot)
                raise
            finally:
                self._conversing.pop(batch, None)
                self._answer(batch, [])

    async def _converse(
        self,
        link: RunnerLink,
        slot: str,
        batch: int,
        left: list[Any],
        env: dict[str, str],
    ) -> None:
        """Send a batch, forward what comes; ``left`` shrinks as tests end."""
        request: dict[str, Any] = {"op": "batch", "entries": left}
        forget(self._kept(slot))
        request |= {"spill": str(self._files.folder), "keep": str(self._kept(slot))}
        link.send(request | {"env": self._env | env})
        held = bytearray()
        async for raw, frame in link.frames():
            op = frame["op"]
            if op in ("case", "crash"):
                _drop(left, frame["i"])
                if most := _GPU_MEMORY.taken(link.pid):
                    raw = pack(frame | {"gpu_memory": most})
            if op == TOLD:
                self._asking.told(batch, frame)
            elif op == "revoked":
                numbers = set(frame["numbers"])
                left[:] = [entry for entry in left if entry[0] not in numbers]
                self._answer(batch, frame["numbers"])
            elif op != "hello":
                held += raw if len(raw) <= _FRAME_BYTES_MAX else _too_long(frame, raw)
            if op == "batch_end" or not link.pending():
                self._forward(slot, batch, bytes(held))
                held.clear()
            if op == "batch_end":
                return
            if op == "unusable":
                left.clear()
                raise RunnerLostError("it could not collect the suite")

    def _kept(self, slot: str) -> Path:
        return self._folder / f"{slot}.reports"

    async def _tell_kept(self, slot: str, batch: int, left: list[Any]) -> None:
        """Forward what a dead runner had not passed on; ``left`` shrinks by it."""
        numbers = {entry[0] for entry in left}
        for number, raw in await asyncio.to_thread(kept, self._kept(slot)):
            if number in numbers:
                numbers.discard(number)
                _drop(left, number)
                self._forward(slot, batch, raw)

    async def _link(self, slot: str) -> RunnerLink:
        link = self._runners.get(slot)
        if link is None:
            link = await obtain_runner(self._spec | {"slot": slot})
            if self._ended:  # closed meanwhile
                await link.kill()
                raise RunnerLostError("the run was closed")
            self._runners[slot] = link
        return link

    async def _drop_runner(self, slot: str) -> None:
        link = self._runners.pop(slot, None)
        if link is not None:
            await link.kill()

    def _forward(self, slot: str, batch: int, packed: bytes) -> None:
        if not packed:
            return
        if self._events is not None:
            event = self._events.put(slot, batch, packed)
        else:
            event = {"slot": slot, "batch": batch, "frames": packed}
        self._worker.log_event(self._topic, event)

    def heard(self, upto: int) -> None:
        """The driver has all events up to this number."""
        if self._events is not None:
            self._events.heard(upto)

    async def events(self, stream: str, after: int) -> dict[str, Any]:
        """The events after a number, which the driver has all up to."""
        self._used()
        if self._events is None or stream != self._events.stream:
            return {"stream": ""}
        self._events.heard(after)
        return self._events.after(after)

    # -- what the driver asks meanwhile ------------------------------------

    async def revoke(self, batch: int, numbers: list[int]) -> list[int]:
        """Take tests back; the numbers that surely are not and will not be run.

        Who asks again, having had no answer, is told of those given before, too.
        """
        given = self._given.setdefault(batch, set())
        given.update(await self._revoke(batch, numbers))
        return [number for number in numbers if number in given]

    async def _revoke(self, batch: int, numbers: list[int]) -> list[int]:
        if batch in self._asked:  # one question at a time
            return await asyncio.shield(self._asked[batch])
        if batch in self._over:
            return []  # too late
        link = self._conversing.get(batch)
        if link is None:
            if batch in self._left:  # between two runners
                here = {entry[0] for entry in self._left[batch]}
                numbers = [number for number in numbers if number in here]
            self._revoked.setdefault(batch, set()).update(numbers)
            return numbers  # not begun: it will find them gone
        future = self._asked[batch] = asyncio.get_running_loop().create_future()
        link.send({"op": "revoke", "numbers": numbers})
        return await asyncio.shield(future)

    def _answer(self, batch: int, numbers: list[int]) -> None:
        future = self._asked.pop(batch, None)
        if future is not None and not future.done():
            future.set_result(numbers)

    async def tail(self, case: str) -> list[dict[str, Any]]:
        """What a case has written so far, wherever it runs here."""
        return await self._asking.of(case, self._conversing, self._left)

    def give_up(self, batch: int) -> None:
        """Kill what runs of a batch; the driver hears what of it was not run.

        A test that registered for it is told before, and has a moment.
        """
        link = self._conversing.get(batch)
        if link is not None:
            link.send({"op": "preempt", "wait_s": self._preempt_grace_s})
        elif batch not in self._over:  # it waits for its slot, or for a runner
            self._unwanted.add(batch)

    def cancel(self) -> None:
        """Kill what runs, and begin nothing more."""
        self._ended = True
        for link in self._runners.values():
            link.send({"op": "kill"})

    async def blob(self, name: str, offset: int) -> bytes:
        """A piece of a file that a test left; see `LeftFiles`."""
        self._used()
        return await self._files.piece(name, offset)

    async def close(self) -> None:
        self._ended = True
        for batch in list(self._asked):
            self._answer(batch, [])
        links, self._runners = list(self._runners.values()), {}
        await asyncio.gather(*(link.close() for link in links), return_exceptions=True)
        if self._events is not None:
            self._events.close()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        if self._release is not None:
            await asyncio.to_thread(self._release)


def _crash_limit(spec: dict[str, Any]) -> int:
    wish = spec.get("crash_limit")
    if type(wish) is not int:
        return _CRASH_LIMIT
    return min(max(wish, 1), _CRASH_LIMIT_MAX)


def _preempt_grace_s(spec: dict[str, Any]) -> float:
    wish = spec.get("preempt_grace_s", 0.0)
    if isinstance(wish, bool) or not isinstance(wish, int | float):
        return 0.0
    return min(max(float(wish), 0.0), _PREEMPT_GRACE_S_MAX)


def _checkpoints(spec: dict[str, Any], folder: Path) -> str:
    """Where the cases of a run keep what their later attempts go on with."""
    shared = spec.get("checkpoints")
    if not isinstance(shared, str) or not shared:
        return str(folder / "checkpoints")
    return os.path.join(shared, re.sub(r"[^A-Za-z0-9_-]", "_", str(spec["run"])))


def _drop(entries: list[Any], number: int) -> None:
    for position, entry in enumerate(entries):
        if entry[0] == number:
            del entries[position]
            return


def _too_long(frame: dict[str, Any], raw: bytes) -> bytes:
    """What stands for a frame that is too long for the scheduler to carry."""
    if frame["op"] != "case":
        return b""
    cause = f"its report has {len(raw)} bytes; the limit is {_FRAME_BYTES_MAX}"
    return pack({"op": "crash", "i": frame["i"], "cause": cause})
