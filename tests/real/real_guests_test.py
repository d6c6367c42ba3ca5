#!/usr/bin/env python3
"""Runs a guest that somebody else wrote and looks at what it shows: real_guests_test.py BUILD NAME."""
import datetime
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import initramfs
from guests import PATIENCE, Guests, fail, skip
from terminal import Terminal

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
                     "-kernel", guests.find("boot/" + image), "-append", "console=ttyS0,115200")
    if run.returncode != 12:
        fail("it should have gone on to the limit (status 12)", run)
    screen_shows_a_finished_test(run)


def memtest_kvm(guests):
    """Under KVM, too, the test screen is reached; then the run is ended as Ctrl-C would end it."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        skip("/dev/kvm is missing or not permitted")
    image = guests.find("boot/memtest86+x64.bin")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "run.json"
        command = [guests.program, "run", "--engine=kvm", "--assist=instruction", "-m", "8", "--timeout", str(120 * PATIENCE), f"--json={report}",
                   "-kernel", image, "-append", "console=ttyS0,115200"]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
            shown = b""
            # Whichever is the first that it shows: on a busy host tests may come and go between two of its screens.
            test_shown = re.compile(rb"#\d+ +\[")
            while not test_shown.search(shown):
                piece = os.read(run.stdout.fileno(), 65536)
                if not piece:
                    break
                shown += piece
            run.send_signal(signal.SIGINT)
            rest, errors = run.communicate(timeout=60 * PATIENCE)
        done = subprocess.CompletedProcess(command, run.returncode, (shown + rest).decode(errors="replace"),
                                           errors.decode(errors="replace"))
        if not test_shown.search(shown):
            fail("the test screen was not reached", done)
        if done.returncode != 12:
            fail("SIGINT should end the run with status 12", done)
        print("rescued instructions:", json.loads(report.read_text())["statistics"]["rescues"])


EARLY = "console=ttyS0 earlyprintk=ttyS0 acpi=off noapic nolapic pci=off"


def linux_early(guests):
    run = guests.run("--engine=interp", "-m", "256", "--max-insns", "1500000000",
                     "-kernel", guests.find("boot/vmlinuz-*-cloud-amd64"), "-append", EARLY)
    if "Linux version" not in run.stdout:
        fail("the kernel did not say which it is", run)
    if "printk: console [ttyS0] enabled" not in run.stdout:
        fail("the serial console was not set up", run)


INIT = """#!/bin/busybox sh
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


def need_busybox():
    if not initramfs.BUSYBOX.exists():
        skip(f"no {initramfs.BUSYBOX} (package busybox-static)")


CLOUD, GENERIC, OLD_CPU = "vmlinuz-*-cloud-amd64", "vmlinuz-*[0-9]-amd64", "vmlinuz-*-686"  # Debian's kernels


def busybox_for(guests, kernel):
    """Debian's busybox-static, for i386 if the kernel is."""
    return Path(guests.find("i386/bin/busybox")) if kernel == OLD_CPU else initramfs.BUSYBOX


def linux_init(guests, words, end, interrupt_controller, kernel=CLOUD, options=()):
    need_busybox()
    image = guests.find("boot/" + kernel)
    with tempfile.TemporaryDirectory() as folder:
        initrd = Path(folder) / "initrd.gz"
        initramfs.write(initrd, INIT, busybox_for(guests, kernel))
        run = guests.run("--engine=interp", "-m", "256", "-no-reboot", "--stats", *options,
                         "--max-insns", "4000000000" if kernel == CLOUD else "20000000000",  # XZ takes long
                         "-kernel", image, "-initrd", str(initrd), "-append", "console=ttyS0 " + words)
    expected = ["init runs as process 1", "i686" if kernel == OLD_CPU else "x86_64",
                "squares 338350 42293.8", "forked 20 times", interrupt_controller]
    host_sum = subprocess.run([str(initramfs.BUSYBOX), "sha256sum"], input="dualvm\n", capture_output=True, text=True,
                              check=True)
    for line in expected + [host_sum.stdout.split()[0]]:
        if line not in run.stdout:
            fail(f"'{line}' is missing", run)
    if run.returncode != 0 or f"engine interp: {end}" not in run.stderr:
        fail(f"it should have ended by {end}, with status 0", run)
    for complaint in ("ACPI Error", "ACPI BIOS", "Unstable", "unstable", "not functional", "spurious", "Call Trace"):
        if complaint in run.stdout:
            fail(f"the kernel complains: '{complaint}'", run)


