"""What `dtf top` shows, as lines that fit a terminal of any size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.text import Text

from dtf_dask.cli.terminal_cells import bar, fits, named, size
from dtf_dask.cli.terminal_table import table
from dtf_dask.cli.top_coordinators import coordinators, failovers
from dtf_dask.cli.top_workers import workers
from dtf_dask.explanation import counted, roughly
from dtf_dask.runs.reports.text import one_line
from dtf_dask.view.alerts import Alert
from dtf_dask.view.read_model import ReadModel
from dtf_dask.view.records import Record

OLD_S = 12.0
"""What is older is said to be."""
_OUTCOME_STYLES = {
    "passed": "green",
    "failed": "red",
    "error": "red",
    "timeout": "red",
    "lost": "yellow",
    "skipped": "dim",
}


@dataclass(frozen=True, slots=True)
class Screen:
    """What is to be shown.

    Parameters
    ----------
    now
        By the scheduler's clock.
    age_s
        How old all of it is.
    per_s
        Tasks that end in a second; None if nobody knows yet.
    trouble
        Why there is nothing new.
    standing
        How the coordinators stand; see `top_coordinators`.
    """

    model: ReadModel
    address: str
    now: float
    age_s: float
    per_s: float | None
    trouble: str
    alerts: Sequence[Alert]
    standing: Mapping[str, Any] = field(default_factory=dict)

    @property
    def cluster(self) -> Record:
        """The whole in some numbers."""
        return self.model.get("cluster") or {}

    def of(self, kind: str) -> list[Record]:
        """The records of a kind."""
        return [record for _, record in self.model.of_kind(kind)]


def screen(seen: Screen, columns: int, rows: int) -> Iterator[Text]:
    """The lines, at most so many: what is wrong stays, and long lists are cut.

    Where there is little room, there is nothing of what matters less.
    """
    head = [*_head(seen, columns), *_alerts(seen, max(2, rows // 6))]
    for line in head[:rows]:
        yield fits(line, columns)
    left = rows - len(head)
    parts = [part for part in _parts(seen, columns) if part[1]]
    while parts:
        rooms = _rooms([len(part) + 1 for _, part in parts], left)
        # Title, two rows and what is left out, or all of it.
        if all(
            room > min(len(part), 4)
            for room, (_, part) in zip(rooms, parts, strict=True)
        ):
            break
        parts.remove(max(parts, key=lambda part: part[0]))
    for room, (_, part) in zip(rooms if parts else (), parts, strict=True):
        yield Text()
        if len(part) < room:
            yield from (fits(line, columns) for line in part)
        else:
            yield from (fits(line, columns) for line in part[: room - 2])
            yield Text(f"and {len(part) - room + 2:,} more", style="dim")


def _rooms(wanted: Sequence[int], left: int) -> list[int]:
    """Lines for each part: short ones whole, the rest in equal shares."""
    rooms = [0] * len(wanted)
    order = sorted(range(len(wanted)), key=lambda at: wanted[at])
    for done, at in enumerate(order):
        rooms[at] = min(wanted[at], max(0, left) // (len(order) - done))
        left -= rooms[at]
    return rooms


def _head(seen: Screen, columns: int) -> Iterator[Text]:
    cluster = seen.cluster
    led = f"term {cluster['term']}  " if cluster.get("term") else ""
    age = _age(seen)
    title = Text.assemble(("dtf top  ", "bold"), one_line(seen.address))
    up = ""
    if cluster:
        up = f"{led}up {roughly(max(0.0, seen.now - cluster['started_at']))}  "
    right = Text.assemble((up, "dim"), age)
    space = columns - title.cell_len - right.cell_len
    if space < 2 and columns < 10_000:
        title.truncate(max(10, columns - right.cell_len - 2), overflow="ellipsis")
        space = columns - title.cell_len - right.cell_len
    in_pipe = columns > 1_000
    yield Text.assemble(title, " " * (2 if in_pipe else max(2, space)), right)
    if seen.trouble:
        yield Text(f"! {one_line(seen.trouble)}", style="bold red")
    if not cluster:
        return
    threads, used = cluster["threads"], cluster["threads_used"]
    memory, taken = cluster["memory"], cluster["memory_used"]
    of_memory = f" of {size(memory)}" if memory else ""
    yield from _joined(
        [
            Text(counted(cluster["workers"], "worker"), style="bold"),
            Text.assemble(
                "threads ",
                bar(used / threads if threads else 0.0),
                f" {used:g} of {threads:,}",
            ),
            Text.assemble(
                "memory ",
                bar(taken / memory if memory else 0.0),
                f" {size(taken)}{of_memory}",
            ),
        ],
        columns,
    )
    parts = [
        Text(f"{cluster['waiting']:,} waiting", style="bold"),
        Text(f"{cluster['held']:,} held back" if cluster["held"] else ""),
        Text(f"{cluster['running']:,} running"),
        Text(f"{cluster['ended']:,} ended"),
        Text("" if seen.per_s is None else f"{seen.per_s:.1f} a second"),
    ]
    if cluster["failed"]:
        parts.append(Text(f"{cluster['failed']:,} failed", style="red"))
    met, missed = cluster["deadlines_met"], cluster["deadlines_missed"]
    if met or missed:
        late = Text(f"{missed:,} missed", style="red" if missed else "")
        parts.append(Text.assemble(f"deadlines {met:,} met, ", late))
    yield from _joined([part for part in parts if part], columns)


def _joined(parts: Sequence[Text], columns: int) -> Iterator[Text]:
    """Parts beside each other, in as many lines as it takes."""
    line = Text()
    for part in parts:
        if line and line.cell_len + 2 + part.cell_len > columns:
            yield line
            line = Text()
        line = Text.assemble(line, "  ", part) if line else part
    yield line


def _age(seen: Screen) -> Text:
    if not seen.cluster:
        return Text("nothing seen yet", style="red")
    if seen.age_s > OLD_S or seen.trouble:
        return Text(f"{roughly(seen.age_s)} old", style="bold red")
    return Text(f"{seen.age_s:.0f} s old", style="green")


def _alerts(seen: Screen, most: int) -> Iterator[Text]:
    for one in seen.alerts[:most]:
        ago = ""
        if one.since is not None and seen.now > one.since:
            ago = f", {roughly(seen.now - one.since)} ago"
        style = "bold red" if one.level == "critical" else "yellow"
        glyph = "!!" if one.level == "critical" else "!"
        yield Text(f"{glyph} {one_line(one.words)}{ago}", style=style)
    more = len(seen.alerts) - most
    if more > 0:
        yield Text(f"and {counted(more, 'more alert')}", style="yellow")


def _parts(seen: Screen, columns: int) -> Iterator[tuple[int, list[Text]]]:
    """The tables, each with how little it matters."""
    yield 1, _runs(seen, columns)
    yield 2, _classes(seen, columns)
    yield 3, _kinds(seen, columns)
    yield 0, workers(seen.model, seen.now, columns)
    webs = {one["node"]: one["web"] for one in seen.of("coordinator")}
    yield 5, coordinators(seen.standing, webs, columns)
    yield 4, failovers(seen.of("failover"), seen.now, columns)


def outcomes(run: Record) -> Text:
    """How many cases of a run came to what."""
    counts = Text()
    for outcome, count in run["counts"].items():
        if count:
            style = _OUTCOME_STYLES.get(outcome, "")
            counts.append(f"{count:,} {one_line(outcome)}  ", style)
    if run["flaky"]:
        counts.append(f"{run['flaky']:,} flaky", "yellow")
    return counts


def _runs(seen: Screen, columns: int) -> list[Text]:
    rows = []
    runs = sorted(seen.of("run"), key=lambda one: -one["started_at"])
    runs.sort(key=lambda one: one["status"] != "running")
    for one in runs[:5]:
        done = sum(one["counts"].values())
        planned = max(one["planned"], done)
        took_s = (one["finished_at"] or seen.now) - one["started_at"]
        counts = outcomes(one)
        rows.append(
            (
                named(one["run"]),
                named(one["suite"]),
                one_line(one["status"]),
                bar(done / planned if planned else 0.0),
                f"{done:,} of {planned:,}",
                roughly(max(0.0, took_s)),
                counts,
            )
        )
    if not rows:
        return []
    head = ("RUN", "SUITE", "", "", "CASES", "TIME", "")
    return table(head, rows, columns, cut=6, right=(4, 5))


def _classes(seen: Screen, columns: int) -> list[Text]:
    rows = []
    for one in seen.of("class"):
        if not any(one[n] for n in ("waiting", "held", "running", "ended")):
            continue
        slack = Text("")
        if one["latest"] is not None:
            left_s = one["latest"] - seen.now
            style = "red" if left_s < 60 else ""
            slack = Text(roughly(left_s) if left_s > 0 else "too late", style=style)
        failed = Text(f"{one['failed']:,}" if one["failed"] else "", style="red")
        rows.append(
            (
                named(one["name"]),
                f"{one['waiting']:,}",
                f"{one['held']:,}" if one["held"] else "",
                f"{one['running']:,}",
                roughly(max(0.0, seen.now - one["since"])) if one["since"] else "-",
                slack,
                f"{one['ended']:,}",
                failed,
            )
        )
    if not rows:
        return []
    head = ("CLASS", "WAITING", "HELD", "RUNNING", "LONGEST", "TIME LEFT", "ENDED")
    return table((*head, "FAILED"), rows, columns, cut=0, right=range(1, 8))


def _kinds(seen: Screen, columns: int) -> list[Text]:
    rows = []
    for one in sorted(seen.of("kind"), key=lambda one: (one["due"], one["next"])):
        stuck = one["waits_for"] not in ("", "room")
        words = Text(one_line(one["why"] or one["waits_for"] or "its turn"))
        words.stylize("yellow" if stuck else "")
        rows.append(
            (
                f"{one['waiting']:,}",
                named(one["class"]),
                named(one["tenant"] if one["tenant"] != "default" else ""),
                roughly(max(0.0, seen.now - one["since"])),
                "" if one["eta"] is None else roughly(max(0.0, one["eta"] - seen.now)),
                Text.assemble(one_line(one["needs"]), ("  waits for ", "dim"), words),
            )
        )
    if not rows:
        return []
    head = ("WAITING", "CLASS", "TENANT", "LONGEST", "NEXT IN", "NEEDS")
    return table(head, rows, columns, cut=5, right=(0, 3, 4))
