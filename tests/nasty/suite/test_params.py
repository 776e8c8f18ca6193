"""Parameters that cannot be pickled, and ids that are hard to print or to store."""

from __future__ import annotations

import socket
import threading

import pytest


class Rude:
    def __repr__(self):
        raise RuntimeError("no repr")

    def __reduce__(self):
        raise RuntimeError("no pickle")

    def __eq__(self, other):
        raise RuntimeError("no comparison")

    __hash__ = None


class LocalError(Exception):
    """Cannot be made again from its arguments."""

    def __init__(self, *, needed):
        super().__init__()
        self.needed = needed
        self.lock = threading.Lock()


def _generator():
    yield 1


@pytest.mark.parametrize(
    "value",
    [lambda: 1, threading.Lock(), socket.socket(), _generator(), Rude(), type],
    ids=["lambda", "lock", "socket", "generator", "rude", "type"],
)
def test_value(value):
    assert value is not None


def test_local_error():
    raise LocalError(needed=1)


def test_error_without_words():
    class WordlessError(Exception):
        def __str__(self):
            raise RuntimeError("no words")

        __repr__ = __str__

    raise WordlessError


def test_compares_rude():
    assert Rude() is None


def test_error_group():
    raise ExceptionGroup("several", [ValueError(1), LocalError(needed=2)])


def test_long_cause():
    error = None
    for number in range(50):
        error, inner = ValueError(number), error
        error.__cause__ = inner
    raise error


@pytest.mark.parametrize(
    "text",
    [
        "日本語",
        "Größe",
        "😀",
        "a/b\\c",
        "::",
        "[x]",
        "a b\tc",
        "line\nbreak",
        "\x1b[31m",
        "\x00",
        "",
        "-k",
        "%s{}$HOME`id`",
        "<&\"'>",
        "é",
        "e\u0301",
        "אב",
    ],
)
def test_id(text):
    assert isinstance(text, str)


@pytest.mark.parametrize("length", [500, 5_000, 60_000], ids=lambda n: "L" * n)
def test_long_id(length):
    assert length


@pytest.mark.parametrize("length", [5_000], ids=lambda n: "F" * n)
def test_long_id_that_fails(length):
    raise AssertionError("short words")


def test_größe_日本():
    assert True


class TestÄußeres:
    def test_ñ(self):
        assert True
