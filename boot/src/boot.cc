#include "dualvm/boot/boot.h"

#include <fmt/format.h>

#include <array>
#include <iterator>

#include "dualvm/boot/firmware.h"
#include "elf_image.h"
#include "image_file.h"
#include "loaders.h"

namespace dualvm::boot {

namespace {

struct ProtocolName {
    Protocol protocol;
    const char* name;
};
constexpr std::array<ProtocolName, 7> kProtocols = {{{Protocol::Auto, "auto"},
                                                     {Protocol::Multiboot, "multiboot"},
                                                     {Protocol::Linux32, "linux32"},
                                                     {Protocol::Linux64, "linux64"},
                                                     {Protocol::Pvh, "pvh"},
                                                     {Protocol::Sector, "sector"},
                                                     {Protocol::Firmware, "firmware"}}};

// Files larger than this are no guests of ours, however much of them is debug information.
constexpr u64 kLargestKernelFile = u64{1} << 30;

// QEMU's order: a Linux kernel may hold a Multiboot header by accident, and Multiboot comes before PVH.
Expected<Entry> plan_guest(const BootImage& image, LoadPlan& plan) {
    switch (image.protocol) {
        case Protocol::Multiboot: return plan_multiboot(image, plan);
        case Protocol::Linux32:
        case Protocol::Linux64: return plan_linux(image, plan);
        case Protocol::Pvh: return plan_pvh(image, plan);
        case Protocol::Sector: return plan_boot_sector(image, plan);
        case Protocol::Firmware:
        case Protocol::Auto: break;
    }
    if (is_linux(image.kernel)) return plan_linux(image, plan);
    if (is_multiboot(image.kernel)) return plan_multiboot(image, plan);
    if (is_elf(image.kernel)) return plan_pvh(image, plan);
    if (is_boot_sector(image.kernel)) return plan_boot_sector(image, plan);
    const std::string miss = multiboot_near_miss(image.kernel);
    if (!miss.empty()) return bad_image(image.name, miss, kMultibootHeaderRule);
    return bad_image(
        image.name, "it is no guest that dualvm knows",
        "give a Multiboot 1 kernel (header in the first 8192 bytes), a Linux bzImage, an ELF file with a PVH "
        "entry note, or a boot sector (a multiple of 512 bytes with 55AAh at 510)");
}

}  // namespace

const char* to_string(Protocol protocol) { return kProtocols[static_cast<std::size_t>(protocol)].name; }

Expected<Protocol> protocol_from_name(std::string_view name) {
    std::string names;
    for (const ProtocolName& p : kProtocols) {
        if (p.protocol == Protocol::Firmware) continue;  // not one for a kernel
        if (name == p.name) return p.protocol;
        names += fmt::format("{}{}", names.empty() ? "" : ", ", p.name);
    }
    return fail(ExitStatus::Usage, fmt::format("unknown boot protocol '{}': use one of {}", name, names));
}

std::string to_text(const BootReport& report) {
    std::string out;
    auto to = std::back_inserter(out);
    for (const Placement& p : report.placed) {
        fmt::format_to(to, "boot: {:#010x}-{:#010x} {}\n", p.base, p.base + p.size - 1, p.what);
    }
    fmt::format_to(to, "boot: {} entry at {:#010x}\n", to_string(report.protocol), report.entry);
    return out;
}

std::vector<std::string> split_initrd(std::string_view option) {
    std::vector<std::string> parts;
    if (option.empty()) return parts;
    parts.emplace_back();
    for (std::size_t i = 0; i < option.size(); ++i) {
        if (option[i] != ',') {
            parts.back() += option[i];
        } else if (i + 1 < option.size() && option[i + 1] == ',') {
            parts.back() += ',';
            ++i;
        } else {
            parts.emplace_back();
        }
    }
    return parts;
}

Expected<BootReport> boot_image(Machine& machine, const BootImage& image) {
    const auto map = memory_map(machine.vmem());
    LoadPlan plan(image.name, map);
    if (machine.platform()) plan.set_acpi_root(kBiosRom);
    auto entry = plan_guest(image, plan);
    if (!entry) return tl::unexpected(entry.error());
    if (machine.platform()) put_acpi_tables(*machine.platform(), plan);
    if (auto written = plan.commit(machine.vmem()); !written) return tl::unexpected(written.error());
    machine.vmem().set_a20(true);
    machine.cpu() = entry->cpu;
    return BootReport{.protocol = entry->protocol, .entry = entry->address, .placed = plan.placements()};
}

Expected<BootReport> boot_guest(Machine& machine, const BootConfig& config) {
    if (config.kernel.empty()) return boot_firmware(machine, config.firmware);
    auto kernel = read_image_file(config.kernel, "kernel", kLargestKernelFile);
    if (!kernel) return tl::unexpected(kernel.error());
    BootImage image{
        .name = config.kernel, .kernel = *kernel, .modules = {}, .append = config.append, .protocol = config.protocol};
    std::vector<std::vector<u8>> files;
    for (const std::string& module : config.initrd) {
        // Behind a Multiboot module's name there may be a text for the guest.
        const std::string path = is_linux(image.kernel) ? module : module.substr(0, module.find(' '));
        auto file = read_image_file(path, "initrd", machine.vmem().ram_size());
        if (!file) return tl::unexpected(file.error());
        files.push_back(std::move(*file));
        image.modules.push_back({.text = module, .bytes = files.back()});
    }
    return boot_image(machine, image);
}

}  // namespace dualvm::boot
