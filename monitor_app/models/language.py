"""The words of the window, in the language of who reads them."""

from __future__ import annotations

from importlib.resources import as_file, files

from PySide6.QtCore import QCoreApplication, QLocale, QTranslator

from monitor_app.models.words import write_numbers

CONTEXT = "monitor"
LANGUAGES = ("en", "de", "fr")
_NUMBERS = {"de": (".", ","), "fr": ("\u202f", ",")}
"""What stands between thousands, and before tenths."""

_kept: list[QTranslator] = []


def tr(text: str, **values: object) -> str:
    """A text in the language of who reads it, with values in their places.

    Examples
    --------
    >>> tr("{n} of {m}", n=3, m=4)
    '3 of 4'
    """
    found = QCoreApplication.translate(CONTEXT, text)
    return found.format(**values) if values else found


def trn(one: str, many: str, by: int, **values: object) -> str:
    """As `tr`: the first text for one, the other for any other number.

    Examples
    --------
    >>> trn("{n} test", "{n} tests", 1, n="1"), trn("{n} test", "{n} tests", 2, n="2")
    ('1 test', '2 tests')
    """
    return tr(one if by == 1 else many, **values)


def tr_reason(text: str) -> str:
    """Words of the feed, as far as they are known: see `monitor_app.feed.reasons`.

    Examples
    --------
    >>> tr_reason("http://h:80: nobody listens there")
    'http://h:80: nobody listens there'
    """
    found = tr(text)
    return found if found != text else ": ".join(map(tr, text.split(": ")))


def mark(text: str) -> str:
    """A text that is translated later, by `tr`: here only for who collects them."""
    return text


def speak(language: str = "") -> str:
    """Load a language, that of the system if none is named; what is spoken then.

    English stands in the source: any language that is not shipped falls back on it.
    """
    app = QCoreApplication.instance()
    if app is None:
        return "en"
    for one in _kept:
        app.removeTranslator(one)
    _kept.clear()
    write_numbers(",", ".")
    name = (language or QLocale.system().name()).partition("_")[0]
    if name not in LANGUAGES or name == "en":
        return "en"
    translator = QTranslator(app)
    resource = files("monitor_app").joinpath(f"translations/monitor_{name}.qm")
    with as_file(resource) as path:
        if not translator.load(str(path)):
            return "en"
    app.installTranslator(translator)
    _kept.append(translator)
    write_numbers(*_NUMBERS[name])
    return name
