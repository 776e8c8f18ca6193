"""Looks at a scheduler again and again, whoever it is that answers."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from contextlib import suppress
from typing import Any

from dtf_dask.cli.scheduler_link import reached
from dtf_dask.comm.search import told
from dtf_dask.errors import ProtocolError
from dtf_dask.view.alerts import Alert, alerts
from dtf_dask.view.read_model import ReadModel

NOT_UNDERSTOOD = (KeyError, TypeError, ValueError, ProtocolError)
"""What an answer that is none raises as it is read."""
ASKED_S = 1.0
ANSWER_S = 5.0
_RATE_S = 15.0
"""Over so long a rate is taken."""


class Unanswered(Exception):
    """Nobody has answered, or with nothing that can be seen."""

    def __init__(self, why: str, known: bool = True) -> None:
        super().__init__(why, known)
        self.why = why
        self.known = known
        """Whether the scheduler knows the question."""


class SchedulerLine:
    """Asks a scheduler, over a connection that is made again when it broke."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._scheduler: Any = None

    async def ask(self, op: str, limit_s: float, **said: Any) -> Any:
        """What is answered to an operation.

        Raises
        ------
        Unanswered
            If there is no answer, or none that says anything.
        """
        try:
            async with asyncio.timeout(limit_s):
                if self._scheduler is None:
                    self._scheduler = reached(self.address, limit_s)
                answer = await getattr(self._scheduler, op)(**said)
        except (OSError, TimeoutError, ValueError) as error:
            await self.close()
            why = told(error) or str(error) or f"no answer within {limit_s:g} s"
            # Who asks says the address too.
            raise Unanswered(why.removeprefix(f"{self.address}: ")) from error
        return answer

    async def view(self, since: str) -> Any:
        """What has changed; see `Observer.answer`.

        Raises
        ------
        Unanswered
            As `ask` says.
        """
        answer = await self.ask("dtf_view", ANSWER_S, since=since)
        if answer is None:  # what a Dask server says to what it does not know
            why = "the scheduler there does not tell what is to be seen of it"
            raise Unanswered(why, known=False)
        return answer

    async def close(self) -> None:
        """Hold no connection."""
        scheduler, self._scheduler = self._scheduler, None
        if scheduler is not None:
            with suppress(OSError):
                await scheduler.close_rpc()


class ViewLink:
    """What is to be seen of the scheduler at an address, and how old that is.

    An address of coordinators leads to whoever leads: after a failover all is read
    anew, from the next.

    Attributes
    ----------
    trouble
        Why there is nothing new, in words; empty if there is.
    standing
        How the coordinators stand, as who leads says; empty of a scheduler alone.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.model = ReadModel()
        self.trouble = ""
        self.standing: dict[str, Any] = {}
        self._id = ""
        self._seen_at = time.monotonic()
        self._ended: deque[tuple[float, int]] = deque()
        self._line = SchedulerLine(address)

    @property
    def age_s(self) -> float:
        """How old what is seen is."""
        return time.monotonic() - self._seen_at

    @property
    def now(self) -> float:
        """The time by the scheduler's clock, as far as it is known."""
        return self.model.at + self.age_s

    @property
    def per_s(self) -> float | None:
        """Tasks that ended in a second of late; None if that is not known yet."""
        if len(self._ended) < 2:
            return None
        (then, before), (at, after) = self._ended[0], self._ended[-1]
        return max(0, after - before) / (at - then) if at > then else None

    def alerts(self) -> list[Alert]:
        """What is wrong, the worst first."""
        status = self.standing.get("status")
        names, node = self.standing.get("names", {}), self.standing.get("node")
        told = [{**status, "name": names.get(str(node), str(node))}] if status else []
        return alerts(self.model, self.now, coordinators=told)

    async def ask(self) -> None:
        """Ask once.

        Raises
        ------
        Unanswered
            If there is no answer, or none that says anything.
        """
        try:
            answer = await self._line.view(self._id)
            self._take(answer)
        except Unanswered as error:
            self.trouble = error.why
            raise
        except NOT_UNDERSTOOD as error:
            self.trouble = f"it is not understood: {error}"
            raise Unanswered(self.trouble) from error

    async def close(self) -> None:
        """Hold no connection."""
        await self._line.close()

    def _take(self, answer: dict[str, Any]) -> None:
        life, number = map(int, answer["id"].split(":"))
        changes = [(str(key), value) for key, value in answer["changes"]]
        if answer["reset"]:
            if self._id.partition(":")[0] != str(life):
                self._ended.clear()
            self.model.replace(changes, life, number, answer["at"])
        else:
            self.model.apply(changes, life, number, answer["at"])
        self._id = answer["id"]
        self.trouble = str(answer["trouble"])
        self.standing = dict(answer.get("standing") or {})
        self._seen_at = time.monotonic() - float(answer["age_s"])
        cluster = self.model.get("cluster")
        if cluster is not None and not (
            self._ended and self._ended[-1][0] == cluster["at"]
        ):
            self._ended.append((cluster["at"], cluster["ended"]))
            while cluster["at"] - self._ended[0][0] > _RATE_S:
                self._ended.popleft()


def seen_plain(link: ViewLink) -> dict[str, Any]:
    """All of it, for ``--json``."""
    return {
        "address": link.address,
        "age_s": round(link.age_s, 3),
        **json.loads(link.model.snapshot().json),
        "alerts": [one.plain() for one in link.alerts()],
        "coordinators": link.standing,
        "trouble": link.trouble,
    }
