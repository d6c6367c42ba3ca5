#include "features.h"

#include <array>
#include <string_view>
#include <utility>

namespace dualvm::study {

namespace {

struct SetFeature {
    std::string_view isa_set;  // Zydis's name; of AVX-512 sets, what stands before the vector length
    CpuidFeature feature;
};

// Leaves 1, 7, 0Dh, 14h: SDM vol. 2A, "CPUID", tables 3-8 to 3-11. Leaves 80000001h, 80000008h, 8000001Fh: AMD APM
// vol. 3, appendix E. Leaf C0000001h: VIA. An instruction set that is not here is part of every x86-64 CPU; so is
// PREFETCHWT1, for 0F 0D is a hint that a CPU which knows nothing of it ignores.
constexpr std::array kFeatures = {
    SetFeature{"X87", {"FPU", 1, 0, 'd', 0}},
    SetFeature{"FCMOV", {"CMOV", 1, 0, 'd', 15}},
    SetFeature{"CMOV", {"CMOV", 1, 0, 'd', 15}},
    SetFeature{"CLFSH", {"CLFSH", 1, 0, 'd', 19}},
    SetFeature{"PENTIUMMMX", {"MMX", 1, 0, 'd', 23}},
    SetFeature{"FXSAVE", {"FXSR", 1, 0, 'd', 24}},
    SetFeature{"FXSAVE64", {"FXSR", 1, 0, 'd', 24}},
    SetFeature{"SSE", {"SSE", 1, 0, 'd', 25}},
    SetFeature{"SSEMXCSR", {"SSE", 1, 0, 'd', 25}},
    SetFeature{"SSE_PREFETCH", {"SSE", 1, 0, 'd', 25}},
    SetFeature{"SSE2", {"SSE2", 1, 0, 'd', 26}},
    SetFeature{"SSE2MMX", {"SSE2", 1, 0, 'd', 26}},
    SetFeature{"SSE3", {"SSE3", 1, 0, 'c', 0}},
    SetFeature{"SSE3X87", {"SSE3", 1, 0, 'c', 0}},
    SetFeature{"PCLMULQDQ", {"PCLMULQDQ", 1, 0, 'c', 1}},
    SetFeature{"MONITOR", {"MONITOR", 1, 0, 'c', 3}},
    SetFeature{"VTX", {"VMX", 1, 0, 'c', 5}},
    SetFeature{"VMFUNC", {"VMX", 1, 0, 'c', 5}},
    SetFeature{"TDX", {"VMX", 1, 0, 'c', 5}},
    SetFeature{"SMX", {"SMX", 1, 0, 'c', 6}},
    SetFeature{"SSSE3", {"SSSE3", 1, 0, 'c', 9}},
    SetFeature{"SSSE3MMX", {"SSSE3", 1, 0, 'c', 9}},
    SetFeature{"FMA", {"FMA", 1, 0, 'c', 12}},
    SetFeature{"CMPXCHG16B", {"CMPXCHG16B", 1, 0, 'c', 13}},
    SetFeature{"SSE4", {"SSE4.1", 1, 0, 'c', 19}},
    SetFeature{"SSE42", {"SSE4.2", 1, 0, 'c', 20}},
    SetFeature{"MOVBE", {"MOVBE", 1, 0, 'c', 22}},
    SetFeature{"POPCNT", {"POPCNT", 1, 0, 'c', 23}},
    SetFeature{"AES", {"AESNI", 1, 0, 'c', 25}},
    SetFeature{"XSAVE", {"XSAVE", 1, 0, 'c', 26}},
    SetFeature{"AVX", {"AVX", 1, 0, 'c', 28}},
    SetFeature{"AVXAES", {"AVX", 1, 0, 'c', 28}},
    SetFeature{"F16C", {"F16C", 1, 0, 'c', 29}},
    SetFeature{"RDRAND", {"RDRAND", 1, 0, 'c', 30}},
    SetFeature{"RDWRFSGS", {"FSGSBASE", 7, 0, 'b', 0}},
    SetFeature{"SGX", {"SGX", 7, 0, 'b', 2}},
    SetFeature{"SGX_ENCLV", {"SGX", 7, 0, 'b', 2}},
    SetFeature{"BMI1", {"BMI1", 7, 0, 'b', 3}},
    SetFeature{"AVX2", {"AVX2", 7, 0, 'b', 5}},
    SetFeature{"AVX2GATHER", {"AVX2", 7, 0, 'b', 5}},
    SetFeature{"BMI2", {"BMI2", 7, 0, 'b', 8}},
    SetFeature{"INVPCID", {"INVPCID", 7, 0, 'b', 10}},
    SetFeature{"RTM", {"RTM", 7, 0, 'b', 11}},
    SetFeature{"MPX", {"MPX", 7, 0, 'b', 14}},
    SetFeature{"AVX512F", {"AVX512F", 7, 0, 'b', 16}},
    SetFeature{"AVX512DQ", {"AVX512DQ", 7, 0, 'b', 17}},
    SetFeature{"RDSEED", {"RDSEED", 7, 0, 'b', 18}},
    SetFeature{"ADOX_ADCX", {"ADX", 7, 0, 'b', 19}},
    SetFeature{"SMAP", {"SMAP", 7, 0, 'b', 20}},
    SetFeature{"AVX512_IFMA", {"AVX512_IFMA", 7, 0, 'b', 21}},
    SetFeature{"CLFLUSHOPT", {"CLFLUSHOPT", 7, 0, 'b', 23}},
    SetFeature{"CLWB", {"CLWB", 7, 0, 'b', 24}},
    SetFeature{"AVX512PF", {"AVX512PF", 7, 0, 'b', 26}},
    SetFeature{"AVX512ER", {"AVX512ER", 7, 0, 'b', 27}},
    SetFeature{"AVX512CD", {"AVX512CD", 7, 0, 'b', 28}},
    SetFeature{"SHA", {"SHA", 7, 0, 'b', 29}},
    SetFeature{"AVX512BW", {"AVX512BW", 7, 0, 'b', 30}},
    SetFeature{"AVX512_VBMI", {"AVX512_VBMI", 7, 0, 'c', 1}},
    SetFeature{"PKU", {"PKU", 7, 0, 'c', 3}},
    SetFeature{"WAITPKG", {"WAITPKG", 7, 0, 'c', 5}},
    SetFeature{"AVX512_VBMI2", {"AVX512_VBMI2", 7, 0, 'c', 6}},
    SetFeature{"CET", {"CET_SS", 7, 0, 'c', 7}},
    SetFeature{"GFNI", {"GFNI", 7, 0, 'c', 8}},
    SetFeature{"AVX_GFNI", {"GFNI", 7, 0, 'c', 8}},
    SetFeature{"AVX512_GFNI", {"GFNI", 7, 0, 'c', 8}},
    SetFeature{"VAES", {"VAES", 7, 0, 'c', 9}},
    SetFeature{"AVX512_VAES", {"VAES", 7, 0, 'c', 9}},
    SetFeature{"VPCLMULQDQ", {"VPCLMULQDQ", 7, 0, 'c', 10}},
    SetFeature{"AVX512_VPCLMULQDQ", {"VPCLMULQDQ", 7, 0, 'c', 10}},
    SetFeature{"AVX512_VNNI", {"AVX512_VNNI", 7, 0, 'c', 11}},
    SetFeature{"AVX512_BITALG", {"AVX512_BITALG", 7, 0, 'c', 12}},
    SetFeature{"AVX512_VPOPCNTDQ", {"AVX512_VPOPCNTDQ", 7, 0, 'c', 14}},
    SetFeature{"RDPID", {"RDPID", 7, 0, 'c', 22}},
    SetFeature{"KEYLOCKER", {"KL", 7, 0, 'c', 23}},
    SetFeature{"KEYLOCKER_WIDE", {"KL", 7, 0, 'c', 23}},
    SetFeature{"CLDEMOTE", {"CLDEMOTE", 7, 0, 'c', 25}},
    SetFeature{"MOVDIR", {"MOVDIRI", 7, 0, 'c', 27}},
    SetFeature{"ENQCMD", {"ENQCMD", 7, 0, 'c', 29}},
    SetFeature{"AVX512_4VNNIW", {"AVX512_4VNNIW", 7, 0, 'd', 2}},
    SetFeature{"AVX512_4FMAPS", {"AVX512_4FMAPS", 7, 0, 'd', 3}},
    SetFeature{"UINTR", {"UINTR", 7, 0, 'd', 5}},
    SetFeature{"AVX512_VP2INTERSECT", {"AVX512_VP2INTERSECT", 7, 0, 'd', 8}},
    SetFeature{"SERIALIZE", {"SERIALIZE", 7, 0, 'd', 14}},
    SetFeature{"TSX_LDTRK", {"TSXLDTRK", 7, 0, 'd', 16}},
    SetFeature{"PCONFIG", {"PCONFIG", 7, 0, 'd', 18}},
    SetFeature{"AMX_BF16", {"AMX-BF16", 7, 0, 'd', 22}},
    SetFeature{"AVX512_FP16", {"AVX512_FP16", 7, 0, 'd', 23}},
    SetFeature{"AMX_TILE", {"AMX-TILE", 7, 0, 'd', 24}},
    SetFeature{"AMX_INT8", {"AMX-INT8", 7, 0, 'd', 25}},
    SetFeature{"AVX_VNNI", {"AVX-VNNI", 7, 1, 'a', 4}},
    SetFeature{"AVX512_BF16", {"AVX512_BF16", 7, 1, 'a', 5}},
    SetFeature{"HRESET", {"HRESET", 7, 1, 'a', 22}},
    SetFeature{"XSAVEOPT", {"XSAVEOPT", 0xd, 1, 'a', 0}},
    SetFeature{"XSAVEC", {"XSAVEC", 0xd, 1, 'a', 1}},
    SetFeature{"XSAVES", {"XSAVES", 0xd, 1, 'a', 3}},
    SetFeature{"PT", {"PTWRITE", 0x14, 0, 'b', 4}},
    SetFeature{"SVM", {"SVM", 0x80000001, 0, 'c', 2}},
    SetFeature{"LZCNT", {"LZCNT", 0x80000001, 0, 'c', 5}},
    SetFeature{"SSE4A", {"SSE4A", 0x80000001, 0, 'c', 6}},
    SetFeature{"XOP", {"XOP", 0x80000001, 0, 'c', 11}},
    SetFeature{"LWP", {"LWP", 0x80000001, 0, 'c', 15}},
    SetFeature{"FMA4", {"FMA4", 0x80000001, 0, 'c', 16}},
    SetFeature{"TBM", {"TBM", 0x80000001, 0, 'c', 21}},
    SetFeature{"MONITORX", {"MONITORX", 0x80000001, 0, 'c', 29}},
    SetFeature{"RDTSCP", {"RDTSCP", 0x80000001, 0, 'd', 27}},
    SetFeature{"LONGMODE", {"LM", 0x80000001, 0, 'd', 29}},
    SetFeature{"AMD3DNOW", {"3DNOW", 0x80000001, 0, 'd', 31}},
    SetFeature{"CLZERO", {"CLZERO", 0x80000008, 0, 'b', 0}},
    SetFeature{"AMD_INVLPGB", {"INVLPGB", 0x80000008, 0, 'b', 3}},
    SetFeature{"RDPRU", {"RDPRU", 0x80000008, 0, 'b', 4}},
    SetFeature{"MCOMMIT", {"MCOMMIT", 0x80000008, 0, 'b', 8}},
    SetFeature{"SNP", {"SEV-SNP", 0x8000001f, 0, 'a', 4}},
    SetFeature{"PADLOCK_RNG", {"PadLock RNG", 0xc0000001, 0, 'd', 2}},
    SetFeature{"PADLOCK_ACE", {"PadLock ACE", 0xc0000001, 0, 'd', 6}},
    SetFeature{"PADLOCK_PHE", {"PadLock PHE", 0xc0000001, 0, 'd', 10}},
    SetFeature{"PADLOCK_PMM", {"PadLock PMM", 0xc0000001, 0, 'd', 12}},
};

// Instructions with a CPUID bit of their own in a set that Zydis names for the processor that first had them.
struct MnemonicFeature {
    ZydisMnemonic mnemonic;
    CpuidFeature feature;
};
constexpr std::array kMnemonics = {
    MnemonicFeature{ZYDIS_MNEMONIC_RDTSC, {"TSC", 1, 0, 'd', 4}},
    MnemonicFeature{ZYDIS_MNEMONIC_RDMSR, {"MSR", 1, 0, 'd', 5}},
    MnemonicFeature{ZYDIS_MNEMONIC_WRMSR, {"MSR", 1, 0, 'd', 5}},
    MnemonicFeature{ZYDIS_MNEMONIC_CMPXCHG8B, {"CX8", 1, 0, 'd', 8}},
    MnemonicFeature{ZYDIS_MNEMONIC_SYSENTER, {"SEP", 1, 0, 'd', 11}},
    MnemonicFeature{ZYDIS_MNEMONIC_SYSEXIT, {"SEP", 1, 0, 'd', 11}},
    MnemonicFeature{ZYDIS_MNEMONIC_FCOMI, {"CMOV", 1, 0, 'd', 15}},
    MnemonicFeature{ZYDIS_MNEMONIC_FCOMIP, {"CMOV", 1, 0, 'd', 15}},
    MnemonicFeature{ZYDIS_MNEMONIC_FUCOMI, {"CMOV", 1, 0, 'd', 15}},
    MnemonicFeature{ZYDIS_MNEMONIC_FUCOMIP, {"CMOV", 1, 0, 'd', 15}},
    MnemonicFeature{ZYDIS_MNEMONIC_MOVDIR64B, {"MOVDIR64B", 7, 0, 'c', 28}},
    MnemonicFeature{ZYDIS_MNEMONIC_ENDBR32, {"CET_IBT", 7, 0, 'd', 20}},
    MnemonicFeature{ZYDIS_MNEMONIC_ENDBR64, {"CET_IBT", 7, 0, 'd', 20}},
    MnemonicFeature{ZYDIS_MNEMONIC_SKINIT, {"SKINIT", 0x80000001, 0, 'c', 12}},
    MnemonicFeature{ZYDIS_MNEMONIC_SYSCALL, {"SYSCALL", 0x80000001, 0, 'd', 11}},
    MnemonicFeature{ZYDIS_MNEMONIC_SYSRET, {"SYSCALL", 0x80000001, 0, 'd', 11}},
};
constexpr CpuidFeature kLahf64 = {"LAHF64", 0x80000001, 0, 'c', 0};

// "AVX512BW_128N" is "AVX512BW" with vectors of 128 bits.
std::string_view without_vector_length(std::string_view isa_set) {
    if (!isa_set.starts_with("AVX512")) return isa_set;
    for (std::string_view end : {"_128N", "_128", "_256", "_512", "_SCALAR", "_KOP"}) {
        if (isa_set.ends_with(end)) return isa_set.substr(0, isa_set.size() - end.size());
    }
    return isa_set;
}

const CpuidFeature* feature_of_set(std::string_view isa_set) {
    isa_set = without_vector_length(isa_set);
    for (const SetFeature& row : kFeatures) {
        if (row.isa_set == isa_set) return &row.feature;
    }
    return nullptr;
}

}  // namespace

const CpuidFeature* feature_of(const ZydisDecodedInstruction& instruction) {
    for (const MnemonicFeature& row : kMnemonics) {
        if (row.mnemonic == instruction.mnemonic) return &row.feature;
    }
    // LAHF and SAHF were left out of the first 64-bit CPUs and came back with a bit of their own.
    if (instruction.meta.isa_set == ZYDIS_ISA_SET_LAHF) {
        return instruction.machine_mode == ZYDIS_MACHINE_MODE_LONG_64 ? &kLahf64 : nullptr;
    }
    return feature_of_set(ZydisISASetGetString(instruction.meta.isa_set));
}

bool advertises(const CpuModel& model, const CpuidFeature* feature) {
    if (feature == nullptr) return true;
    // Beyond the last leaf of its range, CPUID answers with another leaf's bits.
    const u32 range = feature->leaf < 0x80000000 ? 0 : 0x80000000;
    CpuFile in_64bit_mode;  // where all is advertised that there is
    in_64bit_mode.control = {.cr0 = cr0::PE | cr0::PG, .efer = efer::LME | efer::LMA};
    in_64bit_mode.segments.seg[CS].access = Segment::L;
    if (feature->leaf > model.cpuid(range, 0, in_64bit_mode).eax) return false;
    const CpuidResult r = model.cpuid(feature->leaf, feature->subleaf, in_64bit_mode);
    const u32 value = feature->reg == 'a' ? r.eax : feature->reg == 'b' ? r.ebx : feature->reg == 'c' ? r.ecx : r.edx;
    return (value >> feature->bit & 1) != 0;
}

void read_as_model(ZydisDecoder& decoder, const CpuModel& model) {
    constexpr std::array<std::pair<ZydisDecoderMode, CpuidFeature>, 6> kNewMeanings = {{
        {ZYDIS_DECODER_MODE_TZCNT, {"BMI1", 7, 0, 'b', 3}},
        {ZYDIS_DECODER_MODE_MPX, {"MPX", 7, 0, 'b', 14}},
        {ZYDIS_DECODER_MODE_CET, {"CET_SS", 7, 0, 'c', 7}},
        {ZYDIS_DECODER_MODE_CLDEMOTE, {"CLDEMOTE", 7, 0, 'c', 25}},
        {ZYDIS_DECODER_MODE_LZCNT, {"LZCNT", 0x80000001, 0, 'c', 5}},
        {ZYDIS_DECODER_MODE_WBNOINVD, {"WBNOINVD", 0x80000008, 0, 'b', 9}},
    }};
    for (const auto& [meaning, feature] : kNewMeanings) {
        ZydisDecoderEnableMode(&decoder, meaning, advertises(model, &feature) ? ZYAN_TRUE : ZYAN_FALSE);
    }
}

}  // namespace dualvm::study
