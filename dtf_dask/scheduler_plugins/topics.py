"""Keeps dtf's topics from filling the scheduler's memory.

Dask keeps the last ``distributed.admin.low-level-log-length`` events of every topic,
whatever their size, and every topic for ever. The frames of a run, and what workers say
of their hardware, are delivered once and are of no use afterwards.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from distributed import Scheduler, SchedulerPlugin

from dtf_dask.scheduler_plugins import dask_seam

logger = logging.getLogger(__name__)

NAME = "dtf-topics"
TOPIC_PREFIXES = ("dtf-run-", "dtf-hardware")


class TopicPlugin(SchedulerPlugin):
    """Drops each event of a run's topic once it is delivered, and unheard topics whole.

    A topic goes with its last subscriber: when that client is gone, or at the first
    event that nobody listens to. If Dask's insides are not what they were, or a hook
    fails, the plugin says so once and leaves the topics to Dask's own bounds.
    """

    name = NAME
    idempotent = True

    def __init__(self) -> None:
        self.failure = ""
        self._scheduler: Scheduler | None = None

    async def start(self, scheduler: Scheduler) -> None:
        """Check the ground, and take up work."""
        missing = dask_seam.broken(scheduler)
        if missing:
            self._give_up(f"Dask has no {', '.join(missing)}")
        else:
            self._scheduler = scheduler

    def log_event(self, topic: str, msg: Any) -> None:
        """Called by Dask after the event went out to the subscribers."""
        if isinstance(topic, str) and topic.startswith(TOPIC_PREFIXES):
            self._guarded(self._delivered, topic)

    def remove_client(self, scheduler: Scheduler, client: str) -> None:
        """Forget what only this client listened to."""
        self._guarded(self._left, client)

    def _delivered(self, scheduler: Scheduler, topic: str) -> None:
        if dask_seam.has_subscribers(scheduler, topic):
            dask_seam.drop_history(scheduler, topic)
        else:
            dask_seam.forget_topic(scheduler, topic)

    def _left(self, scheduler: Scheduler, client: str) -> None:
        topics = dask_seam.topics_with_prefix(scheduler, TOPIC_PREFIXES)
        dask_seam.unsubscribe_everywhere(scheduler, client, topics)
        for topic in topics:
            if not dask_seam.has_subscribers(scheduler, topic):
                dask_seam.forget_topic(scheduler, topic)

    def _guarded(self, act: Callable[[Scheduler, str], None], word: str) -> None:
        if self._scheduler is None:
            return
        try:
            act(self._scheduler, word)
        except Exception as error:  # Dask would swallow it
            self._give_up(f"{type(error).__name__}: {error}")

    def _give_up(self, why: str) -> None:
        self._scheduler = None
        self.failure = why
        logger.warning(
            "Topics of runs keep their last events in the scheduler's memory: %s. "
            "Use a version of Dask that this version of dtf was tested with.",
            why,
        )
