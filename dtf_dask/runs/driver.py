"""Drives one run over a Dask cluster: batches out, reports in, attempts kept.

The driver decides nothing about sizes and order (`runs.batch` does) and prints nothing
(its ``sink`` does). It is one coroutine world: every method runs on the client's loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import distributed

from dtf_dask.durable.dask_client import unsubscribe
from dtf_dask.errors import DtfError
from dtf_dask.frames import HEADER_BYTES, FrameBuffer, decode, encode
from dtf_dask.model import Attempt, Run
from dtf_dask.runs.attendance import Attendance
from dtf_dask.runs.batch_room import BatchRoom
from dtf_dask.runs.batch_tasks import cause_of_end, submit_batch
from dtf_dask.runs.driver_options import DrivenCase, DriverOptions
from dtf_dask.runs.fetching import Fetcher
from dtf_dask.runs.leaders import away_text, noted
from dtf_dask.runs.misfits import Misfits
from dtf_dask.runs.mismatch import MISMATCHES
from dtf_dask.runs.out_batches import OutBatches
from dtf_dask.runs.report_line import ReportLine, Told
from dtf_dask.runs.roster import Roster, Slot
from dtf_dask.runs.scheduler_line import Led, SchedulerLine
from dtf_dask.runs.taking_back import TakingBack
from dtf_dask.runs.tally import RunEnd, Tally
from dtf_dask.runs.task_set import TaskSet
from dtf_dask.runs.workers import Travel, WorkerDoor
from dtf_dask.worker_plugins.hardware.topic import TOPIC as HARDWARE_TOPIC
from dtf_dask.worker_plugins.runner.topics import stop_topic, topic

if TYPE_CHECKING:
    from dtf_dask.runs.planning import RunPlanner

Event = dict[str, Any]

_LOOK_ROUND_S = 0.5
_IDLE_ROUND_S = 0.05  # as time goes by, taking work back may become worth while


class RunDriver:
    """One run, from open workers to the last report.

    Parameters
    ----------
    client
        An asynchronous `distributed.Client`.
    run
        Its id names the topic and the tasks.
    cases
        By number.
    planner
        Over the same numbers.
    spec
        What workers get to open the run.
    sink
        Told everything that a person or a controller may want, as plain maps.
    keep
        Told every attempt, as it ends.
    keep_file
        Takes a local file into the artifact store, and returns its digest.
    travel
        The code and facts that workers elsewhere need.
    may_go_on
        False while the sink has more than it can take: no batch is handed out then.
    """

    def __init__(
        self,
        client: distributed.Client,
        run: Run,
        cases: Sequence[DrivenCase],
        planner: RunPlanner,
        spec: Mapping[str, Any],
        options: DriverOptions,
        sink: Callable[[Event], None],
        keep: Callable[[Attempt], None],
        keep_file: Callable[[Path], str],
        travel: Travel | None = None,
        may_go_on: Callable[[], bool] = lambda: True,
    ) -> None:
        self._client, self._run = client, run
        self._cases, self._planner = cases, planner
        self._options = options
        self._sink, self._keep, self._may_go_on = sink, keep, may_go_on
        self._line = SchedulerLine(client, self._led, self._long_away)
        self._news = asyncio.Event()
        self._reports = ReportLine(
            self._line.ask, run.id, self._told, self._replaced, self._news
        )
        door = WorkerDoor(self._line.ask, spec, travel, self._notice)
        self._roster = Roster(
            self._line, door, self._reports.opened, ask_hardware=planner.asks
        )
        self._slots = self._roster.slots
        self._attendance = Attendance(
            self._roster, self._welcome, self._lose_worker, self._refused
        )
        self._topics = {
            topic(run.id): self._reports.on_event,
            stop_topic(run.id): lambda event: self.stop(interrupted=True),
            "all": self._attendance.hear,
        }
        if planner.asks:
            self._topics[HARDWARE_TOPIC] = self._on_hardware
        self._out = OutBatches()
        self._tasks, self._asides = TaskSet(), TaskSet()  # the end waits for the first
        self._taking_back = TakingBack(
            self._line.ask, run.id, planner, self._out, self._slots, self._news
        )
        self._opening: asyncio.Task[None] | None = None
        self._stopping = False
        own = {n: c.retries for n, c in enumerate(cases) if c.retries is not None}
        self._tally = Tally([case.id for case in cases], options.retries, own)
        self._room = BatchRoom(client, self._notice, options.priority_class)
        self._misfits = Misfits(planner, options.misfit_patience_s)
        self._fetcher = Fetcher(
            self._line.ask, run.id, options.artifact_limit, keep_file, self._notice
        )
        self.end = self._tally.end

    # -- the life of a run ------------------------------------

    async def drive(self) -> RunEnd:
        """Run everything; returns when each case ended, or after a stop."""
        for name, hear in self._topics.items():
            self._client.subscribe_topic(name, hear)
        watching = asyncio.ensure_future(self._watch())
        try:
            await self._room.look()
            self._opening = asyncio.ensure_future(self._attendance.open_all())
            await self._opening
            await self._loop()
        except DtfError as error:
            self.end.error = error
        except asyncio.CancelledError:
            if not self._stopping:
                raise
        finally:
            await self._close()
            watching.cancel()
        return self.end

    def stop(self, *, interrupted: bool = False, error: DtfError | None = None) -> None:
        """Start nothing more and kill what runs; what has ended is kept."""
        self.end.error = self.end.error or error
        self._stopping = True
        if self._opening is not None and self._line.away:  # it could take for ever
            self._opening.cancel()
        self.end.interrupted = self.end.interrupted or interrupted
        self._news.set()

    async def _loop(self) -> None:
        while not self._stopping and self._planner.remaining:
            self._news.clear()
            self._fill()
            self._give_up_misfits()
            for address in self._reports.due():
                self._asides.begin(self._reports.mend(address))
            try:
                idle = any(not slot.outstanding for slot in self._slots.values())
                patience_s = _IDLE_ROUND_S if idle else _LOOK_ROUND_S
                await asyncio.wait_for(self._news.wait(), patience_s)
            except TimeoutError:
                pass

    async def _close(self) -> None:
        grace_s, run_id = self._options.cancel_grace_s, self._run.id
        self._attendance.close()
        self._asides.cancel()
        if self._stopping:
            addresses = self._roster.addresses()
            if not await self._line.tell(addresses, "dtf_cancel", grace_s, run=run_id):
                grace_s = 0.0  # they learn it when somebody leads: so does Dask
        while self._tasks and not self._stopping:
            await self._tasks.wait()
        addresses = self._roster.addresses()
        await self._line.tell(addresses, "dtf_close", grace_s, run=run_id)
        # Not before: what ended just before the stop may still be on its way here.
        self._out.end_all()
        await self._tasks.wait(grace_s)
        self._tasks.cancel()
        for name in self._topics:
            unsubscribe(self._client, name)

    # -- workers ------------------------------------

    def _welcome(self, slots: Sequence[Slot]) -> None:
        for slot in slots:
            self._planner.add_worker(slot.name, slot.offer, slot.address)
        self._sink({"op": "slots", "slots": list(self._slots)})
        self._news.set()

    def _refused(self, error: DtfError) -> None:
        if self._slots:
            self._notice(str(error))
        else:  # nobody else is there: say so now, not after a minute
            self.stop(error=error)

    async def _watch(self) -> None:
        try:
            await self._line.watch()
        except DtfError as error:
            self.stop(error=error)

    def _replaced(self, address: str) -> None:
        self._attendance.replaced(address)

    def _led(self, led: Led) -> None:
        """The client is connected again, perhaps to another scheduler."""
        running = sum(1 for slot in self._slots.values() if slot.outstanding)
        text = noted(self.end.leaders, led, time.time(), running)
        self._sink({"op": "leader", "text": text})
        self._reports.doubt()
        self._attendance.look()
        self._news.set()

    def _long_away(self, away_s: float) -> None:
        self._sink({"op": "leader", "text": away_text(time.time() - away_s)})

    def _notice(self, text: str) -> None:
        self._sink({"op": "notice", "text": text})

    def _lose_worker(self, address: str) -> None:
        self._reports.lost(address)
        why = f"worker {address} is gone"
        for slot in self._roster.lose(address):
            self._drop(slot, list(slot.outstanding), why)
            self._planner.remove_worker(slot.name)
            self._notice(why)
        self._news.set()

    def _drop(self, slot: Slot, batches: Sequence[int], why: str) -> None:
        """Batches that a slot will not run to their end."""
        for batch in batches:
            left = self._out.left(batch)
            first = slot.outstanding[0] == batch
            if left and (first or self._out.has_begun(batch)):  # the others waited
                self._lose(left[0], slot.name, batch, why)
            self._out.end(batch)
        slot.outstanding = [b for b in slot.outstanding if b not in batches]

    def _on_hardware(self, event: tuple[float, Any]) -> None:
        """A worker has other things than before; a GPU may be lost."""
        for slot, offer in self._roster.told(event[1]):
            unfit = self._planner.unfit(slot.name, offer)
            self._drop(slot, unfit, "its worker has no longer what it needs")
            self._planner.change_worker(slot.name, offer)
            self._news.set()

    def _give_up_misfits(self) -> None:
        due, told = self._misfits.look(time.monotonic(), alone=not self._slots)
        for text in told:
            self._notice(text)
        for number, why in due.items():
            self._lose(number, "", 0, why, hopeless=True)

    # -- batches ------------------------------------

    def _fill(self) -> None:
        """Give every slot what it has room for, fairly; take back for the idle."""
        if not self._may_go_on():
            return
        for depth in range(self._room.depth):
            for slot in self._slots.values():
                if len(slot.outstanding) <= depth:
                    self._submit_next(slot)
        for question in self._taking_back.due(time.monotonic()):
            self._tasks.begin(question)

    def _submit_next(self, slot: Slot) -> None:
        if not self._room.take():
            self._asides.begin(self._room.wait(self._news))
            return
        batch = self._planner.next_batch(slot.name, now=time.monotonic())
        if batch is None:
            self._room.give_back()
            return
        entries = [[number, *self._cases[number].entry] for number in batch.indices]
        slot.outstanding.append(batch.id)
        asked = self._planner.annotation(batch, preemptible=self._options.shared)
        future = submit_batch(
            self._client,
            slot.address,
            asked,
            self._run.id,
            slot.name,
            batch.id,
            entries,
            batch.worker is not None,
            self._reports.heard(slot.address),
        )
        self._out.begin(batch.id, batch.indices, slot.name, future)
        self._tasks.begin(self._await_batch(batch.id, future))

    async def _await_batch(self, batch: int, future: distributed.Future) -> None:
        """A batch is over by event; this notices the task that failed instead."""
        cause = await cause_of_end(future)
        if (slot := self._slots.get(self._out.slot(batch))) is not None:
            await self._reports.mend(slot.address)  # what it told may have been lost
        if batch in self._out and not self._stopping:  # else it was us who ended it
            for number in self._out.left(batch)[: bool(cause)]:
                self._lose(number, self._out.slot(batch), batch, cause)
            self._on_batch_over({}, "", batch)

    def _on_batch_over(self, _frame: Event, _slot: str, batch: int) -> None:
        if batch not in self._out:
            return
        slot = self._slots.get(self._out.slot(batch))
        self._planner.ended(batch, self._out.end(batch))
        if slot is not None and batch in slot.outstanding:
            slot.outstanding.remove(batch)
        self._news.set()

    # -- what runners tell ------------------------------------

    def _told(self, told: Told) -> None:
        slot, batch = told.slot, told.batch
        for raw in FrameBuffer().split(told.frames):
            body = raw[HEADER_BYTES:]
            frame = decode(body)
            if frame["op"] in ("case", "crash"):
                self._on_report(frame, slot, batch, body)
                continue
            mismatch = MISMATCHES.get(frame["op"])
            if mismatch is not None:
                self.stop(error=mismatch(frame, slot))
                continue
            handle = getattr(self, f"_on_{frame['op']}", None)
            if handle is None:  # of interest to who prints: output, running, coverage
                self._sink(frame | {"slot": slot})
            else:
                handle(frame, slot, batch)
        if not self._stopping:  # at once: the slot is idle until it has work
            self._fill()

    def _on_report(
        self, frame: dict[str, Any], slot: str, batch: int, body: bytes = b""
    ) -> None:
        """One test ended, or died; ``body`` is the frame as it came."""
        number = frame["i"]
        event: Event = {"op": frame["op"], "i": number, "slot": slot, "retry": False}
        event["raw"] = body or encode(frame)
        if frame.get("between"):  # it died after it had been reported
            self._sink(event)
            return
        free = frame.get("late") or frame.get("hopeless")
        if not free and not self._out.take(batch, number):
            return  # taken back from this batch, and run there all the same
        place = self._slots.get(slot)
        attempt, fate = self._tally.judge(frame, slot, *(place.where if place else ()))
        if (files := frame.get("artifacts")) and place is not None:
            self._tasks.begin(self._keep_with(files, attempt, place.address))
        else:
            self._keep(attempt)
        if fate != "late":
            for key, seconds in frame.get("setups", ()):
                self._planner.observe_setup(key, seconds)
            own_s = attempt.duration_s
            self._planner.finished(batch, number, own_s, now=time.monotonic())
        if fate in ("retry", "lost"):
            self._planner.requeue(number, slot)
            self._news.set()
        elif fate == "settled" and self._planner.settled(number):
            self._news.set()  # what waited for it may go
        if fate != "lost":
            event["retry"] = fate == "retry"
            event["left_s"] = self._planner.estimate_left_s()
            self._sink(event)

    async def _keep_with(self, files: Any, attempt: Attempt, address: str) -> None:
        self._keep(await self._fetcher.complete(attempt, files, address))

    def _lose(
        self, number: int, slot: str, batch: int, cause: str, **more: Any
    ) -> None:
        """A case that was begun, or may have been, has no end of its own."""
        frame = {"op": "crash", "i": number, "cause": cause, "lost": True, **more}
        self._on_report(frame, slot, batch)

    def _on_batch_end(self, frame: dict[str, Any], slot: str, batch: int) -> None:
        not_run = set(frame["not_run"])
        for number in self._out.left(batch):
            if number not in not_run:
                self._lose(number, slot, batch, "it ran, and its report never came")
        if frame.get("leaked"):
            self._sink({"op": "leaked", "slot": slot, "leaked": frame["leaked"]})

    def _on_child_end(self, frame: dict[str, Any], slot: str, batch: int) -> None:
        if frame["stop"] is not None:
            self._sink({"op": "stop", "slot": slot} | frame["stop"])
            self.stop()
