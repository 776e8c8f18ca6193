"""Health checks: contained whatever they do, and told to the scheduler in words."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import dask.config
import pytest

from dtf_dask import Client, LocalCluster
from dtf_dask.config import load
from dtf_dask.errors import ConfigurationError
from dtf_dask.scheduler_plugins.adapter.offers import unhealthy
from dtf_dask.worker_plugins.hardware import health
from dtf_dask.worker_plugins.hardware.health import (
    Command,
    DiskFree,
    HealthWatch,
    installed_checks,
)


class Check:
    """A check that answers what a test sets, or does what it is told."""

    name = "mine"

    def __init__(self, said: Any = None) -> None:
        self.said = said
        self.asked = 0

    def problem(self) -> str | None:
        self.asked += 1
        said = self.said() if callable(self.said) else self.said
        return said  # type: ignore[no-any-return]


async def heard(
    check: Any, until: Callable[[HealthWatch], bool], **options: Any
) -> list[list[str]]:
    """All changes of what a watch says, until something holds."""
    changes: list[list[str]] = []
    options = {"interval_s": 0.005, "timeout_s": 60.0, "failures": 3, **options}
    watch = HealthWatch(
        [check], changed=lambda: changes.append(watch.problems), **options
    )
    watch.start()
    async with asyncio.timeout(60):
        while not until(watch):
            await asyncio.sleep(0.005)
    watch.stop()
    return changes


def told(check: Any, **options: Any) -> str:
    """The words of the first change."""
    changes = asyncio.run(heard(check, lambda watch: bool(watch.problems), **options))
    ((words,),) = changes
    return words


# What a check may do


def test_only_failures_in_a_row_count() -> None:
    """One that fails now and then says nothing, and one that heals says so once."""
    answers = iter(["a", "b", None, "c", "d", None, *"efghij", *[None] * 9999])
    check = Check(lambda: next(answers))
    changes = asyncio.run(heard(check, lambda _: check.asked > 14))
    assert changes == [["health check 'mine' failed 3 times: g"], []]


def test_one_that_raises_has_failed() -> None:
    """With the error as the reason, whatever kind it is."""

    def leave() -> None:
        raise SystemExit("no disk")

    assert (
        told(Check(leave)) == "health check 'mine' failed 3 times: SystemExit: no disk"
    )


def test_one_that_hangs_has_failed_and_is_not_started_twice() -> None:
    """Nobody waits for it."""
    gate = threading.Event()
    check = Check(lambda: gate.wait(100) and None)
    words = told(check, timeout_s=0.05)
    gate.set()
    assert words.startswith("health check 'mine' failed 3 times: it has not answered")
    assert check.asked == 1


@pytest.mark.parametrize("said", [17, True, b"bytes", ["list"], object()])
def test_nonsense_has_failed(said: object) -> None:
    """Neither text nor None is an answer."""
    assert "and not text or None" in told(Check(said))


def test_a_long_answer_is_cut() -> None:
    """In one line, and short."""
    words = told(Check("x\n" * 10**6), failures=1)
    assert words.startswith("health check 'mine' failed once: x x x")
    assert len(words) < 300


# Commands


def test_a_command_passes_with_code_0() -> None:
    """Whatever it prints."""
    assert Command("echo fine; echo odd >&2", 100).problem() is None


def test_a_command_that_fails_says_the_last_line_that_it_printed() -> None:
    """Or how it ended."""
    assert Command("echo a; echo b >&2; exit 3", 100).problem() == "exit code 3: b"
    assert Command("kill -9 $$", 100).problem() == "killed by SIGKILL"
    assert "exit code 127" in str(Command("no-such-command-at-all", 100).problem())


def test_a_command_that_hangs_is_killed_with_all_that_it_started() -> None:
    """Also what runs beside it and holds its output."""
    mark = f"{time.monotonic_ns()}"
    command = Command(f"sleep 1000.{mark} & sleep 1000.{mark}", 0.3)
    begun = time.monotonic()
    assert command.problem() == "it was killed after 300 ms"
    assert time.monotonic() - begun < 60
    assert not _running(mark)


def test_what_a_command_leaves_behind_is_killed() -> None:
    """And nobody waits for it, though it holds the output open."""
    mark = f"{time.monotonic_ns()}"
    begun = time.monotonic()
    assert Command(f"sleep 1000.{mark} & exit 0", 100).problem() is None
    assert time.monotonic() - begun < 60
    assert not _running(mark)


def _running(mark: str) -> str:
    """Processes with this in their command line; the killed need a moment to go."""
    found, end = "", time.monotonic() + 60
    while time.monotonic() < end:
        listed = subprocess.run(
            ["pgrep", "-f", f"[s]leep 1000.{mark}"], capture_output=True, text=True
        )
        found = listed.stdout
        if not found:
            break
        time.sleep(0.02)
    return found


def test_a_command_may_print_without_end() -> None:
    """It costs no memory; the end of it is what is said."""
    code = (
        "import sys; [sys.stdout.write('x' * 2**20) for _ in range(1024)];"
        "print(); print('the end'); sys.exit(1)"
    )
    command = Command(f'{sys.executable} -c "{code}"', 60)
    assert command.problem() == "exit code 1: the end"
    endless = Command("yes", 0.3)
    assert endless.problem() == "it was killed after 300 ms"


def test_the_disk(tmp_path: Any) -> None:
    """Enough is enough; too little says how much."""
    assert DiskFree(str(tmp_path), 1).problem() is None
    assert "have to be (hardware.disk-free-min)" in str(
        DiskFree(str(tmp_path), 2**60).problem()
    )


def test_a_broken_installed_check_is_a_problem_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The others are used."""

    class Point:
        def __init__(self, name: str, made: Any) -> None:
            self.name, self.value, self._made = name, f"{name}:make", made

        def load(self) -> Any:
            return self._made

    class Odd:
        name = "odd"
        problem = "none"

    points = [Point("good", Check), Point("bad", lambda: 1 / 0), Point("odd", Odd)]
    monkeypatch.setattr(health.metadata, "entry_points", lambda group: points)
    checks, problems = installed_checks()
    assert [check.name for check in checks] == ["mine"]
    assert ["bad" in one for one in problems] == [True, False]
    assert "expected a name" in problems[1]


