"""A cluster of one version becomes one of another, node by node, while work goes on.

    git worktree add ../older SOME_COMMIT
    python tests/chaos/run_upgrade.py ../older [--newer FOLDER] [--clients newer]

Three coordinators, two workers, a client with tasks and a `dtf run` are begun with the
code in the older folder. Then, as docs/deployment.md says, each coordinator is stopped
and started with the newer code (what this file belongs to, unless said), the leader
last; then the workers, one after the other. Checked: every task and every test ran once
and has its value, the run ends with 0, and all coordinators are well in the end. Ends
with 1 if not.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

from dtf_dask.cli.free_ports import free_ports

_HERE = Path(__file__).resolve().parents[2]
_NAMES = "abc"
_TESTS, _TASKS = 300, 400
_EACH_S = 0.8
_WAIT_S = 90.0
_DTF = "from dtf_dask.cli.main import main; main()"
_SUITE = f"""
import os, time, pytest

@pytest.mark.parametrize("number", range({_TESTS}))
def test_one(number):
    with open(os.environ["RAN"] + ".tests", "a") as file:
        file.write(f"{{number}}\\n")
    time.sleep({_EACH_S})
"""
_CLIENT = f"""
import os, sys, time
from dtf_dask import Client

def task(number):
    with open(os.environ["RAN"] + ".tasks", "a") as file:
        file.write(f"{{number}}\\n")
    time.sleep({_EACH_S})
    return number * number

with Client(sys.argv[1]) as client:
    futures = client.map(task, range({_TASKS}), pure=False)
    assert client.gather(futures) == [n * n for n in range({_TASKS})]
"""


class Upgrade:
    """A cluster in a folder, whose processes have the code of one or the other."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self._folder, self._stack = folder, stack
        ports = free_ports(len(_NAMES))
        places = zip(_NAMES, ports, strict=True)
        self._peers = ",".join(f"{name}=127.0.0.1:{port}" for name, port in places)
        self.contact = "dtf://" + ",".join(f"127.0.0.1:{port}" for port in ports)

    def prepare(self, code: Path) -> None:
        """Folders of the coordinators."""
        words = ("ha", "prepare", "--peers", self._peers, str(self._folder / "made"))
        subprocess.run(self._dtf(*words), check=True, env=self._env(code))

    def start(
        self, code: Path, *words: str, log: str, own: bool = False
    ) -> subprocess.Popen[bytes]:
        """A command of dtf, or of Python (`own`), ended with this."""
        with (self._folder / f"{log}.log").open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-P", *words] if own else self._dtf(*words),
                stdout=out,
                stderr=out,
                env=self._env(code),
                cwd=self._folder / "work",
            )
        self._stack.callback(_ended, process)
        return process

    def coordinator(self, code: Path, name: str) -> subprocess.Popen[bytes]:
        """One of them."""
        return self.start(
            code, "coordinator", "--data", str(self._data(name)), log=name
        )

    def status(self, code: Path, name: str = "a") -> dict:
        """What `dtf status` says."""
        words = ("status", str(self._data(name)), "--json")
        done = subprocess.run(
            self._dtf(*words),
            env=self._env(code),
            capture_output=True,
            check=False,
        )
        with contextlib.suppress(ValueError):
            return json.loads(done.stdout)
        return {}

    def well(self, code: Path, workers: int) -> dict:
        """Wait until one leads and all others are shadows."""
        ends = time.monotonic() + _WAIT_S
        while True:
            found = self.status(code)
            nodes = found.get("coordinators", {}).values()
            roles = sorted(
                "away" if isinstance(one, str) else str(one["scheduler"]["role"])
                for one in nodes
            )
            if (
                roles == ["leads", "shadow", "shadow"]
                and found.get("workers", 0) >= workers
            ):
                return found
            if time.monotonic() > ends:
                raise TimeoutError(f"after {_WAIT_S:g} s it stands so: {found}")
            time.sleep(0.5)

    def ran(self, what: str) -> collections.Counter[str]:
        """How often each ran."""
        with contextlib.suppress(FileNotFoundError):
            return collections.Counter(
                (self._folder / f"ran.{what}").read_text().split()
            )
        return collections.Counter()

    def _data(self, name: str) -> Path:
        return self._folder / "made" / name

    def _dtf(self, *words: str) -> list[str]:
        return [sys.executable, "-P", "-c", _DTF, *words]

    def _env(self, code: Path) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(code),
            "RAN": str(self._folder / "ran"),
        }


