"""How much room the ledger has, for what may be refused. Pure.

A proposal that the ledger does not take ends the scheduler, and would end each that
comes after it. So what only adds is refused long before: submissions first, then all
that primitives keep. What lets go (releases, cancels, unlocks) always has room.
"""

from __future__ import annotations

from dtf_dask.ha.ledger.records import RECORDS_BYTES_MAX

SUBMITTED_BYTES_MAX = RECORDS_BYTES_MAX - 192 * 2**20
KEPT_BYTES_MAX = RECORDS_BYTES_MAX - 128 * 2**20
"""Beyond it nothing is kept that is not needed to let go of what there is. A variable
may have 64 MiB, and the node keeps 32 MiB for others."""


class LedgerRoom:
    """What the ledger holds: as was said last, and what came on top since.

    Examples
    --------
    >>> room = LedgerRoom()
    >>> room.holds(SUBMITTED_BYTES_MAX - 10)
    >>> room.asked(10)
    >>> bool(room.none_to_submit(0)), bool(room.none_to_submit(1))
    (False, True)
    >>> room.none_to_keep()
    ''
    """

    def __init__(self) -> None:
        self._held = self._under_way = self._done = 0

    def holds(self, held_bytes: int) -> None:
        """The node said how much is in its ledger; what was done before is in that."""
        self._under_way -= self._done
        self._held, self._done = held_bytes, 0

    def asked(self, size: int) -> None:
        """So much is on its way to the ledger."""
        self._under_way += size

    def done(self, size: int) -> None:
        """So much of that is in the ledger."""
        self._done += size

    def none_to_submit(self, size: int) -> str:
        """Why nobody may submit so many bytes; empty if one may."""
        if self._held + self._under_way + size <= SUBMITTED_BYTES_MAX:
            return ""
        return (
            f"the ledger is full, beyond {SUBMITTED_BYTES_MAX >> 20} MiB: let go of"
            " futures, wait until tasks are done, or submit less at once"
        )

    def none_to_keep(self) -> str:
        """Why no value, lock or the like may be kept any more; empty if they may."""
        if self._held + self._under_way <= KEPT_BYTES_MAX:
            return ""
        return (
            f"the ledger is full, beyond {KEPT_BYTES_MAX >> 20} MiB: delete variables,"
            " take items out of queues, let go of futures; that is never refused"
        )
