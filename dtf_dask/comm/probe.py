"""One look at one coordinator: does it lead? The answer is a value."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any

from distributed.comm.core import Comm
from tornado.iostream import IOStream, SSLIOStream, StreamClosedError

from dtf_dask.comm import dask_seam
from dtf_dask.comm.address import Coordinator
from dtf_dask.comm.greeting import Greeting, Objection, read_greeting

CONNECT_S = 1.0
"""Then a connection is begun anew, since the kernel waits longer with each try."""
ANSWER_S = 5.0
"""So long a busy scheduler may take to greet. Others are asked meanwhile."""
_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV

_LEFT = Objection("closed the connection before it greeted")


class Probe:
    """Looks at coordinators for one that leads.

    Parameters
    ----------
    tls
        The context to connect with; None for no encryption.
    server_name
        The name that certificates are to have, if the context checks names; empty for
        the coordinator's host.
    objection
        Why who greets so is not looked for; None if it is.
    deserialize
        Passed on to the comm.
    """

    def __init__(
        self,
        tls: ssl.SSLContext | None,
        server_name: str,
        objection: Callable[[Greeting], Objection | None],
        deserialize: bool,
    ) -> None:
        self._tls = tls
        self._server_name = server_name
        self._objection = objection
        self._deserialize = deserialize

    async def look(self, coordinator: Coordinator) -> tuple[Comm, Greeting] | Objection:
        """A comm to the coordinator, if it leads; else why not.

        A comm has read the first message of the handshake, and will give it to whoever
        reads first.
        """
        try:
            connected = await _connected(coordinator)
        except socket.gaierror as error:
            return Objection(f"cannot be resolved ({error.strerror})", rests=True)
        except ConnectionRefusedError:
            return Objection("refuses connections")
        except TimeoutError:
            return Objection(f"took no connection within {CONNECT_S:g} s")
        except OSError as error:
            return Objection(f"cannot be reached ({error.strerror or error})")
        stream: IOStream | None = None
        found: tuple[Comm, Greeting] | Objection = _LEFT
        try:
            name = self._server_name or coordinator.host
            stream = dask_seam.stream_of(connected, self._tls, name)
            async with asyncio.timeout(ANSWER_S):
                found = await self._heard(stream, coordinator)
        except TimeoutError:
            found = self._silence()
        except StreamClosedError as closed:
            found = _broken(closed.real_error)
        except (OSError, ValueError) as error:  # ValueError: TLS takes no such name
            found = _broken(error)
        finally:
            if isinstance(found, Objection):
                connected.close() if stream is None else stream.close()
        return found

    async def _heard(
        self, stream: IOStream, coordinator: Coordinator
    ) -> tuple[Comm, Greeting] | Objection:
        if isinstance(stream, SSLIOStream):
            await stream.wait_for_handshake()
        message = await dask_seam.first_message(stream)
        if isinstance(message, Objection):
            return message
        greeting = read_greeting(message)
        if isinstance(greeting, Objection):
            return greeting
        objection = self._objection(greeting)
        if objection is not None:
            return objection
        peer = str(coordinator)
        return (
            dask_seam.comm_of(stream, peer, message, self._deserialize),
            greeting,
        )

    def _silence(self) -> Objection:
        hint = "" if self._tls else ", or it wants TLS"
        return Objection(
            f"took the connection, and said nothing within {ANSWER_S:g} s: it hangs, is"
            f" no coordinator{hint}"
        )


async def _connected(coordinator: Coordinator) -> socket.socket:
    """A socket to the first of the host's addresses that takes a connection."""
    loop = asyncio.get_running_loop()
    problem: OSError = OSError("it has no address")
    for family, kind, protocol, _, address in await _addresses(coordinator):
        made = socket.socket(family, kind, protocol)
        try:
            made.setblocking(False)
            async with asyncio.timeout(CONNECT_S):
                await loop.sock_connect(made, address)
        except OSError as error:
            made.close()
            problem = error
        except BaseException:
            made.close()
            raise
        else:
            return made
    raise problem


async def _addresses(coordinator: Coordinator) -> Sequence[tuple[Any, ...]]:
    host, port = coordinator.host, coordinator.port
    try:
        # No thread for what needs no look-up.
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=_NUMERIC)
    except socket.gaierror:
        loop = asyncio.get_running_loop()
        return await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _broken(error: BaseException | None) -> Objection:
    """What it means that a connection ended before the greeting."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Objection(
            f"shows a certificate that is not trusted ({error.verify_message})",
            final=True,
        )
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return _LEFT
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or str(error)).replace("_", " ").lower()
        hint = ""
        if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
            hint = ": it does not speak TLS"
        elif "ALERT" in (error.reason or ""):
            hint = ": it refuses the certificate of this process"
        return Objection(f"ends the handshake of TLS ({reason}){hint}", final=True)
    if isinstance(error, ValueError):
        return Objection(f"has a name that TLS does not take ({error})", final=True)
    if error is None or isinstance(error, ConnectionError):
        return _LEFT
    return Objection(f"broke the connection ({error})")
