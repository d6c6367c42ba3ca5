"""What QEMU 7.2's TCG does otherwise than the manual: the rules of second_opinion.py.

A rule gets a case, what it gave under the interpreter and under QEMU, and the names of the fields that differ. True:
all of them are this bug's. A rule must not hide more than its bug.
"""

import re

RESUME, VIRTUAL_8086 = 1 << 16, 1 << 17
DEBUG, BREAKPOINT, INVALID_OPCODE, DOUBLE_FAULT, INVALID_TSS, SEGMENT_NOT_PRESENT, STACK_FAULT = 1, 3, 6, 8, 10, 11, 12
GENERAL_PROTECTION, PAGE_FAULT = 13, 14
MAIN_TASK = 0x48
ARITHMETIC, ALIGNMENT_CHECK, VIRTUAL_INTERRUPTS = 0x8d5, 1 << 18, 3 << 19
SMAP = 1 << 21  # in CR4
CODE_64BIT = 1 << 21  # L, in the upper half of a descriptor
HOLE = 1 << 47  # the first address that is not canonical
EFER, FMASK, TSC_AUX = 0xc0000080, 0xc0000084, 0xc0000103


def differing(a, b):
    """The fields that differ; not the descriptor that an error code names, which is there for whoever reads it."""
    return {name for name in (a.keys() | b.keys()) - {"dl", "dh"} if a.get(name) != b.get(name)}


def only(names, *allowed):
    """True if every name is one of `allowed`; 'memory' stands for all words of memory and the window's sum."""
    return all(name in allowed or ("memory" in allowed and (name[0] == "[" or name == "window")) for name in names)


def only_resume(name, ours, theirs):
    """Does RF alone differ in this copy of the flags? What is missing in memory is as it was before the case."""
    if name not in theirs and name[0] == "[":
        return ours[name] == ours["fl"] or ours[name] ^ RESUME == ours["fl"]
    return (name == "fl" or name[0] == "[") and ours.get(name, 0) ^ theirs.get(name, 0) == RESUME


def without_rex(code):
    """The code without operand-size and REX prefixes; the latter are something else outside 64-bit mode."""
    return code.lstrip(b"\x66\x40\x44\x48")


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
    code = without_rex(case.code)
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


def enter_probes(case, ours, _theirs, _names):
    """ENTER faults where a write at its final stack pointer would, even if nothing is written there."""
    return case.kind == "stack steps" and ours["vector"] in (PAGE_FAULT, STACK_FAULT, DOUBLE_FAULT) and (
        case.code[ours["ip"] - case.at["ip"]:].lstrip(b"\x66")[:1] == b"\xc8")


def unloaded_stack(_case, ours, theirs, _names):
    """A fault in a task whose SS could not be loaded has no stack: #SS, and with the first a double fault."""
    return ours["vector"] == DOUBLE_FAULT and theirs["vector"] in (INVALID_TSS, SEGMENT_NOT_PRESENT, STACK_FAULT,
                                                                   GENERAL_PROTECTION) and theirs["tr"] != MAIN_TASK


def pointer_of_a_new_task(_case, ours, theirs, names):
    """A fault behind the commit point of a task switch is the new task's, at its EIP and its ring."""
    local = ours["ldt"] & ~4 == theirs["ldt"]  # a selector that says that the LDT is in an LDT
    return only(names, "ip", "sp", "ss", "fl", "memory", *(["ldt"] if local else [])) and (
        ours["tr"] != MAIN_TASK and ours["ip"] >> 12 == theirs["ip"] >> 12)


