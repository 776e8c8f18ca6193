"""Changes of the configuration: the shared data files, and what they leave open."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raft_datadriven import SHARED, WHY_SKIPPED, directives, files
from raft_describe import described_membership, described_progress, steps_of

from dtf_dask.ha.raft.config_change import (
    Changed,
    Unchanged,
    enter_joint,
    leave_joint,
    restored,
    simple,
)
from dtf_dask.ha.raft.config_codec import CONTEXT_BYTES_MAX, decoded, encoded
from dtf_dask.ha.raft.messages import (
    ConfigChange,
    ConfigStep,
    Entry,
    EntryKind,
    NodeId,
    StepKind,
    Transition,
)
from dtf_dask.ha.raft.tracker import Tracker

REASONS = {
    Unchanged.WHILE_JOINT: "can't apply simple config change in joint config",
    Unchanged.ALREADY_JOINT: "config is already joint",
    Unchanged.NOT_JOINT: "can't leave a non-joint config",
    Unchanged.NOBODY_VOTES: "can't make a zero-voter config joint",
    Unchanged.NOBODY_WOULD_VOTE: "removed all voters",
    Unchanged.SEVERAL_VOTERS: (
        "more than one voter changed without entering joint config"
    ),
}


@pytest.mark.skipif(not SHARED.is_dir(), reason=WHY_SKIPPED)
@pytest.mark.parametrize("path", files("confchange"), ids=lambda path: path.stem)
def test_changes_agree_with_the_files(path: Path) -> None:
    """Each directive prints what the file says, byte for byte."""
    tracker = Tracker(10, 0)
    for last_index, one in enumerate(directives(path)):
        steps = steps_of(one.input)
        if one.command == "simple":
            result = simple(tracker, last_index, steps)
        elif one.command == "enter-joint":
            leave = one.flag("autoleave")
            result = enter_joint(tracker, last_index, steps, auto_leave=leave)
        else:
            assert one.command == "leave-joint"
            result = leave_joint(tracker, last_index)
        if isinstance(result, Unchanged):
            assert [REASONS[result]] == list(one.expected), one.place
            continue
        tracker.adopt(result.membership, result.progress)
        lines = [described_membership(tracker.membership)]
        lines += described_progress(tracker.progress)
        assert lines == list(one.expected), one.place


nodes = st.integers(1, 5).map(NodeId)
steps_lists = st.lists(
    st.builds(ConfigStep, st.sampled_from(StepKind), nodes), max_size=6
)


@given(
    st.lists(
        st.tuples(st.sampled_from(["simple", "joint", "leave"]), steps_lists),
        max_size=12,
    )
)
def test_a_membership_is_never_at_odds_with_itself(
    changes: list[tuple[str, list[ConfigStep]]],
) -> None:
    """Whatever is asked: each member has a progress, and one place; and what is kept
    as a state comes back as the same membership."""
    tracker = Tracker(10, 0)
    tracker.adopt(*_parts(simple(tracker, 0, [ConfigStep(StepKind.ADD_VOTER, n1)])))
    for kind, steps in changes:
        before = tracker.membership
        if kind == "simple":
            result = simple(tracker, 7, steps)
        elif kind == "joint":
            result = enter_joint(tracker, 7, steps, auto_leave=True)
        else:
            result = leave_joint(tracker, 7)
        if isinstance(result, Unchanged):
            assert tracker.membership is before
            continue
        tracker.adopt(*_parts(result))
        now = tracker.membership
        assert now.incoming
        assert not now.learners & now.voters
        assert now.learners_next <= now.outgoing - now.incoming
        assert set(tracker.progress) == now.voters | now.learners
        assert list(tracker.progress) == sorted(tracker.progress)
        learning = {n for n, p in tracker.progress.items() if p.learner}
        assert learning == now.learners
        if not before.joint and not now.joint:
            assert len(before.incoming ^ now.incoming) <= 1
        again = restored(Tracker(10, 0), 7, now.state())
        assert again.membership == now
        assert set(again.progress) == set(tracker.progress)


n1 = NodeId(1)


def _parts(result: Changed | Unchanged) -> tuple:
    assert isinstance(result, Changed)
    return result.membership, result.progress


@given(
    st.builds(
        ConfigChange,
        steps_lists.map(tuple),
        st.sampled_from(Transition),
        st.binary(max_size=20),
    )
)
def test_a_change_is_read_as_it_was_written(change: ConfigChange) -> None:
    """Through the log and back, and never as another kind of entry."""
    written = encoded(change)
    assert written is not None
    kind, payload = written
    assert decoded(Entry(1, 1, kind, payload)) == change


@given(st.binary(max_size=40), st.sampled_from([1, 2]))
def test_bytes_that_are_no_change_are_answered_with_none(
    payload: bytes, kind: int
) -> None:
    """Damage is told apart or read as some change; nothing is raised."""
    change = decoded(Entry(1, 1, EntryKind(kind), payload))
    assert change is None or isinstance(change, ConfigChange)


def test_a_change_that_is_too_large_is_refused() -> None:
    """Steps and context have limits, and node ids are those of nodes."""
    step = ConfigStep(StepKind.REMOVE, n1)
    assert encoded(ConfigChange((step,) * 1001)) is None
    assert encoded(ConfigChange(context=bytes(CONTEXT_BYTES_MAX + 1))) is None
    assert encoded(ConfigChange((ConfigStep(StepKind.REMOVE, NodeId(-1)),))) is None
