"""What a scheduler without coordinators does actions with: it keeps them in memory.

So what was asked is known, and done once, as long as that scheduler lives.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from distributed import Scheduler

from dtf_dask.scheduler_plugins.adapter.observing import Observer
from dtf_dask.standby.actions import Actions, ActRefusedError
from dtf_dask.standby.acts import Acts
from dtf_dask.standby.dask_moving import wanted_above
from dtf_dask.standby.telling import Telling
from dtf_dask.view.actions import Asked


class Alone:
    """Hands of `Acts`."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._telling = Telling(scheduler)
        self._kept: dict[str, bytes] = {}

    async def keep(self, records: Mapping[str, bytes | None]) -> None:
        """See `Ledger`."""
        for key, value in records.items():
            if value is None:
                self._kept.pop(key, None)
            else:
                self._kept[key] = value

    def records(self, prefix: str) -> list[tuple[str, bytes]]:
        """See `Ledger`."""
        return [item for item in self._kept.items() if item[0].startswith(prefix)]

    async def cancel(self, keys: Sequence[Any], reason: str) -> None:
        """See `Hands`."""
        why = f"cancel-key-{time.time()}"
        for client, wanted in wanted_above(self._scheduler.tasks, keys).items():
            self._telling.cancelled(client, wanted, reason)
            self._scheduler.client_releases_keys(
                keys=wanted, client=client, stimulus_id=why
            )

    async def retry(self, keys: Sequence[Any]) -> None:
        """See `Hands`."""
        self._scheduler.stimulus_retry(keys=keys)

    async def transfer(self, asked: Asked) -> str:
        """See `Hands`."""
        raise ActRefusedError("there are no coordinators: this scheduler is alone")


def actions_alone(scheduler: Scheduler) -> Actions:
    """Those of a scheduler without coordinators."""
    observer = Observer.install(scheduler)
    hands = Alone(scheduler)
    return Actions(
        hands,
        Acts(scheduler, hands).by_name(),
        lambda id, seen: observer.put("action", id, seen),
    )
