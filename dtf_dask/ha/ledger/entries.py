"""Commands and entries as bytes: what clients send, and what the log holds. Pure.

A command is the msgpack array ``[kind, session, number, done_below, *arguments]``. An
entry is a byte, the version of the set of commands, and the msgpack array ``[time_ms,
[command, ...]]``; it is made of commands as they came, so that a leader never packs one
again. An empty entry holds nothing at all: leaders begin their term with one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgpack

from dtf_dask.errors import UsageError
from dtf_dask.ha.ledger.kinds import (
    KINDS,
    NUMBER_MAX,
    OF_RECORDS,
    REFERRING,
    SESSION_ID_CHARS_MAX,
    VERSION,
    Kind,
)
from dtf_dask.ha.ledger.outcomes import Unreadable
from dtf_dask.ha.ledger.references import Reference

ENTRY_BYTES_MAX = 4 * 2**20
ENTRY_COMMANDS_MAX = 10_000
COMMAND_BYTES_MAX = ENTRY_BYTES_MAX // 2

Command = tuple[Any, ...]
_HEAD_FIELDS = 4
_KIND_AT = 1  # msgpack packs the head of a short array, and small numbers, in a byte


class EntryContents(NamedTuple):
    """What an entry asks for: the leader's time, and commands in their order."""

    time_ms: int
    commands: tuple[Command, ...]


_SINCE = {bytes((number,)): kind.since for number, kind in KINDS.items()}
_OLDEST = min(_SINCE.values())
_NOTHING = EntryContents(0, ())


def encode_command(
    kind: int,
    *arguments: Any,
    session: str = "",
    number: int = 0,
    done_below: int = 0,
) -> bytes:
    """A command as clients send it; `UsageError` if it is none.

    Parameters
    ----------
    kind : int
        A number of `KINDS`; ``arguments`` are what it takes.
    session, number : str, int
        Whose it is, counted from 1, so that it is done once. Without them it is done as
        often as it arrives.
    done_below : int
        The client has the outcomes of all its commands with lower numbers.

    Examples
    --------
    >>> from dtf_dask.ha.ledger.kinds import PUT
    >>> command = encode_command(PUT, "runs", "r1", b"queued", session="c", number=1)
    >>> command_wrong(command) is None
    True
    """
    command = (kind, session, number, done_below, *arguments)
    wrong = _wrong(command, KINDS)
    if wrong is not None:
        raise UsageError(wrong)
    try:
        packed: bytes = msgpack.packb(command)
    except UnicodeEncodeError as error:
        raise UsageError(f"text that is no UTF-8: {error}") from error
    return packed


def command_wrong(
    packed: bytes,
    kinds: Mapping[int, Kind] = KINDS,
    namespace_wrong: Callable[[str], str | None] | None = None,
) -> str | None:
    """What is wrong with a command from outside; None if a leader may propose it.

    ``namespace_wrong`` says what speaks against a change of records of a namespace.
    """
    if len(packed) > COMMAND_BYTES_MAX:
        return f"a command has at most {COMMAND_BYTES_MAX} bytes"
    try:
        command = msgpack.unpackb(packed, use_list=False)
    except (ValueError, msgpack.UnpackException) as error:
        return f"no msgpack: {error}"
    wrong = _wrong(command, kinds)
    if wrong is None and packed[_KIND_AT] != command[0]:
        return "a command that is packed in an uncommon way"
    if wrong is None and namespace_wrong is not None and command[0] in OF_RECORDS:
        return namespace_wrong(command[_HEAD_FIELDS])
    return wrong


def references_in(commands: Iterable[bytes]) -> list[Reference]:
    """The contents that commands name, if `command_wrong` found nothing wrong."""
    return [
        Reference(*msgpack.unpackb(packed, use_list=False)[-2:])
        for packed in commands
        if packed[_KIND_AT] in REFERRING
    ]


def references_of(entry: EntryContents) -> list[Reference]:
    """The contents that an entry names."""
    return [Reference(*one[-2:]) for one in entry.commands if one[0] in REFERRING]


def encode_entry(time_ms: int, commands: Sequence[bytes]) -> bytes:
    """An entry of commands that `command_wrong` found nothing wrong with.

    Its version is the oldest that knows them: who leads may be newer than others.
    """
    known = [_SINCE.get(one[_KIND_AT : _KIND_AT + 1], VERSION) for one in commands]
    version = max(known, default=_OLDEST)
    packer = msgpack.Packer()
    head = packer.pack_array_header(2) + packer.pack(time_ms)
    count = packer.pack_array_header(len(commands))
    return b"".join((bytes((version,)), head, count, *commands))


def fill_entry(waiting: Iterable[bytes], bytes_max: int = ENTRY_BYTES_MAX) -> int:
    """How many of those that wait, from the first on, go into one entry."""
    room = min(bytes_max, ENTRY_BYTES_MAX) - 32  # what goes around them
    count = 0
    for packed in waiting:
        room -= len(packed)
        if count == ENTRY_COMMANDS_MAX or (room < 0 and count):
            break
        count += 1
    return count


def decode_entry(
    payload: bytes, kinds: Mapping[int, Kind] = KINDS, version: int = VERSION
) -> EntryContents | Unreadable:
    """What an entry of the log asks for, all of it known and in bounds."""
    if not payload:
        return _NOTHING
    if not 1 <= payload[0] <= version:
        return Unreadable(
            f"an entry of version {payload[0]} of the commands; this node knows"
            f" versions up to {version}"
        )
    if len(payload) > ENTRY_BYTES_MAX:
        return Unreadable(f"an entry of more than {ENTRY_BYTES_MAX} bytes")
    try:
        contents = msgpack.unpackb(memoryview(payload)[1:], use_list=False)
    except (ValueError, msgpack.UnpackException) as error:
        return Unreadable(f"an entry that is no msgpack: {error}")
    if type(contents) is not tuple or len(contents) != 2:
        return Unreadable("an entry that is no pair of time and commands")
    time_ms, commands = contents
    if type(time_ms) is not int or not 0 <= time_ms <= NUMBER_MAX:
        return Unreadable("an entry whose time is no number")
    if type(commands) is not tuple or len(commands) > ENTRY_COMMANDS_MAX:
        return Unreadable(f"an entry of more than {ENTRY_COMMANDS_MAX} commands")
    for command in commands:
        wrong = _wrong(command, kinds)
        if wrong is not None:
            return Unreadable(wrong)
    return EntryContents(time_ms, commands)


def _wrong(command: object, kinds: Mapping[int, Kind]) -> str | None:
    if type(command) is not tuple or len(command) < _HEAD_FIELDS:
        return "a command that is no array of kind, session, number and done_below"
    number_of_kind, session, number, done_below = command[:_HEAD_FIELDS]
    kind = kinds.get(number_of_kind) if type(number_of_kind) is int else None
    if kind is None:
        return f"a command of a kind that this node does not know: {number_of_kind!r}"
    if type(session) is not str or len(session) > SESSION_ID_CHARS_MAX:
        return f"a session's id has up to {SESSION_ID_CHARS_MAX} characters"
    if type(number) is not int or not 0 <= number <= NUMBER_MAX:
        return "the number of a command is no number from 0 on"
    if type(done_below) is not int or not 0 <= done_below <= number:
        return "done_below is no number from 0 to that of the command"
    if kind.numbered:
        if bool(session) != bool(number):
            return f"{kind.name}: a session and a number go together"
    elif number or not session:
        return f"{kind.name} takes a session and no number"
    wrong = kind.arguments(command[_HEAD_FIELDS:])
    return None if wrong is None else f"{kind.name}: {wrong}"
