"""What makes a client of Dask outlive its scheduler: `DurableHalf`, one for each.

It hears whether the scheduler is a coordinator's, which keeps a ledger. If so, all that
the client asks for good becomes operations (`client_sending`), and a connection that
breaks is followed by another to whoever leads then, to whom is said again what the
ledger may lack. If not, it does nothing. All of it is on the client's loop, but for
what says otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import secrets
from collections.abc import Callable, Collection, Hashable, Mapping
from itertools import islice
from typing import Any

from dtf_dask import config
from dtf_dask.durable import client_reconnecting, client_words, dask_client
from dtf_dask.durable.client_exit import LOST
from dtf_dask.durable.client_meeting import meet, replaced
from dtf_dask.durable.client_sending import RETRIES, Sending
from dtf_dask.durable.client_standing import ClientStanding
from dtf_dask.durable.client_watch import watch
from dtf_dask.durable.dask_asking import AskingAgain
from dtf_dask.durable.requests import SAYINGS
from dtf_dask.errors import (
    ClientReplacedError,
    DtfError,
    ProtocolError,
    SchedulingUnavailableError,
    TaskLostError,
    TaskRefusedError,
)
from dtf_dask.quantities import format_duration
from dtf_dask.submission.table import Key

logger = logging.getLogger(__name__)

_STATES_MAX = 10_000  # keys in one question
_RETRIED_MAX = 200  # keys, however long, that are one operation, to be waited for
_FAREWELL_S = 5.0  # for the ledger to have what was submitted before the client closes
_OPERATIONS = frozenset(
    {RETRIES, dask_client.GRAPH, dask_client.RELEASES}
    | {dask_client.DESIRES, dask_client.CANCELS}
)
_TAKES_HOLD = frozenset(("variable-future-received-confirm", "queue-future-release"))
"""Messages by which a client holds a key from then on."""


class Mode(enum.Enum):
    """What kind of scheduler it is."""

    UNKNOWN = enum.auto()
    PLAIN = enum.auto()
    DURABLE = enum.auto()


class DurableHalf:
    """The durable half of one client.

    Parameters
    ----------
    client
        A `distributed.Client`, with `client_methods.DurableMethods` before its own.
    """

    def __init__(self, client: Any) -> None:
        self.client = client
        self.mode = Mode.UNKNOWN
        self.token = secrets.token_hex(16)
        self.term = 0
        self.cluster = ""
        self.waiting = ""
        self._sending: Sending | None = None
        self.leader_heard: list[Callable[[int, str, float], None]] = []
        self._lost_at: float | None = None
        self._watching: asyncio.Task[None] | None = None
        self._stream: Any = None
        self._early: list[Mapping[str, Any]] = []
        self._cancelled: Any = None
        self._doubted: set[Key] = set()
        """Keys that were called cancelled while a submission of them was under way."""

    @property
    def sending(self) -> Sending:
        """Its operations; made late, as the client's id is."""
        if self._sending is None:
            self._sending = Sending(
                self.client.id,
                self._say,
                lambda: dask_client.hurry(self.client),
                self._fail,
                lambda: str(self.standing()),
                self.patience_s,
            )
        return self._sending

    def register(self) -> None:
        """Have the client's stream hear what a coordinator says."""
        handlers = dask_client.handlers(self.client)
        self._cancelled = handlers["cancelled-keys"]
        handlers.update(
            {
                client_words.WELCOME: self._heard_welcome,
                client_words.ACK: self._heard_ack,
                client_words.REFUSED: self._heard_refused,
                client_words.WAITING: self._heard_waiting,
                "cancelled-keys": self._heard_cancelled,
            }
        )

    # -- from any thread -------------------------------------------------------------

    @property
    def durable(self) -> bool:
        """Whether the scheduler keeps a ledger."""
        return self.mode is Mode.DURABLE

    def standing(self) -> ClientStanding:
        """What has come of what was asked."""
        return ClientStanding(
            self.durable,
            self.sending.live,
            self.cluster,
            self.term,
            len(self._early) + self.sending.pending,
            self.waiting or self.sending.ended,
        )

    def has(self, key: Hashable) -> bool:
        """Whether the ledger has what makes the value of a key."""
        known = self.durable and key in self.client.futures
        return known and not self.sending.outbox.begun(key)  # type: ignore[arg-type]

    def patience_s(self) -> float:
        """How long a submission waits for room, and a lost client for a scheduler."""
        return config.load().ha.client_patience_s

    # -- what the client sends -------------------------------------------------------

    def takes(self, message: Mapping[str, Any]) -> bool:
        """Whether a message is none that Dask's client is to send."""
        op = message["op"]
        if self.mode is Mode.PLAIN:
            return False
        if op in SAYINGS and self.durable:
            self.client.scheduler.say_soon(op, name=message["name"])
            return True
        if op not in _OPERATIONS:
            if op in _TAKES_HOLD and self.durable:
                held = {"op": dask_client.DESIRES, "keys": [message["key"]]}
                self.sending.give(held)
            return False
        if op == dask_client.RELEASES and self.client.status in ("closing", "closed"):
            return True  # it is gone with all that it holds
        if self.mode is Mode.UNKNOWN:
            self._early.append(message)
        else:
            self.sending.give(message)
        return True

    async def flush(self, timeout_s: float | None = None) -> None:
        """Wait until all that was asked is in the ledger.

        Raises
        ------
        SchedulingUnavailableError
            There is no ledger.
        TimeoutError
            It is not, after so long.
        """
        if self.mode is Mode.PLAIN:
            raise SchedulingUnavailableError(
                "the scheduler keeps no ledger that could be waited for: it belongs to"
                " no cluster of coordinators (dtf coordinator)"
            )
        try:
            async with asyncio.timeout(timeout_s):
                upto = await self.sending.given()
                await self.sending.settled(upto)
        except TimeoutError:
            raise TimeoutError(
                f"after {format_duration(timeout_s or 0)}: {self.standing()}"
            ) from None

    async def retry(self, keys: Collection[Hashable]) -> None:
        """Run failed tasks again; returns once the scheduler does."""
        # Before it is said: by the time of the answer they may have failed once more.
        retried = [key for key in keys if dask_client.retried(self.client, key)]
        rows = iter(keys)
        try:
            while some := list(islice(rows, _RETRIED_MAX)):
                self.sending.give({"op": RETRIES, "keys": some})
                await self.sending.settled(await self.sending.given())
        except TaskRefusedError as error:
            for key in retried:
                self._fail(key, error)
            raise

    async def before_close(self) -> None:
        """The client closes: let the ledger have what was submitted before."""
        if not self.durable:
            return
        sending = self.sending
        looks = self.client.status == "connecting" and sending.owes
        with contextlib.suppress(TimeoutError, DtfError):
            async with asyncio.timeout(_FAREWELL_S):
                if (sending.live or looks) and not sending.ended:
                    await self.client.scheduler.all_said()
                    await sending.given()
                    await sending.settled(sending.owed)
        if sending.owes and not sending.ended:
            logger.warning("A client closes: %s. %s", self.standing(), LOST)
        if self._watching is not None:
            self._watching.cancel()
        sending.end("the client is closed")

    # -- the connection ----------------------------------------------------------------

    async def greeted(self, timeout_s: float | None) -> None:
        """The client has connected: hear whether it is to a coordinator.

        Raises
        ------
        OSError
            The connection broke, or the scheduler is not what it was.
        ClientVersionError, ClientReplacedError
            It takes nothing of this client.
        """
        stream = dask_client.stream_of(self.client)
        if stream is None or stream is self._stream:
            return
        self._stream = stream
        try:
            if dask_client.is_coordinator(stream):
                await self._meet(stream, timeout_s)
            elif self.durable:
                raise OSError("the scheduler is no coordinator's any more")
            else:
                self._become(Mode.PLAIN)
        except BaseException:
            dask_client.drop_stream(self.client)
            raise

    async def _meet(self, stream: Any, timeout_s: float | None) -> None:
        welcome, others = await meet(stream, self.token, timeout_s)
        self._welcomed(stream, welcome)
        for message in others:
            handler = dask_client.handlers(self.client).get(message.pop("op"))
            if handler is not None:
                handler(**message)

    def _welcomed(self, stream: Any, welcome: Mapping[str, Any]) -> None:
        again, sending, term = self.durable, self.sending, self.term
        try:
            sending.acknowledged(welcome["seen"])
        except ProtocolError as error:
            raise ClientReplacedError(
                f"the cluster knows another client of the id {self.client.id}: {error}"
            ) from None
        self.term, self.cluster = welcome["term"], welcome["cluster"]
        if again:
            self.client.scheduler.end_calls_before(self.term)
        sending.bytes_max = welcome["operation_bytes_max"]
        self._heard_waiting("")
        if again:
            for topic in dask_client.topics(self.client):
                words = {"op": "subscribe-topic", "topic": topic}
                dask_client.say(stream, {**words, "client": self.client.id})
        sending.resume()
        for message in dask_client.kept_for_later(self.client):
            dask_client.say(stream, message)
        if again:
            self._ask_states(stream)
        else:
            self._become(Mode.DURABLE)
        if again and term != self.term:
            self._tell(stream)

    def _tell(self, stream: Any) -> None:
        """Somebody else leads: tell those who want to know."""
        now = asyncio.get_running_loop().time()
        without_s = now - (self._lost_at if self._lost_at is not None else now)
        node = dask_client.greeting_of(stream).get("node", "")
        for hears in self.leader_heard:
            try:
                hears(self.term, f"{self.cluster}/{node}", without_s)
            except Exception:
                logger.exception("somebody who wants to know of leaders failed")

    def _ask_states(self, stream: Any) -> None:
        """What has come of the futures meanwhile."""
        begun = self.sending.outbox.begun
        keys = [key for key in dask_client.unfinished(self.client) if not begun(key)]  # type: ignore[arg-type]
        for start in range(0, len(keys), _STATES_MAX):
            some = keys[start : start + _STATES_MAX]
            dask_client.say(stream, client_words.states(some))

    def _become(self, mode: Mode) -> None:
        self.mode = mode
        if self.durable:
            self._watching = asyncio.create_task(
                watch(self.client, lambda: self.term if self.sending.live else None),
                name="dtf-client-watch",
            )
            self.client.scheduler = AskingAgain(
                self.client.scheduler,
                client=self.client.id,
                flush=lambda: self.client._flush(None),
                patience_s=self.patience_s(),
            )
        early, self._early = self._early, []
        for message in early:
            if self.durable:
                self.sending.give(message)
            else:
                dask_client.say(dask_client.stream_of(self.client), message)

    async def reconnect(self) -> None:
        """The connection broke: look for whoever leads now, and go on with it."""
        self.sending.live = False
        self._lost_at = asyncio.get_running_loop().time()
        await client_reconnecting.reconnect(
            self.client, self.patience_s(), self.give_up
        )

    def give_up(self, error: Exception) -> None:
        """There is no way back for this client: its futures say so."""
        pending = self.sending.pending
        why = f"{error}. {pending} operations of this client are in no ledger."
        logger.error("This client gives up: %s", why)
        self.sending.end(str(error))
        # Without a word: of two clients with one id the other goes on.
        dask_client.drop_stream(self.client)
        dask_client.cancel_all(self.client, "scheduler-connection-lost", why)

    def _say(self, message: Mapping[str, Any]) -> bool:
        return dask_client.say(dask_client.stream_of(self.client), message)

    def _fail(self, key: Hashable, error: BaseException) -> None:
        dask_client.fail(self.client, key, error)

    # -- what the scheduler says -------------------------------------------------------

    def _heard_welcome(self, **welcome: Any) -> None:
        """It says it once, before all else; again, only what it has is of interest."""
        self._heard_ack(welcome["seen"])

    def _heard_ack(self, upto: int) -> None:
        try:
            self.sending.acknowledged(upto)
        except ProtocolError as error:
            logger.error("The scheduler acknowledges what was never said: %s", error)
        begun = self.sending.outbox.begun
        if acked := [key for key in self._doubted if not begun(key)]:
            self._doubted.difference_update(acked)
            self._say(client_words.states(acked))

    async def _heard_refused(self, seq: int, why: str, keys: Collection[Any]) -> None:
        if not seq:
            self.give_up(replaced(why))
            await self.client._close(fast=True)
            return
        given = self.sending.refused(seq, why)
        failing = keys or (given.keys if given else ())
        for key in failing:
            self._fail(key, TaskRefusedError(why))
        if not failing:
            logger.warning("The scheduler refused something: %s", why)

    def _heard_waiting(self, why: str) -> None:
        was, self.waiting = self.waiting, why
        if why:
            logger.warning("What is submitted waits: %s", why)
        elif was:  # as loud as what it ends, or people think that it goes on
            logger.warning("What is submitted waits no more")

    def _heard_cancelled(
        self, keys: Collection[Any], reason: str | None = None, msg: str | None = None
    ) -> None:
        # What is said of a task comes after the ack of its submission: before that,
        # another task of its key is meant. But Dask may say it while a large submission
        # is acted on: so it is asked what there is.
        begun = self.sending.outbox.begun
        self._doubted.update(key for key in keys if begun(key))
        keys = [key for key in keys if not begun(key)]
        if reason not in (client_words.LOST, dask_client.FORGOTTEN):
            self._cancelled(keys=keys, reason=reason, msg=msg)
            return
        for key in keys:
            self._fail(key, TaskLostError(msg or f"{key!r} is lost with its worker"))
