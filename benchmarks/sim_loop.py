"""An asyncio loop whose time is made up: it never waits, its clock jumps instead."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeVar
from unittest import mock

from tornado.ioloop import IOLoop

_T = TypeVar("_T")
EPOCH_S = 1_000_000.0  # what the wall clock says when a simulation begins


class StalledError(Exception):
    """Nothing is scheduled any more, and the simulation has not come to its end."""


class _Clockwork(selectors.SelectSelector):
    """Moves the time on where a real one would wait for sockets."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise StalledError("nothing is left to happen")
        self.now += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that begins at 0 and runs as fast as its callbacks do."""

    def __init__(self) -> None:
        self._clockwork = _Clockwork()
        super().__init__(self._clockwork)

    def time(self) -> float:
        """Seconds since the simulation began."""
        return self._clockwork.now

    def wall_time(self) -> float:
        """The same on a clock that tells the date."""
        return EPOCH_S + self._clockwork.now


def run_virtually(main: Coroutine[Any, Any, _T]) -> _T:
    """`asyncio.run` in made-up time, for coroutines that need no sockets or threads."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


@contextmanager
def clocks_replaced(loop: VirtualLoop, *modules: ModuleType) -> Iterator[None]:
    """Let modules that did ``from ... import time, monotonic`` read the loop's time."""
    with mock.patch.object(IOLoop.current(), "time", loop.time):
        patches = [
            mock.patch.object(module, name, clock)
            for module in modules
            for name, clock in (("time", loop.wall_time), ("monotonic", loop.time))
            if callable(getattr(module, name, None))
        ]
        for patch in patches:
            patch.start()
        try:
            yield
        finally:
            for patch in patches:
                patch.stop()
