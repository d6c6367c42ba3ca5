#!/usr/bin/env python3
"""Generated system-level cases under the interpreter and under QEMU's TCG: both must give the same.

    second_opinion.py --build BUILD [--guest cases32] [--seed S] [--cases N] [--first F] [--show K]

The host's CPU is no oracle for instructions of ring 0, so a second implementation has to do. It has bugs of its own:
KNOWN names them, each with the section of the manual that says so. What differs beside these fails the test, and is
printed: the case, and the fields that differ. `--first F --cases 1` runs one case again.

Status: 0 all alike, 1 not, 77 (CTest's "skipped") without QEMU.
"""

import argparse
import collections
import re
import shutil
import subprocess
import sys
from pathlib import Path

SKIPPED = 77
QEMU = "qemu-system-x86_64"
TIMEOUT = 240  # seconds of a batch, on a machine that may be busy
BATCH = 250  # cases in one run of the guest
RESUME, NESTED_TASK, VIRTUAL_8086 = 1 << 16, 1 << 14, 1 << 17
DEBUG, BREAKPOINT, INVALID_OPCODE, DOUBLE_FAULT, INVALID_TSS, SEGMENT_NOT_PRESENT, STACK_FAULT = 1, 3, 6, 8, 10, 11, 12
GENERAL_PROTECTION, PAGE_FAULT = 13, 14
MAIN_TASK = 0x48


class Case:
    """One case: how it began (`text`, `code`, `at`: registers before) and what it gave (`end`: registers, memory)."""

    def __init__(self, head, result):
        match = re.match(r"(\d+) (v86|ring\d) +(.*?): ([0-9a-f]*) (.*)$", head)
        if match is None:
            raise SystemExit(f"the guest printed what is no case: {head}")
        self.number, self.mode, self.kind, self.code = int(match[1]), match[2], match[3], bytes.fromhex(match[4])
        self.text = head
        self.at = fields(match[5])
        self.end = fields(result)

    def operation(self):
        """The code without operand-size prefixes."""
        return self.code.lstrip(b"\x66")


def fields(text):
    """'ip=208000 [217ffc]00000010' as {'ip': 0x208000, '[217ffc]': 0x10}."""
    found = {}
    for word in text.split():
        name, value = re.match(r"(\[\w+\]|\w+=)(\w+)$", word).groups()
        found[name.rstrip("=")] = int(value, 16)
    return found


def differing(a, b):
    return {name for name in a.keys() | b.keys() if a.get(name) != b.get(name)}


def only(names, *allowed):
    """True if every name is one of `allowed`; 'memory' stands for all words of memory and the window's sum."""
    return all(name in allowed or ("memory" in allowed and (name[0] == "[" or name == "window")) for name in names)


def only_resume(name, ours, theirs):
    """Does RF alone differ in this copy of the flags? What is missing in memory is as it was before the case."""
    if name not in theirs and name[0] == "[":
        return ours[name] == ours["fl"] or ours[name] ^ RESUME == ours["fl"]
    return (name == "fl" or name[0] == "[") and ours.get(name, 0) ^ theirs.get(name, 0) == RESUME


# --- what QEMU 7.2's TCG does otherwise ----------------------------------------------------------------------------

def resume_flag(_case, ours, theirs, names):
    """The saved flags of a fault have RF set."""
    return all(only_resume(n, ours, theirs) for n in names)


def null_selectors(_case, ours, theirs, names):
    """A return to an outer ring leaves 0 in FS and GS, too, where they were null."""
    return only(names, "fs", "gs") and all(ours[n] == 0 and theirs[n] < 4 for n in names)


def sysenter_selector(case, ours, _theirs, _names):
    """SYSENTER and SYSEXIT look at bits 15:2 of IA32_SYSENTER_CS, not at all of it."""
    return case.kind == "system calls" and ours["vector"] == GENERAL_PROTECTION


def read_modify_write(_case, ours, theirs, names):
    """An access that reads and writes faults as a write."""
    if not (ours["vector"] == theirs["vector"] == PAGE_FAULT and ours["error"] & 2 and not theirs["error"] & 2):
        return False
    # Its second page may then be found missing before its first is found read-only.
    return only(names, "error", "cr2", "fl", "memory")


def general_detect(_case, ours, _theirs, _names):
    """DR7.GD makes MOV from and to debug registers #DB."""
    return ours["vector"] == DEBUG and ours["dr6"] & 0x2000 != 0


