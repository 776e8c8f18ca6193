"""Coordination over the death of a leader: real schedulers, handlers and calls.

Only the ledger is in memory, so that a test can stop the world between a commit and
the answer to it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import dask
import pytest
from coordination_kit import Leader, MemoryLedger, lead
from distributed import Lock, SchedulerPlugin, Semaphore
from distributed.core import ConnectionPool
from distributed.protocol.pickle import dumps
from distributed.protocol.serialize import Serialized, to_serialize
from free_contact import free_contact

from dtf_dask.durable.dask_asking import AskingAgain
from dtf_dask.errors import FailoverError
from dtf_dask.standby.dask_primitives import wants

# A busy disk is no concern of these.
pytestmark = pytest.mark.filterwarnings("ignore:Creating scratch directories")


class Lab:
    """Leaders that follow each other, and who asks them."""

    def __init__(self, stack: contextlib.AsyncExitStack, pool: ConnectionPool) -> None:
        self.ledger = MemoryLedger()
        self.contact = free_contact(2)
        self._stack, self._pool = stack, pool
        self.leader: Leader = None  # type: ignore[assignment]
        self._led = 0

    async def lead(self) -> Leader:
        self._led += 1
        self.leader = await self._stack.enter_async_context(
            lead(self.ledger, self.contact, self._led % 2 + 1)
        )
        return self.leader

    async def fail_over(self) -> Leader:
        await self.leader.kill()
        return await self.lead()

    def asking(self, **more: Any) -> AskingAgain:
        return AskingAgain(self._pool(str(self.contact)), patience_s=20, **more)

    def mute(self, kind: str) -> None:
        """Nobody hears of what the leader commits, from a record of this kind on."""
        self.leader.proposals.mute_at = kind


def run(check: Callable[[Lab], Awaitable[None]], tasks: tuple[str, ...] = ()) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60), contextlib.AsyncExitStack() as stack:
            pool = await stack.enter_async_context(ConnectionPool())
            lab = Lab(stack, pool)
            leader = await lab.lead()
            for key in tasks:
                await leader.submit(key)
            await check(lab)

    asyncio.run(limited())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def test_a_variable_keeps_its_value_and_its_future() -> None:
    """What was set is there after a failover, and a future's key is wanted still."""

    async def check(lab: Lab) -> None:
        ask = lab.asking()
        await ask.variable_set(name="plain", data={"a": (1, b"2")})
        await ask.variable_set(name="held", key="x", timeout="1 s")
        await ask.variable_set(name="gone", key="x", timeout=1)
        await ask.say("variable_delete", name="gone")
        await lab.leader.let_go("x")
        leader = await lab.fail_over()
        assert (await ask.variable_get(name="plain"))["value"] == {"a": (1, b"2")}
        found = await ask.variable_get(name="held")
        assert (found["type"], found["value"]) == ("Future", "x")
        assert wants(leader.scheduler, "variable-held") == {"x"}
        assert not wants(leader.scheduler, "variable-gone")
        with pytest.raises(TimeoutError):
            await ask.variable_get(name="gone", timeout=0.05)

    run(check, ("x",))


def test_a_variable_that_changes_lets_go_of_what_it_held() -> None:
    """The key of before is released, in the journal too: successors agree."""

    async def check(lab: Lab) -> None:
        ask = lab.asking()
        await ask.variable_set(name="v", key="x", timeout=1)
        await ask.variable_set(name="v", key="y", timeout=1)
        await lab.leader.let_go("x", "y")
        await until(lambda: "x" not in lab.leader.scheduler.tasks)
        leader = await lab.fail_over()
        assert wants(leader.scheduler, "variable-v") == {"y"}

    run(check, ("x", "y"))


def test_who_waits_for_a_variable_waits_on() -> None:
    """A `get` that waits when its scheduler dies is answered by the next."""

    async def check(lab: Lab) -> None:
        ask = lab.asking()
        waiting = asyncio.create_task(ask.variable_get(name="late"))
        own = lab.leader.scheduler.extensions["variables"]
        await until(lambda: bool(own.started._waiters))
        await lab.fail_over()
        await lab.asking().variable_set(name="late", data=5)
        assert (await waiting)["value"] == 5

    run(check)


def test_nobody_is_told_of_what_may_vanish() -> None:
    """While a commit is under way neither who sets nor who gets has an answer."""

    async def check(lab: Lab) -> None:
        lab.leader.proposals.open.clear()
        setting = asyncio.create_task(lab.asking().variable_set(name="v", data=1))
        own = lab.leader.scheduler.extensions["variables"]
        await until(lambda: "v" in own.variables)
        getting = asyncio.create_task(lab.asking().variable_get(name="v"))
        looking = asyncio.create_task(lab.asking().event_is_set(name="e"))
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in (setting, getting, looking))
        await lab.fail_over()  # nothing was committed: it is set by the second asking
        await setting
        assert (await getting)["value"] == 1
        assert await looking is False

    run(check)


