"""The seam: what it uses of Dask is there, and the backend refuses to start if not."""

from __future__ import annotations

import asyncio
import importlib.metadata
from typing import Any

import distributed
import pytest
from distributed import Worker
from distributed.comm import registry
from distributed.comm.tcp import TCP, _add_frames_header
from distributed.comm.utils import to_frames
from free_contact import free_contact
from leaders import QUIET, leading
from tornado.iostream import IOStream

from dtf_dask.comm import dask_seam
from dtf_dask.comm.backend import DtfBackend


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])


def test_the_installed_dask_has_what_the_seam_uses() -> None:
    """Names, signatures and call sites."""
    assert dask_seam.broken() == ()
    oldest, newest = map(version, dask_seam.VERSIONS)
    assert oldest <= version(distributed.__version__) <= newest


def test_the_backend_is_found_by_its_entry_point() -> None:
    """A stock process of Dask, which imports nothing of dtf, finds it by the scheme."""
    (found,) = importlib.metadata.entry_points(
        name="dtf", group="distributed.comm.backends"
    )
    assert found.load() is DtfBackend
    assert isinstance(registry.get_backend("dtf"), DtfBackend)


def test_a_name_that_is_gone_is_said_loudly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is connected on a guess."""

    class Other(TCP):
        async def read(self, deserializers: Any = None) -> Any:
            raise NotImplementedError

    monkeypatch.setattr(dask_seam, "TLS", Other)
    monkeypatch.setattr(dask_seam, "_CALL_SITES", ((TCP.read, ("no_such",)),))
    with pytest.raises(RuntimeError) as caught:
        DtfBackend()
    assert "no_such in TCP.read" in str(caught.value)
    assert "whose read can be replaced" in str(caught.value)


def test_the_first_message_is_read_as_dask_writes_it() -> None:
    """The form of its frames is Dask's, and is read by the seam itself."""

    class Stream:
        def __init__(self, content: bytes) -> None:
            self.content = content

        async def read_bytes(self, count: int) -> bytes:
            taken, self.content = self.content[:count], self.content[count:]
            return taken

    async def check() -> None:
        said = {"pickle-protocol": 5, "python": (3, 11), "compression": None}
        frames, *_ = _add_frames_header(await to_frames(said))
        stream = Stream(b"".join(map(bytes, frames)))
        assert await dask_seam.first_message(stream) == said  # type: ignore[arg-type]
        assert stream.content == b""

    assert not issubclass(Stream, IOStream)
    asyncio.run(check())


def test_a_worker_without_a_host_is_reached_where_the_coordinators_are() -> None:
    """Dask gives a listener the address of this only by tcp and tls."""

    async def check() -> None:
        contact = free_contact()
        async with (
            leading(contact, 1),
            Worker(str(contact), nthreads=1, **QUIET) as worker,
        ):
            assert worker.address.startswith("tcp://127.0.0.1:")

    asyncio.run(check())


def test_where_an_address_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts of addresses, for those in Dask who want one."""
    backend = DtfBackend()
    assert backend.get_address_host("a:1,b:2") == "a"
    assert backend.get_address_host_port("[::1]:1,b:2/lab") == ("::1", 1)
    assert backend.get_address_host("10.0.0.1:0") == "10.0.0.1"
    assert backend.get_address_host("10.0.0.1") == "10.0.0.1"
    assert backend.resolve_address("localhost:1,b:2") == "localhost:1,b:2"
    assert backend.get_local_address_for("127.0.0.1:1,b:2") == "127.0.0.1"
    assert backend.get_local_address_for("x.invalid:1,127.0.0.1:2") == "127.0.0.1"
    with pytest.raises(ValueError, match="no address of coordinators"):
        backend.get_address_host("a:1,,")
