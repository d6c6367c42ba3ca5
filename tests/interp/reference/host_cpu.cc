#include "host_cpu.h"

#include <sys/mman.h>

#include <cstring>
#include <random>

namespace dualvm::interp {

using study::Case;
using study::CaseResult;

HostCpu* HostCpu::get() {
    static HostCpu cpu;
    static const bool made = cpu.make();
    return made ? &cpu : nullptr;
}

bool HostCpu::make() {
    auto native = study::NativeCpu::create();
    if (!native) return false;
    native_ = std::move(*native);
    // Behind the child's back: it has pages of its own there.
    void* wanted = window();
    if (mmap(wanted, kWindowBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) !=
        wanted) {
        return false;
    }
    std::mt19937_64 random(1);
    for (u64 i = 0; i < kWindowBytes; ++i) window()[i] = static_cast<u8>(random());
    return true;
}

HostResult HostCpu::run64(std::span<const u8> insn, const std::array<u64, 16>& gpr, u64 rflags) {
    return run(CpuMode::Long64, insn, gpr, rflags);
}

HostResult HostCpu::run32(std::span<const u8> insn, const std::array<u64, 16>& gpr, u64 rflags) {
    return run(CpuMode::Compatibility32, insn, gpr, rflags);
}

bool HostCpu::can_run32() { return native_->can_run(CpuMode::Compatibility32); }

HostResult HostCpu::run(CpuMode mode, std::span<const u8> insn, const std::array<u64, 16>& gpr, u64 rflags) {
    Case c;
    c.mode = mode;
    c.code.assign(insn.begin(), insn.end());
    c.gpr = gpr;
    c.rflags = rflags | rflags::Fixed1 | rflags::IF;
    c.fpu.fcw = 0x37f;
    c.fpu.ftw = 0;
    std::memcpy(c.window.data(), window(), kWindowBytes);
    CaseResult ended;
    native_->run(c, ended);
    std::memcpy(window(), ended.window.data(), kWindowBytes);
    HostResult result;
    result.gpr = ended.general.gpr;
    result.rflags = ended.general.rflags & ~rflags::RF;
    if (ended.reached_filler(c)) {
        result.jumped = ended.general.rip == kBranchTarget;
    } else {
        result.fault = CaughtFault{.vector = ended.vector, .error_code = ended.error_code, .cr2 = ended.cr2};
    }
    return result;
}

}  // namespace dualvm::interp
