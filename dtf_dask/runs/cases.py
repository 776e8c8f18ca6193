"""Cases from a ``dtf.toml``, or from ``[tool.dtf]`` of a ``pyproject.toml``.

`load` reads the file; everything below it is pure. A wrong file is a
`ConfigurationError` that names the file, the path of the key and what would be right.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dtf_dask.annotations import KEYS, nearest, validate
from dtf_dask.errors import ConfigurationError, DuplicateCaseError, UsageError
from dtf_dask.imported_function import ImportedFunction
from dtf_dask.model import Case
from dtf_dask.quantities import parse_duration
from dtf_dask.runs import matrix
from dtf_dask.runs.matrix import MatrixError, Point, substitute

FILE_NAME = "dtf.toml"
FILE_BYTES_MAX = 4 * 2**20
CASES_MAX = 50_000
NAME_LENGTH_MAX = 1000
ITEMS_MAX = 1000
TEXT_LENGTH_MAX = 32_768
TIMEOUT_S_MAX = 7 * 86_400.0

_ANNOTATIONS = tuple(key for key in KEYS if key not in ("name", "timeout"))
_KEYS = (
    *("name", "argv", "function", "args", "kwargs", "timeout", "exit_codes"),
    *("artifacts", "env", "cwd", "labels", "matrix", "exclude"),
    *_ANNOTATIONS,
    "class",
)


def load(path: Path) -> tuple[Case, ...]:
    """Read the cases of a file, every matrix expanded, in the file's order.

    Parameters
    ----------
    path
        A ``pyproject.toml`` (its ``[tool.dtf]`` is read) or any other TOML file.

    Raises
    ------
    UsageError
        If the file cannot be read.
    ConfigurationError
        If it is no TOML, or says something that makes no sense.
    DuplicateCaseError
        If two cases have one name.
    """
    table = _section(path, _read(path))
    if table is None:
        raise ConfigurationError(f"{path}: has no [tool.dtf]; add [[tool.dtf.cases]]")
    return parse(table, str(path))


def holds_cases(path: Path) -> bool:
    """Whether a ``pyproject.toml`` has something for `load`; never raises."""
    try:
        table = _section(path, _read(path))
    except (ConfigurationError, UsageError):
        return False
    return table is not None and "cases" in table


def parse(table: Mapping[str, Any], source: str) -> tuple[Case, ...]:
    """Make the cases of one table that holds ``cases``; ``source`` names it in errors.

    Examples
    --------
    >>> bench = {"name": "bench", "argv": ["b", "{n}"], "matrix": {"n": [1]}}
    >>> [(case.name, case.argv) for case in parse({"cases": [bench]}, "dtf.toml")]
    [('bench[n=1]', ('b', '1'))]
    """
    for key in table:
        if key != "cases":
            raise ConfigurationError(
                f"{source}: unknown key {key!r:.80}{nearest(key, ('cases',))}"
            )
    entries = table.get("cases")
    if not isinstance(entries, list) or not entries:
        raise ConfigurationError(f"{source}: expected at least one [[cases]] table")
    found: dict[str, int] = {}
    cases: list[Case] = []
    for index, entry in enumerate(entries):
        for case in _Entry(source, f"cases[{index}]", entry).cases():
            if case.name in found:
                raise DuplicateCaseError(
                    f"{source}: cases[{found[case.name]}] and cases[{index}] are both "
                    f"named {case.name!r}; give each a name of its own"
                )
            found[case.name] = index
            cases.append(case)
            if len(cases) > CASES_MAX:
                raise ConfigurationError(
                    f"{source}: more than {CASES_MAX} cases; make the matrices smaller"
                )
    return tuple(cases)


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > FILE_BYTES_MAX:
        raise ConfigurationError(f"{path}: is over the limit of {FILE_BYTES_MAX} bytes")
    try:
        return tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{path}: is no valid TOML: {error}") from None


def _section(path: Path, document: dict[str, Any]) -> dict[str, Any] | None:
    """The table that is ours: the whole of a dtf.toml, ``[tool.dtf]`` of others."""
    if path.name != "pyproject.toml":
        return document
    tool = document.get("tool")
    table = tool.get("dtf") if isinstance(tool, dict) else None
    return table if isinstance(table, dict) else None


class _Entry:
    """One ``[[cases]]`` table: checks what it says and makes its cases."""

    def __init__(self, source: str, path: str, entry: object) -> None:
        self._where = f"{source}: {path}"
        self._named = ""
        if not isinstance(entry, dict):
            raise self._error("", "expected a table; write [[cases]]")
        self._entry: dict[str, Any] = entry
        for key in entry:
            if key not in _KEYS:
                raise self._error("", f"unknown key {key!r:.80}{nearest(key, _KEYS)}")

    def cases(self) -> list[Case]:
        name = self._name()
        common: dict[str, Any] = {
            "args": tuple(self._list("args")),
            "timeout_s": self._timeout(),
            "exit_codes": self._exit_codes(),
            "annotations": self._annotations(),
        }
        return [self._case(name, point, common) for point in self._points()]

    def _case(self, base: str, point: Point, common: dict[str, Any]) -> Case:
        name = matrix.point_name(base, point)
        if len(name) > NAME_LENGTH_MAX:
            raise self._error(
                "name", f"is over {NAME_LENGTH_MAX} characters with its matrix"
            )
        function, argv = self._function(), self._texts("argv", point)
        if (function is None) == (not argv):
            raise self._error("", "expected either argv or function")
        if function is None and ("args" in self._entry or "kwargs" in self._entry):
            raise self._error("", "args and kwargs go with function, not with argv")
        labels = self._table("labels", point)
        clash = sorted(labels.keys() & point.keys())
        if clash:
            raise self._error(f"labels.{clash[0]}", "is an axis of the matrix already")
        return Case(
            name,
            fn=function,
            argv=argv,
            kwargs=self._kwargs(point) if function is not None else {},
            artifacts=self._texts("artifacts", point),
            env=self._env(point),
            cwd=self._put("cwd", self._text("cwd", self._entry.get("cwd", "")), point),
            labels={**{axis: matrix.text(v) for axis, v in point.items()}, **labels},
            **common,
        )

    def _points(self) -> tuple[Point, ...]:
        if "matrix" not in self._entry:
            if "exclude" in self._entry:
                raise self._error("exclude", "goes with a matrix; add one")
            return ({},)
        axes = self._entry["matrix"]
        if not isinstance(axes, dict):
            raise self._error("matrix", 'expected a table such as {model=["a", "b"]}')
        try:
            return matrix.expand(axes, self._entry.get("exclude", ()))
        except MatrixError as error:
            raise self._error(error.key, error.what) from None

    def _name(self) -> str:
        name = self._entry.get("name")
        if (
            not isinstance(name, str)
            or not 0 < len(name) <= NAME_LENGTH_MAX
            or not name.isprintable()
            or name != name.strip()
            or "::" in name
        ):
            raise self._error(
                "name",
                f"expected 1 to {NAME_LENGTH_MAX} printable characters without '::'",
            )
        self._named = f" ({name[:80]})"
        return name

    def _function(self) -> ImportedFunction | None:
        target = self._entry.get("function")
        if target is None:
            return None
        module, _, attribute = str(target).partition(":")
        words = [*module.split("."), *attribute.split(".")]
        if len(str(target)) > NAME_LENGTH_MAX or not all(
            word.isidentifier() for word in words
        ):
            raise self._error(
                "function", f'{target!r:.80}: expected "package.module:function"'
            )
        return ImportedFunction(module, attribute)

    def _kwargs(self, point: Point) -> dict[str, Any]:
        kwargs = self._mapping("kwargs")
        clash = sorted(kwargs.keys() & point.keys())
        if clash:
            raise self._error(f"kwargs.{clash[0]}", "is an axis of the matrix already")
        for key in kwargs:
            if not key.isidentifier():
                raise self._error(f"kwargs.{key:.80}", "is no name of an argument")
        return {**kwargs, **point}

    def _timeout(self) -> float | None:
        if "timeout" not in self._entry:
            return None
        try:
            seconds = parse_duration(self._entry["timeout"])
        except ValueError as error:
            raise self._error("timeout", str(error)) from None
        if not 0 < seconds <= TIMEOUT_S_MAX:
            raise self._error("timeout", "expected more than 0 s and at most 7 days")
        return seconds

    def _exit_codes(self) -> tuple[int, ...]:
        codes = self._list("exit_codes", [0])
        if not codes or not all(
            isinstance(code, int) and not isinstance(code, bool) and 0 <= code <= 255
            for code in codes
        ):
            raise self._error("exit_codes", "expected whole numbers from 0 to 255")
        return tuple(codes)

    def _annotations(self) -> dict[str, Any]:
        given = {
            key: self._entry[key]
            for key in (*_ANNOTATIONS, "class")
            if key in self._entry
        }
        try:
            return validate(given, where=f"{self._where}{self._named}: ")
        except UsageError as error:
            raise ConfigurationError(*error.args) from None

    def _env(self, point: Point) -> dict[str, str]:
        env = self._table("env", point)
        for key in env:
            if not key or "=" in key or not key.isprintable():
                raise self._error("env", f"{key!r:.80} is no name of a variable")
        return env

    def _table(self, key: str, point: Point) -> dict[str, str]:
        return {
            name: self._put(f"{key}.{name}", self._text(f"{key}.{name}", one), point)
            for name, one in self._mapping(key).items()
        }

    def _texts(self, key: str, point: Point) -> tuple[str, ...]:
        return tuple(
            self._put(f"{key}[{i}]", self._text(f"{key}[{i}]", one), point)
            for i, one in enumerate(self._list(key))
        )

    def _put(self, key: str, template: str, point: Point) -> str:
        try:
            return substitute(template, point)
        except MatrixError as error:
            raise self._error(key, error.what) from None

    def _text(self, key: str, value: object) -> str:
        if not isinstance(value, str | int | float):
            raise self._error(key, f"expected text, not {value!r:.80}")
        text = matrix.text(value)
        if len(text) > TEXT_LENGTH_MAX or "\0" in text:
            raise self._error(
                key, f"expected at most {TEXT_LENGTH_MAX} characters, none of them NUL"
            )
        return text

    def _list(self, key: str, default: Sequence[Any] = ()) -> list[Any]:
        value = self._entry.get(key, default)
        if not isinstance(value, list | tuple) or len(value) > ITEMS_MAX:
            raise self._error(key, f"expected a list of at most {ITEMS_MAX} items")
        return list(value)

    def _mapping(self, key: str) -> dict[str, Any]:
        value = self._entry.get(key, {})
        if not isinstance(value, dict) or len(value) > ITEMS_MAX:
            raise self._error(key, f"expected a table of at most {ITEMS_MAX} keys")
        return value

    def _error(self, key: str, what: str) -> ConfigurationError:
        dot = "." if key else ""
        return ConfigurationError(f"{self._where}{dot}{key}{self._named}: {what}")
