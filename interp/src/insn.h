// Insn: one decoded instruction, as the reference implementations read it.
//
// The decoder makes it from Zydis's result, once; nothing here is looked up again while the guest runs.
#pragma once

#include <array>

#include "dualvm/cpu_file.h"

namespace dualvm::interp {

struct State;
struct Insn;
struct UnitInsn;

// What an instruction's implementation says when it is done.
enum class Flow : u8 {
    Next,   // go on with the instruction behind; CpuFile's RIP is already there
    Jump,   // RIP, the mode, the address map or what may interrupt has changed: leave the block
    Fault,  // State::fault is set and the instruction has had no other effect
    Again,  // a repeated string instruction did a part of its work: come back to it, after a look at interrupts
    Halt,   // HLT: RIP is behind it
};

// The readable implementation of an instruction. On entry RIP in CpuFile is that of the *next* instruction, RFLAGS is
// complete; State::insn_rip is the instruction's own address. It may change anything in State.
using Reference = Flow (*)(State& state, const Insn& insn);

enum class OperandKind : u8 {
    None,
    Gpr,
    Memory,
    Immediate,
    FarPointer,
    Segment,
    Control,
    Debug,
    X87,
    Mmx,
    Xmm,
    Relative
};

struct Operand {
    OperandKind kind = OperandKind::None;
    u8 reg = 0;          // number of the register: Gpr 0-15, Segment as SegmentName, Control/Debug/X87/Mmx/Xmm number
    bool high8 = false;  // Gpr of size 1: AH, CH, DH or BH (reg is then RAX..RBX)
    u8 size = 0;         // bytes: 1, 2, 4, 6, 8, 10, 16, ... as the instruction accesses them
    u64 imm = 0;         // Immediate: sign- or zero-extended to 64 bits as the instruction says;
                         // Relative: the signed displacement; FarPointer: the offset
    u16 far_selector = 0;
};

inline constexpr u8 kNoRegister = 0xff;

struct Insn {
    Reference run = nullptr;
    u16 mnemonic = 0;      // ZydisMnemonic
    u8 length = 0;         // bytes
    u8 operand_size = 0;   // effective operand size: 2, 4 or 8 (bytes)
    u8 address_size = 0;   // effective address size: 2, 4 or 8 (bytes)
    u8 operand_count = 0;  // explicit operands
    bool rep = false, repne = false, lock = false;
    bool far_branch = false;         // JMP, CALL, RET that load CS
    bool long_mode = false;          // decoded in 64-bit mode
    u8 opcode = 0;                   // last opcode byte
    u16 x87_opcode = 0;              // the 11 bits that FOP keeps
    const UnitInsn* unit = nullptr;  // x87, MMX and SSE: what host_unit.h needs
    std::array<Operand, 4> operand{};

    // The memory operand, if there is one: segment:[base + index*scale + displacement]. A RIP-relative operand has
    // base kNoRegister and the absolute address of this instruction's place as displacement.
    SegmentName segment = DS;
    u8 base = kNoRegister, index = kNoRegister, scale = 1;
    u64 displacement = 0;
    // Segment of the source of a string instruction or of moffs: DS or its override.
};

// The table from mnemonics to reference implementations. An instruction without one raises #UD and is counted.
Reference find_reference(u16 mnemonic);

}  // namespace dualvm::interp
