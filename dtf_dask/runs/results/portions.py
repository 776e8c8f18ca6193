"""A run's results as records, and portions of them for a cluster's ledger. Pure.

A portion is what a spool file holds (`spool`), compressed: a line with the run, then
cases that it plans, attempts, or its end. So each is taken in by itself, in whatever
order and however often it comes.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from dtf_dask.errors import ProtocolError
from dtf_dask.model import Attempt, Run
from dtf_dask.runs import codec

VERSION = 1  # of the records
PORTION_BYTES_MAX = 448 * 1024
LINES_BYTES_MAX = 64 * 2**20
"""Of a portion that was opened."""
_LINES_BYTES = 1 * 2**20  # about so many before they are compressed
_CASES_A_LINE = 500
_TEXT_CHARS = 4_000  # of each text of an attempt that does not fit
_CUT = "\n[... cut: whoever had the run made has the whole ...]\n"


def run_record(run: Run) -> dict[str, Any]:
    """A run, as the record that comes first."""
    return {"kind": "run", "version": VERSION, "run": codec.run_to_json(run)}


def case_records(case_ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What a run plans, as records."""
    for start in range(0, len(case_ids), _CASES_A_LINE):
        some = case_ids[start : start + _CASES_A_LINE]
        yield {"kind": "cases", "ids": [codec.escape_text(one) for one in some]}


def attempt_record(attempt: Attempt) -> dict[str, Any]:
    """An attempt, as a record."""
    return {"kind": "attempt", "attempt": codec.attempt_to_json(attempt)}


def end_record(
    status: str, exit_code: int | None, finished_at: float, environment: Any
) -> dict[str, Any]:
    """A run's end, as a record; ``environment`` is what became known of it."""
    return {
        "kind": "end",
        "status": status,
        "exit_code": exit_code,
        "finished_at": finished_at,
        "environment": codec.plain_value(environment),
    }


def portions(run: Run, records: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """Records of a run as portions, none longer than `PORTION_BYTES_MAX`."""
    head = codec.json_line(run_record(run)) + "\n"
    lines: list[str] = []
    size = 0
    for record in records:
        line = codec.json_line(record) + "\n"
        if lines and size + len(line) > _LINES_BYTES:
            yield from _packed(head, lines)
            lines, size = [], 0
        lines.append(line)
        size += len(line)
    if lines:
        yield from _packed(head, lines)


def lines_of(portion: bytes) -> bytes:
    """The lines of a portion.

    Raises
    ------
    ProtocolError
        It is none, or too long.
    """
    opening = zlib.decompressobj()
    try:
        found = opening.decompress(portion, LINES_BYTES_MAX)
    except zlib.error as error:
        raise ProtocolError(f"a portion of results that is none: {error}") from error
    if opening.unconsumed_tail or not opening.eof or opening.unused_data:
        raise ProtocolError("a portion of results that is cut, or too long")
    return found


def ends(lines: bytes) -> bool:
    """Whether the last of a portion's lines is the end of its run.

    Examples
    --------
    >>> line = codec.json_line(end_record("passed", 0, 1.0, {})).encode()
    >>> ends(b"{}\\n" + line + b"\\n"), ends(b"{}\\n"), ends(b"\\xff")
    (True, False, False)
    """
    try:
        last = json.loads(lines.rstrip(b"\n").rpartition(b"\n")[2])
    except (ValueError, RecursionError):  # whoever takes it in says so
        return False
    return isinstance(last, dict) and last.get("kind") == "end"


def shortened(attempt: Attempt) -> Attempt:
    """With the ends of its texts, and nothing that could be as long."""
    return replace(
        attempt,
        exception=_ends(attempt.exception),
        traceback=_ends(attempt.traceback),
        stdout=_ends(attempt.stdout),
        stderr=_ends(attempt.stderr),
        log=_ends(attempt.log),
        properties={},
    )


def _packed(head: str, lines: list[str]) -> Iterator[bytes]:
    portion = zlib.compress((head + "".join(lines)).encode(), 1)
    if len(portion) <= PORTION_BYTES_MAX:
        yield portion
    elif len(lines) > 1:
        half = len(lines) // 2
        yield from _packed(head, lines[:half])
        yield from _packed(head, lines[half:])
    else:
        yield from _cut(head, lines[0])


def _cut(head: str, line: str) -> Iterator[bytes]:
    """One record that is too long: an attempt keeps the ends of its texts."""
    record = json.loads(line)
    if record["kind"] == "attempt":
        attempt = shortened(codec.attempt_from_json(record["attempt"]))
        short = codec.json_line(attempt_record(attempt)) + "\n"
        portion = zlib.compress((head + short).encode(), 1)
        if len(portion) <= PORTION_BYTES_MAX:
            yield portion


def _ends(text: str) -> str:
    if len(text) <= 2 * _TEXT_CHARS:
        return text
    return text[:_TEXT_CHARS] + _CUT + text[-_TEXT_CHARS:]
