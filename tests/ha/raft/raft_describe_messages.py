"""Prints messages, entries and what is ready in the words of the conformance files."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from raft_describe import described_steps

from dtf_dask.ha.raft.config_codec import decoded
from dtf_dask.ha.raft.messages import (
    APPEND_THREAD,
    APPLY_THREAD,
    ConfigChange,
    Entry,
    EntryKind,
    HardState,
    Message,
    MessageKind,
    NodeId,
    Ready,
    Role,
    Snapshot,
    SoftState,
)

ROLE_WORDS = {
    Role.FOLLOWER: "StateFollower",
    Role.PRE_CANDIDATE: "StatePreCandidate",
    Role.CANDIDATE: "StateCandidate",
    Role.LEADER: "StateLeader",
}
KIND_WORDS = {
    MessageKind.PROPOSE: "MsgProp",
    MessageKind.APPEND: "MsgApp",
    MessageKind.APPEND_RESPONSE: "MsgAppResp",
    MessageKind.VOTE: "MsgVote",
    MessageKind.VOTE_RESPONSE: "MsgVoteResp",
    MessageKind.PRE_VOTE: "MsgPreVote",
    MessageKind.PRE_VOTE_RESPONSE: "MsgPreVoteResp",
    MessageKind.SNAPSHOT: "MsgSnap",
    MessageKind.HEARTBEAT: "MsgHeartbeat",
    MessageKind.HEARTBEAT_RESPONSE: "MsgHeartbeatResp",
    MessageKind.TIMEOUT_NOW: "MsgTimeoutNow",
    MessageKind.TRANSFER_LEADER: "MsgTransferLeader",
    MessageKind.READ_INDEX: "MsgReadIndex",
    MessageKind.READ_INDEX_RESPONSE: "MsgReadIndexResp",
    MessageKind.STORAGE_APPEND: "MsgStorageAppend",
    MessageKind.STORAGE_APPEND_RESPONSE: "MsgStorageAppendResp",
    MessageKind.STORAGE_APPLY: "MsgStorageApply",
    MessageKind.STORAGE_APPLY_RESPONSE: "MsgStorageApplyResp",
}
THREAD_WORDS = {APPEND_THREAD: "AppendThread", APPLY_THREAD: "ApplyThread"}


def change_of(entry: Entry) -> ConfigChange:
    change = decoded(entry)
    assert change is not None
    return change


def described_entry(entry: Entry) -> str:
    place = f"{entry.term}/{entry.index}"
    if entry.kind is EntryKind.NORMAL:
        return f'{place} EntryNormal "{entry.payload.decode()}"'
    one = entry.kind is EntryKind.CONFIG_CHANGE
    word = "EntryConfChange" if one else "EntryConfChangeV2"
    return f"{place} {word} {described_steps(change_of(entry).steps)}".rstrip()


def described_snapshot(snapshot: Snapshot) -> str:
    point = snapshot.point
    config = point.config

    def group(members: Iterable[NodeId]) -> str:
        return "[" + " ".join(str(member) for member in members) + "]"

    return (
        f"Index:{point.index} Term:{point.term}"
        f" ConfState:Voters:{group(config.voters)}"
        f" VotersOutgoing:{group(config.voters_outgoing)}"
        f" Learners:{group(config.learners)}"
        f" LearnersNext:{group(config.learners_next)}"
        f" AutoLeave:{str(config.auto_leave).lower()}"
    )


def described_message(message: Message, indent: str = "") -> list[str]:
    """The lines of a message."""
    to = THREAD_WORDS.get(message.to, str(message.to))
    sender = THREAD_WORDS.get(message.sender, str(message.sender))
    kind = KIND_WORDS[message.kind]
    text = f"{indent}{sender}->{to} {kind} Term:{message.term}"
    text += f" Log:{message.log_term}/{message.log_index}"
    text += f" Rejected (Hint: {message.hint})" if message.reject else ""
    text += f" Commit:{message.commit}" if message.commit else ""
    text += f" Vote:{message.vote}" if message.vote else ""
    text += f" Reads:{list(message.reads)}" if message.reads else ""
    lines = [text]
    if len(message.entries) == 1:
        lines[-1] += f" Entries:[{described_entry(message.entries[0])}]"
    elif message.entries:
        lines[-1] += " Entries:["
        lines += [f"{indent}  {described_entry(one)}" for one in message.entries]
        lines.append(f"{indent}]")
    if message.snapshot is not None:
        lines.append(f"{indent}  Snapshot: {described_snapshot(message.snapshot)}")
    if message.responses:
        lines[-1] += " Responses:["
        for response in message.responses:
            lines += described_message(response, indent + "  ")
        lines.append(f"{indent}]")
    return lines


def described_soft_state(state: SoftState) -> list[str]:
    return [f"Lead:{state.lead} State:{ROLE_WORDS[state.role]}"]


def described_hard_state(state: HardState) -> list[str]:
    vote = f" Vote:{state.vote}" if state.vote else ""
    return [f"HardState Term:{state.term}{vote} Commit:{state.commit}"]


def _titled(title: str, items: Iterable, one: Callable[..., list[str]]) -> list[str]:
    lines = [line for item in items for line in one(item)]
    return [title, *lines] if lines else []


def described_ready(ready: Ready) -> list[str]:
    """The lines of what is ready."""
    lines: list[str] = []
    if ready.soft_state is not None:
        lines += described_soft_state(ready.soft_state)
    if ready.hard_state is not None:
        lines += described_hard_state(ready.hard_state)
    for state in ready.read_states:
        lines.append(f"ReadState Index:{state.read_index} Reads:{list(state.reads)}")
    if ready.reads_refused:
        lines.append(f"ReadsRefused {list(ready.reads_refused)}")

    def entry(one: Entry) -> list[str]:
        return [described_entry(one)]

    lines += _titled("Entries:", ready.entries, entry)
    if ready.snapshot is not None:
        lines.append(f"Snapshot {described_snapshot(ready.snapshot)}")
    lines += _titled("CommittedEntries:", ready.committed, entry)
    lines += _titled("Messages:", ready.messages, described_message)
    if not lines:
        return ["<empty Ready>"]
    return [f"Ready MustSync={str(ready.must_sync).lower()}:", *lines]