def test_a_set_that_comes_again_overwrites_nothing() -> None:
    """Its answer was lost, and another has set the variable since: that stays."""

    async def check(lab: Lab) -> None:
        first, second = lab.asking(), lab.asking()
        lab.mute("variable")
        setting = asyncio.create_task(first.variable_set(name="v", data="old"))
        await until(lambda: "variable" in lab.ledger.kinds())
        await lab.leader.kill()
        pausing = asyncio.Event()
        connect = first.pool.connect

        async def later(*args: Any, **kwargs: Any) -> Any:
            if asyncio.current_task() is setting:
                await pausing.wait()
            return await connect(*args, **kwargs)

        first.pool.connect = later  # type: ignore[method-assign]
        await lab.lead()
        await second.variable_set(name="v", data="new")
        pausing.set()
        await setting
        assert (await second.variable_get(name="v"))["value"] == "new"

    run(check)


def test_items_of_a_queue_are_put_once_and_got_once() -> None:
    """Answers to a put and to a get are lost: each is done once all the same."""

    async def check(lab: Lab) -> None:
        ask = lab.asking()
        await ask.queue_create(name="q", maxsize=3)
        await ask.queue_put(name="q", data="a")
        lab.mute("queue-item")
        putting = asyncio.create_task(ask.queue_put(name="q", data="b"))
        await until(lambda: lab.ledger.kinds().count("queue-item") == 2)
        await lab.fail_over()
        await putting
        lab.mute("queue-item")
        getting = asyncio.create_task(ask.queue_get(name="q"))
        await until(lambda: lab.ledger.kinds().count("queue-item") == 1)
        await lab.fail_over()
        assert (await getting)["value"] == "a"
        assert await ask.queue_qsize(name="q") == 1
        assert (await ask.queue_get(name="q"))["value"] == "b"
        assert await ask.queue_qsize(name="q") == 0

    run(check)


def test_a_queue_keeps_its_order_its_bound_and_its_futures() -> None:
    """Items in their order; a full one is full; futures' keys are wanted."""

    async def check(lab: Lab) -> None:
        ask = lab.asking()
        await ask.queue_create(name="q", maxsize=4)
        for number in range(2):
            await ask.queue_put(name="q", data=number)
        await ask.queue_put(name="q", key="x")
        await ask.queue_put(name="q", key="x")
        await lab.leader.let_go("x")
        leader = await lab.fail_over()
        with pytest.raises(TimeoutError):
            await ask.queue_put(name="q", data="more", timeout=0.05)
        assert wants(leader.scheduler, "queue-q") == {"x"}
        items = await ask.queue_get(name="q", batch=3)
        assert [one["value"] for one in items] == [0, 1, "x"]
        assert wants(leader.scheduler, "queue-q") == {"x"}
        leader = await lab.fail_over()
        await ask.queue_get(name="q")
        # Who got it says so, as stock clients do; then nobody wants it.
        leader.scheduler.stream_handlers["queue-future-release"](
            name="q", key="x", client="c"
        )
        await until(lambda: not wants(leader.scheduler, "queue-q"))

    run(check, ("x",))


def test_a_queue_that_all_closed_is_gone() -> None:
    """Its records too, and its wishes; a close that comes again is done once."""

    async def check(lab: Lab) -> None:
        ask = lab.asking()
        await ask.queue_create(name="q")
        await ask.queue_create(name="q")
        await ask.queue_put(name="q", key="x")
        await ask.say("queue_release", name="q")
        await lab.fail_over()
        assert await ask.queue_qsize(name="q") == 1
        await lab.leader.let_go("x")
        assert "x" in lab.leader.scheduler.tasks
        await ask.say("queue_release", name="q")
        await until(lambda: "x" not in lab.leader.scheduler.tasks)
        assert set(lab.ledger.kinds()) <= {"request"}

    run(check, ("x",))


def test_events_stay_set_and_waiters_wait_on() -> None:
    """One that was set is set, one that was cleared is not; a waiter hears the next."""

    async def check(lab: Lab) -> None:
        ask = lab.asking()
        for name in ("set", "cleared"):
            await ask.event_set(name=name)
        await ask.event_clear(name="cleared")
        waiting = asyncio.create_task(ask.event_wait(name="later"))
        own = lab.leader.scheduler.extensions["events"]
        await until(lambda: bool(own._waiter_count["later"]))
        await lab.fail_over()
        assert await ask.event_is_set(name="set")
        assert not await ask.event_is_set(name="cleared")
        assert not await ask.event_wait(name="later", timeout=0.05)
        await ask.event_set(name="later")
        assert await waiting

    run(check)


