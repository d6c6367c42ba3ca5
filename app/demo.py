#!/usr/bin/env python3
"""The same guests under both engines, as one table: what `./dev demo` prints.

Each line is one `dualvm compare`, whose JSON report is all that is used here. Status 14 if an engine disagreed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

# Guest, its command line, what it shows.
GUESTS = [
    ("hello16", "", "a greeting from 16-bit real mode"),
    ("hello32", "", "... from 32-bit protected mode"),
    ("hello64", "", "... from 64-bit long mode"),
    ("timer", "size=20", "40 timer interrupts, in HLT and in a loop"),
    ("pagefault", "", "page faults, handled and resumed"),
    ("sha256", "ring=3", "SHA-256, as a user program (ring 3)"),
    ("sieve", "ring=3 size=20000", "prime numbers, as a user program (ring 3)"),
    ("sieve", "ring=0 size=20000", "the same, in the kernel (ring 0)"),
]
LIMIT = 60  # seconds a guest and engine


def compare(program, guests, name, arguments):
    """The report of one comparison, or None with the reason printed."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        done = subprocess.run(
            [program, "compare", f"--json={report}", "--timeout", str(LIMIT), "-kernel", guests / f"{name}.elf",
             "-append", arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if not report.is_file() or not report.stat().st_size:
            print(f"{name}: no result (status {done.returncode}): {done.stderr.strip()}")
            return None
        return json.loads(report.read_text(encoding="utf-8"))


def seconds_text(seconds):
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    return f"{seconds:.2f} s"


def row_of(report, name, arguments, shows):
    runs = {run["engine"]: run for run in report["runs"] if run["available"]}
    times = {engine: run["seconds"] for engine, run in runs.items()}
    row = [f"{name} {arguments}".strip(), shows]
    counts = [run["instructions"] for run in runs.values() if run["instructions"] is not None]
    row.append(f"{counts[0]:,}" if counts else "-")
    row += [seconds_text(times[engine]) if engine in times else "-" for engine in ("interp", "kvm")]
    if len(times) < 2:
        return row + ["-", "one engine only"]
    ratio = times["interp"] / times["kvm"]
    row.append(f"kvm {ratio:.1f} x" if ratio >= 1 else f"interp {1 / ratio:.1f} x")
    return row + ["the same" if report["agree"] else "DIFFERS"]


def print_table(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for number, row in enumerate(rows):
        print("  ".join(cell.rjust(width) if 2 <= i <= 5 else cell.ljust(width)
                        for i, (cell, width) in enumerate(zip(row, widths))).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=Path("build/dualvm"))
    parser.add_argument("--guests", type=Path, default=Path("build/guests"))
    args = parser.parse_args()

    rows = [["guest", "what it shows", "instructions", "interp", "kvm", "faster", "output"]]
    status = 0
    report = None
    for name, arguments, shows in GUESTS:
        report = compare(args.program, args.guests, name, arguments)
        if report is None:
            return 1
        rows.append(row_of(report, name, arguments, shows))
        if not report["agree"]:
            status = 14
    host = report["host"]
    print(f"One machine, two engines, on {host['cpu']}, {host['kernel']}, {host['kvm_module'] or 'no KVM module'}\n")
    print_table(rows)
    print()
    for run in report["runs"]:
        if not run["available"]:
            print(f"{run['engine']} did not run here: {run['unavailable_because']}")
    print("Instructions are counted by interp. One guest in full: build/dualvm compare -kernel build/guests/sieve.elf")
    print("What this host's KVM runs directly, and what it emulates: build/dualvm probe")
    if status:
        print("The engines disagreed; compare says in what.")
    return status


if __name__ == "__main__":
    sys.exit(main())
