"""Files that dualvm writes: nothing is lost, and nothing half-written stays."""

import json
import os
import signal
import subprocess
import time

from cli import (BAD_IMAGE, CLEAN, DUALVM, LIMIT, SECONDS, USAGE, CliTest, dualvm, guest, main, run_guest)


class Files(CliTest):
    def path(self, name, contents=None):
        path = self.folder / name
        if contents is not None:
            path.write_bytes(contents)
        return str(path)

    def appended(self, *arguments):
        """What a file holds that had "before" when dualvm's standard output and error were appended to it."""
        path = self.path("log", b"before\n")
        with open(path, "ab") as log:
            subprocess.run([DUALVM, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=SECONDS,
                           check=False)
        with open(path, "rb") as log:
            return log.read().decode()

    def assert_only(self, *names):
        self.assertEqual(sorted(os.listdir(self.folder)), sorted(names))


class Streams(Files):
    def test_what_standard_output_leads_to_is_not_replaced(self):
        for stream in ("/dev/stdout", "/dev/stderr", "/dev/fd/1", "/proc/self/fd/2"):
            with self.subTest(stream=stream):
                text = self.appended("run", "--engine=interp", "-kernel", guest("hello64"), "-d", "boot", "-D", stream)
                for part in ("before\n", "boot: ", "Hello"):
                    self.assertIn(part, text)

    def test_nor_is_it_by_its_name(self):
        text = self.appended("disasm", "--bytes", "90", "-o", self.path("log"))
        self.assertTrue(text.startswith("before\n") and "nop" in text, text)

    def test_a_report_that_cannot_be_written(self):
        with open("/dev/full", "wb") as full:
            result = subprocess.run([DUALVM, "run", "--engine=interp", "-kernel", guest("hello64"), "--json"],
                                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=full, timeout=SECONDS,
                                    check=False)
        self.assertEqual(result.returncode, BAD_IMAGE)

    def test_a_report_tells_the_status_that_the_run_ends_with(self):
        report = self.path("report")
        self.assert_status(run_guest("hello64", "-d", "boot", "-D", "/dev/full", f"--json={report}"), BAD_IMAGE)
        with open(report, encoding="utf-8") as file:
            self.assertEqual(json.load(file)["status"], BAD_IMAGE)


class OneName(Files):
    def test_of_two_outputs(self):
        same = self.path("same")
        self.assert_refused(run_guest("hello64", f"--serial=file:{same}", "-d", "boot", "-D", same), USAGE, "-D", same)
        self.assert_refused(run_guest("hello64", "-d", "boot", "-D", f"{self.folder}/./same", f"--json={same}"), USAGE,
                            "-D", "--json")
        self.assert_refused(run_guest("hello64", f"--screen=png:{same}", "--screen=png:other"), USAGE, "--screen")
        self.assert_only()

    def test_of_an_output_and_what_is_read(self):
        disk = self.path("disk", b"precious".ljust(1 << 20))
        self.assert_refused(run_guest("hello64", "-hda", disk, f"--serial=file:{disk}"), USAGE, "-hda", disk)
        os.symlink("disk", self.folder / "link")
        self.assert_refused(run_guest("hello64", "-hda", disk, f"--json={self.folder}/link"), USAGE, "-hda")
        self.assert_refused(dualvm("disasm", "--raw", disk, "-o", disk), USAGE, "-o")
        with open(disk, "rb") as file:
            self.assertTrue(file.read().startswith(b"precious"))

    def test_devices_may_be_named_twice(self):
        self.assert_status(run_guest("hello64", "-d", "boot", "-D", "/dev/null", "--json=/dev/null"), 1)

    def test_an_image_that_a_guest_has_is_not_overwritten_by_way_of_its_overlay(self):
        base = self.path("base", bytes(1 << 20))
        top = self.path("top")
        self.assert_status(dualvm("img", "create", "-q", "-f", "qcow2", "-b", "base", "-F", "raw", top), CLEAN)
        result = run_guest("hello64", "-hda", top, f"--json={base}")
        self.assert_status(result, BAD_IMAGE)
        self.assertEqual(os.path.getsize(base), 1 << 20)
        self.assert_only("base", "top")


class OwnBacking(Files):
    def test_a_new_image_does_not_replace_what_is_behind_it(self):
        base = self.path("base", b"precious".ljust(1 << 20))
        self.assert_refused(dualvm("img", "create", "-f", "qcow2", "-b", "base", "-F", "raw", base), BAD_IMAGE, base)
        self.assert_refused(dualvm("img", "create", "-u", "-f", "qcow2", "-b", base, "-F", "raw", base, "1M"), BAD_IMAGE)
        top = self.path("top")
        self.assert_status(dualvm("img", "create", "-q", "-f", "qcow2", "-b", "base", "-F", "raw", top), CLEAN)
        self.assert_refused(dualvm("img", "create", "-f", "qcow2", "-b", "top", "-F", "qcow2", base), BAD_IMAGE, "in use")
        with open(base, "rb") as file:
            self.assertTrue(file.read().startswith(b"precious"))
        self.assert_only("base", "top")


class Links(Files):
    def test_a_link_stays_one_though_it_leads_nowhere_yet(self):
        os.symlink("target", self.folder / "link")
        self.assert_status(dualvm("disasm", "--bytes", "90", "-o", self.path("link")), CLEAN)
        self.assertTrue((self.folder / "link").is_symlink())
        self.assertIn("nop", (self.folder / "target").read_text())


class Signals(Files):
    def start(self, *arguments):
        return subprocess.Popen([DUALVM, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE)

    def ends(self, process, *signals):
        for each in signals:
            process.send_signal(each)
        _, said = process.communicate(timeout=SECONDS)
        self.assertEqual(process.returncode, LIMIT, said)

    def wait_for(self, condition):
        end = time.monotonic() + SECONDS
        while not condition():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)

    def test_one_ends_a_long_disassembly_and_nothing_stays(self):
        code = self.path("code", os.urandom(1 << 20) * 100)
        for signals in ([signal.SIGINT], [signal.SIGTERM, signal.SIGINT]):
            process = self.start("disasm", "--raw", code, "-o", self.path("out"))
            self.wait_for(lambda: any(os.path.getsize(self.folder / name) for name in os.listdir(self.folder)
                                      if name.startswith("out.")))
            self.ends(process, *signals)
            self.assert_only("code")

    def test_a_pipe_whose_reader_stands_still(self):
        pipe = self.path("pipe")
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        code = self.path("code", os.urandom(1 << 20) * 4)
        process = self.start("disasm", "--raw", code, "-o", pipe)
        self.wait_for(lambda: state(process.pid) == "S")
        self.ends(process, signal.SIGINT)

    def test_a_pipe_without_a_reader(self):
        pipe = self.path("pipe")
        os.mkfifo(pipe)
        process = self.start("disasm", "--bytes", "90", "-o", pipe)
        self.wait_for(lambda: state(process.pid) == "S")
        self.ends(process, signal.SIGINT)


def state(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return file.read().rsplit(")", 1)[1].split()[0]


class Full(Files):
    def test_a_trace_ends_when_its_file_is_full(self):
        result = dualvm("trace", "--engine=interp", "-kernel", guest("loop-forever"), "--count=100000000000", "-o",
                        "/dev/full")
        self.assert_status(result, BAD_IMAGE)
        self.assertIn("No space left", result.stderr)


class Names(Files):
    def test_from_an_image_cannot_command_a_terminal(self):
        image = self.path("image")
        self.assert_status(dualvm("img", "create", "-q", "-u", "-f", "qcow2", "-b", "\x1b[31mX", "-F", "raw", image,
                                  "1M"), CLEAN)
        result = run_guest("hello64", "-hda", image)
        self.assert_status(result, BAD_IMAGE)
        self.assertIn("?[31mX", result.stderr)
        self.assertNotIn("\x1b", result.stderr)


if __name__ == "__main__":
    main()
