"""The scheduler process of a coordinator: ``python -m dtf_dask.standby.process FD``.

It shares a socket with its node and lives no longer than that. It never closes its
scheduler in Dask's way, which would tell all workers to end: it just ends.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from typing import NoReturn

from dtf_dask.kernel import die_with_parent

logger = logging.getLogger(__name__)

_GC_THRESHOLDS = (50_000, 20, 100)
"""A scheduler makes many objects that live: to look at them costs, and finds little."""
_LAST_WORDS_S = 0.2


async def serve(connection: socket.socket) -> NoReturn:
    """Be what the node says, until it says no more."""
    from dtf_dask.standby.role import StandbyScheduler

    loop = asyncio.get_running_loop()

    def ended(why: str) -> None:
        logger.error("this scheduler ends: %s", why)
        loop.call_later(_LAST_WORDS_S, os._exit, 1)

    def leaves(code: int, why: str) -> NoReturn:
        logger.warning("this scheduler ends: %s", why)
        os._exit(code)

    role = StandbyScheduler(ended, leaves)
    why = await role.link.run(connection)
    logger.info("this scheduler ends: %s", why)
    os._exit(0)


def main(arguments: list[str]) -> NoReturn:
    """Run the process, with the number of the socket as its only argument."""
    die_with_parent()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    gc.set_threshold(*_GC_THRESHOLDS)
    connection = socket.socket(fileno=int(arguments[0]))
    connection.setblocking(False)
    try:
        asyncio.run(serve(connection))
    except BaseException:
        logger.exception("this scheduler ends")
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
