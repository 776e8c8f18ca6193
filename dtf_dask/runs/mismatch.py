"""What to say of a runner that found another suite than the client. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dtf_dask.errors import CollectionMismatchError

_UNEXPLAINED = (
    "\n  (no collection error there: do tests depend on the machine, the environment"
    " or the current folder?)"
)


def missing_tests(frame: Mapping[str, Any], slot: str) -> CollectionMismatchError:
    """The error for a ``missing`` frame: tests that the runner does not have."""
    names = frame["names"]
    others = f" and {len(names) - 1} more" if names[1:] else ""
    errors = "".join(f"\n  {text}" for text in frame.get("errors", ()))
    return CollectionMismatchError(
        f"the suite imports differently on {slot}: it found {frame['cases']} tests"
        f" there, and not {names[0]!r}{others}{errors or _UNEXPLAINED}"
    )


def no_session(frame: Mapping[str, Any], slot: str) -> CollectionMismatchError:
    """The error for an ``unusable`` frame: pytest did not get as far as a session."""
    return CollectionMismatchError(
        f"pytest could not collect the suite on {slot} (exit code {frame['code']}):\n"
        f"{frame['text']}"
    )


MISMATCHES = {"missing": missing_tests, "unusable": no_session}
"""The error that a runner's frame stands for, by its operation."""
