// A case: one instruction in one of the code segments, and what it starts from.
#pragma once

#include <memory>
#include <vector>

#include "dualvm/cpu_model.h"
#include "fuzz/templates.h"
#include "ldt.h"

namespace dualvm::segments {

using Bytes = std::array<u8, kBytes>;

struct State {
    std::array<u64, 8> gpr{};  // 32 bits of each count
    u64 rip = 0, rflags = 0;
    u16 cs = 0, ss = 0, ds = 0, es = 0;
    FpuGroup fpu;
};

struct SegmentCase {
    State state;
    std::vector<u8> code;  // at CS:RIP; all around it is filler
    Bytes data;
    study::DecodedInstruction instruction;  // the first
};

enum class Ending : u8 { Exception, NoEnd, SystemCall, Lost };

struct Result {
    Ending ending = Ending::Exception;
    // Of the interpreter's: it found other instructions in the case's own bytes, which nobody chose.
    bool into_itself = false;
    u8 vector = 0;
    u32 error_code = 0;  // 0 for vectors without one
    u64 cr2 = 0;         // of a page fault, else 0
    State state;
    Bytes data;
};

// Vectors that push an error code (SDM vol. 3A, 6.13).
constexpr bool has_error_code(u64 vector) {
    constexpr u32 kThose = 1u << 8 | 1u << 10 | 1u << 11 | 1u << 12 | 1u << 13 | 1u << 14 | 1u << 17;
    return vector < 32 && (kThose >> vector & 1) != 0;
}

class CaseMaker {
public:
    explicit CaseMaker(u64 seed);
    // Case `number` of this seed. False if what was drawn is nothing to compare.
    bool make(u64 number, SegmentCase& into) const;

private:
    bool draw_instruction(class Draw& draw, SegmentCase& into) const;

    u64 seed_;
    study::ModelDecoder narrow_, wide_;
    Bytes data_;  // that cases change here and there
};

}  // namespace dualvm::segments
