"""What a client is about to submit, as an operation: its table, and what goes with it.

`operation_of` is for what is here as Dask's expression. What was pickled already, as
Dask's client does it for a plain scheduler, `operation_of_message` opens again, in a
thread if it is large.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from distributed.protocol import deserialize

from dtf_dask.durable.operations import TABLE, encode_operation
from dtf_dask.errors import TaskRefusedError, UsageError
from dtf_dask.submission.materialise import materialise, plain
from dtf_dask.submission.table_codec import encode_table


@dataclass(frozen=True, slots=True)
class Submission:
    """What Dask's client gives with a graph.

    Parameters
    ----------
    keys
        Of the futures.
    annotations
        For all tasks.
    places
        The order of tasks, if it is known.
    """

    keys: Collection[Hashable]
    annotations: Mapping[str, Any]
    places: Mapping[Any, int] | None
    submitting_task: Hashable | None
    fifo_timeout: Any
    actors: Any
    code: Any
    span: Any

    @classmethod
    def of_message(cls, message: Mapping[str, Any]) -> Submission:
        """What a message of Dask's client says."""
        return cls(
            message["keys"],
            message["annotations"].data,
            message["internal_priority"],
            message["submitting_task"],
            message["fifo_timeout"],
            message["actors"],
            message["code"].data,
            message["span_metadata"].data,
        )

    def words(self) -> dict[str, Any]:
        """What goes with the table."""
        said = {
            "fifo_timeout": self.fifo_timeout,
            "at_s": time.time(),
            "submitting_task": self.submitting_task,
            "actors": self.actors,
            "code": self.code,
            "span": self.span,
        }
        return {name: plain(value) for name, value in said.items() if value}


def operation_of(
    expr: Any, submission: Submission, client: str, number: int, bytes_max: int
) -> bytes:
    """The operation that submits an expression.

    Parameters
    ----------
    number
        Of the submission, as the client counts them.
    bytes_max
        What the cluster takes.

    Raises
    ------
    TaskRefusedError
        A task cannot be sent, or is too large, or all of them together are.
    """
    table = materialise(
        expr,
        submission.keys,  # type: ignore[arg-type]
        client,
        number,
        submission.annotations,
        submission.places,
    )
    packed, words = encode_table(table), submission.words()
    try:
        operation = encode_operation(TABLE, client, packed, words)
    except UsageError:
        # These are for people who look at the dashboard: no reason to refuse a task.
        for name in ("code", "span"):
            words.pop(name, None)
        operation = encode_operation(TABLE, client, packed, words)
    if len(operation) > bytes_max:
        raise TaskRefusedError(
            f"the submission is {len(operation)} bytes; {bytes_max} are the most that"
            " this cluster takes: submit less at once, or scatter what is large"
        )
    return operation


def operation_of_message(
    message: Mapping[str, Any], client: str, number: int, bytes_max: int
) -> bytes:
    """The same of what Dask's client would have sent to a plain scheduler."""
    packed = message["expr_ser"]
    expr = deserialize(packed.header, packed.frames)  # type: ignore[no-untyped-call]
    submission = Submission.of_message(message)
    return operation_of(expr, submission, client, number, bytes_max)
