"""One seed from its beginning to the rest that must come in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from dtf_dask.ha.raft.messages import ConfigChange, ConfigState, NodeId
from simulation.invariants import Violation, majority
from simulation.member import Member
from simulation.profile import Profile, drawn
from simulation.troubles import Troubles
from simulation.world import World

_CHECK_EVERY = 4.0
_REST_WITHIN = 400.0


@dataclass(frozen=True, slots=True)
class SeedReport:
    """What happened under a seed that broke no rule.

    ``counts`` says how often what happened; ``came_to_rest`` is False where so many
    disks were damaged that nobody could lead, or where a leader that was removed was
    the only one to know that and is down (see `_is_known`).
    """

    steps: int
    committed: int
    elections: int
    operations: int
    came_to_rest: bool
    counts: dict[str, int]


def run_seed(
    seed: int,
    tell: Callable[[str], None] | None = None,
    profile: Profile | None = None,
) -> SeedReport:
    """Run one seed; `Violation` if a rule is broken.

    Parameters
    ----------
    seed : int
        The same one gives the same run.
    tell : callable, optional
        Takes each line of what happens.
    """
    profile = profile or drawn(Random(f"{seed} profile"))
    world = World(seed, profile, tell)
    world.say(str(profile))
    world.at(0.0, world.clients.act)
    world.at(profile.trouble_every, Troubles(world).make)
    world.run_until(profile.adversity)
    rested = _heal(world)
    world.clients.check_history()
    answered = Counter(operation.kind for operation in world.clients.history)
    return SeedReport(
        world.steps,
        world.invariants.commit,
        len(world.invariants.leaders),
        len(world.clients.history),
        rested,
        dict(world.counts + answered),
    )


def _heal(world: World) -> bool:
    """No trouble from now on: the group must come to agree and to answer."""
    world.healed = True
    world.cut = set()
    world.say("the world heals")
    # What arrived at a node that was paused is seen when that was to be over.
    old_until = max(one.paused_until for one in world.members.values())
    for member in world.members.values():
        member.paused_until = 0.0
    asked: dict[NodeId, list[int]] = {}
    end = world.now + _REST_WITHIN
    while world.now < end:
        config = world.newest_config()
        if not _can_lead(world, config):
            return False
        _run_members(world, config)
        world.run_until(world.now + _CHECK_EVERY)
        if _agree(world) and _answered(world, asked):
            _stays_so(world, old_until)
            return True
    if not _is_known(world):
        world.counts["removal unknown"] += 1
        return False
    held = ", ".join(str(one) for one in world.members.values())
    raise Violation(
        f"no rest: {_REST_WITHIN} ticks after all trouble, members"
        f" {world.newest_config()} of {held} do not agree or answer"
    )


def _stays_so(world: World, old_until: float) -> None:
    """Undisturbed, a leader goes on to lead, though perhaps one node is down."""
    profile = world.profile
    if profile.heartbeat_ticks > 1 or world.seed % 3:
        return  # slow heartbeats and fast clocks: followers may run out of patience
    # What was sent before the world healed may still depose somebody when it arrives.
    world.run_until(max(world.now, old_until) + 2 * profile.delay_tail)
    for _ in range(20):
        if _agree(world):
            break
        world.run_until(world.now + _CHECK_EVERY)
    leader = world.leaders()[-1]
    term = leader.core.term
    voters = world.newest_config().voters
    others = [one for one in _living(world) if one is not leader and one.id in voters]
    if len(voters) > 2 and len(others) == len(voters) - 1:
        world.crash(others[0])
    world.run_until(world.now + 4 * profile.election_ticks)
    leaders = world.leaders()
    if not leaders or leaders[-1] is not leader or leader.core.term != term:
        raise Violation(f"no rest: {leader} led term {term} and does not any more")


def _is_known(world: World) -> bool:
    """Whether anybody who runs, and may be asked, knows of the newest configuration.

    A leader steps down when it has applied its own removal. If all it said of that is
    lost, and the others need its vote by the old configuration, it tells them when they
    ask for that; but not where it is down. Learners are not asked.
    """
    config = world.newest_config()
    return any(
        one.node is not None
        and one.registers.config == config
        and one.id not in config.learners
        for one in world.members.values()
    )


def _can_lead(world: World, config: ConfigState) -> bool:
    def alive(node: NodeId) -> bool:
        return node in world.members and not world.members[node].disk.damaged

    return majority(config.voters, alive) and (
        not config.voters_outgoing or majority(config.voters_outgoing, alive)
    )


def _run_members(world: World, config: ConfigState) -> None:
    """Members run; others are stopped where they could disturb. Joint ones are left."""
    needed = {*config.voters, *config.learners, *config.voters_outgoing}
    disturb = _others_are_stopped(world)
    for member in world.members.values():
        if member.id in needed:
            world.start(member)
        elif disturb:
            world.crash(member)
    leaders = world.leaders()
    if leaders and config.voters_outgoing and not config.auto_leave:
        assert leaders[-1].node is not None
        leaders[-1].node.propose_change(ConfigChange())
        world.drain(leaders[-1])


def _others_are_stopped(world: World) -> bool:
    """Whether nodes that are no members would disturb the others."""
    profile = world.profile
    harmless = profile.pre_vote and profile.check_quorum
    return not (harmless and profile.step_down_on_removal)


def _living(world: World) -> list[Member]:
    config = world.newest_config()
    needed = (*config.voters, *config.learners)
    return [
        world.members[node]
        for node in needed
        if node in world.members and not world.members[node].disk.damaged
    ]


def _agree(world: World) -> bool:
    """Whether all members have applied all that their one leader has in its log."""
    leaders = world.leaders()
    if not leaders or world.newest_config().voters_outgoing:
        return False
    last = leaders[-1].core.log.last_index()
    return all(
        one.node is not None
        and one.registers.index == last
        and one.core.log.applied == last
        and one.core.lead == leaders[-1].id
        for one in _living(world)
    )


def _answered(world: World, asked: dict[NodeId, list[int]]) -> bool:
    """Whether each member has answered a write and a read since the world healed."""
    clients = world.clients
    done = True
    for member in _living(world):
        waiting = asked.setdefault(member.id, [])
        if any(number in clients.answered for number in waiting) and (
            any(number in clients.acknowledged for number in waiting)
            or not world.profile.forward_proposals
        ):
            continue
        done = False
        for number in (clients.write(member, b"x"), clients.read(member, b"x")):
            if number is not None:
                waiting.append(number)
    return done
