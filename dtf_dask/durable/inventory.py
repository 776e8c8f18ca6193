"""What a worker brings to a scheduler that does not know it: its inventory. Pure.

It travels in the registration (``extra[KEY]``), as plain msgpack values, and is true
as of that moment: what happens later the worker says in its stream, after it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from dtf_dask.errors import ProtocolError
from dtf_dask.grant import GPUS_MAX
from dtf_dask.submission.table import KEY_DEPTH_MAX, Key, key_fault, shown

_T = TypeVar("_T")

KEY = "dtf-inventory"
"""Under which a registration's ``extra`` has it."""
VERSION = 2
"""2 says of which making each task is, and can open what a scheduler sends by then."""
TASKS_MAX = 4_000_000
NUMBER_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Held:
    """A result in a worker's memory."""

    key: Key
    nbytes: int
    typename: str
    run_id: int
    """Under which it was made, or -1 if it was fetched from elsewhere, or scattered."""
    made: int = 0
    """The mark of the task's making; see `dtf_dask.durable.makings`."""


@dataclass(frozen=True, slots=True)
class Running:
    """An attempt that has begun.

    Parameters
    ----------
    seceded
        Whether it has left its thread to others (Dask's state ``long-running``).
    gpus
        The devices it was granted, as `dtf_dask.grant` names them.
    """

    key: Key
    run_id: int
    for_s: float
    seceded: bool
    gpus: tuple[int | str, ...] = ()
    made: int = 0


@dataclass(frozen=True, slots=True)
class Erred:
    """An attempt that failed, whose scheduler may not have heard of it.

    ``exception`` and ``traceback`` are what Dask's worker would have sent: the header
    and frames of `distributed.protocol.Serialize`, packed, which only clients open.
    """

    key: Key
    run_id: int
    exception: bytes
    traceback: bytes
    exception_text: str
    traceback_text: str
    made: int = 0


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a worker has.

    Parameters
    ----------
    server_id
        The worker's, made anew with each process: its incarnation.
    term
        Of the scheduler that it served last; 0 if it served none.
    actors
        Keys in ``memory`` that are actors.
    parting
        Attempts that a scheduler took back and that go on all the same, for a thread
        cannot be ended. The worker drops their results; they are in no other column.
    """

    server_id: str
    term: int
    memory: tuple[Held, ...]
    running: tuple[Running, ...]
    erred: tuple[Erred, ...]
    actors: tuple[Key, ...] = ()
    parting: tuple[Running, ...] = ()

    def words(self) -> dict[str, Any]:
        """As it travels."""
        return {
            "version": VERSION,
            "server_id": self.server_id,
            "term": self.term,
            "memory": [
                (one.key, one.nbytes, one.typename, one.run_id) for one in self.memory
            ],
            "running": list(map(_begun, self.running)),
            "erred": [
                (
                    *(one.key, one.run_id, one.exception, one.traceback),
                    *(one.exception_text, one.traceback_text),
                )
                for one in self.erred
            ],
            "actors": list(self.actors),
            "parting": list(map(_begun, self.parting)),
            "made": [
                [one.made for one in column]
                for column in (self.memory, self.running, self.erred)
            ],
        }


def read_inventory(words: Any) -> Inventory:
    """What `Inventory.words` made, after its travel.

    Raises
    ------
    ProtocolError
        It is something else, or over a limit.

    Examples
    --------
    >>> said = Inventory("w-1", 3, (Held("x", 8, "int", 5),), (), ())
    >>> read_inventory(said.words()) == said
    True
    """
    if not isinstance(words, Mapping):
        raise ProtocolError("this is no inventory")
    if words.get("version") != VERSION:
        raise ProtocolError(
            f"an inventory of version {shown(words.get('version'))}, and this process"
            f" reads {VERSION}: run the same version of dtf on both"
        )
    try:
        names = ("memory", "running", "erred", "actors", "parting")
        columns = [words[name] for name in names]
        if not all(isinstance(column, list | tuple) for column in columns):
            raise ValueError("a column is no list")
        if sum(map(len, columns)) > TASKS_MAX:
            raise ValueError(f"more than {TASKS_MAX} tasks")
        memory, running, erred, actors, parting = columns
        made_memory, made_running, made_erred = (
            list(map(_number, marks)) for marks in words["made"]
        )
        return Inventory(
            _typed(str, words["server_id"]),
            _number(words["term"]),
            tuple(
                Held(
                    _key(key), _number(size), _typed(str, name), _number(run, -1), mark
                )
                for (key, size, name, run), mark in zip(
                    memory, made_memory, strict=True
                )
            ),
            tuple(
                _running(row, mark)
                for row, mark in zip(running, made_running, strict=True)
            ),
            tuple(
                _erred(row, mark) for row, mark in zip(erred, made_erred, strict=True)
            ),
            tuple(map(_key, actors)),
            tuple(map(_running, parting)),
        )
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise ProtocolError(f"an inventory that makes no sense: {error}") from error


def _begun(one: Running) -> tuple[Any, ...]:
    return one.key, one.run_id, one.for_s, one.seceded, one.gpus


def _running(row: Any, made: int = 0) -> Running:
    key, run, for_s, seceded, gpus = row
    seconds = float(for_s)
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{shown(for_s)} are no seconds")
    if not isinstance(gpus, list | tuple) or len(gpus) > GPUS_MAX:
        raise ValueError(f"not up to {GPUS_MAX} devices")
    if not all(type(one) in (int, str) for one in gpus):
        raise ValueError("a device that has neither an id nor a number")
    return Running(
        _key(key), _number(run), seconds, _typed(bool, seceded), tuple(gpus), made
    )


def _erred(row: Any, made: int) -> Erred:
    key, run, exception, traceback, exception_text, traceback_text = row
    return Erred(
        _key(key),
        _number(run),
        _typed(bytes, exception),
        _typed(bytes, traceback),
        _typed(str, exception_text),
        _typed(str, traceback_text),
        made,
    )


def _key(key: Any) -> Key:
    if type(key) is list:  # as some readers of msgpack make of a tuple
        key = _tupled(key, KEY_DEPTH_MAX)
    if why := key_fault(key):
        raise ValueError(f"the key {shown(key)} {why}")
    found: Key = key
    return found


def _tupled(key: Any, depth: int) -> Any:
    if type(key) is not list:
        return key
    if not depth:
        raise ValueError(f"a key is nested deeper than {KEY_DEPTH_MAX}")
    return tuple(_tupled(part, depth - 1) for part in key)


def _number(value: Any, least: int = 0) -> int:
    if type(value) is not int or not least <= value <= NUMBER_MAX:
        raise ValueError(f"{shown(value)} is no number from {least} on")
    return value


def _typed(kind: type[_T], value: Any) -> _T:
    if type(value) is not kind:
        raise ValueError(f"{shown(value)} is no {kind.__name__}")
    return value
