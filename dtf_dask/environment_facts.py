"""Gathers what of a process's environment may change what tests do.

The same code runs on the client and on a worker, so that `dtf_dask.runs.environment`
can compare the two. Installed distributions are found by the names of their folders,
which the packaging standards fix as ``name-version``: reading each one's metadata takes
fifty times longer.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from dtf_dask import __version__

DISTRIBUTIONS_MAX = 10_000
TEXT_CHARACTERS_MAX = 200
RECORD_BYTES_MAX = 16 * 1024**2

_SUFFIXES = (".dist-info", ".egg-info")
_PYTHON_TAG = re.compile(r"-py\d[^-]*\Z")
_VERSION_LINE = re.compile(r"^Version:[ \t]*(\S+)", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Distribution:
    name: str
    version: str
    folder: str
    """The entry of `sys.path` that it is installed in."""
    metadata: str
    """Its own folder there, or its file for some old eggs."""


def facts(
    modules: Iterable[str] | None = None, root: Path | None = None
) -> dict[str, Any]:
    """Plain data about this process: dtf, Python, platform, packages.

    Parameters
    ----------
    modules
        Names of imported modules, usually ``sys.modules`` after collection: only the
        distributions that they come from are listed. All of them for None.
    root
        The folder whose code travels: distributions that are installed from it in
        place are listed as ``in_snapshot``, for a worker need not have them.

    Examples
    --------
    >>> here = facts()
    >>> sorted(here)
    ['dtf', 'implementation', 'in_snapshot', 'packages', 'platform', 'python']
    >>> "pytest" in here["packages"]
    True
    """
    installed = _installed()
    names = set(installed) if modules is None else _used(modules, installed)
    in_place = [] if root is None else _in_place(installed, names, Path(root))
    return {
        "dtf": __version__,
        "python": platform.python_version(),
        "implementation": platform.python_implementation() + sys.abiflags,
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": {name: installed[name].version for name in sorted(names)},
        "in_snapshot": in_place,
    }


def normalised(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _installed() -> dict[str, _Distribution]:
    """The distributions on `sys.path`; the first of a name is the one imported."""
    found: dict[str, _Distribution] = {}
    for folder in dict.fromkeys(sys.path):
        try:
            names = sorted(os.listdir(folder or os.curdir))
        except OSError:
            continue
        for name in names:
            if name.endswith(_SUFFIXES) and len(found) < DISTRIBUTIONS_MAX:
                one = _distribution(folder or os.curdir, name)
                found.setdefault(one.name, one)
    return found


def _distribution(folder: str, entry: str) -> _Distribution:
    metadata = os.path.join(folder, entry)
    stem = _PYTHON_TAG.sub("", entry.rpartition(".")[0])
    name, _, version = stem.partition("-")
    if not version:  # an egg-info folder of a project installed in place
        found = _VERSION_LINE.search(_read(metadata, "PKG-INFO"))
        version = found[1] if found else ""
    return _Distribution(
        normalised(name)[:TEXT_CHARACTERS_MAX],
        version[:TEXT_CHARACTERS_MAX],
        folder,
        metadata,
    )


def _used(modules: Iterable[str], installed: dict[str, _Distribution]) -> set[str]:
    """The distributions that these modules come from.

    A namespace package without a distribution of its name belongs to none: which of
    those that share it are used cannot be told from its name.
    """
    tops = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names
    used = {name for name in map(normalised, tops) if name in installed}
    folders = {one.folder for one in installed.values()}
    # Test modules and what else lies outside of site-packages belongs to none.
    unknown = {
        top
        for top in tops
        if normalised(top) not in used and _folder_of(top) in (folders | {None})
    }
    for name, one in installed.items():
        if not unknown:
            break
        if name not in used and (provided := _provides(one) & unknown):
            used.add(name)
            unknown -= provided
    return used


def _folder_of(top: str) -> str | None:
    """The entry of `sys.path` that a module was imported from; None if not known."""
    module = sys.modules.get(top)
    origin = getattr(module, "__file__", None)
    if module is None:
        return None
    if not isinstance(origin, str):
        return ""
    folder = os.path.dirname(origin)
    return os.path.dirname(folder) if hasattr(module, "__path__") else folder


def _provides(one: _Distribution) -> set[str]:
    """The top-level modules of a distribution."""
    if tops := _read(one.metadata, "top_level.txt").split():
        return set(tops)
    return set(_recorded(_read(one.metadata, "RECORD")))


def _recorded(record: str) -> Iterator[str]:
    for line in record.splitlines():
        path = line.partition(",")[0].strip('"')
        top, slash, _ = path.partition("/")
        if slash:
            yield top
        elif top.endswith((".py", ".so")):
            yield top.partition(".")[0]


def _in_place(
    installed: dict[str, _Distribution], names: Iterable[str], root: Path
) -> list[str]:
    """Those of the names whose code lies below ``root`` (PEP 610, old eggs)."""
    root_path = os.path.realpath(root)
    found = []
    for name in sorted(names):
        one = installed[name]
        places = [one.folder] if one.metadata.endswith(".egg-info") else []
        url = _direct_url(one)
        places += [url] if url else []
        for place in map(os.path.realpath, places):
            inside = os.path.commonpath([place, root_path]) == root_path
            if inside and "site-packages" not in place.split(os.sep):
                found.append(name)
                break
    return found


def _direct_url(one: _Distribution) -> str:
    """The folder that a distribution is installed from in place, or nothing."""
    try:
        said = json.loads(_read(one.metadata, "direct_url.json") or "{}")
        parts = urlsplit(said["url"])
        editable = said["dir_info"]["editable"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    return unquote(parts.path) if parts.scheme == "file" and editable is True else ""


def _read(metadata: str, name: str) -> str:
    try:
        with open(
            os.path.join(metadata, name), encoding="utf-8", errors="replace"
        ) as file:
            return file.read(RECORD_BYTES_MAX)
    except OSError:
        return ""
