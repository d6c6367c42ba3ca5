#include "dualvm/kvm/probe.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>

#include <cstring>

#include "host_kind.h"
#include "probe_guest.h"

// clang-format would lay this out anew each time it is asked.
// clang-format off
#define DUALVM_PIECES(X) \
    X(loop64) X(loop32) X(loop16) X(out_loop) X(cpuid_loop) X(ud2_loop) X(ud2_handler) X(syscall) X(tell_cpl) X(int_n) \
    X(paging32) X(cpuid_mask) X(fwait) X(cmpxchg16b) X(read_twice) X(split_write) X(forever) X(count_handler)
// clang-format on
extern "C" {
#define X(NAME) extern const dualvm::u8 probe_##NAME[], probe_##NAME##_end[];
DUALVM_PIECES(X)
#undef X
}

namespace dualvm {

namespace kvm {

namespace {

using namespace probe_layout;
using Kind = ProbeGuest::Event::Kind;
using Row = KvmReport::Row;

#define X(NAME) const std::span<const u8> k_##NAME(probe_##NAME, probe_##NAME##_end);
DUALVM_PIECES(X)
#undef X

constexpr Nanoseconds kMillisecond = 1'000'000, kLimit = 200 * kMillisecond;

Nanoseconds now() {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<Nanoseconds>(t.tv_sec) * 1'000'000'000 + static_cast<Nanoseconds>(t.tv_nsec);
}
std::string number(double value) { return fmt::format("{:.{}f}", value, value < 10 ? 2 : value < 100 ? 1 : 0); }
const char* yes_no(bool yes) { return yes ? "yes" : "no"; }

class Probe {
public:
    explicit Probe(ProbeGuest& guest) : guest_(guest) {}

    KvmReport report(const std::string& device_path) {
        host(device_path);
        speeds();
        costs();
        abilities();
        return std::move(report_);
    }

private:
    void add(Row row) { report_.rows.push_back(std::move(row)); }
    void microseconds(std::string id, std::string what, double value, std::string text = {}) {
        add({std::move(id), std::move(what), value < 0 ? "failed" : number(value), value < 0 ? "" : "us",
             std::move(text)});
    }
    void fact(std::string id, std::string what, bool value, std::string if_not) {
        add({std::move(id), std::move(what), yes_no(value), "", value ? std::string() : std::move(if_not)});
    }

    void host(const std::string& device_path) {
        utsname names{};
        uname(&names);
        kind_ = host_kind();
        add({"kernel", "kernel", names.release, "", ""});
        add({"kind", "what serves /dev/kvm", to_string(kind_), "",
             nested_paging(kind_)     ? "hardware virtualization with nested paging"
             : kind_ == HostKind::Pvm ? "no VT-x or AMD-V: ring 3 runs directly, the rest is emulated by the kernel"
                                      : ""});
        auto device = KvmDevice::open(device_path);
        if (!device) return;
        add({"api_version", "KVM API version", fmt::format("{}", ioctl(device->fd(), KVM_GET_API_VERSION, 0)), "", ""});
        struct Capability {
            const char *id, *what;
            u64 number;
        };
        for (const Capability& c : std::initializer_list<Capability>{
                 {"cap_immediate_exit", "KVM_CAP_IMMEDIATE_EXIT", KVM_CAP_IMMEDIATE_EXIT},
                 {"cap_sync_regs", "KVM_CAP_SYNC_REGS", KVM_CAP_SYNC_REGS},
                 {"cap_sregs2", "KVM_CAP_SREGS2", KVM_CAP_SREGS2},
                 {"cap_xsave", "KVM_CAP_XSAVE", KVM_CAP_XSAVE},
                 {"cap_readonly_mem", "KVM_CAP_READONLY_MEM", KVM_CAP_READONLY_MEM},
                 {"cap_coalesced_pio", "KVM_CAP_COALESCED_PIO", KVM_CAP_COALESCED_PIO},
                 {"cap_split_irqchip", "KVM_CAP_SPLIT_IRQCHIP", KVM_CAP_SPLIT_IRQCHIP},
                 {"cap_user_space_msr", "KVM_CAP_X86_USER_SPACE_MSR", KVM_CAP_X86_USER_SPACE_MSR},
                 {"cap_exit_on_emulation_failure", "KVM_CAP_EXIT_ON_EMULATION_FAILURE",
                  KVM_CAP_EXIT_ON_EMULATION_FAILURE}}) {
            add({c.id, c.what, fmt::format("{}", device->capability(c.number)), "", ""});
        }
    }

