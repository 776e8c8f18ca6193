"""The web process of a node: ``python -m dtf_dask.web.process FD``.

It shares a socket with its node and lives no longer than that: see
`dtf_dask.view.feed_words`. It loads no Dask.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from typing import Any, NoReturn

from tornado.netutil import bind_sockets

from dtf_dask.frames import Frame
from dtf_dask.kernel import die_with_parent
from dtf_dask.standby.link import NodeLink
from dtf_dask.view import feed_words as words
from dtf_dask.web.server import served
from dtf_dask.web.site import Site
from dtf_dask.web.visitors import is_loopback

logger = logging.getLogger(__name__)

NICENESS = 5
"""It gives way to the scheduler and to the node."""
_LAST_WORDS_S = 0.2


class WebProcess:
    """What hears the node, and serves what it says."""

    def __init__(self) -> None:
        self.link = NodeLink(self._heard, self._pinged)
        self.site: Site | None = None
        self._serves = False

    def _heard(self, frame: Frame) -> None:
        if frame["op"] == words.HELLO:
            self.site = Site(frame, self.link.say)
        elif self.site is not None:
            self.site.hear(frame)
            if not self._serves and self.site.begun:
                self._serves = True
                self._serve(self.site)

    def _pinged(self, frame: Frame) -> None:
        if self.site is not None:
            self.site.stand(frame)

    def _serve(self, site: Site) -> None:
        """Let others in, now that there is something to be seen."""
        address = str(site.hello["listens_at"])
        try:
            served(site).add_sockets(bound(address))
        except (OSError, ValueError) as error:
            why = f"{address}: {error}"
            logger.error("this web process ends: %s", why)
            self.link.say(words.trouble(why))
            asyncio.get_running_loop().call_later(_LAST_WORDS_S, os._exit, 1)
            return
        self.link.say(words.ready(os.getpid()))


def bound(address: str) -> list[socket.socket]:
    """Sockets of ``host:port``, which is of this machine only."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not is_loopback(host):
        raise ValueError("others reach it, and nobody is asked who he is")
    return bind_sockets(int(port), host)


async def serve(connection: socket.socket) -> NoReturn:
    """Be what the node says, until it says no more."""
    why = await WebProcess().link.run(connection)
    logger.info("this web process ends: %s", why)
    os._exit(0)


def main(arguments: list[str]) -> Any:
    """Run the process, with the number of the socket as its only argument."""
    die_with_parent()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    os.nice(NICENESS)
    connection = socket.socket(fileno=int(arguments[0]))
    connection.setblocking(False)
    try:
        asyncio.run(serve(connection))
    except BaseException:
        logger.exception("this web process ends")
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
