"""The scheduler's end of the socket to its node: see `dtf_dask.ha.scheduler_words`."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dtf_dask import frames
from dtf_dask.errors import ProtocolError
from dtf_dask.frames import HEADER_BYTES, Frame
from dtf_dask.ha import scheduler_words as words

logger = logging.getLogger(__name__)


class NodeLink:
    """Hears the node, and has it propose.

    Parameters
    ----------
    heard
        Called with each word but `ping` and `outcome`, in their order.
    pinged
        Called with each `ping`, before it is answered.
    """

    def __init__(
        self,
        heard: Callable[[Frame], None],
        pinged: Callable[[Frame], None] = lambda frame: None,
    ) -> None:
        self._heard = heard
        self._pinged = pinged
        self._outcomes: dict[int, asyncio.Future[str]] = {}
        self._tickets = 0
        self._writer: asyncio.StreamWriter | None = None

    async def run(self, connection: socket.socket) -> str:
        """Listen until the node says no more: why.

        Raises
        ------
        ProtocolError
            It speaks otherwise.
        """
        reader, self._writer = await asyncio.open_connection(sock=connection)
        try:
            while True:
                length = frames.body_bytes(await reader.readexactly(HEADER_BYTES))
                self._take(frames.decode(await reader.readexactly(length)))
        except (EOFError, OSError) as error:
            return f"the node is gone ({type(error).__name__})"
        finally:
            self._writer.transport.abort()

    def say(self, frame: Mapping[str, Any]) -> None:
        """Say a word; what a node that is gone does not hear is of no use."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(frames.pack(frame))

    def propose(self, commands: Sequence[bytes]) -> asyncio.Future[str]:
        """Have commands proposed as one entry; answers why they were not, or ``""``."""
        self._tickets += 1
        outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._outcomes[self._tickets] = outcome
        self.say(words.propose(self._tickets, commands))
        return outcome

    def _take(self, frame: Any) -> None:
        if not isinstance(frame, dict):
            raise ProtocolError("a frame holds no msgpack map")
        op = frame.get("op")
        if op == words.PING:
            self._pinged(frame)
            self.say(words.pong(frame["number"]))
        elif op == words.OUTCOME:
            outcome = self._outcomes.pop(frame["ticket"], None)
            if outcome is not None and not outcome.done():
                outcome.set_result(str(frame["why"]))
        else:
            self._heard(frame)
