"""The checks of a trial find what is wrong, and the proxies disturb what they say."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from chaos.group import Clock
from chaos.history import (
    REFUSED,
    Event,
    Final,
    HistoryFile,
    check_all,
    read_history,
)
from chaos.proxies import Address, Net, Proxy, connected_to, owner_of_port
from chaos.summary import longest_gap_s
from chaos.trial import hashes_wrong

SOUND = [
    Event("a", "write", "0.1", "a.1", None, 0.0, 1.0, 5),
    Event("b", "read", "0.1", None, "a.1", 2.0, 3.0, 5),
    Event("b", "cas", "0.1", ("a.1", "b.1"), True, 4.0, 5.0, 6),
    Event("a", "cas", "0.1", ("a.1", "a.2"), False, 6.0, 7.0),
    Event("a", "write", "0.1", "a.3", None, 8.0, None),
    Event("a", "mark", "a.4", "a.4", None, 9.0, 10.0, 7),
    Event("a", "mark", "a.5", "a.5", None, 11.0, None),
    Event("a", "mark", "a.6", "a.6", REFUSED, 12.0, 13.0),
    Event("a", "write", "0.1", "a.7", REFUSED, 14.0, 15.0),
]
REGISTERS = {"0.1": Final("b.1", 6)}
MARKS = {"a.4": Final("a.4", 7)}


def broken(
    events: list[Event],
    registers: dict[str, Final] = REGISTERS,
    marks: dict[str, Final] = MARKS,
) -> str:
    """What a check says is broken."""
    found = check_all(events, registers, marks, ended=100.0)
    assert not found.undecided
    return "\n".join(found.broken)


@pytest.mark.parametrize(
    ("registers", "marks"),
    [
        (REGISTERS, MARKS),
        ({"0.1": Final("a.3", 8)}, {**MARKS, "a.5": Final("a.5", 9)}),
    ],
)
def test_what_is_sound_is_found_sound(
    registers: dict[str, Final], marks: dict[str, Final]
) -> None:
    """What nobody knows the outcome of may have been done, or not."""
    assert broken(SOUND, registers, marks) == ""
    assert check_all(SOUND, registers, marks, 100.0).keys == 1


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (Event("b", "read", "0.1", None, "a.1", 6.0, 7.0, 5), "not linearizable"),
        (Event("b", "read", "0.1", None, None, 2.0, 3.0), "not linearizable"),
        (Event("b", "read", "0.1", None, "a.7", 20.0, 21.0, 9), "not linearizable"),
        (Event("b", "read", "0.1", None, "b.1", 6.0, 7.0, 9), "revision 6, and 9"),
        (
            Event("b", "cas", "0.1", ("a.1", "b.2"), True, 6.0, 7.0, 7),
            "not linearizable",
        ),
        (Event("b", "mark", "b.9", "b.9", None, 6.0, 7.0, 8), "and lost"),
    ],
    ids=["stale", "lost for a moment", "refused, and read", "twice", "cas", "mark"],
)
def test_what_clients_must_not_see_is_found(event: Event, said: str) -> None:
    """A stale read, a value without its write, a write done twice, a mark lost."""
    assert said in broken([*SOUND, event])


@pytest.mark.parametrize(
    ("registers", "marks", "said"),
    [
        ({}, MARKS, "not linearizable"),
        ({"0.1": Final("a.1", 5)}, MARKS, "not linearizable"),
        ({"0.1": Final("b.1", 8)}, MARKS, "revision 6, and 8"),
        ({**REGISTERS, "0.2": Final("x", 9)}, MARKS, "never asked for: key '0.2'"),
        (REGISTERS, {}, "acknowledged, and lost"),
        (REGISTERS, {"a.4": Final("a.4", 8)}, "acknowledged with revision 7"),
        (REGISTERS, {**MARKS, "a.6": Final("a.6", 8)}, "refused, and there"),
        (REGISTERS, {**MARKS, "b.1": Final("b.1", 8)}, "never asked for: mark 'b.1'"),
    ],
)
def test_what_must_not_be_at_the_end_is_found(
    registers: dict[str, Final], marks: dict[str, Final], said: str
) -> None:
    """A write lost, done twice, done though it was refused, or of nobody."""
    assert said in broken(SOUND, registers, marks)


def test_states_that_differ_are_found() -> None:
    """As of the same entry; and nodes that do not come to the same."""
    assert hashes_wrong({1: (7, "a"), 2: (7, "a")}) == ""
    assert "different states" in hashes_wrong({1: (7, "a"), 2: (7, "b")})
    assert "to the same entry" in hashes_wrong({1: (7, "a"), 2: (6, "a")})


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    """With a last line that was torn left out."""
    file = HistoryFile(tmp_path / "history")
    for event in SOUND:
        file.add(event)
    file.close()
    with (tmp_path / "history").open("a") as torn:
        torn.write('["a", "wri')
    read = list(read_history(tmp_path / "history"))
    assert [str(one.operation) for one in read] == [str(one.operation) for one in SOUND]
    assert broken(read) == ""


def test_the_longest_time_without_a_write() -> None:
    """Its edges count: from the fault's begin, to its end."""
    assert longest_gap_s([1.0, 2.0, 8.0], 0.0, 9.0) == 6.0
    assert longest_gap_s([1.0, 2.0, 8.0], 3.0, 7.0) == 4.0
    assert longest_gap_s([], 3.0, 7.0) == 4.0
    assert longest_gap_s([1.0, 2.0, 8.0], 0.0, 20.0) == 12.0


