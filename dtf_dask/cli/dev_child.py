"""A command of dtf for ``dtf dev``: ends when its input does, however that came."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

_END_S = 5.0


def _watch() -> None:
    while os.read(sys.stdin.fileno(), 4_096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_END_S)
    # Nannies' workers end with the process that has the nannies.
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_watch, daemon=True).start()
    from dtf_dask.cli.main import main

    main(sys.argv[1:])
