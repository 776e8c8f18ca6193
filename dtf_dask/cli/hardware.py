"""``dtf hardware``: what this machine can be asked for, as a worker would say it."""

from __future__ import annotations

import json
import os
import shutil
import textwrap
from typing import Any

import click

from dtf_dask import facts as vocabulary
from dtf_dask.demand import parse
from dtf_dask.errors import UsageError
from dtf_dask.quantities import format_size
from dtf_dask.worker_plugins.hardware.advert import (
    Hardware,
    own_probes,
    settings_in_force,
)
from dtf_dask.worker_plugins.hardware.gpu import GpuProbe
from dtf_dask.worker_plugins.hardware.probes import installed_probes

_WIDTH_MIN, _WIDTH_MAX = 60, 100
# What belongs together stands together; what is on no list comes last.
_GROUPS = (
    *(("os", "host"), ("python",), ("cpu",), ("memory", "disk"), ("gpu",)),
    *(("rocm", "oneapi", "metal"), ("browsers", "browser")),
    *(("label",), ("resource",), ("package",)),
)
_PLACES = {first: place for place, group in enumerate(_GROUPS) for first in group}
_STATES = {"ok": "ok", "throttled": "throttled", "lost": "lost: does not answer"}


@click.command()
@click.argument("fact", required=False)
@click.option("--json", "as_json", is_flag=True, help="The advert as one JSON object.")
@click.option(
    "--meets",
    metavar="DEMAND",
    help="Say whether this machine meets a demand such as \"cpu.features has 'avx2'\","
    " and what it lacks; exit code 1 if it does not.",
)
@click.pass_context
def hardware(
    ctx: click.Context, fact: str | None, as_json: bool, meets: str | None
) -> None:
    """Show what this machine can be asked for, as a worker here would say it.

    FACT is one fact (cpu.arch) or the beginning of several (cpu). A worker's own limits
    of memory, and Dask's resources, come in when it starts.
    """
    settings, problems = settings_in_force()
    others, broken = installed_probes()
    machine = Hardware(
        settings,
        [*own_probes(settings, os.getcwd()), *others],
        GpuProbe(),
        problems=(*problems, *broken),
    )
    advert = machine.advert()
    if meets is not None:
        lacks = parse(meets).lacks(vocabulary.checked(advert["facts"]).facts)
        click.echo("\n".join(lacks) if lacks else "This machine meets it.")
        ctx.exit(1 if lacks else 0)
    if fact is not None:
        advert["facts"] = _chosen(advert["facts"], fact)
    if as_json:
        told = advert if fact is None else advert["facts"]
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
        return
    columns = shutil.get_terminal_size().columns
    width = min(max(columns, _WIDTH_MIN), _WIDTH_MAX)
    lines = _facts(advert["facts"], width, whole=fact is not None)
    if fact is None:
        celsius = {gpu.id: gpu.celsius for gpu in machine.gpus}
        lines += _gpus(advert["gpus"], celsius)
        lines += _terms(advert)
        lines += _problems(advert["problems"], width)
    click.echo("\n".join(lines))


def _chosen(facts: dict[str, Any], wanted: str) -> dict[str, Any]:
    name = vocabulary.canonical_name(wanted) if "." in wanted else wanted
    chosen = {
        known: value
        for known, value in facts.items()
        if known == name or known.startswith(f"{name}.")
    }
    if chosen:
        return chosen
    words = vocabulary.WORKER_FACTS
    known = vocabulary.kind_of(name) is not None or name in words.families
    if known or any(fact.startswith(f"{name}.") for fact in words.facts):
        raise UsageError(f"this machine has no {name}")
    raise UsageError(f"no fact is called {wanted[:100]!r}{words.hint(name)}")


def _facts(facts: dict[str, Any], width: int, whole: bool) -> list[str]:
    """One line a fact, a blank line between the groups; many packages are one line."""
    packages = [name for name in facts if name.startswith("package.")]
    if not whole and packages:
        facts = {n: v for n, v in facts.items() if n not in packages}
    column = max(map(len, (*facts, "package.NAME"))) + 2
    lines: list[str] = []
    group = None
    for name in sorted(facts, key=_place):
        if lines and _place(name) != group:
            lines.append("")
        group = _place(name)
        lines += _wrapped(name, column, _shown(name, facts[name]), width)
    if not whole and packages:
        words = f"{len(packages)} installed; `dtf hardware package` lists them"
        lines += ["", f"{'package.NAME':{column}}{words}"]
    return lines


def _place(name: str) -> int:
    return _PLACES.get(name.partition(".")[0], len(_GROUPS))


def _shown(name: str, value: Any) -> str:
    if isinstance(value, list):
        return " ".join(value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if vocabulary.kind_of(name) is vocabulary.Kind.SIZE:
        return format_size(value)
    return str(value)


def _gpus(gpus: list[dict[str, Any]], celsius: dict[str, int | None]) -> list[str]:
    if not gpus:
        return []
    rows: list[tuple[str, ...]] = [
        (
            f"GPU {gpu['index']}",
            gpu["model"] or "unknown model",
            format_size(gpu["memory"]) if gpu["memory"] else "shared memory",
            "" if celsius.get(gpu["id"]) is None else f"{celsius[gpu['id']]} °C",
            _STATES[gpu["state"]],
            gpu["id"],
        )
        for gpu in gpus
    ]
    return ["", *_table(rows)]


def _terms(advert: dict[str, Any]) -> list[str]:
    """What the worker asks, and what it brings for all."""
    rows: list[tuple[str, ...]] = []
    if advert["accept"]:
        rows.append(("accepts only", advert["accept"]))
    if advert["tokens"]:
        said = (f"{name} x {count}" for name, count in advert["tokens"].items())
        rows.append(("brings tokens", ", ".join(said)))
    return ["", *_table(rows)] if rows else []


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            f"{cell:{size}}" for cell, size in zip(row, widths, strict=True) if size
        ).rstrip()
        for row in rows
    ]


def _problems(problems: list[str], width: int) -> list[str]:
    lines = []
    for problem in problems:
        lines += textwrap.wrap(
            problem, width, initial_indent="! ", subsequent_indent="  "
        )
    return ["", *lines] if lines else []


def _wrapped(name: str, column: int, text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        max(width, column + 20),
        initial_indent=f"{name:{column}}",
        subsequent_indent=" " * column,
        break_on_hyphens=False,
    )
