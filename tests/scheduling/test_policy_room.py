"""Room is given out so that no more is sent than the bound allows, and in turn."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dtf_dask.scheduler_plugins.policies.room import Level, Room, RoomSettings


def level(waiting: int = 0, bound: int = 100, *, shedding: bool = False) -> Level:
    return Level(waiting, bound, bound * 8 // 10, shedding)


def granted(room: Room, at: Level, now: float = 0.0) -> list[tuple[str, int]]:
    return [(asking.client, count) for asking, count in room.serve(at, now)]


def test_who_asks_for_little_gets_some_more() -> None:
    """A client that submits one by one need not ask for each."""
    room = Room()
    room.ask("a", 1, 1)
    assert granted(room, level()) == [("a", 11)]
    assert room.leased == 11


def test_a_flood_gets_what_is_calm_and_then_little_by_little() -> None:
    """Before the queue is nearly full at once, then an eighth of what is left.

    The last tenth is for urgent work.
    """
    room = Room()
    sizes = {False: [], True: []}
    for urgent in (False, True):
        for _ in range(12):
            room.ask("a", 1000, 1, urgent=urgent)
            sizes[urgent] += [count for _, count in granted(room, level())]
    assert sizes == {False: [80, *[1] * 10], True: [1] * 10}


def test_urgent_work_does_not_stand_behind_other() -> None:
    """It is first, and some room is kept for it."""
    room = Room()
    room.ask("a", 1, 1)
    room.ask("b", 1, 1, urgent=True)
    assert granted(room, level(waiting=95)) == [("b", 1)]
    room.left("b")
    assert granted(room, level(waiting=89)) == [("a", 1)]


def test_first_come_first_served() -> None:
    """What does not fit yet is not overtaken for ever by what is smaller."""
    room = Room()
    for name, least in (("a", 30), ("b", 55), ("c", 1)):
        room.ask(name, least, least)
    assert granted(room, level(waiting=20)) == [("a", 30)]
    assert granted(room, level(waiting=40)) == []
    room.came("a", 30)
    assert [name for name, _ in granted(room, level(waiting=30))] == ["b", "c"]


def test_what_cannot_be_cut_goes_alone_if_it_is_larger_than_all_room() -> None:
    """It waits for an empty queue, not for ever."""
    room = Room()
    room.ask("a", 500, 500)
    assert granted(room, level(waiting=1)) == []
    assert granted(room, level()) == [("a", 500)]


def test_an_overflow_gives_nobody_room() -> None:
    """Until it is over, whatever is free by then."""
    room = Room()
    room.ask("a", 1, 1)
    assert granted(room, level(waiting=71, shedding=True)) == []
    assert granted(room, level(waiting=70)) == [("a", 2)]


def test_room_comes_back_with_time_and_with_the_client_gone() -> None:
    """Neither a client that died nor one that only asked keeps others waiting."""
    room = Room(RoomSettings(lease_s=10.0))
    room.ask("a", 70, 70)
    room.ask("b", 20, 20)
    assert len(granted(room, level())) == 2
    room.ask("a", 1, 1)
    room.ask("c", 20, 20)
    room.left("a")
    assert room.leased == 20
    assert granted(room, level(waiting=65)) == []
    assert granted(room, level(waiting=65), now=10.0) == [("c", 20)]


def test_the_line_is_bounded() -> None:
    """One too many is told to ask again, and a place that was left is free."""
    room = Room(RoomSettings(asking_max=1))
    number = room.ask("a", 1, 1)
    assert number is not None
    assert room.ask("b", 1, 1) is None
    room.withdraw(number)
    assert room.ask("b", 1, 1) is not None


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("ask"), st.sampled_from("abc"), st.integers(1, 60)),
            st.tuples(st.just("press"), st.sampled_from("abc"), st.integers(1, 60)),
            st.tuples(st.just("send"), st.sampled_from("abc"), st.integers(1, 60)),
            st.tuples(st.just("start"), st.just(""), st.integers(1, 60)),
            st.tuples(st.just("leave"), st.sampled_from("abc"), st.just(0)),
            st.tuples(st.just("wait"), st.just(""), st.integers(1, 12)),
        ),
        max_size=60,
    )
)
def test_clients_that_ask_never_fill_the_queue_over_its_bound(
    events: list[tuple[str, str, int]],
) -> None:
    """Whatever they ask, send, and forget; and the account of what may come is right.

    A client sends no more than it was granted, within half the time it holds.
    """
    room, waiting, now = Room(), 0, 0.0
    has: dict[str, list[tuple[int, float]]] = {name: [] for name in "abc"}
    for what, who, number in events:
        if what in ("ask", "press"):
            room.ask(who, number, 1, urgent=what == "press")
        elif what == "send":
            held = [one for one in has[who] if one[1] > now]
            some = min(number, sum(count for count, _ in held))
            waiting += some
            room.came(who, some)
            rest = sum(count for count, _ in held) - some
            has[who] = [(rest, min(until for _, until in held))] if rest else []
        elif what == "start":
            waiting -= min(waiting, number)
        elif what == "leave":
            room.left(who)
            has[who] = []
        else:
            now += number
        for asking, count in room.serve(level(waiting), now):
            has[asking.client].append((count, now + room.lease_s))
        assert waiting + room.leased <= 100
        assert room.leased >= sum(
            count for held in has.values() for count, until in held if until > now
        )
