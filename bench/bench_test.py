#!/usr/bin/env python3
"""What bench.py works out of its measurements."""

import unittest

import bench
import runs
import studies
import tables


class FakeBench(runs.Bench):
    """Runs nothing: a run takes as long, and prints what, it is told to."""

    def __init__(self, seconds, checksums=None, per_round=None):
        super().__init__("/nowhere", {"guests": [{"name": "made-up-ring0", "arguments": "ring=0 size=10"}]})
        self.seconds = seconds
        self.checksums = checksums or {}
        self.per_round = per_round  # host instructions

    def run(self, engine, guest, arguments, options=()):
        taken = 0.5 if arguments.endswith("size=1") else 0.5 + self.seconds[engine]
        return runs.Run(taken, taken, f"{guest} checksum={self.checksums.get(engine, '42')}\n")

    def cycles(self, engine, guest, arguments):
        return 1000 if arguments.endswith("size=1") else 8_001_000

    def host_instructions(self, guest, arguments):
        return None if self.per_round is None else 1000 + self.per_round * (not arguments.endswith("size=1"))

    def instructions(self, guest, arguments):
        counts = {"ring=3 repeat=10": 4_000_100, "ring=0 repeat=10": 4_000_100, "ring=0 size=10": 40_100}
        return counts.get(arguments, 100)


WORKLOAD = {"name": "made-up", "repeat": 10, "native": True}


