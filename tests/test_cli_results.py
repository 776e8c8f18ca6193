"""``dtf results`` over real stores: what it prints, what it writes, how it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from dtf_dask.cli.main import main
from dtf_dask.model import ArtifactRef, Attempt, CaseId, Outcome, Run, RunId
from dtf_dask.runs.artifacts import ArtifactStore
from dtf_dask.runs.results.spool import Spool
from dtf_dask.runs.results.store import ResultsStore

DAY_S = 86_400.0
LONG_ID = f"tests/{'deep/' * 40}test_long.py::test_{'long_' * 30}"
HOSTILE_ID = "tests/test_evil.py::test[\x1b[2J\x1b]0;owned\x07\r\n\u202e]"


@dataclass
class Printed:
    """What one command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which must be one JSON object."""
        return json.loads(self.out)


Dtf = Callable[..., Printed]


@pytest.fixture
def dtf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Dtf:
    """Run a command in a project folder, through the real entry point."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("DASK_DTF")]:
        monkeypatch.delenv(name)

    def run(*argv: str) -> Printed:
        with pytest.raises(SystemExit) as ended:
            main(["results", *argv])
        out, err = capsys.readouterr()
        code = ended.value.code
        return Printed(code if isinstance(code, int) else 0, out, err)

    return run


def _attempt(case_id: str, outcome: str, number: int = 1, **more: Any) -> Attempt:
    fields: dict[str, Any] = {"worker": "w0", "host": "node-a", "duration_s": 0.5}
    return Attempt(CaseId(case_id), number, Outcome(outcome), **(fields | more))


