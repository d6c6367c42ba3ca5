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

    // Instructions on the host's units share memory for their routines, which a guest with very many different ones
    // fills. Room for `count` more? If not: forget_units(), after which no Insn decoded before may be run.
    bool has_room_for(std::size_t count) const;
    void forget_units();

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// "fwait", "cmpxchg16b" ...: the mnemonic of an instruction.
const char* mnemonic_name(u16 mnemonic);

// True for what may go elsewhere or change how the following bytes are to be read: a block ends with it.
bool ends_block(const Insn& insn);

}  // namespace dualvm::interp
