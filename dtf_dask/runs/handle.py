"""``client.run_cases``: cases that are values, run over the cluster of a client."""

from __future__ import annotations

import asyncio
import queue
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import cloudpickle
import distributed

from dtf_dask import config
from dtf_dask.errors import (
    ClusterUnreachableError,
    DtfError,
    DuplicateCaseError,
    UsageError,
)
from dtf_dask.model import Attempt, Case, CaseId, Run, RunId
from dtf_dask.runs.batch import PlannedCase
from dtf_dask.runs.driver import RunDriver
from dtf_dask.runs.driver_options import DrivenCase
from dtf_dask.runs.opened_run import OpenedRun, asked_of_all, run_planner
from dtf_dask.runs.reports import html, jsonlines, junit, markdown
from dtf_dask.runs.results.recorder import RecorderStatus
from dtf_dask.runs.results.store import ResultsStore
from dtf_dask.runs.state_folder import new_run_id, state_folder
from dtf_dask.runs.tally import RunEnd
from dtf_dask.runs.workers import Travel
from dtf_dask.scheduler_plugins.topics import TopicPlugin
from dtf_dask.worker_plugins.runner.plugin import RunnerPlugin

_CASES_MAX = 1_000_000
_NAME_LENGTH_MAX = 1000
_PAYLOAD_BYTES_MAX = 16 * 2**20
_FORMATS = {"junit": junit, "jsonl": jsonlines, "html": html, "markdown": markdown}


class RunHandle:
    """A run under way: iterate over its attempts as they come, wait, cancel, report.

    Attributes
    ----------
    run
        What was asked; ``run.id`` finds it again in the results store.

    Examples
    --------
    >>> for attempt in client.run_cases(cases):  # doctest: +SKIP
    ...     print(attempt.case_id, attempt.outcome)
    """

    def __init__(
        self, client: distributed.Client, cases: Sequence[Case], choices: dict[str, Any]
    ) -> None:
        _check(cases)
        settings = config.load(
            {
                key: choices[name]
                for name, key in (
                    ("dist", "runs.dist"),
                    ("retries", "runs.retries"),
                    ("timeout", "runs.timeout"),
                    ("results", "results.url"),
                )
                if choices[name] is not None
            }
        )
        self._client, self._cases, self._settings = client, list(cases), settings
        self._code = choices["code"]
        self.run = Run(
            id=RunId(choices["run_id"] or new_run_id()),
            started_at=time.time(),
            command=("client.run_cases",),
            suite=choices["suite"] or Path.cwd().name,
            rootdir=str(self._code or Path.cwd()),
            cases_planned=len(cases),
            policy={
                "dist": settings.runs.dist,
                "retries": settings.runs.retries,
                **asked_of_all(settings),
            },
        )
        ids = [CaseId(case.name) for case in cases]
        planned = [PlannedCase(n, "", "", None, None, ()) for n in range(len(ids))]
        asked = [case.annotations for case in cases]
        self._planner = run_planner(settings, self.run, ids, planned, asked)
        self._opened = OpenedRun(settings, self.run, ids, state_folder(Path.cwd()))
        self._came: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._driver: RunDriver | None = None
        self.notices: list[str] = []
        self.outcomes: Counter[str] = Counter()
        self.stored: RecorderStatus | None = None
        self._cancelled = False
        self._loop = cast(Any, client.loop)
        self._ended: Future[RunEnd] = asyncio.run_coroutine_threadsafe(
            self._drive(), self._loop.asyncio_loop
        )

    # -- for the caller ------------------------------------

    def __iter__(self) -> Iterator[Attempt]:
        """Attempts as they end, once each; raises the error that broke the run."""
        while (attempt := self._came.get()) is not None:
            yield attempt
        self._came.put(None)  # for whoever iterates next
        self.wait()

    async def __aiter__(self) -> AsyncIterator[Attempt]:
        while (attempt := await asyncio.to_thread(self._came.get)) is not None:
            yield attempt
        self._came.put(None)
        _outcomes_of(await asyncio.wrap_future(self._ended))

    def wait(self, timeout: float | None = None) -> Counter[str]:
        """Block until the run is over; counts by outcome.

        Parameters
        ----------
        timeout
            Seconds; None waits for ever.

        Raises
        ------
        TimeoutError
            When it is not over in time; the run goes on.
        DtfError
            When the run broke: no workers, another version of dtf, a client that was
            closed, and such.
        """
        return _outcomes_of(self._ended.result(timeout))

    def cancel(self) -> None:
        """Start nothing more, and kill what runs. What has ended is kept."""
        self._cancelled = True
        driver = self._driver
        if driver is not None:
            self._loop.add_callback(lambda: driver.stop(interrupted=True))

    @property
    def done(self) -> bool:
        """Whether the run is over."""
        return self._ended.done()

    def report(self, format: str = "markdown") -> str:
        """A report of what is stored: "markdown", "junit", "html" or "jsonl"."""
        if format not in _FORMATS:
            raise UsageError(
                f"no report format {format!r}: there are {', '.join(sorted(_FORMATS))}"
            )
        store = ResultsStore.open(self._opened.url, create=False)
        try:
            run = store.run(self.run.id)
            rendered: Any = _FORMATS[format]
            return "".join(rendered.render(run, store.attempts(self.run.id)))
        finally:
            store.close()

    # -- on the client's loop ------------------------------------

    async def _drive(self) -> RunEnd:
        try:
            return await self._driven()
        except (Exception, asyncio.CancelledError):
            if self._client.status not in ("closing", "closed"):
                raise
            # Its loop ends, too, and would log what is raised.
            why = "the client was closed before its run was over"
            return RunEnd(error=ClusterUnreachableError(why))
        finally:
            self._came.put(None)

    async def _driven(self) -> RunEnd:
        end = RunEnd()
        try:
            await self._client.register_plugin(RunnerPlugin())
            await self._client.register_plugin(TopicPlugin())
            self._driver = self._opened.driver(
                self._client,
                [
                    DrivenCase(
                        CaseId(case.name),
                        (case.name, _payload(case)),
                        case.annotations.get("retries"),
                    )
                    for case in self._cases
                ],
                self._planner,
                {
                    "kind": "cases",
                    "run": self.run.id,
                    "root": "",
                    "timeout_s": self._settings.runs.timeout_s,
                    "inline_limit": self._settings.results.inline_limit_bytes,
                    "isolate": "batch",
                },
                sink=self._hear,
                keep=self._keep,
                travel=await self._travel(),
            )
            end = self._driver.end
            if self._cancelled:
                self._driver.stop(interrupted=True)
            await self._driver.drive()
        except DtfError as error:
            end.error = error
        except (Exception, asyncio.CancelledError) as error:
            # It is raised, and must not be kept as a success.
            end.error = DtfError(f"{type(error).__name__}: {error}")
            raise
        finally:
            self.outcomes = end.outcomes
            self.stored = await self._opened.close(end, self.notices.append)
            if self.stored.error:
                self.notices.append(
                    f"{self.stored.spooled} results wait in {self.stored.spool_path}:"
                    f" {self.stored.error}"
                )
        return end

    def _keep(self, attempt: Attempt) -> None:
        self._opened.recorder.put(attempt)
        self._came.put(attempt)

    def _hear(self, event: dict[str, Any]) -> None:
        if event["op"] in ("notice", "leader"):
            self.notices.append(event["text"])

    async def _travel(self) -> Travel | None:
        if self._code is None:
            return None
        snapshot = await self._opened.snapshot(Path(self._code))
        return Travel(snapshot, {}, "off")


