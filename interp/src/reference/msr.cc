// Model-specific registers, time stamp counter and CPUID.
#include "../control_registers.h"
#include "../descriptors.h"
#include "reference.h"

namespace dualvm::interp {

namespace {

// Eight variable ranges, the fixed ranges, write-combining (SDM vol. 3A, 11.11.1).
constexpr u64 kMtrrCap = 8 | 1u << 8 | 1u << 10;

// Machine checks: four banks and a control register for all (SDM vol. 3B, 15.3.1.1). None ever happens.
constexpr u64 kMcgCap = 4 | 1u << 8;

bool in_range(u32 index, u32 first, u32 last) { return index >= first && index <= last; }

// Memory types (SDM vol. 3A, table 11-10); the PAT knows UC- (7) besides.
constexpr bool is_mtrr_type(u64 type) { return type == 0 || type == 1 || (type >= 4 && type <= 6); }
constexpr bool is_pat_type(u64 type) { return is_mtrr_type(type) || type == 7; }

// All eight bytes of `value` must be good.
bool each_byte(u64 value, bool (*good)(u64)) {
    for (unsigned i = 0; i < 8; ++i)
        if (!good((value >> (8 * i)) & 0xff)) return false;
    return true;
}

// Values that a register does not take; writing one is #GP(0).
bool value_is_valid(const State& s, u32 index, u64 value) {
    const u64 address_reserved = ~((u64{1} << s.machine->cpu_model().physical_address_bits()) - 1);
    switch (index) {
        case msr::Lstar:
        case msr::Cstar:
        case msr::KernelGsBase:
        case msr::FsBase:
        case msr::GsBase:
        case msr::SysenterEsp:
        case msr::SysenterEip:
        case msr::BiosUpdateTrigger: return is_canonical(value);
        case msr::Sfmask:
        case msr::TscAux: return value >> 32 == 0;
        case msr::Pat: return each_byte(value, is_pat_type);
        case msr::MtrrDefType: return (value & ~u64{0xcff}) == 0 && is_mtrr_type(value & 0xff);
        // Global enable (11), BSP (8) and the address.
        case msr::ApicBase: return (value & (address_reserved | 0x6ff)) == 0;
        default: break;
    }
    // Of a bank's registers only the first is written with other than zeros (15.3.2).
    if (in_range(index, msr::MachineCheck0, msr::MachineCheckLast)) return (index & 3) == 0 || value == 0;
    if (in_range(index, msr::MtrrPhysBase0, msr::MtrrPhysMask7)) {
        const bool is_mask = (index & 1) != 0;
        if (is_mask) return (value & (address_reserved | 0x7ff)) == 0;
        return (value & (address_reserved | 0xf00)) == 0 && is_mtrr_type(value & 0xff);
    }
    const bool fixed_range = index == msr::MtrrFix64k || in_range(index, msr::MtrrFix16k8, msr::MtrrFix16kA) ||
                             in_range(index, msr::MtrrFix4kC0, msr::MtrrFix4kF8);
    return !fixed_range || each_byte(value, is_mtrr_type);
}

// False: there is no such register.
bool read_msr(State& s, u32 index, u64& value) {
    CpuFile& cpu = s.cpu;
    switch (index) {
        case msr::Tsc: value = read_tsc(s); return true;
        case msr::ApicBase: value = cpu.msrs.apic_base; return true;
        case msr::Efer: value = cpu.control.efer; return true;
        case msr::FsBase: value = cpu.segments.seg[FS].base; return true;
        case msr::GsBase: value = cpu.segments.seg[GS].base; return true;
        case msr::MtrrCap: value = kMtrrCap; return true;
        case msr::McgCap: value = kMcgCap; return true;
        case msr::P5McAddr:       // where the Pentium reported machine checks (vol. 4, table 2-2)
        case msr::P5McType:       // ... and none was
        case msr::BiosSignature:  // no microcode update was loaded
        case msr::PlatformId:     // and none is for one platform only
        case msr::DebugCtl:       // neither branch records nor single steps by branches
            value = 0;
            return true;
        default: break;
    }
    const u64* plain = plain_msr(cpu, index);
    if (plain == nullptr) return false;
    value = *plain;
    return true;
}

// False: no such register, it cannot be written, or not with this value.
bool write_msr(State& s, u32 index, u64 value) {
    if (!value_is_valid(s, index, value)) return false;
    CpuFile& cpu = s.cpu;
    switch (index) {
        case msr::Tsc:
            cpu.msrs.tsc_adjust += value - read_tsc(s);
            write_tsc(s, value);
            return true;
        // What it is changed by, the counter is changed by, and the other way round (SDM vol. 3B, 17.17.3).
        case msr::TscAdjust:
            write_tsc(s, read_tsc(s) + value - cpu.msrs.tsc_adjust);
            cpu.msrs.tsc_adjust = value;
            return true;
        case msr::ApicBase:
            cpu.msrs.apic_base = value;
            s.machine->apic_base_changed(value);
            return true;
        case msr::Efer: return write_efer(s, value);
        case msr::FsBase: cpu.segments.seg[FS].base = value; return true;
        case msr::GsBase: cpu.segments.seg[GS].base = value; return true;
        // Written with 0 before CPUID makes the CPU answer with its microcode revision, which is 0 (vol. 3A, 9.11.7).
        case msr::BiosSignature: return true;
        // A microcode update; one that is not for this CPU, as none is, is not loaded, and that is all (9.11.6).
        case msr::BiosUpdateTrigger: return true;
        case msr::DebugCtl: return value == 0;
        default: break;
    }
    u64* plain = plain_msr(cpu, index);
    if (plain == nullptr) return false;
    *plain = value;
    return true;
}

void write_edx_eax(State& s, u64 value) {
    write_gpr(s, RAX, 4, value);
    write_gpr(s, RDX, 4, value >> 32);
}

Flow rdmsr(State& s, const Insn&) {
    u64 value = 0;
    if (s.cpu.cpl() != 0 || !read_msr(s, static_cast<u32>(read_gpr(s, RCX, 4)), value)) return s.raise(GP, 0);
    write_edx_eax(s, value);
    return Flow::Next;
}

Flow wrmsr(State& s, const Insn&) {
    const u64 value = read_gpr(s, RDX, 4) << 32 | read_gpr(s, RAX, 4);
    if (s.cpu.cpl() != 0 || !write_msr(s, static_cast<u32>(read_gpr(s, RCX, 4)), value)) return s.raise(GP, 0);
    return Flow::Jump;
}

bool time_stamp_accessible(State& s) {
    return (s.cpu.control.cr4 & cr4::TSD) == 0 || s.cpu.cpl() == 0 || fault(s, GP, 0);
}

Flow rdtsc(State& s, const Insn&) {
    if (!time_stamp_accessible(s)) return Flow::Fault;
    write_edx_eax(s, read_tsc(s));
    return Flow::Next;
}

Flow rdtscp(State& s, const Insn&) {
    if (!time_stamp_accessible(s)) return Flow::Fault;
    write_edx_eax(s, read_tsc(s));
    write_gpr(s, RCX, 4, s.cpu.msrs.tsc_aux);
    return Flow::Next;
}

// CPUID leaf 0AH offers no performance counters, so every counter number is wrong (SDM vol. 2B, "RDPMC").
Flow rdpmc(State& s, const Insn&) { return s.raise(GP, 0); }

Flow cpuid(State& s, const Insn&) {
    const u32 leaf = static_cast<u32>(read_gpr(s, RAX, 4));
    const u32 subleaf = static_cast<u32>(read_gpr(s, RCX, 4));
    const CpuidResult result = s.machine->cpu_model().cpuid(leaf, subleaf, s.cpu);
    write_gpr(s, RAX, 4, result.eax);
    write_gpr(s, RBX, 4, result.ebx);
    write_gpr(s, RCX, 4, result.ecx);
    write_gpr(s, RDX, 4, result.edx);
    return Flow::Next;
}

}  // namespace

void add_msr_and_cpuid(ReferenceTable& table) {
    table.add(ZYDIS_MNEMONIC_RDMSR, rdmsr);
    table.add(ZYDIS_MNEMONIC_WRMSR, wrmsr);
    table.add(ZYDIS_MNEMONIC_RDTSC, rdtsc);
    table.add(ZYDIS_MNEMONIC_RDTSCP, rdtscp);
    table.add(ZYDIS_MNEMONIC_RDPMC, rdpmc);
    table.add(ZYDIS_MNEMONIC_CPUID, cpuid);
}

}  // namespace dualvm::interp
