"""Reports of a runner's child, kept where its worker finds them if the runner dies.

A child tells its runner by a pipe, and what is in the pipe dies with the runner: one
that a test kills, or the kernel for its memory, would take with it reports of tests
that have long ended. So the child writes them to a file as well, in two halves that
take turns. Each half is longer than what the pipe and the runner hold, so what is
written over has been passed on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from dtf_dask.errors import ProtocolError
from dtf_dask.frames import HEADER_BYTES, body_bytes, decode
from dtf_dask.worker_plugins.runner.process_life import same_file

_HALF_BYTES = 512 * 1024
_END = bytes(HEADER_BYTES)  # the header of no frame

_pwrite = os.pwrite  # tests may replace it


class KeptReports:
    """The child's side. What is too long, or finds no room on the disk, is not kept."""

    def __init__(self) -> None:
        self._file = -1
        self._is_ours: Callable[[], bool] = bool
        self._half = self._at = 0

    def begin(self, path: str) -> None:
        """A batch begins, of which reports are kept there; nowhere if that is empty."""
        if self._is_ours():
            os.close(self._file)
        self._is_ours, self._half, self._at = bool, 0, 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            self._file = os.open(path, flags, 0o600)
        except OSError:
            return
        self._is_ours = same_file(self._file)

    def add(self, packed: bytes) -> None:
        """Keep a report, before it is told."""
        piece = packed + _END
        if not self._is_ours() or len(piece) > _HALF_BYTES:
            return
        if self._at + len(piece) > _HALF_BYTES:
            self._half, self._at = 1 - self._half, 0
        try:
            _pwrite(self._file, piece, self._half * _HALF_BYTES + self._at)
        except OSError:
            return  # the disk is full
        self._at += len(packed)


def forget(path: Path) -> None:
    """Nothing is kept there any more: another batch begins."""
    path.unlink(missing_ok=True)


def kept(path: Path) -> list[tuple[int, bytes]]:
    """The reports that are kept there: the number of the test, and the frame."""
    try:
        with path.open("rb") as file:
            halves = file.read(_HALF_BYTES), file.read(_HALF_BYTES)
    except OSError:
        return []
    return [report for half in halves for report in _reports(half)]


def _reports(half: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while True:
        head = (half[at : at + HEADER_BYTES] + _END)[:HEADER_BYTES]
        try:
            raw = half[at : at + HEADER_BYTES + body_bytes(head)]
            if head == _END:
                return
            frame = decode(raw[HEADER_BYTES:])
        except ProtocolError:
            return  # a test wrote into it
        at += len(raw)
        is_report = isinstance(frame, dict) and frame.get("op") == "case"
        if is_report and isinstance(frame.get("i"), int):
            yield frame["i"], raw
