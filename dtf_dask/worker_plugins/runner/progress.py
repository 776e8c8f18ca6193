"""A few numbers shared by a runner and the child that it forked.

The child says where it is, the runner says how far it may go. They stand in memory
that both map, so that the last word of a child that was killed is still there, and
so that neither needs a system call a test.
"""

from __future__ import annotations

import mmap
import struct

_POSITION = struct.Struct("q")  # position in the batch of the test that runs; -1 none
_LIMIT = struct.Struct("q")  # the first position that must not be started
_STARTED = struct.Struct("d")  # time.monotonic() at the start of that test
_TIMEOUT = struct.Struct("d")  # seconds allowed for it; 0 for no limit
_LAST = struct.Struct("q")  # position of the last test that was begun; -1 none
_TEARDOWN = struct.Struct("?")  # whether that test is over but for its teardown
_HOOKED = struct.Struct("q")  # process that is to be told before that test is preempted
_CONTEXT = struct.Struct("55s")  # of tracing, that this test has; zeros for none
_LIMIT_AT, _STARTED_AT, _TIMEOUT_AT, _LAST_AT, _TEARDOWN_AT = 8, 16, 24, 32, 40
_HOOKED_AT, _CONTEXT_AT = 48, 56
THROUGH = -2  # the position of a child that has run all it will
HANDED = -3  # that of one that was handed a batch and has not taken it up


class ProgressBoard:
    """Shared memory: anonymous, for a fork; or a file's, which survives an exec too."""

    def __init__(self, file: int = -1) -> None:
        self._memory = mmap.mmap(file, mmap.PAGESIZE)

    def reset(self, count: int, position: int = -1) -> None:
        """Before a batch: nothing runs, all ``count`` tests may."""
        _POSITION.pack_into(self._memory, 0, position)
        _STARTED.pack_into(self._memory, _STARTED_AT, 0.0)
        _TIMEOUT.pack_into(self._memory, _TIMEOUT_AT, 0.0)
        _LIMIT.pack_into(self._memory, _LIMIT_AT, count)
        _LAST.pack_into(self._memory, _LAST_AT, -1)
        _TEARDOWN.pack_into(self._memory, _TEARDOWN_AT, False)
        self.hooked, self.context = 0, ""

    def begin(self, position: int, started: float, timeout_s: float) -> bool:
        """The child is about to start a test; False when it must not.

        The position is written before the limit is read, and `revoke` does the
        opposite: at worst one test is given back and run as well, which the driver
        notices; none is lost.
        """
        _STARTED.pack_into(self._memory, _STARTED_AT, started)
        _TIMEOUT.pack_into(self._memory, _TIMEOUT_AT, timeout_s)
        _TEARDOWN.pack_into(self._memory, _TEARDOWN_AT, False)
        self.hooked, self.context = 0, ""
        _POSITION.pack_into(self._memory, 0, position)
        if position >= self.limit:
            return False
        _LAST.pack_into(self._memory, _LAST_AT, position)
        return True

    def tear_down(self) -> None:
        """The test has run; what it used is torn down, and what others used with it."""
        _TEARDOWN.pack_into(self._memory, _TEARDOWN_AT, True)

    def idle(self) -> None:
        """The child is between tests."""
        _POSITION.pack_into(self._memory, 0, -1)

    def through(self) -> None:
        """The child has nothing more to run."""
        _POSITION.pack_into(self._memory, 0, THROUGH)

    def revoke(self, limit: int) -> int:
        """The runner lowers the limit; returns the first position surely not run.

        Between two tests the position says nothing: the last that was begun does.
        """
        _LIMIT.pack_into(self._memory, _LIMIT_AT, min(limit, self.limit))
        return max(self.limit, self.position + 1, self.last + 1)

    @property
    def position(self) -> int:
        return int(_POSITION.unpack_from(self._memory, 0)[0])

    @property
    def last(self) -> int:
        return int(_LAST.unpack_from(self._memory, _LAST_AT)[0])

    @property
    def hooked(self) -> int:
        """The process that is told before its test is preempted; 0 if none."""
        return int(_HOOKED.unpack_from(self._memory, _HOOKED_AT)[0])

    @hooked.setter
    def hooked(self, pid: int) -> None:
        _HOOKED.pack_into(self._memory, _HOOKED_AT, pid)

    @property
    def context(self) -> str:
        """What that test has as ``TRACEPARENT``; empty if it has none."""
        found: bytes = _CONTEXT.unpack_from(self._memory, _CONTEXT_AT)[0]
        return found.rstrip(b"\0").decode("ascii", "replace")

    @context.setter
    def context(self, text: str) -> None:
        _CONTEXT.pack_into(self._memory, _CONTEXT_AT, text.encode())

    @property
    def in_teardown(self) -> bool:
        return bool(_TEARDOWN.unpack_from(self._memory, _TEARDOWN_AT)[0])

    @property
    def limit(self) -> int:
        return int(_LIMIT.unpack_from(self._memory, _LIMIT_AT)[0])

    @property
    def started(self) -> float:
        return float(_STARTED.unpack_from(self._memory, _STARTED_AT)[0])

    @property
    def timeout_s(self) -> float:
        return float(_TIMEOUT.unpack_from(self._memory, _TIMEOUT_AT)[0])
