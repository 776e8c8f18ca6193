"""How a shadow becomes the leader: who is called, waited for, and in which order.

From the moment that others are let in, workers register with what they have and clients
say what they want; neither makes anything run. When all workers of old are there, or
known to be gone, or a grace is over, what they have is taken over at once, and then
everything goes on as it was.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from distributed import Scheduler
from distributed.comm.addressing import get_address_host_port

from dtf_dask.durable.inventory import Erred, Held, Inventory, Running
from dtf_dask.standby import dask_takeover
from dtf_dask.standby.absence import is_here
from dtf_dask.standby.away import Presence
from dtf_dask.standby.takeover_records import (
    Durability,
    Known,
    Leased,
    Recorder,
    known_workers,
    leased_attempts,
    made_actors,
)
from dtf_dask.standby.takeover_steps import adopt
from dtf_dask.submission.table import Key

logger = logging.getLogger(__name__)

_CALLED_AGAIN_S = 0.25


@dataclass(frozen=True, slots=True)
class Settled:
    """What a takeover came to.

    Parameters
    ----------
    after_s
        From its begin until everything went on.
    workers, missing
        How many of old came, and did not.
    recovered
        Tasks by what became of them.
    """

    after_s: float
    workers: int
    missing: int
    recovered: dict[str, int]


async def take_over(
    scheduler: Scheduler,
    durability: Durability,
    presence: Presence,
    *,
    term: int,
    listen: Callable[[], Awaitable[object]],
    schedule: Callable[[], None],
    leading: Callable[[float, int], None] = lambda after_s, tasks: None,
    order: asyncio.Lock | None = None,
    erred: Mapping[Key, Mapping[str, Any]] | None = None,
) -> Settled:
    """Lead, with a scheduler that knows all tasks and has begun none.

    Parameters
    ----------
    presence
        In whose hands the connections of workers are, from before anybody may connect.
    term
        That is led: attempts are numbered above those of all before it.
    listen
        Lets others in, and announces the scheduler.
    schedule
        From then on tasks may be moved to "waiting".
    leading
        Told when others are let in: after how long, and how many tasks are known.
    order
        Whoever changes tasks holds it; so does this, while it must not be disturbed.
    erred
        Tasks that failed for good before, with what `Recorder` wrote of each.

    Raises
    ------
    RuntimeError
        Dask is not as this was made for.
    """
    began = time.monotonic()
    lacking = dask_takeover.broken(scheduler)
    if lacking:
        raise RuntimeError(f"Dask's scheduler has no {', '.join(lacking)}")
    dask_takeover.number_runs(term)
    before = known_workers(durability)
    recorder = Recorder(
        scheduler,
        durability,
        long_s=presence.terms.leases.after_s,
        soon=asyncio.get_running_loop().call_soon,
    )
    scheduler.add_plugin(recorder)
    presence.attend(recorder.beats)
    presence.expected.update({one.address: one.server_id for one in before.values()})
    await listen()
    leading(time.monotonic() - began, len(scheduler.tasks))
    gone = await _gather(scheduler, presence, term)
    async with order or asyncio.Lock():
        brought = presence.take_brought()
        held = await _leave_leases(
            scheduler, presence, before, leased_attempts(durability), gone, brought
        )
        brought |= held
        dask_takeover.fail_known(scheduler, _errors(erred or {}))
        _lose_actors(scheduler, durability, brought)
        adopted = await adopt(scheduler, brought, _pause, schedule)
        presence.hold_leases(held)
    for key in adopted.failed:
        recorder.count(key)
    missing = [*presence.expected, *gone, *presence.turned_away]
    for address in missing:
        if address not in scheduler.workers:
            recorder.forget_absent(address)
    presence.open()
    settled = Settled(
        time.monotonic() - began,
        len(brought) - len(held),
        len(missing),
        adopted.counts,
    )
    logger.info("This scheduler leads: %s", settled)
    return settled


async def _pause() -> None:
    await asyncio.sleep(0)


async def _gather(scheduler: Scheduler, presence: Presence, term: int) -> list[str]:
    """Wait for the workers of old; answers those that are known to be gone.

    One that says that it hears is about to come, however slow its machine is: it is
    waited for when silent ones are not any more, as long as for one that is away; but
    not when it has come, and is refused.
    """
    gone: list[str] = []
    coming: set[str] = set()

    def is_gone(address: str) -> None:
        if presence.expected.pop(address, None) is not None:
            gone.append(address)
            presence.came.set()

    calls = [
        asyncio.create_task(_call(scheduler, address, term, coming.add, is_gone))
        for address in presence.expected
    ]
    try:
        await _until(presence, lambda: not presence.expected, presence.terms.takeover_s)
        await _until(
            presence,
            lambda: coming.isdisjoint(presence.expected),
            presence.terms.grace_s,
        )
    finally:
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    if presence.expected:
        logger.info("%d workers have not come yet", len(presence.expected))
    return gone


async def _until(presence: Presence, over: Callable[[], bool], wait_s: float) -> None:
    """Look whenever a worker comes, until it is so, or for so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            while not over():
                presence.came.clear()
                await presence.came.wait()


