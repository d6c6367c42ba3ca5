// One CPU model for both engines: which CPUID leaves the guest sees and which MSRs it can touch.
//
// The interpreter answers CPUID and RDMSR from it; the KVM engine hands it to KVM_SET_CPUID2, intersected with what the
// host has, and reports the difference. What it advertises is what works: a feature bit is set here in the same commit
// that makes its instructions work in interp/.
#pragma once

#include <optional>
#include <vector>

#include "dualvm/cpu_file.h"

namespace dualvm {

struct CpuidResult {
    u32 eax = 0, ebx = 0, ecx = 0, edx = 0;
    bool operator==(const CpuidResult&) const = default;
};

struct CpuidLeaf {
    u32 leaf = 0, subleaf = 0;
    bool has_subleaf = false;  // ECX selects; otherwise the leaf answers for every ECX
    CpuidResult result;
};

class CpuModel {
public:
    // Family 6, model 26, stepping 3: the first generation with all of x86-64-v2. CPUID leaf 1 says so, and RESET does.
    static constexpr u32 kSignature = 0x000106a3;

    // The default model, "dualvm64".
    static const CpuModel& standard();

    const std::string& name() const { return name_; }
    const std::vector<CpuidLeaf>& leaves() const { return leaves_; }

    // CPUID as an instruction (SDM vol. 2A, "CPUID"): out-of-range leaves answer as the highest basic leaf does; bits
    // that mirror the CPU's state (OSXSAVE, APIC) or hold in 64-bit mode only (SYSCALL) are filled in from `cpu`.
    CpuidResult cpuid(u32 leaf, u32 subleaf, const CpuFile& cpu) const;

    // Bits of CR4 and EFER that may be set with this model; setting another is #GP(0).
    u64 cr4_valid_bits() const;
    u64 efer_valid_bits() const;
    unsigned physical_address_bits() const { return 40; }
    // This model without the features that these bits of CR4 turn on: neither CPUID nor CR4 knows them.
    CpuModel without_cr4_bits(u64 bits) const;

private:
    friend CpuModel make_standard_model();
    std::string name_;
    std::vector<CpuidLeaf> leaves_;
};

// MSR numbers (SDM vol. 4; AMD APM vol. 2, appendix A).
namespace msr {
inline constexpr u32 P5McAddr = 0, P5McType = 1, Tsc = 0x10, ApicBase = 0x1b, BiosUpdateTrigger = 0x79,
                     BiosSignature = 0x8b, MtrrCap = 0xfe, SysenterCs = 0x174, SysenterEsp = 0x175, SysenterEip = 0x176,
                     McgCap = 0x179, McgStatus = 0x17a, McgCtl = 0x17b, PlatformId = 0x17, TscAdjust = 0x3b,
                     DebugCtl = 0x1d9, MachineCheck0 = 0x400, MachineCheckLast = 0x40f, MiscEnable = 0x1a0,
                     MtrrPhysBase0 = 0x200, MtrrPhysMask7 = 0x20f, MtrrFix64k = 0x250, MtrrFix16k8 = 0x258,
                     MtrrFix16kA = 0x259, MtrrFix4kC0 = 0x268, MtrrFix4kF8 = 0x26f, Pat = 0x277, MtrrDefType = 0x2ff,
                     Efer = 0xc0000080, Star = 0xc0000081, Lstar = 0xc0000082, Cstar = 0xc0000083, Sfmask = 0xc0000084,
                     FsBase = 0xc0000100, GsBase = 0xc0000101, KernelGsBase = 0xc0000102, TscAux = 0xc0000103;
}

// A field of CpuFile that is nothing but an MSR's value: both engines transfer them by this table. nullptr if `index`
// is not such a register (EFER, FS.base and GS.base have side effects and homes of their own; TSC is time).
u64* plain_msr(CpuFile& cpu, u32 index);
// All indexes for which plain_msr() answers.
const std::vector<u32>& plain_msr_indexes();

}  // namespace dualvm
