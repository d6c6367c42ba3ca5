#!/usr/bin/env python3
"""Every listing in the book is a region of the real source: code typed into a page is refused.

    check_listings.py ROOT      prints each block that breaks this; status 1 if there is one
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "book" / "_ext"))
import regions  # noqa: E402
from blocks import blocks_of  # noqa: E402

# Blocks that are not program text. `text` is for drawings and tables; `console` is executed by run_console_blocks.py.
HARMLESS = {"console", "text", "{toctree}", "{note}", "{warning}", "{tip}", "{admonition}", "{exercise}", "{figure}",
            "{math}"}


def violations(root):
    root = Path(root)
    for page in sorted((root / "book").rglob("*.md")):
        where = page.relative_to(root).as_posix()
        for block in blocks_of(page.read_text(encoding="utf-8")):
            if block.kind == "{listing}":
                source = root / block.argument
                options = block.options()
                if not source.is_file():
                    yield f"{where}:{block.line}: there is no {block.argument}"
                    continue
                try:
                    regions.find(source.read_text(encoding="utf-8"), options.get("region", ""), options.get("until"),
                                 block.argument)
                except regions.RegionError as e:
                    yield f"{where}:{block.line}: {e}"
            elif block.kind not in HARMLESS:
                yield f"{where}:{block.line}: a '{block.kind}' block; program text comes by {{listing}} from its source"


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    found = list(violations(sys.argv[1]))
    print("\n".join(found) if found else "every listing is a region of the source")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
