"""What a client has asked of a cluster that may not be in its ledger yet. Pure.

Operations are numbered from 1 without a gap and held until the cluster has them, so
that they can be said again to the next leader, in order. Beside them stand the keys of
what is submitted: from the moment that its future is there, before anything is sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dtf_dask.errors import ProtocolError
from dtf_dask.submission.table import Key

OPERATIONS_MAX = 20_000
BYTES_MAX = 256 * 2**20
"""Beyond these a submission waits until the ledger has taken some."""
HARD_FACTOR = 4
"""Where nobody can wait, on the client's loop, so much more is taken, then refused."""


@dataclass(frozen=True, slots=True)
class Given:
    """One operation under its number.

    Parameters
    ----------
    keys
        What it submits.
    charged
        Bytes that its submission took of the room, or 0.
    """

    seq: int
    operation: bytes
    keys: tuple[Key, ...] = ()
    charged: int = 0


class Outbox:
    """The operations of one client.

    Examples
    --------
    >>> box = Outbox()
    >>> box.begin(["x"])
    >>> box.add(b"submit x", keys=("x",)).seq
    1
    >>> box.begun("x"), box.pending
    (True, 1)
    >>> [one.seq for one in box.acknowledge(1)]
    [1]
    >>> box.begun("x"), box.pending
    (False, 0)
    """

    def __init__(self) -> None:
        self.last = 0
        self._held: dict[int, Given] = {}
        self._begun: dict[Key, int] = {}
        self.charged_bytes = self.charged_count = 0

    # -- what is submitted ---------------------------------------------------------

    def begin(self, keys: Iterable[Key]) -> None:
        """These are about to be submitted: nobody but this client knows of them."""
        begun = self._begun
        for key in keys:
            begun[key] = begun.get(key, 0) + 1

    def end(self, keys: Iterable[Key]) -> None:
        """These were taken, or come to nothing."""
        begun = self._begun
        for key in keys:
            count = begun.get(key, 0)
            if count > 1:
                begun[key] = count - 1
            else:
                begun.pop(key, None)

    def begun(self, key: Key) -> bool:
        """Whether a submission of a key is under way."""
        return key in self._begun

    # -- room ----------------------------------------------------------------------

    def has_room(self, size: int, *, hard: bool = False) -> bool:
        """Whether one more submission may be made; a single one always may."""
        factor = HARD_FACTOR if hard else 1
        return not self.charged_count or (
            self.charged_count < factor * OPERATIONS_MAX
            and self.charged_bytes + size <= factor * BYTES_MAX
        )

    def charge(self, size: int) -> None:
        """A submission takes its room, until its operation is let go."""
        self.charged_count += 1
        self.charged_bytes += size

    def discharge(self, size: int) -> None:
        """A submission comes to nothing, and gives back its room."""
        self.charged_count -= 1
        self.charged_bytes -= size

    # -- operations ----------------------------------------------------------------

    @property
    def pending(self) -> int:
        """How many operations are not known to be in the ledger."""
        return len(self._held)

    def add(
        self, operation: bytes, keys: tuple[Key, ...] = (), charged: int = 0
    ) -> Given:
        """Number an operation, and hold it."""
        self.last += 1
        given = self._held[self.last] = Given(self.last, operation, keys, charged)
        return given

    def acknowledge(self, upto: int) -> list[Given]:
        """All up to this number are in the ledger; returns what is let go.

        Raises
        ------
        ProtocolError
            There is no such number yet: somebody else has given one.
        """
        if upto > self.last:
            raise ProtocolError(
                f"the cluster has operation {upto} of a client that gave {self.last}"
            )
        done: list[Given] = []
        for seq in self._held:  # in their order
            if seq > upto:
                break
            done.append(self._held[seq])
        for given in done:
            self._let_go(given)
        return done

    def refuse(self, seq: int) -> Given | None:
        """One was refused for good; returns it, if it was still held."""
        given = self._held.get(seq)
        if given is not None:
            self._let_go(given)
        return given

    def _let_go(self, given: Given) -> None:
        del self._held[given.seq]
        self.end(given.keys)
        if given.charged:
            self.discharge(given.charged)

    def held(self) -> list[Given]:
        """All that the next leader must be told, in order."""
        return list(self._held.values())

    def settled(self, upto: int) -> bool:
        """Whether nothing up to this number is held any more."""
        first = next(iter(self._held), None)
        return first is None or first > upto
