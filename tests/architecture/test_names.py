"""Names and sizes: what is public, what nothing is called, how long a module gets."""

from __future__ import annotations

import ast
import re
from importlib import import_module

import click
import pytest
from source_tree import ROOT, Module, modules

import dtf_dask
from dtf_dask.cli.main import _COMMANDS

PUBLIC = (
    *("ArtifactRef", "Attempt", "Case", "Client", "DtfError", "LocalCluster"),
    *("Outcome", "Phase", "Run", "RunHandle", "__version__"),
    *("checkpoint_folder", "granted_gpus", "on_preemption"),
)

EMPTY_WORDS = {
    *("manager", "managers", "helper", "helpers", "util", "utils", "misc", "data"),
    *("info",),
}
EMPTY_WORDS_ALLOWED = {"RedundancyManager"}  # a name that users know

LINES_MAX = 400
# Path -> why it is one idea all the same.
LONG_MODULES: dict[str, str] = {}


def words(name: str) -> set[str]:
    """The words of a snake_case or CamelCase name, in lower case."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)
    return {part.lower() for part in parts}


def test_the_public_names_are_these() -> None:
    """A name appears or disappears at the root on purpose only."""
    assert tuple(dtf_dask.__all__) == PUBLIC
    assert tuple(dir(dtf_dask)) == tuple(sorted(PUBLIC))


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_exists(name: str) -> None:
    """What the root lists can be had from it."""
    assert getattr(dtf_dask, name) is not None


def test_the_public_names_are_known_to_type_checkers() -> None:
    """The lazy table and the imports for type checkers say the same."""
    (root,) = (module for module in modules() if module.name == "dtf_dask")
    typed = {
        alias.name: node.module
        for block in root.tree.body
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == dtf_dask._HOME


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_command_exists(name: str) -> None:
    """What `dtf` lists can be loaded, and explains itself."""
    module, attribute = _COMMANDS[name][0].split(":")
    command = getattr(import_module(module), attribute)
    assert isinstance(command, click.Command)
    assert command.help


def test_inits_are_empty() -> None:
    """Only the root's says anything: importing a package costs nothing."""
    speaking = [
        module.shown
        for module in modules()
        if module.path.name == "__init__.py"
        and module.name != "dtf_dask"
        and module.path.read_text(encoding="utf-8").strip()
    ]
    assert speaking == []


def test_names_say_something() -> None:
    """No module or class is called a manager, helper, utils, misc, data or info."""
    named = [(module.name.rpartition(".")[2], module.shown) for module in modules()]
    named += [
        (node.name, f"{module.shown}:{node.lineno}")
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
    ]
    empty = [
        f"{place}: {name}"
        for name, place in named
        if words(name) & EMPTY_WORDS and name not in EMPTY_WORDS_ALLOWED
    ]
    assert empty == []


def test_words_of_a_name() -> None:
    """The rule above reads both styles."""
    assert words("HTTPManagerPool") == {"http", "manager", "pool"}
    assert words("snapshot_info2") == {"snapshot", "info", "2"}
    assert words("database") == {"database"}


def length(module: Module) -> int:
    return len(module.path.read_text(encoding="utf-8").splitlines())


def test_modules_are_short() -> None:
    """Past 400 lines there is a second idea in a module, or a reason on the list."""
    long = {
        module.shown: length(module)
        for module in modules()
        if length(module) > LINES_MAX and module.shown not in LONG_MODULES
    }
    assert long == {}


def test_the_list_of_long_modules_is_no_older_than_the_code() -> None:
    """An entry that is not needed any more is removed, and each has a reason."""
    lengths = {module.shown: length(module) for module in modules()}
    assert all(lengths.get(path, 0) > LINES_MAX for path in LONG_MODULES)
    assert all(len(reason) > 20 for reason in LONG_MODULES.values())


def test_modules_say_what_they_are() -> None:
    """Every module but the empty ones has a docstring."""
    silent = [
        module.shown
        for module in modules()
        if module.tree.body and not ast.get_docstring(module.tree)
    ]
    assert silent == []


def test_nothing_names_the_machine_it_was_written_on() -> None:
    """No absolute path of somebody's home or working folder is written down."""
    pattern = re.compile(r"[\"'(\s=](/root|/home|/work)/")
    suffixes = {".py", ".yaml", ".toml", ".md"}
    found = [
        f"{file.relative_to(ROOT)}:{number}"
        for folder in ("dtf_dask", "monitor_app", "docs", "examples", "benchmarks")
        for file in sorted((ROOT / folder).rglob("*"))
        if file.suffix in suffixes and ".dtf" not in file.parts
        for number, line in enumerate(
            file.read_text(encoding="utf-8").splitlines(), start=1
        )
        if pattern.search(line)
    ]
    assert found == []
