"""What nodes say on the connection for contents, and for questions. Pure.

Whoever wants a content asks for it, a chunk at a time; each comes with its own SHA-256.
Whoever has one may offer it: the answer comes when the other has it on its disk. What a
node whose scheduler process is not there is asked, it asks of another node's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgpack

from dtf_dask.errors import ProtocolError
from dtf_dask.ha.raft.messages import NUMBER_MAX

CHUNK_BYTES_MAX = 4 * 2**20
DIGEST_BYTES = 32
_REASON_CHARS_MAX = 1_000

_GET, _OFFER, _CHUNK, _KEPT, _REFUSED, _ASK, _TOLD = range(1, 8)


class Get(NamedTuple):
    """Send me these bytes of a content."""

    number: int
    digest: bytes
    offset: int
    length: int


class Offer(NamedTuple):
    """I have a content: fetch it, and say when you have it."""

    number: int
    digest: bytes
    size: int


class Ask(NamedTuple):
    """Have your scheduler process answer this."""

    number: int
    asked: Mapping[str, Any]


class Told(NamedTuple):
    """What it answered; None if it could not."""

    number: int
    answer: dict[str, Any] | None


class Chunk(NamedTuple):
    """The bytes that were asked for."""

    number: int
    content: bytes


class Kept(NamedTuple):
    """What was offered is on my disk."""

    number: int


class Refused(NamedTuple):
    """It cannot be done."""

    number: int
    reason: str


Request = Get | Offer | Ask
Answer = Chunk | Kept | Refused | Told


def encode_request(request: Request) -> bytes:
    """A request as the body of a frame."""
    row: tuple[object, ...] = (_GET if isinstance(request, Get) else _OFFER, *request)
    if isinstance(request, Ask):
        row = (_ASK, request.number, msgpack.packb(request.asked))
    packed: bytes = msgpack.packb(row)
    return packed


def encode_answer(answer: Answer) -> bytes:
    """An answer as the body of a frame. Hashes a chunk: not for the loop."""
    if isinstance(answer, Chunk):
        checked = hashlib.sha256(answer.content).digest()
        row: tuple[object, ...] = (_CHUNK, answer.number, answer.content, checked)
    elif isinstance(answer, Kept):
        row = (_KEPT, answer.number)
    elif isinstance(answer, Told):
        row = (_TOLD, answer.number, msgpack.packb(answer.answer))
    else:
        row = (_REFUSED, answer.number, answer.reason[:_REASON_CHARS_MAX])
    packed: bytes = msgpack.packb(row)
    return packed


def decode_request(body: bytes) -> Request:
    """What a peer asks for; `ProtocolError` for anything else."""
    row = _row(body)
    match row:
        case (1, int(), bytes(digest), int(offset), int(length)):
            _check_numbers(row[1], offset)
            _check_digest(digest)
            if not 0 < length <= CHUNK_BYTES_MAX:
                raise ProtocolError(f"a chunk of {length} bytes is asked for")
            return Get(row[1], digest, offset, length)
        case (2, int(), bytes(digest), int(size)):
            _check_numbers(row[1], size)
            _check_digest(digest)
            return Offer(row[1], digest, size)
        case (6, int(number), bytes(asked)):
            _check_numbers(number)
            plain = _plain(asked)
            if plain is not None:
                return Ask(number, plain)
    raise ProtocolError("a request for content that makes no sense")


def answered_number(body: bytes) -> int:
    """Which request an answer is for, without reading the rest."""
    unpacker = msgpack.Unpacker(max_buffer_size=0)
    try:
        unpacker.feed(body[:32])
        if not 2 <= unpacker.read_array_header() <= 4:
            raise ValueError("of another length")
        unpacker.skip()
        number = unpacker.unpack()
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise ProtocolError(f"an answer that makes no sense: {error}") from error
    if type(number) is not int:
        raise ProtocolError("an answer without a number")
    return number


def decode_answer(body: bytes) -> Answer:
    """What a peer answers; `ProtocolError` for anything else.

    The digest of a chunk is checked: not for the loop, where chunks are large.
    """
    row = _row(body)
    match row:
        case (3, int(number), bytes(content), bytes(checked)):
            if hashlib.sha256(content).digest() != checked:
                raise ProtocolError("a chunk came damaged")
            return Chunk(number, content)
        case (4, int(number)):
            return Kept(number)
        case (5, int(number), str(reason)):
            return Refused(number, reason[:_REASON_CHARS_MAX])
        case (7, int(number), bytes(answer)):
            return Told(number, _plain(answer))
    raise ProtocolError("an answer about content that makes no sense")


def _row(body: bytes) -> Any:
    try:
        return msgpack.unpackb(
            body, use_list=False, max_map_len=0, max_ext_len=0, max_array_len=8
        )
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolError(f"words about content cannot be read: {error}") from error


def _plain(packed: bytes) -> dict[str, Any] | None:
    try:
        plain = msgpack.unpackb(packed, max_ext_len=0)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolError(f"a question cannot be read: {error}") from error
    if plain is not None and not isinstance(plain, dict):
        raise ProtocolError("a question, or an answer, that is no map")
    return plain


def _check_numbers(*numbers: int) -> None:
    if any(type(n) is not int or not 0 <= n <= NUMBER_MAX for n in numbers):
        raise ProtocolError("a request for content with a number over the limit")


def _check_digest(digest: bytes) -> None:
    if len(digest) != DIGEST_BYTES:
        raise ProtocolError("a digest of the wrong length")
