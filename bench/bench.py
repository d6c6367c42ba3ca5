#!/usr/bin/env python3
"""Measures the workload guests as whole processes: native, under each engine of dualvm, and under QEMU's TCG.

Each run's time is the best of several; from it the best time of the same program with nothing to do (size=1) is taken
away, so that start-up does not count. The result is the ratio to native, in which the host's speed cancels out; start-up
is measured by itself, with hello64. Engines take turns, so that a change of the host's speed meets them all.
"""

import argparse
import json
import math
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from host import describe_host

ROOT = Path(__file__).resolve().parents[1]
QEMU = "qemu-system-x86_64"
ENGINES = ["native", "interp", "kvm", "kvm-ring0", "qemu-tcg"]
STARTUP_RUNS = 10
TIMEOUT = 600  # seconds for one run
LEAST = 0.002  # seconds: less than this is lost in the spread of start-up times


class Problem(Exception):
    """Something that keeps a measurement from being made; the text says what."""


class Bench:
    def __init__(self, build, manifest):
        self.build = Path(build)
        self.guests = {guest["name"]: guest for guest in manifest["guests"]}

    def command(self, engine, guest, arguments, json_file=None):
        """What to run for a guest (NAME without .elf) under an engine."""
        elf = str(self.build / "guests" / f"{guest}.elf")
        if engine == "native":
            return [str(self.build / "guests" / "native" / guest)] + arguments.split()
        if engine == "qemu-tcg":
            return [QEMU, "-accel", "tcg", "-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot",
                    "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", "-kernel", elf, "-append", arguments]
        command = [str(self.build / "dualvm"), "run", f"--engine={engine.removesuffix('-ring0')}", "-kernel", elf]
        if json_file is not None:
            command.append(f"--json={json_file}")
        return command + ["-append", arguments]

    def run(self, engine, guest, arguments, json_file=None):
        """Seconds of host time, and what was printed."""
        command = self.command(engine, guest, arguments, json_file)
        begin = time.perf_counter()
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT)
        except subprocess.TimeoutExpired as expired:
            raise Problem(f"not ended after {TIMEOUT} s: {' '.join(command)}") from expired
        seconds = time.perf_counter() - begin
        if done.returncode != (0 if engine == "native" else 1):
            raise Problem(f"status {done.returncode}: {' '.join(command)}\n{done.stdout}{done.stderr}")
        return seconds, done.stdout

    def instructions(self, guest, arguments):
        """How many instructions the guest executes, as the interpreter counts them."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "run.json"
            self.run("interp", guest, arguments, file)
            return json.loads(file.read_text(encoding="utf-8"))["instructions"]

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


def checksum(output):
    found = re.search(r"checksum=(\w+)", output)
    if found is None:
        raise Problem(f"no checksum in what was printed: {output!r}")
    return found[1]


def run_arguments(bench, workload, engine, quick):
    """The arguments of the measured run and of the run with nothing to do."""
    if engine == "kvm-ring0":  # where ring 0 is emulated it is slow: the test's small size
        return bench.guests[workload["name"] + "-ring0"]["arguments"], "ring=0 size=1"
    repeat = max(1, workload["repeat"] // 10) if quick else workload["repeat"]
    ring = "" if engine == "native" else "ring=3 "
    size = f"size={workload['size']} " if "size" in workload else ""
    return f"{ring}{size}repeat={repeat}", f"{ring}size=1"


def measure(bench, workload, engines, rounds, quick):
    """The row of one workload: {engine: {"seconds", "whole", "startup", "arguments"}}."""
    name = workload["name"]
    engines = [engine for engine in engines if engine != "native" or workload["native"]]
    best, startup, printed = {}, {}, {}
    for _ in range(rounds):
        for engine in engines:
            full, nothing = run_arguments(bench, workload, engine, quick)
            seconds, output = bench.run(engine, name, full)
            best[engine] = min(seconds, best.get(engine, math.inf))
            startup[engine] = min(bench.run(engine, name, nothing)[0], startup.get(engine, math.inf))
            printed.setdefault(full.replace("ring=3 ", ""), {})[engine] = checksum(output)
    for results in printed.values():
        if len(set(results.values())) > 1:
            raise Problem(f"{name}: the checksums differ: {results}")
    return {engine: {"seconds": best[engine] - startup[engine], "whole": best[engine], "startup": startup[engine],
                     "arguments": run_arguments(bench, workload, engine, quick)[0]}
            for engine in engines if best[engine] - startup[engine] >= LEAST}


def count_instructions(bench, workload, row):
    """Adds millions of instructions per second to a row, with the interpreter's count of the same work."""
    counts = {}
    for engine, result in row.items():
        arguments = result["arguments"]
        key = arguments if arguments.startswith("ring=0") else "ring=3 " + arguments.removeprefix("ring=3 ")
        if key not in counts:
            nothing = ("ring=0" if key.startswith("ring=0") else "ring=3") + " size=1"
            counts[key] = (bench.instructions(workload["name"], key) - bench.instructions(workload["name"], nothing))
        result["instructions"] = counts[key]
        result["mips"] = counts[key] / result["seconds"] / 1e6


def add_ratios(row):
    """Adds each engine's time over native's; where the work differs, its time for each instruction."""
    native = row.get("native")
    if native is None:
        return
    for result in row.values():
        if result["arguments"].removeprefix("ring=3 ") == native["arguments"]:
            result["ratio"] = result["seconds"] / native["seconds"]
        elif "mips" in result:
            result["ratio"] = native["mips"] / result["mips"]


