"""What a test has written so far, told while it runs.

The runner reads the files that its child writes to; the worker asks the runner. It is
what there is since the phase of the test began, if pytest captures: of one that ends
the rest is in its report.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from dtf_dask.worker_plugins.runner.leftovers import tail
from dtf_dask.worker_plugins.runner.progress import ProgressBoard
from dtf_dask.worker_plugins.runner.sessions import Job, RunnerSession

ASK, TOLD = "tail", "written"
"""Ops of the worker and of the runner."""
ANSWER_S = 2.0
_FILES = (("out", "stdout.txt"), ("err", "stderr.txt"))


class Line(Protocol):
    """Where something can be said."""

    def send(self, frame: dict[str, Any]) -> None:
        """Say it."""


def spool_prefix(pid: int) -> str:
    """What the folders begin with that a child puts the outputs of cases in."""
    return f"case-{pid}-"


def tell(
    line: Line,
    board: ProgressBoard,
    jobs: Sequence[Job],
    session: RunnerSession,
    pid: int,
) -> None:
    """In the runner: say what the test that its child runs has written."""
    position, told = board.position, {"op": TOLD, "i": -1}
    if position >= 0:
        left = session.leftover()
        texts = {name: left[name] for name, _ in _FILES}
        if session.spill:
            for folder in Path(session.spill).glob(f"{spool_prefix(pid)}*"):
                for name, file in _FILES:
                    with suppress(OSError), (folder / file).open("rb") as opened:
                        texts[name] += tail(opened.fileno())
        for_s = time.monotonic() - board.started
        told |= {"i": jobs[position].number, "for_s": for_s, **texts}
    line.send(told)


class Asking:
    """In the worker: who asks the runners of a run, and waits for what they say."""

    def __init__(self) -> None:
        self._waits: dict[int, asyncio.Future[dict[str, Any] | None]] = {}

    def told(self, batch: int, frame: dict[str, Any]) -> None:
        """A runner says it, of the batch that it runs."""
        waits = self._waits.get(batch)
        if waits is not None and not waits.done():
            waits.set_result(frame)

    async def of(
        self, case: str, links: Mapping[int, Line], left: Mapping[int, Sequence[Any]]
    ) -> list[dict[str, Any]]:
        """What a case has written, wherever it runs.

        Parameters
        ----------
        case
            Its name; empty for all that run, which are told without their texts.
        links
            To the runners, by the batches that they run.
        left
            What is left of batches: entries, with numbers and names.
        """
        names = {
            batch: {
                entry[0]: entry[1]
                for entry in left.get(batch, ())
                if entry[1] == case or not case
            }
            for batch in links
        }
        asked = [batch for batch, found in names.items() if found]
        frames = await asyncio.gather(*(self._ask(one, links[one]) for one in asked))
        told = [
            _read(frame, names[batch][frame["i"]], texts=bool(case))
            for batch, frame in zip(asked, frames, strict=True)
            if frame is not None and frame.get("i") in names[batch]
        ]
        return [one for one in told if one is not None]

    async def _ask(self, batch: int, link: Line) -> dict[str, Any] | None:
        """One question at a time, for all who ask."""
        waits = self._waits.get(batch)
        if waits is None:
            waits = self._waits[batch] = asyncio.get_running_loop().create_future()
            link.send({"op": ASK})
        await asyncio.wait([waits], timeout=ANSWER_S)
        if not waits.done():
            waits.set_result(None)
        self._waits.pop(batch, None)
        return waits.result()


def _read(frame: Mapping[str, Any], case: str, *, texts: bool) -> Any:
    """What is passed on; None if a test has written into dtf's own pipe."""
    out, err, for_s = frame.get("out"), frame.get("err"), frame.get("for_s")
    if not isinstance(out, str) or not isinstance(err, str):
        return None
    if not isinstance(for_s, float) or not math.isfinite(for_s):
        return None
    told = {"case": case, "for_s": for_s, "stdout": out, "stderr": err}
    return told if texts else told | {"stdout": "", "stderr": ""}
