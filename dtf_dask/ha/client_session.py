"""A client's session with a ledger: commands that are done once, in their order.

What a ledger answers with `UNKNOWN` or `NOT_DONE` is sent again, under the same
number, until its outcome is there or its time is over. While nothing is asked for the
session is kept alive. What is sent when is decided in `ledger/window`.
"""

from __future__ import annotations

import asyncio
import logging
from random import uniform
from secrets import token_hex
from typing import Any

from dtf_dask.errors import (
    DtfError,
    PeerUnavailableError,
    SessionExpiredError,
    UsageError,
)
from dtf_dask.ha.client_calls import Call, Deadlines
from dtf_dask.ha.ledger.entries import encode_command
from dtf_dask.ha.ledger.kinds import (
    COMPARE_AND_SET,
    DELETE,
    PUT,
    SESSION_CLOSE,
    SESSION_OPEN,
)
from dtf_dask.ha.ledger.outcomes import UNKNOWN, Code, Outcome, not_done
from dtf_dask.ha.ledger.protocol import Proposing
from dtf_dask.ha.ledger.window import UNSETTLED, Settled, Window

_LOG = logging.getLogger(__name__)

COMMANDS_MAX = 4_096
BYTES_MAX = 16 * 2**20
TTL_S = 30.0
TIMEOUT_S = 30.0

_RENEWALS = 3  # within the time that the session lives without a command
_ATTEMPT_S, _ATTEMPT_MAX_S = 0.5, 8.0
_RENEW_AGAIN_S = 0.5
_PAUSE_S, _PAUSE_MAX_S = 0.02, 0.5
_CLOSE_S = 2.0


