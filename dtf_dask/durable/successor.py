"""What a scheduler that takes over says to those of its plugins that schedule. Pure.

Dask's own hooks tell a plugin of what happens. They do not tell it that a task was
submitted an hour ago, nor that one runs already. So whoever keeps a shadow, and takes
over, calls the plugins that have these methods, in this order:

1. `recalling`, as soon as the plugin has started: in a shadow, so from the beginning.
   From then on the hooks ``update_graph`` and ``transition`` tell of tasks of old: as
   their submissions are applied, or of all known tasks at once, in the order of their
   submission. Nothing is decided meanwhile.
2. ``add_worker`` for the workers that are there again, as Dask does it. What they have
   in memory, and what erred, is moved to those states; what runs is put on its worker.
3. `adopted`, of what runs.
4. The wanted tasks are moved to "waiting", those first that Dask would run first:
   plugins give them the places of before.
5. `resumed`, when the first of them wait: from now on it schedules. Others are moved
   meanwhile, and have waited for as long. Without a wanted task it is not called.
6. `settled`. Who submits from now on is new.

A worker that comes later, with attempts that nobody has started elsewhere, is told of
by `adopted` again, as soon as they are put on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from dtf_dask.submission.table import Key

RECORDS = "dtf_durability"
"""The attribute of a scheduler that has its `Records`, if it has any."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One that runs, as its worker says.

    Parameters
    ----------
    worker
        Its address. Dask has the task in "processing" there already.
    for_s
        For how long it has run.
    seceded
        Whether it has left its thread to others.
    gpus
        The devices it was granted, as `dtf_dask.grant` names them.
    wanted
        False for one that was taken back, and goes on all the same: its task is not
        "processing" there, but its place is taken until it is over.
    """

    key: Key
    worker: str
    for_s: float
    seceded: bool = False
    gpus: tuple[int | str, ...] = ()
    wanted: bool = True


@runtime_checkable
class Successor(Protocol):
    """A plugin that knows what a takeover is."""

    def recalling(self) -> None:
        """What is told from now on is of old."""

    def adopted(self, attempts: Sequence[Attempt]) -> None:
        """These run."""

    def resumed(self) -> None:
        """The most urgent tasks wait; others of old are told of while they run."""

    def settled(self) -> None:
        """All that is known is told."""


class Records(Protocol):
    """Some of the ledger's records, for whoever keeps something there.

    `dtf_dask.standby.durability.Durability` is one.
    """

    async def keep(self, records: Mapping[str, bytes | None]) -> None:
        """Write them, or delete those of None; returns when that is committed."""

    def keep_lazily(self, records: Mapping[str, bytes | None]) -> None:
        """The same, some time."""

    def records(self, prefix: str) -> list[tuple[str, bytes]]:
        """Those whose keys begin so, as of now."""
