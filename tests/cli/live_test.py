"""The guest's screen in the terminal, --screen=live: in a terminal of tmux's."""

import os
import shutil
import signal
import subprocess
import time
import unittest
from pathlib import Path

from cli import BAD_IMAGE, DUALVM, LIMIT, SECONDS, CliTest, dualvm, guest, main, run_guest

# mov ax, b800h; mov es, ax; es: mov word [0], 1f58h (a white X on blue); sti; hlt; jmp back
BLUE = b"\xb8\x00\xb8\x8e\xc0\x26\xc7\x06\x00\x00\x58\x1f\xfb\xf4\xeb\xfc".ljust(510, b"\x90") + b"\x55\xaa"
# sti; hlt; jmp back: it leaves the screen to the BIOS
SLEEP = b"\xfb\xf4\xeb\xfc".ljust(510, b"\x90") + b"\x55\xaa"


def why_no_bios():
    return None if Path("/usr/share/seabios/bios-256k.bin").exists() else "no SeaBIOS (package seabios)"


@unittest.skipUnless(shutil.which("tmux"), "no tmux")
class Live(CliTest):
    def setUp(self):
        super().setUp()
        self.socket = str(self.folder / "tmux")
        self.addCleanup(self.tmux, "kill-server", check=False)
        self.floppy = self.folder / "floppy.img"
        self.floppy.write_bytes(SLEEP.ljust(1474560, b"\0"))

    def tmux(self, *arguments, check=True):
        return subprocess.run(["tmux", "-S", self.socket, "-f", "/dev/null", *arguments], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=check, timeout=SECONDS).stdout

    def begin_keyboard(self, *arguments):
        """The guest that prints the scan codes of keys, with its screen shown."""
        self.begin("-kernel", str(Path(guest("keyboard")).resolve()), "-append", "keys=1", "--screen=live", *arguments,
                   waits_for="press keys")

    def begin(self, *arguments, size=(100, 30), term="tmux-256color", waits_for=None):
        """A shell that notes the terminal's state before and after dualvm, and how that ended."""
        words = " ".join(f"'{word}'" for word in [str(Path(DUALVM).resolve()), "run", "--engine=interp", *arguments])
        script = self.folder / "run"
        script.write_text(f"cd '{self.folder}'\nexport TERM={term} LC_ALL=C.UTF-8\nstty -g > before\n"
                          f"sh -c 'echo $$ > pid; exec \"$@\"' sh {words}\n"
                          "echo $? > status.new\nstty -g > after\nmv status.new status\nsleep 100\n")
        self.tmux("new-session", "-d", "-x", str(size[0]), "-y", str(size[1]), f"sh {script}")
        if waits_for:
            self.wait_for(waits_for)

    def shown(self, *options):
        return self.tmux("capture-pane", "-p", *options)

    def wait_for(self, text, *options):
        end = time.monotonic() + SECONDS
        while text not in self.shown(*options):
            self.assertLess(time.monotonic(), end, f"no {text!r} in:\n{self.shown(*options)}")
            time.sleep(0.05)

    def keys(self, *names):
        self.tmux("send-keys", *names)

    def end(self):
        """The status. The terminal must be as it was."""
        status = self.folder / "status"
        end = time.monotonic() + SECONDS
        while not status.exists():
            self.assertLess(time.monotonic(), end, f"it goes on:\n{self.shown()}")
            time.sleep(0.05)
        self.assertEqual((self.folder / "after").read_text(), (self.folder / "before").read_text())
        self.assertEqual(self.tmux("display-message", "-p", "#{alternate_on} #{cursor_flag}").split(), ["0", "1"])
        return int(status.read_text())

    def kill(self, number):
        os.kill(int((self.folder / "pid").read_text()), number)


class Screen(Live):
    @unittest.skipIf(why_no_bios(), why_no_bios())
    def test_at_a_terminal_a_guest_with_firmware_is_shown(self):
        self.begin("-fda", str(self.floppy), waits_for="SeaBIOS")
        self.wait_for("Booting from Floppy")
        self.assertIn("Ctrl-A x leaves", self.shown())
        self.keys("C-a", "x")
        self.assertEqual(self.end(), LIMIT)
        self.assertIn("left with Ctrl-A x", self.shown())

    def test_colours_are_the_guests(self):
        sector = self.folder / "sector"
        sector.write_bytes(BLUE)
        self.begin("-kernel", str(sector), "--screen=live", waits_for="X")
        # tmux shows 16 colours as SGR 30 to 37 and 90 to 97, in the foreground; 40 to 47 are the background's.
        self.assertRegex(self.shown("-e").splitlines()[0], r"\x1b\[[0-9;]*97;44m ?X|\x1b\[97m\x1b\[44mX")
        self.keys("C-a", "x")
        self.assertEqual(self.end(), LIMIT)

    def test_a_small_terminal_shows_where_the_cursor_is_and_may_grow(self):
        sector = self.folder / "sector"
        sector.write_bytes(BLUE)
        self.begin("-kernel", str(sector), "--screen=live", size=(20, 5), waits_for="X")
        self.tmux("resize-window", "-x", "90", "-y", "28")
        self.wait_for("Ctrl-A x leaves")
        self.keys("C-a", "x")
        self.assertEqual(self.end(), LIMIT)


