#!/usr/bin/env python3
"""--screen=png:FILE against QEMU: the guest `graphics` draws, and both machines show the same pixels.

    screen_test.py --build BUILD [MODE...]

Status: 0 the same, 1 not, 77 (CTest's "skipped") where QEMU is not installed.
"""

import argparse
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

SKIPPED = 77
SECONDS = 100
QEMU = "qemu-system-x86_64"
# Text, 256 colours, 16 colours in planes, VBE by bits per pixel.
MODES = ["3", "0x13", "0x12", "8", "15", "16", "24", "32"]


def read_png(path):
    """Width, height and RGB bytes of an 8-bit RGB PNG without interlacing, as dualvm writes them."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n", "no PNG"
    at, packed, header = 8, b"", None
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8:at + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack_from(">I", data, at + 8 + length)[0], "bad CRC"
        if kind == b"IHDR":
            header = struct.unpack(">IIBBBBB", body)
        elif kind == b"IDAT":
            packed += body
        at += 12 + length
    width, height, depth, colour, _, _, interlace = header
    assert (depth, colour, interlace) == (8, 2, 0), header
    raw, stride, rows = zlib.decompress(packed), width * 3, []
    before = bytearray(stride)
    for y in range(height):
        kind, line = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        unfilter(kind, line, before)
        rows.append(bytes(line))
        before = line
    return width, height, b"".join(rows)


def unfilter(kind, line, above):
    """PNG's filters (ISO/IEC 15948, 9.2), three bytes a pixel."""
    if kind == 0:
        return
    for i, value in enumerate(line):
        left, upper_left = (line[i - 3], above[i - 3]) if i >= 3 else (0, 0)
        up = above[i]
        if kind == 1:
            guess = left
        elif kind == 2:
            guess = up
        elif kind == 3:
            guess = (left + up) // 2
        else:
            estimate = left + up - upper_left
            guess = min((left, up, upper_left), key=lambda c: abs(estimate - c))
        line[i] = (value + guess) & 0xff


def read_ppm(path):
    """Width, height and RGB bytes of a binary PPM."""
    data = path.read_bytes()
    magic, size, most, pixels = data.split(b"\n", 3)
    assert magic == b"P6" and most == b"255", data[:20]
    width, height = map(int, size.split())
    return width, height, pixels


def qemu_screen(kernel, mode, folder):
    serial, picture = folder / "serial", folder / "screen.ppm"
    serial.write_bytes(b"")
    command = [QEMU, "-accel", "tcg", "-display", "none", "-vga", "std", "-serial", f"file:{serial}", "-monitor",
               "stdio", "-no-reboot", "-kernel", kernel, "-append", f"mode={mode}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as qemu:
        try:
            end = time.monotonic() + SECONDS
            while b"drawn" not in serial.read_bytes():
                if time.monotonic() > end:
                    raise SystemExit(f"QEMU: the guest has not drawn within {SECONDS} s")
                time.sleep(0.1)
            qemu.communicate(f"screendump {picture}\nquit\n", timeout=SECONDS)
        finally:
            qemu.kill()
    return read_ppm(picture)


def dualvm_screen(dualvm, kernel, mode, folder):
    picture = folder / "screen.png"
    command = [dualvm, "run", "--engine=interp", "-kernel", kernel, "-append", f"mode={mode}",
               f"--screen=png:{picture}"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    if run.returncode != 0 or run.stdout != "drawn\n":
        raise SystemExit(f"{command}: status {run.returncode}\n{run.stdout}{run.stderr}")
    return read_png(picture)


def upper_bits(picture):
    """The five bits of each component that a pixel of 15 has: QEMU 7.2 leaves the lower three 0, at this depth alone."""
    return picture[0], picture[1], bytes(value & 0xf8 for value in picture[2])


def difference(mine, other):
    """What differs, or nothing."""
    if mine[:2] != other[:2]:
        return f"{mine[0]} x {mine[1]} pixels, QEMU has {other[0]} x {other[1]}"
    differ = [i for i in range(0, len(mine[2]), 3) if mine[2][i:i + 3] != other[2][i:i + 3]]
    if not differ:
        return "one colour" if len(set(mine[2][i:i + 3] for i in range(0, len(mine[2]), 3))) < 4 else ""
    x, y = differ[0] // 3 % mine[0], differ[0] // 3 // mine[0]
    return (f"{len(differ)} of {mine[0] * mine[1]} pixels, the first at {x}, {y}: "
            f"{mine[2][differ[0]:differ[0] + 3].hex()}, QEMU has {other[2][differ[0]:differ[0] + 3].hex()}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True, help="the build tree")
    parser.add_argument("modes", nargs="*", default=MODES)
    arguments = parser.parse_args()
    if not shutil.which(QEMU):
        print(f"skipped: {QEMU} is not installed")
        return SKIPPED
    build, wrong = Path(arguments.build), 0
    kernel = str(build / "guests" / "graphics.elf")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for mode in arguments.modes:
            mine = dualvm_screen(str(build / "dualvm"), kernel, mode, folder)
            other = qemu_screen(kernel, mode, folder)
            if mode == "15":
                mine, other = upper_bits(mine), upper_bits(other)
            differs = difference(mine, other)
            print(f"mode {mode}: {differs or 'the same'}")
            wrong += bool(differs)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
