// The host CPU as the oracle for one instruction, given as bytes: study's NativeCpu, in this test's words.
//
// Data lies in a window of four pages at the same linear address in this process, in the child that runs the
// instruction and in the guest: two that can be written, one that can only be read, one (and everything around) that is
// not mapped.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>

#include "dualvm/study/native_cpu.h"

namespace dualvm::interp {

// Where both CPUs have the instruction, where its branches go to, and the data window.
inline constexpr u64 kCodeAddress = study::ring3::kCode, kBranchTarget = kCodeAddress + 0x80;
inline constexpr u64 kWindow = study::ring3::kWindow, kWritablePages = study::ring3::kWritablePages,
                     kReadablePages = study::ring3::kReadablePages, kWindowBytes = study::ring3::kWindowBytes;

struct CaughtFault {
    unsigned vector = 0;
    u32 error_code = 0;
    u64 cr2 = 0;  // of a page fault
};

struct HostResult {
    std::array<u64, 16> gpr{};
    u64 rflags = 0;
    bool jumped = false;  // to kBranchTarget
    std::optional<CaughtFault> fault;
};

class HostCpu {
public:
    // One for the process. nullptr if this host cannot run instructions so, or the window's addresses are taken.
    static HostCpu* get();

    // The readable pages of the window: what the instruction finds there, and what it leaves.
    u8* window() const { return reinterpret_cast<u8*>(kWindow); }

    // 64-bit mode. `rflags` may hold arithmetic flags, DF, NT and ID.
    HostResult run64(std::span<const u8> insn, const std::array<u64, 16>& gpr, u64 rflags);
    // Compatibility mode with flat 32-bit segments. Upper register halves mean nothing.
    HostResult run32(std::span<const u8> insn, const std::array<u64, 16>& gpr, u64 rflags);
    // Does this kernel let a 64-bit program jump to 32-bit code?
    bool can_run32();

private:
    HostCpu() = default;
    bool make();
    HostResult run(CpuMode mode, std::span<const u8> insn, const std::array<u64, 16>& gpr, u64 rflags);

    std::unique_ptr<study::NativeCpu> native_;
};

}  // namespace dualvm::interp
