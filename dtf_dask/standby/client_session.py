"""One stream of a client to the scheduler that leads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distributed.batched import BatchedSend
from distributed.comm.core import CommClosedError

from dtf_dask.durable import dask_streams


class Session:
    """One stream of a client."""

    def __init__(self, client: str, comm: Any, stream: BatchedSend) -> None:
        self.client = client
        self.comm = comm
        self.stream = stream
        self.entered = False
        """Whether it is the one of its client."""
        self.is_dtfs = False
        """Whether it has said that it knows our words."""
        self.greeted = False
        self.leaves = False

    def answer(self, message: Mapping[str, Any]) -> None:
        """Send a word for which it may wait."""
        self.say(message)
        dask_streams.hurry(self.stream)

    def say(self, message: Mapping[str, Any]) -> None:
        """Send a word; what a broken stream does not take is said again otherwise."""
        try:
            self.stream.send(message)
        except CommClosedError:
            pass
