#!/usr/bin/env python3
"""Generated system-level cases under the interpreter and under QEMU's TCG: both must give the same.

    second_opinion.py --build BUILD [--guest cases32] [--seed S] [--cases N] [--first F] [--show K]

The host's CPU is no oracle for instructions of ring 0, so a second implementation has to do. It has bugs of its own:
qemu_rules.py names them, each with the section of the manual that says so. What differs beside these fails the test,
and is printed: the case, and the fields that differ. `--first F --cases 1` runs one case again.

Status: 0 all alike, 1 not, 77 (CTest's "skipped") without QEMU.
"""

import argparse
import collections
import re
import shutil
import subprocess
import sys
from pathlib import Path

from qemu_rules import KNOWN, differing, explained

SKIPPED = 77
QEMU = "qemu-system-x86_64"
TIMEOUT = 240  # seconds of a batch, on a machine that may be busy
# SMEP, SMAP and the like are not in every model of QEMU's.
CPU = {"cases32": "qemu64", "cases64": "max,vendor=GenuineIntel,la57=off"}
BATCH = 250  # cases in one run of the guest


class Case:
    """One case: how it began (`text`, `code`, `at`: registers before) and what it gave (`end`: registers, memory)."""

    def __init__(self, head, result):
        match = re.match(r"(\d+) (v86|ring\d|compat\d) +(.*?): ([0-9a-f]*) (.*)$", head)
        if match is None:
            raise SystemExit(f"the guest printed what is no case: {head}")
        self.number, self.mode, self.kind, self.code = int(match[1]), match[2], match[3], bytes.fromhex(match[4])
        self.text = head
        self.at = fields(match[5])
        self.end = fields(result)

    def operation(self):
        """The code without operand-size prefixes."""
        return self.code.lstrip(b"\x66")


def fields(text):
    """'ip=208000 [217ffc]00000010' as {'ip': 0x208000, '[217ffc]': 0x10}."""
    found = {}
    for word in text.split():
        name, value = re.match(r"(\[\w+\]|\w+=)(\w+)$", word).groups()
        found[name.rstrip("=")] = int(value, 16)
    return found


# --- running -------------------------------------------------------------------------------------------------------

def commands(build, guest, append):
    kernel = ["-kernel", str(Path(build) / "guests" / f"{guest}.elf"), "-append", append]
    return {
        "interp": [str(Path(build) / "dualvm"), "run", "--engine=interp", "-no-reboot"] + kernel,
        "qemu": [QEMU, "-accel", "tcg", "-cpu", CPU[guest], "-display", "none", "-serial", "stdio", "-monitor", "none",
                 "-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"] + kernel,
    }


def run(command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False)
    lines = done.stdout.decode("ascii", "replace").replace("\r", "").splitlines()
    if not lines or lines[-1] != "done":
        last = lines[-1] if lines else "nothing"
        raise SystemExit(f"{' '.join(command)}\nstatus {done.returncode}, and the last line is: {last}\n"
                         f"{done.stderr.decode('utf-8', 'replace')}")
    return {case.number: case for case in map(Case, lines[0:-1:2], lines[1::2])}


def show(case, ours, theirs):
    names = sorted(differing(ours, theirs))
    print(case.text)
    for who, result in (("interp", ours), ("qemu", theirs)):
        print(f"    {who:7}" + " ".join(f"{n}={result[n]:x}" if n in result else f"{n}=-" for n in names))
    print("    alike  " + " ".join(f"{n}={v:x}" for n, v in ours.items() if n not in names))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True, help="the build tree")
    parser.add_argument("--guest", default="cases32", choices=KNOWN)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--show", type=int, default=10, help="print so many differences (default: 10)")
    arguments = parser.parse_args()
    if shutil.which(QEMU) is None:
        print(f"skipped: {QEMU} is not installed")
        return SKIPPED

    count, different, known, kinds = 0, 0, collections.Counter(), collections.Counter()
    end = arguments.first + arguments.cases
    for first in range(arguments.first, end, BATCH):
        append = f"seed={arguments.seed} first={first} cases={min(BATCH, end - first)}"
        results = {who: run(command) for who, command in commands(arguments.build, arguments.guest, append).items()}
        for number, case in results["interp"].items():
            ours, other = case.end, results["qemu"][number]
            if other.text != case.text:
                raise SystemExit(f"the guest made different cases:\n{case.text}\n{other.text}")
            count += 1
            kinds[case.kind] += 1
            if not differing(ours, other.end):
                continue
            rule = explained(arguments.guest, case, ours, other.end)
            if rule is not None:
                known[rule] += 1
                continue
            different += 1
            if different <= arguments.show:
                show(case, ours, other.end)
    print(f"{count} cases of seed {arguments.seed}: " + ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items())))
    for rule, section in KNOWN[arguments.guest]:
        if known[rule.__name__]:
            print(f"  {known[rule.__name__]:5} QEMU: {rule.__doc__.rstrip('.')} ({section})")
    print(f"{different} unexplained differences")
    return 1 if different or count != arguments.cases else 0


if __name__ == "__main__":
    sys.exit(main())
