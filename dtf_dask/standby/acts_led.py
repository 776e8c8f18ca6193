"""What a coordinator's scheduler does actions with: all of it is in the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from dtf_dask.durable import operations
from dtf_dask.durable.operations import encode_operation
from dtf_dask.ha import scheduler_words as words
from dtf_dask.standby.actions import UNKNOWN, ActRefusedError
from dtf_dask.standby.durability import Durability
from dtf_dask.standby.link import NodeLink
from dtf_dask.standby.standing import Standing
from dtf_dask.view.actions import Asked

_HAND_OVER_S = 6.0


class Led:
    """Hands of `Acts`.

    Parameters
    ----------
    standing
        What its node said last.
    """

    def __init__(
        self, durability: Durability, standing: Standing, link: NodeLink
    ) -> None:
        self._durability, self._standing, self._link = durability, standing, link

    async def keep(self, records: Mapping[str, bytes | None]) -> None:
        """See `Ledger`."""
        await self._durability.keep(records)

    def records(self, prefix: str) -> list[tuple[str, bytes]]:
        """See `Ledger`."""
        return self._durability.records(prefix)

    async def cancel(self, keys: Sequence[Any], reason: str) -> None:
        """See `Hands`."""
        await self._do(operations.CANCEL, tuple(keys), True, reason)

    async def retry(self, keys: Sequence[Any]) -> None:
        """See `Hands`."""
        await self._do(operations.RETRY, tuple(keys))

    async def _do(self, kind: int, *body: Any) -> None:
        self._durability.append(encode_operation(kind, "", *body))
        await self._durability.settled()

    async def transfer(self, asked: Asked) -> str:
        """It ends this process, if it comes about: the next one writes that it has."""
        node, own = self._standing.number(asked.fields["node"]), self._standing.own
        told = self._standing.node
        if node is None or node not in told.get("voters", ()):
            raise ActRefusedError(
                f"no coordinator that votes is {asked.fields['node']:.100}", UNKNOWN
            )
        if node == own:
            return "it leads already"
        if node not in told.get("active", ()):
            raise ActRefusedError("it was not heard of lately")
        self._link.say(words.hand_over(node))
        await asyncio.sleep(_HAND_OVER_S)
        raise ActRefusedError("it did not take over: is its scheduler ready?")