    // --- how fast each mode runs
    // --------------------------------------------------------------------------------------

    // Million instructions/s of the tight loop in this very process.
    static double native_speed() {
        u64 rounds = 20'000'000, a = 0, d = 0;
        const u64 instructions = 4 * rounds;
        const Nanoseconds start = now();
        asm volatile("1: add %3, %0\n\txor %0, %1\n\tdec %2\n\tjnz 1b"
                     : "+r"(a), "+r"(d), "+r"(rounds)
                     : "r"(u64{3})
                     : "cc");
        return static_cast<double>(instructions) / static_cast<double>(now() - start) * 1000;
    }

    // The same as a guest: more rounds until it takes long enough to be measured. Negative if it does not run.
    double guest_speed(ProbeMode mode, std::span<const u8> code) {
        for (u64 rounds = 2'000;; rounds *= 20) {
            guest_.prepare(mode, code);
            guest_.cpu().general.gpr[RCX] = rounds;
            if (!guest_.begin()) return -1;
            const Nanoseconds start = now();
            const auto event = guest_.next(kLimit);
            const Nanoseconds taken = now() - start;
            if (event.kind != Kind::Port) return -1;
            if (taken > 5 * kMillisecond || rounds > 10'000'000) {
                return static_cast<double>(4 * rounds) / static_cast<double>(taken) * 1000;
            }
        }
    }

    void speeds() {
        const double native = native_speed();
        add({"speed_native", "tight loop in a process", number(native), "million instructions/s", ""});
        struct Mode {
            const char *id, *what;
            ProbeMode mode;
            std::span<const u8> code;
        };
        for (const Mode& m : std::initializer_list<Mode>{
                 {"speed_ring3_64", "the same, ring 3, 64-bit", ProbeMode::Ring3Long, k_loop64},
                 {"speed_ring0_64", "ring 0, 64-bit", ProbeMode::Ring0Long, k_loop64},
                 {"speed_ring0_32", "ring 0, 32-bit protected mode", ProbeMode::Ring0Protected32, k_loop32},
                 {"speed_real", "real mode", ProbeMode::Real, k_loop16},
                 {"speed_ring3_32", "ring 3, compatibility mode", ProbeMode::Ring3Compatibility, k_loop32}}) {
            const double speed = guest_speed(m.mode, m.code);
            if (speed < 0) {
                add({m.id, m.what, "failed", "", "the loop did not end as it should"});
                continue;
            }
            const bool direct = speed > native / 4;
            add({m.id, m.what, number(speed), "million instructions/s",
                 direct ? "runs directly" : fmt::format("emulated: 1/{:.0f} of native", native / speed)});
        }
    }

    // --- what exits cost
    // ------------------------------------------------------------------------------------------------

    template <class Action>
    static double microseconds_each(unsigned count, Action action) {
        const Nanoseconds start = now();
        for (unsigned i = 0; i < count; ++i) {
            if (!action()) return -1;
        }
        return static_cast<double>(now() - start) / count / 1000;
    }

