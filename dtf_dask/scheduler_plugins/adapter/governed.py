"""What is remembered of a task that the engine governs."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from distributed.scheduler import WorkerState

from dtf_dask.scheduler_plugins.adapter.asks import Wishes
from dtf_dask.scheduler_plugins.engine.terms import Ask, Ending

Key: TypeAlias = Any
"""A key of Dask's: a text, or a tuple of such."""

Stage = Literal["known", "held", "backoff", "after", "parting", "granted", "over"]
"""Submitted; with the engine; waiting for another attempt; for tasks that are not the
engine's; for its last attempt to be over; on a worker; done with, for now."""


class Governed:
    """One task, from its submission until Dask forgets it."""

    __slots__ = (
        *("after", "ask", "attempts", "avoid", "begun_at", "ending"),
        *("error", "key", "note", "place", "refused", "seceded", "since", "stage"),
        *("timer", "wishes", "worker"),
    )

    def __init__(self, key: Key, ask: Ask, wishes: Wishes, since: float) -> None:
        self.key = key
        self.ask = ask
        self.wishes = wishes
        self.since = since  # when it was submitted, by the engine's clock
        self.stage: Stage = "known"
        self.refused: BaseException | None = None
        self.note = ""  # what the engine said of it when it was submitted
        self.attempts = 0
        self.avoid: frozenset[str] = frozenset()
        self.after: set[Key] | None = None  # not the engine's, and not over
        # Of the attempt that runs:
        self.place: WorkerState | None = None
        self.worker = ""
        self.begun_at: float | None = None
        self.seceded = False
        self.ending: Ending | Literal["timeout"] | None = None  # why, if known already
        self.error = ""
        self.timer: Any = None
