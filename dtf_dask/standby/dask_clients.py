"""What is leaned on in Dask's scheduler to let clients in, and out, otherwise.

`Scheduler.add_client` forgets the wishes of a client that comes back, and takes them
away when its old stream ends; `dtf_dask.standby.clients` does its work in its place.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable
from time import time
from typing import Any

from distributed import Scheduler
from distributed.batched import BatchedSend
from distributed.comm.core import CommClosedError
from distributed.scheduler import ClientState
from distributed.versions import error_message, get_versions

from dtf_dask.durable import dask_streams

logger = logging.getLogger("distributed.scheduler")

_SAYS = (
    *("self.clients[client] = ClientState(client, versions=versions)",),
    *("plugin.add_client(scheduler=self, client=client)",),
    *('BatchedSend(interval="2ms", loop=self.loop)', "self.client_comms[client]"),
    *('"op": "stream-start"', "self._client_connections_added_total += 1"),
    *("self.handle_stream(", "self.remove_client(client=client"),
)


OF_WORKERS = frozenset(
    (
        *("task-finished", "task-erred", "release-worker-data", "add-keys"),
        *("long-running", "reschedule", "keep-alive", "log-event"),
        *("worker-status-change", "request-refresh-who-has", "steal-response"),
    )
)
"""What only workers say; Dask has one table of handlers for them and for clients."""
_OF_CLIENTS = frozenset(
    (
        *("update-graph", "client-desires-keys", "update-data", "report-key"),
        *("client-releases-keys", "heartbeat-client", "close-client", "cancel-keys"),
        *("subscribe-topic", "unsubscribe-topic"),
    )
)


def broken() -> tuple[str, ...]:
    """Say what `Scheduler.add_client` does otherwise than it was known to do."""
    source = inspect.getsource(Scheduler.add_client)
    missing = [
        f"{text} in Scheduler.add_client" for text in _SAYS if text not in source
    ]
    missing += dask_streams.broken()
    made = inspect.getsource(Scheduler.__init__)
    of_workers, _, of_clients = made.partition("client_handlers = {")
    _, _, of_workers = of_workers.partition("worker_handlers = {")
    said = set(re.findall(r'"([\w-]+)":', of_workers.partition("}")[0]))
    if said | {"steal-response"} != OF_WORKERS:
        missing.append(f"just these messages of workers: {sorted(OF_WORKERS)}")
    if set(re.findall(r'"([\w-]+)":', of_clients.partition("}")[0])) != _OF_CLIENTS:
        missing.append(f"just these messages of clients: {sorted(_OF_CLIENTS)}")
    if "plugin.remove_client" not in inspect.getsource(Scheduler.remove_client):
        missing.append("plugin.remove_client in Scheduler.remove_client")
    return tuple(missing)


def stream_start(scheduler: Any, versions: Any) -> dict[str, Any]:
    """The first message to a client; it must travel alone."""
    known = {address: ws.versions for address, ws in scheduler.workers.items()}
    return {"op": "stream-start", **error_message(get_versions(), known, versions)}


def enter_client(
    scheduler: Any, client: str, stream: BatchedSend, versions: Any
) -> None:
    """A client is there, with the wishes that it has."""
    known = scheduler.clients.get(client)
    if known is None:
        scheduler.clients[client] = ClientState(client, versions=versions)
    else:
        known.last_seen = time()
    scheduler.client_comms[client] = stream
    scheduler._client_connections_added_total += 1
    scheduler.log_event(["all", client], {"action": "add-client", "client": client})
    logger.info("Receive client connection: %s", client)
    for plugin in list(scheduler.plugins.values()):
        try:
            plugin.add_client(scheduler=scheduler, client=client)
        except Exception:
            logger.exception("a plugin failed in add_client")


def leave_client(scheduler: Any, client: str, stream: BatchedSend) -> None:
    """A client's stream has ended; its wishes stay."""
    if scheduler.client_comms.get(client) is stream:
        del scheduler.client_comms[client]
    logger.info("Close client connection: %s", client)


def soon(scheduler: Any, function: Callable[..., Any], *arguments: Any) -> None:
    """Have something done that takes a while; the scheduler keeps it."""
    scheduler._ongoing_background_tasks.call_soon(function, *arguments)


async def end_stream(comm: Any, stream: BatchedSend) -> None:
    """Send what is left, and close."""
    try:
        if not comm.closed():
            stream.send({"op": "stream-closed"})
        await stream.close()
    except (CommClosedError, OSError):
        comm.abort()
