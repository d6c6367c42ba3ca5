"""dualvm trace."""

import json
import re

from cli import BAD_IMAGE, CLEAN, LIMIT, TRIPLE_FAULT, CliTest, dualvm, guest, main, run_guest

LINE = re.compile(r"^ +[0-9a-f]+  (?:[0-9a-f]{2} )+ +\S.*$")


def trace(name, *arguments):
    return dualvm("trace", "-kernel", guest(name), *arguments)


class Trace(CliTest):
    def test_address_bytes_instruction_and_changed_registers(self):
        result = trace("hello64", "--count=20")
        self.assert_status(result, CLEAN)
        lines = result.stdout.splitlines()
        self.assertEqual(len(lines), 20)
        for line in lines:
            self.assertRegex(line, LINE)
        self.assertRegex(result.stdout, r"(?m)^ +100018  0f 22 e0 +mov cr4, eax +; cr4=0x20$")

    def test_instructions_only(self):
        self.assertNotIn(";", trace("hello64", "--count=20", "--no-registers").stdout)

    def test_att(self):
        self.assertIn("mov %cr4, %eax", trace("hello64", "--count=5", "--syntax=att").stdout)

    def test_every_mode_is_disassembled_as_what_it_is(self):
        text = trace("hello16", "--count=40").stdout
        self.assertIn("mov ecx, ", text)                # 32-bit protected mode
        self.assertRegex(text, r"b8 10 00 +mov ax, 0x10")  # 16-bit

    def test_the_guest_speaks_on_standard_error(self):
        result = trace("hello64", "--count=100000")
        self.assert_status(result, 1)
        self.assertIn("Hello from 64-bit mode", result.stderr)
        self.assertNotIn("Hello", result.stdout)

    def test_the_engine_that_auto_takes_is_named(self):
        self.assertRegex(trace("hello64", "--count=1").stderr, "engine interp: it steps through everything")
        self.assertNotIn("engine interp", trace("hello64", "--count=1", "--engine=interp").stderr)

    def test_as_many_lines_as_instructions(self):
        count = json.loads(run_guest("hello64", "--json=-", "-serial", "none").stdout)["instructions"]
        self.assertEqual(len(trace("hello64", "--count=100000").stdout.splitlines()), count)

    def test_from_is_where_the_whole_trace_is_after_so_many(self):
        whole = trace("hello64", "--count=110").stdout.splitlines()
        part = trace("hello64", "--from=100", "--count=10").stdout.splitlines()
        self.assertEqual(part, whole[100:])

    def test_from_rip(self):
        result = trace("hello64", "--from-rip=0x100020", "--count=1")
        self.assertTrue(result.stdout.startswith("  100020  0f 22 d8"), result.stdout)

    def test_an_interrupt_has_a_line_of_its_own(self):
        result = trace("timer", "--count=200000")
        marks = re.findall(r"(?m)^-- interrupt 0x20 before [0-9a-f]+, handler at ([0-9a-f]+)\n +([0-9a-f]+) ",
                           result.stdout)
        self.assertGreaterEqual(len(marks), 20)
        for handler, next_address in marks:
            self.assertEqual(handler, next_address)

    def test_the_way_into_a_triple_fault(self):
        result = trace("triplefault")
        self.assert_status(result, TRIPLE_FAULT)
        self.assertRegex(result.stdout.splitlines()[-1], "ud2")

    def test_limits(self):
        self.assert_status(trace("loop-forever", "--count=1000000000", "--timeout=0.3", "-o", "/dev/null"), LIMIT)
        self.assert_status(trace("loop-forever", "--max-insns=5"), LIMIT)

    def test_to_a_file(self):
        path = self.folder / "trace"
        result = trace("hello64", "--count=3", "-o", str(path))
        self.assert_status(result, CLEAN)
        self.assertEqual(result.stdout, "")
        self.assertEqual(len(path.read_text().splitlines()), 3)
        self.assert_refused(trace("hello64", "-o", str(self.folder / "none" / "x")), BAD_IMAGE, "cannot write")


if __name__ == "__main__":
    main()