def virtual_8086_level(case, ours, _theirs, _names):
    """Interrupts leave virtual-8086 mode for ring 0 only."""
    return case.mode == "v86" and case.kind == "software interrupt" and ours["vector"] == GENERAL_PROTECTION


def pushes_before_a_fault(case, ours, theirs, names):
    """How much of a frame was written before the fault that undoes it is not said."""
    return ours["vector"] == theirs["vector"] and ours["vector"] != BREAKPOINT and only(names, "memory") and (
        case.kind == "stack steps")


def order_within_a_tss(_case, ours, theirs, names):
    """Which word of a TSS that is not there is read first is not said."""
    return only(names, "cr2") and ours["vector"] == PAGE_FAULT and ours["cr2"] >> 8 == theirs["cr2"] >> 8


def task_gate_to_an_ldt(_case, ours, theirs, names):
    """A task gate whose TSS selector is in an LDT is #GP, not #TS."""
    return ours["vector"] == GENERAL_PROTECTION and theirs["vector"] == INVALID_TSS and ours["error"] & 4 != 0 and only(
        names, "vector", "fl", "memory")


def virtual_8086_from_outer_rings(case, ours, theirs, _names):
    """IRET looks at VM in the flags that it takes at ring 0 only."""
    return case.mode in ("ring1", "ring2", "ring3") and theirs["fl"] & VIRTUAL_8086 != 0 and (
        ours["fl"] & VIRTUAL_8086 == 0)


def virtual_8086_pointer(case, ours, theirs, _names):
    """IRET to virtual-8086 mode checks that EIP is within the limit of 64 KiB."""
    return case.mode in ("ring0", "v86") and ours["vector"] == GENERAL_PROTECTION and ours["error"] == 0 and (
        theirs["fl"] & VIRTUAL_8086 != 0 and case.operation() == b"\xcf")


def return_releases_unsigned(case, _ours, _theirs, _names):
    """The number of bytes that RET releases has no sign."""
    code = case.operation()
    return code[:1] == b"\xca" and code[2] >= 0x80


def accessed_bit(_case, ours, theirs, names):
    """Loading CS sets the accessed bit of its descriptor."""
    accessed = 1 << 8
    return all(is_descriptor(n) and n in ours and
               (n not in theirs or ours[n] ^ theirs[n] == accessed) and ours[n] & accessed != 0 for n in names)


def is_descriptor(name):
    return re.fullmatch(r"\[22[12]..[4c]\]", name) is not None


def popa_in_parts(case, ours, theirs, names):
    """POPA that faults leaves the registers alone."""
    return case.operation()[-1:] == b"\x61" and ours["vector"] == theirs["vector"] == PAGE_FAULT and only(
        names, "ax", "cx", "dx", "bx", "bp", "si", "di", "cr2", "fl", "memory")


def pusha_order(case, ours, theirs, names):
    """Which of PUSHA's places faults first is not said; the interpreter pushes in the order of the manual's text."""
    return case.operation()[-1:] == b"\x60" and ours["vector"] == theirs["vector"] == PAGE_FAULT and only(
        names, "cr2", "error", "fl", "memory")


def unloaded_stack(_case, ours, theirs, _names):
    """A fault in a task whose SS could not be loaded has no stack: #SS, and with the first a double fault."""
    return ours["vector"] == DOUBLE_FAULT and theirs["vector"] in (INVALID_TSS, SEGMENT_NOT_PRESENT, STACK_FAULT,
                                                                   GENERAL_PROTECTION) and theirs["tr"] != MAIN_TASK


def pointer_of_a_new_task(_case, ours, theirs, names):
    """A fault behind the commit point of a task switch is the new task's, at its EIP and its ring."""
    return only(names, "ip", "sp", "ss", "fl", "memory") and ours["tr"] != MAIN_TASK and ours["ip"] >> 12 == theirs["ip"] >> 12


def debug_reserved(case, ours, theirs, names):
    """Bits 12 of DR6, and 12, 14 and 15 of DR7, are reserved and read as 0."""
    return case.kind == "control registers" and case.code[:2] == b"\x0f\x23" and names <= {"dr6", "dx"} and all(
        (ours[n] ^ theirs[n]) & ~0xd000 == 0 and ours[n] & ~theirs[n] == 0 for n in names)


