"""A ledger in memory, behind a network that loses, delays and repeats."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

import msgpack

from dtf_dask.errors import PeerUnavailableError
from dtf_dask.ha.ledger.entries import encode_entry
from dtf_dask.ha.ledger.kinds import SESSION_OPEN
from dtf_dask.ha.ledger.outcomes import UNKNOWN, Outcome, not_done
from dtf_dask.ha.ledger.state_machine import Applied, StateMachine


class LossyLedger:
    """Does what it is asked, or not, or later, or once more; and says so, or not.

    Openings of sessions are not repeated: no connection does that by itself, and
    clients take another id for each that they send.

    Parameters
    ----------
    rng
        Decides what becomes of each sending.
    loss : float
        How much of all goes wrong: 0 to 1.
    """

    def __init__(self, rng: Random, loss: float = 0.5) -> None:
        self.state = StateMachine()
        self.loss = loss
        self.late: list[list[bytes]] = []
        """What is still on its way."""
        self.calls = 0
        self.now_ms = 0
        self._rng = rng

    async def propose(
        self, commands: Sequence[bytes], timeout_s: float
    ) -> list[Outcome]:
        """Have commands done, as the network pleases."""
        rng, sent = self._rng, list(commands)
        self.calls += 1
        await asyncio.sleep(rng.choice([0, 0, 0.0005]))
        while self.late and rng.random() < 0.3:
            self.apply(self.late.pop(rng.randrange(len(self.late))))
        if rng.random() >= self.loss:
            outcomes = self.apply(sent)
            if rng.random() < self.loss and not _opens(sent[0]):
                self.late.append(sent)
            await asyncio.sleep(0)
            return outcomes
        way = rng.randrange(5)
        if way == 0:
            return [not_done("this node does not lead")] * len(sent)
        if way == 1:
            self.apply(sent)
        elif way == 2:
            self.late.append(sent)
        elif way == 3:
            self.late.append(sent)
            raise PeerUnavailableError("the connection broke")
        return [UNKNOWN] * len(sent)

    def apply(self, commands: Sequence[bytes]) -> list[Outcome]:
        """Have an entry applied."""
        self.now_ms += 1
        entry = encode_entry(self.now_ms, commands)
        applied = self.state.apply(self.state.index + 1, entry)
        assert isinstance(applied, Applied)
        return applied.outcomes

    def arrive(self) -> None:
        """All that is on its way comes in."""
        late, self.late = self.late, []
        for commands in late:
            self.apply(commands)


def _opens(packed: bytes) -> bool:
    """Whether a command opens a session."""
    return bool(msgpack.unpackb(packed)[0] == SESSION_OPEN)
