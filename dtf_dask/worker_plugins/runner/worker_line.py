"""A runner's line to its Dask worker: what it is asked, what it tells, what it prints.

Requests queue up in ``requests``; who serves them takes them out.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from dtf_dask.frames import FrameBuffer, pack

_CHUNK = 256 * 1024
_OUTPUT_BYTES_MAX = 8 * 2**20  # of a batch, written past pytest's capture


class WorkerGone(Exception):
    """The worker closed the channel: nobody is left to run anything for."""


class WorkerLine:
    """The channel, and the pipe that is this process's stdout and stderr.

    Parameters
    ----------
    channel
        A connected stream socket to the Dask worker.
    output
        The read end of that pipe, which does not block.
    """

    def __init__(self, channel: socket.socket, output: int) -> None:
        self._channel = channel
        self.output = output
        self.requests: list[dict[str, Any]] = []
        self._inbox = FrameBuffer()
        self._output_left = _OUTPUT_BYTES_MAX

    def fileno(self) -> int:
        return self._channel.fileno()

    def begin_batch(self) -> None:
        """From here on output is of another batch."""
        self._output_left = _OUTPUT_BYTES_MAX

    def receive(self) -> None:
        """Wait for requests and queue them."""
        chunk = self._channel.recv(_CHUNK)
        if not chunk:
            raise WorkerGone
        self.requests += self._inbox.feed(chunk)

    def send(self, frame: dict[str, Any]) -> None:
        self.relay(pack(frame))

    def relay(self, packed: bytes | bytearray) -> None:
        """Send frames that are packed already."""
        self._channel.sendall(packed)

    def relay_output(self) -> None:
        """Send on what was printed, as much as one read gives: all of a full pipe."""
        try:
            chunk = os.read(self.output, 65536)
        except BlockingIOError:
            return
        kept = chunk[: self._output_left]
        self._output_left -= len(kept)
        if kept:
            self.send({"op": "output", "data": kept})

    def let_go(self) -> None:
        """In a forked child: what is the runner's is not the tests'."""
        self._channel.close()
        os.close(self.output)
