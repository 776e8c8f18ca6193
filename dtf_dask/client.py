"""The Python client: Dask's own, whose tasks may say what they need."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import time
from collections.abc import (
    Callable,
    Collection,
    Hashable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import distributed
from dask.base import annotate, get_annotations

from dtf_dask.annotations import validate
from dtf_dask.errors import SchedulingUnavailableError
from dtf_dask.explanation import Explanation
from dtf_dask.model import Case

if TYPE_CHECKING:
    from dtf_dask.runs.handle import RunHandle

WISHES = (
    *("hardware", "prefer", "memory", "gpus", "exclusive", "gang"),
    *("priority_class", "tenant", "deadline", "on_late", "timeout"),
    *("after", "on_upstream_failure"),
)
"""The keywords of `Client.submit` and `Client.map` that become annotations."""

_Method = TypeVar("_Method", bound=Callable[..., Any])
_REPRIORITIZED_MAX = 1000  # tasks in one message
_HEARD_S, _AGAIN_S = 5.0, 0.01


def _takes_wishes(method: _Method) -> _Method:
    """Show Dask's parameters and our keywords to help() and to completion."""
    dasks = getattr(distributed.Client, method.__name__)
    signature = inspect.signature(dasks)
    *front, rest = signature.parameters.values()
    keyword = inspect.Parameter.KEYWORD_ONLY
    wishes = [inspect.Parameter(name, keyword, default=None) for name in WISHES]
    shown = signature.replace(parameters=[*front, *wishes, rest])
    method.__signature__ = shown  # type: ignore[attr-defined]
    return method


class Client(distributed.Client):
    """A `distributed.Client` whose `submit` and `map` also take what a task needs.

    Each wish becomes part of the Dask annotation ``dtf``, merged into what an enclosing
    ``dask.annotate(dtf={...})`` says, which knows some more (`dtf_dask.annotations`):

    hardware, prefer
        Expressions over a worker's facts: what it must have, what it had better have.
    memory, gpus
        What the task uses while it runs: a size, a number of whole devices.
    exclusive
        True, if nothing else may run on its worker.
    gang
        ``{"name": ..., "size": ...}``: the tasks of one name start together, each on a
        worker of its own, or not at all.
    priority_class, tenant
        Names: how urgent it is, and whose.
    deadline
        Seconds or text such as ``"10 min"`` from submission, or a point in time.
    on_late
        What becomes of it if it cannot meet its deadline: "run", "refuse" or "cancel".
    timeout
        Seconds or text, for the task's execution.
    after
        Futures or keys, one or several: it starts when all of these have ended,
        whatever came of them. Futures are kept as long as the new ones are.
    on_upstream_failure
        "skip", "run" or "fail", if something fails that it depends on; or futures and
        keys with a word each, ``"*"`` for those not named: ``{loaded: "run", "*":
        "skip"}``.

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

    @_takes_wishes
    def submit(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Submit one call, as `distributed.Client.submit` does.

        Raises
        ------
        UsageError
            If a wish makes no sense.
        """
        with _annotated(func, kwargs) as (arguments, awaited):
            future = super().submit(func, *args, **arguments)
        _keep([future], awaited)
        return future

    @_takes_wishes
    def map(
        self, func: Callable[..., Any], *iterables: Collection[Any], **kwargs: Any
    ) -> Any:
        """Submit a call for each element, as `distributed.Client.map` does.

        Raises
        ------
        UsageError
            If a wish makes no sense.
        """
        with _annotated(func, kwargs) as (arguments, awaited):
            futures = super().map(func, *iterables, **arguments)
        _keep(futures, awaited)
        return futures

    def explain(self, future: Any) -> Any:
        """Tell why a task waits, or why it runs where it runs.

        Parameters
        ----------
        future
            A future, or a key.

        Returns
        -------
        Explanation
            To print; awaitable if the client is asynchronous.

        Raises
        ------
        SchedulingUnavailableError
            If the scheduler does not run dtf.

        Examples
        --------
        >>> print(client.explain(future))  # doctest: +SKIP
        sum-c2f8 waits
          needs  gpu.count >= 1
        """
        return self.sync(self._explain, _key(future))  # type: ignore[no-untyped-call]

    async def _explain(self, key: Hashable) -> Explanation:
        return Explanation.of(await self._explained(key))

    async def _explained(self, key: Hashable) -> dict[str, Any]:
        """What the scheduler says, once it has heard of a task just submitted."""
        deadline = time.monotonic() + _HEARD_S
        while True:
            (answer,) = await self._ask_scheduler("dtf_explain", keys=[key])
            known = answer["state"] != "unknown" or key not in self.futures
            if known or time.monotonic() > deadline:
                return dict(answer)
            await asyncio.sleep(_AGAIN_S)

    def reprioritize(
        self,
        futures: Any,
        *,
        priority_class: str | None = None,
        priority: float | None = None,
        deadline: Any = None,
    ) -> Any:
        """Give tasks that wait another place in the order.

        Parameters
        ----------
        futures
            Futures or keys, one or several.
        priority_class, deadline
            As in `submit`; a deadline counts from now.
        priority
            Dask's: the higher, the sooner.

        Returns
        -------
        int
            How many were still waiting, and were given it; awaitable if the client is
            asynchronous.

        Raises
        ------
        UsageError
            If a wish makes no sense.
        SchedulingUnavailableError
            If the scheduler does not run dtf.
        """
        wishes = validate({"priority_class": priority_class, "deadline": deadline})
        if priority is not None:
            wishes["priority"] = float(priority)
        keys = [_key(one) for one in _several(futures)]
        return self.sync(  # type: ignore[no-untyped-call]
            self._reprioritize, keys, wishes
        )

    async def _reprioritize(self, keys: list[Hashable], wishes: dict[str, Any]) -> int:
        count = 0
        if keys:  # they were submitted together, or nearly
            await self._explained(keys[-1])
        for start in range(0, len(keys), _REPRIORITIZED_MAX):
            some = keys[start : start + _REPRIORITIZED_MAX]
            answer = await self._ask_scheduler("dtf_reprioritize", keys=some, **wishes)
            if answer.get("failure"):
                raise SchedulingUnavailableError(
                    f"the scheduler has fallen back to Dask's own: {answer['failure']}"
                )
            count += answer["changed"]
        return count

    async def _ask_scheduler(self, op: str, **arguments: Any) -> Any:
        answer = await getattr(self.scheduler, op)(**arguments)
        if answer is None:  # what a Dask server says to a message it does not know
            raise SchedulingUnavailableError(
                "the scheduler does not run dtf: start it with `dtf scheduler`, or "
                "with --preload dtf_dask.preload"
            )
        return answer

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


