"""How processes of a runner live and die: groups, parents, orphans, exit handlers.

The few names that are private to the standard library are used here only;
``tests/runner/test_seams.py`` pins them.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import psutil

from dtf_dask.frames import pack
from dtf_dask.kernel import children, die_with_parent

# What the reports of a child go by: a test that replaces `os.write` replaces its own.
_write, _getpid, _exit, _fstat = os.write, os.getpid, os._exit, os.fstat
_LOOK_FREE_S = 0.2
_REAP_S = 2.0
_LINGER_S = 0.05


def lead_group() -> None:
    """Be a session and group of our own: one kill reaches all that the tests start.

    And die with the runner, and be the first that the kernel takes when memory is
    short: it shall cost a test, not the worker.
    """
    if os.getpgrp() != os.getpid():
        os.setsid()
    die_with_parent()
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        pass  # not Linux


def forget_exit_handlers() -> Callable[[], None]:
    """Drop the parent's exit handlers; the result runs those added since."""
    atexit._clear()
    return run_exit_handlers


def run_exit_handlers() -> None:
    """Run them as the interpreter does: what one raises is printed, and no more."""
    try:
        atexit._run_exitfuncs()
    except BaseException:
        traceback.print_exc()


class Offspring:
    """Tells which processes are new below this one, at little cost.

    One system call says that there are none. Looking closer costs some milliseconds,
    so it is not done more than a twentieth of the time.
    """

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._since = time.perf_counter()
        self._spent = 0.0

    def new(self) -> list[int]:
        """Ids of the processes that were not there when it was asked before."""
        if not _has_children():
            return []
        begun = time.perf_counter()
        if self._spent > _LOOK_FREE_S + (begun - self._since) / 20:
            return []
        pids = {child.pid for child in psutil.Process().children(recursive=True)}
        self._spent += time.perf_counter() - begun
        found, self._known = sorted(pids - self._known), pids
        return found


class Footing:
    """What a process stands on: folder, standard descriptors and streams."""

    def __init__(self) -> None:
        self._folder = os.getcwd()
        self._files = [_identity(number) for number in range(3)]
        self._streams = sys.stdout, sys.stderr

    def holds(self) -> bool:
        """Whether all that is as it was, and nothing runs beside the main thread.

        Daemon threads do not count: they do not keep a process from ending either.
        """
        try:
            return (
                os.getcwd() == self._folder
                and [_identity(number) for number in range(3)] == self._files
                and sys.stdout is self._streams[0]
                and sys.stderr is self._streams[1]
                and not _other_threads()
                and not _has_children()
            )
        except Exception:  # whatever a test made of these
            return False


def _other_threads() -> list[threading.Thread]:
    """Those for which the interpreter would wait."""
    main = threading.main_thread()
    return [t for t in threading.enumerate() if not t.daemon and t is not main]


def _has_children() -> bool:
    """Running, or ended and not waited for."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def only_child(pid: int) -> bool:
    """Whether nothing else that descends from this process has come to it.

    What has ended is reaped on the way.
    """
    return all(
        other == pid or os.waitpid(other, os.WNOHANG)[0] for other in _children()
    )


def _children() -> list[int]:
    """From the kernel's own list, or else from one of all processes there are."""
    try:
        return list(children("self"))
    except OSError:
        return [child.pid for child in psutil.Process().children()]


def same_file(number: int) -> Callable[[], bool]:
    """A function that tells whether a descriptor still is what it was."""
    before = _identity(number)

    def is_same() -> bool:
        try:
            return _identity(number) == before
        except OSError:
            return False

    return is_same


def emitter(
    outlet: int, keep: Callable[[bytes], None] | None = None
) -> Callable[[dict[str, Any]], None]:
    """A function that writes frames whole to a pipe; reports are kept first, if asked.

    It raises `OSError` when a test has closed the pipe, even if the number then came
    to stand for a file of its own: what is not told must not count as told. And it
    ends a copy of this process that a test forked and let return to here.
    """
    is_ours, owner = same_file(outlet), _getpid()

    def emit(frame: dict[str, Any]) -> None:
        if _getpid() != owner:
            _exit(0)
        if not is_ours():
            raise OSError(f"descriptor {outlet} is no longer dtf's: a test closed it")
        packed = pack(frame)
        if keep is not None and frame["op"] == "case":
            keep(packed)
        view = memoryview(packed)
        while view:
            view = view[_write(outlet, view) :]

    return emit


def _identity(number: int) -> tuple[int, int]:
    status = _fstat(number)
    return status.st_dev, status.st_ino


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def tell(pid: int, ancestor: int, number: int) -> bool:
    """Send a signal to a process that is, or descends from, another; whether it is."""
    try:
        process = psutil.Process(pid)
        if ancestor not in (pid, *(parent.pid for parent in process.parents())):
            return False
        process.send_signal(number)
    except (psutil.Error, ValueError, OverflowError):
        return False
    return True


def kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def kill_tree(pid: int) -> None:
    """Kill a process that is no child of ours to ask, and all that descends from it."""
    try:
        root = psutil.Process(pid)
        found = root.children(recursive=True)
    except psutil.Error:
        return
    for process in (root, *found):
        try:
            process.kill()  # psutil sees to it that the id is still the same process's
        except psutil.Error:
            continue


def reap_leaked() -> list[dict[str, Any]]:
    """Kill what outlived a child, and say what it was.

    Orphans have come to us: see `adopt_orphans`. Some were about to end (Python's own
    resource tracker does, when its pipe closes): they have a moment to.
    """
    leaked: dict[int, dict[str, Any]] = {}
    now = time.monotonic()
    deadline, patience = now + _REAP_S, now + _LINGER_S
    while time.monotonic() < deadline:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            break  # the common case, one system call
        if time.monotonic() < patience:
            time.sleep(0.002)
            continue
        for process in psutil.Process().children(recursive=True):
            try:
                if process.status() != psutil.STATUS_ZOMBIE:
                    leaked.setdefault(process.pid, _portrait(process))
                    process.kill()
            except psutil.Error:
                continue
        time.sleep(0.002)
    return list(leaked.values())


def _portrait(process: psutil.Process) -> dict[str, Any]:
    return {
        "pid": process.pid,
        "command": " ".join(process.cmdline())[:200],
        "started": start_time(process),
    }


def start_time(process: psutil.Process) -> float:
    """Seconds since the epoch; the system's own boot time is a whole second off."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return process.create_time()
    after_boot = process.create_time() - psutil.boot_time()
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - after_boot
    return time.time() - age


def death(status: int) -> str:
    """How a process ended, in two words: ``exit 3``, ``signal SIGSEGV``."""
    if os.WIFSIGNALED(status):
        return f"signal {signal_name(os.WTERMSIG(status))}"
    return f"exit {os.waitstatus_to_exitcode(status)}"


def signal_name(number: int) -> str:
    """``SIGSEGV``; a number for one of the nameless real-time signals."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def open_pidfd(pid: int) -> int:
    """A descriptor that is readable when the process has ended; -1 if there is none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1  # not Linux, or an old one: the watch polls


def await_end(pid: int, timeout_s: float) -> bool:
    """Wait for a process that need not be a child of ours; whether it has ended."""
    handle = open_pidfd(pid)
    if handle < 0:
        return not psutil.pid_exists(pid)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))
    finally:
        os.close(handle)


def leave(code: int) -> NoReturn:
    """End this process as the interpreter would, but for taking its objects apart.

    After a session of 30,000 tests that alone takes a second.
    """
    if _other_threads():
        sys.exit(code)  # the interpreter waits for those
    run_exit_handlers()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(code)
