"""The controller's end of the pipe to the driver process."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from dtf_dask.errors import DriverLostError
from dtf_dask.frames import FrameBuffer, decode, pack

_CHUNK = 2**20
_END_WAIT_S = 5.0
_LOG_TAIL_BYTES = 4000


def _environment() -> dict[str, str]:
    """Without what would have coverage.py measure the driver beside the suite."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("COVERAGE_PROCESS_")
    }


class DriverLink:
    """Starts the driver process and exchanges frames with it.

    It is started as early as possible (before pytest is even imported, by ``dtf run``),
    because it takes as long to be ready as a small suite to be collected.
    """

    def __init__(self) -> None:
        self._log = tempfile.TemporaryFile(prefix="dtf-driver-")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "dtf_dask.runs.driver_start"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=_environment(),
            start_new_session=True,  # Ctrl-C is the controller's to hear
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout
        self._frames = FrameBuffer()

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, frame: dict[str, Any]) -> None:
        """Write a frame; `DriverLostError` when the driver is gone."""
        try:
            self._to.write(pack(frame))
            self._to.flush()
        except OSError as error:
            raise self._lost() from error

    def events(self, timeout_s: float | None = None) -> Iterator[dict[str, Any]]:
        """Frames as they come; with a timeout, ends when none came for so long."""
        while True:
            if timeout_s is not None:
                ready, _, _ = select.select([self._from], [], [], timeout_s)
                if not ready:
                    return
            chunk = os.read(self._from.fileno(), _CHUNK)
            if not chunk:
                raise self._lost()
            for event in self._frames.feed(chunk):
                # A report travels as the runner packed it.
                raw = event.pop("raw", None)
                yield event if raw is None else decode(raw) | event

    def close(self, *, in_run: bool = True) -> None:
        """Hang up; wait while it may have results to store, then kill it."""
        for pipe in (self._to, self._from):
            try:
                pipe.close()
            except OSError:
                pass
        try:
            self._process.wait(_END_WAIT_S if in_run else 0.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def drop(self) -> None:
        """In a forked copy of the controller: let go of the pipes."""
        os.close(self._to.fileno())
        os.close(self._from.fileno())

    def _lost(self) -> DriverLostError:
        try:
            code: int | None = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            code = None
        size = os.fstat(self._log.fileno()).st_size
        start = max(0, size - _LOG_TAIL_BYTES)
        text = os.pread(self._log.fileno(), _LOG_TAIL_BYTES, start).decode(
            "utf-8", "replace"
        )
        said = f"; its last words:\n{text.strip()}" if text.strip() else ""
        return DriverLostError(
            f"the driver process (pid {self.pid}) ended early with code {code};"
            f" what it had stored until then is kept{said}"
        )
