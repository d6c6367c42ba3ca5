#!/usr/bin/env python3
"""Measures the workload guests as whole processes: native, under each engine of dualvm, and under QEMU's TCG.

Each run's time is its CPU time, the best of several; from it the best time of the same program with nothing to do
(size=1) is taken away, so that start-up does not count. The result is the ratio to native, in which the host's speed
cancels out; start-up is measured by itself, with hello64. Engines take turns, so that a change of the host's speed
meets them all. --ablation measures instead what each of the interpreter's optimisations gives, --instrumentation what
statistics cost that nobody asked for, --churn what it costs to be made to forget things, --memory-sizes what guest memory
costs, --instructions what single instructions cost, --linux how Linux boots and reads a disk.
"""

import argparse
import json
import math
import re
import sys
from pathlib import Path

import linux
import programs
import studies
from host import describe_host
from runs import AS_GIVEN, BARE, ENGINES, Bench, Problem, perf_counts_cycles
from tables import ablation_report, churn_report, instructions_report, instrumentation_report, report, sizes_report

ROOT = Path(__file__).resolve().parents[1]
STARTUP_RUNS = 10
QUICK_PART = 10  # --quick does a tenth of the work,
ABLATION_PART = 50  # --ablation less: some of what it measures is slow
INSTRUCTIONS_PART = 50  # what valgrind counts takes fifty times as long
STORM_REPEAT = 50  # of device accesses where interp alone makes them
LEAST = 0.002  # seconds: less than this is lost in the spread of start-up times


def checksum(output):
    found = re.search(r"checksum=(\w+)", output)
    if found is None:
        raise Problem(f"no checksum in what was printed: {output!r}")
    return found[1]


