#!/usr/bin/env python3
"""What of the instruction set is advertised, implemented and tested: a row for each mnemonic x operand form x mode.

    coverage.py --build DIR [--cases N] [--seed N] [--out DIR] [--check]

Runs the instruction catalogue (DIR/instruction_forms) and `DIR/dualvm fuzz`, joins them with the hand-kept table of
tests for what ring 3 cannot show (other_tests.csv), writes instructions.csv and instructions.json, and prints a summary.
With --check: status 1 if CPUID advertises something that is not implemented or that no test touches. What this host's
CPU cannot tell (32-bit code where the kernel forbids it, what its maker does differently) is counted by itself and said.
"""

import argparse
import collections
import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SKIP = 77
# Undefined wherever a program can run them, and meant to be (SDM vol. 2B, "UD", "RSM").
UNDEFINED = {"ud0", "ud1", "ud2", "rsm"}
# On Intel's CPUs for 64-bit mode only (SDM vol. 2B, "SYSCALL", "SYSRET").
LONG_MODE = {"syscall", "sysret"}


def read_other_tests(path=HERE / "other_tests.csv", root=ROOT):
    """Mnemonic -> (pattern of operands, name of a test that touches it); and what is wrong with the table."""
    tests, wrong = collections.defaultdict(list), []
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            source = root / row["file"]
            if not source.is_file() or f"{row['test']})" not in source.read_text(encoding="utf-8"):
                wrong.append(f"{path.name}: there is no test {row['test']} in {row['file']}")
            for mnemonic in row["mnemonics"].split():
                tests[mnemonic].append((row["operands"], row["test"]))
    return tests, wrong


def key(form, mode=None):
    return f"{mode or form['mode']}/{form['mnemonic']}/{form['operands']}"


def out_of_reach(form, fuzz):
    """The generator makes such cases, but this host's CPU has no say in them."""
    mode = "32" if form["mode"] == "16" else form["mode"]
    return form["ring0"] == "no" and (mode not in fuzz["modes"] or key(form, mode) in fuzz["forms_not_compared"])


def table(forms, cases, other_tests, fuzz):
    """The rows: forms with how they are tested and what follows from it."""
    rows = []
    for form in forms:
        row = dict(form, cases=cases.get(key(form), 0), cases_32=0, tests="", status="absent")
        if form["advertised"] == "yes":
            # A decoded instruction does not know in which mode its bytes stood: 16-bit code, which the oracles cannot
            # run, has the implementation of the same form in 32-bit code. That it is decoded so, Capstone confirms.
            if form["mode"] == "16":
                row["cases_32"] = cases.get(key(form, "32"), 0)
            named = other_tests.get(form["mnemonic"], [])
            row["tests"] = " ".join(test for operands, test in named if re.fullmatch(operands, form["operands"]))
            differential = row["cases"] + row["cases_32"]
            # At ring 3 an instruction of ring 0 shows its #GP only.
            tested = bool(row["tests"]) or (differential > 0 and form["ring0"] == "no")
            undefined = form["mnemonic"] in UNDEFINED or (
                form["mode"] != "64" and form["mnemonic"] in LONG_MODE)
            implemented = form["executes"] == "yes" or undefined
            row["status"] = ("not implemented" if not implemented else "tested" if tested else
                             "not comparable here" if out_of_reach(form, fuzz) else "untested")
        elif form["executes"] == "yes" and not form["reads_as"]:
            row["status"] = "not advertised, but executes"
        rows.append(row)
    return rows


def complaints(rows):
    bad = {"not implemented", "untested", "not advertised, but executes"}
    return [f"{key(row)} ({row['example']}): {row['status']}" for row in rows if row["status"] in bad]


def summary(rows):
    """By feature: advertised forms in each mode, cases, and what is absent."""
    lines = ["feature        forms: 16-bit  32-bit  64-bit   differential cases   by named tests only"]
    present = collections.defaultdict(list)
    absent = collections.Counter()
    for row in rows:
        if row["advertised"] == "yes":
            present[row["feature"] or "every CPU"].append(row)
        else:
            absent[row["feature"]] += 1
    for feature, its in sorted(present.items(), key=lambda item: -len(item[1])):
        count = collections.Counter(row["mode"] for row in its)
        cases = sum(row["cases"] for row in its)
        named = sum(1 for row in its if row["tests"] and not row["cases"] + row["cases_32"])
        lines.append(f"{feature:<14}{count['16']:>14}{count['32']:>8}{count['64']:>8}{cases:>21}{named:>22}")
    lines.append(f"absent, and #UD or an older instruction: {sum(absent.values())} forms of "
                 f"{len(absent)} features ({', '.join(name for name, _ in absent.most_common(6))}, ...)")
    return "\n".join(lines)


def run_fuzz(build, cases, seed, out):
    path, report = out / "cases.json", out / "fuzz.json"
    command = [build / "dualvm", "fuzz", "--cases", str(cases), "--seed", str(seed), f"--coverage={path}",
               f"--json={report}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 6:  # the oracle is not available
        print(f"skipped: {done.stderr.strip()}", file=sys.stderr)
        sys.exit(SKIP)
    if done.returncode not in (0, 14):  # differences are for tests/diff to fail on
        print(done.stdout + done.stderr, file=sys.stderr)
        sys.exit(1)
    if done.returncode == 14:
        print(done.stdout + done.stderr, file=sys.stderr)
    return json.loads(path.read_text(encoding="utf-8")), json.loads(report.read_text(encoding="utf-8"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    out = options.out or options.build / "coverage"
    out.mkdir(parents=True, exist_ok=True)

    cases, fuzz = run_fuzz(options.build, options.cases, options.seed, out)
    forms = subprocess.run([options.build / "instruction_forms"], capture_output=True, text=True, check=True).stdout
    other_tests, wrong = read_other_tests()
    rows = table(csv.DictReader(io.StringIO(forms)), cases, other_tests, fuzz)
    with open(out / "instructions.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    (out / "instructions.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(summary(rows))
    wrong += complaints(rows)
    elsewhere = collections.Counter(row["mode"] for row in rows if row["status"] == "not comparable here")
    if wrong:
        print("\n".join(wrong))
    elif elsewhere:
        where = ", ".join(f"{count} of {mode}-bit code" for mode, count in sorted(elsewhere.items()))
        print(f"everything that CPUID advertises is implemented and tested, but for forms that this host's CPU cannot "
              f"tell, and another's can: {where}")
    else:
        print("everything that CPUID advertises is implemented and tested")
    return 1 if wrong and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
