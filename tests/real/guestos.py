"""An operating system on a CD-ROM that installs itself: Debian's kernel, busybox, and GRUB, on an ISO image made here.

The CD's own initial RAM disk holds the installer: it partitions the first disk, makes a file system, unpacks the
system, copies kernel and initial RAM disk, and has grub-install write the boot loader, as Debian's installer does.
"""
import io
import subprocess
import tarfile
from pathlib import Path

from initramfs import BUSYBOX, Initramfs

GRUB_MODULES = Path("/usr/lib/grub/i386-pc")  # package grub-pc-bin
MKE2FS = Path("/sbin/mke2fs")
NEEDED_FILES = (BUSYBOX, GRUB_MODULES / "boot.img", MKE2FS, Path("/usr/bin/grub-mkrescue"), Path("/usr/bin/xorriso"),
                Path("/usr/bin/mformat"))
PACKAGES = "busybox-static grub-pc-bin grub-common e2fsprogs xorriso mtools"
MODULES = ["ata_piix", "sd_mod", "sr_mod", "isofs"]

START = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in $(cat /lib/modules/order); do insmod $module; done
wait_for() {
    i=0
    while ! [ -b $1 ]; do
        i=$((i + 1))
        [ $i -le 300 ] || { echo "no $1 came"; poweroff -f; }
        usleep 100000
    done
}
"""

INSTALLER = START + """
failed() {
    echo "installer: FAILED: $1"
    sync
    poweroff -f
}
wait_for /dev/sr0
wait_for /dev/sda
mkdir -p /cdrom /target
mount -t iso9660 -o ro /dev/sr0 /cdrom || failed 'no CD-ROM'

echo 'installer: one partition for all of the disk'
printf 'o\\nn\\np\\n1\\n2048\\n\\na\\n1\\nw\\n' | fdisk /dev/sda >/tmp/fdisk || failed "$(cat /tmp/fdisk)"
wait_for /dev/sda1

echo 'installer: a file system'
/sbin/mke2fs -q -F -t ext4 -L dualvm /dev/sda1 || failed 'mke2fs'
mount -t ext4 /dev/sda1 /target || failed 'the new file system cannot be mounted'

echo 'installer: the system'
tar -xzf /cdrom/install/system.tar.gz -C /target || failed 'tar'
cp /cdrom/boot/vmlinuz /target/boot/vmlinuz || failed 'the kernel'
cp /cdrom/install/initrd.gz /target/boot/initrd.gz || failed 'the initial RAM disk'

echo 'installer: the boot loader'
/sbin/grub-install --target=i386-pc --directory=/cdrom/install/i386-pc --boot-directory=/target/boot \\
    --locales= --themes= --fonts= /dev/sda || failed 'grub-install'
cp /cdrom/install/grub.cfg /target/boot/grub/grub.cfg
umount /target || failed 'umount'
echo 'installer: done; the CD-ROM is not needed any more'
poweroff -f
"""

# The installed system's initial RAM disk: what is needed to get at the root file system.
INITRD = START + """
wait_for /dev/sda1
mkdir -p /root
mount -t ext4 /dev/sda1 /root || { echo 'no root file system'; poweroff -f; }
umount /proc /sys
mount -o move /dev /root/dev
exec switch_root /root /sbin/init
"""

GREETING = "installed from a CD-ROM made by the tests of dualvm"
PROMPT = "guestos# "
SYSTEM = {
    "etc/inittab": "::sysinit:/etc/rcS\n::respawn:/bin/cttyhack /bin/sh -l\n::shutdown:/bin/umount -a -r\n",
    "etc/rcS": f"#!/bin/sh\nmount -t proc proc /proc\nmount -t sysfs sys /sys\necho '{GREETING}'\n",
    "etc/profile": f"export PATH=/bin PS1='{PROMPT}' TERM=dumb\n",
    "etc/passwd": "root::0:0:root:/:/bin/sh\n",
}

SERIAL = "serial --unit=0 --speed=115200\nterminal_input serial console\nterminal_output serial console\n"
CD_MENU = SERIAL + """set timeout=-1
menuentry 'Install the guest OS' {
    linux /boot/vmlinuz console=ttyS0 quiet
    initrd /boot/initrd.gz
}
"""
DISK_MENU = SERIAL + """set timeout=5
menuentry 'The guest OS' {
    search --no-floppy --label dualvm --set=root
    linux /boot/vmlinuz console=ttyS0 quiet
    initrd /boot/initrd.gz
}
"""


def system_archive():
    """The installed system, as a compressed tar archive."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz", compresslevel=1) as archive:
        def add(name, kind=tarfile.REGTYPE, data=b"", target=""):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.size, entry.linkname = kind, 0o755, len(data), target
            archive.addfile(entry, io.BytesIO(data))

        for folder in ("bin", "boot", "dev", "etc", "proc", "sbin", "sys", "tmp"):
            add(folder, tarfile.DIRTYPE)
        add("bin/busybox", data=BUSYBOX.read_bytes())
        applets = subprocess.run([str(BUSYBOX), "--list"], capture_output=True, text=True, check=True).stdout.split()
        for applet in applets:
            if applet != "busybox":
                add(f"bin/{applet}", tarfile.SYMTYPE, target="busybox")
        add("sbin/init", tarfile.SYMTYPE, target="../bin/busybox")
        for name, text in SYSTEM.items():
            add(name, data=text.encode())
    return made.getvalue()


def write_iso(path, kernel, modules, grub_install):
    """Makes the CD-ROM's image from a kernel, the tree of its modules, and Debian's program grub-install."""
    tree = Path(path).with_suffix(".tree")
    for folder in ("boot/grub", "install"):
        (tree / folder).mkdir(parents=True)
    (tree / "boot/vmlinuz").write_bytes(Path(kernel).read_bytes())
    (tree / "boot/grub/grub.cfg").write_text(CD_MENU)

    live = Initramfs(INSTALLER)
    live.modules(modules, MODULES)
    live.program(MKE2FS)
    live.program(grub_install)
    live.write(tree / "boot/initrd.gz")

    installed = Initramfs(INITRD)
    installed.modules(modules, ["ata_piix", "sd_mod"])
    installed.write(tree / "install/initrd.gz")
    (tree / "install/system.tar.gz").write_bytes(system_archive())
    (tree / "install/grub.cfg").write_text(DISK_MENU)
    (tree / "install/i386-pc").mkdir()
    for file in GRUB_MODULES.iterdir():
        (tree / "install/i386-pc" / file.name).write_bytes(file.read_bytes())

    subprocess.run(["grub-mkrescue", "-d", str(GRUB_MODULES), "-o", str(path), str(tree)], check=True,
                   capture_output=True, stdin=subprocess.DEVNULL)
