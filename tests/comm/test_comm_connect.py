"""Connecting by ``dtf://``: to the leader, past all that is none, in time, without a
trace; over real sockets, with Dask's own `connect`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import dask
import distributed
import pytest
from click.testing import CliRunner
from distributed import Scheduler, Security
from distributed.comm import connect
from distributed.comm.core import FatalCommClosedError
from distributed.comm.tcp import TCP, TLS
from distributed.core import Status, rpc
from free_contact import LOOPBACK, free_contact
from leaders import QUIET, greeting, leading
from machine_pace import slowness

from dtf_dask.cli.queue import queue
from dtf_dask.comm import probe, search
from dtf_dask.comm.address import Contact, Coordinator
from dtf_dask.comm.backend import announce
from dtf_dask.comm.search import told
from dtf_dask.errors import ClusterUnreachableError

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def run(check: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await check()

    asyncio.run(limited())


@contextlib.asynccontextmanager
async def answering(at: Coordinator, handler: Handler) -> AsyncIterator[None]:
    """Something else that listens where a coordinator should."""

    handlers: set[asyncio.Task[Any]] = set()

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await handler(reader, writer)
        writer.close()
        handlers.discard(task)

    server = await asyncio.start_server(handle, at.host, at.port)
    try:
        yield
    finally:
        server.close()
        for task in list(handlers):
            task.cancel()
        while handlers:
            await asyncio.sleep(0.01)


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


def saying(words: bytes, stay: bool = True) -> Handler:
    async def handler(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(words)
        await writer.drain()
        if stay:
            await reader.read()

    return handler


async def refused(contact: Contact, timeout: float = 20, **args: Any) -> str:
    """What the coordinators said, where no connection is made."""
    with pytest.raises(OSError) as caught:
        await connect(str(contact), timeout=timeout, **args)
    assert "127.0.0.1" in str(caught.value)
    return told(caught.value)


def test_only_the_second_coordinator_leads() -> None:
    """It is found, and what comes of it is Dask's own comm with nothing around it."""

    async def check() -> None:
        contact = free_contact()
        async with leading(contact, 2, term=3) as scheduler:
            assert scheduler.address == str(contact)
            comm = await connect(str(contact), timeout=30)
            assert type(comm) is TCP
            assert not {"read", "write"} & vars(comm).keys()
            assert comm.peer_address == f"tcp://{contact.coordinators[1]}"
            assert comm.remote_info["dtf"] == greeting(2, term=3).words()
            assert comm.handshake_options["pickle-protocol"] >= 4
            await comm.write({"op": "identity", "reply": True})
            answer = await comm.read()
            assert answer["address"] == str(contact)
            await comm.close()

    run(check)


def test_a_plain_tcp_address_of_the_leader_works_too() -> None:
    """Who knows nothing of dtf may connect to one coordinator."""

    async def check() -> None:
        contact = free_contact()
        async with (
            leading(contact, 1),
            rpc(f"tcp://{contact.coordinators[0]}") as scheduler,
        ):
            assert (await scheduler.identity())["address"] == str(contact)

    run(check)


def test_a_name_of_a_host_is_looked_up() -> None:
    """``localhost`` has two addresses, and only one of them is listened at."""

    async def check() -> None:
        contact = free_contact(1)
        named = Contact((Coordinator("localhost", contact.coordinators[0].port),))
        async with leading(contact, 1):
            comm = await connect(str(named), timeout=30)
            await comm.close()
        said = await refused_name("no-such-host.invalid:1")
        assert "no-such-host.invalid:1 cannot be resolved" in said

    async def refused_name(text: str) -> str:
        with pytest.raises(OSError) as caught:
            await connect(f"dtf://{text}", timeout=0.5)
        return told(caught.value)

    run(check)


def test_the_error_tells_which_coordinator_said_what() -> None:
    """And it comes when the caller's time is over, no earlier and not much later."""

    async def check() -> None:
        contact = free_contact()
        a, b, c = contact.coordinators
        async with answering(b, silence), answering(c, saying(b"", stay=False)):
            began = time.monotonic()
            said = await refused(contact, timeout=1.0)
            assert 0.9 < time.monotonic() - began < 1 + 0.8 * slowness()
        assert f"{a} refuses connections" in said
        assert f"{b} did not answer yet" in said
        assert f"{c} closed the connection before it greeted" in said

    run(check)


