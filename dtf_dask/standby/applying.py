"""Acts on the operations of a journal, one after the other, on a real scheduler.

A shadow and a leader do the same, so that who takes over has what the leader had: a
shadow only makes nothing run, and has nobody to tell. It acts on a journal from which
what is over may be gone, so it keeps what it forgets until it has acted on all of it
(see `dtf_dask.standby.living`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable
from typing import Any

from distributed import Scheduler
from distributed.scheduler import TaskState

from dtf_dask.durable import operations
from dtf_dask.durable.makings import mark_of
from dtf_dask.durable.operations import Operation, encode_asked
from dtf_dask.standby import dask_makings, dask_moving, dask_seam, dask_takeover
from dtf_dask.standby.asked_again import AskedAgain
from dtf_dask.standby.burying import Buried, Graveyard
from dtf_dask.standby.described import Described
from dtf_dask.standby.huge import in_turns
from dtf_dask.standby.journal import APART_S
from dtf_dask.standby.living import Living
from dtf_dask.standby.submitted import possible, prepare
from dtf_dask.standby.telling import Telling
from dtf_dask.standby.watch import NAME, Watch

logger = logging.getLogger(__name__)

FIRE_AND_FORGET = "fire-and-forget"
"""Dask's own client that wants what nobody waits for; any may add to its wishes."""
Key = Any
"""Dask's keys are narrower than those of tables."""

_MANY, _TASK_S = 10_000, 100e-6
"""Plugins hear of all tasks of a submission at once, and may take so long for each."""

Slices = Generator[None, None, None]


