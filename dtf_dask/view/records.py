"""What is to be seen of a cluster, as records: keys, values, bounds, codec. Pure.

Who leads writes them to the ledger below `PREFIX`, so that every node has the same; any
scheduler tells them to who asks it. A value is a msgpack map. Versions
differ in a rolling upgrade: fields that are not known here are left out, and missing
ones have defaults.

==============  ====================================================================
key             what
==============  ====================================================================
cluster         the whole in some numbers, and when it was looked at
class/NAME      the tasks of a priority class
kind/DIGEST     tasks that wait and are alike, the most urgent kinds
worker/NAME     a worker: what it is
load/NAME       the same worker: how busy it is, and with what
run/ID          a run of tests
breaker/ID      a circuit breaker that is not closed
action/ID       what somebody asked for, and what became of it
coordinator/ID  where the web process of a coordinator serves
failover/TERM   how long nobody led
more            how many of each kind are beyond what is shown
==============  ====================================================================
"""

from __future__ import annotations

import re
from hashlib import blake2b
from types import MappingProxyType
from typing import Any

from dtf_dask.errors import ProtocolError
from dtf_dask.frames import decode, encode
from dtf_dask.view.fields import (
    Many,
    Maybe,
    Named,
    Number,
    Plain,
    Text,
    Value,
    Whole,
    shape,
)

PREFIX = "x/view/"
"""Of the keys, in the namespace of schedulers."""

VALUE_BYTES_MAX = 32 * 1024
NAME_CHARS_MAX = 200
"""Of what stands in a key; a longer name ends with its digest."""

Record = dict[str, Plain]

_LONG = Text(1_000)
_AT = Number(high=4e10)  # seconds since 1970
_CELSIUS = Number(-300, 10_000)
_LOAD = shape(
    at=_AT,
    cpu=Maybe(Number()),
    memory=Whole(),
    spilled=Whole(),
    disk_read_bps=Number(),
    disk_write_bps=Number(),
    net_in_bps=Number(),
    net_out_bps=Number(),
    temperature=Maybe(_CELSIUS),
    gpus=Many(
        shape(
            ("id", "name"),
            util=Maybe(Number()),
            memory=Maybe(Whole()),
            memory_total=Maybe(Whole()),
            temperature=Maybe(_CELSIUS),
        ),
        64,
    ),
    processing=Whole(),
    running=Many(shape(("key", "class"), since=Maybe(_AT)), 64),
)

SHAPES = MappingProxyType(
    {
        "cluster": shape(
            ("problem",),
            at=_AT,
            started_at=_AT,
            term=Whole(),
            address=Text(),
            dashboard=Text(),
            workers=Whole(),
            threads=Whole(),
            threads_used=Number(),
            memory=Whole(),
            memory_used=Whole(),
            waiting=Whole(),
            held=Whole(),
            running=Whole(),
            tasks=Named(Whole(), 20),
            ended=Whole(),
            failed=Whole(),
            deadlines_met=Whole(),
            deadlines_missed=Whole(),
            pressure=shape(
                ("state",),
                waiting=Whole(),
                bound=Whole(),
                pressed_at=Whole(),
                pressure=Number(),
                clear_s=Maybe(Number()),
            ),
            tokens=Named(shape(total=Number(), used=Number()), 100),
            policies_disabled=Named(_LONG, 50),
            coordinators=shape(
                voters=Many(Whole(), 100),
                active=Many(Whole(), 100),
                quorum_left=Maybe(Whole(-1)),
                lag=Named(Whole(), 100),
            ),
        ),
        "class": shape(
            ("name",),
            waiting=Whole(),
            held=Whole(),
            running=Whole(),
            since=Maybe(_AT),
            latest=Maybe(_AT),
            ended=Whole(),
            failed=Whole(),
            missed=Whole(),
        ),
        "kind": shape(
            ("class", "tenant", "waits_for"),
            needs=_LONG,
            waiting=Whole(),
            since=_AT,
            workers=Whole(),
            why=_LONG,
            help=_LONG,
            next=_LONG,
            due=_AT,
            eta=Maybe(_AT),
        ),
        "worker": shape(
            ("name", "host", "address", "kind", "breaker", "status", "kept_for"),
            shut=_LONG,
            threads=Whole(),
            memory=Whole(),
            gpus=Whole(),
            labels=Many(Text(100), 50),
            facts=Named(Value(), 60),
            problems=Many(Text(300), 20),
            since=_AT,
            left_at=Maybe(_AT),
        ),
        "load": _LOAD,
        "run": shape(
            ("run", "suite", "status", "tenant", "class"),
            started_at=_AT,
            finished_at=Maybe(_AT),
            at=_AT,
            planned=Whole(),
            counts=Named(Whole(), 20),
            flaky=Whole(),
            exit_code=Maybe(Whole(-(2**31), 2**31)),
        ),
        "breaker": shape(
            ("name", "state"),
            why=_LONG,
            since=_AT,
        ),
        "action": shape(
            ("id", "action", "by", "state", "asked"),
            subject=_LONG,
            result=_LONG,
            at=_AT,
            finished_at=Maybe(_AT),
        ),
        "coordinator": shape(("name", "web"), node=Whole()),
        "failover": shape(
            ("node",),
            at=_AT,
            term=Whole(),
            without_leader_s=Number(),
            leading_after_s=Number(),
            settled_after_s=Number(),
            tasks=Whole(),
            workers=Whole(),
            missing=Whole(),
        ),
        "more": shape(counts=Named(Whole(), 20)),
    }
)
"""What each kind of record holds.

Times are in seconds since 1970, by the clock of the scheduler that wrote it, as is
``cluster.at``: who wants to know how long something lasts subtracts from that.

``cluster.coordinators``
    How they stand, which only who leads knows: who is heard of, how many may yet fail,
    how many entries each is behind. Empty of a scheduler alone.
``class.held``
    Tasks that wait for others to end, or for the rest of their gang, and no worker.
``class.since``, ``class.latest``
    Since when the task waits that has waited longest, and until when the one must begin
    that has least time left for its deadline; of those that are next in their lines.
``kind.due``
    When the next of its tasks has waited out its class's patience, or must begin: the
    order of kinds.
``kind.eta``
    About when the next of its tasks begins, by what runs and waits now.
``worker.status``
    As Dask says it; "lost" or "left" for a while after it is gone.
``load.cpu``
    How many threads are busy by the worker's own count of CPU time.
``load.temperature``, ``load.gpus``
    Of the machine's processor, in °C; of each GPU that the worker may use how much of
    its time (0 to 1) and memory is taken, by whomever. None for what is not known.
``action.asked``
    A digest of what was asked for: two that have it asked for the same.
``run.counts``
    How many cases there are of each outcome.
"""

