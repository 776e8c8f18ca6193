"""A cluster that never rests: a run after the other, and who leads is killed.

What benchmarks/soak_monitor.py looks at. Threads and processes, no Qt.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from monitor_app.feed.calls import Caller, CallError
from monitor_app.feed.place import Place, parse_place

CASES = 120
FAILING = {n for n in range(CASES) if n % 11 == 0}
_SUITE = f"""
import pytest, time

@pytest.mark.parametrize("n", range({CASES}))
def test_case(n):
    print("case", n, "begins")
    time.sleep(0.2)
    assert n % 11, "as it must"
"""
_DTF = "from dtf_dask.cli.main import main; main()"
_START_S, _END_S, _RUN_S = 120.0, 30.0, 300.0


class Killed(NamedTuple):
    """A coordinator that led, when it was killed, and the term in which it did."""

    at: float
    name: str
    term: int


class Cluster:
    """``dtf dev`` with three coordinators and two workers, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = (folder / "dev.log").open("wb")
        words = ["dev", "--coordinators", "3", "--workers", "2", "--web", "0"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _DTF, *words, "--folder", str(folder / "dev")],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            # Ctrl-C ends the soak, which ends this when it is ready to.
            start_new_session=True,
        )
        assert self._process.stdout is not None
        try:
            self.contact = self._process.stdout.readline().strip()
            self.places = self._served()
        except BaseException:
            self.close()
            raise

    def _served(self) -> list[Place]:
        """Where each coordinator serves, as they are told of at the start."""
        ends = time.monotonic() + _START_S
        while time.monotonic() < ends and self._process.poll() is None:
            text = Path(self._log.name).read_text(errors="replace")
            found = [word for word in text.split() if word.startswith("http://")]
            if len(found) >= 3:
                return [parse_place(one) for one in found[:3]]
            time.sleep(0.1)
        raise SystemExit("the cluster did not come up: " + tail(Path(self._log.name)))

    def asked(self, path: str, **query: object) -> Any:
        """What one of the coordinators answers; None if none does."""
        for place in self.places:
            caller = Caller(place, call_s=3.0)
            try:
                return caller.get(path, query)
            except CallError:
                continue
            finally:
                caller.close()
        return None

    def kill_leader(self) -> Killed | None:
        """Kill who leads, and his scheduler with him; None if nobody can be found."""
        told = self.asked("/coordinators")
        if told is None or told["leader"] is None:
            return None
        names = {one["node"]: one["name"] for one in told["items"]}
        name = str(names[told["leader"]])
        folder = str(self._folder / "dev" / name)
        for child in psutil.Process(self._process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                words = child.cmdline()
                if "dtf_dask.ha.node_process" not in words or folder not in words:
                    continue
                schedulers = [
                    one
                    for one in child.children()
                    if "dtf_dask.standby.process" in one.cmdline()
                ]
                at = time.time()
                for one in (child, *schedulers):
                    one.send_signal(signal.SIGKILL)
                return Killed(at, name, int(told["term"]))
        return None

    def close(self) -> None:
        """End it, and whatever is left of it."""
        children: list[psutil.Process] = []
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(self._process.pid).children(recursive=True)
            self._process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        self._process.kill()
        self._process.wait()
        for one in psutil.wait_procs(children, timeout=3)[1]:
            with contextlib.suppress(psutil.Error):
                one.kill()
        self._log.close()


class Work:
    """Runs tests, and kills who leads, from `start` until `stop`.

    Attributes
    ----------
    killed
        Who was killed, the last one last.
    runs
        How each run ended: 1, as some of its tests fail.
    """

    def __init__(self, cluster: Cluster, folder: Path, kill_each_s: float) -> None:
        self._cluster = cluster
        self._folder = folder / "suite"
        self._folder.mkdir()
        (self._folder / "pytest.ini").write_text("[pytest]\n")
        (self._folder / "test_soak.py").write_text(_SUITE)
        self._kill_each_s = kill_each_s
        self._over = threading.Event()
        self._running: subprocess.Popen[bytes] | None = None
        self.killed: list[Killed] = []
        self.runs: list[int] = []
        self._threads = [
            threading.Thread(target=one, name=one.__name__)
            for one in (self._run, self._kill)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Begin no other run, and kill nobody more."""
        self._over.set()

    @property
    def over(self) -> bool:
        """Whether the last run has ended."""
        return not any(one.is_alive() for one in self._threads)

    def close(self) -> None:
        """End, whatever runs."""
        self.stop()
        running = self._running
        if running is not None and running.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            with (self._folder.parent / "runs.log").open("ab") as log:
                words = ["run", "--address", self._cluster.contact]
                self._running = subprocess.Popen(
                    [sys.executable, "-c", _DTF, *words],
                    cwd=self._folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
                try:
                    self.runs.append(self._running.wait(_RUN_S))
                except subprocess.TimeoutExpired:
                    os.killpg(self._running.pid, signal.SIGKILL)
                    self.runs.append(self._running.wait())

    def _kill(self) -> None:
        while not self._over.wait(self._kill_each_s):
            while not self._over.wait(0.5):
                with contextlib.suppress(psutil.Error, LookupError, TypeError):
                    found = self._cluster.kill_leader()
                    if found is not None:
                        self.killed.append(found)
                        break


def tail(path: Path, lines_max: int = 40) -> str:
    """The last lines of a log, for who looks for a cause."""
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return "\n".join([f"-- {path.name}", *lines[-lines_max:]])


@contextlib.contextmanager
def busy_cluster(folder: Path, kill_each_s: float) -> Iterator[tuple[Cluster, Work]]:
    """A cluster with its work, which has not begun; all of it ends afterwards."""
    cluster = Cluster(folder)
    try:
        work = Work(cluster, folder, kill_each_s)
        try:
            yield cluster, work
        finally:
            work.close()
    finally:
        cluster.close()
