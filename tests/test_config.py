"""Configuration: what is accepted, what is refused and how; no place is forgotten."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import pickle
import re
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import dask.config
import dask.utils
import jsonschema
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from dtf_dask import config, settings
from dtf_dask.cli.main import dtf
from dtf_dask.config import load
from dtf_dask.errors import ConfigurationError
from dtf_dask.quantities import (
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)
from dtf_dask.settings import READERS, SECTIONS, Count, Duration, Size

DOCUMENT = Path(__file__).parents[1] / "docs" / "configuration.md"
SCHEMA = config.packaged("dtf-schema.yaml")
DEFAULTS = {entry.key: entry.default for entry in config.entries()}

Configure = Callable[..., None]


@pytest.fixture
def configure(tmp_path: Path) -> Iterator[Configure]:
    """Configure Dask by a YAML file and environment variables, for one test."""
    before = copy.deepcopy(dask.config.config)

    def configure(yaml_text: str = "", **variables: str) -> None:
        (tmp_path / "dtf.yaml").write_text(yaml_text)
        for name, text in variables.items():
            patch.setenv(name, text)
        dask.config.refresh()

    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("DASK_"):
                patch.delenv(name)
        # `refresh` and `collect` have bound the list itself as their default.
        paths = list(dask.config.paths)
        dask.config.paths[:] = [str(tmp_path)]
        try:
            dask.config.refresh()
            yield configure
        finally:
            dask.config.paths[:] = paths
            dask.config.config.clear()
            dask.config.config.update(before)


def refusal(**overrides: object) -> str:
    """Return what `load` says about these overrides, keys by their last part."""
    by_leaf = {key.rpartition(".")[2].replace("-", "_"): key for key in READERS}
    with pytest.raises(ConfigurationError) as caught:
        load({by_leaf[leaf]: value for leaf, value in overrides.items()})
    return str(caught.value)


# One list of keys in four places.


def schema_node(key: str) -> dict[str, Any]:
    node = SCHEMA
    for part in ("dtf", *key.split(".")):
        node = node["properties"][part]
    return node


def schema_keys(node: dict[str, Any], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, below in node["properties"].items():
        key = f"{prefix}.{name}" if prefix else name
        keys += schema_keys(below, key) if "properties" in below else [key]
    return keys


def documented() -> dict[str, list[str]]:
    """The rows of docs/configuration.md's tables: key -> the other cells."""
    rows = {}
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| `") and len(cells) == 4:
            rows[cells[0].strip("`")] = cells[1:]
    return rows


def test_the_defaults_have_exactly_the_keys_of_the_settings() -> None:
    """dtf.yaml gives every key of the settings a default, in their order."""
    known, strangers = config._flatten(config.packaged("dtf.yaml")["dtf"])
    assert list(known) == list(READERS)
    assert strangers == {}


def test_the_schema_has_exactly_the_keys_of_the_settings() -> None:
    """dtf-schema.yaml lists every key, describes it, and admits no other."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    dtf_node = SCHEMA["properties"]["dtf"]
    assert schema_keys(dtf_node) == list(READERS)
    assert all(schema_node(key)["description"].endswith(".") for key in READERS)
    for branch in settings.BRANCHES:
        assert schema_node(branch)["additionalProperties"] is False


def test_the_documentation_has_exactly_the_keys_of_the_settings() -> None:
    """docs/configuration.md has a row for every key, with its default and example."""
    rows = documented()
    assert list(rows) == list(READERS)
    for key, (default, meaning, example) in rows.items():
        shown = "null" if DEFAULTS[key] is None else str(DEFAULTS[key])
        assert default == f"`{shown}`", key
        assert meaning.endswith("."), key
        variable = "DASK_DTF__" + key.upper().replace("-", "_").replace(".", "__")
        assert example.startswith(f"`{variable}="), key


def test_the_documented_examples_are_accepted() -> None:
    """Each example of an environment variable is a value that is accepted."""
    for key, (_, _, example) in documented().items():
        text = example.strip("`").partition("=")[2].strip("'")
        load({key: dask.config.interpret_value(text)})


def test_the_settings_have_a_field_for_every_key() -> None:
    """A field is called as its key, in its section's class, with the unit last."""
    assert list(SECTIONS) == [f.name for f in dataclasses.fields(settings.Settings)]
    hints = typing.get_type_hints(settings.Settings)
    for name, section in SECTIONS.items():
        assert hints[name] is section
        for field in dataclasses.fields(section):
            reader = field.metadata["reader"]
            unit = {Duration: "_s", Size: "_bytes"}.get(type(reader), "")
            leaf = field.metadata["key"].removeprefix(f"{name}.")
            assert field.name == leaf.replace("-", "_").replace(".", "_") + unit


