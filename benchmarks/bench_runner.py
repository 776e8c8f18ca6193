"""Real suites under plain pytest, under `pytest -n 2` and under `dtf run -n 2`.

    python benchmarks/bench_runner.py [--quick] [--json] [--suites a,b] [--repeat N]

Every repeat runs the commands one after the other, so that they share what the machine
is doing. `dtf` is measured twice in each repeat: first without a `.dtf` folder (nothing
learned: the headline), then again with what the first run taught it. Outcomes are
compared test by test between plain pytest and each other command.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import suites as real
from measured_commands import (
    EXIT_CODES_FINE,
    Measured,
    Outcomes,
    adopt_orphans,
    differences,
    measure,
)

_QUICK_LAST_START_S = 25.0  # so that the suite that is begun then ends before 50 s
_DIFFERENCES_SHOWN_MAX = 12


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians of one way of running a suite."""

    wall_s: float
    cpu_s: float
    rss_mb: float
    orphans: int


def commands(cache: real.SuiteCache, suite: real.Suite) -> dict[str, list[str]]:
    """The command line for each way of running, in the order they are run."""
    arguments = ["-q", "-p", "outcome_log", *suite.command_arguments]
    pytest = str(cache.bin / "pytest")
    # Paths go to `dtf run` after `--` as well: it hands them to pytest.
    dtf = [str(cache.bin / "dtf"), "run", "-n", "2", "--", *arguments]
    return {
        "plain": [pytest, *arguments],
        "xdist": [pytest, "-n", "2", *arguments],
        "dtf": dtf,
        "dtf_history": dtf,
    }


