"""What a majority says, and what two majorities say together. Pure.

While one configuration hands over to another, both must agree (Raft thesis, §4.3). The
functions take what each voter has said, and nothing else, so they are tables of
arithmetic. No voters at all agree to everything: that way the missing half of a
configuration that is not joint has no say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum

from dtf_dask.ha.raft.messages import NUMBER_MAX

EVERYTHING = NUMBER_MAX
"""The index up to which no voters at all have everything."""


class VoteResult(Enum):
    """How a vote stands."""

    PENDING = "pending"
    LOST = "lost"
    WON = "won"


def majority_index(matches: Iterable[int]) -> int:
    """The highest index that a majority holds.

    Parameters
    ----------
    matches
        For each voter, the index up to which its log is known to agree; 0 if nothing
        is known.

    Examples
    --------
    >>> majority_index([12, 5, 6])
    6
    """
    ordered = sorted(matches)
    if not ordered:
        return EVERYTHING
    return ordered[(len(ordered) - 1) // 2]


def joint_index(incoming: Iterable[int], outgoing: Iterable[int]) -> int:
    """The highest index that a majority of both configurations holds."""
    return min(majority_index(incoming), majority_index(outgoing))


def majority_vote(votes: Sequence[bool | None]) -> VoteResult:
    """How the vote of one configuration stands; None is a vote not heard yet.

    Examples
    --------
    >>> majority_vote([True, None, True])
    <VoteResult.WON: 'won'>
    >>> majority_vote([False, None])
    <VoteResult.LOST: 'lost'>
    """
    needed = len(votes) // 2 + 1 if votes else 0
    granted = votes.count(True)
    if granted >= needed:
        return VoteResult.WON
    if granted + votes.count(None) >= needed:
        return VoteResult.PENDING
    return VoteResult.LOST


def joint_vote(
    incoming: Sequence[bool | None], outgoing: Sequence[bool | None]
) -> VoteResult:
    """How a vote stands that both configurations must grant."""
    results = (majority_vote(incoming), majority_vote(outgoing))
    if VoteResult.LOST in results:
        return VoteResult.LOST
    if VoteResult.PENDING in results:
        return VoteResult.PENDING
    return VoteResult.WON
