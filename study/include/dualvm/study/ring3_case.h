// One case of differential testing: a few instructions at ring 3, what they start from, and what came of them.
//
// Every runner, be it an engine or the host's CPU itself, shows the case the same small world: a page of code that can
// be executed and read, and a window of data pages; nothing around them is mapped. Code ends by running into HLT, which
// is #GP at ring 3, so that each case ends with an exception, and all of them are told the same way.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "dualvm/cpu_file.h"

namespace dualvm::study {

namespace ring3 {
inline constexpr u64 kCode = 0x10000000, kCodeBytes = kPageSize;
// Pages that can be written, and one that can only be read; behind it, and before the first, there is nothing.
inline constexpr u64 kWindow = 0x20000000, kWritablePages = 2, kReadablePages = 3;
inline constexpr u64 kWritableBytes = kWritablePages * kPageSize, kWindowBytes = kReadablePages * kPageSize;
// Bases of FS and GS in 64-bit code, so that a segment override shows; in 32-bit code both are null.
inline constexpr u64 kFsBase = kWindow + 0x340, kGsBase = kWindow - 0x12345678;
// Linux's selectors for user programs; our own world has the same ones.
inline constexpr u16 kCode32 = 0x23, kData = 0x2b, kCode64 = 0x33;
inline constexpr u8 kFiller = 0xf4;  // HLT
// Flags that a case may start with; IF is always set and IOPL is 0, as for every user program.
inline constexpr u64 kFreeFlags = rflags::Arithmetic | rflags::TF | rflags::DF | rflags::NT | rflags::AC | rflags::ID;
}  // namespace ring3

using Window = std::array<u8, ring3::kWindowBytes>;

struct Case {
    CpuMode mode = CpuMode::Long64;  // or Compatibility32
    std::vector<u8> code;
    u64 code_offset = 0;  // of its first byte in the code page
    std::array<u64, 16> gpr{};
    u64 rflags = rflags::Fixed1 | rflags::IF;
    FpuGroup fpu;
    Window window{};

    bool long_mode() const { return mode == CpuMode::Long64; }
    u64 code_begin() const { return ring3::kCode + code_offset; }
    u64 code_end() const { return code_begin() + code.size(); }
    bool operator==(const Case&) const = default;
};

enum class Ending : u8 {
    Exception,   // vector, error code and CR2 say which
    NoEnd,       // it ran longer than it was given
    SystemCall,  // it called the operating system, which answers as it likes: nothing to compare
    Lost,        // the runner failed; `text` says how
};

struct CaseResult {
    Ending ending = Ending::Exception;
    u8 vector = 0;
    u32 error_code = 0;  // 0 for vectors without one
    u64 cr2 = 0;         // of a page fault, else 0
    GeneralGroup general;
    FpuGroup fpu;
    Window window{};
    std::string text;

    // It came to the HLT that fills the code page around the code: no exception of the case's own.
    bool reached_filler(const Case& of) const;
};

// What of a runner's results is not the CPU's own: a host's KVM may answer some of ring 3's questions itself.
struct Distrust {
    u64 flags = 0;            // bits of RFLAGS that get lost on the way into or out of a case
    u32 vectors = 0;          // exceptions (bits 1 << vector) that it may raise in place of others, or swallow
    bool selectors = false;   // segment registers hold other selectors than they should
    bool wild_stack = false;  // a case cannot begin with an RSP that is not canonical: the host refuses to go there
    bool int1 = false;        // INT1's #DB comes with RIP at the instruction, not behind it (SDM vol. 2A, "INT n")
    // The CPU is of another maker than the CPU model is, which where the manuals allow both does as its maker's do.
    bool other_maker = false;
};

// What runs cases. One of them is what is being tested, the others are oracles.
class Runner {
public:
    virtual ~Runner() = default;
    virtual const char* name() const = 0;  // "native", "kvm", "interp"
    virtual bool can_run(CpuMode mode) const = 0;
    virtual Distrust distrust() const { return {}; }
    virtual void run(const Case& c, CaseResult& result) = 0;
};

// What can be said of every oracle: it runs cases of which the CPU's answer is known.
Distrust common_distrust(Runner& oracle);

// The canonical address with the same low 48 bits (SDM vol. 1, 3.3.7.1).
constexpr u64 canonical_form(u64 address) { return static_cast<u64>(static_cast<i64>(address << 16) >> 16); }

// Is the host's CPU of another maker than the CPU model, which is Intel's?
bool host_is_of_other_maker();

}  // namespace dualvm::study
