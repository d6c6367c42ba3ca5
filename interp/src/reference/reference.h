// The reference instruction set: one readable function for each instruction, by family. Each family adds itself to the
// table that the decoder asks (find_reference).
#pragma once

#include <Zydis/Zydis.h>

#include "../memory.h"
#include "../system.h"

namespace dualvm::interp {

class ReferenceTable {
public:
    void add(ZydisMnemonic mnemonic, Reference implementation) { entries_[mnemonic] = implementation; }
    Reference find(u16 mnemonic) const { return entries_[mnemonic]; }

private:
    std::array<Reference, ZYDIS_MNEMONIC_MAX_VALUE + 1> entries_{};
};

void add_integer_arithmetic(ReferenceTable& table);  // ADD..CMP, INC, DEC, NEG, MUL, DIV, CBW.., BCD: arithmetic.cc
void add_logic_and_shifts(ReferenceTable& table);  // AND, OR, XOR, NOT, TEST, shifts, rotates, double shifts: shift.cc
void add_bit_instructions(ReferenceTable& table);  // BT.., BSF, BSR, POPCNT, BSWAP, MOVBE: bits.cc
void add_data_movement(ReferenceTable& table);     // MOV, MOVZX.., XCHG, XADD, CMPXCHG.., LEA, CMOVcc, SETcc: move.cc
void add_stack_instructions(ReferenceTable& table);   // PUSH.., POP.., PUSHA, ENTER, LEAVE, PUSHF, POPF: stack.cc
void add_near_branches(ReferenceTable& table);        // JMP, Jcc, CALL, RET, LOOP, JCXZ (near): branch.cc
void add_string_instructions(ReferenceTable& table);  // MOVS, STOS, LODS, SCAS, CMPS, INS, OUTS with REP: string.cc
void add_flag_instructions(ReferenceTable& table);  // CLC.., CLD.., LAHF, SAHF, NOP, XLAT, BOUND, UD2 ..: flag_misc.cc
void add_far_transfers(ReferenceTable& table);      // far JMP, CALL, RET, IRET, INT: far_transfer.cc
void add_fast_system_calls(ReferenceTable& table);  // SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS: fast_call.cc
void add_segment_instructions(ReferenceTable& table);  // MOV Sreg, LDS.., LAR, LSL, VERR, VERW, ARPL: segments.cc
void add_table_instructions(ReferenceTable& table);    // LGDT, LIDT, SGDT, SIDT, LLDT, SLDT, LTR, STR: tables.cc
void add_control_instructions(ReferenceTable& table);  // MOV CR/DR, LMSW, SMSW, CLTS, INVLPG, HLT, WBINVD: control.cc
void add_msr_and_cpuid(ReferenceTable& table);         // RDMSR, WRMSR, RDTSC, RDTSCP, RDPMC, CPUID: msr.cc
void add_io_instructions(ReferenceTable& table);       // IN, OUT, CLI, STI: io.cc
void add_fpu_environment(ReferenceTable& table);       // FNSTENV, FLDENV, FNSAVE, FRSTOR, FNINIT: fpu_environment.cc
void add_fpu_instructions(ReferenceTable& table);      // FWAIT, FXSAVE, FXRSTOR, LDMXCSR, MASKMOVQ, CRC32 ..: fpu.cc

}  // namespace dualvm::interp
