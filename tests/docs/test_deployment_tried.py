"""docs/deployment.md: its units, manifests and commands are tried, as far as this
machine goes: read by the programs that read them, and run with paths of their own."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from distributed import Security
from fenced import blocks

from dtf_dask import Client
from dtf_dask.cli.free_ports import free_ports

DOCUMENT = Path(__file__).parents[2] / "docs" / "deployment.md"
BLOCKS = blocks(DOCUMENT.read_text("utf-8"))
FILES = {one.file: one.text for one in BLOCKS if one.file}
SCRIPTS = Path(sysconfig.get_path("scripts"))
WAIT_S = 120.0
UNITS = ("dtf-coordinator.service", "dtf-worker.service")


def without(program: str) -> pytest.MarkDecorator:
    """Skip where there is no such program."""
    why = f"{program} is not installed"
    return pytest.mark.skipif(shutil.which(program) is None, reason=why)


def said(*words: str, folder: Path) -> str:
    """What a program says that has to find all well."""
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@without("systemd-analyze")
def test_systemd_reads_the_units(tmp_path: Path) -> None:
    """Every line, with nothing to say of it."""
    for unit in UNITS:
        here = FILES[unit].replace("/opt/dtf/bin/dtf", str(SCRIPTS / "dtf"))
        (tmp_path / unit).write_text(here)
    verify = ("systemd-analyze", "verify", "--man=no")
    assert said(*verify, *(f"./{unit}" for unit in UNITS), folder=tmp_path) == ""


@without("docker-compose")
def test_compose_reads_its_file(tmp_path: Path) -> None:
    """By its own schema."""
    (tmp_path / "compose.yaml").write_text(FILES["compose.yaml"])
    said("docker-compose", "-f", "compose.yaml", "config", "-q", folder=tmp_path)


@without("kubernetes-validate")
def test_kubernetes_manifests_are_of_its_schemas(tmp_path: Path) -> None:
    """With no property that it does not know."""
    (tmp_path / "kubernetes.yaml").write_text(FILES["kubernetes.yaml"])
    said("kubernetes-validate", "--strict", "kubernetes.yaml", folder=tmp_path)


# -- what they start


def exec_start(unit: str) -> str:
    """The command of a unit."""
    (line,) = re.findall(
        r"^ExecStart=(.*)$", FILES[unit].replace("\\\n", " "), re.MULTILINE
    )
    return str(line)


def composed(service: str) -> str:
    """The command of a service of compose."""
    return str(yaml.safe_load(FILES["compose.yaml"])["services"][service]["command"])


def of_pod(kind: str) -> str:
    """The command of a container of Kubernetes."""
    (found,) = (
        one["spec"]["template"]["spec"]["containers"][0]
        for one in yaml.safe_load_all(FILES["kubernetes.yaml"])
        if one["kind"] == kind
    )
    return shlex.join([*found["command"], *found.get("args", [])])


class Machines:
    """This machine as all of those that the document names: each path in a folder of
    its own, each host at a free port."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder, self._stack = folder, stack
        places = [f"127.0.0.1:{port}" for port in free_ports(3)]
        self.contact = f"dtf://{','.join(places)}/lab"
        self.peers = ",".join(map("=".join, zip("abc", places, strict=True)))
        self._environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DASK_", "DTF_"))
        } | {"PATH": os.pathsep.join([str(SCRIPTS), os.environ["PATH"]])}

    def mapped(self, command: str, paths: dict[str, Path]) -> str:
        """A command with paths and addresses of here."""
        for path, here in paths.items():
            command = re.sub(
                rf"(?<![\w/.]){re.escape(path)}(?=[/\s'\"]|$)", f"{here}", command
            )
        command = command.replace("/opt/dtf/bin/dtf", str(SCRIPTS / "dtf"))
        return re.sub(r"dtf://[\w.,:-]+/lab", self.contact, command)

    def start(self, name: str, command: str, **environment: str) -> Path:
        """Run a command by a shell until the test ends; where it says what."""
        log = self.folder / f"{name}.log"
        own = self.folder / "cwd" / name
        own.mkdir(parents=True)
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["sh", "-c", f"exec {command}"],
                cwd=own,
                env=self._environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

        def end() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

        self._stack.callback(end)
        return log


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    with contextlib.ExitStack() as stack:
        yield Machines(tmp_path, stack)


