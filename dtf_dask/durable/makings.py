"""Which making of a task a result is of. Pure.

A key may be used again: a task is forgotten, and another of the same key is made. Who
has something of the first must not have it taken for something of the second. So each
making has a mark, which follows from the submission that made the task. It is the same
in all schedulers; it goes to workers with the task, and comes back in their inventory
with what became of it. Equality decides.

A value that was scattered has a mark, too, which follows from who scattered it and when
that was written. Its workers hear of it a moment after they have the value.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dtf_dask.submission.table import SEQ_MAX, Key

ANNOTATION = "dtf-made"
"""Under which a task's annotations on its worker have marks: its own, and those of its
inputs in the order in which they are named. Also the word by which a worker says that
it understands, and the ``op`` by which it is told of copies."""
NONE = 0
"""Of what no submission made, and of a value whose worker has not heard more."""


def mark_of(client: str, seq: int) -> int:
    """The mark of all that a submission makes.

    Examples
    --------
    >>> mark_of("c-1", 1) == mark_of("c-1", 1)
    True
    >>> mark_of("c-1", 1) in (NONE, mark_of("c-1", 2), mark_of("c-2", 1))
    False
    """
    digest = hashlib.blake2b(f"{seq}/{client}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % SEQ_MAX + 1


def mark_in(annotations: Mapping[str, Any] | None) -> int:
    """The mark of the task that has these annotations on a worker."""
    marks = (annotations or {}).get(ANNOTATION)
    mark = marks[0] if isinstance(marks, list | tuple) and marks else NONE
    return mark if type(mark) is int and 0 <= mark <= SEQ_MAX else NONE


def marked(annotations: Mapping[str, Any] | None, mark: int) -> dict[str, Any]:
    """These annotations, with the mark of a task alone.

    Examples
    --------
    >>> mark_in(marked(None, 7))
    7
    """
    return {**(annotations or {}), ANNOTATION: (mark,)}


def marks_of_inputs(
    annotations: Mapping[str, Any], names: Iterable[Key]
) -> list[tuple[Key, int]]:
    """The marks of a task's inputs; none if that cannot be told.

    Examples
    --------
    >>> marks_of_inputs({ANNOTATION: [7, 8, 9]}, ["x", "y"])
    [('x', 8), ('y', 9)]
    """
    marks: Sequence[Any] = annotations.get(ANNOTATION) or ()
    found = list(zip(names, marks[1:], strict=False))
    return found if len(found) == len(marks) - 1 else []
