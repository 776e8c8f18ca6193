"""The results store of one node, made of the records that go through the ledger."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from dtf_dask.errors import DtfError, ProtocolError
from dtf_dask.standby.results_records import PREFIX, run_of

if TYPE_CHECKING:
    from dtf_dask.runs.results.progress import Progress
    from dtf_dask.runs.results.store import ResultsStore

logger = logging.getLogger(__name__)

FILE = "results.sqlite"
_SPOOL = "results-spool"
_LOOK = "look/"
"""In place of a key: of this run it is to be told how far it is."""
_AGAIN_S, _AGAIN_MAX_S = 1.0, 300.0  # after the store failed
_TOLD_S, _TOLD_S_MAX, _TOLD_PAUSES = 1.0, 30.0, 100


class ResultsView:
    """Takes portions in, from a thread of its own, each as often as it comes.

    Parameters
    ----------
    folder
        Of the node: its store is `FILE` in there.
    """

    def __init__(self, folder: Path) -> None:
        self._url = str(folder / FILE)
        self._spool = folder / _SPOOL
        self._came: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._mutex = threading.Lock()
        self._living: dict[str, bytes | None] = {}
        """Records that there are; None in place of one that is in the store."""
        self._thread: threading.Thread | None = None
        self.told: Callable[[Progress], None] | None = None
        """Told, in the thread, how far a run is of which something came."""
        self._moved: dict[str, None] = {}
        self._going: set[str] = set()
        """Runs that were told of, and of which no end came."""
        self._told_at = 0.0

    def change(self, changes: Iterable[tuple[str, bytes | None]]) -> None:
        """Take in what changed in the ledger; other records are passed over."""
        for key, value in changes:
            if not key.startswith(PREFIX):
                continue
            with self._mutex:
                if value is None:
                    self._living.pop(key, None)
                    continue
                if key in self._living:
                    continue
                self._living[key] = value
            self._hand(key)

    def look(self, runs: Iterable[str]) -> None:
        """Tell how far these are, of which nothing may come any more."""
        for run in runs:
            self._hand(_LOOK + run)

    def _hand(self, key: str) -> None:
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._take, name="dtf-results", daemon=True
            )
            self._thread.start()
        self._came.put(key)

    def held(self) -> list[str]:
        """Keys of records that there are, and that are in the store."""
        with self._mutex:
            return [key for key, value in self._living.items() if value is None]

    def close(self) -> None:
        """Take in what has come, and no more."""
        if self._thread is not None:
            self._came.put(None)
            self._thread.join()
            self._thread = None

    def _take(self) -> None:
        store: ResultsStore | None = None
        while (key := self._next(store)) is not None:
            pause_s = _AGAIN_S
            if key.startswith(_LOOK):
                store = self._looked(store, key.removeprefix(_LOOK))
                continue
            # One that leaves the ledger while the store fails is not waited for: else
            # those that wait would be ever more.
            while (portion := self._waits(key)) is not None:
                try:
                    # Imported here: a third of a second, and no run may ever come.
                    from dtf_dask.runs.results.store import ResultsStore

                    store = store or ResultsStore.open(self._url)
                    self._ingest(store, key, portion)
                    break
                except ProtocolError as error:
                    logger.error("Results of a run make no sense: %s: %s", key, error)
                    break
                except (DtfError, OSError) as error:
                    logger.error("Results of a run cannot be stored here: %s", error)
                    time.sleep(pause_s)
                    pause_s = min(2 * pause_s, _AGAIN_MAX_S)
            with self._mutex:
                if key in self._living:
                    self._living[key] = None
        if store is not None:
            store.close()

    def _looked(self, store: ResultsStore | None, run: str) -> ResultsStore | None:
        try:
            from dtf_dask.runs.results.store import ResultsStore

            store = store or ResultsStore.open(self._url)
            store.run(run)  # how far it is is counted when that is told
        except (DtfError, OSError) as error:
            logger.debug("Run %s is not known here: %s", run, error)
        else:
            self._moved[run] = None
        return store

    def _next(self, store: ResultsStore | None) -> str | None:
        """What is to be taken in next; meanwhile it is told how far runs are."""
        while self._moved and store is not None:
            pause_s = self._told_at - time.monotonic()
            if pause_s > 0:
                try:
                    return self._came.get(timeout=pause_s)
                except queue.Empty:
                    pass
            else:
                self._tell(store)
        return self._came.get()

    def _tell(self, store: ResultsStore) -> None:
        moved, self._moved = self._moved, {}
        began = time.monotonic()
        for run in moved:
            try:
                if self.told is not None:
                    self.told(store.progress(run))
            except DtfError as error:
                logger.warning("How far run %s is cannot be told: %s", run, error)
        now = time.monotonic()
        # However large runs are, that is a small part of the time.
        pause_s = min(_TOLD_S_MAX, max(_TOLD_S, _TOLD_PAUSES * (now - began)))
        self._told_at = now + pause_s

    def _waits(self, key: str) -> bytes | None:
        with self._mutex:
            return self._living.get(key)

    def _ingest(self, store: ResultsStore, key: str, portion: bytes) -> None:
        from dtf_dask.runs.results.portions import ends, lines_of

        self._spool.mkdir(parents=True, exist_ok=True)
        part = self._spool / "part"
        lines = lines_of(portion)
        part.write_bytes(lines)
        os.replace(part, self._spool / (key.replace("/", "-") + ".jsonl"))
        taken = store.ingest_spool(self._spool)
        if self.told is not None:
            self._moves(run_of(key), over=ends(lines))
        if taken.rejected_lines:
            logger.error("Results of a run make no sense: %s", taken.rejected_paths)

    def _moves(self, run: str, *, over: bool) -> None:
        """It is to be told how far a run is; at once that it is there, or over."""
        if over or run not in self._going:
            self._told_at = 0.0
        (self._going.discard if over else self._going.add)(run)
        self._moved[run] = None
