"""What the tests of real guests share: where the guests are, and how a test ends."""
import os
import subprocess
import sys

SKIP = 77
# How many times as long as usual things may take: an optimisation of the interpreter may be left out.
PATIENCE = int(os.environ.get("DUALVM_TEST_PATIENCE", "1"))


def skip(reason):
    print("skipped:", reason)
    sys.exit(SKIP)


def fail(reason, run):
    print("FAILED:", reason)
    print("status", run.returncode)
    print("--- standard output, its end\n" + run.stdout[-4000:])
    print("--- standard error, its end\n" + run.stderr[-2000:])
    sys.exit(1)


class Guests:
    def __init__(self, build):
        self.build = build.absolute()
        self.program = str(self.build / "dualvm")
        self.real = self.build / "guests-real"

    def find(self, pattern):
        """The newest of the files of that name among those that ./dev has fetched."""
        found = sorted(self.real.glob(pattern))
        if not found:
            skip(f"no {pattern} in {self.real}: './dev test' fetches it where Debian's packages can be reached")
        return str(found[-1])

    def run(self, *arguments, cwd=None, seconds=230):
        return subprocess.run([self.program, "run", *arguments], capture_output=True, text=True, errors="replace",
                              timeout=seconds * PATIENCE, check=False, stdin=subprocess.DEVNULL, cwd=cwd)


def need_files(paths, packages):
    for path in paths:
        if not path.exists():
            skip(f"no {path} (packages {packages})")
