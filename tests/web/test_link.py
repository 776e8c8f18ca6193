"""What a node says to its web process: what is to be seen, entry by entry."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dtf_dask import frames
from dtf_dask.frames import HEADER_BYTES, Frame
from dtf_dask.ha import child_process, web_link
from dtf_dask.ha.ledger.entries import encode_command
from dtf_dask.ha.ledger.kinds import DELETE, PUT
from dtf_dask.ha.local_ledger import LocalLedger
from dtf_dask.ha.scheduler_words import NAMESPACE
from dtf_dask.ha.web_link import WebLink, WebLinkOptions
from dtf_dask.view import feed_words as words

WAIT_S = 60.0
HELLO = words.hello("lab", 1, {}, "127.0.0.1:0")
QUICK = WebLinkOptions(start_s=30.0, ping_s=0.05, hang_s=0.5)


def keep(key: str, value: bytes = b"value") -> bytes:
    """A command that writes a record of the scheduler."""
    return encode_command(PUT, NAMESPACE, key, value)


class Web:
    """The process's end of the socket."""

    def __init__(self, connection: socket.socket) -> None:
        self.answers = True
        self.ready = asyncio.Event()
        self._connection = connection
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def open(self) -> None:
        reader, writer = await asyncio.open_connection(sock=self._connection)
        self._reader, self._writer = reader, writer

    def say(self, frame: dict[str, Any]) -> None:
        """A word to the node."""
        self._writer.write(frames.pack(frame))

    async def hear(self) -> Frame:
        """The next word that is no ping, and tells of more than how late it is."""
        while True:
            length = frames.body_bytes(await self._reader.readexactly(HEADER_BYTES))
            frame = frames.decode(await self._reader.readexactly(length))
            if frame["op"] == words.PING:
                if self.answers:
                    self.say(words.pong(frame["number"]))
                self.standing = frame["standing"]
            elif frame.get("changes") != []:
                return dict(frame)

    def close(self) -> None:
        self._writer.transport.abort()


Told = Callable[[LocalLedger, Web, "asyncio.Task[str]"], Awaitable[None]]


class Instead:
    """Something, but for some of what it has."""

    def __init__(self, of: Any, **other: Any) -> None:
        self._of = of
        self.__dict__.update(other)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of, name)


@asynccontextmanager
async def linked(
    ledger: LocalLedger, options: WebLinkOptions, node: Any = None
) -> AsyncIterator[tuple[Web, asyncio.Task[str]]]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    web = Web(theirs)
    link = WebLink(node or ledger.node, HELLO, web.ready.set, options)
    served = asyncio.ensure_future(link.serve(ours))
    await web.open()
    try:
        yield web, served
    finally:
        served.cancel()
        await asyncio.gather(served, return_exceptions=True)
        web.close()


def alone(folder: Path, test: Told, options: WebLinkOptions = QUICK) -> None:
    """Run a test with a ledger of one node and a web process linked to it."""

    async def run() -> None:
        async with (
            asyncio.timeout(WAIT_S),
            LocalLedger(str(folder)) as ledger,
            linked(ledger, options) as (web, served),
        ):
            await test(ledger, web, served)

    asyncio.run(run())


def test_each_entry_is_told_by_its_own_index(tmp_path: Path) -> None:
    """Only of what is to be seen, whatever else is written in between, so that ids are
    the same on each node."""

    async def test(ledger: LocalLedger, web: Web, _: object) -> None:
        assert await web.hear() == HELLO
        first = await web.hear()
        assert (first["op"], first["records"], first["more"]) == (
            *(words.RECORDS, [], False),
        )
        indexes = []
        for n in range(3):
            await ledger.propose([keep("j/1"), keep("x/other")], WAIT_S)
            await ledger.propose(
                [keep("x/view/a", b"%d" % n), keep("x/view/b")], WAIT_S
            )
            indexes.append(ledger.node.state.index)
            await ledger.propose([keep("j/2")], WAIT_S)
        await ledger.propose([encode_command(DELETE, NAMESPACE, "x/view/a")], WAIT_S)
        indexes.append(ledger.node.state.index)
        told = [await web.hear() for _ in range(4)]
        assert [one["index"] for one in told] == indexes
        assert {one["term"] for one in told} == {ledger.node.raw.core.term}
        assert [one["changes"] for one in told] == [
            *([["x/view/a", b"%d" % n], ["x/view/b", b"value"]] for n in range(3)),
            [["x/view/a", None]],
        ]

    alone(tmp_path, test)


