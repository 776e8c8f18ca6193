"""Changes of the configuration as the payload of an entry, and back. Pure.

Version, transition and number of steps, the steps, then the context. No bytes at all
are the change without steps: an entry that is never refused for its size.
"""

from __future__ import annotations

import struct

from dtf_dask.ha.raft.messages import (
    NUMBER_MAX,
    ConfigChange,
    ConfigStep,
    Entry,
    EntryKind,
    NodeId,
    StepKind,
    Transition,
)

STEPS_MAX = 1000
CONTEXT_BYTES_MAX = 64 * 1024

_VERSION = 1
_HEAD = struct.Struct("!BBH")
_STEP = struct.Struct("!Bq")
_LEAVE = ConfigChange()


def encoded(change: ConfigChange) -> tuple[EntryKind, bytes] | None:
    """The kind and payload of the entry for ``change``; None if it is too large."""
    steps, context = change.steps, change.context
    if len(steps) > STEPS_MAX or len(context) > CONTEXT_BYTES_MAX:
        return None
    if any(not 0 <= step.node <= NUMBER_MAX for step in steps):
        return None
    if change == _LEAVE:
        return EntryKind.CONFIG_CHANGE_JOINT, b""
    parts = [_HEAD.pack(_VERSION, change.transition, len(steps))]
    parts += [_STEP.pack(step.kind, step.node) for step in steps]
    one = len(steps) == 1 and change.transition is Transition.AUTO
    kind = EntryKind.CONFIG_CHANGE if one else EntryKind.CONFIG_CHANGE_JOINT
    return kind, b"".join([*parts, context])


def decoded(entry: Entry) -> ConfigChange | None:
    """The change that an entry asks for; None if it cannot be read."""
    payload = entry.payload
    if not payload:
        return _LEAVE
    try:
        version, transition, count = _HEAD.unpack_from(payload)
        end = _HEAD.size + count * _STEP.size
        if version != _VERSION or count > STEPS_MAX or end > len(payload):
            return None
        steps = tuple(
            ConfigStep(StepKind(kind), NodeId(node))
            for kind, node in _STEP.iter_unpack(payload[_HEAD.size : end])
        )
        change = ConfigChange(steps, Transition(transition), payload[end:])
    except (struct.error, ValueError):
        return None
    if entry.kind == EntryKind.CONFIG_CHANGE and count != 1:
        return None
    return change
