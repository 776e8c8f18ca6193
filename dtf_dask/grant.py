"""What a task is granted along with its worker, and how that travels to it. Pure.

The scheduler adds it to the task's annotations as it sends the task to its worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

ANNOTATION = "dtf_grant"
GPUS_MAX = 1024
_ID_LENGTH_MAX = 200
_NAMED = ("GPU-", "MIG-")


def is_device_id(name: str) -> bool:
    """Whether CUDA knows a device by this, whichever process of the host asks."""
    return name.startswith(_NAMED)


def granted(gpus: Iterable[tuple[str, int]]) -> dict[str, Any]:
    """The annotation for these devices, each with its id and number.

    By its id where CUDA knows that: numbers hang on the order in which CUDA counts.
    """
    return {"gpus": [name if is_device_id(name) else index for name, index in gpus]}


def visible_devices(annotations: Mapping[str, Any] | None) -> str | None:
    """What CUDA_VISIBLE_DEVICES is for a task; None if it was granted no devices.

    Examples
    --------
    >>> visible_devices({ANNOTATION: granted([("GPU-1f", 0), ("fake", 3)])})
    'GPU-1f,3'
    >>> visible_devices({}) is None
    True
    """
    words = [str(gpu)[:_ID_LENGTH_MAX] for gpu in granted_devices(annotations)]
    if not words or any("," in word for word in words):
        return None
    return ",".join(words)


def granted_devices(annotations: Mapping[str, Any] | None) -> tuple[int | str, ...]:
    """What `granted` was given: ids or numbers; none if it makes no sense.

    Examples
    --------
    >>> granted_devices({ANNOTATION: granted([("GPU-1f", 0), ("fake", 3)])})
    ('GPU-1f', 3)
    """
    grant = (annotations or {}).get(ANNOTATION)
    gpus = grant.get("gpus") if isinstance(grant, Mapping) else None
    if not isinstance(gpus, list | tuple) or len(gpus) > GPUS_MAX:
        return ()
    return tuple(gpus)
