"""What a runner that is started anew is told of the controller's command line."""

from __future__ import annotations

import pytest

from dtf_dask.runs.runner_words import runner_words


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("-k x --tb=short -W error tests", "-k x --tb=short -W error tests"),
        ("--dtf tests", "tests"),
        ("--dtf tests/test_a.py::test_b", "tests/test_a.py::test_b"),
        ("--dtf tcp://host:8786 tests", "tests"),
        ("--dtf=tcp://host:8786 --dtf-workers 2 --dtf-dist=each a", "a"),
        ("--cov pkg --cov-report term --cov-append --cov-branch a", "a"),
        ("--cov -x a", "-x a"),
        ("--no-cov a", "a"),
        ("--run-slow --db=postgres", "--run-slow --db=postgres"),
        ("/root/suite/tests /elsewhere/conf.ini", "/elsewhere/conf.ini"),
    ],
)
def test_all_but_what_is_ours(said: str, told: str) -> None:
    """Options of pytest, of plugins and of the suite pass; dtf's and coverage's not."""
    assert runner_words(said.split(), "/root/suite") == told.split()