SINGLE = frozenset({"cluster", "more"})
"""Kinds of which there is one, so that their key is the kind."""

COUNT_MAX = MappingProxyType(
    {
        **dict.fromkeys(SINGLE, 1),
        "class": 100,
        "kind": 200,
        "worker": 5_000,
        "load": 5_000,
        "run": 500,
        "breaker": 500,
        "action": 500,
        "coordinator": 100,
        "failover": 100,
    }
)
"""How many there are of each kind; workers and kinds beyond are counted in "more"."""

_ODD = re.compile(rb"[^A-Za-z0-9._~-]")
_NAME = re.compile(r"[A-Za-z0-9._~%-]+")


def record_key(kind: str, name: object = "") -> str:
    """The key of a record, without `PREFIX`.

    Names that are long or odd are written in another way, each in its own.

    Examples
    --------
    >>> record_key("cluster"), record_key("worker", "tcp://[::1]:80")
    ('cluster', 'worker/tcp%3A%2F%2F%5B%3A%3A1%5D%3A80')
    """
    if kind in SINGLE:
        return kind
    raw = str(name).encode("utf-8", "surrogatepass")
    text = _ODD.sub(lambda odd: b"%%%02X" % odd.group()[0], raw).decode()
    if not text or len(text) > NAME_CHARS_MAX:
        digest = blake2b(raw, digest_size=10).hexdigest()
        text = f"{text[: NAME_CHARS_MAX - 21]}~{digest}"
    return f"{kind}/{text}"


def kind_of(key: str) -> str:
    """The kind of the record that has this key, without `PREFIX`.

    Raises
    ------
    ProtocolError
        If no record can have it.
    """
    kind, slash, name = key.partition("/")
    known = kind in SHAPES and (kind in SINGLE) == (not slash)
    if not known or (slash and not _NAME.fullmatch(name)):
        raise ProtocolError(f"no key of something to be seen: {key!r:.200}")
    if len(name) > NAME_CHARS_MAX:
        raise ProtocolError(f"a key of {len(key)} characters is too long")
    return kind


def formed(kind: str, fields: dict[str, Any]) -> Record:
    """A record of its fields, each within its bounds.

    Raises
    ------
    ProtocolError
        If one is of another kind: what workers say is to be looked at before.
    """
    try:
        return SHAPES[kind].read(fields)
    except ValueError as error:
        raise ProtocolError(f"no {kind} to be seen: {error}") from None


def encoded(record: Record) -> bytes:
    """A record as it is written; what makes it too long is left out of it."""
    value = encode(record)
    while len(value) > VALUE_BYTES_MAX:
        # Texts alone are never as long: it is a list, or names.
        many = {k: one for k, one in record.items() if isinstance(one, list | dict)}
        longest = max(many, key=lambda name: len(encode(many[name])))
        record = {**record, longest: type(many[longest])()}
        value = encode(record)
    return value


def decoded(kind: str, value: object) -> Record:
    """A record as it was written; by another version, or by nobody who knows.

    Raises
    ------
    ProtocolError
        If it is none, or too long.
    """
    if type(value) is not bytes or len(value) > VALUE_BYTES_MAX:
        raise ProtocolError(f"no {kind} to be seen, or too long")
    return formed(kind, decode(value))