def debug_reserved(case, ours, theirs, names):
    """Bits 12 of DR6, and 12, 14 and 15 of DR7, are reserved and read as 0."""
    return case.code[:2] == b"\x0f\x23" and names <= {"dr6", "dx"} and all(
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
    return ours["vector"] == theirs["vector"] == GENERAL_PROTECTION and ours["error"] == 0 and (
        theirs["error"] != 0 and only(names, "error", "fl", "memory"))


def limit_of_handlers(case, ours, theirs, _names):
    """The offset of an interrupt gate must be within the limit of its code segment."""
    return case.kind == "software interrupt" and ours["vector"] == GENERAL_PROTECTION and ours["error"] == 0 and (
        ours["ip"] == case.at["ip"] and theirs["cs"] != ours["cs"] and theirs["ip"] > 0xffff)


def narrow_gate(case, ours, theirs, _names):
    """The upper half of the offset in a 16-bit gate does not count."""
    return case.kind in ("far transfer", "software interrupt") and ours["vector"] == BREAKPOINT and (
        ours["cs"] == theirs["cs"] and ours["ip"] <= 0x10000 < theirs["ip"] and
        (theirs["ip"] ^ (ours["ip"] - 1)) & 0xffff in (0, 1))


def null_task(case, ours, theirs, _names):
    """LTR of a null selector is #GP(0)."""
    return case.operation()[:3] == b"\x0f\x00\xd8" and case.at["ax"] & 0xfffc == 0 and theirs["tr"] < 4 and (
        ours["vector"] == GENERAL_PROTECTION and ours["error"] == 0)


def task_trap(_case, ours, _theirs, _names):
    """A switch to a task whose TSS has T set is #DB, with DR6.BT."""
    return ours["vector"] == DEBUG and ours["dr6"] & 0x8000 != 0


def limit_of_returns(case, ours, theirs, _names):
    """RET and IRET check that EIP is within the limit of the segment that they go to."""
    return without_rex(case.code)[:1] in (b"\xca", b"\xcb", b"\xcf") and ours["vector"] in (
        GENERAL_PROTECTION, DOUBLE_FAULT) and (
        ours["error"] == 0 and ours["ip"] == case.at["ip"] and theirs["cs"] != ours["cs"] and theirs["ip"] > 0xffff)


KNOWN32 = [
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
    (enter_probes, "SDM vol. 2A, ENTER"),
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


# What differs where one and the same event ends with another exception.
VECTOR_FIELDS = ("vector", "error", "cr2", "fl", "hsp", "memory")


# --- in long mode --------------------------------------------------------------------------------------------------

def canonical(address):
    return (address + HOLE) % (1 << 64) < 2 * HOLE


def faulted_at_once(case, ours):
    """Under the interpreter, the case ended in its own instructions, with error code 0: a fault, or a double fault."""
    return ours["vector"] in (GENERAL_PROTECTION, STACK_FAULT, DOUBLE_FAULT) and ours["error"] == 0 and (
        ours["ip"] - case.at["ip"] in range(len(case.code)))


def gate_error(_case, ours, theirs, names):
    """The error code of a gate has the vector in the place of an index, in long mode, too."""
    return ours["vector"] == theirs["vector"] and ours["error"] & 2 != 0 and (
        ours["error"] >> 3 == theirs["error"] >> 4 and only(names, "error", "fl", "memory"))


def lock_prefix(case, ours, _theirs, _names):
    """LOCK before an instruction that takes none is #UD."""
    return case.code[:1] == b"\xf0" and ours["vector"] in (INVALID_OPCODE, DOUBLE_FAULT) and ours["ip"] == case.at["ip"]


def stack_reference(_case, ours, theirs, names):
    """An address that is not canonical is #SS if it is the stack's."""
    return ours["vector"] == STACK_FAULT and theirs["vector"] == GENERAL_PROTECTION and ours["error"] == 0 and (
        only(names, "vector", "fl", "memory"))


def hole_straddled(_case, ours, theirs, names):
    """That an operand ends in addresses that are not canonical is found before its pages are looked at."""
    return ours["vector"] in (GENERAL_PROTECTION, STACK_FAULT, DOUBLE_FAULT) and (
        theirs["vector"] in (PAGE_FAULT, DOUBLE_FAULT) and HOLE - theirs["cr2"] in range(1, 16) and
        only(names, "vector", "cr2", "error", "fl", "memory"))


def reserved_bit_present(_case, ours, theirs, names):
    """A fault for a reserved bit has P set in its error code: the entry was present."""
    return ours["error"] & 8 != 0 and ours["error"] ^ theirs["error"] == 1 and only(names, "error", "fl", "memory")


def syscall_flags(case, ours, theirs, names):
    """SYSCALL leaves the arithmetic flags alone but for those of IA32_FMASK."""
    return b"\x0f\x05" in case.code and only(names, "fl", "memory") and theirs["fl"] & ARITHMETIC == 0 and (
        (ours["fl"] ^ theirs["fl"]) & ~(ARITHMETIC | RESUME) == 0)


def sysret_flags(case, ours, theirs, names):
    """SYSRET takes neither VM nor RF, but VIF and VIP."""
    return b"\x0f\x07" in case.code and only(names, "fl", "memory") and (
        (ours["fl"] ^ theirs["fl"]) & ~(VIRTUAL_8086 | RESUME | VIRTUAL_INTERRUPTS) == 0)


def smap_and_far_stacks(case, _ours, theirs, _names):
    """What a far transfer or an event pushes and pops at ring 3 is the program's access: SMAP does not look at it."""
    return case.at["cr4"] & SMAP != 0 and case.at["cs"] & 3 == 3 and theirs["ip"] == case.at["ip"] and (
        theirs["vector"] in (PAGE_FAULT, DOUBLE_FAULT) and
        case.kind in ("far transfer", "far return", "interrupt return", "software interrupt", "single steps",
                      "prefixes"))


def smap_and_inner_stacks(case, _ours, theirs, _names):
    """That an event's pushes on an inner stack respect EFLAGS.AC, as all but implicit accesses do."""
    return case.at["cr4"] & SMAP != 0 and theirs["vector"] in (PAGE_FAULT, DOUBLE_FAULT) and (
        theirs["fl"] & ALIGNMENT_CHECK != 0 and theirs["ip"] != theirs["cr2"])


def target_not_canonical(case, ours, theirs, _names):
    """A transfer to an address that is not canonical is a fault of the transfer, which does not happen."""
    return faulted_at_once(case, ours) and theirs["vector"] in (GENERAL_PROTECTION, DOUBLE_FAULT, DEBUG) and (
        not canonical(theirs["ip"]))


def target_before_pushes(case, ours, theirs, names):
    """That a handler's or a called function's address is not canonical is found before anything is pushed."""
    return (case.code[:1] == b"\xcd" or b"\xff\xd3" in case.code) and faulted_at_once(case, ours) and (
        theirs["vector"] in (PAGE_FAULT, DOUBLE_FAULT, STACK_FAULT) and theirs["ip"] == ours["ip"] and
        only(names, *VECTOR_FIELDS))


def compatibility_target(case, ours, theirs, names):
    """What compatibility mode has of an instruction pointer are 32 bits."""
    if only(names, "ip", "memory"):
        return ours["ip"] == theirs["ip"] & 0xffffffff
    # A jump or call with 64 bits: QEMU compares all of them with the segment's limit.
    return case.code[:2] == b"\x48\xff" and ours["cs"] != case.at["cs"] and ours["ip"] >> 32 == 0 and (
        theirs["vector"] in (GENERAL_PROTECTION, DOUBLE_FAULT) and theirs["error"] == 0 and
        theirs["ip"] == case.at["ip"])


def null_stack_in_compatibility_mode(case, ours, theirs, _names):
    """A return loads SS with a null selector for 64-bit code only, and with an RPL of the new level."""
    return faulted_at_once(case, ours) and theirs["ss"] < 4 and (
        without_rex(case.code)[:1] in (b"\xca", b"\xcb", b"\xcf"))


def ist_at_the_same_level(case, ours, theirs, names):
    """A stack of the IST leaves SS as it is unless the level changes."""
    return only(names, "ss", "memory") and case.at["cs"] & 3 == theirs["ss"] and ours["ss"] == case.at["ss"]


def pushes_at_ring_3(case, ours, theirs, names):
    """An event that stays at ring 3 pushes as ring 3 does."""
    return case.at["cs"] & 3 == 3 and case.code[:1] == b"\xcd" and ours["vector"] in (PAGE_FAULT, DOUBLE_FAULT) and (
        ours["ip"] == case.at["ip"] and
        (theirs["ss"] == 3 and theirs["cs"] & 3 == 3 or ours["error"] == 7 and only(names, *VECTOR_FIELDS)))


def syscall_in_compatibility_mode(case, ours, _theirs, _names):
    """SYSCALL and SYSRET are #UD outside 64-bit mode."""
    return case.mode.startswith("compat") and ours["vector"] in (INVALID_OPCODE, DOUBLE_FAULT) and (
        case.code in (b"\x0f\x05", b"\x0f\x07"))


def null_sysenter_selector(case, ours, _theirs, _names):
    """SYSENTER and SYSEXIT look at bits 15:2 of IA32_SYSENTER_CS, not at all of it."""
    return faulted_at_once(case, ours) and case.at["secs"] & 0xfffc == 0 and (
        without_rex(case.code) in (b"\x0f\x34", b"\x0f\x35"))


def sysenter_selector_width(case, ours, theirs, names):
    """IA32_SYSENTER_CS keeps what is written to it; only bits 15:0 are used."""
    return "secs" in names and names <= {"secs", "ax", "dx"} and (
        ours.get("secs", case.at["secs"]) & 0xffff == theirs.get("secs", case.at["secs"]) & 0xffff)


def table_registers_stored(case, ours, theirs, names):
    """SGDT and SIDT store the whole base with any operand size."""
    return case.code[:3] in (b"\x66\x0f\x01",) and only(names, "memory") and all(n in ours for n in names)


def bad_msr_value(case, ours, _theirs, _names):
    """WRMSR of an address that is not canonical, or of reserved bits, is #GP(0)."""
    if not (case.code[:2] == b"\x0f\x30" and faulted_at_once(case, ours)):
        return False
    index, value = case.at["cx"] & 0xffffffff, (case.at["dx"] & 0xffffffff) << 32 | case.at["ax"] & 0xffffffff
    if index == EFER:
        return value & ~0xd01 != 0 or value & 0x100 == 0
    return value >> 32 != 0 if index in (FMASK, TSC_AUX) else not canonical(value)


def bad_base(case, ours, _theirs, _names):
    """WRFSBASE and WRGSBASE of an address that is not canonical are #GP(0)."""
    return case.kind == "bases" and faulted_at_once(case, ours) and not canonical(case.at["ax"])


def virtual_8086_in_long_mode(case, ours, theirs, _names):
    """IRET does not look at VM in long mode, where there is no virtual-8086 mode."""
    return theirs["fl"] & VIRTUAL_8086 != 0 and ours["fl"] & VIRTUAL_8086 == 0 and without_rex(case.code) == b"\xcf"


def missing_register(case, ours, theirs, _names):
    """A control or debug register that does not exist is #UD before privilege is looked at."""
    code = without_rex(case.code[ours["ip"] - case.at["ip"]:])
    return ours["vector"] == INVALID_OPCODE and theirs["vector"] == GENERAL_PROTECTION and len(code) > 2 and (
        code[0] == 0x0f and (code[1] in (0x20, 0x22) and code[2] >> 3 & 7 in (1, 5, 6, 7) or
                             code[1] in (0x21, 0x23) and code[2] >> 3 & 7 in (4, 5)))


def null_segment_used(case, ours, _theirs, _names):
    """Outside 64-bit mode, an access through a null selector is #GP(0)."""
    return case.kind == "addresses" and case.mode.startswith("compat") and faulted_at_once(case, ours) and (
        case.at["es"] < 4 and case.code[-1:] in (b"\xab", b"\xae"))


def wide_far_pointer(case, ours, theirs, names):
    """LSS, LFS and LGS take an offset of 64 bits with REX.W."""
    return case.code[:2] == b"\x48\x0f" and case.code[2] in (0xb2, 0xb4, 0xb5) and names == {"cx"} and (
        theirs["cx"] == ours["cx"] & 0xffffffff)


def order_of_code_checks(_case, ours, theirs, names):
    """Whether it is looked at first that a handler's segment is 64-bit code, or that it is present, is not said."""
    return ours["vector"] == GENERAL_PROTECTION and theirs["vector"] == SEGMENT_NOT_PRESENT and (
        only(names, "vector", "fl", "memory"))


def disabled_breakpoints(_case, ours, theirs, names):
    """Whether a trap clears bits 3:0 of DR6, or sets those of breakpoints that are not enabled, is left open."""
    return names <= {"dr6", "dx"} and all((ours[n] ^ theirs[n]) & ~0x100f == 0 for n in names)  # 12: debug_reserved


def narrow_sysexit(case, ours, theirs, names):
    """SYSEXIT to 32-bit code takes 32 bits of RCX and RDX."""
    return b"\x0f\x35" in case.code and only(names, "sp", "ip", "memory") and all(
        ours[n] == theirs[n] & 0xffffffff for n in ("sp", "ip"))


def reserved_control_bits(case, ours, _theirs, _names):
    """MOV of reserved bits to CR0 and CR8 is #GP(0), and so is CR0.NW without CR0.CD."""
    code, value = case.code, case.at["ax"]
    if not faulted_at_once(case, ours) or without_rex(code)[:3] != b"\x0f\x22\xc0":
        return False
    return value > 0xf if code[0] == 0x44 else value >> 32 != 0 or value >> 29 & 3 == 1


def partial_frame(_case, ours, theirs, names):
    """What an event has pushed before it became a double fault has RF as that event had."""
    return ours["vector"] == theirs["vector"] == DOUBLE_FAULT and only(names, "memory")


def step_over_sti(case, ours, _theirs, _names):
    """STI holds interrupts back for one instruction, not the single-step trap."""
    return ours["vector"] in (DEBUG, DOUBLE_FAULT) and ours["dr6"] & 0x4000 != 0 and (
        ours["ip"] - case.at["ip"] in range(1, len(case.code) + 1) and
        case.code[ours["ip"] - case.at["ip"] - 1] == 0xfb)


def reserved_code_size(case, ours, _theirs, _names):
    """A code segment with both L and D set is refused."""
    return ours["vector"] == GENERAL_PROTECTION and ours["error"] != 0 and ours["ip"] == case.at["ip"] and (
        ours.get("dh", 0) & CODE_64BIT * 3 == CODE_64BIT * 3 and ours["dh"] & 0x1800 == 0x1800)


def narrow_tasks(case, ours, _theirs, names):
    """LAR and LSL know neither 16-bit TSSs nor task gates in long mode, and LAR (into CX) no LDT."""
    known = {"cx"} if ours.get("dh", 0x1000) >> 8 & 0x1f == 2 else {"cx", "dx"}
    return case.kind == "queries" and names <= known | {n for n in names if n == "fl" or n[0] == "["} and (
        ours.get("dh", 0x1000) >> 8 & 0x1f in (1, 2, 3, 4, 5))


def limit_of_64bit_code(case, ours, theirs, _names):
    """The limit of 64-bit code is not looked at."""
    return case.kind in ("far transfer", "single steps") and ours["cs"] != case.at["cs"] and (
        theirs["vector"] == GENERAL_PROTECTION and theirs["error"] == ours["cs"] & 0xfffc and
        theirs.get("dh", 0) & CODE_64BIT != 0)


def step_over_lss(case, ours, _theirs, _names):
    """LSS loads both at once: it holds the single-step trap back no more than other instructions do."""
    return case.code.lstrip(b"\x66\x48")[:2] == b"\x0f\xb2" and ours["vector"] in (DEBUG, DOUBLE_FAULT) and (
        ours["dr6"] & 0x4000 != 0)


def wide_far_call(case, ours, theirs, _names):
    """A far call with 64 bits looks at the limit of its target, too, or at whether it is canonical."""
    return case.code[:2] == b"\x48\xff" and faulted_at_once(case, ours) and theirs["cs"] != case.at["cs"]


def bad_system_segment(case, ours, theirs, _names):
    """LTR and LLDT refuse descriptors with a type in the upper half."""
    return case.code[:2] == b"\x0f\x00" and ours["vector"] == GENERAL_PROTECTION and ours["error"] == (
        case.at["ax"] & 0xfffc) and case.at["ax"] & 0xffff in (theirs["tr"], theirs["ldt"])


def wide_sysexit(case, ours, _theirs, _names):
    """SYSEXIT to 64-bit code is #GP(0) if RCX is not canonical."""
    return faulted_at_once(case, ours) and case.code == b"\x48\x0f\x35" and not canonical(case.at["cx"])


def gate_to_middle_rings(_case, ours, theirs, names):
    """A call gate to ring 1 or 2 leads there, not to ring 0."""
    return only(names, "ip", *VECTOR_FIELDS) and ours["cs"] & 3 in (1, 2) and (
        ours["ss"] == ours["cs"] & 3 and ours["ip"] in (theirs["ip"], theirs["ip"] - 1))


def null_stack_level(case, ours, theirs, _names):
    """SS takes a null selector only with the CPL in its RPL."""
    return case.kind == "segment loads" and faulted_at_once(case, ours) and theirs["ss"] < 4 and (
        theirs["ss"] != case.at["cs"] & 3)


def dirty_first_page(_case, ours, theirs, names):
    """Whether a write becomes visible as dirty in its first page when its second faults, is not said."""
    return names == {"dirty"} and ours["vector"] in (PAGE_FAULT, DOUBLE_FAULT) and theirs["dirty"] & ~ours["dirty"] == 0


KNOWN64 = [
    (resume_flag, "SDM vol. 3B, 17.3.1.1"),
    (null_selectors, "SDM vol. 2A, IRET, RETURN-TO-OUTER-PRIVILEGE-LEVEL"),
    (gate_error, "SDM vol. 3A, 6.13"),
    (lock_prefix, "SDM vol. 2A, LOCK"),
    (stack_reference, "SDM vol. 3A, 6.15, Interrupt 12; vol. 1, 3.3.7.1"),
    (hole_straddled, "SDM vol. 1, 3.3.7.1"),
    (reserved_bit_present, "SDM vol. 3A, 4.7"),
    (syscall_flags, "SDM vol. 2B, SYSCALL"),
    (sysret_flags, "SDM vol. 2B, SYSRET"),
    (smap_and_far_stacks, "SDM vol. 3A, 4.6.1"),
    (smap_and_inner_stacks, "SDM vol. 3A, 4.6.1"),
    (target_not_canonical, "SDM vol. 2A, CALL, INT n, IRET, JMP; vol. 2B, RET, SYSRET"),
    (compatibility_target, "SDM vol. 1, 3.5.1"),
    (null_stack_in_compatibility_mode, "SDM vol. 2A, IRET; vol. 2B, RET"),
    (ist_at_the_same_level, "SDM vol. 2A, INT n, INTRA-PRIVILEGE-LEVEL-INTERRUPT"),
    (pushes_at_ring_3, "SDM vol. 3A, 4.6"),
    (syscall_in_compatibility_mode, "SDM vol. 2B, SYSCALL, SYSRET"),
    (null_sysenter_selector, "SDM vol. 2B, SYSENTER, SYSEXIT"),
    (sysenter_selector_width, "SDM vol. 4, table 2-2"),
    (table_registers_stored, "SDM vol. 2B, SGDT, SIDT"),
    (bad_msr_value, "SDM vol. 2B, WRMSR"),
    (bad_base, "SDM vol. 2B, WRFSBASE"),
    (virtual_8086_in_long_mode, "SDM vol. 2A, IRET, IA-32e-MODE"),
    (read_modify_write, "SDM vol. 3A, 4.7; the host's CPU agrees (dualvm fuzz)"),
    (general_detect, "SDM vol. 3B, 17.2.4"),
    (pushes_before_a_fault, "SDM vol. 3A, 6.5: registers are restored, memory is not"),
    (enter_probes, "SDM vol. 2A, ENTER"),
    (accessed_bit, "SDM vol. 3A, 3.4.5.1"),
    (return_releases_unsigned, "SDM vol. 2B, RET"),
    (debug_reserved, "SDM vol. 3B, figure 17-1"),
    (null_task, "SDM vol. 2A, LTR"),
    (null_segment_used, "SDM vol. 3A, 3.4.2"),
    (wide_far_pointer, "SDM vol. 2A, LDS/LES/LFS/LGS/LSS"),
    (order_of_code_checks, "SDM vol. 2A, INT n"),
    (target_before_pushes, "SDM vol. 2A, INT n"),
    (disabled_breakpoints, "SDM vol. 3B, 17.2.3"),
    (reserved_control_bits, "SDM vol. 2B, MOV - Move to/from Control Registers"),
    (partial_frame, "SDM vol. 3A, 6.5: registers are restored, memory is not"),
    (step_over_sti, "SDM vol. 2B, STI; vol. 3A, 6.8.3"),
    (reserved_code_size, "SDM vol. 2A, CALL, JMP"),
    (narrow_tasks, "SDM vol. 2A, LAR, LSL"),
    (limit_of_64bit_code, "SDM vol. 3A, 5.3.1"),
    (limit_error_code, "SDM vol. 2A, CALL, JMP"),
    (step_over_lss, "SDM vol. 3A, 6.8.3"),
    (wide_far_call, "SDM vol. 2A, CALL"),
    (bad_system_segment, "SDM vol. 3A, figure 7-4"),
    (limit_of_returns, "SDM vol. 2A, IRET; vol. 2B, RET"),
    (narrow_sysexit, "SDM vol. 2B, SYSEXIT"),
    (wide_sysexit, "SDM vol. 2B, SYSEXIT"),
    (gate_to_middle_rings, "SDM vol. 3A, 5.8.4"),
    (null_stack_level, "SDM vol. 2B, MOV; vol. 2A, LSS"),
    (dirty_first_page, "SDM vol. 3A, 4.8"),
    (missing_register, "SDM vol. 2B, MOV - Move to/from Control, Debug Registers"),
]

KNOWN = {"cases32": KNOWN32, "cases64": KNOWN64}


# Those that explain one field at a time, and so may come on top of others.
FIELD_RULES = (resume_flag, null_selectors, dirty_first_page, partial_frame)


def explained(guest, case, ours, theirs):
    """The name of the first known difference that explains everything, or None."""
    names = differing(ours, theirs)
    rest = {n for n in names if not any(rule(case, ours, theirs, {n}) for rule in FIELD_RULES)}
    if "window" in rest and only_resume("fl", ours, theirs):
        rest.remove("window")  # of which a sum is taken: the frame with RF is there
    for rule, _section in KNOWN[guest]:
        if rule(case, ours, theirs, names) or rest != names and (not rest or rule(case, ours, theirs, rest)):
            return rule.__name__
    return None
