"""The desktop monitor through a long shift: nothing grows, freezes or is lost.

    python benchmarks/soak_monitor.py [--minutes 30] [--json]

A real cluster of three coordinators and two workers runs tests all the time, and every
minute who leads is killed. The real window, drawn on no screen, looks at it, view after
view, and at the past now and then. It fails, by its exit code, if

- after a kill the window does not come to show who leads next, with data that is new,
- the window's thread stands still for more than 250 ms (what it waited for one of the
  machine's cores does not count),
- the memory of its process grows after the first third of the time,
- a run ends otherwise than it must, or the window shows anything else in the end than
  a coordinator says: records, and the cases of the last run.

Everything that it started has ended when it ends; Ctrl-C ends it at once.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import psutil
from PySide6.QtCore import QSettings, Qt, QTimer
from PySide6.QtWidgets import QApplication
from soak_cluster import CASES, FAILING, Cluster, Killed, Work, busy_cluster, tail

from monitor_app.feed.inbox import Batch, read_told
from monitor_app.models.session import Session
from monitor_app.views.connect_dialog import Finder
from monitor_app.views.kept import Kept
from monitor_app.views.runs import Runs
from monitor_app.views.theme import Theme
from monitor_app.views.window import Window

STALL_MS_MAX = 250.0
GROWN_MB_MAX = 5.0
RESUMED_S_MAX = 60.0
AGREED_S = 60.0
_BEAT_MS, _TOUR_MS, _WEIGH_MS = 20, 4_000, 2_000
_PAST_TOURS = 10


@dataclass
class Seen:
    """What was seen of the window.

    Parameters
    ----------
    resumed_s
        After each kill, how long until another leader's word was shown.
    """

    resumed_s: list[float] = field(default_factory=list)
    stalls_ms: list[float] = field(default_factory=list)
    rss_mb: list[tuple[float, float]] = field(default_factory=list)
    age_s_max: float = 0.0
    last_id: str = ""


class Watch:
    """Beats in the window's thread, and sees whether it goes on."""

    def __init__(self, window: Window, work: Work) -> None:
        self._window, self._work = window, work
        self._session = window.session
        self.seen = Seen()
        self._open: Killed | None = None
        self._kills = self._tours = 0
        self._process = psutil.Process()
        self._began = self._beaten = time.monotonic()
        self._queued = _queued_s()
        self._session.taken.connect(self._taken)
        self._timers = []
        for each_ms, call in (
            (_BEAT_MS, self._beat),
            (_TOUR_MS, self._go_on),
            (_WEIGH_MS, self._weigh),
        ):
            timer = QTimer(window, interval=each_ms)
            timer.setTimerType(Qt.TimerType.PreciseTimer)
            timer.timeout.connect(call)
            timer.start()
            self._timers.append(timer)

    @property
    def waits(self) -> bool:
        """Whether somebody was killed, and nobody's word has been shown since."""
        return self._open is not None or self._kills < len(self._work.killed)

    def _beat(self) -> None:
        now, queued = time.monotonic(), _queued_s()
        gap = now - self._beaten - (queued - self._queued)
        self._beaten, self._queued = now, queued
        self.seen.stalls_ms.append(1000 * gap - _BEAT_MS)
        self.seen.age_s_max = max(self.seen.age_s_max, self._session.age_s or 0.0)
        if self._open is None and self._kills < len(self._work.killed):
            self._open = self._work.killed[self._kills]
            self._kills += 1

    def _taken(self, batch: Batch) -> None:
        self.seen.last_id = batch.id or self.seen.last_id
        cluster, killed = self._session.live.cluster, self._open
        if killed is None or cluster is None or cluster["term"] <= killed.term:
            return
        self.seen.resumed_s.append(time.time() - killed.at)
        self._open = None

    def _go_on(self) -> None:
        """Look at the next view, as somebody does who has nothing else to do."""
        window = self._window
        self._tours += 1
        window.look_now()
        names = list(window.views)
        name = names[self._tours % len(names)]
        runs = window.views["runs"]
        assert isinstance(runs, Runs)
        if name == "case" and runs.cases.rowCount():
            runs.cases_table.opened.emit(self._tours % runs.cases.rowCount())
            return
        window.open_page(name)
        if name == "runs":
            runs.runs_table.choose(0)
        if self._tours % _PAST_TOURS == 0:
            window.look_back()
            window.recording.step(-5)

    def _weigh(self) -> None:
        rss = self._process.memory_info().rss / 2**20
        self.seen.rss_mb.append((time.monotonic() - self._began, rss))

    def end(self) -> None:
        """Beat no more."""
        for timer in self._timers:
            timer.stop()
        self._window.look_now()


def _queued_s() -> float:
    """How long this thread has waited for a core: not what a window can help."""
    try:
        told = Path("/proc/thread-self/schedstat").read_text()
    except OSError:
        return 0.0
    return int(told.split()[1]) / 1e9


