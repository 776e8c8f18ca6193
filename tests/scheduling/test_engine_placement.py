"""What ran shows which machines suit a test: a preference, by its confidence."""

from __future__ import annotations

from engine_kit import Bench, ask, need

A, B = "cpu.model == 'a'", "cpu.model == 'b'"


def bench_of(threads: int = 1) -> Bench:
    """Two kinds of machine."""
    bench = Bench()
    bench.worker("on-a", threads=threads, facts={"cpu.model": "a"})
    bench.worker("on-b", threads=threads, facts={"cpu.model": "b"})
    return bench


def run(bench: Bench, name: str, where: str, seconds: float) -> None:
    """A task of that name runs there, for so long."""
    key = ("learned", bench.now)
    bench.ready(ask(key, need(where), name=name))
    assert bench.pump() == [key]
    bench.now += seconds
    bench.end(key, duration=seconds)


def test_each_test_goes_where_its_own_runs_were_the_fastest() -> None:
    """Not where most are: of two tests each is faster on the other's slow machine."""
    bench = bench_of()
    for _ in range(5):
        for name, on_a, on_b in (("one", 1.0, 1.8), ("two", 1.8, 1.0)):
            run(bench, name, A, on_a)
            run(bench, name, B, on_b)
    bench.ready(ask("x", name="two"), ask("y", name="one"))
    bench.pump()
    assert bench.where == {"x": "on-b", "y": "on-a"}


def test_an_explanation_tells_the_fastest_kind_and_how_sure_that_is() -> None:
    """Few runs are a hint; with more of them it is surer."""
    sure = []
    for runs in (1, 9):
        bench = bench_of()
        for _ in range(runs):
            run(bench, "t", A, 1.0)
            run(bench, "t", B, 1.8)
        bench.ready(ask("x", name="t"))
        bench.pump()
        found = bench.engine.explain("x", bench.now)
        assert found is not None
        (words,) = (part for part in found.why.split("; ") if "sure" in part)
        assert words.startswith("fastest on a (1 thread), ")
        sure.append(int(words.removesuffix("% sure").rsplit(" ", 1)[1]))
    assert sure[0] < sure[1]


def test_it_is_a_preference_only() -> None:
    """What a task prefers counts more, and a full worker keeps nobody waiting."""
    bench = bench_of()
    for _ in range(9):
        run(bench, "t", A, 1.0)
        run(bench, "t", B, 1.8)
    bench.ready(ask("x", need(prefer=B), name="t"))
    bench.pump()
    assert bench.where == {"x": "on-b"}
    bench.end("x")
    bench.ready(ask("y", name="t"), ask("z", name="t"))
    bench.pump()
    assert bench.where == {"y": "on-a", "z": "on-b"}


def test_scarce_hardware_is_kept_from_flexible_work_that_is_a_bit_faster_there() -> (
    None
):
    """All else busy, it may have it; while others are free it may not."""
    bench = Bench()
    bench.worker("gpu", facts={"cpu.model": "a", "gpu.count": 1})
    for n in range(7):
        bench.worker(f"w{n}", facts={"cpu.model": "b"})
    kinds = {row["name"]: row["kind"] for row in bench.engine.worker_rows(0.0)}
    bench.learn("t", 1.0, kinds["gpu"])
    bench.learn("t", 1.5, kinds["w0"])
    bench.ready(ask("scarce", need("gpu.count >= 1")))
    bench.pump()
    bench.end("scarce")
    bench.ready(*(ask(n, name="t") for n in range(7)))
    assert len(bench.pump()) == 7
    assert "gpu" not in bench.where.values()
    bench.ready(ask("g", need("gpu.count >= 1")))
    assert bench.pump() == ["g"]  # at once
    bench.end("g")
    bench.ready(ask("last", name="t"))
    bench.pump()
    assert bench.where["last"] == "gpu"
