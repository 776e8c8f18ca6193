"""Messages as bytes: what is written is read, and nothing else is."""

from __future__ import annotations

import struct
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtf_dask.errors import PeerRefusedError, ProtocolError
from dtf_dask.ha.entry_codec import decode_entries, encode_entries
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
)
from dtf_dask.ha.message_codec import (
    MEMBERS_MAX,
    MESSAGES_MAX,
    READS_MAX,
    SNAPSHOT_PAYLOAD_BYTES_MAX,
    MessageEncoder,
    decode_messages,
    join_messages,
)
from dtf_dask.ha.outbox import Outbox
from dtf_dask.ha.raft.messages import (
    NUMBER_MAX,
    ConfigState,
    Entry,
    EntryKind,
    Message,
    MessageKind,
    NodeId,
    Snapshot,
    SnapshotPoint,
)
from dtf_dask.ha.wire import FRAME_BYTES_MAX, FrameCutter, frame

ONE, TWO = NodeId(1), NodeId(2)
TRAVELS = [kind for kind in MessageKind if kind < 15]

numbers = st.integers(0, NUMBER_MAX)
nodes = st.lists(st.integers(1, NUMBER_MAX), max_size=4).map(tuple)


@st.composite
def entry_lists(draw: st.DrawFn) -> list[Entry]:
    """Entries that follow each other, or that have no index yet."""
    lines = draw(
        st.lists(st.tuples(numbers, st.sampled_from(EntryKind), st.binary(max_size=20)))
    )
    first = draw(st.integers(1, NUMBER_MAX - 1000) | st.just(0))
    return [
        Entry(term, first + at if first else 0, kind, payload)
        for at, (term, kind, payload) in enumerate(lines)
    ]


snapshots = st.builds(
    Snapshot,
    st.builds(
        SnapshotPoint,
        numbers,
        numbers,
        st.builds(ConfigState, nodes, nodes, nodes, nodes, st.booleans()),
    ),
    st.binary(max_size=50),
)
messages = st.builds(
    Message,
    *(st.sampled_from(TRAVELS), st.just(TWO), st.just(ONE), numbers, numbers, numbers),
    *(numbers, entry_lists(), st.booleans(), numbers, st.none() | snapshots, numbers),
    st.lists(numbers, max_size=5).map(tuple),
    vote=st.just(NodeId(0)),
    responses=st.just(()),
)


def equal(found: Message, sent: Message) -> bool:
    return found._replace(entries=list(found.entries)) == sent._replace(
        entries=list(sent.entries)
    )


@given(st.lists(messages, max_size=5))
def test_what_is_written_is_read(sent: list[Message]) -> None:
    """Every kind with every field, alone and together."""
    encoder = MessageEncoder()
    body = join_messages([encoder.encode(message) for message in sent])
    found = decode_messages(body, ONE, TWO)
    assert len(found) == len(sent)
    assert all(map(equal, found, sent))
    assert all(type(message.kind) is MessageKind for message in found)


@settings(max_examples=300)
@given(messages, st.data())
def test_any_change_is_refused_or_is_another_message(
    sent: Message, draw: st.DataObject
) -> None:
    """Bytes changed, cut or added: a `ProtocolError`, or a message that is sound."""
    body = bytearray(join_messages([MessageEncoder().encode(sent)]))
    at = draw.draw(st.integers(0, len(body) - 1))
    kind = draw.draw(st.sampled_from(("change", "cut", "add")))
    if kind == "change":
        body[at] = draw.draw(st.integers(0, 255))
    elif kind == "cut":
        del body[at:]
    else:
        body[at:at] = draw.draw(st.binary(min_size=1, max_size=9))
    try:
        found = decode_messages(bytes(body), ONE, TWO)
    except ProtocolError:
        return
    for message in found:
        assert (message.sender, message.to) == (ONE, TWO)
        assert message.kind in TRAVELS
        assert 0 <= message.term <= NUMBER_MAX
        again = join_messages([MessageEncoder().encode(message)])
        assert all(map(equal, decode_messages(again, ONE, TWO), [message]))


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_noise_is_refused(body: bytes) -> None:
    """Whatever comes: a `ProtocolError`, or an empty list of messages."""
    for read in (
        lambda: decode_messages(body, ONE, TWO) == [],
        lambda: decode_hello(body) and False,
        lambda: check_answer(body, NodeName("lab", ONE)),
    ):
        try:
            assert read() in (True, None)
        except (ProtocolError, PeerRefusedError):
            pass


