"""Clients that write and read all the time, and note what they were told.

Registers are written, read, compared and deleted, a handful of keys for some seconds
each. Marks are records written once, by half of the clients in sessions, which ask
again until it is known what became of them.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from random import Random
from typing import Any

from chaos.group import SITES, Group
from chaos.history import REFUSED, Event
from chaos.large import LargeClient
from dtf_dask.errors import PeerUnavailableError, SessionExpiredError
from dtf_dask.ha.client_session import ClientSession
from dtf_dask.ha.ledger.entries import encode_command
from dtf_dask.ha.ledger.kinds import COMPARE_AND_SET, DELETE, PUT
from dtf_dask.ha.ledger.outcomes import Code, Outcome
from dtf_dask.ha.ledger.queries import Get
from dtf_dask.ha.remote_ledger import RemoteLedger

REGISTERS, MARKS = "registers", "marks"
WRITERS, READERS = 10, 8
READS = 0.45
"""The share of reads."""

WINDOW_S = 5.0
KEYS = 8
TIMEOUT_S = 2.0
"""How long a client waits for an outcome."""

SESSION_S = 8.0
"""And how long for one of a session, which asks again meanwhile."""

_NO_WINDOW = -1
_LIFE_S = (5.0, 30.0)
_SESSION_TTL_S = 60.0

_FILLING_BYTES_MAX = 12_000

Take = Callable[[Event], None]


def filled(value: str) -> bytes:
    """A value as it is written to a register, so large that logs grow and are cut."""
    size = Random(value).randrange(_FILLING_BYTES_MAX)
    return f"{value} ".encode().ljust(size, b".")


def shown(record: bytes) -> str:
    """The value that was written; something else if a record is not as it was."""
    value = record.partition(b" ")[0].decode()
    whole = record in (filled(value), value.encode())
    return value if whole else f"{value}, damaged: {record[:100]!r}"


class Workload:
    """All clients.

    Parameters
    ----------
    take
        Given each event as its operation ends.
    rate
        How many operations a second, of all clients.
    """

    def __init__(self, group: Group, seed: int, rate: float, take: Take) -> None:
        self.group = group
        self.rate = rate
        self.counts: Counter[str] = Counter()
        """Operations that were acknowledged, unknown, refused, unread."""
        self.acknowledged: list[float] = []
        """When writes were acknowledged, to anybody."""
        self.by_client: dict[str, list[float]] = {}
        """And to whom."""
        self.broken: list[str] = []
        """What clients were told that cannot be."""
        self.paused = asyncio.Event()
        self.paused.set()
        self.started = time.monotonic()
        self.under_way: dict[int, int] = {}
        """Operations that have begun and not ended, by the window of their keys."""
        self._take = take
        self._ending = False
        self._clients: list[_Client] = []
        for n in range(WRITERS):
            writer = _Client(self, f"w{n}", n, seed)
            self._clients.append(writer)
            self.by_client[writer.name] = []
            if n < READERS:
                reader = _Client(self, f"r{n}", n, seed, of=writer)
                self._clients.append(reader)
        self.large = LargeClient(group, seed, self.broken.append)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(one.run()) for one in self._clients]
        self._tasks.append(loop.create_task(self._write_large()))

    async def _write_large(self) -> None:
        while not self._ending:
            await self.paused.wait()
            self.under_way[_NO_WINDOW] = 1
            try:
                await self.large.life(lambda: self.paused.is_set() and not self._ending)
            finally:
                del self.under_way[_NO_WINDOW]

    async def stop(self) -> None:
        """Have all end what they do; an error of one is raised."""
        self._ending = True
        self.paused.set()
        await asyncio.gather(*self._tasks)

    async def pause(self) -> None:
        """Return when nothing is under way; nothing begins until `go_on`."""
        self.paused.clear()
        while any(self.under_way.values()):
            await asyncio.sleep(0.01)

    def go_on(self) -> None:
        """Work again."""
        self.paused.set()

    @property
    def ending(self) -> bool:
        """Whether it is to end."""
        return self._ending

    @property
    def failure(self) -> BaseException | None:
        """Of a client, which should have none."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and task.exception():
                return task.exception()
        return None

    @property
    def window(self) -> int:
        """The number of the keys that are used now."""
        return int((time.monotonic() - self.started) / WINDOW_S)

    def ended(self, event: Event, *, write: bool) -> None:
        """An operation has ended."""
        self._take(event)
        if event.result == REFUSED:
            self.counts["refused"] += 1
        elif event.returned is None:
            self.counts["unknown"] += 1
        else:
            self.counts["acknowledged"] += 1
            if write:
                self.acknowledged.append(event.returned)
                self.by_client[event.client].append(event.returned)


