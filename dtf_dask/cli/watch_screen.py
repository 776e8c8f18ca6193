"""What `dtf watch` shows of a run, as lines that fit a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from dtf_dask.cli.terminal_cells import bar, fits
from dtf_dask.cli.top_screen import OLD_S, outcomes
from dtf_dask.explanation import counted, roughly
from dtf_dask.runs.reports.text import one_line
from dtf_dask.view.records import Record

_STYLES = {"running": "cyan", "passed": "bold green"}


def watched(
    run: Record, now: float, age_s: float, trouble: str, columns: int
) -> Iterator[Text]:
    """The lines.

    Parameters
    ----------
    now
        By the scheduler's clock.
    age_s, trouble
        How old it is, and why there is nothing new.
    """
    done = sum(run["counts"].values())
    planned = max(run["planned"], done)
    took_s = max(0.0, (run["finished_at"] or now) - run["started_at"])
    status = one_line(run["status"])
    suite = f" of {one_line(run['suite'])}" if run["suite"] else ""
    title = Text.assemble(
        (f"{status}  ", _STYLES.get(run["status"], "bold red")),
        (one_line(run["run"]), "bold"),
        suite,
    )
    parts = [bar(done / planned if planned else 0.0)]
    parts.append(Text(f"{done:,} of {counted(planned, 'case')}"))
    parts.append(Text(roughly(took_s)))
    left_s = left(run, now)
    if left_s is not None:
        parts.append(Text(f"some {roughly(left_s)} left", "dim"))
    counts = outcomes(run)
    lines = [title, Text("  ").join(parts)]
    if counts:
        lines.append(counts)
    if run["status"] == "running" and (trouble or age_s > OLD_S):
        words = f"{roughly(age_s)} old"
        lines.append(Text(f"! {words}: {one_line(trouble)}", "bold red"))
    yield from (fits(line, columns) for line in lines)


def left(run: Record, now: float) -> float | None:
    """How long a run goes on, if it goes on as it did; None if nobody knows.

    Examples
    --------
    >>> run = {"status": "running", "counts": {"passed": 10}, "planned": 40}
    >>> left({**run, "started_at": 100.0}, 120.0)
    60.0
    """
    done = sum(run["counts"].values())
    took_s = now - run["started_at"]
    if run["status"] != "running" or not done or took_s <= 0:
        return None
    return float(max(0, run["planned"] - done) * took_s / done)
