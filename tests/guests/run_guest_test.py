#!/usr/bin/env python3
"""That run_guest.py notices what is wrong, and that the manifest is whole."""

import unittest

import run_guest


class Checks(unittest.TestCase):
    guest = {"name": "made-up", "file": "made-up.elf", "arguments": "", "output": "hello\n", "status": 1,
             "status_on": {"qemu": 0}}

    def test_right(self):
        self.assertEqual(run_guest.check(self.guest, "interp", 1, "hello\n"), [])

    def test_wrong_status(self):
        self.assertEqual(len(run_guest.check(self.guest, "interp", 3, "hello\n")), 1)

    def test_status_of_one_engine(self):
        self.assertEqual(run_guest.check(self.guest, "qemu", 0, "hello\n"), [])
        self.assertEqual(len(run_guest.check(self.guest, "qemu", 1, "hello\n")), 1)

    def test_wrong_output(self):
        self.assertEqual(len(run_guest.check(self.guest, "interp", 1, "hell\n")), 1)
        self.assertEqual(len(run_guest.check(self.guest, "interp", 1, "")), 1)

    def test_any_clean_end(self):
        guest = {"name": "made-up", "status": "any clean end"}
        for status, clean in ((0, True), (1, True), (165, True), (8, True), (12, True), (2, False), (4, False), (6, False),
                              (10, False), (14, False), (134, False), (-11, False), (-6, False)):
            self.assertEqual(run_guest.status_fits(guest, "interp", status), clean, status)


class Manifest(unittest.TestCase):
    manifest = run_guest.load_manifest()

    def test_names_are_unique(self):
        names = [guest["name"] for guest in self.manifest["guests"]]
        self.assertEqual(len(names), len(set(names)))

    def test_expected_outputs_are_there(self):
        for guest in self.manifest["guests"]:
            if guest["status"] != "any clean end":
                self.assertIsNotNone(run_guest.expected_output(guest), guest["name"])

    def test_every_workload_is_tested_in_both_rings(self):
        names = {guest["name"] for guest in self.manifest["guests"]}
        for workload in self.manifest["workloads"]:
            self.assertIn(workload["name"] + "-ring0", names)
            self.assertIn(workload["name"] + "-ring3", names)


if __name__ == "__main__":
    unittest.main()
