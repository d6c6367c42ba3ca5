#include "dualvm/cpu_model.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace dualvm {

namespace {

constexpr u32 bit(unsigned n) { return u32{1} << n; }

// Leaf 1 (SDM vol. 2A, tables 3-10 and 3-11).
constexpr u32 kLeaf1Edx = bit(0) |   // FPU
                          bit(1) |   // VME
                          bit(2) |   // DE
                          bit(3) |   // PSE
                          bit(4) |   // TSC
                          bit(5) |   // MSR
                          bit(6) |   // PAE
                          bit(7) |   // MCE
                          bit(8) |   // CX8
                          bit(9) |   // APIC
                          bit(11) |  // SEP
                          bit(12) |  // MTRR
                          bit(13) |  // PGE
                          bit(14) |  // MCA
                          bit(15) |  // CMOV
                          bit(16) |  // PAT
                          bit(17) |  // PSE-36
                          bit(19) |  // CLFSH
                          bit(23) |  // MMX
                          bit(24) |  // FXSR
                          bit(25) |  // SSE
                          bit(26);   // SSE2
constexpr u32 kLeaf1Ecx = bit(0) |   // SSE3
                          bit(9) |   // SSSE3
                          bit(13) |  // CMPXCHG16B
                          bit(17) |  // PCID
                          bit(19) |  // SSE4.1
                          bit(20) |  // SSE4.2
                          bit(22) |  // MOVBE
                          bit(23);   // POPCNT
// Leaf 7 (SDM vol. 2A, table 3-8): the x87 data pointer is stored with unmasked exceptions only; FCS and FDS are 0.
constexpr u32 kLeaf7Ebx = bit(0) |   // FSGSBASE
                          bit(1) |   // IA32_TSC_ADJUST
                          bit(6) |   // FDP_EXCPTN_ONLY
                          bit(7) |   // SMEP
                          bit(10) |  // INVPCID
                          bit(13) |  // Deprecates FPU CS and FPU DS values
                          bit(20);   // SMAP
constexpr u32 kLeaf7Ecx = bit(2);    // UMIP
// Leaf 80000001h.
constexpr u32 kExtended1Edx = bit(11) |  // SYSCALL
                              bit(20) |  // NX
                              bit(26) |  // pages of 1 GiB
                              bit(27) |  // RDTSCP
                              bit(29);   // LM
constexpr u32 kExtended1Ecx = bit(0);    // LAHF/SAHF in 64-bit mode

constexpr u32 kMaxBasicLeaf = 7, kMaxExtendedLeaf = 0x80000008;

CpuidResult vendor(u32 max_leaf, const char* twelve) {
    CpuidResult r{.eax = max_leaf};
    std::memcpy(&r.ebx, twelve, 4);
    std::memcpy(&r.edx, twelve + 4, 4);
    std::memcpy(&r.ecx, twelve + 8, 4);
    return r;
}

CpuidResult brand(const char* text48, unsigned part) {
    std::array<char, 48> padded{};
    std::strncpy(padded.data(), text48, padded.size() - 1);
    CpuidResult r;
    std::memcpy(&r.eax, padded.data() + part * 16, 4);
    std::memcpy(&r.ebx, padded.data() + part * 16 + 4, 4);
    std::memcpy(&r.ecx, padded.data() + part * 16 + 8, 4);
    std::memcpy(&r.edx, padded.data() + part * 16 + 12, 4);
    return r;
}

}  // namespace

