"""Results as text."""


def table(rows):
    """Columns as wide as their widest cell; the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) if column == 0 else cell.rjust(width)
                               for column, (cell, width) in enumerate(zip(row, widths))) for row in rows)


def cell(result, key, form):
    return form.format(result[key]) if result and key in result else "-"


def means_row(means, others, behind):
    return ["geometric mean", ""] + ["-" if means.get(engine) is None else f"{means[engine]:.2f}"
                                     for engine in others] + [""] * behind


def computing_table(results, engines, means):
    others = [engine for engine in engines if engine != "native"]
    rows = [["workload", "native s"] + [f"{engine} ×" for engine in others]]
    for name, row in results.items():
        rows.append([name, cell(row.get("native"), "seconds", "{:.3f}")] +
                    [cell(row.get(engine), "ratio", "{:.2f}") for engine in others])
    return table(rows + [means_row(means, others, 0)])


def rate_table(results, engines):
    rows = [["workload", "million instructions"] + [f"{engine} MIPS" for engine in engines] +
            [f"{engine} cycles" for engine in engines]]
    for name, row in results.items():
        counted = next((result for result in row.values() if "instructions" in result), None)
        rows.append([name, "-" if counted is None else f"{counted['instructions'] / 1e6:.0f}"] +
                    [cell(row.get(engine), "mips", "{:.1f}" if engine == "kvm-ring0" else "{:.0f}")
                     for engine in engines] +
                    [cell(row.get(engine), "cycles_per_instruction", "{:.2f}") for engine in engines])
    return table(rows)


def storm_table(results, accesses, engines):
    others = [engine for engine in engines if engine != "native" and not engine.endswith("-ring0")]
    rows = [["device accesses"] + [f"{engine} µs each" for engine in others]]
    for name, row in results.items():
        rows.append([name] + [f"{1e6 * row[engine]['seconds'] / accesses[name]:.3f}" if engine in row else "-"
                              for engine in others])
    return table(rows)


def head(document):
    return "\n".join(f"{key}: {value}" for key, value in document["host"].items())


def report(document):
    engines = document["engines"]
    computing = {name: row for name, row in document["workloads"].items() if name not in document["accesses"]}
    storms = {name: row for name, row in document["workloads"].items() if name in document["accesses"]}
    parts = [head(document)]
    parts += [f"{engine}: left out: {reason}" for engine, reason in document["left_out"].items()]
    if document["without"]:
        parts.append(f"interp runs without: {', '.join(document['without'])}")
    if computing:
        parts.append("Times × native (less is better):\n\n" +
                     computing_table(computing, engines, document["geometric_means"]))
        parts.append("Millions of instructions a second, and host cycles for each instruction (" +
                     document["cycles_from"] + "):\n\n" + rate_table(computing, engines))
    if storms:
        parts.append(storm_table(storms, document["accesses"], engines))
    if document["startup_ms"]:
        parts.append("hello64, process start to exit, median of "
                     f"{document['startup_runs']} (least to most):\n\n" +
                     table([[engine, f"{t['median']:.1f} ms", f"({t['least']:.1f} to {t['most']:.1f})"]
                            for engine, t in document["startup_ms"].items()]))
    return "\n\n".join(parts)


def too_short(document):
    return "".join(f"\n{name}: no result: start-up times here differ by more than it takes; run it again on a quiet machine"
                   for name in document["too_short"])


def ablation_report(document):
    names = document["optimisations"]
    rows = [["workload", "all s"] + [f"no {name}" for name in names]]
    for workload, row in document["workloads"].items():
        rows.append([workload, f"{row['all']:.3f}"] + [f"{row[name] / row['all']:.2f}" for name in names])
    means = document["geometric_means"]
    rows.append(["geometric mean", ""] + [f"{means[name]:.2f}" for name in names])
    return (head(document) + "\n\ninterp's time without each optimisation, as multiples of the time with all:\n\n" +
            table(rows) + too_short(document))


def instrumentation_report(document):
    keys = ("seconds", "host instructions")
    rows = [["workload", "s without", "time with ×", "host instructions with ×"]]
    for name, row in document["workloads"].items():
        ratios = [f"{row[key]['with'] / row[key]['without']:.3f}" if key in row else "-" for key in keys]
        rows.append([name, f"{row['seconds']['without']:.3f}", *ratios])
    means = [document["geometric_means"][key] for key in keys]
    rows.append(["geometric mean", ""] + ["-" if mean is None else f"{mean:.3f}" for mean in means])
    return (head(document) + "\n\ninterp with instrumentation, turned off, against a build without:\n\n" + table(rows) +
            too_short(document))


def churn_report(document):
    engines = document["engines"]
    rows = [["µs for one event"] + engines]
    rows += [[kind] + [f"{row[engine]:.3f}" for engine in engines] for kind, row in document["churn"].items()]
    return head(document) + "\n\nWhat makes a machine forget what it remembers:\n\n" + table(rows)


def sizes_report(document):
    parts = [head(document), "hello64 with more and more guest memory: CPU time from process start to exit, and the "
             "most memory that was resident:"]
    for unit, key, digits in (("ms", "ms", 2), ("MiB", "mebibytes", 1)):
        names = list(next(iter(document["sizes"].values())))
        rows = [["guest memory"] + [f"{name} {unit}" for name in names]]
        rows += [[f"{size} MiB"] + [f"{row[name][key]:.{digits}f}" for name in names]
                 for size, row in document["sizes"].items()]
        parts.append(table(rows))
    return "\n\n".join(parts)


def instructions_report(document):
    engines = document["engines"]
    slowest = max(engines, key=lambda engine: engine == "interp")
    rows = [["ns for one"] + engines]
    ordered = sorted(document["instructions"].items(), key=lambda item: -item[1][slowest])
    rows += [[text] + [f"{row[engine]:.1f}" for engine in engines] for text, row in ordered]
    return head(document) + f"\n\nA million of each, slowest first under {slowest}:\n\n" + table(rows)
