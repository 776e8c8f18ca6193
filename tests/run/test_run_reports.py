"""What ``dtf run`` prints and writes is what pytest prints and writes."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest
from dtf_process import attempts, dtf, run, suite
from dtf_process import pytest as plain

_KINDS = """
import sys, warnings, pytest, unittest

def test_passes(record_property):
    print("said by a test that passes")
    record_property("answer", 42)

def test_fails():
    print("said before failing")
    print("\\x1b[2Jcleared", file=sys.stderr)
    assert {"a": 1} == {"a": 2}

@pytest.mark.skip(reason="not today")
def test_skips(): pass

@pytest.mark.xfail(reason="known")
def test_xfails(): assert 0

@pytest.mark.xfail
def test_xpasses(): pass

@pytest.fixture
def broken(): raise OSError("no such thing")

def test_errors(broken): pass

@pytest.fixture
def breaks_after():
    yield
    raise OSError("too late")

def test_errors_after(breaks_after): pass

def test_warns(): warnings.warn("mind the gap")

@pytest.mark.parametrize("text", ["é", "a\\nb", "\\x1b[31m"])
def test_odd_names(text): assert text

class TestClass(unittest.TestCase):
    def test_method(self): self.assertEqual(1, 1)
    def test_subtests(self):
        for n in range(2):
            with self.subTest(n=n):
                self.assertEqual(n, 0)
"""

_CONFTEST = """
import pytest

class Extra(pytest.TestReport): pass

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    report.colour = "green" if report.passed else "red"
    return report

def pytest_runtest_logreport(report):
    with open("seen.txt", "a") as file:
        where = f"{report.colour} {report.worker_id}" if hasattr(report, "worker_id") \\
            else f"{report.colour} -"
        print(report.when, report.outcome, where, report.nodeid.encode(), file=file)

def pytest_report_teststatus(report, config):
    if report.when == "call" and report.nodeid.endswith("test_passes"):
        return "passed", "P", "FINE"

def pytest_sessionfinish(session, exitstatus):
    with open("finished.txt", "a") as file:
        print(int(exitstatus), session.testsfailed, session.testscollected, file=file)

def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line("WORD OF THE CONFTEST")
"""


def _cases(path):
    """(class, name, outcome, properties) of each test of a JUnit file, sorted."""
    return sorted(
        (
            case.get("classname"),
            case.get("name"),
            [child.tag for child in case if child.tag not in ("system-out",)],
            [(p.get("name"), p.get("value")) for p in case.iter("property")],
        )
        for case in ElementTree.parse(path).iter("testcase")
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """One suite of every kind of test, run by pytest and by dtf."""
    folder = suite(tmp_path_factory.mktemp("kinds"), test_k=_KINDS, conftest=_CONFTEST)
    words = ["-v", "-rA", "--durations=2", "-p", "no:cacheprovider"]
    outcome = {}
    for name, command in (
        ("plain", plain(*words, "--junitxml=plain.xml")),
        ("dtf", dtf("run", "--junitxml", "dtf.xml", "--", *words)),
    ):
        outcome[name] = run(folder, command)
        for file in ("seen.txt", "finished.txt"):
            (folder / file).rename(folder / f"{name}-{file}")
    return folder, outcome["plain"], outcome["dtf"]


def test_one_line_for_each_test(both):
    """-v prints the same line for each test, though not in the same order."""
    _, plain_run, dtf_run = both

    def lines(out):
        found = re.findall(r"^(test_k.py::.*?) +\[ *\d+%\]", out, re.M)
        return sorted(line for line in found if " SUB" not in line)

    assert plain_run.code == dtf_run.code == 1
    assert len(lines(plain_run.out)) > 10
    assert lines(dtf_run.out) == lines(plain_run.out)
    assert "FINE" in dtf_run.out


def test_summaries_are_pytests(both):
    """Sections, -rA lines, counts and the conftest's words are the same."""
    _, plain_run, dtf_run = both

    def summary(out):
        found = re.findall(
            r"^(?:PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS) .*", out, re.M
        )
        return sorted(found)

    assert summary(dtf_run.out) == summary(plain_run.out)
    counts = re.compile(r"=+ (.*) in [\d.]+s")
    assert counts.findall(dtf_run.out) == counts.findall(plain_run.out)
    for text in (
        *("WORD OF THE CONFTEST", "slowest 2 durations", "mind the gap"),
        *("said before failing", "Captured stderr call", "{'a': 1} == {'a': 2}"),
    ):
        assert (text in plain_run.out, text in dtf_run.out) == (True, True), text
    kept = dtf_run.lines("dtf: run ")
    assert len(kept) == 1
    assert "13 cases kept in .dtf/results.sqlite" in kept[0]
    assert dtf_run.out.index(kept[0]) > dtf_run.out.index("short test summary info")