PROBES: tuple[object, ...] = (
    *(None, True, False, "", " ", "x", "load", "auto", "off", "nan", "inf", "-1", "5"),
    *("5 min", "100ms", "1 KiB", ".5s", "1e3", "sqlite:///x", [], {}, [1], {"a": 1}),
    *(-1, 0, 1, 3, 0.5, 1.5, 1e30, 5.0, "x" * 3000),
)


@pytest.mark.parametrize("key", READERS)
def test_the_schema_and_the_readers_agree(key: str) -> None:
    """Probe values and the bounds themselves: accepted by both or by neither.

    The schema cannot compute with units, so text is compared for its form only.
    """
    reader = READERS[key]
    validator = jsonschema.Draft202012Validator(SCHEMA)
    least = getattr(reader, "least", getattr(reader, "least_s", 0))
    most = getattr(reader, "most", getattr(reader, "most_s", 0))
    step = 1 if isinstance(reader, Count | Size) else least / 2 + 1e-6
    edges = (least, least - step, most, most + step)
    for probe in (*PROBES, *edges, *getattr(reader, "words", ())):
        tree: object = probe
        for part in reversed(("dtf", *key.split("."))):
            tree = {part: tree}
        schema_accepts = validator.is_valid(tree)
        try:
            reader.read(probe)
        except ValueError:
            is_quantity = isinstance(reader, Duration | Size)
            if not (is_quantity and isinstance(probe, str)):
                assert not schema_accepts, probe
        else:
            assert schema_accepts, probe


# Where values come from.


def test_defaults_are_in_force_when_nobody_says_otherwise(configure: Configure) -> None:
    """Without file or variable, the settings are those of dtf.yaml."""
    configure()
    assert {entry.source for entry in config.entries()} == {"default"}
    assert load().runs.dist == "load"
    assert load().runs.batch_target_s == 0.1
    assert load().snapshot.limit_bytes == 512 * 2**20
    assert load().results.keep_s is None


def test_a_variable_wins_over_a_file_and_an_override_over_both(
    configure: Configure,
) -> None:
    """Precedence: default < file < variable < what the caller gives."""
    configure("dtf: {runs: {retries: 1, timeout: 5 min}}")
    assert load().runs.retries == 1
    assert load().runs.timeout_s == 300
    configure("dtf: {runs: {retries: 1}}", DASK_DTF__RUNS__RETRIES="2")
    assert load().runs.retries == 2
    assert load({"runs.retries": 3}).runs.retries == 3


def test_the_source_of_a_value_is_named(configure: Configure, tmp_path: Path) -> None:
    """`entries` says file, variable or call; what cannot be known is said to be so."""
    configure("dtf: {runs: {retries: 1, workers: 2}}", DASK_DTF__RUNS__DIST="each")
    with dask.config.set({"dtf.runs.workers": 3}):
        sources = {e.key: e.source for e in config.entries({"runs.isolate": "process"})}
    assert sources["runs.retries"] == f"file {tmp_path / 'dtf.yaml'}"
    assert sources["runs.dist"] == "variable DASK_DTF__RUNS__DIST"
    assert sources["runs.workers"] == "set in this process"
    assert sources["runs.isolate"] == "given with the call"
    assert sources["runs.timeout"] == "default"


@pytest.mark.parametrize("key", ["crash-limit", "crash_limit"])
def test_dashes_and_underscores_are_one(configure: Configure, key: str) -> None:
    """Dask's normalisation holds for files, variables, `set` and overrides."""
    configure(f"dtf: {{runs: {{{key}: 5}}}}")
    assert load().runs.crash_limit == 5
    with dask.config.set({f"dtf.runs.{key}": 6}):
        assert load().runs.crash_limit == 6
    assert load({f"runs.{key}": 7}).runs.crash_limit == 7
    configure(DASK_DTF__RUNS__CRASH_LIMIT="8")
    assert load().runs.crash_limit == 8


def test_a_bare_off_in_yaml_means_off(configure: Configure) -> None:
    """YAML reads `off` as false; the key takes it for the word."""
    configure("dtf: {environment: {check: off}}")
    assert load().environment.check == "off"


def test_importing_config_is_light_and_writes_nothing(tmp_path: Path) -> None:
    """Of Dask's parts only `dask.config` is needed; no file appears in the home."""
    code = """
import sys, dtf_dask.config
heavy = {"distributed", "jsonschema", "sqlalchemy", "rich", "click", "pytest"}
print(sorted(heavy & set(sys.modules)))
"""
    environment = {**os.environ, "HOME": str(tmp_path)}
    environment.pop("DASK_CONFIG", None)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
    assert list(tmp_path.iterdir()) == []


# What is refused, and how.