def geometric_mean(values):
    return math.exp(sum(math.log(value) for value in values) / len(values)) if values else None


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def startup_times(bench, engines, runs):
    """Milliseconds from process start to exit with hello64: median, least and most."""
    times = {engine: [] for engine in engines}
    for _ in range(runs):
        for engine in engines:
            times[engine].append(1000 * bench.run(engine, "hello64", "")[0])
    return {engine: {"median": median(t), "least": min(t), "most": max(t)} for engine, t in times.items()}


def table(rows):
    """Columns as wide as their widest cell; the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) if column == 0 else cell.rjust(width)
                               for column, (cell, width) in enumerate(zip(row, widths))) for row in rows)


def cell(result, key, form):
    return form.format(result[key]) if result and key in result else "-"


def computing_table(results, engines):
    others = [engine for engine in engines if engine != "native"]
    rows = [["workload", "native s"] + [f"{engine} ×" for engine in others] + [f"{engine} MIPS" for engine in engines]]
    for name, row in results.items():
        rows.append([name, cell(row.get("native"), "seconds", "{:.3f}")] +
                    [cell(row.get(engine), "ratio", "{:.2f}") for engine in others] +
                    [cell(row.get(engine), "mips", "{:.0f}" if engine != "kvm-ring0" else "{:.1f}")
                     for engine in engines])
    means = geometric_means(results, others)
    rows.append(["geometric mean", ""] + ["-" if means[engine] is None else f"{means[engine]:.2f}" for engine in others] +
                [""] * len(engines))
    return table(rows)


def geometric_means(results, engines):
    return {engine: geometric_mean([row[engine]["ratio"] for row in results.values()
                                    if engine in row and "ratio" in row[engine]]) for engine in engines}


def storm_table(results, accesses, engines):
    others = [engine for engine in engines if engine not in ("native", "kvm-ring0")]
    rows = [["device accesses"] + [f"{engine} µs each" for engine in others]]
    for name, row in results.items():
        rows.append([name] + [f"{1e6 * row[engine]['seconds'] / accesses[name]:.3f}" if engine in row else "-"
                              for engine in others])
    return table(rows)


def report(document):
    engines = document["engines"]
    computing = {name: row for name, row in document["workloads"].items() if name not in document["accesses"]}
    storms = {name: row for name, row in document["workloads"].items() if name in document["accesses"]}
    parts = ["\n".join(f"{key}: {value}" for key, value in document["host"].items())]
    parts += [f"{engine}: left out: {reason}" for engine, reason in document["left_out"].items()]
    if computing:
        parts.append("Times × native (less is better), and millions of instructions a second:\n\n" +
                     computing_table(computing, engines))
    if storms:
        parts.append(storm_table(storms, document["accesses"], engines))
    if document["startup_ms"]:
        parts.append("hello64, process start to exit, median of "
                     f"{document['startup_runs']} (least to most):\n\n" +
                     table([[engine, f"{t['median']:.1f} ms", f"({t['least']:.1f} to {t['most']:.1f})"]
                            for engine, t in document["startup_ms"].items()]))
    return "\n\n".join(parts)


def choose(text, known, what, parser):
    chosen = [word for word in text.split(",") if word] if text else list(known)
    for word in chosen:
        if word not in known:
            parser.error(f"there is no {what} '{word}'; there are: {', '.join(known)}")
    return chosen


def keep(document, file):
    """Prints the result, and writes it whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    unfinished.replace(file)
    print(report(document))
    print(f"\nkept in {file}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=str(ROOT / "build"), help="the build tree (default: %(default)s)")
    parser.add_argument("--workloads", help="comma-separated; default: all")
    parser.add_argument("--engines", help=f"comma-separated, of {', '.join(ENGINES)}; default: all")
    parser.add_argument("--repeat", type=int, default=0, help="runs of which the best counts (default: 5; quick: 2)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work: a look, not a result")
    parser.add_argument("--output", help="the JSON file (default: BUILD/bench/results.json)")
    arguments = parser.parse_args()
    manifest = json.loads((ROOT / "guests" / "manifest.json").read_text(encoding="utf-8"))
    workloads = {workload["name"]: workload for workload in manifest["workloads"]}
    names = choose(arguments.workloads, workloads, "workload", parser)
    engines = choose(arguments.engines, ENGINES, "engine", parser)
    if arguments.repeat < 0:
        parser.error("--repeat wants a positive number")
    rounds = arguments.repeat or (2 if arguments.quick else 5)

    bench = Bench(arguments.build, manifest)
    left_out = {engine: reason for engine in engines if (reason := bench.unavailable(engine))}
    engines = [engine for engine in engines if engine not in left_out]
    document = {"host": describe_host(bench.build), "engines": engines, "left_out": left_out, "rounds": rounds,
                "quick": arguments.quick, "workloads": {}, "geometric_means": {},
                "accesses": {name: workloads[name]["accesses"] for name in names if "accesses" in workloads[name]},
                "startup_runs": STARTUP_RUNS, "startup_ms": {}}
    try:
        for name in names:
            print(f"{name} ...", file=sys.stderr, flush=True)
            row = measure(bench, workloads[name], engines, rounds, arguments.quick)
            if "interp" in engines:
                count_instructions(bench, workloads[name], row)
            add_ratios(row)
            document["workloads"][name] = row
        document["geometric_means"] = geometric_means(document["workloads"], engines)
        starters = [engine for engine in engines if engine not in ("native", "kvm-ring0")]
        document["startup_ms"] = startup_times(bench, starters, STARTUP_RUNS)
    except Problem as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 1
    keep(document, Path(arguments.output) if arguments.output else bench.build / "bench" / "results.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