class Soak:
    """A window at a busy cluster, for some time."""

    def __init__(
        self, app: QApplication, folder: Path, cluster: Cluster, work: Work
    ) -> None:
        self._app, self._cluster, self._work = app, cluster, work
        # Written by a rename: of no device, which that would replace.
        settings = QSettings(str(folder / "kept.ini"), QSettings.Format.IniFormat)
        self.window = Window(
            Session(), Theme("light"), Kept(settings), finder=Finder(list)
        )
        self.window.show()
        self.window.watch(cluster.places[:1])
        self.stopped = False

    def stop(self, *_: object) -> None:
        """Somebody pressed Ctrl-C."""
        self.stopped = True

    def run(self, seconds: float) -> tuple[Seen, list[str]]:
        """What was seen, and what was wrong."""
        session = self.window.session
        if not self._until(lambda: session.live.cluster is not None, 120.0):
            return Seen(), ["the window never saw the cluster"]
        watch = Watch(self.window, self._work)
        self._work.start()
        self._until(lambda: False, seconds)
        watch._timers[1].stop()
        self._work.stop()
        self._until(lambda: self._work.over, 400.0)
        self._until(lambda: not watch.waits, RESUMED_S_MAX)
        watch.end()
        if self.stopped:
            return watch.seen, ["it was stopped"]
        return watch.seen, [*self._broken(watch), *self._differs(watch.seen)]

    def _until(self, what: Any, wait_s: float) -> bool:
        """Let Qt work until that is so, or for so long, or until Ctrl-C."""
        ends = time.monotonic() + wait_s
        while not self.stopped and time.monotonic() < ends:
            if what():
                return True
            self._app.processEvents()
            time.sleep(0.002)
        return False

    def _broken(self, watch: Watch) -> list[str]:
        seen, found = watch.seen, []
        late = [one for one in seen.resumed_s if one > RESUMED_S_MAX]
        if watch.waits or late or len(seen.resumed_s) != len(self._work.killed):
            found.append(
                f"of {len(self._work.killed)} kills it came back after"
                f" {len(seen.resumed_s)}, {len(late)} of them late"
            )
        if max(seen.stalls_ms) > STALL_MS_MAX:
            found.append(f"it stood still for {max(seen.stalls_ms):.0f} ms")
        grown = grown_mb(seen.rss_mb)
        if grown > GROWN_MB_MAX:
            found.append(f"its memory grew by {grown:.1f} MB")
        wrong = [one for one in self._work.runs if one != 1]
        if wrong:
            found.append(f"runs ended with {wrong} instead of 1")
        return found

    def _differs(self, seen: Seen) -> list[str]:
        """What the window shows in the end that is not so."""
        session, found = self.window.session, ["no coordinator answers in the end"]

        def agrees() -> bool:
            told = self._cluster.asked("/snapshot")
            if told is None:
                return False
            heard = read_told(told)
            shown = session.live.records()
            keys = sorted(heard.whole.keys() ^ shown.keys()) if heard.whole else []
            # Some are written each second: of those the newest may be on its way.
            moving = ("cluster", "load/")
            odd = [
                key
                for key, record in (heard.whole or {}).items()
                if not key.startswith(moving) and shown.get(key) != record
            ]
            found[:] = [f"records differ: {keys[:5]}, {odd[:5]}"] if keys or odd else []
            return not found

        self._until(agrees, AGREED_S)
        return found + self._cases_differ()

    def _cases_differ(self) -> list[str]:
        self.window.open_page("runs")
        runs = self.window.views["runs"]
        assert isinstance(runs, Runs)
        runs.runs_table.choose(0)
        runs.run_cases.read_again()
        self._until(
            lambda: not runs.run_cases.reading and runs.cases.total == CASES, 30.0
        )
        shown = {
            int(case.partition("[")[2].rstrip("]")): outcome
            for case, outcome, _, _ in runs.cases.rows()
        }
        right = {n: "failed" if n in FAILING else "passed" for n in range(CASES)}
        wrong = {n: shown.get(n) for n in right if shown.get(n) != right[n]}
        return [f"of the last run it shows {wrong}"] if wrong else []


def grown_mb(weighed: list[tuple[float, float]]) -> float:
    """By how much the last third weighs more than the one before it."""
    third = len(weighed) // 3
    if not third:
        return 0.0
    middle, last = weighed[third : 2 * third], weighed[2 * third :]
    return statistics.median(mb for _, mb in last) - statistics.median(
        mb for _, mb in middle
    )


def summary(seen: Seen, work: Work, seconds: float, broken: list[str]) -> Any:
    """Figures, and what was wrong."""
    third = len(seen.rss_mb) // 3
    thirds = [seen.rss_mb[n * third : (n + 1) * third] for n in range(3)]
    return {
        "minutes": round(seconds / 60, 1),
        "kills": len(work.killed),
        "runs": len(work.runs),
        "resumed_s_median": round(statistics.median(seen.resumed_s or [0.0]), 2),
        "resumed_s_worst": round(max(seen.resumed_s, default=0.0), 2),
        "age_s_worst": round(seen.age_s_max, 2),
        "stall_ms_worst": round(max(seen.stalls_ms, default=0.0)),
        "rss_mb_thirds": [
            round(statistics.median([mb for _, mb in one] or [0.0]), 1)
            for one in thirds
        ],
        "rss_mb_grown": round(grown_mb(seen.rss_mb), 1),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "broken": broken,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--kill-each", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    seconds = 60 * arguments.minutes
    app = QApplication([])
    with tempfile.TemporaryDirectory(prefix="dtf-soak-") as name:
        folder = Path(name)
        with busy_cluster(folder, arguments.kill_each) as (cluster, work):
            soak = Soak(app, folder, cluster, work)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, soak.stop)
            try:
                seen, broken = soak.run(seconds)
            finally:
                soak.window.close()
        if broken:
            for log in ("dev.log", "runs.log"):
                print(tail(folder / log), file=sys.stderr)
    found = summary(seen, work, seconds, broken)
    if arguments.json:
        print(json.dumps(found))
    else:
        for key, value in found.items():
            print(f"{key:18} {value}")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
