"""Carries events from Dask's scheduler to the engine, and what it decides back.

It decides nothing about who runs where. It keeps what only an adapter can know: which
of Dask's tasks are the engine's (`intake`), what becomes of them on their workers
(`attempts`), and when one that failed may be tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from dtf_dask.durable.successor import Records
from dtf_dask.pressure import Pressure
from dtf_dask.scheduler_plugins.adapter import dask_grants
from dtf_dask.scheduler_plugins.adapter.asks import PLAIN, Own, ask
from dtf_dask.scheduler_plugins.adapter.attempts import Attempts
from dtf_dask.scheduler_plugins.adapter.governed import Governed, Key
from dtf_dask.scheduler_plugins.adapter.holding import Holding, error_of
from dtf_dask.scheduler_plugins.adapter.intake import OVER, Intake
from dtf_dask.scheduler_plugins.adapter.keeping import Keeping
from dtf_dask.scheduler_plugins.adapter.recalling import Recalling
from dtf_dask.scheduler_plugins.adapter.rooms import Rooms
from dtf_dask.scheduler_plugins.engine.terms import Notice, Revoke

_SOON_S = 0.001
_HOPELESS_MAX = 100  # looked at in one go


class Keeper:
    """One scheduler's governed tasks, and the engine that places them.

    Parameters
    ----------
    delay_s
        How long the n-th failed attempt of a task is followed by none.
    notify, announce
        Hear what operators should know, and clients.
    records
        Where it is kept what whoever takes over must know; None if nobody will.
    """

    def __init__(
        self,
        holding: Holding,
        *,
        govern_all: bool = True,
        default_class: str = "normal",
        delay_s: Callable[[int], float] = lambda attempt: 0.0,
        notify: Callable[[Notice], None] = lambda notice: None,
        announce: Callable[[Pressure], None] = lambda pressure: None,
        records: Records | None = None,
    ) -> None:
        self.holding = holding
        self.intake = Intake(
            holding, govern_all=govern_all, default_class=default_class
        )
        self.attempts = Attempts(holding)
        self.keeping = None if records is None else Keeping(records, holding)
        self.recall = Recalling(holding, self.intake, self.attempts, self.keeping)
        self.rooms = Rooms(holding, announce, default_class)
        self._delay_s, self._notify = delay_s, notify
        self._of_old = False
        self._timer: Any = None
        self._timer_at = float("-inf")
        holding.pump = self.pump

    # -- what happens in Dask ------------------------------------------------------

    def submitted(self, keys: Iterable[Key]) -> None:
        """Tasks came, and none of them has been moved yet."""
        self.intake.submitted(keys)

    def moved(self, key: Key, start: str, finish: str, more: Mapping[str, Any]) -> None:
        """A task went from one of Dask's states to another."""
        task = self.holding.tasks.get(key)
        if task is None:
            self._foreign_moved(key, start, finish, more)
        elif finish == "processing":
            return  # it was granted
        elif finish == "no-worker":
            if self.holding.unready:
                self.holding.unready.pop(key, None)
            self.holding.arrive(task)
        elif start == "processing":
            self.attempts.off_worker(task, finish, more)
        elif start == "no-worker":
            self._withdraw(task)
        if finish in OVER:
            self.holding.unready.pop(key, None)
            self.intake.over(key, finish)
            if task is not None and finish != "memory":
                self._over(task, finish)

    def _foreign_moved(
        self, key: Key, start: str, finish: str, more: Mapping[str, Any]
    ) -> None:
        holding = self.holding
        if finish == "processing" or start == "processing":
            holding.posts.foreign_moved(key, more.get("worker"))
            holding.wake()
        if finish == "no-worker":
            holding.unplaced[key] = None
        elif start == "no-worker":
            holding.unplaced.pop(key, None)
        if finish == "forgotten":
            self.intake.actors.forgotten(key)

    def worker_joined(self, address: str) -> None:
        """A worker is there."""
        self.holding.posts.joined(address, self.holding.clock())
        self.intake.worker_joined()
        self.holding.wake()

    def worker_left(self, address: str) -> None:
        """A worker is gone, with whatever ran there."""
        now = self.holding.clock()
        self.attempts.worker_left(address, now)
        self.holding.posts.left(address, now)
        self.holding.wake()

    def worker_touched(self, address: str) -> None:
        """A worker was paused or resumed, or a task on it left its thread to others."""
        if self.holding.posts.touched(address):
            self.holding.wake()

    def worker_told(self, address: str, advert: Any = None) -> None:
        """A worker says something new of itself, or its resources were changed."""
        if self.holding.posts.told(address, advert):
            self.holding.wake()
            self.holding.soon(self.intake.actors.look_again)  # when that is known

    def restarted(self) -> None:
        """Dask forgot all tasks, most of them without a word."""
        holding, now = self.holding, self.holding.clock()
        self.attempts.clear(now)
        for task in holding.tasks.values():
            self.attempts.forget(task)
            if task.stage == "granted":
                holding.engine.ended(task.key, "released", None, now)
            else:
                holding.engine.withdraw(task.key, now)
        holding.tasks.clear()
        holding.places.clear()
        holding.unplaced.clear()
        holding.arrived.clear()
        holding.unready.clear()
        holding.refused.clear()
        holding.doomed.clear()
        holding.tried.clear()
        self.intake.clear()
        holding.posts.recount()
        holding.wake()

    async def reprioritize(self, keys: list[Key], changes: dict[str, Any]) -> int:
        """Change the urgency of tasks, whether they wait or will, for good."""
        now, wall_now = self.holding.clock(), self.holding.wall()
        if "deadline" in changes:
            own = Own(deadline=changes["deadline"])
            meant = ask("", "", PLAIN, now=now, wall_now=wall_now, own=own)
            changes = {**changes, "deadline": meant.deadline}
        waiting, count, changed = [], 0, []
        for key in dict.fromkeys(keys):
            task = self.holding.tasks.get(key)
            if task is None or task.stage in ("granted", "over"):
                continue
            task.ask = replace(task.ask, **changes)
            changed.append(key)
            if task.stage == "held":
                waiting.append(key)
            else:
                count += 1
        count += self.holding.engine.reprioritize(waiting, now, **changes)
        self.holding.wake()
        if self.keeping is not None:
            await self.keeping.urgent(changed, changes)
        return count

    def fail_hopeless(self, keys: list[Key]) -> set[Key]:
        """Of tasks held for Dask's ``no-workers-timeout``, fail those nobody can run.

        A task that merely queues is let be.
        """
        holding, failed = self.holding, set()
        now = holding.clock()
        for key in keys[:_HOPELESS_MAX]:
            task = holding.tasks.get(key)
            if task is None or task.stage != "held":
                continue
            found = holding.engine.explain(key, now)
            if found is not None and found.state == "waiting" and not found.busy:
                holding.fail(task, dask_grants.no_worker_error(holding.scheduler, key))
                failed.add(key)
        return failed

    # -- a takeover ----------------------------------------------------------------

    def resumed(self) -> None:
        """Place what waits, and has since it was submitted; more of old will come."""
        self.recall.settled()
        self._of_old = True
        self._tell_arrived(self.holding.clock())
        if self.keeping is not None:
            self.keeping.start()
        self.holding.wake()

    def settled(self) -> None:
        """All of old is told."""
        if self.holding.recalling:
            self.resumed()
        self._tell_arrived(self.holding.clock())
        self._of_old = False
        self.holding.wake()

    # -- deciding ------------------------------------------------------------------

    def pump(self) -> None:
        """Tell the engine what happened, and do what it says."""
        holding = self.holding
        holding.awake = False
        if holding.recalling:
            return
        now = holding.clock()
        for post in holding.posts.refresh(now):
            # What it has not begun it will not begin soon.
            self.attempts.revoke(
                [
                    Revoke(task.key, post.name)
                    for task in holding.tasks.values()
                    if task.place is post.ws
                ]
            )
        refused, holding.refused = holding.refused, []
        for task in refused:
            self._refuse(task)
        while holding.doomed:  # before the engine lets those go that wait for them
            self._doom(*holding.doomed.popleft())
        self._tell_arrived(now)
        plan = holding.engine.pump(now)
        for reject in plan.rejects:
            if (rejected := holding.tasks.get(reject.key)) is not None:
                rejected.stage = "over"
                holding.fail(rejected, error_of(reject))
        for notice in plan.notices:
            self._notify(notice)
        self.attempts.revoke(plan.revokes)
        self.attempts.kill(plan.kills)
        self.attempts.grant(plan.grants, now)
        self.rooms.decided(plan.pressure, now)
        self._wake_at((plan.wake_at, self.attempts.ask_whether_over(now)), now)

    def _tell_arrived(self, now: float) -> None:
        tasks = self.holding.scheduler.tasks
        if not self.holding.arrived:
            return
        arrived, self.holding.arrived = self.holding.arrived, []
        ready = [
            (ts.priority or (), task, ts)
            for task in dict.fromkeys(arrived)
            if (ts := tasks.get(task.key)) is not None and ts.state == "no-worker"
        ]
        # Dask's own order within what came at once: the roots of a graph are met
        # in no order, and some orders need far more memory than others.
        ready.sort(key=lambda one: one[0])
        for _, task, ts in ready:
            if task.stage in ("held", "granted"):
                continue
            if task.refused is not None:
                self._refuse(task)
            elif self.attempts.farewells.get(task.key) is not None:
                if not self.attempts.resume(task, now):
                    task.stage = "parting"
            elif task.after:
                task.stage = "after"
            elif not self._back_off(task):
                task.stage = "held"
                since = task.since if self._of_old else None
                self.holding.engine.ready(self.intake.ask_now(task, ts), now, since)

    def _back_off(self, task: Governed) -> bool:
        """Whether a task that has just failed is to wait a while.

        One with nothing but Dask's own ``retries=`` is tried again at once, as in Dask.
        """
        if task.stage != "over" or not task.attempts or task.wishes.retries is None:
            return False
        delay = self._delay_s(task.attempts)
        if delay <= 0:
            return False
        task.stage = "backoff"
        self.holding.later(delay, lambda: self._again(task))
        return True

    def _again(self, task: Governed) -> None:
        if self.holding.tasks.get(task.key) is task and task.stage == "backoff":
            task.stage = "known"
            self.holding.arrive(task)

    def _refuse(self, task: Governed) -> None:
        if task.refused is not None and self.holding.tasks.get(task.key) is task:
            task.stage = "over"
            self.holding.fail(task, task.refused)

    def _doom(self, task: Governed, error: BaseException) -> None:
        if self.holding.tasks.get(task.key) is task and task.stage != "granted":
            task.stage = "over"
            self.holding.fail(task, error)

    def _withdraw(self, task: Governed) -> None:
        if task.stage == "held":
            self.holding.engine.withdraw(task.key, self.holding.clock())
            self.holding.wake()
        task.stage = "known"

    def _over(self, task: Governed, finish: str) -> None:
        """It never ran, or will not again: whoever runs after it need not wait."""
        if task.stage != "granted":
            self.holding.engine.withdraw(task.key, self.holding.clock())
        if finish == "forgotten":
            self.intake.forgotten(task.key)
            self.attempts.forget(task)
            self.holding.tasks.pop(task.key, None)
            self.holding.places.pop(task.key, None)

    def _wake_at(self, times: tuple[float | None, ...], now: float) -> None:
        known = [at for at in times if at is not None]
        if not known:
            return
        at = max(min(known), now + _SOON_S)
        if self._timer is not None and now < self._timer_at <= at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self.holding.later(at - now, self.holding.wake)
