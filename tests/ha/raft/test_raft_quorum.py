"""Majorities: the shared data files, and the definition by brute force."""

from __future__ import annotations

import itertools

import pytest
from raft_datadriven import SHARED, WHY_SKIPPED, Directive, directives, files

from dtf_dask.ha.raft.quorum import (
    EVERYTHING,
    VoteResult,
    joint_index,
    joint_vote,
    majority_index,
    majority_vote,
)

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason=WHY_SKIPPED)

VOTE_WORDS = {
    VoteResult.PENDING: "VotePending",
    VoteResult.LOST: "VoteLost",
    VoteResult.WON: "VoteWon",
}


def plot(voters: list[int], acked: dict[int, int]) -> list[str]:
    """The picture of who has what that the files show."""
    if not voters:
        return ["<empty majority quorum>"]
    width = len(voters)
    lines = [" " * width + "    idx"]
    for voter in voters:
        index = acked.get(voter, 0)
        below = sum(acked.get(other, 0) < index for other in voters)
        bar = "x" * below + ">" if voter in acked else "?"
        lines.append(f"{bar:<{width + 1}} {index:>5}    (id={voter})")
    return lines


def carried_out(one: Directive) -> list[str]:
    """What a directive prints."""
    incoming = [int(voter) for voter in one.values("cfg")]
    joint = "zero" if one.value("cfgj") == "zero" else one.values("cfgj")
    outgoing = [int(voter) for voter in joint] if joint != "zero" else []
    voters = list(dict.fromkeys([*incoming, *outgoing]))
    if one.command == "vote":
        said = dict(zip(voters, one.values("votes"), strict=True))
        word = {"y": True, "n": False, "_": None}
        halves = [[word[said[v]] for v in half] for half in (incoming, outgoing)]
        result = joint_vote(*halves)
        if not outgoing:
            assert majority_vote(halves[0]) is result
        assert joint_vote(halves[1], halves[0]) is result
        return [VOTE_WORDS[result]]
    said = dict(zip(voters, one.values("idx"), strict=True))
    acked = {voter: int(index) for voter, index in said.items() if index != "_"}
    matches = [[acked.get(v, 0) for v in half] for half in (incoming, outgoing)]
    index = joint_index(*matches)
    if not outgoing:
        assert majority_index(matches[0]) == index
    assert joint_index(matches[1], matches[0]) == index
    shown = "∞" if index == EVERYTHING else str(index)
    lines = plot(sorted(voters), acked)
    if not voters:
        return [lines[0] + shown]
    return [*lines, shown]


@pytest.mark.parametrize("path", files("quorum"), ids=lambda path: path.stem)
def test_quorums_agree_with_the_files(path: object) -> None:
    """Each directive prints what the file says, byte for byte."""
    for one in directives(path):  # type: ignore[arg-type]
        assert carried_out(one) == list(one.expected), one.place


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_a_majority_holds_the_index_and_none_a_higher_one(count: int) -> None:
    """The definition, over all ways in which few voters hold few indexes."""
    for matches in itertools.product(range(4), repeat=count):
        index = majority_index(matches)
        assert sum(match >= index for match in matches) > count / 2
        assert sum(match >= index + 1 for match in matches) <= count / 2


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_a_vote_is_decided_when_no_further_vote_can_change_it(count: int) -> None:
    """Pending means that both ends are still possible, and only then."""
    for votes in itertools.product([True, False, None], repeat=count):
        ends = set()
        unheard = votes.count(None)
        for rest in itertools.product([True, False], repeat=unheard):
            late = iter(rest)
            full = [next(late) if vote is None else vote for vote in votes]
            ends.add(full.count(True) > count / 2)
        expected = (
            VoteResult.PENDING
            if len(ends) == 2
            else VoteResult.WON
            if ends == {True}
            else VoteResult.LOST
        )
        assert majority_vote(votes) is expected
