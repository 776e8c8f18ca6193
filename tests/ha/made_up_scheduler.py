"""A scheduler process that speaks the words and does nothing else.

What it is to do wrong stands in the options of `hello`, or in files of the folder that
they name: ``crash``, ``hang``, ``trouble``; ``too slow`` before it leads.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from dtf_dask import frames
from dtf_dask.ha import scheduler_words as words
from dtf_dask.ha.ledger.entries import encode_command
from dtf_dask.ha.ledger.kinds import PUT


def main() -> None:
    """Speak until the socket ends."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.setblocking(True)
    buffer = frames.FrameBuffer()
    folder = Path()
    tickets, led = 0, False

    def say(frame: dict[str, Any]) -> None:
        connection.sendall(frames.pack(frame))

    while True:
        readable, _, _ = select.select([connection], [], [], 0.02)
        chunk = connection.recv(2**20) if readable else None
        if chunk == b"":
            return
        for frame in buffer.feed(chunk or b""):
            if frame["op"] == words.HELLO:
                folder = Path(frame["options"]["preload"][0])
                if (folder / "crash at start").exists():
                    os._exit(3)
                with (folder / "pids").open("a") as file:
                    file.write(f"{frame['node']} {os.getpid()}\n")
                say(words.ready(os.getpid()))
            elif frame["op"] == words.PING:
                if not led and _takes(folder, "too slow"):
                    os._exit(words.ANEW)
                say(words.pong(frame["number"]))
            elif frame["op"] == words.ASK:
                told = {"pid": os.getpid(), "led": led, "asked": frame["asked"]}
                say(words.answered(frame["number"], told))
            elif frame["op"] == words.LEAD:
                led = True
                with (folder / "led").open("a") as file:
                    file.write(f"{frame['term']} {os.getpid()}\n")
                say(words.leading(0.0, 7))
                say(words.settled(0.1, 2, 0, {}))
            if frame["op"] in (words.LEAD, words.OUTCOME):
                tickets += 1
                key = f"{tickets}"
                command = encode_command(PUT, words.NAMESPACE, key, b"%d" % os.getpid())
                time.sleep(0.01)
                say(words.propose(tickets, [command]))
                _misbehave(folder, say)


def _takes(folder: Path, what: str) -> bool:
    """Whether it is this process that is to do something wrong."""
    try:
        (folder / what).rename(folder / f"{what} done")
    except FileNotFoundError:
        return False
    return True


def _misbehave(folder: Path, say: Any) -> None:
    """Once it leads: each file is for one process only."""
    for what in ("crash", "hang", "trouble"):
        if not _takes(folder, what):
            continue
        if what == "crash":
            os._exit(7)
        if what == "hang":
            os.kill(os.getpid(), signal.SIGSTOP)
        say(words.trouble("as it was told"))


if __name__ == "__main__":
    main()
