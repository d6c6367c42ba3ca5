#!/usr/bin/env python3
"""What every source file here keeps to, and clang-format cannot check.

    house_rules.py ROOT     prints each file that breaks a rule; status 1 if there is one
"""

import re
import sys
from pathlib import Path

FOLDERS = ["machine", "common-devices", "storage", "interp", "kvm-accel", "boot", "study", "app", "guests", "bench", "book", "man",
           "tests", "cmake", "docs"]
SUFFIXES = {".h", ".cc", ".c", ".S", ".py", ".cmake", ".txt", ".md", ".1"}
LONGEST = 600  # lines; a file that has more is two files
# Put together here so that this file does not break its own rule.
PUT_OFF = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X"]) + r")\b")


def decision_violations(root):
    """Decisions have a number of their own, and are in the list."""
    pages = sorted((root / "docs" / "decisions").glob("[0-9]*.md"))
    readme = root / "docs" / "decisions" / "README.md"
    listed = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    numbers = [page.name[:4] for page in pages]
    for page in pages:
        if numbers.count(page.name[:4]) > 1:
            yield f"docs/decisions/{page.name}: there is another decision {page.name[:4]}"
        if f"({page.name})" not in listed:
            yield f"docs/decisions/{page.name}: not in the README's list"


def violations(root):
    root = Path(root).resolve()
    yield from decision_violations(root)
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in SUFFIXES or not path.is_file():
                continue
            where = path.relative_to(root).as_posix()
            lines = path.read_text(encoding="utf-8").splitlines()
            if len(lines) > LONGEST:
                yield f"{where}: {len(lines)} lines, more than {LONGEST}"
            if path.suffix == ".h" and "#pragma once" not in lines:
                yield f"{where}: no #pragma once"
            for number, line in enumerate(lines, 1):
                if PUT_OFF.search(line):
                    yield f"{where}:{number}: work put off belongs on the issue list: {line.strip()}"


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    found = list(violations(sys.argv[1]))
    print("\n".join(found) if found else "every file keeps the house rules")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
