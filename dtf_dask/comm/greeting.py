"""What a leading coordinator says of itself as it accepts a connection. Pure.

It says it within the first message of Dask's own handshake, which is the listener's: so
nothing is sent beside Dask's protocol, and who connects by ``tcp://`` just ignores it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgpack

from dtf_dask.ha.handshake import NodeName
from dtf_dask.ha.raft.messages import NUMBER_MAX, NodeId

KEY = "dtf"
"""Under which the handshake has it."""
VERSION = 1
FIRST_MESSAGE_BYTES_MAX = 64 * 1024
"""The first message of a handshake is a few hundred bytes."""
_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Greeting:
    """Who leads: the node's name within its cluster, and since which term."""

    name: NodeName
    term: int

    def __post_init__(self) -> None:
        """Refuse what is no term."""
        if not 0 <= self.term <= NUMBER_MAX:
            raise ValueError(f"{self.term} is no term")

    def words(self) -> dict[str, Any]:
        """What goes into the handshake under `KEY`."""
        name = self.name
        return {
            "version": VERSION,
            "cluster": name.cluster,
            "node": name.node,
            "term": self.term,
        }


@dataclass(frozen=True, slots=True)
class Objection:
    """Why what was found at an address is not the leader that is looked for.

    Parameters
    ----------
    why
        Ends a sentence that begins with the address.
    final
        True if waiting does not help: somebody gave a wrong address, or configured
        something wrong. Else it may be the leader in a moment.
    rests
        True if asking again within milliseconds would be a burden.
    """

    why: str
    final: bool = False
    rests: bool = False


def read_first_message(body: bytes) -> dict[str, Any] | Objection:
    """The first message of a handshake, from its bytes as msgpack.

    Nothing in it is made into anything but plain values.
    """
    try:
        message = msgpack.unpackb(
            body, use_list=False, strict_map_key=True, max_ext_len=0
        )
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException):
        message = None
    if not isinstance(message, dict) or "pickle-protocol" not in message:
        return Objection("speaks, but not as a scheduler of Dask does", final=True)
    return message


def read_greeting(message: Mapping[str, Any]) -> Greeting | Objection:
    """Who leads, from the first message of a handshake."""
    words = message.get(KEY)
    if words is None:
        return Objection(
            "is a plain scheduler or worker of Dask, no coordinator: connect to it by"
            " tcp:// or tls://",
            final=True,
        )
    try:
        if words["version"] != VERSION:
            return Objection(
                f"greets in version {str(words['version'])[:_SHOWN]}, and this process"
                f" knows {VERSION}: run the same version of dtf on both",
                final=True,
            )
        node, term = words["node"], words["term"]
        if type(node) is not int or type(term) is not int:
            raise ValueError("no numbers")
        return Greeting(NodeName(words["cluster"], NodeId(node)), term)
    except (ValueError, TypeError, KeyError, IndexError):
        return Objection("greets with words that make no sense", final=True)


def foreign_tongue(first: bytes) -> Objection:
    """What speaks, if its first bytes are none of Dask's protocol."""
    if first.startswith(b"HTTP/"):
        return Objection("speaks HTTP", final=True)
    return Objection(
        f"speaks another protocol, beginning with {first[:_SHOWN]!r}", final=True
    )
