"""A run opened from settings: where it is kept, what plans and drives it, its end."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import distributed

from dtf_dask.annotations import validate
from dtf_dask.comm.address import PREFIX as COORDINATORS
from dtf_dask.model import Attempt, CaseId, Run
from dtf_dask.quantities import format_duration
from dtf_dask.runs.artifacts import ArtifactStore
from dtf_dask.runs.batch import PlannedCase, PlannerSettings
from dtf_dask.runs.batch_groups import atomic_groups
from dtf_dask.runs.driver import RunDriver
from dtf_dask.runs.driver_options import MISFIT_PATIENCE_S, DrivenCase, DriverOptions
from dtf_dask.runs.kinds import kinds_of, orders, with_moments
from dtf_dask.runs.leaders import KEY as LEADERS
from dtf_dask.runs.planning import RunPlanner
from dtf_dask.runs.results.feed import CLOSE_S, HURRIED_S, ResultsFeed
from dtf_dask.runs.results.recorder import Recorder, RecorderStatus
from dtf_dask.runs.snapshot import Snapshot, build
from dtf_dask.runs.tally import RunEnd
from dtf_dask.runs.verdict import exit_code, run_status
from dtf_dask.runs.workers import Travel
from dtf_dask.settings import Settings
from dtf_dask.trace_ids import VARIABLE

if TYPE_CHECKING:
    from dtf_dask.runs.tracing import Tracing

_PRUNED_RUNS_MAX = 100  # at the end of one run; what is left goes with the next
_PRUNE_S = 10.0  # nobody waits longer for old results to go


def run_planner(
    settings: Settings,
    run: Run,
    case_ids: Sequence[CaseId],
    cases: Sequence[PlannedCase],
    asked: Sequence[Mapping[str, Any]],
) -> RunPlanner:
    """A planner over the cases, by number.

    Parameters
    ----------
    asked
        By case, its annotations; see `annotations.validate`.

    Raises
    ------
    UsageError
        If what they ask makes no sense together.
    """
    runs, classes = settings.runs, settings.scheduling.classes
    groups = atomic_groups(cases, runs.dist)
    default_class = settings.scheduling.default_class or next(iter(classes))
    asked = with_moments(_with_defaults(settings, asked), run.started_at)
    planner = RunPlanner(
        cases,
        kinds_of(asked, groups, tuple(classes), default_class),
        after=orders(asked, case_ids),
        dist=runs.dist,
        settings=PlannerSettings(target_s=runs.batch_target_s, max_s=runs.batch_max_s),
        patience_s=lambda name: classes.get(name, 0.0),
    )
    expected = {n: one["expected"] for n, one in enumerate(asked) if "expected" in one}
    if expected:  # until earlier runs are known, and then for what never ran
        planner.learn(expected)
    return planner


def asked_of_all(settings: Settings) -> dict[str, Any]:
    """What a whole run asks for its tests, as it was said."""
    runs = settings.runs
    said = {
        "priority_class": runs.priority_class,
        "deadline": runs.deadline,
        "tenant": runs.tenant,
    }
    return {name: value for name, value in said.items() if value is not None}


def _with_defaults(
    settings: Settings, asked: Sequence[Mapping[str, Any]]
) -> Sequence[Mapping[str, Any]]:
    """What the whole run asks, where a case does not say otherwise."""
    whole = validate(asked_of_all(settings), where="this run: ")
    return [{**whole, **one} for one in asked] if whole else asked


class OpenedRun:
    """What every run has, whoever asked for it: pytest or ``run_cases``.

    Parameters
    ----------
    settings
        Checked. Nothing else of the configuration is read.
    run, case_ids
        What is recorded, from now on.
    folder
        Holds results, artifacts and what is spooled, where the settings name no place.

    Raises
    ------
    UsageError
        If no artifacts can be kept where the settings say.
    ConfigurationError
        If it is to be traced, and cannot be.
    """

    def __init__(
        self, settings: Settings, run: Run, case_ids: Sequence[CaseId], folder: Path
    ) -> None:
        self._settings, self._run = settings, run
        results = settings.results
        self.url = results.url or str(folder / "results.sqlite")
        artifacts_url = results.artifacts_url or str(folder / "artifacts")
        self._artifacts = ArtifactStore(artifacts_url)  # may refuse: before the thread
        self.recorder = Recorder(self.url, run, case_ids, folder / "spool")
        self._case_ids = case_ids
        self._feed: ResultsFeed | None = None
        self._tracing: Tracing | None = None
        if settings.runs.traces == "otel":
            # Imported here: who traces nothing needs none of it.
            from dtf_dask.runs.tracing import Tracing

            self._tracing = Tracing(run, os.environ.get(VARIABLE, ""))

    async def snapshot(
        self, root: Path, *, cache_path: Path | None = None, also: Iterable[str] = ()
    ) -> Snapshot:
        """The code below ``root``, within the limits; see `snapshot.build`."""
        limits = self._settings.snapshot
        return await asyncio.to_thread(
            build,
            root,
            limit_bytes=limits.limit_bytes,
            file_limit_bytes=limits.file_limit_bytes,
            files_limit=limits.files_limit,
            cache_path=cache_path,
            also=also,
        )

    def driver(
        self,
        client: distributed.Client,
        cases: Sequence[DrivenCase],
        planner: RunPlanner,
        spec: Mapping[str, Any],
        *,
        sink: Callable[[dict[str, Any]], None],
        keep: Callable[[Attempt], None],
        travel: Travel | None,
        may_go_on: Callable[[], bool] = lambda: True,
        closed: bool = False,
    ) -> RunDriver:
        """A driver of the run; for the parameters see `RunDriver`.

        ``closed`` says that no worker will join: what fits none is given up at once.
        """
        runs = self._settings.runs
        if client.scheduler.address.startswith(COORDINATORS):  # type: ignore[union-attr]
            keep = self._fed(client, keep, sink)
        if self._tracing is not None:
            keep = _both(keep, self._tracing.attempted)
        return RunDriver(
            client,
            self._run,
            cases,
            planner,
            {
                **spec,
                "crash_limit": runs.crash_limit,
                "preempt_grace_s": runs.preempt_grace_s,
                "checkpoints": runs.checkpoints,
                "keep_events": not closed,
                "trace": self._tracing.trace if self._tracing is not None else "",
            },
            DriverOptions(
                retries=runs.retries,
                cancel_grace_s=runs.cancel_grace_s,
                artifact_limit=self._settings.results.artifact_limit_bytes,
                misfit_patience_s=0.0 if closed else MISFIT_PATIENCE_S,
                priority_class=runs.priority_class,
                shared=not closed,
            ),
            sink=sink,
            keep=keep,
            keep_file=self._artifacts.put_file,
            travel=travel,
            may_go_on=may_go_on,
        )

    def _fed(
        self,
        client: distributed.Client,
        keep: Callable[[Attempt], None],
        sink: Callable[[dict[str, Any]], None],
    ) -> Callable[[Attempt], None]:
        """``keep``, and the cluster gets each attempt, too."""
        feed = self._feed = ResultsFeed(
            *(client, self._run, self._case_ids),
            lambda text: sink({"op": "notice", "text": text}),
            lambda text: sink({"op": "leader", "text": text}),
        )

        return _both(keep, feed.put)

    async def close(self, end: RunEnd, notice: Callable[[str], None]) -> RecorderStatus:
        """Store what is left and how the run ended; then let old runs go.

        ``notice`` is told when runs were removed, or could not be.
        """
        said = run_status(end), exit_code(end), time.time()
        more = {LEADERS: end.leaders} if end.leaders else {}
        stored = await asyncio.to_thread(self.recorder.close, *said, environment=more)
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.close, end, said[2])
        if self._feed is not None:
            patience_s = HURRIED_S if end.interrupted else CLOSE_S
            await self._feed.close(*said, more, patience_s)
        keep_s = self._settings.results.keep_s
        # After Ctrl-C nobody wants to wait, and a store that failed has work to come.
        if keep_s is not None and not end.interrupted and not stored.error:
            try:
                pruning = asyncio.to_thread(self._prune, keep_s)
                removed = await asyncio.wait_for(pruning, _PRUNE_S)
            except Exception as error:  # whatever it is, the run went well
                why = str(error) or f"not done within {_PRUNE_S:g} s"
                notice(f"old results were not removed (results.keep): {why}")
            else:
                if removed:
                    notice(
                        f"removed {removed:,} run{'' if removed == 1 else 's'} older"
                        f" than {format_duration(keep_s)} (results.keep)"
                    )
        return stored

    def _prune(self, keep_s: float) -> int:
        # Imported here: a third of a second that collecting tests can use.
        from dtf_dask.runs.results.store import ResultsStore

        with ResultsStore.open(self.url, create=False) as store:
            report = store.prune(
                older_than_s=keep_s,
                now=time.time(),
                artifacts=self._artifacts,
                spare=self._run.id,
                runs_max=_PRUNED_RUNS_MAX,
            )
        return report.runs


def _both(
    one: Callable[[Attempt], None], other: Callable[[Attempt], None]
) -> Callable[[Attempt], None]:
    def both(attempt: Attempt) -> None:
        one(attempt)
        other(attempt)

    return both
