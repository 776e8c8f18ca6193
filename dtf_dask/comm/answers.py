"""What the coordinators answered while a leader is searched for. Pure."""

from __future__ import annotations

from dtf_dask.comm.address import Contact, Coordinator
from dtf_dask.comm.greeting import Objection

GIVES_UP_AFTER_S = 2.0
"""So long others may become the leader, if one of them can never be."""


class Answers:
    """The last answer of each coordinator, and whether there is hope.

    Parameters
    ----------
    began
        The time at which the search began.
    """

    def __init__(self, contact: Contact, began: float) -> None:
        self._contact = contact
        self._began = began
        self._last: dict[Coordinator, Objection] = {}

    def __len__(self) -> int:
        """How many coordinators have answered."""
        return len(self._last)

    def note(self, coordinator: Coordinator, objection: Objection) -> None:
        """Take in what one said."""
        self._last[coordinator] = objection

    def are_hopeless(self, now: float) -> bool:
        """Whether to wait any longer would be to wait for nothing.

        So it is if all have answered what waiting does not change. If only some have,
        the others have a little time to become the leader.
        """
        answers = self._last.values()
        if len(answers) < len(self._contact.coordinators):
            return False
        if all(one.final for one in answers):
            return True
        return any(one.final for one in answers) and (
            now - self._began >= GIVES_UP_AFTER_S
        )

    def text(self) -> str:
        """Who said what, for people."""
        said, silent = [], []
        for one in self._contact.coordinators:
            found = self._last.get(one)
            if found is None:
                silent.append(str(one))
            else:
                said.append(f"{one} {found.why}")
        if silent:
            said.append(f"{', '.join(silent)} did not answer yet")
        return "no coordinator leads: " + "; ".join(said)
