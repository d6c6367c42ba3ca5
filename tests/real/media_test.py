#!/usr/bin/env python3
"""Boots from disks, CD-ROMs and floppies as SeaBIOS finds them: media_test.py BUILD NAME."""
import hashlib
import lzma
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import guestos
import initramfs
from guests import PATIENCE, Guests, fail, need_files, skip
from terminal import Terminal

SEABIOS = Path("/usr/share/seabios/bios-256k.bin")
ENGINE = "--engine=interp"


def command(arguments, folder, what):
    """A program that must succeed."""
    run = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, errors="replace", check=False,
                         stdin=subprocess.DEVNULL)
    if run.returncode != 0:
        fail(f"{what}: {' '.join(arguments)}", run)
    return run


def check_image(guests, folder, name):
    """qemu-img cannot check qcow version 1: it reads all of it, and checks the copy that we make."""
    command([guests.program, "img", "check", name], folder, "the image is not sound")
    command([guests.program, "img", "convert", "-O", "qcow2", name, "copy.qcow2"], folder, "no copy")
    command(["qemu-img", "check", "copy.qcow2"], folder, "the copy is not sound, says QEMU")
    command(["qemu-img", "compare", name, "copy.qcow2"], folder, "the copy differs, says QEMU")


class Session:
    """A script at the serial console of a guest, in the folder where its disks are. (At a terminal, a person would be
    shown the PC's screen.)"""

    def __init__(self, arguments, folder, seconds):
        self.arguments = arguments
        self.terminal = Terminal(arguments, seconds, folder, plain=True)
        self.place = 0

    def expect(self, text):
        """Waits until `text` is shown; what was shown before it, since the last time."""
        end = self.terminal.wait_for(text.encode(), self.place)
        if end is None:
            self.terminal.program.kill()
            self.end_with(f"'{text}' did not come")
        shown = self.terminal.shown[self.place:end - len(text)].decode(errors="replace").replace("\r", "")
        self.place = end
        return shown

    def type(self, text):
        self.terminal.type(text)

    def end_with(self, reason):
        status, errors = self.terminal.finish()
        fail(reason, subprocess.CompletedProcess(self.arguments, status,
                                                 self.terminal.shown.decode(errors="replace"), errors))

    def finish(self, last_words):
        """The kernel says its last words, and the program must end by itself, with status 0."""
        self.expect(last_words)
        status, errors = self.terminal.finish()
        if status != 0:
            fail("it should have ended with status 0", subprocess.CompletedProcess(
                self.arguments, status, self.terminal.shown.decode(errors="replace"), errors))


# --- an operating system that is installed from its CD-ROM ------------------------------------------------------------

# The two lines that everybody knows from QEMU, word for word.
CREATE = "img create -f qcow vm-disk.img 4G"
INSTALL = "run -no-acpi -m 384 -cdrom guestos.iso -hda vm-disk.img -boot d"
USE = "run -hda vm-disk.img"


def dualvm_line(guests, line):
    """`line` as it is, but for the engine."""
    first, *rest = line.split()
    return [guests.program, first, *([ENGINE] if first == "run" else []), *rest]


def use_the_shell(session, kernel):
    """At the prompt of the installed system: it works, and what was installed is what was on the CD-ROM."""
    session.expect(guestos.GREETING)
    session.expect(guestos.PROMPT)
    for line, answer in {
            "sha256sum </boot/vmlinuz": hashlib.sha256(Path(kernel).read_bytes()).hexdigest(),
            "grep -c ' / ext4 rw' /proc/mounts": "1",
            "dd if=/dev/urandom of=/noise bs=1M count=8 2>/dev/null; sync; echo 3 >/proc/sys/vm/drop_caches": "",
            "cat /noise /noise | wc -c": str(16 << 20),
    }.items():
        session.type(line + "\n")
        shown = session.expect(guestos.PROMPT)
        if answer not in shown:
            session.terminal.program.kill()
            session.end_with(f"{line}: '{answer}' is missing in what was answered: {shown}")


def install(guests, referee):
    need_files([*guestos.NEEDED_FILES, SEABIOS], guestos.PACKAGES)
    kernel = guests.find("boot/vmlinuz-*-cloud-amd64")
    modules = guests.find("lib/modules/*-cloud-amd64")
    grub_install = guests.find("usr/sbin/grub-install")
    with tempfile.TemporaryDirectory() as folder:
        guestos.write_iso(Path(folder) / "guestos.iso", kernel, modules, grub_install)
        command(dualvm_line(guests, CREATE), folder, "no image")

        session = Session(dualvm_line(guests, INSTALL), folder, 300)
        session.expect("Install the guest OS")
        session.type("\n")
        session.expect("the CD-ROM is not needed any more")
        session.finish("reboot: System halted")  # there is no ACPI that it could power off with
        command([guests.program, "img", "check", "vm-disk.img"], folder, "the image is not sound")

        session = Session(dualvm_line(guests, USE), folder, 300)
        session.expect("The guest OS")
        session.type("\n")
        use_the_shell(session, kernel)
        session.type("poweroff\n")
        session.finish("reboot: Power down")
        check_image(guests, folder, "vm-disk.img")

        if referee:
            session = Session(["qemu-system-x86_64", "-accel", "tcg", "-m", "384", "-display", "none", "-nodefaults",
                               "-serial", "stdio", "-no-reboot", "-drive", "if=ide,format=qcow2,file=copy.qcow2"],
                              folder, 300)
            session.expect("The guest OS")
            session.type("\n")
            use_the_shell(session, kernel)
            session.type("poweroff\n")
            session.finish("reboot: Power down")


