"""The insides of tasks as bytes: written by clients, opened by workers alone.

Functions stand apart, each once in a table: a thousand calls of one lambda would else
carry it a thousand times, and Dask's scheduler is what made that cheap so far.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from types import FunctionType
from typing import Any

import cloudpickle
from distributed.protocol.pickle import dumps, loads

_PROTOCOL = 5
_MAIN = b"__main__"
"""Who has it in its bytes is of the user's script, which workers do not import."""


class Payloads:
    """Writes the payloads of one table.

    Attributes
    ----------
    functions
        The functions that payloads refer to by number, pickled.
    """

    def __init__(self) -> None:
        self.functions: list[bytes] = []
        self._numbers: dict[FunctionType, int] = {}
        # What comes of modules that are to be pickled by value only Dask's way knows.
        self._apart = not cloudpickle.list_registry_pickle_by_value()

    def write(self, task: Any) -> tuple[bytes, tuple[int, ...]]:
        """A task as bytes, and the numbers of the functions that it refers to.

        Raises
        ------
        Exception
            Whatever the pickling of what a user wrote raises.
        """
        if self._apart:
            file = io.BytesIO()
            pickler = _Pickler(file, self)
            try:
                pickler.dump(task)
            except Exception:
                pass  # what plain pickle does not take, cloudpickle may
            else:
                found = file.getvalue()
                if _MAIN not in found:
                    return found, tuple(pickler.used)
        whole: bytes = dumps(task, protocol=_PROTOCOL)
        return whole, ()

    def number(self, function: FunctionType) -> int:
        """The number of a function, which is pickled if it is new."""
        found = self._numbers.get(function)
        if found is None:
            self.functions.append(dumps(function, protocol=_PROTOCOL))
            found = self._numbers[function] = len(self.functions) - 1
        return found


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, payloads: Payloads) -> None:
        super().__init__(file, protocol=_PROTOCOL)
        self._payloads = payloads
        self.used: dict[int, None] = {}

    def persistent_id(self, obj: Any) -> int | None:
        if type(obj) is not FunctionType:
            return None
        number = self._payloads.number(obj)
        self.used[number] = None
        return number


class _Unpickler(pickle.Unpickler):
    def __init__(self, payload: bytes, functions: Sequence[bytes]) -> None:
        super().__init__(io.BytesIO(payload))
        self._functions = functions

    def persistent_load(self, pid: Any) -> Any:
        if type(pid) is not int or not 0 <= pid < len(self._functions):
            raise pickle.UnpicklingError(f"there is no function {pid!r}")
        return loads(self._functions[pid])


def open_payload(payload: bytes, functions: Sequence[bytes]) -> Any:
    """What `Payloads.write` wrote. It executes what a client sent: in workers only.

    Raises
    ------
    Exception
        Whatever comes of bytes that are no payload, or of what is not importable.
    """
    return _Unpickler(payload, functions).load()
