"""What a node and the web process beside it say to each other. Pure.

They share a stream socket; frames are those of `dtf_dask.frames`, each a map with an
``op``, which are those of a scheduler process. The node speaks first:

1. `hello`: what the process is to be, and where it is to listen; and a first `ping`.
2. `records`, the last with ``more`` false: what is to be seen, as of an entry of the
   ledger. It says `ready` when it serves that, or `trouble` and why it cannot. Then
   `changes`, those of one entry of the ledger at a time, by its term and
   index, which are the same on every node; or that up to an entry nothing changed. When
   it hears `records` again it has been too slow, and begins anew.
3. The process says `ask`, when somebody asks for an action, and is told `answered`: by
   whoever leads, or that nobody could say it.
4. `ping` all the time, with how the node stands; who does not answer is ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

VERSION = 1

HELLO, RECORDS, CHANGES, PING, ANSWERED = (
    *("hello", "records", "changes", "ping", "answered"),
)
"""Ops of the node."""
READY, PONG, TROUBLE, ASK = "ready", "pong", "trouble", "ask"
"""Ops of the process."""

WORD_BYTES_MAX = 2**20
"""Of what the process says."""

ASKED_MAX = 64
"""Actions that wait for an answer at a time."""


def hello(
    cluster: str, node: int, names: Mapping[str, str], listens_at: str, **more: str
) -> dict[str, Any]:
    """What the process is to be.

    Parameters
    ----------
    node
        Its number; 0 for a process that shows a scheduler without coordinators.
    names
        What coordinators are called, by their number in text.
    listens_at
        Where it serves, ``host:port``.
    more
        ``tag``: what tells the cluster from others of its name. ``contact``: where
        workers and clients find who leads. ``results``: the folder of the node's
        results store; ``store``: the store itself, if it is not a node's.
    """
    return {
        "op": HELLO,
        "version": VERSION,
        "cluster": cluster,
        "node": node,
        "names": dict(names),
        "listens_at": listens_at,
        **more,
    }


def records(
    term: int, index: int, found: Sequence[tuple[str, bytes]], *, more: bool
) -> dict[str, Any]:
    """Some of all records, as of an entry."""
    return {
        "op": RECORDS,
        "term": term,
        "index": index,
        "records": found,
        "more": more,
    }


def changes(
    term: int, index: int, found: Sequence[tuple[str, bytes | None]]
) -> dict[str, Any]:
    """What one entry changed: values, None for what is deleted."""
    return {"op": CHANGES, "term": term, "index": index, "changes": found}


def ping(number: int, standing: Mapping[str, Any]) -> dict[str, Any]:
    """Are you there? With a `NodeStatus`."""
    return {"op": PING, "number": number, "standing": standing}


def ready(pid: int) -> dict[str, Any]:
    """It serves."""
    return {"op": READY, "version": VERSION, "pid": pid}


def pong(number: int) -> dict[str, Any]:
    """Yes."""
    return {"op": PONG, "number": number}


def ask(number: int, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Have whoever leads do something: see `dtf_dask.view.actions`."""
    return {"op": ASK, "number": number, "asked": dict(asked)}


def answered(number: int, answer: Mapping[str, Any] | None) -> dict[str, Any]:
    """What came of it; None if nobody is there who could say it."""
    return {"op": ANSWERED, "number": number, "answer": answer}


def trouble(why: str) -> dict[str, Any]:
    """It cannot serve, and ends."""
    return {"op": TROUBLE, "why": why}