class Echo(asyncio.Protocol):
    """Says again what it hears."""

    def __init__(self, alive: set[Echo]) -> None:
        self.alive = alive

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.alive.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.alive.discard(self)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[attr-defined]


Talk = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Room:
    """A server ``s`` behind a proxy, and clients ``c``."""

    def __init__(self, net: Net, proxy: Proxy) -> None:
        self.net = net
        self.proxy = proxy
        self.out, self.back = net.way("c", "s"), net.way("s", "c")
        self.talks: list[Talk] = []

    async def talk(self) -> Talk:
        """A connection."""
        made = await asyncio.open_connection(*self.proxy.address)
        self.talks.append(made)
        return made


async def heard(talk: Talk, said: bytes, within_s: float = 5.0) -> bool:
    """Whether it comes back in time."""
    reader, writer = talk
    writer.write(said)
    return await comes(reader, said, within_s)


async def comes(reader: asyncio.StreamReader, said: bytes, within_s: float) -> bool:
    """Whether this is what comes next; False if nothing does in time."""
    try:
        async with asyncio.timeout(within_s):
            return await reader.readexactly(len(said)) == said
    except TimeoutError:
        return False


@asynccontextmanager
async def room() -> AsyncIterator[Room]:
    """One that ends with the block."""
    loop = asyncio.get_running_loop()
    alive: set[Echo] = set()
    server = await loop.create_server(lambda: Echo(alive), "127.0.0.1", 0)
    target: Address = server.sockets[0].getsockname()
    proxy = Proxy(Net(), "s", target, lambda _: "c")
    await proxy.start()
    made = Room(proxy.net, proxy)
    try:
        yield made
    finally:
        for _, writer in made.talks:
            writer.transport.abort()
        await proxy.close()
        server.close()
        while alive:
            await asyncio.sleep(0.001)


def in_room(test: Callable[[Room], Awaitable[None]]) -> None:
    """Run a test with an end."""

    async def run() -> None:
        async with asyncio.timeout(30), room() as made:
            await test(made)

    asyncio.run(run())


def test_a_proxy_lets_through_what_is_not_disturbed() -> None:
    """Both ways, in order, however much it is."""

    async def test(room: Room) -> None:
        talk = await room.talk()
        assert await heard(talk, os.urandom(4 * 2**20))
        assert room.proxy.passed == 1
        assert room.net.disturbed() == []

    in_room(test)


def test_a_cut_breaks_connections_and_lets_none_through() -> None:
    """Until it is mended."""

    async def test(room: Room) -> None:
        reader, _ = talk = await room.talk()
        assert await heard(talk, b"a")
        room.out.disturb(cut=True)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(1)
        again = await room.talk()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await heard(again, b"b")
        assert room.net.disturbed() == [("c", "s")]
        room.net.heal()
        assert await heard(await room.talk(), b"c")

    in_room(test)