def test_a_lock_is_held_over_failovers_and_never_twice() -> None:
    """Contenders take turns while leaders die at every point of it."""

    async def check(lab: Lab) -> None:
        holders: set[int] = set()
        turns = 0
        loop = lab.leader.scheduler.loop

        async def contend(number: int) -> None:
            nonlocal turns
            lock = Lock("l", scheduler_rpc=lab.asking(), loop=loop)
            for _ in range(4):
                assert await lock._acquire()
                holders.add(number)
                assert holders == {number}
                await asyncio.sleep(0.02)
                assert holders == {number}
                holders.discard(number)
                turns += 1
                await lock._release(lock._leases.popleft())
            lock.refresh_callback.stop()

        contending = asyncio.gather(*map(contend, range(4)))
        for fraction in range(6):
            await asyncio.sleep(0.03)
            if fraction % 2:
                lab.mute("lease")
                await asyncio.sleep(0.02)
            await lab.fail_over()
        await contending
        assert turns == 16
        assert "lease" not in lab.ledger.kinds()

    run(check)


def test_a_holder_has_all_its_time_again() -> None:
    """A lease does not end because nobody could refresh it during a failover."""

    async def check(lab: Lab) -> None:
        ask = lab.asking()
        await ask.semaphore_register(name="s", max_leases=1, lease_timeout=30.0)
        assert await ask.semaphore_acquire(name="s", lease_id="one")
        own = lab.leader.scheduler.extensions["semaphores"]
        own.leases["s"]["one"] -= 29.0
        leader = await lab.fail_over()
        own = leader.scheduler.extensions["semaphores"]
        own._check_lease_timeout()
        assert list(own.leases["s"]) == ["one"]
        own.leases["s"]["one"] -= 31.0
        own._check_lease_timeout()
        assert await ask.semaphore_acquire(name="s", lease_id="two", timeout=1)
        with pytest.raises(RuntimeError, match="no longer yours"):
            await ask.semaphore_refresh_leases(name="s", lease_ids=["one"])
        await lab.fail_over()
        assert await ask.semaphore_value(name="s") == 1
        with pytest.raises(RuntimeError, match="no longer yours"):
            await ask.semaphore_refresh_leases(name="s", lease_ids=["one"])
        await ask.semaphore_refresh_leases(name="s", lease_ids=["two"])

    run(check)


def test_a_semaphore_has_as_many_leases_as_before() -> None:
    """Those that are held count; one that is closed is gone with its leases."""

    async def check(lab: Lab) -> None:
        loop = lab.leader.scheduler.loop
        with dask.config.set({"distributed.scheduler.locks.lease-timeout": "inf"}):
            made = Semaphore(2, "s", scheduler_rpc=lab.asking(), loop=loop)
            assert await made._acquire()
            await lab.fail_over()
            assert await made.scheduler.semaphore_value(name="s") == 1
            assert await made._acquire()
            assert not await made._acquire(timeout=0.05)
            await made._release(made._leases.popleft())
            assert await made._acquire(timeout=1)
            with pytest.warns(RuntimeWarning, match="unreleased leases"):
                await made.scheduler.semaphore_close(name="s")
        assert set(lab.ledger.kinds()) <= {"request"}

    run(check)


def test_multi_locks_are_held_over_failovers() -> None:
    """Who holds holds on; who waits asks again, and gets them when they are free."""

    async def check(lab: Lab) -> None:
        ask = lab.asking()
        words = {"timeout": None, "num_locks": 2}
        assert await ask.multi_lock_acquire(locks=["a", "b"], id="one", **words)
        other = asyncio.create_task(
            ask.multi_lock_acquire(locks=["b", "c"], id="two", **words)
        )
        own = lab.leader.scheduler.extensions["multi_locks"]
        await until(lambda: "two" in own.events)
        leader = await lab.fail_over()
        own = leader.scheduler.extensions["multi_locks"]
        await until(lambda: "two" in own.events)
        assert own.locks["b"] == ["one", "two"]
        await ask.multi_lock_release(id="one")
        assert await other
        leader = await lab.fail_over()
        assert leader.scheduler.extensions["multi_locks"].locks["c"] == ["two"]
        await ask.multi_lock_release(id="two")
        assert set(lab.ledger.kinds()) <= {"request"}

    run(check)


