"""How a process becomes a runner: forked from a collected session, or started anew."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import traceback
from typing import Any, NoReturn

import pytest

from dtf_dask.frames import HEADER_BYTES, body_bytes, decode, pack
from dtf_dask.worker_plugins.runner.pytest_session import PytestSession, become_worker
from dtf_dask.worker_plugins.runner.supervisor import Supervisor, freeze

# Choices of the client's session that selected or ordered tests, or that write files:
# a runner is told by name what to run, and only the controller reports.
_NEUTRAL_OPTIONS: dict[str, Any] = {
    "keyword": "",
    "markexpr": "",
    "deselect": None,
    "maxfail": 0,
    "lf": False,
    "failedfirst": False,
    "newfirst": False,
    "stepwise": False,
    "stepwise_skip": False,
    "cacheclear": False,
    "xmlpath": None,
    "dtf": None,
    "collectonly": False,
    "verbose": 0,
    "cov_source": None,
}


def run_forked(session: pytest.Session, spec: dict[str, Any], address: str) -> NoReturn:
    """Be a runner in a process that was just forked from a collected session."""
    code, terminal = 70, os.dup(2)
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.setsid()  # Ctrl-C is the controller's to hear
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
    errors: list[str] | None = None,
) -> None:
    """Serve batches of a collected session until the worker hangs up."""
    runner = PytestSession(session, spec)
    runner.collect_errors = errors or []
    freeze()
    Supervisor(channel, runner, output).serve()


def main() -> int:
    """Entry of a runner that a worker started: the channel's number is its argument."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    spec = _first_frame(channel)
    output = _own_output()
    os.environ.update(spec.get("env", {}))
    if spec["kind"] == "cases":
        from dtf_dask.worker_plugins.runner.case_session import CaseSession

        freeze()
        Supervisor(channel, CaseSession(spec), output).serve()
        return 0
    root = os.path.abspath(spec["root"])
    os.chdir(os.path.join(root, spec["cwd"]))
    own = [os.path.normpath(os.path.join(root, entry)) for entry in spec["sys_path"]]
    sys.path[:0] = [entry for entry in own if entry not in sys.path]
    plugin = _SpawnedPlugin(channel, spec, output)
    code = int(pytest.main([*spec["args"], f"--rootdir={root}"], plugins=[plugin]))
    if not plugin.served:
        # Nothing was collected, or a conftest failed: the worker learns why.
        text = plugin.output_so_far()[-8000:]
        channel.sendall(pack({"op": "unusable", "code": code, "text": text}))
    return code


class _SpawnedPlugin:
    """Turns a pytest session of its own into a runner."""

    def __init__(
        self, channel: socket.socket, spec: dict[str, Any], output: int
    ) -> None:
        self._channel, self._spec, self._output = channel, spec, output
        self._errors: list[str] = []
        self.served = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> None:
        for name, value in _NEUTRAL_OPTIONS.items():
            if hasattr(config.option, name):
                setattr(config.option, name, value)
        become_worker(config, self._spec)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._errors.append(f"{report.nodeid}: {report.longreprtext}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.served = True
        serve_session(session, self._spec, self._channel, self._output, self._errors)
        _say_no_more()
        return True

    def output_so_far(self) -> str:
        try:
            return os.read(self._output, 65536).decode("utf-8", "replace")
        except BlockingIOError:
            return "(it printed nothing)"


def may_fork() -> bool:
    """Whether forking this process is safe: the platform can, and no thread runs."""
    return hasattr(os, "fork") and threading.active_count() == 1


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


def _say_no_more() -> None:
    """What pytest prints at its end has no reader."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    os.close(nothing)


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