# What a person types at the shell; each command must say under dualvm what the same busybox says on the host.
PROMPT = "dualvm-shell> "
SHELL_INIT = f"""#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
export PATH=/bin PS1='{PROMPT}' TERM=dumb
exec setsid cttyhack sh
"""
SHELL_COMMANDS = [
    "sha256sum </bin/busybox",
    # Floating point, without the mathematics library: Debian's busybox has no sin() in its awk.
    r"""awk 'BEGIN { for (i = 1; i <= 5000; i++) s += i * 1.37 / (i + 0.5); printf "%.17g %e\n", s, s / 3e300 }'""",
    r"""awk 'BEGIN { x = 2; for (i = 0; i < 60; i++) x = (x + 2 / x) / 2; printf "%.17g %d\n", x, x * 1e15 % 1000003 }'""",
    "echo 'scale=80; sqrt(2); 3^200 % 10^50; l(7)/e(1); a(1)*4' | bc -l",
    "gzip -c </bin/busybox | sha256sum",
    "gzip -c </bin/busybox | gzip -dc | sha256sum",
    "seq 1 5000 | sort -rn | awk '{ s = s * 31 % 65521 + $1 } END { print s }' | tr 0-9 a-j",
    "i=0; while [ $i -lt 1000 ]; do /bin/busybox true && i=$((i+1)); done; echo forked $i times",
    "echo $(echo one | cat | cat | tr a-z A-Z) $(( (1<<40) / 7 )) `echo two | rev`",
]


# Time passes in the guest as its own clock says, and its day is the one that every run begins at.
CLOCK_COMMAND = "date +%Y-%m-%d; a=$(date +%s); sleep 2; b=$(date +%s); echo $((b - a)) seconds"


def clock_answers(engine):
    """Under interp every run begins on the same day, else today (UTC); either side of midnight will do."""
    today = datetime.datetime.now(datetime.timezone.utc)
    days = ["2000-01-01"] if engine == "interp" else [f"{today - datetime.timedelta(minutes=1):%Y-%m-%d}",
                                                      f"{today:%Y-%m-%d}"]
    return [f"{day}\n{seconds} seconds\n" for day in days for seconds in (2, 3)]


def host_says(command, busybox):
    """What busybox's shell says on the host, its applets first."""
    command = command.replace("</bin/busybox", f"<{busybox}")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([str(initramfs.BUSYBOX), "--install", "-s", folder], check=True)
        return subprocess.run([str(initramfs.BUSYBOX), "sh", "-c", command], env={"PATH": folder}, text=True,
                              capture_output=True, check=True).stdout


def linux_shell(guests, kernel, memory, seconds, words=EARLY, engine="interp", options=()):
    """At a terminal: a shell on the serial port, each command compared with the host, and a clean end."""
    need_busybox()
    if engine == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        skip("/dev/kvm is missing or not permitted")
    image, busybox = guests.find("boot/" + kernel), busybox_for(guests, kernel)
    with tempfile.TemporaryDirectory() as folder:
        initrd = Path(folder) / "initrd.gz"
        initramfs.write(initrd, SHELL_INIT, busybox)
        command = [guests.program, "run", f"--engine={engine}", *options, "-m", memory, "-no-reboot",
                   "-kernel", image, "-initrd", str(initrd), "-append", "quiet console=ttyS0 " + words]
        terminal = Terminal(command, seconds)
        place = terminal.wait_for(PROMPT.encode())
        for line in [CLOCK_COMMAND, *SHELL_COMMANDS] if place else []:
            terminal.type(line + "\n")
            # The terminal echoes the line first; between the echo and the next prompt is the answer.
            end = terminal.wait_for(PROMPT.encode(), place)
            if end is None:
                break
            answer = terminal.shown[place:end - len(PROMPT)].decode(errors="replace").replace("\r", "")
            place = end
            expected = clock_answers(engine) if line == CLOCK_COMMAND else [host_says(line, busybox)]
            if not any(answer.endswith("\n" + right) for right in expected):
                terminal.program.kill()
                print(f"FAILED: {line}\n--- right is\n{expected[0]}--- the guest says\n{answer}")
                sys.exit(1)
        else:
            if place:
                terminal.type("reboot -f\n")
        status, errors = terminal.finish()
        run = subprocess.CompletedProcess(command, status, terminal.shown.decode(errors="replace"), errors)
        if not place or end is None:
            fail("the shell's prompt did not come", run)
        if status != 0:
            fail("reboot -f with -no-reboot should end the run with status 0", run)


