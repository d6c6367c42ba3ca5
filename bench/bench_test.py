#!/usr/bin/env python3
"""What bench.py works out of its measurements."""

import unittest

import bench


class FakeBench(bench.Bench):
    """Runs nothing: a run takes as long, and prints what, it is told to."""

    def __init__(self, seconds, checksums=None):
        super().__init__("/nowhere", {"guests": [{"name": "made-up-ring0", "arguments": "ring=0 size=10"}]})
        self.seconds = seconds
        self.checksums = checksums or {}

    def run(self, engine, guest, arguments, json_file=None):
        taken = 0.5 if arguments.endswith("size=1") else 0.5 + self.seconds[engine]
        return taken, f"{guest} checksum={self.checksums.get(engine, '42')}\n"

    def instructions(self, guest, arguments):
        return {"ring=3 repeat=10": 4_000_100, "ring=0 size=10": 40_100}.get(arguments, 100)


WORKLOAD = {"name": "made-up", "repeat": 10, "native": True}


class Measuring(unittest.TestCase):
    def row(self, seconds):
        made_up = FakeBench(seconds)
        row = bench.measure(made_up, WORKLOAD, list(seconds), 1, False)
        bench.count_instructions(made_up, WORKLOAD, row)
        bench.add_ratios(row)
        return row

    def test_startup_is_taken_away(self):
        self.assertAlmostEqual(self.row({"native": 0.25})["native"]["seconds"], 0.25)

    def test_ratio_to_native(self):
        self.assertAlmostEqual(self.row({"native": 0.25, "interp": 2.0})["interp"]["ratio"], 8)

    def test_rate(self):
        self.assertAlmostEqual(self.row({"native": 0.25, "interp": 2.0})["interp"]["mips"], 2)

    def test_other_work_is_compared_by_instruction(self):
        # 40,000 instructions in 1 s against 4,000,000 in 0.25 s
        self.assertAlmostEqual(self.row({"native": 0.25, "kvm-ring0": 1.0})["kvm-ring0"]["ratio"], 400)

    def test_what_start_up_hides_has_no_result(self):
        self.assertNotIn("interp", self.row({"native": 0.25, "interp": 0.0001}))

    def test_checksums_that_differ(self):
        made_up = FakeBench({"native": 1, "interp": 1}, {"interp": "43"})
        with self.assertRaises(bench.Problem):
            bench.measure(made_up, WORKLOAD, ["native", "interp"], 1, False)

    def test_geometric_mean(self):
        self.assertAlmostEqual(bench.geometric_mean([2, 8]), 4)
        self.assertIsNone(bench.geometric_mean([]))

    def test_median(self):
        self.assertEqual(bench.median([3, 1, 2]), 2)
        self.assertEqual(bench.median([4, 1, 3, 2]), 2.5)

    def test_output_without_checksum(self):
        with self.assertRaises(bench.Problem):
            bench.checksum("unexpected interrupt: vector 13\n")


if __name__ == "__main__":
    unittest.main()
