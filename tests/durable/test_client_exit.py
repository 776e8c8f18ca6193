"""An interpreter ends, or is interrupted, while nobody leads."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys

from coordinator import lab_thread

WAIT_S = 60.0
CODE = """
import sys
from distributed import fire_and_forget
from dtf_dask import Client

client = Client(sys.argv[1], set_as_default=sys.argv[2] == "default")
client.submit(sum, [1, 2])
client.flush(60)
print("connected", flush=True)
sys.stdin.readline()
futures = client.map(abs, range(50))
fire_and_forget(futures)
for waits in (client.flush, lambda: client.gather(futures)):
    try:
        print("waits", flush=True)
        waits()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


def test_ends_while_nobody_leads() -> None:
    """One line says how much is lost, of the default client and of any other, and it
    does not take for ever; Ctrl-C ends `flush` and `gather`."""
    with contextlib.ExitStack() as stack:
        lost = stack.enter_context(lab_thread(threads=0))
        clients = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", CODE, lost.lab.address, how],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for how in ("default", "other")
        ]
        for one in clients:
            stack.callback(one.kill)
            assert one.stdout is not None
            assert one.stdout.readline() == "connected\n"
        lost.do(lost.lab.die())
        for one in clients:
            assert one.stdin is not None
            assert one.stdout is not None
            one.stdin.write("\n")
            one.stdin.flush()
            for _ in range(2):
                assert one.stdout.readline() == "waits\n"
                one.send_signal(signal.SIGINT)
                assert one.stdout.readline() == "interrupted\n"
        for one in clients:
            _, said = one.communicate(None, WAIT_S)
            assert one.returncode == 0, said
            lines = [row for row in said.splitlines() if "client closes" in row]
            assert lines == [
                "A client closes: 51 operations are not in the ledger of lab yet: no"
                " scheduler leads. It is lost with this client."
            ], said
