"""What a process remembers of the clusters that it was connected to. Pure.

Who led last is asked first. A cluster stays the one that was met first: another one at
the same addresses has other tasks. And a leader of an older term is none any more,
whatever it believes.
"""

from __future__ import annotations

from dataclasses import dataclass

from dtf_dask.comm.address import Contact, Coordinator
from dtf_dask.comm.greeting import Greeting, Objection

CONTACTS_MAX = 64
_WORDS_LENGTH_MAX = 4_000


@dataclass(slots=True)
class _Memory:
    leader: Coordinator | None = None
    cluster: str = ""
    term: int = 0
    said: str = ""


class Known:
    """Remembers `CONTACTS_MAX` clusters, by the address that they are reached at."""

    def __init__(self) -> None:
        self._by_contact: dict[Contact, _Memory] = {}

    def leader(self, contact: Contact) -> Coordinator | None:
        """Who led when last a connection was made; None if none was."""
        memory = self._by_contact.get(contact)
        return memory.leader if memory else None

    def objection(self, contact: Contact, greeting: Greeting) -> Objection | None:
        """Why who greets so is not the leader that is looked for; None if it is."""
        memory = self._by_contact.get(contact, _Memory())
        cluster = greeting.name.cluster
        if contact.cluster and cluster != contact.cluster:
            return Objection(
                f"is of cluster {cluster!r}, not of {contact.cluster!r}", final=True
            )
        if memory.cluster and cluster != memory.cluster:
            return Objection(
                f"is of cluster {cluster!r}, and this process was connected to"
                f" {memory.cluster!r} at this address: start it anew if that is meant",
                final=True,
            )
        if greeting.term < memory.term:
            return Objection(
                f"led in term {greeting.term}, and there was a leader of term"
                f" {memory.term} since"
            )
        return None

    def met(
        self, contact: Contact, coordinator: Coordinator, greeting: Greeting
    ) -> None:
        """A connection to the leader was made."""
        memory = self._of(contact)
        memory.leader = coordinator
        memory.cluster = greeting.name.cluster
        memory.term = max(memory.term, greeting.term)
        memory.said = ""

    def heard_of(
        self, contact: Contact, coordinator: Coordinator | None, term: int
    ) -> None:
        """Somebody leads this term, who has not been met: no older leader is one.

        Without a coordinator all are asked at once.
        """
        memory = self._of(contact)
        if term > memory.term:
            memory.term = term
            memory.leader = coordinator

    def said(self, contact: Contact) -> str:
        """What the coordinators said when last a search ended without a leader."""
        memory = self._by_contact.get(contact)
        return memory.said if memory else ""

    def unmet(self, contact: Contact, said: str) -> None:
        """A search ended without a leader."""
        self._of(contact).said = said[:_WORDS_LENGTH_MAX]

    def _of(self, contact: Contact) -> _Memory:
        memory = self._by_contact.pop(contact, None) or _Memory()
        self._by_contact[contact] = memory  # the last of the dict: the newest
        while len(self._by_contact) > CONTACTS_MAX:
            del self._by_contact[next(iter(self._by_contact))]
        return memory
