"""Messages of Raft to bytes and back, for the way between nodes. Pure.

Strict, since what comes was written by another process: a field too many, a wrong type,
a kind that does not travel, a number that no node counts to are refused, and nothing
takes more memory than the bytes are long. No version is guessed: the handshake has made
sure that both sides write the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgpack

from dtf_dask.errors import ProtocolError
from dtf_dask.ha.entry_codec import decode_entries, encode_entries
from dtf_dask.ha.raft.messages import (
    NUMBER_MAX,
    ConfigState,
    Entry,
    Message,
    MessageKind,
    NodeId,
    Snapshot,
    SnapshotPoint,
)

READS_MAX = 100_000
MEMBERS_MAX = 1_000
SNAPSHOT_PAYLOAD_BYTES_MAX = 64 * 2**10
MESSAGES_MAX = 65_536
"""Of one frame."""

_TRAVELS = {kind.value: kind for kind in MessageKind if kind < 15}
_FIELDS = 13
_ARRAY = b"\xdd"  # msgpack's array with a length of four bytes
_CACHED_ENTRIES_MAX = 16

Packed = bytes


class MessageEncoder:
    """Encodes what goes to several peers once.

    Followers that are equally far get the very same list of entries: it is known
    again by its identity, which holds as long as the list is kept here.
    """

    __slots__ = ("_encoded",)

    def __init__(self) -> None:
        self._encoded: dict[int, tuple[Sequence[Entry], bytes]] = {}

    def encode(self, message: Message) -> Packed:
        """One message as bytes; many of them make a frame's body by `join_messages`."""
        entries, snapshot = message.entries, message.snapshot
        packed: bytes = msgpack.packb(
            (
                *message[:7],
                self._entries(entries) if entries else b"",
                *message[8:10],
                None if snapshot is None else _plain_snapshot(snapshot),
                *message[11:_FIELDS],
            )
        )
        return packed

    def _entries(self, entries: Sequence[Entry]) -> bytes:
        cached = self._encoded.get(id(entries))
        if cached is not None and cached[0] is entries:
            return cached[1]
        encoded = encode_entries(entries)
        if len(self._encoded) >= _CACHED_ENTRIES_MAX:
            del self._encoded[next(iter(self._encoded))]
        self._encoded[id(entries)] = (entries, encoded)
        return encoded


def join_messages(packed: Sequence[Packed]) -> bytes:
    """The body of a frame: as many messages as there are."""
    return b"".join((_ARRAY, len(packed).to_bytes(4, "big"), *packed))


def decode_messages(body: bytes, sender: NodeId, to: NodeId) -> list[Message]:
    """The messages of a frame that came from a peer.

    Raises
    ------
    ProtocolError
        Anything is not as `MessageEncoder` writes it, or a message is of another
        sender than the connection's, or for another node.
    """
    try:
        rows = msgpack.unpackb(
            body,
            use_list=False,
            max_map_len=0,
            max_ext_len=0,
            max_array_len=max(READS_MAX, MESSAGES_MAX),
        )
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolError(f"a frame of messages cannot be read: {error}") from error
    if type(rows) is not tuple or len(rows) > MESSAGES_MAX:
        raise ProtocolError("a frame holds no list of messages, or too many")
    try:
        return [_message(row, sender, to) for row in rows]
    except ValueError as error:
        raise ProtocolError(f"a message is refused: {error}") from error


def _message(row: Any, sender: NodeId, to: NodeId) -> Message:
    if type(row) is not tuple or len(row) != _FIELDS:
        raise ValueError(f"not a list of {_FIELDS} fields")
    kind, row_to, row_sender, term, log_term, log_index, commit = row[:7]
    entries, reject, hint, snapshot, context, reads = row[7:]
    numbers = (row_to, row_sender, term, log_term, log_index, commit, hint, context)
    for number in numbers:
        if type(number) is not int or not 0 <= number <= NUMBER_MAX:
            raise ValueError(f"the number {str(number)[:50]!r}")
    known = _TRAVELS.get(kind) if type(kind) is int else None
    if known is None:
        raise ValueError(f"the kind {str(kind)[:50]!r}")
    if row_sender != sender or row_to != to:
        raise ValueError(
            f"from {row_sender} to {row_to}, on a connection from {sender} to {to}"
        )
    if type(reject) is not bool or type(entries) is not bytes:
        raise ValueError("a field of the wrong type")
    if reads:
        _check_reads(reads)
    elif reads != ():
        raise ValueError("reads that are no list")
    return Message(
        known,
        to,
        sender,
        term,
        log_term,
        log_index,
        commit,
        decode_entries(entries) if entries else (),
        reject,
        hint,
        None if snapshot is None else _snapshot(snapshot),
        context,
        reads,
    )


def _check_reads(reads: Any) -> None:
    if (
        type(reads) is not tuple
        or len(reads) > READS_MAX
        or {*map(type, reads)} != {int}
    ):
        raise ValueError("reads that are no list of numbers, or too many")
    if min(reads) < 0 or max(reads) > NUMBER_MAX:
        raise ValueError("the number of a read over the limit")


def _plain_snapshot(snapshot: Snapshot) -> tuple[object, ...]:
    point, config = snapshot.point, snapshot.point.config
    return (
        *(point.index, point.term, config.voters, config.learners),
        *(config.voters_outgoing, config.learners_next, config.auto_leave),
        snapshot.payload,
    )


def _snapshot(plain: Any) -> Snapshot:
    if type(plain) is not tuple or len(plain) != 8:
        raise ValueError("a snapshot that is no list of 8 fields")
    index, term, *groups, auto_leave, payload = plain
    if type(payload) is not bytes or len(payload) > SNAPSHOT_PAYLOAD_BYTES_MAX:
        raise ValueError("the payload of a snapshot, or its length")
    if type(auto_leave) is not bool:
        raise ValueError("a configuration that makes no sense")
    for number in (index, term):
        if type(number) is not int or not 0 <= number <= NUMBER_MAX:
            raise ValueError("the place of a snapshot")
    voters, learners, outgoing, learners_next = map(_members, groups)
    config = ConfigState(voters, learners, outgoing, learners_next, auto_leave)
    return Snapshot(SnapshotPoint(index, term, config), payload)


def _members(plain: Any) -> tuple[NodeId, ...]:
    if type(plain) is not tuple or len(plain) > MEMBERS_MAX:
        raise ValueError("members that are no list, or too many")
    if any(type(node) is not int or not 1 <= node <= NUMBER_MAX for node in plain):
        raise ValueError("a member that is no node")
    return plain
