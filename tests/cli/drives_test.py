"""Drives whose images can't be, or can't be had, and machines that have nothing to boot from (status 4)."""

import os
import subprocess
import unittest
from pathlib import Path

from cli import BAD_IMAGE, DUALVM, SECONDS, CliTest, dualvm, guest, main

DRIVES = ("-hda", "-hdb", "-hdc", "-hdd", "-cdrom", "-fda", "-fdb")
SEABIOS = Path("/usr/share/seabios/bios-256k.bin")


class Refused(CliTest):
    def refused(self, path, *words):
        for drive in DRIVES:
            with self.subTest(drive=drive):
                self.assert_refused(dualvm("run", "-kernel", guest("halt"), drive, str(path)), BAD_IMAGE, str(path),
                                    *words)

    def test_missing(self):
        self.refused(self.folder / "none", "No such file")

    def test_folder(self):
        self.refused(self.folder)

    def test_empty(self):
        path = self.folder / "empty"
        path.touch()
        self.refused(path, "empty")

    def test_a_file_without_end(self):
        self.refused("/dev/zero", "neither a file nor a disk")

    @unittest.skipIf(os.geteuid() == 0, "root may write everything")
    def test_a_disk_that_may_not_be_written(self):
        path = self.folder / "disk"
        path.write_bytes(bytes(1 << 20))
        path.chmod(0o444)
        self.assert_refused(dualvm("run", "-kernel", guest("halt"), "-hda", str(path)), BAD_IMAGE, str(path),
                            "Permission denied")

    def test_a_disk_that_another_dualvm_writes_to(self):
        path = self.folder / "disk"
        path.write_bytes(bytes(1 << 20))
        other = subprocess.Popen([DUALVM, "run", "--engine=interp", "-kernel", guest("loop-forever"), "-hda", str(path),
                                  "-serial", "none", "-d", "boot"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE)
        try:
            other.stderr.readline()  # it has opened its drives before it says what it has loaded
            self.assert_refused(dualvm("run", "-kernel", guest("halt"), "-hda", str(path)), BAD_IMAGE, str(path),
                                "in use")
        finally:
            other.terminate()
            other.communicate()


@unittest.skipUnless(SEABIOS.exists(), "no SeaBIOS (package seabios)")
class ClosedStreams(CliTest):
    def test_what_is_written_to_a_closed_stream_does_not_go_into_a_disk(self):
        path = self.folder / "disk"
        for close in (">&-", "2>&-", "<&- >&- 2>&-"):
            with self.subTest(close=close):
                path.write_bytes(bytes(1 << 20))
                command = ["sh", "-c", f'exec "$@" {close}', "sh", DUALVM, "run", "--engine=interp", "--stats", "-hda",
                           str(path), "-kernel", guest("hello64")]
                result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, timeout=SECONDS, check=False)
                self.assertEqual(result.returncode, 1 if close == "2>&-" else BAD_IMAGE)
                self.assertEqual(path.read_bytes(), bytes(1 << 20))


class FailsAtTheEnd(CliTest):
    # Writes a sector of the first disk, and ends the run without a flush.
    SECTOR = bytes.fromhex("baf601b0e0ee baf201b001ee baf301b005ee baf401b000ee baf501b000ee baf701b030ee"
                           "baf001b90001 efe2fd b000e6f4 f4").ljust(510, b"\0") + b"\x55\xaa"

    def test_what_the_guest_did_not_flush(self):
        sector = self.folder / "sector"
        sector.write_bytes(self.SECTOR)
        # With AddressSanitizer its runtime would insist on being loaded first.
        options_of_asan = f'{os.environ.get("ASAN_OPTIONS", "")}:verify_asan_link_order=0'
        environment = {**os.environ, "LD_PRELOAD": os.environ["DUALVM_SYNC_FAILS"], "ASAN_OPTIONS": options_of_asan}
        for kind in ("raw", "qcow2"):
            for command in ("run", "trace"):
                with self.subTest(kind=kind, command=command):
                    path = self.folder / f"disk.{kind}"
                    path.unlink(missing_ok=True)
                    self.assert_status(dualvm("img", "create", "-f", kind, str(path), "1M"), 0)
                    options = (command, "--engine=interp", "-kernel", str(sector), "-hda", str(path))
                    self.assert_status(dualvm(*options), 1)
                    failed = dualvm(*options, env=environment)
                    self.assert_status(failed, BAD_IMAGE)
                    self.assertIn(str(path), failed.stderr)
                    self.assertIn("Input/output error", failed.stderr)


class NothingToBoot(CliTest):
    def test_a_disk_without_boot_sector(self):
        path = self.folder / "disk"
        path.write_bytes(bytes(1 << 20))
        for order in ("c", "cad"):
            with self.subTest(order=order):
                result = dualvm("run", "--engine=interp", "-hda", str(path), "-boot", order, "--screen=text")
                self.assertEqual(result.returncode, BAD_IMAGE, result.stderr)
                self.assertIn(f"found nothing to boot from (boot order '{order}')", result.stderr)
                self.assertIn("No bootable device", result.stderr)  # the screen
                self.assertEqual(result.stdout, "")

    def test_compare_and_trace_see_it_too(self):
        for command in (["compare"], ["trace", "--from=100000000", "--count=1"]):
            with self.subTest(command=command):
                result = dualvm(*command, "-bios", str(SEABIOS), "--timeout=60")
                self.assertEqual(result.returncode, BAD_IMAGE, result.stderr)
                self.assertIn("found nothing to boot from (boot order", result.stderr)

    def test_a_disk_of_less_than_a_sector(self):
        path = self.folder / "disk"
        path.write_bytes(b"no sector")
        result = dualvm("run", "--engine=interp", "-hda", str(path))
        self.assertEqual(result.returncode, BAD_IMAGE, result.stderr)


if __name__ == "__main__":
    main()
