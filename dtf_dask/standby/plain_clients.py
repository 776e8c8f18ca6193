"""What Dask's own clients say of tasks, as operations: they number nothing.

`Clients` has seen to it that each is who it says it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from dtf_dask.durable import operations
from dtf_dask.durable.operations import encode_asked
from dtf_dask.errors import ProtocolError, TaskRefusedError, UsageError
from dtf_dask.standby import raw_graphs
from dtf_dask.standby.client_lines import ClientLine, ToMake
from dtf_dask.standby.client_session import Session
from dtf_dask.standby.durability import Durability

logger = logging.getLogger(__name__)


class PlainClients:
    """What such clients say, all of them.

    Parameters
    ----------
    policy
        Whose graphs are opened: see `raw_graphs`.
    line
        The line of a client.

    Attributes
    ----------
    hears
        What is done with a message, by its ``op``.
    """

    def __init__(
        self,
        durability: Durability,
        policy: str,
        line: Callable[[str], ClientLine],
    ) -> None:
        self._durability = durability
        self._policy = policy
        self._line = line
        self.hears: dict[str, Callable[..., None]] = {
            "client-releases-keys": self._releases,
            "client-desires-keys": self._desires,
            "cancel-keys": self._cancels,
            "update-graph": self._graph,
        }

    async def retry(self, keys: Any, client: str | None = None) -> tuple[Any, ...]:
        """What is asked by rpc; clients of dtf ask by an operation.

        Raises
        ------
        TaskRefusedError
            The ledger is full.
        """
        if full := self._durability.room.none_to_keep():
            raise TaskRefusedError(full)
        for packed in encode_asked(operations.RETRY, client or "", tuple(keys)):
            self._durability.append(packed)
        await self._durability.settled()
        return tuple(keys)

    def _releases(self, session: Session, client: str, keys: Any) -> None:
        self._ask(session, operations.RELEASE, client, keys)

    def _desires(self, session: Session, client: str, keys: Any) -> None:
        self._ask(session, operations.DESIRE, client, keys)

    def _cancels(
        self,
        session: Session,
        client: str,
        keys: Any,
        force: bool,
        reason: str,
        msg: str,
    ) -> None:
        why = f"{reason}: {msg}" if msg else str(reason)
        self._ask(session, operations.CANCEL, client, keys, bool(force), why)

    def _graph(self, session: Session, client: str, keys: Any, **message: Any) -> None:
        def failed(error: BaseException) -> None:
            raw_graphs.tell_failed(session.say, keys, error)

        why = raw_graphs.refusal(self._policy, str(session.comm.peer_address))
        if why:
            failed(TaskRefusedError(why))
            return
        message["keys"] = keys
        self._line(client).make(
            ToMake(lambda: raw_graphs.operation_of_raw(client, message), failed)
        )

    def _ask(
        self, session: Session, kind: int, client: str, keys: Any, *more: Any
    ) -> None:
        line = self._line(session.client)
        try:
            for packed in encode_asked(kind, client, tuple(keys), *more):
                line.ask(packed)
        except (ProtocolError, UsageError) as error:
            logger.warning("what client %s said is passed over: %s", client, error)
