"""How guests end, and the status each end has."""

from cli import CLEAN, TRIPLE_FAULT, CliTest, guest, main, run_guest, dualvm


class Ends(CliTest):
    def test_debug_exit_gives_an_odd_status(self):
        for value in (0, 1, 5, 127):
            with self.subTest(value=value):
                result = run_guest("exit", "-append", f"value={value}")
                self.assert_status(result, value << 1 | 1)
                self.assertEqual(result.stderr, "")

    def test_a_value_beyond_seven_bits_keeps_its_low_ones(self):
        self.assert_status(run_guest("exit", "-append", "value=255"), 255)

    def test_halt_with_interrupts_off_is_a_clean_end(self):
        result = run_guest("halt")
        self.assert_status(result, CLEAN)
        self.assertEqual((result.stdout, result.stderr), ("", ""))

    def test_reset_ends_the_run_with_no_reboot(self):
        for name in ("reset92", "resetcf9"):
            with self.subTest(name=name):
                self.assert_status(run_guest(name, "-no-reboot"), CLEAN)

    def test_triple_fault_shows_instruction_and_registers(self):
        result = run_guest("triplefault")
        self.assert_status(result, TRIPLE_FAULT)
        self.assertIn("triple fault", result.stderr)
        self.assertRegex(result.stderr, r"(?m)^ +[0-9a-f]+  ([0-9a-f]{2} )+ +\w+")
        self.assertRegex(result.stderr, r"rip [0-9a-f]{16} rflags")

    def test_a_triple_fault_can_be_a_reset(self):
        result = run_guest("triplefault", "--triple-fault=reset", "-no-reboot")
        self.assert_status(result, CLEAN)
        self.assertEqual(result.stderr, "")
        self.assert_status(run_guest("triplefault", "--triple-fault=stop"), TRIPLE_FAULT)

    def test_the_serial_port_is_standard_output(self):
        for name in ("hello16", "hello32", "hello64"):
            with self.subTest(name=name):
                result = run_guest(name)
                self.assertTrue(result.stdout.startswith("Hello from"), result.stdout)
                self.assertEqual(result.stderr, "")

    def test_a_boot_sector_runs(self):
        result = dualvm("run", "--engine=interp", "-kernel", guest("bootsector16.bin"))
        self.assert_status(result, 1)

    def test_auto_says_in_one_line_what_it_took_and_why(self):
        result = run_guest("hello64", engine="auto")
        self.assert_status(result, 1)
        self.assertRegex(result.stderr, r"\Adualvm: engine (interp|kvm): .+\n\Z")


if __name__ == "__main__":
    main()
