"""``dtf queue``, ``dtf explain`` and ``dtf workers``, against a real scheduler."""

from __future__ import annotations

import json
import time

import dask
import distributed
import pytest
from distributed import Event
from rich.text import Text

from dtf_dask.cli.main import main
from dtf_dask.cli.queue import headlines
from dtf_dask.cli.terminal_table import note, table, titled
from dtf_dask.client import Client
from dtf_dask.cluster import LocalCluster

NEED = "gpu.count >= 64 and gpu.memory >= '16 GiB' and cpu.features has 'avx512f'"


def through(gate):
    assert Event(gate).wait(300)


@pytest.fixture(scope="module")
def busy():
    """Two threads that are taken, and work of several kinds that waits; its address."""
    config = {
        "dtf.scheduling.prefetch": "0s",
        "dtf.hardware.tokens": {"simulator": 1},
    }
    with (
        dask.config.set(config),
        LocalCluster(
            n_workers=2,
            processes=False,
            protocol="tcp://",
            dashboard_address=None,
        ) as cluster,
        Client(cluster) as client,
    ):
        gate = Event("cli", client=client)
        blockers = client.map(
            through, [gate.name] * 2, pure=False, key=["b-0", "b-1"], memory="1 MiB"
        )
        end = time.monotonic() + 60
        while any(client.explain(one).state != "running" for one in blockers):
            assert time.monotonic() < end
            time.sleep(0.01)
        keep = [
            client.map(
                time.sleep, [0] * 3, pure=False, priority_class="nightly", tenant="ada"
            ),
            client.submit(time.sleep, 0, hardware=NEED, key="train", pure=False),
            client.submit(time.sleep, 0, gang={"name": "duo", "size": 2}, key="duo-0"),
            client.submit(time.sleep, 0, key="last", after="train"),
        ]
        client.explain(keep[-1])
        yield cluster.scheduler_address
        client.cancel([*keep[0], *keep[1:]])
        gate.set()


@pytest.fixture(params=[72, 80, 120])
def columns(request, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(request.param))
    return request.param


@pytest.fixture
def dtf(capsys):
    """Run a command; its exit code, and what it printed on both streams."""

    def run(*argv):
        with pytest.raises(SystemExit) as ended:
            main(list(argv))
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


def fits(out, columns):
    return all(len(line) <= columns for line in out.splitlines())


def test_queue_shows_kinds_of_work_and_what_keeps_them(busy, dtf, columns):
    """A line each, the most urgent first; below it why it cannot run; nothing wraps."""
    code, out, err = dtf("queue", "--address", busy)
    assert (code, err) == (0, "")
    assert fits(out, columns)
    words = " ".join(out.split())
    assert words.startswith("4 tasks wait, 2 held back, 2 running, 2 of 2 threads")
    assert "Tokens in use: simulator 0 of 2." in words
    assert "needs gpu.count >= 64" in words
    assert "Start a worker with" in words
    lines = [line.split()[:3] for line in out.splitlines()]
    assert lines.index(["normal", "default", "1"]) < lines.index(
        ["nightly", "ada", "3"]
    )


def test_queue_is_bounded_and_says_what_it_left_out(busy, dtf):
    """--limit counts kinds of work."""
    code, out, _ = dtf("queue", "--limit", "1", "--address", busy)
    assert code == 0
    assert "nightly" not in out
    assert "and 1 more kind of work" in out
    code, _, err = dtf("queue", "--limit", "0", "--address", busy)
    assert code == 2
    assert "1<=x<=1000" in err


def test_workers_shows_what_is_taken(busy, dtf, columns):
    """Threads, memory, state of each; and what waits for a worker that is not here."""
    code, out, err = dtf("workers", "--address", busy)
    assert (code, err) == (0, "")
    assert fits(out, columns)
    rows = [line for line in out.splitlines() if "1/1" in line]
    assert [row.split()[0] for row in rows] == ["0", "1"]
    assert all("1.0 MiB/" in row and row.endswith("ok") for row in rows)
    assert "GPUs" not in out  # there is none to show
    assert "waits for a worker that is not here" in out


def test_explain_says_why_a_task_waits(busy, dtf, columns):
    """What it needs, what is missing, what to do."""
    code, out, err = dtf("explain", "train", "--address", busy)
    assert (code, err) == (0, "")
    assert fits(out, columns)
    lines = out.splitlines()
    assert lines[0] == "train waits"
    titles = [line[2:9].strip() for line in lines[1:] if line[2] != " "]
    assert titles == ["needs", "cannot", "warning", "to do"]
    assert dtf("explain", "duo-0", "--address", busy)[1].startswith(
        "duo-0 is held back\n"
    )
    assert "runs after train" in dtf("explain", "last", "--address", busy)[1]
    assert dtf("explain", "b-0", "--address", busy)[1].startswith("b-0 runs on worker")


