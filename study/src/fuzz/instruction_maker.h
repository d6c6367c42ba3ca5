// One instruction from a template: other registers, another addressing form, another immediate, other prefixes.
#pragma once

#include "random.h"
#include "templates.h"

namespace dualvm::study {

// What the instructions of a case so far have done with the general registers, so that the next one chooses well: where
// addresses are to come from, no result should go, and the other way round.
struct RegisterUse {
    std::array<bool, 16> fixed{};    // has been given a value that matters (an address, a count)
    std::array<bool, 16> written{};  // is the result of an instruction
};

class InstructionMaker {
public:
    InstructionMaker(CodeMode mode, const CpuModel& model) : mode_(mode), decoder_(mode, model) {}

    // Appends nothing; false if these choices made no instruction that is comparable.
    bool make(Random& random, const Template& from, const RegisterUse& use, std::vector<u8>& bytes) const;

    const ModelDecoder& decoder() const { return decoder_; }

private:
    unsigned pick_register(Random& random, const RegisterUse& use, bool address) const;
    void add_memory(Random& random, const RegisterUse& use, unsigned reg, unsigned address_bits, std::vector<u8>& tail,
                    u8& rex) const;
    void reencode(const DecodedInstruction& d, std::vector<u8>& bytes) const;

    CodeMode mode_;
    ModelDecoder decoder_;
};

// True for LOCK before an instruction that takes none: the one undefined encoding that is generated on purpose.
bool is_illegal_lock(ZyanStatus status);

}  // namespace dualvm::study
