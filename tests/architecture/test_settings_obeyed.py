"""Every configuration key is obeyed: code that something depends on reads it."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator, Mapping

from source_tree import modules

from dtf_dask.settings import SECTIONS

# They read every key, to check it and to show it. That obeys none.
READS_ALL = ("dtf_dask.settings", "dtf_dask.config")
# Key -> what will read it. Whoever builds that takes the key off this list.
NOT_READ_YET: dict[str, str] = {}
SECTION_BY_CLASS = {section.__name__: name for name, section in SECTIONS.items()}
FIELDS = {
    field.metadata["key"]: (name, field.name)
    for name, section in SECTIONS.items()
    for field in dataclasses.fields(section)
}


def fields_read(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Section and field of each setting read: ``settings.runs.retries``, or by a name.

    A name stands for a section that was assigned to it (``limits = settings.snapshot``)
    or with whose class it is annotated (``limits: SnapshotSettings``), and so does what
    that is assigned to (``self._limits = limits``).
    """
    names = {
        node.arg: SECTION_BY_CLASS[ast.unparse(node.annotation)]
        for node in ast.walk(tree)
        if isinstance(node, ast.arg)
        and node.annotation is not None
        and ast.unparse(node.annotation) in SECTION_BY_CLASS
    }
    for target, value in _assignments(tree):
        if section := _section(value, names):
            names[ast.unparse(target)] = section
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or not isinstance(node.ctx, ast.Load):
            continue
        if section := _section(node.value, names):
            yield section, node.attr


def _assignments(tree: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Each name with its value, ``a, b = 1, 2`` included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                yield from zip(target.elts, value.elts, strict=False)
            else:
                yield target, value


def _section(node: ast.expr, names: Mapping[str, str]) -> str:
    """The section that an expression is: a known name, or ``...settings.runs``."""
    if isinstance(node, ast.Attribute) and node.attr in SECTIONS:
        of = ast.unparse(node.value)
        if of.endswith("settings") or of.startswith(("load(", "config.load(")):
            return node.attr
    return names.get(ast.unparse(node), "")


def test_every_key_is_read() -> None:
    """A key that nothing reads is a promise that nothing keeps: obey it or drop it.

    What is being built may stand on the list above until it is there, no longer.
    """
    read = {
        found
        for module in modules()
        if module.name not in READS_ALL
        for found in fields_read(module.tree)
    }
    unread = {key for key, field in FIELDS.items() if field not in read}
    assert unread == NOT_READ_YET.keys()


def test_what_counts_as_reading() -> None:
    """The rule above sees settings however they are held, and nothing else."""
    source = """
limits, root = self._settings.snapshot, here
a = limits.files_limit
b = config.load({"x": 1}).results.url
settings.runs.retries = 3
c = options.retries, runs.dist
def f(driver: DriverSettings, other: Driver):
    self._driver = driver
    return self._driver.connect_timeout_s, other.check
"""
    assert set(fields_read(ast.parse(source))) == {
        ("snapshot", "files_limit"),
        ("results", "url"),
        ("driver", "connect_timeout_s"),
    }
