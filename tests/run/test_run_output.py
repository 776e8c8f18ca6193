"""Where output goes that pytest does not capture."""

from __future__ import annotations

from dtf_process import dtf, run, suite

_LOUD = """
import sys, threading
print("o" * 200_000, flush=True)
sys.stderr.write("e" * 200_000)
if "--dtf-isolate=process" not in sys.argv:
    # A thread that works forbids the fork: runners are started, and import this too.
    threading.Thread(target=threading.Event().wait, daemon=True).start()
"""
_DISABLED = """
def test_disabled(capsys):
    with capsys.disabled():
        print("past the capture")
"""


def test_output_past_the_capture_is_named(tmp_path):
    """``capsys.disabled()`` of a child comes by way of its runner, with its name."""
    suite(tmp_path, test_a=_DISABLED)
    ended = run(tmp_path, dtf("run", "-q"))
    assert ended.code == 0
    assert "[gw0] past the capture" in ended.out


def test_a_suite_that_is_loud_while_imported(tmp_path):
    """Runners that are started anew hold what nobody reads, and go on."""
    suite(tmp_path, conftest=_LOUD, test_a=_DISABLED)
    for words in (("-q", "-s"), ("-q", "-s", "--isolate", "process", "-n", "1")):
        ended = run(tmp_path, dtf("run", *words))
        assert ended.code == 0, ended.out[-2000:]
        assert "1 passed" in ended.out


_OPTIONS = """
def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true")

def pytest_collection_modifyitems(config, items):
    import pytest
    if not config.option.slow:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="needs --slow"))
"""
_DOCUMENTED = '''
import warnings

def test_warns():
    """
    >>> 1 + 1
    2
    """
    warnings.warn("loud")
'''


def test_options_reach_runners_that_are_started(tmp_path):
    """What collects and what shapes a test is the same in a process of its own."""
    suite(tmp_path, conftest=_OPTIONS, test_a=_DOCUMENTED)
    words = ["run", "-q", "--isolate", "process", "-n", "1", "--", "--doctest-modules"]
    ended = run(tmp_path, dtf(*words, "--slow", "-W", "error", "--tb=line"))
    assert ended.code == 1, ended.out
    assert "1 failed, 1 passed" in ended.out
    assert "test_a.py:9: UserWarning: loud" in ended.out
