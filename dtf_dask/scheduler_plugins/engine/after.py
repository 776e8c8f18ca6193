"""Order without data: tasks that start only after others have ended. Pure.

An ending of any kind counts. Who is named and unknown, or waits for itself in a circle,
is refused at submission: it would wait for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from dtf_dask.scheduler_plugins.engine.terms import Ask, Key, Reject

_SHOWN_MAX = 5


class Afters:
    """Who waits for whom, of the tasks that were submitted and have not ended."""

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._waits: dict[Key, dict[Key, None]] = {}
        self._followers: dict[Key, list[Key]] = {}

    def register(
        self, asks: Iterable[Ask], known: Callable[[Key], bool]
    ) -> dict[Key, Reject]:
        """Take in what came together; returns those that are refused.

        Parameters
        ----------
        known
            Whether a task exists and has not ended.
        """
        refused: dict[Key, Reject] = {}
        together = [ask for ask in asks if ask.after]
        for ask in together:
            unknown = [key for key in ask.after if not known(key)]
            if len(ask.after) > self._count_max:
                refused[ask.key] = Reject(
                    ask.key,
                    "impossible",
                    f"after= names {len(ask.after)} tasks; at most {self._count_max}",
                )
            elif unknown:
                refused[ask.key] = Reject(
                    ask.key, "unknown", f"after= names no task: {_shown(unknown)}"
                )
            else:
                self._waits[ask.key] = dict.fromkeys(ask.after)
        for circle in self._circles([ask.key for ask in together]):
            words = " after ".join(map(str, [*circle[:_SHOWN_MAX], circle[0]]))
            for key in circle:
                del self._waits[key]
                refused[key] = Reject(key, "cycle", f"after= closes a circle: {words}")
        for ask in together:
            for key in self._waits.get(ask.key, ()):
                self._followers.setdefault(key, []).append(ask.key)
        return refused

    def left(self, key: Key) -> tuple[Key, ...]:
        """The tasks for whose ending it waits."""
        return tuple(self._waits.get(key, ()))

    def over(self, key: Key) -> list[Key]:
        """A task has ended for good; returns those that wait for nobody now."""
        if not self._followers:
            return []  # nobody waits for anybody
        free = []
        for follower in self._followers.pop(key, ()):
            waits = self._waits.get(follower)
            if waits is None:
                continue
            waits.pop(key, None)
            if not waits:
                del self._waits[follower]
                free.append(follower)
        self._waits.pop(key, None)
        return free

    def _circles(self, starts: list[Key]) -> list[list[Key]]:
        """Circles that do not touch each other, through any of these tasks."""
        circles: list[list[Key]] = []
        done: set[Key] = set()
        for start in starts:
            way: dict[Key, Iterator[Key]] = {start: iter(self._waits.get(start, ()))}
            while way:
                key = next(reversed(way))
                before = next(way[key], None) if key not in done else None
                if before is None:
                    done.add(key)
                    del way[key]
                elif before in way:
                    keys = list(way)
                    circles.append(keys[keys.index(before) :])
                    done.update(circles[-1])
                elif before not in done:
                    way[before] = iter(self._waits.get(before, ()))
        return circles


def _shown(keys: list[Key]) -> str:
    few = ", ".join(str(key)[:100] for key in keys[:_SHOWN_MAX])
    more = len(keys) - _SHOWN_MAX
    return few + (f" and {more} more" if more > 0 else "")
