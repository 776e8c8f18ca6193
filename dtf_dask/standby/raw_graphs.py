"""Graphs of Dask's own clients, which a scheduler has to open: where that is allowed.

A client of dtf sends tables that nobody but workers open. One of Dask's own sends a
pickle, and whoever opens it runs what is in it: where the scheduler is not the user's,
that is not wanted. What is opened goes the way of all tables.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from distributed.comm.addressing import get_address_host
from distributed.protocol import deserialize, serialize
from distributed.protocol.serialize import Serialized

from dtf_dask.durable.client_graphs import Submission, operation_of
from dtf_dask.durable.operations import OPERATION_BYTES_MAX
from dtf_dask.submission.table import SEQ_MAX

ALWAYS, LOOPBACK, NEVER = "always", "loopback", "never"


def refusal(policy: str, peer: str) -> str:
    """Why graphs of a client at an address are not opened; empty if they are.

    Examples
    --------
    >>> refusal(LOOPBACK, "tcp://127.0.0.1:5")
    ''
    """
    if policy == ALWAYS:
        return ""
    if policy == LOOPBACK and _is_loopback(peer):
        return ""
    return (
        "this cluster does not open graphs of Dask's own client"
        f" (ha.raw-graphs: {policy}): use dtf_dask.Client, or have Dask's client load"
        " the preload dtf_dask.durable.client_preload"
    )


def operation_of_raw(client: str, message: Mapping[str, Any]) -> bytes:
    """The operation of a graph as Dask's client sends it. It runs what is in there.

    Raises
    ------
    Exception
        Whatever comes of opening what somebody pickled.
    """
    packed = message["expr_ser"]
    expr = deserialize(packed.header, packed.frames)  # type: ignore[no-untyped-call]
    submission = Submission(
        message["keys"],
        message.get("annotations") or {},
        message.get("internal_priority"),
        message.get("submitting_task"),
        message.get("fifo_timeout", 0),
        message.get("actors"),
        message.get("code") or (),
        message.get("span_metadata") or {},
    )
    # Such a client counts nothing, and no two of its submissions may be taken for one.
    number = secrets.randbelow(SEQ_MAX) + 1
    return operation_of(expr, submission, client, number, OPERATION_BYTES_MAX)


def tell_failed(
    say: Callable[[Mapping[str, Any]], None], keys: Any, error: BaseException
) -> None:
    """Let the futures of keys fail, as Dask's client understands it."""
    packed = Serialized(*serialize(error))  # type: ignore[no-untyped-call]
    for key in keys:
        say({"op": "task-erred", "key": key, "exception": packed, "traceback": None})


def _is_loopback(peer: str) -> bool:
    if peer.startswith("inproc://"):
        return True
    try:
        host = get_address_host(peer)
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
