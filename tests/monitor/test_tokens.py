"""A server that asks who one is: the token is typed once, kept, and in no file."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import keyring
import keyring.backend
import keyring.backends.fail
import pytest
from made_cluster import busy
from PySide6.QtCore import QCoreApplication, QEvent, QSettings

from monitor_app.feed.place import Place
from monitor_app.feed.tokens import SERVICE, Tokens, ring
from monitor_app.models.session import Session
from monitor_app.views.connect_dialog import ConnectDialog, Finder
from monitor_app.views.kept import Kept
from monitor_app.views.theme import Theme
from monitor_app.views.window import Window

TOKEN = "open-sesame-7"
Until = Callable[[Callable[[], Any]], Any]


class MemoryRing(keyring.backend.KeyringBackend):
    """A keyring that forgets all when the test ends, and who asked it."""

    priority = 1

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}
        self.asked_by: set[threading.Thread] = set()

    def get_password(self, service: str, username: str) -> str | None:
        self.asked_by.add(threading.current_thread())
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.asked_by.add(threading.current_thread())
        self.kept[service, username] = password


class Guarded(BaseHTTPRequestHandler):
    """Tells its events, and anything else, to who has the token."""

    closing = threading.Event()
    shown: list[str]

    def do_GET(self) -> None:
        said = self.headers.get("Authorization", "")
        self.shown.append(said)
        if said != f"Bearer {TOKEN}":
            self._answer(401, {"status": 401, "detail": "say who you are"})
        elif self.path.endswith("/events"):
            records = {key: dict(one) for key, one in busy().items()}
            told = json.dumps({"id": "1:1:9f2c", "at": 1.0, "records": records})
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            text = f"id: 1:1:9f2c\nevent: snapshot\ndata: {told}\n\n"
            self.wfile.write(text.encode())
            self.closing.wait(60)
        else:
            self._answer(404, {"status": 404, "detail": "not here"})

    def _answer(self, status: int, told: Any) -> None:
        text = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *words: Any) -> None:
        pass


@pytest.fixture
def guarded() -> Iterator[tuple[Place, list[str]]]:
    """Where it is, and what it was shown."""
    shown: list[str] = []
    closing = threading.Event()
    handler = type("Handler", (Guarded,), {"shown": shown, "closing": closing})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield Place("http", "127.0.0.1", server.server_address[1]), shown
        finally:
            closing.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def memory_ring() -> Iterator[MemoryRing]:
    before, made = keyring.get_keyring(), MemoryRing()
    keyring.set_keyring(made)
    yield made
    keyring.set_keyring(before)


@pytest.fixture
def opened(theme: Theme, tmp_path: Path) -> Iterator[Callable[[], Window]]:
    """Opens windows, as somebody does who ends the monitor and starts it again."""
    windows: list[Window] = []

    def end() -> None:
        for one in windows:
            one.close()
            one.deleteLater()
        windows.clear()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)

    def make() -> Window:
        end()
        path = str(tmp_path / "monitor.ini")
        settings = QSettings(path, QSettings.Format.IniFormat)
        window = Window(Session(), theme, Kept(settings), finder=Finder(list))
        window.show()
        windows.append(window)
        return window

    yield make
    end()


def dialog_of(window: Window) -> ConnectDialog | None:
    found = [one for one in window.findChildren(ConnectDialog) if one.isVisible()]
    return found[0] if found else None


def test_a_token_is_typed_once_and_kept_by_the_keyring(
    guarded: tuple[Place, list[str]],
    memory_ring: MemoryRing,
    opened: Callable[[], Window],
    until: Until,
    tmp_path: Path,
) -> None:
    """A wrong one is asked for again; the next window is let in by itself."""
    place, shown = guarded
    window = opened()
    window.watch([place])
    for token in ("of-yesterday", TOKEN):
        dialog = until(lambda: dialog_of(window))
        assert memory_ring.kept == {}, "what is wrong is kept"
        assert dialog.token_field.isVisible()
        assert "say who you are" in dialog.why.text()
        dialog.token_field.setText("with a space")
        dialog.accept()
        assert dialog.wrong.isVisible()
        dialog.token_field.setText(token)
        dialog.accept()
    until(lambda: window.session.live.cluster)
    until(lambda: memory_ring.kept)
    assert memory_ring.kept == {(SERVICE, str(place)): TOKEN}
    shown.clear()
    again = opened()
    again.watch([place])
    until(lambda: again.session.live.cluster)
    assert shown[0] == "", "it was shown before anybody asked"
    assert dialog_of(again) is None
    opened()
    for path in tmp_path.iterdir():
        assert TOKEN not in path.read_text()
    assert threading.main_thread() not in memory_ring.asked_by


def test_who_does_not_want_to_say_is_not_asked_again(
    guarded: tuple[Place, list[str]],
    memory_ring: MemoryRing,
    opened: Callable[[], Window],
    until: Until,
) -> None:
    """The window says what is wrong, and asks when somebody presses Ctrl+O."""
    place, _ = guarded
    window = opened()
    window.watch([place])
    dialog = until(lambda: dialog_of(window))
    dialog.reject()
    until(lambda: dialog_of(window) is None)
    for _ in range(3):
        window.session.ticked.emit()
    assert dialog_of(window) is None
    assert "say who you are" in window.status.alarm.text()
    window.ask_where()
    asked = until(lambda: dialog_of(window))
    assert asked.token_field.isVisible()
    assert asked.address.text() == str(place)
    asked.reject()


def test_without_a_keyring_the_token_is_not_kept_and_that_is_said(
    guarded: tuple[Place, list[str]], opened: Callable[[], Window], until: Until
) -> None:
    """One is let in all the same."""
    place, _ = guarded
    before = keyring.get_keyring()
    keyring.set_keyring(keyring.backends.fail.Keyring())
    try:
        assert ring() is None
        window = opened()
        window.watch([place], TOKEN, keep=True)
        until(lambda: window.session.live.cluster)
        until(lambda: "no keyring" in window.banner.text())
    finally:
        keyring.set_keyring(before)


def test_a_keyring_that_breaks_is_none(memory_ring: MemoryRing) -> None:
    """Locked, forbidden or broken: somebody is asked, as if nothing were kept."""

    def broken(*words: str) -> str:
        raise RuntimeError("it is locked")

    memory_ring.get_password = broken  # type: ignore[method-assign]
    tokens = Tokens()
    assert not tokens.refused(Place("http", "h", 1))
    assert tokens.shown == ""
