"""pytest with a driver at its side: the process that ``dtf run`` becomes."""

from __future__ import annotations

import gc
import sys

from dtf_dask.runs.driver_link import DriverLink
from dtf_dask.worker_plugins.runner.process_life import leave


def main() -> int:
    """Run pytest with this process's arguments; its exit code."""
    # Started before pytest is imported: by the time the suite is collected it is ready.
    link = DriverLink()
    try:
        gc.disable()  # while nothing but modules is made
        import pytest

        from dtf_dask.runs.pytest_plugin import HOLDER, DriverHolder

        gc.enable()
        holder = DriverHolder(link)
        holder.__name__ = HOLDER  # type: ignore[attr-defined]  # pluggy's name for it
        return int(pytest.main(sys.argv[1:], plugins=[holder]))
    finally:
        link.close(in_run=False)  # the session has ended: so has the run


if __name__ == "__main__":
    leave(main())