async def _call(
    scheduler: Scheduler,
    address: str,
    term: int,
    hears: Callable[[str], None],
    gone: Callable[[str], None],
) -> None:
    """Tell a worker who leads; it may hold to a connection that is dead."""
    host, port = get_address_host_port(address)
    while True:
        try:
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
            worker = scheduler.rpc(address)
            answer = await worker.dtf_leader(address=scheduler.address, term=term)
            if answer.get("status") == "OK":
                hears(address)
            return
        except ConnectionRefusedError:
            gone(address)
            return
        except OSError:
            await asyncio.sleep(_CALLED_AGAIN_S)
        except Exception:
            logger.info("Worker %s cannot be called", address, exc_info=True)
            return


async def _leave_leases(
    scheduler: Scheduler,
    presence: Presence,
    before: Mapping[str, Known],
    leased: Mapping[str, Leased],
    gone: list[str],
    brought: Mapping[str, Inventory],
) -> dict[str, Inventory]:
    """Leave what has run for long to workers that are not here, as if they had said it.

    A worker of this machine that nobody listens for is gone with all that it ran; one
    elsewhere may be cut off.
    """
    by_worker: dict[str, list[Leased]] = {}
    has = {
        held.key
        for inventory in brought.values()
        for held in inventory.memory
        if dask_takeover.is_of(scheduler, held.key, held.made)
    }
    for one in leased.values():
        known = before.get(one.address)
        if known is None or known.server_id != one.server_id:
            continue
        dead = one.address in gone and is_here(one.address)
        if one.address not in scheduler.workers and not dead and one.key not in has:
            by_worker.setdefault(one.address, []).append(one)
    left = {}
    for address, attempts in by_worker.items():
        info = before[address].info
        if info.get("name") in scheduler.aliases:
            continue  # another has its place
        running = tuple(
            Running(one.key, one.run_id, one.for_s, seceded=False, made=one.made)
            for one in attempts
            if dask_takeover.is_of(scheduler, one.key, one.made)
        )
        if not running:
            continue
        needs = dask_takeover.needs_of(scheduler, [one.key for one in running]) - has
        with suppress(ValueError):
            await presence.put_absent(
                {**info, "address": address, "server_id": before[address].server_id}
            )
            left[address] = Inventory(
                before[address].server_id,
                0,
                # Its inputs are where it runs, if they are nowhere else.
                tuple(
                    Held(key, 0, "", -1, dask_takeover.made_of(scheduler.tasks[key]))
                    for key in sorted(needs, key=str)
                ),
                running,
                (),
            )
    return left


def _lose_actors(
    scheduler: Scheduler, durability: Durability, brought: Mapping[str, Inventory]
) -> None:
    """Have actors failed that were made and that nobody has: their state is lost.

    Another one of the same key would be as new, and its client would not know.
    """
    here = {
        (held.key, held.made)
        for inventory in brought.values()
        for held in inventory.memory
    }
    lost = [
        key
        for key, made in made_actors(durability).values()
        if (key, made) not in here and dask_takeover.is_of(scheduler, key, made)
    ]
    dask_takeover.lose_actors(scheduler, lost)


def _errors(erred: Mapping[Key, Mapping[str, Any]]) -> list[tuple[str, Erred]]:
    return [
        (
            str(words.get("worker", "")),
            Erred(
                key,
                int(words.get("run_id", 0)),
                bytes(words.get("exception", b"")),
                bytes(words.get("traceback", b"")),
                str(words.get("exception_text", "")),
                str(words.get("traceback_text", "")),
            ),
        )
        for key, words in erred.items()
    ]
