"""What other pytest plugins would do beside dtf, and must not; what they may expect.

pytest-xdist distributes tests too, and its peers ask it (or `config.workerinput`) where
they are. Used by the controller and by the runners that workers start.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from dtf_dask.errors import ProtocolError
from dtf_dask.frames import pack


def take_over(config: pytest.Config) -> Any:
    """Stop xdist from distributing, before anything is configured; its ``-n``.

    pytest-rerunfailures would serve its counts from a thread, for xdist's crashes only:
    dtf retries those itself, and a process with threads is not safe to fork.
    """
    option = config.option
    asked = getattr(option, "numprocesses", None)
    if hasattr(option, "numprocesses"):
        option.numprocesses = None
        option.tx = []
    peer = sys.modules.get("pytest_rerunfailures")
    if hasattr(peer, "HAS_PYTEST_HANDLECRASHITEM"):
        peer.HAS_PYTEST_HANDLECRASHITEM = False  # type: ignore[union-attr]
    return asked


def worker_inputs(
    config: pytest.Config, slots: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """What plugins and conftests give each worker by ``pytest_configure_node``.

    Only plain values travel, as with xdist.
    """
    manager = config.pluginmanager
    if not manager.hasplugin("xdist"):
        return {}
    coverage = manager.getplugin("_cov")  # its master is xdist's alone
    call = manager.subset_hook_caller("pytest_configure_node", [coverage])
    found = {}
    for slot in slots:
        node = SimpleNamespace(
            config=config, gateway=SimpleNamespace(id=slot), workerinput={}
        )
        call(node=node)
        found[slot] = {k: v for k, v in node.workerinput.items() if _is_plain(v)}
    return found


def _is_plain(value: object) -> bool:
    try:
        pack({"value": value})
    except (ProtocolError, TypeError, ValueError, OverflowError):
        return False
    return True
