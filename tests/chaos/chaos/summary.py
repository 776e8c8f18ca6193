"""What a trial came to, for people and as JSON."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any

_SHOWN_MAX = 20


@dataclass(slots=True)
class Summary:
    """Figures of a trial, and the rules that were broken.

    Parameters
    ----------
    gaps_s, client_gaps_s
        By kind of fault, the longest time of each without an acknowledged write: of
        all clients together, and of the one that fared worst.
    compared
        How often the hashes of all nodes were compared, at equal indexes.
    back_s
        How long after the last fault was mended every client had written.
    late_s, sync_s
        How the machine fared: how late the loop of clients and proxies was at most,
        and the slowest sync of a small file.
    """

    seed: int
    nodes: int
    seconds: float = 0.0
    operations: int = 0
    acknowledged: int = 0
    unknown: int = 0
    refused: int = 0
    unread: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    gaps_s: dict[str, list[float]] = field(default_factory=dict)
    client_gaps_s: dict[str, list[float]] = field(default_factory=dict)
    terms: int = 0
    members_changed: int = 0
    restored: int = 0
    restarts: int = 0
    compared: int = 0
    state_hash: str = ""
    applied: int = 0
    marks: int = 0
    large: int = 0
    keys_checked: int = 0
    undecided: list[str] = field(default_factory=list)
    back_s: float = 0.0
    late_s: float = 0.0
    sync_s: float = 0.0
    skipped: dict[str, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    kept: str = ""

    def gap(self, kind: str, of_all_s: float, of_one_s: float) -> None:
        """A fault kept clients from writing so long."""
        self.faults[kind] += 1
        self.gaps_s.setdefault(kind, []).append(round(of_all_s, 3))
        self.client_gaps_s.setdefault(kind, []).append(round(of_one_s, 3))

    @property
    def longest_gap_s(self) -> float:
        """Of all faults."""
        return max((max(gaps) for gaps in self.gaps_s.values()), default=0.0)

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        found = asdict(self)
        found["faults"] = dict(self.faults)
        found["longest_gap_s"] = self.longest_gap_s
        found["linearizable"] = not (self.broken or self.undecided)
        return found

    def lines(self) -> list[str]:
        """For people."""
        lines = [
            f"seed {self.seed}, {self.nodes} nodes, {self.seconds:.0f} s",
            f"operations: {self.operations}; {self.acknowledged} acknowledged,"
            f" {self.unknown} unknown, {self.refused} refused, {self.unread} unread",
            "faults: how many; the median and the longest time without a write of any"
            " client; of the client that fared worst",
        ]
        for kind, gaps in sorted(self.gaps_s.items()):
            ones = self.client_gaps_s[kind]
            lines.append(
                f"  {kind}: {len(gaps)}; {median(gaps):.2f} s, {max(gaps):.2f} s;"
                f" {median(ones):.2f} s, {max(ones):.2f} s"
            )
        lines += [f"  {kind}: none; {why}" for kind, why in self.skipped.items()]
        lines += [
            f"terms: {self.terms}; starts of nodes after a death: {self.restarts};"
            f" nodes replaced: {self.members_changed}; brought up by a snapshot of"
            f" others: {self.restored}",
            f"all clients had written {self.back_s:.2f} s after the last fault was"
            " mended",
            f"the machine: the loop of clients and proxies was {self.late_s:.1f} s late"
            f" at most, the slowest sync took {self.sync_s:.1f} s",
            f"marks that had to be there at the end: {self.marks}; values of more than"
            f" 1 MB written, and read again: {self.large}",
            f"hashes of all nodes compared {self.compared} times; at entry"
            f" {self.applied}: {self.state_hash[:16] or 'none'}",
            f"linearizable: {self.keys_checked} keys decided",
        ]
        if self.undecided:
            lines.append(f"NOT DECIDED: {len(self.undecided)} keys")
            lines += [f"  {one}" for one in self.undecided[:_SHOWN_MAX]]
        if self.broken:
            lines.append(f"BROKEN: {len(self.broken)} rules")
            lines += [f"- {one}" for one in self.broken[:_SHOWN_MAX]]
        if self.kept:
            lines.append(f"history and what the nodes said: {self.kept}")
        lines.append("FAILED" if self.failed else "all rules held")
        return lines

    @property
    def failed(self) -> bool:
        """Whether somebody has to look."""
        return bool(self.broken or self.undecided)


def longest_gap_s(times: Sequence[float], begin: float, end: float) -> float:
    """The longest time in a span that has none of the times in it."""
    inside = times[bisect_left(times, begin) : bisect_right(times, end)]
    edges = [begin, *inside, end]
    return max(b - a for a, b in pairwise(edges))
