"""Brings the files of an attempt from its worker into the artifact store."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dtf_dask.model import ArtifactRef, Attempt


class Fetcher:
    """Fetches files piece by piece, so that no message is large.

    Parameters
    ----------
    ask
        ``await ask(address, op, **arguments)``: a plain message to a worker.
    run_id
        Whose files they are.
    limit_bytes
        Of one file; the rest of it stays behind.
    keep_file
        Takes a local file into the store and returns its digest.
    notice
        Told of files that could not be brought.
    """

    def __init__(
        self,
        ask: Callable[..., Awaitable[Any]],
        run_id: str,
        limit_bytes: int,
        keep_file: Callable[[Path], str],
        notice: Callable[[str], None],
    ) -> None:
        self._ask, self._run_id, self._limit = ask, run_id, limit_bytes
        self._keep_file, self._notice = keep_file, notice

    async def complete(
        self, attempt: Attempt, files: Sequence[dict[str, Any]], address: str
    ) -> Attempt:
        """The attempt with those of its files that could be brought."""
        kept = []
        for file in files:
            try:
                kept.append(await self._bring(file, address))
            except Exception as error:  # Dask passes on refusals as plain ones
                self._notice(f"artifact {file['name']} of {attempt.case_id}: {error}")
        return replace(attempt, artifacts=tuple(kept))

    async def _bring(self, file: dict[str, Any], address: str) -> ArtifactRef:
        with tempfile.NamedTemporaryFile(prefix="dtf-artifact-") as copy:
            size = 0
            while size < self._limit:
                chunk = await self._ask(
                    address,
                    "dtf_blob",
                    run=self._run_id,
                    name=file["file"],
                    offset=size,
                )
                if not chunk:
                    break
                size += copy.write(chunk[: self._limit - size])
            copy.flush()
            digest = await asyncio.to_thread(self._keep_file, Path(copy.name))
        return ArtifactRef(file["name"], digest, size)
