"""A scheduler process that writes numbered records to be seen, and nothing else.

One entry of the ledger each: ``x/view/action/TERM-NUMBER``.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from typing import Any

from dtf_dask import frames
from dtf_dask.ha import scheduler_words as words
from dtf_dask.ha.ledger.entries import encode_command
from dtf_dask.ha.ledger.kinds import DELETE, PUT
from dtf_dask.view.records import PREFIX, encoded, formed, record_key

PAUSE_S = 0.05
KEPT = 200
"""Of its own: there is a bound on what is to be seen."""


def key(term: int, number: int) -> str:
    """Of a record."""
    return PREFIX + record_key("action", f"{term}-{number:06}")


def main() -> None:
    """Speak until the socket ends."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.setblocking(True)
    buffer = frames.FrameBuffer()
    number = term = 0

    def say(frame: dict[str, Any]) -> None:
        connection.sendall(frames.pack(frame))

    while chunk := connection.recv(2**20):
        for frame in buffer.feed(chunk):
            if frame["op"] == words.HELLO:
                say(words.ready(os.getpid()))
            elif frame["op"] == words.PING:
                say(words.pong(frame["number"]))
            elif frame["op"] == words.LEAD:
                term = frame["term"]
                say(words.leading(0.0, 0))
                say(words.settled(0.0, 0, 0, {}))
            if frame["op"] in (words.LEAD, words.OUTCOME):
                time.sleep(PAUSE_S)
                number += 1
                record = encoded(formed("action", {"at": 0}))
                commands = [
                    encode_command(PUT, words.NAMESPACE, key(term, number), record)
                ]
                if number > KEPT:
                    old = key(term, number - KEPT)
                    commands.append(encode_command(DELETE, words.NAMESPACE, old))
                say(words.propose(number, commands))


if __name__ == "__main__":
    main()
