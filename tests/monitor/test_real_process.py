"""The window at real processes of coordinators, one of which is killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QSettings

from dtf_dask import frames
from dtf_dask.cli.free_ports import free_ports
from dtf_dask.view import feed_words as words
from dtf_dask.view.records import PREFIX, encoded, formed, record_key
from monitor_app.feed.place import Place
from monitor_app.models.session import Session
from monitor_app.views.connect_dialog import Finder
from monitor_app.views.kept import Kept
from monitor_app.views.theme import Theme
from monitor_app.views.window import Window

Record = tuple[str, bytes | None]


def record(kind: str, name: str = "", /, **fields: Any) -> Record:
    return PREFIX + record_key(kind, name), encoded(formed(kind, fields))


class WebProcess:
    """A real one, which is told by the test what a node would tell it."""

    def __init__(self, node: int, port: int, folder: Path) -> None:
        self.place = Place("http", "127.0.0.1", port)
        self._index = 0
        self._socket, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dtf_dask.web.process", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
            )
        names = {"1": "a", "2": "b"}
        hello = words.hello(
            *("lab", node, names, f"127.0.0.1:{port}"), tag="9f2c", results=str(folder)
        )
        self._say(hello)

    def ready(self) -> None:
        """Wait until it serves."""
        self._say(words.ping(1, {"term": 1, "leader": 1, "voters": [1, 2]}))
        buffer, ops = frames.FrameBuffer(), []
        while words.READY not in ops:
            ops += [one["op"] for one in buffer.feed(self._socket.recv(65_536))]

    def tell(self, *records: Record) -> None:
        """What one more entry of the ledger changed; all there is, the first time."""
        self._index += 1
        if self._index == 1:
            self._say(words.records(1, 1, list(records), more=False))  # type: ignore[arg-type]
        else:
            self._say(words.changes(1, self._index, records))

    def kill(self) -> None:
        """As a machine dies."""
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._socket.close()

    def _say(self, frame: dict[str, Any]) -> None:
        self._socket.sendall(frames.pack(frame))


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[list[WebProcess]]:
    """Two coordinators of a cluster, which tell the same."""
    made = [WebProcess(n + 1, port, tmp_path) for n, port in enumerate(free_ports(2))]
    try:
        webs = [
            record("coordinator", str(n), node=n, name=name, web=one.place.netloc)
            for n, (name, one) in enumerate(zip("ab", made, strict=True), 1)
        ]
        for one in made:
            one.tell(record("cluster", at=time.time(), workers=3, waiting=7), *webs)
            one.ready()
        yield made
    finally:
        for one in made:
            one.kill()


def test_the_window_lives_on_when_its_coordinator_is_killed(
    pair: list[WebProcess],
    theme: Theme,
    tmp_path: Path,
    until: Callable[[Callable[[], Any]], Any],
) -> None:
    """It was given one address, has the other one from the cluster, and goes on there.

    Meanwhile it shows what it saw, and nothing is seen twice or missed. One that stands
    still for some seconds, and goes on, costs nothing but age, which is said.
    """
    settings = QSettings(str(tmp_path / "monitor.ini"), QSettings.Format.IniFormat)
    window = Window(Session(), theme, Kept(settings), finder=Finder(list))
    window.show()
    first, second = pair
    wholes: list[bool] = []
    window.session.taken.connect(lambda batch: wholes.append(batch.whole is not None))
    window.watch([first.place])
    try:
        waiting = window.views["overview"].tiles["waiting"].figure  # type: ignore[attr-defined]
        until(lambda: waiting.text() == "7")
        until(lambda: window.session.picture.coordinators)
        beats = [time.monotonic()]
        os.kill(first.process.pid, signal.SIGSTOP)
        try:
            until(lambda: beats.append(time.monotonic()) or window.session.age_s > 6)
        finally:
            os.kill(first.process.pid, signal.SIGCONT)
        window.session.ticked.emit()
        assert "6 s old" in window.status.age.text()
        assert max(map(float.__rsub__, beats, beats[1:])) < 3, "the window was waiting"
        first.tell(record("cluster", at=time.time(), workers=3, waiting=9))
        second.tell(record("cluster", at=time.time(), workers=3, waiting=9))
        until(lambda: waiting.text() == "9")
        first.kill()
        second.tell(record("cluster", at=time.time(), workers=3, waiting=8))
        until(lambda: waiting.text() == "8")
        assert str(second.place) in window.status.line.text()
        assert wholes.count(True) == 1
    finally:
        window.close()
        window.deleteLater()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
