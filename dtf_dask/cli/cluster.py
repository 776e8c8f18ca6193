"""``dtf scheduler`` and ``dtf worker``: Dask's own commands with dtf's plugins.

Every option of ``dask scheduler`` and ``dask worker`` is there; what is different are
defaults, in the direction of one machine whose tests have a core each.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
import dask.config
from dask.system import CPU_COUNT
from distributed.cli import dask_scheduler, dask_worker

from dtf_dask import __version__
from dtf_dask.cli import announcement
from dtf_dask.comm.address import PREFIX, parse_contact
from dtf_dask.config import load
from dtf_dask.errors import DemandError
from dtf_dask.preload import with_dtf
from dtf_dask.settings import Tokens
from dtf_dask.settings_hardware import Commands, Labels
from dtf_dask.worker_plugins.hardware.advert import parse_accept

_LOOPBACK = "127.0.0.1"
# Dask warns whenever one of these is given: they do nothing.
_DEPRECATED = ("show", "use_xheaders")


def _from_dask(
    base: click.Command,
    name: str,
    run: Callable[..., None],
    text: str,
    changes: dict[str, dict[str, Any]],
    own: Sequence[click.Option] = (),
) -> click.Command:
    """Dask's command under our name: its parameters, some in other words, and ours."""
    params: list[click.Parameter] = list(own)
    for param in base.params:
        if param.name == "version":
            continue
        ours = copy.copy(param)
        for attribute, value in changes.get(str(param.name), {}).items():
            setattr(ours, attribute, value)
        if isinstance(ours, click.Option) and param.name in _DEPRECATED:
            ours.hidden = True
        params.append(ours)
    command = click.Command(
        name,
        params=params,
        callback=run,
        help=text,
        context_settings={
            **base.context_settings,
            "help_option_names": ["-h", "--help"],
        },
    )
    return click.version_option(__version__, prog_name=f"dtf {name}")(command)


def _run_scheduler(**options: Any) -> None:
    load()  # Dask would go on without a preload that cannot read the configuration
    if not options["host"] and not options["interface"]:
        tls = any(options[key] for key in ("tls_ca_file", "tls_cert", "tls_key"))
        scheme = "tls://" if tls and not options["protocol"] else ""
        options["host"] = f"{scheme}{_LOOPBACK}"
    if options["dashboard_address"] is None:
        options["dashboard_address"] = f"{_LOOPBACK}:8787"
    options["preload"] = [
        *with_dtf(options["preload"], dask.config.get("distributed.scheduler.preload")),
        announcement.__name__,
    ]
    assert dask_scheduler.main.callback is not None
    dask_scheduler.main.callback(**options)


def _run_worker(**options: Any) -> None:
    address = options["scheduler"] or dask.config.get("scheduler-address", None)
    if not (address or options["scheduler_file"]):
        raise click.UsageError(
            "Which scheduler? Give the address that `dtf scheduler` printed: "
            "dtf worker tcp://HOST:8786"
        )
    if str(address).startswith(PREFIX):
        try:
            parse_contact(address)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    _say_of_hardware(
        options.pop("labels"),
        options.pop("accept"),
        options.pop("tokens"),
        options.pop("health_checks"),
    )
    threads = options["nthreads"] = max(1, options["nthreads"])
    if options["n_workers"] == "auto":
        # Dask's own "auto" would give few processes many threads.
        alone = not options["nanny"] or options["listen_address"]
        options["n_workers"] = "1" if alone else str(max(1, CPU_COUNT // threads))
    options["preload"] = with_dtf(
        options["preload"], dask.config.get("distributed.worker.preload")
    )
    options["preload_nanny"] = with_dtf(
        options["preload_nanny"], dask.config.get("distributed.nanny.preload")
    )
    assert dask_worker.main.callback is not None
    dask_worker.main.callback(**options)


def _say_of_hardware(
    labels: Mapping[str, str],
    accept: str | None,
    tokens: Mapping[str, int],
    health_checks: Sequence[str],
) -> None:
    """Configure what the workers say of themselves; nannies pass it on to them.

    What is configured already is checked too: a worker must not start and then say
    less than it was told to.
    """
    configured = load().hardware
    try:
        parse_accept(configured.accept if accept is None else accept)
    except DemandError as error:
        raise click.BadParameter(str(error), param_hint="--accept") from None
    try:
        checks = list(Commands().read([*configured.health_checks, *health_checks]))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--health-check") from None
    dask.config.set(
        {
            "dtf.hardware.labels": {**configured.labels, **labels},
            "dtf.hardware.accept": configured.accept if accept is None else accept,
            "dtf.hardware.tokens": {**configured.tokens, **tokens},
            "dtf.hardware.health-checks": checks,
        }
    )


def _pairs(
    ctx: click.Context, param: click.Parameter, words: tuple[str, ...]
) -> dict[str, Any]:
    """``NAME=VALUE``, as often as it was given, checked as the configuration is."""
    pairs: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise click.BadParameter(f"{word!r}: write {param.metavar}")
        if pairs.get(name, value) != value:
            raise click.BadParameter(f"{name} was given two values")
        pairs[name] = value
    try:
        if param.name == "labels":
            return dict(Labels().read(pairs))
        counts = {n: int(v) if v.isdecimal() else v for n, v in pairs.items()}
        return dict(Tokens().read(counts))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


_SAID_OF_HARDWARE = (
    click.Option(
        ["--label", "labels"],
        multiple=True,
        callback=_pairs,
        metavar="NAME=TEXT",
        help="What tests can ask for as label.NAME, such as board=rpi4. Repeatable.",
    ),
    click.Option(
        ["--accept"],
        metavar="EXPRESSION",
        help="What a task must be for these workers to take it, such as "
        "\"class == 'nightly'\" [default: all]",
    ),
    click.Option(
        ["--token", "tokens"],
        multiple=True,
        callback=_pairs,
        metavar="NAME=COUNT",
        help="Licences that each worker process brings for the whole cluster to share,"
        " such as simulator=2. Repeatable.",
    ),
    click.Option(
        ["--health-check", "health_checks"],
        multiple=True,
        metavar="COMMAND",
        help="A shell command that fails when the machine is not fit for work, such as"
        " 'test -e /dev/kvm'. The workers get nothing while it does. Repeatable.",
    ),
)

scheduler = _from_dask(
    dask_scheduler.main,
    "scheduler",
    _run_scheduler,
    "Start a scheduler; its first line on stdout is DTF_SCHEDULER=ADDRESS.\n\n"
    "It listens on this machine only, unless --host (or --interface) says otherwise.",
    {
        "host": {"help": f"URI, IP or hostname to listen on [default: {_LOOPBACK}]"},
        "dashboard_address": {
            "default": None,
            "show_default": False,
            "help": f"Where the dashboard listens [default: {_LOOPBACK}:8787]",
        },
    },
)

worker = _from_dask(
    dask_worker.main,
    "worker",
    _run_worker,
    "Start workers for the scheduler at address SCHEDULER.\n\n"
    "By default one process per core with one thread each, so that a test has a core "
    "to itself.",
    {
        "nthreads": {"default": 1, "show_default": True},
        "n_workers": {
            "default": "auto",
            "help": "Number of worker processes. A negative number counts from the "
            "cores + 1; 'auto' takes the cores divided by --nthreads.",
        },
        "dashboard_address": {
            "default": f"{_LOOPBACK}:0",
            "show_default": True,
            "help": "Where each worker's dashboard and metrics listen.",
        },
    },
    _SAID_OF_HARDWARE,
)
