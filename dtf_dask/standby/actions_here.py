"""Actions that somebody asks of this node: done here if it leads, or by who does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from dtf_dask.frames import Frame
from dtf_dask.ha import scheduler_words as words
from dtf_dask.standby.actions import Actions
from dtf_dask.standby.leader_line import LeaderLine
from dtf_dask.standby.link import NodeLink

OP = "dtf_act"
_ANSWER_S = 15.0


class ActionsHere:
    """What the scheduler process of a node does with them."""

    def __init__(
        self, link: NodeLink, line: LeaderLine, handlers: dict[str, Any]
    ) -> None:
        self._link, self._line = link, line
        self._actions: Actions | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        handlers[OP] = self._asked

    def take(self, frame: Frame) -> None:
        """The node says `ask`."""
        task = asyncio.create_task(self._answer(frame["number"], frame["asked"]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def lead(self, actions: Actions, leads: str) -> None:
        """From now on they are done here."""
        await actions.lead(leads)
        self._actions = actions

    def close(self) -> None:
        """Answer nobody any more."""
        for task in self._tasks:
            task.cancel()

    async def _asked(self, asked: Any = None) -> dict[str, Any] | None:
        """Of another node (Dask calls this); None while this one takes over."""
        return None if self._actions is None else await self._actions.ask(asked)

    async def _answer(self, number: int, asked: Mapping[str, Any]) -> None:
        if self._actions is not None:
            answer: Any = await self._actions.ask(asked)
        else:
            answer = await self._line.ask(OP, _ANSWER_S, asked=dict(asked))
        self._link.say(words.answered(number, answer))