def test_what_there_is_comes_first(tmp_path: Path) -> None:
    """As of an index; other records of the scheduler are not told."""

    async def run() -> None:
        async with LocalLedger(str(tmp_path)) as ledger:
            await ledger.propose(
                [keep("x/view/a"), keep("j/1"), keep("x/views")], WAIT_S
            )
            async with linked(ledger, QUICK) as (web, _):
                await web.hear()
                found = await web.hear()
                assert found["records"] == [["x/view/a", b"value"]]
                assert found["index"] == ledger.node.state.index

    asyncio.run(run())


def test_a_process_that_is_too_slow_is_told_all_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for it is bounded; what it has in the end is what there is."""
    monkeypatch.setattr(web_link, "BACKLOG_BYTES_MAX", 300_000)

    async def test(ledger: LocalLedger, web: Web, _: object) -> None:
        for n in range(60):
            await ledger.propose([keep("x/view/a", b"%d" % n + bytes(30_000))], WAIT_S)
        heard = [await web.hear(), await web.hear()]
        while _last(heard)[:2] != b"59":
            heard.append(await web.hear())
        assert [one["op"] for one in heard].count(words.RECORDS) == 2

    alone(tmp_path, test, WebLinkOptions(ping_s=0.05, hang_s=WAIT_S))


def test_an_entry_whose_term_is_forgotten_gets_no_wrong_id(tmp_path: Path) -> None:
    """The log is compacted while a process is slow: it is told all anew."""

    async def run() -> None:
        async with asyncio.timeout(WAIT_S), LocalLedger(str(tmp_path)) as ledger:
            storage, forgotten = ledger.node.storage, set[int]()

            def term(index: int) -> int | None:
                return None if index in forgotten else storage.term(index)

            node = Instead(ledger.node, storage=Instead(storage, term=term))
            async with linked(ledger, QUICK, node) as (web, _):
                assert [(await web.hear())["op"] for _ in range(2)] == [
                    words.HELLO,
                    words.RECORDS,
                ]
                next_index = ledger.node.state.index + 1
                forgotten.update(range(next_index, next_index + 5))
                await ledger.propose([keep("x/view/a")], WAIT_S)
                told = await web.hear()
                assert told["op"] == words.RECORDS
                assert told["records"] == [["x/view/a", b"value"]]

    asyncio.run(run())


def _last(heard: list[Frame]) -> bytes:
    """The value that was told last."""
    for frame in reversed(heard):
        found = frame.get("records") or frame.get("changes")
        if found:
            return bytes(found[-1][1])
    return b""


def test_a_process_that_hangs_is_given_up(tmp_path: Path) -> None:
    """Once it serves, it answers in time, or is ended."""

    async def test(_: object, web: Web, served: asyncio.Task[str]) -> None:
        web.say(words.ready(1))
        await web.hear()
        await web.hear()
        await web.ready.wait()
        assert web.standing["node"] == 1
        web.answers = False
        with pytest.raises(EOFError):
            await web.hear()
        assert "it has not answered for" in await served

    alone(tmp_path, test)


def test_what_it_says_is_bounded_and_known(tmp_path: Path) -> None:
    """Anything else ends it, with the reason."""

    async def test(_: object, web: Web, served: asyncio.Task[str]) -> None:
        web.say({"op": "propose", "ticket": 1})
        assert "no word of a web process: 'propose'" in await served

    alone(tmp_path / "a", test)

    async def large(_: object, web: Web, served: asyncio.Task[str]) -> None:
        web.say({"op": "trouble", "why": "x" * words.WORD_BYTES_MAX})
        assert "does not keep to the protocol" in await served

    alone(tmp_path / "b", large)

    async def trouble(_: object, web: Web, served: asyncio.Task[str]) -> None:
        web.say(words.trouble("the port is taken"))
        assert await served == "it cannot serve: the port is taken"

    alone(tmp_path / "c", trouble)

    async def gone(_: object, web: Web, served: asyncio.Task[str]) -> None:
        web.close()
        assert await served == child_process.GONE

    alone(tmp_path / "d", gone)