CpuModel make_standard_model() {
    constexpr const char* kBrand = "dualvm64 virtual CPU";
    CpuModel m;
    m.name_ = "dualvm64";
    auto add = [&](u32 leaf, CpuidResult r) { m.leaves_.push_back({.leaf = leaf, .result = r}); };
    add(0, vendor(kMaxBasicLeaf, "GenuineIntel"));
    add(1,
        {.eax = CpuModel::kSignature, .ebx = 8u << 8 /* CLFLUSH: 8 quadwords */, .ecx = kLeaf1Ecx, .edx = kLeaf1Edx});
    add(2, {.eax = 1});  // AL is always 1, how often to ask; no descriptors of caches
    for (u32 leaf = 3; leaf < kMaxBasicLeaf; ++leaf) add(leaf, {});
    m.leaves_.push_back({.leaf = kMaxBasicLeaf, .has_subleaf = true, .result = {.ebx = kLeaf7Ebx, .ecx = kLeaf7Ecx}});
    add(0x80000000, {.eax = kMaxExtendedLeaf});
    add(0x80000001, {.ecx = kExtended1Ecx, .edx = kExtended1Edx});
    for (u32 part = 0; part < 3; ++part) add(0x80000002 + part, brand(kBrand, part));
    for (u32 leaf = 0x80000005; leaf <= 0x80000007; ++leaf) add(leaf, {});
    add(0x80000008, {.eax = 48u << 8 | m.physical_address_bits()});
    return m;
}

const CpuModel& CpuModel::standard() {
    static const CpuModel model = make_standard_model();
    return model;
}

CpuidResult CpuModel::cpuid(u32 leaf, u32 subleaf, const CpuFile& cpu) const {
    auto find = [&](u32 wanted) {
        return std::find_if(leaves_.begin(), leaves_.end(), [&](const CpuidLeaf& l) {
            return l.leaf == wanted && (!l.has_subleaf || l.subleaf == subleaf);
        });
    };
    auto found = find(leaf);
    if (found == leaves_.end()) {
        // "If a value entered for CPUID.EAX is higher than the maximum input value ... the data for the highest basic
        // information leaf is returned", and ECX counts as it does there. An unknown subleaf of a known leaf answers
        // zeros.
        const bool known = leaf <= kMaxBasicLeaf || (leaf >= 0x80000000 && leaf <= kMaxExtendedLeaf);
        if (!known) found = find(kMaxBasicLeaf);
        if (known || found == leaves_.end()) return {};
    }
    CpuidResult r = found->result;
    if (leaf == 1 && (cpu.control.cr4 & cr4::OSXSAVE) != 0) r.ecx |= bit(27);
    constexpr u64 kApicEnable = 1u << 11;
    if (leaf == 1 && (cpu.msrs.apic_base & kApicEnable) == 0) r.edx &= ~bit(9);
    // SYSCALL exists in 64-bit mode only, and is "always enumerated as 0 outside" (SDM vol. 2A, table 3-8).
    if (leaf == 0x80000001 && cpu.mode() != CpuMode::Long64) r.edx &= ~bit(11);
    return r;
}

namespace {

// What CPUID must say for these bits of CR4 to be any.
struct Cr4Feature {
    u64 bits;
    u32 leaf;
    u32 CpuidResult::*word;
    u32 mask;
};
constexpr std::array<Cr4Feature, 9> kCr4Features = {{
    {cr4::VME | cr4::PVI, 1, &CpuidResult::edx, bit(1)},
    {cr4::OSFXSR, 1, &CpuidResult::edx, bit(24)},
    {cr4::OSXMMEXCPT, 1, &CpuidResult::edx, bit(25)},
    {cr4::PCIDE, 1, &CpuidResult::ecx, bit(17)},
    {cr4::OSXSAVE, 1, &CpuidResult::ecx, bit(26)},
    {cr4::FSGSBASE, 7, &CpuidResult::ebx, bit(0)},
    {cr4::SMEP, 7, &CpuidResult::ebx, bit(7)},
    {cr4::SMAP, 7, &CpuidResult::ebx, bit(20)},
    {cr4::UMIP, 7, &CpuidResult::ecx, bit(2)},
}};

}  // namespace

u64 CpuModel::cr4_valid_bits() const {
    u64 bits = cr4::TSD | cr4::DE | cr4::PSE | cr4::PAE | cr4::MCE | cr4::PGE | cr4::PCE;
    for (const CpuidLeaf& l : leaves_) {
        for (const Cr4Feature& f : kCr4Features) {
            if (l.leaf == f.leaf && (l.result.*f.word & f.mask) != 0) bits |= f.bits;
        }
    }
    return bits;
}

