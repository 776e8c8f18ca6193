"""The Distributed Testing Framework on Dask.

PYTEST_DONT_REWRITE: ``dtf run`` imports this package before it starts pytest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dtf_dask.client import Client
    from dtf_dask.cluster import LocalCluster
    from dtf_dask.errors import DtfError
    from dtf_dask.model import ArtifactRef, Attempt, Case, Outcome, Phase, Run
    from dtf_dask.runs.handle import RunHandle
    from dtf_dask.worker_plugins.hardware.granted import granted_gpus
    from dtf_dask.worker_plugins.runner.checkpoint import (
        checkpoint_folder,
        on_preemption,
    )

__version__ = "0.1.0"

# Loaded on first use: the pytest plugin imports this package in every pytest run of
# the environment, and must not cost it the import of Dask.
_HOME = {
    "ArtifactRef": "dtf_dask.model",
    "Attempt": "dtf_dask.model",
    "Case": "dtf_dask.model",
    "Client": "dtf_dask.client",
    "DtfError": "dtf_dask.errors",
    "LocalCluster": "dtf_dask.cluster",
    "Outcome": "dtf_dask.model",
    "Phase": "dtf_dask.model",
    "Run": "dtf_dask.model",
    "RunHandle": "dtf_dask.runs.handle",
    "checkpoint_folder": "dtf_dask.worker_plugins.runner.checkpoint",
    "granted_gpus": "dtf_dask.worker_plugins.hardware.granted",
    "on_preemption": "dtf_dask.worker_plugins.runner.checkpoint",
}

__all__ = [
    "ArtifactRef",
    "Attempt",
    "Case",
    "Client",
    "DtfError",
    "LocalCluster",
    "Outcome",
    "Phase",
    "Run",
    "RunHandle",
    "__version__",
    "checkpoint_folder",
    "granted_gpus",
    "on_preemption",
]


def __getattr__(name: str) -> Any:
    try:
        home = _HOME[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
