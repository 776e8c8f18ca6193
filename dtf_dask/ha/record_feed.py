"""Records of the ledger, cut into what a process beside the node is told at once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence

from dtf_dask.ha import scheduler_words as words
from dtf_dask.ha.ledger.records import Change
from dtf_dask.ha.ledger.state_machine import StateMachine

_LOG = logging.getLogger(__name__)

Portion = list[tuple[str, bytes]]


def portions(state: StateMachine, prefix: str = "") -> Iterator[tuple[Portion, bool]]:
    """All records of schedulers as of now, and of each portion whether more come.

    What is found is found at once, whenever the portions are taken.
    """
    found = [
        (key, record.value)
        for key, record in state.records.walk(words.NAMESPACE, prefix)
    ]
    return _cut(found)


def _cut(found: Sequence[tuple[str, object]]) -> Iterator[tuple[Portion, bool]]:
    part: Portion = []
    room = words.BYTES_AT_ONCE
    for key, value in found:
        if type(value) is not bytes:
            _skipped(key)
            continue
        if part and (room < len(value) or len(part) == words.RECORDS_AT_ONCE):
            yield part, True
            part, room = [], words.BYTES_AT_ONCE
        part.append((key, value))
        room -= len(value) + len(key)
    yield part, False


def plain_changes(changes: Iterable[Change]) -> list[tuple[str, bytes | None]]:
    """Keys and values of what changed."""
    found: list[tuple[str, bytes | None]] = []
    for change in changes:
        if isinstance(change.value, bytes | None):
            found.append((change.key, change.value))
        else:
            _skipped(change.key)
    return found


def _skipped(key: str) -> None:
    _LOG.error(
        "the record %r of a scheduler is a content, which none of them writes: it"
        " is left out",
        key,
    )