CpuModel CpuModel::without_cr4_bits(u64 bits) const {
    constexpr Cr4Feature kInvpcid{cr4::PCIDE, 7, &CpuidResult::ebx, bit(10)};  // of no use without PCIDs
    CpuModel less = *this;
    const auto take_away = [&](CpuidLeaf& l, const Cr4Feature& f) {
        if (l.leaf == f.leaf && (bits & f.bits) != 0) l.result.*f.word &= ~f.mask;
    };
    for (CpuidLeaf& l : less.leaves_) {
        for (const Cr4Feature& f : kCr4Features) take_away(l, f);
        take_away(l, kInvpcid);
    }
    return less;
}

u64 CpuModel::efer_valid_bits() const { return efer::SCE | efer::LME | efer::LMA | efer::NXE; }

namespace {

struct PlainMsr {
    u32 index;
    u64 MsrGroup::*field;
};
constexpr std::array<PlainMsr, 15> kPlainMsrs = {{
    {msr::Star, &MsrGroup::star},
    {msr::Lstar, &MsrGroup::lstar},
    {msr::Cstar, &MsrGroup::cstar},
    {msr::Sfmask, &MsrGroup::sfmask},
    {msr::KernelGsBase, &MsrGroup::kernel_gs_base},
    {msr::SysenterCs, &MsrGroup::sysenter_cs},
    {msr::SysenterEsp, &MsrGroup::sysenter_esp},
    {msr::SysenterEip, &MsrGroup::sysenter_eip},
    {msr::Pat, &MsrGroup::pat},
    {msr::MiscEnable, &MsrGroup::misc_enable},
    {msr::TscAux, &MsrGroup::tsc_aux},
    {msr::MtrrDefType, &MsrGroup::mtrr_def_type},
    {msr::McgStatus, &MsrGroup::mcg_status},
    {msr::McgCtl, &MsrGroup::mcg_ctl},
    {msr::TscAdjust, &MsrGroup::tsc_adjust},
}};

}  // namespace

u64* plain_msr(CpuFile& cpu, u32 index) {
    for (const PlainMsr& m : kPlainMsrs) {
        if (m.index == index) return &(cpu.msrs.*m.field);
    }
    if (index >= msr::MtrrPhysBase0 && index <= msr::MtrrPhysMask7) {
        return &cpu.msrs.mtrr_variable[index - msr::MtrrPhysBase0];
    }
    if (index == msr::MtrrFix64k) return cpu.msrs.mtrr_fixed.data();
    if (index == msr::MtrrFix16k8 || index == msr::MtrrFix16kA) {
        return &cpu.msrs.mtrr_fixed[1 + index - msr::MtrrFix16k8];
    }
    if (index >= msr::MtrrFix4kC0 && index <= msr::MtrrFix4kF8) {
        return &cpu.msrs.mtrr_fixed[3 + index - msr::MtrrFix4kC0];
    }
    if (index >= msr::MachineCheck0 && index <= msr::MachineCheckLast) {
        return &cpu.msrs.machine_check[index - msr::MachineCheck0];
    }
    return nullptr;
}

const std::vector<u32>& plain_msr_indexes() {
    static const std::vector<u32> indexes = [] {
        std::vector<u32> all;
        for (const PlainMsr& m : kPlainMsrs) all.push_back(m.index);
        for (u32 i = msr::MtrrPhysBase0; i <= msr::MtrrPhysMask7; ++i) all.push_back(i);
        all.insert(all.end(), {msr::MtrrFix64k, msr::MtrrFix16k8, msr::MtrrFix16kA});
        for (u32 i = msr::MtrrFix4kC0; i <= msr::MtrrFix4kF8; ++i) all.push_back(i);
        for (u32 i = msr::MachineCheck0; i <= msr::MachineCheckLast; ++i) all.push_back(i);
        return all;
    }();
    return indexes;
}

}  // namespace dualvm
