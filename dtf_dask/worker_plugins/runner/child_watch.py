"""A child of a runner, and the watch over it: what it tells, how it hangs and dies.

It may crash, hang, or leave processes behind: that is found out here, said, and tidied
up. One that is fit for it outlives its batch and is handed the next.
"""

from __future__ import annotations

import math
import os
import select
import socket
import time
from collections.abc import Sequence
from typing import Any

from dtf_dask.errors import ProtocolError
from dtf_dask.frames import FrameBuffer, pack
from dtf_dask.worker_plugins.runner import (
    checkpoint,
    child_life,
    process_life,
    trace_context,
    written,
)
from dtf_dask.worker_plugins.runner.progress import HANDED, THROUGH, ProgressBoard
from dtf_dask.worker_plugins.runner.sessions import Job, RunnerSession
from dtf_dask.worker_plugins.runner.worker_line import WorkerGone, WorkerLine

_CHUNK = 256 * 1024
_EXIT_GRACE_S = 5.0  # for what a child does after its last test (atexit, flushing)
_TAKE_GRACE_S = 5.0  # for one that waits to take what it is handed
_DUMP_GRACE_S = 0.25  # for faulthandler to write the stacks before the kill
_NOTE_AFTER_S = 0.5  # a test that runs longer than this is named as running


class BatchEnd:
    """What became of a batch, or of the part of it that one child ran."""

    __slots__ = (
        "cancelled",
        "crash",
        "leaked",
        "left",
        "next_position",
        "stays",
        "stopped",
    )

    def __init__(self) -> None:
        self.next_position = 0  # the first that was neither run nor the culprit
        self.left = 0  # how many after that may still be run
        self.crash: dict[str, Any] | None = None
        self.leaked: list[dict[str, Any]] = []
        self.cancelled = False
        self.stopped = False
        self.stays = False  # the child waits for the next


