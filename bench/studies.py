"""Questions beside "how fast?": what does each optimisation give, and what do forgetting and guest memory cost?"""

import math
import re

from runs import AS_GIVEN

# guests/system/churn.c says what they are
CHURN = ["walks", "cr3", "invlpg", "data", "jit", "blocks", "alone", "line", "load", "pcid"]
EVENTS = {name: 10_000 if name == "load" else 300_000 for name in CHURN}  # a load costs a translator milliseconds
SIZES = [16, 64, 256, 1024, 4096, 16384]  # MiB of guest memory


def ablation(benches, workloads, rounds, arguments_of, least):
    """CPU seconds of interp: {workload: {"all": ..., NAME: ...}}. `benches` has one Bench for each of these keys."""
    results = {}
    for workload in workloads:
        best = {}
        full, nothing = arguments_of(workload)
        for _ in range(rounds):
            for name, bench in benches.items():
                taken = (bench.run("interp", workload["name"], full).seconds,
                         bench.run("interp", workload["name"], nothing).seconds)
                before = best.get(name, (math.inf, math.inf))
                best[name] = (min(taken[0], before[0]), min(taken[1], before[1]))
        row = {name: whole - startup for name, (whole, startup) in best.items()}
        if row["all"] >= least:
            results[workload["name"]] = row
    return results


def instrumentation(benches, workloads, rounds, arguments_of, least):
    """{workload: {"seconds": {"with": ..., "without": ...}}}, in turns; where valgrind is installed "host instructions" of a
    small run as well. `benches`: {"with": Bench, "without": Bench}; arguments_of(workload): measured, small, nothing."""
    results = {}
    for workload in workloads:
        name = workload["name"]
        full, small, nothing = arguments_of(workload)
        best = {}
        for _ in range(rounds):
            for key, bench in benches.items():
                for arguments in (full, nothing):
                    seconds = bench.run("interp", name, arguments).seconds
                    best[key, arguments] = min(seconds, best.get((key, arguments), math.inf))
        row = {"seconds": {key: best[key, full] - best[key, nothing] for key in benches}}
        if row["seconds"]["without"] < least:
            continue
        counts = {key: [bench.host_instructions(name, arguments) for arguments in (small, nothing)]
                  for key, bench in benches.items()}
        if all(count for pair in counts.values() for count in pair):
            row["host instructions"] = {key: whole - startup for key, (whole, startup) in counts.items()}
        results[name] = row
    return results


def churn(bench, engines, rounds):
    """What an event of each kind of the guest churn costs: {KIND: {engine: microseconds}}."""
    best = {}
    for _ in range(rounds):
        for kind, name in enumerate(CHURN):
            for engine in engines:
                for size in (EVENTS[name], 1):
                    seconds = bench.run(engine, "churn", f"kind={kind} size={size}").seconds
                    best[name, engine, size] = min(seconds, best.get((name, engine, size), math.inf))
    return {name: {engine: 1e6 * (best[name, engine, EVENTS[name]] - best[name, engine, 1]) / EVENTS[name]
                   for engine in engines} for name in CHURN}


def memory_sizes(bench, engines, rounds):
    """{MiB: {start: {"ms": least of CPU time, "mebibytes": most that was resident}}}. A start is an engine's name, and
    the guest's if it is not hello64."""
    starts = {engine: (engine, "hello64", "", []) for engine in engines}
    if AS_GIVEN in engines:  # which may make a VM for the guest's first program
        starts[f"{AS_GIVEN}, fib"] = (AS_GIVEN, "fib", "ring=3 size=1", ["--patience=0"])
    sizes = {size: {name: {"ms": math.inf} for name in starts} for size in SIZES}
    for _ in range(rounds):
        for size in SIZES:
            for name, (engine, guest, arguments, options) in starts.items():
                ms = 1000 * bench.run(engine, guest, arguments, ["-m", str(size), *options]).seconds
                sizes[size][name]["ms"] = min(ms, sizes[size][name]["ms"])
    for size in SIZES:
        for name, (engine, guest, arguments, options) in starts.items():
            sizes[size][name]["mebibytes"] = bench.peak_memory(engine, guest, arguments, ["-m", str(size), *options])
    return sizes


def instruction_list(source):
    """The instructions that guests/workloads/instructions.c runs, in the order of its `size`."""
    return re.findall(r'^ +RUN\("(.*)"\)$', source, re.MULTILINE)


def instructions(bench, engines, rounds, texts):
    """What each of `texts` costs: {TEXT: {engine: nanoseconds}}."""
    def least(engine, size):
        return min(bench.run(engine, "instructions", f"size={size}").seconds for _ in range(rounds))

    executed = 1e6  # of each
    startup = {engine: least(engine, len(texts) + 1) for engine in engines}
    return {text: {engine: max(0, 1e9 * (least(engine, number) - startup[engine]) / executed) for engine in engines}
            for number, text in enumerate(texts, 1)}
