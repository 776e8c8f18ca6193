"""What a node and the scheduler process beside it say to each other. Pure.

They share a stream socket, which the process inherits; frames are those of
`dtf_dask.frames`, each a map with an ``op``. The node speaks first:

1. `hello`: what the process is to be. It imports, makes its scheduler without letting
   anybody in, and says `ready`.
2. `records`, as often as needed, the last with ``more`` false: all records of
   `NAMESPACE` as of ``index``. Then `changes`, as they are applied. When it hears
   `records` again it has been too slow: it ends with the code `ANEW`, and another
   process begins with them.
3. `lead`, once: the node leads this term, and all that was committed before it has
   been sent. The process takes over, and says `leading` when it lets others in, and
   `settled` when it knows again what all workers have.
   From then on no `changes` come: all there are to its records are its own.
4. From then on it says `propose`: commands of the ledger, which the node proposes only
   while it leads that same term; `outcome` answers each, in order.
5. The node says `ping` all the time; who does not answer in time is ended (SIGKILL), as
   is one whose node leads no more: a scheduler that has led never becomes a shadow.
   One that leads and hears no `ping` for seconds ends itself, with the code `FENCED`.
   It says `trouble` when it cannot go on, and why; the node then has another lead.
   Before it works for seconds without a look at its socket it says `busy`.
6. The node says `ask` when somebody asks for an action; the process, which asks whoever
   leads if that is another, says `answered`. One that leads says `hand_over` when
   another is to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

VERSION = 1

NAMESPACE = "dask"
"""Of the ledger: all that a scheduler needs to take over.

``j/`` and 20 digits
    The journal: operations (`dtf_dask.durable.operations`), in the order of keys.
``s/`` and a client's id
    What is known of a client: its token, and up to which number it was heard.
``x/`` and more
    Primitives of coordination, plugins, metadata and the like, each a record.
``w/`` and a worker's address
    Who was there, so that a new leader can call them. Written lazily.
"""

HELLO, RECORDS, CHANGES, LEAD, OUTCOME, PING, ASK = (
    *("hello", "records", "changes"),
    *("lead", "outcome", "ping", "ask"),
)
"""Ops of the node."""
READY, LEADING, SETTLED, PROPOSE, PONG, BUSY, TROUBLE, ANSWERED, HAND_OVER = (
    *("ready", "leading", "settled", "propose"),
    *("pong", "busy", "trouble", "answered", "hand_over"),
)
"""Ops of the process."""

RECORDS_AT_ONCE = 1_000
BYTES_AT_ONCE = 4 * 2**20
"""Of `records`. `changes` hold whole entries of the log: up to twice as much."""

PROPOSAL_BYTES_MAX = 2 * 2**20
"""Of the commands of one `propose`; more are refused."""

FENCED, ANEW = 14, 15
"""Exit codes of a process that ended since somebody else may lead by now, or since it
was too slow to be told of changes. Neither is a crash."""

BUSY_S_MAX = 120.0
"""Longer no process may ask not to be asked whether it hangs."""


def hello(
    cluster: str,
    node: int,
    listens_at: str,
    contact: str,
    tls: dict[str, str] | None,
    options: dict[str, Any],
) -> dict[str, Any]:
    """What the process is to be.

    Parameters
    ----------
    listens_at
        Host and port at which its scheduler lets others in when it leads.
    contact
        All coordinators' such addresses, ``dtf://h1:p1,...``.
    tls
        Files of ``authority``, ``certificate`` and ``key``; None for none.
    options
        Plain words for the scheduler: dashboard address, preloads.
    """
    return {
        "op": HELLO,
        "version": VERSION,
        "cluster": cluster,
        "node": node,
        "listens_at": listens_at,
        "contact": contact,
        "tls": tls,
        "options": options,
    }


def ready(pid: int) -> dict[str, Any]:
    """The process is there."""
    return {"op": READY, "version": VERSION, "pid": pid}


def records(
    index: int, found: Sequence[tuple[str, bytes]], *, more: bool
) -> dict[str, Any]:
    """Some of all records as of an index."""
    return {"op": RECORDS, "index": index, "records": found, "more": more}


def changes(upto: int, found: Sequence[tuple[str, bytes | None]]) -> dict[str, Any]:
    """Records as they came, None for one that was deleted, up to an index."""
    return {"op": CHANGES, "upto": upto, "changes": found}


def lead(term: int) -> dict[str, Any]:
    """The node leads."""
    return {"op": LEAD, "term": term}


def propose(ticket: int, commands: Sequence[bytes]) -> dict[str, Any]:
    """Commands as `dtf_dask.ha.ledger.entries.encode_command` makes them.

    Of records of `NAMESPACE`: PUT and DELETE, without a session. All of one call are in
    one entry of the log: a takeover sees all or none.
    """
    return {"op": PROPOSE, "ticket": ticket, "commands": list(commands)}


def outcome(ticket: int, why: str) -> dict[str, Any]:
    """They are committed, or, if ``why`` is not empty, were not, for that reason.

    A node that cannot say which ends the process rather than answer.
    """
    return {"op": OUTCOME, "ticket": ticket, "why": why}


def leading(after_s: float, tasks: int) -> dict[str, Any]:
    """Others are let in: so long after `lead`, with so many known tasks."""
    return {"op": LEADING, "after_s": after_s, "tasks": tasks}


def settled(
    after_s: float, workers: int, missing: int, recovered: dict[str, int]
) -> dict[str, Any]:
    """It is known what workers have; ``recovered`` counts tasks by state."""
    return {
        "op": SETTLED,
        "after_s": after_s,
        "workers": workers,
        "missing": missing,
        "recovered": recovered,
    }


def ping(number: int, standing: dict[str, Any] | None = None) -> dict[str, Any]:
    """Are you there? Now and then with how the node stands, for who asks a leader."""
    frame: dict[str, Any] = {"op": PING, "number": number}
    if standing is not None:
        frame["standing"] = standing
    return frame


def pong(number: int) -> dict[str, Any]:
    """Yes: answered by the loop that schedules, so that one which hangs is seen."""
    return {"op": PONG, "number": number}


def busy(limit_s: float) -> dict[str, Any]:
    """It will not answer for up to so long, and does not hang."""
    return {"op": BUSY, "limit_s": limit_s}


def ask(number: int, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Have whoever leads do something: see `dtf_dask.view.actions`."""
    return {"op": ASK, "number": number, "asked": dict(asked)}


def answered(number: int, answer: Mapping[str, Any] | None) -> dict[str, Any]:
    """What came of it; None if nobody leads who could say it."""
    return {"op": ANSWERED, "number": number, "answer": answer}


def hand_over(to: int) -> dict[str, Any]:
    """Another node is to lead."""
    return {"op": HAND_OVER, "to": to}


def trouble(why: str) -> dict[str, Any]:
    """The scheduler cannot go on, and the process ends."""
    return {"op": TROUBLE, "why": why}