    double port_exit(ProbeMode mode, bool with_get_regs, bool with_sync_regs) {
        guest_.prepare(mode, k_out_loop);
        if (!guest_.begin()) return -1;
        const u64 valid = guest_.run().kvm_valid_regs;
        guest_.run().kvm_valid_regs = with_sync_regs ? u64{KVM_SYNC_X86_REGS} : 0;
        const double each = microseconds_each(2000, [&] {
            if (ioctl(guest_.vcpu_fd(), KVM_RUN, 0) != 0 || guest_.run().exit_reason != KVM_EXIT_IO) return false;
            kvm_regs regs;
            return !with_get_regs || ioctl(guest_.vcpu_fd(), KVM_GET_REGS, &regs) == 0;
        });
        guest_.run().kvm_valid_regs = valid;
        return each;
    }

    // RCX rounds of something within the guest.
    double guest_rounds(ProbeMode mode, std::span<const u8> code, u64 rounds, u8 handled_vector = 0) {
        guest_.prepare(mode, code);
        if (handled_vector != 0) guest_.set_handler(handled_vector, k_ud2_handler);
        guest_.cpu().general.gpr[RCX] = rounds;
        if (!guest_.begin()) return -1;
        const Nanoseconds start = now();
        if (guest_.next(kLimit).kind != Kind::Port) return -1;
        return static_cast<double>(now() - start) / static_cast<double>(rounds) / 1000;
    }

    void costs() {
        guest_.prepare(ProbeMode::Ring0Long, k_out_loop);
        guest_.begin();
        kvm_regs regs;
        microseconds("cost_get_regs", "KVM_GET_REGS",
                     microseconds_each(2000, [&] { return ioctl(guest_.vcpu_fd(), KVM_GET_REGS, &regs) == 0; }));
        guest_.run().immediate_exit = 1;
        microseconds("cost_immediate_exit", "KVM_RUN that returns at once",
                     microseconds_each(2000, [&] { return ioctl(guest_.vcpu_fd(), KVM_RUN, 0) < 0; }));
        guest_.run().immediate_exit = 0;
        microseconds("cost_out_ring0", "OUT from ring 0 to user space and back",
                     port_exit(ProbeMode::Ring0Long, false, false));
        microseconds("cost_out_ring0_get_regs", "the same with KVM_GET_REGS each time",
                     port_exit(ProbeMode::Ring0Long, true, false));
        microseconds("cost_out_ring0_sync_regs", "the same with KVM_CAP_SYNC_REGS",
                     port_exit(ProbeMode::Ring0Long, false, true));
        microseconds("cost_out_ring3", "OUT from ring 3 with IOPL 3", port_exit(ProbeMode::Ring3Long, false, false));
        microseconds("cost_cpuid", "CPUID", guest_rounds(ProbeMode::Ring3Long, k_cpuid_loop, 2000));
        microseconds("cost_exception", "UD2 from ring 3 to a ring-0 handler and back",
                     guest_rounds(ProbeMode::Ring3Long, k_ud2_loop, 1000, 6));
    }

    // --- what works
    // -----------------------------------------------------------------------------------------------------

    ProbeGuest::Event run_piece(ProbeMode mode, std::span<const u8> code) {
        guest_.prepare(mode, code);
        return guest_.begin() ? guest_.next(kLimit) : ProbeGuest::Event{.kind = Kind::Failure};
    }

    bool syscall_works() {
        guest_.prepare(ProbeMode::Ring3Long, k_syscall);
        guest_.vmem().write(kHandler, k_tell_cpl.data(), k_tell_cpl.size());
        guest_.cpu().msrs.star = u64{kCode64} << 32 | u64{kUserData - 8} << 48;
        guest_.cpu().msrs.lstar = kHandler;
        if (!guest_.begin()) return false;
        const auto event = guest_.next(kLimit);
        return event.kind == Kind::Port && event.value == 0;
    }

    bool paging32_works() {
        guest_.prepare(ProbeMode::Ring0Protected32, k_paging32);
        guest_.cpu().control.cr3 = kDirectory32;
        guest_.cpu().control.cr4 = cr4::PSE;
        return guest_.begin() && guest_.next(kLimit).kind == Kind::Port;
    }

