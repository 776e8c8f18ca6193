"""Collects the words of the window, and makes of translations what Qt loads.

    python tests/monitor/collect_words.py

writes the words that are new into ``monitor_app/translations/*.ts``, to be translated
there, drops those that nobody says any more, and compiles all to ``.qm``.
"""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "monitor_app" / "translations"
LANGUAGES = ("de", "fr")
TEXTS = {"tr": 1, "mark": 1, "reason": 1, "trn": 2}
"""What is given texts, and how many."""


def said() -> list[str]:
    """All words that are translated: what `tr` and others are given, and marks."""
    found: dict[str, None] = {}
    for path in sorted((ROOT / "monitor_app").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                for one in node.args[: TEXTS.get(node.func.id, 0)]:
                    if isinstance(one, ast.Constant) and isinstance(one.value, str):
                        found[one.value] = None
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    from monitor_app.models.marks import MARKS

    return sorted({*found, *MARKS})


def translations(language: str) -> dict[str, str]:
    """What is said in a language for each of them; empty if it is not known yet."""
    path = FOLDER / f"monitor_{language}.ts"
    if not path.exists():
        return {}
    return {
        message.findtext("source", ""): message.findtext("translation", "")
        for message in ET.parse(path).iter("message")
    }


def write(language: str, words: dict[str, str]) -> None:
    """Write a language's file, and compile it."""
    root = ET.Element("TS", version="2.1", language=language, sourcelanguage="en")
    context = ET.SubElement(root, "context")
    ET.SubElement(context, "name").text = "monitor"
    for source, words_there in sorted(words.items()):
        message = ET.SubElement(context, "message")
        ET.SubElement(message, "source").text = source
        found = ET.SubElement(message, "translation")
        found.text = words_there
        if not words_there:
            found.set("type", "unfinished")
    ET.indent(root, " ")
    path = FOLDER / f"monitor_{language}.ts"
    path.write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE TS>\n'
        + ET.tostring(root, encoding="unicode")
        + "\n",
        "utf-8",
    )
    lrelease = shutil.which("pyside6-lrelease", path=Path(sys.executable).parent)
    subprocess.run(
        [str(lrelease), str(path), "-qm", str(path.with_suffix(".qm"))],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def main() -> None:
    """Bring all languages up to date."""
    for language in LANGUAGES:
        known = translations(language)
        words = {source: known.get(source, "") for source in said()}
        write(language, words)
        missing = [source for source, there in words.items() if not there]
        print(f"{language}: {len(words)} words, {len(missing)} to be translated")
        for source in missing:
            print(f"  {source}")


if __name__ == "__main__":
    main()
