"""The worker plugin that runs batches: thin, between Dask and the runner processes."""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from distributed import Status, Worker, WorkerPlugin, get_worker

from dtf_dask import __version__, environment_facts, grant
from dtf_dask.errors import DtfError
from dtf_dask.snapshot_manifest import Manifest
from dtf_dask.worker_plugins import dask_seam
from dtf_dask.worker_plugins.runner.worker_run import WorkerRun
from dtf_dask.worker_plugins.snapshots import SnapshotStore

logger = logging.getLogger(__name__)

NAME = "dtf-runner"
_RUNS_MAX = 16
_ABANDONED_AFTER_S = 60.0  # idle for so long, a run makes room for a new one
_UNASKED_S_MAX = 900.0
"""So long a driver may be silent that could ask; by itself it does twice a minute."""
_LOOK_S = 30.0
_SNAPSHOT_BYTES_MAX = 8 * 2**30
_UNWANTED = ("released", "cancelled", "resumed")


class _Holdings:
    """What outlives one plugin: Dask replaces it when a client registers it again."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self.runs: dict[str, WorkerRun] = {}
        self.looking: asyncio.Task[None] | None = None
        self._store: SnapshotStore | None = None

    def snapshots(self) -> SnapshotStore:
        """Made when a client first sends code."""
        with self._mutex:
            if self._store is None:
                folder = Path(tempfile.gettempdir()) / f"dtf-snapshots-{os.getuid()}"
                self._store = SnapshotStore(folder, limit_bytes=_SNAPSHOT_BYTES_MAX)
            return self._store

    def close(self) -> None:
        with self._mutex:
            store, self._store = self._store, None
        if store is not None:
            store.close()


_HOLDINGS: WeakKeyDictionary[Worker, _Holdings] = WeakKeyDictionary()


class RunnerPlugin(WorkerPlugin):
    """Owns the runner processes of one Dask worker, by run and slot.

    Messages it answers are plain values (nothing is unpickled): ``dtf_open``,
    ``dtf_put``, ``dtf_revoke``, ``dtf_cancel``, ``dtf_blob``, ``dtf_tail``,
    ``dtf_events``, ``dtf_close``. Each may be sent again by who had no answer.
    """

    name = NAME
    idempotent = True

    def __init__(self) -> None:
        self._held = _Holdings()

    def __reduce__(self) -> Any:
        return RunnerPlugin, ()  # sent to workers new, whatever has happened here

    def setup(self, worker: Worker) -> None:
        self._worker = worker
        self._held = _HOLDINGS.setdefault(worker, self._held)
        worker.handlers.update(
            {
                "dtf_open": self.open,
                "dtf_put": self.put,
                "dtf_revoke": self.revoke,
                "dtf_cancel": self.cancel,
                "dtf_blob": self.blob,
                "dtf_tail": self.tail,
                "dtf_events": self.events,
                "dtf_close": self.close,
            }
        )

    async def teardown(self, worker: Worker) -> None:
        if worker.status in (Status.running, Status.paused):
            return
        if self._held.looking is not None:
            self._held.looking.cancel()
        runs = list(self._held.runs)
        await asyncio.gather(*(self.close(run=run_id) for run_id in runs))
        await asyncio.to_thread(self._held.close)

    async def open(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Make ready for a run.

        Returns ``{"ok": True}``, with ``"facts"`` if they were asked for, and with the
        ``"stream"`` of events if they are numbered (``keep_events``);
        ``{"missing": [...]}``, digests to `put` before asking again; or ``{"error"}``.
        """
        if spec.get("version") != __version__:
            return {"error": "version", "version": __version__}
        runs = self._held.runs
        if spec["run"] in runs:
            return {"ok": True} | runs[spec["run"]].said
        if len(runs) >= _RUNS_MAX:
            await self._close_abandoned()
        if len(runs) >= _RUNS_MAX:
            return {"error": f"{_RUNS_MAX} runs are open here already; end one first"}
        answer: dict[str, Any] = {"ok": True}
        release = None
        if "snapshot" in spec:
            try:
                ready = await asyncio.to_thread(self._unpack, spec.pop("snapshot"))
            except (DtfError, OSError) as error:
                return {"error": str(error)}
            if isinstance(ready, list):
                return {"missing": ready}
            spec["client_root"] = spec.get("root", "")
            spec["root"], release = ready
        if spec.pop("facts", False):
            answer["facts"] = await asyncio.to_thread(environment_facts.facts)
        if spec["run"] in runs:  # opened by somebody else meanwhile
            if release is not None:
                await asyncio.to_thread(release)
            return answer | runs[spec["run"]].said
        try:
            runs[spec["run"]] = WorkerRun(self._worker, spec, release)
        except OSError as error:
            if release is not None:
                await asyncio.to_thread(release)
            return {"error": f"no folder for the run's files: {error}"}
        if self._held.looking is None or self._held.looking.done():
            self._held.looking = asyncio.create_task(self._look(), name="dtf-runs")
        return answer | runs[spec["run"]].said

    async def _look(self) -> None:
        """End runs whose driver is gone: it could not say so while nobody led."""
        runs = self._held.runs
        while runs:
            await asyncio.sleep(_LOOK_S)
            if not dask_seam.is_connected(self._worker):
                continue
            for run_id, run in list(runs.items()):
                if run.unasked_s(_LOOK_S) > _UNASKED_S_MAX:
                    logger.info("run %s is over: nobody asks for it", run_id)
                    await self.close(run=run_id)

    async def _close_abandoned(self) -> None:
        """Make room: the run whose client has been silent for longest, and died."""
        idle_s, run_id = max(
            (run.idle_s(), run_id) for run_id, run in self._held.runs.items()
        )
        if idle_s > _ABANDONED_AFTER_S:
            await self.close(run=run_id)

    async def put(self, parts: list[list[Any]]) -> dict[str, Any]:
        """Take pieces of contents that `open` called missing."""
        try:
            for part in parts:
                await asyncio.to_thread(self._held.snapshots().add, *part)
        except (DtfError, OSError) as error:
            return {"error": str(error)}
        return {"ok": True}

    def _unpack(self, encoded: bytes) -> list[str] | tuple[str, Callable[[], None]]:
        """What is missing of a snapshot; or its folder, and how to give it back."""
        store, manifest = self._held.snapshots(), Manifest.from_bytes(encoded)
        missing = store.missing(manifest)
        if missing:
            return missing
        root = store.unpack(manifest)
        return str(root), lambda: store.release(manifest)

    def transition(self, key: Any, start: str, finish: str, **more: Any) -> None:
        """The scheduler wants a batch no longer, or its place for something else."""
        if start == "executing" and finish in _UNWANTED and isinstance(key, str):
            for run_id, run in self._held.runs.items():
                prefix = batch_key(run_id, 0)[:-1]
                if key.startswith(prefix) and key[len(prefix) :].isdecimal():
                    run.give_up(int(key[len(prefix) :]))

    async def run_batch(
        self,
        run_id: str,
        slot: str,
        batch: int,
        entries: list[Any],
        only_there: bool,
        heard: int,
    ) -> None:
        sent = dask_seam.task_annotations(self._worker, batch_key(run_id, batch))
        devices = grant.visible_devices(sent)
        env = {} if devices is None else {"CUDA_VISIBLE_DEVICES": devices}
        run = self._run(run_id)
        run.heard(heard)
        await run.run_batch(slot, batch, entries, env, only_there)

    async def revoke(self, run: str, slot: str, batch: int, numbers: list[int]) -> Any:
        """Take tests back from a batch; the numbers that surely are not run here."""
        if run not in self._held.runs:
            return []
        return await self._held.runs[run].revoke(batch, numbers)

    async def cancel(self, run: str) -> None:
        """Kill what runs of this run, now."""
        if run in self._held.runs:
            self._held.runs[run].cancel()

    async def blob(self, run: str, name: str, offset: int) -> bytes:
        """A piece of a file that a test left over its inline limit."""
        return await self._run(run).blob(name, offset)

    async def tail(self, run: str, case: str) -> list[dict[str, Any]]:
        """What a case has written so far, each time that it runs here now."""
        opened = self._held.runs.get(run)
        return [] if opened is None else await opened.tail(case)

    async def events(self, run: str, stream: str, after: int) -> dict[str, Any]:
        """The events of a run after a number: those that its driver lacks.

        Of another ``stream``, or none, if the run was not opened under this one.
        """
        opened = self._held.runs.get(run)
        return {"stream": ""} if opened is None else await opened.events(stream, after)

    async def close(self, run: str) -> None:
        """End the run's runners and drop its files."""
        opened = self._held.runs.pop(run, None)
        if opened is not None:
            await opened.close()

    def _run(self, run_id: str) -> WorkerRun:
        run = self._held.runs.get(run_id)
        if run is None:
            raise LookupError(f"run {run_id} is not open on {self._worker.address}")
        return run


def batch_key(run_id: str, batch: int) -> str:
    """The key of a batch's Dask task."""
    return f"dtf-batch-{run_id}-{batch}"


async def run_batch(
    run_id: str,
    slot: str,
    batch: int,
    entries: list[Any],
    only_there: bool = False,
    heard: int = 0,
) -> None:  # the function that Dask is given
    """Run one batch on this worker; reports travel as events, not as the result.

    ``heard`` is up to which number its driver has the events of this worker.
    """
    plugin = get_worker().plugins[NAME]
    assert isinstance(plugin, RunnerPlugin)
    await plugin.run_batch(run_id, slot, batch, entries, only_there, heard)
