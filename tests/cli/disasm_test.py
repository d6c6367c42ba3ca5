"""dualvm disasm."""

import subprocess

from cli import BAD_IMAGE, CLEAN, DUALVM, LIMIT, SECONDS, USAGE, CliTest, dualvm, guest, main


def disasm(*arguments):
    return dualvm("disasm", *arguments)


class Bytes(CliTest):
    def test_spellings(self):
        for text in ("0f a2", "0fa2", "0x0f,0xa2", " 0F\tA2 "):
            with self.subTest(text=text):
                result = disasm("--bytes", text)
                self.assert_status(result, CLEAN)
                self.assertEqual(result.stdout.split(), ["0", "0f", "a2", "cpuid"])

    def test_modes(self):
        for mode, text in (("16", "mov ax, 0x5678"), ("32", "mov eax, 0x12345678"), ("64", "mov eax, 0x12345678")):
            with self.subTest(mode=mode):
                self.assertIn(text, disasm("--mode", mode, "--bytes", "b8 78 56 34 12").stdout)
        self.assertIn("dec eax", disasm("--mode=32", "--bytes=48").stdout)

    def test_syntax(self):
        self.assertIn("mov rax, rbx", disasm("--bytes", "48 89 d8").stdout)
        self.assertIn("mov %rbx, %rax", disasm("--bytes", "48 89 d8", "--syntax=att").stdout)

    def test_as_many_as_were_asked_for(self):
        for count in range(4):
            with self.subTest(count=count):
                lines = disasm("--bytes", "90 90 90", f"--count={count}").stdout.splitlines()
                self.assertEqual(len(lines), count)

    def test_what_is_no_instruction(self):
        lines = disasm("--bytes", "06 90 0f").stdout.splitlines()
        self.assertEqual([line.split()[-1] for line in lines[:2]], ["(bad)", "nop"])
        self.assertTrue(lines[2].endswith("(cut off)"))

    def test_a_branch_target_is_an_address(self):
        self.assertIn("jmp 0x1000", disasm("--base=0x1000", "--bytes", "eb fe").stdout)

    def test_what_are_no_bytes(self):
        for text in ("", "0", "xy", "0f a", "0x"):
            with self.subTest(text=text):
                self.assert_refused(disasm("--bytes", text), USAGE, "--bytes")


class Files(CliTest):
    def test_a_guest_from_its_entry_on(self):
        lines = disasm(guest("hello64"), "--count=3").stdout.splitlines()
        self.assertEqual(len(lines), 3)
        self.assertRegex(lines[0], r"^  10000c  ")

    def test_a_guests_64_bit_part(self):
        self.assertIn("mov cr3, rax", disasm(guest("hello64"), "--mode=64", "--start=0x100020", "--count=1").stdout)

    def test_a_boot_sector_is_16_bit(self):
        self.assertRegex(disasm(guest("bootsector16.bin"), "--count=2").stdout, r"(?m)^ +7c05  31 c0 +xor ax, ax$")

    def test_a_raw_file(self):
        path = self.folder / "code"
        path.write_bytes(b"\x31\xc0\xc3")
        self.assertEqual(disasm("--raw", str(path)).stdout.split(), ["0", "31", "c0", "xor", "eax,", "eax", "2", "c3", "ret"])
        self.assertEqual(disasm("--raw", "--start=2", str(path)).stdout.split(), ["2", "c3", "ret"])
        self.assert_refused(disasm("--raw", "--start=3", str(path)), BAD_IMAGE, "no code at 0x3")

    def test_files_that_are_none(self):
        empty = self.folder / "empty"
        empty.touch()
        for arguments in (["/none"], ["--raw", "/none"], [str(empty)], ["--raw", str(empty)], [str(self.folder)],
                          ["--raw", str(self.folder)]):
            with self.subTest(arguments=arguments):
                self.assert_refused(disasm(*arguments), BAD_IMAGE, arguments[-1])

    def test_a_file_without_end(self):
        self.assert_refused(disasm("--raw", "/dev/zero"), BAD_IMAGE, "/dev/zero", "MiB")

    def test_no_guest_hints_at_raw(self):
        path = self.folder / "code"
        path.write_bytes(b"\x31\xc0\xc3")
        self.assert_refused(disasm(str(path)), BAD_IMAGE, "--raw")

    def test_no_memory_at_the_start(self):
        self.assert_refused(disasm(guest("hello64"), "--start=0xffffffffff"), BAD_IMAGE, "no memory at 0xffffffffff")

    def test_a_reader_that_leaves(self):
        path = self.folder / "zeros"
        path.write_bytes(bytes(1 << 20))
        with subprocess.Popen([DUALVM, "disasm", "--raw", str(path)], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL) as process:
            process.stdout.read(10)
            process.stdout.close()
            self.assertEqual(process.wait(timeout=SECONDS), LIMIT)


if __name__ == "__main__":
    main()
