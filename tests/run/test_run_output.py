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
