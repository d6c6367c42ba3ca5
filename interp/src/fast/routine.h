// Calling a routine of one instruction (UnitInsn::bare) from a handler.
#pragma once

// Op::imm is the routine. Nothing is called between naming the registers and the assembly: without optimisation that
// would change them. Below the stack pointer lies the red zone, which may hold locals of the caller.
#define DUALVM_CALL_ROUTINE "leaq -128(%%rsp), %%rsp\n\tcall *%[routine]\n\tleaq 128(%%rsp), %%rsp"