def run_arguments(bench, workload, engine, part):
    """The arguments of the measured run (1/part of the work) and of the run with nothing to do."""
    if engine == "kvm-ring0":  # where ring 0 is emulated it is slow: the test's small size
        return bench.guests[workload["name"] + "-ring0"]["arguments"], "ring=0 size=1"
    repeat = max(1, workload["repeat"] // part)
    ring = "" if engine == "native" else "ring=0 " if engine.endswith("-ring0") else "ring=3 "
    size = f"size={workload['size']} " if "size" in workload else ""
    return f"{ring}{size}repeat={repeat}", f"{ring}size=1"


def work(arguments):
    """What is done, without the ring that it is done in."""
    return re.sub(r"^ring=\d ", "", arguments)


def measure(bench, workload, engines, rounds, part):
    """The row of one workload: {engine: {"seconds", "whole", "startup", "arguments"}}."""
    name = workload["name"]
    engines = [engine for engine in engines if engine != "native" or workload["native"]]
    best, startup, printed = {}, {}, {}
    for _ in range(rounds):
        for engine in engines:
            full, nothing = run_arguments(bench, workload, engine, part)
            run = bench.run(engine, name, full)
            best[engine] = min(run.seconds, best.get(engine, math.inf))
            startup[engine] = min(bench.run(engine, name, nothing).seconds, startup.get(engine, math.inf))
            printed.setdefault(work(full), {})[engine] = checksum(run.output)
    for results in printed.values():
        if len(set(results.values())) > 1:
            raise Problem(f"{name}: the checksums differ: {results}")
    return {engine: {"seconds": best[engine] - startup[engine], "whole": best[engine], "startup": startup[engine],
                     "arguments": run_arguments(bench, workload, engine, part)[0]}
            for engine in engines if best[engine] - startup[engine] >= LEAST}


def count_instructions(bench, workload, row):
    """Adds millions of instructions per second to a row, with the interpreter's count of the same work."""
    counts = {}
    for engine, result in row.items():
        arguments = result["arguments"] if result["arguments"].startswith("ring=") else "ring=3 " + result["arguments"]
        if arguments not in counts:
            nothing = arguments.split()[0] + " size=1"
            counts[arguments] = (bench.instructions(workload["name"], arguments) -
                                 bench.instructions(workload["name"], nothing))
        result["instructions"] = counts[arguments]
        result["mips"] = counts[arguments] / result["seconds"] / 1e6


def count_cycles(bench, workload, row, cycles_per_second):
    """Adds host cycles for each guest instruction: counted where `cycles_per_second` is None, else worked out."""
    for engine, result in row.items():
        if "instructions" not in result:
            continue
        if cycles_per_second is None:
            ring = result["arguments"].split()[0] + " " if result["arguments"].startswith("ring=") else ""
            cycles = (bench.cycles(engine, workload["name"], result["arguments"]) -
                      bench.cycles(engine, workload["name"], ring + "size=1"))
        else:
            cycles = result["seconds"] * cycles_per_second
        result["cycles_per_instruction"] = cycles / result["instructions"]


def add_ratios(row):
    """Adds each engine's time over native's; where the work differs, its time for each instruction."""
    native = row.get("native")
    if native is None:
        return
    for result in row.values():
        if work(result["arguments"]) == native["arguments"]:
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
            times[engine].append(1000 * bench.run(engine, "hello64", "").wall)
    return {engine: {"median": median(t), "least": min(t), "most": max(t)} for engine, t in times.items()}


def geometric_means(results, engines):
    return {engine: geometric_mean([row[engine]["ratio"] for row in results.values()
                                    if engine in row and "ratio" in row[engine]]) for engine in engines}


def choose(text, known, what, parser):
    chosen = [word for word in text.split(",") if word] if text else list(known)
    for word in chosen:
        if word not in known:
            parser.error(f"there is no {what} '{word}'; there are: {', '.join(known)}")
    return chosen


def keep(document, text, file):
    """Prints the result, and writes it whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    unfinished.replace(file)
    print(text)
    print(f"\nkept in {file}")


def measure_engines(bench, workloads, engines, rounds, arguments):
    """The document of an ordinary run."""
    left_out = {engine: reason for engine in engines if (reason := bench.unavailable(engine))}
    engines = [engine for engine in engines if engine not in left_out]
    cycles_per_second = None if perf_counts_cycles() else bench.cycles_per_second()
    document = {"host": describe_host(bench.build), "engines": engines, "left_out": left_out, "rounds": rounds,
                "quick": arguments.quick, "without": bench.without, "workloads": {}, "geometric_means": {},
                "cycles_per_second": cycles_per_second,
                "cycles_from": "counted by perf" if cycles_per_second is None else
                "worked out, as this host hides its counters: a chain of additions, one cycle each, runs at "
                f"{cycles_per_second / 1e9:.2f} GHz",
                "accesses": {w["name"]: w["accesses"] for w in workloads if "accesses" in w},
                "startup_runs": STARTUP_RUNS, "startup_ms": {}}
    for workload in workloads:
        print(f"{workload['name']} ...", file=sys.stderr, flush=True)
        row = measure(bench, workload, engines, rounds, QUICK_PART if arguments.quick else 1)
        if "interp" in engines:
            count_instructions(bench, workload, row)
            count_cycles(bench, workload, row, cycles_per_second)
        add_ratios(row)
        document["workloads"][workload["name"]] = row
    document["geometric_means"] = geometric_means(document["workloads"], engines)
    starters = [engine for engine in engines if engine != "native" and not engine.endswith("-ring0")]
    if "kvm" in engines:
        starters += [AS_GIVEN, BARE]
    document["startup_ms"] = startup_times(bench, starters, STARTUP_RUNS)
    return document


def too_short(workloads, results):
    """What took less than LEAST beside start-up, and so has no row."""
    return [workload["name"] for workload in workloads if workload["name"] not in results]


def measure_ablation(bench, workloads, rounds, arguments, manifest):
    names = bench.optimisations()
    benches = {"all": bench} | {name: Bench(arguments.build, manifest, [name]) for name in names}
    results = studies.ablation(benches, workloads, rounds,
                               lambda workload: run_arguments(bench, workload, "interp", ABLATION_PART), LEAST)
    means = {name: geometric_mean([row[name] / row["all"] for row in results.values()]) for name in names}
    return {"host": describe_host(bench.build), "rounds": rounds, "optimisations": names, "workloads": results,
            "geometric_means": means, "too_short": too_short(workloads, results)}


def measure_sizes(bench, engines, rounds):
    engines = [engine for engine in engines if engine in ("interp", "kvm") and not bench.unavailable(engine)]
    if "kvm" in engines:
        engines += [AS_GIVEN, BARE]
    return {"host": describe_host(bench.build), "rounds": rounds, "engines": engines,
            "sizes": studies.memory_sizes(bench, engines, rounds)}


def measure_instrumentation(bench, workloads, rounds, arguments, manifest):
    program = Path(arguments.bare) / "dualvm"
    if not program.exists():
        raise Problem(f"{program} is not built: './dev bench --instrumentation' builds it")
    benches = {"with": bench, "without": Bench(arguments.build, manifest, program=program)}

    def arguments_of(workload):
        # Device accesses are few, for the sake of KVM; a run that takes 10 ms would tell of start-up times alone.
        longer = {**workload, "repeat": STORM_REPEAT} if "accesses" in workload else workload
        full, nothing = run_arguments(bench, longer, "interp", QUICK_PART if arguments.quick else 1)
        return full, run_arguments(bench, workload, "interp", INSTRUCTIONS_PART)[0], nothing

    results = studies.instrumentation(benches, workloads, rounds, arguments_of, LEAST)
    means = {key: geometric_mean([row[key]["with"] / row[key]["without"] for row in results.values() if key in row])
             for key in ("seconds", "host instructions")}
    return {"host": describe_host(bench.build), "rounds": rounds, "workloads": results, "geometric_means": means,
            "too_short": too_short(workloads, results)}


def measure_churn(bench, engines, rounds):
    engines = [engine for engine in engines if engine in ("interp", "qemu-tcg") and not bench.unavailable(engine)]
    return {"host": describe_host(bench.build), "rounds": rounds, "engines": engines,
            "churn": studies.churn(bench, engines, rounds)}


def measure_instructions(bench, engines, rounds):
    engines = [engine for engine in engines if engine in ("native", "interp")]
    source = (ROOT / "guests" / "workloads" / "instructions.c").read_text(encoding="utf-8")
    return {"host": describe_host(bench.build), "rounds": rounds, "engines": engines,
            "instructions": studies.instructions(bench, engines, rounds, studies.instruction_list(source))}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=str(ROOT / "build"), help="the build tree (default: %(default)s)")
    parser.add_argument("--workloads", help="comma-separated; default: all")
    parser.add_argument("--engines", help=f"comma-separated, of {', '.join(ENGINES)}; default: all")
    parser.add_argument("--no-opt", default="", help="optimisations of interp to leave out, as with dualvm run")
    parser.add_argument("--repeat", type=int, default=0, help="runs of which the best counts (default: 5; quick: 2)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work: a look, not a result")
    parser.add_argument("--ablation", action="store_true", help="what each optimisation of interp gives")
    parser.add_argument("--instrumentation", action="store_true", help="what instrumentation costs that is turned off")
    parser.add_argument("--bare", default=str(ROOT / "build-bare"), help="for it, a build without (default: %(default)s)")
    parser.add_argument("--churn", action="store_true", help="what it costs to be made to forget things")
    parser.add_argument("--instructions", action="store_true", help="what each of many single instructions costs")
    parser.add_argument("--memory-sizes", action="store_true", help="start-up and memory against guest memory")
    parser.add_argument("--linux", action="store_true", help="how Linux boots and reads a disk")
    parser.add_argument("--programs", action="store_true", help="one Linux and two programs, each way of running them")
    parser.add_argument("--output", help="the JSON file (default: in BUILD/bench)")
    arguments = parser.parse_args()
    if arguments.repeat < 0:
        parser.error("--repeat wants a positive number")
    return parser, arguments


def main():
    parser, arguments = parse_arguments()
    manifest = json.loads((ROOT / "guests" / "manifest.json").read_text(encoding="utf-8"))
    known = {workload["name"]: workload for workload in manifest["workloads"]}
    workloads = [known[name] for name in choose(arguments.workloads, known, "workload", parser)]
    engines = choose(arguments.engines, ENGINES, "engine", parser)
    rounds = arguments.repeat or (2 if arguments.quick else 5)
    bench = Bench(arguments.build, manifest, [name for name in arguments.no_opt.split(",") if name])
    try:
        if arguments.ablation:
            document = measure_ablation(bench, workloads, rounds, arguments, manifest)
            text, name = ablation_report, "ablation"
        elif arguments.instrumentation:
            document = measure_instrumentation(bench, workloads, rounds, arguments, manifest)
            text, name = instrumentation_report, "instrumentation"
        elif arguments.churn:
            document = measure_churn(bench, engines, rounds)
            text, name = churn_report, "churn"
        elif arguments.instructions:
            document = measure_instructions(bench, engines, rounds)
            text, name = instructions_report, "instructions"
        elif arguments.memory_sizes:
            document = measure_sizes(bench, engines, rounds)
            text, name = sizes_report, "sizes"
        elif arguments.linux:
            document = {"host": describe_host(bench.build), "rounds": rounds} | linux.measure(bench, engines, rounds)
            text, name = linux.report, "linux"
        elif arguments.programs:
            document = {"host": describe_host(bench.build)} | programs.measure(bench, rounds)
            text, name = programs.report, "programs"
        else:
            document = measure_engines(bench, workloads, engines, rounds, arguments)
            text, name = report, "results"
    except Problem as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 1
    keep(document, text(document), Path(arguments.output or bench.build / "bench" / f"{name}.json"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