@contextlib.contextmanager
def _annotated(
    func: Callable[..., Any], kwargs: dict[str, Any]
) -> Iterator[tuple[dict[str, Any], list[distributed.Future]]]:
    """Annotate what is submitted.

    Gives what is left for Dask and the function, and the futures that are waited for.
    """
    own = _parameters(func) if not kwargs.keys().isdisjoint(WISHES) else frozenset()
    ours = {key: kwargs[key] for key in WISHES if key in kwargs and key not in own}
    arguments = {key: value for key, value in kwargs.items() if key not in ours}
    awaited: list[distributed.Future] = []
    if ours.get("after") is not None:
        some = _several(ours["after"])
        awaited = [one for one in some if isinstance(one, distributed.Future)]
        ours["after"] = [_key(one) for one in some]
    if isinstance(words := ours.get("on_upstream_failure"), Mapping):
        ours["on_upstream_failure"] = {_key(one): words[one] for one in words}
    enclosing = get_annotations().get("dtf")
    if not ours and enclosing is None:
        yield arguments, awaited
        return
    # Each is checked by itself first: the inner one wins under either of its names.
    plain = {**validate(enclosing or {}, where="dask.annotate: "), **validate(ours)}
    with annotate(dtf=plain):
        yield arguments, awaited


def _several(futures: Any) -> list[Any]:
    """Futures or keys, as a list. A tuple that begins with a text may be a key."""
    if isinstance(futures, str | distributed.Future) or not isinstance(
        futures, Iterable
    ):
        return [futures]
    return list(futures)


def _key(future: Any) -> Any:
    return future.key if isinstance(future, distributed.Future) else future


def _keep(futures: Iterable[Any], awaited: list[distributed.Future]) -> None:
    """A future that nobody holds is released, and its task would never run."""
    for future in futures if awaited else ():
        future._dtf_after = awaited


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