@pytest.mark.drill
@pytest.mark.timeout(300)
@pytest.mark.logs("After 10 s: .* no coordinator leads")
def test_what_is_written_starts_a_cluster(machines: Machines) -> None:
    """One coordinator by its unit, one as of compose, one as of Kubernetes; workers in
    each of these ways, and of Slurm's jobs, all of them with TLS."""
    folder = machines.folder
    lab, certificates = folder / "lab", folder / "lab" / "workers"
    dtf = str(SCRIPTS / "dtf")
    prepare = ("ha", "prepare", str(lab), "--cluster", "lab", "--peers", machines.peers)
    dashboard = ("--dashboard", "127.0.0.1:0", "--tls")
    said(dtf, *prepare, *dashboard, folder=folder)
    own = {name: lab / name for name in "abc"}
    logs = {}
    for name, command, paths in (
        ("a", exec_start(UNITS[0]), {"/var/lib/dtf": own["a"]}),
        ("b", composed("b"), {"/data": folder / "data-b", "/prepared": own["b"]}),
        ("c", of_pod("StatefulSet"), {"/data": folder / "data-c", "/prepared": lab}),
    ):
        mapped = machines.mapped(command, paths)
        logs[name] = machines.start(name, mapped, HOSTNAME=name)
    names = {"unit": "/etc/dtf", "compose": "/tls", "pod": "/tls"}
    commands = (exec_start(UNITS[1]), composed("worker"), of_pod("Deployment"))
    for (name, path), command in zip(names.items(), commands, strict=True):
        mapped = machines.mapped(command, {path: certificates})
        logs[name] = machines.start(name, f"{mapped} --nthreads 1")
    count = len(names)
    if find_spec("dask_jobqueue") is not None:
        logs["slurm"] = submit_jobs(machines, certificates)
        count += 2
    clients = lab / "clients"
    security = Security(
        tls_ca_file=str(clients / "authority.pem"),
        tls_client_cert=str(clients / "certificate.pem"),
        tls_client_key=str(clients / "certificate.key"),
        require_encryption=True,
    )
    try:
        with Client(machines.contact, security=security, timeout=WAIT_S) as client:
            client.wait_for_workers(count, timeout=WAIT_S)
            assert client.submit(pow, 2, 5).result(WAIT_S) == 32
    except BaseException:
        for name, log in logs.items():
            print(f"-- {name}", *log.read_text().splitlines()[-15:], sep="\n")
        raise


def submit_jobs(machines: Machines, certificates: Path) -> Path:
    """Run the document's program, with a Slurm that has one machine: this one."""
    (text,) = (one.text for one in BLOCKS if "SLURMJob" in one.text)
    text = machines.mapped(text, {"tls": certificates})
    for written, here in (
        ("range(10)", "range(1)"),
        ("cores=8", "cores=2"),
        ("processes=8", "processes=2"),
    ):
        assert written in text
        text = text.replace(written, here)
    log = machines.folder / "slurm.log"
    bin_ = machines.folder / "slurm"
    bin_.mkdir()
    sbatch = bin_ / "sbatch"
    sbatch.write_text(
        f'#!/bin/sh\necho "Submitted batch job 1"\ncp "$1" {bin_}/job.sh\n'
        f"exec bash {bin_}/job.sh > {log} 2>&1 < /dev/null &\n"
    )
    sbatch.chmod(0o755)
    path = os.pathsep.join([str(bin_), str(SCRIPTS), os.environ["PATH"]])
    program = f"{sys.executable} -c {shlex.quote(text)}; sleep infinity"
    machines.start("jobs", f"sh -c {shlex.quote(program)}", PATH=path)
    return log
