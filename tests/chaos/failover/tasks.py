"""What tasks of a trial do: they count their attempts, and their values can be told.

Attempts are noted in files, a line each, so that every process may look.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from distributed import Lock, get_worker, worker_client

FOLDER = "DTF_FAILOVER_ATTEMPTS"
"""The environment's variable that says where attempts are counted."""
DROPPED = "dropped"
"""A file there: of which tasks Dask's memory manager had copies dropped."""
LED = "led"
"""Another one: the terms in which a scheduler took over."""
_MODULUS = 1_000_003


class PlannedError(Exception):
    """A task failed, as it was to."""


def mixed(seed: int, *inputs: int) -> int:
    """The value of a task with these inputs."""
    value = seed
    for one in inputs:
        value = (value * 31 + one) % _MODULUS
    return value


class Attempt(NamedTuple):
    """One that began.

    Parameters
    ----------
    at
        When, by the clock on the wall, as logs have it.
    pids
        Of its process, and of those above it.
    """

    at: str
    pids: frozenset[int]


def attempts(folder: Path, key: str) -> list[Attempt]:
    """Those of a task that began."""
    try:
        lines = _file(folder, key).read_text().splitlines()
    except FileNotFoundError:
        return []
    words = [line.split() for line in lines]
    return [Attempt(at, frozenset(map(int, pids))) for at, *pids in words]


def count() -> int:
    """Which attempt of its task calls this, from 1."""
    key: Any = get_worker().get_current_task()
    return counted(str(key), [os.getpid()])


def count_test(key: str) -> int:
    """Which attempt of a test calls this, in whatever child of a worker."""
    return counted(key, [os.getpid(), *(one.pid for one in psutil.Process().parents())])


def counted(key: str, pids: list[int]) -> int:
    """Which attempt of that name this is."""
    path = _file(Path(os.environ[FOLDER]), key)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        now = f"{datetime.now():%H:%M:%S.%f}"
        os.write(file, f"{now} {' '.join(map(str, pids))}\n".encode())
        return os.pread(file, os.fstat(file).st_size, 0).count(b"\n")
    finally:
        os.close(file)


def _file(folder: Path, key: str) -> Path:
    return folder / hashlib.blake2b(key.encode(), digest_size=16).hexdigest()


# -- tasks --------------------------------------------------------------------------


def node(seed: int, seconds: float, *inputs: int) -> int:
    """One of a graph."""
    count()
    time.sleep(seconds)
    return mixed(seed, *inputs)


def failing(seed: int, seconds: float, *inputs: int) -> int:
    """One of a graph that fails."""
    count()
    time.sleep(seconds)
    raise PlannedError(str(seed))


def flaky(seed: int, failures: int, seconds: float, *inputs: int) -> int:
    """One that fails so often."""
    number = count()
    time.sleep(seconds)
    if number <= failures:
        raise PlannedError(f"{seed}, the {number}. time")
    return mixed(seed, *inputs)


def nested(seed: int, prefix: str, width: int, seconds: float) -> int:
    """One that submits others, and waits for them."""
    count()
    with worker_client() as client:
        futures = [
            client.submit(node, seed + n, seconds, key=f"{prefix}-{n}")
            for n in range(width)
        ]
        return mixed(seed, *client.gather(futures))


def locked(name: str, seconds: float) -> int:
    """One that is alone while it holds a lock."""
    count()
    held = _file(Path(os.environ[FOLDER]), f"{name} is held")
    with Lock(name):
        with contextlib.suppress(FileNotFoundError):
            other = int(held.read_text())
            if psutil.pid_exists(other):  # else its worker died with it
                raise RuntimeError(f"{name} is held by {other} and {os.getpid()}")
        written = held.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        written.write_text(str(os.getpid()))
        written.replace(held)
        time.sleep(seconds)
        held.unlink()
    return 1


def kept(dask_worker: Any) -> list[str]:
    """Tasks that a worker knows, or has something of."""
    return [str(key) for key in {*dask_worker.state.tasks, *dask_worker.data}]


class Counter:
    """An actor that counts."""

    def __init__(self) -> None:
        self.value = 0

    def add(self, amount: int) -> int:
        """The count, with that."""
        self.value += amount
        return self.value
