"""A trial: a cluster, clients, one fault after the other, and the checks."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random

from chaos.clients import MARKS, REGISTERS, Workload, shown
from chaos.faults import Faults
from chaos.group import Group
from chaos.history import (
    Event,
    Final,
    Found,
    HistoryFile,
    check_all,
    check_registers,
    read_history,
)
from chaos.machine import Machine
from chaos.summary import Summary, longest_gap_s
from dtf_dask.errors import DtfError
from dtf_dask.ha.ledger.queries import Scan

HISTORY = "history.jsonl"
FINAL = "final.json"
BACK_S = 120.0
"""Within this every client must have written when nothing is wrong any more."""

_SAME_S = 60.0
_SLOW_S = 0.3
_LOOK_S = 10.0
_SHOWN = (
    *("role", "leader", "term", "commit", "applied", "last_index", "voters", "active"),
    *("elections", "sync_p99_s", "disk_full", "removed", "failure"),
)
_PAIRS = 0.3
_COMPARE_EVERY_S = 45.0
_READ_S = 30.0
_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What is tried, and how hard."""

    seconds: float
    seed: int
    nodes: int
    kinds: Sequence[str]
    rate: float
    hold_max_s: float
    keep: Path | None = None


class Trial:
    """One of them.

    Parameters
    ----------
    say
        Given a line on each fault, and on what takes long.
    """

    def __init__(self, plan: Plan, say: Callable[[str], None]) -> None:
        self.plan = plan
        self.summary = Summary(plan.seed, plan.nodes)
        self.stop = asyncio.Event()
        """Set to end it before its time; what there is is checked."""
        self._say = say
        self._rng = Random(f"nemesis {plan.seed}")
        self._room = Path(tempfile.mkdtemp(prefix="dtf-chaos-"))
        self._history = HistoryFile(self._room / HISTORY)
        self._group = Group(self._room, plan.nodes)
        self._faults = Faults(self._group, self._rng, plan.hold_max_s)
        self._load = Workload(self._group, plan.seed, plan.rate, self._take)
        self._machine = Machine(self._room)
        self._by_window: dict[int, list[Event]] = defaultdict(list)
        self._checks: list[Future[Found]] = []
        self._began = 0.0
        self._compared_at = 0.0
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, context, initializer=_checker_starts)

    async def run(self) -> Summary:
        """Do it all; the cluster is gone when this returns."""
        group, summary = self._group, self.summary
        try:
            self._say(f"seed {self.plan.seed}; starting {self.plan.nodes} nodes")
            await group.start()
            first = await self._term()
            self._machine.start()
            self._began = self._compared_at = time.monotonic()
            self._load.start()
            await self._back(self._began)
            try:
                await self._disturb()
            finally:
                await self._faults.mend_all()
            await self._end()
            summary.terms = await self._term() - first
        except Exception as error:
            self._broke(f"the trial itself failed: {error!r}")
            raise
        finally:
            summary.seconds = time.monotonic() - self._began if self._began else 0.0
            await self._close()
        return summary

    # Faults

    async def _disturb(self) -> None:
        kinds = []
        for kind in self.plan.kinds:
            why = self._faults.possible(kind)
            if why:
                self.summary.skipped[kind] = why
            else:
                kinds.append(kind)
        ends = self._began + self.plan.seconds
        turn: list[str] = []
        while kinds and time.monotonic() < ends and not self.stop.is_set():
            if not turn:
                turn = self._rng.sample(kinds, len(kinds))
            step = [turn.pop()]
            if turn and self._rng.random() < _PAIRS:
                step.append(turn.pop())
            await self._step(step)
            self._check_windows(self._load.window - 1)
            if self._load.failure is not None:
                return
            if time.monotonic() > self._compared_at + _COMPARE_EVERY_S:
                await self._compare()
            await self._rest(self._rng.uniform(0.3, 1.5))
        if not kinds:
            await self._rest(self.plan.seconds)

    async def _rest(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self.stop.wait(), seconds)
        except TimeoutError:
            pass

    async def _step(self, kinds: Sequence[str]) -> None:
        """One fault, or two at once; then all is mended."""
        words: list[str] = []
        self._machine.taken()
        began = time.monotonic()
        loop = asyncio.get_running_loop()
        under_way = [
            loop.create_task(self._faults.of_kind(kind)(words.append))  # type: ignore[arg-type]
            for kind in kinds
        ]
        stopping = loop.create_task(self.stop.wait())
        everything = asyncio.gather(*under_way)
        await asyncio.wait([everything, stopping], return_when="FIRST_COMPLETED")
        stopping.cancel()
        if not everything.done():
            for task in under_way:
                task.cancel()
        for told in await asyncio.gather(*under_way, return_exceptions=True):
            if isinstance(told, Exception):
                self._broke(f"a fault could not be made: {told!r} ({words})")
        await self._faults.mend_all()
        mended = time.monotonic()
        back = await self._back(mended)
        whole = (began, mended + back)
        gap = longest_gap_s(self._load.acknowledged, *whole)
        ones = self._load.by_client.values()
        worst = max(longest_gap_s(times, *whole) for times in ones)
        for refusal in self._faults.refusals:
            self._say(f"           {refusal}")
        self._faults.refusals.clear()
        name = kinds[0] if len(kinds) == 1 else "two at once"
        self.summary.gap(name, gap, worst)
        slow = self._machine.taken()
        machine = (
            f" (the loop was {slow.late:.1f} s late, a sync took {slow.sync:.1f} s)"
        )
        self._say(
            f"{began - self._began:7.1f} s  {' & '.join(kinds)}: {'; '.join(words)};"
            f" {gap:.2f} s without a write, {worst:.2f} s of one client; all had"
            f" written {back:.2f} s after it was mended"
            + (machine if max(slow) > _SLOW_S else "")
        )

    async def _back(self, since: float) -> float:
        """How long after a time every client has had a write acknowledged."""
        load = self._load
        look_at = since + _LOOK_S
        while True:
            waiting = [
                client
                for client, times in load.by_client.items()
                if not times or times[-1] < since
            ]
            if not waiting or load.failure is not None:
                break
            if time.monotonic() > since + BACK_S:
                self._broke(
                    f"no write of clients {', '.join(waiting)} {BACK_S:g} s after all"
                    " was mended"
                )
                break
            if time.monotonic() > look_at:
                await self._say_statuses()
                look_at = time.monotonic() + _LOOK_S
            await asyncio.sleep(0.005)
        return time.monotonic() - since

    async def _say_statuses(self) -> None:
        """Clients wait for long: how the nodes stand, for who looks into it."""
        slow = self._machine.taken()
        self._say(f"           waiting; the loop {slow.late:.1f} s late")
        for node, one in sorted((await self._group.statuses()).items()):
            shown = {name: one[name] for name in _SHOWN}
            self._say(f"           node {node}: {shown}")

    # Checks

    def _take(self, event: Event) -> None:
        self._history.add(event)
        self.summary.operations += 1
        if event.kind == "mark":
            self.summary.marks += event.revision is not None
        else:
            self._by_window[int(event.key.partition(".")[0])].append(event)

    def _check_windows(self, before: int) -> None:
        """Have the registers checked that nobody uses any more."""
        for window in sorted(self._by_window):
            if window < before and window not in self._load.under_way:
                events = self._by_window.pop(window)
                self._checks.append(self._pool.submit(check_registers, events))
        for check in [one for one in self._checks if one.done()]:
            self._checks.remove(check)
            self._found(check.result())

    def _found(self, found: Found) -> None:
        self.summary.undecided += found.undecided
        for wrong in found.broken:
            self._broke(wrong)

    def _broke(self, what: str) -> None:
        self._say(f"BROKEN: {what}")
        self.summary.broken.append(what)
        self.stop.set()

    async def _compare(self) -> None:
        """Compare the states of all nodes, as of one entry."""
        await self._load.pause()
        ends = time.monotonic() + _SAME_S
        told: dict[int, tuple[int, str]] = {}
        async with self._group.direct() as ledger:
            while time.monotonic() < ends:
                for node in sorted(self._group.belonging):
                    try:
                        told[node] = await ledger.state_hash(node, 10.0)
                    except DtfError as error:
                        told[node] = (-node, str(error))
                if len({index for index, _ in told.values()}) == 1:
                    break
                await asyncio.sleep(0.1)
        strays = self._group.past_the_proxies()
        if strays:
            self._broke(f"the trial says nothing: nodes {strays} pass by the proxies")
        wrong = hashes_wrong(told)
        if wrong:
            self._broke(wrong)
        else:
            self.summary.compared += 1
            self.summary.applied, self.summary.state_hash = next(iter(told.values()))
        self._load.go_on()
        self._compared_at = time.monotonic()

    async def _end(self) -> None:
        """Nothing is disturbed any more: all that must hold now."""
        group, summary = self._group, self.summary
        summary.back_s = await self._back(time.monotonic())
        wrong = await self._faults.settle_members()
        if wrong:
            self._broke(
                f"the members could not be made those that they are to be: {wrong}"
            )
        await self._compare()
        if self._load.failure is None:
            await self._load.stop()
        else:
            self._broke(f"a client failed: {self._load.failure!r}")
        self._say("reading all that is there, and checking")
        finals = [await self._all_of(name) for name in (REGISTERS, MARKS)]
        async with group.direct() as ledger:
            await self._load.large.check_all(ledger)
        summary.large = self._load.large.written
        self._history.close()
        ended = time.monotonic()
        (self._room / FINAL).write_text(json.dumps([ended, *finals]))
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._pool, check_kept, self._room)
        summary.keys_checked = found.keys
        self._found(found)
        summary.members_changed, summary.restored = group.moved, group.restored

    async def _all_of(self, namespace: str) -> dict[str, Final]:
        found: dict[str, Final] = {}
        after = None
        async with self._group.direct() as ledger:
            while True:
                answer = await ledger.read(Scan(namespace, "", after, _PAGE), _READ_S)
                if answer is None:
                    self._broke(f"{namespace} could not be read at the end")
                    return found
                for key, record in answer.records:
                    found[key] = Final(shown(record.value), record.revision)
                    after = key
                if not answer.more:
                    return found

    async def _term(self) -> int:
        while not await self._group.leader():
            await asyncio.sleep(0.05)
        told = await self._group.statuses()
        return max(int(one["term"]) for one in told.values())

    # The end

    async def _close(self) -> None:
        group, summary, counts = self._group, self.summary, self._load.counts
        summary.acknowledged = counts["acknowledged"]
        summary.unknown, summary.refused = counts["unknown"], counts["refused"]
        summary.unread = counts["unread"]
        summary.restarts = sum(len(one.exits) for one in group.members.values())
        for alarm in group.alarms:
            self._broke(f"a node: {alarm}")
        for told in self._load.broken:
            self._broke(f"clients saw what cannot be: {told}")
        self._history.close()
        await self._machine.close()
        summary.late_s, summary.sync_s = self._machine.worst
        await group.close()
        self._pool.shutdown(cancel_futures=True)
        keep = self.plan.keep
        if keep is None and summary.failed:
            keep = Path(tempfile.mkdtemp(prefix="dtf-chaos-kept-"))
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            for name in (HISTORY, FINAL, "logs"):
                source = self._room / name
                if source.is_dir():
                    shutil.copytree(source, keep / name, dirs_exist_ok=True)
                elif source.exists():
                    shutil.copy(source, keep / name)
            summary.kept = str(keep)
        shutil.rmtree(self._room, ignore_errors=True)


def hashes_wrong(told: dict[int, tuple[int, str]]) -> str:
    """What is wrong with the indexes and hashes that nodes told; empty if nothing."""
    shown = ", ".join(
        f"node {node} at {index}: {found[:16]}"
        for node, (index, found) in sorted(told.items())
    )
    if len({index for index, _ in told.values()}) > 1:
        return f"nodes do not come to the same entry within {_SAME_S:g} s: {shown}"
    if len({found for _, found in told.values()}) > 1:
        return f"nodes have different states after the same entries: {shown}"
    return ""


def check_kept(folder: Path) -> Found:
    """Check a history that was kept, with what was there at its end."""
    ended, registers, marks = json.loads((folder / FINAL).read_text())
    finals = [
        {key: Final(*one) for key, one in found.items()} for found in (registers, marks)
    ]
    return check_all(read_history(folder / HISTORY), *finals, ended)


def _checker_starts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(5)
