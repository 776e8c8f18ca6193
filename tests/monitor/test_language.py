"""Every word that the window says is said in each language that is shipped."""

from __future__ import annotations

import string

import collect_words
import pytest
from PySide6.QtWidgets import QApplication

from monitor_app.models import language
from monitor_app.models.language import speak, tr, tr_reason, trn
from monitor_app.models.words import count, duration


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("name", collect_words.LANGUAGES)
def test_every_word_is_translated(qapp: QApplication, name: str) -> None:
    """Each has words in the language, the same places for values, and is compiled."""
    known, words = collect_words.translations(name), collect_words.said()
    assert sorted(known) == words, "run python tests/monitor/collect_words.py"
    try:
        assert speak(name) == name
        for source in words:
            assert known[source], source
            assert fields(known[source]) == fields(source), source
            assert tr(source) == known[source], "run collect_words.py"
    finally:
        speak("en")
    assert tr("passed") == "passed"


def test_what_the_feed_says_is_translated(qapp: QApplication) -> None:
    """As far as it is known; addresses and what others say stay as they are."""
    try:
        speak("de")
        told = tr_reason("http://h:1: its certificate is not trusted: expired")
        assert told == "http://h:1: seinem Zertifikat wird nicht vertraut: expired"
        assert (count(1234567), duration(5.25)) == ("1.234.567", "5,2 s")
        assert [trn("{n} task waits.", "{n} tasks wait.", n, n=n) for n in (1, 2)] == [
            "1 Aufgabe wartet.",
            "2 Aufgaben warten.",
        ]
    finally:
        speak("en")
    assert (count(1234567), duration(5.25)) == ("1,234,567", "5.2 s")


def test_a_language_that_is_not_shipped_is_english(qapp: QApplication) -> None:
    """Whatever the system speaks, the window says something."""
    assert speak("xx") == "en"
    assert ("en", *collect_words.LANGUAGES) == language.LANGUAGES
