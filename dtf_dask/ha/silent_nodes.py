"""Which nodes have just been silent, so that nobody waits for them again. Pure.

The kernel of a node that is stopped goes on taking connections, and followers name it
as the leader until they notice: a client that believes them waits once more.
"""

from __future__ import annotations

from collections.abc import Sequence

SILENT_S = 3.0
"""By then the others have elected another leader, or the node is back."""


class SilentNodes:
    """Nodes that did not answer, each with the time until which it is passed over."""

    def __init__(self) -> None:
        self._until: dict[int, float] = {}

    def note(self, node: int, now_s: float) -> None:
        """A node did not answer."""
        self._until[node] = now_s + SILENT_S

    def was_silent(self, node: int, now_s: float) -> bool:
        """Whether a node was silent a short while before that time."""
        return now_s < self._until.get(node, now_s)

    def after(self, node: int, nodes: Sequence[int], now_s: float) -> int:
        """The next of the nodes in their order, if there is one that was not silent.

        Examples
        --------
        >>> silent = SilentNodes()
        >>> silent.note(2, now_s=0.0)
        >>> silent.after(1, [1, 2, 3], now_s=1.0), silent.after(1, [1, 2, 3], now_s=9.0)
        (3, 2)
        """
        at = nodes.index(node)
        others = [*nodes[at + 1 :], *nodes[:at]]
        speaking = [one for one in others if not self.was_silent(one, now_s)]
        return (speaking or others or [node])[0]
