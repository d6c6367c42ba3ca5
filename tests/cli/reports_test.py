"""--json, --stats, --screen, -d and -D."""

import json
import os
import stat
import struct
from pathlib import Path

from cli import BAD_IMAGE, LIMIT, TRIPLE_FAULT, CliTest, dualvm, guest, main, run_guest

EXIT_KINDS = {"port-read", "port-write", "mmio-read", "mmio-write", "halt", "shutdown", "breakpoint", "single-step",
              "budget-used", "kicked", "attention", "interrupt-window", "user-mode", "kernel-mode", "failure"}


class JsonReport(CliTest):
    def test_a_file_has_what_was_promised(self):
        path = self.folder / "result.json"
        result = run_guest("exit", "-append", "value=9", "-m", "64", f"--json={path}")
        self.assert_status(result, 19)
        report = json.loads(path.read_text())
        self.assertEqual(report["engine"], "interp")
        self.assertEqual(report["status"], 19)
        self.assertEqual(report["reason"], "debug-exit")
        self.assertGreater(report["instructions"], 100)
        self.assertGreater(report["seconds"], 0)
        self.assertEqual(set(report["exits"]), EXIT_KINDS)
        self.assertEqual(report["guest"]["append"], "value=9")
        self.assertEqual(report["guest"]["memory_mebibytes"], 64)
        self.assertEqual(report["guest"]["protocol"], "multiboot")
        for key in ("cpu", "kernel", "compiler", "dualvm"):
            self.assertTrue(report["host"][key])

    def test_optimisations_that_were_in_use(self):
        report = json.loads(run_guest("hello64", "--json=-", "-serial", "none", "--no-opt=links").stdout)
        self.assertFalse(report["optimisations"].pop("links"))
        self.assertEqual(set(report["optimisations"].values()), {True})

    def test_exits_are_counted(self):
        report = json.loads(run_guest("hello64", "--json=-", "-serial", "none").stdout)
        text = "Hello from 64-bit mode\n"
        self.assertEqual(report["exits"]["port-read"], len(text))           # one look at the line status for each
        self.assertGreaterEqual(report["exits"]["port-write"], len(text) + 1)  # and the debug-exit

    def test_a_run_is_the_same_every_time(self):
        counts = {json.loads(run_guest("timer", "--json=-", "-serial", "none").stdout)["instructions"] for _ in range(3)}
        self.assertEqual(len(counts), 1)

    def test_alone_it_goes_to_standard_error(self):
        result = run_guest("hello64", "--json")
        self.assertTrue(result.stdout.startswith("Hello"))
        self.assertEqual(json.loads(result.stderr)["status"], 1)

    def test_with_a_dash_it_follows_the_serial_output(self):
        result = run_guest("hello64", "--json=-")
        first, rest = result.stdout.split("\n", 1)
        self.assertTrue(first.startswith("Hello"))
        self.assertEqual(json.loads(rest)["status"], 1)

    def test_reasons(self):
        for name, arguments, status, reason in (("halt", [], 0, "halted"), ("reset92", ["-no-reboot"], 0, "reset"),
                                                ("triplefault", [], TRIPLE_FAULT, "triple-fault"),
                                                ("loop-forever", ["--timeout=0.1"], LIMIT, "timeout")):
            with self.subTest(name=name):
                report = json.loads(run_guest(name, "--json=-", *arguments).stdout)
                self.assertEqual((report["status"], report["reason"]), (status, reason))

    def test_a_kernel_name_that_is_not_utf8(self):
        path = os.path.join(os.fsencode(self.folder), b"\xff\xfe.elf")
        os.symlink(os.path.abspath(guest("halt")), path)
        report = json.loads(dualvm("run", "--engine=interp", "-kernel", path, "--json=-").stdout)
        self.assertEqual(report["status"], 0)


class Files(CliTest):
    def test_one_that_cannot_be_written_is_known_before_the_run(self):
        for option in ("--json={}", "-D{}"):
            arguments = [option.format(self.folder / "none" / "x")] if option.startswith("--") else [
                "-d", "boot", "-D", str(self.folder / "none" / "x")]
            with self.subTest(option=option):
                self.assert_refused(run_guest("loop-forever", *arguments), BAD_IMAGE, "cannot write")
        self.assert_refused(run_guest("loop-forever", f"--json={self.folder}"), BAD_IMAGE, "directory")

    def test_what_was_there_stays_if_the_run_cannot_begin(self):
        path = self.folder / "result.json"
        path.write_text("before")
        result = run_guest("halt", "-m", "0", f"--json={path}")
        self.assert_status(result, BAD_IMAGE)
        self.assertEqual(path.read_text(), "before")
        self.assertEqual([entry.name for entry in self.folder.iterdir()], ["result.json"])

    def test_it_replaces_what_was_there_and_keeps_its_mode(self):
        path = self.folder / "result.json"
        path.write_text("before")
        path.chmod(0o640)
        run_guest("halt", f"--json={path}")
        self.assertEqual(json.loads(path.read_text())["status"], 0)
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o640)
        self.assertEqual([entry.name for entry in self.folder.iterdir()], ["result.json"])

    def test_a_link_stays_a_link(self):
        target = self.folder / "target"
        target.touch()
        link = self.folder / "link"
        link.symlink_to(target)
        run_guest("halt", f"--json={link}")
        self.assertTrue(link.is_symlink())
        self.assertEqual(json.loads(target.read_text())["status"], 0)

    def test_a_device_is_written_to(self):
        self.assert_status(run_guest("halt", "--json=/dev/null"), 0)
        self.assertTrue(Path("/dev/null").is_char_device())

    def test_a_full_device_is_told(self):
        result = run_guest("halt", "--json=/dev/full")
        self.assert_refused(result, BAD_IMAGE, "/dev/full", "No space left")


