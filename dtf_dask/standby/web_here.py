"""Where this node's web process serves: told to who leads, for all to find it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from dtf_dask.errors import ProtocolError
from dtf_dask.scheduler_plugins.adapter.observing import Observer
from dtf_dask.standby.leader_line import LeaderLine
from dtf_dask.view.records import PREFIX, encoded, formed, record_key

logger = logging.getLogger(__name__)

OP = "dtf_coordinator"
LOOK_S = 2.0
_ANSWER_S = 10.0


class WebHere:
    """Of a node.

    Parameters
    ----------
    hello
        What the node said first; its ``options`` have its names and ``web``.
    records
        What the ledger has, while this scheduler follows.
    """

    def __init__(
        self,
        hello: Mapping[str, Any],
        line: LeaderLine,
        records: Callable[[], Mapping[str, bytes]],
    ) -> None:
        node, options = hello["node"], hello["options"]
        name = options.get("names", {}).get(str(node), str(node))
        self._own = {"node": node, "name": name, "web": options.get("web", "")}
        self._line, self._records = line, records
        self._leads = False

    async def run(self) -> None:
        """Tell who leads, whenever the ledger says otherwise."""
        key = PREFIX + record_key("coordinator", self._own["node"])
        value = encoded(formed("coordinator", self._own))
        while not self._leads:
            if self._records().get(key) != value:
                await self._line.ask(OP, _ANSWER_S, told=self._own)
            await asyncio.sleep(LOOK_S)

    def lead(self, observer: Observer, handlers: dict[str, Any]) -> None:
        """This scheduler leads: it is told by the others."""
        self._leads = True

        def hear(told: Any = None) -> None:
            try:
                one = formed("coordinator", dict(told))
            except (ProtocolError, TypeError, ValueError) as error:
                logger.warning("a coordinator does not say where it serves: %s", error)
                return
            observer.put("coordinator", str(one["node"]), one)

        handlers[OP] = hear
        observer.put("coordinator", str(self._own["node"]), self._own)
