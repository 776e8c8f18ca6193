"""What a ledger is to those who use it, whether one node keeps it or five. Pure."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Literal, Protocol

from dtf_dask.ha.ledger.history import Changes, Compacted
from dtf_dask.ha.ledger.outcomes import Outcome, Stopped
from dtf_dask.ha.ledger.queries import Answer, Query
from dtf_dask.ha.ledger.references import Reference

Role = Literal["leader", "follower", "candidate", "pre-candidate", "learner"]


@dataclass(frozen=True, slots=True)
class LedgerStatus:
    """How a node of the ledger stands.

    Parameters
    ----------
    node, leader : int
        Ids; ``leader`` is 0 if the node knows none.
    role, term
        In Raft.
    commit, applied : int
        Up to which index entries are committed, and applied here.
    time_ms : int
        The time of the log.
    stopped : Stopped, optional
        Why the node applies nothing more.
    """

    node: int
    leader: int
    role: Role
    term: int
    commit: int
    applied: int
    time_ms: int
    stopped: Stopped | None = None


class Proposing(Protocol):
    """Who has commands done: what a session of a client needs of a ledger."""

    async def propose(
        self, commands: Sequence[bytes], timeout_s: float
    ) -> list[Outcome]:
        """Have commands of `encode_command` done, in their order: an outcome each.

        What is not answered in time is `UNKNOWN`: it may have been done, or will be.
        What nobody took up is `NOT_DONE`, with the reason.
        A command that is malformed is refused, and none of those with it is done.
        """


class Ledger(Proposing, Protocol):
    """Commands that are kept for good once they are answered, and reads of what is."""

    async def read(
        self, query: Query, timeout_s: float, stale_max_s: float | None = None
    ) -> Answer | None:
        """What the records say; None if no node could say it in time.

        The answer contains everything that was acknowledged to anybody before the call;
        or, if ``stale_max_s`` is given, what was so long ago.
        """

    def follow(
        self, namespace: str, prefix: str, after: int
    ) -> AsyncIterator[Changes | Compacted]:
        """Changes of records after an index, as they come.

        It ends after `Compacted`, which says where to begin anew.
        """

    async def put_content(
        self, content: bytes | BinaryIO, timeout_s: float
    ) -> Reference:
        """Have a majority of the nodes keep a content; commands may name it then.

        It stays for an hour, or as `NodeOptions` says, and as long as records refer to
        it. A file is read from its beginning.

        Raises
        ------
        ContentUnavailableError
            Most nodes could not keep it, or not in time.
        UsageError
            It is empty, or too large.
        """

    async def get_content(self, reference: Reference, timeout_s: float) -> bytes:
        """A content that a record refers to.

        Raises
        ------
        ContentUnavailableError
            No node could send it in time.
        """

    async def status(self) -> LedgerStatus:
        """How this node stands."""
