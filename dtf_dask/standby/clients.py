"""Clients of a scheduler that may die: who they are, and what becomes of their wishes.

A client's wishes outlive its stream, for a while: it comes back, to this leader or to
the next one, says again what is not in the ledger yet, and asks what it has missed. Its
wishes end when it says so, or does not come back in time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from inspect import isawaitable
from typing import Any

from distributed import Scheduler
from distributed.batched import BatchedSend
from distributed.comm.core import CommClosedError

from dtf_dask.durable import client_words as words
from dtf_dask.durable import operations
from dtf_dask.durable.operations import OPERATION_BYTES_MAX, encode_operation
from dtf_dask.errors import TaskRefusedError
from dtf_dask.standby import dask_clients
from dtf_dask.standby.applying import FIRE_AND_FORGET
from dtf_dask.standby.client_lines import (
    PREFIX,
    ClientLine,
    Then,
    id_wrong,
    read_record,
)
from dtf_dask.standby.client_session import Session
from dtf_dask.standby.durability import Durability
from dtf_dask.standby.entries import Asked
from dtf_dask.standby.plain_clients import PlainClients
from dtf_dask.standby.raw_graphs import tell_failed
from dtf_dask.submission.table import key_fault

logger = logging.getLogger(__name__)


class Clients:
    """All clients of a scheduler that leads.

    Parameters
    ----------
    grace_s
        How long wishes outlive a stream that broke.
    raw_graphs
        Whose graphs are opened that are no tables: see `raw_graphs`.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        durability: Durability,
        cluster: str,
        grace_s: float,
        raw_graphs: str,
    ) -> None:
        self._scheduler = scheduler
        self._durability = durability
        self._cluster = cluster
        self._grace_s = grace_s
        self._sessions: dict[str, Session] = {}
        self._lines: dict[str, ClientLine] = {}
        self._away: dict[str, asyncio.TimerHandle] = {}
        self._leaving: set[str] = set()
        self._states_wait: list[Callable[[], None]] | None = []
        self._hears: dict[str, Callable[..., Any]] = {
            words.HELLO: self._hello,
            words.DURABLE: self._durable,
            words.STATES: self._states,
            "report-key": self._reports,
            "close-client": self._closes,
        }
        self._plain = PlainClients(durability, raw_graphs, self._line)

    def install(self) -> None:
        """Have the scheduler let clients in this way; before it listens."""
        self._scheduler.handlers["register-client"] = self.add_client
        self._scheduler.handlers["retry"] = self._plain.retry
        for key, value in self._durability.records(PREFIX):
            client = key.removeprefix(PREFIX)
            token, seen = read_record(value)
            self._line(client, token, seen)
            # One of Dask's own cancels all its futures when its scheduler is gone.
            self._leaves_in(client, self._grace_s if token else 0.0)

    def tell_states(self) -> None:
        """It is known by now what there is: answer what was asked before."""
        waiting, self._states_wait = self._states_wait or (), None
        for answer in waiting:
            answer()

    def tell_waiting(self, why: str) -> None:
        """Tell all clients that operations wait, or wait no longer."""
        for session in self._sessions.values():
            if session.greeted:
                session.say(words.waiting(why))

    async def add_client(
        self, comm: Any, client: str, versions: dict[str, Any]
    ) -> None:
        """A client registers; returns when its stream ends."""
        comm.name = "Scheduler->Client"
        if wrong := id_wrong(client):
            logger.warning("a client is refused: %s", wrong)
            comm.abort()
            return
        while client in self._leaving:
            await self._durability.settled()
        back = self._back(client)
        stream = BatchedSend(interval="2ms", loop=self._scheduler.loop)
        session = Session(client, comm, stream)
        try:
            await comm.write([dask_clients.stream_start(self._scheduler, versions)])
            stream.start(comm)
            if client not in self._sessions:
                self._enter(session, versions)
            await self._listen(session)
        except CommClosedError:
            pass
        finally:
            self._left(session)
            if back and client not in (*self._sessions, *self._away, *self._leaving):
                self._leaves_in(client, self._grace_s)  # it did not get that far
            await dask_clients.end_stream(comm, stream)

    def _back(self, client: str) -> bool:
        """A client that was away need not leave; whether it was."""
        timer = self._away.pop(client, None)
        if timer is not None:
            timer.cancel()
        return timer is not None

    def _enter(self, session: Session, versions: dict[str, Any] | None = None) -> None:
        client = session.client
        self._back(client)
        session.entered = True
        self._sessions[client] = session
        dask_clients.enter_client(self._scheduler, client, session.stream, versions)

    async def _listen(self, session: Session) -> None:
        handlers = self._scheduler.stream_handlers
        while True:
            found = await session.comm.read()
            for message in found if isinstance(found, tuple | list) else (found,):
                op = message.pop("op", None)
                if op == "close-stream":
                    return
                client = message.setdefault("client", session.client)
                shared = client == FIRE_AND_FORGET and op in _OF_ALL
                if client != session.client and not shared:
                    self._turn_away(session, f"it speaks for client {client!r}")
                    return
                answer = None
                if op in self._hears:
                    session.is_dtfs |= op in words.OPS
                    answer = self._hears[op](session, **message)
                elif op in self._plain.hears:
                    if not session.entered or self._is_unproven(session):
                        self._refuse(session, _ANOTHER)
                    else:
                        self._plain.hears[op](session, **message)
                elif op in dask_clients.OF_WORKERS:
                    self._turn_away(session, f"it says {op!r}, as only workers do")
                    return
                elif op == "heartbeat-client" and not session.entered:
                    continue  # it says who it is in a moment
                elif session.entered:
                    answer = handlers[op](**message)
                else:
                    self._turn_away(session, _ANOTHER)
                    return
                if isawaitable(answer):
                    await answer
                if session.comm.closed():
                    return
            await asyncio.sleep(0)

    def _left(self, session: Session) -> None:
        """A stream ended."""
        client = session.client
        if self._sessions.get(client) is not session:
            return  # an old one, or one of another: the client's is there
        del self._sessions[client]
        dask_clients.leave_client(self._scheduler, client, session.stream)
        line = self._lines.get(client)
        # One of dtf whose stream broke before it could say so is one all the same.
        is_dasks = not session.greeted and (line is None or not line.token)
        if session.leaves or is_dasks:
            self._leave(client)
        else:
            self._leaves_in(client, self._grace_s)

    def _leaves_in(self, client: str, grace_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._away[client] = loop.call_later(grace_s, self._leave, client)

    def _leave(self, client: str) -> None:
        """A client's wishes end."""
        self._away.pop(client, None)
        line = self._lines.get(client)
        if client in self._leaving:
            return
        self._leaving.add(client)

        def gone() -> None:
            packed = encode_operation(operations.CLIENT_GONE, client)
            self._durability.ask(
                Asked(
                    operations.decode_operation(packed),
                    packed,
                    asker=Then(lambda: self._forget(client)),
                    record=(PREFIX + client, None),
                )
            )

        if line is None:
            gone()
        else:
            line.leave(gone)  # after all that it asked before

    def _forget(self, client: str) -> None:
        self._leaving.discard(client)
        line = self._lines.pop(client, None)
        if line is not None:
            line.close()

    # What clients say.

    def _hello(self, session: Session, client: str, token: Any, version: Any) -> None:
        line = self._lines.get(client)
        seen = line.acked if line is not None else 0
        term, cluster = self._durability.term, self._cluster
        session.answer(words.welcome(term, seen, cluster, OPERATION_BYTES_MAX))
        if version != words.VERSION:
            self._refuse(
                session,
                f"it speaks version {version!r}, and this cluster {words.VERSION}: run"
                " the same version of dtf on both",
            )
            return
        if type(token) is not str or not 1 <= len(token) <= words.TOKEN_CHARS_MAX:
            self._refuse(session, "a client's token is a text")
            return
        if line is not None and line.token != token:
            self._refuse(session, _ANOTHER)
            return
        if not session.entered:
            before = self._sessions[client]
            if line is None and not before.greeted:
                self._refuse(session, _ANOTHER)
                return
            self._enter(session)
            before.comm.abort()
        session.greeted = True
        self._line(client, token, 0)

    def _durable(self, session: Session, client: str, seq: Any, operation: Any) -> None:
        if not (session.greeted and session.entered):
            self._refuse(session, "it did not say who it is")
        elif type(seq) is not int or type(operation) is not bytes:
            self._refuse(session, "it asks what is no operation")
        else:
            why = self._lines[client].take(seq, operation)
            if why:
                self._refuse(session, why)

    def _states(self, session: Session, client: str, keys: Any) -> None:
        if not (session.greeted and session.entered):
            self._refuse(session, "it did not say who it is")
            return
        if type(keys) not in (list, tuple) or any(map(key_fault, keys)):
            self._refuse(session, "it asks for what are no keys")
            return

        def answer() -> None:
            unknown = []
            for key in keys:
                ts = self._scheduler.tasks.get(key)
                if ts is None:
                    unknown.append(key)
                elif ts.state in ("memory", "erred"):
                    self._scheduler.report_on_key(ts=ts, client=client)
            if unknown:
                session.say(words.lost(unknown))

        def when_known() -> None:
            if self._states_wait is None:
                answer()
            else:
                self._states_wait.append(answer)

        self._lines[client].then(when_known)

    def _reports(self, session: Session, client: str, key: Any) -> None:
        """A client could not get a value, of which it had heard that it is there."""
        if session.greeted and session.entered:
            self._states(session, client, [key])
        elif session.entered:
            self._scheduler.report_on_key(key, client=client)

    def _closes(self, session: Session, client: str) -> None:
        session.leaves = not self._is_unproven(session)

    def _is_unproven(self, session: Session) -> bool:
        """Whether it has the id of one of dtf, and has not shown that it is it."""
        line = self._lines.get(session.client)
        return not session.greeted and line is not None and bool(line.token)

    def _line(self, client: str, token: str = "", seen: int = 0) -> ClientLine:
        line = self._lines.get(client)
        if line is None:

            def told(what: str, *body: Any) -> None:
                session = self._sessions.get(client)
                if session is not None and session.greeted:
                    session.answer(_TOLD[what](*body))
                elif session is not None and what == "refused":
                    _, why, keys = body
                    tell_failed(session.say, keys, TaskRefusedError(why))

            line = ClientLine(client, token, seen, self._durability, told)
            self._lines[client] = line
        return line

    def _turn_away(self, session: Session, why: str) -> None:
        """Tell a client that it had better not come back."""
        logger.warning("client %s is refused: %s", session.client, why)
        if session.is_dtfs:  # one of Dask's own does not know the word
            session.say(words.refused(0, why, ()))

    def _refuse(self, session: Session, why: str) -> None:
        """Turn a client away, and end its stream."""
        self._turn_away(session, why)
        dask_clients.soon(
            self._scheduler, dask_clients.end_stream, session.comm, session.stream
        )


_ANOTHER = "another client of the same id is there"
_TOLD: dict[str, Callable[..., dict[str, Any]]] = {
    "ack": words.ack,
    "refused": words.refused,
    "waiting": words.waiting,
}
_OF_ALL = frozenset({"client-desires-keys", "client-releases-keys"})
"""What any client may say of `FIRE_AND_FORGET`."""
