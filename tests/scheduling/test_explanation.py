"""What the client says of a task: dtf_dask.explanation."""

from __future__ import annotations

from dtf_dask.explanation import Explanation, Lack

ANSWER = {
    "key": ["x", 1],
    "state": "waiting",
    "needs": "gpu.count >= 2",
    "lacks": [{"workers": 3, "reasons": ["has none", "is full"], "example": "w1"}],
    "busy": 1,
    "position": 0,
    "eta_s": 130.0,
    "worker": "",
    "why": "",
    "help": "start a worker with gpu.count >= 2",
    "warning": "needs about 40 min, the deadline is in 10",
    "error": "",
}


def test_an_answer_of_the_scheduler_becomes_words():
    """All that is known is said, each with its title; what is empty is left out."""
    told = Explanation.of(ANSWER)
    assert told.key == ("x", 1)
    assert told.lacks == (Lack(3, "w1", ("has none", "is full")),)
    assert str(told) == (
        "('x', 1) waits\n"
        "  needs     gpu.count >= 2\n"
        "  in front  no task; may start in about 2 min\n"
        "  busy      1 worker could run it and has no room now\n"
        "  cannot    worker w1 and 2 more: has none; is full\n"
        "  warning   needs about 40 min, the deadline is in 10\n"
        "  to do     start a worker with gpu.count >= 2"
    )


def test_states_of_dask_and_of_the_engine_are_one_vocabulary():
    """Users hear of six states, whoever told them."""
    states = {
        "running": "running",
        "processing": "running",
        "no-worker": "waiting",
        "held": "held",
        "memory": "done",
        "erred": "failed",
        "forgotten": "released",
        "unknown": "unknown",
    }
    for state, ours in states.items():
        assert Explanation.of({"key": "k", "state": state}).state == ours
    ran = Explanation.of({"key": "k", "state": "memory", "worker": "w"})
    assert str(ran) == "k is done on worker w"


def test_an_answer_may_say_little():
    """A scheduler of another version leaves things out; nothing is guessed."""
    assert Explanation.of({}) == Explanation(None, "unknown")
    assert str(Explanation("k", "unknown", why="no such task is known")) == (
        "k is unknown to this scheduler"
    )
    assert str(Explanation("k", "waiting", needs="any worker")) == "k waits"
