"""How a client meets the scheduler of a coordinator: who each of them is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from dtf_dask.durable import client_words, dask_client
from dtf_dask.errors import ClientReplacedError, ClientVersionError

_WELCOME_S = 30.0  # for a coordinator's scheduler to say its first words

Message = dict[str, Any]


async def meet(
    stream: Any, token: str, timeout_s: float | None
) -> tuple[Mapping[str, Any], list[Message]]:
    """Say hello; the scheduler's welcome, and what else it has said by then.

    Raises
    ------
    OSError
        The connection broke, or there was no answer.
    ClientVersionError, ClientReplacedError
        It takes nothing of this client.
    """
    dask_client.say_first(stream, client_words.hello(token))
    welcome: Message | None = None
    others: list[Message] = []
    try:
        async with asyncio.timeout(timeout_s or _WELCOME_S):
            while welcome is None:
                for message in await dask_client.heard(stream):
                    if welcome is None and message["op"] == client_words.WELCOME:
                        welcome = message
                    else:
                        others.append(message)
    except TimeoutError:
        raise OSError("the scheduler of a coordinator does not greet") from None
    _check_version(welcome)
    for message in others:
        if message["op"] == client_words.REFUSED and not message["seq"]:
            raise replaced(message["why"])
    return welcome, others


def replaced(why: str) -> ClientReplacedError:
    """The scheduler takes nothing of this client."""
    return ClientReplacedError(f"the cluster takes nothing of it: {why}")


def _check_version(welcome: Mapping[str, Any]) -> None:
    version = welcome["version"]
    if version != client_words.VERSION:
        age = "older" if version > client_words.VERSION else "newer"
        raise ClientVersionError(
            f"this client is {age} than the cluster {welcome.get('cluster', '')!r}: it"
            f" speaks version {client_words.VERSION}, the cluster {version}; run the"
            " same version of dtf on both"
        )
