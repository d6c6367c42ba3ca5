"""Limits (status 12): instructions, time, signals."""

import json
import re
import signal
import subprocess
import time
from pathlib import Path

from cli import DUALVM, LIMIT, SECONDS, CliTest, guest, main, run_guest


class Limits(CliTest):
    def test_max_insns_is_exact(self):
        for count in (1, 1000, 123457):
            with self.subTest(count=count):
                result = run_guest("loop-forever", f"--max-insns={count}", "--json=-")
                self.assert_status(result, LIMIT)
                report = json.loads(result.stdout)
                self.assertEqual((report["instructions"], report["reason"]), (count, "max-insns"))
                self.assertIn("--max-insns", result.stderr)

    def test_timeout_ends_a_loop(self):
        begin = time.monotonic()
        result = run_guest("loop-forever", "--timeout=0.3")
        self.assert_status(result, LIMIT)
        self.assertIn("0.3 s", result.stderr)
        self.assertGreater(time.monotonic() - begin, 0.25)

    def test_timeout_ends_an_idle_guest(self):
        for clock in ("virtual", "host"):
            with self.subTest(clock=clock):
                self.assert_status(run_guest("halt-forever", "--timeout=0.2", f"--clock={clock}"), LIMIT)

    def test_timeout_ends_a_guest_that_resets_for_ever(self):
        self.assert_status(run_guest("resetcf9", "--timeout=0.2"), LIMIT)

    def test_max_insns_makes_auto_take_an_engine_that_counts(self):
        result = run_guest("loop-forever", "--max-insns=1000", engine="auto")
        self.assert_status(result, LIMIT)
        self.assertIn("engine interp: --max-insns", result.stderr)


class Signals(CliTest):
    def start(self, name, *arguments, **options):
        process = subprocess.Popen([DUALVM, "run", "--engine=interp", "-kernel", guest(name), *arguments],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   **options)
        self.addCleanup(process.kill)
        self.wait_until_caught(process, signal.SIGINT)
        return process

    def wait_until_caught(self, process, number):
        """However long it takes to get there."""
        end = time.monotonic() + SECONDS
        while process.poll() is None and time.monotonic() < end:
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
            caught = int(re.search(r"^SigCgt:\s*(\w+)$", status, re.MULTILINE)[1], 16)
            if caught >> (number - 1) & 1:
                return
            time.sleep(0.02)
        self.fail(f"{number.name} is not caught")

    def test_signals_end_the_run(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            for name in ("loop-forever", "halt-forever"):
                with self.subTest(signal=number.name, guest=name):
                    process = self.start(name, "--clock=host")
                    process.send_signal(number)
                    _, errors = process.communicate(timeout=SECONDS)
                    self.assertEqual(process.returncode, LIMIT)
                    self.assertIn("interrupted", errors)

    def test_reports_are_written_when_interrupted(self):
        path = self.folder / "result.json"
        process = self.start("loop-forever", f"--json={path}")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SECONDS)
        self.assertEqual(json.loads(path.read_text())["reason"], "interrupted")

    def test_an_ignored_hangup_stays_ignored(self):
        process = self.start("loop-forever", "--timeout=1",
                             preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        process.send_signal(signal.SIGHUP)
        _, errors = process.communicate(timeout=SECONDS)
        self.assertIn("time limit", errors)


if __name__ == "__main__":
    main()
