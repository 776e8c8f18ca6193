"""The rule of conftest.py that warnings in the log are expected or fail the test."""

from __future__ import annotations

from pathlib import Path

import pytest

_CONFTEST = (Path(__file__).parent / "conftest.py").read_text(encoding="utf-8")


@pytest.mark.logs("a disk is full")  # the inner tests log in this process
def test_a_warning_fails_a_test_that_did_not_expect_it(
    pytester: pytest.Pytester,
) -> None:
    """Only what a `logs` marker fits may be logged, and only by dtf_dask's loggers."""
    pytester.makeconftest(_CONFTEST)
    pytester.makepyfile(
        """
        import logging, pytest
        logger = logging.getLogger("dtf_dask.part")

        def test_unexpected():
            logger.warning("a disk is %s", "full")

        @pytest.mark.logs("disk is full", "tape")
        def test_expected():
            logger.warning("a disk is %s", "full")

        @pytest.mark.logs("tape")
        def test_another():
            logger.error("a disk is full")

        def test_quiet():
            logger.info("a disk is fine")
            logging.getLogger("elsewhere").warning("not ours")
        """
    )
    done = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-rE")
    done.assert_outcomes(passed=4, errors=2)
    done.stdout.fnmatch_lines(
        ["*WARNING dtf_dask.part: a disk is full", "*ERROR dtf_dask.part: a disk*"]
    )
