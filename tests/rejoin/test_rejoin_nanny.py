"""Real processes: ``dtf worker`` with its nanny, and leaders that come and go."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Nanny
from distributed.core import rpc
from distributed.protocol.pickle import dumps
from free_contact import LOOPBACK, free_contact
from rejoin_kit import Leader, cut, leading, run, until

from dtf_dask.comm.address import Contact
from dtf_dask.worker_plugins import dask_nanny


class _DiesAtOnce(Leader):
    """Answers a nanny, and is gone."""

    async def add_nanny(self, comm: Any, address: str) -> None:
        await comm.write({"status": "OK", "nanny-plugins": self.nanny_plugins})
        self.said.append({"op": "nanny", "address": address})
        cut(self)


@contextlib.contextmanager
def dtf_worker(contact: Contact, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    program = "from dtf_dask.cli.main import main; main()"
    command = [sys.executable, "-c", program, "worker", str(contact)]
    command += ["--nworkers", "1", "--nthreads", "1", "--host", LOOPBACK]
    command += ["--no-dashboard", "--local-directory", str(folder)]
    # A nanny of Dask would end after this time.
    env = {**os.environ, "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "500 ms"}
    with (
        (folder / "worker.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=env) as process,
    ):
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        finally:
            process.kill()


async def runs(nanny: str | None) -> bool:
    """Whether a nanny has done with starting its worker."""
    async with rpc(nanny) as it:
        said = await it.run(function=dumps(lambda dask_worker: dask_worker.status.name))
    return bool(said["result"] == "running")


@pytest.mark.drill
def test_nannies_outlive_leaders(tmp_path: Path) -> None:
    """One starts before anybody leads, and while a leader dies; then its worker dies.

    The worker outlives its leader; one that was killed is started anew, and registers
    with whoever leads.
    """

    async def check() -> None:
        contact = free_contact()
        with dtf_worker(contact, tmp_path) as nanny:
            await asyncio.sleep(1.5)
            assert nanny.poll() is None
            async with leading(contact, 1, _DiesAtOnce) as first:
                await until(lambda: first.said)
            async with leading(contact, 2) as second:
                await until(lambda: second.workers)
                (before,) = second.workers.values()
                assert psutil.Process(before.pid).ppid() == nanny.pid
                cut(second)
                async with leading(contact, 3) as third:
                    await until(lambda: third.workers)
                    (same,) = third.workers.values()
                    assert same.server_id == before.server_id
                    while not await runs(same.nanny):
                        await asyncio.sleep(0.01)
                    os.kill(same.pid, signal.SIGKILL)
                    await until(
                        lambda: any(
                            one.pid != same.pid for one in third.workers.values()
                        )
                    )
                    (other,) = third.workers.values()
                    assert psutil.Process(other.pid).ppid() == nanny.pid

    try:
        run(check)
    except BaseException:
        print((tmp_path / "worker.log").read_text())
        raise


def test_the_installed_dask_has_what_the_seam_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a nanny as it is made; what is gone is named."""

    async def check() -> None:
        nanny = Nanny("tcp://127.0.0.1:1", local_directory=str(tmp_path))
        try:
            assert dask_nanny.broken(nanny) == ()
            monkeypatch.setattr(dask_nanny, "_CALLED", ("no_such",))
            assert dask_nanny.broken(nanny) == ("no_such in Nanny.start_unsafe",)
        finally:
            await nanny.close()

    run(check)
