"""The runner's own loop: a child for each batch, watched, and what became of it.

One thread, one child at a time. A child may crash, hang, or leave processes behind:
that costs the test that ran, and the rest of the batch goes on in a new child.
"""

from __future__ import annotations

import faulthandler
import os
import select
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from dtf_dask.errors import ProtocolError
from dtf_dask.frames import FrameBuffer, pack
from dtf_dask.worker_plugins.runner import process_life
from dtf_dask.worker_plugins.runner.progress import THROUGH, ProgressBoard
from dtf_dask.worker_plugins.runner.sessions import (
    Job,
    MissingCasesError,
    RunnerSession,
)

_CHUNK = 256 * 1024
_EXIT_GRACE_S = 5.0  # for what a child does after its last test (atexit, flushing)
_DUMP_GRACE_S = 0.25  # for faulthandler to write the stacks before the kill
_NOTE_AFTER_S = 0.5  # a test that runs longer than this is named as running
_OUTPUT_BYTES_MAX = 8 * 2**20  # of a batch, written past pytest's capture


class _Gone(Exception):
    """The worker closed the channel: nobody is left to run anything for."""


class Supervisor:
    """Serves one channel until it closes.

    Parameters
    ----------
    channel
        A connected stream socket to the Dask worker.
    session
        What is run.
    output
        The read end of the pipe that is this process's stdout and stderr.
    """

    def __init__(
        self, channel: socket.socket, session: RunnerSession, output: int
    ) -> None:
        self._channel = channel
        self._session = session
        self._output = output
        self._board = getattr(session, "board", None) or ProgressBoard()
        self._inbox = FrameBuffer()
        self._requests: list[dict[str, Any]] = []
        self._later: list[dict[str, Any]] = []  # for when the batch is over
        self._output_left = _OUTPUT_BYTES_MAX

    def serve(self) -> None:
        """Greet, then run batch after batch."""
        process_life.adopt_orphans()
        process_life.die_with_parent(False)  # from here the channel says it, in order
        try:
            self._send({"op": "hello", "pid": os.getpid(), **self._session.describe()})
            while True:
                while not self._requests:
                    self._receive()
                request = self._requests.pop(0)
                if request["op"] == "batch":
                    self._run_batch(request)
                    self._requests[:0], self._later = self._later, []
                elif request["op"] == "close":
                    return
        except (_Gone, BrokenPipeError, ConnectionResetError):
            process_life.reap_leaked()

    # -- one batch ------------------------------------

    def _run_batch(self, request: dict[str, Any]) -> None:
        entries = request["entries"]
        self._output_left = _OUTPUT_BYTES_MAX
        self._session.spill = request["spill"]
        try:
            jobs = self._session.jobs(entries)
        except MissingCasesError as error:
            answer = {"op": "missing", "names": error.names[:100]}
            self._send(answer | self._session.describe())
            self._send({"op": "batch_end", "not_run": [entry[0] for entry in entries]})
            return
        first, leaked, cancelled = 0, [], False
        while first < len(jobs) and not cancelled:
            end = _Child(self, jobs[first:]).run()
            leaked += end.leaked
            cancelled = end.cancelled
            first += end.next_position
            if end.crash is not None:
                self._send(end.crash)
            jobs = jobs[: first + end.left]
            if end.stopped:
                break
        done = {job.number for job in jobs[:first]}
        not_run = [entry[0] for entry in entries if entry[0] not in done]
        self._send({"op": "batch_end", "not_run": not_run, "leaked": leaked})

    # -- the channel ------------------------------------

    def _send(self, frame: dict[str, Any]) -> None:
        self.relay(pack(frame))

    def relay(self, packed: bytes | bytearray) -> None:
        self._channel.sendall(packed)

    def let_go(self) -> None:
        """In a forked child: what is the runner's is not the tests'."""
        self._channel.close()
        os.close(self._output)

    def _receive(self) -> None:
        chunk = self._channel.recv(_CHUNK)
        if not chunk:
            raise _Gone
        self._requests += self._inbox.feed(chunk)