def test_files_are_pytests(both):
    """JUnit XML has the same tests with the same outcomes and properties."""
    folder, _, _ = both
    assert _cases(folder / "dtf.xml") == _cases(folder / "plain.xml")


def test_hooks_of_the_suite_see_every_report(both):
    """A conftest hears each report once, with what it had added to it, and the end."""
    folder, _, _ = both

    def seen(name):
        lines = (folder / f"{name}-seen.txt").read_text().splitlines()
        return sorted(re.sub(r" (gw\d+|-) ", " ", line) for line in lines)

    assert seen("dtf") == seen("plain")
    text = (folder / "dtf-seen.txt").read_text()
    assert {line.split()[3][:2] for line in text.splitlines()} == {"gw"}
    finished = [(folder / f"{n}-finished.txt").read_text() for n in ("plain", "dtf")]
    assert finished[0] == finished[1]


def test_results_keep_what_was_printed(both):
    """Every case has its attempt: outcome, output, properties."""
    folder, _, _ = both
    kept = attempts(folder)
    outcomes = {name.partition("::")[2]: a[-1] for name, a in kept.items()}
    assert outcomes["test_passes"].outcome.value == "passed"
    assert outcomes["test_passes"].properties == {"answer": 42}
    assert outcomes["test_passes"].stdout == "said by a test that passes\n"
    assert outcomes["test_fails"].outcome.value == "failed"
    assert outcomes["test_xpasses"].detail == "xpassed"
    assert outcomes["test_errors"].outcome.value == "error"
    assert outcomes["test_errors_after"].outcome.value == "error"
    assert {a.worker[:2] for name in kept for a in kept[name]} == {"gw"}


_REPORTS = """
import pytest

class Note(pytest.TestReport):
    def __init__(self, nodeid, text):
        super().__init__(nodeid, ("", 0, ""), {}, "passed", None, "note")
        self.text = text

def pytest_report_to_serializable(report):
    if isinstance(report, Note):
        return {"$report_type": "Note", "nodeid": report.nodeid, "text": report.text,
                "when": "note", "outcome": "passed"}

def pytest_report_from_serializable(data):
    if data["$report_type"] == "Note":
        return Note(nodeid=data["nodeid"], text=data["text"])

def pytest_report_teststatus(report):
    if isinstance(report, Note):
        return "noted", "n", "NOTED"

def pytest_runtest_teardown(item):
    item.ihook.pytest_runtest_logreport(
        report=Note(nodeid=item.nodeid, text="x"))
"""


def test_reports_of_other_classes(tmp_path):
    """A plugin's own class of report travels by its own hooks and is counted."""
    suite(tmp_path, test_a="def test_a(): pass\ndef test_b(): pass\n")
    (tmp_path / "conftest.py").write_text(_REPORTS)
    ended = run(tmp_path, dtf("run", "-n", "1"))
    assert ended.code == 0, ended.out
    assert "2 passed, 2 noted" in ended.out or "2 noted, 2 passed" in ended.out


def test_output_as_it_comes(tmp_path):
    """-s shows each line with its worker's name; nothing in it acts on the terminal."""
    text = (
        "import os, sys\n"
        "def test_a():\n"
        "    print('first\\nsecond \\x1b[2J\\x07')\n"
        "    os.write(2, b'raw\\n')\n"
        "    assert sys.stdin.read() == ''\n"
    )
    suite(tmp_path, test_a=text)
    ended = run(tmp_path, dtf("run", "-s", "-n", "1"))
    assert ended.code == 0, ended.out
    for line in ("[gw0] first", r"[gw0] second \x1b[2J\x07", "[gw0] raw"):
        assert line in ended.out.splitlines()
    assert "\x1b" not in ended.out


def test_without_a_terminal_reporter(tmp_path):
    """-p no:terminal prints no report; exit codes and results are the same."""
    suite(tmp_path, test_a="def test_a(): pass\ndef test_b(): assert 0\n")
    ended = run(tmp_path, dtf("run", "-n", "1", "--", "-p", "no:terminal"))
    assert (ended.code, ended.out) == (1, "")
    assert len(attempts(tmp_path)) == 2