    bool cpuid_masks_hold(ProbeMode mode) {
        const CpuidResult allowed = CpuModel::standard().cpuid(1, 0, guest_.cpu());
        guest_.prepare(mode, k_cpuid_mask);
        // OSXSAVE and the APIC's bits mirror state; the rest of what the model leaves out must be clear.
        guest_.cpu().general.gpr[RBX] = ~allowed.ecx & ~(1u << 27) & ~(1u << 31);
        guest_.cpu().general.gpr[RSI] = ~allowed.edx & ~(1u << 9);
        if (!guest_.begin()) return false;
        const auto event = guest_.next(kLimit);
        return event.kind == Kind::Port && event.value == 0;
    }

    bool single_step_works(ProbeMode mode) {
        guest_.prepare(mode, k_loop64);
        guest_.cpu().general.gpr[RCX] = 1000;
        if (!guest_.begin()) return false;
        kvm_guest_debug debug{};
        debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;
        bool works = ioctl(guest_.vcpu_fd(), KVM_SET_GUEST_DEBUG, &debug) == 0;
        for (u64 step = 1; step <= 3 && works; ++step) {
            guest_.next(kLimit);
            works = guest_.run().exit_reason == KVM_EXIT_DEBUG && guest_.pull(Groups::General) &&
                    guest_.cpu().general.rip == kCode + 3 * step;  // three instructions of three bytes
        }
        debug = {};
        ioctl(guest_.vcpu_fd(), KVM_SET_GUEST_DEBUG, &debug);
        return works;
    }

    bool hardware_breakpoint_works(ProbeMode mode) {
        guest_.prepare(mode, k_loop64);
        guest_.cpu().general.gpr[RCX] = 10;
        if (!guest_.begin()) return false;
        kvm_guest_debug debug{};
        debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
        debug.arch.debugreg[0] = kCode + 6;  // the DEC
        debug.arch.debugreg[7] = 0x401;
        bool works = ioctl(guest_.vcpu_fd(), KVM_SET_GUEST_DEBUG, &debug) == 0;
        if (works) {
            guest_.next(kLimit);
            works = guest_.run().exit_reason == KVM_EXIT_DEBUG;
        }
        debug = {};
        ioctl(guest_.vcpu_fd(), KVM_SET_GUEST_DEBUG, &debug);
        return works;
    }

    // A page-table entry that user space changes while the guest is out: does the guest see the new page?
    bool page_tables_stay_fresh() {
        guest_.prepare(ProbeMode::Ring3Long, k_read_twice);
        const u64 first = kTestPages, second = kTestPages + kPageSize;
        guest_.vmem().write_value(first, u8{1});
        guest_.vmem().write_value(second, u8{2});
        guest_.cpu().general.gpr[RBX] = first;
        if (!guest_.begin() || guest_.next(kLimit).value != 1) return false;
        guest_.vmem().write_value(kTable + first / kPageSize * 8, second | 7);
        // A real CPU may keep its TLB entry as well; loading CR3 anew must get rid of it.
        guest_.pull(Groups::All);
        guest_.begin();
        return guest_.next(kLimit).value == 2;
    }

    bool split_write_faults_whole() {
        guest_.prepare(ProbeMode::Ring0Long, k_split_write);
        const u64 missing = kTestPages + kPageSize, address = missing - 4;
        guest_.vmem().write_value(kTable + missing / kPageSize * 8, u64{0});
        guest_.vmem().write_value(address, u32{0});
        guest_.cpu().general.gpr[RBX] = address;
        if (!guest_.begin()) return false;
        const auto event = guest_.next(kLimit);
        u32 before_the_end = 0;
        guest_.vmem().read_value(address, before_the_end);
        return event.kind == Kind::Exception && event.value == 14 && before_the_end == 0;
    }

