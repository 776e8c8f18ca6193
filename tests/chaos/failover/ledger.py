"""What the clients of a trial saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from failover import tasks

_NOTHING: Mapping[str, Sequence[str]] = {}


@dataclass(slots=True)
class Ledger:
    """What the clients saw."""

    folder: Path
    """Where attempts are counted."""
    broken: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    """What was done, by kind."""
    checked: int = 0
    """Tasks whose attempts were counted."""
    reruns: list[str] = field(default_factory=list)
    """Tasks that ran more often than they were to, for no reason."""
    excused: Counter[str] = field(default_factory=Counter)
    """How many ran more often, by reason; there is none where no worker died."""
    deaths: list[tuple[float, int]] = field(default_factory=list)
    """When workers were killed, and the ids of their processes."""

    def died_since(self, began: float) -> bool:
        """Whether a worker was killed then, or is."""
        return any(at >= began - 1.0 for at, _ in self.deaths)

    def attempts(
        self,
        began: float,
        wanted: Mapping[str, int],
        needed_by: Mapping[str, Sequence[str]] = _NOTHING,
    ) -> None:
        """Compare how often tasks ran with how often they were to.

        Parameters
        ----------
        needed_by
            Tasks whose inputs they are: with those they are computed again.
        """
        ran = {key: tasks.attempts(self.folder, key) for key in wanted}
        again = {key for key in wanted if len(ran[key]) > wanted[key]}
        self.checked += len(wanted)
        self.broken += [
            f"{key} has a result, and ran {len(ran[key])} times"
            for key, count in wanted.items()
            if len(ran[key]) < count
        ]
        reasons = self._reasons(ran, again, began) if again else {}
        for key in sorted(again):
            reason = _inherited(key, reasons, needed_by, again)
            if reason:
                self.excused[reason] += 1
            else:
                self.reruns.append(
                    f"{key} ran {len(ran[key])} times, not {wanted[key]}:"
                    f" {[(at, max(pids)) for at, pids in ran[key]]}"
                )

    def _reasons(
        self, ran: Mapping[str, list[tasks.Attempt]], again: set[str], began: float
    ) -> dict[str, str]:
        """Why tasks themselves, rather than what needs them, were computed again."""
        if not self.died_since(began):
            return {}
        dead = {pid for _, pid in self.deaths}
        dropped = self._dropped()
        found = {}
        for key in again:
            if any(one.pids & dead for one in ran[key]):
                found[key] = "its worker died"
            elif key in dropped:
                found[key] = "its copy was moved to a worker that died"
        return found

    def _dropped(self) -> set[str]:
        try:
            return set((self.folder / tasks.DROPPED).read_text().split("\n"))
        except FileNotFoundError:
            return set()


def _inherited(
    key: str,
    reasons: Mapping[str, str],
    needed_by: Mapping[str, Sequence[str]],
    again: set[str],
) -> str:
    """Its own reason, or that something was computed again which needs it."""
    if key in reasons:
        return reasons[key]
    needs = [one for one in needed_by.get(key, ()) if one in again]
    if any(_inherited(one, reasons, needed_by, again) for one in needs):
        return "what needs it was computed again"
    return ""
