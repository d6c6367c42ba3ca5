// What must hold for any bytes whatever as a kernel: shared by the fuzzer and the mutation test.
#pragma once

#include <algorithm>

#include "images.h"

namespace dualvm::boot {

// Empty if loading `kernel` by `protocol` either fails with a proper message and writes nothing, or succeeds with an
// entry point in memory and with placements that don't overlap. Otherwise what is wrong.
inline std::string what_is_wrong_with_booting(std::span<const u8> kernel, Protocol protocol) {
    static const auto machine = make_machine(8);
    static const Bytes module(5000, 0x77);
    machine->reset();
    machine->vmem().clear_dirty();
    const CpuFile before = machine->cpu();
    BootImage image{.name = "any", .kernel = kernel, .modules = {}, .append = "a b", .protocol = protocol};
    image.modules.push_back({.text = "module", .bytes = module});
    const auto report = boot_image(*machine, image);
    if (!report) {
        if (machine->vmem().dirty_pages() != 0) return "an image was refused after something was written";
        if (!(before == machine->cpu())) return "an image was refused after the CPU was changed";
        if (report.error().status != ExitStatus::BadImage) return "wrong status";
        if (report.error().text.find("'any'") == std::string::npos) return "the error does not name the file";
        return {};
    }
    const CpuFile& cpu = machine->cpu();
    if (cpu.general.rip + cpu.code_base() != report->entry) return "the CPU is not at the entry";
    if (machine->vmem().find(report->entry) == nullptr) return "the entry is not in memory";
    u64 end = 0;
    for (const Placement& p : report->placed) {
        if (p.base < end) return "placements overlap at " + p.what;
        end = p.base + p.size;
        if (end > machine->vmem().ram_size()) return "a placement is outside of memory: " + p.what;
    }
    return {};
}

}  // namespace dualvm::boot
