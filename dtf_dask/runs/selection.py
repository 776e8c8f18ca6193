"""What the controller's session selected, as values for the driver and the runners."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from dtf_dask.errors import DuplicateCaseError
from dtf_dask.runs.reports.text import one_line
from dtf_dask.runs.runner_words import runner_words
from dtf_dask.worker_plugins.runner import pytest_seam
from dtf_dask.worker_plugins.runner.pytest_session import fixture_key

_OCCURRENCE = pytest.StashKey[int]()


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
        "runs.priority-class": option.dtf_class,
        "runs.deadline": option.dtf_deadline,
        "runs.tenant": option.dtf_tenant,
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


def occurrences(items: Sequence[pytest.Item]) -> list[int]:
    """How many items of the same id come before each of them.

    As they were when some of them were left out by `keep_only`.
    """
    seen: Counter[str] = Counter()
    found = []
    for item in items:
        found.append(item.stash.get(_OCCURRENCE, seen[item.nodeid]))
        seen[item.nodeid] += 1
    return found


def case_id(item: pytest.Item, occurrence: int) -> str:
    """The id of an item's case."""
    return f"{item.nodeid}#{occurrence + 1}" if occurrence else item.nodeid


def keep_only(
    items: list[pytest.Item], path: str
) -> tuple[list[pytest.Item], list[str]]:
    """Reduce ``items`` to the cases that a file names; what left, and what is gone."""
    text = Path(path).read_text(encoding="utf-8", errors="surrogatepass")
    wanted = dict.fromkeys(text.split("\0"))
    gone = dict(wanted)
    kept: list[pytest.Item] = []
    left: list[pytest.Item] = []
    for item, occurrence in zip(items, occurrences(items), strict=True):
        item.stash[_OCCURRENCE] = occurrence
        name = case_id(item, occurrence)
        (kept if name in wanted else left).append(item)
        gone.pop(name, None)
    items[:] = kept
    return left, list(gone)


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
    fixtures: dict[str, int] = {}
    cases = []
    numbered = list(zip(session.items, occurrences(session.items), strict=True))
    for item, occurrence in numbered:
        shared = [
            fixtures.setdefault(fixture_key(*parts), len(fixtures))
            for parts in pytest_seam.shared_fixtures(item)
        ]
        path, _, inner = item.nodeid.partition("::")
        case: dict[str, Any] = {
            "id": case_id(item, occurrence),
            "entry": [item.nodeid, occurrence],
            "file": path,
            "scope": _scope(path, inner),
            "group": _group(item),
            "shared": shared,
        }
        if asked := _asked(item):
            case["asked"] = asked
        cases.append(case)
    twins = list(dict.fromkeys(item.nodeid for item, n in numbered if n))
    if twins and duplicates == "refuse":
        text = (
            "more than one test has the id"
            f" {', '.join(one_line(name) for name in twins[:5])}"
            + (f" (and {len(twins) - 5} ids more)" if len(twins) > 5 else "")
            + ", so that results could not be told apart: rename them, or number them"
            " (id#2) with `dtf run --duplicates number` (pytest: --dtf-duplicates)"
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


def _asked(item: pytest.Item) -> dict[str, Any]:
    """What its ``dtf`` marks ask of the scheduler; the nearest mark counts."""
    asked: dict[str, Any] = {}
    for mark in item.iter_markers("dtf"):
        from dtf_dask.annotations import validate_marker
        from dtf_dask.errors import UsageError

        try:
            asked = {**validate_marker(mark.args, mark.kwargs), **asked}
        except UsageError as error:
            raise pytest.UsageError(f"{item.nodeid}: {error}") from None
    return asked


def spawn_spec(config: pytest.Config, sys_path: list[str]) -> dict[str, Any]:
    """How a runner that is started anew collects what this session collected.

    All places are relative to the root folder, which is another one on a worker
    elsewhere.
    """
    root, here = config.rootpath, Path(config.invocation_params.dir)
    cwd = os.path.relpath(here, root) if here.is_relative_to(root) else "."
    base = root / cwd
    words = [os.fspath(word) for word in config.invocation_params.args]
    return {
        "kind": "pytest",
        "root": str(root),
        "cwd": cwd,
        "args": runner_words(words, str(root))
        + [_relative(argument, here, base) for argument in config.args],
        "sys_path": [
            os.path.relpath(entry, root)
            for entry in sys_path
            if entry and Path(entry).is_relative_to(root)
        ],
        "env": {},
    }


def _relative(argument: str, here: Path, base: Path) -> str:
    """A path (or node id) of the command line, relative to where a runner stands."""
    path, mark, rest = argument.partition("::")
    return os.path.relpath(here / path, base) + mark + rest


def stops_early(option: Any) -> bool:
    """Whether the first failure ends the session, so that a batch need not go on."""
    return option.maxfail == 1 or bool(getattr(option, "stepwise", False))


def command(config: pytest.Config) -> list[str]:
    """The command line as a person would repeat it."""
    words = [os.fspath(word) for word in config.invocation_params.args]
    return ["pytest", *(w for w in words if not w.startswith("--dtf-only="))]


def policy(config: pytest.Config, ready: Mapping[str, Any], cwd: str) -> dict[str, Any]:
    """The choices that shaped a run, as they are kept with it."""
    chosen = {name: ready[name] for name in ("dist", "isolate", "retries", "timeout_s")}
    chosen["cwd"] = cwd
    if config.option.dtf_resumes:
        chosen["resumes"] = config.option.dtf_resumes
    return chosen


def environment_modules(modules: Mapping[str, object]) -> list[str]:
    """Top-level names of what the suite imported, for the environment check."""
    return sorted({name.partition(".")[0] for name in list(modules)})


def module_files(modules: Mapping[str, object], root: Path) -> list[str]:
    """Files below the root that were imported: needed, even if git ignores them."""
    files = (getattr(module, "__file__", None) for module in list(modules.values()))
    return sorted({f for f in files if isinstance(f, str) and f.startswith(str(root))})
