"""How a node connects to another, and who is let in.

Nothing that comes before both certificates are known costs more than a few kilobytes
and a few seconds: silent connections, half handshakes, first words that are none. Of
connections that are not let in yet only so many wait; one more ends the oldest, since a
node needs milliseconds.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

from dtf_dask.errors import PeerRefusedError, PeerUnavailableError, ProtocolError
from dtf_dask.ha import handshake
from dtf_dask.ha.connection import Connection, close_server
from dtf_dask.ha.handshake import (
    Channel,
    Hello,
    NodeName,
    certified_name,
    check_answer,
    decode_hello,
    encode_hello,
    encode_refusal,
    encode_welcome,
    objection_to,
    older_version,
)
from dtf_dask.ha.node_tls import seconds_valid
from dtf_dask.ha.raft.messages import NodeId

Address = tuple[str, int]

_SHUTDOWN_S = 1.0  # for the last words of TLS


async def dial(
    own: NodeName,
    peer: NodeName,
    address: Address,
    channel: Channel,
    context: ssl.SSLContext,
    timeout_s: float,
    reached_at: Address | None = None,
) -> Connection:
    """A connection to a peer that has let this node in, and was told where it is.

    Raises
    ------
    PeerRefusedError
        It does not let this node in, or is another than ``peer``.
    PeerUnavailableError
        It cannot be reached, or not in time.
    ProtocolError
        What answers is no node.
    """
    hello = Hello(
        own, peer.node, channel, reached_at, version=handshake.PROTOCOL_VERSION
    )
    found = await _dial(hello, peer, address, context, timeout_s)
    if isinstance(found, int):
        older = replace(hello, version=found)
        found = await _dial(older, peer, address, context, timeout_s)
    if isinstance(found, int):
        raise ProtocolError(f"{peer.uri} says another version each time")
    return found


async def _dial(
    hello: Hello,
    peer: NodeName,
    address: Address,
    context: ssl.SSLContext,
    timeout_s: float,
) -> Connection | int:
    """A connection, or the older version that the peer speaks."""
    host, port = address
    connection: Connection | None = None
    try:
        async with asyncio.timeout(timeout_s):
            transport, connection = await asyncio.get_running_loop().create_connection(
                Connection,
                host,
                port,
                ssl=context,
                ssl_handshake_timeout=timeout_s,
                ssl_shutdown_timeout=_SHUTDOWN_S,
            )
            certificate = transport.get_extra_info("peercert")
            found = certified_name(certificate)
            if found != peer:
                raise PeerRefusedError(
                    f"{host}:{port} shows the certificate of {found.uri}, not of"
                    f" {peer.uri}"
                )
            connection.send(encode_hello(hello))
            answer = await connection.word()
            older = older_version(answer, hello.version)
            if older is not None:
                connection.abort("it speaks an older version")
                return older
            check_answer(answer, peer)
            _end_with_certificate(connection, seconds_valid(certificate))
            return connection
    except BaseException as error:
        if connection is not None:
            connection.abort(f"the handshake failed: {error}")
        if isinstance(error, TimeoutError):
            raise PeerUnavailableError(
                f"{host}:{port} did not answer within {timeout_s:g} s"
            ) from error
        if isinstance(error, (OSError, ValueError)):
            raise PeerUnavailableError(f"{host}:{port}: {error}") from error
        raise


@dataclass(frozen=True, slots=True)
class Admitted:
    """A peer that was let in; ``address`` is where it says that it is reached."""

    peer: NodeId
    channel: Channel
    address: Address | None
    connection: Connection


class Listener:
    """Lets nodes in.

    Parameters
    ----------
    admits
        Why a node of this cluster is not let in; empty if it is.
    admitted, refused
        Called with who was let in; with an address and a reason.
    """

    def __init__(
        self,
        own: NodeName,
        context: ssl.SSLContext,
        handshakes_max: int,
        timeout_s: float,
        admits: Callable[[NodeId], str],
        admitted: Callable[[Admitted], None],
        refused: Callable[[str, str], None],
    ) -> None:
        self._own = own
        self._context = context
        self._handshakes_max = handshakes_max
        self._timeout_s = timeout_s
        self._admits = admits
        self._admitted = admitted
        self._refused = refused
        self._server: asyncio.Server | None = None
        self._pending: dict[asyncio.Task[None], asyncio.Transport] = {}

    async def start(self, host: str, port: int) -> Address:
        """Listen; on which address. Port 0 takes any that is free.

        Raises
        ------
        OSError
            The address is taken, or not this machine's.
        """
        if not host:
            raise ValueError("an address without a host would be all interfaces")
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Raw(self._accepted), host, port, backlog=256
        )
        found = self._server.sockets[0].getsockname()
        return str(found[0]), int(found[1])

    async def close(self) -> None:
        """Listen no more, and end what is not let in yet."""
        if self._server is not None:
            await close_server(self._server)
        pending = list(self._pending)
        for task, transport in list(self._pending.items()):
            transport.abort()
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    @property
    def waiting(self) -> int:
        """How many connections are not let in yet."""
        return len(self._pending)

    def _accepted(self, transport: asyncio.Transport) -> None:
        if len(self._pending) >= self._handshakes_max:
            oldest = next(iter(self._pending))
            self._pending.pop(oldest).abort()
            oldest.cancel()
        task = asyncio.get_running_loop().create_task(self._admit(transport))
        self._pending[task] = transport
        task.add_done_callback(lambda done: self._pending.pop(done, None))

    async def _admit(self, raw: asyncio.Transport) -> None:
        name = raw.get_extra_info("peername")
        address = f"{name[0]}:{name[1]}" if name else "an unknown address"
        connection = Connection()
        try:
            async with asyncio.timeout(self._timeout_s):
                hello = await self._hello(raw, connection)
        except PeerRefusedError as error:
            connection.send(encode_refusal(self._own, str(error)))
            connection.close(str(error))
            self._refused(address, str(error))
        except TimeoutError:
            raw.abort()
            connection.abort("too slow")
            self._refused(address, f"said nothing within {self._timeout_s:g} s")
        except (OSError, ProtocolError, PeerUnavailableError) as error:
            raw.abort()
            connection.abort(str(error))
            self._refused(address, str(error) or type(error).__name__)
        except asyncio.CancelledError:
            raw.abort()
            connection.abort("too many connections wait to be let in")
            raise
        else:
            connection.send(encode_welcome(self._own))
            self._admitted(
                Admitted(hello.name.node, hello.channel, hello.address, connection)
            )

    async def _hello(self, raw: asyncio.Transport, connection: Connection) -> Hello:
        transport = await asyncio.get_running_loop().start_tls(
            raw,
            connection,
            self._context,
            server_side=True,
            ssl_handshake_timeout=self._timeout_s,
            ssl_shutdown_timeout=_SHUTDOWN_S,
        )
        if transport is None:
            raise PeerUnavailableError("the connection ended within the handshake")
        connection.adopt(transport)
        certificate = transport.get_extra_info("peercert")
        certified = certified_name(certificate)
        hello = decode_hello(await connection.word())
        objection = objection_to(hello, certified, self._own)
        objection = objection or self._admits(hello.name.node)
        if objection:
            raise PeerRefusedError(objection)
        if connection.closed.done():
            raise PeerUnavailableError(connection.why)
        _end_with_certificate(connection, seconds_valid(certificate))
        return hello


class _Raw(asyncio.Protocol):
    """A connection before TLS: nothing is read from it."""

    def __init__(self, accepted: Callable[[asyncio.Transport], None]) -> None:
        self._accepted = accepted

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        plain = cast(asyncio.Transport, transport)
        plain.pause_reading()  # until TLS reads
        self._accepted(plain)


def _end_with_certificate(connection: Connection, seconds: float) -> None:
    """A live connection ends when the certificate does that opened it."""
    loop = asyncio.get_running_loop()
    timer = loop.call_later(
        max(0.0, seconds), connection.abort, "the peer's certificate has ended"
    )
    connection.closed.add_done_callback(lambda _: timer.cancel())
