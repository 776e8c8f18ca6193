"""``dtf scheduler`` and ``dtf worker``, as processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys

import dask
import pytest
from click.testing import CliRunner
from dask.system import CPU_COUNT
from distributed.cli import dask_scheduler, dask_worker

from dtf_dask.cli.cluster import scheduler, worker
from dtf_dask.client import Client
from dtf_dask.errors import ConfigurationError


@contextlib.contextmanager
def dtf(*arguments, log):
    """A dtf command that is interrupted at the end, as by Ctrl-C, and must end well."""
    command = [sys.executable, "-c", "from dtf_dask.cli.main import main; main()"]
    with (
        log.open("wb") as file,
        subprocess.Popen(
            [*command, *arguments], stdout=subprocess.PIPE, stderr=file, text=True
        ) as process,
    ):
        try:
            yield process
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()
    assert "Traceback" not in log.read_text()


def test_a_scheduler_and_a_worker_by_hand(tmp_path):
    """The first line of stdout is the address; Ctrl-C ends both without a trace."""
    file = tmp_path / "scheduler.json"
    with dtf(
        *("scheduler", "--port", "0", "--dashboard-address", "127.0.0.1:0"),
        *("--scheduler-file", str(file)),
        log=tmp_path / "scheduler.log",
    ) as started:
        name, _, address = started.stdout.readline().strip().partition("=")
        assert name == "DTF_SCHEDULER"
        assert address.startswith("tcp://127.0.0.1:")
        assert json.loads(file.read_text())["address"] == address
        assert f"dtf worker {address}" in (tmp_path / "scheduler.log").read_text()
        with (
            dtf("worker", address, "--nworkers", "1", log=tmp_path / "worker.log"),
            Client(address) as client,
        ):
            client.wait_for_workers(1, timeout=60)
            assert client.submit(os.getpid, timeout="1 min").result() != os.getpid()
            assert list(client.nthreads().values()) == [1]
            where = client.scheduler_info(n_workers=-1)["workers"]
            assert {one["host"] for one in where.values()} == {"127.0.0.1"}
        assert started.poll() is None
    assert not file.exists()


def test_a_worker_without_an_address_says_what_is_missing():
    """A usage error, before anything starts."""
    result = CliRunner().invoke(worker, [])
    assert result.exit_code == 2
    assert "dtf worker tcp://HOST:8786" in result.output


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("dtf://host:port", "'port' is no port: from 1 to 65535"),
        ("dtf://", "names no coordinator"),
    ],
)
def test_a_worker_with_a_wrong_address_says_what_is_wrong(address, said):
    """The same: not some seconds later, by the traceback of a nanny."""
    result = CliRunner().invoke(worker, [address])
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("arguments", "workers", "threads"),
    [
        ([], "auto", 1),
        (["--nthreads", "1000"], "1", 1000),
        (["--no-nanny"], "1", 1),
        (["--listen-address", "tcp://127.0.0.1:0"], "1", 1),
        (["--nworkers", "3"], "3", 1),
    ],
)
def test_a_worker_has_one_thread_by_default(monkeypatch, arguments, workers, threads):
    """And there is one per core, where Dask's own options allow more than one."""
    given = {}
    monkeypatch.setattr(dask_worker.main, "callback", lambda **all_: given.update(all_))
    result = CliRunner().invoke(
        worker, ["tcp://127.0.0.1:1", *arguments], catch_exceptions=False
    )
    assert result.exit_code == 0
    expected = str(CPU_COUNT) if workers == "auto" else workers
    assert (given["n_workers"], given["nthreads"]) == (expected, threads)
    assert given["preload"] == ["dtf_dask.preload"]
    assert given["dashboard_address"] == "127.0.0.1:0"


@pytest.mark.parametrize(
    ("arguments", "host", "dashboard"),
    [
        ([], "127.0.0.1", "127.0.0.1:8787"),
        (["--host", "0.0.0.0"], "0.0.0.0", "127.0.0.1:8787"),
        (["--dashboard-address", ":1"], "127.0.0.1", ":1"),
        (["--interface", "lo"], "", "127.0.0.1:8787"),
        (["--tls-ca-file", __file__], "tls://127.0.0.1", "127.0.0.1:8787"),
    ],
)
def test_a_scheduler_is_open_to_nobody_unless_told(
    monkeypatch, arguments, host, dashboard
):
    """Both its own port and the dashboard are on loopback by default."""
    given = {}
    monkeypatch.setattr(
        dask_scheduler.main, "callback", lambda **all_: given.update(all_)
    )
    result = CliRunner().invoke(scheduler, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert (given["host"], given["dashboard_address"]) == (host, dashboard)
    assert given["preload"][0] == "dtf_dask.preload"


def test_a_wrong_configuration_starts_no_scheduler():
    """It would be one without dtf: Dask goes on without what cannot be loaded."""
    with dask.config.set({"dtf.scheduling.bogus": 1}):
        result = CliRunner().invoke(scheduler, ["--port", "0"])
    assert isinstance(result.exception, ConfigurationError)
    assert "bogus" in str(result.exception)


@pytest.mark.parametrize(
    ("ours", "base"), [(scheduler, dask_scheduler.main), (worker, dask_worker.main)]
)
def test_all_of_dasks_options_are_there(ours, base):
    """Ours are Dask's, with our version and help; Dask's own are left as they were."""
    says = {"labels", "accept", "tokens", "health_checks"}
    own = says if ours is worker else set()
    assert {p.name for p in ours.params} == {p.name for p in base.params} | own
    text = CliRunner().invoke(ours, ["--help"]).output
    assert "Usage: " in text
    assert "--preload" in text
    assert "127.0.0.1" in text
    assert "--show" not in text.replace("--show-", "")
    assert "127.0.0.1:8787" not in CliRunner().invoke(base, ["--help"]).output
    assert "dtf" in CliRunner().invoke(ours, ["--version"]).output


def test_options_of_a_preload_of_the_users_pass(tmp_path):
    """A click-configurable preload beside ours gets its options."""
    (tmp_path / "theirs.py").write_text(
        "import click\n\n@click.command()\n@click.option('--colour')\n"
        "def dask_setup(scheduler, colour):\n    print('COLOUR', colour, flush=True)\n"
    )
    log = tmp_path / "log"
    with dtf(
        *("scheduler", "--port", "0", "--no-dashboard"),
        *("--dashboard-address", "127.0.0.1:0"),
        *("--preload", str(tmp_path / "theirs.py"), "--colour", "green"),
        log=log,
    ) as process:
        assert process.stdout.readline() == "COLOUR green\n"
        assert process.stdout.readline().startswith("DTF_SCHEDULER=tcp://")
