"""A guest at a terminal: starts a program on a pseudo-terminal, types, and waits for what it shows."""
import os
import pty
import select
import socket
import subprocess
import time

from guests import PATIENCE


class Terminal:
    """With `plain`, standard input and output are a socket's ends, as if a script were at the guest's serial port."""

    def __init__(self, command, seconds, folder=None, plain=False):
        self.shown = b""
        self.deadline = time.monotonic() + seconds * PATIENCE
        if plain:
            self.ours, theirs = (end.detach() for end in socket.socketpair())
        else:
            self.ours, theirs = pty.openpty()
        # Standard error stays apart: it is dualvm's, not the guest's.
        self.program = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE,
                                        start_new_session=True, cwd=folder)
        os.close(theirs)

    def read_some(self):
        """Adds what has come to `shown`; false when the program has closed its end or the time is up."""
        left = self.deadline - time.monotonic()
        if left <= 0 or not select.select([self.ours], [], [], left)[0]:
            return False
        try:
            piece = os.read(self.ours, 65536)
        except OSError:  # EIO: nobody holds the other end any more
            return False
        self.shown += piece
        return bool(piece)

    def wait_for(self, text, start=0):
        """The place behind `text`, looked for from `start` on; None if it never came."""
        while (found := self.shown.find(text, start)) < 0:
            if not self.read_some():
                return None
        return found + len(text)

    def type(self, text):
        os.write(self.ours, text.encode())

    def finish(self):
        """Reads to the end; the program's exit status and its standard error. Kills it when the time is up."""
        while self.read_some():
            pass
        try:
            _, errors = self.program.communicate(timeout=max(1.0, self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.program.kill()
            _, errors = self.program.communicate()
        os.close(self.ours)
        return self.program.returncode, errors.decode(errors="replace")
