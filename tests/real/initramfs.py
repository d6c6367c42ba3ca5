"""An initial RAM disk for Linux, put together without root: busybox, a console, and one script as init."""
import gzip
from pathlib import Path

BUSYBOX = Path("/bin/busybox")  # Debian's busybox-static: needs no library


def newc_entry(name, mode, data=b"", major=0, minor=0):
    """One file of a cpio archive of the kind that Linux unpacks (Documentation/driver-api/early-userspace)."""
    fields = [0, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name) + 1, 0]
    header = b"070701" + b"".join(b"%08x" % f for f in fields) + name.encode() + b"\0"
    return header + b"\0" * (-len(header) % 4) + data + b"\0" * (-len(data) % 4)


def write(path, init):
    """Writes the compressed archive; `init` is the text of /init, run by busybox's shell as process 1."""
    folders = [newc_entry(name, 0o40755) for name in ("bin", "dev", "proc", "sys", "tmp")]
    archive = b"".join(folders + [
        newc_entry("dev/console", 0o20600, major=5, minor=1),
        newc_entry("bin/busybox", 0o100755, BUSYBOX.read_bytes()),
        newc_entry("init", 0o100755, init.encode()), newc_entry("TRAILER!!!", 0)])
    Path(path).write_bytes(gzip.compress(archive, 1))
