"""What tasks of a trial do: they count their attempts, and their values can be told.

Attempts are counted in files, a byte each, so that every process may look.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Any

from distributed import get_worker, worker_client

FOLDER = "DTF_FAILOVER_ATTEMPTS"
"""The environment's variable that says where attempts are counted."""
_MODULUS = 1_000_003


class PlannedError(Exception):
    """A task failed, as it was to."""


def mixed(seed: int, *inputs: int) -> int:
    """The value of a task with these inputs."""
    value = seed
    for one in inputs:
        value = (value * 31 + one) % _MODULUS
    return value


def attempts(folder: Path, key: str) -> int:
    """How often a task began."""
    try:
        return _file(folder, key).stat().st_size
    except FileNotFoundError:
        return 0


def count() -> int:
    """Which attempt of its task calls this, from 1."""
    key: Any = get_worker().get_current_task()
    path = _file(Path(os.environ[FOLDER]), str(key))
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, b".")
        return os.fstat(file).st_size
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


class Counter:
    """An actor that counts."""

    def __init__(self) -> None:
        self.value = 0

    def add(self, amount: int) -> int:
        """The count, with that."""
        self.value += amount
        return self.value
