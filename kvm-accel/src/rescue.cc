#include "rescue.h"

#include <fmt/format.h>

#include <algorithm>

namespace dualvm::kvm {

Groups changed_groups(const CpuFile& before, const CpuFile& after) {
    Groups changed = Groups::None;
    auto compare = [&](Groups group, bool equal) {
        if (!equal) changed = changed | group;
    };
    compare(Groups::General, before.general == after.general);
    compare(Groups::Segments, before.segments == after.segments);
    compare(Groups::Control, before.control == after.control);
    compare(Groups::Debug, before.debug == after.debug);
    MsrGroup msrs = after.msrs;
    msrs.tsc = before.msrs.tsc;
    compare(Groups::Msrs, before.msrs == msrs);
    compare(Groups::Fpu, before.fpu == after.fpu);
    compare(Groups::Events, before.events == after.events);
    return changed;
}

Rescuer::Result Rescuer::execute_one() {
    const CpuFile before = machine_.cpu();
    const DirtyAccount dirty = machine_.vmem().take_dirty();
    engine_->push(Groups::All);
    const bool counts = engine_->capabilities().exact_instruction_counts;
    const u64 count = engine_->instructions();

    Result result;
    bool attention = false;
    bool stepped = false;
    // A kick or a device's wish may bring the engine back before it has begun.
    constexpr unsigned kAttempts = 16;
    for (unsigned i = 0; i < kAttempts && !stepped; ++i) {
        attention = attention || machine_.attention();
        machine_.clear_attention();
        result.exit = engine_->run({.instructions = 1});
        switch (result.exit.kind) {
            case ExitKind::PortRead:
            case ExitKind::PortWrite:
            case ExitKind::MmioRead:
            case ExitKind::MmioWrite:
                handle_exit(machine_, result.exit);
                engine_->finish_access();
                stepped = true;
                break;
            case ExitKind::SingleStep:
            case ExitKind::BudgetUsed:
            case ExitKind::Halt:
            case ExitKind::Shutdown:
            case ExitKind::Breakpoint: stepped = true; break;
            case ExitKind::Kicked:
            case ExitKind::Attention:
            case ExitKind::InterruptWindow:
            case ExitKind::UserMode:
            case ExitKind::KernelMode: stepped = counts && engine_->instructions() != count; break;
            case ExitKind::Failure: i = kAttempts; break;
        }
    }
    if (attention) machine_.set_attention();
    engine_->collect_dirty();
    result.wrote_memory = machine_.vmem().dirty_pages() != 0;
    machine_.vmem().add_dirty(dirty);
    engine_->pull(Groups::All);
    CpuFile& after = machine_.cpu();
    after.msrs.tsc = before.msrs.tsc;
    result.changed = changed_groups(before, after);
    result.executed = stepped && (any(result.changed) || result.exit.kind == ExitKind::Shutdown);
    const u64 advance = after.general.rip - before.general.rip;
    if (advance <= result.exit.bytes.size()) result.length = advance;
    return result;
}

void count_rescue(std::map<std::string, u64>& named, const Exit& failure, u64 length) {
    // Without the length (it was a jump, or a fault), the first bytes say enough.
    const u64 shown = std::min<u64>(failure.byte_count, length != 0 ? length : 3);
    std::string name = "rescued";
    for (u64 i = 0; i < shown; ++i) name += fmt::format(" {:02x}", failure.bytes[i]);
    if (named.size() >= kRescueNames && named.find(name) == named.end()) name = "rescued others";
    ++named[name];
}

}  // namespace dualvm::kvm
