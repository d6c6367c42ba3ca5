#!/usr/bin/env python3
"""Executes the console blocks of a page and compares what is printed with what the page says.

    run_console_blocks.py --source ROOT --build BUILD-TREE PAGE

In a block, `$ ` starts a command (and `> ` continues one whose line ends with a backslash); the lines below are what it
prints, on standard output and standard error. A line of its own `...` stands for any number of lines, `…` inside a line
for any text. A command must succeed unless the next one is `echo $?`. Commands run in a scratch folder in which the
source tree and build/ are to be seen, so that pages say `build/dualvm` whatever the build tree is called.

`% needs: kvm` or `% needs: file build/PATH` above a block skips it, with the reason printed, where that is lacking. If all blocks of a page are
skipped, the status is 77.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from blocks import blocks_of

MARK = "=+=+= status"
TIMEOUT = 120  # seconds a block


def why_not(need, build):
    """Why this host or build tree cannot do what a block needs; empty if it can."""
    if need == "kvm":
        return "" if os.access("/dev/kvm", os.R_OK | os.W_OK) else "/dev/kvm is missing or may not be opened"
    if need.startswith("file "):
        path = need.removeprefix("file build/")
        return "" if (build / path).exists() else f"the build tree has no {path}"
    raise ValueError(f"unknown need '{need}'")


def steps_of(body):
    """[(command, [expected line, ...]), ...]"""
    steps = []
    for line in body:
        if line.startswith("$ "):
            steps.append((line[2:], []))
        elif line.startswith("> ") and steps and steps[-1][0].endswith("\\") and not steps[-1][1]:
            steps[-1] = (steps[-1][0] + "\n" + line[2:], [])
        elif steps:
            steps[-1][1].append(line)
        else:
            raise ValueError("output before the first command")
    return steps


def matches(expected, printed):
    """Does the text say what the lines `expected` say?"""
    pattern = ""
    for line in expected:
        if line.strip() == "...":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += r"[^\n]*?".join(re.escape(part) for part in line.rstrip().split("…")) + r"[ \t]*\n"
    return re.fullmatch(pattern, printed) is not None


def run_block(block, folder):
    """Problems, as text; none if the block holds."""
    steps = steps_of(block.body)
    script = ""
    for command, _ in steps:
        # (exit n) hands the status on to a following `echo $?`.
        script += f'{command}\n__status=$?; printf "\\n{MARK} %d\\n" "$__status"; (exit "$__status")\n'
    done = subprocess.run(["bash", "-c", script], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=TIMEOUT, check=False)
    rest = done.stdout.decode("utf-8", "replace")
    for i, (command, expected) in enumerate(steps):
        match = re.search(rf"\n{re.escape(MARK)} (\d+)\n", rest)
        if not match:
            yield f"$ {command}\n  did not end:\n{rest}"
            return
        printed, status, rest = rest[: match.start()], int(match[1]), rest[match.end() :]
        if printed and not printed.endswith("\n"):
            printed += "\n"
        asked = i + 1 < len(steps) and steps[i + 1][0].strip() == "echo $?"
        if status != 0 and not asked:
            yield f"$ {command}\n  ended with status {status}:\n{printed}"
        elif not matches(expected, printed):
            yield f"$ {command}\n  the page says:\n" + "\n".join(expected) + f"\n  but it printed:\n{printed}"


def run_page(page, source, build):
    """(blocks run, blocks skipped, problems)"""
    ran = skipped = 0
    problems = []
    with tempfile.TemporaryDirectory() as scratch:
        for entry in source.iterdir():
            if not entry.name.startswith((".git", "build")):
                (Path(scratch) / entry.name).symlink_to(entry)
        (Path(scratch) / "build").symlink_to(build)
        for block in blocks_of(page.read_text(encoding="utf-8")):
            if block.kind != "console":
                continue
            lacking = [reason for reason in (why_not(n, build) for n in block.needs) if reason]
            if lacking:
                skipped += 1
                print(f"{page.name}:{block.line}: skipped: {'; '.join(lacking)}")
                continue
            ran += 1
            try:
                problems += [f"{page.name}:{block.line}: {p}" for p in run_block(block, scratch)]
            except (ValueError, subprocess.TimeoutExpired) as e:
                problems.append(f"{page.name}:{block.line}: {e}")
    return ran, skipped, problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("page", type=Path)
    args = parser.parse_args()
    ran, skipped, problems = run_page(args.page, args.source.resolve(), args.build.resolve())
    print("\n".join(problems))
    print(f"{ran} console blocks run, {skipped} skipped, {len(problems)} problems")
    if problems:
        return 1
    return 77 if skipped and not ran else 0


if __name__ == "__main__":
    sys.exit(main())
