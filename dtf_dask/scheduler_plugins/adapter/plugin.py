"""The scheduler plugin that lets the engine place tasks: thin hooks, one guard.

Dask swallows what a plugin raises, and drops a worker whose message could not be
handled. So every hook goes through a guard: at the first failure the plugin says so,
gives back what it holds, and Dask schedules as if it had never been there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from distributed import Scheduler, SchedulerPlugin

from dtf_dask.durable.successor import RECORDS, Attempt, Records
from dtf_dask.pressure import TOPIC as PRESSURE_TOPIC
from dtf_dask.pressure import Pressure
from dtf_dask.scheduler_plugins import dask_seam
from dtf_dask.scheduler_plugins.adapter import (
    dask_contract,
    dask_failures,
    dask_grants,
    upstream,
)
from dtf_dask.scheduler_plugins.adapter.governed import Key
from dtf_dask.scheduler_plugins.adapter.holding import Holding
from dtf_dask.scheduler_plugins.adapter.inquiries import Inquiries
from dtf_dask.scheduler_plugins.adapter.keeper import Keeper
from dtf_dask.scheduler_plugins.adapter.remembering import Remembering, Store
from dtf_dask.scheduler_plugins.engine.engine import Engine
from dtf_dask.scheduler_plugins.engine.terms import Notice

logger = logging.getLogger(__name__)

NAME = "dtf-scheduling"
HARDWARE_TOPIC = "dtf-hardware"
NOTICE_TOPIC = "dtf-scheduling"


class SchedulingPlugin(SchedulerPlugin):
    """Holds governed tasks in Dask's state "no-worker" and grants them.

    Parameters
    ----------
    engine
        Decides; see `dtf_dask.scheduler_plugins.engine.engine`.
    govern_all
        Whether plain root tasks are the engine's, too.
    delay_s
        How long the n-th failed attempt of a task is followed by none.
    open_store
        Opens what keeps what the engine learns; None if that ends with the scheduler.
    remember_interval_s
        How often it is kept.
    options
        For `Holding`: another clock or loop, in simulations.

    Attributes
    ----------
    failure
        Why it does not schedule, in words; empty while it does.
    remembering
        Keeps what the engine learns, if anything does.
    """

    name = NAME
    idempotent = True

    def __init__(
        self,
        engine: Engine,
        *,
        govern_all: bool = True,
        default_class: str = "normal",
        delay_s: Callable[[int], float] = lambda attempt: 0.0,
        open_store: Callable[[], Store] | None = None,
        remember_interval_s: float = 60.0,
        **options: Any,
    ) -> None:
        self.engine = engine
        self.failure = ""
        self.keeper: Keeper | None = None
        self.remembering: Remembering | None = None
        self._open_store, self._remember_interval_s = open_store, remember_interval_s
        self._kept = {"govern_all": govern_all, "default_class": default_class}
        self._delay_s = delay_s
        self._options = options
        self._scheduler: Scheduler | None = None
        self._hold: dask_grants.Hold | None = None

    async def start(self, scheduler: Scheduler) -> None:
        """Take over, if Dask is as it is known; a preload has it called twice."""
        if self._scheduler is scheduler:
            return
        self._scheduler = scheduler
        missing = dask_contract.broken(scheduler)
        Inquiries(self, scheduler).answer()
        if missing:
            self._say_failure(f"Dask has no {', '.join(missing)}")
            return
        # Set by whoever makes a scheduler that may die.
        records: Records | None = getattr(scheduler, RECORDS, None)
        options = {"loop": dask_grants.loop_of(scheduler), **self._options}
        holding = Holding(scheduler, self.engine, guarded=self._guarded, **options)
        keeper = Keeper(
            holding,
            govern_all=bool(self._kept["govern_all"]),
            default_class=str(self._kept["default_class"]),
            delay_s=self._delay_s,
            notify=self._notify,
            announce=self._announce,
            records=records,
        )
        self._hold = hold = dask_grants.Hold(
            scheduler,
            holding.places,
            lambda keys: self._hear(keeper.fail_hopeless, keys) or set(),
            holding.unplaced,
            lambda ts: self._hear(keeper.intake.actors.fitting, ts),
        )
        self.keeper = keeper
        self._announce(self.engine.pressure(holding.clock()))
        for address in list(scheduler.workers):
            self._hear(keeper.worker_joined, address)
        hold.begin()
        hold.watch_failures(
            lambda *failing: self._hear(upstream.failing, holding.tasks, *failing),
            lambda *failed: self._hear(upstream.failed, holding.tasks, *failed),
        )
        hold.listen("task-erred", self._told(keeper.attempts.erring))
        hold.listen("reschedule", self._told(keeper.attempts.rescheduled))
        hold.listen(
            "long-running",
            self._told(lambda message: None),
            self._told(keeper.attempts.seceded),
        )
        hold.listen("steal-response", self._steal_response, self._stolen)
        hold.listen_to_resources(lambda worker: self._hear(keeper.worker_told, worker))
        if self._open_store is not None and records is None:
            self.remembering = Remembering(
                self._open_store,
                self.engine.memory,
                interval_s=self._remember_interval_s,
                loop=options["loop"],
                clock=holding.clock,
            )
            self.remembering.start()

    async def close(self) -> None:
        """Nothing is placed any more, and what was learned is kept."""
        if self.keeper is not None and self.keeper.keeping is not None:
            self.keeper.keeping.close()
        self.keeper = None
        if self.remembering is not None:
            await self.remembering.close()

    # -- a takeover: see `dtf_dask.durable.successor` ---------------------------------

    def recalling(self) -> None:
        """What is told from now on is of old: nothing is placed."""
        if self.keeper is not None:
            self.keeper.recall.begin()

    def adopted(self, attempts: Sequence[Attempt]) -> None:
        """These run where they run."""
        if self.keeper is not None:
            self._hear(self.keeper.recall.adopted, attempts)

    def resumed(self) -> None:
        """The most urgent of old wait: tasks are placed from now on."""
        if self.keeper is not None:
            self._hear(self.keeper.resumed)

    def settled(self) -> None:
        """All of old is told."""
        if self.keeper is not None:
            self._hear(self.keeper.settled)

    # -- hooks of Dask ---------------------------------------------------------------

    def update_graph(  # type: ignore[override]
        self,
        scheduler: Scheduler,
        *,
        tasks: list[Key],
        client: str | None = None,
        keys: Collection[Key] = (),
        **more: Any,
    ) -> None:
        """Tasks were submitted; room was asked for those whose keys are wanted."""
        if self.keeper is not None:
            self._hear(self.keeper.submitted, tasks)
        if self.keeper is not None:
            self._hear(self.keeper.rooms.came, client, len(keys))

    def transition(
        self, key: Key, start: str, finish: str, *args: Any, **more: Any
    ) -> None:
        """A task was moved."""
        keeper = self.keeper
        if keeper is not None:  # as `_hear`, without its call: there are many of these
            try:
                keeper.moved(key, start, finish, more)
            except Exception as error:
                self._give_up(error)

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """A worker came."""
        if self.keeper is not None:
            self._hear(self.keeper.worker_joined, worker)

    def remove_worker(self, scheduler: Scheduler, worker: str, **more: Any) -> None:
        """A worker went."""
        if self.keeper is not None:
            self._hear(self.keeper.worker_left, worker)

    def remove_client(self, scheduler: Scheduler, client: str) -> None:
        """A client went."""
        if self.keeper is not None:
            self._hear(self.keeper.rooms.left, client)

    def restart(self, scheduler: Scheduler) -> None:
        """All tasks are forgotten."""
        if self.keeper is not None:
            self._hear(self.keeper.restarted)

    def log_event(self, topic: str, msg: Any) -> None:
        """A worker changed its status, or says something of itself."""
        if self.keeper is None or type(msg) is not dict:
            return
        if topic == HARDWARE_TOPIC and isinstance(msg.get("worker"), str):
            self._hear(self.keeper.worker_told, msg["worker"], msg)
        elif msg.get("action") == "worker-status-change":
            self._hear(self.keeper.worker_touched, topic)

    # -- messages of workers ---------------------------------------------------------

    def _steal_response(self, message: dict[str, Any]) -> bool:
        if self.keeper is None:
            return True
        ours = self._hear(
            self.keeper.attempts.answered,
            message.get("key"),
            str(message.get("stimulus_id", "")),
            message.get("state"),
        )
        return not ours

    def _stolen(self, message: dict[str, Any]) -> None:
        """Dask may have moved a task from one worker to another, without a word."""
        if self.keeper is not None:
            self._hear(
                self.keeper.holding.posts.foreign_moved,
                message.get("key"),
                None,
            )
            self._hear(self.keeper.holding.wake)

    # -- the guard -------------------------------------------------------------------

    def _hear(self, act: Callable[..., Any], *args: Any) -> Any:
        try:
            return act(*args)
        except Exception as error:  # Dask would swallow it
            self._give_up(error)
            return None

    def _told(self, act: Callable[[dict[str, Any]], None]) -> Callable[..., bool]:
        def heard(message: dict[str, Any]) -> bool:
            if self.keeper is not None:
                self._hear(act, message)
            return True

        return heard

    def _guarded(self, act: Callable[[], None]) -> Callable[[], None]:
        def guarded() -> None:
            if self.keeper is not None:
                self._hear(act)

        return guarded

    def _give_up(self, error: BaseException) -> None:
        keeper, self.keeper = self.keeper, None
        if keeper is None:
            return
        logger.error("The scheduling engine failed", exc_info=error)
        keeper.rooms.close()
        self._say_failure(f"{type(error).__name__}: {error}")
        if self._hold is not None:
            self._hold.end()
        # Not now: Dask may be in the middle of moving a task.
        tasks = list(keeper.holding.tasks.values())
        loop = self._options.get("loop") or dask_grants.loop_of(
            keeper.holding.scheduler
        )
        loop.call_soon(self._give_back, keeper.holding, tasks)

    def _give_back(self, holding: Holding, tasks: Iterable[Any]) -> None:
        """Let Dask place what was held. What runs goes on running."""
        scheduler = holding.scheduler
        held = []
        for task in tasks:
            ts = scheduler.tasks.get(task.key)
            if ts is not None and task.refused is not None:
                dask_failures.fail(scheduler, task.key, task.refused)
            elif ts is not None and ts.state == "no-worker":
                held.append(task.key)
        dask_grants.release(scheduler, held)

    def _say_failure(self, why: str) -> None:
        self.failure = why
        logger.warning(
            "Tasks are scheduled by Dask alone, without regard to what they ask: %s. "
            "Use a version of Dask that this version of dtf was tested with.",
            why,
        )

    def _announce(self, pressure: Pressure) -> None:
        """Tell the clients; one that comes later finds the last that was said."""
        if self._scheduler is not None and not dask_seam.broken(self._scheduler):
            dask_seam.drop_history(self._scheduler, PRESSURE_TOPIC)
            self._scheduler.log_event(PRESSURE_TOPIC, pressure.message())

    def _notify(self, notice: Notice) -> None:
        logger.info("%s %s: %s", notice.topic, notice.subject, notice.message)
        if self._scheduler is not None:
            self._scheduler.log_event(
                NOTICE_TOPIC,
                {
                    "topic": notice.topic,
                    "subject": notice.subject,
                    "message": notice.message,
                },
            )
