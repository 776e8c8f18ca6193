"""Rewrites what our own data files expect: ``python raft_rewrite.py FILE ...``.

To be read before it is committed: it writes down what happens, right or wrong.
"""

from __future__ import annotations

import sys
from pathlib import Path

from raft_datadriven import OWN, directives
from raft_group import Group


def rewritten(path: Path) -> str:
    """The file with what its directives print now."""
    group = Group()
    lines = path.read_text(encoding="utf-8").splitlines()
    found = []
    at = 0
    for one in directives(path):
        separator = lines.index("----", at)
        found += lines[at : separator + 1]
        found += group.handle(one)
        at = separator + 1
        while at < len(lines) and lines[at].strip():
            at += 1
    return "\n".join([*found, *lines[at:]]).rstrip() + "\n"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        file = Path(name).resolve()
        assert file.is_relative_to(OWN), f"not ours: {file}"
        file.write_text(rewritten(file), encoding="utf-8")
