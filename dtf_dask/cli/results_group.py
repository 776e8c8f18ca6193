"""A click group whose commands may be left out: ``dtf results [RUN]``."""

from __future__ import annotations

import click

_DEFAULT = "summary"


class RunOrCommand(click.Group):
    """The first word that names no command is an argument of the command ``summary``.

    The options belong to the commands, and may stand before their name as well.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the command's name first, wherever it stood."""
        if not ({"-h", "--help"} & set(args[:1])):
            at = self._first_word(args)
            if at is not None and args[at] in self.commands:
                args = [args[at], *args[:at], *args[at + 1 :]]
            else:
                args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Both ways to call it."""
        return ["[RUN]", "|", "COMMAND [ARGS]..."]

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """The options of the command that may be left out, then the commands."""
        default = self.commands[_DEFAULT]
        click.Command.format_options(default, ctx, formatter)
        self.format_commands(ctx, formatter)

    def _first_word(self, args: list[str]) -> int | None:
        """Where the first argument is that is neither an option nor its value."""
        with_value = {
            name
            for command in self.commands.values()
            for option in command.params
            if isinstance(option, click.Option) and not option.is_flag
            for name in option.opts
        }
        skip = False
        for at, word in enumerate(args):
            if skip:
                skip = False
            elif word == "--":
                return None
            elif word.startswith("-") and word != "-":
                skip = word in with_value
            else:
                return at
        return None
