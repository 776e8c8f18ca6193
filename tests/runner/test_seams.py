"""Every private name that runners use, pinned to the versions that were read.

A new version that fails here is looked at, not worked around: what is private may have
changed its meaning as well as its name.
"""

from __future__ import annotations

import atexit
import ctypes
import inspect
import os
import select
import signal
import socket
import subprocess
import sys

import distributed
import pluggy
import pytest
from _pytest.capture import CaptureManager, FDCapture, MultiCapture, SysCapture
from _pytest.fixtures import FixtureDef, FuncFixtureInfo
from _pytest.runner import CallInfo, SetupState
from _pytest.terminal import TerminalReporter
from _pytest.tmpdir import TempPathFactory
from distributed import Worker, WorkerPlugin
from packaging.version import Version

from dtf_dask import kernel
from dtf_dask.worker_plugins.runner import process_life, pytest_seam


@pytest.mark.parametrize(
    ("module", "first", "beyond"),
    [(pytest, "8.3", "10"), (pluggy, "1.5", "2"), (distributed, "2026.3", "2027")],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_the_versions_that_were_read(module, first, beyond):
    """The names below were compared with these."""
    assert Version(first) <= Version(module.__version__) < Version(beyond)


# pytest and pluggy


def test_reporting_hooks_exist_and_can_be_silenced(pytestconfig):
    """`silence_reporting` takes implementations out of a caller."""
    for name in pytest_seam.REPORT_HOOKS:
        assert hasattr(pytestconfig.hook, name)
    manager = pluggy.PluginManager("seam")

    class Hooks:
        @pluggy.HookspecMarker("seam")
        def told(self):
            """Is heard."""

    class Plugin:
        @pluggy.HookimplMarker("seam")
        def told(self):
            return 1

    manager.add_hookspecs(Hooks)
    plugin = Plugin()
    manager.register(plugin)
    assert [impl.plugin for impl in manager.hook.told.get_hookimpls()] == [plugin]
    manager.hook.told._remove_plugin(plugin)
    assert manager.hook.told() == []


def test_capture_names():
    """`start_capture` starts it anew, and finds the files under it."""
    for name in (
        "stop_global_capturing",
        "start_global_capturing",
        "suspend_global_capture",
    ):
        assert callable(getattr(CaptureManager, name))
    assert "in_" in inspect.signature(CaptureManager.suspend_global_capture).parameters
    manager = CaptureManager("no")
    manager.start_global_capturing()
    assert isinstance(manager._global_capturing, MultiCapture)
    assert (manager._global_capturing.out, manager._global_capturing.err) == (None,) * 2
    manager.stop_global_capturing()
    assert hasattr(SysCapture(1), "tmpfile")
    capture = FDCapture(1)
    try:
        assert capture.tmpfile.fileno() > 2
    finally:
        capture.done()


def test_tmp_path_names(tmp_path_factory, pytestconfig):
    """`use_basetemp` moves where `tmp_path` makes its folders."""
    assert pytestconfig._tmp_path_factory is tmp_path_factory
    assert isinstance(tmp_path_factory, TempPathFactory)
    made = tmp_path_factory.getbasetemp()
    assert tmp_path_factory._basetemp == made == pytest_seam.basetemp(pytestconfig)


def test_teardown_names(request):
    """`teardown_all` tears down what stands, and reports as pytest does."""
    assert isinstance(request.session._setupstate, SetupState)
    assert list(inspect.signature(SetupState.teardown_exact).parameters) == [
        "self",
        "nextitem",
    ]
    call = CallInfo.from_call(lambda: 1 / 0, when="teardown")
    report = pytest.TestReport.from_item_and_call(request.node, call)
    assert (report.when, report.outcome) == ("teardown", "failed")


@pytest.fixture(scope="module")
def shared():
    return 1


def test_fixture_names(request, shared):
    """`shared_fixtures` tells what outlives a test, and whose it is."""
    known = request.node._fixtureinfo
    assert isinstance(known, FuncFixtureInfo)
    assert "shared" in known.names_closure
    assert isinstance(known.name2fixturedefs["shared"][-1], FixtureDef)
    [(scope, base, name)] = pytest_seam.shared_fixtures(request.node)
    assert (scope, name) == ("module", "shared")
    assert request.node.nodeid.startswith(base)


def test_terminal_names(request):
    """What is drawn beside pytest's own lines."""
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    if type(reporter) is TerminalReporter:
        assert pytest_seam.terminal_file(reporter) is reporter._tw._file
        assert pytest_seam.has_colour(reporter) in (True, False)


# The standard library and the kernel


def _in_a_fork(body):
    """What ``body`` wrote, in a child of its own."""
    inlet, outlet = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            body(outlet)
        finally:
            os._exit(0)
    os.close(outlet)
    os.waitpid(pid, 0)
    with os.fdopen(inlet, "rb") as file:
        return file.read()


def test_exit_handlers_can_be_forgotten_and_run():
    """`atexit._clear` and `atexit._run_exitfuncs`, as CPython 3.11 to 3.13 do it."""

    def body(outlet):
        atexit.register(os.write, outlet, b"before")
        run = process_life.forget_exit_handlers()
        atexit.register(os.write, outlet, b"since")
        run()

    assert _in_a_fork(body) == b"since"


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_prctl_numbers():
    """PR_GET_CHILD_SUBREAPER (37) and PR_GET_PDEATHSIG (2) answer what was set."""

    def body(outlet):
        kernel.adopt_orphans()
        process_life.lead_group()
        libc, answer = ctypes.CDLL(None), ctypes.c_int(0)
        for option in (37, 2):
            assert libc.prctl(option, ctypes.byref(answer), 0, 0, 0) == 0
            os.write(outlet, f"{answer.value} ".encode())
        kernel.die_with_parent(False)
        libc.prctl(2, ctypes.byref(answer), 0, 0, 0)
        os.write(outlet, f"{answer.value} {os.getsid(0) == os.getpid()}".encode())

    assert _in_a_fork(body) == f"1 {int(signal.SIGKILL)} 0 True".encode()


def test_a_pidfd_is_readable_when_the_process_has_ended():
    """For a process that is not reaped yet, as well."""
    inlet, outlet = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(outlet)
        os.read(inlet, 1)
        os._exit(0)
    handle = process_life.open_pidfd(pid)
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    assert poll.poll(0) == []
    os.close(outlet)
    assert poll.poll(10_000)
    assert process_life.await_end(pid, 0.0)
    os.waitpid(pid, 0)
    os.close(handle)
    os.close(inlet)
    assert process_life.open_pidfd(pid) == -1


@pytest.mark.skipif(sys.platform != "linux", reason="SO_PEERCRED is Linux's")
def test_the_kernel_knows_who_is_at_the_other_end():
    """Three integers, the first is the process."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        credentials = ours.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    assert int.from_bytes(credentials[:4], sys.byteorder) == os.getpid()


def test_a_popen_that_another_reaps_stays_silent():
    """`FreshSession` sets ``returncode``: subprocess then neither waits nor warns."""
    process = subprocess.Popen(["true"])
    process.returncode = 0
    pid = process.pid
    del process
    assert os.waitpid(pid, 0)[0] == pid


# Dask


def test_worker_names():
    """What a plugin is called by and calls; `test_plugin` does so on real workers."""
    assert list(inspect.signature(Worker.log_event).parameters) == [
        "self",
        "topic",
        "msg",
    ]
    assert {"setup", "teardown"} <= set(dir(WorkerPlugin))