# --- GRUB's rescue disks ----------------------------------------------------------------------------------------------

def grub_rescue(guests, drive, image, device):
    """To GRUB's prompt; ls and cat are typed on the keyboard, halt ends the run."""
    need_files([SEABIOS, Path("/usr/bin/xorriso")], "seabios xorriso")
    image = guests.find(f"usr/lib/grub-rescue/{image}")
    name = "/boot/grub/i386-pc/terminal.lst"
    with tempfile.TemporaryDirectory() as folder:
        command(["xorriso", "-osirrox", "on", "-indev", image, "-extract", name, "list"], folder, "no file in it")
        packed = (Path(folder) / "list").read_bytes()
        lines = (lzma.decompress(packed) if packed.startswith(b"\xfd7zXZ") else packed).decode().split("\n")
        writable = Path(folder) / "image"  # a floppy drive writes
        writable.write_bytes(Path(image).read_bytes())
        keys = f"<screen:GNU GRUB>c<prompt:grub\\> >ls<ret><prompt:grub\\> >cat {name}<ret><prompt:grub\\> >halt<ret>"
        run = guests.run(ENGINE, drive, str(writable), f"--sendkeys={keys}", "--screen=text", "--timeout", str(180 * PATIENCE))
    screen = run.stderr
    if run.returncode != 0:
        fail("GRUB's halt should have powered the machine off", run)
    if device not in screen.split("grub> ls", 1)[-1]:
        fail(f"ls should have shown {device}", run)
    for line in lines:
        if line.strip() and line[:79] not in screen:
            fail(f"cat should have shown '{line}'", run)


# --- a full disk ------------------------------------------------------------------------------------------------------

