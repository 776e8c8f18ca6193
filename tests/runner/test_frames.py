"""Frames: what goes in comes out, and nothing else gets through."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtf_dask import frames
from dtf_dask.errors import ProtocolError
from dtf_dask.frames import FRAME_BYTES_MAX, FrameBuffer, decode, encode, pack

_text = st.text(st.characters(exclude_categories=()), max_size=20)  # surrogates too
_scalar = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | _text
    | st.binary(max_size=20)
)
_value = st.recursive(
    _scalar,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner),
    max_leaves=12,
)
_frame = st.dictionaries(_text, _value, max_size=4)


@settings(max_examples=50)
@given(st.lists(_frame, max_size=5), st.integers(1, 7))
def test_frames_survive_however_the_bytes_arrive(sent, size):
    """A stream cut anywhere gives the frames that went in, in their order."""
    stream = b"".join(pack(frame) for frame in sent)
    buffer, got = FrameBuffer(), []
    for start in range(0, len(stream), size):
        got += buffer.feed(stream[start : start + size])
    assert got == sent
    assert len(buffer) == 0


@settings(max_examples=50)
@given(_frame, st.data())
def test_a_torn_frame_is_never_given_out(sent, data):
    """Of a frame that lacks its end nothing comes, and it is known to be torn."""
    stream = pack(sent)
    cut = data.draw(st.integers(1, len(stream) - 1))
    buffer = FrameBuffer()
    assert list(buffer.feed(stream[:cut])) == []
    assert len(buffer) == cut


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_garbage_is_a_protocol_error_or_a_value(body):
    """Bytes from anywhere raise nothing but `ProtocolError`."""
    try:
        decode(body)
    except ProtocolError:
        pass


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_a_garbage_stream_gives_maps_or_a_protocol_error(body):
    """Whatever comes out of a buffer is a map."""
    try:
        assert all(isinstance(frame, dict) for frame in FrameBuffer().feed(body))
    except ProtocolError:
        pass


def test_a_length_over_the_limit_is_refused_at_once():
    """The length is judged before anything is kept for it."""
    head = struct.pack(">I", FRAME_BYTES_MAX + 1)
    with pytest.raises(ProtocolError, match="the limit is"):
        list(FrameBuffer().feed(head))


def test_a_frame_over_the_limit_is_not_sent(monkeypatch):
    """The sender hears of it, not the receiver."""
    monkeypatch.setattr(frames, "FRAME_BYTES_MAX", 1000)
    with pytest.raises(ProtocolError, match="over the limit of 1000"):
        pack({"text": "x" * 1001})


def test_frames_before_a_bad_one_are_kept():
    """A stream that goes wrong has been right until there."""
    got = []
    frames_of = FrameBuffer().feed(pack({"n": 1}) + b"\xff" * 20)
    with pytest.raises(ProtocolError):
        got.extend(frames_of)
    assert got == [{"n": 1}]


class _Unprintable:
    def __repr__(self):
        raise ZeroDivisionError


def _nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def _loop():
    value = []
    value += [value, value]
    return value


@pytest.mark.parametrize(
    "odd",
    [
        2**64,
        -(2**63) - 1,
        10**5000,
        _nested(5000),
        _loop(),
        {1, 2},
        object(),
        _Unprintable(),
        {(1, 2): 3},
        {(1, (2, 3)): {(4,): 10**40}},
        {10**40: 1},
        "\ud800",
        float("inf"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_value_travels_as_something_readable(odd):
    """A property of a test may be anything; it never breaks the stream."""
    [frame] = FrameBuffer().feed(pack({"op": "case", "odd": odd, "i": 3}))
    assert (frame["op"], frame["i"]) == ("case", 3)
    decode(encode(frame))


def test_what_msgpack_has_no_form_for_becomes_its_text():
    """Readable, and not too deep: the reader may be recursive."""
    assert decode(encode({"n": 2**64})) == {"n": str(2**64)}
    assert decode(encode({(1, 2): 3})) == {"[1, 2]": 3}
    assert decode(encode(_Unprintable())).endswith("its repr raised ZeroDivisionError>")
    assert repr(decode(encode(_nested(5000)))).count("[") == frames.DEPTH_MAX
