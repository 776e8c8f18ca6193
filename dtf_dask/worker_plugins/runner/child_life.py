"""The child's own side: what a forked child does from its first breath to its last.

It runs a batch, and then, if the session finds it fit, says so and waits for the next:
what the suite has imported and built stays warm. Its end is the end of the orders.
"""

from __future__ import annotations

import faulthandler
import os
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from dtf_dask.frames import FrameBuffer
from dtf_dask.worker_plugins.runner import process_life
from dtf_dask.worker_plugins.runner.kept_reports import KeptReports
from dtf_dask.worker_plugins.runner.progress import ProgressBoard
from dtf_dask.worker_plugins.runner.sessions import Job, RunnerSession

MORE = b"m"  # all of the batch is told, and another may come
_CHUNK = 256 * 1024


def live(
    session: RunnerSession,
    jobs: Sequence[Job],
    board: ProgressBoard,
    outlet: int,
    orders: socket.socket,
    let_go: Callable[[], None],
) -> NoReturn:
    """Everything a forked child does; it never returns into the runner's code."""
    code = 70
    try:
        process_life.lead_group()
        run_exit_handlers = process_life.forget_exit_handlers()
        if faulthandler.is_enabled():
            faulthandler.enable(file=2)  # not the terminal of the controller
        let_go()
        kept = KeptReports()
        emit = process_life.emitter(outlet, kept.add)
        is_ours = process_life.same_file(orders.fileno())
        batch: Sequence[Job] | None = jobs
        while batch is not None:
            kept.begin(session.keep)
            session.run(batch, board, emit)
            board.through()
            fit = _may_stay(session) and is_ours()
            batch = _next_batch(session, board, orders) if fit else None
        run_exit_handlers()
        _flush()
        code = 0
    except BaseException:
        # To the runner's own stderr; the supervisor reports the death.
        os.write(2, traceback.format_exc().encode("utf-8", "replace"))
    finally:
        os._exit(code)


def _may_stay(session: RunnerSession) -> bool:
    ask = getattr(session, "may_stay", None)
    return ask is not None and bool(ask())


def _next_batch(
    session: RunnerSession, board: ProgressBoard, orders: socket.socket
) -> Sequence[Job] | None:
    """Wait for it; None when none will come."""
    _flush()
    orders.sendall(MORE)
    inbox = FrameBuffer()
    order: list[dict[str, Any]] = []
    while not order:
        chunk = orders.recv(_CHUNK)
        if not chunk:
            return None
        order = list(inbox.feed(chunk))
    session.spill, session.keep = order[0]["spill"], order[0]["keep"]
    jobs = session.jobs(order[0]["entries"])
    board.idle()
    return jobs


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
