"""dualvm run --switch."""

import json
import unittest

from cli import CLEAN, LIMIT, UNAVAILABLE, USAGE, CliTest, dualvm, guest, main, run_guest, why_no_kvm

SIEVE = ("sieve", "-append", "ring=3 size=20000")
SIEVE_SAYS = "sieve ring=3 size=20000 checksum=2262\n"


def counters(result):
    return json.loads(result.stderr)["statistics"]["counters"]


class Spelling(CliTest):
    def test_what_is_no_switch_is_refused_with_what_is_allowed(self):
        for value, *words in (("insn:5", "',to=interp' or ',to=kvm'"), ("insn:5,to=tcg", "',to=interp' or ',to=kvm'"),
                              ("", "CONDITION,to=ENGINE"), ("steps:5,to=kvm", "'steps'", "insn:N", "port:PORT"),
                              ("insn,to=kvm", "insn needs a value"), ("insn:0,to=kvm", "insn cannot be 0"),
                              ("insn:-1,to=kvm", "'insn:-1'"), ("rip:main,to=kvm", "'rip:main'"),
                              ("ring:1,to=kvm", "ring cannot be 1", "ring:0"), ("port:0x10000,to=kvm", "0x10000"),
                              ("program:3,to=kvm", "program takes no value"), ("time:10,to=kvm", "10ms"),
                              ("time:0s,to=kvm", "'0s'"), ("time:99999999999999s,to=kvm", "time"),
                              ("cr3:,to=kvm", "'cr3:'")):
            with self.subTest(value=value):
                self.assert_refused(dualvm("run", "--switch", value, "-kernel", guest("halt")), USAGE, "--switch",
                                    *words)

    def test_repeat_is_the_last_and_repeats_something(self):
        self.assert_refused(dualvm("run", "--switch=repeat", "-kernel", guest("halt")), USAGE, "what to repeat")
        self.assert_refused(
            dualvm("run", "--switch=insn:5,to=kvm", "--switch=repeat", "--switch=insn:5,to=interp", "-kernel",
                   guest("halt")), USAGE, "behind repeat")

    def test_what_kvm_cannot_take_part_in(self):
        self.assert_refused(run_guest("halt", "--switch=insn:5,to=kvm", "--clock=virtual"), USAGE, "--clock=virtual")
        self.assert_refused(run_guest("halt", "--switch=insn:5,to=kvm", "--max-insns=9"), USAGE, "--max-insns")

    def test_only_run_has_it(self):
        self.assert_refused(dualvm("compare", "--switch=insn:5,to=kvm", "-kernel", guest("halt")), USAGE,
                            "option of 'dualvm run'")

    def test_an_engine_that_has_the_guest_already_keeps_it(self):
        result = run_guest(*SIEVE, "--switch=insn:1000,to=interp", "--switch=repeat", "--max-insns=50000", "-serial",
                           "none", "--json=-")
        self.assert_status(result, LIMIT)
        report = json.loads(result.stdout)
        self.assertEqual(report["statistics"]["counters"]["hand-overs"], 0)
        self.assertEqual(report["instructions"], 50000)
        self.assertEqual(report["clock"], "virtual")

    def test_without_kvm_it_is_not_available(self):
        result = run_guest("halt", "--switch=insn:5,to=kvm", "--kvm-device=/nonexistent")
        self.assert_refused(result, UNAVAILABLE, "/nonexistent")


class Kvm(CliTest):
    @classmethod
    def setUpClass(cls):
        if why := why_no_kvm():
            raise unittest.SkipTest(why)

    def test_there_and_back_by_every_condition_of_the_interpreter(self):
        for condition in ("insn:20000", "rip:0x100200", "cr3", "ring:3", "program", "port:0x3f8", "port:1016",
                          "time:200us"):
            with self.subTest(condition=condition):
                result = run_guest(*SIEVE, f"--switch={condition},to=kvm", "--switch=time:300us,to=interp", "--json")
                self.assert_status(result, 1)
                self.assertEqual(result.stdout, SIEVE_SAYS)
                self.assertGreater(counters(result)["hand-overs to kvm"], 0)
                self.assertEqual(json.loads(result.stderr)["clock"], "host")

    def test_over_and_over(self):
        result = run_guest(*SIEVE, "--switch=insn:50000,to=kvm", "--switch=time:100us,to=interp", "--switch=repeat",
                           "--stats")
        self.assert_status(result, 1)
        self.assertEqual(result.stdout, SIEVE_SAYS)
        self.assertRegex(result.stderr, r"hand-overs to interp +\d+\n")
        self.assertRegex(result.stderr, r"hand-overs to kvm +\d+\n")
        self.assertRegex(result.stderr, r"milliseconds under kvm +\d+\n")

    def test_a_guest_that_would_use_pcids_is_handed_over_whether_kvm_has_them_or_not(self):
        result = run_guest("churn", "-append", "kind=9 size=500", "--switch=insn:3000,to=kvm",
                           "--switch=time:100us,to=interp", "--switch=repeat")
        self.assert_status(result, 1)
        self.assertEqual(result.stdout, "pcid size=500 checksum=1002000\n")

    def test_kvm_begins(self):
        result = run_guest(*SIEVE, "--switch=time:1ms,to=interp", "--json", engine="kvm")
        self.assert_status(result, 1)
        self.assertEqual(result.stdout, SIEVE_SAYS)
        self.assertEqual(counters(result)["hand-overs to interp"], 1)

    def test_the_assisted_engine_takes_part(self):
        result = run_guest(*SIEVE, "--assist=kernel", "--switch=program,to=kvm", "--switch=insn:100,to=interp", "--json")
        if result.returncode == UNAVAILABLE:
            self.skipTest(result.stderr)
        self.assert_status(result, 1)
        self.assertEqual(result.stdout, SIEVE_SAYS)
        self.assertEqual(counters(result)["hand-overs"], 2)

    def test_a_condition_that_kvm_cannot_watch_for_is_refused_before_anything_runs(self):
        result = run_guest("hello64", "--switch=time:1s,to=kvm", "--switch=rip:5,to=interp")
        if result.returncode == 1:
            self.skipTest("this host's KVM executes instructions one by one")
        self.assert_refused(result, UNAVAILABLE, "--switch=rip:0x5,to=interp: the engine 'kvm'", "port:P", "interp")

    def test_the_log_of_exits_is_as_without(self):
        result = run_guest("hello64", "--switch=port:0x3f8,to=kvm", "-d", "exits")
        self.assert_status(result, 1)
        self.assertRegex(result.stderr, r"port-write +0x00f4")
        self.assertRegex(result.stderr, r"port-write +0x03f8")

    def test_limits_and_halts(self):
        self.assert_status(run_guest("loop-forever", "--switch=time:50ms,to=kvm", "--timeout=0.3"), LIMIT)
        self.assert_status(run_guest("halt", "--switch=insn:3,to=kvm"), CLEAN)


if __name__ == "__main__":
    main()
