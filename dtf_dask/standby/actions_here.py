"""Actions that somebody asks of this node: done here if it leads, or by who does.

What a test has written so far is asked for the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from dtf_dask.frames import Frame
from dtf_dask.ha import scheduler_words as words
from dtf_dask.standby.actions import Actions
from dtf_dask.standby.leader_line import LeaderLine
from dtf_dask.standby.link import NodeLink
from dtf_dask.view.tails import operation

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
        self._handlers = handlers
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
        op, said = operation(asked)
        if self._actions is not None:
            answer = await self._handlers[op](**said)
        else:
            answer = await self._line.ask(op, _ANSWER_S, **said)
        self._link.say(words.answered(number, answer))
