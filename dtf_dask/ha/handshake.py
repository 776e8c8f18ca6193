"""The first words on a connection between nodes, and whose certificate it is. Pure.

Who connects says hello; who listens answers welcome, or why not. Both know by then
whose certificate the other has shown: the hello must say the same. It also says where
the node itself is reached: it may have moved, or may be new to the one that it greets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import msgpack

from dtf_dask.errors import PeerRefusedError, ProtocolError
from dtf_dask.ha.raft.messages import NUMBER_MAX, NodeId

PROTOCOL_VERSION = 1
PROTOCOL_OLDEST = 1
"""Versions from this one on are spoken with nodes that know no newer one: a cluster is
upgraded node by node. A new version may change all but the first two words of a hello,
and the answer to it."""

WORDS_BYTES_MAX = 4_096
"""No first word is longer: what comes before it is known to be a node's."""

_MAGIC = "dtf-node"
_HOST_CHARS_MAX = 255
CLUSTER = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
"""What a cluster may be called, as a regular expression."""
_URI = re.compile(rf"dtf://({CLUSTER})/node/([1-9][0-9]{{0,18}})")


class Channel(IntEnum):
    """What a connection is for. Bulk has its own, so that heartbeats never wait."""

    MESSAGES = 1
    BULK = 2


@dataclass(frozen=True, slots=True)
class NodeName:
    """A node of a cluster, as its certificate names it."""

    cluster: str
    node: NodeId

    def __post_init__(self) -> None:
        """Refuse what no certificate can say."""
        if not re.fullmatch(CLUSTER, self.cluster):
            raise ValueError(
                f"{self.cluster!r} is no name for a cluster: letters, digits, and after"
                " the first also . _ -, 63 at most"
            )
        if not 1 <= self.node <= NUMBER_MAX:
            raise ValueError(f"{self.node} is no node: they count from 1")

    @property
    def uri(self) -> str:
        """What the certificate of the node has as its one alternative name of a URI.

        Examples
        --------
        >>> NodeName("lab", NodeId(3)).uri
        'dtf://lab/node/3'
        """
        return f"dtf://{self.cluster}/node/{self.node}"


@dataclass(frozen=True, slots=True)
class Hello:
    """What the connecting node says.

    Parameters
    ----------
    address
        Where it lets other nodes in; None if it does not say.
    """

    name: NodeName
    to: NodeId
    channel: Channel
    address: tuple[str, int] | None = None
    version: int = PROTOCOL_VERSION


def named_uris(certificate: Mapping[str, Any] | None) -> list[str]:
    """The URIs among a certificate's alternative names, from ``getpeercert``."""
    names = (certificate or {}).get("subjectAltName", ())
    return [value for kind, value in names if kind == "URI"]


def certified_name(certificate: Mapping[str, Any] | None) -> NodeName:
    """Whose certificate it is, from what ``getpeercert`` returns.

    Raises
    ------
    PeerRefusedError
        It has no URI among its alternative names, several, or not a node's. The common
        name is never looked at.
    """
    uris = named_uris(certificate)
    if len(uris) != 1:
        raise PeerRefusedError(
            f"the certificate names {len(uris)} URIs; a node's has exactly one,"
            " dtf://CLUSTER/node/ID"
        )
    match = _URI.fullmatch(uris[0])
    if match is None or int(match[2]) > NUMBER_MAX:
        raise PeerRefusedError(
            f"the certificate is of {uris[0][:200]!r}; a node's is of"
            " dtf://CLUSTER/node/ID"
        )
    return NodeName(match[1], NodeId(int(match[2])))


def encode_hello(hello: Hello) -> bytes:
    """A hello as the body of a frame."""
    name, address = hello.name, hello.address or ("", 0)
    head = (_MAGIC, hello.version, name.cluster, name.node)
    packed: bytes = msgpack.packb((*head, hello.to, int(hello.channel), *address))
    return packed


def decode_hello(body: bytes) -> Hello:
    """What `encode_hello` wrote; `ProtocolError` for anything else.

    Of another version only that number is read: the rest may be different there.
    """
    words = _words(body)
    if len(words) < 2 or words[0] != _MAGIC or type(words[1]) is not int:
        raise ProtocolError("the first frame is no node's")
    if not PROTOCOL_OLDEST <= words[1] <= PROTOCOL_VERSION:
        raise PeerRefusedError(
            f"it speaks version {str(words[1])[:20]} of the protocol between nodes,"
            f" this node {PROTOCOL_VERSION}: run the same version of dtf on both"
        )
    try:
        _, version, cluster, node, to, channel, host, port = words
        if {type(node), type(to), type(channel), type(port)} != {int}:
            raise ValueError("no number")
        if type(host) is not str or len(host) > _HOST_CHARS_MAX:
            raise ValueError("no host")
        if not 0 <= port < 2**16 or bool(host) != bool(port):
            raise ValueError("no address")
        address = (host, port) if host else None
        return Hello(NodeName(cluster, node), to, Channel(channel), address, version)
    except (ValueError, TypeError) as error:
        raise ProtocolError(f"a hello that makes no sense: {error}") from error


def objection_to(hello: Hello, certified: NodeName, own: NodeName) -> str:
    """Why a node is not let in; empty if it is."""
    if hello.name != certified:
        return (
            f"it says that it is {hello.name.uri}, and shows the certificate of"
            f" {certified.uri}"
        )
    if hello.name.cluster != own.cluster:
        return f"it is of cluster {hello.name.cluster!r}, not of {own.cluster!r}"
    if hello.to != own.node:
        return f"it looks for node {hello.to}, and this is node {own.node}"
    if hello.name.node == own.node:
        return f"it is node {own.node}, as this one: an id belongs to one node"
    return ""


def encode_welcome(own: NodeName) -> bytes:
    """The answer to a node that is let in."""
    packed: bytes = msgpack.packb((_MAGIC, PROTOCOL_VERSION, own.cluster, own.node, ""))
    return packed


def encode_refusal(own: NodeName, reason: str) -> bytes:
    """The answer to one that is not."""
    packed: bytes = msgpack.packb(
        (_MAGIC, PROTOCOL_VERSION, own.cluster, own.node, reason[:1_000])
    )
    return packed


def older_version(answer: bytes, spoken: int) -> int | None:
    """The version that a node speaks which does not know ``spoken``; None if it does.

    None, too, if this node does not speak that one any more: then the answer says why.
    """
    words = _words(answer)
    if len(words) != 5 or type(words[1]) is not int or not words[4]:
        return None
    return words[1] if PROTOCOL_OLDEST <= words[1] < spoken else None


def check_answer(body: bytes, expected: NodeName) -> None:
    """Read the answer to a hello.

    Raises
    ------
    PeerRefusedError
        The peer does not let this node in, or is another than was looked for.
    ProtocolError
        It is no answer.
    """
    words = _words(body)
    if len(words) != 5 or words[0] != _MAGIC or type(words[4]) is not str:
        raise ProtocolError("the answer to a hello is no node's")
    _, _, cluster, node, reason = words
    if reason:
        raise PeerRefusedError(f"{expected.uri} refuses this node: {reason[:1_000]}")
    if (cluster, node) != (expected.cluster, expected.node):
        raise PeerRefusedError(f"the answer is not from {expected.uri}")


def _words(body: bytes) -> tuple[Any, ...]:
    try:
        words = msgpack.unpackb(
            body, use_list=False, max_map_len=0, max_ext_len=0, max_array_len=16
        )
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolError(f"the first frame cannot be read: {error}") from error
    if type(words) is not tuple:
        raise ProtocolError("the first frame is no list")
    return words