class Applier:
    """Acts on operations.

    Parameters
    ----------
    tell_more
        Takes operations that the scheduler itself adds to the journal, when it leads.
    Attributes
    ----------
    failed
        Why the last operation could not be acted on; empty if it could.
    last_s
        The latest time at which an operation was written.
    leads
        Whether others are told.
    quiet
        Whether nothing runs yet.
    busy
        Told before others have no turn for long: for how long at most.
    erred
        What the journal says of tasks that failed, by key.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        tell_more: Callable[[bytes], None],
    ) -> None:
        self.scheduler = scheduler
        self.living = Living()
        self.failed = ""
        self.last_s = 0.0
        self.leads = False
        self.quiet = True
        self._described = Described(scheduler, self.living)
        self.erred = self._described.erred
        self.tell_more = tell_more
        self.busy: Callable[[float], None] = lambda limit_s: None
        self.telling = Telling(scheduler)
        self._graves = Graveyard(scheduler, self._revive)
        self._is_there = self._graves.is_known
        self._again = AskedAgain(scheduler, self._graves.confirm)
        self._restricted: set[Key] = set()
        self._acting = False
        scheduler.add_plugin(Watch(self.forgotten, self.finished, scheduler), name=NAME)
        self._acts: dict[int, Callable[[Operation, bytes, float, Any], Slices]] = {
            operations.TABLE: self._table,
            operations.DESIRE: self._desire,
            operations.RELEASE: self._release,
            operations.CANCEL: self._cancel,
            operations.RETRY: self._retry,
            operations.SCATTER: self._scatter,
            operations.CLIENT_GONE: self._client_gone,
            operations.RESTART: self._restart,
            operations.ERRED: self._erred,
            operations.COUNTS: self._counts,
            operations.VOID: self._void,
            operations.KEEPS: self._keeps,
        }

    def act(
        self, operation: Operation, packed: bytes, at_s: float, read: Any = None
    ) -> Slices:
        """Act on one operation, with pauses if it is large.

        Parameters
        ----------
        packed
            The operation as the journal has it.
        read
            What `prepare` made of it, if that was done before.
        """
        self.failed = ""
        self.last_s = max(self.last_s, at_s)
        self.living.turn(at_s)
        turns = self._acts[operation.kind](operation, packed, at_s, read)
        yield from self._guarded(operation, in_turns(turns, len(packed), self.busy))

    def act_early(self, operation: Operation) -> Slices:
        """What was so for the leader by now, as an operation to come says."""
        upto_s = operation.body[-1]
        why = f"{operations.KINDS[operation.kind].name}-{upto_s}"
        if operation.kind == operations.KEEPS:
            turns = self._again.over(operation, why)
        else:
            void = self.living.void(operation.client, operation.body[0], upto_s)
            turns = dask_moving.release(self.scheduler, operation.client, void, why)
        yield from self._guarded(operation, turns)

    def expect(self, operation: Operation) -> None:
        """An operation that is to come says what is so before it."""
        if operation.kind == operations.KEEPS:
            self._again.expect(operation)

    def say_kept(self) -> None:
        """Have written what is known still that was asked for again."""
        for packed in self._again.said(self.last_s):
            self.tell_more(packed)

    def _guarded(self, operation: Operation, turns: Slices) -> Slices:
        try:
            while True:
                self._acting = True
                try:
                    next(turns)
                except StopIteration:
                    break
                finally:
                    self._acting = False
                yield
            revived = self._graves.just_revived()
            dask_moving.forget_unneeded(self.scheduler, revived, "revived")
        except Exception as error:
            # Whoever takes over would meet it again: one operation must not be what
            # ends all schedulers, one after the other.
            self.failed = f"{type(error).__name__}: {error}"[:1_000]
            logger.exception(
                "an operation (%s) of client %s cannot be acted on",
                *(operations.KINDS[operation.kind].name, operation.client),
            )

    def settle(self) -> None:
        """All that is in the ledger was acted on: nothing is revived any more."""
        self._graves.settle()
        self.living.settle()

    def next_day(self) -> None:
        """All was acted on that was in the ledger when this was called last: what was
        forgotten before that is not revived any more."""
        self.living.settle(self._graves.next_day())

    def lead(self) -> None:
        """From now on others are told what becomes of what they ask."""
        self.settle()
        self.leads = True

    def schedule(self) -> None:
        """From now on tasks run."""
        tasks = self.scheduler.tasks
        dask_seam.restrict(
            self.scheduler, [tasks[key] for key in self._restricted if key in tasks]
        )
        self._restricted.clear()
        self.quiet = False

    def forgotten(self, ts: TaskState) -> None:
        """A task is known no more, for whatever reason."""
        key: Key = ts.key
        self.living.forgotten(key)
        erred = self.erred.pop(key, None)
        if not self.leads:
            self._graves.bury(ts, erred)
        elif not self._acting:
            # No operation said so: a worker died with what cannot be made again. Dask
            # has let go of who wanted it by now.
            for client in self.living.wanting(key):
                self._voids(client, (key,), self.last_s)

    def finished(self, key: Key) -> None:
        """A task is done, of which Dask itself may void a wish."""
        cs = self.scheduler.clients.get(FIRE_AND_FORGET)
        wishes = self.living.wanted(FIRE_AND_FORGET)
        if self.leads and key in wishes and cs is not None:
            ts = self.scheduler.tasks.get(key)
            if ts is None or ts not in cs.wants_what:
                self._voids(FIRE_AND_FORGET, (key,), self.last_s)

    def _voids(self, client: str, keys: tuple[Key, ...], upto_s: float) -> None:
        """Have it written that wishes are void: those up to now, for what comes before
        that in the journal may hold the same wish again. There may be any number."""
        self.living.void(client, keys, upto_s)
        for packed in encode_asked(operations.VOID, client, keys, upto_s):
            self.tell_more(packed)

    # The operations.

    def _table(self, op: Operation, packed: bytes, at_s: float, read: Any) -> Slices:
        given = read if read is not None else prepare(op)
        assert given is not None
        scheduler = self.scheduler
        wanted = given.table.wanted
        why = f"update-graph-{at_s}"
        lost = [key for key in given.elsewhere if not self._is_there(key)]
        dask_seam.known_client(scheduler, op.client)
        if lost and self.leads:
            yield from self._lost(op.client, packed, wanted, at_s)
            return
        rows = given.rows
        tasks: dict[Key, TaskState] = scheduler.tasks
        if lost:
            rows = possible(rows, lost, self._graves.is_certain)
        anew = self._graves.anew(row.key for _, row in rows)
        before = [dts for key in anew for dts in tasks[key].dependencies]
        values = [row.key for _, row in rows if dask_seam.is_value(tasks.get(row.key))]
        self._say_busy(len(rows))
        made = yield from dask_seam.make_tasks(
            scheduler, given, at_s, rows, schedules=not self.quiet, anew=anew
        )
        self._say_busy(len(rows))
        if self.quiet:
            self._restricted.update(
                ts.key for ts in made if dask_seam.is_restricted(ts)
            )
        there: list[Key] = [key for key in wanted if key in tasks]
        vain = [key for key in wanted if key not in tasks]
        keys = [ts.key for ts in made]
        self.living.asserted(packed, op.client, keys, there, vain, values)
        scheduler.client_desires_keys(keys=there, client=op.client)
        self._again.keep(made)
        if len(made) < len(rows):
            new = set(keys)
            others: list[Key] = [row.key for _, row in rows if row.key not in new]
            self._again.note([tasks[key] for key in others if key in tasks], at_s)
        # What is needed only by tasks that could not be made, or that are known, by
        # another submission that needs something else.
        dask_moving.forget_unneeded(scheduler, [*before, *made], why)
        yield from dask_seam.submit(
            scheduler, op.client, given, why, schedules=not self.quiet
        )

    def _say_busy(self, tasks: int) -> None:
        if tasks > _MANY:
            self.busy(tasks * _TASK_S + 1.0)

    def _lost(
        self, client: str, packed: bytes, wanted: tuple[Key, ...], at_s: float
    ) -> Slices:
        self.living.asserted(packed, client, vain=wanted)
        self.telling.cancelled(client, wanted, "lost dependencies")
        self._voids(client, wanted, at_s)
        why = f"lost-dependencies-{at_s}"
        yield from dask_moving.release(self.scheduler, client, wanted, why)

    def _desire(self, op: Operation, packed: bytes, at_s: float, _: Any) -> Slices:
        there, vain = self._parted(op.body[0])
        self.living.asserted(packed, op.client, (), there, vain)
        dask_seam.known_client(self.scheduler, op.client)
        self.scheduler.client_desires_keys(keys=there, client=op.client)
        if vain and self.leads:
            self.telling.cancelled(op.client, vain, "lost")
            self._voids(op.client, tuple(vain), at_s)
        yield from ()

    def _release(self, op: Operation, packed: bytes, at_s: float, _: Any) -> Slices:
        keys = op.body[0]
        self.living.denied(packed, [(op.client, key) for key in keys])
        why = f"client-releases-keys-{at_s}"
        yield from dask_moving.release(self.scheduler, op.client, keys, why)

    def _void(self, op: Operation, packed: bytes, at_s: float, _: Any) -> Slices:
        keys = self.living.denied_upto(packed, op.client, *op.body)
        yield from dask_moving.release(self.scheduler, op.client, keys, f"void-{at_s}")

    def _cancel(self, op: Operation, packed: bytes, at_s: float, _: Any) -> Slices:
        keys, force, reason = op.body
        self.living.denied(packed, ())
        by_client = dask_moving.wanted_above(self.scheduler.tasks, keys)
        for client, wanted in by_client.items():
            if not force and client != op.client:
                continue
            if self.leads:
                # What it made void is written: a shadow may know fewer tasks above.
                self._voids(client, tuple(wanted), at_s)
                self.telling.cancelled(client, wanted, reason, by=op.client)
            why = f"cancel-key-{at_s}"
            yield from dask_moving.release(self.scheduler, client, wanted, why)

    def _retry(self, op: Operation, packed: bytes, at_s: float, _: Any) -> Slices:
        self._described.retried(op, packed, at_s, quiet=self.quiet)
        yield from ()

    def _scatter(self, op: Operation, packed: bytes, at_s: float, _: Any) -> Slices:
        scheduler = self.scheduler
        made: list[TaskState] = []
        again: list[TaskState] = []
        mark = mark_of(op.client, round(at_s / APART_S))
        for key in op.body[0]:
            ts = scheduler.tasks.get(key)
            if ts is None:
                ts = scheduler.new_task(key, None, "released")
            elif self._graves.anew([key]):
                dask_seam.make_anew(ts, None)
            elif self.living.is_made(key):
                again.append(ts)
                continue
            made.append(ts)  # the leader knows a value before this says so
            dask_takeover.mark_value(ts, mark)
        self.living.asserted(packed, op.client, [ts.key for ts in made], op.body[0])
        dask_seam.known_client(scheduler, op.client)
        scheduler.client_desires_keys(keys=op.body[0], client=op.client)
        self._again.keep(made)
        self._again.note(again, at_s)
        if self.leads:
            dask_makings.tell_holders(scheduler, made)
        yield from ()

    def _client_gone(self, op: Operation, packed: bytes, at_s: float, _: Any) -> Slices:
        self.living.left(packed, [op.client])
        why = f"remove-client-{at_s}"
        yield from self._release_all(op.client, why)
        Scheduler.remove_client(self.scheduler, op.client, stimulus_id=why)

    def _restart(self, op: Operation, packed: bytes, at_s: float, _: Any) -> Slices:
        self.living.left(packed, self.living.clients())
        for client, cs in list(self.scheduler.clients.items()):
            if self.leads and client != op.client:
                keys = [ts.key for ts in cs.wants_what]
                self.telling.cancelled(client, keys, "scheduler-restart", by=op.client)
            yield from self._release_all(client, f"restart-{at_s}")

    def _release_all(self, client: str, why: str) -> Slices:
        cs = self.scheduler.clients.get(client)
        if cs is not None:
            keys = [ts.key for ts in cs.wants_what]
            yield from dask_moving.release(self.scheduler, client, keys, why)

    def _erred(self, op: Operation, packed: bytes, at_s: float, _: Any) -> Slices:
        self._described.failed(op, packed, leads=self.leads)
        yield from ()

    def _counts(self, op: Operation, packed: bytes, at_s: float, _: Any) -> Slices:
        self._described.counted(op, packed, leads=self.leads)
        yield from ()

    def _keeps(self, op: Operation, packed: bytes, at_s: float, _: Any) -> Slices:
        keys, marks, upto_s = op.body
        self._described.kept(packed, keys, marks)
        self._again.is_written(upto_s)
        yield from ()

    # What is there.

    def _parted(self, keys: Iterable[Key]) -> tuple[list[Key], list[Key]]:
        there: list[Key] = []
        vain: list[Key] = []
        for key in keys:
            (there if self._is_there(key) else vain).append(key)
        return there, vain

    def _revive(self, ts: TaskState, found: Buried) -> None:
        key: Key = ts.key
        self.living.revived(key)
        dask_seam.tell_plugins(self.scheduler, "", [ts], set(), "revived")
        if dask_seam.is_restricted(ts):
            self._restricted.add(key)
        if found.erred is not None:
            self._described.remember(ts, found.erred)
