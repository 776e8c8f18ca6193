"""Runs of tests beside clients that work: `dtf run`, and `client.run_cases`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from dtf_dask.model import Case
from failover import tasks
from failover.ledger import Ledger

_SHORT, _LONG, _SKIPPED = 40, 2, 3
_FAILS_EACH = 11
_CASES = 12
_RUN_S = 600.0
"""No run takes so long, whatever fails meanwhile."""
_INTERRUPTED_S = 20.0
_DTF = "from dtf_dask.cli.main import main; main()"
_SUITE = """
import time

import pytest
from failover import tasks

@pytest.fixture(autouse=True)
def counted(request):
    tasks.count_test(f"run-{number}-{{request.node.name}}")

@pytest.mark.parametrize("n", range({short}))
def test_short(n):
    time.sleep(n % 4 * 0.08)
    assert n % {fails}, "as it must"

@pytest.mark.parametrize("n", range({long}))
def test_long(n):
    time.sleep(4)

@pytest.mark.parametrize("n", range({skipped}))
def test_skips(n):
    pytest.skip("as it must")
"""


class Runs:
    """One run after the other, each with a suite of its own.

    Parameters
    ----------
    folder
        For suites, and for what runs keep.
    address
        Of the cluster.
    environment
        Of the command that runs, besides this process's.
    """

    def __init__(
        self, folder: Path, address: str, environment: dict[str, str], ledger: Ledger
    ) -> None:
        self._folder, self._address = folder, address
        self._environment = {**os.environ, **environment}
        self._ledger = ledger
        self._number = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Run until it is told to stop, and end what was begun."""
        while not stop.is_set():
            self._number += 1
            await self._one(self._number)

    async def _one(self, number: int) -> None:
        began, folder = time.monotonic(), self._folder / f"suite{number}"
        folder.mkdir(parents=True)
        (folder / "pytest.ini").write_text("[pytest]\n")
        (folder / "test_it.py").write_text(
            _SUITE.format(
                number=number,
                short=_SHORT,
                fails=_FAILS_EACH,
                long=_LONG,
                skipped=_SKIPPED,
            )
        )
        code, said = await self._command(folder)
        what = f"dtf run {number}"
        found = _outcomes(folder / "junit.xml")
        if code != 1 or found != _wanted():
            wrong = sorted(set(_wanted().items()) ^ set(found.items()))
            self._wrong(f"{what} ended with {code}, {wrong}: {said[-2000:]}")
            return
        if "dtf: coordinator " in said:
            self._ledger.done["dtf run over a failover"] += 1
        self._ledger.done["dtf run"] += 1
        ran = [f"run-{number}-{name}" for name in found]
        self._ledger.attempts(began, dict.fromkeys(ran, 1))

    async def _command(self, folder: Path) -> tuple[int | None, str]:
        words = [sys.executable, "-c", _DTF, "run", "--address", self._address]
        said = folder.with_suffix(".txt")  # beside what workers are sent
        with said.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *(*words, "--", "--junitxml", "junit.xml"),
                cwd=folder,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        late = ""
        try:
            if not await _ended(process, _RUN_S):
                late = f"not over within {_RUN_S:g} s: "
                os.killpg(process.pid, signal.SIGINT)  # it says what it waits for
                await _ended(process, _INTERRUPTED_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        return (
            None if late else process.returncode,
            late + said.read_text(errors="replace"),
        )

    def _wrong(self, what: str) -> None:
        self._ledger.broken.append(what)


async def run_cases(client: Any, prefix: str, ledger: Ledger) -> None:
    """Functions as tests: each has one attempt, of which its client hears once."""
    began = time.monotonic()
    names = [f"{prefix}-{n}" for n in range(_CASES)]
    handle = client.run_cases(
        [Case(name, fn=case, args=(name, n)) for n, name in enumerate(names)],
        results=str(ledger.folder.parent / "cases.sqlite"),
        suite="failover",
    )
    heard = [(one.case_id, one.outcome) async for one in handle]
    last = dict(heard)
    wanted = {name: "passed" if n % 5 else "failed" for n, name in enumerate(names)}
    if last != wanted:
        ledger.broken.append(f"cases of {prefix}: {heard}")
        return
    twice = [name for name, n in Counter(name for name, _ in heard).items() if n > 1]
    if twice and not ledger.died_since(began):
        ledger.broken.append(f"cases of {prefix} were told of twice: {twice}")
    ledger.attempts(began, dict.fromkeys(names, 1))


def case(name: str, number: int) -> None:
    """A test that counts itself."""
    tasks.count_test(name)
    time.sleep(number % 3 * 0.1)
    assert number % 5, "as it must"


async def _ended(process: asyncio.subprocess.Process, seconds: float) -> bool:
    """Whether it ends in time."""
    try:
        async with asyncio.timeout(seconds):
            await process.wait()
    except TimeoutError:
        return False
    return True


def _outcomes(path: Path) -> dict[str, tuple[str, ...]]:
    """By test, what a JUnit XML file says of it."""
    found: dict[str, tuple[str, ...]] = {}
    with contextlib.suppress(FileNotFoundError, ElementTree.ParseError):
        for one in ElementTree.parse(path).iter("testcase"):
            name = one.get("name", "")
            kinds = tuple(part.tag for part in one if part.tag != "properties")
            found[name] = ("twice",) if name in found else kinds
    return found


def _wanted() -> dict[str, tuple[str, ...]]:
    short = {
        f"test_short[{n}]": () if n % _FAILS_EACH else ("failure",)
        for n in range(_SHORT)
    }
    long: dict[str, tuple[str, ...]] = {f"test_long[{n}]": () for n in range(_LONG)}
    return short | long | {f"test_skips[{n}]": ("skipped",) for n in range(_SKIPPED)}
