"""The guest's serial port: pipes, files, terminals."""

import fcntl
import os
import pty
import signal
import subprocess
import termios
import time

from cli import BAD_IMAGE, CLEAN, DUALVM, LIMIT, SECONDS, CliTest, dualvm, guest, main, run_guest


def boot_sector(code):
    return code.ljust(510, b"\x90") + b"\x55\xaa"


# mov dx, 3f8h; mov al, 'x'; again: out dx, al; jmp again
FLOOD = boot_sector(b"\xba\xf8\x03\xb0x\xee\xeb\xfd")
# mov al, 'x'; again: out e9h, al; jmp again
FLOOD_E9 = boot_sector(b"\xb0x\xe6\xe9\xeb\xfc")
# mov dx, 3fdh; again: in al, dx; test al, 1; jz again; mov dl, f8h; in al, dx; out dx, al; cmp al, 'q'; mov dl, fdh;
# jne again; cli; hlt
ECHO = boot_sector(b"\xba\xfd\x03\xec\xa8\x01\x74\xfb\xb2\xf8\xec\xee\x3c\x71\xb2\xfd\x75\xf1\xfa\xf4")
# jmp to itself
LOOP = boot_sector(b"\xeb\xfe")
# sti; hlt; jmp to itself: no timer runs without a BIOS, and the UART raises no interrupts
SLEEP = boot_sector(b"\xfb\xf4\xeb\xfc")
# mov dx, 3f9h; mov al, 1; out dx, al; mov dl, fch; mov al, 8; out dx, al; sti; hlt: a key could wake it
WAIT_FOR_KEY = boot_sector(b"\xba\xf9\x03\xb0\x01\xee\xb2\xfc\xb0\x08\xee\xfb\xf4\xeb\xfd")


