#!/usr/bin/env python3
"""The coverage check must be able to fail: it is given forms with one thing wrong."""

import tempfile
import unittest
from pathlib import Path

import coverage


def form(**changes):
    row = {"mode": "64", "mnemonic": "add", "operands": "r32, r32", "isa_set": "I86", "feature": "", "advertised": "yes",
           "executes": "yes", "ring0": "no", "reads_as": "", "example": "01 c0"}
    row.update(changes)
    return row


EVERY_MODE = {"modes": ["64", "32"], "forms_not_compared": {}}


def status(changes, cases=None, other=None, fuzz=None):
    (row,) = coverage.table([form(**changes)], cases or {}, other or {}, fuzz or EVERY_MODE)
    return row["status"]


class Table(unittest.TestCase):
    def test_what_had_cases_is_tested(self):
        self.assertEqual(status({}, {"64/add/r32, r32": 3}), "tested")

    def test_what_had_none_is_untested(self):
        self.assertEqual(status({}, {"64/add/m32, r32": 3}), "untested")

    def test_16_bit_code_is_tested_as_in_32_bit_code(self):
        self.assertEqual(status({"mode": "16"}, {"32/add/r32, r32": 3}), "tested")
        self.assertEqual(status({"mode": "16"}, {"64/add/r32, r32": 3}), "untested")

    def test_ring_0_needs_a_test_of_its_own(self):
        hlt = {"mnemonic": "hlt", "operands": "", "ring0": "yes"}
        self.assertEqual(status(hlt, {"64/hlt/": 3}), "untested")
        self.assertEqual(status(hlt, {}, {"hlt": [(".*", "HaltStops")]}), "tested")

    def test_what_this_hosts_cpu_cannot_tell_is_no_complaint(self):
        only_64 = {"modes": ["64"], "forms_not_compared": {"64/sub/r32, r32": 5}}
        self.assertEqual(status({"mode": "32"}, {}, {}, only_64), "not comparable here")
        self.assertEqual(status({"mode": "16"}, {}, {}, only_64), "not comparable here")
        self.assertEqual(status({"mnemonic": "sub"}, {}, {}, only_64), "not comparable here")
        self.assertEqual(status({}, {}, {}, only_64), "untested")
        self.assertEqual(status({"mode": "32", "ring0": "yes"}, {}, {}, only_64), "untested")

    def test_a_named_test_is_about_its_operands(self):
        named = {"mov": [(".*CRn.*", "MovToAndFromControlRegisters")]}
        self.assertEqual(status({"mnemonic": "mov", "operands": "CRn, r64", "ring0": "yes"}, {}, named), "tested")
        self.assertEqual(status({"mnemonic": "mov"}, {}, named), "untested")

    def test_what_is_advertised_must_execute(self):
        self.assertEqual(status({"executes": "no"}, {"64/add/r32, r32": 3}), "not implemented")
        self.assertEqual(status({"mnemonic": "ud2", "operands": "", "executes": "no"}, {"64/ud2/": 3}), "tested")

    def test_what_is_not_advertised_must_not_execute(self):
        self.assertEqual(status({"advertised": "no", "executes": "no"}), "absent")
        self.assertEqual(status({"advertised": "no", "reads_as": "64/nop/r32"}), "absent")
        self.assertEqual(status({"advertised": "no"}), "not advertised, but executes")

    def test_complaints_name_what_is_wrong(self):
        rows = coverage.table([form(), form(mnemonic="sub")], {"64/add/r32, r32": 1}, {}, EVERY_MODE)
        self.assertEqual(coverage.complaints(rows), ["64/sub/r32, r32 (01 c0): untested"])

    def test_named_tests_must_exist(self):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            (root / "a_test.cc").write_text("TEST(A, HaltStops) {}\n")
            listing = root / "other.csv"
            listing.write_text("mnemonics,operands,file,test\nhlt,.*,a_test.cc,HaltStops\nltr,.*,a_test.cc,Gone\n")
            tests, wrong = coverage.read_other_tests(listing, root)
        self.assertEqual(tests["hlt"], [(".*", "HaltStops")])
        self.assertEqual(wrong, ["other.csv: there is no test Gone in a_test.cc"])


if __name__ == "__main__":
    unittest.main()