ROW: list[Any] = [9, 2, 1, 3, 0, 0, 0, b"", False, 0, None, 0, []]
POINT: list[Any] = [5, 1, [1], [], [], [], False, b""]


@pytest.mark.parametrize(
    ("at", "value"),
    [
        *((0, kind) for kind in (0, 15, 18, -1, 2**40, "9", None, True, 9.0)),
        *((at, 2**63) for at in (1, 3, 4, 5, 6, 9, 11)),
        *((at, -1) for at in (1, 3, 4, 5, 6, 9, 11)),
        *((3, value) for value in (2**64 - 1, True, 3.0, "3", None, [])),
        (1, 3),
        (2, 3),
        *((7, value) for value in ("", None, b"x", b"\0" * 17, [])),
        *((8, value) for value in (0, 1, None)),
        *((10, value) for value in ((), [1], [*POINT, 1], b"", 5, False)),
        (10, [2**63, *POINT[1:]]),
        (10, [*POINT[:2], [0], *POINT[3:]]),
        (10, [*POINT[:2], [True], *POINT[3:]]),
        (10, [*POINT[:2], list(range(1, MEMBERS_MAX + 2)), *POINT[3:]]),
        (10, [*POINT[:6], 0, b""]),
        (10, [*POINT[:7], bytes(SNAPSHOT_PAYLOAD_BYTES_MAX + 1)]),
        (10, [*POINT[:7], "x"]),
        *((12, value) for value in (None, 0, b"", {}, [-1], [2**63], ["1"], [True])),
        (12, [1] * (READS_MAX + 1)),
    ],
)
def test_a_field_of_no_sense_is_refused(at: int, value: object) -> None:
    """Wrong types, kinds that never travel, numbers over the limit, huge lists."""
    assert len(decode_messages(msgpack.packb([ROW]), ONE, TWO)) == 1
    row = [*ROW]
    row[at] = value
    with pytest.raises(ProtocolError):
        decode_messages(msgpack.packb([row]), ONE, TWO)


@pytest.mark.parametrize(
    "rows",
    [
        [ROW[:-1]],
        [[*ROW, None]],
        [dict(enumerate(ROW))],
        {"messages": [ROW]},
        [[msgpack.ExtType(1, b"x"), *ROW[1:]]],
        [[]] * (MESSAGES_MAX + 1),
        None,
        "x",
    ],
)
def test_lists_of_no_sense_are_refused(rows: object) -> None:
    """A field too few or too many, maps, extensions, too many messages."""
    with pytest.raises(ProtocolError):
        decode_messages(msgpack.packb(rows), ONE, TWO)


