"""Whether who is read still lives: he himself, and the node beside him. Pure."""

from __future__ import annotations

from monitor_app.feed.reasons import reason

ASK_S = 1.0
"""Between two questions how the coordinators stand."""
ANSWER_S = 0.6
"""An answer takes no longer; over a connection that was kept it is asked twice."""
SILENT_S = 1.2
"""Who does not answer, and has told nothing for so long, hangs."""
NODE_SILENT_S = 3.0
"""Nodes say each second how they stand: one that does not for so long hangs."""


class Pulse:
    """What the answers say of who gives them.

    Parameters
    ----------
    now
        When he began to be read.

    Examples
    --------
    >>> pulse = Pulse(0.0)
    >>> pulse.due(0.0), pulse.wrong(0.0)
    (True, '')
    >>> pulse.answered(1790000000.0, 0.0)
    >>> pulse.due(0.5), pulse.wrong(1.0)
    (False, '')
    >>> pulse.answered(1790000000.0, 3.5)
    >>> pulse.wrong(3.5)
    'its node hangs'
    """

    def __init__(self, now: float) -> None:
        self._asked_at: float | None = None
        self._heard_at = self._moved_at = now
        self._node_at: object = None
        self._unanswered = False

    def due(self, now: float) -> bool:
        """Whether he is to be asked now."""
        return self._asked_at is None or now - self._asked_at >= ASK_S

    def heard(self, now: float) -> None:
        """He told something by himself."""
        self._heard_at = now

    def answered(self, node_at: object, now: float) -> None:
        """He answered; ``node_at`` is when his node said last how it stands."""
        self._asked_at = self._heard_at = now
        self._unanswered = False
        if node_at is None or node_at != self._node_at:
            self._node_at, self._moved_at = node_at, now

    def unanswered(self, now: float) -> None:
        """He did not."""
        self._asked_at, self._unanswered = now, True

    def wrong(self, now: float) -> str:
        """Why he is to be left, if there is another one; empty if he is not."""
        if self._unanswered and now - self._heard_at >= SILENT_S:
            return reason("it does not answer")
        if not self._unanswered and now - self._moved_at >= NODE_SILENT_S:
            return reason("its node hangs")
        return ""
