"""Connecting to whoever leads: `LeaderConnector`, of the ``dtf://`` backend.

Only the leader listens, so whoever answers leads. The last leader is asked first, and
after a moment all others too. Each is asked again and again at its own pace, so that
one that hangs holds up no other, until one leads or the caller's time is over.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from typing import Any

from distributed.comm.core import Comm, Connector, FatalCommClosedError

from dtf_dask.comm.address import Contact, Coordinator, parse_contact
from dtf_dask.comm.answers import Answers
from dtf_dask.comm.greeting import Greeting, Objection
from dtf_dask.comm.known import Known
from dtf_dask.comm.looks import Looks
from dtf_dask.comm.probe import Probe

logger = logging.getLogger(__name__)

HEAD_START_S = 0.05
"""So long only the last leader is asked: a connection costs the others nothing then."""
AGAIN_S = (0.02, 0.04)
"""Between two looks at one coordinator. At random, so that workers do not march."""
RESTS_S = 1.0
"""The same, where what was said does not change within milliseconds."""
_COMPLAINS_AFTER_S = 10.0


class LeaderConnector(Connector):
    """Connects to the leader among the coordinators of an address.

    What it returns is Dask's own comm of TCP or TLS.
    """

    def __init__(self, known: Known, looks: Looks) -> None:
        self._known = known
        self._looks = looks

    async def connect(
        self, address: str, deserialize: bool = True, **connection_args: Any
    ) -> Comm:
        """Search until a leader is found or the caller gives up; Dask calls this.

        Raises
        ------
        ValueError
            The address makes no sense.
        RuntimeError
            Encryption is required, and there is nothing to encrypt with.
        FatalCommClosedError
            The coordinators said what waiting does not change.
        """
        contact = parse_contact(address)
        tls = _tls(contact, connection_args)
        probe = Probe(
            tls,
            connection_args.get("server_hostname") or "",
            lambda greeting: self._known.objection(contact, greeting),
            deserialize,
        )
        return await _Search(
            contact, self._known, probe, self._looks, tls is not None
        ).run()


def told(error: BaseException) -> str:
    """What the coordinators said, from an error of connecting; empty if it is none.

    Dask's own error says only that its time is over. This is beneath it.

    Examples
    --------
    >>> told(OSError("Timed out"))
    ''
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, asyncio.CancelledError | FatalCommClosedError):
            return str(cause)
        cause = cause.__cause__
    return ""


def _tls(contact: Contact, connection_args: dict[str, Any]) -> ssl.SSLContext | None:
    found = connection_args.get("ssl_context")
    if isinstance(found, ssl.SSLContext):
        return found
    if found is not None:
        raise TypeError(f"ssl_context is {found!r}, and not an ssl.SSLContext")
    if connection_args.get("require_encryption"):
        raise RuntimeError(
            "encryption required by Dask configuration, and no certificate configured:"
            f" refusing to connect to {contact}"
        )
    return None


class _Search:
    """One search for the leader."""

    def __init__(
        self,
        contact: Contact,
        known: Known,
        probe: Probe,
        looks: Looks,
        encrypts: bool,
    ) -> None:
        self._contact = contact
        self._known = known
        self._probe = probe
        self._looks = looks
        self._encrypts = encrypts
        self._loop = asyncio.get_running_loop()
        self._answers = Answers(contact, self._loop.time())
        self._asking: dict[Coordinator, asyncio.Task[None]] = {}
        self._found: asyncio.Future[tuple[Coordinator, Comm, Greeting]]
        self._found = self._loop.create_future()

    async def run(self) -> Comm:
        leader = self._known.leader(self._contact)
        if leader is None:
            self._ask_all()
        else:
            self._ask(leader)
        timers = (
            self._loop.call_later(HEAD_START_S, self._ask_all),
            self._loop.call_later(_COMPLAINS_AFTER_S, self._complain),
        )
        try:
            coordinator, comm, greeting = await self._found
        except asyncio.CancelledError:
            self._abort_late()
            said = self._said()
            self._known.unmet(self._contact, said)
            # The caller's time is over, or somebody cancelled it. If it is the first,
            # the error that people see has this one beneath it.
            raise asyncio.CancelledError(said) from None
        finally:
            for timer in timers:
                timer.cancel()
            for task in self._asking.values():
                task.cancel()
        try:
            await asyncio.gather(*self._asking.values(), return_exceptions=True)
        except BaseException:
            comm.abort()
            raise
        self._known.met(self._contact, coordinator, greeting)
        return comm

    def _ask_all(self) -> None:
        for coordinator in self._contact.coordinators:
            self._ask(coordinator)

    def _ask(self, coordinator: Coordinator) -> None:
        if coordinator not in self._asking and not self._found.done():
            task = self._loop.create_task(self._ask_on(coordinator))
            self._asking[coordinator] = task

    async def _ask_on(self, coordinator: Coordinator) -> None:
        """Ask one coordinator until it leads, or somebody else does."""
        try:
            while not self._found.done():
                answer = await self._heard(coordinator)
                if not isinstance(answer, Objection):
                    self._take(coordinator, *answer)
                    return
                self._note(coordinator, answer)
                rests = answer.rests or answer.final
                await asyncio.sleep(RESTS_S if rests else random.uniform(*AGAIN_S))
        except Exception as error:
            if not self._found.done():
                self._found.set_exception(error)

    async def _heard(
        self, coordinator: Coordinator
    ) -> tuple[Comm, Greeting] | Objection:
        """What a look brings, or another search's look that was just made."""
        target = (self._contact, coordinator, self._encrypts)
        heard = self._looks.heard(target, self._loop.time())
        if heard is not None:
            return heard
        number = self._looks.begin(target, self._loop.time())
        try:
            answer = await self._probe.look(coordinator)
            heard = answer if isinstance(answer, Objection) else None
        finally:
            self._looks.end(target, number, self._loop.time(), heard)
        return answer

    def _take(self, coordinator: Coordinator, comm: Comm, greeting: Greeting) -> None:
        if self._found.done():
            comm.abort()
        else:
            self._found.set_result((coordinator, comm, greeting))

    def _note(self, coordinator: Coordinator, objection: Objection) -> None:
        self._answers.note(coordinator, objection)
        self._ask_all()  # the last leader leads no more
        if self._answers.are_hopeless(self._loop.time()) and not self._found.done():
            error = FatalCommClosedError(f"{self._contact}: {self._answers.text()}")
            self._found.set_exception(error)

    def _abort_late(self) -> None:
        """End a connection that was found as the search was cancelled."""
        found = self._found
        if found.done() and not found.cancelled() and found.exception() is None:
            found.result()[1].abort()

    def _said(self) -> str:
        """What is known of the coordinators; of a search before if this had no time."""
        before = self._known.said(self._contact)
        if before and not len(self._answers):
            return before
        return f"{self._contact}: {self._answers.text()}"

    def _complain(self) -> None:
        logger.warning(
            "After %g s: %s: %s",
            _COMPLAINS_AFTER_S,
            self._contact,
            self._answers.text(),
        )