class Keys(Live):
    def test_the_terminals_keys_are_the_keyboards(self):
        self.begin_keyboard("-serial", "file:serial")
        for key in ["a", "Z", "C-c", "M-x", "Up", "S-Left", "C-Right", "F5", "F12", "Home", "PPage", "DC", "Enter", "Tab",
                    "BSpace"]:
            self.keys(key)
        time.sleep(1)
        self.keys("Escape")
        self.assertEqual(self.end(), 1)
        codes = (self.folder / "serial").read_text().split("keys: fa ")[1].split()
        expected = ("1e 9e 2a 2c ac aa 1d 2e ae 9d 38 2d ad b8 e0 48 e0 c8 2a e0 4b e0 cb aa 1d e0 4d e0 cd 9d "
                    "3f bf 58 d8 e0 47 e0 c7 e0 49 e0 c9 e0 53 e0 d3 1c 9c 0f 8f 0e 8e 01 81")
        self.assertEqual(" ".join(codes), expected)
        self.assertIn("press keys, Esc to end", self.shown(), "its last words")

    def test_the_serial_port_is_the_second_view(self):
        self.begin_keyboard()
        self.keys("C-a", "h")
        self.wait_for("d Ctrl-Alt-Del")
        self.keys("C-a", "s")
        self.wait_for("mouse, identify: fa 00")
        self.assertNotIn("press keys", self.shown())
        self.keys("C-a", "s")
        self.wait_for("press keys")
        self.keys("C-a", "d")
        self.keys("C-a", "C-a")
        self.keys("C-a", "s")
        self.wait_for("keys: fa 1d 38 e0 53 e0 d3 b8 9d 1d 1e 9e 9d")
        self.keys("C-a", "x")
        self.assertEqual(self.end(), LIMIT)


class Ends(Live):
    def test_the_terminal_is_given_back_on_every_signal(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGSEGV, signal.SIGABRT):
            with self.subTest(signal=number.name):
                (self.folder / "status").unlink(missing_ok=True)
                self.begin_keyboard()
                self.kill(number)
                status = self.end()
                crash = number in (signal.SIGSEGV, signal.SIGABRT)
                self.assertIn(status, (128 + number, 1) if crash else (LIMIT,))
                self.tmux("kill-server")
                time.sleep(0.2)

    def test_after_a_stop_the_screen_is_drawn_again(self):
        self.begin_keyboard()
        self.kill(signal.SIGSTOP)
        self.tmux("send-keys", "-R")  # the terminal is reset, as by another program meanwhile
        self.tmux("clear-history")
        self.kill(signal.SIGCONT)
        self.wait_for("press keys")
        self.keys("Escape")
        self.assertEqual(self.end(), 1)


class Refused(Live):
    def test_a_terminal_that_cannot_place_its_cursor(self):
        self.begin("-kernel", str(Path(guest("hello64")).resolve()), "--screen=live", term="dumb")
        self.assertEqual(self.end(), BAD_IMAGE)
        self.assertIn("'dumb'", self.shown())

    def test_an_unknown_terminal(self):
        self.begin("-kernel", str(Path(guest("hello64")).resolve()), "--screen=live", term="no-such-terminal")
        self.assertEqual(self.end(), BAD_IMAGE)
        self.assertIn("nothing is known of a terminal of type", self.shown())

    def test_no_terminal(self):
        self.assert_refused(run_guest("hello64", "--screen=live"), BAD_IMAGE, "are not a terminal", "--screen=text")

    @unittest.skipIf(why_no_bios(), why_no_bios())
    def test_where_the_serial_port_is_asked_for_nothing_is_shown_live(self):
        for option in (["-nographic"], ["-serial", "stdio"], ["--screen=none"]):
            with self.subTest(option=option):
                (self.folder / "status").unlink(missing_ok=True)
                self.begin("-fda", str(self.floppy), "--timeout", "2", *option)
                while not (self.folder / "status").exists():
                    self.assertEqual(self.tmux("display-message", "-p", "#{alternate_on}").strip(), "0")
                    time.sleep(0.1)
                self.assertEqual(self.end(), LIMIT)
                self.tmux("kill-server")
                time.sleep(0.2)

    def test_in_a_pipe_nothing_is_shown_live(self):
        result = dualvm("run", "--engine=interp", "-fda", str(self.floppy), "--timeout", "1")
        self.assertNotIn("\x1b", result.stdout)


if __name__ == "__main__":
    main()
