"""When the nodes that lost their leader stand for election. Pure.

All of them hear of the loss at about the same time. They stand one after the other,
since two that stand together may elect nobody before Raft's own time is over; and
again, since who has not heard yet keeps to the old leader.
"""

from __future__ import annotations

from collections.abc import Sequence

from dtf_dask.ha.raft.messages import NodeId

TURN_TICKS = 2
"""Between two nodes."""

ROUNDS = 3


def standing_ticks(node: NodeId, lost: NodeId, voters: Sequence[NodeId]) -> list[int]:
    """After how many ticks a node stands, as long as there is no leader.

    Examples
    --------
    >>> standing_ticks(NodeId(3), NodeId(1), [NodeId(1), NodeId(2), NodeId(3)])
    [2, 6, 10]
    """
    others = [one for one in voters if one != lost]
    turn = sum(one < node for one in others)
    return [TURN_TICKS * (turn + each * len(others)) for each in range(ROUNDS)]
