"""How the scheduler process of a node that does not lead asks the one that does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from distributed import Scheduler
from distributed.core import rpc

logger = logging.getLogger(__name__)


class LeaderLine:
    """To whoever leads the cluster of a scheduler.

    Parameters
    ----------
    hello
        What the node said first.
    """

    def __init__(self, scheduler: Scheduler, hello: Mapping[str, Any]) -> None:
        self._scheduler, self._contact = scheduler, str(hello["contact"])

    async def ask(self, op: str, timeout_s: float, **arguments: Any) -> Any:
        """Its answer; None if nobody leads, or says so in time."""
        try:
            async with asyncio.timeout(timeout_s):
                leader: Any = rpc(
                    self._contact, connection_args=self._scheduler.connection_args
                )
                async with leader:
                    return await getattr(leader, op)(**arguments)
        except Exception as error:
            logger.debug("nobody who leads hears %s: %s", op, error)
            return None
