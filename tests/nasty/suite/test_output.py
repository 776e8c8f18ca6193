"""Much output, odd output, and output that goes around Python."""

from __future__ import annotations

import os
import subprocess
import sys

MIB = 2**20


def test_100_mb_of_text():
    line = "x" * 99 + "\n"
    for _ in range(100):
        sys.stdout.write(line * 10_000)


def test_100_mb_then_failure():
    sys.stderr.write("the beginning\n")
    for _ in range(100):
        sys.stdout.write("y" * 1_000_000)
    sys.stdout.write("\nthe end of it\n")
    raise AssertionError("with much said before")


def test_20_mb_past_python():
    block = b"z" * MIB
    for _ in range(20):
        os.write(1, block)


def test_output_of_a_child():
    subprocess.run(["head", "-c", "5000000", "/dev/zero"], check=True)


def test_terminal_escapes():
    print("\x1b[2J\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b[?1049h \r\b\x7f")
    raise AssertionError("\x1b[2J\x1b[5mblinking\x1b[0m")


def test_not_utf8():
    os.write(1, bytes(range(256)))
    raise AssertionError("after bytes that are no text")


def test_lone_surrogate():
    raise AssertionError("half a pair: \ud800 and \udfff")


def test_zero_characters():
    print("a\0b")
    raise AssertionError("zero: \0 unit: \x1f escape: \x1b")


def test_not_for_xml():
    raise AssertionError("]]> <![CDATA[ & \ufffe \uffff \x0b")


def test_long_message():
    raise AssertionError("m" * 5_000_000)


def test_one_long_line():
    print("w" * 3_000_000)
    raise AssertionError("a line of three million")


def test_quiet():
    assert True
