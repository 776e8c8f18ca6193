"""The worker plugin that has a worker outlive its scheduler, and serve the next one.

Dask's worker ends when the connection to its scheduler breaks. With this it keeps what
it has made and what it runs, waits for whoever leads next, tells him in its
registration (`dtf_dask.durable.inventory`), and then says what it could not say before.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from weakref import WeakKeyDictionary

from distributed import Client, Worker, WorkerPlugin
from distributed.comm.core import Comm, FatalCommClosedError

from dtf_dask.comm.address import PREFIX
from dtf_dask.config import entries, load
from dtf_dask.durable import dask_asking
from dtf_dask.durable.client_preload import configure
from dtf_dask.durable.dask_asking import AskingAgain, term_of
from dtf_dask.durable.inventory import KEY
from dtf_dask.errors import ConfigurationError
from dtf_dask.quantities import parse_duration
from dtf_dask.submission.shuffle_plans import PLAN, plan_of
from dtf_dask.worker_plugins import dask_holdings as holdings
from dtf_dask.worker_plugins import dask_rejoin as seam
from dtf_dask.worker_plugins.makings import Makings
from dtf_dask.worker_plugins.rejoin_plugins import ReceivedPlugins
from dtf_dask.worker_plugins.rejoin_standing import Standing
from dtf_dask.worker_plugins.rejoin_unsaid import Unsaid, not_yet_ended

logger = logging.getLogger(__name__)

NAME = "dtf-rejoin"
ANSWER_S = 60.0
"""So long a registration may go unanswered. A newer leader's call ends it at once."""
AGAIN_S = 0.05
"""Between two registrations, where the first came to nothing."""
RESTS_S = 1.0
"""The same, where what coordinators say does not change within milliseconds."""
FENCED_GRACE_S = 5.0
"""So long threads may go on with what nobody wants, before the process is replaced."""

HEARTBEAT_KEPT_BACK_S = 2.0

_BROKEN = "worker-handle-scheduler-connection-broken"
_FENCED = "dtf"  # in an answer: what it is that Dask has no word for
_HEARTBEATS = frozenset({"worker-heartbeat-missing", "worker-heartbeat-error"})


def patience_s() -> float:
    """How long to wait for a leader, as configured, or by default if that is wrong."""
    try:
        return load().ha.worker_patience_s
    except ConfigurationError as error:
        logger.warning("ha.worker-patience is as by default: %s", error)
        (default,) = (e.default for e in entries() if e.key == "ha.worker-patience")
        return parse_duration(default)


class _Calls(AskingAgain):
    """A worker's calls to its scheduler.

    A heartbeat that fails is kept back until it is known whether the scheduler is gone:
    then nobody has to hear that it could not be reached.
    """

    async def _once(self, name: str, arguments: dict[str, Any]) -> Any:
        try:
            return await super()._once(name, arguments)
        except OSError:
            if name == "heartbeat_worker":
                await asyncio.sleep(HEARTBEAT_KEPT_BACK_S)
            raise


class RejoinPlugin(WorkerPlugin):
    """Has a worker of ``dtf://`` outlive its scheduler.

    It may come by preload, or with the answer to a registration, or both.
    """

    name = NAME
    idempotent = True

    def __init__(self, patience_s: float | None = None) -> None:
        self._patience_s = patience_s
        self.failure = ""

    def __reduce__(self) -> Any:
        return RejoinPlugin, (self._patience_s,)

    def setup(self, worker: Worker) -> None:
        """Take over from Dask what happens as the scheduler is lost."""
        if worker in _MEMBERSHIPS:
            return
        if not worker.scheduler.address.startswith(PREFIX):
            self.failure = f"it was started with {worker.scheduler.address}"
            logger.warning(
                "This worker ends when its scheduler does: %s. Start it with the"
                " address of all coordinators, dtf://HOST:PORT,HOST:PORT,...",
                self.failure,
            )
            return
        missing = seam.broken(worker) + dask_asking.broken()
        if missing:
            self.failure = f"Dask has no {', '.join(missing)}"
            logger.warning("This worker ends when its scheduler does: %s", self.failure)
            return
        configure()  # clients that tasks make outlive it, too
        worker.scheduler = _Calls(worker.scheduler)
        _MEMBERSHIPS[worker] = Membership(worker, self._patience())

    def _patience(self) -> float:
        if self._patience_s is not None:
            return self._patience_s
        return patience_s()

    def teardown(self, worker: Worker) -> None:
        """Wait for no scheduler any more, if the worker closes."""
        if worker in _MEMBERSHIPS and not seam.is_running(worker):
            _MEMBERSHIPS.pop(worker).end()


