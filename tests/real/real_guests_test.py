#!/usr/bin/env python3
"""Runs a guest that somebody else wrote and looks at what it shows: real_guests_test.py BUILD NAME."""
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

SKIP = 77


def skip(reason):
    print("skipped:", reason)
    sys.exit(SKIP)


def fail(reason, run):
    print("FAILED:", reason)
    print("status", run.returncode)
    print("--- standard output, its end\n" + run.stdout[-4000:])
    print("--- standard error, its end\n" + run.stderr[-2000:])
    sys.exit(1)


class Guests:
    def __init__(self, build):
        self.program = str(build / "dualvm")
        self.boot = build / "guests-real" / "boot"

    def find(self, pattern):
        found = sorted(self.boot.glob(pattern))
        if not found:
            skip(f"no {pattern} in {self.boot}: './dev test' fetches it where Debian's packages can be reached")
        return str(found[-1])

    def run(self, *arguments):
        return subprocess.run([self.program, "run", *arguments], capture_output=True, text=True, errors="replace",
                              timeout=200, check=False, stdin=subprocess.DEVNULL)


def screen_shows_a_finished_test(run):
    """memtest86+ is past its first test, and has found no errors."""
    screen = run.stderr  # the final screen
    test = re.findall(r"Test #(\d+)", screen)
    if not test:
        fail("the test screen was not reached", run)
    if int(test[-1]) < 1:
        fail("the first test was not completed", run)
    if not re.search(r"Errors: 0\b", screen):
        fail("errors were found", run)


def memtest_interp(guests, image):
    # The virtual clock makes the run the same each time.
    run = guests.run("--engine=interp", "-m", "8", "--max-insns", "4000000000", "--screen=text",
                     "-kernel", guests.find(image), "-append", "console=ttyS0,115200")
    if run.returncode != 12:
        fail("it should have gone on to the limit (status 12)", run)
    screen_shows_a_finished_test(run)


def memtest_kvm(guests):
    """Under KVM, too, the test screen is reached; then the run is ended as Ctrl-C would end it."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        skip("/dev/kvm is missing or not permitted")
    image = guests.find("memtest86+x64.bin")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "run.json"
        command = [guests.program, "run", "--engine=kvm", "-m", "8", "--timeout", "120", f"--json={report}",
                   "-kernel", image, "-append", "console=ttyS0,115200"]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
            shown = b""
            while b"Address test" not in shown:
                piece = os.read(run.stdout.fileno(), 65536)
                if not piece:
                    break
                shown += piece
            run.send_signal(signal.SIGINT)
            rest, errors = run.communicate(timeout=60)
        done = subprocess.CompletedProcess(command, run.returncode, (shown + rest).decode(errors="replace"),
                                           errors.decode(errors="replace"))
        if b"Address test" not in shown:
            fail("the test screen was not reached", done)
        if done.returncode != 12:
            fail("SIGINT should end the run with status 12", done)
        print("rescued instructions:", json.loads(report.read_text())["statistics"]["rescues"])


EARLY = "console=ttyS0 earlyprintk=ttyS0 acpi=off noapic nolapic pci=off"


def linux_early(guests):
    run = guests.run("--engine=interp", "-m", "256", "--max-insns", "1500000000",
                     "-kernel", guests.find("vmlinuz-*-cloud-amd64"), "-append", EARLY)
    if "Linux version" not in run.stdout:
        fail("the kernel did not say which it is", run)
    if "printk: console [ttyS0] enabled" not in run.stdout:
        fail("the serial console was not set up", run)


def newc_entry(name, mode, data=b"", major=0, minor=0):
    """One file of a cpio archive of the kind that Linux unpacks (Documentation/driver-api/early-userspace)."""
    fields = [0, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name) + 1, 0]
    header = b"070701" + b"".join(b"%08x" % f for f in fields) + name.encode() + b"\0"
    return header + b"\0" * (-len(header) % 4) + data + b"\0" * (-len(data) % 4)


INIT = b"""#!/bin/busybox sh
echo "init runs as process $$"
/bin/busybox uname -m
echo dualvm | /bin/busybox sha256sum
/bin/busybox seq 1 100 | /bin/busybox awk '{ s += $1 * $1 } END { print "squares", s, s / 8 }'
i=0; while [ $i -lt 20 ]; do /bin/busybox true; i=$((i + 1)); done; echo "forked $i times"
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox cat /proc/interrupts /sys/devices/system/clocksource/clocksource0/available_clocksource
if /bin/busybox grep -q then=reboot /proc/cmdline; then /bin/busybox reboot -f; else /bin/busybox poweroff -f; fi
"""


def linux_init(guests, words, end, interrupt_controller):
    busybox = Path("/bin/busybox")
    if not busybox.exists():
        skip("no /bin/busybox (package busybox-static)")
    kernel = guests.find("vmlinuz-*-cloud-amd64")
    archive = b"".join([
        *(newc_entry(folder, 0o40755) for folder in ("bin", "dev", "proc", "sys")),
        newc_entry("dev/console", 0o20600, major=5, minor=1),
        newc_entry("bin/busybox", 0o100755, busybox.read_bytes()),
        newc_entry("init", 0o100755, INIT), newc_entry("TRAILER!!!", 0)])
    with tempfile.TemporaryDirectory() as folder:
        initrd = Path(folder) / "initrd.gz"
        initrd.write_bytes(gzip.compress(archive, 1))
        run = guests.run("--engine=interp", "-m", "256", "-no-reboot", "--max-insns", "4000000000", "--stats",
                         "-kernel", kernel, "-initrd", str(initrd), "-append", "console=ttyS0 " + words)
    expected = ["init runs as process 1", "x86_64",
                "squares 338350 42293.8", "forked 20 times", interrupt_controller]
    host_sum = subprocess.run([str(busybox), "sha256sum"], input="dualvm\n", capture_output=True, text=True, check=True)
    for line in expected + [host_sum.stdout.split()[0]]:
        if line not in run.stdout:
            fail(f"'{line}' is missing", run)
    if run.returncode != 0 or f"engine interp: {end}" not in run.stderr:
        fail(f"it should have ended by {end}, with status 0", run)
    for complaint in ("ACPI Error", "ACPI BIOS", "Unstable", "unstable", "not functional", "spurious", "Call Trace"):
        if complaint in run.stdout:
            fail(f"the kernel complains: '{complaint}'", run)


def main():
    guests = Guests(Path(sys.argv[1]))
    {"memtest-x64-interp": lambda: memtest_interp(guests, "memtest86+x64.bin"),
     "memtest-ia32-interp": lambda: memtest_interp(guests, "memtest86+ia32.bin"),
     "memtest-x64-kvm": lambda: memtest_kvm(guests),
     "linux-early-interp": lambda: linux_early(guests),
     "linux-init-interp": lambda: linux_init(guests, "", "power-off", "IO-APIC"),
     "linux-reboot-interp": lambda: linux_init(guests, "then=reboot", "reset", "IO-APIC"),
     "linux-old-pc-interp": lambda: linux_init(guests, "then=reboot " + EARLY, "reset", "XT-PIC")}[sys.argv[2]]()


if __name__ == "__main__":
    main()
