"""When a scheduler that leads must end by itself, since it does not know who leads."""

from __future__ import annotations

from dtf_dask.standby.silence import LIMIT_S, LOOK_S, Silence


def test_a_silent_node_is_borne_for_a_while() -> None:
    """Each word of it begins the time anew."""
    silence = Silence(0.0, 0.0)
    now, words = 0.0, []
    for _ in range(3):
        silence.heard()
        for _ in range(int(LIMIT_S / LOOK_S)):
            now += LOOK_S
            words.append(silence.look(now, now / 2))
    assert not any(words)
    assert "its node has said nothing" in silence.look(now + LOOK_S, now)


def test_who_was_stopped_ends_before_it_listens() -> None:
    """Whatever it heard just before: others may have elected one meanwhile."""
    silence = Silence(0.0, 0.0)
    silence.heard()
    assert "did not run for 3.5 s" in silence.look(3.5, 0.01)


def test_who_is_busy_or_starved_is_not_silent() -> None:
    """It could not have heard its node in that time, and had its share of the CPU."""
    silence = Silence(0.0, 0.0)
    assert not silence.look(20.0, 18.0)
    assert not silence.look(40.0, 19.0)
    silence.heard()
    assert not silence.look(42.0, 19.0)
