"""One cluster of real processes for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from stage import HERE, FailoverCluster, Stage


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Three coordinators, of which one leads, and a worker with one thread."""
    made = FailoverCluster(
        tmp_path_factory.mktemp("lab"),
        tls=False,
        environment={"PYTHONPATH": str(HERE)},
    )
    one = Stage(made)
    try:
        one.do(made.__aenter__())
        made.start_worker("w")
        yield one
    finally:
        one.end()
