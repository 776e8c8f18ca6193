"""Starts the driver's process.

A small suite is collected before what the driver imports is loaded. The garbage
collector looks through all of it again and again meanwhile, for a seventh of that time,
and finds nothing.
"""

from __future__ import annotations

import gc
import os
import sys


def main() -> None:
    """Load the driver and run it."""
    gc.disable()
    from dtf_dask.runs import driver_process

    gc.freeze()
    gc.enable()
    driver_process.main()
    sys.stdout.flush()
    os._exit(0)  # the interpreter's own goodbye costs 0.1 s and has nothing to say


if __name__ == "__main__":
    main()
