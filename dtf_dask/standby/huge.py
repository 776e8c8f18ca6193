"""How a scheduler takes in what is huge, and is not taken for one that hangs.

To look at all tasks that it knows takes Python's collector seconds once they are a
million, and nothing else runs meanwhile; and tasks that were just made are no garbage.
So there is no collection while they are made. Some steps cannot be cut: it says before
each turn that it may take long.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

HUGE_BYTES = 10 * 2**20
"""Of an operation: some 70,000 small tasks."""
_BUSY_S = 30.0
_under_way: list[object] = []


@contextmanager
def uncollected(size: int) -> Iterator[None]:
    """Collect nothing meanwhile, and never what was made, if it is of so many bytes."""
    if size < HUGE_BYTES:
        yield
        return
    mark = object()
    gc.disable()
    _under_way.append(mark)
    try:
        yield
    finally:
        _under_way.remove(mark)
        if not _under_way:
            gc.freeze()
            gc.enable()


def in_turns(
    turns: Generator[None, None, None], size: int, busy: Callable[[float], None]
) -> Generator[None, None, None]:
    """Take the turns of an operation of so many bytes; ``busy`` is told before each."""
    with uncollected(size):
        for _ in turns:
            yield
            if size >= HUGE_BYTES:
                busy(_BUSY_S)
