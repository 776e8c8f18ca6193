"""Prints members and progress in the words of the conformance files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dtf_dask.ha.raft.messages import ConfigStep, NodeId, StepKind
from dtf_dask.ha.raft.progress import PeerState, Progress
from dtf_dask.ha.raft.tracker import Membership

STEP_LETTERS = {
    StepKind.ADD_VOTER: "v",
    StepKind.ADD_LEARNER: "l",
    StepKind.REMOVE: "r",
    StepKind.UPDATE: "u",
}
STATE_WORDS = {
    PeerState.PROBE: "StateProbe",
    PeerState.REPLICATE: "StateReplicate",
    PeerState.SNAPSHOT: "StateSnapshot",
}


def steps_of(lines: Iterable[str]) -> tuple[ConfigStep, ...]:
    """The steps that input such as ``v1 l2 r3`` means."""
    kinds = {letter: kind for kind, letter in STEP_LETTERS.items()}
    words = " ".join(lines).split()
    return tuple(ConfigStep(kinds[word[0]], NodeId(int(word[1:]))) for word in words)


def described_steps(steps: Iterable[ConfigStep]) -> str:
    return " ".join(f"{STEP_LETTERS[step.kind]}{step.node}" for step in steps)


def _group(members: Iterable[NodeId]) -> str:
    return "(" + " ".join(str(member) for member in sorted(members)) + ")"


def described_membership(membership: Membership) -> str:
    text = f"voters={_group(membership.incoming)}"
    if membership.outgoing:
        text += f"&&{_group(membership.outgoing)}"
    if membership.learners:
        text += f" learners={_group(membership.learners)}"
    if membership.learners_next:
        text += f" learners_next={_group(membership.learners_next)}"
    return text + (" autoleave" if membership.auto_leave else "")


def described_progress(progress: Mapping[NodeId, Progress]) -> list[str]:
    return [f"{node}: {_one_progress(progress[node])}" for node in sorted(progress)]


def _one_progress(progress: Progress) -> str:
    text = f"{STATE_WORDS[progress.state]} match={progress.match} next={progress.next}"
    text += " learner" if progress.learner else ""
    text += " paused" if progress.blocked else ""
    if progress.snapshot_index:
        text += f" pendingSnap={progress.snapshot_index}"
    text += "" if progress.active else " inactive"
    if progress.inflights:
        text += f" inflight={len(progress.inflights)}"
        text += "[full]" if progress.inflights.full else ""
    return text