class Console(CliTest):
    def sector(self, code):
        path = self.folder / "sector"
        path.write_bytes(code)
        return str(path)

    def run_sector(self, code, *arguments, **options):
        return dualvm("run", "--engine=interp", "-kernel", self.sector(code), *arguments, **options)

    def start(self, code, *arguments, **options):
        process = subprocess.Popen([DUALVM, "run", "--engine=interp", "-kernel", self.sector(code), *arguments],
                                   **{"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE, **options})
        self.addCleanup(process.kill)
        return process


class Pipes(Console):
    def test_input_reaches_the_guest_and_comes_back(self):
        result = subprocess.run([DUALVM, "run", "--engine=interp", "-kernel", self.sector(ECHO)], input="abcq", text=True,
                                capture_output=True, timeout=SECONDS, check=False)
        self.assert_status(result, CLEAN)
        self.assertEqual(result.stdout, "abcq")

    def test_a_lot_of_input_loses_nothing(self):
        text = "0123456789" * 2000 + "q"
        result = subprocess.run([DUALVM, "run", "--engine=interp", "-kernel", self.sector(ECHO)], input=text, text=True,
                                capture_output=True, timeout=SECONDS, check=False)
        self.assertEqual(result.stdout, text)

    def test_output_appears_while_the_guest_runs(self):
        reader, writer = os.pipe()
        process = self.start(ECHO, stdin=reader, stdout=subprocess.PIPE)
        os.write(writer, b"now")
        self.assertEqual(os.read(process.stdout.fileno(), 3), b"now")
        os.write(writer, b"q")
        self.assertEqual(process.wait(timeout=SECONDS), CLEAN)
        process.communicate()
        os.close(writer)
        os.close(reader)

    def test_control_a_is_nothing_special_in_a_pipe(self):
        result = subprocess.run([DUALVM, "run", "--engine=interp", "-kernel", self.sector(ECHO)], input="\x01xq",
                                text=True, capture_output=True, timeout=SECONDS, check=False)
        self.assertEqual(result.stdout, "\x01xq")

    def test_a_reader_that_leaves_ends_the_run(self):
        process = self.start(FLOOD, stdout=subprocess.PIPE)
        self.assertEqual(process.stdout.read(5), b"xxxxx")
        process.stdout.close()
        errors = process.stderr.read().decode()
        process.stderr.close()
        self.assertEqual(process.wait(timeout=SECONDS), LIMIT)
        self.assertIn("closed by its reader", errors)

    def test_a_reader_that_left_before_a_short_output(self):
        reader, writer = os.pipe()
        os.close(reader)
        process = subprocess.Popen([DUALVM, "run", "--engine=interp", "-kernel", guest("hello64")], stdout=writer,
                                   stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        os.close(writer)
        errors = process.communicate(timeout=SECONDS)[1].decode()
        self.assertEqual(process.returncode, LIMIT)
        self.assertIn("closed by its reader", errors)

    def test_a_reader_that_sleeps_can_be_interrupted(self):
        process = self.start(FLOOD, stdout=subprocess.PIPE)
        time.sleep(0.5)  # the pipe is full, the write waits
        process.send_signal(signal.SIGINT)
        process.stdout.close()
        process.communicate(timeout=SECONDS)
        self.assertEqual(process.returncode, LIMIT)

    def test_a_timeout_ends_a_run_whose_output_nobody_takes(self):
        for stream, code, options in (("stdout", FLOOD, ()), ("stderr", FLOOD_E9, ()), ("stderr", FLOOD, ("-d", "exits"))):
            with self.subTest(stream=stream, options=options):
                reader, writer = os.pipe()
                streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: writer}
                process = self.start(code, "--timeout=0.5", *options, **streams)
                os.close(writer)
                self.assertEqual(process.wait(timeout=SECONDS), LIMIT)
                os.close(reader)

    def test_a_timeout_ends_a_trace_that_nobody_takes(self):
        reader, writer = os.pipe()
        process = subprocess.Popen([DUALVM, "trace", "--timeout=0.5", "--count=100000000", "-kernel", guest("loop-forever")],
                                   stdout=writer, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        self.addCleanup(process.kill)
        os.close(writer)
        self.assertEqual(process.wait(timeout=SECONDS), LIMIT)
        os.close(reader)

    def test_a_full_disk_is_told(self):
        with open("/dev/full", "wb") as full:
            process = subprocess.run([DUALVM, "run", "--engine=interp", "-kernel", guest("hello64")], stdout=full,
                                     stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=SECONDS,
                                     check=False)
        self.assertEqual(process.returncode, BAD_IMAGE)
        self.assertIn("No space left", process.stderr)

    def test_a_guest_that_nothing_can_wake_ends_though_input_is_open(self):
        reader, writer = os.pipe()
        process = self.start(SLEEP, stdin=reader, stdout=subprocess.DEVNULL)
        process.communicate(timeout=SECONDS)
        self.assertEqual(process.returncode, CLEAN)
        os.close(writer)
        os.close(reader)

    def test_a_guest_that_waits_for_a_key_ends_when_input_does(self):
        reader, writer = os.pipe()
        process = self.start(WAIT_FOR_KEY, stdin=reader, stdout=subprocess.DEVNULL)
        time.sleep(0.3)
        self.assertIsNone(process.poll(), "it does not wait")
        os.close(writer)
        process.communicate(timeout=SECONDS)
        self.assertEqual(process.returncode, CLEAN)
        os.close(reader)


class Files(Console):
    def test_serial_to_a_file(self):
        path = self.folder / "serial"
        result = run_guest("hello64", "-serial", f"file:{path}")
        self.assert_status(result, 1)
        self.assertEqual(result.stdout, "")
        self.assertTrue(path.read_text().startswith("Hello from 64-bit mode"))

    def test_no_serial(self):
        result = run_guest("hello64", "-serial", "none")
        self.assert_status(result, 1)
        self.assertEqual(result.stdout, "")

    def test_a_serial_file_that_cannot_be_written_is_known_before_the_run(self):
        result = run_guest("loop-forever", "-serial", f"file:{self.folder}/none/serial")
        self.assert_refused(result, BAD_IMAGE, "cannot write", "No such file")


class Terminal(Console):
    """dualvm at a terminal of its own."""

    def setUp(self):
        super().setUp()
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.addCleanup(os.close, self.master)
        self.addCleanup(os.close, self.slave)

    def begin(self, code):
        process = self.start(code, "--clock=host", stdin=self.slave, stdout=self.slave, stderr=subprocess.PIPE,
                             preexec_fn=self.take_terminal)
        end = time.monotonic() + 20
        while self.is_cooked() and time.monotonic() < end:
            time.sleep(0.02)
        self.assertFalse(self.is_cooked(), "the terminal did not turn raw")
        return process

    def take_terminal(self):
        os.setsid()
        fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)

    def is_cooked(self):
        return bool(termios.tcgetattr(self.slave)[3] & termios.ICANON)

    def assert_given_back(self):
        self.assertEqual(termios.tcgetattr(self.slave), self.before)

    def read_until(self, wanted):
        seen = b""
        while wanted not in seen:
            seen += os.read(self.master, 100)
        return seen

    def end(self, process):
        _, errors = process.communicate(timeout=SECONDS)
        self.assert_given_back()
        return errors.decode()

    def test_keys_go_to_the_guest_control_c_too(self):
        process = self.begin(ECHO)
        os.write(self.master, b"a\x03b\x1a\rq")
        self.assertEqual(self.read_until(b"q"), b"a\x03b\x1a\rq")
        self.assertIn("Ctrl-A x leaves", self.end(process))
        self.assertEqual(process.returncode, CLEAN)

    def test_control_a_x_leaves(self):
        process = self.begin(ECHO)
        os.write(self.master, b"\x01x")
        self.assertIn("left with Ctrl-A x", self.end(process))
        self.assertEqual(process.returncode, LIMIT)

    def test_control_a_x_leaves_behind_more_than_the_guest_takes(self):
        process = self.begin(LOOP)
        for _ in range(10):
            os.write(self.master, b"y" * 100)
        os.write(self.master, b"\x01x")
        self.assertIn("left with Ctrl-A x", self.end(process))

    def test_control_a_x_leaves_though_nobody_takes_the_output(self):
        process = self.start(FLOOD, "--clock=host", stdin=self.slave, stdout=subprocess.PIPE,
                             preexec_fn=self.take_terminal)
        time.sleep(1)  # the pipe is full, the write waits
        os.write(self.master, b"\x01x")
        self.assertEqual(process.wait(SECONDS), LIMIT)
        self.assertIn("left with Ctrl-A x", self.end(process))

    def test_control_a_x_leaves_though_nobody_takes_the_debug_console(self):
        reader, writer = os.pipe()
        process = self.start(FLOOD_E9, "--clock=host", stdin=self.slave, stdout=subprocess.DEVNULL, stderr=writer,
                             preexec_fn=self.take_terminal)
        os.close(writer)
        time.sleep(1)  # the pipe is full, the write waits
        os.write(self.master, b"\x01h\x01x")
        self.assertEqual(process.wait(SECONDS), LIMIT)
        os.close(reader)

    def test_control_c_ends_a_run_that_takes_no_keys(self):
        process = self.start(LOOP, "-serial", "none", "-d", "boot", stdin=self.slave, stdout=self.slave,
                             preexec_fn=self.take_terminal)
        process.stderr.readline()  # it has loaded the guest
        time.sleep(0.5)
        os.write(self.master, b"\x03")
        self.end(process)
        self.assertEqual(process.returncode, LIMIT)

    def test_control_a_twice_sends_one_and_h_helps(self):
        process = self.begin(ECHO)
        os.write(self.master, b"\x01\x01\x01hq")
        self.assertEqual(self.read_until(b"q"), b"\x01q")
        self.assertIn("Ctrl-A Ctrl-A sends Ctrl-A", self.end(process))

    def test_the_terminal_is_given_back_on_every_signal(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            with self.subTest(signal=number.name):
                process = self.begin(ECHO)
                process.send_signal(number)
                self.end(process)
                self.assertEqual(process.returncode, LIMIT)

    def test_the_terminal_is_given_back_on_a_crash(self):
        for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE):
            with self.subTest(signal=number.name):
                process = self.begin(ECHO)
                process.send_signal(number)
                if "Sanitizer" not in self.end(process):  # which ends the process in its own way
                    self.assertEqual(process.returncode, -number)

    def test_the_terminal_turns_raw_again_after_a_stop(self):
        process = self.begin(ECHO)
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        termios.tcsetattr(self.slave, termios.TCSANOW, self.before)  # as a shell does
        process.send_signal(signal.SIGCONT)
        end = time.monotonic() + 20
        while self.is_cooked() and time.monotonic() < end:
            time.sleep(0.02)
        self.assertFalse(self.is_cooked(), "the terminal did not turn raw again")
        os.write(self.master, b"q")
        self.end(process)


if __name__ == "__main__":
    main()