class Measuring(unittest.TestCase):
    def row(self, seconds):
        made_up = FakeBench(seconds)
        row = bench.measure(made_up, WORKLOAD, list(seconds), 1, 1)
        bench.count_instructions(made_up, WORKLOAD, row)
        bench.add_ratios(row)
        return row

    def test_startup_is_taken_away(self):
        self.assertAlmostEqual(self.row({"native": 0.25})["native"]["seconds"], 0.25)

    def test_ratio_to_native(self):
        self.assertAlmostEqual(self.row({"native": 0.25, "interp": 2.0})["interp"]["ratio"], 8)

    def test_rate(self):
        self.assertAlmostEqual(self.row({"native": 0.25, "interp": 2.0})["interp"]["mips"], 2)

    def test_cycles_by_the_hosts_speed(self):
        row = self.row({"native": 0.25, "interp": 2.0})
        bench.count_cycles(FakeBench({}), WORKLOAD, row, 3e9)
        self.assertAlmostEqual(row["interp"]["cycles_per_instruction"], 1500)

    def test_cycles_as_counted(self):
        row = self.row({"native": 0.25, "interp": 2.0})
        bench.count_cycles(FakeBench({}), WORKLOAD, row, None)
        self.assertAlmostEqual(row["interp"]["cycles_per_instruction"], 2)

    def test_what_perf_prints(self):
        self.assertEqual(runs.parse_perf("# started\n\n123456,,cycles:u,1000,100.00,,\n"), 123456)
        self.assertEqual(runs.parse_perf("<not supported>,,cycles:u,0,100.00,,\n"), 0)

    def test_both_rings_do_the_same_work(self):
        row = self.row({"native": 0.25, "interp": 2.0, "interp-ring0": 1.0})
        self.assertAlmostEqual(row["interp-ring0"]["ratio"], 4)

    def test_ablation_is_time_without_over_time_with(self):
        benches = {"all": FakeBench({"interp": 1.0}), "links": FakeBench({"interp": 3.0})}
        rows = studies.ablation(benches, [WORKLOAD], 1, lambda w: ("ring=3 repeat=10", "ring=3 size=1"), 0.002)
        self.assertAlmostEqual(rows["made-up"]["links"] / rows["made-up"]["all"], 3)
        document = {"host": {"CPU": "made up"}, "optimisations": ["links"], "workloads": rows,
                    "geometric_means": {"links": 3.0}, "too_short": []}
        self.assertRegex(tables.ablation_report(document), r"made-up +1.000 +3.00")

    def test_ablation_names_what_start_up_hides(self):
        rows = studies.ablation({"all": FakeBench({"interp": 0.0001})}, [WORKLOAD], 1,
                                lambda w: ("ring=3 repeat=10", "ring=3 size=1"), 0.002)
        hidden = bench.too_short([WORKLOAD], rows)
        self.assertEqual(hidden, [WORKLOAD["name"]])
        document = {"host": {}, "optimisations": [], "workloads": rows, "geometric_means": {}, "too_short": hidden}
        self.assertIn("made-up: no result", tables.ablation_report(document))

    def test_the_list_of_instructions_is_what_the_guest_has(self):
        source = (bench.ROOT / "guests" / "workloads" / "instructions.c").read_text(encoding="utf-8")
        found = studies.instruction_list(source)
        self.assertEqual(len(found), source.count("        RUN("))
        self.assertEqual(found[0], "add eax, [rsi]")

    def test_an_instruction_costs_what_start_up_does_not(self):
        class Runs:
            def run(self, engine, guest, arguments):
                seconds = {"size=1": 0.012, "size=2": 0.010, "size=3": 0.010}[arguments]
                return runs.Run(seconds, seconds, "")

        found = studies.instructions(Runs(), ["interp"], 1, ["slow", "free"])
        self.assertAlmostEqual(found["slow"]["interp"], 2)
        self.assertEqual(found["free"]["interp"], 0)
        text = tables.instructions_report({"host": {"CPU": "made up"}, "engines": ["interp"], "instructions": found})
        self.assertRegex(text, r"(?s)slow +2\.0.*free +0\.0")

    def test_instrumentation_is_with_over_without(self):
        arguments = ("ring=3 repeat=10", "ring=3 repeat=1", "ring=3 size=1")
        for counts, shown in (((102, 100), "1.020"), ((None, None), "-")):
            benches = {"with": FakeBench({"interp": 1.01}, per_round=counts[0]),
                       "without": FakeBench({"interp": 1.0}, per_round=counts[1])}
            rows = studies.instrumentation(benches, [WORKLOAD], 1, lambda w: arguments, 0.002)
            document = {"host": {"CPU": "made up"}, "workloads": rows,
                        "geometric_means": {"seconds": 1.01, "host instructions": None}, "too_short": []}
            self.assertRegex(tables.instrumentation_report(document), rf"made-up +1\.000 +1\.010 +{shown}")

    def test_left_out_optimisations_reach_the_command_line(self):
        made_up = runs.Bench("/nowhere", {"guests": []}, ["flags", "tlb"])
        self.assertIn("--no-opt=flags,tlb", made_up.command("interp-ring0", "fib", ""))
        self.assertNotIn("--no-opt=flags,tlb", made_up.command("kvm", "fib", ""))

    def test_other_work_is_compared_by_instruction(self):
        # 40,000 instructions in 1 s against 4,000,000 in 0.25 s
        self.assertAlmostEqual(self.row({"native": 0.25, "kvm-ring0": 1.0})["kvm-ring0"]["ratio"], 400)

    def test_what_start_up_hides_has_no_result(self):
        self.assertNotIn("interp", self.row({"native": 0.25, "interp": 0.0001}))

    def test_checksums_that_differ(self):
        made_up = FakeBench({"native": 1, "interp": 1}, {"interp": "43"})
        with self.assertRaises(runs.Problem):
            bench.measure(made_up, WORKLOAD, ["native", "interp"], 1, 1)

    def test_geometric_mean(self):
        self.assertAlmostEqual(bench.geometric_mean([2, 8]), 4)
        self.assertIsNone(bench.geometric_mean([]))

    def test_median(self):
        self.assertEqual(bench.median([3, 1, 2]), 2)
        self.assertEqual(bench.median([4, 1, 3, 2]), 2.5)

    def test_output_without_checksum(self):
        with self.assertRaises(runs.Problem):
            bench.checksum("unexpected interrupt: vector 13\n")


if __name__ == "__main__":
    unittest.main()
