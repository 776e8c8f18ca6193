"""Columns of numbers, which many tables have."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter

from monitor_app.models.table import Column, Row
from monitor_app.models.words import count, duration, percent


def counted(title: str, name: str, width: int = 8) -> Column:
    """How many, of a field of the row."""
    return Column(
        title, lambda row: count(row[name]), itemgetter(name), right=True, width=width
    )


def lasting(title: str, name: str, width: int = 8) -> Column:
    """How long, of a field of the row."""
    return Column(
        title,
        lambda row: duration(row[name]),
        itemgetter(name),
        right=True,
        width=width,
    )


def shared(title: str, share: Callable[[Row], float | None], width: int) -> Column:
    """A share of a whole, with a bar."""
    return Column(
        title,
        lambda row: percent(share(row)),
        share,
        right=True,
        bar=share,
        width=width,
    )
