// What works, and what does not, where KVM does not leave the guest to the CPU.
#include <fmt/format.h>
#include <sys/ioctl.h>

#include <cstring>

#include "cpuid.h"
#include "probe/direct_modes.h"
#include "probe/measures.h"

namespace dualvm::kvm {

namespace {

using lab::kDonePort;

// A laboratory with the CPU at the start of `code`, or a row that says why there is none.
std::unique_ptr<Lab> ready(Report& report, const KvmDevice& device, const char* id, const char* what, LabMode mode,
                           unsigned ring, Piece code) {
    auto lab = Lab::create(device);
    if (!lab) {
        report.failed(id, what, lab.error().text);
        return nullptr;
    }
    if (auto entered = (*lab)->enter(mode, ring, code); !entered) {
        report.failed(id, what, entered.error().text);
        return nullptr;
    }
    return std::move(*lab);
}

void report_syscall(Report& report, const KvmDevice& device) {
    const char *id = "syscall_ring3", *what = "SYSCALL at ring 3 reaches its handler at ring 0";
    auto lab = ready(report, device, id, what, LabMode::Long64, 3, piece::syscall);
    if (!lab) return;
    lab->cpu().msrs.lstar = lab::kHandlers + lab::kFreeForHandlers;
    lab->write(lab->cpu().msrs.lstar, piece::syscall_entry);
    if (auto pushed = lab->push(Groups::Msrs); !pushed) {
        report.failed(id, what, pushed.error().text);
        return;
    }
    const LabEnd end = lab->run();
    report.yes_no(id, what, end.done(), end.done() ? "" : end.text());
}

void report_int_n(Report& report, const KvmDevice& device) {
    const char *id = "int_n_ring3", *what = "INT n at ring 3 reaches its handler at ring 0";
    if (auto lab = ready(report, device, id, what, LabMode::Long64, 3, piece::int_n)) {
        const LabEnd end = lab->run();
        const bool reached = end.exception() == lab::kSoftwareVector;
        report.yes_no(id, what, reached, reached ? "" : end.text());
        if (reached) return;
    }
    id = "int_n_ring3_rescue";
    what = "INT n at ring 3 can be left to another engine";
    if (auto lab = ready(report, device, id, what, LabMode::Long64, 3, piece::int_n)) {
        lab->vm().exit_on_emulation_failure();
        const LabEnd end = lab->run();
        report.yes_no(id, what, end.emulation_failed, end.emulation_failed ? "" : end.text());
    }
}

void report_cli(Report& report, const KvmDevice& device) {
    const char *id = "cli_ring3", *what = "CLI at ring 3 with IOPL 3";
    auto lab = ready(report, device, id, what, LabMode::Long64, 3, piece::cli);
    if (!lab) return;
    const LabEnd end = lab->run();
    report.yes_no(id, what, end.done(), end.done() ? "" : end.text());
}

void report_paging32(Report& report, const KvmDevice& device) {
    const char *id = "paging32", *what = "32-bit paging can be turned on";
    auto lab = ready(report, device, id, what, LabMode::Protected32, 0, piece::paging32);
    if (!lab) return;
    // Page directory at kOtherData, its first entry a table at kData that maps the first 4 MiB to themselves.
    lab->word(lab::kOtherData) = lab::kData | 7;
    auto* table = reinterpret_cast<u32*>(&lab->word(lab::kData));
    for (u32 i = 0; i < lab::kMemory / kPageSize; ++i) table[i] = static_cast<u32>(i * kPageSize | 7);
    lab->cpu().control.cr3 = lab::kOtherData;
    const bool pushed = lab->push(Groups::Control).has_value();
    const LabEnd end = lab->run();
    report.yes_no(id, what, pushed && end.done(), end.done() ? "" : end.text() + ": such guests need --engine=interp");
}

void report_pcid(Report& report, const KvmDevice& device) {
    const char *id = "pcid", *what = "process-context identifiers can be turned on (CR4.PCIDE)";
    auto lab = ready(report, device, id, what, LabMode::Long64, 0, piece::pcid);
    if (!lab) return;
    const LabEnd end = lab->run();
    report.yes_no(id, what, end.done(), end.done() ? "" : end.text());
}

void report_cpuid_masks(Report& report, const KvmDevice& device) {
    for (unsigned ring : {0u, 3u}) {
        const std::string id = fmt::format("cpuid_masks_ring{}", ring);
        const std::string what = fmt::format("at ring {}, CPUID gives what KVM_SET_CPUID2 said", ring);
        auto list = supported_cpuid(device);
        if (!list) {
            report.failed(id, what, list.error().text);
            continue;
        }
        u32 wanted = 0;
        for (u32 i = 0; i < list->size(); ++i) {
            kvm_cpuid_entry2& e = list->entries()[i];
            if (e.function != 1) continue;
            e.ecx &= 1u << 13;  // of all the features there, CMPXCHG16B alone
            wanted = e.ecx;
        }
        auto made = Lab::create(device, &*list);
        if (!made || !(*made)->enter(LabMode::Long64, ring, piece::cpuid_features)) {
            report.failed(id, what, made ? "the state was refused" : made.error().text);
            continue;
        }
        const LabEnd end = (*made)->run();
        if (!end.done()) {
            report.failed(id, what, end.text());
            continue;
        }
        kvm_run& run = (*made)->vcpu().run();
        u32 seen = 0;
        std::memcpy(&seen, reinterpret_cast<u8*>(&run) + run.io.data_offset, sizeof seen);
        report.yes_no(id, what, seen == wanted,
                      seen == wanted ? "" : fmt::format("leaf 1 ECX: set {:08x}h, seen {:08x}h", wanted, seen));
    }
}

// Instructions that every CPU of the last ten years has, and that kernels and firmware use.
void report_emulation(Report& report, const KvmDevice& device) {
    struct Tried {
        const char* name;
        Piece code;
    };
    const Tried kTried[] = {{"fwait", piece::fwait},   {"fninit", piece::fninit},         {"fxsave", piece::fxsave},
                            {"movdqa", piece::movdqa}, {"cmpxchg16b", piece::cmpxchg16b}, {"movbe", piece::movbe},
                            {"popcnt", piece::popcnt}, {"paddb", piece::paddb},           {"rdrand", piece::rdrand},
                            {"clwb", piece::clwb}};
    for (const Tried& tried : kTried) {
        const std::string id = fmt::format("{}_ring0", tried.name);
        const std::string what = fmt::format("{} works at ring 0", tried.name);
        auto lab = ready(report, device, id.c_str(), what.c_str(), LabMode::Long64, 0, tried.code);
        if (!lab) continue;
        lab->cpu().general.gpr[RBX] = lab::kData;
        const bool pushed = lab->push(Groups::General).has_value();
        const LabEnd end = lab->run();
        report.yes_no(id, what, pushed && end.done(), end.done() ? "" : end.text());
    }
}

}  // namespace

void report_privileged(Report& report, const KvmDevice& device) {
    report_syscall(report, device);
    report_int_n(report, device);
    report_cli(report, device);
    report_paging32(report, device);
    report_pcid(report, device);
    report_cpuid_masks(report, device);
    report_emulation(report, device);
}

void report_debugging(Report& report, const KvmDevice& device) {
    for (unsigned ring : {0u, 3u}) {
        const std::string id = fmt::format("single_step_ring{}", ring);
        const std::string what = fmt::format("single step at ring {}", ring);
        if (auto lab = Lab::create(device)) {
            const StepResult step = try_single_step(**lab, ring);
            report.yes_no(id, what, step.one_instruction, step.one_instruction ? "" : step.end.text());
        } else {
            report.failed(id, what, lab.error().text);
        }
    }
    for (unsigned ring : {0u, 3u}) {
        const std::string id = fmt::format("breakpoint_ring{}", ring);
        const std::string what = fmt::format("hardware breakpoint at ring {}", ring);
        auto lab = ready(report, device, id.c_str(), what.c_str(), LabMode::Long64, ring, piece::nops);
        if (!lab) continue;
        kvm_guest_debug debug{};
        debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
        debug.arch.debugreg[0] = lab::kCode + 2;
        debug.arch.debugreg[7] = 0x402;  // breakpoint 0, on execution
        const bool set = ioctl(lab->vcpu().fd(), KVM_SET_GUEST_DEBUG, &debug) == 0;
        const LabEnd end = lab->run();
        const bool hit = set && end.reason == KVM_EXIT_DEBUG && lab->vcpu().run().debug.arch.pc == lab::kCode + 2;
        report.yes_no(id, what, hit, hit ? "" : end.done() ? "not hit" : end.text());
    }
}

void report_memory(Report& report, const KvmDevice& device) {
    const char *id = "fresh_page_tables", *what = "page tables changed by user space are seen";
    auto lab = ready(report, device, id, what, LabMode::Long64, 3, piece::read_loop);
    if (!lab) return;
    lab->word(lab::kData) = 1;
    lab->word(lab::kOtherData) = 2;
    lab->cpu().general.gpr[RBX] = lab::kData;
    auto seen = [&]() -> int {
        const LabEnd end = lab->run();
        kvm_run& run = lab->vcpu().run();
        return end.done() ? reinterpret_cast<u8*>(&run)[run.io.data_offset] : -1;
    };
    const bool pushed = lab->push(Groups::General).has_value();
    const int before = seen();
    // The page of kData shows that of kOtherData from now on.
    lab->word(lab::kPageTable + lab::kData / kPageSize * 8) ^= lab::kData ^ lab::kOtherData;
    lab->finish_access();
    const bool refreshed = lab->push(Groups::Control).has_value();
    const int after = seen();
    if (!pushed || !refreshed || before != 1 || (after != 1 && after != 2)) {
        report.failed(id, what, fmt::format("read {} before and {} after the change", before, after));
        return;
    }
    report.yes_no(id, what, after == 2, after == 2 ? "" : "a present entry stays stale until a memory slot is changed");
}

void report_split_write(Report& report, const KvmDevice& device) {
    const char *id = "split_write_ring0", *what = "at ring 0, a write across pages that faults writes nothing";
    auto lab = ready(report, device, id, what, LabMode::Long64, 0, piece::split_write);
    if (!lab) return;
    const u64 address = lab::kOtherData - 8;  // of the word whose upper half is in the page that is there
    lab->word(address) = 0;
    lab->word(lab::kPageTable + lab::kOtherData / kPageSize * 8) = 0;  // not present, and never looked at before
    lab->cpu().general.gpr[RBX] = lab::kOtherData - 4;
    const bool pushed = lab->push(Groups::General).has_value();
    const LabEnd end = lab->run();
    constexpr int kPageFault = 14;
    const bool nothing = lab->word(address) == 0;
    report.yes_no(id, what, pushed && end.exception() == kPageFault && nothing,
                  end.exception() != kPageFault ? end.text()
                  : nothing                     ? ""
                                                : "the first page's part is written");
}

void report_interrupts(Report& report, const KvmDevice& device) {
    const char *id = "interrupt_injection", *what = "KVM_INTERRUPT into a loop at ring 3";
    constexpr unsigned kInterrupts = 20;
    auto lab = ready(report, device, id, what, LabMode::Long64, 3, piece::forever);
    if (!lab) return;
    lab->set_handler(lab::kInterruptVector, piece::count_handler);
    lab->cpu().general.rflags |= rflags::IF;
    if (auto pushed = lab->push(Groups::General); !pushed) {
        report.failed(id, what, pushed.error().text);
        return;
    }
    kvm_run& run = lab->vcpu().run();
    unsigned injected = 0;
    LabEnd end;
    for (unsigned turn = 0; turn < 4 * kInterrupts && injected < kInterrupts; ++turn) {
        run.request_interrupt_window = 1;
        end = lab->run(5'000'000);
        if (end.reason != KVM_EXIT_IRQ_WINDOW_OPEN && !end.out_of_time) break;
        run.request_interrupt_window = 0;
        if (run.ready_for_interrupt_injection == 0 || run.if_flag == 0) continue;
        kvm_interrupt interrupt{};
        interrupt.irq = lab::kInterruptVector;
        if (ioctl(lab->vcpu().fd(), KVM_INTERRUPT, &interrupt) == 0) ++injected;
        end = lab->run(300'000);  // let it be taken, and the loop go on
        if (!end.out_of_time) break;
    }
    const u64 taken = lab->pull(Groups::General) ? lab->cpu().general.gpr[R8] : 0;
    report.yes_no(id, what, taken == kInterrupts && injected == kInterrupts,
                  fmt::format("{} of {} taken{}", taken, kInterrupts,
                              taken == kInterrupts || end.out_of_time ? "" : ", then: " + end.text()));
}

}  // namespace dualvm::kvm
