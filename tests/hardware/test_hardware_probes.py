"""Probes: side by side, in bounded time, and what each finds of a machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from dtf_dask.facts import checked
from dtf_dask.worker_plugins.hardware import browsers, cgroup, commands
from dtf_dask.worker_plugins.hardware.accelerators import AcceleratorsProbe
from dtf_dask.worker_plugins.hardware.cpu import CpuProbe
from dtf_dask.worker_plugins.hardware.probes import Prober, installed_probes
from dtf_dask.worker_plugins.hardware.system import (
    DiskProbe,
    MemoryProbe,
    PackagesProbe,
    SystemProbe,
)


class Fake:
    """A probe that does what it is told."""

    def __init__(self, name: str, act: Callable[[], Any]) -> None:
        self.name = name
        self.calls = 0
        self._act = act

    def facts(self) -> Mapping[str, Any]:
        self.calls += 1
        found: Mapping[str, Any] = self._act()
        return found


def fails() -> Any:
    raise OSError("no\nsuch thing")


def ends() -> Any:
    raise SystemExit(3)


def test_one_broken_probe_costs_its_own_facts_only() -> None:
    """Whatever it raises or returns is a problem in one line, never an exception."""
    probes = [
        Fake("good", lambda: {"cpu.cores": 2}),
        Fake("bad", fails),
        Fake("ending", ends),
        Fake("odd", lambda: 7),
    ]
    found = Prober(probes, 5).round()
    assert found.facts == {"cpu.cores": 2}
    assert found.answered == {"good"}
    assert found.problems == (
        "probe bad: OSError: no such thing",
        "probe ending: SystemExit: 3",
        "probe odd: TypeError: 'int' object is not iterable",
    )


def test_of_two_probes_the_later_is_right() -> None:
    """So an installed probe corrects one of dtf's."""
    probes = [Fake("a", lambda: {"host": "x"}), Fake("b", lambda: {"host": "y"})]
    assert Prober(probes, 5).round().facts == {"host": "y"}


def test_a_hung_probe_is_waited_for_once_and_not_started_again() -> None:
    """The others' facts come in time; when it answers after all, that is taken."""
    gate = threading.Event()
    hung = Fake("hung", lambda: {"host": "x"} if gate.wait(100) else {})
    good = Fake("good", lambda: {"cpu.cores": 2})
    prober = Prober([hung, good], 0.2)
    began = time.monotonic()
    for _ in range(3):
        found = prober.round()
        assert found.facts == {"cpu.cores": 2}
        assert found.problems == ("probe hung has not answered within 0.2 s",)
    assert time.monotonic() - began < 60
    assert (hung.calls, good.calls) == (1, 3)
    gate.set()
    assert prober.round().facts == {"cpu.cores": 2, "host": "x"}
    prober.round()
    assert hung.calls == 2


def test_within_a_short_limit_late_is_no_problem() -> None:
    """A first look takes what is there; the next one has the rest."""
    gate = threading.Event()
    prober = Prober([Fake("slow", lambda: {"host": "x"} if gate.wait(100) else {})], 20)
    found = prober.round(0.05)
    assert (found.facts, found.problems) == ({}, ())
    gate.set()
    assert prober.round().facts == {"host": "x"}


