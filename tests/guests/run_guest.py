#!/usr/bin/env python3
"""Runs one guest of guests/manifest.json under one engine and checks what it prints and how it ends.

    run_guest.py --build BUILD --engine interp|kvm|assisted|qemu NAME

kvm is KVM with single instructions by interp where it must be; assisted is KVM for programs alone.

Status: 0 as expected, 1 not, 77 (CTest's "skipped") where this engine, or this host's KVM, cannot run it: the reason is
printed.
"""

import argparse
import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

SKIPPED = 77
ENGINE_UNAVAILABLE = 6  # dualvm's status for it
# Seconds of host time; CTest's own is longer.
TIMEOUT = 100 * int(os.environ.get("DUALVM_TEST_PATIENCE", "1"))
GUESTS = Path(__file__).resolve().parents[2] / "guests"
QEMU = "qemu-system-x86_64"


# How dualvm is told of them. The assisted engine hands every program over, however short.
ENGINES = {
    "interp": ["--engine=interp"],
    "kvm": ["--engine=kvm", "--assist=instruction"],
    "assisted": ["--engine=kvm", "--assist=kernel", "--patience=0"],
}


def load_manifest():
    return json.loads((GUESTS / "manifest.json").read_text(encoding="utf-8"))


def guest_file(build, guest):
    return Path(build) / "guests" / guest["file"]


def expected_output(guest):
    """What the guest prints, or None where that is not said."""
    if "expected" in guest:
        return (GUESTS / "expected" / guest["expected"]).read_text(encoding="utf-8")
    return guest.get("output")


def disk_file(build, guest, engine):
    """Makes the disk that the guest is to find: as many sectors as the manifest says, all of them different."""
    path = Path(build) / "guests" / f"{guest['name']}.{engine}.img"
    path.write_bytes(bytes((at * 7 + at // 512 * 13) & 0xff for at in range(guest["disk"] * 512)))
    return path


def qemu_command(build, guest):
    command = [QEMU, "-accel", "tcg", "-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot",
               "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]
    file = guest_file(build, guest)
    if file.suffix == ".bin":  # a boot sector: QEMU's firmware loads it from a floppy disk
        return command + ["-drive", f"if=floppy,format=raw,readonly=on,file={file}", "-boot", "a"]
    if "disk" in guest:
        command += ["-drive", f"if=ide,format=raw,file={disk_file(build, guest, 'qemu')}"]
    return command + ["-kernel", str(file)] + (["-append", guest["arguments"]] if guest["arguments"] else [])


def dualvm_command(build, guest, engine, variant=""):
    """`variant`: of tests that run the same guest at the same time, which one."""
    command = [str(Path(build) / "dualvm"), "run", *ENGINES[engine], "-no-reboot"]
    command += guest.get("options", {}).get("interp" if engine == "interp" else "kvm", [])
    if "disk" in guest:
        command += ["-hda", str(disk_file(build, guest, engine + variant))]
    command += ["-kernel", str(guest_file(build, guest))]
    return command + (["-append", guest["arguments"]] if guest["arguments"] else [])


# Which of `dualvm probe`'s rows says whether a need of the manifest is met.
PROBE_ROWS = {
    "syscall from ring 3": "syscall_ring3",
    "int n from ring 3": "int_n_ring3",
    "32-bit paging": "paging32",
    "PCIDs": "pcid",
    "writes across pages that fault whole at ring 0": "split_write_ring0",
}
# What probe does not measure and kvm_pvm does not do; found by these guests.
KVM_PVM_LACKS = {
    "far calls at ring 3 in 32-bit mode": "kvm_pvm's emulator makes #UD of them",
    "data breakpoints at ring 0": "kvm_pvm's emulator does not see them",
}


@functools.lru_cache(maxsize=None)
def kvm_lacks(build):
    """What this host's KVM cannot do: {need: reason}. The one place that reads `dualvm probe`'s JSON."""
    command = [str(Path(build) / "dualvm"), "probe", "--json=-"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    try:
        report = json.loads(run.stdout)
    except ValueError as error:
        raise SystemExit(f"{' '.join(command)}: no JSON, status {run.returncode}\n{run.stderr}") from error
    rows = {row["id"]: row for row in report["rows"]}
    lacks = {need: rows[row]["text"] for need, row in PROBE_ROWS.items() if row in rows and rows[row]["value"] == "no"}
    if rows.get("kind", {}).get("value") == "kvm_pvm":
        lacks.update(KVM_PVM_LACKS)
    return lacks


def skip_reason(build, guest, engine):
    """Why this guest cannot be run under this engine here; empty where it can."""
    if engine in guest.get("not_on", {}):
        return guest["not_on"][engine]
    if not guest_file(build, guest).exists():
        return f"{guest_file(build, guest)} has not been built"
    if engine == "qemu":
        return "" if shutil.which(QEMU) else f"{QEMU} is not installed"
    if not (Path(build) / "dualvm").exists():
        return f"{build}/dualvm has not been built"
    if engine == "kvm" and guest.get("needs"):
        lacks = kvm_lacks(build)
        for need in guest["needs"]:
            if need in lacks:
                return f"this host's KVM lacks {need}: {lacks[need]}"
    return ""


def status_fits(guest, engine, status):
    expected = guest.get("status_on", {}).get(engine, guest["status"])
    if expected == "any clean end":  # halted, triple fault, a limit, or a value of the guest's own
        return status in (0, 8, 12) or (status > 0 and status % 2 == 1)
    return status == expected


def check(guest, engine, status, output):
    """The list of what is not as expected."""
    wrong = []
    if not status_fits(guest, engine, status):
        wrong.append(f"status {status}, expected {guest.get('status_on', {}).get(engine, guest['status'])}")
    expected = expected_output(guest)
    if expected is not None and output != expected:
        wrong.append(f"output:\n{output}\nexpected:\n{expected}")
    return wrong


def run(command):
    """Status and serial output; a status of None where the time was up."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=TIMEOUT)
    except subprocess.TimeoutExpired as expired:
        return None, (expired.stdout or b"").decode("utf-8", "replace")
    return done.returncode, done.stdout.decode("utf-8", "replace").replace("\r\n", "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True, help="the build tree")
    parser.add_argument("--engine", required=True, choices=[*ENGINES, "qemu"])
    parser.add_argument("name", help="a guest of the manifest")
    arguments = parser.parse_args()

    guest = next((g for g in load_manifest()["guests"] if g["name"] == arguments.name), None)
    if guest is None:
        parser.error(f"the manifest has no guest '{arguments.name}'")
    reason = skip_reason(arguments.build, guest, arguments.engine)
    if reason:
        print(f"skipped: {reason}")
        return SKIPPED
    if arguments.engine == "qemu":
        command = qemu_command(arguments.build, guest)
    else:
        command = dualvm_command(arguments.build, guest, arguments.engine)
    print(" ".join(command), flush=True)
    status, output = run(command)
    if status is None:
        print(f"not ended after {TIMEOUT} s; output so far:\n{output}")
        return 1
    if status == ENGINE_UNAVAILABLE and arguments.engine != "interp":
        return SKIPPED  # dualvm has said why
    wrong = check(guest, arguments.engine, status, output)
    print("\n".join(wrong) if wrong else f"status {status}, and the output is right")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