def cache_control(case, ours, _theirs, _names):
    """CR0.NW without CR0.CD is #GP(0)."""
    return case.kind == "control registers" and ours["vector"] == GENERAL_PROTECTION and case.code[0] == 0xb8 and (
        int.from_bytes(case.code[1:5], "little") >> 29 & 3 == 1)


def control_register_number(case, ours, theirs, _names):
    """A control register that does not exist is #UD before privilege is looked at; so say CPUs at ring 3."""
    code = case.code[ours["ip"] - case.at["ip"]:]
    return ours["vector"] == INVALID_OPCODE and theirs["vector"] == GENERAL_PROTECTION and len(code) > 2 and (
        code[0] == 0x0f and code[1] in (0x20, 0x22) and code[2] >> 3 & 7 in (1, 5, 6, 7))


def limit_error_code(_case, ours, theirs, names):
    """A target beyond its segment's limit is #GP(0), found before anything is pushed."""
    return ours["vector"] == theirs["vector"] == GENERAL_PROTECTION and ours["error"] == 0 and theirs["error"] != 0 and (
        only(names, "error", "fl", "dl", "dh", "memory"))


def limit_of_handlers(case, ours, theirs, _names):
    """The offset of an interrupt gate must be within the limit of its code segment."""
    return case.kind == "software interrupt" and ours["vector"] == GENERAL_PROTECTION and ours["error"] == 0 and (
        ours["ip"] == case.at["ip"] and theirs["cs"] != ours["cs"] and theirs["ip"] > 0xffff)


def narrow_gate(case, ours, theirs, _names):
    """The upper half of the offset in a 16-bit gate does not count."""
    return case.kind in ("far transfer", "software interrupt") and ours["vector"] == BREAKPOINT and (
        ours["cs"] == theirs["cs"] and ours["ip"] <= 0x10000 and (theirs["ip"] ^ (ours["ip"] - 1)) & 0xffff in (0, 1) and
        theirs["ip"] > 0x10000)


def null_task(case, ours, theirs, _names):
    """LTR of a null selector is #GP(0)."""
    return case.operation()[:3] == b"\x0f\x00\xd8" and case.at["ax"] & 0xfffc == 0 and theirs["tr"] < 4 and (
        ours["vector"] == GENERAL_PROTECTION and ours["error"] == 0)


def task_trap(_case, ours, _theirs, _names):
    """A switch to a task whose TSS has T set is #DB, with DR6.BT."""
    return ours["vector"] == DEBUG and ours["dr6"] & 0x8000 != 0


def limit_of_returns(case, ours, theirs, _names):
    """RET and IRET check that EIP is within the limit of the segment that they go to."""
    return case.operation()[:1] in (b"\xca", b"\xcb", b"\xcf") and ours["vector"] == GENERAL_PROTECTION and (
        ours["error"] == 0 and ours["ip"] == case.at["ip"] and theirs["cs"] != ours["cs"] and theirs["ip"] > 0xffff)


KNOWN = [
    (resume_flag, "SDM vol. 3B, 17.3.1.1"),
    (null_selectors, "SDM vol. 2A, IRET, RETURN-TO-OUTER-PRIVILEGE-LEVEL"),
    (sysenter_selector, "SDM vol. 2B, SYSENTER, SYSEXIT"),
    (read_modify_write, "SDM vol. 3A, 4.7; the host's CPU agrees (dualvm fuzz)"),
    (general_detect, "SDM vol. 3B, 17.2.4"),
    (virtual_8086_level, "SDM vol. 2A, INT n, INTERRUPT-FROM-VIRTUAL-8086-MODE"),
    (pushes_before_a_fault, "SDM vol. 3A, 6.5: registers are restored, memory is not"),
    (order_within_a_tss, "SDM vol. 3A, 7.3"),
    (task_gate_to_an_ldt, "SDM vol. 2A, INT n, TASK-GATE"),
    (virtual_8086_from_outer_rings, "SDM vol. 2A, IRET, PROTECTED-MODE-RETURN"),
    (virtual_8086_pointer, "SDM vol. 2A, IRET, RETURN-TO-VIRTUAL-8086-MODE"),
    (return_releases_unsigned, "SDM vol. 2B, RET"),
    (accessed_bit, "SDM vol. 3A, 3.4.5.1"),
    (popa_in_parts, "SDM vol. 3A, 6.5"),
    (pusha_order, "SDM vol. 2B, PUSHA"),
    (unloaded_stack, "SDM vol. 3A, 7.3 and 6.15, Interrupt 10"),
    (pointer_of_a_new_task, "SDM vol. 3A, 7.3"),
    (debug_reserved, "SDM vol. 3B, figure 17-1"),
    (limit_error_code, "SDM vol. 2A, CALL, JMP"),
    (limit_of_handlers, "SDM vol. 2A, INT n"),
    (narrow_gate, "SDM vol. 2A, CALL, INT n: tempEIP AND 0000FFFFH"),
    (null_task, "SDM vol. 2A, LTR"),
    (task_trap, "SDM vol. 3B, 17.3.1.5"),
    (control_register_number, "SDM vol. 2B, MOV - Move to/from Control Registers"),
    (limit_of_returns, "SDM vol. 2A, IRET; vol. 2B, RET"),
    (cache_control, "SDM vol. 2B, MOV - Move to/from Control Registers"),
]


