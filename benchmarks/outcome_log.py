"""A pytest plugin (``-p outcome_log``) that writes what the controller was told.

One JSON line for each counted report, to the file that ``$DTF_OUTCOME_LOG`` names. The
word is the one that pytest's own ``pytest_report_teststatus`` gives, so that skips,
expected failures, subtests and errors of fixtures are told apart as pytest does it.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

_MESSAGE_CHARS_MAX = 6_000


class _OutcomeLog:
    def __init__(self, config: pytest.Config, path: str) -> None:
        self._config = config
        # Unbuffered and appending: a forked child that ends normally must not write
        # the parent's buffer a second time.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o600)
        self._pid = os.getpid()

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # Asked for here and not when configured: who reads this variable while the
        # suite is imported makes dtf start its runners anew in place of a fork.
        if os.getpid() != self._pid or "PYTEST_XDIST_WORKER" in os.environ:
            return
        status = self._config.hook.pytest_report_teststatus(
            report=report, config=self._config
        )
        word = status[0]
        if not word:
            return
        line: dict[str, Any] = {
            "nodeid": report.nodeid,
            "outcome": word,
            "when": report.when,
        }
        if report.outcome == "failed":
            line["message"] = _shortened(report.longreprtext)
            line["captured_chars"] = sum(len(text) for _, text in report.sections)
        os.write(self._fd, (json.dumps(line) + "\n").encode())


def _shortened(text: str) -> str:
    half = _MESSAGE_CHARS_MAX // 2
    if len(text) <= 2 * half:
        return text
    return f"{text[:half]}\n...\n{text[-half:]}"


def pytest_configure(config: pytest.Config) -> None:
    """Start writing, in the process that prints only."""
    path = os.environ.get("DTF_OUTCOME_LOG")
    if not path or hasattr(config, "workerinput"):
        return
    config.pluginmanager.register(_OutcomeLog(config, path), "dtf-outcome-log")