class _Client:
    """One of them, that writes or reads: one operation after the other."""

    def __init__(
        self,
        workload: Workload,
        name: str,
        number: int,
        seed: int,
        of: _Client | None = None,
    ) -> None:
        self.name = name
        self._all = workload
        self._rng = Random(f"client {seed} {name}")
        self._site = SITES[number % len(SITES)]
        self._reads = of is not None
        self._numbered = of is None and number % 2 == 0
        self._count = 0
        self._seen: dict[str, tuple[str | None, int]] = {} if of is None else of._seen
        """The value and revision of registers as this one knows them, or its writer."""

    async def run(self) -> None:
        """Live one life after the other, each on other connections."""
        clock = time.monotonic
        each = READERS / READS if self._reads else WRITERS / (1 - READS)
        while not self._all.ending:
            ends = clock() + self._rng.uniform(*_LIFE_S)
            nodes = sorted(self._all.group.belonging) if self._reads else []
            node = self._rng.choice([None, *nodes])
            async with AsyncExitStack() as life:
                client = self._all.group.client(self._site, node)
                ledger = await life.enter_async_context(client)
                session = await self._session(ledger) if self._numbered else None
                if session is not None:
                    life.push_async_callback(session.close, TIMEOUT_S)
                while clock() < ends and not self._all.ending:
                    await self._all.paused.wait()
                    began = clock()
                    await self._one(ledger, session)
                    share_s = each / self._all.rate * self._rng.uniform(0.5, 1.5)
                    await asyncio.sleep(max(0.0, began + share_s - clock()))

    async def _session(self, ledger: RemoteLedger) -> ClientSession | None:
        """One to write marks in; None if there is none to be had now."""
        session = ClientSession(ledger, self.name, ttl_s=_SESSION_TTL_S)
        try:
            await session.open(TIMEOUT_S)
        except PeerUnavailableError:
            return None
        return session

    async def _one(self, ledger: RemoteLedger, session: ClientSession | None) -> None:
        window = self._all.window
        self._all.under_way[window] = self._all.under_way.get(window, 0) + 1
        key = f"{window}.{self._rng.randrange(KEYS)}"
        roll = self._rng.random()
        try:
            if self._reads:
                await self._read(ledger, key)
            elif roll < 0.3:
                if session is not None and not session.expired:
                    await self._marks_of_session(session)
                else:
                    await self._mark(ledger)
            elif roll < 0.35:
                await self._write(ledger, key, "write", None)
            elif roll < 0.65 and key in self._seen:
                await self._compare(ledger, key)
            else:
                await self._write(ledger, key, "write", self._value())
        finally:
            self._all.under_way[window] -= 1
            if not self._all.under_way[window]:
                del self._all.under_way[window]

    def _value(self) -> str:
        self._count += 1
        return f"{self.name}.{self._count}"

    async def _read(self, ledger: RemoteLedger, key: str) -> None:
        called = time.monotonic()
        try:
            answer = await ledger.read(Get(REGISTERS, key), TIMEOUT_S)
        except PeerUnavailableError:
            answer = None
        if answer is None:
            self._all.counts["unread"] += 1
            return
        value, revision = None, 0
        if answer.records:
            record = answer.records[0][1]
            value, revision = shown(record.value), record.revision
        self._seen[key] = value, revision
        self._note("read", key, None, value, called, revision or None)

    async def _write(
        self, ledger: RemoteLedger, key: str, kind: str, value: str | None
    ) -> None:
        if value is None:
            command = encode_command(DELETE, REGISTERS, key)
        else:
            command = encode_command(PUT, REGISTERS, key, filled(value))
        called = time.monotonic()
        outcome = await self._propose(ledger, command)
        if outcome.code is Code.OK:
            revision = None if value is None else outcome.value
            self._seen[key] = value, revision or 0
            self._note(kind, key, value, None, called, revision)
        else:
            self._not_done(kind, key, value, called, outcome)

    async def _compare(self, ledger: RemoteLedger, key: str) -> None:
        old, expected = self._seen[key]
        new = self._value()
        command = encode_command(COMPARE_AND_SET, REGISTERS, key, expected, filled(new))
        called = time.monotonic()
        outcome = await self._propose(ledger, command)
        if outcome.code is Code.OK:
            self._seen[key] = new, outcome.value
            self._note("cas", key, (old, new), True, called, outcome.value)
        elif outcome.code is Code.CONFLICT:
            self._seen.pop(key, None)
            self._note("cas", key, (old, new), False, called, None)
        else:
            self._not_done("cas", key, (old, new), called, outcome)

    async def _mark(self, ledger: RemoteLedger) -> None:
        key = self._value()
        called = time.monotonic()
        command = encode_command(PUT, MARKS, key, key.encode())
        outcome = await self._propose(ledger, command)
        if outcome.code is Code.OK:
            self._note("mark", key, key, None, called, outcome.value)
        else:
            self._not_done("mark", key, key, called, outcome)

    async def _marks_of_session(self, session: ClientSession) -> None:
        """Some at once: each is done once, and in their order, whatever is lost."""
        keys = [self._value() for _ in range(self._rng.randint(1, 4))]
        called = time.monotonic()
        ways = (session.put(MARKS, k, k.encode(), timeout_s=SESSION_S) for k in keys)
        told = await asyncio.gather(*ways, return_exceptions=True)
        revisions = []
        for key, outcome in zip(keys, told, strict=True):
            if isinstance(outcome, SessionExpiredError):
                outcome = Outcome(Code.NO_SESSION)
            elif isinstance(outcome, BaseException):
                raise outcome
            if outcome.code is Code.OK:
                revisions.append(outcome.value)
                self._note("mark", key, key, None, called, outcome.value)
            else:
                self._not_done("mark", key, key, called, outcome)
        if revisions != sorted(revisions):
            self._all.broken.append(
                f"marks {keys} of a session have revisions {revisions}"
            )

    async def _propose(self, ledger: RemoteLedger, command: bytes) -> Outcome:
        try:
            return (await ledger.propose([command], TIMEOUT_S))[0]
        except PeerUnavailableError:
            return Outcome(Code.UNKNOWN)

    def _note(
        self,
        kind: str,
        key: str,
        argument: Any,
        result: Any,
        called: float,
        revision: int | None,
    ) -> None:
        now = time.monotonic()
        event = Event(self.name, kind, key, argument, result, called, now, revision)
        self._all.ended(event, write=kind != "read" and result is not False)

    def _not_done(
        self, kind: str, key: str, argument: Any, called: float, outcome: Outcome
    ) -> None:
        """Nobody knows, or nothing was done, which is noted too for a mark."""
        unknown = outcome.code is Code.UNKNOWN
        result = None if unknown else REFUSED
        returned = None if unknown else time.monotonic()
        event = Event(self.name, kind, key, argument, result, called, returned)
        self._all.ended(event, write=False)
