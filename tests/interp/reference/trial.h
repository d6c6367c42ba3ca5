// Trials: one random instruction with random operands, done by the host CPU and by the reference implementation.
#pragma once

#include <Zydis/Zydis.h>

#include <random>
#include <string>
#include <vector>

#include "host_cpu.h"
#include "test_cpu.h"

namespace dualvm::interp {

enum class Bits : u8 { Mode32, Mode64 };

// An instruction by mnemonic and operands. Operands, separated by spaces: r register, m memory, rm either, i immediate,
// each of the trial's size or, with a digit behind it (r1, rm4, m16), of so many bytes; i8 an immediate byte; cl; one.
struct Form {
    ZydisMnemonic mnemonic;
    const char* operands;
    std::vector<unsigned> sizes;  // bytes, of which each trial takes one
};

// What both CPUs start from.
struct Trial {
    std::vector<u8> insn;
    std::array<u64, 16> gpr{};
    u64 rflags = 0;
    ZydisMnemonic mnemonic = ZYDIS_MNEMONIC_INVALID;
    unsigned size = 0;   // of the first operand
    unsigned count = 0;  // of a shift or rotate, masked; 0 for others
    bool memory = false;
    u64 address = 0;         // of the memory operand
    bool reads_two = false;  // CMPS: the manual does not say which of its two places is read, and may fault, first
};

class TrialMaker {
public:
    TrialMaker(u64 seed, Bits bits) : random_(seed), bits_(bits) {}

    // False if this choice of operands has no encoding.
    bool make(const Form& form, Trial& trial);
    // An instruction given as bytes, with random registers and flags.
    void make_raw(std::span<const u8> insn, Trial& trial);

    u64 below(u64 n) { return random_() % n; }
    // Small numbers, sign boundaries and random bits, in turn.
    u64 value();
    // Somewhere in the window, now and then at its edges so that an access runs over into what is not mapped.
    u64 window_address();

private:
    void start(Trial& trial);
    bool add_operand(const std::string& token, Trial& trial, ZydisEncoderRequest& request);
    ZydisEncoderOperand reg(unsigned size);
    ZydisEncoderOperand memory(unsigned size, Trial& trial);
    void bound_bit_offset(Trial& trial, const ZydisEncoderRequest& request);
    void make_equal_sometimes(Trial& trial, const ZydisEncoderRequest& request);

    std::mt19937_64 random_;
    Bits bits_;
};

// Runs the trial on both CPUs. Empty: they agree in registers, memory, defined flags and fault; else what differs.
std::string compare(TestCpu& cpu, HostCpu& host, const Trial& trial, Bits bits);

// The flags that the manual leaves undefined behind `trial` (SDM vol. 2, "Flags Affected").
u64 undefined_flags(const Trial& trial);

}  // namespace dualvm::interp
