// The forms of shared mnemonics that touch segments, control and debug registers.
//
// Zydis names MOV, PUSH, POP, JMP, CALL and RET the same for general registers and for these; the functions registered
// for the mnemonics look at the operands and hand the system forms over to the ones below.
#pragma once

#include "../system.h"

namespace dualvm::interp {

Flow mov_segment(State& s, const Insn& insn);   // MOV Sreg, r/m and MOV r/m, Sreg: segments.cc
Flow push_segment(State& s, const Insn& insn);  // PUSH Sreg: segments.cc
Flow pop_segment(State& s, const Insn& insn);   // POP Sreg: segments.cc
Flow mov_control(State& s, const Insn& insn);   // MOV CRn, r and MOV r, CRn: control.cc
Flow mov_debug(State& s, const Insn& insn);     // MOV DRn, r and MOV r, DRn: control.cc
Flow far_jump(State& s, const Insn& insn);      // JMP ptr16:16/32 and JMP m16:16/32/64: far_transfer.cc
Flow far_call(State& s, const Insn& insn);      // CALL ptr16:16/32 and CALL m16:16/32/64: far_transfer.cc
Flow far_return(State& s, const Insn& insn);    // RET far, with or without an immediate: far_transfer.cc

// May the current program access ports [port, port + size)? By IOPL, then by the TSS's I/O permission bitmap. False:
// #GP(0) (or the #PF of reading the bitmap) is set.
bool io_permitted(State& s, u16 port, unsigned size);  // io.cc

}  // namespace dualvm::interp
