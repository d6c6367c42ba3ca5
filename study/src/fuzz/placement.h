// Gives the operands of one instruction their places: which register holds what, where memory operands lie, what is
// there.
#pragma once

#include "dualvm/study/ring3_case.h"
#include "instruction_maker.h"

namespace dualvm::study {

class Placement {
public:
    Placement(Random& random, Case& c, RegisterUse& use) : random_(random), case_(c), use_(use) {}

    // For the instruction whose bytes are the last of the case's code, at `offset`. May change displacements in it.
    void place(const DecodedInstruction& d, u64 offset);
    // Registers that nothing asked for, flags.
    void fill_rest();

private:
    void set(unsigned reg, u64 value);
    u64 address_for(unsigned size, bool stack);
    void place_memory(const DecodedInstruction& d, const ZydisDecodedOperand& o, u64 offset);
    void put_data(const DecodedInstruction& d, const ZydisDecodedOperand& o, u64 address);
    void place_special(const DecodedInstruction& d);
    void patch(u64 offset, unsigned bytes, u64 value);
    u64 code_address();

    Random& random_;
    Case& case_;
    RegisterUse& use_;
};

}  // namespace dualvm::study
