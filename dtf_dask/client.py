"""The Python client: Dask's own, whose tasks may say what they need."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import distributed
from dask.base import annotate, get_annotations

from dtf_dask.annotations import validate
from dtf_dask.model import Case

if TYPE_CHECKING:
    from dtf_dask.runs.handle import RunHandle

_NOT_GIVEN: Any = object()


class Client(distributed.Client):
    """A `distributed.Client` whose `submit` and `map` also take what a task needs.

    Each wish becomes part of the Dask annotation ``dtf``, merged into what an enclosing
    ``dask.annotate(dtf={...})`` says:

    hardware, prefer
        Expressions over a worker's facts: what it must have, what it had better have.
    deadline
        Seconds or text such as ``"10 min"`` from submission, or a point in time.
    priority_class
        A name.
    timeout
        Seconds or text, for the task's execution.

    They are checked at once, and visible on the scheduler in ``TaskState.annotations``.
    As all annotations of Dask they are no part of a task's key: the second of two
    submissions of one pure task changes nothing.

    A function that itself has a parameter of such a name gets the argument, as with
    `distributed.Client`, so that ordinary Dask code works as it did. One that takes it
    as part of its ``**kwargs`` does not: bind it with `functools.partial`. And a wish
    for a function with a parameter of its name goes into ``dask.annotate``, or beside
    a ``partial`` that binds the parameter.

    Examples
    --------
    >>> from functools import partial
    >>> with Client(cluster) as client:  # doctest: +SKIP
    ...     client.submit(train, "resnet", hardware="gpu.count >= 1", deadline="1 h")
    ...     client.submit(partial(fetch, timeout=5), url, timeout="10 min")
    """

    def submit(
        self,
        func: Callable[..., Any],
        *args: Any,
        hardware: Any = _NOT_GIVEN,
        prefer: Any = _NOT_GIVEN,
        deadline: Any = _NOT_GIVEN,
        priority_class: Any = _NOT_GIVEN,
        timeout: Any = _NOT_GIVEN,
        **kwargs: Any,
    ) -> Any:
        """Submit one call, as `distributed.Client.submit` does.

        Raises
        ------
        UsageError
            If a wish makes no sense.
        """
        wishes = _given(hardware, prefer, deadline, priority_class, timeout)
        with _annotated(func, wishes) as arguments:
            return super().submit(func, *args, **arguments, **kwargs)

    def map(
        self,
        func: Callable[..., Any],
        *iterables: Collection[Any],
        hardware: Any = _NOT_GIVEN,
        prefer: Any = _NOT_GIVEN,
        deadline: Any = _NOT_GIVEN,
        priority_class: Any = _NOT_GIVEN,
        timeout: Any = _NOT_GIVEN,
        **kwargs: Any,
    ) -> Any:
        """Submit a call for each element, as `distributed.Client.map` does.

        Raises
        ------
        UsageError
            If a wish makes no sense.
        """
        wishes = _given(hardware, prefer, deadline, priority_class, timeout)
        with _annotated(func, wishes) as arguments:
            return super().map(func, *iterables, **arguments, **kwargs)

    def run_cases(
        self,
        cases: Sequence[Case],
        *,
        retries: int | None = None,
        timeout: float | str | None = None,
        dist: str | None = None,
        code: str | Path | None = None,
        results: str | None = None,
        suite: str | None = None,
        run_id: str | None = None,
    ) -> RunHandle:
        """Run callables and commands as tests, and keep their results.

        Parameters
        ----------
        cases
            With names of their own.
        retries
            How often a case that failed is run again; it is flaky if it then passes.
        timeout
            For cases without one; seconds or text.
        dist
            "load", "each" or "one-per-process".
        code
            A folder that travels to the workers: their working directory, importable.
        results
            Results store; by default ``.dtf/results.sqlite`` in this folder.
        suite
            Under which name histories are kept; by default this folder's.
        run_id
            By default one is made up.

        Raises
        ------
        UsageError, DuplicateCaseError
            When the cases make no sense.

        Examples
        --------
        >>> handle = client.run_cases(  # doctest: +SKIP
        ...     [Case("sum", fn=sum, args=([1, 2],)), Case("ls", argv=("ls",))]
        ... )
        >>> handle.wait()  # doctest: +SKIP
        Counter({'passed': 2})
        """
        from dtf_dask.runs.handle import RunHandle

        choices = {
            "retries": retries,
            "timeout": timeout,
            "dist": dist,
            "code": code,
            "results": results,
            "suite": suite,
            "run_id": run_id,
        }
        return RunHandle(self, cases, choices)


def _given(
    hardware: Any, prefer: Any, deadline: Any, priority_class: Any, timeout: Any
) -> dict[str, Any]:
    wishes = {
        "hardware": hardware,
        "prefer": prefer,
        "deadline": deadline,
        "priority_class": priority_class,
        "timeout": timeout,
    }
    return {key: value for key, value in wishes.items() if value is not _NOT_GIVEN}


@contextlib.contextmanager
def _annotated(
    func: Callable[..., Any], wishes: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Annotate what is submitted; gives back what the function itself takes."""
    own = _parameters(func) if wishes else frozenset()
    arguments = {key: value for key, value in wishes.items() if key in own}
    ours = {key: value for key, value in wishes.items() if key not in own}
    enclosing = get_annotations().get("dtf")
    if not ours and enclosing is None:
        yield arguments
        return
    # Each is checked by itself first: the inner one wins under either of its names.
    plain = {**validate(enclosing or {}, where="dask.annotate: "), **validate(ours)}
    with annotate(dtf=plain):
        yield arguments


def _parameters(func: Callable[..., Any]) -> frozenset[str]:
    """The parameters that a function names itself and a caller may give by name."""
    try:
        signature = inspect.signature(func)
    except (TypeError, ValueError):  # some written in C do not tell
        return frozenset()
    bound = set(func.keywords) if isinstance(func, functools.partial) else set()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return frozenset(
        name
        for name, parameter in signature.parameters.items()
        if parameter.kind in named and name not in bound
    )