def test_json_is_one_object(busy, dtf):
    """The same, for programs."""
    told = json.loads(dtf("explain", "train", "--json", "--address", busy)[1])
    assert (told["key"], told["state"]) == ("train", "waiting")
    assert told["lacks"][0]["workers"] == 2
    queue = json.loads(dtf("queue", "--json", "--address", busy)[1])
    assert queue["summary"]["waiting"] == 4
    assert queue["rows"][0]["explained"]["state"] == "waiting"
    workers = json.loads(dtf("workers", "--json", "--address", busy)[1])
    assert [row["threads"] for row in workers["workers"]] == [1, 1]
    assert workers["workers"][0]["address"].startswith("tcp://127.0.0.1:")


def test_the_address_may_be_configured(busy, dtf):
    """Dask's own scheduler-address is used where no option is given."""
    with dask.config.set({"scheduler-address": busy}):
        assert dtf("workers")[0] == 0


def test_an_unknown_key_is_an_error(busy, dtf):
    """It says what a key is; those of collections are read as Python writes them."""
    for key in ("nobody", "('x', 0)", "(unclosed", "x" * 2000):
        code, out, err = dtf("explain", key, "--address", busy)
        assert (code, out) == (4, "")
        assert err.startswith("dtf: ")
        assert len(err) < 300


def test_without_a_scheduler_it_is_said_what_to_do(dtf):
    """No address at all; an address where nobody is; one that is none."""
    code, _, err = dtf("queue")
    assert code == 4
    assert "DASK_SCHEDULER_ADDRESS" in err
    with dask.config.set({"dtf.driver.connect-timeout": "300ms"}):
        code, _, err = dtf("workers", "--address", "tcp://127.0.0.1:9")
        assert code == 11, err
        assert "`dtf scheduler`" in err
        for address in ("nonsense://x", "tcp://127.0.0.1:port"):
            code, _, err = dtf("workers", "--address", address)
            assert code == 4, err
            assert f"{address} is no address of a scheduler" in err


def test_a_plain_scheduler_is_said_to_be_one(dtf):
    """A Dask cluster without dtf has none of this to tell."""
    with distributed.LocalCluster(
        n_workers=0,
        processes=False,
        protocol="tcp://",
        dashboard_address="127.0.0.1:0",
    ) as cluster:
        code, _, err = dtf("queue", "--address", cluster.scheduler_address)
    assert code == 30
    assert "does not schedule with dtf" in err


# Tables


def test_a_table_cuts_one_column_only():
    """The others are whole; columns that hold nothing are left out."""
    lines = table(
        ("name", "none", "long", "number"),
        [("w", "", "x" * 50, "1"), (Text("worker"), "", "y", "10")],
        30,
        cut=2,
        right=(3,),
    )
    assert [line.plain for line in lines] == [
        "name    long            number",
        "w       xxxxxxxxxxxxx…       1",
        "worker  y                   10",
    ]


def test_words_wrap_under_themselves_and_keys_stay_whole():
    """A key is to be copied, so it is never cut."""
    key = "k" * 30
    (line,) = titled([("why", f"it runs after {key} and more")], 28)
    assert line.plain.splitlines() == [
        "  why  it runs after",
        f"       {key}",
        "       and more",
    ]
    assert note("a b", 40).plain == "  a b"
    assert titled([], 80) == []


def test_the_head_of_a_table_names_the_last_misses_and_what_is_off():
    """Of deadlines, three at most; and policies that failed, with the reason."""
    misses = [{"key": f"t-{n}", "late_s": 10.0 * n, "ago_s": 90.0} for n in range(1, 6)]
    summary = {
        **dict.fromkeys(("waiting", "held", "running", "threads", "workers"), 1),
        "threads_used": 1.0,
        "pressure": None,
        "deadlines_met": 2,
        "deadlines_missed": 5,
        "misses": misses,
        "policies_disabled": {"flawed": "it raised KeyError: 'x'"},
    }
    assert [line.plain for line in headlines(summary, 200)][1:] == [
        "The policy flawed is switched off: it raised KeyError: 'x'",
        "Deadlines: 2 met, 5 missed.",
        "  t-1 ended 10 s after its deadline, 90 s ago",
        "  t-2 ended 20 s after its deadline, 90 s ago",
        "  t-3 ended 30 s after its deadline, 90 s ago",
    ]


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ("calm", ""),
        ("pressed", "The queue is nearly full: 9 tasks wait and it keeps 10;"),
        ("shedding", "The queue has overflowed: 9 tasks wait and it keeps 10;"),
    ],
)
def test_the_head_of_a_table_says_how_full_the_queue_is(state, shown):
    """In words, while it is not calm."""
    pressure = {"state": state, "waiting": 9, "bound": 10, "pressed_at": 8}
    summary = {
        **dict.fromkeys(("waiting", "held", "running", "threads", "workers"), 1),
        "threads_used": 1.0,
        "pressure": pressure | {"pressure": 0.5, "clear_s": 3.0},
    }
    lines = [line.plain for line in headlines(summary, 200)]
    assert any(line.startswith(shown) for line in lines[1:]) == bool(shown)
    assert len(lines) == (2 if shown else 1)
