"""Cases from a dtf.toml: dtf_dask.runs.cases, and pytest items made of them."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest

from dtf_dask.errors import ConfigurationError, DuplicateCaseError, UsageError
from dtf_dask.imported_function import ImportedFunction
from dtf_dask.model import Case
from dtf_dask.runs.cases import holds_cases, load

FULL = """
[[cases]]
name = "lint"
argv = ["python", "-m", "compileall", "src", 3]
timeout = "30s"
exit_codes = [0, 5]
artifacts = ["out/*.json"]
env = {LEVEL = 2, FAST = true}
cwd = "sub"
labels = {area = "style"}
hardware = "cpu.cores >= 2"
deadline = "10 min"
class = "release"

[[cases]]
name = "bench"
function = "package.module:function"
args = [1]
kwargs = {rounds = 3}
matrix = {model = ["a", "b"], batch = [1, 4]}
exclude = [{model = "b", batch = 4}]

[[cases]]
name = "train"
argv = ["train", "--model={model}", "{{model}}"]
env = {MODEL = "{model}"}
cwd = "models/{model}"
artifacts = ["{model}/*.bin"]
matrix = {model = ["a"]}
"""


def write(folder: Path, text: str, name: str = "dtf.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_file_says_all_that_a_case_knows(tmp_path):
    """Every key arrives, numbers become text where a command needs text."""
    lint, *bench, train = load(write(tmp_path, FULL))
    assert lint == Case(
        "lint",
        argv=("python", "-m", "compileall", "src", "3"),
        timeout_s=30.0,
        exit_codes=(0, 5),
        artifacts=("out/*.json",),
        kwargs={},
        env={"LEVEL": "2", "FAST": "true"},
        cwd="sub",
        labels={"area": "style"},
        annotations={
            "hardware": "cpu.cores >= 2",
            "priority_class": "release",
            "deadline": 600.0,
        },
    )
    assert [(case.name, case.args, dict(case.kwargs)) for case in bench] == [
        ("bench[model=a,batch=1]", (1,), {"rounds": 3, "model": "a", "batch": 1}),
        ("bench[model=a,batch=4]", (1,), {"rounds": 3, "model": "a", "batch": 4}),
        ("bench[model=b,batch=1]", (1,), {"rounds": 3, "model": "b", "batch": 1}),
    ]
    assert bench[0].fn == ImportedFunction("package.module", "function")
    assert bench[0].labels == {"model": "a", "batch": "1"}
    assert train.argv == ("train", "--model=a", "{model}")
    assert (train.env, train.cwd, train.artifacts) == (
        {"MODEL": "a"},
        "models/a",
        ("a/*.bin",),
    )


def test_pyproject_holds_the_same_below_tool_dtf(tmp_path):
    """[[tool.dtf.cases]] is read; a pyproject without it holds none."""
    path = write(tmp_path, "[[tool.dtf.cases]]\nname='a'\nargv=['b']", "pyproject.toml")
    assert holds_cases(path)
    assert load(path)[0].argv == ("b",)
    assert not holds_cases(write(tmp_path, "[tool.other]", "pyproject.toml"))
    with pytest.raises(ConfigurationError, match=r"has no \[tool.dtf\]"):
        load(path)
    assert not holds_cases(write(tmp_path, "tool = 3", "pyproject.toml"))
    assert not holds_cases(write(tmp_path, "not toml", "pyproject.toml"))


ENTRY = '[[cases]]\nname = "bench"\n'
RUN = ENTRY + 'argv = ["x"]\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected at least one [[cases]]"),
        ("[[case]]\nname='a'", "unknown key 'case'; did you mean 'cases'"),
        ("cases = [1]", "cases[0]: expected a table"),
        ("[[cases]]\nargv=['x']", "cases[0].name: expected"),
        ("[[cases]]\nname='a::b'\nargv=['x']", "cases[0].name: expected"),
        (
            RUN + "tiemout = 3",
            "cases[0]: unknown key 'tiemout'; did you mean 'timeout'",
        ),
        (RUN + "timeout = 'x'", "cases[0].timeout (bench): expected a duration"),
        (RUN + "timeout = 0", "more than 0 s"),
        (RUN + "timeout = '8 days'", "at most 7 days"),
        (RUN + "exit_codes = [256]", "cases[0].exit_codes (bench)"),
        (RUN + "exit_codes = []", "whole numbers"),
        (RUN + "artifacts = 'x'", "cases[0].artifacts (bench): expected a list"),
        (RUN + "env = ['x']", "cases[0].env (bench): expected a table"),
        (RUN + "env = {'A=B' = 'c'}", "no name of a variable"),
        (RUN + "env = {A = [1]}", "cases[0].env.A (bench): expected text"),
        (RUN + "kwargs = {a = 1}", "go with function"),
        (RUN + "hardware = 3", "cases[0] (bench): hardware = 3"),
        (RUN + "exclude = [{a = 1}]", "goes with a matrix"),
        (RUN + "matrix = {a = 1}", "cases[0].matrix.a (bench): expected a list"),
        (RUN + "matrix = 1", "cases[0].matrix (bench): expected a table"),
        (RUN + "matrix = {a=[1]}\ncwd = '{b}'", "cases[0].cwd (bench): {b} is no axis"),
        (RUN + "matrix = {a=[1]}\nlabels = {a='x'}", "an axis of the matrix already"),
        (RUN + "function = 'a:b'", "either argv or function"),
        (ENTRY, "either argv or function"),
        (ENTRY + "function = 'package.module'", 'expected "package.module:function"'),
        (ENTRY + "function = 'a:b'\nkwargs = {'x y' = 1}", "no name of an argument"),
        (
            ENTRY + "function = 'a:b'\nkwargs = {m = 1}\nmatrix = {m = [1]}",
            "cases[0].kwargs.m (bench): is an axis",
        ),
        ("[[cases]\n", "is no valid TOML"),
    ],
)
def test_a_wrong_file_says_where_and_what_would_be_right(tmp_path, text, words):
    """The message has the file, the path of the key, and what was expected."""
    path = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)


def test_two_cases_of_one_name_are_refused(tmp_path):
    """Also when one of the names is made by a matrix."""
    text = RUN + "matrix = {a = [1]}\n[[cases]]\nname = 'bench[a=1]'\nargv = ['y']"
    with pytest.raises(DuplicateCaseError, match=r"cases\[0\] and cases\[1\] are both"):
        load(write(tmp_path, text))


def test_a_file_that_cannot_be_read_is_a_usage_error(tmp_path):
    """No file, a folder, a file of absurd size: one line each."""
    with pytest.raises(UsageError, match="cannot be read"):
        load(tmp_path / "none.toml")
    with pytest.raises(UsageError, match="cannot be read"):
        load(tmp_path)
    big = tmp_path / "dtf.toml"
    with big.open("wb") as file:
        file.truncate(5 * 2**20)
    with pytest.raises(ConfigurationError, match="over the limit"):
        load(big)


def test_a_function_is_imported_where_it_is_called():
    """It travels as two words; a wrong name has a near one."""
    function = pickle.loads(pickle.dumps(ImportedFunction("os.path", "basename")))
    assert function("/a/b") == "b"
    assert str(function) == "os.path:basename"
    with pytest.raises(UsageError, match="no function but str"):
        ImportedFunction("os.path", "sep").resolve()
    with pytest.raises(UsageError, match="did you mean 'basename'"):
        ImportedFunction("os.path", "basenam").resolve()


# As pytest items. Without dtf's plugin, whose hook would collect them a second time.

CONFTEST = """
from dtf_dask.runs.cases_collector import collect_file