def _outcomes_of(end: RunEnd) -> Counter[str]:
    """Counts by outcome; raises the error that broke the run."""
    if end.error is not None:
        raise end.error
    return end.outcomes


def _payload(case: Case) -> bytes:
    try:
        payload: bytes = cloudpickle.dumps(case)
    except Exception as error:  # whatever an argument's own code raises
        raise UsageError(
            f"case {case.name!r} cannot be sent to a worker: {error}; give it plain"
            " arguments, and make locks, files and connections inside the function"
        ) from error
    if len(payload) > _PAYLOAD_BYTES_MAX:
        raise UsageError(
            f"case {case.name!r} is {len(payload)} bytes when pickled; the limit is"
            f" {_PAYLOAD_BYTES_MAX}: load large inputs inside the function"
        )
    return payload


def _check(cases: Sequence[Case]) -> None:
    """Refuse what cannot be run, before anything is started."""
    if not cases:
        raise UsageError("there are no cases to run")
    if len(cases) > _CASES_MAX:
        raise UsageError(f"{len(cases)} cases; the limit is {_CASES_MAX}")
    twins = [name for name, n in Counter(case.name for case in cases).items() if n > 1]
    if twins:
        raise DuplicateCaseError(
            f"two cases have one name: {', '.join(map(repr, twins[:5]))};"
            " results could not be told apart"
        )
    for case in cases:
        if not 0 < len(case.name) <= _NAME_LENGTH_MAX or not case.name.isprintable():
            raise UsageError(
                f"a case's name is printable, of 1 to {_NAME_LENGTH_MAX} characters:"
                f" {case.name[:80]!r}"
            )
        if (case.fn is None) == (not case.argv):
            raise UsageError(f"case {case.name!r} takes a function or a command")
        if case.timeout_s is not None and not case.timeout_s > 0:
            raise UsageError(f"case {case.name!r}: timeout_s is {case.timeout_s}")
