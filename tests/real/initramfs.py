"""Initial RAM disks for Linux, put together without root: files, programs with their libraries, kernel modules."""
import gzip
import re
import subprocess
from pathlib import Path

BUSYBOX = Path("/bin/busybox")  # Debian's busybox-static: needs no library
FOLDERS = ("bin", "dev", "proc", "sys", "tmp")


def newc_entry(name, mode, data=b"", major=0, minor=0):
    """One file of a cpio archive of the kind that Linux unpacks (Documentation/driver-api/early-userspace)."""
    fields = [0, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name) + 1, 0]
    header = b"070701" + b"".join(b"%08x" % f for f in fields) + name.encode() + b"\0"
    return header + b"\0" * (-len(header) % 4) + data + b"\0" * (-len(data) % 4)


class Initramfs:
    """An archive with busybox, a console, and one script as init."""

    def __init__(self, init, busybox=BUSYBOX):
        self.entries, self.names = [], set()
        for name in FOLDERS:
            self.folder(name)
        self.entries.append(newc_entry("dev/console", 0o20600, major=5, minor=1))
        self.file("bin/busybox", Path(busybox).read_bytes())
        self.file("init", init.encode())

    def folder(self, name):
        """A folder, and those that it is in."""
        if name and name not in self.names:
            self.folder(name.rpartition("/")[0])
            self.names.add(name)
            self.entries.append(newc_entry(name, 0o40755))

    def file(self, name, data, mode=0o755):
        if name not in self.names:
            self.folder(name.rpartition("/")[0])
            self.names.add(name)
            self.entries.append(newc_entry(name, 0o100000 | mode, data))

    def program(self, path):
        """A program of the host's, in sbin, with the libraries that it needs at the places where they are here."""
        self.file(f"sbin/{Path(path).name}", Path(path).read_bytes())
        libraries = subprocess.run(["ldd", str(path)], capture_output=True, text=True, check=True).stdout
        for library in re.findall(r"(/\S+) \(0x", libraries):
            self.file(library.lstrip("/"), Path(library).read_bytes())

    def modules(self, tree, names):
        """Kernel modules and those that they need, in lib/modules, and the order in which insmod takes them."""
        files = [f"lib/modules/{module.name}" for module in in_order(tree, names)]
        for module, name in zip(in_order(tree, names), files):
            self.file(name, module.read_bytes(), 0o644)
        self.file("lib/modules/order", "".join(f"/{name}\n" for name in files).encode(), 0o644)

    def bytes(self):
        return gzip.compress(b"".join(self.entries + [newc_entry("TRAILER!!!", 0)]), 1)

    def write(self, path):
        Path(path).write_bytes(self.bytes())


def in_order(tree, names):
    """The files of kernel modules, each behind those that it needs: a module says so in its section .modinfo."""
    files = {path.stem.replace("-", "_"): path for path in Path(tree).rglob("*.ko")}
    order = []

    def add(name):
        path = files.get(name.replace("-", "_"))
        if path is None:
            raise FileNotFoundError(f"no module {name} in {tree}")
        if path not in order:
            needed = re.search(rb"\0depends=([^\0]*)\0", path.read_bytes())
            for other in needed[1].decode().split(",") if needed and needed[1] else []:
                add(other)
            order.append(path)

    for name in names:
        add(name)
    return order


def write(path, init, busybox=BUSYBOX):
    """Writes the compressed archive; `init` is the text of /init, run by busybox's shell as process 1."""
    Initramfs(init, busybox).write(path)
