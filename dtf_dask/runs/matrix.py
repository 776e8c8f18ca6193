"""The points of a case's matrix, and what each puts into the case. Pure.

A matrix is axes with values; its points are all combinations in the order in which
the axes and values were written, without the excluded ones. Whatever is wrong is a
`MatrixError`, whose ``key`` tells which part of the table to look at.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from dtf_dask.annotations import nearest

AXES_MAX = 16
VALUES_MAX = 1000
EXCLUDES_MAX = 1000
POINTS_MAX = 10_000
VALUE_LENGTH_MAX = 200

Scalar = str | int | float | bool
Point = dict[str, Scalar]

_AXIS = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLACEHOLDER = re.compile(r"\{\{([A-Za-z_]\w*)\}\}|\{([A-Za-z_]\w*)\}")


class MatrixError(ValueError):
    """What is wrong, and under which key below ``matrix`` or ``exclude``."""

    def __init__(self, key: str, what: str) -> None:
        super().__init__(key, what)
        self.key = key
        self.what = what

    def __str__(self) -> str:
        return f"{self.key}: {self.what}"


def expand(matrix: Mapping[str, Any], exclude: Sequence[Any] = ()) -> tuple[Point, ...]:
    """Every combination of the axes' values that no exclusion matches.

    Parameters
    ----------
    matrix
        Axis name to a list of strings, numbers or booleans.
    exclude
        Tables of some axes and values; a point that agrees with all of one is out.

    Raises
    ------
    MatrixError
        For a name, value, count or exclusion that makes no sense.

    Examples
    --------
    >>> expand({"model": ["a", "b"], "batch": [1, 2]}, [{"model": "b", "batch": 2}])
    ({'model': 'a', 'batch': 1}, {'model': 'a', 'batch': 2}, {'model': 'b', 'batch': 1})
    """
    _check_axes(matrix)
    count = math.prod(len(values) for values in matrix.values())
    if count > POINTS_MAX:
        raise MatrixError(
            "matrix", f"{count} combinations are over the limit of {POINTS_MAX}"
        )
    _check_exclusions(matrix, exclude)
    points = [
        dict(zip(matrix, combination, strict=True))
        for combination in itertools.product(*matrix.values())
    ]
    kept = tuple(
        point for point in points if not any(_agrees(point, one) for one in exclude)
    )
    if not kept:
        raise MatrixError("exclude", "leaves no combination to run")
    return kept


def point_name(base: str, point: Mapping[str, Scalar]) -> str:
    """The name of a case at one point.

    Examples
    --------
    >>> point_name("bench", {"model": "a", "batch": 1})
    'bench[model=a,batch=1]'
    >>> point_name("lint", {})
    'lint'
    """
    if not point:
        return base
    inner = ",".join(f"{axis}={text(value)}" for axis, value in point.items())
    return f"{base}[{inner}]"


def substitute(template: str, point: Mapping[str, Scalar]) -> str:
    """Put a point's values into ``{axis}``; ``{{axis}}`` stays as ``{axis}``.

    Without a point nothing is replaced: a case without a matrix may hold any braces.

    Raises
    ------
    MatrixError
        If the text names something in braces that is no axis.

    Examples
    --------
    >>> substitute("run-{model} {{model}} {}", {"model": "a"})
    'run-a {model} {}'
    """
    if not point:
        return template

    def put(match: re.Match[str]) -> str:
        literal, axis = match.groups()
        if literal is not None:
            return f"{{{literal}}}"
        if axis not in point:
            raise MatrixError(
                axis,
                f"{{{axis}}} is no axis of the matrix{nearest(axis, tuple(point))} "
                f"(write {{{{{axis}}}}} to keep the braces)",
            )
        return text(point[axis])

    return _PLACEHOLDER.sub(put, template)


def text(value: Scalar) -> str:
    """A value as it stands in names, arguments and labels; booleans as in TOML."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _agrees(point: Point, exclusion: Mapping[str, Scalar]) -> bool:
    return all(_same(point[axis], value) for axis, value in exclusion.items())


def _same(one: Scalar, other: Scalar) -> bool:
    # True == 1 in Python, and an exclusion of one must not take the other along.
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def _check_axes(matrix: Mapping[str, Any]) -> None:
    if not matrix:
        raise MatrixError("matrix", "holds no axis; leave it out or add one")
    if len(matrix) > AXES_MAX:
        raise MatrixError("matrix", f"{len(matrix)} axes are over {AXES_MAX}")
    for axis, values in matrix.items():
        key = f"matrix.{axis}"
        if not _AXIS.fullmatch(axis) or len(axis) > VALUE_LENGTH_MAX:
            raise MatrixError(key, "an axis is named with letters, digits and '_'")
        if not isinstance(values, list | tuple) or not values:
            raise MatrixError(key, "expected a list of at least one value")
        if len(values) > VALUES_MAX:
            raise MatrixError(key, f"{len(values)} values are over {VALUES_MAX}")
        for value in values:
            _check_value(key, value)
        texts = [text(value) for value in values]
        twice = sorted({one for one in texts if texts.count(one) > 1})
        if twice:
            raise MatrixError(key, f"holds {twice[0]!r} twice")


def _check_value(key: str, value: object) -> None:
    if not isinstance(value, str | int | float | bool):
        raise MatrixError(key, f"expected text, numbers or booleans, not {value!r:.80}")
    if isinstance(value, str) and (
        not value.isprintable() or len(value) > VALUE_LENGTH_MAX or "::" in value
    ):
        raise MatrixError(
            key,
            f"{value!r:.80}: expected at most {VALUE_LENGTH_MAX} printable "
            "characters without '::'",
        )


def _check_exclusions(matrix: Mapping[str, Any], exclude: Sequence[Any]) -> None:
    if not isinstance(exclude, list | tuple):
        raise MatrixError("exclude", "expected a list of tables")
    if len(exclude) > EXCLUDES_MAX:
        raise MatrixError("exclude", f"{len(exclude)} are over {EXCLUDES_MAX}")
    for index, exclusion in enumerate(exclude):
        key = f"exclude[{index}]"
        if not isinstance(exclusion, Mapping) or not exclusion:
            raise MatrixError(key, 'expected a table such as {model="b", batch=4}')
        for axis, value in exclusion.items():
            if axis not in matrix:
                raise MatrixError(
                    key, f"unknown axis {axis!r:.80}{nearest(axis, tuple(matrix))}"
                )
            if not any(_same(value, one) for one in matrix[axis]):
                known = [text(one) for one in matrix[axis]]
                raise MatrixError(
                    key,
                    f"{axis} is never {value!r:.80}{nearest(value, known)}",
                )
