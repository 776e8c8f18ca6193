"""Runs a group of nasty tests as a process, and looks at what stays behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil
from lean_pytest import LEAN
from nasty_groups import HERE, Group

_PLUGIN_FOLDER = HERE.parent.parent / "benchmarks"
_MARK = "DTF_NASTY_MARK"
_GRACE_S = 10.0  # for the kernel, and for processes whose parent was killed
_OVERTIME = 10  # times the group's limit, before it is killed


@dataclass(frozen=True, slots=True)
class Ended:
    """What a run came to."""

    exit_code: int
    wall_s: float
    outcomes: dict[str, Counter[str]]
    messages: dict[str, str]
    captured_chars: dict[str, int]
    output: str
    survivors: list[str]
    room: Path

    def notes(self, name: str) -> list[str]:
        """Lines that the tests left in the room's file ``name``."""
        return _notes(self.room, name)


def dtf_command(group: Group) -> list[str]:
    """`dtf run` for a group, on two workers."""
    dtf = str(Path(sys.executable).with_name("dtf"))
    return [dtf, "run", "-n", "2", *group.options, *group.files, "--", *_extra(group)]


def plain_command(group: Group) -> list[str]:
    """Plain pytest for a group."""
    return [sys.executable, "-m", "pytest", *group.files, *_extra(group)]


def run(
    group: Group,
    command: list[str],
    folder: Path,
    *,
    end_by: int = 0,
    **extra: str,
) -> Ended:
    """Run ``command`` over a copy of the suite in ``folder``.

    ``end_by`` is a signal for the started process, sent once two tests have noted that
    they have ``begun``; ``wall_s`` then counts from there.
    """
    shutil.copytree(
        HERE / "suite", folder, ignore=shutil.ignore_patterns("__pycache__")
    )
    (folder / "pytest.ini").write_text("[pytest]\n")
    room = folder / "room"
    room.mkdir()
    mark = uuid.uuid4().hex
    environment = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(("PYTEST_", "DTF_", "COV_", "COVERAGE_"))
    }
    environment |= LEAN | {
        "PYTHONPATH": str(_PLUGIN_FOLDER),
        "DTF_OUTCOME_LOG": str(folder / "outcomes.jsonl"),
        "DTF_NASTY_ROOM": str(room),
        _MARK: mark,
        **extra,
    }
    began = time.time()
    started = time.monotonic()
    with (folder / "output.txt").open("wb") as stream:
        child = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        if end_by:
            started = _await_begun(child, room, group.seconds_max)
            child.send_signal(end_by)
        try:
            child.wait(group.seconds_max * _OVERTIME)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        wall_s = time.monotonic() - started
    survivors = _survivors(mark, room, began)
    outcomes, messages, captured = _read(folder / "outcomes.jsonl")
    output = (folder / "output.txt").read_bytes().decode(errors="replace")
    return Ended(
        exit_code=child.returncode,
        wall_s=wall_s,
        outcomes=outcomes,
        messages=messages,
        captured_chars=captured,
        output=output,
        survivors=survivors,
        room=room,
    )


def _await_begun(
    child: subprocess.Popen[bytes], room: Path, seconds_max: float
) -> float:
    deadline = time.monotonic() + _OVERTIME * seconds_max
    while len(_notes(room, "begun")) < 2:
        if time.monotonic() > deadline or child.poll() is not None:
            child.kill()
            raise AssertionError(f"two tests had not begun after {seconds_max} s")
        time.sleep(0.02)
    return time.monotonic()


def _extra(group: Group) -> list[str]:
    return ["-p", "outcome_log", "-p", "no:cacheprovider", *group.arguments]


def _survivors(mark: str, room: Path, began: float) -> list[str]:
    """Processes of the run that outlive it, in words; they are killed."""
    deadline = time.monotonic() + _GRACE_S
    while left := _alive(mark, room, began):
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    shown = []
    for process in left:
        try:
            shown.append(f"{process.pid} {' '.join(process.cmdline())}"[:200])
            process.kill()
        except psutil.NoSuchProcess:
            continue
    return shown


def _alive(mark: str, room: Path, began: float) -> list[psutil.Process]:
    noted = {int(line.split()[0]) for line in _notes(room, "stayed")}
    noted |= {
        int(line.split()[2]) for line in _notes(room, "stayed") if "leaked" in line
    }
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            is_noted = process.pid in noted and process.create_time() >= began - 1
            if is_noted or process.environ().get(_MARK) == mark:
                found.append(process)
        except psutil.Error:
            continue
    return found


def _notes(room: Path, name: str) -> list[str]:
    path = room / name
    return path.read_text().splitlines() if path.is_file() else []


def _read(
    log: Path,
) -> tuple[dict[str, Counter[str]], dict[str, str], dict[str, int]]:
    outcomes: dict[str, Counter[str]] = {}
    messages: dict[str, str] = {}
    captured: dict[str, int] = {}
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    for line in lines:
        report = json.loads(line)
        nodeid = report["nodeid"]
        outcomes.setdefault(nodeid, Counter())[report["outcome"]] += 1
        if "message" in report:
            messages[nodeid] = messages.get(nodeid, "") + report["message"]
            captured[nodeid] = report["captured_chars"]
    return outcomes, messages, captured
