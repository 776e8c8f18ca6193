"""What a scheduler that leads answers `dtf status`: how its cluster stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from distributed import Scheduler

from dtf_dask.standby.applying import FIRE_AND_FORGET

OP = "dtf_standing"


class Standing:
    """What the node beside the scheduler said last, and what the scheduler has.

    Parameters
    ----------
    scheduler
        Which leads.
    hello
        What the process was told first.
    """

    def __init__(self, scheduler: Scheduler, hello: Mapping[str, Any]) -> None:
        self._scheduler = scheduler
        self._hello = hello
        self.node: dict[str, Any] = {}
        """A `NodeStatus`, as of the last `ping` that had one."""
        scheduler.handlers[OP] = self.answer

    @property
    def own(self) -> int:
        """The number of its own node."""
        return int(self._hello["node"])

    def name(self, node: int) -> str:
        """What a coordinator is called."""
        return str(self._names.get(str(node), node))

    def number(self, said: str) -> int | None:
        """The number of the coordinator that is called so, or has it."""
        for number, name in self._names.items():
            if said == name:
                return int(number)
        is_number = said.isascii() and said.isdecimal() and len(said) < 10
        return int(said) if is_number else None

    @property
    def _names(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self._hello["options"].get("names", {})
        return found

    def answer(self) -> dict[str, Any]:
        """The answer (Dask calls this when a client asks)."""
        return {
            "cluster": self._hello["cluster"],
            "address": self._hello["contact"],
            **self.coordinators(),
            **holdings(self._scheduler),
        }

    def coordinators(self) -> dict[str, Any]:
        """The names of all, and how the one stands whose scheduler this is."""
        return {"names": self._names, "node": self.own, "status": self.node}


def holdings(scheduler: Scheduler) -> dict[str, Any]:
    """How many workers and clients a scheduler has, and tasks by state."""
    states = Counter(one.state for one in scheduler.tasks.values())
    return {
        "workers": len(scheduler.workers),
        "clients": len(scheduler.clients.keys() - {FIRE_AND_FORGET}),
        "tasks": dict(sorted(states.items())),
    }