class Membership:
    """A worker's membership of a cluster, from one leader to the next."""

    def __init__(self, worker: Worker, patience_s: float) -> None:
        self._worker = worker
        self._patience_s = patience_s
        self._standing = Standing(patience_s)
        self._unsaid = Unsaid()
        self._plugins = ReceivedPlugins(worker)
        self._makings = Makings(worker)
        self._leaving = False
        self._refusal = ""
        self._beating: asyncio.Future[None] | None = None
        self._comm: Comm | None = None
        self._asking: Comm | None = None
        self._rejoining: asyncio.Task[Any] | None = None
        seam.replace(
            worker,
            handle_scheduler=self.serve,
            batched_send=self.say,
            close=self.close,
            heartbeat=self.heartbeat,
            get_client=self.get_client,
        )
        worker.handlers["dtf_leader"] = self.leader_calls
        worker.handlers[PLAN] = plan_of
        worker.startup_information[KEY] = self._first_inventory

    # What Dask calls instead of the worker's own methods.

    async def serve(self, comm: Comm) -> None:
        """Do what schedulers say, one after the other, until the worker closes."""
        self._joined(comm)
        if not self._standing.may_join(self._standing.term):
            self._lose("another leads since")
        try:
            while True:
                await self._obey(comm)
                if not seam.is_running(self._worker):
                    return
                self._lose("the connection broke")
                self._rejoining = asyncio.current_task()
                found = await self._rejoin()
                self._rejoining = None
                if found is None:
                    return
                comm = found
        except asyncio.CancelledError:
            if seam.is_running(self._worker):
                raise
        except Exception:
            logger.exception("This worker cannot go on")
            self._rejoining = None
            await seam.force_close(self._worker)
            raise

    async def _obey(self, comm: Comm) -> None:
        await seam.obey(self._worker, comm, lambda: self._comm is comm)

    def say(self, message: dict[str, Any]) -> None:
        """Say something to the scheduler, or keep it until there is one."""
        if self._standing.has_joined and (
            self._standing.away or not seam.is_open(self._worker)
        ):
            self._unsaid.add(message)
        else:
            seam.own(self._worker, "batched_send")(message)

    async def heartbeat(self) -> None:
        """Say that it is alive, to whom it serves."""
        if self._standing.away:
            return
        self._beating = asyncio.ensure_future(seam.own(self._worker, "heartbeat")())
        # Not awaited as itself: that it is cancelled, as `_lose` does, is no error.
        await asyncio.wait([self._beating])
        if not self._beating.cancelled():
            self._beating.exception()  # Dask has logged it

    async def close(self, *args: Any, **kwargs: Any) -> Any:
        """Close the worker if that is meant; heartbeats close only who was retired."""
        reason = kwargs.get("reason")
        if reason in _HEARTBEATS and not seam.is_retiring(self._worker):
            if not self._standing.away and reason == "worker-heartbeat-missing":
                self._lose("the scheduler does not know this worker")
            return None
        return await seam.own(self._worker, "close")(*args, **kwargs)

    def get_client(self, timeout: Any = None) -> Client:
        """The client of the worker's tasks; it is as patient as the worker."""
        waits_s = self._patience_s if timeout is None else timeout
        return seam.client_for_tasks(self._worker, waits_s)

    # What coordinators call.

    async def leader_calls(self, address: str, term: int) -> dict[str, Any]:
        """Hear who leads now: whoever led before is not obeyed any more.

        A connection that is open at one end only never breaks by itself.
        """
        if type(term) is not int or type(address) is not str:
            return {"status": "error", "message": "this is no leader"}
        call = self._standing.called(term)
        if call == "stale":
            return {"status": "stale", "term": self._standing.newest}
        if call == "newer":
            seam.point_to_leader(self._worker, address, term)
            if self._standing.has_joined:
                self._lose(f"{address} leads in term {term}")
            if self._asking is not None and term_of(self._asking) < term:
                self._asking.abort()
        return {"status": "OK"}

    def end(self) -> None:
        """Look for nobody any more."""
        if self._rejoining is not None:
            self._rejoining.cancel()

    # Losing one, and finding the next.

    def _joined(self, comm: Comm) -> None:
        self._comm = comm
        self._standing.joined(term_of(comm))
        seam.watch_stream(self._worker, self._unsaid.put_before)
        seam.end_old_calls(self._worker, self._standing.term)

    def _lose(self, why: str) -> None:
        """Serve nobody, and keep what there is to say; nothing is awaited."""
        if self._standing.away:
            return
        self._standing.lost(seam.now_s())
        comm, self._comm = self._comm, None
        if self._beating is not None:
            self._beating.cancel()
        seam.leave(self._worker)
        if comm is not None:
            comm.abort()
        self._makings.drop_held()
        dropped = holdings.drop(self._worker, holdings.UNBEGUN, "dtf-scheduler-lost")
        logger.info(
            "This worker has no scheduler: %s. It goes on with %d tasks, has dropped %d"
            " that had not begun, and waits for the next leader.",
            why,
            holdings.running_count(self._worker),
            dropped,
        )

    async def _rejoin(self) -> Comm | None:
        """The stream of the next leader; None if the worker closes."""
        while seam.is_running(self._worker):
            left_s = self._standing.waits_s(seam.now_s())
            if left_s <= 0:
                logger.warning(
                    "No leader for %.0f s: this worker ends%s",
                    self._standing.away_s(seam.now_s()),
                    f" ({self._refusal})" if self._refusal else "",
                )
                await self._close(reason=_BROKEN)
                return None
            try:
                comm = await seam.connected(self._worker, left_s)
            except FatalCommClosedError as error:  # said what waiting hardly changes
                await self._rest(f"none is found: {error}")
                continue
            except OSError:
                await asyncio.sleep(AGAIN_S)
                continue
            if await self._register(comm):
                return comm
            comm.abort()
            await asyncio.sleep(AGAIN_S)
        return None

    async def _register(self, comm: Comm) -> bool:
        """Whether the leader has let the worker in."""
        worker, term = self._worker, term_of(comm)
        if not self._standing.may_join(term):
            return False
        if term != self._standing.term:
            holdings.end_shuffles(worker, "the scheduler of the shuffle is gone")
            self._leaving = seam.stay(worker) or self._leaving
        self._asking = comm
        try:
            message = await seam.registration(worker)
            # Nothing is awaited from here until the message is written.
            message["extra"][KEY] = self._inventory()
            asked_at = seam.now_s()
            async with asyncio.timeout(ANSWER_S):
                answer = await seam.ask(comm, message)
        except (OSError, TimeoutError):
            return False
        finally:
            self._asking = None
        if not seam.is_running(worker) or not self._standing.may_join(term):
            return False
        if answer.get("status") != "OK":
            await self._refused(answer)
            return False
        if comm.closed():  # he answered, and died
            return False
        seam.note_clock(worker, asked_at, answer)
        away_s = self._standing.away_s(seam.now_s())
        seam.enter(worker, comm, self._unsaid.take())
        self._joined(comm)
        self._refusal = ""
        logger.info(
            "This worker serves the leader of term %d after %.3f s", term, away_s
        )
        await self._plugins.update(answer.get("worker-plugins") or {})
        if self._leaving:
            self._leaving = False
            seam.leave_gracefully(worker)
        return True

    async def _refused(self, answer: dict[str, Any]) -> None:
        """Become another worker, if that is asked; else ask again, for all it has.

        Another leader may be of another version, and a name may be free in a while.
        """
        worker = self._worker
        if answer.get(_FENCED) != "fenced":
            await self._rest(f"it is refused: {answer.get('message') or answer}")
            return
        logger.warning(
            "This worker was away for too long (%s): it drops all that it has, and"
            " joins as another one",
            answer.get("message", ""),
        )
        holdings.end_shuffles(worker, "this worker was given up")
        holdings.drop(worker, None, "dtf-fenced")
        self._unsaid.take()
        seam.be_another(worker)
        until_s = seam.now_s() + FENCED_GRACE_S
        while holdings.running_count(worker) and seam.now_s() < until_s:
            await asyncio.sleep(AGAIN_S)
        if holdings.running_count(worker) and worker.nanny:
            # Threads cannot be ended, and would be missing for as long as they go on.
            await self._close(
                nanny=False, executor_wait=False, reason="dtf-fenced-and-busy"
            )

    async def _rest(self, why: str) -> None:
        """Wait, since there is nobody to serve for a reason that may last."""
        if why != self._refusal:
            logger.warning(
                "This worker has no leader, %s. It looks on for %.0f s, and ends then.",
                why,
                self._standing.waits_s(seam.now_s()),
            )
            self._refusal = why
        await asyncio.sleep(RESTS_S)

    async def _close(self, **how: Any) -> None:
        self._rejoining = None  # or `end` would cancel the closing itself
        await self._worker.close(**how)

    def _first_inventory(self, worker: Worker) -> dict[str, Any]:
        """Of the worker's own first registration; later ones are made to the moment."""
        return {} if self._standing.has_joined else self._inventory()

    def _inventory(self) -> dict[str, Any]:
        worker = self._worker
        ending = self._unsaid.settle(lambda key: holdings.state_of(worker, key))
        found = holdings.inventory(worker, self._standing.term)
        return not_yet_ended(found, ending).words()


_MEMBERSHIPS: WeakKeyDictionary[Worker, Membership] = WeakKeyDictionary()
