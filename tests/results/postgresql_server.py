"""A PostgreSQL server of our own, for tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

START_S = 60.0


@contextlib.contextmanager
def running_postgresql() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a PostgreSQL server with its data in a temporary folder."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = str(binaries[-1]) if binaries else shutil.which("initdb")
    if initdb is None:
        pytest.skip("no PostgreSQL server here (Debian: apt-get install postgresql)")
    pytest.importorskip("psycopg")
    # The server refuses to run as root; Debian's package makes a user for it.
    account = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="dtfpg", dir="/tmp"))  # sockets: short paths
    try:
        if account:
            shutil.chown(folder, **account)
        subprocess.run(
            [
                *(initdb, "-D", folder / "data", "-U", "dtf", "-A", "trust"),
                *("--no-sync", "-E", "UTF8", "--no-locale"),
            ],
            check=True,
            capture_output=True,
            cwd=folder,
            **account,
        )
        server = subprocess.Popen(
            [
                *(Path(initdb).parent / "postgres", "-D", folder / "data"),
                *("-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            **account,
        )
        try:
            _wait_until_ready(folder, server)
            yield str(folder), server
        finally:
            if server.poll() is None:
                server.send_signal(signal.SIGCONT)
                server.send_signal(signal.SIGQUIT)  # at once: nothing is to be kept
            server.wait(START_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_ready(folder: Path, server: subprocess.Popen[bytes]) -> None:
    import psycopg

    deadline = time.monotonic() + START_S
    while True:
        try:
            psycopg.connect(f"host={folder} user=dtf dbname=postgres").close()
        except psycopg.OperationalError:
            assert server.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.05)
        else:
            return