def head(flags: int, first: int, count: int, runs: int, rest: bytes = b"") -> bytes:
    return struct.pack("<BQII", flags, first, count, runs) + rest


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        head(0, 1, 2**32 - 1, 1),
        head(0, 1, 1, 2**32 - 1),
        head(0, 1, 0, 0),
        head(2, 1, 1, 1, struct.pack("<QII", 1, 1, 0)),
        head(0, 2**63, 1, 1, struct.pack("<QII", 1, 1, 0)),
        head(0, 1, 1, 1, struct.pack("<QII", 2**63, 1, 0)),
        head(0, 1, 1, 1, struct.pack("<QII", 1, 2, 0)),
        head(0, 1, 2, 1, struct.pack("<QIII", 1, 1, 0, 0)),
        head(0, 1, 1, 1, struct.pack("<QII", 1, 1, 5)),
        head(0, 1, 1, 1, struct.pack("<QII", 1, 1, 0) + b"x"),
        head(1, 1, 1, 1, struct.pack("<QIBI", 1, 1, 3, 0)),
        head(0, 1, 3, 9, struct.pack("<QI", 1, 3) * 9),
    ],
)
def test_entries_of_no_sense_are_refused(encoded: bytes) -> None:
    """Also those that claim to be more than memory holds."""
    with pytest.raises(ValueError):
        decode_entries(encoded)


def test_entries_with_gaps_are_not_written() -> None:
    """Their indexes would be lost: only the first is kept."""
    for indexes in ((1, 3), (2, 1), (0, 1), (5, 5)):
        with pytest.raises(ValueError, match="do not follow"):
            encode_entries([Entry(1, i, EntryKind.NORMAL, b"") for i in indexes])


def test_the_same_entries_are_encoded_once() -> None:
    """The very same list; an equal one of other entries is never taken for it."""
    encoder = MessageEncoder()
    first = encode_first(encoder, [Entry(1, 1, EntryKind.NORMAL, b"a")])
    for number in range(100):
        payload = b"%d" % number
        found = encode_first(encoder, [Entry(1, 1, EntryKind.NORMAL, payload)])
        assert found.entries[0].payload == payload
    assert first.entries[0].payload == b"a"
    assert len(encoder._encoded) <= 16


def encode_first(encoder: MessageEncoder, entries: list[Entry]) -> Message:
    message = Message(MessageKind.APPEND, TWO, ONE, entries=entries)
    for _ in range(2):
        packed = encoder.encode(message)
    (found,) = decode_messages(join_messages([packed]), ONE, TWO)
    return found


@given(st.lists(st.binary(min_size=1, max_size=50)), st.integers(1, 20))
def test_frames_are_cut_wherever_the_bytes_break(
    bodies: list[bytes], step: int
) -> None:
    """The same bodies, however they arrive."""
    stream = b"".join(map(frame, bodies))
    cutter = FrameCutter(50)
    found = []
    for start in range(0, len(stream), step):
        cutter.feed(stream[start : start + step])
        while (body := cutter.next()) is not None:
            found.append(body)
    assert found == bodies


def test_a_frame_over_the_limit_is_refused_before_it_comes() -> None:
    """By what it claims; and an empty one."""
    for claimed in (0, 51, FRAME_BYTES_MAX, 2**32 - 1):
        cutter = FrameCutter(50)
        cutter.feed(claimed.to_bytes(4, "big"))
        with pytest.raises(ProtocolError, match=f"claims {claimed} bytes"):
            cutter.next()


def test_an_outbox_drops_appends_before_votes() -> None:
    """The oldest of what Raft sends again; in order otherwise, within its limits."""
    outbox = Outbox(messages_max=4, bytes_max=100)
    kinds = MessageKind
    put = [
        (kinds.VOTE, b"vote"),
        (kinds.APPEND, b"append 1"),
        (kinds.HEARTBEAT, b"heartbeat"),
        (kinds.READ_INDEX, b"read"),
    ]
    assert [outbox.put(*one) for one in put] == [0, 0, 0, 0]
    assert outbox.put(kinds.APPEND, b"append 2") == 1
    assert outbox.put(kinds.VOTE, b"x" * 90) == 2
    assert outbox.bytes_waiting <= 100
    assert outbox.take(8) == [b"vote", b"read"]
    assert outbox.take(1000) == [b"x" * 90]
    assert (outbox.take(5), len(outbox), outbox.bytes_waiting) == ([], 0, 0)
    assert outbox.put(kinds.VOTE, b"x" * 500) == 0
    assert outbox.put(kinds.VOTE, b"y") == 1
    assert outbox.clear() == 1


