"""How much room the ledger has, for what may be refused. Pure.

A proposal that the ledger does not take ends the scheduler, and would end each that
comes after it. So what only adds is refused long before: submissions first, then all
that primitives keep, retries, and wishes for what nobody knows; at last wishes for what
is known, which come with what was taken out of a queue. What lets go (releases,
cancels, unlocks) always has room; of releases and cancels that clients ask faster than
they make room, what comes next waits for it.
"""

from __future__ import annotations

from dtf_dask.ha.ledger.records import RECORDS_BYTES_MAX

SUBMITTED_BYTES_MAX = RECORDS_BYTES_MAX - 192 * 2**20
KEPT_BYTES_MAX = RECORDS_BYTES_MAX - 128 * 2**20
"""Beyond it nothing is kept that is not needed to let go of what there is. A variable
may have 64 MiB, and the node keeps 32 MiB for others."""
WISHED_BYTES_MAX = RECORDS_BYTES_MAX - 80 * 2**20
LETTING_GO_BYTES_MAX = RECORDS_BYTES_MAX - 48 * 2**20
"""Beyond it clients' releases wait: what the scheduler itself writes has the rest."""


class LedgerRoom:
    """What the ledger holds: as was said last, and what came on top since.

    Examples
    --------
    >>> room = LedgerRoom()
    >>> room.holds(SUBMITTED_BYTES_MAX - 10)
    >>> room.asked(10)
    >>> bool(room.none_to_submit(0)), bool(room.none_to_submit(1))
    (False, True)
    >>> room.none_to_keep(), room.none_to_let_go(10)
    ('', '')
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

    def none_to_wish(self) -> str:
        """Why nobody may want any more what is known; empty if they may."""
        if self._held + self._under_way <= WISHED_BYTES_MAX:
            return ""
        return (
            f"the ledger is full, beyond {WISHED_BYTES_MAX >> 20} MiB: let go of other"
            " futures, delete variables; that is never refused"
        )

    def none_to_let_go(self, size: int) -> str:
        """Why an operation that lets go must wait; empty if it need not."""
        if self._held + self._under_way + size <= LETTING_GO_BYTES_MAX:
            return ""
        return (
            f"the ledger is full, beyond {LETTING_GO_BYTES_MAX >> 20} MiB, until what"
            " was let go before is out of it"
        )
