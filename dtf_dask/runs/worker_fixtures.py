"""The fixtures of pytest-xdist that suites ask for, where xdist is not there."""

from __future__ import annotations

import uuid

import pytest


@pytest.fixture(scope="session")
def worker_id(request: pytest.FixtureRequest) -> str:
    """The name of the worker that runs the test; "master" without workers."""
    given = getattr(request.config, "workerinput", {"workerid": "master"})
    return str(given["workerid"])


@pytest.fixture(scope="session")
def testrun_uid(request: pytest.FixtureRequest) -> str:
    """An id that all workers of one run share."""
    given = getattr(request.config, "workerinput", None)
    return str(given["testrunuid"]) if given else uuid.uuid4().hex
