"""Ports of this machine for coordinators that are made here."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterable

from dtf_dask.errors import ConfigurationError
from dtf_dask.ha.coordinators import CLIENTS_ABOVE, PEERS_ABOVE

_LOOPBACK = "127.0.0.1"
_PORTS = range(20_000, 32_000)


def free_ports(
    count: int, above: Iterable[int] = (PEERS_ABOVE, CLIENTS_ABOVE)
) -> list[int]:
    """Ports that are free, as are those above them that belong to each.

    None of those that the system gives to connections: while a coordinator is down,
    its port would be given to another, or to who looks for it, which then finds itself.

    Raises
    ------
    ConfigurationError
        If there are not so many.
    """
    found: list[int] = []
    with contextlib.ExitStack() as stack:
        for port in random.sample(_PORTS, len(_PORTS)):
            with contextlib.suppress(OSError):
                for one in (0, *above):
                    stack.enter_context(socket.create_server((_LOOPBACK, port + one)))
                found.append(port)
            if len(found) == count:
                return found
    raise ConfigurationError(f"no {count} ports from {_PORTS[0]:,} on are free")