class ClientSession:
    """Commands that are done exactly once, in the order in which they were asked for.

    Outcomes are values. ``OK``, ``CONFLICT`` and ``REFUSED`` are what the ledger says,
    and final. At the end of a call's time it is ``NOT_DONE`` if it is sure that the
    command was not done and will not be, ``UNKNOWN`` if it may have been. When the
    session has expired, calls that wait are answered with ``NO_SESSION`` (not done) or
    ``UNKNOWN``, and later ones raise `SessionExpiredError`: nothing is sent again in
    another session, since it could be done twice.

    Its methods are called on one event loop, by as many tasks as there are. A task that
    is cancelled while it waits does not take its command back: it may be done.

    Parameters
    ----------
    ledger
        A `RemoteLedger`, a `LocalLedger` or what behaves so; it is not closed.
    name : str
        How the session's id begins, up to 40 characters; the rest is random.
    ttl_s : float
        How long the session lives when nothing is heard of the client, in seconds of
        the ledger's time: 1 s to 7 days.
    commands_max, bytes_max : int
        How many commands, with how many bytes of arguments, may be without an outcome;
        who asks for more waits for room.

    Examples
    --------
    >>> import asyncio, tempfile
    >>> from dtf_dask.ha.local_ledger import LocalLedger
    >>> async def note(folder):
    ...     async with LocalLedger(folder) as ledger, ClientSession(ledger) as session:
    ...         return await session.put("notes", "first", b"hello")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     asyncio.run(note(folder))
    Outcome(code=<Code.OK: 0>, value=1)
    """

    def __init__(
        self,
        ledger: Proposing,
        name: str = "client",
        *,
        ttl_s: float = TTL_S,
        commands_max: int = COMMANDS_MAX,
        bytes_max: int = BYTES_MAX,
    ) -> None:
        self._ledger = ledger
        self._name = name
        self._ttl_s = ttl_s
        self._limits = commands_max, bytes_max
        self._window = Window("", *self._limits)
        self._renew_at = 0.0
        self._deadlines = Deadlines(self._too_late)
        self._opening = False
        self._work = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._over: DtfError | None = None

    async def __aenter__(self) -> ClientSession:
        await self.open()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self.close(0.0 if kind else TIMEOUT_S)

    @property
    def id(self) -> str:
        """The session's id; empty until it is open."""
        return self._window.session

    @property
    def expired(self) -> bool:
        """Whether the session was found expired."""
        return self._window.expired

    # Open and close

    async def open(self, timeout_s: float = TIMEOUT_S) -> None:
        """Open the session; once.

        Raises
        ------
        PeerUnavailableError
            No ledger was found in time that opens one; the message says why.
        UsageError
            It was opened already, or its name or ``ttl_s`` makes no sense.
        """
        if self._opening:
            raise UsageError("a session is opened once")
        self._opening = True
        loop = asyncio.get_running_loop()
        ends_at, pause_s = loop.time() + timeout_s, _PAUSE_S
        ttl_ms = int(self._ttl_s * 1_000)
        while True:
            # Another id each time: an opening that comes late opens nothing in use.
            session = f"{self._name}-{token_hex(8)}"
            command = encode_command(SESSION_OPEN, ttl_ms, session=session)
            since = loop.time()
            limit_s = min(_ATTEMPT_MAX_S, ends_at - since)
            (outcome,) = await self._ask([command], limit_s) or [UNKNOWN]
            if outcome.code is Code.OK:
                break
            if outcome.code is Code.REFUSED or loop.time() + pause_s >= ends_at:
                self._opening = False
                reason = outcome.value or "no answer"
                raise PeerUnavailableError(f"no session was opened: {reason}")
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _PAUSE_MAX_S)
        self._window = Window(session, *self._limits)
        self._heard(since)
        self._task = loop.create_task(self._run())

    async def close(self, timeout_s: float = TIMEOUT_S) -> None:
        """End the session, when all that was asked for has its outcome.

        What has none after ``timeout_s`` seconds is answered as at the end of its time.
        Nothing of the session is done after it was closed; if no ledger is reached it
        expires by itself. A second call waits for the first one.
        """
        if self._task is None:
            return
        if self._ending is None:
            ending = self._end(self._task, timeout_s)
            self._ending = asyncio.get_running_loop().create_task(ending)
        await asyncio.shield(self._ending)

    async def _end(self, task: asyncio.Task[None], timeout_s: float) -> None:
        self._work.set()
        await asyncio.wait([task], timeout=timeout_s)
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
        if self._over is not None:
            return
        self._over = UsageError(f"the session {self.id} was closed")
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + _CLOSE_S
        command = encode_command(SESSION_CLOSE, session=self.id)
        while (left_s := ends_at - loop.time()) > 0:
            outcomes = await self._ask([command], left_s)
            if outcomes and outcomes[0].code is Code.OK:
                return
            await asyncio.sleep(_PAUSE_S)
        _LOG.info("the session %s was not closed: it will expire", self.id)

    # Commands

    async def send(
        self, kind: int, *arguments: Any, timeout_s: float = TIMEOUT_S
    ) -> asyncio.Future[Outcome]:
        """Ask for a command, and wait until there is room for it, not for its outcome.

        Parameters
        ----------
        kind, arguments
            As `encode_command` takes them.
        timeout_s : float
            From now until its outcome is there, or given up.

        Returns
        -------
        asyncio.Future of Outcome
            Its outcome; it raises `UsageError` if that is no command.

        Raises
        ------
        SessionExpiredError
            The session has expired; nothing was done. It says what is known of the
            commands before.
        UsageError
            The session is not open.
        """
        call, has_room = self._ask_for(kind, arguments, timeout_s)
        if has_room:
            return call.future
        call.room = asyncio.get_running_loop().create_future()
        try:
            await call.room
        except asyncio.CancelledError:
            call.cancel()
            raise
        return call.future

    async def do(
        self, kind: int, *arguments: Any, timeout_s: float = TIMEOUT_S
    ) -> Outcome:
        """Have a command done: its outcome. All else is as with `send`."""
        return await self._ask_for(kind, arguments, timeout_s)[0].future

    async def put(
        self, namespace: str, key: str, value: bytes, *, timeout_s: float = TIMEOUT_S
    ) -> Outcome:
        """Write a record, whatever was there: its new revision."""
        arguments = (namespace, key, value)
        return await self._ask_for(PUT, arguments, timeout_s)[0].future

    async def delete(
        self, namespace: str, key: str, *, timeout_s: float = TIMEOUT_S
    ) -> Outcome:
        """Take a record out: its last revision, 0 if there was none."""
        return await self._ask_for(DELETE, (namespace, key), timeout_s)[0].future

    async def compare_and_set(
        self,
        namespace: str,
        key: str,
        revision: int,
        value: bytes | None,
        *,
        timeout_s: float = TIMEOUT_S,
    ) -> Outcome:
        """Write a record, or delete it, if it has that revision; 0 stands for none.

        ``CONFLICT`` has the revision that it has.
        """
        arguments = (namespace, key, revision, value)
        return await self._ask_for(COMPARE_AND_SET, arguments, timeout_s)[0].future

    def _ask_for(
        self, kind: int, arguments: tuple[Any, ...], timeout_s: float
    ) -> tuple[Call, bool]:
        """A command on its way, and whether there is room for it."""
        if self._over is not None:
            raise type(self._over)(*self._over.args)
        if self._task is None or self._ending is not None:
            raise UsageError("the session is not open")
        future = asyncio.get_running_loop().create_future()
        call = Call(kind, arguments, future)
        self._deadlines.add(call, timeout_s)
        has_room = self._window.add(call)
        if has_room:
            self._work.set()
        else:
            # However long there is no room, nothing is kept of who waits no more.
            future.add_done_callback(lambda _: self._window.leave(call))
        return call, has_room

    def _too_late(self, call: Call) -> None:
        call.end(self._window.give_up(call))

    # The loop that sends

    async def _run(self) -> None:
        outcome = not_done("the session was closed")
        try:
            while not (self._window.expired or (self._ending and self._window.idle)):
                self._settle(self._window.fill())
                if self._window.packed:
                    await self._send_until_known()
                elif self._window.idle and not self._ending:
                    await self._rest()
        except Exception as error:
            outcome = not_done(f"a defect of dtf: {error!r}")
            self._over = SessionExpiredError(f"the session {self.id} ended: {error!r}")
            _LOG.exception("the session %s ends: a defect of dtf", self.id)
        finally:
            self._settle(self._window.end(outcome))

    async def _rest(self) -> None:
        """Until there is something to do; the session is kept alive meanwhile."""
        self._work.clear()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(self._renew_at):
                await self._work.wait()
        except TimeoutError:
            self._renew_at = loop.time() + min(_RENEW_AGAIN_S, self._ttl_s / 10)
            self._window.renew()
            await self._send_until_known()

    def _heard(self, since: float) -> None:
        """What was sent then was answered: then the session was alive."""
        self._renew_at = since + self._ttl_s / _RENEWALS

    async def _send_until_known(self) -> None:
        """Send a batch as often as it takes, or as anybody waits for it."""
        window, loop = self._window, asyncio.get_running_loop()
        attempt_s, pause_s = _ATTEMPT_S, _PAUSE_S
        while window.packed:
            self._settle(window.sending())
            if not window.packed:
                return
            since = loop.time()
            try:
                outcomes = await self._ask(window.packed, attempt_s)
            except UsageError as error:
                # The ledger refuses them all: none was done.
                window.take([not_done("")] * len(window.packed))
                for one, outcome in window.drop(not_done("")):
                    was_unknown = outcome is UNKNOWN
                    self._settle([(one, outcome if was_unknown else error)])
                return
            settled = window.take(outcomes)
            if window.expired:
                self._over = SessionExpiredError(
                    f"the session {self.id} has expired: {window.account()}; what is"
                    " still to be done is asked for in another session"
                )
            self._settle(settled)
            if outcomes and any(one.code not in UNSETTLED for one in outcomes):
                self._heard(since)
                continue
            await asyncio.sleep(uniform(pause_s / 2, pause_s))
            attempt_s = min(2 * attempt_s, _ATTEMPT_MAX_S)
            pause_s = min(2 * pause_s, _PAUSE_MAX_S)

    async def _ask(self, commands: list[bytes], limit_s: float) -> list[Outcome] | None:
        """One sending; None if nobody can say what came of it."""
        try:
            return await self._ledger.propose(commands, max(limit_s, 0.001))
        except UsageError:
            raise
        except DtfError as error:
            _LOG.debug("the session %s: %s", self.id, error)
            return None

    def _settle(self, settled: list[Settled]) -> None:
        for asked, result in settled:
            if isinstance(asked, Call):
                asked.end(result)
        for asked in self._window.admit():
            if isinstance(asked, Call):
                asked.enter()
