"""Why tasks of a kind wait, and until when: reckoned for a few kinds at each look."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from dtf_dask.view.records import COUNT_MAX

if TYPE_CHECKING:
    from dtf_dask.scheduler_plugins.engine.engine import Engine

AT_ONCE = 2
AGAIN_S = 10.0


class Why(NamedTuple):
    """Of one kind, as of a time.

    ``eta`` is about when the next of its tasks begins; None if nobody can say.
    """

    at: float
    words: str = ""
    help: str = ""
    eta: float | None = None


_UNKNOWN = Why(-math.inf)


class Whys:
    """Of all kinds that are shown."""

    def __init__(self) -> None:
        self._known: dict[int, Why] = {}
        self._left = 0

    def begin(self) -> None:
        """Another look."""
        self._left = AT_ONCE
        if len(self._known) > 2 * COUNT_MAX["kind"]:
            self._known.clear()

    def of(self, engine: Engine, row: dict[str, Any], now: float, clock: float) -> Why:
        """That of a row of `Tables.kind_rows`; of a little while ago, mostly.

        Parameters
        ----------
        now, clock
            In seconds since 1970, and by the engine's clock.
        """
        lane = row["lane"]
        why = self._known.get(lane, _UNKNOWN)
        stuck = row["waits_for"] not in ("", "room")
        if self._left and (now - why.at > AGAIN_S or (stuck and not why.words)):
            self._left -= 1
            next_s = engine.tables.next_s(lane, clock)
            eta = None if next_s is None else round(now + next_s, 1)
            words = _words(engine, row["key"], clock) if stuck else ("", "")
            why = self._known[lane] = Why(now, *words, eta=eta)
        return why if stuck else why._replace(words="", help="")


def _words(engine: Engine, key: Any, clock: float) -> tuple[str, str]:
    """Why a task waits, and what would help."""
    explained = engine.explain(key, clock)
    if explained is None:
        return "", ""
    words = [explained.why, *map(str, explained.lacks[:2])]
    return ". ".join(filter(None, words)), explained.help