class Statistics(CliTest):
    def test_on_standard_error(self):
        result = run_guest("timer", "--stats")
        self.assertIn("20 ticks", result.stdout)
        for pattern in (r"instructions +\d+", r"seconds +\d+\.\d+", r"MIPS +\d+", r"port-write +\d+", r"halt +\d+",
                        r"interrupts injected +[1-9]", r"dirty pages +\d+", r"rescues +0", r"blocks built +\d+"):
            self.assertRegex(result.stderr, pattern)


class Screen(CliTest):
    def sector(self):
        # mov ax, b800h; mov ds, ax; mov word [0], 0748h; mov word [2], 0769h; cli; hlt
        path = self.folder / "sector"
        code = b"\xb8\x00\xb8\x8e\xd8\xc7\x06\x00\x00H\x07\xc7\x06\x02\x00i\x07\xfa\xf4"
        path.write_bytes(code.ljust(510, b"\x90") + b"\x55\xaa")
        return str(path)

    def test_text(self):
        result = dualvm("run", "--engine=interp", "-kernel", self.sector(), "--screen=text")
        self.assert_status(result, 0)
        self.assertEqual(result.stderr, "Hi\n")

    def test_graphics_as_text_is_a_line(self):
        result = run_guest("graphics", "-append", "mode=0x13", "--screen=text")
        self.assert_status(result, 0)
        self.assertRegex(result.stderr, r"^\(graphics mode: 320 x 200 pixels of 8 bits; .*\)\n$")

    def test_png(self):
        picture = self.folder / "screen.png"
        result = dualvm("run", "--engine=interp", "-kernel", self.sector(), f"--screen=png:{picture}", "--screen=text")
        self.assert_status(result, 0)
        self.assertEqual(result.stderr, "Hi\n")
        data = picture.read_bytes()
        self.assertEqual(data[:8], b"\x89PNG\r\n\x1a\n")
        self.assertEqual(struct.unpack(">II", data[16:24]), (720, 400))
        self.assertEqual(data[-8:-4], b"IEND")
        self.assertEqual(sorted(f.name for f in self.folder.iterdir()), ["screen.png", "sector"])

    def test_a_png_that_cannot_be_written(self):
        result = dualvm("run", "--engine=interp", "-kernel", self.sector(), f"--screen=png:{self.folder}/none/screen.png")
        self.assert_status(result, BAD_IMAGE)
        self.assertIn("cannot write", result.stderr)
        result = dualvm("run", "--engine=interp", "-kernel", self.sector(), "--screen=png:/dev/full")
        self.assert_status(result, BAD_IMAGE)
        self.assertIn("cannot write /dev/full", result.stderr)

    def test_a_hint_if_there_is_only_a_screen(self):
        result = dualvm("run", "--engine=interp", "-kernel", self.sector())
        self.assertIn("--screen=text", result.stderr)


class Log(CliTest):
    def test_boot(self):
        result = run_guest("hello64", "-d", "boot")
        self.assertRegex(result.stderr, r"(?m)^boot: 0x[0-9a-f]+-0x[0-9a-f]+ ELF segment 0$")
        self.assertRegex(result.stderr, r"entry at 0x")

    def test_exits(self):
        result = run_guest("hello64", "-d", "exits")
        self.assertRegex(result.stderr, r"(?m)^ +\d+ port-write +0x03f8 size 1 data 48$")  # 'H'
        self.assertRegex(result.stderr, r"(?m)^ +\d+ port-write +0x00f4 size 1 data 00$")

    def test_interrupts(self):
        result = run_guest("timer", "-d", "int")
        self.assertGreaterEqual(result.stderr.count("interrupt 0x20"), 20)

    def test_registers(self):
        self.assertRegex(run_guest("hello64", "-d", "cpu").stderr, r"rip [0-9a-f]{16} rflags")

    def test_to_a_file(self):
        path = self.folder / "log"
        result = run_guest("hello64", "-d", "boot,exits", "-D", str(path))
        self.assertEqual(result.stderr, "")
        self.assertIn("port-write", path.read_text())
        self.assertIn("boot:", path.read_text())


class Color(CliTest):
    def test_only_when_wanted(self):
        self.assertNotIn("\x1b", run_guest("triplefault").stderr)
        self.assertIn("\x1b[", run_guest("triplefault", "--color=always").stderr)
        self.assertNotIn("\x1b", run_guest("triplefault", "--color=never").stderr)


if __name__ == "__main__":
    main()
