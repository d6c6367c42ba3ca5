"""What every test of the command line needs: run dualvm, look at its status and streams."""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

DUALVM = os.environ.get("DUALVM", "build/dualvm")
GUESTS = Path(os.environ.get("DUALVM_GUEST_FOLDER", "build/guests"))
# Longer than any run here takes on a busy machine; without an optimisation of the interpreter more than usual.
SECONDS = 60 * int(os.environ.get("DUALVM_TEST_PATIENCE", "1"))

CLEAN, USAGE, BAD_IMAGE, UNAVAILABLE, TRIPLE_FAULT, FAILURE, LIMIT, DISAGREEMENT = range(0, 16, 2)


def guest(name):
    path = GUESTS / (name if "." in name else name + ".elf")
    if not path.exists():
        raise AssertionError(f"{path} is missing: build the guests first")
    return str(path)


def dualvm(*arguments, stdin=subprocess.DEVNULL, text=True, **options):
    return subprocess.run([DUALVM, *arguments], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=text,
                          timeout=SECONDS, check=False, **options)


def run_guest(name, *arguments, engine="interp", **options):
    return dualvm("run", f"--engine={engine}", "-kernel", guest(name), *arguments, **options)


def why_no_kvm():
    """Why --engine=kvm can't run here; None if it can."""
    result = run_guest("halt", engine="kvm")
    return None if result.returncode == CLEAN else result.stderr.strip()


class CliTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def assert_status(self, result, status):
        said = f"{result.args}\nstandard output: {result.stdout}\nstandard error: {result.stderr}"
        self.assertEqual(result.returncode, status, said)

    def assert_refused(self, result, status, *words):
        """The status, a message that has these words, and nothing on standard output."""
        self.assert_status(result, status)
        for word in words:
            self.assertIn(word, result.stderr)
        self.assertEqual(result.stdout, "" if isinstance(result.stdout, str) else b"")


def main():
    """Runs the tests of the calling file; status 77 (skipped, for CTest) if every one of them was skipped."""
    result = unittest.main(exit=False, verbosity=2).result
    if not result.wasSuccessful():
        sys.exit(1)
    if result.testsRun == len(result.skipped):
        sys.exit(77)
