"""Makes workers ready for a run: one version of dtf, the code, an environment alike."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dtf_dask import __version__
from dtf_dask.errors import (
    ClusterUnreachableError,
    EnvironmentMismatchError,
    VersionMismatchError,
)
from dtf_dask.runs.environment import compare, describe
from dtf_dask.runs.snapshot import Snapshot

Ask = Callable[..., Awaitable[Any]]

_MESSAGE_BYTES = 4 * 2**20
_ROUNDS_MAX = 5  # a store that is being cleared may ask again for what it had


@dataclass(frozen=True, slots=True)
class Travel:
    """What workers elsewhere need before they can run the suite.

    ``facts`` are the client's own, ``check`` is what to do about differences:
    "warn", "strict" or "off".
    """

    snapshot: Snapshot
    facts: Mapping[str, Any]
    check: str


class WorkerDoor:
    """Opens workers for one run.

    Parameters
    ----------
    ask
        ``await ask(address, op, **arguments)``: a plain message to a worker.
    spec
        What the worker's plugin is given to open the run.
    travel
        None for workers of this machine, which run the suite where it stands.
    notice
        Told what a person should know.
    """

    def __init__(
        self,
        ask: Ask,
        spec: Mapping[str, Any],
        travel: Travel | None,
        notice: Callable[[str], None],
    ) -> None:
        self._ask, self._travel, self._notice = ask, travel, notice
        self._spec = dict(spec) | {"version": __version__}
        if travel is not None:
            self._spec["snapshot"] = travel.snapshot.manifest.to_bytes()
            self._spec["facts"] = travel.check != "off"

    async def open(self, address: str, name: str) -> str:
        """Make one worker ready; the name of the stream of its events, if it has one.

        Raises
        ------
        VersionMismatchError, EnvironmentMismatchError, ClusterUnreachableError
            When it cannot be.
        """
        for _ in range(_ROUNDS_MAX):
            answer = await self._ask(address, "dtf_open", spec=self._spec)
            missing = self._read(name, answer)
            if not missing:
                try:
                    self._check_environment(name, answer)
                except EnvironmentMismatchError:
                    await self._ask(address, "dtf_close", run=self._spec["run"])
                    raise
                return str(answer.get("stream", ""))
            await self._send(address, name, missing)
        raise ClusterUnreachableError(
            f"worker {name} asks for the same code again and again: is its disk full?"
        )

    def _read(self, name: str, answer: Any) -> list[str]:
        """The digests that a worker lacks; an exception if it cannot be used."""
        if not isinstance(answer, dict):
            raise ClusterUnreachableError(
                f"worker {name} has no dtf: install dtf-dask {__version__} there, or"
                f" start it with `dtf worker` (it answered {answer!r:.200})"
            )
        if answer.get("error") == "version":
            raise VersionMismatchError(
                f"worker {name} runs dtf {answer.get('version')}, this client"
                f" {__version__}: install one version on both"
            )
        if "error" in answer:
            raise ClusterUnreachableError(f"worker {name}: {answer['error']}")
        return list(answer.get("missing", ()))

    async def _send(self, address: str, name: str, digests: list[str]) -> None:
        assert self._travel is not None
        messages = self._travel.snapshot.parts(digests, _MESSAGE_BYTES)
        while (message := await asyncio.to_thread(next, messages, None)) is not None:
            parts = [list(part) for part in message]
            answer = await self._ask(address, "dtf_put", parts=parts)
            if isinstance(answer, dict) and "error" in answer:
                raise ClusterUnreachableError(f"worker {name}: {answer['error']}")

    def _check_environment(self, name: str, answer: dict[str, Any]) -> None:
        travel = self._travel
        if travel is None or travel.check == "off":
            return
        differences = compare(travel.facts, answer.get("facts", {}), None)
        if not differences:
            return
        text = describe(differences, name)
        if travel.check == "strict":
            raise EnvironmentMismatchError(
                f"{text}\nMake them alike, or set dtf.environment.check to warn."
            )
        self._notice(text)