FULL_DISK_INIT = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for module in $(/bin/busybox cat /lib/modules/order); do /bin/busybox insmod $module; done
while ! [ -b /dev/sda ]; do /bin/busybox usleep 10000; done
/bin/busybox yes dualvm | /bin/busybox dd of=/dev/sda bs=64k count=256 iflag=fullblock conv=fsync
echo "dd ends with $?"
/bin/busybox dd if=/dev/sda bs=64k count=16 | /bin/busybox sha256sum
/bin/busybox poweroff -f
"""


def full_disk(guests):
    """The guest writes more than the host has room for: it gets I/O errors, the user is told, the image stays sound."""
    need_files([initramfs.BUSYBOX], "busybox-static")
    kernel, modules = guests.find("boot/vmlinuz-*-cloud-amd64"), guests.find("lib/modules/*-cloud-amd64")
    right = hashlib.sha256((b"dualvm\n" * (1 << 18))[:1 << 20]).hexdigest()
    with tempfile.TemporaryDirectory() as folder:
        initrd = initramfs.Initramfs(FULL_DISK_INIT)
        initrd.modules(modules, ["ata_piix", "sd_mod"])
        initrd.write(Path(folder) / "initrd.gz")
        for kind in ("qcow", "qcow2"):
            command([guests.program, "img", "create", "-f", kind, "disk.img", "64M"], folder, "no image")
            limit = 8 << 20  # a file that may not grow any more is like a disk that is full
            run = subprocess.run(
                [guests.program, "run", ENGINE, "-hda", "disk.img", "-kernel", kernel, "-initrd", "initrd.gz",
                 "-append", "console=ttyS0 quiet"], cwd=folder, capture_output=True, text=True, errors="replace",
                timeout=200 * PATIENCE, check=False, stdin=subprocess.DEVNULL,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
            for words in ("Input/output error", "dd ends with 1", right):
                if words not in run.stdout:
                    fail(f"{kind}: '{words}' is missing", run)
            if run.returncode != 0 or run.stderr.count("cannot write") != 1:
                fail(f"{kind}: dualvm should have told once of the write that failed, and gone on", run)
            check_image(guests, folder, "disk.img")


# --- boot sectors -----------------------------------------------------------------------------------------------------

def boot_sector(guests, medium):
    """The boot sector guest on each kind of medium."""
    need_files([SEABIOS], "seabios")
    sector = guests.build / "guests/bootsector16.bin"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if medium == "cdrom":
            need_files([Path("/usr/bin/xorriso")], "xorriso")
            (folder / "tree").mkdir()
            (folder / "tree/boot.bin").write_bytes(sector.read_bytes())
            command(["xorriso", "-as", "mkisofs", "-o", "medium", "-b", "boot.bin", "-no-emul-boot", "-boot-load-size",
                     "1", "tree"], folder, "no ISO image")
        else:
            size = 1440 * 1024 if medium == "fda" else 1 << 20
            (folder / "medium").write_bytes(sector.read_bytes().ljust(size, b"\0"))
        letter = {"fda": "a", "hda": "c", "cdrom": "d"}[medium]
        run = guests.run(ENGINE, f"-{medium}", "medium", "-boot", letter, "--max-insns", "2000000000", cwd=folder)
        if run.stdout != "Hello from the boot sector\n" or run.returncode != 1:
            fail("the boot sector should have greeted and ended with status 1", run)


def fat_floppy(guests):
    """A file on a FAT12 floppy disk, read through the BIOS; it lies in pieces, so that the FAT is needed."""
    need_files([SEABIOS, Path("/usr/bin/mformat")], "seabios mtools")
    sector = guests.build / "guests/fatread.bin"
    text = "".join(f"line {i} of a file on a floppy disk\n" for i in range(1, 401))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "readme.txt").write_text(text)
        (folder / "small").write_bytes(b"small" * 100)
        (folder / "large").write_bytes(b"large" * 2000)
        command(["mformat", "-C", "-f", "1440", "-B", str(sector), "-i", "floppy.img", "::"], folder, "no file system")
        for source, target in (("small", "a"), ("large", "b"), ("small", "c"), ("large", "d")):
            command(["mcopy", "-i", "floppy.img", source, f"::{target}"], folder, "no file")
        for gap in "ac":
            command(["mdel", "-i", "floppy.img", f"::{gap}"], folder, "the file stays")
        command(["mcopy", "-i", "floppy.img", "readme.txt", "::README.TXT"], folder, "no file")
        pieces = command(["mshowfat", "-i", "floppy.img", "::README.TXT"], folder, "no FAT").stdout
        if pieces.count("<") < 2:
            skip(f"mtools has not put the file in pieces: {pieces}")
        run = guests.run(ENGINE, "-fda", "floppy.img", "--max-insns", "4000000000", cwd=folder)
        if run.stdout != text or run.returncode != 1:
            fail("the file should have been printed", run)
        referee = Path("/usr/bin/qemu-system-x86_64")
        if referee.exists():
            run = subprocess.run([str(referee), "-accel", "tcg", "-display", "none", "-nodefaults", "-serial", "stdio",
                                  "-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-drive",
                                  "if=floppy,format=raw,file=floppy.img"], cwd=folder, capture_output=True, text=True,
                                 check=False, timeout=100, stdin=subprocess.DEVNULL)
            if run.stdout != text or run.returncode != 1:
                fail("QEMU does not print the file", run)


# --- memtest86+ -------------------------------------------------------------------------------------------------------

def memtest_cdrom(guests):
    """memtest86+ from its own CD-ROM, by the boot loader that is on it."""
    need_files([SEABIOS], "seabios")
    image = guests.find("usr/lib/memtest86+/memtest86+x64.iso")
    run = guests.run(ENGINE, "-m", "8", "-cdrom", image, "-boot", "d", "--max-insns", "4000000000", "--screen=text")
    test = re.findall(r"Test #(\d+)", run.stderr)
    if not test or int(test[-1]) < 1 or not re.search(r"Errors: 0\b", run.stderr):
        fail("memtest86+ should have completed its first test without errors", run)


def memtest_pass(guests):
    """All tests of one pass over 64 MiB; the virtual clock makes the run the same each time."""
    kernel = guests.find("boot/memtest86+x64.bin")
    run = guests.run(ENGINE, "-m", "64", "--max-insns", "870000000000", "--screen=text", "-kernel", kernel,
                     "-append", "console=ttyS0,115200", seconds=3500)
    for words in (r"Status: Pass\b", r"Pass: +[1-9]", r"Errors: 0\b", "Press any key to remove this banner"):
        if not re.search(words, run.stderr):
            fail(f"'{words}' is missing: the pass should have been completed without errors", run)


def main():
    guests = Guests(Path(sys.argv[1]))
    {"install": lambda: install(guests, referee=False),
     "install-qemu": lambda: install(guests, referee=True),
     "grub-rescue-cdrom": lambda: grub_rescue(guests, "-cdrom", "grub-rescue-cdrom.iso", "(cd)"),
     "grub-rescue-floppy": lambda: grub_rescue(guests, "-fda", "grub-rescue-floppy.img", "(fd0)"),
     "full-disk": lambda: full_disk(guests),
     "sector-floppy": lambda: boot_sector(guests, "fda"),
     "sector-disk": lambda: boot_sector(guests, "hda"),
     "sector-cdrom": lambda: boot_sector(guests, "cdrom"),
     "fat-floppy": lambda: fat_floppy(guests),
     "memtest-cdrom": lambda: memtest_cdrom(guests),
     "memtest-pass": lambda: memtest_pass(guests)}[sys.argv[2]]()


if __name__ == "__main__":
    main()
