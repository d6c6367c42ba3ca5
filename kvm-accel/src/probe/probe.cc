#include "dualvm/kvm/probe.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>

#include <algorithm>
#include <array>

#include "cpuid.h"
#include "host_kind.h"
#include "probe/measures.h"

namespace dualvm {

const KvmReport::Row* KvmReport::find(std::string_view id) const {
    const auto found = std::find_if(rows.begin(), rows.end(), [&](const auto& row) { return row.id == id; });
    return found != rows.end() ? &*found : nullptr;
}

namespace kvm {

void Report::number(std::string id, std::string what, double value, std::string unit, std::string text) {
    const int digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
    to_.rows.push_back(
        {std::move(id), std::move(what), fmt::format("{:.{}f}", value, digits), std::move(unit), std::move(text)});
}

void Report::yes_no(std::string id, std::string what, bool value, std::string text) {
    word(std::move(id), std::move(what), value ? "yes" : "no", std::move(text));
}

void Report::word(std::string id, std::string what, std::string value, std::string text) {
    to_.rows.push_back({std::move(id), std::move(what), std::move(value), {}, std::move(text)});
}

namespace {

struct NamedCapability {
    u32 number;
    const char* id;
    const char* name;
    const char* means;
};

constexpr std::array kCapabilities = {
    NamedCapability{KVM_CAP_USER_MEMORY, "cap_user_memory", "KVM_CAP_USER_MEMORY", "guest memory is ours to give"},
    NamedCapability{KVM_CAP_NR_MEMSLOTS, "cap_nr_memslots", "KVM_CAP_NR_MEMSLOTS", "memory slots"},
    NamedCapability{KVM_CAP_READONLY_MEM, "cap_readonly_mem", "KVM_CAP_READONLY_MEM", "ROM is read-only to the guest"},
    NamedCapability{KVM_CAP_IMMEDIATE_EXIT, "cap_immediate_exit", "KVM_CAP_IMMEDIATE_EXIT", "kicks without a race"},
    NamedCapability{KVM_CAP_SYNC_REGS, "cap_sync_regs", "KVM_CAP_SYNC_REGS",
                    "registers in kvm_run: 1 general, 2 system, 4 events"},
    NamedCapability{KVM_CAP_VCPU_EVENTS, "cap_vcpu_events", "KVM_CAP_VCPU_EVENTS", "events in flight can be moved"},
    NamedCapability{KVM_CAP_DEBUGREGS, "cap_debugregs", "KVM_CAP_DEBUGREGS", "debug registers can be moved"},
    NamedCapability{KVM_CAP_XSAVE, "cap_xsave", "KVM_CAP_XSAVE", "x87 and vector registers can be moved"},
    NamedCapability{KVM_CAP_XCRS, "cap_xcrs", "KVM_CAP_XCRS", "XCR0 can be moved"},
    NamedCapability{KVM_CAP_SREGS2, "cap_sregs2", "KVM_CAP_SREGS2", "PAE's page directory pointers can be moved"},
    NamedCapability{KVM_CAP_SET_GUEST_DEBUG, "cap_set_guest_debug", "KVM_CAP_SET_GUEST_DEBUG",
                    "single step and breakpoints"},
    NamedCapability{KVM_CAP_EXIT_ON_EMULATION_FAILURE, "cap_exit_on_emulation_failure",
                    "KVM_CAP_EXIT_ON_EMULATION_FAILURE", "what KVM cannot emulate at ring 3 can be rescued, too"},
    NamedCapability{KVM_CAP_X86_USER_SPACE_MSR, "cap_user_space_msr", "KVM_CAP_X86_USER_SPACE_MSR",
                    "unknown MSRs can come to user space"},
    NamedCapability{KVM_CAP_COALESCED_PIO, "cap_coalesced_pio", "KVM_CAP_COALESCED_PIO", "port writes can be gathered"},
    NamedCapability{KVM_CAP_SPLIT_IRQCHIP, "cap_split_irqchip", "KVM_CAP_SPLIT_IRQCHIP",
                    "the APIC can be KVM's and the PIC ours"},
    NamedCapability{KVM_CAP_NR_VCPUS, "cap_nr_vcpus", "KVM_CAP_NR_VCPUS", "virtual CPUs, recommended"},
};

}  // namespace

void report_host(Report& report, const KvmDevice& device) {
    utsname kernel{};
    if (uname(&kernel) == 0) report.word("kernel", "kernel", kernel.release);
    const HostKind kind = host_kind();
    const char* text = "";
    if (kind == HostKind::Pvm) text = "no VT-x or AMD-V: ring 3 runs on the CPU, the rest is emulated by the kernel";
    if (kind == HostKind::Vmx || kind == HostKind::Svm) text = "the CPU has a mode for guests";
    report.word("kind", "what serves /dev/kvm", to_string(kind), text);
    report.word("api_version", "KVM API version", std::to_string(ioctl(device.fd(), KVM_GET_API_VERSION, 0)));
    report.yes_no("nested_paging", "the CPU walks the guest's page tables itself", nested_paging(kind),
                  nested_paging(kind) ? "" : "KVM keeps shadows of them");
    for (const NamedCapability& c : kCapabilities) {
        report.word(c.id, c.name, std::to_string(device.capability(c.number)), c.means);
    }
    const char *id = "cpu_model", *what = "the CPU model can be given to a guest";
    auto supported = supported_cpuid(device);
    if (!supported) {
        report.failed(id, what, supported.error().text);
        return;
    }
    std::vector<std::string> differences;
    intersect(CpuModel::standard(), *supported, &differences);
    report.yes_no(id, what, differences.empty(), fmt::format("{}", fmt::join(differences, "; ")));
}

}  // namespace kvm

Expected<KvmReport> probe_kvm(const ProbeOptions& options) {
    auto device = kvm::KvmDevice::open(options.device);
    if (!device) return tl::unexpected(device.error());
    // Where no virtual machine can be made, there is no engine either.
    if (auto lab = kvm::Lab::create(*device); !lab) return tl::unexpected(lab.error());
    KvmReport result;
    kvm::Report report(result);
    kvm::report_host(report, *device);
    kvm::report_speed(report, *device);
    kvm::report_costs(report, *device);
    kvm::report_privileged(report, *device);
    kvm::report_debugging(report, *device);
    kvm::report_memory(report, *device);
    kvm::report_split_write(report, *device);
    kvm::report_interrupts(report, *device);
    return result;
}

}  // namespace dualvm
