"""Workers with certificates of their own kind, and leaders that die, over TLS."""

from __future__ import annotations

from pathlib import Path

from distributed import Security
from free_contact import free_contact
from rejoin_kit import asking, cut, leading, run, until, working

from dtf_dask.security.authority import Authority


def secured(authority: Authority, uri: str, folder: Path) -> Security:
    files = authority.issue(uri, folder, ("localhost", "127.0.0.1"))
    of_role = {
        f"tls_{role}_{what}": str(path)
        for role in ("scheduler", "worker", "client")
        for what, path in (("cert", files.certificate), ("key", files.key))
    }
    return Security(
        tls_ca_file=str(files.authority), require_encryption=True, **of_role
    )


def test_workers_serve_each_other_and_follow_leaders(tmp_path: Path) -> None:
    """Their certificate is good for both: to listen, and to connect.

    A new leader calls them where they listen, and peers fetch results from there.
    """

    async def check() -> None:
        contact = free_contact()
        authority = Authority(tmp_path / "authority")
        authority.create("lab")
        node = secured(authority, "dtf://lab/node/1", tmp_path / "node")
        own = secured(authority, "dtf://lab/worker/w", tmp_path / "worker")
        asks = secured(authority, "dtf://lab/client/c", tmp_path / "client")
        async with (
            leading(contact, 1, security=node) as first,
            working(contact, tmp_path / "a", security=own) as one,
            working(contact, tmp_path / "b", security=own) as other,
            asking(contact, security=asks) as client,
        ):
            assert one.address.startswith("tls://")
            made = [
                client.submit(int, number, key=f"made-{number}", workers=[at.address])
                for number, at in ((1, one), (2, other))
            ]
            assert await client.submit(sum, made, workers=[one.address]) == 3
            async with leading(contact, 2, security=node) as second:
                for worker in (one, other):
                    answer = await second.rpc(worker.address).dtf_leader(
                        address=str(contact.coordinators[1]), term=2
                    )
                    assert answer == {"status": "OK"}
                await until(lambda: len(second.workers) == 2)
                held = {held.key for held in second.inventory(other).memory}
                assert held == {"made-2"}
                cut(first)

    run(check)
