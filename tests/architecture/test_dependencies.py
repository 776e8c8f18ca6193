"""Dependencies: what is imported is declared, and what is declared has a use."""

from __future__ import annotations

import ast
import re
import sys
import tomllib

from source_tree import PACKAGES, ROOT, imports_of, modules

# Where a distribution is imported by another name than its own.
IMPORTED_AS = {
    "opentelemetry-sdk": {"opentelemetry"},
    "nvidia-ml-py": {"pynvml"},
    "pyside6-essentials": {"PySide6"},
    "pytest": {"pytest", "_pytest"},
    "pytest-qt": {"pytestqt"},
    "pyyaml": {"yaml"},
}
# Declared, and imported nowhere in the packages: why it is there all the same.
WITHOUT_IMPORT = {
    "bokeh": "Dask's dashboard needs it; dtf's pages are drawn by its BokehJS",
    "numpy": "Dask's arrays need it, and the scheduling engine will",
    "psycopg": "SQLAlchemy loads it for PostgreSQL's URLs",
}
# Imported only where something else has brought it: a suite's own pytest plugin, or
# who wants to save tables as Parquet.
OPTIONAL = {"coverage", "pyarrow"}
# What the tests of the seams look at: pytest is built on these.
BROUGHT_BY_PYTEST = {"packaging", "pluggy"}


def declared(*extras: str) -> set[str]:
    """Names of the runtime's dependencies and of those of some extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    found = (re.match(r"[\w.-]+", line) for line in lines)
    names = {match[0].lower().replace("_", "-") for match in found if match}
    return names - {"dtf-dask"}


def modules_of(names: set[str]) -> set[str]:
    return {
        module
        for name in names
        for module in IMPORTED_AS.get(name, {name.replace("-", "_")})
    }


def foreign(targets: set[str]) -> set[str]:
    """Top-level names that neither Python nor the project brings."""
    tops = {target.partition(".")[0] for target in targets}
    return tops - sys.stdlib_module_names - {*PACKAGES, "__future__"}


def test_every_import_is_declared() -> None:
    """What the packages import comes with them, or with an extra."""
    imported = foreign({one.target for m in modules() for one in m.imports})
    known = modules_of(declared("monitor", "postgres", "otel")) | OPTIONAL
    assert imported - known == set()


def test_every_dependency_is_imported_or_has_a_reason() -> None:
    """What nobody imports is no dependency, unless the reason is written above."""
    imported = foreign({one.target for m in modules() for one in m.imports})
    unused = {
        name
        for name in declared("monitor", "postgres")
        if not modules_of({name}) & imported
    }
    assert unused == WITHOUT_IMPORT.keys()


def test_what_the_tests_import_is_declared() -> None:
    """A fresh environment with the extra ``dev`` can run every test."""
    files = sorted((ROOT / "tests").rglob("*.py"))
    own = {name for file in files for name in (file.stem, file.parent.name)}
    own |= {file.stem for file in (ROOT / "benchmarks").glob("*.py")}
    targets = {
        one.target
        for file in files
        if "suite" not in file.parts
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        # By `import_module` they import what they have written themselves.
        if isinstance(node, ast.Import | ast.ImportFrom)
        for one in imports_of(node)
    }
    known = modules_of(declared("monitor", "postgres", "dev")) | BROUGHT_BY_PYTEST
    assert foreign(targets) - known - own == set()