class _End:
    """What a child's life came to."""

    __slots__ = ("cancelled", "crash", "leaked", "left", "next_position", "stopped")

    def __init__(self) -> None:
        self.next_position = 0  # the first that was neither run nor the culprit
        self.left = 0  # how many after that may still be run
        self.crash: dict[str, Any] | None = None
        self.leaked: list[dict[str, Any]] = []
        self.cancelled = False
        self.stopped = False


class _Child:
    """One forked child and the watch over it."""

    def __init__(self, supervisor: Supervisor, jobs: Sequence[Job]) -> None:
        self._supervisor = supervisor
        self._jobs = jobs
        self._board = supervisor._board
        self._session = supervisor._session
        self._noted = -1
        self._idle = (-1, 0.0)  # after which position, since when
        self._cause = ""

    def run(self) -> _End:
        board, session = self._board, self._session
        board.reset(len(self._jobs))
        session.before_child()
        inlet, outlet = os.pipe()
        pid = self._start(inlet, outlet)
        os.close(outlet)
        try:
            status = self._watch(pid, inlet)
            return self._conclude(status)
        finally:
            process_life.kill_group(pid)
            os.close(inlet)
            session.after_child()

    def _start(self, inlet: int, outlet: int) -> int:
        start = getattr(self._session, "start_child", None)
        if start is not None:
            started: int = start(self._jobs, outlet)
            return started
        pid = os.fork()
        if pid == 0:
            os.close(inlet)
            board, supervisor = self._board, self._supervisor
            _child_main(self._session, self._jobs, board, outlet, supervisor)
        return pid

    # -- while it lives ------------------------------------

    def _watch(self, pid: int, inlet: int) -> int:
        """Relay frames until the child has ended; its exit status."""
        supervisor, channel = self._supervisor, self._supervisor._channel
        frames = FrameBuffer()
        handle = process_life.open_pidfd(pid)
        poll = select.poll()
        watched = [inlet, channel.fileno(), supervisor._output]
        for number in [*watched, *([handle] if handle >= 0 else [])]:
            poll.register(number, select.POLLIN)
        ended_at = 0.0
        try:
            while True:
                if supervisor._requests:  # came together with the batch
                    self._obey_waiting(pid)
                for number, _ in poll.poll(self._patience_ms(handle)):
                    if number == inlet:
                        if not self._relay_or_kill(inlet, frames, pid):
                            poll.unregister(inlet)
                    elif number == channel.fileno():
                        self._obey(pid)
                    elif number == supervisor._output:
                        self._relay_output()
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    self._drain(inlet, frames)
                    return status
                now = time.monotonic()
                if self._board.position == THROUGH:
                    ended_at = ended_at or now
                    if now - ended_at > _EXIT_GRACE_S:
                        process_life.kill(pid)
                self._check_test(pid, now)
        finally:
            if handle >= 0:
                os.close(handle)

    def _patience_ms(self, handle: int) -> int:
        if handle < 0:
            return 10
        board, limits_s = self._board, [_NOTE_AFTER_S]
        position, age_s = board.position, time.monotonic() - board.started
        if position >= 0:
            if self._noted != position:
                limits_s.append(_NOTE_AFTER_S - age_s)
            if board.timeout_s:
                limits_s.append(board.timeout_s + _DUMP_GRACE_S - age_s)
        return max(1, int(min(limits_s) * 1000) + 1)

    def _check_test(self, pid: int, now: float) -> None:
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
            process_life.kill(pid)
        elif position < 0:
            return
        elif position != self._noted and now - started > _NOTE_AFTER_S:
            self._noted = position
            number = self._jobs[position].number
            self._supervisor._send({"op": "running", "i": number})

    def _relay(self, inlet: int, frames: FrameBuffer) -> bool:
        chunk = os.read(inlet, _CHUNK)
        whole = bytearray()
        try:
            for raw in frames.split(chunk):
                whole += raw
        finally:  # also what came before something that is no frame
            if whole:
                self._supervisor.relay(whole)
        return bool(chunk)

    def _relay_or_kill(self, inlet: int, frames: FrameBuffer, pid: int) -> bool:
        try:
            return self._relay(inlet, frames)
        except ProtocolError as error:
            self._cause = f"wrote into dtf's own pipe: {error}"
            process_life.kill(pid)
            return False

    def _drain(self, inlet: int, frames: FrameBuffer) -> None:
        """Take what the dead child had written; a torn last frame is dropped."""
        os.set_blocking(inlet, False)
        try:
            while self._relay(inlet, frames):
                pass
        except (BlockingIOError, ProtocolError):
            pass  # a process that it left behind still holds the other end
        self._relay_output()

    def _relay_output(self) -> None:
        supervisor = self._supervisor
        try:
            chunk = os.read(supervisor._output, 65536)
        except BlockingIOError:
            return
        kept = chunk[: supervisor._output_left]
        supervisor._output_left -= len(kept)
        if kept:
            supervisor._send({"op": "output", "data": kept})

    def _obey(self, pid: int) -> None:
        """Requests that come while the child runs."""
        supervisor = self._supervisor
        try:
            supervisor._receive()
        except _Gone:
            process_life.kill(pid)
            raise
        self._obey_waiting(pid)

    def _obey_waiting(self, pid: int) -> None:
        supervisor = self._supervisor
        waiting, supervisor._requests = supervisor._requests, []
        for request in waiting:
            if request["op"] == "revoke":
                self._revoke(request)
            elif request["op"] == "kill":
                self._cause = "cancelled"
                process_life.kill(pid)
            else:
                supervisor._later.append(request)

    def _revoke(self, request: dict[str, Any]) -> None:
        """Give back the tests from the first that is asked for on, where not begun."""
        wanted = set(request["numbers"])
        numbers = [job.number for job in self._jobs]
        limit = next((p for p, n in enumerate(numbers) if n in wanted), len(numbers))
        first_free = self._board.revoke(limit)
        self._supervisor._send({"op": "revoked", "numbers": numbers[first_free:]})

    # -- when it is dead ------------------------------------

    def _conclude(self, status: int) -> _End:
        board, end = self._board, _End()
        position, limit = board.position, board.limit
        end.leaked = process_life.reap_leaked()
        if self._cause == "cancelled":
            end.cancelled = end.stopped = True
            end.next_position = position if position >= 0 else board.last + 1
            return end
        if position == THROUGH:  # it said that it was through
            end.next_position = board.last + 1
            end.stopped = end.next_position < limit  # pytest.exit, maxfail and such
            return end
        # One that ends before its first test, whatever it is, costs that test: without
        # a culprit it would be started again and again.
        culprit = position if position >= 0 else max(board.last, 0)
        after_s = max(0.0, time.monotonic() - board.started)
        end.crash = self._session.leftover() | {
            "op": "crash",
            "i": self._jobs[culprit].number,
            "cause": self._cause or process_life.death(status),
            "between": position < 0 <= board.last,
            "timeout_s": board.timeout_s,
            "after_s": after_s,
            "start": time.time() - after_s,
        }
        end.next_position = culprit + 1
        end.left = max(0, limit - end.next_position)
        return end


def _child_main(
    session: RunnerSession,
    jobs: Sequence[Job],
    board: ProgressBoard,
    outlet: int,
    supervisor: Supervisor,
) -> NoReturn:
    """Everything a forked child does; it never returns into the runner's code."""
    code = 70
    try:
        process_life.lead_group()
        run_exit_handlers = process_life.forget_exit_handlers()
        if faulthandler.is_enabled():
            faulthandler.enable(file=2)  # not the terminal of the controller
        supervisor.let_go()
        session.run(jobs, board, process_life.emitter(outlet))
        board.through()
        run_exit_handlers()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        code = 0
    except BaseException:
        # To the runner's own stderr; the supervisor reports the death.
        os.write(2, traceback.format_exc().encode("utf-8", "replace"))
    finally:
        os._exit(code)