@pytest.mark.parametrize("odd", ["true", [""], [7], ["x"] * 33, ["x" * 3000]])
def test_what_is_no_list_of_commands_is_refused(odd: object) -> None:
    """With what was expected."""
    with pytest.raises(ConfigurationError, match="at most 32 commands"):
        load({"hardware.health-checks": odd})


@pytest.mark.parametrize(
    "advert",
    [None, 7, {}, {"version": 1, "health": 7}, {"version": 1, "health": [None, ""]}],
)
def test_a_worker_may_say_anything(advert: object) -> None:
    """What is not understood counts as healthy."""
    assert unhealthy(advert) == ""


def test_much_that_a_worker_says_is_cut() -> None:
    """The scheduler keeps a few lines of it."""
    advert = {"version": 1, "health": ["x" * 10**6] * 1000}
    assert len(unhealthy(advert)) < 2000


# On a cluster


def until(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < end, "not within 60 s"
        time.sleep(0.02)
    return found


def test_a_failing_check_opens_the_workers_breaker_and_heals(tmp_path: Any) -> None:
    """It gets nothing and all tell why; passing again, one task is tried, then all."""
    sick = tmp_path / "sick"
    check = f"if test -e {sick}; then echo no /dev/kvm; exit 1; fi"
    settings = {
        "dtf.hardware.health-checks": [check],
        "dtf.hardware.health-interval": "100ms",
        "dtf.hardware.health-failures": 2,
    }
    with (
        dask.config.set(settings),
        LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):

        def row() -> dict[str, Any]:
            asked = client.sync(client._ask_scheduler, "dtf_workers")
            (found,) = asked["rows"]
            return dict(found)

        assert client.submit(sum, [1, 2]).result(timeout=60) == 3
        assert row()["breaker"] == "closed"
        sick.touch()
        until(lambda: row()["breaker"] == "open")
        why = "failed 2 times: exit code 1: no /dev/kvm"
        assert why in row()["shut"]
        future = client.submit(sum, [3, 4])
        assert why in str(client.explain(future))
        assert not future.done()
        sick.unlink()
        assert future.result(timeout=60) == 7
        until(lambda: row()["breaker"] == "closed")
        said = [event["message"] for _, event in client.get_events("dtf-scheduling")]
        assert [message.partition(":")[0] for message in said] == [
            "open",
            "half-open",
            "closed",
        ]


def test_a_full_disk_is_seen_by_itself() -> None:
    """With a bound, and without any other check."""
    settings = {
        "dtf.hardware.disk-free-min": "1000 GiB",
        "dtf.hardware.health-interval": "100ms",
    }
    with (
        dask.config.set(settings),
        LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        future = client.submit(sum, [1, 2])
        del future
        blocked = until(
            lambda: client.sync(client._ask_scheduler, "dtf_workers")["rows"][0]["shut"]
        )
        assert "health check 'disk' failed 3 times" in blocked
