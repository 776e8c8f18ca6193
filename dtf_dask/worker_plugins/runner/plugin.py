"""The worker plugin that runs batches: thin, between Dask and the runner processes."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from distributed import Status, Worker, WorkerPlugin, get_worker

from dtf_dask import __version__, environment_facts
from dtf_dask.errors import DtfError
from dtf_dask.frames import pack
from dtf_dask.snapshot_manifest import Manifest
from dtf_dask.worker_plugins.runner.process import (
    RunnerLink,
    RunnerLostError,
    obtain_runner,
)
from dtf_dask.worker_plugins.snapshots import SnapshotStore

NAME = "dtf-runner"
_RUNNER_DEATHS_MAX = 3  # in one batch, with no test ended in between
_RUNS_MAX = 16
_BLOB_BYTES_MAX = 4 * 2**20
_SNAPSHOT_BYTES_MAX = 8 * 2**30


_RUNS: WeakKeyDictionary[Worker, dict[str, _RunOnWorker]] = WeakKeyDictionary()


def topic(run_id: str) -> str:
    """The Dask topic that carries a run's frames to its client."""
    return f"dtf-run-{run_id}"


class RunnerPlugin(WorkerPlugin):
    """Owns the runner processes of one Dask worker, by run and slot.

    Messages it answers are plain values (nothing is unpickled): ``dtf_open``,
    ``dtf_put``, ``dtf_revoke``, ``dtf_cancel``, ``dtf_blob``, ``dtf_close``.
    """

    name = NAME
    idempotent = True

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._store: SnapshotStore | None = None
        self._runs: dict[str, _RunOnWorker] = {}

    def __reduce__(self) -> Any:
        return RunnerPlugin, ()  # sent to workers new, whatever has happened here

    def setup(self, worker: Worker) -> None:
        self._worker = worker
        # Dask replaces a plugin when a client registers it again: runs go on.
        self._runs = _RUNS.setdefault(worker, self._runs)
        worker.handlers.update(
            {
                "dtf_open": self.open,
                "dtf_put": self.put,
                "dtf_revoke": self.revoke,
                "dtf_cancel": self.cancel,
                "dtf_blob": self.blob,
                "dtf_close": self.close,
            }
        )

    async def teardown(self, worker: Worker) -> None:
        if worker.status in (Status.running, Status.paused):
            return
        for run_id in list(self._runs):
            await self.close(run=run_id)
        if self._store is not None:
            self._store.close()

    async def open(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Make ready for a run.

        Returns ``{"ok": True}``, with ``"facts"`` if they were asked for;
        ``{"missing": [...]}``, digests to `put` before asking again; or ``{"error"}``.
        """
        if spec["version"] != __version__:
            return {"error": "version", "version": __version__}
        if spec["run"] in self._runs:
            return {"ok": True}
        if len(self._runs) >= _RUNS_MAX:
            return {"error": f"{_RUNS_MAX} runs are open here already"}
        answer: dict[str, Any] = {"ok": True}
        release = None
        if "snapshot" in spec:
            try:
                ready = await asyncio.to_thread(self._unpack, spec.pop("snapshot"))
            except (DtfError, OSError) as error:
                return {"error": str(error)}
            if isinstance(ready, list):
                return {"missing": ready}
            spec["root"], release = ready
        if spec.pop("facts", False):
            answer["facts"] = await asyncio.to_thread(environment_facts.facts)
        self._runs[spec["run"]] = _RunOnWorker(self._worker, spec, release)
        return answer

    async def put(self, parts: list[list[Any]]) -> dict[str, Any]:
        """Take pieces of contents that `open` called missing."""
        try:
            for part in parts:
                await asyncio.to_thread(self._snapshots().add, *part)
        except (DtfError, OSError) as error:
            return {"error": str(error)}
        return {"ok": True}

    def _unpack(self, encoded: bytes) -> list[str] | tuple[str, Callable[[], None]]:
        """What is missing of a snapshot; or its folder, and how to give it back."""
        store, manifest = self._snapshots(), Manifest.from_bytes(encoded)
        missing = store.missing(manifest)
        if missing:
            return missing
        root = store.unpack(manifest)
        return str(root), lambda: store.release(manifest)

    def _snapshots(self) -> SnapshotStore:
        with self._mutex:
            if self._store is None:
                folder = Path(tempfile.gettempdir()) / f"dtf-snapshots-{os.getuid()}"
                self._store = SnapshotStore(folder, limit_bytes=_SNAPSHOT_BYTES_MAX)
            return self._store

    async def run_batch(
        self, run_id: str, slot: str, batch: int, entries: list[Any]
    ) -> None:
        run = self._runs.get(run_id)
        if run is None:
            raise LookupError(f"run {run_id} is not open on {self._worker.address}")
        await run.run_batch(slot, batch, entries)

    async def revoke(self, run: str, slot: str, batch: int, numbers: list[int]) -> Any:
        """Take tests back from a batch; the numbers that surely are not run here."""
        if run not in self._runs:
            return []
        return await self._runs[run].revoke(slot, batch, numbers)

    async def cancel(self, run: str) -> None:
        """Kill what runs of this run, now."""
        if run in self._runs:
            self._runs[run].cancel()

    async def blob(self, run: str, name: str, offset: int) -> bytes:
        """A piece of a file that a test left over its inline limit."""
        return self._runs[run].blob(name, offset)

    async def close(self, run: str) -> None:
        """End the run's runners and drop its files."""
        opened = self._runs.pop(run, None)
        if opened is not None:
            await opened.close()


async def run_batch(
    run_id: str, slot: str, batch: int, entries: list[Any]
) -> None:  # the function that Dask is given
    """Run one batch on this worker; reports travel as events, not as the result."""
    plugin: RunnerPlugin = get_worker().plugins[NAME]
    await plugin.run_batch(run_id, slot, batch, entries)


class _RunOnWorker:
    """One run on one worker: its runners by slot, its files."""

    def __init__(
        self,
        worker: Worker,
        spec: dict[str, Any],
        release: Callable[[], None] | None,
    ) -> None:
        self._worker = worker
        self._spec = spec
        self._release = release
        self._topic = topic(spec["run"])
        self._runners: dict[str, RunnerLink] = {}
        self._spill = Path(tempfile.mkdtemp(prefix="dtf-spill-"))
        self._asked: dict[int, asyncio.Future[list[int]]] = {}  # by batch
        self._revoked: dict[int, set[int]] = {}
        self._running: dict[int, str] = {}
        self._cancelled = False

    # -- batches ---------------------------------------------------------------------

    async def run_batch(self, slot: str, batch: int, entries: list[Any]) -> None:
        deaths = 0
        while entries and not self._cancelled:
            link = await self._link(slot)
            async with link.lock:
                entries = self._without_revoked(batch, entries)
                self._running[batch] = slot
                before = len(entries)
                try:
                    await self._converse(link, slot, batch, entries)
                    entries = []
                except RunnerLostError as error:
                    self._runners.pop(slot, None)
                    link.kill()
                    entries = entries[:]
                    deaths = 1 if len(entries) < before else deaths + 1
                    self._report_loss(slot, batch, entries, str(error))
                    entries = [] if deaths >= _RUNNER_DEATHS_MAX else entries[1:]
                finally:
                    self._running.pop(batch, None)
        self._answer(batch, [])
        self._forward(slot, batch, pack({"op": "batch_over"}))
        self._revoked.pop(batch, None)

    async def _converse(
        self, link: RunnerLink, slot: str, batch: int, entries: list[Any]
    ) -> None:
        """Send a batch, forward what comes; ``entries`` shrinks as tests end."""
        link.send({"op": "batch", "entries": entries, "spill": str(self._spill)})
        held = bytearray()
        async for raw, frame in link.frames():
            op = frame["op"]
            if op in ("case", "crash"):
                _drop(entries, frame["i"])
            if op == "revoked":
                numbers = set(frame["numbers"])
                entries[:] = [entry for entry in entries if entry[0] not in numbers]
                self._answer(batch, frame["numbers"])
            elif op == "hello":
                link.pid, link.greeted = frame["pid"], True
            else:
                held += raw
            if op == "batch_end" or not link.pending():
                self._forward(slot, batch, bytes(held))
                held.clear()
            if op == "batch_end":
                return
            if op == "unusable":
                entries.clear()
                raise RunnerLostError("it could not collect the suite")

    async def _link(self, slot: str) -> RunnerLink:
        link = self._runners.get(slot)
        if link is None:
            link = await obtain_runner(self._spec | {"slot": slot})
            self._runners[slot] = link
        return link

    def _report_loss(
        self, slot: str, batch: int, entries: list[Any], cause: str
    ) -> None:
        if entries:
            frame = {"op": "crash", "i": entries[0][0], "cause": cause, "lost": True}
            self._forward(slot, batch, pack(frame))

    def _forward(self, slot: str, batch: int, packed: bytes) -> None:
        if packed:
            self._worker.log_event(
                self._topic, {"slot": slot, "batch": batch, "frames": packed}
            )

    # -- what the driver asks meanwhile ------------------------------------------------

    async def revoke(self, slot: str, batch: int, numbers: list[int]) -> list[int]:
        link = self._runners.get(slot)
        if batch not in self._running or link is None:
            self._revoked.setdefault(batch, set()).update(numbers)
            return numbers  # not begun: it will find them gone
        if batch in self._asked:
            return []  # one question at a time
        future = self._asked[batch] = asyncio.get_running_loop().create_future()
        link.send({"op": "revoke", "numbers": numbers})
        return await future

    def _answer(self, batch: int, numbers: list[int]) -> None:
        future = self._asked.pop(batch, None)
        if future is not None and not future.done():
            future.set_result(numbers)

    def _without_revoked(self, batch: int, entries: list[Any]) -> list[Any]:
        gone = self._revoked.pop(batch, set())
        return [entry for entry in entries if entry[0] not in gone]

    def cancel(self) -> None:
        self._cancelled = True
        for link in self._runners.values():
            link.send({"op": "kill"})

    def blob(self, name: str, offset: int) -> bytes:
        if os.path.basename(name) != name or offset < 0:
            raise ValueError(f"no such file of this run: {name!r}")
        with open(self._spill / name, "rb") as file:
            file.seek(offset)
            return file.read(_BLOB_BYTES_MAX)

    async def close(self) -> None:
        self._cancelled = True
        for batch in list(self._asked):
            self._answer(batch, [])
        for link in self._runners.values():
            await link.close()
        shutil.rmtree(self._spill, ignore_errors=True)
        if self._release is not None:
            await asyncio.to_thread(self._release)


def _drop(entries: list[Any], number: int) -> None:
    for position, entry in enumerate(entries):
        if entry[0] == number:
            del entries[position]
            return