def _keep(store: ResultsStore, run: Run, attempts: list[Attempt]) -> None:
    store.begin_run(run, [attempt.case_id for attempt in attempts])
    store.add_attempts(run.id, attempts)
    store.finish_run(
        run.id, status=run.status, exit_code=1, finished_at=run.started_at + 9
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with two runs: in the second one case broke and one was flaky."""
    path = tmp_path / ".dtf" / "results.sqlite"
    first = Run(RunId("aa11"), 1_000.0 * DAY_S, "passed", suite="demo", snapshot="s1")
    second = replace(
        first,
        id=RunId("ab22"),
        started_at=first.started_at + DAY_S,
        status="failed",
        snapshot="s2",
        command=("dtf", "run", "tests/"),
    )
    with ResultsStore.open(path) as store:
        _keep(
            store,
            first,
            [
                _attempt("tests/test_a.py::test_one", "passed"),
                _attempt("tests/test_a.py::test_two", "passed", duration_s=3.0),
            ],
        )
        _keep(
            store,
            second,
            [
                _attempt(
                    "tests/test_a.py::test_one",
                    "failed",
                    exception="AssertionError: assert 1 == 2",
                    traceback="E  assert 1 == 2",
                    stdout="said on stdout\n",
                    properties={"seed": 7},
                ),
                _attempt(
                    "tests/test_a.py::test_two",
                    "failed",
                    detail="retried",
                    dask_worker="bench-1",
                    exception="OSError: no answer",
                ),
                _attempt("tests/test_a.py::test_two", "passed", 2),
                _attempt(LONG_ID, "passed"),
                _attempt(HOSTILE_ID, "failed", exception="\x1b[31mred \x07"),
            ],
        )
    return path


# -- which run, which command


@pytest.mark.parametrize(
    "argv",
    [(), ("ab22",), ("ab",), ("last",), ("--db", ".dtf/results.sqlite", "ab22")],
)
def test_a_run_is_told_by_its_id_or_prefix(
    dtf: Dtf, project: Path, argv: tuple[str, ...]
) -> None:
    """Without a command, the words name a run; without words it is the last run."""
    shown = dtf(*argv)
    assert shown.code == 0
    assert shown.out.startswith("Run ab22")
    assert "failed: 2 failed, 2 passed, 1 flaky in 9.0 s" in shown.out
    assert "✗ failed   tests/test_a.py::test_one\n" in shown.out
    assert "AssertionError: assert 1 == 2\n" in shown.out
    assert "tests/test_a.py::test_two (passed at attempt 2)\n" in shown.out


def test_options_stand_before_or_after_the_command(dtf: Dtf, project: Path) -> None:
    """A shell's history is edited at its end: `--json` works wherever it stands."""
    db = ("--db", str(project))
    before, after = dtf("--json", *db, "trend"), dtf("trend", *db, "--json")
    assert before.json == after.json
    assert dtf("--json", "ab22").json == dtf("ab22", "--json").json
    # A suite called like a command is the option's value, no command.
    assert dtf("--suite", "show", "flaky").out.startswith("no flaky case")


def test_the_nearest_project_above_is_meant(
    dtf: Dtf, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder of the project the project's results are found."""
    below = project.parent.parent / "src" / "deep"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert dtf("aa11").out.startswith("Run aa11")


def test_the_configured_store_comes_before_the_projects(
    dtf: Dtf, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`dtf.results.url` names the store that a team shares."""
    import dask.config

    with ResultsStore.open(tmp_path / "shared.sqlite") as store:
        _keep(store, Run(RunId("cc33"), 0.0, "passed"), [_attempt("t", "passed")])
    with dask.config.set({"dtf.results.url": str(tmp_path / "shared.sqlite")}):
        assert dtf().out.startswith("Run cc33")
        assert dtf("--db", str(project)).out.startswith("Run ab22")


# -- what the commands tell


def test_list_shows_recent_runs_newest_first(dtf: Dtf, project: Path) -> None:
    """`--list` has a line a run, with the id to copy at its end."""
    lines = dtf("--list").out.splitlines()
    assert [line.split()[-1] for line in lines] == ["run", "ab22", "aa11"]
    assert [run["id"] for run in dtf("--list", "--json").json["runs"]] == [
        "ab22",
        "aa11",
    ]
    assert len(dtf("--list", "--limit", "1").out.splitlines()) == 2


def test_summary_as_json_holds_what_failed(dtf: Dtf, project: Path) -> None:
    """A script learns counts, failures with their reason, and what was flaky."""
    found = dtf("--json").json
    assert found["run"]["id"] == "ab22"
    assert found["counts"]["failed"] == 2
    assert found["failures"][0]["exception"] == "AssertionError: assert 1 == 2"
    assert [case["attempts"] for case in found["flaky"]] == [2]


def test_show_tells_everything_of_a_case(dtf: Dtf, project: Path) -> None:
    """A part of the id suffices; every attempt is there, with its output."""
    shown = dtf("show", "test_one").out
    assert shown.startswith("✗ failed   tests/test_a.py::test_one\n")
    for part in ("E  assert 1 == 2", "said on stdout", "property seed = 7", "✓✗"):
        assert part in shown
    shown = dtf("show", "test_two").out
    assert "(retried) after 500 ms, w0 of bench-1 on node-a" in shown
    both = dtf("show", "tests/test_a.py::test_two", "--json").json
    assert [attempt["number"] for attempt in both["attempts"]] == [1, 2]
    assert both["case"]["flaky"] is True
    old = dtf("show", "test_one", "--run", "aa11").out
    assert old.startswith("✓ passed   tests/test_a.py::test_one\n")


def test_show_of_an_ambiguous_part_lists_the_candidates(
    dtf: Dtf, project: Path
) -> None:
    """Two cases contain it: neither is guessed, both are named."""
    refused = dtf("show", "test_a.py")
    assert refused.code == 4
    assert "2 cases of run ab22 contain 'test_a.py'; which?" in refused.err
    assert "\n  tests/test_a.py::test_one\n  tests/test_a.py::test_two" in refused.err
    assert dtf("show", "no such").code == 4


def test_compare_puts_what_broke_first(dtf: Dtf, project: Path) -> None:
    """What fails now and did not is at the top; B is the last run by default."""
    shown = dtf("compare", "aa11").out
    assert "2 newly failing, 1 faster, 2 added\n" in shown
    assert "  passed -> failed  tests/test_a.py::test_one\n" in shown
    found = dtf("compare", "aa11", "ab22", "--json").json
    ids = [change["case_id"] for change in found["newly_failing"]]
    assert "tests/test_a.py::test_one" in ids
    assert found["before"]["id"] == "aa11"
    assert "nothing changed" in dtf("compare", "aa11", "aa11").out


def test_flaky_slowest_and_trend(dtf: Dtf, project: Path) -> None:
    """Each tells the suite of the last run, for people and for scripts."""
    assert dtf("flaky").out.splitlines()[1].endswith("tests/test_a.py::test_two")
    (case,) = dtf("flaky", "--json").json["cases"]
    assert (case["passed"], case["failed"]) == (1, 1)
    assert "tests/test_a.py::test_two" in dtf("slowest").out.splitlines()[1]
    assert dtf("slowest", "--limit", "1", "--json").json["suite"] == "demo"
    lines = dtf("trend").out.splitlines()
    assert [line.split()[-1] for line in lines] == ["run", "aa11", "ab22"]
    runs = dtf("trend", "--json").json["runs"]
    assert [run["counts"]["failed"] for run in runs] == [0, 2]
    assert dtf("slowest", "--suite", "other").out == (
        "no case of other has passed yet\n"
    )
    assert dtf("trend", "--suite", "other").code == 4


# -- safe to read, on a terminal and in a pipe


def test_hostile_names_reach_no_terminal(dtf: Dtf, project: Path) -> None:
    """Names and texts of tests are shown, and none of them acts."""
    for argv in (
        (),
        ("show", "evil"),
        ("show", "test["),
        ("compare", "aa11"),
        ("--json",),
    ):
        shown = dtf(*argv)
        assert shown.code == 0
        assert "evil" in shown.out
        odd = {c for c in shown.out + shown.err if not c.isprintable()}
        assert odd <= {"\n"}
    refused = dtf("show", "test\x1b[2J")
    assert "\x1b" not in refused.err


def test_a_pipe_gets_whole_ids_and_no_colours(project: Path, tmp_path: Path) -> None:
    """Through a real pipe 80 columns wide: nothing is cut, folded or coloured."""
    command = [sys.executable, "-c", "from dtf_dask.cli.main import main; main()"]
    env = {**os.environ, "COLUMNS": "80", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [*command, "results", "slowest"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert any(line.endswith(LONG_ID) for line in done.stdout.splitlines())
    assert "\x1b" not in done.stdout


# -- reports


@pytest.mark.parametrize(
    ("form", "name", "beginning"),
    [
        ("junit", "r.xml", "<?xml"),
        ("jsonl", "r.jsonl", '{"pytest_version"'),
        ("html", "r.html", "<!doctype html>"),
        ("markdown", "r.md", "## ✗ `demo`"),
    ],
)
def test_export_writes_every_format(
    dtf: Dtf, project: Path, tmp_path: Path, form: str, name: str, beginning: str
) -> None:
    """To standard output, or to a file whose suffix may say which format."""
    printed = dtf("export", "ab22", "--format", form)
    assert printed.out.startswith(beginning)
    assert dtf("export", "-o", name).out.startswith(f"{name} ({form}, ")
    assert (tmp_path / name).read_text(encoding="utf-8").startswith(beginning)
    assert dtf("export", "-o", name, "--json").json["format"] == form
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([".dtf", name])


def test_export_says_what_it_needs(dtf: Dtf, project: Path) -> None:
    """No format and a file that cannot be written are told, and leave nothing."""
    assert "--format junit|jsonl" in dtf("export").err
    refused = dtf("export", "-o", "no/such/folder/r.xml")
    assert (refused.code, refused.err.count("\n")) == (4, 1)
    assert "cannot be written: No such file" in refused.err


def test_html_links_the_artifacts_that_are_there(
    dtf: Dtf, project: Path, tmp_path: Path
) -> None:
    """A page beside the project leads to the files that its tests left."""
    (tmp_path / "core").write_bytes(b"a core dump")
    digest = ArtifactStore(project.parent / "artifacts").put_file(tmp_path / "core")
    refs = (
        ArtifactRef("core", digest, 11),
        ArtifactRef("gone", "0" * 64, 1),
    )
    with ResultsStore.open(project) as store:
        run = Run(RunId("dd44"), 2_000 * DAY_S, "failed", suite="demo")
        _keep(store, run, [_attempt("t", "failed", artifacts=refs)])
    (tmp_path / "out").mkdir()
    dtf("export", "-o", "out/r.html")
    page = (tmp_path / "out" / "r.html").read_text(encoding="utf-8")
    (link,) = {part.split('"')[0] for part in page.split('"href":"')[1:]} - {""}
    assert (tmp_path / "out" / link).read_bytes() == b"a core dump"


# -- keeping house


def test_prune_deletes_what_a_dry_run_names(dtf: Dtf, project: Path) -> None:
    """`--dry-run` names the runs and deletes none; without it exactly they go."""
    assert dtf("prune", "--keep", "1", "--dry-run", "--json").json["runs"] == ["aa11"]
    assert "1 runs would be deleted" in dtf("prune", "--keep", "1", "--dry-run").out
    assert dtf("prune", "--older-than", "36500d", "--json").json["runs"] == 0
    assert dtf("prune", "--keep", "1").out.startswith("deleted 1 runs with 2 attempts")
    assert [run["id"] for run in dtf("--list", "--json").json["runs"]] == ["ab22"]


def test_prune_never_guesses(dtf: Dtf, project: Path) -> None:
    """Without an age or a number nothing is deleted, nor with an age that is none."""
    for argv in (("prune",), ("prune", "--older-than", "soon")):
        refused = dtf(*argv)
        assert (refused.code, refused.err.count("\n")) == (4, 1)
    assert len(dtf("--list", "--json").json["runs"]) == 2


def test_import_says_where_nothing_is(dtf: Dtf, project: Path, tmp_path: Path) -> None:
    """A folder without spool files is no error, a missing one is."""
    assert "nothing was spooled" in dtf("import").err
    (project.parent / "spool").mkdir()
    assert dtf("import").out == "took in 0 attempts from 0 files\n"
    assert dtf("import", str(tmp_path), "--json").json["attempts"] == 0


def test_import_takes_in_what_a_run_spooled(
    dtf: Dtf, project: Path, tmp_path: Path
) -> None:
    """Attempts that could not be stored are shown once they are taken in."""
    run = Run(RunId("ee55"), 3_000 * DAY_S, suite="demo")
    spool = Spool(project.parent / "spool", run, [CaseId("t")])
    spool.write_attempts([_attempt("t", "passed")])
    spool.write_end("passed", 0, run.started_at + 2, {})
    spool.close()
    assert dtf("import").out == "took in 1 attempts from 1 files\n"
    assert "passed: 1 passed in 2.0 s" in dtf("ee55").out
    assert dtf("import", "--json").json["attempts"] == 0


# -- what can be wrong


def test_no_database_is_told_with_what_to_do(dtf: Dtf, tmp_path: Path) -> None:
    """No results anywhere above, or not where --db points: one line, code 17."""
    for argv in ((), ("--db", "nowhere.sqlite"), ("trend",)):
        refused = dtf(*argv)
        assert (refused.code, refused.out) == (17, "")
        assert refused.err.count("\n") == 1
        assert "run a suite first (dtf run)" in refused.err
    assert list(tmp_path.iterdir()) == []


def test_an_empty_database_is_told(dtf: Dtf, tmp_path: Path) -> None:
    """A store without runs is in order, and says that there are none."""
    ResultsStore.open(tmp_path / ".dtf" / "results.sqlite").close()
    for argv in ((), ("--list",), ("flaky",), ("show", "x"), ("export", "-o", "r.md")):
        refused = dtf(*argv)
        assert (refused.code, refused.out) == (4, "")
        assert "there are no runs yet: run a suite first (dtf run)" in refused.err
    assert dtf("--list", "--json").json == {"runs": []}


def test_a_corrupt_database_is_told(dtf: Dtf, tmp_path: Path) -> None:
    """Not a database, or a damaged one: code 18, and it is left as it is."""
    path = tmp_path / ".dtf" / "results.sqlite"
    path.parent.mkdir()
    path.write_bytes(b"not a database at all\n" * 500)
    refused = dtf()
    assert (refused.code, refused.out, refused.err.count("\n")) == (18, "", 1)
    assert "move it away" in refused.err
    assert path.read_bytes().startswith(b"not a database")


def test_an_unknown_or_ambiguous_run_is_told(dtf: Dtf, project: Path) -> None:
    """The ids that begin so are named; a run that is not there is no traceback."""
    ambiguous = dtf("a")
    assert (ambiguous.code, ambiguous.err.count("\n")) == (4, 1)
    assert "aa11, ab22" in ambiguous.err
    assert "there is no run 'zz'" in dtf("zz").err
    assert dtf("--list", "--limit", "0").code == 4
