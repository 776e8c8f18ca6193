"""Results of runs as records of the ledger: taken by who leads, kept by every node.

A portion (`dtf_dask.runs.results.portions`) is a record until each node has it in its
own results store, or until there are so many of them that the oldest go.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import quote, unquote

from dtf_dask.errors import ProtocolError
from dtf_dask.runs.results.portions import PORTION_BYTES_MAX

logger = logging.getLogger(__name__)

PREFIX = "x/results/"
BYTES_MAX = 64 * 2**20
"""Of all such records: a node that is away for longer than these take lacks some."""
RUN_ID_CHARS_MAX = 200
_NUMBER_MAX = 10**8
_FEED = re.compile(r"[0-9a-f]{1,32}")


class Durability(Protocol):
    """The ledger, as the scheduler that leads has it."""

    async def keep(self, records: Mapping[str, bytes | None]) -> None:
        """Write records, or delete them; over when that is committed."""
        ...

    def keep_lazily(self, records: Mapping[str, bytes | None]) -> None:
        """Write records some time."""
        ...

    def records(self, prefix: str) -> list[tuple[str, bytes]]:
        """Those that begin so, as of now."""
        ...


def record_key(run: str, feed: str, number: int) -> str:
    """The key of one portion of a run, numbered by the feed that it came from.

    Raises
    ------
    ProtocolError
        If it can be none.

    Examples
    --------
    >>> record_key("20260101-1", "7fa0", 3)
    'x/results/20260101-1/7fa0/00000003'
    """
    if type(feed) is not str or not _FEED.fullmatch(feed):
        raise ProtocolError(f"no name of a feed: {feed!r:.100}")
    if type(run) is not str or not 0 < len(run) <= RUN_ID_CHARS_MAX:
        raise ProtocolError(f"no id of a run: {run!r:.100}")
    if type(number) is not int or not 0 < number < _NUMBER_MAX:
        raise ProtocolError(f"no number of a portion: {number!r:.100}")
    return f"{PREFIX}{quote(run, safe='')}/{feed}/{number:08}"


def run_of(key: str) -> str:
    """The run that a portion is of, by its key.

    Examples
    --------
    >>> run_of(record_key("a/b c", "7fa0", 3))
    'a/b c'
    """
    return unquote(key.removeprefix(PREFIX).partition("/")[0])


class ResultsRecords:
    """What the scheduler does with results that leads.

    Parameters
    ----------
    nodes
        The numbers of all: a record that each of them has may go.
    here
        Told of each record that is committed: this node is to have it, too.
    """

    def __init__(
        self,
        durability: Durability,
        nodes: Iterable[int],
        here: Callable[[Iterable[tuple[str, bytes | None]]], None],
        *,
        bytes_max: int = BYTES_MAX,
    ) -> None:
        self._durability, self._here = durability, here
        self._nodes = frozenset(nodes)
        self._bytes_max = bytes_max
        self._sizes = {key: len(one) for key, one in durability.records(PREFIX)}
        self._held: dict[str, set[int]] = {key: set() for key in self._sizes}
        self._dropped = 0

    @property
    def handlers(self) -> dict[str, Callable[..., Any]]:
        """By the op that clients and nodes say."""
        return {"dtf_results": self.take, "dtf_results_held": self.held}

    async def take(
        self, run: str, feed: str, number: int, portion: bytes
    ) -> dict[str, Any]:
        """A portion of a client: answered when it is committed. Twice is as once."""
        key = record_key(run, feed, number)
        if type(portion) is not bytes or len(portion) > PORTION_BYTES_MAX:
            raise ProtocolError(f"no portion of results, or too long: {key}")
        if key not in self._held:
            await self._durability.keep({key: portion})
            self._sizes[key] = len(portion)
            self._held[key] = set()
            self._here([(key, portion)])
            self._bound()
        return {"status": "OK"}

    async def held(self, node: int, keys: Sequence[str]) -> dict[str, Any]:
        """A node has these in its own store."""
        gone = []
        for key in keys:
            holders = self._held.get(key)
            if holders is not None:
                holders.add(node)
                if holders >= self._nodes:
                    gone.append(key)
        self._let_go(gone)
        return {"status": "OK"}

    def _bound(self) -> None:
        """Let the oldest go, if there are too many."""
        size = sum(self._sizes.values())
        gone = []
        for key, length in self._sizes.items():
            if size <= self._bytes_max:
                break
            gone.append(key)
            size -= length
        if gone and not self._dropped:
            lacking = sorted(
                node
                for node in self._nodes
                if not all(node in self._held[key] for key in gone)
            )
            logger.warning(
                "Results of runs leave the ledger before all nodes have them: nodes %s"
                " were away for too long and lack some",
                lacking,
            )
        self._dropped += len(gone)
        self._let_go(gone)

    def _let_go(self, keys: Sequence[str]) -> None:
        if not keys:
            return
        for key in keys:
            del self._sizes[key], self._held[key]
        self._durability.keep_lazily(dict.fromkeys(keys))
        self._here([(key, None) for key in keys])
