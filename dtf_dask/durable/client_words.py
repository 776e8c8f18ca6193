"""What a client and the scheduler of a coordinator say to each other. Pure.

All of it travels in Dask's own streams between the two, beside Dask's own messages.

1. The client registers as with any scheduler, and hears ``stream-start``. To one that
   greeted as a coordinator's it says `hello`: its token, a random text of its own, by
   which a scheduler tells a client that came back from another one that uses the same
   id. Clients that do not are Dask's own, and are told none of these words.
2. It hears `welcome`: which scheduler this is, and up to which number the client's
   operations are in the ledger.
3. It says again, in order, all that it holds above ``seen``; from then on each
   operation as `durable`, numbered from 1 without a gap. It holds each until `ack`.
4. It asks `states` of the keys that it holds unfinished futures of, and is told, in
   Dask's own words (``key-in-memory``, ``task-erred``, ``cancelled-keys``), all that is
   known; of what is known later it is told anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

VERSION = 1

WELCOME, ACK, REFUSED, WAITING = "dtf-welcome", "dtf-ack", "dtf-refused", "dtf-waiting"
"""Ops to clients."""
HELLO, DURABLE, STATES = "dtf-hello", "dtf-durable", "dtf-states"
"""Ops to schedulers, which add ``client`` to each as they do to all."""
OPS = frozenset({HELLO, DURABLE, STATES})

TOKEN_CHARS_MAX = 64
LOST = "dtf-lost"
"""The reason in ``cancelled-keys`` of what can be neither found nor made again; its
``msg`` says why, and clients raise `TaskLostError` with it."""


def welcome(
    term: int, seen: int, cluster: str, operation_bytes_max: int
) -> dict[str, Any]:
    """A scheduler says who it is, and what it has of this client."""
    return {
        "op": WELCOME,
        "version": VERSION,
        "term": term,
        "seen": seen,
        "cluster": cluster,
        "operation_bytes_max": operation_bytes_max,
    }


def hello(token: str) -> dict[str, Any]:
    """A client says which of those with its id it is."""
    return {"op": HELLO, "version": VERSION, "token": token}


def durable(seq: int, operation: bytes) -> dict[str, Any]:
    """One operation, as `dtf_dask.durable.operations` packs it."""
    return {"op": DURABLE, "seq": seq, "operation": operation}


def ack(upto: int) -> dict[str, Any]:
    """All operations up to this number are in the ledger, and were acted on."""
    return {"op": ACK, "upto": upto}


def refused(seq: int, why: str, keys: Sequence[Any]) -> dict[str, Any]:
    """An operation was not taken, and its number is passed over: an answer for good.

    ``keys`` are those whose futures fail with ``why``; seq 0 is of no operation, but
    of the client itself, which had better not come back.
    """
    return {"op": REFUSED, "seq": seq, "why": why, "keys": list(keys)}


def waiting(why: str) -> dict[str, Any]:
    """Operations are kept waiting, or no longer, if ``why`` is empty."""
    return {"op": WAITING, "why": why}


def states(keys: Sequence[Any]) -> dict[str, Any]:
    """Ask what is known of these keys."""
    return {"op": STATES, "keys": list(keys)}


def lost(keys: Sequence[Any]) -> dict[str, Any]:
    """What is known of these keys, in Dask's own words: nothing any more."""
    return {
        "op": "cancelled-keys",
        "keys": list(keys),
        "reason": LOST,
        "msg": "the cluster does not know it any more",
    }
