"""How a node stands, for those who look after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dtf_dask.ha.ledger.protocol import Role
from dtf_dask.ha.scheduler_status import SchedulerStatus
from dtf_dask.ha.web_status import WebStatus

if TYPE_CHECKING:
    from dtf_dask.ha.node import Node


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """A node as it sees itself, and its peers if it leads.

    Parameters
    ----------
    node, leader
        Ids; ``leader`` is 0 if none is known.
    role, term, commit, applied, last_index
        In Raft; ``applied`` is that of the state.
    snapshot_index, log_first_index
        Where the newest snapshot stands, and the log begins.
    voters, learners, voters_outgoing
        The members, as of ``applied``.
    lag
        Of each peer: how many entries it lacks. Only where the node leads.
    active
        The peers that the leader hears of.
    quorum_left
        How many voters may fail before there is no majority; -1 if there is none now;
        None where the node does not lead.
    elections
        How often this node was elected since it started.
    sync_p50_s, sync_p99_s
        Of the last syncs of the log.
    metrics
        Where Prometheus reads of it, ``host:port``; empty if nowhere.
    records, held_bytes, sessions, time_ms
        What the state holds.
    contents_bytes, contents_lacking
        What contents take on the disk, and how many have yet to be fetched.
    scheduler, web
        Its scheduler process, and its web process.
    disk_full, removed, not_taken, failure
        What is wrong, in words; empty if nothing is. ``not_taken`` is about a snapshot
        of another node.
    """

    node: int
    leader: int
    role: Role
    term: int
    commit: int
    applied: int
    last_index: int
    snapshot_index: int
    log_first_index: int
    voters: tuple[int, ...]
    learners: tuple[int, ...]
    voters_outgoing: tuple[int, ...]
    lag: dict[int, int]
    active: tuple[int, ...]
    quorum_left: int | None
    elections: int
    sync_p50_s: float
    sync_p99_s: float
    held_bytes: int
    contents_bytes: int
    contents_lacking: int
    sessions: int
    time_ms: int
    metrics: str
    scheduler: SchedulerStatus
    web: WebStatus
    disk_full: str
    removed: str
    not_taken: str
    failure: str

    @classmethod
    def of(cls, node: Node) -> NodeStatus:
        """How a node stands now."""
        raft, state = node.raw.status(), node.state
        others = {peer: one for peer, one in raft.peers.items() if peer != node.node}
        active = {peer for peer, one in others.items() if one.active}
        leads = bool(raft.peers)
        syncs = sorted(node.disk.sync_s)
        return cls(
            node=node.node,
            leader=raft.lead,
            role=role_of(node),
            term=raft.term,
            commit=raft.commit,
            applied=state.index,
            last_index=raft.last_index,
            snapshot_index=node.snapshots.newest.point.index,
            log_first_index=node.storage.first_index(),
            voters=raft.config.voters,
            learners=raft.config.learners,
            voters_outgoing=raft.config.voters_outgoing,
            lag={peer: raft.last_index - one.match for peer, one in others.items()},
            active=tuple(sorted(active)),
            quorum_left=_quorum_left(raft.config, active | {node.node})
            if leads
            else None,
            elections=node.elections,
            sync_p50_s=_percentile(syncs, 50),
            sync_p99_s=_percentile(syncs, 99),
            held_bytes=state.records.held_bytes,
            contents_bytes=node.contents.store.bytes_used,
            contents_lacking=len(node.contents.fetching.missing),
            sessions=len(state.sessions.by_id),
            time_ms=state.time_ms,
            metrics=node.metrics_at,
            scheduler=node.scheduler,
            web=node.web,
            disk_full=node.disk_full,
            removed=node.removed,
            not_taken=node.snapshots.not_taken,
            failure=node.failure,
        )


def role_of(node: Node) -> Role:
    """Its role in Raft; that of a follower without a vote is learner."""
    raft = node.raw.status()
    if node.node in raft.config.learners:
        return "learner"
    role: Role = raft.role.value
    return role


def _quorum_left(config: Any, alive: set[Any]) -> int:
    """The least over the configurations that hold, of what each can still lose."""
    left = [
        len(alive & set(voters)) - (len(voters) // 2 + 1)
        for voters in (config.voters, config.voters_outgoing)
        if voters
    ]
    return max(min(left, default=-1), -1)


def _percentile(ascending: list[float], percent: int) -> float:
    if not ascending:
        return 0.0
    return ascending[min(len(ascending) * percent // 100, len(ascending) - 1)]
