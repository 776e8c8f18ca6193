"""The network between processes, made of TCP proxies that can be cut, held and slowed.

Where a node is reached is one address for everybody: a proxy. Who it is that connects,
the proxy finds out from the kernel, by the process that has the other end. So there is
a way from each to each, and each direction of it can be disturbed alone.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import cast

Address = tuple[str, int]
Name = Hashable

_AHEAD_BYTES_MAX = 256 * 2**10
_DIAL_S = 5.0


class Way:
    """One direction between two: what one sends passes here to the other."""

    def __init__(self) -> None:
        self.cut = False
        """Connections are broken, and none is let through."""
        self.held = False
        """Nothing passes; it comes when it is held no more, as after lost packets."""
        self.delay_s = 0.0
        self.connections: set[_Connection] = set()
        self.opened = asyncio.Event()
        self.opened.set()

    @property
    def clear(self) -> bool:
        """Whether nothing is wrong with it."""
        return not (self.cut or self.held or self.delay_s)

    def disturb(
        self, *, cut: bool = False, held: bool = False, delay_s: float = 0.0
    ) -> None:
        """Have it be so from now on."""
        self.cut, self.held, self.delay_s = cut, held, delay_s
        if held:
            self.opened.clear()
        else:
            self.opened.set()
        for connection in list(self.connections):
            if cut:
                connection.abort()
            else:
                connection.pump()

    def heal(self, *, lost: bool = False) -> None:
        """Let all pass again; ``lost`` if what was held has been given up instead."""
        if lost and self.held:
            for connection in list(self.connections):
                connection.abort()
        self.disturb()


class Net:
    """All ways, by who sends to whom."""

    def __init__(self) -> None:
        self._ways: dict[tuple[Name, Name], Way] = {}

    def way(self, sender: Name, receiver: Name) -> Way:
        """The one from one to another."""
        return self._ways.setdefault((sender, receiver), Way())

    def heal(self) -> None:
        """Let everything pass again."""
        for way in self._ways.values():
            way.heal()

    def disturbed(self) -> list[tuple[Name, Name]]:
        """Which are not clear."""
        return [ends for ends, way in self._ways.items() if not way.clear]


class _Pipe:
    """One direction of one connection."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self.source: asyncio.Transport | None = None
        self.target: asyncio.Transport | None = None
        self.full = False
        """Whether the target takes no more for now."""
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._bytes = 0
        self._ended = self._broken = False
        self._timer: asyncio.TimerHandle | None = None

    def put(self, data: bytes) -> None:
        """The source has sent this."""
        if self._broken:
            return  # it will hear of it, when the way back lets it
        if self.way.clear and not self._waiting and self.target is not None:
            self.target.write(data)
            return
        due = asyncio.get_running_loop().time() + self.way.delay_s
        self._waiting.append((due, data))
        self._bytes += len(data)
        self.pump()

    def end(self) -> None:
        """The source sends nothing more: the target is told when all has passed."""
        self._ended = True
        self.pump()

    def lose(self) -> None:
        """The target is gone: what is sent to it comes nowhere."""
        self._broken = True
        self._waiting.clear()
        self._bytes, self.full = 0, False
        self.throttle()

    def pump(self) -> None:
        """Let pass what may."""
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and not self.way.held and self.target is not None:
            due, data = self._waiting[0]
            if due > loop.time() and self.way.delay_s:
                self._timer = loop.call_at(due, self.pump)
                break
            self._waiting.popleft()
            self._bytes -= len(data)
            if not self.target.is_closing():
                self.target.write(data)
        passed = self._ended and not self._waiting and not self.way.held
        if passed and self.target is not None:
            self.target.close()
        self.throttle()

    def throttle(self) -> None:
        """Read from the source if there is room for it."""
        if self.source is None or self.source.is_closing():
            return
        if self.full or self._bytes > _AHEAD_BYTES_MAX or self.target is None:
            self.source.pause_reading()
        else:
            self.source.resume_reading()


class _End(asyncio.Protocol):
    """One of the two sockets of a connection."""

    def __init__(self, made: Callable[[asyncio.Transport, _End], None]) -> None:
        self._made = made
        self.outward: _Pipe | None = None
        """What comes here goes there."""
        self.inward: _Pipe | None = None
        """What is written here comes from there."""
        self.lost: Callable[[], None] = lambda: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._made(cast(asyncio.Transport, transport), self)

    def data_received(self, data: bytes) -> None:
        if self.outward is not None:
            self.outward.put(data)

    def pause_writing(self) -> None:
        if self.inward is not None:
            self.inward.full = True
            self.inward.throttle()

    def resume_writing(self) -> None:
        if self.inward is not None:
            self.inward.full = False
            self.inward.throttle()

    def connection_lost(self, error: Exception | None) -> None:
        if self.inward is not None:
            self.inward.lose()
        if self.outward is not None:
            self.outward.end()
        self.lost()


