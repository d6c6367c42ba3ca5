#include "state_transfer.h"

#include <fmt/format.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "dualvm/cpu_model.h"
#include "guest_translations.h"
#include "host_kind.h"
#include "kvm_layout.h"
#include "refused_bits.h"

namespace dualvm::kvm {

namespace {

using MsrList = KvmList<kvm_msr_entry>;

kvm_msr_entry msr_entry(u32 index, u64 value = 0) { return {.index = index, .reserved = 0, .data = value}; }

// KVM stops at the first MSR that it does not know, or whose value it refuses, and says how many came before it.
Expected<void> transfer_msrs(int fd, unsigned long request, MsrList& list, const char* name) {
    const int done = ioctl(fd, request, list.data());
    if (done == static_cast<int>(list.size())) return {};
    if (done < 0) return ioctl_error(name);
    const kvm_msr_entry& refused = list.entries()[done];
    errno = EINVAL;
    return ioctl_error(fmt::format("{} (MSR {:x}h, value {:#x})", name, refused.index, refused.data).c_str());
}

Expected<void> transfer(int fd, unsigned long request, void* data, const char* name) {
    if (ioctl(fd, request, data) < 0) return ioctl_error(name);
    return {};
}

}  // namespace

void from_kvm(GeneralGroup& to, const kvm_regs& from) {
    to.gpr = {from.rax, from.rcx, from.rdx, from.rbx, from.rsp, from.rbp, from.rsi, from.rdi,
              from.r8,  from.r9,  from.r10, from.r11, from.r12, from.r13, from.r14, from.r15};
    to.rip = from.rip;
    to.rflags = from.rflags;
}

kvm_regs to_kvm(const GeneralGroup& from) {
    const auto& g = from.gpr;
    return {.rax = g[RAX],
            .rbx = g[RBX],
            .rcx = g[RCX],
            .rdx = g[RDX],
            .rsi = g[RSI],
            .rdi = g[RDI],
            .rsp = g[RSP],
            .rbp = g[RBP],
            .r8 = g[R8],
            .r9 = g[R9],
            .r10 = g[R10],
            .r11 = g[R11],
            .r12 = g[R12],
            .r13 = g[R13],
            .r14 = g[R14],
            .r15 = g[R15],
            .rip = from.rip,
            .rflags = from.rflags};
}

void from_kvm(Segment& to, const kvm_segment& from) {
    to.base = from.base;
    to.limit = from.limit;
    to.selector = from.selector;
    u32 a = from.type & Segment::kTypeMask;
    a |= from.s ? Segment::S : 0;
    a |= (u32{from.dpl} << Segment::DplShift) & Segment::DplMask;
    a |= from.present ? Segment::P : 0;
    a |= from.avl ? Segment::AVL : 0;
    a |= from.l ? Segment::L : 0;
    a |= from.db ? Segment::DB : 0;
    a |= from.g ? Segment::G : 0;
    // A null segment: VT-x marks it unusable, AMD-V and the emulators not present. Its DPL, for SS, is the CPL.
    if (from.unusable || !from.present) a = Segment::Unusable | (a & Segment::DplMask);
    to.access = a;
}

kvm_segment to_kvm(const Segment& from) {
    kvm_segment to{};
    to.base = from.base;
    to.limit = from.limit;
    to.selector = from.selector;
    to.type = static_cast<u8>(from.type());
    to.s = from.has(Segment::S);
    to.dpl = static_cast<u8>(from.dpl());
    to.present = from.has(Segment::P);
    to.avl = from.has(Segment::AVL);
    to.l = from.has(Segment::L);
    to.db = from.has(Segment::DB);
    to.g = from.has(Segment::G);
    to.unusable = from.has(Segment::Unusable);
    return to;
}

Expected<StateTransfer> StateTransfer::create(const KvmDevice& device, const KvmVm& vm, KvmVcpu& vcpu) {
    StateTransfer t;
    t.shares_registers_ = (vm.capability(KVM_CAP_SYNC_REGS) & KVM_SYNC_X86_REGS) != 0;
    t.has_sregs2_ = vm.capability(KVM_CAP_SREGS2) != 0;
    t.nested_paging_ = nested_paging(host_kind());
    t.has_xcrs_ = device.capability(KVM_CAP_XCRS) != 0;
    if (t.shares_registers_) {
        vcpu.run().kvm_valid_regs = KVM_SYNC_X86_REGS;
        auto got = transfer(vcpu.fd(), KVM_GET_REGS, &vcpu.run().s.regs.regs, "KVM_GET_REGS");
        if (!got) return tl::unexpected(got.error());
    }
    // The machine-check banks that the interpreter's guests have (interp/src/reference/msr.cc). KVM's own have no
    // IA32_MCG_CTL, and KVM would refuse what a kernel has written there (SDM vol. 3B, 15.3.1.1). Where KVM gives
    // others, it has its own.
    u64 mcg_cap = 4 | u64{1} << 8;
    ioctl(vcpu.fd(), KVM_X86_SETUP_MCE, &mcg_cap);
    // KVM_GET_MSR_INDEX_LIST leaves the MTRRs out; asking for them tells. KVM stops at the first that it does not know.
    const auto& wanted = plain_msr_indexes();
    for (std::size_t next = 0; next < wanted.size(); ++next) {
        MsrList rest(wanted.size() - next);
        for (std::size_t i = next; i < wanted.size(); ++i) rest.add(msr_entry(wanted[i]));
        const int known = ioctl(vcpu.fd(), kGetMsrs, rest.data());
        if (known < 0) return ioctl_error("KVM_GET_MSRS");
        for (int i = 0; i < known; ++i) t.msrs_.push_back(wanted[next++]);
    }
    return t;
}

Expected<void> StateTransfer::pull(KvmVcpu& vcpu, CpuFile& cpu, Groups groups) {
    Expected<void> ok;
    if (any(groups & Groups::General)) ok = pull_general(vcpu, cpu);
    if (ok && any(groups & (Groups::Segments | Groups::Control))) ok = pull_system(vcpu, cpu, groups);
    if (ok && any(groups & Groups::Msrs)) ok = pull_msrs(vcpu, cpu);
    if (ok && any(groups & Groups::Fpu)) ok = pull_fpu(vcpu, cpu);
    if (ok && any(groups & Groups::Debug)) ok = pull_debug(vcpu, cpu);
    if (ok && any(groups & Groups::Events)) ok = pull_events(vcpu, cpu);
    return ok;
}

Expected<void> StateTransfer::push(KvmVcpu& vcpu, const CpuFile& cpu, Groups groups) {
    // System registers first: what the others may be depends on them. Events last, for the same reason.
    Expected<void> ok;
    if (any(groups & (Groups::Segments | Groups::Control))) ok = push_system(vcpu, cpu, groups);
    if (ok && any(groups & Groups::General)) ok = push_general(vcpu, cpu);
    if (ok && any(groups & Groups::Msrs)) ok = push_msrs(vcpu, cpu);
    if (ok && any(groups & Groups::Fpu)) ok = push_fpu(vcpu, cpu);
    if (ok && any(groups & Groups::Debug)) ok = push_debug(vcpu, cpu);
    if (ok && any(groups & Groups::Events)) ok = push_events(vcpu, cpu);
    return ok;
}

Expected<void> StateTransfer::pull_general(KvmVcpu& vcpu, CpuFile& cpu) const {
    kvm_regs regs{};
    if (shares_registers_) {
        regs = vcpu.run().s.regs.regs;  // as of the last exit: no system call
    } else if (auto got = transfer(vcpu.fd(), KVM_GET_REGS, &regs, "KVM_GET_REGS"); !got) {
        return got;
    }
    from_kvm(cpu.general, regs);
    return {};
}

Expected<void> StateTransfer::push_general(KvmVcpu& vcpu, const CpuFile& cpu) const {
    kvm_regs regs = to_kvm(cpu.general);
    if (shares_registers_) vcpu.run().s.regs.regs = regs;
    return transfer(vcpu.fd(), KVM_SET_REGS, &regs, "KVM_SET_REGS");
}

// --- segments and control registers ---------------------------------------------------------------------------------

namespace {

// kvm_sregs and kvm_sregs2 have the same fields under the same names but for the last ones.
template <class Sregs>
void from_sregs(CpuFile& cpu, const Sregs& from, Groups groups) {
    if (any(groups & Groups::Segments)) {
        auto& seg = cpu.segments.seg;
        from_kvm(seg[ES], from.es);
        from_kvm(seg[CS], from.cs);
        from_kvm(seg[SS], from.ss);
        from_kvm(seg[DS], from.ds);
        from_kvm(seg[FS], from.fs);
        from_kvm(seg[GS], from.gs);
        from_kvm(cpu.segments.ldtr, from.ldt);
        from_kvm(cpu.segments.tr, from.tr);
        cpu.segments.gdtr = {.base = from.gdt.base, .limit = from.gdt.limit};
        cpu.segments.idtr = {.base = from.idt.base, .limit = from.idt.limit};
    }
    if (any(groups & Groups::Control)) {
        ControlGroup& c = cpu.control;
        c.cr0 = from.cr0;
        c.cr2 = from.cr2;
        c.cr3 = from.cr3;
        c.cr4 = from.cr4;
        c.cr8 = from.cr8;
        c.efer = from.efer;
    }
}

template <class Sregs>
void to_sregs(Sregs& to, const CpuFile& cpu, Groups groups) {
    if (any(groups & Groups::Segments)) {
        const auto& seg = cpu.segments.seg;
        to.es = to_kvm(seg[ES]);
        to.cs = to_kvm(seg[CS]);
        to.ss = to_kvm(seg[SS]);
        to.ds = to_kvm(seg[DS]);
        to.fs = to_kvm(seg[FS]);
        to.gs = to_kvm(seg[GS]);
        to.ldt = to_kvm(cpu.segments.ldtr);
        to.tr = to_kvm(cpu.segments.tr);
        to.gdt.base = cpu.segments.gdtr.base;
        to.gdt.limit = cpu.segments.gdtr.limit;
        to.idt.base = cpu.segments.idtr.base;
        to.idt.limit = cpu.segments.idtr.limit;
    }
    if (any(groups & Groups::Control)) {
        const ControlGroup& c = cpu.control;
        to.cr0 = c.cr0;
        to.cr2 = c.cr2;
        to.cr3 = c.cr3;
        to.cr4 = c.cr4;
        to.cr8 = c.cr8;
        to.efer = c.efer;
    }
    // Outside of IA-32e mode CPUs ignore CS.L (SDM vol. 3A, 3.4.5); KVM takes it for 64-bit code, and refuses that.
    if ((to.efer & efer::LMA) == 0) to.cs.l = 0;
}

// Some hosts' KVM cannot give a guest 32-bit paging: it says nothing, and turns paging off.
Expected<void> paging_is_kept(KvmVcpu& vcpu, const CpuFile& cpu) {
    if ((cpu.control.cr0 & cr0::PG) == 0 || (cpu.control.efer & efer::LMA) != 0) return {};
    kvm_sregs sregs{};
    if (auto got = transfer(vcpu.fd(), KVM_GET_SREGS, &sregs, "KVM_GET_SREGS"); !got) return got;
    if ((sregs.cr0 & cr0::PG) != 0) return {};
    return fail(ExitStatus::EngineUnavailable,
                "KVM_SET_SREGS has not turned on 32-bit paging, which this host's KVM lacks (see 'dualvm probe'); use "
                "--engine=interp");
}

template <class Sregs>
Expected<void> set_sregs(KvmVcpu& vcpu, unsigned long request, Sregs& sregs, const char* name) {
    auto set = transfer(vcpu.fd(), request, &sregs, name);
    if (set) return set;
    const u64 bits = refused_cr4_bits(vcpu.fd(), sregs.cr4);
    if (bits == 0) return set;
    return fail(ExitStatus::EngineUnavailable,
                fmt::format("{} has refused CR4 {:#x} for its bits {:#x}, features which this host's KVM lacks (see "
                            "'dualvm probe'); use --engine=interp",
                            name, sregs.cr4, bits));
}

bool pae_paging(const CpuFile& cpu) {
    return (cpu.control.cr0 & cr0::PG) && (cpu.control.cr4 & cr4::PAE) && !(cpu.control.efer & efer::LMA);
}

}  // namespace

void to_kvm(kvm_sregs& to, const CpuFile& from, Groups groups) { to_sregs(to, from, groups); }

Expected<void> StateTransfer::pull_system(KvmVcpu& vcpu, CpuFile& cpu, Groups groups) const {
    const bool control = any(groups & Groups::Control);
    if (has_sregs2_) {
        kvm_sregs2 sregs{};
        if (auto got = transfer(vcpu.fd(), KVM_GET_SREGS2, &sregs, "KVM_GET_SREGS2"); !got) return got;
        from_sregs(cpu, sregs, groups);
        const bool valid = (sregs.flags & KVM_SREGS2_FLAGS_PDPTRS_VALID) != 0;
        for (unsigned i = 0; control && i < 4; ++i) cpu.control.pdpte[i] = valid ? sregs.pdptrs[i] : 0;
    } else {
        kvm_sregs sregs{};
        if (auto got = transfer(vcpu.fd(), KVM_GET_SREGS, &sregs, "KVM_GET_SREGS"); !got) return got;
        from_sregs(cpu, sregs, groups);
    }
    if (!control || !has_xcrs_) return {};
    kvm_xcrs xcrs{};
    if (auto got = transfer(vcpu.fd(), KVM_GET_XCRS, &xcrs, "KVM_GET_XCRS"); !got) return got;
    for (u32 i = 0; i < xcrs.nr_xcrs; ++i) {
        if (xcrs.xcrs[i].xcr == 0) cpu.control.xcr0 = xcrs.xcrs[i].value;
    }
    return {};
}

void StateTransfer::complete_pdptes(CpuFile& cpu, const VMem& vmem) const {
    if (has_sregs2_ || !pae_paging(cpu)) return;
    const u64 table = cpu.control.cr3 & 0xffffffe0;
    for (unsigned i = 0; i < cpu.control.pdpte.size(); ++i) {
        if (!vmem.read_value(table + 8 * i, cpu.control.pdpte[i])) cpu.control.pdpte[i] = 0;
    }
}

Expected<void> StateTransfer::push_system(KvmVcpu& vcpu, const CpuFile& cpu, Groups groups) const {
    const bool control = any(groups & Groups::Control);
    // Read first: what belongs to a group that is not pushed stays as it is.
    if (has_sregs2_) {
        kvm_sregs2 sregs{};
        if (auto got = transfer(vcpu.fd(), KVM_GET_SREGS2, &sregs, "KVM_GET_SREGS2"); !got) return got;
        to_sregs(sregs, cpu, groups);
        if (control && pae_paging(cpu)) {
            sregs.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
            std::copy(cpu.control.pdpte.begin(), cpu.control.pdpte.end(), sregs.pdptrs);
        } else if (control) {
            sregs.flags = 0;
        }
        if (control && nested_paging_) static_cast<void>(forget_translations(vcpu, sregs));  // the next tells of errors
        if (auto set = set_sregs(vcpu, KVM_SET_SREGS2, sregs, "KVM_SET_SREGS2"); !set) return set;
    } else {
        kvm_sregs sregs{};
        if (auto got = transfer(vcpu.fd(), KVM_GET_SREGS, &sregs, "KVM_GET_SREGS"); !got) return got;
        to_sregs(sregs, cpu, groups);
        // Setting it would queue an interrupt; those are the events' business.
        std::memset(sregs.interrupt_bitmap, 0, sizeof sregs.interrupt_bitmap);
        if (control && nested_paging_) static_cast<void>(forget_translations(vcpu, sregs));
        if (auto set = set_sregs(vcpu, KVM_SET_SREGS, sregs, "KVM_SET_SREGS"); !set) return set;
    }
    if (!control) return {};
    if (auto kept = paging_is_kept(vcpu, cpu); !kept) return kept;
    vcpu.run().cr8 = cpu.control.cr8;  // without an APIC in the kernel, KVM_RUN takes CR8 from here
    if (!has_xcrs_) return {};
    kvm_xcrs xcrs{};
    xcrs.nr_xcrs = 1;
    xcrs.xcrs[0].value = cpu.control.xcr0;
    return transfer(vcpu.fd(), KVM_SET_XCRS, &xcrs, "KVM_SET_XCRS");
}

// --- MSRs -----------------------------------------------------------------------------------------------------------

Expected<void> StateTransfer::pull_msrs(KvmVcpu& vcpu, CpuFile& cpu) const {
    MsrList list(msrs_.size() + 2);
    list.add(msr_entry(msr::Tsc));
    list.add(msr_entry(msr::ApicBase));
    for (u32 index : msrs_) list.add(msr_entry(index));
    if (auto got = transfer_msrs(vcpu.fd(), kGetMsrs, list, "KVM_GET_MSRS"); !got) return got;
    cpu.msrs.tsc = list.entries()[0].data;
    cpu.msrs.apic_base = list.entries()[1].data;
    for (std::size_t i = 0; i < msrs_.size(); ++i) *plain_msr(cpu, msrs_[i]) = list.entries()[i + 2].data;
    return {};
}

namespace {

// IA32_MCi_CTL: any set of errors to report may be written (SDM vol. 3B, 15.3.2.1). KVM takes none or all, and has no
// errors to report.
u64 as_kvm_takes_it(u32 index, u64 value) {
    const bool control = index >= msr::MachineCheck0 && index <= msr::MachineCheckLast && index % 4 == 0;
    return control && value != 0 ? ~u64{0} : value;
}

}  // namespace

Expected<void> StateTransfer::push_msrs(KvmVcpu& vcpu, const CpuFile& cpu) const {
    MsrList list(msrs_.size() + 2);
    CpuFile copy = cpu;
    list.add(msr_entry(msr::Tsc, cpu.msrs.tsc));
    list.add(msr_entry(msr::ApicBase, cpu.msrs.apic_base));
    for (u32 index : msrs_) list.add(msr_entry(index, as_kvm_takes_it(index, *plain_msr(copy, index))));
    return transfer_msrs(vcpu.fd(), kSetMsrs, list, "KVM_SET_MSRS");
}

// --- x87 and vector registers: the XSAVE area (SDM vol. 1, 13.4) ----------------------------------------------------

namespace {

constexpr std::size_t kXstateBv = 512, kYmmHigh = 576;
enum : u64 { kX87 = 1, kSse = 2, kAvx = 4 };

template <class T>
T get(const u8* area, std::size_t at) {
    T value;
    std::memcpy(&value, area + at, sizeof value);
    return value;
}
template <class T>
void put(u8* area, std::size_t at, T value) {
    std::memcpy(area + at, &value, sizeof value);
}

}  // namespace

void from_kvm(FpuGroup& to, const XsaveArea& xsave) {
    const auto* area = reinterpret_cast<const u8*>(xsave.region);
    const auto present = get<u64>(area, kXstateBv);
    FpuGroup fpu;  // a component that is not present is in its initial state
    fpu.fcw = 0x37f;
    fpu.ftw = 0;
    if (present & kX87) {
        fpu.fcw = get<u16>(area, 0);
        fpu.fsw = get<u16>(area, 2);
        fpu.ftw = get<u8>(area, 4);
        fpu.fop = get<u16>(area, 6);
        fpu.fip = get<u64>(area, 8);
        fpu.fdp = get<u64>(area, 16);
        const unsigned top = (fpu.fsw >> 11) & 7;
        for (unsigned i = 0; i < 8; ++i) {
            X87Register& r = fpu.st[(top + i) & 7];
            r.significand = get<u64>(area, 32 + 16 * i);
            r.sign_exponent = get<u16>(area, 40 + 16 * i);
        }
    }
    fpu.mxcsr = get<u32>(area, 24);
    for (std::size_t i = 0; i < 16; ++i) {
        if (present & kSse) std::memcpy(fpu.vector[i].bytes.data(), area + 160 + 16 * i, 16);
        if (present & kAvx) std::memcpy(fpu.vector[i].bytes.data() + 16, area + kYmmHigh + 16 * i, 16);
    }
    to = fpu;
}

void to_kvm(XsaveArea& xsave, const FpuGroup& fpu) {
    auto* area = reinterpret_cast<u8*>(xsave.region);
    put(area, 0, fpu.fcw);
    put(area, 2, fpu.fsw);
    put(area, 4, fpu.ftw);
    put(area, 6, fpu.fop);
    put(area, 8, fpu.fip);
    put(area, 16, fpu.fdp);
    put(area, 24, fpu.mxcsr);
    const unsigned top = (fpu.fsw >> 11) & 7;
    for (unsigned i = 0; i < 8; ++i) {
        const X87Register& r = fpu.st[(top + i) & 7];
        put(area, 32 + 16 * i, r.significand);
        put(area, 40 + 16 * i, r.sign_exponent);
    }
    bool upper_halves = false;
    for (std::size_t i = 0; i < 16; ++i) {
        const auto& bytes = fpu.vector[i].bytes;
        std::memcpy(area + 160 + 16 * i, bytes.data(), 16);
        std::memcpy(area + kYmmHigh + 16 * i, bytes.data() + 16, 16);
        upper_halves = upper_halves || std::any_of(bytes.begin() + 16, bytes.end(), [](u8 b) { return b != 0; });
    }
    // Components that are all zero are marked as being in their initial state: a guest without AVX cannot have another.
    const u64 others = get<u64>(area, kXstateBv) & ~u64{kX87 | kSse | kAvx};
    put(area, kXstateBv, others | kX87 | kSse | (upper_halves ? u64{kAvx} : 0));
}

Expected<void> StateTransfer::pull_fpu(KvmVcpu& vcpu, CpuFile& cpu) {
    XsaveArea xsave{};
    if (auto got = transfer(vcpu.fd(), kGetXsave, &xsave, "KVM_GET_XSAVE"); !got) return got;
    from_kvm(cpu.fpu, xsave);
    return {};
}

Expected<void> StateTransfer::push_fpu(KvmVcpu& vcpu, const CpuFile& cpu) {
    XsaveArea xsave{};  // read first: it may hold components that FpuGroup has no place for (AVX-512, PKRU)
    if (auto got = transfer(vcpu.fd(), kGetXsave, &xsave, "KVM_GET_XSAVE"); !got) return got;
    to_kvm(xsave, cpu.fpu);
    return transfer(vcpu.fd(), kSetXsave, &xsave, "KVM_SET_XSAVE");
}

// --- debug registers ---------------------------------------------------------------------------------------------

Expected<void> StateTransfer::pull_debug(KvmVcpu& vcpu, CpuFile& cpu) {
    kvm_debugregs regs{};
    if (auto got = transfer(vcpu.fd(), KVM_GET_DEBUGREGS, &regs, "KVM_GET_DEBUGREGS"); !got) return got;
    std::copy(std::begin(regs.db), std::end(regs.db), cpu.debug.dr.begin());
    cpu.debug.dr6 = regs.dr6;
    cpu.debug.dr7 = regs.dr7;
    return {};
}

Expected<void> StateTransfer::push_debug(KvmVcpu& vcpu, const CpuFile& cpu) {
    kvm_debugregs regs{};
    std::copy(cpu.debug.dr.begin(), cpu.debug.dr.end(), regs.db);
    regs.dr6 = cpu.debug.dr6;
    regs.dr7 = cpu.debug.dr7;
    return transfer(vcpu.fd(), KVM_SET_DEBUGREGS, &regs, "KVM_SET_DEBUGREGS");
}

// --- events ---------------------------------------------------------------------------------------------------------

Expected<void> StateTransfer::pull_events(KvmVcpu& vcpu, CpuFile& cpu) {
    kvm_vcpu_events events{};
    if (auto got = transfer(vcpu.fd(), KVM_GET_VCPU_EVENTS, &events, "KVM_GET_VCPU_EVENTS"); !got) return got;
    EventGroup& e = cpu.events;
    e.exception_pending = events.exception.injected != 0 || events.exception.pending != 0;
    e.exception_vector = e.exception_pending ? events.exception.nr : 0;
    e.exception_has_error_code = e.exception_pending && events.exception.has_error_code != 0;
    e.exception_error_code = e.exception_has_error_code ? events.exception.error_code : 0;
    e.interrupt_accepted = events.interrupt.injected != 0 && events.interrupt.soft == 0;
    e.interrupt_vector = e.interrupt_accepted ? events.interrupt.nr : 0;
    e.interrupt_shadow_sti = (events.interrupt.shadow & KVM_X86_SHADOW_INT_STI) != 0;
    e.interrupt_shadow_mov_ss = (events.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS) != 0;
    // An NMI on its way in has masked others already, but its handler, whose IRET would unmask them, is yet to run: to
    // CpuFile it is one that still waits.
    e.nmi_masked = events.nmi.masked != 0 && events.nmi.injected == 0;
    e.nmi_pending = events.nmi.pending != 0 || events.nmi.injected != 0;
    return {};
}

Expected<void> StateTransfer::push_events(KvmVcpu& vcpu, const CpuFile& cpu) {
    const EventGroup& e = cpu.events;
    kvm_vcpu_events events{};
    events.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
    events.exception.injected = e.exception_pending;
    events.exception.nr = e.exception_vector;
    events.exception.has_error_code = e.exception_has_error_code;
    events.exception.error_code = e.exception_error_code;
    events.interrupt.injected = e.interrupt_accepted;
    events.interrupt.nr = e.interrupt_vector;
    events.interrupt.shadow = static_cast<u8>((e.interrupt_shadow_sti ? KVM_X86_SHADOW_INT_STI : 0) |
                                              (e.interrupt_shadow_mov_ss ? KVM_X86_SHADOW_INT_MOV_SS : 0));
    events.nmi.masked = e.nmi_masked;
    events.nmi.pending = e.nmi_pending;
    return transfer(vcpu.fd(), KVM_SET_VCPU_EVENTS, &events, "KVM_SET_VCPU_EVENTS");
}

}  // namespace dualvm::kvm
