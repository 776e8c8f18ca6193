"""Which nodes have said that they keep a content, and whether they are enough. Pure.

What a node says holds for a time: it keeps what it said that it keeps for twice as
long, whether a record refers to it or not (`content_sweep`).
"""

from __future__ import annotations

from collections import OrderedDict

from dtf_dask.ha.ledger.references import Reference
from dtf_dask.ha.raft.messages import ConfigState, NodeId


class Holders:
    """What nodes have said, and when.

    Parameters
    ----------
    valid_s
        For how long that holds.

    Examples
    --------
    >>> holders = Holders(valid_s=10.0)
    >>> content = Reference(b"a digest", 5)
    >>> holders.said(content, NodeId(2), now=100.0)
    >>> holders.of(content, now=109.0), holders.of(content, now=111.0)
    ({2}, set())
    """

    def __init__(self, valid_s: float) -> None:
        self._valid_s = valid_s
        self._said: OrderedDict[Reference, dict[NodeId, float]] = OrderedDict()
        """What was said last is the last."""

    def said(self, content: Reference, node: NodeId, now: float) -> None:
        """A node keeps a content; what holds no more is forgotten."""
        self._said.setdefault(content, {})[node] = now
        self._said.move_to_end(content)
        while not self.of(next(iter(self._said)), now):
            self._said.popitem(last=False)

    def of(self, content: Reference, now: float) -> set[NodeId]:
        """Those that keep it for sure."""
        since = now - self._valid_s
        said = self._said.get(content, {})
        return {node for node, at in said.items() if at >= since}

    def __len__(self) -> int:
        return len(self._said)

    def clear(self) -> None:
        """Forget everything: nodes may be others, under the same ids."""
        self._said.clear()


def is_majority(config: ConfigState, nodes: set[NodeId]) -> bool:
    """Whether nodes are most of the voters, of both halves if there are two."""
    return all(
        2 * len(nodes.intersection(voters)) > len(voters)
        for voters in (config.voters, config.voters_outgoing)
        if voters
    ) and bool(config.voters)


def other_voters(config: ConfigState, own: NodeId) -> list[NodeId]:
    """The other nodes that vote, in either half."""
    return sorted({*config.voters, *config.voters_outgoing} - {own})


def other_members(config: ConfigState, own: NodeId, lead: NodeId) -> list[NodeId]:
    """The other nodes that may have a content, the leader first."""
    parts = (config.voters, config.voters_outgoing, config.learners)
    members = set().union(*parts, config.learners_next) - {own}
    return sorted(members, key=lambda node: (node != lead, node))
