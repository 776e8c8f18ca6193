"""What is leaned on in Dask's streams of messages, for what cannot wait to be gathered.

A `BatchedSend` sends at once what comes alone, and gathers what comes within so long of
what it sent last.
"""

from __future__ import annotations

import inspect

from distributed.batched import BatchedSend

_SAYS = (
    *("self.waker.wait(self.next_deadline)", "if not self.buffer"),
    *("+ self.interval", "if self.next_deadline is not None and time() < self.next"),
)


def broken() -> tuple[str, ...]:
    """Say what is missing of what is used here; empty if all is there."""
    source = inspect.getsource(BatchedSend)
    return tuple(f"{text} in BatchedSend" for text in _SAYS if text not in source)


def gather_for(stream: BatchedSend, seconds: float) -> None:
    """Gather what is sent for so long from now on."""
    stream.interval = seconds


def hurry(stream: BatchedSend) -> None:
    """Have what was gathered sent now: somebody waits for it."""
    if stream.buffer:
        stream.next_deadline = None
        stream.waker.set()
