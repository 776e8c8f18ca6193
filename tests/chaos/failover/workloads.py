"""Clients that work all the time, and know what must come of it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

from distributed import CancelledError, as_completed, wait

from dtf_dask.errors import FailoverError
from failover import tasks
from failover.ledger import Ledger
from failover.runs import run_cases
from failover.tasks import PlannedError, mixed

ANSWER_S = 300.0
"""No result takes so long, whatever fails meanwhile."""
_CLOSE_S = 120.0
_RUN_S_MAX = 0.15
_FRAMES = 8


class Workload:
    """One client after the other, each with its own work.

    Parameters
    ----------
    connect
        Makes a client.
    """

    def __init__(
        self,
        name: str,
        seed: int,
        connect: Callable[[], Awaitable[Any]],
        ledger: Ledger,
    ) -> None:
        self.name = name
        self._random = random.Random(f"{seed} {name}")
        self._connect = connect
        self._ledger = ledger
        self._number = 0
        self._client: Any = None

    async def run(self, stop: asyncio.Event) -> None:
        """Work until it is told to stop, and end what was begun."""
        kinds = {
            self.graph: 8,
            self.failures: 3,
            self.cancels: 2,
            self.nested: 2,
            self.actor: 1,
            self.many: 2,
            self.newcomer: 1,
            self.locks: 1,
            self.cases: 1,
        }
        self._client = await self._connect()
        try:
            while not stop.is_set():
                (kind,) = self._random.choices(list(kinds), list(kinds.values()))
                self._number += 1
                await self._tried(kind)
        finally:
            await self._close(self._client)

    async def _tried(self, kind: Callable[[str], Awaitable[None]]) -> None:
        what = f"{self.name}.{self._number} {kind.__name__}"
        began = time.monotonic()
        try:
            async with asyncio.timeout(ANSWER_S):
                with self._client.as_current():
                    await kind(f"{self.name}.{self._number}")
        except TimeoutError:
            self._wrong(f"{what} was not over within {ANSWER_S:g} s")
            await self._afresh()
        except Exception as error:
            where = "".join(traceback.format_exception(error)[-_FRAMES:])
            self._wrong(f"{what}: {where}")
            if time.monotonic() - began < 0.1:
                await asyncio.sleep(0.5)  # a client that is broken fails at once
                await self._afresh()
        else:
            self._ledger.done[kind.__name__] += 1

    async def _afresh(self) -> None:
        await self._close(self._client)
        self._client = await self._connect()

    async def _close(self, client: Any) -> None:
        try:
            async with asyncio.timeout(_CLOSE_S):
                await client.close()
        except TimeoutError:
            self._wrong(f"a client of {self.name} did not close in {_CLOSE_S:g} s")

    def _wrong(self, what: str) -> None:
        self._ledger.broken.append(what)

    def _same(self, what: str, found: object, wanted: object) -> None:
        if found != wanted:
            self._wrong(f"{what} is {found!r:.200}, not {wanted!r:.200}")

    def _seconds(self) -> float:
        return self._random.choice((0.0, 0.01, self._random.random() * _RUN_S_MAX))

    # -- kinds of work ---------------------------------------------------------------

    def _drawn(self, prefix: str, size: int) -> tuple[dict[str, Any], dict[str, int]]:
        """A random graph, and the values of its tasks."""
        graph: dict[str, Any] = {}
        values: dict[str, int] = {}
        for number in range(size):
            count = min(number, self._random.choice((0, 1, 1, 2, 3)))
            inputs = self._random.sample(list(values), count)
            seed, key = self._random.randrange(1_000), f"{prefix}-{number}"
            graph[key] = (tasks.node, seed, self._seconds(), *inputs)
            values[key] = mixed(seed, *(values[one] for one in inputs))
        return graph, values

    async def graph(self, prefix: str) -> None:
        """Tasks that need each other; some of them are wanted."""
        began = time.monotonic()
        graph, values = self._drawn(prefix, self._random.randrange(5, 40))
        wanted = list(values)[-self._random.randrange(1, 10) :]
        futures = self._client.get(graph, wanted, sync=False)
        if self._random.random() < 0.5:
            found = await self._client.gather(futures)
        else:
            by_key = {one.key: one async for one in as_completed(futures)}
            found = [await by_key[key] for key in wanted]
        self._same(prefix, found, [values[key] for key in wanted])
        needed = list(wanted)
        for key in needed:
            needed += [one for one in graph[key][3:] if one not in needed]
        needed_by: dict[str, list[str]] = {}
        for key in needed:
            for one in graph[key][3:]:
                needed_by.setdefault(one, []).append(key)
        self._ledger.attempts(began, dict.fromkeys(needed, 1), needed_by)

    async def failures(self, prefix: str) -> None:
        """Some fail for good, and all that needs them; some fail, and are retried."""
        began = time.monotonic()
        seconds = self._seconds()
        fails = self._client.submit(tasks.failing, 7, seconds, key=f"{prefix}-bad")
        needs = self._client.submit(tasks.node, 1, 0.0, fails, key=f"{prefix}-needs")
        times = self._random.randrange(1, 4)
        flaky = self._client.submit(
            *(tasks.flaky, 5, times, seconds), key=f"{prefix}-flaky", retries=times
        )
        after = self._client.submit(tasks.node, 2, 0.0, flaky, key=f"{prefix}-after")
        self._same(f"{prefix}-after", await after, mixed(2, mixed(5)))
        for one in (fails, needs):
            try:
                await one
            except PlannedError as error:
                self._same(f"the error of {one.key}", str(error), "7")
                # The client keeps it, and it this frame, with its futures.
                error.__traceback__ = None
            else:
                self._wrong(f"{one.key} did not fail")
        wanted = {"bad": 1, "needs": 0, "flaky": times + 1, "after": 1}
        self._ledger.attempts(
            began,
            {f"{prefix}-{name}": count for name, count in wanted.items()},
            {fails.key: [needs.key], flaky.key: [after.key]},
        )

    async def cancels(self, prefix: str) -> None:
        """Half of some tasks are cancelled; the others are not."""
        began = time.monotonic()
        futures = [
            self._client.submit(tasks.node, n, self._seconds(), key=f"{prefix}-{n}")
            for n in range(12)
        ]
        if self._random.random() < 0.5:
            await wait(futures[:1])
        gone, kept = futures[6:], futures[:6]
        await self._client.cancel(gone)
        for one in gone:
            with contextlib.suppress(CancelledError):
                await one
                self._wrong(f"{one.key} was cancelled, and has a result")
        self._same(
            prefix, await self._client.gather(kept), [mixed(n) for n in range(6)]
        )
        self._ledger.attempts(began, {one.key: 1 for one in kept})

    async def nested(self, prefix: str) -> None:
        """A task that submits others, and waits for them."""
        began = time.monotonic()
        width, seconds = self._random.randrange(1, 6), self._seconds()
        future = self._client.submit(
            *(tasks.nested, 3, f"{prefix}-in", width, seconds), key=f"{prefix}-out"
        )
        inner = [mixed(3 + n) for n in range(width)]
        self._same(prefix, await future, mixed(3, *inner))
        wanted = {f"{prefix}-in-{n}": 1 for n in range(width)}
        needed_by = {key: [f"{prefix}-out"] for key in wanted}
        self._ledger.attempts(began, {f"{prefix}-out": 1, **wanted}, needed_by)

    async def actor(self, prefix: str) -> None:
        """An actor that counts keeps its count, as long as its worker lives."""
        died = len(self._ledger.deaths)
        try:
            future = self._client.submit(
                tasks.Counter, actor=True, key=f"{prefix}-actor"
            )
            counter = await future
            totals = {0}
            for _ in range(self._random.randrange(3, 15)):
                amount = self._random.randrange(1, 10)
                added = {total + amount for total in totals}
                try:
                    found = await counter.add(amount)
                except FailoverError:  # nobody knows whether it was done
                    totals |= added
                    self._ledger.done["unknown call of an actor"] += 1
                    continue
                if found not in added:
                    self._wrong(f"{prefix} counts {found}, not one of {added}")
                totals = {found}
                await asyncio.sleep(0.1)
        except Exception:
            # What it held is gone with its worker, which nobody could prevent.
            if len(self._ledger.deaths) == died:
                raise

    async def many(self, prefix: str) -> None:
        """Many small ones at once, of which results are dropped as they come."""
        began = time.monotonic()
        size = self._random.randrange(50, 300)
        futures = self._client.map(
            tasks.node,
            range(size),
            seconds=0.0,
            key=[f"{prefix}-{n}" for n in range(size)],
        )
        total = 0
        async for one in as_completed(futures):
            total += await one
        self._same(prefix, total, sum(mixed(n) for n in range(size)))
        self._ledger.attempts(began, {one.key: 1 for one in futures})

    async def newcomer(self, prefix: str) -> None:
        """A client that comes, works and goes, whatever is under way."""
        client = await self._connect()
        try:
            future = client.submit(tasks.node, 11, self._seconds(), key=f"{prefix}-new")
            self._same(prefix, await future, mixed(11))
            if self._random.random() < 0.5:
                client.submit(tasks.node, 12, 0.1, key=f"{prefix}-unwanted")
        finally:
            await self._close(client)

    async def locks(self, prefix: str) -> None:
        """Tasks that take turns by a lock."""
        began = time.monotonic()
        keys = [f"{prefix}-{n}" for n in range(self._random.randrange(2, 6))]
        futures = [
            self._client.submit(
                tasks.locked, f"{prefix}-lock", self._seconds(), key=key, pure=False
            )
            for key in keys
        ]
        self._same(prefix, await self._client.gather(futures), [1] * len(keys))
        self._ledger.attempts(began, dict.fromkeys(keys, 1))

    async def cases(self, prefix: str) -> None:
        """Functions as tests, with attempts that are told of once."""
        await run_cases(self._client, prefix, self._ledger)
