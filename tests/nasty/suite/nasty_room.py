"""What the nasty tests share: notes on disk, which outlive any process."""

from __future__ import annotations

import os
import time
from pathlib import Path

ROOM = Path(os.environ["DTF_NASTY_ROOM"])
FULL = os.environ.get("DTF_NASTY_FULL") == "1"
FOREVER_S = 1000


def note(name: str, text: str = "") -> None:
    """Append a line to the room's file ``name``."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    file = os.open(ROOM / name, flags, 0o600)
    os.write(file, f"{os.getpid()} {text}\n".encode())
    os.close(file)


def stay() -> None:
    """Note this process and sleep until it is killed; never returns."""
    note("stayed")
    time.sleep(FOREVER_S)
    os._exit(0)


def await_notes(name: str, count: int) -> None:
    """Wait until the file holds that many lines."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if (ROOM / name).read_text().count("\n") >= count:
                return
        except FileNotFoundError:
            pass
        time.sleep(0.005)
    raise AssertionError(f"fewer than {count} lines in {name} after 20 s")
