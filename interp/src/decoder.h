// From bytes to Insn: Zydis decodes, once for each instruction.
#pragma once

#include <memory>
#include <span>

#include "insn.h"

namespace dualvm::interp {

enum class DecodeResult : u8 {
    Ok,
    NeedMore,   // the bytes end before the instruction does
    TooLong,    // more than 15 bytes: #GP(0)
    Undefined,  // #UD
};

class Decoder {
public:
    Decoder();
    ~Decoder();

    // `code_size`: 16, 32 or 64 bits. `rip` is that of the instruction (RIP-relative operands become absolute).
    DecodeResult decode(std::span<const u8> bytes, unsigned code_size, u64 rip, Insn& insn) const;

    // There is soon no room for more x87 and SSE instructions that were not met before. forget() makes room: of what
    // was decoded until then, nothing may be executed any more.
    bool full() const;
    void forget();

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// "fwait", "cmpxchg16b" ...: the mnemonic of an instruction.
const char* mnemonic_name(u16 mnemonic);

// True for what may go elsewhere or change how the following bytes are to be read: a block ends with it.
bool ends_block(const Insn& insn);

}  // namespace dualvm::interp
