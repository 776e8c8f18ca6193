"""A takeover: what was submitted and runs is told again, and nothing is decided yet.

The order of calls is that of `dtf_dask.durable.successor`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from dtf_dask.durable.successor import Attempt
from dtf_dask.scheduler_plugins.adapter.attempts import Attempts
from dtf_dask.scheduler_plugins.adapter.governed import Governed, Key
from dtf_dask.scheduler_plugins.adapter.holding import Holding, error_of
from dtf_dask.scheduler_plugins.adapter.intake import OVER, Intake
from dtf_dask.scheduler_plugins.adapter.keeping import Keeping
from dtf_dask.scheduler_plugins.engine.adopting import Run

logger = logging.getLogger(__name__)


class Recalling:
    """Brings the engine to where that of the scheduler was which died."""

    def __init__(
        self,
        holding: Holding,
        intake: Intake,
        attempts: Attempts,
        keeping: Keeping | None,
    ) -> None:
        self._holding, self._intake, self._attempts = holding, intake, attempts
        self._keeping = keeping  # until it was asked

    def begin(self) -> None:
        """Tasks of old are told from now on."""
        self._holding.recalling = True

    def adopted(self, attempts: Sequence[Attempt]) -> None:
        """These run; what is over is seen by now."""
        self._resolve()
        now = self._holding.clock()
        for attempt in attempts:
            self._adopt(attempt, now)
        self._holding.wake()

    def settled(self) -> None:
        """All is known."""
        self._resolve()
        holding = self._holding
        holding.recalling = False
        holding.refused = [task for task in holding.refused if self._is_open(task)]
        self._intake.actors.settled()

    def _resolve(self) -> None:
        """Gangs, and who waits for whom, by what is over now."""
        holding, adopting = self._holding, self._holding.engine.adopting
        keeping, self._keeping = self._keeping, None
        marks = {} if keeping is None else keeping.recall()
        recalled = self._intake.recalled()
        waiting = []
        for task in recalled:
            if self._is_open(task):
                self._intake.link(task)
                waiting.append(task)
        for reject in adopting.known([task.ask for task in waiting]):
            holding.refuse(holding.tasks[reject.key], error_of(reject))
        for task in recalled:
            ts = holding.scheduler.tasks.get(task.key)
            if ts is not None and ts.state in ("memory", "erred"):
                task.stage = "over"
                adopting.began(task.ask, over=True)
            elif ts is not None and ts.suspicious:
                adopting.began(task.ask)
            if (broken := marks.get(task.key)) is not None and self._is_open(task):
                (adopting.broken if broken else adopting.began)(task.ask)
        adopting.settled()

    def _is_open(self, task: Governed) -> bool:
        ts = self._holding.scheduler.tasks.get(task.key)
        return ts is not None and ts.state not in OVER

    def _adopt(self, attempt: Attempt, now: float) -> None:
        holding = self._holding
        key: Key = attempt.key
        task, ts = holding.tasks.get(key), holding.scheduler.tasks.get(key)
        ws = holding.scheduler.workers.get(attempt.worker)
        post = holding.posts.at(attempt.worker)
        if task is None or ts is None or ws is None or post is None:
            holding.posts.touched(attempt.worker)  # Dask's own
            return
        if attempt.wanted and ts.processing_on is not ws:
            return
        began = now - max(0.0, attempt.for_s)
        run = Run(task.ask, post.name, began, attempt.gpus)
        if not holding.engine.adopting.run(run, now):
            logger.info("%r runs on %s, unaccounted for", task.key, post.name)
            holding.posts.touched(attempt.worker)
        elif attempt.wanted:
            self._attempts.adopt(task, ws, began, seceded=attempt.seceded)
        else:
            self._attempts.part(task, ws, post.name, now)
