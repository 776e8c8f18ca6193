"""Where the nodes of a cluster are reached, as its ledger says. Pure.

There is a record for each node, written before it is added. That of a node that is
removed stays, and says so.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgpack

from dtf_dask.ha.ledger.records import Records
from dtf_dask.ha.raft.messages import NodeId

NODES = "dtf.nodes"
"""The namespace of the records, by id."""


class Place(NamedTuple):
    """Where a node is reached, and whether it is to belong to the cluster no more."""

    address: tuple[str, int]
    removed: bool = False


def is_address(address: tuple[str, int]) -> bool:
    """Whether anybody could be asked for a host of that name, and it has a port.

    Examples
    --------
    >>> is_address(("node-4.lab", 8790)), is_address(("node..lab", 8790))
    (True, False)
    """
    host, port = address
    if not 0 < port < 2**16 or not host or not host.isprintable() or " " in host:
        return False
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def encode_place(place: Place) -> bytes:
    """A place as the value of a record."""
    packed: bytes = msgpack.packb((*place.address, place.removed))
    return packed


def decode_place(packed: bytes) -> Place | None:
    """What `encode_place` made; None if it is something else."""
    try:
        words: Any = msgpack.unpackb(packed)
        host, port, removed = words
    except (ValueError, TypeError, msgpack.UnpackException):
        return None
    sound = type(host) is str and type(port) is int and type(removed) is bool
    return Place((host, port), removed) if sound else None


def places_in(records: Records) -> dict[NodeId, Place]:
    """What the records say; what makes no sense is passed over."""
    found = {}
    for key, record in records.walk(NODES, ""):
        value = record.value
        place = decode_place(value) if isinstance(value, bytes) else None
        if key.isdecimal() and place is not None:
            found[NodeId(int(key))] = place
    return found
