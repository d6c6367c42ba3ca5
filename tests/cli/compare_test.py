"""dualvm compare."""

import json
import os
import subprocess

from cli import CLEAN, DUALVM, LIMIT, SECONDS, TRIPLE_FAULT, CliTest, dualvm, guest, main, why_no_kvm

NO_KVM = "--kvm-device=/nonexistent"


def compare(name, *arguments):
    return dualvm("compare", "-kernel", guest(name), *arguments)


class Compare(CliTest):
    def test_engines_that_cannot_run_are_named_with_the_reason(self):
        result = compare("hello64", NO_KVM)
        self.assert_status(result, CLEAN)
        self.assertRegex(result.stdout, r"(?m)^engine +result +status +instructions +time +MIPS +speedup$")
        self.assertRegex(result.stdout, r"(?m)^interp +debug-exit +1 +\d+ ")
        self.assertRegex(result.stdout, r"(?m)^kvm: not run: .*/nonexistent")
        self.assertIn("nothing was compared", result.stdout)

    def test_the_guests_serial_output_is_not_printed(self):
        self.assertNotIn("Hello", compare("hello64", NO_KVM).stdout)

    def test_json(self):
        path = self.folder / "compare.json"
        result = compare("hello64", NO_KVM, f"--json={path}", "--repeat=3")
        self.assert_status(result, CLEAN)
        report = json.loads(path.read_text())
        interp, kvm = report["runs"]
        self.assertEqual((interp["engine"], interp["available"], interp["status"]), ("interp", True, 1))
        self.assertEqual(len(interp["all_seconds"]), 3)
        self.assertEqual((kvm["engine"], kvm["available"]), ("kvm", False))
        self.assertIn("/nonexistent", kvm["unavailable_because"])
        self.assertTrue(report["agree"])

    def test_limits(self):
        result = compare("loop-forever", "--max-insns=100000")
        self.assert_status(result, LIMIT)
        self.assertRegex(result.stdout, r"(?m)^interp +max-insns +12 +100000 ")
        self.assertRegex(result.stdout, r"kvm: not run: it cannot count instructions|kvm: not run: ")
        self.assert_status(compare("loop-forever", "--timeout=0.2", NO_KVM), LIMIT)

    def test_a_triple_fault_on_every_engine(self):
        self.assert_status(compare("triplefault", NO_KVM), TRIPLE_FAULT)

    def test_a_reader_that_left(self):
        reader, writer = os.pipe()
        os.close(reader)
        process = subprocess.run([DUALVM, "compare", "-kernel", guest("halt"), NO_KVM], stdout=writer,
                                 stderr=subprocess.DEVNULL, timeout=SECONDS, check=False)
        os.close(writer)
        self.assertEqual(process.returncode, LIMIT)


class CompareWithKvm(CliTest):
    def setUp(self):
        super().setUp()
        if why := why_no_kvm():
            self.skipTest(why)

    def test_two_engines_agree(self):
        result = compare("hello64")
        self.assert_status(result, CLEAN)
        self.assertRegex(result.stdout, r"(?m)^kvm +debug-exit +1 +- ")
        self.assertIn("serial output: the same under 2 engines", result.stdout)

    def test_exits_of_both(self):
        report = json.loads(compare("hello64", "--json=-").stdout)
        interp, kvm = report["runs"]
        for kind in ("port-read", "port-write"):
            self.assertEqual(interp["exits"][kind], kvm["exits"][kind])
        self.assertEqual(kvm["mips_count_from"], "interp")


if __name__ == "__main__":
    main()
