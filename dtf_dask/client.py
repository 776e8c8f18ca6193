"""The Python client: Dask's own, whose tasks may say what they need."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import distributed
from dask.base import get_annotations

from dtf_dask.annotations import validate
from dtf_dask.durable.client_methods import DurableMethods
from dtf_dask.durable.client_sending import MADE
from dtf_dask.durable.client_standing import ClientStanding
from dtf_dask.errors import SchedulingUnavailableError
from dtf_dask.explanation import Explanation
from dtf_dask.held_graphs import HeldGraphs
from dtf_dask.model import Case
from dtf_dask.pressure import Pressure
from dtf_dask.quantities import format_duration
from dtf_dask.room_gate import RoomGate
from dtf_dask.wishes import annotated, class_of, keep, key_of, several, takes_wishes

if TYPE_CHECKING:
    from dtf_dask.runs.handle import RunHandle

_REPRIORITIZED_MAX = 1000  # tasks in one message
_HEARD_S, _AGAIN_S = 5.0, 0.01
_PORTIONS = 16  # so many fill the queue, where nobody can wait for its free room


class Client(DurableMethods, distributed.Client):
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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.room_gate = RoomGate(self)
        self._held_graphs = HeldGraphs(self.room_gate, self._send_now, self._failed)
        super().__init__(*args, **kwargs)

    def _failed(self, message: dict[str, Any], error: BaseException) -> None:
        made = message.get(MADE)
        size = len(made.operation) if made is not None else 0
        self._durable.sending.leave(message["keys"], size)
        for key in message["keys"]:
            self._handle_task_erred(key=key, exception=error)  # type: ignore[no-untyped-call]

    @takes_wishes
    def submit(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Submit one call, as `distributed.Client.submit` does.

        Raises
        ------
        UsageError
            If a wish makes no sense.
        """
        with annotated(func, kwargs) as (arguments, awaited):
            future = super().submit(func, *args, **arguments)
        keep([future], awaited)
        return future

    @takes_wishes
    def map(
        self, func: Callable[..., Any], *iterables: Collection[Any], **kwargs: Any
    ) -> Any:
        """Submit a call for each element, as `distributed.Client.map` does.

        Raises
        ------
        UsageError
            If a wish makes no sense.
        """
        futures: list[Any] = []
        with annotated(func, kwargs) as (arguments, awaited):
            try:
                for some, more in self._portions(iterables, arguments):
                    futures += super().map(func, *some, **more)
            except BaseException:
                futures.clear()  # the traceback holds them, and they are given up
                raise
        keep(futures, awaited)
        return futures

    @property
    def durability(self) -> ClientStanding:
        """How much of what was submitted is in the ledger, and what the rest waits for.

        See `dtf_dask.durable.client_standing.ClientStanding`, which prints as a line.
        """
        found = super().durability
        return replace(found, pending=found.pending + len(self._held_graphs))

    @property
    def pressure(self) -> Pressure | None:
        """How full the scheduler's queue is, by what it last told.

        None if the scheduler does not run dtf. See `dtf_dask.pressure.Pressure`.
        """
        return self.room_gate.pressure

    async def _ensure_connected(self, timeout: Any = None) -> None:
        await super()._ensure_connected(timeout)
        if self.status == "running":
            await self.room_gate.look()

    def _graph_to_futures(self, expr: Any, keys: Any, *args: Any, **kwargs: Any) -> Any:
        """What all submissions come to: wait for room first.

        On the client's own loop nobody can wait: there `HeldGraphs` keeps the tasks.
        """
        if not self.asynchronous:
            count = len(set(keys))
            if not self.room_gate.take(count):
                self._wait_for_room(count)
            self.room_gate.pay(count)
        return super()._graph_to_futures(expr, keys, *args, **kwargs)

    async def _flush(self, timeout_s: float | None) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._held_graphs.sent()
        except TimeoutError:
            raise TimeoutError(
                f"after {format_duration(timeout_s or 0)} there is no room for all that"
                " was submitted in the queue of the scheduler"
            ) from None
        await super()._flush(timeout_s)

    def _send_to_scheduler_safe(self, message: Any) -> None:
        # Where there is a ledger nothing may overtake, with a scheduler or without.
        held = self.status == "running" or self._durable.durable
        if not held or not self._held_graphs.takes(message):
            self._send_now(message)

    def _send_now(self, message: Any) -> None:
        super()._send_to_scheduler_safe(message)

    def _portions(
        self, iterables: Sequence[Any], arguments: dict[str, Any]
    ) -> Iterator[tuple[Sequence[Any], dict[str, Any]]]:
        """Cut what is mapped, if there is no room for all of it at once."""
        sized = all(isinstance(one, Collection) for one in iterables)
        count = min(map(len, iterables)) if sized and iterables else 0
        if count <= 1 or self.room_gate.open or count <= self.room_gate.left():
            yield iterables, arguments
            return
        rows, key, start = list(zip(*iterables, strict=False)), arguments.get("key"), 0
        while start < count:
            size = self._room_for(count - start)
            columns = list(zip(*rows[start : start + size], strict=True))
            more = dict(arguments)
            if isinstance(key, list):
                more["key"] = key[start : start + size]
            yield columns, more
            start += size

    def _room_for(self, count: int) -> int:
        """How many of these may go now."""
        if self.asynchronous:
            bound = self.pressure.bound if self.pressure else 0
            return min(count, max(1, bound // _PORTIONS))
        room = self._wait_for_room(count, least=1)
        self.room_gate.give_back(room)  # it is used as they are sent
        return room

    def _wait_for_room(self, count: int, least: int | None = None) -> int:
        urgency = class_of(get_annotations())
        room: int = self.sync(  # type: ignore[no-untyped-call]
            self.room_gate.obtain, count, least=least, priority_class=urgency
        )
        return room

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
        return self.sync(self._explain, key_of(future))  # type: ignore[no-untyped-call]

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
        keys = [key_of(one) for one in several(futures)]
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
