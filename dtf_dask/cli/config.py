"""``dtf config``: what is in force, who said so, and whether it can be used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from dtf_dask import config as configuration
from dtf_dask.errors import ConfigurationError
from dtf_dask.settings import nearest, shown, without_password


@click.command()
@click.argument("key", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, by key.")
def config(key: str | None, as_json: bool) -> None:
    """Show the configuration in force, and refuse what cannot be used.

    KEY is one key (runs.dist) or the beginning of several (runs).
    """
    rows = configuration.entries()
    if key is not None:
        wanted = configuration.canonical(key)
        rows = [
            row for row in rows if row.key == wanted or row.key.startswith(wanted + ".")
        ]
        if not rows:
            near = nearest(wanted)
            hint = f"did you mean {near}?" if near else "`dtf config` lists the keys"
            raise ConfigurationError(f"{key} is no key of dtf; {hint}")
    click.echo(_as_json(rows) if as_json else _as_text(rows, alone=key is not None))
    configuration.load()  # after the listing: it shows where a refused value stands


def _as_json(rows: list[configuration.Entry]) -> str:
    return json.dumps(
        {
            row.key: {
                "value": without_password(row.value),
                "default": row.default,
                "source": row.source,
            }
            for row in rows
        },
        indent=2,
        default=str,
    )


def _as_text(rows: list[configuration.Entry], alone: bool) -> str:
    """One line a key; a single key that was asked for is explained."""
    key_width = max(len(row.key) for row in rows)
    value_width = max(len(shown(row.value)) for row in rows)
    lines = [
        f"{row.key:{key_width}}  {shown(row.value):{value_width}}"
        f"  {'' if row.source == 'default' else row.source}".rstrip()
        for row in rows
    ]
    if alone and len(rows) == 1:
        lines.append(f"  {_described(rows[0].key)} Default: {shown(rows[0].default)}.")
    return "\n".join(lines)


def _described(key: str) -> str:
    """The schema's words for a key."""
    node: Mapping[str, Any] = configuration.packaged("dtf-schema.yaml")
    for part in ("dtf", *key.split(".")):
        node = node["properties"][part]
    description: str = node["description"]
    return description
