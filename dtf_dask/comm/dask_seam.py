"""The private names of Dask's comms that dtf leans on, all in this module.

`broken` names what an installed version of Dask no longer has; a contract test keeps
it empty, and the backend asks before it opens any connection.
"""

from __future__ import annotations

import inspect
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from distributed.comm import core, registry
from distributed.comm.addressing import parse_host_port
from distributed.comm.core import BaseListener, Comm, CommClosedError
from distributed.comm.tcp import (
    MAX_BUFFER_SIZE,
    TCP,
    TLS,
    BaseTCPListener,
    TCPListener,
    TLSListener,
    get_stream_address,
)
from tornado.iostream import IOStream, SSLIOStream, StreamClosedError

from dtf_dask.comm.greeting import (
    FIRST_MESSAGE_BYTES_MAX,
    Objection,
    foreign_tongue,
    read_first_message,
)

VERSIONS = ("2026.3", "2026.8")
"""The oldest and the newest release of distributed that the tests were run with."""

_LENGTH = struct.Struct("Q")
_PRELUDE = struct.Struct("QQ")  # one frame, and how long it is

# Which function leans on which name: what nobody calls any more would be ignored
# without a word.
_CALL_SITES: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (core.connect, ("get_connector", "connect", "handshake_info", "write", "read")),
    (core.connect, ("FatalCommClosedError",)),
    (core.Listener.on_connection, ("handshake_info", "write", "read")),
    (BaseTCPListener._handle_stream, ("on_connection", "comm_handler", "comm_class")),
    (BaseTCPListener.start, ("bind_sockets",)),
    (TCP.read, ("read_bytes", "unpack_frames")),
    (registry.get_backend, ("_entry_points", "load")),
)


def broken() -> tuple[str, ...]:
    """Say what is missing of what the functions below use; empty if all is there."""
    missing = [
        f"{called} in {caller.__qualname__}"
        for caller, names in _CALL_SITES
        for called in names
        if called not in caller.__code__.co_names
    ]
    made = list(inspect.signature(TCP.__init__).parameters)
    if made != ["self", "stream", "local_addr", "peer_addr", "deserialize"]:
        missing.append(f"TCP(stream, local_addr, peer_addr, deserialize): {made}")
    overridden = list(inspect.signature(BaseListener.on_connection).parameters)
    if overridden != ["self", "comm", "handshake_overrides"]:
        missing.append(f"BaseListener.on_connection: {overridden}")
    missing += [
        f"{owner.__name__}.contact_address"
        for owner in (TCPListener, TLSListener)
        if not isinstance(getattr(owner, "contact_address", None), property)
    ]
    missing += [
        f"a {owner.__name__} whose read can be replaced"
        for owner in (TCP, TLS)
        if not hasattr(owner, "__dict__") or owner.read is not TCP.read
    ]
    if not issubclass(core.FatalCommClosedError, OSError):
        missing.append("FatalCommClosedError is an OSError")
    return tuple(missing)


def stream_of(
    connected: socket.socket, tls: ssl.SSLContext | None, server_name: str
) -> IOStream:
    """The stream that a comm is made of, over a socket that is connected.

    With TLS its handshake has only begun.
    """
    if tls is None:
        return IOStream(connected, max_buffer_size=int(MAX_BUFFER_SIZE))
    wrapped = tls.wrap_socket(
        connected, server_hostname=server_name, do_handshake_on_connect=False
    )
    return SSLIOStream(wrapped, ssl_options=tls, max_buffer_size=int(MAX_BUFFER_SIZE))


async def first_message(stream: IOStream) -> dict[str, Any] | Objection:
    """The first message of the handshake, which Dask's listeners send unasked.

    It is read here rather than by the comm, since that would believe any length, and
    unpickle.
    """
    first = await stream.read_bytes(_LENGTH.size)
    (length,) = _LENGTH.unpack(first)
    if not _PRELUDE.size < length <= FIRST_MESSAGE_BYTES_MAX:
        return foreign_tongue(first)
    body = await stream.read_bytes(length)
    if _PRELUDE.unpack_from(body) != (1, length - _PRELUDE.size):
        return foreign_tongue(first + body)
    return read_first_message(body[_PRELUDE.size :])


