"""dualvm run --engine=kvm."""

import json
import signal
import subprocess
import time
import unittest

from cli import (CLEAN, DUALVM, FAILURE, LIMIT, SECONDS, TRIPLE_FAULT, UNAVAILABLE, CliTest, dualvm, guest, main,
                 run_guest, why_no_kvm)


class Unavailable(CliTest):
    def test_no_device(self):
        result = run_guest("halt", "--kvm-device=/nonexistent", engine="kvm")
        self.assert_refused(result, UNAVAILABLE, "/nonexistent", "No such file", "--engine=interp")

    def test_not_a_kvm_device(self):
        self.assert_refused(run_guest("halt", "--kvm-device=/dev/null", engine="kvm"), UNAVAILABLE, "/dev/null")

    def test_auto_takes_interp_and_says_why(self):
        result = run_guest("hello64", "--kvm-device=/nonexistent", engine="auto")
        self.assert_status(result, 1)
        self.assertRegex(result.stderr, r"\Adualvm: engine interp: .*/nonexistent.*\n\Z")

    def test_trace_with_kvm(self):
        result = dualvm("trace", "--engine=kvm", "--kvm-device=/nonexistent", "-kernel", guest("halt"))
        self.assert_refused(result, UNAVAILABLE, "/nonexistent")


class Kvm(CliTest):
    @classmethod
    def setUpClass(cls):
        if why := why_no_kvm():
            raise unittest.SkipTest(why)

    def test_hello_in_every_mode(self):
        for name in ("hello16", "hello32", "hello64"):
            with self.subTest(name=name):
                result = run_guest(name, engine="kvm")
                self.assert_status(result, 1)
                self.assertEqual(result.stdout, run_guest(name).stdout)

    def test_ends(self):
        self.assert_status(run_guest("exit", "-append", "value=21", engine="kvm"), 43)
        self.assert_status(run_guest("halt", engine="kvm"), CLEAN)
        self.assert_status(run_guest("reset92", "-no-reboot", engine="kvm"), CLEAN)
        self.assert_status(run_guest("triplefault", engine="kvm"), TRIPLE_FAULT)
        self.assert_status(run_guest("triplefault", "--triple-fault=reset", "-no-reboot", engine="kvm"), CLEAN)
        self.assert_status(run_guest("triplefault", "--triple-fault=reset", "--timeout=0.3", engine="kvm"), LIMIT)

    def test_instructions_are_null_in_json(self):
        report = json.loads(run_guest("hello64", "--json=-", "-serial", "none", engine="kvm").stdout)
        self.assertEqual(report["engine"], "kvm")
        self.assertIsNone(report["instructions"])
        self.assertGreater(report["exits"]["port-write"], 0)

    def test_limits(self):
        for name in ("loop-forever", "halt-forever", "resetcf9"):
            with self.subTest(name=name):
                self.assert_status(run_guest(name, "--timeout=0.3", engine="kvm"), LIMIT)

    def test_what_kvm_cannot_execute_is_shown_or_rescued(self):
        path = self.folder / "sector"
        path.write_bytes(b"\xdb\xe3\x9b\xfa\xf4".ljust(510, b"\x90") + b"\x55\xaa")  # fninit; fwait; cli; hlt
        bare = dualvm("run", "--engine=kvm", "--no-rescue", "-kernel", str(path))
        if bare.returncode == CLEAN:
            self.skipTest("this host's KVM executes FWAIT at ring 0")
        self.assert_refused(bare, FAILURE, "could not execute the instruction at 0x7c02", "9b", "fwait", "rip 0")
        rescued = dualvm("run", "--engine=kvm", "--assist=instruction", "--json=-", "-kernel", str(path))
        self.assert_status(rescued, CLEAN)
        self.assertEqual(json.loads(rescued.stdout)["statistics"]["rescues"], 1)

    def test_signals(self):
        for name in ("loop-forever", "halt-forever"):
            with self.subTest(name=name):
                process = subprocess.Popen([DUALVM, "run", "--engine=kvm", "-kernel", guest(name)],
                                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                           stderr=subprocess.DEVNULL)
                self.addCleanup(process.kill)
                time.sleep(0.3)
                process.send_signal(signal.SIGINT)
                self.assertEqual(process.wait(timeout=SECONDS), LIMIT)


if __name__ == "__main__":
    main()