def explained(case, ours, theirs):
    """The name of the first known difference that explains everything, or None. RF may come on top of another."""
    names = differing(ours, theirs)
    for rule, _section in KNOWN:
        if rule(case, ours, theirs, names):
            return rule.__name__
        rest = {n for n in names if not only_resume(n, ours, theirs)}
        if rest != names and (not rest or rule(case, ours, theirs, rest)):
            return rule.__name__
    return None


# --- running -------------------------------------------------------------------------------------------------------

def commands(build, guest, append):
    kernel = ["-kernel", str(Path(build) / "guests" / f"{guest}.elf"), "-append", append]
    return {
        "interp": [str(Path(build) / "dualvm"), "run", "--engine=interp", "-no-reboot"] + kernel,
        "qemu": [QEMU, "-accel", "tcg", "-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot",
                 "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"] + kernel,
    }


def run(command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False)
    lines = done.stdout.decode("ascii", "replace").replace("\r", "").splitlines()
    if not lines or lines[-1] != "done":
        last = lines[-1] if lines else "nothing"
        raise SystemExit(f"{' '.join(command)}\nstatus {done.returncode}, and the last line is: {last}\n"
                         f"{done.stderr.decode('utf-8', 'replace')}")
    return {case.number: case for case in map(Case, lines[0:-1:2], lines[1::2])}


def show(case, ours, theirs):
    names = sorted(differing(ours, theirs))
    print(case.text)
    for who, result in (("interp", ours), ("qemu", theirs)):
        print(f"    {who:7}" + " ".join(f"{n}={result[n]:x}" if n in result else f"{n}=-" for n in names))
    print("    alike  " + " ".join(f"{n}={v:x}" for n, v in ours.items() if n not in names))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True, help="the build tree")
    parser.add_argument("--guest", default="cases32")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--show", type=int, default=10, help="print so many differences (default: 10)")
    arguments = parser.parse_args()
    if shutil.which(QEMU) is None:
        print(f"skipped: {QEMU} is not installed")
        return SKIPPED

    count, different, known, kinds = 0, 0, collections.Counter(), collections.Counter()
    end = arguments.first + arguments.cases
    for first in range(arguments.first, end, BATCH):
        append = f"seed={arguments.seed} first={first} cases={min(BATCH, end - first)}"
        results = {who: run(command) for who, command in commands(arguments.build, arguments.guest, append).items()}
        for number, case in results["interp"].items():
            ours, other = case.end, results["qemu"][number]
            if other.text != case.text:
                raise SystemExit(f"the guest made different cases:\n{case.text}\n{other.text}")
            count += 1
            kinds[case.kind] += 1
            if not differing(ours, other.end):
                continue
            rule = explained(case, ours, other.end)
            if rule is not None:
                known[rule] += 1
                continue
            different += 1
            if different <= arguments.show:
                show(case, ours, other.end)
    print(f"{count} cases of seed {arguments.seed}: " + ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items())))
    for rule, section in KNOWN:
        if known[rule.__name__]:
            print(f"  {known[rule.__name__]:5} QEMU: {rule.__doc__.rstrip('.')} ({section})")
    print(f"{different} unexplained differences")
    return 1 if different or count != arguments.cases else 0


if __name__ == "__main__":
    sys.exit(main())
