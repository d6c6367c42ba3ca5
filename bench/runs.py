"""Running a guest, or the same code as a Linux program, and what that took."""

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

QEMU = "qemu-system-x86_64"
# -ring0: the work is done in the guest's kernel mode instead of its user mode.
ENGINES = ["native", "interp", "interp-ring0", "kvm", "kvm-ring0", "qemu-tcg"]
# Beside those, where starts are compared. "kvm" is the CPU's own part, in ring 0 too; these are what --engine=kvm does on
# this host unless told otherwise, and the least that any program of KVM can do (bench/kvm/bare_start.c).
AS_GIVEN, BARE = "kvm-as-given", "bare-kvm"
TIMEOUT = 600  # seconds for one run


class Problem(Exception):
    """Something that keeps a measurement from being made; the text says what."""


@dataclass
class Run:
    seconds: float  # CPU time, of user and system: on a host that does other things as well, time on the clock is noise
    wall: float
    output: str
    cycles: int = 0  # in user mode; 0 where nobody counts them


def run_process(command, expected_status):
    """Runs it to its end, which must have the expected status."""
    with tempfile.TemporaryFile() as output:
        begin = time.perf_counter()
        actions = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                   (os.POSIX_SPAWN_DUP2, output.fileno(), 1), (os.POSIX_SPAWN_DUP2, output.fileno(), 2)]
        try:
            process = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
        except OSError as error:
            raise Problem(f"{command[0]}: {error.strerror}") from error
        timer = threading.Timer(TIMEOUT, os.kill, (process, signal.SIGKILL))
        timer.start()
        _, status, usage = os.wait4(process, 0)
        timer.cancel()
        wall = time.perf_counter() - begin
        output.seek(0)
        text = output.read().decode(errors="replace")
    if os.waitstatus_to_exitcode(status) != expected_status:
        end = "killed, perhaps after too long" if os.WIFSIGNALED(status) else f"status {os.WEXITSTATUS(status)}"
        raise Problem(f"{end}: {' '.join(command)}\n{text}")
    return Run(usage.ru_utime + usage.ru_stime, wall, text)


def parse_perf(text):
    """Cycles from `perf stat -x,`; 0 if it could not count them."""
    found = re.search(r"^(\d+),[^,]*,cycles", text, re.MULTILINE)
    return int(found[1]) if found else 0


@functools.cache
def perf_counts_cycles():
    if shutil.which("perf") is None:
        return False
    command = ["perf", "stat", "-x,", "-e", "cycles:u", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return parse_perf(done.stderr) > 0


class Bench:
    """Runs guests of a build tree. `without`: optimisations of the interpreter to leave out."""

    def __init__(self, build, manifest, without=(), program=None):
        self.build = Path(build)
        self.program = str(program or self.build / "dualvm")
        self.guests = {guest["name"]: guest for guest in manifest["guests"]}
        self.without = list(without)

    def command(self, engine, guest, arguments, options=()):
        """What to run for a guest (NAME without .elf) under an engine."""
        elf = str(self.build / "guests" / f"{guest}.elf")
        if engine == "native":
            return [str(self.build / "guests" / "native" / guest)] + arguments.split()
        if engine == "qemu-tcg":
            return [QEMU, "-accel", "tcg", "-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot",
                    "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", "-kernel", elf, "-append", arguments]
        if engine == BARE:
            return [str(self.build / "bench_bare_start"), *options[1:]]  # of -m MIB
        engine = engine.removesuffix("-ring0")
        if engine == "kvm":
            options = ["--assist=instruction", *options]
        if engine == AS_GIVEN:
            engine = "kvm"
        if self.without and engine == "interp":
            options = [f"--no-opt={','.join(self.without)}", *options]
        return [self.program, "run", f"--engine={engine}", *options, "-kernel", elf, "-append", arguments]

    def run(self, engine, guest, arguments, options=(), prefix=()):
        command = self.command(engine, guest, arguments, options)
        return run_process([*prefix, *command], 0 if engine in ("native", BARE) else 1)

    def peak_memory(self, engine, guest, arguments, options=()):
        """MiB, the most that was resident at a time."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "kibibytes"
            self.run(engine, guest, arguments, options, [str(self.build / "peak_memory"), str(file)])
            return int(file.read_text(encoding="utf-8")) / 1024

    def cycles(self, engine, guest, arguments):
        """Host cycles of a run in user mode, as the host's counters have it."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "perf"
            run_process(["perf", "stat", "-x,", "-e", "cycles:u", "-o", str(file)] +
                        self.command(engine, guest, arguments), 0 if engine == "native" else 1)
            return parse_perf(file.read_text(encoding="utf-8"))

    def host_instructions(self, guest, arguments):
        """Those that dualvm's process executes under interp, as valgrind counts them: the same each time. None without it."""
        if shutil.which("valgrind") is None:
            return None
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "callgrind"
            run_process(["valgrind", "--tool=callgrind", f"--callgrind-out-file={file}",
                         *self.command("interp", guest, arguments)], 1)
            found = re.search(r"^(?:totals|summary): (\d+)", file.read_text(encoding="utf-8"), re.MULTILINE)
            return int(found[1]) if found else None

    def cycles_per_second(self):
        """How fast the host is just now, by a chain of additions that takes a cycle each."""
        program = self.build / "clock_rate"
        if not program.exists():
            raise Problem(f"{program} is not built")
        return float(run_process([str(program)], 0).output)

    def report(self, guest, arguments):
        """dualvm's own JSON report of a run under interp."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "run.json"
            self.run("interp", guest, arguments, [f"--json={file}"])
            return json.loads(file.read_text(encoding="utf-8"))

    def instructions(self, guest, arguments):
        """How many instructions the guest executes, as the interpreter counts them."""
        return self.report(guest, arguments)["instructions"]

    def optimisations(self):
        """The names of the interpreter's optimisations."""
        return list(self.report("hello64", "")["optimisations"])

    def unavailable(self, engine):
        """Why an engine cannot be measured here; empty where it can."""
        if engine == "native":
            return "" if (self.build / "guests" / "native").is_dir() else "the native workloads are not built"
        if engine == "qemu-tcg":
            return "" if shutil.which(QEMU) else f"{QEMU} is not installed"
        if not (self.build / "dualvm").exists():
            return f"{self.build}/dualvm is not built"
        try:
            self.run(engine, "hello64", "")
        except Problem as problem:
            return str(problem).strip().splitlines()[-1]
        return ""
