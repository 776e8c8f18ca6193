"""Which slot of a run is whose on one worker. Pure.

Dask gives a batch one of its worker's threads, and there are as many slots as threads.
A batch that waited for its own slot while another one is free would hold a thread of
which that one has need.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable


class Slots:
    """Gives each batch a slot: its own if that is free, or any other.

    Examples
    --------
    >>> slots = Slots()
    >>> for batch, own in enumerate(["gw0", "gw1", "gw0"]):
    ...     slots.ask(batch, own, print)
    gw0
    gw1
    >>> slots.leave("gw1")  # to the batch that waits for gw0
    gw1
    """

    def __init__(self) -> None:
        self._free: dict[str, bool] = {}
        self._waiting: dict[Hashable, tuple[str, bool, Callable[[str], None]]] = {}

    def ask(
        self,
        batch: Hashable,
        own: str,
        take: Callable[[str], None],
        *,
        only_own: bool = False,
    ) -> None:
        """Have ``take`` called with a slot, now or as soon as there is one.

        Parameters
        ----------
        only_own
            Whether no other slot will do.
        """
        self._free.setdefault(own, True)
        self._waiting[batch] = own, only_own, take
        slots = [own] if only_own else [own, *self._free]
        slot = next((slot for slot in slots if self._free[slot]), None)
        if slot is not None:
            self._give(slot, batch)

    def give_up(self, batch: Hashable) -> None:
        """A batch waits no longer."""
        self._waiting.pop(batch, None)

    def leave(self, slot: str) -> None:
        """A slot is free: whoever has waited longest for one such has it next."""
        self._free[slot] = True
        for batch, (own, only_own, _) in self._waiting.items():
            if own == slot or not only_own:
                self._give(slot, batch)
                return

    def _give(self, slot: str, batch: Hashable) -> None:
        self._free[slot] = False
        _, _, take = self._waiting.pop(batch)
        take(slot)
