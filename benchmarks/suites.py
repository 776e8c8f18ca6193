"""Real test suites that nobody here wrote, from PyPI source distributions.

    python benchmarks/suites.py [--suites a,b] [--cache DIR] [--sdist-dir DIR] [--list]

fetches each by exact version, verifies its SHA-256, unpacks it, and installs it, what
its tests need, pytest, pytest-xdist and this project into one virtual environment.

Looked at and left out: sortedcontainers (its sdist holds no tests).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
_COMMAND_S_MAX = 600
# What one suite needs is there for all, and some plugins cost every run (Hypothesis's
# imports all of it for the summary): plugin -> the package that a suite names.
_PLUGINS = {
    "benchmark": "pytest-benchmark",
    "hypothesispytest": "hypothesis",
    "timeout": "pytest-timeout",
}
_PYTEST = ("pytest==9.2.0", "pytest-xdist==3.8.0")


class SuiteUnavailableError(Exception):
    """A suite could not be fetched, verified or installed; the text says why."""


@dataclass(frozen=True, slots=True)
class Suite:
    """One sdist and how its tests are run.

    ``arguments`` are pytest's, run in the unpacked sdist. ``note`` says what was
    narrowed and why, or what fails in plain pytest too. ``is_default`` is false for
    those that take minutes.
    """

    name: str
    project: str
    version: str
    sha256: str
    needs: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    note: str = ""
    is_default: bool = True

    @property
    def folder(self) -> str:
        """Name of the folder in the sdist, and the start of the sdist's name."""
        return f"{self.project.replace('-', '_').lower()}-{self.version}"

    @property
    def command_arguments(self) -> tuple[str, ...]:
        """pytest's arguments, without the plugins that only other suites need."""
        own = {need.partition("==")[0] for need in self.needs}
        foreign = [name for name, package in _PLUGINS.items() if package not in own]
        return (*(f"-pno:{name}" for name in foreign), *self.arguments)


_PACKAGING_SHA256 = "94edc256424af38762eb31306eed28beb9f0efc50a8837492c9d6fd6004aed79"
_PACKAGING_NEEDS = ("hypothesis==6.170.15", "pretend==1.0.9", "tomli_w==1.2.0")
_NETWORKX_SHA256 = "26b7c357accc0c8cde558ad486283728b65b6a95d85ee1cd66bafab4c8168509"

_ALL = (
    Suite(
        "pluggy",
        "pluggy",
        "1.7.0",
        "d1eaa46ebb595891b860ab086b4d09c8588af65ebd4361b8e8f4bb8920b90ba8",
        needs=("pytest-benchmark==5.3.1",),
        note="pytest-benchmark turns itself off under xdist only: xdist does less",
    ),
    Suite(
        "toolz",
        "toolz",
        "1.2.0",
        "9667a038e9d6ecba37995e26cb2f59ec6420b6ad8dd9677de59db9b956b08490",
    ),
    Suite(
        "itsdangerous",
        "itsdangerous",
        "2.2.0",
        "e0050c0b7da1eea53ffaf149c0cfbb5c6e2e2b69c4bef22c81fa6eb73e5f6173",
        needs=("freezegun==1.5.5",),
    ),
    Suite(
        "markupsafe",
        "markupsafe",
        "3.0.4",
        "2e9ad7dd851bf45fab9f75cbff4cb493fee9979e8d8c7c9c3ee119022518edd6",
    ),
    Suite(
        "tomlkit",
        "tomlkit",
        "0.15.2",
        "83e32755ba1d20d9340bd069ee97e9f6232ba2346b63ffcba425de01f7e327a6",
        needs=("PyYAML==6.0.3",),
    ),
    Suite(
        "jinja2",
        "jinja2",
        "3.1.6",
        "0137fb05990d35f1275a587e9aee6d56da821fc83491a0fb838183be43f66d6d",
        needs=("trio==0.35.0",),
    ),
    Suite(
        "werkzeug",
        "werkzeug",
        "3.1.9",
        "55ca7c70a75689be937aa27f8ff4b018f06ff4838fc73045560bf0f5a1291060",
        needs=(
            "cffi==2.1.1",
            "cryptography==50.0.2",
            "ephemeral-port-reserve==1.1.4",
            "pytest-timeout==2.4.0",
            "watchdog==7.1.0",
        ),
        arguments=("-m", "not dev_server"),
        note="25 dev_server tests left out: they hung in plain pytest where tried",
    ),
    Suite(
        "click",
        "click",
        "8.5.1",
        "9bbfada76703fd1d784b83eea012e3e8c6a001a876543ef104fa56aaaeb072b4",
    ),
    Suite(
        "packaging",
        "packaging",
        "26.3",
        _PACKAGING_SHA256,
        needs=_PACKAGING_NEEDS,
        arguments=("--ignore=tests/test_version.py", "tests"),
        note="51,523 cases of one file left to packaging-full, for time",
    ),
    Suite(
        "attrs",
        "attrs",
        "26.1.0",
        "d03ceb89cb322a8fd706d4fb91940737b6642aa36998fe130a9bc96c985eff32",
        needs=("hypothesis==6.170.15", "pympler==1.1", "cloudpickle>=3"),
        note="test_wrapped_annotation may fail in plain pytest too",
    ),
    Suite(
        "networkx",
        "networkx",
        "3.6.1",
        _NETWORKX_SHA256,
        arguments=("networkx/classes", "networkx/generators", "networkx/readwrite"),
        note="three folders of it; all of it is networkx-full",
    ),
    Suite(
        "more-itertools",
        "more-itertools",
        "11.2.1",
        "cbf08fd0af284dc69718b9b76a8e6203df624d70209ea511e4219d350c856f63",
        note="unittest classes; 21,194 subtests",
    ),
    Suite(
        "packaging-full",
        "packaging",
        "26.3",
        _PACKAGING_SHA256,
        needs=_PACKAGING_NEEDS,
        note="62,423 cases",
        is_default=False,
    ),
    Suite(
        "networkx-full",
        "networkx",
        "3.6.1",
        _NETWORKX_SHA256,
        arguments=("networkx",),
        is_default=False,
    ),
)
SUITES = {suite.name: suite for suite in _ALL}
QUICK = ("pluggy", "toolz", "jinja2")


