"""What is to be done now, put together from what the core has decided. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from dtf_dask.ha.raft.core import Core
from dtf_dask.ha.raft.messages import (
    APPEND_THREAD,
    APPLY_THREAD,
    NO_NODE,
    Entry,
    HardState,
    Message,
    MessageKind,
    Snapshot,
)


def stored_response(core: Core, snapshot: Snapshot | None) -> Message | None:
    """What the storage answers when it has written all it was given so far.

    It names the last entry that is not stored yet, and the term of now: an answer that
    arrives in a later term may speak of entries that were replaced.
    """
    log = core.log
    entries = bool(log.unstable.entries)
    if not entries and snapshot is None:
        return None
    return Message(
        MessageKind.STORAGE_APPEND_RESPONSE,
        core.node,
        APPEND_THREAD,
        core.term,
        log_term=log.last_term() if entries else 0,
        log_index=log.last_index() if entries else 0,
        snapshot=snapshot,
    )


def applied_response(core: Core, committed: Sequence[Entry]) -> Message:
    """What the state machine answers when it has applied these."""
    return Message(
        MessageKind.STORAGE_APPLY_RESPONSE, core.node, APPLY_THREAD, entries=committed
    )


def storage_append(
    core: Core,
    hard_state: HardState | None,
    entries: Sequence[Entry],
    snapshot: Snapshot | None,
) -> Message | None:
    """What the storage is to write, with all that may be sent once it has."""
    responses = core.promises
    if not (hard_state or entries or snapshot or responses):
        return None
    stored = stored_response(core, snapshot)
    if stored is not None:
        responses = [*responses, stored]
    return Message(
        MessageKind.STORAGE_APPEND,
        APPEND_THREAD,
        core.node,
        term=hard_state.term if hard_state else 0,
        vote=hard_state.vote if hard_state else NO_NODE,
        commit=hard_state.commit if hard_state else 0,
        entries=entries,
        snapshot=snapshot,
        responses=responses,
    )


def storage_apply(core: Core, committed: Sequence[Entry]) -> Message:
    """What the state machine is to apply."""
    return Message(
        MessageKind.STORAGE_APPLY,
        APPLY_THREAD,
        core.node,
        entries=committed,
        responses=(applied_response(core, committed),),
    )