def test_hello_and_answer() -> None:
    """Each is read as it was written; a refusal has its reason."""
    own, peer = NodeName("lab", ONE), NodeName("lab", TWO)
    for channel in Channel:
        for address in (None, ("host", 1), ("::1", 65_535)):
            hello = Hello(own, TWO, channel, address)
            assert decode_hello(encode_hello(hello)) == hello
    check_answer(encode_welcome(peer), peer)
    with pytest.raises(PeerRefusedError, match="node/2 refuses this node: not you"):
        check_answer(encode_refusal(peer, "not you"), peer)
    with pytest.raises(PeerRefusedError, match="not from dtf://lab/node/2"):
        check_answer(encode_welcome(own), peer)
    newer = Hello(own, TWO, Channel.BULK, version=2)
    with pytest.raises(PeerRefusedError, match="version 2 of the protocol"):
        decode_hello(encode_hello(newer))


@pytest.mark.parametrize(
    "words",
    [
        ("dtf-node", 1, "lab", 1, 2, 3, "", 0),
        ("dtf-node", 1, "lab", 0, 2, 1, "", 0),
        ("dtf-node", 1, "lab", "1", 2, 1, "", 0),
        ("dtf-node", 1, "a/b", 1, 2, 1, "", 0),
        ("dtf-node", 1, None, 1, 2, 1, "", 0),
        ("dtf-node", 1, "lab", 1, 2, 1),
        ("dtf-node", 1, "lab", 1, 2, 1, "", 0, 0),
        ("dtf-node", True, "lab", 1, 2, 1, "", 0),
        ("dtf-mode", 1, "lab", 1, 2, 1, "", 0),
        ("dtf-node", 1, "lab", 1, 2, 1, "host", 0),
        ("dtf-node", 1, "lab", 1, 2, 1, "", 1),
        ("dtf-node", 1, "lab", 1, 2, 1, "host", 2**16),
        ("dtf-node", 1, "lab", 1, 2, 1, "host", -1),
        ("dtf-node", 1, "lab", 1, 2, 1, "host", "1"),
        ("dtf-node", 1, "lab", 1, 2, 1, b"host", 1),
        ("dtf-node", 1, "lab", 1, 2, 1, "h" * 256, 1),
        ("dtf-node",),
        (),
    ],
)
def test_a_hello_of_no_sense_is_refused(words: tuple[object, ...]) -> None:
    """Types, names, numbers: all of it, before anybody looks for a peer."""
    with pytest.raises(ProtocolError):
        decode_hello(msgpack.packb(words))


@pytest.mark.parametrize(
    "uri",
    [
        *("", "dtf://lab/node/", "dtf://lab/node/01", "dtf://lab/node/1/", "DTF://a/b"),
        *("dtf:///node/1", "dtf://lab/node/1 ", "dtf://lab/node/1\n", "dtf://-/node/1"),
        *("dtf://lab/node/9223372036854775808", "dtf://lab/node/١"),
    ],
)
def test_a_name_in_a_certificate_is_read_strictly(uri: str) -> None:
    """One way to write each node, and no other."""
    with pytest.raises(PeerRefusedError):
        certified_name({"subjectAltName": (("URI", uri),)})
    right = {"subjectAltName": (("DNS", "here"), ("URI", "dtf://lab/node/1"))}
    assert certified_name(right) == NodeName("lab", ONE)
    for nothing in (None, {}, {"subjectAltName": (("DNS", "dtf://lab/node/1"),)}):
        with pytest.raises(PeerRefusedError, match="names 0 URIs"):
            certified_name(nothing)
    for cluster, node in (
        ("", 1),
        ("a b", 1),
        ("x" * 64, 1),
        ("lab", 0),
        ("lab", 2**63),
    ):
        with pytest.raises(ValueError):
            NodeName(cluster, NodeId(node))
