"""Tests without end or limit, for whoever ends the run itself."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest
from nasty_room import FOREVER_S, note


@pytest.mark.parametrize("number", range(4))
def test_endless(number):
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    child = subprocess.Popen(["sleep", str(FOREVER_S)], start_new_session=True)
    note("stayed", f"leaked {child.pid}")
    note("begun")
    time.sleep(FOREVER_S)
