"""Packages point one way; what decides touches nothing; what must be light is light.

To place a new module: if it is pure, say ``Pure.`` in its docstring, and the rules for
pure modules hold for it. Everything else in a sub-package is a shell.
"""

from __future__ import annotations

import ast
import fnmatch
import subprocess
import sys
from collections.abc import Iterator
from functools import cache

import pytest
from source_tree import Import, Module, imports_of, is_below, modules

# Bottom to top; a module may import from its own layer and those below. What no layer
# names is pure if it says so, else a shell.
LAYERS: dict[str, tuple[str, ...]] = {
    "errors": ("dtf_dask.errors",),
    "model": ("dtf_dask.model", "dtf_dask.quantities"),
    "pure": (),
    "shells": (),
    "composition": ("dtf_dask.client", "dtf_dask.cluster"),
    "cli": ("dtf_dask.cli",),
}

# Must be pure, and say so.
PURE = (
    *("dtf_dask.errors", "dtf_dask.model", "dtf_dask.quantities", "dtf_dask.settings"),
    *("dtf_dask.annotations", "dtf_dask.frames", "dtf_dask.runs.matrix"),
    *("dtf_dask.runs.codec", "dtf_dask.runs.reports.*", "dtf_dask.ha.raft.*"),
    "dtf_dask.view.*",
)

SEPARATE = ("scheduler_plugins", "worker_plugins", "ha", "web", "security")

# Importer -> what it may never import, with the reason.
FORBIDDEN = (
    (
        "dtf_dask.worker_plugins",
        ("dtf_dask.runs", "dtf_dask.cli", "dtf_dask.client", "dtf_dask.cluster"),
        "a worker carries what runs need and knows nothing of who asks",
    ),
    (
        "dtf_dask.worker_plugins",
        ("dtf_dask.standby",),
        "a worker outlives schedulers, and is none",
    ),
    (
        "dtf_dask.ha",
        ("dtf_dask.standby",),
        "a node starts its scheduler process, and loads nothing of it",
    ),
    (
        "dtf_dask.submission",
        ("dtf_dask.standby", "dtf_dask.worker_plugins", "dtf_dask.durable"),
        "clients, schedulers and workers lean on it",
    ),
    (
        "dtf_dask.durable",
        ("dtf_dask.standby", "dtf_dask.worker_plugins", "dtf_dask.ha"),
        "clients, schedulers and workers lean on it",
    ),
    (
        "dtf_dask",
        ("monitor_app", "PySide6"),
        "the monitor is an application over dtf and Qt is an extra",
    ),
    (
        "dtf_dask.view",
        ("dtf_dask.cli", "dtf_dask.web", "dtf_dask.ha", "dtf_dask.scheduler_plugins"),
        "the faces show it, and the monitor runs where nothing else is",
    ),
    (
        "monitor_app",
        ("dask", "distributed"),
        "the monitor runs where Dask is not installed",
    ),
)

