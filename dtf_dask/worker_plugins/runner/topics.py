"""Topics of Dask's events that are about a run. Pure."""

from __future__ import annotations


def topic(run_id: str) -> str:
    """It carries the run's frames to its client."""
    return f"dtf-run-{run_id}"


def stop_topic(run_id: str) -> str:
    """There the client hears that somebody wants the run to end."""
    return f"dtf-run-{run_id}-stop"