# A line typed at the virtual terminal, and what Linux thinks of the devices that it came from.
KEYBOARD_INIT = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox dmesg | /bin/busybox grep -E "i8042|serio|input:"
echo "type a line" >/dev/tty0
read -r line </dev/tty0
echo "typed: $line"
/bin/busybox grep -E " (1|12):.*i8042" /proc/interrupts
/bin/busybox poweroff -f
"""


def linux_keyboard(guests):
    need_busybox()
    with tempfile.TemporaryDirectory() as folder:
        initrd = Path(folder) / "initrd.gz"
        initramfs.Initramfs(KEYBOARD_INIT).write(initrd)
        run = guests.run("--engine=interp", "-m", "256", "--max-insns", "4000000000", "-kernel",
                         guests.find("boot/" + CLOUD), "-initrd", str(initrd), "-append", "console=ttyS0",
                         "--sendkeys=<screen:type a line>Hello, {World}! x<backspace>~/|<ret>")
    for line in ["i8042: PNP: PS/2 Controller [PNP0303:KBD,PNP0f13:MOU] at 0x60,0x64 irq 1,12",
                 "serio: i8042 KBD port at 0x60,0x64 irq 1", "serio: i8042 AUX port at 0x60,0x64 irq 12",
                 "AT Translated Set 2 keyboard", "typed: Hello, {World}! ~/|"]:
        if line not in run.stdout:
            fail(f"'{line}' is missing", run)
    if run.returncode != 0 or "sendkeys" in run.stderr:
        fail("it should have powered off after the last key", run)


def main():
    guests = Guests(Path(sys.argv[1]))
    {"memtest-x64-interp": lambda: memtest_interp(guests, "memtest86+x64.bin"),
     "memtest-ia32-interp": lambda: memtest_interp(guests, "memtest86+ia32.bin"),
     "memtest-x64-kvm": lambda: memtest_kvm(guests),
     "linux-early-interp": lambda: linux_early(guests),
     "linux-init-interp": lambda: linux_init(guests, "", "power-off", "IO-APIC"),
     "linux-reboot-interp": lambda: linux_init(guests, "then=reboot", "reset", "IO-APIC"),
     "linux-old-pc-interp": lambda: linux_init(guests, "then=reboot " + EARLY, "reset", "XT-PIC"),
     "linux-triple-fault-interp": lambda: linux_init(guests, "then=reboot reboot=t " + EARLY, "reset", "XT-PIC",
                                                     options=["--triple-fault=reset"]),
     "linux-keyboard-interp": lambda: linux_keyboard(guests),
     "linux-shell-interp": lambda: linux_shell(guests, CLOUD, "256", 300),
     # As it is on such a host: nothing special on the kernel's command line.
     "linux-shell-kvm": lambda: linux_shell(guests, CLOUD, "256", 200, words="", engine="kvm"),
     "linux-shell-assisted": lambda: linux_shell(guests, CLOUD, "256", 200, words="", engine="kvm",
                                                 options=["--assist=kernel", "--patience=20000"]),
     "linux-686-interp": lambda: linux_shell(guests, OLD_CPU, "256", 300, words=""),
     "linux-686-reboot-interp": lambda: linux_init(guests, "then=reboot", "reset", "IO-APIC", OLD_CPU),
     "linux-686-poweroff-interp": lambda: linux_init(guests, "", "power-off", "IO-APIC", OLD_CPU),
     "linux-generic-interp": lambda: linux_shell(guests, GENERIC, "512", 1500, words="")}[sys.argv[2]]()


if __name__ == "__main__":
    main()