def pytest_configure(config):
    config.addinivalue_line("markers", "dtf: annotations")


def pytest_collect_file(file_path, parent):
    return collect_file(file_path, parent)
"""

ITEMS = f"""
[[cases]]
name = "good"
argv = [{sys.executable!r}, "-c", "print('fine')"]
labels = {{area = "io"}}
hardware = "cpu.cores >= 1"

[[cases]]
name = "bad"
argv = [{sys.executable!r}, "-c", "print('words before'); raise SystemExit(3)"]

[[cases]]
name = "slow"
argv = ["sleep", "60"]
timeout = 0.2

[[cases]]
name = "absent"
argv = ["no-such-program-of-dtf"]

[[cases]]
name = "skips"
function = "things:skips"

[[cases]]
name = "bench"
function = "things:bench"
matrix = {{model = ["a", "b"], batch = [1, 16]}}
"""

THINGS = """
import unittest


def skips():
    raise unittest.SkipTest("not here")


def bench(model, batch):
    print("on", model)
    assert (model, batch) != ("b", 16), "too large"
    return batch
"""


@pytest.fixture
def suite(pytester):
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(things=THINGS)
    pytester.makefile(".toml", dtf=ITEMS)
    return pytester


def run(suite, *arguments):
    return suite.runpytest_inprocess("-p", "no:dtf", *arguments)


def test_cases_are_pytest_items(suite):
    """Outcomes, sections and causes appear as those of tests do."""
    result = run(suite, "dtf.toml", "-v", "-rA", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=4, failed=3, errors=1, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "dtf.toml::good PASSED*",
            "dtf.toml::bench[[]model=a,batch=1[]] PASSED*",
            "*ERROR at setup of absent*",
            "ERROR: no program 'no-such-program-of-dtf'*",
            "FAILED: the command ended with exit code 3, not 0",
            "*exit code: 3",
            "*words before",
            "TIMEOUT: still running after 200 ms*",
            "FAILED: AssertionError: too large*",
        ]
    )
    result.stdout.no_fnmatch_line("*case_execution.py*")


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (["dtf.toml::bench[model=a,batch=1]"], 1),
        (["dtf.toml::bench"], 4),
        (["dtf.toml", "-k", "bench and model:a"], 2),
        (["dtf.toml", "-k", "[batch:1]"], 2),
        (["dtf.toml", "-k", "area:io"], 1),
        (["dtf.toml", "-m", "dtf"], 1),
        ([], 9),
    ],
)
def test_items_are_selected_as_tests_are(suite, arguments, count):
    """By node id, by -k over name and matrix, by -m, and by folder."""
    result = run(suite, "--collect-only", "-q", *arguments)
    lines = [line for line in result.outlines if line.startswith("dtf.toml::")]
    assert len(lines) == count


def test_a_wrong_file_is_a_collection_error_of_one_line(suite):
    """pytest ends with its code for it, and shows the message without our frames."""
    suite.makefile(".toml", dtf="[[cases]]\nname = 'x'\nargs = 3")
    result = run(suite, "dtf.toml")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*dtf.toml: cases[[]0[]].args (x): expected a list*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_pyproject_counts_only_with_cases(suite):
    """Other projects' pyproject.toml files are none of our business."""
    suite.makepyprojecttoml("[project]\nname = 'x'")
    assert run(suite, "pyproject.toml", "--co").ret != 0
    suite.makepyprojecttoml("[[tool.dtf.cases]]\nname = 'a'\nargv = ['true']")
    run(suite, "pyproject.toml").assert_outcomes(passed=1)


def test_what_a_callable_returned_is_a_property(suite):
    """It and the labels are in what every report plugin sees."""
    result = run(suite, "dtf.toml::bench", "--junitxml=r.xml")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    report = (suite.path / "r.xml").read_text()
    assert '<property name="result" value="16" />' in report
    assert '<property name="label.model" value="a" />' in report


def test_the_collector_imports_no_dask(pytester):
    """Collecting cases must not cost a pytest run the import of Dask."""
    script = (
        "import sys, dtf_dask.runs.cases_collector;"
        "sys.exit(any(m.split('.')[0] in ('dask', 'distributed') for m in sys.modules))"
    )
    assert pytester.run(sys.executable, "-c", script).ret == 0