def _ended(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _problems(made: Upgrade, code: Path) -> Iterator[str]:
    for what, count in (("tests", _TESTS), ("tasks", _TASKS)):
        ran = made.ran(what)
        more = {number: times for number, times in ran.items() if times > 1}
        if more:
            yield f"{what} that ran more than once: {more}"
        if len(ran) != count:
            yield f"{len(ran)} of {count} {what} ran"
    alarms = made.well(code, 1)["alarms"]
    if alarms:
        yield f"alarms: {alarms}"


def upgraded(
    older: Path, newer: Path, clients: Path, pause_s: float, folder: Path
) -> list[str]:
    """Do it, and answer what was wrong."""
    with contextlib.ExitStack() as stack:
        work = folder / "work"
        work.mkdir()
        (work / "test_suite.py").write_text(textwrap.dedent(_SUITE))
        (work / "client.py").write_text(textwrap.dedent(_CLIENT))
        made = Upgrade(folder, stack)
        made.prepare(older)
        nodes = {name: made.coordinator(older, name) for name in _NAMES}
        worker = ("worker", made.contact, "--nworkers", "1", "--nthreads", "2")
        workers = [made.start(older, *worker, log=f"w{n}") for n in range(2)]
        leader = made.well(older, 2)["leader"]
        began = time.monotonic()
        run = made.start(
            clients, "run", "test_suite.py", "--address", made.contact, log="run"
        )
        client = made.start(
            clients, "-c", _CLIENT, made.contact, log="client", own=True
        )

        def say(what: str) -> None:
            at = time.monotonic() - began
            ran = ", ".join(
                f"{sum(made.ran(w).values())} {w}" for w in ("tests", "tasks")
            )
            print(f"{at:6.1f} s: {what} ({ran} begun)", flush=True)

        say(f"{leader} leads")
        for name in sorted(_NAMES, key=lambda one: one == leader):
            nodes[name].terminate()
            nodes[name].wait(_WAIT_S)
            nodes[name] = made.coordinator(newer, name)
            found = made.well(newer, 2)
            say(f"{name} is of the newer version; {found['leader']} leads")
            time.sleep(pause_s)
        wrong = []
        for what, process in (("the run", run), ("the client", client)):
            code = process.wait(_WAIT_S * 6)
            say(f"{what} ended with {code}")
            if code:
                wrong.append(f"{what} ended with {code}")
        for number, old in enumerate(workers):
            _ended(old)
            made.start(newer, *worker, log=f"w{number}")
            made.well(newer, 2)
            say(f"w{number} is of the newer version")
        return [*wrong, *_problems(made, newer)]


def main() -> int:
    """Upgrade, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("older", type=Path, help="a folder with the older code")
    parser.add_argument("--newer", type=Path, default=_HERE, help="with the newer one")
    parser.add_argument("--pause", type=float, default=3.0, help="between two, seconds")
    parser.add_argument("--clients", choices=("older", "newer"), default="older")
    options = parser.parse_args()
    older, newer = options.older.resolve(), options.newer.resolve()
    clients = {"older": older, "newer": newer}[options.clients]
    folder = Path(tempfile.mkdtemp(prefix="dtf-upgrade-"))
    try:
        wrong = upgraded(older, newer, clients, options.pause, folder)
    except (TimeoutError, subprocess.SubprocessError) as error:
        wrong = [str(error)]
    for line in wrong:
        print(f"broken: {line}")
    print(f"logs: {folder}" if wrong else "all ran once, with the right values")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
