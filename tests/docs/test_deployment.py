"""docs/deployment.md: what it has people write is read by those who read it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from fenced import blocks

from dtf_dask.cli.main import dtf

DOCUMENT = Path(__file__).parents[2] / "docs" / "deployment.md"
TEXT = DOCUMENT.read_text("utf-8")
FILES = {one.file: one.text for one in blocks(TEXT) if one.file}


def commands() -> list[str]:
    """All commands of dtf that stand in blocks, whole."""
    fenced = re.findall(
        r"^```(?:console|ini)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE
    )
    text = "\n".join(fenced).replace("\\\n", " ")
    found = re.findall(
        r"(?:[$=/ ]|bin/)dtf ((?:coordinator|worker|dev|status|ha) .*)", text
    )
    for document in parsed():
        found += [
            one.removeprefix("dtf ") for one in _strings(document) if "dtf " in one
        ]
    return [re.sub(r"  +#.*|^sh -c exec dtf ", "", one) for one in found]


def parsed() -> list[Any]:
    """The documents of the YAML files."""
    return [
        one
        for name, text in FILES.items()
        if name.endswith(".yaml")
        for one in yaml.safe_load_all(text)
    ]


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = value.get("command", [])
        joined = (
            " ".join([*own, *value.get("args", [])]) if isinstance(own, list) else own
        )
        rest = [one for key, one in value.items() if key not in ("command", "args")]
        return [joined, *(text for one in rest for text in _strings(one))]
    return (
        [text for one in value for text in _strings(one)] if type(value) is list else []
    )


def test_there_are_commands() -> None:
    """The reader of the document sees those of every kind of block."""
    first = {one.split()[0] for one in commands()}
    assert first == {"coordinator", "worker", "dev", "status", "ha"}
    assert sum("--tls-ca-file" in one for one in commands()) >= 4
    assert len(parsed()) == 5


@pytest.mark.parametrize("line", commands())
def test_commands_are_ones_that_dtf_knows(line: str) -> None:
    """With these options and arguments; nothing is run."""
    # Dask's command wants files that are there.
    words = shlex.split(re.sub(r"[\w/]+\.(pem|key)\b", str(DOCUMENT), line))
    command: click.Command = dtf
    context = click.Context(command, info_name="dtf")
    while isinstance(command, click.Group):
        found = command.get_command(context, words.pop(0))
        assert found is not None, line
        command = found
    command.make_context(command.name, words, parent=context)


def test_units_and_manifests_agree_on_how_long_an_end_may_take() -> None:
    """A coordinator is given longer than it takes itself."""
    assert "TimeoutStopSec=20" in FILES["dtf-coordinator.service"]
    (compose,) = [one for one in parsed() if "services" in one]
    assert {
        one.get("stop_grace_period")
        for name, one in compose["services"].items()
        if name != "worker"
    } == {"20s"}
    (pods,) = [one for one in parsed() if one.get("kind") == "StatefulSet"]
    assert pods["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 20
