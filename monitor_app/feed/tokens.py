"""The token that is shown to who asks for one: typed, or kept by the system's keyring.

It is in no file of the monitor's, and is shown to no cluster that has not asked.
"""

from __future__ import annotations

import threading
from typing import Protocol

from monitor_app.feed.place import Place
from monitor_app.feed.reasons import reason

SERVICE = "dtf-monitor"

# What keeps passwords in plain files, or nowhere.
_UNFIT = ("keyrings.alt", "keyring.backends.fail", "keyring.backends.null")


class Ring(Protocol):
    """What a keyring of the package of that name does."""

    def get_password(self, service: str, username: str) -> str | None:
        """What is kept for a name."""

    def set_password(self, service: str, username: str, password: str) -> None:
        """Keep it."""


class Tokens:
    """Those that are tried in turn, from threads: a keyring may ask somebody first.

    Parameters
    ----------
    typed
        What somebody said; empty if nobody was asked.
    keep
        Whether the keyring is to have what was typed, once it has been taken.
    """

    def __init__(self, typed: str = "", *, keep: bool = False) -> None:
        self._mutex = threading.Lock()
        self._typed = bool(typed)
        self._to_keep = keep and self._typed
        self._shown = typed
        self._looked: set[Place] = set()

    @property
    def shown(self) -> str:
        """What is shown now; empty for nothing."""
        return self._shown

    def refused(self, place: Place) -> bool:
        """It is not enough there: whether another is shown from now on."""
        with self._mutex:
            if self._typed or place in self._looked:
                return False
            self._looked.add(place)
            found = _kept(place)
            if not found or found == self._shown:
                return False
            self._shown = found
            return True

    def take_to_keep(self) -> str:
        """It was let in: the token that is to be kept now; empty if none is."""
        with self._mutex:
            keep, self._to_keep = self._to_keep, False
            return self._shown if keep else ""


def is_token(text: str) -> bool:
    """Whether it can be shown at all: a header holds no other signs."""
    return text.isascii() and text.isprintable() and " " not in text


def ring() -> Ring | None:
    """The keyring of the system; None if there is none that is safe."""
    import keyring

    found = keyring.get_keyring()
    for one in getattr(found, "backends", (found,)):
        if not type(one).__module__.startswith(_UNFIT):
            return one  # type: ignore[no-any-return]
    return None


def _kept(place: Place) -> str:
    try:
        known = ring()
        found = (known and known.get_password(SERVICE, str(place))) or ""
        return found if is_token(found) else ""
    except Exception:  # locked, forbidden, broken: somebody is asked instead
        return ""


def keep(place: Place, token: str) -> str:
    """Have the keyring keep it; if it cannot, why."""
    try:
        known = ring()
        if known is None:
            return reason("this system has no keyring")
        known.set_password(SERVICE, str(place), token)
    except Exception as error:  # of whatever the system has there
        return str(error)[:200] or type(error).__name__
    return ""
