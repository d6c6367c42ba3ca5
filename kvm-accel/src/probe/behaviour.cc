// What works, and what does not, where KVM does not leave the guest to the CPU.
#include <fmt/format.h>
#include <sys/ioctl.h>

#include <algorithm>

#include "cpuid.h"
#include "probe/direct_modes.h"
#include "probe/measures.h"

namespace dualvm::kvm {

namespace {

using lab::kDonePort;

// A laboratory with the CPU at the start of `code`, or a row that says why there is none.
std::unique_ptr<Lab> ready(Report& report, const KvmDevice& device, const char* id, const char* what, LabMode mode,
                           unsigned ring, const LabCode& code) {
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
    const char *id = "syscall-reaches-ring0", *what = "SYSCALL at ring 3 reaches its handler at ring 0";
    auto lab = ready(report, device, id, what, LabMode::Long64, 3, {0x0f, 0x05});
    if (!lab) return;
    lab->write(lab::kHandlers + 0x400, {0xe6, kDonePort});
    lab->cpu().msrs.lstar = lab::kHandlers + 0x400;
    if (auto pushed = lab->push(Groups::Msrs); !pushed) {
        report.failed(id, what, pushed.error().text);
        return;
    }
    const LabEnd end = lab->run();
    report.yes_no(id, what, end.done(), end.done() ? "" : end.text());
}

void report_int_n(Report& report, const KvmDevice& device) {
    const char *id = "int-n-reaches-ring0", *what = "INT n at ring 3 reaches its handler at ring 0";
    const LabCode int_n = {0xcd, lab::kSoftwareVector};
    if (auto lab = ready(report, device, id, what, LabMode::Long64, 3, int_n)) {
        const LabEnd end = lab->run();
        const bool reached = end.exception() == lab::kSoftwareVector;
        report.yes_no(id, what, reached, reached ? "" : end.text());
        if (reached) return;
    }
    id = "int-n-can-be-rescued";
    what = "INT n at ring 3 can be left to another engine";
    if (auto lab = ready(report, device, id, what, LabMode::Long64, 3, int_n)) {
        lab->vm().exit_on_emulation_failure();
        const LabEnd end = lab->run();
        report.yes_no(id, what, end.emulation_failed, end.emulation_failed ? "" : end.text());
    }
}

void report_cli(Report& report, const KvmDevice& device) {
    const char *id = "cli-ring3-iopl3", *what = "CLI at ring 3 with IOPL 3";
    auto lab = ready(report, device, id, what, LabMode::Long64, 3, {0xfa, 0xe6, kDonePort});
    if (!lab) return;
    const LabEnd end = lab->run();
    report.yes_no(id, what, end.done(), end.done() ? "" : end.text());
}

void report_paging32(Report& report, const KvmDevice& device) {
    const char *id = "paging-32-bit", *what = "32-bit paging can be turned on";
    // mov eax, kOtherData;  mov cr3, eax;  mov eax, cr0;  or eax, 80000000h;  mov cr0, eax;  out 80h, al
    const LabCode code = {0xb8,
                          static_cast<u8>(lab::kOtherData),
                          static_cast<u8>(lab::kOtherData >> 8),
                          0,
                          0,
                          0x0f,
                          0x22,
                          0xd8,
                          0x0f,
                          0x20,
                          0xc0,
                          0x0d,
                          0,
                          0,
                          0,
                          0x80,
                          0x0f,
                          0x22,
                          0xc0,
                          0xe6,
                          kDonePort};
    auto lab = ready(report, device, id, what, LabMode::Protected32, 0, code);
    if (!lab) return;
    // Page directory at kOtherData, its first entry a table at kData that maps the first 4 MiB to themselves.
    lab->word(lab::kOtherData) = lab::kData | 7;
    auto* table = reinterpret_cast<u32*>(&lab->word(lab::kData));
    for (u32 i = 0; i < lab::kMemory / kPageSize; ++i) table[i] = static_cast<u32>(i * kPageSize | 7);
    const LabEnd end = lab->run();
    report.yes_no(id, what, end.done(), end.done() ? "" : end.text());
}

void report_cpuid_masks(Report& report, const KvmDevice& device) {
    for (unsigned ring : {0u, 3u}) {
        const std::string id = fmt::format("cpuid-masks-ring{}", ring);
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
        // mov eax, 1;  cpuid;  mov eax, ecx;  out 80h, eax
        const LabCode code = {0xb8, 1, 0, 0, 0, 0x0f, 0xa2, 0x89, 0xc8, 0xe7, kDonePort};
        if (!made || !(*made)->enter(LabMode::Long64, ring, code)) {
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

struct Tried {
    const char* name;
    LabCode bytes;
};

// Instructions that every CPU of the last ten years has, and that kernels and firmware use.
void report_emulation(Report& report, const KvmDevice& device) {
    const Tried kTried[] = {
        {"FWAIT", {0x9b}},
        {"CMPXCHG16B", {0x48, 0x0f, 0xc7, 0x0b}},  // [rbx]
        {"FNINIT", {0xdb, 0xe3}},
        {"FXSAVE", {0x0f, 0xae, 0x03}},        // [rbx]
        {"MOVBE", {0x0f, 0x38, 0xf0, 0x03}},   // eax, [rbx]
        {"POPCNT", {0xf3, 0x0f, 0xb8, 0xc0}},  // eax, eax
        {"MOVDQA", {0x66, 0x0f, 0x6f, 0x03}},  // xmm0, [rbx]
        {"PADDB", {0x66, 0x0f, 0xfc, 0xc0}},   // xmm0, xmm0
        {"RDRAND", {0x0f, 0xc7, 0xf0}},        // eax
        {"CLWB", {0x66, 0x0f, 0xae, 0x33}},    // [rbx]
    };
    for (const Tried& tried : kTried) {
        std::string id = fmt::format("emulates-{}", tried.name);
        std::transform(id.begin(), id.end(), id.begin(), [](char c) { return static_cast<char>(std::tolower(c)); });
        const std::string what = fmt::format("{} works at ring 0", tried.name);
        LabCode code = tried.bytes;
        code.insert(code.end(), {0xe6, kDonePort});
        auto lab = ready(report, device, id.c_str(), what.c_str(), LabMode::Long64, 0, code);
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
    report_cpuid_masks(report, device);
    report_emulation(report, device);
}

void report_debugging(Report& report, const KvmDevice& device) {
    for (unsigned ring : {0u, 3u}) {
        const std::string id = fmt::format("single-step-ring{}", ring);
        const std::string what = fmt::format("single step at ring {}", ring);
        if (auto lab = Lab::create(device)) {
            const StepResult step = try_single_step(**lab, ring);
            report.yes_no(id, what, step.one_instruction, step.one_instruction ? "" : step.end.text());
        } else {
            report.failed(id, what, lab.error().text);
        }
    }
    for (unsigned ring : {0u, 3u}) {
        const std::string id = fmt::format("hardware-breakpoint-ring{}", ring);
        const std::string what = fmt::format("hardware breakpoint at ring {}", ring);
        const LabCode code = {0x90, 0x90, 0x90, 0xe6, kDonePort};  // nop;  nop;  nop;  out 80h, al
        auto lab = ready(report, device, id.c_str(), what.c_str(), LabMode::Long64, ring, code);
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
    const char *id = "stale-page-tables", *what = "page tables changed by user space stay stale";
    // again: mov al, [rbx];  out 80h, al;  jmp again
    const LabCode code = {0x8a, 0x03, 0xe6, kDonePort, 0xeb, 0xfa};
    auto lab = ready(report, device, id, what, LabMode::Long64, 3, code);
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
    report.yes_no(id, what, after == 1, after == 1 ? "until a memory slot is changed" : "");
}

void report_interrupts(Report& report, const KvmDevice& device) {
    const char *id = "interrupts-ring3", *what = "KVM_INTERRUPT into a loop at ring 3";
    constexpr unsigned kInterrupts = 20;
    auto lab = ready(report, device, id, what, LabMode::Long64, 3, {0xeb, 0xfe});  // again: jmp again
    if (!lab) return;
    // inc qword [kData];  iretq
    const LabCode handler = {0x48, 0xff, 0x04, 0x25, static_cast<u8>(lab::kData), static_cast<u8>(lab::kData >> 8),
                             0,    0,    0x48, 0xcf};
    lab->set_handler(lab::kInterruptVector, 0x400, handler);
    lab->word(lab::kData) = 0;
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
    const u64 taken = lab->word(lab::kData);
    report.yes_no(id, what, taken == kInterrupts && injected == kInterrupts,
                  fmt::format("{} of {} taken{}", taken, kInterrupts,
                              taken == kInterrupts || end.out_of_time ? "" : ", then: " + end.text()));
}

}  // namespace dualvm::kvm
