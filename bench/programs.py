"""One Linux with one program that computes and one that calls its kernel, each way of running it: what `bench.py
--programs` measures. Times are wall-clock, between lines on the guest's serial port."""

import os
import select
import subprocess
import sys
import tempfile
import time

from linux import TESTS, Linux
from runs import QEMU
from tables import head, table

sys.path.insert(0, str(TESTS))
import initramfs  # noqa: E402

AWK = "BEGIN{for(i=0;i<n;i++)s+=i*i%7;print s}"
BLOCKS = 200000  # of dd, two system calls each
INIT = f"""#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
n=$(/bin/busybox sed 's/.*rounds=//' /proc/cmdline)
echo @shell
/bin/busybox awk -v n=$n '{AWK}'
echo @computed
/bin/busybox dd if=/dev/zero of=/dev/null bs=1 count={BLOCKS} 2>/dev/null
echo @called
/bin/busybox poweroff -f
"""
SILENCE = 60  # seconds without a line, after which a run is taken to be stuck
MARKS = ("@shell", "@computed", "@called")

# What each row is: how the engine is called, rounds of awk's loop, and what for.
DUALVM = {"interp": ["--engine=interp", "--clock=host"],
          "kvm, assist=instruction": ["--engine=kvm", "--assist=instruction"],
          "kvm, assist=kernel": ["--engine=kvm", "--assist=kernel"],
          "kvm, assist=kernel, patience=0": ["--engine=kvm", "--assist=kernel", "--patience=0"]}
QEMUS = {"qemu tcg": "tcg", "qemu kvm": "kvm"}
ROUNDS = {"interp": 500_000, "qemu tcg": 2_000_000}
MOST_ROUNDS = 20_000_000


def watch(command):
    """The times at which the marks came, the last line, and how it ended."""
    marks, last, start = {}, "", time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        pending, stuck = b"", False
        while True:
            if not select.select([run.stdout], [], [], SILENCE)[0]:
                stuck = True
                run.kill()
                break
            piece = os.read(run.stdout.fileno(), 65536)
            if not piece:
                break
            now = time.monotonic() - start
            *lines, pending = (pending + piece).split(b"\n")
            for line in (line.decode("utf-8", "replace").strip() for line in lines):
                if line in MARKS:
                    marks[line] = now
                last = line or last
        errors = run.stderr.read().decode("utf-8", "replace").strip().splitlines()
        status = run.wait()
    end = f"no more output for {SILENCE} s" if stuck else f"status {status}"
    said = [line for line in errors if "Ctrl-A" not in line]
    return {"marks": marks, "last": last, "end": end, "said": said[0] if said else ""}


def native():
    """The same programs on the host itself."""
    busybox = str(initramfs.BUSYBOX)

    def timed(*arguments):
        start = time.monotonic()
        subprocess.run([busybox, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        return time.monotonic() - start

    compute = timed("awk", "-v", f"n={MOST_ROUNDS}", AWK)
    calls = timed("dd", "if=/dev/zero", "of=/dev/null", "bs=1", f"count={BLOCKS}")
    return {"boot": None, "million rounds": compute / MOST_ROUNDS * 1e6, "call": calls / (2 * BLOCKS)}


def one(linux, name, initrd):
    rounds = ROUNDS.get(name, MOST_ROUNDS)
    guest = ["-m", "256", "-kernel", linux.kernel, "-initrd", initrd, "-append", f"quiet console=ttyS0 rounds={rounds}"]
    if name in QEMUS:
        command = [QEMU, "-accel", QEMUS[name], "-display", "none", "-nodefaults", "-serial", "stdio", "-no-reboot", *guest]
    else:
        command = [linux.program, "run", *DUALVM[name], "-no-reboot", *guest]
    run = watch(command)
    marks = run["marks"]
    row = {"boot": marks.get("@shell"), "million rounds": None, "call": None, "last": run["last"], "end": run["end"],
           "said": run["said"]}
    if "@computed" in marks:
        row["million rounds"] = (marks["@computed"] - marks["@shell"]) / rounds * 1e6
    if "@called" in marks:
        row["call"] = (marks["@called"] - marks["@computed"]) / (2 * BLOCKS)
    return row


def best(rows):
    """Of several runs of one kind: the best of each figure, the last one's words."""
    merged = dict(rows[-1])
    for key in ("boot", "million rounds", "call"):
        known = [row[key] for row in rows if row[key] is not None]
        merged[key] = min(known) if known else None
    return merged


def measure(bench, rounds):
    with tempfile.TemporaryDirectory() as folder:
        linux = Linux(bench, folder)
        initrd = linux.initrd(INIT)
        document = {"rounds": rounds, "rows": {"native": best([native() for _ in range(rounds)])}}
        for name in [*DUALVM, *QEMUS]:
            print(f"{name} ...", file=sys.stderr, flush=True)
            document["rows"][name] = best([one(linux, name, initrd) for _ in range(rounds)])
    return document


def report(document):
    natives = document["rows"]["native"]
    rows = [["", "to the shell, s", "awk, s per million rounds", "x native", "us a system call"]]
    words = []
    for name, row in document["rows"].items():
        compute, call = row["million rounds"], row["call"]
        rows.append([name, "-" if row["boot"] is None else f"{row['boot']:.2f}",
                     "-" if compute is None else f"{compute:.3f}",
                     "-" if compute is None else f"{compute / natives['million rounds']:.2f}",
                     "-" if call is None else f"{call * 1e6:.2f}"])
        if call is None and name != "native":
            words.append(f"{name}: {row['end']}; {row['said'] or 'nothing said'}; last line: {row['last'] or 'none'}")
    return "\n\n".join([head(document), table(rows), "\n".join(words)]).rstrip()
