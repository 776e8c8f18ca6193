"""How those settings of hardware are read that are more than a word. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dtf_dask.settings_names import NAMES_MAX, Naming

LABEL_LENGTH_MAX = 200
COMMANDS_MAX = 32
COMMAND_LENGTH_MAX = 2000
NAMING = Naming(
    re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}"),
    "a letter, then letters, digits, '_', '-' or '.', at most 64",
)


@dataclass(frozen=True, slots=True)
class Labels:
    """Names and what each stands for, as text: ``{board: rpi4}``."""

    def read(self, value: object) -> dict[str, str]:
        """Return a new mapping; a whole number becomes text."""
        labels = NAMING.named(value, "labels such as {board: rpi4}")
        for name, said in labels.items():
            if isinstance(said, bool) or not isinstance(said, str | int):
                raise ValueError(f"expected text for {name!r}; put it in quotes")
            if not 0 < len(str(said)) <= LABEL_LENGTH_MAX:
                raise ValueError(
                    f"expected 1 to {LABEL_LENGTH_MAX} letters for {name!r}"
                )
        return {name: str(said) for name, said in labels.items()}


@dataclass(frozen=True, slots=True)
class Names:
    """A list of names, or ``all``."""

    def read(self, value: object) -> tuple[str, ...] | str:
        """Return the names without repetition, or the word."""
        if value == "all":
            return "all"
        if (
            isinstance(value, list | tuple)
            and len(value) <= NAMES_MAX
            and all(NAMING.fits(name) for name in value)
        ):
            return tuple(dict.fromkeys(value))
        raise ValueError(f"expected all, or a list of at most {NAMES_MAX} names")


@dataclass(frozen=True, slots=True)
class Commands:
    """A list of lines for the shell."""

    def read(self, value: object) -> tuple[str, ...]:
        """Return the lines without repetition."""
        if (
            isinstance(value, list | tuple)
            and len(value) <= COMMANDS_MAX
            and all(
                isinstance(line, str)
                and line.strip()
                and len(line) <= COMMAND_LENGTH_MAX
                for line in value
            )
        ):
            return tuple(dict.fromkeys(value))
        raise ValueError(
            f"expected a list of at most {COMMANDS_MAX} commands, each of at most"
            f" {COMMAND_LENGTH_MAX} letters"
        )