# Modules through which a decision could touch the world.
IMPURE = {
    *("asyncio", "concurrent", "ctypes", "fcntl", "http", "logging", "mmap"),
    *("multiprocessing", "os", "pickle", "random", "requests", "secrets", "select"),
    *("selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "sys"),
    *("tempfile", "threading", "time", "urllib", "alembic", "bokeh", "click"),
    *("cloudpickle", "dask", "distributed", "fsspec", "keyring", "numpy", "psutil"),
    *("psycopg", "pynvml", "pytest", "_pytest", "rich", "sqlalchemy", "tornado"),
}
IMPURE_CALLS = {
    *("open", "print", "input", "now", "utcnow", "today", "read_text", "read_bytes"),
    *("write_text", "write_bytes", "mkdir", "unlink", "exists", "is_file", "is_dir"),
    *("iterdir", "stat", "resolve", "cwd", "home", "getenv"),
}

# Imported in a fresh process, these leave the heavy packages alone: the first is
# loaded by every pytest run of an environment that has dtf installed.
HEAVY = ("dask", "distributed", "sqlalchemy", "alembic", "numpy", "rich", "bokeh")
LIGHT = (
    *("dtf_dask", "dtf_dask.runs.pytest_plugin", "dtf_dask.runs.cases"),
    *("dtf_dask.cli.main", "dtf_dask.settings", "dtf_dask.frames"),
    *("dtf_dask.worker_plugins.runner.bootstrap", "dtf_dask.ha.node_process"),
    "dtf_dask.web.process",
    "dtf_dask.view.read_model",
)


@cache
def pure_modules() -> dict[str, Module]:
    """Those on the list, and those that say they are, by name."""
    return {
        module.name: module
        for module in modules()
        if any(fnmatch.fnmatchcase(module.name, pattern) for pattern in PURE)
        or "Pure." in (ast.get_docstring(module.tree) or "")
    }


def layer_of(name: str) -> int:
    """The layer of a module or of what is below it, as an index of `LAYERS`."""
    labels = list(LAYERS)
    for label, packages in LAYERS.items():
        if any(is_below(name, package) for package in packages):
            return labels.index(label)
    return labels.index("pure" if name in pure_modules() else "shells")


def own_imports(module: Module) -> Iterator[Import]:
    """Imports of the project's own modules; the root's version is everybody's."""
    for found in module.imports:
        if is_below(found.target, "dtf_dask") and found.target != "dtf_dask":
            yield found


def where(module: Module, found: Import) -> str:
    return f"{module.shown}:{found.line} imports {found.target}"


def test_imports_are_absolute() -> None:
    """No relative imports: a module says in full what it leans on."""
    relative = [
        where(module, found)
        for module in modules()
        for found in module.imports
        if found.target.startswith(".")
    ]
    assert relative == []


def test_no_module_imports_from_a_layer_above_its_own() -> None:
    """errors -> model -> pure modules -> shells -> client, cluster -> cli."""
    labels = list(LAYERS)
    upward = [
        f"{where(module, found)}: {labels[layer_of(module.name)]} may not know"
        f" {labels[layer_of(found.target)]}"
        for module in modules()
        if is_below(module.name, "dtf_dask") and module.name != "dtf_dask"
        for found in own_imports(module)
        if layer_of(found.target) > layer_of(module.name)
    ]
    assert upward == []


def test_the_sub_packages_do_not_know_each_other() -> None:
    """What composes them injects small Protocols."""
    crossing = [
        where(module, found)
        for module in modules()
        for found in module.imports
        for own in SEPARATE
        for other in SEPARATE
        if own != other
        and is_below(module.name, f"dtf_dask.{own}")
        and is_below(found.target, f"dtf_dask.{other}")
    ]
    assert crossing == []


@pytest.mark.parametrize(("importer", "never", "reason"), FORBIDDEN)
def test_forbidden_directions(
    importer: str, never: tuple[str, ...], reason: str
) -> None:
    """Some directions are closed whatever the layers say."""
    found = [
        where(module, one)
        for module in modules()
        if is_below(module.name, importer)
        for one in module.imports
        if any(is_below(one.target, package) for package in never)
    ]
    assert found == [], reason


def test_the_root_package_loads_its_names_lazily() -> None:
    """At run time the root imports nothing but the standard library."""
    (root,) = (module for module in modules() if module.name == "dtf_dask")
    eager = [
        found.target
        for node in root.tree.body
        if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
        for found in imports_of(node)
        if found.target.partition(".")[0] not in sys.stdlib_module_names
    ]
    assert eager == []


def test_the_list_of_pure_modules_is_no_older_than_the_code() -> None:
    """Every name on the list fits a module."""
    names = [module.name for module in modules()]
    assert [pattern for pattern in PURE if not fnmatch.filter(names, pattern)] == []


@pytest.mark.parametrize("name", pure_modules())
def test_pure_modules_touch_nothing(name: str) -> None:
    """No clock, randomness, environment, file, socket, process, Dask or database."""
    module = pure_modules()[name]
    seeded = {  # a type for a generator that is handed in
        node.lineno
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom)
        and node.module == "random"
        and [alias.name for alias in node.names] == ["Random"]
    }
    touched = [
        where(module, found)
        for found in module.imports
        if found.target.partition(".")[0] in IMPURE and found.line not in seeded
    ]
    touched += [
        where(module, found)
        for found in own_imports(module)
        if found.target not in pure_modules()
    ]
    touched += [
        f"{module.shown}:{node.lineno} calls {ast.unparse(node.func)}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).rpartition(".")[2] in IMPURE_CALLS
        # A file of the package is a constant that is kept elsewhere.
        and not ast.unparse(node.func).startswith(("files(", "resources.files("))
    ]
    assert touched == []


@pytest.mark.parametrize("name", LIGHT)
def test_light_modules_stay_light(name: str) -> None:
    """Importing one in a fresh process imports none of the heavy packages."""
    code = f"import sys, {name}; print(*(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


def test_the_reader_of_imports_sees_every_form() -> None:
    """The rules above are as good as what they read: each form is seen."""
    tree = ast.parse(
        "import a.b\n"
        "from c import d\n"
        "def f():\n"
        "    from e.f import g\n"
        "    importlib.import_module('h.i')\n"
        "from .j import k\n"
    )
    found = [one.target for one in imports_of(tree, known={"c.d"})]
    assert sorted(found) == [".j", "a.b", "c.d", "e.f", "h.i"]
