"""Views show what is there, whatever comes, and the window lives."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from made_cluster import (
    AT,
    PLACE,
    MadeSource,
    busy,
    case_rows,
    coordinators,
    gridded,
    listed,
    record,
    run_row,
    series,
)
from PySide6.QtCore import QCoreApplication, QEvent, QSettings, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget

from dtf_dask.errors import UsageError
from dtf_dask.ha.elapsed import elapsed_s
from monitor_app.feed.calls import RefusedError
from monitor_app.feed.inbox import Line
from monitor_app.feed.questions import Call, Ticket
from monitor_app.models.arranged import DISPLAY
from monitor_app.models.bars import Bar
from monitor_app.models.cases import OUTCOME, PAST
from monitor_app.models.exports import run_report, write_table
from monitor_app.models.session import Session
from monitor_app.views.case import Case
from monitor_app.views.connect_dialog import ConnectDialog, Finder
from monitor_app.views.exporting import save_table, saving
from monitor_app.views.kept import Kept
from monitor_app.views.overview import Overview
from monitor_app.views.runs import Runs
from monitor_app.views.theme import Theme
from monitor_app.views.window import Window
from monitor_app.views.workers import Workers

RUN = "20260928-1300-abcd"
Until = Callable[[Callable[[], Any]], Any]


@pytest.fixture
def settings(tmp_path: Path) -> QSettings:
    return QSettings(str(tmp_path / "monitor.ini"), QSettings.Format.IniFormat)


@pytest.fixture
def window(
    qapp: QApplication, source: MadeSource, theme: Theme, settings: QSettings
) -> Iterator[Window]:
    """The window, of a cluster that is made up."""
    window = Window(
        Session(),
        theme,
        Kept(settings),
        make_source=lambda places, token: source,
        finder=Finder(list),
    )
    window.show()
    yield window
    gone(window)


def gone(window: QWidget) -> None:
    """Close it, and have Qt forget it: it would be styled anew with each theme."""
    window.close()
    window.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def begin(window: Window, source: MadeSource, cases: int = 60) -> None:
    rows = case_rows(cases)
    source.replies["/runs"] = listed([run_row(n) for n in range(3)])
    for n in range(4):
        run = f"/runs/20260928-13{n:02}-abcd"
        source.replies[f"{run}/cases"] = listed(rows)
        source.replies[f"{run}/grid"] = gridded(rows)
    source.replies["/timeline"] = lambda said: {"more": False, "items": []}
    source.begin(busy())
    source.stand(coordinators())
    window.watch([PLACE])
    look(window)


def look(window: Window) -> None:
    """Take in what came, and what was asked for then."""
    app = QApplication.instance()
    assert app is not None
    for _ in range(4):
        window.session.drain()
        app.processEvents()


def view(window: Window, name: str) -> Any:
    window.open_page(name)
    look(window)
    return window.views[name]


def texts(model: Any, column: int) -> list[str]:
    return [
        model.data(model.index(n, column), DISPLAY) for n in range(model.rowCount())
    ]


def test_the_overview_tells_the_whole(window: Window, source: MadeSource) -> None:
    """Figures, alerts and runs are those of the records, and follow them."""
    begin(window, source)
    overview: Overview = view(window, "overview")
    assert overview.tiles["waiting"].figure.text() == "1,402"
    assert "lab-09-b was lost" in overview.alerts.text()
    assert overview.runs.rowCount() == 4
    cluster = {**busy()["cluster"], "waiting": 7}
    source.change({"cluster": cluster})
    look(window)
    assert overview.tiles["waiting"].figure.text() == "7"
    assert "a leads" in window.status.leader.text()


def test_cases_are_found_by_keyboard_and_opened(
    window: Window, source: MadeSource, until: Until
) -> None:
    """Ctrl+F, a word, the arrow, Enter: the case is there with its attempts and log."""
    begin(window, source)
    runs: Runs = view(window, "runs")
    runs.runs_table.choose(runs.runs.place(f"{RUN}"))
    look(window)
    assert runs.cases.total == 60

    def past() -> str:
        look(window)
        return texts(runs.cases, PAST)[0]

    assert until(past).endswith(texts(runs.cases, OUTCOME)[0][0])
    name = "tests/test_7.py::TestIt::test_case[7-value]"
    attempt = {"number": 2, "outcome": "failed", "worker": "w-1", "host": "h"}
    source.replies[f"/runs/{RUN}/attempts"] = listed([attempt])
    source.replies[f"/runs/{RUN}/log"] = lambda said: {
        "traceback": {"text": f"{said['case']} broke", "chars": 9, "cut": True}
    }
    source.replies["/history"] = listed([attempt])
    runs.search()
    QTest.keyClicks(runs.part, "[7-VALUE]")
    until(lambda: runs.cases.rowCount() == 1)
    runs.cases_table.choose(0)
    QTest.keyClick(runs.cases_table, Qt.Key.Key_Return)
    look(window)
    case: Case = window.views["case"]  # type: ignore[assignment]
    assert case.isVisible()
    assert case.title.text() == name
    assert texts(case.attempts, 1) == ["✗ failed"]
    assert case.log.texts["traceback"].toPlainText() == f"{name} broke"
    assert "only the end" in case.log.said.text()
    case.log.part.setText("BROKE")
    case.log.tabs.setCurrentWidget(case.log.texts["log"])
    case.log.find_next()
    assert case.log.said.text() == "found once"
    assert case.log.tabs.currentWidget() is case.log.texts["traceback"]
    files = [
        {"number": n, "worker": "w-1", "name": f"f{n}", "size_bytes": n} for n in (1, 2)
    ]
    source.replies[f"/runs/{RUN}/artifacts"] = listed(files)
    case.go({"run": "none", "case": name})
    case.go({"run": RUN, "suite": "quickstart", "case": name})
    look(window)
    assert texts(case.artifacts.rows, 0) == ["f2"]


def test_a_bar_and_an_earlier_run_open_a_case(
    window: Window, source: MadeSource
) -> None:
    """Who names a case need not know its suite; no row is said to be all there is."""
    begin(window, source)
    case: Case = view(window, "case")
    assert case.attempts_table.empty == case.history_table.empty == ""
    old = "20250101-0000-gone"
    attempt = {"number": 1, "outcome": "passed", "worker": "w", "run": RUN}
    for run in (old, RUN):
        source.replies[f"/runs/{run}"] = lambda said: {"suite": "old"}
        source.replies[f"/runs/{run}/attempts"] = listed([])
    asked: list[str] = []

    def history(said: Any) -> Any:
        asked.append(said["suite"])
        return listed([attempt])(said)

    source.replies["/history"] = history
    workers: Workers = view(window, "workers")
    workers.timeline.opened.emit(Bar("w", AT, AT, "running", "a task"))
    assert not case.isVisible()
    workers.timeline.opened.emit(Bar("w", AT, AT, "passed", "test_it", old))
    look(window)
    assert case.isVisible()
    assert case.title.text() == "test_it"
    assert case.said.text() == f"old, run {old}"
    assert case.attempts_table.empty
    case.history_table.choose(0)
    QTest.keyClick(case.history_table, Qt.Key.Key_Return)
    look(window)
    assert case.said.text() == f"old, run {RUN}"
    assert asked == ["old", "old"]
    overview: Overview = view(window, "overview")
    overview.runs_table.choose(2)
    QTest.keyClick(overview.runs_table, Qt.Key.Key_Return)
    assert window.views["runs"].isVisible()


def test_what_vanishes_while_it_is_looked_at_is_said(
    window: Window, source: MadeSource
) -> None:
    """A case whose run was pruned says so; the window goes on."""
    begin(window, source)
    case: Case = view(window, "case")
    assert "No case" in case.title.text()

    def pruned(said: Any) -> Any:
        raise RefusedError(404, f"there is no run {RUN} any more")

    source.replies[f"/runs/{RUN}/attempts"] = pruned
    case.go({"run": RUN, "suite": "quickstart", "case": "a\n<b>::\u202et"})
    look(window)
    assert "no run" in case.said.text()
    assert case.title.text() == "a⏎<b>::\\x202et"
    source.begin({})
    look(window)
    for name in window.views:
        view(window, name)
    assert view(window, "overview").tiles["waiting"].figure.text() == "–"


def test_what_a_case_writes_is_seen_while_it_runs(
    window: Window, source: MadeSource
) -> None:
    """What it writes is there as one more attempt, and then what that one left."""
    begin(window, source)
    run = f"/runs/{RUN}"
    said = {"worker": "lab-01-b", "host": "lab-01", "for_s": 1.5, "stderr": ""}
    items = [{**said, "stdout": "one\n"}]
    source.replies[f"{run}/attempts"] = listed([])
    source.replies[f"{run}/tail"] = lambda asked: {"items": items}
    case: Case = view(window, "case")
    case.go({"run": RUN, "suite": "quickstart", "case": "test_x"})
    look(window)
    assert texts(case.attempts, 1) == ["▸ running"]
    assert case.log.texts["stdout"].toPlainText() == "one\n"
    items[0]["stdout"] += "two\n"
    window.session.ticked.emit()
    look(window)
    assert case.log.texts["stdout"].toPlainText() == "one\ntwo\n"
    assert "so far" in case.log_card.heading.text()
    items.clear()
    left = {"text": "one\ntwo\nthree\n", "chars": 14, "cut": False}
    who = {"number": 1, "worker": "lab-01-b"}
    file = {**who, "name": "trace.json", "digest": "9f2c", "size_bytes": 2_048}
    attempt = {**who, "outcome": "passed"}
    source.replies[f"{run}/attempts"] = listed([attempt])
    source.replies[f"{run}/log"] = lambda asked: {"stdout": left}
    source.replies[f"{run}/artifacts"] = listed([file])
    window.session.ticked.emit()
    look(window)
    assert texts(case.attempts, 1) == ["✓ passed"]
    assert case.log.texts["stdout"].toPlainText() == left["text"]
    assert texts(case.artifacts.rows, 0) == ["trace.json"]
    assert texts(case.artifacts.rows, 1) == ["2.0 KiB"]


def test_a_half_answer_of_another_version_is_survived(
    window: Window, source: MadeSource
) -> None:
    """Answers that lack fields, or are no lists, leave the window as it was."""
    begin(window, source)
    source.replies["/runs"] = lambda said: {"items": 3}
    source.replies["/series"] = lambda said: {"values": [1]}
    source.replies[f"/runs/{RUN}/cases"] = lambda said: {"total": 1, "items": [1]}
    for name in ("overview", "runs"):
        view(window, name)
        window.session.line_changed.emit()
        look(window)
        window.session.ticked.emit()
        look(window)
    assert window.isVisible()
    assert view(window, "overview").tiles["waiting"].figure.text() == "1,402"


class Deaf(MadeSource):
    """Whoever is asked there answers nothing."""

    def ask(self, call: Call) -> Ticket:
        return Ticket(next(self._numbers))


def test_of_another_cluster_all_is_seen_anew(
    qapp: QApplication, theme: Theme, settings: QSettings
) -> None:
    """What one was asked is not waited for, and what it told is not mixed with it."""
    sources: list[MadeSource] = [Deaf(), MadeSource()]
    left = iter(sources)
    window = Window(
        Session(),
        theme,
        Kept(settings),
        make_source=lambda places, tokens: next(left),
        finder=Finder(list),
    )
    window.show()
    sources[1].replies["/series"] = series({"ended": lambda n: float(n % 7)})
    begin(window, sources[0])
    case: Case = view(window, "case")
    case.go({"run": RUN, "suite": "quickstart", "case": "test_x"})
    for name in window.views:
        view(window, name)
    sources[1].begin({"cluster": busy()["cluster"]})
    window.watch([PLACE])
    overview: Overview = view(window, "overview")
    assert overview._curves.latest("ended") == 4.0
    assert "No case" in case.title.text()
    runs: Runs = view(window, "runs")
    assert (runs.runs.rowCount(), runs.cases.total) == (0, 0)
    gone(window)


def test_a_worker_has_a_past_before_it_is_looked_at(
    window: Window, source: MadeSource
) -> None:
    """How busy it was is kept of all, while nobody looks."""
    begin(window, source)
    cpu = {30: 3.5, 60: 7.0}
    for at, busy_now in cpu.items():
        load = record("load", "lab-03-b", at=AT + at, cpu=busy_now)
        source.change(dict([load]), at=AT + at)
        look(window)
    cluster = {**busy()["cluster"], "at": AT + 90}
    source.change({"cluster": cluster}, at=AT + 90)
    workers: Workers = view(window, "workers")
    workers.go({"worker": "lab-03-b"})
    values = workers.busy._curves[0].values
    assert values[-1] == 1.0
    assert values[-8] == values[-12] == 0.5
    assert values[0] is None


def test_one_looks_back_and_returns(window: Window, source: MadeSource) -> None:
    """A past time is shown in all views as it was; what comes meanwhile is kept."""
    begin(window, source)
    recording = window.recording
    for n in range(1, 6):
        cluster = {**busy()["cluster"], "waiting": n, "at": AT + 10 * n}
        put = {"cluster": cluster, **dict([record("worker", f"new-{n}", name="x")])}
        source.change(put, at=AT + 10 * n)
        look(window)
        if n == 2:  # of one instant, and no step more
            source.stand(coordinators(elections=n))
            look(window)
    recording.past.settle()
    overview: Overview = view(window, "overview")
    window.look_back()
    recording.look(AT + 20)
    assert overview.tiles["waiting"].figure.text() == "2"
    assert "worker/new-3" not in window.session.picture.kind("worker")
    recording.step(1)
    assert overview.tiles["waiting"].figure.text() == "3"
    recording.step(-1)
    recording.step(-1)
    assert overview.tiles["waiting"].figure.text() == "1"
    assert recording.at == AT + 10
    source.change({"cluster": {**busy()["cluster"], "waiting": 9, "at": AT + 70}})
    look(window)
    assert overview.tiles["waiting"].figure.text() == "1"
    recording.now()
    assert overview.tiles["waiting"].figure.text() == "9"
    recording.look(0.0)
    assert overview.tiles["waiting"].figure.text() == "1,402"


def test_how_old_it_is_and_what_is_wrong_are_said(
    window: Window, source: MadeSource
) -> None:
    """The line below tells where it is read, its age, and why there is nothing new."""
    begin(window, source)
    assert "Live from http://127.0.0.1:8700" in window.status.line.text()
    source.inbox.line(Line("waiting", str(PLACE), "nobody listens there"))
    assert window.session.heard_at is not None
    window.session.heard_at -= 3_000
    look(window)
    window.session.ticked.emit()
    assert "nobody listens there" in window.status.line.text()
    assert window.status.age.text().startswith("○ 50 min")
    assert "Nothing new for 50 min: nobody listens there." in window.status.alarm.text()
    assert window.status.alarm.isVisible()
    source.inbox.line(Line("live", str(PLACE)))
    source.stand(coordinators(leader=None))
    look(window)
    assert "Nothing new for 50 min: nobody leads." in window.status.alarm.text()
    source.change({"cluster": {**busy()["cluster"], "at": AT + 1}})
    look(window)
    assert not window.status.alarm.isVisible()
    source.inbox.line(Line("refused", str(PLACE), "it is no dtf"))
    look(window)
    assert window.status.alarm.isVisible()


def test_what_was_never_heard_is_explained_in_place(
    window: Window, source: MadeSource, settings: QSettings
) -> None:
    """Why nobody answers is said where one looks; no wrong address is kept."""
    source.start = lambda: None  # type: ignore[method-assign]
    window.watch([PLACE])
    source.inbox.line(
        Line("waiting", str(PLACE), "its certificate is not trusted: odd")
    )
    look(window)
    source.inbox.line(Line("connecting", str(PLACE)))
    look(window)
    assert "its certificate is not trusted: odd." in window.status.alarm.text()
    assert window.status.alarm.isVisible()
    assert Kept(settings).recent == []
    source.inbox.line(Line("live", str(PLACE)))
    source.begin(busy())
    look(window)
    assert not window.status.alarm.isVisible()
    assert Kept(settings).recent == [str(PLACE)]


def test_what_is_told_first_may_be_old(window: Window, source: MadeSource) -> None:
    """How old it is goes by when who leads looked, not by when somebody told of it."""
    source.begin(busy())
    source.stand(coordinators(leader=None, at=AT + 3_000))
    window.watch([PLACE])
    look(window)
    assert window.status.age.text().startswith("○ 50 min")
    source.inbox.awake(elapsed_s())
    look(window)
    assert window.status.age.text().startswith("○ 50 min")


def test_the_dialog_explains_what_is_wrong(qapp: QApplication, until: Until) -> None:
    """A wrong address is explained in place; a cluster that is found is chosen."""
    dialog = ConnectDialog(["junk://", "127.0.0.1:1"], Finder(list))
    dialog.show()
    until(lambda: "No cluster shows itself" in dialog.said.text())
    assert dialog.list.count() == 1
    dialog.address.clear()
    QTest.keyClicks(dialog.address, "dtf://127.0.0.1:8786")
    dialog.accept()
    assert "schedulers are there" in dialog.wrong.text()
    assert dialog.isVisible()
    gone(dialog)
    found = ConnectDialog([], Finder(lambda: [("lab", [PLACE])]))
    found.show()
    until(lambda: found.list.count())
    found.accept()
    assert found.places == [PLACE]
    gone(found)


def test_the_window_is_as_it_was(
    qapp: QApplication, source: MadeSource, theme: Theme, settings: QSettings
) -> None:
    """View, columns, theme and recent clusters are kept; no token ever is."""

    def opened() -> Window:
        return Window(
            Session(),
            theme,
            Kept(settings),
            make_source=lambda places, token: source,
            finder=Finder(list),
        )

    first = opened()
    first.show()
    first.watch([PLACE], "a-secret-token")
    runs: Runs = view(first, "runs")
    runs.runs_table.setColumnWidth(1, 321)
    theme.choose("dark")
    gone(first)
    assert source.closed
    second = opened()
    second.show()
    other: Runs = second.views["runs"]  # type: ignore[assignment]
    assert other.isVisible()
    assert other.runs_table.columnWidth(1) == 321
    assert Kept(settings).word("theme") == "dark"
    assert Kept(settings).recent == [str(PLACE)]
    gone(second)
    assert "a-secret-token" not in Path(settings.fileName()).read_text()


def test_a_table_is_saved_as_it_is_shown(
    window: Window, source: MadeSource, tmp_path: Path
) -> None:
    """CSV and Parquet hold the rows in their order; no name becomes a formula."""
    begin(window, source)
    runs: Runs = view(window, "runs")
    runs.runs_table.choose(runs.runs.place(RUN))
    look(window)
    kinds = "CSV (*.csv);;Parquet (*.parquet)"
    dialog = saving(window, "Save", str(tmp_path / "cases.csv"), kinds)
    dialog.filterSelected.emit("Parquet (*.parquet)")
    assert dialog.selectedFiles() == [str(tmp_path / "cases.parquet")]
    dialog.deleteLater()
    save_table(runs.cases_table, tmp_path / "cases.csv")
    lines = (tmp_path / "cases.csv").read_text().splitlines()
    assert lines[0] == "outcome,case,seconds,attempts"
    assert len(lines) == 61
    assert runs.cases.case(0) in lines[1]
    save_table(runs.runs_table, tmp_path / "runs.csv")
    assert (tmp_path / "runs.csv").read_text().splitlines()[1].split(",")[3:6] == [
        *("900.0", "quickstart", "0.792"),
    ]
    write_table(tmp_path / "odd.csv", ["a"], [["=cmd()"], [-1]])
    assert (tmp_path / "odd.csv").read_text().split() == ["a", "'=cmd()", "-1"]
    parquet = pytest.importorskip("pyarrow.parquet")
    save_table(runs.cases_table, tmp_path / "cases.parquet")
    assert parquet.read_table(tmp_path / "cases.parquet").num_rows == 60
    with pytest.raises(UsageError):
        write_table(tmp_path / "none" / "x.csv", ["a"], [])


def test_a_run_is_saved_as_a_report(
    window: Window, source: MadeSource, tmp_path: Path
) -> None:
    """The report names each case, and of those that failed what they wrote."""
    begin(window, source)
    attempt = {
        "number": 1,
        "worker": "w",
        "host": "h",
        "outcome": "failed",
        "detail": "",
        "started_at": AT,
        "duration_s": 1.0,
        "cpu_s": None,
        "memory": None,
    }
    left = {"text": "it broke <script>", "chars": 9, "cut": False}
    names = ("exception", "traceback", "stdout", "stderr", "log")
    source.replies[f"/runs/{RUN}/attempts"] = listed([attempt])
    source.replies[f"/runs/{RUN}/log"] = lambda said: dict.fromkeys(names, left)
    more = {"command": ["dtf", "run"], "rootdir": "", "snapshot": "", "exit_code": 1}
    source.replies[f"/runs/{RUN}"] = lambda said: {
        **run_row(1, "failed"),
        **more,
        "policy": {},
        "environment": {},
    }
    path = tmp_path / "run.html"
    said: list[Any] = []
    window.session.ask(run_report(RUN, path), said.append, said.append)
    look(window)
    assert said[-1]["path"] == str(path)
    text = path.read_text()
    assert "test_case[59-value]" in text
    assert "it broke" in text
    assert "it broke <script>" not in text


def test_everything_has_a_name_for_who_hears_it(
    window: Window, source: MadeSource
) -> None:
    """What takes the focus says what it is, and can be reached by the keyboard."""
    begin(window, source)
    for name in window.views:
        shown = view(window, name)
        silent = [
            one
            for one in shown.findChildren(QWidget)
            if one.isVisible()
            and one.focusPolicy() & Qt.FocusPolicy.TabFocus
            and not (one.accessibleName() or getattr(one, "text", str)())
            and not one.objectName().startswith("qt_")
            and type(one).__name__ not in ("QScrollArea", "QTabBar", "QHeaderView")
        ]
        assert silent == [], name
    least = window.minimumSizeHint()
    assert (least.width() <= 900, least.height() <= 600) == (True, True), "too large"


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_every_view_is_drawn(window: Window, source: MadeSource, colours: Any) -> None:
    """Each view is drawn empty, busy and cut off, in both colours.

    DTF_SCREENSHOTS names a folder in which the pictures are to be looked at.
    """
    folder = os.environ.get("DTF_SCREENSHOTS")
    source.replies["/series"] = series({"ended": lambda n: float(n % 7)})
    window.theme.choose(colours)
    for state in ("empty", "busy", "broken"):
        if state == "busy":
            begin(window, source)
        elif state == "broken":
            source.inbox.line(Line("refused", str(PLACE), "it is no dtf"))
            look(window)
        for name in window.views:
            shown = view(window, name)
            if isinstance(shown, Runs) and shown.cases.total:
                shown.earlier._ask()
                look(window)
            image = window.grab().toImage()
            if folder is not None:
                assert image.save(f"{folder}/{name}-{state}-{colours}.png")
            points = {
                image.pixel(x, y)
                for x in range(0, image.width(), 13)
                for y in range(3, image.height(), 17)
            }
            assert len(points) > 10, (name, state)
