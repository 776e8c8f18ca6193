"""The state machine of a simulated node: registers, and what was applied in what order.

Written values are unique, and one that comes twice is applied once: proposals that a
network repeats are the business of sessions.
"""

from __future__ import annotations

from dtf_dask.ha.raft.messages import ConfigState


class Registers:
    """Values by key, as of an index.

    Attributes
    ----------
    chain : int
        Stands for everything that was applied, and its order.
    """

    __slots__ = ("chain", "config", "index", "seen", "values")

    def __init__(self) -> None:
        self.index = 0
        self.chain = 0
        self.values: dict[bytes, int] = {}
        self.seen: set[int] = set()
        self.config = ConfigState()

    def apply(self, term: int, payload: bytes) -> int | None:
        """Apply the next entry; the number of the write, None if it holds none."""
        self.index += 1
        self.chain = hash((self.chain, term, payload))
        if not payload:
            return None
        key, _, text = payload.partition(b"=")
        number = int(text)
        if number not in self.seen:
            self.seen.add(number)
            self.values[key] = number
        return number

    def pass_over(self, term: int, payload: bytes) -> None:
        """The next entry is not for the registers."""
        self.index += 1
        self.chain = hash((self.chain, term, payload))

    def copy(self) -> Registers:
        """The state as it is now."""
        other = Registers()
        other.index, other.chain, other.config = self.index, self.chain, self.config
        other.values, other.seen = dict(self.values), set(self.seen)
        return other
