"""Asks a command what it has to say, in bounded time, and remembers the answer.

Starting a browser for its version costs more than all other probes together; so the
answer holds as long as the file of the command is the same one.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Sequence

TIMEOUT_S = 10.0
OUTPUT_BYTES_MAX = 65536
_SILENCE_KEPT_S = 600.0  # after which a command that failed is asked again
_REMEMBERED_MAX = 256

_Identity = tuple[str, int, int, int]

_answers: dict[tuple[tuple[str, ...], _Identity], tuple[float, str]] = {}
_mutex = threading.Lock()


def output(argv: Sequence[str], keep_s: float = float("inf")) -> str:
    """What a command prints on stdout; empty if it is not there, fails or hangs.

    Parameters
    ----------
    argv
        The command, by name or path, and its arguments.
    keep_s
        How long an answer is good for, as long as the file is the same.
    """
    path = shutil.which(argv[0])
    identity = None if path is None else _identity(path)
    if path is None or identity is None:
        return ""
    key = (tuple(argv), identity)
    with _mutex:
        said = _answers.get(key)
    if said is not None:
        age_s = time.monotonic() - said[0]
        if age_s < (keep_s if said[1] else min(keep_s, _SILENCE_KEPT_S)):
            return said[1]
    text = _run([path, *argv[1:]])
    with _mutex:
        if len(_answers) >= _REMEMBERED_MAX:
            _answers.clear()
        _answers[key] = (time.monotonic(), text)
    return text


def _identity(path: str) -> _Identity | None:
    """What changes when another version of a command is installed."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (os.path.realpath(path), status.st_mtime_ns, status.st_size, status.st_ino)


def _run(argv: list[str]) -> str:
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # it is killed with all that it has started
        )
    except (OSError, ValueError):
        return ""
    with process:
        printed = _read(process, time.monotonic() + TIMEOUT_S)
        if printed is None:
            os.killpg(process.pid, signal.SIGKILL)  # not waited for, so still there
            return ""
    return printed.decode("utf-8", "replace") if process.returncode == 0 else ""


def _read(process: subprocess.Popen[bytes], deadline: float) -> bytes | None:
    """All that is printed until stdout is closed; None if that takes too long."""
    assert process.stdout is not None
    printed = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(deadline - time.monotonic()):
            piece = os.read(process.stdout.fileno(), OUTPUT_BYTES_MAX)
            printed += piece
            if not piece:
                return printed if _ends(process, deadline) else None
            if len(printed) > OUTPUT_BYTES_MAX:
                return None
    return None


def _ends(process: subprocess.Popen[bytes], deadline: float) -> bool:
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True
