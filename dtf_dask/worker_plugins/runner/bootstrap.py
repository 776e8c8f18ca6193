"""How a process becomes a runner: forked from a collected session, or started anew."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import tempfile
import threading
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import pytest

from dtf_dask.frames import HEADER_BYTES, body_bytes, decode, pack
from dtf_dask.kernel import die_with_parent
from dtf_dask.worker_plugins.runner.collecting import CollectingPlugin, collect_and_run
from dtf_dask.worker_plugins.runner.fresh_session import FreshSession
from dtf_dask.worker_plugins.runner.leftovers import tail
from dtf_dask.worker_plugins.runner.pytest_session import PytestSession
from dtf_dask.worker_plugins.runner.sessions import RunnerSession
from dtf_dask.worker_plugins.runner.supervisor import Supervisor


def run_forked(session: pytest.Session, spec: dict[str, Any], address: str) -> NoReturn:
    """Be a runner in a process that was just forked from a collected session."""
    code, terminal = 70, os.dup(2)
    try:
        # Ctrl-C is the controller's to hear; a test may still send itself the signal.
        as_before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.setsid()
        signal.signal(signal.SIGINT, as_before)
        output = _own_output()
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        channel.connect(address)
        adopt = {"op": "adopt", "run": spec["run"], "slot": spec["slot"]}
        channel.sendall(pack(adopt | {"token": spec["token"]}))
        serve_session(session, spec, channel, output)
        code = 0
    except BaseException:
        os.write(terminal, traceback.format_exc().encode("utf-8", "replace"))
    finally:
        os._exit(code)


def serve_session(
    session: pytest.Session,
    spec: dict[str, Any],
    channel: socket.socket,
    output: int,
    errors: Sequence[str] = (),
) -> None:
    """Serve batches of a collected session until the worker hangs up."""
    runner: RunnerSession
    if may_fork():
        runner = PytestSession(session, spec)
        runner.collect_errors = list(errors)
        gc.freeze()  # so that the collector of a child does not copy every page
    else:
        runner = FreshSession(spec)
    Supervisor(channel, runner, output).serve()


def main() -> int:
    """Entry of a runner that a worker started: the channel's number is its argument."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    die_with_parent()
    spec = _first_frame(channel)
    if spec["kind"] == "cases":
        from dtf_dask.worker_plugins.runner.case_session import CaseSession

        Supervisor(channel, CaseSession(spec), _own_output()).serve()
        return 0
    if spec["isolate"] == "process":
        Supervisor(channel, FreshSession(spec), _own_output()).serve()
        return 0

    def serve(session: pytest.Session, errors: list[str]) -> None:
        serve_session(session, spec, channel, _own_output(), errors)

    with tempfile.TemporaryFile(prefix="dtf-collecting-") as said:
        # A file, which never fills up: nobody reads it while the suite is collected.
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        plugin = CollectingPlugin(spec, serve)
        code = collect_and_run(spec, plugin)
        if not plugin.served:
            # Nothing was collected, or a conftest failed: the worker learns why.
            sys.stdout.flush()
            text = tail(said.fileno())[-8000:] or "(it printed nothing)"
            channel.sendall(pack({"op": "unusable", "code": code, "text": text}))
    return code


def may_fork() -> bool:
    """Whether forking this process is safe: the platform can, and no thread works.

    A thread that waits for connections holds no lock that a child would miss:
    plugins such as pytest-rerunfailures leave one in every session.
    """
    if not hasattr(os, "fork"):
        return False
    frames = sys._current_frames()
    own = threading.get_ident()
    others = [frame for thread, frame in frames.items() if thread != own]
    return all(frame.f_code is socket.socket.accept.__code__ for frame in others)


def _own_output() -> int:
    """Replace stdin by nothing, stdout and stderr by a pipe; its read end."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    inlet, outlet = os.pipe()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(outlet, 1)
    os.dup2(outlet, 2)
    os.close(nothing)
    os.close(outlet)
    os.set_blocking(inlet, False)
    return inlet


def _first_frame(channel: socket.socket) -> dict[str, Any]:
    """Read exactly one frame: what follows it is the supervisor's."""
    head = channel.recv(HEADER_BYTES, socket.MSG_WAITALL)
    body = channel.recv(body_bytes(head), socket.MSG_WAITALL) if head else b""
    if not body:
        sys.exit("dtf runner: the worker hung up before it said what to run")
    frame: dict[str, Any] = decode(body)
    return frame


if __name__ == "__main__":
    sys.exit(main())
