"""Workers of these tests are in the tests' process, whose configuration they change."""

from __future__ import annotations

from collections.abc import Iterator

import dask
import pytest


@pytest.fixture(autouse=True)
def _clients_as_before() -> Iterator[None]:
    """Clients of later tests are Dask's own, unless those say otherwise."""
    with dask.config.set(
        {"distributed.client.preload": dask.config.get("distributed.client.preload")}
    ):
        yield
