"""What is made to happen in the processes of nodes; Python imports this at its start.

Clocks jump: the environment names a folder with a file for each node, how far its wall
clock and its monotonic clock are ahead, two numbers in seconds. Every reading of a
clock looks there, so that a jump is seen at once. And a node listens at another address
than it says, as behind a router: what reaches it comes by a proxy, which is where it
says.
"""

import mmap
import os
import socket
import struct
import sys
import time


def _own_folder() -> str:
    """Of the node that this process is; empty if it is none."""
    words = sys.orig_argv
    if "dtf_dask.ha.node_process" in words:
        return words[words.index("dtf_dask.ha.node_process") + 1]
    return ""


def _shift_clocks(path: str) -> None:
    with open(path, "rb") as file:
        ahead = mmap.mmap(file.fileno(), 16, prot=mmap.PROT_READ)
    wall, steady, read = time.time, time.monotonic, struct.Struct("dd").unpack_from
    time.time = lambda: wall() + read(ahead)[0]
    time.monotonic = lambda: steady() + read(ahead)[1]


def _listen_elsewhere(said: str, real: str) -> None:
    bind = socket.socket.bind

    def bound(self: socket.socket, address: tuple[str, int]) -> None:
        host, port = address
        bind(self, (real if host == said else host, port))

    socket.socket.bind = bound  # type: ignore[method-assign, assignment]


_folder = _own_folder()
if _folder and os.environ.get("DTF_CHAOS_CLOCKS"):
    _name = os.path.basename(_folder)
    _shift_clocks(os.path.join(os.environ["DTF_CHAOS_CLOCKS"], _name))
if _folder and os.environ.get("DTF_CHAOS_HOSTS"):
    _listen_elsewhere(*os.environ["DTF_CHAOS_HOSTS"].split())