@pytest.mark.parametrize("direction", ["out", "back"])
def test_what_is_held_comes_later_and_the_other_direction_goes_on(
    direction: str,
) -> None:
    """The connection lasts. What was said before it was held has come."""

    async def test(room: Room) -> None:
        reader, _ = talk = await room.talk()
        assert await heard(talk, b"a")
        way = room.out if direction == "out" else room.back
        way.disturb(held=True)
        assert not await heard(talk, b"bc", within_s=0.2)
        way.heal()
        assert await comes(reader, b"bc", 5.0)

    in_room(test)


def test_what_is_held_may_be_lost() -> None:
    """Then the connection is, too."""

    async def test(room: Room) -> None:
        reader, _ = talk = await room.talk()
        assert await heard(talk, b"a")
        room.back.disturb(held=True)
        assert not await heard(talk, b"b", within_s=0.2)
        room.back.heal(lost=True)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(1)

    in_room(test)


def test_a_held_way_does_not_tell_that_the_other_end_is_gone() -> None:
    """Who is gone behind a partition is not missed before it is mended."""

    async def test(room: Room) -> None:
        reader, _ = talk = await room.talk()
        other, writer = await room.talk()
        assert await heard(talk, b"a")
        assert await heard((other, writer), b"a")
        room.out.disturb(held=True)
        writer.transport.abort()
        assert not await comes(reader, b"", 0.1) or len(room.out.connections) == 2
        room.out.heal()
        while len(room.out.connections) > 1:
            await asyncio.sleep(0.01)
        assert await heard(talk, b"b")

    in_room(test)


def test_a_slow_way_delays_and_keeps_the_order() -> None:
    """Each byte comes that much later."""

    async def test(room: Room) -> None:
        talk = await room.talk()
        assert await heard(talk, b"a")
        room.out.disturb(delay_s=0.1)
        since = time.monotonic()
        for part in (b"b", b"c", b"d"):
            talk[1].write(part)
            await asyncio.sleep(0.01)
        assert await comes(talk[0], b"bcd", 5.0)
        assert time.monotonic() - since >= 0.1

    in_room(test)


def test_who_connects_is_found_out() -> None:
    """By the process that has the other end of a connection; strangers are nobody."""

    async def test(room: Room) -> None:
        _, writer = await room.talk()
        port = writer.get_extra_info("sockname")[1]
        assert owner_of_port(port, {os.getpid(): "me"}) == "me"
        assert owner_of_port(port, {1: "init"}) is None
        assert owner_of_port(1, {os.getpid(): "me"}) is None
        assert connected_to([room.proxy.address], {os.getpid(): "me"}) == ["me"]
        assert connected_to([("127.0.0.1", 1)], {os.getpid(): "me"}) == []

    in_room(test)


def test_clocks_of_nodes_jump_and_no_others(tmp_path: Path) -> None:
    """The wall clock either way, the monotonic one forward: that of the loop too."""
    clock = Clock(tmp_path / "1")
    clock.jump(wall_s=-5_000.0, steady_s=100.0)
    code = "import asyncio, time; print(time.time(), asyncio.new_event_loop().time())"
    words = ["dtf_dask.ha.node_process", "somewhere/1"]
    hook = str(Path(__file__).parent / "node_hook")
    environ = {**os.environ, "PYTHONPATH": hook, "DTF_CHAOS_CLOCKS": str(tmp_path)}

    def ahead(*arguments: str) -> tuple[float, float]:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, *arguments],
            stdout=subprocess.PIPE,
            env=environ,
            check=True,
        )
        wall, steady = map(float, done.stdout.split())
        return wall - time.time(), steady - time.monotonic()

    assert ahead(*words) == pytest.approx((-5_000.0, 100.0), abs=50)
    clock.jump(wall_s=7_000.0)
    assert ahead(*words) == pytest.approx((7_000.0, 100.0), abs=50)
    assert ahead() == pytest.approx((0.0, 0.0), abs=50)
