"""The seam: what it uses of Dask's client is there."""

from __future__ import annotations

import distributed
import pytest

from dtf_dask.durable import dask_client
from dtf_dask.durable.client_methods import attach
from dtf_dask.errors import SchedulingUnavailableError


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])


def test_the_installed_dask_has_what_the_seam_uses() -> None:
    """Names, signatures and call sites."""
    assert dask_client.broken() == ()
    oldest, newest = map(version, dask_client.VERSIONS)
    assert oldest <= version(distributed.__version__) <= newest


def test_a_client_of_another_make_is_left_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It says what is missing, and touches nothing."""
    monkeypatch.setattr(
        distributed.Client,
        "_release_key",
        lambda self, key: self._send({"op": "release"}),
    )
    (missing,) = dask_client.broken()
    assert "client-releases-keys" in missing
    client = object()
    with pytest.raises(SchedulingUnavailableError, match="client-releases-keys"):
        attach(client)
