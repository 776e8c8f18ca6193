"""What the controller's session selected, as values for the driver and the runners."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dtf_dask.errors import DuplicateCaseError
from dtf_dask.worker_plugins.runner import pytest_seam
from dtf_dask.worker_plugins.runner.pytest_session import fixture_key


def overrides(option: Any) -> dict[str, Any]:
    """Configuration that the command line overrides; keys of `dtf_dask.config`."""
    dist = option.dtf_dist
    if dist is None and getattr(option, "dist", "no") != "no":
        dist = "load" if option.dist == "worksteal" else option.dist
    timeout = option.dtf_timeout
    if timeout is None:
        timeout = getattr(option, "timeout", None)  # pytest-timeout's
    given = {
        "runs.dist": dist,
        "runs.workers": _number(option.dtf_workers),
        "runs.timeout": _number(timeout),
        "runs.retries": _number(option.dtf_reruns),
        "runs.isolate": option.dtf_isolate,
        "results.url": option.dtf_results,
    }
    return {key: value for key, value in given.items() if value is not None}


def _number(value: object) -> object:
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            return value
    return value


def cases_of(
    session: pytest.Session, duplicates: str
) -> tuple[list[dict[str, Any]], list[str]]:
    """The cases of a session by number, and the fixtures that they index into.

    Raises
    ------
    pytest.UsageError
        A ``dtf`` mark with an argument that it does not have.
    DuplicateCaseError
        Naming the ids that stand for more than one test.
    """
    seen: Counter[str] = Counter()
    fixtures: dict[str, int] = {}
    cases = []
    for item in session.items:
        occurrence = seen[item.nodeid]
        seen[item.nodeid] += 1
        shared = [
            fixtures.setdefault(fixture_key(*parts), len(fixtures))
            for parts in pytest_seam.shared_fixtures(item)
        ]
        path, _, inner = item.nodeid.partition("::")
        cases.append(
            {
                "id": f"{item.nodeid}#{occurrence + 1}" if occurrence else item.nodeid,
                "entry": [item.nodeid, occurrence],
                "file": path,
                "scope": _scope(path, inner),
                "group": _group(item),
                "shared": shared,
            }
        )
        _check_marks(item)
    twins = [name for name, count in seen.items() if count > 1]
    if twins and duplicates == "refuse":
        text = (
            f"{len(twins)} test ids stand for more than one test, so that results could"
            f" not be told apart: {', '.join(twins[:5])}; rename them, give paths once,"
            " or number them with --dtf-duplicates=number"
        )
        raise DuplicateCaseError(text)
    return cases, list(fixtures)


def _scope(path: str, inner: str) -> str:
    """Module or class: the node id without its last part (and parameters)."""
    owner = inner.partition("[")[0].rpartition("::")[0]
    return f"{path}::{owner}" if owner else path


def _group(item: pytest.Item) -> str | None:
    mark = item.get_closest_marker("xdist_group")
    if mark is None:
        return None
    return str(mark.args[0] if mark.args else mark.kwargs.get("name", "default"))


def _check_marks(item: pytest.Item) -> None:
    for mark in item.iter_markers("dtf"):
        from dtf_dask.annotations import validate_marker
        from dtf_dask.errors import UsageError

        try:
            validate_marker(mark.args, mark.kwargs)
        except UsageError as error:
            raise pytest.UsageError(
                f"{item.nodeid}: @pytest.mark.dtf: {error}"
            ) from None


def spawn_spec(config: pytest.Config, sys_path: list[str]) -> dict[str, Any]:
    """How a runner that is started anew collects what this session collected.

    All places are relative to the root folder, which is another one on a worker
    elsewhere. Of the arguments, the paths and what was said by ``-p``, ``-o``, ``-c``
    and ``--import-mode`` are kept: the rest selected or reported, and a runner is told
    by name what to run.
    """
    root, here = config.rootpath, Path(config.invocation_params.dir)
    cwd = os.path.relpath(here, root) if here.is_relative_to(root) else "."
    base = root / cwd
    words = [os.fspath(word) for word in config.invocation_params.args]
    kept: list[str] = []
    for position, word in enumerate(words):
        if word in _KEPT_OPTIONS and position + 1 < len(words):
            kept += [word, words[position + 1]]
        elif word.startswith(tuple(f"{name}=" for name in _KEPT_OPTIONS)):
            kept.append(word)
    return {
        "kind": "pytest",
        "root": str(root),
        "cwd": cwd,
        "args": kept + [_relative(argument, here, base) for argument in config.args],
        "sys_path": [
            os.path.relpath(entry, root)
            for entry in sys_path
            if entry and Path(entry).is_relative_to(root)
        ],
        "env": {},
    }


_KEPT_OPTIONS = ("-p", "-o", "-c", "--override-ini", "--config-file", "--import-mode")


def _relative(argument: str, here: Path, base: Path) -> str:
    """A path (or node id) of the command line, relative to where a runner stands."""
    path, mark, rest = argument.partition("::")
    return os.path.relpath(here / path, base) + mark + rest


def environment_modules(modules: Mapping[str, object]) -> list[str]:
    """Top-level names of what the suite imported, for the environment check."""
    return sorted({name.partition(".")[0] for name in list(modules)})


def module_files(modules: Mapping[str, object], root: Path) -> list[str]:
    """Files below the root that were imported: needed, even if git ignores them."""
    files = (getattr(module, "__file__", None) for module in list(modules.values()))
    return sorted({f for f in files if isinstance(f, str) and f.startswith(str(root))})