def test_an_unknown_key_is_refused_with_the_nearest_name(configure: Configure) -> None:
    """A slip in a file, a variable or a call: the source and the likely key."""
    configure("dtf: {runs: {batch-target: 1s}}", DASK_DTF__RUNS__DITS="each")
    with pytest.raises(ConfigurationError) as caught:
        load({"retires": 1})
    text = str(caught.value)
    assert "runs.dits (variable DASK_DTF__RUNS__DITS) is no key" in text
    assert "did you mean runs.dist?" in text
    assert re.search(r"runs\.batch-target \(file .*dtf\.yaml\)", text)
    assert "did you mean runs.batch.target?" in text
    assert "retires (given with the call) is no key of dtf; did you mean runs.retr" in (
        text
    )


def test_a_key_like_no_other_is_refused_without_a_guess() -> None:
    """No nearest name is made up; the list of keys is pointed to."""
    with pytest.raises(ConfigurationError, match="`dtf config` lists the keys"):
        load({"zzzzzz.qqqqqq": 1})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dtf: 5", "dtf is 5 "),
        ("dtf: {runs: load}", "dtf.runs is 'load' "),
        ("dtf: {runs: {batch: [1]}}", "dtf.runs.batch is [1] "),
    ],
)
def test_a_value_where_a_section_must_be_is_refused(
    configure: Configure, text: str, message: str
) -> None:
    """A section cannot be a value; which one is, is said."""
    configure(text)
    with pytest.raises(ConfigurationError, match="expected a section") as caught:
        load()
    assert message in str(caught.value)


def test_a_variable_for_a_section_is_refused(configure: Configure) -> None:
    """Dask drops such a variable when defaults are merged; dtf still says so."""
    configure(DASK_DTF__RUNS="3")
    dask.config.config["dtf"] = copy.deepcopy(config.packaged("dtf.yaml")["dtf"])
    with pytest.raises(ConfigurationError, match=r"dtf\.runs is 3 \(variable DASK_DTF"):
        load()


def test_one_underscore_in_a_variable_is_pointed_out(configure: Configure) -> None:
    """Dask would read DASK_DTF_RUNS as another key and nobody would notice."""
    configure(DASK_DTF_RUNS__DIST="each")
    with pytest.raises(ConfigurationError, match="DASK_DTF_RUNS__DIST: write DASK_DTF"):
        load()


@pytest.mark.parametrize("value", ["-1s", -1, "soon", "", "5 parsecs", True, "9" * 99])
def test_what_is_no_duration_is_refused(value: object) -> None:
    """Negative, absurd and unreadable durations name the key and the value."""
    assert "runs.timeout is" in refusal(timeout=value)


def test_absurd_values_are_refused_with_the_bounds() -> None:
    """A bound that was passed is said, in units that people read."""
    assert "from 10 ms to 30 d" in refusal(timeout="10 weeks")
    assert "from 0 s to 1 h" in refusal(cancel_grace="2 h")
    assert "from 1 KiB to 1 TiB" in refusal(file_limit="3 TiB")
    assert "auto or a whole number from 1 to 1024" in refusal(workers=0)
    assert "whole number from 0 to 100" in refusal(retries=1.5)
    assert "longer than runs.batch.max" in refusal(target="1 min", max="10s")
    assert "unknown unit 'qB'" in refusal(inline_limit="1 qB")


def test_a_word_that_is_no_choice_is_refused_with_the_choices() -> None:
    """The allowed words are listed, the nearest one is proposed."""
    text = refusal(dist="loadscop", check=True)
    assert "expected one of load, loadscope, loadfile, loadgroup, each, one-per" in text
    assert "did you mean 'loadscope'?" in text
    assert "environment.check is True (given with the call)" in text


def test_every_problem_is_told_at_once() -> None:
    """Nobody repairs one value only to be told of the next."""
    assert refusal(dist="x", retries=-1, limit="no").count("\n") == 3


def test_a_password_is_never_shown() -> None:
    """URLs are shown without their password, in listings as in errors."""
    url = "postgresql://ada:secret@host/results"
    assert "secret" not in settings.shown(url)
    assert "secret" not in refusal(artifact_limit=url)
    listing = invoke("config", "--json", DASK_DTF__RESULTS__URL=url).stdout
    assert "ada:***@host" in listing
    assert "secret" not in listing


def test_a_long_value_is_shortened() -> None:
    """A message stays readable whatever was configured."""
    assert len(refusal(dist="x" * 100_000)) < 500


def test_a_malformed_file_of_dask_is_a_configuration_error(tmp_path: Path) -> None:
    """Dask refuses to be imported then; `dtf` ends with one line and code 9."""
    (tmp_path / "dask.yaml").write_text("a: [")
    done = invoke("config", DASK_CONFIG=str(tmp_path))
    assert done.returncode == 9
    assert done.stderr.startswith("dtf: A dask config file at")
    assert "Traceback" not in done.stderr


