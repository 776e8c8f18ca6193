"""What becomes of clients that are not closed when their interpreter ends.

Dask closes the default client then, and no other. What is not in the ledger by that
time is lost with the process, and somebody may rely on it: so it is waited for, in
bounded time, and what is lost is said.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import time
from typing import Any
from weakref import WeakSet

logger = logging.getLogger(__name__)

ALL_S = 10.0
"""For all clients; one gives up by itself after half of it."""

_clients: WeakSet[Any] = WeakSet()


def remember(client: Any) -> None:
    """See to a client that is there as the interpreter ends."""
    _clients.add(client)


def _farewell() -> None:
    """As the interpreter ends: before Dask closes the default client."""
    ends = time.monotonic() + ALL_S
    for client in list(_clients):
        half = client._durable
        if client.status not in ("running", "connecting") or not half.durable:
            continue
        if client.asynchronous or client.loop is None:
            if half.sending.owes:  # its loop is over
                logger.warning("A client was not closed: %s. %s", half.standing(), LOST)
            continue
        with contextlib.suppress(TimeoutError, RuntimeError):
            left_s = max(ends - time.monotonic(), 0.1)
            client.sync(half.before_close, callback_timeout=left_s)


LOST = "It is lost with this client."
atexit.register(_farewell)
