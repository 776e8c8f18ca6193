"""Files of attempts, brought from workers piece by piece."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

from dtf_dask.model import Attempt, CaseId, Outcome
from dtf_dask.runs.artifacts import ArtifactStore
from dtf_dask.runs.fetching import Fetcher

ATTEMPT = Attempt(CaseId("case"), 1, Outcome.PASSED)


def fetch(tmp_path: Path, ask: Any, limit: int = 100) -> tuple[Attempt, list[str]]:
    notices: list[str] = []
    store = ArtifactStore(tmp_path)
    fetcher = Fetcher(ask, "run", limit, store.put_file, notices.append)
    files = [{"name": "out.txt", "file": "0" * 32, "size": 9}]
    return asyncio.run(fetcher.complete(ATTEMPT, files, "worker")), notices


def test_pieces_become_an_artifact(tmp_path: Path) -> None:
    """Pieces are asked for until there is none, and kept under their digest."""
    pieces = {0: b"first", 5: b"last", 9: b""}

    async def ask(address: str, op: str, *, run: str, name: str, offset: int) -> bytes:
        assert (address, op, run, name) == ("worker", "dtf_blob", "run", "0" * 32)
        return pieces[offset]

    attempt, notices = fetch(tmp_path, ask)
    digest = hashlib.sha256(b"firstlast").hexdigest()
    assert [(a.name, a.digest, a.size_bytes) for a in attempt.artifacts] == [
        ("out.txt", digest, 9)
    ]
    with ArtifactStore(tmp_path).open(digest) as kept:
        assert kept.read() == b"firstlast"
    assert notices == []


def test_a_file_is_cut_at_the_limit(tmp_path: Path) -> None:
    """A worker that never stops sending fills no disk."""

    async def ask(*_: Any, **__: Any) -> bytes:
        return b"x" * 60

    attempt, _ = fetch(tmp_path, ask, limit=100)
    assert [artifact.size_bytes for artifact in attempt.artifacts] == [100]


def test_a_refusal_costs_the_file_not_the_attempt(tmp_path: Path) -> None:
    """Whatever goes wrong is told; the attempt is kept without its file."""

    async def ask(*_: Any, **__: Any) -> bytes:
        raise Exception("ValueError: no such file")

    attempt, notices = fetch(tmp_path, ask)
    assert attempt.artifacts == ()
    assert notices == ["artifact out.txt of case: ValueError: no such file"]
