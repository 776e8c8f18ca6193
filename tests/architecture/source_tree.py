"""The project's modules as they are written: what each imports, wherever it does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("dtf_dask", "monitor_app")


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module, and where: ``line`` counts from 1."""

    target: str
    line: int


@dataclass(frozen=True)
class Module:
    """One module: its dotted name, its file, its syntax tree, what it imports."""

    name: str
    path: Path
    tree: ast.Module = field(repr=False)
    imports: tuple[Import, ...]

    @property
    def shown(self) -> str:
        return str(self.path.relative_to(ROOT))


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the project's packages, by name."""
    files = [file for name in PACKAGES for file in (ROOT / name).rglob("*.py")]
    names = {_dotted(file): file for file in files}
    found = []
    for name, file in sorted(names.items()):
        tree = ast.parse(file.read_text(encoding="utf-8"), str(file))
        imports = tuple(imports_of(tree, known=names.keys()))
        found.append(Module(name, file, tree, imports))
    return tuple(found)


def imports_of(tree: ast.AST, known: object = ()) -> Iterator[Import]:
    """Every import below a node: in functions too, and by a literal name.

    ``from package import name`` counts as the module ``package.name`` if that is among
    ``known``, else as ``package``.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for alias in node.names:
                full = f"{base}.{alias.name}"
                is_module = full in known  # type: ignore[operator]
                yield Import(full if is_module else base, node.lineno)
        elif isinstance(node, ast.Call) and node.args:
            called = ast.unparse(node.func).rpartition(".")[2]
            argument = node.args[0]
            if (
                called in ("import_module", "__import__")
                and isinstance(argument, ast.Constant)
                and isinstance(argument.value, str)
            ):
                yield Import(argument.value, node.lineno)


def is_below(name: str, package: str) -> bool:
    """Whether a module is a package or within it."""
    return name == package or name.startswith(package + ".")


def _dotted(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
