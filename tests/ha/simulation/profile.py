"""How bad the world of one seed is."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Profile:
    """Drawn once for each seed. Times are in ticks of a good clock.

    Parameters
    ----------
    nodes : int
        The first members.
    learners : int
        So many of them only listen.
    adversity : float
        So long things go wrong; then the world heals, and must come to rest.
    loss, duplication : float
        Shares of messages.
    delay, delay_tail, tail : float
        Mean delay of a message; that of a share ``tail`` of them.
    write_time, slow_write_time : float
        Of disks, and of disks that are slow for a while.
    drift : float
        Ticks of clocks last from 1 - drift to 1 + drift.
    trouble_every : float
        Mean time between two troubles.
    client_every : float
        Mean time between two operations of clients.
    weights : dict
        How often each trouble comes, against the others.
    crash_between : float
        Chance of a crash at each point between writing and sending.
    bit_flip : float
        Chance that a crash leaves damage on the disk: the node never starts again.
    snapshot_every : int
        So many applied entries make a snapshot.
    snapshot_on_change : bool
        So does each change of the configuration.
    """

    nodes: int
    learners: int
    adversity: float
    loss: float
    duplication: float
    delay: float
    delay_tail: float
    tail: float
    write_time: float
    slow_write_time: float
    drift: float
    trouble_every: float
    client_every: float
    weights: dict[str, float]
    crash_between: float
    bit_flip: float
    snapshot_every: int
    snapshot_on_change: bool
    async_storage: bool
    check_quorum: bool
    pre_vote: bool
    step_down_on_removal: bool
    forward_proposals: bool
    election_ticks: int
    heartbeat_ticks: int
    message_bytes_max: int
    apply_bytes_max: int
    inflight_messages_max: int
    uncommitted_bytes_max: int
    read_rounds_max: int


_TROUBLES = (
    *("crash", "crash_leader", "restart", "isolate", "one_way", "split", "mend"),
    *("pause", "slow_disk", "transfer", "campaign", "forget", "unreachable"),
    *("change", "leave_joint"),
)


def drawn(rng: Random) -> Profile:
    """A world: most are mild in most respects and harsh in a few."""

    def harsh(mild: float, bad: float, chance: float = 0.3) -> float:
        return rng.uniform(mild, bad) if rng.random() < chance else mild

    weights = {name: rng.choice((0.0, 1.0, 1.0, 3.0)) for name in _TROUBLES}
    weights["restart"] = 3.0
    weights["crash_leader"] += 1.0
    weights["mend"] = 2.0
    if rng.random() < 0.4:
        weights["change"] = weights["leave_joint"] = 0.0
    nodes = rng.choice((1, 2, 3, 3, 3, 3, 3, 4, 5, 5))
    safe = rng.random() < 0.85
    return Profile(
        nodes=nodes,
        learners=rng.choice((0, 0, 0, 1)),
        adversity=rng.choice((40.0, 60.0, 90.0)),
        loss=harsh(0.0, 0.25),
        duplication=harsh(0.0, 0.2),
        delay=harsh(0.15, 1.5),
        delay_tail=rng.uniform(2.0, 12.0),
        tail=harsh(0.0, 0.15),
        write_time=harsh(0.05, 0.6),
        slow_write_time=rng.uniform(1.0, 6.0),
        drift=harsh(0.02, 0.4),
        trouble_every=rng.uniform(1.5, 8.0),
        client_every=rng.uniform(0.6, 2.0),
        weights=weights,
        crash_between=harsh(0.0, 0.01),
        bit_flip=harsh(0.0, 0.3, 0.15),
        snapshot_every=rng.choice((4, 10, 25, 1_000)),
        snapshot_on_change=rng.random() < 0.3,
        async_storage=rng.random() < 0.7,
        check_quorum=safe or rng.random() < 0.5,
        pre_vote=safe or rng.random() < 0.5,
        step_down_on_removal=rng.random() < 0.7,
        forward_proposals=rng.random() < 0.8,
        election_ticks=rng.randint(4, 8),
        heartbeat_ticks=rng.choice((1, 2)),
        message_bytes_max=rng.choice((1, 60, 10**6)),
        apply_bytes_max=rng.choice((1, 80, 10**6)),
        inflight_messages_max=rng.choice((1, 3, 64)),
        uncommitted_bytes_max=rng.choice((20, 10**6, 10**6)),
        read_rounds_max=rng.choice((1, 64)),
    )
