#include "assist/user_mode.h"

#include <fmt/format.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "cpuid.h"
#include "exits.h"
#include "guest_translations.h"
#include "host_kind.h"

namespace dualvm::kvm {

namespace {

constexpr u64 kAddress = 0x000ffffffffff000;  // of CR3 and of page table entries
constexpr u64 kUserHalf = u64{1} << 47;

// The state that goes to and fro in kvm_run itself.
constexpr int kShared = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;

constexpr unsigned kDebug = 1, kBreakpoint = 3, kOverflow = 4, kPageFault = 14;  // vectors
constexpr u64 kSingleStep = 1u << 14;                                            // DR6.BS

// What POPF changes at ring 3, and IF (SDM vol. 2B, "POPF").
constexpr u64 kOfPrograms =
    rflags::Arithmetic | rflags::TF | rflags::IF | rflags::DF | rflags::NT | rflags::AC | rflags::ID;

bool is_access(ExitKind kind) {
    return kind == ExitKind::PortRead || kind == ExitKind::PortWrite || kind == ExitKind::MmioRead ||
           kind == ExitKind::MmioWrite;
}

bool canonical(u64 address) { return static_cast<u64>(static_cast<i64>(address << 16) >> 16) == address; }

Expected<void> transfer(int fd, unsigned long request, void* data, const char* name) {
    if (ioctl(fd, request, data) < 0) return ioctl_error(name);
    return {};
}

}  // namespace

UserMode::UserMode(Machine& machine, const KvmDevice& device, KvmVm vm, KvmVcpu vcpu, std::unique_ptr<Shim> shim,
                   bool dirty_log)
    : machine_(machine),
      vm_(std::move(vm)),
      vcpu_(std::move(vcpu)),
      shim_(std::move(shim)),
      slots_(vm_, machine.vmem(), device.capability(KVM_CAP_READONLY_MEM) != 0, dirty_log),
      kicker_(vcpu_.run()),
      watch_(machine.vmem()),
      shadow_paging_(!nested_paging(host_kind())),
      pvm_(host_kind() == HostKind::Pvm) {
    watch_.keep_out(shim_->base(), Shim::kSize);
}

Expected<void> UserMode::check(const KvmDevice& device) {
    if ((device.capability(KVM_CAP_SYNC_REGS) & kShared) != kShared || device.capability(KVM_CAP_IMMEDIATE_EXIT) == 0) {
        return fail(ExitStatus::EngineUnavailable,
                    "KVM here lacks KVM_CAP_SYNC_REGS or KVM_CAP_IMMEDIATE_EXIT, which --assist=kernel needs: "
                    "use --assist=instruction");
    }
    return {};
}

Expected<std::unique_ptr<UserMode>> UserMode::create(Machine& machine, const KvmDevice& device, bool dirty_log) {
    auto vm = KvmVm::create(device);
    if (!vm) return tl::unexpected(vm.error());
    vm->exit_on_emulation_failure();
    auto vcpu = KvmVcpu::create(device, *vm);
    if (!vcpu) return tl::unexpected(vcpu.error());
    // At the end of what the guest's tables can speak of: no RAM is there.
    const u64 base = ((u64{1} << machine.cpu_model().physical_address_bits()) - Shim::kSize) & ~u64{0x1fffff};
    auto shim = Shim::create(base);
    if (!shim) return tl::unexpected(shim.error());
    std::unique_ptr<UserMode> made(
        new UserMode(machine, device, std::move(*vm), std::move(*vcpu), std::move(*shim), dirty_log));
    if (auto started = made->start(device); !started) return tl::unexpected(started.error());
    return made;
}

Expected<void> UserMode::start(const KvmDevice& device) {
    if (auto set = set_cpuid(device, vcpu_, machine_.cpu_model(), nullptr); !set) return set;
    if (auto built = rebuild_slots(); !built) return built;
    kvm_sregs sregs{};
    if (auto got = transfer(vcpu_.fd(), KVM_GET_SREGS, &sregs, "KVM_GET_SREGS"); !got) return got;
    apic_base_ = sregs.apic_base;
    vcpu_.run().kvm_valid_regs = kShared;
    if (auto got = transfer(vcpu_.fd(), kGetXsave, &xsave_, "KVM_GET_XSAVE"); !got) return got;
    from_kvm(fpu_, xsave_);
#ifdef KVM_VCPU_TSC_CTRL
    // The program's time stamp counter is the host's, as the interpreter's is.
    u64 offset = 0;
    kvm_device_attr attribute{};
    attribute.group = KVM_VCPU_TSC_CTRL;
    attribute.attr = KVM_VCPU_TSC_OFFSET;
    attribute.addr = reinterpret_cast<u64>(&offset);
    ioctl(vcpu_.fd(), KVM_SET_DEVICE_ATTR, &attribute);
#endif
    return {};
}

Expected<void> UserMode::rebuild_slots() {
    seen_map_generation_ = machine_.vmem().map_generation();
    watch_.forget();
    if (auto built = slots_.rebuild(); !built) return built;
    return slots_.add_private({.base = shim_->base(), .size = Shim::kSize, .host = shim_->host()});
}

const char* UserMode::refuses(const CpuFile& cpu, const VMem& vmem) {
    const ControlGroup& c = cpu.control;
    const u64 flags = cpu.general.rflags;
    if ((c.cr0 & cr0::PG) == 0 || cpu.mode() != CpuMode::Long64 || cpu.cpl() != 3) return "not 64-bit code at ring 3";
    if ((flags & rflags::TF) != 0) return "single-stepping";
    if ((cpu.debug.dr7 & 0xff) != 0) return "breakpoints";
    if ((flags & (rflags::NT | rflags::AC | rflags::RF | rflags::VIF | rflags::VIP)) != 0) return "flags";
    if ((c.cr0 & (cr0::TS | cr0::EM)) != 0 || (c.cr4 & cr4::OSFXSR) == 0) return "x87 or SSE off";
    if ((c.cr4 & cr4::TSD) != 0) return "RDTSC forbidden";
    if (cpu.msrs.tsc_adjust != 0) return "time stamp counter moved";  // what RDTSC gives here is the host's
    const EventGroup& e = cpu.events;
    if (e.exception_pending || e.interrupt_accepted || e.nmi_pending || e.interrupt_shadow_sti ||
        e.interrupt_shadow_mov_ss) {
        return "an event in flight";
    }
    if (cpu.general.rip >= kUserHalf) return "code in the kernel's half";
    if (!canonical(cpu.general.gpr[RSP])) return "stack pointer not canonical";
    if (!vmem.a20_open()) return "A20 closed";
    return nullptr;
}

UserMode::Result UserMode::failed(std::string text) {
    Result result;
    result.end = End::Failure;
    result.failure.kind = ExitKind::Failure;
    result.failure.rip = vcpu_.run().s.regs.regs.rip;
    result.failure.text = std::move(text);
    return result;
}

Expected<void> UserMode::set_msrs(u64 tsc_aux) {
    KvmList<kvm_msr_entry> list(8);
    auto add = [&](u32 index, u64 value) { list.add({.index = index, .reserved = 0, .data = value}); };
    constexpr u32 kStar = 0xc0000081, kLstar = 0xc0000082, kCstar = 0xc0000083, kSfmask = 0xc0000084,
                  kSysenterCs = 0x174, kTscAux = 0xc0000103;
    add(kStar, u64{Shim::kCode} << 32);
    add(kLstar, shim_->syscall_stub());
    add(kCstar, shim_->syscall_stub());
    add(kSfmask, rflags::TF | rflags::IF | rflags::DF | rflags::IOPL | rflags::NT | rflags::AC);
    add(kSysenterCs, 0);  // SYSENTER is #GP
    add(kTscAux, tsc_aux);
    const int done = ioctl(vcpu_.fd(), kSetMsrs, list.data());
    if (done < 5) return ioctl_error("KVM_SET_MSRS (the shim's)");
    tsc_aux_ = tsc_aux;
    return {};
}

Expected<void> UserMode::put_fpu(const FpuGroup& fpu) {
    if (fpu == fpu_) return {};
    to_kvm(xsave_, fpu);
    fpu_ = fpu;
    return transfer(vcpu_.fd(), kSetXsave, &xsave_, "KVM_SET_XSAVE");
}

Expected<void> UserMode::take_fpu(FpuGroup& fpu) {
    if (auto got = transfer(vcpu_.fd(), kGetXsave, &xsave_, "KVM_GET_XSAVE"); !got) return got;
    from_kvm(fpu_, xsave_);
    fpu = fpu_;
    return {};
}

// Tables, slots and MSRs as the program needs them. False: its tables are not for KVM.
Expected<bool> UserMode::prepare(const CpuFile& cpu) {
    if (machine_.vmem().map_generation() != seen_map_generation_) {
        if (auto built = rebuild_slots(); !built) return tl::unexpected(built.error());
    }
    const u64 guest_root = cpu.control.cr3 & kAddress;
    const TableWatch::Verdict verdict = watch_.before(guest_root);
    bool drop = verdict != TableWatch::Verdict::Known;
    std::optional<Shim::Root> root;
    if (verdict != TableWatch::Verdict::Impossible) {
        root = shim_->root(guest_root, reinterpret_cast<const u64*>(machine_.vmem().host_page(guest_root)));
        if (!root) watch_.forget();
        drop = drop || !root || root->fresh || root->moved;
    }
    translations_stale_ = drop && !shadow_paging_;
    if (drop && shadow_paging_) {
        ++counts_.shadows_dropped;
        if (!slots_.drop_shadows()) return ioctl_error("KVM_SET_USER_MEMORY_REGION, to drop stale shadows,");
    }
    if (!root) return false;
    if (root->moved || cpu.msrs.tsc_aux != tsc_aux_) {
        if (auto set = set_msrs(cpu.msrs.tsc_aux); !set) return tl::unexpected(set.error());
    }
    if (auto put = put_fpu(cpu.fpu); !put) return tl::unexpected(put.error());
    root_ = root->address;
    return true;
}

void UserMode::fill_registers(const CpuFile& cpu) {
    kvm_run& run = vcpu_.run();
    run.s.regs.regs = to_kvm(cpu.general);
    kvm_sregs& s = run.s.regs.sregs;
    s = {};
    to_kvm(s, cpu, Groups::Segments | Groups::Control);
    s.ldt = {};
    s.ldt.unusable = 1;
    s.tr = {};
    s.tr.base = shim_->tss();
    s.tr.limit = Shim::kTssLimit;
    s.tr.selector = Shim::kTask;
    s.tr.type = 11;
    s.tr.present = 1;
    s.gdt.base = shim_->gdt();
    s.gdt.limit = Shim::kGdtLimit;
    s.idt.base = shim_->idt();
    s.idt.limit = Shim::kIdtLimit;
    // An x87 error is #MF here, which ends in the shim; whoever executes that instruction again tells the guest in the
    // way that its CR0.NE asks for (SDM vol. 1, 8.7).
    s.cr0 |= cr0::NE;
    s.cr3 = root_;
    // CR3 has no PCID here; what else the guest has turned on is as it is for its programs, but for what no program can
    // tell, which KVM may not have.
    s.cr4 &= ~(cr4::PCIDE | cr4::SMEP | cr4::SMAP | cr4::MCE);
    s.cr8 = 0;  // without an interrupt of its own there is nothing to hold back
    s.efer |= efer::SCE;
    s.apic_base = apic_base_;
    run.s.regs.events = {};
    run.kvm_dirty_regs = kShared;
}

// A device, reached by the program: KVM has the instruction half done, and may come back with the next part of it.
// False: it came back with something else.
bool UserMode::access(Exit exit) {
    kvm_run& run = vcpu_.run();
    while (is_access(exit.kind)) {
        ++counts_.device_accesses;
        ++counts_.exits[static_cast<std::size_t>(exit.kind)];
        handle_exit(machine_, exit);
        run.immediate_exit = 1;
        const int done = ioctl(vcpu_.fd(), KVM_RUN, 0);
        run.immediate_exit = 0;
        if (done < 0) return errno == EINTR || errno == EAGAIN;
        exit = translate_exit(run);
    }
    return false;
}

// A device that the program has reached may have asked for an interrupt, changed the address map, or written to the
// program's tables, none of which KVM sees.
bool UserMode::device_changed(u64 guest_root) {
    return machine_.attention() || machine_.interrupt_pending() ||
           machine_.vmem().map_generation() != seen_map_generation_ || !watch_.after(guest_root);
}

bool UserMode::at_stub() {
    const auto& registers = vcpu_.run().s.regs;
    return registers.sregs.cs.dpl == 0 && shim_->stub_at(registers.regs.rip).has_value();
}

bool UserMode::code_is(const CpuFile& cpu, u64 rip, std::initializer_list<u8> bytes) const {
    return std::all_of(bytes.begin(), bytes.end(), [&](u8 expected) {
        u8 found = 0;
        const auto at = watch_.translate(cpu.control.cr3, rip++);
        return at && machine_.vmem().read_value(*at, found) && found == expected;
    });
}

// Was the last #DB that of single-stepping? RFLAGS.TF does not tell: POPF may have cleared it, and INT1 has it set.
bool UserMode::take_single_step() {
    kvm_debugregs debug{};
    if (ioctl(vcpu_.fd(), KVM_GET_DEBUGREGS, &debug) < 0 || (debug.dr6 & kSingleStep) == 0) return false;
    debug.dr6 &= ~kSingleStep;  // no CPU does
    ioctl(vcpu_.fd(), KVM_SET_DEBUGREGS, &debug);
    return true;
}

// Traps come behind their instruction (SDM vol. 3A, 6.5): those of INT3 and INT1 are taken back, to be executed with
// the guest's own gates; that of single-stepping, which the program has turned on by POPF, is delivered as it is.
void UserMode::undo_trap(CpuFile& cpu, unsigned vector) {
    u64& rip = cpu.general.rip;
    if (vector == kDebug && take_single_step()) {
        cpu.events.exception_pending = true;
        cpu.events.exception_vector = kDebug;
        cpu.debug.dr6 |= kSingleStep;
    } else if (vector == kDebug && !code_is(cpu, rip, {0xf1})) {  // some hosts leave RIP at INT1
        if (code_is(cpu, rip - 1, {0xf1})) rip -= 1;
    } else if (vector == kBreakpoint) {
        rip -= code_is(cpu, rip - 1, {0xcc}) ? 1 : code_is(cpu, rip - 2, {0xcd, 3}) ? 2 : 0;
    } else if (vector == kOverflow && code_is(cpu, rip - 2, {0xcd, 4})) {
        rip -= 2;
    }
}

// The program's state out of what KVM came back with. False: that is none that a program can have left behind.
bool UserMode::take_state(CpuFile& cpu, Result& result) {
    const auto& [regs, sregs, events] = vcpu_.run().s.regs;
    GeneralGroup general;
    from_kvm(general, regs);
    u16 code_selector = cpu.segments.seg[CS].selector;
    // Where SYSCALL does not leave ring 3, a signal may come between it and the fault on the stub that it jumps to.
    const bool behind_syscall = pvm_ && regs.rip == shim_->syscall_stub();
    if (const auto stub = shim_->stub_at(regs.rip); at_stub() || behind_syscall) {
        result.vector = *stub;
        if (*stub != Shim::kSyscallStub) {
            const auto frame = shim_->frame(*stub, regs.rsp);
            if (!frame) return false;
            general.rip = frame->rip;
            general.rflags = frame->rflags;
            general.gpr[RSP] = frame->rsp;
            code_selector = static_cast<u16>(frame->cs);
        }
        const bool into_stub = pvm_ && *stub == kPageFault && general.rip == shim_->syscall_stub();
        const u64 syscall = general.gpr[RCX] - 2;
        if ((*stub == Shim::kSyscallStub || into_stub) && code_is(cpu, syscall, {0x0f, 0x05})) {
            result.vector = Shim::kSyscallStub;
            // SYSCALL has put RIP and RFLAGS into RCX and R11, and will do so again. Unless the program has jumped to
            // the stub: then it may have put anything there, and gets what it could have done by itself.
            general.rip = syscall;
            general.rflags = general.gpr[R11] & kOfPrograms;
        }
    }
    if (!at_stub() && !behind_syscall) {
        // An exception that was on its way to its stub when a kick or the deadline came: the next entry is without it.
        // Of #BP and #OF KVM tells the vector alone (kvm_exception_is_soft), which was 0 on the way in; and only
        // kvm_pvm has moved RIP by then.
        const auto& e = events.exception;
        if (e.injected != 0 || e.pending != 0 || (pvm_ && (e.nr == kBreakpoint || e.nr == kOverflow))) {
            result.vector = e.nr;
        }
    }
    // IOPL cannot have changed, and IF only where IOPL is 3 and the CPU itself has run CLI, STI or POPF.
    const u64 fixed = rflags::IOPL | (pvm_ ? rflags::IF : 0);
    general.rflags =
        (general.rflags & ~(rflags::RF | rflags::VM | fixed)) | rflags::Fixed1 | (cpu.general.rflags & fixed);
    if (code_selector != cpu.segments.seg[CS].selector) return false;
    cpu.general = general;
    undo_trap(cpu, result.vector);
    auto& seg = cpu.segments.seg;
    auto take = [](Segment& to, const kvm_segment& from) {
        if (to.selector != from.selector) from_kvm(to, from);
    };
    take(seg[DS], sregs.ds);
    take(seg[ES], sregs.es);
    take(seg[FS], sregs.fs);
    take(seg[GS], sregs.gs);
    seg[FS].base = sregs.fs.base;
    seg[GS].base = sregs.gs.base;
    return true;
}

UserMode::Result UserMode::enter(CpuFile& cpu, Deadline& deadline) {
    Result result;
    fill_registers(cpu);
    kvm_run& run = vcpu_.run();
    if (std::exchange(translations_stale_, false)) {
        auto forgot = forget_translations(vcpu_, run.s.regs.sregs);
        if (!forgot) return failed(forgot.error().text);
    }
    while (true) {
        if (kicker_.take_kick()) {
            result.end = End::Kicked;
            return result;
        }
        if (!kicker_.enter(deadline)) return failed(fmt::format("no timer: {}", std::strerror(errno)));
        const int done = ioctl(vcpu_.fd(), KVM_RUN, 0);
        const int error = errno;
        kicker_.leave();
        run.kvm_dirty_regs = 0;
        if (done < 0) {
            if (error != EINTR && error != EAGAIN)
                return failed(fmt::format("KVM_RUN failed: {}", std::strerror(error)));
            result.end = End::Kicked;
            if (!kicker_.take_kick()) {
                if (!deadline.passed()) continue;  // a signal that meant somebody else
                result.end = End::Deadline;
            }
            return result;
        }
        Exit exit = translate_exit(run);
        switch (exit.kind) {
            case ExitKind::PortWrite:
                if (at_stub()) return result;
                [[fallthrough]];
            case ExitKind::PortRead:
            case ExitKind::MmioRead:
            case ExitKind::MmioWrite:
                if (!access(std::move(exit))) {
                    // KVM has read what it then cannot work with (CMPXCHG16B): like any instruction that it cannot.
                    if (!is_emulation_failure(run)) return failed("KVM did not complete a program's device access");
                    result.vector = kNoVector;
                    return result;
                }
                if (device_changed(cpu.control.cr3 & kAddress)) {
                    result.end = End::Device;
                    return result;
                }
                continue;
            case ExitKind::Kicked:
            case ExitKind::InterruptWindow: continue;
            case ExitKind::Failure:
                // At ring 3 it is an instruction like any other that brings the program back.
                if (is_emulation_failure(run) && !at_stub()) {
                    result.vector = kNoVector;
                    return result;
                }
                return failed(exit.text);
            default: return failed(fmt::format("the ring-3 shim ended in a {} exit", to_string(exit.kind)));
        }
    }
}

UserMode::Result UserMode::run(CpuFile& cpu, Deadline& deadline) {
    Result result;
    const auto ready = prepare(cpu);
    if (!ready) return failed(ready.error().text);
    if (!*ready) {
        result.end = End::Refused;
        return result;
    }
    ++counts_.entries;
    result = enter(cpu, deadline);
    if (result.end == End::Failure) return result;
    const u64 guest_root = cpu.control.cr3 & kAddress;
    // A table in a device's memory may be gone: the program has moved that. One in ROM stays as it is.
    VMem& vmem = machine_.vmem();
    const MemoryRegion* region = vmem.find(guest_root);
    if (region != nullptr && region->kind == RegionKind::Ram &&
        shim_->give_back_accessed(guest_root, reinterpret_cast<u64*>(vmem.host_page(guest_root)))) {
        vmem.mark_dirty(guest_root);
    }
    watch_.after(guest_root);
    for (const auto& [address, size] : watch_.writable_dirty()) vmem.written_by_guest(address, size);
    if (auto took = take_fpu(cpu.fpu); !took) return failed(took.error().text);
    if (!take_state(cpu, result)) {
        const kvm_regs& regs = vcpu_.run().s.regs.regs;
        return failed(
            fmt::format("the ring-3 shim came back in a state that no program leaves: rip {:#x} rsp {:#x} rflags "
                        "{:#x} cs {:#x}",
                        regs.rip, regs.rsp, regs.rflags, vcpu_.run().s.regs.sregs.cs.selector));
    }
    if (result.end == End::Trap) {
        if (result.vector == Shim::kSyscallStub) {
            ++counts_.system_calls;
        } else if (result.vector == kPageFault) {
            ++counts_.page_faults;
        } else {
            ++counts_.other_traps;
        }
    }
    return result;
}

}  // namespace dualvm::kvm
