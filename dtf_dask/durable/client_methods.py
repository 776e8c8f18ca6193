"""Methods that a client of Dask has before its own, so that it outlives its scheduler.

`DurableMethods` is a base class of `dtf_dask.client.Client`; to another client that is
there already, `attach` adds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from dask.typing import no_default
from distributed.comm import CommClosedError
from distributed.protocol.serialize import ToPickle

from dtf_dask.durable import dask_client
from dtf_dask.durable.client_exit import remember
from dtf_dask.durable.client_graphs import Submission, operation_of
from dtf_dask.durable.client_half import DurableHalf, Mode
from dtf_dask.durable.client_sending import MADE, Made, is_small
from dtf_dask.durable.client_standing import ClientStanding
from dtf_dask.errors import DtfError, SchedulingUnavailableError
from dtf_dask.quantities import parse_duration

_AGAIN_S = 0.05
_FAREWELL_S = 10.0  # it has less patience itself

if TYPE_CHECKING:
    from distributed import Client as _Base
else:
    _Base = object


class DurableMethods(_Base):
    """What is done otherwise; on a plain scheduler it is all as Dask does it."""

    _durable: DurableHalf

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._durable = DurableHalf(self)
        remember(self)
        super().__init__(*args, **kwargs)

    # -- what users call -------------------------------------------------------------

    def flush(self, timeout: float | str | None = None) -> Any:
        """Wait until all that was submitted, released and cancelled is in the ledger.

        Whatever dies then, it is known; before, it is as long as this client lives.

        Parameters
        ----------
        timeout
            Seconds, or text such as ``"1 min"``; None waits as long as it takes.

        Returns
        -------
        None
            Or something to await if the client is asynchronous.

        Raises
        ------
        TimeoutError
            Something is not in the ledger yet; it says how much, and why.
        SchedulingUnavailableError
            The scheduler keeps no ledger.

        Examples
        --------
        >>> futures = client.map(train, models)  # doctest: +SKIP
        >>> client.flush("1 min")  # doctest: +SKIP
        """
        timeout_s = None if timeout is None else parse_duration(timeout)
        return self.sync(self._flush, timeout_s)  # type: ignore[no-untyped-call]

    async def _flush(self, timeout_s: float | None) -> None:
        await self._durable.flush(timeout_s)

    @property
    def durability(self) -> ClientStanding:
        """How much of what was submitted is in the ledger, and what the rest waits for.

        See `dtf_dask.durable.client_standing.ClientStanding`, which prints as a line.
        """
        return self._durable.standing()

    @property
    def leader_heard(self) -> list[Callable[[int, str, float], None]]:
        """Functions that are called when another scheduler leads; to be added to.

        With its term, its cluster and node, and for how many seconds there was none, as
        this client saw it; on the client's loop.
        """
        return self._durable.leader_heard

    # -- what Dask's client calls ----------------------------------------------------

    def start(self, **kwargs: Any) -> None:
        """Connect; Dask's client calls this as it is made."""
        if self.status == "newly-created":
            self._durable.register()
        super().start(**kwargs)  # type: ignore[no-untyped-call]

    async def _start(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super()._start(*args, **kwargs)  # type: ignore[no-untyped-call]
        except DtfError:
            await self._close()
            raise

    async def _ensure_connected(self, timeout: Any = None) -> None:
        ends_at = time.monotonic() + (timeout or 0.0)
        while True:
            try:
                await super()._ensure_connected(timeout)  # type: ignore[no-untyped-call]
                await self._durable.greeted(timeout)
            except CommClosedError:
                # Who led died as it let this client in; but the one that reconnects
                # looks for the next by itself.
                if self._durable.durable or time.monotonic() >= ends_at:
                    raise
                dask_client.drop_stream(self)
                await asyncio.sleep(_AGAIN_S)
            else:
                return

    async def _reconnect(self) -> None:
        if self._durable.durable:
            await self._durable.reconnect()
        else:
            await super()._reconnect()  # type: ignore[no-untyped-call]

    async def _handle_report(self) -> None:
        """Listen to the scheduler, and to the next if it ends the stream itself."""
        while True:
            await super()._handle_report()  # type: ignore[no-untyped-call]
            task = asyncio.current_task()
            ends = task is not None and task.cancelling()
            if ends or not self._durable.durable or self.status != "running":
                return
            await self._durable.reconnect()

    def _handle_restart(self) -> None:
        """The cluster is restarted: who did so was said with what it cancelled."""
        said = [
            (state, state.exception)
            for state in self.futures.values()
            if state.status == "cancelled"
        ]
        super()._handle_restart()  # type: ignore[no-untyped-call]
        for state, why in said:
            state.exception = why

    def close(self, timeout: Any = no_default) -> Any:
        """Close this client: what it submitted goes to the ledger first, if it can."""
        # Once it is "closing" it looks for no scheduler any more.
        looks = self.status == "connecting" and not self._is_finalizing()
        if looks and not self.asynchronous:
            with contextlib.suppress(TimeoutError, RuntimeError):
                self.sync(self._durable.before_close, callback_timeout=_FAREWELL_S)  # type: ignore[no-untyped-call]
        return super().close(timeout)  # type: ignore[no-untyped-call]

    async def _close(self, fast: bool = False) -> None:
        await self._durable.before_close()
        await super()._close(fast)  # type: ignore[no-untyped-call]

    def _send_to_scheduler_safe(self, msg: Mapping[str, Any]) -> None:
        if self._durable.takes(msg):
            return
        if self._durable.durable and self.status in ("running", "connecting"):
            # Nothing is said to a scheduler before it has heard who this is.
            if not self._durable.sending.live or not dask_client.say(
                dask_client.stream_of(self), msg
            ):
                dask_client.keep_for_later(self, msg)
            return
        super()._send_to_scheduler_safe(msg)  # type: ignore[no-untyped-call]

    async def _retry(self, futures: Any) -> None:
        if not self._durable.durable:
            await super()._retry(futures)  # type: ignore[no-untyped-call]
            return
        await self._durable.retry({one.key for one in self.futures_of(futures)})  # type: ignore[no-untyped-call]

    def _graph_to_futures(
        self,
        expr: Any,
        keys: Any,
        span_metadata: Any,
        workers: Any = None,
        allow_other_workers: Any = None,
        internal_priority: Any = None,
        user_priority: Any = 0,
        resources: Any = None,
        retries: Any = None,
        fifo_timeout: Any = 0,
        actors: Any = None,
    ) -> Any:
        """What all submissions come to: a table, where there is a ledger."""
        half = self._durable
        keys = tuple(dict.fromkeys(keys))
        waits = not self.asynchronous
        if half.mode is not Mode.DURABLE or not (waits or is_small(expr, keys)):
            return self._plain_graph(
                *(expr, keys, span_metadata, workers, allow_other_workers),
                *(internal_priority, user_priority, resources, retries, fifo_timeout),
                actors,
            )
        submission = Submission(
            keys,
            dask_client.annotations_of(
                workers, allow_other_workers, user_priority, resources, retries
            ),
            internal_priority,
            dask_client.submitting_task(),
            fifo_timeout,
            dask_client.actors_of(self, actors),
            dask_client.code_of(self),
            span_metadata,
        )
        sending = half.sending
        number = sending.next_number()
        operation = operation_of(expr, submission, self.id, number, sending.bytes_max)
        size = len(operation)
        sending.enter(keys, size, waits=waits)
        try:
            futures = dask_client.make_futures(self, keys)
            self._send_to_scheduler(  # type: ignore[no-untyped-call]
                {
                    "op": dask_client.GRAPH,
                    "keys": keys,
                    "annotations": ToPickle(submission.annotations),
                    MADE: Made(operation, keys),
                }
            )
        except BaseException:
            sending.leave(keys, size)
            raise
        return futures

    def _plain_graph(self, expr: Any, keys: Any, *arguments: Any) -> Any:
        """As Dask does it. What the message becomes is seen as it is sent."""
        half = self._durable
        if half.mode is Mode.PLAIN:
            return super()._graph_to_futures(expr, keys, *arguments)  # type: ignore[no-untyped-call]
        half.sending.enter(keys, 0, waits=not self.asynchronous)
        try:
            return super()._graph_to_futures(expr, keys, *arguments)  # type: ignore[no-untyped-call]
        except BaseException:
            half.sending.leave(keys)
            raise


def attach(client: Any) -> DurableHalf:
    """Add the methods to a client of Dask, before those of its class.

    Raises
    ------
    SchedulingUnavailableError
        The installed Dask is not as this was made for.
    """
    half: DurableHalf
    if isinstance(client, DurableMethods):
        return client._durable
    if missing := dask_client.broken():
        raise SchedulingUnavailableError(
            "this version of distributed is not known, so that a client of it does not"
            f" outlive its scheduler: {', '.join(missing)}"
        )
    kind = type(client)
    half = client._durable = DurableHalf(client)
    remember(client)
    named = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    client.__class__ = type(kind.__name__, (DurableMethods, kind), named)
    half.register()
    return half


def _is_durable(future: Any) -> bool:
    half = getattr(future.client, "_durable", None)
    return half is not None and half.has(future.key)


dask_client.show_durable(_is_durable)
