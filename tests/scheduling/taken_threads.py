"""Takes the threads of a cluster of two for as long as a test wants."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator

from distributed import Event, wait

from dtf_dask.client import Client

WAIT_S = 60
_NAMES = map("gate-{}".format, itertools.count())


def new_gate(client: Client) -> Event:
    """An event that nobody else has."""
    return Event(next(_NAMES), client=client)


def through(gate: str, value: object = None) -> object:
    """Wait for an event; the worker's thread is taken meanwhile."""
    assert Event(gate).wait(WAIT_S + 40)
    return value


@contextlib.contextmanager
def taken(client: Client) -> Iterator[Event]:
    """Both threads are taken until the event is set, and at the end nothing is."""
    gate = new_gate(client)
    blockers = block(client, gate)
    yield gate
    gate.set()
    wait(blockers, timeout=WAIT_S)


def block(client: Client, gate: Event) -> list[object]:
    """Take both threads until an event is set."""
    blockers = client.map(
        through, [gate.name] * 2, pure=False, priority_class="interactive"
    )
    until(lambda: all(client.explain(one).state == "running" for one in blockers))
    return list(blockers)


def until(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, f"not within {WAIT_S} s"
        time.sleep(0.01)