def test_published_datasets_stay_and_keep_their_futures() -> None:
    """Put, replaced and deleted as it was said; a put that comes again is no error."""

    async def check(lab: Lab) -> None:
        ask = lab.asking()

        def put(name: Any, key: str, override: bool = False) -> Any:
            return ask.publish_put(
                names=[name],
                keys=[[key]],
                data=[to_serialize({"value": key})],
                override=override,
                client="c",
                uid="u",
            )

        await put("kept", "x")
        await put(("a", 1), "x")
        await put(("a", 1), "y", override=True)
        await put("gone", "y")
        await ask.publish_delete(names=["gone"], client="c", uid="u")
        await lab.leader.let_go("x")
        lab.mute("dataset")
        putting = asyncio.create_task(put("late", "y"))
        await until(lambda: lab.ledger.kinds().count("dataset") == 3)
        leader = await lab.fail_over()
        await putting
        assert await ask.publish_list() == (("a", 1), "kept", "late")
        (found,) = await ask.publish_get(names=[("a", 1)])
        assert found["keys"] == ("y",)
        assert found["data"] == {"value": "y"}
        held = leader.scheduler.extensions["publish"].datasets["kept"]["data"]
        assert isinstance(held, Serialized)  # the scheduler has not opened it
        assert wants(leader.scheduler, "published-kept") == {"x"}
        with pytest.raises(KeyError):
            await put("kept", "x")

    run(check, ("x", "y"))


def test_metadata_stay_as_they_were_set() -> None:
    """Paths within paths, in the order in which they were set, and without values."""

    async def check(lab: Lab) -> None:
        ask = lab.asking()
        await ask.set_metadata(keys=["a", "b"], value=1)
        await ask.set_metadata(keys=["a", "c"], value=2)
        await ask.set_metadata(keys=["a"], value={"d": 3})
        await ask.set_metadata(keys=["a", "b"], value=None)
        await ask.set_metadata(keys=["x", "note"], value="of a task")
        assert lab.ledger.kinds().count("metadata") == 3
        leader = await lab.fail_over()
        assert await ask.get_metadata(keys=["a"]) == {"d": 3, "b": None}
        assert await ask.get_metadata(keys=["x", "note"]) == "of a task"
        await leader.let_go("x")
        await until(lambda: lab.ledger.kinds().count("metadata") == 2)
        with pytest.raises(KeyError):
            await ask.get_metadata(keys=["x"])

    run(check, ("x",))


def test_plugins_are_registered_on_successors() -> None:
    """Of workers and nannies as bytes, of the scheduler started again."""

    async def check(lab: Lab) -> None:
        ask = lab.asking()
        await ask.register_worker_plugin(plugin=b"w", name="w", idempotent=False)
        await ask.register_worker_plugin(plugin=b"w2", name="w", idempotent=True)
        await ask.register_nanny_plugin(plugin=b"n", name="n", idempotent=False)
        await ask.register_worker_plugin(plugin=b"g", name="gone", idempotent=False)
        await ask.unregister_worker_plugin(name="gone")
        await ask.register_scheduler_plugin(
            plugin=dumps(Counting()), name="counting", idempotent=False
        )
        leader = await lab.fail_over()
        found = dict(leader.scheduler.worker_plugins)
        found.pop("shuffle")  # Dask's own
        assert found == {"w": b"w"}
        assert leader.scheduler.nanny_plugins == {"n": b"n"}
        assert leader.scheduler.plugins["counting"].started
        await ask.unregister_scheduler_plugin(name="counting")
        leader = await lab.fail_over()
        assert "counting" not in leader.scheduler.plugins

    run(check)


class Counting(SchedulerPlugin):
    """A plugin that says whether it was started."""

    started = False

    async def start(self, scheduler: Any) -> None:
        self.started = True


@pytest.mark.logs("does not start any more")
def test_a_plugin_that_does_not_start_stops_no_takeover() -> None:
    """It is said, and the cluster goes on without it."""

    async def check(lab: Lab) -> None:
        ask = lab.asking()
        await ask.register_scheduler_plugin(
            plugin=dumps(Counting()), name="counting", idempotent=False
        )
        await ask.event_set(name="e")
        (key,) = [key for key in lab.ledger.found if "scheduler-plugin" in key]
        lab.ledger.found[key] = lab.ledger.found[key].replace(b"Counting", b"Countinh")
        await lab.fail_over()
        assert await ask.event_is_set(name="e")

    run(check)


def test_what_cannot_be_known_is_said() -> None:
    """A call that is not to be done twice ends with an error that says so."""

    async def check(lab: Lab) -> None:
        ask = lab.asking()
        began = asyncio.Event()

        async def hang(**_: Any) -> None:
            began.set()
            await asyncio.Event().wait()

        lab.leader.scheduler.handlers.update(run_function=hang, proxy=hang)
        asked = [
            asyncio.create_task(ask.run_function(function=b"")),
            asyncio.create_task(ask.proxy(msg={"op": "actor_execute"}, worker="w")),
        ]
        await began.wait()
        await asyncio.sleep(0.05)
        await lab.fail_over()
        with pytest.raises(FailoverError, match="'run_function'"):
            await asked[0]
        answer = await asked[1]
        assert answer["status"] == "error"
        assert isinstance(answer["exception"], FailoverError)

    run(check)
