"""Actions that are asked for here, and done by whoever leads: see `view.actions`.

While nobody leads it is asked again, with the same id: so it is done once, whoever died
in between. Who led until he was asked to hand over cannot answer any more: then it is
the record that says it is done.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dtf_dask.view import feed_words as words
from dtf_dask.view.actions import Asked, id_wrong, read_fields
from dtf_dask.web.problem import refused

PATIENCE_S = 20.0
"""How long it is asked again while nobody leads."""
_AGAIN_S = 0.25
_RETRY_S = 2

ID_HEADER = "Idempotency-Key"


class Acting:
    """What a web process has its node pass on.

    Parameters
    ----------
    say
        Says a word to the node.
    seen
        The record of an action, by its id, if there is one.
    """

    def __init__(
        self,
        say: Callable[[Mapping[str, Any]], None],
        seen: Callable[[str], Mapping[str, Any] | None],
        *,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._say, self._seen, self._patience_s = say, seen, patience_s
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._number = 0

    def heard(self, frame: Mapping[str, Any]) -> None:
        """The node says `answered`."""
        waits = self._waiting.get(frame["number"])
        if waits is not None and not waits.done():
            waits.set_result(frame["answer"])

    async def act(self, asked: Asked) -> tuple[int, dict[str, Any]]:
        """Have it done: the status, and what is to be seen of it.

        Raises
        ------
        RefusedError
            It was not done, or nobody can say whether it was.
        """
        self._not_too_many()
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._patience_s
        answer: Any = None
        while loop.time() < ends_at:
            answer = await self._ask(asked, ends_at - loop.time())
            if answer is not None and answer["status"] != 503:
                break
            await asyncio.sleep(_AGAIN_S)
        if answer is None:
            answer = {"status": 503, "detail": "no scheduler answers that could do it"}
        status, detail = int(answer["status"]), str(answer["detail"])
        if status == 503:
            raise refused(
                *(503, f"{detail}; asked again with {ID_HEADER}: {asked.id} it is"),
                Retry_After=str(_RETRY_S),
            )
        if status >= 400:
            raise refused(status if status in (404, 409) else 409, detail)
        return status, dict(answer["record"])

    async def question(self, asked: Mapping[str, Any], limit_s: float) -> Any:
        """What whoever leads answers to what is no action; None if nobody does in time.

        Raises
        ------
        RefusedError
            Too many ask already.
        """
        self._not_too_many()
        with self._asked(asked) as waits:
            await asyncio.wait([waits], timeout=limit_s)
            return waits.result() if waits.done() else None

    def _not_too_many(self) -> None:
        if len(self._waiting) >= words.ASKED_MAX // 2:
            raise refused(503, "too many wait to be answered", Retry_After="2")

    @contextmanager
    def _asked(self, asked: Mapping[str, Any]) -> Iterator[asyncio.Future[Any]]:
        """Say it, and have what is answered until then."""
        self._number += 1
        number = self._number
        waits = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._say(words.ask(number, asked))
        try:
            yield waits
        finally:
            del self._waiting[number]

    async def _ask(self, asked: Asked, limit_s: float) -> Any:
        """What the node answers, or a record of it; None if there is neither."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + limit_s
        with self._asked(asked.plain()) as waits:
            while (left_s := ends_at - loop.time()) > 0:
                await asyncio.wait([waits], timeout=min(_AGAIN_S, left_s))
                if waits.done() and waits.result() is not None:
                    return waits.result()
                record = self._seen(asked.id)
                if record is not None and asked.is_done(record):
                    return {"status": 200, "detail": "", "record": record}
                if waits.done():
                    break
            return None


def read_action(action: str, id: str | None, kind: str, body: bytes, by: str) -> Asked:
    """What a request asks for.

    Parameters
    ----------
    id
        That of the header, if there is one.
    kind
        The type of the content.
    by
        Who asks.

    Raises
    ------
    RefusedError
        It makes no sense, or a page of another place could have sent it.
    """
    if kind.partition(";")[0].strip().lower() != "application/json":
        # No form of a page of another place can say that, and its scripts only if they
        # were allowed to.
        raise refused(415, "say Content-Type: application/json")
    try:
        said = json.loads(body, parse_constant=_no_number)
        fields = read_fields(action, said)
    except (ValueError, RecursionError) as error:
        raise refused(400, str(error) or "this is no JSON") from None
    if id is None:
        id = secrets.token_hex(8)
    elif wrong := id_wrong(id):
        raise refused(400, f"{ID_HEADER}: {wrong}")
    return Asked(id, action, by, fields)


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")
