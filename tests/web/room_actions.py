"""Actions without a cluster: each is done, or refused, as its subject says."""

from __future__ import annotations

from collections.abc import Mapping

from dtf_dask.standby.actions import UNKNOWN, Actions, ActRefusedError
from dtf_dask.view.actions import ACTIONS, Asked


class Memory:
    """A ledger."""

    def __init__(self) -> None:
        self.found: dict[str, bytes] = {}

    async def keep(self, records: Mapping[str, bytes | None]) -> None:
        """See `dtf_dask.standby.actions.Ledger`."""
        for key, value in records.items():
            if value is None:
                self.found.pop(key, None)
            else:
                self.found[key] = value

    def records(self, prefix: str) -> list[tuple[str, bytes]]:
        """See `dtf_dask.standby.actions.Ledger`."""
        return sorted(self.found.items())


def room_actions() -> tuple[Actions, list[Asked]]:
    """Those of a leader, and what it has done."""
    done: list[Asked] = []

    async def act(asked: Asked) -> str:
        if asked.subject == "nobody":
            raise ActRefusedError("there is no nobody", UNKNOWN)
        done.append(asked)
        return "done"

    return Actions(Memory(), dict.fromkeys(ACTIONS, act)), done
