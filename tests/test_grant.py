"""Devices that were granted travel to the worker by what CUDA calls them."""

from __future__ import annotations

from typing import Any

import pytest

from dtf_dask.grant import ANNOTATION, GPUS_MAX, granted, visible_devices


def test_ids_where_cuda_knows_them_else_numbers() -> None:
    """The order in which CUDA counts may be another one than ours."""
    grant = granted([("GPU-1f", 0), ("MIG-2a", 32), ("fake", 3)])
    assert visible_devices({ANNOTATION: grant}) == "GPU-1f,MIG-2a,3"


@pytest.mark.parametrize(
    "sent",
    [
        None,
        {},
        {ANNOTATION: None},
        {ANNOTATION: {}},
        {ANNOTATION: {"gpus": []}},
        {ANNOTATION: {"gpus": "GPU-1"}},
        {ANNOTATION: {"gpus": ["GPU-1,GPU-2"]}},
        {ANNOTATION: {"gpus": [0] * (GPUS_MAX + 1)}},
    ],
)
def test_what_is_no_grant_changes_nothing(sent: Any) -> None:
    """Whatever a client wrote in that place: the variable is left as it is."""
    assert visible_devices(sent) is None