    // Of `wanted` interrupts injected into a ring-3 loop that is kicked out each millisecond, how many were handled?
    std::string injection() {
        constexpr u64 kWanted = 20;
        guest_.prepare(ProbeMode::Ring3Long, k_forever);
        guest_.set_handler(0x40, k_count_handler);
        guest_.cpu().general.gpr[R8] = 0;
        guest_.cpu().general.rflags |= rflags::IF;
        if (!guest_.begin()) return "failed";
        for (u64 i = 0; i < kWanted; ++i) {
            if (guest_.next(kMillisecond).kind != Kind::TimedOut) return "failed";
            kvm_interrupt interrupt{.irq = 0x40};
            if (guest_.run().if_flag != 0) ioctl(guest_.vcpu_fd(), KVM_INTERRUPT, &interrupt);
        }
        guest_.next(kMillisecond);
        guest_.pull(Groups::General);
        return fmt::format("{} of {}", guest_.cpu().general.gpr[R8], kWanted);
    }

    void abilities() {
        fact("syscall_ring3", "SYSCALL from ring 3 reaches ring 0", syscall_works(),
             "the vCPU goes to LSTAR but stays at ring 3");
        const auto int_n = run_piece(ProbeMode::Ring3Long, k_int_n);
        fact("int_n_ring3", "INT n from ring 3 reaches its gate", int_n.kind == Kind::Exception && int_n.value == 0x80,
             int_n.kind == Kind::Exception ? fmt::format("it is delivered as vector {}", int_n.value) : "it is lost");
        fact("paging32", "32-bit paging can be turned on", paging32_works(), "MOV CR0 faults: such guests need interp");
        fact("cpuid_masks_ring0", "CPUID masks hold at ring 0", cpuid_masks_hold(ProbeMode::Ring0Long),
             "the guest sees features that were not given to it");
        fact("cpuid_masks_ring3", "CPUID masks hold at ring 3", cpuid_masks_hold(ProbeMode::Ring3Long),
             "the guest sees the host's own leaves");
        fact("single_step_ring0", "single step at ring 0", single_step_works(ProbeMode::Ring0Long),
             "user space is not told");
        fact("single_step_ring3", "single step at ring 3", single_step_works(ProbeMode::Ring3Long),
             "the #DB goes to the guest");
        fact("breakpoint_ring0", "hardware breakpoints at ring 0", hardware_breakpoint_works(ProbeMode::Ring0Long),
             "they are not hit");
        fact("breakpoint_ring3", "hardware breakpoints at ring 3", hardware_breakpoint_works(ProbeMode::Ring3Long),
             "they are not hit");
        fact("fwait_ring0", "FWAIT at ring 0", run_piece(ProbeMode::Ring0Long, k_fwait).kind == Kind::Port,
             "KVM cannot emulate it: the rescue executes it");
        fact("cmpxchg16b_ring0", "CMPXCHG16B at ring 0",
             run_piece(ProbeMode::Ring0Long, k_cmpxchg16b).kind == Kind::Port,
             "KVM cannot emulate it: the rescue executes it");
        fact("fresh_page_tables", "page tables changed by user space are seen", page_tables_stay_fresh(),
             "KVM shadows them: present entries stay stale until a memory slot is made anew");
        fact("split_write_ring0", "a write across pages that faults writes nothing, at ring 0",
             split_write_faults_whole(), "the emulator writes the first page's part");
        add({"interrupt_injection", "interrupts injected into a ring-3 loop", injection(), "", ""});
    }

    ProbeGuest& guest_;
    KvmReport report_;
    HostKind kind_ = HostKind::Unknown;
};

}  // namespace

}  // namespace kvm

Expected<KvmReport> probe_kvm(const ProbeOptions& options) {
    auto guest = kvm::ProbeGuest::create(options.device);
    if (!guest) return tl::unexpected(guest.error());
    return kvm::Probe(**guest).report(options.device);
}

}  // namespace dualvm
