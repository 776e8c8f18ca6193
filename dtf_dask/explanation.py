"""Why a task waits, or why it runs where it runs, as the scheduler tells it. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# Dask's states where the engine has none, in words that users know.
_STATES = {
    "no-worker": "waiting",
    "queued": "waiting",
    "processing": "running",
    "memory": "done",
    "erred": "failed",
    "forgotten": "released",
}
_NOTHING = "any worker"  # the scheduler's words for a task that needs nothing
_VERBS = {
    "waiting": "waits",
    "held": "is held back",
    "running": "runs",
    "done": "is done",
    "failed": "failed",
    "released": "is released: nobody wants its result",
    "unknown": "is unknown to this scheduler",
}


@dataclass(frozen=True, slots=True)
class Lack:
    """Workers that cannot run a task: how many, one of them, and what they lack."""

    workers: int
    example: str
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        more = f" and {self.workers - 1:,} more" if self.workers > 1 else ""
        return f"worker {self.example}{more}: {'; '.join(self.reasons)}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the scheduler knows of one task; ``print`` it.

    The engine makes it as well, of what it knows itself: see `of`.

    Parameters
    ----------
    state
        "waiting", "held" (for its gang, for what it runs after, for another attempt),
        "running", "done", "failed", "released" or "unknown".
    needs
        What it asks of a worker, in words.
    worker
        Where it runs.
    lacks
        The workers that cannot run it, the most frequent reason first.
    busy
        How many workers could run it, and have no room now.
    position
        How many more urgent tasks want the same workers; None if nobody can tell.
    eta_s
        Seconds until it may start, by what such tasks took before; None as above.
    why
        What it waits for, or what spoke for its worker.
    help
        What would let it run.
    warning
        What was said when it was submitted: that its deadline cannot be met, say.
    error
        What went wrong with its last attempt.

    Examples
    --------
    >>> print(Explanation("train", "waiting", needs="gpu.count >= 1",
    ...                   lacks=(Lack(3, "w1", ("gpu.count is 0",)),)))
    train waits
      needs   gpu.count >= 1
      cannot  worker w1 and 2 more: gpu.count is 0
    """

    key: Hashable
    state: str
    needs: str = ""
    worker: str = ""
    lacks: tuple[Lack, ...] = ()
    busy: int = 0
    position: int | None = None
    eta_s: float | None = None
    why: str = ""
    help: str = ""
    warning: str = ""
    error: str = ""

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Explanation:
        """What the scheduler's message ``dtf_explain`` answers for one task."""
        state = str(answer.get("state", "unknown"))
        return cls(
            key=_key(answer.get("key")),
            state=_STATES.get(state, state),
            needs=answer.get("needs") or "",
            worker=answer.get("worker") or "",
            lacks=tuple(
                Lack(lack["workers"], lack["example"], tuple(lack["reasons"]))
                for lack in answer.get("lacks") or ()
            ),
            busy=answer.get("busy") or 0,
            position=answer.get("position"),
            eta_s=answer.get("eta_s"),
            why=answer.get("why") or "",
            help=answer.get("help") or "",
            warning=answer.get("warning") or "",
            error=answer.get("error") or "",
        )

    @property
    def headline(self) -> str:
        """What it does, in one line."""
        verb = _VERBS.get(self.state, self.state)
        where = f" on worker {self.worker}" if self.worker else ""
        return f"{self.key} {verb}{where}"

    def rows(self) -> Iterator[tuple[str, str]]:
        """What there is to say of it, each with its title."""
        told = {
            "needs": "" if self.needs == _NOTHING else self.needs,
            "why": self.why if self.state != "unknown" else "",
            "in front": self._in_front(),
            "busy": self._busy(),
            "cannot": self.lacks,
            "warning": self.warning,
            "error": self.error,
            "to do": self.help,
        }
        for title, words in told.items():
            if isinstance(words, str):
                words = (words,) if words else ()
            for number, one in enumerate(words):
                yield ("" if number else title), str(one)

    def _in_front(self) -> str:
        parts = []
        if self.position is not None:
            parts.append(counted(self.position, "task") if self.position else "no task")
        if self.eta_s is not None:
            parts.append(f"may start {soon(self.eta_s)}")
        return "; ".join(parts)

    def _busy(self) -> str:
        if not self.busy or self.state != "waiting":
            return ""
        have = "has" if self.busy == 1 else "have"
        return f"{counted(self.busy, 'worker')} could run it and {have} no room now"

    def __str__(self) -> str:
        rows = list(self.rows())
        width = max((len(title) for title, _ in rows), default=0)
        return "\n".join(
            [self.headline, *(f"  {title:{width}}  {words}" for title, words in rows)]
        )


def soon(seconds: float) -> str:
    """When something is expected: as much as is worth saying of a guess.

    Examples
    --------
    >>> soon(0.2), soon(75), soon(400), soon(9000), soon(400_000)
    ('now', 'in about 75 s', 'in about 7 min', 'in about 2.5 h', 'in about 4.6 d')
    """
    return "now" if seconds < 0.5 else f"in about {roughly(seconds)}"


def roughly(seconds: float) -> str:
    """A duration as people say it.

    Examples
    --------
    >>> roughly(0), roughly(89.6), roughly(3599), roughly(5400), roughly(200_000)
    ('0 s', '90 s', '60 min', '1.5 h', '2.3 d')
    """
    for unit, size, most in (("s", 1, 100), ("min", 60, 61), ("h", 3600, 48)):
        if seconds / size < most:
            return f"{seconds / size:.{1 if unit == 'h' else 0}f} {unit}"
    return f"{seconds / 86_400:.1f} d"


def counted(count: int, noun: str) -> str:
    """A number of things.

    Examples
    --------
    >>> counted(1, "task"), counted(2000, "task")
    ('1 task', '2,000 tasks')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _key(key: Any) -> Hashable:
    """A key as it was before it travelled: tuples come as lists."""
    return tuple(_key(part) for part in key) if isinstance(key, list) else key