def test_a_hung_probe_does_not_keep_the_process() -> None:
    """Its thread is a daemon: whoever started it may end."""
    code = (
        "import time, types\n"
        "from dtf_dask.worker_plugins.hardware.probes import Prober\n"
        "hung = types.SimpleNamespace(name='hung', facts=lambda: time.sleep(600))\n"
        "print(Prober([hung], 0.05).round().problems)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        timeout=60,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "hung has not answered" in done.stdout


def test_other_packages_bring_probes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an entry point; one that cannot be loaded is a problem, not an end."""
    (tmp_path / "their_probe.py").write_text(
        "class Probe:\n    name = 'theirs'\n"
        "    def facts(self):\n        return {'label.theirs': 'yes'}\n"
        "class NoProbe:\n    pass\n"
    )
    folder = tmp_path / "theirs-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\n")
    (folder / "entry_points.txt").write_text(
        "[dtf_dask.probes]\nb = their_probe:Probe\na = their_probe:NoProbe\n"
        "c = no_such_module_here:x\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    probes, problems = installed_probes()
    assert [probe.name for probe in probes] == ["theirs"]
    assert Prober(probes, 5).round().facts == {"label.theirs": "yes"}
    assert len(problems) == 2
    assert problems[0].startswith("probe a (their_probe:NoProbe) cannot be used: ")
    assert "no_such_module_here" in problems[1]


def test_all_that_is_found_here_is_a_fact() -> None:
    """Names, kinds and bounds are those that demands can ask for."""
    probes = [CpuProbe(), SystemProbe(), MemoryProbe(), DiskProbe("."), PackagesProbe()]
    probes += [browsers.BrowsersProbe(), AcceleratorsProbe()]
    found = Prober(probes, 20).round()
    assert found.problems == ()
    told = checked(found.facts)
    assert told.problems == ()
    names = {"os.name", "os.version", "host", "cpu.arch", "cpu.cores", "cpu.threads"}
    names |= {"memory", "disk.total", "disk.free", "python.version", "package.pytest"}
    assert names <= told.facts.keys()
    assert told.facts["cpu.threads"] <= (os.cpu_count() or 1)


CPUINFO = {
    "x86": "processor\t: 0\nmodel name\t: EPYC\nflags\t\t: fpu avx512f avx2\n\n",
    "arm": "processor : 0\nFeatures : neon crc32\n\nModel : Raspberry Pi 4\n",
}


@pytest.mark.parametrize(
    ("kind", "model", "features"),
    [
        ("x86", "EPYC", ["avx2", "avx512f", "fpu"]),
        ("arm", "Raspberry Pi 4", ["crc32", "neon"]),
    ],
)
def test_processors_are_described_as_linux_does(
    tmp_path: Path, kind: str, model: str, features: list[str]
) -> None:
    """Each architecture has its words for the same."""
    (tmp_path / "cpuinfo").write_text(CPUINFO[kind])
    facts = CpuProbe(tmp_path / "cpuinfo").facts()
    assert (facts["cpu.model"], facts["cpu.features"]) == (model, features)


@pytest.mark.parametrize(("quota", "threads"), [(None, None), (0.5, 1), (0.0001, 1)])
def test_threads_are_no_more_than_the_quota(
    quota: float | None, threads: int | None
) -> None:
    """Half a processor still runs one thread; without a limit affinity counts."""
    found = CpuProbe(quota=lambda: quota).facts()["cpu.threads"]
    assert found == (threads or len(os.sched_getaffinity(0)))


def test_limits_of_control_groups(tmp_path: Path) -> None:
    """The least on the way to the root counts; of both versions; "max" is none."""
    membership = tmp_path / "cgroup"
    membership.write_text("9:cpu,cpuacct:/a\n4:memory:/a\n0::/one/two\n")
    root = tmp_path / "fs"
    for folder, name, text in (
        ("one/two", "memory.max", "max"),
        ("one", "memory.max", "3000000"),
        ("one/two", "cpu.max", "150000 100000"),
        ("one", "cpu.max", "max 100000"),
        ("memory/a", "memory.limit_in_bytes", "2000000"),
        ("memory", "memory.limit_in_bytes", "9223372036854771712"),
        ("cpu,cpuacct/a", "cpu.cfs_quota_us", "-1"),
        ("cpu,cpuacct/a", "cpu.cfs_period_us", "100000"),
    ):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / name).write_text(text)
    assert cgroup.memory_limit(root, membership) == 2_000_000
    assert cgroup.cpu_limit(root, membership) == 1.5
    assert cgroup.memory_limit(tmp_path / "none", membership) is None
    assert cgroup.cpu_limit(tmp_path / "none", tmp_path / "none") is None


def test_memory_is_the_least_of_the_limits() -> None:
    """A worker that Dask limits has no more than that."""
    assert MemoryProbe(lambda: 12345).facts() == {"memory": 12345}
    assert MemoryProbe(lambda: None).facts()["memory"] > 2**20


def test_chosen_packages_only() -> None:
    """Names as PyPI compares them."""
    found = PackagesProbe(["PyTest", "no-such"]).facts()
    assert list(found) == ["package.pytest"]


def test_the_release_is_read_from_its_file(tmp_path: Path) -> None:
    """Name and version; a file that is not there says nothing."""
    file = tmp_path / "os-release"
    file.write_text('NAME="Ubuntu"\nID=ubuntu\nVERSION_ID="22.04"\n')
    facts = SystemProbe([tmp_path / "no", file]).facts()
    assert (facts["os.distribution"], facts["os.version"]) == ("ubuntu", "22.04")
    facts = SystemProbe([tmp_path / "no"]).facts()
    assert (facts["os.distribution"], facts["os.version"]) == (None, None)


def command(folder: Path, name: str, script: str) -> Path:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


def test_browsers_are_found_and_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that says no version is there all the same."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    said = tmp_path / "said"
    command(tmp_path, "firefox", f"echo x >> {said}; echo Mozilla Firefox 128.0.3esr")
    command(tmp_path, "opera", "exit 1")
    probe = browsers.BrowserVersionsProbe()
    assert probe.facts() == probe.facts()
    assert probe.facts()["browser.firefox"] == "128.0.3"
    assert "browser.opera" not in probe.facts()
    assert {"firefox", "opera"} <= set(browsers.BrowsersProbe().facts()["browsers"])
    assert said.read_text() == "x\n"
    command(tmp_path, "firefox", "echo Mozilla Firefox 129.0 beta")
    assert probe.facts()["browser.firefox"] == "129.0"


@pytest.mark.parametrize(
    "script",
    ["sleep 600 & sleep 600", "exec yes", "echo one; exit 3"],
    ids=["hangs", "never stops", "fails"],
)
def test_a_command_that_does_not_behave_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    """It is killed, with all that it started, after its time or its share of output."""
    monkeypatch.setattr(commands, "TIMEOUT_S", 0.5)
    file = command(tmp_path, "tool", f"echo $$ > {tmp_path}/pid; {script}")
    began = time.monotonic()
    assert commands.output([str(file)]) == ""
    assert time.monotonic() - began < 60
    group = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    pytest.fail("something of the command is still there")


def test_other_accelerators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ROCm's nodes with SIMD units, oneAPI's list; absent kinds say nothing."""
    nodes = tmp_path / "nodes"
    for number, simd in enumerate((0, 240, 240)):
        (nodes / str(number)).mkdir(parents=True)
        (nodes / str(number) / "properties").write_text(f"cpu 1\nsimd_count {simd}\n")
    monkeypatch.delenv("ROCR_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("HIP_VISIBLE_DEVICES", raising=False)
    assert AcceleratorsProbe(nodes).facts()["rocm.count"] == 2
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "1")
    assert AcceleratorsProbe(nodes).facts()["rocm.count"] == 1
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    command(tmp_path, "sycl-ls", "echo '[opencl:cpu:0] x'; echo '[level_zero:gpu:0] y'")
    assert AcceleratorsProbe(tmp_path / "no").facts() == {"oneapi.count": 1}


def test_a_round_is_cheap() -> None:
    """Looking again costs less than 50 ms of CPU, processes that it starts included."""
    probes = [CpuProbe(), SystemProbe(), MemoryProbe(), DiskProbe("."), PackagesProbe()]
    probes += [browsers.BrowserVersionsProbe(), AcceleratorsProbe()]
    prober = Prober(probes, 20)
    prober.round()
    costs = []
    for _ in range(5):
        before = sum(os.times()[:4])
        prober.round()
        costs.append(sum(os.times()[:4]) - before)
    assert min(costs) < 0.05, json.dumps(costs)
