// The disassembly view: instructions as text, in Intel's or AT&T's syntax. Zydis decodes and formats.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "dualvm/cpu_file.h"

namespace dualvm::study {

enum class Syntax : u8 { Intel, Att };

// One instruction, or one byte that begins none.
struct Line {
    u64 address = 0;            // the instruction pointer at it, an offset into CS outside 64-bit mode
    std::span<const u8> bytes;  // of the instruction; part of what was given to Disassembler::line()
    bool valid = false;
    std::string
        text;  // "mov eax, 0x5"; "(bad)" where the bytes are no instruction, "(cut off)" where they end too early
};

class Disassembler {
public:
    explicit Disassembler(Syntax syntax = Syntax::Intel);
    ~Disassembler();
    Disassembler(Disassembler&&) noexcept;
    Disassembler& operator=(Disassembler&&) noexcept;

    // The instruction at the start of `bytes`, of which there must be at least one; up to 15 are looked at.
    Line line(CpuMode mode, u64 address, std::span<const u8> bytes) const;

private:
    struct Zydis;
    std::unique_ptr<Zydis> zydis_;
};

// "  100020  b8 05 00 00 00        mov eax, 0x5"
std::string to_text(const Line& line);

}  // namespace dualvm::study