class _Connection:
    """Two sockets and the pipes between them."""

    def __init__(self, forward: Way, backward: Way) -> None:
        self.there, self.back = _Pipe(forward), _Pipe(backward)
        self._ends = 0
        for way in (forward, backward):
            way.connections.add(self)

    def join(self, transport: asyncio.Transport, end: _End, *, dialled: bool) -> None:
        """One of its sockets."""
        self._ends += 1
        out, into = (self.back, self.there) if dialled else (self.there, self.back)
        out.source, into.target = transport, transport
        end.outward, end.inward, end.lost = out, into, self._lost
        transport.pause_reading()
        self.pump()

    @property
    def gone(self) -> bool:
        return self._ends == 0

    def pump(self) -> None:
        self.there.pump()
        self.back.pump()

    def abort(self) -> None:
        for transport in (self.there.source, self.back.source):
            if transport is not None:
                transport.abort()
        self._forget()

    def _lost(self) -> None:
        self._ends -= 1
        if self._ends == 0:
            self._forget()

    def _forget(self) -> None:
        self.there.way.connections.discard(self)
        self.back.way.connections.discard(self)


class Proxy:
    """Where one is reached.

    Parameters
    ----------
    net
        The ways that it stands on.
    name
        Whose proxy it is.
    target
        Where that one listens in truth.
    who
        Who connects from a port of this machine; None if nobody knows.
    """

    def __init__(
        self, net: Net, name: Name, target: Address, who: Callable[[int], Name | None]
    ) -> None:
        self.net = net
        self._name = name
        self._target = target
        self._who = who
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: set[_Connection] = set()
        self.address: Address = ("127.0.0.1", 0)
        self.passed = 0
        """How many connections it has let through."""

    async def start(self, address: Address = ("127.0.0.1", 0)) -> None:
        """Listen; port 0 takes any that is free."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _End(self._accepted), *address)
        host, port = self._server.sockets[0].getsockname()
        self.address = (host, port)

    async def close(self) -> None:
        """Listen no more, and break all connections."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while self._connections:
            for connection in list(self._connections):
                connection.abort()
                if connection.gone:
                    self._connections.discard(connection)
            await asyncio.sleep(0.001)

    def _accepted(self, transport: asyncio.Transport, end: _End) -> None:
        source = self._who(transport.get_extra_info("peername")[1])
        if source is None:
            transport.abort()
            return
        there = self.net.way(source, self._name)
        back = self.net.way(self._name, source)
        if there.cut or back.cut:
            transport.abort()
            return
        connection = _Connection(there, back)
        connection.join(transport, end, dialled=False)
        self._connections = {one for one in self._connections if not one.gone}
        self._connections.add(connection)
        task = asyncio.get_running_loop().create_task(self._dial(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _dial(self, connection: _Connection) -> None:
        # A first packet that is lost comes to nobody.
        await connection.there.way.opened.wait()
        source = connection.there.source
        if source is None or source.is_closing():
            connection.abort()
            return
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_DIAL_S):
                await loop.create_connection(
                    lambda: _End(
                        lambda made, end: connection.join(made, end, dialled=True)
                    ),
                    *self._target,
                )
        except (OSError, TimeoutError):
            connection.abort()
            return
        self.passed += 1
        if connection.there.way.cut or connection.back.way.cut:
            connection.abort()


def owner_of_port(port: int, pids: Mapping[int, Name]) -> Name | None:
    """Which of some processes has the socket of a local port of loopback."""
    wanted = _kernel_words(("127.0.0.1", port))
    for own, _, socket in _connections():
        if own == wanted:
            return next(
                (name for pid, name in pids.items() if socket in _open_files(pid)), None
            )
    return None


def connected_to(addresses: Iterable[Address], pids: Mapping[int, Name]) -> list[Name]:
    """Which of some processes have made connections to addresses."""
    wanted = {_kernel_words(one) for one in addresses}
    there = {socket for _, other, socket in _connections() if other in wanted}
    return [name for pid, name in pids.items() if there & _open_files(pid)]


def _connections() -> Iterator[tuple[str, str, str]]:
    """Of this machine, by IPv4: both ends, and the socket, as the kernel names them."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        yield words[1], words[2], f"socket:[{words[9]}]"


def _kernel_words(address: Address) -> str:
    host, port = address
    return f"{bytes(map(int, host.split('.')))[::-1].hex().upper()}:{port:04X}"


def _open_files(pid: int) -> set[str]:
    """What a process has open, as the kernel names it."""
    found = set()
    with suppress(OSError):  # it has ended
        for link in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):  # it was closed meanwhile
                found.add(os.readlink(f"/proc/{pid}/fd/{link}"))
    return found
