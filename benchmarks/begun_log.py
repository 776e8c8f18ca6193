"""A pytest plugin (``-p begun_log``) that notes each test that a process begins.

One line for each, with its node id, to the file that ``$DTF_BEGUN_LOG`` names. So it is
seen what ran twice, whoever reports it how often.
"""

from __future__ import annotations

import os

import pytest

_LOG = os.environ.get("DTF_BEGUN_LOG")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test begins."""
    if _LOG:
        here = str(item.config.rootpath)  # an id may hold it
        with open(_LOG, "a", encoding="utf-8") as file:
            file.write(ascii(item.nodeid.replace(here, ".")) + "\n")
