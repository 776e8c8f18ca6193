"""Coordinators by name, and the ports that each of them takes.

``a=host1:8786,b=host2:8786,c=host3:8786``: names are what people call them; numbers,
which is what the ledger calls them, go by the order of names. So it does not matter in
which order they are written, here or there.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

from dtf_dask.ha.dialing import Address
from dtf_dask.ha.node_config import parse_address, shown_address
from dtf_dask.ha.raft.messages import NodeId

PORT = 8786
PEERS_ABOVE, CLIENTS_ABOVE = 4, 5
"""So many above the scheduler's port are those for other nodes, and for the ledger's
clients."""

COORDINATORS_MAX = 9
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_PORT_MAX = 2**16 - 1


@dataclass(frozen=True, slots=True)
class Coordinators:
    """Who they are, by number.

    Parameters
    ----------
    names
        What they are called.
    schedulers, peers, clients
        Where each lets in workers and clients of Dask, other nodes, clients of the
        ledger.
    """

    names: Mapping[NodeId, str]
    schedulers: Mapping[NodeId, Address]
    peers: Mapping[NodeId, Address]
    clients: Mapping[NodeId, Address]

    def number(self, name: str) -> NodeId:
        """The number of a name; `ValueError` if there is no such coordinator."""
        for node, one in self.names.items():
            if one == name:
                return node
        known = ", ".join(self.names.values())
        raise ValueError(f"no coordinator is called {name!r}: there are {known}")

    @property
    def local(self) -> bool:
        """Whether all of them are on this machine, and nobody else reaches them."""
        return all(_loopback(host) for host, _ in self.schedulers.values())

    def __str__(self) -> str:
        """As `parse_coordinators` reads it."""
        return ",".join(
            f"{name}={shown_address(self.schedulers[node])}"
            for node, name in sorted(self.names.items())
        )


def parse_coordinators(text: str) -> Coordinators:
    """Read ``NAME=HOST[:PORT],...``; `ValueError` says what is wrong with it.

    Examples
    --------
    >>> found = parse_coordinators("b=host2,a=host1:8700")
    >>> str(found), found.peers[found.number("a")]
    ('a=host1:8700,b=host2:8786', ('host1', 8704))
    """
    places: dict[str, Address] = {}
    for one in filter(None, map(str.strip, text.split(","))):
        name, equals, place = one.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise ValueError(f"{one!r} is no NAME=HOST:PORT")
        if name in places:
            raise ValueError(f"two coordinators are called {name!r}")
        host_alone = ":" not in place or place.endswith("]")
        host, port = parse_address(f"{place}:{PORT}" if host_alone else place)
        if not 0 < port <= _PORT_MAX - CLIENTS_ABOVE:
            raise ValueError(
                f"{one!r}: ports up to {CLIENTS_ABOVE} above are used, too"
            )
        places[name] = (host, port)
    if not 1 <= len(places) <= COORDINATORS_MAX:
        raise ValueError(f"1 to {COORDINATORS_MAX} coordinators; 3 or 5 are usual")
    return numbered(places)


def numbered(places: Mapping[str, Address]) -> Coordinators:
    """Coordinators by their names and the places of their schedulers."""
    named = {NodeId(n): name for n, name in enumerate(sorted(places), start=1)}
    schedulers = {node: places[name] for node, name in named.items()}
    found = Coordinators(
        named,
        schedulers,
        _above(schedulers, PEERS_ABOVE),
        _above(schedulers, CLIENTS_ABOVE),
    )
    used: dict[Address, str] = {}
    for addresses in (found.schedulers, found.peers, found.clients):
        for node, address in addresses.items():
            other = used.setdefault(address, named[node])
            if other != named[node]:
                one, two = sorted((other, named[node]))
                raise ValueError(
                    f"{one} and {two} would both use {shown_address(address)}: on one"
                    f" host their ports are at least {CLIENTS_ABOVE + 1} apart"
                )
    return found


def _above(schedulers: Mapping[NodeId, Address], by: int) -> dict[NodeId, Address]:
    return {node: (host, port + by) for node, (host, port) in schedulers.items()}


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
