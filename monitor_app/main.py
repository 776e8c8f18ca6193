"""``dtf-monitor``: a window that shows a cluster while one works."""

from __future__ import annotations

import signal

import click

from dtf_dask import __version__
from dtf_dask.errors import UsageError
from monitor_app.feed.place import Place, parse_place

NO_QT = """\
The monitor needs PySide6, which cannot be loaded: {why}

    pip install 'dtf-dask[monitor]'

On Linux it uses libraries of the system, too: see docs/monitor.md.\
"""


def _places(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> list[Place]:
    try:
        return [parse_place(one) for one in texts]
    except UsageError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.argument("places", metavar="[URL]...", nargs=-1, callback=_places)
@click.option(
    "--theme",
    type=click.Choice(["system", "light", "dark"]),
    help="Colours. [default: those of last time]",
)
@click.option(
    "--language", metavar="CODE", help="en, de or fr. [default: the system's]"
)
@click.version_option(__version__, prog_name="dtf-monitor")
def command(places: list[Place], theme: str | None, language: str | None) -> None:
    """Watch a cluster all day.

    URL is where a coordinator serves its pages, http://127.0.0.1:8700; several of one
    cluster may be given. Without one the cluster of this machine is looked for.
    """
    try:
        from monitor_app.application import show
    except ImportError as error:
        click.echo(NO_QT.format(why=error), err=True)
        raise SystemExit(2) from None
    raise SystemExit(show(places, theme, language))


def main() -> None:
    """Run it."""
    # Qt's loop does not let Python handle Ctrl-C: the terminal ends it at once.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    command(prog_name="dtf-monitor")


if __name__ == "__main__":
    main()
