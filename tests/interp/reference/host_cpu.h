// The host CPU as the oracle: runs one instruction, given as bytes, in this process and reports what it did.
//
// Data lies in a window of four pages at the same linear address in the host's process and in the guest: two that can
// be written, one that can only be read, one (and everything around) that is not mapped. So faults can be compared too:
// a signal handler catches them and takes vector, error code and registers from the signal's context.
#pragma once

#include <array>
#include <optional>
#include <span>

#include "dualvm/cpu_file.h"

namespace dualvm::interp {

// Where both CPUs have the instruction, where its branches go to, and the data window.
inline constexpr u64 kCodeAddress = 0x10000000, kBranchTarget = kCodeAddress + 0x80;
inline constexpr u64 kWindow = 0x20000000, kWritablePages = 2, kReadablePages = 3;
inline constexpr u64 kWindowBytes = kReadablePages * kPageSize;

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
    // Maps code page and window, once for the process. nullptr if the addresses are taken.
    static HostCpu* get();

    // The readable pages of the window; the read-only one is filled once and for all by get().
    u8* window() const { return reinterpret_cast<u8*>(kWindow); }

    // 64-bit mode. `rflags` may hold arithmetic flags, DF, NT and ID.
    HostResult run64(std::span<const u8> insn, const std::array<u64, 16>& gpr, u64 rflags);
    // Compatibility mode with flat 32-bit segments. Upper register halves mean nothing.
    HostResult run32(std::span<const u8> insn, const std::array<u64, 16>& gpr, u64 rflags);
    // Does this kernel let a 64-bit program jump to 32-bit code?
    bool can_run32();

private:
    HostCpu() = default;
    bool map();
    void put(u64 address, std::span<const u8> bytes);
    void put_jump(u64 address, const void* target);
    HostResult finish(void (*enter)());
};

}  // namespace dualvm::interp
