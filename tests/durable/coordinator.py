"""A scheduler that keeps what clients ask in a journal of this process, and may die.

It says and hears the words of `client_words`, and acts on operations as they come. It
is the smallest such scheduler; the real one is tried in `tests/standby`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from dask._expr import LLGExpr
from distributed import Scheduler, SchedulerPlugin, Worker
from distributed.batched import BatchedSend
from distributed.comm.core import Comm
from distributed.protocol import Serialized, serialize, to_serialize
from free_contact import LOOPBACK, free_contact

from dtf_dask.comm.backend import announce
from dtf_dask.comm.greeting import Greeting
from dtf_dask.durable import client_words, operations
from dtf_dask.durable.operations import Operation, decode_operation
from dtf_dask.ha.handshake import NodeName
from dtf_dask.ha.raft.messages import NodeId
from dtf_dask.standby import dask_clients
from dtf_dask.submission.materialise import opened
from dtf_dask.submission.table_codec import decode_table


@dataclass
class Journal:
    """What outlives the schedulers: operations, and up to which number of whom."""

    records: list[bytes] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    quorum: threading.Event = field(default_factory=threading.Event)
    said: list[tuple[str, int]] = field(default_factory=list)
    refuses: str = ""
    drops: int = 0
    forgets: Collection[Any] = ()
    """Keys of which it says that it does not know them."""
    version: int = client_words.VERSION
    bytes_max: int = operations.OPERATION_BYTES_MAX

    def __post_init__(self) -> None:
        self.quorum.set()

    def kinds(self) -> list[int]:
        return [decode_operation(one).kind for one in self.records]

    def submitted(self) -> list[Any]:
        """The keys of all tables, in order."""
        return [
            row.key
            for one in map(decode_operation, self.records)
            if one.kind == operations.TABLE
            for row in decode_table(one.body[0]).rows
        ]


class Coordinator(SchedulerPlugin):
    """Speaks to the clients of one scheduler."""

    name = "coordinator"

    def __init__(self, journal: Journal, term: int) -> None:
        self.journal, self.term = journal, term

    async def start(self, scheduler: Scheduler) -> None:  # type: ignore[override]
        self.scheduler = scheduler
        scheduler.stream_handlers.update(
            {
                client_words.HELLO: self.hello,
                client_words.DURABLE: self.durable,
                client_words.STATES: self.states,
            }
        )
        scheduler.handlers["register-client"] = self.let_in
        log_event = scheduler.log_event
        scheduler.handlers["log_event"] = lambda dtf_request, **words: log_event(
            **words
        )
        for one in self.journal.records:
            await self.apply(decode_operation(one))

    async def let_in(self, comm: Comm, client: str, versions: dict[str, Any]) -> None:
        """The first word travels alone, and wishes outlive the stream."""
        scheduler = self.scheduler
        await comm.write([dask_clients.stream_start(scheduler, versions)])
        stream = BatchedSend(interval="2ms", loop=scheduler.loop)
        stream.start(comm)
        dask_clients.enter_client(scheduler, client, stream, versions)
        try:
            await scheduler.handle_stream(comm=comm, extra={"client": client})
        finally:
            dask_clients.leave_client(scheduler, client, stream)
            await dask_clients.end_stream(comm, stream)

    def say(self, client: str, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError, KeyError):
            self.scheduler.client_comms[client].send(message)

    async def hello(self, client: str, version: int, token: str) -> None:
        if self.journal.drops:
            self.journal.drops -= 1
            self.scheduler.client_comms[client].comm.abort()
            return
        words = client_words.welcome(
            self.term, self.journal.seen.get(client, 0), "lab", self.journal.bytes_max
        )
        self.say(client, {**words, "version": self.journal.version})
        if self.journal.tokens.setdefault(client, token) != token:
            self.say(client, client_words.refused(0, "another has its id", []))

    async def durable(self, seq: int, operation: bytes, client: str) -> None:
        self.journal.said.append((client, seq))
        if seq <= self.journal.seen.get(client, 0):
            return
        assert seq == self.journal.seen.get(client, 0) + 1
        if not self.journal.quorum.is_set():
            self.say(client, client_words.waiting("there is no quorum"))
            while not self.journal.quorum.is_set():
                await asyncio.sleep(0.01)
            self.say(client, client_words.waiting(""))
        self.journal.seen[client] = seq
        if self.journal.refuses:
            self.say(client, client_words.refused(seq, self.journal.refuses, []))
            return
        self.journal.records.append(operation)
        await self.apply(decode_operation(operation))
        # At once: nothing is said before of what comes of it.
        self.say(client, client_words.ack(seq))

    async def states(self, keys: Collection[Any], client: str) -> None:
        for key in keys:
            if key in self.scheduler.tasks and key not in self.journal.forgets:
                self.scheduler.report_on_key(key, client=client)
            else:
                message = {"op": "cancelled-keys", "keys": [key]}
                lost = {"reason": client_words.LOST, "msg": f"{key} is nowhere"}
                self.say(client, {**message, **lost})

    async def apply(self, operation: Operation) -> None:
        kind, client, body = operation
        scheduler = self.scheduler
        if client not in scheduler.clients:
            scheduler.client_desires_keys(keys=[], client=client)
        if kind == operations.TABLE:
            table = decode_table(body[0])
            graph = {row.key: opened(row, table.functions) for row in table.rows}
            expr = LLGExpr(graph)
            annotations: dict[Any, Any] = {}
            for row in table.rows:
                annotations.update(row.annotations)
            await scheduler.update_graph(
                client,
                Serialized(*serialize(to_serialize(expr))),
                set(table.wanted),
                {},
                {row.key: at for at, row in enumerate(table.rows)},
                None,
                annotations=annotations,
            )
        elif kind == operations.DESIRE:
            scheduler.client_desires_keys(keys=body[0], client=client)
        elif kind == operations.RELEASE:
            scheduler.client_releases_keys(keys=body[0], client=client)
        elif kind == operations.CANCEL:
            keys, force, reason = body
            scheduler.stimulus_cancel(keys, client, force, reason, "")
        elif kind == operations.RETRY:
            scheduler.stimulus_retry(body[0], client=client)


class Lab:
    """Leaders of one cluster, one after the other, each with a worker of its own."""

    def __init__(self, journal: Journal | None = None) -> None:
        self.contact = free_contact(cluster="lab")
        self.journal = journal or Journal()
        self.term = 0
        self.leader: Scheduler | None = None
        self.worker: Worker | None = None

    @property
    def address(self) -> str:
        return str(self.contact)

    async def lead(self, threads: int = 2) -> None:
        """The next coordinator leads, with all that the journal has."""
        self.term += 1
        own = self.contact.coordinators[self.term % 3]
        name = NodeName("lab", NodeId(self.term % 3 + 1))
        announce(str(own), self.contact, Greeting(name, self.term))
        self.leader = await Scheduler(
            host=own.host,
            port=own.port,
            protocol="dtf",
            dashboard=False,
            dashboard_address=f"{LOOPBACK}:0",
            plugins=[Coordinator(self.journal, self.term)],
        )
        if threads:
            self.worker = await Worker(
                self.address, nthreads=threads, host=LOOPBACK, dashboard=False
            )

    async def die(self) -> None:
        """Who leads dies, without a word to anybody."""
        leader, worker = self.leader, self.worker
        assert leader is not None
        self.leader = self.worker = None
        leader.stop()
        for stream in list(leader.client_comms.values()):
            stream.comm.abort()
        if worker is not None:
            await worker.close()
        await leader.close()


@contextlib.asynccontextmanager
async def lab(journal: Journal | None = None, threads: int = 2) -> AsyncIterator[Lab]:
    made = Lab(journal)
    await made.lead(threads)
    try:
        yield made
    finally:
        if made.leader is not None:
            await made.die()


class LabThread:
    """The same for clients that wait in their own thread."""

    def __init__(self) -> None:
        self.lab = Lab()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def do(self, awaitable: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(awaitable, self.loop).result(60)


@contextlib.contextmanager
def lab_thread(threads: int = 2) -> Iterator[LabThread]:
    made = LabThread()
    made.thread.start()
    try:
        made.do(made.lab.lead(threads))
        yield made
    finally:
        if made.lab.leader is not None:
            made.do(made.lab.die())
        made.loop.call_soon_threadsafe(made.loop.stop)
        made.thread.join(60)
        made.loop.close()
