"""Sessions of clients: what makes a command that is sent twice happen once. Pure.

A client numbers its commands. The session keeps the outcome of each until the client
says that it has it, and answers a number that comes again with that. Sessions end by
the time of the log, which is the same on every node.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dtf_dask.ha.ledger.outcomes import Code, Outcome, refused

SESSIONS_MAX = 100_000
OUTCOMES_MAX = 16_384
"""Of one session: the distance between its oldest kept and its newest number."""

_TAKEN = Outcome(Code.CONFLICT)
_TOO_MANY = refused(f"the ledger has {SESSIONS_MAX} sessions: no more are opened")
TOO_FAR_AHEAD = refused(
    f"{OUTCOMES_MAX} commands of this session have outcomes that the client has not"
    " said it received"
)


@dataclass(slots=True)
class Session:
    """What is known of one client.

    Parameters
    ----------
    ttl_ms, expires_at_ms : int
        How long it lives without a command, and until when, in the time of the log.
    first : int
        The lowest number of which the client may still want the outcome.
    outcomes : dict of int to Outcome
        Of the numbers from ``first`` on that were done.
    """

    ttl_ms: int
    expires_at_ms: int
    first: int = 1
    outcomes: dict[int, Outcome] = field(default_factory=dict)

    def forget_below(self, number: int) -> None:
        """Drop the outcomes that the client has received."""
        outcomes = self.outcomes
        if number - self.first > len(outcomes):
            self.outcomes = {n: one for n, one in outcomes.items() if n >= number}
        else:
            for done in range(self.first, number):
                outcomes.pop(done, None)
        self.first = number


class Sessions:
    """All sessions by their ids."""

    __slots__ = ("_next_expiry_ms", "by_id")

    def __init__(self) -> None:
        self.by_id: dict[str, Session] = {}
        # No session ends before that; one may end later, since commands prolong it.
        self._next_expiry_ms = 0

    def begin(self, session_id: str, ttl_ms: int, now_ms: int) -> Outcome:
        """Open a session; one that is there is somebody else's: `CONFLICT`.

        Were it prolonged instead, two clients could take each other's outcomes for
        their own. It is opened once only, since an opening that is repeated late could
        bring back one that has expired, without what had been done in it.
        """
        if session_id in self.by_id:
            return _TAKEN
        if len(self.by_id) >= SESSIONS_MAX:
            return _TOO_MANY
        expires_at_ms = now_ms + ttl_ms
        self.by_id[session_id] = Session(ttl_ms, expires_at_ms)
        self._next_expiry_ms = min(self._next_expiry_ms, expires_at_ms)
        return Outcome(Code.OK)

    def close(self, session_id: str) -> Outcome:
        """End a session: whether there was one."""
        return Outcome(Code.OK, self.by_id.pop(session_id, None) is not None)

    def expire(self, now_ms: int) -> None:
        """End the sessions whose time is over."""
        if now_ms < self._next_expiry_ms:
            return
        over = [i for i, one in self.by_id.items() if one.expires_at_ms <= now_ms]
        for session_id in over:
            del self.by_id[session_id]
        ends = (one.expires_at_ms for one in self.by_id.values())
        self._next_expiry_ms = min(ends, default=2**63)

    def copied(self) -> dict[str, Session]:
        """The sessions as they are now, whatever comes."""
        return {
            session_id: Session(
                one.ttl_ms, one.expires_at_ms, one.first, one.outcomes.copy()
            )
            for session_id, one in self.by_id.items()
        }

    def load(self, session_id: str, session: Session) -> None:
        """Take in a session of a snapshot."""
        self.by_id[session_id] = session