def comm_of(
    stream: IOStream, peer: str, message: dict[str, Any], deserialize: bool
) -> Comm:
    """Dask's own comm over a stream, whose first message was read.

    The one read that Dask's handshake does is answered with it. From then on the comm
    is as any other, without a trace of this.
    """
    made = TLS if isinstance(stream, SSLIOStream) else TCP
    scheme = "tls" if made is TLS else "tcp"
    local = f"{scheme}://{get_stream_address(stream)}"
    comm = made(stream, local, f"{scheme}://{peer}", deserialize)

    async def heard() -> dict[str, Any]:
        return message

    _answer_one_read(comm, heard)
    return comm


def _answer_one_read(
    comm: Comm, heard: Callable[[], Awaitable[dict[str, Any]]]
) -> None:
    async def read_once(deserializers: Any = None) -> dict[str, Any]:
        del vars(comm)["read"]
        return await heard()

    vars(comm)["read"] = read_once


async def _bounded_first_message(comm: Comm) -> dict[str, Any] | Objection:
    stream = getattr(comm, "stream", None)
    if stream is None:
        raise CommClosedError(f"{comm.peer_address} has closed the connection")
    try:
        return await first_message(stream)
    except StreamClosedError as error:
        comm.abort()
        raise CommClosedError(f"{comm.peer_address}: {error}") from error
    except BaseException:
        comm.abort()
        raise


class _Greeting(BaseTCPListener):
    """A listener of Dask that says who it is in its half of the handshake."""

    def __init__(
        self, *args: Any, contact: str, overrides: dict[str, Any], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._contact = contact
        self._overrides = overrides

    async def on_connection(
        self, comm: Comm, handshake_overrides: dict[str, Any] | None = None
    ) -> None:
        """Shake hands, with more words (Dask calls this)."""
        more = {**(handshake_overrides or {}), **self._overrides}

        async def heard() -> dict[str, Any]:
            message = await _bounded_first_message(comm)
            if isinstance(message, Objection):
                comm.abort()
                raise CommClosedError(f"{comm.peer_address} {message.why}")
            return message

        _answer_one_read(comm, heard)
        await super().on_connection(comm, more)

    @property
    def contact_address(self) -> str:
        """What others are told to connect to: all coordinators."""
        return self._contact


class _GreetingTCP(_Greeting, TCPListener):
    pass


class _GreetingTLS(_Greeting, TLSListener):
    pass


def listener(
    loc: str, handle_comm: Callable[..., Any], deserialize: bool, **arguments: Any
) -> BaseTCPListener:
    """What workers listen with: Dask's own listener, of TLS if there is a context.

    Raises
    ------
    RuntimeError
        If encryption is required, and there is no context for it.
    """
    made = TCPListener if arguments.get("ssl_context") is None else TLSListener
    return made(loc, handle_comm, deserialize, **arguments)


def greeting_listener(
    loc: str,
    handle_comm: Callable[..., Any],
    deserialize: bool,
    *,
    contact: str,
    overrides: dict[str, Any],
    **arguments: Any,
) -> BaseTCPListener:
    """What a coordinator listens with: it is contacted by ``contact``, and says more.

    Raises
    ------
    RuntimeError
        If encryption is required, and there is no context for it.
    """
    made = _GreetingTCP if arguments.get("ssl_context") is None else _GreetingTLS
    return made(
        loc,
        handle_comm,
        deserialize,
        contact=contact,
        overrides=overrides,
        **arguments,
    )


def told_scheduler(handle_comm: Callable[..., Any]) -> str:
    """The scheduler's address that the worker was told which will listen; or empty.

    Dask gives listeners nothing but the method of the server that handles comms.
    """
    scheduler = getattr(getattr(handle_comm, "__self__", None), "scheduler", None)
    address = getattr(scheduler, "address", "")
    return address if isinstance(address, str) else ""


def host_and_port(loc: str) -> tuple[str, int]:
    """Host and port of an address to listen at; 0 is any port, ``""`` all hosts."""
    host, port = parse_host_port(loc, 0)
    return host, int(port)
