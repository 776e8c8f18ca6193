"""Calls a case's function: its surroundings before, and what it raised after."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import inspect
import io
import json
import os
import signal
import sys
import traceback
import unittest
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dtf_dask.imported_function import ImportedFunction
from dtf_dask.model import Case, Outcome

RESULT_BYTES_MAX = 64 * 2**10
EXCEPTION_LENGTH_MAX = 2000
TRACEBACK_LENGTH_MAX = 64 * 2**10


@dataclass(frozen=True, slots=True)
class Returned:
    """What came of a call, as plain data that JSON can hold."""

    outcome: str
    detail: str = ""
    exception: str = ""
    traceback: str = ""
    properties: Mapping[str, Any] = field(default_factory=dict)


def call(case: Case) -> Returned:
    """Call the function of a case. Nothing that it raises comes out of here."""
    function: Any = case.fn
    if isinstance(function, ImportedFunction):
        try:
            function = function.resolve()
        except BaseException as error:
            return _raised(Outcome.ERROR, error)
    try:
        value = function(*case.args, **case.kwargs)
        if inspect.iscoroutine(value):
            value = asyncio.run(value)
    except KeyboardInterrupt as error:
        return _raised(Outcome.FAILED, error, "interrupted")
    except BaseException as error:
        outcome = Outcome.SKIPPED if _is_skip(error) else Outcome.FAILED
        return _raised(outcome, error)
    return Returned(Outcome.PASSED.value, properties=_result(value))


@contextlib.contextmanager
def surroundings(case: Case, workdir: Path, stdout: int, stderr: int) -> Iterator[None]:
    """Give a call its directory, variables, import path and output files, and undo it.

    Both what Python prints and what C code writes to descriptors 1 and 2 is caught.
    """
    try:
        folder = os.getcwd()
    except OSError:  # an earlier case removed it
        folder = str(workdir)
    path = list(sys.path)
    variables = dict(os.environ)
    os.chdir(workdir / case.cwd)
    sys.path.insert(0, str(workdir))
    os.environ.update(case.env)
    try:
        with _redirected(stdout, "stdout", 1), _redirected(stderr, "stderr", 2):
            yield
    finally:
        _restore_variables(variables)
        sys.path[:] = path
        os.chdir(folder)


def dump_stacks(stderr: int) -> None:
    """Have a crash, and SIGTERM as the first word of a timeout, show all stacks."""
    faulthandler.enable(stderr)
    faulthandler.register(signal.SIGTERM, stderr, all_threads=True, chain=True)


@contextlib.contextmanager
def _redirected(target: int, name: str, descriptor: int) -> Iterator[None]:
    before = getattr(sys, name)
    if before is not None:
        before.flush()
    saved = os.dup(descriptor)
    os.dup2(target, descriptor)
    stream = io.TextIOWrapper(
        io.FileIO(os.dup(target), "wb"),
        encoding="utf-8",
        errors="backslashreplace",
        write_through=True,
    )
    setattr(sys, name, stream)
    try:
        yield
    finally:
        setattr(sys, name, before)
        os.dup2(saved, descriptor)
        os.close(saved)
        with contextlib.suppress(ValueError, OSError):  # closed or replaced by the case
            stream.close()


def _restore_variables(variables: Mapping[str, str]) -> None:
    for name in os.environ.keys() - variables.keys():
        del os.environ[name]
    for name, value in variables.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _is_skip(error: BaseException) -> bool:
    if isinstance(error, unittest.SkipTest):
        return True
    outcomes = sys.modules.get("_pytest.outcomes")  # not imported: not raised
    return outcomes is not None and isinstance(error, outcomes.Skipped)


def _raised(outcome: Outcome, error: BaseException, detail: str = "") -> Returned:
    # The first frame is `call` above and tells a user nothing.
    trace = error.__traceback__.tb_next if error.__traceback__ else None
    lines = traceback.format_exception(type(error), error, trace)
    text = "".join(lines)
    if len(text) > TRACEBACK_LENGTH_MAX:
        half = TRACEBACK_LENGTH_MAX // 2
        text = f"{text[:half]}\n[... cut here ...]\n{text[-half:]}"
    return Returned(
        outcome.value,
        detail,
        f"{type(error).__name__}: {_words(error)}"[:EXCEPTION_LENGTH_MAX],
        text,
    )


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # a __str__ of the code under test
        return f"(its text raised {type(broken).__name__})"


def _result(value: object) -> dict[str, Any]:
    """The return value as the property ``result``, or why it is none."""
    if value is None:
        return {}
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        return {
            "result_omitted": f"{type(value).__name__} is nothing for JSON: {error}"
        }
    if len(text) > RESULT_BYTES_MAX:
        return {
            "result_omitted": f"{len(text):,} bytes are over the limit of "
            f"{RESULT_BYTES_MAX:,}"
        }
    return {"result": json.loads(text)}
