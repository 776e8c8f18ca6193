"""Carries events from Dask's scheduler to the engine, and what it decides back.

It decides nothing about who runs where. It keeps what only an adapter can know: which
of Dask's tasks are the engine's (`intake`), what becomes of them on their workers
(`attempts`), and when one that failed may be tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from dtf_dask.scheduler_plugins import dask_grants
from dtf_dask.scheduler_plugins.asks import PLAIN, ask
from dtf_dask.scheduler_plugins.attempts import Attempts
from dtf_dask.scheduler_plugins.governed import Governed, Key
from dtf_dask.scheduler_plugins.intake import Intake
from dtf_dask.scheduler_plugins.ledger import Ledger, error_of
from dtf_dask.scheduler_plugins.terms import Notice, Revoke

_SOON_S = 0.001
_HOPELESS_MAX = 100  # looked at in one go


class Keeper:
    """One scheduler's governed tasks, and the engine that places them.

    Parameters
    ----------
    delay_s
        How long the n-th failed attempt of a task is followed by none.
    notify
        Hears what operators should know.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        govern_all: bool = True,
        default_class: str = "normal",
        delay_s: Callable[[int], float] = lambda attempt: 0.0,
        notify: Callable[[Notice], None] = lambda notice: None,
    ) -> None:
        self.ledger = ledger
        self.intake = Intake(ledger, govern_all=govern_all, default_class=default_class)
        self.attempts = Attempts(ledger)
        self._delay_s, self._notify = delay_s, notify
        self._timer: Any = None
        self._timer_at = float("-inf")
        ledger.pump = self.pump

    # -- what happens in Dask ------------------------------------------------------

    def submitted(self, keys: Iterable[Key]) -> None:
        """Tasks came, and none of them has been moved yet."""
        self.intake.submitted(keys)

    def moved(self, key: Key, start: str, finish: str, more: Mapping[str, Any]) -> None:
        """A task went from one of Dask's states to another."""
        task = self.ledger.tasks.get(key)
        if task is None:
            if finish == "processing" or start == "processing":
                self.ledger.posts.foreign_moved(key, more.get("worker"))
                self.ledger.wake()
            if finish == "no-worker":
                self.ledger.unplaced[key] = None
            elif start == "no-worker":
                self.ledger.unplaced.pop(key, None)
        elif finish == "no-worker":
            self.ledger.arrive(task)
        elif start == "processing":
            self.attempts.off_worker(task, finish, more)
        elif start == "no-worker" and finish != "processing":
            self._withdraw(task)
        self.intake.foreign_over(key, finish)
        if task is not None and finish in ("forgotten", "erred"):
            self._over(task, finish)

    def worker_joined(self, address: str) -> None:
        """A worker is there."""
        self.ledger.posts.joined(address, self.ledger.clock())
        self.intake.worker_joined()
        self.ledger.wake()

    def worker_left(self, address: str) -> None:
        """A worker is gone, with whatever ran there."""
        now = self.ledger.clock()
        self.attempts.worker_left(address, now)
        self.ledger.posts.left(address, now)
        self.ledger.wake()

    def worker_touched(self, address: str) -> None:
        """A worker was paused or resumed, or a task on it left its thread to others."""
        if self.ledger.posts.touched(address):
            self.ledger.wake()

    def worker_told(self, address: str, advert: Any = None) -> None:
        """A worker says something new of itself, or its resources were changed."""
        if self.ledger.posts.told(address, advert):
            self.ledger.wake()

    def restarted(self) -> None:
        """Dask forgot all tasks, most of them without a word."""
        ledger, now = self.ledger, self.ledger.clock()
        self.attempts.clear(now)
        for task in ledger.tasks.values():
            self.attempts.forget(task)
            if task.stage == "granted":
                ledger.engine.ended(task.key, "released", None, now)
            else:
                ledger.engine.withdraw(task.key, now)
        ledger.tasks.clear()
        ledger.places.clear()
        ledger.unplaced.clear()
        ledger.arrived.clear()
        ledger.refused.clear()
        self.intake.clear()
        ledger.posts.recount()
        ledger.wake()

    def reprioritize(self, keys: list[Key], changes: dict[str, Any]) -> int:
        """Change the urgency of tasks, whether they wait or will."""
        now, wall_now = self.ledger.clock(), self.ledger.wall()
        if "deadline" in changes:
            wish = replace(PLAIN, deadline=changes["deadline"])
            changes = {
                **changes,
                "deadline": ask("", "", wish, now=now, wall_now=wall_now).deadline,
            }
        waiting, count = [], 0
        for key in dict.fromkeys(keys):
            task = self.ledger.tasks.get(key)
            if task is None or task.stage in ("granted", "over"):
                continue
            task.ask = replace(task.ask, **changes)
            if task.stage == "held":
                waiting.append(key)
            else:
                count += 1
        count += self.ledger.engine.reprioritize(waiting, now, **changes)
        self.ledger.wake()
        return count

    def fail_hopeless(self, keys: list[Key]) -> set[Key]:
        """Of tasks held for Dask's ``no-workers-timeout``, fail those nobody can run.

        A task that merely queues is let be.
        """
        ledger, failed = self.ledger, set()
        now = ledger.clock()
        for key in keys[:_HOPELESS_MAX]:
            task = ledger.tasks.get(key)
            if task is None or task.stage != "held":
                continue
            found = ledger.engine.explain(key, now)
            if found is not None and found.state == "waiting" and not found.busy:
                ledger.fail(task, dask_grants.no_worker_error(ledger.scheduler, key))
                failed.add(key)
        return failed

    # -- deciding ------------------------------------------------------------------

    def pump(self) -> None:
        """Tell the engine what happened, and do what it says."""
        ledger = self.ledger
        ledger.awake = False
        now = ledger.clock()
        for post in ledger.posts.refresh(now):
            # What it has not begun it will not begin soon.
            self.attempts.revoke(
                [
                    Revoke(task.key, post.name)
                    for task in ledger.tasks.values()
                    if task.place is post.ws
                ]
            )
        refused, ledger.refused = ledger.refused, []
        for task in refused:
            self._refuse(task)
        self._tell_arrived(now)
        plan = ledger.engine.pump(now)
        for reject in plan.rejects:
            if (rejected := ledger.tasks.get(reject.key)) is not None:
                rejected.stage = "over"
                ledger.fail(rejected, error_of(reject))
        for notice in plan.notices:
            self._notify(notice)
        self.attempts.revoke(plan.revokes)
        self.attempts.kill(plan.kills)
        self.attempts.grant(plan.grants, now)
        self._wake_at((plan.wake_at, self.attempts.ask_whether_over(now)), now)

    def _tell_arrived(self, now: float) -> None:
        tasks = self.ledger.scheduler.tasks
        if not self.ledger.arrived:
            return
        arrived, self.ledger.arrived = self.ledger.arrived, []
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
                self.ledger.engine.ready(self.intake.ask_now(task, ts), now)

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
        self.ledger.later(delay, lambda: self._again(task))
        return True

    def _again(self, task: Governed) -> None:
        if self.ledger.tasks.get(task.key) is task and task.stage == "backoff":
            task.stage = "known"
            self.ledger.arrive(task)

    def _refuse(self, task: Governed) -> None:
        if task.refused is not None and self.ledger.tasks.get(task.key) is task:
            task.stage = "over"
            self.ledger.fail(task, task.refused)

    def _withdraw(self, task: Governed) -> None:
        if task.stage == "held":
            self.ledger.engine.withdraw(task.key, self.ledger.clock())
            self.ledger.wake()
        task.stage = "known"

    def _over(self, task: Governed, finish: str) -> None:
        """It never ran, or will not again: whoever runs after it need not wait."""
        if task.stage != "granted":
            self.ledger.engine.withdraw(task.key, self.ledger.clock())
        if finish == "forgotten":
            self.attempts.forget(task)
            self.ledger.tasks.pop(task.key, None)
            self.ledger.places.pop(task.key, None)

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
        self._timer = self.ledger.later(at - now, self.ledger.wake)