def test_settings_are_values() -> None:
    """Frozen, without a dict, equal by value, and they pickle."""
    one = load()
    assert pickle.loads(pickle.dumps(one)) == one
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.runs.retries = 3  # type: ignore[misc]
    assert not hasattr(one.runs, "__dict__")


# The command.


def invoke(*arguments: str, **variables: str) -> Any:
    """Run `dtf` in a process of its own, as its configuration is read once."""
    return subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-c",
            "from dtf_dask.cli.main import main; main()",
            *arguments,
        ],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_lists_every_key(configure: Configure) -> None:
    """`dtf config` has one line a key, and ends well."""
    configure()
    done = CliRunner().invoke(dtf, ["config"])
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(READERS)


def test_the_command_explains_one_key(configure: Configure) -> None:
    """`dtf config KEY` adds the meaning and the default."""
    configure(DASK_DTF__RUNS__DIST="each")
    lines = CliRunner().invoke(dtf, ["config", "runs.dist"]).stdout.splitlines()
    assert lines[0].split() == [
        "runs.dist",
        "'each'",
        "variable",
        "DASK_DTF__RUNS__DIST",
    ]
    assert lines[1] == ("  How tests are spread over the workers. Default: 'load'.")


def test_the_command_prints_json(configure: Configure) -> None:
    """`--json` is one object, by key; a section's name selects its keys."""
    configure("dtf: {runs: {batch: {max: 10s}}}")
    shown = json.loads(
        CliRunner().invoke(dtf, ["config", "runs.batch", "--json"]).stdout
    )
    assert list(shown) == ["runs.batch.target", "runs.batch.max"]
    assert shown["runs.batch.max"]["value"] == "10s"
    assert shown["runs.batch.max"]["default"] == "30s"


def test_the_command_refuses_what_cannot_be_used() -> None:
    """The listing is shown, then the problems; the code is ConfigurationError's."""
    done = invoke("config", DASK_DTF__RUNS__DITS="each")
    assert done.returncode == ConfigurationError.exit_code
    assert "did you mean runs.dist?" in done.stderr
    assert done.stdout.startswith("runs.dist ")


def test_the_command_refuses_an_unknown_key() -> None:
    """A key that is none is refused with the nearest name."""
    with pytest.raises(ConfigurationError, match=r"did you mean runs\.retries"):
        CliRunner().invoke(dtf, ["config", "retires"], catch_exceptions=False)


def test_an_error_is_one_line_below_dask_too() -> None:
    """`dask dtf` ends with the same words and code as `dtf`, without a traceback."""
    group = click.Group("dask", commands={"dtf": dtf})
    done = CliRunner().invoke(group, ["dtf", "config", "retires"])
    assert done.exit_code == ConfigurationError.exit_code
    assert done.stderr == "dtf: retires is no key of dtf; did you mean runs.retries?\n"


# Quantities.


def test_durations_mean_what_they_mean_to_dask() -> None:
    """Every unit of Dask, in every case, with the same meaning."""
    for unit in dask.utils.timedelta_sizes:
        text = f"2.5 {unit}"
        assert parse_duration(text) == pytest.approx(dask.utils.parse_timedelta(text))
    assert parse_duration("1e3") == dask.utils.parse_timedelta("1e3")


def test_sizes_mean_what_they_mean_to_dask() -> None:
    """Every unit of Dask, in every case, with the same meaning."""
    for unit in dask.utils.byte_sizes:
        text = f"2.5 {unit}"
        assert parse_size(text) == dask.utils.parse_bytes(text)
    assert parse_size("1e6 kB") == dask.utils.parse_bytes("1e6 kB")


def test_quantities_where_dask_guesses() -> None:
    """A leading point is a fraction, `min` is a minute, a unit alone is nothing."""
    assert parse_duration(".5s") == 0.5
    assert parse_duration("2 min") == 120
    for text in ("ms", "", "-3s", "1 2", "5..0", "1e999", "0x10", "٣s"):
        with pytest.raises(ValueError):
            parse_duration(text)


@given(st.floats(1e-3, 1e6))
def test_a_formatted_duration_reads_back(seconds: float) -> None:
    """Formatting keeps four digits and is read by the parser."""
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=1e-3)


@given(st.integers(0, 2**50))
def test_a_formatted_size_reads_back(size: int) -> None:
    """Formatting keeps four digits and is read by the parser."""
    assert parse_size(format_size(size)) == pytest.approx(size, rel=1e-3, abs=1)


@given(st.one_of(st.text(max_size=80), st.floats(), st.integers(), st.none()))
def test_whatever_is_no_quantity_is_a_value_error(value: object) -> None:
    """Any input gives a finite number or ValueError, nothing else."""
    for parse in (parse_duration, parse_size):
        try:
            assert 0 <= parse(value) < float("inf")
        except ValueError:
            pass
