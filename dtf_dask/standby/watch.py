"""A plugin of Dask's scheduler that sees which tasks are forgotten, and which done."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from distributed import Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.scheduler import TaskState

from dtf_dask.submission.table import shown

logger = logging.getLogger(__name__)

NAME = "dtf-durability"


class Watch(SchedulerPlugin):
    """Tells of both."""

    name = NAME

    def __init__(
        self,
        forgotten: Callable[[TaskState], None],
        finished: Callable[[Any], None],
        scheduler: Scheduler,
    ) -> None:
        self._forgotten = forgotten
        self._finished = finished
        self._scheduler = scheduler

    def transition(
        self, key: Any, start: Any, finish: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Called by Dask after each transition."""
        try:
            if finish == "forgotten":
                # Dask puts it back for plugins to look at.
                self._forgotten(self._scheduler.tasks[key])
            elif start == "processing" and finish in ("memory", "erred", "released"):
                self._finished(key)
        except Exception:
            logger.exception("cannot follow what became of task %s", shown(key))
