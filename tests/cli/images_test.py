"""Kernels and machines that can't be (status 4): nothing runs, and the message says why."""

import os
import unittest
from pathlib import Path

from cli import BAD_IMAGE, CliTest, dualvm, guest, main


class Images(CliTest):
    def refused(self, path, *words):
        for command in ("run", "compare", "trace"):
            with self.subTest(command=command):
                self.assert_refused(dualvm(command, "-kernel", str(path)), BAD_IMAGE, str(path), *words)

    def test_missing(self):
        self.refused(self.folder / "none", "No such file")

    def test_folder(self):
        self.refused(self.folder, "directory")

    def test_empty(self):
        path = self.folder / "empty"
        path.touch()
        self.refused(path, "empty")

    @unittest.skipIf(os.geteuid() == 0, "root may read everything")
    def test_not_readable(self):
        path = self.folder / "secret"
        path.touch(mode=0)
        self.refused(path, "Permission denied")

    def test_truncated(self):
        whole = Path(guest("hello64")).read_bytes()
        path = self.folder / "truncated"
        for size in (10, 100, 5000, len(whole) * 3 // 4):
            with self.subTest(size=size):
                path.write_bytes(whole[:size])
                self.assert_refused(dualvm("run", "-kernel", str(path)), BAD_IMAGE, str(path))

    def test_a_file_without_end(self):
        self.refused("/dev/zero")

    def test_no_guest_at_all(self):
        path = self.folder / "text"
        path.write_text("This is no kernel.\n" * 100)
        self.refused(path, "no guest")

    def test_missing_initrd(self):
        self.assert_refused(dualvm("run", "-kernel", guest("halt"), "-initrd", "/none"), BAD_IMAGE, "/none")


class Machines(CliTest):
    def test_no_memory(self):
        self.assert_refused(dualvm("run", "-kernel", guest("halt"), "-m", "0"), BAD_IMAGE, "0 MiB")

    def test_more_memory_than_the_host_has(self):
        for size in ("900G", "1000000T", "99999999999999999999999"):
            with self.subTest(size=size):
                self.assert_refused(dualvm("run", "-kernel", guest("halt"), "-m", size), BAD_IMAGE, "the host has")

    def test_too_little_for_the_kernel(self):
        self.assert_refused(dualvm("run", "-kernel", guest("halt"), "-m", "1"), BAD_IMAGE, "halt")


if __name__ == "__main__":
    main()
