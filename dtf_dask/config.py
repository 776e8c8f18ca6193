"""The configuration of dtf: Dask's own, under ``dtf:``, checked into frozen settings.

`load` is the one way from what people wrote to values that code may rely on. Importing
this module registers dtf.yaml as Dask's defaults and writes no file anywhere.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, cast

import yaml

from dtf_dask.errors import ConfigurationError
from dtf_dask.settings import (
    BRANCHES,
    READERS,
    SECTIONS,
    Settings,
    nearest,
    shown,
)

try:
    import dask.config
except ValueError as error:  # Dask reads every YAML file of the user as it is imported
    raise ConfigurationError(str(error)) from None

NAMESPACE = "dtf"
_ENV_PREFIX = "DASK_DTF__"
_KEY_LENGTH_MAX = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """One key as it is in force, and who said so."""

    key: str
    value: object
    default: object
    source: str


def packaged(name: str) -> dict[str, Any]:
    """Return a packaged YAML file, ``"dtf.yaml"`` or ``"dtf-schema.yaml"``."""
    text = resources.files("dtf_dask").joinpath(name).read_text(encoding="utf-8")
    return cast(dict[str, Any], yaml.safe_load(text))


_DEFAULTS = packaged("dtf.yaml")
dask.config.update_defaults(_DEFAULTS)


def load(overrides: Mapping[str, object] | None = None) -> Settings:
    """Check the configuration in force and return it as settings.

    Parameters
    ----------
    overrides
        Values that win over files and variables, by key: ``{"runs.dist": "each"}``.

    Raises
    ------
    ConfigurationError
        Naming every unknown key, wrong type and value out of bounds at once, each
        with where it came from.

    Examples
    --------
    >>> load({"runs.timeout": "5 min"}).runs.timeout_s
    300.0
    """
    values, problems = _gather(overrides or {})
    read: dict[str, Any] = {}
    for key, reader in READERS.items():
        try:
            read[key] = reader.read(values[key])
        except ValueError as error:
            source = _source(key, values[key], overrides or {})
            problems.append(f"{key} is {shown(values[key])} ({source}): {error}")
    if not problems and read["runs.batch.target"] > read["runs.batch.max"]:
        problems.append(
            f"runs.batch.target ({shown(values['runs.batch.target'])}) is longer than"
            f" runs.batch.max ({shown(values['runs.batch.max'])})"
        )
    if problems:
        raise ConfigurationError(
            "the configuration cannot be used:\n  " + "\n  ".join(problems)
        )
    sections = {
        name: section(
            **{f.name: read[f.metadata["key"]] for f in dataclasses.fields(section)}
        )
        for name, section in SECTIONS.items()
    }
    return Settings(**sections)


def entries(overrides: Mapping[str, object] | None = None) -> list[Entry]:
    """Return every key with its value as written, its default, and its source."""
    values, _ = _gather(overrides or {})
    defaults, _ = _flatten(_DEFAULTS[NAMESPACE])
    return [
        Entry(
            key, values[key], defaults[key], _source(key, values[key], overrides or {})
        )
        for key in READERS
    ]


def canonical(key: str) -> str:
    """Return a key the way `READERS` writes it: dashes, without ``dtf.``.

    Examples
    --------
    >>> canonical("dtf.runs.crash_limit")
    'runs.crash-limit'
    """
    return key.replace("_", "-").removeprefix(f"{NAMESPACE}.")


def _gather(overrides: Mapping[str, object]) -> tuple[dict[str, object], list[str]]:
    """All keys with the values in force, and what is wrong with how they are named."""
    values, _ = _flatten(_DEFAULTS[NAMESPACE])
    in_force, strangers = _flatten(dask.config.get(NAMESPACE, default={}))
    given, strange_overrides = _flatten(overrides)
    values |= in_force | given
    strangers |= strange_overrides
    problems = []
    for key, value in _environment():
        # Dask forgets a variable that stands where a section must be.
        if key not in READERS:
            strangers.setdefault(key, value)
    for key, value in strangers.items():
        source = _source(key, value, overrides)
        if key in BRANCHES or key == "":
            where = f"{NAMESPACE}.{key}".rstrip(".")
            problems.append(f"{where} is {shown(value)} ({source}): expected a section")
            continue
        near = nearest(key)
        hint = f"did you mean {near}?" if near else "`dtf config` lists the keys"
        problems.append(f"{key[:_KEY_LENGTH_MAX]} ({source}) is no key of dtf; {hint}")
    problems += [
        f"the variable {name}: write {_ENV_PREFIX}, with two underscores, and two"
        " between the parts of a key"
        for name in sorted(os.environ)
        if name.startswith("DASK_DTF_") and not name.startswith(_ENV_PREFIX)
    ]
    return values, problems


def _flatten(
    tree: object, prefix: str = ""
) -> tuple[dict[str, object], dict[str, object]]:
    """Known keys, and whatever else is there, of a nested or dotted mapping."""
    if not isinstance(tree, Mapping):
        return {}, {prefix: tree}
    known: dict[str, object] = {}
    strangers: dict[str, object] = {}
    for name, value in tree.items():
        key = canonical(f"{prefix}.{name}" if prefix else str(name))
        if key in READERS:
            known[key] = value
        elif key in BRANCHES:
            below, strange = _flatten(value, key)
            known |= below
            strangers |= strange
        else:
            strangers[key] = value
    return known, strangers


def _environment() -> Iterator[tuple[str, object]]:
    """Keys set by environment variables, with the values as Dask reads them."""
    for name, text in os.environ.items():
        if name.startswith(_ENV_PREFIX):
            key = name.removeprefix("DASK_").lower().replace("__", ".")
            yield canonical(key), dask.config.interpret_value(text)


def _source(key: str, value: object, overrides: Mapping[str, object]) -> str:
    """Who set ``key`` to ``value``, as far as can be known, most specific first."""

    def holds(tree: object) -> bool:
        known, strangers = _flatten(tree)
        return (known | strangers).get(key, ...) == value

    if holds(overrides):
        return "given with the call"
    if dict(_environment()).get(key, ...) == value:
        variable = key.upper().replace("-", "_").replace(".", "__")
        return f"variable {_ENV_PREFIX}{variable}"
    files = list(dask.config.collect_yaml(dask.config.paths, return_paths=True))
    for path, tree in reversed(files):  # later files win
        if holds(dask.config.expand_environment_variables(tree.get(NAMESPACE, {}))):
            return f"file {path}"
    if holds(_DEFAULTS[NAMESPACE]):
        return "default"
    return "set in this process"