def default_cache() -> Path:
    """Where suites are kept between runs."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "dtf-dask" / "suites"


@dataclass(frozen=True, slots=True)
class SuiteCache:
    """The folder with sdists, unpacked sources and the virtual environment."""

    root: Path
    sdist_dir: Path | None = None

    @property
    def bin(self) -> Path:
        """Folder of the commands of the environment."""
        key = f"{sys.version_info.major}{sys.version_info.minor}-{REPOSITORY}"
        return self.root / f"venv-{hashlib.sha256(key.encode()).hexdigest()[:12]}/bin"

    def source(self, suite: Suite) -> Path:
        """Folder in which the suite's tests are run; one for each suite."""
        return self.root / "source" / suite.name / suite.folder

    def prepare(self, suite: Suite) -> None:
        """Make the suite ready to run; does nothing when it is.

        Raises
        ------
        SuiteUnavailableError
            It cannot be downloaded, is another file than pinned, or does not install.
        """
        fingerprint = hashlib.sha256(repr((suite, _PYTEST)).encode()).hexdigest()
        mark = self.bin.parent / f"ready-{suite.name}"
        if mark.is_file() and mark.read_text() == fingerprint:
            return
        print(f"preparing {suite.name} {suite.version} ...", file=sys.stderr)
        sdist = self._fetch(suite)
        self._unpack(suite, sdist)
        self._install(suite, sdist)
        mark.write_text(fingerprint)

    def _fetch(self, suite: Suite) -> Path:
        folder = self.sdist_dir or self.root / "sdists"
        folder.mkdir(parents=True, exist_ok=True)
        sdist = folder / f"{suite.folder}.tar.gz"
        if not sdist.is_file() and self.sdist_dir is None:
            pin = f"{suite.project}=={suite.version}"
            # Only the package itself must come as source: its build backend may not.
            _call(
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--no-binary",
                suite.project,
                "--dest",
                str(folder),
                pin,
            )
        if not sdist.is_file():
            raise SuiteUnavailableError(f"{sdist} does not exist")
        digest = hashlib.sha256(sdist.read_bytes()).hexdigest()
        if digest != suite.sha256:
            raise SuiteUnavailableError(
                f"{sdist} has SHA-256 {digest}, pinned is {suite.sha256}: "
                "remove the file, or find out who changed it"
            )
        return sdist

    def _unpack(self, suite: Suite, sdist: Path) -> None:
        source = self.source(suite)
        if source.is_dir():
            return
        with tarfile.open(sdist) as archive:
            archive.extractall(source.parent, filter="data")
        if not source.is_dir():
            raise SuiteUnavailableError(f"{sdist} holds no folder {suite.folder}")

    def _install(self, suite: Suite, sdist: Path) -> None:
        python = self.bin / "python"
        if not python.exists():
            _call(sys.executable, "-m", "venv", str(self.bin.parent))
        _call(
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            *_PYTEST,
            *suite.needs,
            str(sdist),
            # Editable: the environment measures the code as it is now.
            "--editable",
            str(REPOSITORY),
        )
        # Writes the byte code, so that the first measured run does not.
        _call(
            str(self.bin / "pytest"),
            "--collect-only",
            "-q",
            *suite.arguments,
            cwd=self.source(suite),
        )


def _call(*command: str, cwd: Path | None = None) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMMAND_S_MAX,
        )
    except subprocess.TimeoutExpired:
        raise SuiteUnavailableError(
            f"{' '.join(command)} took over {_COMMAND_S_MAX} s"
        ) from None
    if done.returncode:
        raise SuiteUnavailableError(
            f"{' '.join(command)} ended with {done.returncode}: "
            f"{(done.stderr or done.stdout)[-2000:]}"
        )


def chosen(names: str, default: tuple[str, ...]) -> list[Suite]:
    """The suites of a comma-separated list; an unknown name ends the program."""
    wanted = [name for name in names.split(",") if name] or list(default)
    unknown = [name for name in wanted if name not in SUITES]
    if unknown:
        known = ", ".join(SUITES)
        raise SystemExit(f"no such suite: {', '.join(unknown)} (there are {known})")
    return [SUITES[name] for name in wanted]


def default_names() -> tuple[str, ...]:
    """The suites of a full run."""
    return tuple(suite.name for suite in _ALL if suite.is_default)


def main() -> None:
    """Prepare suites, or list them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suites", default="", help="names, separated by commas")
    parser.add_argument("--cache", type=Path, default=default_cache())
    parser.add_argument("--sdist-dir", type=Path, help="take sdists from here only")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    if options.list:
        for suite in _ALL:
            print(f"{suite.name:16}{suite.version:10}{suite.note}")
        return
    cache = SuiteCache(options.cache, options.sdist_dir)
    for suite in chosen(options.suites, default_names()):
        try:
            cache.prepare(suite)
        except SuiteUnavailableError as error:
            raise SystemExit(f"{suite.name}: {error}") from None
        print(f"{suite.name}: {cache.source(suite)}")


if __name__ == "__main__":
    main()
