"""Bugs written into Raft's core, one at a time: which tests notice each of them?

    python tests/ha/mutate_raft.py [--seeds N] [--only WORD] [--first]
                                   [--processes P] [--json]

Each bug of `raft_mutations.py` is tried on a copy of the project, against the data
files (conformance), the unit tests, and up to N seeds of the simulation. The table says
who noticed; what nobody noticed is a survivor. With --first, seeds are run only where
no other test has noticed. Ends with 1 if there is one that is not
known to be harmless.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

from raft_mutations import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parents[2]
_COPIED = (
    "dtf_dask",
    "tests/ha",
    "tests/conftest.py",
    "tests/lean_pytest.py",
    "pyproject.toml",
)
_TIMEOUT_S = 900.0
# What reads data files, by the names of its tests; all other tests are unit tests.
_CONFORMANCE = "agree_with_the_files"


@dataclass(frozen=True, slots=True)
class Caught:
    """Who noticed a bug, and at which seed the simulation did."""

    name: str
    conformance: bool
    unit: bool
    simulation: bool
    seed: int | None
    says: str
    harmless: str
    wall_s: float

    @property
    def survives(self) -> bool:
        """Whether nobody noticed, and it is not known why."""
        return not (self.conformance or self.unit or self.simulation or self.harmless)


def patched(mutation: Mutation, source: str) -> str:
    """The source with the bug; its place must be there just once."""
    count = source.count(mutation.old)
    if count != 1:
        raise ValueError(f"{mutation.name!r}: {mutation.module} has its place {count}x")
    return source.replace(mutation.old, mutation.new)


def attempt(mutation: Mutation | None, seeds: int, first: bool = False) -> Caught:
    """Try one bug on a copy of the project; None tries the core as it is.

    With ``first`` nothing is simulated if other tests have noticed.
    """
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutated-raft-") as folder:
        copy = Path(folder) / "project"
        _copy_to(copy)
        shared = ROOT.parent / "shared"
        if shared.is_dir():
            (Path(folder) / "shared").symlink_to(shared)
        if mutation is not None:
            module = copy / f"dtf_dask/ha/raft/{mutation.module}.py"
            module.write_text(patched(mutation, module.read_text("utf-8")), "utf-8")
        failed = _failed(copy)
        conformance = any(_CONFORMANCE in name for name in failed)
        unit = any(_CONFORMANCE not in name for name in failed)
        enough = first and bool(failed)
        seed, says = (None, "") if enough else _simulated(copy, seeds)
    return Caught(
        mutation.name if mutation else "no bug",
        conformance,
        unit,
        bool(says),
        seed,
        says,
        mutation.harmless if mutation else "",
        round(time.monotonic() - begun, 1),
    )


def _copy_to(copy: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__")
    for name in _COPIED:
        source, target = ROOT / name, copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=ignored)
        else:
            shutil.copy(source, target)


def _run(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str] | None:
    """Run Python on the copy; None if it did not come to an end."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONHASHSEED": "0"}
    try:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None


def _failed(copy: Path) -> list[str]:
    """The tests of the core that fail."""
    options = ("-q", "-rfE", "--tb=no", "-p", "no:cacheprovider", "--timeout=30")
    done = _run(copy, "-m", "pytest", *options, "tests/ha/raft")
    if done is None:
        return ["they do not come to an end"]
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    if done.returncode not in (0, 1) and not failed:
        # A module could not be imported: whoever starts it notices.
        failed = [f"pytest ended with {done.returncode}"]
    return failed


def _simulated(copy: Path, seeds: int) -> tuple[int | None, str]:
    """The first seed that broke a rule, and which."""
    command = ("tests/ha/simulate_raft.py", "--processes", "1", "--stop-at", "1")
    done = _run(copy, *command, "--seeds", str(seeds))
    if done is None:
        return None, "it does not come to an end"
    if done.returncode == 0:
        return None, ""
    first = (done.stdout or done.stderr).splitlines()[0]
    seed, _, says = first.removeprefix("seed ").partition(": ")
    return (int(seed), says) if seed.isdigit() else (None, first)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1_000)
    parser.add_argument("--only", default="", metavar="WORD")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--first", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    chosen = [one for one in MUTATIONS if options.only in f"{one.name} {one.module}"]
    sound = attempt(None, min(options.seeds, 100))
    if sound.conformance or sound.unit or sound.simulation:
        print(f"without any bug the tests fail already: {sound}")
        return 2
    found: list[Caught] = []
    with ThreadPoolExecutor(options.processes) as pool:
        tries = [
            pool.submit(attempt, one, options.seeds, options.first) for one in chosen
        ]
        for done in as_completed(tries):
            one = done.result()
            found.append(one)
            if not options.json:
                print(_line(one), flush=True)
    survivors = [one.name for one in found if one.survives]
    summary = {
        "bugs": len(found),
        "by_conformance": sum(one.conformance for one in found),
        "by_unit": sum(one.unit for one in found),
        "by_simulation": sum(one.simulation for one in found),
        "harmless": sum(bool(one.harmless) for one in found),
        "survivors": survivors,
    }
    if options.json:
        print(json.dumps({**summary, "table": [asdict(one) for one in found]}))
    else:
        print(*(f"{name}: {value}" for name, value in summary.items()), sep="\n")
    return int(bool(survivors))


def _line(one: Caught) -> str:
    marks = "".join(
        letter if hit else "-"
        for letter, hit in (
            ("C", one.conformance),
            ("U", one.unit),
            ("S", one.simulation),
        )
    )
    where = f" (seed {one.seed}: {one.says[:60]})" if one.simulation else ""
    why = f" harmless: {one.harmless}" if one.harmless else ""
    survives = " SURVIVES" if one.survives else ""
    return f"{marks}{survives} {one.name}{where}{why}"


if __name__ == "__main__":
    sys.exit(main())
