"""What a client's submissions have come to: `ClientStanding`, for people. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClientStanding:
    """How much of what a client asked is in the cluster's ledger.

    Parameters
    ----------
    ledger
        Whether the cluster keeps one. If not, nothing outlives its scheduler.
    connected
        Whether there is a scheduler now that leads.
    cluster, term
        Whose it is, and since which term it leads; as of the last one.
    pending
        How many operations are not known to be in the ledger.
    waiting
        Why they wait, if the cluster said so: that there is no quorum, for one.

    Examples
    --------
    >>> print(ClientStanding(True, True, "lab", 3, 0, ""))
    all that was submitted is in the ledger of lab (term 3)
    >>> print(ClientStanding(True, False, "lab", 3, 12, ""))
    12 operations are not in the ledger of lab yet: no scheduler leads
    """

    ledger: bool
    connected: bool
    cluster: str
    term: int
    pending: int
    waiting: str

    def __str__(self) -> str:
        """Say it in one line."""
        if not self.ledger:
            return (
                "the scheduler keeps no ledger: what is submitted lives as long as it"
            )
        cluster = self.cluster or "the cluster"
        if not self.pending and self.connected:
            term = f"(term {self.term})"
            return f"all that was submitted is in the ledger of {cluster} {term}"
        why = self.waiting or ("" if self.connected else "no scheduler leads")
        count = (
            "1 operation is"
            if self.pending == 1
            else f"{self.pending or 'no'} operations are"
        )
        text = (
            f"{count} not in the ledger of {cluster} yet"
            if self.pending
            else f"all that was submitted is in the ledger of {cluster}"
        )
        return f"{text}: {why}" if why else text