def test_commands_tell_which_coordinator_said_what() -> None:
    """``dtf queue`` of a cluster that nobody leads ends with what was heard."""
    contact = free_contact(2)
    with dask.config.set({"dtf.driver.connect-timeout": "1s"}):
        done = CliRunner().invoke(queue, ["--address", str(contact)])
    assert isinstance(done.exception, ClusterUnreachableError) or done.exit_code == 11
    said = done.output + str(done.exception)
    for one in contact.coordinators:
        assert f"{one} refuses connections" in said


def test_what_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that takes connections and never speaks is said to, and holds up none."""
    monkeypatch.setattr(probe, "ANSWER_S", 0.3)

    async def check() -> None:
        contact = free_contact()
        a = contact.coordinators[0]
        async with answering(a, silence):
            said = await refused(contact, timeout=1.0)
            assert f"{a} took the connection, and said nothing within 0.3 s" in said
            assert "or it wants TLS" in said
            async with leading(contact, 3):
                began = time.monotonic()
                comm = await connect(str(contact), timeout=30)
                assert time.monotonic() - began < slowness()
                await comm.close()

    run(check)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "speaks HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "speaks another protocol, beginning with b'SSH-2"),
        (b"\x10" + bytes(7) + bytes(16), "speaks another protocol"),
        (b"\x18" + bytes(7) + b"\x02" + bytes(23), "speaks another protocol"),
        (
            b"\x13"
            + bytes(7)
            + b"\x01"
            + bytes(7)
            + b"\x03"
            + bytes(7)
            + b"\x01\x02\x03",
            "speaks, but not as a scheduler of Dask does",
        ),
        (b"\xff" * 64, "speaks another protocol"),
    ],
)
def test_garbage_is_refused(words: bytes, reason: str) -> None:
    """At once, if nobody else could lead; nothing of any length is believed."""

    async def check() -> None:
        contact = free_contact(1)
        async with answering(contact.coordinators[0], saying(words)):
            began = time.monotonic()
            said = await refused(contact)
            assert time.monotonic() - began < slowness()
        assert reason in said

    run(check)


def test_garbage_beside_a_leader_is_passed_over() -> None:
    """One wrong address of three does not keep anybody from the leader."""

    async def check() -> None:
        contact = free_contact()
        async with answering(contact.coordinators[0], saying(b"HTTP/1.1 400\r\n")):
            async with leading(contact, 3):
                comm = await connect(str(contact), timeout=30)
                await comm.close()
            began = time.monotonic()
            said = await refused(contact)
            assert 1.5 < time.monotonic() - began < 2 + 2 * slowness()
            assert "speaks HTTP" in said
            assert "refuses connections" in said

    run(check)


def test_a_plain_scheduler_is_refused() -> None:
    """It would not be followed over a failover, so it is no coordinator."""

    async def check() -> None:
        contact = free_contact(1)
        port = contact.coordinators[0].port
        async with Scheduler(host=LOOPBACK, port=port, **QUIET):
            said = await refused(contact)
        assert "is a plain scheduler or worker of Dask" in said

    run(check)


def test_another_cluster_is_refused() -> None:
    """By the name in the address, or because a cluster was met there before."""

    async def check() -> None:
        contact = free_contact(1, cluster="lab")
        async with leading(contact, 1):
            comm = await connect(str(contact), timeout=30)
            await comm.close()
        nameless = Contact(contact.coordinators)
        async with leading(nameless, 1, cluster="other"):
            assert "is of cluster 'other', not of 'lab'" in await refused(contact)
            comm = await connect(str(nameless), timeout=30)
            await comm.close()
        async with leading(nameless, 1, cluster="third"):
            assert "was connected to 'other' at this" in await refused(nameless)
        with pytest.raises(ValueError, match="is not of cluster 'other'"):
            announce("127.0.0.1:1", contact, greeting(cluster="other"))

    run(check)


def test_a_leader_of_an_older_term_is_passed_over() -> None:
    """Whoever was connected to term 2 does not go back to term 1."""

    async def check() -> None:
        contact = free_contact()
        async with leading(contact, 1, term=1), leading(contact, 2, term=2):
            while True:
                comm = await connect(str(contact), timeout=30)
                await comm.close()
                if comm.remote_info["dtf"]["term"] == 2:
                    break
                search_known(contact).met(
                    contact, contact.coordinators[1], greeting(2, term=2)
                )
            for _ in range(5):
                comm = await connect(str(contact), timeout=30)
                assert comm.remote_info["dtf"]["term"] == 2
                await comm.close()
        async with leading(contact, 1, term=1):
            said = await refused(contact, timeout=0.5)
            assert "led in term 1, and there was a leader of term 2 since" in said

    run(check)


def search_known(contact: Contact) -> Any:
    from distributed.comm.registry import get_backend

    return get_backend("dtf")._known  # type: ignore[attr-defined]


def test_a_wrong_address_is_refused_at_once() -> None:
    """It is a ValueError, as of all of Dask's backends."""

    async def check() -> None:
        for text in ("dtf://a", "dtf://a:1,a:1", "dtf://"):
            with pytest.raises(ValueError, match="no address of coordinators"):
                await connect(text, timeout=5)
        with pytest.raises(ValueError, match="cannot be listened at"):
            await distributed.core.Server({}).listen("dtf://a:1,b:1")

    run(check)


