"""Errors: each can travel between processes, and each ends a run with its own code."""

from __future__ import annotations

import ast
import inspect
import pickle

import pytest
from source_tree import modules

from dtf_dask import errors
from dtf_dask.errors import DtfError, UsageError

ALL = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, BaseException)
]


def test_every_error_is_a_dtf_error() -> None:
    """One base to catch; nothing else is defined beside it."""
    assert ALL[0] is DtfError
    assert all(issubclass(error, DtfError) for error in ALL)


@pytest.mark.parametrize("error", ALL)
def test_every_error_pickles(error: type[DtfError]) -> None:
    """Type, arguments and text survive the way from another process."""
    for arguments in ((), ("what is wrong",), ("what", 2)):
        one = error(*arguments)
        other = pickle.loads(pickle.dumps(one))
        assert type(other) is error
        assert (other.args, str(other)) == (one.args, str(one))


@pytest.mark.parametrize("error", ALL)
def test_every_error_says_whose_fault_it_is(error: type[DtfError]) -> None:
    """It is called an error and has a docstring of its own."""
    assert error.__name__.endswith("Error")
    assert "__doc__" in vars(error)
    assert error.__doc__


def test_exit_codes_tell_errors_apart() -> None:
    """Each has one of its own, none is pytest's (0 to 5) or a shell's (126 on).

    `UsageError` shares pytest's 4 on purpose: the same thing to whoever reads it.
    """
    codes = {error: vars(error).get("exit_code") for error in ALL}
    assert None not in codes.values()
    assert codes.pop(UsageError) == 4
    assert all(6 <= code < 126 for code in codes.values() if code is not None)
    assert len(set(codes.values())) == len(codes)


def test_no_exception_anywhere_wants_keywords() -> None:
    """A keyword-only argument breaks pickling, in other modules' exceptions too."""
    broken = [
        f"{module.shown}:{node.lineno} {node.name}"
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(b).endswith(("Error", "Exception")) for b in node.bases)
        for item in node.body
        if isinstance(item, ast.FunctionDef)
        and item.name == "__init__"
        and item.args.kwonlyargs
    ]
    assert broken == []