def dtf_reason_missing(cache: real.SuiteCache) -> str:
    """Why `dtf run` cannot be measured, or nothing."""
    probe = subprocess.run(
        [str(cache.bin / "dtf"), "run", "--help"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if probe.returncode == 0:
        return ""
    lines = (probe.stderr or probe.stdout).strip().splitlines() or ["no output"]
    return f"`dtf run --help` ended with {probe.returncode}: {lines[-1]}"


def run_suite(
    cache: real.SuiteCache, suite: real.Suite, ways: list[str], repeat: int
) -> dict[str, object]:
    """Measure one suite in all ways and print what differs."""
    folder = cache.source(suite)
    lines = {way: line for way, line in commands(cache, suite).items() if way in ways}
    taken: dict[str, list[Measured]] = {way: [] for way in lines}
    unlike: dict[str, list[str]] = {way: [] for way in lines}
    for number in range(repeat):
        reference: Outcomes = Counter()
        for way, command in lines.items():
            if way == "dtf":
                shutil.rmtree(folder / ".dtf", ignore_errors=True)
            measured = measure(command, folder)
            taken[way].append(measured)
            if way == "plain":
                reference = measured.outcomes
            broken = measured.exit_code not in EXIT_CODES_FINE
            if broken or not measured.outcomes:
                unlike[way].append(f"ended with {measured.exit_code}")
                print(measured.output_end, file=sys.stderr)
            unlike[way] += differences(reference, measured.outcomes)
            print(
                f"  {suite.name} {number + 1}/{repeat} {way}: "
                f"{measured.wall_s:.2f} s wall, {measured.cpu_s:.2f} s CPU",
                file=sys.stderr,
            )
    for way, found in unlike.items():
        for line in found[:_DIFFERENCES_SHOWN_MAX]:
            print(f"! {suite.name} under {way}: {line}")
        if len(found) > _DIFFERENCES_SHOWN_MAX:
            print(f"! {suite.name} under {way}: {len(found)} differences in all")
    figures = {way: _medians(results) for way, results in taken.items()}
    return {
        "tests": sum(taken["plain"][0].outcomes.values()),
        "note": suite.note,
        "outcomes_equal": not any(unlike[way] for way in unlike if way != "xdist"),
        "xdist_outcomes_equal": not unlike.get("xdist"),
        "differences": {way: found[:100] for way, found in unlike.items() if found},
        **{way: asdict(figure) for way, figure in figures.items()},
        **_ratios(figures),
    }


def _medians(results: list[Measured]) -> Figures:
    return Figures(
        wall_s=round(statistics.median(r.wall_s for r in results), 3),
        cpu_s=round(statistics.median(r.cpu_s for r in results), 3),
        rss_mb=round(statistics.median(r.rss_mb for r in results), 1),
        orphans=max(r.orphans for r in results),
    )


def _ratios(figures: dict[str, Figures]) -> dict[str, float]:
    wanted = {
        "ratio_xdist_vs_plain": ("xdist", "plain"),
        "ratio_vs_plain": ("dtf", "plain"),
        "ratio_vs_xdist": ("dtf", "xdist"),
        "ratio_vs_xdist_history": ("dtf_history", "xdist"),
    }
    return {
        name: round(figures[over].wall_s / figures[under].wall_s, 3)
        for name, (over, under) in wanted.items()
        if over in figures and under in figures
    }


def _table(results: dict[str, dict[str, object]], ways: list[str]) -> str:
    head = "suite           tests"
    head += "".join(f" | {way:>11} wall    cpu   MB" for way in ways)
    head += " | dtf/xdist  history | equal"
    lines = [head, "-" * len(head)]
    for name, result in results.items():
        line = f"{name:14}{result['tests']:>7}"
        for way in ways:
            figure = result[way]
            assert isinstance(figure, dict)
            wall, cpu, rss = figure["wall_s"], figure["cpu_s"], figure["rss_mb"]
            line += f" | {wall:>16.2f} {cpu:>6.2f} {rss:>4.0f}"
        for ratio in ("ratio_vs_xdist", "ratio_vs_xdist_history"):
            line += f"{result.get(ratio, '-')!s:>10}"
        lines.append(f"{line} | {'yes' if result['outcomes_equal'] else 'NO'}")
    return "\n".join(lines)


def summary(
    results: dict[str, dict[str, object]], dtf_missing: str
) -> dict[str, object]:
    """The object that ``--json`` prints."""

    def column(key: str) -> list[float]:
        return [float(str(r[key])) for r in results.values() if key in r]

    fresh, history = column("ratio_vs_xdist"), column("ratio_vs_xdist_history")
    return {
        "benchmark": "bench_runner",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, "
        f"{platform.system()}, Python {platform.python_version()}",
        "dtf_missing": dtf_missing,
        "ratio_vs_xdist_median": round(statistics.median(fresh), 3) if fresh else None,
        "ratio_vs_xdist_worst": max(fresh, default=None),
        "ratio_vs_xdist_history_median": round(statistics.median(history), 3)
        if history
        else None,
        "ratio_vs_xdist_history_worst": max(history, default=None),
        "outcomes_equal": not dtf_missing
        and all(bool(r["outcomes_equal"]) for r in results.values()),
        "suites": results,
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="The first use downloads and installs the suites, which takes 2 to 5 "
        "minutes and is not measured (benchmarks/suites.py does only that).",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"{', '.join(real.QUICK)} once; within 50 s on 2 cores once prepared",
    )
    parser.add_argument("--json", action="store_true", help="one object, last line")
    parser.add_argument("--suites", default="", help="names, separated by commas")
    parser.add_argument("--repeat", type=int, default=0, help="default: 3, quick: 1")
    parser.add_argument("--cache", type=Path, default=real.default_cache())
    parser.add_argument("--sdist-dir", type=Path, help="take sdists from here only")
    options = parser.parse_args()
    cache = real.SuiteCache(options.cache, options.sdist_dir)
    default = real.QUICK if options.quick else real.default_names()
    wanted = real.chosen(options.suites, default)
    repeat = options.repeat or (1 if options.quick else 3)
    for suite in wanted:
        try:
            cache.prepare(suite)
        except real.SuiteUnavailableError as error:
            raise SystemExit(f"{suite.name}: {error}") from None
    adopt_orphans()
    missing = dtf_reason_missing(cache)
    ways = ["plain", "xdist"] + ([] if missing else ["dtf", "dtf_history"])
    if missing:
        print(f"dtf is not measured: {missing}")
    results: dict[str, dict[str, object]] = {}
    began = time.monotonic()
    for suite in wanted:
        if options.quick and time.monotonic() - began > _QUICK_LAST_START_S:
            print(f"{suite.name} is left out: the machine is busy, and this is --quick")
            continue
        results[suite.name] = run_suite(cache, suite, ways, repeat)
    print(_table(results, ways))
    total = summary(results, missing)
    if not missing:
        print(
            f"dtf/xdist: median {total['ratio_vs_xdist_median']}, "
            f"worst {total['ratio_vs_xdist_worst']}; with history "
            f"{total['ratio_vs_xdist_history_median']}, "
            f"{total['ratio_vs_xdist_history_worst']}"
        )
    print(f"machine: {total['machine']}; repeats: {repeat}")
    if options.json:
        print(json.dumps(total))


if __name__ == "__main__":
    main()