@pytest.mark.parametrize("words", [b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 99, b"\x01"])
def test_a_leader_that_hears_garbage(
    words: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It closes the connection, and nobody has to read about it in its log.

    Dask's own listeners believe eight bytes of anybody, and try to have that memory.
    """

    async def check() -> None:
        contact = free_contact(1)
        async with leading(contact, 1) as scheduler:
            one = contact.coordinators[0]
            reader, writer = await asyncio.open_connection(one.host, one.port)
            writer.write(words)
            if len(words) < 8:
                writer.write_eof()
            await reader.read()  # up to the end, so it was closed
            writer.close()
            assert not scheduler._comms
            comm = await connect(str(contact), timeout=30)
            await comm.close()

    run(check)
    assert [one for one in caplog.records if one.levelname != "INFO"] == []


# TLS


def args(security: Security, role: str = "client") -> dict[str, Any]:
    found: dict[str, Any] = security.get_connection_args(role)
    return found


def test_tls_is_used_where_it_is_configured() -> None:
    """The same `Security` as for ``tls://``, and Dask's own comm of TLS."""

    async def check() -> None:
        contact = free_contact()
        security = Security.temporary()
        async with leading(contact, 2, security):
            comm = await connect(str(contact), timeout=30, **args(security))
            assert type(comm) is TLS
            assert "read" not in vars(comm)
            assert comm.peer_address == f"tls://{contact.coordinators[1]}"
            await comm.write({"op": "identity", "reply": True})
            assert (await comm.read())["address"] == str(contact)
            await comm.close()

    run(check)


def test_nothing_is_downgraded() -> None:
    """Encryption required and nothing to encrypt with: refused on either side."""

    async def check() -> None:
        contact = free_contact(1)
        bare = Security(require_encryption=True)
        async with leading(contact, 1):
            with pytest.raises(RuntimeError, match="encryption required by Dask"):
                await connect(str(contact), timeout=5, **args(bare))
            # A leader that does not encrypt is none for who has certificates.
            said = await refused(contact, **args(Security.temporary()))
            assert "it does not speak TLS" in said
        with pytest.raises(RuntimeError, match="failed to start") as caught:
            async with leading(free_contact(1), 1, bare):
                raise AssertionError
        assert "encryption required" in str(caught.value.__cause__)

    run(check)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_certificates_that_are_not_trusted_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of the leader, of who connects, and none at all."""
    monkeypatch.setattr(probe, "ANSWER_S", 0.5)

    async def check() -> None:
        contact = free_contact(1)
        ours, theirs = Security.temporary(), Security.temporary()
        async with leading(contact, 1, theirs):
            said = await refused(contact, **args(ours))
            assert "shows a certificate that is not trusted" in said
            assert "or it wants TLS" in await refused(contact, timeout=1.5)
            half = Security(
                tls_ca_file=theirs.tls_ca_file,
                tls_client_cert=ours.tls_client_cert,
                tls_client_key=ours.tls_client_key,
            )
            said = await refused(contact, **args(half))
            assert "it refuses the certificate of this process" in said

    run(check)


# What is left behind


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def settled(rest: set[asyncio.Task[Any]]) -> None:
    for _ in range(50):
        await asyncio.sleep(0.01)
        gc.collect()
        if asyncio.all_tasks() <= rest:
            return
    raise AssertionError(asyncio.all_tasks() - rest)


def test_80_connections_leave_nothing_behind() -> None:
    """No task and no descriptor, and so 80 that are given up in the middle."""

    async def check() -> None:
        contact = free_contact()
        async with leading(contact, 3):
            comm = await connect(str(contact), timeout=30)
            await comm.close()
            async with answering(contact.coordinators[1], silence):
                await settled_down()
                tasks, before = asyncio.all_tasks(), descriptors()
                for _ in range(80):
                    comm = await connect(str(contact), timeout=30)
                    await comm.close()
                await until(lambda: descriptors() <= before)
                await settled(tasks)
        async with answering(contact.coordinators[1], silence):
            await settled_down()
            tasks, before = asyncio.all_tasks(), descriptors()
            for number in range(80):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(number * 0.00075):
                        await connect(str(contact), timeout=5)
            await until(lambda: descriptors() <= before)
            await until(lambda: len(asyncio.all_tasks()) <= len(tasks))

    async def settled_down() -> None:
        await asyncio.sleep(0.1)
        gc.collect()

    async def until(holds: Callable[[], bool]) -> None:
        while not holds():
            await asyncio.sleep(0.01)

    run(check)


def test_a_connection_that_is_given_up_as_it_is_made_is_closed() -> None:
    """A search cancelled at any step leaves no connection with the leader."""

    async def check() -> None:
        contact = free_contact(1)
        async with leading(contact, 1) as scheduler:
            comm = await connect(str(contact), timeout=30)
            await comm.close()
            for steps in range(60):
                task = asyncio.create_task(connect(str(contact), timeout=5))
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await (await task).close()
            while scheduler._comms:
                await asyncio.sleep(0.01)
            assert scheduler.status is Status.running

    run(check)


def test_many_at_once() -> None:
    """100 connections that are asked for together are all made."""

    async def check() -> None:
        contact = free_contact()
        async with leading(contact, 2):
            comms = await asyncio.gather(
                *(connect(str(contact), timeout=20) for _ in range(100))
            )
            for comm in comms:
                await comm.close()

    run(check)


def test_many_that_wait_do_not_storm_the_coordinators() -> None:
    """50 searches of a process ask about as often as one; all find the leader then."""
    asked = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1

    async def check() -> None:
        contact = free_contact()
        async with answering(contact.coordinators[0], count):
            waiting = [
                asyncio.create_task(connect(str(contact), timeout=20))
                for _ in range(50)
            ]
            await asyncio.sleep(0.2)
            before = asked
            await asyncio.sleep(1)
            assert 10 < asked - before < 150
            async with leading(contact, 2):
                for comm in await asyncio.gather(*waiting):
                    await comm.close()

    run(check)


def test_addresses_of_dasks_configuration() -> None:
    """``scheduler-address`` may be one of dtf, for clients and workers."""

    async def check() -> None:
        contact = free_contact()
        with dask.config.set({"scheduler-address": str(contact)}):
            async with (
                leading(contact, 3),
                distributed.Worker(nthreads=1, **QUIET),
                distributed.Client(asynchronous=True) as client,
            ):
                assert client.scheduler.address == str(contact)
                assert await client.submit(sum, [1, 2]) == 3

    run(check)


def test_workers_and_clients_with_certificates() -> None:
    """A worker listens by TLS for itself, as with ``tls://``."""

    async def check() -> None:
        contact = free_contact()
        security = Security.temporary()
        async with (
            leading(contact, 2, security),
            distributed.Worker(
                str(contact), nthreads=1, security=security, **QUIET
            ) as worker,
            distributed.Client(
                str(contact), asynchronous=True, security=security
            ) as client,
        ):
            assert worker.address.startswith("tls://127.0.0.1:")
            assert await client.submit(sum, [1, 2]) == 3
            assert await client.scatter(5, direct=True)

    run(check)


@pytest.mark.logs("After 0.2 s: dtf://.*refuses connections")
def test_a_search_that_lasts_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker waits for a leader for ever: its log tells what it waits for."""
    monkeypatch.setattr(search, "_COMPLAINS_AFTER_S", 0.2)

    async def check() -> None:
        await refused(free_contact(), timeout=1.0)

    run(check)


def test_the_last_words_are_a_fatal_error_for_dask(tmp_path: Path) -> None:
    """Dask gives up at once on `FatalCommClosedError` only: it is one."""

    async def check() -> None:
        contact = free_contact(1)
        async with answering(contact.coordinators[0], saying(b"HTTP/1.1 400\r\n")):
            with pytest.raises(FatalCommClosedError, match="speaks HTTP"):
                await connect(str(contact), timeout=20)

    run(check)