class Child:
    """A child that has just begun to run ``jobs``.

    `watch` it to the end of the batch. If it stays then, let it `take` the next batch
    and watch again; `dismiss` or `kill` it when there is none.
    """

    def __init__(
        self,
        line: WorkerLine,
        session: RunnerSession,
        board: ProgressBoard,
        jobs: Sequence[Job],
    ) -> None:
        self._line, self._session, self._board = line, session, board
        self.later: list[dict[str, Any]] = []  # requests for when the batch is over
        self._frames = FrameBuffer()
        self._begin(jobs)
        self._ran: set[int] = set()
        board.reset(len(jobs))
        session.before_child()
        self._inlet, outlet = os.pipe()
        os.set_blocking(self._inlet, False)
        self._orders, theirs = socket.socketpair()
        self._pid = self._start(outlet, theirs)
        os.close(outlet)
        theirs.close()
        self._handle = process_life.open_pidfd(self._pid)

    def _start(self, outlet: int, orders: socket.socket) -> int:
        start = getattr(self._session, "start_child", None)
        if start is not None:
            started: int = start(self._jobs, outlet)
            return started
        pid = os.fork()
        if pid == 0:
            child_life.live(
                self._session, self._jobs, self._board, outlet, orders, self._let_go
            )
        return pid

    def _let_go(self) -> None:
        """In the child: what is the runner's."""
        self._line.let_go()
        self._orders.close()
        os.close(self._inlet)

    def _begin(self, jobs: Sequence[Job]) -> None:
        self._jobs = jobs
        self._noted = -1
        self._idle = (-1, 0.0)  # after which position, since when
        self._cause = ""
        self._kill_at = math.inf  # once it was told that it is preempted

    # -- from batch to batch ------------------------------------

    def take(self, jobs: Sequence[Job], entries: Sequence[Any]) -> bool:
        """Hand the next batch to a child that waits; False if it cannot have it.

        A test is not run twice by one process: a retry begins anew.
        """
        if any(job.number in self._ran for job in jobs):
            self.dismiss()
            return False
        self._begin(jobs)
        self._board.reset(len(jobs), HANDED)
        session = self._session
        told = {"entries": list(entries), "spill": session.spill, "keep": session.keep}
        order = pack(told)
        try:
            self._orders.settimeout(_TAKE_GRACE_S)
            self._orders.sendall(order)
        except OSError:  # it died meanwhile
            self.kill()
            return False
        return True

    def dismiss(self) -> None:
        """End a child that waits: its exit handlers run, for a while."""
        self._orders.close()
        poll = select.poll()
        poll.register(self._line.output, select.POLLIN)
        if self._handle >= 0:
            poll.register(self._handle, select.POLLIN)
        deadline = time.monotonic() + _EXIT_GRACE_S
        while not os.waitpid(self._pid, os.WNOHANG)[0]:
            if time.monotonic() > deadline:
                process_life.kill(self._pid)
            poll.poll(10 if self._handle < 0 else 100)
            try:
                self._line.relay_output()
            except OSError:
                continue  # nobody listens any more
        self._clear_up()
        process_life.reap_leaked()

    def kill(self) -> None:
        """End it at once."""
        process_life.kill(self._pid)
        os.waitpid(self._pid, 0)
        self._clear_up()
        process_life.reap_leaked()

    def _clear_up(self) -> None:
        process_life.kill_group(self._pid)
        os.close(self._inlet)
        self._orders.close()
        if self._handle >= 0:
            os.close(self._handle)
        self._session.after_child()

    # -- while it runs ------------------------------------

    def watch(self) -> BatchEnd:
        """Relay what it tells until the batch is over."""
        stays = False
        try:
            status = self._follow()
            stays = status is None
            return self._survived() if status is None else self._conclude(status)
        finally:
            if not stays:
                self._clear_up()

    def _follow(self) -> int | None:
        """Until the child has ended, or waits; its exit status, or None."""
        line, orders, over_since = self._line, self._orders, 0.0
        poll = select.poll()
        numbers = [self._inlet, line.fileno(), line.output, orders.fileno()]
        for number in [*numbers, *([self._handle] if self._handle >= 0 else [])]:
            poll.register(number, select.POLLIN)
        while True:
            if line.requests:  # came together with the batch
                self._obey_waiting()
            for number, _ in poll.poll(self._patience_ms()):
                if number == self._inlet:
                    if not self._relay_or_kill():
                        poll.unregister(number)
                elif number == line.fileno():
                    self._obey()
                elif number == line.output:
                    line.relay_output()
                elif number == orders.fileno():
                    if self._waits():
                        return None
                    poll.unregister(number)
                    orders.close()  # which tells it to end
            done, status = os.waitpid(self._pid, os.WNOHANG)
            if done:
                self._drain()
                return status
            now = time.monotonic()
            if self._board.position in (THROUGH, HANDED):
                over_since = over_since or now
                if now - over_since > _grace_s(self._board.position):
                    process_life.kill(self._pid)
            else:
                over_since = 0.0
            if self._kill_at < math.inf:
                self._check_saved(now)
            else:
                self._check_test(now)

    def _waits(self) -> bool:
        """Whether it says that it waits for another batch, and may have one."""
        try:
            said = self._orders.recv(1)
        except OSError:
            said = b""
        if said != child_life.MORE or self._cause or self._board.position != THROUGH:
            return False
        self._drain()  # it was all written before
        return not len(self._frames) and process_life.only_child(self._pid)

    def _patience_ms(self) -> int:
        if self._handle < 0 or self._kill_at < math.inf:
            return 10
        board, limits_s = self._board, [_NOTE_AFTER_S]
        position, age_s = board.position, time.monotonic() - board.started
        if position >= 0:
            if self._noted != position:
                limits_s.append(_NOTE_AFTER_S - age_s)
            if board.timeout_s:
                limits_s.append(board.timeout_s + _DUMP_GRACE_S - age_s)
        return max(1, int(min(limits_s) * 1000) + 1)

    def _check_test(self, now: float) -> None:
        board = self._board
        position, started = board.position, board.started
        if position == -1 and board.last >= 0:
            # What outlives a test is torn down between two: that may hang as well.
            if self._idle[0] != board.last:
                self._idle = (board.last, now)
            started = self._idle[1]
        elif position < 0:
            return
        if board.timeout_s and now > started + board.timeout_s + _DUMP_GRACE_S:
            if board.position != position or board.started > started:
                return  # the child went on while we looked: not the same test
            self._cause = "timeout"
            process_life.kill(self._pid)
        elif position < 0:
            return
        elif position != self._noted and now - started > _NOTE_AFTER_S:
            self._noted = position
            self._line.send({"op": "running", "i": self._jobs[position].number})

    # -- what it tells ------------------------------------

    def _relay(self) -> bool:
        chunk = os.read(self._inlet, _CHUNK)
        whole = bytearray()
        try:
            for raw in self._frames.split(chunk):
                whole += raw
        finally:  # also what came before something that is no frame
            if whole:
                self._line.relay(whole)
        return bool(chunk)

    def _relay_or_kill(self) -> bool:
        try:
            return self._relay()
        except BlockingIOError:
            return True
        except ProtocolError as error:
            self._cause = f"wrote into dtf's own pipe: {error}"
            process_life.kill(self._pid)
            return False

    def _drain(self) -> None:
        """Take what has been written; of a dead child a torn last frame is dropped."""
        try:
            while self._relay():
                pass
        except (BlockingIOError, ProtocolError):
            pass  # it, or a process that it left behind, still holds the other end
        self._line.relay_output()

    # -- what the worker asks ------------------------------------

    def _obey(self) -> None:
        """Requests that come while the child runs."""
        try:
            self._line.receive()
        except WorkerGone:
            process_life.kill(self._pid)
            raise
        self._obey_waiting()

    def _obey_waiting(self) -> None:
        waiting, self._line.requests = self._line.requests, []
        for request in waiting:
            if request["op"] == "revoke":
                self._revoke(request)
            elif request["op"] == "kill":
                self._cause = "cancelled"
                process_life.kill(self._pid)
            elif request["op"] == "preempt":
                self._preempt(float(request["wait_s"]))
            elif request["op"] == written.ASK:
                written.tell(
                    *(self._line, self._board, self._jobs, self._session, self._pid)
                )
            else:
                self.later.append(request)

    def _preempt(self, wait_s: float) -> None:
        """Kill it, and before that let it save what it can, if it wants to."""
        board, self._cause = self._board, "cancelled"
        hooked = board.hooked if board.position >= 0 else 0
        board.revoke(0)
        told = hooked > 0 and wait_s > 0
        if told and process_life.tell(hooked, self._pid, checkpoint.SIGNAL):
            self._kill_at = time.monotonic() + wait_s
        else:
            process_life.kill(self._pid)

    def _check_saved(self, now: float) -> None:
        """It has saved what it could, or its time is over, or it has ended anyway."""
        board = self._board
        if now > self._kill_at or not board.hooked or board.position < 0:
            process_life.kill(self._pid)

    def _revoke(self, request: dict[str, Any]) -> None:
        """Give back the tests from the first that is asked for on, where not begun."""
        wanted = set(request["numbers"])
        numbers = [job.number for job in self._jobs]
        limit = next((p for p, n in enumerate(numbers) if n in wanted), len(numbers))
        first_free = self._board.revoke(limit)
        self._line.send({"op": "revoked", "numbers": numbers[first_free:]})

    # -- when the batch is over ------------------------------------

    def _survived(self) -> BatchEnd:
        end = BatchEnd()
        end.stays = True
        end.next_position = self._board.last + 1
        self._ran |= {job.number for job in self._jobs[: end.next_position]}
        return end

    def _conclude(self, status: int) -> BatchEnd:
        """Of a dead child."""
        board, end = self._board, BatchEnd()
        position, limit = board.position, board.limit
        end.leaked = process_life.reap_leaked()
        if self._cause == "cancelled":
            end.cancelled = end.stopped = True
            end.next_position = position if position >= 0 else board.last + 1
            return end
        if position == HANDED:  # it ended while it waited: that costs nothing
            end.left = limit
            return end
        if position == THROUGH:  # it said that it was through
            end.next_position = board.last + 1
            end.stopped = end.next_position < limit  # pytest.exit, maxfail and such
            return end
        # One that ends before its first test, whatever it is, costs that test: without
        # a culprit it would be started again and again.
        culprit = position if position >= 0 else max(board.last, 0)
        after_s = max(0.0, time.monotonic() - board.started)
        end.crash = self._session.leftover() | trace_context.told(board)
        end.crash |= {
            "op": "crash",
            "i": self._jobs[culprit].number,
            "cause": self._cause or process_life.death(status),
            "between": position < 0 <= board.last,
            "teardown": position >= 0 and board.in_teardown,
            "timeout_s": board.timeout_s,
            "after_s": after_s,
            "start": time.time() - after_s,
        }
        end.next_position = culprit + 1
        end.left = max(0, limit - end.next_position)
        return end


def _grace_s(position: int) -> float:
    return _EXIT_GRACE_S if position == THROUGH else _TAKE_GRACE_S
