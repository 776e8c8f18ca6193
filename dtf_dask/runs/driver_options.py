"""What a driver is given: its cases and the choices of its run. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dtf_dask.model import CaseId

MISFIT_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class DrivenCase:
    """A case as the driver sees it.

    ``entry`` is what the runner needs to find it, beside its number: ``(name,
    occurrence)`` for a pytest item, ``(name, payload)`` for a value. ``retries`` are
    its own; None for the run's.
    """

    id: CaseId
    entry: tuple[Any, ...]
    retries: int | None = None


@dataclass(frozen=True, slots=True)
class DriverOptions:
    """Choices of one run; times in seconds, sizes in bytes."""

    retries: int = 0
    cancel_grace_s: float = 2.0
    artifact_limit: int = 64 * 2**20
    misfit_patience_s: float = (
        MISFIT_PATIENCE_S  # for a worker that fits a case to come
    )
    priority_class: str | None = None  # of the whole run
    shared: bool = True  # the cluster has other work: batches may have to give way
