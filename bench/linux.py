"""How Debian's Linux boots, and reads a disk, under each engine: what `bench.py --linux` measures."""

import json
import os
import sys
import tempfile
from pathlib import Path

from runs import QEMU, Problem, run_process
from tables import head, table

TESTS = Path(__file__).resolve().parents[1] / "tests" / "real"
sys.path.insert(0, str(TESTS))
import initramfs  # noqa: E402

MEBIBYTES = 256  # that are read from the disk
SHOWN_EXITS = ("port-read", "port-write", "mmio-read", "mmio-write", "halt")

BOOT = """#!/bin/busybox sh
echo the init is reached
/bin/busybox poweroff -f
"""
READ = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
for module in $(/bin/busybox cat /lib/modules/order); do
    words=
    case $module in */libata.ko) words=$(/bin/busybox grep -o 'dma=0' /proc/cmdline) ;; esac
    /bin/busybox insmod $module $words
done
while ! [ -b /dev/sda ]; do /bin/busybox usleep 10000; done
count=$(/bin/busybox sed 's/.*count=//' /proc/cmdline)
/bin/busybox dd if=/dev/sda of=/dev/null bs=1M count=$count
/bin/busybox poweroff -f
"""


class Linux:
    def __init__(self, bench, folder):
        self.program, self.folder = str(bench.build / "dualvm"), Path(folder)
        self.real = Path(bench.build) / "guests-real"
        self.kernel = self.find("boot/vmlinuz-*-cloud-amd64")
        if not initramfs.BUSYBOX.exists():
            raise Problem(f"no {initramfs.BUSYBOX} (package busybox-static)")

    def find(self, pattern):
        found = sorted(self.real.glob(pattern))
        if not found:
            raise Problem(f"no {pattern} in {self.real}: './dev test' fetches it")
        return str(found[-1])

    def initrd(self, init, modules=()):
        made = initramfs.Initramfs(init)
        if modules:
            made.modules(self.find("lib/modules/*-cloud-amd64"), modules)
        path = self.folder / "initrd.gz"
        made.write(path)
        return str(path)

    def command(self, engine, arguments):
        if engine == "qemu-tcg":
            return [QEMU, "-accel", "tcg", "-display", "none", "-nodefaults", "-serial", "stdio", "-no-reboot",
                    *arguments]
        return [self.program, "run", f"--engine={engine}", "-no-reboot", f"--json={self.folder / 'run.json'}",
                *arguments]

    def run(self, engine, arguments, status, shows):
        """{"seconds": CPU time, "exits": by kind, where dualvm ran it}"""
        run = run_process(self.command(engine, arguments), status)
        if shows not in run.output:
            raise Problem(f"'{shows}' is missing in what {engine} printed: {run.output[-2000:]}")
        result = {"seconds": run.seconds, "wall": run.wall}
        if engine != "qemu-tcg":
            report = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
            result |= {"exits": report["exits"], "instructions": report["instructions"]}
        return result

    def best(self, rounds, engine, *arguments):
        return min((self.run(engine, *arguments) for _ in range(rounds)), key=lambda result: result["seconds"])


def measure(bench, engines, rounds):
    """Everything that the report below shows."""
    engines = [engine for engine in engines if engine in ("interp", "kvm", "qemu-tcg")]
    left_out = {engine: reason for engine in engines if (reason := bench.unavailable(engine))}
    engines = [engine for engine in engines if engine not in left_out]
    document = {"engines": engines, "left_out": left_out, "mebibytes": MEBIBYTES, "firmware": {}, "boot": {},
                "read": {}}
    with tempfile.TemporaryDirectory() as folder:
        linux = Linux(bench, folder)
        sector = (Path(bench.build) / "guests/bootsector16.bin").read_bytes()
        disk = linux.folder / "sector.img"
        disk.write_bytes(sector.ljust(1 << 20, b"\0"))
        initrd = linux.initrd(BOOT)
        for engine in engines:
            print(f"{engine} ...", file=sys.stderr, flush=True)
            debug_exit = ["-device", "isa-debug-exit,iobase=0xf4,iosize=1"] if engine == "qemu-tcg" else []
            hda = ["-drive", f"if=ide,format=raw,file={disk}"] if engine == "qemu-tcg" else ["-hda", str(disk)]
            document["firmware"][engine] = linux.best(rounds, engine, [*debug_exit, *hda], 1,
                                                      "Hello from the boot sector")
            document["boot"][engine] = linux.best(
                rounds, engine, ["-m", "256", "-kernel", linux.kernel, "-initrd", initrd, "-append", "console=ttyS0"],
                0, "the init is reached")
        measure_disk(linux, engines, rounds, document)
    return document


def measure_disk(linux, engines, rounds, document):
    """dd from /dev/sda by bus-master DMA and by PIO, less the same run that reads one block of 1 MiB."""
    disk = linux.folder / "disk.img"
    with open(disk, "wb") as file:
        for _ in range(MEBIBYTES):
            file.write(os.urandom(1 << 20))
    initrd = linux.initrd(READ, ["ata_piix", "sd_mod"])
    for engine in engines:
        hda = ["-drive", f"if=ide,format=raw,file={disk}"] if engine == "qemu-tcg" else ["-hda", str(disk)]
        for way, words in (("DMA", ""), ("PIO", "libata.dma=0 ")):
            print(f"{engine}, {way} ...", file=sys.stderr, flush=True)
            results = [linux.best(rounds, engine, ["-m", "256", *hda, "-kernel", linux.kernel, "-initrd", initrd,
                                                   "-append", f"console=ttyS0 {words}count={count}"],
                                  0, f"{count}+0 records out") for count in (1, MEBIBYTES)]
            read = MEBIBYTES - 1
            row = {"seconds": results[1]["seconds"] - results[0]["seconds"]}
            if "exits" in results[1]:
                row["exits per MiB"] = {kind: (results[1]["exits"][kind] - results[0]["exits"][kind]) / read
                                        for kind in SHOWN_EXITS}
            document["read"].setdefault(engine, {})[way] = row


def report(document):
    engines = document["engines"]
    parts = [head(document), "CPU time, less of several runs, in seconds:"]
    rows = [["what"] + engines,
            ["SeaBIOS to the boot sector"] + [f"{document['firmware'][e]['seconds']:.2f}" for e in engines],
            ["Debian's cloud kernel to its init"] + [f"{document['boot'][e]['seconds']:.2f}" for e in engines]]
    for way in ("DMA", "PIO"):
        rows.append([f"{document['mebibytes'] - 1} MiB by dd, {way}"] +
                    [f"{document['read'][e][way]['seconds']:.2f}" for e in engines])
    parts.append(table(rows))
    rows = [["exits"] + list(SHOWN_EXITS)]
    for engine in engines:
        if "exits" in document["boot"][engine]:
            exits = document["boot"][engine]["exits"]
            rows.append([f"{engine}: kernel to init"] + [str(exits[kind]) for kind in SHOWN_EXITS])
            for way in ("DMA", "PIO"):
                per = document["read"][engine][way]["exits per MiB"]
                rows.append([f"{engine}: for a MiB, {way}"] + [f"{per[kind]:.1f}" for kind in SHOWN_EXITS])
    parts.append(table(rows))
    parts += [f"{engine} is left out: {reason}" for engine, reason in document["left_out"].items()]
    return "\n\n".join(parts)
