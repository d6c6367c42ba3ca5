#include "dualvm/cpu_file.h"

#include <fmt/format.h>

#include <iterator>

#include "dualvm/cpu_model.h"

namespace dualvm {

namespace {

constexpr std::array<const char*, 16> kGprNames = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                                   "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
constexpr std::array<const char*, kSegmentCount> kSegmentNames = {"es", "cs", "ss", "ds", "fs", "gs"};

}  // namespace

void CpuFile::reset() {
    *this = CpuFile{};
    general.rip = 0xfff0;
    general.rflags = rflags::Fixed1;
    general.gpr[RDX] = CpuModel::kSignature;  // SDM vol. 3A, table 9-1, "EDX"

    constexpr u32 kData = Segment::P | Segment::S | 3;   // read/write, accessed
    constexpr u32 kCode = Segment::P | Segment::S | 11;  // execute/read, accessed
    for (Segment& s : segments.seg) s = {.base = 0, .limit = 0xffff, .access = kData, .selector = 0};
    segments.seg[CS] = {.base = 0xffff0000, .limit = 0xffff, .access = kCode, .selector = 0xf000};
    segments.ldtr = {.base = 0, .limit = 0xffff, .access = Segment::P | 2, .selector = 0};
    segments.tr = {.base = 0, .limit = 0xffff, .access = Segment::P | 11, .selector = 0};
    segments.gdtr = {.base = 0, .limit = 0xffff};
    segments.idtr = {.base = 0, .limit = 0xffff};
    control.cr0 = cr0::CD | cr0::NW | cr0::ET;
    msrs.apic_base = 0xfee00900;  // enabled, of the bootstrap processor (10.4.4)
}

CpuMode CpuFile::mode() const {
    if (!(control.cr0 & cr0::PE)) return CpuMode::Real;
    if (general.rflags & rflags::VM) return CpuMode::Virtual8086;
    const Segment& cs = segments.seg[CS];
    if (control.efer & efer::LMA) {
        if (cs.has(Segment::L)) return CpuMode::Long64;
        return cs.has(Segment::DB) ? CpuMode::Compatibility32 : CpuMode::Compatibility16;
    }
    return cs.has(Segment::DB) ? CpuMode::Protected32 : CpuMode::Protected16;
}

u32 CpuFile::cpl() const {
    if (!(control.cr0 & cr0::PE)) return 0;
    if (general.rflags & rflags::VM) return 3;
    // SS.DPL is CPL in every mode (SDM vol. 3C, 25.4.1 relies on it); SYSRET and far transfers keep it so.
    return segments.seg[SS].dpl();
}

u64 CpuFile::code_base() const { return mode() == CpuMode::Long64 ? 0 : segments.seg[CS].base; }

const char* to_string(CpuMode mode) {
    switch (mode) {
        case CpuMode::Real: return "real";
        case CpuMode::Virtual8086: return "virtual-8086";
        case CpuMode::Protected16: return "protected, 16-bit";
        case CpuMode::Protected32: return "protected, 32-bit";
        case CpuMode::Compatibility16: return "compatibility, 16-bit";
        case CpuMode::Compatibility32: return "compatibility, 32-bit";
        case CpuMode::Long64: return "long, 64-bit";
    }
    return "?";
}

std::string to_text(const CpuFile& cpu) {
    std::string out;
    auto to = std::back_inserter(out);
    for (unsigned i = 0; i < 16; ++i) {
        fmt::format_to(to, "{:<3} {:016x}{}", kGprNames[i], cpu.general.gpr[i], i % 4 == 3 ? '\n' : ' ');
    }
    fmt::format_to(to, "rip {:016x} rflags {:08x} cpl {} mode {}\n", cpu.general.rip, cpu.general.rflags, cpu.cpl(),
                   to_string(cpu.mode()));
    auto segment = [&](const char* name, const Segment& s) {
        fmt::format_to(to, "{:<4} {:04x} base {:016x} limit {:08x} access {:05x}\n", name, s.selector, s.base, s.limit,
                       s.access);
    };
    for (unsigned i = 0; i < kSegmentCount; ++i) segment(kSegmentNames[i], cpu.segments.seg[i]);
    segment("ldtr", cpu.segments.ldtr);
    segment("tr", cpu.segments.tr);
    fmt::format_to(to, "gdtr base {:016x} limit {:04x}   idtr base {:016x} limit {:04x}\n", cpu.segments.gdtr.base,
                   cpu.segments.gdtr.limit, cpu.segments.idtr.base, cpu.segments.idtr.limit);
    const ControlGroup& c = cpu.control;
    fmt::format_to(to, "cr0 {:08x} cr2 {:016x} cr3 {:016x} cr4 {:08x} efer {:04x}\n", c.cr0, c.cr2, c.cr3, c.cr4,
                   c.efer);
    return out;
}

std::string differences(const CpuFile& a, const CpuFile& b, Groups groups) {
    std::string out;
    auto to = std::back_inserter(out);
    auto number = [&](std::string_view name, u64 x, u64 y) {
        if (x != y) fmt::format_to(to, "{}: {:#x} <> {:#x}\n", name, x, y);
    };
    auto segment = [&](std::string_view name, const Segment& x, const Segment& y) {
        number(fmt::format("{}.selector", name), x.selector, y.selector);
        number(fmt::format("{}.base", name), x.base, y.base);
        number(fmt::format("{}.limit", name), x.limit, y.limit);
        number(fmt::format("{}.access", name), x.access, y.access);
    };
    if (any(groups & Groups::General)) {
        for (unsigned i = 0; i < 16; ++i) number(kGprNames[i], a.general.gpr[i], b.general.gpr[i]);
        number("rip", a.general.rip, b.general.rip);
        number("rflags", a.general.rflags, b.general.rflags);
    }
    if (any(groups & Groups::Segments)) {
        for (unsigned i = 0; i < kSegmentCount; ++i) segment(kSegmentNames[i], a.segments.seg[i], b.segments.seg[i]);
        segment("ldtr", a.segments.ldtr, b.segments.ldtr);
        segment("tr", a.segments.tr, b.segments.tr);
        number("gdtr.base", a.segments.gdtr.base, b.segments.gdtr.base);
        number("gdtr.limit", a.segments.gdtr.limit, b.segments.gdtr.limit);
        number("idtr.base", a.segments.idtr.base, b.segments.idtr.base);
        number("idtr.limit", a.segments.idtr.limit, b.segments.idtr.limit);
    }
    if (any(groups & Groups::Control)) {
        const ControlGroup &x = a.control, &y = b.control;
        number("cr0", x.cr0, y.cr0);
        number("cr2", x.cr2, y.cr2);
        number("cr3", x.cr3, y.cr3);
        number("cr4", x.cr4, y.cr4);
        number("cr8", x.cr8, y.cr8);
        number("xcr0", x.xcr0, y.xcr0);
        number("efer", x.efer, y.efer);
        for (unsigned i = 0; i < 4; ++i) number(fmt::format("pdpte{}", i), x.pdpte[i], y.pdpte[i]);
    }
    if (any(groups & Groups::Debug)) {
        for (unsigned i = 0; i < 4; ++i) number(fmt::format("dr{}", i), a.debug.dr[i], b.debug.dr[i]);
        number("dr6", a.debug.dr6, b.debug.dr6);
        number("dr7", a.debug.dr7, b.debug.dr7);
    }
    if (any(groups & Groups::Msrs)) {
        const MsrGroup &x = a.msrs, &y = b.msrs;
        number("star", x.star, y.star);
        number("lstar", x.lstar, y.lstar);
        number("cstar", x.cstar, y.cstar);
        number("sfmask", x.sfmask, y.sfmask);
        number("kernel_gs_base", x.kernel_gs_base, y.kernel_gs_base);
        number("sysenter_cs", x.sysenter_cs, y.sysenter_cs);
        number("sysenter_esp", x.sysenter_esp, y.sysenter_esp);
        number("sysenter_eip", x.sysenter_eip, y.sysenter_eip);
        number("apic_base", x.apic_base, y.apic_base);
        number("pat", x.pat, y.pat);
        number("misc_enable", x.misc_enable, y.misc_enable);
        number("tsc_aux", x.tsc_aux, y.tsc_aux);
        number("mtrr_def_type", x.mtrr_def_type, y.mtrr_def_type);
        for (unsigned i = 0; i < x.mtrr_fixed.size(); ++i)
            number(fmt::format("mtrr_fixed{}", i), x.mtrr_fixed[i], y.mtrr_fixed[i]);
        for (unsigned i = 0; i < x.mtrr_variable.size(); ++i)
            number(fmt::format("mtrr_variable{}", i), x.mtrr_variable[i], y.mtrr_variable[i]);
        number("mcg_status", x.mcg_status, y.mcg_status);
        number("tsc_adjust", x.tsc_adjust, y.tsc_adjust);
        number("mcg_ctl", x.mcg_ctl, y.mcg_ctl);
        for (unsigned i = 0; i < x.machine_check.size(); ++i)
            number(fmt::format("machine_check{}", i), x.machine_check[i], y.machine_check[i]);
    }
    if (any(groups & Groups::Fpu)) {
        const FpuGroup &x = a.fpu, &y = b.fpu;
        number("fcw", x.fcw, y.fcw);
        number("fsw", x.fsw, y.fsw);
        number("ftw", x.ftw, y.ftw);
        number("fop", x.fop, y.fop);
        number("fip", x.fip, y.fip);
        number("fdp", x.fdp, y.fdp);
        number("mxcsr", x.mxcsr, y.mxcsr);
        for (unsigned i = 0; i < 8; ++i) {
            number(fmt::format("r{}.significand", i), x.st[i].significand, y.st[i].significand);
            number(fmt::format("r{}.sign_exponent", i), x.st[i].sign_exponent, y.st[i].sign_exponent);
        }
        for (unsigned i = 0; i < 16; ++i) {
            if (x.vector[i] == y.vector[i]) continue;
            auto hex = [](const VectorRegister& v) {
                std::string s;
                for (auto byte = v.bytes.rbegin(); byte != v.bytes.rend(); ++byte) s += fmt::format("{:02x}", *byte);
                return s;
            };
            fmt::format_to(to, "ymm{}: {} <> {}\n", i, hex(x.vector[i]), hex(y.vector[i]));
        }
    }
    if (any(groups & Groups::Events) && !(a.events == b.events)) fmt::format_to(to, "events in flight differ\n");
    return out;
}

}  // namespace dualvm
