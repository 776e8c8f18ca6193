"""What every test shares: markers, and that no warning goes by unnoticed."""

from __future__ import annotations

import gc
import logging
import os
import re
import signal
import sys
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
from lean_pytest import LEAN

pytest_plugins = ["pytester"]

# A busy machine is no failure. The examples are the same each time, but for
# `DTF_TEST_EXAMPLES=others pytest`.
hypothesis.settings.register_profile(
    "dtf",
    deadline=None,
    derandomize=os.environ.get("DTF_TEST_EXAMPLES") != "others",
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("dtf")

_PRELOAD = "distributed.client.preload"
_MARKERS = (
    "logs(*patterns): warnings of dtf_dask loggers that match one of these regular"
    " expressions are expected; any other fails the test",
    "drill: a cluster of processes goes through failures, or much is tried, for half a"
    " minute or more; left out unless asked for: `pytest -m drill`",
)


def pytest_configure(config: pytest.Config) -> None:
    os.environ.update(LEAN)
    # A shell's background jobs ignore Ctrl-C, and so would all that tests interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for line in _MARKERS:
        config.addinivalue_line("markers", line)


def pytest_collection_finish() -> None:
    """The tests themselves stay: the garbage collector need not look at them again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _clients_as_before() -> Iterator[None]:
    """A worker of dtf in the tests' process has all clients made there be of dtf.

    Clients of later tests are Dask's own again, unless those say otherwise.
    """
    before = _client_preload()
    yield
    if _client_preload() != before:
        sys.modules["dask"].config.set({_PRELOAD: before})


def _client_preload() -> Any:
    """As Dask has it; what its own configuration says is an empty list."""
    dask = sys.modules.get("dask")
    return [] if dask is None else dask.config.get(_PRELOAD, [])


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = f"{record.levelname} {record.name}: {record.getMessage()}"
        self.lines.append(line)


@pytest.fixture(autouse=True)
def _no_unexpected_log(request: pytest.FixtureRequest) -> Iterator[None]:
    """A WARNING or worse that the test did not announce by `logs` fails it."""
    collector = _Collector()
    logger = logging.getLogger("dtf_dask")
    logger.addHandler(collector)
    yield
    logger.removeHandler(collector)
    patterns = [p for mark in request.node.iter_markers("logs") for p in mark.args]
    unexpected = [
        line
        for line in collector.lines
        if not any(re.search(pattern, line) for pattern in patterns)
    ]
    if unexpected:
        pytest.fail("logged, but not expected:\n" + "\n".join(unexpected))
